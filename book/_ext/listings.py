"""A listing is the file as it is, but for the rest of its docstrings."""

from __future__ import annotations

import ast
from textwrap import dedent

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralInclude


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


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("literalinclude", Listing, override=True)
    return {"parallel_read_safe": True}
