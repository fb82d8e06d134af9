"""How fast is GaussianMixture beside gmmx, which compiles with JAX?

Writes the section "rivals" of benchmarks/RESULTS.md. gmmx is installed
into an environment of its own, which is removed at the end; the two
processes take turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import venv
import warnings
from pathlib import Path

import gaussians
import numpy as np
from gaussians import WORKS, apart, lap, points

from results import machine, write

RIVAL = "gmmx==0.7"  # the newest one; it takes float32 only
CASES = [WORKS[1], WORKS[2]._replace(dtype="float32")]
PROGRAM = """
import json, sys, time
import jax, numpy as np
from gmmx import EMFitter, GaussianMixtureModelJax
given = np.load(sys.argv[1])
print(json.dumps(jax.__version__), flush=True)
x = jax.device_put(given["x"])
start = GaussianMixtureModelJax.from_squeezed(
    means=given["means"], covariances=given["covariances"],
    weights=given["weights"])
fitter = EMFitter(max_iter=int(sys.argv[2]), tol=0.0)
for line in sys.stdin:
    began = time.perf_counter()
    fit = fitter.fit(x=x, gmm=start)
    jax.block_until_ready(fit.gmm.means)
    seconds = time.perf_counter() - began
    said = {"seconds": seconds, "turns": int(fit.n_iter),
            "weights": fit.gmm.weights_numpy.tolist(),
            "means": fit.gmm.means_numpy.tolist(),
            "covariances": fit.gmm.covariances.values_numpy.tolist()}
    print(json.dumps(said), flush=True)
"""


class Answer:
    """What gmmx fitted, with the names that `apart` asks for."""

    def __init__(self, said):
        self.weights_ = np.array(said["weights"])
        self.means_ = np.array(said["means"])
        self.covariances_ = np.array(said["covariances"])


def installed(folder):
    """Return the Python of a new environment that has the rival."""
    venv.create(folder / "rival", with_pip=True)
    where = "Scripts" if os.name == "nt" else "bin"
    python = folder / "rival" / where / "python"
    install = [python, "-m", "pip", "install", "--quiet", RIVAL]
    subprocess.run(install, check=True)
    return python


def race(python, folder, work):
    """Return the table's line for one kind of work, and JAX's version."""
    x = points(work)
    start = gaussians.given(work, x)
    np.savez(
        folder / "given.npz",
        x=x,
        weights=start["weights_init"],
        means=start["means_init"],
        covariances=np.linalg.inv(start["precisions_init"]),
    )
    run = [python, "-c", PROGRAM, folder / "given.npz", str(work.turns)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    times, found = [], None
    with subprocess.Popen(run, text=True, **pipes) as rival:
        jax = json.loads(rival.stdout.readline())
        for number in range(gaussians.ROUNDS + 1):
            ours, mixture = lap(gaussians.GaussianMixture(**start), x)
            rival.stdin.write("go\n")
            rival.stdin.flush()
            said = json.loads(rival.stdout.readline())
            if number == 0:  # the first call compiles
                compiled = said["seconds"]
                continue
            assert said["turns"] == work.turns
            times.append((ours / work.turns, said["seconds"] / work.turns))
            found = apart(Answer(said), mixture)
        rival.stdin.close()
    times = np.array(times)  # (rounds, 2)
    ratios = times[:, 1] / times[:, 0]
    ours, theirs = np.median(times, axis=0) * 1e3
    cells = [
        f"n={work.n:,} d={work.d} k={work.k} {work.kind} {work.dtype}",
        f"{ours:.3g}",
        f"{theirs:.3g}",
        f"**{np.median(ratios):.1f}** ({ratios.min():.1f}-"
        f"{ratios.max():.1f})",
        f"{compiled:.1f}",
        f"{found:.0e}",
    ]
    return f"| {' | '.join(cells)} |", jax


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = installed(folder)
        rows, versions = zip(
            *(race(python, folder, work) for work in CASES), strict=True
        )
    write(
        "rivals",
        [
            f"`python benchmarks/rivals.py`, {machine('numpy')}, "
            f"{RIVAL.replace('==', ' ')} with jax {versions[0]}, "
            f"{os.cpu_count()} cores. gmmx runs in a process of an "
            "environment of its own, one fit after each of emlib's, from "
            "the same start; milliseconds a turn, medians of "
            f"{gaussians.ROUNDS} rounds, float32 for both: this gmmx takes "
            "no other. Its first fit, which compiles, is not counted.",
            "",
            "| work | emlib | gmmx | times faster | first fit of gmmx, s "
            "| parameters apart, relative |",
            "|---|---|---|---|---|---|",
            *rows,
        ],
    )


if __name__ == "__main__":
    main()
