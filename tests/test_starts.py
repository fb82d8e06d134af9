"""Starts: what they draw, and what they do with awkward data."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kstest

from emlib import coins, em, fit, starts

SEEDS = range(5)


@pytest.mark.equation("eq-speed-uniform")
@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 3), (0, 2)])
def test_uniform_shares_are_one_over_k(n, k):
    resp = starts.uniform(n, k)
    assert resp.shape == (n, k)
    assert (resp == 1 / k).all()


@pytest.mark.equation("eq-speed-uniform")
@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_shares_are_stuck(seed):
    rng = np.random.default_rng(seed)
    heads = rng.integers(0, 11, size=8)
    x = np.stack([heads, 10 - heads], axis=1)
    result = fit(coins.Model(), x, starts.uniform(8, 3))
    np.testing.assert_allclose(
        result.params.means, heads.sum() / 80, rtol=1e-13
    )


@pytest.mark.equation("eq-speed-random")
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_shares_are_even_on_the_simplex(seed, k):
    resp = starts.random(2000, k, np.random.default_rng(seed))
    assert resp.shape == (2000, k)
    assert (resp >= 0).all()
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-13)
    if k > 1:
        # Evenly on the simplex, one share is Beta(1, k - 1).
        assert kstest(resp[:, 0], "beta", (1, k - 1)).pvalue > 1e-4
        again = starts.random(2000, k, np.random.default_rng(seed))
        assert (again == resp).all()


def test_with_many_rows_random_components_begin_almost_equal():
    rng = np.random.default_rng(20)
    spreads = []
    for n in (20, 20_000):
        heads = rng.binomial(10, rng.choice([0.2, 0.8], size=n))
        x = np.stack([heads, 10 - heads], axis=1)
        begin = starts.random(n, 3, rng)
        spreads.append(
            np.ptp(next(em(coins.Model(), x, begin)).params.means)
        )
    assert spreads[1] < spreads[0] / 5


def chances(x, k, times):
    """Return the probability of each ordered choice of k rows."""
    out = {}
    for order in permutations(range(len(x)), k):
        p = times[order[0]] / sum(times)
        for place in range(1, k):
            near = [
                min(((x[n] - x[s]) ** 2).sum() for s in order[:place])
                for n in range(len(x))
            ]
            weight = [c * d for c, d in zip(times, near, strict=True)]
            p *= weight[order[place]] / sum(weight)
        out[order] = p
    return out


@pytest.mark.equation("eq-speed-spread")
@pytest.mark.parametrize("times", [None, [1.0, 0.0, 2.0, 0.5]])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_seeds_come_as_often_as_brute_force_says(k, times):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], [0.0, 4.0]])
    rng, many = np.random.default_rng(20), 4000
    counts = None if times is None else np.array(times)
    drawn = {}
    for _ in range(many):
        found = starts.seeds(x, k, rng, counts)
        order = tuple(int((x == s).all(axis=1).argmax()) for s in found)
        drawn[order] = drawn.get(order, 0) + 1
    exact = chances(x, k, times or [1.0] * 4)
    assert abs(sum(exact.values()) - 1) < 1e-12
    assert set(drawn) <= {order for order, p in exact.items() if p > 0}
    for order, p in exact.items():
        # Five standard errors of a frequency, over at most 24 orders.
        error = np.sqrt(p * (1 - p) / many)
        assert abs(drawn.get(order, 0) / many - p) <= 5 * error


@pytest.mark.equation("eq-speed-spread")
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_are_rows_that_count(seed):
    rng = np.random.default_rng(seed)
    x, times = rng.normal(size=(30, 3)), rng.integers(0, 3, size=30)
    found = starts.seeds(x, 5, rng, times.astype(float))
    assert found.shape == (5, 3)
    rows = [int((x == s).all(axis=1).argmax()) for s in found]
    assert (x[rows] == found).all()
    assert (times[rows] > 0).all()
    assert len(set(rows)) == 5


@pytest.mark.parametrize("k", [3, 7])
@pytest.mark.parametrize("times", [None, [2.0, 1.0, 1.0, 1.0]])
def test_more_seeds_than_different_rows(k, times):
    x = np.array([[1, 2], [1, 2], [3, 4], [3, 4]])
    counts = None if times is None else np.array(times)
    found = starts.seeds(x, k, np.random.default_rng(20), counts)
    assert found.shape == (k, 2)
    assert {tuple(row) for row in found.tolist()} == {(1, 2), (3, 4)}


def test_the_only_row_apart_does_not_count():
    x, times = np.array([[0.0], [0.0], [9.0]]), np.array([1.0, 1.0, 0.0])
    found = starts.seeds(x, 3, np.random.default_rng(20), times)
    assert (found == 0).all()


@pytest.mark.equation("eq-speed-nearest")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_row_goes_to_its_nearest_centre(seed):
    rng = np.random.default_rng(seed)
    x, centres = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    resp = starts.spread(x, centres)
    for row, shares in zip(x, resp, strict=True):
        far = [np.linalg.norm(row - centre) for centre in centres]
        assert shares[np.argmin(far)] == 1
        assert shares.sum() == 1
        assert set(shares) <= {0.0, 1.0}


@pytest.mark.equation("eq-speed-nearest")
def test_ties_go_to_the_lowest_index():
    x = np.array([[0, 0], [2, 0], [1, 0]])
    centres = np.array([[2, 0], [0, 0], [2, 0]])
    expected = [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert (starts.spread(x, centres) == expected).all()


def test_blocks_of_a_spread_start_are_those_of_the_whole():
    rng = np.random.default_rng(20)
    x = rng.normal(size=(9, 2))
    centres = starts.seeds(x, 3, rng)
    parts = [
        starts.spread(x[cut : cut + 2], centres) for cut in range(0, 9, 2)
    ]
    assert (np.vstack(parts) == starts.spread(x, centres)).all()


def test_ten_rows_have_two_ends_and_the_printed_sum_ranks_them_wrongly():
    heads = np.array([6, 8, 8, 0, 3, 8, 9, 3, 1, 8])
    x = np.stack([heads, 10 - heads], axis=1)
    model = coins.Model(learn_weights=False, count_orders=False)
    rng, ends = np.random.default_rng(20), {}
    for _ in range(30):
        run = fit(model, x, starts.random(10, 3, rng), tol=1e-12)
        resp, theta = model.e_step(x, run.params).resp, run.params.means
        logs = np.log(theta) * x[:, :1] + np.log(1 - theta) * x[:, 1:]
        ends[round(run.history[-1], 4)] = float((resp * logs).sum())
    assert set(ends) == {-56.6910, -57.7214}
    assert ends[-57.7214] > ends[-56.6910]
