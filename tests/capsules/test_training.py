"""Training: the same batches, the same weights, however often it ends."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import pickle
import shutil
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import rotate, shift
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    recall_score,
)

keras = pytest.importorskip("keras")

from emlib import datasets  # noqa: E402
from emlib.capsules import training  # noqa: E402
from emlib.capsules.training import (  # noqa: E402
    Plan,
    Viewpoints,
    checkpoints,
)

RIVAL = Plan(
    "convolution",
    epochs=2,
    batch_size=100,
    every=3,
    seed=3,
    learning_rate=1e-3,
)
CAPSULES = Plan(
    epochs=2,
    batch_size=20,
    every=3,
    seed=3,
    margin_steps=5,
    options={"turns": 1},
)
MOVED = replace(RIVAL, degrees=20.0, shift=2.0, zoom=0.2)
PLANS = {"rival": RIVAL, "capsules": CAPSULES, "moved": MOVED}


@pytest.fixture(scope="module")
def digits():
    every = datasets.load_mnist("sample")
    return every._replace(
        x_train=every.x_train[:500],
        y_train=every.y_train[:500],
        x_test=every.x_test[:100],
        y_test=every.y_test[:100],
    )


def some(digits, n):
    return digits._replace(
        x_train=digits.x_train[:n], y_train=digits.y_train[:n]
    )


def numbered(n):
    """Return images whose bytes say which they are, and their numbers."""
    x = np.zeros((n, 3, 3), np.uint8)
    x[:, 1, 1] = np.arange(n)
    return x, np.arange(n)


# --- order and batches


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_the_order_is_a_permutation(n, seed):
    found = training.order(n, seed, epoch=2)
    assert sorted(found.tolist()) == [*range(n)]


def test_the_order_depends_on_seed_and_epoch_alone():
    every = [(s, e) for s in range(3) for e in range(3)]
    orders = [tuple(training.order(50, *which)) for which in every]
    keras.utils.set_random_seed(0)
    assert len(set(orders)) == 9
    assert orders == [tuple(training.order(50, *w)) for w in every]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "size"), [(20, 5), (23, 5), (7, 7), (9, 5)])
def test_an_epoch_takes_each_image_at_most_once(n, size, seed):
    x, y = numbered(n)
    plan = Plan(epochs=3, batch_size=size, seed=seed)
    per = n // size
    assert plan.steps(n) == 3 * per
    taken = []
    for epoch in range(3):
        parts = [
            *training.batches(x, y, plan, epoch * per, (epoch + 1) * per)
        ]
        assert [len(labels) for _, labels in parts] == [size] * per
        taken.append(np.concatenate([labels for _, labels in parts]))
        assert len(taken[-1]) == len(set(taken[-1])) == n // size * size
    assert not (taken[0] == taken[1]).all()


@pytest.mark.parametrize("seed", range(3))
def test_images_keep_their_labels(seed):
    x, y = numbered(30)
    plan = Plan(batch_size=4, seed=seed)
    for images, labels in training.batches(x, y, plan, 3, 12):
        assert images.dtype == np.float32
        assert images.shape == (4, 3, 3, 1)
        back = images[:, 1, 1, 0] * 128 + 128
        np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("changes", [{}, {"degrees": 30.0, "shift": 1.0}])
@pytest.mark.parametrize("seed", range(3))
def test_batches_are_the_same_from_any_step_on(digits, seed, changes):
    x, y = digits.x_train[:23], digits.y_train[:23]
    plan = Plan(batch_size=5, seed=seed, **changes)
    whole = [*training.batches(x, y, plan, 0, 12)]
    for first in range(13):
        later = training.batches(x, y, plan, first, 12)
        for got, wanted in zip(later, whole[first:], strict=True):
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


def test_views_change_the_images_and_not_their_order(digits):
    x, y = digits.x_train[:20], digits.y_train[:20]
    still, turned = (
        [*training.batches(x, y, Plan(batch_size=5, degrees=d), 0, 8)]
        for d in (0.0, 30.0)
    )
    for (a, labels), (b, again) in zip(still, turned, strict=True):
        np.testing.assert_array_equal(labels, again)
        assert (a != b).any()


def test_bytes_become_numbers_near_0():
    every = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    found = training.normalise_images(every)
    assert found.dtype == np.float32
    assert found.shape == (4, 8, 8, 1)
    wanted = np.linspace(-1, 127 / 128, 256)
    np.testing.assert_array_equal(found.ravel(), wanted)


# --- views


def view(degrees=0.0, down=0.0, right=0.0, zoom=1.0):
    return Viewpoints([degrees], [down], [right], [zoom])


def random_images(n, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(n, height, width), dtype=np.uint8)


def blob(centre, width, height=28, amount=200.0):
    """Return a smooth image: a bell of a width about a place."""
    i, j = np.mgrid[:height, :height]
    far = (i - centre[0]) ** 2 + (j - centre[1]) ** 2
    return amount * np.exp(-far / (2 * width**2))


@pytest.mark.parametrize("shape", [(28, 28), (5, 5), (6, 9)])
def test_no_change_of_view_leaves_bytes_alone(shape):
    images = random_images(4, *shape)
    still = Viewpoints(*np.zeros((3, 4)), np.ones(4))
    found = training.warp(images, still)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("down", [-3, 0, 2])
@pytest.mark.parametrize("right", [-1, 0, 4])
def test_whole_pixels_shift_an_image(down, right):
    image = random_images(1, 7, 9)
    wanted = np.zeros((7, 9), np.uint8)
    for i in range(7):
        for j in range(9):
            if 0 <= i - down < 7 and 0 <= j - right < 9:
                wanted[i, j] = image[0, i - down, j - right]
    found = training.warp(image, view(down=down, right=right))
    np.testing.assert_array_equal(found[0], wanted)


@pytest.mark.parametrize("n", [5, 6, 28])
@pytest.mark.parametrize("quarters", [-1, 1, 2, 3, 4])
def test_quarter_turns_are_numpys(n, quarters):
    image = random_images(1, n, n)
    found = training.warp(image, view(degrees=90.0 * quarters))
    np.testing.assert_array_equal(found[0], np.rot90(image[0], quarters))


@pytest.mark.parametrize("n", [5, 7, 29])
def test_an_image_grows_about_its_centre(n):
    image = random_images(1, n, n)
    found = training.warp(image, view(zoom=2.0))[0]
    assert found[n // 2, n // 2] == image[0, n // 2, n // 2]
    # Every second pixel is one of the middle of the image.
    first = (n // 2) % 2
    inner = found[first::2, first::2]
    skip = (n - len(inner)) // 2
    middle = image[0, skip : skip + len(inner), skip : skip + len(inner)]
    np.testing.assert_array_equal(inner, middle)


@pytest.mark.parametrize("degrees", [-40.0, 15.0, 100.0])
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (2.5, -1.25)])
def test_a_turn_and_a_move_are_scipys_one_after_another(
    degrees, down, right
):
    image = blob((11, 16), 4.0) + blob((17, 12), 3.0, amount=50.0)
    turned = rotate(image, degrees, reshape=False, order=3)
    wanted = shift(turned, (down, right), order=3)
    found = training.warp(
        image[None].round().astype(np.uint8), view(degrees, down, right)
    )
    # Lines between pixels miss a bell by amount / width^2 / 4 at most, and
    # bytes are rounded twice; scipy's own edges are other ones.
    np.testing.assert_allclose(
        found[0, 4:-4, 4:-4], wanted[4:-4, 4:-4], rtol=0, atol=5.5
    )


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 70.0])
@pytest.mark.parametrize("zoom", [0.7, 1.0, 1.4])
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (-2.3, 3.6)])
def test_a_bell_goes_where_the_view_puts_it(degrees, zoom, down, right):
    centre, away = 30, np.array([-3.0, 2.0])
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = np.array([[c, -s], [s, c]]) @ away
    image = blob(centre + away, 4.0, 61).round().astype(np.uint8)
    found = training.warp(image[None], view(degrees, down, right, zoom))
    place = centre + zoom * turned + [down, right]
    wanted = blob(place, 4.0 * zoom, 61)
    # Lines between pixels miss it by 200 / 4^2 / 4 at most.
    np.testing.assert_allclose(
        found[0, 18:-18, 18:-18],
        wanted[18:-18, 18:-18],
        rtol=0,
        atol=4.2,
    )


def test_half_a_pixel_is_half_of_each_neighbour():
    image = np.full((1, 4, 4), 200, np.uint8)
    found = training.warp(image, view(down=0.5))[0]
    # Outside there is 0, with which the first row is mixed.
    wanted = np.repeat([[100], [200], [200], [200]], 4, axis=1)
    np.testing.assert_array_equal(found, wanted)


def test_each_image_has_its_own_view():
    images = random_images(3, 6, 6)
    seen = Viewpoints(
        [90.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0] * 3, [1.0] * 3
    )
    found = training.warp(images, seen)
    np.testing.assert_array_equal(found[0], np.rot90(images[0]))
    np.testing.assert_array_equal(found[1, 1:], images[1, :-1])
    np.testing.assert_array_equal(found[2], images[2])


@pytest.mark.parametrize("seed", range(3))
def test_views_lie_within_their_limits_and_fill_them(seed):
    plan = Plan(degrees=30.0, shift=2.0, zoom=0.25)
    seen = training.random_viewpoints(2000, plan, seed)
    for part, limit in (
        (seen.degrees, 30),
        (seen.down, 2),
        (seen.right, 2),
    ):
        assert 0.98 * limit < np.abs(part).max() <= limit
        assert np.abs(part.mean()) < limit / 10
    assert 1 / 1.25 <= seen.zoom.min() < 0.81
    assert 1.24 < seen.zoom.max() <= 1.25
    # As many are made larger as smaller.
    assert np.median(seen.zoom) == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(seen) - np.eye(4)).max() < 0.1


def test_without_limits_no_view_is_changed():
    seen = training.random_viewpoints(10, Plan(), seed=0)
    np.testing.assert_array_equal(np.stack(seen[:3]), np.zeros((3, 10)))
    np.testing.assert_array_equal(seen.zoom, np.ones(10))


def test_views_depend_on_the_seed():
    plan = Plan(degrees=30.0, shift=2.0, zoom=0.25)
    one, again, other = (
        np.stack(training.random_viewpoints(5, plan, seed))
        for seed in ([3, 1], [3, 1], [3, 2])
    )
    np.testing.assert_array_equal(one, again)
    assert not (one == other).any()


# --- one batch ahead


@pytest.mark.parametrize("n", [0, 1, 5])
def test_prefetching_changes_nothing(n):
    assert [*training.prefetch(iter(range(n)))] == [*range(n)]


def test_the_next_one_is_made_while_one_is_in_use():
    made = threading.Event()

    def parts():
        yield 1
        made.set()
        yield 2

    ahead = training.prefetch(parts())
    assert next(ahead) == 1
    assert made.wait(timeout=10)
    ahead.close()


def test_only_one_is_made_ahead():
    made = []

    def parts():
        for k in range(10):
            made.append(k)
            yield k

    ahead = training.prefetch(parts())
    next(ahead)
    next(ahead)
    until = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(made) == 3
    ahead.close()


def test_an_exception_is_passed_on_in_its_place():
    def parts():
        yield 1
        raise ZeroDivisionError("third")

    ahead = training.prefetch(parts())
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError, match="third"):
        next(ahead)


# --- networks


def test_a_seed_fixes_the_first_weights():
    one, again, other = (
        training.build_network(replace(RIVAL, seed=seed)).get_weights()
        for seed in (3, 3, 4)
    )
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not all((a == b).all() for a, b in zip(one, other, strict=True))


def test_options_reach_the_network():
    plan = Plan(options={"turns": 1}, margin="steps", margin_steps=7)
    options = training.build_network(plan).options
    assert options["routing"]["config"]["turns"] == 1
    assert options["margin"] == "steps"
    assert options["margin_steps"] == 7


def test_the_rate_falls_along_half_a_cosine():
    plan = Plan("convolution", learning_rate=0.5)
    network = training.build_network(plan)
    training.compile_network(network, plan, 8, jit=False)
    for step in range(9):
        network.optimizer.iterations.assign(step)
        wanted = 0.5 * (1 + math.cos(math.pi * step / 8)) / 2
        found = float(network.optimizer.learning_rate)
        assert found == pytest.approx(wanted, abs=1e-6)


# --- evaluation


def plain(seed=0):
    """Return a small network that knows nothing."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(("n", "size"), [(100, 30), (100, 100), (7, 250)])
def test_an_evaluation_is_scikit_learns(digits, n, size):
    x, y = digits.x_test[:n], digits.y_test[:n]
    network = plain()
    images = (x[..., None].astype("float32") - 128) / 128
    said = keras.ops.convert_to_numpy(network(images)).argmax(axis=1)
    found = training.evaluate(network, x, y, batch_size=size)
    classes = range(10)
    wanted = confusion_matrix(y, said, labels=classes)
    np.testing.assert_array_equal(found.confusion, wanted)
    assert found.accuracy == pytest.approx(accuracy_score(y, said))
    there = np.unique(y)
    recall = recall_score(y, said, labels=there, average=None)
    np.testing.assert_allclose(found.errors[there], 1 - recall, atol=1e-12)
    assert np.isnan(np.delete(found.errors, there)).all()
    assert found.images_per_second > 0


def test_an_evaluation_changes_no_weight(digits):
    network = plain()
    before = network.get_weights()
    training.evaluate(network, digits.x_test, digits.y_test)
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# --- checkpoints


def state(network):
    """Return copies of all numbers of a network and its optimiser."""
    every = [*network.weights, *network.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in every]


def same_state(network, wanted):
    for got, want in zip(state(network), wanted, strict=True):
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes()


def ready(plan=RIVAL):
    return training.compile_network(
        training.build_network(plan), plan, 10, jit=False
    )


@pytest.fixture(scope="module")
def network(digits):
    """Return a network that has taken two steps."""
    network = ready()
    for part in training.batches(
        digits.x_train, digits.y_train, replace(RIVAL, batch_size=20), 0, 2
    ):
        network.train_on_batch(*part)
    return network


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "checkpoint.npz"
    training.save(path, network, 7)
    return path.read_bytes()


@pytest.fixture
def checkpoint(saved, tmp_path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(saved)
    return path


def test_a_checkpoint_brings_back_every_number(network, checkpoint):
    other = ready(replace(RIVAL, seed=4))
    assert training.restore(checkpoint, other) == 7
    same_state(other, state(network))
    assert int(other.optimizer.iterations.value) == 2


def refused(path, network, *said):
    before = state(network)
    gc.freeze()  # Only what is made from here on is looked through.
    with pytest.raises(ValueError) as caught:
        training.restore(path, network)
    for words in (str(path), "must", "received", *said):
        assert words in str(caught.value)
    same_state(network, before)
    # A file that is left open is told of here.
    caught = None
    gc.collect()
    gc.unfreeze()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, -1])
def test_a_truncated_checkpoint_is_refused(network, checkpoint, kept):
    body = checkpoint.read_bytes()
    checkpoint.write_bytes(
        body[: int(kept * len(body)) if 0 < kept < 1 else kept]
    )
    refused(checkpoint, network)


class Trap:
    """Create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["step", "variable_0"])
def test_a_checkpoint_cannot_have_code_executed(
    network, checkpoint, tmp_path, name
):
    made = tmp_path / "made"
    with np.load(checkpoint) as parts:
        every = dict(parts)
    every[name] = np.array([Trap(made)], object)
    np.savez(checkpoint, **every)
    with np.load(checkpoint, allow_pickle=True) as parts:
        assert parts[name] is not None
    assert made.exists(), "the trap does not work"
    made.unlink()
    refused(checkpoint, network)
    assert not made.exists()


def test_what_is_no_checkpoint_is_refused(network, tmp_path):
    path = tmp_path / "checkpoint.npz"
    for body in (pickle.dumps([1]), b"text", bytes(500)):
        path.write_bytes(body)
        refused(path, network)
    np.savez(path, x=np.zeros(3))
    refused(path, network)


def test_an_array_alone_is_no_checkpoint(network, tmp_path):
    np.save(tmp_path / "checkpoint.npy", np.zeros(3))
    refused(tmp_path / "checkpoint.npy", network)


@pytest.mark.parametrize(
    ("place", "value"), [(8, 1), (10, 99)], ids=["secret", "unknown"]
)
def test_a_checkpoint_that_zip_cannot_open_is_refused(
    network, checkpoint, place, value
):
    body = bytearray(checkpoint.read_bytes())
    # Flags and method of the first entry of zip's central directory.
    body[body.index(b"PK\x01\x02") + place] = value
    checkpoint.write_bytes(body)
    refused(checkpoint, network)


@pytest.mark.parametrize("step", [np.arange(3), "three"])
def test_a_checkpoint_whose_step_is_none_is_refused(
    network, checkpoint, step
):
    with np.load(checkpoint) as parts:
        every = dict(parts) | {"step": step}
    np.savez(checkpoint, **every)
    refused(checkpoint, network)


@pytest.mark.parametrize(
    "plan",
    [CAPSULES, replace(RIVAL, preset="medium")],
    ids=["other kind", "other size"],
)
def test_a_checkpoint_of_another_network_is_refused(
    network, tmp_path, plan
):
    path = tmp_path / "checkpoint.npz"
    training.save(path, ready(plan), 1)
    refused(path, network)


def test_a_checkpoint_of_other_numbers_is_refused(network, checkpoint):
    parts = dict(np.load(checkpoint))
    for name, value, said in (
        ("variable_0", parts["variable_0"].astype("float64"), "float32"),
        ("variable_0", parts["variable_0"].astype(str), "float32"),
        ("step", np.int64(-1), "its step is -1"),
    ):
        np.savez(checkpoint, **(parts | {name: value}))
        with pytest.raises(ValueError, match=said):
            training.restore(checkpoint, network)


def test_a_missing_checkpoint_is_missing(network, tmp_path):
    with pytest.raises(FileNotFoundError):
        training.restore(tmp_path / "checkpoint.npz", network)


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_checkpoint(
    network, checkpoint, monkeypatch, where
):
    body = checkpoint.read_bytes()

    def fail(*_):
        raise OSError(errno.EIO, "the disk is gone")

    owner = os if where == "fsync" else Path
    monkeypatch.setattr(owner, where, fail)
    with pytest.raises(OSError, match="the disk is gone"):
        training.save(checkpoint, network, 8)
    assert checkpoint.read_bytes() == body
    assert [*checkpoint.parent.iterdir()] == [checkpoint]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    network, checkpoint, monkeypatch
):
    body, seen = checkpoint.read_bytes(), []
    sync = os.fsync

    def watched(number):
        sync(number)
        seen.append(checkpoint.read_bytes() == body)

    monkeypatch.setattr(os, "fsync", watched)
    training.save(checkpoint, network, 9)
    assert seen == [True]
    assert checkpoint.read_bytes() != body


# --- runs that are cut off


class CutOffError(Exception):
    """Stands for a plug that is pulled."""


def cutting(step, kind="loss"):
    """Return a watch that ends a run at a row."""

    def watch(row, steps):
        if row["step"] >= step and kind in row:
            raise CutOffError

    return watch


def rows(history):
    """Return what does not depend on the clock."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in history]


def recorded(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def whole(digits):
    """Return runs that were left alone, each made once."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = training.train(
                PLANS[name], data_of(name, digits), jit=False
            )
        return made[name]

    return run


def data_of(name, digits):
    return some(digits, 100) if name == "capsules" else digits


def resumed(plan, digits, folder, *cuts):
    """Train, ended by each cut, and then to the end."""
    for number, cut in enumerate(cuts):
        with pytest.raises(CutOffError):
            training.train(
                plan,
                digits,
                folder,
                resume=number > 0,
                jit=False,
                watch=cutting(*cut),
            )
    return training.train(plan, digits, folder, resume=True, jit=False)


CUTS = {
    "twice before the first checkpoint, and at it": [(2,), (1,), (3,)],
    "in an epoch, at its end, after its test": [(4,), (5,), (5, "test")],
    "twice in one place, and later": [(7,), (7,), (8,)],
    "at the last step, and the last row": [(10,), (10, "test")],
}


@pytest.mark.parametrize("where", CUTS)
def test_a_resumed_run_ends_as_one_left_alone(
    digits, whole, tmp_path, where
):
    wanted = whole("rival")
    found = resumed(RIVAL, digits, tmp_path / "run", *CUTS[where])
    same_state(found.network, state(wanted.network))
    assert rows(found.history) == rows(wanted.history)
    assert recorded(tmp_path / "run") == found.history


@pytest.mark.parametrize("name", ["capsules", "moved"])
def test_so_does_one_of_capsules_and_one_of_changed_views(
    digits, whole, tmp_path, name
):
    wanted = whole(name)
    data = data_of(name, digits)
    found = resumed(PLANS[name], data, tmp_path / "run", (7,))
    same_state(found.network, state(wanted.network))
    assert rows(found.history) == rows(wanted.history)


def test_a_run_has_a_row_for_each_step_and_each_epoch(whole):
    history = whole("rival").history
    steps = [row["step"] for row in history]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10]
    assert [r.get("epoch") for r in history if "test" in r] == [1, 2]
    names = {"step", "loss", "accuracy", "seconds"}
    assert all(r.keys() == names for r in history if "loss" in r)


def test_the_last_test_is_the_accuracy_of_the_network(digits, whole):
    found = whole("rival")
    test = training.evaluate(found.network, digits.x_test, digits.y_test)
    assert found.history[-1]["test"] == test.accuracy


def test_the_margin_rises_and_the_step_counts(whole):
    found = whole("capsules")
    margins = [r["margin"] for r in found.history if "loss" in r]
    wanted = np.minimum(0.9, 0.2 + 0.7 * np.arange(10) / 5)
    np.testing.assert_allclose(margins, wanted, rtol=0, atol=1e-6)
    assert int(found.network.step.value) == 10
    assert found.history[0]["margin"] == 0.2


def test_a_step_is_adams_on_the_loss_of_the_batch(digits):
    plan = replace(RIVAL, epochs=1, schedule="constant", clip=1e9)
    few = some(digits, 100)
    found = training.train(plan, few, jit=False)
    network = training.build_network(plan)
    network.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(),
        jit_compile=False,
    )
    rows = np.random.default_rng([3, 0]).permutation(100)
    x = (few.x_train[rows, ..., None].astype("float32") - 128) / 128
    loss = network.train_on_batch(x, few.y_train[rows])
    assert found.history[0]["loss"] == pytest.approx(float(loss), rel=1e-5)
    pairs = zip(network.weights, found.network.weights, strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(
            *map(keras.ops.convert_to_numpy, (a, b)), rtol=0, atol=1e-5
        )


def test_watch_is_called_with_each_row_and_the_number_of_steps(digits):
    seen = []
    found = training.train(
        replace(RIVAL, epochs=1),
        digits,
        jit=False,
        watch=lambda row, steps: seen.append((row, steps)),
    )
    assert seen == [(row, 5) for row in found.history]


def test_without_a_folder_nothing_is_written(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training.train(
        replace(RIVAL, epochs=1, every=1), some(digits, 100), jit=False
    )
    assert not [*tmp_path.iterdir()]


def begun(digits, folder, *cuts, plan=RIVAL):
    """Leave a run in a folder that was cut off."""
    with pytest.raises(CutOffError):
        training.train(
            plan, digits, folder, jit=False, watch=cutting(*(cuts or (4,)))
        )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("cut", ['{"step": 4, "lo', '{"step": 4}'])
def test_a_line_cut_in_half_is_no_obstacle(
    digits, whole, cut_off, tmp_path, cut
):
    folder = tmp_path / "run"
    shutil.copytree(cut_off, folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(cut)
    kept = [row["step"] for row in training.RunFolder(folder).rows()]
    assert kept == [1, 2, 3]
    found = training.train(RIVAL, digits, folder, resume=True, jit=False)
    assert rows(found.history) == rows(whole("rival").history)
    assert recorded(folder) == found.history


def test_a_line_that_is_no_row_is_named(digits, cut_off, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(cut_off, folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("what}\n")
    with pytest.raises(ValueError, match=r"metrics.jsonl' must hold a row"):
        training.train(RIVAL, digits, folder, resume=True, jit=False)


def test_rows_after_the_checkpoint_are_dropped(
    digits, whole, cut_off, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(cut_off, folder)
    # As if it ended between the rows of step 6 and its checkpoint.
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 0}\n{"step": 5, "loss": 0}\n')
    found = training.train(RIVAL, digits, folder, resume=True, jit=False)
    assert rows(found.history) == rows(whole("rival").history)
    assert recorded(folder) == found.history


OTHERS = {
    "network": "capsules",
    "preset": "medium",
    "epochs": 3,
    "batch_size": 499,
    "seed": 4,
    "learning_rate": 2e-3,
    "schedule": "constant",
    "clip": 3.0,
    "margin": "steps",
    "margin_steps": 999,
    "degrees": 1.0,
    "shift": 1.0,
    "zoom": 0.1,
    "every": 4,
    "options": {"turns": 1},
}


@pytest.fixture(scope="module")
def cut_off(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    begun(digits, folder)
    return folder


def test_all_options_of_a_plan_are_tried_here():
    assert OTHERS.keys() == asdict(RIVAL).keys()


@pytest.mark.parametrize("name", OTHERS)
def test_another_plan_cannot_resume_a_run(
    digits, cut_off, name, monkeypatch
):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    before = files(cut_off)
    plan = replace(RIVAL, **{name: OTHERS[name]})
    with pytest.raises(ValueError, match=f"`{name}` must be") as caught:
        training.train(plan, digits, cut_off, resume=True, jit=False)
    assert f"received {OTHERS[name]!r}" in str(caught.value)
    assert files(cut_off) == before


def untouched(*_, **__):
    raise AssertionError("a step was taken")


@pytest.mark.parametrize("part", ["x_train", "y_train"])
def test_other_data_cannot_resume_a_run(digits, cut_off, part, monkeypatch):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    changed = getattr(digits, part).copy()
    changed.flat[-1] ^= 1
    other = digits._replace(**{part: changed})
    with pytest.raises(ValueError, match="`data` must be"):
        training.train(RIVAL, other, cut_off, resume=True, jit=False)


def test_options_that_are_tuples_are_the_same_when_resumed(
    digits, tmp_path
):
    options = {"inverse_temperature": (0.1, 0.2)}
    plan = replace(RIVAL, epochs=1, options=options)
    few = some(digits, 100)
    training.train(plan, few, tmp_path, jit=False)
    found = training.train(plan, few, tmp_path, resume=True, jit=False)
    assert len(found.history) == 2


def test_numpys_whole_numbers_are_whole_numbers(digits, tmp_path):
    plan = replace(RIVAL, epochs=np.int64(1), seed=np.int64(3))
    few = some(digits, 100)
    found = training.train(plan, few, tmp_path, jit=False)
    assert len(found.history) == 2


def test_a_folder_with_a_run_is_refused(digits, cut_off, monkeypatch):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    before = files(cut_off)
    with pytest.raises(ValueError, match="`out` must be") as caught:
        training.train(RIVAL, digits, cut_off, jit=False)
    assert str(cut_off) in str(caught.value)
    assert "received" in str(caught.value)
    assert files(cut_off) == before


def test_a_finished_run_has_nothing_to_do(digits, tmp_path, monkeypatch):
    plan, few = replace(RIVAL, epochs=1), some(digits, 100)
    done = training.train(plan, few, tmp_path, jit=False)
    before = files(tmp_path)
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    again = training.train(plan, few, tmp_path, resume=True, jit=False)
    same_state(again.network, state(done.network))
    assert again.history == done.history
    assert files(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_a_file_is_refused(
    digits, tmp_path, monkeypatch, resume
):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(ValueError, match="must") as caught:
        training.train(RIVAL, digits, path, resume=resume, jit=False)
    assert str(path) in str(caught.value)
    assert "received" in str(caught.value)
    assert path.read_text() == "mine"


def test_a_folder_without_a_run_cannot_be_resumed(
    digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="must hold a run") as caught:
            training.train(RIVAL, digits, path, resume=True, jit=False)
        assert str(path) in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("late", [False, True])
def test_a_full_disk_is_found_before_anything_is_trained(
    digits, tmp_path, monkeypatch, late
):
    monkeypatch.setattr(keras.Model, "train_on_batch", untouched)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if late:
        monkeypatch.setattr(checkpoints, "write_atomically", full)
    else:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="`out` must be") as caught:
        training.train(RIVAL, digits, tmp_path / "run", jit=False)
    assert "No space left" in str(caught.value)
    assert str(tmp_path / "run") in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_written_fits_into_the_room_that_was_asked_for(
    digits, tmp_path, monkeypatch
):
    asked = []
    begin = training.RunFolder.begin

    def watched(self, config, room):
        asked.append(room)
        begin(self, config, room)

    monkeypatch.setattr(training.RunFolder, "begin", watched)
    training.train(
        replace(RIVAL, epochs=1), some(digits, 100), tmp_path, jit=False
    )
    # While a checkpoint is written there are two of them.
    sizes = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    assert asked[0] > sum(sizes.values()) + sizes["checkpoint.npz"]
    assert sizes.keys() == {
        "checkpoint.npz",
        "config.json",
        "metrics.jsonl",
    }


def test_a_disk_that_fills_up_later_leaves_a_run_to_resume(
    digits, whole, tmp_path, monkeypatch
):
    sync, calls = os.fsync, []

    def full_from_fifth(number):
        calls.append(number)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_from_fifth)
        with pytest.raises(OSError, match="No space left"):
            training.train(RIVAL, digits, tmp_path, jit=False)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    found = training.train(RIVAL, digits, tmp_path, resume=True, jit=False)
    wanted = whole("rival")
    same_state(found.network, state(wanted.network))
    assert rows(found.history) == rows(wanted.history)


# --- XLA


def failing(monkeypatch, at):
    """Let the steps of these numbers fail; return how many were taken."""
    step, calls = keras.Model.train_on_batch, []

    def once(self, *args, **options):
        calls.append(self.jit_compile)
        if len(calls) in at:
            raise RuntimeError("no such instruction\nand more")
        return step(self, *args, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", once)
    return calls


def test_without_xla_training_goes_on(digits, whole, monkeypatch):
    calls = failing(monkeypatch, at=[1])
    with pytest.warns(UserWarning, match="XLA cannot compile") as said:
        found = training.train(RIVAL, digits, jit=True)
    assert "no such instruction" in str(said[0].message)
    assert "and more" not in str(said[0].message)
    assert calls == [True] + [False] * 10
    wanted = whole("rival")
    same_state(found.network, state(wanted.network))
    assert rows(found.history) == rows(wanted.history)


@pytest.mark.filterwarnings("ignore:XLA cannot compile")
@pytest.mark.parametrize(
    ("jit", "at", "taken"),
    [(False, [1], 1), (True, [2], 2), (True, [1, 2], 2)],
)
def test_other_failures_are_passed_on(digits, monkeypatch, jit, at, taken):
    calls = failing(monkeypatch, at)
    with pytest.raises(RuntimeError, match="no such instruction"):
        training.train(RIVAL, some(digits, 1000), jit=jit)
    assert len(calls) == taken


def test_xla_takes_the_same_steps(digits):
    plan, few = replace(RIVAL, epochs=1, batch_size=50), some(digits, 250)
    one, other = (
        training.train(plan, few, jit=jit).history for jit in (True, False)
    )
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            [r[name] for r in one[:5]],
            [r[name] for r in other[:5]],
            rtol=1e-3,
        )


# --- loading


def test_a_trained_network_is_loaded(digits, tmp_path):
    plan, few = replace(RIVAL, epochs=1), some(digits, 100)
    trained = training.train(plan, few, tmp_path, jit=False).network
    loaded = training.load(str(tmp_path))
    same_state(loaded, state(trained))
    images = training.normalise_images(digits.x_test)
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0),
        trained.predict(images, verbose=0),
    )


def test_a_run_without_a_checkpoint_is_refused(digits, tmp_path):
    begun(digits, tmp_path, 1)
    with pytest.raises(ValueError, match="must hold a checkpoint") as e:
        training.load(tmp_path)
    assert str(tmp_path) in str(e.value)
    assert "received" in str(e.value)


def test_a_folder_without_a_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="must hold a run") as caught:
            training.load(path)
        assert str(path) in str(caught.value)
        assert "received" in str(caught.value)


def told(**changes):
    config = {
        "format": "emlib run 1",
        "plan": asdict(RIVAL),
        "data": {"images": 500, "sha256": "0"},
    } | changes
    return {k: v for k, v in config.items() if v is not None}


CONFIGS = {
    "cut": json.dumps(told())[:-9],
    "empty": "",
    "a list": "[1]",
    "a number": "3",
    "other format": json.dumps(told(format="emlib run 9")),
    "no format": json.dumps(told(format=None)),
    "no plan": json.dumps(told(plan=None)),
    "no data": json.dumps(told(data=None)),
    "unknown option": json.dumps(told(plan={"depth": 3})),
    "bad option": json.dumps(told(plan={"epochs": 0})),
    "odd option": json.dumps(told(plan={"epochs": "many"})),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_spoilt_record_of_what_was_told_is_refused(
    digits, tmp_path, fault
):
    (tmp_path / "config.json").write_text(CONFIGS[fault])
    with pytest.raises(ValueError, match="must hold a run") as caught:
        training.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(ValueError, match="must hold a run") as caught:
        training.train(RIVAL, digits, tmp_path, resume=True, jit=False)
    assert str(tmp_path) in str(caught.value)


def test_what_a_run_was_told_is_written_down(digits, cut_off):
    config = json.loads((cut_off / "config.json").read_text())
    assert Plan(**config["plan"]) == RIVAL
    assert config["data"]["images"] == 500
    size = sum(
        int(np.prod(w.shape))
        for w in training.build_network(RIVAL).trainable_weights
    )
    assert config["parameters"] == size
    # Where the data lie on this machine is nobody's business.
    assert "/" not in config["source"]
