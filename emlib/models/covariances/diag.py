"""A variance for each component and feature."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.models.covariances.common import WithVariances
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Matrices,
    Natural,
    PerComponent,
    PerPoint,
    Points,
    Vector,
)

__all__ = ["Diag"]


class Diag(WithVariances):
    """Parameters with a variance for each component and feature.

    Attributes
    ----------
    weights : array of shape (k,)
        pi_k = p(z_n = k); sums to 1.
    means : array of shape (k, d)
        mu_k, in the unit of the data.
    covariances : array of shape (k, d)
        The diagonals of Sigma_k, in the unit of the data squared.
    """

    __slots__ = ()

    def matrices(self) -> Matrices:
        """Return Sigma_k of each component, (k, d, d)."""
        d = self.means.shape[1]
        return self.covariances[:, :, None] * np.eye(d)  # (k, d, d)

    def cells(self) -> Covariances:
        """Return what is free to move, as matrices (..., m, m)."""
        return self.covariances[:, :, None, None]  # (k, d, 1, 1)

    @staticmethod
    def keep(scatters: Matrices) -> Covariances:
        """Return what the type keeps of k matrices: their diagonals."""
        return np.diagonal(scatters, axis1=1, axis2=2)  # (k, d)

    @staticmethod
    def pool(counts: PerComponent) -> Covariances:
        """Return how many points stand behind each kept entry."""
        return counts[:, None]  # (k, 1)

    @staticmethod
    def shape_of(k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""
        return (k, d)

    @staticmethod
    def n_free(k: int, d: int) -> int:
        """Return how many numbers in the covariances are free."""
        return k * d

    @staticmethod
    def rescaled(covariances: Covariances, scale: Vector) -> Covariances:
        """Return the covariances of features times `scale`, (d,)."""
        rescaled: Covariances = covariances * scale**2  # (k, d)
        return rescaled

    @staticmethod
    def over_features(logs: Covariances, d: int) -> Any:
        """Return the sum over d features, (k,)."""
        return logs.sum(axis=1)

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        """Return the diagonals, (k, d)."""
        return covariances

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        """Return each component's precision times its vector, (k, d)."""
        return precision * vectors

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        """Return one component's second moments of centred points."""
        return (apart * apart) @ share  # (d,)

    @staticmethod
    def scatters(apart: Points, labels: PerPoint, sides: Any) -> Any:
        """Return the second moments of centred points, by their sides."""
        return sides @ (apart * apart)  # (k, d)

    @staticmethod
    def n_quadratics(d: int) -> int:
        """Return how many products of features there are."""
        return d

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        """Write the squares z_i^2."""
        np.multiply(z, z, out=out)

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        """Return what the squares are multiplied by, (k, d)."""
        return -0.5 * precision

    @staticmethod
    def unfold(sums: Natural, d: int, shared: list[Any]) -> Any:
        """Return the second moments that sums of squares are."""
        return sums  # (k, d)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        """Return the second moments of points at one shift each."""
        return counts[:, None] * shift**2  # (k, d)
