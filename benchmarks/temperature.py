"""Which inverse temperature, and which start of the transforms?

For each pair: how far the class logits of an untrained network spread over
real digits, how large the slopes of its first layer are beside the last
layer's, and what the network gets right after 200 steps. Writes the section
"temperature" of benchmarks/RESULTS.md.

    python benchmarks/temperature.py --mnist mnist.npz
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import keras
import numpy as np
import tensorflow as tf
from results import machine, write

from emlib.capsules import NearIdentity, SpreadLoss, capsule_network
from emlib.capsules.routing import authors_temperature

STEPS, BATCH, RATE = 200, 64, 1e-2
HERE = Path.home() / ".keras" / "datasets" / "mnist.npz"
# lambda, how near to the identity transforms start, and their spread
STARTS = [
    (authors_temperature, 1, 0.5),
    (0.01, 1, 0.5),
    (0.03, 1, 0.5),
    (0.1, 1, 0.5),
    (0.3, 1, 0.5),
    (1.0, 1, 0.5),
    (0.03, 0, 0.5),
    (0.03, 0, 1.5),
]


def digits(path):
    """Return images and labels to train on, and held-out ones."""
    with np.load(path) as file:
        parts = [
            file[n] for n in ("x_train", "y_train", "x_test", "y_test")
        ]
    x, y, held_x, held_y = parts
    x, held_x = (
        ((a[..., None] - 128.0) / 128).astype("f4") for a in (x, held_x)
    )
    return x, y, held_x[:5000], held_y[:5000]


def network(rate, nearness, spread):
    """Return a small network with such a start."""
    keras.utils.set_random_seed(20)
    start = keras.initializers.RandomNormal(stddev=spread)
    start = NearIdentity(spread) if nearness else start
    return capsule_network(
        preset="small",
        inverse_temperature=rate,
        transforms_initializer=start,
        margin_steps=STEPS,
    )


def at_start(net, x, y):
    """Return the spread of the logits, and the first slopes' size."""
    with tf.GradientTape() as tape:
        a = net(x)
        loss = SpreadLoss(0.2)(y, a)
    logit = np.log(a := a.numpy().astype(float)) - np.log1p(-a)
    first = net.get_layer("edges").kernel.value
    last = net.get_layer("classes").transforms.value
    slopes = tape.gradient(loss, [first, last])
    sizes = [float(tf.sqrt(tf.reduce_mean(g**2))) for g in slopes]
    return logit.std(), sizes[0] / sizes[1]


def after(net, x, y, held_x, held_y):
    """Return the share of held-out digits that is right after training."""
    net.compile(
        keras.optimizers.Adam(RATE, global_clipnorm=4.0),
        loss=SpreadLoss(None),
        jit_compile=True,
    )
    some = np.random.default_rng(20).permutation(len(x))[: STEPS * BATCH]
    net.fit(x[some], y[some], batch_size=BATCH, shuffle=False, verbose=0)
    found = net.predict(held_x, batch_size=500, verbose=0).argmax(axis=1)
    return float((found == held_y).mean())


def named(rate):
    """Return an inverse temperature in words."""
    return "authors' schedule" if callable(rate) else f"{rate:g}"


def main():
    """Try the starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, default=HERE)
    told = parser.parse_args()
    if not told.mnist.exists():
        if told.mnist != HERE:
            parser.error(f"--mnist must name a file; {told.mnist} is none")
        print(f"temperature: not run, there is no {HERE}; see --mnist")
        return
    x, y, held_x, held_y = digits(told.mnist)
    head = "lambda | transforms start at | sd of class logits"
    lines = [f"| {head} | first slopes / last | right |", "|---" * 5 + "|"]
    for rate, nearness, spread in STARTS:
        net = network(rate, nearness, spread)
        logits, slopes = at_start(net, x[:256], y[:256])
        right = after(net, x, y, held_x, held_y)
        start = f"{'I + ' if nearness else ''}N(0, {spread:g})"
        lines.append(
            f"| {named(rate)} | {start} | {logits:.3f} | {slopes:.2f} "
            f"| {right:.1%} |"
        )
        print(lines[-1], flush=True)
    said = (
        f"{machine('tensorflow', 'keras')}. Network `small`, {STEPS} steps "
        f"of {BATCH} digits, Adam {RATE:g}, margin 0.2 to 0.9, seed 20; "
        "right: of the first 5,000 test digits. Slopes are root mean "
        "squares over the first convolution's kernel and the classes' "
        "transforms."
    )
    write("temperature", [said, "", *lines])


if __name__ == "__main__":
    main()
