"""`emlib fit`: a mixture for a table of numbers."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from emlib.estimators.coins import CoinMixture
from emlib.estimators.gaussians import GaussianMixture
from emlib.estimators.kmeans import KMeans
from emlib.files import require_folder, write_atomically

__all__ = ["FIT_EXAMPLES", "add_fit", "fit"]

FIT_EXAMPLES = """examples:
  emlib fit points.csv --model gaussian -k 3
  emlib fit points.csv --model kmeans -k 3 --labels labels.csv
  emlib fit tosses.csv --model coins -k 2 --save coins.json
"""
MODELS = {
    "gaussian": GaussianMixture,
    "kmeans": KMeans,
    "coins": CoinMixture,
}


def add_fit(command: argparse.ArgumentParser) -> None:
    """Add the options of `fit`."""
    add = command.add_argument
    add("file", metavar="FILE.csv", help="numbers; a first line of names")
    add(
        "--model",
        default="gaussian",
        choices=tuple(MODELS),
        help="what the table is a mixture of (default: gaussian)",
    )
    add("-k", type=int, required=True, help="number of components")
    add("--seed", type=int, default=20, help="of the starts")
    add("--starts", type=int, default=10, help="fits, the best is taken")
    add("--labels", help="file to write each row's component to")
    add("--save", help="file to write the fitted model to")


def fit(args: argparse.Namespace) -> None:
    """Fit a mixture to a table, and say what came out."""
    if args.seed < 0:
        raise ValueError(
            f"`--seed` must be a whole number, at least 0; received "
            f"{args.seed}."
        )
    x, names = read_table(args.file)
    options = {"n_init": args.starts, "random_state": args.seed}
    if args.model == "gaussian" and np.isnan(x).any():
        options["missing"] = "em"
    model: Any = MODELS[args.model](args.k, **options)
    model.fit(x)
    print_fit(model, names, len(x))
    if args.labels:
        labels = "".join(f"{label}\n" for label in model.predict(x))
        require_folder(args.labels)
        write_atomically(args.labels, labels)
    if args.save:
        model.save(args.save)


def read_table(path: str) -> tuple[Any, list[str]]:
    """Return the numbers of a table (n, d), and what its columns are."""
    lines = _lines(path)
    first = lines[0][1] if lines else []
    named = bool(first) and not any(_are_numbers([c]) for c in first if c)
    names = first if named else [f"x{k}" for k in range(len(first))]
    rows = []
    for number, cells in lines[named:]:
        if len(cells) != len(first) or not _are_numbers(cells):
            raise ValueError(
                f"line {number} of {path!r} must hold {len(first)} numbers "
                f"between commas; received {','.join(cells)[:60]!r}. An "
                "empty cell is a missing number."
            )
        rows.append([float(cell or "nan") for cell in cells])
    if not rows:
        raise ValueError(
            f"{path!r} must hold rows of numbers; received none."
        )
    return np.array(rows), names


def _lines(path: str) -> list[tuple[int, list[str]]]:
    """Return the cells of each line that has any, with its number."""
    if not Path(path).is_file():
        raise ValueError(
            f"`FILE` must be a table of numbers between commas; received "
            f"{path!r}, where no file is."
        )
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as why:
        raise ValueError(
            f"{path!r} must be text in UTF-8; received something else "
            f"({why})."
        ) from why
    return [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(csv.reader(text.splitlines()), 1)
        if any(cells)
    ]


def _are_numbers(cells: list[str]) -> bool:
    """Return whether cells are numbers, or empty."""
    try:
        return bool([float(cell or "nan") for cell in cells])
    except ValueError:
        return False


def print_fit(model: Any, names: list[str], n: int) -> None:
    """Say what a fitted model is."""
    print(f"{type(model).__name__}: {n} rows, {', '.join(names)}")
    if hasattr(model, "lower_bound_"):
        print(f"log-likelihood a row: {model.lower_bound_:.6g} nats")
    if hasattr(model, "inertia_"):
        print(f"inertia: {model.inertia_:.6g}")
    print(f"turns: {model.n_iter_}")
    weights = getattr(model, "weights_", None)
    for name in ("means_", "cluster_centers_"):
        for k, centre in enumerate(getattr(model, name, [])):
            share = "" if weights is None else f" weight {weights[k]:.4f}"
            cells = ", ".join(f"{v:.6g}" for v in np.atleast_1d(centre))
            print(f"  {k}:{share} {name[:-1].replace('_', ' ')} {cells}")
