"""Data flow one way, and so do imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "emlib"
# A file imports only what stands before it here.
ORDER = [
    "shapes",
    "loop",
    "bound",
    "coins",
    "kmeans",
    "gaussians",
    "gaussians_fast",
    "gaussians_missing",
    "starts",
    "speed",
    "laws",
    "scale",
    "datasets",
    "estimators.checks",
    "estimators.records",
    "estimators.coins",
    "estimators.kmeans",
    "estimators.gaussians",
    "figures",
    "capsules.votes",
    "capsules.routing.sums",
    "capsules.routing.router",
    "capsules.routing.costs",
    "capsules.routing.em",
    "capsules.windows",
    "capsules.layers",
    "capsules.losses",
    "capsules.network",
    "capsules.training",
    "cli",
]
MODELS = {"coins", "kmeans", "gaussians"}
ARRAYS = {"numpy", "scipy", "sklearn", "jaxtyping", "tensorflow", "keras"}


def imported(module):
    """Return the modules that a file imports, `emlib.x` as such."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "emlib":
            found |= {f"emlib.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def test_every_module_has_its_place():
    files = {p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py")}
    names = {".".join(p.with_suffix("").parts) for p in files}
    assert {n for n in names if not n.endswith("__init__")} == {*ORDER}


@pytest.mark.parametrize("module", ORDER)
def test_a_file_imports_only_what_stands_above_it(module):
    above = {f"emlib.{name}" for name in ORDER[: ORDER.index(module)]}
    inside = {name for name in imported(module) if name.startswith("emlib")}
    assert inside <= above


def test_the_loop_imports_no_array_library():
    assert not {name.split(".")[0] for name in imported("loop")} & ARRAYS


@pytest.mark.parametrize("module", sorted(MODELS))
def test_models_do_not_import_each_other(module):
    assert not imported(module) & {f"emlib.{m}" for m in MODELS}


def test_figures_import_no_model():
    assert not imported("figures") & {f"emlib.{m}" for m in MODELS}


def test_importing_the_package_is_light():
    heavy = "('tensorflow', 'keras', 'matplotlib', 'dask', 'beartype')"
    program = (
        "import sys, emlib; "
        f"loaded = [m for m in {heavy} if m in sys.modules]; "
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_public_names_are_there():
    from emlib import CoinMixture, coins, em, fit, sweep

    assert all(map(callable, (em, fit, sweep, coins.Model, CoinMixture)))
