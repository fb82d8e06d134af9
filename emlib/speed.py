"""How fast the loop is, and the same fixed point in fewer turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from emlib.loop import Model, Packable, Step, em, next_turn
from emlib.shapes import Slopes, Vector

__all__ = ["cycle", "extrapolate", "jacobian", "squarem"]


def jacobian(
    function: Callable[[Vector], Vector],
    vector: Vector,
    step: float = 1e-5,
) -> Slopes:
    r"""Return the derivatives of a map, by central differences.

    .. math::

        J_{ab} = \frac{\partial f_a}{\partial v_b} \approx
        \frac{f_a(v + \epsilon e_b) - f_a(v - \epsilon e_b)}{2 \epsilon}

    (`eq-speed-jacobian`).

    Parameters
    ----------
    function : callable
        From a vector to a vector, such as one turn of the loop.
    vector : array of shape (p,)
        Where the derivatives are taken.
    step : float
        The epsilon, in the unit of the vector.

    Returns
    -------
    array of shape (q, p)
        One column for each entry of `vector`.

    Examples
    --------
    >>> jacobian(lambda v: v**2, np.array([1.0, 3.0])).round(6)
    array([[2., 0.],
           [0., 6.]])

    References
    ----------
    Nocedal and Wright (2006), Numerical optimization, section 8.1.
    """
    columns = [
        (function(vector + nudge) - function(vector - nudge)) / (2 * step)
        for nudge in step * np.eye(len(vector))
    ]
    return np.stack(columns, axis=1)  # (q, p)


def extrapolate(zero: Vector, one: Vector, two: Vector) -> Vector:
    r"""Return where three turns in a row seem to be going.

    .. math::

        v' = v_0 - 2 \alpha r + \alpha^2 s, \qquad
        \alpha = -\frac{|r|}{|s|}, \quad r = v_1 - v_0, \quad
        s = (v_2 - v_1) - r

    (`eq-speed-squarem`).

    Parameters
    ----------
    zero, one, two : arrays of shape (p,)
        Three successive turns, as vectors.

    Returns
    -------
    array of shape (p,)
        The leap; not finite where the turns stand still.

    Examples
    --------
    >>> turns = np.array([[1.0], [0.5], [0.25]])
    >>> extrapolate(*turns)
    array([0.])

    References
    ----------
    Varadhan and Roland (2008), Simple and globally convergent methods for
    accelerating the convergence of any EM algorithm, scheme S3.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        first = one - zero  # (p,)
        second = (two - one) - first  # (p,)
        alpha = -np.linalg.norm(first) / np.linalg.norm(second)
        leap: Vector = zero - 2 * alpha * first + alpha**2 * second
    return leap


def _leap(step: Step, one: Step, two: Step) -> Step:
    """Return the step where three turns in a row seem to be going."""
    model: Any = step.model
    path = [model.pack(at.params) for at in (step, one, two)]
    vector = extrapolate(*path)  # (p,)
    if not np.isfinite(vector).all():
        raise FloatingPointError("the turns stand still, or are at a limit")
    return replace(two, params=model.unpack(vector, two.params))


def cycle(step: Step) -> Step:
    """Return the step after two turns, a leap, and a turn where it lands.

    The leap (`eq-speed-squarem`) counts only if it lands no lower than the
    first turn did; if not, or if there is no telling, the two plain turns
    stand (`eq-speed-guard`). So the objective never falls.

    Parameters
    ----------
    step : Step
        Of a model that has `pack` and `unpack`.

    Returns
    -------
    Step
        Three EM maps later; two where the leap was refused; one where the
        second turn failed, so that whoever looks at it meets the failure.

    Examples
    --------
    >>> from emlib import coins
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> step = next(em(coins.Model(learn_weights=False), x, start))
    >>> later = cycle(step)
    >>> later.turn, later.bound > step.bound
    (3, True)

    References
    ----------
    Varadhan and Roland (2008), section 4.
    """
    one = next_turn(step)
    try:
        two = next_turn(one)
    except Exception:
        return one
    try:
        with np.errstate(all="ignore"):
            leap = _leap(step, one, two)
            return (
                next_turn(leap) if leap.objective >= one.objective else two
            )
    except Exception:  # a model may say anything where no turn has led
        return two


def squarem(
    model: Model, x: Any, start: Any, multiplicity: Any = None
) -> Iterator[Step]:
    """Yield one `Step` a cycle, for ever: `em` in fewer turns.

    The fixed points are those of `em` (`eq-speed-guard`), and the objective
    rises as it does there.

    Parameters
    ----------
    model : Model
        One that is `Packable`, too.
    x, start, multiplicity
        As in `emlib.em`.

    Yields
    ------
    Step
        Its `turn` counts the EM maps done.

    Raises
    ------
    TypeError
        If the model has no `pack` and `unpack`.

    Examples
    --------
    >>> from itertools import islice
    >>> from emlib import coins
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> steps = squarem(coins.Model(learn_weights=False), x, start)
    >>> [step.turn for step in islice(steps, 3)]
    [0, 3, 6]

    References
    ----------
    Varadhan and Roland (2008), Simple and globally convergent methods for
    accelerating the convergence of any EM algorithm.
    """
    if not isinstance(model, Packable):
        raise TypeError(
            "`model` must have `pack` and `unpack`, so that parameters can "
            f"be a vector; received {type(model).__name__}. Add both, or "
            "use `em`."
        )
    step = next(em(model, x, start, multiplicity))
    while True:
        yield step
        step = cycle(step)
