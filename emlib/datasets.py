"""The data of the book: checked, seeded, and there without a network."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import queue
import urllib.request
import warnings
import zlib
from math import prod
from os import PathLike
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from emlib.files import refuse_faults, write_atomically
from emlib.shapes import (
    Centres,
    Counts,
    Matrices,
    PerComponent,
    PerPoint,
    Points,
)

__all__ = [
    "Coins",
    "Digits",
    "Drawn",
    "Measured",
    "Stereo",
    "iris",
    "labelled_coins",
    "load_mnist",
    "load_smallnorb",
    "two_components",
    "unlabelled_coins",
    "wine",
]


class Coins(NamedTuple):
    """Rows of tosses.

    Attributes
    ----------
    x : array of shape (n, 2)
        Heads and tails of each row.
    z : array of shape (n,) or None
        Which coin was tossed (0 is A, 1 is B); None where the labels are
        lost.
    """

    x: Counts
    z: PerPoint | None


def labelled_coins() -> Coins:
    """Return five rows of ten tosses, with the coins A, A, B, A, B.

    Returns
    -------
    Coins
        7, 9, 2, 6 and 0 heads, and the label of each row.

    Examples
    --------
    >>> labelled_coins().x[:, 0], labelled_coins().z
    (array([7, 9, 2, 6, 0]), array([0, 0, 1, 0, 1]))
    """
    heads = np.array([7, 9, 2, 6, 0])  # (n,)
    return Coins(
        np.stack([heads, 10 - heads], axis=1), np.array([0, 0, 1, 0, 1])
    )


def unlabelled_coins() -> Coins:
    """Return five rows of ten tosses whose labels are lost.

    Returns
    -------
    Coins
        5, 9, 8, 4 and 7 heads; `z` is None.

    Examples
    --------
    >>> unlabelled_coins().x[:, 0]
    array([5, 9, 8, 4, 7])

    References
    ----------
    Do and Batzoglou (2008), What is the expectation maximization
    algorithm?, Figure 1b.
    """
    heads = np.array([5, 9, 8, 4, 7])  # (n,)
    return Coins(np.stack([heads, 10 - heads], axis=1), None)


class Measured(NamedTuple):
    """Measurements, with the class of each point.

    Attributes
    ----------
    x : array of shape (n, d)
        A row for each point, a column for each feature.
    z : array of shape (n,)
        The class of each point, numbered from 0.
    feature_names : tuple of str
        What each column is, with its unit where the source gives one.
    class_names : tuple of str
        What each number in `z` stands for.
    """

    x: Points
    z: PerPoint
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]


class Drawn(NamedTuple):
    """Points drawn from a mixture of Gaussians, with the truth.

    Attributes
    ----------
    x : array of shape (n, d)
        The points.
    z : array of shape (n,)
        The component that each was drawn from.
    weights : array of shape (k,)
        pi_k, the share of points of each component.
    means : array of shape (k, d)
        mu_k of the density that they were drawn from.
    covariances : array of shape (k, d, d)
        Sigma_k of that density.
    """

    x: Points
    z: PerPoint
    weights: PerComponent
    means: Centres
    covariances: Matrices


def _measured(bunch: Any) -> Measured:
    """Return what scikit-learn loaded, as the book's named tuple."""
    features, classes = (
        tuple(str(name).replace("_", " ") for name in names)
        for names in (bunch.feature_names, bunch.target_names)
    )
    return Measured(bunch.data, bunch.target, features, classes)


def iris() -> Measured:
    """Return 150 iris flowers of three species, 50 of each.

    The table is the copy that scikit-learn carries, which agrees with the
    printed one (the copy of the UCI repository does not, in two flowers).

    Returns
    -------
    Measured
        `x` (150, 4) in cm, rounded to 0.1 cm; `z` the species.

    Examples
    --------
    >>> x, z, features, species = iris()
    >>> x.shape, x.mean(axis=0).round(2)
    ((150, 4), array([5.84, 3.06, 3.76, 1.2 ]))
    >>> species
    ('setosa', 'versicolor', 'virginica')

    References
    ----------
    Fisher (1936), The use of multiple measurements in taxonomic problems,
    Table I, of flowers that Anderson had measured.
    """
    from sklearn.datasets import load_iris

    return _measured(load_iris())


def wine() -> Measured:
    """Return thirteen measurements of 178 wines of three cultivars.

    The table is the copy that scikit-learn carries. Its columns have very
    different scales: the largest standard deviation is more than two
    thousand times the smallest.

    Returns
    -------
    Measured
        `x` (178, 13), in the units of the source, which it does not name;
        `z` the cultivar: 59, 71 and 48 wines.

    Examples
    --------
    >>> x, z, features, cultivars = wine()
    >>> np.bincount(z)
    array([59, 71, 48])
    >>> features[0], features[-1]
    ('alcohol', 'proline')

    References
    ----------
    Forina, Armanino, Castino and Ubigli (1986), Multivariate data analysis
    as a discriminating method of the origin of wines.
    """
    from sklearn.datasets import load_wine

    return _measured(load_wine())


def two_components(n: int = 1000, seed: int = 20) -> Drawn:
    """Return points of two Gaussians in the plane, one wide and one tall.

    The first 60% of the points are of component 0, exactly; the others are
    of component 1.

    Parameters
    ----------
    n : int
        Number of points.
    seed : int
        Of the generator that draws them.

    Returns
    -------
    Drawn
        `x` (n, 2), `z`, and the parameters that they were drawn with.

    Examples
    --------
    >>> data = two_components()
    >>> data.x.shape, data.weights
    ((1000, 2), array([0.6, 0.4]))
    >>> data.means
    array([[ 0.,  4.],
           [-2.,  0.]])

    References
    ----------
    Chan (2015), STA 663: Computational statistics and statistical
    computing, where the means, covariances and weights are from.
    """
    rng = np.random.default_rng(seed)
    weights = np.array([0.6, 0.4])  # (k,)
    means = np.array([[0.0, 4.0], [-2.0, 0.0]])  # (k, d)
    variances = np.array([[3.0, 0.5], [1.0, 2.0]])  # (k, d)
    z = (np.arange(n) >= round(0.6 * n)).astype(int)  # (n,)
    # No factorisation is called, so that a seed means the same anywhere.
    x = means[z] + np.sqrt(variances[z]) * rng.standard_normal((n, 2))
    covariances = variances[:, :, None] * np.eye(2)  # (k, d, d)
    return Drawn(x, z, weights, means, covariances)


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


class Stereo(NamedTuple):
    """Photographs of toys by two cameras, with what was set for each.

    Attributes
    ----------
    x : array of shape (n, height, width, 2)
        Bytes; the last axis is the left and the right camera.
    category : array of shape (n,)
        0 animal, 1 human, 2 aeroplane, 3 lorry, 4 car.
    instance : array of shape (n,)
        Which of ten toys of the category.
    elevation : array of shape (n,)
        0 to 8, for 30 to 70 degrees in steps of 5.
    azimuth : array of shape (n,)
        0 to 34, even: times ten it is in degrees.
    lighting : array of shape (n,)
        0 to 5.
    """

    x: Any
    category: Any
    instance: Any
    elevation: Any
    azimuth: Any
    lighting: Any


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
NORB = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}


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


def load_smallnorb(
    folder: str | PathLike[str],
) -> tuple[Stereo, Stereo]:
    """Return photographs of small toys from all sides, in stereo.

    Parameters
    ----------
    folder : str or os.PathLike
        It holds the six published files, unpacked or as `.gz`: images
        (`-dat.mat`), categories (`-cat.mat`) and settings (`-info.mat`)
        whose names have `training` and `testing` in them.

    Returns
    -------
    tuple of two Stereo
        To train on and to test on; the published ones have 24,300 pairs
        each, of different toys.

    Raises
    ------
    ValueError
        If a file is not what it should be.
    FileNotFoundError
        If a file is not there.

    Examples
    --------
    >>> load_smallnorb("nowhere")
    Traceback (most recent call last):
        ...
    FileNotFoundError: 'nowhere' must hold one file \
*training*-dat.mat or *training*-dat.mat.gz; received 0 of them.

    References
    ----------
    LeCun, Huang and Bottou (2004), Learning methods for generic object
    recognition with invariance to pose and lighting.
    """
    return _photographs(folder, "training"), _photographs(folder, "testing")


def _wrong(path: Path, rule: str, received: Any) -> ValueError:
    """Return what is said of a file that is not what it should be."""
    return ValueError(
        f"{str(path)!r} must be {rule}; received {received}. Fetch the "
        "file again."
    )


def _keras_home() -> Path:
    """Return the folder where Keras keeps data sets."""
    home = os.environ.get("KERAS_HOME", str(Path.home() / ".keras"))
    return Path(home) / "datasets"


def _sample() -> Digits:
    """Return the digits that the package carries."""
    path = Path(__file__).parent / "data" / "digits.npz"
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
        _idx(_only(path, name), images=part.startswith("x"))
        for part, name in IDX.items()
    )
    return _fitting(path, Digits._make([*parts, str(path)]))


def _archive(path: Path, checksum: str | None = None) -> Digits:
    """Return the digits of an archive of NumPy arrays."""
    body = path.read_bytes()
    found = hashlib.sha256(body).hexdigest()
    if checksum is not None and found != checksum:
        raise _wrong(path, f"the file of sha256 {checksum}", found)
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
            raise _wrong(path, rule, f"{x.dtype} of {x.shape}")
        if y.shape != x.shape[:1] or y.dtype.kind not in "ui":
            rule = f"labels y_{part} of shape ({len(x)},)"
            raise _wrong(path, rule, f"{y.dtype} of {y.shape}")
        if y.min() < 0 or y.max() > 9:
            rule = f"labels y_{part} from 0 to 9"
            raise _wrong(path, rule, f"{y.min()} to {y.max()}")
    return digits


def _only(folder: Path, pattern: str) -> Path:
    """Return the one file of that name, packed or not."""
    found = [*folder.glob(pattern), *folder.glob(f"{pattern}.gz")]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{str(folder)!r} must hold one file {pattern} or {pattern}.gz;"
            f" received {len(found)} of them."
        )
    return found[0]


def _unpacked(path: Path) -> bytes:
    """Return what a file holds, out of gzip where it is in it."""
    body = path.read_bytes()
    if path.suffix != ".gz":
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as why:
        raise _wrong(path, "whole, and packed by gzip", why) from why


def _idx(path: Path, images: bool) -> Any:
    """Return the array of a file of MNIST's own format."""
    axes, body = (3 if images else 1), _unpacked(path)
    if body[:4] != bytes([0, 0, 8, axes]):
        rule = f"a file of magic number 0x{0x0800 + axes:08x}"
        raise _wrong(path, rule, f"0x{body[:4].hex()}")
    return _bytes_of(path, body, 4, np.dtype(">i4"), axes, np.dtype("u1"))


def _mat(path: Path) -> Any:
    """Return the array of a file of smallNORB's own format."""
    body = _unpacked(path)
    if len(body) < 8 or int.from_bytes(body[:4], "little") not in NORB:
        magic = int.from_bytes(body[:4], "little")
        rule = "a file of magic number 0x1e3d4c55 or 0x1e3d4c54"
        raise _wrong(path, rule, f"0x{magic:08x}")
    kind = NORB[int.from_bytes(body[:4], "little")]
    axes = int.from_bytes(body[4:8], "little")
    if not 1 <= axes <= 4:
        raise _wrong(path, "of 1 to 4 axes", axes)
    # At least three lengths are written, also where fewer count.
    size = np.dtype("<i4")
    return _bytes_of(path, body, 8, size, axes, kind, max(3, axes))


def _bytes_of(
    path: Path,
    body: bytes,
    start: int,
    size: Any,
    axes: int,
    kind: Any,
    written: int | None = None,
) -> Any:
    """Return the array whose lengths and numbers a file holds."""
    begin = start + 4 * (written or axes)
    if len(body) < begin:
        raise _wrong(path, f"of at least {begin} bytes", len(body))
    shape = np.frombuffer(body, size, axes, start).astype(int)
    wanted = begin + kind.itemsize * prod(shape.tolist())
    if (shape < 1).any() or len(body) != wanted:
        rule = f"of {wanted} bytes for an array of {tuple(shape.tolist())}"
        raise _wrong(path, rule, len(body))
    return np.frombuffer(body, kind, offset=begin).reshape(shape).copy()


def _photographs(folder: str | PathLike[str], part: str) -> Stereo:
    """Return one half of smallNORB."""
    paths = [
        _only(Path(folder), f"*{part}*-{kind}.mat")
        for kind in ("dat", "cat", "info")
    ]
    x, category, info = map(_mat, paths)
    rules = (
        (
            x,
            np.uint8,
            4,
            (*x.shape[:1], 2),
            "images (n, 2, height, width)",
        ),
        (category, np.int32, 1, x.shape[:1], "categories (n,)"),
        (info, np.int32, 2, (len(x), 4), "settings (n, 4)"),
    )
    for path, (array, kind, axes, begin, rule) in zip(
        paths, rules, strict=True
    ):
        shaped = array.ndim == axes and array.shape[: len(begin)] == begin
        if array.dtype != kind or not shaped:
            raise _wrong(path, rule, f"{array.dtype} of {array.shape}")
    return Stereo(np.moveaxis(x, 1, -1), category, *info.T)


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
