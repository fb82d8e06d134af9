"""The loop that every model here runs: an E-step, an M-step, and again.

Nothing in this file knows what a point is, or what a component is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ["Fit", "Model", "Step", "em", "fit", "next_turn", "sweep"]


@runtime_checkable
class Model(Protocol):
    """What the loop asks of a model: three methods."""

    def e_step(self, x: Any, params: Any) -> Any:
        """Return what `params` say of the hidden labels of `x`."""

    def summarise(self, x: Any, resp: Any, multiplicity: Any = None) -> Any:
        """Return expected sufficient statistics, which add."""

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters that fit the statistics best."""


@dataclass(frozen=True, eq=False)
class Step:
    """One turn's parameters, and what they say of the data when asked.

    Attributes
    ----------
    turn : int
        How many M-steps were done.
    params
        The parameters after them.
    model, x, multiplicity
        What the loop was given.
    posterior : Posterior
        The E-step at `params`, computed once, when first asked for.
    resp : array of shape (n, k)
        Its responsibilities, `eq-coins-e`; each row sums to 1.
    bound : float
        The bound at `params` and `resp`, in nats, summed over the points.
        After an E-step it equals the log evidence, `eq-loop-tight`.
    """

    turn: int
    params: Any
    model: Model = field(repr=False)
    x: Any = field(repr=False)
    multiplicity: Any = field(repr=False)

    @cached_property
    def posterior(self) -> Any:
        """Run the E-step at this turn's parameters."""
        return self.model.e_step(self.x, self.params)

    @property
    def resp(self) -> Any:
        """Return the responsibilities, (n, k)."""
        return self.posterior.resp

    @cached_property
    def bound(self) -> float:
        """Return the summed log evidence, which the bound now touches."""
        evidence = self.posterior.log_evidence  # (n,)
        if self.multiplicity is not None:
            evidence = self.multiplicity * evidence  # (n,)
        return float(evidence.sum())


def next_turn(step: Step) -> Step:
    r"""Return the step that one M-step makes of this one.

    .. math::

        \theta^{(t+1)} = \operatorname{M}(\operatorname{E}(\theta^{(t)}))

    (`eq-loop-map`).

    Parameters
    ----------
    step : Step
        Any turn of a loop; its E-step runs now, if it has not run yet.

    Returns
    -------
    Step
        The next turn, with its E-step still to come.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib import coins, em
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> step = next(em(coins.Model(learn_weights=False), x, start))
    >>> next_turn(step).params.means.round(2)
    array([0.71, 0.58])

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete
    data via the EM algorithm.
    """
    model, x, multiplicity = step.model, step.x, step.multiplicity
    statistics = model.summarise(x, step.resp, multiplicity)
    params = model.maximise(statistics, previous=step.params)
    return Step(step.turn + 1, params, model, x, multiplicity)


def em(
    model: Model, x: Any, start: Any, multiplicity: Any = None
) -> Iterator[Step]:
    r"""Yield one `Step` a turn, for ever; the caller decides when to stop.

    .. math::

        \theta^{(t+1)} = \operatorname{M}(\operatorname{E}(\theta^{(t)}))

    (`eq-loop-map`). An E-step runs only when its result is asked for, by
    the caller or by the next M-step: a loop stopped after T M-steps that
    began from responsibilities has done T - 1 E-steps.

    Parameters
    ----------
    model : Model
        Anything with `e_step`, `summarise` and `maximise`.
    x : array
        The data, in the shape that the model takes.
    start : params or array of shape (n, k)
        Parameters (turn 0 is the start itself), or responsibilities (an
        M-step comes first, and turn 1 is the first yielded).
    multiplicity : array of shape (n,), optional
        How many times each row counts.

    Yields
    ------
    Step
        With `turn`, `params`, and `bound` and `resp` computed when asked
        for.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib import coins, em
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> for step in em(coins.Model(learn_weights=False), x, start):
    ...     means = step.params.means.round(2)
    ...     print(step.turn, means, f"{step.bound:.4f}")
    ...     if step.turn == 2:
    ...         break
    0 [0.6 0.5] -11.3206
    1 [0.71 0.58] -10.0860
    2 [0.75 0.57] -9.9498

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete
    data via the EM algorithm.
    """
    step = Step(0, start, model, x, multiplicity)
    if hasattr(start, "shape"):
        params = model.maximise(model.summarise(x, start, multiplicity))
        step = Step(1, params, model, x, multiplicity)
    while True:
        yield step
        step = next_turn(step)


class Fit(NamedTuple):
    """What `fit` found.

    Attributes
    ----------
    params
        The last turn's parameters.
    history : tuple of float
        The bound of each turn, in nats, summed over the points; the last
        entry belongs to `params`.
    converged : bool
        Whether the last turn changed the bound by no more than the
        tolerance.
    turns : int
        How many M-steps were done.
    """

    params: Any
    history: tuple[float, ...]
    converged: bool
    turns: int


def _number(step: Step) -> float:
    """Return the step's bound, or say that it is none."""
    if math.isnan(step.bound):
        raise FloatingPointError(
            f"the bound must be a number; that of turn {step.turn} is "
            f"{step.bound}. Its parameters are {step.params}"
        )
    return step.bound


def fit(
    model: Model,
    x: Any,
    start: Any,
    multiplicity: Any = None,
    tol: float = 1e-8,
    max_turns: int = 1000,
) -> Fit:
    r"""Turn the loop until a turn changes too little; return what it found.

    .. math:: |F^{(t)} - F^{(t-1)}| \le \mathrm{tol}

    (`eq-loop-stop`), where F is the bound.

    Parameters
    ----------
    model, x, start, multiplicity
        As in `em`.
    tol : float
        The change of the bound, in nats summed over the points, that is too
        small to be worth another turn. With 0 the bound must stand still.
    max_turns : int
        The largest number of M-steps; responsibilities as a start always
        take one.

    Returns
    -------
    Fit
        Named tuple `(params, history, converged, turns)`.

    Raises
    ------
    FloatingPointError
        If the bound is not a number, with the turn at which that happened.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib import coins, fit
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> result = fit(coins.Model(learn_weights=False), x, start)
    >>> result.params.means.round(4), result.converged, result.turns
    (array([0.7968, 0.5196]), True, 13)

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete
    data via the EM algorithm.
    """
    before, history = -math.inf, []
    for step in em(model, x, start, multiplicity):
        history.append(_number(step))
        converged = abs(step.bound - before) <= tol
        if converged or step.turn >= max_turns:
            break
        before = step.bound
    return Fit(step.params, tuple(history), converged, step.turn)


def _two_steps(model: Model, params: Any) -> Callable[..., Any]:
    """Return what makes the statistics and the bound of a block."""

    def tally(x: Any, multiplicity: Any = None) -> tuple[Any, float]:
        step = Step(0, params, model, x, multiplicity)
        return model.summarise(x, step.resp, multiplicity), step.bound

    return tally


def _one_pass(model: Any, params: Any) -> Callable[..., Any]:
    """Return the model's own way to do both steps of a block."""
    tally: Callable[..., Any] = model.tally(params)
    return tally


def _has_one_pass(model: type) -> bool:
    """Say whether the class that defines the steps does both in one."""
    for kind in model.__mro__:
        own = vars(kind)
        if "tally" in own or "e_step" in own or "summarise" in own:
            return callable(own.get("tally"))
    return False


def sweep(
    model: Model,
    blocks: Iterable[Any],
    params: Any,
    mapper: Callable[..., Iterable[Any]] = map,
) -> tuple[Any, float]:
    r"""Return the statistics and the bound of all blocks, one by one.

    .. math:: S = \sum_b S_b, \qquad F = \sum_b F_b

    (`eq-loop-add`). The responsibilities of a block are dropped before the
    next block is read, so memory does not grow with the number of points.
    A model may offer both steps in one pass: a method `tally(params)` that
    returns a function of a block.

    Parameters
    ----------
    model : Model
        Whose statistics add.
    blocks : iterable
        At least one; each is `x`, or the plain pair `(x, multiplicity)`.
    params
        The parameters at which the E-step is taken.
    mapper : callable
        `map`, or the `map` of an executor: blocks may be summed anywhere,
        as long as the sums come back in order.

    Returns
    -------
    statistics
        Of all blocks together: what `model.maximise` takes.
    bound : float
        In nats, summed over all points.

    Raises
    ------
    ValueError
        If there is no block.

    Examples
    --------
    >>> import numpy as np
    >>> from emlib import coins, sweep
    >>> fair = np.array([0.5, 0.5])
    >>> params = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> statistics, bound = sweep(coins.Model(), [x[:2], x[2:]], params)
    >>> statistics.heads.round(1), round(bound, 4)
    (array([21.3, 11.7]), -11.3206)

    References
    ----------
    Neal and Hinton (1998), A view of the EM algorithm that justifies
    incremental, sparse, and other variants.
    """
    way = _one_pass if _has_one_pass(type(model)) else _two_steps
    tally = way(model, params)

    def one(block: Any) -> Any:
        return tally(*(block if type(block) is tuple else (block,)))

    total, bounds = 0, []
    for statistics, bound in mapper(one, blocks):
        total = total + statistics
        bounds.append(bound)
    if not bounds:
        raise ValueError("`blocks` must hold at least one; received none.")
    return total, math.fsum(bounds)
