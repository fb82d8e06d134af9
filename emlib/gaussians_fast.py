"""A mixture of Gaussians, in the form to run: both steps in one pass.

The log joint is a product of natural parameters and features, and so are
the sums of the M-step. Blocks fit the cache; nothing of size n is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import log, pi
from typing import Any, NamedTuple

import numpy as np

from emlib.bound import Posterior, credited, normalise, settle
from emlib.gaussians import (
    KINDS,
    Collapse,
    Diag,
    Full,
    Params,
    Spherical,
    Tied,
)
from emlib.gaussians import Model as Readable
from emlib.loop import accumulate, lazy_property
from emlib.scale.budget import FEATURE_BYTES
from emlib.scale.standardise import Standardised, Standardiser
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Natural,
    PerComponent,
    PerFeature,
    PerPoint,
)

__all__ = [
    "Featured",
    "Model",
    "Moments",
    "Precisions",
    "features",
    "lost",
    "magnification",
    "natural",
    "precisions",
]

# What rounding may take of a component's shape, by the size of a number.
ALLOWED = {8: 1e-11, 4: 1e-3}
EPS = {8: 2.0**-52, 4: 2.0**-23}


@dataclass(frozen=True)
class Moments:
    """What the M-step needs of the data; moments of blocks add.

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
        counts = np.where(self.counts > 0, self.counts, 1)  # (k,)
        return self.first / counts[:, None]

    def means(self) -> Any:
        """Return each component's mean, or its origin without points."""
        return self.origin + self.shift  # (k, d)

    @lazy_property
    def central(self) -> Any:
        """Return the second moments about the means."""
        squares = PARTS[self.kind].squares(self.counts, self.shift)
        return self.second - squares

    def kept(self, kind: Any) -> Any:
        """Return the second moments about the means, as the kind keeps."""
        assert kind is self.kind
        return self.central

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments) or self.kind is not other.kind:
            return NotImplemented
        move = other.origin - self.origin  # (k, d)
        first, second = other.first, other.second
        if move.any():
            squares = PARTS[self.kind].squares
            ends = first + other.counts[:, None] * move  # (k, d)
            held = np.where(other.counts > 0, other.counts, 1)  # (k,)
            second = second - squares(other.counts, first / held[:, None])
            second = second + squares(other.counts, ends / held[:, None])
            first = ends
        return Moments(
            self.kind,
            self.counts + other.counts,
            self.origin,
            self.first + first,
            self.second + second,
        )

    def __radd__(self, other: object) -> Moments:
        zero = isinstance(other, int) and other == 0
        return self if zero else NotImplemented

    def scaled(self, share: float) -> Moments:
        """Return the moments of points that count so much each."""
        parts = (self.counts, self.first, self.second)
        counts, first, second = (share * part for part in parts)
        return Moments(self.kind, counts, self.origin, first, second)


@cache
def _bands(d: int) -> list[slice]:
    """Return the rows of the products that one call makes; ten or so."""
    width = max(1, d // 10)
    return [slice(i, min(i + width, d)) for i in range(0, d, width)]


@cache
def _pairs(d: int) -> tuple[Any, Any, Any]:
    """Return i and j of each product, and minus half of its weight.

    Inside a band both z_i z_j and z_j z_i are there.
    """
    pairs = [
        (i, j, -0.5 if j < band.stop else -1.0)
        for band in _bands(d)
        for i in range(band.start, band.stop)
        for j in range(band.start, d)
    ]
    i, j, shares = zip(*pairs, strict=True)
    return np.array(i), np.array(j), np.array(shares)


@cache
def _places(d: int) -> Any:
    """Return which product each second moment is, (d * d,)."""
    i, j, _ = _pairs(d)
    places = np.empty((d, d), int)
    places[j, i] = places[i, j] = np.arange(len(i))
    return places.ravel()


class _FullParts:
    """All products z_i z_j, i <= j, and a few with i > j."""

    @staticmethod
    def rows(d: int) -> int:
        return len(_pairs(d)[0])

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        begin, (d, n) = 0, z.shape
        for band in _bands(d):
            left, right = z[band, None], z[band.start :]
            end = begin + len(left) * len(right)
            block = out[begin:end].reshape(len(left), len(right), n)
            np.multiply(left, right, out=block)
            begin = end

    @staticmethod
    def precision(inverse: Covariances) -> Any:
        return np.swapaxes(inverse, -1, -2) @ inverse  # (k, d, d)

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        columns = vectors[:, :, None]  # (k, d, 1)
        return np.matmul(precision, columns)[:, :, 0]

    @staticmethod
    def whiten(inverse: Covariances, i: int, apart: Features) -> Any:
        return inverse[i] @ apart  # (d, n)

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        return (apart * share) @ apart.T  # (d, d)

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        diagonals: Covariances = covariances.diagonal(0, -2, -1)
        return diagonals  # (k, d)

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        i, j, shares = _pairs(precision.shape[-1])
        return shares * precision[:, i, j]

    @staticmethod
    def unfold(sums: Natural, d: int) -> Any:
        return sums.take(_places(d), axis=1).reshape(-1, d, d)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        weighted = counts[:, None] * shift  # (k, d)
        return weighted[:, :, None] * shift[:, None, :]  # (k, d, d)


class _TiedParts(_FullParts):
    """None: the quadratic form is the same for every component."""

    @staticmethod
    def whiten(inverse: Covariances, i: int, apart: Features) -> Any:
        return inverse @ apart  # (d, n)

    @staticmethod
    def rows(d: int) -> int:
        return 0

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        return covariances.diagonal()[None]  # (1, d)

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        return None

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        return np.empty((1, 0))

    @staticmethod
    def unfold(sums: Natural, d: int) -> Any:
        return np.zeros((d, d))

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        return (counts[:, None] * shift).T @ shift  # (d, d)


class _DiagParts:
    """The squares z_i^2."""

    @staticmethod
    def rows(d: int) -> int:
        return d

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        np.multiply(z, z, out=out)

    @staticmethod
    def precision(inverse: Covariances) -> Any:
        return inverse**2  # (k, d)

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        return precision * vectors  # (k, d)

    @staticmethod
    def whiten(inverse: Covariances, i: int, apart: Features) -> Any:
        return inverse[i][..., None] * apart  # (d, n)

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        return (apart * apart) @ share  # (d,)

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        return covariances  # (k, d)

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        return -0.5 * precision  # (k, d)

    @staticmethod
    def unfold(sums: Natural, d: int) -> Any:
        return sums  # (k, d)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        return counts[:, None] * shift**2  # (k, d)


class _SphericalParts(_DiagParts):
    """The squared length."""

    @staticmethod
    def rows(d: int) -> int:
        return 1

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        np.einsum("dn,dn->n", z, z, out=out[0])

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        return precision[:, None] * vectors  # (k, d)

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        return ((apart * apart) @ share).mean()  # ()

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        return covariances[:, None]  # (k, 1)

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        return -0.5 * precision[:, None]  # (k, 1)

    @staticmethod
    def unfold(sums: Natural, d: int) -> Any:
        return sums[:, 0] / d  # (k,)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        return counts * (shift**2).mean(axis=1)  # (k,)


PARTS: dict[Any, Any] = {
    Full: _FullParts,
    Tied: _TiedParts,
    Diag: _DiagParts,
    Spherical: _SphericalParts,
}


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

    (`eq-gaussians_fast-precisions`): U inverts the Cholesky factor.

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
    >>> from emlib.gaussians import Diag
    >>> one = Diag(np.ones(1), np.zeros((1, 2)), np.array([[4.0, 1.0]]))
    >>> precisions(one).roots
    array([[0.5, 1. ]])

    References
    ----------
    Higham (2002), Accuracy and stability of numerical algorithms, 10.
    """
    part = PARTS[type(params)]
    if isinstance(params, Full | Tied):
        inverse = np.linalg.inv(_cholesky(params.covariances))
        sizes = inverse.diagonal(0, -2, -1)  # (k, d)
        widths = params.covariances.diagonal(0, -2, -1)  # (k, d)
        # A factor of a singular matrix exists, by the grace of rounding.
        sound = sizes**2 * widths <= 1 / (8 * EPS[8])  # (k, d)
        if not sound.all():
            raise Collapse(int(np.argwhere(np.atleast_2d(~sound))[0][0]))
        logs = np.log(sizes).sum(axis=-1)  # (k,)
        return Precisions(inverse, logs, part.precision(inverse))
    bad = ~(params.covariances > 0)
    if bad.any():
        raise Collapse(int(np.argwhere(bad)[0][0]))
    inverse = 1 / np.sqrt(params.covariances)
    logs = np.log(inverse)
    d = params.means.shape[1]
    logs = logs.sum(axis=1) if logs.ndim == 2 else d * logs  # (k,)
    return Precisions(inverse, logs, part.precision(inverse))


def _cholesky(covariances: Covariances) -> Covariances:
    """Return the Cholesky factors, or name the one that has none."""
    try:
        return np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        d = covariances.shape[-1]
        matrices = covariances.reshape(-1, d, d)
        for component, matrix in enumerate(matrices):
            try:
                np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                raise Collapse(component) from None
        raise


def natural(params: Params, inverse: Precisions) -> Natural:
    r"""Return the numbers that make the log joint linear in the features.

    .. math::

        \eta_k = \big( -\tfrac12 \Sigma_k^{-1}, \;
        \Sigma_k^{-1} \mu_k, \; \log \pi_k - \tfrac12 ( d \log 2\pi
        + \log \det \Sigma_k
        + \mu_k^{\mathsf T} \Sigma_k^{-1} \mu_k ) \big)

    (`eq-gaussians_fast-parameters`), off-diagonal entries doubled.

    Parameters
    ----------
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.
    inverse : Precisions
        What `precisions` makes of them.

    Returns
    -------
    array of shape (k, p)
        One row a component, in the order of `features`.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib.gaussians import Spherical
    >>> one = Spherical(np.ones(1), np.array([[3.0]]), np.array([1.0]))
    >>> natural(one, precisions(one)).round(3)
    array([[-0.5  ,  3.   , -5.419]])

    References
    ----------
    Brown (1986), Fundamentals of statistical exponential families.
    """
    part, (k, d) = PARTS[type(params)], params.means.shape
    linear = part.times(inverse.values, params.means)  # (k, d)
    squares = (linear * params.means).sum(axis=1)  # (k,)
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(params.weights), -1e290)  # (k,)
    constant = d * log(2 * pi) + squares  # (k,)
    q = part.rows(d)
    rows = np.empty((k, q + d + 1))
    rows[:, :q] = part.coefficients(inverse.values)
    rows[:, q:-1] = linear
    rows[:, -1] = logs + inverse.log_dets - 0.5 * constant
    return rows


def magnification(params: Params, inverse: Precisions) -> PerComponent:
    r"""Return how much larger the terms are than what is left of them.

    .. math::

        \sum_{ij} |\Sigma^{-1}_{k,ij}| \, a_{ki} a_{kj}, \qquad
        a_{ki} = |\mu_{ki}| + 3 \sigma_{ki}

    (`eq-gaussians_fast-guard`): rounding takes this many times the machine
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
    >>> from emlib.gaussians import Spherical
    >>> far = np.array([[0.0], [1.0]])
    >>> two = Spherical(np.ones(2) / 2, far, np.array([1, 0.01]))
    >>> magnification(two, precisions(two))
    array([  9., 169.])

    References
    ----------
    Higham (2002), Accuracy and stability of numerical algorithms, 1.7.
    """
    part = PARTS[type(params)]
    spread = 3 * np.sqrt(part.variances(params.covariances))
    reach = np.abs(params.means) + spread  # (k, d)
    terms = part.times(np.abs(inverse.values), reach) * reach  # (k, d)
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
    >>> rows = Featured(np.array([[2.0, 3.0]]), Diag)
    >>> rows.phi.ravel()
    array([4., 9., 2., 3., 1.])
    """

    x: Any
    kind: Any

    @lazy_property
    def phi(self) -> Features:
        """Return the features, (p, n)."""
        return features(self.x, self.kind)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: Any) -> Any:
        return self.x[some]


def features(x: Any, kind: Any, scratch: Any = None) -> Features:
    r"""Return what the log joint is linear in, one column a point.

    .. math:: \phi(z) = (z_i z_j)_{i \le j}, \; z, \; 1

    (`eq-gaussians_fast-features`) for full covariances, some products
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
    >>> from emlib.gaussians import Full
    >>> features(np.array([[2.0, 3.0]]), Full).ravel()
    array([4., 6., 9., 2., 3., 1.])

    References
    ----------
    Brown (1986), Fundamentals of statistical exponential families.
    """
    n, d = x.shape
    part = PARTS[kind]
    q = part.rows(d)
    size = (q + d + 1) * n
    held = np.empty(size, x.dtype) if scratch is None else scratch[:size]
    phi = held.reshape(-1, n)  # (p, n)
    z = phi[q:-1]  # (d, n)
    if isinstance(x, Standardised):
        x.write_columns(z)
    else:
        z[:] = x.T
    part.quadratics(z, phi[:q])
    phi[-1] = 1
    return phi


def lost(moments: Moments) -> PerComponent:
    r"""Return how much larger the moments are than what they are for.

    .. math::

        \max_i \frac{\sum_n r_{nk} (z_{ni} - o_{ki})^2}
        {\sum_n r_{nk} (z_{ni} - \mu_{ki})^2}

    (`eq-gaussians_fast-lost`): rounding takes this many times the machine
    precision from a component's variances, relative to themselves.

    Parameters
    ----------
    moments : Moments
        Of one turn.

    Returns
    -------
    array of shape (k,), or (1,) where tied
        At least 1; infinite where nothing is left. Of components without a
        point: 1.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[99.0], [101.0]])
    >>> start = Diag(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    >>> lost(Model("diag").expect(x, start)[0])
    array([10001.])

    References
    ----------
    Chan, Golub and LeVeque (1983), Algorithms for computing the sample
    variance: analysis and recommendations.
    """
    variances = PARTS[moments.kind].variances
    raw, left = variances(moments.second), variances(moments.central)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(raw > 0, raw / np.maximum(left, 0), 1)
    worst: PerComponent = ratios.max(axis=1)  # (k,), or (1,) where tied
    return worst


class _Turn:
    """One turn's E-step and sums, for any block of points."""

    def __init__(self, model: Model, params: Params) -> None:
        self.params = params
        self.dtype = np.dtype(model.dtype)
        self.kind: Any = type(params)
        self.part = PARTS[self.kind]
        self.precisions = precisions(params)
        self.close: list[int] = []
        self.origin = np.zeros_like(params.means)  # (k, d)
        if model.about is not None or not self.safe():
            self.centre(model.about)
        rows = natural(params, self.precisions)  # (k, p)
        if self.close:
            rows[self.close] = 0
        if self.dtype.itemsize == 4:
            rows = np.maximum(rows, -1e30)  # that of a weight of 0
        self.natural = rows.astype(self.dtype, copy=False)
        bytes_a_row = rows.shape[1] * self.dtype.itemsize
        self.size = max(model.scratch // bytes_a_row, 64)

    def safe(self) -> bool:
        """Say whether three maxima show that no component is too far."""
        params, size = self.params, self.dtype.itemsize
        widest = self.part.variances(params.covariances).max()
        reach = np.abs(params.means).max() + 3 * widest**0.5
        terms = params.means.shape[1] ** 2 * self.precisions.values.max()
        return bool(terms * reach * reach < ALLOWED[size] / EPS[size])

    def centre(self, about: Centres | None) -> None:
        """Choose the components that are centred before they are squared.

        Those that rounding would harm, and those whose origin is asked for.
        """
        params, size = self.params, self.dtype.itemsize
        limit = ALLOWED[size] / EPS[size]
        close = magnification(params, self.precisions) > limit  # (k,)
        origin = np.where(close[:, None], params.means, 0.0)  # (k, d)
        if about is not None:
            asked = np.isfinite(about)  # (k, d)
            origin = np.where(asked, about, origin)
            close = close | asked[:, 0]
        if self.kind is Tied and close.any():
            origin = np.where(close[:, None], origin, params.means)
            close = np.ones_like(close)
        self.close, self.origin = np.flatnonzero(close).tolist(), origin

    def blocks(self, n: int) -> Iterator[slice]:
        """Yield even slices of n rows, each small enough for the cache."""
        parts = -(-n // self.size)
        for part in range(parts):
            yield slice(n * part // parts, n * (part + 1) // parts)

    def pieces(
        self, x: Any, multiplicity: PerPoint | None
    ) -> Iterator[tuple[Features, PerPoint | None]]:
        """Yield the features of some rows, and how often these count."""
        if isinstance(x, Featured):
            yield x.phi, multiplicity
            return
        rows = min(self.size, len(x))
        scratch = np.empty(self.natural.shape[1] * rows, self.dtype)
        for cut in self.blocks(len(x)):
            times = None if multiplicity is None else multiplicity[cut]
            yield features(x[cut], self.kind, scratch), times

    def joint(self, phi: Features) -> Features:
        """Return the log joint; tied covariances: but for `shared`."""
        if len(phi) > 256:  # many features: the faster way round
            product = (phi.T @ self.natural.T).T
            joint: Features = np.ascontiguousarray(product)  # (k, n)
        else:
            joint = self.natural @ phi  # (k, n)
        for i in self.close:
            joint[i] = self.exact(phi, i)
        return joint

    def apart(self, phi: Features, origin: PerFeature) -> Any:
        """Return the points about an origin, in double precision."""
        z = phi[-1 - len(origin) : -1].astype(np.float64)  # (d, n)
        return z - origin[:, None]  # (d, n)

    def exact(self, phi: Features, i: int) -> Any:
        """Return one component's log joint, from centred points."""
        apart = self.apart(phi, self.params.means[i])  # (d, n)
        lengths = self.lengths(apart, i)  # (n,)
        with np.errstate(divide="ignore"):
            weight = np.log(self.params.weights[i])
        log_dets = self.precisions.log_dets
        log_det = log_dets if self.kind is Tied else log_dets[i]
        constant = weight + log_det - len(apart) / 2 * np.log(2 * np.pi)
        return np.maximum(constant, -1e290) - 0.5 * lengths  # (n,)

    def lengths(self, apart: Features, i: int) -> Any:
        """Return squared distances in the unit of one component, (n,)."""
        ways = self.part.whiten(self.precisions.roots, i, apart)  # (d, n)
        return (ways**2).sum(axis=0)

    def shared(self, phi: Features) -> Any:
        """Return what tied covariances add to each point's evidence."""
        if self.kind is not Tied or self.close:
            return 0.0
        z = phi[:-1]  # (d, n)
        lengths = ((self.precisions.roots.astype(self.dtype) @ z) ** 2).sum(
            axis=0
        )
        return -0.5 * lengths  # (n,)

    def sums(self, phi: Features, resp: Features) -> list[Any]:
        """Return the sums of a block, given its responsibilities."""
        return _sums(phi, resp, self.kind, self.origin, self.close)

    def posterior(self, x: Any) -> Posterior:
        """Return responsibilities and log evidence, however far the point.

        Where float64 cannot hold a squared distance, the nearest
        component, in its own unit, takes all.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            phi = features(x, self.kind)
            joint = self.joint(phi).astype(float)  # (k, n)
            shared = np.broadcast_to(self.shared(phi), len(x))  # (n,)
            far = ~np.isfinite(joint.max(axis=0) + shared)  # (n,)
        joint[:, far] = 0
        resp, log_evidence = normalise(joint.T)
        # Added last: far away it would swallow what differs.
        log_evidence = log_evidence + np.where(far, 0, shared)  # (n,)
        if far.any():
            resp[far], log_evidence[far] = self.far(x[far])
        return Posterior(resp, log_evidence)

    def far(self, x: Any) -> Posterior:
        """Return the posterior of points whose squares overflow.

        Where the squares are equal, the linear term decides.
        """
        if not isinstance(x, Standardised):
            zero = np.zeros(x.shape[1])  # (d,)
            x = Standardised(x, Standardiser(zero, zero + 1))
        (size, way), means = x.directions(), self.params.means
        lengths = np.empty((len(x), len(means)))  # (n, k)
        for i in range(len(means)):
            lengths[:, i] = self.lengths(way, i)
        least = lengths.min(axis=1, keepdims=True)  # (n, 1)
        slopes = way.T @ self.part.times(self.precisions.values, means).T
        slopes = np.where(lengths == least, slopes, -np.inf)  # (n, k)
        best = slopes == slopes.max(axis=1, keepdims=True)  # (n, k)
        resp = np.where(best, self.params.weights + 1e-300, 0.0)  # (n, k)
        with np.errstate(over="ignore"):
            evidence = -0.5 * size * (size * least[:, 0])  # (n,)
        return Posterior(resp / resp.sum(axis=1, keepdims=True), evidence)

    def __call__(
        self, x: Any, multiplicity: PerPoint | None = None
    ) -> tuple[Moments, float]:
        """Return the moments and the bound of a block of points."""
        total, bound = list[Any](), 0.0
        for phi, times in self.pieces(x, multiplicity):
            resp = self.joint(phi)
            bound += settle(resp, times)
            if self.kind is Tied and not self.close:
                bound += float(resp.sum(axis=0) @ self.shared(phi))
            sums = self.sums(phi, resp)
            pairs = zip(total or sums, sums, strict=True)
            total = [a + b for a, b in pairs] if total else sums
        moments = _moments(total, self.kind, self.origin, self.close)
        return moments, bound


def _sums(
    phi: Features,
    resp: Features,
    kind: Any,
    origin: Centres,
    close: Iterable[int],
) -> list[Any]:
    """Return what adds over blocks; some moments about their own origin."""
    part, d, close = PARTS[kind], origin.shape[1], list(close)
    sums = [credited(resp, phi).astype(np.float64, copy=False)]  # (k, p)
    z = phi[-1 - d : -1]  # (d, n)
    if kind is Tied and not close:
        sums.append((z * resp.sum(axis=0)) @ z.T)  # (d, d)
    for i in close:
        apart = z.astype(np.float64) - origin[i][:, None]  # (d, n)
        share = resp[i].astype(np.float64)  # (n,)
        sums += [apart @ share, part.second(apart, share)]
    return sums


def _moments(
    sums: list[Any], kind: Any, origin: Centres, close: Iterable[int]
) -> Moments:
    """Return the moments that such sums are; those not close: at zero."""
    part, d, close = PARTS[kind], origin.shape[1], list(close)
    table, *others = sums  # (k, p)
    counts, first = table[:, -1], table[:, -1 - d : -1]
    second = part.unfold(table[:, : -1 - d], d)
    if kind is Tied:
        second = sum(others[1::2]) if close else others[0]
    for i, about, square in zip(
        close, others[::2], others[1::2], strict=False
    ):
        first[i] = about
        if kind is not Tied:
            second[i] = square
    return Moments(kind, counts, origin, first, second)


@dataclass(frozen=True)
class Model(Readable):
    """A mixture of Gaussians whose two steps are one pass over the data.

    It returns what `emlib.gaussians.Model` returns, but for rounding.

    Parameters
    ----------
    covariance_type, reg_covar, prior
        As in `emlib.gaussians.Model`, in the unit of the points: that of z
        where they are `Standardised`.
    dtype : numpy.dtype
        That of the points and of the products; sums are of float64.
    scratch : int
        Bytes of features to hold at a time.
    about : array of shape (k, d), optional
        What to take a component's moments about; NaN where that is the
        origin.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = Diag(fair, np.array([[1.0], [8.0]]), np.ones((2, 1)))
    >>> moments, bound = Model("diag").sweep([x], start)
    >>> moments.means().round(4).ravel()
    array([0.5, 8.5])
    """

    dtype: Any = np.float64
    scratch: int = FEATURE_BYTES
    about: Centres | None = None

    def log_joint(self, x: Any, params: Params) -> Any:
        """Return the log joint in the form to read, (n, k)."""
        return super().log_joint(np.asarray(x), params)

    def summarise(
        self,
        x: Any,
        posterior: Any,
        multiplicity: PerPoint | None = None,
        origin: Any = None,
    ) -> Any:
        """Return the moments of points whose responsibilities are known.

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        posterior : Posterior or Labels
            Whose responsibilities count, (n, k).
        multiplicity : array of shape (n,), optional
            How many times each point counts.
        origin : array of shape (d,) or (k, d), optional
            Of the moments, in z; without it each component's own mean.

        Returns
        -------
        Moments
            They add: those of two blocks of points sum to those of both.
        """
        kind = KINDS[self.covariance_type]
        phi = features(np.asarray(x, dtype=np.float64), kind)
        z = phi[-1 - x.shape[1] : -1]  # (d, n)
        shares = np.ascontiguousarray(posterior.resp.T)  # (k, n)
        if multiplicity is not None:
            shares = shares * multiplicity  # (k, n)
        if origin is None:
            counts = shares.sum(axis=1)  # (k,)
            middle = z.mean(axis=1)  # (d,)
            sums = shares @ (z.T - middle)  # (k, d)
            held = np.where(counts > 0, counts, 1)[:, None]  # (k, 1)
            origin = middle + sums / held  # (k, d)
        origin = np.broadcast_to(origin, (len(shares), len(z)))
        close = range(len(shares))
        sums = _sums(phi, shares, kind, origin, close)
        return _moments(sums, kind, origin, close)

    def expect(
        self,
        x: Any,
        params: Params,
        multiplicity: PerPoint | None = None,
    ) -> tuple[Moments, float]:
        """Return the moments and the bound of a block, in one pass.

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances, of z.
        multiplicity : array of shape (n,), optional
            How many times each point counts.

        Returns
        -------
        moments : Moments
            They add: those of two blocks of points sum to those of both.
        bound : float
            In nats, summed over the points.

        Raises
        ------
        Collapse
            If a covariance is not positive definite.
        """
        return self.turn(params)(x, multiplicity)

    def turn(self, params: Params) -> _Turn:
        """Return one turn's E-step and sums, for any block of points."""
        return _Turn(self, params)

    def sweep(
        self,
        blocks: Any,
        params: Params,
        mapper: Callable[..., Iterable[Any]] = map,
    ) -> tuple[Moments, float]:
        """Return the moments and the bound of all blocks.

        Where a component's moments about the common origin would lose more
        digits than `ALLOWED` (`eq-gaussians_fast-lost`), they are taken
        once more about its own new mean.

        Parameters
        ----------
        blocks : iterable
            Each a `Block`, or bare rows; it may be read twice.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances, of z.
        mapper : callable
            `map`, or the `map` of an executor.

        Returns
        -------
        moments : Moments
            Of all blocks together.
        bound : float
            In nats, summed over the points.
        """
        found, bound = accumulate(self.turn(params), blocks, mapper)
        if self.about is not None:
            return found, bound
        size = np.dtype(self.dtype).itemsize
        limit = ALLOWED[size] / EPS[size]
        variances = PARTS[found.kind].variances
        most, least = variances(found.second), variances(found.central)
        if most.max() < limit * least.min():  # most turns this settles it
            return found, bound
        far = lost(found) > limit  # (k,)
        if far.any():
            about = np.where(far[:, None], found.means(), np.nan)  # (k, d)
            return replace(self, about=about).sweep(blocks, params, mapper)
        return found, bound
