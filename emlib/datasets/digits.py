"""Digits: MNIST, from an archive, a download, or the package's sample."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import urllib.request
import warnings
from os import PathLike
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from emlib.datasets.binary import array_of, fault_of, only_file, unpacked
from emlib.files import refuse_faults, write_atomically

__all__ = ["Digits", "load_mnist"]

MNIST = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
)
MNIST_SUM = (
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
)
SAMPLE_SUM = (
    "c839b9fe9cd02d3c002b80b2e9f5bdc622da23a2810213bcb5cdae1c948e885c"
)
PARTS = ("x_train", "y_train", "x_test", "y_test")
IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
PATIENCE = 20  # seconds


class Digits(NamedTuple):
    """Images of handwritten digits, to train on and to test on.

    Attributes
    ----------
    x_train, x_test : arrays of shape (n, 28, 28)
        Bytes: 0 is paper, 255 is ink.
    y_train, y_test : arrays of shape (n,)
        Which digit each shows, 0 to 9.
    source : str
        Where they are from: "sample", "download", or a path.
    """

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any
    source: str


def load_mnist(path: str | PathLike[str] | None = None) -> Digits:
    """Return handwritten digits: all of MNIST, or the package's sample.

    Without a path these are tried in turn: the archive that Keras keeps
    (`mnist.npz` in its folder of data sets), one download into that
    place, which gives up where nothing arrives for 20 s, and the sample;
    a warning says so where it comes to that.

    Parameters
    ----------
    path : "sample", str or os.PathLike, optional
        "sample" for 5,000 digits to train on and 1,000 to test on, a tenth
        of them of each kind, which the package carries; an archive
        `mnist.npz`; or a folder that holds it, or the four files of the
        original, packed by gzip or not.

    Returns
    -------
    Digits
        Named tuple `(x_train, y_train, x_test, y_test, source)`.

    Raises
    ------
    ValueError
        If a file is there but is not what it should be; nothing in it is
        executed.
    FileNotFoundError
        If no such file is there.

    Examples
    --------
    >>> digits = load_mnist("sample")
    >>> digits.x_train.shape, np.bincount(digits.y_test).tolist()
    ((5000, 28, 28), [100, 100, 100, 100, 100, 100, 100, 100, 100, 100])

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning
    applied to document recognition; LeCun, Cortes and Burges, The MNIST
    database of handwritten digits.
    """
    if path == "sample":
        return _sample()
    if path is not None:
        return _named(Path(path))
    cached = _keras_home() / "mnist.npz"
    if not cached.is_file():
        try:
            _download(MNIST, MNIST_SUM, cached)
        except OSError as why:
            warnings.warn(
                f"MNIST could not be downloaded ({why}); the package's "
                "sample of 6,000 digits is used. Name an archive to use "
                "all: load_mnist('mnist.npz').",
                stacklevel=2,
            )
            return _sample()
        return _archive(cached, MNIST_SUM)._replace(source="download")
    return _archive(cached, MNIST_SUM)


def _keras_home() -> Path:
    """Return the folder where Keras keeps data sets."""
    home = os.environ.get("KERAS_HOME", str(Path.home() / ".keras"))
    return Path(home) / "datasets"


def _sample() -> Digits:
    """Return the digits that the package carries."""
    path = Path(__file__).parents[1] / "data" / "digits.npz"
    return _archive(path, SAMPLE_SUM)._replace(source="sample")


def _named(path: Path) -> Digits:
    """Return the digits of an archive or of a folder."""
    if path.is_file():
        return _archive(path)
    if (path / "mnist.npz").is_file():
        return _archive(path / "mnist.npz")
    if not path.is_dir():
        raise FileNotFoundError(
            f"`path` must be 'sample', an archive mnist.npz or a folder; "
            f"received {str(path)!r}, where nothing is."
        )
    parts = (
        _idx(only_file(path, name), images=part.startswith("x"))
        for part, name in IDX.items()
    )
    return _fitting(path, Digits._make([*parts, str(path)]))


def _archive(path: Path, checksum: str | None = None) -> Digits:
    """Return the digits of an archive of NumPy arrays."""
    body = path.read_bytes()
    found = hashlib.sha256(body).hexdigest()
    if checksum is not None and found != checksum:
        raise fault_of(path, f"the file of sha256 {checksum}", found)
    rule = f"{str(path)!r} must be an archive of the arrays "
    with (
        refuse_faults(rule + ", ".join(PARTS), "Fetch the file again."),
        np.load(io.BytesIO(body), allow_pickle=False) as archive,
    ):
        parts = [np.asarray(archive[name]) for name in PARTS]
    return _fitting(path, Digits._make([*parts, str(path)]))


def _fitting(path: Path, digits: Digits) -> Digits:
    """Return digits whose images and labels belong together, or raise."""
    for part in ("train", "test"):
        x, y = getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")
        images = x.ndim == 3 and x.shape[1:] == (28, 28)
        if not images or x.dtype != np.uint8 or len(x) == 0:
            rule = f"images x_{part} of (n, 28, 28) bytes"
            raise fault_of(path, rule, f"{x.dtype} of {x.shape}")
        if y.shape != x.shape[:1] or y.dtype.kind not in "ui":
            rule = f"labels y_{part} of shape ({len(x)},)"
            raise fault_of(path, rule, f"{y.dtype} of {y.shape}")
        if y.min() < 0 or y.max() > 9:
            rule = f"labels y_{part} from 0 to 9"
            raise fault_of(path, rule, f"{y.min()} to {y.max()}")
    return digits


def _idx(path: Path, images: bool) -> Any:
    """Return the array of a file of MNIST's own format."""
    axes, body = (3 if images else 1), unpacked(path)
    if body[:4] != bytes([0, 0, 8, axes]):
        rule = f"a file of magic number 0x{0x0800 + axes:08x}"
        raise fault_of(path, rule, f"0x{body[:4].hex()}")
    return array_of(path, body, 4, np.dtype(">i4"), axes, np.dtype("u1"))


def _download(address: str, checksum: str, target: Path) -> None:
    """Fetch a file in one attempt, or raise OSError; nothing is left."""
    arrived: queue.Queue[Any] = queue.Queue()
    # A name that is not answered holds no limit of its own.
    Thread(target=_fetch, args=(address, arrived), daemon=True).start()
    body = b""
    while True:
        try:
            part = arrived.get(timeout=PATIENCE)
        except queue.Empty:
            raise OSError(f"nothing for {PATIENCE} s") from None
        if isinstance(part, Exception):
            raise OSError(str(part)) from part
        if not part:
            break
        body += part
    found = hashlib.sha256(body).hexdigest()
    if found != checksum:
        raise OSError(f"its sha256 is {found}, not {checksum}")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, body)


def _fetch(address: str, arrived: queue.Queue[Any]) -> None:
    """Hand over what an address sends, or why it does not."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            while part := answer.read1(1 << 20):
                arrived.put(part)
        arrived.put(b"")
    except Exception as why:
        arrived.put(why)
