"""Starts: every one is a matrix of responsibilities.

A start for many points is made one block at a time, with the same `rng`.
"""

from __future__ import annotations

import numpy as np

from emlib.shapes import Centres, PerPoint, Points, Table

__all__ = ["random", "seeds", "spread", "uniform"]


def uniform(n: int, k: int) -> Table:
    r"""Return equal responsibilities, from which no component can part.

    .. math:: r_{nk} = 1 / K

    (`eq-speed-uniform`). All components become equal in one M-step and stay
    so; routing, where the votes differ from parent to parent, starts here.

    Parameters
    ----------
    n, k : int
        Number of points and of components.

    Returns
    -------
    array of shape (n, k)
        Each row sums to 1.

    Examples
    --------
    >>> uniform(1, 2)
    array([[0.5, 0.5]])

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    Procedure 1.
    """
    return np.full((n, k), 1 / k)


def random(n: int, k: int, rng: np.random.Generator) -> Table:
    r"""Return responsibilities drawn evenly from all that sum to one.

    .. math:: r_n \sim \operatorname{Dirichlet}(1, \dots, 1)

    (`eq-speed-random`). With many points the components start almost equal,
    and the first turns are slow.

    Parameters
    ----------
    n, k : int
        Number of points and of components.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array of shape (n, k)
        Each row sums to 1.

    Examples
    --------
    >>> rng = np.random.default_rng(20)
    >>> random(2, 3, rng).sum(axis=1)
    array([1., 1.])

    References
    ----------
    Devroye (1986), Non-uniform random variate generation, XI.4.
    """
    return rng.dirichlet(np.ones(k), size=n)


def seeds(
    x: Points,
    k: int,
    rng: np.random.Generator,
    multiplicity: PerPoint | None = None,
) -> Centres:
    r"""Return k of the points, each drawn far from those before it.

    .. math:: p(\text{next is } x_n) \propto c_n \min_s |x_n - s|^2

    (`eq-speed-spread`), s running over the seeds drawn so far.

    Parameters
    ----------
    x : array of shape (n, d)
        The points.
    k : int
        Number of seeds.
    rng : numpy.random.Generator
        Source of randomness.
    multiplicity : array of shape (n,), optional
        How many times each point counts.

    Returns
    -------
    array of shape (k, d)
        Some of the points. Where fewer than k differ, some are equal.

    Examples
    --------
    >>> rng = np.random.default_rng(20)
    >>> np.sort(seeds(np.array([[0.0], [0.0], [9.0]]), 2, rng), axis=0)
    array([[0.],
           [9.]])

    References
    ----------
    Arthur and Vassilvitskii (2007), k-means++: the advantages of careful
    seeding.
    """
    counts = np.ones(len(x)) if multiplicity is None else multiplicity
    chosen = [x[rng.choice(len(x), p=counts / counts.sum())]]
    apart = np.full(len(x), np.inf)  # (n,)
    for _ in range(1, k):
        apart = np.minimum(apart, ((x - chosen[-1]) ** 2).sum(axis=1))
        chances = counts * apart  # (n,)
        chances = chances if chances.any() else counts  # (n,)
        chosen.append(x[rng.choice(len(x), p=chances / chances.sum())])
    return np.array(chosen)


def spread(x: Points, centres: Centres) -> Table:
    r"""Return responsibilities that give each point to its nearest centre.

    .. math:: r_{nk} = [\, k = \operatorname{arg\,min}_l |x_n - s_l|^2 \,]

    (`eq-speed-nearest`). Ties go to the lowest index.

    Parameters
    ----------
    x : array of shape (n, d)
        The points.
    centres : array of shape (k, d)
        Such as `seeds` returns.

    Returns
    -------
    array of shape (n, k)
        Each row has one 1.

    Examples
    --------
    >>> spread(np.array([[0.0], [8.0]]), np.array([[1.0], [9.0]]))
    array([[1., 0.],
           [0., 1.]])

    References
    ----------
    Arthur and Vassilvitskii (2007), k-means++: the advantages of careful
    seeding.
    """
    apart = ((x[:, None, :] - centres) ** 2).sum(axis=2)  # (n, k)
    resp: Table = np.eye(len(centres))[apart.argmin(axis=1)]
    return resp
