"""emlib/one_pass/families.py against SciPy, and hard inputs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

from emlib.one_pass.families import (
    expected_statistics,
    expected_statistics_from_odds,
    softmax_in_place,
    softmax_of_odds,
)

SEEDS = range(5)


def naturals(seed, p, k, n=50, width=5.0, dtype=np.float64):
    """Return random natural parameters, features and multiplicities."""
    rng = np.random.default_rng([seed, p, k])
    natural = rng.normal(scale=width, size=(k, p)).astype(dtype)
    features = rng.normal(size=(p, n)).astype(dtype)
    times = rng.choice([0.0, 0.3, 1.0, 7.0], size=n)
    return natural, features, times.astype(dtype)


# Rounding of a log joint near its size, in units of float32 or float64, is
# the relative error of exp of it. The sizes here stay below 100.
ROUNDING = {np.float64: 1e-13, np.float32: 3e-5}


FORMS = [
    pytest.param(expected_statistics, id="joints"),
    pytest.param(expected_statistics_from_odds, id="odds, first"),
    pytest.param(
        partial(expected_statistics_from_odds, first=-1), id="odds, last"
    ),
]


# 1 x 3, 3 x 2 and 5 x 3 numbers are few and long; 4 x 4 and 40 x 6 not.
@pytest.mark.parametrize(
    ("p", "k"), [(1, 3), (3, 2), (3, 5), (4, 4), (40, 6), (3, 1)]
)
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("width", [1e-3, 1.0, 20.0])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_expected_statistics_is_scipys_softmax_and_logsumexp(
    seed, form, width, dtype, counted, p, k
):
    width /= np.sqrt(p)
    natural, features, times = naturals(
        seed, p, k, width=width, dtype=dtype
    )
    exact = natural.astype(float).T, features.astype(float)
    joint = exact[1].T @ exact[0]  # (n, k)
    count = times.astype(float) if counted else np.ones(50)
    resp = softmax(joint, axis=1) * count[:, None]  # (n, k)
    sums, total = form(natural, features, times if counted else None)
    assert sums.dtype == dtype
    size = abs(exact[1]) @ resp  # (p, k), for sums that cancel
    allowed = ROUNDING[dtype] * size.T + 1e-30
    assert (abs(sums - (exact[1] @ resp).T) <= allowed).all()
    evidence = logsumexp(joint, axis=1)  # (n,)
    off = ROUNDING[dtype] * (abs(evidence) + 1) @ count
    assert total == pytest.approx(count @ evidence, rel=0, abs=off)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_in_place_leaves_scipys_responsibilities_in_place(
    seed, dtype
):
    natural, features, times = naturals(seed, 4, 3, dtype=dtype)
    joint = natural @ features  # (k, n)
    exact = joint.astype(float)
    for count in (None, times, times.astype(int)):
        resp = joint.copy()
        total = softmax_in_place(resp, count)
        weights = np.ones(50) if count is None else count.astype(float)
        # The joint is given, so only exp and one division round.
        rounding = 30 * np.finfo(dtype).eps
        np.testing.assert_allclose(
            resp,
            softmax(exact, axis=0) * weights,
            rtol=rounding,
            atol=np.exp(-700 if dtype == np.float64 else -80.0),
        )
        evidence = weights @ logsumexp(exact, axis=0)
        assert total == pytest.approx(
            evidence, rel=0, abs=rounding * weights @ abs(exact).max(axis=0)
        )


@pytest.mark.parametrize("shift", [0, 70, 75, -85, 620, 640, -705, 1e4])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_all_components_share_is_only_added(dtype, sign, shift):
    natural, features, _ = naturals(0, 4, 3, dtype=dtype)
    joint = natural @ features + dtype(sign * shift)  # (k, n)
    exact, size = joint.astype(float), abs(joint).max()
    total = softmax_in_place(joint)
    # The relative error of exp is the rounding of what it is taken of.
    np.testing.assert_allclose(
        joint,
        softmax(exact, axis=0),
        rtol=2 * np.finfo(dtype).eps * (30 + size),
        atol=np.exp(-700 if dtype == np.float64 else -80.0),
    )
    evidence = logsumexp(exact, axis=0).sum()
    off = 50 * float(np.finfo(dtype).eps * (1 + size))
    assert total == pytest.approx(evidence, rel=0, abs=off)


@pytest.mark.parametrize("high", [20.0, 279.0, 281.0, 629.0, 631.0])
@pytest.mark.parametrize("times", [1.0, 1e6, 1e150])
def test_no_size_of_joint_or_count_over_or_underflows(high, times):
    joint = np.array([[high, -high], [high - 1, 0.5 - high]])  # (k, n)
    count = np.full(2, times)
    share = softmax(joint, axis=0) * times
    evidence = times * logsumexp(joint, axis=0).sum()
    odds = np.array([[0.0, 0.0], [high, -high]])
    with np.errstate(all="raise"):
        settled, told = joint.copy(), odds.copy()
        total, rest = (
            softmax_in_place(settled, count),
            softmax_of_odds(told, count),
        )
    np.testing.assert_allclose(settled, share, rtol=1e-12)
    assert total == pytest.approx(evidence, abs=1e-13 * times * high)
    share = softmax(odds, axis=0) * times
    np.testing.assert_allclose(told, share, rtol=1e-12)
    evidence = times * logsumexp(odds, axis=0).sum()
    assert rest == pytest.approx(evidence, rel=1e-13)


@pytest.mark.parametrize("k", [2, 30_000])
def test_many_components_far_above_the_first_do_not_overflow(k):
    odds = np.full((k, 1), 700.0)
    odds[0] = 0
    assert softmax_of_odds(odds) == pytest.approx(700 + np.log(k - 1))
    np.testing.assert_allclose(odds[1:], 1 / (k - 1), rtol=1e-12)


@pytest.mark.parametrize("tosses", [1e3, 1e5, 1e7])
def test_log_odds_keep_the_digits_of_the_bound(tosses):
    heads = np.array([0.001, 0.0011, 0.9985, 0.999])  # shares of the rows
    natural = np.log([[p, 1 - p, 0.25] for p in heads])  # (k, 3)
    x = tosses * np.stack([heads, 1 - heads, np.full(4, 1 / tosses)])
    for first in range(4):
        _, total = expected_statistics_from_odds(natural, x, first=first)
        exact = logsumexp(natural @ x, axis=0)  # (n,)
        assert total == pytest.approx(exact.sum(), rel=1e-14)


@pytest.mark.equation("eq-one_pass-odds")
@pytest.mark.parametrize("top", [1.0, 79.0, 81.0, 699.0, 701.0, 5e3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_of_odds_is_scipys_softmax_of_them_and_0(seed, dtype, top):
    rng = np.random.default_rng(seed)
    odds = rng.uniform(-top, top, size=(4, 50))
    odds[0], odds[1, :5] = 0, top  # above the limit, or just below
    odds = odds.astype(dtype)
    exact = odds.astype(float)
    times = rng.choice([0.0, 0.3, 1.0, 7.0], size=50).astype(dtype)
    for count in (None, times, times.astype(int)):
        weights = np.ones(50) if count is None else count.astype(float)
        resp = odds.copy()
        resp[0] = np.nan  # not read
        total = softmax_of_odds(resp, count)
        # SciPy rounds the difference to the largest, up to 2 * top. Lost
        # is what is under e^least of the first, or of the largest.
        np.testing.assert_allclose(
            resp,
            softmax(exact, axis=0) * weights,
            rtol=(30 + 2 * top) * np.finfo(dtype).eps,
            atol=30 * np.exp(-700 if dtype == np.float64 else -80.0),
        )
        evidence = weights @ logsumexp(exact, axis=0)
        off = 30 * np.finfo(dtype).eps * top * weights.sum()
        assert total == pytest.approx(evidence, rel=0, abs=off)


@pytest.mark.equation("eq-one_pass-odds")
def test_log_odds_of_two_are_the_logistic_function():
    odds = np.linspace(-650, 650, 201)
    resp = np.stack([np.zeros(201), odds])
    softmax_of_odds(resp)
    np.testing.assert_allclose(resp[1], expit(odds), rtol=1e-13)
    np.testing.assert_allclose(resp[0], expit(-odds), rtol=1e-13)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("far", [1e3, 1e5, 1e30])
def test_far_below_the_peak_is_exactly_nothing(far, dtype, counted):
    # No warning either: the tests turn any into a failure.
    far = dtype(far)
    joint = np.array([[0, -far, -far], [-far, 0, -far], [-far, -far, far]])
    joint = joint.astype(dtype)  # (k, n)
    times = np.array([2, 0, 1], dtype) if counted else None
    resp = joint.copy()
    total = softmax_in_place(resp, times)
    assert (resp == np.eye(3) * (1 if times is None else times)).all()
    assert total == float(far)
    # As features with a natural parameter each: the sums are those of one.
    for form in (expected_statistics, expected_statistics_from_odds):
        sums, total = form(joint.T.copy(), np.eye(3, dtype=dtype), times)
        assert (sums == np.eye(3) * (1 if times is None else times)).all()
        # Log odds put back what they took out: one more rounding.
        more = 0 if form is expected_statistics else 1e-15
        assert total == pytest.approx(float(far), rel=more, abs=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odds_too_small_to_count_are_exactly_nothing(dtype):
    least = 700 if dtype == np.float64 else 80
    odds = np.array([[np.nan] * 4, [-least, -1e3, -1e30, 0.0]], dtype)
    assert softmax_of_odds(odds) == pytest.approx(np.log(2), rel=1e-6)
    assert (odds == np.array([[1, 1, 1, 0.5], [0, 0, 0, 0.5]])).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_lost_below_the_peak_is_below_rounding(dtype):
    least = 700 if dtype == np.float64 else 80
    depths = np.linspace(0, 2 * least, 400)
    joint = np.stack([np.zeros(400), -depths]).astype(dtype)  # (k, n)
    resp = joint.copy()
    softmax_in_place(resp)
    assert (resp[1, depths > least] == 0).all()
    kept = depths < least - 1
    assert (resp[1, kept] > 0).all()
    # e^-least is taken off, so next to it most of the number is lost.
    lost = abs(resp[1] - softmax(joint.astype(float), axis=0)[1])
    assert (lost[kept] <= 2 * np.exp(-least) + 1e-4 * resp[1, kept]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("p", "k"), [(2, 3), (6, 5)])
@pytest.mark.parametrize("seed", SEEDS)
def test_expected_statistics_of_repeated_points_is_that_of_counted(
    seed, p, k, form
):
    natural, features, _ = naturals(seed, p, k)
    times = np.arange(50) % 4  # zeros among them, and integers
    sums, total = form(natural, features, times)
    copies = np.repeat(features, times, axis=1)
    again, once_more = form(natural, copies)
    # The same terms in another order, below 10 each.
    np.testing.assert_allclose(sums, again, rtol=0, atol=1e-12)
    assert total == pytest.approx(once_more, rel=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_expected_statistics_changes_nothing_that_it_is_given(form):
    for p, k in ((2, 3), (6, 5)):
        natural, features, times = naturals(0, p, k)
        copies = natural.copy(), features.copy(), times.copy()
        form(natural, features, times)
        for one, other in zip(
            (natural, features, times), copies, strict=True
        ):
            assert (one == other).all()


@pytest.mark.parametrize("form", FORMS)
def test_expected_statistics_of_no_points_is_nothing(form):
    for p, k in ((2, 3), (6, 5)):
        sums, total = form(np.ones((k, p)), np.ones((p, 0)))
        assert (sums == np.zeros((k, p))).all()
        assert total == 0
