"""The fast Gaussians against the readable ones, SciPy and plain sums."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from threadpoolctl import threadpool_limits

import emlib.one_pass.gaussians as fast
from emlib import fit, gaussians, starts
from emlib.laws import check
from emlib.loop import Block, Labels, accumulate
from emlib.models.covariances import (
    COVARIANCES,
    Collapse,
    Full,
    Spherical,
    Tied,
)
from emlib.models.gaussians import log_cholesky
from emlib.one_pass.families import expected_statistics, weighted_sums
from emlib.one_pass.gaussian_family import Statistics
from emlib.one_pass.gaussians import Model
from emlib.scale import (
    InBlocks,
    Standardised,
    Standardiser,
    blocks,
    thread_map,
)
from emlib.speed import jacobian, squarem

SEEDS = range(3)
KINDS = ["full", "tied", "diag", "spherical"]
EPS = 2.0**-52


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keep BLAS from waking a thread for each of many tiny products."""
    with threadpool_limits(1):
        yield


def close(got, wanted, rtol, atol=0.0):
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def matrix(rng, d):
    """Return a random matrix that is well away from singular."""
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d)


def random_params(rng, kind, k=3, d=2):
    free = {
        "full": lambda: np.stack([matrix(rng, d) for _ in range(k)]),
        "tied": lambda: matrix(rng, d),
        "diag": lambda: rng.uniform(0.3, 3, size=(k, d)),
        "spherical": lambda: rng.uniform(0.3, 3, size=k),
    }
    weights = rng.dirichlet(5 * np.ones(k))
    means = 2 * rng.normal(size=(k, d))
    return COVARIANCES[kind](weights, means, free[kind]())


def random_case(seed, kind, n=200, k=3, d=2):
    """Return points of a mixture, and a start that is not theirs."""
    rng = np.random.default_rng(seed)
    truth = random_params(rng, kind, k, d)
    x, _ = gaussians.Model().sample(truth, n, rng)
    return x, random_params(rng, kind, k, d), rng


def scipys(x, params):
    """Return SciPy's log joint, one component at a time, (n, k)."""
    parts = zip(*params[:2], params.matrices(), strict=True)
    columns = [
        np.log(weight) + multivariate_normal(mean, cov).logpdf(x)
        for weight, mean, cov in parts
    ]
    return np.stack(columns, axis=1)


def readable(x, params, kind, multiplicity=None):
    """Return statistics and bound of one turn, in the form to read."""
    model = gaussians.Model(kind)
    x = x.astype(np.float64)
    resp, logs = model.e_step(x, params)
    times = np.ones(len(x)) if multiplicity is None else multiplicity
    return model.summarise(x, Labels(resp), multiplicity), float(
        times @ logs
    )


def next_params(statistics, kind):
    return gaussians.Model(kind).maximise(statistics)


# --- the equations ----------------------------------------------------


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_is_a_product(seed, kind, d):
    x, params, _ = random_case(seed, kind, n=30, d=d)
    eta = fast.natural_parameters(params, fast.precisions(params))
    joint = (eta @ fast.sufficient_statistics(x, type(params))).T
    # Sums of some ten terms, each some hundreds at most.
    close(joint, scipys(x, params), rtol=0, atol=1e-11)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("d", [19, 20, 33, 41])
def test_many_columns_are_multiplied_in_bands(d):
    x, params, _ = random_case(d, "full", n=60, k=2, d=d)
    model = Model("full", scratch=20_000)  # a few rows at a time
    found, value = model.sweep([x], params)
    said, wanted = readable(x, params, "full")
    # Sums of some thousand terms, each some tens at most.
    close(value, wanted, rtol=1e-11)
    close(found.central, said.kept(gaussians.Full), rtol=0, atol=1e-10)
    far = abs(found.second).max()
    close(found.second, found.second.mT, rtol=0, atol=1e-14 * far)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("n", [40, 5000])
@pytest.mark.parametrize("shape", [(2, 6), (3, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_credited_is_the_sum_over_points(n, shape, dtype):
    rng = np.random.default_rng(n)
    k, p = shape
    resp = rng.uniform(size=(k, n)).astype(dtype)
    phi = rng.uniform(size=(p, n)).astype(dtype)
    wanted = [[math.fsum(r * f) for f in phi] for r in resp.astype(float)]
    # Positive terms: at worst n roundings of the whole sum.
    close(weighted_sums(resp, phi), wanted, rtol=n * np.finfo(dtype).eps)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("seed", SEEDS)
def test_tied_log_joints_are_a_product_but_for_what_all_share(seed):
    x, params, _ = random_case(seed, "tied", n=30)
    eta = fast.natural_parameters(params, fast.precisions(params))
    joint = (eta @ fast.sufficient_statistics(x, gaussians.Tied)).T
    rest = scipys(x, params) - joint  # (n, k)
    forms = (x @ np.linalg.inv(params.covariances) * x).sum(axis=1)
    close(rest, np.repeat(-0.5 * forms[:, None], 3, 1), rtol=0, atol=1e-11)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_expected_statistics_sums_the_credited_features(seed, times):
    rng = np.random.default_rng(seed)
    eta, phi = rng.normal(size=(4, 6)), rng.normal(size=(6, 25))
    count = rng.integers(0, 4, size=25).astype(float) if times else None
    sums, total = expected_statistics(eta, phi, count)
    joint = np.exp(eta @ phi)  # (k, n); safe: entries of some units
    each = np.ones(25) if count is None else count
    credit = each * joint / joint.sum(axis=0)
    wanted = [[(row * f).sum() for f in phi] for row in credit]
    close(sums, wanted, rtol=1e-12, atol=1e-12)
    close(total, each @ np.log(joint.sum(axis=0)), rtol=1e-12)


@pytest.mark.equation("eq-one_pass-parameters")
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_natural_parameters_are_those_that_solve_for_scipy(seed, d):
    _, params, rng = random_case(seed, "full", d=d)
    p = d * (d + 1) // 2 + d + 1
    x = rng.normal(size=(p, d))
    # As many points as features: only one row of parameters fits them.
    phi = [
        [*(a * b for i, a in enumerate(z) for b in z[i:]), *z, 1] for z in x
    ]
    wanted = np.linalg.solve(np.array(phi), scipys(x, params)).T
    got = fast.natural_parameters(params, fast.precisions(params))
    loss = np.linalg.cond(phi) * abs(wanted).max()
    close(got, wanted, rtol=0, atol=100 * EPS * loss)


@pytest.mark.equation("eq-one_pass-parameters")
@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
@pytest.mark.parametrize("seed", SEEDS)
def test_narrower_types_are_sums_of_the_full_parameters(seed, kind):
    _, params, _ = random_case(seed, kind, d=3)
    whole = gaussians.Full(
        params.weights, params.means, np.array(params.matrices())
    )
    eta = fast.natural_parameters(whole, fast.precisions(whole))
    squares = eta[:, [0, 3, 5]]  # of 11, 12, 13, 22, 23, 33
    wanted = {
        "diag": squares,
        "spherical": squares[:, :1],
        "tied": squares[:, :0],
    }[kind]
    got = fast.natural_parameters(params, fast.precisions(params))
    close(got, np.hstack([wanted, eta[:, 6:]]), rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-one_pass-precisions")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_precisions_are_inverses(seed, kind):
    _, params, _ = random_case(seed, kind, d=3)
    found = fast.precisions(params)
    kinds = params._replace(covariances=found.values).matrices()
    roots = params._replace(covariances=found.roots).matrices()
    for k, sigma in enumerate(params.matrices()):
        close(kinds[k] @ sigma, np.eye(3), rtol=0, atol=1e-12)
        close(roots[k].T @ roots[k], kinds[k], rtol=1e-12, atol=1e-13)
        log_det = np.broadcast_to(found.log_dets, 3)[k]
        close(
            log_det, -0.5 * np.linalg.slogdet(sigma)[1], rtol=0, atol=1e-12
        )


@pytest.mark.equation("eq-one_pass-features")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_products_that_the_type_needs(kind, dtype):
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(dtype)
    squares = {
        "full": [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)],
        "diag": [(0, 0), (1, 1), (2, 2)],
        "tied": [],
        "spherical": [],
    }[kind]
    rows = [x[:, i] * x[:, j] for i, j in squares]
    rows += [(x**2).sum(axis=1)] if kind == "spherical" else []
    wanted = np.stack([*rows, *x.T, np.ones(7, dtype)])
    got = fast.sufficient_statistics(x, COVARIANCES[kind])
    assert got.dtype == dtype
    close(got, wanted, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.equation("eq-one_pass-features")
def test_features_are_those_of_z():
    x = np.array([[10.0, 3.0], [12.0, -5.0]])
    unit = Standardiser(np.array([10.0, 3.0]), np.array([2.0, 4.0]))
    z = np.array([[0.0, 0.0], [1.0, -2.0]])
    for kind in COVARIANCES.values():
        got = fast.sufficient_statistics(Standardised(x, unit), kind)
        assert np.array_equal(got, fast.sufficient_statistics(z, kind))


@pytest.mark.equation("eq-one_pass-slope")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_credited_features_are_the_slope_of_the_bound(seed):
    rng = np.random.default_rng(seed)
    eta, phi = rng.normal(size=(3, 4)), rng.normal(size=(4, 20))
    times = rng.integers(0, 3, size=20).astype(float)

    def of(row):
        return np.array(
            [expected_statistics(row.reshape(3, 4), phi, times)[1]]
        )

    sums, _ = expected_statistics(eta, phi, times)
    # Central differences err by some 1e-10 of the third derivative, and by
    # rounding 1e-16 / 1e-5 of a bound of some tens.
    close(jacobian(of, eta.ravel())[0], sums.ravel(), rtol=0, atol=1e-7)


@pytest.mark.equation("eq-one_pass-guard")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_magnification_is_the_sum_of_the_terms_sizes(seed, kind):
    _, params, _ = random_case(seed, kind, d=3)
    wanted = []
    for mean, sigma in zip(params.means, params.matrices(), strict=True):
        inverse, total = np.linalg.inv(sigma), 0.0
        reach = [abs(mean[i]) + 3 * sigma[i, i] ** 0.5 for i in range(3)]
        for i, j in product(range(3), repeat=2):
            total += abs(inverse[i, j]) * reach[i] * reach[j]
        wanted.append(total)
    got = fast.error_magnification(params, fast.precisions(params))
    close(got, wanted, rtol=1e-11)


@pytest.mark.equation("eq-one_pass-guard")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", range(1, 8))
def test_the_log_joint_errs_by_no_more_than_the_magnification(kind, power):
    x, params = far_case(kind, 10.0**-power)
    inverse = fast.precisions(params)
    eta, kinds = fast.natural_parameters(params, inverse), type(params)
    joint = (eta @ fast.sufficient_statistics(x, kinds))[1]
    if kind == "tied":
        ways = inverse.roots @ x.T
        joint = joint - 0.5 * (ways**2).sum(axis=0)
    wanted = scipys(x, params)[:, 1]
    mine = slice(100, None)  # the component's own points
    worst = abs(joint - wanted)[mine].max()
    # Half a unit a term, some ten terms, and the parameters' own rounding.
    allowed = fast.error_magnification(params, inverse)[1]
    assert worst <= 10 * EPS * allowed


@pytest.mark.equation("eq-one_pass-cancellation")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_lost_is_raw_over_central(seed, kind):
    x, start, _ = random_case(seed, kind, d=3)
    shift = np.array([5.0, 0, -9])
    x, start = x + shift, start._replace(means=start.means + shift)
    resp = gaussians.Model(kind).e_step(x, start).resp
    about_zero, about_mean = [], []
    for share in resp.T:
        mean = share @ x / share.sum()
        about_zero.append([share @ x[:, i] ** 2 for i in range(3)])
        about_mean.append(
            [share @ (x[:, i] - mean[i]) ** 2 for i in range(3)]
        )
    raw, left = np.array(about_zero), np.array(about_mean)  # (k, d)
    if kind == "spherical":
        raw, left = raw.mean(1, keepdims=True), left.mean(1, keepdims=True)
    if kind == "tied":
        raw, left = raw.sum(0, keepdims=True), left.sum(0, keepdims=True)
    got = fast.cancellation(Model(kind).expect(x, start)[0])
    close(got, (raw / left).max(axis=1), rtol=1e-9)


@pytest.mark.equation("eq-one_pass-loss")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", range(1, 7))
def test_the_plain_form_loses_the_square_of_the_distance(kind, power):
    x, params = far_case(kind, 10.0**-power)
    wide = params._replace(covariances=np.ones_like(params.covariances))
    if kind in ("full", "tied"):
        eye = np.eye(2)
        wide = params._replace(
            covariances=eye if kind == "tied" else np.stack([eye, eye])
        )
    model = Model(kind)
    moments, _ = model.expect(x, wide)
    wanted = of_last(model.maximise(readable(x, wide, kind)[0]))
    got = of_last(model.maximise(moments))
    error = abs(got - wanted).max() / abs(wanted).max()
    # Some hundreds of roundings, most of which cancel; and it is lost,
    # not merely allowed to be: at six digits at least some are.
    assert error <= 100 * EPS * fast.cancellation(moments)[-1]
    if power >= 3:
        assert error >= 1e-3 * EPS * fast.cancellation(moments)[-1]


@pytest.mark.equation("eq-one_pass-pack")
@pytest.mark.equation("eq-one_pass-unpack")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_vector_is_allowed_and_comes_back(seed, kind):
    _, like, rng = random_case(seed, kind, d=3)
    model = Model(kind)
    size = model.pack(like).size
    free = {"full": 18, "tied": 6, "diag": 9, "spherical": 3}[kind]
    assert size == 3 + 9 + free
    vector = 2 * rng.normal(size=size)
    params = model.unpack(vector, like)
    close(params.weights.sum(), 1, rtol=1e-14)
    for sigma in params.matrices():
        assert np.linalg.eigvalsh(sigma).min() > 0
    again = model.pack(params)
    shift = again[:3] - vector[:3]  # the weights' common factor
    close(shift, np.full(3, shift[0]), rtol=1e-12, atol=1e-12)
    close(again[3:], vector[3:], rtol=1e-8, atol=1e-9)
    for one, other in zip(model.unpack(again, like), params, strict=True):
        close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-one_pass-pack")
def test_the_entries_are_those_of_the_factor():
    factor = np.array([[2.0, 0, 0], [3, 4, 0], [5, 6, 7]])
    row = log_cholesky(factor @ factor.T)
    logs = np.log([2, 4, 7])
    wanted = [logs[0], 3, logs[1], 5, 6, logs[2]]
    close(row, wanted, rtol=1e-13)


# --- equal to the readable form ---------------------------------------


# float64: the points are a few hundred units from zero in the readable
# form, so its own rounding is some 1e-13. float32: products of some tens,
# in 1.2e-7 each; what `ALLOWED` grants is 1e-3.
NEAR = {np.float64: 1e-11, np.float32: 1e-4}
UNITS = {
    "none": None,
    "far": Standardiser(np.array([300.0, -700.0]), np.array([8.0, 8.0])),
    "uneven": Standardiser(
        np.array([-200.0, 90.0]), np.array([0.125, 32.0])
    ),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_turn_is_the_readable_one(seed, kind, dtype, times, unit):
    z, start, rng = random_case(seed, kind)
    unit = UNITS[unit]
    if kind == "spherical" and unit is not None:
        unit = unit._replace(scale=unit.scale[:1].repeat(2))
    x = z if unit is None else z * unit.scale + unit.origin
    x = x.astype(dtype)
    count = rng.integers(0, 4, len(x)).astype(float) if times else None
    there = start if unit is None else unit.undo(start)
    slow, wanted = readable(x, there, kind, count)
    slow = next_params(slow, kind)
    model = Model(kind, dtype=dtype, scratch=1)
    rows = x if unit is None else Standardised(x, unit)
    parts = blocks(rows, count, 130)
    moments, got = model.sweep(parts, start)
    found = model.maximise(moments)
    if unit is not None:
        slow = unit.apply(slow)
        size = len(x) if count is None else count.sum()
        wanted += size * np.log(unit.scale).sum()
    for one, other in zip(found, slow, strict=True):
        close(one, other, rtol=0, atol=NEAR[dtype] * abs(other).max())
    assert all(part.dtype == np.float64 for part in found)
    close(got, wanted, rtol=NEAR[dtype])


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_posteriors_are_the_readable_ones(kind, d):
    x, params, _ = random_case(4, kind, d=d)
    resp, logs = gaussians.Model(kind).e_step(x, params)
    found = Model(kind).one_pass(params).posterior(x)
    close(found.resp, resp, rtol=0, atol=1e-11)
    close(found.log_evidence, logs, rtol=1e-11)
    again = Model(kind).e_step(x, params)
    close(again.resp, resp, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_one_feature_one_component_and_many(kind):
    for k, d, n in ((1, 1, 9), (3, 1, 50), (1, 3, 50), (2, 25, 200)):
        x, start, _ = random_case(1, kind, n=n, k=k, d=d)
        slow, wanted = readable(x, start, kind)
        moments, got = Model(kind).sweep([x], start)
        close(got, wanted, rtol=1e-11)
        pairs = next_params(slow, kind), next_params(moments, kind)
        for one, other in zip(*pairs, strict=True):
            close(one, other, rtol=0, atol=1e-10 * abs(one).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold(seed, kind):
    x, start, _ = random_case(seed, kind, n=150)
    check(Model(kind), x, start)
    unit = Standardiser(np.array([1.0, -2.0]), np.array([2.0, 2.0]))
    check(Model(kind), Standardised(x, unit), unit.apply(start))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_fit_ends_where_the_readable_one_does(kind):
    x, start, _ = random_case(2, kind)
    slow = fit(gaussians.Model(kind), x, start, tol=0.0, max_turns=25)
    parts = blocks(x, size=64)
    quick = fit(InBlocks(Model(kind)), parts, start, tol=0.0, max_turns=25)
    close(quick.history, slow.history, rtol=1e-11)


def test_the_vectors_serve_squarem():
    x, start, _ = random_case(2, "full")
    steps = squarem(InBlocks(Model("full")), blocks(x), start)
    bounds = [step.bound for step, _ in zip(steps, range(6), strict=False)]
    assert (np.diff(bounds) >= -1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_map_agree_to_the_last_bit(kind, monkeypatch):
    monkeypatch.setattr("emlib.scale.threads._core_count", lambda: 3)
    x, start, _ = random_case(3, kind, n=1000)
    parts = blocks(x, size=128)
    alone = fit(InBlocks(Model(kind)), parts, start, max_turns=5)
    with thread_map(len(parts)) as mapper:
        assert mapper is not map
        side = fit(InBlocks(Model(kind), mapper), parts, start, max_turns=5)
    assert alone.history == side.history
    for one, other in zip(alone.params, side.params, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_component_of_weight_zero_gets_nothing(kind, dtype):
    x, start, _ = random_case(0, kind)
    x = x.astype(dtype)
    start = start._replace(weights=np.array([0.0, 0.4, 0.6]))
    moments, got = Model(kind, dtype=dtype).sweep([x], start)
    assert moments.counts[0] == 0
    close(got, readable(x, start, kind)[1], rtol=NEAR[dtype])


# --- tight and far ----------------------------------------------------


def far_case(kind, sd, n=100, d=2):
    """Return points near -30 and tight ones near 7, and their Gaussians.

    Where the covariance is tied both clouds are tight.
    """
    rng = np.random.default_rng(5)
    both = kind == "tied"
    ends = np.array([[-30.0] * d, [7.0 + i for i in range(d)]])
    sizes = np.array([sd if both else 1.0, sd])
    noise = rng.normal(size=(2, n, d))
    x = (ends[:, None] + sizes[:, None, None] * noise).reshape(-1, d)
    cells = {
        "full": (sizes**2)[:, None, None] * np.eye(d),
        "tied": sd**2 * np.eye(d),
        "diag": (sizes**2)[:, None] * np.ones(d),
        "spherical": sizes**2,
    }[kind]
    params = COVARIANCES[kind](np.array([0.5, 0.5]), ends, cells)
    return x, params


def widened(params, sd):
    """Return the parameters, the tight shapes as wide as 1."""
    wide = params.covariances.copy()
    if isinstance(params, gaussians.Tied):
        return params._replace(covariances=wide / sd**2)
    wide[1] /= sd**2
    return params._replace(covariances=wide)


def of_last(params):
    tied = isinstance(params, gaussians.Tied)
    return params.covariances if tied else params.covariances[1]


# The guard leaves 1e-11 of a variance; the readable form errs by 1e-15.
@pytest.mark.parametrize("start", ["wide", "tight"])
@pytest.mark.parametrize("power", range(2, 8))
@pytest.mark.parametrize("kind", KINDS)
def test_tight_and_far_components_keep_their_shape(kind, power, start):
    sd = 10.0**-power
    x, params = far_case(kind, sd)
    params = widened(params, sd) if start == "wide" else params
    slow, wanted = readable(x, params, kind)
    moments, got = Model(kind).sweep(blocks(x, size=64), params)
    for one, other in zip(
        next_params(moments, kind), next_params(slow, kind), strict=True
    ):
        close(one, other, rtol=0, atol=1e-10 * abs(other).max())
    shapes = of_last(next_params(moments, kind))
    size = abs(shapes).max()
    close(
        shapes, of_last(next_params(slow, kind)), rtol=0, atol=1e-10 * size
    )
    close(got, wanted, rtol=1e-10)


@pytest.mark.parametrize("power", range(1, 5))
@pytest.mark.parametrize("kind", KINDS)
def test_float32_keeps_three_digits_of_a_tight_shape(kind, power):
    sd = 10.0**-power
    x, params = far_case(kind, sd)
    x, params = x.astype(np.float32), widened(params, sd)
    model = Model(kind, dtype=np.float32)
    moments, _ = model.sweep([x], params)
    slow = of_last(next_params(readable(x, params, kind)[0], kind))
    got = of_last(next_params(moments, kind))
    # `ALLOWED` is 1e-3; rounding is half a unit, and there are some sums.
    close(got, slow, rtol=0, atol=2e-3 * abs(slow).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 15, 1000, 12_500])
def test_pieces_hold_each_row_once_and_begin_on_a_line(n, dtype):
    x, params, rng = random_case(5, "diag", n=n)
    times = rng.uniform(size=n)  # (n,)
    turn = Model("diag", dtype=dtype, scratch=50_000).one_pass(params)
    seen = []
    for phi, room, held in turn.pieces(x.astype(dtype), times):
        assert phi.shape[1] == room.shape[1] == len(held) <= turn.size
        assert phi.ctypes.data % 64 == 0
        last = sum(map(len, seen)) + len(held) == n
        assert last or room.ctypes.data % 64 == phi.strides[0] % 64 == 0
        seen.append(held)
    assert np.array_equal(np.concatenate(seen), times)


@pytest.mark.parametrize("sd", [1e-4, 1.0])
def test_tied_components_are_centred_all_or_none(sd):
    _, params = far_case("tied", sd)
    turn = Model("tied").one_pass(params)
    assert turn.close == ([0, 1] if sd < 1 else [])
    near = params._replace(means=params.means * [[1e-9], [1.0]])
    turn = Model("tied").one_pass(near)
    assert turn.close == ([0, 1] if sd < 1 else [])


class Counting(Model):
    """Count the passes, in a list that copies share."""

    calls: list = []  # noqa: RUF012 (emptied by each test)

    def one_pass(self, params):
        self.calls.append(params)
        return super().one_pass(params)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pass_is_taken_exactly_when_digits_would_be_lost(kind):
    for power in range(6):
        sd = 10.0**-power
        x, tight = far_case(kind, sd)
        for params in (tight, widened(tight, sd)):
            Counting.calls.clear()
            plain = Model(kind).expect(x, params)[0]
            needed = (fast.cancellation(plain) > 1e-11 / EPS).any()
            Counting(kind).sweep([x], params)
            assert len(Counting.calls) == 1 + needed
        if power:  # the guard saw the tight start coming
            Counting.calls.clear()
            Counting(kind).sweep([x], tight)
            assert len(Counting.calls) == 1


# --- moments, units, collapse, far points -----------------------------


@pytest.mark.parametrize("other", ["same", "else"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_moments_of_blocks_add_whatever_their_origins(seed, kind, other):
    x, _, rng = random_case(seed, kind, n=60, d=3)
    resp, model = rng.dirichlet(np.ones(3), size=60), Model(kind)
    one, two = rng.normal(size=(2, 3, 3))
    two = one if other == "same" else two
    cuts = (slice(0, 20), one), (slice(20, 60), two)
    parts = [
        model.summarise(x[c], Labels(resp[c]), origin=o) for c, o in cuts
    ]
    total = sum(parts)
    assert np.array_equal(total.origin, one)
    whole = gaussians.Model(kind).summarise(x, Labels(resp), origin=one)
    close(total.counts, whole.counts, rtol=1e-13)
    close(total.first, whole.first, rtol=0, atol=1e-11)
    kept = COVARIANCES[kind].keep(whole.second)
    close(total.second, kept, rtol=0, atol=1e-11)
    close(total.means(), whole.means(), rtol=1e-11, atol=1e-12)
    kinds = COVARIANCES[kind]
    close(total.kept(kinds), whole.kept(kinds), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_take_their_own_means_for_origin(kind):
    x, _, rng = random_case(0, kind, n=60)
    resp, times = rng.dirichlet(np.ones(3), size=60), np.arange(60) % 3.0
    found = Model(kind).summarise(x + 1e6, Labels(resp), times)
    wanted = gaussians.Model(kind).summarise(x, Labels(resp), times)
    # Numbers near 1e6 are 1e-10 apart, and so are then the points.
    pairs = next_params(found, kind), next_params(wanted, kind)
    close(pairs[0].means - 1e6, pairs[1].means, rtol=0, atol=1e-8)
    close(pairs[0].covariances, pairs[1].covariances, rtol=0, atol=1e-8)


def test_moments_start_at_nothing_and_refuse_what_is_not_theirs():
    x, start, _ = random_case(0, "diag")
    moments, _ = Model("diag").expect(x, start)
    assert 0 + moments is moments
    other, _ = Model("full").expect(x, random_case(0, "full")[1])
    with pytest.raises(TypeError):
        moments + other
    with pytest.raises(TypeError):
        moments + 1
    with pytest.raises(TypeError):
        1 + moments


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_moments_are_those_of_points_that_count_so_much(kind):
    x, _, rng = random_case(0, kind, n=30)
    resp = rng.dirichlet(np.ones(3), size=30)
    model, zero = Model(kind), np.zeros(2)
    one = model.summarise(x, Labels(resp), origin=zero).scaled(0.25)
    other = model.summarise(x, Labels(resp), np.full(30, 0.25), origin=zero)
    for name in ("counts", "first", "second", "origin"):
        close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-13)
    assert isinstance(one, Statistics)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_units_lead_there_and_back(seed, kind):
    x, params, _ = random_case(seed, kind)
    scale = np.array([0.25, 0.25 if kind == "spherical" else 16.0])
    unit = Standardiser(np.array([3.0, -5.0]), scale)
    z = (x - unit.origin) / unit.scale
    inside = unit.apply(params)
    # A density is one of z times dz / dx.
    stretch = np.log(scale).sum()
    close(scipys(z, inside) - stretch, scipys(x, params), rtol=1e-11)
    for one, other in zip(unit.undo(inside), params, strict=True):
        close(one, other, rtol=1e-13, atol=1e-13)


BROKEN = {
    "full": np.stack([np.eye(2), np.ones((2, 2)) - 2 * np.eye(2)]),
    "tied": np.diag([1.0, -1.0]),
    "diag": np.array([[1.0, 1.0], [1.0, 0.0]]),
    "spherical": np.array([1.0, np.nan]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_collapse_names_the_component(kind):
    start = COVARIANCES[kind](
        np.ones(2) / 2, np.zeros((2, 2)), BROKEN[kind]
    )
    with pytest.raises(Collapse, match="component") as error:
        fast.precisions(start)
    assert error.value.component == (0 if kind == "tied" else 1)
    assert isinstance(error.value, FloatingPointError)
    with pytest.raises(Collapse):
        Model(kind).sweep([np.zeros((3, 2))], start)


@pytest.mark.parametrize("bad", [np.ones((2, 2)), np.full((2, 2), np.nan)])
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_what_has_a_factor_by_rounding_alone_has_collapsed(kind, bad):
    matrices = np.stack([np.eye(2), bad])
    shapes = bad if kind == "tied" else matrices
    halves = np.ones(2) / 2
    start = COVARIANCES[kind](halves, np.zeros((2, 2)), shapes)
    with pytest.raises(Collapse) as error:
        fast.precisions(start)
    assert error.value.component == (0 if kind == "tied" else 1)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_a_thin_component_has_not_collapsed(kind):
    turned = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    for thin in (1e-2, 1e-8, 1e-12):
        shape = turned.T * [1.0, thin] @ turned
        cells = shape if kind == "tied" else shape[None]
        start = COVARIANCES[kind](np.ones(1), np.zeros((1, 2)), cells)
        values = fast.precisions(start).values.reshape(2, 2)
        # Entries near 1/2 hold 1e-16 of a small variance.
        across = turned[1] @ values @ turned[1]
        close(across, 1 / thin, rtol=4 * EPS / thin + 1e-13)


@pytest.mark.parametrize("scale", [2.0**-10, 1.0, 2.0**10])
@pytest.mark.parametrize("size", [1e3, 1e100, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_of_far_points_is_no_nan(kind, size, scale):
    _, start, _ = random_case(0, kind)
    unit = Standardiser(np.array([5.0, -3.0]), np.full(2, scale))
    x = size * np.array([[1.0, 0], [-1, 1], [0.5, -1], [-1, -1]])
    turn = Model(kind).one_pass(start)
    resp, logs = turn.posterior(Standardised(x, unit))
    close(resp.sum(axis=1), np.ones(4), rtol=1e-12)
    assert (resp >= 0).all()
    assert (logs < 0).all()


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_a_point_that_is_too_far_goes_to_the_widest_component(kind):
    params = far_case(kind, 0.5)[1]
    for size in (1e100, 1e160, 1e300):
        x = size * np.array([[1.0, 0.3], [-0.2, 1]])
        resp = Model(kind).one_pass(params).posterior(x).resp
        close(resp, [[1, 0], [1, 0]], rtol=0, atol=1e-12)


# --- broken on purpose ------------------------------------------------


def turn(kind, model=Model):
    """Return how far a turn is from the readable one, blocks and all."""
    x, start, rng = random_case(7, kind)
    times = rng.integers(0, 4, len(x)).astype(float)
    slow, wanted = readable(x, start, kind, times)
    moments, got = model(kind, scratch=1).sweep([Block(x, times)], start)
    far = [
        abs(one - other).max() / abs(other).max()
        for one, other in zip(
            next_params(moments, kind), next_params(slow, kind), strict=True
        )
    ]
    return max(*far, abs(got / wanted - 1))


def tight(kind, model=Model):
    """Return how much of a tight and far component's shape is lost."""
    x, params = far_case(kind, 1e-4)
    params = widened(params, 1e-4)
    slow = of_last(next_params(readable(x, params, kind)[0], kind))
    moments, _ = model(kind).sweep([x], params)
    got = of_last(next_params(moments, kind))
    return abs(got - slow).max() / abs(slow).max()


def passes(kind, model=Model):
    """Return how many passes too many a tight start takes."""
    x, params = far_case(kind, 1e-4)
    Counting.calls.clear()
    Counting(kind).sweep([x], params)
    return len(Counting.calls) - 1


def joined(kind, model=Model):
    """Return how far two blocks' moments are from the whole's."""
    x, _, rng = random_case(1, kind)
    resp, model = rng.dirichlet(np.ones(3), size=len(x)), model(kind)
    halves = slice(0, 50), slice(50, None)
    total = sum(
        model.summarise(x[cut], Labels(resp[cut])) for cut in halves
    )
    whole = gaussians.Model(kind).summarise(x, Labels(resp))
    pairs = next_params(total, kind), next_params(whole, kind)
    return abs(pairs[0].covariances - pairs[1].covariances).max()


def units(kind, model=Model):
    """Return how far the unit's parameters are from the points' own."""
    x, params, _ = random_case(2, kind)
    unit = Standardiser(np.array([3.0, -5.0]), np.array([4.0, 4.0]))
    inside = unit.apply(params)
    z = (x - unit.origin) / unit.scale
    apart = scipys(z, inside) - scipys(x, params)
    return abs(apart - 2 * np.log(4)).max()


CHECKS = {
    each.__name__: each for each in (turn, tight, passes, joined, units)
}


def patched(where, name, make):
    """Return a mutant: an attribute, made of the right one."""

    def mutant(monkeypatch):
        right = getattr(where, name)
        raw = where.__dict__.get(name, right)
        wrong = make(right)
        kind = staticmethod if isinstance(raw, staticmethod) else None
        monkeypatch.setattr(where, name, kind(wrong) if kind else wrong)

    return mutant


def _without(term):
    """Return a `natural` whose constant lacks a term."""

    def make(right):
        def natural(params, inverse):
            rows = right(params, inverse)
            rows[:, -1] -= term(params, inverse)
            return rows

        return natural

    return make


def _tied_unweighted(right):
    def sums(phi, resp, kind, origin, near):
        found = right(phi, resp, kind, origin, near)
        if kind is gaussians.Tied and not list(near):
            found[1] = phi[:-1] @ phi[:-1].T
        return found

    return sums


def _shorter(right):
    def cut(self, n):
        for each in right(self, n):
            yield slice(each.start, each.stop - 1)

    return cut


def _overlapping(right):
    def cut(self, n):
        for each in right(self, n):
            yield slice(max(0, each.start - 1), each.stop)

    return cut


def _origin_lost(right):
    def add(self, other):
        if not isinstance(other, Statistics):
            return NotImplemented
        return right(self, fast.replace(other, origin=self.origin))

    return add


def _scale_once(right):
    def moved(self, shift, scale):
        found = right(self, shift, scale)
        return found._replace(covariances=self.covariances * scale[0])

    return moved


DIAGONAL = ["diag", "spherical"]
# Each mutant: how it is made, for which types, and what catches it.
CAUGHT = {
    "off-diagonal entries not doubled": (
        patched(
            Full,
            "coefficients",
            lambda _: (
                lambda precision: (
                    -0.5
                    * precision[:, *np.triu_indices(precision.shape[-1])]
                )
            ),
        ),
        ["full"],
        {"turn"},
    ),
    "log determinant missing": (
        patched(
            fast, "natural_parameters", _without(lambda p, i: i.log_dets)
        ),
        ["full", *DIAGONAL],
        {"turn"},
    ),
    "log weights missing": (
        patched(
            fast,
            "natural_parameters",
            _without(lambda p, i: np.log(p.weights)),
        ),
        KINDS,
        {"turn"},
    ),
    "d log 2 pi missing": (
        patched(
            fast,
            "natural_parameters",
            _without(
                lambda p, i: -np.log(2 * np.pi) * p.means.shape[1] / 2
            ),
        ),
        KINDS,
        {"turn"},
    ),
    "tied scatter unweighted": (
        patched(fast, "_sums", _tied_unweighted),
        ["tied"],
        {"turn"},
    ),
    "what tied components share not added": (
        patched(Tied, "shared_bound", lambda _: lambda *_: 0.0),
        ["tied"],
        {"turn"},
    ),
    "the last row of each block left out": (
        patched(fast._OnePass, "blocks", _shorter),
        KINDS,
        {"turn"},
    ),
    "blocks overlap by a row": (
        patched(fast._OnePass, "blocks", _overlapping),
        KINDS,
        {"turn"},
    ),
    "guard after the turn off": (
        patched(
            Model,
            "sweep",
            lambda _: (
                lambda self, parts, params: accumulate(
                    self.one_pass(params), parts
                )
            ),
        ),
        KINDS,
        {"tight"},
    ),
    "guard before the turn off": (
        patched(
            fast._OnePass,
            "safe",
            lambda _: lambda self: True,
        ),
        KINDS,
        {"passes"},
    ),
    "guard too lenient": (
        patched(fast, "ALLOWED", lambda _: {8: 1e-3, 4: 1e-3}),
        KINDS,
        {"tight"},
    ),
    "moments not taken about the mean": (
        patched(
            Statistics,
            "central",
            lambda _: property(lambda self: self.second),
        ),
        KINDS,
        {"turn"},
    ),
    "another origin not minded when adding": (
        patched(Statistics, "__add__", _origin_lost),
        KINDS,
        {"joined"},
    ),
    "covariances scaled once, not twice": (
        lambda monkeypatch: [
            patched(each, "moved", _scale_once)(monkeypatch)
            for each in COVARIANCES.values()
        ],
        KINDS,
        {"units"},
    ),
    "squared length not divided by d": (
        patched(
            Spherical, "unfold", lambda _: lambda s, d, shared: s[:, 0]
        ),
        ["spherical"],
        {"turn"},
    ),
    "counts forgotten": (
        patched(
            fast,
            "softmax_in_place",
            lambda right: lambda joint, times: right(joint, None),
        ),
        KINDS,
        {"turn"},
    ),
}


def caught(kind):
    """Return the names of the checks that are not passed."""
    broken = set()
    for name, measure in CHECKS.items():
        try:
            right = measure(kind) <= 1e-9
        except (ArithmeticError, ValueError):
            right = False
        broken |= set() if right else {name}
    return broken


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name, row in CAUGHT.items() for kind in row[1]],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_mutant_is_caught(name, kind, monkeypatch):
    mutant, _, wanted = CAUGHT[name]
    mutant(monkeypatch)
    assert wanted <= caught(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_form_is_not(kind):
    assert not caught(kind)


def test_every_check_catches_something():
    assert set().union(*(row[2] for row in CAUGHT.values())) == set(CHECKS)


def test_a_start_of_responsibilities_serves_blocks():
    x, _, rng = random_case(0, "full")
    resp = starts.random(len(x), 3, rng)
    model = Model("full")
    halves = slice(0, 100), slice(100, None)
    total = sum(
        model.summarise(x[cut], Labels(resp[cut])) for cut in halves
    )
    slow = gaussians.Model("full").summarise(x, Labels(resp))
    for one, other in zip(
        next_params(total, "full"), next_params(slow, "full"), strict=True
    ):
        close(one, other, rtol=1e-11, atol=1e-12)
