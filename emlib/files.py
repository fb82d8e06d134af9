"""Files: written whole or not at all, read or refused in words."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np

__all__ = [
    "from_json",
    "open_atomically",
    "read_saved",
    "refuse_faults",
    "require_folder",
    "require_room",
    "to_json",
    "write_atomically",
]

# What Python, NumPy and zipfile raise for files that are not what they
# should be.
FAULTS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    BadZipFile,
    zlib.error,
)


@contextmanager
def _draft(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Give a file beside a path to write in; it is gone at the end."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        with beside.open("wb") as file:
            yield beside, file
    finally:
        beside.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    """Wait until what was written lies on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write that takes its place when it is whole.

    Until then, and if anything fails, the file of before stays; no draft
    is left.

    Parameters
    ----------
    path : str or os.PathLike
        The place; a file that is there is replaced.

    Yields
    ------
    file
        Open for bytes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_atomically(f"{folder}/ones.npy") as file:
    ...         np.save(file, np.ones(2))
    ...     np.load(f"{folder}/ones.npy")
    array([1., 1.])
    """
    with _draft(Path(path)) as (beside, file):
        yield file
        _sync(file)
        file.close()
        beside.replace(path)


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes
) -> None:
    """Write a file whole, or leave the one of before as it was.

    Parameters
    ----------
    path : str or os.PathLike
        The place; a file that is there is replaced.
    content : str or bytes
        Text is written in UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/words.txt", "heads and tails")
    ...     Path(folder, "words.txt").read_text()
    'heads and tails'
    """
    body = content.encode() if isinstance(content, str) else content
    with open_atomically(path) as file:
        file.write(body)


def require_room(folder: str | os.PathLike[str], size: int) -> None:
    """Raise OSError where a folder has no room for so many bytes.

    Parameters
    ----------
    folder : str or os.PathLike
        A folder that exists.
    size : int
        So many bytes are written, and deleted again.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_room(folder, 1000)
    """
    with _draft(Path(folder) / "room") as (_, file):
        file.write(bytes(size))
        _sync(file)


def require_folder(path: str | os.PathLike[str]) -> None:
    """Raise where the folder that a file is to lie in does not exist.

    Parameters
    ----------
    path : str or os.PathLike
        Of the file.

    Raises
    ------
    ValueError
        If no folder is there.

    Examples
    --------
    >>> require_folder("nowhere/file")
    Traceback (most recent call last):
        ...
    ValueError: 'nowhere/file' must lie in a folder that exists; received \
'nowhere'.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise ValueError(
            f"{str(Path(path))!r} must lie in a folder that exists; "
            f"received {str(folder)!r}."
        )


@contextmanager
def refuse_faults(
    rule: str, remedy: str = "", *, missing: bool = False
) -> Iterator[None]:
    """Turn whatever a bad file makes its reader raise into one refusal.

    Parameters
    ----------
    rule : str
        Which file, and what it must be.
    remedy : str
        What to do about it: a sentence.
    missing : bool
        Whether a file that is not there is refused, too; otherwise it
        stays a FileNotFoundError.

    Raises
    ------
    ValueError
        In place of anything in `FAULTS`, which it quotes.

    Examples
    --------
    >>> with refuse_faults("'plan' must be JSON", "Write it again."):
    ...     json.loads("{")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: 'plan' must be JSON; received something else (...). Write \
it again.
    """
    try:
        yield
    except FAULTS as why:
        if isinstance(why, FileNotFoundError) and not missing:
            raise
        text = f"{rule}; received something else ({why}). {remedy}"
        raise ValueError(text.rstrip()) from why


def to_json(value: Any) -> Any:
    """Return a value as JSON knows it.

    Parameters
    ----------
    value : object
        An array, a number, a `RandomState`, what JSON knows already, or
        a list or tuple of these.

    Returns
    -------
    object
        Of lists, dictionaries, strings and Python's own numbers.

    Examples
    --------
    >>> to_json((np.arange(2), "auto", None))
    [[0, 1], 'auto', None]
    """
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, np.random.RandomState):
        state: Any = value.get_state()
        name, key, *rest = state
        return {"RandomState": [name, key.tolist(), *rest]}
    return value.tolist() if hasattr(value, "tolist") else value


def from_json(value: Any) -> Any:
    """Return the value that `to_json` was given; arrays stay lists.

    Parameters
    ----------
    value : object
        What JSON knows.

    Returns
    -------
    object
        A `RandomState` where there was one.

    Examples
    --------
    >>> kept = to_json(np.random.RandomState(20))
    >>> int(from_json(kept).randint(100))
    99
    """
    if not isinstance(value, dict):
        return value
    state = np.random.RandomState()
    state.set_state(tuple(value["RandomState"]))
    return state


def read_saved(kind: Any, path: str | os.PathLike[str], form: str) -> Any:
    """Return the object that its `save` wrote, or raise.

    Parameters
    ----------
    kind : type
        It is called with the options of the file; its `_restore` then
        takes the whole record.
    path : str or os.PathLike
        Of a file of JSON; nothing in it is executed.
    form : str
        What the file must give as its format.

    Returns
    -------
    object
        What `_restore` returns.

    Raises
    ------
    ValueError
        If the file is not one that `save` wrote.
    FileNotFoundError
        If no file is there.

    Examples
    --------
    >>> read_saved(dict, "nowhere.json", "emlib 1")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.json'
    """
    text = Path(path).read_bytes()
    with refuse_faults(
        f"{path} must be a whole file that {kind.__name__}.save wrote",
        "Save it again.",
    ):
        record = json.loads(text)
        if record["format"] != form:
            raise ValueError(f"its format is {record['format']!r}")
        options = record["options"]
        found = kind(**{name: from_json(options[name]) for name in options})
        return found._restore(record)
