"""The loop of training: it may be killed, and goes on where it was."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from emlib.capsules.losses import SpreadLoss
from emlib.capsules.network import capsule_network, convolutional_network
from emlib.capsules.training.augment import batches, prefetch
from emlib.capsules.training.checkpoints import (
    FORMAT,
    RunFolder,
    require_same,
    restore,
    room_of,
    save,
)
from emlib.capsules.training.evaluate import evaluate
from emlib.datasets import Digits
from emlib.plan import RIVALS, Plan

__all__ = [
    "Trained",
    "build_network",
    "compile_network",
    "device",
    "load",
    "steps",
    "train",
    "train_step",
]


def build_network(plan: Plan) -> Any:
    """Return a plan's network, compiled, with its first weights.

    Parameters
    ----------
    plan : Plan
        What the run is told.

    Returns
    -------
    keras.Model
        A capsule network or its rival.

    Examples
    --------
    >>> build_network(Plan()).count_params()
    8361
    """
    keras.utils.set_random_seed(plan.seed)
    network = capsule_network(
        preset=plan.preset,
        margin=plan.margin,
        margin_steps=plan.margin_steps,
        **plan.options,
    )
    if plan.network == "convolution":
        size = sum(np.prod(w.shape) for w in network.trainable_weights)
        keras.utils.set_random_seed(plan.seed)
        network = convolutional_network(int(size), A=RIVALS[plan.preset])
    return network


def compile_network(network: Any, plan: Plan, steps: int, jit: bool) -> Any:
    """Return a network that is ready to take steps.

    Parameters
    ----------
    network : keras.Model
        As `build_network` made it.
    plan : Plan
        Optimiser, rate and loss.
    steps : int
        Of the whole run.
    jit : bool
        Whether steps are compiled by XLA.

    Returns
    -------
    keras.Model
        The same.

    Examples
    --------
    >>> network = build_network(Plan())
    >>> network = compile_network(network, Plan(), 100, jit=False)
    >>> type(network.optimizer).__name__
    'Adam'
    """
    rate: Any = plan.learning_rate
    if plan.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = SpreadLoss(None)
    if plan.network == "convolution":
        loss = keras.losses.SparseCategoricalCrossentropy()
    network.compile(
        keras.optimizers.Adam(rate, global_clipnorm=plan.clip),
        loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=jit,
    )
    network.optimizer.build(network.trainable_variables)
    return network


def device() -> str:
    """Return in words what Keras computes on.

    Returns
    -------
    str
        The processor and its cores, or the graphics cards.

    Examples
    --------
    >>> isinstance(device(), str)
    True
    """
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    found = keras.distribution.list_devices()
    cards = [name for name in found if "cpu" not in name]
    return ", ".join(cards) if cards else cores


class Trained(NamedTuple):
    """What training ends with.

    Attributes
    ----------
    network : keras.Model
        Trained.
    history : list of dict
        A row for each step: `step`, `loss`, `accuracy` of its batch,
        `margin`, `seconds`; and one for each epoch: `step`, `epoch`, and
        `test`, the accuracy on the images to test on.
    """

    network: Any
    history: list[dict[str, Any]]


def train_step(
    network: Any, batch: Any, may_fall: bool
) -> dict[str, float]:
    """Take a step; without XLA, where the first shows that it cannot.

    Parameters
    ----------
    network : keras.Model
        Compiled; it is changed.
    batch : tuple of arrays
        Images and labels.
    may_fall : bool
        Whether to go on without XLA, with a warning, where the step fails.

    Returns
    -------
    dict
        `loss` and `accuracy` of the batch.

    Examples
    --------
    >>> network = compile_network(build_network(Plan()), Plan(), 9, False)
    >>> batch = np.zeros((2, 28, 28, 1)), np.array([0, 1])
    >>> sorted(train_step(network, batch, may_fall=False))
    ['accuracy', 'loss']
    """
    network.reset_metrics()
    try:
        logs = network.train_on_batch(*batch, return_dict=True)
    except Exception as why:
        if not (may_fall and network.jit_compile):
            raise
        first = str(why).strip().partition("\n")[0]
        warnings.warn(
            f"XLA cannot compile this step ({first}); going on without, "
            "which takes longer.",
            stacklevel=3,
        )
        network.jit_compile = False
        network.make_train_function(force=True)
        logs = network.train_on_batch(*batch, return_dict=True)
    return {name: float(logs[name]) for name in ("loss", "accuracy")}


def _margin(network: Any) -> dict[str, float]:
    """Return the margin of the step that was taken last, if any."""
    own = getattr(network, "margin", None)
    return {} if own is None else {"margin": round(float(own()), 6)}


def steps(
    network: Any, plan: Plan, digits: Digits, first: int
) -> Iterator[dict[str, Any]]:
    """Take the steps of a run, from one of them on.

    Parameters
    ----------
    network : keras.Model
        Compiled; it is changed.
    plan : Plan
        What the run is told.
    digits : Digits
        What it is trained on, and tested on after each epoch.
    first : int
        How many steps were done before.

    Yields
    ------
    dict
        The rows of `Trained.history`.

    Examples
    --------
    >>> from emlib import datasets
    >>> sample = datasets.load_mnist("sample")
    >>> few = datasets.Digits(*(part[:50] for part in sample))
    >>> plan = Plan(epochs=1, batch_size=10)
    >>> network = compile_network(build_network(plan), plan, 5, jit=False)
    >>> rows = list(steps(network, plan, few, first=3))
    >>> [row["step"] for row in rows], "test" in rows[-1]
    ([4, 5, 5], True)
    """
    last = plan.steps(len(digits.x_train))
    parts = batches(digits.x_train, digits.y_train, plan, first, last)
    for step, batch in enumerate(prefetch(parts), start=first + 1):
        began = time.perf_counter()
        logs = train_step(network, batch, may_fall=step == first + 1)
        took = {"seconds": round(time.perf_counter() - began, 4)}
        yield {"step": step, **logs, **_margin(network), **took}
        if step % (last // plan.epochs) == 0:
            test = evaluate(network, digits.x_test, digits.y_test)
            epoch = step * plan.epochs // last
            yield {"step": step, "epoch": epoch, "test": test.accuracy}


def train(
    plan: Plan,
    digits: Digits,
    folder: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    jit: bool = True,
    watch: Callable[[dict[str, Any], int], None] | None = None,
) -> Trained:
    """Return a trained network, and how the training went.

    With a folder the run may be killed at any moment: told to resume, it
    goes on from its last checkpoint, and on a processor ends with the same
    weights as a run that was left alone.

    Parameters
    ----------
    plan : Plan
        What the run is told.
    digits : Digits
        What it is trained on, and tested on after each epoch.
    folder : str or os.PathLike, optional
        Where to keep the run; without it nothing is written.
    resume : bool
        Whether to go on with the run that the folder holds.
    jit : bool
        Whether steps are compiled by XLA, which takes up to a minute and
        makes each step faster; where it cannot, a warning says so.
    watch : callable, optional
        Called with each row of the history and the number of steps.

    Returns
    -------
    Trained
        Named tuple `(network, history)`.

    Raises
    ------
    ValueError
        If the folder cannot be used, or a run is resumed that was told
        something else.

    Examples
    --------
    >>> from emlib import datasets
    >>> sample = datasets.load_mnist("sample")
    >>> few = datasets.Digits(*(part[:50] for part in sample))
    >>> plan = Plan(epochs=1, batch_size=10)
    >>> len(train(plan, few, jit=False).history)  # 5 steps, 1 epoch
    6

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing, for
    the loss and its margin.
    """
    last = plan.steps(len(digits.x_train))
    network = compile_network(build_network(plan), plan, last, jit)
    first, history = 0, list[dict[str, Any]]()
    kept = None if folder is None else RunFolder(folder)
    if kept is not None:
        first, history = _opened(kept, plan, digits, network, resume)
    fresh: list[dict[str, Any]] = []
    for row in steps(network, plan, digits, first) if first < last else ():
        history.append(row)
        fresh.append(row)
        due = row["step"] % plan.every == 0 or row["step"] == last
        if kept is not None and due and _whole(row, last, plan):
            kept.record(fresh)
            save(kept.checkpoint, network, row["step"])
            fresh = []
        if watch is not None:
            watch(row, last)
    return Trained(network, history)


def _whole(row: dict[str, Any], last: int, plan: Plan) -> bool:
    """Return whether a row is the last one of its step."""
    return "epoch" in row or row["step"] % (last // plan.epochs) != 0


def _opened(
    folder: RunFolder,
    plan: Plan,
    digits: Digits,
    network: Any,
    resume: bool,
) -> tuple[int, list[dict[str, Any]]]:
    """Begin a run or resume it; return its steps and its history."""
    config = _config(plan, digits, network)
    if not resume:
        folder.begin(config, room_of(network))
        return 0, folder.truncate(0)
    require_same(folder.read(), config)
    if not folder.checkpoint.exists():
        return 0, folder.truncate(0)
    step = restore(folder.checkpoint, network)
    return step, folder.truncate(step)


def _config(plan: Plan, digits: Digits, network: Any) -> dict[str, Any]:
    """Return what is to be known of a run."""
    both = digits.x_train.tobytes() + digits.y_train.tobytes()
    checksum = hashlib.sha256(both).hexdigest()
    weights = network.trainable_weights
    return {
        "format": FORMAT,
        "plan": asdict(plan),
        "data": {"images": len(digits.x_train), "sha256": checksum},
        "source": Path(digits.source).name,
        "parameters": int(sum(np.prod(w.shape) for w in weights)),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "backend": keras.backend.backend(),
        "device": device(),
        "versions": {"python": platform.python_version()}
        | {
            name: version(name)
            for name in ("numpy", "keras", keras.backend.backend())
        },
    }


def load(folder: str | os.PathLike[str]) -> Any:
    """Return the network of a run, with the weights of its checkpoint.

    Parameters
    ----------
    folder : str or os.PathLike
        Where `train` kept the run.

    Returns
    -------
    keras.Model
        Compiled, without XLA.

    Raises
    ------
    ValueError
        If the folder holds no run.

    Examples
    --------
    >>> load("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: 'nowhere' must hold a run, begun by `emlib train`; ...
    """
    kept = RunFolder(folder)
    config = kept.read()
    plan, images = config["plan"], config["data"]["images"]
    last = plan.steps(images)
    network = compile_network(build_network(plan), plan, last, jit=False)
    if not kept.checkpoint.exists():
        raise ValueError(
            f"{str(kept.path)!r} must hold a checkpoint; received none: "
            f"the run had not taken {plan.every} steps. Resume it."
        )
    restore(kept.checkpoint, network)
    return network
