"""Coins in one pass against their two steps."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from emlib import coins, em
from emlib.loop import Labels
from emlib.one_pass.coins import Model, natural_parameters

SEEDS = range(5)
FAIR = np.array([0.5, 0.5])


def random_case(seed, n=6, k=3):
    """Return rows that differ in their tosses, and random parameters."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 30, size=(n, 2))  # (n, 2)
    weights = rng.dirichlet(np.ones(k))  # (k,)
    return x, coins.Params(weights, rng.uniform(0.05, 0.95, size=k)), rng


def close(got, wanted, rtol):
    np.testing.assert_allclose(got, wanted, rtol=rtol)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_of_coins_is_a_product(seed):
    x, params, _ = random_case(seed)
    features = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # (n, 3)
    joint = features @ natural_parameters(params).T  # (n, k)
    model = coins.Model(count_orders=False)
    close(joint, model.log_joint(x, params), rtol=1e-13)


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_coins_have_their_own_one_pass(seed, learned):
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 30, size=(40, 2))
    times = rng.integers(0, 3, size=40).astype(float)
    start = coins.Params(rng.dirichlet(np.ones(3)), rng.uniform(size=3))
    model = Model(learn_weights=learned)
    resp, logs = model.e_step(x, start)
    slow = model.summarise(x, Labels(resp), times)
    quick, total = model.expect(x, start, times)
    for name in ("counts", "heads", "tails"):
        close(getattr(quick, name), getattr(slow, name), rtol=1e-11)
    close(total, times @ logs, rtol=1e-12)


# Coins that always or never fall heads, and coins that nobody draws.
LIMITS = [
    ([0.5, 0.3, 0.2], [0.2, 0.5, 0.8]),
    ([0.5, 0.5, 0.0], [0.3, 0.6, 0.9]),
    ([0.6, 0.2, 0.2], [0.5, 0.0, 1.0]),
    ([0.4, 0.0, 0.6], [1.0, 0.5, 0.5]),
    ([0.4, 0.3, 0.3], [0.5, 0.0, 0.0]),
    ([1.0, 0.0, 0.0], [0.5, 0.0, 1.0]),
    ([0.2, 0.4, 0.4], [0.5, 1e-300, 1e-12]),
    ([0.2, 0.4, 0.4], [0.5, 1 - 1e-16, 1 - 1e-9]),
    ([1.0], [0.5]),
    ([0.1] * 10, np.linspace(0.0, 1.0, 10)),
]


@pytest.mark.parametrize("count_orders", [True, False])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(("weights", "means"), LIMITS)
@pytest.mark.parametrize("seed", range(3))
def test_expected_statistics_is_both_steps(
    seed, weights, means, counted, count_orders
):
    rng = np.random.default_rng(seed)
    params = coins.Params(np.array(weights), np.array(means))
    model = Model(count_orders=count_orders)
    x = rng.integers(0, 30, size=(40, 2))  # (n, 2)
    x[:3] = [[0, 0], [5, 0], [0, 5]]  # what certain coins allow
    times = rng.choice([0.0, 0.5, 1.0, 3.0], 40) if counted else None
    resp, log_evidence = model.e_step(x, params)
    wanted = model.summarise(x, Labels(resp), times)
    got, total = model.expect(x, params, times)
    # Logs below 1e4 are right to 1e-12, and so is what exp makes of them.
    for field in ("counts", "heads", "tails"):
        np.testing.assert_allclose(
            getattr(got, field),
            getattr(wanted, field),
            rtol=1e-11,
            atol=1e-300,
        )
    evidence = (1 if times is None else times) * log_evidence
    assert total == pytest.approx(evidence.sum(), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_expected_statistics_takes_counts_of_any_type(dtype):
    x = np.array([[250, 5], [5, 250], [255, 255]])
    params = coins.Params(FAIR, np.array([0.4, 0.7]))
    one, wanted = Model().expect(x.astype(float), params)
    other, total = Model().expect(x.astype(dtype), params)
    assert total == pytest.approx(wanted, rel=1e-14)
    np.testing.assert_allclose(other.heads, one.heads, rtol=1e-14)


@pytest.mark.parametrize("count_orders", [True, False])
@pytest.mark.parametrize("times", [None, np.array([1.0, 0.5, 1.0])])
def test_one_pass_names_a_row_that_no_coin_allows(times, count_orders):
    x = np.array([[10, 0], [9, 1], [0, 10]])
    params = coins.Params(FAIR, np.array([1.0, 0.0]))
    model = Model(count_orders=count_orders)
    with pytest.raises(FloatingPointError, match="row 1"):
        model.expect(x, params, times)
    # One that counts 0 times is absent.
    times = np.array([1.0, 0.0, 2.0])
    statistics, _ = model.expect(x, params, times)
    np.testing.assert_array_equal(statistics.counts, [1, 2])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loop_of_single_passes_climbs_as_the_loop_does(seed):
    x, params, _ = random_case(seed, n=40)
    model = Model()
    for step in islice(em(model, x, params), 10):
        statistics, total = model.expect(x, params)
        assert total == pytest.approx(step.bound, rel=1e-12)
        # Ten turns of roundings, a little blown up from turn to turn.
        np.testing.assert_allclose(
            params.means, step.params.means, rtol=1e-10
        )
        params = model.maximise(statistics)
