"""From log joint to posterior, and how far a guess of it is from the truth.

All values are in nats.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr

from emlib.shapes import Features, Natural, PerPoint, Table

__all__ = [
    "Posterior",
    "bound",
    "credited",
    "entropy",
    "gap",
    "normalise",
    "settle",
    "settle_odds",
    "tally",
    "tally_odds",
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


def settle(
    log_joint: Features, multiplicity: PerPoint | None = None
) -> float:
    r"""Turn log joints into responsibilities in place; return the bound.

    .. math::

        c_n r_{nk} = c_n \frac{p(x_n, z_n = k)}{p(x_n)}, \qquad
        \sum_n c_n \log p(x_n)

    (`eq-coins-e`), with points along the last axis. Where a log joint is
    beyond -280 to 280 (float32: 32), each point's largest is taken out
    first (`eq-tools-lse`), and what is under e^-700 of it (float32: e^-80)
    becomes 0.

    Parameters
    ----------
    log_joint : array of shape (k, n)
        log p(x_n, z_n = k), in nats; it is overwritten by each point's
        responsibilities, as often as the point counts.
    multiplicity : array of shape (n,), optional
        How many times each point counts.

    Returns
    -------
    float
        In nats, summed over the points.

    Examples
    --------
    >>> import numpy as np
    >>> joint = np.log([[0.1], [0.3]])
    >>> round(settle(joint), 4), joint.ravel().round(2)
    (-0.9163, array([0.25, 0.75]))

    References
    ----------
    Blanchard, Higham and Higham (2021), Accurately computing the
    log-sum-exp and softmax functions.
    """
    least = -700 if log_joint.itemsize == 8 else -80
    low, high = log_joint.min(initial=0), log_joint.max(initial=0)
    far = not (0.4 * least < low and high < -0.4 * least)
    peak = log_joint.max(axis=0) if far else 0  # (n,)
    if far:
        log_joint -= peak
        np.clip(log_joint, least, 0, out=log_joint)  # below, `exp` is slow
    np.exp(log_joint, out=log_joint)
    if far:
        log_joint -= np.exp(log_joint.dtype.type(least))
    total = log_joint.sum(axis=0)  # (n,)
    log_joint *= 1 / total if multiplicity is None else multiplicity / total
    evidence = np.log(total, out=total)  # (n,)
    evidence += peak
    if multiplicity is None:
        return float(evidence.sum(dtype=np.float64))
    return float(multiplicity.astype(np.float64) @ evidence)


def settle_odds(
    resp: Features, multiplicity: PerPoint | None = None
) -> float:
    r"""Turn log odds into responsibilities in place; return the rest.

    .. math::

        o_{nk} = \log \frac{p(x_n, z_n = k)}{p(x_n, z_n = 1)}, \qquad
        c_n r_{nk} = \frac{c_n e^{o_{nk}}}{1 + \sum_{l > 1} e^{o_{nl}}},
        \qquad \sum_n c_n \log \Bigl( 1 + \sum_{l > 1} e^{o_{nl}} \Bigr)

    (`eq-gaussians_fast-odds`), with points along the last axis: as
    `settle`, without a search for the largest, and one `exp` a point less.
    Odds under e^-700 (float32: e^-80) become 0; where some are above
    e^630 (e^72), `settle` takes over.

    Parameters
    ----------
    resp : array of shape (k, n)
        From the second row on o_nk, in nats; the first is not read. It is
        overwritten by each point's responsibilities, as often as the point
        counts.
    multiplicity : array of shape (n,), optional
        How many times each point counts.

    Returns
    -------
    float
        What the bound is above the first component's log joint, in nats,
        summed over the points.

    Examples
    --------
    >>> import numpy as np
    >>> resp = np.array([[0.0], [np.log(3)]])
    >>> round(settle_odds(resp), 4), resp.ravel().round(2)
    (1.3863, array([0.25, 0.75]))

    References
    ----------
    Cox (1958), The regression analysis of binary sequences.
    """
    resp[0], odds = 0, resp[1:]  # (k - 1, n)
    least = -700 if resp.itemsize == 8 else -80
    if odds.max(initial=0) > -0.9 * least:
        return settle(resp, multiplicity)
    np.clip(odds, least, -least, out=odds)  # below, `exp` is slow
    np.exp(odds, out=odds)
    odds -= np.exp(resp.dtype.type(least))
    total = odds.sum(axis=0)  # (n,)
    total += 1
    resp[0] = 1 / total if multiplicity is None else multiplicity / total
    with np.errstate(under="ignore"):
        odds *= resp[0]
    rest = np.log(total, out=total)  # (n,)
    if multiplicity is None:
        return float(rest.sum(dtype=np.float64))
    return float(multiplicity.astype(np.float64) @ rest)


def tally(
    natural: Natural,
    features: Features,
    multiplicity: PerPoint | None = None,
) -> tuple[Natural, float]:
    r"""Return what the M-step needs, and the bound, in one pass.

    .. math::

        \log p(x_n, z_n = k) = \eta_k^{\mathsf T} \phi(x_n), \qquad
        \sum_n r_{nk} \phi(x_n), \qquad \sum_n \log p(x_n)

    (`eq-gaussians_fast-natural`). Nothing is kept of the responsibilities
    but their sums.

    Parameters
    ----------
    natural : array of shape (k, p)
        eta_k, finite.
    features : array of shape (p, n)
        phi(x_n), one column a point.
    multiplicity : array of shape (n,), optional
        How many times each point counts.

    Returns
    -------
    sums : array of shape (k, p)
        The features credited to each component.
    bound : float
        In nats, summed over the points.

    Examples
    --------
    >>> import numpy as np
    >>> natural = np.log([[0.1], [0.3]])
    >>> sums, bound = tally(natural, np.ones((1, 4)))
    >>> sums.ravel(), round(bound, 4), round(4 * float(np.log(0.4)), 4)
    (array([1., 3.]), -3.6652, -3.6652)

    References
    ----------
    Sundberg (1974), Maximum likelihood theory for incomplete data from an
    exponential family.
    """
    resp = natural @ features  # (k, n)
    bound = settle(resp, multiplicity)
    return credited(resp, features), bound


def tally_odds(
    natural: Natural,
    features: Features,
    multiplicity: PerPoint | None = None,
    first: int = 0,
) -> tuple[Natural, float]:
    r"""Return what `tally` returns, from log odds against one component.

    .. math::

        o_{nk} = (\eta_k - \eta_1)^{\mathsf T} \phi(x_n), \qquad
        \sum_n \log p(x_n) = \eta_1^{\mathsf T} \sum_n \phi(x_n)
        + \sum_n \log \Bigl( 1 + \sum_{l > 1} e^{o_{nl}} \Bigr)

    (`eq-gaussians_fast-odds`). Where the first term is more than four
    times the sum, `tally` does it again, for the digits.

    Parameters
    ----------
    natural : array of shape (k, p)
        eta_k, finite.
    features : array of shape (p, n)
        phi(x_n), one column a point.
    multiplicity : array of shape (n,), optional
        How many times each point counts.
    first : int
        The component that the others are compared with: one that no point
        is far from.

    Returns
    -------
    sums : array of shape (k, p)
        The features credited to each component.
    bound : float
        In nats, summed over the points.

    Examples
    --------
    >>> import numpy as np
    >>> natural = np.log([[0.1], [0.3]])
    >>> sums, bound = tally_odds(natural, np.ones((1, 4)))
    >>> sums.ravel().round(12), round(bound, 4)
    (array([1., 3.]), -3.6652)

    References
    ----------
    Cox (1958), The regression analysis of binary sequences.
    """
    others = np.delete(np.arange(len(natural)), first)  # (k - 1,)
    resp = np.empty((len(natural), features.shape[1]), features.dtype)
    odds = natural[others] - natural[first]  # (k - 1, p)
    np.matmul(odds, features, out=resp[1:])  # (k - 1, n)
    rest, sums = settle_odds(resp, multiplicity), np.empty_like(natural)
    sums[[first, *others]] = credited(resp, features)  # (k, p)
    level = float(natural[first] @ sums.sum(axis=0))
    if abs(level) > 4 * abs(level + rest):  # digits would cancel
        return tally(natural, features, multiplicity)
    return sums, level + rest


def credited(resp: Features, features: Features) -> Any:
    r"""Return the features credited to each component.

    .. math:: \sum_n r_{nk} \phi(x_n)

    (`eq-gaussians_fast-natural`).

    Parameters
    ----------
    resp : array of shape (k, n)
        Responsibilities, as often as each point counts.
    features : array of shape (p, n)
        phi(x_n), one column a point.

    Returns
    -------
    array of shape (k, p)
        Sums over the points.

    Examples
    --------
    >>> credited(np.array([[1.0, 0.5]]), np.array([[2.0, 4.0]]))
    array([[4.]])

    References
    ----------
    Sundberg (1974), Maximum likelihood theory for incomplete data from an
    exponential family.
    """
    # `dot` lets other threads run; `@` with a result this small does not.
    few, long = len(resp) * len(features) < 16, resp.shape[1] > 4096
    if few and (long or resp.itemsize == 4):  # these round less, too
        return np.array([[np.dot(r, f) for f in features] for r in resp])
    return np.dot(features, resp.T).T  # (k, p)
