"""What every estimator asks of its options and its rows, at the edge.

Messages name the thing, the rule, what was received and a remedy.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "check",
    "check_enough",
    "check_options",
    "check_weights",
    "numbers",
    "refuse",
    "untouched",
    "warn",
    "warn_of_more",
    "whole",
]

Method = TypeVar("Method", bound=Callable[..., Any])


def check(kept: Any, name: str, rule: str, received: Any) -> None:
    """Raise unless what was received keeps the rule."""
    if not kept:
        shown = " ".join(repr(received).split())
        if len(shown) > 200:
            shown = f"{shown[:160]} and so on"
        raise ValueError(f"{name} must be {rule}; received {shown}.")


def numbers(name: str, rule: str, received: Any) -> Any:
    """Return a new array of float64, or raise where that cannot be."""
    array: Any = None
    with suppress(TypeError, ValueError):
        given = np.asarray(received)
        if given.dtype.kind in "biufO":
            array = given.astype(np.float64)
    check(array is not None, name, rule, received)
    return array


def untouched(method: Method) -> Method:
    """Let a method that fails leave its estimator as it was."""

    @wraps(method)
    def guarded(self: Any, *args: Any, **options: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *args, **options)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, guarded)


def whole(value: Any, least: int) -> bool:
    """Say whether a value is a whole number, at least so large."""
    return isinstance(value, Integral) and int(value) >= least


def check_options(estimator: Any) -> None:
    """Raise for an option that no fit could obey."""
    for name, least in (
        ("n_components", 1),
        ("max_iter", 0),
        ("n_init", 1),
    ):
        value = getattr(estimator, name)
        rule = f"a whole number, at least {least}"
        check(whole(value, least), name, rule, value)
    tol, speed = estimator.tol, estimator.accelerate
    kept = isinstance(tol, Real) and float(tol) >= 0
    check(kept, "tol", "a number, at least 0", tol)
    kept = speed in (None, "squarem")
    check(kept, "accelerate", 'None or "squarem"', speed)


def check_enough(k: int, n: int) -> None:
    """Raise where there are more components than rows."""
    if k > n:
        raise ValueError(
            f"n_components={k} must not exceed the number of rows that "
            f"count; received n_samples={n}. Use fewer components."
        )


def check_weights(sample_weight: Any, n: int) -> Any:
    """Return how often each of n rows counts, or raise."""
    if sample_weight is None:
        return None
    rule = f"numbers, one a row, of shape ({n},)"
    weights: Any = numbers("sample_weight", rule, sample_weight)
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have one entry a row, shape ({n},); "
            f"received shape {weights.shape}."
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))  # (n,)
    rule = "sample_weight must hold finite numbers, at least 0"
    refuse(weights, wrong, 0, rule, "Leave rows out by a weight of 0.")
    if not weights.any():
        raise ValueError(
            "sample_weight must let some row count; received only zeros."
        )
    most = float(weights.max())
    if not 1e-150 < most < 1e150:
        raise ValueError(
            "sample_weight must have a largest entry between 1e-150 and "
            f"1e150; received {most:g}. Multiply all by one number."
        )
    return weights


def refuse(
    rows: Any, wrong: Any, begin: int, rule: str, remedy: str
) -> None:
    """Raise for the first wrong row, with its number and values."""
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{rule}; row {begin + row} is {rows[row].tolist()}. {remedy}"
        )


def _is_ours(names: dict[str, Any]) -> bool:
    """Say whether a module's names are this package's; `exec` has none."""
    return str(names.get("__name__")).startswith("emlib.")


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called into the package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_globals):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def warn_of_more(history: list[float], turns: int, tol: float) -> None:
    """Warn that the fit has not converged, and say what is left to gain.

    The last two gains are taken to go on as a geometric series.
    """
    left = ""
    if len(history) > 2:
        before, last = np.diff(history[-3:])
        if 0 < last < before:
            more = last**2 / (before - last)
            left = f" More would gain about {more:.1e} nats a row."
    warn(
        f"the fit stopped after {turns} EM maps, before a turn changed the "
        f"mean log-likelihood by no more than tol={tol:g}.{left} Raise "
        'max_iter, or set accelerate="squarem".',
        ConvergenceWarning,
    )
