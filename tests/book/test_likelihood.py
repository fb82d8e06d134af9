"""The equations of book/likelihood.md, each against something else."""

from fractions import Fraction
from itertools import product
from math import comb, log, prod

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import xlog1py, xlogy
from scipy.stats import binom

from emlib import coins
from emlib.datasets import labelled_coins
from emlib.loop import Labels

SEEDS = range(5)


def drawn(seed):
    """A coin's rows: its true mean, the tosses and the heads of each."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.2, 0.8)
    tosses = rng.integers(4, 12, size=6)
    heads = rng.binomial(tosses, mean)
    heads[0], tosses[0] = 2, 5  # so that both sides have been seen
    return mean, tosses, heads


def reference(mean, tosses, heads):
    """SciPy's log-likelihood of some rows of one coin."""
    return binom.logpmf(heads, tosses, mean).sum()


def slope(function, at, step=1e-5):
    return (function(at + step) - function(at - step)) / (2 * step)


def sharpness(function, at, step=1e-4):
    around = function(at + step) + function(at - step)
    return (2 * function(at) - around) / step**2


@pytest.mark.equation("eq-likelihood-choose")
def test_log_choose_counts_orders():
    rows = [(h, t) for h in range(40) for t in range(40)]
    exact = [log(comb(h + t, h)) for h, t in rows]
    # Differences of log-gammas of size 300 keep 13 digits.
    np.testing.assert_allclose(
        coins.log_choose(np.array(rows)), exact, rtol=1e-12, atol=1e-12
    )


@pytest.mark.equation("eq-likelihood-choose")
def test_log_choose_counts_the_orders_of_a_short_row():
    for n in range(8):
        orders = list(product([0, 1], repeat=n))
        for h in range(n + 1):
            count = sum(sum(order) == h for order in orders)
            got = np.exp(coins.log_choose(np.array([[h, n - h]])))
            assert got == pytest.approx(count, rel=1e-12)


@pytest.mark.equation("eq-likelihood-binomial")
@pytest.mark.parametrize("mean", [Fraction(3, 10), Fraction(4, 5)])
def test_binomial_is_the_sum_over_all_orders(mean):
    one = coins.Params(np.array([1.0]), np.array([float(mean)]))
    for order_sum in range(9):
        brute = sum(
            prod(mean if toss else 1 - mean for toss in order)
            for order in product([0, 1], repeat=8)
            if sum(order) == order_sum
        )
        row = np.array([[order_sum, 8 - order_sum]])
        got = np.exp(coins.Model().log_joint(row, one))[0, 0]
        assert got == pytest.approx(float(brute), rel=1e-12)


@pytest.mark.equation("eq-likelihood-binomial")
@pytest.mark.parametrize("mean", [0.0, 0.1, 22 / 30, 1.0])
def test_binomial_sums_to_one(mean):
    one = coins.Params(np.array([1.0]), np.array([mean]))
    rows = np.stack([np.arange(11), 10 - np.arange(11)], axis=1)
    total = np.exp(coins.Model().log_joint(rows, one)).sum()
    assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("eq-likelihood-log")
def test_log_likelihood_is_the_log_of_the_product_of_the_rows():
    x, z = labelled_coins()
    heads = [int(x[z == k, 0].sum()) for k in range(2)]
    tails = [int(x[z == k, 1].sum()) for k in range(2)]
    assert (heads, tails) == ([22, 2], [8, 18])
    for means in [(0.8, 0.3), (22 / 30, 0.1), (0.31, 0.62)]:
        exact = [Fraction(mean) for mean in means]  # no rounding at all
        rows = prod(
            comb(int(h + t), int(h))
            * exact[k] ** int(h)
            * (1 - exact[k]) ** int(t)
            for (h, t), k in zip(x, z, strict=True)
        )
        totals = coins.log_choose(x).sum() + sum(
            xlogy(heads[k], means[k]) + xlog1py(tails[k], -means[k])
            for k in range(2)
        )
        product_log = log(rows.numerator) - log(rows.denominator)
        # Each log is below 2000, so their difference keeps 12 digits.
        assert totals == pytest.approx(product_log, rel=1e-10)
        scipy = binom.logpmf(x[:, 0], 10, np.array(means)[z]).sum()
        assert totals == pytest.approx(scipy, rel=1e-12)


@pytest.mark.equation("eq-likelihood-theta")
@pytest.mark.parametrize("seed", SEEDS)
def test_heads_over_tosses_is_the_maximum(seed):
    _, tosses, heads = drawn(seed)
    estimate = heads.sum() / tosses.sum()
    found = minimize_scalar(
        lambda mean: -reference(mean, tosses, heads),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-10},
    )
    # Values keep 15 digits, so the place of a maximum keeps about 7.
    assert found.x == pytest.approx(estimate, abs=1e-6)
    at = slope(lambda mean: reference(mean, tosses, heads), estimate)
    assert abs(at) < 1e-4  # step^2 / 6 times a third derivative < 1e5


@pytest.mark.equation("eq-likelihood-theta")
def test_no_other_fraction_explains_the_table_better():
    """Exact arithmetic: the likelihood at each fraction of a fine grid."""
    for heads, tails in [(22, 8), (2, 18)]:
        best = Fraction(heads, heads + tails)
        top = best**heads * (1 - best) ** tails
        for i in range(601):
            other = Fraction(i, 600)
            value = other**heads * (1 - other) ** tails
            assert value < top or other == best


@pytest.mark.equation("eq-likelihood-theta")
def test_known_labels_are_responsibilities_of_0_and_1():
    x, z = labelled_coins()
    model = coins.Model()
    params = model.maximise(model.summarise(x, Labels(np.eye(2)[z])))
    assert params.means.tolist() == [22 / 30, 2 / 20]


@pytest.mark.equation("eq-likelihood-curvature")
@pytest.mark.parametrize("seed", SEEDS)
def test_sharpness_at_the_peak(seed):
    _, tosses, heads = drawn(seed)
    total = tosses.sum()
    estimate = heads.sum() / total
    measured = sharpness(
        lambda mean: reference(mean, tosses, heads), estimate
    )
    formula = total / (estimate * (1 - estimate))
    # Steps of 1e-4: truncation about 1e-7 of it, rounding about 1e-7.
    assert measured == pytest.approx(formula, rel=1e-5)


@pytest.mark.equation("eq-likelihood-fisher")
@pytest.mark.parametrize("seed", SEEDS)
def test_fisher_information_is_expected_sharpness(seed):
    rng = np.random.default_rng(seed)
    mean, tosses = rng.uniform(0.2, 0.8), int(rng.integers(5, 40))
    outcomes = np.arange(tosses + 1)
    chance = binom.pmf(outcomes, tosses, mean)

    def of_each(at):
        return binom.logpmf(outcomes, tosses, at)  # (outcomes,)

    formula = tosses / (mean * (1 - mean))
    expected = chance @ sharpness(of_each, mean)
    assert expected == pytest.approx(formula, rel=1e-5)
    # The same number is the variance of the slope, whose mean is 0.
    slopes = slope(of_each, mean)
    assert chance @ slopes == pytest.approx(0, abs=1e-5)
    assert chance @ slopes**2 == pytest.approx(formula, rel=1e-6)


@pytest.mark.equation("eq-likelihood-se")
@pytest.mark.parametrize("tosses", [1, 5, 30])
def test_standard_error_is_the_exact_spread_of_the_estimate(tosses):
    for mean in (Fraction(1, 10), Fraction(3, 10), Fraction(4, 5)):
        chance = [
            comb(tosses, h) * mean**h * (1 - mean) ** (tosses - h)
            for h in range(tosses + 1)
        ]
        variance = sum(
            c * (Fraction(h, tosses) - mean) ** 2
            for h, c in enumerate(chance)
        )
        assert variance == mean * (1 - mean) / tosses  # exact


@pytest.mark.equation("eq-likelihood-se")
@pytest.mark.parametrize("seed", SEEDS)
def test_standard_error_is_the_spread_over_repeats(seed):
    rng = np.random.default_rng(seed)
    truth, tosses = np.array([0.8, 0.3]), np.array([30, 20])
    repeats = 20_000
    means = rng.binomial(tosses, truth, size=(repeats, 2)) / tosses
    formula = np.sqrt(truth * (1 - truth) / tosses)
    # A spread from R repeats is uncertain by one part in sqrt(2 R).
    assert means.std(axis=0) == pytest.approx(
        formula, rel=4 / np.sqrt(2 * repeats)
    )


@pytest.mark.equation("eq-likelihood-se")
@pytest.mark.parametrize(("heads", "tosses"), [(22, 30), (2, 20), (3, 4)])
def test_standard_error_from_the_sharpness_of_the_curve(heads, tosses):
    mean = heads / tosses
    curve = sharpness(lambda at: reference(at, tosses, heads), mean)
    formula = np.sqrt(mean * (1 - mean) / tosses)
    assert 1 / np.sqrt(curve) == pytest.approx(formula, rel=1e-5)


@pytest.mark.equation("eq-likelihood-parabola")
@pytest.mark.parametrize(("heads", "tosses"), [(22, 30), (2, 20), (3, 4)])
def test_the_parabola_is_wrong_by_a_third_power_only(heads, tosses):
    mean = heads / tosses
    error = np.sqrt(mean * (1 - mean) / tosses)

    def fault(distance):
        at = mean + distance
        drop = reference(at, tosses, heads) - reference(mean, tosses, heads)
        return abs(drop + (distance / error) ** 2 / 2)

    # Half the distance leaves an eighth, or a little less or more.
    for distance in (0.1 * error, -0.1 * error):
        ratio = fault(distance) / fault(distance / 2)
        assert 7 < ratio < 9


def test_truncated_newton_finds_the_published_minimum():
    x, z = labelled_coins()

    def cost(means):
        return -binom.logpmf(x[:, 0], 10, means[z]).sum()

    exact = np.array([22 / 30, 2 / 20])
    assert cost(exact) == pytest.approx(7.655267754108, abs=1e-11)
    found = minimize(
        cost, [0.5, 0.5], method="TNC", bounds=[(0, 1), (0, 1)]
    )
    assert found.success
    # A place good to 1e-5 costs half of 375 times 1e-10 nats: 2e-8.
    assert found.fun == pytest.approx(7.65526775, abs=2e-8)
    np.testing.assert_allclose(found.x, exact, rtol=0, atol=1e-5)


def test_a_row_without_heads_claims_certainty():
    """The failure of the chapter: an edge, not a peak."""
    model = coins.Model()
    row = np.array([[0, 10]])
    params = model.maximise(model.summarise(row, Labels(np.array([[1.0]]))))
    assert params.means[0] == 0
    assert params.means[0] * (1 - params.means[0]) / 10 == 0
    inside = 1e-6
    rise = model.log_joint(row, params._replace(means=np.array([inside])))
    assert rise[0, 0] / inside == pytest.approx(-10, rel=1e-4)
    assert binom.pmf(0, 10, 0.3) > 0.02
