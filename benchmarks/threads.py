"""Are fits as fast, and the same, wherever they run?

Writes the section "threads" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import joblib
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info

from emlib import GaussianMixture
from results import machine, write

FITS, ROWS, REPEATS = 4, 40_000, 7
MAIN = "the main thread"


def fitted(seed):
    """Return the bits of a fit, and the CPU seconds of its process."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # four turns
    began = time.process_time()
    x = np.random.default_rng(seed).normal(size=(ROWS, 2))
    found = GaussianMixture(2, max_iter=4, random_state=0).fit(x)
    parts = found.weights_, found.means_, found.covariances_
    bits = b"".join(part.tobytes() for part in parts)
    return bits, time.process_time() - began


def in_order():
    """Fit one after the other."""
    return list(map(fitted, range(FITS)))


def side_by_side(backend):
    """Fit two at a time, by joblib."""
    jobs = [joblib.delayed(fitted)(seed) for seed in range(FITS)]
    return joblib.Parallel(2, backend=backend)(jobs)


def places(stack):
    """Return each place to fit in, and whether it is another process."""
    one, two = (
        stack.enter_context(ThreadPoolExecutor(size)) for size in (1, 2)
    )
    forked, spawned = (
        stack.enter_context(multiprocessing.get_context(way).Pool(1))
        for way in ("fork", "spawn")
    )
    return {
        MAIN: (in_order, False),
        "another thread": (lambda: one.submit(in_order).result(), False),
        "two threads": (
            lambda: list(two.map(fitted, range(FITS))),
            False,
        ),
        "a forked process": (lambda: forked.apply(in_order), True),
        "a spawned process": (lambda: spawned.apply(in_order), True),
        "joblib, two threads": (lambda: side_by_side("threading"), False),
        "joblib, two processes": (lambda: side_by_side("loky"), True),
    }


def timed(place, elsewhere):
    """Return wall seconds, CPU seconds and bits of the four fits."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = place()
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    if elsewhere:
        cpu = sum(seconds for _, seconds in found)
    return wall, cpu, [bits for bits, _ in found]


def limits():
    """Return how many threads libraries may take."""
    return [library["num_threads"] for library in threadpool_info()]


def main() -> None:
    before, seen = limits(), {}
    fitted(0)  # the first one is the main thread's
    with ExitStack() as stack:
        ways = places(stack)
        for way in ways.values():
            timed(*way)  # imports, and processes that start
        for _ in range(REPEATS):
            for name, way in ways.items():
                seen.setdefault(name, []).append(timed(*way))
        kept = limits() == before
    wanted = seen[MAIN][0][2]
    lines = [
        f"`python benchmarks/threads.py`, {machine('numpy', 'joblib')}, "
        f"{joblib.cpu_count()} cores: {FITS} fits of {ROWS:,} rows of two "
        f"columns, two components, four turns, as they come, no limit set. "
        f"The least of {REPEATS} rounds; a round goes through all places.",
        "",
        "| where | wall (s) | CPU (s) | wall, of the main thread's | CPU, "
        "of the main thread's | same bits |",
        "|---|---|---|---|---|---|",
    ]
    least = {
        name: np.min([each[:2] for each in runs], axis=0)
        for name, runs in seen.items()
    }
    for name, runs in seen.items():
        (wall, cpu), ratio = least[name], least[name] / least[MAIN]
        same = "yes" if all(run[2] == wanted for run in runs) else "no"
        lines.append(
            f"| {name} | {wall:.2f} | {cpu:.2f} | {ratio[0]:.2f} | "
            f"{ratio[1]:.2f} | {same} |"
        )
    word = "as before" if kept else "changed"
    lines += ["", f"Afterwards the limits of BLAS' threads are {word}."]
    write("threads", lines)


if __name__ == "__main__":
    main()
