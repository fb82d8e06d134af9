"""Bounded rows against the two steps of k-means, turn by turn."""

from __future__ import annotations

import numpy as np
import pytest

from emlib import kmeans
from emlib.estimators import bounded_rows
from emlib.estimators.bounded_rows import BoundedRows
from emlib.loop import Labels
from emlib.scale import Rows, budget, even_slices

SEEDS = range(4)


def cloud(seed=0, n=300, d=3):
    """Return rows of some overlapping clusters."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + rng.choice([0, 3], size=(n, d))


def weights(n, seed=0):
    """Return how often rows count: some not at all."""
    return np.random.default_rng(seed).integers(0, 4, size=n) / 2


def bounded(x, times=None, blocks=1, origin=None):
    """Return the rows with a memory of their sides."""
    origin = np.zeros(x.shape[1]) if origin is None else origin
    return BoundedRows(
        Rows(x, times),
        np.empty(len(x), dtype=np.int32),
        origin,
        float(np.sqrt(((x - origin) ** 2).sum(axis=1).mean())) or 1.0,
        even_slices(len(x), -(-len(x) // blocks)),
    )


def ways(monkeypatch, way):
    """Choose how sides are found: by all products, or by margins."""
    monkeypatch.setattr(bounded_rows, "FEW", 1e9 if way == "all" else 0)
    few = 0 if way == "forgetful" else budget.MARGIN_ROWS
    monkeypatch.setattr(budget, "MARGIN_ROWS", few)
    if way == "pieces":
        monkeypatch.setattr(budget, "CLUSTER_BYTES", 8)
        monkeypatch.setattr(budget, "FEATURE_BYTES", 0)


WAYS = ["all", "margins", "forgetful", "pieces"]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e8])
@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_turn_is_that_of_the_two_steps(
    seed, way, k, far, counted, monkeypatch
):
    ways(monkeypatch, way)
    x = cloud(seed, d=2 + 3 * (seed % 2)) + far
    times = weights(len(x), seed) if counted else None
    sides = bounded(x, times, 1 + seed % 2, 0 * x[0] + far)
    model, params = kmeans.Model(), kmeans.Params(x[:k].copy())
    for _ in range(12):
        said = model.e_step(x, params)
        wanted = model.summarise(x, said, times, sides.origin)
        found, bound = sides.expect(params)
        # Labels are equal, and counts whole or half numbers: exactly.
        np.testing.assert_array_equal(found.counts, wanted.counts)
        # Sums of 300 rows, in another order.
        np.testing.assert_allclose(found.sums, wanted.sums, atol=1e-11)
        evidence = said.log_evidence  # (n,)
        total = evidence.sum() if times is None else times @ evidence
        assert bound == pytest.approx(total, rel=1e-12)
        params = model.maximise(found, params)
    sides.assign(params)
    wanted = model.e_step(x, params).resp.argmax(axis=1)
    np.testing.assert_array_equal(sides.labels, wanted)


@pytest.mark.parametrize("step", [1e-3, 0.3, 30.0])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_right_however_the_centres_move(
    seed, way, step, monkeypatch
):
    ways(monkeypatch, way)
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, size=(500, 2)).astype(float)  # many ties
    sides, means = bounded(x), x[:8].copy()
    for turn in range(30):
        params = kmeans.Params(means)
        sides.assign(params)
        wanted = kmeans.Model().e_step(x, params).resp.argmax(axis=1)
        np.testing.assert_array_equal(sides.labels, wanted)
        some = rng.integers(8, size=1 + turn % 3)
        means = means.copy()
        means[some] += step * rng.integers(-2, 3, size=(len(some), 2))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("far", [1e4, 1e9, 1e15])
def test_tight_clusters_far_away_are_told_apart(far, way, monkeypatch):
    ways(monkeypatch, way)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    x[300:] += far
    sides, model = bounded(x), kmeans.Model()
    params = kmeans.Params(x[[0, 1, 2, 300, 301, 302]])
    for _ in range(8):
        found, _ = sides.expect(params)
        wanted = model.e_step(x, params)
        counts = wanted.resp.sum(axis=0)  # (k,)
        np.testing.assert_array_equal(found.counts, counts)
        params = model.maximise(
            model.summarise(x, Labels(wanted.resp)), params
        )


def test_most_rows_are_passed_over_when_centres_hardly_move(monkeypatch):
    ways(monkeypatch, "margins")
    x = cloud(n=2000)
    sides, asked = bounded(x), []
    before = BoundedRows._assign

    def counted(self, place, turn):
        asked.append(len(self.labels[place]))
        return before(self, place, turn)

    monkeypatch.setattr(BoundedRows, "_assign", counted)
    params = kmeans.Params(x[:8].copy())
    for _ in range(30):
        found, _ = sides.expect(params)
        params = kmeans.Model().maximise(found, params)
    assert asked[0] == len(x)
    assert asked[-1] < len(x) / 20


def test_a_restart_forgets_all_sides(monkeypatch):
    ways(monkeypatch, "margins")
    x = cloud()
    sides, params = bounded(x), kmeans.Params(cloud()[:4])
    for start in (0, 40):
        sides.restart()
        params = kmeans.Params(x[start : start + 4].copy())
        sides.assign(params)
        wanted = kmeans.Model().e_step(x, params).resp.argmax(axis=1)
        np.testing.assert_array_equal(sides.labels, wanted)
