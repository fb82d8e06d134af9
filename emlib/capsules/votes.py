"""From poses to votes: what each child expects of each parent."""

from __future__ import annotations

from typing import Any

from keras import ops

__all__ = ["add_coordinates", "votes"]


def votes(poses: Any, transforms: Any) -> Any:
    r"""Return the pose that each child expects of each parent.

    .. math:: V_{ij} = P_i W_{ij}

    (`eq-votes-vote`), as one product of tall matrices a child: no pose and
    no transform is copied.

    Parameters
    ----------
    poses : tensor of shape (i, n, 4, 4)
        P_i at n places.
    transforms : tensor of shape (i, j, 4, 4)
        W_ij.

    Returns
    -------
    tensor of shape (i, n, 16, j)
        V_ij, children first and parents last.

    Examples
    --------
    >>> import numpy as np
    >>> eye = np.eye(4, dtype="float32")[None, None]
    >>> ops.convert_to_numpy(votes(2 * eye, eye))[0, 0, :6, 0]
    array([2., 0., 0., 0., 0., 2.], dtype=float32)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing, (1).
    """
    i, j = transforms.shape[:2]
    tall = ops.reshape(poses, (i, -1, 4))  # (i, n * 4, 4)
    wide = ops.transpose(transforms, (0, 2, 3, 1))  # (i, 4, 4, j)
    product = ops.matmul(tall, ops.reshape(wide, (i, 4, 4 * j)))
    return ops.reshape(product, (i, -1, 16, j))


def add_coordinates(votes: Any, height: int, width: int) -> Any:
    """Return votes that know where on the grid their child stands.

    (row + 0.5) / height is added to entry [0, 3] of the 4 x 4 vote, and
    (column + 0.5) / width to entry [1, 3] (`eq-layers-coordinates`).

    Parameters
    ----------
    votes : tensor of shape (height * width, ..., 16, j)
        Children first, row by row.
    height, width : int
        Of the grid.

    Returns
    -------
    tensor of the same shape
        In the unit of the poses.
    """
    rows = (ops.arange(height, dtype=votes.dtype) + 0.5) / height
    columns = (ops.arange(width, dtype=votes.dtype) + 0.5) / width
    down = ops.repeat(rows, width)  # (height * width,)
    right = ops.tile(columns, height)  # (height * width,)
    entries = ops.one_hot(ops.array([3, 7]), 16, dtype=votes.dtype)
    moves = ops.matmul(ops.stack([down, right], axis=1), entries)
    middle = len(votes.shape) - 3
    shape = (-1, *([1] * middle), 16, 1)
    return votes + ops.reshape(moves, shape)
