"""Kill a run at ten random moments, and compare it with one left alone.

    python results/kill.py

writes results/kill.json: at which step each kill came, how many steps were
lost, and whether all weights, and all that the optimiser keeps, are the
same bit for bit in the end.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from emlib.capsules.training import RunFolder, device

HERE = Path(__file__).parent
KILLS, EVERY = 10, 10
TOLD = ["--data", "sample", "--preset", "small", "--epochs", "4"]
TOLD += ["--learning-rate", "0.01", "--every", str(EVERY)]


def begin(out, *more):
    """Start training in a process of its own."""
    command = [sys.executable, "-m", "emlib.cli", "train", *TOLD]
    return subprocess.Popen(
        [*command, "--out", str(out), *more], stdout=subprocess.DEVNULL
    )


def reached(folder):
    """Return the step of the last checkpoint, 0 before the first."""
    if not folder.checkpoint.exists():
        return 0
    with np.load(folder.checkpoint, allow_pickle=False) as parts:
        return int(parts["step"])


def same(one, other):
    """Return whether two checkpoints agree in every bit."""
    with (
        np.load(one.checkpoint) as left,
        np.load(other.checkpoint) as right,
    ):
        return left.files == right.files and all(
            left[name].tobytes() == right[name].tobytes()
            for name in left.files
        )


def killed(folder, wait, early):
    """Start or go on, and kill: early, or after the next checkpoint."""
    before = reached(folder)
    more = ["--resume"] if folder.config.exists() else []
    process = begin(folder.path, *more)
    while process.poll() is None and reached(folder) <= before:
        if early:
            break
        time.sleep(0.02)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return before, reached(folder)


def main():
    random.seed(20)
    with tempfile.TemporaryDirectory() as place:
        alone, often = (
            RunFolder(Path(place) / n) for n in ("alone", "often")
        )
        if begin(alone.path).wait():
            sys.exit("the run that is left alone fails")
        kills = []
        for count in range(KILLS):
            early = count % 3 == 0
            wait = random.uniform(0, 25 if early else 2)
            before, after = killed(often, wait, early)
            when = "after the start" if early else "after a checkpoint"
            kills.append(
                {
                    "seconds": wait,
                    "when": when,
                    "from": before,
                    "kept": after,
                }
            )
            print(kills[-1], flush=True)
        more = ["--resume"] if often.config.exists() else []
        if begin(often.path, *more).wait():
            sys.exit("the run that was killed cannot be resumed")
        rows = [
            [
                {k: v for k, v in row.items() if k != "seconds"}
                for row in f.rows()
            ]
            for f in (alone, often)
        ]
        found = {
            "command": "python results/kill.py",
            "run": ["emlib", "train", *TOLD],
            "device": device(),
            "date": time.strftime("%Y-%m-%d"),
            "steps": reached(alone),
            "every": EVERY,
            "kills": kills,
            "same_weights": same(alone, often),
            "same_history": rows[0] == rows[1],
        }
    (HERE / "kill.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
