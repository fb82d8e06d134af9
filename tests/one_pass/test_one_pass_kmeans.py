"""k-means in one pass against its two steps, and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from emlib import kmeans, sweep
from emlib.loop import Labels
from emlib.one_pass.kmeans import Model
from emlib.scale import blocks

SEEDS = range(5)


def cloud(seed=0, n=60, d=3):
    """Return rows of some overlapping clusters."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + rng.choice([0, 3], size=(n, d))


def weights(n, seed=0):
    """Return how often rows count: some not at all."""
    return np.random.default_rng(seed).integers(0, 4, size=n) / 2


def exact(x, means):
    """Return the inertia and the labels, in fractions."""
    total, labels = Fraction(0), []
    centres = [[Fraction(float(v)) for v in mean] for mean in means]
    for row in x:
        point = [Fraction(float(v)) for v in row]
        apart = [
            sum((a - b) ** 2 for a, b in zip(point, c, strict=True))
            for c in centres
        ]
        total += min(apart)
        labels.append(apart.index(min(apart)))
    return float(total), labels


@pytest.mark.equation("eq-one_pass-natural")
@pytest.mark.parametrize("seed", SEEDS)
def test_k_means_has_its_own_one_pass(seed):
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 3, size=40).astype(float)
    points = rng.normal(size=(40, 2))
    cold, ends = Model(), kmeans.Params(points[:3])
    resp, near = cold.e_step(points, ends)
    found, total = cold.expect(points, ends, times)
    slow = cold.maximise(cold.summarise(points, Labels(resp), times))
    np.testing.assert_allclose(
        cold.maximise(found).means, slow.means, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(total, times @ near, rtol=1e-11)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e8])
@pytest.mark.parametrize("numbers", [1, 2**18])
@pytest.mark.parametrize("about", ["zero", "mean", None])
@pytest.mark.parametrize("seed", range(3))
def test_expected_statistics_is_the_e_step_and_its_sums(
    seed, about, numbers, far, counted
):
    x = cloud(seed, 200) + far
    params = kmeans.Params(x[:6].copy())
    times = weights(len(x), seed) if counted else None
    origins = {"zero": np.zeros(3), "mean": x.mean(axis=0), None: None}
    model = Model(origins[about], numbers)
    found, bound = model.expect(x, params, times)
    said = model.e_step(x, params)
    wanted = model.summarise(x, said, times, found.origin)
    np.testing.assert_array_equal(found.counts, wanted.counts)
    # Sums of 200 rows in another order: some units in the last place of
    # the rows, as they are about the origin.
    size = abs(x - found.origin).max()
    np.testing.assert_allclose(
        found.sums, wanted.sums, rtol=1e-13, atol=1e-13 * 200 * size
    )
    evidence = said.log_evidence  # (n,)
    total = evidence.sum() if times is None else times @ evidence
    # The bound is a difference of squares about the origin.
    assert bound == pytest.approx(total, rel=1e-13, abs=1e-12 * size**2)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "fortran"])
@pytest.mark.parametrize("about", [None, "zero"])
def test_expected_statistics_takes_rows_of_any_type(kind, about):
    x = np.random.default_rng(0).integers(0, 9, size=(99, 4))
    given = (
        np.asfortranarray(x.astype(float))
        if kind == "fortran"
        else x.astype(kind)
    )
    origin = np.zeros(4) if about else None
    model = Model(origin, 128)
    params = kmeans.Params(x[:5] + 0.3)
    found, bound = model.expect(given, params)
    wanted, other = model.expect(x.astype(float), params)
    np.testing.assert_array_equal(found.counts, wanted.counts)
    np.testing.assert_allclose(found.sums, wanted.sums, rtol=1e-13)
    assert bound == pytest.approx(other, rel=1e-13)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1 / 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_ties_go_to_the_lowest_index_however_the_sums_round(seed, shift):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, size=(400, 2)).astype(float)
    params = kmeans.Params(rng.integers(-3, 4, size=(9, 2)).astype(float))
    model = Model(np.full(2, shift))
    labels = np.concatenate(
        [some.labels for some in model.assign(params)(x)]
    )
    np.testing.assert_array_equal(labels, exact(x, params.means)[1])


@pytest.mark.parametrize("far", [1e4, 1e9, 1e15])
def test_tight_clusters_far_away_are_told_apart(far):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(size=(30, 2)), far + rng.normal(size=(30, 2))]
    )
    params = kmeans.Params(
        np.concatenate([np.zeros((1, 2)), far + rng.normal(size=(4, 2))])
    )
    (some,) = Model().assign(params)(x)
    np.testing.assert_array_equal(some.labels, exact(x, params.means)[1])


def test_more_than_256_centres_have_labels():
    x = np.random.default_rng(0).permutation(9.0 * np.arange(300))
    params = kmeans.Params(9.0 * np.arange(300)[:, None])
    (some,) = Model().assign(params)(x[:, None])
    np.testing.assert_array_equal(9.0 * some.labels, x)


def test_a_sweep_takes_the_fast_way():
    x, times = cloud(n=100), weights(100)
    params = kmeans.Params(x[:4].copy())
    model = Model(x.mean(axis=0), 64)
    found, bound = sweep(model, blocks(x, times, 30), params)
    wanted, other = model.expect(x, params, times)
    np.testing.assert_allclose(found.sums, wanted.sums, rtol=1e-12)
    assert bound == pytest.approx(other, rel=1e-12)
