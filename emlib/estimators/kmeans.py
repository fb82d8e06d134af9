"""KMeans: scikit-learn's interface over k-means.

Input is checked here, once; what is inside takes it as it comes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from emlib import starts
from emlib.estimators.bounded_rows import BoundedRows
from emlib.estimators.checks import (
    Rule,
    check_enough,
    check_options,
    check_weights,
    is_whole,
    reject_row,
    restore_on_failure,
    size,
    warn,
    whole_number,
)
from emlib.estimators.empty_clusters import RefillingRows
from emlib.estimators.kmeans_checks import (
    FAR,
    check_centres,
    check_finite,
    check_near,
    check_spread,
)
from emlib.estimators.mixture import Estimator
from emlib.estimators.seeding import far_rows, random_rows
from emlib.estimators.spread import Spread, quiet, spread_of
from emlib.loop import Step, em, next_turn
from emlib.models import kmeans
from emlib.one_pass import kmeans as one_pass
from emlib.scale import (
    Rows,
    budget,
    even_slices,
    one_blas_thread,
    thread_map,
)
from emlib.shapes import Centres, PerPoint, Points, Table

__all__ = ["KMeans"]

STARTS = ("k-means++", "random")
Mapper = Callable[..., Iterable[Any]]


class _Descent(NamedTuple):
    """One descent: its last step; the inertia before each turn."""

    step: Step
    inertias: list[float]
    converged: bool


class KMeans(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    Estimator,
):
    r"""k-means: every row takes the side of its nearest centre.

    .. math:: \sum_n \min_k |x_n - \mu_k|^2

    (`eq-kmeans-objective`) is made small by turns of two steps. Takes the
    place of `sklearn.cluster.KMeans`: arguments have its names, defaults
    and meanings, and from an equal start or `random_state` the answers are
    equal, but for rounding. Rows are read in place, block by block; beyond
    them and `labels_` memory does not grow with their number.

    Where it differs: a row between two centres takes the lower index; an
    empty cluster takes the worst-explained row that counts, and keeps its
    centre where no row is badly explained; a weight of 0 is the same as an
    absent row, for `tol`, too; an `init` that is called gets `X` as it is.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, k.
    init : str, array-like or callable, default="k-means++"
        The centres to start from: "k-means++", some rows drawn far from
        each other; "random", some rows drawn by chance alone; centres of
        shape (k, d); or what gives them when called as
        `init(X, n_clusters, random_state=...)`.
    n_init : int or "auto", default="auto"
        Number of starts, of which the lowest inertia wins. "auto": 10
        where `init` is "random" or callable, else 1.
    max_iter : int, default=300
        The largest number of turns; with 0 the fit is the start.
    tol : float, default=1e-4
        The fit stops when all centres together move by no more than this
        in a turn: squared, and in units of the columns' mean variance.
        With 0 it stops when no row changes sides.
    random_state : int, RandomState instance or None, default=None
        Source of the drawn starts.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d)
        The centres, in the precision of `X`.
    labels_ : array of shape (n,)
        Which centre is the nearest of each row; equals `predict(X)`.
    inertia_ : float
        Squared distances to the nearest centre, summed over the rows;
        equals `-score(X)`.
    n_iter_ : int
        Number of turns.
    converged_ : bool
        Whether the last turn moved the centres by no more than `tol` says.
    history_ : list of float
        Inertia of the start, then of each turn. Each entry belongs to that
        turn's centres. They fall, but for rounding.
    n_features_in_ : int
        Number of columns, d.
    feature_names_in_ : array of shape (d,)
        Names of the columns, where `X` had names.

    Examples
    --------
    >>> from emlib import KMeans
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> found = KMeans(2, random_state=0).fit(X)
    >>> found.labels_
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> found.cluster_centers_
    array([[10.,  2.],
           [ 1.,  2.]])

    References
    ----------
    Lloyd (1982), Least squares quantization in PCM; Arthur and
    Vassilvitskii (2007), k-means++: the advantages of careful seeding.
    """

    cluster_centers_: Centres
    labels_: PerPoint
    inertia_: float

    _rules = {  # noqa: RUF012 (a table)
        "n_clusters": whole_number(1),
        "max_iter": whole_number(0),
        "tol": size(),
        "n_init": Rule(
            lambda n: n == "auto" if isinstance(n, str) else is_whole(n, 1),
            'a whole number, at least 1, or "auto"',
        ),
        "init": Rule(
            lambda how: not isinstance(how, str) or how in STARTS,
            '"k-means++", "random", centres or callable',
        ),
    }
    _format = "emlib KMeans 1"
    _fitted = "cluster_centers_"

    def __init__(
        self,
        n_clusters: Any = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: Any = 300,
        tol: Any = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @restore_on_failure
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> KMeans:
        """Find the clusters of some rows, and return the estimator.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        KMeans
            Itself, with the fitted attributes set.

        Raises
        ------
        ValueError
            If X or an option breaks a rule; the message names it.
        """
        check_options(self, self._rules)
        _warn_of_starts(self.init, self.n_init)
        X = self._check_rows(X, reset=True)
        rows = Rows(X, check_weights(sample_weight, len(X)))
        there = rows.counted()  # (n,)
        n = len(rows) if there is None else int(np.count_nonzero(there))
        check_enough("n_clusters", int(self.n_clusters), n)
        labels = np.empty(len(X), dtype=np.int32)  # (n,)
        with thread_map(len(_parts(rows))) as mapper:
            spread = spread_of(rows, mapper)
            check_spread(spread, rows)
            unit = math.sqrt(spread.scatter / spread.size) or 1.0
            cuts = _cuts(len(X))
            sides = BoundedRows(rows, labels, spread.origin(), unit, cuts)
            runs = [
                self._descend(sides, start, spread, mapper)
                for start in self._starts(rows, spread, labels, mapper)
            ]
            if len(runs) > 1:
                sides.restart()
            self._store(_best(runs, rows, mapper), sides, mapper)
        self._warn()
        return self

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> PerPoint:
        """Find the clusters of some rows, and return each row's.

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
            `labels_`.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> Table:
        """Find the clusters of some rows, and return `transform(X)`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            How many times each row counts.

        Returns
        -------
        array of shape (n, k)
            Distances.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: Any) -> PerPoint:
        """Return the nearest centre of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.

        Returns
        -------
        array of shape (n,)
            Indices from 0; ties go to the lowest.
        """
        rows = self._asked(X)
        labels = np.empty(len(rows.x), dtype=np.int32)  # (n,)
        with thread_map(len(_parts(rows))) as mapper:
            _label(rows, self._params(), labels, mapper)
        return labels

    @one_blas_thread()
    def transform(self, X: Any) -> Table:
        """Return the distance of each row to each centre.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Points.

        Returns
        -------
        array of shape (n, k)
            In the unit and the precision of `X`.
        """
        x = self._asked(X).x  # (n, d)
        shape = len(x), len(self.cluster_centers_)
        apart = np.empty(shape, dtype=x.dtype)  # (n, k)
        rows = max(_numbers() // sum(self.cluster_centers_.shape), 1)
        for cut in even_slices(len(x), rows, len(x)):
            squares = starts.squared_distances(
                x[cut], self.cluster_centers_
            )  # (n, k)
            far = ~np.isfinite(squares).all(axis=1)  # (n,)
            reject_row(x[cut], far, cut.start, *FAR)
            np.sqrt(squares, out=apart[cut], casting="same_kind")
        return apart

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Return minus the inertia of some rows; higher is better.

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
            Minus the squared distances to the nearest centre, summed.
        """
        rows = self._asked(X, sample_weight)
        with thread_map(len(_parts(rows))) as mapper:
            return -_inertia(rows, self._params(), mapper)

    # --- the fit

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _check_rows(self, X: Any, reset: bool) -> Any:
        """Return X as an array of points, (n, d), or raise."""
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
        )
        check_finite(X)
        return X

    def _params(self) -> kmeans.Params:
        return kmeans.Params(self.cluster_centers_.astype(np.float64))

    def _starts(
        self, rows: Rows, spread: Spread, labels: PerPoint, mapper: Mapper
    ) -> Iterator[kmeans.Params]:
        """Yield the centres of each start."""
        k, n_init = int(self.n_clusters), self.n_init
        state = check_random_state(self.random_state)
        drawn = isinstance(self.init, str) or callable(self.init)
        if n_init == "auto":
            n_init = 10 if drawn and self.init != "k-means++" else 1
        for _ in range(n_init if drawn else 1):
            if callable(self.init):
                found = self.init(rows.x, k, random_state=state)
            elif not drawn:
                found = self.init
            elif self.init == "random":
                found = random_rows(rows, k, state)
            else:
                found = far_rows(rows, k, state, spread, labels, mapper)
            yield kmeans.Params(check_centres(found, k, spread))

    def _descend(
        self,
        sides: BoundedRows,
        start: kmeans.Params,
        spread: Spread,
        mapper: Mapper,
    ) -> _Descent:
        """Return what the turns make of a start."""
        mean_variance = spread.scatter / spread.size / len(spread.mean)
        some = float(self.tol) * mean_variance
        sides.restart()
        step = next(em(RefillingRows(kmeans.Model(), mapper), sides, start))
        inertias, converged = [], False
        while step.turn < self.max_iter and not converged:
            inertias.append(max(0.0, -2 * step.bound))
            before, step = step.params.means, next_turn(step)
            shift = ((step.params.means - before) ** 2).sum()
            converged = bool(shift <= some)
        return _Descent(step, inertias, converged)

    def _store(
        self, run: _Descent, sides: BoundedRows, mapper: Mapper
    ) -> None:
        """Set the fitted attributes."""
        means: Centres = run.step.params.means
        self.cluster_centers_ = means.astype(sides.rows.x.dtype)
        params = self._params()
        sides.assign(params, mapper)
        self.labels_ = sides.labels
        self.inertia_ = _inertia(sides.rows, params, mapper, sides.labels)
        self.n_iter_ = run.step.turn
        self.converged_ = run.converged
        self.history_ = [*run.inertias, self.inertia_]

    def _record(self) -> dict[str, Any]:
        """Return what is fitted; no file can hold a function."""
        if callable(self.init):
            raise ValueError(
                "init must be a name or centres to be saved; received "
                f"{self.init!r}. Set init to cluster_centers_ first."
            )
        labels = self.labels_.astype("<i4").tobytes()
        return {
            "dtype": self.cluster_centers_.dtype.name,
            "centres": self.cluster_centers_.tolist(),
            "labels": base64.b64encode(labels).decode(),
        }

    def _set_record(self, record: Any) -> int:
        dtype = {"float64": np.float64, "float32": np.float32}
        self.cluster_centers_ = np.array(
            record["centres"], dtype=dtype[record["dtype"]]
        )
        labels = base64.b64decode(record["labels"], validate=True)
        self.labels_ = np.frombuffer(labels, "<i4").astype(np.int32)
        k, d = self.cluster_centers_.shape
        inside = (self.labels_ >= 0) & (self.labels_ < k)  # (n,)
        if not (np.isfinite(self.cluster_centers_).all() and inside.all()):
            raise ValueError("its numbers are no clusters")
        self.inertia_ = self.history_[-1]
        return int(d)

    def _warn(self) -> None:
        """Warn of what the fit did not reach."""
        k, n = int(self.n_clusters), len(self.labels_)
        found = sum(
            np.bincount(self.labels_[cut], minlength=k) > 0
            for cut in even_slices(n, budget.BLOCK_ROWS, n)
        )
        distinct = np.count_nonzero(found)
        if distinct < k:
            warn(
                f"Number of distinct clusters ({distinct}) found smaller "
                f"than n_clusters ({k}). Possibly due to duplicate points "
                "in X. Use fewer clusters.",
                ConvergenceWarning,
            )
        if self.max_iter > 0 and not self.converged_:
            warn(
                f"the fit stopped after {self.n_iter_} turns, before a "
                "turn moved the centres by no more than "
                f"tol={self.tol:g}. Raise max_iter, or tol.",
                ConvergenceWarning,
            )


# --- what is checked at the edge


def _warn_of_starts(init: Any, n_init: Any) -> None:
    """Warn where equal starts are asked for."""
    given = not isinstance(init, str) and not callable(init)
    if given and n_init != "auto" and n_init > 1:
        warn(
            "n_init must be 1 where init gives the centres, since equal "
            f"starts end alike; received {n_init}. One start is used.",
            RuntimeWarning,
        )


# --- the rows


def _cuts(n: int) -> list[slice]:
    """Return even slices of n rows: the same for any number of cores."""
    return even_slices(n, budget.BLOCK_ROWS)


def _parts(rows: Rows) -> list[Any]:
    """Return the rows in blocks."""
    return rows.even_blocks(budget.BLOCK_ROWS)


def _numbers() -> int:
    """Return how many numbers a thread may hold."""
    return budget.CLUSTER_BYTES // 8


# --- what the centres say of the rows


def _sides(
    x: Points,
    begin: int,
    assign: Callable[[Points], Iterable[one_pass.Assignment]],
) -> Iterator[tuple[slice, one_pass.Assignment]]:
    """Yield the sides of a block's rows, and which rows of all they are."""
    for side in assign(x):
        check_near(side, begin)
        start = begin + side.cut.start
        yield slice(start, start + len(side.rows)), side


def _label(
    rows: Rows, params: kmeans.Params, labels: PerPoint, mapper: Mapper
) -> None:
    """Write the nearest centre of each row."""
    assign = one_pass.Model(numbers=_numbers()).assign(params)

    def one(cut: slice) -> None:
        for place, side in _sides(rows.x[cut], cut.start, assign):
            labels[place] = side.labels

    list(quiet(mapper)(one, _cuts(len(rows.x))))


def _inertia(
    rows: Rows,
    params: kmeans.Params,
    mapper: Mapper,
    labels: PerPoint | None = None,
) -> float:
    """Return the inertia, of rows whose labels may be known."""
    assign = one_pass.Model(numbers=_numbers()).assign(params)
    n, size = len(rows.x), max(_numbers() // sum(params.means.shape), 64)

    def one(cut: slice) -> float:
        total, stop = 0.0, min(cut.stop, n)
        for begin in range(cut.start, stop, size):
            place = slice(begin, min(begin + size, stop))
            if labels is None:
                ((_, side),) = _sides(rows.x[place], begin, assign)
                found = side.labels  # (n,)
            else:
                found = labels[place]  # (n,)
            apart = params.means.take(found, axis=0)  # (n, d)
            np.subtract(rows.x[place], apart, out=apart)
            if rows.multiplicity is None:
                total += float(np.einsum("ij,ij->", apart, apart))
            else:
                squares = np.vecdot(apart, apart)  # (n,)
                total += float(rows.multiplicity[place] @ squares)
        return total

    return math.fsum(quiet(mapper)(one, _cuts(n)))


def _best(runs: list[_Descent], rows: Rows, mapper: Mapper) -> _Descent:
    """Return the run of the lowest inertia; the first of equals."""
    if len(runs) == 1:
        return runs[0]
    ends = [_inertia(rows, run.step.params, mapper) for run in runs]
    # Runs that end alike, but for labels, differ by rounding only.
    least = min(ends) * (1 + 1e-12)
    return next(
        run for run, end in zip(runs, ends, strict=True) if end <= least
    )
