"""Rows: made once, at the edge, and read block by block.

How many rows a block has follows from the rows alone, never from the
machine, so that a fit has the same bits wherever it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from emlib.loop import Block, Model, log_prior, sweep
from emlib.scale import budget
from emlib.shapes import PerPoint

__all__ = ["InBlocks", "Rows", "Summed", "blocks", "even_slices"]


def even_slices(n: int, rows: int, most: int | None = None) -> list[slice]:
    """Return even slices of n rows, each as long as the last or longer.

    Parameters
    ----------
    n : int
        How many rows there are.
    rows : int
        How many of them a slice has at least, unless there are fewer.
    most : int, optional
        How many slices there are at most; without it `MAX_BLOCKS`.

    Returns
    -------
    list of slice
        In order, and together all rows.

    Examples
    --------
    >>> even_slices(5, 2)
    [slice(0, 3, None), slice(3, 6, None)]
    """
    most = budget.MAX_BLOCKS if most is None else most
    size = -(-n // min(most, max(1, n // rows)))
    return [slice(begin, begin + size) for begin in range(0, n, size)]


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


@dataclass(frozen=True)
class Rows:
    """All rows, and how often each counts.

    Parameters
    ----------
    x : array of shape (n, ...)
        The rows.
    multiplicity : array of shape (n,), optional
        How many times each row counts; None for once.

    Examples
    --------
    >>> rows = Rows(np.eye(3), np.array([1.0, 0.0, 2.5]))
    >>> rows.total(), len(rows.present())
    (3.5, 2)
    """

    x: Any
    multiplicity: PerPoint | None = None

    def __len__(self) -> int:
        return len(self.x)

    def total(self) -> float:
        """Return how many rows there are, each as often as it counts."""
        times = self.multiplicity
        return float(len(self.x) if times is None else times.sum())

    def times(self, cut: Any = slice(None)) -> PerPoint:
        """Return how often each of some rows counts, as a new array."""
        if self.multiplicity is None:
            return np.ones(len(self.x[cut]))
        counts: PerPoint = self.multiplicity[cut].copy()  # (n,)
        return counts

    def counted(self) -> Any:
        """Return which rows count at all; None for all."""
        times = self.multiplicity
        return None if times is None or times.all() else times > 0

    def present(self) -> Rows:
        """Return the rows that count at all; the others are absent."""
        there = self.counted()
        return self if there is None else self[there]

    def __iter__(self) -> Iterator[Block]:
        return iter(self.even_blocks(budget.BLOCK_ROWS))

    def __getitem__(self, some: Any) -> Rows:
        times = self.multiplicity
        return replace(
            self,
            x=self.x[some],
            multiplicity=None if times is None else times[some],
        )

    def some(self, most: int, rng: np.random.Generator) -> Rows:
        """Return all rows if they are few; if not, some, by chance."""
        if len(self.x) <= most:
            return self
        return self[rng.integers(len(self.x), size=most)]

    def blocks(self, size: int) -> list[Block]:
        """Return views of the rows, so many at a time."""
        return blocks(self.x, self.multiplicity, size)

    def even_blocks(
        self, rows: int, most: int | None = None
    ) -> list[Block]:
        """Return views of the rows, cut as `even_slices` says."""
        return self.blocks(even_slices(len(self), rows, most)[0].stop)


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
        self, x: Any, posterior: Any, multiplicity: Any = None
    ) -> Any:
        """Return the statistics, which the E-step has summed already."""
        if not isinstance(posterior, Summed):
            raise TypeError(
                "a loop over blocks must start from parameters; received "
                f"{type(posterior).__name__}. Summarise the blocks with "
                "labels of their own, and maximise the sum."
            )
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
