"""Speed: the rate, the leap and its guard, on coins and on random maps."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import islice, product

import numpy as np
import pytest
from jaxtyping import config
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, binom

from emlib import coins, datasets, em, gaussians, laws, speed, squarem
from emlib.loop import Labels, Step, next_turn

SEEDS = range(5)
FAIR = np.array([0.5, 0.5])
START = coins.Params(weights=FAIR, means=np.array([0.6, 0.5]))
TABLE = datasets.unlabelled_coins().x
FIXED = coins.Model(learn_weights=False)
FREE = coins.Model()
BOTH = pytest.mark.parametrize("learn", [False, True])


def random_coins(seed, n=40, k=2, tosses=20):
    """Return rows from random coins, and a random start."""
    rng = np.random.default_rng(seed)
    means = (np.arange(k) + rng.uniform(0.3, 0.7, size=k)) / k
    truth = coins.Params(rng.dirichlet(np.full(k, 9.0)), means)
    x, _ = FREE.sample(truth, n, rng, tosses)
    begin = coins.Params(np.full(k, 1 / k), rng.uniform(0.2, 0.8, size=k))
    return x, begin, rng


def nth(iterator, n):
    """Return what an iterator yields after n others."""
    return next(islice(iterator, n, None))


def apart(one, other):
    """Return the largest difference of any parameter."""
    return abs(np.hstack(one) - np.hstack(other)).max()


class Metered:
    """Pass everything on to a model, and count the calls."""

    def __init__(self, model):
        self.model, self.calls = model, Counter()

    def __getattr__(self, name):
        method = getattr(self.model, name)

        def call(*arguments, **named):
            self.calls[name] += 1
            return method(*arguments, **named)

        return call


def chances_after_a_turn(x, weights):
    """Return the EM map of the chances, the weights held."""

    def mapped(means):
        params = coins.Params(weights, means)
        return next_turn(Step(0, params, FIXED, x, None)).params.means

    return mapped


@pytest.mark.equation("eq-speed-jacobian")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_jacobian_is_the_derivative(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 3, 4))
    v = rng.normal(size=4)

    def function(u):
        return np.sin(a @ u) + (b @ u) ** 2

    exact = np.cos(a @ v)[:, None] * a + 2 * (b @ v)[:, None] * b
    # Step 1e-5: cut off near 1e-10, rounding near 1e-16 / 1e-5.
    got = speed.jacobian(function, v)
    assert got.shape == (3, 4)
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-8)
    # A quadratic has no third derivative: exact at any step.
    wide = speed.jacobian(lambda u: u**2, v, step=0.5)
    np.testing.assert_allclose(wide, np.diag(2 * v), rtol=0, atol=1e-12)


def exact_jacobian(x, params):
    """Return the Jacobian of the chances' map, derived by hand.

    d r_nk / d theta_l = r_nk ([k = l] - r_nl) s_nl, and the quotient rule.
    """
    weights, means = params
    joint = weights * binom.pmf(x[:, :1], x.sum(axis=1)[:, None], means)
    resp = joint / joint.sum(axis=1, keepdims=True)
    score = x[:, :1] / means - x[:, 1:] / (1 - means)  # (n, k)
    heads, tosses = resp.T @ x[:, 0], resp.T @ x.sum(axis=1)
    k = len(means)
    slopes = np.empty((k, k))
    for i, j in product(range(k), repeat=2):
        moved = resp[:, i] * ((i == j) - resp[:, j]) * score[:, j]  # (n,)
        up, down = moved @ x[:, 0], moved @ x.sum(axis=1)
        slopes[i, j] = (up - heads[i] / tosses[i] * down) / tosses[i]
    return slopes


@pytest.mark.equation("eq-speed-jacobian")
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_jacobian_of_a_turn_is_the_one_by_hand(seed, k):
    x, begin, _ = random_coins(seed, k=k)
    got = speed.jacobian(
        chances_after_a_turn(x, begin.weights), begin.means
    )
    exact = exact_jacobian(x, begin)
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-7)


@pytest.mark.many_turns
@pytest.mark.equation("eq-speed-missing")
@pytest.mark.parametrize("seed", [None, *SEEDS])
def test_the_jacobian_is_the_share_of_missing_information(seed):
    x, begin = (TABLE, START) if seed is None else random_coins(seed)[:2]
    top = nth(em(FIXED, x, begin), 1000).params
    joint = FAIR * binom.pmf(x[:, :1], x.sum(axis=1)[:, None], top.means)
    resp = joint / joint.sum(axis=1, keepdims=True)  # (n, k)
    heads, tails = x.T @ resp
    score = x[:, :1] / top.means - x[:, 1:] / (1 - top.means)  # (n, k)
    complete = np.diag(heads / top.means**2 + tails / (1 - top.means) ** 2)
    # Missing: the covariance of the score over each row's labels, exact.
    missing = sum(
        np.diag(r * s**2) - np.outer(r * s, r * s)
        for r, s in zip(resp, score, strict=True)
    )

    def evidence(means):
        p = binom.pmf(x[:, :1], x.sum(axis=1)[:, None], means) @ FAIR
        return np.log(p).sum()

    observed = -second(evidence, top.means)
    # Second differences of step 1e-4 leave about 1e-16 * 100 / 1e-8.
    scale = abs(complete).max()
    np.testing.assert_allclose(
        observed, complete - missing, rtol=0, atol=1e-4 * scale
    )
    exact = np.linalg.solve(complete, missing)
    slopes = speed.jacobian(chances_after_a_turn(x, top.weights), top.means)
    np.testing.assert_allclose(slopes, exact, rtol=0, atol=1e-7)
    rates = np.linalg.eigvals(slopes)
    assert (rates.real > 0).all()
    assert (rates.real < 1).all()
    assert abs(rates.imag).max() == 0


def second(function, at, step=1e-4):
    """Return second derivatives by four-point differences."""
    p = len(at)
    nudges = step * np.eye(p)
    out = np.empty((p, p))
    for i, j in product(range(p), repeat=2):
        corners = [
            a * b * function(at + a * nudges[i] + b * nudges[j])
            for a, b in product([1, -1], repeat=2)
        ]
        out[i, j] = sum(corners) / (4 * step**2)
    return out


@pytest.mark.equation("eq-speed-missing")
@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_the_law_of_the_rate_holds(seed, learn):
    x, begin, rng = random_coins(seed, n=60)
    case = laws.Case(coins.Model(learn_weights=learn), x, begin, rng)
    assert laws.rate(case) < 1e-5


@pytest.mark.equation("eq-speed-missing")
def test_the_numbers_of_the_table():
    top = nth(em(FIXED, TABLE, START), 60).params.means
    slopes = speed.jacobian(chances_after_a_turn(TABLE, FAIR), top)
    rates = np.sort(np.linalg.eigvals(slopes))
    np.testing.assert_allclose(rates, [0.37800, 0.40969], atol=5e-6)

    def evidence(means):
        return np.log(binom.pmf(TABLE[:, :1], 10, means) @ FAIR).sum()

    observed = -second(evidence, top)
    sharp = np.linalg.eigvalsh(observed)
    np.testing.assert_allclose(sharp, [58.5, 97.1], rtol=0, atol=0.05)
    errors = np.sqrt(np.diag(np.linalg.inv(observed)))
    np.testing.assert_allclose(errors, [0.1015, 0.1308], atol=5e-5)


@pytest.mark.many_turns
@pytest.mark.equation("eq-speed-rate")
@pytest.mark.parametrize("seed", SEEDS)
def test_errors_shrink_as_the_jacobian_says(seed):
    x, begin, rng = random_coins(seed)
    top = nth(em(FIXED, x, begin), 1000).params
    slopes = exact_jacobian(x, top)
    mapped = chances_after_a_turn(x, top.weights)
    for small in (1e-3, 1e-4):
        error = small * rng.normal(size=2)
        left = mapped(top.means + error) - top.means
        # What is left out is quadratic in the error; its factor is
        # a second derivative, of the order of the tosses of a row.
        assert abs(left - slopes @ error).max() < 20 * error @ error + 1e-15


@pytest.mark.equation("eq-speed-rate")
def test_along_the_slow_direction_the_table_shows_its_rate():
    steps = [s.params.means for s in islice(em(FIXED, TABLE, START), 61)]
    slopes = exact_jacobian(TABLE, coins.Params(FAIR, steps[-1]))
    rates, left = np.linalg.eig(slopes.T)
    along = (np.array(steps[:22]) - steps[-1]) @ left[:, rates.argmax()]
    np.testing.assert_allclose(
        along[14:] / along[13:-1], rates.max(), rtol=0, atol=1e-5
    )


def random_params(rng, k):
    return coins.Params(
        rng.dirichlet(np.ones(k)), rng.uniform(0.001, 0.999, size=k)
    )


@pytest.mark.equation("eq-speed-pack")
@BOTH
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_packing_takes_logarithms(seed, k, learn):
    params = random_params(np.random.default_rng(seed), k)
    vector = coins.Model(learn_weights=learn).pack(params)
    odds = np.log(params.means) - np.log1p(-params.means)
    both = np.hstack([odds, np.log(params.weights)])
    assert vector.shape == (k + k * learn,)
    np.testing.assert_allclose(vector, both[: len(vector)], rtol=1e-12)


@pytest.mark.equation("eq-speed-unpack")
@BOTH
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_unpacking_undoes_packing(seed, k, learn):
    rng = np.random.default_rng(seed)
    model, params = coins.Model(learn_weights=learn), random_params(rng, k)
    like = params if not learn else random_params(rng, k)
    back = model.unpack(model.pack(params), like)
    assert apart(back, params) < 1e-14


@pytest.mark.equation("eq-speed-unpack")
@BOTH
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_vector_stands_for_allowed_parameters(seed, scale, learn):
    rng = np.random.default_rng(seed)
    like = random_params(rng, 3)
    vector = scale * rng.normal(size=3 + 3 * learn)
    params = coins.Model(learn_weights=learn).unpack(vector, like)
    assert ((params.means >= 0) & (params.means <= 1)).all()
    assert (params.weights >= 0).all()
    assert abs(params.weights.sum() - 1) < 1e-14
    if scale == 1:
        np.testing.assert_allclose(
            params.means, 1 / (1 + np.exp(-vector[:3])), rtol=1e-14
        )
    if not learn:
        assert params.weights is like.weights
        return
    # A constant added to all logarithms of weights changes nothing.
    again = FREE.unpack(vector + np.repeat([0.0, 5.0], 3), like)
    assert apart(again, params) < 1e-12


@pytest.mark.parametrize("theta", [0.0, 1.0])
def test_packing_at_the_limit_is_infinite_and_silent(theta):
    params = coins.Params(np.array([1.0, 0.0]), np.array([theta, 0.5]))
    vector = FREE.pack(params)
    assert np.isinf(vector[[0, 3]]).all()
    assert apart(FREE.unpack(vector, params), params) == 0


@pytest.mark.equation("eq-speed-squarem")
@pytest.mark.parametrize("q", [0.9, 0.5, 0.01, -0.4])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_geometric_approach_lands_at_once(seed, q):
    rng = np.random.default_rng(seed)
    end, error = rng.normal(size=(2, 3))
    path = [end + error * q**t for t in range(3)]
    # Rounding of the path is blown up by 1 / (1 - q)^2 at most.
    leap = speed.extrapolate(*path)
    np.testing.assert_allclose(leap, end, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-speed-squarem")
def test_the_exercise_in_fractions():
    zero, one, two = Fraction(50, 100), Fraction(62, 100), Fraction(65, 100)
    r, s = one - zero, (two - one) - (one - zero)
    alpha = -abs(r) / abs(s)
    exact = zero - 2 * alpha * r + alpha**2 * s
    assert (alpha, exact) == (Fraction(-4, 3), Fraction(66, 100))
    path = np.array([[float(v)] for v in (zero, one, two)])
    assert abs(speed.extrapolate(*path)[0] - 0.66) < 1e-14


@pytest.mark.equation("eq-speed-squarem")
@pytest.mark.parametrize("seed", SEEDS)
def test_on_a_linear_map_each_direction_has_its_squared_factor(seed):
    rng = np.random.default_rng(seed)
    rates, basis = rng.uniform(0.1, 0.95, size=3), rng.normal(size=(3, 3))
    slopes = basis @ np.diag(rates) @ np.linalg.inv(basis)
    zero = rng.normal(size=3)
    one, two = slopes @ zero, slopes @ slopes @ zero
    r, s = one - zero, two - 2 * one + zero
    alpha = -np.sqrt(r @ r / (s @ s))
    within = np.linalg.solve(basis, speed.extrapolate(zero, one, two))
    factor = (1 + alpha * (1 - rates)) ** 2
    expected = factor * np.linalg.solve(basis, zero)
    np.testing.assert_allclose(within, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan])
def test_a_leap_from_a_standstill_or_from_infinity_is_not_finite(bad):
    at = np.array([bad, 1.0])
    with np.errstate(invalid="raise", divide="raise"):
        leap = speed.extrapolate(at, at, at)
    assert not np.isfinite(leap).any()


@pytest.mark.equation("eq-speed-guard")
@BOTH
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_never_falls(seed, k, learn):
    x, begin, _ = random_coins(seed, k=k)
    model = coins.Model(learn_weights=learn)
    steps = islice(squarem(model, x, begin), 60)
    bounds = np.array([step.bound for step in steps])
    # Bounds are of the order 100 and sums of 40 terms: rounding 1e-13.
    assert np.diff(bounds).min() > -1e-11


@pytest.mark.many_turns
@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_it_ends_where_the_plain_loop_ends(seed, learn):
    x, begin, _ = random_coins(seed, n=60)
    model = coins.Model(learn_weights=learn)
    one = nth(em(model, x, begin), 1000).params
    other = nth(squarem(model, x, begin), 200).params
    assert apart(one, other) < 1e-9


def test_an_optimiser_finds_the_same_end():
    def minus(free):
        weight, *means = expit(free)
        p = binom.pmf(TABLE[:, :1], 10, np.array(means))
        return -np.log(p @ np.array([weight, 1 - weight])).sum()

    best = minimize(minus, [0.0, 1.0, 0.0], method="BFGS", tol=1e-8)
    params = nth(squarem(FREE, TABLE, START), 40).params
    found = logit(np.hstack([params.weights[0], params.means]))
    # BFGS with numerical slopes along a flat direction.
    np.testing.assert_allclose(found, best.x, rtol=0, atol=1e-3)
    assert minus(found) <= best.fun + 1e-12


def test_a_turn_of_a_step_counts_its_maps():
    model = Metered(FREE)
    for step in islice(squarem(model, TABLE, START), 8):
        assert model.calls["maximise"] == step.turn
        # Kept so far, every leap: as many E-steps as three turns have.
        assert model.calls["e_step"] == step.turn
    assert step.turn == 21


def test_fewer_maps_to_the_same_distance():
    end = nth(squarem(FREE, TABLE, START), 40).params

    def maps(loop):
        return next(
            step.turn
            for step in loop(FREE, TABLE, START)
            if apart(step.params, end) < 1e-9
        )

    assert maps(squarem) < 30 < 80 < maps(em)


def nonsense(value):
    return lambda zero, one, two: np.full_like(zero, value)


@pytest.mark.equation("eq-speed-guard")
@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 30.0, -900.0])
def test_a_refused_leap_leaves_two_plain_turns(monkeypatch, value, learn):
    model = Metered(coins.Model(learn_weights=learn))
    monkeypatch.setattr(speed, "extrapolate", nonsense(value))
    steps = list(islice(squarem(model, TABLE, START), 6))
    plain = list(islice(em(model.model, TABLE, START), 11))
    assert [step.turn for step in steps] == [0, 2, 4, 6, 8, 10]
    for step in steps:
        assert apart(step.params, plain[step.turn].params) == 0


@pytest.mark.equation("eq-speed-guard")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_leap_is_kept_exactly_where_it_is_no_lower_than_one_turn(seed):
    x, begin, rng = random_coins(seed)
    goal, kept = FREE.pack(nth(em(FREE, x, begin), 20).params), 0
    for _ in range(20):
        step = Step(0, begin, FREE, x, None)
        one = next_turn(step)
        size = rng.choice([1e-3, 3.0])
        vector = goal + size * rng.normal(size=4)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "extrapolate", lambda *_, v=vector: v)
            later = speed.cycle(step)
        leap = Step(2, FREE.unpack(vector, begin), FREE, x, None)
        good = leap.bound >= one.bound
        expected = next_turn(leap) if good else next_turn(one)
        assert later.turn == (3 if good else 2)
        assert apart(later.params, expected.params) == 0
        assert later.bound >= one.bound - 1e-12
        kept += good
    assert 0 < kept < 20


def test_a_leap_at_which_the_model_fails_is_refused(monkeypatch):
    class Fragile(coins.Model):
        def e_step(self, x, params):
            if params.means.max() > 0.99:
                raise FloatingPointError("too wild")
            return super().e_step(x, params)

    monkeypatch.setattr(speed, "extrapolate", nonsense(9.0))
    steps = list(islice(squarem(Fragile(), TABLE, START), 3))
    assert [step.turn for step in steps] == [0, 2, 4]


@BOTH
def test_a_fixed_point_stays(learn):
    model = coins.Model(learn_weights=learn)
    same = coins.Params(FAIR, np.array([0.66, 0.66]))
    steps = list(islice(squarem(model, TABLE, same), 5))
    assert max(apart(step.params, same) for step in steps) < 1e-14


@BOTH
def test_a_chance_at_its_limit_stays_there_with_plain_turns(learn):
    x = np.array([[5, 0], [3, 0], [2, 3], [1, 4], [4, 1]])
    begin = coins.Params(FAIR, np.array([1.0, 0.5]))
    model = coins.Model(learn_weights=learn)
    steps = list(islice(squarem(model, x, begin), 5))
    plain = list(islice(em(model, x, begin), 9))
    assert [step.turn for step in steps] == [0, 2, 4, 6, 8]
    for step in steps:
        assert apart(step.params, plain[step.turn].params) == 0
        assert step.params.means[0] == 1


def test_an_end_at_the_limit_is_reached():
    rows = np.array([[2, 0], [0, 2]])
    begin = coins.Params(FAIR, np.array([0.75, 0.25]))
    last = nth(squarem(FIXED, rows, begin), 10)
    np.testing.assert_allclose(last.params.means, [1, 0], atol=1e-12)
    np.testing.assert_allclose(last.bound, 2 * np.log(0.5), rtol=1e-12)


def test_squarem_takes_responsibilities_and_multiplicity():
    resp = FREE.e_step(TABLE, START).resp
    times = np.array([2.0, 0.0, 1.0, 3.0, 1.0])
    first = next(squarem(FREE, TABLE, resp))
    assert first.turn == 1
    short = squarem(FREE, TABLE, START, times)
    long = squarem(FREE, np.repeat(TABLE, times.astype(int), axis=0), START)
    for one, other in islice(zip(short, long, strict=True), 5):
        assert one.turn == other.turn
        assert apart(one.params, other.params) < 1e-9


class Cautious(coins.Model):
    """Coins with a pseudo-heads and b pseudo-tails each."""

    a, b = 1.5, 0.5

    def maximise(self, statistics, previous=None):
        none = np.zeros_like(statistics.heads)
        extra = coins.Statistics(none, none + self.a, none + self.b)
        return super().maximise(statistics + extra, previous)


@pytest.mark.equation("eq-speed-map")
@pytest.mark.parametrize("seed", SEEDS)
def test_pseudo_counts_maximise_q_plus_log_prior(seed):
    x, begin, _ = random_coins(seed)
    resp = FIXED.e_step(x, begin).resp
    heads, tails = x.T @ resp
    found = Cautious().maximise(FIXED.summarise(x, Labels(resp))).means
    a, b = Cautious.a, Cautious.b
    np.testing.assert_allclose(
        found, (heads + a) / (heads + a + tails + b), rtol=1e-14
    )
    for k in range(2):

        def minus(theta, k=k):
            each = resp[:, k] * binom.logpmf(x[:, 0], 20, theta)
            return -(each.sum() + beta.logpdf(theta, a + 1, b + 1))

        # At the top the slope vanishes; curvature is of the order 1e3.
        slope = (minus(found[k] + 1e-6) - minus(found[k] - 1e-6)) / 2e-6
        assert abs(slope) < 1e-4
        assert minus(found[k]) < minus(found[k] + 0.01)
        assert minus(found[k]) < minus(found[k] - 0.01)


@pytest.mark.equation("eq-speed-map")
@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_log_evidence_plus_log_prior_rises(seed, learn):
    x, begin, _ = random_coins(seed, n=6)
    model = Cautious(learn_weights=learn)
    goals = np.array(
        [
            step.bound
            + beta.logpdf(step.params.means, model.a + 1, model.b + 1).sum()
            for step in islice(em(model, x, begin), 60)
        ]
    )
    assert np.diff(goals).min() > -1e-12


class Own(Exception):  # noqa: N818
    """What a model may raise, and nobody has heard of."""


@pytest.mark.equation("eq-speed-guard")
@pytest.mark.parametrize("fault", [ValueError, OverflowError, Own])
@pytest.mark.parametrize("where", ["pack", "unpack", "e_step", "log_prior"])
def test_whatever_a_leap_raises_two_plain_turns_stand(where, fault):
    class Fragile(coins.Model):
        """It fails at parameters that no turn has led to, and in `pack`."""

        def unpack(self, vector, like):
            if where == "unpack":
                raise fault("no such vector")
            params = super().unpack(vector, like)
            return params._replace(means=params.means.astype(np.longdouble))

        def pack(self, params):
            if where == "pack":
                raise fault("no vector")
            return super().pack(params)

        def e_step(self, x, params):
            self.leapt("e_step", params)
            return super().e_step(x, params)

        def log_prior(self, params):
            self.leapt("log_prior", params)
            return 0.0

        def leapt(self, name, params):
            if where == name and params.means.dtype == np.longdouble:
                raise fault("where no turn has led")

    config.update("jaxtyping_disable", True)  # long doubles are marks here
    steps = list(islice(squarem(Fragile(), TABLE, START), 4))
    config.update("jaxtyping_disable", False)
    plain = list(islice(em(FREE, TABLE, START), 7))
    assert [step.turn for step in steps] == [0, 2, 4, 6]
    for step in steps:
        assert apart(step.params, plain[step.turn].params) == 0


@pytest.mark.parametrize("fault", [ValueError, FloatingPointError, Own])
@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("where", ["e_step", "summarise", "maximise"])
def test_what_a_plain_turn_raises_reaches_the_caller(where, turn, fault):
    calls = Counter()

    class Fails(coins.Model):
        def __getattribute__(self, name):
            if name == where:
                calls[name] += 1
                if calls[name] >= turn:
                    raise fault("in a plain turn")
            return super().__getattribute__(name)

        def pack(self, params):
            raise ValueError("every leap is refused")

    steps = islice(squarem(Fails(), TABLE, START), 4)
    with pytest.raises(fault, match="in a plain turn"):
        sum(step.objective for step in steps)


def small_blobs(seed):
    """Return a few points of two overlapping blobs, and a start."""
    rng = np.random.default_rng(seed)
    d, n = 1 + seed % 2, 8 + seed % 7
    x = rng.normal(size=(n, d)) + rng.choice([0.0, 2.0], size=(n, 1))
    return x, Labels(rng.dirichlet(np.ones(2), size=n)), d


@pytest.mark.many_turns
@pytest.mark.equation("eq-speed-guard")
@pytest.mark.parametrize("firm", [None, 0.0, 2.0])
def test_of_many_small_fits_none_ends_unnamed_and_none_falls(firm):
    config.update("jaxtyping_disable", True)  # they cost more than a turn
    ends = Counter()
    for seed in range(150 if firm is None else 75):
        x, start, d = small_blobs(seed)
        prior = None if firm is None else gaussians.Prior(firm, np.eye(d))
        model, heights = gaussians.Model(prior=prior), []
        try:
            for step in islice(squarem(model, x, start), 12):
                heights.append(step.objective)
            ends["reached"] += 1
        except FloatingPointError as error:  # a Collapse is one of them
            ends["named" if "component" in str(error) else "other"] += 1
        # Sums of a dozen terms; near a collapse some of them are large.
        size = 1 + np.abs(heights).max(initial=0)
        assert np.diff(heights).min(initial=0) > -1e-9 * size
    config.update("jaxtyping_disable", False)
    assert ends["reached"] > 50
    assert not ends["other"]
    assert firm is None or ends["named"] == 0


def test_a_leap_from_a_limit_is_not_even_tried():
    calls = Counter()

    class Watched(coins.Model):
        def unpack(self, vector, like):
            calls["unpack"] += 1
            return super().unpack(vector, like)

    # A coin that always shows heads stays so; its log odds are infinite.
    x = np.array([[3, 0], [1, 2], [2, 1]])
    start = coins.Params(np.full(2, 0.5), np.array([1.0, 0.5]))
    steps = list(islice(squarem(Watched(), x, start), 5))
    assert [step.turn for step in steps] == [0, 2, 4, 6, 8]
    assert not calls
