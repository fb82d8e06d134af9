"""The slopes and sums that make routing fast, against differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from capsules_by_hand import slopes, tensors
from keras import ops
from scipy.stats import norm

from emlib.capsules import routing

SEEDS = range(4)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "routing.json"


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def drawn(seed, i=5, n=2, h=3, j=4):
    """Return votes (i, n, h, j), and shares (i, n, j) that sum to 1."""
    rng = np.random.default_rng(seed)
    votes = rng.normal(size=(i, n, h, j))
    shares = rng.dirichlet(np.ones(i), size=(n, j)).transpose(2, 0, 1)
    return rng, votes, shares


def slope(loss, at, step=1e-5):
    """Return the slope by every entry, from two-sided differences."""
    found = np.empty_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        found[place] = (loss(up) - loss(down)) / (2 * step)
    return found


def backward(function, inputs, weights):
    """Return the slopes that the framework takes of a weighted sum."""
    (weights,) = tensors([weights])
    return slopes(lambda *x: ops.sum(function(*x) * weights), *inputs)


@pytest.mark.equation("eq-fast-halves")
@pytest.mark.parametrize("i", [1, 7, 72, 73, 144, 288, 100, 1000])
def test_halves_make_the_same_sum(i):
    terms = np.random.default_rng(i).normal(size=(i, 3))
    # Sums of 1,000 terms of size 1 are within 1e-12 in float64.
    np.testing.assert_allclose(
        numbers(routing.pairwise_sum(terms)),
        terms.sum(axis=0),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.equation("eq-fast-moments")
@pytest.mark.parametrize("seed", SEEDS)
def test_slopes_of_moments_are_those_of_differences(seed):
    rng, votes, shares = drawn(seed)
    weights = rng.normal(size=(2, 2, 3, 4))

    def plain(v, s):
        each = s[:, :, None]
        mean = (each * v).sum(axis=0)
        return np.stack([mean, (each * (v - mean) ** 2).sum(axis=0)])

    by_votes, by_shares = backward(
        routing.moments, (votes, shares), weights
    )
    wanted = slope(lambda v: (plain(v, shares) * weights).sum(), votes)
    # Differences over 1e-5 of a polynomial leave 1e-9.
    np.testing.assert_allclose(by_votes, wanted, rtol=1e-6, atol=1e-8)

    # Shares that sum to 1 feel a slope only up to a constant.
    def shared(m):
        return (plain(votes, m / m.sum(axis=0)) * weights).sum()

    wanted = slope(shared, shares)
    felt = by_shares - (shares * by_shares).sum(axis=0)
    np.testing.assert_allclose(felt, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.equation("eq-fast-distance")
@pytest.mark.parametrize("seed", SEEDS)
def test_distances_and_their_slopes(seed):
    rng, votes, _ = drawn(seed)
    means = rng.normal(size=(2, 3, 4))
    variances = rng.uniform(0.5, 2.0, size=(2, 3, 4))
    weights = rng.normal(size=(5, 2, 4))

    def plain(v, m, s):
        found = np.zeros((5, 2, 4))
        for place in np.ndindex(found.shape):
            i, n, j = place
            for h in range(3):
                apart = v[i, n, h, j] - m[n, h, j]
                found[place] += apart**2 / s[n, h, j] - 1
        return found

    inputs = [votes, means, variances]
    np.testing.assert_allclose(
        numbers(routing.distances(*tensors(inputs))),
        plain(*inputs),
        rtol=1e-12,
    )
    found = backward(routing.distances, inputs, weights)
    for part in range(3):

        def loss(value, part=part):
            moved = [*inputs]
            moved[part] = value
            return (plain(*moved) * weights).sum()

        wanted = slope(loss, inputs[part])
        np.testing.assert_allclose(
            found[part], wanted, rtol=1e-6, atol=1e-7
        )


@pytest.mark.equation("eq-fast-constant")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_is_the_relative_one_and_a_constant(seed):
    rng, votes, _ = drawn(seed)
    means, logs = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4))
    variances = rng.uniform(0.5, 2.0, size=(2, 3, 4))
    density = norm.logpdf(votes, means, np.sqrt(variances)).sum(axis=-2)
    parents = tensors([means, variances, logs])
    relative = numbers(routing.relative_joint(*tensors([votes]), *parents))
    apart = logs + density - relative  # (i, n, j)
    np.testing.assert_allclose(apart, routing.density_offset(3), rtol=1e-12)

    # A vote one standard deviation away in each entry is a usual one.
    usual = means + np.sqrt(variances)
    relative = routing.relative_joint(*tensors([usual[None]]), *parents)
    widths = 0.5 * np.log(variances).sum(axis=-2)
    np.testing.assert_allclose(
        numbers(relative)[0], logs - widths, rtol=1e-12, atol=1e-14
    )


@pytest.mark.equation("eq-fast-middle")
@pytest.mark.parametrize("seed", SEEDS)
def test_routing_does_not_care_where_zero_is(seed):
    rng = np.random.default_rng(seed)
    votes = rng.normal(size=(7, 3, 4))  # (i, j, h)
    parts = rng.uniform(size=7), rng.normal(size=3), rng.normal(size=3)
    inside = np.swapaxes(votes, -1, -2)  # (i, h, j)
    centre = numbers(routing.vote_centre(inside)).T  # (j, h)
    np.testing.assert_allclose(centre, votes.mean(axis=0), rtol=1e-12)
    options = {"turns": 3, "inverse_temperature": 0.3}
    there = routing.route(votes, *parts, **options)
    here = routing.route(votes - centre, *parts, **options)
    poses = numbers(here.poses) + centre
    # Three turns of a few sums in float64.
    np.testing.assert_allclose(numbers(there.poses), poses, rtol=1e-9)
    np.testing.assert_allclose(
        numbers(there.activations), numbers(here.activations), rtol=1e-9
    )


@pytest.mark.equation("eq-fast-floor")
def test_no_measured_form_is_under_the_floor_of_its_votes():
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    votes = 4 * 36 * found["batch"] * 288 * 32 * 16  # bytes
    fastest = min(row["milliseconds"] for row in found["rows"]) / 1e3
    # No memory of a machine with two cores moves 100 GB a second; votes
    # are written once and read at least once a step of three M and two E.
    assert fastest > votes * 6 / 100e9
    for row in found["rows"]:
        if "one by one" not in row["name"]:
            assert row["megabytes"] > votes / 1e6
