"""Gaussians as an exponential family, and what rounding takes of it.

A log joint is a product of natural parameters and sufficient statistics,
here called features, and so are the sums of the M-step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Any, NamedTuple

import numpy as np

from emlib.bound import Posterior
from emlib.loop import lazy_property
from emlib.models.covariances import Params
from emlib.one_pass.families import LOG_ZERO
from emlib.scale.standardise import Standardised, Standardiser
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Natural,
    PerComponent,
)

__all__ = [
    "Featured",
    "Precisions",
    "Statistics",
    "cancellation",
    "error_magnification",
    "far_posterior",
    "natural_parameters",
    "precisions",
    "sufficient_statistics",
]


# What rounding may take of a component's shape, by the size of a number.
ALLOWED = {8: 1e-11, 4: 1e-3}
EPS = {8: 2.0**-52, 4: 2.0**-23}
NO_POINT = 1e-300  # in place of 0 points, whose sums are 0, too
CACHE_LINE = 64  # bytes; vectors of the processor are as long, at most


@dataclass(frozen=True)
class Statistics:
    """What the M-step needs of the data; statistics of blocks add.

    They hold as much of the second moments as the kind of covariances
    keeps; those of `emlib.models.gaussians` hold whole matrices.

    Attributes
    ----------
    kind : type
        Full, Tied, Diag or Spherical.
    counts : array of shape (k,)
        N_k, points credited to each component.
    origin : array of shape (k, d)
        o_k, the point that the moments are taken about.
    first : array of shape (k, d)
        sum_n r_nk (z_n - o_k).
    second : array
        sum_n r_nk (z_n - o_k)(z_n - o_k)^T, as much as the kind keeps.
    """

    kind: Any
    counts: PerComponent
    origin: Centres
    first: Centres
    second: Covariances

    @lazy_property
    def shift(self) -> Any:
        """Return how far each mean is from its origin, (k, d)."""
        held = np.maximum(self.counts, NO_POINT)  # (k,)
        return self.first / held[:, None]

    def means(self) -> Any:
        """Return each component's mean, or its origin without points."""
        return self.origin + self.shift  # (k, d)

    @lazy_property
    def central(self) -> Any:
        """Return the second moments about the means."""
        squares = self.kind.squares(self.counts, self.shift)
        return self.second - squares

    def kept(self, kind: Any) -> Any:
        """Return the second moments about the means, as the kind keeps."""
        assert kind is self.kind
        return self.central

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics) or self.kind is not other.kind:
            return NotImplemented
        move = other.origin - self.origin  # (k, d)
        first, second = other.first, other.second
        if move.any():
            squares = self.kind.squares
            ends = first + other.counts[:, None] * move  # (k, d)
            held = np.maximum(other.counts, NO_POINT)  # (k,)
            second = second - squares(other.counts, first / held[:, None])
            second = second + squares(other.counts, ends / held[:, None])
            first = ends
        return Statistics(
            self.kind,
            self.counts + other.counts,
            self.origin,
            self.first + first,
            self.second + second,
        )

    def __radd__(self, other: object) -> Statistics:
        zero = isinstance(other, int) and other == 0
        return self if zero else NotImplemented

    def scaled(self, share: float) -> Statistics:
        """Return the moments of points that count so much each."""
        parts = (self.counts, self.first, self.second)
        counts, first, second = (share * part for part in parts)
        return Statistics(self.kind, counts, self.origin, first, second)


class Precisions(NamedTuple):
    """The inverses of the covariances, in two forms.

    Attributes
    ----------
    roots : array
        U_k, in the shape of the covariances.
    log_dets : array of shape (k,) or ()
        log det U_k, in nats.
    values : array
        U_k^T U_k, in the shape of the covariances.
    """

    roots: Any
    log_dets: Any
    values: Any


def precisions(params: Params) -> Precisions:
    r"""Return the precisions, their roots and log determinants.

    .. math:: \Sigma_k^{-1} = U_k^{\mathsf T} U_k, \qquad
        \log \det U_k = -\tfrac12 \log \det \Sigma_k

    (`eq-one_pass-precisions`): U inverts the Cholesky factor.

    Parameters
    ----------
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.

    Returns
    -------
    Precisions
        Named tuple `(roots, log_dets, values)`.

    Raises
    ------
    Collapse
        If a covariance is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Diag
    >>> one = Diag(np.ones(1), np.zeros((1, 2)), np.array([[4.0, 1.0]]))
    >>> precisions(one).roots
    array([[0.5, 1. ]])

    References
    ----------
    Higham (2002), Accuracy and stability of numerical algorithms, 10.
    """
    kind, d = type(params), params.means.shape[1]
    roots, log_dets = kind.inverse_roots(params.covariances, d)
    return Precisions(roots, log_dets, kind.precision(roots))


def natural_parameters(params: Params, inverse: Precisions) -> Natural:
    r"""Return the numbers that make the log joint linear in the features.

    .. math::

        \eta_k = \big( -\tfrac12 \Sigma_k^{-1}, \;
        \Sigma_k^{-1} \mu_k, \; \log \pi_k - \tfrac12 ( d \log 2\pi
        + \log \det \Sigma_k
        + \mu_k^{\mathsf T} \Sigma_k^{-1} \mu_k ) \big)

    (`eq-one_pass-parameters`), off-diagonal entries doubled.

    Parameters
    ----------
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.
    inverse : Precisions
        What `precisions` makes of them.

    Returns
    -------
    array of shape (k, p)
        One row a component, in the order of `sufficient_statistics`.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Spherical
    >>> one = Spherical(np.ones(1), np.array([[3.0]]), np.array([1.0]))
    >>> natural_parameters(one, precisions(one)).round(3)
    array([[-0.5  ,  3.   , -5.419]])

    References
    ----------
    Brown (1986), Fundamentals of statistical exponential families.
    """
    kind, (k, d) = type(params), params.means.shape
    linear = kind.times(inverse.values, params.means)  # (k, d)
    squares = np.vecdot(linear, params.means)  # (k,)
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(params.weights), LOG_ZERO[8])  # (k,)
    constant = d * log(2 * pi) + squares  # (k,)
    q = kind.n_quadratics(d)
    rows = np.empty((k, q + d + 1))
    rows[:, :q] = kind.coefficients(inverse.values)
    rows[:, q:-1] = linear
    rows[:, -1] = logs + inverse.log_dets - 0.5 * constant
    return rows


def error_magnification(
    params: Params, inverse: Precisions
) -> PerComponent:
    r"""Return how much larger the terms are than what is left of them.

    .. math::

        \sum_{ij} |\Sigma^{-1}_{k,ij}| \, a_{ki} a_{kj}, \qquad
        a_{ki} = |\mu_{ki}| + 3 \sigma_{ki}

    (`eq-one_pass-guard`): rounding takes this many times the machine
    precision from a component's covariance, relative to itself.

    Parameters
    ----------
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances, the means about the origin of the
        features.
    inverse : Precisions
        What `precisions` makes of them.

    Returns
    -------
    array of shape (k,)
        At least about 9 d.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Spherical
    >>> far = np.array([[0.0], [1.0]])
    >>> two = Spherical(np.ones(2) / 2, far, np.array([1, 0.01]))
    >>> error_magnification(two, precisions(two))
    array([  9., 169.])

    References
    ----------
    Higham (2002), Accuracy and stability of numerical algorithms, 1.7.
    """
    kind = type(params)
    spread = 3 * np.sqrt(kind.variances(params.covariances))
    reach = np.abs(params.means) + spread  # (k, d)
    terms = kind.times(np.abs(inverse.values), reach) * reach  # (k, d)
    total: PerComponent = terms.sum(axis=1)
    return total


@dataclass(frozen=True)
class Featured:
    """Rows that hold their features, so that no turn makes them again.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, or `Standardised` ones.
    kind : type
        Full, Tied, Diag or Spherical.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Diag
    >>> rows = Featured(np.array([[2.0, 3.0]]), Diag)
    >>> rows.phi.ravel()
    array([4., 9., 2., 3., 1.])
    """

    x: Any
    kind: Any

    @lazy_property
    def phi(self) -> Features:
        """Return the features, (p, n)."""
        return sufficient_statistics(self.x, self.kind)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: Any) -> Any:
        return self.x[some]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.x, dtype=dtype)

    @property
    def shape(self) -> Any:
        """Return (n, d)."""
        return self.x.shape


def sufficient_statistics(
    x: Any, kind: Any, scratch: Any = None
) -> Features:
    r"""Return what the log joint is linear in, one column a point.

    .. math:: \phi(z) = (z_i z_j)_{i \le j}, \; z, \; 1

    (`eq-one_pass-features`) for full covariances, some products
    twice where d >= 20; the other types need fewer.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, or `Standardised` ones.
    kind : type
        Full, Tied, Diag or Spherical.
    scratch : array, optional
        Of one axis, and at least as many numbers as are returned: where to
        write them.

    Returns
    -------
    array of shape (p, n)
        In the precision of x.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Full
    >>> sufficient_statistics(np.array([[2.0, 3.0]]), Full).ravel()
    array([4., 6., 9., 2., 3., 1.])

    References
    ----------
    Brown (1986), Fundamentals of statistical exponential families.
    """
    n, d = x.shape
    q = kind.n_quadratics(d)
    size = (q + d + 1) * n
    held = aligned(size, x.dtype) if scratch is None else scratch
    phi: Features = held[:size].reshape(-1, n)  # (p, n)
    z = phi[q:-1]  # (d, n)
    if isinstance(x, Standardised):
        x.write_columns(z)
    else:
        z[:] = x.T
    kind.quadratics(z, phi[:q])
    phi[-1] = 1
    return phi


def aligned(size: int, dtype: Any) -> Any:
    """Return room for so many numbers, from a line of the cache on."""
    itemsize = np.dtype(dtype).itemsize
    held = np.empty(size * itemsize + CACHE_LINE, np.uint8)
    begin = -held.ctypes.data % CACHE_LINE
    return held[begin : begin + size * itemsize].view(dtype)


def cancellation(statistics: Statistics) -> PerComponent:
    r"""Return how much larger the moments are than what they are for.

    .. math::

        \max_i \frac{\sum_n r_{nk} (z_{ni} - o_{ki})^2}
        {\sum_n r_{nk} (z_{ni} - \mu_{ki})^2}

    (`eq-one_pass-cancellation`): rounding takes this many times the
    machine precision from a component's variances, relative to themselves.

    Parameters
    ----------
    statistics : Statistics
        Of one turn.

    Returns
    -------
    array of shape (k,), or (1,) where tied
        At least 1; infinite where nothing is left. Of components without a
        point: 1.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Diag
    >>> from emlib.one_pass.gaussians import Model
    >>> x = np.array([[99.0], [101.0]])
    >>> start = Diag(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    >>> cancellation(Model("diag").expect(x, start)[0])
    array([10001.])

    References
    ----------
    Chan, Golub and LeVeque (1983), Algorithms for computing the sample
    variance: analysis and recommendations.
    """
    variances = statistics.kind.variances
    raw, left = variances(statistics.second), variances(statistics.central)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(raw > 0, raw / np.maximum(left, 0), 1)
    worst: PerComponent = ratios.max(axis=1)  # (k,), or (1,) where tied
    return worst


def far_posterior(x: Any, params: Params, inverse: Precisions) -> Posterior:
    """Return the posterior of points whose squares overflow.

    The nearest component, in its own unit, takes all; where the squares
    are equal, the linear term decides.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, or `Standardised` ones.
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.
    inverse : Precisions
        What `precisions` makes of them.

    Returns
    -------
    Posterior
        Named tuple `(resp (n, k), log_evidence (n,))`.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.models.gaussians import Spherical
    >>> ends = np.array([[0.0], [1.0]])
    >>> two = Spherical(np.ones(2) / 2, ends, np.ones(2))
    >>> far_posterior(np.array([[1e200]]), two, precisions(two)).resp
    array([[0., 1.]])
    """
    kind: Any = type(params)
    if not isinstance(x, Standardised):
        zero = np.zeros(x.shape[1])  # (d,)
        x = Standardised(x, Standardiser(zero, zero + 1))
    (size, way), means = x.directions(), params.means
    lengths = np.empty((len(x), len(means)))  # (n, k)
    for i in range(len(means)):
        white = kind.whiten(inverse.roots, i, way)  # (d, n)
        lengths[:, i] = (white**2).sum(axis=0)
    least = lengths.min(axis=1, keepdims=True)  # (n, 1)
    slopes = way.T @ kind.times(inverse.values, means).T  # (n, k)
    slopes = np.where(lengths == least, slopes, -np.inf)  # (n, k)
    best = slopes == slopes.max(axis=1, keepdims=True)  # (n, k)
    resp = np.where(best, params.weights + 1e-300, 0.0)  # (n, k)
    with np.errstate(over="ignore"):
        evidence = -0.5 * size * (size * least[:, 0])  # (n,)
    return Posterior(resp / resp.sum(axis=1, keepdims=True), evidence)
