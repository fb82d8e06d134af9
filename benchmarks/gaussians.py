"""How fast is a turn of GaussianMixture, beside scikit-learn's?

Writes the section "gaussians" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture as Rival

from emlib import GaussianMixture
from results import machine, write

ROUNDS = 7
SPIN = 0.2  # seconds in which BLAS' threads, out of work, keep a core busy


class Work(NamedTuple):
    """One line of the table."""

    n: int
    d: int
    k: int
    kind: str
    dtype: str
    turns: int
    wanted: float
    aim: float


WORKS = [
    Work(100_000, 10, 8, "full", "float64", 20, 10, 15),
    Work(100_000, 10, 8, "full", "float32", 20, 15, 25),
    Work(1_000_000, 2, 3, "full", "float64", 20, 12, 18),
    Work(100_000, 10, 8, "diag", "float64", 20, 8, 12),
    Work(100_000, 50, 16, "full", "float64", 5, 5, 8),
    Work(1_000, 2, 2, "full", "float64", 100, 4, 10),
]


def points(work):
    """Return points of k Gaussians that overlap a little."""
    rng = np.random.default_rng(20)
    means = 2 * rng.normal(size=(work.k, work.d))
    x = means[rng.integers(work.k, size=work.n)]
    x = x + rng.normal(size=x.shape)
    return x.astype(work.dtype)


def given(work, x):
    """Return the arguments of one start for both."""
    rng = np.random.default_rng(20)
    spread = np.cov(x.T.astype(np.float64)).reshape(work.d, work.d)
    precision = np.linalg.inv(spread)
    shapes = {
        "full": np.repeat(precision[None], work.k, axis=0),
        "diag": np.repeat(1 / np.diag(spread)[None], work.k, axis=0),
    }
    return {
        "n_components": work.k,
        "covariance_type": work.kind,
        "weights_init": np.full(work.k, 1 / work.k, work.dtype),
        "means_init": x[rng.choice(work.n, work.k, replace=False)],
        "precisions_init": shapes[work.kind].astype(work.dtype),
        "max_iter": work.turns,
        "tol": 0.0,
    }


def lap(estimator, x):
    """Return the seconds of the fastest fit, and the fitted estimator."""
    time.sleep(SPIN)
    times = []
    while sum(times) < SPIN:
        began = time.perf_counter()
        estimator.fit(x)
        times.append(time.perf_counter() - began)
    return min(times), estimator


def apart(one, other):
    """Return the largest difference, relative to the largest entry."""
    return max(
        float(abs(a - b).max() / abs(b).max())
        for a, b in (
            (one.weights_, other.weights_),
            (one.means_, other.means_),
            (one.covariances_, other.covariances_),
        )
    )


def spoken(milliseconds):
    """Return a time in three digits, without an exponent."""
    digits = max(0, 2 - int(np.floor(np.log10(milliseconds))))
    return f"{milliseconds:.{digits}f}"


def round_of(work, x, start):
    """Return the seconds of both, for the turns and twice as many."""
    times, worst = np.empty((2, 2)), 0.0  # (turns, estimator)
    for row, turns in enumerate((work.turns, 2 * work.turns)):
        told = start | {"max_iter": turns}
        times[row, 0], mixture = lap(GaussianMixture(**told), x)
        times[row, 1], rival = lap(Rival(**told), x)
        worst = max(worst, apart(mixture, rival)) if row == 0 else worst
    return times, worst


def race(work):
    """Return the table's line for one kind of work."""
    x = points(work)
    start = given(work, x)
    rounds = [round_of(work, x, start) for _ in range(ROUNDS)]
    worst = max(far for _, far in rounds)
    times = np.array([each for each, _ in rounds]) / work.turns
    whole, more = times[:, 0], times[:, 1] - times[:, 0]  # (rounds, 2)
    ratios = more[:, 1] / more[:, 0]
    ours, theirs = np.median(more, axis=0) * 1e3
    middle = np.median(ratios)
    reached = "yes" if middle >= work.wanted else "**no**"
    cells = [
        f"n={work.n:,} d={work.d} k={work.k} {work.kind} {work.dtype}",
        spoken(ours),
        spoken(theirs),
        f"**{middle:.1f}** ({ratios.min():.1f}-{ratios.max():.1f})",
        f"{work.wanted:g}, aim {work.aim:g}",
        reached,
        f"{np.median(whole[:, 1] / whole[:, 0]):.1f}",
        f"{worst:.0e}",
    ]
    print(" | ".join(cells), flush=True)
    return f"| {' | '.join(cells)} |"


def extra(n, **options):
    """Return the megabytes that a fit takes beyond its points."""
    work = WORKS[0]._replace(n=n, turns=3)
    x = points(work)
    if not options:
        options = given(work, x)
    mixture = GaussianMixture(**{"max_iter": 3, **options})
    tracemalloc.start()
    mixture.fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


HEAD = f"""\
`python benchmarks/gaussians.py`, {machine("numpy", "scipy")}, \
{machine("scikit-learn").split(", ")[1]}, {os.cpu_count()} cores. \
Milliseconds a turn: medians of {ROUNDS} rounds, in each of which both fit \
the same points from the same given start, one after the other in one \
process, first by some turns (20; for d=50 5, for n=1,000 100) and then by \
twice as many; what the second fit takes longer, shared out over its \
further turns. In brackets the smallest and the largest ratio of a round. \
"Whole fit" is the ratio of the first fits, with validation, copies and \
the last E-step. Short fits are repeated for {SPIN} s, and the fastest \
counts. Both use as many threads as they like; before either begins \
{SPIN} s pass, for OpenBLAS' threads keep a core busy for a while after \
their last product.

| work | emlib | scikit-learn | times faster a turn | wanted | reached | \
times faster, whole fit | parameters apart, relative |
|---|---|---|---|---|---|---|---|"""

MEMORY = """
Memory of a whole fit beyond its points (d=10, k=8, full), peak, in \
megabytes:

| start | n=250,000 | n=1,000,000 |
|---|---|---|"""


def main() -> None:
    warnings.simplefilter("ignore")
    chosen = [WORKS[int(i)] for i in sys.argv[1:]] or WORKS
    lines = [HEAD, *(race(work) for work in chosen)]
    if sys.argv[1:]:
        return
    lines.append(MEMORY)
    for name, options in (("given", {}), ("kmeans", {"n_components": 8})):
        few, many = (extra(n, **options) for n in (250_000, 1_000_000))
        lines.append(f"| {name} | {few:.1f} | {many:.1f} |")
    write("gaussians", lines)


if __name__ == "__main__":
    main()
