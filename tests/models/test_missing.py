"""Holes: the laws, scipy's densities, integrals, and closed forms."""

from __future__ import annotations

from itertools import islice, pairwise, product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal as normal

from emlib import em, fit, gaussians, laws, missing, squarem, sweep
from emlib.loop import Block, Labels, Step
from emlib.models.covariances import COVARIANCES
from emlib.models.gaussians import Full, Prior
from emlib.scale import InBlocks, blocks
from emlib.speed import jacobian

KINDS = list(COVARIANCES)
SEEDS = range(3)


def start_of(name, rng, d, k, spread=3.0):
    """Return parameters of a kind, with means some spread apart."""
    means = rng.normal(scale=spread, size=(k, d))  # (k, d)
    sides = rng.normal(size=(k, d, d))  # (k, d, d)
    matrices = sides @ sides.transpose(0, 2, 1) + np.eye(d)  # (k, d, d)
    kind = COVARIANCES[name]
    cells = kind.keep(matrices) / kind.pool(np.ones(k))
    return kind(rng.dirichlet(np.full(k, 20.0)), means, cells)


def holed(name, seed, d=2, k=2, n=60, share=0.25):
    """Return points with holes anywhere, and parameters near their own."""
    rng = np.random.default_rng([seed, d, k])
    truth = start_of(name, rng, d, k)
    x, _ = gaussians.Model(name).sample(truth, n, rng)
    x[rng.random(x.shape) < share] = np.nan
    moved = truth.means + rng.normal(scale=0.3, size=(k, d))  # (k, d)
    return x, truth._replace(means=moved), rng


def close(one, other, rtol):
    """Assert that named tuples or statistics hold the same numbers."""
    for name in ("counts", "weights", "means", "covariances"):
        if hasattr(one, name) and not callable(getattr(one, name)):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol, atol=rtol
            )
    if isinstance(one, gaussians.Statistics):
        moved = other.about(one.origin)
        np.testing.assert_allclose(
            one.first, moved.first, rtol, atol=rtol * one.counts.sum()
        )
        np.testing.assert_allclose(
            one.second, moved.second, rtol, atol=rtol * one.counts.sum()
        )


def by_scipy(x, params):
    """Return each row's log evidence, from scipy's densities."""
    x, logs = np.asarray(x), np.empty(len(x))
    for mask in {tuple(row) for row in ~np.isnan(x)}:
        rows, seen = (~np.isnan(x) == mask).all(axis=1), np.array(mask)
        joint = np.tile(np.log(params.weights), (rows.sum(), 1))  # (n, k)
        for k, matrix in enumerate(params.matrices()):
            if seen.any():
                part = matrix[np.ix_(seen, seen)]
                one = normal(params.means[k][seen], part)
                joint[:, k] += one.logpdf(x[rows][:, seen])
        logs[rows] = np.logaddexp.reduce(joint, axis=1)
    return logs


def grid(params, row, reach=9, count=61):
    """Return points that run over a row's holes, and their cell's size.

    The trapezium rule errs for a Gaussian of standard deviation s by
    e^(-2 pi^2 s^2 / h^2), h the step; here h < s / 2, which is e^-78.
    Along a tilted ridge s is the conditional one, at least 1 below.
    """
    holes = np.flatnonzero(np.isnan(row))
    spread = np.sqrt(params.matrices()[:, holes, holes])  # (k, m)
    low = (params.means[:, holes] - reach * spread).min(axis=0)  # (m,)
    high = (params.means[:, holes] + reach * spread).max(axis=0)  # (m,)
    counts = np.ceil((high - low) / 0.4).astype(int) + count
    axes = [
        np.linspace(a, b, c)
        for a, b, c in zip(low, high, counts, strict=True)
    ]
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.tile(row, (mesh[0].size, 1)) if holes.size else row[None]
    for hole, values in zip(holes, mesh, strict=True):
        points[:, hole] = values.ravel()
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return points, cell


ONE_ROW = [
    np.array(row)
    for row in ([0.3, np.nan], [np.nan, -0.8], [0.5, np.nan, 1.0])
]


# The E-step and what it conditions on


@pytest.mark.equation("eq-missing-joint")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("row", ONE_ROW)
def test_the_density_of_what_is_seen_is_the_integral_over_the_hole(
    row, seed
):
    params = start_of("full", np.random.default_rng(seed), len(row), 2, 1)
    points, cell = grid(params, row)
    joint = gaussians.Model().log_joint(points, params)  # (g, k)
    integral = np.log(np.exp(joint).sum(axis=0) * cell)  # (k,)
    got = missing.Model().log_joint(row[None], params)[0]
    # The tails beyond 9 standard deviations are e^-40.
    np.testing.assert_allclose(got, integral, rtol=1e-12, atol=1e-12)


@pytest.mark.equation("eq-missing-joint")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_every_pattern_of_three_features_has_scipys_density(name, seed):
    rng = np.random.default_rng(seed)
    params = start_of(name, rng, 3, 2)
    masks = np.array(list(product([False, True], repeat=3)))  # (8, d)
    x = np.where(masks, rng.normal(size=(8, 3)), np.nan)
    model = missing.Model(name)
    evidence = model.e_step(x, params).log_evidence  # (n,)
    np.testing.assert_allclose(
        evidence, by_scipy(x, params), rtol=1e-13, atol=1e-13
    )
    assert len(list(missing.patterns(x))) == 8
    np.testing.assert_array_equal(
        model.log_joint(x, params)[0], np.log(params.weights)
    )
    # Of the row of which nothing is seen nothing is learnt.
    resp, log_evidence, _ = model.e_step(x[:1], params)
    np.testing.assert_allclose(resp[0], params.weights, rtol=1e-15)
    assert log_evidence[0] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("d", [1, 3, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_patterns_are_a_partition_by_holes(seed, d):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((200, d)) < 0.3, np.nan, 1.0)
    found = list(missing.patterns(x))
    rows = np.concatenate([rows for _, rows in found])
    assert sorted(rows) == list(range(200))
    for seen, rows in found:
        assert (~np.isnan(x[rows]) == seen).all()
    kinds = {tuple(seen) for seen, _ in found}
    assert len(kinds) == len(found)


@pytest.mark.equation("eq-missing-roots")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("seen", list(product([False, True], repeat=4)))
def test_blocks_of_the_root_give_the_blocks_of_the_covariance(seen, seed):
    rng, seen = np.random.default_rng(seed), np.array(seen)
    matrices = start_of("full", rng, 4, 3).covariances  # (k, d, d)
    known, cross, rest = missing.split_roots(matrices, seen)
    o, m = np.flatnonzero(seen), np.flatnonzero(~seen)
    for got, want in [
        (known @ known.mT, matrices[:, o[:, None], o]),
        (cross @ known.mT, matrices[:, m[:, None], o]),
        (cross @ cross.mT + rest @ rest.mT, matrices[:, m[:, None], m]),
    ]:
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    for root in (*known, *rest):
        assert (root == np.tril(root)).all()
        assert (np.diagonal(root) > 0).all()


@pytest.mark.equation("eq-missing-conditional")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("row", ONE_ROW)
def test_the_expected_value_and_its_spread_are_integrals(row, seed):
    params = start_of("full", np.random.default_rng(seed), len(row), 2, 1)
    conditional = missing.condition(row[None], params, ~np.isnan(row))
    points, _ = grid(params, row)
    joint = np.exp(gaussians.Model().log_joint(points, params))  # (g, k)
    share = joint / joint.sum(axis=0)  # (g, k)
    mean = share.T @ points  # (k, d)
    np.testing.assert_allclose(
        conditional.apart[:, 0] + params.means, mean, rtol=0.0, atol=1e-11
    )
    for k in range(2):
        apart = points - mean[k]  # (g, d)
        spread = (share[:, k, None] * apart).T @ apart  # (d, d)
        np.testing.assert_allclose(
            conditional.spread[k], spread, rtol=0.0, atol=1e-11
        )


def by_precision(x, params, k):
    """Return the conditional means and covariances, another way.

    From the blocks of the precision matrix, row by row.
    """
    precision = np.linalg.inv(params.matrices()[k])  # (d, d)
    for row in x:
        o, m = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        spread = np.zeros_like(precision)
        inner = np.linalg.inv(precision[np.ix_(m, m)])
        spread[np.ix_(m, m)] = inner
        whole = row.copy()
        apart = row[o] - params.means[k][o]
        whole[m] = params.means[k][m] - inner @ (
            precision[np.ix_(m, o)] @ apart
        )
        yield whole, spread


@pytest.mark.equation("eq-missing-conditional")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("d", [1, 3, 5])
def test_conditions_are_those_of_the_precision_matrix(d, name, seed):
    x, params, _ = holed(name, seed, d, 2, n=40)
    for seen, rows in missing.patterns(x):
        conditional = missing.condition(x[rows], params, seen)
        whole = conditional.apart + params.means[:, None]  # (k, n, d)
        for k in range(2):
            for n, (point, spread) in enumerate(
                by_precision(x[rows], params, k)
            ):
                np.testing.assert_allclose(
                    whole[k, n], point, rtol=1e-11, atol=1e-11
                )
                np.testing.assert_allclose(
                    conditional.spread[k], spread, rtol=1e-11, atol=1e-11
                )


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e8])
def test_units_of_the_features_do_not_matter(size):
    """A pivot would exchange rows of different units, and lose digits."""
    x, params, _ = holed("full", 0, 3, 2)
    units = np.array([1.0, size, 1 / size])  # (d,)
    scaled = Full(
        params.weights,
        params.means * units,
        params.covariances * units[:, None] * units,
    )
    for seen, rows in missing.patterns(x):
        one = missing.condition(x[rows], params, seen)
        other = missing.condition(x[rows] * units, scaled, seen)
        np.testing.assert_allclose(
            other.apart / units, one.apart, rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(
            other.log_density + np.log(units[seen]).sum(),
            one.log_density,
            rtol=1e-12,
        )


# Expected statistics


@pytest.mark.equation("eq-missing-moments")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("about", ["own", "point", "points"])
def test_statistics_are_expectations_over_labels_and_holes(about, seed):
    """Replace a row by all its completions, each as often as is likely."""
    rng = np.random.default_rng(seed)
    params = start_of("full", rng, 2, 2, 1)
    x = rng.normal(size=(6, 2))
    x[:2, 0], x[2:4, 1] = np.nan, np.nan
    times = rng.uniform(0.5, 2, size=6)  # (n,)
    every, shares = [], []
    for row, count in zip(x, times, strict=True):
        points, _ = (
            grid(params, row)
            if np.isnan(row).any()
            else (
                row[None],
                1,
            )
        )
        joint = np.exp(gaussians.Model().log_joint(points, params))
        every.append(points)
        shares.append(count * joint / joint.sum())
    origin = {
        "own": None,
        "point": np.array([0.3, -0.2]),
        "points": rng.normal(size=(2, 2)),
    }[about]
    want = gaussians.Model().summarise(
        np.vstack(every), Labels(np.vstack(shares)), origin=origin
    )
    model = missing.Model()
    got = model.summarise(x, model.e_step(x, params), times, origin)
    close(got, want, 1e-11)
    if origin is not None:
        np.testing.assert_array_equal(
            got.origin, np.broadcast_to(origin, (2, 2))
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_a_row_of_which_nothing_is_seen_says_what_was_believed(name, seed):
    params = start_of(name, np.random.default_rng(seed), 3, 2)
    model, nothing = missing.Model(name), np.full((1, 3), np.nan)
    conditional = model.summarise(nothing, model.e_step(nothing, params))
    np.testing.assert_allclose(
        conditional.counts, params.weights, rtol=1e-14
    )
    close(model.maximise(conditional), params, 1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("counted", [False, True])
def test_without_holes_it_is_the_readable_model(name, seed, counted):
    x, params, rng = holed(name, seed, 3, 2, share=0)
    times = rng.uniform(0, 2, len(x)) if counted else None
    plain, model = gaussians.Model(name), missing.Model(name)
    np.testing.assert_allclose(
        model.log_joint(x, params), plain.log_joint(x, params), rtol=1e-12
    )
    want, got = plain.e_step(x, params), model.e_step(x, params)
    for one, other in zip(want, got, strict=False):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
    for origin in (None, x[0], x[:2]):
        one = plain.summarise(x, want, times, origin)
        for posterior in (Labels(want.resp), got):
            close(model.summarise(x, posterior, times, origin), one, 1e-12)
    turns = zip(
        islice(em(plain, x, params, times), 5),
        em(model, x, params, times),
        strict=False,
    )
    for one, other in turns:
        assert other.bound == pytest.approx(one.bound, rel=1e-12)
        close(one.params, other.params, 1e-12)
    np.testing.assert_array_equal(model.impute(x, params), x)


# The laws


class Conditioned(missing.Model):
    """Holes are filled by given parameters, whatever the responsibilities.

    Then the expected log joint is a function of the new parameters alone;
    `log_joint` is that of rows whose holes are filled with all corners of
    a cube with the conditional mean and covariance: exact for quadratics.
    """

    def __init__(self, model, at, x):
        whole = [
            [
                corners(*conditional)
                for conditional in by_precision(x, at, k)
            ]
            for k in range(len(at.weights))
        ]
        vars(self).update(vars(model), model=model, at=at, whole=whole)

    def e_step(self, x, params):
        return self.model.e_step(x, params)

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        filling = missing.Posterior(*posterior[:2], self.at)
        return self.model.summarise(x, filling, multiplicity, origin)

    def log_joint(self, x, params):
        table = []
        for k, rows in enumerate(self.whole):
            joint = gaussians.Model().log_joint(np.vstack(rows), params)
            ends = np.cumsum([len(row) for row in rows])[:-1]
            parts = np.split(joint[:, k], ends)
            table.append([part.mean() for part in parts])
        return np.array(table).T  # (n, k)


def corners(point, spread):
    """Return equally likely points with a mean and a covariance."""
    m = np.flatnonzero(np.diagonal(spread))
    root = np.linalg.cholesky(spread[np.ix_(m, m)])
    signs = np.array(list(product([-1, 1], repeat=len(m))))
    every = np.tile(point, (len(signs), 1))
    every[:, m] += signs.reshape(len(signs), -1) @ root.T
    return every


def measured(model, x, start, rng, every=laws.LAWS):
    """Return the names of the laws that a model breaks."""
    first = next(em(model, x, start)).params
    case = laws.Case(model, x, first, rng)
    conditional = case._replace(model=Conditioned(model, first, x))
    broken = set()
    for law, _, allowed in every:
        # Its log joint is that of rows whose holes are filled.
        own = law.__name__ == "stationary"
        try:
            value = law(conditional if own else case)
        except (ArithmeticError, ValueError, TypeError, IndexError):
            value = np.nan
        if not value <= allowed:
            broken.add(law.__name__)
    found = model.e_step(x, first).log_evidence
    if not np.allclose(found, by_scipy(x, first), rtol=1e-9, atol=1e-6):
        broken.add("scipy")
    return broken


CHEAP = [law for law in laws.LAWS if law[0].__name__ != "stationary"]


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("name", KINDS)
def test_the_laws_hold_with_holes(name, d, k, seed):
    x, start, rng = holed(name, seed, d, k, n=40 * k)
    assert measured(missing.Model(name), x, start, rng, CHEAP) == set()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", KINDS)
def test_the_m_step_is_the_top_of_the_expected_log_joint(name, seed):
    x, start, rng = holed(name, seed, 2, 2, n=24)
    assert measured(missing.Model(name), x, start, rng) == set()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_the_laws_hold_from_responsibilities_too(name, seed):
    x, _, rng = holed(name, seed, 2, 2)
    resp = rng.dirichlet(np.ones(2), size=len(x))  # (n, k)
    assert measured(missing.Model(name), x, resp, rng, CHEAP) == set()


# As in test_laws: about old means, nothing is lost but the means' grid.
@pytest.mark.parametrize(
    ("scale", "shift"), [(1, 1e8), (1e-6, 0), (1e6, 1e8)]
)
@pytest.mark.parametrize("name", KINDS)
def test_the_laws_know_no_unit_and_no_origin(name, scale, shift):
    x, start, rng = holed(name, 0, 2, 2)
    far = start._replace(
        means=scale * start.means + shift,
        covariances=scale**2 * start.covariances,
    )
    for begin in (far, rng.dirichlet(np.ones(2), size=len(x))):
        found = measured(
            missing.Model(name), scale * x + shift, begin, rng, CHEAP
        )
        assert found == set()


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_at_the_end_the_log_evidence_has_no_slope(name, seed):
    x, start, _ = holed(name, seed, 2, 2, n=200)
    model = missing.Model(name)
    end = fit(model, x, start, tol=0.0, max_turns=4000).params

    def evidence(vector):
        params = model.unpack(vector, end)
        return by_scipy(x, params).sum(keepdims=True)

    top = model.pack(end)  # (p,)
    # Central differences, step 1e-5, of a sum near 700: 1e-13 * 700 / 1e-5.
    assert abs(jacobian(evidence, top)).max() < 1e-4


# References


def factored(x):
    """Return Anderson's maximum: each column by regression on those before.

    Wherever a column is seen, all columns before it are.
    """
    first = x[~np.isnan(x[:, 0]), 0]
    mean, matrix = np.array([first.mean()]), np.array([[first.var()]])
    for j in range(1, x.shape[1]):
        rows = x[~np.isnan(x[:, j])]
        design = np.column_stack([np.ones(len(rows)), rows[:, :j]])
        slopes, *_ = np.linalg.lstsq(design, rows[:, j], rcond=None)
        rest = (rows[:, j] - design @ slopes).var()
        cross = slopes[1:] @ matrix  # (j,)
        corner = rest + cross @ slopes[1:]
        matrix = np.block(
            [[matrix, cross[:, None]], [cross[None], np.array([[corner]])]]
        )
        mean = np.append(mean, slopes[0] + slopes[1:] @ mean)
    return mean, matrix


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("d", [2, 3, 4])
def test_one_gaussian_with_nested_holes_is_andersons(d, seed):
    rng = np.random.default_rng([seed, d])
    x, _ = gaussians.Model().sample(start_of("full", rng, d, 1), 80, rng)
    lost = rng.integers(1, d + 1, size=80)  # (n,), the first that is lost
    x[np.arange(d) >= np.where(rng.random(80) < 0.5, d, lost)[:, None]] = (
        np.nan
    )
    mean, matrix = factored(x)
    order = rng.permutation(d)  # EM does not know which column is first
    end = fit(
        missing.Model(),
        x[:, order],
        missing.independent_columns(x[:, order]),
        tol=0.0,
        max_turns=5000,
    )
    # The bound stands still to 1e-16 of 500 nats: 1e-7 from a flat top.
    np.testing.assert_allclose(
        end.params.means[0], mean[order], rtol=0.0, atol=1e-6
    )
    np.testing.assert_allclose(
        end.params.matrices()[0],
        matrix[np.ix_(order, order)],
        rtol=0.0,
        atol=1e-5,
    )
    assert end.history[-1] == pytest.approx(
        by_scipy(x, Full(np.ones(1), mean[None], matrix[None])).sum(),
        rel=1e-12,
    )


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", KINDS)
def test_a_direct_search_finds_nothing_better(name, seed):
    x, start, rng = holed(name, seed, 2, 2, n=40, share=0.2)
    model = missing.Model(name)
    end = fit(model, x, start, tol=1e-12, max_turns=5000)

    def cost(vector):
        return -by_scipy(x, model.unpack(vector, start)).sum()

    # A search that begins a little aside climbs the same hill.
    top = model.pack(end.params)  # (p,)
    aside = top + rng.normal(scale=0.05, size=top.shape)
    found = minimize(cost, aside, method="BFGS")
    assert found.fun < cost(aside) - 1e-3
    assert end.history[-1] == pytest.approx(-found.fun, rel=0, abs=1e-5)
    assert end.history[-1] >= -found.fun - 1e-8


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_without_a_value_change_the_speed_and_not_the_end(seed):
    x, start, _ = holed("full", seed, 2, 2)
    more = np.vstack([x, np.full((30, 2), np.nan)])
    ends = [
        fit(missing.Model(), rows, start, tol=1e-13, max_turns=5000)
        for rows in (x, more)
    ]
    assert ends[1].history[-1] == pytest.approx(
        ends[0].history[-1], rel=1e-10
    )
    for one, other in zip(ends[0].params, ends[1].params, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rate_is_the_share_of_holes(seed):
    """One column, one component: holes at random slow every turn alike."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 1))
    x[: rng.integers(5, 45)] = np.nan
    share = np.isnan(x).mean()
    start = Full(np.ones(1), np.array([[1.0]]), np.ones((1, 1, 1)))
    top = np.nanmean(x)
    means = [
        step.params.means.item()
        for step in islice(em(missing.Model(), x, start), 5)
    ]
    for one, other in pairwise(means):
        assert other - top == pytest.approx(share * (one - top), rel=1e-9)


# Filling


@pytest.mark.equation("eq-missing-impute")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("row", ONE_ROW)
def test_a_filled_hole_is_the_mixtures_expectation(row, seed):
    params = start_of("full", np.random.default_rng(seed), len(row), 2, 1)
    points, _ = grid(params, row)
    joint = np.exp(gaussians.Model().log_joint(points, params))  # (g, k)
    share = joint.sum(axis=1) / joint.sum()  # (g,)
    filled = missing.Model().impute(row[None], params)[0]
    np.testing.assert_allclose(filled, share @ points, rtol=0.0, atol=1e-11)
    seen = ~np.isnan(row)
    assert (filled[seen] == row[seen]).all()


@pytest.mark.parametrize("name", KINDS)
def test_filling_touches_nothing_that_is_seen(name):
    x, params, _ = holed(name, 0, 3, 2)
    before = x.copy()
    filled = missing.Model(name).impute(x, params)
    assert np.isfinite(filled).all()
    seen = ~np.isnan(x)
    assert (filled[seen] == x[seen]).all()
    np.testing.assert_array_equal(x, before)


# Starts


@pytest.mark.equation("eq-missing-columns")
@pytest.mark.parametrize("shift", [0, 1e8])
@pytest.mark.parametrize("seed", SEEDS)
def test_columns_have_numpys_means_and_variances(seed, shift):
    x, _, rng = holed("full", seed, 3, 1)
    x = x + shift
    got = missing.independent_columns(x, 2)
    for k in range(2):
        np.testing.assert_allclose(
            got.means[k], np.nanmean(x, axis=0), rtol=1e-15, atol=1e-14
        )
        np.testing.assert_allclose(
            got.covariances[k], np.nanvar(x, axis=0), rtol=1e-9
        )
    assert (got.weights == 0.5).all()
    times = rng.integers(0, 3, size=len(x))  # (n,)
    close(
        missing.independent_columns(x, 2, times),
        missing.independent_columns(np.repeat(x, times, axis=0), 2),
        1e-12,
    )
    filled = missing.Model().impute(x, got)
    holes = np.isnan(x)
    np.testing.assert_allclose(
        filled[holes],
        np.broadcast_to(got.means[0], x.shape)[holes],
        rtol=1e-15,
    )


@pytest.mark.parametrize("by", ["start", "times"])
def test_a_column_without_a_value_is_named(by):
    x = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    times = None
    if by == "times":
        x[1, 2], times = 5.0, np.array([1.0, 0.0])
    with pytest.raises(ValueError, match=r"column 2\s+holds none"):
        missing.independent_columns(x, 1, times)
    with pytest.raises(ValueError, match=r"column 2\s+holds none"):
        next(em(missing.Model(), x, np.ones((2, 1)), times))


@pytest.mark.parametrize("name", KINDS)
def test_a_start_has_a_width_where_nothing_is_seen(name):
    """All rows of a component lack a feature: its column lends a width."""
    x, _, _ = holed(name, 0, 2, 2, share=0)
    resp = np.repeat(np.eye(2), 30, axis=0)  # (n, k)
    x[:30, 1] = np.nan
    first = next(em(missing.Model(name), x, resp))
    assert (np.linalg.eigvalsh(first.params.matrices()) > 0.01).all()
    assert np.isfinite(first.bound)


def test_a_constant_column_stays_what_it_is():
    x, _, rng = holed("diag", 0, 2, 1)
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, 7.0)
    params = missing.independent_columns(x)
    assert params.means[0, 1] == 7
    filled = missing.Model().impute(x, params)
    assert (filled[:, 1] == 7).all()
    model = missing.Model("diag", reg_covar=1e-6)
    step = next(em(model, x, rng.dirichlet(np.ones(2), size=len(x))))
    assert step.params.covariances[:, 1] == pytest.approx(1e-6, rel=1e-9)


def test_the_posterior_carries_the_parameters_that_fill_the_holes():
    x, params, _ = holed("full", 0)
    model = missing.Model()
    posterior = model.e_step(x, params)
    assert posterior.params is params
    # Labels alone are a start: holes are filled from their columns.
    start = model.summarise(x, Labels(posterior.resp))
    columns = missing.independent_columns(x, len(params.weights))
    close(
        start, model.summarise(x, posterior._replace(params=columns)), 1e-12
    )


# The loop, blocks, and what is inherited


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_one_pass_does_what_two_steps_do(name, counted):
    x, params, rng = holed(name, 1, 3, 2)
    times = rng.uniform(0, 2, len(x)) if counted else None
    model = missing.Model(name)
    step = Step(0, params, model, x, times)
    statistics, bound = model.expect(x, params, times)
    assert bound == pytest.approx(step.bound, rel=1e-13)
    close(statistics, model.summarise(x, step.posterior, times), 1e-12)


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("name", KINDS)
def test_a_blocked_loop_is_the_loop(name, size):
    x, params, rng = holed(name, 2, 2, 2)
    times = rng.uniform(0.5, 2, len(x))  # (n,)
    model = missing.Model(name)
    whole = islice(em(model, x, params, times), 6)
    parts = em(InBlocks(model), blocks(x, times, size), params)
    for one, other in zip(whole, parts, strict=False):
        assert other.bound == pytest.approx(one.bound, rel=1e-12)
        close(one.params, other.params, 1e-10)
    found, _ = sweep(
        model,
        [Block(x[:20], times[:20]), Block(x[20:], times[20:])],
        params,
    )
    statistics = model.summarise(x, model.e_step(x, params), times)
    close(found, statistics, 1e-12)


def test_an_impossible_row_is_named_by_its_place():
    x, params, _ = holed("full", 0)
    x[17] = [1e200, np.nan]
    for run in (
        missing.Model().e_step,
        lambda x, p: missing.Model().expect(x, p),
    ):
        with (
            np.errstate(over="ignore"),
            pytest.raises(FloatingPointError, match="row 17"),
        ):
            run(x, params)


@pytest.mark.parametrize("name", KINDS)
def test_with_a_prior_bound_and_prior_rise_together(name):
    x, start, _ = holed(name, 3, 2, 2)
    model = missing.Model(name, prior=Prior(4.0, np.eye(2)))
    steps = islice(em(model, x, start), 30)
    rising = [s.bound + model.log_prior(s.params) for s in steps]
    assert np.diff(rising).min() > -1e-11
    assert rising[-1] > rising[0]


@pytest.mark.many_turns
@pytest.mark.parametrize("name", KINDS)
def test_squarem_climbs_the_same_hill(name):
    x, start, _ = holed(name, 4, 2, 2, n=100)
    model = missing.Model(name)
    plain = fit(model, x, start, tol=1e-11, max_turns=5000)
    quick = [s.bound for s in islice(squarem(model, x, start), 60)]
    assert np.diff(quick).min() > -1e-10
    assert quick[-1] == pytest.approx(plain.history[-1], rel=0, abs=1e-6)


def test_whole_numbers_are_numbers():
    x = np.array([[1, 2], [3, 5], [4, 4]])
    step = next(em(missing.Model(), x, np.ones((3, 1))))
    plain = next(em(gaussians.Model(), x, np.ones((3, 1))))
    close(step.params, plain.params, 1e-14)


# Why a value is missing


@pytest.mark.equation("eq-missing-ignorable")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_story_of_the_holes_cancels_if_it_looks_at_the_seen(seed):
    """Integrate the hole out of density times chance of the hole."""
    rng = np.random.default_rng(seed)
    pair = [start_of("full", rng, 2, 2, 1) for _ in range(2)]
    row = np.array([rng.normal(), np.nan])
    points, cell = grid(
        Full(
            np.ones(4) / 4,
            np.concatenate([p.means for p in pair]),
            np.concatenate([p.covariances for p in pair]),
        ),
        row,
    )
    plain = [by_scipy([row], params)[0] for params in pair]
    for column, holds in ((0, True), (1, False)):
        chance = 1 / (1 + np.exp(-2 * points[:, column]))  # (g,)
        logs = []
        for params in pair:
            joint = gaussians.Model().log_joint(points, params)  # (g, k)
            density = np.exp(joint).sum(axis=1)  # (g,)
            logs.append(np.log((density * chance).sum() * cell))
        error = (logs[1] - logs[0]) - (plain[1] - plain[0])
        assert (abs(error) < 1e-10) == holds
        if holds:
            assert logs[0] - plain[0] == pytest.approx(
                np.log(chance[0]), rel=1e-10
            )


# Mistakes, and what catches them

RIGHT = missing.condition


def no_spread(x, params, seen):
    """Forget that the filled values are uncertain."""
    conditional = RIGHT(x, params, seen)
    return conditional._replace(spread=0 * conditional.spread)


def own_mean(x, params, seen):
    """Fill with the component's mean, whatever is seen."""
    conditional = RIGHT(x, params, seen)
    return conditional._replace(apart=conditional.apart * seen)


def full_spread(x, params, seen):
    """Leave a hole as uncertain as if nothing were seen."""
    conditional = RIGHT(x, params, seen)
    spread = params.matrices() * ~(seen[:, None] | seen)
    return conditional._replace(spread=spread)


def filled_density(x, params, seen):
    """Take the density of the filled row."""
    conditional = RIGHT(x, params, seen)
    whole = conditional.apart + params.means[:, None]  # (k, n, d)
    every = [
        gaussians.log_density(part, mean, matrix)
        for part, mean, matrix in zip(
            whole, params.means, params.matrices(), strict=True
        )
    ]
    return conditional._replace(log_density=np.stack(every))


class Stale(missing.Model):
    """Fill with the parameters of the turn before the last."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        older = params._replace(means=params.means + 0.5)
        return right._replace(params=older)


class Dropped(missing.Model):
    """Use the rows without holes only, in the M-step."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        rows = ~np.isnan(x).any(axis=1)
        times = None if multiplicity is None else multiplicity[rows]
        whole = posterior._replace(resp=posterior.resp[rows])
        return super().summarise(x[rows], whole, times, origin)


CAUGHT = {
    no_spread: {"stationary", "monotone"},
    own_mean: {"stationary"},
    full_spread: {"stationary"},
    filled_density: {"scipy"},
    Stale: {"monotone"},
    Dropped: {"stationary", "monotone"},
}


@pytest.mark.parametrize("mutant", CAUGHT)
def test_a_law_catches_each_mistake(mutant, monkeypatch):
    model = missing.Model()
    if isinstance(mutant, type):
        model = mutant()
    else:
        monkeypatch.setattr(missing, "condition", mutant)
    found = set()
    for seed in range(2):
        x, start, rng = holed("full", seed, 2, 2, n=30)
        found |= measured(model, x, start, rng)
    assert found == CAUGHT[mutant]
