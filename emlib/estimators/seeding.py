"""Drawn starts of k-means, with scikit-learn's own draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from emlib import starts
from emlib.estimators.spread import Spread
from emlib.scale import Rows, budget, even_slices
from emlib.shapes import Centres, PerPoint, Points

__all__ = ["far_rows", "random_rows"]

Mapper = Callable[..., Iterable[Any]]

# Where rows miss less of their squares about the origin than this share,
# the rounding of a product of matrices begins to count.
ROUGH = 1e-6


def _drawn(
    chances: Callable[[slice], PerPoint], n: int, shares: PerPoint
) -> Any:
    """Return the rows at some shares of the running sum of all chances."""
    cuts = even_slices(n, budget.BLOCK_ROWS, n)
    if len(cuts) == 1:
        sums = np.cumsum(chances(cuts[0]), dtype=np.float64)  # (n,)
        return _past(sums, shares * sums[-1])
    each = [chances(cut).sum(dtype=np.float64) for cut in cuts]
    ends = np.cumsum(each)  # (blocks,)
    goals = shares * ends[-1]  # (trials,)
    blocks = np.searchsorted(ends, goals, "right").clip(max=len(cuts) - 1)
    found = np.empty(len(goals), dtype=int)  # (trials,)
    for block in set(blocks.tolist()):
        here = blocks == block  # (trials,)
        sums = np.cumsum(chances(cuts[block]), dtype=np.float64)  # (n,)
        before = ends[block - 1] if block else 0.0
        rows = _past(sums, goals[here] - before)
        found[here] = cuts[block].start + rows
    return found


def _past(sums: PerPoint, goals: Any) -> Any:
    """Return the first rows whose running sums exceed some goals."""
    rows = np.searchsorted(sums, goals, "right")  # (trials,)
    # Rounding may lead past the last row that has a chance.
    last = np.searchsorted(sums, sums[-1])
    return np.minimum(rows, last)


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

    What each of many rows still misses is kept in the place of its label,
    while that has none.
    """
    n, trials = len(rows.x), 2 + int(np.log(k))
    missed = _Missed(rows, spread, labels, mapper)
    drawn = _drawn(rows.times, n, state.random_sample(1))
    seeds = x = rows.x[drawn]  # (1, d)
    left = missed.after(x)  # (1,)
    while len(seeds) < k:
        best = int(left.argmin())
        missed.keep(x, best)
        some = left[best] > 0
        if left[best] < missed.rough:
            some = missed.be_exact(seeds) > 0
        shares = state.random_sample(trials)
        x = rows.x[
            _drawn(missed.chances if some else rows.times, n, shares)
        ]
        left = missed.after(x)  # (trials,)
        seeds = np.concatenate([seeds, x[int(left.argmin())][None]])
    return np.asarray(seeds)


class _Missed:
    """What each row misses: its squared distance to the nearest seed.

    In units of the mean square. While that is much, it comes from products
    of matrices; later, differences are taken before squares.
    """

    def __init__(
        self, rows: Rows, spread: Spread, labels: PerPoint, mapper: Mapper
    ) -> None:
        n, d = rows.x.shape
        few = n <= budget.EXACT_SEED_ROWS
        self.rows, self.mapper = rows, mapper
        self.unit = spread.scatter / spread.size or 1.0
        self.origin, self.exact = spread.origin(), False  # (d,)
        self.values = np.empty(n) if few else labels.view(np.float32)
        self.values[:] = np.inf
        self.held: Any = np.empty((0, n)) if few else None
        self.centred: Any = None
        if 8 * n * d <= budget.FEATURE_BYTES:
            self.centred = self._centred(slice(None))  # (n, d)
        self.norms: Any = None
        if few:
            self.norms = self._squares(self._centred(slice(None)))  # (n,)
        about = spread.mean - self.origin  # (d,)
        squares = spread.scatter + spread.size * float(about @ about)
        self.rough = ROUGH * squares / self.unit or np.inf

    def chances(self, cut: slice) -> PerPoint:
        """Return what some rows miss, as often as they count."""
        values: PerPoint = self.values[cut]  # (n,)
        times = self.rows.multiplicity
        return values if times is None else values * times[cut]

    def after(self, seeds: Points) -> Any:
        """Return what all rows would miss after each of some seeds."""
        few = self.held is not None
        if few and len(self.held) != len(seeds):
            self.held = np.empty((len(seeds), len(self.rows.x)))

        def one(place: slice) -> Any:
            out = self.held[:, place] if few else None
            left, norms = self._left(seeds, place, out)
            if self.rows.multiplicity is None:
                return left.sum(axis=1) + norms.sum()  # (trials,)
            times = self.rows.multiplicity[place]  # (n,)
            return left @ times + norms @ times  # (trials,)

        return sum(self._map(one, len(seeds)))

    def keep(self, seeds: Points, best: int) -> None:
        """Take one of the seeds that were given to `after`."""

        def one(place: slice) -> None:
            if self.held is None:
                left, norms = self._left(seeds[[best]], place)
            else:
                norms = self._norms(place)  # (n,)
                left = self.held[best : best + 1, place]  # (1, n)
            np.maximum(left[0] + norms, 0, out=self.values[place])

        self._map(one, 1)

    def be_exact(self, seeds: Points) -> float:
        """Take differences from now on; return what all rows miss."""
        self.exact, self.rough, left = True, 0.0, 0.0
        self.values[:] = np.inf
        for i in range(len(seeds)):
            left = float(self.after(seeds[i : i + 1])[0])
            self.keep(seeds[i : i + 1], 0)
        return left

    def _left(
        self, seeds: Points, place: slice, out: Any = None
    ) -> tuple[Any, Any]:
        """Return what some rows would miss, (trials, n), less norms."""
        if self.exact:
            apart = starts.squared_distances(self.rows.x[place], seeds).T
            apart /= self.unit
        else:
            seeds = seeds.astype(np.float64) - self.origin  # (trials, d)
            rows = self._centred(place)  # (n, d)
            way = (-2 / self.unit) * seeds  # (trials, d)
            apart = np.matmul(way, rows.T, out=out)  # (trials, n)
            apart += self._squares(seeds)[:, None]
        norms = self._norms(place)  # (n,)
        return np.minimum(apart, self.values[place] - norms, out=out), norms

    def _norms(self, place: slice) -> PerPoint:
        """Return what is added to distances: nothing to exact ones."""
        if self.exact:
            return np.zeros(place.stop - place.start)
        if self.norms is not None:
            norms: PerPoint = self.norms[place]  # (n,)
            return norms
        return self._squares(self._centred(place))

    def _centred(self, place: slice) -> Points:
        """Return some rows about the origin, in double precision."""
        if self.centred is not None:
            rows: Points = self.centred[place]  # (n, d)
            return rows
        x = np.asarray(self.rows.x[place], dtype=np.float64)  # (n, d)
        return x - self.origin if self.origin.any() else x

    def _squares(self, x: Points) -> PerPoint:
        """Return squared lengths, in units of the mean square."""
        squares: PerPoint = np.einsum("ij,ij->i", x, x) / self.unit  # (n,)
        return squares

    def _map(
        self, function: Callable[[slice], Any], trials: int
    ) -> list[Any]:
        """Call a function of pieces of the rows; return a sum a block."""
        n, d = self.rows.x.shape
        size = max(budget.CLUSTER_BYTES // 8 // (d + trials), 64)
        if n <= min(size, budget.BLOCK_ROWS):
            return [function(slice(0, n))]

        def one(cut: slice) -> Any:
            stop = min(cut.stop, n)
            pieces = [
                function(slice(begin, min(begin + size, stop)))
                for begin in range(cut.start, stop, size)
            ]
            return None if pieces[0] is None else sum(pieces)

        return list(self.mapper(one, even_slices(n, budget.BLOCK_ROWS)))
