"""From log joint to posterior, and how far a guess of it is from the truth.

All values are in nats.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import entr

from emlib.shapes import PerPoint, Table

__all__ = [
    "Posterior",
    "bound",
    "entropy",
    "gap",
    "normalise",
]


class Posterior(NamedTuple):
    """What the E-step returns.

    Attributes
    ----------
    resp : array of shape (n, k)
        r_nk = p(z_n = k | x_n), the responsibilities; each row sums to 1.
    log_evidence : array of shape (n,)
        log p(x_n), in nats.
    """

    resp: Table
    log_evidence: PerPoint


def normalise(log_joint: Table) -> Posterior:
    r"""Return responsibilities and log evidence, by Bayes' rule in logs.

    .. math:: r_{nk} = \frac{p(x_n, z_n = k)}{\sum_l p(x_n, z_n = l)}

    (`eq-coins-e`). The largest entry of a row is taken out before `exp`
    (`eq-tools-lse`), so no row under- or overflows.

    Parameters
    ----------
    log_joint : array of shape (n, k)
        log p(x_n, z_n = k), in nats; minus infinity is allowed.

    Returns
    -------
    Posterior
        Named tuple `(resp (n, k), log_evidence (n,))`.

    Raises
    ------
    FloatingPointError
        If no component allows a row, or a row holds a NaN; the row is
        named.

    Examples
    --------
    >>> import numpy as np
    >>> normalise(np.log([[0.1, 0.3]])).resp
    array([[0.25, 0.75]])

    References
    ----------
    Blanchard, Higham and Higham (2021), Accurately computing the
    log-sum-exp and softmax functions.
    """
    peak = log_joint.max(axis=1, keepdims=True)  # (n, 1)
    if not np.isfinite(peak).all():
        row = int(np.flatnonzero(~np.isfinite(peak))[0])
        raise FloatingPointError(
            f"each row must be possible under some component; row {row} of "
            f"the log joint is {log_joint[row]}. Is a parameter at its "
            f"limit, or not a number?"
        )
    joint = np.exp(log_joint - peak)  # (n, k)
    total = joint.sum(axis=1, keepdims=True)  # (n, 1)
    return Posterior(joint / total, (peak + np.log(total))[:, 0])


def entropy(resp: Table) -> PerPoint:
    r"""Return the entropy of each row: how undecided it is, in nats.

    .. math:: H(r_n) = -\sum_k r_{nk} \log r_{nk}

    (`eq-jensen-entropy`), with 0 log 0 = 0.

    Parameters
    ----------
    resp : array of shape (n, k)
        Responsibilities; each row sums to 1.

    Returns
    -------
    array of shape (n,)
        Between 0 and log k nats.

    Examples
    --------
    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4)
    array([0.6931, 0.    ])

    References
    ----------
    Shannon (1948), A mathematical theory of communication.
    """
    rows: PerPoint = entr(resp).sum(axis=1)  # (n,)
    return rows


def _total(rows: PerPoint, multiplicity: PerPoint | None) -> float:
    """Return the sum of the rows; one that counts 0 times is absent."""
    if multiplicity is None:
        return float(rows.sum())
    present = multiplicity > 0  # (n,)
    return float(multiplicity[present] @ rows[present])


def bound(
    log_joint: Table, resp: Table, multiplicity: PerPoint | None = None
) -> float:
    r"""Return the bound on the log evidence that responsibilities give.

    .. math::

        F = \sum_n \Big( \sum_k r_{nk} \log p(x_n, z_n = k) + H(r_n) \Big)

    (`eq-jensen-bound`), also called the ELBO or the negative free energy.

    Parameters
    ----------
    log_joint : array of shape (n, k)
        log p(x_n, z_n = k), in nats.
    resp : array of shape (n, k)
        Any responsibilities; each row sums to 1.
    multiplicity : array of shape (n,), optional
        How many times each row counts.

    Returns
    -------
    float
        In nats, summed over the rows; minus infinity where `resp` believes
        in a label that the model forbids.

    Examples
    --------
    >>> import numpy as np
    >>> log_joint = np.log([[0.1, 0.3]])
    >>> resp = np.array([[0.25, 0.75]])
    >>> round(bound(log_joint, resp), 4), round(float(np.log(0.4)), 4)
    (-0.9163, -0.9163)

    References
    ----------
    Neal and Hinton (1998), A view of the EM algorithm that justifies
    incremental, sparse, and other variants.
    """
    believed = np.where(resp > 0, log_joint, 0.0)  # (n, k)
    rows = (resp * believed).sum(axis=1) + entropy(resp)  # (n,)
    return _total(rows, multiplicity)


def gap(
    log_joint: Table, resp: Table, multiplicity: PerPoint | None = None
) -> float:
    r"""Return how far the bound lies below the log evidence.

    .. math:: \mathrm{KL}(r, p) = \sum_n \sum_k r_{nk} \log
        \frac{r_{nk}}{p(z_n = k \mid x_n)}

    (`eq-jensen-gap`); zero exactly where `resp` is the posterior.

    Parameters
    ----------
    log_joint : array of shape (n, k)
        log p(x_n, z_n = k), in nats.
    resp : array of shape (n, k)
        Any responsibilities; each row sums to 1.
    multiplicity : array of shape (n,), optional
        How many times each row counts.

    Returns
    -------
    float
        In nats, summed over the rows, never negative but for rounding.

    Examples
    --------
    >>> import numpy as np
    >>> round(gap(np.log([[0.1, 0.3]]), np.array([[0.5, 0.5]])), 4)
    0.1438

    References
    ----------
    Kullback and Leibler (1951), On information and sufficiency.
    """
    evidence = normalise(log_joint).log_evidence[:, None]  # (n, 1)
    believed = np.where(resp > 0, log_joint - evidence, 0.0)  # (n, k)
    rows = -(resp * believed).sum(axis=1) - entropy(resp)  # (n,)
    return _total(rows, multiplicity)
