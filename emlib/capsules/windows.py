"""Windows over a grid: what each sees, and who competes for a child."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from emlib.capsules.routing.router import Posterior

__all__ = [
    "cells_of_windows",
    "children_of_windows",
    "output_size",
    "patches",
    "softmax_over_positions",
    "windows_of_children",
]

NOWHERE = -1e30  # the log of what no parent gets
Pair = tuple[int, int]


def output_size(size: int, kernel: int, stride: int) -> int:
    """Return how many windows fit, without padding.

    Parameters
    ----------
    size, kernel, stride : int
        In cells.

    Returns
    -------
    int
        Windows along one axis.

    Examples
    --------
    >>> output_size(14, 3, 2)
    6
    """
    return (size - kernel) // stride + 1


def cells_of_windows(size: Pair, kernel: Pair, strides: Pair) -> Any:
    """Return which rows and columns the cells of each window fall on.

    Parameters
    ----------
    size, kernel, strides : pair of int
        Of the grid and its windows, in cells.

    Returns
    -------
    pair of arrays of shape (cell, place), one for each axis of the grid
        Rows; columns.

    Examples
    --------
    >>> down, right = cells_of_windows((5, 5), (3, 1), (2, 1))
    >>> down.T.tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    rows, columns = map(output_size, size, kernel, strides)
    down = np.arange(kernel[0])[:, None] + strides[0] * np.arange(rows)
    right = np.arange(kernel[1])[:, None] + strides[1] * np.arange(columns)
    return down, right


def patches(
    x: Any, kernel: tuple[int, int], strides: tuple[int, int]
) -> Any:
    """Return what each parent position sees, cell by cell of its window.

    Parameters
    ----------
    x : tensor of shape (batch, height, width, ...)
        A grid.
    kernel, strides : pair of int
        Of the window, in cells.

    Returns
    -------
    tensor of shape (cells, batch, rows, columns, ...)
        Nothing is padded.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 3, 3)
    >>> ops.convert_to_numpy(patches(x, (2, 2), (1, 1)))[:, 0, 0, 0]
    array([0., 1., 3., 4.])
    """
    down, right = cells_of_windows(x.shape[1:3], kernel, strides)
    views = ops.take(ops.take(x, down, axis=1), right, axis=3)
    order = (1, 3, 0, 2, 4, *range(5, len(views.shape)))
    views = ops.transpose(views, order)  # (kh, kw, batch, rows, ...)
    places = down.shape[1], right.shape[1]
    shape = (kernel[0] * kernel[1], -1, *places, *x.shape[3:])
    return ops.reshape(views, shape)


def children_of_windows(size: Pair, kernel: Pair, strides: Pair) -> Any:
    """Return which child each cell of each window looks at.

    Parameters
    ----------
    size, kernel, strides : pair of int
        Of the children's grid and its windows, in cells.

    Returns
    -------
    array of shape (cells, places)
        Numbers of children, row by row of their grid.

    Examples
    --------
    >>> children_of_windows((3, 3), (2, 2), (1, 1))[:, 0]
    array([0, 1, 3, 4])
    """
    down, right = cells_of_windows(size, kernel, strides)
    grid = down[:, None, :, None] * size[1] + right[None, :, None, :]
    return grid.reshape(kernel[0] * kernel[1], -1)


def windows_of_children(size: Pair, kernel: Pair, strides: Pair) -> Any:
    """Return which cells of which windows each child is seen by.

    The way back of `children_of_windows`.

    Parameters
    ----------
    size, kernel, strides : pair of int
        Of the children's grid and its windows, in cells.

    Returns
    -------
    array of shape (children, most)
        Positions in `children_of_windows`, laid flat; one past its end
        where a child is seen less often than others.

    Examples
    --------
    >>> windows_of_children((1, 3), (1, 2), (1, 1)).tolist()
    [[0, 4], [1, 2], [3, 4]]
    """
    looked = children_of_windows(size, kernel, strides).ravel()
    times = np.bincount(looked, minlength=size[0] * size[1])
    table = np.full((times.size, times.max()), looked.size)
    order = np.argsort(looked, kind="stable")
    nth = np.arange(looked.size) - np.repeat(times.cumsum() - times, times)
    table[looked[order], nth] = order
    return table


def softmax_over_positions(
    log_joint: Any, types: int, children: Any, windows: Any
) -> Posterior:
    r"""Return responsibilities: parents at all places compete for a child.

    .. math::

        R_{ij} = \frac{e^{\ell_{ij}}}
        {\sum_{\text{places } p} \sum_{\text{types } l} e^{\ell_{i, pl}}}

    (`eq-layers-share`): first summed over types, which leaves a tensor
    hundreds of times smaller than the votes, then over places.

    Parameters
    ----------
    log_joint : tensor of shape (i, n, j)
        In nats; i runs over cells of the window and types of child, n over
        samples and places.
    types : int
        Of children.
    children : array of shape (cells, places)
        Which child each cell of each window looks at.
    windows : array of shape (children, most)
        Its way back.

    Returns
    -------
    Posterior
        Named tuple `(resp (i, n, j), log_evidence (i, n))`.

    Examples
    --------
    >>> grid = (1, 3), (1, 2), (1, 1)  # two windows; both see the middle
    >>> even = ops.zeros((2, 2, 1))
    >>> tables = children_of_windows(*grid), windows_of_children(*grid)
    >>> found = softmax_over_positions(even, 1, *tables)
    >>> ops.convert_to_numpy(found.resp)[:, :, 0].tolist()
    [[1.0, 0.5], [0.5, 1.0]]

    References
    ----------
    Gritzman (2019), Avoiding implementation pitfalls of "Matrix capsules
    with EM routing".
    """
    cells, places = children.shape
    each = ops.logsumexp(log_joint, axis=-1)  # (i, n)
    each = ops.reshape(each, (cells, types, -1, places))
    each = ops.transpose(each, (0, 3, 1, 2))
    flat = ops.reshape(each, (cells * places, -1))
    nobody = ops.full_like(flat[:1], NOWHERE)
    found = ops.take(ops.concatenate([flat, nobody]), windows, axis=0)
    total = ops.logsumexp(found, axis=1)  # (children, types * samples)
    back = ops.reshape(ops.take(total, children, axis=0), ops.shape(each))
    back = ops.transpose(back, (0, 2, 3, 1))
    evidence = ops.reshape(back, (cells * types, -1))  # (i, n)
    resp = ops.exp(log_joint - ops.expand_dims(evidence, -1))
    return Posterior(resp, evidence)
