"""What a training run is told: each option once, checked without Keras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

__all__ = ["NETWORKS", "RIVALS", "Plan"]

NETWORKS = ("capsules", "convolution")
# Channels of the first convolution of the rival of each preset.
RIVALS = {"small": 16, "medium": 64, "notes": 64}


def _one_of(known: Sequence[str], default: str) -> Any:
    """Return a field for one of some names."""
    words = f"{', '.join(known[:-1])} or {known[-1]}"

    def check(name: str, value: Any) -> Any:
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(known)}; received "
                f"{value!r}."
            )
        return value

    metadata = {"check": check, "help": words, "choices": (*known,)}
    return field(default=default, metadata=metadata)


def _number(
    default: float, least: float, rule: str, words: str | None = None
) -> Any:
    """Return a field for a number that is kept as a plain one."""
    kind = Integral if isinstance(default, int) else Real

    def check(name: str, value: Any) -> Any:
        good = isinstance(value, kind) and not isinstance(value, bool)
        if not (good and least <= value < float("inf")):
            raise ValueError(
                f"`{name}` must be {rule}; received {value!r}."
            )
        return type(default)(value)

    return field(default=default, metadata={"check": check, "help": words})


def _count(default: int, words: str) -> Any:
    """Return a field for a whole number, at least 1."""
    return _number(default, 1, "a whole number, at least 1", words)


def _limit(words: str) -> Any:
    """Return a field for a limit of random changes, 0 by default."""
    return _number(0.0, 0, "a number, at least 0", words)


def _positive(default: float, words: str | None = None) -> Any:
    """Return a field for a number above 0."""
    return _number(default, 1e-30, "a number above 0", words)


@dataclass(frozen=True)
class Plan:
    """What a run is told; a run that is resumed is told the same.

    The metadata of a field hold its check and, where it is an option of
    `emlib train`, its help.

    Parameters
    ----------
    network : {"capsules", "convolution"}
        Which network; "convolution" is the rival of equal size.
    preset : {"small", "medium", "notes"}
        Size of the capsule network, or of that which the rival equals.
    epochs : int
        Passes over the images.
    batch_size : int
        Images a step; what is left of an epoch is left out.
    seed : int
        Of the first weights, of the order of the images, and of views.
    learning_rate : float
        Of Adam.
    schedule : {"cosine", "constant"}
        Whether the rate falls to 0 along half a cosine.
    clip : float
        The largest norm of all slopes together.
    margin : {"linear", "steps"}
        How the margin rises.
    margin_steps : int
        Steps after which it is 0.9.
    degrees, shift, zoom : float
        Views are changed at random: turned by up to so many degrees either
        way, moved by up to so many pixels along each axis, and made up to
        1 + zoom times as large or as small.
    every : int
        Steps between checkpoints.
    options : dict
        Other options of `capsule_network`, such as `turns`.

    Raises
    ------
    ValueError
        If an option is none.

    Examples
    --------
    >>> Plan(epochs=2).steps(5000)
    156
    """

    network: str = _one_of(NETWORKS, "capsules")
    preset: str = _one_of((*RIVALS,), "small")
    epochs: int = _count(5, "passes over the images")
    batch_size: int = _count(64, "images a step")
    seed: int = _number(
        20, 0, "a whole number, at least 0", "of weights and order"
    )
    learning_rate: float = _positive(1e-2, "of Adam")
    schedule: str = _one_of(("cosine", "constant"), "cosine")
    clip: float = _positive(4.0)
    margin: str = _one_of(("linear", "steps"), "linear")
    margin_steps: int = _count(1000, "until it is 0.9")
    degrees: float = _limit("turn images at random")
    shift: float = _limit("move them, in pixels")
    zoom: float = _limit("0.2: up to 1.2 times")
    every: int = _count(200, "steps between checkpoints")
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check each option, and keep it as it is read again."""
        for each in fields(self):
            if check := each.metadata.get("check"):
                value = check(each.name, getattr(self, each.name))
                object.__setattr__(self, each.name, value)
        kept = json.loads(json.dumps(self.options))
        object.__setattr__(self, "options", kept)

    def steps(self, n: int) -> int:
        """Return how many steps the run takes on n images."""
        if n < self.batch_size:
            raise ValueError(
                f"`batch_size` must be at most the number of images, {n}; "
                f"received {self.batch_size}."
            )
        return self.epochs * (n // self.batch_size)
