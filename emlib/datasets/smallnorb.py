"""smallNORB: photographs of toys from all sides, in stereo."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emlib.datasets.binary import array_of, fault_of, only_file, unpacked

__all__ = ["StereoPairs", "load_smallnorb"]

NORB = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}


class StereoPairs(NamedTuple):
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


def load_smallnorb(
    folder: str | PathLike[str],
) -> tuple[StereoPairs, StereoPairs]:
    """Return photographs of small toys from all sides, in stereo.

    Parameters
    ----------
    folder : str or os.PathLike
        It holds the six published files, unpacked or as `.gz`: images
        (`-dat.mat`), categories (`-cat.mat`) and settings (`-info.mat`)
        whose names have `training` and `testing` in them.

    Returns
    -------
    tuple of two StereoPairs
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


def _photographs(folder: str | PathLike[str], part: str) -> StereoPairs:
    """Return one half of smallNORB."""
    paths = [
        only_file(Path(folder), f"*{part}*-{kind}.mat")
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
            raise fault_of(path, rule, f"{array.dtype} of {array.shape}")
    return StereoPairs(np.moveaxis(x, 1, -1), category, *info.T)


def _mat(path: Path) -> Any:
    """Return the array of a file of smallNORB's own format."""
    body = unpacked(path)
    if len(body) < 8 or int.from_bytes(body[:4], "little") not in NORB:
        magic = int.from_bytes(body[:4], "little")
        rule = "a file of magic number 0x1e3d4c55 or 0x1e3d4c54"
        raise fault_of(path, rule, f"0x{magic:08x}")
    kind = NORB[int.from_bytes(body[:4], "little")]
    axes = int.from_bytes(body[4:8], "little")
    if not 1 <= axes <= 4:
        raise fault_of(path, "of 1 to 4 axes", axes)
    # At least three lengths are written, also where fewer count.
    size = np.dtype("<i4")
    return array_of(path, body, 8, size, axes, kind, max(3, axes))
