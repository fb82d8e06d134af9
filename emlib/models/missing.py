"""A mixture of Gaussians whose points may have holes: values of NaN.

What is hidden of a point is its label and the values that it lacks. That
a value is missing may depend on what is seen, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from emlib.bound import normalise
from emlib.loop import Labels
from emlib.models import gaussians
from emlib.models.covariances import Diag, Params
from emlib.models.gaussians import Statistics
from emlib.shapes import (
    Centres,
    Matrices,
    PerComponent,
    PerPoint,
    Points,
    Table,
)

__all__ = [
    "Conditional",
    "Model",
    "Posterior",
    "condition",
    "conditionals",
    "expected_moments",
    "independent_columns",
    "patterns",
    "split_roots",
]

Mask = Bool[np.ndarray, " d"]
Rows = Int[np.ndarray, " n"]
Blocks = Float[np.ndarray, "k _ _"]
Logs = Float[np.ndarray, "k n"]
Versions = Float[np.ndarray, "k n d"]


class Conditional(NamedTuple):
    """What each component says of rows with the same holes.

    Attributes
    ----------
    log_density : array of shape (k, n)
        log N(x_n^o; mu_k^o, Sigma_k^oo), of what is seen, in nats.
    apart : array of shape (k, n, d)
        The expected x_n, given what is seen, minus mu_k.
    spread : array of shape (k, d, d)
        The covariance of x_n about that; zero but where holes are.
    """

    log_density: Logs
    apart: Versions
    spread: Matrices


class Posterior(NamedTuple):
    """What the E-step returns: an M-step fills holes with it.

    Attributes
    ----------
    resp : array of shape (n, k)
        r_nk, the responsibilities; each row sums to 1.
    log_evidence : array of shape (n,)
        log p(x_n^o), of what is seen, in nats.
    params : Full, Tied, Diag or Spherical
        With which the holes are to be filled.
    """

    resp: Table
    log_evidence: PerPoint
    params: Any


def patterns(x: Points) -> Iterator[tuple[Mask, Rows]]:
    """Yield each set of features that are seen together, and its rows.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, NaN where a value is missing.

    Yields
    ------
    seen : array of shape (d,)
        Whether a feature is there.
    rows : array of int
        The points of which just these features are there.

    Examples
    --------
    >>> x = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, np.nan]])
    >>> for seen, rows in patterns(x):
    ...     print(seen, rows)
    [ True False] [0 2]
    [ True  True] [1]

    References
    ----------
    Little and Rubin (2002), Statistical analysis with missing data, 1.2.
    """
    seen = ~np.isnan(x)  # (n, d)
    _, first, which = np.unique(
        np.packbits(seen, axis=1),
        return_index=True,
        return_inverse=True,
        axis=0,
    )
    order = np.argsort(which.ravel(), kind="stable")  # (n,)
    ends = np.bincount(which.ravel()).cumsum()  # one a pattern
    yield from zip(seen[first], np.split(order, ends[:-1]), strict=True)


def split_roots(
    matrices: Matrices, seen: Mask
) -> tuple[Blocks, Blocks, Blocks]:
    r"""Return the blocks of the Cholesky factors, what is seen put first.

    .. math::

        \begin{pmatrix} \Sigma^{oo} & \Sigma^{om} \\
        \Sigma^{mo} & \Sigma^{mm} \end{pmatrix} = L L^{\mathsf T}, \qquad
        L = \begin{pmatrix} A & 0 \\ B & C \end{pmatrix}

    (`eq-missing-roots`).

    Parameters
    ----------
    matrices : array of shape (k, d, d)
        Positive definite.
    seen : array of shape (d,)
        Whether a feature is there.

    Returns
    -------
    known, cross, rest : arrays
        A, B and C of each component.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a matrix is not positive definite.

    Examples
    --------
    >>> one = np.array([[[20.0, 2.0], [2.0, 1.0]]])
    >>> split_roots(one, np.array([False, True]))
    (array([[[1.]]]), array([[[2.]]]), array([[[4.]]]))

    References
    ----------
    Golub and Van Loan (2013), Matrix computations, 4.2.
    """
    order = np.argsort(~seen, kind="stable")  # (d,)
    roots = np.linalg.cholesky(matrices[:, order[:, None], order])
    o = int(seen.sum())
    return roots[:, :o, :o], roots[:, o:, :o], roots[:, o:, o:]


def _forward(roots: Blocks, sides: Blocks) -> Blocks:
    """Solve lower triangular systems, from the first line to the last.

    Turned round they are upper triangular, and `solve` exchanges no rows.
    """
    turned = np.linalg.solve(roots[:, ::-1, ::-1], sides[:, ::-1])
    return turned[:, ::-1]


def condition(x: Points, params: Params, seen: Mask) -> Conditional:
    r"""Return what each component says of rows with the same holes.

    .. math::

        e_n = A_k^{-1} (x_n^o - \mu_k^o), \qquad
        \hat x_{nk}^m = \mu_k^m + B_k e_n, \qquad
        \operatorname{Cov}(x_n^m \mid x_n^o) = C_k C_k^{\mathsf T}

    (`eq-missing-conditional`), with the blocks of `split_roots`;
    the log density of what is seen comes from the same e_n.

    Parameters
    ----------
    x : array of shape (n, d)
        Points.
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.
    seen : array of shape (d,)
        Whether a feature is there: for all points alike.

    Returns
    -------
    Conditional
        Named tuple `(log_density, apart, spread)`.

    Examples
    --------
    >>> one = gaussians.Full(np.ones(1), np.zeros((1, 2)),
    ...                      np.array([[[1.0, 2.0], [2.0, 20.0]]]))
    >>> conditional = condition(np.array([[3.0, np.nan]]), one,
    ...                  np.array([True, False]))
    >>> conditional.apart[0], conditional.spread[0, 1, 1]
    (array([[3., 6.]]), np.float64(16.0))

    References
    ----------
    Anderson (2003), An introduction to multivariate statistical analysis,
    2.5.
    """
    known, cross, rest = split_roots(params.matrices(), seen)
    o, m = np.flatnonzero(seen), np.flatnonzero(~seen)
    apart = x - params.means[:, None]  # (k, n, d)
    noise = _forward(known, apart[:, :, o].mT)  # (k, o, n)
    apart[:, :, m] = (cross @ noise).mT
    spread = np.zeros_like(params.matrices())  # (k, d, d)
    spread[:, m[:, None], m] = rest @ rest.mT
    sizes = np.diagonal(known, axis1=1, axis2=2)  # (k, o)
    constant = 0.5 * len(o) * np.log(2 * np.pi) + np.log(sizes).sum(axis=1)
    lengths = (noise**2).sum(axis=1)  # (k, n)
    return Conditional(-0.5 * lengths - constant[:, None], apart, spread)


def conditionals(
    x: Points, params: Params
) -> Iterator[tuple[Rows, Conditional]]:
    """Yield the rows of each pattern, and what the components say of them.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, NaN where a value is missing.
    params : Full, Tied, Diag or Spherical
        Weights, means and covariances.

    Yields
    ------
    rows : array of int
        Points with the same holes.
    conditional : Conditional
        As `condition` returns it.

    Examples
    --------
    >>> x = np.array([[1.0], [np.nan], [3.0]])
    >>> for rows, conditional in conditionals(x, independent_columns(x)):
    ...     print(rows, conditional.spread.ravel())
    [1] [1.]
    [0 2] [0.]
    """
    for seen, rows in patterns(x):
        yield rows, condition(x[rows], params, seen)


def expected_moments(
    conditional: Conditional,
    resp: Table,
    means: Centres,
    origin: Any = None,
) -> Statistics:
    r"""Return the expected statistics of rows with the same holes.

    .. math::

        f_k = \sum_n r_{nk} (\hat x_{nk} - o_k), \qquad
        S_k = \sum_n r_{nk} \big( (\hat x_{nk} - o_k)
        (\hat x_{nk} - o_k)^{\mathsf T} + V_{nk} \big)

    (`eq-missing-moments`), V the covariance of what is missing.

    Parameters
    ----------
    conditional : Conditional
        What the components say of the rows.
    resp : array of shape (n, k)
        Responsibilities, as often as the row counts.
    means : array of shape (k, d)
        The mu_k that `conditional.apart` is about.
    origin : array of shape (d,) or (k, d), optional
        o_k; without it the mean of what is summed.

    Returns
    -------
    Statistics
        They add.

    Examples
    --------
    >>> conditional = Conditional(np.zeros((1, 1)), np.array([[[3.0]]]),
    ...                    np.array([[[16.0]]]))
    >>> one, zero = np.ones((1, 1)), np.zeros((1, 1))
    >>> expected_moments(conditional, one, zero).second
    array([[[16.]]])

    References
    ----------
    Ghahramani and Jordan (1994), Supervised learning from incomplete data
    via an EM approach.
    """
    counts = resp.sum(axis=0)  # (k,)
    if origin is None:
        sums = np.einsum("nk,knd->kd", resp, conditional.apart)
        origin = means + sums / np.where(counts > 0, counts, 1)[:, None]
    origin = np.broadcast_to(origin, means.shape)  # (k, d)
    apart = conditional.apart - (origin - means)[:, None]  # (k, n, d)
    share = resp.T[:, :, None] * apart  # (k, n, d)
    second = share.mT @ apart + counts[:, None, None] * conditional.spread
    return Statistics(counts, origin, share.sum(axis=1), second)


def independent_columns(
    x: Points, k: int = 1, multiplicity: PerPoint | None = None
) -> Diag:
    r"""Return k equal components: each column's own mean and variance.

    .. math::

        \mu_{kj} = \frac{\sum_n c_n x_{nj}}{\sum_n c_n}, \qquad
        \sigma_{kj}^2 = \frac{\sum_n c_n (x_{nj} - \mu_{kj})^2}
        {\sum_n c_n}

    (`eq-missing-columns`), the sums over the points of which
    feature j is seen. A start fills its holes with them: they say of a
    hole what its column says, and nothing of what else is seen.

    Parameters
    ----------
    x : array of shape (n, d)
        Points, NaN where a value is missing.
    k : int
        How many components.
    multiplicity : array of shape (n,), optional
        How many times each point counts.

    Returns
    -------
    Diag
        Weights, means and variances; the variance of a constant column is
        the least positive number.

    Raises
    ------
    ValueError
        If a column holds no value; it is named.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 5.0], [np.nan, 7.0]])).means
    array([[1., 6.]])

    References
    ----------
    Little and Rubin (2002), Statistical analysis with missing data, ch. 3.
    """
    counts = np.ones(len(x)) if multiplicity is None else multiplicity
    held = counts[:, None] * ~np.isnan(x)  # (n, d)
    if not held.any(axis=0).all():
        raise ValueError(
            f"each column of `x` must hold some value; column "
            f"{held.any(axis=0).argmin()} holds none. Leave it out."
        )
    share = held / held.sum(axis=0)  # (n, d)
    middle = np.nanmax(x, axis=0)  # (d,)
    apart = np.where(np.isnan(x), 0, x - middle)  # (n, d)
    shift = (share * apart).sum(axis=0)  # (d,)
    variances = (share * (apart - shift) ** 2).sum(axis=0)  # (d,)
    variances = np.maximum(variances, np.finfo(float).tiny)
    means = np.tile(middle + shift, (k, 1))  # (k, d)
    return Diag(np.full(k, 1 / k), means, np.tile(variances, (k, 1)))


def _log_weights(params: Params) -> PerComponent:
    with np.errstate(divide="ignore"):
        logs: PerComponent = np.log(params.weights)
    return logs


@dataclass(frozen=True)
class Model(gaussians.Model):
    """A mixture of Gaussians for points with holes.

    Without holes it returns what `emlib.models.gaussians.Model` returns,
    but for rounding. A turn factors a matrix for each component and each
    pattern of holes, and holds k copies of the rows of one pattern at a
    time. Cut the points in blocks if they are many
    (`emlib.scale.InBlocks`).

    Parameters
    ----------
    covariance_type, reg_covar, prior
        As in `emlib.models.gaussians.Model`.

    Examples
    --------
    >>> from emlib import fit
    >>> x = np.array([[-1, -1], [0, -2], [1, 3], [4, np.nan]])
    >>> found = fit(Model(), x, independent_columns(x), tol=1e-12).params
    >>> found.means.round(4), found.covariances.round(4)
    (array([[1., 2.]]), array([[[ 3.5,  7. ],
            [ 7. , 16. ]]]))
    """

    def log_joint(self, x: Points, params: Params) -> Table:
        r"""Return the log density of what is seen, with each label.

        .. math::

            \log p(x_n^o, z_n = k) = \log \pi_k
            + \log \mathcal N(x_n^o; \mu_k^o, \Sigma_k^{oo})

        (`eq-missing-joint`). Of a point of which nothing is seen
        it is log pi_k.

        Parameters
        ----------
        x : array of shape (n, d)
            Points, NaN where a value is missing.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        array of shape (n, k)
            In nats.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a covariance is not positive definite.
        """
        joint: Table = np.empty((len(x), len(params.weights)))
        for rows, conditional in conditionals(x, params):
            joint[rows] = conditional.log_density.T
        joint += _log_weights(params)
        return joint

    def e_step(self, x: Points, params: Params) -> Any:
        r"""Return the responsibilities and the log evidence.

        .. math:: r_{nk} = \frac{p(x_n^o, z_n = k)}{p(x_n^o)}

        (`eq-coins-e`), of `eq-missing-joint`.

        Parameters
        ----------
        x : array of shape (n, d)
            Points, NaN where a value is missing.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        Posterior
            Named tuple `(resp (n, k), log_evidence (n,), params)`.

        Raises
        ------
        FloatingPointError
            If a point is impossible under every component.
        """
        return Posterior(*normalise(self.log_joint(x, params)), params)

    def summarise(
        self,
        x: Points,
        posterior: Any,
        multiplicity: PerPoint | None = None,
        origin: Any = None,
    ) -> Statistics:
        r"""Return the expected statistics, labels and holes being hidden.

        .. math::

            \begin{gathered}
            N_k = \sum_n r_{nk}, \qquad
            f_k = \sum_n r_{nk} (\hat x_{nk} - o_k), \\
            S_k = \sum_n r_{nk} \big( (\hat x_{nk} - o_k)
            (\hat x_{nk} - o_k)^{\mathsf T} + V_{nk} \big)
            \end{gathered}

        (`eq-missing-moments`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points, NaN where a value is missing.
        posterior : Posterior or Labels
            Responsibilities, (n, k), and what fills the holes. Labels are
            a start: holes are then filled as `independent_columns` says of
            these points.
        multiplicity : array of shape (n,), optional
            How many times each point counts.
        origin : array of shape (d,) or (k, d), optional
            o_k; without it each component's own mean of these points.

        Returns
        -------
        Statistics
            They add: those of two blocks of points sum to those of both.

        Raises
        ------
        ValueError
            If labels are given, and a column holds no value.
        """
        resp = posterior.resp  # (n, k)
        params = (
            independent_columns(x, resp.shape[1], multiplicity)
            if isinstance(posterior, Labels)
            else posterior.params
        )
        if multiplicity is not None:
            resp = multiplicity[:, None] * resp  # (n, k)
        parts = (
            expected_moments(part, resp[rows], params.means, origin)
            for rows, part in conditionals(x, params)
        )
        return reduce(add, parts)

    def expect(
        self,
        x: Points,
        params: Params,
        multiplicity: PerPoint | None = None,
    ) -> tuple[Statistics, float]:
        """Return the statistics and the bound of a block, in one pass.

        Each Cholesky factor then serves both.

        Parameters
        ----------
        x : array of shape (n, d)
            Points, NaN where a value is missing.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.
        multiplicity : array of shape (n,), optional
            How many times each point counts.

        Returns
        -------
        statistics : Statistics
            As `summarise` returns them.
        bound : float
            In nats, summed over the points.
        """
        log_weights = _log_weights(params)  # (k,)
        times = np.ones(len(x)) if multiplicity is None else multiplicity
        total: Any = 0
        bound = 0.0
        for rows, part in conditionals(x, params):
            try:
                resp, logs = normalise(part.log_density.T + log_weights)
            except FloatingPointError:
                self.e_step(x, params)  # says which row it is
                raise
            resp = times[rows, None] * resp  # (n, k)
            total = total + expected_moments(part, resp, params.means)
            bound += float(times[rows] @ logs)
        return total, bound

    def impute(self, x: Points, params: Params) -> Points:
        r"""Return the points, each hole filled with its expected value.

        .. math::

            \mathbb E[x_n^m \mid x_n^o] = \sum_k r_{nk} \, \hat x_{nk}^m

        (`eq-missing-impute`). What is seen stays as it is. Points
        so filled are too regular: take no variances of them.

        Parameters
        ----------
        x : array of shape (n, d)
            Points, NaN where a value is missing.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        array of shape (n, d)
            Without holes.
        """
        resp = self.e_step(x, params).resp  # (n, k)
        filled = np.empty(x.shape)  # (n, d)
        for rows, conditional in conditionals(x, params):
            whole = conditional.apart + params.means[:, None]  # (k, n, d)
            filled[rows] = (resp[rows].T[:, :, None] * whole).sum(axis=0)
        return np.where(np.isnan(x), filled, x)
