"""Make small broken sites, one fault each, and see the checker name it."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import check_site
import numpy as np
from aiding import AIDED, PATIENCE, operated
from broken_aids import BREAKS, SITE, Break
from check_site import FIRST_VISIT
from faults import View
from processes import PROCESSES, side_by_side
from search import QUERIES

from emlib import figures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Trial = tuple[str, Callable[[Browser], str]]

Tree = Mapping[str, str | bytes | None]

PAGE = "book/page.html"
WAIT = 2000  # milliseconds, for what is broken and never shows
SCRIPTS = Path(__file__).parents[2] / "book/_ext/static"
STYLE = """
body { margin: 0; background: #fff; color: #111; }
html[data-theme=dark] body { background: #111; color: #eee; }
a { color: inherit; }
.katex-mathml { position: absolute; width: 1px; overflow: hidden; }
.onlyprint { display: none; }
.box, .shown { overflow-x: auto; }
.cut { overflow-x: hidden; }
.shown { background-image: linear-gradient(#eee, #eee); }
.long { display: block; width: 2000px; }
.left { margin-left: -50px; }
@media print { .long { width: auto; } form { display: none; } }
"""
THEME = """<script>
document.documentElement.dataset.mode = localStorage.getItem('mode');
document.documentElement.dataset.theme = localStorage.getItem('theme');
</script>"""
VIEWPORT = '<meta name="viewport" content="width=device-width">'
ICON = '<link rel="icon" href="data:,">'
TITLE = "<title>Sound</title>"
HEADING = '<h1 id="sound">Sound</h1>'
BASE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
{TITLE}{ICON}{VIEWPORT}<style>{STYLE}</style>{THEME}</head><body>
<main><article>{HEADING}<p>Text.</p></article></main></body></html>"""
REFRESH = '<meta http-equiv="Refresh" content="0; url=book/page.html" />'
REDIRECT = ICON + REFRESH
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
FORMULA = '<span class="math"><span class="katex">x</span></span>'
LONG = '<b class="long">x</b>'


def display(kind: str, base: str = "") -> str:
    piece = f'<span class="long {base}">x</span>'
    inner = f'<span class="katex-html">{piece}</span>'
    katex = f'<span class="katex long">{inner}</span>'
    return f'<div class="math {kind}" tabindex="0">{katex}</div>'


def table(kind: str) -> str:
    cells = f"<table><tr><td>{LONG}</td></tr></table>"
    return f'<div class="{kind}" tabindex="0">{cells}</div>'


def code(kind: str) -> str:
    pre = f'<pre class="{kind}" tabindex="0">{LONG}</pre>'
    return f'<div class="highlight">{pre}</div>'


def drawing(label: str) -> str:
    shape = f'<svg role="img" {label} width="9" height="9"></svg>'
    return f"<figure>{shape}</figure>"


def image(alt: str, source: str = "dot.svg") -> str:
    return f'<img src="{source}" {alt} width="9" height="9">'


def script(source: str) -> str:
    return f"<script>{source}</script>"


def dots(way: float, at: bool) -> list[figures.Frame]:
    """Return frames of a dot, a line, bars, words and an ellipse."""
    resp = np.array([[way, 1 - way], [1, 0]])
    marks = [
        figures.Mark([way], [way], kind="dots"),
        figures.Mark([0, 1], [way, 1]),
        figures.Mark([0.1, 0.3, 0.9, 0.5], [0.2, 0.1] * 2, kind="bars"),
        figures.Mark([0.5], [0.5], kind="words", label="here"),
        figures.Mark([0.5, 0.6, 0.5], [0.5, 0.5, 0.7], kind="ellipse"),
    ]
    return [
        figures.Frame(
            f"turn {turn}",
            f"At {turn} of {way}.",
            marks[: 3 + turn],
            turn / 2 if at else None,
            resp,
        )
        for turn in range(3)
    ]


def moved(
    words: str = "",
    others: str = "",
    *,
    outside: float = 0,
    at: bool = True,
) -> str:
    """Return figures that work, or whose script has other words."""
    script = (SCRIPTS / "interactive.js").read_text(encoding="utf-8")
    assert words in script
    options = {
        "still": [figures.Mark([0.2, 0.8], [0.5, 0.5], kind="points")],
        "xlim": (outside, outside + 1),
        "ylim": (0, 1),
        "labels": ("across", "up"),
        "slider": "turn",
        "alt": "A dot that moves along a line.",
    }
    ways = figures.Choice("way", ["low", "middle", "high"])
    many = [frame for way in (0, 0.5, 1) for frame in dots(way, at)]
    shown = [
        figures.frames("plain", dots(0.25, at), **options),
        figures.frames("chosen", many, choices=[ways], **options),
    ]
    return (
        "".join(figure.html for figure in shown)
        + "<style>.interactive svg { width: 100%; height: auto }"
        "@media print { .control, .choices { display: none } }</style>"
        + f"<script>{script.replace(words, others)}</script>"
    )


def keys(name: str) -> str:
    """Return a script that keeps a key from what has the focus."""
    kept = f"event.key === '{name}' && event.preventDefault()"
    return f"<script>addEventListener('keydown', event => {kept})</script>"


@dataclass
class Case:
    """One fault: `body` joins the article, or `swap` changes the page."""

    rule: str
    what: str
    body: str = ""
    swap: tuple[str, str] = ("</html>", "</html>")
    files: Tree = field(default_factory=dict)
    page: str = PAGE
    walked: str = ""
    also: str = ""

    @property
    def tree(self) -> Tree:
        page = BASE.replace("</article>", self.body + "</article>")
        return {
            "index.html": REDIRECT,
            "404.html": BASE,
            "book/page.html": BASE,
            "book/dot.svg": DOT,
            "book/a_grey_dot.svg": DOT,
            self.page: page.replace(*self.swap),
            **self.files,
        }


STATIC = [
    Case("link", "a gone.html: no such file", "<a href='gone.html'>x</a>"),
    Case("link", "a #gone: no element", "<a href='#gone'>x</a>"),
    Case("link", "element of 404.html", "<a href='../404.html#no'>x</a>"),
    Case("link", "img gone.svg", image('alt="A dot in grey"', "gone.svg")),
    Case("link", "script gone.js", "<script src='gone.js'></script>"),
    Case(
        "link", "link gone.css", "<link rel='stylesheet' href='gone.css'>"
    ),
    Case("link", "an absolute path", "<a href='/index.html'>x</a>"),
    Case("link", "leaves the site", "<a href='../../x.html'>x</a>"),
    Case("link", "refresh book", files={PAGE: None}, walked="index.html"),
    Case("link", "a relative path", "<a href='x'>x</a>", page="404.html"),
    Case("link", "id", "<a href='/404.html#gone'>x</a>", page="404.html"),
    Case("outside", "https", "<script src='https://a.org/'></script>"),
    Case("outside", "link", "<link rel='preconnect' href='//a.org'>"),
    Case("alt", "no alt text", image("")),
    Case("alt", "or more: ''", image("alt")),
    Case("alt", "or more: 'Figure 1'", image('alt="Figure 1"')),
    Case(
        "alt", "'A grey dot'", image('alt="A grey dot"', "a_grey_dot.svg")
    ),
    Case("alt", "name: 'See", image('alt="See the dot.svg here"')),
    Case("alt", "name: 'in", image('alt="in _images/dots/grey now"')),
    Case("alt", "in TeX", image(r'alt="the graph of \theta"')),
    Case("alt", "svg is not described", drawing("")),
    Case("alt", "or more: 'A figure'", drawing('aria-label="A figure"')),
    Case("size", "img dot.svg", "<img src='dot.svg' alt='A grey dot'>"),
    Case("size", "svg", "<p><svg width='9'></svg></p>"),
    Case("id", "'sound' stands 2 times", "<p id='sound'>x</p>"),
    Case("title", "no title", swap=(TITLE, "")),
    Case("title", "2 h1 elements", "<h1>Again</h1>"),
    Case("title", "0 h1 elements", swap=(HEADING, "")),
    Case("title", "no lang", swap=(' lang="en"', "")),
    Case("icon", "no link rel=icon", swap=(ICON, "")),
    Case(
        "404", "no 404.html", FORMULA, files={"404.html": None}, walked="*"
    ),
    Case("formula", "no formula on any page", walked="*"),
]
OUTSIDE = script("new Image().src = 'http://a.org'")
SOCKET = script("new WebSocket('ws://a.org')")
NOISE = random.Random(0).randbytes(1_000_000)
SEARCH = script(
    f"const pages = {json.dumps(QUERIES)};"
    """
    const query = new URLSearchParams(location.search).get('q') || '';
    const found = pages[query] || 'book/page.html';
    document.querySelector('#search-results').innerHTML =
      `<ul><li><a href="${found}">${found}</a></li></ul>`;
    """
)
BELOW = {"EMLIB_SITE_PREFIX": "/x/"}
RESULTS = "<div id='search-results'></div>"
FORM = (
    "<form action='../search.html'><label>Search <input name='q'>"
    "</label></form>"
)
JUMP = script(
    "requestAnimationFrame(() => requestAnimationFrame(() =>"
    " document.querySelector('h1').style.marginTop = '400px'))"
)


def searched(script: str) -> dict[str, str]:
    """Return a page of results, and the pages that they lead to."""
    found = BASE.replace("</article>", RESULTS + script + "</article>")
    pages = dict.fromkeys(QUERIES.values(), BASE)
    return SITE | pages | {AIDED: SITE[AIDED], "search.html": found}


LOADING = [
    Case("outside", "http://a.org/", OUTSIDE),
    Case("outside", "ws://a.org/", SOCKET, also="console"),
    Case("console", "oh dear", script("console.error('oh dear')")),
    Case("console", "uncaught oh dear", script("throw Error('oh dear')")),
    Case(
        "console", "uncaught late", script("Promise.reject(Error('late'))")
    ),
    Case("request", "404 for book/gone", script("fetch('gone')")),
    Case(
        "weight",
        "kB gzipped",
        script("fetch('x')"),
        files={"book/x": NOISE},
    ),
    Case(
        "weight",
        "250 kB gzipped after book/page.html",
        script("fetch('x')"),
        files={"book/x": NOISE[:250_000]},
        page="book/other.html",
        walked="book/*",
    ),
    Case("shift", "of 0.05, most of it ", JUMP),
    Case("search", "no book/speed.html", walked="*", also="formula"),
    Case(
        "search",
        "SQUAREM leads to book/page.html: no book/speed.html",
        FORM,
        files=searched(SEARCH.replace("SQUAREM", "Squarem")),
        walked="*",
    ),
    Case(
        "request",
        "404 for no/such/a.js",
        script("fetch('a.js')"),
        files={"a.js": ""},
        page="404.html",
    ),
    Case(
        "image",
        "no.svg does not load",
        image('alt="A dot in grey"', "no.svg"),
        files={"book/no.svg": "no picture"},
    ),
]
TEXT = "output.textContent = frame.text"
FROM_FILE = [
    Case("outside", "http://a.org/", OUTSIDE),
    Case("outside", "file:///x.js", "<script src='/x.js'></script>"),
    Case("request", "NOT_FOUND", "<script src='gone.js'></script>"),
    Case(
        "interactive", "plain: at 'turn 1' of [] it says", moved(TEXT, "")
    ),
]
WITHOUT_SCRIPTS = [
    Case("formula", "not rendered: x", "<span class='math'>x</span>"),
    Case(
        "formula", "not visible: x", f"<p style='opacity: 0'>{FORMULA}</p>"
    ),
    Case("formula", "KaTeX error: bad", "<b class='katex-error'>bad</b>"),
    Case("formula", "MathML shows", "<i class='katex-mathml long'>x</i>"),
    Case("main", "no main", swap=("<main><article>", "<div>")),
    Case("main", "hidden", swap=("<main>", "<main style='opacity: 0'>")),
]
RAW = [
    Case("raw", text, f"<p>{text.replace('<', '&lt;')}</p>")
    for text in [
        r"\frac{1}{2}",
        r"\begin{align}",
        r"\sum_i",
        "$$x$$",
        r"\(x\)",
        r"\[x\]",
        "$x_1$",
        ":label: one",
        "{eq}`one`",
        "{numref}",
        "{glue}`x`",
        "```{note}",
        ":::{note}",
        "<matplotlib.axes",
        "Traceback (most recent call last)",
    ]
]
OUTPUT = "<div class='cell_output'><pre>&lt;Figure size 1x1></pre></div>"
INK = "background: #fff; color: #111;"
LOOKS = [
    *RAW,
    Case("raw", "<Figure size 1x1>", OUTPUT),
    Case("theme", "data-theme undefined", swap=(THEME, "")),
    Case(
        "theme", "luminance", swap=(INK, "background: #111; color: #fff;")
    ),
    Case("contrast", "2.8 < 4.5", swap=(INK, "color: #999;"), also="axe"),
    Case(
        "figure",
        "is not visible",
        drawing("aria-label='A dot in grey' style='height: 0'"),
    ),
    Case(
        "sideways",
        "2000 px wide in 1280 px; widest: b.long",
        LONG,
        also="wide",
    ),
    Case(
        "sideways",
        "article.box",
        LONG,
        swap=("<article>", "<article class='box'>"),
    ),
]


def beside(style: str, inner: str = "") -> str:
    return (
        f"<div class='beside' style='{style}'><p>One</p>"
        f"<p style='{inner}'>Two</p></div>"
    )


WIDER = "<style>@media screen and (min-width: 1900px) {{ {} }}</style>"
TOC = (
    "<nav class='bd-sidebar-secondary' style='margin-left: 500px'>At</nav>"
)
# What is amiss only where a screen is wider than 1280 pixels.
WIDE = [
    Case(
        "wide",
        "2500 px in 1920 px",
        WIDER.format("i { display: block; width: 2500px; }") + "<i>x</i>",
    ),
    Case(
        "wide",
        "off the screen: OneTwo",
        WIDER.format(".beside { width: 2500px; }")
        + f"<div style='overflow: hidden'>{beside('')}</div>",
    ),
    Case("wide", "covers its equation", beside("", "margin-top: -3em")),
    Case("wide", "reaches under nav", beside("") + TOC, also="print"),
]
PAPER = [
    Case("print", "button is a control", "<button>Press</button>"),
    Case("print", "div.control", "<div class='control'>Pull</div>"),
    Case("print", "beside", "<div class='bd-sidebar-primary'>Parts</div>"),
    Case("print", "wider than paper", "<p style='width: 900px'>Long</p>"),
    Case(
        "print",
        "is cut off: Long",
        "<div style='overflow: auto'><p style='width: 900px'>Long</p>"
        "</div>",
    ),
]
PALE = "style='color: #999'"
FORMULAE = "<span class='katex'><span class='katex-html'>x</span></span>"
ACCESS = [
    Case(
        "axe", "label: input", "<input style='height: 30px'>", also="print"
    ),
    Case("axe", "color-contrast: code", f"<code {PALE}>pale</code>"),
    Case("axe", "color-contrast", f"<b {PALE}>{FORMULAE}</b>"),
    Case(
        "axe",
        "color-contrast: span",
        "<div class='highlight'><pre>one <i class='k'>two</i> "
        f"<i class='k'>two</i> <span class='n' {PALE}>three</span> "
        f"<span class='n' {PALE}>four</span></pre></div>",
    ),
    Case(
        "axe",
        "color-contrast: code",
        "<p style='background-image: linear-gradient(#fff, #fff)'>"
        f"<code {PALE}>pale</code></p>",
    ),
    Case(
        "axe",
        "scrollable-region-focusable",
        display("shown").replace(" tabindex", " data-x"),
    ),
    Case(
        "axe",
        "region: #apart",
        swap=("<main>", "<p id='apart'>x</p><main>"),
    ),
]
NAME = '"aria-valuetext", frame.name'
MOVING = [
    Case(
        "interactive", "plain: at 'turn 1' of [] it says", moved(TEXT, "")
    ),
    Case(
        "interactive",
        "chosen: at 'turn 1' of [1] it says",
        moved("way * choice.length + choice.selectedIndex", "way"),
    ),
    Case(
        "interactive",
        "slider is read as 'x'",
        moved(NAME, NAME[:17] + " 'x'"),
    ),
    Case(
        "interactive",
        "3 marks are drawn, not 4",
        moved("...frame.marks", "...frame.marks.slice(1)"),
    ),
    Case(
        "interactive",
        "a line has no place",
        moved("points: points.join", 'points: "NaN,0" + points.join'),
        also="console",
    ),
    Case(
        "interactive",
        "a dot is not where its values are",
        moved("place(data.x, left, right", "place(data.x, left, right - 5"),
    ),
    Case("interactive", "a dot lies outside", moved(outside=2)),
    Case(
        "interactive",
        "an ellipse does not pass",
        moved("(one - centre) * Math.cos", "(one - centre) * Math.sin"),
    ),
    Case(
        "interactive",
        "a bar is not where its values are",
        moved("x: Math.min(x, far)", "x"),
    ),
    Case("interactive", "keys lead to", moved() + keys("ArrowRight")),
    Case("interactive", "keys lead to", moved() + keys("End")),
    Case("interactive", "do not choose [2]", moved() + keys("ArrowDown")),
    Case(
        "interactive",
        "a pointer at 260 picks the place",
        moved("across(frame.at) - spot.x", "across(frame.at) + spot.x"),
    ),
    Case(
        "interactive",
        "a pointer does not move the slider",
        moved() + "<style>input { pointer-events: none }</style>",
    ),
    Case(
        "interactive",
        "no slider",
        moved("part.hidden = false", "part.hidden = true"),
    ),
    Case(
        "interactive",
        "not each point has responsibilities",
        moved("show();\n  };", "show(); tinted[0].remove();\n  };"),
    ),
]
IN_DARK = [
    Case("theme", "luminance 1.00 is not dark", swap=("theme=dark", "x=y")),
    Case(
        "contrast",
        "1.0 < 4.5",
        swap=("color: #eee", "color: #111"),
        also="axe",
    ),
    Case("axe", "color-contrast", "<b style='color: #444'>dark</b>"),
]
ON_PHONE = [
    Case("sideways", "px wide in 375 px", swap=(VIEWPORT, "")),
    Case("sideways", "b#w", "<b id='w' style='padding-left: 400px'>x</b>"),
    Case("scroll", "formula outgrows", display("cut")),
    Case(
        "scroll", "does not open at its left end", display("shown", "left")
    ),
    Case("scroll", "table outgrows", table("cut")),
    Case("scroll", "code outgrows", code("cut")),
    Case("hint", "nothing shows", display("box")),
    Case("shift", "of 0.05, most of it ", JUMP),
]
BROWSED = {
    FIRST_VISIT: LOADING + LOOKS + WIDE + PAPER + ACCESS + MOVING,
    View("http", scheme="dark"): IN_DARK,
    View("http", "phone"): ON_PHONE,
    View("file"): FROM_FILE,
    View("no-js"): WITHOUT_SCRIPTS,
}
SOUND = Case(
    "",
    "",
    "".join(
        [
            r"<code>\frac{1}{2} $$</code> <a href='#sound'>up</a>",
            "<a href='https://example.org/'>out</a> <a href='#'>x</a>",
            "<a href='../index.html'>in</a>",
            r"<span class='katex'><annotation>\sum_i</annotation></span>",
            f"<details><summary>More</summary>{FORMULA}</details>",
            "<div class='onlyprint'><h1>In print</h1></div>",
            image('alt="A dot in grey"'),
            drawing('aria-label="Two coins and a die"'),
            display("shown"),
            table("box"),
            code("box"),
            beside(""),
            moved(),
            FORM,
        ]
    ),
    swap=("<main>", f"<header>{image('alt')}</header><main>"),
    files={"_static/x.html": "not walked", **searched(SEARCH)},
)


def planted(root: Path, tree: Tree) -> Path:
    for name, body in tree.items():
        if body is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                body.encode() if isinstance(body, str) else body
            )
    return root


def verdict(case: Case, faults: list[check_site.Fault]) -> str:
    """Say what is amiss with the faults found, or nothing."""
    named = any(f.rule == case.rule and case.what in f.what for f in faults)
    rules = {fault.rule for fault in faults} - {case.rule, case.also}
    return "" if named and not rules else f"found {[*map(str, faults)]}"


def static_trials() -> Iterator[Trial]:
    for case in STATIC:
        name = f"static: {case.rule}: {case.what}"
        yield name, partial(static_problem, case)


def static_problem(case: Case, browser: Browser) -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = planted(Path(folder), case.tree)
        site = check_site.Site(root, case.walked or case.page)
        return verdict(case, check_site.static_faults(site))


def browsed_trials() -> Iterator[Trial]:
    for view, cases in BROWSED.items():
        for case in cases:
            name = f"{', '.join(view)}: {case.rule}: {case.what}"
            yield name, partial(browsed_problem, case, view)


def browsed_problem(case: Case, view: View, browser: Browser) -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = planted(Path(folder).resolve(), case.tree)
        with check_site.served(root) as base:
            site = check_site.Site(root, case.walked or case.page)
            walk = check_site.Walk(site, browser, base)
            walk.run(site.pages, [view])
            if view == FIRST_VISIT:
                walk.seen.weigh_again(site.home)
                walk.search()
    return verdict(case, walk.seen.faults)


def aid_trials() -> Iterator[Trial]:
    for broken in BREAKS:
        name = f"{', '.join(broken.view)}: aid: {broken.what}"
        yield name, partial(aid_problem, broken)


def aid_problem(broken: Break, browser: Browser) -> str:
    """Wait a moment for what never shows, and longer where it is slow."""
    for wait in (WAIT, PATIENCE):
        said = aids_said(browser, broken, wait)
        if any(broken.what in what for what in said):
            return ""
    return f"found {said}"


def aids_said(browser: Browser, broken: Break, wait: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = planted(Path(folder).resolve(), broken.tree)
        with check_site.served(root) as base:
            site = check_site.Site(root)
            own = (
                f"{root.as_uri()}/" if broken.view.mode == "file" else base
            )
            walk = check_site.Walk(site, browser, base)
            with walk.opened(broken.view) as context:
                tab = context.new_page()
                found = operated(
                    broken.check,
                    tab,
                    own + broken.path,
                    site.soups,
                    broken.page,
                    wait,
                )
                return [finding.what for finding in found]


def command(*arguments: str | Path, **settings: str) -> tuple[int, str]:
    environment = os.environ | {"CI": ""} | settings
    checker = [sys.executable, check_site.__file__, *arguments]
    done = subprocess.run(
        checker,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def judged(done: tuple[int, str], code: int, pattern: str) -> str:
    sound = done[0] == code and re.search(pattern, done[1], re.M)
    return "" if sound else f"exit {done[0]}: {done[1]}"


def sound_problem(browser: Browser) -> str:
    line = (
        r"^site: 9 pages, 58 views, 0 faults; largest page \S+ \d+ kB "
        r"gzipped, \d+ kB after another; 0 outside requests; "
        r"0 console errors$"
    )
    wanted = {
        f"book-page-{scheme}-{width}.png"
        for scheme in ("light", "dark")
        for width in ("desktop", "phone")
    }
    with tempfile.TemporaryDirectory() as folder:
        root = planted(Path(folder) / "sound", SOUND.tree)
        pictures = Path(folder) / "pictures"
        done = command(root, "--screenshots", pictures)
        missing = wanted - {path.name for path in pictures.glob("*.png")}
    unseen = ", ".join(sorted(missing))
    return judged(done, 0, line) or (unseen and f"no {unseen}")


def command_problem(
    arguments: tuple[str, ...],
    settings: dict[str, str],
    code: int,
    pattern: str,
    browser: Browser,
) -> str:
    case = Case("", "", "<h1>x</h1>" + LONG)
    with tempfile.TemporaryDirectory() as folder:
        planted(Path(folder) / "sound", SOUND.tree)
        planted(Path(folder) / "faulty", case.tree)
        lost = SOUND.tree["404.html"].replace('"/', '"/x/')
        planted(Path(folder) / "below", SOUND.tree | {"404.html": lost})
        site, *others = arguments
        done = command(Path(folder) / site, *others, **settings)
    return judged(done, code, pattern)


def command_trials() -> Iterator[Trial]:
    yield "command: a sound site passes, and its pictures", sound_problem
    bare = {"CHROMIUM": "no-such-browser"}
    line = (
        r"^book/page.html \(http, phone, dark\): sideways: html is 2000 px"
    )
    for name, arguments, settings, code, pattern in [
        ("a faulty site fails", ("faulty",), {}, 1, line),
        ("a site below its host", ("below",), BELOW, 0, "; 0 outside"),
        ("links to the host", ("sound",), BELOW, 1, "not below /x/$"),
        ("no folder", ("absent",), {}, 2, "run `make book`"),
        ("no such page", ("sound", "--page", "x"), {}, 2, "is named x"),
        ("no browser", ("sound",), bare, 0, "were skipped$"),
        ("no browser, a fault", ("faulty",), bare, 1, "2 h1"),
        ("no browser in CI", ("sound",), bare | {"CI": "1"}, 1, "package"),
    ]:
        told = (arguments, settings, code, pattern)
        yield f"command: {name}", partial(command_problem, *told)


def trials(words: str) -> list[Trial]:
    """Return what is to be tried: of each its name, and how."""
    every = [
        *command_trials(),
        *static_trials(),
        *browsed_trials(),
        *aid_trials(),
    ]
    return [trial for trial in every if words in trial[0]]


def failures(executable: str, part: list[Trial]) -> int:
    """Try a part of them all, and say of each how it ended."""
    failed = 0
    with check_site.launched(executable) as browser:
        for name, problem_of in part:
            problem = problem_of(browser)
            print("FAILED" if problem else "ok", name, problem, flush=True)
            failed += bool(problem)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "words",
        nargs="?",
        default="",
        help="only what has them in its name",
    )
    every = trials(parser.parse_args().words)
    if not every:
        parser.error("nothing has these words in its name")
    executable = check_site.find_chromium()
    if not executable:
        print("no Chromium found: install the Debian package chromium")
        return 1
    parts = [every[first::PROCESSES] for first in range(PROCESSES)]
    failed = sum(side_by_side(partial(failures, executable), parts))
    print(f"{len(every) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
