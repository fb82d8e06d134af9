"""The map of the chapters, on the first page: a link a box.

It is drawn of what `chapters` says that each of them needs.
"""

from __future__ import annotations

import textwrap
from html import escape
from typing import NamedTuple

from chapters import NEEDS, all_needs, title_of
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


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


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-map", ChapterMap)
    app.connect("doctree-resolved", draw_map)
    return {"parallel_read_safe": True}
