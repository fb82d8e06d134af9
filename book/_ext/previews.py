"""What a link shows under the pointer is in the page, also from disk.

`aids.js` clones targets of the same page. What stands on another page is
written here, when the build ends, into a `<template>` of the page that
links to it: only what its own links need, without ids and without links.
The tables of notation, which every page may ask for, are one script file.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

LIMIT = 100_000  # characters; what a page would need beyond is left out
LINK = re.compile(r'<a class="reference internal" href="([^"#]+)#([^"]+)"')
OPENING = r'<(div|figure|dt|section)\b(?=[^>]*\sid="{}")[^>]*>'
SHOWN = re.compile(
    r'\sclass="(?:[^"]*\s)?'
    r'(?:equation|literal-block-wrapper|exercise|proof|citation)[\s"]'
)
DROPPED = ".headerlink, .check, .backrefs, annotation, svg, script, button"
OLD = re.compile(r'<template id="previews">.*?</template>\n', re.DOTALL)
ITSELF = "equations.html"  # shows the formulas that its links lead to
SECTIONS = ("axes", "symbols", "objects")


def element(page: str, name: str) -> str:
    """Return the element with this id, cut out of a page's HTML, or ""."""
    opening = re.search(OPENING.format(re.escape(name)), page)
    if not opening:
        return ""
    depth = 0
    for tag in re.finditer(
        rf"<(/?){opening[1]}\b", page[opening.start() :]
    ):
        depth += -1 if tag[1] else 1
        if not depth:
            end = page.index(">", opening.start() + tag.end()) + 1
            return page[opening.start() : end]
    return ""


def term(page: str, name: str) -> str:
    """Return a glossary term and what is said of it."""
    heading = element(page, name)
    rest = page[page.index(heading) + len(heading) :]
    return heading + rest[: rest.index("</dd>") + len("</dd>")]


def bare(html: str) -> str:
    """Return a fragment without ids, links and permalinks."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.select(DROPPED):
        tag.decompose()
    for link in soup.select("a"):
        link.unwrap()
    for tag in soup.select("[id]"):
        del tag["id"]
    return str(soup)


@cache
def preview(page: str, name: str) -> str:
    """Return what a link to this id shows, or "" where it shows nothing."""
    found = element(page, name)
    if found.startswith("<dt") and name.startswith("term-"):
        return f"<dl>{bare(term(page, name))}</dl>"
    if found.startswith("<figure"):
        return bare("".join(re.findall(r"<figcaption.*", found, re.DOTALL)))
    return bare(found) if SHOWN.search(found.partition(">")[0]) else ""


def wanted(page: str) -> Iterator[tuple[str, str]]:
    """Yield (file, id) of each link to another page, once."""
    yield from dict.fromkeys(
        (unescape(file), unescape(name))
        for file, name in LINK.findall(page)
    )


def seen_from(name: str, pages: dict[str, str]) -> dict[str, str]:
    """Return the pages under the addresses that a page's links give."""
    here = posixpath.dirname(name)
    return {
        posixpath.relpath(other, here or "."): page
        for other, page in pages.items()
    }


def template(page: str, others: dict[str, str]) -> str:
    """Return the previews that a page needs, as one element."""
    cards, size = [], 0
    for file, name in wanted(page):
        card = preview(others.get(file, ""), name)
        size += len(card)
        if card and size <= LIMIT:
            cards.append(f'<div data-of="{file}#{name}">{card}</div>')
    return f'<template id="previews">{"".join(cards)}</template>\n'


def notation(page: str) -> str:
    """Return the script that hands over the tables of notation."""
    tables = "".join(bare(element(page, name)) for name in SECTIONS)
    event = f'new CustomEvent("notation", {{detail: {json.dumps(tables)}}})'
    return f"document.dispatchEvent({event});\n"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Add the previews to the pages of the book."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir, "book")
    pages = {
        path.relative_to(folder).as_posix(): OLD.sub(
            "", path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.rglob("*.html"))
    }
    for name, page in pages.items():
        if name == ITSELF:
            continue
        body, end, rest = page.rpartition("</body>")
        added = body + template(page, seen_from(name, pages)) + end + rest
        (folder / name).write_text(added, encoding="utf-8")
    if "notation.html" in pages:
        Path(app.outdir, "_static", "notation.js").write_text(
            notation(pages["notation.html"]), encoding="utf-8"
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
