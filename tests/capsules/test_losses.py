"""The spread loss and its margin."""

from __future__ import annotations

from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import ops

from emlib.capsules import (
    SpreadLoss,
    linear_margin,
    spread,
    stepped_margin,
)

SEEDS = range(5)


def one_hot(labels, classes):
    return np.eye(classes)[labels]


@pytest.mark.equation("eq-layers-spread")
@pytest.mark.parametrize("margin", [0.2, 0.55, 0.9])
@pytest.mark.parametrize("seed", SEEDS)
def test_spread_is_a_sum_over_wrong_classes(seed, margin):
    rng = np.random.default_rng(seed)
    a, labels = rng.uniform(size=(6, 10)), rng.integers(10, size=6)
    found = ops.convert_to_numpy(spread(a, one_hot(labels, 10), margin))
    exact = Fraction(margin)
    for value, row, t in zip(found, a, labels, strict=True):
        lead = [
            Fraction(row[t]) - Fraction(row[i]) for i in range(10) if i != t
        ]
        charges = [(exact - d) ** 2 for d in lead if d < exact]
        assert value == pytest.approx(float(sum(charges)), rel=1e-12)


@pytest.mark.equation("eq-layers-spread")
def test_spread_is_zero_exactly_when_the_target_leads_by_the_margin():
    t = one_hot([0, 0, 0], 3)
    a = np.array([[0.75, 0.25, 0.0], [0.75, 0.5, 0.0], [0.25, 0.25, 0.25]])
    found = ops.convert_to_numpy(spread(a, t, 0.5))
    assert found.tolist() == [0, 0.25**2, 2 * 0.5**2]


@pytest.mark.equation("eq-layers-spread")
def test_the_loss_is_a_mean_that_does_not_know_the_batch():
    rng = np.random.default_rng(20)
    a = rng.uniform(size=(8, 5)).astype("float32")
    labels = rng.integers(5, size=8)
    for loss in (SpreadLoss(0.6), SpreadLoss(0.6, from_labels=False)):
        y = labels if loss.from_labels else one_hot(labels, 5)
        y = y.astype("float32")
        each = [float(loss(y[n : n + 1], a[n : n + 1])) for n in range(8)]
        whole = float(loss(y, a))
        twice = float(loss(np.concatenate([y, y]), np.concatenate([a, a])))
        assert whole == pytest.approx(np.mean(each), rel=1e-6)
        assert twice == pytest.approx(whole, rel=1e-6)


def test_class_numbers_may_stand_in_a_column():
    a = np.array([[0.9, 0.5], [0.1, 0.4]], "float32")
    row, column = np.array([0, 1]), np.array([[0], [1]])
    loss = SpreadLoss(0.6)
    assert float(loss(row, a)) == float(loss(column, a))


def test_a_saved_loss_comes_back_equal():
    loss = SpreadLoss(0.35, from_labels=False)
    told = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (told.margin, told.from_labels) == (0.35, False)


@pytest.mark.equation("eq-layers-margin")
@pytest.mark.parametrize("steps", [1, 4, 1000])
def test_the_margin_rises_evenly_and_then_stays(steps):
    found = [
        float(linear_margin(t, steps))
        for t in (0, steps / 4, steps / 2, steps, steps + 1, 10 * steps)
    ]
    wanted = [0.2, 0.375, 0.55, 0.9, 0.9, 0.9]
    # The margin is a number of 32 bits.
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.equation("eq-layers-margin")
def test_the_margin_of_a_step_that_is_a_weight_is_not_frozen():
    step = keras.Variable(0.0, trainable=False)
    assert float(linear_margin(step, 10)) == pytest.approx(0.2)
    step.assign(10.0)
    assert float(linear_margin(step, 10)) == pytest.approx(0.9)


@pytest.mark.equation("eq-layers-stepped")
@pytest.mark.parametrize("steps", [8, 80, 1000])
def test_the_stepped_margin_has_eight_levels_of_equal_length(steps):
    found = [float(stepped_margin(t, steps)) for t in range(2 * steps)]
    wanted = [0.2 + 0.1 * k for k in range(8) for _ in range(steps // 8)]
    wanted += [0.9] * (2 * steps - len(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
