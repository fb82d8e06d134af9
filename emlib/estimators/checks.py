"""What every estimator asks of its options and its rows, at the edge.

Options are checked by rules written as data. Messages name the thing, the
rule, what was received and a remedy.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

__all__ = [
    "SQUAREM",
    "Rule",
    "as_floats",
    "as_points",
    "check_enough",
    "check_options",
    "check_weights",
    "is_size",
    "is_whole",
    "one_of",
    "reject_row",
    "require",
    "restore_on_failure",
    "size",
    "size_or",
    "warn",
    "whole_number",
]

Method = TypeVar("Method", bound=Callable[..., Any])


class Rule(NamedTuple):
    """What an option must be.

    Attributes
    ----------
    keeps : callable
        Of a value; whether it keeps the rule.
    says : str
        The rule in words, after "must be".
    """

    keeps: Callable[[Any], Any]
    says: str


def is_whole(value: Any, least: int) -> bool:
    """Say whether a value is a whole number, at least so large."""
    return isinstance(value, Integral) and int(value) >= least


def is_size(value: Any) -> bool:
    """Say whether a value is a finite number, at least 0."""
    return isinstance(value, Real) and 0 <= float(value) < np.inf


def whole_number(least: int) -> Rule:
    """Return the rule of whole numbers from a least one on."""
    says = f"a whole number, at least {least}"
    return Rule(lambda value: is_whole(value, least), says)


def size() -> Rule:
    """Return the rule of numbers that are not negative."""

    def keeps(value: Any) -> bool:
        return isinstance(value, Real) and float(value) >= 0

    return Rule(keeps, "a number, at least 0")


def size_or(word: str) -> Rule:
    """Return the rule of finite numbers from 0 on, or one word."""

    def keeps(value: Any) -> bool:
        return value == word if isinstance(value, str) else is_size(value)

    return Rule(keeps, f'a number, at least 0, or "{word}"')


def one_of(*words: str | None) -> Rule:
    """Return the rule of some words, None among them perhaps."""

    def keeps(value: Any) -> bool:
        return (value is None or isinstance(value, str)) and value in words

    return Rule(keeps, f"one of {words}")


SQUAREM = one_of(None, "squarem")


def check_options(estimator: Any, rules: Mapping[str, Rule]) -> None:
    """Raise for an option that no fit could obey."""
    for name, rule in rules.items():
        value = getattr(estimator, name)
        require(rule.keeps(value), name, rule.says, value)


def require(kept: Any, name: str, rule: str, received: Any) -> None:
    """Raise unless what was received keeps the rule."""
    if not kept:
        shown = " ".join(repr(received).split())
        if len(shown) > 200:
            shown = f"{shown[:160]} and so on"
        raise ValueError(f"{name} must be {rule}; received {shown}.")


def as_floats(name: str, rule: str, received: Any) -> Any:
    """Return a new array of float64, or raise where that cannot be."""
    array: Any = None
    with suppress(TypeError, ValueError):
        given = np.asarray(received)
        if given.dtype.kind in "biufO":
            array = given.astype(np.float64)
    require(array is not None, name, rule, received)
    return array


def _all_finite(x: Any) -> bool:
    """Say whether one look at some numbers finds each of them finite.

    Numbers so large that their sum is not finite need another look.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(x.sum()))


def _is_plain(x: Any, least: int) -> bool:
    """Say whether x is an array of finite points, at least so many.

    Of it scikit-learn's checks, which take longer than the answer for a
    row, would say nothing.
    """
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and x.dtype in (np.float64, np.float32)
        and len(x) >= least
        and x.shape[1] > 0
        and _all_finite(x)
    )


def as_points(estimator: Any, X: Any, reset: bool, holes: bool) -> Any:
    """Return X as an array of points, (n, d), or raise.

    A NaN is an error, unless it stands for a hole; `reset` is for a fit.
    """
    least = 2 if reset else 1
    if _is_plain(X, least) and not hasattr(estimator, "feature_names_in_"):
        if reset:
            estimator.n_features_in_ = X.shape[1]
        if X.shape[1] == estimator.n_features_in_:
            return X
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_min_samples=least,
        ensure_all_finite=False,
    )
    if _all_finite(X):
        return X
    assert_all_finite(X, allow_nan=True, input_name="X")
    empty = np.isnan(X)  # (n, d)
    if not holes:
        rule = "X must be free of NaN"
        remedy = 'Drop such rows, or set missing="em".'
        reject_row(X, empty.any(axis=1), 0, rule, remedy)
    if reset and empty.all(axis=0).any():
        raise ValueError(
            "X must have some value in every column; column "
            f"{int(empty.all(axis=0).argmax())} has none. Drop the column."
        )
    return X


def restore_on_failure(method: Method) -> Method:
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


def check_enough(name: str, k: int, n: int) -> None:
    """Raise where there are more components than rows that count."""
    if k > n:
        parts = name.removeprefix("n_")
        raise ValueError(
            f"{name}={k} must not exceed the number of rows that count; "
            f"received n_samples={n}. Use fewer {parts}."
        )


def check_weights(sample_weight: Any, n: int) -> Any:
    """Return how often each of n rows counts, or raise."""
    if sample_weight is None:
        return None
    rule = f"numbers, one a row, of shape ({n},)"
    weights: Any = as_floats("sample_weight", rule, sample_weight)
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have one entry a row, shape ({n},); "
            f"received shape {weights.shape}."
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))  # (n,)
    rule = "sample_weight must hold finite numbers, at least 0"
    reject_row(weights, wrong, 0, rule, "Leave rows out by a weight of 0.")
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


def reject_row(
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
