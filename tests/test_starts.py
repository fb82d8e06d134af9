"""Starts: what they draw, and what they do with awkward data."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kstest

from emlib import coins, em, fit, gaussians, kmeans, starts
from emlib.loop import Step, next_turn

SEEDS = range(5)
TYPES = ["full", "tied", "diag", "spherical"]


@pytest.mark.equation("eq-starts-uniform")
@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 3), (0, 2)])
def test_uniform_shares_are_one_over_k(n, k):
    resp = starts.uniform(n, k)
    assert resp.shape == (n, k)
    assert (resp == 1 / k).all()


@pytest.mark.equation("eq-starts-uniform")
@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_shares_are_stuck(seed):
    rng = np.random.default_rng(seed)
    heads = rng.integers(0, 11, size=8)
    x = np.stack([heads, 10 - heads], axis=1)
    result = fit(coins.Model(), x, starts.uniform(8, 3))
    np.testing.assert_allclose(
        result.params.means, heads.sum() / 80, rtol=1e-13
    )


@pytest.mark.equation("eq-starts-uniform")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_gaussians_with_uniform_shares_stay_one_gaussian(seed, kind):
    x = np.random.default_rng(seed).gamma(1.0, size=(40, 3))
    result = fit(gaussians.Model(kind), x, starts.uniform(40, 3))
    # Rounding grows by at most a few times a turn, and few turns are made.
    assert result.turns <= 5
    np.testing.assert_allclose(result.params.weights, 1 / 3, rtol=1e-12)
    for mean, matrix in zip(
        result.params.means, result.params.matrices(), strict=True
    ):
        np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-12)
        whole = np.cov(x.T, bias=True)
        if kind == "full":
            np.testing.assert_allclose(matrix, whole, rtol=1e-9)


@pytest.mark.equation("eq-starts-uniform")
def test_k_means_with_uniform_shares_stays_one_cluster():
    x = np.random.default_rng(20).normal(size=(30, 2))
    result = fit(kmeans.Model(), x, starts.uniform(30, 4), tol=0.0)
    resp = kmeans.Model().e_step(x, result.params).resp
    assert resp[:, 0].all()


@pytest.mark.parametrize("kind", ["coins", *TYPES])
@pytest.mark.parametrize("seed", SEEDS)
def test_components_with_equal_columns_are_twins(seed, kind):
    rng = np.random.default_rng(seed)
    if kind == "coins":
        model, heads = coins.Model(), rng.integers(0, 11, size=30)
        x = np.stack([heads, 10 - heads], axis=1)
    else:
        model, x = gaussians.Model(kind), rng.normal(size=(60, 2))
    resp = starts.random(len(x), 3, rng)[:, [0, 1, 2, 2]] / [1, 1, 2, 2]
    step = next(em(model, x, resp))
    for _ in range(5):
        step = next_turn(step)
    # Equal columns go through the same operations, but for the order in
    # which a product of matrices may add.
    np.testing.assert_allclose(
        step.resp[:, 2], step.resp[:, 3], rtol=1e-9, atol=1e-300
    )


@pytest.mark.equation("eq-starts-random")
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


@pytest.mark.equation("eq-starts-apart")
@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_components_begin_so_far_apart(seed, k):
    rng, n = np.random.default_rng(seed), 4000
    x = rng.gamma(1.0, size=(n, 2)) * [1.0, 5.0] + 30
    squares = []
    for _ in range(60):
        step = next(em(kmeans.Model(), x, starts.random(n, k, rng)))
        one, other = step.params.means[:2]
        squares.append(((one - other) ** 2).sum())
    theory = 2 * k / (k + 1) * np.cov(x.T, bias=True).trace() / n
    # Four standard errors of a mean of 60; the term left out is of the
    # order 1 / n.
    error = np.std(squares) / np.sqrt(60)
    assert abs(np.mean(squares) - theory) < 4 * error
    assert error < 0.25 * theory


@pytest.mark.equation("eq-starts-drift")
@pytest.mark.parametrize("seed", SEEDS)
def test_near_the_mean_components_part_as_their_covariance_allows(seed):
    rng = np.random.default_rng(seed)
    x = rng.gamma(1.0, size=(50, 3)) * [1.0, 3.0, 0.5]
    root = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    sigma, spread = root @ root.T, np.cov(x.T, bias=True)
    delta, model = rng.normal(size=(4, 3)), gaussians.Model()

    def turn(size):
        means = x.mean(axis=0) + size * delta
        equal = np.broadcast_to(sigma, (4, 3, 3))
        params = gaussians.Full(np.full(4, 0.25), means, equal)
        return next_turn(Step(0, params, model, x, None)).params.means

    slopes = (turn(1e-4) - turn(-1e-4)) / 2e-4
    expected = delta @ np.linalg.solve(sigma, spread)
    # The third derivative times the square of the step.
    for k in range(1, 4):
        np.testing.assert_allclose(
            slopes[k] - slopes[0],
            expected[k] - expected[0],
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.equation("eq-starts-drift")
@pytest.mark.parametrize("seed", SEEDS)
def test_tied_components_hardly_part_and_spherical_ones_do(seed):
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [4.0, 3.0]])
    x = rng.normal(size=(3000, 2)) + centres[rng.integers(3, size=3000)]
    resp, grown = starts.random(3000, 3, rng), {}
    for kind in ("tied", "spherical"):
        step = first = next(em(gaussians.Model(kind), x, resp))
        for _ in range(8):
            step = next_turn(step)
        grown[kind] = np.ptp(step.params.means, axis=0).max()
        grown[kind] /= np.ptp(first.params.means, axis=0).max()
    # The square of the distance, 0.01, is what the first order leaves out.
    assert abs(grown["tied"] - 1) < 0.05
    assert grown["spherical"] > 5


@pytest.mark.many_turns
@pytest.mark.equation("eq-starts-picks")
@pytest.mark.parametrize("times", [None, [1.0, 0.0, 2.0, 0.5]])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_picks_come_as_often_as_brute_force_says(k, times):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], [0.0, 4.0]])
    counts, exact = times or [1.0] * 4, {}
    for order in permutations(range(4), k):
        left, p = sum(counts), 1.0
        for row in order:
            p, left = p * counts[row] / left, left - counts[row]
            if p == 0:
                break
        exact[order] = p
    rng, multiplicity = np.random.default_rng(20), np.array(counts)
    given = None if times is None else multiplicity
    agree(x, exact, lambda: starts.picks(x, k, rng, given))


def test_picks_are_refused_where_there_are_too_few():
    x, times = np.zeros((3, 1)), np.array([1.0, 0.0, 2.0])
    rng = np.random.default_rng(20)
    with pytest.raises(ValueError, match="Fewer non-zero"):
        starts.picks(x, 3, rng, times)


def agree(x, exact, draw, many=2000):
    """Check that rows come in each order as often as they should."""
    drawn = {}
    for _ in range(many):
        order = tuple(int((x == s).all(axis=1).argmax()) for s in draw())
        drawn[order] = drawn.get(order, 0) + 1
    assert abs(sum(exact.values()) - 1) < 1e-12
    assert set(drawn) <= {order for order, p in exact.items() if p > 0}
    for order, p in exact.items():
        # Five standard errors of a frequency, over at most 24 orders.
        error = np.sqrt(p * (1 - p) / many)
        assert abs(drawn.get(order, 0) / many - p) <= 5 * error


def chances(x, k, times, tries=1):
    """Return the probability of each ordered choice of k rows."""
    rows, out = range(len(x)), {(): 1.0}

    def nearest(order, n):
        return min((((x[n] - x[s]) ** 2).sum() for s in order), default=1.0)

    for _ in range(k):
        longer = {}
        for order, p in out.items():
            weight = [times[n] * nearest(order, n) for n in rows]
            left = [
                sum(times[m] * nearest((*order, n), m) for m in rows)
                for n in rows
            ]
            for some in product(rows, repeat=tries):
                kept = min(some, key=left.__getitem__)
                chance = np.prod([weight[n] / sum(weight) for n in some])
                new = (*order, kept)
                longer[new] = longer.get(new, 0) + p * chance
        out = longer
    return {order: p for order, p in out.items() if p > 0}


@pytest.mark.many_turns
@pytest.mark.equation("eq-starts-seeds")
@pytest.mark.parametrize("times", [None, [1.0, 0.0, 2.0, 0.5]])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_seeds_come_as_often_as_brute_force_says(k, times):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], [0.0, 4.0]])
    rng = np.random.default_rng(20)
    counts = None if times is None else np.array(times)
    agree(
        x,
        chances(x, k, times or [1.0] * 4),
        lambda: starts.seeds(x, k, rng, counts, candidates=1),
    )


@pytest.mark.many_turns
@pytest.mark.equation("eq-starts-greedy")
@pytest.mark.parametrize("tries", [2, 3])
@pytest.mark.parametrize("times", [None, [1.0, 0.0, 2.0, 0.5]])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_greedy_seeds_come_as_often_as_brute_force_says(k, times, tries):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], [0.0, 4.0]])
    rng = np.random.default_rng(20)
    counts = None if times is None else np.array(times)
    agree(
        x,
        chances(x, k, times or [1.0] * 4, tries),
        lambda: starts.seeds(x, k, rng, counts, candidates=tries),
    )


@pytest.mark.equation("eq-starts-greedy")
@pytest.mark.parametrize(("k", "tries"), [(1, 2), (2, 2), (3, 3), (8, 4)])
def test_two_and_the_logarithm_of_k_candidates(k, tries):
    x = np.random.default_rng(20).normal(size=(40, 2))
    ones, others = (
        starts.seeds(x, k, np.random.default_rng(7), candidates=number)
        for number in (None, tries)
    )
    assert (ones == others).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_expected_inertia_keeps_the_published_bound(seed):
    x = np.random.default_rng(seed).normal(size=(7, 2)) ** 3
    far = starts.squared_distances(x, x)
    for k in (2, 3):
        expected = sum(
            p * far[:, list(order)].min(axis=1).sum()
            for order, p in chances(x, k, [1.0] * 7).items()
        )
        best = min(
            sum(
                x[z == c].var(axis=0).sum() * (z == c).sum() for c in set(z)
            )
            for z in map(np.array, product(range(k), repeat=7))
        )
        assert best <= expected <= 8 * (np.log(k) + 2) * best


def test_greedy_seeds_find_sixteen_groups_more_often():
    rng = np.random.default_rng(20)
    corners = np.array(list(product(range(4), repeat=2)))
    x = np.repeat(corners, 20, axis=0) + 0.15 * rng.normal(size=(320, 2))
    found = {}
    for tries in (1, None):
        runs = [
            starts.spread(x, starts.seeds(x, 16, rng, candidates=tries))
            for _ in range(60)
        ]
        ends = [fit(kmeans.Model(), x, run).history[-1] for run in runs]
        found[tries] = sum(-2 * end < 16 for end in ends)  # 14 at the best
    # Measured over seeds: about 15 and 50 of 60.
    assert found[None] > found[1] + 15


@pytest.mark.equation("eq-starts-seeds")
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


@pytest.mark.equation("eq-starts-nearest")
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


@pytest.mark.equation("eq-starts-nearest")
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


@pytest.mark.equation("eq-starts-nearest")
@pytest.mark.parametrize("seed", SEEDS)
def test_narrow_gaussians_at_the_seeds_spread_the_points_alike(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 2))
    centres = starts.picks(x, 4, rng)
    narrow = np.broadcast_to(1e-9 * np.eye(2), (4, 2, 2))
    params = gaussians.Full(np.full(4, 0.25), centres, narrow)
    resp = gaussians.Model().e_step(x, params).resp
    # A difference of squared distances of 1e-4 makes 5e4 nats.
    assert (resp.round(12) == starts.spread(x, centres)).all()


@pytest.mark.equation("eq-starts-nearest")
@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint8])
def test_distances_are_exact_for_whole_numbers_of_any_type(dtype):
    rng = np.random.default_rng(20)
    x, centres = rng.integers(0, 256, (9, 3)), rng.integers(0, 256, (4, 3))
    found = starts.squared_distances(x.astype(dtype), centres.astype(dtype))
    assert found.dtype == np.float64
    assert (found == ((x[:, None] - centres) ** 2).sum(axis=2)).all()


@pytest.mark.equation("eq-starts-seeds")
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_do_not_mind_where_the_origin_is(seed):
    # Multiples of 1/8, so that nothing is rounded when 2**40 is added.
    x = np.random.default_rng(seed).integers(0, 99, (50, 2)) / 8
    near, far = (
        starts.seeds(x + shift, 6, np.random.default_rng(seed))
        for shift in (0.0, 2.0**40)
    )
    assert (near + 2.0**40 == far).all()
    assert (starts.spread(x, near) == starts.spread(x + 2.0**40, far)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_that_does_not_count_equals_one_that_is_absent(seed):
    rng = np.random.default_rng(seed)
    x, times = rng.normal(size=(20, 2)), np.ones(20)
    x[0], times[0] = 1e6, 0.0
    for way in (starts.picks, starts.seeds):
        with_it = way(x, 4, np.random.default_rng(seed), times)
        without = way(x[1:], 4, np.random.default_rng(seed))
        assert (with_it == without).all()


def test_blocks_of_a_random_start_are_those_of_the_whole():
    whole = starts.random(9, 3, np.random.default_rng(20))
    rng = np.random.default_rng(20)
    parts = [starts.random(n, 3, rng) for n in (2, 4, 3)]
    assert (np.vstack(parts) == whole).all()


@pytest.mark.equation("eq-starts-restarts")
@pytest.mark.parametrize("m", [1, 2, 3])
def test_restarts_succeed_as_often_as_all_tuples_of_starts(m):
    x = np.array([[0.0], [1.0], [10.0], [11.0], [20.0], [21.0]])
    ends = []
    for rows in permutations(range(6), 3):
        begin = kmeans.Params(x[list(rows)])
        end = fit(kmeans.Model(), x, begin, tol=0.0)
        ends.append(-2 * end.history[-1] == 1.5)
    p = Fraction(sum(ends), len(ends))
    assert p == Fraction(4, 5)
    hits = sum(any(tried) for tried in product(ends, repeat=m))
    assert Fraction(hits, len(ends) ** m) == 1 - (1 - p) ** m


@pytest.mark.equation("eq-starts-restarts")
@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.73, 0.98])
def test_so_many_restarts_are_needed(p):
    m = int(np.ceil(np.log(0.01) / np.log(1 - p)))
    assert 1 - (1 - p) ** m >= 0.99 > 1 - (1 - p) ** (m - 1)
