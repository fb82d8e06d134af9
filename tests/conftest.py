"""Shapes are checked while the tests run, and so is the equation ledger.

All the tests together run in two processes. What needs Keras stays in one
of them, so that TensorFlow traces and compiles once, and the other tests
are shared out one by one.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from unittest.mock import patch

import matplotlib as mpl
import pytest
from jaxtyping import _import_hook, config, install_import_hook
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
PROCESSES = 2
KERAS = re.compile(
    r"^\s*(import|from) (keras|tensorflow|emlib\.capsules|capsules_by_hand)"
    r"|importorskip\(\"(keras|tensorflow)",
    re.M,
)
sys.path.insert(0, str(ROOT / "book" / "_ext"))
mpl.use("svg")


class OutermostFunctions(_import_hook.JaxtypingTransformer):
    """Check shapes where functions are entered, not inside them.

    A function within a function is made by each call. To wrap it takes a
    millisecond, which made tests of many small turns five times as long.
    """

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.FunctionDef):
            super().generic_visit(node)


with (
    patch.object(_import_hook, "JaxtypingTransformer", OutermostFunctions),
    install_import_hook("emlib", "beartype.beartype"),
):
    import emlib
    import emlib.figures  # noqa: F401

import equations  # noqa: E402  (book/_ext is on the path only now)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Keep small products from waking threads, which takes longer."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def shape_checks(request):
    """Check no shapes in tests of so many turns that it is most of them."""
    config.update(
        "jaxtyping_disable",
        request.node.get_closest_marker("many_turns") is not None,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share out all the tests; those of named files stay in one process."""
    option = config.option
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    asked = getattr(option, "numprocesses", 0) is not None
    alone = option.usepdb or option.trace or option.collectonly
    if whole and not (asked or alone or hasattr(config, "workerinput")):
        option.numprocesses = PROCESSES


@cache
def needs_keras(path: Path) -> bool:
    return bool(KERAS.search(path.read_text(encoding="utf-8")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of Keras together; refuse marks that name no equation."""
    written = equations.labels()
    for item in items:
        if needs_keras(item.path):
            item.add_marker(pytest.mark.xdist_group("keras"))
        for mark in item.iter_markers("equation"):
            if mark.args[0] not in written:
                raise pytest.UsageError(
                    f"{item.nodeid}: the mark {mark.args[0]!r} names no "
                    "equation of the book; labels are eq-<chapter>-<name>."
                )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Count a skipped test of an equation as failed: it checked nothing."""
    report = yield
    if report.skipped and item.get_closest_marker("equation"):
        report.outcome = "failed"
        report.longrepr = "the test of an equation may not be skipped"
    return report
