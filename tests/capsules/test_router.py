"""Any routing in any layer: a tiny one, and one driver for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from capsules_by_hand import (  # noqa: E402
    apart,
    arrays,
    by_hand,
    grid,
    tensors,
)
from capsules_by_hand import windows as windows_by_hand  # noqa: E402

from emlib.capsules import (  # noqa: E402
    ClassCapsules,
    ConvCapsules,
    EMRouter,
    Router,
    capsule_network,
    route,
)
from emlib.capsules.routing import Capsules, Weight, m_step  # noqa: E402


class Means(NamedTuple):
    """Parents that are means of their votes."""

    means: Any  # (n, h, j)
    activations: Any  # (n, j)


@dataclass(frozen=True)
class Steps:
    """An M-step alone: a parent is as active as its children."""

    def e_step(self, x, params):
        raise AssertionError("uniform routing has no E-step")

    def summarise(self, x, posterior, multiplicity=None):
        found = m_step(x, posterior.resp, multiplicity)
        return found, ops.sum(posterior.resp, axis=0)

    def maximise(self, statistics, previous=None):
        found, shares = statistics
        return Means(found.means, found.mass / shares)


@keras.saving.register_keras_serializable(package="router_tests")
@dataclass(frozen=True)
class Uniform(Router):
    """Uniform routing: no E-step."""

    turns: int = 1

    def model(self, weights, competition, parents_per_child):
        return Steps()


@keras.saving.register_keras_serializable(package="router_tests")
@dataclass(frozen=True)
class Gated(Uniform):
    """Self-routing: each child says by its pose where it goes."""

    def weights(self, kernel, children, parents):
        shape = (*kernel, children, 16, parents)
        return {"gates": Weight(shape, "glorot_normal")}

    def start(self, children, votes, weights):
        i = children.transforms.shape[0]
        poses = ops.reshape(children.poses, (i, -1, 16))
        gates = ops.reshape(weights["gates"], (i, 16, -1))
        return ops.softmax(ops.matmul(poses, gates), axis=-1)


@keras.saving.register_keras_serializable(package="router_tests")
@dataclass(frozen=True)
class Fused(Uniform):
    """A routing that is given poses and transforms, and makes no votes."""

    def parents(self, children, weights):
        share = 1 / children.transforms.shape[1]
        masses = share * children.activations  # (i, n)
        weighed = children.poses * masses[..., None, None]
        poses = ops.einsum("inpq,ijqr->njpr", weighed, children.transforms)
        total = ops.sum(masses, axis=0)[:, None]  # (n, 1)
        n, j = poses.shape[:2]
        means = ops.reshape(poses, (n, j, 16)) / total[..., None]
        return Capsules(
            means, total / (share * len(masses)) + 0 * means[..., 0]
        )


def conv_means(poses, activations, transforms, strides, competition):
    """Return what `Uniform` must find, window by window."""
    samples, *size, types = activations.shape
    kernel, parents = transforms.shape[:2], transforms.shape[3]
    links = list(windows_by_hand(tuple(size), kernel, strides))
    often = np.zeros(size)
    for _, _, cell in links:
        often[cell] += 1
    places = 1 + max(p for p, _, _ in links)
    votes = np.zeros((samples, places, parents, 4, 4))
    mass, shares = np.zeros((2, samples, places, parents))
    for p, cell, at in links:
        share = 1 / parents
        share /= often[at] if competition == "parents" else 1
        for n, b, j in np.ndindex(samples, types, parents):
            a = activations[n][at][b]
            vote = poses[n][at][b] @ transforms[cell][b, j]
            votes[n, p, j] += share * a * vote
            mass[n, p, j] += share * a
            shares[n, p, j] += share
    return votes / mass[..., None, None], mass / shares


@pytest.mark.parametrize("competition", ["parents", "patch"])
def test_a_routing_of_ones_own_in_a_convolution(competition):
    inputs = grid(0, (5, 6), types=2)
    layer = ConvCapsules(
        3, 3, 2, competition=competition, routing=Uniform(), dtype="float64"
    )
    layer.build([part.shape for part in inputs])
    found = arrays(layer(inputs))
    (transforms,) = (w.astype("float64") for w in layer.get_weights())
    wanted = conv_means(*inputs, transforms, (2, 2), competition)
    for got, want in zip(found, wanted, strict=True):
        assert apart(got.reshape(want.shape), want) < 1e-12


def test_a_routing_of_ones_own_in_the_last_layer():
    inputs = grid(0, (2, 3), types=2)
    layer = ClassCapsules(
        3, coordinates=False, routing=Uniform(), dtype="float64"
    )
    layer.build([part.shape for part in inputs])
    means, chances = arrays(layer(inputs))
    transforms = layer.get_weights()[0]
    votes = np.einsum("nrcipq,ijqs->nrcijps", inputs[0], transforms)
    wanted = np.einsum("nrcijps,nrci->njps", votes, inputs[1])
    wanted /= inputs[1].sum(axis=(1, 2, 3))[:, None, None, None]
    assert apart(means, wanted) < 1e-12
    assert apart(chances, inputs[1].mean(axis=(1, 2, 3))[:, None]) < 1e-12


def test_route_takes_the_same_routing():
    rng = np.random.default_rng(0)
    votes, a = rng.normal(size=(9, 4, 5)), rng.uniform(size=9)
    found = route(
        *tensors([votes, a, *np.zeros((2, 4))]), routing=Uniform()
    )
    poses, chances = arrays(found)
    assert apart(poses, np.average(votes, axis=0, weights=a)) < 1e-12
    assert apart(chances, np.full(4, a.mean())) < 1e-12


def test_a_fused_routing_needs_no_votes():
    inputs = grid(0, (5, 5), types=2)
    found = []
    for routing in (Uniform(), Fused()):
        layer = ConvCapsules(
            3, 3, 1, competition="patch", routing=routing, dtype="float64"
        )
        filled_alike(layer, inputs)
        found.append(arrays(layer(inputs)))
    for got, want in zip(*found, strict=True):
        assert apart(got, want) < 1e-12


def filled_alike(layer, inputs):
    """Build a layer, and draw each of its weights, always the same."""
    rng = np.random.default_rng(1)
    layer.build([part.shape for part in inputs])
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])


@pytest.mark.parametrize("rematerialise", [False, True])
@pytest.mark.parametrize("kind", ["conv", "class"])
def test_a_routing_owns_weights_and_is_saved(kind, rematerialise, tmp_path):
    options = {"routing": Gated(), "rematerialise": rematerialise}
    layer = {
        "conv": lambda: ConvCapsules(3, (3, 2), 1, **options),
        "class": lambda: ClassCapsules(
            3, **{**options, "routing": Uniform()}
        ),
    }[kind]()
    inputs = [keras.Input((5, 4, 2, 4, 4)), keras.Input((5, 4, 2))]
    model = keras.Model(inputs, layer(inputs))
    names = [w.name for w in layer.weights]
    assert names == ["transforms", "gates"][: 1 + (kind == "conv")]
    if kind == "conv":
        assert tuple(layer.gates.shape) == (3, 2, 2, 16, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].routing == layer.routing
    assert loaded.layers[-1].get_config() == layer.get_config()
    parts = grid(0, (5, 4), types=2, dtype="float32")
    for got, want in zip(loaded(parts), model(parts), strict=True):
        np.testing.assert_array_equal(*arrays([got, want]))


def test_a_network_of_another_routing_learns_and_is_saved(tmp_path):
    network = capsule_network(
        preset="small", classes=3, outputs="both", routing=Uniform()
    )
    names = {w.name for w in network.trainable_weights}
    assert not names & {"beta_use", "beta_activate"}
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 28, 28, 1)).astype("float32")
    y = rng.normal(size=(4, 3, 4, 4)).astype("float32")
    losses = {"poses": "mse", "activations": None}
    network.compile("sgd", losses, jit_compile=False)
    before = network.get_weights()
    network.fit(x, {"poses": y}, batch_size=2, verbose=0)
    after = network.get_weights()
    assert all(
        np.isfinite(b).all() and (a != b).any()
        for a, b in zip(before, after, strict=True)
    )
    network.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert again.get_config() == network.get_config()
    np.testing.assert_array_equal(
        again.predict(x, verbose=0)["poses"],
        network.predict(x, verbose=0)["poses"],
    )


def test_options_are_those_of_em_routing():
    plain = ConvCapsules(2, 3, turns=3, cost="standardised")
    given = ConvCapsules(
        2, 3, routing=EMRouter(turns=3, cost="standardised")
    )
    assert plain.routing == given.routing
    network = capsule_network(preset="small", turns=3, variance_floor=1e-3)
    routing = network.get_layer("parts").routing
    assert routing == EMRouter(turns=3, variance_floor=1e-3)
    assert network.get_layer("classes").routing == routing


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ConvCapsules(2, 3, routing="em"), "must be a Router"),
        (
            lambda: ConvCapsules(2, 3, routing=Uniform(), cost="paper"),
            r"beside it.*\['cost'\]|\['cost'\] beside it",
        ),
        (
            lambda: capsule_network(routing=Uniform(), turns=3),
            r"\['turns'\] beside it",
        ),
    ],
)
def test_routings_that_are_none_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_routing_that_wants_more_is_for_layers():
    parts = np.ones((5, 3, 4)), np.ones(5), np.ones(3), np.ones(3)
    with pytest.raises(ValueError, match=r"it wants \['gates'\]"):
        route(*tensors(parts), routing=Gated())
    with pytest.raises(NotImplementedError, match="must have a `model`"):
        route(*tensors(parts), routing=Router())


@pytest.mark.equation("eq-fast-middle")
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_route_is_as_exact_as_the_layers_far_from_0(turns):
    rng = np.random.default_rng(0)
    votes = (100 + rng.normal(size=(24, 5, 16))).astype("float32")
    a = rng.uniform(0.1, 1.0, size=24).astype("float32")
    betas = rng.normal(size=(2, 5)).astype("float32")
    options = {"turns": turns, "inverse_temperature": 0.1}
    options["mass_scale"] = 5 / 24
    poses, chances = arrays(route(*tensors([votes, a, *betas]), **options))
    # Of identity poses the votes are the transforms, to the last bit.
    layer = ClassCapsules(5, coordinates=False, **options)
    eye = np.broadcast_to(np.eye(4, dtype="float32"), (1, 1, 1, 24, 4, 4))
    layer.build([eye.shape, (1, 1, 1, 24)])
    layer.set_weights([votes.reshape(24, 5, 4, 4), *betas])
    of_layer = arrays(layer([eye, a.reshape(1, 1, 1, 24)]))
    wide = [part.astype("float64") for part in (votes, a, *betas)]
    wanted, right = by_hand(
        wide[0],
        [[list(range(5))]] * 24,
        *wide[1:],
        [0.1] * turns,
        scale=5 / 24,
    )
    errors = [
        np.abs(found - right).max() for found in (chances, of_layer[1])
    ]
    # Both round a number near 1/2 some dozen times.
    assert max(errors) < 1e-6
    assert errors[0] <= errors[1] + 2e-7
    # A float32 near 100 is known to 4e-6.
    assert np.abs(poses - wanted).max() < 1e-5
    assert np.abs(of_layer[0].reshape(5, 16) - wanted).max() < 1e-5


def test_steps_of_route_are_told_about_0():
    rng = np.random.default_rng(0)
    votes, a = 100 + rng.normal(size=(9, 4, 5)), rng.uniform(size=9)
    parts = tensors([votes, a, *rng.normal(size=(2, 4))])
    found, steps = route(*parts, turns=3, return_steps=True)
    assert [step.turn for step in steps] == [1, 2, 3]
    for step in steps:
        again = step.model.e_step(step.x, step.params).resp
        assert apart(*arrays([step.resp, again])) < 1e-10
    assert (
        apart(arrays([steps[-1].params.means])[0].T, arrays(found)[0]) == 0
    )
