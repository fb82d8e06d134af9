"""What a search engine and a message say of a page; and their picture."""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path
from textwrap import shorten
from typing import Any

import matplotlib as mpl
from docutils import nodes
from sphinx.application import Sphinx

from emlib import figures

TAG = re.compile(r"<[^>]*>")
LONGEST = 200  # characters


def promise(tree: Any) -> str:
    """Return what a page says it is for, in plain words."""
    if tree is None:
        return ""
    for kind in (nodes.block_quote, nodes.paragraph):
        for node in tree.findall(kind):
            words = " ".join(node.astext().split())
            return shorten(words, LONGEST, placeholder=" …")
    return ""


def describe(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    tree: Any,
) -> None:
    """Write a page's description, for search results and messages."""
    words = promise(tree)
    title = unescape(TAG.sub("", context.get("title", "")))
    tags = {"og:title": title, "og:type": "article"}
    if words:
        tags["og:description"] = words
    if app.config.html_baseurl:
        root = app.config.html_baseurl.rstrip("/")
        tags["og:url"] = f"{root}/{page}.html"
        tags["og:image"] = f"{root}/_static/card.png"
        tags["twitter:card"] = "summary_large_image"
    lines = [
        f'<meta property="{name}" content="{escape(value)}">'
        for name, value in tags.items()
    ]
    if words:
        lines.append(f'<meta name="description" content="{escape(words)}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


def draw_card(app: Sphinx, exception: Exception | None) -> None:
    """Draw the picture that stands beside a link to the book."""
    if exception is not None or app.builder.format != "html":
        return
    with mpl.rc_context():
        figure, axes = figures.canvas(6.0, 3.15)
        figures.loop_diagram(axes)
        figure.suptitle(app.config.html_title, size=20)
        figure.get_layout_engine().set(w_pad=0.2, h_pad=0.3)  # inches
        path = Path(app.outdir, "_static", "card.png")
        figure.savefig(path, dpi=200, facecolor="white", transparent=False)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", describe, priority=850)
    app.connect("build-finished", draw_card)
    return {"parallel_read_safe": True}
