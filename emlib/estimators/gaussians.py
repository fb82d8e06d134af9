"""GaussianMixture: scikit-learn's interface over the Gaussians.

Input is checked here, once; what is inside takes it as it comes. The fit
runs in its own unit, in which every column is near zero and near one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from emlib import starts
from emlib.bound import Posterior, entropy
from emlib.estimators.checks import (
    check,
    check_enough,
    check_weights,
    numbers,
    refuse,
    untouched,
    warn,
    whole,
)
from emlib.estimators.kmeans import KMeans
from emlib.estimators.records import plain, read, write
from emlib.loop import Labels, Step, next_turn
from emlib.models import gaussians, missing
from emlib.models.covariances import COVARIANCES, Collapse, is_definite
from emlib.one_pass import gaussian_family
from emlib.one_pass import gaussians as one_pass
from emlib.one_pass.gaussian_family import Unit
from emlib.scale import InBlocks, blocks, threads
from emlib.shapes import Matrix, PerPoint, Points, Table, Vector
from emlib.speed import cycle

__all__ = ["GaussianMixture"]

ROWS = 12_500  # rows a block, at least
PARTS = 32  # blocks, at most
SUMS = 4_000_000  # bytes of blocks' moments
SEEDED = 65_536  # rows that centres are drawn from, at most
NUMBERS = 300_000  # which they hold together, if they are wide
COLUMNS = 8_000_000  # bytes of rows that are held column by column
SCRATCH = 6_000_000  # bytes of features that all threads may hold
COPIED = 500_000  # bytes of rows or features held before the loop
LEFT = 1e-3  # nats of all rows together, for tol="auto"
FORMAT = "emlib GaussianMixture 1"
STARTS = ("kmeans", "k-means++", "random", "random_from_data")


class _Rows(NamedTuple):
    """Points, how often each counts (None: once), and a given start."""

    x: Points
    multiplicity: PerPoint | None
    start: Any = None


class _Column(NamedTuple):
    """What one pass over the rows says of each column."""

    unit: Unit
    variances: Vector  # of z


class _Told(NamedTuple):
    """What is kept of a turn."""

    turn: int
    bound: float
    objective: float


class _Stream(NamedTuple):
    """What `partial_fit` keeps from one batch to the next."""

    column: _Column
    model: Any
    params: Any
    moments: Any  # a row
    batches: int
    seen: float  # rows


class _Run(NamedTuple):
    """One climb: its last step; bound and objective of each, in nats."""

    step: Step
    bounds: list[float]
    objectives: list[float]
    converged: bool
    notes: list[str]


class _Keeping:
    """What keeps a component without a point as it was."""

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters at which the expected log joint peaks."""
        base: Any = super()
        if statistics.counts.all() or previous is None:
            return base.maximise(statistics, previous)
        dead = statistics.counts == 0  # (k,)
        counts = statistics.counts + 1e-300 * dead  # (k,)
        filled = replace(statistics, counts=counts)
        found = base.maximise(filled, previous)
        live = np.where(dead, 0, statistics.counts)  # (k,)
        found = found.with_own_of(previous, np.flatnonzero(dead))
        means = np.where(dead[:, None], previous.means, found.means)
        return found._replace(weights=live / live.sum(), means=means)


class _Quiet(KMeans):
    """k-means for a start, which need not converge.

    It does not change the filters of warnings: all threads share them.
    """

    def _warn(self) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class _Fast(_Keeping, one_pass.Model):
    """Gaussians in the fast form; features of few points may be held."""

    held: Any = None

    def _phi(self, x: Points, kind: Any, scratch: Any = None) -> Any:
        if self.held is None:
            return super()._phi(x, kind, scratch)
        return self.held


def _holding(model: Any, parts: list[Any]) -> Any:
    """Return the model, with the features of all points if few."""
    (x, _), d = parts[0], len(model.unit.scale)
    kind = COVARIANCES[model.covariance_type]
    rows = kind.n_quadratics(d) + d + 1
    fits = x.itemsize * len(x) * rows <= COPIED
    if len(parts) > 1 or not fits or not isinstance(model, _Fast):
        return model
    # A turn must take them in one block, however many threads there are.
    scratch = max(model.scratch, COPIED)
    return replace(model, held=model._phi(x, kind), scratch=scratch)


@dataclass(frozen=True)
class _Filling(_Keeping, missing.Model):
    """Gaussians of points with holes, in the unit of z."""

    unit: Any = None

    def log_joint(self, x: Points, params: Any) -> Any:
        """Return the log joint of what is seen, (n, k)."""
        return super().log_joint(_z(x, self.unit), params)

    def e_step(  # type: ignore[override]
        self, x: Points, params: Any
    ) -> missing.Posterior:
        """Return the posterior; the evidence is that of whole points."""
        said = super().e_step(x, params)
        evidence = said.log_evidence + self.unseen(x)  # (n,)
        return said._replace(log_evidence=evidence)

    def unseen(self, x: Points) -> PerPoint:
        """Return what the unit of unseen values would have cost, (n,)."""
        unseen: PerPoint = np.isnan(x) @ np.log(self.unit.scale)
        return unseen

    def summarise(
        self, x: Any, posterior: Any, times: Any = None, _: Any = None
    ) -> Any:
        """Return the statistics of a start."""
        z = _z(x, self.unit)  # (n, d)
        return super().summarise(z, posterior, times)

    def expect(self, x: Any, params: Any, multiplicity: Any = None) -> Any:
        """Return the statistics and the bound of a block."""
        gaussian_family.precisions(params)  # which names what collapsed
        z = _z(x, self.unit)  # (n, d)
        found, bound = super().expect(z, params, multiplicity)
        times = np.ones(len(x)) if multiplicity is None else multiplicity
        return found, bound + float(times @ self.unseen(x))


class GaussianMixture(DensityMixin, BaseEstimator):
    r"""A mixture of Gaussians.

    .. math:: p(x_n) = \sum_k \pi_k \mathcal N(x_n; \mu_k, \Sigma_k)

    (`eq-gaussians-joint`, summed over the labels), fitted by EM. Takes the
    place of `sklearn.mixture.GaussianMixture`: the arguments down to
    `verbose_interval` have its names, defaults and meanings, and from equal
    given starts the answers are equal. The page "GaussianMixture: where
    emlib differs" lists what is not.

    Parameters
    ----------
    n_components : int, default=1
        Number of components, k.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        What the covariance matrices may be (`eq-gaussians-types`).
    tol : float or "auto", default=1e-3
        The fit stops at the turn before which the mean log-likelihood (nats
        a row) changed by less than this. "auto": when the turns to come
        would gain less than 1e-3 nats over all rows together.
    reg_covar : float or "relative", default=1e-6
        Added to every variance, in the unit of the data squared;
        "relative": 1e-6 of the column's variance. It may make the
        likelihood fall.
    max_iter : int, default=100
        The largest number of EM maps; with 0 the fit is the start.
    n_init : int, default=1
        Number of drawn starts; the highest likelihood wins.
    init_params : str or array of shape (n, k), default="kmeans"
        "kmeans", "k-means++", "random", "random_from_data", or
        responsibilities.
    weights_init : array-like of shape (k,), optional
        Mixing weights to start from.
    means_init : array-like of shape (k, d), optional
        Means to start from.
    precisions_init : array-like, optional
        Inverses of the covariances to start from, in their shape.
    random_state : int, RandomState instance or None, default=None
        Source of the drawn starts and of `sample`.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit.
    verbose : int, default=0
        Whether turns are printed.
    verbose_interval : int, default=10
        Turns between two prints.
    prior : None, "auto" or (dof, scale), default=None
        An inverse-Wishart belief about the covariances
        (`eq-collapse-prior`); scale is a matrix (d, d). "auto": d + 2
        points' worth of the data's covariance, shrunk by k^(2/d).
    accelerate : {None, "squarem"}, default=None
        Whether to leap ahead between turns (`eq-speed-squarem`).
    missing : {"error", "em"}, default="error"
        What a NaN is: an error, or a value that EM fills in.
    on_collapse : {"warn", "raise", "restart"}, default="warn"
        What happens when a covariance stops being positive definite: it is
        kept as it was, with a warning; an error; or the component starts
        anew at the worst-explained row.
    progress : bool, default=False
        Whether a line on standard error tells the turn and the likelihood.

    Attributes
    ----------
    weights_ : array of shape (k,)
        Mixing weights; they sum to 1.
    means_ : array of shape (k, d)
        Means.
    covariances_ : array
        (k, d, d), (d, d), (k, d) or (k,), by covariance type.
    precisions_ : array
        Their inverses.
    precisions_cholesky_ : array
        Upper triangular U with U U^T the precision; square roots where
        the type keeps variances only.
    history_ : list of float
        Mean log-likelihood, nats a row: of the start, then of each turn (of
        each accepted cycle with "squarem"). Each entry belongs to that
        turn's parameters.
    lower_bounds_ : list of float
        The same list.
    lower_bound_ : float
        Its last entry; equals `score(X)`.
    objective_ : list of float
        `history_`, plus what the prior says, a row; it rises.
    n_iter_ : int
        Number of EM maps.
    converged_ : bool
        Whether `tol` stopped the fit.
    n_features_in_ : int
        Number of columns, d.
    feature_names_in_ : array of shape (d,)
        Names of the columns, where `X` had names.

    Examples
    --------
    >>> from emlib import GaussianMixture
    >>> X = [[0, 0], [2, 0], [1, 3], [10, 1], [12, 1], [11, 4]]
    >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(mixture.means_.round(3).tolist())
    [[1.0, 1.0], [11.0, 2.0]]

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete
    data via the EM algorithm. McLachlan and Peel (2000), Finite mixture
    models.
    """

    weights_: Any
    means_: Any
    covariances_: Any
    precisions_: Any
    precisions_cholesky_: Any
    history_: list[float]
    lower_bounds_: list[float]
    lower_bound_: float
    objective_: list[float]
    n_iter_: int
    converged_: bool
    n_features_in_: int
    _fitted_type: str
    _online: _Stream

    def __init__(
        self,
        n_components: Any = 1,
        *,
        covariance_type: Any = "full",
        tol: Any = 1e-3,
        reg_covar: Any = 1e-6,
        max_iter: Any = 100,
        n_init: Any = 1,
        init_params: Any = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: Any = False,
        verbose: Any = 0,
        verbose_interval: Any = 10,
        prior: Any = None,
        accelerate: Any = None,
        missing: Any = "error",
        on_collapse: Any = "warn",
        progress: Any = False,
    ) -> None:
        # Kept as they come: `fit` checks them, by scikit-learn's rules.
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.prior = prior
        self.accelerate = accelerate
        self.missing = missing
        self.on_collapse = on_collapse
        self.progress = progress

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "em"
        return tags

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> GaussianMixture:
        """Fit the mixture, and return the estimator.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        GaussianMixture
            Itself, with the fitted attributes set.

        Raises
        ------
        ValueError
            If X or an option breaks a rule; the message names it.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> PerPoint:
        """Fit the mixture, and return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        array of shape (n,)
            What `predict(X)` returns after the fit.
        """
        self._fit(X, sample_weight)
        return self.predict(X)

    @untouched
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> GaussianMixture:
        """Learn from one batch of rows, and forget it (online EM).

        Batch t has the step (t + 1)^-0.6: its moments replace so much of
        those of the batches before; the first replaces all. `history_` has
        an entry a batch: its mean log-likelihood before it was learned
        from, but for the first. After `fit` or `load` a new stream begins.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points; the first batch needs a row for each component, unless
            the start is given.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        GaussianMixture
            Itself, with the fitted attributes set.
        """
        _check_options(self)
        check(self.missing == "error", "missing", '"error"', self.missing)
        first = not hasattr(self, "_online")
        X = self._points(X, reset=first)
        weights = check_weights(sample_weight, len(X))
        rows = _present(X, weights, self._table(len(X)) if first else None)
        if first:
            if any(part is None for part in self._given(X.shape[1])):
                check_enough(int(self.n_components), len(rows.x))
            column = _column(rows, COVARIANCES[self.covariance_type])
            model = self._model(rows, column)
            params = self._settled(rows, column, model, self._rng())
            stream = _Stream(column, model, params, None, 0, 0.0)
        else:
            stream = self._online
            asked = [int(self.n_components), self.covariance_type]
            kept = asked == [len(self.weights_), self._fitted_type]
            rule = "what they were in the first batch"
            check(kept, "n_components and covariance_type", rule, asked)
        stream, told = self._learn(stream, rows)
        self._set(stream.column.unit.out_of(stream.params))
        bound = told.bound / _size(rows)
        prior = (told.objective - told.bound) / stream.seen
        before = ([], []) if first else (self.history_, self.objective_)
        self.history_ = self.lower_bounds_ = [*before[0], bound]
        self.objective_ = [*before[1], bound + prior]
        self._online = stream
        self.lower_bound_, self.n_iter_ = bound, stream.batches
        self.converged_ = False
        return self

    def _learn(self, stream: _Stream, rows: _Rows) -> tuple[_Stream, _Told]:
        """Return the stream after one batch, and what it said of it."""
        column, model, params, past, batches, seen = stream
        size, notes = _size(rows), list[str]()
        step = Step(
            batches,
            params,
            InBlocks(model),
            _parts(rows, len(params.means)),
            None,
        )
        step = self._sound(step, step, model, notes)
        moments = step.posterior.statistics.scaled(1 / size)
        batches, seen = batches + 1, seen + size
        if past is not None:
            share = (batches + 1) ** -0.6
            moments = past.scaled(1 - share) + moments.scaled(share)
        params = model.maximise(moments.scaled(seen), step.params)
        after = Step(batches, params, step.model, step.x, None)
        try:
            gaussian_family.precisions(params)
        except Collapse:
            after = self._sound(after, step, model, notes)
        for note in dict.fromkeys(notes):
            warn(note)
        told = _told(
            after if past is None else step, model, _shifts(model, size)
        )
        stream = _Stream(
            column, model, after.params, moments, batches, seen
        )
        return stream, told

    def predict(self, X: Any) -> PerPoint:
        """Return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.

        Returns
        -------
        array of shape (n,)
            Indices from 0; ties go to the lowest.
        """
        likeliest: PerPoint = self._ask(X, lambda p: p.resp.argmax(axis=1))
        return likeliest

    def predict_proba(self, X: Any) -> Table:
        """Return each component's responsibility for each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.

        Returns
        -------
        array of shape (n, k)
            Each row sums to 1, however far the point.
        """
        resp: Table = self._ask(X, lambda p: p.resp)
        return resp

    def score_samples(self, X: Any) -> PerPoint:
        """Return the log density of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.

        Returns
        -------
        array of shape (n,)
            Minus infinity where float64 cannot hold it.
        """
        log_evidence: PerPoint = self._ask(X, lambda p: p.log_evidence)
        return log_evidence

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean log-likelihood, nats a row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
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
            Points.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts; n is their sum.

        Returns
        -------
        float
            -2 log-likelihood + (free parameters) log n, in nats.
        """
        rows, evidence, _ = self._totals(X, sample_weight)
        return float(np.log(rows)) * self._free() - 2 * evidence

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Akaike information criterion; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            -2 log-likelihood + 2 (free parameters), in nats.
        """
        _, evidence, _ = self._totals(X, sample_weight)
        return 2 * self._free() - 2 * evidence

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            `bic` + 2 (entropy of the responsibilities), in nats.
        """
        rows, evidence, undecided = self._totals(X, sample_weight)
        price = float(np.log(rows)) * self._free()
        return price - 2 * evidence + 2 * undecided

    def sample(self, n_samples: Any = 1) -> tuple[Points, PerPoint]:
        """Return points drawn from the fitted mixture, and their labels.

        With an integer `random_state`, those that scikit-learn draws from
        the same parameters.

        Parameters
        ----------
        n_samples : int
            Number of points.

        Returns
        -------
        X : array of shape (n_samples, d)
            Points, component by component.
        labels : array of shape (n_samples,)
            Which component each came from.
        """
        check_is_fitted(self, "means_")
        rule = "a whole number, at least 1"
        check(whole(n_samples, 1), "n_samples", rule, n_samples)
        state = check_random_state(self.random_state)
        times = state.multinomial(n_samples, self.weights_)  # (k,)
        drawn = self._params().draw(times, state)
        return np.vstack(drawn), np.repeat(np.arange(len(times)), times)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted mixture to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Where to; an existing file is replaced.
        """
        check_is_fitted(self, "means_")
        options = self.get_params()
        record = {
            "format": FORMAT,
            "options": {name: _written(options[name]) for name in options},
            "type": self._fitted_type,
            "weights": self.weights_.tolist(),
            "means": self.means_.tolist(),
            "covariances": self.covariances_.tolist(),
            "history": self.history_,
            "objective": self.objective_,
            "n_iter": self.n_iter_,
            "converged": self.converged_,
            "names": plain(getattr(self, "feature_names_in_", None)),
        }
        write(Path(path), json.dumps(record))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GaussianMixture:
        """Return the mixture that `save` wrote; nothing is executed.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        GaussianMixture
            Fitted, and equal to the saved one to the last bit.

        Raises
        ------
        ValueError
            If the file is not one that `save` wrote.
        """
        found: GaussianMixture = read(cls, path, FORMAT)
        return found

    # --- the fit

    @untouched
    def _fit(self, X: Any, sample_weight: Any) -> None:
        """Set the fitted attributes."""
        _check_options(self)
        X = self._points(X, reset=True)
        weights = check_weights(sample_weight, len(X))
        rows = _present(X, weights, self._table(len(X)))
        check_enough(int(self.n_components), len(rows.x))
        if rows.x.nbytes <= COLUMNS:
            rows = rows._replace(x=np.asfortranarray(rows.x))
        again = self._goes_on(X.shape[1])
        parts = _parts(rows, int(self.n_components))
        runs, rng = [], self._rng()
        with threads(len(parts)) as mapper:
            column = _column(rows, COVARIANCES[self.covariance_type])
            model = self._model(rows, column, os.cpu_count() or 1)
            before = self._before(rows) if again else None
            for number in range(1 if again else int(self.n_init)):
                start = (
                    column.unit.into(self._params())
                    if again
                    else self._settled(rows, column, model, rng)
                )
                self._say(f"Initialization {number}")
                loop = InBlocks(_holding(model, parts), mapper)
                step = Step(0, start, loop, parts, None)
                runs.append(self._climb(step, model, _size(rows), before))
        best = max(runs, key=lambda run: run.objectives[-1])
        self._remember(best, model, _size(rows))
        self._warn(best, column, model)

    def _goes_on(self, d: int) -> bool:
        """Say whether the fit begins where the last one ended."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return False
        alike = self._fitted_type == self.covariance_type
        shape = (int(self.n_components), d)
        return bool(alike and self.means_.shape == shape)

    def _before(self, rows: _Rows) -> float | None:
        """Return what the last fit rose to, one turn before its end."""
        if self.n_iter_ == 0 or hasattr(self, "_online"):
            return None
        return self.objective_[-2] * _size(rows)

    def _points(self, X: Any, reset: bool) -> Any:
        """Return X as an array of points, (n, d), or raise."""
        holes = self.missing == "em"
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2 if reset else 1,
            ensure_all_finite="allow-nan",
        )
        if not holes and _holes(X):
            rule = "X must be free of NaN"
            remedy = 'Drop such rows, or set missing="em".'
            refuse(X, np.isnan(X).any(axis=1), 0, rule, remedy)
        if holes and reset:
            empty = np.isnan(X).all(axis=0)  # (d,)
            if empty.any():
                raise ValueError(
                    "X must have some value in every column; column "
                    f"{int(empty.argmax())} has none. Drop the column."
                )
        return X

    def _table(self, n: int) -> Any:
        """Return the given responsibilities, or None, or raise."""
        if isinstance(self.init_params, str):
            return None
        k = int(self.n_components)
        rule = f"one of {STARTS}, or responsibilities of shape ({n}, {k}) "
        rule += "whose rows sum to 1"
        table = numbers("init_params", rule, self.init_params)
        check(table.shape == (n, k), "init_params", rule, self.init_params)
        kept = (table >= 0).all(axis=1)  # (n,)
        kept &= np.isclose(table.sum(axis=1), 1)
        remedy = "Divide each row by its sum."
        refuse(table, ~kept, 0, f"init_params must be {rule}", remedy)
        return table

    def _rng(self) -> np.random.Generator:
        state = check_random_state(self.random_state)
        return np.random.default_rng(state.randint(2**31 - 1))

    def _model(self, rows: _Rows, column: _Column, lanes: int = 1) -> Any:
        """Return the model in the unit of z."""
        unit, variances = column
        if isinstance(self.reg_covar, str):
            reg = 1e-6 * variances  # (d,)
        else:
            reg = float(self.reg_covar) / unit.scale / unit.scale  # (d,)
        kind, scratch = self.covariance_type, SCRATCH // max(lanes, 2)
        prior = self._prior(rows, column)
        if self.missing == "em" and _holes(rows.x):
            return _Filling(kind, reg, prior, unit)
        return _Fast(kind, reg, prior, unit, rows.x.dtype, scratch)

    def _prior(self, rows: _Rows, column: _Column) -> Any:
        """Return the prior in the unit of z."""
        if self.prior is None:
            return None
        d, scale = rows.x.shape[1], column.unit.scale
        if isinstance(self.prior, str):
            spread = _covariance(rows, column.unit)  # (d, d)
            shrunk = spread / int(self.n_components) ** (2 / d)
            return gaussians.Prior(d + 2.0, shrunk)
        dof, matrix = self.prior
        rule = "(dof, scale), dof at least 0 and scale a positive definite "
        rule += f"matrix of shape ({d}, {d})"
        matrix = numbers("prior", rule, matrix)
        kept = _is_size(dof) and is_definite(matrix, d)
        check(kept, "prior", rule, self.prior)
        return gaussians.Prior(float(dof), matrix / scale / scale[:, None])

    def _settled(
        self,
        rows: _Rows,
        column: _Column,
        model: Any,
        rng: np.random.Generator,
    ) -> Any:
        """Return a start in the unit of z: drawn, and what was given."""
        given = self._given(rows.x.shape[1])
        kind = COVARIANCES[self.covariance_type]
        if not any(part is None for part in given):
            return _reachable(column.unit.into(kind(*given)))
        resp = self._responsibilities(rows, column, rng)
        total: Any = 0
        even: Any = 0
        for block, (x, times) in zip(
            resp, _pieces(rows, kind), strict=True
        ):
            full = _filled(x, column)  # (n, d)
            uniform = starts.uniform(*block.shape)  # (n, k)
            total = total + model.summarise(full, Labels(block), times)
            even = even + model.summarise(full, Labels(uniform), times)
        if not total.counts.all():  # a component would start with no row
            total = total + even.scaled(0.01)
        found = column.unit.out_of(model.maximise(total))
        whole = (
            old if new is None else new
            for old, new in zip(found, given, strict=True)
        )
        return _reachable(column.unit.into(kind(*whole)))

    def _given(self, d: int) -> tuple[Any, Any, Any]:
        """Return the given weights, means and covariances, or raise."""
        k = int(self.n_components)
        rules = {
            "weights_init": f"{k} numbers from 0 to 1 that sum to 1",
            "means_init": f"finite numbers of shape ({k}, {d})",
            "precisions_init": "finite numbers",
        }
        given = {name: getattr(self, name) for name in rules}
        weights, means, precisions = (
            value if value is None else numbers(name, rules[name], value)
            for name, value in given.items()
        )
        if weights is not None:
            kept = weights.shape == (k,) and (weights >= 0).all()
            kept = kept and abs(weights.sum() - 1) < 1e-6
            name = "weights_init"
            check(kept, name, rules[name], given[name])
        if means is not None:
            kept = means.shape == (k, d) and np.isfinite(means).all()
            name = "means_init"
            check(kept, name, rules[name], given[name])
        if precisions is None:
            return weights, means, None
        return weights, means, self._inverse(precisions, k, d)

    def _inverse(self, precisions: Any, k: int, d: int) -> Any:
        """Return the covariances of the given precisions, or raise."""
        kind = COVARIANCES[self.covariance_type]
        shape = kind.shape_of(k, d)
        kept = precisions.shape == shape and np.isfinite(precisions).all()
        rule = f"finite numbers of shape {shape}"
        check(kept, "precisions_init", rule, self.precisions_init)
        try:
            rule = kind.broken_rule(precisions)
        except ValueError as fault:
            raise ValueError(f"precisions_init {fault}") from None
        check(not rule, "precisions_init", rule, self.precisions_init)
        covariances = kind.inverted(precisions)
        kept, rule = np.isfinite(covariances).all(), "at least 1e-300"
        check(kept, "precisions_init", rule, self.precisions_init)
        return covariances

    def _responsibilities(
        self, rows: _Rows, column: _Column, rng: np.random.Generator
    ) -> Iterator[Table]:
        """Yield a start's responsibilities, block by block."""
        k, drawn = int(self.n_components), rows.start is None
        how = self.init_params if drawn else "given"
        kind = COVARIANCES[self.covariance_type]
        if how not in ("random", "given"):
            centres = _centres(rows, column.unit, k, how, rng)  # (k, d)
        begin = 0
        for x, _ in _pieces(rows, kind):
            cut = slice(begin, begin := begin + len(x))
            if how == "given":
                yield rows.start[cut]
            elif how == "random":
                yield starts.random(len(x), k, rng)
            else:
                z = np.nan_to_num(_even(x, column.unit))  # (n, d)
                yield starts.spread(z, centres)

    def _climb(
        self, step: Step, model: Any, size: float, before: float | None
    ) -> _Run:
        """Return what EM makes of a start.

        With a warm start `before` is the objective of the turn before it.
        """
        notes: list[str] = []
        step = self._sound(step, step, model, notes)
        shifts = _shifts(model, size)
        steps, converged = [_told(step, model, shifts)], False
        since = began = perf_counter()
        while step.turn < self.max_iter and not converged:
            last, leap = step, self._may_leap(steps)
            step = cycle(step) if leap else next_turn(step)
            step = self._sound(step, last, model, notes)
            steps.append(_told(step, model, shifts))
            converged = self._stops(steps, size, before)
            since = self._tell(steps, size, since)
        self._tell_end(steps, size, converged, perf_counter() - began)
        bounds = [told.bound for told in steps]
        objectives = [told.objective for told in steps]
        return _Run(step, bounds, objectives, converged, notes)

    def _sound(
        self, step: Step, before: Step, model: Any, notes: list[str]
    ) -> Step:
        """Return the step with every covariance positive definite."""
        k = int(self.n_components)
        if self.on_collapse == "restart" and len(notes) < 10 * k:
            for dead in np.flatnonzero(step.params.weights == 0).tolist():
                step = _restarted(step, before, dead, notes)
        for _ in range(k + 1):
            try:
                step.posterior  # noqa: B018 (the E-step runs here)
                return step
            except Collapse as fault:
                step = self._mended(step, before, fault, notes)
        raise AssertionError("unreachable")

    def _mended(
        self, step: Step, before: Step, fault: Collapse, notes: list[str]
    ) -> Step:
        """Return the step without the collapse, or raise."""
        if self.on_collapse == "raise" or step is before:
            raise ValueError(str(fault)) from None
        component, k = fault.component, int(self.n_components)
        if self.on_collapse == "restart" and len(notes) < 10 * k:
            return _restarted(step, before, component, notes)
        notes.append(
            f"component {component} has collapsed onto a few points or a "
            "flat, and keeps its last positive definite covariance. Use "
            "fewer components, another start, a larger reg_covar or a "
            "prior."
        )
        held = step.params.with_covariances_of(before.params, [component])
        return replace(step, params=held)

    def _stops(
        self, told: list[_Told], size: float, before: float | None
    ) -> bool:
        """Say whether `tol` ends the climb here."""
        now = [each.objective for each in told[-7:]]
        if self.tol == "auto":
            if abs(now[-1] - now[-2]) <= 1e-14 * abs(now[-1]):
                return True
            if len(now) < 7 or told[-1].turn - told[-7].turn > 6:
                return False  # a leap's gain says nothing of the next
            tails = (now[begin : begin + 5] for begin in range(3))
            return all(2 * _left(tail) < LEFT for tail in tails)
        if before is not None and not self.accelerate:
            now = [before, *now]
        # As scikit-learn does: before the last M-step, not after it.
        pair = now[-2:] if self.accelerate else now[-3:-1]
        some = float(self.tol) * size
        return len(pair) == 2 and abs(pair[1] - pair[0]) < some

    def _may_leap(self, told: list[_Told]) -> bool:
        """Say whether the next turn may be a leap.

        `tol="auto"` reads the gains of plain turns: near the end there are
        six of them after every eight leaps.
        """
        if not self.accelerate or self.max_iter - told[-1].turn < 3:
            return False
        if self.tol != "auto" or len(told) % 14 < 8:
            return True
        return abs(told[-1].objective - told[-2].objective) > LEFT

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)

    def _tell(self, told: list[_Told], size: float, since: float) -> float:
        """Print a turn where asked for; return when that was done last."""
        last, now = told[-2:]
        if self.progress:
            line = f"\rturn {now.turn}: {now.bound / size:.6f} nats a row"
            sys.stderr.write(line)
            sys.stderr.flush()
        every = int(self.verbose_interval)
        if not self.verbose or now.turn // every == last.turn // every:
            return since
        lapse = f"\t time lapse {perf_counter() - since:.5f}s"
        lapse += f"\t ll change {(now.bound - last.bound) / size:.5f}"
        self._say(f"  Iteration {now.turn}{lapse * (self.verbose > 1)}")
        return perf_counter()

    def _tell_end(
        self, told: list[_Told], size: float, converged: bool, lapse: float
    ) -> None:
        """Print how a climb ended, where asked for."""
        if self.progress:
            sys.stderr.write("\n")
        if self.max_iter > 0:
            end = "converged" if converged else "did not converge"
            more = f" time lapse {lapse:.5f}s\t lower bound"
            more += f" {told[-1].bound / size:.5f}."
            self._say(f"Initialization {end}.{more * (self.verbose > 1)}")

    def _set(self, params: Any) -> None:
        """Set the parameters and what follows from them."""
        finite = all(np.isfinite(part).all() for part in params)
        if not finite:
            raise ValueError(
                "X must have variances that float64 can hold; some "
                "covariance is above 1e308. Divide X by its spread."
            )
        self.weights_, self.means_, self.covariances_ = params
        self._fitted_type = type(params).__name__.lower()
        roots, _, self.precisions_ = gaussian_family.precisions(params)
        self.precisions_cholesky_ = params.precisions_cholesky(roots)

    def _remember(self, run: _Run, model: Any, size: float) -> None:
        """Set the fitted attributes."""
        self._set(model.unit.out_of(run.step.params))
        self.history_ = [bound / size for bound in run.bounds]
        self.objective_ = [objective / size for objective in run.objectives]
        self.lower_bounds_ = self.history_
        self.lower_bound_ = self.history_[-1]
        self.n_iter_, self.converged_ = run.step.turn, run.converged
        if hasattr(self, "_online"):
            del self._online

    def _warn(self, run: _Run, column: _Column, model: Any) -> None:
        """Warn of what is worth a warning."""
        for note in dict.fromkeys(run.notes):
            warn(note)
        for component in np.flatnonzero(self.weights_ == 0).tolist():
            warn(
                f"component {component} is responsible for no row and "
                "keeps its shape. Start it nearer the data, or use fewer "
                "components."
            )
        self._warn_of_floor(column, model)
        if self.max_iter > 0 and not self.converged_:
            _warn_of_more(self.history_, self.n_iter_, self.tol)

    def _warn_of_floor(self, column: _Column, model: Any) -> None:
        """Warn where the regularisation is much of a fitted variance."""
        reg = np.broadcast_to(model.reg_covar, column.variances.shape)
        params = column.unit.into(self._params())
        shares = params.floor_shares(reg)  # (k,)
        large = np.flatnonzero(shares > 0.01).tolist()
        if large:
            worst = int(np.argmax(shares))
            collapsed = np.flatnonzero(shares > 0.5).tolist()
            kind = "collapsed " if worst in collapsed else ""
            warn(
                f"reg_covar={self.reg_covar!r} is {shares[worst]:.0%} of "
                f"the smallest variance of {kind}component {worst} (above "
                f"1 % for components {large}): the fit depends on it. "
                'Rescale X, take reg_covar="relative" or a prior, or use '
                "fewer components."
            )

    def _recall(self, record: Any) -> GaussianMixture:
        """Set the fitted attributes from a file, or raise."""
        kind = COVARIANCES[record["type"]]
        params = kind(
            *(
                np.array(record[name], dtype=np.float64)
                for name in ("weights", "means", "covariances")
            )
        )
        k, d = params.means.shape
        full = params.matrices().shape == (k, d, d)
        if not (full and params.weights.shape == (k,)):
            raise ValueError("its numbers are no mixture")
        self._set(params)
        self.history_ = [float(value) for value in record["history"]]
        self.objective_ = [float(value) for value in record["objective"]]
        self.lower_bounds_ = self.history_
        self.lower_bound_ = self.history_[-1]
        self.n_iter_ = int(record["n_iter"])
        self.converged_ = bool(record["converged"])
        self.n_features_in_ = d
        if record["names"] is not None:
            self.feature_names_in_ = np.array(record["names"], dtype=object)
        return self

    # --- what a fitted mixture says

    def _params(self) -> Any:
        kind = COVARIANCES[self._fitted_type]
        return kind(self.weights_, self.means_, self.covariances_)

    def _free(self) -> int:
        """Return the number of free parameters."""
        k, d = self.means_.shape
        free = COVARIANCES[self._fitted_type].n_free(k, d)
        return int(k * d + k - 1 + free)

    def _posteriors(
        self, X: Any, sample_weight: Any = None
    ) -> Iterator[tuple[Posterior, PerPoint | None]]:
        """Yield the posterior of each block, and how often rows count."""
        check_is_fitted(self, "means_")
        X = self._points(X, reset=False)
        weights = check_weights(sample_weight, len(X))
        rows, params = _present(X, weights), self._params()
        unit = _around(params)
        kind = self._fitted_type
        turn = _Fast(kind, 0.0, None, unit).one_pass(unit.into(params))
        shift = float(np.log(unit.scale).sum())
        for x, multiplicity in blocks(*rows[:2], ROWS):
            if _holes(x):
                model = _Filling(kind, 0.0, None, unit)
                said: Any = model.e_step(x, unit.into(params))
            else:
                said = turn.posterior(x.astype(np.float64))
            evidence = said.log_evidence - shift  # (n,)
            yield said._replace(log_evidence=evidence), multiplicity

    def _ask(self, X: Any, question: Callable[[Posterior], Any]) -> Any:
        """Return what is asked of every row's posterior."""
        return np.concatenate(
            [question(said) for said, _ in self._posteriors(X)]
        )

    def _totals(
        self, X: Any, sample_weight: Any
    ) -> tuple[float, float, float]:
        """Return rows, log evidence and entropy, summed over the rows."""
        total = np.zeros(3)
        for said, times in self._posteriors(X, sample_weight):
            evidence = said.log_evidence  # (n,)
            each = [np.ones_like(evidence), evidence, entropy(said.resp)]
            weights = each[0] if times is None else times  # (n,)
            total += np.stack(each) @ weights  # (3,)
        rows, log_evidence, undecided = total.tolist()
        return rows, log_evidence, undecided


def _shifts(model: Any, size: float) -> tuple[float, float]:
    """Return what x adds to z's log likelihood, and to its log prior."""
    shift = float(np.log(model.unit.scale).sum())
    if model.prior is None:
        return -size * shift, 0.0
    dof, d = model.prior.dof, len(model.prior.scale)
    return -size * shift, -(dof + d + 1) * shift


def _told(step: Step, model: Any, shifts: tuple[float, float]) -> _Told:
    """Return what is kept of a turn, of x and not of z."""
    prior = model.log_prior(step.params)
    bound = step.bound + shifts[0]
    prior += shifts[1] * step.params.n_matrices()
    return _Told(step.turn, bound, bound + prior)


def _left(bounds: list[float]) -> float:
    """Return about how much five turns in a row leave to gain.

    Where gains are a sum of geometric series, their ratios rise to that of
    the slowest; as long as they rise ever faster, no end is in sight.
    """
    gains = np.abs(np.diff(bounds))  # (4,)
    ratios = gains[1:] / gains[:-1]  # (3,)
    first, second = np.diff(ratios)
    limit = ratios.max()
    if second > 0:
        if second >= first:
            return np.inf
        limit = ratios[-1] + second**2 / (first - second)
    return float(gains[-1] * limit / (1 - limit)) if limit < 1 else np.inf


# --- what is checked at the edge


def _check_options(estimator: Any) -> None:
    """Raise for an option that no fit could obey."""
    for name, least in (
        ("n_components", 1),
        ("max_iter", 0),
        ("n_init", 1),
        ("verbose", 0),
        ("verbose_interval", 1),
    ):
        value = getattr(estimator, name)
        rule = f"a whole number, at least {least}"
        check(whole(value, least), name, rule, value)
    for name, word in (("tol", "auto"), ("reg_covar", "relative")):
        value = getattr(estimator, name)
        kept = value == word if isinstance(value, str) else _is_size(value)
        check(kept, name, f'a number, at least 0, or "{word}"', value)
    for name, words in (
        ("covariance_type", tuple(COVARIANCES)),
        ("accelerate", (None, "squarem")),
        ("missing", ("error", "em")),
        ("on_collapse", ("warn", "raise", "restart")),
    ):
        value = getattr(estimator, name)
        kept = value is None or isinstance(value, str)
        check(kept and value in words, name, f"one of {words}", value)
    how, prior = estimator.init_params, estimator.prior
    kept = not isinstance(how, str) or how in STARTS
    check(kept, "init_params", f"one of {STARTS}, or an array", how)
    pair = isinstance(prior, tuple | list) and len(prior) == 2
    kept = prior is None or pair
    kept = kept or (isinstance(prior, str) and prior == "auto")
    check(kept, "prior", 'None, "auto" or (dof, scale)', prior)


def _written(value: Any) -> Any:
    """Return an option as JSON knows it."""
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return plain(value)


def _is_size(value: Any) -> bool:
    """Say whether a value is a finite number, at least 0."""
    return isinstance(value, Real) and 0 <= float(value) < np.inf


def _warn_of_more(history: list[float], turns: int, tol: Any) -> None:
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


# --- the rows


def _present(X: Any, weights: PerPoint | None, start: Any = None) -> _Rows:
    """Return the rows that count at all; the others are absent."""
    if weights is None or weights.all():
        return _Rows(X, weights, start)
    there = weights > 0  # (n,)
    start = None if start is None else start[there]  # (n, k)
    return _Rows(X[there], weights[there], start)


def _holes(x: Points) -> bool:
    """Say whether a value is missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isnan(x.sum())) and bool(np.isnan(x).any())


def _parts(rows: _Rows, k: int) -> list[Any]:
    """Return the rows in blocks: the same ones for any number of cores."""
    n, d = rows.x.shape
    fits = SUMS // (8 * k * d**2)  # whose moments may wait to be added
    parts = max(1, min(PARTS, n // ROWS, max(fits, 4)))
    return blocks(*rows[:2], -(-len(rows.x) // parts))


def _pieces(rows: _Rows, kind: Any = None) -> list[Any]:
    """Return the rows in blocks so small that they may be copied.

    With a kind of covariances so small that its features may be held.
    """
    d = rows.x.shape[1]
    numbers = d if kind is None else d + kind.n_quadratics(d)
    return blocks(*rows[:2], max(COPIED // (8 * numbers), 64))


def _size(rows: _Rows) -> float:
    """Return how many rows there are, each as often as it counts."""
    times = rows.multiplicity
    return float(len(rows.x) if times is None else times.sum())


def _z(x: Points, unit: Unit) -> Points:
    """Return points in the unit of z, in double precision."""
    z: Points = (x - unit.origin) / unit.scale  # (n, d)
    return z


def _mean(rows: _Rows, function: Callable[[Any], Any]) -> Vector:
    """Return each column's mean of a function of its known values."""
    total: Any = 0.0
    held: Any = 0.0
    for x, times in _pieces(rows):
        values = function(np.ascontiguousarray(x.T, np.float64))  # (d, n)
        weights = np.ones(len(x)) if times is None else times  # (n,)
        sums, count = values @ weights, weights.sum()  # (d,)
        if np.isnan(sums).any():
            known = ~np.isnan(values)  # (d, n)
            sums = np.where(known, values, 0) @ weights  # (d,)
            count = known @ weights  # (d,)
        total, held = total + sums, held + count
    mean: Vector = total / held
    return mean


def _reach(rows: _Rows, origin: Vector) -> Vector:
    """Return how far each column goes from the origin."""
    least, most = origin, origin
    for x, _ in _pieces(rows):
        columns = np.ascontiguousarray(x.T)  # (d, n)
        least = np.fmin(least, np.fmin.reduce(columns, axis=1))
        most = np.fmax(most, np.fmax.reduce(columns, axis=1))
    reach: Vector = np.maximum(most - origin, origin - least)
    return reach


def _column(rows: _Rows, kind: Any) -> _Column:
    """Return where the columns are, and how wide.

    A far value cannot overflow: squares are taken of what is divided by
    the largest. The scales are those that a kind of covariances allows.
    """
    first = np.nan_to_num(rows.x[0]).astype(np.float64)[:, None]  # (d, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        origin = first[:, 0] + _mean(rows, lambda x: x - first)  # (d,)
        origin = origin.astype(rows.x.dtype).astype(np.float64)  # (d,)
        reach = _reach(rows, origin)  # (d,)
    bad = ~(np.isfinite(reach) & np.isfinite(origin))  # (d,)
    if bad.any():
        raise ValueError(
            "X must span less than float64 can hold; column "
            f"{int(bad.argmax())} does not. Divide it by its spread."
        )
    peak, middle = np.where(reach > 0, reach, 1), origin[:, None]  # (d,)
    share = _mean(rows, lambda x: ((x - middle) / peak[:, None]) ** 2)
    widths = kind.scales(peak * np.sqrt(share))  # (d,)
    most = 1e152 if rows.x.dtype.itemsize == 8 else 1e36
    bad = (widths > 0) & ~((widths > 1 / most) & (widths < most))  # (d,)
    if bad.any():
        raise ValueError(
            f"X must spread between {1 / most:g} and {most:g} in each "
            f"column, or not at all; column {int(bad.argmax())} spreads "
            f"{widths[bad][0]:.1e}. Divide it by that."
        )
    scale = np.exp2(np.round(np.log2(np.where(widths > 0, widths, 1))))
    return _Column(Unit(origin, scale), share * (peak / scale) ** 2)


def _covariance(rows: _Rows, unit: Unit) -> Matrix:
    """Return the covariance of all rows, in the unit of z; NaN is 0."""
    mean = _mean(rows, lambda x: (x.T - unit.origin).T)  # (d,)
    total: Any = 0.0
    for x, times in _pieces(rows):
        apart = np.nan_to_num((x - unit.origin - mean) / unit.scale)
        weights = np.ones(len(x)) if times is None else times  # (n,)
        total = total + (apart.T * weights) @ apart  # (d, d)
    covariance: Matrix = total / _size(rows)
    return covariance


def _filled(x: Points, column: _Column) -> Points:
    """Return the points; a NaN becomes the column's mean."""
    return np.where(np.isnan(x), column.unit.origin, x)  # (n, d)


def _centres(
    rows: _Rows, unit: Unit, k: int, how: str, rng: np.random.Generator
) -> Any:
    """Return where a drawn start has its centres, in one unit for all."""
    x, times = rows[:2]
    most = min(SEEDED, max(NUMBERS // x.shape[1], 64 * k))
    if len(x) > most:
        picked = rng.integers(len(x), size=most)
        x, times = x[picked], None if times is None else times[picked]
    z = np.nan_to_num(_even(x, unit))  # (n, d)
    if how == "random_from_data":
        return starts.picks(z, k, rng, times)
    if how == "k-means++":
        return starts.seeds(z, k, rng, times)
    clusters = _Quiet(k, n_init=1, random_state=int(rng.integers(2**31)))
    return clusters.fit(z, None, times).cluster_centers_


def _even(x: Points, unit: Unit) -> Points:
    """Return centred points in one scale, so that distances are kept."""
    even: Points = (x - unit.origin) / unit.scale.max()  # (n, d)
    return even


def _around(params: Any) -> Unit:
    """Return a unit in which the means are near zero and the widths one."""
    widths = np.sqrt(params.variances(params.covariances))
    reach = np.abs(params.means - params.means[0]).max(axis=0)  # (d,)
    size = np.maximum(
        widths.reshape(-1, widths.shape[-1]).max(axis=0), reach
    )
    scale = np.exp2(np.round(np.log2(params.scales(size))))  # (d,)
    return Unit(params.means[0], scale)


def _reachable(params: Any) -> Any:
    """Return a start, or raise where it is too far away for float64."""
    try:
        inverse = gaussian_family.precisions(params)
    except Collapse:  # which `on_collapse` deals with
        return params
    widest = params.variances(params.covariances).max()
    reach = np.abs(params.means).max() + 9 + 3 * np.sqrt(widest)
    with np.errstate(over="ignore"):
        terms = params.means.shape[1] ** 2 * np.abs(inverse.values).max()
        kept = np.isfinite(terms * reach * reach)
    if not kept:
        raise ValueError(
            "means_init and precisions_init must keep squared distances of "
            "the rows below 1e300; some is above. Start nearer the data."
        )
    return params


# --- what happens to a component


def _restarted(
    step: Step, before: Step, component: int, notes: list[str]
) -> Step:
    """Return the step with one component at the worst-explained row."""
    loop: Any = step.model
    model, mean = loop.model, before.params.means[component]  # (d,)
    worst, row = np.inf, mean
    for x, _ in step.x:
        evidence = model.e_step(x, before.params).log_evidence  # (n,)
        if evidence.min() < worst:
            worst = float(evidence.min())
            row = _z(x[evidence.argmin() :][:1], model.unit)[0]  # (d,)
    row = np.where(np.isnan(row), mean, row)  # (d,)
    k, d = before.params.means.shape
    means, weights = step.params.means.copy(), step.params.weights.copy()
    means[component], weights[component] = row, weights.mean()
    wide = np.broadcast_to(np.eye(d), (k, d, d)) / k**2
    shapes = step.params.restarted(before.params, component, wide)
    notes.append(
        f"component {component} collapsed or died at turn {step.turn}, and "
        "started anew at the worst-explained row."
    )
    params = type(step.params)(weights / weights.sum(), means, shapes)
    return replace(step, params=params)
