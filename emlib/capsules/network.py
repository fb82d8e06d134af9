"""The capsule network, and a convolutional rival of equal size."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from emlib.capsules.layers import (
    ClassCapsules,
    ConvCapsules,
    PrimaryCapsules,
)
from emlib.capsules.losses import SpreadLoss, linear_margin, stepped_margin
from emlib.capsules.routing.em import EMRouter, resolve

__all__ = [
    "MARGINS",
    "PRESETS",
    "CapsuleNetwork",
    "capsule_network",
    "convolutional_network",
]

PRESETS = {
    "small": {"A": 32, "B": 4, "C": 4, "D": 4},
    "medium": {"A": 64, "B": 8, "C": 16, "D": 16},
    "notes": {"A": 32, "B": 32, "C": 32, "D": 32},
}
MARGINS = {"linear": linear_margin, "steps": stepped_margin}


@keras.saving.register_keras_serializable(package="emlib")
class CapsuleNetwork(keras.Model):
    """A network that knows how many steps it was trained for.

    It counts its calls in training in a weight, `step`, which is saved with
    the others and is right in compiled steps, too; `SpreadLoss(None)` asks
    it for the margin.

    Parameters
    ----------
    inputs, outputs
        As in `keras.Model`.
    options : dict
        What `capsule_network` was told; `margin` and `margin_steps` say
        how the margin rises.
    """

    def __init__(
        self, inputs: Any, outputs: Any, options: dict[str, Any]
    ) -> None:
        super().__init__(inputs, outputs, name=options["name"])
        self.options = options
        self.step = self.add_weight(
            name="step", shape=(), dtype="int32", trainable=False
        )

    def margin(self) -> Any:
        """Return the margin of the step that was begun last."""
        begun = ops.maximum(self.step - 1, 0)
        rises = MARGINS[self.options["margin"]]
        return rises(begun, self.options["margin_steps"])

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> Any:
        """Return class activations; in training this counts a step."""
        if training:
            self.step.assign(self.step + 1)
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, *args: Any, **options: Any) -> Any:
        """Return the loss, told the margin where it has none."""
        if isinstance(self.loss, SpreadLoss):
            with self.loss.at(self.margin()):
                return super().compute_loss(*args, **options)
        return super().compute_loss(*args, **options)

    def get_config(self) -> dict[str, Any]:
        """Return what `capsule_network` needs to make an equal one."""
        return dict(self.options)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> CapsuleNetwork:
        """Return a network of equal options, its weights new."""
        return capsule_network(**config)


def capsule_network(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    A: int = 64,  # noqa: N803
    B: int = 8,  # noqa: N803
    C: int = 16,  # noqa: N803
    D: int = 16,  # noqa: N803
    turns: int = EMRouter.turns,
    *,
    preset: str | None = None,
    outputs: str = "activations",
    coordinates: bool = True,
    competition: str = "parents",
    routing: Any = None,
    rematerialise: bool = False,
    transforms_initializer: Any = None,
    margin: str = "linear",
    margin_steps: int = 1000,
    dtype: Any = None,
    name: str = "capsule_network",
    **options: Any,
) -> CapsuleNetwork:
    """Return a network of capsules that names what an image shows.

    A convolution (5 x 5, stride 2), primary capsules at each place, two
    layers of convolutional capsules (3 x 3, strides 2 and 1), and one
    capsule a class: grids of 14, 6, and 4 cells for an image of 28.

    Parameters
    ----------
    input_shape : tuple of int
        (height, width, channels) of an image.
    classes : int
        Number of classes.
    A, B, C, D : int
        Channels of the convolution, and types of capsule in the three
        layers that follow; the names are the paper's.
    turns : int
        M-steps of each routing.
    preset : {"small", "medium", "notes"}, optional
        Takes A, B, C and D together.
    outputs : {"activations", "both"}
        Whether the network returns class activations, or a dict that has
        the poses, too.
    coordinates, competition
        As in `ClassCapsules` and `ConvCapsules`.
    routing, rematerialise, transforms_initializer
        As in `RoutedCapsules`; one routing for all three layers.
    margin, margin_steps
        As in `CapsuleNetwork`.
    dtype : str or keras.DTypePolicy, optional
        Of all layers.
    name : str
        Of the network.
    options
        Those of `EMRouter`: inverse_temperature, variance_floor,
        mass_scale, cost.

    Returns
    -------
    CapsuleNetwork
        From images (batch, height, width, channels) to activations (batch,
        classes).

    Raises
    ------
    ValueError
        If an option is none, or the image is too small.

    Examples
    --------
    >>> network = capsule_network(preset="medium")
    >>> sum(int(ops.size(w)) for w in network.trainable_weights)
    68444

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing,
    figure 1.
    """
    if preset is not None:
        _one_of("preset", preset, PRESETS)
        A, B, C, D = PRESETS[preset].values()  # noqa: N806
    _one_of("outputs", outputs, ("activations", "both"))
    if dtype is not None:
        dtype = keras.dtype_policies.get(dtype).name
    if turns != EMRouter.turns:
        options["turns"] = turns
    common: dict[str, Any] = {
        "routing": resolve(routing, options),
        "rematerialise": rematerialise,
        "transforms_initializer": transforms_initializer,
        "dtype": dtype,
    }
    _check_margin(margin, margin_steps)
    between = {"competition": competition, **common}
    images = keras.Input(input_shape, name="images")
    edges = keras.layers.Conv2D(
        A, 5, 2, "same", activation="relu", dtype=dtype, name="edges"
    )
    x = PrimaryCapsules(B, dtype=dtype, name="primary")(edges(images))
    x = ConvCapsules(C, 3, 2, name="parts", **between)(x)
    x = ConvCapsules(D, 3, 1, name="wholes", **between)(x)
    last = ClassCapsules(
        classes, coordinates=coordinates, name="classes", **common
    )
    poses, activations = last(x)
    both = {"activations": activations, "poses": poses}
    told = {
        "input_shape": tuple(input_shape),
        "classes": classes,
        **{"A": A, "B": B, "C": C, "D": D},
        "outputs": outputs,
        "coordinates": coordinates,
        "margin": margin,
        "margin_steps": margin_steps,
        "name": name,
        "competition": competition,
        "dtype": dtype,
        **last.routing_config(),
    }
    found = both if outputs == "both" else activations
    return CapsuleNetwork(images, found, told)


def _one_of(name: str, value: Any, known: Any) -> None:
    """Raise where a name is not among those that are known."""
    if value not in known:
        raise ValueError(
            f"`{name}` must be one of {sorted(known)}; received {value!r}."
        )


def _check_margin(margin: str, margin_steps: int) -> None:
    """Raise where a schedule of the margin is none."""
    _one_of("margin", margin, MARGINS)
    if not (isinstance(margin_steps, int) and margin_steps >= 1):
        raise ValueError(
            "`margin_steps` must be a whole number, at least 1; received "
            f"{margin_steps!r}. The margin is 0.9 after so many steps."
        )


def convolutional_network(
    parameters: int = 68_444,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    A: int = 64,  # noqa: N803
    name: str = "convolutional_network",
) -> keras.Model:
    """Return a plain convolutional network of about so many parameters.

    Convolutions where the capsule network has its layers: 5 x 5 with
    stride 2, then 3 x 3 with strides 2 and 1, the mean over places, and a
    softmax.

    Parameters
    ----------
    parameters : int
        How many it should have; the two inner widths are chosen as near as
        they come.
    input_shape : tuple of int
        (height, width, channels) of an image.
    classes : int
        Number of classes.
    A : int
        Channels of the first convolution.
    name : str
        Of the network.

    Returns
    -------
    keras.Model
        From images to probabilities (batch, classes).

    Raises
    ------
    ValueError
        If no two widths come within 3 % of so many parameters.

    Examples
    --------
    >>> network = convolutional_network(68_444)
    >>> abs(network.count_params() / 68_444 - 1) < 0.03
    True
    """
    first = A * (25 * input_shape[-1] + 1)

    def count(c: int, d: int) -> int:
        inner = (9 * A + 1) * c + (9 * c + 1) * d
        return first + inner + (d + 1) * classes

    pairs = [(c, d) for c in range(1, 257) for d in range(c, c + 8)]
    c, d = min(pairs, key=lambda pair: abs(count(*pair) - parameters))
    if abs(count(c, d) - parameters) > 0.03 * parameters:
        raise ValueError(
            f"`parameters` must be from {count(1, 1)} to "
            f"{count(*pairs[-1])} for A = {A}; received {parameters}. "
            "Take another A."
        )
    images = keras.Input(input_shape, name="images")
    x = keras.layers.Conv2D(A, 5, 2, "same", activation="relu")(images)
    x = keras.layers.Conv2D(c, 3, 2, activation="relu")(x)
    x = keras.layers.Conv2D(d, 3, 1, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    out = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(images, out, name=name)
