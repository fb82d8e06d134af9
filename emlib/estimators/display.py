"""What a fit says while it runs, where it is asked to."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from emlib.estimators.stopping import TurnRecord

__all__ = ["Display"]


class Display:
    """Turns on standard output, or one line on standard error.

    Parameters
    ----------
    options : estimator
        Its `verbose` says whether turns are printed (from 2 on with times
        and changes), its `verbose_interval` how many lie between two, and
        its `progress` whether a line on standard error tells the turn.
    size : float
        Rows, for likelihoods a row.
    """

    def __init__(self, options: Any, size: float) -> None:
        self.verbose = int(options.verbose)
        self.every = int(options.verbose_interval)
        self.progress, self.size = bool(options.progress), size

    def begin(self, number: int) -> None:
        """Say that a start is made."""
        self.began = self.since = perf_counter()
        self._print(f"Initialization {number}")

    def turn(self, records: list[TurnRecord]) -> None:
        """Say what the last turn brought, where asked for."""
        last, now = records[-2:]
        if self.progress:
            line = f"\rturn {now.turn}: {now.bound / self.size:.6f}"
            sys.stderr.write(f"{line} nats a row")
            sys.stderr.flush()
        if not self.verbose:
            return
        if now.turn // self.every == last.turn // self.every:
            return
        lapse = f"\t time lapse {perf_counter() - self.since:.5f}s"
        change = (now.bound - last.bound) / self.size
        lapse += f"\t ll change {change:.5f}"
        self._print(f"  Iteration {now.turn}{lapse * (self.verbose > 1)}")
        self.since = perf_counter()

    def end(self, records: list[TurnRecord], converged: bool) -> None:
        """Say how a climb ended."""
        if self.progress:
            sys.stderr.write("\n")
        end = "converged" if converged else "did not converge"
        more = f" time lapse {perf_counter() - self.began:.5f}s"
        more += f"\t lower bound {records[-1].bound / self.size:.5f}."
        self._print(f"Initialization {end}.{more * (self.verbose > 1)}")

    def _print(self, text: str) -> None:
        if self.verbose:
            print(text)
