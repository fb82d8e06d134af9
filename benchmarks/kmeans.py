"""How fast is a turn of KMeans, beside scikit-learn's compiled loop?

Writes the section "kmeans" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
import time
import tracemalloc
import warnings

import numpy as np
from sklearn import cluster
from threadpoolctl import threadpool_limits

from emlib import KMeans
from results import machine, write

REPEATS, TURNS = 7, 20
N, D, K = 1_000_000, 10, 8


def cloud(n, far=0.0):
    """Return rows of overlapping clusters, and where to start from."""
    rng = np.random.default_rng(20)
    centres = 2 * rng.normal(size=(K, D))
    x = centres[rng.integers(K, size=n)]
    x += rng.normal(size=(n, D))
    x += far
    return x, x[:K].copy()


def clock(maker, x, **options):
    """Return the seconds of a fit, and the fitted estimator."""
    began = time.perf_counter()
    found = maker(K, tol=0, **options).fit(x)
    return time.perf_counter() - began, found


def agree(one, other):
    """Stop the benchmark unless the answers are equal."""
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_array_equal(one.labels_, other.labels_)
    np.testing.assert_allclose(
        one.cluster_centers_, other.cluster_centers_, rtol=1e-10
    )


def laps(x, start, cores):
    """Return milliseconds a turn, (rounds, what is measured, whose)."""
    times = []
    os.environ["OMP_NUM_THREADS"] = str(cores)
    with threadpool_limits(cores):
        for _ in range(REPEATS):
            runs = [
                clock(maker, x, init=start, n_init=1, max_iter=turns)
                for turns in (1, TURNS)
                for maker in (KMeans, cluster.KMeans)
            ]
            agree(runs[2][1], runs[3][1])
            seconds = np.reshape([run[0] for run in runs], (2, 2))
            whole, more = seconds[1] / TURNS, seconds[1] - seconds[0]
            times.append([whole, more / (TURNS - 1)])
    return 1e3 * np.array(times)


def race(name, x, start, cores):
    """Return the table's line for one kind of rows."""
    times = laps(x, start, cores)
    ours, theirs = times[..., 0], times[..., 1]
    ratios = theirs / ours  # (rounds, 2)
    cells = [name, str(cores)]
    for i in range(2):
        cells += [
            f"{np.median(ours[:, i]):.1f}",
            f"{np.median(theirs[:, i]):.1f}",
            f"**{np.median(ratios[:, i]):.2f}** "
            f"({ratios[:, i].min():.2f}-{ratios[:, i].max():.2f})",
        ]
    return f"| {' | '.join(cells)} |"


def drawn(x):
    """Return seconds of default fits that are stopped after one turn."""
    times = [
        [
            clock(maker, x, random_state=seed, max_iter=1)[0]
            for maker in (KMeans, cluster.KMeans)
        ]
        for seed in range(3)
    ]
    return np.median(times, axis=0)


def extra(n, **options):
    """Return the megabytes of a fit beyond its rows and labels."""
    x, _ = cloud(n)
    tracemalloc.start()
    KMeans(K, max_iter=3, random_state=0, **options).fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak - 4 * n) / 1e6


HEAD = f"""\
`python benchmarks/kmeans.py`, \
{machine("numpy", "scipy", "scikit-learn")}; \
{N:,} rows of {D} columns, {K} clusters, float64, `tol=0`. \
Milliseconds a turn: medians of {REPEATS} rounds of {TURNS} turns from one \
given start, interleaved, in one process. Labels, turns and centres (to a \
relative 1e-10) are equal.

| rows | cores | whole fit: emlib | scikit-learn | times faster \
| one more turn: emlib | scikit-learn | times faster |
|---|---|---|---|---|---|---|---|"""

TAIL = """
Whole fit: the time of a fit over its turns. One more turn: what turn 2 to \
the last add. In brackets the smallest and the largest ratio of a round. \
Rows far from zero are first centred, those near it are read in place.
"""


def main() -> None:
    warnings.simplefilter("ignore")
    cores, lines = os.cpu_count() or 1, [HEAD]
    for name, far in (("near zero", 0.0), ("far from zero", 1e3)):
        x, start = cloud(N, far)
        for some in sorted({cores} if far else {1, cores}):
            lines.append(race(name, x, start, some))
        if not far:
            ours, theirs = drawn(x)
    lines += [
        TAIL,
        f"A drawn start, the default, and one turn: {ours:.2f} s, "
        f"scikit-learn {theirs:.2f} s.",
        "",
        "Memory of a fit beyond its rows and labels, peak, in megabytes:",
        "",
        "| start | 1,000,000 rows | 2,000,000 rows |",
        "|---|---|---|",
    ]
    for init in ("k-means++", "random"):
        few, many = (
            extra(n, init=init, n_init=1) for n in (1_000_000, 2_000_000)
        )
        lines.append(f"| {init} | {few:.1f} | {many:.1f} |")
    write("kmeans", lines)


if __name__ == "__main__":
    main()
