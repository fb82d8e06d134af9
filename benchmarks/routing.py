"""How fast is a layer of capsules, and how much memory does it take?

Against the classic formulation (classic.py), in one process, interleaved:
3 x 3 windows, stride 2, 32 types to 32, 14 x 14 to 6 x 6, three turns,
forward and backward, float32. Peak memory is measured in a process of its
own for each. Writes the section "routing" of benchmarks/RESULTS.md, and
benchmarks/routing.json, which the book reads.

    python benchmarks/routing.py --device cpu
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import classic
import keras
import numpy as np
import tensorflow as tf

from emlib.capsules import ConvCapsules
from results import machine, write

ROUNDS = 7
DRAWS = range(20, 30)
OUT = Path(__file__).with_name("routing.json")
TYPES, TURNS, RATE = 32, 3, 0.03
RIVAL = "classic, tiled"
WORKS = {
    RIVAL: "tf.function",
    "classic, tiled, XLA": "XLA",
    "emlib": "XLA",
    "emlib, one by one": "XLA",
    "emlib, without XLA": "tf.function",
}


def inputs(batch):
    """Return poses, activations, transforms, and the output's slopes."""
    rng = np.random.default_rng(20)
    shapes = {
        "poses": (batch, 14, 14, TYPES, 4, 4),
        "w": (3, 3, TYPES, TYPES, 4, 4),
        "of_poses": (batch, 6, 6, TYPES, 4, 4),
        "of_activations": (batch, 6, 6, TYPES),
    }
    drawn = {
        name: tf.constant(rng.normal(size=shape).astype("f4"))
        for name, shape in shapes.items()
    }
    drawn["w"] = 0.5 * drawn["w"]
    present = rng.uniform(size=(batch, 14, 14, TYPES)).astype("f4")
    return {**drawn, "activations": tf.constant(present)}


def step(parents, given, weights):
    """Return outputs and slopes: a step of training without its update."""
    poses, activations = given["poses"], given["activations"]
    watched = [poses, activations, *weights]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        found = parents(poses, activations)
        loss = tf.reduce_sum(found[0] * given["of_poses"])
        loss += tf.reduce_sum(found[1] * given["of_activations"])
    return [*found, *tape.gradient(loss, watched)]


def ours(given, types=TYPES, **options):
    """Return a step of emlib's layer."""
    options = {"inverse_temperature": RATE, **options}
    layer = ConvCapsules(types, 3, 2, turns=TURNS, **options)
    layer.build((given["poses"].shape, given["activations"].shape))
    layer.transforms.assign(given["w"])
    weights = [weight.value for weight in layer.trainable_weights]
    return lambda: step(lambda *pair: layer(pair), given, weights)


def theirs(given):
    """Return a step of the classic formulation."""
    weights = [
        tf.Variable(given["w"]),
        *(tf.Variable(tf.zeros(TYPES)) for _ in "ua"),
    ]

    def parents(poses, activations):
        kept = [tf.convert_to_tensor(weight) for weight in weights]
        return classic.layer(
            poses, activations, *kept, stride=2, turns=TURNS, rate=RATE
        )

    return lambda: step(parents, given, weights)


def made(name, given):
    """Return one formulation, in the mode that its row names."""
    options = {"rematerialise": True} if "one by one" in name else {}
    run = theirs(given) if "classic" in name else ours(given, **options)
    return tf.function(run, jit_compile=WORKS[name] == "XLA")


def lap(run):
    """Return the seconds of one step, its results at hand."""
    began = time.perf_counter()
    for part in run():
        part.numpy()
    return time.perf_counter() - began


def peak(name, batch):
    """Return the megabytes that three steps add to their own process."""
    command = [
        sys.executable,
        __file__,
        "--alone",
        name,
        "--batch",
        str(batch),
    ]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True
    )
    return float(said.stdout.split()[-1])


def highest():
    """Return the most memory that this process has held, in megabytes."""
    # `getrusage` would count what the parent held when it forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def alone(name, batch):
    """Print by how much the process grows over its inputs."""
    run = made(name, inputs(batch))
    before = highest()
    for _ in range(3):
        lap(run)
    print(highest() - before)


def small(tight, dtype, seed):
    """Return easy votes, or tight ones far from 0, in such digits."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(2, 9, 9, 8, 4, 4))
    w = rng.normal(size=(3, 3, 8, 8, 4, 4))
    drawn = {
        "poses": 1 + 0.02 * poses if tight else poses,
        "w": np.eye(4) + 0.02 * w if tight else 0.5 * w,
        "activations": rng.uniform(size=(2, 9, 9, 8)),
        "of_poses": rng.normal(size=(2, 4, 4, 8, 4, 4)),
        "of_activations": rng.normal(size=(2, 4, 4, 8)),
    }
    # Both precisions are given the same numbers, those of float32.
    given = {name: a.astype("float32") for name, a in drawn.items()}
    return {name: tf.constant(a, dtype) for name, a in given.items()}


def errors(kind, seed):
    """Return the largest errors of outputs and slopes against float64."""
    found = []
    for dtype in ("float32", "float64"):
        given = small(kind == "tight", dtype, seed)
        run = tf.function(ours(given, 8, dtype=dtype), jit_compile=True)
        found.append([part.numpy() for part in run()])
    apart = [
        float(abs(a - b).max() / abs(b).max())
        for a, b in zip(*found, strict=True)
    ]
    return max(apart[:2]), max(apart[2:])


def worst(kind):
    """Return the largest errors over all draws."""
    found = np.array([errors(kind, seed) for seed in DRAWS])
    return found.max(axis=0).tolist()


def race(batch):
    """Return each formulation's seconds a step, rounds interleaved."""
    given = inputs(batch)
    runs = {name: made(name, given) for name in WORKS}
    times = {name: [] for name in WORKS}
    for name, run in runs.items():
        lap(run)
        lap(run)
        print(f"{name}: ready", flush=True)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(lap(run))
    return {name: np.array(row) for name, row in times.items()}


def main():
    """Race, weigh and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--alone", choices=list(WORKS), help=argparse.SUPPRESS
    )
    told = parser.parse_args()
    if told.device == "gpu" and not tf.config.list_physical_devices("GPU"):
        parser.error("--device gpu needs a GPU; TensorFlow sees none")
    if told.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    keras.utils.set_random_seed(20)
    if told.alone:
        alone(told.alone, told.batch)
        return
    memory = {name: peak(name, told.batch) for name in WORKS}
    times = race(told.batch)
    rows = [row(name, times, memory) for name in WORKS]
    wrong = {kind: worst(kind) for kind in ("easy", "tight")}
    ran = machine("tensorflow", "keras")
    ran = f"{ran}, {os.cpu_count()} cores, {told.device}"
    said = (
        f"{ran}. Batch {told.batch}, forward and backward; medians of "
        f"{ROUNDS} rounds, interleaved (range); peak memory is what a "
        "process with its inputs grows by. Errors are against float64: the "
        "largest difference over the largest value, the worst of "
        f"{len(DRAWS)} draws."
    )
    write("routing", [said, "", *table(rows), "", *error_table(wrong)])
    found = {"ran": ran, "batch": told.batch, "rows": rows, "errors": wrong}
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def row(name, times, memory):
    """Return what was found of one formulation."""
    ratios = times[RIVAL] / times[name]
    return {
        "name": name,
        "mode": WORKS[name],
        "milliseconds": float(np.median(times[name]) * 1e3),
        "faster": float(np.median(ratios)),
        "range": [float(ratios.min()), float(ratios.max())],
        "megabytes": memory[name],
        "less": memory[RIVAL] / memory[name],
    }


def table(rows):
    """Return the lines of the table of formulations."""
    head = "formulation | mode | ms | times faster | peak MB | times less"
    lines = [f"| {head} |", "|---|---|---|---|---|---|"]
    for one in rows:
        low, high = one["range"]
        lines.append(
            f"| {one['name']} | {one['mode']} | {one['milliseconds']:.0f} "
            f"| **{one['faster']:.1f}** ({low:.1f}-{high:.1f}) "
            f"| {one['megabytes']:.0f} | **{one['less']:.1f}** |"
        )
    return lines


def error_table(wrong):
    """Return the lines of the table of errors."""
    lines = ["| votes | outputs | slopes |", "|---|---|---|"]
    for kind, (outputs, slopes) in wrong.items():
        lines.append(f"| {kind} | {outputs:.1e} | {slopes:.1e} |")
    return lines


if __name__ == "__main__":
    main()
