"""k-means: the cold E-step, in which every point takes one side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array

from emlib.bound import Posterior
from emlib.shapes import (
    Centres,
    PerComponent,
    PerFeature,
    PerPoint,
    Points,
    Table,
)

__all__ = ["Model", "Params", "Statistics"]

# A product of d numbers errs by some d units of its factors' lengths.
ROUNDING = 4 * float(np.finfo(np.float64).eps)
NUMBERS = 300_000  # some two megabytes: they stay in the cache


class Params(NamedTuple):
    """Where the clusters are.

    Attributes
    ----------
    means : array of shape (k, d)
        mu_k, each cluster's centre, in the unit of the data.
    """

    means: Centres


@dataclass(frozen=True)
class Statistics:
    """What the M-step needs of the data; statistics of blocks add.

    Attributes
    ----------
    counts : array of shape (k,)
        N_k, points of each cluster.
    origin : array of shape (d,)
        o, the point that the sums are taken about.
    sums : array of shape (k, d)
        sum_n r_nk (x_n - o).
    """

    counts: PerComponent
    origin: PerFeature
    sums: Centres

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        shift = other.origin - self.origin  # (d,)
        sums = other.sums + other.counts[:, None] * shift  # (k, d)
        return Statistics(
            self.counts + other.counts, self.origin, self.sums + sums
        )

    def __radd__(self, other: object) -> Statistics:
        zero = isinstance(other, int) and other == 0
        return self if zero else NotImplemented


class Side(NamedTuple):
    """Some rows of a block, and the side that each takes.

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


@dataclass(frozen=True)
class Model:
    """k-means, in the names of the loop; the object holds options only.

    Parameters
    ----------
    origin : array of shape (d,), optional
        o, the point that `nearest` and `expect` compute about: near the
        data, no digit is lost. Without it the mean of the centres. With
        zeros, rows in double precision are read in place.
    numbers : int
        How many of them `nearest` and `expect` may hold at a time, of some
        rows and their joint together.

    Examples
    --------
    >>> model = Model()
    >>> x = np.array([[0.0], [1.0], [9.0]])
    >>> params = Params(np.array([[0.0], [8.0]]))
    >>> model.e_step(x, params).resp
    array([[1., 0.],
           [1., 0.],
           [0., 1.]])
    """

    origin: PerFeature | None = None
    numbers: int = NUMBERS

    def log_joint(self, x: Points, params: Params) -> Table:
        r"""Return minus half the squared distances to the centres.

        .. math:: -\tfrac12 |x_n - \mu_k|^2

        (`eq-kmeans-joint`): the log joint of Gaussians of variance 1 and
        equal weights, but for a constant.

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Params
            Centres.

        Returns
        -------
        array of shape (n, k)
            In the unit of the data squared.
        """
        apart = [((x - mean) ** 2).sum(axis=1) for mean in params.means]
        return -0.5 * np.stack(apart, axis=1)  # (n, k)

    def e_step(self, x: Points, params: Params) -> Posterior:
        r"""Return each point's nearest centre, and how far it is.

        .. math::

            r_{nk} = [\, k = \operatorname{arg\,min}_l |x_n - \mu_l|^2 \,]

        (`eq-kmeans-e`). Ties go to the lowest index.

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Params
            Centres.

        Returns
        -------
        Posterior
            `resp` (n, k) has one 1 a row; `log_evidence` (n,) is minus half
            the squared distance to the nearest centre.
        """
        joint = self.log_joint(x, params)  # (n, k)
        nearest = joint.argmax(axis=1)  # (n,)
        resp = np.eye(joint.shape[1])[nearest]  # (n, k)
        return Posterior(resp, joint.max(axis=1))

    def summarise(
        self,
        x: Points,
        posterior: Any,
        multiplicity: PerPoint | None = None,
        origin: PerFeature | None = None,
    ) -> Statistics:
        r"""Return the points of each cluster, and their sums.

        .. math:: N_k = \sum_n r_{nk}, \qquad \sum_n r_{nk} (x_n - o)

        (`eq-kmeans-statistics`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        posterior : Posterior or Labels
            Whose responsibilities count, (n, k): one 1 a row, or any.
        multiplicity : array of shape (n,), optional
            How many times each point counts.
        origin : array of shape (d,), optional
            o; without it the mean of these points.

        Returns
        -------
        Statistics
            They add: those of two blocks of points sum to those of both.
        """
        times = 1 if multiplicity is None else multiplicity[:, None]
        resp = times * posterior.resp  # (n, k)
        if origin is None:
            origin = x.mean(axis=0)  # (d,)
        return Statistics(resp.sum(axis=0), origin, resp.T @ (x - origin))

    def nearest(self, params: Params) -> Callable[[Points], Iterator[Side]]:
        r"""Return a function that takes the E-step fast, for any block.

        .. math::

            -\tfrac12 |x_n - \mu_k|^2 = (\mu_k - o)^{\mathsf T} (x_n - o)
            - \tfrac12 |\mu_k - o|^2 - \tfrac12 |x_n - o|^2

        (`eq-kmeans-joint`), whose last term is the same for all centres.
        Points that rounding might put on the wrong side go to `e_step`.

        Parameters
        ----------
        params : Params
            Centres.

        Returns
        -------
        callable
            Of `x`, (n, d); yields a `Side` for some rows at a time.
        """
        origin = self._about(params)  # (d,)
        means = params.means - origin  # (k, d)
        level = -0.5 * (means**2).sum(axis=1)[:, None]  # (k, 1)
        lengths = np.sqrt(-2 * level)  # (k, 1)
        size = max(self.numbers // sum(means.shape), 64)
        wide = np.tile(origin, (size, 1)) if origin.any() else None

        def of(x: Points) -> Iterator[Side]:
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
                yield Side(cut, rows, labels, squares)

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
        for side in self.nearest(params)(x):
            found = side.sums(len(means), multiplicity)
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
        """Return each point's side, given which are near, (k, n)."""
        rows = np.arange(len(near), dtype=np.min_scalar_type(len(near)))
        only = near.view(np.uint8) * rows[:, None]  # (k, n)
        found = np.add.reduce(only, axis=0, dtype=rows.dtype)  # (n,)
        labels: PerPoint = found.astype(np.int32)
        if np.count_nonzero(near) != len(x):
            tied = near.sum(axis=0) != 1  # (n,)
            resp = self.e_step(x[tied], params).resp  # (n, k)
            labels[tied] = resp.argmax(axis=1)
        return labels

    def maximise(
        self, statistics: Statistics, previous: Params | None = None
    ) -> Params:
        r"""Return each cluster's mean.

        .. math:: \mu_k = \frac{1}{N_k} \sum_n r_{nk} x_n

        (`eq-kmeans-m`).

        Parameters
        ----------
        statistics : Statistics
            Counts and sums.
        previous : Params, optional
            The last centres; an empty cluster keeps its own.

        Returns
        -------
        Params
            Centres.

        Raises
        ------
        FloatingPointError
            If a cluster is empty and there are no last centres; the
            cluster is named.
        """
        counts = statistics.counts  # (k,)
        empty = counts == 0  # (k,)
        if empty.any() and previous is None:
            raise FloatingPointError(
                f"each cluster must have some point; cluster "
                f"{empty.argmax()} has none. Start it nearer the data, or "
                f"use fewer clusters."
            )
        shares = np.where(empty, 1, counts)[:, None]  # (k, 1)
        means = statistics.origin + statistics.sums / shares  # (k, d)
        if previous is not None:
            means = np.where(empty[:, None], previous.means, means)
        return Params(means)


def _slices(n: int, most: int) -> list[slice]:
    """Return even slices of n rows, of so many at most."""
    size = -(-n // max(1, -(-n // most)))
    return [slice(begin, begin + size) for begin in range(0, n, size)]


def _centred(x: Points, wide: Any) -> Points:
    """Return x - origin in double precision; without one, x itself.

    The origin comes as one row for each of x: so numpy goes through both
    in one long stride.
    """
    if wide is None:
        return np.ascontiguousarray(x, dtype=np.float64)
    rows: Points = np.subtract(x, wide[: len(x)], order="C")  # (n, d)
    return rows
