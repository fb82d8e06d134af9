"""Capsules broken on purpose: which test catches which mistake.

The mistakes are those of published programs, and a few of our own. A mutant
takes the place of one name of the package; `CAUGHT` says which checks then
fail. Run this file to print the table.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

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
    slopes,
    tensors,
    weighed,
)
from capsules_by_hand import windows as windows_by_hand  # noqa: E402

from emlib.capsules import layers, losses, votes, windows  # noqa: E402
from emlib.capsules.routing import costs, em, router, sums  # noqa: E402

RIGHT = SimpleNamespace(
    m_step=em.m_step,
    e_step=em.e_step,
    em=router.em,
    moments=em.moments,
    distances=sums.distances,
    softmax_over_parents=router.softmax_over_parents,
    softmax_over_positions=layers.softmax_over_positions,
    Routing=em.Routing,
    Statistics=em.Statistics,
    ConvCapsules=layers.ConvCapsules,
    ClassCapsules=layers.ClassCapsules,
    votes=votes.votes,
)


def in_place_of(name, *places):
    """Say what a mutant takes the place of."""

    def marked(mutant):
        mutant.name, mutant.places = name, places or (em,)
        return mutant

    return marked


@in_place_of("m_step")
def activations_cancelled(votes, resp, activations):
    """Normalise after the children's activations multiply."""
    masses = resp * ops.expand_dims(activations, -1)
    masses = masses / (ops.sum(masses, axis=-1, keepdims=True) + 1e-9)
    return RIGHT.m_step(votes, masses, ops.ones_like(activations))


@in_place_of("m_step")
def activations_ignored(votes, resp, activations):
    """Let every child vote with weight 1."""
    return RIGHT.m_step(votes, resp, ops.ones_like(activations))


@in_place_of("m_step")
def epsilon_for_nobody(votes, resp, activations):
    """Divide by the mass and a small number."""
    masses = resp * ops.expand_dims(activations, -1)
    mass = ops.sum(masses, axis=0)
    means, variances = RIGHT.moments(votes, masses / (mass + 1e-9))
    return RIGHT.Statistics(len(votes), mass, means, variances)


@in_place_of("m_step")
def mass_of_one(votes, resp, activations):
    """Report a mass that is normalised."""
    right = RIGHT.m_step(votes, resp, activations)
    return right._replace(mass=ops.ones_like(right.mass))


@in_place_of("moments")
def of_squares(votes, shares):
    """Take the variance as the mean square less the squared mean."""
    each = ops.expand_dims(shares, -2)
    mean = ops.sum(each * votes, axis=0)
    square = ops.sum(each * ops.square(votes), axis=0)
    return ops.stack([mean, ops.maximum(square - ops.square(mean), 0.0)])


@in_place_of("moments")
def about_nothing(votes, shares):
    """Take the mean square for the variance."""
    each = ops.expand_dims(shares, -2)
    pair = each * votes, each * ops.square(votes)
    return ops.stack([ops.sum(part, axis=0) for part in pair])


@in_place_of("moments")
def shares_held(votes, shares):
    """Send no slope through the shares."""
    return RIGHT.moments(votes, ops.stop_gradient(shares))


@in_place_of("distances", sums)
def width_held(votes, means, variances):
    """Send no slope through the variances."""
    return RIGHT.distances(votes, means, ops.stop_gradient(variances))


@in_place_of("start", router.Router)
def even_over_types(self, children, votes, weights):
    """Start with shares that sum to 1 over types in each window."""
    return ops.ones_like(votes[..., 0, :]) / votes.shape[-1]


@in_place_of("softmax_over_positions", layers)
def window_by_window(log_joint, types, children, windows):
    """Normalise over types, in each window anew."""
    return RIGHT.softmax_over_parents(log_joint)


@in_place_of("softmax_over_positions", layers)
def type_by_type(log_joint, types, children, windows):
    """Normalise over places, for each type of parent anew."""
    parts = [
        RIGHT.softmax_over_positions(
            log_joint[..., j : j + 1], types, children, windows
        )
        for j in range(log_joint.shape[-1])
    ]
    resp = ops.concatenate([part.resp for part in parts], axis=-1)
    return router.Posterior(resp, parts[0].log_evidence)


@in_place_of("windows_of_children", layers)
def dilated(size, kernel, strides):
    """Pair children and windows as they are paired at stride 1."""
    looked = windows.children_of_windows(size, kernel, strides)
    table = np.full((size[0] * size[1], math.prod(kernel)), looked.size)
    spots = map(windows.output_size, size, kernel, strides)
    places = list(itertools.product(*map(range, spots)))
    for cell, (y, x) in enumerate(itertools.product(*map(range, kernel))):
        for p, (r, c) in enumerate(places):
            child = (r + y) * size[1] + c + x
            table[child, cell] = cell * len(places) + p
    return table


class Probable(RIGHT.Routing):
    """Compute the E-step in probabilities, a small number below."""

    def e_step(self, x, params):
        heights = ops.exp(self.log_joint(x, params))
        total = ops.sum(heights, axis=-1, keepdims=True) + 1e-9
        return router.Posterior(heights / total, ops.log(total[..., 0]))


class LogOfSum(RIGHT.Routing):
    """Take the logarithm of the activation and a small number."""

    def e_step(self, x, params):
        logs = ops.log(ops.sigmoid(params.logits) + 1e-9)
        return RIGHT.e_step(x, *params[:2], logs, self.competition)


class ActivationsForgotten(RIGHT.Routing):
    """Leave the parents' activations out of the E-step."""

    def e_step(self, x, params):
        logs = ops.zeros_like(params.logits)
        return RIGHT.e_step(x, *params[:2], logs, self.competition)


class FloorInTheLog(RIGHT.Routing):
    """Add the floor to the variance in the cost only."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        bare = right.variances - self.options.variance_floor
        return right._replace(variances=ops.maximum(bare, 1e-9))


class NoFloor(RIGHT.Routing):
    """Let variances fall to nothing."""

    def maximise(self, statistics, previous=None):
        options = replace(self.options, variance_floor=0.0)
        bare = RIGHT.Routing(self.beta_use, self.beta_activate, options)
        return bare.maximise(statistics, previous)


class Damped(RIGHT.Routing):
    """Move the mean nine tenths of the way, at first from 0."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        old = 0.0 if previous is None else previous.means
        return right._replace(means=0.9 * right.means + 0.1 * old)


class RawMass(RIGHT.Routing):
    """Leave the mass as it is, however many children vote."""

    def maximise(self, statistics, previous=None):
        mass = statistics.mass / self.options.mass_scale
        return super().maximise(statistics._replace(mass=mass), previous)


class Hot(RIGHT.Routing):
    """Take so large a lambda that activations saturate."""

    def temperature(self, turn):
        return 20.0


class OneTurnOn(RIGHT.Routing):
    """Take the next turn's lambda."""

    def temperature(self, turn):
        return super().temperature(min(turn + 1, 2))


for each in (
    Probable,
    LogOfSum,
    ActivationsForgotten,
    FloorInTheLog,
    NoFloor,
    Damped,
    RawMass,
    Hot,
    OneTurnOn,
):
    in_place_of("Routing")(each)


@in_place_of("em", router)
def e_step_thrown_away(model, x, start, weights):
    """Run the last E-step for nothing."""
    for step in RIGHT.em(model, x, start, weights):
        assert step.resp is not None
        yield step


@in_place_of("em", router)
def e_step_first(model, x, start, weights):
    """Count from the E-step: one M-step more."""
    return itertools.islice(RIGHT.em(model, x, start, weights), 1, None)


@in_place_of("paper", costs.COSTS)
def beta_once(mass, variances, beta_use, scale):
    """Take beta outside the sum over entries of the pose."""
    widths = 0.5 * ops.sum(ops.log(variances), axis=-2)
    return scale * mass * (beta_use + widths)


@in_place_of("paper", costs.COSTS)
def variance_for_deviation(mass, variances, beta_use, scale):
    """Take the logarithm of the variance, not of its root."""
    widths = ops.sum(ops.log(variances), axis=-2)
    return scale * mass * (variances.shape[-2] * beta_use + widths)


@in_place_of("votes", router)
def transposed(poses, transforms):
    """Transpose the transforms."""
    return RIGHT.votes(poses, ops.swapaxes(transforms, -1, -2))


@in_place_of("votes", router)
def pose_on_the_right(poses, transforms):
    """Put the transform before the pose."""
    turned = ops.swapaxes(transforms, -1, -2)
    found = RIGHT.votes(ops.swapaxes(poses, -1, -2), turned)
    shape = tuple(found.shape)
    square = ops.reshape(found, (*shape[:2], 4, 4, shape[3]))
    return ops.reshape(ops.swapaxes(square, 2, 3), shape)


@in_place_of("votes", router)
def tiled(poses, transforms):
    """Copy each pose and each transform before they are multiplied."""
    n, j = poses.shape[1], transforms.shape[1]
    poses = ops.repeat(ops.expand_dims(poses, 2), j, axis=2)
    transforms = ops.repeat(ops.expand_dims(transforms, 1), n, axis=1)
    product = ops.matmul(poses, transforms)  # (i, n, j, 4, 4)
    flat = ops.reshape(product, (*product.shape[:3], 16))
    return ops.swapaxes(flat, -1, -2)


def moved(found, height, width, entries, half=0.5, tall=None):
    """Add coordinates to two entries of the votes."""
    places = np.zeros((height, width, 16))
    rows, columns = np.mgrid[:height, :width]
    places[..., entries[0]] = (rows + half) / (tall or height)
    places[..., entries[1]] = (columns + half) / (tall or width)
    flat = places.reshape(-1, *[1] * (len(found.shape) - 3), 16, 1)
    return found + ops.cast(flat, found.dtype)


@in_place_of("add_coordinates", router)
def first_entries(found, height, width):
    """Add coordinates to entries 0 and 1 of the flat pose."""
    return moved(found, height, width, (0, 1))


@in_place_of("add_coordinates", router)
def swapped(found, height, width):
    """Add rows to the entry of columns."""
    return moved(found, height, width, (7, 3))


@in_place_of("add_coordinates", router)
def corners(found, height, width):
    """Add coordinates of corners, not of middles."""
    return moved(found, height, width, (3, 7), half=0.0)


@in_place_of("add_coordinates", router)
def in_cells(found, height, width):
    """Add coordinates in cells."""
    return moved(found, height, width, (3, 7), tall=1)


@in_place_of("add_coordinates", router)
def nowhere(found, height, width):
    """Add no coordinates."""
    return found


@in_place_of("ClassCapsules", layers)
class PlaceByPlace(RIGHT.ClassCapsules):
    """Route each place alone, and take the mean."""

    def _route(self, poses, activations, weights):
        _, height, width, _ = activations.shape
        found = [
            super(PlaceByPlace, self)._route(
                poses[:, r : r + 1, c : c + 1],
                activations[:, r : r + 1, c : c + 1],
                weights,
            )
            for r in range(height)
            for c in range(width)
        ]
        return tuple(
            sum(parts) / len(found) for parts in zip(*found, strict=True)
        )


@in_place_of("ConvCapsules", layers)
class PriceForEachEntry(RIGHT.ConvCapsules):
    """Learn one beta_use for each entry of the pose."""

    def build(self, input_shape):
        super().build(input_shape)
        self.more = self.add_weight(shape=(self.types, 15))


@in_place_of("spread", losses)
def target_too(activations, targets, margin):
    """Count the target as one of the wrong classes."""
    right = ops.sum(activations * targets, axis=-1, keepdims=True)
    short = ops.maximum(0.0, margin - (right - activations))
    return ops.sum(ops.square(short), axis=-1)


@in_place_of("spread", losses)
def not_squared(activations, targets, margin):
    """Do not square how far a class comes."""
    right = ops.sum(activations * targets, axis=-1, keepdims=True)
    short = ops.maximum(0.0, margin - (right - activations))
    return ops.sum(short * (1 - targets), axis=-1)


@in_place_of("spread", losses)
def mean_of_classes(activations, targets, margin):
    """Take the mean over classes."""
    right = ops.sum(activations * targets, axis=-1, keepdims=True)
    short = ops.maximum(0.0, margin - (right - activations))
    return ops.mean(ops.square(short) * (1 - targets), axis=-1)


@in_place_of("linear_margin", losses)
def at_once(step, steps):
    """Ask for the full margin from the first step."""
    return 0.9


@in_place_of("linear_margin", losses)
def hardly_ever(step, steps):
    """Let the margin rise over fifty thousand steps."""
    return 0.2 + 0.79 / (1 + math.exp(-min(10, step / 50000 - 4)))


class MeansForSums(RIGHT.Statistics):
    """Add variances, but not the distance between the means."""

    def __add__(self, other):
        right = RIGHT.Statistics.__add__(self, other)
        share = ops.expand_dims(self.mass / right.mass, -2)
        within = share * self.variances + (1 - share) * other.variances
        return MeansForSums(*right._replace(variances=within))

    __radd__ = RIGHT.Statistics.__radd__


in_place_of("Statistics")(MeansForSums)

RATES = [0.2, 0.5, 0.9]


def plain(seed=0, i=9, j=4, h=5):
    """Return votes, activations and prices."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(i, j, h)),
        rng.uniform(0.1, 1.0, size=i),
        rng.normal(size=j),
        rng.normal(size=j),
    )


def routed(parts, **options):
    """Return poses and activations of the parents, as arrays."""
    options = {"turns": 3, "inverse_temperature": RATES} | options
    return arrays(em.route(*tensors(parts), **options))


def worst(found, wanted):
    """Return the largest error of several arrays."""
    return max(apart(*pair) for pair in zip(found, wanted, strict=True))


def by_loops():
    """Routing is the procedure, one number at a time."""
    parts = plain()
    found = routed(parts, mass_scale=0.3)
    everyone = [[list(range(4))]] * 9
    return worst(
        found, by_hand(parts[0], everyone, *parts[1:], RATES, scale=0.3)
    )


def conv_by_loops():
    """Convolutional capsules are the procedure."""
    inputs = grid(0, (5, 6), types=2)
    layer = layers.ConvCapsules(
        3, 3, 2, turns=3, inverse_temperature=RATES, dtype="float64"
    )
    filled(layer, inputs, seed=1)
    weights = layer.get_weights()[:3]
    wanted = conv_by_hand(*inputs, *weights, strides=(2, 2), rates=RATES)
    found = arrays(layer(inputs))
    return worst(
        [
            got.reshape(w.shape)
            for got, w in zip(found, wanted, strict=True)
        ],
        wanted,
    )


def class_by_loops():
    """Class capsules are the procedure."""
    inputs = grid(0, (3, 2), types=2)
    layer = layers.ClassCapsules(
        3, turns=3, inverse_temperature=RATES, dtype="float64"
    )
    filled(layer, inputs, seed=1)
    wanted = class_by_hand(
        *inputs, *layer.get_weights(), rates=RATES, coordinates=True
    )
    return worst(arrays(layer(inputs)), wanted)


def scattered(turn):
    """Return how far from 1 a child's shares add up, in a turn."""
    seen, right = [], em.m_step

    def spy(votes, resp, activations):
        seen.append(resp)
        return right(votes, resp, activations)

    inputs = grid(0, (6, 5), types=2)
    sums, times = np.zeros((2, 6, 5, 2)), np.zeros((1, 6, 5, 1))
    try:
        em.m_step = spy
        layers.ConvCapsules(3, 3, 2, dtype="float64")(inputs)
    finally:
        em.m_step = right
    resp = arrays(seen)[turn].reshape(9, 2, 2, -1, 3)
    for p, (y, x), (r, c) in windows_by_hand((6, 5), (3, 3), (2, 2)):
        sums[:, r, c] += resp[3 * y + x, :, :, p].sum(axis=-1).T
        times[:, r, c] = 1
    return np.abs(sums - times).max()


def start_shares():
    """At the start a child's shares sum to 1 over all its parents."""
    return scattered(0)


def later_shares():
    """After an E-step a child's shares sum to 1 over all its parents."""
    return scattered(1)


def absent():
    """A child that is not there is absent."""
    votes, a, *betas = plain()
    a[2] = 0.0
    rest = np.delete(votes, 2, axis=0), np.delete(a, 2), *betas
    return worst(routed((votes, a, *betas)), routed(rest))


def heard():
    """What a child says is weighed by its activation."""
    votes, a, *betas = plain()
    poses, _ = routed((votes, a, *betas), turns=1)
    wanted = np.average(votes, axis=0, weights=a)
    return apart(poses, wanted)


def nobody():
    """Without an active child all votes count alike."""
    votes, a, use, activate = plain()
    parts = tensors([votes, 0 * a, use, activate])
    options = {"turns": 3, "inverse_temperature": RATES}
    found, steps = em.route(*parts, **options, return_steps=True)
    found = [*arrays(found), arrays([steps[-1].params.variances])[0].T]
    chances = 1 / (1 + np.exp(-0.9 * activate))
    spread = votes.var(axis=0) + 5e-4  # (j, h)
    return worst(found, (votes.mean(axis=0), chances, spread))


def extremes():
    """Large and small votes: finite, and all responsibilities sum to 1."""
    votes, *rest = (part.astype("float32") for part in plain(h=16))
    errors = []
    for size in (1e3, 1.0, 1e-3):
        _, steps = em.route(
            *tensors([np.float32(size) * votes, *rest]), return_steps=True
        )
        resp, *params = arrays([steps[0].resp, *steps[-1].params[:4]])
        finite = all(np.isfinite(part).all() for part in params)
        error = np.abs(resp.sum(axis=-1) - 1).max()
        errors.append(error if finite else math.inf)
    return max(errors)


def alike():
    """One child, or votes that agree: finite values and slopes."""
    parts = [part.astype("float32") for part in plain(i=1)]
    heat = {"turns": 2, "inverse_temperature": 1.0}

    def found(*parts):
        return em.route(*parts, **heat)

    _, steps = em.route(*tensors(parts), **heat, return_steps=True)
    least = arrays([steps[-1].params.variances])[0].min()
    total = weighed(found(*tensors(parts)), np.random.default_rng(1))
    along = slopes(lambda *p: total(found(*p)), *parts)
    finite = all(np.isfinite(slope).all() for slope in along)
    return max(5e-4 - least, 0.0) if finite else math.inf


def far_below():
    """Activations of e^-10000 still differ by their logits."""
    votes, a, use, _ = (part.astype("float32") for part in plain(j=2))
    votes[:, 1] = votes[:, 0]
    activate = np.array([-1e4, -1e4 - 2], "float32")
    parts = tensors([votes, a, 0 * use, activate])
    _, steps = em.route(
        *parts, inverse_temperature=1.0, mass_scale=0.0, return_steps=True
    )
    (resp,) = arrays([steps[0].resp])
    return np.abs(resp[:, 0] - 1 / (1 + math.exp(-2))).max()


def tight():
    """Votes that agree far from 0, in float32 and in float64."""
    rng = np.random.default_rng(0)
    votes, a, *betas = plain(i=72, h=16)
    votes = (1 + 0.03 * rng.normal(size=votes.shape)).astype("float32")
    parts = [part.astype("float32") for part in (votes, a, *betas)]
    wide = [part.astype("float64") for part in parts]
    heat = {"inverse_temperature": 0.1, "mass_scale": 0.05}
    far = worst(routed(parts, **heat), routed(wide, **heat))
    alike = np.full_like(votes[..., 0], 0.25)  # (i, j)
    single, double = (  # the M-step itself, about 0
        arrays(
            em.m_step(
                *tensors([v.swapaxes(1, 2), alike.astype(v.dtype), a])
            )[1:]
        )
        for v, a, *_ in (parts, wide)
    )
    return max(far, worst(single, double))


def counts():
    """T turns are T M-steps, and T - 1 E-steps."""
    steps = {"m_step": 0, "e_step": 0}
    right = {name: getattr(em, name) for name in steps}

    def counted(name):
        def spy(*parts):
            steps[name] += 1
            return right[name](*parts)

        return spy

    try:
        for name in steps:
            setattr(em, name, counted(name))
        routed(plain(), turns=3)
    finally:
        for name in steps:
            setattr(em, name, right[name])
    return max(abs(steps["m_step"] - 3), abs(steps["e_step"] - 2))


def along():
    """Slopes are what central differences say."""
    parts = plain(i=5, j=3, h=4)

    def found(*parts):
        return em.route(*parts, turns=3, inverse_temperature=RATES)

    total = weighed(found(*tensors(parts)), np.random.default_rng(1))
    pairs = differences(
        lambda *p: total(found(*p)), parts, np.random.default_rng(0)
    )
    return max(abs(a - b) / (abs(b) + 0.1) for a, b in pairs)


def slopes_reach():
    """Each weight of a layer has a slope."""
    inputs = grid(0, (4, 4), types=2)
    layer = layers.ConvCapsules(2, 3, 1, dtype="float64")
    filled(layer, inputs, seed=1)
    parts = [*inputs, *layer.get_weights()]
    total = weighed(layer(inputs), np.random.default_rng(1))
    found = slopes(lambda *p: total(called(layer, *p)), *parts)
    return 0.0 if all(np.abs(slope).max() > 0 for slope in found) else 1.0


def held():
    """With activations held fixed the likelihood does not fall."""
    votes, a, *_ = plain(i=40, j=3, h=2)
    rng = np.random.default_rng(0)
    x, weights, resp, zeros = tensors(
        [
            votes.swapaxes(1, 2),
            a,
            rng.dirichlet(np.ones(3), 40),
            np.zeros(3),
        ]
    )
    fixed = {"inverse_temperature": 0.0, "variance_floor": 0.0}
    model = em.Routing(zeros, zeros, replace(em.AUTHORS, **fixed))
    steps = router.em(model, x, resp, weights)
    history = [
        float(a @ arrays([step.posterior.log_evidence])[0])
        for step in itertools.islice(steps, 20)
    ]
    return -np.diff(history).min()


def awake():
    """Before training activations are neither 0 nor 1."""
    inputs = grid(0, (7, 7), types=8, dtype="float32")
    layer = layers.ConvCapsules(8, 3, 2)
    _, chances = arrays(layer(inputs))
    outside = (chances < 0.05) | (chances > 0.95)
    return outside.mean()


def doubled():
    """Twice the children at half the scale cost the same."""
    votes, a, *betas = plain()
    both = np.r_[votes, votes], np.r_[a, a], *betas
    found = routed(both, mass_scale=0.2)
    return worst(found, routed((votes, a, *betas), mass_scale=0.4))


def parameters():
    """Transforms are shared, and prices are one a type."""
    inputs = grid(0, (5, 5), types=2, dtype="float32")
    layer = layers.ConvCapsules(3, 3, 1)
    layer(inputs)
    return abs(layer.count_params() - (9 * 2 * 3 * 16 + 2 * 3))


def untiled():
    """No pose and no transform is copied to make votes."""
    largest, right = [0], ops.matmul

    def spy(a, b):
        largest.append(math.prod(a.shape) + math.prod(b.shape))
        return right(a, b)

    rng = np.random.default_rng(0)
    parts = rng.normal(size=(3, 5, 4, 4)), rng.normal(size=(3, 7, 4, 4))
    try:
        ops.matmul = spy
        router.votes(*tensors(parts))
    finally:
        ops.matmul = right
    return max(0, max(largest) - sum(part.size for part in parts))


def perfect():
    """A perfect answer has no loss; others that of the definition."""
    a = np.array([[1.0, 0.0, 0.0], [0.2, 0.4, 0.3]])
    right = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    (found,) = arrays([losses.spread(*tensors([a, right]), 0.6)])
    return np.abs(found - [0.0, 0.5**2 + 0.7**2]).max()


def margins():
    """The margin is 0.2 at the first step and 0.9 at the last."""
    found = [float(losses.linear_margin(step, 500)) for step in (0, 500)]
    return np.abs(np.subtract(found, [0.2, 0.9])).max()


def added():
    """Statistics of two blocks add up to those of the whole."""
    votes, a, *_ = plain()
    resp = np.random.default_rng(0).dirichlet(np.ones(4), size=9)
    parts = votes.swapaxes(1, 2), resp, a
    whole, one, two = (
        em.m_step(*tensors(part[rows] for part in parts))
        for rows in (slice(None), slice(4), slice(4, None))
    )
    return worst(arrays((one + two)[1:]), arrays(whole[1:]))


LAYER = 1e-10 if DOUBLE else 1e-4
CHECKS = {
    # Rounding of float64 in three turns.
    by_loops: 1e-10,
    conv_by_loops: LAYER,
    class_by_loops: LAYER,
    start_shares: LAYER,
    later_shares: LAYER,
    absent: 1e-10,
    heard: 1e-10,
    nobody: 1e-10,
    added: 1e-10,
    doubled: 1e-10,
    held: 1e-10,
    # Rounding of float32, of logarithms near 100 and of numbers near 1.
    extremes: 1e-5,
    far_below: 1e-2,
    tight: 1e-5,
    alike: 1e-9,
    perfect: 1e-7,
    margins: 1e-6,
    along: 1e-5,  # of the differences
    # Counts.
    slopes_reach: 0.0,
    counts: 0,
    awake: 0.0,
    parameters: 0,
    untiled: 0,
}
CAUGHT = {
    activations_cancelled: {by_loops, conv_by_loops, heard},
    activations_ignored: {by_loops, absent, heard, held},
    epsilon_for_nobody: {nobody},
    mass_of_one: {by_loops, added},
    of_squares: {tight},
    about_nothing: {by_loops},
    shares_held: {along},
    width_held: {along},
    even_over_types: {start_shares, conv_by_loops},
    window_by_window: {start_shares, later_shares, conv_by_loops},
    type_by_type: {start_shares, later_shares, conv_by_loops},
    dilated: {later_shares, conv_by_loops},
    Probable: {extremes},
    LogOfSum: {far_below},
    ActivationsForgotten: {by_loops, far_below},
    FloorInTheLog: {by_loops, alike},
    NoFloor: {by_loops, alike},
    Damped: {heard, by_loops},
    RawMass: {doubled, by_loops},
    Hot: {awake, by_loops},
    OneTurnOn: {by_loops},
    e_step_thrown_away: {counts},
    e_step_first: {counts, heard, by_loops},
    beta_once: {by_loops},
    variance_for_deviation: {by_loops},
    transposed: {conv_by_loops, class_by_loops},
    pose_on_the_right: {conv_by_loops, class_by_loops},
    tiled: {untiled},
    first_entries: {class_by_loops},
    swapped: {class_by_loops},
    corners: {class_by_loops},
    in_cells: {class_by_loops},
    nowhere: {class_by_loops},
    PlaceByPlace: {class_by_loops},
    PriceForEachEntry: {parameters, slopes_reach},
    target_too: {perfect},
    not_squared: {perfect},
    mean_of_classes: {perfect},
    at_once: {margins},
    hardly_ever: {margins},
    MeansForSums: {added},
}


def put(patch, mutant):
    """Put a mutant in its place."""
    for place in mutant.places:
        if isinstance(place, dict):
            patch.setitem(place, mutant.name, mutant)
        else:
            patch.setattr(place, mutant.name, mutant)


def failed(checks):
    """Return those checks that fail."""
    broken = set()
    for check in checks:
        try:
            right = check() <= CHECKS[check]
        except (ArithmeticError, LookupError, ValueError):
            right = False
        broken |= set() if right else {check}
    return broken


@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda m: m.__name__)
def test_every_mutant_is_caught(mutant, monkeypatch):
    put(monkeypatch, mutant)
    assert failed(CAUGHT[mutant]) == CAUGHT[mutant]


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_the_right_package_is_not(check):
    assert not failed([check])


def test_every_check_catches_something():
    assert set().union(*CAUGHT.values()) == set(CHECKS)


if __name__ == "__main__":
    for each in CAUGHT:
        with pytest.MonkeyPatch.context() as patch:
            put(patch, each)
            rows = ", ".join(sorted(c.__name__ for c in failed(CHECKS)))
        print(f"| {each.__name__} | {each.__doc__} | {rows} |", flush=True)
