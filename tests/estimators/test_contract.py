"""What every estimator promises, whatever it fits.

Nothing here knows how an estimator keeps its promise: no private name and
no constant of a module is used.
"""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from threadpoolctl import threadpool_limits

from emlib import CoinMixture, GaussianMixture, KMeans

TYPES = ["full", "tied", "diag", "spherical"]
MIXTURE = ("predict", "predict_proba", "score", "score_samples")
CRITERIA = ("bic", "aic", "icl")


def tosses(seed=0, n=60):
    """Return rows of two coins, which differ in their tosses, (n, 2)."""
    rng = np.random.default_rng(seed)
    m = rng.integers(1, 40, size=n)  # (n,)
    heads = rng.binomial(m, rng.choice([0.2, 0.7], size=n))  # (n,)
    return np.stack([heads, m - heads], axis=1)


def cloud(seed=0, n=60, d=2):
    """Return rows of two blobs that overlap, (n, d)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + rng.choice([0, 3], size=(n, 1))


class Case(NamedTuple):
    """An estimator, rows for it, and what it can be asked."""

    kind: Any
    options: dict[str, Any]
    rows: Any
    asks: tuple[str, ...]
    learned: tuple[str, ...]

    def fit(self, dtype=None, **options):
        """Return a fit of 60 rows, whether or not it converges."""
        options = {"random_state": 5, **self.options, **options}
        return quiet(
            self.kind(**options), self.rows().astype(dtype or np.float64)
        )


def quiet(estimator, x, weights=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(x, sample_weight=weights)


LEARNED = ("history_", "n_iter_", "converged_", "n_features_in_")
COVARIANCES = ("covariances_", "precisions_", "precisions_cholesky_")
CASES = {
    "coins": Case(
        CoinMixture,
        {"n_components": 2},
        tosses,
        (*MIXTURE, *CRITERIA),
        ("weights_", "means_", "tosses_", "lower_bound_", *LEARNED),
    ),
    "k-means": Case(
        KMeans,
        {"n_clusters": 3},
        cloud,
        ("predict", "transform", "score"),
        ("cluster_centers_", "labels_", "inertia_", *LEARNED),
    ),
} | {
    kind: Case(
        GaussianMixture,
        {"n_components": 2, "covariance_type": kind},
        cloud,
        (*MIXTURE, *CRITERIA),
        ("weights_", "means_", *COVARIANCES, "lower_bound_", *LEARNED),
    )
    for kind in TYPES
}
EVERY = pytest.mark.parametrize("name", CASES)


def state(estimator):
    """Return everything an estimator holds, as bytes."""
    held = {**vars(estimator), "random_state": None}
    return {name: pickle.dumps(value) for name, value in held.items()}


def equal(case, one, other):
    """Compare what was learned and what is answered, to the last bit."""
    for name in case.learned:
        got, wanted = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(got, wanted, err_msg=name)
        assert type(got) is type(wanted), name
    x = case.rows(9)
    for ask in case.asks:
        got, wanted = getattr(one, ask)(x), getattr(other, ask)(x)
        np.testing.assert_array_equal(got, wanted, err_msg=ask)
        assert np.asarray(got).dtype == np.asarray(wanted).dtype
    if hasattr(one, "sample") and one.random_state is not None:
        for got, wanted in zip(one.sample(9), other.sample(9), strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == wanted.dtype


def learned(estimator):
    """Return the names of what was learned."""
    return [name for name in vars(estimator) if name.endswith("_")]


# --- what is refused


@EVERY
def test_sparse_rows_are_refused_with_a_remedy(name):
    case = CASES[name]
    fitted, x = case.fit(), csr_array(case.rows())
    for ask in (fitted.fit, fitted.predict):
        with pytest.raises(TypeError, match=r"dense.*toarray"):
            ask(x)


@EVERY
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 1], r"one entry a row, shape \(5,\); received shape \(2,\)"),
        (np.ones((5, 1)), "one entry a row"),
        ([1, 1, -1, 1, 1], "at least 0; row 2 is -1.0. Leave rows out"),
        ([1, np.nan, 1, 1, 1], "finite.*row 1 is nan"),
        ([1, 1, 1, np.inf, 1], "finite.*row 3 is inf"),
        ([0, 0, 0, 0, 0], "some row count; received only zeros"),
        ([1, 0, 0, 0, 0], "received n_samples=1"),
    ],
)
def test_bad_weights_are_refused_in_words(name, times, message):
    case = CASES[name]
    x = case.rows()[:5]
    with pytest.raises(ValueError, match=message):
        case.kind(**case.options).fit(x, sample_weight=times)


@EVERY
def test_an_unfitted_estimator_says_so(name, tmp_path):
    case = CASES[name]
    bare = case.kind()
    questions = [
        lambda ask=ask: getattr(bare, ask)(case.rows()) for ask in case.asks
    ]
    questions.append(lambda: bare.save(tmp_path / "it.json"))
    for ask in ("sample", "get_feature_names_out"):
        if hasattr(bare, ask):
            questions.append(getattr(bare, ask))
    for question in questions:
        kind = case.kind.__name__
        with pytest.raises(NotFittedError, match=rf"{kind}.*'fit'"):
            question()
    assert not list(tmp_path.iterdir())


def bad_rows(case):
    """Return rows of another width, one of which is not a number."""
    x = np.ones((9, 2 if case.kind is CoinMixture else 5))
    x[3, 1] = 0.5 if case.kind is CoinMixture else np.nan
    return x


@EVERY
def test_a_fit_that_fails_fits_nothing(name):
    case = CASES[name]
    bare = case.kind(**case.options)
    with pytest.raises(ValueError, match="row 3"):
        bare.fit(bad_rows(case))
    for ask in case.asks:
        with pytest.raises(NotFittedError):
            getattr(bare, ask)(case.rows())


# --- a fit that fails leaves the estimator as it was


@EVERY
def test_bad_rows_leave_a_new_estimator_new(name):
    case = CASES[name]
    bare = case.kind(**case.options)
    with pytest.raises(ValueError, match="row 3"):
        bare.fit(bad_rows(case))
    assert learned(bare) == []


@EVERY
def test_bad_rows_leave_the_last_fit_whole(name):
    case = CASES[name]
    fitted = case.fit()
    before = state(fitted)
    with pytest.raises(ValueError, match="row 3"):
        fitted.fit(bad_rows(case))
    assert state(fitted) == before


@EVERY
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    "option", [{"max_iter": -1}, {"tol": "much"}, {"n_init": 0}]
)
def test_a_bad_option_leaves_all_as_it_was(name, option, fresh):
    case = CASES[name]
    it = case.kind(**case.options) if fresh else case.fit()
    it.set_params(**option)
    before = state(it)
    with pytest.raises(ValueError, match=f"{next(iter(option))} must"):
        it.fit(case.rows(1))
    assert state(it) == before


@EVERY
@pytest.mark.parametrize("fresh", [True, False])
def test_a_warning_made_an_error_leaves_all_as_it_was(name, fresh):
    case = CASES[name]
    it = case.kind(**case.options) if fresh else case.fit()
    it.set_params(max_iter=1, tol=0.0, random_state=0)
    before = state(it)
    with pytest.raises(ConvergenceWarning):
        it.fit(case.rows(1))
    assert state(it) == before


class Stops(np.random.RandomState):
    """A source of randomness during which somebody presses Ctrl-C."""

    def __getattribute__(self, name):
        if name in (
            "choice",
            "random_sample",
            "uniform",
            "rand",
            "randint",
        ):
            raise KeyboardInterrupt
        return super().__getattribute__(name)


def interrupt(case, it):
    """Begin a fit, of a column more where that is allowed, and stop it."""
    it.set_params(random_state=Stops(0))
    before = state(it)
    x = case.rows(1) if case.kind is CoinMixture else cloud(1, d=3)
    with pytest.raises(KeyboardInterrupt):
        it.fit(x)
    assert state(it) == before


@EVERY
def test_an_interrupted_first_fit_leaves_all_as_it_was(name):
    case = CASES[name]
    interrupt(case, case.kind(**case.options))


@EVERY
def test_an_interrupted_fit_leaves_the_last_one_whole(name):
    case = CASES[name]
    interrupt(case, case.fit())


# --- rows, names and weights


@EVERY
def test_lists_give_what_arrays_give(name):
    case = CASES[name]
    options = {**case.options, "random_state": 0}
    wanted = quiet(case.kind(**options), case.rows().astype(np.float64))
    got = quiet(case.kind(**options), case.rows().tolist())
    for each in case.learned:
        np.testing.assert_allclose(
            getattr(got, each), getattr(wanted, each), rtol=1e-12
        )


@EVERY
def test_weights_of_zero_are_rows_left_out(name):
    case = CASES[name]
    x, times = case.rows(), np.arange(60) % 3  # (n, 2), (n,)
    options = {**case.options, "random_state": 0, "max_iter": 5}
    some = quiet(case.kind(**options), x[times > 0], times[times > 0])
    all_of_them = quiet(case.kind(**options), x, times)
    for each in set(case.learned) - {"labels_"}:
        got, wanted = getattr(all_of_them, each), getattr(some, each)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, err_msg=each)
    for ask in ("score", *CRITERIA):
        if ask in case.asks:
            got = getattr(all_of_them, ask)(x, sample_weight=times)
            wanted = getattr(some, ask)(
                x[times > 0], sample_weight=times[times > 0]
            )
            assert got == pytest.approx(wanted, rel=1e-9)


class Frame(np.ndarray):
    """An array with names of columns: no data frames are installed."""

    def __new__(cls, values, columns):
        frame = np.asarray(values).view(cls)
        frame.columns = np.array(columns, dtype=object)
        return frame


@EVERY
def test_names_of_columns_are_kept_compared_and_forgotten(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "sklearn.utils.validation._get_feature_names",
        lambda x: getattr(x, "columns", None),
    )
    case = CASES[name]
    x, columns = case.rows(), ["width", "height"]
    fitted = quiet(case.kind(**case.options), Frame(x, columns))
    fitted.save(tmp_path / "it.json")
    for each in (fitted, case.kind.load(tmp_path / "it.json")):
        assert list(each.feature_names_in_) == columns
        same = each.predict(Frame(x, columns))
        np.testing.assert_array_equal(
            same, fitted.predict(Frame(x, columns))
        )
        with pytest.raises(ValueError, match=r"(?s)feature names.*order"):
            each.predict(Frame(x, columns[::-1]))
        with pytest.raises(ValueError, match=r"(?s)feature names.*weight"):
            each.score(Frame(x, ["width", "weight"]))
        with pytest.warns(UserWarning, match="does not have valid feature"):
            each.predict(x)
    quiet(fitted, x)
    assert not hasattr(fitted, "feature_names_in_")


# --- the machine changes no bit


@EVERY
def test_neither_cores_nor_threads_change_a_bit(name, monkeypatch):
    case = CASES[name]
    d = 2 if name == "coins" else 10
    x = tosses(n=60_000) if name == "coins" else cloud(n=60_000, d=d)
    options = {
        **case.options,
        "max_iter": 2,
        "random_state": 0,
        "n_init": 1,
    }
    found = []
    for cores, allowed in [(1, 1), (2, 2), (4, 2), (16, 2), (64, 1)]:
        monkeypatch.setattr("os.cpu_count", lambda n=cores: n)
        monkeypatch.setattr("joblib.cpu_count", lambda n=cores: n)
        monkeypatch.setenv("OMP_NUM_THREADS", str(allowed))
        with threadpool_limits(2):  # the session has less
            found.append(quiet(case.kind(**options, tol=0.0), x))
    for other in found[1:]:
        for each in case.learned:
            np.testing.assert_array_equal(
                getattr(other, each), getattr(found[0], each), err_msg=each
            )


# --- copies, in memory and on disk

ONES = {
    "full": np.array([np.eye(2), np.eye(2)]),
    "tied": np.eye(2),
    "diag": np.ones((2, 2)),
    "spherical": np.ones(2),
}
SAVED = {
    "coins": [
        {},
        {"means_init": np.array([0.3, 0.6]), "tol": np.float32(1e-6)},
        {"weights_init": (0.25, 0.75), "accelerate": "squarem"},
        {"learn_weights": np.bool_(False)},
    ],
    "k-means": [
        {},
        {"init": cloud()[:3], "tol": np.float32(1e-6)},
        {"init": "random", "n_init": np.int64(2)},
    ],
} | {
    kind: [
        {},
        {"prior": (3, np.eye(2)), "tol": "auto"},
        {"init_params": np.eye(2)[np.arange(60) % 2], "max_iter": 500},
        {
            "accelerate": "squarem",
            "reg_covar": "relative",
            "on_collapse": "restart",
            "init_params": "random",
            "n_init": 2,
            "warm_start": True,
        },
        {
            "n_components": np.int64(2),
            "weights_init": [0.5, 0.5],
            "means_init": [[0, 0], [3, 3]],
            "precisions_init": ONES[kind],
            "prior": "auto",
            "tol": np.float32(1e-3),
            "verbose_interval": 3,
        },
    ]
    for kind in TYPES
}
OPTIONS = [(name, i) for name in CASES for i in range(len(SAVED[name]))]


@pytest.mark.parametrize(("name", "which"), OPTIONS)
def test_what_is_loaded_equals_what_was_saved(name, which, tmp_path):
    case, path = CASES[name], tmp_path / "it.json"
    for seed, dtype in (
        (5, np.float64),
        (np.int64(5), np.float32),
        (np.random.RandomState(5), np.float64),
    ):
        options = {"random_state": seed, **SAVED[name][which]}
        fitted = case.fit(dtype, **options)
        fitted.save(path)
        json.loads(path.read_text())  # text, and nothing but text
        again = case.kind.load(str(path))
        equal(case, again, fitted)
        for option, value in fitted.get_params().items():
            if option == "prior" and value is not None:
                assert getattr(again, option)[0] == value[0]
                value, got = value[1], getattr(again, option)[1]
            else:
                got = getattr(again, option)
            if option != "random_state":
                np.testing.assert_array_equal(got, value)
        for each in (fitted, again):
            quiet(each, case.rows(1))
        equal(case, again, fitted)
    assert [file.name for file in tmp_path.iterdir()] == ["it.json"]


@EVERY
def test_pickles_copies_and_clones(name):
    case = CASES[name]
    fitted = case.fit()
    equal(case, pickle.loads(pickle.dumps(fitted)), fitted)
    equal(case, copy.deepcopy(fitted), fitted)
    bare = clone(fitted)
    assert bare.get_params() == fitted.get_params()
    assert learned(bare) == []
    other = case.kind().set_params(**fitted.get_params())
    equal(case, quiet(other, case.rows()), fitted)


@EVERY
def test_a_new_file_takes_the_place_of_the_old(name, tmp_path):
    case, path = CASES[name], tmp_path / "it.json"
    path.write_text("something else")
    fitted = case.fit()
    fitted.save(path)
    equal(case, case.kind.load(path), fitted)


@EVERY
def test_a_save_that_fails_leaves_the_old_file(name, tmp_path, monkeypatch):
    case, path = CASES[name], tmp_path / "it.json"
    fitted = case.fit()
    fitted.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    for late in (False, True):
        with monkeypatch.context() as patch:
            if late:
                patch.setattr(Path, "replace", full)
            else:
                patch.setattr("os.fsync", full)
            with pytest.raises(OSError, match="No space"):
                fitted.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["it.json"]


@EVERY
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        CASES[name].kind.load(tmp_path / "nowhere.json")


# Entries of a file that `save` never wrote.
NAN, INF = float("nan"), float("inf")
WRONG = {
    "coins": [
        ("weights", [1.0]),
        ("means", [0.1, NAN]),
        ("history", []),
        ("n_iter", INF),
        ("tosses", [10.0, 5.0]),
    ],
    "k-means": [
        ("dtype", "object"),
        ("centres", [[0.0, NAN], [2.0, 3.0], [4.0, 5.0]]),
        ("centres", [1.0]),
        ("labels", "BAAAAA=="),
        ("labels", "AAA="),
        ("labels", "?"),
        ("history", []),
        ("n_iter", INF),
    ],
} | {
    kind: [
        ("type", "round"),
        ("weights", [1.0]),
        ("means", [[0.0, NAN], [1.0, 1.0]]),
        ("covariances", (-ONES[kind]).tolist()),
        ("history", []),
        ("n_iter", INF),
    ]
    for kind in TYPES
}


@EVERY
def test_a_file_of_another_kind_is_refused_in_words(name, tmp_path):
    case, path = CASES[name], tmp_path / "it.json"
    fitted = case.fit()
    fitted.save(path)
    text = path.read_text()
    record = json.loads(text)
    path.write_text(json.dumps(record))
    equal(case, case.kind.load(path), fitted)
    texts = [
        text[: len(text) // 2].encode(),
        b"",
        b"[" * 100_000,
        b"[1, 2]",
        b"null",
        b"3",
        pickle.dumps(fitted),
        json.dumps({**record, "format": "emlib Nothing 1"}).encode(),
        json.dumps({**record, "options": {"n_coins": 3}}).encode(),
    ]
    for entry, value in WRONG[name]:
        assert entry in record
        texts.append(json.dumps({**record, entry: value}).encode())
    for left in record:
        rest = {each: record[each] for each in record if each != left}
        texts.append(json.dumps(rest).encode())
    for each in texts:
        path.write_bytes(each)
        with pytest.raises(
            ValueError, match=r"(?s)it.json must be.*Save .* again"
        ):
            case.kind.load(path)
