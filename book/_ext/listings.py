"""A listing is the file as it is, but for the rest of its docstrings.

One that computes the equation before it stands with it in a box `beside`,
which the style sheet lays out in two columns where a screen is wide.
"""

from __future__ import annotations

import ast
from textwrap import dedent

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralInclude
from sphinx.transforms import SphinxTransform


def docstrings(tree: ast.Module) -> list[ast.Expr]:
    """Return the docstring statements, the last one first."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    owners = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    found = [node.body[0] for node in owners if ast.get_docstring(node)]
    return sorted(found, key=lambda statement: -statement.lineno)


def shortened(source: str) -> str:
    """Return the source with each docstring cut to its first line."""
    lines = dedent(source).splitlines()
    for statement in docstrings(ast.parse("\n".join(lines))):
        first, last = statement.lineno - 1, statement.end_lineno
        opening = lines[first].rstrip().removesuffix('"""')
        if opening.endswith(('r"', '""')):
            opening = lines[first]
        lines[first:last] = [opening.rstrip() + '"""']
    return "\n".join(lines)


class Listing(LiteralInclude):
    """The same directive, with `shortened` applied to Python objects."""

    def run(self) -> list[nodes.Node]:
        found = super().run()
        if "pyobject" in self.options:
            for node in found:
                for block in node.findall(nodes.literal_block):
                    text = shortened(block.astext())
                    block.rawsource, block.children = text, []
                    block += nodes.Text(text)
        return found


def equation_of(listing: nodes.Element) -> list[nodes.Node]:
    """Return the equation that a listing names and follows, or nothing.

    With it comes what leads to it: its target, and a sentence between.
    """
    before = listing.parent[: listing.parent.index(listing)]
    names = {
        node.get("reftarget") for node in listing.findall(pending_xref)
    }
    kinds = [nodes.paragraph, nodes.math_block, nodes.target]
    found: list[nodes.Node] = []
    for kind in kinds:
        if before and isinstance(before[-1], kind):
            found.insert(0, before.pop())
    labels = {
        n.get("label") for n in found if isinstance(n, nodes.math_block)
    }
    return found if labels & names else []


class Beside(SphinxTransform):
    """Put a listing and the equation that it computes into one box."""

    default_priority = 500

    def apply(self) -> None:
        for listing in [*self.document.findall(nodes.container)]:
            if not listing.get("literal_block"):
                continue
            if not isinstance(listing.parent, nodes.section):
                continue
            pair(listing, equation_of(listing))


def pair(listing: nodes.container, said: list[nodes.Node]) -> None:
    """Box the listing with what is said before it, if there is any."""
    if not said:
        return
    box = nodes.container("", classes=["beside"])
    section = listing.parent
    section.insert(section.index(listing), box)
    for node in [*said, listing]:
        section.remove(node)
    box += nodes.container("", *said, classes=["said"])
    box += listing


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("literalinclude", Listing, override=True)
    app.add_transform(Beside)
    return {"parallel_read_safe": True}
