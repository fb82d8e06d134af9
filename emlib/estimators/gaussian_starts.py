"""Starts of Gaussians: responsibilities, and what the user gave."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from emlib import starts
from emlib.estimators.checks import as_floats, reject_row, require
from emlib.estimators.collapse import InOnePass
from emlib.loop import Block, Labels
from emlib.models.covariances import COVARIANCES, Collapse
from emlib.one_pass.gaussian_family import Statistics
from emlib.one_pass.gaussian_family import precisions as precisions_of
from emlib.scale import Rows, Standardiser, budget, even_slices
from emlib.shapes import Centres, PerPoint, Points, Table

__all__ = [
    "STARTS",
    "check_table",
    "given_parts",
    "start_of",
]

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


JOINT_NUMBERS = 32_768  # of points with centres: they stay in the cache
KMEANS_TURNS = 10


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


def _seeds(
    z: Points, k: int, rng: np.random.Generator, times: Any = None
) -> Centres:
    """Return k of the points, as `starts.seeds` draws them, but sooner.

    Squared distances are by products: all points are near the origin.
    """
    columns, squares = np.ascontiguousarray(z.T), np.vecdot(z, z)  # (n,)
    weights = np.ones(len(z)) if times is None else times  # (n,)
    draws = rng.random((k, 2 + int(log(k))))  # (k, tries)
    chances, apart, seeds = weights, np.inf, np.empty(k, dtype=int)
    for i, shares in enumerate(draws):
        sums = chances.cumsum()  # (n,)
        drawn = sums.searchsorted(shares * sums[-1], side="right")
        drawn = np.minimum(drawn, len(z) - 1)  # (tries,)
        far = (-2 * z[drawn]) @ columns  # (tries, n)
        far += squares
        far += squares[drawn, None]
        np.clip(far, 0, apart, out=far)
        best = (far @ weights).argmin()
        seeds[i], apart = drawn[best], far[best]  # (n,)
        chances = apart if times is None else apart * times  # (n,)
        if not chances.any():
            chances = weights
    return z[seeds]


def _nearest(z: Points, centres: Centres, ratio: Any = 1.0) -> PerPoint:
    """Return the nearest centre of z * ratio, (n,); ties: the lowest."""
    k, labels = len(centres), np.empty(len(z), dtype=np.int32)  # (n,)
    ways = (centres * ratio).T  # (d, k)
    level = 0.5 * np.vecdot(centres, centres)  # (k,)
    for cut in even_slices(len(z), max(JOINT_NUMBERS // k, 64), len(z)):
        joint = z[cut] @ ways  # (n, k)
        joint -= level
        joint.argmax(axis=1, out=labels[cut])
    return labels


def _sides(labels: PerPoint, k: int) -> Any:
    """Return responsibilities, (k, n), of which one a column is 1."""
    n = len(labels)
    if n * k <= JOINT_NUMBERS:
        return np.eye(k).take(labels, axis=0).T
    each = np.arange(n + 1, dtype=np.int32)  # (n + 1,)
    return csc_array((np.ones(n), labels, each), (k, n))


def _clusters(z: Points, centres: Centres, times: Any = None) -> Centres:
    """Return where a few turns of k-means take the centres.

    They need not end there: EM goes on.
    """
    k, last = len(centres), np.empty(0)
    counted = z if times is None else z * times[:, None]  # (n, d)
    for _ in range(KMEANS_TURNS):
        labels = _nearest(z, centres)  # (n,)
        if np.array_equal(labels, last):
            break
        counts = np.bincount(labels, times, k)[:, None]  # (k, 1)
        sums = _sides(labels, k) @ counted  # (k, d)
        held = np.where(counts > 0, counts, 1)  # (k, 1)
        centres = np.where(counts > 0, sums / held, centres)  # (k, d)
        last = labels
    return centres


def _centres(
    rows: Rows, unit: Standardiser, k: int, how: str, rng: Any
) -> Centres:
    """Return where a drawn start has its centres, in one unit for all."""
    wide = budget.SAMPLE_BYTES // (8 * rows.x.shape[1])
    some = rows.some(max(min(budget.START_ROWS, wide), 64 * k), rng)
    z, times = np.nan_to_num(_isotropic(some.x, unit)), some.multiplicity
    z = np.ascontiguousarray(z)  # (n, d)
    if how == "random_from_data":
        return starts.picks(z, k, rng, times)
    seeds = _seeds(z, k, rng, times)
    return seeds if how == "k-means++" else _clusters(z, seeds, times)


def _pieces(rows: Rows, kind: Any) -> list[Block]:
    """Return the rows in blocks whose features may be held."""
    d = rows.x.shape[1]
    numbers = d + kind.n_quadratics(d)
    return rows.blocks(max(budget.COPY_BYTES // (8 * numbers), 64))


def _with_table(
    rows: Rows, unit: Standardiser, model: Any, table: Any
) -> Any:
    """Return the statistics of the rows by some responsibilities.

    `table` returns those of so many rows from one on.
    """

    def filled(x: Points) -> Points:
        return unit.rows(np.where(np.isnan(x), unit.origin, x))  # (n, d)

    kind, begin = COVARIANCES[model.covariance_type], 0
    total: Any = 0
    for x, times in _pieces(rows, kind):
        resp = Labels(table(begin, x))
        total = total + model.summarise(filled(x), resp, times)
        begin += len(x)
    return total


def _by_sides(
    rows: Rows, unit: Standardiser, kind: Any, centres: Centres
) -> Any:
    """Return the statistics of rows that go to their nearest centres."""
    ratio, k = unit.scale / unit.scale.max(), len(centres)
    size = max(budget.SAMPLE_BYTES // (8 * rows.x.shape[1]), 64)
    total: Any = 0
    for x, times in rows.blocks(min(size, budget.START_ROWS)):
        z = np.ascontiguousarray(unit.rows(x))  # (n, d)
        labels = _nearest(z, centres, ratio)  # (n,)
        counts = np.bincount(labels, times, k).astype(float)  # (k,)
        held = np.where(counts > 0, counts, 1)[:, None]  # (k, 1)
        sides = _sides(labels, k)  # (k, n)
        counted = z if times is None else z * times[:, None]  # (n, d)
        means = sides @ counted / held  # (k, d)
        z -= means[labels]
        if times is not None:
            z *= np.sqrt(times)[:, None]
        second = kind.scatters(z, labels, sides)
        none = np.zeros_like(means)  # (k, d)
        total = total + Statistics(kind, counts, means, none, second)
    return total


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
    centres = None
    if isinstance(how, str) and how != "random":
        centres = _centres(rows, unit, k, how, rng)  # (k, d)

    def table(begin: int, x: Points) -> Any:
        if not isinstance(how, str):
            return how[begin : begin + len(x)]
        if centres is None:
            return starts.random(len(x), k, rng)
        z = np.nan_to_num(_isotropic(x, unit))  # (n, d)
        return np.eye(k)[_nearest(z, centres)]  # (n, k)

    if centres is not None and isinstance(model, InOnePass):
        kind = COVARIANCES[model.covariance_type]
        total = _by_sides(rows, unit, kind, centres)
    else:
        total = _with_table(rows, unit, model, table)
    if not total.counts.all():  # a component would start with no row
        even = _with_table(
            rows, unit, model, lambda _, x: starts.uniform(len(x), k)
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
    drawn = params_of_labels(
        task.rows, unit, task.model, task.labels, k, rng
    )
    if all(part is None for part in given):
        return drawn
    found = unit.undo(drawn)
    parts = (
        old if new is None else new
        for old, new in zip(found, given, strict=True)
    )
    return check_reach(unit.apply(kind(*parts)))
