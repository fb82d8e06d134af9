"""How often a network is right."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from emlib.capsules.training.augment import normalise_images

__all__ = ["Evaluation", "evaluate"]


class Evaluation(NamedTuple):
    """How a network does on images that it was not trained on.

    Attributes
    ----------
    accuracy : float
        Share that it names rightly, 0 to 1.
    confusion : array of shape (classes, classes)
        Rows are what images show, columns what the network says.
    errors : array of shape (classes,)
        Share of each class that it names wrongly; NaN without images.
    images_per_second : float
        On this machine, without what compiling takes.
    """

    accuracy: float
    confusion: Any
    errors: Any
    images_per_second: float


def evaluate(
    network: Any, x: Any, y: Any, batch_size: int = 250
) -> Evaluation:
    """Return how often a network is right, and what it mistakes for what.

    Parameters
    ----------
    network : keras.Model
        From images (n, height, width, 1) to a number for each class.
    x : array of shape (n, height, width)
        Bytes.
    y : array of shape (n,)
        Classes.
    batch_size : int
        Images at a time.

    Returns
    -------
    Evaluation
        Named tuple `(accuracy, confusion, errors, images_per_second)`.

    Examples
    --------
    >>> from emlib import datasets
    >>> from emlib.capsules.training import Plan, build_network
    >>> digits = datasets.load_mnist("sample")
    >>> network = build_network(Plan())
    >>> found = evaluate(network, digits.x_test[:50], digits.y_test[:50])
    >>> int(found.confusion.sum())
    50
    """
    options = {"batch_size": batch_size, "verbose": 0}
    network.predict(normalise_images(x[:batch_size]), **options)
    began = time.perf_counter()
    said = network.predict(normalise_images(x), **options).argmax(axis=1)
    seconds = time.perf_counter() - began
    classes = network.output_shape[-1]
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (y, said), 1)
    each = confusion.sum(axis=1)
    right = np.diag(confusion)
    return Evaluation(
        float(right.sum() / each.sum()),
        confusion,
        np.where(each > 0, 1 - right / np.maximum(each, 1), np.nan),
        len(x) / seconds,
    )
