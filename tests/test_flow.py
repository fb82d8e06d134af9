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
    "files",
    "loop",
    "bound",
    "starts",
    "speed",
    "scale.budget",
    "scale.rows",
    "scale.standardise",
    "scale.threads",
    "models.coins",
    "models.kmeans",
    "models.covariances.definite",
    "models.covariances.common",
    "models.covariances.full",
    "models.covariances.tied",
    "models.covariances.diag",
    "models.covariances.spherical",
    "models.gaussians",
    "models.missing",
    "one_pass.families",
    "one_pass.coins",
    "one_pass.kmeans",
    "one_pass.gaussian_family",
    "one_pass.whitened",
    "one_pass.gaussians",
    "laws",
    "datasets.tables",
    "datasets.binary",
    "datasets.digits",
    "datasets.smallnorb",
    "plan",
    "estimators.checks",
    "estimators.stopping",
    "estimators.mixture",
    "estimators.online",
    "estimators.coins",
    "estimators.spread",
    "estimators.seeding",
    "estimators.bounded_rows",
    "estimators.empty_clusters",
    "estimators.kmeans_checks",
    "estimators.kmeans",
    "estimators.display",
    "estimators.collapse",
    "estimators.gaussian_starts",
    "estimators.gaussian_task",
    "estimators.gaussians",
    "figures.colours",
    "figures.still",
    "figures.moving",
    "capsules.votes",
    "capsules.routing.sums",
    "capsules.routing.router",
    "capsules.routing.costs",
    "capsules.routing.em",
    "capsules.windows",
    "capsules.layers",
    "capsules.losses",
    "capsules.network",
    "capsules.training.augment",
    "capsules.training.evaluate",
    "capsules.training.checkpoints",
    "capsules.training.loop",
    "cli.fit",
    "cli.train",
    "cli.main",
    "cli.__main__",
]
# Folders from which modules are imported, and not what stands in them.
FOLDERS = {"emlib", "emlib.models", "emlib.one_pass"}
MODELS = {"coins", "kmeans", "gaussians", "missing"}
ARRAYS = {"numpy", "scipy", "sklearn", "jaxtyping", "tensorflow", "keras"}


def imported(module):
    """Return the modules that a file imports, `emlib.x` as such."""
    path = PACKAGE / module.replace(".", "/")
    path = (
        path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in FOLDERS:
            found |= {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {f"emlib.{name}" for name in ORDER}
            found |= names & files or {node.module}
    return found


def above_of(module):
    """Return the files above one, and the folders whose files all are."""
    place = ORDER.index(module)
    above, rest = ORDER[:place], ORDER[place:]
    folders = {name.rpartition(".")[0] for name in above} - {""}
    whole = {
        folder
        for folder in folders
        if not any(name.startswith(f"{folder}.") for name in rest)
    }
    return {*above, *whole}


def test_every_module_has_its_place():
    files = {p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py")}
    names = {".".join(p.with_suffix("").parts) for p in files}
    files = {n for n in names if not n.endswith("__init__")}
    folders = {n for n in ORDER if f"{n}.__init__" in names}
    assert files == {*ORDER} - folders


@pytest.mark.parametrize("module", ORDER)
def test_a_file_imports_only_what_stands_above_it(module):
    above = {f"emlib.{name}" for name in above_of(module)}
    inside = {name for name in imported(module) if name.startswith("emlib")}
    assert inside <= above


def test_the_loop_imports_no_array_library():
    assert not {name.split(".")[0] for name in imported("loop")} & ARRAYS


@pytest.mark.parametrize("module", sorted(MODELS))
def test_models_do_not_import_each_other(module):
    others = {f"emlib.models.{name}" for name in MODELS}
    found = imported(f"models.{module}") & others
    allowed = {"missing": {"emlib.models.gaussians"}}
    assert found == allowed.get(module, set())


@pytest.mark.parametrize("file", ["colours", "still", "moving"])
def test_figures_import_no_model(file):
    homes = ("emlib.models", "emlib.one_pass")
    found = imported(f"figures.{file}")
    assert not [name for name in found if name.startswith(homes)]


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
