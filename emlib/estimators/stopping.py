"""A climb: turns from a start until nothing is left to gain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from emlib.estimators.checks import warn
from emlib.loop import Step

__all__ = [
    "AUTO_GAIN",
    "Climb",
    "TurnRecord",
    "is_at_rest",
    "is_auto_end",
    "remaining_gain",
    "warn_of_more",
]

AUTO_GAIN = 1e-3  # nats of all rows together, for tol="auto"


class TurnRecord(NamedTuple):
    """What is kept of a turn.

    Attributes
    ----------
    turn : int
        How many EM maps led to it.
    bound, objective : float
        In nats, summed over the rows; of x, whatever the fit runs in.
    """

    turn: int
    bound: float
    objective: float


class Climb(NamedTuple):
    """What EM makes of a start.

    Attributes
    ----------
    step : Step
        The last one.
    records : list of TurnRecord
        Of the start, and of each turn or accepted cycle.
    converged : bool
        Whether the tolerance ended it.
    notes : list of str
        What happened to components on the way.
    """

    step: Step
    records: list[TurnRecord]
    converged: bool
    notes: list[str]

    def height(self) -> float:
        """Return where it ended, for comparison with other climbs."""
        return self.records[-1].objective


def is_at_rest(records: list[TurnRecord], change: float) -> bool:
    """Say whether the last turn changed the objective by no more."""
    return abs(records[-1].objective - records[-2].objective) <= change


def remaining_gain(heights: list[float]) -> float:
    """Return about how much five turns in a row leave to gain.

    Where gains are a sum of geometric series, their ratios rise to that of
    the slowest; as long as they rise ever faster, no end is in sight.
    """
    gains = np.abs(np.diff(heights))  # (4,)
    ratios = gains[1:] / gains[:-1]  # (3,)
    first, second = np.diff(ratios)
    limit = ratios.max()
    if second > 0:
        if second >= first:
            return np.inf
        limit = ratios[-1] + second**2 / (first - second)
    return float(gains[-1] * limit / (1 - limit)) if limit < 1 else np.inf


def is_auto_end(records: list[TurnRecord]) -> bool:
    """Say whether the turns to come would gain too little to be worth it.

    Seven turns in a row, none of them a leap, are asked three times: a
    leap's gain says nothing of the next.
    """
    last = records[-7:]
    now = [record.objective for record in last]
    if abs(now[-1] - now[-2]) <= 1e-14 * abs(now[-1]):
        return True
    if len(last) < 7 or last[-1].turn - last[0].turn > 6:
        return False
    tails = (now[begin : begin + 5] for begin in range(3))
    return all(2 * remaining_gain(tail) < AUTO_GAIN for tail in tails)


def warn_of_more(history: list[float], turns: int, tol: Any) -> None:
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
        f"the fit did not converge: it stopped after {turns} EM maps, "
        f"before tol={tol!r} did.{left} Raise max_iter, or set "
        'accelerate="squarem".',
        ConvergenceWarning,
    )
