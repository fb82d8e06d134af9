"""The equations of the chapter on Jensen's inequality."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import entropy as divergence

from emlib.bound import bound, entropy, gap

SEEDS = range(5)
# Each concave function with its derivative, on the positive numbers.
CONCAVE = {
    "log": (np.log, lambda x: 1 / x),
    "root": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "entropy": (lambda x: -x * np.log(x), lambda x: -np.log(x) - 1),
    "line": (lambda x: 3 * x - 1, lambda x: 3 + 0 * x),
}
# The two sides are sums of a few numbers below 1e4: rounding is < 1e-11.
ROUNDING = 1e-11


@pytest.mark.equation("eq-jensen-concave")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CONCAVE)
def test_no_chord_rises_above_a_concave_curve(name, seed):
    rng = np.random.default_rng(seed)
    f, _ = CONCAVE[name]
    x, y = np.exp(rng.normal(scale=2, size=(2, 1000)))
    w = rng.uniform(size=1000)
    curve, chord = f(w * x + (1 - w) * y), w * f(x) + (1 - w) * f(y)
    assert (curve >= chord - ROUNDING).all()
    if name == "line":
        np.testing.assert_allclose(curve, chord, rtol=0, atol=ROUNDING)
    else:  # strictly concave: chords with ends apart lie clearly below
        apart = (abs(x - y) > 0.1) & (abs(w - 0.5) < 0.4)
        assert (curve > chord)[apart].all()


def test_the_same_chords_of_a_convex_function_lie_above():
    rng = np.random.default_rng(20)
    x, y, w = rng.uniform(size=(3, 1000))
    curve = (w * x + (1 - w) * y) ** 2
    assert (curve <= w * x**2 + (1 - w) * y**2 + ROUNDING).all()


@pytest.mark.equation("eq-jensen-tangent")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CONCAVE)
def test_no_point_of_a_concave_curve_lies_above_a_tangent(name, seed):
    rng = np.random.default_rng(seed)
    f, slope = CONCAVE[name]
    m, x = np.exp(rng.normal(scale=1.5, size=(2, 1000)))
    step = 1e-6 * m  # a central difference is good to about 1e-9 here
    difference = (f(m + step) - f(m - step)) / (2 * step)
    np.testing.assert_allclose(slope(m), difference, rtol=1e-6, atol=1e-6)
    assert (f(x) <= f(m) + slope(m) * (x - m) + ROUNDING).all()


@pytest.mark.equation("eq-jensen-inequality")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CONCAVE)
def test_the_mean_of_the_curve_is_below_the_curve_at_the_mean(name, seed):
    rng = np.random.default_rng(seed)
    f, _ = CONCAVE[name]
    for values in range(1, 8):
        x = np.exp(rng.normal(scale=2, size=values))
        p = rng.dirichlet(np.ones(values))
        assert p @ f(x) <= f(p @ x) + ROUNDING


@pytest.mark.equation("eq-jensen-inequality")
def test_the_inequality_holds_in_exact_arithmetic_for_the_logarithm():
    # mean of logs <= log of mean is product of x^p <= sum of p x; for
    # p = 1/4 each, the fourth powers of both sides are fractions.
    rng = np.random.default_rng(20)
    for _ in range(100):
        x = [Fraction(int(i), 7) for i in rng.integers(1, 50, size=4)]
        product, mean = x[0] * x[1] * x[2] * x[3], sum(x) / 4
        assert product <= mean**4
        assert (product == mean**4) == (len(set(x)) == 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_equality_holds_exactly_where_nothing_varies(seed):
    rng = np.random.default_rng(seed)
    c, p = np.exp(rng.normal()), rng.dirichlet(np.ones(4))
    never = np.array([c, c, c, 1e3 * c])  # the last has probability 0
    sure = np.append(rng.dirichlet(np.ones(3)), 0.0)
    for x, q in [(np.full(4, c), p), (never, sure)]:
        loss = np.log(q @ x) - q @ np.log(x)
        assert abs(loss) < 1e-14  # a few roundings of numbers near 1
    # A spread of d costs d^2/8 to second order: 1.25e-7 here, far more
    # than the rounding.
    loss = np.log(c) - np.log([c * (1 - 5e-4), c * (1 + 5e-4)]).mean()
    assert loss == pytest.approx(1.25e-7, rel=1e-3)


@pytest.mark.equation("eq-jensen-entropy")
@pytest.mark.parametrize("seed", SEEDS)
def test_entropy_is_minus_the_mean_log_probability(seed):
    rng = np.random.default_rng(seed)
    resp = rng.dirichlet(np.ones(5), size=20)
    by_loops = [-sum(r * np.log(r) for r in row) for row in resp]
    np.testing.assert_allclose(entropy(resp), by_loops, rtol=1e-13)
    np.testing.assert_allclose(
        entropy(resp), divergence(resp, axis=1), rtol=1e-13
    )


@pytest.mark.equation("eq-jensen-entropy")
def test_entropy_is_zero_if_sure_and_log_k_if_all_labels_are_alike():
    assert (entropy(np.eye(4)) == 0).all()
    alike = np.full((1, 4), 0.25)
    np.testing.assert_allclose(entropy(alike), np.log(4), rtol=1e-15)
    small = np.array([[1e-300, 1.0]])  # 0 log 0 is a limit, not a gap
    assert 0 <= entropy(small)[0] < 1e-297


@pytest.mark.equation("eq-jensen-bound")
@pytest.mark.parametrize("seed", SEEDS)
def test_bound_is_the_expected_log_joint_and_the_entropy(seed):
    rng = np.random.default_rng(seed)
    joint = rng.uniform(size=(6, 3))
    resp = rng.dirichlet(np.ones(3), size=6)
    by_loops = sum(
        resp[n, k] * np.log(joint[n, k] / resp[n, k])
        for n in range(6)
        for k in range(3)
    )
    # Sums of 18 terms below 10: rounding is below 1e-13.
    assert bound(np.log(joint), resp) == pytest.approx(by_loops, abs=1e-12)
    assert by_loops < np.log(joint.sum(axis=1)).sum()


@pytest.mark.equation("eq-jensen-gap")
@pytest.mark.parametrize("seed", SEEDS)
def test_gap_is_the_divergence_and_what_the_bound_lacks(seed):
    rng = np.random.default_rng(seed)
    log_joint = rng.normal(scale=3, size=(6, 3))
    resp = rng.dirichlet(np.ones(3), size=6)
    posterior = softmax(log_joint, axis=1)
    evidence = logsumexp(log_joint, axis=1).sum()
    lacking = evidence - bound(log_joint, resp)
    by_scipy = divergence(resp, posterior, axis=1).sum()
    # Sums of 18 terms below 100: rounding is below 1e-12.
    assert gap(log_joint, resp) == pytest.approx(by_scipy, abs=1e-11)
    assert lacking == pytest.approx(by_scipy, abs=1e-11)
    assert abs(gap(log_joint, posterior)) < 1e-13


def test_the_numbers_of_the_page():
    log_joint = np.log([[0.1, 0.3]])
    guess = np.array([[0.5, 0.5]])
    assert gap(log_joint, guess) == pytest.approx(np.log(4 / 3) / 2)
    assert bound(log_joint, guess) == pytest.approx(np.log(0.12) / 2)
    ignoring = np.array([[0.0, 1.0]])
    assert bound(log_joint, ignoring) == pytest.approx(np.log(0.3))
