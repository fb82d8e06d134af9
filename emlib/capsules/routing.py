"""Capsule routing: the loop, with three changes.

Every parent sees its own copy of the data, the votes; every child has a
weight, its activation; and the mixing weight becomes a logistic unit with
two learned prices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from emlib.loop import Step, em

__all__ = [
    "Capsules",
    "Parents",
    "Posterior",
    "Routing",
    "Statistics",
    "authors_temperature",
    "distances",
    "e_step",
    "log_joint",
    "m_step",
    "middle",
    "moments",
    "over_children",
    "paper_cost",
    "relative_joint",
    "route",
    "share",
    "standardised_cost",
    "take_turns",
    "usual_part",
]

LEAST = 1e-30  # mass under which a parent has no child


class Capsules(NamedTuple):
    """What routing returns.

    Attributes
    ----------
    poses : tensor of shape (..., j, h)
        mu_j^h, one pose a parent.
    activations : tensor of shape (..., j)
        a_j, the chance that the parent is there.
    """

    poses: Any
    activations: Any


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


class Parents(NamedTuple):
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


class Posterior(NamedTuple):
    """What the E-step returns.

    Attributes
    ----------
    resp : tensor of shape (i, ..., j)
        R_ij; sums to 1 over the parents.
    log_evidence : tensor of shape (i, ...)
        The log of what it was divided by, in nats.
    """

    resp: Any
    log_evidence: Any


def authors_temperature(turn: int) -> float:
    r"""Return the inverse temperature that the authors' program uses.

    .. math:: \lambda_t = 0.01 \, (1 - 0.95^{t + 1})

    (`eq-routing-temperature`).

    Parameters
    ----------
    turn : int
        t, from 0.

    Returns
    -------
    float
        Per nat.

    Examples
    --------
    >>> round(authors_temperature(0), 6)
    0.0005

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing.
    """
    return 0.01 * (1 - 0.95 ** (turn + 1))


def over_children(terms: Any) -> Any:
    r"""Return the sum over children, half of them added to the other half.

    .. math:: \sum_{i < I} x_i =
        \sum_{i < I/2} \big( x_i + x_{i + I/2} \big)

    (`eq-fast-halves`), while halves are even: a compiler adds halves while
    it computes the terms, and rounding errors grow with log I.

    Parameters
    ----------
    terms : tensor of shape (i, ...)
        One a child.

    Returns
    -------
    tensor of shape (...)
        Their sum.

    Examples
    --------
    >>> float(over_children(np.ones(288)))
    288.0
    """
    while terms.shape[0] > 72 and terms.shape[0] % 2 == 0:
        half = terms.shape[0] // 2
        terms = terms[:half] + terms[half:]
    return ops.sum(terms, axis=0)


def middle(votes: Any) -> Any:
    r"""Return the plain mean of the votes, as a number that does not move.

    .. math:: c_j^h = \frac 1I \sum_i V_{ij}^h, \qquad
        \operatorname{route}(V) = \operatorname{route}(V - c) + c

    (`eq-fast-middle`): votes that agree far from 0 keep their digits when
    they are routed about their middle, and no slope depends on it.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.

    Returns
    -------
    tensor of shape (..., h, j)
        In the unit of the poses.

    Examples
    --------
    >>> float(middle(np.array([[[1.0]], [[3.0]]]))[0, 0])
    2.0
    """
    return ops.stop_gradient(over_children(votes) / votes.shape[0])


@ops.custom_gradient
def moments(votes: Any, shares: Any) -> Any:
    r"""Return the mean and the variance of the votes, each with its share.

    .. math::

        \mu = \sum_i s_i V_i, \qquad
        v = \sum_i s_i (V_i - \mu)^2, \qquad \sum_i s_i = 1

    and, for slopes g of the mean and w of the variance,

    .. math::

        \frac{\partial}{\partial V_i} = s_i \big( g + 2 w (V_i - \mu) \big),
        \qquad \frac{\partial}{\partial s_i} = \sum_h
        (V_i - \mu) \big( g + w (V_i - \mu) \big)

    (`eq-fast-moments`), up to a constant that shares cannot feel.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    shares : tensor of shape (i, ..., j)
        They sum to 1 over the children.

    Returns
    -------
    tensor of shape (2, ..., h, j)
        Means, and variances without a floor.

    Examples
    --------
    >>> votes = np.array([[[0.0]], [[4.0]]])  # (i, h, j)
    >>> said = moments(votes, np.array([[0.25], [0.75]]))
    >>> ops.convert_to_numpy(said).ravel()
    array([3., 3.])
    """
    each = ops.expand_dims(shares, -2)  # (i, ..., 1, j)
    means = over_children(each * votes)  # (..., h, j)
    variances = over_children(each * ops.square(votes - means))

    def slopes(*arrived: Any, upstream: Any = None) -> tuple[Any, Any]:
        both = arrived[0] if upstream is None else upstream
        g, w = both[0], both[1]  # (..., h, j)
        apart = votes - means  # (i, ..., h, j)
        of_shares = ops.sum(apart * (g + w * apart), axis=-2)
        return each * (g + 2 * w * apart), of_shares

    return ops.stack([means, variances]), slopes


@ops.custom_gradient
def distances(votes: Any, means: Any, variances: Any) -> Any:
    r"""Return how much farther than usual each vote lies from each parent.

    .. math:: D_{ij} = \sum_h \Big(
        \frac{(V_{ij}^h - \mu_j^h)^2}{(\sigma_j^h)^2} - 1 \Big)

    (`eq-fast-distance`): the square of the distance in the parent's own
    unit, less its mean; so most sums stay small, and keep their digits.
    Slopes are written out, too.

    Parameters
    ----------
    votes : tensor of shape (i, ..., h, j)
        V_ij^h.
    means, variances : tensors of shape (..., h, j)
        Of each parent.

    Returns
    -------
    tensor of shape (i, ..., j)
        Without a unit.

    Examples
    --------
    >>> votes = np.array([[[0.0]], [[4.0]]])  # (i, h, j)
    >>> said = distances(votes, np.array([[1.0]]), np.array([[0.5]]))
    >>> ops.convert_to_numpy(said).ravel()
    array([ 1., 17.])
    """
    terms = ops.square(votes - means) / variances - 1  # (i, ..., h, j)

    def slopes(*arrived: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        g = arrived[0] if upstream is None else upstream  # (i, ..., j)
        pull = ops.expand_dims(g, -2) * (votes - means)  # (i, ..., h, j)
        of_means = -2 * over_children(pull) / variances
        bend = over_children(pull * (votes - means))  # (..., h, j)
        return 2 * pull / variances, of_means, -bend / ops.square(variances)

    return ops.sum(terms, axis=-2), slopes


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


def paper_cost(
    mass: Any, variances: Any, beta_use: Any, scale: float
) -> Any:
    r"""Return what describing the votes by each parent costs.

    .. math::

        \mathrm{cost}_j = s\, S_j \sum_h
        \big( \beta_u + \tfrac12 \log (\sigma_j^h)^2 \big)

    (`eq-routing-cost`), s the mass scale; the mass is not normalised.

    Parameters
    ----------
    mass : tensor of shape (..., j)
        S_j, in children.
    variances : tensor of shape (..., h, j)
        (sigma_j^h)^2, the floor included.
    beta_use : tensor of shape (j,)
        beta_u of each parent, in nats a unit of mass.
    scale : float
        s.

    Returns
    -------
    tensor of shape (..., j)
        In nats.

    Examples
    --------
    >>> half = np.array([0.5])
    >>> float(paper_cost(np.ones(1), np.ones((2, 1)), half, 1.0)[0])
    1.0

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    procedure 1.
    """
    widths = 0.5 * ops.sum(ops.log(variances), axis=-2)  # (..., j)
    return scale * mass * (variances.shape[-2] * beta_use + widths)


def standardised_cost(
    mass: Any, variances: Any, beta_use: Any, scale: float
) -> Any:
    r"""Return the cost, shifted and scaled over the parents.

    .. math::

        \frac{\mathrm{cost}_j - \operatorname{mean}_j \mathrm{cost}_j}
        {\operatorname{sd}_j \mathrm{cost}_j}

    (`eq-routing-standardised`), 0 where all parents cost the same.

    Parameters
    ----------
    mass, variances, beta_use, scale
        As in `paper_cost`.

    Returns
    -------
    tensor of shape (..., j)
        Without a unit.

    Examples
    --------
    >>> mass, width = np.array([1.0, 3.0]), np.full((1, 2), np.e**2)
    >>> cost = standardised_cost(mass, width, np.zeros(2), 1.0)
    >>> ops.convert_to_numpy(cost)
    array([-1.,  1.])
    """
    cost = paper_cost(mass, variances, beta_use, scale)  # (..., j)
    # `ops.mean` is float32 on some backends, whatever it is given.
    count = cost.shape[-1]
    apart = cost - ops.sum(cost, axis=-1, keepdims=True) / count
    square = ops.sum(ops.square(apart), axis=-1, keepdims=True) / count
    some = square > LEAST
    spread = ops.sqrt(ops.where(some, square, 1.0))
    return ops.where(some, apart / spread, 0.0)


COSTS: dict[str, Callable[..., Any]] = {
    "paper": paper_cost,
    "standardised": standardised_cost,
}


def usual_part(entries: int) -> float:
    r"""Return what a usual vote's log density has of each parent alike.

    .. math:: c = -\frac H2 (1 + \log 2 \pi)

    (`eq-fast-constant`).

    Parameters
    ----------
    entries : int
        H, of a pose.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> round(usual_part(16), 2)
    -22.7
    """
    return -0.5 * entries * float(1 + np.log(2 * np.pi))


def relative_joint(
    votes: Any, means: Any, variances: Any, log_activations: Any
) -> Any:
    r"""Return the log joint without what is the same for all parents.

    .. math:: g_{ij} - c = \log a_j
        - \sum_h \log \sigma_j^h - \tfrac12 D_{ij}

    (`eq-fast-constant`): shares do not feel the constant, and numbers near
    0 keep more digits.

    Parameters
    ----------
    votes, means, variances, log_activations
        As in `log_joint`.

    Returns
    -------
    tensor of shape (i, ..., j)
        In nats.

    Examples
    --------
    >>> one = np.zeros((1, 1, 1), "float32")
    >>> parent = one[0], np.ones((1, 1), "float32"), np.zeros(1, "f4")
    >>> float(relative_joint(one, *parent)[0, 0])
    0.5
    """
    widths = 0.5 * ops.sum(ops.log(variances), axis=-2)  # (..., j)
    height = log_activations - widths  # (..., j)
    return height - 0.5 * distances(votes, means, variances)


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
    >>> one = np.zeros((1, 1, 1), "float32")
    >>> parent = one[0], np.ones((1, 1), "float32"), np.zeros(1, "f4")
    >>> round(float(log_joint(one, *parent)[0, 0]), 4)
    -0.9189
    """
    parents = means, variances, log_activations
    return relative_joint(votes, *parents) + usual_part(votes.shape[-2])


def share(log_joint: Any) -> Posterior:
    """Return each child's responsibilities: all its parents compete.

    Parameters
    ----------
    log_joint : tensor of shape (i, ..., j)
        In nats.

    Returns
    -------
    Posterior
        Named tuple `(resp (i, ..., j), log_evidence (i, ...))`.

    Examples
    --------
    >>> ops.convert_to_numpy(share(np.zeros((1, 2), "f4")).resp)
    array([[0.5, 0.5]], dtype=float32)
    """
    evidence = ops.logsumexp(log_joint, axis=-1)  # (i, ...)
    resp = ops.exp(log_joint - ops.expand_dims(evidence, -1))
    return Posterior(resp, evidence)


def e_step(
    votes: Any,
    means: Any,
    variances: Any,
    log_activations: Any,
    compete: Callable[[Any], Posterior] = share,
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
    compete : callable
        Of the log joint; who competes with whom.

    Returns
    -------
    Posterior
        Named tuple `(resp (i, ..., j), log_evidence (i, ...))`.

    Examples
    --------
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
    found = compete(relative_joint(votes, *parents))
    evidence = found.log_evidence + usual_part(votes.shape[-2])
    return Posterior(found.resp, evidence)


Temperature = float | Sequence[float] | Callable[[int], Any]


@dataclass(frozen=True)
class Routing:
    """Routing as a model of the loop; the object holds options only.

    `x` is the votes, `multiplicity` the children's activations.

    Parameters
    ----------
    beta_use, beta_activate : tensors of shape (j,)
        The two prices of each parent, in nats a unit of mass, and in nats.
    inverse_temperature : float, sequence or callable of the turn
        lambda_t, per nat.
    variance_floor : float
        Added to each variance, in the unit of the poses squared.
    mass_scale : float
        What the mass is multiplied by in the cost.
    cost : {"paper", "standardised"}
        How a parent's cost is computed.
    compete : callable
        Of the log joint; who competes with whom in the E-step.

    Examples
    --------
    >>> model = Routing(np.zeros(1, "f4"), np.zeros(1, "f4"))
    >>> model.temperature(0) == authors_temperature(0)
    True
    """

    beta_use: Any
    beta_activate: Any
    inverse_temperature: Temperature = authors_temperature
    variance_floor: float = 5e-4
    mass_scale: float = 1.0
    cost: str = "paper"
    compete: Callable[[Any], Posterior] = share

    def temperature(self, turn: int) -> Any:
        """Return lambda_t."""
        rate: Any = self.inverse_temperature
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
        self, statistics: Statistics, previous: Parents | None = None
    ) -> Parents:
        r"""Return the parents that such moments make.

        .. math:: a_j = \operatorname{logistic}
            \big( \lambda_t (\beta_a - \mathrm{cost}_j) \big)

        (`eq-routing-activation`).
        """
        turn = 0 if previous is None else previous.turn + 1
        _, mass, means, variances = statistics
        variances = variances + self.variance_floor
        price = COSTS[self.cost]
        cost = price(mass, variances, self.beta_use, self.mass_scale)
        logits = self.temperature(turn) * (self.beta_activate - cost)
        return Parents(means, variances, cost, logits, turn)

    def log_joint(self, x: Any, params: Parents) -> Any:
        """Return log a_j and the log density; log a_j is -softplus."""
        logs = -ops.softplus(-params.logits)  # (..., j)
        return log_joint(x, *params[:2], logs)

    def e_step(self, x: Any, params: Parents) -> Posterior:
        """Return the responsibilities; log a_j is -softplus(-logit)."""
        logs = -ops.softplus(-params.logits)  # (..., j)
        return e_step(x, *params[:2], logs, self.compete)


def check_options(
    turns: Any, cost: str, variance_floor: Any, temperature: Any
) -> None:
    """Raise where an option of routing is none.

    Parameters
    ----------
    turns, cost, variance_floor, temperature
        As in `route`; the last is its `inverse_temperature`.

    Raises
    ------
    ValueError
        With the rule, and what was received.
    """
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


def _fitting(
    votes: Any, activations: Any, use: Any, activate: Any, resp: Any
) -> tuple[Any, Any]:
    """Return the prices as tensors; raise where a shape is amiss."""
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
    return ops.convert_to_tensor(use), ops.convert_to_tensor(activate)


def take_turns(
    model: Routing, votes: Any, activations: Any, resp: Any, turns: int
) -> tuple[Capsules, list[Step]]:
    """Run the loop on votes whose children and parents stand as in V_ij^h.

    So many M-steps, and one E-step fewer, the M-step first
    (`eq-routing-loop`).

    Parameters
    ----------
    model : Routing
        The two steps.
    votes : tensor of shape (..., i, j, h)
        V_ij^h.
    activations : tensor of shape (..., i)
        a_i.
    resp : tensor of shape (..., i, j) or None
        R_ij at the start; None shares each child alike.
    turns : int
        M-steps.

    Returns
    -------
    Capsules
        Named tuple `(poses (..., j, h), activations (..., j))`.
    list of Step
        One a turn; in them children stand first, parents last.
    """
    x = ops.swapaxes(ops.moveaxis(votes, -3, 0), -1, -2)  # (i, ..., h, j)
    weights = ops.moveaxis(activations, -1, 0)  # (i, ...)
    if resp is None:
        start = ops.ones_like(x[..., 0, :]) / x.shape[-1]  # (i, ..., j)
    else:
        start = ops.moveaxis(resp, -2, 0)  # (i, ..., j)
    steps = list(islice(em(model, x, start, weights), turns))
    params = steps[-1].params
    poses = ops.swapaxes(params.means, -1, -2)  # (..., j, h)
    return Capsules(poses, ops.sigmoid(params.logits)), steps


def route(
    votes: Any,
    activations: Any,
    beta_use: Any,
    beta_activate: Any,
    *,
    turns: int = 2,
    inverse_temperature: Temperature = authors_temperature,
    variance_floor: float = 5e-4,
    mass_scale: float = 1.0,
    resp: Any = None,
    cost: str = "paper",
    return_steps: bool = False,
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
    turns : int
        M-steps, at least 1.
    inverse_temperature : float, sequence or callable of the turn
        lambda_t, per nat.
    variance_floor : float
        Added to each variance, in the unit of the poses squared.
    mass_scale : float
        What the mass is multiplied by in the cost.
    resp : tensor of shape (..., i, j), optional
        R_ij at the start; without it all parents share alike.
    cost : {"paper", "standardised"}
        How a parent's cost is computed.
    return_steps : bool
        Whether to return the steps, too.

    Returns
    -------
    Capsules
        Named tuple `(poses (..., j, h), activations (..., j))`.
    list of Step
        One a turn, if asked for; in them children stand first, parents
        last: resp (i, ..., j), means (..., h, j).

    Examples
    --------
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
    check_options(turns, cost, variance_floor, inverse_temperature)
    betas = _fitting(votes, activations, beta_use, beta_activate, resp)
    heat: Any = inverse_temperature
    model = Routing(*betas, heat, variance_floor, mass_scale, cost)
    found, steps = take_turns(model, votes, activations, resp, turns)
    return (found, steps) if return_steps else found
