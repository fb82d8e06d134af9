"""A map over threads, and one idea of how many there may be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import joblib
from threadpoolctl import ThreadpoolController

__all__ = ["thread_map"]


@cache
def _libraries() -> ThreadpoolController:
    """Return the libraries that have threads of their own."""
    return ThreadpoolController()


def _core_count() -> int:
    """Return how many threads this process may use."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores: int = joblib.cpu_count()
    return min(cores, int(allowed)) if allowed.isdecimal() else cores


@contextmanager
def thread_map(parts: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Lend a `map` whose calls run side by side, for so many parts.

    Each part's matrix products then take one thread. The number of threads
    is that of the cores, or OMP_NUM_THREADS if that is less; sums that come
    back in order are the same to the last bit for any number.

    Parameters
    ----------
    parts : int
        How many calls there will be; for one it is the plain `map`.

    Yields
    ------
    callable
        In place of `map`.

    Examples
    --------
    >>> with thread_map(2) as mapper:
    ...     list(mapper(abs, [-1, 2]))
    [1, 2]
    """
    if parts < 2:
        yield map
        return
    workers = min(parts, _core_count())
    with _ONE_BLAS_THREAD:
        if workers < 2:
            yield map
            return
        with ThreadPoolExecutor(workers) as pool:
            yield pool.map


class _OneBlasThread:
    """While any thread is inside, matrix products take one thread each."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.limit: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.limit = _libraries().limit(limits=1)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limit.restore_original_limits()


_ONE_BLAS_THREAD = _OneBlasThread()
