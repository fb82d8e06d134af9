"""The classic formulation of EM routing, ported to TensorFlow 2.

As the first public programs compute it: poses cut out by a depthwise
convolution with one-hot filters, transforms and poses tiled for every
parent, products of 4 x 4 matrices one by one, EM by broadcasting, shares
over the types of each window alone. Here so that it can be raced; run
alone, it does nothing.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def kernel_tile(x, kernel, stride):
    """Return each window's cells, cut out by one-hot filters."""
    channels, cells = x.shape[-1], kernel * kernel
    one_hot = np.zeros((kernel, kernel, channels, cells), np.float32)
    for cell in range(cells):
        one_hot[cell // kernel, cell % kernel, :, cell] = 1.0
    strides = (1, stride, stride, 1)
    cut = tf.nn.depthwise_conv2d(x, one_hot, strides, "VALID")
    _, rows, columns, _ = cut.shape
    cut = tf.reshape(cut, (-1, rows, columns, channels, cells))
    return tf.transpose(cut, (0, 1, 2, 4, 3))


def votes(poses, transforms, kernel, stride):
    """Return the votes, everything tiled: (n, i, j, 16)."""
    batch, height, width, types = poses.shape[:4]
    flat = tf.reshape(poses, (batch, height, width, types * 16))
    seen = kernel_tile(flat, kernel, stride)
    _, rows, columns, cells, _ = seen.shape
    n, i = batch * rows * columns, cells * types
    seen = tf.reshape(seen, (n, i, 1, 4, 4))
    parents = transforms.shape[3]
    w = tf.reshape(transforms, (1, i, parents, 4, 4))
    tiled = tf.tile(seen, (1, 1, parents, 1, 1))
    product = tf.matmul(tiled, tf.tile(w, (n, 1, 1, 1, 1)))
    return tf.reshape(product, (n, i, parents, 16)), rows, columns


def m_step(v, resp, weights, use, activate, rate, scale, floor):
    """Return means, variances and logits: (n, 1, j, 16), (n, 1, j, 1)."""
    masses = resp * weights  # (n, i, j, 1)
    mass = tf.reduce_sum(masses, axis=1, keepdims=True)
    mean = tf.reduce_sum(masses * v, axis=1, keepdims=True) / mass
    square = tf.reduce_sum(
        masses * tf.square(v - mean), axis=1, keepdims=True
    )
    variance = square / mass + floor
    cost = (use[:, None] + 0.5 * tf.math.log(variance)) * mass * scale
    cost = tf.reduce_sum(cost, axis=-1, keepdims=True)
    return mean, variance, rate * (activate[:, None] - cost)


def e_step(v, mean, variance, logits):
    """Return the shares over the types of each window: (n, i, j, 1)."""
    density = -0.5 * tf.reduce_sum(
        tf.square(v - mean) / variance + tf.math.log(2 * np.pi * variance),
        axis=-1,
        keepdims=True,
    )
    return tf.nn.softmax(density + tf.math.log_sigmoid(logits), axis=2)


def layer(
    poses,
    activations,
    transforms,
    use,
    activate,
    *,
    stride,
    turns,
    rate,
    floor=5e-4,
):
    """Return poses and activations of the parents."""
    kernel, parents = transforms.shape[0], transforms.shape[3]
    v, rows, columns = votes(poses, transforms, kernel, stride)
    n, i = v.shape[:2]
    weights = kernel_tile(activations, kernel, stride)
    weights = tf.reshape(weights, (n, i, 1, 1))
    resp = tf.fill((n, i, parents, 1), 1.0 / parents)
    for turn in range(turns):
        found = m_step(
            v, resp, weights, use, activate, rate, parents / i, floor
        )
        if turn < turns - 1:
            resp = e_step(v, *found)
    mean, _, logits = found
    grid = (-1, rows, columns, parents)
    return (
        tf.reshape(mean, (*grid, 4, 4)),
        tf.reshape(tf.sigmoid(logits), grid),
    )
