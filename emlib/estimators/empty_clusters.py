"""Empty clusters: each takes the worst-explained row that counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from emlib.models import kmeans
from emlib.one_pass import kmeans as one_pass
from emlib.scale import InBlocks, Summed, budget
from emlib.shapes import PerPoint, Points

__all__ = ["RefillingRows", "refilled", "worst_rows"]


class WorstRows(NamedTuple):
    """The rows that are farthest from their centres, the worst first."""

    apart: PerPoint  # squared
    labels: PerPoint
    x: Points
    times: PerPoint


def worst_rows(parts: Any, params: kmeans.Params, most: int) -> WorstRows:
    """Return the rows farthest from their centres, so many at most."""
    assign = one_pass.Model(numbers=budget.CLUSTER_BYTES // 8).assign(
        params
    )
    d = params.means.shape[1]
    none = np.empty(0)
    found = WorstRows(none, none.astype(int), np.empty((0, d)), none)
    for x, times in parts:
        for side in assign(x):
            some = _missed(x[side.cut], side, params, times)
            both = [
                np.concatenate(pair)
                for pair in zip(found, some, strict=True)
            ]
            worst = np.argsort(-both[0], kind="stable")[:most]
            found = WorstRows(*(each[worst] for each in both))
    return found


def _missed(
    x: Points, side: one_pass.Assignment, params: kmeans.Params, times: Any
) -> WorstRows:
    """Return the rows that count and that their centres do not explain."""
    x = x.astype(np.float64)  # (n, d)
    times = np.ones(len(x)) if times is None else times[side.cut]  # (n,)
    lengths = np.vecdot(x, x)  # (n,)
    apart = x - params.means[side.labels]  # (n, d)
    squares = np.vecdot(apart, apart)  # (n,)
    # A mean of equal rows may be off by some units in the last place.
    kept = (squares > 1e-30 * lengths) & (times > 0)  # (n,)
    return WorstRows(squares[kept], side.labels[kept], x[kept], times[kept])


def refilled(
    statistics: kmeans.Statistics, empty: PerPoint, worst: WorstRows
) -> kmeans.Statistics:
    """Return statistics whose empty clusters took the worst rows."""
    counts, origin = statistics.counts.copy(), statistics.origin
    sums = statistics.sums.copy()  # (k, d)
    rows = zip(empty, worst.labels, worst.x, worst.times, strict=False)
    for cluster, giver, x, times in rows:
        counts[cluster], sums[cluster] = times, times * (x - origin)
        counts[giver] -= times
        sums[giver] -= sums[cluster]
        if counts[giver] <= 1e-12 * times:  # nothing is left but rounding
            counts[giver], sums[giver] = 0, 0
    return kmeans.Statistics(counts, origin, sums)


class RefillingRows(InBlocks):
    """Bounded rows, whose empty clusters take the worst-explained."""

    def e_step(self, x: Any, params: Any) -> Summed:
        """Return the statistics of all rows, and the bound."""
        statistics, bound = x.expect(params, self.mapper)
        empty = np.flatnonzero(statistics.counts == 0)
        if len(empty):
            parts = x.rows.even_blocks(budget.BLOCK_ROWS)
            worst = worst_rows(parts, params, len(empty))
            statistics = refilled(statistics, empty, worst)
        return Summed(statistics, np.array([bound]))
