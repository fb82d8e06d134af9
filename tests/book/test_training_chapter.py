"""The equations of the chapter on training, against other sums."""

from __future__ import annotations

import ast
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_book import TEXTS, cells

keras = pytest.importorskip("keras")

from emlib import datasets  # noqa: E402
from emlib.capsules import training  # noqa: E402
from emlib.capsules.training import Plan, Viewpoints  # noqa: E402

SEEDS = range(4)
# Keras raises 0.999 to powers as it is in 32 bits, 1.3e-8 too large: that
# is 1.3e-5 of 1 - 0.999, and half of it in the root.
DECAY = 1e-5
PLAIN = Plan("convolution", epochs=2, batch_size=50, margin_steps=5, seed=3)
PLANS = {
    "plain": PLAIN,
    "moved": replace(PLAIN, degrees=20.0, shift=2.0, zoom=0.2),
    "capsules": replace(
        PLAIN, network="capsules", batch_size=20, options={"turns": 1}
    ),
}


def from_chapter(name):
    """Return a function as a cell of the chapter defines it."""
    for cell in cells(TEXTS["training"]):
        for node in ast.parse(cell).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                names = {"np": np, "keras": keras}
                names["convert_to_numpy"] = keras.ops.convert_to_numpy
                exec(ast.unparse(node), names)
                return names[name]
    raise AssertionError(f"no cell defines {name}")


# --- images


@pytest.mark.equation("eq-training-scaled")
def test_each_byte_goes_where_a_fraction_says():
    found = training.normalise_images(
        np.arange(256, dtype=np.uint8)[None, None]
    )
    # A byte over 128 has at most 8 binary digits, and 32 bits hold it as
    # it is: no tolerance is needed.
    wanted = [Fraction(x - 128, 128) for x in range(256)]
    assert [Fraction(float(x)) for x in found.ravel()] == wanted


def bell(place, width=5.0, size=101):
    """Return an image with one bell, and nothing at its edges."""
    row, column = np.mgrid[:size, :size]
    far = (row - place[0]) ** 2 + (column - place[1]) ** 2
    return np.exp(-far / (2 * width**2))


def centroid(image):
    places = np.moveaxis(np.indices(image.shape), 0, -1)
    return (image[..., None] * places).sum(axis=(0, 1)) / image.sum()


@pytest.mark.equation("eq-training-view")
@pytest.mark.parametrize("seed", range(8))
def test_a_point_goes_where_scipy_turns_it(seed):
    rng = np.random.default_rng(seed)
    degrees, zoom = rng.uniform(-90, 90), rng.uniform(0.7, 1.4)
    shift, away = rng.uniform(-4, 4, 2), rng.uniform(-6, 6, 2)
    centre = np.array([50.0, 50.0])
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    wanted = centre + zoom * turn[:2, :2] @ away + shift
    view = Viewpoints([degrees], [shift[0]], [shift[1]], [zoom])
    found = training.warp(bell(centre + away)[None], view)[0]
    # Straight lines between pixels leave ripples of (f / 2 pi)^2 at the
    # frequency f, which move the mean place of a bell of width 5 by at most
    # 1 / (2 pi^2 e^(1/2) 5), some 0.006 pixels, twice along each axis.
    np.testing.assert_allclose(centroid(found), wanted, rtol=0, atol=0.02)


# --- steps


def moves(optimiser, slopes):
    """Return how far an optimiser moves some weights at each step."""
    weights = keras.Variable(np.zeros(slopes.shape[1]), dtype="float64")
    places = [np.zeros(slopes.shape[1])]
    for slope in slopes:
        optimiser.apply([keras.ops.convert_to_tensor(slope)], [weights])
        places.append(np.array(keras.ops.convert_to_numpy(weights.value)))
    return np.diff(places, axis=0)


def adam_by_sums(slopes, rates, epsilon=1e-7):
    """Return the steps of Adam, each from all the slopes before it."""
    found = []
    for t in range(1, len(slopes) + 1):
        ages = np.arange(t)[::-1, None]
        m = 0.1 * (0.9**ages * slopes[:t]).sum(axis=0)
        v = 0.001 * (0.999**ages * slopes[:t] ** 2).sum(axis=0)
        ratio = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        found.append(-rates[t - 1] * ratio * m / (np.sqrt(v) + epsilon))
    return np.array(found)


def optimiser(steps, **told):
    """Return the optimiser that a plan trains with."""
    plan = Plan("convolution", **told)
    network = training.build_network(plan)
    training.compile_network(network, plan, steps, jit=False)
    return type(network.optimizer).from_config(
        network.optimizer.get_config()
    )


@pytest.mark.equation("eq-training-adam")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_steps_are_those_of_the_sums_over_all_slopes(seed, size):
    slopes = np.random.default_rng(seed).normal(size=(30, 4)) * size
    adam = optimiser(30, clip=1e9, schedule="constant", learning_rate=0.25)
    np.testing.assert_allclose(
        moves(adam, slopes),
        adam_by_sums(slopes, np.full(30, 0.25)),
        rtol=DECAY,
        atol=1e-9,
    )


@pytest.mark.equation("eq-training-adam")
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_first_step_is_as_long_whatever_the_slope(size):
    slopes = size * np.array([[3.0, -4.0, 1e-2]])
    adam = keras.optimizers.Adam(0.25, epsilon=0)
    np.testing.assert_allclose(
        moves(adam, slopes), [[-0.25, 0.25, -0.25]], rtol=DECAY
    )


@pytest.mark.equation("eq-training-clip")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limit", [0.5, 4.0, 100.0])
def test_slopes_are_shortened_together(seed, limit):
    rng = np.random.default_rng(seed)
    slopes = [rng.normal(size=shape) for shape in ((3, 4), (5,), (2, 2, 2))]
    told = optimiser(10, clip=limit).global_clipnorm
    assert told == limit
    weights = [
        keras.Variable(np.zeros(g.shape), dtype="float64") for g in slopes
    ]
    plain = keras.optimizers.SGD(1.0, global_clipnorm=told)
    plain.apply([keras.ops.convert_to_tensor(g) for g in slopes], weights)
    length = np.sqrt(sum((g**2).sum() for g in slopes))
    factor = min(1, limit / length)
    assert (factor == 1) == (limit == 100)
    for weight, slope in zip(weights, slopes, strict=True):
        found = -keras.ops.convert_to_numpy(weight.value)
        # Some divisions, in 64 bits or where Keras keeps the limit in 32.
        np.testing.assert_allclose(found, factor * slope, rtol=1e-6)


@pytest.mark.equation("eq-training-clip")
@pytest.mark.parametrize("seed", SEEDS)
def test_training_clips_before_adam_sees_the_slopes(seed):
    slopes = np.random.default_rng(seed).normal(size=(20, 4)) * 3
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    assert (length > 4).any()
    assert (length < 4).any()
    clipped = slopes * np.minimum(1, 4 / length)
    adam = optimiser(20, schedule="constant", learning_rate=0.25)
    np.testing.assert_allclose(
        moves(adam, slopes),
        adam_by_sums(clipped, np.full(20, 0.25)),
        rtol=DECAY,
        atol=1e-9,
    )


@pytest.mark.equation("eq-training-cosine")
@pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.5])
@pytest.mark.parametrize("steps", [1, 7, 4685])
def test_the_rate_is_the_height_of_a_point_on_a_turning_wheel(rate, steps):
    adam = optimiser(steps, learning_rate=rate)
    adam.build([keras.Variable(np.zeros(1))])
    for done in {0, 1, steps // 3, steps // 2, steps - 1, steps}:
        adam.iterations.assign(done)
        # Half a turn in all, about the height of half the rate.
        wheel = np.exp(1j * np.pi * done / steps)
        found = float(adam.learning_rate)
        # Keras works in 32 bits.
        assert found == pytest.approx(
            rate / 2 * (1 + wheel.real), abs=3e-7 * rate
        )
    assert found == pytest.approx(0, abs=3e-7 * rate) or done != steps


@pytest.mark.equation("eq-training-cosine")
def test_the_first_step_has_the_whole_rate_and_the_last_a_little():
    slopes = np.ones((8, 1))
    adam = optimiser(8, learning_rate=0.25)
    rates = 0.125 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(
        moves(adam, slopes), adam_by_sums(slopes, rates), rtol=DECAY
    )


# --- stopping and going on


@pytest.fixture(scope="module")
def digits():
    every = datasets.load_mnist("sample")
    return every._replace(
        x_train=every.x_train[:150],
        y_train=every.y_train[:150],
        x_test=every.x_test[:20],
        y_test=every.y_test[:20],
    )


def fresh(plan, digits):
    steps = plan.steps(len(digits.x_train))
    network = training.build_network(plan)
    return training.compile_network(network, plan, steps, jit=False), steps


def taken(network, plan, digits, first, last):
    """Take the steps from one to another, as the package does."""
    rows = training.steps(network, plan, digits, first)
    for row in rows:
        if row["step"] == last:
            break
    rows.close()


def numbers(network):
    every = [*network.weights, *network.optimizer.variables]
    return [keras.ops.convert_to_numpy(v.value).tobytes() for v in every]


@pytest.mark.equation("eq-training-resume")
@pytest.mark.parametrize("name", PLANS)
def test_any_steps_and_then_the_rest_are_all_steps(digits, tmp_path, name):
    """Try three places, and one where each step takes long."""
    plan = PLANS[name]
    network, steps = fresh(plan, digits)
    taken(network, plan, digits, 0, steps)
    wanted = numbers(network)
    for done in {1, steps // 2, steps - 1} if plan == PLAIN else {2}:
        before, _ = fresh(plan, digits)
        taken(before, plan, digits, 0, done)
        training.save(tmp_path / "state.npz", before, done)
        # Other first weights: whatever is not restored is wrong.
        after, _ = fresh(replace(plan, seed=4), digits)
        assert training.restore(tmp_path / "state.npz", after) == done
        taken(after, plan, digits, done, steps)
        assert numbers(after) == wanted


@pytest.mark.equation("eq-training-resume")
@pytest.mark.parametrize("forgotten", ["optimiser", "place"])
def test_half_a_state_does_not_end_in_the_same_weights(digits, forgotten):
    network, steps = fresh(PLAIN, digits)
    taken(network, PLAIN, digits, 0, 3)
    other, _ = fresh(PLAIN, digits)
    for mine, theirs in zip(other.weights, network.weights, strict=True):
        mine.assign(theirs)
    first = 3
    if forgotten == "place":
        kept = network.optimizer.variables
        for mine, theirs in zip(
            other.optimizer.variables, kept, strict=True
        ):
            mine.assign(theirs)
        first = 1
    taken(network, PLAIN, digits, 3, steps)
    taken(other, PLAIN, digits, first, steps - 3 + first)
    assert numbers(other) != numbers(network)


# --- what one matrix explains


def shares_left(before, after):
    """Return the sum of squares that the best matrix leaves, and all."""
    fit, wanted = before[::2], after[::2]
    # The normal equations: M sum P P^T = sum P' P^T.
    gram = np.einsum("nij,nkj->ik", fit, fit)
    cross = np.einsum("nij,nkj->ik", wanted, fit)
    m = np.linalg.solve(gram, cross.T).T
    apart = after[1::2] - np.einsum("ij,njk->nik", m, before[1::2])
    return (apart**2).sum(), ((after - before)[1::2] ** 2).sum()


@pytest.mark.equation("eq-training-explained")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_the_share_is_that_of_the_normal_equations(seed, noise):
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(60, 4, 4))
    after = rng.normal(size=(4, 4)) @ before
    after += noise * rng.normal(size=before.shape)
    found = from_chapter("explained")(before, after)
    left, all_ = shares_left(before, after)
    # The normal equations square the condition of the fit, about 10 here.
    assert found == pytest.approx(1 - left / all_, abs=1e-9)
    assert found == pytest.approx(1, abs=1e-9) or noise > 0


@pytest.mark.equation("eq-training-explained")
@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_nothing_to_do_with_the_pose_is_not_explained(seed):
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(2000, 4, 4))
    after = before + rng.normal(size=before.shape)
    # M is fitted to 4,000 columns: it is the identity but for parts of
    # size 1/60 and explains nothing of the change but their squares.
    found = from_chapter("explained")(before, after)
    assert abs(found) < 0.01


def test_the_weights_in_the_results_are_small_and_can_be_loaded():
    place = Path(__file__).parents[2] / "results" / "small"
    files = {p.name: p.stat().st_size for p in place.iterdir()}
    assert files.keys() == {"config.json", "checkpoint.npz"}
    assert sum(files.values()) < 300_000
    network = training.load(place)
    digits = datasets.load_mnist("sample")
    found = training.evaluate(network, digits.x_test, digits.y_test)
    # The run's 97.95 % on 10,000 digits; 1,000 of them give it to 1.5 %.
    assert found.accuracy > 0.96
