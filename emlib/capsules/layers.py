"""Keras layers of capsules: they own the weights, and call routing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from numbers import Integral
from typing import Any

import keras
import numpy as np
from keras import ops

from emlib.capsules.routing.em import EMRouter, resolve
from emlib.capsules.routing.router import (
    Capsules,
    Children,
    Posterior,
    Weight,
    serialised,
    softmax_over_parents,
)
from emlib.capsules.windows import (
    Pair,
    children_of_windows,
    output_size,
    patches,
    softmax_over_positions,
    windows_of_children,
)

__all__ = [
    "ClassCapsules",
    "ConvCapsules",
    "NearIdentity",
    "PrimaryCapsules",
    "RoutedCapsules",
]


def _precise(x: Any) -> Any:
    """Return x in at least float32: routing takes no less."""
    kind = keras.backend.standardize_dtype(x.dtype)
    return x if kind in ("float32", "float64") else ops.cast(x, "float32")


def _pair(name: str, value: Any) -> Pair:
    """Return a whole number, or two, as a pair."""
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(
        isinstance(v, Integral) and int(v) >= 1 for v in pair
    ):
        raise ValueError(
            f"`{name}` must be a whole number of cells or a pair of them, "
            f"at least 1; received {value!r}."
        )
    return int(pair[0]), int(pair[1])


def _positive(name: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    if not (isinstance(value, Integral) and int(value) >= 1):
        raise ValueError(
            f"`{name}` must be a whole number, at least 1; received "
            f"{value!r}."
        )
    return int(value)


def _grid_of(name: str, shapes: Any) -> Any:
    """Return (height, width, types) of a pair of shapes."""
    pair = len(shapes) == 2 and all(
        hasattr(shape, "__len__") for shape in shapes
    )
    if not pair or len(shapes[1]) != 4 or len(shapes[0]) != 6:
        raise ValueError(
            f"{name} takes the pair (poses, activations) of shapes (batch, "
            "height, width, types, 4, 4) and (batch, height, width, types);"
            f" received {shapes}. PrimaryCapsules makes such a pair."
        )
    if None in shapes[1][1:]:
        raise ValueError(
            f"{name} needs to know height, width and types when it is "
            f"built; received {tuple(shapes[1])}. Only the batch may be "
            "open."
        )
    return tuple(shapes[1][1:])


def _saved(owner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a layer's own options in a form that can be saved."""
    return {name: serialised(getattr(owner, name)) for name in names}


def _rematerialised(
    route: Callable[..., Any], grids: tuple[Any, Any], weights: Any
) -> Any:
    """Route each sample alone, and once more on the way back."""
    # What a remade function closes over gets no slope from TensorFlow.
    again = keras.remat(lambda *parts: route(*parts[:2], parts[2:]))

    def alone(sample: Any) -> Any:
        batch = [ops.expand_dims(part, 0) for part in sample]
        return [part[0] for part in again(*batch, *weights)]

    return tuple(ops.map(alone, grids))


@keras.saving.register_keras_serializable(package="emlib")
class NearIdentity(keras.initializers.Initializer):
    """Transforms that at first change poses little.

    The identity, plus normal numbers: votes keep the size of poses from
    layer to layer, and no two parents start alike.

    Parameters
    ----------
    stddev : float
        Standard deviation of what is added.
    seed : int, optional
        Of the random numbers; without it Keras' own.

    Examples
    --------
    >>> tuple(NearIdentity()((3, 3, 8, 16, 4, 4)).shape)
    (3, 3, 8, 16, 4, 4)
    """

    def __init__(
        self, stddev: float = 0.5, seed: int | None = None
    ) -> None:
        self.stddev, self.seed = stddev, seed
        self.noise = keras.initializers.RandomNormal(0.0, stddev, seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Return such transforms, (..., 4, 4)."""
        return ops.eye(4, dtype=dtype) + self.noise(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal start."""
        return {"stddev": self.stddev, "seed": self.seed}


def _start(initializer: Any) -> Any:
    """Return an initializer of transforms."""
    if initializer is None:
        return NearIdentity()
    return keras.initializers.get(initializer)


@keras.saving.register_keras_serializable(package="emlib")
class PrimaryCapsules(keras.layers.Layer):
    """Capsules from the channels of an image: a pose and an activation.

    A convolution with 17 channels a type: 16 are the pose as they are, one
    goes through a logistic and is the activation.

    Parameters
    ----------
    types : int
        Kinds of capsule at each place.
    kernel_size, strides : int or pair of int
        Of the convolution, in cells; nothing is padded.

    Raises
    ------
    ValueError
        If an option is none.

    Examples
    --------
    >>> layer = PrimaryCapsules(types=8)
    >>> poses, activations = layer(ops.zeros((2, 14, 14, 64)))
    >>> tuple(poses.shape), tuple(activations.shape)
    ((2, 14, 14, 8, 4, 4), (2, 14, 14, 8))

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing.
    """

    def __init__(
        self,
        types: int,
        kernel_size: Any = 1,
        strides: Any = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.types = _positive("types", types)
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.strides = _pair("strides", strides)
        self.conv = keras.layers.Conv2D(
            17 * types,
            self.kernel_size,
            self.strides,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any) -> None:
        """Make the weights of the convolution."""
        self.conv.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Return poses and activations."""
        out = self.conv(inputs)  # (batch, height, width, 17 types)
        _, height, width, _ = out.shape
        shape = (-1, height, width, self.types, 4, 4)
        poses = ops.reshape(out[..., : 16 * self.types], shape)
        return poses, ops.sigmoid(out[..., 16 * self.types :])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of poses and activations."""
        grid = self.conv.compute_output_shape(input_shape)[:3]
        return (*grid, self.types, 4, 4), (*grid, self.types)

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        own = _saved(self, ("types", "kernel_size", "strides"))
        return {**super().get_config(), **own}


class RoutedCapsules(keras.layers.Layer):
    """A layer whose children vote, and whose routing makes parents of them.

    Parameters
    ----------
    routing : Router, optional
        What turns children into parents; without it `EMRouter`.
    rematerialise : bool
        Whether to route one sample after the other, and once more for the
        slopes: several times less memory.
    transforms_initializer : str or keras.initializers.Initializer
        Of the transforms; without it `NearIdentity`.
    options
        Those of `EMRouter`, and of `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        routing: Any = None,
        rematerialise: bool = False,
        transforms_initializer: Any = None,
        **options: Any,
    ) -> None:
        names = {option.name for option in fields(EMRouter)}
        own = {n: options.pop(n) for n in names & set(options)}
        super().__init__(autocast=False, **options)
        self.routing = resolve(routing, own)
        self.rematerialise = rematerialise
        self.transforms_initializer = _start(transforms_initializer)

    def add_weights(self, kernel: Pair, shape: tuple[int, ...]) -> None:
        """Make transforms (..., 4, 4), and what the routing wants."""
        children, parents = shape[-4:-2]
        first = Weight(shape, self.transforms_initializer)
        rest = self.routing.weights(kernel, children, parents)
        self.wanted = "transforms", *rest
        for name, weight in zip(
            self.wanted, (first, *rest.values()), strict=True
        ):
            made = self.add_weight(
                name=name,
                shape=weight.shape,
                initializer=weight.initializer,
                autocast=False,
            )
            setattr(self, name, made)
        self.built = True

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Return poses and activations of the parents."""
        poses, activations = map(_precise, inputs)
        weights = [
            ops.convert_to_tensor(_precise(getattr(self, name)))
            for name in self.wanted
        ]
        if self.rematerialise:
            grids = poses, activations
            return _rematerialised(self._route, grids, weights)
        return self._route(poses, activations, weights)

    def _route(self, poses: Any, activations: Any, weights: Any) -> Any:
        """Return poses and activations of the parents of some samples."""
        raise NotImplementedError

    def parents(self, children: Children, weights: Any) -> Capsules:
        """Return what the routing makes of children, (n, j, h), (n, j)."""
        rest = dict(zip(self.wanted[1:], weights[1:], strict=True))
        return self.routing.parents(children, rest)

    def routing_config(self) -> dict[str, Any]:
        """Return what says how an equal layer routes."""
        own = ("routing", "rematerialise", "transforms_initializer")
        return _saved(self, own)

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        return {**super().get_config(), **self.routing_config()}


@keras.saving.register_keras_serializable(package="emlib")
class ConvCapsules(RoutedCapsules):
    """Capsules that route to the capsules of a smaller grid.

    Every parent place has a window of children; a child that several
    windows see shares itself out to the parents at all of them, so that
    its responsibilities sum to 1 over places and types.

    Parameters
    ----------
    types : int
        Kinds of parent.
    kernel_size, strides : int or pair of int
        Of the windows, in cells; nothing is padded.
    competition : {"parents", "patch"}
        Whether a child shares itself out to all parents that it feeds, or
        to each window's anew.
    routing, rematerialise, transforms_initializer
        As in `RoutedCapsules`.
    turns, mass_scale, inverse_temperature, variance_floor, cost
        As in `EMRouter`.

    Raises
    ------
    ValueError
        If an option is none, or the window is larger than the grid.

    Examples
    --------
    >>> layer = ConvCapsules(types=16, kernel_size=3, strides=2)
    >>> grid = ops.ones((2, 14, 14, 8, 4, 4)), ops.ones((2, 14, 14, 8))
    >>> poses, activations = layer(grid)
    >>> tuple(poses.shape), layer.count_params()
    ((2, 6, 6, 16, 4, 4), 18464)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing;
    Gritzman (2019), Avoiding implementation pitfalls.
    """

    def __init__(
        self,
        types: int,
        kernel_size: Any,
        strides: Any = 1,
        *,
        competition: str = "parents",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if competition not in ("parents", "patch"):
            raise ValueError(
                "`competition` must be 'parents' or 'patch'; received "
                f"{competition!r}."
            )
        self.types = _positive("types", types)
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.strides = _pair("strides", strides)
        self.competition = competition

    def build(self, input_shape: Any) -> None:
        """Make transforms, and what the routing wants."""
        *size, children = _grid_of("ConvCapsules", input_shape)
        self.grid = tuple(size), self.kernel_size, self.strides
        if min(map(output_size, *self.grid)) < 1:
            raise ValueError(
                f"`kernel_size` {self.kernel_size} must fit into the grid; "
                f"received a grid of {size[0]} x {size[1]} capsules."
            )
        shape = (*self.kernel_size, children, self.types, 4, 4)
        self.add_weights(self.kernel_size, shape)

    def _route(self, poses: Any, activations: Any, weights: Any) -> Any:
        """Return the parents of some samples."""
        transforms = weights[0]
        i = int(np.prod(transforms.shape[:3]))
        views = patches(poses, self.kernel_size, self.strides)
        views = ops.transpose(views, (0, 4, 1, 2, 3, 5, 6))
        voters = patches(activations, self.kernel_size, self.strides)
        voters = ops.transpose(voters, (0, 4, 1, 2, 3))
        children = Children(
            ops.reshape(views, (i, -1, 4, 4)),
            ops.reshape(voters, (i, -1)),
            ops.reshape(transforms, (i, self.types, 4, 4)),
            *self._rules(transforms.shape[2]),
        )
        found = self.parents(children, weights)
        grid = (-1, *map(output_size, *self.grid), self.types)
        means = ops.reshape(found.poses, (*grid, 4, 4))
        return means, ops.reshape(found.activations, grid)

    def _rules(self, types: int) -> tuple[Callable[..., Posterior], float]:
        """Return who competes, and parents per child of so many types."""
        looked = children_of_windows(*self.grid)
        cells, places = looked.shape
        if self.competition == "patch":
            return softmax_over_parents, self.types / (cells * types)
        competition = partial(
            softmax_over_positions,
            types=types,
            children=looked,
            windows=windows_of_children(*self.grid),
        )
        seen = types * np.unique(looked).size
        return competition, float(self.types * places / seen)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of poses and activations."""
        size = tuple(input_shape[1][1:3])
        grid = map(output_size, size, self.kernel_size, self.strides)
        shape = (input_shape[1][0], *grid, self.types)
        return (*shape, 4, 4), shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        own = ("types", "kernel_size", "strides", "competition")
        return {**super().get_config(), **_saved(self, own)}


@keras.saving.register_keras_serializable(package="emlib")
class ClassCapsules(RoutedCapsules):
    """One capsule a class, for which all children vote together.

    The transforms are shared over places, so votes are told where their
    child stands.

    Parameters
    ----------
    classes : int
        Number of classes.
    coordinates : bool
        Whether votes know where their child stands.
    routing, rematerialise, transforms_initializer
        As in `RoutedCapsules`.
    turns, mass_scale, inverse_temperature, variance_floor, cost
        As in `EMRouter`.

    Raises
    ------
    ValueError
        If an option is none.

    Examples
    --------
    >>> layer = ClassCapsules(classes=10)
    >>> grid = ops.ones((2, 4, 4, 16, 4, 4)), ops.ones((2, 4, 4, 16))
    >>> poses, activations = layer(grid)
    >>> tuple(poses.shape), layer.count_params()
    ((2, 10, 4, 4), 2580)

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing.
    """

    def __init__(
        self,
        classes: int,
        *,
        coordinates: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.classes = _positive("classes", classes)
        self.coordinates = coordinates

    def build(self, input_shape: Any) -> None:
        """Make transforms, and what the routing wants."""
        *_, types = _grid_of("ClassCapsules", input_shape)
        self.add_weights((1, 1), (types, self.classes, 4, 4))

    def _route(self, poses: Any, activations: Any, weights: Any) -> Any:
        """Return the classes of some samples."""
        _, height, width, types = activations.shape
        i = height * width * types
        views = ops.transpose(poses, (3, 1, 2, 0, 4, 5))
        voters = ops.transpose(activations, (1, 2, 3, 0))
        children = Children(
            ops.reshape(views, (types, -1, 4, 4)),
            ops.reshape(voters, (i, -1)),
            weights[0],
            parents_per_child=self.classes / i,
            grid=(height, width),
            coordinates=self.coordinates,
        )
        found = self.parents(children, weights)
        shape = (-1, self.classes, 4, 4)
        return ops.reshape(found.poses, shape), found.activations

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of poses and activations."""
        shape = (input_shape[0][0], self.classes)
        return (*shape, 4, 4), shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        own = ("classes", "coordinates")
        return {**super().get_config(), **_saved(self, own)}
