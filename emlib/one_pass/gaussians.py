"""A mixture of Gaussians, in the form to run: both steps in one pass.

The log joint is a product of natural parameters and sufficient statistics,
here called features, and so are the sums of the M-step. Blocks fit the
cache; nothing of size n is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import log, pi
from typing import Any, NamedTuple

import numpy as np

from emlib.bound import Posterior, normalise
from emlib.loop import Labels, accumulate, lazy_property
from emlib.models import gaussians
from emlib.models.covariances import COVARIANCES, Params
from emlib.one_pass.families import (
    LOG_ZERO,
    softmax_in_place,
    weighted_sums,
)
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Natural,
    PerComponent,
    PerFeature,
    PerPoint,
    Points,
    Vector,
)

__all__ = [
    "Model",
    "Precisions",
    "Statistics",
    "Unit",
    "cancellation",
    "error_magnification",
    "natural_parameters",
    "precisions",
    "sufficient_statistics",
]

SCRATCH = 4_000_000  # bytes of features at a time
# What rounding may take of a component's shape, by the size of a number.
ALLOWED = {8: 1e-11, 4: 1e-3}
EPS = {8: 2.0**-52, 4: 2.0**-23}


class Unit(NamedTuple):
    """Where zero is, and how long one is: z = (x - origin) / scale.

    Attributes
    ----------
    origin : array of shape (d,)
        In the unit of the data.
    scale : array of shape (d,)
        Powers of two, so that dividing by them rounds nothing.
    """

    origin: Vector
    scale: Vector

    def into(self, params: Any) -> Any:
        """Return parameters of x as parameters of z."""
        return self._moved(
            params, -self.origin / self.scale, 1 / self.scale
        )

    def out_of(self, params: Any) -> Any:
        """Return parameters of z as parameters of x."""
        return self._moved(params, self.origin, self.scale)

    def _moved(self, params: Any, shift: Vector, scale: Vector) -> Any:
        means = params.means * scale + shift  # (k, d)
        covariances = params.rescaled(params.covariances, scale)
        return params._replace(means=means, covariances=covariances)


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
        counts = np.where(self.counts > 0, self.counts, 1)  # (k,)
        return self.first / counts[:, None]

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
            held = np.where(other.counts > 0, other.counts, 1)  # (k,)
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
    squares = (linear * params.means).sum(axis=1)  # (k,)
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


def sufficient_statistics(
    x: Points, kind: Any, unit: Unit | None = None, scratch: Any = None
) -> Features:
    r"""Return what the log joint is linear in, one column a point.

    .. math:: \phi(z) = (z_i z_j)_{i \le j}, \; z, \; 1

    (`eq-one_pass-features`) for full covariances, some products
    twice where d >= 20; the other types need fewer.

    Parameters
    ----------
    x : array of shape (n, d)
        Points.
    kind : type
        Full, Tied, Diag or Spherical.
    unit : Unit, optional
        What to make of x first; without it z is x.
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
    held = np.empty(size, x.dtype) if scratch is None else scratch[:size]
    phi = held.reshape(-1, n)  # (p, n)
    z = phi[q:-1]  # (d, n)
    if unit is None:
        z[:] = x.T
    else:
        np.subtract(x.T, unit.origin[:, None].astype(x.dtype), out=z)
        z *= (1 / unit.scale)[:, None].astype(x.dtype)
    kind.quadratics(z, phi[:q])
    phi[-1] = 1
    return phi


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


class _OnePass:
    """One turn's E-step and sums, for any block of points."""

    def __init__(self, model: Model, params: Params) -> None:
        self.params, self.unit = params, model.unit
        self.features = model._phi
        self.dtype = np.dtype(model.dtype)
        self.kind: Any = type(params)
        self.precisions = precisions(params)
        self.close: list[int] = []
        self.origin = np.zeros_like(params.means)  # (k, d)
        if model.about is not None or not self.safe():
            self.centre(model.about)
        rows = natural_parameters(params, self.precisions)  # (k, p)
        if self.close:
            rows[self.close] = 0
        if self.dtype.itemsize == 4:
            rows = np.maximum(rows, LOG_ZERO[4])  # of a weight of 0
        self.natural = rows.astype(self.dtype, copy=False)
        bytes_a_row = rows.shape[1] * self.dtype.itemsize
        self.size = max(model.scratch // bytes_a_row, 64)

    def safe(self) -> bool:
        """Say whether three maxima show that no component is too far."""
        params, size = self.params, self.dtype.itemsize
        widest = self.kind.variances(params.covariances).max()
        reach = np.abs(params.means).max() + 3 * widest**0.5
        terms = params.means.shape[1] ** 2 * self.precisions.values.max()
        return bool(terms * reach * reach < ALLOWED[size] / EPS[size])

    def centre(self, about: Centres | None) -> None:
        """Choose the components that are centred before they are squared.

        Those that rounding would harm, and those whose origin is asked for.
        """
        params, size = self.params, self.dtype.itemsize
        limit = ALLOWED[size] / EPS[size]
        close = error_magnification(params, self.precisions) > limit  # (k,)
        origin = np.where(close[:, None], params.means, 0.0)  # (k, d)
        if about is not None:
            asked = np.isfinite(about)  # (k, d)
            origin = np.where(asked, about, origin)
            close = close | asked[:, 0]
        centred = self.kind.centred_with(close)  # (k,)
        more = (centred & ~close)[:, None]  # (k, 1)
        self.origin = np.where(more, params.means, origin)  # (k, d)
        self.close = np.flatnonzero(centred).tolist()

    def blocks(self, n: int) -> Iterator[slice]:
        """Yield even slices of n rows, each small enough for the cache."""
        parts = -(-n // self.size)
        for part in range(parts):
            yield slice(n * part // parts, n * (part + 1) // parts)

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
        log_det = self.kind.component(self.precisions.log_dets, i)
        constant = weight + log_det - len(apart) / 2 * np.log(2 * np.pi)
        return np.maximum(constant, LOG_ZERO[8]) - 0.5 * lengths  # (n,)

    def lengths(self, apart: Features, i: int) -> Any:
        """Return squared distances in the unit of one component, (n,)."""
        ways = self.kind.whiten(self.precisions.roots, i, apart)  # (d, n)
        return (ways**2).sum(axis=0)

    def shared(self, phi: Features) -> Any:
        """Return what a shared covariance adds to each log joint."""
        if self.close:
            return 0.0
        return self.kind.shared(self.precisions.roots, phi, self.dtype)

    def sums(self, phi: Features, resp: Features) -> list[Any]:
        """Return the sums of a block, given its responsibilities."""
        return _sums(phi, resp, self.kind, self.origin, self.close)

    def posterior(self, x: Points) -> Posterior:
        """Return responsibilities and log evidence, however far the point.

        Where float64 cannot hold a squared distance, the nearest
        component, in its own unit, takes all.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            phi = sufficient_statistics(x, self.kind, self.unit)
            joint = self.joint(phi).astype(float)  # (k, n)
            shared = np.broadcast_to(self.shared(phi), len(x))  # (n,)
            far = ~np.isfinite(joint.max(axis=0) + shared)  # (n,)
        joint[:, far] = 0
        resp, log_evidence = normalise(joint.T)
        # Added last: far away it would swallow what differs.
        log_evidence = log_evidence + np.where(far, 0, shared)  # (n,)
        if far.any():
            resp[far], log_evidence[far] = self.far(x[far].astype(float))
        return Posterior(resp, log_evidence)

    def far(self, x: Points) -> Posterior:
        """Return the posterior of points whose squares overflow.

        Where the squares are equal, the linear term decides.
        """
        size, d = np.abs(x).max(axis=1), x.shape[1]  # (n,)
        origin, scale = self.unit or Unit(np.zeros(d), np.ones(d))
        way = x.T / size - origin[:, None] / size  # (d, n)
        way, means = way / scale[:, None], self.params.means
        lengths = np.empty((len(x), len(means)))  # (n, k)
        for i in range(len(means)):
            lengths[:, i] = self.lengths(way, i)
        least = lengths.min(axis=1, keepdims=True)  # (n, 1)
        slopes = way.T @ self.kind.times(self.precisions.values, means).T
        slopes = np.where(lengths == least, slopes, -np.inf)  # (n, k)
        best = slopes == slopes.max(axis=1, keepdims=True)  # (n, k)
        resp = np.where(best, self.params.weights + 1e-300, 0.0)  # (n, k)
        with np.errstate(over="ignore"):
            evidence = -0.5 * size * (size * least[:, 0])  # (n,)
        return Posterior(resp / resp.sum(axis=1, keepdims=True), evidence)

    def __call__(
        self, x: Points, multiplicity: PerPoint | None = None
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of a block of points."""
        total, bound = list[Any](), 0.0
        rows = min(self.size, len(x))
        scratch = np.empty(self.natural.shape[1] * rows, self.dtype)
        for cut in self.blocks(len(x)):
            times = None if multiplicity is None else multiplicity[cut]
            phi = self.features(x[cut], self.kind, scratch)
            resp = self.joint(phi)
            bound += softmax_in_place(resp, times)
            if not self.close:
                bound += self.kind.shared_bound(
                    resp, self.precisions.roots, phi, self.dtype
                )
            sums = self.sums(phi, resp)
            pairs = zip(total or sums, sums, strict=True)
            total = [a + b for a, b in pairs] if total else sums
        found = _statistics(total, self.kind, self.origin, self.close)
        return found, bound


def _sums(
    phi: Features,
    resp: Features,
    kind: Any,
    origin: Centres,
    close: Iterable[int],
) -> list[Any]:
    """Return what adds over blocks; some moments about their own origin."""
    close, d = list(close), origin.shape[1]
    table = weighted_sums(resp, phi)  # (k, p)
    sums = [table.astype(np.float64, copy=False)]
    if not close:
        return [*sums, *kind.shared_sums(phi, resp)]
    z = phi[-1 - d : -1]  # (d, n)
    for i in close:
        apart = z.astype(np.float64) - origin[i][:, None]  # (d, n)
        share = resp[i].astype(np.float64)  # (n,)
        sums += [apart @ share, kind.second(apart, share)]
    return sums


def _statistics(
    sums: list[Any], kind: Any, origin: Centres, close: Iterable[int]
) -> Statistics:
    """Return the statistics of such sums; those not close: about zero."""
    close, d = list(close), origin.shape[1]
    table, *others = sums  # (k, p)
    counts, first = table[:, -1], table[:, -1 - d : -1]
    shared, centred = ([], others) if close else (others, [])
    second = kind.unfold(table[:, : -1 - d], d, shared)
    for i, about in zip(close, centred[::2], strict=True):
        first[i] = about
    second = kind.with_centred(second, close, centred[1::2])
    return Statistics(kind, counts, origin, first, second)


@dataclass(frozen=True)
class Model(gaussians.Model):
    """A mixture of Gaussians whose two steps are one pass over the data.

    It returns what `emlib.models.gaussians.Model` returns, but for
    rounding.

    Parameters
    ----------
    covariance_type, reg_covar, prior
        As in `emlib.models.gaussians.Model`, in the unit of z.
    unit : Unit, optional
        What to make of the points first; parameters, variances and the
        bound are then those of z.
    dtype : numpy.dtype
        That of the points and of the products; sums are of float64.
    scratch : int
        Bytes of features to hold at a time.
    about : array of shape (k, d), optional
        What to take a component's moments about; NaN where that is the
        origin.

    Examples
    --------
    >>> from emlib.models.gaussians import Diag
    >>> x = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = Diag(fair, np.array([[1.0], [8.0]]), np.ones((2, 1)))
    >>> statistics, bound = Model("diag").sweep([x], start)
    >>> statistics.means().round(4).ravel()
    array([0.5, 8.5])
    """

    unit: Unit | None = None
    dtype: Any = np.float64
    scratch: int = SCRATCH
    about: Centres | None = None

    def log_joint(self, x: Points, params: Params) -> Any:
        """Return the log joint of z, in the form to read, (n, k)."""
        return super().log_joint(self._z(x), params)

    def _phi(self, x: Points, kind: Any, scratch: Any = None) -> Features:
        """Return the features of a block."""
        return sufficient_statistics(x, kind, self.unit, scratch)

    def _z(self, x: Points) -> Any:
        if self.unit is None:
            return x
        return (x - self.unit.origin) / self.unit.scale  # (n, d)

    def summarise(
        self,
        x: Points,
        posterior: Posterior | Labels,
        multiplicity: PerPoint | None = None,
        origin: Any = None,
    ) -> Any:
        """Return the statistics of points whose responsibilities are known.

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
        Statistics
            They add: those of two blocks of points sum to those of both.
        """
        kind = COVARIANCES[self.covariance_type]
        phi = sufficient_statistics(x.astype(np.float64), kind, self.unit)
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
        return _statistics(sums, kind, origin, close)

    def expect(
        self,
        x: Points,
        params: Params,
        multiplicity: PerPoint | None = None,
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of a block, in one pass.

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
        statistics : Statistics
            They add: those of two blocks of points sum to those of both.
        bound : float
            In nats, summed over the points.

        Raises
        ------
        Collapse
            If a covariance is not positive definite.
        """
        return self.one_pass(params)(x, multiplicity)

    def one_pass(self, params: Params) -> _OnePass:
        """Return one turn's E-step and sums, for any block of points."""
        return _OnePass(self, params)

    def sweep(
        self,
        blocks: Any,
        params: Params,
        mapper: Callable[..., Iterable[Any]] = map,
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of all blocks.

        Where a component's moments about the common origin would lose more
        digits than `ALLOWED` (`eq-one_pass-cancellation`), they are
        taken once more about its own new mean.

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
        statistics : Statistics
            Of all blocks together.
        bound : float
            In nats, summed over the points.
        """
        found, bound = accumulate(self.one_pass(params), blocks, mapper)
        if self.about is not None:
            return found, bound
        size = np.dtype(self.dtype).itemsize
        limit = ALLOWED[size] / EPS[size]
        variances = found.kind.variances
        most, least = variances(found.second), variances(found.central)
        if most.max() < limit * least.min():  # most turns this settles it
            return found, bound
        far = cancellation(found) > limit  # (k,)
        if far.any():
            about = np.where(far[:, None], found.means(), np.nan)  # (k, d)
            return replace(self, about=about).sweep(blocks, params, mapper)
        return found, bound
