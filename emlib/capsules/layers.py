"""Keras layers of capsules: they own the weights, and call routing."""

from __future__ import annotations

from functools import partial
from itertools import islice
from numbers import Integral
from typing import Any

import keras
import numpy as np
from keras import ops

from emlib.capsules.routing import (
    Posterior,
    Routing,
    Temperature,
    check_options,
    middle,
)
from emlib.capsules.votes import add_coordinates, patches, spots, votes
from emlib.loop import em

__all__ = [
    "ClassCapsules",
    "ConvCapsules",
    "NearIdentity",
    "PrimaryCapsules",
    "feeds",
    "seen",
    "share_over_positions",
]

NOWHERE = -1e30  # the log of what no parent gets
TEMPERATURE = 0.03  # by benchmarks/temperature.py
Pair = tuple[int, int]


def seen(size: Pair, kernel: Pair, strides: Pair) -> Any:
    """Return which child each cell of each window looks at.

    Parameters
    ----------
    size, kernel, strides : pair of int
        Of the children's grid and its windows, in cells.

    Returns
    -------
    array of shape (cells, places)
        Numbers of children, row by row of their grid.

    Examples
    --------
    >>> seen((3, 3), (2, 2), (1, 1))[:, 0]
    array([0, 1, 3, 4])
    """
    rows, columns = map(spots, size, kernel, strides)
    down = np.arange(kernel[0])[:, None] + strides[0] * np.arange(rows)
    right = np.arange(kernel[1])[:, None] + strides[1] * np.arange(columns)
    grid = down[:, None, :, None] * size[1] + right[None, :, None, :]
    return grid.reshape(kernel[0] * kernel[1], rows * columns)


def feeds(size: Pair, kernel: Pair, strides: Pair) -> Any:
    """Return which cells of which windows each child is seen by.

    The way back of `seen`.

    Parameters
    ----------
    size, kernel, strides : pair of int
        Of the children's grid and its windows, in cells.

    Returns
    -------
    array of shape (children, most)
        Positions in `seen`, laid flat; one past its end where a child is
        seen less often than others.

    Examples
    --------
    >>> feeds((1, 3), (1, 2), (1, 1)).tolist()
    [[0, 4], [1, 2], [3, 4]]
    """
    looked = seen(size, kernel, strides).ravel()
    times = np.bincount(looked, minlength=size[0] * size[1])
    table = np.full((times.size, times.max()), looked.size)
    order = np.argsort(looked, kind="stable")
    nth = np.arange(looked.size) - np.repeat(times.cumsum() - times, times)
    table[looked[order], nth] = order
    return table


def share_over_positions(
    log_joint: Any, types: int, seen: Any, feeds: Any
) -> Posterior:
    r"""Return responsibilities: parents at all places compete for a child.

    .. math::

        R_{ij} = \frac{e^{\ell_{ij}}}
        {\sum_{\text{places } p} \sum_{\text{types } l} e^{\ell_{i, pl}}}

    (`eq-layers-share`): first summed over types, which leaves a tensor
    hundreds of times smaller than the votes, then over places.

    Parameters
    ----------
    log_joint : tensor of shape (i, n, j)
        In nats; i runs over cells of the window and types of child, n over
        samples and places.
    types : int
        Of children.
    seen : array of shape (cells, places)
        Which child each cell of each window looks at.
    feeds : array of shape (children, most)
        Its way back.

    Returns
    -------
    Posterior
        Named tuple `(resp (i, n, j), log_evidence (i, n))`.

    Examples
    --------
    >>> grid = (1, 3), (1, 2), (1, 1)  # two windows; both see the middle
    >>> even = ops.zeros((2, 2, 1))
    >>> found = share_over_positions(even, 1, seen(*grid), feeds(*grid))
    >>> ops.convert_to_numpy(found.resp)[:, :, 0].tolist()
    [[1.0, 0.5], [0.5, 1.0]]

    References
    ----------
    Gritzman (2019), Avoiding implementation pitfalls of "Matrix capsules
    with EM routing".
    """
    cells, places = seen.shape
    each = ops.logsumexp(log_joint, axis=-1)  # (i, n)
    each = ops.reshape(each, (cells, types, -1, places))
    each = ops.transpose(each, (0, 3, 1, 2))
    flat = ops.reshape(each, (cells * places, -1))
    nobody = ops.full_like(flat[:1], NOWHERE)
    found = ops.take(ops.concatenate([flat, nobody]), feeds, axis=0)
    total = ops.logsumexp(found, axis=1)  # (children, types * samples)
    back = ops.reshape(ops.take(total, seen, axis=0), ops.shape(each))
    back = ops.transpose(back, (0, 2, 3, 1))
    evidence = ops.reshape(back, (cells * types, -1))  # (i, n)
    resp = ops.exp(log_joint - ops.expand_dims(evidence, -1))
    return Posterior(resp, evidence)


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


def _thawed(value: Any) -> Any:
    """Return an option that a saved layer holds as it was given."""
    if isinstance(value, dict):
        return keras.saving.deserialize_keras_object(value)
    return value


def frozen(owner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a layer's own options in a form that can be saved."""
    options = {name: getattr(owner, name) for name in names}
    for name, value in options.items():
        if callable(value):
            options[name] = keras.saving.serialize_keras_object(value)
        if isinstance(value, np.ndarray | np.generic):
            options[name] = value.tolist()
    return options


def _routed(model: Routing, x: Any, weights: Any, turns: int) -> Any:
    """Return poses (n, j, 4, 4) and activations (n, j) of the parents."""
    start = model.compete(ops.zeros_like(x[..., 0, :])).resp
    centre = middle(x)  # (n, 16, j)
    steps = em(model, x - centre, start, weights)
    found = next(islice(steps, turns - 1, None)).params
    poses = ops.swapaxes(found.means + centre, -1, -2)  # (n, j, 16)
    poses = ops.reshape(poses, (-1, x.shape[-1], 4, 4))
    return poses, ops.sigmoid(found.logits)


def _one_by_one(route: Any, grids: tuple[Any, Any], weights: Any) -> Any:
    """Route each sample alone, and once more on the way back."""
    # What a remade function closes over gets no slope from TensorFlow.
    again = keras.remat(lambda *parts: route(*parts[:2], parts[2:]))

    def one(sample: Any) -> Any:
        alone = [ops.expand_dims(part, 0) for part in sample]
        return [part[0] for part in again(*alone, *weights)]

    return tuple(ops.map(one, grids))


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


def _add_weights(layer: Any, shape: tuple[int, ...]) -> None:
    """Make transforms (..., children, parents, 4, 4), and two prices."""
    layer.transforms = layer.add_weight(
        name="transforms",
        shape=shape,
        initializer=layer.transforms_initializer,
        autocast=False,
    )
    for name in ("beta_use", "beta_activate"):
        price = layer.add_weight(
            name=name,
            shape=shape[-3:-2],
            initializer="zeros",
            autocast=False,
        )
        setattr(layer, name, price)
    layer.built = True


def _called(layer: Any, inputs: Any) -> Any:
    """Return poses and activations of a layer's parents."""
    grids = tuple(map(_precise, inputs))
    weights = [
        ops.convert_to_tensor(_precise(w))
        for w in (layer.transforms, layer.beta_use, layer.beta_activate)
    ]
    if layer.one_by_one:
        return _one_by_one(layer._route, grids, weights)
    return layer._route(*grids, weights)


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
        own = frozen(self, ("types", "kernel_size", "strides"))
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="emlib")
class ConvCapsules(keras.layers.Layer):
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
    turns : int
        M-steps.
    competition : {"parents", "patch"}
        Whether a child shares itself out to all parents that it feeds, or
        to each window's anew.
    mass_scale : float, optional
        What mass is multiplied by in the cost; without it parents over
        children, so that the mean of the scaled mass is 1 at the start.
    inverse_temperature : float, sequence or callable of the turn
        lambda_t, per nat.
    variance_floor : float
        In the unit of the poses squared.
    cost : {"paper", "standardised"}
        How a parent's cost is computed.
    one_by_one : bool
        Whether to route one sample after the other, and once more for the
        slopes: several times less memory.
    transforms_initializer : str or keras.initializers.Initializer
        Of the transforms; without it `NearIdentity`.

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
        turns: int = 2,
        competition: str = "parents",
        mass_scale: float | None = None,
        inverse_temperature: Temperature = TEMPERATURE,
        variance_floor: float = 5e-4,
        cost: str = "paper",
        one_by_one: bool = False,
        transforms_initializer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(autocast=False, **options)
        inverse_temperature = _thawed(inverse_temperature)
        check_options(turns, cost, variance_floor, inverse_temperature)
        if competition not in ("parents", "patch"):
            raise ValueError(
                "`competition` must be 'parents' or 'patch'; received "
                f"{competition!r}."
            )
        self.types, self.turns = _positive("types", types), turns
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.strides = _pair("strides", strides)
        self.competition, self.mass_scale = competition, mass_scale
        self.inverse_temperature = inverse_temperature
        self.variance_floor, self.cost = variance_floor, cost
        self.one_by_one = one_by_one
        self.transforms_initializer = _start(transforms_initializer)

    def build(self, input_shape: Any) -> None:
        """Make transforms and prices, and the tables of who feeds whom."""
        *size, children = _grid_of("ConvCapsules", input_shape)
        self.grid = tuple(size), self.kernel_size, self.strides
        if min(map(spots, *self.grid)) < 1:
            raise ValueError(
                f"`kernel_size` {self.kernel_size} must fit into the grid; "
                f"received a grid of {size[0]} x {size[1]} capsules."
            )
        shape = (*self.kernel_size, children, self.types, 4, 4)
        _add_weights(self, shape)

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Return poses and activations of the parents."""
        return _called(self, inputs)

    def _route(self, poses: Any, activations: Any, weights: Any) -> Any:
        """Return the parents of some samples."""
        transforms, *betas = weights
        i = int(np.prod(transforms.shape[:3]))
        rows, columns = map(spots, *self.grid)
        views = patches(poses, self.kernel_size, self.strides)
        views = ops.transpose(views, (0, 4, 1, 2, 3, 5, 6))
        voters = patches(activations, self.kernel_size, self.strides)
        voters = ops.transpose(voters, (0, 4, 1, 2, 3))
        w = ops.reshape(transforms, (i, self.types, 4, 4))
        x = votes(ops.reshape(views, (i, -1, 4, 4)), w)  # (i, n, 16, j)
        model = self._routing(transforms.shape[2], *betas)
        found = _routed(model, x, ops.reshape(voters, (i, -1)), self.turns)
        shape = (-1, rows, columns, self.types)
        return (
            ops.reshape(found[0], (*shape, 4, 4)),
            ops.reshape(found[1], shape),
        )

    def _routing(self, children: int, use: Any, activate: Any) -> Routing:
        """Return the model of the loop for children of so many types."""
        looked, back = seen(*self.grid), feeds(*self.grid)
        cells, places = looked.shape
        voters = children * np.unique(looked).size
        scale = float(self.types * places / voters)
        share = partial(
            share_over_positions, types=children, seen=looked, feeds=back
        )
        compete: dict[str, Any] = {"compete": share}
        if self.competition == "patch":
            scale, compete = self.types / (cells * children), {}
        return Routing(
            use,
            activate,
            self.inverse_temperature,
            self.variance_floor,
            scale if self.mass_scale is None else self.mass_scale,
            self.cost,
            **compete,
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of poses and activations."""
        size = tuple(input_shape[1][1:3])
        grid = map(spots, size, self.kernel_size, self.strides)
        shape = (input_shape[1][0], *grid, self.types)
        return (*shape, 4, 4), shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        own = ("types", "kernel_size", "strides", "competition", *OPTIONS)
        return {**super().get_config(), **frozen(self, own)}


OPTIONS = (
    "turns",
    "mass_scale",
    "inverse_temperature",
    "variance_floor",
    "cost",
    "one_by_one",
    "transforms_initializer",
)


@keras.saving.register_keras_serializable(package="emlib")
class ClassCapsules(keras.layers.Layer):
    """One capsule a class, for which all children vote together.

    The transforms are shared over places, so votes are told where their
    child stands.

    Parameters
    ----------
    classes : int
        Number of classes.
    turns : int
        M-steps.
    coordinates : bool
        Whether votes know where their child stands.
    mass_scale, inverse_temperature, variance_floor, cost, one_by_one
        As in `ConvCapsules`.
    transforms_initializer : str or keras.initializers.Initializer
        As in `ConvCapsules`.

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
        turns: int = 2,
        coordinates: bool = True,
        mass_scale: float | None = None,
        inverse_temperature: Temperature = TEMPERATURE,
        variance_floor: float = 5e-4,
        cost: str = "paper",
        one_by_one: bool = False,
        transforms_initializer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(autocast=False, **options)
        inverse_temperature = _thawed(inverse_temperature)
        check_options(turns, cost, variance_floor, inverse_temperature)
        self.classes, self.turns = _positive("classes", classes), turns
        self.coordinates, self.mass_scale = coordinates, mass_scale
        self.inverse_temperature = inverse_temperature
        self.variance_floor, self.cost = variance_floor, cost
        self.one_by_one = one_by_one
        self.transforms_initializer = _start(transforms_initializer)

    def build(self, input_shape: Any) -> None:
        """Make transforms and prices."""
        *_, types = _grid_of("ClassCapsules", input_shape)
        _add_weights(self, (types, self.classes, 4, 4))

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Return poses (batch, classes, 4, 4), activations."""
        return _called(self, inputs)

    def _route(self, poses: Any, activations: Any, weights: Any) -> Any:
        """Return the classes of some samples."""
        _, height, width, types = activations.shape
        places = height * width
        i = places * types
        views = ops.transpose(poses, (3, 1, 2, 0, 4, 5))
        x = votes(ops.reshape(views, (types, -1, 4, 4)), weights[0])
        x = ops.reshape(x, (types, places, -1, 16, self.classes))
        x = ops.transpose(x, (1, 0, 2, 3, 4))
        if self.coordinates:
            x = add_coordinates(x, height, width)
        x = ops.reshape(x, (i, -1, 16, self.classes))  # (i, n, 16, j)
        voters = ops.transpose(activations, (1, 2, 3, 0))
        scale = self.mass_scale
        model = Routing(
            weights[1],
            weights[2],
            self.inverse_temperature,
            self.variance_floor,
            self.classes / i if scale is None else scale,
            self.cost,
        )
        return _routed(model, x, ops.reshape(voters, (i, -1)), self.turns)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of poses and activations."""
        shape = (input_shape[0][0], self.classes)
        return (*shape, 4, 4), shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        own = ("classes", "coordinates", *OPTIONS)
        return {**super().get_config(), **frozen(self, own)}
