"""Where the sums run: blocks of rows, one in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.bound import Posterior
from emlib.loop import Model, sweep

__all__ = ["Blocked", "blocks"]


def blocks(
    x: Any, multiplicity: Any = None, size: int = 16_384
) -> list[tuple[Any, Any]]:
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
    list of pairs
        `(x, multiplicity)` of each block; nothing is copied.

    Examples
    --------
    >>> [len(x) for x, _ in blocks(np.zeros((5, 2)), size=2)]
    [2, 2, 1]
    """
    cuts = [slice(begin, begin + size) for begin in range(0, len(x), size)]
    if multiplicity is None:
        return [(x[cut], None) for cut in cuts]
    return [(x[cut], multiplicity[cut]) for cut in cuts]


@dataclass(frozen=True)
class Blocked:
    """A model whose x is a sequence of blocks; the loop runs it unchanged.

    Its E-step sums the statistics as it goes (`eq-loop-add`) and keeps no
    responsibilities, so memory does not grow with the number of rows.

    Parameters
    ----------
    model : Model
        Whose statistics add.

    Examples
    --------
    >>> from emlib import coins, fit
    >>> x = np.array([[5, 5], [9, 1], [8, 2], [4, 6], [7, 3]])
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> model = Blocked(coins.Model(learn_weights=False))
    >>> fit(model, blocks(x, size=2), start).params.means.round(4)
    array([0.7968, 0.5196])
    """

    model: Model

    def e_step(self, x: Sequence[Any], params: Any) -> Posterior:
        """Return the statistics in place of `resp`, and the bound."""
        statistics, bound = sweep(self.model, x, params)
        return Posterior(statistics, np.array([bound]))

    def summarise(self, x: Any, resp: Any, multiplicity: Any = None) -> Any:
        """Return the statistics, which the E-step has summed already."""
        return resp

    def maximise(self, statistics: Any, previous: Any = None) -> Any:
        """Return the parameters that fit the statistics best."""
        return self.model.maximise(statistics, previous)

    def pack(self, params: Any) -> Any:
        """Return the parameters as a vector, for `emlib.speed`."""
        model: Any = self.model
        return model.pack(params)

    def unpack(self, vector: Any, like: Any) -> Any:
        """Return the parameters that a vector stands for."""
        model: Any = self.model
        return model.unpack(vector, like)
