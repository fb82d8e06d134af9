"""Walk the built book in headless Chromium and name every fault."""

from __future__ import annotations

import argparse
import gzip
import os
import posixpath
import re
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from access import access_findings
from aiding import LOST, aid_findings, checks
from faults import Fault, Finding, View
from moving import moving_findings
from processes import PROCESSES, side_by_side
from search import search_findings

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Error,
        Page,
        Request,
        Response,
        WebSocket,
    )

# Where the site is to lie below its host: its page for what is not there
# names all else from there.
PREFIX = os.environ.get("EMLIB_SITE_PREFIX", "/")
LIMIT_KB = 600
SECOND_KB = 200
SHIFT = 0.05
NOT_FOUND = "404.html"
ABORTED = "net::ERR_ABORTED"
UNWALKED = {"_static", "_sources"}
PACKED = {".woff", ".woff2", ".png", ".jpg", ".jpeg", ".gif", ".webp"}
FETCHED_RELS = {
    "stylesheet",
    "icon",
    "apple-touch-icon",
    "manifest",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
}
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 375, "height": 812},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    },
}
RAW_OUTPUT = r"<matplotlib|<Figure size|Traceback \(most recent call last\)"
RAW_TEXT = "|".join(
    [
        r"\\[a-zA-Z]{2,}",
        r"\\[()\[\]]",
        r"\$\$",
        r"\$[^\s$][^$]*[\\^_][^$]*\$",
        r"\{[a-z][\w:+-]*\}`",
        r"\{(?:eq|ref|numref|glue|doc|term|cite|math)\b[^}]*\}",
        r"(?:^|\s):(?:label|name|alt|width|align|class|nonumber|tags):",
        r"```|:::",
        RAW_OUTPUT,
    ]
)


FIRST_VISIT = View("http")
VIEWS = (
    FIRST_VISIT,
    View("http", scheme="dark"),
    View("http", "phone"),
    View("http", "phone", "dark"),
    View("file"),
    View("no-js"),
)


# --- the tree of pages, without a browser -----------------------------


def parse(path: Path) -> BeautifulSoup:
    from bs4 import BeautifulSoup

    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@dataclass
class Site:
    root: Path
    pattern: str = "*"
    soups: dict[str, BeautifulSoup] = field(init=False)
    anchors: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        names = [
            path.relative_to(self.root)
            for path in self.root.rglob("*.html")
        ]
        self.soups = {
            name.as_posix(): parse(self.root / name)
            for name in sorted(names)
            if not UNWALKED & set(name.parts)
        }
        self.anchors = {
            page: anchors(soup) for page, soup in self.soups.items()
        }

    @property
    def pages(self) -> list[str]:
        return [page for page in self.soups if fnmatch(page, self.pattern)]

    @property
    def home(self) -> str:
        """Return where a reader begins who does not follow a link."""
        index = self.soups.get("index.html")
        return (redirect_of(index) if index else None) or "index.html"


def anchors(soup: BeautifulSoup) -> set[str]:
    tags = soup.select("[id], a[name]")
    return {str(tag.get("id") or tag.get("name")) for tag in tags}


def redirect_of(soup: BeautifulSoup) -> str | None:
    for tag in soup.select("meta[http-equiv][content]"):
        if str(tag["http-equiv"]).lower() == "refresh":
            return str(tag["content"]).partition("url=")[2].strip("'\" ")
    return None


def references(soup: BeautifulSoup) -> Iterator[tuple[str, str]]:
    for tag in soup.select("a[href], link[href], img[src], script[src]"):
        yield tag.name, str(tag.get("href") or tag.get("src") or "")
    if target := redirect_of(soup):
        yield "refresh", target


def link_findings(site: Site, page: str) -> Iterator[Finding]:
    for tag, url in references(site.soups[page]):
        parts = urlsplit(url)
        if not (parts.scheme or parts.netloc):
            path, fragment = unquote(parts.path), unquote(parts.fragment)
            problem = path_problem(site, page, path)
            problem = problem or fragment_problem(
                site, page, path, fragment
            )
            if problem:
                yield Finding("link", f"{tag} {url}: {problem}")


def path_problem(site: Site, page: str, path: str) -> str | None:
    if page == NOT_FOUND and path:
        if not path.startswith("/"):
            return "a relative path, lost under a deep address"
        below = path.startswith(PREFIX)
        return None if below else f"not below {PREFIX}"
    if path.startswith("/"):
        return "an absolute path, lost under a prefix and from a file"
    target = resolve(page, path)
    if target.startswith(".."):
        return "leaves the site"
    return None if (site.root / target).is_file() else "no such file"


def fragment_problem(
    site: Site, page: str, path: str, fragment: str
) -> str | None:
    target = resolve(page, path)
    if fragment in {"", "top"} or target not in site.soups:
        return None
    found = fragment in site.anchors[target]
    return None if found else f"no element of {target} has that id"


def resolve(page: str, path: str) -> str:
    if not path:
        return page
    if page == NOT_FOUND:
        path = path.removeprefix(PREFIX)
    path += "index.html" * path.endswith("/")
    full = posixpath.join(posixpath.dirname(page), path)
    return posixpath.normpath(full).lstrip("/")


def outside_findings(site: Site, page: str) -> Iterator[Finding]:
    fetched = "script[src], img[src], iframe[src], link[href]"
    for tag in site.soups[page].select(fetched):
        idle = tag.name == "link" and FETCHED_RELS.isdisjoint(
            tag.get_attribute_list("rel")
        )
        url = str(tag.get("src") or tag.get("href") or "")
        if urlsplit(url).netloc and not idle:
            yield Finding("outside", f"{tag.name} {url}")


def content_of(soup: BeautifulSoup) -> Tag:
    places = ("main article", "article", "main", "body")
    found = (soup.select_one(place) for place in places)
    return next((tag for tag in found if tag), soup)


def alt_findings(site: Site, page: str) -> Iterator[Finding]:
    soup = site.soups[page]
    for tag in soup.select("img:not([alt])"):
        yield Finding("alt", f"{shown(tag)} has no alt text")
    drawn = "figure svg:not(svg svg, .katex svg, [aria-hidden=true])"
    for tag in content_of(soup).select(f"img[alt], svg[role=img], {drawn}"):
        text = description(soup, tag)
        if problem := alt_problem(text, str(tag.get("src", ""))):
            yield Finding("alt", f"{shown(tag)} {problem}: {text!r}")


def shown(tag: Tag) -> str:
    return f"{tag.name} {tag.get('src') or tag.get('id') or ''}"[
        :99
    ].strip()


def description(soup: BeautifulSoup, tag: Tag) -> str:
    if tag.name == "img":
        return str(tag["alt"])
    if labels := str(tag.get("aria-labelledby", "")).split():
        named = [soup.find(id=label) for label in labels]
        return " ".join(label.get_text() for label in named if label)
    title = tag.find("title", recursive=False)
    return str(tag.get("aria-label") or (title.get_text() if title else ""))


def alt_problem(text: str, source: str) -> str | None:
    if re.search(
        r"\.(svg|png|jpe?g|gif|webp)\b|(^|\s)\.{0,2}/|\w/\w+/", text
    ):
        return "is described by a file name"
    words, stem = map(words_of, (text, PurePosixPath(source).stem))
    if len(words) < 3 or words == stem:
        return "is not described in three words or more"
    if re.search(r"\\[a-zA-Z(\[]|\$", text):
        return "is described in TeX"
    return None


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def size_findings(site: Site, page: str) -> Iterator[Finding]:
    soup = site.soups[page]
    drawn = "svg:not(svg svg, .katex svg)"
    for tag in soup.select(f"img, {drawn}"):
        both = tag.has_attr("width") and tag.has_attr("height")
        fixed = tag.name == "svg" and tag.has_attr("viewbox")
        if not (both or fixed):
            yield Finding("size", f"{shown(tag)} has no width and height")


def id_findings(site: Site, page: str) -> Iterator[Finding]:
    tags = site.soups[page].select("[id]")
    for name, count in Counter(str(tag["id"]) for tag in tags).items():
        if count > 1:
            yield Finding("id", f"{name!r} stands {count} times")


def title_findings(site: Site, page: str) -> Iterator[Finding]:
    soup = site.soups[page]
    if redirect_of(soup):
        return
    if not (soup.title and soup.title.get_text(strip=True)):
        yield Finding("title", "no title")
    # The theme sets a second h1 that only print shows.
    headings = soup.select("h1:not(.onlyprint *)")
    if len(headings) != 1:
        yield Finding("title", f"{len(headings)} h1 elements, not one")
    if not soup.select("html[lang]:not([lang=''])"):
        yield Finding("title", "html has no lang")


def icon_findings(site: Site, page: str) -> Iterator[Finding]:
    soup = site.soups[page]
    if not (redirect_of(soup) or soup.select("link[rel~=icon][href]")):
        yield Finding(
            "icon", "no link rel=icon: a browser asks /favicon.ico"
        )


STATIC = (
    link_findings,
    outside_findings,
    alt_findings,
    size_findings,
    id_findings,
    title_findings,
    icon_findings,
)


def static_faults(site: Site) -> list[Fault]:
    return [
        *(
            Fault(page, "static", *finding)
            for page in site.pages
            for check in STATIC
            for finding in check(site, page)
        ),
        *(
            Fault("site", "static", *finding)
            for finding in site_findings(site)
        ),
    ]


def site_findings(site: Site) -> Iterator[Finding]:
    if site.pattern != "*":
        return
    if NOT_FOUND not in site.soups:
        yield Finding("404", f"the tree has no {NOT_FOUND}")
    if not any(
        s.select("span.math, div.math") for s in site.soups.values()
    ):
        yield Finding("formula", "no formula on any page")


# --- the probes that run in the page ----------------------------------

PRELUDE = r"""
const found = [];
const say = (rule, what) => found.push([rule, what]);
const content = ['main article', 'article', 'main', 'body']
  .map(place => document.querySelector(place)).find(Boolean);
const short = text => text.trim().replace(/\s+/g, ' ').slice(0, 60);
const name = e => e ? e.tagName.toLowerCase() + (e.id ? '#' + e.id : '')
  + [...e.classList].map(c => '.' + c).join('') : 'unknown';
const rect = e => e.getBoundingClientRect();
const seen = {opacityProperty: true, visibilityProperty: true};
const visible = e =>
  rect(e).width > 0 && rect(e).height > 0 && e.checkVisibility(seen);
"""

# What jumped while the page opened. A phone's viewport is set as a page
# opens, and Chromium calls that recent input; there was none.
WATCH = """
window.jumps = [];
new PerformanceObserver(list => window.jumps.push(...list.getEntries()))
  .observe({type: 'layout-shift', buffered: true});
"""
JUMPS = r"""async () => {
  await document.fonts.ready;
  await new Promise(done =>
    requestAnimationFrame(() => requestAnimationFrame(done)));
  await new Promise(done => setTimeout(done, 50));
  const jumps = window.jumps;
  const nodes = jumps.sort((a, b) => b.value - a.value)
    .flatMap(jump => jump.sources.map(source => source.node));
  const e = nodes.map(n => n?.nodeType === 3 ? n.parentElement : n)
    .find(Boolean);
  return [jumps.reduce((sum, jump) => sum + jump.value, 0), e
    ? e.tagName.toLowerCase() + (e.id ? '#' + e.id : '')
      + [...e.classList].map(c => '.' + c).join('') : 'unknown'];
}"""

SETTLE = r"""async () => {
  document.querySelectorAll('details').forEach(e => { e.open = true; });
  const images = [...document.images];
  images.forEach(e => { e.loading = 'eager'; });
  await Promise.all(images.map(e => e.decode().catch(() => null)));
  await document.fonts.ready;
}"""

FORMULAS = r"""
if (content === document.body) say('main', 'no main and no article');
if (!visible(content) || !content.innerText.trim())
  say('main', 'the main text is empty or hidden');
for (const node of document.querySelectorAll('span.math, div.math')) {
  const formula = node.querySelector('.katex');
  const text = short(node.textContent);
  if (!formula) say('formula', 'not rendered: ' + text);
  else if (content.contains(node) && !visible(formula))
    say('formula', 'not visible: ' + text);
}
for (const error of document.querySelectorAll('.katex-error'))
  say('formula', 'KaTeX error: ' + short(error.title || error.textContent));
const hidden = [...content.querySelectorAll('.katex-mathml')];
if (hidden.some(e => rect(e).width > 2))
  say('formula', 'KaTeX style sheet missing: its hidden MathML shows');
"""

TEXT = r"""
const apart =
  'code, pre, .katex, annotation, script, style, noscript, textarea';
const raw = new RegExp(`.{0,20}(?:${view.text}).{0,20}`);
const nodes =
  document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (nodes.nextNode()) {
  const hit = raw.exec(nodes.currentNode.data);
  const parent = nodes.currentNode.parentElement;
  if (hit && !parent.closest(apart) && parent.checkVisibility(seen))
    say('raw', short(hit[0]));
}
const output = new RegExp(`(?:${view.output}).{0,40}`);
for (const block of document.querySelectorAll('.cell_output pre')) {
  const hit = output.exec(block.textContent);
  if (hit) say('raw', short(hit[0]));
}
"""

LOOK = r"""
const canvas = document.createElement('canvas');
const paint = canvas.getContext('2d', {willReadFrequently: true});
const pixel = colour => {
  paint.clearRect(0, 0, 1, 1);
  paint.fillStyle = colour;
  paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
};
const linear = v => v <= 10 ? v / 3294 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) =>
  0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ground = e => {
  for (; e; e = e.parentElement) {
    const colour = pixel(getComputedStyle(e).backgroundColor);
    if (colour[3] > 127) return luminance(colour);
  }
  return 1;
};
const contrast = e => {
  const ink = luminance(pixel(getComputedStyle(e).color));
  const paper = ground(e);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
};
const {theme, mode} = document.documentElement.dataset;
if (theme !== view.scheme || mode !== view.scheme)
  say('theme', `data-theme ${theme}, mode ${mode}, not ${view.scheme}`);
const paper = ground(document.body);
if (view.scheme === 'light' ? paper < 0.5 : paper > 0.2)
  say('theme', `luminance ${paper.toFixed(2)} is not ${view.scheme}`);
for (const e of new Set([document.body, content]))
  if (contrast(e) < 4.5)
    say('contrast', `text of ${name(e)}: ${contrast(e).toFixed(1)} < 4.5`);

const other = view.scheme === 'light' ? '.only-dark' : '.only-light';
const figures = ':is(figure, .figure, .cell_output) svg';
for (const e of document.querySelectorAll(figures))
  if (!e.matches('svg svg, .katex svg') && !e.closest(other) && !visible(e))
    say('figure', name(e) + ' is not visible');
for (const e of document.images)
  if (!e.naturalWidth)
    say('image', e.getAttribute('src') + ' does not load');
"""

WIDTH = r"""
const page = document.scrollingElement;
const room = Math.min(page.clientWidth, view.pixels);
const wide = e => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1;
const overflow = e => getComputedStyle(e).overflowX;
const up = (e, end) =>
  e && e !== end ? [e, ...up(e.parentElement, end)] : [];
const clipped = (e, root) => up(e.parentElement, root)
  .some(p => p !== document.body && overflow(p) !== 'visible');
const sideways = (e, room, edge) => {
  const widest = [...e.querySelectorAll('*')]
    .filter(c => rect(c).right > edge + 0.5 && !clipped(c, e))
    .reduce((a, b) => a && rect(a).right >= rect(b).right ? a : b, null);
  const widths = `${e.scrollWidth} px wide in ${room} px`;
  say('sideways', `${name(e)} is ${widths}; widest: ${name(widest)}`);
};
if (page.scrollWidth > room) sideways(page, room, room);
for (const e of up(content, page))
  if (wide(e) && overflow(e) !== 'visible')
    sideways(e, e.clientWidth, rect(e).left + e.clientWidth);

const outgrown = e => wide(e) || e.parentElement.clientWidth > 0
  && rect(e).width > e.parentElement.clientWidth + 1;
const scrollerOf = (box, parts) => [...parts, ...up(box, content)]
  .find(e => wide(e) && /auto|scroll/.test(overflow(e)));
const inspect = (kind, box, parts = []) => {
  if (![box, ...parts].some(outgrown)) return null;
  const scroller = scrollerOf(box, parts);
  if (!scroller)
    say('scroll', `${kind} outgrows its box: ${short(box.textContent)}`);
  return scroller;
};
for (const box of content.querySelectorAll('table')) inspect('table', box);
for (const box of content.querySelectorAll('div.highlight pre'))
  inspect('code', box);
for (const box of content.querySelectorAll('div.math')) {
  const parts = box.querySelectorAll('.katex-display, .katex');
  const scroller = inspect('formula', box, parts);
  if (!scroller) continue;
  const text = short(box.textContent);
  const start = rect(scroller).left - 1;
  const pieces = [...box.querySelectorAll('.katex-html > *')];
  if (pieces.some(e => rect(e).left < start))
    say('scroll', 'the formula does not open at its left end: ' + text);
  const image = getComputedStyle(scroller).backgroundImage;
  if (image === 'none' && !scroller.matches('.scroll-hint'))
    say('hint', 'nothing shows that the formula scrolls: ' + text);
}
"""

# On paper nothing is pressed, and nothing scrolls: what is cut is lost.
PAPER = r"""
const room = document.documentElement.clientWidth;
const apart = 'button, input, select, textarea, nav, dialog, [role=search],'
  + ' .control, .choices';
for (const e of document.querySelectorAll(apart))
  if (visible(e) && !e.closest('.onlyprint, #jb-print-docs-body'))
    say('print', name(e) + ' is a control, seen in print');
for (const e of document.querySelectorAll('.bd-sidebar-primary,'
    + ' .bd-sidebar-secondary, .bd-header, aside.sidebar'))
  if (visible(e)) say('print', name(e) + ' stands beside the text');
for (const e of document.body.querySelectorAll('*')) {
  if (e.closest('.katex') || !e.clientWidth || !visible(e)) continue;
  const cut = getComputedStyle(e).overflowX !== 'visible'
    && e.scrollWidth > e.clientWidth + (e.matches('span.math') ? 8 : 1);
  if (cut || rect(e).right > room + 1 && !e.closest('svg svg, svg *'))
    say('print', `${name(e)} is ${cut ? 'cut off' : 'wider than paper'}: `
      + short(e.textContent));
}
"""
# On a wide screen listings stand beside their equations, and neither under
# what else is there.
WIDE = r"""
const room = document.documentElement.clientWidth;
const aside = [...document.querySelectorAll('.bd-sidebar-secondary')];
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
  && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const boxes = [...content.querySelectorAll('.beside')].filter(visible);
for (const box of boxes) {
  const parts = [...box.children];
  if (rect(box).right > room + 1)
    say('wide', 'a listing is off the screen: ' + short(box.textContent));
  if (parts.some(a => parts.some(b => a !== b && meet(rect(a), rect(b)))))
    say('wide', 'a listing covers its equation: ' + short(box.textContent));
  if (aside.some(e => rect(e).left < rect(box).right - 1))
    say('wide', 'a listing reaches under ' + name(aside[0]));
}
if (document.scrollingElement.scrollWidth > room)
  say('wide', `${document.scrollingElement.scrollWidth} px in ${room} px`);
"""
FULL_HD = {"width": 1920, "height": 1080}
# A4 less Chromium's margins, at 96 pixels an inch.
A4 = {"width": 718, "height": 1047}

THEME_CHOICE = """
try {{
  localStorage.setItem('mode', '{scheme}');
  localStorage.setItem('theme', '{scheme}');
}} catch {{}}
"""


def probe(tab: Page, view: View) -> list[Finding]:
    probes = (
        FORMULAS + TEXT if view.mode == "no-js" else TEXT + LOOK + WIDTH
    )
    asked = {
        "scheme": view.scheme,
        "pixels": SCREENS[view.width]["viewport"]["width"],
        "text": RAW_TEXT,
        "output": RAW_OUTPUT,
    }
    script = f"view => {{ {PRELUDE} {probes} return found; }}"
    return [Finding(*found) for found in tab.evaluate(script, asked)]


def paper_findings(tab: Page) -> list[Finding]:
    tab.emulate_media(media="print")
    screen = tab.viewport_size
    tab.set_viewport_size(A4)
    script = f"view => {{ {PRELUDE} {PAPER} return found; }}"
    found = [Finding(*found) for found in tab.evaluate(script)]
    tab.emulate_media(media="screen")
    tab.set_viewport_size(screen)
    return found


def wide_findings(tab: Page) -> list[Finding]:
    screen = tab.viewport_size
    tab.set_viewport_size(FULL_HD)
    script = f"view => {{ {PRELUDE} {WIDE} return found; }}"
    found = [Finding(*found) for found in tab.evaluate(script)]
    tab.set_viewport_size(screen)
    return found


def shift_findings(tab: Page) -> Iterator[Finding]:
    total, most = tab.evaluate(JUMPS)
    if total >= SHIFT:
        yield Finding("shift", f"{total:.3f} of {SHIFT}, most of it {most}")


# --- the pages in a browser -------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".woff2": "font/woff2",
        ".js": "text/javascript",
        ".svg": "image/svg+xml",
    }

    def translate_path(self, path: str) -> str:
        below = path.startswith(PREFIX)
        inside = path.removeprefix(PREFIX) if below else "not/below"
        return super().translate_path(f"/{inside}")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,
    ) -> None:
        page = Path(self.directory) / NOT_FOUND
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            return super().send_error(code, message, explain)
        body = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: the browser may hang up, and names what it lacks."""


@contextmanager
def served(root: Path) -> Iterator[str]:
    handler = partial(Handler, directory=str(root))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
        finally:
            server.shutdown()


def find_chromium() -> str | None:
    chosen = os.environ.get("CHROMIUM")
    known = ["chromium", "chromium-browser", "google-chrome"]
    paths = map(shutil.which, [chosen] if chosen else known)
    return next(filter(None, paths), None)


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # What lies outside is to fail here as it does without a network.
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            chromium_sandbox=os.geteuid() != 0,
            args=["--no-proxy-server", alone],
        )
        yield browser
        browser.close()


class Ear:
    """Hear what a page asks for and complains of."""

    def __init__(self, page: Page, own: str, url: str) -> None:
        self.own, self.url = own, url
        self.urls: set[str] = set()
        self.findings: list[Finding] = []
        page.on("request", self.request)
        page.on("response", self.response)
        page.on("requestfailed", self.failure)
        page.on("websocket", self.request)
        page.on("console", self.console)
        page.on("pageerror", self.uncaught)

    def say(self, rule: str, what: str) -> None:
        first = what.strip().partition("\n")[0].replace(self.own, "")
        self.findings.append(Finding(rule, first[:200]))

    def outside(self, url: str) -> bool:
        return not url.startswith((self.own, "data:", "blob:", "about:"))

    def request(self, request: Request | WebSocket) -> None:
        self.urls.add(request.url)
        if self.outside(request.url):
            self.say("outside", request.url)

    def response(self, response: Response) -> None:
        if response.status >= 400 and response.url != self.url:
            self.say("request", f"{response.status} for {response.url}")

    def failure(self, request: Request) -> None:
        # Without scripts Chromium refuses their preloads, and calls it csp.
        if not self.outside(request.url) and request.failure != "csp":
            self.say("request", f"{request.failure} for {request.url}")

    def console(self, message: ConsoleMessage) -> None:
        url = message.location["url"]
        # Chromium tells of a failed request here too; it is named already.
        told = (
            message.text.startswith("Failed to load") and url in self.urls
        )
        if message.type == "error" and not told:
            self.say("console", f"{message.text} {url}")

    def uncaught(self, error: Error) -> None:
        self.say("console", f"uncaught {error}")


@cache
def packed_bytes(path: Path) -> int:
    body = path.read_bytes()
    return (
        len(body) if path.suffix in PACKED else len(gzip.compress(body, 6))
    )


@dataclass
class Seen:
    """What was found on some pages, and what they asked for."""

    faults: list[Fault] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)
    second: dict[str, int] = field(default_factory=dict)
    asked: dict[str, set[Path]] = field(default_factory=dict)
    visits: int = 0

    def add(self, other: Seen) -> None:
        self.faults += other.faults
        self.weights |= other.weights
        self.asked |= other.asked
        self.visits += other.visits

    def weigh_again(self, home: str) -> None:
        """Weigh what a page asks for after the first, its cache warm."""
        known = self.asked.get(home, set())
        for label in self.asked.keys() - {home} if known else ():
            files = self.asked[label] - known
            kb = sum(map(packed_bytes, files)) // 1000
            self.second[label] = kb
            if kb > SECOND_KB:
                what = f"{kb} kB gzipped after {home}, over {SECOND_KB} kB"
                fault = Fault(label, ", ".join(FIRST_VISIT), "weight", what)
                self.faults.append(fault)

    def summary(self) -> str:
        rules = Counter(fault.rule for fault in self.faults)
        page, kb = max(self.weights.items(), key=lambda item: item[1])
        second = max(self.second.values(), default=0)
        return (
            f"largest page {page} {kb} kB gzipped, "
            f"{second} kB after another; "
            f"{rules['outside']} outside requests; "
            f"{rules['console']} console errors"
        )


@dataclass
class Walk:
    site: Site
    browser: Browser
    base: str
    screenshots: Path | None = None
    seen: Seen = field(default_factory=Seen)

    def run(
        self, pages: Sequence[str], views: Sequence[View] = VIEWS
    ) -> None:
        for page in pages:
            for view in views:
                if page != NOT_FOUND:
                    self.visit(page, page, view)
                elif view.mode != "file":
                    self.visit(page, page, view)
                    self.visit(page, LOST, view)

    def visit(self, page: str, path: str, view: View) -> None:
        root = self.site.root.as_uri() + "/"
        own = root if view.mode == "file" else self.base
        with self.opened(view) as context:
            tab = context.new_page()
            ear = Ear(tab, own, own + path)
            found = self.look(tab, own + path, page, view)
        found += self.used(own, path, view)
        found += ear.findings
        label = page if path == page else f"{page} as {path}"
        if view == FIRST_VISIT:
            found += self.weigh(label, ear.urls)
        shown = ", ".join(view)
        self.seen.faults += [
            Fault(label, shown, *f) for f in dict.fromkeys(found)
        ]
        self.seen.visits += 1

    @contextmanager
    def opened(self, view: View) -> Iterator[BrowserContext]:
        context = self.browser.new_context(
            color_scheme="dark" if view.scheme == "dark" else "light",
            java_script_enabled=view.mode != "no-js",
            reduced_motion="reduce",
            **SCREENS[view.width],
        )
        context.add_init_script(THEME_CHOICE.format(scheme=view.scheme))
        context.add_init_script(WATCH)
        yield context
        context.close()

    def look(
        self, tab: Page, url: str, page: str, view: View
    ) -> list[Finding]:
        from playwright.sync_api import Error

        try:
            tab.goto(url)
            if target := redirect_of(self.site.soups[page]):
                tab.wait_for_url(urljoin(url, target))
                return []
            found = [*self.early(tab, view)]
            tab.evaluate(SETTLE)
            tab.wait_for_load_state("networkidle")
            self.photograph(tab, url, view)
            found += probe(tab, view)
            return [*found, *self.late(tab, view)]
        except Error as error:
            reason = error.message.partition("\n")[0]
            return [Finding("request", f"the page does not open: {reason}")]

    def used(self, own: str, path: str, view: View) -> list[Finding]:
        """Operate the aids; a second time where something was amiss."""
        found = self.use(own, path, view) if checks(path, view) else []
        again = self.use(own, path, view) if found else []
        return [finding for finding in found if finding in again]

    def use(self, own: str, path: str, view: View) -> list[Finding]:
        """Operate the aids in a tab of their own, which may lead away."""
        with self.opened(view) as context:
            tab = context.new_page()
            ear = Ear(tab, own, own + path)
            soups = self.site.soups
            found = [*aid_findings(tab, own + path, soups, path, view)]
        # A page that is left aborts what it had not fetched yet.
        left = f"{ABORTED} for "
        heard = [f for f in ear.findings if not f.what.startswith(left)]
        return [*found, *heard]

    def early(self, tab: Page, view: View) -> Iterator[Finding]:
        if view.mode == "http" and view.scheme == "light":
            yield from shift_findings(tab)

    def late(self, tab: Page, view: View) -> Iterator[Finding]:
        """Do what alters the page, once nothing else is to be seen."""
        if view in {FIRST_VISIT, View("file")}:
            yield from moving_findings(tab)
        if view == FIRST_VISIT:
            yield from wide_findings(tab)
            yield from paper_findings(tab)
        if view.mode == "http" and view.width == "desktop":
            yield from access_findings(tab, view)

    def photograph(self, tab: Page, url: str, view: View) -> None:
        if self.screenshots and view.mode == "http":
            page = url.removeprefix(self.base).removesuffix(".html")
            name = (
                f"{page.replace('/', '-')}-{view.scheme}-{view.width}.png"
            )
            picture = self.screenshots / name
            tab.screenshot(path=picture, full_page=True, scale="css")

    def weigh(self, label: str, urls: set[str]) -> Iterator[Finding]:
        own = [
            urlsplit(url.removeprefix(self.base)).path
            for url in urls
            if url.startswith(self.base)
        ]
        files = {self.site.root / unquote(path) for path in own}
        asked = {file for file in files if file.is_file()}
        kb = sum(map(packed_bytes, asked)) // 1000
        self.seen.asked[label], self.seen.weights[label] = asked, kb
        if kb > LIMIT_KB:
            yield Finding("weight", f"{kb} kB gzipped, over {LIMIT_KB} kB")

    def search(self) -> None:
        if self.site.pattern != "*":
            return
        with self.opened(FIRST_VISIT) as context:
            tab = context.new_page()
            found = [*search_findings(tab, self.base, self.site.home)]
        self.seen.faults += [Fault("site", "http", *f) for f in found]


# --- the command ------------------------------------------------------


def shares(site: Site) -> list[list[str]]:
    """Deal the pages out to the browsers, the largest first."""
    size = {page: (site.root / page).stat().st_size for page in site.pages}
    parts: list[list[str]] = [[] for _ in range(PROCESSES)]
    for page in sorted(site.pages, key=size.get, reverse=True):
        least = min(parts, key=lambda part: sum(map(size.get, part)))
        least.append(page)
    return [part for part in parts if part]


def walk(
    site: Site, executable: str, screenshots: Path | None, part: list[str]
) -> Seen:
    """Visit some pages; whoever has the first of all searches, too."""
    with served(site.root) as base, launched(executable) as browser:
        walk = Walk(site, browser, base, screenshots)
        walk.run(part)
        if site.pages[0] in part:
            walk.search()
    return walk.seen


def browse(site: Site, executable: str, screenshots: Path | None) -> Seen:
    """Walk in several browsers, each in a process with its pages."""
    walks = side_by_side(
        partial(walk, site, executable, screenshots), shares(site)
    )
    seen = Seen()
    for one in walks:
        seen.add(one)
    seen.weigh_again(site.home)
    return seen


def report(site: Site, faults: list[Fault], visits: int, rest: str) -> int:
    places = [*site.pages, "site"]
    faults.sort(key=lambda fault: places.index(fault.page.split(" as ")[0]))
    print(*faults, sep="\n", end="\n" * bool(faults))
    counts = (
        f"{len(site.pages)} pages, {visits} views, {len(faults)} faults"
    )
    print(f"site: {counts}; {rest}")
    return 1 if faults else 0


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the built book")
    parser.add_argument("--page", default="*", metavar="GLOB")
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    return parser.parse_args(argv)


def usage_error(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    asked = options(argv)
    site = Site(asked.folder.resolve(), asked.page)
    if not site.soups:
        return usage_error(f"no pages in {asked.folder}: run `make book`")
    if not site.pages:
        return usage_error(
            f"no page of {asked.folder} is named {asked.page}"
        )
    executable = find_chromium()
    if not executable and os.environ.get("CI"):
        print("no Chromium found: install the Debian package chromium")
        return 1
    faults = static_faults(site)
    if not executable:
        rest = "no Chromium found, so the browser checks were skipped"
        return report(site, faults, 0, rest)
    seen = browse(site, executable, asked.screenshots)
    return report(site, faults + seen.faults, seen.visits, seen.summary())


if __name__ == "__main__":
    sys.exit(main())
