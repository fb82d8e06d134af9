"""Where the sums run: rows, block by block, on as many threads as help."""

from emlib.scale.rows import InBlocks, Rows, Summed, blocks, even_slices
from emlib.scale.standardise import (
    ColumnScale,
    Standardised,
    Standardiser,
    column_scale,
    covariance,
)
from emlib.scale.threads import one_blas_thread, thread_map

__all__ = [
    "ColumnScale",
    "InBlocks",
    "Rows",
    "Standardised",
    "Standardiser",
    "Summed",
    "blocks",
    "column_scale",
    "covariance",
    "even_slices",
    "one_blas_thread",
    "thread_map",
]
