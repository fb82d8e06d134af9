"""A map over threads, and one idea of how many there may be."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import RLock, local
from typing import Any

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import OpenBLASController, ThreadpoolController

__all__ = ["one_blas_thread", "thread_map"]


@contextmanager
def thread_map(parts: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Lend a `map` whose calls run side by side, for so many parts.

    Each part's matrix products then take one thread. There are as many
    threads as cores, or fewer where less is allowed: by OMP_NUM_THREADS,
    by `threadpool_limits`, or by `n_jobs` in joblib's `parallel_config`.
    Sums that come back in order are the same to the last bit for any
    number.

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
    workers = min(parts, _core_count()) if parts > 1 else 1
    with one_blas_thread():
        if workers < 2:
            yield map
            return
        pool = ThreadPoolExecutor(workers, initializer=_own_limits)
        try:
            yield _map_on(pool)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While any thread is inside, matrix products take one thread each.

    A product that is shared out adds in another order, so its last bits
    depend on the number of threads; and threads that wait for their share
    keep cores busy. Whoever leaves last puts the limits back, unless they
    were changed in between.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread():
    ...     (np.eye(2) @ np.eye(2)).trace()
    np.float64(2.0)
    """
    entry = object()
    try:
        with _LOCK:
            _PROCESS.enter(entry, _libraries().shared_blas)
            _HERE.limits.enter(entry, _libraries().other_blas)
        yield
    finally:
        with _LOCK:
            _HERE.limits.leave(entry)
            _PROCESS.leave(entry)


class _Limits:
    """Who is inside, and how many threads libraries had before."""

    def __init__(self) -> None:
        self.inside: set[object] = set()
        self.before: dict[Any, int] = {}

    def enter(self, entry: object, libraries: list[Any]) -> None:
        """Leave each library one thread."""
        self.inside.add(entry)
        found = _above_one(libraries)
        self.before |= found
        _set_threads(dict.fromkeys(found, 1))

    def leave(self, entry: object) -> None:
        """Give the libraries their threads back, if this was the last."""
        self.inside.discard(entry)
        if self.before and not self.inside:
            changed = _above_one(list(self.before))  # by someone else
            before = self.before.items()
            _set_threads({k: v for k, v in before if k not in changed})
            self.before.clear()


class _Here(local):
    """The limits of libraries that keep one for each thread."""

    def __init__(self) -> None:
        self.limits = _Limits()


_LOCK, _PROCESS, _HERE = RLock(), _Limits(), _Here()


def _begin_anew() -> None:
    """Let go in a forked child: no other thread came along."""
    _PROCESS.inside.clear()
    _PROCESS.leave(None)
    _LOCK.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_LOCK.acquire,
        after_in_parent=_LOCK.release,
        after_in_child=_begin_anew,
    )


class _Libraries:
    """Libraries with threads of their own, and which are a BLAS.

    A limit of the shared ones holds for all threads of the process, one of
    the others for the thread that sets it.
    """

    def __init__(self, each: list[Any]) -> None:
        blas = [library for library in each if library.user_api == "blas"]
        self.each = each
        self.shared_blas = [one for one in blas if _is_shared(one)]
        self.other_blas = [one for one in blas if not _is_shared(one)]


@cache
def _libraries() -> _Libraries:
    return _Libraries(ThreadpoolController().lib_controllers)


def _is_shared(library: Any) -> bool:
    layer = getattr(library, "threading_layer", None)
    return library.internal_api == "openblas" and layer != "openmp"


def _above_one(libraries: list[Any]) -> dict[Any, int]:
    """Return the libraries that may take several threads: how many."""
    counts = {library: library.num_threads or 1 for library in libraries}
    return {key: count for key, count in counts.items() if count > 1}


def _set_threads(counts: dict[Any, int]) -> None:
    """Set libraries' threads, whichever thread set them before."""
    if not counts:
        return
    _let_go(force=True)
    for library, threads in counts.items():
        library.set_num_threads(threads)
    _let_go(force=True)


def _let_anyone(force: bool) -> None:
    """Do nothing: until 3.8 threadpoolctl lets any thread set limits."""


# From 3.8 on it heeds the first one only, until that lets go.
_let_go: Callable[..., None] = getattr(
    OpenBLASController, "clear_controlling_thread", _let_anyone
)


def _own_limits() -> None:
    """Leave a pool's thread one thread of what counts threads apart."""
    found = _above_one(_libraries().other_blas)
    _set_threads(dict.fromkeys(found, 1))


def _core_count() -> int:
    """Return how many threads this fit may use."""
    backend, jobs = get_active_backend()
    allowed = [joblib.cpu_count()]
    if jobs is not None:
        allowed.append(backend.effective_n_jobs(jobs))
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting.isdecimal():
        allowed.append(int(setting))
    before = _PROCESS.before | _HERE.limits.before
    for library in _libraries().each:
        now = before.get(library) or library.num_threads
        allowed += [now] if now else []
    return int(min(allowed))


def _map_on(pool: ThreadPoolExecutor) -> Callable[..., Iterable[Any]]:
    """Return a `map` that a pool's threads share."""

    def mapper(
        function: Callable[..., Any], *rows: Iterable[Any]
    ) -> Iterator[Any]:
        waiting = deque(
            _submit(pool, function, *each)
            for each in zip(*rows, strict=False)
        )
        return _in_order(waiting)

    return mapper


def _submit(
    pool: ThreadPoolExecutor, function: Callable[..., Any], *each: Any
) -> Future[Any]:
    """Ask a pool for a call, or make it here once the program is ending.

    Python then starts no more threads, though some may still be fitting.
    """
    try:
        return pool.submit(function, *each)
    except RuntimeError:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*each))
        except BaseException as fault:  # as a pool's thread keeps it
            done.set_exception(fault)
        return done


def _in_order(waiting: deque[Future[Any]]) -> Iterator[Any]:
    """Yield what calls return; after a fault, the rest need not begin."""
    try:
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
