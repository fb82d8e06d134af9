"""The page for reporting mistakes: where to write, and of which edition."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sphinx.application import Sphinx

import emlib

ROOT = Path(__file__).parents[2]
PAGE = "book/mistakes"


def commit() -> str:
    """Return the commit that the book is built from, or ""."""
    found = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def edition() -> str:
    """Return the version of the book, with its commit if that is known."""
    known = commit()
    return f"{emlib.__version__}" + (f", commit {known}" if known else "")


def where(repository: str) -> str:
    """Return, in MyST, where a mistake is to be reported."""
    if not repository:
        return (
            "Open an issue where you had the book from: on the site that "
            "holds its source, or with whoever gave you the files."
        )
    issues = f"{repository.rstrip('/')}/issues"
    return (
        f"Open an issue at <{issues}>; first look whether the mistake is "
        "known there."
    )


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    if page == PAGE:
        options = app.config.html_theme_options
        source[0] = (
            source[0]
            .replace("<!-- where -->", where(options["repository_url"]))
            .replace("EDITION", edition())
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    app.connect(
        "env-get-outdated",
        lambda app, env, *_: [PAGE] * (PAGE in env.found_docs),
    )
    return {"parallel_read_safe": True}
