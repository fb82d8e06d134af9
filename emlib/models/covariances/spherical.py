"""One variance for each component."""

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

__all__ = ["Spherical"]


class Spherical(WithVariances):
    """Parameters with one variance for each component.

    Attributes
    ----------
    weights : array of shape (k,)
        pi_k = p(z_n = k); sums to 1.
    means : array of shape (k, d)
        mu_k, in the unit of the data.
    covariances : array of shape (k,)
        The variance of every feature, in the unit of the data squared.
    """

    __slots__ = ()

    def matrices(self) -> Matrices:
        """Return Sigma_k of each component, (k, d, d)."""
        d = self.means.shape[1]
        return self.covariances[:, None, None] * np.eye(d)  # (k, d, d)

    def cells(self) -> Covariances:
        """Return what is free to move, as matrices (..., m, m)."""
        return self.covariances[:, None, None]  # (k, 1, 1)

    @staticmethod
    def keep(scatters: Matrices) -> Covariances:
        """Return what the type keeps of k matrices: the mean diagonal."""
        diagonals = np.diagonal(scatters, axis1=1, axis2=2)  # (k, d)
        variances: Covariances = diagonals.mean(axis=1)  # (k,)
        return variances

    @staticmethod
    def pool(counts: PerComponent) -> Covariances:
        """Return how many points stand behind each kept entry."""
        return counts  # (k,)

    @staticmethod
    def shape_of(k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""
        return (k,)

    @staticmethod
    def n_free(k: int, d: int) -> int:
        """Return how many numbers in the covariances are free."""
        return k

    @staticmethod
    def scales(widths: Vector) -> Vector:
        """Return the units that features of such widths may have: one."""
        return np.full_like(widths, widths.max())

    @staticmethod
    def rescaled(covariances: Covariances, scale: Vector) -> Covariances:
        """Return the covariances of features times `scale`, all equal."""
        rescaled: Covariances = covariances * scale[0] ** 2  # (k,)
        return rescaled

    @staticmethod
    def over_features(logs: Covariances, d: int) -> Any:
        """Return the sum over d equal features, (k,)."""
        return d * logs

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        """Return the one variance of each component, (k, 1)."""
        return covariances[:, None]

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        """Return each component's precision times its vector, (k, d)."""
        return precision[:, None] * vectors

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        """Return one component's second moments of centred points."""
        return ((apart * apart) @ share).mean()  # ()

    @staticmethod
    def scatters(apart: Points, labels: PerPoint, sides: Any) -> Any:
        """Return the second moments of centred points, by their sides."""
        return sides @ np.vecdot(apart, apart) / apart.shape[1]  # (k,)

    @staticmethod
    def n_quadratics(d: int) -> int:
        """Return how many products of features there are."""
        return 1

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        """Write the squared lengths."""
        np.einsum("dn,dn->n", z, z, out=out[0])

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        """Return what the squared length is multiplied by, (k, 1)."""
        return -0.5 * precision[:, None]

    @staticmethod
    def unfold(sums: Natural, d: int, shared: list[Any]) -> Any:
        """Return the second moments that sums of squared lengths are."""
        return sums[:, 0] / d  # (k,)

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        """Return the second moments of points at one shift each."""
        return counts * (shift**2).mean(axis=1)  # (k,)
