"""KMeans against scikit-learn, brute force, its own loop, and bad input."""

from __future__ import annotations

import tracemalloc
import warnings
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn import cluster
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from emlib import KMeans, fit, kmeans, one_pass
from emlib.estimators import empty_clusters, seeding
from emlib.scale import InBlocks, Rows, blocks, budget

SEEDS = range(5)
SHAPES = [(40, 1, 2), (60, 3, 4), (500, 2, 8), (300, 12, 5), (50, 4, 50)]


def cloud(seed=0, n=60, d=3):
    """Return rows of some overlapping clusters."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + rng.choice([0, 3], size=(n, d))


def weights(n, seed=0):
    """Return how often rows count: some not at all."""
    return np.random.default_rng(seed).integers(0, 4, size=n) / 2


def small(monkeypatch, size=7, parts=5, few=0, numbers=64):
    """Let blocks be short, and few rows be too many."""
    monkeypatch.setattr(budget, "BLOCK_ROWS", size)
    monkeypatch.setattr(budget, "MAX_BLOCKS", parts)
    monkeypatch.setattr(budget, "EXACT_SEED_ROWS", few)
    monkeypatch.setattr(budget, "MARGIN_ROWS", few)
    monkeypatch.setattr(budget, "CLUSTER_BYTES", 4 * numbers)


def quiet(estimator, x, **options):
    """Return the fitted estimator, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(x, **options)


def same(one, other, rtol=1e-10):
    """Compare two fits: labels and turns exactly."""
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.labels_.dtype == other.labels_.dtype
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_allclose(
        one.cluster_centers_, other.cluster_centers_, rtol=rtol, atol=rtol
    )
    assert one.cluster_centers_.dtype == other.cluster_centers_.dtype
    assert one.inertia_ == pytest.approx(other.inertia_, rel=rtol)


def exact(x, means):
    """Return the inertia and the labels, in fractions."""
    total, labels = Fraction(0), []
    centres = [[Fraction(float(v)) for v in mean] for mean in means]
    for row in x:
        point = [Fraction(float(v)) for v in row]
        apart = [
            sum((a - b) ** 2 for a, b in zip(point, c, strict=True))
            for c in centres
        ]
        total += min(apart)
        labels.append(apart.index(min(apart)))
    return float(total), labels


# --- scikit-learn's answers


@pytest.mark.parametrize("tol", [1e-4, 0, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_from_a_given_start_the_answers_are_scikit_learns(seed, shape, tol):
    n, d, k = shape
    x = cloud(seed, n, d)
    options = {"init": x[:k].copy(), "tol": tol}
    same(KMeans(k, **options).fit(x), cluster.KMeans(k, **options).fit(x))


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("n_init", ["auto", 3])
@pytest.mark.parametrize("shape", [(60, 3, 4), (200, 2, 8), (20, 2, 1)])
@pytest.mark.parametrize("seed", SEEDS)
def test_from_a_random_state_the_answers_are_scikit_learns(
    seed, shape, n_init, init
):
    n, d, k = shape
    x = cloud(seed, n, d)
    options = {"init": init, "n_init": n_init, "random_state": seed}
    same(KMeans(k, **options).fit(x), cluster.KMeans(k, **options).fit(x))


def test_a_random_state_is_used_on_and_on_as_scikit_learns():
    x = cloud()
    ours, theirs = (np.random.RandomState(3) for _ in "ab")
    for _ in range(3):
        same(
            KMeans(4, random_state=ours).fit(x),
            cluster.KMeans(4, random_state=theirs).fit(x),
        )


@pytest.mark.parametrize("turns", range(1, 6))
def test_stopped_early_the_answers_are_scikit_learns(turns):
    x = cloud(n=500)
    options = {"init": x[:8].copy(), "max_iter": turns}
    got = quiet(KMeans(8, **options), x)
    same(got, cluster.KMeans(8, **options).fit(x))
    assert not got.converged_


@pytest.mark.parametrize("seed", SEEDS)
def test_weighted_answers_are_scikit_learns(seed):
    x, times = cloud(seed, 300), weights(300, seed)
    # scikit-learn's `tol` is in units of the variance without weights.
    options = {"init": x[times > 0][:6], "tol": 0}
    got = KMeans(6, **options).fit(x, sample_weight=times)
    wanted = cluster.KMeans(6, **options).fit(x, sample_weight=times)
    same(got, wanted)
    assert got.score(x, sample_weight=times) == -got.inertia_


@pytest.mark.parametrize("seed", SEEDS)
def test_single_precision_answers_are_scikit_learns(seed):
    x = cloud(seed, 300).astype(np.float32)
    options = {"init": x[:5].copy(), "tol": 0}
    got = KMeans(5, **options).fit(x)
    # Theirs are sums in single precision: 300 units of 6e-8.
    same(got, cluster.KMeans(5, **options).fit(x), rtol=1e-5)
    assert got.cluster_centers_.dtype == np.float32
    assert got.transform(x).dtype == np.float32


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("few", [0, 65_536])
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_are_those_of_scikit_learn(seed, few, counted, monkeypatch):
    small(monkeypatch, few=few)
    x = cloud(seed, 200)
    times = weights(len(x), seed) if counted else None
    spread = seeding.Spread(200.0, x.mean(axis=0), 1e3)
    got = seeding.far_rows(
        Rows(x, times),
        9,
        np.random.RandomState(seed),
        spread,
        np.empty(200, np.int32),
        map,
    )
    wanted, _ = cluster.kmeans_plusplus(
        x, 9, sample_weight=times, random_state=seed
    )
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_picks_are_those_of_numpy(seed, counted, monkeypatch):
    small(monkeypatch)
    x = cloud(seed, 50)
    times = weights(len(x), seed) if counted else None
    chances = np.ones(50) if times is None else times
    for k in (1, 20, int(np.count_nonzero(chances))):
        state, other = (np.random.RandomState(seed) for _ in "ab")
        got = seeding.random_rows(Rows(x, times), k, state)
        chosen = other.choice(
            50, k, replace=False, p=chances / chances.sum()
        )
        np.testing.assert_array_equal(got, x[chosen])
        assert len(np.unique(got, axis=0)) == k


# --- the book's loop, and laws


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fit_is_the_loop_of_the_book(seed):
    x = cloud(seed)
    got = KMeans(4, init=x[:4].copy(), tol=0).fit(x)
    start = kmeans.Params(x[:4].copy())
    wanted = fit(kmeans.Model(), x, start, tol=-1.0, max_turns=got.n_iter_)
    np.testing.assert_allclose(
        got.cluster_centers_, wanted.params.means, rtol=1e-12
    )
    inertias = -2 * np.array(wanted.history)
    np.testing.assert_allclose(got.history_, inertias, rtol=1e-12)


@pytest.mark.many_turns
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_many_starts_is_the_best_there_is(seed):
    x = cloud(seed, 8, 2)
    best = min(
        sum(
            ((x[z == j] - x[z == j].mean(axis=0)) ** 2).sum()
            for j in np.unique(z)
        )
        for z in map(np.array, product(range(3), repeat=8))
    )
    got = KMeans(3, n_init=50, init="random", random_state=0).fit(x)
    assert got.inertia_ == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_inertia_never_rises(seed, counted):
    x = cloud(seed, 300)
    times = weights(len(x), seed) if counted else None
    got = KMeans(9, random_state=seed, tol=0).fit(x, sample_weight=times)
    # Rounding of sums over 300 rows.
    assert np.diff(got.history_).max() <= 1e-13 * got.history_[0]
    assert got.history_[-1] == got.inertia_
    assert len(got.history_) == got.n_iter_ + 1


def test_each_entry_of_history_is_the_inertia_of_its_own_turn():
    x = cloud(n=300)
    whole = KMeans(6, random_state=2).fit(x)
    for turns in range(whole.n_iter_ + 1):
        early = quiet(KMeans(6, random_state=2, max_iter=turns), x)
        assert early.n_iter_ == turns
        assert early.converged_ == (turns == whole.n_iter_)
        inertia, labels = exact(x, early.cluster_centers_)
        np.testing.assert_array_equal(early.labels_, labels)
        for found in (early.inertia_, -early.score(x)):
            assert found == pytest.approx(inertia, rel=1e-14)
        assert whole.history_[turns] == pytest.approx(inertia, rel=1e-12)


@pytest.mark.parametrize("init", ["given", "k-means++"])
@pytest.mark.parametrize("tol", [0, 0.01])
@pytest.mark.parametrize("seed", SEEDS)
def test_weight_0_is_absent_and_weight_2_is_twice(seed, tol, init):
    x = cloud(seed)
    times = np.arange(len(x)) % 3  # (n,)
    x[times == 0] *= 100
    long = np.repeat(x, times, axis=0)
    start = long[[0, 9, 19, 30]] if init == "given" else init
    short = KMeans(4, init=start, tol=tol, random_state=seed)
    whole = clone(short).fit(long)
    short.fit(x, sample_weight=times)
    assert short.n_iter_ == whole.n_iter_
    np.testing.assert_allclose(
        short.cluster_centers_, whole.cluster_centers_, rtol=1e-12
    )
    labels = np.repeat(short.labels_, times)
    np.testing.assert_array_equal(labels, whole.labels_)
    assert short.inertia_ == pytest.approx(whole.inertia_, rel=1e-12)
    np.testing.assert_allclose(short.history_, whole.history_, rtol=1e-11)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_and_clusters_have_no_order(seed):
    x, rng = cloud(seed), np.random.default_rng(seed)
    rows, order = rng.permutation(len(x)), rng.permutation(4)
    one = KMeans(4, init=x[:4].copy()).fit(x)
    other = KMeans(4, init=x[:4][order]).fit(x[rows])
    np.testing.assert_array_equal(order[other.labels_], one.labels_[rows])
    np.testing.assert_allclose(
        other.cluster_centers_, one.cluster_centers_[order], rtol=1e-13
    )
    assert other.n_iter_ == one.n_iter_


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("counted", [False, True])
def test_blocks_change_nothing(counted, init, monkeypatch):
    x = cloud(n=400)
    times = weights(len(x)) if counted else None
    alone = KMeans(7, init=init, random_state=0, n_init=2)
    whole = clone(alone).fit(x, sample_weight=times)
    asked = whole.predict(x), whole.transform(x), whole.score(x)
    small(monkeypatch)
    parts = clone(alone).fit(x, sample_weight=times)
    same(parts, whole, rtol=1e-13)
    np.testing.assert_array_equal(parts.predict(x), asked[0])
    np.testing.assert_allclose(parts.transform(x), asked[1], rtol=1e-13)
    assert parts.score(x) == pytest.approx(asked[2], rel=1e-13)


@pytest.mark.many_turns
@pytest.mark.parametrize("far", [0, 1e6])
def test_threads_change_no_bit(far, monkeypatch):
    monkeypatch.setattr(budget, "BLOCK_ROWS", 100)
    x, found = cloud(n=3000) + far, []
    for cores in "12":
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        with threadpool_limits(2):  # the session has less
            found.append(KMeans(5, random_state=0).fit(x))
    one, other = found
    same(one, other, rtol=0)
    assert one.history_ == other.history_


@pytest.mark.parametrize("k", [1, 4, 40])
def test_threads_of_matrix_products_change_no_bit(k):
    x, found = cloud(n=12_000, d=7), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(KMeans(k, random_state=0).fit(x))
    one, other = found
    same(one, other, rtol=0)
    assert one.history_ == other.history_


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_by_products_are_seeds_by_differences(
    seed, apart, monkeypatch
):
    x = cloud(seed, 400)
    if apart:  # two groups, tight beside the way between them
        x[::2] += 1e7
    size, mean = float(len(x)), x.mean(axis=0)
    spread = seeding.Spread(size, mean, float(((x - mean) ** 2).sum()))
    found = []
    for rough in (seeding.ROUGH, np.inf):
        monkeypatch.setattr(seeding, "ROUGH", rough)
        state, labels = np.random.RandomState(seed), np.empty(400, "i4")
        rows = Rows(x)
        found.append(seeding.far_rows(rows, 12, state, spread, labels, map))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_of_a_hundred_million_deviations_changes_nothing(seed):
    x = cloud(seed, 300)
    shift = np.array([1e8, -1e8, 3e8]) * x.std(axis=0)
    moved = (x + shift) - shift  # what is left of x there
    one = KMeans(5, init=moved[:5].copy()).fit(moved)
    other = KMeans(5, init=(x + shift)[:5]).fit(x + shift)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.n_iter_ == other.n_iter_
    # Centres there have a spacing of 3e-8 or 6e-8.
    apart = other.cluster_centers_ - shift - one.cluster_centers_
    assert abs(apart).max() < 1e-6
    assert other.inertia_ == pytest.approx(one.inertia_, rel=1e-6)
    np.testing.assert_allclose(other.history_, one.history_, rtol=1e-6)
    drawn = [
        KMeans(5, random_state=seed).fit(rows)
        for rows in (moved, x + shift)
    ]
    np.testing.assert_array_equal(drawn[0].labels_, drawn[1].labels_)


@pytest.mark.parametrize("scale", [1e-3, 1e-100, 1e-130, 1e100, 1e150])
@pytest.mark.parametrize("few", [0, 65_536])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scale_changes_only_the_scale(seed, few, scale, monkeypatch):
    small(monkeypatch, size=50, few=few, numbers=2**18)
    x = cloud(seed, 120)
    one = KMeans(4, random_state=seed).fit(x)
    other = KMeans(4, random_state=seed).fit(scale * x)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.n_iter_ == other.n_iter_
    wanted = scale * one.cluster_centers_
    np.testing.assert_allclose(other.cluster_centers_, wanted, rtol=1e-12)
    inertia = scale * one.inertia_ * scale
    assert other.inertia_ == pytest.approx(inertia, rel=1e-12)
    np.testing.assert_array_equal(other.predict(scale * x), one.labels_)


def test_the_tolerance_is_in_units_of_the_mean_variance():
    x = cloud(n=500)
    got = KMeans(8, init=x[:8].copy(), tol=1e-3).fit(x)
    moves = []
    for turns in range(got.n_iter_ + 1):
        early = quiet(KMeans(8, init=x[:8].copy(), max_iter=turns), x)
        moves.append(early.cluster_centers_)
    shifts = (np.diff(moves, axis=0) ** 2).sum(axis=(1, 2))
    most = 1e-3 * x.var(axis=0).mean()
    assert shifts[-1] <= most < shifts[:-1].min()


# --- empty clusters, equal rows


def test_an_empty_cluster_takes_the_worst_explained_row():
    x = np.array([[0.0], [1.0], [2.0], [30.0]])
    got = quiet(KMeans(2, init=[[1.0], [-99.0]], max_iter=1), x)
    # The row at 30 has left the first cluster, whose mean is 1.
    np.testing.assert_array_equal(got.cluster_centers_, [[1], [30]])
    np.testing.assert_array_equal(got.labels_, [0, 0, 0, 1])


def test_several_empty_clusters_take_the_several_worst_rows():
    x = np.array([[0.0], [1.0], [-20.0], [2.0], [30.0]])
    init = [[-99.0], [1.0], [-98.0]]
    got = quiet(KMeans(3, init=init, max_iter=1), x)
    np.testing.assert_array_equal(got.cluster_centers_, [[30], [1], [-20]])
    assert got.inertia_ == 2


def test_of_equally_bad_rows_the_first_is_taken(monkeypatch):
    small(monkeypatch, size=2)
    x = np.array([[0.0], [5.0], [0.0], [-5.0], [5.0]])
    got = quiet(KMeans(2, init=[[0.0], [99.0]], max_iter=1), x)
    np.testing.assert_array_equal(got.cluster_centers_, [[0], [5]])


def test_a_row_that_does_not_count_is_not_taken():
    x = np.array([[0.0], [1.0], [2.0], [1e6], [9.0]])
    got = quiet(
        KMeans(2, init=[[1.0], [-99.0]], max_iter=1),
        x,
        sample_weight=[1, 1, 1, 0, 2],
    )
    np.testing.assert_allclose(got.cluster_centers_, [[1], [9]], rtol=1e-14)


@pytest.mark.parametrize("times", [[0.1, 0.2], [1, 1]])
def test_a_cluster_that_gave_its_last_row_away_is_not_a_wreck(times):
    x = np.array([[0.0], [1.0]])
    init = [[0.4], [99.0], [98.0]]
    with pytest.raises(ValueError, match="n_clusters=3"):
        KMeans(3, init=init).fit(x, sample_weight=times)
    statistics, _ = one_pass.kmeans.Model().expect(
        x, kmeans.Params(np.array(init)), np.array(times, dtype=float)
    )
    worst = empty_clusters.worst_rows(
        [(x, np.array(times))], kmeans.Params(np.array(init)), 2
    )
    filled = empty_clusters.refilled(statistics, np.array([1, 2]), worst)
    found = kmeans.Model().maximise(filled, kmeans.Params(np.array(init)))
    np.testing.assert_allclose(
        found.means, [[0.4], [1], [0]], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_one_empty_cluster_is_filled_as_scikit_learn_does(seed):
    x = cloud(seed)
    options = {"init": np.concatenate([x[:3], [[99.0] * 3]]), "tol": 0}
    same(KMeans(4, **options).fit(x), cluster.KMeans(4, **options).fit(x))


@pytest.mark.parametrize("seed", SEEDS)
def test_many_empty_clusters_are_filled_and_inertia_falls(seed):
    x = cloud(seed, 100)
    init = np.concatenate([x[:2], np.full((8, 3), 99.0)])
    got = KMeans(10, init=init, tol=0).fit(x)
    assert len(set(got.labels_)) == 10
    assert np.diff(got.history_).max() <= 1e-13 * got.history_[0]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e8 + 0.1])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fewer_different_rows_than_clusters_are_warned_of(init, value):
    x = value * np.array([[1.0, 2.0]] * 7 + [[2.0, 5.0]] * 6)
    with pytest.warns(
        ConvergenceWarning, match=r"clusters \(2\).*n_clusters \(4\)"
    ):
        got = KMeans(4, init=init, random_state=0).fit(x)
    assert got.inertia_ <= 1e-28 * value**2
    assert got.converged_
    assert np.isfinite(got.cluster_centers_).all()
    assert len(set(got.labels_)) == 2


def test_a_constant_column_changes_nothing():
    x = cloud()
    wide = np.column_stack([x, np.full(len(x), 0.1)])
    one = KMeans(3, random_state=1, tol=0).fit(x)
    other = KMeans(3, random_state=1, tol=0).fit(wide)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    centres = other.cluster_centers_
    np.testing.assert_allclose(centres[:, 3], 0.1, rtol=1e-15)


def test_as_many_clusters_as_rows_leave_no_inertia():
    x = cloud(n=10)
    got = KMeans(10, random_state=0).fit(x)
    assert got.inertia_ == 0
    assert sorted(got.labels_) == list(range(10))
    np.testing.assert_array_equal(got.cluster_centers_[got.labels_], x)


def test_one_cluster_is_the_mean():
    x = cloud()
    got = KMeans(1).fit(x)
    np.testing.assert_allclose(
        got.cluster_centers_[0], x.mean(axis=0), rtol=1e-14
    )
    total = ((x - x.mean(axis=0)) ** 2).sum()
    assert got.inertia_ == pytest.approx(total, rel=1e-14)


# --- starts


def test_a_start_may_be_called_for():
    x, calls = cloud() + 9, []

    def start(rows, k, random_state):
        calls.append((rows is x, k, random_state.randint(99)))
        return rows[:k]

    got = KMeans(4, init=start, random_state=5).fit(x)
    same(got, KMeans(4, init=x[:4]).fit(x))
    state = np.random.RandomState(5)
    assert calls == [(True, 4, state.randint(99)) for _ in range(10)]


def test_max_iter_0_returns_the_start():
    x = cloud()
    got = KMeans(4, init=x[:4].copy(), max_iter=0).fit(x)
    np.testing.assert_array_equal(got.cluster_centers_, x[:4])
    inertia, labels = exact(x, x[:4])
    np.testing.assert_array_equal(got.labels_, labels)
    assert got.history_ == [got.inertia_]
    assert got.inertia_ == pytest.approx(inertia, rel=1e-14)
    assert (got.n_iter_, got.converged_) == (0, False)


def test_the_given_start_is_left_as_it_was():
    x = cloud()
    start, rows = x[:4].copy(), x.copy()
    KMeans(4, init=start).fit(x)
    np.testing.assert_array_equal(start, x[:4])
    np.testing.assert_array_equal(rows, x)


@pytest.mark.many_turns
def test_more_starts_do_no_harm():
    x = cloud(n=200)
    alone = [KMeans(9, random_state=s).fit(x).inertia_ for s in range(9)]
    best = KMeans(9, n_init=9, random_state=0).fit(x).inertia_
    assert len({round(value, 6) for value in alone}) > 1
    assert best <= alone[0]


# --- warnings


def test_an_early_end_is_warned_of():
    x = cloud(n=500)
    with pytest.warns(
        ConvergenceWarning, match="after 2 turns.*tol=0.0001. Raise"
    ):
        KMeans(8, random_state=0, max_iter=2).fit(x)


def test_many_runs_of_one_start_are_warned_of():
    x = cloud()
    with pytest.warns(RuntimeWarning, match="n_init must be 1.*received 5"):
        got = KMeans(4, init=x[:4], n_init=5).fit(x)
    same(got, KMeans(4, init=x[:4]).fit(x))


# --- what is refused


def holed(value):
    x = cloud(n=40)
    x[23, 1] = value
    return x


@pytest.mark.parametrize(
    ("message", "x"),
    {
        r"Expected 2D array, got 1D array.*[Rr]eshape": [1.0, 2.0, 3.0],
        "dim 3": np.ones((9, 2, 2)),
        "0 sample": np.ones((0, 2)),
        "0 feature": np.ones((9, 0)),
        r"free of NaN; row 23 is .*nan.*Drop": holed(np.nan),
        r"finite, without inf; row 23 is .*inf.*mend": holed(np.inf),
        "finite, without inf; row 23 is .*-inf": holed(-np.inf),
        "n_clusters=2 must not exceed .*n_samples=1. Use": [[1.0, 2.0]],
        "could not convert string": [["a", "b"], ["c", "d"]],
        "[Cc]omplex": np.ones((9, 2)) * 1j,
        r"squared distances.*mean square of inf.*Divide": 1e200 * cloud(),
        r"squared distances.*nan.*Divide": [[1e308], [-1e308], [0.0]],
        r"squared distances.*0.0e\+00.*Divide": 1e-200 * cloud(),
        r"squared distances.*e-3": 1e-150 * cloud(),
    }.items(),
)
def test_bad_rows_are_refused_in_words(message, x):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        KMeans(2).fit(x)


def test_a_bad_row_has_its_number_in_a_later_block(monkeypatch):
    small(monkeypatch)
    with pytest.raises(ValueError, match="row 23"):
        KMeans(2).fit(holed(np.nan))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be a whole.*received 0"),
        ({"n_clusters": 2.5}, "n_clusters must be a whole.*received 2.5"),
        ({"n_clusters": "3"}, "n_clusters must be a whole"),
        ({"n_clusters": 61}, "n_clusters=61 must not exceed"),
        ({"max_iter": -1}, "max_iter must be .* at least 0; received -1"),
        ({"max_iter": 2.0}, "max_iter must be"),
        ({"n_init": 0}, 'n_init must be .* or "auto"; received 0'),
        ({"n_init": "many"}, "n_init must be .*received 'many'"),
        ({"n_init": None}, "n_init must be .*received None"),
        ({"tol": -1e-3}, "tol must be a number, at least 0; received -0.0"),
        ({"tol": np.nan}, "tol must be .*received nan"),
        ({"tol": "auto"}, "tol must be .*received 'auto'"),
        ({"init": "best"}, 'init must be "k-means[+][+]".*received .best'),
        ({"init": None}, "init must give centres of shape"),
        (
            {"init": np.ones((2, 3))},
            r"init must give .*\(4, 3\); received shape \(2, 3\). Give",
        ),
        ({"init": np.ones((4, 2))}, r"received shape \(4, 2\)"),
        ({"init": np.ones(12)}, r"received shape \(12,\)"),
        ({"init": lambda x, k, random_state: x[:1]}, r"shape \(1, 3\)"),
        (
            {"init": np.full((4, 3), np.nan)},
            r"init must give finite centres.*row 0 is \[nan.*Take",
        ),
        ({"init": np.full((4, 3), 1e200)}, "not too far from X; row 0"),
    ],
)
def test_bad_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        KMeans(**{"n_clusters": 4, **options}).fit(cloud())


@pytest.mark.parametrize("ask", ["predict", "transform", "score"])
def test_rows_that_the_fitted_cannot_take_are_refused(ask):
    got = KMeans(3, random_state=0).fit(cloud())
    question = getattr(got, ask)
    for x, message in (
        (cloud(d=2), "2 features.*expecting 3"),
        (holed(np.nan), "row 23 is .*nan"),
        (holed(np.inf), "row 23 is .*inf"),
        (holed(1e200), "near enough.*row 23 is .*1e[+]200.*Divide"),
        (np.ones(3), "1D array"),
        (np.ones((0, 3)), "0 sample"),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            question(x)


def test_a_far_row_has_its_number_in_a_later_piece(monkeypatch):
    small(monkeypatch, size=200)
    got = KMeans(3, random_state=0).fit(cloud())
    x = cloud(n=600)
    x[350, 1] = 1e200
    for ask in (got.predict, got.transform, got.score):
        with pytest.raises(ValueError, match=r"near enough.*row 350 is"):
            ask(x)


def test_a_bad_weight_of_a_score_is_refused():
    got = KMeans(3, random_state=0).fit(cloud())
    with pytest.raises(ValueError, match="row 0 is -1"):
        got.score(cloud(n=2), sample_weight=[-1, 1])


# --- forms of input


def forms():
    x = np.random.default_rng(3).integers(0, 99, size=(60, 3))
    read_only = x.astype(float)
    read_only.flags.writeable = False
    wide = np.zeros((120, 6))
    wide[::2, ::2] = x
    return {
        "list": x.tolist(),
        "uint8": x.astype(np.uint8),
        "int32": x.astype(np.int32),
        "bool": x > 40,
        "float16": x.astype(np.float16),
        "float32": x.astype(np.float32),
        "object": x.astype(object),
        "big-endian": x.astype(">f8"),
        "fortran": np.asfortranarray(x.astype(float)),
        "strided": wide[::2, ::2],
        "backwards": x[::-1, ::-1].astype(float)[::-1, ::-1],
        "read-only": read_only,
    }


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("form", forms())
def test_every_form_of_input_gives_the_same(form, blocked, monkeypatch):
    if blocked:
        small(monkeypatch)
    given = forms()[form]
    x = np.array(given, dtype=float)
    alone = KMeans(5 if form != "bool" else 2, random_state=0)
    wanted = quiet(clone(alone), x)
    got = quiet(clone(alone), given)
    # Centres of single precision are rounded to 6e-8.
    rtol = 1e-6 if form == "float32" else 1e-12
    np.testing.assert_array_equal(got.labels_, wanted.labels_)
    np.testing.assert_allclose(
        got.cluster_centers_, wanted.cluster_centers_, rtol=rtol
    )
    np.testing.assert_array_equal(got.predict(given), wanted.labels_)
    np.testing.assert_allclose(
        got.transform(given), wanted.transform(x), rtol=rtol, atol=1e-4
    )


def peak(n, **options):
    """Return the bytes that a fit takes beyond its rows and labels."""
    x = np.random.default_rng(0).normal(size=(n, 10)) + 20
    tracemalloc.start()
    quiet(KMeans(8, random_state=0, max_iter=2, **options), x)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most - 4 * n


@pytest.mark.many_turns
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_memory_does_not_grow_with_the_rows(init, monkeypatch):
    assert peak(400_000, init=init, n_init=1) < 16e6
    small(monkeypatch, size=2000, parts=4, few=0, numbers=2**15)
    few, many = (peak(n, init=init, n_init=1) for n in (100_000, 200_000))
    assert abs(many - few) < 2e5  # 2 bytes a row


# --- what the fitted says


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_are_scipys(seed):
    x, other = cloud(seed), cloud(seed + 9, 99)
    got = KMeans(4, random_state=seed).fit(x)
    wanted = cdist(other, got.cluster_centers_)
    np.testing.assert_allclose(got.transform(other), wanted, rtol=1e-13)
    np.testing.assert_array_equal(got.predict(other), wanted.argmin(axis=1))
    inertia = (wanted.min(axis=1) ** 2).sum()
    assert got.score(other) == pytest.approx(-inertia, rel=1e-13)


def test_the_distance_to_a_centre_that_is_a_row_is_0():
    x = cloud() + 1e8
    got = KMeans(4, init=x[:4].copy(), max_iter=0).fit(x)
    np.testing.assert_array_equal(np.diag(got.transform(x[:4])), 0)


def test_the_fits_of_the_mixins_agree():
    x, times = cloud(), weights(60)
    alone = KMeans(3, random_state=0)
    for options in ({}, {"sample_weight": times}):
        got = clone(alone).fit(x, **options)
        labels = clone(alone).fit_predict(x, **options)
        np.testing.assert_array_equal(labels, got.labels_)
        np.testing.assert_array_equal(got.predict(x), got.labels_)
        apart = clone(alone).fit_transform(x, **options)
        np.testing.assert_array_equal(apart, got.transform(x))
    names = ["kmeans0", "kmeans1", "kmeans2"]
    assert list(got.get_feature_names_out()) == names


def test_ties_go_to_the_lowest_index():
    x = [[0.0], [1.0], [4.0], [5.0]]
    got = KMeans(2, init=[[0.5], [4.5]]).fit(x)
    np.testing.assert_array_equal(got.predict([[2.5], [2.51]]), [0, 1])
    got = KMeans(2, init=[[4.5], [0.5]]).fit(x)
    np.testing.assert_array_equal(got.predict([[2.5], [2.49]]), [0, 1])


# --- copies, on disk and off


def fitted(state=5, dtype=np.float64, **options):
    x = cloud().astype(dtype)
    return KMeans(3, random_state=state, **options).fit(x)


def equal(one, other):
    """Compare to the last bit."""
    same(one, other, rtol=0)
    assert one.inertia_ == other.inertia_
    assert one.history_ == other.history_
    assert one.converged_ is other.converged_
    assert one.n_features_in_ == other.n_features_in_
    x = cloud(9)
    np.testing.assert_array_equal(one.transform(x), other.transform(x))
    names = [each.get_feature_names_out().tolist() for each in (one, other)]
    assert names[0] == names[1]


def test_a_start_that_is_a_function_cannot_be_saved(tmp_path):
    def start(x, k, random_state):
        return x[:k]

    got = KMeans(3, init=start).fit(cloud())
    with pytest.raises(ValueError, match="init must be a name or centres"):
        got.save(tmp_path / "k.json")
    assert not list(tmp_path.iterdir())


# --- scikit-learn's own checks

# The one that scikit-learn's KMeans is excused from: it puts the rows in
# another order, and a drawn start depends on that.
EXCUSED = {
    "check_sample_weight_equivalence_on_dense_data": "starts are drawn",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        KMeans(),
        KMeans(2, init="random", n_init=2, max_iter=5),
    ],
    expected_failed_checks=lambda _: EXCUSED,
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_results_are_plain_numbers():
    got = fitted(tol=np.float64(1e-6))
    assert {type(value) for value in got.history_} == {float}
    assert type(got.inertia_) is float
    assert type(got.score(cloud())) is float
    assert type(got.n_iter_) is int
    assert type(got.converged_) is bool
    assert got.labels_.dtype == np.int32


def test_a_blocked_model_takes_the_fast_way():
    x = cloud(n=90)
    params = kmeans.Params(x[:4].copy())
    statistics, bound = InBlocks(kmeans.Model()).e_step(
        blocks(x, size=20), params
    )
    assert statistics.counts.sum() == 90
    said = kmeans.Model().e_step(x, params).log_evidence.sum()
    assert bound[0] == pytest.approx(said, rel=1e-12)
