"""Routing and its layers against loops in float64, and their slopes."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from capsules_by_hand import (  # noqa: E402
    DOUBLE,
    apart,
    arrays,
    by_hand,
    called,
    class_by_hand,
    conv_by_hand,
    differences,
    filled,
    grid,
    tensors,
    weighed,
)

from emlib.capsules import (  # noqa: E402
    ClassCapsules,
    ConvCapsules,
    PrimaryCapsules,
    route,
    routing,
)

# A sum of up to 100 float32 numbers, a logarithm and a logistic, three
# times over; in float64 the same leaves 1e-13.
EXACT = {"float32": 2e-5, "float64": 1e-10}
ALLOWED = EXACT if DOUBLE else dict.fromkeys(EXACT, 2e-5)
RATES = [0.2, 0.5, 0.9]
NEEDS_DOUBLE = pytest.mark.skipif(not DOUBLE, reason="votes in float32")


def case(seed, i=9, j=4, h=5, batch=(), dtype="float64"):
    """Return votes, activations and the two prices."""
    rng = np.random.default_rng(seed)
    parts = (
        rng.normal(size=(*batch, i, j, h)),
        rng.uniform(size=(*batch, i)),
        rng.normal(size=j),
        rng.normal(size=j),
    )
    return tensors(part.astype(dtype) for part in parts)


def everyone(i, j):
    """Return who competes for each child where all parents do."""
    return [[list(range(j))]] * i


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize(
    ("cost", "dtype"),
    [
        ("paper", "float32"),
        ("paper", "float64"),
        ("standardised", "float32"),
        ("standardised", "float64"),
    ],
)
def test_route_is_the_procedure(cost, dtype, turns):
    parts = case(turns, batch=(3,), dtype=dtype)
    found = route(
        *parts,
        turns=turns,
        inverse_temperature=RATES,
        mass_scale=0.3,
        cost=cost,
    )
    votes, activations, *betas = (
        a.astype("float64") for a in arrays(parts)
    )
    for n in range(3):
        wanted = by_hand(
            votes[n],
            everyone(9, 4),
            activations[n],
            *betas,
            RATES[:turns],
            scale=0.3,
            standardised=cost == "standardised",
        )
        for got, want in zip(arrays(found), wanted, strict=True):
            assert apart(got[n], want) < EXACT[dtype]


WINDOWS = [
    # (grid, kernel, strides); "-" leaves a border uncovered
    ((3, 4), 1, 1),
    ((4, 5), 1, 2),  # gaps
    ((4, 3), 2, 1),
    ((5, 4), 2, 2),  # -
    ((7, 5), 2, 3),  # gaps, -
    ((4, 5), 3, 1),
    ((6, 7), 3, 2),  # -
    ((7, 6), 3, 3),  # -
    ((5, 6), 5, 1),
    ((7, 8), 5, 2),  # -
    ((8, 5), 5, 3),
    ((5, 6), (3, 2), (1, 2)),
]


@pytest.mark.parametrize("competition", ["parents", "patch"])
@pytest.mark.parametrize(("size", "kernel", "strides"), WINDOWS)
def test_conv_capsules_are_the_procedure(
    size, kernel, strides, competition
):
    # A parent of two children nearly has one: its variance is the floor,
    # and float32 leaves 3e-5. One of six is like the rest.
    types, wanted = (6 if kernel == 1 else 2), None
    for dtype, allowed in ALLOWED.items():
        layer = ConvCapsules(
            3,
            kernel,
            strides,
            turns=3,
            competition=competition,
            inverse_temperature=RATES,
            dtype=dtype,
        )
        inputs = grid(sum(size), size, types, dtype=dtype)
        filled(layer, inputs, seed=1)
        wanted = wanted or conv_by_hand(
            *(part.astype("float64") for part in inputs),
            *(w.astype("float64") for w in layer.get_weights()),
            strides=layer.strides,
            rates=RATES,
            competition=competition,
        )
        for got, want in zip(arrays(layer(inputs)), wanted, strict=True):
            assert got.dtype == dtype
            assert apart(got.reshape(want.shape), want) < allowed


@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 3)])
def test_class_capsules_are_the_procedure(size, dtype, coordinates):
    layer = ClassCapsules(
        4,
        turns=3,
        coordinates=coordinates,
        inverse_temperature=RATES,
        dtype=dtype,
    )
    inputs = grid(5, size, types=3, dtype=dtype)
    filled(layer, inputs, seed=2)
    wanted = class_by_hand(
        *(part.astype("float64") for part in inputs),
        *(w.astype("float64") for w in layer.get_weights()),
        rates=RATES,
        coordinates=coordinates,
    )
    for got, want in zip(arrays(layer(inputs)), wanted, strict=True):
        assert got.dtype == dtype
        assert apart(got, want) < ALLOWED[dtype]


@pytest.mark.parametrize("dtype", ALLOWED)
def test_primary_capsules_are_a_product_at_each_place(dtype):
    rng = np.random.default_rng(3)
    layer = PrimaryCapsules(2, kernel_size=2, strides=1, dtype=dtype)
    images = rng.normal(size=(2, 3, 4, 5)).astype(dtype)
    layer.build(images.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    kernel, bias = layer.get_weights()
    poses, activations = arrays(layer(images))
    for r in range(2):
        for c in range(3):
            window = images[:, r : r + 2, c : c + 2].reshape(2, -1)
            out = window @ kernel.reshape(-1, 34) + bias
            assert (
                apart(poses[:, r, c].reshape(2, 32), out[:, :32])
                < ALLOWED[dtype]
            )
            chance = 1 / (1 + np.exp(-out[:, 32:]))
            assert apart(activations[:, r, c], chance) < ALLOWED[dtype]


@pytest.mark.parametrize("seed", range(3))
def test_one_turn_is_the_weighted_mean_and_variance(seed):
    parts = case(seed)
    found, (step,) = route(*parts, turns=1, return_steps=True)
    votes, activations, *_ = arrays(parts)
    mean = np.average(votes, axis=0, weights=activations)  # (j, h)
    square = np.average((votes - mean) ** 2, axis=0, weights=activations)
    poses, variances = arrays([found.poses, step.params.variances])
    assert apart(poses, mean) < 1e-13
    assert apart(variances.T, square + 5e-4) < 1e-13


def test_a_start_may_be_given():
    parts = case(4)
    resp = np.random.default_rng(4).dirichlet(np.ones(4), size=9)
    found = route(*parts, turns=1, resp=ops.convert_to_tensor(resp))
    votes, activations, *_ = arrays(parts)
    for j in range(4):
        mean = np.average(
            votes[:, j], axis=0, weights=activations * resp[:, j]
        )
        assert apart(arrays(found)[0][j], mean) < 1e-13


# Central differences of step e are wrong by e^2 times the third derivative
# and by the rounding of the value over e: about 1e-9 of values near 1.
NEAR = {"rtol": 2e-6, "atol": 2e-7}


def follows(function, parts, seed=0):
    """Assert that slopes are what central differences say."""
    rng = np.random.default_rng(seed)
    pairs = list(differences(function, parts, rng))
    assert all(np.abs(slope) > 0 for slope, _ in pairs)
    said, measured = np.array(pairs).T
    np.testing.assert_allclose(said, measured, **NEAR)


@pytest.mark.parametrize("cost", ["paper", "standardised"])
@pytest.mark.parametrize("turns", [1, 3])
def test_slopes_of_route(turns, cost):
    parts = arrays(case(turns, i=7, j=3, h=4, batch=(2,)))

    def found(*parts):
        return route(
            *parts, turns=turns, inverse_temperature=RATES, cost=cost
        )

    total = weighed(found(*tensors(parts)), np.random.default_rng(9))
    follows(lambda *parts: total(found(*parts)), parts)


@NEEDS_DOUBLE
@pytest.mark.parametrize("competition", ["parents", "patch"])
@pytest.mark.parametrize(("kernel", "strides"), [(2, 1), (3, 2)])
def test_slopes_of_conv_capsules(kernel, strides, competition):
    layer = ConvCapsules(
        2,
        kernel,
        strides,
        turns=3,
        inverse_temperature=RATES,
        competition=competition,
        dtype="float64",
    )
    inputs = grid(7, (6, 5), types=2)
    filled(layer, inputs, seed=3)
    parts = [*inputs, *layer.get_weights()]
    total = weighed(layer(inputs), np.random.default_rng(9))
    follows(lambda *parts: total(called(layer, *parts)), parts)


@NEEDS_DOUBLE
def test_slopes_of_class_capsules():
    layer = ClassCapsules(
        3, turns=3, inverse_temperature=RATES, dtype="float64"
    )
    inputs = grid(8, (2, 3), types=2)
    filled(layer, inputs, seed=4)
    parts = [*inputs, *layer.get_weights()]
    total = weighed(layer(inputs), np.random.default_rng(9))
    follows(lambda *parts: total(called(layer, *parts)), parts)


@pytest.mark.parametrize("children", [3, 8, 148])  # 148: sums by halves
def test_the_written_slopes_of_moments(children):
    rng = np.random.default_rng(children)
    votes = rng.normal(size=(children, 2, 4, 3))
    masses = rng.uniform(0.1, 1.0, size=(children, 2, 3))

    def found(votes, masses):
        shares = masses / ops.sum(masses, axis=0)  # they sum to 1
        return [routing.moments(votes, shares)]

    total = weighed(found(*tensors([votes, masses])), rng)
    follows(lambda *parts: total(found(*parts)), [votes, masses])


@pytest.mark.parametrize("children", [3, 148])
def test_the_written_slopes_of_distances(children):
    rng = np.random.default_rng(children)
    parts = [
        rng.normal(size=(children, 2, 4, 3)),
        rng.normal(size=(2, 4, 3)),
        rng.uniform(0.2, 2.0, size=(2, 4, 3)),
    ]
    total = weighed([routing.distances(*tensors(parts))], rng)
    follows(lambda *parts: total([routing.distances(*parts)]), parts)


@pytest.mark.parametrize("children", [1, 72, 73, 144, 288, 300, 577])
def test_halves_add_up_to_the_whole(children):
    terms = np.random.default_rng(0).normal(size=(children, 2, 3))
    (found,) = arrays([routing.pairwise_sum(*tensors([terms]))])
    np.testing.assert_allclose(found, terms.sum(axis=0), atol=1e-12)
