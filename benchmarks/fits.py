"""How fast is a whole default fit, beside scikit-learn's?

Writes the section "fits" of benchmarks/RESULTS.md. Options run a part of
the grid, and then only print: `python benchmarks/fits.py --n 1000 10000`.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans as TheirClusters
from sklearn.mixture import GaussianMixture as TheirMixture
from threadpoolctl import threadpool_limits

from emlib import GaussianMixture, KMeans
from results import machine, write

ROUNDS, FEW, LONG = 7, 3, 5.0  # FEW where both fits take LONG seconds
SIZES = {
    1_000: {2: (3, 8, 32, 128), 10: (3, 8, 32, 128), 50: (3, 8, 32, 128)},
    10_000: {2: (3, 8, 32, 128), 10: (3, 8, 32, 128), 50: (3, 8, 32, 128)},
    100_000: {2: (3, 8, 32), 10: (3, 8, 32), 50: (3, 8)},
    1_000_000: {2: (3, 8), 10: (3, 8)},
}
MORE = {(100_000, 2, 128), (100_000, 10, 128), (100_000, 50, 32)}


class Cell(NamedTuple):
    """One line of a table; `kind` is "kmeans" or a type of covariance."""

    n: int
    d: int
    k: int
    kind: str


class Round(NamedTuple):
    """What one pair of fits gave: ours first, scikit-learn's second."""

    seconds: tuple[float, float]
    turns: tuple[int, int]
    gain: float


def grid(kinds):
    """Return the cells of one estimator."""
    sizes = [
        (n, d, k)
        for n, columns in SIZES.items()
        for d, numbers in columns.items()
        for k in numbers
    ]
    if "kmeans" in kinds:
        sizes = sorted({*sizes, *MORE})
    return [Cell(*size, kind) for size in sizes for kind in kinds]


def points(n, d, k):
    """Return points of k Gaussians that overlap a little."""
    rng = np.random.default_rng(20)
    means = 2 * rng.normal(size=(k, d))
    x = means[rng.integers(k, size=n)]
    x += rng.normal(size=x.shape)
    return x


def pair(cell, seed):
    """Return both estimators, with their defaults."""
    if cell.kind == "kmeans":
        return [
            each(cell.k, random_state=seed)
            for each in (KMeans, TheirClusters)
        ]
    return [
        each(cell.k, covariance_type=cell.kind, random_state=seed)
        for each in (GaussianMixture, TheirMixture)
    ]


def seconds_of(call, *args):
    """Return how long a call takes."""
    began = time.perf_counter()
    call(*args)
    return time.perf_counter() - began


def gain(cell, ours, theirs, x):
    """Return nats a row above, or the share of inertia below, theirs."""
    if cell.kind == "kmeans":
        return 1 - ours.inertia_ / theirs.inertia_
    return ours.score(x) - theirs.score(x)


def lap(cell, x, seed):
    """Fit both once, each first in every other round."""
    fits, times = pair(cell, seed), [0.0, 0.0]
    for which in (0, 1) if seed % 2 else (1, 0):
        times[which] = seconds_of(fits[which].fit, x)
    turns = tuple(int(each.n_iter_) for each in fits)
    return Round(tuple(times), turns, gain(cell, *fits, x))


def spoken(seconds):
    """Return milliseconds in three digits, without an exponent."""
    value = seconds * 1e3
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(value))))}f}"


def race(cell):
    """Return a cell's line, and how many times faster it is."""
    x = points(*cell[:3])
    lap(cell, x[: max(1_000, cell.k)], 0)  # what is loaded once, is
    rounds = [lap(cell, x, 0)]
    wanted = FEW if sum(rounds[0].seconds) > LONG else ROUNDS
    rounds += [lap(cell, x, seed) for seed in range(1, wanted)]
    times = np.array([each.seconds for each in rounds])  # (rounds, 2)
    turns = np.array([each.turns for each in rounds])  # (rounds, 2)
    gains = np.array([each.gain for each in rounds])  # (rounds,)
    ratios = times[:, 1] / times[:, 0]
    ratio, (ours, theirs) = np.median(ratios), np.median(times, axis=0)
    said = "" if ratio >= 1 else " **slower**"
    line = " | ".join(
        [
            f"{cell.n:,} | {cell.d} | {cell.k} | {cell.kind}",
            f"{spoken(ours)} | {spoken(theirs)}",
            f"{ratio:.2f} ({ratios.min():.2f}-{ratios.max():.2f}){said}",
            "/".join(f"{each:g}" for each in np.median(turns, axis=0)),
            f"{gains.mean():+.4f} ({gains.min():+.4f})",
            f"{len(rounds)}",
        ]
    )
    print(line, flush=True)
    return f"| {line} |", cell, ratio


def summary(races):
    """Say how the cells of a table came out."""
    ratios = np.array([ratio for *_, ratio in races])
    large = [ratio for _, cell, ratio in races if cell.n >= 100_000]
    said = (
        f"Of {len(ratios)} cells {np.count_nonzero(ratios < 1)} are slower "
        f"than scikit-learn's and {np.count_nonzero(ratios >= 2)} at least "
        f"twice as fast; the median is {np.median(ratios):.1f} times"
    )
    if large:
        said += f", from 100,000 rows on {np.median(large):.1f} times"
    return f"{said}."


def answers(n):
    """Yield the lines of what is asked of a fitted mixture of n rows."""
    x = points(100_000, 10, 8)
    fits = [each.fit(x) for each in pair(Cell(0, 10, 8, "full"), 0)]
    for rows in (1, n):
        asked = points(rows, 10, 8)
        repeats = 200 if rows == 1 else 1
        for name in ("predict_proba", "score_samples", "predict"):
            times = np.array(
                [
                    [
                        min(
                            seconds_of(getattr(each, name), asked)
                            for _ in range(repeats)
                        )
                        for each in fits
                    ]
                    for _ in range(ROUNDS)
                ]
            )  # (rounds, 2)
            ours, theirs = np.median(times, axis=0)
            ratio = np.median(times[:, 1] / times[:, 0])
            line = f"{name} | {rows:,} | {spoken(ours)} | "
            line += f"{spoken(theirs)} | {ratio:.2f}"
            print(line, flush=True)
            yield f"| {line} |"


def load():
    """Return how many processes want a core, over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def head(threads, before, after):
    """Say what was run, and on what."""
    used = "one thread each" if threads == 1 else "as many threads as each"
    return (
        f"`python benchmarks/fits.py`, {machine('numpy', 'scipy')}, "
        f"{machine('scikit-learn').split(', ')[1]}, "
        f"{os.cpu_count()} cores, {used}; load {before} at the beginning, "
        f"{after} at the end. "
        "Milliseconds of a whole default fit: medians of so many rounds as "
        "the last column says, in each of which both fit the same points "
        "with the same `random_state`, one after the other in one process. "
        "In brackets the smallest and the largest ratio of a round. The "
        "gain is in nats a row (k-means: the share of the inertia), the "
        "mean over the rounds and, in brackets, the lowest: two drawn "
        "starts need not end alike."
    )


TABLE = """
| n | d | k | type | emlib | scikit-learn | times faster | \
turns, emlib/scikit-learn | gain | rounds |
|---|---|---|---|---|---|---|---|---|---|"""

ASKED = """
What a fitted mixture (d=10, k=8, full) is asked:

| asked | rows | emlib, ms | scikit-learn, ms | times faster |
|---|---|---|---|---|"""


def options():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("n", "d", "k"):
        parser.add_argument(f"--{name}", type=int, nargs="+")
    parser.add_argument("--kind", nargs="+", help="full, diag, kmeans")
    parser.add_argument("--answers", action="store_true")
    parser.add_argument(
        "--default-threads", action="store_true", help="not one thread each"
    )
    return parser.parse_args()


def is_asked(cell, asked):
    """Say whether a cell belongs to the part that is asked for."""
    chosen = (asked.n, asked.d, asked.k, asked.kind)
    pairs = zip(cell, chosen, strict=True)
    return all(some is None or value in some for value, some in pairs)


def main() -> None:
    warnings.simplefilter("ignore")
    asked, before = options(), load()
    part = any((asked.n, asked.d, asked.k, asked.kind, asked.answers))
    threads = None if asked.default_threads else 1
    if threads:
        os.environ["OMP_NUM_THREADS"] = "1"
    lines = []
    with threadpool_limits(1) if threads else nullcontext():
        for kinds in (("full", "diag"), ("kmeans",)):
            cells = [cell for cell in grid(kinds) if is_asked(cell, asked)]
            if cells and not (part and asked.answers):
                races = [race(cell) for cell in cells]
                lines += [TABLE, *(line for line, *_ in races)]
                lines += ["", summary(races)]
                print(lines[-1])
        if asked.answers or not part:
            lines += [ASKED, *answers(1_000_000)]
    after = load()
    if part or not threads:
        print(head(threads, before, after))
    else:
        write("fits", [head(threads, before, after), *lines])


if __name__ == "__main__":
    main()
