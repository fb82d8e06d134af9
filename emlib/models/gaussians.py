"""A mixture of Gaussians, in the form to read and to test against.

One covariance matrix a component is computed, whatever the covariance
type; the four types differ in what they keep of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import softmax

from emlib.bound import Posterior, normalise
from emlib.models.covariances import COVARIANCES as COVARIANCES
from emlib.models.covariances import Collapse as Collapse
from emlib.models.covariances import Diag as Diag
from emlib.models.covariances import Full as Full
from emlib.models.covariances import Params
from emlib.models.covariances import Spherical as Spherical
from emlib.models.covariances import Tied as Tied
from emlib.models.covariances.definite import (
    from_log_cholesky as from_log_cholesky,
)
from emlib.models.covariances.definite import log_cholesky as log_cholesky
from emlib.shapes import (
    Centres,
    Covariances,
    Matrices,
    Matrix,
    PerComponent,
    PerPoint,
    Points,
    Table,
    Vector,
)

__all__ = [
    "Model",
    "Prior",
    "Statistics",
    "log_density",
    "scatter",
]


class Prior(NamedTuple):
    """An inverse-Wishart belief about each covariance matrix.

    Attributes
    ----------
    dof : float
        nu, how firm the belief is, in points.
    scale : array of shape (d, d)
        Psi; the believed matrix is Psi / (nu + d + 1).
    """

    dof: float
    scale: Matrix


@dataclass(frozen=True)
class Statistics:
    """What the M-step needs of the data; statistics of blocks add.

    Attributes
    ----------
    counts : array of shape (k,)
        N_k = sum_n r_nk, points credited to each component.
    origin : array of shape (k, d)
        o_k, the point that the moments are taken about.
    first : array of shape (k, d)
        sum_n r_nk (x_n - o_k).
    second : array of shape (k, d, d)
        sum_n r_nk (x_n - o_k)(x_n - o_k)^T.
    """

    counts: PerComponent
    origin: Centres
    first: Centres
    second: Matrices

    def means(self) -> Centres:
        """Return each component's mean; its origin where it has no point.

        (`eq-gaussians-mu`).
        """
        counts = np.where(self.counts > 0, self.counts, 1)[:, None]
        return self.origin + self.first / counts  # (k, d)

    def about(self, origin: Centres) -> Statistics:
        r"""Return the same moments about another origin.

        .. math::

            f' = f + N s, \qquad
            S' = S + s f^{\mathsf T} + f s^{\mathsf T} + N s s^{\mathsf T},
            \qquad s = o - o'

        (`eq-gaussians-rebase`), for each component.
        """
        shift = self.origin - origin  # (k, d)
        cross = shift[:, :, None] * self.first[:, None, :]  # (k, d, d)
        square = shift[:, :, None] * shift[:, None, :]  # (k, d, d)
        counts = self.counts[:, None]  # (k, 1)
        second = self.second + cross + cross.transpose(0, 2, 1)
        second = second + counts[:, :, None] * square  # (k, d, d)
        first = self.first + counts * shift  # (k, d)
        return Statistics(self.counts, origin, first, second)

    def kept(self, kind: Any) -> Covariances:
        """Return the second moments about the means, as the kind keeps."""
        kept: Covariances = kind.keep(self.about(self.means()).second)
        return kept

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        if not np.array_equal(self.origin, other.origin):
            counts = np.stack([self.counts, other.counts]) + 1e-300
            share = (counts / counts.sum(axis=0))[:, :, None]  # (2, k, 1)
            ends = np.stack([self.means(), other.means()])  # (2, k, d)
            origin = (share * ends).sum(axis=0)  # (k, d)
            return self.about(origin) + other.about(origin)
        return Statistics(
            self.counts + other.counts,
            self.origin,
            self.first + other.first,
            self.second + other.second,
        )

    def __radd__(self, other: object) -> Statistics:
        zero = isinstance(other, int) and other == 0
        return self if zero else NotImplemented

    def scaled(self, share: float) -> Statistics:
        """Return the statistics of points that count so much each."""
        parts = (self.counts, self.first, self.second)
        counts, first, second = (share * part for part in parts)
        return Statistics(counts, self.origin, first, second)


def log_density(x: Points, mean: Vector, covariance: Matrix) -> PerPoint:
    r"""Return the log density of a Gaussian at each point.

    .. math::

        \log \mathcal N(x_n; \mu, \Sigma) = -\tfrac12 \big(
        d \log 2\pi + \log \det \Sigma
        + (x_n - \mu)^{\mathsf T} \Sigma^{-1} (x_n - \mu) \big)

    (`eq-gaussians-density`). With the Cholesky factor L of Sigma the
    quadratic form is the squared length of L^-1 (x - mu).

    Parameters
    ----------
    x : array of shape (n, d)
        Points.
    mean : array of shape (d,)
        In the unit of the data.
    covariance : array of shape (d, d)
        Positive definite, in the unit of the data squared.

    Returns
    -------
    array of shape (n,)
        In nats.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the covariance is not positive definite.

    Examples
    --------
    >>> log_density(np.zeros((1, 2)), np.zeros(2), np.eye(2)).round(4)
    array([-1.8379])

    References
    ----------
    Bishop (2006), Pattern recognition and machine learning, (2.43).
    """
    root = np.linalg.cholesky(covariance)  # (d, d)
    apart = solve_triangular(root, (x - mean).T, lower=True)  # (d, n)
    log_det = 2 * np.log(np.diagonal(root)).sum()
    constant = len(mean) * np.log(2 * np.pi) + log_det
    logs: PerPoint = -0.5 * (constant + (apart**2).sum(axis=0))  # (n,)
    return logs


def scatter(x: Points, resp: PerPoint, origin: Vector) -> Matrix:
    r"""Return the weighted second moments of the points about an origin.

    .. math:: S = \sum_n r_n (x_n - o)(x_n - o)^{\mathsf T}

    (`eq-gaussians-scatter`).

    Parameters
    ----------
    x : array of shape (n, d)
        Points.
    resp : array of shape (n,)
        How much of each point counts.
    origin : array of shape (d,)
        In the unit of the data.

    Returns
    -------
    array of shape (d, d)
        In points times the unit of the data squared.

    Examples
    --------
    >>> scatter(np.array([[1.0], [3.0]]), np.ones(2), np.array([2.0]))
    array([[2.]])

    References
    ----------
    Bishop (2006), Pattern recognition and machine learning, (9.19).
    """
    apart = x - origin  # (n, d)
    moments: Matrix = (resp[:, None] * apart).T @ apart  # (d, d)
    return moments


@cache
def _identity(d: int) -> Matrix:
    """Return the matrix of ones on the diagonal, made once."""
    return np.eye(d)


@dataclass(frozen=True)
class Model:
    """A mixture of Gaussians; the object holds options only.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
        What the components' covariance matrices may be.
    reg_covar : float or array of shape (d,)
        Added to every variance after the M-step, in the unit of the data
        squared. It maximises nothing: with it the bound may fall.
    prior : Prior, optional
        A belief about the covariance matrices; the M-step then maximises
        the bound plus `log_prior`, and that sum rises.

    Examples
    --------
    >>> model = Model("diag")
    >>> x = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> from emlib.loop import Labels
    >>> labels = Labels(np.eye(2)[[0, 0, 1, 1]])
    >>> params = model.maximise(model.summarise(x, labels))
    >>> params.means.ravel(), params.covariances.ravel()
    (array([0.5, 8.5]), array([0.25, 0.25]))
    """

    covariance_type: str = "full"
    reg_covar: Any = 0.0
    prior: Prior | None = None

    def log_joint(self, x: Points, params: Params) -> Table:
        r"""Return the log density of each point together with each label.

        .. math::

            \log p(x_n, z_n = k) = \log \pi_k
            + \log \mathcal N(x_n; \mu_k, \Sigma_k)

        (`eq-gaussians-joint`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        array of shape (n, k)
            In nats.

        Raises
        ------
        Collapse
            If a covariance is not positive definite; it is named.
        """
        with np.errstate(divide="ignore"):
            log_weights = np.log(params.weights)  # (k,)
        logs, matrices = [], params.matrices()  # [], (k, d, d)
        for k, mean in enumerate(params.means):
            try:
                logs.append(log_density(x, mean, matrices[k]))
            except np.linalg.LinAlgError:
                raise Collapse(k) from None
        joint: Table = np.stack(logs, axis=1) + log_weights  # (n, k)
        return joint

    def e_step(self, x: Points, params: Params) -> Posterior:
        r"""Return the responsibilities and the log evidence.

        .. math::

            r_{nk} = \frac{\pi_k \mathcal N(x_n; \mu_k, \Sigma_k)}
            {\sum_l \pi_l \mathcal N(x_n; \mu_l, \Sigma_l)}

        (`eq-gaussians-e`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        Posterior
            Named tuple `(resp (n, k), log_evidence (n,))`.

        Raises
        ------
        FloatingPointError
            If a point is impossible under every component.
        Collapse
            If a covariance is not positive definite; it is named.
        """
        return normalise(self.log_joint(x, params))

    def summarise(
        self,
        x: Points,
        posterior: Any,
        multiplicity: PerPoint | None = None,
        origin: Any = None,
    ) -> Statistics:
        r"""Return the points credited to each component, and their moments.

        .. math::

            N_k = \sum_n r_{nk}, \quad
            f_k = \sum_n r_{nk} (x_n - o_k), \quad
            S_k = \sum_n r_{nk} (x_n - o_k)(x_n - o_k)^{\mathsf T}

        (`eq-gaussians-statistics`).

        Parameters
        ----------
        x : array of shape (n, d)
            Points.
        posterior : Posterior or Labels
            Whose responsibilities count, (n, k).
        multiplicity : array of shape (n,), optional
            How many times each point counts.
        origin : array of shape (d,) or (k, d), optional
            o_k; without it each component's own mean of these points.

        Returns
        -------
        Statistics
            They add: those of two blocks of points sum to those of both.
        """
        times = 1 if multiplicity is None else multiplicity[:, None]
        resp = times * posterior.resp  # (n, k)
        counts = resp.sum(axis=0)  # (k,)
        if origin is None:
            middle = x.mean(axis=0)  # (d,)
            sums = resp.T @ (x - middle)  # (k, d)
            held = np.where(counts > 0, counts, 1)[:, None]  # (k, 1)
            origin = middle + sums / held  # (k, d)
        origin = np.broadcast_to(origin, (len(counts), x.shape[1]))
        pairs = list(zip(resp.T, origin, strict=True))
        first = np.stack([part @ (x - o) for part, o in pairs])  # (k, d)
        second = np.stack([scatter(x, part, o) for part, o in pairs])
        return Statistics(counts, origin, first, second)

    def maximise(
        self, statistics: Any, previous: Params | None = None
    ) -> Any:
        r"""Return the parameters at which the expected log joint peaks.

        .. math::

            \pi_k = \frac{N_k}{N}, \quad
            \mu_k = \frac{1}{N_k} \sum_n r_{nk} x_n, \quad
            \Sigma_k = \frac{1}{N_k} \sum_n r_{nk}
            (x_n - \mu_k)(x_n - \mu_k)^{\mathsf T}

        (`eq-gaussians-pi`, `eq-gaussians-mu`, `eq-gaussians-sigma`); the
        other types keep less of the last (`eq-gaussians-types`), and a
        prior adds to it (`eq-collapse-map`).

        Parameters
        ----------
        statistics : Statistics
            Expected counts and moments.
        previous : params, optional
            Not needed; every model takes this argument.

        Returns
        -------
        Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Raises
        ------
        FloatingPointError
            If no point is credited to a component; it is named.
        """
        counts = statistics.counts  # (k,)
        if not counts.all():
            raise FloatingPointError(
                f"each component must be credited with some point; "
                f"component {counts.argmin()} is credited with none. Start "
                f"it nearer the data, or use fewer components."
            )
        means, kind = statistics.means(), COVARIANCES[self.covariance_type]
        kept, points = statistics.kept(kind), kind.pool(counts)
        if self.prior is not None:
            dof, scale = self.prior
            kept = kept + kind.keep(scale[None])
            points = points + dof + len(scale) + 1
        eye = _identity(means.shape[1])  # (d, d)
        covariances = kept / points + kind.keep(self.reg_covar * eye[None])
        return kind(counts / counts.sum(), means, covariances)

    def log_prior(self, params: Params) -> float:
        r"""Return the log of the prior at the parameters, but a constant.

        .. math::

            -\tfrac12 \sum_k \big( (\nu + d + 1) \log \det \Sigma_k
            + \operatorname{tr}(\Psi \Sigma_k^{-1}) \big)

        (`eq-collapse-prior`), over the matrices that are free: one where
        they are tied.

        Parameters
        ----------
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        float
            In nats; 0 without a prior.
        """
        if self.prior is None:
            return 0.0
        dof, scale = self.prior
        matrices = params.matrices()[: params.n_matrices()]  # (k, d, d)
        roots = np.linalg.inv(np.linalg.cholesky(matrices))  # (k, d, d)
        log_dets = -2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum()
        traces = np.einsum("kij,jl,kil->", roots, scale, roots)
        firm = dof + len(scale) + 1
        return float(-0.5 * (firm * log_dets + traces))

    def pack(self, params: Params) -> Vector:
        r"""Return the parameters as one vector without limits.

        .. math:: \log \pi_k, \qquad \mu_k, \qquad \log L_{ii}, L_{ij}

        (`eq-one_pass-pack`).

        Parameters
        ----------
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.

        Returns
        -------
        array of shape (p,)
            Infinite where a weight is 0.
        """
        with np.errstate(divide="ignore"):
            logs = np.log(params.weights)  # (k,)
        free = log_cholesky(params.cells())
        return np.concatenate([logs, params.means.ravel(), free.ravel()])

    def unpack(self, vector: Vector, like: Params) -> Any:
        r"""Return the parameters that a vector stands for.

        .. math::

            \pi_k = \frac{e^{v_k}}{\sum_l e^{v_l}}, \qquad
            \Sigma_k = L_k L_k^{\mathsf T}

        (`eq-one_pass-unpack`): any vector gives parameters that are
        allowed.

        Parameters
        ----------
        vector : array of shape (p,)
            As `pack` returns it.
        like : Full, Tied, Diag or Spherical
            Whose type and shapes are returned.

        Returns
        -------
        Full, Tied, Diag or Spherical
            Weights, means and covariances.
        """
        k, size = len(like.weights), like.means.size
        logs, means, free = np.split(vector, [k, k + size])
        m = like.cells().shape[-1]
        rows = free.reshape(*like.cells().shape[:-2], m * (m + 1) // 2)
        covariances = from_log_cholesky(rows).reshape(
            like.covariances.shape
        )
        means = means.reshape(like.means.shape)  # (k, d)
        return type(like)(softmax(logs), means, covariances)

    def sample(
        self, params: Params, n: int, rng: np.random.Generator
    ) -> tuple[Points, PerPoint]:
        r"""Return points drawn from the model, and the labels it loses.

        .. math:: z_n \sim \pi, \qquad
            x_n \sim \mathcal N(\mu_{z_n}, \Sigma_{z_n})

        (`eq-gaussians-story`).

        Parameters
        ----------
        params : Full, Tied, Diag or Spherical
            Weights, means and covariances.
        n : int
            Number of points.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        x : array of shape (n, d)
            Points.
        z : array of shape (n,)
            Which component each came from.
        """
        k, d = params.means.shape
        z = rng.choice(k, size=n, p=params.weights)  # (n,)
        roots = np.linalg.cholesky(params.matrices())[z]  # (n, d, d)
        noise = rng.standard_normal((n, d))  # (n, d)
        return params.means[z] + np.einsum("nij,nj->ni", roots, noise), z
