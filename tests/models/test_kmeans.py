"""emlib/kmeans.py and its chapter: fractions, brute force, scikit-learn."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.cluster import KMeans

from emlib import bound, datasets, em, fit, kmeans
from emlib.loop import Labels, next_turn

SEEDS = range(5)
MODEL = kmeans.Model()


def cloud(seed, n=40, d=3, k=4):
    """Return points, and as many centres as `k`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * 3 + rng.normal(size=d)
    return x, kmeans.Params(x[rng.choice(n, k, replace=False)])


def sides(z, k):
    return np.eye(k)[z]


def inertia(x, z, means):
    """Add up the squares, point by point."""
    return sum(
        float((point - means[k]) @ (point - means[k]))
        for point, k in zip(x, z, strict=True)
    )


def least(x, z, k):
    """Return the least inertia that labels allow."""
    groups = [x[z == j] for j in range(k) if (z == j).any()]
    return sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups)


def fractions(seed, n=9, d=2):
    """Return points with coordinates that are exact fractions."""
    rng = np.random.default_rng(seed)
    tops = rng.integers(-20, 20, size=(n, d))
    bottoms = rng.integers(1, 9, size=(n, d))
    return [
        [Fraction(int(a), int(b)) for a, b in zip(*row, strict=True)]
        for row in zip(tops, bottoms, strict=True)
    ]


def apart(a, b):
    """Return the squared distance of two exact points."""
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))


@pytest.mark.equation("eq-kmeans-joint")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_is_a_gaussians_of_variance_one(seed):
    x, params = cloud(seed)
    densities = norm.logpdf(x[:, None], params.means).sum(axis=2)
    constant = 3 * np.log(2 * np.pi) / 2
    # Squares of some hundreds are rounded to 1e-13.
    np.testing.assert_allclose(
        MODEL.log_joint(x, params), densities + constant, rtol=0, atol=1e-12
    )


@pytest.mark.equation("eq-kmeans-e")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_point_takes_its_nearest_centre(seed):
    x, params = cloud(seed)
    distances = cdist(x, params.means)  # (n, k)
    resp, evidence = MODEL.e_step(x, params)
    assert (resp == sides(distances.argmin(axis=1), 4)).all()
    np.testing.assert_allclose(
        evidence, -(distances.min(axis=1) ** 2) / 2, rtol=1e-12, atol=1e-14
    )


@pytest.mark.equation("eq-kmeans-e")
def test_a_tie_goes_to_the_lowest_index():
    x = np.array([[0.0, 0.0], [3.0, 0.0]])
    ring = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    resp, evidence = MODEL.e_step(x, kmeans.Params(ring))
    assert resp[0].tolist() == [0, 1, 0, 0]
    assert evidence[0] == -0.5
    same = kmeans.Params(np.zeros((3, 2)))
    assert (MODEL.e_step(x, same).resp == [1, 0, 0]).all()


@pytest.mark.equation("eq-kmeans-objective")
@pytest.mark.equation("eq-kmeans-bound")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_is_minus_half_the_inertia(seed):
    x, params = cloud(seed)
    for step in islice(em(MODEL, x, params), 4):
        z = cdist(x, step.params.means).argmin(axis=1)
        squares = inertia(x, z, step.params.means)
        # Sums of 40 terms: rounding is below 40 times 1e-16, relatively.
        assert step.bound == pytest.approx(-squares / 2, rel=1e-14)
        joint = MODEL.log_joint(x, step.params)
        assert bound.bound(joint, step.resp) == pytest.approx(
            step.bound, rel=1e-14
        )
        assert (bound.entropy(step.resp) == 0).all()


@pytest.mark.equation("eq-kmeans-split")
@pytest.mark.parametrize("seed", SEEDS)
def test_squares_about_a_place_split_exactly(seed):
    x, n = fractions(seed), 9
    mean = [sum(column) / n for column in zip(*x, strict=True)]
    (place,) = fractions(seed + 100, n=1)
    about = sum(apart(point, place) for point in x)
    assert about == sum(apart(p, mean) for p in x) + n * apart(mean, place)


@pytest.mark.equation("eq-kmeans-m")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_mean_has_the_least_squares(seed):
    x, params = cloud(seed)
    z = np.random.default_rng(seed).integers(4, size=len(x))
    means = MODEL.maximise(
        MODEL.summarise(x, Labels(sides(z, 4))), params
    ).means
    for k, mean in enumerate(means):
        mine = x[z == k]
        np.testing.assert_allclose(
            mean, mine.mean(axis=0), rtol=1e-13, atol=1e-13
        )
        found = minimize(
            lambda c, mine=mine: ((mine - c) ** 2).sum(), np.zeros(3)
        )
        # The optimiser stops at slopes of 1e-5.
        np.testing.assert_allclose(mean, found.x, rtol=0, atol=1e-5)


@pytest.mark.equation("eq-kmeans-m")
@pytest.mark.parametrize("seed", SEEDS)
def test_one_turn_is_scikit_learns(seed):
    x, params = cloud(seed)
    theirs = KMeans(4, init=params.means, n_init=1, max_iter=1, tol=0)
    theirs.fit(x)
    ours = next_turn(next(em(MODEL, x, params)))
    # Both centre the points and divide their sums: some bits are lost.
    np.testing.assert_allclose(
        ours.params.means, theirs.cluster_centers_, rtol=1e-12, atol=1e-13
    )
    assert (ours.resp.argmax(axis=1) == theirs.labels_).all()
    assert -2 * ours.bound == pytest.approx(theirs.inertia_, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fit_of_iris_ends_where_scikit_learns_does(seed):
    x = datasets.iris().x
    rng = np.random.default_rng(seed)
    start = kmeans.Params(x[rng.choice(150, 3, replace=False)])
    theirs = KMeans(3, init=start.means, n_init=1, max_iter=1000, tol=0.0)
    theirs.fit(x)
    ours = fit(MODEL, x, start, tol=0.0)
    assert ours.converged
    np.testing.assert_allclose(
        ours.params.means, theirs.cluster_centers_, rtol=1e-12
    )
    assert -2 * ours.history[-1] == pytest.approx(theirs.inertia_)


@pytest.mark.equation("eq-kmeans-statistics")
@pytest.mark.parametrize("seed", SEEDS)
def test_statistics_are_sums_over_the_points(seed):
    x, _ = cloud(seed)
    rng = np.random.default_rng(seed)
    resp = rng.dirichlet(np.ones(4), size=len(x))
    often, origin = rng.integers(1, 4, size=len(x)), rng.normal(size=3)
    found = MODEL.summarise(x, Labels(resp), often, origin)
    counts, sums = np.zeros(4), np.zeros((4, 3))
    for n, k in product(range(len(x)), range(4)):
        counts[k] += often[n] * resp[n, k]
        sums[k] += often[n] * resp[n, k] * (x[n] - origin)
    assert (found.origin == origin).all()
    np.testing.assert_allclose(found.counts, counts, rtol=1e-13)
    np.testing.assert_allclose(found.sums, sums, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-kmeans-shift")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_of_the_origin_is_exact(seed):
    rng = np.random.default_rng(seed)
    # Quarters add, subtract and multiply without rounding.
    x = rng.integers(-40, 40, size=(12, 2)) / 4
    here, there = rng.integers(-40, 40, size=(2, 2)) / 4
    resp = sides(rng.integers(3, size=12), 3)
    one = MODEL.summarise(x[:5], Labels(resp[:5]), origin=here)
    other = MODEL.summarise(x[5:], Labels(resp[5:]), origin=there)
    both = MODEL.summarise(x, Labels(resp), origin=here)
    total = one + other
    assert (total.origin == here).all()
    assert (total.counts == both.counts).all()
    assert (total.sums == both.sums).all()
    assert sum([one]) is one


def test_statistics_add_to_statistics_only():
    one = MODEL.summarise(np.ones((2, 1)), Labels(np.ones((2, 1))))
    with pytest.raises(TypeError):
        one + 1
    with pytest.raises(TypeError):
        1 + one


@pytest.mark.parametrize("seed", SEEDS)
def test_far_from_zero_the_means_keep_their_digits(seed):
    x, params = cloud(seed)
    far = x + 2.0**30  # so that the shift loses digits of x, once
    near = far - 2.0**30
    z = cdist(near, params.means).argmin(axis=1)
    resp = sides(z, 4)
    blocks = MODEL.summarise(far[:9], Labels(resp[:9]))
    blocks = blocks + MODEL.summarise(far[9:], Labels(resp[9:]))
    means = MODEL.maximise(blocks).means - 2.0**30
    right = [near[z == k].mean(axis=0) for k in range(4)]
    # A number near 1e9 is stored to within 1.2e-7.
    np.testing.assert_allclose(means, right, rtol=0, atol=2.5e-7)


@pytest.mark.equation("eq-kmeans-monotone")
@pytest.mark.parametrize("seed", range(20))
def test_neither_half_of_a_turn_raises_the_inertia(seed):
    x, params = cloud(seed, n=60, d=2, k=5)
    last = fit(MODEL, x, params, tol=0.0)
    assert last.converged
    steps = list(islice(em(MODEL, x, params), last.turns + 1))
    labels = [cdist(x, s.params.means).argmin(axis=1) for s in steps]
    # While centres move, no labelling comes back; the last one is made,
    # moves no centre in the next turn, and is made once more.
    assert len({z.tobytes() for z in labels}) == len(labels) - 2
    for t in range(last.turns):
        before = inertia(x, labels[t], steps[t].params.means)
        means = steps[t + 1].params.means
        between = inertia(x, labels[t], means)
        after = inertia(x, labels[t + 1], means)
        slack = 1e-13 * before  # rounding of sixty squares
        assert after <= between + slack
        assert between <= before + slack
        assert (between < before) == (t < last.turns - 1)
    assert (labels[-1] == labels[-3]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_run_beats_the_best_of_all_labellings(seed):
    x, _ = cloud(seed, n=7, d=2)
    every = [np.array(z) for z in product(range(2), repeat=7)]
    values = np.array([least(x, z, 2) for z in every])
    ends = []
    for first, second in product(range(7), repeat=2):
        start = kmeans.Params(x[[first, second]])
        end = fit(MODEL, x, start, tol=0.0)
        z = MODEL.e_step(x, end.params).resp.argmax(axis=1)
        ends.append(-2 * end.history[-1])
        assert ends[-1] == pytest.approx(least(x, z, 2), rel=1e-12)
    assert min(ends) == pytest.approx(values.min(), rel=1e-12)


def test_six_shops_and_two_depots():
    shops = np.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    start = kmeans.Params(np.array([[0.0], [1.0]]))
    result = fit(MODEL, shops, start, tol=0.0)
    assert result.history == (-97.5, -17, -2, -2)
    assert (result.params.means == [[1], [9]]).all()
    assert result.turns == 3


def test_an_empty_cluster_keeps_its_centre():
    x = np.array([[0.0], [1.0], [2.0]])
    start = kmeans.Params(np.array([[0.0], [50.0]]))
    result = fit(MODEL, x, start, tol=0.0)
    assert (result.params.means == [[1], [50]]).all()
    assert result.converged


def test_an_empty_cluster_without_a_centre_is_named():
    x = np.array([[0.0], [1.0]])
    with pytest.raises(FloatingPointError, match="cluster 1 has none"):
        MODEL.maximise(MODEL.summarise(x, Labels(sides([0, 0], 3))))


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_a_point_twice_is_having_it_twice(seed):
    x, params = cloud(seed)
    often = np.random.default_rng(seed).integers(0, 3, size=len(x))
    counted = fit(MODEL, x, params, often, tol=0.0)
    repeated = fit(MODEL, np.repeat(x, often, axis=0), params, tol=0.0)
    np.testing.assert_allclose(
        counted.params.means, repeated.params.means, rtol=1e-12, atol=1e-13
    )
