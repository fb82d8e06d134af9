"""Shapes are checked while the tests run, and so is the equation ledger."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
mpl.use("svg")

with install_import_hook("emlib", "beartype.beartype"):
    import emlib
    import emlib.figures  # noqa: F401

import equations  # noqa: E402  (book/_ext is on the path only now)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Keep small products from waking threads, which takes longer."""
    with threadpool_limits(1):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark that names no equation of the book."""
    written = equations.labels()
    for item in items:
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
