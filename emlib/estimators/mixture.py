"""What every estimator shares: options, files, and how a mixture is fitted.

An estimator says what its rows, its model and its starts are; all that
follows from these stands here, once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from emlib.bound import entropy
from emlib.estimators.checks import (
    Rule,
    check_options,
    check_weights,
    is_whole,
    require,
    restore_on_failure,
)
from emlib.estimators.stopping import Climb, TurnRecord, warn_of_more
from emlib.files import read_saved, to_json, write_atomically
from emlib.loop import Block, Step, next_turn
from emlib.scale import InBlocks, Rows, one_blas_thread, thread_map
from emlib.shapes import PerPoint, Table
from emlib.speed import cycle

if TYPE_CHECKING:
    from typing import Self
else:  # the tests' shape checks take methods one by one
    Self = Any

__all__ = ["Estimator", "Mixture", "Task"]


class Estimator(BaseEstimator):
    """Options with rules, and a fit that can be kept in a file."""

    _rules: ClassVar[Mapping[str, Rule]]
    _format: ClassVar[str]
    _fitted: ClassVar[str]  # the attribute that only a fit sets

    n_features_in_: int
    history_: list[float]
    n_iter_: int
    converged_: bool

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Where to; an existing file is replaced.

        Raises
        ------
        ValueError
            If an option is a function, which no file can hold.
        """
        check_is_fitted(self, self._fitted)
        options = self.get_params()
        record = {
            "format": self._format,
            "options": {name: to_json(options[name]) for name in options},
            **self._record(),
            "history": self.history_,
            "n_iter": self.n_iter_,
            "converged": self.converged_,
            "names": to_json(getattr(self, "feature_names_in_", None)),
        }
        write_atomically(path, json.dumps(record))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the estimator that `save` wrote; nothing is executed.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        estimator
            Fitted, and equal to the saved one to the last bit.

        Raises
        ------
        ValueError
            If the file is not one that `save` wrote.
        """
        found: Self = read_saved(cls, path, cls._format)
        return found

    def _record(self) -> dict[str, Any]:
        """Return what is fitted, as JSON knows it."""
        raise NotImplementedError

    def _set_record(self, record: Any) -> int:
        """Set what `_record` returned, or raise; return the columns."""
        raise NotImplementedError

    def _restore(self, record: Any) -> Self:
        """Set the fitted attributes from a file, or raise."""
        self.history_ = [float(value) for value in record["history"]]
        self.n_iter_ = int(record["n_iter"])
        self.converged_ = bool(record["converged"])
        self.n_features_in_ = self._set_record(record)
        if record["names"] is not None:
            self.feature_names_in_ = np.array(record["names"], dtype=object)
        return self

    def _check_rows(self, X: Any, reset: bool) -> Any:
        """Return X as an array of rows, or raise."""
        raise NotImplementedError

    def _asked(self, X: Any, sample_weight: Any = None) -> Rows:
        """Return rows that the fitted estimator is asked about."""
        check_is_fitted(self, self._fitted)
        X = self._check_rows(X, reset=False)
        return Rows(X, check_weights(sample_weight, len(X)))

    def _rng(self) -> np.random.Generator:
        state = check_random_state(self.random_state)
        return np.random.default_rng(state.randint(2**31 - 1))


@dataclass(frozen=True)
class Task:
    """What a fit runs: rows, blocks of them, and a model.

    Attributes
    ----------
    rows : Rows
        Those that count.
    blocks : list of Block
        What the loop is given.
    model : Model
        With statistics that add.
    size : float
        How many rows there are, each as often as it counts.
    """

    rows: Rows
    blocks: list[Block]
    model: Any
    size: float

    def step(self, params: Any, mapper: Any = map, turn: int = 0) -> Step:
        """Return these parameters as a step over the blocks."""
        loop = InBlocks(self.model, mapper)
        return Step(turn, params, loop, self.blocks, None)

    def record(self, step: Step) -> TurnRecord:
        """Return what is kept of a turn."""
        return TurnRecord(step.turn, step.bound, step.objective)


class Mixture(DensityMixin, Estimator):
    """A mixture that EM fits, whatever its components are."""

    n_components: Any
    max_iter: Any
    accelerate: Any
    tol: Any
    random_state: Any
    lower_bound_: float

    @restore_on_failure
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the mixture, and return the estimator.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        estimator
            Itself, with the fitted attributes set.

        Raises
        ------
        ValueError
            If X or an option breaks a rule; the message names it.
        """
        check_options(self, self._rules)
        X = self._check_rows(X, reset=True)
        given = Rows(X, check_weights(sample_weight, len(X)))
        rows = self._counted(given)
        blocks = self._blocks(rows)
        with thread_map(len(blocks)) as mapper:
            task = self._task(given, rows, blocks)
            climbs = [
                self._climb(task.step(start, mapper), task)
                for start in self._starts(task)
            ]
            best = max(climbs, key=Climb.height)
            self._store(best, task)
            self._warn(best, task)
        if self.max_iter > 0 and not self.converged_:
            warn_of_more(self.history_, self.n_iter_, self.tol)
        return self

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> PerPoint:
        """Fit the mixture, and return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        array of shape (n,)
            What `predict(X)` returns after the fit.
        """
        return self.fit(X, y, sample_weight).predict(X)

    def predict(self, X: Any) -> PerPoint:
        """Return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.

        Returns
        -------
        array of shape (n,)
            Indices from 0; ties go to the lowest.
        """
        likeliest: PerPoint = self._map_posterior(
            X, lambda p: p.resp.argmax(axis=1)
        )
        return likeliest

    def predict_proba(self, X: Any) -> Table:
        """Return each component's responsibility for each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.

        Returns
        -------
        array of shape (n, k)
            Each row sums to 1, however far it is.
        """
        resp: Table = self._map_posterior(X, lambda p: p.resp)
        return resp

    def score_samples(self, X: Any) -> PerPoint:
        """Return the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.

        Returns
        -------
        array of shape (n,)
            Minus infinity where float64 cannot hold it.
        """
        evidence: PerPoint = self._map_posterior(
            X, lambda p: p.log_evidence
        )
        return evidence

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean log-likelihood, nats a row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            In nats a row.
        """
        rows, evidence, _ = self._totals(X, sample_weight)
        return evidence / rows

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts; n is their sum.

        Returns
        -------
        float
            -2 log-likelihood + (free parameters) log n, in nats.
        """
        rows, evidence, _ = self._totals(X, sample_weight)
        return float(np.log(rows)) * self._n_parameters() - 2 * evidence

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Akaike information criterion; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            -2 log-likelihood + 2 (free parameters), in nats.
        """
        _, evidence, _ = self._totals(X, sample_weight)
        return 2 * self._n_parameters() - 2 * evidence

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, as `fit` takes them.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            `bic` + 2 (entropy of the responsibilities), in nats.
        """
        rows, evidence, undecided = self._totals(X, sample_weight)
        price = float(np.log(rows)) * self._n_parameters()
        return price - 2 * evidence + 2 * undecided

    # --- what a mixture says of itself

    def _counted(self, given: Rows) -> Rows:
        """Return the rows that count, as the fit reads them, or raise."""
        raise NotImplementedError

    def _blocks(self, rows: Rows) -> list[Block]:
        """Return the rows in blocks: the same ones on every machine."""
        raise NotImplementedError

    def _task(self, given: Rows, rows: Rows, blocks: list[Block]) -> Task:
        """Return what the fit runs."""
        raise NotImplementedError

    def _starts(self, task: Any) -> Iterable[Any]:
        """Return the parameters of each start, drawn when asked for."""
        raise NotImplementedError

    def _store(self, climb: Climb, task: Any) -> None:
        """Set the fitted attributes."""
        raise NotImplementedError

    def _warn(self, climb: Climb, task: Any) -> None:
        """Warn of what is worth a warning."""
        raise NotImplementedError

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        raise NotImplementedError

    def _posteriors(self, rows: Rows) -> Iterator[tuple[Any, Any]]:
        """Yield the posterior of each block, and how often rows count."""
        raise NotImplementedError

    # --- a climb

    def _climb(self, step: Step, task: Any) -> Climb:
        """Return what EM makes of a start."""
        notes: list[str] = []
        step = self._repaired(step, step, notes)
        records, converged = [task.record(step)], False
        while step.turn < self.max_iter and not converged:
            last, leap = step, self._may_leap(records)
            step = cycle(step) if leap else next_turn(step)
            step = self._repaired(step, last, notes)
            records.append(task.record(step))
            converged = self._stops(records, task)
        return Climb(step, records, converged, notes)

    def _repaired(self, step: Step, before: Step, notes: Any) -> Step:
        """Return the step, sound where a model can break."""
        return step

    def _may_leap(self, records: list[TurnRecord]) -> bool:
        """Say whether the next turn may be a leap."""
        room = self.max_iter - records[-1].turn >= 3
        return bool(self.accelerate) and room

    def _stops(self, records: list[TurnRecord], task: Any) -> bool:
        """Say whether `tol` ends the climb here."""
        raise NotImplementedError

    # --- answers

    def _map_posterior(self, X: Any, question: Callable[[Any], Any]) -> Any:
        """Return what is asked of every row's posterior."""
        answers = self._posteriors(self._asked(X))
        with one_blas_thread():
            return np.concatenate(
                [question(posterior) for posterior, _ in answers]
            )

    @one_blas_thread()
    def _totals(
        self, X: Any, sample_weight: Any
    ) -> tuple[float, float, float]:
        """Return rows, log evidence and entropy, summed over the rows."""
        total = np.zeros(3)
        rows = self._asked(X, sample_weight)
        for posterior, times in self._posteriors(rows):
            evidence = posterior.log_evidence  # (n,)
            ones = np.ones_like(evidence)  # (n,)
            each = np.stack([ones, evidence, entropy(posterior.resp)])
            total += each @ (ones if times is None else times)  # (3,)
        count, log_evidence, undecided = total.tolist()
        return count, log_evidence, undecided

    def _check_sample_size(self, n_samples: Any) -> None:
        """Raise unless rows can be drawn, so many."""
        check_is_fitted(self, self._fitted)
        rule = "a whole number, at least 1"
        require(is_whole(n_samples, 1), "n_samples", rule, n_samples)
