"""GaussianMixture: scikit-learn's interface over the Gaussians.

Input is checked here, once; what is inside takes it as it comes. The fit
runs where every column is near zero and near one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from emlib.estimators.checks import (
    SQUAREM,
    Rule,
    as_points,
    check_enough,
    check_options,
    check_weights,
    one_of,
    require,
    restore_on_failure,
    size_or,
    warn,
    whole_number,
)
from emlib.estimators.collapse import (
    FillingHoles,
    InOnePass,
    faults,
    repaired,
)
from emlib.estimators.display import Display
from emlib.estimators.gaussian_starts import (
    STARTS,
    check_table,
    given_parts,
    start_of,
)
from emlib.estimators.gaussian_task import (
    GaussianTask,
    has_holes,
    is_prior,
    model_of,
    scale_of_params,
    standardised,
    with_features,
)
from emlib.estimators.mixture import Mixture
from emlib.estimators.online import Stream, blended
from emlib.estimators.stopping import (
    AUTO_GAIN,
    Climb,
    TurnRecord,
    is_auto_end,
)
from emlib.loop import Block, Step
from emlib.models.covariances import COVARIANCES, Collapse
from emlib.one_pass import gaussians as one_pass
from emlib.one_pass.gaussian_family import precisions
from emlib.scale import (
    ColumnScale,
    Rows,
    Standardised,
    budget,
    column_scale,
    one_blas_thread,
)
from emlib.shapes import PerPoint, Points, Vector

__all__ = ["GaussianMixture"]


class GaussianMixture(Mixture):
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
    lower_bounds_: list[float]
    objective_: list[float]
    _fitted_type: str
    _online: Stream

    _rules = {  # noqa: RUF012 (a table)
        "n_components": whole_number(1),
        "max_iter": whole_number(0),
        "n_init": whole_number(1),
        "verbose": whole_number(0),
        "verbose_interval": whole_number(1),
        "tol": size_or("auto"),
        "reg_covar": size_or("relative"),
        "covariance_type": one_of(*COVARIANCES),
        "accelerate": SQUAREM,
        "missing": one_of("error", "em"),
        "on_collapse": one_of("warn", "raise", "restart"),
        "init_params": Rule(
            lambda how: not isinstance(how, str) or how in STARTS,
            f"one of {STARTS}, or an array",
        ),
        "prior": Rule(is_prior, 'None, "auto" or (dof, scale)'),
    }
    _format = "emlib GaussianMixture 1"
    _fitted = "means_"

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

    @restore_on_failure
    @one_blas_thread()
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
        check_options(self, self._rules)
        require(self.missing == "error", "missing", '"error"', self.missing)
        first = not hasattr(self, "_online")
        X = self._check_rows(X, reset=first)
        given = Rows(X, check_weights(sample_weight, len(X)))
        rows = given.present()
        if first:
            if any(part is None for part in given_parts(self, X.shape[1])):
                check_enough(
                    "n_components", int(self.n_components), len(rows)
                )
            task = self._task(given, rows, self._blocks(rows))
            params = start_of(self, task, self._rng())
            stream = Stream(task.columns, task.model, params, None, 0, 0.0)
        else:
            stream = self._online
            asked = [int(self.n_components), self.covariance_type]
            kept = asked == [len(self.weights_), self._fitted_type]
            rule = "what they were in the first batch"
            require(kept, "n_components and covariance_type", rule, asked)
            blocks = standardised(
                self._blocks(rows), stream.columns.standardiser
            )
            task = self._posed(rows, blocks, stream.columns, stream.model)
        self._store_stream(*self._learn(stream, task), task)
        return self

    def _learn(
        self, stream: Stream, task: GaussianTask
    ) -> tuple[Stream, TurnRecord]:
        """Return the stream after one batch, and what it said of it."""
        notes: list[str] = []
        step = task.step(stream.params, turn=stream.batches)
        step = self._repaired(step, step, notes)
        after = blended(stream, step, task.size)
        there = task.step(after.params, turn=after.batches)
        try:
            precisions(after.params)
        except Collapse:
            there = self._repaired(there, step, notes)
        for note in dict.fromkeys(notes):
            warn(note)
        record = task.record(there if stream.statistics is None else step)
        return after._replace(params=there.params), record

    def _store_stream(
        self, stream: Stream, record: TurnRecord, task: GaussianTask
    ) -> None:
        """Set the fitted attributes after one batch."""
        first = stream.batches == 1
        self._set(stream.columns.standardiser.undo(stream.params))
        bound = record.bound / task.size
        prior = (record.objective - record.bound) / stream.seen
        before = ([], []) if first else (self.history_, self.objective_)
        self.history_ = self.lower_bounds_ = [*before[0], bound]
        self.objective_ = [*before[1], bound + prior]
        self._online = stream
        self.lower_bound_, self.n_iter_ = bound, stream.batches
        self.converged_ = False

    @one_blas_thread()
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
        self._check_sample_size(n_samples)
        state = check_random_state(self.random_state)
        times = state.multinomial(n_samples, self.weights_)  # (k,)
        drawn = self._params().draw(times, state)
        return np.vstack(drawn), np.repeat(np.arange(len(times)), times)

    # --- the fit

    def _check_rows(self, X: Any, reset: bool) -> Any:
        """Return X as an array of points, (n, d), or raise."""
        return as_points(self, X, reset, holes=self.missing == "em")

    def _counted(self, given: Rows) -> Rows:
        """Return the rows that count, a few of them column by column."""
        rows = given.present()
        check_enough("n_components", int(self.n_components), len(rows))
        if rows.x.nbytes <= budget.COLUMN_MAJOR_BYTES:
            return Rows(np.asfortranarray(rows.x), rows.multiplicity)
        return rows

    def _blocks(self, rows: Rows) -> list[Block]:
        """Return the rows in blocks: the same ones on every machine."""
        k, d = int(self.n_components), rows.x.shape[1]
        waiting = budget.STATISTICS_BYTES // (8 * k * d**2)
        most = min(budget.MAX_BLOCKS, max(waiting, 4))
        few = budget.WIDE_BLOCK_BYTES // (8 * d)
        return rows.even_blocks(min(few, budget.GAUSSIAN_BLOCK_ROWS), most)

    def _task(
        self, given: Rows, rows: Rows, blocks: list[Block]
    ) -> GaussianTask:
        """Return what the fit runs: rows and model, in z."""
        labels = self.init_params
        if not isinstance(labels, str):
            there = given.counted()  # (n,)
            table = check_table(labels, len(given), int(self.n_components))
            labels = table if there is None else table[there]
        columns = column_scale(
            rows, COVARIANCES[self.covariance_type].scales
        )
        model = model_of(self, rows, columns)
        blocks = standardised(blocks, columns.standardiser)
        if isinstance(model, InOnePass):
            kind = COVARIANCES[self.covariance_type]
            blocks = with_features(blocks, kind)
        return self._posed(rows, blocks, columns, model, labels)

    def _posed(
        self,
        rows: Rows,
        blocks: list[Block],
        columns: ColumnScale,
        model: Any,
        labels: Any = None,
    ) -> GaussianTask:
        """Return a task of these parts."""
        size = rows.total()
        display = Display(self, size)
        before = self._before(size) if self._is_warm(rows) else None
        return GaussianTask(
            rows, blocks, model, size, columns, labels, display, before
        )

    def _is_warm(self, rows: Rows) -> bool:
        """Say whether the fit begins where the last one ended."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return False
        alike = self._fitted_type == self.covariance_type
        shape = (int(self.n_components), rows.x.shape[1])
        return bool(alike and self.means_.shape == shape)

    def _before(self, size: float) -> float | None:
        """Return what the last fit rose to, one turn before its end."""
        if self.n_iter_ == 0 or hasattr(self, "_online"):
            return None
        return self.objective_[-2] * size

    def _starts(self, task: GaussianTask) -> Iterator[Any]:
        """Yield the parameters of each start, of z."""
        warm, rng = self._is_warm(task.rows), self._rng()
        for number in range(1 if warm else int(self.n_init)):
            if warm:
                start = task.columns.standardiser.apply(self._params())
            else:
                start = start_of(self, task, rng)
            task.display.begin(number)
            yield start

    def _climb(self, step: Step, task: GaussianTask) -> Climb:
        """Return what EM makes of a start, and say how it ended."""
        climb = super()._climb(step, task)
        if self.max_iter > 0:
            task.display.end(climb.records, climb.converged)
        return climb

    def _repaired(self, step: Step, before: Step, notes: Any) -> Step:
        """Return the step with every covariance positive definite."""
        return repaired(step, before, self.on_collapse, notes)

    def _stops(self, records: list[TurnRecord], task: GaussianTask) -> bool:
        """Say whether `tol` ends the climb here."""
        task.display.turn(records)
        if self.tol == "auto":
            return is_auto_end(records)
        now = [record.objective for record in records[-3:]]
        if task.before is not None and not self.accelerate:
            now = [task.before, *now]
        # As scikit-learn does: before the last M-step, not after it.
        pair = now[-2:] if self.accelerate else now[-3:-1]
        change = float(self.tol) * task.size
        return len(pair) == 2 and abs(pair[1] - pair[0]) < change

    def _may_leap(self, records: list[TurnRecord]) -> bool:
        """Say whether the next turn may be a leap.

        `tol="auto"` reads the gains of plain turns: near the end there are
        six of them after every eight leaps.
        """
        if not super()._may_leap(records):
            return False
        if self.tol != "auto" or len(records) % 14 < 8:
            return True
        gain = records[-1].objective - records[-2].objective
        return abs(gain) > AUTO_GAIN

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
        roots, _, self.precisions_ = precisions(params)
        self.precisions_cholesky_ = params.precisions_cholesky(roots)

    def _store(self, climb: Climb, task: GaussianTask) -> None:
        """Set the fitted attributes."""
        self._set(task.columns.standardiser.undo(climb.step.params))
        records, size = climb.records, task.size
        self.history_ = [record.bound / size for record in records]
        self.objective_ = [record.objective / size for record in records]
        self.lower_bounds_ = self.history_
        self.lower_bound_ = self.history_[-1]
        self.n_iter_, self.converged_ = climb.step.turn, climb.converged
        if hasattr(self, "_online"):
            del self._online

    def _warn(self, climb: Climb, task: GaussianTask) -> None:
        """Warn of what is worth a warning."""
        reg, (unit, variances) = task.model.reg_covar, task.columns
        floor = np.broadcast_to(reg, variances.shape)  # (d,)
        for note in dict.fromkeys(climb.notes):
            warn(note)
        if not _is_sound(self, floor * unit.scale**2):
            params = unit.apply(self._params())
            for fault in faults(params, floor, self.reg_covar):
                warn(fault)

    # --- a fitted mixture

    def _record(self) -> dict[str, Any]:
        return {
            "type": self._fitted_type,
            "weights": self.weights_.tolist(),
            "means": self.means_.tolist(),
            "covariances": self.covariances_.tolist(),
            "objective": self.objective_,
        }

    def _set_record(self, record: Any) -> int:
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
        self.objective_ = [float(value) for value in record["objective"]]
        self.lower_bounds_ = self.history_
        self.lower_bound_ = self.history_[-1]
        return int(d)

    def _params(self) -> Any:
        kind = COVARIANCES[self._fitted_type]
        return kind(self.weights_, self.means_, self.covariances_)

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        free = COVARIANCES[self._fitted_type].n_free(k, d)
        return int(k * d + k - 1 + free)

    def _posteriors(self, rows: Rows) -> Iterator[tuple[Any, Any]]:
        params, kind = self._params(), self._fitted_type
        unit = scale_of_params(params)
        around, shift = unit.apply(params), unit.log_jacobian()
        turn = one_pass.Model(kind).one_pass(around)
        size = min(budget.GAUSSIAN_BLOCK_ROWS, turn.size)
        for x, times in rows.present().blocks(size):
            if has_holes(x):
                model, z = FillingHoles(kind), Standardised(x, unit)
                found: Any = model.e_step(z, around)
            else:
                z = Standardised(x.astype(np.float64), unit)
                found = turn.posterior(z)
            evidence = found.log_evidence - shift  # (n,)
            yield found._replace(log_evidence=evidence), times


def _is_sound(mixture: GaussianMixture, floor: Vector) -> bool:
    """Say whether traces show that there is nothing to warn of.

    What a variance owes to a floor is at most the trace of the floor
    times the precision.
    """
    variances = COVARIANCES[mixture._fitted_type].variances
    with np.errstate(over="ignore", invalid="ignore"):
        owed = variances(mixture.precisions_) * floor  # (k, d)
        few = owed.sum(axis=1) < 0.01  # (k,)
    return bool(few.all() and mixture.weights_.all())
