"""The sums of routing: few walks over the votes, and digits kept.

Each function that walks over all votes has its slopes written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

__all__ = [
    "density_offset",
    "distances",
    "moments",
    "pairwise_sum",
    "relative_joint",
    "vote_centre",
]


def pairwise_sum(terms: Any) -> Any:
    r"""Return the sum over children, half of them added to the other half.

    .. math:: \sum_{i < I} x_i =
        \sum_{i < I/2} \big( x_i + x_{i + I/2} \big)

    (`eq-fast-halves`), while halves are even: a compiler adds halves while
    it computes the terms, and rounding errors grow with log I.

    Parameters
    ----------
    terms : tensor of shape (i, ...)
        One a child.

    Returns
    -------
    tensor of shape (...)
        Their sum.

    Examples
    --------
    >>> float(pairwise_sum(np.ones(288)))
    288.0
    """
    while terms.shape[0] > 72 and terms.shape[0] % 2 == 0:
        half = terms.shape[0] // 2
        terms = terms[:half] + terms[half:]
    return ops.sum(terms, axis=0)


def vote_centre(votes: Any) -> Any:
    r"""Return the plain mean of the votes, as a number that does not move.

    .. math:: c_j^h = \frac 1I \sum_i V_{ij}^h, \qquad
        \operatorname{route}(V) = \operatorname{route}(V - c) + c

    (`eq-fast-middle`): votes that agree far from 0 keep their digits when
    they are routed about their centre, and no slope depends on it.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.

    Returns
    -------
    tensor of shape (..., h, j)
        In the unit of the poses.

    Examples
    --------
    >>> float(vote_centre(np.array([[[1.0]], [[3.0]]]))[0, 0])
    2.0
    """
    return ops.stop_gradient(pairwise_sum(votes) / votes.shape[0])


@ops.custom_gradient
def moments(votes: Any, shares: Any) -> Any:
    r"""Return the mean and the variance of the votes, each with its share.

    .. math::

        \mu = \sum_i s_i V_i, \qquad
        v = \sum_i s_i (V_i - \mu)^2, \qquad \sum_i s_i = 1

    and, for slopes g of the mean and w of the variance,

    .. math::

        \frac{\partial}{\partial V_i} = s_i \big( g + 2 w (V_i - \mu) \big),
        \qquad \frac{\partial}{\partial s_i} = \sum_h
        (V_i - \mu) \big( g + w (V_i - \mu) \big)

    (`eq-fast-moments`), up to a constant that shares cannot feel.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    shares : tensor of shape (i, ..., j)
        They sum to 1 over the children.

    Returns
    -------
    tensor of shape (2, ..., h, j)
        Means, and variances without a floor.

    Examples
    --------
    >>> votes = np.array([[[0.0]], [[4.0]]])  # (i, h, j)
    >>> said = moments(votes, np.array([[0.25], [0.75]]))
    >>> ops.convert_to_numpy(said).ravel()
    array([3., 3.])
    """
    each = ops.expand_dims(shares, -2)  # (i, ..., 1, j)
    means = pairwise_sum(each * votes)  # (..., h, j)
    variances = pairwise_sum(each * ops.square(votes - means))

    def slopes(*arrived: Any, upstream: Any = None) -> tuple[Any, Any]:
        both = arrived[0] if upstream is None else upstream
        g, w = both[0], both[1]  # (..., h, j)
        apart = votes - means  # (i, ..., h, j)
        of_shares = ops.sum(apart * (g + w * apart), axis=-2)
        return each * (g + 2 * w * apart), of_shares

    return ops.stack([means, variances]), slopes


@ops.custom_gradient
def distances(votes: Any, means: Any, variances: Any) -> Any:
    r"""Return how much farther than usual each vote lies from each parent.

    .. math:: D_{ij} = \sum_h \Big(
        \frac{(V_{ij}^h - \mu_j^h)^2}{(\sigma_j^h)^2} - 1 \Big)

    (`eq-fast-distance`): the square of the distance in the parent's own
    unit, less its mean; so most sums stay small, and keep their digits.
    Slopes are written out, too.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    means, variances : tensors of shape (..., h, j)
        Of each parent.

    Returns
    -------
    tensor of shape (i, ..., j)
        Without a unit.

    Examples
    --------
    >>> votes = np.array([[[0.0]], [[4.0]]])  # (i, h, j)
    >>> said = distances(votes, np.array([[1.0]]), np.array([[0.5]]))
    >>> ops.convert_to_numpy(said).ravel()
    array([ 1., 17.])
    """
    terms = ops.square(votes - means) / variances - 1  # (i, ..., h, j)

    def slopes(*arrived: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        g = arrived[0] if upstream is None else upstream  # (i, ..., j)
        pull = ops.expand_dims(g, -2) * (votes - means)  # (i, ..., h, j)
        of_means = -2 * pairwise_sum(pull) / variances
        bend = pairwise_sum(pull * (votes - means))  # (..., h, j)
        return 2 * pull / variances, of_means, -bend / ops.square(variances)

    return ops.sum(terms, axis=-2), slopes


def density_offset(entries: int) -> float:
    r"""Return what a usual vote's log density has of each parent alike.

    .. math:: c = -\frac H2 (1 + \log 2 \pi)

    (`eq-fast-constant`).

    Parameters
    ----------
    entries : int
        H, of a pose.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> round(density_offset(16), 2)
    -22.7
    """
    return -0.5 * entries * float(1 + np.log(2 * np.pi))


def relative_joint(
    votes: Any, means: Any, variances: Any, log_activations: Any
) -> Any:
    r"""Return the log joint without what is the same for all parents.

    .. math:: g_{ij} - c = \log a_j
        - \sum_h \log \sigma_j^h - \tfrac12 D_{ij}

    (`eq-fast-constant`): shares do not feel the constant, and numbers near
    0 keep more digits.

    Parameters
    ----------
    votes, means, variances, log_activations
        As in `log_joint`.

    Returns
    -------
    tensor of shape (i, ..., j)
        In nats.

    Examples
    --------
    >>> one = np.zeros((1, 1, 1), "float32")
    >>> parent = one[0], np.ones((1, 1), "float32"), np.zeros(1, "f4")
    >>> float(relative_joint(one, *parent)[0, 0])
    0.5
    """
    widths = 0.5 * ops.sum(ops.log(variances), axis=-2)  # (..., j)
    height = log_activations - widths  # (..., j)
    return height - 0.5 * distances(votes, means, variances)
