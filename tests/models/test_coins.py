"""Mixtures of binomials against brute force, SciPy, published runs."""

from __future__ import annotations

from itertools import islice, product
from math import comb, log

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from emlib import bound, coins, datasets, em, fit
from emlib.loop import Labels

SEEDS = range(5)
FAIR = np.array([0.5, 0.5])


def random_case(seed, n=6, k=3):
    """Return rows that differ in their tosses, and random parameters."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 30, size=(n, 2))  # (n, 2)
    weights = rng.dirichlet(np.ones(k))  # (k,)
    return x, coins.Params(weights, rng.uniform(0.05, 0.95, size=k)), rng


def close(got, wanted, atol):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=atol)


def random_resp(rng, n=6, k=3):
    return rng.dirichlet(np.ones(k), size=n)  # (n, k)


def assignments(x, params):
    """Yield every labelling z of the rows with its probability p(x, z)."""
    k = len(params.weights)
    for z in product(range(k), repeat=len(x)):
        z = np.array(z)
        heads = binom.pmf(x[:, 0], x.sum(axis=1), params.means[z])  # (n,)
        yield z, np.prod(params.weights[z] * heads)


@pytest.mark.equation("eq-coins-story")
@pytest.mark.parametrize("seed", SEEDS)
def test_samples_follow_the_story(seed):
    params = coins.Params(np.array([0.3, 0.7]), np.array([0.2, 0.6]))
    rng = np.random.default_rng(seed)
    n = 20_000
    x, z = coins.Model().sample(params, n, rng, tosses=8)
    assert (x.sum(axis=1) == 8).all()
    # Twenty exact tests: a right sampler fails in under 2e-6 of all seeds.
    for k in range(2):
        rows = x[z == k, 0]
        found = binomtest(len(rows), n, params.weights[k])
        assert found.pvalue > 1e-7
        for heads in range(9):
            chance = binom.pmf(heads, 8, params.means[k])
            times = int((rows == heads).sum())
            assert binomtest(times, len(rows), chance).pvalue > 1e-7


@pytest.mark.equation("eq-coins-joint")
@pytest.mark.parametrize("seed", SEEDS)
def test_log_joint_is_scipys(seed):
    x, params, _ = random_case(seed)
    tosses = x.sum(axis=1, keepdims=True)  # (n, 1)
    scipys = binom.logpmf(x[:, :1], tosses, params.means)  # (n, k)
    scipys = scipys + np.log(params.weights)  # (n, k)
    joint = coins.Model().log_joint(x, params)
    # Both subtract log factorials of some tens of nats: 1e-13 of them.
    np.testing.assert_allclose(joint, scipys, rtol=1e-12)


@pytest.mark.equation("eq-coins-evidence")
@pytest.mark.parametrize("seed", SEEDS)
def test_evidence_is_the_sum_over_all_labellings(seed):
    x, params, _ = random_case(seed)
    total = sum(p for _, p in assignments(x, params))
    evidence = coins.Model().e_step(x, params).log_evidence.sum()
    # Six logarithms and 729 products, each right to about 1e-15.
    assert evidence == pytest.approx(np.log(total), rel=1e-12)


@pytest.mark.equation("eq-coins-e")
@pytest.mark.parametrize("seed", SEEDS)
def test_responsibilities_are_the_posterior_of_all_labellings(seed):
    x, params, _ = random_case(seed)
    brute, total = np.zeros((6, 3)), 0.0
    for z, p in assignments(x, params):
        brute[np.arange(6), z] += p
        total += p
    resp = coins.Model().e_step(x, params).resp
    # Differences of log factorials below 200 are right to about 1e-13.
    close(resp, brute / total, 1e-12)


@pytest.mark.equation("eq-coins-q")
@pytest.mark.parametrize("seed", SEEDS)
def test_q_is_the_expectation_of_the_log_joint(seed):
    x, params, rng = random_case(seed, n=4)
    resp = random_resp(rng, n=4)
    brute = 0.0
    for z, p in assignments(x, params):
        brute += np.prod(resp[np.arange(4), z]) * np.log(p)
    q = (resp * coins.Model().log_joint(x, params)).sum()
    # Products of four: 81 terms of one sign, each right to about 1e-13.
    assert q == pytest.approx(brute, rel=1e-11)


@pytest.mark.equation("eq-coins-statistics")
@pytest.mark.parametrize("seed", SEEDS)
def test_statistics_are_sums_of_credited_rows(seed):
    x, _, rng = random_case(seed)
    resp = random_resp(rng)
    statistics = coins.Model().summarise(x, Labels(resp))
    for k in range(3):
        rows = [(resp[n, k], x[n]) for n in range(6)]
        heads = sum(r * heads for r, (heads, _) in rows)
        tails = sum(r * tails for r, (_, tails) in rows)
        counts = sum(r for r, _ in rows)
        # Six terms of one sign: a few roundings of 1e-16.
        assert statistics.counts[k] == pytest.approx(counts, rel=1e-14)
        assert statistics.heads[k] == pytest.approx(heads, rel=1e-14)
        assert statistics.tails[k] == pytest.approx(tails, rel=1e-14)


def q_of(x, resp, params):
    return (resp * coins.Model().log_joint(x, params)).sum()


@pytest.mark.equation("eq-coins-theta")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_chances_have_a_higher_q(seed):
    x, _, rng = random_case(seed)
    resp = random_resp(rng)
    best = coins.Model().maximise(coins.Model().summarise(x, Labels(resp)))
    for nudge in 1e-5 * np.eye(3):
        up = q_of(x, resp, best._replace(means=best.means + nudge))
        down = q_of(x, resp, best._replace(means=best.means - nudge))
        # The cube of the step and rounding leave about 1e-8; the slope
        # turns by 100 and more a unit, so the peak is right to 1e-8.
        assert abs(up - down) / 2e-5 < 1e-6
    for means in rng.uniform(0.01, 0.99, size=(200, 3)):
        other = best._replace(means=means)
        assert q_of(x, resp, other) <= q_of(x, resp, best)


@pytest.mark.equation("eq-coins-pi")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_weights_have_a_higher_q(seed):
    x, _, rng = random_case(seed)
    resp = random_resp(rng)
    best = coins.Model().maximise(coins.Model().summarise(x, Labels(resp)))
    assert best.weights.sum() == pytest.approx(1.0, rel=1e-15, abs=0)
    # Along the constraint: what one weight gains the next one loses.
    for nudge in 1e-6 * (np.eye(3) - np.roll(np.eye(3), 1, axis=1)):
        up = q_of(x, resp, best._replace(weights=best.weights + nudge))
        down = q_of(x, resp, best._replace(weights=best.weights - nudge))
        # Rounding of Q, some 1e-14, over the step, and the step's cube.
        assert abs(up - down) / 2e-6 < 1e-6
    for weights in rng.dirichlet(np.ones(3), size=200):
        other = best._replace(weights=weights)
        assert q_of(x, resp, other) <= q_of(x, resp, best)


@pytest.mark.equation("eq-coins-constant")
@pytest.mark.parametrize("seed", SEEDS)
def test_coefficients_count_once_a_row_whatever_the_shares(seed):
    x, params, rng = random_case(seed)
    tosses = x.sum(axis=1, keepdims=True)  # (n, 1)
    resp = random_resp(rng)
    with_them = binom.logpmf(x[:, :1], tosses, params.means)  # (n, k)
    without = x @ np.log([params.means, 1 - params.means])  # (n, k)
    difference = (resp * (with_them - without)).sum()
    orders = [comb(int(h + t), int(h)) for h, t in x]
    # A difference of terms of some hundreds of nats: 1e-13 of them.
    constant = sum(log(number) for number in orders)
    assert difference == pytest.approx(constant, rel=1e-12)
    assert coins.log_choose(x).sum() == pytest.approx(constant, rel=1e-12)


def test_the_constant_of_the_table_is_the_published_one():
    constant = coins.log_choose(datasets.unlabelled_coins().x).sum()
    assert constant == pytest.approx(21.773275943775, rel=0, abs=5e-13)


@pytest.mark.equation("eq-coins-riddle")
@pytest.mark.parametrize("seed", SEEDS)
def test_evidence_is_printed_sum_plus_weights_plus_entropy(seed):
    x, params, _ = random_case(seed)
    resp, log_evidence = coins.Model().e_step(x, params)
    tosses = x.sum(axis=1, keepdims=True)  # (n, 1)
    printed = (resp * binom.logpmf(x[:, :1], tosses, params.means)).sum()
    weights = (resp * np.log(params.weights)).sum()
    entropy = bound.entropy(resp).sum()
    # Terms below 1000 nats, each right to about 1e-15 of itself.
    assert printed + weights + entropy == pytest.approx(
        log_evidence.sum(), rel=1e-12
    )


def published_run(learn_weights, turns):
    """Return the step after so many turns; the bound stops sooner."""
    x = datasets.unlabelled_coins().x
    start = coins.Params(FAIR, np.array([0.6, 0.5]))
    loop = em(coins.Model(learn_weights=learn_weights), x, start)
    return next(islice(loop, turns, None))


# theta and log evidence of turns 0 to 10, computed in 40-digit arithmetic.
TURNS = """
0.600000 0.500000 -11.320586576   0.713012 0.581339 -10.085982004
0.745292 0.569256 -9.949840136    0.768099 0.549536 -9.854551418
0.783165 0.534617 -9.811670899    0.791055 0.526281 -9.799781697
0.794533 0.522390 -9.797401780    0.795929 0.520730 -9.796999167
0.796466 0.520047 -9.796935771    0.796668 0.519770 -9.796926043
0.796744 0.519659 -9.796924560
"""


def test_every_turn_is_the_published_one():
    table = np.array(TURNS.split(), dtype=float).reshape(11, 3)
    x = datasets.unlabelled_coins().x
    start = coins.Params(FAIR, np.array([0.6, 0.5]))
    loop = em(coins.Model(learn_weights=False), x, start)
    for row, step in zip(table, loop, strict=False):
        close(step.params.means, row[:2], 5e-7)
        assert step.bound == pytest.approx(row[2], rel=0, abs=5e-10)


def test_the_fixed_point_is_right_to_twelve_digits():
    result = published_run(learn_weights=False, turns=60)
    wanted = [0.796789066922646911, 0.519583120145135056]
    close(result.params.means, wanted, 1e-14)
    assert result.bound == pytest.approx(-9.7969242922216, rel=0, abs=1e-12)
    assert (result.params.weights == FAIR).all()


def test_free_weights_give_flexmixs_answer():
    result = published_run(learn_weights=True, turns=400)
    wanted = [0.793367649613, 0.513916591214]
    close(result.params.means, wanted, 1e-11)
    wanted = [0.522751316897, 0.477248683103]
    close(result.params.weights, wanted, 1e-11)
    assert result.bound == pytest.approx(-9.795418956198, rel=0, abs=1e-11)


@pytest.mark.parametrize("learn_weights", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_never_falls(seed, learn_weights):
    x, params, _ = random_case(seed, n=20)
    model = coins.Model(learn_weights)
    history = fit(model, x, params, tol=0.0, max_turns=60).history
    # A sum of 20 terms of some tens of nats is right to about 1e-13.
    assert (np.diff(history) > -1e-11).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_coins_and_rows_have_no_order(seed):
    x, params, rng = random_case(seed)
    coin, row = rng.permutation(3), rng.permutation(6)
    shuffled = coins.Params(params.weights[coin], params.means[coin])
    one = fit(coins.Model(), x, params, tol=0.0, max_turns=5)
    other = fit(coins.Model(), x[row], shuffled, tol=0.0, max_turns=5)
    np.testing.assert_allclose(
        one.params.means[coin], other.params.means, rtol=1e-10
    )
    np.testing.assert_allclose(one.history, other.history, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_multiplicity_is_repetition(seed):
    x, params, _ = random_case(seed)
    times = np.array([0, 1, 2, 3, 1, 1])  # (n,)
    short = fit(coins.Model(), x, params, times, tol=0.0, max_turns=5)
    long = fit(
        coins.Model(),
        np.repeat(x, times, axis=0),
        params,
        tol=0.0,
        max_turns=5,
    )
    np.testing.assert_allclose(
        short.params.means, long.params.means, rtol=1e-12
    )
    np.testing.assert_allclose(short.history, long.history, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_statistics_of_two_blocks_add(seed):
    x, _, rng = random_case(seed)
    resp, model = random_resp(rng), coins.Model()
    whole = model.summarise(x, Labels(resp))
    parts = sum(
        model.summarise(x[b], Labels(resp[b]))
        for b in ([0, 1], [2, 3, 4, 5])
    )
    for field in ("counts", "heads", "tails"):
        np.testing.assert_allclose(
            getattr(parts, field), getattr(whole, field), rtol=1e-14
        )


def test_statistics_start_at_nothing_and_refuse_what_is_not_theirs():
    x, _, rng = random_case(0)
    statistics = coins.Model().summarise(x, Labels(random_resp(rng)))
    assert 0 + statistics is statistics
    for other in (1, 0.0, None, (1, 2, 3)):
        with pytest.raises(TypeError):
            statistics + other
        with pytest.raises(TypeError):
            other + statistics


def test_kept_weights_are_the_previous_ones_or_uniform():
    x, params, rng = random_case(1)
    model = coins.Model(learn_weights=False)
    statistics = model.summarise(x, Labels(random_resp(rng)))
    kept = model.maximise(statistics, previous=params)
    np.testing.assert_array_equal(kept.weights, params.weights)
    uniform = model.maximise(statistics)
    np.testing.assert_allclose(uniform.weights, 1 / 3, rtol=1e-15)


def test_certain_coins_explain_what_they_allow():
    x = np.array([[10, 0], [0, 10], [10, 0]])
    params = coins.Params(FAIR, np.array([1.0, 0.0]))
    posterior = coins.Model().e_step(x, params)
    np.testing.assert_array_equal(posterior.resp, [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_allclose(
        posterior.log_evidence, np.log(0.5), rtol=1e-15
    )


def test_a_row_that_no_coin_allows_is_named():
    x = np.array([[10, 0], [9, 1]])
    params = coins.Params(FAIR, np.array([1.0, 0.0]))
    with pytest.raises(FloatingPointError, match="row 1"):
        coins.Model().e_step(x, params)


def test_a_coin_without_credit_is_named():
    x = np.array([[9, 1], [8, 2]])
    start = coins.Params(FAIR, np.array([0.5, 1.0]))
    with pytest.raises(FloatingPointError, match="coin 1"):
        fit(coins.Model(), x, start)


def test_ten_thousand_tosses_a_row_do_not_underflow():
    x = np.array([[3000, 7000], [9000, 1000]])
    start = coins.Params(FAIR, np.array([0.4, 0.6]))
    result = fit(coins.Model(learn_weights=False), x, start, tol=0.0)
    np.testing.assert_allclose(result.params.means, [0.3, 0.9], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_counts_of_any_type_give_the_same_answer(dtype):
    x = np.array([[250, 5], [5, 250], [255, 255]])
    params = coins.Params(FAIR, np.array([0.4, 0.7]))
    wanted = coins.Model().log_joint(x.astype(float), params)
    got = coins.Model().log_joint(x.astype(dtype), params)
    np.testing.assert_allclose(got, wanted, rtol=1e-14)
