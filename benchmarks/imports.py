"""Does `import emlib` cost more than what it stands on?

Writes the section "imports" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from results import machine, write

BASE = "import numpy, scipy.special, sklearn"
CLOCK = "import time; began = time.perf_counter(); "
REPEATS = 11


def seconds(first: str, timed: str) -> float:
    """Return how long `timed` takes in a new process, after `first`."""
    program = f"{first}; {CLOCK}{timed}; print(time.perf_counter() - began)"
    run = [sys.executable, "-c", program]
    return float(
        subprocess.run(run, check=True, capture_output=True).stdout
    )


def main() -> None:
    base, extra = [], []
    for _ in range(REPEATS):
        base.append(seconds("pass", BASE))
        extra.append(seconds(BASE, "import emlib"))
    lines = [
        f"`python benchmarks/imports.py`, {machine()}, "
        f"{REPEATS} new processes each, interleaved.",
        "",
        "| imported | median (s) | min (s) |",
        "|---|---|---|",
    ]
    for name, times in (
        ("NumPy, SciPy, scikit-learn", base),
        ("emlib", extra),
    ):
        middle, least = statistics.median(times), min(times)
        lines.append(f"| {name} | {middle:.3f} | {least:.3f} |")
    ratio = statistics.median(extra) / statistics.median(base)
    lines += ["", f"`import emlib` adds {ratio:.0%} to what it stands on."]
    write("imports", lines)


if __name__ == "__main__":
    main()
