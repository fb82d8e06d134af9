"""Formulas are rendered by KaTeX while the book is built, without node.

A page then needs no script to show its mathematics, and TeX that KaTeX
cannot read is a warning, which ends the build.
"""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from pathlib import Path

from docutils import nodes
from equations import check_link
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

MARKS = re.compile(r"[,.;:!?)]*")
# A row of fractions, and what keeps the next row off it.
TALL = re.compile(r"\\frac|\\sum_|\\binom")
STRUT = r"\rule[-1.4em]{0pt}{0pt} \\"
KATEX = Path(__file__).parent / "katex"
logger = logging.getLogger(__name__)


@cache
def engine() -> MiniRacer:
    racer = MiniRacer()
    racer.eval((KATEX / "katex.min.js").read_text(encoding="utf-8"))
    return racer


@cache
def rendered(tex: str, display: bool) -> str:
    options = {
        "displayMode": display,
        "throwOnError": True,
        "strict": "error",
        "macros": {r"\arraystretch": "1.3"},
    }
    call = f"katex.renderToString({json.dumps(tex)}, {json.dumps(options)})"
    return str(engine().eval(call))


def spaced(tex: str) -> str:
    """Return the formula with room between rows that hold fractions."""
    *rows, last = re.split(r"(?<=\\\\)\n", tex)
    return "\n".join(
        [
            STRUT.join(row.rsplit("\\\\", 1)) if TALL.search(row) else row
            for row in rows
        ]
        + [last]
    )


def html_of(node: nodes.math | nodes.math_block, display: bool) -> str:
    tex = node.astext().strip()
    if display and "aligned" in tex:
        tex = spaced(tex)
    try:
        return rendered(tex, display)
    except JSEvalException as fault:
        reason = str(fault).splitlines()[0]
        logger.warning(
            "TeX that KaTeX cannot read: %s", reason, location=node
        )
        return f"<code>{escape(tex)}</code>"


def keep_marks(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Give each formula the punctuation after it, to stay on its line."""
    for node in list(tree.findall(nodes.math)):
        siblings = node.parent
        place = siblings.index(node) + 1
        if place < len(siblings) and isinstance(
            siblings[place], nodes.Text
        ):
            text = str(siblings[place])
            node["mark"] = MARKS.match(text)[0]
            siblings[place] = nodes.Text(text[len(node["mark"]) :])


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    formula = f'<span class="math">{html_of(node, False)}</span>'
    mark = node.get("mark")
    if mark:
        formula = f'<span class="unbroken">{formula}{mark}</span>'
    self.body.append(formula)
    raise nodes.SkipNode


def visit_display(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="equation"))
    self.body.append(f'<div class="math">{html_of(node, True)}</div>')
    if node["number"]:
        number = escape(get_node_equation_number(self, node))
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append(check_link(self.builder, node))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer(
        "katex", (visit_math, None), (visit_display, None)
    )
    app.connect("doctree-resolved", keep_marks)
    app.add_css_file("katex.min.css")
    return {"parallel_read_safe": True, "parallel_write_safe": False}
