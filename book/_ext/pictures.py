"""Vector figures stand in the page itself and take its colours.

The house colours of `emlib.figures` become CSS variables, so one drawing
serves the light and the dark page; a picture without words for those who do
not see it is a warning, which ends the build.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from emlib import figures

logger = logging.getLogger(__name__)
ROOT_TAG = re.compile(r"<svg [^>]*viewBox=\"([^\"]+)\"[^>]*>")
USED = re.compile(r"<use [^>]*>")
SPOT = re.compile(r' ([xy])="([^"]*)"')
PLACES = re.compile(r' (d|x|y|points|transform)="([^"]*)"')
LONG = re.compile(r"-?\d+\.\d{3,}")
NAMES = re.compile(r"(\bid=\"|href=\"#|url\(#)")


def is_worded(alt: str) -> bool:
    """Say whether a text describes a picture, rather than name a file."""
    named = re.search(r"\.(svg|png|jpe?g|gif)$|[/\\]", alt.strip())
    return len(alt.split()) >= 3 and not named


def require_alt(app: Sphinx, tree: nodes.document) -> None:
    for node in tree.findall(nodes.image):
        if not is_worded(node.get("alt", "")):
            logger.warning(
                "a picture needs alt text in words (three or more); got %r",
                node.get("alt", ""),
                location=node,
            )


def shortened(places: re.Match[str]) -> str:
    """Return a drawing's places to a hundredth of a point, but no scale."""
    name, values = places.groups()
    if "scale" in values or "matrix" in values:
        return places[0]
    values = LONG.sub(lambda number: f"{float(number[0]):.2f}", values)
    return f' {name}="{values}"'


def spotted(use: re.Match[str]) -> str:
    """Return a repeated mark, its place to a tenth of a point."""
    return SPOT.sub(
        lambda spot: f' {spot[1]}="{float(spot[2]):.1f}"', use[0]
    )


def inlined(svg: str, alt: str, prefix: str) -> str:
    """Return the drawing as an element of the page, in its colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r">\s+<", "><", svg)
    svg = USED.sub(spotted, PLACES.sub(shortened, svg))
    svg = NAMES.sub(rf"\g<1>{prefix}-", svg)
    for colour in figures.CSS_VARIABLES:
        svg = svg.replace(colour, figures.css(colour))
    width = float(ROOT_TAG.search(svg)[1].split()[2]) / 72
    tag = (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="\\1" '
        f'style="width:{width:g}in;--natural:{width:g}in" class="figure">'
    )
    return ROOT_TAG.sub(tag, svg, count=1)


def visit_image(self: HTML5Translator, node: nodes.image) -> None:
    path = Path(self.builder.srcdir, node["uri"])
    if path.suffix != ".svg" or "matplotlib" not in path.read_text()[:2000]:
        return HTML5Translator.visit_image(self, node)
    count = self.pictures = getattr(self, "pictures", 0) + 1
    drawing = inlined(
        path.read_text(), node.get("alt", ""), f"picture-{count}"
    )
    self.body.append(f'<div class="picture">{drawing}</div>\n')


def depart_image(self: HTML5Translator, node: nodes.image) -> None:
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", require_alt)
    app.add_node(
        nodes.image, override=True, html=(visit_image, depart_image)
    )
    return {"parallel_read_safe": True}
