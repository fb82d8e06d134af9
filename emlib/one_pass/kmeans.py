"""k-means, in the form to run: both steps in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array

from emlib.models import kmeans
from emlib.models.kmeans import Params, Statistics
from emlib.scale.budget import CLUSTER_BYTES
from emlib.shapes import (
    Centres,
    PerComponent,
    PerFeature,
    PerPoint,
    Points,
)

__all__ = ["Assignment", "Model"]

# A product of d numbers errs by some d units of its factors' lengths.
ROUNDING = 4 * float(np.finfo(np.float64).eps)


class Assignment(NamedTuple):
    """Some rows of a block, and the cluster of each.

    Attributes
    ----------
    cut : slice
        Which rows of the block they are.
    rows : array of shape (n, d)
        x_n - o.
    labels : array of shape (n,)
        The nearest centre of each.
    squares : float
        The sum of the squared lengths of `rows`.
    """

    cut: slice
    rows: Points
    labels: PerPoint
    squares: float

    def sums(
        self, k: int, multiplicity: PerPoint | None = None
    ) -> tuple[PerComponent, Centres, float]:
        """Return counts, sums and squares, rows counted so many times."""
        rows, labels, squares = self[1:]
        times = np.ones(len(rows))  # (n,)
        if multiplicity is not None:
            times = multiplicity[self.cut].astype(np.float64)  # (n,)
            squares = float((times @ rows**2).sum())
        counts = np.bincount(labels, times, k)  # (k,)
        each = np.arange(len(rows) + 1, dtype=labels.dtype)  # (n + 1,)
        resp = csc_array((times, labels, each), (k, len(rows)))  # (k, n)
        return counts, resp @ rows, squares


Assign = Callable[[Points], Iterator[Assignment]]


@dataclass(frozen=True)
class Model(kmeans.Model):
    """k-means whose two steps are one pass over the points.

    It returns what `emlib.models.kmeans.Model` returns, but for rounding.

    Parameters
    ----------
    origin : array of shape (d,), optional
        o, the point that `assign` and `expect` compute about: near the
        data, no digit is lost. Without it the mean of the centres. With
        zeros, rows in double precision are read in place.
    numbers : int
        How many of them `assign` and `expect` may hold at a time, of some
        rows and their joint together.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [9.0]])
    >>> params = Params(np.array([[0.0], [8.0]]))
    >>> statistics, bound = Model().expect(x, params)
    >>> statistics.counts, bound
    (array([2., 1.]), -1.0)
    """

    origin: PerFeature | None = None
    numbers: int = CLUSTER_BYTES // 8

    def assign(self, params: Params) -> Assign:
        r"""Return a function that takes the E-step fast, for any block.

        .. math::

            -\tfrac12 |x_n - \mu_k|^2 = (\mu_k - o)^{\mathsf T} (x_n - o)
            - \tfrac12 |\mu_k - o|^2 - \tfrac12 |x_n - o|^2

        (`eq-kmeans-joint`), whose last term is the same for all centres.
        Points that rounding might put in the wrong cluster go to `e_step`.

        Parameters
        ----------
        params : Params
            Centres.

        Returns
        -------
        callable
            Of `x`, (n, d); yields an `Assignment` for some rows at a time.
        """
        origin = self._about(params)  # (d,)
        means = params.means - origin  # (k, d)
        level = -0.5 * (means**2).sum(axis=1)[:, None]  # (k, 1)
        lengths = np.sqrt(-2 * level)  # (k, 1)
        size = max(self.numbers // sum(means.shape), 64)
        wide = _repeated(origin.tobytes(), size) if origin.any() else None

        def of(x: Points) -> Iterator[Assignment]:
            for cut in _slices(len(x), size):
                rows = _centred(x[cut], wide)  # (n, d)
                squares = float(np.vdot(rows, rows))
                slack = lengths * (lengths + math.sqrt(squares))  # (k, 1)
                slack *= ROUNDING * (len(origin) + 4)
                joint = means @ rows.T  # (k, n)
                joint += level - slack  # as low as it may be
                top = joint.max(axis=0)  # (n,)
                joint += 2 * slack  # as high
                labels = self._labels(joint >= top, x[cut], params)  # (n,)
                yield Assignment(cut, rows, labels, squares)

        return of

    def expect(
        self,
        x: Points,
        params: Params,
        multiplicity: PerPoint | None = None,
    ) -> tuple[Statistics, float]:
        r"""Return the statistics and the bound of a block, in one pass.

        .. math:: N_k = \sum_n r_{nk}, \qquad \sum_n r_{nk} (x_n - o)

        (`eq-kmeans-statistics`), and half the squared distances, summed.

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Params
            Centres.
        multiplicity : array of shape (n,), optional
            How many times each point counts.

        Returns
        -------
        statistics : Statistics
            As `summarise` returns them.
        bound : float
            Half the squared distances, summed over the points, negative.
        """
        origin = self._about(params)  # (d,)
        means = params.means - origin  # (k, d)
        counts, sums, squares = np.zeros(len(means)), 0 * means, 0.0
        for some in self.assign(params)(x):
            found = some.sums(len(means), multiplicity)
            counts += found[0]
            sums += found[1]
            squares += found[2]
        apart = squares - 2 * np.vdot(means, sums)
        apart += counts @ (means**2).sum(axis=1)
        return Statistics(counts, origin, sums), -0.5 * float(apart)

    def _about(self, params: Params) -> PerFeature:
        """Return the point to compute about."""
        if self.origin is not None:
            return self.origin
        mean: PerFeature = params.means.mean(axis=0)  # (d,)
        return mean

    def _labels(self, near: Any, x: Points, params: Params) -> PerPoint:
        """Return each point's cluster, given which are near, (k, n)."""
        rows = np.arange(len(near), dtype=np.min_scalar_type(len(near)))
        only = near.view(np.uint8) * rows[:, None]  # (k, n)
        found = np.add.reduce(only, axis=0, dtype=rows.dtype)  # (n,)
        labels: PerPoint = found.astype(np.int32)
        if np.count_nonzero(near) != len(x):
            tied = near.sum(axis=0) != 1  # (n,)
            resp = self.e_step(x[tied], params).resp  # (n, k)
            labels[tied] = resp.argmax(axis=1)
        return labels


def _slices(n: int, most: int) -> list[slice]:
    """Return even slices of n rows, of so many at most."""
    size = -(-n // max(1, -(-n // most)))
    return [slice(begin, begin + size) for begin in range(0, n, size)]


@lru_cache(maxsize=2)
def _repeated(origin: bytes, rows: int) -> Points:
    """Return a point as equal rows; all blocks and turns share them."""
    return np.tile(np.frombuffer(origin), (rows, 1))  # (n, d)


def _centred(x: Points, wide: Any) -> Points:
    """Return x - origin in double precision; without one, x itself.

    The origin comes as one row for each of x: so numpy goes through both
    in one long stride.
    """
    if wide is None:
        return np.ascontiguousarray(x, dtype=np.float64)
    rows: Points = np.subtract(x, wide[: len(x)], order="C")  # (n, d)
    return rows
