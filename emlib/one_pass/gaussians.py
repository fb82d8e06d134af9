"""A mixture of Gaussians, in the form to run: both steps in one pass.

The log joint is a product of natural parameters and sufficient statistics,
here called features, and so are the sums of the M-step. Blocks fit the
cache; nothing of size n is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emlib.bound import Posterior, normalise
from emlib.loop import accumulate, lazy_property
from emlib.models import gaussians
from emlib.models.covariances import COVARIANCES, Params
from emlib.one_pass.families import (
    LOG_ZERO,
    softmax_in_place,
    weighted_sums,
)
from emlib.one_pass.gaussian_family import (
    ALLOWED,
    EPS,
    Featured,
    Statistics,
    aligned,
    cancellation,
    error_magnification,
    far_posterior,
    natural_parameters,
    precisions,
    sufficient_statistics,
)
from emlib.one_pass.whitened import Whitened, whitened
from emlib.scale.budget import (
    CORE_BYTES,
    FEATURE_BYTES,
    PIECE_ROWS,
    PRODUCT_SIZE,
)
from emlib.shapes import (
    Centres,
    Features,
    PerFeature,
    PerPoint,
)

__all__ = ["Model"]

LINE = 16  # rows; in float32 they fill a line of the cache


def _limit(dtype: Any) -> float:
    """Return how far rounding may be magnified."""
    size = np.dtype(dtype).itemsize
    return ALLOWED[size] / EPS[size]


class _OnePass:
    """One turn's E-step and sums, for any block of points."""

    def __init__(self, model: Model, params: Params) -> None:
        self.params = params
        self.dtype = np.dtype(model.dtype)
        self.kind: Any = type(params)
        self.precisions = precisions(params)
        self.close: list[int] = []
        self.origin = np.zeros(params.means.shape)  # (k, d)
        if model.about is not None or not self.safe():
            self.centre(model.about)
        rows = natural_parameters(params, self.precisions)  # (k, p)
        if self.close:
            rows[self.close] = 0
        if self.dtype.itemsize == 4:
            rows = np.maximum(rows, LOG_ZERO[4])  # of a weight of 0
        self.natural = rows.astype(self.dtype, copy=False)
        self.scratch = model.scratch

    @lazy_property
    def size(self) -> int:
        """Return how many rows are read at a time, at most.

        Products of so few are taken where the factors lie, and features
        and log joints stay in the cache of one core; but with fewer than
        `PIECE_ROWS` two threads wait for each other at each call.
        """
        (k, p), size = self.natural.shape, self.dtype.itemsize
        quick = min(PRODUCT_SIZE // (k * p), CORE_BYTES // ((k + p) * size))
        rows = min(self.scratch // (p * size), max(quick, PIECE_ROWS))
        return int(max(rows // LINE * LINE, 64))

    def safe(self) -> bool:
        """Say whether three lengths show that no component is too far.

        Sums of squares of all numbers are at least those of a component.
        """
        _, means, shapes = self.params
        values, d = self.precisions.values, means.shape[1]
        # Floats, since those of Python overflow without a warning.
        precision, spread, square = (
            float(np.vdot(part, part)) for part in (values, shapes, means)
        )
        reach = square + 9 * d * spread**0.5
        return bool(2 * d * precision**0.5 * reach < _limit(self.dtype))

    def centre(self, about: Centres | None) -> None:
        """Choose the components that are centred before they are squared.

        Those that rounding would harm, and those whose origin is asked for.
        """
        params, limit = self.params, _limit(self.dtype)
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
        lines = -(-n // LINE)
        parts = -(-n // self.size)
        size = -(-lines // parts) * LINE
        for begin in range(0, n, size):
            yield slice(begin, min(begin + size, n))

    def pieces(
        self, x: Any, multiplicity: PerPoint | None
    ) -> Iterator[tuple[Features, Any, PerPoint | None]]:
        """Yield features, room for log joints, and how often rows count."""
        if isinstance(x, Featured):
            yield x.phi, None, multiplicity
            return
        (k, p), rows = self.natural.shape, min(self.size, len(x))
        scratch = aligned((p + k) * rows, self.dtype)
        for cut in self.blocks(len(x)):
            times = None if multiplicity is None else multiplicity[cut]
            phi = sufficient_statistics(x[cut], self.kind, scratch)
            room = scratch[phi.size :][: k * phi.shape[1]]
            yield phi, room.reshape(k, -1), times

    def joint(self, phi: Features, out: Any = None) -> Features:
        """Return the log joint; tied covariances: but for `shared`."""
        if len(phi) > 256:  # many features: the faster way round
            product = (phi.T @ self.natural.T).T
            joint: Features = np.ascontiguousarray(product)  # (k, n)
        else:
            joint = np.matmul(self.natural, phi, out=out)  # (k, n)
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

    def posterior(self, x: Any) -> Posterior:
        """Return responsibilities and log evidence, however far the point.

        Where float64 cannot hold a squared distance, the nearest
        component, in its own unit, takes all.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            phi = sufficient_statistics(x, self.kind)
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
        """Return the posterior of points whose squares overflow."""
        return far_posterior(x, self.params, self.precisions)

    def __call__(
        self, x: Any, multiplicity: PerPoint | None = None
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of a block of points."""
        total, bound = list[Any](), 0.0
        for phi, room, times in self.pieces(x, multiplicity):
            resp = self.joint(phi, room)
            bound += softmax_in_place(resp, times)
            if not self.close:
                bound += self.kind.shared_bound(
                    resp, self.precisions.roots, phi, self.dtype
                )
            sums = self.sums(phi, resp)
            if total:
                pairs = zip(total, sums, strict=True)
                sums = [a + b for a, b in pairs]
            total = sums
        found = _statistics(total, self.kind, self.origin, self.close)
        return found, bound


def _sums(
    phi: Features,
    resp: Features,
    kind: Any,
    origin: Centres,
    close: Sequence[int],
) -> list[Any]:
    """Return what adds over blocks; some moments about their own origin."""
    table, d = weighted_sums(resp, phi), origin.shape[1]  # (k, p)
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
    sums: list[Any], kind: Any, origin: Centres, close: Sequence[int]
) -> Statistics:
    """Return the statistics of such sums; those not close: about zero."""
    (table, *others), d = sums, origin.shape[1]  # (k, p)
    counts, first = table[:, -1], table[:, -1 - d : -1]
    shared, centred = ([], others) if close else (others, [])
    second = kind.unfold(table[:, : -1 - d], d, shared)
    if not close:
        return Statistics(kind, counts, origin, first, second)
    for i, about in zip(close, centred[::2], strict=True):
        first[i] = about
    second = kind.with_centred(second, close, centred[1::2])
    return Statistics(kind, counts, origin, first, second)


@dataclass(frozen=True)
class Model(gaussians.Model):
    """A mixture of Gaussians whose two steps are one pass over the data.

    It returns what `emlib.models.gaussians.Model` returns, but for
    rounding. A subclass that changes a step changes `expect`, too.

    Parameters
    ----------
    covariance_type, reg_covar, prior
        As in `emlib.models.gaussians.Model`, in the unit of the
        points: that of z where they are `Standardised`.
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

    dtype: Any = np.float64
    scratch: int = FEATURE_BYTES
    about: Centres | None = None

    def log_joint(self, x: Any, params: Params) -> Any:
        """Return the log joint in the form to read, (n, k)."""
        return super().log_joint(np.asarray(x), params)

    def e_step(self, x: Any, params: Params) -> Posterior:
        """Return the posterior in the form to read."""
        return super().e_step(np.asarray(x), params)

    def summarise(
        self,
        x: Any,
        posterior: Any,
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
        phi = sufficient_statistics(np.asarray(x, dtype=np.float64), kind)
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
        x: Any,
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

    def one_pass(self, params: Params) -> _OnePass | Whitened:
        """Return one turn's E-step and sums, for any block of points."""
        wide = whitened(self, params)
        if wide is not None:
            return wide
        features = _OnePass(self, params)
        return whitened(self, params, len(features.close)) or features

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
        limit = _limit(self.dtype)
        variances = found.kind.variances
        most, least = variances(found.second), variances(found.central)
        if most.max() < limit * least.min():  # most turns this settles it
            return found, bound
        far = cancellation(found) > limit  # (k,)
        if far.any():
            about = np.where(far[:, None], found.means(), np.nan)  # (k, d)
            return replace(self, about=about).sweep(blocks, params, mapper)
        return found, bound
