"""CoinMixture: scikit-learn's interface over the coins.

Input is checked here, once; what is inside takes it as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from emlib import starts
from emlib.bound import Posterior
from emlib.estimators.checks import (
    SQUAREM,
    check_enough,
    reject_row,
    require,
    size,
    warn,
    whole_number,
)
from emlib.estimators.mixture import Mixture, Task
from emlib.estimators.stopping import Climb, TurnRecord, is_at_rest
from emlib.loop import Block, Labels
from emlib.models import coins
from emlib.one_pass import coins as one_pass
from emlib.scale import Rows, budget, even_slices
from emlib.shapes import Counts, PerComponent, PerPoint, Table

__all__ = ["CoinMixture", "distinct_rows"]


@dataclass(frozen=True)
class _CoinTask(Task):
    """What a fit of coins runs, and all rows as they came."""

    given: Rows


class CoinMixture(Mixture):
    r"""A mixture of binomials, for rows tossed with unknown coins.

    .. math:: p(h_n) = \sum_k \pi_k \binom{h_n + t_n}{h_n}
        \theta_k^{h_n} (1 - \theta_k)^{t_n}

    (`eq-coins-evidence`), fitted by EM. Equal rows are counted once as long
    as at most 65,536 differ. If more do, they are read in place, block by
    block, and memory does not grow with their number. Log-likelihoods count
    the binomial coefficients.

    Parameters
    ----------
    n_components : int, default=2
        Number of coins, k.
    learn_weights : bool, default=True
        Whether the mixing weights are fitted; if not, they stay at
        `weights_init`.
    means_init : array-like of shape (k,), optional
        Chances of heads to start from, between 0 and 1. Without it the
        start is drawn, in rising order: seeds far apart, and each row to
        its nearest.
    weights_init : array-like of shape (k,), optional
        Mixing weights to start from. Without it they are uniform, or with
        a drawn start and `learn_weights` the shares of the rows.
    tol : float, default=1e-10
        The fit stops when the mean log-likelihood (nats a row) changes by
        no more than this.
    max_iter : int, default=1000
        The largest number of EM maps; with 0 the fit is the start.
    n_init : int, default=1
        Number of drawn starts; the highest likelihood wins.
    accelerate : {None, "squarem"}, default=None
        Whether to leap ahead between turns (`eq-speed-squarem`).
    random_state : int, RandomState instance or None, default=None
        Source of the drawn starts and of `sample`.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit, where that had as many
        components.

    Attributes
    ----------
    weights_ : array of shape (k,)
        Mixing weights; they sum to 1.
    means_ : array of shape (k,)
        Each coin's chance of heads.
    history_ : list of float
        Mean log-likelihood, nats a row: of the start, then of each turn (of
        each accepted cycle with "squarem"). Each entry belongs to that
        turn's parameters. They rise, but for rounding.
    lower_bound_ : float
        The last entry of `history_`; equals `score(X)`.
    n_iter_ : int
        Number of EM maps.
    converged_ : bool
        Whether the last change was no more than `tol`.
    tosses_ : array of shape (m, 2)
        Numbers of tosses a row, and how many rows had each: what `sample`
        draws from. Of 65,536 rows picked by chance, where more differ.
    n_features_in_ : int
        Always 2: heads and tails.
    feature_names_in_ : array of shape (2,)
        Names of the columns, where `X` had names.

    Examples
    --------
    >>> from emlib import CoinMixture
    >>> X = [[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]]
    >>> coin = CoinMixture(learn_weights=False, means_init=[0.6, 0.5])
    >>> coin.fit(X).means_.round(4)
    array([0.7968, 0.5196])
    >>> coin.predict(X)
    array([1, 0, 0, 1, 0])

    References
    ----------
    Do and Batzoglou (2008), What is the expectation maximization
    algorithm?
    """

    weights_: PerComponent
    means_: PerComponent
    history_: list[float]
    lower_bound_: float
    n_iter_: int
    converged_: bool
    tosses_: Table

    _rules = {  # noqa: RUF012 (a table)
        "n_components": whole_number(1),
        "max_iter": whole_number(0),
        "n_init": whole_number(1),
        "tol": size(),
        "accelerate": SQUAREM,
    }
    _format = "emlib CoinMixture 1"
    _fitted = "means_"

    def __init__(
        self,
        n_components: Any = 2,
        *,
        learn_weights: Any = True,
        means_init: Any = None,
        weights_init: Any = None,
        tol: Any = 1e-10,
        max_iter: Any = 1000,
        n_init: Any = 1,
        accelerate: Any = None,
        random_state: Any = None,
        warm_start: Any = False,
    ) -> None:
        self.n_components = n_components
        self.learn_weights = learn_weights
        self.means_init = means_init
        self.weights_init = weights_init
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.accelerate = accelerate
        self.random_state = random_state
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def sample(
        self, n_samples: int = 1, tosses: Any = None
    ) -> tuple[Counts, PerPoint]:
        """Return rows drawn from the fitted mixture, and their labels.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        tosses : int or array-like of shape (n_samples,), optional
            Tosses a row; without it drawn from those seen in `fit`.

        Returns
        -------
        X : array of shape (n_samples, 2)
            Counts of heads and of tails.
        labels : array of shape (n_samples,)
            Which coin was tossed.
        """
        self._check_sample_size(n_samples)
        rng = self._rng()
        if tosses is None:
            seen, times = self.tosses_.T  # (m,)
            tosses = rng.choice(seen, n_samples, p=times / times.sum())
        tosses = _check_tosses(tosses, n_samples)  # (n,)
        return self._model().sample(self._params(), n_samples, rng, tosses)

    # --- the fit

    def _check_rows(self, X: Any, reset: bool) -> Any:
        """Return X as an array of counts, (n, 2), or raise."""
        if np.ndim(X) == 1:
            raise ValueError(
                "X must hold heads and tails, shape (n, 2). Expected 2D "
                f"array, got 1D array instead, of shape {np.shape(X)}. "
                "Reshape your data: np.stack([heads, tails], axis=1)."
            )
        X = validate_data(
            self, X, reset=reset, dtype="numeric", ensure_all_finite=False
        )
        if X.shape[1] != 2:
            raise ValueError(
                "X must have 2 columns, heads and tails; received "
                f"{X.shape[1]} feature(s), shape {X.shape}. Use "
                "np.stack([heads, tosses - heads], axis=1)."
            )
        _check_counts(X)
        return X

    def _counted(self, given: Rows) -> Rows:
        """Return the different rows, or all where too many differ."""
        rows = given.present()
        check_enough("n_components", int(self.n_components), len(rows))
        return distinct_rows(rows)

    def _blocks(self, rows: Rows) -> list[Block]:
        """Return the blocks of a turn: so long that threads seldom meet."""
        numbers = int(self.n_components) + 5  # of a row, in a turn
        return rows.blocks(max(budget.COIN_BYTES // (8 * numbers), 64))

    def _task(
        self, given: Rows, rows: Rows, blocks: list[Block]
    ) -> _CoinTask:
        """Return what the fit runs; it need not count the orders."""
        return _CoinTask(rows, blocks, self._model(), rows.total(), given)

    def _model(self, count_orders: bool = False) -> coins.Model:
        return _Keeping(bool(self.learn_weights), count_orders)

    def _given(self, name: str) -> PerComponent | None:
        """Return `means_init` or `weights_init` as an array, or raise."""
        received, k = getattr(self, name), self.n_components
        if received is None:
            return None
        values = np.array(received, dtype=np.float64)  # (k,)
        rule, kept = "from 0 to 1", _are_chances(values, (k,))
        if name == "weights_init":
            rule += " that sum to 1"
            kept = kept and abs(values.sum() - 1) < 1e-8
        require(kept, name, f"{k} numbers {rule}", received)
        return values

    def _starts(self, task: _CoinTask) -> Iterator[coins.Params]:
        """Yield the parameters of each start."""
        for start in self._all_starts(task.rows):
            _warn_of_twins(start.means)
            _check_allowed(task.given, start)
            yield start

    def _all_starts(self, rows: Rows) -> Iterable[coins.Params]:
        """Return the parameters of each start, whatever they are."""
        k, means = int(self.n_components), self._given("means_init")
        weights, uniform = self._given("weights_init"), np.full(k, 1 / k)
        if self.warm_start and len(getattr(self, "means_", ())) == k:
            return [self._params()]
        if means is not None:
            return [
                coins.Params(uniform if weights is None else weights, means)
            ]
        if weights is None and not self.learn_weights:
            weights = uniform
        state = check_random_state(self.random_state)
        seeds = state.randint(2**31 - 1, size=self.n_init)
        rngs = map(np.random.default_rng, seeds)
        return (_drawn(rows, k, weights, rng) for rng in rngs)

    def _stops(self, records: list[TurnRecord], task: _CoinTask) -> bool:
        """Say whether `tol` ends the climb here."""
        return is_at_rest(records, float(self.tol) * task.size)

    def _store(self, climb: Climb, task: _CoinTask) -> None:
        """Set the fitted attributes."""
        orders, rows = _orders(task.rows), task.rows
        self.weights_, self.means_ = climb.step.params
        self.history_ = [
            (record.bound + orders) / task.size for record in climb.records
        ]
        self.lower_bound_ = self.history_[-1]
        self.n_iter_ = climb.step.turn
        self.converged_ = climb.converged
        some = rows.some(budget.SAMPLE_ROWS, np.random.default_rng(0))
        seen, which = np.unique(_tosses(some.x), return_inverse=True)
        times = np.bincount(which, some.times())  # (m,)
        self.tosses_ = np.stack([seen, times], axis=1)

    def _warn(self, climb: Climb, task: _CoinTask) -> None:
        """Warn of components that no row belongs to."""
        counts = climb.step.posterior.statistics.counts  # (k,)
        for component in np.flatnonzero(counts == 0).tolist():
            warn(
                f"component {component} is responsible for no row and "
                "keeps its chance of heads. Start it nearer the data, or "
                "use fewer components."
            )

    # --- a fitted mixture

    def _record(self) -> dict[str, Any]:
        return {
            "weights": self.weights_.tolist(),
            "means": self.means_.tolist(),
            "tosses": self.tosses_.tolist(),
        }

    def _set_record(self, record: Any) -> int:
        self.weights_, self.means_, self.tosses_ = (
            np.array(record[name], dtype=np.float64)
            for name in ("weights", "means", "tosses")
        )
        k = (len(self.means_),)
        kept = _are_chances(self.weights_, k) and _are_chances(
            self.means_, k
        )
        if not (kept and self.tosses_.shape[1:] == (2,)):
            raise ValueError("its numbers are no coins")
        self.lower_bound_ = self.history_[-1]
        return 2

    def _params(self) -> coins.Params:
        return coins.Params(self.weights_, self.means_)

    def _n_parameters(self) -> int:
        k = len(self.means_)
        return 2 * k - 1 if self.learn_weights else k

    def _posteriors(self, rows: Rows) -> Iterator[tuple[Posterior, Any]]:
        model, params = self._model(count_orders=True), self._params()
        _check_allowed(rows, params)
        for x, times in rows.present().blocks(budget.BLOCK_ROWS):
            yield model.e_step(x, params), times


class _Keeping(one_pass.Model):
    """Coins of which one without credit keeps its chance of heads.

    No chance of heads is better than another for it, and its weight, where
    weights are learned, is 0 from then on.
    """

    def maximise(
        self, statistics: coins.Statistics, previous: Any = None
    ) -> coins.Params:
        """Return the parameters at which the expected log joint peaks."""
        idle = statistics.heads + statistics.tails == 0  # (k,)
        if not idle.any():
            return super().maximise(statistics, previous)
        none = np.zeros(len(idle))
        toss = coins.Statistics(none, none + idle, none)
        found = super().maximise(statistics + toss, previous)
        means = np.where(idle, previous.means, found.means)  # (k,)
        return found._replace(means=means)


# --- what is checked at the edge


def _are_chances(values: Any, shape: tuple[int]) -> bool:
    """Say whether these are numbers from 0 to 1, so many."""
    inside = (values >= 0) & (values <= 1)
    return values.shape == shape and bool(inside.all())


def _check_tosses(tosses: Any, n: int) -> PerPoint:
    """Return the tosses of each of n rows, or raise."""
    values = np.asarray(tosses)
    kept = (
        values.shape in ((), (n,))
        and np.issubdtype(values.dtype, np.number)
        and (np.isfinite(values) & (values >= 1)).all()
        and (values == np.floor(values)).all()
    )
    rule = f"a whole number, at least 1, or one for each of the {n} rows"
    require(kept, "tosses", rule, tosses)
    return np.broadcast_to(values, n).astype(np.int64)  # (n,)


RULES: tuple[tuple[Callable[[Any], Any], str, str], ...] = (
    (np.isnan, "be free of NaN", "Drop the row or fill in the count."),
    (np.isinf, "be finite", "Drop the row or fill in the count."),
    (
        lambda x: x < 0,
        "hold counts, from 0 up (Negative values in data)",
        "Column 0 counts heads, column 1 tails.",
    ),
    (
        lambda x: x != np.floor(x),
        "hold whole numbers",
        "Multiply rates by the number of tosses.",
    ),
    (
        lambda x: x.sum(axis=1, keepdims=True) == 0,
        "have a toss in every row",
        "Drop the row: it says nothing about the coins.",
    ),
)


def _check_counts(X: Any) -> None:
    """Raise unless every row holds counts with at least one toss."""
    for begin in range(0, len(X), budget.BLOCK_ROWS):
        rows = X[begin : begin + budget.BLOCK_ROWS]
        for broken, rule, remedy in RULES:
            wrong = broken(rows).any(axis=1)
            reject_row(rows, wrong, begin, f"X must {rule}", remedy)


def _check_allowed(given: Rows, params: coins.Params) -> None:
    """Raise for the first row that counts and that no coin allows."""
    means = params.means[params.weights > 0]
    if ((means > 0) & (means < 1)).any():
        return
    rule = (
        "every row must be possible under some coin, and their chances of "
        f"heads are {means.tolist()}"
    )
    remedy = "Take chances between 0 and 1, or drop the row."
    for cut in even_slices(len(given), budget.BLOCK_ROWS, len(given)):
        rows = given.x[cut]
        barred = (rows[:, :1] > 0) & (means == 0)  # (n, k)
        barred |= (rows[:, 1:] > 0) & (means == 1)  # (n, k)
        wrong = barred.all(axis=1)  # (n,)
        if given.multiplicity is not None:
            wrong &= given.multiplicity[cut] > 0
        reject_row(rows, wrong, cut.start, rule, remedy)


# --- the rows


def distinct_rows(rows: Rows) -> Rows:
    """Return the different rows, or all where too many differ.

    A row is told by one number, heads * base + tails.
    """
    base = int(rows.x.max()) + 1
    if base > 2**31:
        return rows
    kinds: PerPoint = np.empty(0, np.int64)
    times: PerPoint = np.empty(0)
    for x, part in rows.blocks(budget.MAX_DISTINCT_ROWS):
        heads, tails = x.T.astype(np.int64)  # (n,)
        part = np.ones(len(x)) if part is None else part  # (n,)
        kinds, which = np.unique(
            np.concatenate([kinds, heads * base + tails]),
            return_inverse=True,
        )
        times = np.bincount(which, np.append(times, part))
        if len(kinds) > budget.MAX_DISTINCT_ROWS:
            return rows
    x = np.stack(np.divmod(kinds, base), axis=1)  # (n, 2)
    return Rows(x.astype(np.float64), times)


def _tosses(x: Counts) -> PerPoint:
    """Return each row's number of tosses, (n,)."""
    tosses: PerPoint = x.sum(axis=1, dtype=np.float64)
    return tosses


def _shares(x: Counts) -> Table:
    """Return each row's share of heads, (n, 1)."""
    shares: Table = x[:, :1] / _tosses(x)[:, None]
    return shares


def _orders(rows: Rows) -> float:
    """Return the log number of orders, summed over the rows."""
    total = 0.0
    for x, times in rows.blocks(budget.BLOCK_ROWS):
        logs = coins.log_choose(x)  # (n,)
        total += float(logs.sum() if times is None else times @ logs)
    return total


def _drawn(
    rows: Rows, k: int, weights: Any, rng: np.random.Generator
) -> coins.Params:
    """Return a start: seeds far apart, and each row to its nearest.

    Half a head and half a tail more keep every chance off 0 and 1, which
    it could never leave. Equal seeds make equal coins, which share.
    """
    some = rows.some(budget.SAMPLE_ROWS, rng)
    times = some.times() * _tosses(some.x)  # (n,)
    seeds = starts.seeds(_shares(some.x), k, rng, times)  # (k, 1)
    seeds, copies = np.unique(seeds, axis=0, return_counts=True)
    half = np.full(len(seeds), 0.5)
    total = coins.Statistics(0 * half, half, half)
    for block, part in rows.blocks(budget.BLOCK_ROWS):
        resp = starts.spread(_shares(block), seeds)  # (n, k)
        total += coins.Model().summarise(block, Labels(resp), part)
    found = coins.Model().maximise(total)
    if weights is None:
        weights = np.repeat(found.weights / copies, copies)  # (k,)
    return coins.Params(weights, np.repeat(found.means, copies))


# --- what is worth a warning


def _warn_of_twins(means: PerComponent) -> None:
    """Warn of components that start equal."""
    values, times = np.unique(means, return_counts=True)
    for value in values[times > 1]:
        warn(
            f"components {np.flatnonzero(means == value).tolist()} start "
            f"with the same chance of heads, {value:g}, and can never "
            "part: equal coins explain every row alike, so each M-step "
            "moves them alike. Start them apart, or use fewer components."
        )
