"""The laws of EM, over every model of the package and several seeds."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from emlib import (
    check,
    coins,
    em,
    fit,
    gaussians,
    kmeans,
    laws,
    one_pass,
    squarem,
    sweep,
)
from emlib.loop import Labels, Step
from emlib.models.covariances import COVARIANCES
from emlib.scale import blocks

SEEDS = range(6)
MODELS = {
    "coins": coins.Model(),
    "coins, weights held": coins.Model(learn_weights=False),
    "coins, orders not counted": coins.Model(count_orders=False),
    "full": gaussians.Model("full"),
    "tied": gaussians.Model("tied"),
    "diag": gaussians.Model("diag"),
    "spherical": gaussians.Model("spherical"),
    "k-means": kmeans.Model(),
}
COINS = [name for name in MODELS if name.startswith("coins")]
GAUSSIANS = list(COVARIANCES)
EVERY = {law.__name__ for law, *_ in laws.LAWS}
# k-means takes sides: its evidence is the largest of a row's log joints,
# not the log of their sum, and its responsibilities are the limit of the
# posteriors, not one of them. So its bound lies below the log of the sum:
# it is not tight, and it is not what summing over labellings gives.
HOLD = dict.fromkeys(MODELS, EVERY)
HOLD["k-means"] = EVERY - {"tight", "brute_force"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keep BLAS from waking a thread for each of many tiny systems."""
    with threadpool_limits(1):
        yield


def case(name, seed, n=20, k=3):
    """Return rows that differ in their tosses, and a start."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 30, size=(n, 2))  # (n, 2)
    weights = rng.dirichlet(5 * np.ones(k))  # (k,)
    start = coins.Params(weights, rng.uniform(0.1, 0.9, size=k))
    return MODELS[name], x, start, rng


def blobs(name, seed, d, k, spread=3.0, each=30):
    """Return points about k centres, so many each, and a start near them.

    Each component has points enough to stay away from collapse.
    """
    rng = np.random.default_rng([seed, d, k])
    means = rng.normal(scale=spread, size=(k, d))  # (k, d)
    sides = rng.normal(size=(k, d, d))  # (k, d, d)
    matrices = sides @ sides.transpose(0, 2, 1) + np.eye(d)  # (k, d, d)
    draws = [
        rng.multivariate_normal(mean, matrix, size=each)
        for mean, matrix in zip(means, matrices, strict=True)
    ]
    x = rng.permutation(np.concatenate(draws))  # (n, d)
    means = means + rng.normal(scale=0.3, size=(k, d))  # (k, d)
    if name == "k-means":
        return MODELS[name], x, kmeans.Params(means), rng
    kind = COVARIANCES[name]
    cells = kind.keep(matrices) / kind.pool(np.ones(k))
    start = kind(rng.dirichlet(np.full(k, 20.0)), means, cells)
    return MODELS[name], x, start, rng


def moved(params, scale, shift):
    """Return the parameters of scale * x + shift."""
    means = scale * params.means + shift  # (k, d)
    if not hasattr(params, "covariances"):
        return params._replace(means=means)
    covariances = scale**2 * params.covariances
    return params._replace(means=means, covariances=covariances)


def broken(model, x, start, rng):
    """Return the names of the laws that a model breaks."""
    try:
        found = check(model, x, start, rng)
    except AssertionError as error:
        found = error.laws
    assert [law.name for law in found] == [
        law.__name__ for law, *_ in laws.LAWS
    ]
    return {law.name for law in found if not law.holds}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", COINS)
def test_every_law_holds(name, seed):
    found = check(*case(name, seed))
    assert [law.name for law in found] == [
        law.__name__ for law, *_ in laws.LAWS
    ]
    assert all(law.holds for law in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_laws_hold_from_responsibilities_too(seed):
    model, x, _, rng = case("coins", seed)
    assert all(
        law.holds for law in check(model, x, rng.dirichlet([1, 1], 20))
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", [*GAUSSIANS, "k-means"])
def test_a_model_of_points_keeps_its_laws(name, d, k, seed):
    model, x, start, rng = blobs(name, seed, d, k)
    if seed > 0:  # begin from responsibilities
        start = rng.dirichlet(np.ones(k), size=len(x))  # (n, k)
    assert broken(model, x, start, rng) <= EVERY - HOLD[name]


@pytest.mark.parametrize("seed", SEEDS)
def test_k_means_does_not_sum_over_labels(seed):
    # Clusters that overlap: where they are far apart, the sum is its
    # largest term but for rounding, and the two laws hold as a limit.
    found = broken(*blobs("k-means", seed, 2, 3, spread=0.5))
    assert found == {"tight", "brute_force"}


# Far from the origin and in any unit, the laws hold to the same rounding.
# At 1e8 the points lie 1.5e-8 apart, but sums are taken about points among
# them, so no digit is lost. Only the means are rounded, to that grid, and
# two orders of summing round alike unless a sum lies within 1e-15 of the
# middle of two grid points: one chance in ten million a number.
@pytest.mark.parametrize(
    ("scale", "shift"), [(1, 1e8), (1, -1e8), (1e-6, 0), (1e6, 1e14)]
)
@pytest.mark.parametrize("name", [*GAUSSIANS, "k-means"])
def test_laws_know_no_unit_and_no_origin(name, scale, shift):
    model, x, start, rng = blobs(name, 0, 2, 3)
    far, begin = scale * x + shift, moved(start, scale, shift)
    for at in (begin, rng.dirichlet(np.ones(3), size=len(x))):
        assert broken(model, far, at, rng) <= EVERY - HOLD[name]


@pytest.mark.parametrize(
    ("scale", "shift"), [(1, 0), (1, 1e8), (1e-6, 0), (1e6, 1e14)]
)
@pytest.mark.parametrize("name", [*GAUSSIANS, "k-means"])
def test_nor_does_what_they_catch(name, scale, shift):
    model, x, start, rng = blobs(name, 0, 2, 3)

    class Aside(type(model)):
        def maximise(self, statistics, previous=None):
            right = super().maximise(statistics, previous)
            # A hundredth of the points' spread, in their unit.
            return right._replace(means=right.means + 0.01 * scale)

    options = {} if name == "k-means" else {"covariance_type": name}
    far, begin = scale * x + shift, moved(start, scale, shift)
    assert "stationary" in broken(Aside(**options), far, begin, rng)


def in_one_pass(name):
    """Return the model of this name that takes both steps in one pass."""
    if name in GAUSSIANS:
        return one_pass.gaussians.Model(name)
    return one_pass.kmeans.Model()


@pytest.mark.parametrize(
    ("scale", "shift"), [(1, 0), (1, 1e8), (1e-6, 0), (1e6, 1e14)]
)
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("name", [*GAUSSIANS, "k-means"])
def test_one_pass_is_both_steps(name, counted, scale, shift):
    model, x, start, rng = blobs(name, 1, 2, 3)
    times = rng.choice([0.0, 0.5, 1.0, 2.0], len(x)) if counted else None
    far, params = scale * x + shift, moved(start, scale, shift)
    step = laws.next_turn(Step(0, params, model, far, times))
    before = Step(0, params, model, far, times)
    parts = blocks(far, times, 25)
    statistics, bound = sweep(in_one_pass(name), parts, params)
    # The fast form may lose 1e-11 of a covariance where products cancel,
    # and a log joint some dozens of times that.
    unit = scale**2 if name == "k-means" else 1
    assert bound / unit == pytest.approx(before.bound / unit, rel=1e-9)
    got = in_one_pass(name).maximise(statistics, previous=params)
    # A responsibility loses what its log joints lose; and means are rounded
    # to the grid that the points lie on.
    grid = np.spacing(abs(far).max())
    np.testing.assert_allclose(
        got.means, step.params.means, rtol=0, atol=1e-9 * scale + 2 * grid
    )
    if name in GAUSSIANS:
        size = abs(step.params.covariances).max()
        for one, other, unit in (
            (got.weights, step.params.weights, 1),
            (got.covariances, step.params.covariances, size),
        ):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * unit)


@pytest.mark.parametrize("name", ["coins", "coins, weights held"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_rate_is_the_share_of_missing_information(name, seed):
    rng = np.random.default_rng(seed)
    truth = coins.Params(np.array([0.4, 0.6]), np.array([0.25, 0.7]))
    x, _ = coins.Model().sample(truth, 40, rng, tosses=12)
    at = laws.Case(MODELS[name], x, truth, rng)
    # Second differences, step 1e-4, of a sum near 100: 1e-14 * 100 / 1e-8.
    assert laws.rate(at) < 1e-4


@pytest.mark.many_turns
@pytest.mark.parametrize(("d", "seed"), [(1, 0), (2, 1)])
@pytest.mark.parametrize("name", GAUSSIANS)
def test_gaussians_too_miss_what_their_rate_says(name, d, seed):
    rng = np.random.default_rng([seed, d])
    kind = COVARIANCES[name]
    matrices = np.stack([np.eye(d), 1.5 * np.eye(d)])  # (k, d, d)
    cells = kind.keep(matrices) / kind.pool(np.ones(2))
    ends = np.array([np.full(d, -2.0), np.full(d, 2.0)])  # (k, d)
    truth = kind(np.array([0.4, 0.6]), ends, cells)
    x, _ = MODELS[name].sample(truth, 60, rng)
    # As for the coins, of a sum near 300: the interior maximum is reached.
    assert laws.rate(laws.Case(MODELS[name], x, truth, rng)) < 1e-4


def cold(x, centres, temperature):
    """Return the E-step of Gaussians of equal weight and covariance T I."""
    k = len(centres)
    heat = np.full(k, temperature)  # (k,)
    params = gaussians.Spherical(np.full(k, 1 / k), centres, heat)
    return gaussians.Model("spherical").e_step(x, params)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_cold_limit_of_gaussians_is_k_means(d, seed):
    _, x, start, _ = blobs("k-means", seed, d, 3)
    resp, log_evidence = kmeans.Model().e_step(x, start)
    inertia = -2 * log_evidence.sum()
    apart = np.sort(-2 * kmeans.Model().log_joint(x, start), axis=1)
    lead = apart[:, 1] - apart[:, 0]  # (n,), by which the nearest wins
    assert lead.min() > 0  # no ties
    for temperature in (1.0, 1e-2, 1e-4, 1e-8, 1e-12):
        soft, evidence = cold(x, start.means, temperature)
        # The two others' odds are at most exp(-lead / 2T) each.
        odds = 2 * np.exp(-lead / (2 * temperature))  # (n,)
        left = np.abs(soft - resp).max(axis=1)  # (n,)
        assert (left <= 1.01 * odds + 1e-15).all()
        # -2T log N(x) = |x - mu|^2 + T d log 2 pi T, and 2T log K of the
        # weights; log(1 + odds) <= odds is what the others add.
        fixed = d * np.log(2 * np.pi * temperature) + 2 * np.log(3)
        energy = -2 * temperature * evidence  # (n,)
        error = energy.sum() - temperature * fixed * len(x) - inertia
        rounding = 1e-13 * (inertia + 100 * len(x))
        assert abs(error) <= 2 * temperature * odds.sum() + rounding
    # At 1e-12 only T log T is left of the difference: 3e-11 a feature.
    assert (soft == resp).all()
    assert energy.sum() == pytest.approx(inertia, rel=0, abs=1e-10 * len(x))
    statistics = gaussians.Model().summarise(x, Labels(soft))
    centroids = [x[side].mean(axis=0) for side in resp.T == 1]  # (k, d)
    lloyd = kmeans.Model().maximise(
        kmeans.Model().summarise(x, Labels(resp))
    )
    # Means of some dozens of numbers below 10: a few roundings.
    for got in (statistics.means(), lloyd.means):
        np.testing.assert_allclose(got, centroids, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", GAUSSIANS)
def test_a_cold_loop_is_lloyds(name, seed):
    """Gaussians that may move their means only, at T = 1e-6."""

    class Cold(gaussians.Model):
        def maximise(self, statistics, previous=None):
            right = super().maximise(statistics, previous)
            return previous._replace(means=right.means)

    _, x, start, _ = blobs("k-means", seed, 2, 3, spread=1.5)
    kind = COVARIANCES[name]
    matrices = np.stack([1e-6 * np.eye(2)] * 3)  # (k, d, d)
    cells = kind.keep(matrices) / kind.pool(np.ones(3))
    frozen = kind(np.full(3, 1 / 3), start.means, cells)
    lloyd = islice(em(kmeans.Model(), x, start), 8)
    for one, other in zip(lloyd, em(Cold(name), x, frozen), strict=False):
        joint = np.sort(one.model.log_joint(x, one.params), axis=1)
        # The second nearest has odds of exp(-lead / T), below e^-30: a
        # trillionth part of a centre among points that lie 10 apart.
        assert (joint[:, -1] - joint[:, -2]).min() > 30e-6
        assert (other.resp.round() == one.resp).all()
        np.testing.assert_allclose(
            other.params.means, one.params.means, rtol=0, atol=1e-11
        )


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", [0, 3, 4])
@pytest.mark.parametrize("name", GAUSSIANS)
def test_squarem_reaches_the_same_fixed_point_in_fewer_maps(name, seed):
    # Overlapping components, so that the plain loop is slow.
    model, x, start, _ = blobs(name, seed, 2, 2, spread=1.0, each=60)
    plain = fit(model, x, start, tol=1e-10, max_turns=2000)
    assert plain.converged
    before = -np.inf
    for step in squarem(model, x, start):
        # The bound is a sum of 120 terms below 10: rounding below 1e-12.
        assert step.bound >= before - 1e-11
        if step.bound - before <= 1e-10:
            break
        before = step.bound
    assert step.turn < plain.turns
    # Gains of 1e-10 that shrink by 5 % a turn leave 2e-9 nats to come,
    assert step.bound == pytest.approx(plain.history[-1], rel=0, abs=1e-8)
    # and near a top that falls by a nat a unit squared, 1e-4 units.
    for one, other in zip(step.params, plain.params, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_history_belongs_to_its_parameters(seed):
    model, x, start, _ = case("coins", seed)
    for turns in range(4):
        result = fit(model, x, start, tol=0.0, max_turns=turns)
        evidence = model.e_step(x, result.params).log_evidence.sum()
        assert len(result.history) == turns + 1
        assert result.history[-1] == pytest.approx(evidence, rel=1e-14)


def test_a_broken_law_is_named_with_what_was_measured():
    class Wrong(coins.Model):
        def maximise(self, statistics, previous=None):
            right = super().maximise(statistics, previous)
            return right._replace(means=0.9 * right.means)

    _, x, start, rng = case("coins", 0)
    with pytest.raises(AssertionError, match="stationary: after an M-step"):
        check(Wrong(), x, start, rng)
    with pytest.raises(AssertionError) as caught:
        check(Wrong(), x, start, rng)
    broken = {law.name for law in caught.value.laws if not law.holds}
    assert "stationary" in broken
    assert len(caught.value.laws) == len(laws.LAWS)


def test_a_model_that_cannot_answer_breaks_the_law_it_was_asked():
    class NoMultiplicity(coins.Model):
        def summarise(self, x, posterior, multiplicity=None, origin=None):
            if multiplicity is not None:
                raise TypeError("no multiplicity here")
            return super().summarise(x, posterior)

    _, x, start, rng = case("coins", 0)
    with pytest.raises(AssertionError, match=r"weigh: .* measured nan"):
        check(NoMultiplicity(), x, start, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_collapse_breaks_a_law_and_not_the_check(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 2))  # (n, 2)
    x[:3] = 50.0  # three equal points are a component of no width
    start = gaussians.Full(
        np.array([0.9, 0.1]),
        np.array([[0.0, 0.0], [50.0, 50.0]]),
        np.stack([np.eye(2)] * 2),
    )
    with pytest.raises(AssertionError, match=r"monotone: .* nan"):
        check(gaussians.Model(), x, start, rng)


def test_the_same_seed_measures_the_same():
    model, x, start, _ = case("coins", 3)
    assert check(model, x, start) == check(model, x, start)


@pytest.mark.parametrize("name", GAUSSIANS)
@pytest.mark.parametrize("seed", range(2))
def test_with_a_prior_the_laws_are_those_of_the_objective(seed, name):
    _, x, start, rng = blobs(name, seed, 2, 2)
    prior = gaussians.Prior(9.0, 4 * np.eye(2))
    model = gaussians.Model(name, prior=prior)
    assert broken(model, x, start, rng) == set()

    class Silent(gaussians.Model):
        log_prior = None  # it believes, and does not say what

        def maximise(self, statistics, previous=None):
            return model.maximise(statistics, previous)

    assert "stationary" in broken(Silent(name), x, start, rng)
