"""Gaussians with many columns: points in each component's own unit.

Nothing of size d(d + 1) / 2 a row is made. A triangular root whitens the
points, a symmetric product sums their squares, and components that a point
is too far from are left out of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log, pi
from typing import Any, cast

import numpy as np

from emlib.bound import Posterior, normalise
from emlib.models.covariances import Collapse, Full, Params, Tied
from emlib.models.covariances.definite import inverse_cholesky
from emlib.one_pass.families import LOG_TINY, LOG_ZERO, softmax_in_place
from emlib.one_pass.gaussian_family import (
    ALLOWED,
    EPS,
    Featured,
    Precisions,
    Statistics,
    error_magnification,
    far_posterior,
)
from emlib.scale.budget import WHITENED_BYTES, WHITENED_ROWS
from emlib.scale.standardise import Standardised
from emlib.scale.threads import one_blas_thread
from emlib.shapes import Features, Matrix, PerComponent, PerPoint, Points

__all__ = [
    "Subspace",
    "Whitened",
    "left_out",
    "second_moments",
    "squared_lengths",
    "subspace",
]

# Beyond what `softmax_in_place` makes 0; for rounding.
MARGIN = {8: 45.0, 4: 20.0}
ROUNDING = {8: 1e-9, 4: 1e-3}
LEAST_SHARE = 0.25  # of pairs of centres: fewer are not worth a look
MOST_DIRECTIONS = 32  # that the centres are looked at from
# Where the two forms take equally long, by `benchmarks/columns.py`.
COLUMNS_A_COMPONENT = 5
FEWEST_COLUMNS: dict[Any, int] = {Full: 20, Tied: 128}


def squared_lengths(apart: Points, root: Matrix) -> PerPoint:
    r"""Return squared distances from a mean, in the component's unit.

    .. math::

        \delta_n^2 = \sum_b \big| U_{b, \le b} \, (x_n - \mu)_{\le b}
        \big|^2

    (`eq-one_pass-whitened`), where a band b of rows of a lower triangular
    U needs no column to its right.

    Parameters
    ----------
    apart : array of shape (n, d)
        Points about the mean.
    root : array of shape (d, d)
        U of one component, as `precisions` returns it.

    Returns
    -------
    array of shape (n,)
        In the precision of the points.

    Examples
    --------
    >>> root = np.array([[0.5, 0.0], [0.0, 1.0]])
    >>> squared_lengths(np.array([[2.0, 3.0]]), root)
    array([10.])

    References
    ----------
    Golub and Van Loan (2013), Matrix computations, 3.1.
    """
    root = root.astype(apart.dtype, copy=False)  # (d, d)
    total = np.zeros(len(apart), apart.dtype)  # (n,)
    for band in _bands(len(root)):
        left = apart[:, : band.stop]  # (n, m)
        white = np.dot(left, root[band, : band.stop].T)  # (n, b)
        total += np.einsum("ni,ni->n", white, white)
    return total


def _bands(d: int) -> list[slice]:
    """Return bands of rows, of 64 or so."""
    count = max(1, round(d / 64))
    ends = [d * part // count for part in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def second_moments(apart: Points, share: PerPoint) -> Matrix:
    r"""Return second moments of points about an origin.

    .. math::

        \sum_n r_n a_n a_n^{\mathsf T} = A^{\mathsf T} A, \qquad
        A_n = \sqrt{r_n} \, a_n

    (`eq-one_pass-scatter`): a matrix and its own transpose, of whose
    product NumPy computes one half and copies the other.

    Parameters
    ----------
    apart : array of shape (n, d)
        Points about the origin; it is overwritten.
    share : array of shape (n,)
        What each counts; at least 0.

    Returns
    -------
    array of shape (d, d)
        Symmetric to the last bit.

    Examples
    --------
    >>> apart = np.array([[1.0, 2.0], [0.0, 1.0]])
    >>> second_moments(apart, np.array([1.0, 4.0]))
    array([[1., 2.],
           [2., 8.]])

    References
    ----------
    Dongarra, Du Croz, Hammarling and Duff (1990), A set of level 3 basic
    linear algebra subprograms.
    """
    apart *= np.sqrt(share)[:, None]
    total: Matrix = np.dot(apart.T, apart)  # (d, d)
    return total


@dataclass(frozen=True)
class Subspace:
    """A few directions, and how wide each component is along them.

    Attributes
    ----------
    directions : array of shape (m, d)
        B, which a point is multiplied by.
    means : array of shape (k, m)
        B mu_k.
    roots : array of shape (k, m, m)
        The inverse Cholesky factors of B Sigma_k B^T.
    """

    directions: Any
    means: Any
    roots: Any

    def squared_lengths(self, x: Points) -> Features:
        r"""Return squared distances along these directions alone.

        .. math::

            (x - \mu_k)^{\mathsf T} B^{\mathsf T}
            (B \Sigma_k B^{\mathsf T})^{-1} B (x - \mu_k)
            \le (x - \mu_k)^{\mathsf T} \Sigma_k^{-1} (x - \mu_k)

        (`eq-one_pass-shadow`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points.

        Returns
        -------
        array of shape (k, n)
            At most the whole ones.
        """
        seen = np.empty((len(x), len(self.directions)))  # (n, m)
        for cut in range(0, len(x), WHITENED_ROWS):
            some = slice(cut, cut + WHITENED_ROWS)
            part = x[some].astype(np.float64, copy=False)  # (n, d)
            np.dot(part, self.directions.T, out=seen[some])
        return np.array(
            [
                squared_lengths(seen - mean, root)
                for mean, root in zip(self.means, self.roots, strict=True)
            ]
        )


def subspace(params: Full, most: int = MOST_DIRECTIONS) -> Subspace:
    r"""Return the directions in which the centres lie apart.

    With W the mean of the covariances, W^-1 = U^T U, and V the first right
    singular vectors of the rows sqrt(pi_k) U (mu_k - mu),

    .. math:: B = V^{\mathsf T} U

    (`eq-one_pass-directions`): those of linear discriminant analysis.

    Parameters
    ----------
    params : Full
        Weights, means and covariances.
    most : int
        How many directions there are at most; fewer than components.

    Returns
    -------
    Subspace
        Also what the components are along them.

    Raises
    ------
    Collapse
        If a covariance is not positive definite.

    Examples
    --------
    >>> ends = np.array([[0.0, 3.0], [0.0, -3.0]])
    >>> two = Full(np.ones(2) / 2, ends, np.stack([4 * np.eye(2)] * 2))
    >>> abs(subspace(two).directions)
    array([[0. , 0.5]])

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), The elements of statistical
    learning, 4.3.
    """
    weights, means, covariances = params
    within = np.tensordot(weights, covariances, 1)  # (d, d)
    root, _ = inverse_cholesky(within)
    held = np.sqrt(weights)[:, None] * (means - weights @ means)  # (k, d)
    *_, ways = np.linalg.svd(held @ root.T, full_matrices=False)
    directions = ways[: min(len(means) - 1, most)] @ root  # (m, d)
    shapes = directions @ covariances @ directions.T  # (k, m, m)
    roots, _ = inverse_cholesky(shapes)
    return Subspace(directions, means @ directions.T, roots)


def left_out(upper: Features, reached: PerPoint) -> Any:
    r"""Return which components need no look at a point.

    .. math::

        \log p(x_n, z_n = k) \le u_{nk} < \ell_n - 745
        \quad \Rightarrow \quad r_{nk} = 0

    (`eq-one_pass-left`) in float64; 100 instead of 745 in float32.

    Parameters
    ----------
    upper : array of shape (k, n)
        u, what no log joint is above, in nats.
    reached : array of shape (n,)
        l, a log joint of each point, of any component.

    Returns
    -------
    array of shape (k, n)
        Of bool.

    Examples
    --------
    >>> left_out(np.array([[-5.0], [-800.0]]), np.array([-5.0])).ravel()
    array([False,  True])

    References
    ----------
    Elkan (2003), Using the triangle inequality to accelerate k-means.
    """
    size = upper.itemsize
    return upper < reached + (LOG_TINY[size] - MARGIN[size])


class Whitened:
    """One turn's E-step and sums, for any block of points.

    Parameters
    ----------
    model : Model
        Of `emlib.one_pass.gaussians`.
    params : Full or Tied
        Weights, means and covariances, of z.
    """

    skips = True  # False: what would be left out is computed, too

    def __init__(self, model: Any, params: Params) -> None:
        self.params, self.kind = params, type(params)
        self.dtype = np.dtype(model.dtype)
        k, d = params.means.shape
        with one_blas_thread():  # the same bits everywhere
            self.roots, self.log_dets = self.kind.inverse_roots(
                params.covariances, d
            )
        with np.errstate(divide="ignore"):
            logs = np.log(params.weights)  # (k,)
        constants = logs + self.log_dets - d / 2 * log(2 * pi)  # (k,)
        least = LOG_ZERO[self.dtype.itemsize]
        self.constants = np.maximum(constants, least)  # (k,)
        self.about = model.about
        self.origin = params.means  # (k, d)
        if model.about is not None:
            asked = np.isfinite(model.about)  # (k, d)
            self.origin = np.where(asked, model.about, params.means)
        row = self.dtype.itemsize * d + 16 * k
        self.size = max(WHITENED_BYTES // row, 64)
        with one_blas_thread():
            self.prepare()

    def prepare(self) -> None:
        """Choose what is done in double precision, and the directions."""
        k = len(self.constants)
        self.double = np.ones(k, bool)  # (k,)
        if self.dtype.itemsize == 4:
            self.double = self.magnified() > ALLOWED[4] / EPS[4]  # (k,)
        self.view = self.directions() if k > 1 else None

    def magnified(self) -> PerComponent:
        """Return what rounding is magnified by, about each mean, (k,)."""
        values = self.kind.precision(self.roots)
        inverse = Precisions(self.roots, self.log_dets, values)
        still = self.params._replace(means=0 * self.params.means)
        return error_magnification(still, inverse)

    def directions(self) -> Subspace | None:
        """Return directions, if a centre's rows leave components out."""
        means = self.params.means
        whole = np.array(
            [
                squared_lengths(means - mean, root)
                for mean, root in zip(means, self.roots, strict=True)
            ]
        )  # (k, k)
        if self.share_left_out(whole) < LEAST_SHARE:
            return None
        try:
            view = subspace(cast(Full, self.params))
        except Collapse:
            return None
        share = self.share_left_out(view.squared_lengths(means))
        return None if share < LEAST_SHARE else view

    def share_left_out(self, lengths: Features) -> float:
        """Return the share of components left out, by those of means."""
        upper = self.constants[:, None] - 0.5 * lengths  # (k, k)
        # A row lies about sqrt(d) off its centre.
        reached = self.constants - self.params.means.shape[1] / 2  # (k,)
        return float(left_out(upper.astype(self.dtype), reached).mean())

    def pieces(
        self, x: Any, multiplicity: PerPoint | None
    ) -> Iterator[tuple[slice, Points, PerPoint | None]]:
        """Yield some rows of z, and how often these count."""
        x = x.x if isinstance(x, Featured) else x
        n = len(x)
        parts = -(-n // self.size)
        for part in range(parts):
            cut = slice(n * part // parts, n * (part + 1) // parts)
            times = None if multiplicity is None else multiplicity[cut]
            yield cut, _rows(x[cut]), times

    def centred(self, z: Points, rows: Any, mean: Any, double: Any) -> Any:
        """Return some rows about a mean, (m, d), rounded once."""
        apart = z[rows] - mean  # (m, d)
        return apart if double else apart.astype(z.dtype, copy=False)

    def fill(self, joint: Features, z: Points, i: int, rows: Any) -> None:
        """Write one component's log joints of some rows."""
        mean = self.params.means[i]  # (d,)
        root = self.kind.component(self.roots, i)  # (d, d)
        for some in _parts(rows, len(z)):
            apart = self.centred(z, some, mean, self.double[i])
            lengths = squared_lengths(apart, root)  # (m,)
            joint[i, some] = self.constants[i] - 0.5 * lengths

    def joint(self, z: Points) -> tuple[Features, Any]:
        """Return the log joint but for what all share, and that, (n,).

        What is left out is the logarithm of 0.
        """
        k, n = len(self.constants), len(z)
        joint = np.full((k, n), LOG_ZERO[z.itemsize], z.dtype)  # (k, n)
        for wanted in self.wanted(joint, z):
            for i in range(k):
                self.fill(joint, z, i, np.flatnonzero(wanted[i]))
        return joint, 0.0

    def wanted(self, joint: Features, z: Points) -> Iterator[Any]:
        """Yield which log joints to write, (k, n), in one go or two."""
        if self.view is None:
            yield np.ones(joint.shape, bool)
            return
        lengths = self.view.squared_lengths(z)  # (k, n)
        lengths *= 1 - ROUNDING[z.itemsize]
        upper = (self.constants - 0.5 * lengths.T).T.astype(z.dtype)
        each = np.arange(len(z))  # (n,)
        first = np.zeros(joint.shape, bool)  # (k, n)
        first[upper.argmax(axis=0), each] = True
        yield first
        reached = joint.max(axis=0)  # (n,)
        skipped = left_out(upper, reached) & ~first  # (k, n)
        yield ~(skipped | first)
        if not self.skips:
            yield skipped

    def sums(self, z: Points, resp: Features) -> list[Any]:
        """Return the sums of a piece, given its responsibilities."""
        first = np.zeros(self.origin.shape)  # (k, d)
        second = np.zeros(self.params.covariances.shape)
        for i in range(len(first)):
            moments = second if self.kind is Tied else second[i : i + 1]
            for some in self.credited(resp[i]):
                double = self.double[i]
                apart = self.centred(z, some, self.origin[i], double)
                share = resp[i, some].astype(apart.dtype)  # (m,)
                first[i] += share @ apart
                moments += second_moments(apart, share)
        counts = resp.sum(axis=1, dtype=np.float64)  # (k,)
        return [counts, first, second]

    def credited(self, share: PerPoint) -> Iterator[Any]:
        """Yield the rows that count, some at a time; then the others."""
        live = [np.flatnonzero(share)]
        if not self.skips:
            live.append(np.flatnonzero(share == 0))
        for rows in live:
            yield from _parts(rows, len(share))

    def __call__(
        self, x: Any, multiplicity: PerPoint | None = None
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of a block of points."""
        with one_blas_thread():
            return self.summed(x, multiplicity)

    def summed(
        self, x: Any, multiplicity: PerPoint | None
    ) -> tuple[Statistics, float]:
        """Return the same, each product on one thread."""
        total, bound = list[Any](), 0.0
        for _, z, times in self.pieces(x, multiplicity):
            resp, shared = self.joint(z)  # (k, n)
            bound += softmax_in_place(resp, times)
            if self.kind is Tied:
                bound += float(np.sum(shared * resp.sum(axis=0)))
            sums = self.sums(z, resp)
            pairs = zip(total or sums, sums, strict=True)
            total = [a + b for a, b in pairs] if total else sums
        counts, first, second = total
        found = Statistics(self.kind, counts, self.origin, first, second)
        return found, bound

    def posterior(self, x: Any) -> Posterior:
        """Return responsibilities and log evidence, however far the point.

        As in the other form: where float64 cannot hold a squared distance,
        the nearest component, in its own unit, takes all.
        """
        with one_blas_thread():
            return self.answers(x)

    def answers(self, x: Any) -> Posterior:
        """Return the same, each product on one thread."""
        n, k = len(x), len(self.constants)
        resp, evidence = np.empty((n, k)), np.empty(n)
        for cut, z, _ in self.pieces(x, None):
            with np.errstate(over="ignore", invalid="ignore"):
                found, shared = self.joint(z)  # (k, n)
                joint = found.astype(np.float64)  # (k, n)
                shared = np.broadcast_to(shared, len(z))  # (n,)
                far = ~np.isfinite(joint.max(axis=0) + shared)  # (n,)
            joint[:, far] = 0
            resp[cut], logs = normalise(joint.T)
            evidence[cut] = logs + np.where(far, 0, shared)
            if far.any():
                rows = np.flatnonzero(far) + cut.start  # (m,)
                values = self.kind.precision(self.roots)
                inverse = Precisions(self.roots, self.log_dets, values)
                resp[rows], evidence[rows] = far_posterior(
                    x[rows], self.params, inverse
                )
        return Posterior(resp, evidence)


class WhitenedOnce(Whitened):
    """The same for a covariance that all components share.

    One product whitens the rows for all components, and one sums their
    squares.
    """

    def prepare(self) -> None:
        """Whiten the means; choose what is done in double precision."""
        k, d = self.params.means.shape
        size = self.dtype.itemsize
        limit = ALLOWED[size] / EPS[size]
        middle = self.params.weights @ self.params.means  # (d,)
        self.middle = middle.astype(self.dtype).astype(np.float64)  # (d,)
        self.means = (self.params.means - self.middle) @ self.roots.T
        lengths = np.sqrt((self.means**2).sum(axis=1))  # (k,)
        reach = float(lengths.max()) + 3 * d**0.5
        self.view, self.double = None, np.ones(k, bool)  # (k,)
        self.product, self.near = reach * reach < limit, reach < limit
        self.narrow = size == 4 and bool(self.magnified().max() < limit)
        if self.about is None and self.near:
            self.origin = np.broadcast_to(self.middle, (k, d))

    def about_middle(self, z: Points, narrow: bool) -> Any:
        """Return the rows about the mean of the means, (n, d)."""
        apart = z - self.middle  # (n, d)
        return apart.astype(np.float32) if narrow else apart

    def joint(self, z: Points) -> tuple[Features, Any]:
        """Return the log joint but for what all share, and that, (n,)."""
        if not self.near:
            return super().joint(z)
        apart = self.about_middle(z, self.narrow)  # (n, d)
        white = np.dot(apart, self.roots.T.astype(apart.dtype))  # (n, d)
        if self.product:
            return self.products(white.astype(z.dtype, copy=False))
        joint = np.empty((len(self.means), len(z)), z.dtype)  # (k, n)
        for i, mean in enumerate(self.means):
            off = white - mean  # (n, d)
            lengths = np.einsum("ni,ni->n", off, off)
            joint[i] = self.constants[i] - 0.5 * lengths
        return joint, 0.0

    def products(self, white: Points) -> tuple[Features, Any]:
        """Return the same from whitened rows, as one product."""
        lengths = (self.means**2).sum(axis=1)  # (k,)
        constants = self.constants - 0.5 * lengths  # (k,)
        joint = np.dot(self.means.astype(white.dtype), white.T)  # (k, n)
        joint += np.maximum(constants, LOG_ZERO[white.itemsize]).astype(
            white.dtype
        )[:, None]
        return joint, -0.5 * np.einsum("ni,ni->n", white, white)

    def sums(self, z: Points, resp: Features) -> list[Any]:
        """Return the sums of a piece, given its responsibilities."""
        if self.about is not None or not self.near:
            return super().sums(z, resp)
        first = np.zeros(self.origin.shape)  # (k, d)
        second = np.zeros(self.params.covariances.shape)  # (d, d)
        narrow = z.itemsize == 4
        for cut in range(0, len(z), WHITENED_ROWS):
            some = slice(cut, cut + WHITENED_ROWS)
            apart = self.about_middle(z[some], narrow)  # (n, d)
            first += resp[:, some] @ apart
            second += second_moments(apart, resp[:, some].sum(axis=0))
        return [resp.sum(axis=1, dtype=np.float64), first, second]


def _parts(rows: PerPoint, n: int) -> Iterator[Any]:
    """Yield some of n rows, so many at a time; all of them in place."""
    for cut in range(0, len(rows), WHITENED_ROWS):
        some = slice(cut, min(cut + WHITENED_ROWS, len(rows)))
        yield some if len(rows) == n else rows[some]


def _rows(x: Any) -> Points:
    """Return rows of z in their own precision, one after the other."""
    if not isinstance(x, Standardised):
        return np.ascontiguousarray(x)
    z = np.empty(x.shape, x.dtype)  # (n, d)
    x.write_columns(z.T)
    return z


def whitened(model: Any, params: Params, close: int = 0) -> Whitened | None:
    """Return the turn where columns are many; None: features are faster.

    Parameters
    ----------
    model : Model
        Of `emlib.one_pass.gaussians`.
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances, of z.
    close : int
        How many components the other form would centre, one by one.

    Returns
    -------
    Whitened or None
        By the type, the columns and the components alone.
    """
    k, d = params.means.shape
    if d < FEWEST_COLUMNS.get(type(params), d + 1):
        return None
    if isinstance(params, Tied):
        return WhitenedOnce(model, params)
    few = COLUMNS_A_COMPONENT * k <= d
    return Whitened(model, params) if few or 2 * close > k else None
