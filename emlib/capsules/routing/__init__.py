"""Routing: what finds where votes agree, and what layers ask of it."""

from emlib.capsules.routing.costs import (
    authors_temperature,
    paper_cost,
    standardised_cost,
)
from emlib.capsules.routing.em import (
    EMRouter,
    Params,
    Routing,
    Statistics,
    e_step,
    log_joint,
    m_step,
    route,
)
from emlib.capsules.routing.router import (
    Capsules,
    Children,
    Posterior,
    Router,
    Weight,
    softmax_over_parents,
)
from emlib.capsules.routing.sums import (
    density_offset,
    distances,
    moments,
    pairwise_sum,
    relative_joint,
    vote_centre,
)

__all__ = [
    "Capsules",
    "Children",
    "EMRouter",
    "Params",
    "Posterior",
    "Router",
    "Routing",
    "Statistics",
    "Weight",
    "authors_temperature",
    "density_offset",
    "distances",
    "e_step",
    "log_joint",
    "m_step",
    "moments",
    "pairwise_sum",
    "paper_cost",
    "relative_joint",
    "route",
    "softmax_over_parents",
    "standardised_cost",
    "vote_centre",
]
