"""Votes against loops, and what they promise of a picture that moves."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from emlib.capsules import votes as poll  # noqa: E402
from emlib.capsules import windows  # noqa: E402

SEEDS = range(3)


@pytest.mark.equation("eq-votes-spots")
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_so_many_windows_end_inside(kernel, stride):
    for size in range(kernel, 15):
        firsts = range(0, size, stride)
        inside = [f for f in firsts if f + kernel <= size]
        assert windows.output_size(size, kernel, stride) == len(inside)


@pytest.mark.equation("eq-votes-patches")
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (5, 5)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 2)])
def test_a_window_sees_its_cells(kernel, strides):
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 3))
    seen = ops.convert_to_numpy(windows.patches(x, kernel, strides))
    cells, batch, rows, columns, features = seen.shape
    assert (cells, batch, features) == (kernel[0] * kernel[1], 2, 3)
    assert (rows - 1) * strides[0] + kernel[0] <= 9
    assert rows * strides[0] + kernel[0] > 9
    assert columns * strides[1] + kernel[1] > 8
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            for r in range(rows):
                for c in range(columns):
                    cell = x[:, strides[0] * r + u, strides[1] * c + v]
                    got = seen[u * kernel[1] + v, :, r, c]
                    assert (got == cell).all()


def case(seed):
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(3, 5, 4, 4))  # (i, n, 4, 4)
    return poses, rng.normal(size=(3, 2, 4, 4)), rng


@pytest.mark.equation("eq-votes-vote")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_vote_is_the_pose_times_the_transform(seed):
    poses, transforms, _ = case(seed)
    said = ops.convert_to_numpy(poll.votes(poses, transforms))
    assert said.shape == (3, 5, 16, 2)
    for i, n, j in np.ndindex(3, 5, 2):
        one = poses[i, n] @ transforms[i, j]
        # Sums of four products, in another order.
        np.testing.assert_allclose(
            said[i, n, :, j], one.ravel(), rtol=0, atol=1e-13
        )


@pytest.mark.equation("eq-votes-moved")
@pytest.mark.parametrize("seed", SEEDS)
def test_votes_move_with_the_picture(seed):
    poses, transforms, rng = case(seed)
    move = rng.normal(size=(4, 4))
    here = ops.convert_to_numpy(poll.votes(poses, transforms))
    there = ops.convert_to_numpy(poll.votes(move @ poses, transforms))
    for i, n, j in np.ndindex(3, 5, 2):
        moved = move @ here[i, n, :, j].reshape(4, 4)
        np.testing.assert_allclose(
            there[i, n, :, j].reshape(4, 4), moved, rtol=0, atol=1e-12
        )


@pytest.mark.equation("eq-votes-chance")
@pytest.mark.parametrize(("n", "entries"), [(2, 1), (2, 3), (3, 2)])
def test_chance_votes_agree_as_rarely_as_that(n, entries):
    # On a ring of L places, all of them counted: near means at most d
    # steps away, so 2 d + 1 places of L stand for the length 2 delta.
    places, d = 7, 1
    grid = np.indices([places] * (n * entries)).reshape(n, entries, -1)
    apart = abs(grid[1:] - grid[:1])
    apart = np.minimum(apart, places - apart)
    share = (apart <= d).all(axis=(0, 1)).mean()
    rule = ((2 * d + 1) / places) ** (entries * (n - 1))
    assert share == pytest.approx(rule, rel=1e-12)
