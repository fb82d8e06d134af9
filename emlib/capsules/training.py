"""Training that may be killed at any moment, and goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from scipy.ndimage import affine_transform

from emlib.capsules.losses import SpreadLoss
from emlib.capsules.network import (
    PRESETS,
    capsule_network,
    convolutional_network,
)
from emlib.datasets import Digits
from emlib.files import (
    open_atomically,
    refuse_faults,
    require_room,
    write_atomically,
)

__all__ = [
    "Evaluation",
    "Folder",
    "Plan",
    "Trained",
    "Views",
    "batches",
    "compiled",
    "device",
    "evaluate",
    "load",
    "moved",
    "network_of",
    "order",
    "prefetched",
    "restore",
    "run",
    "save",
    "scaled",
    "train",
    "views",
]

NETWORKS = ("capsules", "convolution")
RIVALS = {"small": 16, "medium": 64, "notes": 64}  # first channels
FORMAT = "emlib run 1"


@dataclass(frozen=True)
class Plan:
    """What a run is told; a run that is resumed is told the same.

    Parameters
    ----------
    network : {"capsules", "convolution"}
        Which network; "convolution" is the rival of equal size.
    preset : {"small", "medium", "notes"}
        Size of the capsule network, or of that which the rival equals.
    epochs : int
        Passes over the images.
    batch_size : int
        Images a step; what is left of an epoch is left out.
    seed : int
        Of the first weights, of the order of the images, and of views.
    learning_rate : float
        Of Adam.
    schedule : {"cosine", "constant"}
        Whether the rate falls to 0 along half a cosine.
    clip : float
        The largest norm of all slopes together.
    margin : {"linear", "steps"}
        How the margin rises.
    margin_steps : int
        Steps after which it is 0.9.
    degrees, shift, zoom : float
        Views are changed at random: turned by up to so many degrees either
        way, moved by up to so many pixels along each axis, and made up to
        1 + zoom times as large or as small.
    every : int
        Steps between checkpoints.
    options : dict
        Other options of `capsule_network`, such as `turns`.

    Raises
    ------
    ValueError
        If an option is none.

    Examples
    --------
    >>> Plan(epochs=2).steps(5000)
    156
    """

    network: str = "capsules"
    preset: str = "small"
    epochs: int = 5
    batch_size: int = 64
    seed: int = 20
    learning_rate: float = 1e-2
    schedule: str = "cosine"
    clip: float = 4.0
    margin: str = "linear"
    margin_steps: int = 1000
    degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    every: int = 200
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check each option."""
        for name, known in (
            ("network", NETWORKS),
            ("preset", tuple(PRESETS)),
            ("schedule", ("cosine", "constant")),
            ("margin", ("linear", "steps")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}; received "
                    f"{getattr(self, name)!r}."
                )
        for name in ("epochs", "batch_size", "margin_steps", "every"):
            self._number(name, Integral, 1, "a whole number, at least 1")
        self._number("seed", Integral, 0, "a whole number, at least 0")
        for name in ("degrees", "shift", "zoom"):
            self._number(name, Real, 0, "a number, at least 0")
        for name in ("learning_rate", "clip"):
            self._number(name, Real, 1e-30, "a number above 0")
        # As it is read again from where a run is kept.
        kept = json.loads(json.dumps(self.options))
        object.__setattr__(self, "options", kept)

    def _number(self, name: str, kind: Any, least: Any, rule: str) -> None:
        """Keep an option as a plain number, or raise."""
        value = getattr(self, name)
        good = isinstance(value, kind) and not isinstance(value, bool)
        if not (good and least <= value < float("inf")):
            raise ValueError(
                f"`{name}` must be {rule}; received {value!r}."
            )
        plain = int(value) if kind is Integral else float(value)
        object.__setattr__(self, name, plain)

    def steps(self, n: int) -> int:
        """Return how many steps the run takes on n images."""
        if n < self.batch_size:
            raise ValueError(
                f"`batch_size` must be at most the number of images, {n}; "
                f"received {self.batch_size}."
            )
        return self.epochs * (n // self.batch_size)


def order(n: int, seed: int, epoch: int) -> Any:
    """Return the order in which an epoch takes the images.

    Parameters
    ----------
    n : int
        Number of images.
    seed, epoch : int
        The order depends on both, and on nothing else.

    Returns
    -------
    array of shape (n,)
        A permutation.

    Examples
    --------
    >>> order(5, seed=20, epoch=0), order(5, seed=20, epoch=1)
    (array([0, 1, 4, 3, 2]), array([1, 2, 4, 3, 0]))
    """
    return np.random.default_rng([seed, epoch]).permutation(n)


def scaled(images: Any) -> Any:
    """Return bytes as numbers near 0, with an axis for the channel.

    Parameters
    ----------
    images : array of shape (n, height, width)
        0 to 255.

    Returns
    -------
    array of shape (n, height, width, 1)
        (x - 128) / 128, in 32 bits.

    Examples
    --------
    >>> scaled(np.array([[[0, 128]]]))[0, 0, :, 0].tolist()
    [-1.0, 0.0]
    """
    return ((np.asarray(images, "float32") - 128) / 128)[..., None]


class Views(NamedTuple):
    """From where each image is seen.

    Attributes
    ----------
    degrees : array of shape (n,)
        How far it is turned, against the clock.
    down, right : arrays of shape (n,)
        How far it is moved, in pixels.
    zoom : array of shape (n,)
        How many times as large it is.
    """

    degrees: Any
    down: Any
    right: Any
    zoom: Any


def views(n: int, plan: Plan, seed: Any) -> Views:
    """Return random views, within the limits of a plan.

    Parameters
    ----------
    n : int
        Number of images.
    plan : Plan
        Its `degrees`, `shift` and `zoom`.
    seed : int or sequence of int
        Of the generator that draws them.

    Returns
    -------
    Views
        Named tuple `(degrees, down, right, zoom)`.

    Examples
    --------
    >>> seen = views(1000, Plan(degrees=30, zoom=0.25), seed=20)
    >>> float(seen.degrees.min().round()), float(seen.zoom.max().round(2))
    (-30.0, 1.25)
    """
    rng = np.random.default_rng(seed)
    turn, down, right, grow = rng.uniform(-1, 1, size=(4, n))
    return Views(
        plan.degrees * turn,
        plan.shift * down,
        plan.shift * right,
        (1 + plan.zoom) ** grow,
    )


def moved(images: Any, seen: Views) -> Any:
    """Return images as they look from elsewhere.

    Parameters
    ----------
    images : array of shape (n, height, width)
        Bytes; what comes in from outside is 0.
    seen : Views
        One view an image.

    Returns
    -------
    array of shape (n, height, width)
        Interpolated between pixels, in bytes.

    Examples
    --------
    >>> image = np.zeros((1, 3, 3), "uint8")
    >>> image[0, 1, 2] = 200
    >>> quarter = Views([90.0], [0.0], [0.0], [1.0])
    >>> np.argwhere(moved(image, quarter)[0]).tolist()
    [[0, 1]]
    """
    found = np.empty_like(images)
    centre = (np.array(images.shape[1:]) - 1) / 2
    for image, out, degrees, down, right, zoom in zip(
        images, found, *seen, strict=True
    ):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        back = np.array([[c, s], [-s, c]]) / zoom
        start = centre - back @ (np.add(centre, [down, right]))
        affine_transform(
            image, back, start, output=out, order=1, mode="grid-constant"
        )
    return found


def batches(
    x: Any, y: Any, plan: Plan, first: int, last: int
) -> Iterator[tuple[Any, Any]]:
    """Yield the images and labels of some steps of a run.

    What a step is given depends on the plan and on the number of the step
    alone, so that a run can go on anywhere.

    Parameters
    ----------
    x : array of shape (n, height, width)
        Bytes.
    y : array of shape (n,)
        Classes.
    plan : Plan
        Batch size, seed, and how views are changed.
    first, last : int
        Steps, from the beginning of the run; `last` is not among them.

    Yields
    ------
    tuple of arrays
        (batch, height, width, 1) in 32 bits, and (batch,).

    Examples
    --------
    >>> x, y = np.zeros((5, 28, 28), "uint8"), np.arange(5)
    >>> two = Plan(batch_size=2)
    >>> whole = [labels.tolist() for _, labels in batches(x, y, two, 0, 4)]
    >>> later = [labels.tolist() for _, labels in batches(x, y, two, 2, 4)]
    >>> later == whole[2:]
    True
    """
    epoch_steps, size = len(x) // plan.batch_size, plan.batch_size
    changes = plan.degrees or plan.shift or plan.zoom
    epoch, rows = -1, np.empty(0, int)
    for step in range(first, last):
        if step // epoch_steps != epoch:
            epoch = step // epoch_steps
            rows = order(len(x), plan.seed, epoch)
        begin = step % epoch_steps * size
        chosen = rows[begin : begin + size]
        images = x[chosen]
        if changes:
            images = moved(images, views(size, plan, [plan.seed, 1, step]))
        yield scaled(images), y[chosen]


def prefetched(parts: Iterator[Any]) -> Iterator[Any]:
    """Yield the same, each made while the one before it is in use.

    Parameters
    ----------
    parts : iterator
        What it yields is not None.

    Yields
    ------
    object
        What `parts` yields.

    Examples
    --------
    >>> list(prefetched(iter([1, 2, 3])))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part


def network_of(plan: Plan) -> Any:
    """Return a plan's network, compiled, with its first weights.

    Parameters
    ----------
    plan : Plan
        What the run is told.

    Returns
    -------
    keras.Model
        A capsule network or its rival.

    Examples
    --------
    >>> network_of(Plan()).count_params()
    8361
    """
    keras.utils.set_random_seed(plan.seed)
    network = capsule_network(
        preset=plan.preset,
        margin=plan.margin,
        margin_steps=plan.margin_steps,
        **plan.options,
    )
    if plan.network == "convolution":
        size = sum(np.prod(w.shape) for w in network.trainable_weights)
        keras.utils.set_random_seed(plan.seed)
        network = convolutional_network(int(size), A=RIVALS[plan.preset])
    return network


def compiled(network: Any, plan: Plan, steps: int, jit: bool) -> Any:
    """Return a network that is ready to take steps.

    Parameters
    ----------
    network : keras.Model
        As `network_of` made it.
    plan : Plan
        Optimiser, rate and loss.
    steps : int
        Of the whole run.
    jit : bool
        Whether steps are compiled by XLA.

    Returns
    -------
    keras.Model
        The same.

    Examples
    --------
    >>> network = network_of(Plan())
    >>> type(compiled(network, Plan(), 100, jit=False).optimizer).__name__
    'Adam'
    """
    rate: Any = plan.learning_rate
    if plan.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = SpreadLoss(None)
    if plan.network == "convolution":
        loss = keras.losses.SparseCategoricalCrossentropy()
    network.compile(
        keras.optimizers.Adam(rate, global_clipnorm=plan.clip),
        loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=jit,
    )
    network.optimizer.build(network.trainable_variables)
    return network


def _state(network: Any) -> list[Any]:
    """Return all variables that a step reads and writes."""
    return [*network.weights, *network.optimizer.variables]


def save(path: Path, network: Any, step: int) -> None:
    """Write a checkpoint: whole, or not at all.

    Parameters
    ----------
    path : pathlib.Path
        Where; the checkpoint before it stays until this one is written.
    network : keras.Model
        Compiled; its weights and its optimiser's are written.
    step : int
        How many steps were done.

    Examples
    --------
    >>> import tempfile
    >>> network = compiled(network_of(Plan()), Plan(), 9, jit=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder) / "checkpoint.npz", network, 3)
    ...     restore(Path(folder) / "checkpoint.npz", network)
    3
    """
    values = [keras.ops.convert_to_numpy(v.value) for v in _state(network)]
    parts = {f"variable_{k}": value for k, value in enumerate(values)}
    with open_atomically(path) as file:
        np.savez(file, step=np.int64(step), **parts)


def restore(path: Path, network: Any) -> int:
    """Give a network and its optimiser the state of a checkpoint.

    Parameters
    ----------
    path : pathlib.Path
        Of the checkpoint; nothing in it is executed.
    network : keras.Model
        Compiled, of the same plan.

    Returns
    -------
    int
        How many steps were done.

    Raises
    ------
    ValueError
        If the file is not a checkpoint of such a network.

    Examples
    --------
    >>> network = compiled(network_of(Plan()), Plan(), 9, jit=False)
    >>> restore(Path("nowhere.npz"), network)
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.npz'
    """
    state = _state(network)
    with refuse_faults(
        f"{str(path)!r} must be a checkpoint of this network, with "
        f"{len(state)} arrays",
        "Train again in another folder.",
    ):
        with path.open("rb") as file:
            parts = dict(np.load(file, allow_pickle=False))
        step = int(parts.pop("step"))
        if step < 0:
            raise ValueError(f"its step is {step}")
        values = [parts.pop(f"variable_{k}") for k in range(len(state))]
        if parts:
            raise ValueError(f"it holds {len(parts)} more")
    for variable, value in zip(state, values, strict=True):
        kind = keras.backend.standardize_dtype(variable.dtype)
        if (variable.shape, kind) != (value.shape, value.dtype):
            raise ValueError(
                f"{str(path)!r} must hold {variable.path} of shape "
                f"{tuple(variable.shape)}, {kind}; received {value.shape}, "
                f"{value.dtype}. It is of another network."
            )
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return step


class Evaluation(NamedTuple):
    """How a network does on images that it was not trained on.

    Attributes
    ----------
    accuracy : float
        Share that it names rightly, 0 to 1.
    confusion : array of shape (classes, classes)
        Rows are what images show, columns what the network says.
    errors : array of shape (classes,)
        Share of each class that it names wrongly; NaN without images.
    images_per_second : float
        On this machine, without what compiling takes.
    """

    accuracy: float
    confusion: Any
    errors: Any
    images_per_second: float


def evaluate(
    network: Any, x: Any, y: Any, batch_size: int = 250
) -> Evaluation:
    """Return how often a network is right, and what it mistakes for what.

    Parameters
    ----------
    network : keras.Model
        From images (n, height, width, 1) to a number for each class.
    x : array of shape (n, height, width)
        Bytes.
    y : array of shape (n,)
        Classes.
    batch_size : int
        Images at a time.

    Returns
    -------
    Evaluation
        Named tuple `(accuracy, confusion, errors, images_per_second)`.

    Examples
    --------
    >>> from emlib import datasets
    >>> digits = datasets.load_mnist("sample")
    >>> network = network_of(Plan())
    >>> found = evaluate(network, digits.x_test, digits.y_test)
    >>> int(found.confusion.sum())
    1000
    """
    options = {"batch_size": batch_size, "verbose": 0}
    network.predict(scaled(x[:batch_size]), **options)
    began = time.perf_counter()
    said = network.predict(scaled(x), **options).argmax(axis=1)
    seconds = time.perf_counter() - began
    classes = network.output_shape[-1]
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (y, said), 1)
    each = confusion.sum(axis=1)
    right = np.diag(confusion)
    return Evaluation(
        float(right.sum() / each.sum()),
        confusion,
        np.where(each > 0, 1 - right / np.maximum(each, 1), np.nan),
        len(x) / seconds,
    )


class Folder:
    """Where a run is kept: what it was told, what it did, how far it is.

    Parameters
    ----------
    path : str or os.PathLike
        Of the folder; `config.json`, `metrics.jsonl` and `checkpoint.npz`
        are written in it.

    Examples
    --------
    >>> Folder("nowhere").rows()
    []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoint = self.path / "checkpoint.npz"

    def begin(self, config: dict[str, Any], room: int) -> None:
        """Make the folder, with room for so many bytes, or raise."""
        if self.config.exists():
            raise ValueError(
                f"`out` must be a folder without a run; received "
                f"{str(self.path)!r}, which holds one. Resume it, or name "
                "another."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            require_room(self.path, room)
            text = json.dumps(config, indent=1) + "\n"
            write_atomically(self.config, text)
        except OSError as why:
            raise ValueError(
                f"`out` must be a folder that can be written, with room for"
                f" {room} bytes; received {str(self.path)!r} ({why})."
            ) from why

    def read(self) -> dict[str, Any]:
        """Return what the run was told, or raise."""
        with refuse_faults(
            f"{str(self.path)!r} must hold a run, begun by `emlib train`",
            missing=True,
        ):
            config = json.loads(self.config.read_bytes())
            if config["format"] != FORMAT:
                raise ValueError(f"its format is {config['format']!r}")
            config["plan"] = Plan(**config["plan"])
            if not isinstance(config["data"]["images"], int):
                raise ValueError("it does not say how many images")
        return dict(config)

    def rows(self) -> list[dict[str, Any]]:
        """Return what was recorded; a line that was cut off is not."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").splitlines(True)
        whole = [line for line in lines if line.endswith("}\n")]
        with refuse_faults(
            f"{str(self.metrics)!r} must hold a row of numbers a line",
            "Train again in another folder.",
        ):
            return [json.loads(line) for line in whole]

    def keep(self, step: int) -> list[dict[str, Any]]:
        """Drop what was recorded after a step; return the rest."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomically(self.metrics, "".join(map(_line, kept)))
        return kept

    def record(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.writelines(map(_line, rows))


def _line(row: dict[str, Any]) -> str:
    """Return a row as it is recorded."""
    return json.dumps(row) + "\n"


def _same(told: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise where a run is resumed that was told something else."""
    before, now = asdict(told["plan"]), config["plan"]
    before["data"], now = told["data"], {**now, "data": config["data"]}
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"`{name}` must be {before.get(name)!r}, as when the run "
                f"began; received {value!r}. Name another folder for "
                "another run."
            )


def _config(plan: Plan, digits: Digits, network: Any) -> dict[str, Any]:
    """Return what is to be known of a run."""
    both = digits.x_train.tobytes() + digits.y_train.tobytes()
    checksum = hashlib.sha256(both).hexdigest()
    weights = network.trainable_weights
    return {
        "format": FORMAT,
        "plan": asdict(plan),
        "data": {"images": len(digits.x_train), "sha256": checksum},
        "source": Path(digits.source).name,
        "parameters": int(sum(np.prod(w.shape) for w in weights)),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "backend": keras.backend.backend(),
        "device": device(),
        "versions": {"python": platform.python_version()}
        | {
            name: version(name)
            for name in ("numpy", "keras", keras.backend.backend())
        },
    }


def device() -> str:
    """Return in words what Keras computes on.

    Returns
    -------
    str
        The processor and its cores, or the graphics cards.

    Examples
    --------
    >>> isinstance(device(), str)
    True
    """
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    found = keras.distribution.list_devices()
    cards = [name for name in found if "cpu" not in name]
    return ", ".join(cards) if cards else cores


class Trained(NamedTuple):
    """What training ends with.

    Attributes
    ----------
    network : keras.Model
        Trained.
    history : list of dict
        A row for each step: `step`, `loss`, `accuracy` of its batch,
        `margin`, `seconds`; and one for each epoch: `step`, `epoch`, and
        `test`, the accuracy on the images to test on.
    """

    network: Any
    history: list[dict[str, Any]]


def _take(network: Any, batch: Any, may_fall: bool) -> dict[str, float]:
    """Take a step; without XLA, where the first shows that it cannot."""
    network.reset_metrics()
    try:
        logs = network.train_on_batch(*batch, return_dict=True)
    except Exception as why:
        if not (may_fall and network.jit_compile):
            raise
        first = str(why).strip().partition("\n")[0]
        warnings.warn(
            f"XLA cannot compile this step ({first}); going on without, "
            "which takes longer.",
            stacklevel=3,
        )
        network.jit_compile = False
        network.make_train_function(force=True)
        logs = network.train_on_batch(*batch, return_dict=True)
    return {name: float(logs[name]) for name in ("loss", "accuracy")}


def _margin(network: Any) -> dict[str, float]:
    """Return the margin of the step that was taken last, if any."""
    own = getattr(network, "margin", None)
    return {} if own is None else {"margin": round(float(own()), 6)}


def run(
    network: Any, plan: Plan, digits: Digits, first: int
) -> Iterator[dict[str, Any]]:
    """Take the steps of a run, from one of them on.

    Parameters
    ----------
    network : keras.Model
        Compiled; it is changed.
    plan : Plan
        What the run is told.
    digits : Digits
        What it is trained on, and tested on after each epoch.
    first : int
        How many steps were done before.

    Yields
    ------
    dict
        The rows of `Trained.history`.

    Examples
    --------
    >>> from emlib import datasets
    >>> plan = Plan(epochs=1, batch_size=1000)
    >>> network = compiled(network_of(plan), plan, 5, jit=False)
    >>> rows = list(run(network, plan, datasets.load_mnist("sample"), 3))
    >>> [row["step"] for row in rows], "test" in rows[-1]
    ([4, 5, 5], True)
    """
    steps = plan.steps(len(digits.x_train))
    parts = batches(digits.x_train, digits.y_train, plan, first, steps)
    for step, batch in enumerate(prefetched(parts), start=first + 1):
        began = time.perf_counter()
        logs = _take(network, batch, may_fall=step == first + 1)
        took = {"seconds": round(time.perf_counter() - began, 4)}
        yield {"step": step, **logs, **_margin(network), **took}
        if step % (steps // plan.epochs) == 0:
            test = evaluate(network, digits.x_test, digits.y_test)
            epoch = step * plan.epochs // steps
            yield {"step": step, "epoch": epoch, "test": test.accuracy}


def train(
    plan: Plan,
    digits: Digits,
    folder: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    jit: bool = True,
    watch: Callable[[dict[str, Any], int], None] | None = None,
) -> Trained:
    """Return a trained network, and how the training went.

    With a folder the run may be killed at any moment: told to resume, it
    goes on from its last checkpoint, and on a processor ends with the same
    weights as a run that was left alone.

    Parameters
    ----------
    plan : Plan
        What the run is told.
    digits : Digits
        What it is trained on, and tested on after each epoch.
    folder : str or os.PathLike, optional
        Where to keep the run; without it nothing is written.
    resume : bool
        Whether to go on with the run that the folder holds.
    jit : bool
        Whether steps are compiled by XLA, which takes up to a minute and
        makes each step faster; where it cannot, a warning says so.
    watch : callable, optional
        Called with each row of the history and the number of steps.

    Returns
    -------
    Trained
        Named tuple `(network, history)`.

    Raises
    ------
    ValueError
        If the folder cannot be used, or a run is resumed that was told
        something else.

    Examples
    --------
    >>> from emlib import datasets
    >>> digits = datasets.load_mnist("sample")
    >>> plan = Plan(epochs=1, batch_size=1000)
    >>> len(train(plan, digits, jit=False).history)  # 5 steps, 1 epoch
    6

    References
    ----------
    Hinton, Sabour and Frosst (2018), Matrix capsules with EM routing, for
    the loss and its margin.
    """
    steps = plan.steps(len(digits.x_train))
    network = compiled(network_of(plan), plan, steps, jit)
    first, history = 0, list[dict[str, Any]]()
    kept = None if folder is None else Folder(folder)
    if kept is not None:
        first, history = _opened(kept, plan, digits, network, resume)
    fresh: list[dict[str, Any]] = []
    for row in run(network, plan, digits, first) if first < steps else ():
        history.append(row)
        fresh.append(row)
        due = row["step"] % plan.every == 0 or row["step"] == steps
        if kept is not None and due and _whole(row, steps, plan):
            kept.record(fresh)
            save(kept.checkpoint, network, row["step"])
            fresh = []
        if watch is not None:
            watch(row, steps)
    return Trained(network, history)


def _whole(row: dict[str, Any], steps: int, plan: Plan) -> bool:
    """Return whether a row is the last one of its step."""
    return "epoch" in row or row["step"] % (steps // plan.epochs) != 0


def _opened(
    folder: Folder, plan: Plan, digits: Digits, network: Any, resume: bool
) -> tuple[int, list[dict[str, Any]]]:
    """Begin a run or resume it; return its steps and its history."""
    config = _config(plan, digits, network)
    if not resume:
        size = sum(
            keras.ops.convert_to_numpy(v.value).nbytes
            for v in _state(network)
        )
        folder.begin(config, room=16 * size + (1 << 20))
        return 0, folder.keep(0)
    _same(folder.read(), config)
    if not folder.checkpoint.exists():
        return 0, folder.keep(0)
    step = restore(folder.checkpoint, network)
    return step, folder.keep(step)


def load(folder: str | os.PathLike[str]) -> Any:
    """Return the network of a run, with the weights of its checkpoint.

    Parameters
    ----------
    folder : str or os.PathLike
        Where `train` kept the run.

    Returns
    -------
    keras.Model
        Compiled, without XLA.

    Raises
    ------
    ValueError
        If the folder holds no run.

    Examples
    --------
    >>> load("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: 'nowhere' must hold a run, begun by `emlib train`; ...
    """
    kept = Folder(folder)
    config = kept.read()
    plan, images = config["plan"], config["data"]["images"]
    steps = plan.steps(images)
    network = compiled(network_of(plan), plan, steps, jit=False)
    if not kept.checkpoint.exists():
        raise ValueError(
            f"{str(kept.path)!r} must hold a checkpoint; received none: "
            f"the run had not taken {plan.every} steps. Resume it."
        )
    restore(kept.checkpoint, network)
    return network
