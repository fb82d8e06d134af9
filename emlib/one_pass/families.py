"""Both steps of any exponential family, in one pass over its points.

A log joint is a product of natural parameters and sufficient statistics,
here called features, and so are the sums of the M-step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.shapes import Features, Natural, PerPoint

__all__ = [
    "expected_statistics",
    "expected_statistics_from_odds",
    "softmax_in_place",
    "softmax_of_odds",
    "weighted_sums",
]

# By the size of a number in bytes. So finite that 0 times it is 0, and so
# low that it stays lowest: it stands for the logarithm of 0.
LOG_ZERO = {8: -1e290, 4: -1e30}
# The logarithm of what is nothing beside 1; below it `exp` is slow.
LOG_TINY = {8: -700, 4: -80}


def softmax_in_place(
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
    >>> round(softmax_in_place(joint), 4), joint.ravel().round(2)
    (-0.9163, array([0.25, 0.75]))

    References
    ----------
    Blanchard, Higham and Higham (2021), Accurately computing the
    log-sum-exp and softmax functions.
    """
    least = LOG_TINY[log_joint.itemsize]
    low, high = log_joint.min(initial=0), log_joint.max(initial=0)
    far = not (0.4 * least < low and high < -0.4 * least)
    if far:
        peak = log_joint.max(axis=0)  # (n,)
        log_joint -= peak
        np.clip(log_joint, least, 0, out=log_joint)  # below, `exp` is slow
    np.exp(log_joint, out=log_joint)
    if far:
        log_joint -= np.exp(log_joint.dtype.type(least))
    total = log_joint.sum(axis=0)  # (n,)
    log_joint *= 1 / total if multiplicity is None else multiplicity / total
    evidence = np.log(total) + peak if far else np.log(total)  # (n,)
    if multiplicity is None:
        return float(evidence.sum(dtype=np.float64))
    return float(multiplicity.astype(np.float64) @ evidence)


def softmax_of_odds(
    resp: Features, multiplicity: PerPoint | None = None
) -> float:
    r"""Turn log odds into responsibilities in place; return the rest.

    .. math::

        o_{nk} = \log \frac{p(x_n, z_n = k)}{p(x_n, z_n = 1)}, \qquad
        c_n r_{nk} = \frac{c_n e^{o_{nk}}}{1 + \sum_{l > 1} e^{o_{nl}}},
        \qquad \sum_n c_n \log \Bigl( 1 + \sum_{l > 1} e^{o_{nl}} \Bigr)

    (`eq-one_pass-odds`), with points along the last axis: as
    `softmax_in_place`, without a search for the largest, and one `exp` a
    point less. Odds under e^-700 (float32: e^-80) become 0; where some are
    above e^630 (e^72), `softmax_in_place` takes over.

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
    >>> round(softmax_of_odds(resp), 4), resp.ravel().round(2)
    (1.3863, array([0.25, 0.75]))

    References
    ----------
    Cox (1958), The regression analysis of binary sequences.
    """
    resp[0], odds = 0, resp[1:]  # (k - 1, n)
    least = LOG_TINY[resp.itemsize]
    if odds.max(initial=0) > -0.9 * least:
        return softmax_in_place(resp, multiplicity)
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


def expected_statistics(
    natural: Natural,
    features: Features,
    multiplicity: PerPoint | None = None,
) -> tuple[Natural, float]:
    r"""Return what the M-step needs, and the bound, in one pass.

    .. math::

        \log p(x_n, z_n = k) = \eta_k^{\mathsf T} \phi(x_n), \qquad
        \sum_n r_{nk} \phi(x_n), \qquad \sum_n \log p(x_n)

    (`eq-one_pass-natural`). Nothing is kept of the responsibilities
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
    >>> sums, bound = expected_statistics(natural, np.ones((1, 4)))
    >>> sums.ravel(), round(bound, 4), round(4 * float(np.log(0.4)), 4)
    (array([1., 3.]), -3.6652, -3.6652)

    References
    ----------
    Sundberg (1974), Maximum likelihood theory for incomplete data from an
    exponential family.
    """
    resp = natural @ features  # (k, n)
    bound = softmax_in_place(resp, multiplicity)
    return weighted_sums(resp, features), bound


def expected_statistics_from_odds(
    natural: Natural,
    features: Features,
    multiplicity: PerPoint | None = None,
    first: int = 0,
) -> tuple[Natural, float]:
    r"""Return the same by log odds against one of the components.

    .. math::

        o_{nk} = (\eta_k - \eta_1)^{\mathsf T} \phi(x_n), \qquad
        \sum_n \log p(x_n) = \eta_1^{\mathsf T} \sum_n \phi(x_n)
        + \sum_n \log \Bigl( 1 + \sum_{l > 1} e^{o_{nl}} \Bigr)

    (`eq-one_pass-odds`): what `expected_statistics` returns. Where
    the first term is more than four times the sum, that function does it
    again, for the digits.

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
    >>> ones = np.ones((1, 4))
    >>> sums, bound = expected_statistics_from_odds(natural, ones)
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
    rest, sums = softmax_of_odds(resp, multiplicity), np.empty_like(natural)
    sums[[first, *others]] = weighted_sums(resp, features)  # (k, p)
    level = float(natural[first] @ sums.sum(axis=0))
    if abs(level) > 4 * abs(level + rest):  # digits would cancel
        return expected_statistics(natural, features, multiplicity)
    return sums, level + rest


def weighted_sums(resp: Features, features: Features) -> Any:
    r"""Return the features credited to each component.

    .. math:: \sum_n r_{nk} \phi(x_n)

    (`eq-one_pass-natural`).

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
    >>> weighted_sums(np.array([[1.0, 0.5]]), np.array([[2.0, 4.0]]))
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
