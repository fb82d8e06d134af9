"""What GaussianMixture makes of bad and of extreme input, in tables.

A row of a table is a name, what is done, and what must come out: an error
in words (which thing, its rule, what came, what to do), or a property.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from functools import cache, partial

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from threadpoolctl import threadpool_limits

from emlib import GaussianMixture, scale
from emlib.estimators import checks
from emlib.estimators import gaussians as edge
from emlib.estimators import mixture as shared

NAN, INF = np.nan, np.inf
TYPES = ["full", "tied", "diag", "spherical"]
EYE = np.eye(2)
# The identity, as each type keeps it for two components.
ONES = {
    "full": np.array([EYE, EYE]),
    "tied": EYE,
    "diag": np.ones((2, 2)),
    "spherical": np.ones(2),
}


def two_blobs(seed=0, n=40, apart=5.0, d=2):
    """Return n rows about 0 and n about `apart`, of sd 1, (2 n, d)."""
    rng = np.random.default_rng(seed)
    middles = np.repeat([0.0, apart], n)[:, None]  # (2 n, 1)
    return middles + rng.normal(size=(2 * n, d))


X = two_blobs()
ROW = X[:1]
EVEN = np.eye(2)[np.arange(80) % 2]  # responsibilities, (80, 2)


def put(value, row=43, column=1):
    """Return the rows with one value replaced."""
    x = X.copy()
    x[row, column] = value
    return x


def fit(x=X, k=2, weights=None, **options):
    options = {"random_state": 0, **options}
    return GaussianMixture(k, **options).fit(x, sample_weight=weights)


def given(kind, scale=1.0, shift=0.0):
    """Return options that start both components in the open."""
    middles = np.array([[1.0, 1.0], [4.0, 4.0]])  # (k, d)
    return {
        "covariance_type": kind,
        "weights_init": [0.5, 0.5],
        "means_init": middles * scale + shift,
        "precisions_init": ONES[kind] / scale / scale,
    }


def turns(x, kind, count=8, reg_covar=0.0, **where):
    """Return a fit of so many turns, which is not asked to converge."""
    mixture = GaussianMixture(
        2,
        tol=0.0,
        max_iter=count,
        reg_covar=reg_covar,
        **given(kind, **where),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(x)


def close(got, wanted, rtol):
    """Compare arrays, relative to the largest entry."""
    wanted = np.asarray(wanted)
    apart = np.abs(np.asarray(got) - wanted).max()
    assert apart <= rtol * np.abs(wanted).max(), (got, wanted)


def same(one, other, rtol=0.0):
    for name in ("weights_", "means_", "covariances_", "history_"):
        close(getattr(one, name), getattr(other, name), rtol)
    assert one.n_iter_ == other.n_iter_


def matrices(mixture):
    """Return a covariance matrix for each component, (k, d, d)."""
    return mixture._params().matrices()


def sound(mixture, x):
    """Assert what holds of every fit."""
    for name in ("weights_", "means_", "covariances_", "precisions_"):
        assert np.isfinite(getattr(mixture, name)).all(), name
    assert mixture.weights_.sum() == pytest.approx(1, rel=1e-12)
    assert (mixture.weights_ >= 0).all()
    assert (np.linalg.eigvalsh(matrices(mixture)) > 0).all()
    assert np.isfinite(mixture.history_).all()
    assert mixture.lower_bound_ == mixture.history_[-1]
    assert mixture.means_.dtype == np.float64
    resp = mixture.predict_proba(x)
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-12)
    drawn, _ = mixture.sample(3)
    assert np.isfinite(drawn).all()


# --- fits that are refused: (name, what `fit` is given, the error)

REFUSED_X = [
    (
        "one-dimensional",
        {"x": X[:, 0]},
        "Expected 2D array, got 1D.*Reshape",
    ),
    (
        "three-dimensional",
        {"x": np.ones((3, 2, 2))},
        "dim 3, while dim <= 2",
    ),
    ("a number", {"x": 3.0}, "Expected 2D array, got scalar.*Reshape"),
    ("None", {"x": None}, "Expected 2D array, got scalar"),
    ("a word", {"x": "rows"}, "could not convert string to float: 'rows'"),
    ("no row", {"x": X[:0]}, r"0 sample\(s\).*minimum of 2"),
    ("one row", {"x": ROW, "k": 1}, r"1 sample\(s\).*minimum of 2"),
    ("no column", {"x": X[:, :0]}, r"0 feature\(s\).*minimum of 1"),
    ("ragged", {"x": [[1, 2], [3]]}, "inhomogeneous shape"),
    ("words", {"x": [["a", "b"]] * 3}, "could not convert string.*'a'"),
    (
        "objects, one of them a word",
        {"x": np.array([["a", 1.0], [2.0, 3.0], [4.0, 5.0]], dtype=object)},
        "could not convert string to float: 'a'",
    ),
    ("complex", {"x": X + 1j}, "Complex data not supported"),
    (
        "NaN",
        {"x": put(NAN)},
        r'X must be free of NaN; row 43 is \[.*nan\]. Drop.*missing="em"',
    ),
    (
        "a None among numbers",
        {"x": [[1, None], [2, 3], [4, 5]]},
        r"X must be free of NaN; row 0 is \[1.0, nan\]. Drop",
    ),
    ("inf", {"x": put(INF)}, "Input X contains infinity"),
    ("-inf", {"x": put(-INF)}, "Input X contains infinity"),
    (
        "more components than rows",
        {"k": 81},
        "n_components=81 must not exceed.*n_samples=80. Use fewer",
    ),
    (
        "a constant column without regularisation",
        {"x": np.c_[X, np.ones(80)], "reg_covar": 0.0},
        "must be positive definite; that of component 0 is not.*larger reg",
    ),
    (
        "equal rows without regularisation",
        {"x": np.ones((9, 2)), "reg_covar": 0.0},
        "must be positive definite; that of component 0 is not.*larger reg",
    ),
    (
        "a value of 1e160",
        {"x": put(1e160)},
        "X must spread between 1e-152 and.*column 1 spreads 1.1e.159. Div",
    ),
    ("a value of 1e300", {"x": put(1e300)}, r"column 1 spreads 1.1e\+299"),
    (
        "values of 1.7e308 with both signs",
        {"x": np.r_[X, [[1.7e308, 0], [-1.7e308, 0]]]},
        "X must span less than float64 can hold; column 0 does not. Divide|"
        "X must spread.*column 0 spreads",
    ),
    (
        "scaled by 1e-160",
        {"x": 1e-160 * X},
        "column 0 spreads 2.5e-160. Div",
    ),
    (
        "float32, scaled by 1e-38",
        {"x": (1e-38 * X).astype(np.float32)},
        "X must spread between 1e-36.*column 0 spreads 2.5e-38",
    ),
]

REFUSED_WEIGHTS = [
    ("zero", np.zeros(80), "let some row count; received only zeros"),
    ("negative", -np.ones(80), "finite.*at least 0; row 0 is -1.0. Leave"),
    (
        "NaN",
        np.where(EVEN[:, 0] > 0, 1, NAN),
        "finite.*; row 1 is nan. Leave",
    ),
    ("infinite", np.full(80, INF), "finite.*; row 0 is inf. Leave"),
    ("too few", np.ones(3), r"a row, shape \(80,\); received shape \(3,\)"),
    ("a column", np.ones((80, 1)), r"a row, .*received shape \(80, 1\)"),
    ("a number", 1.0, r"a row, .*received shape \(\)"),
    ("words", ["a"] * 80, "sample_weight must be numbers.*received .'a', "),
    ("complex", np.full(80, 1j), "sample_weight must be numbers.*received"),
    ("of 1e-300", np.full(80, 1e-300), "between 1e-150.*1e-300. Multiply"),
    ("of 1e308", np.full(80, 1e308), r"between 1e-150.*1e\+308. Multiply"),
    (
        "for one row only",
        EVEN[:, 0] * np.eye(80)[0],
        "received n_samples=1",
    ),
]

REFUSED_OPTIONS = [
    ("n_components", 0, "a whole number, at least 1; received 0"),
    ("n_components", -1, "a whole number, at least 1; received -1"),
    ("n_components", 2.5, "a whole number, at least 1; received 2.5"),
    ("n_components", "3", "a whole number, at least 1; received '3'"),
    ("n_components", None, "a whole number, at least 1; received None"),
    ("covariance_type", "ful", r"one of \('full', .*; received 'ful'"),
    ("covariance_type", None, r"one of \('full', .*; received None"),
    ("covariance_type", np.array(TYPES), "one of .*; received array"),
    ("tol", -1, 'a number, at least 0, or "auto"; received -1'),
    ("tol", "x", "a number, at least 0, or \"auto\"; received 'x'"),
    ("tol", NAN, 'a number, at least 0, or "auto"; received nan'),
    ("tol", [1e-3], r"a number, at least 0, or .*; received \[0.001\]"),
    ("reg_covar", -1, 'a number, at least 0, or "relative"; received -1'),
    ("reg_covar", INF, "a number, at least 0, .*; received inf"),
    ("reg_covar", "much", "a number, at least 0, .*; received 'much'"),
    ("max_iter", -1, "a whole number, at least 0; received -1"),
    ("max_iter", 1.5, "a whole number, at least 0; received 1.5"),
    ("n_init", 0, "a whole number, at least 1; received 0"),
    ("init_params", "kmean", r"one of \('kmeans', .*; received 'kmean'"),
    (
        "init_params",
        None,
        "responsibilities of shape .80, 2.*received None",
    ),
    (
        "init_params",
        EVEN[:3],
        r"of shape \(80, 2\) whose rows sum to 1; rec",
    ),
    ("init_params", 2 * EVEN, r"sum to 1; row 0 is \[2.0, 0.0\]. Divide"),
    ("init_params", -EVEN, r"sum to 1; row 0 is \[-1.0, -0.0\]. Divide"),
    ("init_params", NAN * EVEN, r"sum to 1; row 0 is \[nan, nan\]"),
    ("init_params", [["a", "b"]] * 80, "sum to 1; received .*'a', 'b'"),
    ("verbose", -1, "a whole number, at least 0; received -1"),
    ("verbose_interval", 0, "a whole number, at least 1; received 0"),
    ("prior", "yes", r'None, "auto" or \(dof, scale\); received \'yes\''),
    ("prior", (1,), r'None, "auto" or \(dof, scale\); received \(1,\)'),
    ("prior", (), r'None, "auto" or \(dof, scale\); received \(\)'),
    ("prior", 3, r'None, "auto" or \(dof, scale\); received 3'),
    ("prior", EYE, r'None, "auto" or \(dof, scale\); received array'),
    ("prior", (2, np.eye(3)), r"matrix of shape \(2, 2\); received \(2"),
    ("prior", (2, -EYE), "scale a positive definite matrix .*received"),
    ("prior", (2, [[1, 5], [0, 1]]), "positive definite.*5.., 0, 1|5"),
    ("prior", (-1, EYE), r"dof at least 0 and .*; received \(-1, "),
    ("prior", (INF, EYE), r"dof at least 0 and .*; received \(inf, "),
    ("prior", ("a", EYE), r"dof at least 0 and .*; received \('a', "),
    (
        "accelerate",
        "anderson",
        r"one of \(None, 'squarem'\); received 'and",
    ),
    ("accelerate", True, r"one of \(None, 'squarem'\); received True"),
    ("missing", "drop", r"one of \('error', 'em'\); received 'drop'"),
    (
        "on_collapse",
        "ignore",
        r"one of \('warn', 'raise', 'restart'\); rec",
    ),
    ("weights_init", [0.5, 0.6], r"that sum to 1; received \[0.5, 0.6\]"),
    ("weights_init", [-0.5, 1.5], r"from 0 to 1 .*received \[-0.5, 1.5\]"),
    ("weights_init", [1.0], r"2 numbers from 0 .*received \[1.0\]"),
    ("weights_init", [NAN, 1], r"2 numbers from 0 .*received \[nan, 1\]"),
    ("weights_init", "half", "2 numbers from 0 .*received 'half'"),
    ("means_init", [0, 1], r"finite .* shape \(2, 2\); received \[0, 1\]"),
    ("means_init", [[0, NAN], [1, 1]], r"finite .*received \[\[0, nan\]"),
    ("means_init", [[0, INF], [1, 1]], r"finite .*received \[\[0, inf\]"),
    ("means_init", [[1, 2], [3]], r"shape \(2, 2\); received \[\[1, 2\], "),
]

# (type, precisions_init, the error)
REFUSED_PRECISIONS = [
    (
        "full",
        np.ones(3),
        r"finite numbers of shape \(2, 2, 2\); received arr",
    ),
    ("full", NAN * ONES["full"], "finite numbers of shape.*received array"),
    ("full", [[[1, 0.5], [0, 1]]] * 2, "symmetric.*; number 0 is not. Inv"),
    (
        "full",
        [EYE, [[1, 2], [2, 1]]],
        "definite.*; number 1 is not. Invert",
    ),
    (
        "full",
        0 * ONES["full"],
        "definite matrices; number 0 is not. Invert",
    ),
    ("full", 1e-320 * ONES["full"], "at least 1e-300; received array"),
    (
        "full",
        "ones",
        "finite numbers; received 'on",
    ),
    (
        "tied",
        np.eye(3),
        r"finite numbers of shape \(2, 2\); received array",
    ),
    ("tied", [[1, 0.5], [0, 1]], "symmetric.*; number 0 is not. Invert"),
    ("tied", np.ones((2, 2)), "definite matrices; number 0 is not. Invert"),
    (
        "diag",
        [1, 1],
        r"finite numbers of shape \(2, 2\); received \[1, 1\]",
    ),
    ("diag", [[1, -1], [1, 1]], r"positive.*; received \[\[1, -1\], "),
    ("diag", [[1, 0], [1, 1]], r"positive.*; received \[\[1, 0\], "),
    ("spherical", [[1], [1]], r"shape \(2,\); received \[\[1\], \[1\]\]"),
    ("spherical", [1, 0], r"positive, at least 1e-300; received \[1, 0\]"),
    (
        "spherical",
        [1, INF],
        r"finite numbers of shape.*; received \[1, inf",
    ),
]


def names(table):
    return [str(row[0]) for row in table]


@pytest.mark.parametrize(
    ("name", "what", "message"), REFUSED_X, ids=names(REFUSED_X)
)
def test_bad_rows_are_refused_in_words(name, what, message):
    with pytest.raises(ValueError, match=rf"(?s){message}"):
        fit(**what)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    REFUSED_WEIGHTS,
    ids=names(REFUSED_WEIGHTS),
)
def test_bad_weights_are_refused_in_words(name, weights, message):
    with pytest.raises(ValueError, match=message):
        fit(weights=weights)


def test_bad_weights_of_a_score_are_refused_in_words():
    mixture = fit()
    for ask in (mixture.score, mixture.bic, mixture.aic, mixture.icl):
        with pytest.raises(ValueError, match=r"a row, .*shape \(3,\)"):
            ask(X, sample_weight=np.ones(3))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    REFUSED_OPTIONS,
    ids=names(REFUSED_OPTIONS),
)
def test_bad_options_are_refused_in_words(option, value, message):
    options = {"n_components": 2, option: value}
    mixture = GaussianMixture(**options)
    pattern = rf"^{option} must be .*{message}"
    for begin in (mixture.fit, mixture.partial_fit):
        with pytest.raises(ValueError, match=pattern) as told:
            begin(X)
        # One line, and no table of numbers.
        assert len(str(told.value)) < 400
        assert "\n" not in str(told.value)
    assert not [name for name in vars(mixture) if name.endswith("_")]


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED_PRECISIONS)
def test_bad_precisions_are_refused_in_words(kind, value, message):
    with pytest.raises(
        ValueError, match=f"^precisions_init must .*{message}"
    ):
        fit(covariance_type=kind, precisions_init=value)


# --- a fitted mixture asked for what it cannot give

REFUSED_ASKS = [
    (
        "a column too few",
        lambda m: m.predict(X[:, :1]),
        "1 features.*expect",
    ),
    (
        "one point as a row",
        lambda m: m.predict(X[0]),
        "2D array, got 1D.*Resh",
    ),
    ("no row", lambda m: m.predict(X[:0]), "minimum of 1"),
    ("NaN", lambda m: m.score(put(NAN)), r"free of NaN; row 43 is .*Drop"),
    ("inf", lambda m: m.bic(put(INF)), "contains infinity"),
    (
        "no sample",
        lambda m: m.sample(0),
        "n_samples must be a wh.*received 0",
    ),
    ("half a sample", lambda m: m.sample(2.5), "whole.*at least 1; .* 2.5"),
    ("a sample in words", lambda m: m.sample("3"), "whole.*received '3'"),
    (
        "another number of components in the stream",
        lambda m: (
            m.partial_fit(X).set_params(n_components=3).partial_fit(X)
        ),
        "n_components and .* must be what they were .*received .3, 'full'",
    ),
    (
        "another type in the stream",
        lambda m: m.partial_fit(X).set_params(tol=0).partial_fit(X[:, :1]),
        "1 features.*expecting 2",
    ),
]


@pytest.mark.parametrize(
    ("name", "ask", "message"), REFUSED_ASKS, ids=names(REFUSED_ASKS)
)
def test_bad_questions_are_refused_in_words(name, ask, message):
    mixture = fit()
    with pytest.raises(ValueError, match=rf"(?s){message}"):
        ask(mixture)


def test_sparse_rows_and_matrices_are_refused_with_a_remedy():
    mixture = fit()
    for ask in (mixture.fit, mixture.partial_fit, mixture.predict):
        with pytest.raises(TypeError, match=r"dense.*toarray"):
            ask(csr_array(X))
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(X)
    with pytest.raises(TypeError, match=r"np.matrix is not.*np.asarray"):
        fit(matrix)


@pytest.mark.parametrize("kind", TYPES)
def test_a_start_too_far_away_is_refused_in_words(kind):
    far = {**given(kind), "means_init": [[1e200, 0.0], [0.0, 0.0]]}
    with pytest.raises(ValueError, match=r"means_init and .*below.*nearer"):
        fit(**far)


# --- forms of rows that mean the same: (name, form, rounding)


def strided(x):
    return np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]


def backwards(x):
    return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def on_disk(x, folder):
    np.save(folder / "rows.npy", x)
    return np.load(folder / "rows.npy", mmap_mode="r")


FORMS = {
    "lists": np.ndarray.tolist,
    "Fortran order": np.asfortranarray,
    "every second row, every third column": strided,
    "negative strides": backwards,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "objects": lambda x: x.astype(object),
    "numbers in words": lambda x: x.astype("U32").tolist(),
    "masked, nothing under the mask": np.ma.masked_array,
}


@pytest.mark.parametrize("form", [*FORMS, "memmap"])
def test_every_form_of_the_same_numbers_gives_the_same(form, tmp_path):
    make = FORMS.get(form, partial(on_disk, folder=tmp_path))
    wanted, got = fit(), fit(make(X))
    # Only the order in which memory is read may differ: last digits.
    same(got, wanted, 1e-13)
    np.testing.assert_allclose(
        got.score_samples(make(X)), wanted.score_samples(X), rtol=1e-12
    )


# (name, rows, the same in float64, rounding)
DTYPES = [
    ("int64", (10 * X).astype(int), 0.0),
    ("uint8", np.clip(20 * X + 60, 0, 255).astype(np.uint8), 0.0),
    ("float16", X.astype(np.float16), 0.0),
    ("float32", X.astype(np.float32), 1e-5),
    ("float32, big-endian", X.astype(">f4"), 1e-5),
]


@pytest.mark.parametrize(("name", "x", "rtol"), DTYPES, ids=names(DTYPES))
def test_every_dtype_gives_what_its_values_give(name, x, rtol):
    kept = x.copy()
    same(fit(x), fit(x.astype(np.float64)), rtol)
    np.testing.assert_array_equal(x, kept)
    assert fit(x).covariances_.dtype == np.float64


def test_float32_rows_far_from_zero_keep_the_digits_they_have():
    x = (X + 1e4).astype(np.float32)
    got, wanted = fit(x, max_iter=3), fit(x.astype(np.float64), max_iter=3)
    same(got, wanted, 1e-4)


# --- odd rows that have an answer: (name, what `fit` is given, warning)

REG = r"reg_covar=1e-06 is .* of the smallest variance of.*component"
PAIR = np.array([[0.0, 0.0], [1.0, 1.0]] * 6)

ODD = [
    ("as many components as rows", {"x": X[:5], "k": 5}, REG),
    ("fewer rows than columns", {"x": two_blobs(n=2, d=6), "k": 1}, REG),
    ("a constant column", {"x": np.c_[X, np.ones(80)]}, REG),
    ("all rows equal", {"x": np.ones((9, 2))}, REG),
    ("all rows equal, one component", {"x": np.ones((9, 2)), "k": 1}, REG),
    ("all rows zero", {"x": np.zeros((9, 2))}, REG),
    ("two different rows", {"x": PAIR}, REG),
    ("two different rows, three components", {"x": PAIR, "k": 3}, REG),
    ("bool", {"x": X > 2}, REG),
    ("float32 of 1e-30", {"x": (1e-30 * X).astype("f4")}, REG),
    ("float32 of 1e30", {"x": (1e30 * X).astype("f4")}, None),
    ("each row twice", {"x": np.repeat(X, 2, axis=0)}, None),
    ("an outlier of 1e6 sd", {"x": put(1e6), "k": 1}, None),
    ("an outlier of 1e6 sd for itself", {"x": put(1e6)}, REG),
    ("a value of 1e150", {"x": put(1e150), "k": 1}, None),
    ("scaled by 1e-150, regularised", {"x": 1e-150 * X}, REG),
    ("scaled by 1e150, regularised", {"x": 1e150 * X}, None),
    ("columns of very different scale", {"x": X * [1e-100, 1e100]}, REG),
    ("columns far from zero", {"x": X + np.array([1e10, -1e10])}, None),
    ("relative regularisation", {"reg_covar": "relative"}, None),
    ("weights summing to 1e-3", {"weights": np.full(80, 1.25e-5)}, None),
    ("weights of 1e100", {"weights": np.full(80, 1e100)}, None),
    ("boolean weights", {"weights": X[:, 0] > 2.5}, None),
    (
        "responsibilities that leave one out",
        {"init_params": EVEN[[0] * 80]},
        None,
    ),
    ("equal means", {"means_init": [[1, 1], [1, 1]]}, None),
    (
        "precisions of 1e300",
        {"precisions_init": 1e300 * ONES["full"]},
        None,
    ),
    (
        "precisions of 1e-300",
        {"precisions_init": 1e-300 * ONES["full"]},
        None,
    ),
    ("a prior as a list", {"prior": [2, EYE]}, None),
    ("a prior of its own accord", {"prior": "auto"}, None),
    ("a firm prior", {"prior": (1e12, 1e12 * EYE)}, None),
]


@pytest.mark.parametrize("name", names(ODD))
def test_odd_rows_have_a_sound_answer(name):
    what, warning = {row[0]: row[1:] for row in ODD}[name]
    x = what.get("x", X)
    if warning is None:
        mixture = fit(**what)
    else:
        with pytest.warns(UserWarning, match=warning):
            mixture = fit(**what)
    sound(mixture, x)


def test_one_component_is_the_mean_and_covariance_of_all_rows():
    for x in (X, put(1e6), 1e150 * X, 1e-150 * X, X + 1e8):
        mixture = fit(x, k=1, reg_covar=0.0)
        size = np.abs(x - x[0]).max()
        middle = ((x - x[0]) / size).mean(axis=0)  # (d,)
        close((mixture.means_[0] - x[0]) / size, middle, 1e-7)
        apart = (x - x[0]) / size - middle  # (n, d)
        wanted = apart.T @ apart / len(x)  # (d, d)
        close(mixture.covariances_[0] / size / size, wanted, 1e-12)


def test_a_component_without_rows_stays_and_is_named():
    for kind in TYPES:
        options = {**given(kind), "weights_init": [1, 0]}
        with pytest.warns(
            UserWarning, match="component 1 is responsible.*no row"
        ):
            mixture = fit(**options)
        sound(mixture, X)
        np.testing.assert_array_equal(mixture.weights_, [1, 0])
        np.testing.assert_array_equal(mixture.means_[1], [4, 4])
        one = fit(k=1, covariance_type=kind)
        # The matrix that all share is still fitted.
        close(matrices(mixture)[0], matrices(one)[0], 1e-12)
        assert mixture.score(X) == pytest.approx(one.score(X), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_start_of_equal_rows_is_as_good_as_one_component(seed):
    x = np.repeat(two_blobs(n=1), [30, 10], axis=0)
    with pytest.warns(UserWarning, match=REG):
        three = fit(x, k=3, random_state=seed)
    with pytest.warns(UserWarning, match=REG):
        two = fit(x, k=2, random_state=seed)
    assert three.score(x) >= two.score(x) - 1e-6


# --- extreme rows: the same answer as of rows near one


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
def test_scaled_rows_give_the_scaled_answer(kind, scale):
    wanted, got = turns(X, kind), turns(scale * X, kind, scale=scale)
    close(got.weights_, wanted.weights_, 1e-9)
    close(got.means_ / scale, wanted.means_, 1e-9)
    close(got.covariances_ / scale / scale, wanted.covariances_, 1e-9)
    close(got.precisions_ * scale * scale, wanted.precisions_, 1e-9)
    close(got.predict_proba(scale * X), wanted.predict_proba(X), 1e-9)
    # Two columns, so each density has scale^-2.
    shifted = np.array(got.history_) + 2 * np.log(scale)
    close(shifted, wanted.history_, 1e-9)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shift", [1e4, 1e8, -1e8, 1e12])
def test_shifted_rows_give_the_shifted_answer(kind, shift):
    x = X + shift
    near = x - shift  # the digits that are left, exactly
    wanted, got = turns(near, kind), turns(x, kind, shift=shift)
    # A mean is stored at the distance of the rows.
    digits = 1e-6 + 2 * np.spacing(abs(shift))
    close(got.means_ - shift, wanted.means_, digits)
    close(got.covariances_, wanted.covariances_, 1e-6)
    close(got.weights_, wanted.weights_, 1e-6)
    close(got.history_, wanted.history_, 1e-6)
    close(got.predict_proba(x), wanted.predict_proba(near), 10 * digits)


def exact(rows):
    """Return the covariance about the mean, in long double, (d, d)."""
    rows = rows.astype(np.longdouble)
    apart = rows - rows.mean(axis=0)
    return (apart.T @ apart / len(rows)).astype(np.float64)


def kept(kind, wide, tight):
    """Return what a type keeps of two matrices, 3 to 2 in rows."""
    if kind == "full":
        return np.array([wide, tight])
    if kind == "tied":
        return (3 * wide + 2 * tight) / 5
    diagonals = np.array([np.diagonal(wide), np.diagonal(tight)])
    return diagonals if kind == "diag" else diagonals.mean(axis=1)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("sd", [1e-2, 1e-4, 1e-6, 1e-8])
def test_a_tight_component_far_away_keeps_its_digits(kind, sd):
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(300, 2))
    lean = np.array([[1.0, 0.5], [0.0, 1.0]])
    tight = [10.0, -7.0] + sd * rng.normal(size=(200, 2)) @ lean
    x = np.concatenate([wide, tight])
    table = np.eye(2)[np.repeat([0, 1], [300, 200])]  # (n, k)
    mixture = fit(x, covariance_type=kind, reg_covar=0.0, init_params=table)
    wanted = kept(kind, exact(wide), exact(tight))
    if kind == "tied":
        close(mixture.covariances_, wanted, 1e-6)
        return
    for got, one in zip(mixture.covariances_, wanted, strict=True):
        close(got, one, 1e-6)
    close(mixture.means_[1], tight.mean(axis=0), 1e-15)


def test_a_tight_component_that_no_row_was_promised_to():
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [rng.normal(size=(300, 2)), 9 + 1e-6 * rng.normal(size=(200, 2))]
    )
    for kind in ("full", "diag", "spherical"):
        mixture = fit(x, covariance_type=kind, reg_covar=0.0)
        order = np.argsort(-mixture.weights_)
        wanted = kept(kind, exact(x[:300]), exact(x[300:]))
        for got, one in zip(
            mixture.covariances_[order], wanted, strict=True
        ):
            close(got, one, 1e-6)


# --- predictions far from every component

FAR = [1e6, 1e15, 1e100, 1e150, 1e160, 1e300, 1.7e308]
DIRECTIONS = [[1, 0], [0, -1], [1, 1], [-1, 0.25]]


@cache
def lopsided(kind):
    """Return a mixture whose components differ in every direction."""
    x = np.concatenate([X[:40] * [1.0, 3.0], 2.5 * X[40:]])
    return fit(x, covariance_type=kind, reg_covar=0.0)


def winner(mixture, direction):
    """Return the component that is likeliest at the end of a ray.

    It has the smallest u^T P u, and where these are equal the largest
    u^T P mu: a constant is nothing beside them.
    """
    inverses = np.linalg.inv(matrices(mixture))  # (k, d, d)
    ray = np.asarray(direction)
    squares = inverses @ ray @ ray  # (k,)
    linear = np.einsum("kd,kde,e->k", mixture.means_, inverses, ray)  # (k,)
    if mixture.covariance_type == "tied":
        return linear.argmax()
    return squares.argmin()


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kind", TYPES)
def test_far_points_belong_to_somebody(kind, far):
    mixture = lopsided(kind)
    for direction in DIRECTIONS:
        point = far * np.array([direction], dtype=np.float64)
        resp = mixture.predict_proba(point)
        assert resp.sum() == pytest.approx(1, rel=1e-12)
        assert mixture.score_samples(point)[0] < -1e9
        if kind != "tied" or far < 1e12:
            assert mixture.predict(point)[0] == winner(mixture, direction)
            assert resp.max() == 1


@pytest.mark.parametrize("far", [1e18, 1e150, 1e300, 1.7e308])
def test_far_points_belong_to_the_right_side_of_tied(far):
    mixture = lopsided("tied")
    for direction in DIRECTIONS:
        point = far * np.array([direction], dtype=np.float64)
        resp = mixture.predict_proba(point)[0]
        assert resp[winner(mixture, direction)] == 1


@pytest.mark.parametrize("kind", TYPES)
def test_a_far_row_does_not_spoil_the_others(kind):
    mixture = lopsided(kind)
    x = np.concatenate([X, [[1e300, -1e300]], X])
    resp, logs = mixture.predict_proba(x), mixture.score_samples(x)
    close(
        np.delete(resp, 80, axis=0), mixture.predict_proba(np.r_[X, X]), 0
    )
    assert np.isfinite(np.delete(logs, 80)).all()
    assert logs[80] == -INF
    assert mixture.score(x) == -INF
    assert mixture.bic(x) == mixture.icl(x) == INF


# --- weights of rows


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("start", ["given", "random_from_data"])
def test_weight_0_is_absent_and_weight_2_is_twice(kind, start):
    times = np.arange(80) % 3  # (n,)
    long = np.repeat(X, times, axis=0)
    options = given(kind) if start == "given" else {"covariance_type": kind}
    if start != "given":
        table = np.random.default_rng(3).dirichlet([1, 1], 80)  # (n, k)
        short = fit(weights=times, init_params=table, **options)
        whole = fit(long, init_params=np.repeat(table, times, 0), **options)
    else:
        short, whole = fit(weights=times, **options), fit(long, **options)
    same(short, whole, 1e-10)
    for ask in ("score", "bic", "aic", "icl"):
        got = getattr(short, ask)(X, sample_weight=times)
        assert got == pytest.approx(getattr(whole, ask)(long), rel=1e-12)
    there = times > 0
    once = fit(X[there], weights=times[there], **given(kind))
    same(fit(weights=times, **given(kind)), once, 1e-13)


def test_only_the_ratio_of_weights_counts_but_in_bic():
    one = fit(weights=np.ones(80), **given("full"))
    same(one, fit(**given("full")), 1e-13)
    for size in (1e-100, 1.25e-5, 1e100):
        same(fit(weights=np.full(80, size), **given("full")), one, 1e-12)


def test_a_nan_row_counts_as_nan_even_with_weight_0():
    weights = np.ones(80)
    weights[43] = 0
    with pytest.raises(ValueError, match="free of NaN; row 43"):
        fit(put(NAN), weights=weights)


# --- names of columns


# --- a fit and what was there before it


def state(mixture):
    """Return everything an estimator holds, as bytes."""
    return {
        name: pickle.dumps(each) for name, each in vars(mixture).items()
    }


def test_fit_changes_nothing_that_it_was_given():
    x, weights = X.copy(), np.ones(80)
    start = {name: np.array(each) for name, each in given("full").items()}
    start["covariance_type"] = "full"
    kept_start = copy.deepcopy(start)
    mixture = fit(x, weights=weights, max_iter=0, **start)
    mixture.means_ += 1.0
    mixture.weights_[:] = 0.5
    fit(x, weights=weights, **start)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(weights, 1)
    for name, value in start.items():
        np.testing.assert_array_equal(value, kept_start[name])
    table = EVEN.copy()
    fit(init_params=table)
    np.testing.assert_array_equal(table, EVEN)


def test_a_second_fit_forgets_the_first():
    x = two_blobs(seed=4, d=3)
    used = fit(k=3, covariance_type="full").partial_fit(X)
    used.set_params(n_components=2, covariance_type="tied").fit(x)
    fresh = fit(x, covariance_type="tied")
    assert state(used) == state(fresh)
    used = fresh.partial_fit(X[:, [0, 1, 0]])
    fresh = GaussianMixture(2, covariance_type="tied", random_state=0)
    assert state(used) == state(fresh.partial_fit(X[:, [0, 1, 0]]))


def after(count, what=KeyboardInterrupt):
    """Return a function that fails when it is called so many times."""
    calls = []

    def call(function, *args):
        calls.append(1)
        if len(calls) > count:
            raise what
        return function(*args)

    return call


def test_an_interrupted_fit_leaves_the_last_one_whole(monkeypatch):
    mixture = fit().partial_fit(X).fit(X)
    before, likeliest = state(mixture), mixture.predict(X)
    for room, name in (
        (shared, "next_turn"),
        (edge, "column_scale"),
        (edge, "_is_sound"),
    ):
        inner, stop = getattr(room, name), after(0)
        with monkeypatch.context() as patch:
            patch.setattr(room, name, partial(stop, inner))
            with pytest.raises(KeyboardInterrupt):
                mixture.fit(two_blobs(d=3))
        assert state(mixture) == before, name
        np.testing.assert_array_equal(mixture.predict(X), likeliest)


def test_an_interrupted_batch_leaves_the_stream_whole(monkeypatch):
    mixture = GaussianMixture(2, random_state=0).partial_fit(X)
    before = state(mixture)
    monkeypatch.setattr(
        GaussianMixture, "_set", partial(after(0), GaussianMixture._set)
    )
    with pytest.raises(KeyboardInterrupt):
        mixture.partial_fit(X)
    assert state(mixture) == before
    monkeypatch.undo()
    mixture.partial_fit(X)
    assert mixture.n_iter_ == 2


def test_a_fit_that_fails_leaves_the_last_one_whole():
    mixture = fit()
    before = state(mixture)
    with pytest.raises(ValueError, match="must be positive definite"):
        mixture.set_params(reg_covar=0.0).fit(np.ones((9, 3)))
    mixture.set_params(reg_covar=1e-6)
    assert state(mixture) == before
    bare = GaussianMixture()
    with pytest.raises(ValueError, match="free of NaN"):
        bare.fit(put(NAN))
    with pytest.raises(NotFittedError):
        bare.predict(X)


def test_options_set_after_a_fit_do_not_change_what_is_fitted(tmp_path):
    for kind in TYPES:
        mixture = fit(covariance_type=kind)
        wanted = mixture.predict_proba(X), mixture.bic(X)
        other = TYPES[TYPES.index(kind) - 1]
        mixture.set_params(covariance_type=other, n_components=7)
        mixture.save(tmp_path / "mixture.json")
        again = GaussianMixture.load(tmp_path / "mixture.json")
        for each in (mixture, again):
            np.testing.assert_array_equal(each.predict_proba(X), wanted[0])
            assert each.bic(X) == wanted[1]
        mixture.set_params(n_components=2, warm_start=True).fit(X)
        same(mixture, fit(covariance_type=other))


@pytest.mark.parametrize("kind", TYPES)
def test_max_iter_0_is_the_start_with_every_attribute(kind):
    mixture = fit(max_iter=0, **given(kind))  # and no warning
    assert (mixture.n_iter_, mixture.converged_) == (0, False)
    assert len(mixture.history_) == 1
    assert mixture.lower_bound_ == pytest.approx(
        mixture.score(X), rel=1e-13
    )
    close(mixture.means_, [[1, 1], [4, 4]], 1e-15)
    np.testing.assert_array_equal(mixture.precisions_, ONES[kind])
    np.testing.assert_array_equal(mixture.precisions_cholesky_, ONES[kind])
    sound(mixture, X)
    assert fit(max_iter=0).n_iter_ == 0


def test_warnings_name_the_line_that_called():
    # However deep in the package: its frames are skipped. (Unwrapped: the
    # frames of the tests' own shape checks are not the package's.)
    scope = {"__name__": "emlib.any", "warn": inspect.unwrap(checks.warn)}
    exec(
        "def inner():\n    warn('odd')\n\ndef outer():\n    inner()", scope
    )
    with pytest.warns(UserWarning, match="odd") as told:
        scope["outer"]()
    assert told[0].filename == __file__


# --- copies, in memory and on disk


def test_pickles_copies_and_clones():
    mixture = fit(covariance_type="tied").partial_fit(X)
    for again in (
        pickle.loads(pickle.dumps(mixture)),
        copy.deepcopy(mixture),
    ):
        same(again, mixture)
        wanted = copy.deepcopy(mixture).partial_fit(X[:9])
        same(again.partial_fit(X[:9]), wanted)
    assert mixture.n_iter_ == 1
    bare = clone(mixture)
    assert bare.get_params() == mixture.get_params()
    assert not hasattr(bare, "means_")
    table = clone(GaussianMixture(2, init_params=EVEN, prior=(2, EYE)))
    same(table.fit(X), fit(init_params=EVEN, prior=(2, EYE)))


# --- threads


def answer(x, seed=0, **options):
    """Return all that a fit says, to compare to the last bit."""
    options = {"covariance_type": "full", "tol": 0.1, **options}
    mixture = GaussianMixture(2, random_state=seed, **options).fit(x)
    said = mixture.weights_, mixture.means_, mixture.covariances_
    return b"".join(each.tobytes() for each in said), mixture.history_


@pytest.mark.parametrize("kind", TYPES)
def test_one_thread_and_two_give_the_same_to_the_last_bit(
    kind, monkeypatch
):
    x = two_blobs(n=20_000, d=3)
    monkeypatch.setattr(scale.threads.joblib, "cpu_count", lambda: 2)
    seen = []
    for allowed in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        with threadpool_limits(2):  # the session has less
            with scale.thread_map(2) as mapper:
                assert (mapper is map) == (allowed == "1")
            seen.append(answer(x, covariance_type=kind))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("n", [40, 10_000])
def test_fits_side_by_side_give_what_each_gives_alone(n):
    x = two_blobs(n=n, apart=2.0)
    alone = [answer(x, seed) for seed in range(4)]
    beside = joblib.Parallel(n_jobs=3, prefer="threads")(
        joblib.delayed(answer)(x, seed) for seed in range(4)
    )
    assert alone == beside
