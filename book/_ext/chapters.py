"""What the book knows of its chapters: needs, titles and order.

`NEEDS` is the one place that says which chapter rests on which; the map on
the first page and the line under each title are made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NEEDS: dict[str, list[str]] = {
    "tools": [],
    "likelihood": [],
    "jensen": ["likelihood"],
    "coins": ["likelihood", "jensen", "tools"],
    "loop": ["jensen", "coins"],
    "bound": ["jensen", "coins", "loop"],
    "speed": ["coins", "loop", "bound"],
    "kmeans": ["loop", "bound"],
    "gaussians": ["bound", "kmeans", "tools"],
    "collapse": ["bound", "gaussians"],
    "starts": ["kmeans", "gaussians"],
    "one_pass": ["loop", "gaussians"],
    "missing": ["bound", "gaussians"],
    "differs": [
        "collapse",
        "starts",
        "one_pass",
        "missing",
    ],
    "votes": ["likelihood"],
    "routing": ["loop", "starts", "votes"],
    "layers": ["routing"],
    "fast": ["layers"],
    "training": ["layers"],
    "verdict": ["coins", "training"],
    "later": ["routing"],
}


def all_needs(chapter: str) -> set[str]:
    """Return what a chapter needs, and what that needs, and so on."""
    direct = NEEDS[chapter]
    return set(direct).union(*map(all_needs, direct))


def title_of(app: Sphinx, page: str) -> str:
    """Return a page's title, with its number if it has one."""
    name = app.env.titles[page].astext()
    number = app.env.toc_secnumbers.get(page, {}).get("")
    return f"{'.'.join(map(str, number))}. {name}" if number else name


def reading_order(app: Sphinx) -> list[str]:
    """Return the pages in the order of the table of contents."""
    found = [app.config.root_doc]
    for page in found:
        found += app.env.toctree_includes.get(page, [])
    return list(dict.fromkeys(found))
