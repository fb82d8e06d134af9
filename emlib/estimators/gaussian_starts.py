"""Starts of Gaussians: responsibilities, and what the user gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emlib import starts
from emlib.estimators.checks import as_floats, reject_row, require
from emlib.estimators.kmeans import KMeans
from emlib.loop import Block, Labels
from emlib.models.covariances import COVARIANCES, Collapse
from emlib.one_pass.gaussian_family import precisions as precisions_of
from emlib.scale import Rows, Standardiser, budget
from emlib.shapes import Centres, Points, Table

__all__ = [
    "STARTS",
    "check_table",
    "given_parts",
    "start_of",
]

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


class _QuietKMeans(KMeans):
    """k-means for a start, which need not converge.

    It does not change the filters of warnings: all threads share them.
    """

    def _warn(self) -> None:
        """Say nothing."""


# --- what the user gave


def check_table(given: Any, n: int, k: int) -> Table:
    """Return given responsibilities, (n, k), or raise."""
    rule = f"one of {STARTS}, or responsibilities of shape ({n}, {k}) "
    rule += "whose rows sum to 1"
    table: Table = as_floats("init_params", rule, given)
    require(table.shape == (n, k), "init_params", rule, given)
    kept = (table >= 0).all(axis=1)  # (n,)
    kept &= np.isclose(table.sum(axis=1), 1)
    remedy = "Divide each row by its sum."
    reject_row(table, ~kept, 0, f"init_params must be {rule}", remedy)
    return table


def given_parts(estimator: Any, d: int) -> tuple[Any, Any, Any]:
    """Return the given weights, means and covariances, or raise."""
    k = int(estimator.n_components)
    rules = {
        "weights_init": f"{k} numbers from 0 to 1 that sum to 1",
        "means_init": f"finite numbers of shape ({k}, {d})",
        "precisions_init": "finite numbers",
    }
    given = {name: getattr(estimator, name) for name in rules}
    weights, means, precisions = (
        value if value is None else as_floats(name, rules[name], value)
        for name, value in given.items()
    )
    if weights is not None:
        kept = weights.shape == (k,) and (weights >= 0).all()
        kept = kept and abs(weights.sum() - 1) < 1e-6
        name = "weights_init"
        require(kept, name, rules[name], given[name])
    if means is not None:
        kept = means.shape == (k, d) and np.isfinite(means).all()
        name = "means_init"
        require(kept, name, rules[name], given[name])
    if precisions is None:
        return weights, means, None
    kind = estimator.covariance_type
    return weights, means, _inverse(precisions, given, kind, k, d)


def _inverse(
    precisions: Any, given: dict[str, Any], kind: str, k: int, d: int
) -> Any:
    """Return the covariances of the given precisions, or raise."""
    name, received = "precisions_init", given["precisions_init"]
    cls = COVARIANCES[kind]
    shape = cls.shape_of(k, d)
    kept = precisions.shape == shape and np.isfinite(precisions).all()
    require(kept, name, f"finite numbers of shape {shape}", received)
    try:
        rule = cls.broken_rule(precisions)
    except ValueError as fault:
        raise ValueError(f"{name} {fault}") from None
    require(not rule, name, rule, received)
    covariances = cls.inverted(precisions)
    kept = np.isfinite(covariances).all()
    require(kept, name, "at least 1e-300", received)
    return covariances


def check_reach(params: Any) -> Any:
    """Return a start, or raise where it is too far away for float64."""
    try:
        inverse = precisions_of(params)
    except Collapse:  # which `on_collapse` deals with
        return params
    widest = params.variances(params.covariances).max()
    reach = np.abs(params.means).max() + 9 + 3 * np.sqrt(widest)
    with np.errstate(over="ignore"):
        terms = params.means.shape[1] ** 2 * np.abs(inverse.values).max()
        kept = np.isfinite(terms * reach * reach)
    if not kept:
        raise ValueError(
            "means_init and precisions_init must keep squared distances of "
            "the rows below 1e300; some is above. Start nearer the data."
        )
    return params


# --- what is drawn


def _isotropic(x: Points, unit: Standardiser) -> Points:
    """Return centred points in one scale, so that distances are kept."""
    even: Points = (x - unit.origin) / unit.scale.max()  # (n, d)
    return even


def _centres(
    rows: Rows, unit: Standardiser, k: int, how: str, rng: Any
) -> Centres:
    """Return where a drawn start has its centres, in one unit for all."""
    wide = budget.SAMPLE_BYTES // (8 * rows.x.shape[1])
    some = rows.some(min(budget.SAMPLE_ROWS, max(wide, 64 * k)), rng)
    z, times = np.nan_to_num(_isotropic(some.x, unit)), some.multiplicity
    if how == "random_from_data":
        return starts.picks(z, k, rng, times)
    if how == "k-means++":
        return starts.seeds(z, k, rng, times)
    seed = int(rng.integers(2**31))
    clusters = _QuietKMeans(k, n_init=1, random_state=seed)
    centres: Centres = clusters.fit(z, None, times).cluster_centers_
    return centres


def _pieces(rows: Rows, kind: Any) -> list[Block]:
    """Return the rows in blocks whose features may be held."""
    d = rows.x.shape[1]
    numbers = d + kind.n_quadratics(d)
    return rows.blocks(max(budget.COPY_BYTES // (8 * numbers), 64))


def _responsibilities(
    blocks: list[Block], centres: Any, k: int, unit: Standardiser, rng: Any
) -> Iterator[Table]:
    """Yield a drawn start's responsibilities, block by block."""
    for x, _ in blocks:
        if centres is None:
            yield starts.random(len(x), k, rng)
        else:
            z = np.nan_to_num(_isotropic(x, unit))  # (n, d)
            yield starts.spread(z, centres)


def params_of_labels(
    rows: Rows,
    unit: Standardiser,
    model: Any,
    how: Any,
    k: int,
    rng: np.random.Generator,
) -> Any:
    """Return the parameters, of z, that a start's labels make.

    Holes are filled with their columns' means.
    """
    kind = COVARIANCES[model.covariance_type]
    blocks = _pieces(rows, kind)
    if isinstance(how, str):
        centres = (
            None if how == "random" else _centres(rows, unit, k, how, rng)
        )
        tables = _responsibilities(blocks, centres, k, unit, rng)
    else:
        ends = np.cumsum([len(x) for x, _ in blocks])[:-1]
        tables = iter(np.split(how, ends))

    def filled(x: Points) -> Points:
        return unit.rows(np.where(np.isnan(x), unit.origin, x))  # (n, d)

    total = sum(
        model.summarise(filled(x), Labels(resp), times)
        for resp, (x, times) in zip(tables, blocks, strict=True)
    )
    if not total.counts.all():  # a component would start with no row
        even = sum(
            model.summarise(
                filled(x), Labels(starts.uniform(len(x), k)), times
            )
            for x, times in blocks
        )
        total = total + even.scaled(0.01)
    return model.maximise(total)


def start_of(estimator: Any, task: Any, rng: np.random.Generator) -> Any:
    """Return a start of z: drawn, and what was given."""
    unit, k = task.columns.standardiser, int(estimator.n_components)
    given = given_parts(estimator, task.rows.x.shape[1])
    kind = COVARIANCES[estimator.covariance_type]
    if not any(part is None for part in given):
        return check_reach(unit.apply(kind(*given)))
    found = unit.undo(
        params_of_labels(task.rows, unit, task.model, task.labels, k, rng)
    )
    parts = (
        old if new is None else new
        for old, new in zip(found, given, strict=True)
    )
    return check_reach(unit.apply(kind(*parts)))
