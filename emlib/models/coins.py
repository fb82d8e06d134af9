"""A mixture of binomials: some coins, and the labels lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, gammaln, logit, softmax, xlog1py, xlogy

from emlib.bound import Posterior, normalise
from emlib.shapes import (
    Counts,
    PerComponent,
    PerPoint,
    Table,
    Vector,
)

__all__ = [
    "Model",
    "Params",
    "Statistics",
    "log_choose",
    "log_tosses",
]


class Params(NamedTuple):
    """What the coins are like.

    Attributes
    ----------
    weights : array of shape (k,)
        pi_k = p(z_n = k), how often each coin is drawn; sums to 1.
    means : array of shape (k,)
        theta_k, each coin's chance of heads, between 0 and 1.
    """

    weights: PerComponent
    means: PerComponent


@dataclass(frozen=True)
class Statistics:
    """What the M-step needs of the data; statistics of blocks add.

    Attributes
    ----------
    counts : array of shape (k,)
        N_k = sum_n r_nk, rows credited to each coin.
    heads : array of shape (k,)
        sum_n r_nk h_n, heads credited to each coin.
    tails : array of shape (k,)
        sum_n r_nk t_n, tails credited to each coin.
    """

    counts: PerComponent
    heads: PerComponent
    tails: PerComponent

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        return Statistics(
            self.counts + other.counts,
            self.heads + other.heads,
            self.tails + other.tails,
        )

    def __radd__(self, other: object) -> Statistics:
        zero = isinstance(other, int) and other == 0
        return self if zero else NotImplemented


def log_choose(x: Counts) -> PerPoint:
    r"""Return the log number of orders in which a row's tosses can fall.

    .. math:: \log \binom{h_n + t_n}{h_n}

    (`eq-likelihood-choose`).

    Parameters
    ----------
    x : array of shape (n, 2)
        Heads and tails of each row.

    Returns
    -------
    array of shape (n,)
        In nats.

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(log_choose(np.array([[2, 2]]))).round(6)
    array([6.])

    References
    ----------
    Feller (1968), An introduction to probability theory and its
    applications, II.4.
    """
    x = x.astype(np.float64)  # (n, 2)
    orders: PerPoint = gammaln(x.sum(axis=1) + 1)  # (n,)
    orders = orders - gammaln(x + 1).sum(axis=1)  # (n,)
    return orders


def log_tosses(x: Counts, means: PerComponent) -> Table:
    r"""Return the log probability of each row's tosses, in their order.

    .. math:: h_n \log \theta_k + t_n \log (1 - \theta_k)

    (`eq-coins-joint`), with 0 log 0 = 0.

    Parameters
    ----------
    x : array of shape (n, 2)
        Heads and tails of each row.
    means : array of shape (k,)
        Each coin's chance of heads.

    Returns
    -------
    array of shape (n, k)
        In nats; minus infinity where a coin forbids a row.

    Examples
    --------
    >>> import numpy as np
    >>> log_tosses(np.array([[2, 0]]), np.array([0.5, 1.0])).round(4)
    array([[-1.3863,  0.    ]])

    References
    ----------
    Feller (1968), An introduction to probability theory and its
    applications, VI.2.
    """
    if ((means > 0) & (means < 1)).all():
        sides = np.stack([np.log(means), np.log1p(-means)])  # (2, k)
        # One product; its columns lie together, as `normalise` likes them.
        logs: Table = (sides.T @ x.T).T  # (n, k)
        return logs
    heads, tails = x[:, :1], x[:, 1:]  # (n, 1)
    logs = xlogy(heads, means) + xlog1py(tails, -means)  # (n, k)
    return logs


@dataclass(frozen=True)
class Model:
    """A mixture of binomials; the object holds options only.

    Parameters
    ----------
    learn_weights : bool
        Whether the M-step moves the mixing weights. If not, they stay as
        they are in `previous`, or uniform where there is none.
    count_orders : bool
        Whether the binomial coefficient is part of the log joint. Without
        it a row is one sequence of tosses; responsibilities stay the same.

    Examples
    --------
    >>> import numpy as np
    >>> model = Model(learn_weights=False)
    >>> params = Params(np.array([0.5, 0.5]), np.array([0.6, 0.5]))
    >>> model.e_step(np.array([[5, 5], [9, 1]]), params).resp.round(2)
    array([[0.45, 0.55],
           [0.8 , 0.2 ]])
    """

    learn_weights: bool = True
    count_orders: bool = True

    def log_joint(self, x: Counts, params: Params) -> Table:
        r"""Return the log probability of each row together with each label.

        .. math::

            \log p(x_n, z_n = k) = \log \pi_k
            + \log \binom{h_n + t_n}{h_n}
            + h_n \log \theta_k + t_n \log (1 - \theta_k)

        (`eq-coins-joint`), with 0 log 0 = 0.

        Parameters
        ----------
        x : array of shape (n, 2)
            Heads and tails of each row.
        params : Params
            Weights and means.

        Returns
        -------
        array of shape (n, k)
            In nats.
        """
        with np.errstate(divide="ignore"):
            log_weights = np.log(params.weights)  # (k,)
        joint: Table = log_tosses(x, params.means) + log_weights  # (n, k)
        if self.count_orders:
            joint = joint + log_choose(x)[:, None]  # (n, k)
        return joint

    def e_step(self, x: Counts, params: Params) -> Posterior:
        r"""Return the responsibilities and the log evidence.

        .. math:: r_{nk} = \frac{p(x_n, z_n = k)}{\sum_l p(x_n, z_n = l)}

        (`eq-coins-e`).

        Parameters
        ----------
        x : array of shape (n, 2)
            Heads and tails of each row.
        params : Params
            Weights and means.

        Returns
        -------
        Posterior
            Named tuple `(resp (n, k), log_evidence (n,))`.

        Raises
        ------
        FloatingPointError
            If no coin allows a row; the row is named.
        """
        return normalise(self.log_joint(x, params))

    def summarise(
        self,
        x: Counts,
        posterior: Any,
        multiplicity: PerPoint | None = None,
    ) -> Statistics:
        r"""Return the rows, heads and tails credited to each coin.

        .. math:: N_k = \sum_n r_{nk}, \quad H_k = \sum_n r_{nk} h_n,
            \quad T_k = \sum_n r_{nk} t_n

        (`eq-coins-statistics`).

        Parameters
        ----------
        x : array of shape (n, 2)
            Heads and tails of each row.
        posterior : Posterior or Labels
            Whose responsibilities count, (n, k).
        multiplicity : array of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        Statistics
            They add: those of two blocks of rows sum to those of both.
        """
        times = 1 if multiplicity is None else multiplicity[:, None]
        resp = times * posterior.resp  # (n, k)
        heads, tails = x.T @ resp  # (k,)
        return Statistics(resp.sum(axis=0), heads, tails)

    def maximise(
        self, statistics: Statistics, previous: Params | None = None
    ) -> Params:
        r"""Return the parameters at which the expected log joint peaks.

        .. math:: \theta_k = \frac{H_k}{H_k + T_k}, \quad
            \pi_k = \frac{N_k}{N}

        (`eq-coins-theta`, `eq-coins-pi`).

        Parameters
        ----------
        statistics : Statistics
            Expected counts.
        previous : Params, optional
            The last parameters, whose weights are kept if they are not
            learned.

        Returns
        -------
        Params
            Weights and means.

        Raises
        ------
        FloatingPointError
            If a coin is credited with no toss; the coin is named.
        """
        counts = statistics.counts  # (k,)
        tosses = statistics.heads + statistics.tails  # (k,)
        if not tosses.all():
            raise FloatingPointError(
                f"each coin must be credited with some toss; coin "
                f"{tosses.argmin()} is credited with none. Start it nearer "
                f"the data, or use fewer coins."
            )
        if self.learn_weights:
            weights = counts / counts.sum()  # (k,)
        elif previous is not None:
            weights = previous.weights  # (k,)
        else:
            weights = np.full_like(counts, 1 / len(counts))  # (k,)
        return Params(weights, statistics.heads / tosses)

    def pack(self, params: Params) -> Vector:
        r"""Return the free parameters as one vector without limits.

        .. math:: \log \frac{\theta_k}{1 - \theta_k}, \qquad \log \pi_k

        (`eq-speed-pack`); the second half only where weights are learned.

        Parameters
        ----------
        params : Params
            Weights and means.

        Returns
        -------
        array of shape (p,)
            In nats; infinite where a parameter is at its limit.
        """
        logits: Vector = logit(params.means)  # (k,)
        if not self.learn_weights:
            return logits
        with np.errstate(divide="ignore"):
            return np.concatenate([logits, np.log(params.weights)])  # (2k,)

    def unpack(self, vector: Vector, like: Params) -> Params:
        r"""Return the parameters that a vector stands for.

        .. math::

            \theta_k = \frac{1}{1 + e^{-v_k}}, \qquad
            \pi_k = \frac{e^{v_{K + k}}}{\sum_l e^{v_{K + l}}}

        (`eq-speed-unpack`): any vector gives parameters that are allowed.

        Parameters
        ----------
        vector : array of shape (p,)
            As `pack` returns it.
        like : Params
            Where the weights come from if they are not learned.

        Returns
        -------
        Params
            Weights and means.
        """
        k = len(like.means)
        means: PerComponent = expit(vector[:k])  # (k,)
        if not self.learn_weights:
            return Params(like.weights, means)
        weights: PerComponent = softmax(vector[k:])  # (k,)
        return Params(weights, means)

    def sample(
        self,
        params: Params,
        n: int,
        rng: np.random.Generator,
        tosses: int | PerPoint = 10,
    ) -> tuple[Counts, PerPoint]:
        r"""Return rows drawn from the model, and the labels it loses.

        .. math::

            z_n \sim \pi, \qquad
            h_n \sim \operatorname{Binomial}(m, \theta_{z_n})

        (`eq-coins-story`).

        Parameters
        ----------
        params : Params
            Weights and means.
        n : int
            Number of rows.
        rng : numpy.random.Generator
            Source of randomness.
        tosses : int or array of shape (n,)
            Tosses a row, m.

        Returns
        -------
        x : array of shape (n, 2)
            Heads and tails.
        z : array of shape (n,)
            Which coin was tossed.
        """
        z = rng.choice(
            len(params.weights), size=n, p=params.weights
        )  # (n,)
        heads = rng.binomial(tosses, params.means[z])  # (n,)
        return np.stack([heads, tosses - heads], axis=1), z
