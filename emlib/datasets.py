"""The data of the book: printed tables typed in once, checked, offline."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emlib.shapes import Counts, PerPoint

__all__ = ["Coins", "labelled_coins", "unlabelled_coins"]


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
