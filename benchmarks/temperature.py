"""Which inverse temperature, which start of transforms and betas?

For each of them: how far the class logits of an untrained network spread
over real digits, how large the slopes of its first layer are beside the
last layer's, and what the network gets right after 200 steps. Writes the
section "temperature" of benchmarks/RESULTS.md.

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

from emlib.capsules import NearIdentity, SpreadLoss, capsule_network
from emlib.capsules.routing import authors_temperature
from results import machine, write

STEPS, BATCH, RATE = 200, 64, 1e-2
HERE = Path.home() / ".keras" / "datasets" / "mnist.npz"
# lambda; how near to the identity transforms start, and their spread;
# betas; how many seeds
STARTS = [
    (authors_temperature, 1, 0.5, 0, 0, 1),
    (0.01, 1, 0.5, 0, 0, 3),
    (0.03, 1, 0.5, 0, 0, 3),
    (0.1, 1, 0.5, 0, 0, 3),
    (0.3, 1, 0.5, 0, 0, 3),
    (1.0, 1, 0.5, 0, 0, 1),
    (0.03, 1, 0.25, 0, 0, 1),
    (0.03, 1, 1.0, 0, 0, 1),
    (0.03, 0, 0.5, 0, 0, 1),
    (0.03, 0, 1.5, 0, 0, 1),
    (0.03, 1, 0.5, 1, 0, 1),
    (0.03, 1, 0.5, -1, 0, 1),
    (0.03, 1, 0.5, 0, 10, 1),
    (0.03, 1, 0.5, 0, -10, 1),
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
    return x, y, held_x, held_y


def network(start, seed):
    """Return a small network with such a start."""
    rate, nearness, spread, use, activate, _ = start
    keras.utils.set_random_seed(seed)
    made = keras.initializers.RandomNormal(stddev=spread)
    net = capsule_network(
        preset="small",
        inverse_temperature=rate,
        transforms_initializer=NearIdentity(spread) if nearness else made,
    )
    for name in ("parts", "wholes", "classes"):
        layer = net.get_layer(name)
        layer.beta_use.assign(layer.beta_use + use)
        layer.beta_activate.assign(layer.beta_activate + activate)
    return net


def at_start(net, x, y):
    """Return the spread of the logits, and the first slopes' size."""
    with tf.GradientTape() as tape:
        a = net(x)
        loss = SpreadLoss(0.2)(y, a)
    # Beyond 16 nats a float32 rounds to 1.
    a = a.numpy().astype(float).clip(1e-7, 1 - 1e-7)
    logit = np.log(a) - np.log1p(-a)
    first = net.get_layer("edges").kernel.value
    last = net.get_layer("classes").transforms.value
    slopes = tape.gradient(loss, [first, last])
    sizes = [float(tf.sqrt(tf.reduce_mean(g**2))) for g in slopes]
    return logit.std(), sizes[0] / sizes[1]


def after(net, seed, x, y, held_x, held_y):
    """Return the held-out share that is right, and the steps' log."""
    net.compile(
        keras.optimizers.Adam(RATE, global_clipnorm=4.0),
        loss=SpreadLoss(None),
        metrics=["accuracy"],
        jit_compile=True,
    )
    some = np.random.default_rng(seed).permutation(len(x))[: STEPS * BATCH]
    log = []
    for step, rows in enumerate(some.reshape(STEPS, BATCH)):
        net.reset_metrics()
        found = net.train_on_batch(x[rows], y[rows], return_dict=True)
        log.append((step, float(found["loss"]), float(found["accuracy"])))
    found = net.predict(held_x, batch_size=500, verbose=0).argmax(axis=1)
    return float((found == held_y).mean()), np.array(log)


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
    head = "lambda | transforms | beta_u | beta_a | sd of class logits"
    lines = [f"| {head} | first slopes / last | right |", "|---" * 7 + "|"]
    for start in STARTS:
        rate, nearness, spread, use, activate, seeds = start
        logits, slopes = at_start(network(start, 1), x[:256], y[:256])
        rights = []
        for seed in range(1, seeds + 1):
            net = network(start, seed)
            right, log = after(net, seed, x, y, held_x, held_y)
            rights.append(f"{right:.1%}")
            print(f"{start} seed {seed}: {right:.2%}")
            for step in (0, 50, 100, 150, STEPS - 1):
                near = log[max(0, step - 19) : step + 1]
                print(
                    f"  step {step:3d} loss {log[step, 1]:.4f} accuracy "
                    f"of the last 20 batches {near[:, 2].mean():.3f}",
                    flush=True,
                )
        transforms = f"{'I + ' if nearness else ''}N(0, {spread:g})"
        lines.append(
            f"| {named(rate)} | {transforms} | {use:g} | {activate:g} "
            f"| {logits:.2g} | {slopes:.2g} | {', '.join(rights)} |"
        )
    said = (
        f"{machine('tensorflow', 'keras')}. Network `small`, {STEPS} steps "
        f"of {BATCH} digits, Adam {RATE:g}, slopes clipped at 4, a margin "
        "that rises from 0.2 by 0.0007 a step, seeds 1, 2, 3; right: of "
        "the 10,000 test digits. Slopes are root mean squares over the "
        "first convolution's kernel and the classes' transforms."
    )
    write("temperature", [said, "", *lines])


if __name__ == "__main__":
    main()
