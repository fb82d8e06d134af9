"""What k-means asks of rows and centres: squares that float64 can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emlib.estimators.checks import reject_row
from emlib.estimators.spread import Spread
from emlib.one_pass import kmeans as one_pass
from emlib.scale import Rows, budget, even_slices
from emlib.shapes import Centres

__all__ = [
    "FAR",
    "check_centres",
    "check_finite",
    "check_near",
    "check_spread",
]

RULES: tuple[tuple[Callable[[Any], Any], str, str], ...] = (
    (np.isnan, "be free of NaN", "Drop the row or fill in the value."),
    (np.isinf, "be finite, without inf", "Drop the row or mend the value."),
)


FAR = (
    "X must lie near enough to the centres for float64 to hold squares",
    "Divide X by its spread before fit, or drop the row.",
)


def check_finite(X: Any) -> None:
    """Raise unless every value is a finite number."""
    for cut in even_slices(len(X), budget.BLOCK_ROWS, len(X)):
        with np.errstate(over="ignore", invalid="ignore"):
            sound = np.isfinite(X[cut].sum())
        for broken, rule, remedy in () if sound else RULES:
            wrong = broken(X[cut]).any(axis=1)  # (n,)
            reject_row(X[cut], wrong, cut.start, f"X must {rule}", remedy)


def check_spread(spread: Spread, rows: Rows) -> None:
    """Raise where squared distances leave the range of float64."""
    first = rows.x[:1]  # (1, d)
    square = spread.scatter / spread.size
    kept = square > 1e-280 or (
        square == 0
        and all(
            (x == first).all()
            for x, _ in rows.even_blocks(budget.BLOCK_ROWS)
        )
    )
    if not (kept and np.isfinite(16 * spread.scatter)):
        raise ValueError(
            "X must have squared distances that float64 can hold, from "
            "1e-280 to 1e307 in sum; received a mean square of "
            f"{square:.1e} about the mean. Divide X by its spread."
        )


def check_near(side: one_pass.Assignment, begin: int) -> None:
    """Raise for the farthest of some rows, if squares cannot hold it."""
    if not np.isfinite(side.squares):
        size = abs(side.rows).max(axis=1)  # (n,)
        begin += side.cut.start
        reject_row(side.rows, size == size.max(), begin, *FAR)


def check_centres(centres: Any, k: int, spread: Spread) -> Centres:
    """Return centres to start from, (k, d), or raise."""
    values: Centres = np.array(centres, dtype=np.float64)
    shape = k, len(spread.mean)
    if values.shape != shape:
        raise ValueError(
            f"init must give centres of shape {shape}; received shape "
            f"{values.shape}. Give n_clusters rows, as wide as X."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        reach = ((values - spread.mean) ** 2).sum(axis=1)  # (k,)
    wrong = ~np.isfinite(16 * spread.size * reach)  # (k,)
    rule = "init must give finite centres, not too far from X"
    reject_row(values, wrong, 0, rule, "Take some rows of X.")
    return values
