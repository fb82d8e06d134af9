"""Drawn starts of k-means, with scikit-learn's own draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from emlib import starts
from emlib.scale import Rows, budget, even_slices
from emlib.shapes import Centres, PerFeature, PerPoint

__all__ = ["Spread", "far_rows", "random_rows"]

Mapper = Callable[..., Iterable[Any]]


class Spread(NamedTuple):
    """Where the rows are, and how far apart.

    Attributes
    ----------
    size : float
        sum_n c_n, how many there are.
    mean : array of shape (d,)
        Their mean.
    scatter : float
        sum_n c_n |x_n - mean|^2.
    """

    size: float
    mean: PerFeature
    scatter: float


def _drawn(
    chances: Callable[[slice], PerPoint], n: int, shares: PerPoint
) -> PerPoint:
    """Return the rows at some shares of the running sum of all chances."""
    cuts = even_slices(n, budget.BLOCK_ROWS, n)
    each = [chances(cut).sum(dtype=np.float64) for cut in cuts]
    ends = np.cumsum(each)  # (blocks,)
    found = []
    for goal in shares * ends[-1]:
        block = min(
            int(np.searchsorted(ends, goal, "right")), len(cuts) - 1
        )
        inside = chances(cuts[block])  # (n,)
        sums = np.cumsum(inside, dtype=np.float64)  # (n,)
        before = ends[block - 1] if block else 0.0
        row = int(np.searchsorted(sums, goal - before, "right"))
        row = min(row, int(np.flatnonzero(inside)[-1]))
        found.append(cuts[block].start + row)
    return np.array(found)


def random_rows(rows: Rows, k: int, state: Any) -> Centres:
    """Return k different rows, drawn as they count."""
    found: PerPoint = np.empty(0, dtype=int)

    def chances(cut: slice) -> PerPoint:
        counts = rows.times(cut)  # (n,)
        taken = found[(found >= cut.start) & (found < cut.stop)]
        counts[taken - cut.start] = 0
        return counts

    while len(found) < k:
        shares = state.random_sample(k - len(found))
        drawn = _drawn(chances, len(rows.x), shares)
        _, first = np.unique(drawn, return_index=True)
        found = np.append(found, drawn[np.sort(first)])
    picks: Centres = rows.x[found]
    return picks


def far_rows(
    rows: Rows,
    k: int,
    state: Any,
    spread: Spread,
    labels: PerPoint,
    mapper: Mapper,
) -> Centres:
    """Return k rows, drawn far from each other (`eq-starts-greedy`).

    What each row still misses is kept in the place of its label, while
    that has none.
    """
    n, trials = len(rows.x), 2 + int(np.log(k))
    missed = (
        np.empty(n)
        if n <= budget.EXACT_SEED_ROWS
        else labels.view(np.float32)
    )  # (n,)
    missed[:] = np.inf
    unit = spread.scatter / spread.size or 1.0
    drawn = _drawn(rows.times, n, state.random_sample(1))
    seeds = [rows.x[drawn[0]]]
    _potential(rows, seeds[-1:], unit, missed, mapper, keep=True)
    while len(seeds) < k:
        chances = missed.__getitem__ if missed.any() else rows.times
        shares = state.random_sample(trials)
        x = rows.x[_drawn(chances, n, shares)]  # (trials, d)
        left = _potential(rows, x, unit, missed, mapper)
        seeds.append(x[int(left.argmin())])
        _potential(rows, seeds[-1:], unit, missed, mapper, keep=True)
    return np.array(seeds)


def _potential(
    rows: Rows,
    seeds: Any,
    unit: float,
    missed: PerPoint,
    mapper: Mapper,
    keep: bool = False,
) -> Any:
    """Return what rows would still miss after each of some more seeds."""
    seeds = np.array(seeds)  # (trials, d)
    size = max((budget.CLUSTER_BYTES // 8) // sum(seeds.shape), 64)

    def one(cut: slice) -> Any:
        total, stop = np.zeros(len(seeds)), min(cut.stop, len(rows.x))
        for begin in range(cut.start, stop, size):
            place = slice(begin, min(begin + size, stop))
            apart = starts.squared_distances(rows.x[place], seeds) / unit
            if rows.multiplicity is not None:
                apart *= rows.multiplicity[place, None]  # (n, trials)
            np.minimum(apart, missed[place, None], out=apart)
            total += apart.sum(axis=0)
            if keep:
                missed[place] = apart[:, 0]
        return total

    left: Any = sum(mapper(one, even_slices(len(rows), budget.BLOCK_ROWS)))
    return np.asarray(left)
