"""The equations and numbers of the chapter on why the loop climbs."""

from __future__ import annotations

from itertools import islice, pairwise, product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax
from scipy.stats import binom
from scipy.stats import entropy as divergence

from emlib import coins, datasets, em
from emlib.bound import bound, entropy, gap
from emlib.loop import Labels
from emlib.speed import jacobian

SEEDS = range(5)
FAIR = np.array([0.5, 0.5])
FIVE = datasets.unlabelled_coins().x
MODEL = coins.Model(learn_weights=False)
# Sums of some tens of numbers below 1e3: rounding is below 1e-11.
ROUNDING = 1e-11
# shared facts: theta_A, theta_B, log evidence, bound before the E-step.
PATH = [
    (0.600000, 0.500000, -11.320586576, None),
    (0.713012, 0.581339, -10.085982004, -10.223948301),
    (0.745292, 0.569256, -9.949840136, -10.011528419),
    (0.768099, 0.549536, -9.854551418, -9.894958666),
    (0.783165, 0.534617, -9.811670899, -9.827111088),
    (0.791055, 0.526281, -9.799781697, -9.803546527),
    (0.794533, 0.522390, -9.797401780, -9.798102904),
    (0.795929, 0.520730, -9.796999167, -9.797114007),
    (0.796466, 0.520047, -9.796935771, -9.796953634),
    (0.796668, 0.519770, -9.796926043, -9.796928774),
    (0.796744, 0.519659, -9.796924560, -9.796924976),
]


def tables(seed, n=6, k=3):
    """Return a log joint and responsibilities, both random."""
    rng = np.random.default_rng(seed)
    log_joint = rng.normal(scale=4, size=(n, k))
    return log_joint, rng.dirichlet(np.ones(k), size=n)


def problem(seed):
    """Return rows of tosses and a start, weights included, at random."""
    rng = np.random.default_rng(seed)
    tosses = rng.integers(1, 12, size=6)
    heads = rng.binomial(tosses, rng.uniform(size=6))
    x = np.stack([heads, tosses - heads], axis=1)
    means = rng.uniform(0.05, 0.95, size=3)
    return x, coins.Params(rng.dirichlet(np.full(3, 5.0)), means)


def by_scipy(x, params):
    """Return the joint probabilities, by SciPy's binomial distribution."""
    tosses = x.sum(axis=1, keepdims=True)
    return params.weights * binom.pmf(x[:, :1], tosses, params.means)


def evidence(x, params):
    return np.log(by_scipy(x, params).sum(axis=1)).sum()


@pytest.mark.equation("eq-bound-split")
@pytest.mark.parametrize("seed", SEEDS)
def test_bound_and_divergence_add_up_to_the_log_evidence(seed):
    log_joint, resp = tables(seed)
    posterior = softmax(log_joint, axis=1)
    apart = divergence(resp, posterior, axis=1).sum()
    total = logsumexp(log_joint, axis=1).sum()
    assert bound(log_joint, resp) + apart == pytest.approx(
        total, abs=ROUNDING
    )
    assert gap(log_joint, resp) == pytest.approx(apart, abs=ROUNDING)
    assert apart > 0
    assert divergence(posterior, posterior, axis=1).sum() == 0


@pytest.mark.equation("eq-bound-e")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_responsibilities_do_better_than_the_posterior(seed):
    log_joint, _ = tables(seed, n=2)
    found = minimize(
        lambda v: -bound(log_joint, softmax(v.reshape(2, 3), axis=1)),
        np.zeros(6),
        jac="3-point",
        tol=1e-8,
    )
    total = logsumexp(log_joint, axis=1).sum()
    # SciPy's slopes are differences to both sides, good to 1e-9 or so.
    assert -found.fun == pytest.approx(total, abs=1e-6)
    assert -found.fun <= total + ROUNDING
    np.testing.assert_allclose(
        softmax(found.x.reshape(2, 3), axis=1),
        softmax(log_joint, axis=1),
        rtol=0,
        atol=1e-3,
    )


@pytest.mark.equation("eq-bound-m")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_m_step_is_where_the_bound_peaks(seed):
    x, params = problem(seed)
    resp = np.random.default_rng(seed).dirichlet(np.ones(3), size=len(x))

    def at(vector):
        return coins.Params(softmax(vector[3:]), expit(vector[:3]))

    def expected(vector):
        return (resp * np.log(by_scipy(x, at(vector)))).sum()

    model = coins.Model()
    found = minimize(lambda v: -expected(v), np.zeros(6))
    best = model.maximise(model.summarise(x, Labels(resp)), previous=params)
    # SciPy stops at slopes of 1e-5: near a peak of bend about 1, that is
    # 1e-5 in the place and its square in the height.
    np.testing.assert_allclose(at(found.x).means, best.means, atol=1e-4)
    np.testing.assert_allclose(at(found.x).weights, best.weights, atol=1e-4)
    # What the bound has beside the expected log joint does not move.
    rest = entropy(resp).sum()
    for vector in (np.zeros(6), found.x):
        whole = bound(model.log_joint(x, at(vector)), resp)
        assert whole - expected(vector) == pytest.approx(rest, abs=1e-10)


@pytest.mark.many_turns
@pytest.mark.equation("eq-bound-monotone")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_turn_lowers_the_log_evidence(seed):
    x, start = problem(seed)
    for old, new in pairwise(islice(em(coins.Model(), x, start), 6)):
        brute = [
            by_scipy(x, s.params)[np.arange(6), labels].prod()
            for s in (old, new)
            for labels in product(range(3), repeat=6)
        ]
        before, after = np.log(np.reshape(brute, (2, -1)).sum(axis=1))
        joint = np.log(by_scipy(x, new.params))
        between = bound(joint, old.resp)
        assert after >= between - ROUNDING
        assert between >= before - ROUNDING
        touch = bound(np.log(by_scipy(x, old.params)), old.resp)
        assert touch == pytest.approx(before, abs=ROUNDING)


@pytest.mark.equation("eq-bound-monotone")
@pytest.mark.parametrize("seed", SEEDS)
def test_any_parameters_that_lift_the_bound_lift_the_evidence(seed):
    rng = np.random.default_rng(seed)
    x, start = problem(seed)
    old = next(em(coins.Model(), x, start))
    lifted = 0
    for _ in range(300):
        means = np.clip(
            start.means + rng.normal(scale=0.1, size=3), 0.01, 0.99
        )
        tried = coins.Params(start.weights, means)
        rise = bound(np.log(by_scipy(x, tried)), old.resp) - old.bound
        if rise >= 0:
            lifted += 1
            assert evidence(x, tried) >= old.bound + rise - ROUNDING
    assert lifted > 10


@pytest.mark.equation("eq-bound-gain")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_gain_is_the_rise_and_the_new_gap(seed):
    x, start = problem(seed)
    _, other = problem(seed + 100)
    r, p = (
        (j := by_scipy(x, params)) / j.sum(axis=1, keepdims=True)
        for params in (start, other)
    )
    rise = (r * np.log(by_scipy(x, other) / by_scipy(x, start))).sum()
    opened = divergence(r, p, axis=1).sum()
    gain = evidence(x, other) - evidence(x, start)
    assert rise + opened == pytest.approx(gain, abs=ROUNDING)
    joint = np.log(by_scipy(x, other))
    start_joint = np.log(by_scipy(x, start))
    assert bound(joint, r) - bound(start_joint, r) == pytest.approx(
        rise, abs=ROUNDING
    )
    assert gap(joint, r) == pytest.approx(opened, abs=ROUNDING)


@pytest.mark.equation("eq-bound-fisher")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_has_the_slope_of_the_evidence_where_it_touches(seed):
    x, params = problem(seed)
    joint = by_scipy(x, params)
    resp = joint / joint.sum(axis=1, keepdims=True)

    def slopes(function):
        return [
            (function(params.means + e) - function(params.means - e)) / 2e-6
            for e in 1e-6 * np.eye(3)
        ]

    whole = slopes(lambda m: evidence(x, params._replace(means=m)))
    expected = slopes(
        lambda m: (
            resp * np.log(by_scipy(x, params._replace(means=m)))
        ).sum()
    )
    # Central differences: rounding 1e-14 over 1e-6, times values near 100.
    np.testing.assert_allclose(whole, expected, rtol=1e-6, atol=1e-5)
    credit = coins.Model().summarise(x, Labels(resp))
    by_credit = credit.heads / params.means - credit.tails / (
        1 - params.means
    )
    np.testing.assert_allclose(whole, by_credit, rtol=1e-6, atol=1e-5)


def test_the_table_of_three_quantities():
    start = coins.Params(FAIR, np.array([0.6, 0.5]))
    steps = list(islice(em(MODEL, FIVE, start), 11))
    for step, (a, b, true, _) in zip(steps, PATH, strict=True):
        np.testing.assert_allclose(
            step.params.means, [a, b], rtol=0, atol=6e-7
        )
        assert step.bound == pytest.approx(true, abs=6e-10)
    for (old, new), line in zip(pairwise(steps), PATH[1:], strict=True):
        stale = bound(MODEL.log_joint(FIVE, new.params), old.resp)
        assert stale == pytest.approx(line[3], abs=6e-10)


def test_what_programs_print_falls_while_the_evidence_rises():
    start = coins.Params(FAIR, np.array([0.458, 0.817]))
    old, new = islice(em(MODEL, FIVE, start), 2)
    printed = [
        (s.resp * coins.log_tosses(FIVE, s.params.means)).sum()
        for s in (old, new)
    ]
    np.testing.assert_allclose(
        printed, [-29.560655, -29.730872], rtol=0, atol=6e-7
    )
    np.testing.assert_allclose(
        [old.bound, new.bound], [-9.935952, -9.812185], rtol=0, atol=6e-7
    )


def test_equal_coins_go_to_a_saddle_in_one_turn():
    for p in np.linspace(0.001, 0.999, 20):
        start = coins.Params(FAIR, np.array([p, p]))
        for step in islice(em(MODEL, FIVE, start), 1, 4):
            np.testing.assert_allclose(step.params.means, 0.66, rtol=1e-14)

    def height(means):
        return np.array([evidence(FIVE, coins.Params(FAIR, means))])

    saddle = np.array([0.66, 0.66])
    bend = jacobian(lambda m: jacobian(height, m, 1e-4)[0], saddle, 1e-4)
    # Second differences: rounding 1e-14 over 1e-8, and 1e-8 of the fourth.
    np.testing.assert_allclose(
        np.linalg.eigvalsh(bend), [-111.408, 59.378], rtol=0, atol=0.01
    )
