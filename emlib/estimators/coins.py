"""CoinMixture: scikit-learn's interface over the coins.

Input is checked here, once; what is inside takes it as it comes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from emlib import starts
from emlib.bound import Posterior, entropy
from emlib.estimators.checks import (
    check,
    check_enough,
    check_options,
    check_weights,
    refuse,
    warn,
    warn_of_more,
    whole,
)
from emlib.estimators.records import plain, read, write
from emlib.loop import Labels, Step, em, next_turn
from emlib.models import coins
from emlib.one_pass import coins as one_pass
from emlib.scale import InBlocks, blocks, threads
from emlib.shapes import Counts, PerComponent, PerPoint, Table
from emlib.speed import cycle

__all__ = ["CoinMixture"]

KINDS = 65_536  # equal rows are counted once up to so many different ones
ROWS = 16_384  # rows a block
HELD = 2**19  # numbers of a block that a thread holds during a turn
FORMAT = "emlib CoinMixture 1"


class _Rows(NamedTuple):
    """Rows of counts, and how often each counts; None for once."""

    x: Counts
    multiplicity: PerPoint | None


class _Run(NamedTuple):
    """One climb: its last step, the bound of each turn, in nats."""

    step: Step
    bounds: list[float]
    converged: bool


class _Totals(NamedTuple):
    """Sums over the rows, each as often as it counts; nats."""

    rows: float
    log_evidence: float
    entropy: float


class CoinMixture(DensityMixin, BaseEstimator):
    r"""A mixture of binomials, for rows tossed with unknown coins.

    .. math:: p(h_n) = \sum_k \pi_k \binom{h_n + t_n}{h_n}
        \theta_k^{h_n} (1 - \theta_k)^{t_n}

    (`eq-coins-evidence`), fitted by EM. Equal rows are counted once as long
    as at most 65,536 differ. If more do, they are read in place, block by
    block, and memory does not grow with their number.

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
    n_features_in_: int

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
        # Kept as they come: `fit` checks them, by scikit-learn's rules.
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

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> CoinMixture:
        """Fit the coins to rows of tosses, and return the estimator.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        CoinMixture
            Itself, with the fitted attributes set.

        Raises
        ------
        ValueError
            If X or an option breaks a rule; the message names it.
        """
        check_options(self)
        X = self._counts(X, reset=True)
        weights = check_weights(sample_weight, len(X))
        rows = _present(X, weights)
        check_enough(int(self.n_components), len(rows.x))
        rows, runs = _counted_once(rows), []
        for start in self._starts(rows):
            _warn_of_twins(start.means)
            _check_allowed(X, weights, start)
            runs.append(self._climb(rows, start))
        best = max(runs, key=lambda run: run.bounds[-1])
        self._remember(best, rows)
        _warn_of_idle(best.step.posterior.statistics.counts)
        if self.max_iter > 0 and not self.converged_:
            warn_of_more(self.history_, self.n_iter_, self.tol)
        return self

    def predict(self, X: Any) -> PerPoint:
        """Return the likeliest coin of each row.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.

        Returns
        -------
        array of shape (n,)
            Indices from 0; ties go to the lowest.
        """
        likeliest: PerPoint = self._ask(X, lambda p: p.resp.argmax(axis=1))
        return likeliest

    def predict_proba(self, X: Any) -> Table:
        """Return each coin's responsibility for each row.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.

        Returns
        -------
        array of shape (n, k)
            Each row sums to 1.
        """
        resp: Table = self._ask(X, lambda p: p.resp)
        return resp

    def score_samples(self, X: Any) -> PerPoint:
        """Return the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.

        Returns
        -------
        array of shape (n,)
            With binomial coefficients.
        """
        log_evidence: PerPoint = self._ask(X, lambda p: p.log_evidence)
        return log_evidence

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean log-likelihood, nats a row.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            With binomial coefficients.
        """
        totals = self._totals(X, sample_weight)
        return totals.log_evidence / totals.rows

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts; n is their sum.

        Returns
        -------
        float
            -2 log-likelihood + (free parameters) log n, in nats.
        """
        totals = self._totals(X, sample_weight)
        price = float(np.log(totals.rows))
        return price * self._free() - 2 * totals.log_evidence

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Akaike information criterion; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            -2 log-likelihood + 2 (free parameters), in nats.
        """
        totals = self._totals(X, sample_weight)
        return 2 * self._free() - 2 * totals.log_evidence

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood; lower is better.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Counts of heads and of tails.
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        float
            `bic` + 2 (entropy of the responsibilities), in nats.
        """
        undecided = self._totals(X, sample_weight).entropy
        return self.bic(X, sample_weight) + 2 * undecided

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
        check_is_fitted(self, "means_")
        rule = "a whole number, at least 1"
        check(whole(n_samples, 1), "n_samples", rule, n_samples)
        state = check_random_state(self.random_state)
        rng = np.random.default_rng(state.randint(2**31 - 1))
        if tosses is None:
            seen, times = self.tosses_.T  # (m,)
            tosses = rng.choice(seen, n_samples, p=times / times.sum())
        tosses = _check_tosses(tosses, n_samples)  # (n,)
        return self._model().sample(self._params(), n_samples, rng, tosses)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted mixture to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Where to; an existing file is replaced.
        """
        check_is_fitted(self, "means_")
        options = self.get_params()
        names = getattr(self, "feature_names_in_", None)
        record = {
            "format": FORMAT,
            "options": {name: plain(options[name]) for name in options},
            "weights": self.weights_.tolist(),
            "means": self.means_.tolist(),
            "history": self.history_,
            "n_iter": self.n_iter_,
            "converged": self.converged_,
            "tosses": self.tosses_.tolist(),
            "names": plain(names),
        }
        write(Path(path), json.dumps(record))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CoinMixture:
        """Return the mixture that `save` wrote; nothing is executed.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        CoinMixture
            Fitted, and equal to the saved one to the last bit.

        Raises
        ------
        ValueError
            If the file is not one that `save` wrote.
        """
        found: CoinMixture = read(cls, path, FORMAT)
        return found

    # --- the fit

    def _counts(self, X: Any, reset: bool) -> Any:
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
        check(kept, name, f"{k} numbers {rule}", received)
        return values

    def _model(self, count_orders: bool = False) -> coins.Model:
        """Return the model; a fit need not count the orders each turn."""
        return _Keeping(bool(self.learn_weights), count_orders)

    def _starts(self, rows: _Rows) -> Iterable[coins.Params]:
        """Return the parameters of each start."""
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

    def _climb(self, rows: _Rows, start: coins.Params) -> _Run:
        """Return what EM makes of a start."""
        some, parts = self.tol * _size(rows), _parts(rows, len(start.means))
        with threads(len(parts)) as mapper:
            step = next(em(InBlocks(self._model(), mapper), parts, start))
            bounds, converged = [step.bound], False
            while step.turn < self.max_iter and not converged:
                leap = self.accelerate and self.max_iter - step.turn >= 3
                step = cycle(step) if leap else next_turn(step)
                bounds.append(step.bound)
                converged = bool(abs(bounds[-1] - bounds[-2]) <= some)
        return _Run(step, bounds, converged)

    def _remember(self, run: _Run, rows: _Rows) -> None:
        """Set the fitted attributes."""
        size, orders = _size(rows), _orders(rows)
        self.weights_, self.means_ = run.step.params
        self.history_ = [(bound + orders) / size for bound in run.bounds]
        self.lower_bound_ = self.history_[-1]
        self.n_iter_ = run.step.turn
        self.converged_ = run.converged
        x, times = _some(rows, np.random.default_rng(0))
        seen, which = np.unique(_tosses(x), return_inverse=True)
        self.tosses_ = np.stack([seen, np.bincount(which, times)], axis=1)

    def _recall(self, record: Any) -> CoinMixture:
        """Set the fitted attributes from a file, or raise."""
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
        self.history_ = [float(value) for value in record["history"]]
        self.lower_bound_ = self.history_[-1]
        self.n_iter_ = int(record["n_iter"])
        self.converged_ = bool(record["converged"])
        self.n_features_in_ = 2
        if record["names"] is not None:
            self.feature_names_in_ = np.array(record["names"], dtype=object)
        return self

    # --- what a fitted mixture says

    def _params(self) -> coins.Params:
        return coins.Params(self.weights_, self.means_)

    def _free(self) -> int:
        """Return the number of free parameters."""
        k = len(self.means_)
        return 2 * k - 1 if self.learn_weights else k

    def _posteriors(
        self, X: Any, sample_weight: Any = None
    ) -> Iterator[tuple[Posterior, PerPoint | None]]:
        """Yield the posterior of each block, and how often rows count."""
        check_is_fitted(self, "means_")
        X = self._counts(X, reset=False)
        weights = check_weights(sample_weight, len(X))
        model, params = self._model(count_orders=True), self._params()
        _check_allowed(X, weights, params)
        for x, multiplicity in blocks(*_present(X, weights), ROWS):
            yield model.e_step(x, params), multiplicity

    def _ask(self, X: Any, question: Callable[[Posterior], Any]) -> Any:
        """Return what is asked of every row's posterior."""
        return np.concatenate(
            [question(said) for said, _ in self._posteriors(X)]
        )

    def _totals(self, X: Any, sample_weight: Any) -> _Totals:
        """Return rows, log evidence and entropy, summed over the rows."""
        total = np.zeros(3)
        for said, times in self._posteriors(X, sample_weight):
            evidence = said.log_evidence  # (n,)
            each = [np.ones_like(evidence), evidence, entropy(said.resp)]
            weights = each[0] if times is None else times  # (n,)
            total += np.stack(each) @ weights  # (3,)
        return _Totals(*total.tolist())


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
    check(kept, "tosses", rule, tosses)
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
    for begin in range(0, len(X), ROWS):
        rows = X[begin : begin + ROWS]
        for broken, rule, remedy in RULES:
            wrong = broken(rows).any(axis=1)
            refuse(rows, wrong, begin, f"X must {rule}", remedy)


def _check_allowed(
    X: Any, weights: PerPoint | None, params: coins.Params
) -> None:
    """Raise for the first row that counts and that no coin allows."""
    means = params.means[params.weights > 0]
    if ((means > 0) & (means < 1)).any():
        return
    rule = (
        "every row must be possible under some coin, and their chances of "
        f"heads are {means.tolist()}"
    )
    remedy = "Take chances between 0 and 1, or drop the row."
    for begin in range(0, len(X), ROWS):
        rows = X[begin : begin + ROWS]
        barred = (rows[:, :1] > 0) & (means == 0)  # (n, k)
        barred |= (rows[:, 1:] > 0) & (means == 1)  # (n, k)
        wrong = barred.all(axis=1)  # (n,)
        if weights is not None:
            wrong &= weights[begin : begin + ROWS] > 0
        refuse(rows, wrong, begin, rule, remedy)


# --- the rows


def _present(X: Any, weights: PerPoint | None) -> _Rows:
    """Return the rows that count at all; the others are absent."""
    if weights is None or weights.all():
        return _Rows(X, weights)
    return _Rows(X[weights > 0], weights[weights > 0])


def _counted_once(rows: _Rows) -> _Rows:
    """Return the different rows, or all where too many differ.

    A row is told by one number, heads * base + tails.
    """
    base = int(rows.x.max()) + 1
    if base > 2**31:
        return rows
    kinds: PerPoint = np.empty(0, np.int64)
    times: PerPoint = np.empty(0)
    for x, part in blocks(*rows, KINDS):
        heads, tails = x.T.astype(np.int64)  # (n,)
        part = np.ones(len(x)) if part is None else part  # (n,)
        kinds, which = np.unique(
            np.concatenate([kinds, heads * base + tails]),
            return_inverse=True,
        )
        times = np.bincount(which, np.append(times, part))
        if len(kinds) > KINDS:
            return rows
    x = np.stack(np.divmod(kinds, base), axis=1)  # (n, 2)
    return _Rows(x.astype(np.float64), times)


def _some(rows: _Rows, rng: np.random.Generator) -> tuple[Counts, PerPoint]:
    """Return all rows if they are few; if not, some picked by chance."""
    x, times = rows
    if len(x) > KINDS:
        picked = rng.integers(len(x), size=KINDS)
        x, times = x[picked], None if times is None else times[picked]
    return x, np.ones(len(x)) if times is None else times


def _tosses(x: Counts) -> PerPoint:
    """Return each row's number of tosses, (n,)."""
    tosses: PerPoint = x.sum(axis=1, dtype=np.float64)
    return tosses


def _shares(x: Counts) -> Table:
    """Return each row's share of heads, (n, 1)."""
    shares: Table = x[:, :1] / _tosses(x)[:, None]
    return shares


def _parts(rows: _Rows, k: int) -> list[Any]:
    """Return the blocks of a turn: so long that threads seldom meet."""
    return blocks(*rows, max(HELD // (k + 5), 64))


def _size(rows: _Rows) -> float:
    """Return how many rows there are, each as often as it counts."""
    times = rows.multiplicity
    return float(len(rows.x) if times is None else times.sum())


def _orders(rows: _Rows) -> float:
    """Return the log number of orders, summed over the rows."""
    total = 0.0
    for x, times in blocks(*rows, ROWS):
        logs = coins.log_choose(x)  # (n,)
        total += float(logs.sum() if times is None else times @ logs)
    return total


def _drawn(
    rows: _Rows, k: int, weights: Any, rng: np.random.Generator
) -> coins.Params:
    """Return a start: seeds far apart, and each row to its nearest.

    Half a head and half a tail more keep every chance off 0 and 1, which
    it could never leave. Equal seeds make equal coins, which share.
    """
    x, times = _some(rows, rng)
    seeds = starts.seeds(_shares(x), k, rng, times * _tosses(x))  # (k, 1)
    seeds, copies = np.unique(seeds, axis=0, return_counts=True)
    half = np.full(len(seeds), 0.5)
    total = coins.Statistics(0 * half, half, half)
    for block, part in blocks(*rows, ROWS):
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


def _warn_of_idle(counts: PerComponent) -> None:
    """Warn of components that no row belongs to."""
    for component in np.flatnonzero(counts == 0).tolist():
        warn(
            f"component {component} is responsible for no row and keeps "
            "its chance of heads. Start it nearer the data, or use fewer "
            "components."
        )
