"""Layers of capsules: windows, who competes with whom, coordinates."""

from __future__ import annotations

from itertools import product

import keras
import numpy as np
import pytest
from keras import ops

from emlib.capsules import layers, votes, windows

SEEDS = range(3)
GRIDS = [
    ((size, kernel, (stride, stride)))
    for size in [(7, 7), (6, 9)]
    for kernel in [(1, 1), (2, 2), (3, 3), (5, 5), (2, 3)]
    for stride in (1, 2, 3)
]


def windows_by_loops(size, kernel, strides):
    """Return the children of each window, by loops and divisions alone."""
    corners = [
        (r, c)
        for r, c in product(range(size[0]), range(size[1]))
        if r % strides[0] == 0 and c % strides[1] == 0
        if r + kernel[0] <= size[0] and c + kernel[1] <= size[1]
    ]
    return [
        [
            (r + down) * size[1] + c + right
            for down, right in product(range(kernel[0]), range(kernel[1]))
        ]
        for r, c in corners
    ]


def often(size, kernel, strides):
    """Return how many windows see each child."""
    found = windows_by_loops(size, kernel, strides)
    return [sum(n in w for w in found) for n in range(size[0] * size[1])]


def tables(grid):
    """Return which children windows see, and the way back."""
    return (
        windows.children_of_windows(*grid),
        windows.windows_of_children(*grid),
    )


def shared(log_joint, types, grid):
    """Return what `softmax_over_positions` finds, as an array."""
    found = windows.softmax_over_positions(log_joint, types, *tables(grid))
    return ops.convert_to_numpy(found.resp)


@pytest.mark.equation("eq-votes-spots")
@pytest.mark.parametrize("size", range(1, 12))
def test_as_many_windows_fit_as_can_be_counted(size):
    for kernel, stride in product(range(1, size + 1), range(1, 5)):
        firsts = [n for n in range(0, size, stride) if n + kernel <= size]
        assert windows.output_size(size, kernel, stride) == len(firsts)


@pytest.mark.parametrize("grid", GRIDS)
def test_windows_see_the_children_that_they_cover(grid):
    assert windows.children_of_windows(
        *grid
    ).T.tolist() == windows_by_loops(*grid)


@pytest.mark.parametrize("grid", GRIDS)
def test_patches_hold_what_windows_see(grid):
    size = grid[0]
    x = np.arange(2.0 * size[0] * size[1]).reshape(2, *size)
    views = ops.convert_to_numpy(windows.patches(x, *grid[1:]))
    for n, cells in enumerate(views.swapaxes(0, 1)):
        looked = x[n].ravel()[np.array(windows_by_loops(*grid)).T]
        np.testing.assert_array_equal(cells.reshape(looked.shape), looked)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_child_finds_its_way_back_to_its_windows(grid):
    looked, back = tables(grid)
    flat = looked.ravel().tolist()
    for child, row in enumerate(back.tolist()):
        own = [n for n, other in enumerate(flat) if other == child]
        assert row[: len(own)] == own
        assert set(row[len(own) :]) <= {looked.size}


@pytest.mark.equation("eq-layers-share")
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_those_of_a_loop_over_children(grid, seed):
    rng, samples, types, kinds = np.random.default_rng(seed), 2, 3, 4
    seen_by = windows_by_loops(*grid)
    cells, places = grid[1][0] * grid[1][1], len(seen_by)
    joint = rng.normal(0, 3, (cells, types, samples, places, kinds))
    wanted = np.zeros_like(joint)
    for child in range(grid[0][0] * grid[0][1]):
        at = [
            (cell, place)
            for place, looked in enumerate(seen_by)
            for cell, other in enumerate(looked)
            if other == child
        ]
        for kind, sample in product(range(types), range(samples)):
            claims = [np.exp(joint[c, kind, sample, p]) for c, p in at]
            for (c, p), claim in zip(at, claims, strict=True):
                wanted[c, kind, sample, p] = claim / np.sum(claims)
    flat = (cells * types, samples * places, kinds)
    found = shared(joint.reshape(flat), types, grid)
    # Sums of at most a hundred terms, in 64 bits.
    np.testing.assert_allclose(found, wanted.reshape(flat), rtol=1e-12)


@pytest.mark.equation("eq-layers-share")
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_shares_stay_finite_and_sum_to_one(scale):
    grid = (7, 7), (3, 3), (2, 2)
    rng = np.random.default_rng(20)
    joint = scale * rng.normal(size=(9, 9, 4)).astype("float32")
    found = shared(joint, 1, grid)
    total = np.zeros(49)
    np.add.at(total, windows.children_of_windows(*grid), found.sum(axis=-1))
    # A logarithm of 1e4 is known to 1e-3 in 32 bits, and so is its share.
    np.testing.assert_allclose(total, 1, rtol=5e-3)


@pytest.mark.equation("eq-layers-start")
@pytest.mark.parametrize("grid", GRIDS)
def test_routing_starts_at_one_over_the_parents_that_a_child_feeds(grid):
    size, kernel, strides = grid
    layer = layers.ConvCapsules(5, kernel, strides)
    layer.build([(None, *size, 2, 4, 4), (None, *size, 2)])
    times = np.array(often(*grid))[
        windows.children_of_windows(*grid)
    ]  # (cells, places)
    cells, places = times.shape
    zeros = np.zeros((cells * 2, places, 5), "float32")
    start = ops.convert_to_numpy(layer._rules(2)[0](zeros).resp)
    wanted = 1 / (5 * np.repeat(times, 2, axis=0))
    np.testing.assert_allclose(start, wanted[..., None] * np.ones(5), 1e-6)


@pytest.mark.equation("eq-layers-scale")
@pytest.mark.parametrize("competition", ["parents", "patch"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_mean_of_the_scaled_mass_is_one_at_the_start(grid, competition):
    size, kernel, strides = grid
    layer = layers.ConvCapsules(5, kernel, strides, competition=competition)
    layer.build([(None, *size, 2, 4, 4), (None, *size, 2)])
    compete, scale = layer._rules(2)
    cells, places = windows.children_of_windows(*grid).shape
    zeros = np.zeros((cells * 2, places, 5), "float32")
    mass = ops.convert_to_numpy(compete(zeros).resp).sum(axis=0)
    assert abs(scale * mass.mean() - 1) < 1e-5


@pytest.mark.equation("eq-layers-scale")
def test_the_scale_of_a_layer_is_what_its_cost_uses():
    poses = np.random.default_rng(20).normal(size=(2, 5, 5, 3, 4, 4))
    grid = poses.astype("float32"), np.ones((2, 5, 5, 3), "float32")
    keras.utils.set_random_seed(20)
    one = layers.ConvCapsules(4, 3, 2)
    told = layers.ConvCapsules(4, 3, 2, mass_scale=4 * 4 / (25 * 3))
    other = layers.ConvCapsules(4, 3, 2, mass_scale=1.0)
    found = [layer(grid)[1] for layer in (one, told, other)]
    for layer in (told, other):
        layer.set_weights(one.get_weights())
    found = [layer(grid)[1] for layer in (one, told, other)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    assert np.abs(found[0] - found[2]).max() > 1e-3


@pytest.mark.equation("eq-layers-coordinates")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (2, 5)])
def test_each_vote_is_told_where_its_child_stands(height, width):
    rng = np.random.default_rng(20)
    plain = rng.normal(size=(height * width, 3, 2, 16, 4))
    told = ops.convert_to_numpy(votes.add_coordinates(plain, height, width))
    matrices = told.reshape(height, width, 3, 2, 4, 4, 4)
    before = plain.reshape(matrices.shape)
    for row, column in np.ndindex(height, width):
        move = np.zeros((4, 4))
        move[0, 3] = (2 * row + 1) / (2 * height)
        move[1, 3] = (2 * column + 1) / (2 * width)
        np.testing.assert_allclose(
            matrices[row, column] - before[row, column],
            np.broadcast_to(move[..., None], (3, 2, 4, 4, 4)),
            rtol=0,
            atol=1e-14,
        )


@pytest.mark.equation("eq-layers-coordinates")
@pytest.mark.parametrize("told", [True, False])
def test_only_coordinates_tell_the_classes_about_places(told):
    rng = np.random.default_rng(20)
    poses = rng.normal(size=(2, 3, 4, 2, 4, 4)).astype("float32")
    active = rng.uniform(0.1, 1, size=(2, 3, 4, 2)).astype("float32")
    order = rng.permutation(12)
    mixed = [
        x.reshape(2, 12, *x.shape[3:])[:, order].reshape(x.shape)
        for x in (poses, active)
    ]
    keras.utils.set_random_seed(20)
    layer = layers.ClassCapsules(5, coordinates=told)
    apart = [
        np.abs(ops.convert_to_numpy(a - b)).max()
        for a, b in zip(layer((poses, active)), layer(mixed), strict=True)
    ]
    # Sums of 24 votes in another order, in 32 bits.
    assert (max(apart) < 1e-4) == (not told)


@pytest.mark.parametrize(
    ("turns", "competition", "alone"),
    [(1, "parents", True), (2, "patch", True), (2, "parents", False)],
)
def test_parents_feel_children_outside_by_competition_only(
    turns, competition, alone
):
    rng = np.random.default_rng(20)
    poses = rng.normal(size=(2, 7, 7, 2, 4, 4)).astype("float32")
    active = np.full((2, 7, 7, 2), 0.5, "float32")
    poses[1] = poses[0]
    poses[1, 4, 4] += 1  # the first window ends before row and column 3
    layer = layers.ConvCapsules(
        3, 3, 2, turns=turns, competition=competition
    )
    found = ops.convert_to_numpy(layer((poses, active))[0])
    apart = np.abs(found[0] - found[1]).max(axis=(2, 3, 4))  # (3, 3)
    assert apart[2, 2] > 1e-3
    # Rounding reaches some 1e-7 of poses near 1.
    assert (apart[0, 0] < 1e-5) == alone


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "total"),
    [(64, 8, 16, 16, 68_444), (32, 32, 32, 32, 318_964)],
)
def test_the_network_has_as_many_parameters_as_the_paper_says(
    a, b, c, d, total
):
    grids = [
        (None, 14, 14, b),
        (None, 6, 6, c),
        (None, 4, 4, d),
    ]
    first = keras.layers.Conv2D(a, 5, 2, "same")
    first.build((None, 28, 28, 1))
    primary = layers.PrimaryCapsules(b)
    primary.build((None, 14, 14, a))
    rest = [
        layers.ConvCapsules(c, 3, 2),
        layers.ConvCapsules(d, 3, 1),
        layers.ClassCapsules(10),
    ]
    for layer, grid in zip(rest, grids, strict=True):
        layer.build([(*grid, 4, 4), grid])
    counts = [x.count_params() for x in (first, primary, *rest)]
    by_hand = [
        26 * a,
        17 * b * (a + 1),
        9 * b * c * 16 + 2 * c,
        9 * c * d * 16 + 2 * d,
        d * 10 * 16 + 2 * 10,
    ]
    assert counts == by_hand
    assert sum(counts) == total
