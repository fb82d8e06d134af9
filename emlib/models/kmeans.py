"""k-means: the cold E-step, in which every point takes one side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

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


@dataclass(frozen=True)
class Model:
    """k-means, in the names of the loop; the object holds options only.

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
