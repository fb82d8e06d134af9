"""The ledger: every labelled equation has a test, every mark an equation.

The one source of truth is the pages and the tests themselves: `labels`
reads the former, `checks` the latter. The build and the tests both ask
`faults`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.builders import Builder
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[2]
LABEL = re.compile(r"^:label: (eq-[a-z0-9_-]+)\s*$", re.MULTILINE)
PAGE = "book/equations"
MARKER = "<!-- every equation and its test -->"


class Check(NamedTuple):
    """A test that carries the mark of an equation."""

    file: str
    name: str


def order() -> list[str]:
    """Return the pages in the order of the table of contents."""
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"(?:root|file): (\S+)", toc)


def labels() -> dict[str, str]:
    """Return the page of each labelled equation, in reading order."""
    found: dict[str, str] = {}
    for page in order():
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
        found |= dict.fromkeys(LABEL.findall(text), page)
    return found


def marks(function: ast.FunctionDef) -> list[str]:
    """Return the equations that a test's decorators name."""
    return [
        ast.literal_eval(mark.args[0])
        for mark in function.decorator_list
        if isinstance(mark, ast.Call)
        and ast.unparse(mark.func) == "pytest.mark.equation"
    ]


def checks() -> dict[str, list[Check]]:
    """Return the tests of each equation that some test names."""
    found: dict[str, list[Check]] = {}
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for label in marks(node):
                    file = path.relative_to(ROOT).as_posix()
                    check = Check(file, node.name)
                    found.setdefault(label, []).append(check)
    return found


def faults() -> list[str]:
    """Return what is missing: labels without test, marks without label."""
    written, tested = labels(), checks()
    return [
        f'{written[label]}.md: equation "{label}" has no test; mark one '
        f'with @pytest.mark.equation("{label}")'
        for label in written
        if label not in tested
    ] + [
        f'{tested[label][0].file}: the mark "{label}" of '
        f"{tested[label][0].name} names no equation of the book"
        for label in tested
        if label not in written
    ]


def title(page: str) -> str:
    """Return a page's heading."""
    text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def formula(page: str, label: str) -> str:
    """Return the TeX of a labelled equation."""
    text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    return text.split(f":label: {label}\n")[1].split("```")[0].strip()


def spoken(check: Check) -> str:
    """Return what a test says by its name."""
    words = check.name.removeprefix("test_").replace("_", " ")
    return f"{words[0].upper()}{words[1:]} (`{check.file}`)."


def entry(
    page: str, label: str, found: list[Check], shown: dict[Check, str]
) -> str:
    """Return, in MyST, an equation and its tests, each shown once."""
    tests = []
    for check in found:
        if check in shown:
            place = f"{{ref}}`shown above <check-{shown[check]}>`"
            text = f"{spoken(check)[:-1]}, {place}.\n"
        else:
            text = (
                f"```{{literalinclude}} /{check.file}\n:pyobject: "
                f"{check.name}\n:caption: {spoken(check)}\n"
                ":language: text\n```\n"  # in colours, a fifth heavier
            )
        tests.append(text)
        shown.setdefault(check, label)
    return (
        f"(check-{label})=\nEquation {{eq}}`{label}`:\n\n"
        f"$$\n{formula(page, label)}\n$$\n\n" + "\n".join(tests)
    )


def listing() -> str:
    """Return, in MyST, each page's equations and the tests of each."""
    written, tested, lines = labels(), checks(), []
    shown: dict[Check, str] = {}
    for page in order():
        here = [label for label, where in written.items() if where == page]
        lines += [f"## {title(page)}\n"] if here else []
        lines += [entry(page, e, tested.get(e, []), shown) for e in here]
    return "\n".join(lines)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = source[0].replace(MARKER, listing())


def report(app: Sphinx, env: BuildEnvironment) -> None:
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    for fault in faults():
        logger.warning(fault)
    known = set(env.get_domain("math").equations)
    for label in known ^ set(labels()):
        logger.warning(
            'equation "%s" must be labelled eq-..., by a line '
            '":label: ..." of a page',
            label,
        )


def check_link(builder: Builder, node: nodes.math_block) -> str:
    """Return the small link from an equation's number to its tests."""
    from docutils.nodes import make_id  # the tests do without docutils

    if PAGE not in builder.env.found_docs:
        return ""
    page = builder.get_relative_uri(builder.current_docname, PAGE)
    place = make_id("check-" + node["label"])
    return (
        f'<a class="check" href="{page}#{place}" '
        'title="The test that checks this equation">test</a>'
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    app.connect("env-check-consistency", report)
    app.connect(
        "env-get-outdated",
        lambda app, env, *_: [PAGE] * (PAGE in env.found_docs),
    )
    return {"parallel_read_safe": True}
