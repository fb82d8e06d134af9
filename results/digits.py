"""Train the networks of the last chapters, and measure them.

    python results/digits.py accuracy --mnist mnist.npz --work runs

writes results/accuracy.json, and what was learned in its first run to
results/small; likewise `views`, `robustness`, `ablations` and `cost`. Runs
are kept in the folder of --work; the command may be killed and given again,
and goes on where it was. A file is written after each run, and says whether
all of its runs are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from emlib import datasets
from emlib.capsules import training
from emlib.capsules.losses import SpreadLoss
from emlib.capsules.network import PRESETS
from emlib.capsules.training import Plan, Viewpoints
from emlib.files import write_atomically
from emlib.plan import NETWORKS

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
SOME = 12_000  # images of the smaller experiments
TESTED = 2_500  # images that are looked at in many ways
CHANGES = {
    "rotation": ("degrees", 30.0, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]),
    "translation": ("shift", 2.0, [0, 1, 2, 3, 4, 5, 6]),
    "scale": (
        "zoom",
        0.2,
        [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4],
    ),
}
ABLATIONS = {
    "as it is": {},
    "1 turn": {"turns": 1},
    "3 turns": {"turns": 3},
    "competition in each window": {"competition": "patch"},
    "no coordinates": {"coordinates": False},
    "standardised cost": {"cost": "standardised"},
}
STRENGTHS = {
    "noise": [0.0, 0.1, 0.2, 0.4, 0.6, 0.8],
    "occlusion": [0, 4, 6, 8, 10, 12],
    "fgsm": [0.0, 0.02, 0.05, 0.1, 0.2, 0.3],
}


class Runs:
    """Train what is asked for, unless it was trained before."""

    def __init__(self, work, digits):
        self.work, self.digits = work, digits

    def get(self, name, plan, n=None):
        """Return the network and the record of a run."""
        folder = self.work / name
        digits = self.digits
        if n is not None:
            rows = training.order(len(digits.x_train), 0, 0)[:n]
            digits = digits._replace(
                x_train=digits.x_train[rows], y_train=digits.y_train[rows]
            )
        kept = training.RunFolder(folder)
        last = plan.steps(len(digits.x_train))
        rows = kept.rows()
        if rows and rows[-1]["step"] == last:
            network = training.load(folder)
        else:
            print(f"== {name}", flush=True)
            network, rows = training.train(
                plan, digits, folder, resume=kept.config.exists(), watch=say
            )
        return network, record(name, kept.read(), rows)


def say(row, steps):
    if "test" in row:
        print(f"   {row['step']}/{steps}: {row['test']:.2%}", flush=True)


def record(name, config, rows):
    """Return what the book is told of a run."""
    taken = [row for row in rows if "loss" in row]
    seconds = [row["seconds"] for row in taken]
    size = max(50, len(taken) // 100)
    blocks = [taken[k : k + size] for k in range(0, len(taken), size)]
    return {
        "name": name,
        "plan": vars(config["plan"]),
        "parameters": config["parameters"],
        "date": config["date"],
        "device": config["device"],
        "versions": config["versions"],
        "test": [row["test"] for row in rows if "test" in row],
        "steps": len(taken),
        "seconds_a_step": round(float(np.median(seconds)), 4),
        "seconds": round(sum(seconds)),
        "curve": {
            "step": [block[-1]["step"] for block in blocks],
            "loss": mean_of(blocks, "loss"),
            "accuracy": mean_of(blocks, "accuracy"),
        },
    }


def mean_of(blocks, name):
    return [
        round(float(np.mean([row[name] for row in block])), 4)
        for block in blocks
    ]


def write(name, found, wanted):
    """Write a results file, a run a line."""
    command = (
        f"python results/digits.py {name} --mnist mnist.npz --work runs"
    )
    complete = len(found["runs"]) == wanted
    runs = ",\n".join(map(json.dumps, found["runs"]))
    rest = {key: found[key] for key in found if key != "runs"}
    head = {"command": command, "complete": complete, **rest, "runs": []}
    text = json.dumps(head)[: -len("]}")] + f"\n{runs}\n]}}\n"
    write_atomically(HERE / f"{name}.json", text)


def accuracy(runs):
    """Train on all digits."""
    found = {"runs": []}
    plans = [
        *(("small", "capsules", seed, 5) for seed in SEEDS),
        *(("small", "convolution", seed, 5) for seed in SEEDS),
        ("medium", "capsules", 1, 3),
        ("medium", "convolution", 1, 3),
    ]
    wanted = len(plans) + len(SEEDS)
    for preset, network, seed, epochs in plans:
        plan = Plan(network, preset, epochs=epochs, seed=seed)
        name = f"{network}-{preset}-{seed}"
        net, kept = runs.get(name, plan)
        if name == "capsules-small-1":
            publish(training.RunFolder(runs.work / name))
        tested(kept, net, runs.digits)
        found["runs"].append(kept)
        write("accuracy", found, wanted)
    pace = {
        network: np.median(
            [
                run["seconds_a_step"]
                for run in found["runs"]
                if run["name"].startswith(f"{network}-small")
            ]
        )
        for network in NETWORKS
    }
    epochs = round(5 * pace["capsules"] / pace["convolution"])
    for seed in SEEDS:
        plan = Plan("convolution", "small", epochs=epochs, seed=seed)
        name = f"convolution-small-{seed}-same-time"
        net, kept = runs.get(name, plan)
        tested(kept, net, runs.digits)
        found["runs"].append(kept)
        write("accuracy", found, wanted)


def publish(kept):
    """Copy what `training.load` needs of a run to results/small.

    That is what it was told and its last checkpoint, whole: the weights,
    and the two means of Adam for each, some 110 kB in all.
    """
    (HERE / "small").mkdir(exist_ok=True)
    for path in (kept.config, kept.checkpoint):
        shutil.copyfile(path, HERE / "small" / path.name)


def tested(kept, network, digits):
    """Add what a network does on the whole test set to its record."""
    found = training.evaluate(network, digits.x_test, digits.y_test)
    kept["accuracy"] = found.accuracy
    kept["confusion"] = found.confusion.tolist()
    images = training.normalise_images(digits.x_test)
    said = network.predict(images, batch_size=250, verbose=0).argmax(axis=1)
    kept["wrong"] = np.flatnonzero(said != digits.y_test).tolist()
    kept["images_per_second"] = round(found.images_per_second)


def views(runs):
    """Train on some views, and test on others."""
    found = {"runs": [], "changes": {k: v for k, v in CHANGES.items()}}
    x, y = runs.digits.x_test[:TESTED], runs.digits.y_test[:TESTED]
    signs = np.where(np.arange(TESTED) % 2, 1.0, -1.0)
    others = np.where(np.arange(TESTED) % 4 < 2, 1.0, -1.0)
    still = Viewpoints(*np.zeros((3, TESTED)), np.ones(TESTED))
    for change, (option, limit, places) in CHANGES.items():
        for network in NETWORKS:
            for seed in SEEDS:
                plan = Plan(network, seed=seed, **{option: limit})
                name = f"{change}-{network}-{seed}"
                net, kept = runs.get(name, plan, SOME)
                kept["right"] = []
                for place in places:
                    seen = {
                        "rotation": still._replace(degrees=place * signs),
                        "translation": still._replace(
                            down=place * signs, right=place * others
                        ),
                        "scale": still._replace(
                            zoom=np.full(TESTED, float(place))
                        ),
                    }[change]
                    images = training.warp(x, seen)
                    right = training.evaluate(net, images, y).accuracy
                    kept["right"].append(right)
                found["runs"].append(kept)
                write("views", found, 18)


def robustness(runs):
    """Spoil the images for the networks of `accuracy`."""
    found = {"runs": [], "strengths": STRENGTHS}
    x, y = runs.digits.x_test[:TESTED], runs.digits.y_test[:TESTED]
    for network in NETWORKS:
        for seed in SEEDS:
            plan = Plan(network, "small", epochs=5, seed=seed)
            net, kept = runs.get(f"{network}-small-{seed}", plan)
            kept = {k: kept[k] for k in ("name", "plan", "parameters")}
            kept["right"] = {
                kind: [
                    right(net, spoiled(net, x, y, kind, strength), y)
                    for strength in strengths
                ]
                for kind, strengths in STRENGTHS.items()
            }
            moved = spoiled(
                net, x, y, "fgsm", 0.1
            ) != training.normalise_images(x)
            kept["unmoved"] = float(1 - moved.any(axis=(1, 2, 3)).mean())
            found["runs"].append(kept)
            write("robustness", found, 6)


def right(network, images, y):
    """Return the share of scaled images that a network names rightly."""
    said = network.predict(images, batch_size=250, verbose=0).argmax(axis=1)
    return float((said == y).mean())


def spoiled(network, x, y, kind, strength):
    """Return scaled images that were made harder to read."""
    images = training.normalise_images(x)
    rng = np.random.default_rng(20)
    if kind == "noise":
        return images + strength * rng.normal(size=images.shape)
    if kind == "fgsm":
        parts = zip(np.split(images, 10), np.split(y, 10), strict=True)
        return np.concatenate(
            [i + strength * np.sign(slope(network, i, t)) for i, t in parts]
        )
    images = images.copy()
    for image in images:
        top, left = rng.integers(0, 29 - strength, size=2)
        image[top : top + strength, left : left + strength] = -1
    return images


@tf.function(reduce_retracing=True)
def _slope(network, images, labels):
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = network.loss(labels, network(images))
    return tape.gradient(loss, images)


def slope(network, images, labels):
    """Return how the loss of images grows with each pixel."""
    if isinstance(network.loss, SpreadLoss):
        network.loss.margin = 0.9
    parts = map(tf.constant, (images.astype("f4"), labels.astype("i4")))
    return _slope(network, *parts).numpy()


def ablations(runs):
    """Leave out one part after the other."""
    found = {"runs": []}
    for name, options in ABLATIONS.items():
        for seed in SEEDS:
            plan = Plan(seed=seed, options=options)
            folder = f"ablation-{name.replace(' ', '-')}-{seed}"
            net, kept = runs.get(folder, plan, SOME)
            kept["ablation"] = name
            tested(kept, net, runs.digits)
            found["runs"].append(kept)
            write("ablations", found, len(ABLATIONS) * len(SEEDS))


def cost(runs):
    """Measure each network's steps in a process of its own."""
    found = {"runs": []}
    kinds = [(n, p) for n in NETWORKS for p in PRESETS]
    for network, preset in kinds:
        told = ["cost", "--one", network, preset]
        said = subprocess.run(
            [sys.executable, __file__, *told],
            capture_output=True,
            text=True,
            check=True,
        )
        found["runs"].append(json.loads(said.stdout.splitlines()[-1]))
        print(found["runs"][-1], flush=True)
        write("cost", found, len(kinds))


def one(network, preset):
    """Print what steps of one network take."""
    plan = Plan(network, preset, epochs=100)
    digits = datasets.load_mnist("sample")
    before = peak()
    seconds = []
    net = training.compile_network(
        training.build_network(plan), plan, plan.steps(5000), jit=True
    )
    for row in training.steps(net, plan, digits, 0):
        seconds.append(row["seconds"])
        if len(seconds) == 22:
            break
    most = peak() - before
    some = digits.x_test[:500], digits.y_test[:500]
    pace = training.evaluate(net, *some).images_per_second
    said = {
        "network": network,
        "preset": preset,
        "parameters": sum(
            int(np.prod(w.shape)) for w in net.trainable_weights
        ),
        "first_step": seconds[0],
        "seconds": sorted(seconds[1:]),
        "peak_mb": round(most),
        "images_per_second": pace,
        "device": training.device(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
    print(json.dumps(said))


def peak():
    """Return the most memory that this process has held, in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (row for row in status if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


SECTIONS = {
    f.__name__: f for f in (accuracy, views, robustness, ablations, cost)
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        return one(*told.one)
    digits = None
    if told.section != "cost":
        if told.mnist is None:
            parser.error("--mnist must name an archive mnist.npz")
        digits = datasets.load_mnist(told.mnist)
    return SECTIONS[told.section](Runs(told.work, digits))


if __name__ == "__main__":
    main()
