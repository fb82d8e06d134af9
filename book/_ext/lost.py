"""The page for addresses that do not exist: a search, and all pages."""

from __future__ import annotations

from html import escape
from typing import Any

import mistakes
from chapters import reading_order, title_of
from sphinx.application import Sphinx

LOST = """\
<h1>There is no page here</h1>
<p>The address may be mistyped, or the page may have another name now.
The book itself is whole: search it, or choose a page.</p>
<form class="lost-search pst-js-only" role="search"
action="{root}search.html">
<label for="lost-words">Search the book</label>
<input type="search" id="lost-words" name="q">
<button type="submit">Search</button>
</form>
<h2>Contents</h2>
<ul class="lost-contents">
{contents}
</ul>
<p>If a link of this book led you here, please
<a href="{root}{mistakes}.html?page={mistaken}">report the mistake</a>.</p>
"""


def body(root: str, titles: dict[str, str]) -> str:
    """Return what stands on the page for addresses that do not exist."""
    contents = "\n".join(
        f'<li><a href="{root}{page}.html">{escape(title)}</a></li>'
        for page, title in titles.items()
    )
    return LOST.format(
        root=root, contents=contents, mistakes=mistakes.PAGE, mistaken="404"
    )


def fill(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    tree: Any,
) -> None:
    if page == app.config.notfound_pagename:
        titles = {p: title_of(app, p) for p in reading_order(app)}
        root = app.config.notfound_urls_prefix.rstrip("/") + "/"
        context["title"] = "There is no page here"
        context["body"] = body(root, titles)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", fill)
    return {"parallel_read_safe": True}
