"""How a page is read: its time and needs, the loop's box, Chinese words."""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

from chapters import NEEDS
from docutils import nodes
from sphinx.application import Sphinx

WORDS_A_MINUTE = 220
LINES_A_MINUTE = 20
UNREAD = (nodes.literal_block, nodes.math, nodes.math_block, nodes.raw)
ABOUT_THE_LOOP = re.compile(
    r"(What changed in the loop\?|In the loop nothing has changed"
    r"|Nothing in the loop has changed|The loop has not changed"
    r"|There is no loop yet)"
)


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


def box_changes(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Mark the bullet of a chapter's end that speaks of the loop."""
    for item in tree.findall(nodes.list_item):
        if ABOUT_THE_LOOP.match(item.astext()):
            item["classes"].append("about-the-loop")


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


def setup(app: Sphinx) -> dict[str, bool]:
    # Words are counted as the page has them, before all else.
    app.connect("doctree-resolved", say_load)
    app.connect("doctree-resolved", box_changes)
    app.connect("doctree-resolved", name_language)
    return {"parallel_read_safe": True}
