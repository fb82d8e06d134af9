"""The commands of `emlib`, and how it ends: 0, or 2 after one line."""

from __future__ import annotations

import argparse
import platform
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from emlib.cli.fit import FIT_EXAMPLES, add_fit, fit
from emlib.cli.train import (
    EVALUATE_EXAMPLES,
    TRAIN_EXAMPLES,
    add_evaluate,
    add_train,
    evaluate,
    import_training,
    silence_stderr,
    train,
)

__all__ = ["main", "parser"]

COMMANDS = {
    "train": "train a network on digits",
    "evaluate": "test a trained network",
    "fit": "fit a mixture to a table",
    "info": "say what is installed",
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
    for name, do, add, examples in (
        ("train", train, add_train, TRAIN_EXAMPLES),
        ("evaluate", evaluate, add_evaluate, EVALUATE_EXAMPLES),
        ("fit", fit, add_fit, FIT_EXAMPLES),
        ("info", info, lambda command: None, None),
    ):
        words = COMMANDS[name]
        command = commands.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=examples,
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
    args = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            args.do(args)
    except KeyboardInterrupt:
        more = "; go on with --resume" if args.do is train else ""
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


def info(args: argparse.Namespace) -> None:
    """Say what is installed, and what Keras computes on."""
    print(f"emlib {_version()}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
    try:
        training = import_training()
    except ImportError as why:
        print(f"Keras' backend: none. {why}")
        return
    import keras

    backend = keras.backend.backend()
    with silence_stderr():
        print(f"Keras' backend: {backend}, on {training.device()}")
