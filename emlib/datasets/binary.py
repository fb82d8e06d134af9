"""Arrays in files of bytes: found, unpacked, and as long as they say."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["array_of", "fault_of", "only_file", "unpacked"]


def fault_of(path: Path, rule: str, received: Any) -> ValueError:
    """Return what is said of a file that is not what it should be."""
    return ValueError(
        f"{str(path)!r} must be {rule}; received {received}. Fetch the "
        "file again."
    )


def only_file(folder: Path, pattern: str) -> Path:
    """Return the one file of that name, packed or not."""
    found = [*folder.glob(pattern), *folder.glob(f"{pattern}.gz")]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{str(folder)!r} must hold one file {pattern} or {pattern}.gz;"
            f" received {len(found)} of them."
        )
    return found[0]


def unpacked(path: Path) -> bytes:
    """Return what a file holds, out of gzip where it is in it."""
    body = path.read_bytes()
    if path.suffix != ".gz":
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as why:
        raise fault_of(path, "whole, and packed by gzip", why) from why


def array_of(
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
        raise fault_of(path, f"of at least {begin} bytes", len(body))
    shape = np.frombuffer(body, size, axes, start).astype(int)
    wanted = begin + kind.itemsize * prod(shape.tolist())
    if (shape < 1).any() or len(body) != wanted:
        rule = f"of {wanted} bytes for an array of {tuple(shape.tolist())}"
        raise fault_of(path, rule, len(body))
    return np.frombuffer(body, kind, offset=begin).reshape(shape).copy()
