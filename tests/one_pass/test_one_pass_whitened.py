"""Whitened Gaussians against the readable ones, SciPy and plain sums."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from threadpoolctl import threadpool_limits

from emlib import GaussianMixture, gaussians
from emlib.loop import Labels, accumulate
from emlib.models.covariances import COVARIANCES, Full
from emlib.models.covariances.definite import inverse_cholesky
from emlib.one_pass import whitened as form
from emlib.one_pass.families import softmax_in_place
from emlib.one_pass.gaussian_family import Featured
from emlib.one_pass.gaussians import Model
from emlib.scale import Standardised, Standardiser, blocks, thread_map

SEEDS = range(3)
KINDS = ["full", "tied"]
TURNS = {"full": form.Whitened, "tied": form.WhitenedOnce}
# Of sums of some hundred terms; float32 holds seven digits.
NEAR = {np.float64: 1e-11, np.float32: 2e-4}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keep BLAS from waking a thread for each of many tiny products."""
    with threadpool_limits(1):
        yield


def close(got, wanted, rtol, atol=0.0):
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def matrix(rng, d):
    """Return a random matrix that is well away from singular."""
    root = rng.normal(size=(d, 2 * d))
    return root @ root.T / d + 0.3 * np.eye(d)


def case(seed, kind, apart=1.0, n=400, k=4, d=40):
    """Return points of a mixture, and parameters near its own."""
    rng = np.random.default_rng(seed)
    shapes = np.stack([matrix(rng, d) for _ in range(k)])
    shapes = shapes if kind == "full" else shapes[0]
    weights = rng.dirichlet(5 * np.ones(k))
    means = apart * rng.normal(size=(k, d))
    truth = COVARIANCES[kind](weights, means, shapes)
    x, _ = gaussians.Model().sample(truth, n, rng)
    moved = means + 0.1 * rng.normal(size=(k, d))
    return x, truth._replace(means=moved), rng


def turn(kind, params, **options):
    """Return the whitened turn, its pieces much shorter than the rows."""
    found = TURNS[kind](Model(kind, **options), params)
    found.size = 150
    return found


def readable(x, params, kind, multiplicity=None):
    """Return statistics and bound of one turn, in the form to read."""
    model = gaussians.Model(kind)
    x = np.asarray(x, dtype=np.float64)
    resp, logs = model.e_step(x, params)
    times = np.ones(len(x)) if multiplicity is None else multiplicity
    return model.summarise(x, Labels(resp), multiplicity), float(
        times @ logs
    )


def same(one, other):
    """Say whether two turns agree to the last bit."""
    names = ("counts", "origin", "first", "second")
    return one[1] == other[1] and all(
        np.array_equal(getattr(one[0], name), getattr(other[0], name))
        for name in names
    )


# --- the equations ----------------------------------------------------


@pytest.mark.equation("eq-one_pass-whitened")
@pytest.mark.parametrize("d", [1, 40, 97, 200])
@pytest.mark.parametrize("seed", SEEDS)
def test_squared_lengths_are_those_of_scipys_density(seed, d):
    rng = np.random.default_rng(seed)
    shape, mean = matrix(rng, d), rng.normal(size=d)
    x = rng.normal(size=(30, d))
    roots, _ = inverse_cholesky(shape)
    there = multivariate_normal(mean, shape)
    wanted = 2 * (there.logpdf(mean) - there.logpdf(x))
    # Log densities of some hundred nats are subtracted.
    close(form.squared_lengths(x - mean, roots), wanted, 1e-10, 1e-11)


@pytest.mark.equation("eq-one_pass-scatter")
@pytest.mark.parametrize("seed", SEEDS)
def test_scatter_is_the_weighted_sum_of_squares(seed):
    rng = np.random.default_rng(seed)
    x, share = rng.normal(size=(50, 33)), rng.uniform(size=50)
    share[::7] = 0
    wanted = np.einsum("n,ni,nj->ij", share, x, x)
    found = form.second_moments(x.copy(), share)
    close(found, wanted, rtol=0, atol=1e-13 * abs(wanted).max())
    assert np.array_equal(found, found.T)


@pytest.mark.equation("eq-one_pass-shadow")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_distance_is_longer_in_a_subspace(seed):
    x, params, _ = case(seed, "full", apart=3.0, n=60)
    view = form.subspace(params)
    assert view.directions.shape == (3, 40)
    part = view.squared_lengths(x)
    for i, (mean, shape) in enumerate(zip(*params[1:], strict=True)):
        apart = x - mean
        whole = (apart @ np.linalg.inv(shape) * apart).sum(axis=1)
        # The density of the marginal, which SciPy knows.
        b = view.directions
        marginal = multivariate_normal(b @ mean, b @ shape @ b.T)
        wanted = 2 * (marginal.logpdf(b @ mean) - marginal.logpdf(x @ b.T))
        close(part[i], wanted, rtol=1e-9, atol=1e-9)
        assert (part[i] <= whole * (1 + 1e-12)).all()


@pytest.mark.equation("eq-one_pass-directions")
@pytest.mark.parametrize("seed", SEEDS)
def test_of_equal_shapes_the_directions_lose_nothing(seed):
    """Differences of distances are whole: linear discriminants suffice."""
    x, params, _ = case(seed, "tied", n=60)
    shapes = np.stack([params.covariances] * 4)
    view = form.subspace(Full(params.weights, params.means, shapes))
    part = view.squared_lengths(x)
    roots, _ = inverse_cholesky(params.covariances)
    whole = np.array(
        [form.squared_lengths(x - mean, roots) for mean in params.means]
    )
    # Of lengths of some hundreds; the products err by eps times d.
    close(part - part[0], whole - whole[0], rtol=0, atol=1e-9)


@pytest.mark.equation("eq-one_pass-left")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_out_has_a_responsibility_of_exactly_0(seed, dtype):
    rng = np.random.default_rng(seed)
    joint = rng.uniform(-3000, 0, size=(6, 500)).astype(dtype)
    below = form.left_out(joint, joint.max(axis=0))
    assert 0 < below.mean() < 1
    resp = joint.copy()
    softmax_in_place(resp)
    assert (resp[below] == 0).all()
    without = np.where(below, -1e30, joint).astype(dtype)
    softmax_in_place(without)
    assert np.array_equal(resp, without)


# --- a turn -----------------------------------------------------------


@pytest.mark.parametrize("apart", [0.3, 8.0])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_turn_is_the_readable_one(seed, kind, dtype, times, unit, apart):
    x, params, rng = case(seed, kind, apart)
    counts = rng.integers(0, 4, len(x)).astype(dtype) if times else None
    x = np.asarray(x, dtype=dtype)
    rows = x
    if unit:
        scale = Standardiser(np.full(40, 0.5), np.full(40, 2.0))
        rows, params = Standardised(x, scale), scale.apply(params)
    wanted, bound = readable(rows, params, kind, counts)
    for given in (rows, Featured(rows, COVARIANCES[kind])):
        moments, got = turn(kind, params, dtype=dtype)(given, counts)
        close(got, bound, rtol=NEAR[dtype])
        close(moments.counts, wanted.counts, 0, NEAR[dtype] * len(x))
        for one, other in zip(
            gaussians.Model(kind).maximise(moments),
            gaussians.Model(kind).maximise(wanted),
            strict=True,
        ):
            close(one, other, 0, atol=NEAR[dtype] * abs(other).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("apart", [7.0, 9.0])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_out_changes_no_bit(seed, apart, dtype):
    """Of the very products that are made, those of zeros are not."""
    x, params, _ = case(seed, "full", apart, n=700)
    one = turn("full", params, dtype=dtype)
    other = turn("full", params, dtype=dtype)
    other.skips = False
    assert one.view is not None
    rows = x.astype(dtype)
    assert same(one(rows), other(rows))
    resp = one.joint(rows)[0].T
    assert (resp <= -1e30).any()  # some were left out


def test_centres_that_are_near_need_no_look():
    _, params, _ = case(0, "full", apart=0.3)
    assert turn("full", params).view is None


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_map_agree_to_the_last_bit(kind, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    x, params, _ = case(0, kind, n=900)
    parts = blocks(x, size=200)
    alone = accumulate(turn(kind, params), parts)
    with thread_map(len(parts)) as mapper:
        assert same(accumulate(turn(kind, params), parts, mapper), alone)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_component_of_weight_zero_gets_nothing(kind, dtype):
    x, params, _ = case(0, kind)
    params = params._replace(weights=np.array([0.0, 0.2, 0.3, 0.5]))
    moments, got = turn(kind, params, dtype=dtype)(x.astype(dtype))
    assert moments.counts[0] == 0
    close(got, readable(x, params, kind)[1], rtol=NEAR[dtype])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("power", range(1, 8))
@pytest.mark.parametrize("kind", KINDS)
def test_tight_and_far_components_keep_their_shape(
    kind, power, wide, monkeypatch
):
    d, sd = 66, 10.0**-power
    rng = np.random.default_rng(5)
    ends = np.stack([np.full(d, -30.0), 7 + np.arange(d) / d])
    x = (ends[:, None] + sd * rng.normal(size=(2, 150, d))).reshape(-1, d)
    size = 1.0 if wide else sd**2
    shape = size * np.eye(d)
    shapes = shape if kind == "tied" else np.stack([shape, shape])
    params = COVARIANCES[kind](np.array([0.5, 0.5]), ends + sd / 9, shapes)
    monkeypatch.setitem(form.FEWEST_COLUMNS, COVARIANCES[kind], 1)
    assert isinstance(Model(kind).one_pass(params), TURNS[kind])
    moments, got = Model(kind).sweep(blocks(x, size=64), params)
    wanted, bound = readable(x, params, kind)
    one = gaussians.Model(kind).maximise(moments).covariances
    other = gaussians.Model(kind).maximise(wanted).covariances
    # The guard leaves 1e-11 of a variance; the readable form errs less.
    close(one, other, rtol=0, atol=1e-10 * abs(other).max())
    close(got, bound, rtol=1e-10)


# --- the answers ------------------------------------------------------


@pytest.mark.parametrize("apart", [0.3, 8.0])
@pytest.mark.parametrize("kind", KINDS)
def test_posteriors_are_the_readable_ones(kind, apart):
    x, params, _ = case(1, kind, apart)
    found = turn(kind, params).posterior(x)
    wanted = gaussians.Model(kind).e_step(x, params)
    close(found.resp, wanted.resp, rtol=0, atol=1e-11)
    close(found.log_evidence, wanted.log_evidence, rtol=1e-12)


@pytest.mark.parametrize("size", [1e100, 1e160, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_of_far_points_is_no_nan(kind, size):
    x, params, _ = case(2, kind, 8.0)
    x[200] = size * np.where(np.arange(40) % 2, 1.0, -1.0)
    found = turn(kind, params).posterior(x)
    close(found.resp.sum(axis=1), np.ones(len(x)), rtol=1e-12)
    assert not np.isnan(found.log_evidence).any()
    near = np.arange(len(x)) != 200
    wanted = gaussians.Model(kind).e_step(x[near], params)
    close(found.resp[near], wanted.resp, rtol=0, atol=1e-11)


def test_the_form_follows_from_columns_and_components_alone():
    def chosen(kind, d, k):
        shapes = np.eye(d) if kind == "tied" else np.stack([np.eye(d)] * k)
        means = np.zeros((k, d))
        params = COVARIANCES[kind](np.full(k, 1 / k), means, shapes)
        return type(Model(kind).one_pass(params)).__name__

    assert chosen("full", 64, 3) == "Whitened"
    assert chosen("full", 64, 20) == "_OnePass"
    assert chosen("full", 10, 1) == "_OnePass"
    assert chosen("tied", 128, 20) == "WhitenedOnce"
    assert chosen("tied", 10, 2) == "_OnePass"


def test_answers_of_many_columns_hold_little():
    rng = np.random.default_rng(0)
    x, shapes = rng.normal(size=(6000, 200)), np.stack([np.eye(200)] * 2)
    mixture = GaussianMixture(
        2, means_init=x[:2], precisions_init=shapes, max_iter=0
    )
    mixture.fit(x)
    tracemalloc.start()
    mixture.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two pieces, roots and precisions; a block of features takes 970 MB.
    assert peak < 20e6


@pytest.mark.parametrize("seed", SEEDS)
def test_components_to_be_centred_one_by_one_are_whitened(seed):
    """Many tight components: features would lose digits, all but few."""
    x, params, _ = case(seed, "full", apart=30.0, k=9, d=21)
    assert 5 * 9 > 21
    tight = params._replace(covariances=1e-12 * params.covariances)
    assert isinstance(Model().one_pass(tight), form.Whitened)
    assert not isinstance(Model().one_pass(params), form.Whitened)
    labels = np.arange(len(x)) % 9  # (n,)
    x = params.means[labels] + 1e-6 * (x - x.mean(axis=0))  # (n, d)
    found, bound = Model().expect(x, tight)
    wanted, total = readable(x, tight, "full")
    assert bound == pytest.approx(total, rel=1e-10)
    close(found.counts, wanted.counts, rtol=1e-12)
    close(found.means(), wanted.means(), rtol=1e-12)
    # Two moments about points that are some widths from the means.
    close(found.central, wanted.kept(Full), rtol=1e-9, atol=1e-20)
