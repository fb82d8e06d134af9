"""The images of each step: their order, views, and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import affine_transform

from emlib.plan import Plan

__all__ = [
    "Viewpoints",
    "batches",
    "normalise_images",
    "order",
    "prefetch",
    "random_viewpoints",
    "warp",
]


def order(n: int, seed: int, epoch: int) -> Any:
    """Return the order in which an epoch takes the images.

    Parameters
    ----------
    n : int
        Number of images.
    seed, epoch : int
        The order depends on both, and on nothing else.

    Returns
    -------
    array of shape (n,)
        A permutation.

    Examples
    --------
    >>> order(5, seed=20, epoch=0), order(5, seed=20, epoch=1)
    (array([0, 1, 4, 3, 2]), array([1, 2, 4, 3, 0]))
    """
    return np.random.default_rng([seed, epoch]).permutation(n)


def normalise_images(images: Any) -> Any:
    """Return bytes as numbers near 0, with an axis for the channel.

    Parameters
    ----------
    images : array of shape (n, height, width)
        0 to 255.

    Returns
    -------
    array of shape (n, height, width, 1)
        (x - 128) / 128, in 32 bits.

    Examples
    --------
    >>> normalise_images(np.array([[[0, 128]]]))[0, 0, :, 0].tolist()
    [-1.0, 0.0]
    """
    return ((np.asarray(images, "float32") - 128) / 128)[..., None]


class Viewpoints(NamedTuple):
    """From where each image is seen.

    Attributes
    ----------
    degrees : array of shape (n,)
        How far it is turned, against the clock.
    down, right : arrays of shape (n,)
        How far it is moved, in pixels.
    zoom : array of shape (n,)
        How many times as large it is.
    """

    degrees: Any
    down: Any
    right: Any
    zoom: Any


def random_viewpoints(n: int, plan: Plan, seed: Any) -> Viewpoints:
    """Return random viewpoints, within the limits of a plan.

    Parameters
    ----------
    n : int
        Number of images.
    plan : Plan
        Its `degrees`, `shift` and `zoom`.
    seed : int or sequence of int
        Of the generator that draws them.

    Returns
    -------
    Viewpoints
        Named tuple `(degrees, down, right, zoom)`.

    Examples
    --------
    >>> limits = Plan(degrees=30, zoom=0.25)
    >>> seen = random_viewpoints(1000, limits, seed=20)
    >>> float(seen.degrees.min().round()), float(seen.zoom.max().round(2))
    (-30.0, 1.25)
    """
    rng = np.random.default_rng(seed)
    turn, down, right, grow = rng.uniform(-1, 1, size=(4, n))
    return Viewpoints(
        plan.degrees * turn,
        plan.shift * down,
        plan.shift * right,
        (1 + plan.zoom) ** grow,
    )


def warp(images: Any, seen: Viewpoints) -> Any:
    """Return images as they look from elsewhere.

    Parameters
    ----------
    images : array of shape (n, height, width)
        Bytes; what comes in from outside is 0.
    seen : Viewpoints
        One an image.

    Returns
    -------
    array of shape (n, height, width)
        Interpolated between pixels, in bytes.

    Examples
    --------
    >>> image = np.zeros((1, 3, 3), "uint8")
    >>> image[0, 1, 2] = 200
    >>> quarter = Viewpoints([90.0], [0.0], [0.0], [1.0])
    >>> np.argwhere(warp(image, quarter)[0]).tolist()
    [[0, 1]]
    """
    found = np.empty_like(images)
    centre = (np.array(images.shape[1:]) - 1) / 2
    for image, out, degrees, down, right, zoom in zip(
        images, found, *seen, strict=True
    ):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        back = np.array([[c, s], [-s, c]]) / zoom
        start = centre - back @ (np.add(centre, [down, right]))
        affine_transform(
            image, back, start, output=out, order=1, mode="grid-constant"
        )
    return found


def batches(
    x: Any, y: Any, plan: Plan, first: int, last: int
) -> Iterator[tuple[Any, Any]]:
    """Yield the images and labels of some steps of a run.

    What a step is given depends on the plan and on the number of the step
    alone, so that a run can go on anywhere.

    Parameters
    ----------
    x : array of shape (n, height, width)
        Bytes.
    y : array of shape (n,)
        Classes.
    plan : Plan
        Batch size, seed, and how views are changed.
    first, last : int
        Steps, from the beginning of the run; `last` is not among them.

    Yields
    ------
    tuple of arrays
        (batch, height, width, 1) in 32 bits, and (batch,).

    Examples
    --------
    >>> x, y = np.zeros((5, 28, 28), "uint8"), np.arange(5)
    >>> two = Plan(batch_size=2)
    >>> whole = [labels.tolist() for _, labels in batches(x, y, two, 0, 4)]
    >>> later = [labels.tolist() for _, labels in batches(x, y, two, 2, 4)]
    >>> later == whole[2:]
    True
    """
    epoch_steps, size = len(x) // plan.batch_size, plan.batch_size
    changes = plan.degrees or plan.shift or plan.zoom
    epoch, rows = -1, np.empty(0, int)
    for step in range(first, last):
        if step // epoch_steps != epoch:
            epoch = step // epoch_steps
            rows = order(len(x), plan.seed, epoch)
        begin = step % epoch_steps * size
        chosen = rows[begin : begin + size]
        images = x[chosen]
        if changes:
            seed = [plan.seed, 1, step]
            images = warp(images, random_viewpoints(size, plan, seed))
        yield normalise_images(images), y[chosen]


def prefetch(parts: Iterator[Any]) -> Iterator[Any]:
    """Yield the same, each made while the one before it is in use.

    Parameters
    ----------
    parts : iterator
        What it yields is not None.

    Yields
    ------
    object
        What `parts` yields.

    Examples
    --------
    >>> list(prefetch(iter([1, 2, 3])))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part
