"""Routing against loops in float64, a diagonal mixture, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal, norm, zscore

keras = pytest.importorskip("keras")
ops = keras.ops

from emlib import gaussians  # noqa: E402
from emlib.capsules import routing  # noqa: E402
from emlib.capsules.routing import em, route  # noqa: E402
from emlib.loop import Labels  # noqa: E402

SEEDS = range(4)


def case(seed, i=7, j=3, h=4, batch=()):
    """Return votes, activations and prices, in float64."""
    rng = np.random.default_rng(seed)
    votes = rng.normal(size=(*batch, i, j, h))
    activations = rng.uniform(size=(*batch, i))
    return votes, activations, rng.normal(size=j), rng.normal(size=j)


def by_loops(votes, activations, use, activate, turns, rates, floor, scale):
    """Return poses and activations, one number at a time."""
    i, j, h = votes.shape
    resp = [[1 / j] * j for _ in range(i)]
    for turn in range(turns):
        means, variances, logits = [], [], []
        for b in range(j):
            m = [activations[a] * resp[a][b] for a in range(i)]
            s = math.fsum(m)
            mu = [
                math.fsum(m[a] * votes[a, b, e] for a in range(i)) / s
                for e in range(h)
            ]
            var = [
                math.fsum(
                    m[a] * (votes[a, b, e] - mu[e]) ** 2 for a in range(i)
                )
                / s
                + floor
                for e in range(h)
            ]
            price = [use[b] + 0.5 * math.log(v) for v in var]
            cost = scale * s * math.fsum(price)
            means.append(mu)
            variances.append(var)
            logits.append(rates[turn] * (activate[b] - cost))
        if turn == turns - 1:
            break
        for a in range(i):
            logs = []
            for b in range(j):
                z = -math.log1p(math.exp(-logits[b]))
                for e in range(h):
                    v = variances[b][e]
                    apart = votes[a, b, e] - means[b][e]
                    z -= 0.5 * (math.log(2 * math.pi * v) + apart**2 / v)
                logs.append(z)
            top = max(logs)
            parts = [math.exp(z - top) for z in logs]
            resp[a] = [part / math.fsum(parts) for part in parts]
    return np.array(means), 1 / (1 + np.exp(-np.array(logits)))


def numpy(found):
    return tuple(ops.convert_to_numpy(part) for part in found)


@pytest.mark.equation("eq-routing-loop")
@pytest.mark.parametrize("turns", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_route_is_the_rule_in_loops(seed, turns):
    votes, activations, *betas = case(seed)
    rates = [0.1 * (t + 1) for t in range(turns)]
    wanted = by_loops(votes, activations, *betas, turns, rates, 5e-4, 0.7)
    found = route(
        votes,
        activations,
        *betas,
        turns=turns,
        inverse_temperature=rates,
        mass_scale=0.7,
    )
    for got, want in zip(numpy(found), wanted, strict=True):
        # Keras computes these in float64, as NumPy does.
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.equation("eq-routing-mixture")
@pytest.mark.parametrize("seed", SEEDS)
def test_with_equal_votes_and_shares_for_activations_it_is_a_mixture(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 3))
    resp = rng.dirichlet(np.ones(4), size=60)
    model = gaussians.Model("diag")
    params = model.maximise(model.summarise(x, Labels(resp)))
    votes = np.repeat(x[:, :, None], 4, axis=2)  # (i, h, j)
    ours = resp
    for _ in range(20):
        _, mass, means, variances = routing.m_step(votes, ours, np.ones(60))
        shares = ops.log(mass / ops.sum(mass))
        ours = routing.e_step(votes, means, variances, shares).resp
        theirs = model.e_step(x, params).resp
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), theirs, rtol=0, atol=1e-10
        )
        params = model.maximise(model.summarise(x, Labels(theirs)))


def inside(seed, i=7, j=3, h=4):
    """Return votes (i, h, j), shares (i, j) and activations (i,)."""
    rng = np.random.default_rng(100 + seed)
    resp = rng.dirichlet(np.ones(j), size=i)
    return rng.normal(size=(i, h, j)), resp, rng.uniform(size=i)


def parents(seed):
    """Return means and variances (h, j), and log activations (j,)."""
    rng = np.random.default_rng(200 + seed)
    means, variances = rng.normal(size=(4, 3)), rng.gamma(2, size=(4, 3))
    return means, variances, np.log(rng.uniform(size=3))


def close(one, other, rtol=1e-11):
    """Hold tensors of float64 against NumPy's numbers."""
    one = ops.convert_to_numpy(one)
    assert one.dtype == np.float64
    # Sums of some dozen terms; nothing here cancels more than two digits.
    np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-13)


@pytest.mark.equation("eq-routing-moments")
@pytest.mark.parametrize("seed", SEEDS)
def test_moments_are_weighted_averages_and_covariances(seed):
    votes, resp, activations = inside(seed)
    found = routing.m_step(votes, resp, activations)
    for j in range(3):
        weights = [
            a * r for a, r in zip(activations, resp[:, j], strict=True)
        ]
        close(found.mass[j], math.fsum(weights))
        mean = np.average(votes[:, :, j], axis=0, weights=weights)
        close(found.means[:, j], mean)
        spread = np.cov(votes[:, :, j].T, aweights=weights, bias=True)
        close(found.variances[:, j], np.diag(spread))


@pytest.mark.equation("eq-routing-describe")
@pytest.mark.parametrize("floor", [0.0, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_so_many_nats_describe_the_votes_of_a_parent(seed, floor):
    votes, resp, activations = inside(seed)
    found = routing.m_step(votes, resp, activations)
    mass, means, variances = map(ops.convert_to_numpy, found[1:])
    width = np.sqrt(variances + floor)  # (h, j)
    length = -norm.logpdf(votes, means, width)  # (i, h, j)
    paid = np.einsum("i,ij,ihj->hj", activations, resp, length)
    square = variances / (2 * width**2)  # (h, j)
    wanted = mass * (np.log(width) + 0.5 * np.log(2 * np.pi) + square)
    np.testing.assert_allclose(paid, wanted, rtol=1e-11, atol=1e-13)
    assert (square < 0.5).all() if floor else np.allclose(square, 0.5)


@pytest.mark.equation("eq-routing-cost")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_cost_is_a_description_less_its_constants(seed):
    votes, resp, activations = inside(seed)
    _, mass, means, variances = routing.m_step(votes, resp, activations)
    use = np.random.default_rng(seed).normal(size=3)
    length = -norm.logpdf(
        votes,
        ops.convert_to_numpy(means),
        np.sqrt(ops.convert_to_numpy(variances)),
    )
    paid = np.einsum("i,ij,ihj->j", activations, resp, length)
    constant = 0.5 + 0.5 * math.log(2 * math.pi)
    flat = 4 * (use - constant) * (activations @ resp)  # (j,)
    cost = routing.paper_cost(mass, variances, use, 0.7)
    close(cost, 0.7 * (paid + flat))


@pytest.mark.equation("eq-routing-standardised")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_standardised_cost_is_a_z_score(seed):
    _, variances, _ = parents(seed)
    mass, use = np.array([0.5, 2.0, 1.0]), np.array([0.1, -0.3, 0.2])
    plain = routing.paper_cost(mass, variances, use, 1.3)
    found = routing.standardised_cost(mass, variances, use, 1.3)
    close(found, zscore(ops.convert_to_numpy(plain)))
    same = routing.standardised_cost(
        np.ones(3), np.ones((4, 3)), np.ones(3), 1.0
    )
    assert (ops.convert_to_numpy(same) == 0).all()


@pytest.mark.equation("eq-routing-joint")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_is_that_of_a_gaussian_with_a_diagonal(seed):
    votes, _, _ = inside(seed)
    means, variances, logs = parents(seed)
    found = routing.log_joint(votes, means, variances, logs)
    for j in range(3):
        bell = multivariate_normal(means[:, j], np.diag(variances[:, j]))
        close(found[:, j], logs[j] + bell.logpdf(votes[:, :, j]))


@pytest.mark.equation("eq-routing-e")
@pytest.mark.parametrize("seed", SEEDS)
def test_responsibilities_are_shares_of_density_times_activation(seed):
    votes, _, _ = inside(seed)
    means, variances, logs = parents(seed)
    density = norm.pdf(votes, means, np.sqrt(variances)).prod(axis=1)
    joint = np.exp(logs) * density  # (i, j)
    found = routing.e_step(votes, means, variances, logs)
    close(found.resp, joint / joint.sum(axis=1, keepdims=True))
    close(found.log_evidence, np.log(joint.sum(axis=1)))


@pytest.mark.equation("eq-routing-activation")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_activation_weighs_the_price_against_the_cost(seed):
    votes, activations, use, activate = case(seed)
    found = route(
        votes,
        activations,
        use,
        activate,
        turns=1,
        inverse_temperature=0.4,
        variance_floor=0.0,
    )
    for j in range(3):
        spread = np.cov(votes[:, j].T, aweights=activations, bias=True)
        widths = np.log(np.diag(spread)) / 2
        cost = activations.sum() / 3 * (use[j] + widths).sum()
        close(found.activations[j], expit(0.4 * (activate[j] - cost)))


@pytest.mark.equation("eq-routing-temperature")
def test_the_temperature_closes_a_twentieth_of_what_is_left():
    rate = 0.0
    for turn in range(50):
        rate += 0.05 * (0.01 - rate)
        assert math.isclose(
            routing.authors_temperature(turn), rate, rel_tol=1e-12
        )


@pytest.mark.equation("eq-routing-loop")
@pytest.mark.parametrize("turns", [1, 2, 4])
def test_so_many_m_steps_and_one_e_step_fewer(monkeypatch, turns):
    done = {"m_step": 0, "e_step": 0}
    for name in done:
        step = getattr(em, name)

        def counted(*args, name=name, step=step):
            done[name] += 1
            return step(*args)

        monkeypatch.setattr(em, name, counted)
    route(*case(0), turns=turns)
    assert done == {"m_step": turns, "e_step": turns - 1}


# The laws that catch what goes wrong in programs for this rule.


def test_a_child_that_is_not_active_might_as_well_not_be_there():
    votes, activations, *betas = case(1)
    activations[[2, 5]] = 0
    with_them = route(votes, activations, *betas, turns=3)
    here = activations > 0
    without = route(votes[here], activations[here], *betas, turns=3)
    for one, other in zip(with_them, without, strict=True):
        close(one, ops.convert_to_numpy(other))


def test_every_child_twice_costs_twice_or_half_the_scale():
    votes, activations, *betas = case(2)
    twice = np.concatenate([votes, votes]), np.tile(activations, 2)
    steps = [
        route(*seen, *betas, turns=1, return_steps=True)[1][0]
        for seen in ((votes, activations), twice)
    ]
    one, two = (ops.convert_to_numpy(s.params.cost) for s in steps)
    np.testing.assert_allclose(two, 2 * one, rtol=1e-12)
    plain = route(votes, activations, *betas, turns=3)
    scaled = route(*twice, *betas, turns=3, mass_scale=0.5)
    for one, other in zip(scaled, plain, strict=True):
        close(one, ops.convert_to_numpy(other))


def test_equal_votes_leave_all_numbers_finite_and_above_the_floor():
    votes = np.ones((5, 2, 3), "float32")
    ones, zero = np.ones(5, "float32"), np.zeros(2, "float32")
    found, steps = route(
        votes, ones, zero, zero, turns=3, return_steps=True
    )
    assert all(np.isfinite(ops.convert_to_numpy(p)).all() for p in found)
    for step in steps:
        floor = ops.convert_to_numpy(step.params.variances)
        assert (floor >= np.float32(5e-4)).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_shares_sum_to_one_however_far_the_votes(size):
    votes, activations, *betas = case(3, h=16)
    small = [
        a.astype("float32") for a in (size * votes, activations, *betas)
    ]
    _, steps = route(*small, turns=3, return_steps=True)
    for step in steps:
        total = ops.convert_to_numpy(step.resp).sum(axis=-1)
        np.testing.assert_allclose(total, 1, rtol=0, atol=1e-5)


def test_log_activations_tell_very_unlikely_parents_apart():
    model = routing.Routing(np.zeros(2), np.zeros(2))
    logits = np.array([-1e4, -1e4 + 1])
    one = np.ones((1, 2))
    params = routing.Params(0 * one, one, np.zeros(2), logits, 0)
    resp = model.e_step(np.zeros((1, 1, 2)), params).resp
    close(resp[0], [1 / (1 + math.e), math.e / (1 + math.e)])


def test_votes_that_all_move_leave_variances_and_activations():
    votes, activations, *betas = case(0)
    votes = (0.03 * votes).astype("float32")
    rest = [a.astype("float32") for a in (activations, *betas)]
    here = route(votes, *rest, turns=1, return_steps=True)[1][0]
    there = route(votes + 8, *rest, turns=1, return_steps=True)[1][0]
    # Beside 8 a float32 is rounded by 5e-7; the spread is 0.03.
    np.testing.assert_allclose(
        ops.convert_to_numpy(there.params.variances),
        ops.convert_to_numpy(here.params.variances),
        rtol=1e-4,
    )


def test_the_expected_log_joint_is_flat_at_the_new_moments():
    votes, resp, activations = inside(3)
    _, _, means, variances = routing.m_step(votes, resp, activations)
    means, variances = map(ops.convert_to_numpy, (means, variances))
    weights = activations[:, None, None] * resp[:, None]  # (i, 1, j)

    def expected(m, v):
        return (weights * norm.logpdf(votes, m, np.sqrt(v))).sum()

    at = expected(means, variances)
    for h, j in np.ndindex(4, 3):
        bump = np.zeros((4, 3))
        bump[h, j] = 1e-4
        for moved in (
            (means + bump, variances),
            (means - bump, variances),
            (means, variances + bump),
            (means, variances - bump),
        ):
            assert expected(*moved) < at


def test_blocks_of_children_add_even_if_one_is_absent():
    votes, resp, activations = inside(1)
    activations[:3] = 0
    whole = routing.m_step(votes, resp, activations)
    parts = [
        routing.m_step(votes[b], resp[b], activations[b])
        for b in (slice(0, 3), slice(3, 5), slice(5, 7))
    ]
    for one, other in zip(sum(parts), whole, strict=True):
        close(ops.convert_to_tensor(one, "float64"), other)


def test_some_problems_end_in_a_cycle_of_two_states():
    votes = np.random.default_rng(3).normal(size=(200, 12, 3, 2))
    ones = np.ones(3)
    _, steps = route(
        votes,
        np.ones((200, 12)),
        ones,
        ones,
        turns=300,
        inverse_temperature=3.0,
        variance_floor=1e-2,
        return_steps=True,
    )
    a, b, c = (ops.convert_to_numpy(s.resp) for s in steps[-3:])
    back = abs(c - a).max(axis=(0, 2)) < 1e-12
    moves = abs(c - b).max(axis=(0, 2)) > 0.1
    assert 0 < (back & moves).sum() < 100
