"""Draw the package's sample of MNIST: 600 of each digit, seeded.

    python results/sample.py --mnist mnist.npz

writes emlib/data/digits.npz and prints its checksum, which
`emlib.datasets` holds. The same archive gives the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

HOME = Path(__file__).parents[1] / "emlib" / "data" / "digits.npz"
SIZES = {"train": 500, "test": 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, required=True)
    archive = np.load(parser.parse_args().mnist, allow_pickle=False)
    rng = np.random.default_rng(20)
    parts = {}
    for part, size in SIZES.items():
        y = archive[f"y_{part}"]
        rows = np.sort(
            [
                row
                for digit in range(10)
                for row in rng.choice(
                    np.flatnonzero(y == digit), size, replace=False
                )
            ]
        )
        parts |= {
            f"x_{part}": archive[f"x_{part}"][rows],
            f"y_{part}": y[rows],
        }
    HOME.parent.mkdir(exist_ok=True)
    # np.savez writes the time of day; this file is the same every time.
    with zipfile.ZipFile(HOME, "w") as packed:
        for name, values in parts.items():
            out = io.BytesIO()
            np.save(out, values, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, out.getvalue(), compresslevel=9)
    body = HOME.read_bytes()
    print(len(body), hashlib.sha256(body).hexdigest())


if __name__ == "__main__":
    main()
