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
from threadpoolctl import ThreadpoolController

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
            _PROCESS.enter(entry, _blas(shared=True))
            _HERE.limits.enter(entry, _blas(shared=False))
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
        for library in libraries:
            threads = library.num_threads or 1
            if threads > 1:
                self.before[library] = threads
                _set_threads(library, 1)

    def leave(self, entry: object) -> None:
        """Give the libraries their threads back, if this was the last."""
        self.inside.discard(entry)
        if not self.inside:
            for library, threads in list(self.before.items()):
                if library.num_threads == 1:  # or someone changed it
                    _set_threads(library, threads)
                del self.before[library]


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


@cache
def _libraries() -> list[Any]:
    """Return the libraries that have threads of their own."""
    return list(ThreadpoolController().lib_controllers)


def _blas(shared: bool) -> list[Any]:
    """Return each BLAS whose limit all threads share, or none."""
    found = [each for each in _libraries() if each.user_api == "blas"]
    return [each for each in found if _is_shared(each) == shared]


def _is_shared(library: Any) -> bool:
    """Say whether a limit holds for all threads, or for its own alone."""
    layer = getattr(library, "threading_layer", None)
    return library.internal_api == "openblas" and layer != "openmp"


def _set_threads(library: Any, threads: int) -> None:
    """Set a library's threads, whichever thread set them before."""
    # From 3.8 on threadpoolctl heeds one thread only, until that lets go.
    let_go = getattr(library, "clear_controlling_thread", None)
    if let_go is not None:
        let_go(force=True)
    library.set_num_threads(threads)
    if let_go is not None:
        let_go(force=True)


def _own_limits() -> None:
    """Leave a pool's thread one thread of what counts threads apart."""
    for library in _blas(shared=False):
        if (library.num_threads or 1) > 1:
            _set_threads(library, 1)


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
    for library in _libraries():
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
