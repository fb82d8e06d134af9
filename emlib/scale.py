"""Where the sums run: blocks of rows, one in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import joblib
import numpy as np
from threadpoolctl import ThreadpoolController

from emlib.loop import Block, Model, log_prior, sweep

__all__ = ["InBlocks", "Summed", "blocks", "threads"]


def blocks(
    x: Any, multiplicity: Any = None, size: int = 16_384
) -> list[Block]:
    """Return views of the rows, so many at a time.

    Parameters
    ----------
    x : array of shape (n, ...)
        The rows.
    multiplicity : array of shape (n,), optional
        How many times each row counts.
    size : int
        Rows a block.

    Returns
    -------
    list of Block
        Named tuples `(x, multiplicity)`; nothing is copied.

    Examples
    --------
    >>> [len(x) for x, _ in blocks(np.zeros((5, 2)), size=2)]
    [2, 2, 1]
    """
    cuts = [slice(begin, begin + size) for begin in range(0, len(x), size)]
    if multiplicity is None:
        return [Block(x[cut]) for cut in cuts]
    return [Block(x[cut], multiplicity[cut]) for cut in cuts]


@cache
def _libraries() -> ThreadpoolController:
    """Return the libraries that have threads of their own."""
    return ThreadpoolController()


def _cores() -> int:
    """Return how many threads this process may use."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores: int = joblib.cpu_count()
    return min(cores, int(allowed)) if allowed.isdecimal() else cores


@contextmanager
def threads(parts: int) -> Iterator[Callable[..., Iterable[Any]]]:
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
    >>> with threads(2) as mapper:
    ...     list(mapper(abs, [-1, 2]))
    [1, 2]
    """
    if parts < 2:
        yield map
        return
    workers = min(parts, _cores())
    with _ONE_EACH:
        if workers < 2:
            yield map
            return
        with ThreadPoolExecutor(workers) as pool:
            yield pool.map


class _OneEach:
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


_ONE_EACH = _OneEach()


class Summed(NamedTuple):
    """What the E-step of all blocks leaves: no labels, but their sums.

    Attributes
    ----------
    statistics
        Of all blocks together.
    log_evidence : array of shape (1,)
        The bound, in nats, summed over the rows.
    """

    statistics: Any
    log_evidence: Any


@dataclass(frozen=True)
class InBlocks:
    """A model whose x is a sequence of blocks; the loop runs it unchanged.

    Its E-step sums the statistics as it goes (`eq-loop-add`) and keeps no
    responsibilities, so memory does not grow with the number of rows.

    Parameters
    ----------
    model : Model
        Whose statistics add.
    mapper : callable
        `map`, or the `map` of an executor.

    Examples
    --------
    >>> from emlib import coins, fit
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> model = InBlocks(coins.Model(learn_weights=False))
    >>> fit(model, blocks(x, size=2), start).params.means.round(4)
    array([0.7968, 0.5196])
    """

    model: Model
    mapper: Callable[..., Iterable[Any]] = map

    def e_step(self, x: Sequence[Any], params: Any) -> Summed:
        """Return the statistics of all blocks, and the bound."""
        statistics, bound = sweep(self.model, x, params, self.mapper)
        return Summed(statistics, np.array([bound]))

    def summarise(
        self, x: Any, posterior: Summed, multiplicity: Any = None
    ) -> Any:
        """Return the statistics, which the E-step has summed already."""
        return posterior.statistics

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters that fit the statistics best."""
        return self.model.maximise(statistics, previous)

    def log_prior(self, params: Any) -> float:
        """Return what the model believes of the parameters, in nats."""
        return log_prior(self.model, params)

    def pack(self, params: Any) -> Any:
        """Return the parameters as a vector, for `emlib.speed`."""
        model: Any = self.model
        return model.pack(params)

    def unpack(self, vector: Any, like: Any) -> Any:
        """Return the parameters that a vector stands for."""
        model: Any = self.model
        return model.unpack(vector, like)
