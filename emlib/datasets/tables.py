"""Tables of the book: coins, flowers, wines, and points with the truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from emlib.shapes import (
    Centres,
    Counts,
    Matrices,
    PerComponent,
    PerPoint,
    Points,
)

__all__ = [
    "Coins",
    "Labelled",
    "Simulated",
    "iris",
    "labelled_coins",
    "two_components",
    "unlabelled_coins",
    "wine",
]


class Coins(NamedTuple):
    """Rows of tosses.

    Attributes
    ----------
    x : array of shape (n, 2)
        Heads and tails of each row.
    z : array of shape (n,) or None
        Which coin was tossed (0 is A, 1 is B); None where the labels are
        lost.
    """

    x: Counts
    z: PerPoint | None


def labelled_coins() -> Coins:
    """Return five rows of ten tosses, with the coins A, A, B, A, B.

    Returns
    -------
    Coins
        7, 9, 2, 6 and 0 heads, and the label of each row.

    Examples
    --------
    >>> labelled_coins().x[:, 0], labelled_coins().z
    (array([7, 9, 2, 6, 0]), array([0, 0, 1, 0, 1]))
    """
    heads = np.array([7, 9, 2, 6, 0])  # (n,)
    return Coins(
        np.stack([heads, 10 - heads], axis=1), np.array([0, 0, 1, 0, 1])
    )


def unlabelled_coins() -> Coins:
    """Return five rows of ten tosses whose labels are lost.

    Returns
    -------
    Coins
        5, 9, 8, 4 and 7 heads; `z` is None.

    Examples
    --------
    >>> unlabelled_coins().x[:, 0]
    array([5, 9, 8, 4, 7])

    References
    ----------
    Do and Batzoglou (2008), What is the expectation maximization
    algorithm?, Figure 1b.
    """
    heads = np.array([5, 9, 8, 4, 7])  # (n,)
    return Coins(np.stack([heads, 10 - heads], axis=1), None)


class Labelled(NamedTuple):
    """Measurements, with the class of each point.

    Attributes
    ----------
    x : array of shape (n, d)
        A row for each point, a column for each feature.
    z : array of shape (n,)
        The class of each point, numbered from 0.
    feature_names : tuple of str
        What each column is, with its unit where the source gives one.
    class_names : tuple of str
        What each number in `z` stands for.
    """

    x: Points
    z: PerPoint
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]


class Simulated(NamedTuple):
    """Points drawn from a mixture of Gaussians, with the truth.

    Attributes
    ----------
    x : array of shape (n, d)
        The points.
    z : array of shape (n,)
        The component that each was drawn from.
    weights : array of shape (k,)
        pi_k, the share of points of each component.
    means : array of shape (k, d)
        mu_k of the density that they were drawn from.
    covariances : array of shape (k, d, d)
        Sigma_k of that density.
    """

    x: Points
    z: PerPoint
    weights: PerComponent
    means: Centres
    covariances: Matrices


def _labelled(bunch: Any) -> Labelled:
    """Return what scikit-learn loaded, as the book's named tuple."""
    features, classes = (
        tuple(str(name).replace("_", " ") for name in names)
        for names in (bunch.feature_names, bunch.target_names)
    )
    return Labelled(bunch.data, bunch.target, features, classes)


def iris() -> Labelled:
    """Return 150 iris flowers of three species, 50 of each.

    The table is the copy that scikit-learn carries, which agrees with the
    printed one (the copy of the UCI repository does not, in two flowers).

    Returns
    -------
    Labelled
        `x` (150, 4) in cm, rounded to 0.1 cm; `z` the species.

    Examples
    --------
    >>> x, z, features, species = iris()
    >>> x.shape, x.mean(axis=0).round(2)
    ((150, 4), array([5.84, 3.06, 3.76, 1.2 ]))
    >>> species
    ('setosa', 'versicolor', 'virginica')

    References
    ----------
    Fisher (1936), The use of multiple measurements in taxonomic problems,
    Table I, of flowers that Anderson had measured.
    """
    from sklearn.datasets import load_iris

    return _labelled(load_iris())


def wine() -> Labelled:
    """Return thirteen measurements of 178 wines of three cultivars.

    The table is the copy that scikit-learn carries. Its columns have very
    different scales: the largest standard deviation is more than two
    thousand times the smallest.

    Returns
    -------
    Labelled
        `x` (178, 13), in the units of the source, which it does not name;
        `z` the cultivar: 59, 71 and 48 wines.

    Examples
    --------
    >>> x, z, features, cultivars = wine()
    >>> np.bincount(z)
    array([59, 71, 48])
    >>> features[0], features[-1]
    ('alcohol', 'proline')

    References
    ----------
    Forina, Armanino, Castino and Ubigli (1986), Multivariate data analysis
    as a discriminating method of the origin of wines.
    """
    from sklearn.datasets import load_wine

    return _labelled(load_wine())


def two_components(n: int = 1000, seed: int = 20) -> Simulated:
    """Return points of two Gaussians in the plane, one wide and one tall.

    The first 60% of the points are of component 0, exactly; the others are
    of component 1.

    Parameters
    ----------
    n : int
        Number of points.
    seed : int
        Of the generator that draws them.

    Returns
    -------
    Simulated
        `x` (n, 2), `z`, and the parameters that they were drawn with.

    Examples
    --------
    >>> data = two_components()
    >>> data.x.shape, data.weights
    ((1000, 2), array([0.6, 0.4]))
    >>> data.means
    array([[ 0.,  4.],
           [-2.,  0.]])

    References
    ----------
    Chan (2015), STA 663: Computational statistics and statistical
    computing, where the means, covariances and weights are from.
    """
    rng = np.random.default_rng(seed)
    weights = np.array([0.6, 0.4])  # (k,)
    means = np.array([[0.0, 4.0], [-2.0, 0.0]])  # (k, d)
    variances = np.array([[3.0, 0.5], [1.0, 2.0]])  # (k, d)
    z = (np.arange(n) >= round(0.6 * n)).astype(int)  # (n,)
    # No factorisation is called, so that a seed means the same anywhere.
    x = means[z] + np.sqrt(variances[z]) * rng.standard_normal((n, 2))
    covariances = variances[:, :, None] * np.eye(2)  # (k, d, d)
    return Simulated(x, z, weights, means, covariances)
