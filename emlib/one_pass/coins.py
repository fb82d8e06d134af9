"""A mixture of binomials, in the form to run: both steps in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from emlib.models import coins
from emlib.models.coins import Params, Statistics, log_choose
from emlib.one_pass.families import (
    LOG_ZERO,
    expected_statistics,
    expected_statistics_from_odds,
)
from emlib.shapes import Counts, Natural, PerPoint

__all__ = ["Model", "natural_parameters"]

NEVER = -1e200  # lower than any log joint, higher than any with LOG_ZERO


def natural_parameters(params: Params) -> Natural:
    r"""Return what heads, tails and 1 are multiplied by in the log joint.

    .. math:: \eta_k = (\log \theta_k, \log (1 - \theta_k), \log \pi_k)

    (`eq-one_pass-natural`), but for the number of orders.

    Parameters
    ----------
    params : Params
        Weights and means.

    Returns
    -------
    array of shape (k, 3)
        In nats a toss, the last column in nats; `LOG_ZERO` stands for
        minus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> fair = Params(np.array([1.0]), np.array([0.5]))
    >>> natural_parameters(fair).round(2)
    array([[-0.69, -0.69,  0.  ]])

    References
    ----------
    Brown (1986), Fundamentals of statistical exponential families.
    """
    with np.errstate(divide="ignore"):
        sides = np.log(params.means), np.log1p(-params.means)  # (k,)
        rows = np.stack([*sides, np.log(params.weights)], axis=1)  # (k, 3)
    eta: Natural = np.maximum(rows, LOG_ZERO[8])  # (k, 3)
    return eta


@dataclass(frozen=True)
class Model(coins.Model):
    """A mixture of binomials whose two steps are one pass over the rows.

    It returns what `emlib.models.coins.Model` returns, but for rounding.

    Parameters
    ----------
    learn_weights, count_orders
        As in `emlib.models.coins.Model`.

    Examples
    --------
    >>> import numpy as np
    >>> params = Params(np.array([0.5, 0.5]), np.array([0.6, 0.5]))
    >>> statistics, bound = Model().expect(np.array([[5, 5]]), params)
    >>> statistics.counts.round(2), round(bound, 4)
    (array([0.45, 0.55]), -1.4989)
    """

    def expect(
        self,
        x: Counts,
        params: Params,
        multiplicity: PerPoint | None = None,
    ) -> tuple[Statistics, float]:
        r"""Return the statistics and the bound of a block, in one pass.

        .. math::

            \log p(x_n, z_n = k) = \eta_k^{\mathsf T} (h_n, t_n, 1)

        (`eq-one_pass-natural`), but for the number of orders; by log
        odds against the middle coin (`eq-one_pass-odds`) unless some
        coin forbids some row.

        Parameters
        ----------
        x : array of shape (n, 2)
            Heads and tails of each row.
        params : Params
            Weights and means.
        multiplicity : array of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        statistics : Statistics
            As `summarise` returns them.
        bound : float
            In nats, summed over the rows.

        Raises
        ------
        FloatingPointError
            If no coin allows a row.
        """
        eta = natural_parameters(params)  # (k, 3)
        middle = int(params.means.argsort()[len(eta) // 2])
        odds = partial(expected_statistics_from_odds, first=middle)
        both = odds if (eta > NEVER).all() else expected_statistics
        features = np.empty((3, len(x)))  # (3, n)
        features[:2], features[2] = x.T, 1
        sums, bound = both(eta, features, multiplicity)
        if not bound > NEVER:
            self.e_step(x, params)  # it names the row
        heads, tails, counts = sums.T  # (k,)
        if self.count_orders:
            times = 1.0 if multiplicity is None else multiplicity
            bound += float((times * log_choose(x)).sum())
        return Statistics(counts, heads, tails), bound
