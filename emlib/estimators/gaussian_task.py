"""What a fit of Gaussians runs: rows, blocks and a model, all of z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.estimators.checks import as_floats, is_size, require
from emlib.estimators.collapse import FillingHoles, InOnePass
from emlib.estimators.display import Display
from emlib.estimators.mixture import Task
from emlib.estimators.stopping import TurnRecord
from emlib.loop import Block, Step, lazy_property
from emlib.models import gaussians
from emlib.models.covariances import is_definite
from emlib.one_pass.gaussian_family import Featured
from emlib.scale import (
    ColumnScale,
    Rows,
    Standardised,
    Standardiser,
    budget,
    covariance,
)
from emlib.shapes import Points

__all__ = [
    "GaussianTask",
    "has_holes",
    "is_prior",
    "model_of",
    "scale_of_params",
    "standardised",
    "with_features",
]


@dataclass(frozen=True)
class GaussianTask(Task):
    """What a fit of Gaussians runs, in z.

    Attributes
    ----------
    columns : ColumnScale
        What makes z of x.
    labels : str or array of shape (n, k)
        What a start is made of.
    display : Display
        What is said of the turns.
    before : float or None
        With a warm start the objective one turn before the last end.
    """

    columns: ColumnScale
    labels: Any
    display: Display
    before: float | None = None

    @lazy_property
    def log_jacobian(self) -> float:
        """Return how much lower the log density of x is than that of z."""
        return self.columns.standardiser.log_jacobian()

    def record(self, step: Step) -> TurnRecord:
        """Return what is kept of a turn, of x and not of z."""
        shift = self.log_jacobian
        prior = self.model.log_prior(step.params)
        bound = step.bound - self.size * shift
        if self.model.prior is not None:
            dof, scale = self.model.prior
            firm = dof + len(scale) + 1
            prior -= firm * shift * step.params.n_matrices()
        return TurnRecord(step.turn, bound, bound + prior)


def is_prior(prior: Any) -> bool:
    """Say whether this may be a prior; its numbers are checked later."""
    if isinstance(prior, tuple | list):
        return len(prior) == 2
    return prior is None or (isinstance(prior, str) and prior == "auto")


def model_of(estimator: Any, rows: Rows, columns: ColumnScale) -> Any:
    """Return the model of z that an estimator's options describe."""
    unit, variances = columns
    if isinstance(estimator.reg_covar, str):
        reg = 1e-6 * variances  # (d,)
    else:
        reg = float(estimator.reg_covar) / unit.scale / unit.scale  # (d,)
    options = estimator.covariance_type, reg, _prior(estimator, rows, unit)
    if estimator.missing == "em" and has_holes(rows.x):
        return FillingHoles(*options)
    scratch = budget.THREAD_FEATURE_BYTES
    return InOnePass(*options, dtype=rows.x.dtype, scratch=scratch)


def _prior(estimator: Any, rows: Rows, unit: Standardiser) -> Any:
    """Return the prior of z."""
    if estimator.prior is None:
        return None
    d = rows.x.shape[1]
    if isinstance(estimator.prior, str):
        spread = covariance(rows, unit)  # (d, d)
        shrunk = spread / int(estimator.n_components) ** (2 / d)
        return gaussians.Prior(d + 2.0, shrunk)
    dof, matrix = estimator.prior
    rule = "(dof, scale), dof at least 0 and scale a positive definite "
    rule += f"matrix of shape ({d}, {d})"
    matrix = as_floats("prior", rule, matrix)
    kept = is_size(dof) and is_definite(matrix, d)
    require(kept, "prior", rule, estimator.prior)
    scaled = matrix / unit.scale / unit.scale[:, None]  # (d, d)
    return gaussians.Prior(float(dof), scaled)


def has_holes(x: Points) -> bool:
    """Say whether a value is missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isnan(x.sum())) and bool(np.isnan(x).any())


def standardised(
    blocks: list[Block], standardiser: Standardiser
) -> list[Block]:
    """Return the blocks as rows of z."""
    return [Block(Standardised(x, standardiser), n) for x, n in blocks]


def with_features(blocks: list[Block], kind: Any) -> list[Block]:
    """Return a block of few rows as rows that hold their features."""
    (x, times), d = blocks[0], blocks[0].x.shape[1]
    numbers = len(x) * (kind.n_quadratics(d) + d + 1)
    few = x.dtype.itemsize * numbers <= budget.COPY_BYTES
    if len(blocks) > 1 or not few:
        return blocks
    return [Block(Featured(x, kind), times)]


def scale_of_params(params: Any) -> Standardiser:
    """Return where the means are near zero and the widths near one."""
    widths = np.sqrt(params.variances(params.covariances))
    reach = np.abs(params.means - params.means[0]).max(axis=0)  # (d,)
    size = np.maximum(
        widths.reshape(-1, widths.shape[-1]).max(axis=0), reach
    )
    scale = np.exp2(np.round(np.log2(params.scales(size))))  # (d,)
    return Standardiser(params.means[0], scale)
