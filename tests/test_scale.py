"""Blocks: the same numbers as the whole, however it is cut."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from emlib import coins, em, fit, squarem
from emlib.scale import Blocked, blocks

SEEDS = range(3)


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


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("size", [1, 4, 36, 37, 100])
@pytest.mark.parametrize("loop", [em, squarem])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_blocked_loop_is_the_loop(seed, loop, size, counted, learn):
    x, begin, times = random_rows(seed)
    multiplicity = times if counted else None
    model = coins.Model(learn_weights=learn)
    whole = loop(model, x, begin, multiplicity)
    parts = loop(Blocked(model), blocks(x, multiplicity, size), begin)
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
    one = fit(coins.Model(), x, begin, times)
    other = fit(Blocked(coins.Model()), blocks(x, times, size), begin)
    assert other.turns == one.turns
    np.testing.assert_allclose(other.history, one.history, rtol=1e-12)


def test_the_e_step_keeps_no_responsibilities():
    x, begin, _ = random_rows(0)
    model = Blocked(coins.Model())
    posterior = model.e_step(blocks(x, size=5), begin)
    assert isinstance(posterior.resp, coins.Statistics)
    assert posterior.log_evidence.shape == (1,)
    assert model.summarise(None, posterior.resp) is posterior.resp


def test_a_blocked_model_packs_as_its_model_does():
    _, begin, _ = random_rows(0)
    model, blocked = coins.Model(), Blocked(coins.Model())
    vector = blocked.pack(begin)
    assert (vector == model.pack(begin)).all()
    for a, b in zip(blocked.unpack(vector, begin), begin, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
