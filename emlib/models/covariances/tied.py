"""One covariance matrix for all components."""

from __future__ import annotations

from collections.abc import Sequence
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
    PerPoint,
    Points,
)

__all__ = ["Tied"]


class Tied(WithMatrices):
    """Parameters with one covariance matrix for all components.

    The quadratic form is the same for every component: no product of
    features tells them apart.

    Attributes
    ----------
    weights : array of shape (k,)
        pi_k = p(z_n = k); sums to 1.
    means : array of shape (k, d)
        mu_k, in the unit of the data.
    covariances : array of shape (d, d)
        The Sigma of every component, in the unit of the data squared.
    """

    __slots__ = ()

    def matrices(self) -> Matrices:
        """Return Sigma_k of each component, (k, d, d)."""
        k, d = self.means.shape
        return np.broadcast_to(self.covariances, (k, d, d))

    def n_matrices(self) -> int:
        """Return how many covariance matrices are free to move."""
        return 1

    def reordered(self, order: Any) -> Any:
        """Return the same parameters, the components in another order."""
        return Tied(
            self.weights[order], self.means[order], self.covariances
        )

    def with_covariances_of(self, previous: Any, components: Any) -> Any:
        """Return the parameters; all components keep their shape."""
        return self._replace(covariances=previous.covariances)

    def with_own_of(self, previous: Any, components: Any) -> Any:
        """Return the same, but that what all share moves on."""
        return self

    def restarted(
        self, previous: Any, component: int, matrices: Matrices
    ) -> Any:
        """Return the previous covariance, which is no component's own."""
        return np.array(previous.covariances)

    @staticmethod
    def keep(scatters: Matrices) -> Covariances:
        """Return what the type keeps of k matrices: their sum."""
        total: Covariances = scatters.sum(axis=0)  # (d, d)
        return total

    @staticmethod
    def pool(counts: PerComponent) -> Covariances:
        """Return how many points stand behind each kept entry."""
        return np.array(counts.sum())  # ()

    @staticmethod
    def shape_of(k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""
        return (d, d)

    @staticmethod
    def n_free(k: int, d: int) -> int:
        """Return how many numbers in the covariances are free."""
        return d * (d + 1) // 2

    @staticmethod
    def component(values: Any, i: int) -> Any:
        """Return what belongs to a component: what belongs to all."""
        return values

    @staticmethod
    def centred_with(close: Any) -> Any:
        """Return which components are centred: all or none, (k,)."""
        return np.full_like(close, close.any())

    @staticmethod
    def variances(covariances: Covariances) -> Any:
        """Return the diagonal, (1, d)."""
        return covariances.diagonal()[None]

    @staticmethod
    def whiten(roots: Covariances, i: int, apart: Features) -> Any:
        """Return centred points in the unit of one component, (d, n)."""
        return roots @ apart

    @staticmethod
    def scatters(apart: Points, labels: PerPoint, sides: Any) -> Any:
        """Return the second moments of centred points, all together."""
        return apart.T @ apart  # (d, d)

    @staticmethod
    def n_quadratics(d: int) -> int:
        """Return how many products of features there are."""
        return 0

    @staticmethod
    def quadratics(z: Features, out: Any) -> None:
        """Write no product."""

    @staticmethod
    def coefficients(precision: Covariances) -> Any:
        """Return what the products are multiplied by, (1, 0)."""
        return np.empty((1, 0))

    @staticmethod
    def shared(roots: Any, phi: Features, dtype: Any) -> Any:
        """Return what all components add to a point's log joint, (n,)."""
        z = phi[:-1]  # (d, n)
        return -0.5 * ((roots.astype(dtype) @ z) ** 2).sum(axis=0)

    @staticmethod
    def shared_bound(
        resp: Features, roots: Any, phi: Features, dtype: Any
    ) -> float:
        """Return what that adds to the bound."""
        return float(resp.sum(axis=0) @ Tied.shared(roots, phi, dtype))

    @staticmethod
    def shared_sums(phi: Features, resp: Features) -> list[Any]:
        """Return the second moments that all components share."""
        z = phi[:-1]  # (d, n)
        return [(z * resp.sum(axis=0)) @ z.T]  # (d, d)

    @staticmethod
    def unfold(sums: Natural, d: int, shared: list[Any]) -> Any:
        """Return the second moments: those that all share."""
        return shared[0] if shared else np.zeros((d, d))

    @staticmethod
    def with_centred(second: Any, close: Sequence[int], about: Any) -> Any:
        """Return second moments, each component's about its own origin."""
        return sum(about) if close else second

    @staticmethod
    def squares(counts: PerComponent, shift: Centres) -> Any:
        """Return the second moments of points at one shift each."""
        return (counts[:, None] * shift).T @ shift  # (d, d)
