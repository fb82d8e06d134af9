"""Print how far the backends of Keras disagree on a fixed set of cases.

Each backend answers in a process of its own: `compare.py --answer FILE`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BACKENDS = ("tensorflow", "jax", "torch")
# Sums in another order, in three turns; slopes lose a digit more.
ALLOWED = {
    ("float32", "values"): 1e-5,
    ("float32", "slopes"): 1e-4,
    ("float64", "values"): 1e-12,
    ("float64", "slopes"): 1e-11,
}


def answers():
    """Return values and slopes of each case, by name, on this backend."""
    sys.path.insert(0, str(HERE.parent / "capsules"))
    from capsules_by_hand import (
        arrays,
        called,
        filled,
        grid,
        slopes,
        weighed,
    )

    from emlib.capsules import ClassCapsules, ConvCapsules

    cases = {
        "3x3, stride 1": ((5, 4), lambda **o: ConvCapsules(3, 3, 1, **o)),
        "3x3, stride 2": ((9, 9), lambda **o: ConvCapsules(4, 3, 2, **o)),
        "2x2, stride 3": ((8, 7), lambda **o: ConvCapsules(3, 2, 3, **o)),
        "5x5 by patch": (
            (7, 8),
            lambda **o: ConvCapsules(3, 5, 2, competition="patch", **o),
        ),
        "rematerialised": (
            (7, 7),
            lambda **o: ConvCapsules(3, 3, 2, rematerialise=True, **o),
        ),
        "classes": ((4, 3), lambda **o: ClassCapsules(5, **o)),
        "no active child": ((4, 3), lambda **o: ClassCapsules(5, **o)),
    }
    found = {}
    for name, (size, kind) in cases.items():
        for dtype in ("float32", "float64"):
            layer = kind(turns=3, dtype=dtype)
            inputs = grid(0, size, types=3, dtype=dtype)
            if name == "no active child":
                inputs[1][:] = 0.0
            filled(layer, inputs, seed=1)
            values = layer(inputs)
            total = weighed(values, np.random.default_rng(2))
            parts = [*inputs, *layer.get_weights()]

            def along(*parts, layer=layer, total=total):
                return total(called(layer, *parts))

            for what, many in (
                ("values", arrays(values)),
                ("slopes", slopes(along, *parts)),
            ):
                for n, part in enumerate(many):
                    found[f"{name}|{dtype}|{what}|{n}"] = part
    return found


def asked(backend, folder):
    """Return what a backend answers, or None where it cannot be had."""
    if importlib.util.find_spec(backend) is None:
        return None
    path = Path(folder) / f"{backend}.npz"
    env = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, __file__, "--answer", path]
    subprocess.run(command, env=env, check=True)
    return dict(np.load(path))


def disagreement(one, other):
    """Return the largest error by dtype and kind, and its case."""
    worst = {}
    for key, wanted in other.items():
        name, *kind, _ = key.split("|")
        unit = max(np.abs(wanted).max(), 1e-12)
        apart = np.abs(one[key] - wanted).max() / unit
        pair = (float(apart), name)
        worst[tuple(kind)] = max(worst.get(tuple(kind), pair), pair)
    return worst


def main():
    """Ask each backend, and print the largest disagreements."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: asked(name, folder) for name in BACKENDS}
    reference, *others = BACKENDS
    wrong = 0
    print("== largest disagreement, in the unit of the largest entry")
    for other in others:
        pair = f"{reference} and {other}"
        if found[other] is None or found[reference] is None:
            print(f"{pair}: not measured")
            continue
        worst = disagreement(found[other], found[reference])
        for (dtype, what), (apart, name) in worst.items():
            # On PyTorch keras.ops.matmul multiplies float64 in float32.
            single = "float32" if other == "torch" else dtype
            allowed = ALLOWED[single, what]
            wrong += not apart <= allowed
            print(
                f"{pair}: {dtype} {what} {apart:.1e} ({name}), "
                f"allowed {allowed:.0e}"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        np.savez(sys.argv[2], **answers())
    else:
        sys.exit(main())
