"""What a layer asks of any routing, and the one driver of the loop.

A routing is an object that a layer is given. It says which weights it
wants, and turns children into parents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
from keras import ops

from emlib.capsules.routing.sums import vote_centre
from emlib.capsules.votes import add_coordinates, votes
from emlib.loop import Labels, Model, Step, em

__all__ = [
    "Capsules",
    "Children",
    "Posterior",
    "Router",
    "Weight",
    "softmax_over_parents",
]

Kind = TypeVar("Kind", bound="Router")


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


class Weight(NamedTuple):
    """A weight that a routing asks its layer for.

    Attributes
    ----------
    shape : tuple of int
        Its axes.
    initializer : str or keras.initializers.Initializer
        How it starts.
    """

    shape: tuple[int, ...]
    initializer: Any = "zeros"


def softmax_over_parents(log_joint: Any) -> Posterior:
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
    >>> found = softmax_over_parents(np.zeros((1, 2), "f4"))
    >>> ops.convert_to_numpy(found.resp)
    array([[0.5, 0.5]], dtype=float32)
    """
    evidence = ops.logsumexp(log_joint, axis=-1)  # (i, ...)
    resp = ops.exp(log_joint - ops.expand_dims(evidence, -1))
    return Posterior(resp, evidence)


@dataclass(frozen=True, eq=False)
class Children:
    """The children of a layer, as its routing is given them.

    Attributes
    ----------
    poses : tensor of shape (c, m, 4, 4)
        P_i; children that share their transforms stand in one row.
    activations : tensor of shape (i, n)
        a_i, at n samples and places of parents.
    transforms : tensor of shape (c, j, 4, 4)
        W_ij.
    competition : callable
        Of the log joint (i, n, j); who competes with whom.
    parents_per_child : float
        Parents, over children that feed at least one.
    grid : pair of int, optional
        (height, width) of the places that share transforms, row by row.
    coordinates : bool
        Whether votes are told the place of their child on that grid.

    Examples
    --------
    >>> eye = np.eye(4, dtype="float32")[None, None]
    >>> children = Children(2 * eye, np.ones((1, 1), "float32"), eye)
    >>> tuple(children.votes().shape)
    (1, 1, 16, 1)
    """

    poses: Any
    activations: Any
    transforms: Any
    competition: Callable[[Any], Posterior] = softmax_over_parents
    parents_per_child: float = 1.0
    grid: tuple[int, int] | None = None
    coordinates: bool = False

    def votes(self) -> Any:
        """Return the votes, (i, n, 16, j)."""
        found = votes(self.poses, self.transforms)  # (c, m, 16, j)
        if self.grid is None:
            return found
        (c, *_, h, j), (height, width) = found.shape, self.grid
        found = ops.reshape(found, (c, height * width, -1, h, j))
        found = ops.transpose(found, (1, 0, 2, 3, 4))
        if self.coordinates:
            found = add_coordinates(found, height, width)
        return ops.reshape(found, (c * height * width, -1, h, j))


@dataclass(frozen=True, eq=False)
class _Uncentred(Step):
    """A step about the centre of the votes, as it looks from 0."""

    centred: Step = field(repr=False)

    @property
    def posterior(self) -> Any:
        """Return the E-step about the centre, which keeps its digits."""
        return self.centred.posterior


def capsules(params: Any) -> Capsules:
    """Return what the parents of a turn are to their layer.

    Parameters
    ----------
    params : named tuple
        With `means` (..., h, j) and `activations` (..., j).

    Returns
    -------
    Capsules
        Named tuple `(poses (..., j, h), activations (..., j))`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> params = SimpleNamespace(means=np.ones((16, 3)), activations=None)
    >>> tuple(capsules(params).poses.shape)
    (3, 16)
    """
    poses = ops.swapaxes(params.means, -1, -2)  # (..., j, h)
    return Capsules(poses, params.activations)


@dataclass(frozen=True)
class Router:
    """A routing, as layers know it; derive your own from it.

    A routing that is a loop of two steps says its `model`, and may want
    weights and another `start`. One that makes no votes, such as a fused
    kernel, takes poses and transforms in `parents`. Options are fields of
    a frozen dataclass that Keras can save: decorate it with
    `keras.saving.register_keras_serializable`.

    Parameters
    ----------
    turns : int
        M-steps.
    """

    turns: int = 2

    def weights(
        self, kernel: tuple[int, int], children: int, parents: int
    ) -> dict[str, Weight]:
        """Return the weights that it wants beside the transforms, by name.

        Of so many types of child and of parent; kernel is (1, 1) where
        all places share their weights.
        """
        return {}

    def model(
        self,
        weights: dict[str, Any],
        competition: Callable[[Any], Posterior],
        parents_per_child: float,
    ) -> Model:
        """Return the two steps that the loop runs.

        Their parameters are a named tuple with `means` (..., h, j) and
        `activations` (..., j); where all votes move, only means may.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must have a `model`, or its own "
            "`parents`; it has neither."
        )

    def start(
        self, children: Children, votes: Any, weights: dict[str, Any]
    ) -> Any:
        """Return the responsibilities at the start, (i, n, j)."""
        return children.competition(ops.zeros_like(votes[..., 0, :])).resp

    def run(
        self, model: Model, votes: Any, activations: Any, start: Any
    ) -> Iterator[Step]:
        """Yield the turns on votes (i, ..., h, j) from such shares.

        The loop runs about the centre of the votes
        (`eq-fast-middle`), and its steps are told about 0.
        """
        centre = vote_centre(votes)  # (..., h, j)
        x = votes - centre  # (i, ..., h, j)
        steps = em(model, x, Labels(start), activations)
        for step in islice(steps, self.turns):
            means = step.params.means + centre  # (..., h, j)
            params = step.params._replace(means=means)
            rest = model, votes, activations, step
            yield _Uncentred(step.turn, params, *rest)

    def parents(
        self, children: Children, weights: dict[str, Any]
    ) -> Capsules:
        """Return the parents of a layer's children: the door of layers."""
        rules = children.competition, children.parents_per_child
        x = children.votes()  # (i, n, h, j)
        start = self.start(children, x, weights)
        model = self.model(weights, *rules)
        *_, last = self.run(model, x, children.activations, start)
        return capsules(last.params)

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal routing."""
        names = [option.name for option in fields(self)]
        return {n: serialised(getattr(self, n)) for n in names}

    @classmethod
    def from_config(cls: type[Kind], config: dict[str, Any]) -> Kind:
        """Return the routing that was saved."""
        return cls(**{n: deserialised(v) for n, v in config.items()})


def serialised(value: Any) -> Any:
    """Return an option in a form that can be saved."""
    if callable(value) or isinstance(value, Router):
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def deserialised(value: Any) -> Any:
    """Return an option that was saved as it was given."""
    if isinstance(value, dict):
        return keras.saving.deserialize_keras_object(value)
    return value
