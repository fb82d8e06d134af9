"""GaussianMixture against scikit-learn, its loop and the readable form.

Bad and extreme input is in test_inputs.py, missing values elsewhere.
"""

from __future__ import annotations

import pickle
import re
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
from jaxtyping import config
from scipy.special import entr
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Rival
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from emlib import GaussianMixture, em, gaussians, one_pass
from emlib.estimators.stopping import TurnRecord, is_auto_end
from emlib.models.covariances import COVARIANCES
from emlib.speed import jacobian

TYPES = list(COVARIANCES)
LEARNED = ["weights_", "means_", "covariances_"]
FITTED = [*LEARNED, "precisions_", "precisions_cholesky_"]


@pytest.fixture
def unchecked():
    """Leave out the shape checks: they cost more than a turn does."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def points(n=300, d=2, k=3, seed=0, apart=2.0):
    """Return points of k Gaussians of different shapes, which overlap."""
    rng = np.random.default_rng(seed)
    means, z = apart * rng.normal(size=(k, d)), rng.integers(k, size=n)
    shapes = np.eye(d) + 0.5 * rng.normal(size=(k, d, d))
    noise = rng.normal(size=(n, d))
    return means[z] + np.einsum("nij,nj->ni", shapes[z], noise)


def given(x, k=3, kind="full", seed=0):
    """Return one start for both: k of the points, as wide as all."""
    rng, d = np.random.default_rng(seed), x.shape[1]
    spread = np.cov(x.T).reshape(d, d)
    precision, variances = np.linalg.inv(spread), np.diag(spread)
    shapes = {
        "full": np.repeat(precision[None], k, axis=0),
        "tied": precision,
        "diag": np.repeat(1 / variances[None], k, axis=0),
        "spherical": np.full(k, 1 / variances.mean()),
    }
    return {
        "n_components": k,
        "covariance_type": kind,
        "weights_init": np.full(k, 1 / k),
        "means_init": x[rng.choice(len(x), k, replace=False)],
        "precisions_init": shapes[kind],
    }


def overlapping(seed, n=1000):
    """Return a pair whose halves are 1.8 standard deviations apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) + 1.8 * rng.integers(2, size=n)
    return x[:, None]


PAIR = {
    "n_components": 2,
    "weights_init": [0.5, 0.5],
    "means_init": [[-1.0], [2.0]],
    "precisions_init": [[[1.0]], [[1.0]]],
    "reg_covar": 0.0,
}


def run(mixture, x, quiet=ConvergenceWarning, **options):
    """Fit, whether or not it converges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", quiet)
        return mixture.fit(x, **options)


def close(got, wanted, rtol, message=""):
    """Compare arrays, relative to the largest entry."""
    some = rtol * np.abs(wanted).max()
    np.testing.assert_allclose(
        got, wanted, rtol=0, atol=some, err_msg=message
    )


def same(one, other, rtol=0.0, names=FITTED):
    for name in names:
        close(getattr(one, name), getattr(other, name), rtol, name)


def params(mixture):
    kind = COVARIANCES[mixture.covariance_type]
    return kind(mixture.weights_, mixture.means_, mixture.covariances_)


# --- scikit-learn's own checks, none excused


# Fifty rows of noise do not converge, and that is said; more than that
# would be an error here.
@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        GaussianMixture(),
        # One component: two would be drawn from rows that count twice, and
        # from rows that stand there twice, by different chances.
        GaussianMixture(
            covariance_type="tied",
            accelerate="squarem",
            tol="auto",
            prior="auto",
            reg_covar="relative",
            on_collapse="restart",
        ),
    ]
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


# --- equal starts, equal answers


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reg", [1e-6, 0.0])
@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_from_equal_starts_the_answers_are_scikit_learns(
    seed, kind, d, reg
):
    x, new = points(d=d, seed=seed), points(d=d, seed=seed + 9)
    start = given(x, 3, kind, seed) | {"reg_covar": reg}
    ours = run(GaussianMixture(**start, random_state=3, max_iter=40), x)
    theirs = run(Rival(**start, random_state=3, max_iter=40), x)
    same(ours, theirs, 1e-10)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ == theirs.converged_
    close(ours.lower_bounds_[:-1], theirs.lower_bounds_, 1e-10)
    for ask in ("score_samples", "predict_proba", "predict"):
        close(getattr(ours, ask)(new), getattr(theirs, ask)(new), 1e-10)
    for ask in ("score", "bic", "aic"):
        close(getattr(ours, ask)(new), getattr(theirs, ask)(new), 1e-10)
    for got, wanted in zip(ours.sample(50), theirs.sample(50), strict=True):
        close(got, wanted, 1e-9)
    np.testing.assert_array_equal(
        clone(ours).fit_predict(x) if ours.converged_ else ours.predict(x),
        theirs.predict(x),
    )


@pytest.mark.parametrize("kind", TYPES)
def test_a_warm_start_goes_on_as_scikit_learns_does(kind):
    x = points(400)
    ours, theirs = (
        each(**given(x, 3, kind), warm_start=True, max_iter=5)
        for each in (GaussianMixture, Rival)
    )
    turns = []
    for most in (5, 100, 100, 1, 0, 3):
        for each in (ours, theirs):
            run(each.set_params(max_iter=most), x)
        same(ours, theirs, 1e-10)
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.converged_ == theirs.converged_ or most == 0
        turns.append(ours.n_iter_)
    assert turns[2] == 1  # once converged, one turn is enough to see it


@pytest.mark.usefixtures("unchecked")
def test_a_warm_start_needs_a_fit_of_the_same_form():
    x = points()
    mixture = GaussianMixture(3, warm_start=True, random_state=0).fit(x)
    for options in (
        {"covariance_type": "tied"},
        {"n_components": 2},
        {"covariance_type": "diag"},  # (k, d), as (d, d) was
    ):
        fresh = GaussianMixture(3, random_state=0)
        fresh.set_params(**mixture.get_params()).set_params(**options)
        same(mixture.set_params(**options).fit(x), fresh.fit(x))


@pytest.mark.parametrize("kind", TYPES)
def test_max_iter_0_is_the_start(kind):
    x = points()
    start = given(x, 3, kind)
    mixture = GaussianMixture(**start, max_iter=0).fit(x)  # no warning
    close(mixture.weights_, start["weights_init"], 1e-14)
    close(mixture.means_, start["means_init"], 1e-14)
    close(mixture.precisions_, start["precisions_init"], 1e-12)
    assert (mixture.n_iter_, mixture.converged_) == (0, False)
    assert mixture.history_ == [mixture.lower_bound_]
    assert mixture.score(x) == pytest.approx(
        mixture.lower_bound_, rel=1e-13
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("how", ["k-means++", "random_from_data", "random"])
def test_the_highest_of_n_init_wins(how, monkeypatch):
    x, ends = points(120, seed=4, apart=1.0), []
    climb = GaussianMixture._climb

    def watched(self, *args):
        run = climb(self, *args)
        ends.append(run.records[-1].bound / len(x))
        return run

    monkeypatch.setattr(GaussianMixture, "_climb", watched)
    mixture = GaussianMixture(4, init_params=how, n_init=5, random_state=3)
    run(mixture.set_params(tol=1e-4, max_iter=500), x, UserWarning)
    assert len(ends) == 5
    assert len({round(end, 3) for end in ends}) > 1
    assert mixture.lower_bound_ == max(ends)
    # The likelihood of what is returned, not of a turn before it.
    assert mixture.score(x) == pytest.approx(max(ends), rel=1e-12)


def test_given_responsibilities_are_a_start():
    x = points()
    table = np.eye(3)[np.arange(len(x)) % 3]
    mixture = GaussianMixture(3, init_params=table, max_iter=0).fit(x)
    means = [x[part::3].mean(axis=0) for part in range(3)]
    close(mixture.means_, means, 1e-13)
    times = np.ones(len(x))
    times[::3] = 0.0  # no row that counts is given to component 0
    times[0] = 1.0
    some = GaussianMixture(3, init_params=table, max_iter=0)
    some.set_params(reg_covar=0.5)
    with pytest.warns(UserWarning, match="component 0"):
        some.fit(x, sample_weight=times)
    close(some.means_[1:], means[1:], 1e-13)
    close(some.means_[0], x[0], 1e-13)


# --- history


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_each_entry_of_history_is_the_score_of_its_own_turn(seed, kind):
    x = points(seed=seed)
    start = given(x, 3, kind, seed)
    whole = run(GaussianMixture(**start, tol=0, max_iter=12), x)
    assert len(whole.history_) == 13
    assert whole.lower_bound_ == whole.history_[-1]
    assert whole.lower_bounds_ == whole.objective_ == whole.history_
    for turns in range(13):
        early = run(GaussianMixture(**start, tol=0, max_iter=turns), x)
        assert early.history_ == whole.history_[: turns + 1]
        # Two ways to sum three hundred numbers.
        assert early.score(x) == pytest.approx(
            early.lower_bound_, rel=1e-13
        )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", range(4))
def test_without_regularisation_history_rises(seed, kind, accelerate):
    x = points(seed=seed, apart=1.0)
    mixture = GaussianMixture(
        **given(x, 3, kind, seed), accelerate=accelerate, reg_covar=0.0
    )
    run(mixture.set_params(tol=0, max_iter=90), x)
    # A few nats a row, known to 1e-15 of themselves.
    assert np.diff(mixture.history_).min() > -1e-13


def test_with_regularisation_history_may_fall():
    x = points(seed=1, apart=1.0)
    start = given(x, 3) | {"reg_covar": 0.1}
    mixture = GaussianMixture(**start, tol=0, max_iter=100)
    with pytest.warns(UserWarning, match=r"reg_covar=0.1 is \d+% of"):
        run(mixture, x)
    assert np.diff(mixture.history_).min() < -1e-5
    assert mixture.score(x) == pytest.approx(mixture.lower_bound_)


@pytest.mark.many_turns
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("reg", [0.0, 1e-6])
@pytest.mark.parametrize("seed", range(4))
def test_tol_auto_leaves_less_than_a_thousandth_of_a_nat(
    seed, reg, accelerate
):
    for x, start in (
        (overlapping(seed), PAIR),
        (points(seed=seed), given(points(seed=seed), 3, "diag", seed)),
    ):
        options = start | {"reg_covar": reg, "accelerate": accelerate}
        mixture = GaussianMixture(**options, tol="auto", max_iter=9000)
        reached = mixture.fit(x).lower_bound_  # converges, or an error
        mixture.set_params(warm_start=True, tol=1e-13, accelerate="squarem")
        left = mixture.fit(x).lower_bound_ - reached
        assert left * len(x) < 1e-3


def test_tol_auto_is_not_taken_in_by_a_pause():
    # The gains fall to a hundredth in one turn and then hold out for long.
    gains = 2.0 * 0.1 ** np.arange(50) + 1e-3 * 0.999 ** np.arange(50)
    history = np.cumsum([-1000, *gains])
    told = [record(turn, bound) for turn, bound in enumerate(history)]
    for end in range(2, 51):
        assert not is_auto_end(told[:end])
    soon = np.cumsum([-1000, *(2.0 * 0.1 ** np.arange(50))])
    told = [record(turn, bound) for turn, bound in enumerate(soon)]
    ends = [is_auto_end(told[:end]) for end in range(2, 15)]
    assert ends.index(True) == 5  # at seven bounds


def record(turn, bound):
    return TurnRecord(turn, float(bound), float(bound))


# --- what scikit-learn has not


@pytest.mark.parametrize("kind", TYPES)
def test_relative_regularisation_knows_no_unit(kind):
    x = points(d=3)
    unit = np.array([1e-5, 1.0, 3e4])
    unit = np.full(3, 7e-5) if kind == "spherical" else unit
    start = given(x, 3, kind) | {"reg_covar": "relative"}
    scaled = start | {"means_init": start["means_init"] * unit}
    square = unit[:, None] * unit if kind in ("full", "tied") else unit**2
    square = unit[0] ** 2 if kind == "spherical" else square
    scaled["precisions_init"] = start["precisions_init"] / square
    one = GaussianMixture(**start).fit(x)
    two = GaussianMixture(**scaled).fit(x * unit)
    assert one.n_iter_ == two.n_iter_
    close(two.weights_, one.weights_, 1e-11)
    close(two.means_ / unit, one.means_, 1e-11)
    close(two.covariances_ / square, one.covariances_, 1e-11)
    close(two.predict_proba(x * unit), one.predict_proba(x), 1e-10)
    shift = np.log(unit).sum()
    close(np.array(two.history_) + shift, one.history_, 1e-11)
    # It is 1e-6 of each column's variance.
    absolute = start | {"reg_covar": 1e-6 * x.var(axis=0).mean()}
    if kind == "spherical":
        close(GaussianMixture(**absolute).fit(x).means_, one.means_, 1e-12)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("prior", ["auto", "given"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_with_a_prior_the_objective_rises(seed, kind, prior):
    x = points(100, seed=seed, apart=1.0)
    belief = "auto" if prior == "auto" else (5.0, [[2.0, 0.5], [0.5, 3.0]])
    start = given(x, 3, kind, seed)
    mixture = GaussianMixture(**start, reg_covar=0, prior=belief)
    run(mixture.set_params(tol=0, max_iter=60), x)
    assert np.diff(mixture.objective_).min() > -1e-13
    assert len(mixture.objective_) == len(mixture.history_)
    assert mixture.lower_bound_ == pytest.approx(
        mixture.score(x), rel=1e-13
    )
    if prior == "auto":
        belief = (4.0, np.cov(x.T, bias=True) / 3)
    model = gaussians.Model(
        kind, prior=gaussians.Prior(belief[0], np.array(belief[1]))
    )
    wanted = mixture.score(x) + model.log_prior(params(mixture)) / len(x)
    assert mixture.objective_[-1] == pytest.approx(wanted, rel=1e-12)
    step = next(em(model, x, params(mixture)))
    # The M-step is where the expected log joint and the prior peak: there
    # the slope is zero, and a move to any side leads down.
    start = model.maximise(model.summarise(x, step.posterior))
    top = model.pack(start)

    def height(vector):
        at = model.unpack(vector, start)
        expected = (step.resp * model.log_joint(x, at)).sum()
        return np.array([expected + model.log_prior(at)])

    # Differences of a thousand nats over 2e-5: known to 1e-8 or so.
    assert abs(jacobian(height, top)).max() < 1e-5
    rng = np.random.default_rng(seed)
    for nudge in 0.01 * rng.normal(size=(5, len(top))):
        assert height(top + nudge) < height(top)


@pytest.mark.parametrize("kind", TYPES)
def test_with_a_prior_nothing_collapses(kind):
    x = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]], 20, axis=0)
    mixture = GaussianMixture(
        3, covariance_type=kind, reg_covar=0, random_state=0
    )
    mixture.set_params(prior=(4.0, 0.1 * np.eye(2))).fit(x)
    sizes = np.linalg.eigvalsh(params(mixture).matrices())
    # No smaller than the prior alone over all points.
    assert sizes.min() >= 0.1 / (len(x) + 4 + 3) * (1 - 1e-12)
    assert np.isfinite(mixture.history_).all()


@pytest.mark.many_turns
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", range(3))
def test_squarem_finds_the_same_in_fewer_maps(seed):
    x = overlapping(seed)
    plain = GaussianMixture(**PAIR, tol=1e-12, max_iter=9000).fit(x)
    fast = clone(plain).set_params(accelerate="squarem").fit(x)
    assert fast.n_iter_ < plain.n_iter_ / 4
    assert plain.n_iter_ > 1700
    assert np.diff(fast.history_).min() > -1e-13
    # Where a turn gains 1e-12 and leaves 0.99 of what was left, about
    # 1e-10 nats are left, and the flat direction is 1e-3 long.
    assert fast.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-9)
    close(fast.means_, plain.means_, 2e-3)
    still = clone(fast).set_params(tol=1e-15).fit(x)
    start = dict(zip(PAIR, [2, still.weights_, still.means_], strict=False))
    start["precisions_init"] = still.precisions_
    start["reg_covar"] = 0.0
    one = run(GaussianMixture(**start, max_iter=1), x)
    close(one.means_, still.means_, 1e-7)


@pytest.mark.parametrize("most", range(9))
def test_n_iter_counts_maps(most, monkeypatch):
    calls, model = [], one_pass.gaussians.Model
    inner = model.maximise

    def counted(self, *args):
        calls.append(1)
        return inner(self, *args)

    monkeypatch.setattr(model, "maximise", counted)
    mixture = GaussianMixture(**PAIR, tol=0, accelerate="squarem")
    run(mixture.set_params(max_iter=most), overlapping(0))
    assert len(calls) == mixture.n_iter_ == most
    assert len(mixture.history_) <= 1 + most // 3 + 2


# --- rows that count more than once


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "times",
    [
        np.arange(300) % 3,
        np.where(np.arange(300) % 2, 1.5, 0.5),
    ],
    ids=["whole", "halves"],
)
def test_weights_count_rows(times, kind):
    x = points()
    start = given(x, 3, kind)
    whole = 2 * times if times.dtype == float else times
    long = np.repeat(x, whole.astype(int), axis=0)
    short = GaussianMixture(**start).fit(x, sample_weight=times)
    wanted = GaussianMixture(**start).fit(long)
    same(short, wanted, 1e-11)
    close(short.history_, wanted.history_, 1e-12)
    assert short.n_iter_ == wanted.n_iter_
    got = short.score(x, sample_weight=times)
    assert got == pytest.approx(wanted.score(long), rel=1e-12)
    labels = clone(short).fit_predict(x, sample_weight=times)
    np.testing.assert_array_equal(labels, short.predict(x))
    if whole is times:
        for ask in ("bic", "aic", "icl"):
            got = getattr(short, ask)(x, sample_weight=times)
            wanted_one = getattr(wanted, ask)(long)
            assert got == pytest.approx(wanted_one, rel=1e-11)


def test_icl_is_bic_and_twice_the_entropy():
    x = points()
    mixture = GaussianMixture(3, random_state=0).fit(x)
    wanted = mixture.bic(x) + 2 * entr(mixture.predict_proba(x)).sum()
    assert mixture.icl(x) == pytest.approx(wanted, rel=1e-12)


# --- streams


@pytest.mark.parametrize("kind", TYPES)
def test_the_first_batch_replaces_and_the_next_has_its_step(kind):
    x = points(500)
    first, second, third = x[:100], x[100:350], x[350:]
    start = given(first, 3, kind) | {"reg_covar": 1e-3}
    mixture = GaussianMixture(**start).partial_fit(first)
    same(mixture, run(GaussianMixture(**start, max_iter=1), first), 1e-12)
    assert mixture.score(first) == pytest.approx(mixture.lower_bound_)
    model = gaussians.Model(kind, reg_covar=1e-3)

    def a_row(rows, at):
        found = model.summarise(rows, model.e_step(rows, at))
        found = found.about(np.zeros_like(found.origin))
        parts = [found.counts, found.first, found.second]
        return [part / len(rows) for part in parts]

    begin = GaussianMixture(**start, max_iter=0).fit(first)
    held = a_row(first, params(begin))
    for batch, rows in ((2, second), (3, third)):
        share, new = (batch + 1) ** -0.6, a_row(rows, params(mixture))
        held = [
            (1 - share) * old + share * this
            for old, this in zip(held, new, strict=True)
        ]
        said = mixture.score(rows)  # before it is learned from
        mixture.partial_fit(rows)
        origin = np.zeros((3, 2))
        total = gaussians.Statistics(held[0], origin, *held[1:])
        found = model.maximise(total)
        close(mixture.weights_, found.weights, 1e-12)
        close(mixture.means_, found.means, 1e-11)
        close(mixture.covariances_, found.covariances, 1e-10)
        assert mixture.history_[-1] == pytest.approx(said, rel=1e-12)
        assert mixture.n_iter_ == len(mixture.history_) == batch
        assert not mixture.converged_


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_approaches_the_truth(seed):
    truth = gaussians.Full(
        np.array([0.3, 0.7]),
        np.array([[-2.0, 0.0], [2.0, 1.0]]),
        np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.5, 0.0], [0.0, 0.5]]]),
    )
    rng = np.random.default_rng(seed)
    mixture = GaussianMixture(2, means_init=truth.means, random_state=0)
    errors = []
    for _ in range(60):
        x, _ = gaussians.Model().sample(truth, 200, rng)
        mixture.partial_fit(x)
        errors.append(abs(mixture.means_ - truth.means).max())
    # The last step is 0.085, so the moments are those of about 200 * 2 /
    # 0.085 = 4700 rows, 1400 of them of the rarer component, whose larger
    # variance is 2: a standard error of 0.04.
    assert errors[-1] < 0.15
    assert np.mean(errors[-10:]) < np.mean(errors[:3])
    close(mixture.weights_, truth.weights, 0.06)
    close(mixture.covariances_, truth.covariances, 0.15)
    x, z = gaussians.Model().sample(truth, 500, rng)
    assert (mixture.predict(x) == z).mean() > 0.9  # in the given order


def test_a_stream_keeps_its_form_and_a_fit_ends_it():
    x = points()
    mixture = GaussianMixture(3, random_state=0).partial_fit(x)
    with pytest.raises(ValueError, match="3 features"):
        mixture.partial_fit(points(d=3))
    with pytest.raises(ValueError, match="first batch"):
        mixture.set_params(n_components=2).partial_fit(x)
    mixture.set_params(n_components=3)
    with pytest.raises(ValueError, match="missing must be"):
        mixture.set_params(missing="em").partial_fit(x)
    mixture.set_params(missing="error").partial_fit(x[:1])
    assert mixture.n_iter_ == 2
    same(mixture.fit(x), GaussianMixture(3, random_state=0).fit(x))
    again = GaussianMixture(3, random_state=0).partial_fit(x)
    same(mixture.partial_fit(x), again)
    assert mixture.n_iter_ == 1


def test_few_rows_may_follow_given_starts():
    x = points()
    mixture = GaussianMixture(**given(x)).partial_fit(x[:2])
    assert np.isfinite(mixture.means_).all()
    with pytest.raises(ValueError, match="n_components=3 must not exceed"):
        GaussianMixture(3).partial_fit(x[:2])


def test_in_a_stream_a_prior_counts_once_among_all_rows():
    x = points()
    start = given(x) | {"prior": "auto", "reg_covar": 0.0}
    one = GaussianMixture(**start).partial_fit(x)
    same(one, run(GaussianMixture(**start, max_iter=1), x), 1e-12)
    assert one.objective_[0] < one.history_[0]


@pytest.mark.parametrize("weights", [None, np.arange(300) % 3 + 0.5])
def test_weights_count_in_a_stream(weights):
    x = points()
    some = GaussianMixture(**given(x)).partial_fit(x, sample_weight=weights)
    wanted = GaussianMixture(**given(x), max_iter=1)
    same(some, run(wanted, x, sample_weight=weights), 1e-12)


# --- collapse, and components without rows


def collapsing(kind):
    """Return points and a start from which a component shrinks to one."""
    rng = np.random.default_rng(0)
    wide, spot = rng.normal(size=(60, 2)), np.full((5, 2), 9.0)
    x = np.concatenate([wide, spot])
    start = given(x, 2, kind) | {"means_init": [[0.0, 0.0], [9.0, 9.0]]}
    if kind == "tied":  # one matrix can only be flat for all
        x[:, 1] = np.repeat([0.0, 9.0], [60, 5])
    start["precisions_init"] = (start["precisions_init"].T * 1e4).T
    return x, start | {"reg_covar": 0.0, "max_iter": 60}


@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_collapse_is_told_of_or_is_an_error(kind, accelerate):
    x, start = collapsing(kind)
    which = 0 if kind == "tied" else 1
    words = f"component {which} has collapsed onto a few points or a flat"
    mixture = GaussianMixture(**start, accelerate=accelerate)
    with pytest.warns(UserWarning, match=words):
        run(mixture, x)
    assert np.linalg.eigvalsh(params(mixture).matrices()).min() > 0
    assert np.isfinite(mixture.history_).all()
    assert mixture.lower_bound_ == pytest.approx(mixture.score(x))
    rows = mixture.predict_proba(x).sum(axis=1)
    np.testing.assert_allclose(rows, 1, rtol=1e-12)
    mixture.set_params(on_collapse="raise")
    with pytest.raises(ValueError, match=f"of component {which} is not"):
        mixture.fit(x)


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_a_collapsed_component_may_start_anew(kind):
    x, start = collapsing(kind)
    rng = np.random.default_rng(1)
    far = np.array([-8.0, 4.0]) + rng.normal(size=(40, 2))
    x = np.concatenate([x, far])
    mixture = GaussianMixture(**start, on_collapse="restart")
    with pytest.warns(UserWarning, match="component 1 .* started anew"):
        run(mixture, x)
    sizes = np.linalg.eigvalsh(params(mixture).matrices())
    assert (
        sizes.max(axis=1).min() > 0.01
    )  # it was 1e-4 wide, and then not at all
    assert mixture.lower_bound_ == pytest.approx(mixture.score(x))


def test_a_start_that_has_collapsed_is_an_error():
    x = np.repeat([[0.0], [1.0]], 5, axis=0)
    for begin in ("fit", "partial_fit"):
        mixture = GaussianMixture(2, reg_covar=0.0, random_state=0)
        with pytest.raises(ValueError, match="must be positive definite"):
            getattr(mixture, begin)(x)
        assert not hasattr(mixture, "means_")


@pytest.mark.parametrize("kind", TYPES)
def test_a_collapse_in_a_stream_is_told_of(kind):
    x, start = collapsing(kind)
    mixture = GaussianMixture(**start)
    with pytest.warns(UserWarning, match="has collapsed"):
        mixture.partial_fit(x).partial_fit(x)
    assert np.linalg.eigvalsh(params(mixture).matrices()).min() > 0
    mixture = GaussianMixture(**start, on_collapse="raise")
    with pytest.raises(ValueError, match="must be positive definite"):
        mixture.partial_fit(x).partial_fit(x)


@pytest.mark.parametrize("accelerate", [None, "squarem"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_component_without_rows_keeps_its_shape(kind, accelerate):
    x = points(k=2)
    start = given(x, 3, kind)
    start["means_init"][1] = 1e6
    mixture = GaussianMixture(**start, accelerate=accelerate)
    with pytest.warns(UserWarning, match="component 1 is responsible for"):
        run(mixture, x)
    assert mixture.weights_[1] == 0
    close(mixture.means_[1], [1e6, 1e6], 1e-12)
    if kind != "tied":
        wanted = 1 / start["precisions_init"][1]
        if kind == "full":
            wanted = np.linalg.inv(start["precisions_init"][1])
        close(mixture.covariances_[1], wanted, 1e-11)
    two = {
        name: np.delete(value, 1, axis=0)
        if np.ndim(value) and not (kind == "tied" and "prec" in name)
        else value
        for name, value in start.items()
    } | {"n_components": 2, "weights_init": [0.5, 0.5]}
    if accelerate is None:  # no leap has a dead component's weight
        close(
            mixture.means_[[0, 2]],
            run(GaussianMixture(**two), x).means_,
            1e-9,
        )
    assert set(mixture.sample(99)[1]) == {0, 2}


# --- warnings and what is printed


@pytest.mark.many_turns
@pytest.mark.usefixtures("unchecked")
def test_the_warning_of_an_early_end_says_what_is_left_to_gain():
    x = overlapping(1)
    whole = GaussianMixture(**PAIR, tol=1e-13, max_iter=20_000).fit(x)
    for most in (500, 800, 1100):
        early = GaussianMixture(**PAIR, tol=0.0, max_iter=most)
        with pytest.warns(ConvergenceWarning, match="max_iter") as told:
            early.fit(x)
        said = re.search(
            r"gain about (\S+) nats a row", str(told[0].message)
        )
        left = whole.lower_bound_ - early.lower_bound_
        # One rate is read off two gains; the last rate is a little slower.
        assert float(said[1]) == pytest.approx(left, rel=0.3)
    with pytest.warns(ConvergenceWarning) as told:
        GaussianMixture(**PAIR, max_iter=1).fit(x)
    assert "about" not in str(told[0].message)


@pytest.mark.parametrize("kind", TYPES)
def test_a_large_share_of_regularisation_is_told_of(kind):
    x = points(k=2, apart=8.0)
    x[x[:, 0] > x[:, 0].mean()] /= 50  # one of the two is small
    start = {"n_components": 2, "covariance_type": kind, "random_state": 0}
    mixture = GaussianMixture(**start, reg_covar=1e-5)
    if kind == "tied":
        mixture.fit(x)  # the pooled matrix is large, and nothing is said
        return
    with pytest.warns(UserWarning, match="reg_covar=1e-05 is") as told:
        mixture.fit(x)
    sizes = np.linalg.eigvalsh(params(mixture).matrices()).min(axis=1)
    small, text = int(sizes.argmin()), str(told[0].message)
    said = re.search(r"is (\d+)% of .*component (\d) .*\[(.*)\]", text)
    assert int(said[2]) == small
    assert said[3] == str(small)
    assert float(said[1]) == pytest.approx(1e-3 / sizes[small], abs=0.51)
    assert "collapsed" not in text
    with pytest.warns(UserWarning, match=f"collapsed component {small}"):
        mixture.set_params(reg_covar=3e-2).fit(x)
    mixture.set_params(reg_covar=1e-7).fit(x)  # below 1 %: no warning


def shown(estimator, x, capsys):
    run(estimator, x)
    out = capsys.readouterr()
    assert not out.err
    # Times differ, and so does which turn's change is told.
    return re.sub(r"(-?\d+\.\d+|inf)", "0.0", out.out)


@pytest.mark.parametrize("verbose", [1, True, 2])
@pytest.mark.parametrize("most", [0, 9, 100])
def test_verbose_prints_what_scikit_learns_does(most, verbose, capsys):
    x = points(apart=1.0)
    options = given(x) | {"verbose": verbose, "verbose_interval": 4}
    options |= {"max_iter": most, "n_init": 2}
    if most == 0:  # from given starts theirs fails
        options = {"n_components": 3, "max_iter": 0, "verbose": verbose}
    ours = shown(GaussianMixture(**options), x, capsys)
    assert ours == shown(Rival(**options), x, capsys)
    assert ours.count("Initialization") == (1 if most == 0 else 4)
    assert shown(GaussianMixture(**given(x)), x, capsys) == ""


def test_progress_writes_the_turns_to_standard_error(capsys):
    x = 1e3 * points()
    mixture = GaussianMixture(3, random_state=0, progress=True).fit(x)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().split("\r")
    assert len(lines) == mixture.n_iter_
    last = f"turn {mixture.n_iter_}: {mixture.lower_bound_:.6f} nats a row"
    assert lines[-1] == last
    assert err.endswith("\n")


# --- copies, on disk and off


def every_option():
    x = points()
    return {
        "plain": {"n_components": 3, "random_state": 0},
        "given": given(x, 3, "tied") | {"tol": np.float32(1e-3)},
        "lists": {
            "n_components": np.int64(2),
            "covariance_type": "diag",
            "weights_init": [0.5, 0.5],
            "means_init": [[0, 0], [1, 1]],
            "tol": "auto",
            "reg_covar": "relative",
            "max_iter": 500,
            "random_state": np.random.RandomState(3),
        },
        "prior": {
            "n_components": 2,
            "covariance_type": "spherical",
            "prior": (4, np.eye(2)),
            "accelerate": "squarem",
            "n_init": 2,
            "init_params": "random",
            "on_collapse": "restart",
            "random_state": 1,
            "warm_start": True,
            "max_iter": 5000,
        },
        "table": {
            "n_components": 2,
            "init_params": np.eye(2)[np.arange(300) % 2],
            "prior": "auto",
            "verbose_interval": 3,
            "max_iter": 1000,
        },
    }


def test_get_params_set_params_and_clone():
    for options in every_option().values():
        mixture = GaussianMixture(**options)
        kept = mixture.get_params()
        assert all(kept[name] is options[name] for name in options)
        other = GaussianMixture().set_params(**kept)
        assert other.get_params().keys() == kept.keys()
        mixture.fit(points())
        now = mixture.get_params()
        assert all(now[name] is kept[name] for name in kept)
        bare = clone(mixture)
        assert not [name for name in vars(bare) if name.endswith("_")]
    ours, theirs = GaussianMixture().get_params(), Rival().get_params()
    assert {name: ours[name] for name in theirs} == theirs


class Trap:
    """A pickle of it runs code when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("code was executed",))


def test_loading_executes_nothing(tmp_path):
    path = tmp_path / "mixture.json"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="must be a whole file"):
        GaussianMixture.load(path)


# --- memory, threads and single precision


@pytest.mark.parametrize("cores", [1, 2, 13, 64, 500])
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_few_points_fit_alike_on_any_machine(kind, cores, monkeypatch):
    rng = np.random.default_rng(0)
    x, times = rng.normal(size=(900, 10)), rng.uniform(size=900)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = GaussianMixture(2, covariance_type=kind, random_state=0)
        plain.set_params(max_iter=5).fit(x, sample_weight=times)
        monkeypatch.setattr("os.cpu_count", lambda: cores)
        other = clone(plain).fit(x, sample_weight=times)
    np.testing.assert_array_equal(other.means_, plain.means_)
    np.testing.assert_array_equal(other.covariances_, plain.covariances_)
    score = other.score(x, sample_weight=times)
    assert other.lower_bound_ == pytest.approx(score, rel=1e-12)


def peak(n, drawn):
    """Return the bytes that a fit takes beyond its rows."""
    x = np.random.default_rng(0).normal(size=(n, 10))
    start = {"n_components": 3, "init_params": drawn, "random_state": 0}
    start = start if drawn else given(x[:1000])
    mixture = GaussianMixture(**start, tol=0, max_iter=1)
    tracemalloc.start()
    run(mixture, x)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.many_turns
@pytest.mark.parametrize("drawn", [None, "random"])
def test_memory_does_not_grow_with_the_rows(drawn):
    few, many = (peak(n, drawn) for n in (100_000, 400_000))
    # Each thread holds features of at most four megabytes, and of at least
    # half of that: blocks are cut into even pieces.
    assert few < 16e6
    assert many < 16e6
    assert many < 2 * few


@pytest.mark.parametrize("kind", TYPES)
def test_the_number_of_threads_changes_no_bit(kind, monkeypatch):
    x = points(40_000, d=3)
    mixture = GaussianMixture(**given(x, 3, kind), tol=0, max_iter=3)
    told = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(
            "emlib.scale.threads._core_count", partial(int, cores)
        )
        with threadpool_limits(limits=1):
            told.append(run(clone(mixture), x))
    same(told[1], told[0])
    same(told[2], told[0])
    assert told[0].history_ == told[1].history_ == told[2].history_


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("seed", range(2))
def test_single_precision_is_close_to_double(seed, kind):
    x = points(2000, d=3, seed=seed, apart=4.0).astype(np.float32)
    near = run(
        GaussianMixture(**given(x.astype(np.float64), 3, kind, seed)),
        x.astype(np.float64),
    )
    start = given(x.astype(np.float64), 3, kind) | {
        "tol": 0,
        "max_iter": 10,
    }
    for name in ("weights", "means", "precisions"):
        start[f"{name}_init"] = getattr(near, f"{name}_")
    single = run(GaussianMixture(**start), x)
    double = run(GaussianMixture(**start), x.astype(np.float64))
    assert single.means_.dtype == single.covariances_.dtype == np.float64
    # Features are rounded to 6e-8, and a log joint of some tens of nats to
    # 1e-6; so is a responsibility. Ten turns add up to ten times that.
    same(single, double, 1e-5, LEARNED)
    assert single.lower_bound_ == pytest.approx(
        double.lower_bound_, abs=1e-5
    )
    # What is asked afterwards is computed in double precision.
    assert single.score(x) == pytest.approx(
        single.score(x.astype(np.float64)), rel=1e-14
    )


def test_a_warning_reaches_code_that_has_no_module_name():
    program = "GaussianMixture(2, max_iter=1, random_state=0).fit(x)"
    x = np.random.default_rng(0).normal(size=(50, 2))
    names = {"GaussianMixture": GaussianMixture, "x": x}
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        exec(program, names)
