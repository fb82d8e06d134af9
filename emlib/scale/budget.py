"""How much is held at a time: of the rows alone, never of the machine.

Bytes, unless the name says rows, blocks or products. Other numbers would
cut the rows elsewhere, and so change the last bits of a fit.
"""

from __future__ import annotations

__all__ = [
    "BLOCK_ROWS",
    "CLUSTER_BYTES",
    "COIN_BYTES",
    "COLUMN_MAJOR_BYTES",
    "COPY_BYTES",
    "CORE_BYTES",
    "EXACT_SEED_ROWS",
    "FEATURE_BYTES",
    "GAUSSIAN_BLOCK_ROWS",
    "MARGIN_ROWS",
    "MAX_BLOCKS",
    "MAX_DISTINCT_ROWS",
    "PIECE_ROWS",
    "PRODUCT_SIZE",
    "SAMPLE_BYTES",
    "SAMPLE_ROWS",
    "START_ROWS",
    "STATISTICS_BYTES",
    "THREAD_FEATURE_BYTES",
    "WHITENED_BYTES",
    "WHITENED_ROWS",
    "WIDE_BLOCK_BYTES",
]

BLOCK_ROWS = 16_384  # in a block, at least
GAUSSIAN_BLOCK_ROWS = 12_500  # the same, where a row makes many features
MAX_BLOCKS = 32  # so that their statistics may wait to be added
STATISTICS_BYTES = 4_000_000  # of all blocks' moments together
FEATURE_BYTES = 4_000_000  # of a turn's features: they stay in the cache
THREAD_FEATURE_BYTES = 3_000_000  # of each of several threads
COIN_BYTES = 4_194_304  # of a block of coins, with its responsibilities
CORE_BYTES = 1_200_000  # of features and log joints, in a core's cache
PIECE_ROWS = 5_600  # for calls so long that threads seldom meet
PRODUCT_SIZE = 1_000_000  # multiplications: OpenBLAS then copies no matrix
CLUSTER_BYTES = 2_400_000  # of a thread's centred rows and distances
COPY_BYTES = 500_000  # of rows or features that are held before the loop
COLUMN_MAJOR_BYTES = 8_000_000  # of rows that are turned column by column
MAX_DISTINCT_ROWS = 65_536  # up to which equal rows are counted once
SAMPLE_ROWS = 65_536  # that a start of coins is drawn from
START_ROWS = 16_384  # that one of Gaussians is, or 64 a component
SAMPLE_BYTES = 2_400_000  # that these hold together, if they are wide
EXACT_SEED_ROWS = 131_072  # whose distances to seeds are kept in float64
MARGIN_ROWS = 1_048_576  # whose margins k-means keeps from turn to turn
WIDE_BLOCK_BYTES = 4_000_000  # of a block of rows, where they are wide
WHITENED_BYTES = 4_000_000  # of a thread's rows of many columns
WHITENED_ROWS = 512  # of these that are centred at a time
