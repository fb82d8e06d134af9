"""What wakes a parent: the cost of its votes, and the temperature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

__all__ = ["authors_temperature", "paper_cost", "standardised_cost"]

LEAST = 1e-30  # square under which costs count as equal


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
    >>> import numpy as np
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
    >>> import numpy as np
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
