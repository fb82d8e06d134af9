"""A covariance matrix for each component."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from emlib.models.covariances.common import WithMatrices
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Matrices,
    Natural,
    PerComponent,
)

__all__ = ["Full"]


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
def _cells(d: int) -> Any:
    """Return where in a matrix each product's weight stands, (q,)."""
    i, j, _ = _pairs(d)
    return i * d + j


@cache
def _places(d: int) -> Any:
    """Return which product each second moment is, (d * d,)."""
    i, j, _ = _pairs(d)
    places = np.empty((d, d), int)
    places[j, i] = places[i, j] = np.arange(len(i))
    return places.ravel()


class Full(WithMatrices):
    """Parameters with a covariance matrix for each component.

    Attributes
    ----------
    weights : array of shape (k,)
        pi_k = p(z_n = k); sums to 1.
    means : array of shape (k, d)
        mu_k, in the unit of the data.
    covariances : array of shape (k, d, d)
        Sigma_k, in the unit of the data squared.
    """

    __slots__ = ()

    def matrices(self) -> Matrices:
        """Return Sigma_k of each component, (k, d, d)."""
        return self.covariances

    @staticmethod
    def keep(scatters: Matrices) -> Covariances:
        """Return what the type keeps of k matrices: all of them."""
        return scatters

    @staticmethod
    def pool(counts: PerComponent) -> Covariances:
        """Return how many points stand behind each kept entry."""
        return counts[:, None, None]  # (k, 1, 1)

    @staticmethod
    def shape_of(k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""
        return (k, d, d)

    @staticmethod
    def n_free(k: int, d: int) -> int:
        """Return how many numbers in the covariances are free."""
        return k * d * (d + 1) // 2

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        """Return the diagonals, (k, d)."""
        return covariances.diagonal(0, -2, -1)

    @staticmethod
    def whiten(roots: Covariances, i: int, apart: Features) -> Any:
        """Return centred points in the unit of one component, (d, n)."""
        return roots[i] @ apart

    @staticmethod
    def n_quadratics(d: int) -> int:
        """Return how many products of features there are."""
        return len(_pairs(d)[0])

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        """Write all products z_i z_j, i <= j, and a few with i > j."""
        begin, (d, n) = 0, z.shape
        for band in _bands(d):
            left, right = z[band, None], z[band.start :]
            end = begin + len(left) * len(right)
            block = out[begin:end].reshape(len(left), len(right), n)
            np.multiply(left, right, out=block)
            begin = end

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        """Return what the products are multiplied by, (k, q)."""
        (k, d, _), shares = precision.shape, _pairs(precision.shape[-1])[2]
        return shares * precision.reshape(k, -1).take(_cells(d), axis=1)

    @staticmethod
    def unfold(sums: Natural, d: int, shared: list[Any]) -> Any:
        """Return the second moments that sums of products are."""
        return sums.take(_places(d), axis=1).reshape(-1, d, d)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        """Return the second moments of points at one shift each."""
        weighted = counts[:, None] * shift  # (k, d)
        return weighted[:, :, None] * shift[:, None, :]  # (k, d, d)
