"""The network: its sizes, its margin in each step, its file."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from emlib.capsules import (  # noqa: E402
    SpreadLoss,
    capsule_network,
    convolutional_network,
)

PRESETS = {"small": 8_360, "medium": 68_444, "notes": 318_964}


def images(n=8, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 28, 28, 1)).astype("float32")
    return x, np.arange(n) % 10


def trainable(network):
    return sum(int(np.prod(w.shape)) for w in network.trainable_weights)


class Watch(keras.callbacks.Callback):
    """Remember the loss of each batch."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_papers_sizes(preset):
    assert trainable(capsule_network(preset=preset)) == PRESETS[preset]


@pytest.mark.parametrize(("parameters", "a"), [(68_444, 64), (8_360, 16)])
def test_the_rival_is_of_equal_size(parameters, a):
    rival = convolutional_network(parameters, A=a)
    assert abs(rival.count_params() / parameters - 1) < 0.03
    x, _ = images(2)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(rival(x)).sum(axis=1), 1, rtol=1e-5
    )


@pytest.mark.parametrize("parameters", [100, 10_000_000])
def test_a_size_that_no_rival_has_is_named(parameters):
    with pytest.raises(ValueError, match=r"`parameters` must be from \d+"):
        convolutional_network(parameters)


LINEAR = ("linear", [0.2, 0.375, 0.55, 0.725])
STEPS = ("steps", [0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    ("margin", "margins", "compiled"),
    [(*LINEAR, False), (*STEPS, False), (*STEPS, True)],
)
def test_each_of_four_batches_has_its_own_margin(margin, margins, compiled):
    if compiled and keras.backend.backend() == "torch":
        pytest.skip("PyTorch's compiler needs one for C++")
    keras.utils.set_random_seed(0)
    network = capsule_network(
        preset="small", margin=margin, margin_steps=4, turns=1
    )
    x, y = images(2)
    # With no learning all batches differ in their margin alone.
    network.compile(
        keras.optimizers.SGD(0.0), SpreadLoss(None), jit_compile=compiled
    )
    watch = Watch()
    network.fit(
        np.concatenate([x] * 4),
        np.concatenate([y] * 4),
        batch_size=2,
        shuffle=False,
        verbose=0,
        callbacks=[watch],
    )
    a = keras.ops.convert_to_numpy(network(x)).astype(float)  # (n, classes)
    wanted = []
    for m in margins:
        rows = []
        for row, right in zip(a, y, strict=True):
            short = np.maximum(0, m - (row[right] - row))
            rows.append(np.delete(short**2, right).sum())
        wanted.append(np.mean(rows))
    # Keras reports the mean of the losses so far.
    means = np.cumsum(wanted) / np.arange(1, 5)
    np.testing.assert_allclose(watch.losses, means, rtol=1e-4)
    assert int(network.step.value) == 4


def test_a_saved_network_goes_on_with_its_step(tmp_path):
    network = capsule_network(
        preset="small",
        margin_steps=7,
        cost="standardised",
        classes=3,
        turns=1,
    )
    x, _ = images(4)
    y = np.arange(4) % 3
    network.compile("adam", SpreadLoss(None), jit_compile=False)
    network.fit(x, y, batch_size=2, verbose=0)
    network.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert int(again.step.value) == 2
    assert again.get_config() == network.get_config()
    assert again.loss.margin is None
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), network.predict(x, verbose=0)
    )


def test_both_outputs_and_those_of_a_trained_loss():
    network = capsule_network(preset="small", outputs="both")
    x, _ = images(2)
    found = network(x)
    assert tuple(found["activations"].shape) == (2, 10)
    assert tuple(found["poses"].shape) == (2, 10, 4, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "huge"}, "`preset` must be one of"),
        ({"outputs": "poses"}, "`outputs` must be one of"),
        ({"margin": "cosine"}, "`margin` must be one of"),
        ({"margin_steps": 0}, "`margin_steps` must be"),
        ({"turns": 0}, "`turns` must be"),
        ({"input_shape": (4, 4, 1)}, "must fit into the grid"),
    ],
)
def test_bad_options_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        capsule_network(**options)


def test_a_loss_without_a_margin_asks_for_one():
    with pytest.raises(ValueError, match="received None"):
        SpreadLoss(None)(np.array([0]), np.array([[0.9, 0.5]], "float32"))
    with pytest.raises(ValueError, match="between 0 and 1"):
        SpreadLoss(1.5)
