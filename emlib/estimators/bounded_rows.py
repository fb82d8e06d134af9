"""k-means that passes over the rows which cannot change sides.

A row whose second centre is farther than its own by some margin stays on
its side, as long as the centres have moved by less than that since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array

from emlib.models.kmeans import Model, Params, Statistics
from emlib.one_pass.kmeans import ROUNDING
from emlib.scale import budget
from emlib.scale.rows import Rows
from emlib.shapes import Centres, PerFeature, PerPoint, Points

__all__ = ["BoundedRows"]

Mapper = Callable[..., Iterable[Any]]
# With fewer products than this all of them are made anew each turn.
FEW = 400_000
SINGLE = float(np.finfo(np.float32).eps)


class _Turn(NamedTuple):
    """Centres about the origin, and what the margins lose to them."""

    params: Params
    means: Centres
    squares: Any  # (k, 1)
    drops: Any  # (k,), in single precision; None the first time
    guard: float  # what a margin must exceed


class _Seen(NamedTuple):
    """What a pass over some rows found beside their labels."""

    total: Any
    widest: float  # of the new margins
    reach: float  # the longest row
    squares: float  # of all rows, the first time


class BoundedRows:
    """Rows that remember their sides, and by what margin (Hamerly, 2010).

    The labels are those of the E-step of `emlib.models.kmeans`: rows that
    rounding might put on the wrong side go there.

    Parameters
    ----------
    rows : Rows
        Points.
    labels : array of shape (n,)
        Where the label of each is written.
    origin : array of shape (d,)
        o, the point to compute about, near the rows.
    unit : float
        A length of the size of the rows about the origin.
    cuts : list of slice
        Blocks of the rows.
    """

    def __init__(
        self,
        rows: Rows,
        labels: PerPoint,
        origin: PerFeature,
        unit: float,
        cuts: list[slice],
    ) -> None:
        n = len(labels)
        self.rows, self.labels = rows, labels
        self.cuts = [slice(cut.start, min(cut.stop, n)) for cut in cuts]
        self.origin, self.unit, self.centred = origin, unit, None
        self.reach = self.squares = 0.0
        if 8 * rows.x.size <= budget.FEATURE_BYTES:
            self.centred = self._centred(slice(0, n))  # (n, d)
        self.wide: Any = None
        self.margins: Any = None
        if n <= budget.MARGIN_ROWS:
            self.margins = np.empty(n, np.float32)  # (n,)
        self.restart()

    def restart(self) -> None:
        """Forget all sides."""
        self.before: Any = None
        self.turns, self.widest = 0, 0.0

    def assign(self, params: Params, mapper: Mapper = map) -> None:
        """Write the nearest centre of each row; ties go to the lowest."""
        if self._few(len(params.means)):
            resp = self._resp(params, False)  # (k, n)
            self.labels[:] = np.arange(len(resp)) @ resp
            return
        self._pass(params, lambda place: 0, mapper)

    def expect(
        self, params: Params, mapper: Mapper = map
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of all rows."""
        means = params.means - self.origin  # (k, d)
        k = len(means)
        if self._few(k):
            total = self._resp(params) @ self.wide  # (k, d + 1)
        else:
            total = self._pass(params, lambda at: self._sums(at, k), mapper)
        counts, sums = total[:, -1].copy(), total[:, :-1].copy()
        apart = self.squares - 2 * np.vdot(means, sums)
        apart += counts @ (means**2).sum(axis=1)
        return Statistics(counts, self.origin, sums), -0.5 * float(apart)

    def _few(self, k: int) -> bool:
        """Return whether the rows are few; and know them well, if so."""
        n, d = self.rows.x.shape
        if len(self.cuts) > 1 or n * k * (d + 1) > FEW:
            return False
        if self.wide is None:
            rows = self._centred(slice(0, n))  # (n, d)
            norms = np.vecdot(rows, rows)  # (n,)
            self.reach = math.sqrt(norms.max())
            self.wide = np.column_stack([rows, np.ones(n)])  # (n, d + 1)
            times = self.rows.multiplicity
            counted = norms if times is None else norms * times  # (n,)
            self.squares = float(counted.sum())
        return True

    def _resp(self, params: Params, counted: bool = True) -> Any:
        """Return the side of each row, (k, n), as often as it counts."""
        means = params.means - self.origin  # (k, d)
        squares = np.vecdot(means, means)  # (k,)
        length = math.sqrt(squares.max())
        slack = ROUNDING * (len(self.origin) + 4) * length
        slack *= length + self.reach
        ends = np.column_stack([means, -0.5 * squares])  # (k, d + 1)
        joint = ends @ self.wide.T  # (k, n)
        near = joint >= joint.max(axis=0) - 2 * slack  # (k, n)
        resp = near.astype(np.float64)  # (k, n)
        if np.count_nonzero(near) != len(self.wide):
            tied = near.sum(axis=0) != 1  # (n,)
            exact = Model().e_step(self.rows.x[tied], params)
            resp[:, tied] = exact.resp.T  # (k, n)
        if counted and self.rows.multiplicity is not None:
            resp *= self.rows.multiplicity
        return resp

    def _pass(
        self, params: Params, function: Callable[[slice], Any], mapper: Any
    ) -> Any:
        """Bring all labels up to date; return the sum of a function."""
        turn = self._turn(params)
        most = budget.CLUSTER_BYTES // 8
        size = max(most // sum(params.means.shape), 64)
        wide = max(most // (params.means.shape[1] + 4), 64)

        def one(cut: slice) -> _Seen:
            stale = self._stale(cut, turn, size)
            seen = _together([self._assign(rows, turn) for rows in stale])
            totals = [function(place) for place in _pieces(cut, wide)]
            return seen._replace(total=sum(totals[1:], totals[0]))

        seen = _together([*mapper(one, self.cuts)])
        if self.before is None:
            self.squares = seen.squares
        self.widest = max(self.widest, seen.widest)
        self.reach = max(self.reach, seen.reach)
        self.before, self.turns = params.means, self.turns + 1
        return seen.total

    def _turn(self, params: Params) -> _Turn:
        """Return what all rows need to know of some centres."""
        means = params.means - self.origin  # (k, d)
        squares = np.vecdot(means, means)[:, None]  # (k, 1)
        if self.before is None:
            return _Turn(params, means, squares, None, 0.0)
        moves = np.sqrt(((params.means - self.before) ** 2).sum(axis=1))
        moves *= (1 + 1e-6) / self.unit  # (k,)
        others = np.full(len(moves), moves.max())  # (k,)
        if len(moves) > 1:
            others[moves.argmax()] = np.partition(moves, -2)[-2]
        drops = (moves + others).astype(np.float32)  # (k,)
        drops = np.nextafter(drops, np.float32(np.inf))  # (k,)
        # A margin was rounded once each turn; distances round, too.
        reach = self.reach + math.sqrt(squares.max())
        guard = SINGLE * (self.turns + 2) * self.widest
        guard += ROUNDING * (len(self.origin) + 4) * reach / self.unit
        return _Turn(params, means, squares, drops, guard)

    def _stale(self, cut: slice, turn: _Turn, size: int) -> list[Any]:
        """Return which rows of a block may change sides, in pieces."""
        if self.margins is None or turn.drops is None:
            return _pieces(cut, size)
        margins = self.margins[cut]  # (n,)
        margins -= turn.drops[self.labels[cut]]
        stale = np.flatnonzero(margins <= turn.guard)
        if 2 * len(stale) > len(margins):
            return _pieces(cut, size)
        stale += cut.start
        return [stale[some] for some in _pieces(slice(0, len(stale)), size)]

    def _assign(self, place: Any, turn: _Turn) -> _Seen:
        """Find some rows' nearest centres, whatever was before."""
        rows, d = self._centred(place), len(self.origin)  # (n, d)
        norms = np.einsum("ij,ij->i", rows, rows)  # (n,)
        reach = math.sqrt(norms.max())
        lengths = np.sqrt(turn.squares)  # (k, 1)
        slack = ROUNDING * (d + 4) * lengths * (lengths + reach)  # (k, 1)
        joint = turn.means @ rows.T  # (k, n)
        joint -= 0.5 * turn.squares + slack  # as low as it may be
        labels, top = _tops(joint)  # (n,)
        joint[labels, np.arange(len(rows))] = -np.inf
        second = joint.max(axis=0) + 2 * slack.max()  # (n,): as high
        tied = np.flatnonzero(second >= top)
        if len(tied):
            near = joint[:, tied] + 2 * slack >= top[tied]  # (k, n)
            tied = tied[near.any(axis=0)]
            x = self.rows.x[place][tied]  # (n, d)
            resp = Model().e_step(x, turn.params).resp  # (n, k)
            labels[tied] = resp.argmax(axis=1)
        self.labels[place] = labels
        times = self.rows.multiplicity
        squares = norms.sum() if times is None else norms @ times[place]
        if self.margins is None:
            return _Seen(0, 0.0, 0.0, float(squares))
        margins = _margins(norms, top, second, ROUNDING * (d + 4))  # (n,)
        margins[tied] = 0
        margins /= self.unit
        self.margins[place] = margins
        return _Seen(0, float(margins.max()), reach, float(squares))

    def _sums(self, place: slice, k: int) -> Any:
        """Return sums and counts of the rows of each cluster."""
        rows, labels = self._centred(place), self.labels[place]  # (n, d)
        times = self.rows.multiplicity
        if times is not None:
            times = times[place].astype(np.float64)  # (n,)
        counts = np.bincount(labels, times, k)  # (k,)
        if rows.shape[1] <= 3 and times is None:
            at = labels.astype(np.intp)  # (n,)
            columns = [np.bincount(at, column, k) for column in rows.T]
            return np.stack([*columns, counts], axis=1)  # (k, d + 1)
        ones, each = _ones(len(rows))
        entries = ones if times is None else times  # (n,)
        resp = csc_array((entries, labels, each), (k, len(rows)))  # (k, n)
        return np.column_stack([resp @ rows, counts])  # (k, d + 1)

    def _centred(self, place: Any) -> Points:
        """Return some rows about the origin, in double precision."""
        if self.centred is not None:
            rows: Points = self.centred[place]  # (n, d)
            return rows
        x = np.asarray(self.rows.x[place], dtype=np.float64)  # (n, d)
        return x - self.origin if self.origin.any() else x


def _tops(joint: Any) -> tuple[PerPoint, PerPoint]:
    """Return which row is the highest of each column, and how high."""
    top = joint.max(axis=0)  # (n,)
    near = joint >= top  # (k, n)
    index = np.arange(len(joint), dtype=np.min_scalar_type(len(joint)))
    only = near.view(np.uint8) * index[:, None]  # (k, n)
    labels = np.add.reduce(only, axis=0, dtype=index.dtype)  # (n,)
    labels = labels.astype(np.int32)  # (n,)
    if np.count_nonzero(near) != len(labels):
        tied = near.sum(axis=0) != 1  # (n,)
        labels[tied] = near[:, tied].argmax(axis=0)
    return labels, top


def _margins(
    norms: PerPoint, top: PerPoint, second: PerPoint, rounding: float
) -> PerPoint:
    """Return how much farther the second centre is than the first."""
    own = np.sqrt(np.maximum(norms * (1 + rounding) - 2 * top, 0))  # (n,)
    other = np.maximum(norms * (1 - rounding) - 2 * second, 0)  # (n,)
    other[np.isinf(other)] = 0  # there is no other
    margins: PerPoint = np.sqrt(other) - own  # (n,)
    return margins


def _pieces(cut: slice, size: int) -> list[slice]:
    """Return a block in pieces of so many rows at most."""
    return [
        slice(begin, min(begin + size, cut.stop))
        for begin in range(cut.start, cut.stop, size)
    ]


def _together(seen: list[_Seen]) -> _Seen:
    """Return what was seen of several pieces."""
    if not seen:
        return _Seen(0, 0.0, 0.0, 0.0)
    totals, widest, reach, squares = zip(*seen, strict=True)
    total = sum(totals[1:], totals[0])
    return _Seen(total, max(widest), max(reach), math.fsum(squares))


@lru_cache(maxsize=4)
def _ones(n: int) -> tuple[PerPoint, Any]:
    """Return what a sparse matrix of one number a column begins with."""
    return np.ones(n), np.arange(n + 1, dtype=np.int32)
