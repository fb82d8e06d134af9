"""What covariances of several types have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emlib.models.covariances.definite import (
    Collapse,
    inverse_cholesky,
    is_definite,
)
from emlib.shapes import (
    Centres,
    Covariances,
    Features,
    Matrices,
    PerComponent,
    PerPoint,
    Points,
    Vector,
)

__all__ = ["OneEach", "Parameters", "WithMatrices", "WithVariances"]


class Parameters(NamedTuple):
    """Weights, means and covariances."""

    weights: PerComponent
    means: Centres
    covariances: Covariances


class OneEach(Parameters):
    """What holds where each component has a covariance of its own."""

    __slots__ = ()

    def n_matrices(self) -> int:
        """Return how many covariance matrices are free to move."""
        return len(self.weights)

    def reordered(self, order: Any) -> Any:
        """Return the same parameters, the components in another order."""
        return type(self)(*(part[order] for part in self))

    def moved(self, shift: Vector, scale: Vector) -> Any:
        """Return the parameters of scale times the points, plus shift."""
        kind: Any = type(self)
        return self._replace(
            means=self.means * scale + shift,
            covariances=kind.rescaled(self.covariances, scale),
        )

    def with_covariances_of(self, previous: Any, components: Any) -> Any:
        """Return the parameters; some components keep their shape."""
        finite = np.isfinite(self.means)  # (k, d)
        means = np.where(finite, self.means, previous.means)
        covariances = self.covariances.copy()
        covariances[components] = previous.covariances[components]
        return self._replace(means=means, covariances=covariances)

    def with_own_of(self, previous: Any, components: Any) -> Any:
        """Return the same, but that what all share moves on."""
        return self.with_covariances_of(previous, components)

    def restarted(
        self, previous: Any, component: int, matrices: Matrices
    ) -> Any:
        """Return covariances, that of one component as in `matrices`."""
        covariances = np.array(self.covariances)
        kept = type(self).keep(matrices)  # type: ignore[attr-defined]
        covariances[component] = kept[component]
        return covariances

    @staticmethod
    def component(values: Any, i: int) -> Any:
        """Return what belongs to a component of one value for each."""
        return values[i]

    @staticmethod
    def centred_with(close: Any) -> Any:
        """Return which components are centred where some are, (k,)."""
        return close

    @staticmethod
    def scales(widths: Vector) -> Vector:
        """Return the units that features of such widths may have, (d,)."""
        return widths

    @staticmethod
    def shared(roots: Any, phi: Features, dtype: Any) -> Any:
        """Return what all components add to a point's log joint, (n,)."""
        return 0.0

    @staticmethod
    def shared_bound(
        resp: Features, roots: Any, phi: Features, dtype: Any
    ) -> float:
        """Return what that adds to the bound."""
        return 0.0

    @staticmethod
    def shared_sums(phi: Features, resp: Features) -> list[Any]:
        """Return second moments that all components share, if any do."""
        return []

    @staticmethod
    def with_centred(second: Any, close: Sequence[int], about: Any) -> Any:
        """Return second moments, some of them about their own origin."""
        for i, square in zip(close, about, strict=True):
            second[i] = square
        return second


class WithMatrices(OneEach):
    """What holds where covariances are matrices, (..., d, d)."""

    __slots__ = ()

    def cells(self) -> Covariances:
        """Return what is free to move, as matrices (..., m, m)."""
        return self.covariances

    def floor_shares(self, floor: Vector) -> PerComponent:
        """Return how much of its smallest variance is owed to a floor."""
        matrices = self.covariances.reshape(-1, len(floor), len(floor))
        inverse = np.linalg.inv(np.linalg.cholesky(matrices))  # (k, d, d)
        # The largest ratio u^T R u / u^T S u over directions u.
        scaled = inverse * np.sqrt(floor)  # (k, d, d)
        worst = np.linalg.norm(scaled, ord=2, axis=(1, 2)) ** 2  # (k,)
        return np.broadcast_to(worst, self.weights.shape)

    def draw(self, sizes: Any, state: Any) -> list[Any]:
        """Return so many points of each component, as scikit-learn."""
        matrices: Any = self.matrices()  # type: ignore[attr-defined]
        return [
            state.multivariate_normal(mean, matrix, int(size), "ignore")
            for mean, matrix, size in zip(
                self.means, matrices, sizes, strict=True
            )
        ]

    @staticmethod
    def rescaled(covariances: Covariances, scale: Vector) -> Covariances:
        """Return the covariances of features times `scale`, (d,)."""
        rescaled: Covariances = covariances * (scale[:, None] * scale)
        return rescaled

    @staticmethod
    def broken_rule(precisions: Covariances) -> str:
        """Return the rule that given inverses break, or raise."""
        d = precisions.shape[-1]
        for index, matrix in enumerate(precisions.reshape(-1, d, d)):
            if not is_definite(matrix, d):
                raise ValueError(
                    "must hold symmetric, positive definite matrices; "
                    f"number {index} is not. Invert covariances with "
                    "np.linalg.inv."
                )
        return ""

    @staticmethod
    def inverted(precisions: Covariances) -> Covariances:
        """Return the covariances whose inverses are given."""
        found = np.linalg.inv(precisions)
        return (found + np.swapaxes(found, -1, -2)) / 2

    @staticmethod
    def inverse_roots(covariances: Covariances, d: int) -> Any:
        """Return U, (..., d, d), and its log determinant."""
        return inverse_cholesky(covariances)

    @staticmethod
    def precision(roots: Covariances) -> Any:
        """Return U^T U."""
        return roots.mT @ roots

    @staticmethod
    def precisions_cholesky(roots: Covariances) -> Any:
        """Return scikit-learn's upper triangular factors."""
        return np.swapaxes(roots, -1, -2).copy()

    @staticmethod
    def times(precision: Covariances, vectors: Centres) -> Any:
        """Return each component's precision times its vector, (k, d)."""
        columns = vectors[:, :, None]  # (k, d, 1)
        return np.matmul(precision, columns)[:, :, 0]

    @staticmethod
    def second(apart: Features, share: PerPoint) -> Any:
        """Return one component's second moments of centred points."""
        return (apart * share) @ apart.T  # (d, d)

    @staticmethod
    def scatters(apart: Points, labels: PerPoint, sides: Any) -> Any:
        """Return the second moments of centred points, by their sides."""
        k = sides.shape[0]
        short = labels.astype(np.min_scalar_type(k))  # sorted by radix
        order = np.argsort(short, kind="stable")  # (n,)
        ends = np.bincount(labels, minlength=k).cumsum()[:-1]  # (k - 1,)
        parts = np.split(apart[order], ends)
        return np.stack([part.T @ part for part in parts])  # (k, d, d)


class WithVariances(OneEach):
    """What holds where covariances are variances, (k, d) or (k,)."""

    __slots__ = ()

    def floor_shares(self, floor: Vector) -> PerComponent:
        """Return how much of its smallest variance is owed to a floor."""
        kind: Any = type(self)
        ratios = floor / kind.variances(self.covariances)  # (k, d)
        worst: PerComponent = ratios.max(axis=1)  # (k,)
        return worst

    def draw(self, sizes: Any, state: Any) -> list[Any]:
        """Return so many points of each component, as scikit-learn."""
        d = self.means.shape[1]
        return [
            mean + state.standard_normal((size, d)) * np.sqrt(variances)
            for mean, variances, size in zip(
                self.means, self.covariances, sizes, strict=True
            )
        ]

    @staticmethod
    def broken_rule(precisions: Covariances) -> str:
        """Return the rule that given inverses break, or raise."""
        kept = (precisions >= 1e-300).all()
        return "" if kept else "positive, at least 1e-300"

    @staticmethod
    def inverted(precisions: Covariances) -> Covariances:
        """Return the covariances whose inverses are given."""
        return 1 / precisions

    @classmethod
    def inverse_roots(cls, covariances: Covariances, d: int) -> Any:
        """Return U, as its diagonals, and its log determinant."""
        bad = ~(covariances > 0)
        if bad.any():
            raise Collapse(int(np.argwhere(bad)[0][0]))
        inverse = 1 / np.sqrt(covariances)
        kind: Any = cls
        return inverse, kind.over_features(np.log(inverse), d)

    @staticmethod
    def precision(roots: Covariances) -> Any:
        """Return U^T U."""
        return roots**2

    @staticmethod
    def precisions_cholesky(roots: Covariances) -> Any:
        """Return scikit-learn's roots of the precisions."""
        return roots

    @staticmethod
    def whiten(roots: Covariances, i: int, apart: Features) -> Any:
        """Return centred points in the unit of one component, (d, n)."""
        return roots[i][..., None] * apart
