"""A small site with the book's aids for reading, and ways to break it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiding
from aiding import AIDED, LOST, MAPPED
from faults import View

if TYPE_CHECKING:
    from aiding import Check

STATIC = Path(__file__).parents[2] / "book/_ext/static"
SCREEN, DISK, PHONE = View("http"), View("file"), View("http", "phone")
ABOUT = "book/about.html"

HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>TITLE</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="../_static/aids.css"><style>
html { --pst-color-background: #fff; --pst-color-text-base: #111;
  --pst-color-link: #024; --muted: #555; }
html[data-theme=dark] { --pst-color-background: #111;
  --pst-color-text-base: #eee; --pst-color-link: #bdf; --muted: #aaa; }
body { margin: 0; background: var(--pst-color-background);
  color: var(--pst-color-text-base); }
a, .chapter-map text { color: inherit; fill: currentcolor; }
button { color: inherit; background: inherit; }
.drawn { position: static; }
@media print { .bd-sidebar-primary, .toggle, form { display: none; } }
</style><script>
document.documentElement.dataset.mode = localStorage.getItem('mode');
document.documentElement.dataset.theme = localStorage.getItem('theme');
</script></head><body>
"""
FOOT = '<script src="../_static/aids.js"></script></body></html>'
CHAPTER = f"""{HEAD.replace("TITLE", "Sound")}
<aside class="bd-sidebar-primary" aria-label="The book">
<p class="title">The book</p></aside>
<dialog class="drawer" id="contents"></dialog>
<dialog class="drawer" id="parts"><p>Parts</p></dialog>
<header><a class="notation-key" href="about.html">Notation</a>
<button class="toggle primary-toggle">Contents</button>
<button class="toggle secondary-toggle">Parts</button></header>
<main><article><h1>Sound</h1>
<p class="about-chapter">You need: no other chapter.</p>
<p style="margin-top: 9rem">See
<a class="internal" href="#equation-one">(1.1)</a> and
<a class="internal" href="about.html#term-one">one</a>.</p>
<div class="equation" id="equation-one">x = 1
<span class="eqno">(1.1)<a class="headerlink" href="#equation-one">#</a>
</span></div></article></main>
<footer><p class="mistake"><a href="about.html?page=book/coins">Report</a>
</p></footer>
<template id="previews"><div data-of="about.html#term-one"><dl><dt>one</dt>
<dd><p>The first number.</p></dd></dl></div></template>
<script>
const [book] = document.querySelectorAll('.bd-sidebar-primary');
document.querySelector('.primary-toggle').onclick = () => {{
  if (innerWidth > 900) book.hidden = !book.hidden;
  else {{ contents.append(...book.childNodes); contents.showModal(); }}
}};
document.querySelector('.secondary-toggle').onclick =
  () => parts.showModal();
</script>{FOOT}"""
WORDS = f"""{HEAD.replace("TITLE", "About")}<main><article><h1>About</h1>
<div class="mistake-report"><pre>Page:
What is wrong:</pre></div>
<dl class="glossary"><dt id="term-one">one</dt>
<dd><p>The first number.</p></dd></dl></article></main>{FOOT}"""
MAP = f"""{HEAD.replace("TITLE", "Map")}<main><article><h1>Map</h1>
<p><a href="about.html">About</a></p><figure class="chapter-map">
<svg width="200" height="60" role="group" aria-label="Map of all chapters">
<a href="coins.html"><rect width="200" height="60"/>
<text x="99" y="30">Sound</text></a></svg></figure></article></main>
{FOOT}"""
NOT_THERE = f"""{HEAD.replace("TITLE", "Lost").replace("../_", "/_")}
<main><article><h1>Not there</h1><p><a href="/{MAPPED}">To the map</a></p>
<form action="/search.html"><label>Words <input name="q"></label></form>
</article></main></body></html>"""
TABLE = "<table><tr><td>x</td></tr></table>"
SITE = {
    AIDED: CHAPTER,
    ABOUT: WORDS,
    MAPPED: MAP,
    "404.html": NOT_THERE,
    "_static/aids.js": (STATIC / "aids.js").read_text(encoding="utf-8"),
    "_static/aids.css": (STATIC / "aids.css").read_text(encoding="utf-8"),
    "_static/notation.js": "document.dispatchEvent("
    f'new CustomEvent("notation", {{detail: "{TABLE}"}}));',
}


class Break(NamedTuple):
    """A check, what it must say, and the words that make it say so."""

    check: Check
    what: str
    words: str
    instead: str = ""
    view: View = SCREEN
    page: str = AIDED
    more: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        return LOST if self.page == "404.html" else self.page

    @property
    def tree(self) -> dict[str, str]:
        results = {"search.html": WORDS}
        whole = SITE | results
        tree = {
            name: text.replace(self.words or "\0", self.instead)
            for name, text in whole.items()
        } | dict(self.more)
        assert tree != whole, self.words
        return tree


def script(source: str) -> tuple[str, str]:
    """Return words of each page and, in their place, a script before."""
    return "</article>", f"</article><script>{source}</script>"


def keep(event: str, condition: str) -> tuple[str, str]:
    """Keep an event from what it does, on this condition."""
    return script(
        f"addEventListener('{event}', event => {condition}"
        " && event.preventDefault(), true)"
    )


def late(source: str) -> tuple[str, str]:
    """Do more to the dialog of the notation when it is made."""
    made = "document.body.append(dialog);"
    return made, f"{made} {source}"


CARDS = [
    ("a pointer opens no card", "soon(() => open(event.clientX), 180)", ""),
    ("the Tab key opens no card", "open(NaN)", ""),
    ("opens a card without", "card.append(content)", "card.append('x')"),
    (
        "without 'Thefirst",
        '<div data-of="about.html#term-one"><dl><dt>one</dt>',
        '<div data-of="about.html#term-one"></div><div><dl>',
    ),
    ("does not describe", '"aria-describedby", card.id', '"id", "x"'),
    ("out of sight", "Math.max(8, left) + scrollX", "-99"),
    ("over its link", ": line.bottom + 4", ": line.top"),
    (
        "gone when a pointer goes to it",
        'card.addEventListener("pointerenter"',
        'card.addEventListener("x"',
    ),
    (
        "stays when a pointer leaves",
        'card.addEventListener("pointerleave"',
        'card.addEventListener("x"',
    ),
    ("Escape does not close", "if (shown) hide();", ""),
    (
        "Escape takes the focus",
        "if (shown) hide();",
        "document.activeElement.blur();",
    ),
    ("does not lead to the link", 'href="#eq', 'tabindex="-1" href="#eq'),
    ("no two links", 'class="internal" href="#', 'href="#'),
]
NOTATION = [
    ("n does not open", 'event.key !== "n"', 'event.key !== "m"'),
    ("has no table", "innerHTML = event.detail", "title = event.detail"),
    (
        "focus does not move",
        'dialog.querySelector("button").focus()',
        "document.activeElement.blur()",
    ),
    ("Tab key leads out", "dialog.showModal()", "dialog.show()"),
    ("Escape does not close", *keep("cancel", "event.target.id === ''")),
    (
        "Escape does not return the focus",
        *late("dialog.onclose = () => document.activeElement.blur();"),
    ),
    (
        "a second time",
        *late("dialog.onclose = () => { dialog.showModal = () => 0; };"),
    ),
    (
        "its button does not close",
        "<button>Close",
        '<button type="button">Close',
    ),
    (
        "names a key that is switched off",
        'stateOfKey.on ? "Notation (n)"',
        'true ? "Notation (n)"',
    ),
    ("when it is switched off", "!stateOfKey.on ||", ""),
    (
        "when it was switched off before",
        "choice.checked = stateOfKey.on;",
        "choice.checked = stateOfKey.on = true;",
    ),
    ("the button does not open", '"click", openNotation', '"x", key'),
    (
        "cannot be switched on again",
        "stateOfKey.on = choice.checked",
        "stateOfKey.on = false",
    ),
]
SIDEBAR = [
    ("no title", 'class="title"', ""),
    (
        "meets the button toggle primary-toggle",
        "</style>",
        ".primary-toggle { position: absolute; top: 20px; left: 5px; }"
        "</style>",
    ),
    (
        "out of sight",
        'class="title"',
        'class="title" style="text-indent: -900px"',
    ),
    ("does not fold", "book.hidden = !book.hidden", "0"),
]
DRAWER = [
    ("drawer of the contents", "contents.showModal()", "0"),
    (
        "meets the button close",
        '<p class="title">',
        '<button class="close" style="position: absolute; left: 0;'
        ' height: 99px">x</button><p class="title">',
    ),
    ("Escape does not close", *keep("cancel", "true")),
    ("drawer of the page's parts", "parts.showModal()", "0"),
]
TAPS = [
    ("a tap opens", 'if (event.pointerType !== "mouse") return;', ""),
    ("does not lead to the link's target", *keep("click", "true")),
    ("no link within", 'class="internal" href="#', 'href="#'),
]
PRINT = [
    ("a card (.preview) is", ".preview, dialog", "dialog"),
    ("a button (.notation-key) is", ".notation-key, .mistake {", "x {"),
    ("a link (.mistake) is", ", .mistake {", " {"),
    ("the notation (dialog[open]) is", ".preview, dialog", ".preview, x"),
]
WAYS = [
    ("book/coins.html is not on the map", '<a href="coins', '<a id="coins'),
    ("is no chapter, but on the map", 'href="coins.html"', 'href="#"'),
    ("the map leads from 'Other'", ">Sound</text>", ">Other</text>"),
    ("a key does not follow", *keep("click", "event.detail === 0")),
    ("a pointer does not follow", *keep("click", "event.detail > 0")),
]
NOWHERE = [
    ("leads to nothing: x.html", '<a href="/book/index', '<a href="/x'),
    ("no link leads to the first page", '<a href="/book/index', '<a id="x'),
    ("the search takes 'Jese'", *keep("keydown", "event.key === 'n'")),
    ("wait_for_url", 'action="/search.html"', 'action="/404.html"'),
]
BREAKS = [
    *(Break(aiding.card_problems, *words) for words in CARDS),
    *(Break(aiding.notation_problems, *words) for words in NOTATION),
    Break(
        aiding.notation_problems,
        "n does not open",
        "script.src = ",
        "script.src = 'x:'; fetch",
        DISK,
    ),
    *(Break(aiding.title_problems, *words) for words in SIDEBAR),
    *(Break(aiding.drawer_problems, *words, PHONE) for words in DRAWER),
    *(Break(aiding.tap_problems, *words, PHONE) for words in TAPS),
    *(Break(aiding.paper_problems, *words) for words in PRINT),
    Break(
        aiding.report_problems,
        "a report begins with 'Page:'",
        ".replace(/^Page",
        ".replace(/^No",
    ),
    *(Break(aiding.map_problems, *w, SCREEN, MAPPED) for w in WAYS),
    *(Break(aiding.lost_problems, *w, SCREEN, "404.html") for w in NOWHERE),
    Break(
        aiding.lost_problems,
        "has the status 200",
        "",
        page="404.html",
        more=((f"{LOST}/index.html", NOT_THERE),),
    ),
]
