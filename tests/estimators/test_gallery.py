"""The mixture programs of scikit-learn's gallery, on emlib's class.

Each test computes what a page of the gallery computes and asserts what the
page says of it. Only the import differs; nothing is drawn. Pages are named
as in https://scikit-learn.org/stable/auto_examples/mixture/.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import rand_score
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.model_selection import (
    GridSearchCV,
    ShuffleSplit,
    StratifiedKFold,
)

from emlib import GaussianMixture

TYPES = ["spherical", "diag", "tied", "full"]


def slanted_and_round(apart, n=500):
    """Return n points of a slanted Gaussian, and n of a round one."""
    rng = np.random.RandomState(0)
    lean = np.array([[0.0, -0.1], [1.7, 0.4]])
    slanted = rng.randn(n, 2) @ lean
    return np.concatenate([slanted, 0.7 * rng.randn(n, 2) + apart])


def inverse(kind, covariances, weights):
    """Return the precisions of what a type keeps of k covariances."""
    if kind == "full":
        return np.linalg.inv(covariances)
    if kind == "tied":
        return np.linalg.inv(np.tensordot(weights, covariances, 1))
    variances = np.diagonal(covariances, axis1=1, axis2=2)  # (k, d)
    return 1 / (variances if kind == "diag" else variances.mean(axis=1))


def from_classes(x, labels, kind):
    """Return options that start from the classes, all three given."""
    rows = [x[labels == label] for label in np.unique(labels)]
    weights = np.array([len(each) / len(x) for each in rows])
    covariances = np.array([np.cov(each.T) for each in rows])
    return {
        "n_components": len(rows),
        "covariance_type": kind,
        "weights_init": weights,
        "means_init": np.array([each.mean(axis=0) for each in rows]),
        "precisions_init": inverse(kind, covariances, weights),
        "max_iter": 20,
        "random_state": 0,
    }


def quietly(mixture, x):
    """Fit; both classes warn where twenty turns were too few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(x)


# --- plot_gmm_selection


def gmm_bic_score(estimator, rows):
    return -estimator.bic(rows)


def test_the_lowest_bic_selects_two_full_components():
    x = slanted_and_round([-4, 1])
    grid = {"n_components": range(1, 7), "covariance_type": TYPES}
    search = GridSearchCV(
        GaussianMixture(random_state=0),
        param_grid=grid,
        scoring=gmm_bic_score,
        # The page: five parts in order, with the same outcome.
        cv=ShuffleSplit(1, test_size=0.5, random_state=0),
    ).fit(x)
    assert search.best_params_ == {
        "covariance_type": "full",
        "n_components": 2,
    }
    scores = np.sort(-search.cv_results_["mean_test_score"])
    assert scores[1] > scores[0] + 30  # far behind
    # As the page does: an ellipse a component, and the sides of the rows.
    best, sides = search.best_estimator_, search.predict(x)
    assert best.covariances_.shape == (2, 2, 2)
    assert np.linalg.eigvalsh(best.covariances_).min() > 0
    truth = np.repeat([0, 1], 500)
    assert rand_score(truth, sides) > 0.95


def test_the_bic_is_scikit_learns_from_equal_starts():
    x = slanted_and_round([-4, 1])
    for kind in TYPES:
        start = from_classes(x, np.repeat([0, 1], 500), kind)
        ours = quietly(GaussianMixture(**start), x)
        theirs = quietly(Theirs(**start), x)
        assert ours.bic(x) == pytest.approx(theirs.bic(x), rel=1e-12)
        assert ours.aic(x) == pytest.approx(theirs.aic(x), rel=1e-12)
        assert ours.n_iter_ == theirs.n_iter_


# --- plot_gmm_covariances


@cache
def irises():
    """Return rows and labels, to train with and to test with."""
    x, labels = load_iris(return_X_y=True)
    train, test = next(StratifiedKFold(n_splits=4).split(x, labels))
    return x[train], labels[train], x[test], labels[test]


@pytest.mark.parametrize("kind", TYPES)
def test_accuracies_on_irises_are_scikit_learns(kind):
    x, labels, new, new_labels = irises()
    start = from_classes(x, labels, kind)
    ours = quietly(GaussianMixture(**start), x)
    theirs = quietly(Theirs(**start), x)
    for rows, wanted in ((x, labels), (new, new_labels)):
        said = ours.predict(rows)
        np.testing.assert_array_equal(said, theirs.predict(rows))
        assert (said == wanted).mean() > 0.85
    # The page's ellipses: of the first two columns.
    np.testing.assert_allclose(
        ours.covariances_, theirs.covariances_, rtol=1e-9, atol=1e-12
    )


def test_full_and_tied_covariances_know_irises_best():
    x, labels, _, _ = irises()
    accuracy = {
        kind: (
            quietly(
                GaussianMixture(**from_classes(x, labels, kind)), x
            ).predict(x)
            == labels
        ).mean()
        for kind in TYPES
    }
    assert min(accuracy["full"], accuracy["tied"]) > 0.95
    assert accuracy["spherical"] < 0.95


def four_kinds():
    """Return the page's later data: four Gaussians of several shapes."""
    rng = np.random.RandomState(4)
    means = [(0, 0), (-2, 2), (-3, -2), (5, 0)]
    eye = np.eye(2)
    covariances = [eye, np.diag([1, 5]), [[3, 1], [1, 3]], eye]
    labels = rng.choice(4, size=100, p=[0.3, 0.3, 0.3, 0.1])
    x = np.empty((100, 2))
    for label in range(4):
        mine = labels == label
        x[mine] = rng.multivariate_normal(
            means[label], covariances[label], mine.sum()
        )
    return x, labels


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_types_keep_and_find_of_four_shapes(kind):
    x, labels = four_kinds()
    start = from_classes(x, labels, kind)
    ours = quietly(GaussianMixture(**start), x)
    theirs = quietly(Theirs(**start), x)
    shapes = {"full": (4, 2, 2), "tied": (2, 2), "diag": (4, 2)}
    assert ours.covariances_.shape == shapes.get(kind, (4,))
    said = ours.predict(x)
    np.testing.assert_array_equal(said, theirs.predict(x))
    assert rand_score(labels, said) > 0.7


# --- plot_gmm_pdf


def test_the_density_on_a_grid_is_scikit_learns():
    rng = np.random.RandomState(0)
    lean = np.array([[0.0, -0.7], [3.5, 0.7]])
    ball = 20 + rng.randn(300, 2)
    x = np.concatenate([ball, rng.randn(300, 2) @ lean])
    ours = GaussianMixture(n_components=2, random_state=0).fit(x)
    theirs = Theirs(n_components=2)
    theirs.weights_, theirs.means_ = ours.weights_, ours.means_
    theirs.covariances_ = ours.covariances_
    theirs.precisions_cholesky_ = ours.precisions_cholesky_
    theirs.n_features_in_ = 2
    across, up = np.linspace(-20, 30), np.linspace(-20, 40)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    log_density = ours.score_samples(grid)  # (2500,)
    np.testing.assert_allclose(
        log_density, theirs.score_samples(grid), rtol=1e-10
    )
    # The page draws contours of -log p on a log scale, 1 to 1000.
    assert 1 < -log_density.max() < 10
    assert 500 < -log_density.min() < 1000
    parts = [
        weight * multivariate_normal(mean, covariance).pdf(grid)
        for weight, mean, covariance in zip(
            ours.weights_, ours.means_, ours.covariances_, strict=True
        )
    ]
    np.testing.assert_allclose(
        np.exp(log_density), sum(parts), rtol=1e-9, atol=1e-300
    )
    # Two blobs of 300 rows: means within five standard errors.
    order = ours.means_[:, 0].argsort()
    np.testing.assert_allclose(
        ours.means_[order],
        [[0, 0], [20, 20]],
        rtol=0,
        atol=5 * 3.5 / 300**0.5,
    )
    np.testing.assert_allclose(ours.weights_, 0.5, rtol=1e-6)


# --- plot_gmm_init


@pytest.mark.filterwarnings("error")
def test_the_four_starts_and_how_many_turns_they_need():
    x, labels = make_blobs(
        n_samples=4000, centers=4, cluster_std=0.60, random_state=0
    )
    x = x[:, ::-1]
    turns, bounds = {}, {}
    for how in ("kmeans", "random_from_data", "k-means++", "random"):
        rng = np.random.RandomState(1234)
        start = GaussianMixture(
            4, init_params=how, tol=1e-9, max_iter=0, random_state=rng
        ).fit(x)
        assert start.n_iter_ == 0
        assert start.means_.shape == (4, 2)
        if how != "random":  # whose components all start in the middle
            assert np.ptp(start.means_, axis=0).min() > 1
        mixture = GaussianMixture(
            4,
            means_init=start.means_,
            tol=1e-9,
            max_iter=2000,
            random_state=rng,
        ).fit(x)
        assert mixture.converged_
        turns[how] = mixture.n_iter_
        bounds[how] = mixture.lower_bound_
    # The page: k-means and k-means++ need few turns, the others more.
    assert max(turns["kmeans"], turns["k-means++"]) < turns["random"]
    for how in ("kmeans", "k-means++"):
        # scikit-learn's class ends at -3.16674219 from the same two.
        assert bounds[how] == pytest.approx(-3.16674219, abs=1e-8)
        best = GaussianMixture(4, init_params=how, random_state=0).fit(x)
        assert rand_score(labels, best.predict(x)) > 0.97


# --- plot_gmm


def test_five_ellipses_on_two_blobs():
    x = slanted_and_round([-6, 3])
    five = quietly(GaussianMixture(n_components=5, random_state=0), x)
    two = GaussianMixture(n_components=2, random_state=0).fit(x)
    # The page: EM uses all five, and splits what is one.
    assert set(five.predict(x)) == set(range(5))
    assert five.score(x) > two.score(x)
    assert five.bic(x) > two.bic(x)
    drawn, labels = five.sample(50_000)
    for k, (mean, covariance) in enumerate(
        zip(five.means_, five.covariances_, strict=True)
    ):
        squares, axes = np.linalg.eigh(covariance)  # (2,), (2, 2)
        halves = np.sqrt(2) * np.sqrt(squares)  # of the page's ellipse
        inside = ((((drawn[labels == k] - mean) @ axes) / halves) ** 2).sum(
            axis=1
        ) <= 1
        # That ellipse holds 1 - 1/e of a Gaussian: five standard errors.
        share, n = 1 - np.exp(-1), len(inside)
        error = np.sqrt(share * (1 - share) / n)
        assert abs(inside.mean() - share) < 5 * error
