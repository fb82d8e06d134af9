"""emlib/bound.py against SciPy, brute force, and hard inputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import entropy as divergence

from emlib.bound import bound, entropy, gap, normalise

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
