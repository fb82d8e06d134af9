"""Routing stays finite at the edges, and exact in float32."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from capsules_by_hand import (  # noqa: E402
    DOUBLE,
    apart,
    arrays,
    called,
    filled,
    grid,
    slopes,
    tensors,
    weighed,
)

from emlib.capsules import (  # noqa: E402
    ClassCapsules,
    ConvCapsules,
    linear_margin,
    route,
    spread,
)

ROUTE = {"turns": 3, "inverse_temperature": 1.0, "mass_scale": 0.5}


def plain(seed=0, i=6, j=3, h=4):
    """Return votes, activations and prices in float32."""
    rng = np.random.default_rng(seed)
    parts = (
        rng.normal(size=(i, j, h)),
        rng.uniform(0.2, 1.0, size=i),
        rng.normal(size=j),
        rng.normal(size=j),
    )
    return [part.astype("float32") for part in parts]


def with_votes(change):
    """Return a plain case with other votes."""
    votes, *rest = plain()
    return [change(votes).astype("float32"), *rest]


def with_logits(size):
    """Return a plain case with prices of such a size."""
    votes, a, use, activate = plain()
    return [votes, a, use, size * np.sign(activate)]


def nobody():
    """Return a plain case where no child is active."""
    votes, a, *betas = plain()
    return [votes, 0 * a, *betas]


EDGES = {
    "plain": plain,
    "identical votes": lambda: with_votes(np.ones_like),
    "one place": lambda: with_votes(lambda v: 0 * v),
    "one child": lambda: plain(i=1),
    "one parent": lambda: plain(j=1),
    "one of each": lambda: plain(i=1, j=1),
    "no active child": nobody,
    "votes times 1e4": lambda: with_votes(lambda v: 1e4 * v),
    "votes times 1e-4": lambda: with_votes(lambda v: 1e-4 * v),
    "far off": lambda: with_votes(lambda v: 1e4 + 0 * v),
    "logits of 1e4": lambda: with_logits(1e4),
}


@pytest.mark.parametrize("cost", ["paper", "standardised"])
@pytest.mark.parametrize("edge", EDGES)
def test_values_and_slopes_are_finite(edge, cost):
    parts = [part.astype("float32") for part in EDGES[edge]()]

    def found(*parts):
        return route(*parts, **ROUTE, cost=cost)

    _, steps = route(*tensors(parts), **ROUTE, cost=cost, return_steps=True)
    for step in steps:
        means, variances, spent, logits, _ = step.params
        everything = arrays([means, variances, spent, logits, step.resp])
        assert all(np.isfinite(part).all() for part in everything)
        assert everything[1].min() >= np.float32(5e-4)
        np.testing.assert_allclose(everything[4].sum(-1), 1, atol=1e-5)
    total = weighed(found(*tensors(parts)), np.random.default_rng(1))
    for slope in slopes(lambda *parts: total(found(*parts)), *parts):
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("edge", ["plain", "none", "alike", "1e4", "1e-4"])
@pytest.mark.parametrize("kind", ["conv", "single", "class"])
def test_layers_are_finite_at_the_edges(kind, edge):
    layer = {
        "conv": lambda: ConvCapsules(2, 2, 1, turns=3),
        "single": lambda: ConvCapsules(1, 1, 1, turns=3),
        "class": lambda: ClassCapsules(2, turns=3),
    }[kind]()
    types = 1 if kind == "single" else 2
    poses, a = grid(0, (3, 4), types, dtype="float32")
    inputs = {
        "plain": (poses, a),
        "none": (poses, 0 * a),
        "alike": (np.ones_like(poses), a),
        "1e4": (np.float32(1e4) * poses, a),
        "1e-4": (np.float32(1e-4) * poses, a),
    }[edge]
    filled(layer, inputs, seed=0)
    if edge == "alike":
        w, *betas = layer.get_weights()
        layer.set_weights([np.broadcast_to(np.eye(4), w.shape), *betas])
    found = layer(inputs)
    assert all(np.isfinite(part).all() for part in arrays(found))
    total = weighed(found, np.random.default_rng(1))
    parts = [*inputs, *layer.get_weights()]
    for slope in slopes(lambda *p: total(called(layer, *p)), *parts):
        assert np.isfinite(slope).all()


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_without_an_active_child_votes_count_alike():
    votes, a, use, activate = nobody()
    parts = tensors([votes, a, use, activate])
    found, steps = route(*parts, **ROUTE, return_steps=True)
    poses, chances = arrays(found)
    _, variances, spent = arrays(steps[-1].params[:3])
    assert apart(poses, votes.mean(axis=0)) < 1e-6
    assert apart(variances.T, votes.var(axis=0) + 5e-4) < 1e-6
    assert np.abs(spent).max() == 0
    assert apart(chances, logistic(activate)) < 1e-6


def test_a_parent_that_no_child_prefers_counts_votes_alike():
    votes, a, use, activate = plain()
    votes[:, 0] = 0.0
    votes[:, 1] = np.linspace(-1e10, 1e10, 6)[:, None]  # R underflows
    found, steps = route(
        *tensors([votes, a, use, activate]),
        **ROUTE | {"turns": 2},
        return_steps=True,
    )
    (resp,) = arrays([steps[0].resp])
    assert resp[:, 1].max() == 0
    poses, chances = arrays(found)
    assert np.abs(poses[1]).max() < 1e4  # the mean of all: rounding
    assert chances[1] == pytest.approx(logistic(activate[1]), rel=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_logits_of_any_size_keep_their_logarithm(size):
    votes, a, use, activate = plain(j=2)
    activate[:] = size, size + 1
    parts = tensors([votes, a, use, activate])
    _, steps = route(*parts, **ROUTE, return_steps=True)
    logits, resp = arrays([steps[0].params.logits, steps[0].resp])
    if size < 0:  # log a is the logit: the parents still differ by it
        means, variances = arrays(steps[0].params[:2])
        x = votes.swapaxes(1, 2)
        logs = np.log(variances) + (x - means) ** 2 / variances
        joint = logits.astype("float64") - 0.5 * logs.sum(axis=1)
        wanted = logistic(joint[:, 1] - joint[:, 0])
        np.testing.assert_allclose(resp[:, 1], wanted, atol=2e-3)
    assert resp.min() >= 0


def test_the_steps_are_returned():
    parts = tensors(plain())
    found, steps = route(*parts, **ROUTE, return_steps=True)
    alone = route(*parts, **ROUTE)
    assert [step.turn for step in steps] == [1, 2, 3]
    for got, want in zip(arrays(found), arrays(alone), strict=True):
        np.testing.assert_array_equal(got, want)
    poses, means = arrays([found.poses, steps[-1].params.means])
    np.testing.assert_array_equal(poses, means.T)
    earlier = route(*parts, **ROUTE | {"turns": 2})
    poses, means = arrays([earlier.poses, steps[1].params.means])
    np.testing.assert_array_equal(poses, means.T)


def test_the_temperature_may_be_a_number_a_sequence_or_a_callable():
    parts = tensors(plain())

    def found(heat):
        options = ROUTE | {"inverse_temperature": heat}
        return np.concatenate(
            [p.ravel() for p in arrays(route(*parts, **options))]
        )

    np.testing.assert_array_equal(found(0.3), found([0.3] * 3))
    np.testing.assert_array_equal(found(0.3), found((0.3,) * 3))
    np.testing.assert_array_equal(found(0.3), found(lambda turn: 0.3))
    rising = found([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(
        rising, found(lambda t: [0.1, 0.2, 0.3][t])
    )
    for one in ([0.2, 0.2, 0.3], [0.1, 0.1, 0.3], [0.1, 0.2, 0.4]):
        assert apart(found(one), rising) > 1e-5


@pytest.mark.skipif(not DOUBLE, reason="votes in float32")
@pytest.mark.parametrize("competition", ["parents", "patch"])
@pytest.mark.parametrize("votes", ["easy", "tight"])
@pytest.mark.parametrize("seed", range(4))
def test_float32_is_near_float64(seed, votes, competition):
    rng = np.random.default_rng(seed)
    poses, activations = grid(seed, (9, 9), types=8, dtype="float32")
    weights = 0.5 * rng.normal(size=(3, 3, 8, 8, 4, 4))
    if votes == "tight":
        poses = (1 + 0.02 * poses).astype("float32")
        weights = np.eye(4) + 0.04 * weights
    betas = np.zeros((2, 8))  # as before training
    weights = [w.astype("float32") for w in (weights, *betas)]
    found = {}
    for dtype in ("float64", "float32"):
        layer = ConvCapsules(
            8, 3, 2, turns=3, competition=competition, dtype=dtype
        )
        parts = [p.astype(dtype) for p in (poses, activations, *weights)]
        layer.build([part.shape for part in parts[:2]])
        layer.set_weights(parts[2:])
        values = layer(parts[:2])
        total = weighed(values, np.random.default_rng(1))
        along = slopes(lambda *p, t=total: t(called(layer, *p)), *parts)  # noqa: B023
        found[dtype] = arrays(values), along
    for allowed, few, many in zip(
        (2e-6, 2e-5), found["float32"], found["float64"], strict=True
    ):
        for got, want in zip(few, many, strict=True):
            assert got.dtype == "float32"
            assert apart(got, want) < allowed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_spread_loss_is_over_wrong_classes(dtype):
    a = np.array([[0.9, 0.5, 0.1], [0.2, 0.4, 0.3]], dtype)
    right = np.array([[1, 0, 0], [0, 0, 1]], dtype)
    (found,) = arrays([spread(*tensors([a, right]), 0.6)])
    wanted = [0.2**2, 0.5**2 + 0.7**2]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    perfect = np.eye(3, dtype=dtype)
    (found,) = arrays([spread(*tensors([perfect, perfect]), 0.9)])
    assert np.abs(found).max() == 0


def test_the_margin_rises_from_a_fifth_to_nine_tenths():
    found = [float(linear_margin(step, 200)) for step in (0, 100, 200, 900)]
    np.testing.assert_allclose(found, [0.2, 0.55, 0.9, 0.9], rtol=1e-6)
