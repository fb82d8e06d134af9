"""The book keeps its promises: the code shown is the code that runs."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import re
from itertools import pairwise
from pathlib import Path

import equations
import formulas
import listings
import pages
import pictures
import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx.addnodes import pending_xref

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT / "book").with_suffix("").as_posix(): path
    for folder in ("book", "book/solutions")
    for path in sorted(ROOT.glob(f"{folder}/*.md"))
}
TEXTS = {
    page: path.read_text(encoding="utf-8") for page, path in PAGES.items()
}
SOLVED = [  # chapters with exercises, in the order of their solutions
    page.removeprefix("book/solutions/")
    for page in equations.order()
    if page.startswith("book/solutions/") and not page.endswith("/index")
]
SHOWN = [
    "loop",
    "bound",
    "models.coins",
    "models.kmeans",
    "models.covariances.definite",
    "models.covariances.full",
    "models.covariances.tied",
    "models.covariances.diag",
    "models.covariances.spherical",
    "models.gaussians",
    "models.missing",
    "one_pass.families",
    "one_pass.coins",
    "one_pass.kmeans",
    "starts",
    "speed",
    "capsules.windows",
    "capsules.votes",
    "capsules.routing.router",
    "capsules.routing.em",
    "capsules.routing.costs",
    "capsules.routing.sums",
    "capsules.losses",
]
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.DOTALL | re.M)
HEADER = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.M)
LISTING = re.compile(
    r"^```\{literalinclude\} /emlib/([\w/]+)\.py\n:pyobject: ([\w.]+)", re.M
)


def cells(text):
    """Return the code of a page's cells, without their options."""
    return [HEADER.sub("", cell) for cell in CELL.findall(text)]


def code_cells():
    return [
        pytest.param(cell, id=f"{page}-{number}")
        for page, text in TEXTS.items()
        for number, cell in enumerate(cells(text), start=1)
    ]


def listed():
    """Return (module, object) of every listing in the book."""
    return [pair for page in TEXTS for pair in listed_on(page)]


def listed_on(page):
    """Return (module, object) of every listing of a page."""
    return [
        (path.replace("/", "."), name)
        for path, name in LISTING.findall(TEXTS[page])
    ]


def public_objects(module):
    """Return what must be shown: functions, result types, model methods.

    Exceptions stand in the reference only.
    """
    home = importlib.import_module(f"emlib.{module}")
    names = []
    for name in home.__all__:
        thing = getattr(home, name)
        if inspect.isclass(thing) and issubclass(thing, Exception):
            continue
        methods = [
            f"{name}.{method}"
            for method, value in vars(thing).items()
            if inspect.isfunction(value) and not method.startswith("_")
        ]
        names += methods if name == "Model" and module != "loop" else [name]
    return names


def test_every_equation_has_a_test_and_every_mark_an_equation():
    assert equations.faults() == []


def test_the_ledger_and_pytest_see_the_same_marks(request):
    seen = {
        (item.path.name, mark.args[0])
        for item in request.session.items
        for mark in item.iter_markers("equation")
    }
    files = {item.path.name for item in request.session.items}
    read = {
        (Path(check.file).name, label)
        for label, found in equations.checks().items()
        for check in found
        if Path(check.file).name in files
    }
    assert seen == read


def test_a_missing_test_and_a_stray_mark_are_faults(monkeypatch):
    check = equations.Check("tests/test_x.py", "test_x")
    monkeypatch.setattr(equations, "labels", lambda: {"eq-a": "book/x"})
    monkeypatch.setattr(equations, "checks", lambda: {"eq-b": [check]})
    assert len(equations.faults()) == 2
    monkeypatch.setattr(equations, "checks", lambda: {"eq-a": [check]})
    assert equations.faults() == []


@pytest.mark.parametrize("module", SHOWN)
def test_every_public_function_is_shown_exactly_once(module):
    found = [name for home, name in listed() if home == module]
    assert len(found) == len(set(found))
    wanted = public_objects(module)
    # A class too long for one listing is shown method by method.
    whole = {n if n in wanted else n.split(".")[0] for n in found}
    assert whole == set(wanted)


@pytest.mark.parametrize(("module", "name"), listed())
def test_a_listing_fits_on_a_screen(module, name):
    path = ROOT / f"emlib/{module.replace('.', '/')}.py"
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    for part in name.split("."):
        (node,) = (n for n in body if getattr(n, "name", None) == part)
        body = getattr(node, "body", [])
    text = listings.shortened(
        ast.get_source_segment(source, node, padded=True)
    )
    docstrings = len(listings.docstrings(ast.parse(text)))
    blank = sum(not line.strip() for line in text.splitlines())
    assert len(text.splitlines()) - docstrings - blank <= 20


def test_a_listing_is_the_file_but_for_the_rest_of_docstrings():
    source = (
        'def f(x):\n    r"""First.\n\n    More.\n    """\n    return x\n'
    )
    shown = 'def f(x):\n    r"""First."""\n    return x'
    assert listings.shortened(source) == shown
    one = 'class A:\n    """Only."""\n\n    y: int  # (n,)'
    assert listings.shortened(one) == one


@pytest.mark.parametrize("cell", code_cells())
def test_a_cell_is_short_and_shadows_nothing(cell):
    assert len(cell.strip().splitlines()) <= 12
    assert max(map(len, cell.splitlines())) <= 76
    assert not re.search(r"^[!%]|filterwarnings|simplefilter", cell, re.M)
    taken = {name for m in SHOWN for name in public_objects(m)} - {"Model"}
    defined = set()
    for node in ast.walk(ast.parse(cell)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    methods = {name.split(".")[-1] for name in taken if "." in name}
    assert not defined & (taken - methods)


@pytest.mark.parametrize("page", TEXTS)
def test_cells_have_a_sentence_between_them(page):
    ends = [m.span() for m in CELL.finditer(TEXTS[page])]
    for (_, end), (start, _) in pairwise(ends):
        assert TEXTS[page][end:start].strip()


@pytest.mark.parametrize("page", TEXTS)
def test_every_exercise_has_a_solution_and_a_link_to_it(page):
    solutions = TEXTS.get(f"solutions/{page}", "")
    for name in re.findall(r"^:label: ex-([\w-]+)$", TEXTS[page], re.M):
        folded = f"{{solution-start}} ex-{name}\n:class: dropdown\n"
        assert f"(sol-{name})=\n```{folded}" in solutions
        assert f"{{ref}}`Solution <sol-{name}>`" in TEXTS[page]


@pytest.mark.parametrize("page", SOLVED)
def test_a_page_of_solutions_has_those_of_its_chapter_in_their_order(page):
    asked = re.findall(r"^:label: ex-([\w-]+)$", TEXTS[page], re.M)
    solutions = TEXTS[f"solutions/{page}"]
    assert re.findall(r"^\(sol-([\w-]+)\)=$", solutions, re.M) == asked


def test_solutions_stand_in_the_order_of_their_chapters():
    pages = [page.removeprefix("book/") for page in equations.order()]
    assert sorted(SOLVED, key=pages.index) == SOLVED


@pytest.mark.parametrize("page", SOLVED)
def test_solutions_wait_for_keras_only_where_their_chapter_does(page):
    slow = re.compile(r"^(import|from) (keras|emlib\.capsules)\b", re.M)
    if slow.search(TEXTS[f"solutions/{page}"]):
        assert slow.search(TEXTS[page])


def test_a_glued_number_has_one_page():
    named = re.compile(r'^ *glue\((f?"[^"]+")', re.M)
    names = [
        name for text in TEXTS.values() for name in {*named.findall(text)}
    ]
    assert len(names) > 100
    assert len(names) == len(set(names))


def package_names():
    """Return every name that the package defines, takes or carries."""
    names = set()
    for path in ROOT.glob("emlib/**/*.py"):
        names.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            if isinstance(node, ast.arg):
                names.add(node.arg)
            if isinstance(node, ast.AnnAssign):
                names.add(ast.unparse(node.target))
    return names


def test_every_code_name_of_the_notation_exists():
    tables = [li for li in TEXTS["notation"].splitlines() if li[:1] == "|"]
    words = set(re.findall(r"`([a-z_]\w+|[A-Z]\w+)`", "\n".join(tables)))
    assert len(words) > 15
    assert words <= package_names()


def test_equation_labels_named_by_docstrings_exist():
    written = equations.labels()
    for path in ROOT.glob("emlib/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for label in re.findall(r"`(eq-[\w-]+)`", text):
            assert label in written, f"{path.name} names {label}"


@pytest.mark.parametrize(
    ("alt", "good"),
    [
        ("A falling straight line.", True),
        ("", False),
        ("figure", False),
        ("plots/a figure here.svg", False),
        ("two words", False),
    ],
)
def test_alt_text_must_be_in_words(alt, good):
    assert bool(pictures.is_worded(alt)) is good


def test_no_text_tells_a_user_to_install_another_project():
    wrong = "pip install " + "emlib"
    for text in TEXTS.values():
        assert wrong not in text
    for pattern in ("*.md", "emlib/**/*.py", "Makefile"):
        for path in ROOT.glob(pattern):
            assert wrong not in path.read_text(encoding="utf-8"), path.name


def test_every_page_is_in_the_table_of_contents():
    assert sorted(equations.order()) == sorted(f"book/{p}" for p in PAGES)


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        ("-9.7969", "−9.7969"),
        ("4.2e-07", "4.2 × 10<sup>−7</sup>"),
        ("-3e+10", "−3 × 10<sup>10</sup>"),
        ("1e-100", "1 × 10<sup>−100</sup>"),
        ("13 of 20", "13 of 20"),
        ("the e-step", "the e-step"),
        ("2018-2020, x-1", "2018-2020, x-1"),
        ("-1 to -2e-07", "−1 to −2 × 10<sup>−7</sup>"),
    ],
)
def test_numbers_of_cells_are_set_as_those_of_formulas(printed, wanted):
    text = '<p>-1</p><span class="pasted-text">{}</span> and 1e-5'
    found = pages.GLUED.sub(pages.printed, text.format(printed))
    assert found == text.format(wanted)


def test_a_row_of_fractions_keeps_the_next_one_off():
    rows = [r"a &= \frac12 b && \text{one} \\", "  &= c", r"  && d \\", "e"]
    tex = "\n".join([r"\begin{aligned}", *rows, r"\end{aligned}"])
    found = formulas.spaced(tex)
    assert found.count(formulas.STRUT) == 1
    assert found.replace(formulas.STRUT, r"\\") == tex
    tall = [formulas.rendered(text, display=True) for text in (tex, found)]
    heights = [
        float(re.search(r'strut" style="height:([\d.]+)em', text)[1])
        for text in tall
    ]
    assert heights[1] > heights[0] + 0.1


def test_no_rule_hangs_the_whole_page_on_what_is_in_it():
    """`body:has(...)`: at every change all styles are computed again."""
    for path in (ROOT / "book" / "_ext" / "static").glob("*.css"):
        rules = path.read_text(encoding="utf-8")
        whole = r"(?<![\w.-])(:root|html|body)(\[[^]]*\])*:has\("
        assert not re.search(whole, rules)


def test_a_stacked_table_names_the_column_in_each_cell():
    cells = "<td><p>1</p></td>\n<td><p>a &lt; b</p></td>"
    table = (
        '<table class="stacked table">\n<thead><tr><th>No.</th>'
        f"<th><p>What <em>is</em></p></th></tr></thead><tbody><tr>{cells}"
        "</tr></tbody></table>"
    )
    found = pages.STACKED.sub(pages.headed, f"<p>{table}</p>{table}")
    heads = re.findall(r'<td data-head="([^"]*)">', found)
    assert heads == ["No.", "What is"] * 2
    assert (
        re.sub(' data-head="[^"]*"', "", found) == f"<p>{table}</p>{table}"
    )
    plain = table.replace("stacked ", "")
    assert pages.STACKED.sub(pages.headed, plain) == plain


def page_of(*parts):
    """Return a section of these nodes, and put listings beside."""
    document = new_document("page")
    section = nodes.section("", *parts)
    document += section
    listings.Beside(document).apply()
    return section


def listing_of(label):
    """Return a listing whose caption names an equation."""
    caption = nodes.caption("", "", pending_xref("", reftarget=label))
    names = {"ids": ["lst-a"], "classes": ["literal-block-wrapper"]}
    return nodes.container("", caption, literal_block=True, **names)


def equation_of(label):
    return [nodes.target(), nodes.math_block("x", "x", label=label)]


@pytest.mark.parametrize("said", [[], [nodes.paragraph("", "so")]])
def test_a_listing_stands_beside_the_equation_that_it_names(said):
    said, text = copy.deepcopy(said), nodes.paragraph("", "before")
    listing, parts = listing_of("eq-a"), [*equation_of("eq-a"), *said]
    section = page_of(text, *parts, listing)
    assert section.children[0] is text
    (box,) = section.children[1:]
    assert (box["classes"], box["ids"]) == (["beside"], [])
    assert box.children[0].children == parts
    assert box.children[1] is listing


@pytest.mark.parametrize(
    "parts",
    [
        [*equation_of("eq-a"), listing_of("eq-b")],
        [*equation_of(None), listing_of("eq-a")],
        [*equation_of("eq-a"), nodes.note(), listing_of("eq-a")],
        [nodes.paragraph("", "so"), listing_of("eq-a")],
        [*equation_of("eq-a"), nodes.note("", listing_of("eq-a"))],
        [
            *equation_of("eq-a"),
            *[nodes.paragraph("", "so"), nodes.paragraph("", "and so")],
            listing_of("eq-a"),
        ],
        [listing_of("eq-a")],
    ],
)
def test_other_listings_stay_where_they_are(parts):
    assert page_of(*parts).children == parts
