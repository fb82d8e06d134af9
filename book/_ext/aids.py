"""Aids for reading: what a chapter needs, its length, where to write.

`NEEDS` is the one place that says which chapter rests on which; the map on
the first page and the line under each title are made of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

import emlib

ROOT = Path(__file__).parents[2]
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
WORDS_A_MINUTE = 220
LINES_A_MINUTE = 20
UNREAD = (nodes.literal_block, nodes.math, nodes.math_block, nodes.raw)
ABOUT_THE_LOOP = re.compile(
    r"(What changed in the loop\?|In the loop nothing has changed"
    r"|Nothing in the loop has changed|The loop has not changed"
    r"|There is no loop yet)"
)
MISTAKES = "book/mistakes"


# --- which chapter needs which ----------------------------------------


def all_needs(chapter: str) -> set[str]:
    """Return what a chapter needs, and what that needs, and so on."""
    direct = NEEDS[chapter]
    return set(direct).union(*map(all_needs, direct))


def arrows() -> list[tuple[str, str]]:
    """Return (needed, chapter) of each need that no other one implies."""
    return [
        (needed, chapter)
        for chapter, direct in NEEDS.items()
        for needed in direct
        if not any(needed in all_needs(other) for other in direct)
    ]


def depth(chapter: str) -> int:
    """Return the length of the longest way to a chapter."""
    return max((depth(needed) + 1 for needed in NEEDS[chapter]), default=0)


def row(chapter: str) -> int:
    """Return a chapter's row; without needs, above its first use."""
    users = [depth(user) for user in NEEDS if chapter in NEEDS[user]]
    return depth(chapter) if NEEDS[chapter] else min(users, default=1) - 1


def rows() -> list[list[str]]:
    """Return the chapters of the map, row by row."""
    found: dict[int, list[str]] = {}
    for chapter in NEEDS:
        found.setdefault(row(chapter), []).append(chapter)
    return [found[place] for place in sorted(found)]


class Box(NamedTuple):
    """Where a chapter stands on the map."""

    x: float
    y: float
    width: float
    lines: list[str]


WIDTH, HEIGHT, STEP = 344, 42, 66
LANE = WIDTH + 8  # where arrows pass chapters that they do not concern


def boxes(titles: dict[str, str]) -> dict[str, Box]:
    """Return each chapter's place, in a drawing as wide as a phone."""
    found = {}
    for line, chapters in enumerate(rows()):
        slot = WIDTH / len(chapters)
        width = min(slot - 4, 150)
        for place, chapter in enumerate(chapters):
            lines = textwrap.wrap(
                titles[chapter], int(width / 6.8), break_long_words=False
            )
            x = (place + 0.5) * slot - width / 2
            found[chapter] = Box(x, line * STEP + 3, width, lines)
    return found


def arrow(start: Box, end: Box) -> str:
    """Return the curve from a chapter to one that needs it."""
    x, y = start.x + start.width / 2, start.y + HEIGHT
    across, down = end.x + end.width / 2, end.y - 3
    middle = (y + down) / 2
    way = f"C{x:g} {middle:g} {across:g} {middle:g} "
    if end.y - start.y > STEP:  # past other chapters: beside them
        way = (
            f"C{x:g} {y + 20:g} {LANE} {y + 2:g} {LANE} {y + 22:g}"
            f"V{down - 20:g}"
            f"C{LANE} {down - 4:g} {across:g} {down - 20:g} "
        )
    return (
        f'<path d="M{x:g} {y:g}{way}{across:g} {down:g}" '
        'marker-end="url(#map-tip)"/>'
    )


def node(box: Box, link: str) -> str:
    """Return a chapter's box, which is a link."""
    middle = box.x + box.width / 2
    first = box.y + HEIGHT / 2 - 7.5 * (len(box.lines) - 1) + 4
    words = "".join(
        f'<tspan x="{middle:g}" y="{first + 15 * i:g}">{escape(line)} '
        "</tspan>"
        for i, line in enumerate(box.lines)
    )
    return (
        f'<a href="{escape(link)}"><rect x="{box.x:g}" y="{box.y:g}" '
        f'width="{box.width:g}" height="{HEIGHT}" rx="5"/>'
        f"<text>{words}</text></a>"
    )


def in_words(titles: dict[str, str]) -> str:
    """Return the map as sentences, for those who do not see it."""
    return " ".join(
        f"{titles[chapter]} needs "
        f"{', '.join(titles[n] for n in needed) or 'no other chapter'}."
        for chapter, needed in NEEDS.items()
    )


def drawing(titles: dict[str, str], links: dict[str, str]) -> str:
    """Return the map as a figure of the page."""
    places = boxes(titles)
    lines = "".join(arrow(places[a], places[b]) for a, b in arrows())
    names = "".join(node(places[c], links[c]) for c in NEEDS)
    tall = len(rows()) * STEP - (STEP - HEIGHT) + 6
    return (
        '<figure class="chapter-map"><svg '
        f'viewBox="-16 0 {WIDTH + 32} {tall}" '
        'role="group" aria-labelledby="map-title" '
        'aria-describedby="map-words">'
        '<title id="map-title">Map of the chapters: an arrow leads from '
        "each to those that need it</title>"
        f'<desc id="map-words">{escape(in_words(titles))}</desc>'
        '<defs><marker id="map-tip" viewBox="0 0 8 8" refX="5" refY="4" '
        'markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
        f'<g class="ways">{lines}</g>{names}</svg>'
        "<figcaption>An arrow leads from a chapter to those that need it; "
        "each box is a link.</figcaption></figure>"
    )


class ChapterMap(SphinxDirective):
    """The place of the map; it is drawn when all titles are known."""

    def run(self) -> list[nodes.Node]:
        return [nodes.container(classes=["map-place"])]


def title_of(app: Sphinx, page: str) -> str:
    """Return a page's title, with its number if it has one."""
    name = app.env.titles[page].astext()
    number = app.env.toc_secnumbers.get(page, {}).get("")
    return f"{'.'.join(map(str, number))}. {name}" if number else name


def draw_map(app: Sphinx, tree: nodes.document, page: str) -> None:
    for place in list(tree.findall(nodes.container)):
        if "map-place" in place["classes"]:
            found = {c: f"book/{c}" for c in NEEDS}
            known = {c: p in app.env.titles for c, p in found.items()}
            titles = {
                c: title_of(app, p) if known[c] else c
                for c, p in found.items()
            }
            links = {
                c: app.builder.get_relative_uri(page, p)
                if known[c]
                else "#"
                for c, p in found.items()
            }
            picture = drawing(titles, links)
            place.replace_self(nodes.raw("", picture, format="html"))


# --- under the title --------------------------------------------------


class Load(NamedTuple):
    """What there is to read on a page."""

    words: int
    lines: int
    listings: int
    exercises: int


def is_hidden(text: nodes.Node) -> bool:
    """Say whether a text is no prose, or of a folded or printed output."""
    while text.parent is not None:
        text = text.parent
        classes = " ".join(text.get("classes", []))
        if isinstance(text, UNREAD) or "cell_output" in classes:
            return not isinstance(text.parent, nodes.caption)
        if "hide-input" in classes or "remove-input" in classes:
            return True
    return False


def load(tree: nodes.document) -> Load:
    """Count a page's words, lines of code, listings and exercises."""
    words = sum(
        len(text.split())
        for text in tree.findall(nodes.Text)
        if not is_hidden(text)
    )
    blocks = [
        block
        for block in tree.findall(nodes.literal_block)
        if not is_hidden(block)
    ]
    lines = sum(len(block.astext().splitlines()) for block in blocks)
    exercises = sum(
        "exercise" in part.get("classes", [])
        for part in tree.findall(nodes.Element)
    )
    return Load(words, lines, len(blocks), exercises)


def minutes(found: Load) -> int:
    """Return how long reading takes, without pencil and exercises."""
    exact = found.words / WORDS_A_MINUTE + found.lines / LINES_A_MINUTE
    return max(1, round(exact))


def counted(number: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def time_line(found: Load) -> str:
    """Return the sentence about the time that a page takes."""
    exercises = counted(found.exercises, "exercise")
    also = f", and {exercises} besides" if found.exercises else ""
    time = counted(minutes(found), "minute")
    return f"Reading time: {time}, code included{also}."


def needs_line(
    app: Sphinx, page: str, needed: list[str]
) -> nodes.paragraph:
    """Return the line that links to what a chapter needs."""
    line = nodes.paragraph("", "You need: ", classes=["about-chapter"])
    known = [n for n in needed if f"book/{n}" in app.env.titles]
    for place, chapter in enumerate(known):
        other = f"book/{chapter}"
        line += nodes.Text(", " if place else "")
        line += nodes.reference(
            "",
            app.env.titles[other].astext(),
            refuri=app.builder.get_relative_uri(page, other),
            internal=True,
        )
    line += nodes.Text("." if known else "no other chapter.")
    return line


def say_load(app: Sphinx, tree: nodes.document, page: str) -> None:
    needed = NEEDS.get(page.removeprefix("book/"))
    title = next(tree.findall(nodes.title), None)
    if needed is None or title is None:
        return
    time = time_line(load(tree))
    section = title.parent
    place = section.index(title) + 1
    section.insert(
        place,
        [
            nodes.paragraph("", time, classes=["about-chapter"]),
            needs_line(app, page, needed),
        ],
    )


# --- what changed in the loop -----------------------------------------


def box_changes(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Mark the bullet of a chapter's end that speaks of the loop."""
    for item in tree.findall(nodes.list_item):
        if ABOUT_THE_LOOP.match(item.astext()):
            item["classes"].append("about-the-loop")


# --- the language of a word ---------------------------------------------


def name_language(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Say of Chinese terms that they are Chinese, for fonts and voices."""
    for term in list(tree.findall(nodes.emphasis)):
        before, found, words = term.astext().partition("Chinese: ")
        if found and not before:
            text = f'<span lang="zh-Hans">{escape(words)}</span>'
            term.children = [
                nodes.Text(found),
                nodes.raw("", text, format="html"),
            ]


# --- mistakes, and pages that are not there ---------------------------


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


def fill_mistakes(app: Sphinx, page: str, source: list[str]) -> None:
    if page == MISTAKES:
        options = app.config.html_theme_options
        source[0] = (
            source[0]
            .replace("<!-- where -->", where(options["repository_url"]))
            .replace("EDITION", edition())
        )


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


def lost(root: str, titles: dict[str, str]) -> str:
    """Return what stands on the page for addresses that do not exist."""
    contents = "\n".join(
        f'<li><a href="{root}{page}.html">{escape(title)}</a></li>'
        for page, title in titles.items()
    )
    return LOST.format(
        root=root, contents=contents, mistakes=MISTAKES, mistaken="404"
    )


def reading_order(app: Sphinx) -> list[str]:
    """Return the pages in the order of the table of contents."""
    found = [app.config.root_doc]
    for page in found:
        found += app.env.toctree_includes.get(page, [])
    return list(dict.fromkeys(found))


def fill_lost(
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
        context["body"] = lost(root, titles)


def furnish(app: Sphinx, config: Config) -> None:
    """Give each page its key to the notation and its link for mistakes."""
    config.html_theme_options |= {
        "article_header_end": [
            "notation-key.html",
            "article-header-buttons.html",
        ],
        "footer_content_items": [
            "mistake.html",
            "author.html",
            "copyright.html",
            "last-updated.html",
            "extra-footer.html",
        ],
    }
    repository = os.environ.get("EMLIB_REPOSITORY")
    config.html_theme_options.setdefault("repository_url", repository or "")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-map", ChapterMap)
    app.add_css_file("aids.css", priority=902)
    app.add_js_file("aids.js", loading_method="defer")
    app.connect("config-inited", furnish, priority=800)
    app.connect("source-read", fill_mistakes)
    app.connect(
        "env-get-outdated",
        lambda app, env, *_: [MISTAKES] * (MISTAKES in env.found_docs),
    )
    app.connect("doctree-resolved", say_load)
    app.connect("doctree-resolved", draw_map)
    app.connect("doctree-resolved", box_changes)
    app.connect("doctree-resolved", name_language)
    app.connect("html-page-context", fill_lost)
    return {"parallel_read_safe": True}
