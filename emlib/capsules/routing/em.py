"""Capsule routing: the loop, with three changes.

Every parent sees its own copy of the data, the votes; every child has a
weight, its activation; and the mixing weight becomes a logistic unit with
two learned prices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import keras
from keras import ops

from emlib.capsules.routing.costs import COSTS, authors_temperature
from emlib.capsules.routing.router import (
    Capsules,
    Posterior,
    Router,
    Weight,
    capsules,
    deserialised,
    softmax_over_parents,
)
from emlib.capsules.routing.sums import (
    density_offset,
    moments,
    relative_joint,
)
from emlib.loop import Step

__all__ = [
    "EMRouter",
    "Params",
    "Routing",
    "Statistics",
    "e_step",
    "log_joint",
    "m_step",
    "route",
]

LEAST = 1e-30  # mass under which a parent has no child


class Statistics(NamedTuple):
    """Weighted moments of the votes for each parent; they add.

    Attributes
    ----------
    children : int
        How many voted.
    mass : tensor of shape (..., j)
        S_j = sum_i a_i R_ij, in children.
    means : tensor of shape (..., h, j)
        sum_i a_i R_ij V_ij / S_j; the plain mean where S_j is 0.
    variances : tensor of shape (..., h, j)
        The same of the squared distance from the mean, without a floor.
    """

    children: int
    mass: Any
    means: Any
    variances: Any

    def __add__(self, other: object) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        mass = self.mass + other.mass  # (..., j)
        children = self.children + other.children
        some = mass > LEAST
        share = self.mass / ops.where(some, mass, 1.0)
        share = ops.where(some, share, self.children / children)
        share = ops.expand_dims(share, -2)  # (..., 1, j)
        means = share * self.means + (1 - share) * other.means
        one, two = (
            part.variances + ops.square(part.means - means)
            for part in (self, other)
        )
        variances = share * one + (1 - share) * two
        return Statistics(children, mass, means, variances)

    def __radd__(self, other: object) -> Statistics:
        if isinstance(other, int) and other == 0:
            return self
        # NotImplemented would let a plain tuple put itself in front.
        raise TypeError(f"cannot add Statistics to {type(other).__name__}")


class Params(NamedTuple):
    """What the M-step returns.

    Attributes
    ----------
    means : tensor of shape (..., h, j)
        mu_j^h.
    variances : tensor of shape (..., h, j)
        (sigma_j^h)^2, the floor included.
    cost : tensor of shape (..., j)
        What it costs to describe the votes by the parent, in nats.
    logits : tensor of shape (..., j)
        lambda (beta_activate - cost); a_j is their logistic.
    turn : int
        How many M-steps came before.
    """

    means: Any
    variances: Any
    cost: Any
    logits: Any
    turn: int

    @property
    def activations(self) -> Any:
        """Return a_j, (..., j)."""
        return ops.sigmoid(self.logits)


@ops.custom_gradient
def _divided(masses: Any, mass: Any) -> Any:
    """Return masses / mass; no slope has the square of a tiny mass."""
    shares = masses / mass  # (i, ..., j)

    def slopes(*arrived: Any, upstream: Any = None) -> tuple[Any, Any]:
        g = arrived[0] if upstream is None else upstream  # (i, ..., j)
        return g / mass, -ops.sum(g * shares, axis=0) / mass

    return shares, slopes


def m_step(votes: Any, resp: Any, activations: Any) -> Statistics:
    r"""Return the weighted moments of the votes for each parent.

    .. math::

        S_j = \sum_i a_i R_{ij}, \qquad
        \mu_j^h = \sum_i \frac{a_i R_{ij}}{S_j} V_{ij}^h, \qquad
        \operatorname{var}_j^h = \sum_i \frac{a_i R_{ij}}{S_j}
        (V_{ij}^h - \mu_j^h)^2

    (`eq-routing-moments`); where S_j is 0 all children count alike.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    resp : tensor of shape (i, ..., j)
        R_ij, normalised before the activations multiply them.
    activations : tensor of shape (i, ...)
        a_i.

    Returns
    -------
    Statistics
        Named tuple `(children, mass, means, variances)`.

    Examples
    --------
    >>> import numpy as np
    >>> votes = np.array([[[0.0]], [[4.0]]], "float32")  # (i, h, j)
    >>> said = m_step(votes, np.ones((2, 1), "float32"), np.ones(2, "f4"))
    >>> float(said.mass[0]), float(said.means[0, 0])
    (2.0, 2.0)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    procedure 1.
    """
    masses = resp * ops.expand_dims(activations, -1)  # (i, ..., j)
    mass = ops.sum(masses, axis=0)  # (..., j)
    some = mass > LEAST  # (..., j)
    alike = ops.ones_like(masses) / masses.shape[0]  # (i, ..., j)
    shares = _divided(masses, ops.where(some, mass, 1.0))  # (i, ..., j)
    shares = ops.where(some, shares, alike)
    both = moments(votes, shares)  # (2, ..., h, j)
    return Statistics(votes.shape[0], mass, both[0], both[1])


def log_joint(
    votes: Any, means: Any, variances: Any, log_activations: Any
) -> Any:
    r"""Return a parent's log activation plus the log density of a vote.

    .. math::

        g_{ij} = \log a_j + \sum_h \log \mathcal N
        (V_{ij}^h; \mu_j^h, (\sigma_j^h)^2)

    (`eq-routing-joint`).

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    means, variances : tensors of shape (..., h, j)
        Of each parent.
    log_activations : tensor of shape (..., j)
        log a_j.

    Returns
    -------
    tensor of shape (i, ..., j)
        In nats.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.zeros((1, 1, 1), "float32")
    >>> parent = one[0], np.ones((1, 1), "float32"), np.zeros(1, "f4")
    >>> round(float(log_joint(one, *parent)[0, 0]), 4)
    -0.9189
    """
    parents = means, variances, log_activations
    return relative_joint(votes, *parents) + density_offset(votes.shape[-2])


def e_step(
    votes: Any,
    means: Any,
    variances: Any,
    log_activations: Any,
    competition: Callable[[Any], Posterior] = softmax_over_parents,
) -> Posterior:
    r"""Return the responsibilities of the parents for each child.

    .. math::

        R_{ij} = \frac{a_j \prod_h \mathcal N(V_{ij}^h)}
        {\sum_l a_l \prod_h \mathcal N(V_{il}^h)}

    (`eq-routing-e`), in logarithms throughout.

    Parameters
    ----------
    votes, means, variances, log_activations
        As in `log_joint`.
    competition : callable
        Of the log joint; who competes with whom.

    Returns
    -------
    Posterior
        Named tuple `(resp (i, ..., j), log_evidence (i, ...))`.

    Examples
    --------
    >>> import numpy as np
    >>> votes = np.zeros((1, 1, 2), "float32")  # two equal parents
    >>> pair = np.zeros((1, 2), "f4"), np.ones((1, 2), "f4")
    >>> said = e_step(votes, *pair, np.zeros(2, "f4"))
    >>> ops.convert_to_numpy(said.resp)
    array([[0.5, 0.5]], dtype=float32)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    procedure 1.
    """
    parents = means, variances, log_activations
    found = competition(relative_joint(votes, *parents))
    evidence = found.log_evidence + density_offset(votes.shape[-2])
    return Posterior(found.resp, evidence)


Temperature = float | Sequence[float] | Callable[[int], Any]


def _check(options: EMRouter) -> None:
    """Raise where an option of routing is none."""
    turns: Any = options.turns
    cost = options.cost
    variance_floor: Any = options.variance_floor
    temperature: Any = options.inverse_temperature
    if not (isinstance(turns, Integral) and int(turns) >= 1):
        raise ValueError(
            f"`turns` must be a whole number, at least 1; received "
            f"{turns!r}. A turn is one M-step."
        )
    if cost not in COSTS:
        raise ValueError(
            f"`cost` must be one of {sorted(COSTS)}; received {cost!r}. "
            "The authors' is 'paper'."
        )
    if not (
        isinstance(variance_floor, Real) and float(variance_floor) >= 0
    ):
        raise ValueError(
            f"`variance_floor` must be a number, at least 0; received "
            f"{variance_floor!r}. The default is 5e-4."
        )
    if hasattr(temperature, "__len__"):
        if len(temperature) < int(turns):
            raise ValueError(
                "`inverse_temperature` must have a number for each turn; "
                f"received {len(temperature)} of them for {turns} turns."
            )
    elif not (callable(temperature) or isinstance(temperature, Real)):
        raise ValueError(
            "`inverse_temperature` must be a number, a sequence of them or "
            f"a callable of the turn; received {temperature!r}."
        )


@keras.saving.register_keras_serializable(package="emlib")
@dataclass(frozen=True)
class EMRouter(Router):
    """EM routing: the options that layers, network and `route` share.

    Parameters
    ----------
    turns : int
        M-steps, at least 1.
    inverse_temperature : float, sequence or callable of the turn
        lambda_t, per nat.
    variance_floor : float
        Added to each variance, in the unit of the poses squared.
    mass_scale : float, optional
        What the mass is multiplied by in the cost; without it parents over
        children, so that the mean of the scaled mass is 1 at the start.
    cost : {"paper", "standardised"}
        How a parent's cost is computed.

    Raises
    ------
    ValueError
        If an option is none.

    Examples
    --------
    >>> EMRouter(turns=3).weights((3, 3), 8, 16)["beta_use"].shape
    (16,)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing.
    """

    inverse_temperature: Temperature = 0.03  # benchmarks/temperature.py
    variance_floor: float = 5e-4
    mass_scale: float | None = None
    cost: str = "paper"

    def __post_init__(self) -> None:
        _check(self)

    def weights(
        self, kernel: tuple[int, int], children: int, parents: int
    ) -> dict[str, Weight]:
        """Return the two prices of each parent."""
        return dict.fromkeys(
            ("beta_use", "beta_activate"), Weight((parents,))
        )

    def model(
        self,
        weights: dict[str, Any],
        competition: Callable[[Any], Posterior],
        parents_per_child: float,
    ) -> Routing:
        """Return the two steps, at such prices."""
        options = self
        if self.mass_scale is None:
            options = replace(self, mass_scale=parents_per_child)
        return Routing(**weights, options=options, competition=competition)


AUTHORS = EMRouter(inverse_temperature=authors_temperature, mass_scale=1.0)


@dataclass(frozen=True)
class Routing:
    """Routing as a model of the loop; the object holds options only.

    `x` is the votes, `multiplicity` the children's activations.

    Parameters
    ----------
    beta_use, beta_activate : tensors of shape (j,)
        The two prices of each parent, in nats a unit of mass, and in nats.
    options : EMRouter
        Temperature, floor, mass scale and cost.
    competition : callable
        Of the log joint; who competes with whom in the E-step.

    Examples
    --------
    >>> import numpy as np
    >>> model = Routing(np.zeros(1, "f4"), np.zeros(1, "f4"))
    >>> model.temperature(0) == authors_temperature(0)
    True
    """

    beta_use: Any
    beta_activate: Any
    options: EMRouter = AUTHORS
    competition: Callable[[Any], Posterior] = softmax_over_parents

    def temperature(self, turn: int) -> Any:
        """Return lambda_t."""
        rate: Any = self.options.inverse_temperature
        if callable(rate):
            return rate(turn)
        return rate[turn] if hasattr(rate, "__len__") else rate

    def summarise(
        self, x: Any, posterior: Any, multiplicity: Any = None
    ) -> Statistics:
        """Return the moments of the votes; the activations weigh them."""
        resp = posterior.resp  # (i, ..., j)
        if multiplicity is None:
            multiplicity = ops.ones_like(resp[..., 0])  # (i, ...)
        return m_step(x, resp, multiplicity)

    def maximise(
        self, statistics: Statistics, previous: Params | None = None
    ) -> Params:
        r"""Return the parents that such moments make.

        .. math:: a_j = \operatorname{logistic}
            \big( \lambda_t (\beta_a - \mathrm{cost}_j) \big)

        (`eq-routing-activation`).
        """
        turn = 0 if previous is None else previous.turn + 1
        _, mass, means, variances = statistics
        options = self.options
        variances = variances + options.variance_floor
        price = COSTS[options.cost]
        cost = price(mass, variances, self.beta_use, options.mass_scale)
        logits = self.temperature(turn) * (self.beta_activate - cost)
        return Params(means, variances, cost, logits, turn)

    def log_joint(self, x: Any, params: Params) -> Any:
        """Return log a_j and the log density; log a_j is -softplus."""
        logs = -ops.softplus(-params.logits)  # (..., j)
        return log_joint(x, *params[:2], logs)

    def e_step(self, x: Any, params: Params) -> Posterior:
        """Return the responsibilities; log a_j is -softplus(-logit)."""
        logs = -ops.softplus(-params.logits)  # (..., j)
        return e_step(x, *params[:2], logs, self.competition)


def _check_shapes(
    votes: Any, activations: Any, use: Any, activate: Any, resp: Any
) -> None:
    """Raise where a shape is amiss."""
    shape = tuple(votes.shape)
    if len(shape) < 3:
        raise ValueError(
            "`votes` must have at least three axes, (..., i, j, h); "
            f"received shape {shape}. One child has an axis of length 1."
        )
    wanted = {
        "activations": (activations, shape[:-2]),
        "beta_use": (use, shape[-2:-1]),
        "beta_activate": (activate, shape[-2:-1]),
        "resp": (resp, shape[:-1]),
    }
    for name, (value, right) in wanted.items():
        if value is not None and tuple(value.shape) != right:
            raise ValueError(
                f"`{name}` must have shape {right}, as votes of shape "
                f"{shape} are (..., i, j, h); received "
                f"{tuple(value.shape)}. Are children and parents swapped?"
            )


def resolve(
    routing: Any, options: dict[str, Any], default: EMRouter | None = None
) -> Router:
    """Return the routing that was given, or EM routing of such options.

    Raises
    ------
    ValueError
        If it is no routing, or both are given.
    """
    if routing is None:
        given = {n: deserialised(value) for n, value in options.items()}
        return replace(default or EMRouter(), **given)
    if options:
        raise ValueError(
            "`routing` must hold its own options; received it and "
            f"{sorted(options)} beside it. Give them to the routing."
        )
    found = deserialised(routing)
    if not isinstance(found, Router):
        raise ValueError(
            f"`routing` must be a Router; received {routing!r}. Derive it "
            "from emlib.capsules.Router."
        )
    return found


def _children_first(
    votes: Any, activations: Any, resp: Any
) -> tuple[Any, Any, Any]:
    """Return votes (i, ..., h, j), activations, shares at the start."""
    x = ops.swapaxes(ops.moveaxis(votes, -3, 0), -1, -2)  # (i, ..., h, j)
    weights = ops.moveaxis(activations, -1, 0)  # (i, ...)
    if resp is None:
        start = ops.ones_like(x[..., 0, :]) / x.shape[-1]  # (i, ..., j)
    else:
        start = ops.moveaxis(resp, -2, 0)  # (i, ..., j)
    return x, weights, start


def _model(router: Router, i: int, j: int, prices: dict[str, Any]) -> Any:
    """Return a routing's two steps where all parents compete."""
    wanted = router.weights((1, 1), i, j)
    if not set(wanted) <= set(prices):
        raise ValueError(
            f"`routing` must want no weights but {sorted(prices)} here; it "
            f"wants {sorted(wanted)}. Give it to a layer."
        )
    weights = {name: ops.convert_to_tensor(prices[name]) for name in wanted}
    return router.model(weights, softmax_over_parents, j / i)


def route(
    votes: Any,
    activations: Any,
    beta_use: Any,
    beta_activate: Any,
    *,
    resp: Any = None,
    return_steps: bool = False,
    routing: Router | None = None,
    **options: Any,
) -> Capsules | tuple[Capsules, list[Step]]:
    """Return the parents on which the children's votes agree.

    So many M-steps, and one E-step fewer, the M-step first
    (`eq-routing-loop`); every child feeds every parent.

    Parameters
    ----------
    votes : tensor of shape (..., i, j, h)
        V_ij^h, the pose that child i expects of parent j.
    activations : tensor of shape (..., i)
        a_i, from 0 to 1.
    beta_use, beta_activate : tensors of shape (j,)
        In nats a unit of mass, and in nats.
    resp : tensor of shape (..., i, j), optional
        R_ij at the start; without it all parents share alike.
    return_steps : bool
        Whether to return the steps, too.
    routing : Router, optional
        Another routing than EM, one that wants no other weights.
    turns, inverse_temperature, variance_floor, mass_scale, cost
        As in `EMRouter`; without them 2, the authors' schedule, 5e-4, 1
        and "paper".

    Returns
    -------
    Capsules
        Named tuple `(poses (..., j, h), activations (..., j))`.
    list of Step
        One a turn, if asked for; in them children stand first, parents
        last: resp (i, ..., j), means (..., h, j).

    Examples
    --------
    >>> import numpy as np
    >>> votes = np.array([[[0.0]], [[4.0]]], "float32")  # (i, j, h)
    >>> betas = np.zeros(1, "float32"), np.zeros(1, "float32")
    >>> found = route(votes, np.ones(2, "float32"), *betas)
    >>> float(found.poses[0, 0])
    2.0

    Raises
    ------
    ValueError
        If shapes do not fit, or an option is none.

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    procedure 1.
    """
    _check_shapes(votes, activations, beta_use, beta_activate, resp)
    router = resolve(routing, options, AUTHORS)
    prices = {"beta_use": beta_use, "beta_activate": beta_activate}
    i, j = votes.shape[-3:-1]
    model = _model(router, i, j, prices)
    steps = [*router.run(model, *_children_first(votes, activations, resp))]
    found = capsules(steps[-1].params)
    return (found, steps) if return_steps else found
