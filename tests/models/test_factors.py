"""Factor analysis on the unchanged loop: a posterior without labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

from emlib import em, fit, gaussians
from emlib.loop import Step
from emlib.scale import InBlocks, blocks

SEEDS = range(3)


# --- the model


class Posterior(NamedTuple):
    """What the E-step returns: a Gaussian for each row's factors."""

    factors: Any  # (n, m), their means
    spread: Any  # (m, m), their covariance, the same for every row
    log_evidence: Any  # (n,)


class Params(NamedTuple):
    """Where the plane lies, its directions, and the noise about it."""

    mean: Any  # (d,)
    loadings: Any  # (d, m)
    noise: Any  # (d,), variances


@dataclass(frozen=True)
class Model:
    """Rows that are m factors, mixed, and noise in each column."""

    def e_step(self, x, params):
        mean, loadings, noise = params
        scaled = loadings / noise[:, None]  # (d, m)
        precision = np.eye(loadings.shape[1]) + loadings.T @ scaled
        spread = np.linalg.inv(precision)  # (m, m)
        factors = (x - mean) @ scaled @ spread  # (n, m)
        covariance = loadings @ loadings.T + np.diag(noise)  # (d, d)
        logs = gaussians.log_density(x, mean, covariance)  # (n,)
        return Posterior(factors, spread, logs)

    def summarise(self, x, posterior, multiplicity=None):
        times = np.ones(len(x)) if multiplicity is None else multiplicity
        one = np.ones((len(x), 1))
        both = np.hstack([x, posterior.factors, one])  # (n, d + m + 1)
        moments = (times[:, None] * both).T @ both
        d = x.shape[1]
        moments[d:-1, d:-1] += times.sum() * posterior.spread
        return moments  # (d + m + 1, d + m + 1)

    def maximise(self, statistics, previous=None):
        d, n = len(previous.mean), statistics[-1, -1]
        hidden, cross = statistics[d:, d:], statistics[d:, :d]
        slopes = np.linalg.solve(hidden, cross).T  # (d, m + 1)
        squares = np.diagonal(statistics)[:d]  # (d,)
        explained = (slopes * cross.T).sum(axis=1)  # (d,)
        noise = (squares - explained) / n  # (d,)
        return Params(slopes[:, -1], slopes[:, :-1], noise)


# --- what it is tried on


def case(seed, n=200, d=8, m=2):
    """Return rows of m factors and noise, and a start."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(d, m))  # (d, m)
    noise = rng.uniform(0.3, 1.0, size=d)  # (d,)
    x = rng.normal(size=(n, m)) @ loadings.T + rng.normal(size=d)
    x = x + np.sqrt(noise) * rng.normal(size=(n, d))  # (n, d)
    begin = Params(x.mean(axis=0), rng.normal(size=(d, m)), x.var(axis=0))
    return x, begin, rng


@pytest.mark.parametrize("seed", SEEDS)
def test_the_posterior_is_that_of_one_large_gaussian(seed):
    x, (mean, loadings, noise), _ = case(seed)
    said = Model().e_step(x, Params(mean, loadings, noise))
    covariance = loadings @ loadings.T + np.diag(noise)
    gain = np.linalg.solve(covariance, loadings).T  # (m, d)
    np.testing.assert_allclose(
        said.factors, (x - mean) @ gain.T, atol=1e-12
    )
    left = np.eye(2) - gain @ loadings
    np.testing.assert_allclose(said.spread, left, atol=1e-13)
    logs = multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(said.log_evidence, logs, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_objective_rises(seed):
    x, begin, rng = case(seed)
    begin = begin._replace(mean=begin.mean + 1)
    times = rng.integers(0, 3, size=len(x))
    for multiplicity in (None, times):
        steps = islice(em(Model(), x, begin, multiplicity), 200)
        heights = np.array([step.objective for step in steps])
        # Sums of 200 terms below ten: rounding is below 1e-11.
        assert np.diff(heights).min() > -1e-11
    long = fit(Model(), np.repeat(x, times, axis=0), begin, max_turns=50)
    short = fit(Model(), x, begin, times, max_turns=50)
    np.testing.assert_allclose(short.history, long.history, rtol=1e-11)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_evidence_is_scikit_learns(seed, m):
    x, begin, _ = case(seed, m=m)
    found = fit(Model(), x, begin, tol=1e-9, max_turns=5000)
    rival = FactorAnalysis(
        m, tol=1e-9, max_iter=5000, svd_method="lapack"
    ).fit(x)
    assert found.converged
    # Gains of 1e-9 that shrink by one in a hundred leave 1e-7 nats.
    wanted = rival.score_samples(x).sum()
    assert found.history[-1] == pytest.approx(wanted, rel=0, abs=1e-6)
    both = found.params.loadings @ found.params.loadings.T
    theirs = rival.components_.T @ rival.components_
    np.testing.assert_allclose(both, theirs, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.params.mean, rival.mean_, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_add_up(seed):
    x, begin, _ = case(seed)
    whole = fit(Model(), x, begin, max_turns=30)
    parts = fit(InBlocks(Model()), blocks(x, size=37), begin, max_turns=30)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-12)


def test_there_are_no_labels_and_nobody_asks_for_them():
    x, begin, _ = case(0)
    step = Step(0, begin, Model(), x, None)
    assert step.objective == step.bound
    with pytest.raises(AttributeError, match="resp"):
        _ = step.resp
