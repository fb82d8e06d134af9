"""Make small broken sites, one fault each, and see the checker name it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import check_site
from check_site import FIRST_VISIT, View

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Tree = Mapping[str, str | bytes | None]

PAGE = "book/page.html"
STYLE = """
body { margin: 0; background: #fff; color: #111; }
html[data-theme=dark] body { background: #111; color: #eee; }
.katex-mathml { position: absolute; width: 1px; overflow: hidden; }
.onlyprint { display: none; }
.box, .shown { overflow-x: auto; }
.cut { overflow-x: hidden; }
.shown { background-image: linear-gradient(#eee, #eee); }
.long { display: block; width: 2000px; }
.left { margin-left: -50px; }
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
    return f'<div class="math {kind}">{katex}</div>'


def table(kind: str) -> str:
    cells = f"<table><tr><td>{LONG}</td></tr></table>"
    return f'<div class="{kind}">{cells}</div>'


def code(kind: str) -> str:
    return f'<div class="highlight"><pre class="{kind}">{LONG}</pre></div>'


def drawing(label: str) -> str:
    shape = f'<svg role="img" {label} width="9" height="9"></svg>'
    return f"<figure>{shape}</figure>"


def image(alt: str, source: str = "dot.svg") -> str:
    return f'<img src="{source}" {alt}>'


def script(source: str) -> str:
    return f"<script>{source}</script>"


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
        "request",
        "404 for no/such/a.js",
        script("fetch('a.js')"),
        files={"a.js": ""},
        page="404.html",
    ),
    Case(
        "image",
        "no.svg does not load",
        image("", "no.svg"),
        files={"book/no.svg": "no picture"},
    ),
]
FROM_FILE = [
    Case("outside", "http://a.org/", OUTSIDE),
    Case("outside", "file:///x.js", "<script src='/x.js'></script>"),
    Case("request", "NOT_FOUND", "<script src='gone.js'></script>"),
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
    Case("contrast", "2.8 < 4.5", swap=(INK, "color: #999;")),
    Case("figure", "is not visible", drawing("style='height: 0'")),
    Case("sideways", "2000 px wide in 1280 px; widest: b.long", LONG),
    Case(
        "sideways",
        "article.box",
        LONG,
        swap=("<article>", "<article class='box'>"),
    ),
]
IN_DARK = [
    Case("theme", "luminance 1.00 is not dark", swap=("theme=dark", "x=y")),
    Case("contrast", "1.0 < 4.5", swap=("color: #eee", "color: #111")),
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
]
BROWSED = {
    FIRST_VISIT: LOADING + LOOKS,
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
        ]
    ),
    swap=("<main>", f"<header>{image('alt')}</header><main>"),
    files={"_static/x.html": "not walked"},
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


def static_results() -> Iterator[tuple[str, str]]:
    for case in STATIC:
        with tempfile.TemporaryDirectory() as folder:
            root = planted(Path(folder), case.tree)
            site = check_site.Site(root, case.walked or case.page)
            faults = check_site.static_faults(site)
        yield f"static: {case.rule}: {case.what}", verdict(case, faults)


def browsed_results(browser: Browser) -> Iterator[tuple[str, str]]:
    for view, cases in BROWSED.items():
        for case in cases:
            faults = browsed_faults(browser, case, view)
            name = f"{', '.join(view)}: {case.rule}: {case.what}"
            yield name, verdict(case, faults)


def browsed_faults(
    browser: Browser, case: Case, view: View
) -> list[check_site.Fault]:
    with tempfile.TemporaryDirectory() as folder:
        root = planted(Path(folder).resolve(), case.tree)
        with check_site.served(root) as base:
            site = check_site.Site(root, case.page)
            walk = check_site.Walk(site, browser, base)
            walk.run([view])
    return walk.faults


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


def sound_results(folder: Path) -> Iterator[tuple[str, str]]:
    root = planted(folder / "sound", SOUND.tree)
    pictures = folder / "pictures"
    done = command(root, "--screenshots", pictures)
    line = (
        r"^site: 3 pages, 22 views, 0 faults; largest page \S+ \d+ kB "
        r"gzipped; 0 outside requests; 0 console errors$"
    )
    yield "command: a sound site passes", judged(done, 0, line)
    wanted = {
        f"book-page-{scheme}-{width}.png"
        for scheme in ("light", "dark")
        for width in ("desktop", "phone")
    }
    missing = wanted - {path.name for path in pictures.glob("*.png")}
    yield "command: screenshots", ", ".join(missing)


def command_results(folder: Path) -> Iterator[tuple[str, str]]:
    sound = planted(folder / "sound", SOUND.tree)
    case = Case("", "", "<h1>x</h1>" + LONG)
    faulty, absent = (
        planted(folder / "faulty", case.tree),
        folder / "absent",
    )
    bare = {"CHROMIUM": "no-such-browser"}
    line = (
        r"^book/page.html \(http, phone, dark\): sideways: html is 2000 px"
    )
    for name, done, code, pattern in [
        ("a faulty site fails", command(faulty), 1, line),
        ("no folder", command(absent), 2, "run `make book`"),
        ("no such page", command(sound, "--page", "x"), 2, "is named x"),
        ("no browser", command(sound, **bare), 0, "were skipped$"),
        ("no browser, a fault", command(faulty, **bare), 1, "2 h1"),
        ("no browser in CI", command(sound, CI="1", **bare), 1, "package"),
    ]:
        yield f"command: {name}", judged(done, code, pattern)


def results(executable: str) -> Iterator[tuple[str, str]]:
    yield from static_results()
    with check_site.launched(executable) as browser:
        yield from browsed_results(browser)
    with tempfile.TemporaryDirectory() as folder:
        yield from sound_results(Path(folder))
        yield from command_results(Path(folder))


def main() -> int:
    executable = check_site.find_chromium()
    if not executable:
        print("no Chromium found: install the Debian package chromium")
        return 1
    failed = passed = 0
    for name, problem in results(executable):
        print("FAILED" if problem else "ok", name, problem, flush=True)
        failed += bool(problem)
        passed += not problem
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
