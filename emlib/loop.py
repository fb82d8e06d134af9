"""The loop that every model here runs: an E-step, an M-step, and again.

Nothing in this file knows what a point is, or what a component is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import (
    Any,
    Generic,
    NamedTuple,
    Protocol,
    TypeGuard,
    TypeVar,
    overload,
    runtime_checkable,
)

__all__ = [
    "Block",
    "Fit",
    "HasPrior",
    "Labels",
    "Model",
    "OnePass",
    "Packable",
    "Step",
    "Sweeping",
    "accumulate",
    "em",
    "fit",
    "next_turn",
    "sweep",
]

Value = TypeVar("Value")


@runtime_checkable
class Model(Protocol):
    """What the loop asks of a model: three methods."""

    def e_step(self, x: Any, params: Any) -> Any:
        """Return what `params` say of what is hidden: a posterior."""

    def summarise(
        self, x: Any, posterior: Any, multiplicity: Any = None
    ) -> Any:
        """Return expected sufficient statistics, which add."""

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters that fit the statistics best."""


@runtime_checkable
class HasPrior(Protocol):
    """A model that has a belief about its parameters."""

    def log_prior(self, params: Any) -> float:
        """Return the log of the prior at `params`, in nats."""


@runtime_checkable
class Packable(Protocol):
    """A model whose parameters are also a vector without limits."""

    def pack(self, params: Any) -> Any:
        """Return the free parameters as a vector, (p,)."""

    def unpack(self, vector: Any, like: Any) -> Any:
        """Return the parameters that a vector stands for."""


@runtime_checkable
class OnePass(Protocol):
    """A model that takes both steps of a block in one pass.

    What it returns is what `e_step` and `summarise` lead to, but for
    rounding; a subclass that changes a step changes `expect`, too.
    """

    def expect(
        self, x: Any, params: Any, multiplicity: Any = None
    ) -> tuple[Any, float]:
        """Return the statistics of a block, and its bound in nats."""


@runtime_checkable
class Sweeping(Protocol):
    """A model that goes over all blocks in a way of its own."""

    def sweep(
        self,
        blocks: Iterable[Any],
        params: Any,
        mapper: Callable[..., Iterable[Any]] = map,
    ) -> tuple[Any, float]:
        """Return the statistics and the bound of all blocks."""


@runtime_checkable
class _Shaped(Protocol):
    """What every array and tensor has."""

    shape: Any


class Labels(NamedTuple):
    """A start: somebody's belief about the labels, and nothing else.

    Attributes
    ----------
    resp : array of shape (n, k)
        Responsibilities; each row sums to 1.
    """

    resp: Any


class Block(NamedTuple):
    """Some rows, and how often each counts; None for once.

    Attributes
    ----------
    x : array of shape (n, ...)
        The rows.
    multiplicity : array of shape (n,) or None
        How many times each row counts.
    """

    x: Any
    multiplicity: Any = None


class lazy_property(Generic[Value]):  # noqa: N801 (used as a decorator)
    """A property that is computed when first asked for, and kept.

    `functools.cached_property` holds one lock for all objects on Python
    3.11: threads would wait for each other's E-steps, and forks hang.
    """

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, kind: type) -> lazy_property[Value]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        value = vars(owner)[self.name] = self.function(owner)
        return value


def log_prior(model: Any, params: Any) -> float:
    """Return what the model believes of the parameters, in nats.

    Parameters
    ----------
    model : Model
        One that `HasPrior`, or any other.
    params
        Its parameters.

    Returns
    -------
    float
        0 for a model without a prior.

    Examples
    --------
    >>> from emlib import coins
    >>> log_prior(coins.Model(), None)
    0.0
    """
    if isinstance(model, HasPrior):
        return float(model.log_prior(params))
    return 0.0


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
    posterior
        The E-step at `params`, computed once, when first asked for.
    resp : array of shape (n, k)
        Its responsibilities, `eq-coins-e`; each row sums to 1.
    bound : float
        The bound at `params` and `resp`, in nats, summed over the points.
        After an E-step it equals the log evidence, `eq-loop-tight`.
    objective : float
        The bound, plus the model's `log_prior(params)` where it has one:
        what an M-step makes no smaller.
    """

    turn: int
    params: Any
    model: Model = field(repr=False)
    x: Any = field(repr=False)
    multiplicity: Any = field(repr=False)

    @lazy_property
    def posterior(self) -> Any:
        """Run the E-step at this turn's parameters."""
        return self.model.e_step(self.x, self.params)

    @property
    def resp(self) -> Any:
        """Return the responsibilities, (n, k)."""
        return self.posterior.resp

    @lazy_property
    def bound(self) -> float:
        """Return the summed log evidence, which the bound now touches."""
        times = 1 if self.multiplicity is None else self.multiplicity
        return float((times * self.posterior.log_evidence).sum())

    @lazy_property
    def objective(self) -> float:
        """Return the bound, plus what the prior says where there is one."""
        return self.bound + log_prior(self.model, self.params)


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
    statistics = model.summarise(x, step.posterior, multiplicity)
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
    start : params, Labels, or array of shape (n, k)
        Parameters (turn 0 is the start itself), or responsibilities (an
        M-step comes first, and turn 1 is the first yielded); a bare array
        is taken as `Labels`.
    multiplicity : array of shape (n,), optional
        How many times each row counts.

    Yields
    ------
    Step
        With `turn`, `params`, and `posterior`, `bound` and `objective`
        computed when asked for.

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
    labels = Labels(start) if isinstance(start, _Shaped) else start
    step = Step(0, labels, model, x, multiplicity)
    if isinstance(labels, Labels):
        params = model.maximise(model.summarise(x, labels, multiplicity))
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
        Whether the last turn changed the objective by no more than the
        tolerance.
    turns : int
        How many M-steps were done.
    objectives : tuple of float
        The bound of each turn plus what the model's prior says; without a
        prior the same numbers as `history`.
    """

    params: Any
    history: tuple[float, ...]
    converged: bool
    turns: int
    objectives: tuple[float, ...]


def _number(step: Step) -> float:
    """Return the step's objective, or say that it is none."""
    if math.isnan(step.objective):
        raise FloatingPointError(
            f"the objective must be a number; that of turn {step.turn} is "
            f"{step.objective}. Its parameters are {step.params}"
        )
    return step.objective


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

    (`eq-loop-stop`), where F is the bound; with a prior it is the
    objective, the bound plus the log prior.

    Parameters
    ----------
    model, x, start, multiplicity
        As in `em`.
    tol : float
        The change of the objective, in nats summed over the points, that
        is too small to be worth another turn. With 0 it must stand still.
    max_turns : int
        The largest number of M-steps; responsibilities as a start always
        take one.

    Returns
    -------
    Fit
        Named tuple `(params, history, converged, turns, objectives)`.

    Raises
    ------
    FloatingPointError
        If the objective is not a number, with the turn at which that
        happened.

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
    objectives, history = [-math.inf], []
    for step in em(model, x, start, multiplicity):
        objectives.append(_number(step))
        history.append(step.bound)
        converged = abs(objectives[-1] - objectives[-2]) <= tol
        if converged or step.turn >= max_turns:
            break
    bounds, rises = tuple(history), tuple(objectives[1:])
    return Fit(step.params, bounds, converged, step.turn, rises)


def accumulate(
    expect: Callable[..., tuple[Any, float]],
    blocks: Iterable[Any],
    mapper: Callable[..., Iterable[Any]] = map,
) -> tuple[Any, float]:
    r"""Return the sum of what blocks of rows say.

    .. math:: S = \sum_b S_b, \qquad F = \sum_b F_b

    (`eq-loop-add`), in the order of the blocks, so that the sums are the
    same to the last bit whoever computes them.

    Parameters
    ----------
    expect : callable
        Of `x` and `multiplicity`; returns statistics and bound of a block.
    blocks : iterable
        At least one; each a `Block`, or the bare rows of one.
    mapper : callable
        `map`, or the `map` of an executor: blocks may be summed anywhere,
        as long as the sums come back in order.

    Returns
    -------
    statistics
        Of all blocks together.
    bound : float
        In nats, summed over all points.

    Raises
    ------
    ValueError
        If there is no block.

    Examples
    --------
    >>> accumulate(lambda x: (sum(x), 0.5), [[1, 2], [3]])
    (6, 1.0)

    References
    ----------
    Neal and Hinton (1998), A view of the EM algorithm that justifies
    incremental, sparse, and other variants.
    """

    def one(block: Any) -> Any:
        return expect(*(block if isinstance(block, Block) else (block,)))

    total, bounds = 0, []
    for statistics, bound in mapper(one, blocks):
        total = total + statistics
        bounds.append(bound)
    if not bounds:
        raise ValueError("`blocks` must hold at least one; received none.")
    return total, math.fsum(bounds)


def _is_sweeping(model: Model) -> TypeGuard[Sweeping]:
    """Say whether a model is `Sweeping`; slow if asked of an instance."""
    return issubclass(type(model), Sweeping)


def _two_steps(
    model: Model, x: Any, params: Any, multiplicity: Any = None
) -> tuple[Any, float]:
    """Return the statistics and the bound of a block, by two steps."""
    step = Step(0, params, model, x, multiplicity)
    return model.summarise(x, step.posterior, multiplicity), step.bound


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
    A model may offer both steps in one pass (`OnePass`), or a way of its
    own over all blocks (`Sweeping`).

    Parameters
    ----------
    model : Model
        Whose statistics add.
    blocks : iterable
        At least one; each a `Block`, or the bare rows of one.
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
    if _is_sweeping(model):
        return model.sweep(blocks, params, mapper)
    expect = (
        model.expect
        if isinstance(model, OnePass)
        else partial(_two_steps, model)
    )
    return accumulate(
        lambda x, times=None: expect(x, params, times), blocks, mapper
    )
