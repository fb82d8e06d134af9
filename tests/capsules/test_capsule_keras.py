"""Capsule layers as Keras has layers: saved, fitted, in other dtypes."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from capsules_by_hand import (  # noqa: E402
    BACKEND,
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
    PrimaryCapsules,
    SpreadLoss,
    route,
)


@keras.saving.register_keras_serializable(package="capsule_tests")
def warming(turn):
    """Return an inverse temperature that rises."""
    return 0.1 * (turn + 1)


LAYERS = {
    "primary": lambda **o: PrimaryCapsules(2, (2, 1), 2, **o),
    "conv": lambda **o: ConvCapsules(3, (3, 2), (2, 1), **o),
    "class": lambda **o: ClassCapsules(3, **o),
}
OPTIONS = [
    {},
    {"turns": 3, "inverse_temperature": [0.1, 0.2, 0.3]},
    {"inverse_temperature": warming, "cost": "standardised"},
    {"mass_scale": 0.5, "variance_floor": 1e-3, "rematerialise": True},
    {"transforms_initializer": keras.initializers.RandomNormal(stddev=0.1)},
    {"transforms_initializer": "glorot_uniform", "name": "mine"},
]


def model_of(layer):
    """Return a functional model with an open batch."""
    shapes = [(5, 4, 2, 4, 4), (5, 4, 2)]
    if isinstance(layer, PrimaryCapsules):
        shapes = [(5, 4, 3)]
    inputs = [keras.Input(s, dtype=layer.variable_dtype) for s in shapes]
    inputs = inputs if len(inputs) > 1 else inputs[0]
    return keras.Model(inputs, layer(inputs))


def inputs_of(layer, batch=2, seed=0):
    """Return what such a model takes."""
    if isinstance(layer, PrimaryCapsules):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(batch, 5, 4, 3)).astype("float32")
    return grid(seed, (5, 4), types=2, batch=batch, dtype="float32")


CASES = [
    ("primary", {}),
    *((kind, options) for kind in ("conv", "class") for options in OPTIONS),
    ("conv", {"competition": "patch"}),
    ("class", {"coordinates": False}),
]


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_a_saved_model_is_the_model(kind, options, tmp_path):
    layer = LAYERS[kind](**options)
    model = model_of(layer)
    inputs = inputs_of(layer)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    pairs = zip(arrays(loaded(inputs)), arrays(model(inputs)), strict=True)
    for got, want in pairs:
        np.testing.assert_array_equal(got, want)
    assert loaded.layers[-1].get_config() == layer.get_config()


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_a_config_makes_an_equal_layer(kind, options):
    layer = LAYERS[kind](**options)
    other = type(layer).from_config(layer.get_config())
    assert other.get_config() == layer.get_config()
    for name, value in options.items():
        home = other.routing if hasattr(other.routing, name) else other
        if name != "transforms_initializer":
            assert getattr(home, name) == value


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_are_as_computed(kind, batch):
    layer = LAYERS[kind]()
    inputs = inputs_of(layer, batch)
    shapes = (
        inputs.shape if kind == "primary" else [p.shape for p in inputs]
    )
    wanted = layer.compute_output_shape(shapes)
    assert [tuple(part.shape) for part in layer(inputs)] == list(wanted)
    symbolic = [
        tuple(part.shape) for part in model_of(LAYERS[kind]()).outputs
    ]
    assert [shape[1:] for shape in symbolic] == [s[1:] for s in wanted]
    assert {shape[0] for shape in symbolic} == {None}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_model_takes_batches_of_any_size(kind):
    layer = LAYERS[kind](dtype="float64")
    model = model_of(layer)
    inputs = inputs_of(layer, batch=5)
    parts = [inputs] if kind == "primary" else inputs
    parts = [part.astype("float64") for part in parts]
    whole = arrays(model(parts[0] if kind == "primary" else parts))
    start = 0
    for size in (1, 3, 1):
        some = [part[start : start + size] for part in parts]
        found = arrays(model(some[0] if kind == "primary" else some))
        for got, want in zip(found, whole, strict=True):
            assert apart(got, want[start : start + size]) < (
                1e-12 if DOUBLE else 1e-5
            )
        start += size


@pytest.mark.parametrize("kind", ["conv", "class"])
def test_rematerialise_is_the_same(kind):
    found = []
    for rematerialise in (False, True):
        layer = LAYERS[kind](
            turns=3, rematerialise=rematerialise, dtype="float64"
        )
        inputs = [p.astype("float64") for p in inputs_of(layer, batch=3)]
        filled(layer, inputs, seed=1)
        parts = [*inputs, *layer.get_weights()]
        values = layer(inputs)
        total = weighed(values, np.random.default_rng(1))

        def of(*parts, layer=layer, total=total):
            return total(called(layer, *parts))

        found.append([*arrays(values), *slopes(of, *parts)])
    for got, want in zip(*found, strict=True):
        assert apart(got, want) < (1e-12 if DOUBLE else 1e-4)


def network(dtype="float32", conv=False, final=False):
    """Return a small network with weights that are always the same."""
    images = keras.Input((5, 4, 2))
    x = PrimaryCapsules(2, dtype=dtype)(images)
    x = ConvCapsules(2, 3, 1, rematerialise=conv, dtype=dtype)(x)
    _, activations = ClassCapsules(3, rematerialise=final, dtype=dtype)(x)
    model = keras.Model(images, activations)
    rng = np.random.default_rng(0)
    model.set_weights(
        [0.5 * rng.normal(size=w.shape) for w in model.weights]
    )
    return model


def fitted(model, jit):
    """Return what two steps on batches of 3 change of the weights."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(6, 5, 4, 2)).astype("float32")
    labels = np.array([0, 1, 2, 0, 1, 2])
    model.compile("sgd", SpreadLoss(0.5), jit_compile=jit)
    before = model.get_weights()
    fit = model.fit(images, labels, batch_size=3, shuffle=False, verbose=0)
    assert np.isfinite(fit.history["loss"]).all()
    return [a - b for a, b in zip(model.get_weights(), before, strict=True)]


def test_fit_takes_the_same_steps_compiled_and_rematerialise():
    wanted = fitted(network(), jit=False)
    assert all(np.abs(step).max() > 0 for step in wanted)
    others = [fitted(network(conv=True, final=True), jit=False)]
    if BACKEND != "torch":  # its compiler takes minutes
        others.append(fitted(network(conv=True), jit=True))
    for found in others:
        for got, want in zip(found, wanted, strict=True):
            # Steps of 1e-3 on weights near 1, in float32.
            assert apart(got, want) < 5e-3


def halved(kind):
    """Return what a layer says under mixed precision, and in single."""
    few = LAYERS[kind](dtype="mixed_float16")
    inputs = [part.astype("float16") for part in inputs_of(few)]
    single = [part.astype("float32") for part in inputs]
    filled(few, inputs, seed=1)
    full = filled(LAYERS[kind](), single, seed=1)
    return zip(arrays(few(inputs)), arrays(full(single)), strict=True)


@pytest.mark.parametrize("kind", ["conv", "class"])
def test_half_precision_routes_in_single(kind):
    for got, want in halved(kind):
        assert got.dtype == "float32"
        assert apart(got, want) < 5e-3


@pytest.mark.parametrize("kind", ["conv", "class"])
def test_half_precision_keeps_the_weights_single(kind):
    for got, want in halved(kind):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["mixed_float16", "float64"])
def test_a_network_in_another_dtype(dtype):
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 2))
    model = network(dtype)
    images = images.astype("float16" if "16" in dtype else dtype)
    (found,) = arrays([model(images)])
    (wanted,) = arrays([network()(images.astype("float32"))])
    # Half precision rounds the primary capsules to 3 digits.
    assert apart(found, wanted) < (5e-3 if "16" in dtype else 2e-6)
    if dtype == "float64":
        assert found.dtype == dtype


def test_a_summary_counts_the_weights(capsys):
    model = network()
    model.summary()
    assert f"{model.count_params():,}" in capsys.readouterr().out
    conv = 3 * 3 * 2 * 2 * 16 + 2 * 2
    assert model.count_params() == 3 * 34 + conv + 2 * 3 * 16 + 2 * 3


@pytest.mark.parametrize("labels", ["numbers", "column", "one-hot"])
def test_the_loss_takes_labels_and_is_saved(labels):
    a = np.array([[0.9, 0.5, 0.1], [0.2, 0.4, 0.3]], "float32")
    right = {
        "numbers": np.array([0, 2]),
        "column": np.array([[0], [2]]),
        "one-hot": np.eye(3, dtype="float32")[[0, 2]],
    }[labels]
    loss = SpreadLoss(0.6, from_labels=labels != "one-hot")
    loss = SpreadLoss.from_config(loss.get_config())
    wanted = np.mean([0.2**2 + 0.0, 0.5**2 + 0.7**2])
    assert float(loss(right, a)) == pytest.approx(wanted, rel=1e-5)


BAD = [
    ("types", {"types": 0}),
    ("types", {"types": 1.5}),
    ("kernel_size", {"kernel_size": 0}),
    ("kernel_size", {"kernel_size": (1, 2, 3)}),
    ("kernel_size", {"kernel_size": "3"}),
    ("strides", {"strides": -1}),
    ("strides", {"strides": (1, 0)}),
    ("turns", {"turns": 0}),
    ("turns", {"turns": 2.0}),
    ("competition", {"competition": "child"}),
    ("cost", {"cost": "free"}),
    ("variance_floor", {"variance_floor": -1e-3}),
    ("variance_floor", {"variance_floor": float("nan")}),
]
UNCLEAR_BAD = [
    ("kernel_size", {"kernel_size": 2.5}),
    ("strides", {"strides": None}),
    ("variance_floor", {"variance_floor": None}),
]


def refused(name, options):
    """Assert that an option is refused by name, with what was received."""
    with pytest.raises(ValueError) as error:
        ConvCapsules(**{"types": 2, "kernel_size": 2} | options)
    said = str(error.value)
    assert f"`{name}` must be" in said
    assert f"received {options[name]!r}" in said


@pytest.mark.parametrize(("name", "options"), BAD)
def test_a_bad_option_is_named(name, options):
    refused(name, options)


@pytest.mark.parametrize(("name", "options"), UNCLEAR_BAD)
def test_a_bad_option_of_another_type_is_named(name, options):
    refused(name, options)


def test_an_array_of_temperatures_is_saved():
    layer = ConvCapsules(2, 2, inverse_temperature=np.array([0.25, 0.5]))
    again = ConvCapsules.from_config(layer.get_config())
    assert again.routing.inverse_temperature == [0.25, 0.5]


def test_rows_are_not_taken_for_class_numbers():
    a = np.array([[0.9, 0.5, 0.1]], "float32")
    with pytest.raises(ValueError, match="from_labels=False"):
        SpreadLoss(0.6)(np.array([[1.0, 0.0, 0.0]]), a)


def test_bad_classes_are_named():
    with pytest.raises(
        ValueError, match=r"`classes` must be .*received -1"
    ):
        ClassCapsules(-1)
    with pytest.raises(ValueError, match=r"`turns` must be .*received 0"):
        ClassCapsules(2, turns=0)


@pytest.mark.parametrize("kind", ["conv", "class"])
def test_bad_inputs_are_named(kind):
    name = {"conv": "ConvCapsules", "class": "ClassCapsules"}[kind]
    poses, activations = grid(0, (4, 4), types=2, dtype="float32")
    with pytest.raises(
        ValueError, match=f"{name} takes the pair .*received"
    ):
        LAYERS[kind]()(poses)
    with pytest.raises(
        ValueError, match="PrimaryCapsules makes such a pair"
    ):
        LAYERS[kind]()([activations, poses])
    open_grid = [keras.Input((None, 4, 2, 4, 4)), keras.Input((None, 4, 2))]
    with pytest.raises(ValueError, match="Only the batch may be open"):
        LAYERS[kind]()(open_grid)


def test_a_window_larger_than_the_grid_is_named():
    inputs = grid(0, (4, 2), types=2, dtype="float32")
    with pytest.raises(ValueError, match=r"fit into the grid.* 4 x 2"):
        ConvCapsules(2, 3)(inputs)


def test_bad_votes_are_named():
    votes, a, b = (
        np.ones(shape, "float32") for shape in ((5, 3, 4), (5,), (3,))
    )
    five = np.ones(5, "float32")
    for parts, options, said in (
        ((votes[0], a, b, b), {}, "`votes` must have at least three axes"),
        ((votes, b, b, b), {}, r"`activations` must have shape \(5,\)"),
        ((votes, a, five, b), {}, r"`beta_use` must .*received \(5,\)"),
        ((votes, a, b, five), {}, r"`beta_activate` must .*swapped"),
        ((votes, a, b, b), {"resp": votes}, r"`resp` must .*\(5, 3\)"),
        ((votes, a, b, b), {"turns": 0}, "A turn is one M-step"),
        ((votes, a, b, b), {"cost": "no"}, "The authors' is 'paper'"),
        ((votes, a, b, b), {"variance_floor": -1}, "The default is 5e-4"),
    ):
        if "resp" in options:
            options = {"resp": ops.convert_to_tensor(votes)}
        with pytest.raises(ValueError, match=said):
            route(*tensors(parts), **options)


def test_too_few_temperatures_are_named():
    votes, a, b = (
        np.ones(shape, "float32") for shape in ((5, 3, 4), (5,), (3,))
    )
    with pytest.raises(ValueError, match="inverse_temperature"):
        route(
            *tensors([votes, a, b, b]), turns=3, inverse_temperature=[0.1]
        )
