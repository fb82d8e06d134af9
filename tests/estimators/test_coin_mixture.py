"""CoinMixture against SciPy, flexmix, its own loop, and bad input."""

from __future__ import annotations

import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import entr, logsumexp
from scipy.stats import binom
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from emlib import CoinMixture, coins, datasets, fit
from emlib.estimators import coins as edge
from emlib.scale import Rows, budget

TABLE = datasets.unlabelled_coins().x
GIVEN = {"means_init": [0.6, 0.5]}
FITTED = ["weights_", "means_", "tosses_"]


def rows(n=60, seed=0, tosses=(1, 40)):
    """Return rows of two coins, which differ in their tosses."""
    rng = np.random.default_rng(seed)
    m = rng.integers(*tosses, size=n)  # (n,)
    heads = rng.binomial(m, rng.choice([0.2, 0.7], size=n))  # (n,)
    return np.stack([heads, m - heads], axis=1)


def scipys(x, coin):
    """Return the log joint, (n, k)."""
    tosses = x.sum(axis=1, keepdims=True)  # (n, 1)
    logs = binom.logpmf(x[:, :1], tosses, coin.means_)  # (n, k)
    return logs + np.log(coin.weights_)


def same(one, other, rtol=0.0):
    for name in ("weights_", "means_", "history_", "tosses_"):
        got, wanted = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(got, wanted, rtol=rtol, err_msg=name)


def small(monkeypatch, kinds=4, size=7):
    """Let few kinds be too many, and blocks be short."""
    monkeypatch.setattr(budget, "MAX_DISTINCT_ROWS", kinds)
    monkeypatch.setattr(budget, "SAMPLE_ROWS", kinds)
    monkeypatch.setattr(budget, "BLOCK_ROWS", size)


# --- the fit


@pytest.mark.many_turns
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_free_weights_give_flexmixs_answer(accelerate):
    coin = CoinMixture(
        **GIVEN, tol=0.0, accelerate=accelerate, warm_start=True
    )
    # The bound stands still while the chances are right to 1e-8 only: its
    # slope is zero there. A warm start goes on all the same.
    for _ in range(200):
        coin.fit(TABLE)
    wanted = [0.793367649613, 0.513916591214]
    np.testing.assert_allclose(coin.means_, wanted, rtol=0, atol=1e-11)
    wanted = [0.522751316897, 0.477248683103]
    np.testing.assert_allclose(coin.weights_, wanted, rtol=0, atol=1e-11)
    assert 5 * coin.lower_bound_ == pytest.approx(
        -9.795418956198, rel=0, abs=1e-11
    )


@pytest.mark.parametrize("learn_weights", [True, False])
def test_the_fit_is_the_loop_of_the_book(learn_weights):
    x = rows()
    coin = CoinMixture(learn_weights=learn_weights, **GIVEN, tol=0.0).fit(x)
    start = coins.Params(np.array([0.5, 0.5]), np.array([0.6, 0.5]))
    model = coins.Model(learn_weights)
    turns = coin.n_iter_
    wanted = fit(model, x, start, tol=-1.0, max_turns=turns)
    # Different orders of summation: some 1e-16 a row.
    np.testing.assert_allclose(coin.means_, wanted.params.means, rtol=1e-12)
    np.testing.assert_allclose(
        coin.weights_, wanted.params.weights, rtol=1e-12
    )
    mean = np.array(wanted.history) / len(x)
    np.testing.assert_allclose(coin.history_, mean, rtol=1e-12)


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", range(5))
def test_each_entry_of_history_is_the_score_of_its_own_turn(seed):
    x = rows(seed=seed)
    coin = CoinMixture(3, random_state=seed, tol=1e-6).fit(x)
    assert len(coin.history_) == coin.n_iter_ + 1
    assert coin.lower_bound_ == coin.history_[-1]
    assert coin.converged_
    for turns in (0, 1, coin.n_iter_):
        early = clone(coin).set_params(max_iter=turns, tol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            early.fit(x)
        assert early.n_iter_ == turns
        assert early.history_ == coin.history_[: turns + 1]
        evidence = logsumexp(scipys(x, early), axis=1).mean()
        assert early.lower_bound_ == pytest.approx(evidence, rel=1e-12)
        assert early.score(x) == pytest.approx(evidence, rel=1e-12)


@pytest.mark.many_turns
@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("seed", range(5))
def test_history_rises(seed, accelerate):
    x = rows(seed=seed)
    coin = CoinMixture(
        3, random_state=seed, accelerate=accelerate, max_iter=3000
    ).fit(x)
    assert coin.converged_
    # Sixty rows of some nats: rounding leaves about 1e-15.
    assert np.diff(coin.history_).min() > -1e-13


def test_squarem_finds_the_same_in_fewer_maps():
    x = rows(200, tosses=(1, 9))
    plain = CoinMixture(**GIVEN, tol=1e-13).fit(x)
    fast = CoinMixture(**GIVEN, tol=1e-13, accelerate="squarem").fit(x)
    assert fast.n_iter_ < plain.n_iter_ / 2
    assert len(fast.history_) < len(plain.history_) / 2
    # Both stop where a turn gains 1e-13 nats a row: about 1e-6 away.
    np.testing.assert_allclose(fast.means_, plain.means_, rtol=1e-5)
    assert fast.score(x) == pytest.approx(plain.score(x), abs=1e-11)


@pytest.mark.parametrize("most", range(8))
def test_squarem_does_no_more_maps_than_it_may(most):
    coin = CoinMixture(
        **GIVEN, tol=0.0, accelerate="squarem", max_iter=most
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        coin.fit(TABLE)
    assert coin.n_iter_ == most
    assert len(coin.history_) == 1 + most // 3 + most % 3


def test_tol_is_the_change_of_the_mean():
    coin = CoinMixture(**GIVEN, tol=1e-4).fit(TABLE)
    gains = np.diff(coin.history_)
    assert gains[-1] <= 1e-4 < gains[-2]
    many = CoinMixture(**GIVEN, tol=1e-4).fit(
        np.repeat(TABLE, 1000, axis=0)
    )
    assert many.n_iter_ == coin.n_iter_


@pytest.mark.many_turns
def test_restarts_are_ranked_by_the_likelihood():
    x, state = rows(tosses=(1, 60)), np.random.RandomState(3)
    alone = [
        CoinMixture(5, tol=1e-6, random_state=state).fit(x).lower_bound_
        for _ in range(6)
    ]
    best = CoinMixture(5, tol=1e-6, n_init=6, random_state=3).fit(x)
    assert len({round(bound, 6) for bound in alone}) > 1
    assert best.lower_bound_ == max(alone)


@pytest.mark.parametrize("options", [GIVEN, {"random_state": 1}])
def test_max_iter_0_returns_the_start_with_every_attribute(options):
    coin = CoinMixture(**options, max_iter=0).fit(TABLE)
    assert (coin.n_iter_, coin.converged_) == (0, False)
    assert coin.history_ == [coin.lower_bound_]
    assert coin.lower_bound_ == pytest.approx(coin.score(TABLE), rel=1e-13)
    assert coin.n_features_in_ == 2
    np.testing.assert_array_equal(coin.tosses_, [[10, 5]])
    if "means_init" in options:
        np.testing.assert_array_equal(coin.means_, [0.6, 0.5])
        assert coin.lower_bound_ * 5 == pytest.approx(-11.320586576)


def test_one_coin_is_the_pooled_share():
    x = rows()
    for accelerate in (None, "squarem"):
        coin = CoinMixture(1, accelerate=accelerate).fit(x)
        wanted = [x[:, 0].sum() / x.sum()]
        np.testing.assert_allclose(coin.means_, wanted, rtol=1e-14)
        np.testing.assert_array_equal(coin.weights_, [1.0])
        assert (coin.predict(x) == 0).all()


def test_a_warm_start_goes_on_from_the_last_fit():
    x = rows(tosses=(1, 9))
    whole = CoinMixture(**GIVEN, tol=1e-8).fit(x)
    part = CoinMixture(**GIVEN, tol=1e-8, max_iter=10, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        part.fit(x)
    assert part.history_ == whole.history_[:11]
    part.set_params(max_iter=1000).fit(x)
    assert part.history_ == whole.history_[10:]
    np.testing.assert_array_equal(part.means_, whole.means_)
    part.set_params(n_components=3, means_init=None, random_state=0).fit(x)
    assert part.means_.shape == (3,)


def test_given_weights_stay_or_are_where_it_starts():
    x, weights = rows(), [0.3, 0.7]
    fixed = CoinMixture(
        learn_weights=False, weights_init=weights, random_state=0
    ).fit(x)
    np.testing.assert_array_equal(fixed.weights_, weights)
    uniform = CoinMixture(learn_weights=False, random_state=0).fit(x)
    np.testing.assert_array_equal(uniform.weights_, [0.5, 0.5])
    start = CoinMixture(weights_init=weights, random_state=0, max_iter=0)
    np.testing.assert_array_equal(start.fit(x).weights_, weights)


def test_a_drawn_start_finds_the_coins():
    x = rows(4000, tosses=(20, 40))
    coin = CoinMixture(random_state=0).fit(x)
    # Two thousand rows of thirty tosses each: a standard error of 0.002.
    np.testing.assert_allclose(coin.means_, [0.2, 0.7], atol=0.01)
    np.testing.assert_allclose(coin.weights_, 0.5, atol=0.05)


def test_random_state_decides_the_start():
    x = rows(tosses=(1, 6))
    one, two = (
        CoinMixture(4, random_state=7, max_iter=0).fit(x) for _ in "ab"
    )
    same(one, two)
    starts = {
        tuple(CoinMixture(4, random_state=seed, max_iter=0).fit(x).means_)
        for seed in [*range(5), None, np.random.RandomState(9)]
    }
    assert len(starts) > 1


# --- certain coins, long rows, hard starts


def test_a_chance_of_0_or_1_is_right_where_some_coin_allows_every_row():
    x = np.array([[10, 0], [0, 10], [7, 0]])
    coin = CoinMixture(means_init=[1.0, 0.0]).fit(x)
    np.testing.assert_array_equal(coin.means_, [1, 0])
    np.testing.assert_allclose(coin.weights_, [2 / 3, 1 / 3], rtol=1e-15)
    np.testing.assert_array_equal(coin.predict(x), [0, 1, 0])
    np.testing.assert_allclose(
        coin.score_samples(x), np.log([2 / 3, 1 / 3, 2 / 3]), rtol=1e-14
    )


@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_rows_of_heads_alone_are_fitted(accelerate):
    x = np.array([[100, 0], [50, 0], [3, 9], [4, 8]])
    coin = CoinMixture(
        random_state=0, accelerate=accelerate, tol=1e-14
    ).fit(x)
    # The supremum: one coin of chance 1, one of 7 / 24. (7 / 24)^50 is the
    # share of the other coin in a row of heads.
    np.testing.assert_allclose(coin.means_, [7 / 24, 1], rtol=1e-14)
    assert np.isfinite(coin.history_).all()
    only = CoinMixture(1, means_init=[1.0]).fit(x[:2])
    assert (only.means_[0], only.lower_bound_) == (1.0, 0.0)


@pytest.mark.parametrize("scale", [1, 1000])
def test_ten_thousand_tosses_a_row(scale):
    x = scale * np.array([[3000, 7000], [9000, 1000], [3100, 6900]])
    coin = CoinMixture(means_init=[0.5, 0.6]).fit(x)
    np.testing.assert_allclose(coin.means_, [0.305, 0.9], rtol=1e-12)
    np.testing.assert_allclose(coin.weights_, [2 / 3, 1 / 3], rtol=1e-12)
    logs = logsumexp(scipys(x, coin), axis=1)
    # Log factorials of 1e7: a nat in 1e8, so 1e-8 is their rounding.
    np.testing.assert_allclose(
        coin.score_samples(x), logs, rtol=0, atol=1e-7
    )


def test_counts_too_large_for_a_key_are_fitted_all_the_same():
    x = np.array([[2**40, 2**40], [2**42, 2**41]])
    coin = CoinMixture(means_init=[0.4, 0.6]).fit(x)
    np.testing.assert_allclose(coin.means_, [1 / 2, 2 / 3], rtol=1e-12)


@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize(
    "options",
    [
        {"means_init": [0.5, 1.0]},
        {"means_init": [0.5, 0.3], "weights_init": [1, 0]},
    ],
)
def test_a_coin_without_rows_keeps_its_chance_and_is_named(
    options, accelerate
):
    coin = CoinMixture(**options, accelerate=accelerate)
    with pytest.warns(
        UserWarning, match="component 1 is responsible for no"
    ):
        coin.fit(TABLE)
    np.testing.assert_array_equal(coin.weights_, [1, 0])
    wanted = [0.66, options["means_init"][1]]
    np.testing.assert_allclose(coin.means_, wanted, rtol=1e-14)
    evidence = binom.logpmf(TABLE[:, 0], 10, 0.66)
    np.testing.assert_allclose(coin.score_samples(TABLE), evidence)
    assert set(coin.sample(20)[1]) == {0}


def test_equal_starts_are_warned_of_and_never_part():
    coin = CoinMixture(3, means_init=[0.4, 0.7, 0.4])
    with pytest.warns(UserWarning, match=r"\[0, 2\].*0.4.*never part"):
        coin.fit(TABLE)
    assert coin.means_[0] == coin.means_[2] != coin.means_[1]


def test_fewer_shares_than_coins_draw_equal_coins_and_a_warning():
    x = np.array([[1, 1], [2, 2], [6, 2], [3, 1]])
    coin = CoinMixture(3, random_state=0)
    with pytest.warns(UserWarning, match="never part"):
        coin.fit(x)
    assert len(set(coin.means_)) == 2
    assert coin.weights_.sum() == pytest.approx(1, rel=1e-14)
    with pytest.warns(UserWarning, match="never part"):
        CoinMixture(2, random_state=0).fit([[3, 1], [3, 1]])


@pytest.mark.many_turns
def test_the_warning_of_an_early_end_says_what_is_left_to_gain():
    x = rows(300, tosses=(1, 5))
    whole = CoinMixture(**GIVEN, tol=1e-14, max_iter=50_000).fit(x)
    for most in (50, 100, 200):
        with pytest.warns(ConvergenceWarning, match="max_iter") as seen:
            early = CoinMixture(**GIVEN, max_iter=most).fit(x)
        words = str(seen[0].message).split()
        said = float(words[words.index("about") + 1])
        left = whole.lower_bound_ - early.lower_bound_
        assert said == pytest.approx(left, rel=0.5)
        assert not early.converged_
    with pytest.warns(ConvergenceWarning) as seen:
        CoinMixture(**GIVEN, max_iter=1).fit(x)
    assert "about" not in str(seen[0].message)


# --- what is refused


def wrong_x():
    nan, inf = np.nan, np.inf
    return {
        r"Negative values in data\); row 1 is \[-1, 3\]. Column 0": [
            [1, 2],
            [-1, 3],
        ],
        r"whole numbers; row 1 is \[0.5, 3.0\]. Mult": [[1, 2], [0.5, 3]],
        r"free of NaN; row 1 is \[1.0, nan\]. Drop": [[1, 2], [1, nan]],
        r"finite; row 0 is \[inf, 2.0\]. Drop": [[inf, 2], [1, 1]],
        r"toss in every row; row 2 is \[0, 0\]. Drop": [
            [1, 2],
            [3, 4],
            [0, 0],
        ],
        r"\(n, 2\).*1D array.*\(3,\).*np.stack": [1, 2, 3],
        r"2 columns.*3 feature.*\(2, 3\).*np.stack": np.ones((2, 3)),
        "rows that count; received n_samples=1. Use fewer": [[1, 2]],
        "0 sample": np.ones((0, 2)),
        "dim 3": np.ones((2, 2, 2)),
    }


@pytest.mark.parametrize(("message", "x"), wrong_x().items())
def test_bad_rows_are_refused_in_words(message, x):
    with pytest.raises(ValueError, match=message):
        CoinMixture().fit(x)


def test_a_bad_row_has_its_number_in_a_later_block(monkeypatch):
    small(monkeypatch)
    x = rows(50)
    x[23] = -1
    with pytest.raises(ValueError, match="row 23"):
        CoinMixture().fit(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be a whole.*received 0"),
        ({"n_components": 1.5}, "n_components must be a whole"),
        ({"max_iter": -1}, "max_iter must be .* at least 0; received -1"),
        ({"n_init": 0}, "n_init must be .* at least 1; received 0"),
        ({"tol": -1e-3}, "tol must be a number, at least 0; received -0.0"),
        ({"tol": np.nan}, "tol must be"),
        ({"tol": "auto"}, "tol must be .*received 'auto'"),
        ({"accelerate": "fast"}, "accelerate must be one of .*'fast'"),
        ({"means_init": [0.5]}, "means_init must be 2 numbers from 0 to 1"),
        ({"means_init": [0.5, 1.5]}, r"means_init.*received \[0.5, 1.5\]"),
        ({"means_init": [0.5, np.nan]}, "means_init must be"),
        ({"means_init": [[0.5], [0.6]]}, "means_init must be"),
        (
            {"weights_init": [0.5, 0.6]},
            "2 numbers from 0 to 1 that sum to 1",
        ),
        ({"weights_init": [-0.5, 1.5]}, "weights_init must be"),
    ],
)
def test_bad_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        CoinMixture(**options).fit(TABLE)


def test_a_row_that_no_coin_allows_is_named():
    options = {"means_init": [1.0, 0.0]}
    x = np.array([[10, 0], [0, 10], [9, 1], [8, 2]])
    with pytest.raises(
        ValueError, match=r"\[1.0, 0.0\]; row 2 is \[9, 1\]"
    ):
        CoinMixture(**options).fit(x)
    coin = CoinMixture(**options).fit(x, sample_weight=[1, 1, 0, 0])
    for ask in (coin.predict, coin.predict_proba, coin.score):
        with pytest.raises(ValueError, match="row 2"):
            ask(x)
    assert coin.score(x, sample_weight=[1, 1, 0, 0]) == np.log(0.5)


@pytest.mark.parametrize(
    ("n", "tosses"),
    [(0, 5), (2, 0), (2, 2.5), (2, [1, 2, 3]), (2, "5")],
)
def test_bad_samples_are_refused_in_words(n, tosses):
    coin = CoinMixture(**GIVEN).fit(TABLE)
    with pytest.raises(
        ValueError, match=r"(n_samples|tosses) must be a whole"
    ):
        coin.sample(n, tosses)


# --- forms of input


def forms():
    x = rows()
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "list": x.tolist(),
        "uint8": x.astype(np.uint8),
        "int32": x.astype(np.int32),
        "float32": x.astype(np.float32),
        "float64": x.astype(np.float64),
        "object": x.astype(object),
        "big-endian": x.astype(">i4"),
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
        "read-only": read_only,
    }


@pytest.mark.parametrize("kinds", [4, 65_536])
@pytest.mark.parametrize("form", forms())
def test_every_form_of_input_gives_the_same(form, kinds, monkeypatch):
    small(monkeypatch, kinds)
    x, given = rows(), forms()[form]
    coin = CoinMixture(random_state=0, tol=1e-6)
    wanted = clone(coin).fit(x.astype(float))
    got = coin.fit(given)
    same(got, wanted, rtol=1e-12)
    np.testing.assert_allclose(
        got.predict_proba(given), wanted.predict_proba(x), rtol=1e-10
    )


def test_uint8_counts_do_not_wrap():
    x = np.array([[250, 250], [200, 55], [255, 1]], dtype=np.uint8)
    wanted = CoinMixture(random_state=0).fit(x.astype(float))
    got = CoinMixture(random_state=0).fit(x)
    same(got, wanted)
    assert got.tosses_[-1, 0] == 500


@pytest.mark.parametrize("kinds", [1, 65_536])
@pytest.mark.parametrize("options", [GIVEN, {"random_state": 0}])
def test_weight_0_is_absent_and_weight_2_is_twice(
    options, kinds, monkeypatch
):
    small(monkeypatch, kinds)
    x = rows()
    times = np.arange(len(x)) % 3  # (n,)
    long = np.repeat(x, times, axis=0)
    short = CoinMixture(**options, tol=1e-8)
    if kinds == 1 and "random_state" in options:
        # Seeds are then drawn from a sample of the rows, not from kinds.
        short.set_params(means_init=[0.3, 0.6])
    whole = clone(short).fit(long)
    short.fit(x, sample_weight=times)
    np.testing.assert_allclose(short.means_, whole.means_, rtol=1e-9)
    np.testing.assert_allclose(short.history_, whole.history_, rtol=1e-12)
    for ask in ("score", "bic", "aic", "icl"):
        got = getattr(short, ask)(x, sample_weight=times)
        assert got == pytest.approx(getattr(whole, ask)(long), rel=1e-9)
    if kinds > 1:
        np.testing.assert_array_equal(short.tosses_, whole.tosses_)


@pytest.mark.parametrize("options", [GIVEN, {"random_state": 0}])
def test_blocks_and_counted_kinds_agree(options, monkeypatch):
    x = np.concatenate([rows(), rows(), rows(seed=1)])
    whole = CoinMixture(3, means_init=[0.1, 0.5, 0.9], tol=1e-8).fit(x)
    small(monkeypatch)
    parts = CoinMixture(3, means_init=[0.1, 0.5, 0.9], tol=1e-8).fit(x)
    # Another order of summation, some hundred turns long.
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-10)
    np.testing.assert_allclose(parts.history_, whole.history_, rtol=1e-12)
    ask = parts.predict_proba(x), parts.score_samples(x)
    monkeypatch.undo()
    np.testing.assert_array_equal(ask[0], parts.predict_proba(x))
    np.testing.assert_array_equal(ask[1], parts.score_samples(x))


def test_equal_rows_are_counted_once(monkeypatch):
    x = np.concatenate([rows(), rows()])
    counted = edge.distinct_rows(Rows(x))
    kinds, times = np.unique(x, axis=0, return_counts=True)
    np.testing.assert_array_equal(counted.x, kinds)
    np.testing.assert_array_equal(counted.multiplicity, times)
    small(monkeypatch, kinds=len(kinds))
    again = edge.distinct_rows(Rows(x))
    np.testing.assert_array_equal(again.multiplicity, times)
    small(monkeypatch, kinds=len(kinds) - 1)
    assert edge.distinct_rows(Rows(x)).x is x


def peak(n):
    """Return the bytes that a fit and a score take beyond their rows."""
    x = rows(n, tosses=(20, 2000))
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        CoinMixture(3, random_state=0, max_iter=2).fit(x).score(x)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.many_turns
def test_memory_does_not_grow_with_the_rows():
    few, many = peak(200_000), peak(800_000)
    assert abs(many - few) < 1e5
    assert many < 16e6


@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_the_number_of_threads_changes_no_bit(accelerate, monkeypatch):
    x = rows(2000, tosses=(20, 2000))
    small(monkeypatch, size=100)
    monkeypatch.setattr(budget, "COIN_BYTES", 8000)  # 142 rows a block
    told = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(
            "emlib.scale.threads._core_count", lambda n=cores: n
        )
        coin = CoinMixture(2, random_state=0, accelerate=accelerate)
        told.append(coin.fit(x))
    same(told[1], told[0])
    same(told[2], told[0])


# --- what a fitted mixture says


@pytest.mark.parametrize("learn_weights", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_scipys_binomials(seed, learn_weights):
    x = rows(seed=seed)
    coin = CoinMixture(
        3, learn_weights=learn_weights, random_state=seed, tol=1e-4
    ).fit(x)
    joint = scipys(x, coin)  # (n, k)
    evidence = logsumexp(joint, axis=1)  # (n,)
    resp = np.exp(joint - evidence[:, None])  # (n, k)
    np.testing.assert_allclose(coin.score_samples(x), evidence, rtol=1e-11)
    np.testing.assert_allclose(coin.predict_proba(x), resp, rtol=1e-9)
    np.testing.assert_array_equal(coin.predict(x), resp.argmax(axis=1))
    assert coin.score(x) == pytest.approx(evidence.mean(), rel=1e-12)
    free = 5 if learn_weights else 3
    bic = -2 * evidence.sum() + free * np.log(60)
    assert coin.bic(x) == pytest.approx(bic, rel=1e-12)
    aic = -2 * evidence.sum() + 2 * free
    assert coin.aic(x) == pytest.approx(aic, rel=1e-12)
    icl = bic + 2 * entr(resp).sum()
    assert coin.icl(x) == pytest.approx(icl, rel=1e-12)


def test_ties_go_to_the_lowest_index():
    coin = CoinMixture(
        learn_weights=False, means_init=[0.75, 0.25], max_iter=0
    ).fit(TABLE)
    assert coin.predict([[5, 5]]) == [0]
    np.testing.assert_array_equal(
        coin.predict_proba([[5, 5]]), [[0.5, 0.5]]
    )


def test_samples_follow_the_fit():
    x = np.concatenate([rows(400), np.tile([3, 2], (100, 1))])
    coin = CoinMixture(random_state=0).fit(x)
    drawn, labels = coin.sample(20_000)
    assert drawn.dtype.kind == labels.dtype.kind == "i"
    for k in range(2):
        # Five standard errors.
        weight, chance = coin.weights_[k], coin.means_[k]
        error = np.sqrt(weight * (1 - weight) / 20_000)
        assert abs((labels == k).mean() - weight) < 5 * error
        heads, tails = drawn[labels == k].sum(axis=0)
        error = np.sqrt(chance * (1 - chance) / (heads + tails))
        assert abs(heads / (heads + tails) - chance) < 5 * error
    seen, times = np.unique(x.sum(axis=1), return_counts=True)
    np.testing.assert_array_equal(coin.tosses_, np.stack([seen, times], 1))
    share = times[seen == 5][0] / len(x)
    error = np.sqrt(share * (1 - share) / 20_000)
    assert abs((drawn.sum(axis=1) == 5).mean() - share) < 5 * error
    assert set(drawn.sum(axis=1)) <= set(seen)


def test_samples_have_the_tosses_asked_for():
    coin = CoinMixture(**GIVEN, random_state=0).fit(TABLE)
    assert (coin.sample(7, 3)[0].sum(axis=1) == 3).all()
    x, labels = coin.sample(3, [4, 1, 9.0])
    np.testing.assert_array_equal(x.sum(axis=1), [4, 1, 9])
    assert labels.shape == (3,)
    one = coin.sample()[0]
    assert one.shape == (1, 2)
    np.testing.assert_array_equal(one, coin.sample()[0])


# --- copies, on disk and off


# --- scikit-learn's own checks


class AnyMatrix(CoinMixture):
    """Takes any matrix: its even and odd columns, summed, are counts."""

    def _check_rows(self, X, reset):
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        sums = [X[:, side::2].sum(axis=1).round() for side in (0, 1)]
        counts = np.stack(sums, axis=1)  # (n, 2)
        counts += counts >= 0  # a toss in every row; a negative one stays
        edge._check_counts(counts)
        return counts


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        AnyMatrix(),
        AnyMatrix(3, n_init=2, accelerate="squarem", learn_weights=False),
    ]
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_history_entries_are_plain_numbers():
    coin = CoinMixture(**GIVEN, tol=np.float64(1e-6)).fit(TABLE)
    assert {type(value) for value in coin.history_} == {float}
    assert type(coin.n_iter_) is int
    assert type(coin.converged_) is bool
    assert all(a <= b + 1e-14 for a, b in pairwise(coin.history_))
