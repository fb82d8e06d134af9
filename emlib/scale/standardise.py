"""Where the columns are and how wide, and rows seen from there.

A fit runs where every column is near zero and near one: z = (x - o) / s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from emlib.loop import Block
from emlib.scale.budget import COPY_BYTES
from emlib.scale.rows import Rows
from emlib.shapes import Features, Matrix, PerFeature, Points, Vector

__all__ = [
    "ColumnScale",
    "Standardised",
    "Standardiser",
    "column_scale",
    "covariance",
]


class Standardiser(NamedTuple):
    """Where zero is, and how long one is: z = (x - origin) / scale.

    Attributes
    ----------
    origin : array of shape (d,)
        In the unit of the data.
    scale : array of shape (d,)
        Powers of two, so that dividing by them rounds nothing.
    """

    origin: Vector
    scale: Vector

    def apply(self, params: Any) -> Any:
        """Return parameters of x as parameters of z."""
        return params.moved(-self.origin / self.scale, 1 / self.scale)

    def undo(self, params: Any) -> Any:
        """Return parameters of z as parameters of x."""
        return params.moved(self.origin, self.scale)

    def rows(self, x: Points) -> Points:
        """Return points of x as points of z, in double precision."""
        z: Points = (x - self.origin) / self.scale  # (n, d)
        return z

    def log_jacobian(self) -> float:
        """Return how much lower the log density of x is than that of z."""
        return float(np.log(self.scale).sum())


@dataclass(frozen=True)
class Standardised:
    """Rows of x that are read as rows of z; nothing is copied before.

    Parameters
    ----------
    x : array of shape (n, d)
        Points.
    standardiser : Standardiser
        What to make of them.

    Examples
    --------
    >>> unit = Standardiser(np.array([1.0]), np.array([2.0]))
    >>> np.asarray(Standardised(np.array([[3.0], [5.0]]), unit)[1:])
    array([[2.]])
    """

    x: Points
    standardiser: Standardiser

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: Any) -> Standardised:
        return Standardised(self.x[some], self.standardiser)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.standardiser.rows(self.x).astype(dtype or np.float64)

    @property
    def shape(self) -> Any:
        """Return (n, d)."""
        return self.x.shape

    @property
    def dtype(self) -> Any:
        """Return the precision of x."""
        return self.x.dtype

    def write_columns(self, out: Features) -> None:
        """Write z column by column, (d, n), in the precision of x."""
        origin, scale = self.standardiser
        np.subtract(self.x.T, origin[:, None].astype(self.x.dtype), out=out)
        out *= (1 / scale)[:, None].astype(self.x.dtype)

    def directions(self) -> tuple[Vector, Features]:
        """Return lengths, (n,), and z / length, (d, n): for far points."""
        x = self.x.astype(np.float64)  # (n, d)
        size, (origin, scale) = np.abs(x).max(axis=1), self.standardiser
        way = x.T / size - origin[:, None] / size  # (d, n)
        return size, way / scale[:, None]


class ColumnScale(NamedTuple):
    """What one look at the rows says of each column.

    Attributes
    ----------
    standardiser : Standardiser
        Where the columns are, and how wide.
    variances : array of shape (d,)
        Of z.
    """

    standardiser: Standardiser
    variances: Vector


# How much longer than the spread a first row may be from the mean: squares
# about it then lose three digits of sixteen.
NEAR = 1e3
# Squares between these have neither overflowed nor lost a digit below.
LEAST, MOST = 1e-250, 1e250


def _pieces(rows: Rows) -> list[Block]:
    """Return the rows in blocks so small that they may be copied."""
    return rows.blocks(max(COPY_BYTES // (8 * rows.x.shape[1]), 64))


def _moments(rows: Rows, origin: Vector) -> tuple[Vector, Vector]:
    """Return each column's mean and mean square about an origin."""
    first: Any = 0.0
    second: Any = 0.0
    for x, times in _pieces(rows):
        apart = x - origin  # (n, d)
        weights = np.ones(len(x)) if times is None else times  # (n,)
        first = first + weights @ apart  # (d,)
        second = second + weights @ np.square(apart, out=apart)  # (d,)
    total = rows.total()
    return first / total, second / total


def _quick(rows: Rows) -> tuple[Vector, Vector] | None:
    """Return each column's mean and variance, where one pass will do.

    It does unless a value is missing, a square leaves the range of
    float64, a column is constant, or the first row is far from the mean.
    """
    begin = rows.x[0].astype(np.float64)  # (d,)
    with np.errstate(over="ignore", invalid="ignore"):
        shift, square = _moments(rows, begin)  # (d,)
        origin = (begin + shift).astype(rows.x.dtype).astype(np.float64)
        variances = square - shift**2  # (d,)
        kept = (variances > LEAST) & (square < MOST)  # (d,)
        kept &= shift**2 < NEAR * variances  # (d,)
        share = variances + (begin + shift - origin) ** 2  # (d,)
    return (origin, share) if kept.all() else None


def _mean(rows: Rows, function: Callable[[Any], Any]) -> Vector:
    """Return each column's mean of a function of its known values."""
    total: Any = 0.0
    held: Any = 0.0
    for x, times in _pieces(rows):
        values = function(np.ascontiguousarray(x.T, np.float64))  # (d, n)
        weights = np.ones(len(x)) if times is None else times  # (n,)
        sums, count = values @ weights, weights.sum()  # (d,)
        if np.isnan(sums).any():
            known = ~np.isnan(values)  # (d, n)
            sums = np.where(known, values, 0) @ weights  # (d,)
            count = known @ weights  # (d,)
        total, held = total + sums, held + count
    mean: Vector = total / held
    return mean


def _reach(rows: Rows, origin: Vector) -> Vector:
    """Return how far each column goes from the origin."""
    least, most = origin, origin
    for x, _ in _pieces(rows):
        columns = np.ascontiguousarray(x.T)  # (d, n)
        least = np.fmin(least, np.fmin.reduce(columns, axis=1))
        most = np.fmax(most, np.fmax.reduce(columns, axis=1))
    reach: Vector = np.maximum(most - origin, origin - least)
    return reach


def _centre(rows: Rows) -> tuple[PerFeature, PerFeature]:
    """Return each column's mean and reach, or raise where float64 ends."""
    first = np.nan_to_num(rows.x[0]).astype(np.float64)[:, None]  # (d, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        origin = first[:, 0] + _mean(rows, lambda x: x - first)  # (d,)
        origin = origin.astype(rows.x.dtype).astype(np.float64)  # (d,)
        reach = _reach(rows, origin)  # (d,)
    bad = ~(np.isfinite(reach) & np.isfinite(origin))  # (d,)
    if bad.any():
        raise ValueError(
            "X must span less than float64 can hold; column "
            f"{int(bad.argmax())} does not. Divide it by its spread."
        )
    return origin, reach


def column_scale(
    rows: Rows, scales: Callable[[Vector], Vector] | None = None
) -> ColumnScale:
    """Return where the columns are, and how wide.

    A far value cannot overflow: squares are taken of what is divided by
    the largest.

    Parameters
    ----------
    rows : Rows
        Points, (n, d); a NaN is a value that nobody knows.
    scales : callable, optional
        Of the columns' widths, (d,); returns those that a model allows.

    Returns
    -------
    ColumnScale
        Named tuple `(standardiser, variances)`.

    Raises
    ------
    ValueError
        If float64 cannot hold squares of a column; it is named.

    Examples
    --------
    >>> found = column_scale(Rows(np.array([[1.0], [5.0]])))
    >>> found.standardiser
    Standardiser(origin=array([3.]), scale=array([2.]))
    """
    peak, quick = np.ones(rows.x.shape[1]), _quick(rows)  # (d,)
    if quick is not None:
        origin, share = quick  # (d,)
    else:
        origin, reach = _centre(rows)  # (d,)
        peak, middle = np.where(reach > 0, reach, 1), origin[:, None]
        share = _mean(rows, lambda x: ((x - middle) / peak[:, None]) ** 2)
    widths = peak * np.sqrt(share)  # (d,)
    widths = widths if scales is None else scales(widths)  # (d,)
    most = 1e152 if rows.x.dtype.itemsize == 8 else 1e36
    bad = (widths > 0) & ~((widths > 1 / most) & (widths < most))  # (d,)
    if bad.any():
        raise ValueError(
            f"X must spread between {1 / most:g} and {most:g} in each "
            f"column, or not at all; column {int(bad.argmax())} spreads "
            f"{widths[bad][0]:.1e}. Divide it by that."
        )
    scale = np.exp2(np.round(np.log2(np.where(widths > 0, widths, 1))))
    variances = share * (peak / scale) ** 2  # (d,)
    return ColumnScale(Standardiser(origin, scale), variances)


def covariance(rows: Rows, standardiser: Standardiser) -> Matrix:
    """Return the covariance of all rows of z; a NaN counts as 0.

    Parameters
    ----------
    rows : Rows
        Points of x, (n, d).
    standardiser : Standardiser
        What makes z of them.

    Returns
    -------
    array of shape (d, d)
        In the unit of z squared.

    Examples
    --------
    >>> rows = Rows(np.array([[1.0], [5.0]]))
    >>> covariance(rows, Standardiser(np.array([3.0]), np.array([2.0])))
    array([[1.]])
    """
    origin, scale = standardiser
    mean = _mean(rows, lambda x: (x.T - origin).T)  # (d,)
    total: Any = 0.0
    for x, times in _pieces(rows):
        apart = np.nan_to_num((x - origin - mean) / scale)  # (n, d)
        weights = np.ones(len(x)) if times is None else times  # (n,)
        total = total + (apart.T * weights) @ apart  # (d, d)
    spread: Matrix = total / rows.total()
    return spread
