"""Where the rows of k-means are, and how far apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from emlib.scale import Rows, budget
from emlib.shapes import PerFeature

__all__ = ["Spread", "quiet", "spread_of"]

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

    def origin(self) -> PerFeature:
        """Return what to compute about: zero, where the rows are near."""
        mean, square = self.mean, self.scatter / self.size
        return 0 * mean if mean @ mean <= 64 * square else mean  # (d,)


def quiet(mapper: Mapper) -> Mapper:
    """Return the mapper; overflow is then found by what it leaves."""

    def quietly(function: Callable[..., Any], parts: Any) -> Iterable[Any]:
        def one(part: Any) -> Any:
            with np.errstate(over="ignore", invalid="ignore"):
                return function(part)

        return mapper(one, parts)

    return quietly


def spread_of(rows: Rows, mapper: Mapper) -> Spread:
    """Return where the rows are: far from zero, more than one look says."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = _moments(rows, np.zeros(rows.x.shape[1]), mapper)
        if spread.origin().any() or not np.isfinite(spread.scatter):
            first = rows.x[0].astype(np.float64)  # (d,)
            spread = _moments(rows, first, mapper)
            spread = _moments(rows, spread.mean, mapper)
    return spread


def _moments(rows: Rows, origin: PerFeature, mapper: Mapper) -> Spread:
    """Return the rows' mean and scatter, from sums about an origin."""
    size = max(budget.CLUSTER_BYTES // (8 * len(origin)), 64)

    def one(part: Any) -> Any:
        total = np.zeros(len(origin) + 2)  # (d + 2,)
        for begin in range(0, len(part.x), size):
            cut = slice(begin, begin + size)
            x = np.asarray(part.x[cut], dtype=np.float64)  # (n, d)
            x = x - origin if origin.any() else x  # (n, d)
            if part.multiplicity is None:
                times = np.ones(len(x))  # (n,)
                squares = np.einsum("ij,ij->", x, x)
            else:
                times = part.multiplicity[cut].astype(float)  # (n,)
                squares = times @ np.vecdot(x, x)
            total[:-2] += np.einsum("i,ij->j", times, x)
            total[-2:] += squares, times.sum()
        return total

    total: Any = sum(
        quiet(mapper)(one, rows.even_blocks(budget.BLOCK_ROWS))
    )  # (d + 2,)
    squares, count = float(total[-2]), float(total[-1])
    shift = total[:-2] / count  # (d,)
    mean, lost = origin + shift, count * float(shift @ shift)  # (d,)
    if np.isinf(lost):  # about the mean; NaN where there is none
        lost = 0.0 * float(mean.max())
    return Spread(count, mean, squares - lost)
