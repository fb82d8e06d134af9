"""`emlib train` and `emlib evaluate`: networks that name digits."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from emlib import datasets
from emlib.files import require_folder, write_atomically
from emlib.plan import Plan

__all__ = [
    "EVALUATE_EXAMPLES",
    "TRAIN_EXAMPLES",
    "TrainingDisplay",
    "add_evaluate",
    "add_train",
    "evaluate",
    "import_training",
    "silence_stderr",
    "train",
]

TRAIN_EXAMPLES = """examples:
  emlib train --data sample --preset small --epochs 2 --out run
  emlib train --data mnist.npz --preset medium --epochs 3 --out run
  emlib train --data mnist.npz --preset medium --epochs 3 --out run --resume
"""
EVALUATE_EXAMPLES = """examples:
  emlib evaluate run
  emlib evaluate run --data mnist.npz --json result.json
"""
# The options of a plan that have a flag.
FLAGS = [each for each in fields(Plan) if each.metadata.get("help")]


def add_train(command: argparse.ArgumentParser) -> None:
    """Add the options of `train`: a plan's, and those of the command."""
    add = command.add_argument
    add(
        "--data",
        default="mnist",
        help="mnist (Keras' copy, else downloaded, else the sample), "
        "sample, an archive mnist.npz, or a folder (default: mnist)",
    )
    for each in FLAGS:
        add(
            f"--{each.name.replace('_', '-')}",
            type=type(each.default),
            default=each.default,
            help=each.metadata["help"],
        )
    add("--out", required=True, help="folder to keep the run in")
    add("--resume", action="store_true", help="go on with a run")
    add("--no-xla", action="store_true", help="do not compile by XLA")
    add(
        "--deterministic",
        action="store_true",
        help="only operations that give the same bits every time, without "
        "XLA; on a processor XLA has done so, too",
    )
    add(
        "--tensorboard",
        action="store_true",
        help="write what TensorBoard shows, too, into OUT/tensorboard",
    )


def train(args: argparse.Namespace) -> None:
    """Train, and say how it goes."""
    # A wrong option is told before Keras is loaded, which takes long.
    plan = Plan(**{each.name: getattr(args, each.name) for each in FLAGS})
    training = import_training()
    _prepare(args.deterministic)
    digits = _digits(args.data)
    display = TrainingDisplay(args.out if args.tensorboard else None)
    try:
        training.train(
            plan,
            digits,
            args.out,
            resume=args.resume,
            jit=not (args.no_xla or args.deterministic),
            watch=display,
        )
    finally:
        display.end()
    print(f"kept in {args.out}; test it: emlib evaluate {args.out}")


def import_training() -> Any:
    """Return the package that trains, imported without TensorFlow's log."""
    try:
        with silence_stderr():
            import emlib.capsules.training as training
    except ImportError as why:
        raise ImportError(
            f"Capsules need Keras and TensorFlow ({why}). Install the "
            "package with its extra `capsules`."
        ) from why
    return training


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Keep libraries from writing to stderr what nobody asked for."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _prepare(deterministic: bool) -> None:
    """Make TensorFlow take memory as it needs it, or repeat itself."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with silence_stderr():
            cards = tf.config.list_physical_devices("GPU")
        for card in cards:
            tf.config.experimental.set_memory_growth(card, True)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    with silence_stderr():
        keras.ops.zeros(1)


def _digits(data: str) -> datasets.Digits:
    """Return the digits that an option names, and say which they are."""
    digits = datasets.load_mnist(None if data == "mnist" else data)
    print(
        f"data: {digits.source}, {len(digits.x_train)} to train on, "
        f"{len(digits.x_test)} to test on"
    )
    return digits


class TrainingDisplay:
    """Show how training goes: a bar, and TensorBoard on request."""

    def __init__(self, folder: str | None) -> None:
        self.bar: Any = None
        self.board: Any = None
        self.writer: Any = None
        self.mean: dict[str, float] = {}
        self.drawn = sys.stdout.isatty()
        self.folder = folder
        if folder is not None:
            try:
                import_module("tensorboard")
                import tensorflow as tf
            except ImportError as why:
                raise ImportError(
                    "`--tensorboard` must find TensorFlow and the package "
                    f"tensorboard; received neither or one ({why})."
                ) from why
            self.board = tf.summary

    def __call__(self, row: dict[str, Any], steps: int) -> None:
        """Take notice of a row of the history."""
        if self.bar is None:
            self.bar = self._new_bar(row["step"] - 1, steps)
        if "test" in row:
            text = f"epoch {row['epoch']}: {row['test']:.2%} right in test"
            print("\n" * self.drawn + text, flush=True)
        else:
            self._mix(row)
            self.bar.update(row["step"], list(self.mean.items()))
        if self.board is not None:
            if self.writer is None:
                place = str(Path(self.folder or "") / "tensorboard")
                self.writer = self.board.create_file_writer(place)
            self._write(row)

    def _new_bar(self, done: int, steps: int) -> Any:
        """Return a bar that stands at the steps that were done."""
        import keras

        # Into a file goes no bar, which is drawn over itself.
        bar = keras.utils.Progbar(
            steps,
            verbose=1 if self.drawn else 2,
            stateful_metrics=["loss", "accuracy", "margin"],
            interval=0.5,
        )
        bar._seen_so_far = done
        return bar

    def _mix(self, row: dict[str, Any]) -> None:
        """Take a row into the running means of the last 50 or so."""
        for name in ("loss", "accuracy"):
            before = self.mean.get(name, row[name])
            self.mean[name] = before + (row[name] - before) / 50
        if "margin" in row:
            self.mean["margin"] = row["margin"]

    def _write(self, row: dict[str, Any]) -> None:
        """Write a row for TensorBoard."""
        with self.writer.as_default():
            for name in row.keys() - {"step", "epoch"}:
                self.board.scalar(name, row[name], step=row["step"])

    def end(self) -> None:
        """Close what is open."""
        if self.writer is not None:
            self.writer.close()


def add_evaluate(command: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    add = command.add_argument
    add("folder", metavar="DIR", help="folder of a run")
    add("--data", default="mnist", help="as in emlib train")
    add("--json", help="file to write the figures to, too")


def evaluate(args: argparse.Namespace) -> None:
    """Test the network of a run."""
    training = import_training()
    network = training.load(args.folder)
    digits = _digits(args.data)
    found = training.evaluate(network, digits.x_test, digits.y_test)
    print(f"accuracy: {found.accuracy:.2%}")
    print(f"images a second: {found.images_per_second:.0f}")
    print("error of each class, and what it was taken for:")
    for digit, (error, row) in enumerate(
        zip(found.errors, found.confusion, strict=True)
    ):
        cells = " ".join(f"{count:5d}" for count in row)
        wrong = "  none" if np.isnan(error) else f"{error:6.2%}"
        print(f"  {digit}  {wrong}  {cells}")
    if args.json:
        record = _record(found, Path(digits.source).name)
        require_folder(args.json)
        write_atomically(args.json, json.dumps(record, indent=1) + "\n")


def _record(found: Any, source: str) -> dict[str, Any]:
    """Return an evaluation as JSON knows it: null in place of NaN."""
    return {
        "accuracy": found.accuracy,
        "confusion": found.confusion.tolist(),
        "errors": [
            None if np.isnan(error) else error
            for error in found.errors.tolist()
        ],
        "images_per_second": found.images_per_second,
        "source": source,
    }
