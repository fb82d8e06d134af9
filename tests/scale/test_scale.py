"""Blocks: the same numbers as the whole, however it is cut."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from emlib import coins, em, fit, gaussians, one_pass, scale, squarem, sweep
from emlib.loop import Labels
from emlib.scale import InBlocks, blocks

SEEDS = range(2)


def random_rows(seed, n=37):
    rng = np.random.default_rng(seed)
    heads = rng.binomial(12, rng.choice([0.25, 0.7], size=n))
    x = np.stack([heads, 12 - heads], axis=1)
    begin = coins.Params(np.array([0.4, 0.6]), np.array([0.4, 0.6]))
    return x, begin, rng.uniform(0, 3, size=n)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("size", [1, 5, 36, 37, 38, 16_384])
def test_blocks_are_views_in_order_that_miss_no_row(size, counted):
    x, _, times = random_rows(0)
    cuts = blocks(x, times if counted else None, size)
    assert len(cuts) == -(-len(x) // size)
    assert (np.vstack([part for part, _ in cuts]) == x).all()
    assert all(len(part) == size for part, _ in cuts[:-1])
    assert all(np.shares_memory(part, x) for part, _ in cuts)
    if counted:
        assert (np.hstack([part for _, part in cuts]) == times).all()
    else:
        assert all(part is None for _, part in cuts)


def test_no_rows_make_no_blocks():
    assert blocks(np.zeros((0, 2))) == []


@pytest.mark.many_turns
@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("size", [1, 4, 36, 37, 100])
@pytest.mark.parametrize("loop", [em, squarem])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_blocked_loop_is_the_loop(seed, loop, size, counted, learn):
    x, begin, times = random_rows(seed)
    multiplicity = times if counted else None
    model = one_pass.coins.Model(learn_weights=learn)
    whole = loop(model, x, begin, multiplicity)
    parts = loop(InBlocks(model), blocks(x, multiplicity, size), begin)
    before = -np.inf
    for one, other in islice(zip(whole, parts, strict=True), 6):
        if one.bound - before < 1e-8:
            break  # at the end the guard compares rounding errors
        before = one.bound
        assert one.turn == other.turn
        # Sums in another order: rounding only, a little blown up by leaps.
        np.testing.assert_allclose(other.bound, one.bound, rtol=1e-12)
        for a, b in zip(one.params, other.params, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-8)


@pytest.mark.parametrize("size", [5, 100])
def test_a_blocked_fit_is_the_fit(size):
    x, begin, times = random_rows(20)
    one = fit(one_pass.coins.Model(), x, begin, times)
    other = fit(
        InBlocks(one_pass.coins.Model()), blocks(x, times, size), begin
    )
    assert other.turns == one.turns
    np.testing.assert_allclose(other.history, one.history, rtol=1e-12)


def test_the_e_step_keeps_no_responsibilities():
    x, begin, _ = random_rows(0)
    model = InBlocks(one_pass.coins.Model())
    posterior = model.e_step(blocks(x, size=5), begin)
    assert isinstance(posterior.statistics, coins.Statistics)
    assert posterior.log_evidence.shape == (1,)
    assert model.summarise(None, posterior) is posterior.statistics


def test_a_blocked_model_packs_as_its_model_does():
    _, begin, _ = random_rows(0)
    model, blocked = (
        one_pass.coins.Model(),
        InBlocks(one_pass.coins.Model()),
    )
    vector = blocked.pack(begin)
    assert (vector == model.pack(begin)).all()
    for a, b in zip(blocked.unpack(vector, begin), begin, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_blocks_of_a_model_in_two_steps_are_the_loop_too():
    x, begin, times = random_rows(4)
    one = fit(coins.Model(), x, begin, times, max_turns=20)
    parts = blocks(x, times, 5)
    other = fit(InBlocks(coins.Model()), parts, begin, max_turns=20)
    np.testing.assert_allclose(other.history, one.history, rtol=1e-12)


@pytest.mark.parametrize("loop", [em, squarem])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_blocked_model_has_the_prior_of_its_model(seed, loop):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 2)) + rng.choice([0.0, 3.0], size=(40, 1))
    prior = gaussians.Prior(5.0, np.eye(2))
    model = gaussians.Model(prior=prior)
    resp = rng.dirichlet(np.ones(2), size=40)  # (n, k)
    begin = next(em(model, x, Labels(resp))).params
    whole = loop(model, x, begin)
    parts = loop(InBlocks(model), blocks(x, size=9), begin)
    for one, other in islice(zip(whole, parts, strict=True), 5):
        assert one.objective == one.bound + model.log_prior(one.params)
        assert other.objective == pytest.approx(one.objective, rel=1e-11)
        assert other.objective != other.bound
    assert InBlocks(coins.Model()).log_prior(None) == 0.0


def test_rows_are_swept_block_by_block(monkeypatch):
    monkeypatch.setattr(scale.budget, "BLOCK_ROWS", 7)
    x, begin, times = random_rows(1)
    rows = scale.Rows(x, times)
    assert [len(block.x) for block in rows] == [8, 8, 8, 8, 5]
    found, bound = sweep(coins.Model(), rows, begin)
    whole, total = sweep(coins.Model(), blocks(x, times, len(x)), begin)
    np.testing.assert_allclose(found.heads, whole.heads, rtol=1e-13)
    assert bound == pytest.approx(total, rel=1e-13)


def test_a_loop_over_blocks_wants_parameters_to_start_from():
    x, _, _ = random_rows(0)
    resp = np.full((len(x), 2), 0.5)
    with pytest.raises(TypeError, match=r"start from parameters.*Labels"):
        next(em(InBlocks(coins.Model()), blocks(x, size=5), Labels(resp)))
