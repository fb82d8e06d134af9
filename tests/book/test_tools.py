"""The equations of book/tools.md, each against something else."""

from fractions import Fraction
from itertools import product
from math import log, log2

import numpy as np
import pytest
from numpy.linalg import norm
from scipy.optimize import minimize
from scipy.special import logsumexp, xlogy
from scipy.stats import binom

from emlib.bound import normalise
from emlib.loop import Labels
from emlib.models.coins import Model

SEEDS = range(5)


def positive(rng, d=3):
    """A symmetric matrix with eigenvalues of about 1."""
    factor = rng.normal(size=(4 * d, d))
    return factor.T @ factor / (4 * d) + 0.2 * np.eye(d)


def symmetric(rng, d=3):
    half = rng.normal(size=(d, d))
    return half + half.T


def change(function, at, direction, step=1e-5):
    """First-order change along a direction: a central difference."""
    ahead, behind = at + step * direction, at - step * direction
    return (function(ahead) - function(behind)) / (2 * step)


def gradient(function, at):
    return np.array([change(function, at, e) for e in np.eye(len(at))])


# Central differences of step 1e-5 are wrong by about 1e-10 times a third
# derivative (truncation) and 1e-16 / 1e-5 (rounding): 1e-6 is ample.
CLOSE = {"rel": 1e-6, "abs": 1e-6}


@pytest.mark.equation("eq-tools-multiplier")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("curved", [False, True])
def test_gradients_are_parallel_at_a_constrained_maximum(seed, curved):
    rng = np.random.default_rng(seed)
    quadratic, linear = positive(rng), rng.normal(size=3)

    def f(w):
        return linear @ w - w @ quadratic @ w

    def g(w):
        return w @ w - 1 if curved else w.sum() - 1

    def place(free):  # two angles on the sphere, two weights on the plane
        (a, b), (sine, _) = free, np.sin(free)
        if curved:
            return np.array([sine * np.cos(b), sine * np.sin(b), np.cos(a)])
        return np.array([a, b, 1 - a - b])

    def cost(free):
        return -f(place(free))

    # A search that never leaves the constraint knows of no multiplier.
    found = minimize(
        cost,
        rng.uniform(0.2, 0.8, size=2),
        jac=lambda free: gradient(cost, free),
        method="BFGS",
        options={"gtol": 1e-7},
    )
    assert found.success
    best = place(found.x)
    assert g(best) == pytest.approx(0, abs=1e-12)
    of_f, of_g = gradient(f, best), gradient(g, best)
    multiplier = of_f @ of_g / (of_g @ of_g)
    # The search stops at slopes of 1e-7, each good to about 1e-9.
    np.testing.assert_allclose(of_f, multiplier * of_g, rtol=0, atol=1e-5)
    assert norm(of_f) > 0.01  # or the two would be parallel for nothing


@pytest.mark.equation("eq-tools-weights")
@pytest.mark.parametrize("seed", SEEDS)
def test_counts_over_total_beat_a_search_without_constraints(seed):
    """Softmax turns the simplex into free numbers: no multiplier there."""
    rng = np.random.default_rng(seed)
    counts = rng.uniform(0.5, 9, size=4)

    def cost(free):
        return -counts @ (free - logsumexp(free))

    found = minimize(cost, np.zeros(4), method="BFGS", tol=1e-8)
    weights = np.exp(found.x - logsumexp(found.x))
    # BFGS stops at slopes of 1e-8 from differences good to about 1e-6.
    np.testing.assert_allclose(
        weights, counts / counts.sum(), rtol=0, atol=1e-5
    )


@pytest.mark.equation("eq-tools-weights")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_weights_beat_counts_over_total(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, size=5) + np.array([1, 0, 0, 0, 0])
    best = xlogy(counts, counts / counts.sum()).sum()
    others = rng.dirichlet(np.full(5, 0.7), size=5000)
    assert (xlogy(counts, others).sum(axis=1) <= best).all()


@pytest.mark.equation("eq-tools-weights")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_package_uses_counts_over_total(seed):
    rng = np.random.default_rng(seed)
    x, resp = rng.integers(1, 9, size=(7, 2)), rng.dirichlet([1, 1, 1], 7)
    model = Model()
    weights = model.maximise(model.summarise(x, Labels(resp))).weights
    best = (resp @ np.log(weights)).sum()
    for other in rng.dirichlet([1, 1, 1], 200):
        assert (resp @ np.log(other)).sum() <= best


@pytest.mark.equation("eq-tools-quadratic")
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_of_a_quadratic_form(seed):
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(4, 4)), rng.normal(size=4)
    got = gradient(lambda y: y @ a @ y, x)
    assert got == pytest.approx((a + a.T) @ x, **CLOSE)
    s = a + a.T
    assert gradient(lambda y: y @ s @ y, x) == pytest.approx(
        2 * s @ x, **CLOSE
    )


@pytest.mark.equation("eq-tools-log-det")
@pytest.mark.parametrize("seed", SEEDS)
def test_change_of_a_log_determinant(seed):
    rng = np.random.default_rng(seed)
    s, ds = positive(rng), rng.normal(size=(3, 3))

    def log_det(m):  # by eigenvalues, so not by what the proof uses
        return np.log(np.linalg.eigvals(m).prod().real)

    formula = np.trace(np.linalg.solve(s, ds))
    assert change(log_det, s, ds) == pytest.approx(formula, **CLOSE)


@pytest.mark.equation("eq-tools-inverse")
@pytest.mark.parametrize("seed", SEEDS)
def test_change_of_an_inverse(seed):
    rng = np.random.default_rng(seed)
    s, ds = positive(rng), rng.normal(size=(3, 3))
    inverse = np.linalg.inv(s)
    np.testing.assert_allclose(
        change(np.linalg.inv, s, ds),
        -inverse @ ds @ inverse,
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.equation("eq-tools-trace")
@pytest.mark.parametrize("seed", SEEDS)
def test_change_of_the_trace_of_an_inverse(seed):
    rng = np.random.default_rng(seed)
    s, ds, a = positive(rng), rng.normal(size=(3, 3)), positive(rng)
    inverse = np.linalg.inv(s)
    formula = -np.trace(inverse @ ds @ inverse @ a)
    measured = change(lambda m: np.trace(np.linalg.solve(m, a)), s, ds)
    assert measured == pytest.approx(formula, **CLOSE)


@pytest.mark.equation("eq-tools-log-det")
@pytest.mark.equation("eq-tools-trace")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_mean_squared_deviation_fits_a_gaussian_best(seed):
    """The use that the page makes of both: S = A / N, and no other."""
    rng = np.random.default_rng(seed)
    n, a = 12, 12 * positive(rng)

    def f(s):
        logdet = np.linalg.slogdet(s).logabsdet
        return -0.5 * n * logdet - 0.5 * np.trace(np.linalg.solve(s, a))

    best = a / n
    for _ in range(20):
        direction = symmetric(rng)
        assert change(f, best, direction) == pytest.approx(0, abs=1e-5)
        assert f(positive(rng)) < f(best)


@pytest.mark.equation("eq-tools-lse")
@pytest.mark.parametrize("seed", SEEDS)
def test_log_sum_exp_with_any_shift(seed):
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=6)
    direct = np.log(np.exp(logs).sum())
    for m in (-3.0, 0.0, logs.max(), 5.0):
        shifted = m + np.log(np.exp(logs - m).sum())
        assert shifted == pytest.approx(direct, abs=1e-12)


@pytest.mark.equation("eq-tools-lse")
@pytest.mark.parametrize("offset", [-1e4, -1000.0, 0.0, 1000.0, 1e4])
def test_the_package_shifts_by_the_largest(offset):
    logs = np.array([[0.0, -1.0, -800.0], [-2.0, -2.0, -np.inf]])
    got = normalise(logs + offset).log_evidence
    # Exact sums of fractions of e^0; offsets of 1e4 cost 4 of 16 digits.
    by_hand = [np.log1p(np.exp(-1)), -2 + np.log(2)]
    assert got == pytest.approx(np.array(by_hand) + offset, abs=1e-11)
    assert got == pytest.approx(logsumexp(logs + offset, axis=1), abs=1e-11)


@pytest.mark.equation("eq-tools-lse")
def test_where_exp_leaves_the_range_of_numbers():
    assert np.exp(-746.0) == 0
    assert np.exp(-745.0) > 0
    assert np.isfinite(np.exp(709.0))
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(710.0))


def outcomes(seed):
    """A joint table of X and Y in fractions: values and chances."""
    rng = np.random.default_rng(seed)
    values = [Fraction(int(v), 7) for v in rng.integers(-9, 9, size=4)]
    cells = list(product(range(4), repeat=2))
    parts = [int(p) for p in rng.integers(1, 9, size=16)]
    return [
        (values[i], values[j] ** 2 + i, Fraction(p, sum(parts)))
        for (i, j), p in zip(cells, parts, strict=True)
    ]


def expectation(table, function):
    return sum(p * function(x, y) for x, y, p in table)


def variance(table, function):
    mean = expectation(table, function)
    return expectation(table, lambda x, y: (function(x, y) - mean) ** 2)


@pytest.mark.equation("eq-tools-mean")
@pytest.mark.parametrize("seed", SEEDS)
def test_expectation_is_linear_even_when_dependent(seed):
    table = outcomes(seed)
    a, b, c = Fraction(3, 5), Fraction(-7, 2), Fraction(1, 9)
    left = expectation(table, lambda x, y: a * x + b * y + c)
    mean_x = expectation(table, lambda x, y: x)
    mean_y = expectation(table, lambda x, y: y)
    assert left == a * mean_x + b * mean_y + c  # exact


@pytest.mark.equation("eq-tools-variance")
@pytest.mark.parametrize("seed", SEEDS)
def test_rules_of_variance(seed):
    table = outcomes(seed)
    a, c = Fraction(3, 5), Fraction(1, 9)
    of_x = variance(table, lambda x, y: x)
    mean = expectation(table, lambda x, y: x)
    assert of_x == expectation(table, lambda x, y: x * x) - mean**2
    assert variance(table, lambda x, y: a * x + c) == a**2 * of_x
    marginal = [(x, p) for x, _, p in table]
    independent = [
        (x, y, p * q)
        for (x, p), (y, q) in product(
            marginal, [(v, w) for _, v, w in table]
        )
    ]
    both = variance(independent, lambda x, y: x + y)
    of_y = variance(table, lambda x, y: y)
    assert both == of_x + of_y  # exact, and only when independent


@pytest.mark.equation("eq-tools-mean")
@pytest.mark.equation("eq-tools-variance")
@pytest.mark.parametrize(("tosses", "chance"), [(20, 0.3), (30, 0.8)])
def test_mean_and_variance_of_the_heads(tosses, chance):
    heads = np.arange(tosses + 1)
    weights = binom.pmf(heads, tosses, chance)
    mean = weights @ heads
    assert mean == pytest.approx(tosses * chance, rel=1e-12)
    spread = weights @ (heads - mean) ** 2
    assert spread == pytest.approx(
        tosses * chance * (1 - chance), rel=1e-12
    )


@pytest.mark.equation("eq-tools-bits")
@pytest.mark.parametrize("p", [0.5, 0.1, 1 / 3, 2**-10])
def test_nats_are_bits_times_log_two(p):
    assert -log(p) / log(2) == pytest.approx(-log2(p), rel=1e-14)
