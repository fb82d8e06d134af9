"""Drawn starts of Gaussians: the same labels, the same moments."""

import numpy as np
import pytest

from emlib import GaussianMixture, starts
from emlib.estimators import gaussian_starts
from emlib.loop import Labels
from emlib.models import gaussians
from emlib.models.covariances import COVARIANCES
from emlib.scale import Rows, column_scale

KINDS = sorted(COVARIANCES)


def points(seed, n=300, d=3, k=4):
    """Return points of k clusters, their columns of unlike scale."""
    rng = np.random.default_rng(seed)
    middles = 6 * rng.normal(size=(k, d))
    x = middles[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return (x + 50) * np.logspace(0, 2, d)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_sides_have_the_moments_of_the_readable_form(kind, seed, weighted):
    x, rng = points(seed), np.random.default_rng(seed)
    times = rng.integers(1, 4, len(x)).astype(float) if weighted else None
    rows, cls = Rows(x, times), COVARIANCES[kind]
    unit = column_scale(rows, cls.scales).standardiser
    even = (x - unit.origin) / unit.scale.max()
    centres = even[rng.choice(len(x), 4, replace=False)]
    total = gaussian_starts._by_sides(rows, unit, cls, centres)
    model = gaussians.Model(kind)
    resp = Labels(starts.spread(even, centres))
    wanted = model.maximise(model.summarise(unit.rows(x), resp, times))
    found = model.maximise(total)
    # Sums of 300 numbers near one, in another order.
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_sides_add_over_blocks(monkeypatch):
    x, rng = points(0), np.random.default_rng(0)
    rows = Rows(x)
    unit = column_scale(rows).standardiser
    centres = unit.rows(x)[rng.choice(len(x), 4, replace=False)]

    def found(kind):
        cls = COVARIANCES[kind]
        total = gaussian_starts._by_sides(rows, unit, cls, centres)
        return gaussians.Model(kind).maximise(total)

    whole = [found(kind) for kind in KINDS]
    monkeypatch.setattr(gaussian_starts.budget, "START_ROWS", 70)
    monkeypatch.setattr(gaussian_starts, "JOINT_NUMBERS", 90)
    for one, kind in zip(whole, KINDS, strict=True):
        for part, other in zip(one, found(kind), strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_falls_into_every_cluster_that_is_far(seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(12), 20)
    # A second seed in a cluster has a chance of about 1e-6.
    z = 1e3 * np.eye(12)[labels] + rng.normal(size=(240, 12))
    seeds = gaussian_starts._seeds(z, 12, rng)
    assert sorted(seeds.argmax(axis=1)) == list(range(12))


def test_seeds_of_few_different_points_are_points():
    z = np.repeat(np.array([[0.0], [1.0]]), 5, axis=0)
    seeds = gaussian_starts._seeds(z, 4, np.random.default_rng(0))
    assert set(seeds.ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("d", [2, 20])
def test_seeds_are_as_near_as_those_of_the_readable_form(d):
    def missed(draw, seed):
        z, rng = points(seed, d=d, k=16), np.random.default_rng(seed)
        z = (z - z.mean(axis=0)) / z.std(axis=0)
        found = draw(z, 16, rng)
        return starts.squared_distances(z, found).min(axis=1).mean()

    ours = [missed(gaussian_starts._seeds, seed) for seed in range(40)]
    theirs = [missed(starts.seeds, seed) for seed in range(40)]
    # Means of 40 draws each: within four standard errors.
    noise = np.sqrt((np.var(ours) + np.var(theirs)) / 40)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * noise


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_turns_of_k_means_never_raise_the_inertia(seed, weighted):
    z, rng = points(seed), np.random.default_rng(seed)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    times = rng.integers(1, 4, len(z)).astype(float)
    centres = starts.picks(z, 6, rng)

    def inertia(centres):
        apart = starts.squared_distances(z, centres).min(axis=1)
        return float(apart @ (times if weighted else np.ones(len(z))))

    after = gaussian_starts._clusters(
        z, centres, times if weighted else None
    )
    assert inertia(after) < inertia(centres)


@pytest.mark.parametrize("how", ["kmeans", "k-means++", "random_from_data"])
def test_more_components_than_different_rows_have_a_start(how):
    x = np.repeat(points(0, n=5), 8, axis=0)
    mixture = GaussianMixture(
        7, init_params=how, max_iter=0, random_state=0, reg_covar=1.0
    )
    with pytest.warns(UserWarning, match=r"reg_covar=1\.0 is"):  # no other
        assert np.isfinite(mixture.fit(x).means_).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_lists_and_arrays_of_any_layout_start_alike(dtype, layout):
    x = points(1).astype(dtype)
    start = GaussianMixture(3, max_iter=0, random_state=0)
    wanted = start.fit(x.copy()).means_
    found = start.fit(np.array(x, order=layout)).means_
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("first", [0.0, 1e3, 1e9])
def test_columns_are_measured_wherever_the_first_row_is(first):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 3)) * [1e-3, 1, 1e5] + [1e4, 0, -1e6]
    x[0] += first
    times = rng.uniform(0.5, 2, len(x))
    found = column_scale(Rows(x, times))
    exact = x.astype(np.longdouble)  # (n, d)
    middle = (times @ exact) / times.sum()
    spread = times @ (exact - middle) ** 2 / times.sum()
    origin, scale = found.standardiser
    # Rounding is beside how far the columns go; widths lose three digits.
    apart = np.abs(origin - middle.astype(float))
    room = 1e-12 * np.sqrt(spread.astype(float)) + 1e-15 * np.abs(origin)
    assert (apart <= room).all()
    np.testing.assert_allclose(
        found.variances * scale**2, spread.astype(float), rtol=1e-11
    )


def test_a_constant_column_has_no_width_beside_others():
    x = np.column_stack([np.full(50, 0.1), np.arange(50.0)])
    found = column_scale(Rows(x))
    assert found.variances[0] == 0
    assert found.standardiser.scale[0] == 1
