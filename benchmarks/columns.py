"""From how many columns on is whitening faster than features?

Writes the section "columns" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from emlib.models.covariances import COVARIANCES
from emlib.one_pass.gaussians import Model, _OnePass
from emlib.one_pass.whitened import Whitened, WhitenedOnce
from results import machine, write

ROUNDS = 7
COLUMNS = {"full": (16, 24, 32, 48, 64, 96, 128), "tied": (32, 64, 128)}
COMPONENTS = (3, 8, 16)


def case(kind, d, k):
    """Return points of k Gaussians that overlap, and their parameters."""
    rng = np.random.default_rng(20)
    means = rng.normal(size=(k, d)) / np.sqrt(d)
    n = 40_000_000 // (d * d * k) + 2_000
    x = means[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    shape = np.eye(d) if kind == "tied" else np.stack([np.eye(d)] * k)
    return x, COVARIANCES[kind](np.full(k, 1 / k), means, shape)


def seconds(turn, x):
    """Return the CPU seconds of a turn."""
    began = time.process_time()
    turn(x)
    return time.process_time() - began


def race(kind, d, k):
    """Return the table's line for one number of columns."""
    x, params = case(kind, d, k)
    model = Model(kind)
    wide = WhitenedOnce if kind == "tied" else Whitened
    turns = (_OnePass(model, params), wide(model, params))
    times = [[seconds(turn, x) for turn in turns] for _ in range(ROUNDS)]
    features, whitened = np.min(times, axis=0) / len(x) * 1e6
    cells = [kind, d, k, f"{features:.2f}", f"{whitened:.2f}"]
    cells.append(f"{features / whitened:.2f}")
    print(" | ".join(map(str, cells)), flush=True)
    return f"| {' | '.join(map(str, cells))} |"


HEAD = f"""\
`python benchmarks/columns.py`, {machine("numpy", "scipy")}. One turn in \
both forms on points of Gaussians that overlap, so that no component is \
left out: one form after the other in one process, on one thread. CPU \
microseconds a row, the least of {ROUNDS} rounds.

| type | columns | components | features | whitened | ratio |
|---|---|---|---|---|---|"""


def main() -> None:
    with threadpool_limits(1):
        lines = [
            race(kind, d, k)
            for kind, columns in COLUMNS.items()
            for d in columns
            for k in COMPONENTS
        ]
    write("columns", [HEAD, *lines])


if __name__ == "__main__":
    main()
