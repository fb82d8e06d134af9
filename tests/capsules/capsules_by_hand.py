"""Routing in float64, one child and one parent at a time, and slopes.

Written from the paper's procedure 1, not from the package: a child is a
row, a parent a column, and `rivals` says for each child which parents
compete for it.
"""

from __future__ import annotations

import math
from itertools import chain

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
FLOOR = 5e-4
# On PyTorch keras.ops.matmul, and so a vote, is float32 in float64, too.
DOUBLE = BACKEND != "torch"


def by_hand(
    votes,
    rivals,
    activations,
    use,
    activate,
    rates,
    *,
    scale=1.0,
    floor=FLOOR,
    standardised=False,
):
    """Return poses (j, h) and activations (j,) after len(rates) turns."""
    children, parents, _ = votes.shape
    resp = np.zeros((children, parents))
    for i, groups in enumerate(rivals):
        for group in groups:
            for j in group:
                resp[i, j] = 1 / len(group)
    voters = [
        [i for i in range(children) if any(j in g for g in rivals[i])]
        for j in range(parents)
    ]
    for turn, rate in enumerate(rates):
        means, variances, costs = [], [], []
        for j in range(parents):
            mass = [activations[i] * resp[i, j] for i in voters[j]]
            total = math.fsum(mass)
            some = total > 0
            share = [m / total if some else 1 / len(mass) for m in mass]
            mean = sum(
                s * votes[i, j]
                for s, i in zip(share, voters[j], strict=True)
            )
            variance = floor + sum(
                s * (votes[i, j] - mean) ** 2
                for s, i in zip(share, voters[j], strict=True)
            )
            price = math.fsum(use[j] + 0.5 * math.log(v) for v in variance)
            means.append(mean)
            variances.append(variance)
            costs.append(scale * total * price)
        costs = np.array(costs)
        if standardised:
            costs = (costs - costs.mean()) / costs.std()
        logits = rate * (np.asarray(activate) - costs)
        if turn == len(rates) - 1:
            break
        for i, groups in enumerate(rivals):
            for group in groups:
                heights = [
                    -math.log1p(math.exp(-logits[j]))
                    - 0.5
                    * math.fsum(
                        math.log(2 * math.pi * v) + (x - m) ** 2 / v
                        for x, m, v in zip(
                            votes[i, j], means[j], variances[j], strict=True
                        )
                    )
                    for j in group
                ]
                top = max(heights)
                parts = [math.exp(height - top) for height in heights]
                for j, part in zip(group, parts, strict=True):
                    resp[i, j] = part / math.fsum(parts)
    return np.array(means), 1 / (1 + np.exp(-logits))


def windows(size, kernel, strides):
    """Yield (place, cell of the window, cell of the grid), row by row."""
    rows = [r for r in range(0, size[0] - kernel[0] + 1, strides[0])]
    columns = [c for c in range(0, size[1] - kernel[1] + 1, strides[1])]
    for p, (top, left) in enumerate((r, c) for r in rows for c in columns):
        for y in range(kernel[0]):
            for x in range(kernel[1]):
                yield p, (y, x), (top + y, left + x)


def conv_by_hand(
    poses,
    activations,
    transforms,
    use,
    activate,
    *,
    strides,
    rates,
    competition="parents",
    floor=FLOOR,
):
    """Return poses (n, p, j, 4, 4) and activations (n, p, j), p places."""
    samples, height, width, children, *_ = poses.shape
    kernel, types = transforms.shape[:2], transforms.shape[3]
    links = list(windows((height, width), kernel, strides))
    places = 1 + max(p for p, _, _ in links)
    number = {
        cell: e
        for e, cell in enumerate(
            (r, c, b)
            for r in range(height)
            for c in range(width)
            for b in range(children)
        )
    }
    groups = [[] for _ in number]
    for p, _, (r, c) in links:
        for b in range(children):
            at_p = [p * types + j for j in range(types)]
            groups[number[r, c, b]].append(at_p)
    fed = sum(1 for group in groups if group)
    scale = places * types / fed
    if competition == "patch":
        scale = types / (kernel[0] * kernel[1] * children)
    else:
        groups = [[list(chain(*g))] if g else [] for g in groups]
    found = []
    for n in range(samples):
        votes = np.zeros((len(number), places * types, 16))
        for p, (y, x), (r, c) in links:
            for b in range(children):
                for j in range(types):
                    vote = poses[n, r, c, b] @ transforms[y, x, b, j]
                    i = number[r, c, b]
                    votes[i, p * types + j] = vote.ravel()
        found.append(
            by_hand(
                votes,
                groups,
                activations[n].ravel(),
                np.tile(use, places),
                np.tile(activate, places),
                rates,
                scale=scale,
                floor=floor,
            )
        )
    means, chances = (np.array(part) for part in zip(*found, strict=True))
    return (
        means.reshape(samples, places, types, 4, 4),
        chances.reshape(samples, places, types),
    )


def class_by_hand(
    poses, activations, transforms, use, activate, *, rates, coordinates
):
    """Return poses (n, j, 4, 4) and activations (n, j) of the classes."""
    samples, height, width, types, *_ = poses.shape
    classes = transforms.shape[1]
    everyone = [[list(range(classes))]] * (height * width * types)
    found = []
    for n in range(samples):
        votes, heard = [], []
        for r in range(height):
            for c in range(width):
                for b in range(types):
                    said = [poses[n, r, c, b] @ w for w in transforms[b]]
                    if coordinates:
                        for vote in said:
                            vote[0, 3] += (r + 0.5) / height
                            vote[1, 3] += (c + 0.5) / width
                    votes.append([vote.ravel() for vote in said])
                    heard.append(activations[n, r, c, b])
        found.append(
            by_hand(
                np.array(votes),
                everyone,
                heard,
                use,
                activate,
                rates,
                scale=classes / len(votes),
            )
        )
    means, chances = (np.array(part) for part in zip(*found, strict=True))
    return means.reshape(samples, classes, 4, 4), chances


def apart(found, wanted):
    """Return the largest error, in the unit of the largest entry."""
    if not np.isfinite(found).all():
        return math.inf
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-300)


def arrays(parts):
    """Return tensors as arrays."""
    return [ops.convert_to_numpy(part) for part in parts]


def _slopes_tensorflow(function, parts):
    import tensorflow as tf

    parts = [tf.constant(part) for part in parts]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        value = function(*parts)
    return tape.gradient(value, parts, unconnected_gradients="zero")


def _slopes_jax(function, parts):
    import jax

    parts = [jax.numpy.asarray(part) for part in parts]
    return jax.jit(jax.grad(function, argnums=range(len(parts))))(*parts)


def _slopes_torch(function, parts):
    import torch

    parts = [torch.tensor(part, requires_grad=True) for part in parts]
    return torch.autograd.grad(
        function(*parts), parts, allow_unused=True, materialize_grads=True
    )


def slopes(function, *parts):
    """Return the slope of a number in each of some arrays."""
    ways = {
        "tensorflow": _slopes_tensorflow,
        "jax": _slopes_jax,
        "torch": _slopes_torch,
    }
    return arrays(ways[BACKEND](function, parts))


def differences(function, parts, rng, step=1e-6, ways=3):
    """Yield (slope along a way, central difference along it), by part."""
    found = slopes(function, *parts)
    for k, slope in enumerate(found):
        for _ in range(ways):
            way = rng.normal(size=slope.shape)
            way /= np.linalg.norm(way)
            ahead, behind = (
                float(
                    ops.convert_to_numpy(
                        function(
                            *tensors(
                                part + e * way if n == k else part
                                for n, part in enumerate(parts)
                            )
                        )
                    )
                )
                for e in (step, -step)
            )
            yield np.sum(slope * way), (ahead - behind) / (2 * step)


def weighed(found, rng):
    """Return a function that sums two outputs with fixed random weights."""
    weights = [
        rng.normal(size=tuple(part.shape)).astype(
            keras.backend.standardize_dtype(part.dtype)
        )
        for part in found
    ]
    return lambda parts: sum(
        ops.sum(part * ops.convert_to_tensor(weight))
        for part, weight in zip(parts, weights, strict=True)
    )


def grid(seed, size, types, batch=2, dtype="float64"):
    """Return random poses and activations, the same in both dtypes."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(batch, *size, types, 4, 4))
    activations = rng.uniform(size=(batch, *size, types))
    both = poses.astype("float32"), activations.astype("float32")
    return [part.astype(dtype) for part in both]


def filled(layer, inputs, seed):
    """Build a layer, and give it weights, the same in both dtypes."""
    rng = np.random.default_rng(seed)
    layer.build([part.shape for part in inputs])
    shapes = [tuple(weight.shape) for weight in layer.weights]
    first, *betas = (rng.normal(size=shape) for shape in shapes)
    weights = [0.5 * first, *betas]
    layer.set_weights([weight.astype("float32") for weight in weights])
    return layer


def called(layer, *parts):
    """Return what a layer makes of poses, activations and its weights."""
    inputs, weights = parts[:2], list(parts[2:])
    return layer.stateless_call(weights, [], inputs)[0]


def tensors(parts):
    """Return arrays as tensors, each in its own dtype."""
    return [ops.convert_to_tensor(part) for part in parts]
