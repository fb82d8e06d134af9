"""Positive definite matrices: their roots, and rows without limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import lapack

from emlib.shapes import (
    Covariances,
)

__all__ = [
    "Collapse",
    "from_log_cholesky",
    "inverse_cholesky",
    "log_cholesky",
]

EPS = 2.0**-52  # from 1 to the next number of double precision


class Collapse(FloatingPointError, np.linalg.LinAlgError):  # noqa: N818
    """A component has shrunk until float64 cannot hold its covariance.

    Attributes
    ----------
    component : int
        Which one, from 0.
    """

    def __init__(self, component: int) -> None:
        self.component = component
        super().__init__(
            f"each covariance must be positive definite; that of component "
            f"{component} is not: it has collapsed onto a few points or a "
            "flat. Use fewer components, another start, a larger reg_covar "
            "or a prior."
        )


def inverse_cholesky(
    covariances: Covariances,
) -> tuple[Covariances, Any]:
    r"""Return the inverses of Cholesky factors, and their log determinants.

    .. math:: \Sigma = L L^{\mathsf T}, \qquad U = L^{-1}

    (`eq-one_pass-precisions`).

    Parameters
    ----------
    covariances : array of shape (..., d, d)
        Symmetric, in the unit of the data squared.

    Returns
    -------
    roots : array of shape (..., d, d)
        U, lower triangular.
    log_dets : array of shape (...)
        log det U, in nats.

    Raises
    ------
    Collapse
        If a covariance is not positive definite, or is so by rounding.

    Examples
    --------
    >>> inverse_cholesky(np.array([[4.0, 0.0], [0.0, 1.0]]))[0]
    array([[0.5, 0. ],
           [0. , 1. ]])

    References
    ----------
    Higham (2002), Accuracy and stability of numerical algorithms, 10.
    """
    inverse = _inverse(_cholesky(covariances))
    sizes = inverse.diagonal(0, -2, -1)  # (k, d)
    widths = covariances.diagonal(0, -2, -1)  # (k, d)
    # A factor of a singular matrix exists, by the grace of rounding.
    if not np.vdot(sizes * sizes, widths) <= 1 / (8 * EPS):  # their sum
        _check_each(sizes * sizes * widths)
    return inverse, np.log(sizes).sum(axis=-1)


def _check_each(lost: Any) -> None:
    """Raise where a variance is so many times what is left of it."""
    bad = np.argwhere(np.atleast_2d(~(lost <= 1 / (8 * EPS))))
    if len(bad):
        raise Collapse(int(bad[0][0]))


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


def _inverse(roots: Covariances) -> Covariances:
    """Return the inverses of lower triangular matrices."""
    d = roots.shape[-1]
    if d < 32:  # one call is sooner than a third of the work
        return np.linalg.inv(roots)
    inverse = np.empty_like(roots)  # (k, d, d)
    for root, into in zip(
        roots.reshape(-1, d, d), inverse.reshape(-1, d, d), strict=True
    ):
        into[:] = lapack.dtrtri(root.T)[0].T
    return inverse


def is_definite(matrix: Any, d: int) -> bool:
    """Say whether a matrix is symmetric and positive definite, (d, d)."""
    if matrix.shape != (d, d) or not np.isfinite(matrix).all():
        return False
    symmetric = np.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-8)
    return symmetric and bool((np.linalg.eigvalsh(matrix) > 0).all())


def log_cholesky(matrices: Covariances) -> Covariances:
    r"""Return the Cholesky factors, their diagonals in logs, in a row.

    .. math::

        \Sigma = L L^{\mathsf T}, \qquad
        v = (\log L_{ii}, L_{ij})_{i > j}

    (`eq-one_pass-pack`): any such row belongs to one positive
    definite matrix.

    Parameters
    ----------
    matrices : array of shape (..., m, m)
        Positive definite.

    Returns
    -------
    array of shape (..., m (m + 1) / 2)
        Without limits.

    Examples
    --------
    >>> log_cholesky(np.array([[1.0, 2.0], [2.0, 5.0]]))
    array([0., 2., 0.])

    References
    ----------
    Pinheiro and Bates (1996), Unconstrained parametrizations for
    variance-covariance matrices.
    """
    roots = np.linalg.cholesky(matrices)  # (..., m, m)
    m = np.arange(roots.shape[-1])
    roots[..., m, m] = np.log(roots[..., m, m])
    rows: Covariances = roots[..., *np.tril_indices(len(m))]
    return rows


def from_log_cholesky(rows: Covariances) -> Covariances:
    r"""Return the matrices that `log_cholesky` was given.

    .. math:: \Sigma = L L^{\mathsf T}, \qquad L_{ii} = e^{v_{ii}}

    (`eq-one_pass-unpack`).

    Parameters
    ----------
    rows : array of shape (..., m (m + 1) / 2)
        Any finite numbers.

    Returns
    -------
    array of shape (..., m, m)
        Positive definite, but for rounding.

    Examples
    --------
    >>> from_log_cholesky(np.array([0.0, 2.0, 0.0]))
    array([[1., 2.],
           [2., 5.]])

    References
    ----------
    Pinheiro and Bates (1996), Unconstrained parametrizations for
    variance-covariance matrices.
    """
    size = rows.shape[-1]
    m = int((np.sqrt(8 * size + 1) - 1) / 2)
    roots = np.zeros((*rows.shape[:-1], m, m))
    roots[..., *np.tril_indices(m)] = rows
    i = np.arange(m)
    roots[..., i, i] = np.exp(roots[..., i, i])
    matrices: Covariances = roots @ np.swapaxes(roots, -1, -2)
    return matrices
