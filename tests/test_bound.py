"""emlib/bound.py against SciPy, brute force, and hard inputs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax
from scipy.stats import entropy as divergence

from emlib.bound import (
    bound,
    entropy,
    gap,
    normalise,
    settle,
    settle_odds,
    tally,
    tally_odds,
)

SEEDS = range(5)


def tables(seed, n=7, k=4, width=5.0):
    """Return a random log joint and random responsibilities."""
    rng = np.random.default_rng(seed)
    log_joint = rng.normal(scale=width, size=(n, k))
    return log_joint, rng.dirichlet(np.full(k, 0.5), size=n)


@pytest.mark.parametrize("width", [0.1, 5.0, 300.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_normalise_agrees_with_scipy(seed, width):
    log_joint, _ = tables(seed, width=width)
    posterior = normalise(log_joint)
    # Rounding of the difference to the peak, below 1e-16 * 1500, is the
    # relative error of exp of it.
    expected = softmax(log_joint, axis=1)
    np.testing.assert_allclose(posterior.resp, expected, rtol=1e-12)
    np.testing.assert_allclose(posterior.resp.sum(axis=1), 1, rtol=1e-14)
    evidence = logsumexp(log_joint, axis=1)
    np.testing.assert_allclose(
        posterior.log_evidence, evidence, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_normalise_is_bayes_rule_where_no_logarithm_is_needed(seed):
    joint = np.random.default_rng(seed).uniform(size=(7, 4))
    evidence = joint.sum(axis=1, keepdims=True)
    posterior = normalise(np.log(joint))
    np.testing.assert_allclose(posterior.resp, joint / evidence, rtol=1e-14)
    np.testing.assert_allclose(
        posterior.log_evidence, np.log(evidence[:, 0]), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("shift", [1e5, -1e5])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_moves_the_evidence_and_nothing_else(seed, shift):
    log_joint, resp = tables(seed)
    far, near = normalise(log_joint + shift), normalise(log_joint)
    # A number near 1e5 is stored to within 1e-11.
    np.testing.assert_allclose(far.resp, near.resp, rtol=1e-10)
    np.testing.assert_allclose(
        far.log_evidence - shift, near.log_evidence, rtol=0, atol=1e-10
    )
    moved = bound(log_joint + shift, resp) - 7 * shift
    assert moved == pytest.approx(bound(log_joint, resp), abs=1e-8)
    assert gap(log_joint + shift, resp) == pytest.approx(
        gap(log_joint, resp), abs=1e-8
    )


def test_a_forbidden_label_gets_no_responsibility():
    log_joint = np.array([[-np.inf, -1.0], [-2.0, -np.inf]])
    posterior = normalise(log_joint)
    assert (posterior.resp == [[0, 1], [1, 0]]).all()
    assert (posterior.log_evidence == [-1, -2]).all()
    assert bound(log_joint, posterior.resp) == -3
    assert gap(log_joint, posterior.resp) == 0


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
def test_a_row_that_is_impossible_or_no_number_is_named(bad):
    log_joint = np.zeros((4, 3))
    log_joint[2] = bad
    with pytest.raises(FloatingPointError, match="row 2"):
        normalise(log_joint)
    with pytest.raises(FloatingPointError, match="row 2"):
        gap(log_joint, np.full((4, 3), 1 / 3))


def test_a_single_nan_is_enough_to_raise():
    log_joint = np.zeros((4, 3))
    log_joint[1, 2] = np.nan
    with pytest.raises(FloatingPointError, match="row 1"):
        normalise(log_joint)


@pytest.mark.parametrize("seed", SEEDS)
def test_entropy_agrees_with_scipy_and_lies_between_0_and_log_k(seed):
    _, resp = tables(seed)
    np.testing.assert_allclose(
        entropy(resp), divergence(resp, axis=1), rtol=1e-13
    )
    assert (entropy(resp) >= 0).all()
    assert (entropy(resp) <= np.log(4)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_bound_and_gap_agree_with_brute_force(seed):
    log_joint, resp = tables(seed)
    posterior = softmax(log_joint, axis=1)
    low, lost = 0.0, 0.0
    for n, row in enumerate(resp):
        for k, r in enumerate(row):
            low += r * (log_joint[n, k] - np.log(r))
            lost += r * (np.log(r) - np.log(posterior[n, k]))
    # Sums of 28 terms below 1e3: rounding is below 1e-11.
    assert bound(log_joint, resp) == pytest.approx(low, abs=1e-10)
    assert gap(log_joint, resp) == pytest.approx(lost, abs=1e-10)


@pytest.mark.parametrize("width", [0.1, 5.0, 300.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_bound_and_gap_add_up_to_the_log_evidence(seed, width):
    log_joint, resp = tables(seed, width=width)
    evidence = logsumexp(log_joint, axis=1).sum()
    low, lost = bound(log_joint, resp), gap(log_joint, resp)
    # Sums of 28 terms below 1e3: rounding is below 1e-11.
    assert low + lost == pytest.approx(evidence, abs=1e-10)
    assert low <= evidence
    assert lost >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_posterior_leaves_no_gap_and_any_step_from_it_does(seed):
    log_joint, resp = tables(seed)
    posterior = normalise(log_joint).resp
    evidence = logsumexp(log_joint, axis=1).sum()
    assert gap(log_joint, posterior) == pytest.approx(0, abs=1e-13)
    assert bound(log_joint, posterior) == pytest.approx(evidence, rel=1e-13)
    mixed = 0.99 * posterior + 0.01 * resp
    assert gap(log_joint, mixed) > 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_multiplicity_0_is_absent_and_2_is_twice(seed):
    log_joint, resp = tables(seed)
    times = np.array([0, 2, 1, 1, 0, 3, 1])
    rows = np.repeat(np.arange(7), times)
    for function in (bound, gap):
        counted = function(log_joint, resp, times)
        written_out = function(log_joint[rows], resp[rows])
        # The same terms added in another order, each below 1e3.
        assert counted == pytest.approx(written_out, abs=1e-11)


def test_belief_in_a_forbidden_label_costs_everything():
    log_joint = np.array([[0.0, -np.inf], [0.0, 0.0]])
    resp = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert bound(log_joint, resp) == -np.inf
    assert gap(log_joint, resp) == np.inf


def test_a_label_without_belief_is_ignored_and_the_bound_still_holds():
    log_joint = np.log([[0.1, 0.3]])
    resp = np.array([[0.0, 1.0]])
    assert bound(log_joint, resp) == np.log(0.3) < np.log(0.4)
    assert gap(log_joint, resp) == pytest.approx(np.log(4 / 3))


def test_a_gap_is_finite_where_the_posterior_underflows():
    log_joint, resp = np.array([[0.0, -800.0]]), np.array([[0.5, 0.5]])
    assert gap(log_joint, resp) == pytest.approx(400 - np.log(2), rel=1e-12)
    assert bound(log_joint, resp) == pytest.approx(
        np.log(2) - 400, rel=1e-12
    )


def test_a_forbidden_row_that_counts_0_times_is_absent():
    log_joint = np.array([[-1.0, -2.0], [0.0, -np.inf]])
    resp, times = np.full((2, 2), 0.5), np.array([1.0, 0.0])
    alone = bound(log_joint[:1], resp[:1])
    assert bound(log_joint, resp, times) == pytest.approx(alone, rel=1e-15)
    alone = gap(log_joint[:1], resp[:1])
    assert gap(log_joint, resp, times) == pytest.approx(alone, rel=1e-15)


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
    pytest.param(tally, id="tally"),
    pytest.param(tally_odds, id="odds, first"),
    pytest.param(partial(tally_odds, first=-1), id="odds, last"),
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
def test_tally_is_scipys_softmax_and_logsumexp(
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
def test_settle_leaves_scipys_responsibilities_in_place(seed, dtype):
    natural, features, times = naturals(seed, 4, 3, dtype=dtype)
    joint = natural @ features  # (k, n)
    exact = joint.astype(float)
    for count in (None, times, times.astype(int)):
        resp = joint.copy()
        total = settle(resp, count)
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
    total = settle(joint)
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
        total, rest = settle(settled, count), settle_odds(told, count)
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
    assert settle_odds(odds) == pytest.approx(700 + np.log(k - 1))
    np.testing.assert_allclose(odds[1:], 1 / (k - 1), rtol=1e-12)


@pytest.mark.parametrize("tosses", [1e3, 1e5, 1e7])
def test_log_odds_keep_the_digits_of_the_bound(tosses):
    heads = np.array([0.001, 0.0011, 0.9985, 0.999])  # shares of the rows
    natural = np.log([[p, 1 - p, 0.25] for p in heads])  # (k, 3)
    x = tosses * np.stack([heads, 1 - heads, np.full(4, 1 / tosses)])
    for first in range(4):
        _, total = tally_odds(natural, x, first=first)
        exact = logsumexp(natural @ x, axis=0)  # (n,)
        assert total == pytest.approx(exact.sum(), rel=1e-14)


@pytest.mark.equation("eq-gaussians_fast-odds")
@pytest.mark.parametrize("top", [1.0, 79.0, 81.0, 699.0, 701.0, 5e3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", SEEDS)
def test_settle_odds_is_scipys_softmax_of_them_and_0(seed, dtype, top):
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
        total = settle_odds(resp, count)
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


@pytest.mark.equation("eq-gaussians_fast-odds")
def test_log_odds_of_two_are_the_logistic_function():
    odds = np.linspace(-650, 650, 201)
    resp = np.stack([np.zeros(201), odds])
    settle_odds(resp)
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
    total = settle(resp, times)
    assert (resp == np.eye(3) * (1 if times is None else times)).all()
    assert total == float(far)
    # As features with a natural parameter each: the sums are those of one.
    for form in (tally, tally_odds):
        sums, total = form(joint.T.copy(), np.eye(3, dtype=dtype), times)
        assert (sums == np.eye(3) * (1 if times is None else times)).all()
        # Log odds put back what they took out: one more rounding.
        more = 0 if form is tally else 1e-15
        assert total == pytest.approx(float(far), rel=more, abs=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odds_too_small_to_count_are_exactly_nothing(dtype):
    least = 700 if dtype == np.float64 else 80
    odds = np.array([[np.nan] * 4, [-least, -1e3, -1e30, 0.0]], dtype)
    assert settle_odds(odds) == pytest.approx(np.log(2), rel=1e-6)
    assert (odds == np.array([[1, 1, 1, 0.5], [0, 0, 0, 0.5]])).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_lost_below_the_peak_is_below_rounding(dtype):
    least = 700 if dtype == np.float64 else 80
    depths = np.linspace(0, 2 * least, 400)
    joint = np.stack([np.zeros(400), -depths]).astype(dtype)  # (k, n)
    resp = joint.copy()
    settle(resp)
    assert (resp[1, depths > least] == 0).all()
    kept = depths < least - 1
    assert (resp[1, kept] > 0).all()
    # e^-least is taken off, so next to it most of the number is lost.
    lost = abs(resp[1] - softmax(joint.astype(float), axis=0)[1])
    assert (lost[kept] <= 2 * np.exp(-least) + 1e-4 * resp[1, kept]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("p", "k"), [(2, 3), (6, 5)])
@pytest.mark.parametrize("seed", SEEDS)
def test_tally_of_repeated_points_is_that_of_counted(seed, p, k, form):
    natural, features, _ = naturals(seed, p, k)
    times = np.arange(50) % 4  # zeros among them, and integers
    sums, total = form(natural, features, times)
    copies = np.repeat(features, times, axis=1)
    again, once_more = form(natural, copies)
    # The same terms in another order, below 10 each.
    np.testing.assert_allclose(sums, again, rtol=0, atol=1e-12)
    assert total == pytest.approx(once_more, rel=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_tally_changes_nothing_that_it_is_given(form):
    for p, k in ((2, 3), (6, 5)):
        natural, features, times = naturals(0, p, k)
        copies = natural.copy(), features.copy(), times.copy()
        form(natural, features, times)
        for one, other in zip(
            (natural, features, times), copies, strict=True
        ):
            assert (one == other).all()


@pytest.mark.parametrize("form", FORMS)
def test_tally_of_no_points_is_nothing(form):
    for p, k in ((2, 3), (6, 5)):
        sums, total = form(np.ones((k, p)), np.ones((p, 0)))
        assert (sums == np.zeros((k, p))).all()
        assert total == 0
