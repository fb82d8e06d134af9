"""What happens to a Gaussian that loses its points or its width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emlib.loop import Step
from emlib.models import missing
from emlib.models.covariances import Collapse
from emlib.one_pass import gaussians as one_pass
from emlib.one_pass.gaussian_family import precisions
from emlib.scale import Standardised
from emlib.shapes import PerPoint, Vector

__all__ = [
    "FillingHoles",
    "InOnePass",
    "faults",
    "repaired",
]


class _Keeping:
    """What keeps a component without a point as it was."""

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters at which the expected log joint peaks."""
        base: Any = super()
        try:
            return base.maximise(statistics, previous)
        except FloatingPointError:  # a component without a point
            if previous is None or statistics.counts.all():
                raise
        dead = statistics.counts == 0  # (k,)
        counts = statistics.counts + 1e-300 * dead  # (k,)
        filled = replace(statistics, counts=counts)
        found = base.maximise(filled, previous)
        live = np.where(dead, 0, statistics.counts)  # (k,)
        found = found.with_own_of(previous, np.flatnonzero(dead))
        means = np.where(dead[:, None], previous.means, found.means)
        return found._replace(weights=live / live.sum(), means=means)


@dataclass(frozen=True)
class InOnePass(_Keeping, one_pass.Model):
    """Gaussians in the form to run."""

    def log_evidence(self, x: Any, params: Any) -> PerPoint:
        """Return the log evidence of each row of a block, (n,)."""
        return self.e_step(x, params).log_evidence


@dataclass(frozen=True)
class FillingHoles(_Keeping, missing.Model):
    """Gaussians of points with holes, which are `Standardised` rows.

    The evidence is that of whole points: what the unit of unseen values
    would have cost is left out of it, as the rest of the fit counts it.
    """

    def e_step(  # type: ignore[override]
        self, x: Standardised, params: Any
    ) -> Any:
        """Return the posterior."""
        found = super().e_step(np.asarray(x), params)
        evidence = found.log_evidence + _unseen(x)  # (n,)
        return found._replace(log_evidence=evidence)

    def log_evidence(self, x: Standardised, params: Any) -> PerPoint:
        """Return the log evidence of each row of a block, (n,)."""
        evidence: PerPoint = self.e_step(x, params).log_evidence
        return evidence

    def expect(self, x: Any, params: Any, multiplicity: Any = None) -> Any:
        """Return the statistics and the bound of a block."""
        precisions(params)  # which names what collapsed
        found, bound = super().expect(np.asarray(x), params, multiplicity)
        times = np.ones(len(x)) if multiplicity is None else multiplicity
        return found, bound + float(times @ _unseen(x))


def _unseen(x: Standardised) -> PerPoint:
    """Return what the unit of unseen values would have cost, (n,)."""
    cost: PerPoint = np.isnan(x.x) @ np.log(x.standardiser.scale)
    return cost


def repaired(
    step: Step, before: Step, on_collapse: str, notes: list[str]
) -> Step:
    """Return the step with every covariance positive definite, or raise.

    Whatever is done about a component is noted.
    """
    k = len(step.params.weights)
    anew = on_collapse == "restart"
    if anew and len(notes) < 10 * k:
        for dead in np.flatnonzero(step.params.weights == 0).tolist():
            step = _restart_component(step, before, dead, notes)
    for _ in range(k + 1):
        try:
            step.posterior  # noqa: B018 (the E-step runs here)
            return step
        except Collapse as fault:
            if on_collapse == "raise" or step is before:
                raise ValueError(str(fault)) from None
            repair = (
                _restart_component
                if anew and len(notes) < 10 * k
                else _keep
            )
            step = repair(step, before, fault.component, notes)
    raise AssertionError("unreachable")


def _keep(
    step: Step, before: Step, component: int, notes: list[str]
) -> Step:
    """Return the step whose component keeps its last covariance."""
    notes.append(
        f"component {component} has collapsed onto a few points or a "
        "flat, and keeps its last positive definite covariance. Use "
        "fewer components, another start, a larger reg_covar or a "
        "prior."
    )
    kept = step.params.with_covariances_of(before.params, [component])
    return replace(step, params=kept)


def _worst_row(step: Step, params: Any) -> Vector:
    """Return the row that parameters explain worst, (d,)."""
    model: Any = step.model
    worst, row = np.inf, params.means[0]
    for x, _ in step.x:
        evidence = model.model.log_evidence(x, params)  # (n,)
        if evidence.min() < worst:
            worst, n = float(evidence.min()), int(evidence.argmin())
            row = np.asarray(x[n : n + 1])[0]  # (d,)
    found: Vector = row
    return found


def _restart_component(
    step: Step, before: Step, component: int, notes: list[str]
) -> Step:
    """Return the step with one component at the worst-explained row."""
    mean = before.params.means[component]  # (d,)
    row = _worst_row(step, before.params)  # (d,)
    row = np.where(np.isnan(row), mean, row)  # (d,)
    k, d = before.params.means.shape
    means, weights = step.params.means.copy(), step.params.weights.copy()
    means[component], weights[component] = row, weights.mean()
    wide = np.broadcast_to(np.eye(d), (k, d, d)) / k**2
    shapes = step.params.restarted(before.params, component, wide)
    notes.append(
        f"component {component} collapsed or died at turn {step.turn}, and "
        "started anew at the worst-explained row."
    )
    params = type(step.params)(weights / weights.sum(), means, shapes)
    return replace(step, params=params)


def _dead(weights: PerPoint) -> Iterator[str]:
    for component in np.flatnonzero(weights == 0).tolist():
        yield (
            f"component {component} is responsible for no row and "
            "keeps its shape. Start it nearer the data, or use fewer "
            "components."
        )


def faults(params: Any, reg: Vector, given: Any) -> Iterator[str]:
    """Yield what is worth a warning of fitted parameters, both of z.

    Dead components, and regularisation that is much of a variance.
    """
    yield from _dead(params.weights)
    shares = params.floor_shares(reg)  # (k,)
    large = np.flatnonzero(shares > 0.01).tolist()
    if large:
        worst = int(np.argmax(shares))
        collapsed = np.flatnonzero(shares > 0.5).tolist()
        kind = "collapsed " if worst in collapsed else ""
        yield (
            f"reg_covar={given!r} is {shares[worst]:.0%} of "
            f"the smallest variance of {kind}component {worst} (above "
            f"1 % for components {large}): the fit depends on it. "
            'Rescale X, take reg_covar="relative" or a prior, or use '
            "fewer components."
        )
