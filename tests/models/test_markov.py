"""A hidden Markov model on the unchanged loop, its emission given to it.

One x is one sequence, and several sequences are several blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np
import pytest

from emlib import coins, em, fit, gaussians, laws
from emlib.loop import Block, Labels
from emlib.scale import InBlocks

SEEDS = range(3)
EMISSIONS = ["coins", "full", "tied", "diag", "spherical"]


# --- the model


class Posterior(NamedTuple):
    """What the E-step returns: labels, and pairs of them."""

    resp: Any  # (t, k), of each row given the whole sequence
    log_evidence: Any  # (t,), of each row given those before it
    moves: Any  # (t - 1, k, k), of each row's label and the next one's


class Params(NamedTuple):
    """Where a sequence begins, how it moves, what is seen there."""

    first: Any  # (k,)
    moves: Any  # (k, k); each row sums to 1
    emission: Any


class Statistics(NamedTuple):
    """Expected beginnings and moves, and the emission's statistics."""

    first: Any  # (k,)
    moves: Any  # (k, k)
    emission: Any

    def __add__(self, other):
        return Statistics(*map(sum, zip(self, other, strict=True)))

    def __radd__(self, zero):
        return self


@dataclass(frozen=True)
class Model:
    """A chain of labels, each of which emits a row."""

    emission: Any

    def log_likelihood(self, x, params):
        ones = np.ones_like(params.emission.weights)  # (k,)
        emission = params.emission._replace(weights=ones)
        return self.emission.log_joint(x, emission)  # (t, k)

    def e_step(self, x, params):
        logs = self.log_likelihood(x, params)  # (t, k)
        peak = logs.max(axis=1, keepdims=True)  # (t, 1)
        seen = np.exp(logs - peak)  # (t, k)
        forward, evidence = np.empty_like(seen), np.empty_like(peak)
        ahead = params.first  # (k,)
        for t, row in enumerate(seen):
            evidence[t] = (ahead * row).sum()
            forward[t] = ahead * row / evidence[t]
            ahead = forward[t] @ params.moves  # (k,)
        scaled, after = seen / evidence, np.ones_like(seen)  # (t, k)
        for t in range(len(x) - 1, 0, -1):
            after[t - 1] = params.moves @ (scaled[t] * after[t])
        to = (scaled * after)[1:, None, :]  # (t - 1, 1, k)
        moves = forward[:-1, :, None] * params.moves * to  # (t - 1, k, k)
        log_evidence = (peak + np.log(evidence))[:, 0]  # (t,)
        return Posterior(forward * after, log_evidence, moves)

    def summarise(self, x, posterior, multiplicity=None):
        resp = posterior.resp  # (t, k)
        if isinstance(posterior, Labels):
            moves = resp[:-1, :, None] * resp[1:, None, :]  # (t - 1, k, k)
        else:
            moves = posterior.moves  # (t - 1, k, k)
        emitted = self.emission.summarise(x, posterior, multiplicity)
        return Statistics(resp[0], moves.sum(axis=0), emitted)

    def maximise(self, statistics, previous=None):
        first, moves, emitted = statistics
        was = None if previous is None else previous.emission
        return Params(
            first / first.sum(),
            moves / moves.sum(axis=1, keepdims=True),
            self.emission.maximise(emitted, previous=was),
        )


# --- what it is tried on


def case(name, seed, n, k=3):
    """Return a model, a sequence of n rows, parameters, and chance."""
    rng = np.random.default_rng([seed, n])
    labels = np.cumsum(rng.random(n) < 0.2) % k  # it stays for a while
    if name == "coins":
        means = np.linspace(0.15, 0.85, k)  # (k,)
        heads = rng.binomial(10, means[labels])  # (n,)
        x = np.stack([heads, 10 - heads], axis=1)  # (n, 2)
        emission = coins.Model()
        begin = coins.Params(np.full(k, 1 / k), rng.uniform(0.2, 0.8, k))
    else:
        x = 2.0 * labels[:, None] + rng.normal(size=(n, 2))  # (n, d)
        emission, kind = gaussians.Model(name), gaussians.COVARIANCES[name]
        eyes = np.stack([np.eye(2)] * k)  # (k, d, d)
        cells = kind.keep(eyes) / kind.pool(np.ones(k))
        begin = kind(np.full(k, 1 / k), rng.normal(2, 1, (k, 2)), cells)
    moves = rng.dirichlet(np.ones(k), size=k)  # (k, k)
    params = Params(rng.dirichlet(np.ones(k)), moves, begin)
    return Model(emission), x, params, rng


def by_paths(model, x, params):
    """Return the posterior and the evidence, summed over all paths."""
    k, rows = len(params.first), np.arange(len(x))
    logs = model.log_likelihood(x, params)  # (t, k)
    paths = np.array(list(product(range(k), repeat=len(x))))  # (k^t, t)
    joint = np.log(params.first)[paths[:, 0]] + logs[rows, paths].sum(1)
    joint += np.log(params.moves)[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    total = np.logaddexp.reduce(joint)
    shares, one = np.exp(joint - total), np.eye(k)[paths]  # (k^t, t, k)
    resp = np.einsum("p,ptk->tk", shares, one)
    moves = np.einsum("p,ptj,ptk->tjk", shares, one[:, :-1], one[:, 1:])
    return resp, moves, total


@pytest.mark.parametrize("name", EMISSIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_e_step_is_the_sum_over_all_paths(seed, name):
    for n, k in ((6, 2), (5, 3), (1, 3)):
        model, x, params, _ = case(name, seed, n, k)
        said = model.e_step(x, params)
        resp, moves, total = by_paths(model, x, params)
        np.testing.assert_allclose(said.resp, resp, rtol=0, atol=1e-10)
        np.testing.assert_allclose(said.moves, moves, rtol=0, atol=1e-10)
        assert said.log_evidence.sum() == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("name", EMISSIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_objective_rises_at_each_of_40_turns(seed, name):
    model, x, params, rng = case(name, seed, 80)
    labels = Labels(rng.dirichlet(np.ones(3), size=80))
    for start in (params, labels):
        steps = islice(em(model, x, start), 41)
        heights = np.array([step.objective for step in steps])
        # Sums of 80 terms of some nats: rounding is below 1e-11.
        assert np.diff(heights).min() > -1e-11
        assert heights[-1] - heights[0] > 1
    assert laws.monotone(laws.Case(model, x, params, rng)) < 1e-12
    assert laws.normalise(laws.Case(model, x, params, rng)) < 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_the_m_step_is_the_top_of_what_is_expected(seed):
    model, x, params, rng = case("coins", seed, 150)
    said = model.e_step(x, params)
    best = model.maximise(model.summarise(x, said))

    def expected(at):
        seen = (said.resp * model.log_likelihood(x, at)).sum()
        moved = (said.moves * np.log(at.moves)).sum()
        return said.resp[0] @ np.log(at.first) + moved + seen

    for _ in range(20):
        size = 0.01 * rng.random()
        moves = (1 - size) * best.moves + size * params.moves
        first = (1 - size) * best.first + size * params.first
        means = best.emission.means + size * rng.normal(size=3)
        aside = best.emission._replace(means=np.clip(means, 0.01, 0.99))
        assert expected(Params(first, moves, aside)) < expected(best)


@pytest.mark.parametrize("name", ["coins", "full"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sequences_are_blocks_and_add(seed, name):
    model, x, params, _ = case(name, seed, 60)
    cuts = [Block(x[:20]), Block(x[20:21]), Block(x[21:])]
    whole = InBlocks(model)
    said = [model.e_step(block.x, params) for block in cuts]
    heights = [
        step.objective for step in islice(em(whole, cuts, params), 9)
    ]
    wanted = sum(each.log_evidence.sum() for each in said)
    assert heights[0] == pytest.approx(wanted, abs=1e-10)
    assert np.diff(heights).min() > -1e-11
    total = whole.e_step(cuts, params).statistics
    moves = sum(each.moves.sum(axis=0) for each in said)
    np.testing.assert_allclose(total.moves, moves, rtol=1e-13)
    assert total.emission.counts.sum() == pytest.approx(60, rel=1e-13)


def test_a_chain_that_stays_is_found():
    rng = np.random.default_rng(0)
    labels = np.cumsum(rng.random(1500) < 0.1) % 2
    x = 1.5 * labels[:, None] + rng.normal(size=(1500, 1))
    begin = gaussians.Full(
        np.full(2, 0.5), np.array([[-0.5], [2.0]]), np.ones((2, 1, 1))
    )
    start = Params(np.full(2, 0.5), np.full((2, 2), 0.5), begin)
    model = Model(gaussians.Model())
    found = fit(model, x, start, tol=1e-4)
    assert found.converged
    # 1,500 rows, 150 moves: standard errors of 0.01 and 0.05.
    stay = np.diagonal(found.params.moves)
    np.testing.assert_allclose(stay, 0.9, atol=0.05)
    means = found.params.emission.means[:, 0]
    np.testing.assert_allclose(means, [0.0, 1.5], atol=0.15)
    said = model.e_step(x, found.params).resp.argmax(axis=1)
    alone = gaussians.Model().e_step(x, found.params.emission).resp
    # The rows before and after tell more than a row alone.
    right = (said == labels).mean()
    assert right > (alone.argmax(axis=1) == labels).mean() + 0.05
