"""The spread loss: the target must lead every other class by a margin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

__all__ = ["SpreadLoss", "linear_margin", "spread", "stepped_margin"]


def spread(activations: Any, targets: Any, margin: Any) -> Any:
    r"""Return how far other classes come within the margin of the target.

    .. math::

        \sum_{i \ne t} \max \big( 0, m - (a_t - a_i) \big)^2

    (`eq-layers-spread`), for each sample.

    Parameters
    ----------
    activations : tensor of shape (batch, classes)
        a_i, from 0 to 1.
    targets : tensor of shape (batch, classes)
        One-hot: 1 for the right class t.
    margin : float
        m, from 0 to 1.

    Returns
    -------
    tensor of shape (batch,)
        At least 0.

    Examples
    --------
    >>> import numpy as np
    >>> a, t = np.array([[0.9, 0.5]]), np.array([[1.0, 0.0]])
    >>> round(float(spread(a, t, 0.6)[0]), 4)
    0.04

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing, (3).
    """
    right = ops.sum(activations * targets, axis=-1, keepdims=True)
    short = ops.maximum(0.0, margin - (right - activations))
    return ops.sum(ops.square(short) * (1 - targets), axis=-1)


def linear_margin(step: Any, steps: int) -> Any:
    r"""Return the margin after so many steps of training.

    .. math:: m = 0.2 + 0.7 \min(1, \tau / T)

    (`eq-layers-margin`).

    Parameters
    ----------
    step : int or tensor
        tau, steps done.
    steps : int
        T, steps after which the margin is 0.9.

    Returns
    -------
    float or tensor
        From 0.2 to 0.9.

    Examples
    --------
    >>> round(float(linear_margin(50, 100)), 2)
    0.55

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing.
    """
    share = ops.cast(step, "float32") / steps
    return 0.2 + 0.7 * ops.minimum(1.0, share)


def stepped_margin(step: Any, steps: int) -> Any:
    r"""Return the margin after so many steps, raised eight times.

    .. math:: m = 0.2 + 0.1 \min(7, \lfloor 8 \tau / T \rfloor)

    (`eq-layers-stepped`).

    Parameters
    ----------
    step : int or tensor
        tau, steps done.
    steps : int
        T; the last eighth of them has the margin 0.9, and so has what
        follows.

    Returns
    -------
    float or tensor
        From 0.2 to 0.9.

    Examples
    --------
    >>> [round(float(stepped_margin(t, 80)), 1) for t in (0, 9, 10, 99)]
    [0.2, 0.2, 0.3, 0.9]
    """
    eighth = ops.floor(8.0 * ops.cast(step, "float32") / steps)
    return 0.2 + 0.1 * ops.minimum(7.0, eighth)


@keras.saving.register_keras_serializable(package="emlib")
class SpreadLoss(keras.losses.Loss):
    """The mean of `spread` over a batch, as a Keras loss.

    Parameters
    ----------
    margin : float or None
        m, from 0 to 1; None takes the margin of the capsule network that
        it trains, which rises from step to step.
    from_labels : bool
        Whether targets are class numbers, not one-hot rows.

    Raises
    ------
    ValueError
        If the margin is not between 0 and 1, or nobody gave one; if rows
        come where class numbers should.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[0.9, 0.5]], "float32")
    >>> round(float(SpreadLoss(0.6)(np.array([0]), a)), 4)
    0.04

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing, (3).
    """

    def __init__(
        self,
        margin: float | None = 0.9,
        from_labels: bool = True,
        name: str = "spread_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if margin is not None and not 0 <= margin <= 1:
            raise ValueError(
                f"`margin` must lie between 0 and 1; received {margin!r}. "
                "None takes the margin of the network."
            )
        self.margin, self.from_labels = margin, from_labels
        self._given: Any = None

    @contextmanager
    def at(self, margin: Any) -> Iterator[None]:
        """Take this margin for the time being, where none is set."""
        self._given = margin
        try:
            yield
        finally:
            self._given = None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return each sample's loss."""
        margin = self._given if self.margin is None else self.margin
        if margin is None:
            raise ValueError(
                "`margin` must be a number where the model has no margin "
                "of its own; received None. A capsule_network has one."
            )
        if self.from_labels:
            if len(y_true.shape) > 1 and y_true.shape[-1] != 1:
                raise ValueError(
                    "SpreadLoss takes class numbers of shape (batch,); "
                    f"received targets of shape {tuple(y_true.shape)}. "
                    "One-hot rows need from_labels=False."
                )
            labels = ops.reshape(y_true, (-1,))  # (batch,)
            y_true = ops.one_hot(
                ops.cast(labels, "int32"), y_pred.shape[-1]
            )
        return spread(y_pred, ops.cast(y_true, y_pred.dtype), margin)

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal loss."""
        options = {"margin": self.margin, "from_labels": self.from_labels}
        return {**super().get_config(), **options}
