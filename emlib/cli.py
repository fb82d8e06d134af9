"""The command line: train, evaluate, fit, info."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]

EXAMPLES = {
    "train": """examples:
  emlib train --data sample --preset small --epochs 2 --out run
  emlib train --data mnist.npz --preset medium --epochs 3 --out run
  emlib train --data mnist.npz --preset medium --epochs 3 --out run --resume
""",
    "evaluate": """examples:
  emlib evaluate run
  emlib evaluate run --data mnist.npz --json result.json
""",
    "fit": """examples:
  emlib fit points.csv --model gaussian -k 3
  emlib fit points.csv --model kmeans -k 3 --labels labels.csv
  emlib fit tosses.csv --model coins -k 2 --save coins.json
""",
}
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "keras",
    "tensorflow",
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Returns
    -------
    argparse.ArgumentParser
        With the commands `train`, `evaluate`, `fit` and `info`.

    Examples
    --------
    >>> parser().parse_args(["evaluate", "run"]).folder
    'run'
    """
    found = argparse.ArgumentParser(
        prog="emlib", description="EM, from coin flips to capsules."
    )
    found.add_argument("--version", action="version", version=_version())
    commands = found.add_subparsers(required=True, metavar="COMMAND")
    for name, help_, add, do in (
        ("train", "train a network on digits", _add_train, _train),
        ("evaluate", "test a trained network", _add_evaluate, _evaluate),
        ("fit", "fit a mixture to a table", _add_fit, _fit),
        ("info", "say what is installed", lambda command: None, _info),
    ):
        command = commands.add_parser(
            name,
            help=help_,
            description=help_[0].upper() + help_[1:] + ".",
            epilog=EXAMPLES.get(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        command.set_defaults(do=do)
    return found


def _version() -> str:
    """Return the version of the package."""
    try:
        return version("emlib-book")
    except PackageNotFoundError:
        return "not installed"


def _add_train(command: argparse.ArgumentParser) -> None:
    """Add the options of `train`."""
    add = command.add_argument
    add(
        "--data",
        default="mnist",
        help="mnist (Keras' copy, else downloaded, else the sample), "
        "sample, an archive mnist.npz, or a folder (default: mnist)",
    )
    add("--network", default="capsules", help="capsules or convolution")
    add("--preset", default="small", help="small, medium or notes")
    add("--epochs", type=int, default=5, help="passes over the images")
    add("--batch-size", type=int, default=64, help="images a step")
    add("--seed", type=int, default=20, help="of weights and order")
    add("--learning-rate", type=float, default=1e-2, help="of Adam")
    add("--schedule", default="cosine", help="cosine or constant")
    add("--margin", default="linear", help="linear or steps")
    add("--margin-steps", type=int, default=1000, help="until it is 0.9")
    add("--degrees", type=float, default=0.0, help="turn images at random")
    add("--shift", type=float, default=0.0, help="move them, in pixels")
    add("--zoom", type=float, default=0.0, help="0.2: up to 1.2 times")
    add("--every", type=int, default=200, help="steps between checkpoints")
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


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    add = command.add_argument
    add("folder", metavar="DIR", help="folder of a run")
    add("--data", default="mnist", help="as in emlib train")
    add("--json", help="file to write the figures to, too")


def _add_fit(command: argparse.ArgumentParser) -> None:
    """Add the options of `fit`."""
    add = command.add_argument
    add("file", metavar="FILE.csv", help="numbers; a first line of names")
    add(
        "--model",
        default="gaussian",
        choices=("gaussian", "kmeans", "coins"),
        help="what the table is a mixture of (default: gaussian)",
    )
    add("-k", type=int, required=True, help="number of components")
    add("--seed", type=int, default=20, help="of the starts")
    add("--starts", type=int, default=10, help="fits, the best is taken")
    add("--labels", help="file to write each row's component to")
    add("--save", help="file to write the fitted model to")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 after one line on what was wrong.

    Parameters
    ----------
    arguments : sequence of str, optional
        As on the command line; those of the process by default.

    Returns
    -------
    int
        The exit status.

    Examples
    --------
    >>> main(["evaluate", "nowhere", "--data", "sample"])
    2
    """
    told = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            told.do(told)
    except KeyboardInterrupt:
        more = "; go on with --resume" if told.do is _train else ""
        print(f"emlib: stopped{more}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except (ValueError, OSError, ImportError) as why:
        line = " ".join(str(why).split())
        print(f"emlib: error: {line}", file=sys.stderr)
        return 2
    return 0


def _warn(message: Any, *_: Any, **__: Any) -> None:
    """Say a warning in one line."""
    print(f"emlib: warning: {message}", file=sys.stderr)


def _digits(data: str) -> Any:
    """Return the digits that an option names, and say which they are."""
    from emlib import datasets

    digits = datasets.load_mnist(None if data == "mnist" else data)
    print(
        f"data: {digits.source}, {len(digits.x_train)} to train on, "
        f"{len(digits.x_test)} to test on"
    )
    return digits


@contextmanager
def _quiet() -> Iterator[None]:
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


def _training() -> Any:
    """Return the module that trains, imported without TensorFlow's log."""
    try:
        with _quiet():
            import emlib.capsules.training as training
    except ImportError as why:
        raise ImportError(
            f"Capsules need Keras and TensorFlow ({why}). Install the "
            "package with its extra `capsules`."
        ) from why
    return training


def _prepare(deterministic: bool) -> None:
    """Make TensorFlow take memory as it needs it, or repeat itself."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with _quiet():
            cards = tf.config.list_physical_devices("GPU")
        for card in cards:
            tf.config.experimental.set_memory_growth(card, True)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    with _quiet():
        keras.ops.zeros(1)


def _train(told: argparse.Namespace) -> None:
    """Train, and say how it goes."""
    training = _training()
    plan = training.Plan(
        network=told.network,
        preset=told.preset,
        epochs=told.epochs,
        batch_size=told.batch_size,
        seed=told.seed,
        learning_rate=told.learning_rate,
        schedule=told.schedule,
        margin=told.margin,
        margin_steps=told.margin_steps,
        degrees=told.degrees,
        shift=told.shift,
        zoom=told.zoom,
        every=told.every,
    )
    _prepare(told.deterministic)
    digits = _digits(told.data)
    watch: Any = _Watch(told.out if told.tensorboard else None)
    try:
        training.train(
            plan,
            digits,
            told.out,
            resume=told.resume,
            jit=not (told.no_xla or told.deterministic),
            watch=watch,
        )
    finally:
        watch.end()
    print(f"kept in {told.out}; test it: emlib evaluate {told.out}")


class _Watch:
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
        import keras

        if self.bar is None:
            names = ["loss", "accuracy", "margin"]
            # Into a file goes no bar, which is drawn over itself.
            self.bar = keras.utils.Progbar(
                steps,
                verbose=1 if self.drawn else 2,
                stateful_metrics=names,
                interval=0.5,
            )
            self.bar._seen_so_far = row["step"] - 1
        if "test" in row:
            told = f"epoch {row['epoch']}: {row['test']:.2%} right in test"
            print("\n" * self.drawn + told, flush=True)
        else:
            self._mix(row)
            self.bar.update(row["step"], list(self.mean.items()))
        if self.board is not None:
            if self.writer is None:
                place = str(Path(self.folder or "") / "tensorboard")
                self.writer = self.board.create_file_writer(place)
            self._write(row)

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


def _evaluate(told: argparse.Namespace) -> None:
    """Test the network of a run."""
    training = _training()
    network = training.load(told.folder)
    digits = _digits(told.data)
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
    if told.json:
        record = {
            "accuracy": found.accuracy,
            "confusion": found.confusion.tolist(),
            "errors": [
                None if np.isnan(error) else error
                for error in found.errors.tolist()
            ],
            "images_per_second": found.images_per_second,
            "source": Path(digits.source).name,
        }
        text = json.dumps(record, indent=1) + "\n"
        _written(Path(told.json), text)


def _written(path: Path, text: str) -> None:
    """Write a file whole, or raise."""
    from emlib.files import write_atomically

    if not path.parent.is_dir():
        raise ValueError(
            f"{str(path)!r} must lie in a folder that exists; received "
            f"{str(path.parent)!r}."
        )
    write_atomically(path, text)


def _table(path: str) -> tuple[Any, list[str]]:
    """Return the numbers of a table (n, d), and what its columns are."""
    if not Path(path).is_file():
        raise ValueError(
            f"`FILE` must be a table of numbers between commas; received "
            f"{path!r}, where no file is."
        )
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as why:
        raise ValueError(
            f"{path!r} must be text in UTF-8; received something else "
            f"({why})."
        ) from why
    lines = [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(csv.reader(text.splitlines()), 1)
        if any(cells)
    ]
    first = lines[0][1] if lines else []
    named = bool(first) and not any(_numbers([c]) for c in first if c)
    names = first if named else [f"x{k}" for k in range(len(first))]
    rows = []
    for number, cells in lines[named:]:
        if len(cells) != len(first) or not _numbers(cells):
            raise ValueError(
                f"line {number} of {path!r} must hold {len(first)} numbers "
                f"between commas; received {','.join(cells)[:60]!r}. An "
                "empty cell is a missing number."
            )
        rows.append([float(cell or "nan") for cell in cells])
    if not rows:
        raise ValueError(
            f"{path!r} must hold rows of numbers; received none."
        )
    return np.array(rows), names


def _numbers(cells: list[str]) -> bool:
    """Return whether cells are numbers, or empty."""
    try:
        return bool([float(cell or "nan") for cell in cells])
    except ValueError:
        return False


def _fit(told: argparse.Namespace) -> None:
    """Fit a mixture to a table, and say what came out."""
    from emlib.estimators.coins import CoinMixture
    from emlib.estimators.gaussians import GaussianMixture
    from emlib.estimators.kmeans import KMeans

    if told.seed < 0:
        raise ValueError(
            f"`--seed` must be a whole number, at least 0; received "
            f"{told.seed}."
        )
    x, names = _table(told.file)
    options = {"n_init": told.starts, "random_state": told.seed}
    if told.model == "gaussian":
        holes = {"missing": "em"} if np.isnan(x).any() else {}
        model: Any = GaussianMixture(told.k, **options, **holes)
    elif told.model == "kmeans":
        model = KMeans(told.k, **options)
    else:
        model = CoinMixture(told.k, **options)
    model.fit(x)
    _say(model, names, len(x))
    if told.labels:
        labels = "".join(f"{label}\n" for label in model.predict(x))
        _written(Path(told.labels), labels)
    if told.save:
        model.save(told.save)


def _say(model: Any, names: list[str], n: int) -> None:
    """Say what a fitted model is."""
    print(f"{type(model).__name__}: {n} rows, {', '.join(names)}")
    if hasattr(model, "lower_bound_"):
        print(f"log-likelihood a row: {model.lower_bound_:.6g} nats")
    if hasattr(model, "inertia_"):
        print(f"inertia: {model.inertia_:.6g}")
    print(f"turns: {model.n_iter_}")
    weights = getattr(model, "weights_", None)
    for name in ("means_", "cluster_centers_", "p_"):
        for k, centre in enumerate(getattr(model, name, [])):
            share = "" if weights is None else f" weight {weights[k]:.4f}"
            cells = ", ".join(f"{v:.6g}" for v in np.atleast_1d(centre))
            print(f"  {k}:{share} {name[:-1].replace('_', ' ')} {cells}")


def _info(told: argparse.Namespace) -> None:
    """Say what is installed, and what Keras computes on."""
    print(f"emlib {_version()}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
    try:
        training = _training()
    except ImportError as why:
        print(f"Keras' backend: none. {why}")
        return
    backend = training.keras.backend.backend()
    with _quiet():
        print(f"Keras' backend: {backend}, on {training.device()}")


if __name__ == "__main__":
    sys.exit(main())
