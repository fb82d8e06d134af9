"""The laws of EM, over every model of the package and several seeds."""

from __future__ import annotations

import numpy as np
import pytest

from emlib import check, coins, fit, laws

SEEDS = range(6)
MODELS = {
    "coins": coins.Model(),
    "coins, weights held": coins.Model(learn_weights=False),
    "coins, orders not counted": coins.Model(count_orders=False),
}


def case(name, seed, n=20, k=3):
    """Return rows that differ in their tosses, and a start."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 30, size=(n, 2))  # (n, 2)
    weights = rng.dirichlet(5 * np.ones(k))  # (k,)
    start = coins.Params(weights, rng.uniform(0.1, 0.9, size=k))
    return MODELS[name], x, start, rng


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MODELS)
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


@pytest.mark.parametrize("name", ["coins", "coins, weights held"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_rate_is_the_share_of_missing_information(name, seed):
    rng = np.random.default_rng(seed)
    truth = coins.Params(np.array([0.4, 0.6]), np.array([0.25, 0.7]))
    x, _ = coins.Model().sample(truth, 40, rng, tosses=12)
    at = laws.Case(MODELS[name], x, truth, rng)
    # Second differences, step 1e-4, of a sum near 100: 1e-14 * 100 / 1e-8.
    assert laws.rate(at) < 1e-4


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
        def summarise(self, x, resp, multiplicity=None, origin=None):
            if multiplicity is not None:
                raise TypeError("no multiplicity here")
            return super().summarise(x, resp)

    _, x, start, rng = case("coins", 0)
    with pytest.raises(AssertionError, match=r"weigh: .* measured nan"):
        check(NoMultiplicity(), x, start, rng)


def test_the_same_seed_measures_the_same():
    model, x, start, _ = case("coins", 3)
    assert check(model, x, start) == check(model, x, start)
