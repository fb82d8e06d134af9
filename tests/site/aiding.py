"""Use the aids for reading as a reader does.

Cards that links show, the notation one key away, the map of the chapters,
the drawer of the contents, the link for mistakes and the page for what is
not there are each operated on one page of the book.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from faults import Finding, View

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from playwright.sync_api import Locator, Page

    Soups = Mapping[str, BeautifulSoup]
    Check = Callable[[Page, Soups, str], Iterator[str]]

AIDED = "book/coins.html"
MAPPED = "book/index.html"
LOST = "no/such/page"
PATIENCE = 15_000  # milliseconds, for a page and for what it is to show

LINKS = 'article a.internal[href*="#"]'
CARD = "[role=tooltip]:visible"
DIALOG = "dialog[open]"
KEY = ".notation-key"
# What shows a card, and the part of it by which it is known.
KINDS = {
    "div.equation": ".eqno",
    "figure": ".caption-number",
    "div.literal-block-wrapper": ".caption-number",
    "div.admonition": ".admonition-title",
    "div.citation": "p",
    "dl.glossary > dt": "",
}

READ_CARD = """(link, card) => {
  const box = card.getBoundingClientRect();
  const line = link.getClientRects()[0];
  return {
    text: card.textContent,
    named: link.getAttribute('aria-describedby') === card.id,
    inside: box.left >= 0 && box.top >= 0 && box.right <= innerWidth,
    covers: line.left < box.right && line.right > box.left
      && line.top < box.bottom - 1 && line.bottom > box.top + 1,
  };
}"""
HAS_FOCUS = "e => e === document.activeElement"
HOLDS_FOCUS = "e => e.contains(document.activeElement)"
# What stands in the way of a line of words.
COVERED = """title => {
  const words = document.createRange();
  words.selectNodeContents(title);
  const box = words.getBoundingClientRect();
  const meets = e => {
    const other = e.getBoundingClientRect();
    return e.checkVisibility() && other.left < box.right
      && other.right > box.left && other.top < box.bottom
      && other.bottom > box.top;
  };
  const room = title.closest('dialog') || document;
  const button = [...room.querySelectorAll('button')].find(meets);
  if (button) return `it meets the button ${button.className}`;
  const x = box.left + 1, y = box.top + box.height / 2;
  const seen = [x, box.right - 1].every(across =>
    document.elementsFromPoint(across, y)[0] === title);
  return seen ? '' : 'it is covered or out of sight';
}"""


def aid_findings(
    tab: Page, url: str, soups: Soups, page: str, view: View
) -> Iterator[Finding]:
    """Operate what the page of this address has, if it is one of those."""
    for check in checks(page, view):
        yield from operated(check, tab, url, soups, page)


def operated(
    check: Check,
    tab: Page,
    url: str,
    soups: Soups,
    page: str,
    wait: int = PATIENCE,
) -> Iterator[Finding]:
    from playwright.sync_api import Error

    tab.set_default_timeout(wait)
    try:
        tab.goto(url, timeout=PATIENCE)
        for what in check(tab, soups, page):
            yield Finding("aid", what)
    except Error as error:
        reason = error.message.partition("\n")[0]
        yield Finding("aid", f"{check.__name__}: {reason}")


def checks(page: str, view: View) -> tuple[Check, ...]:
    screen, disk, phone = (
        View("http"),
        View("file"),
        View("http", "phone"),
    )
    return {
        (AIDED, screen): (
            card_problems,
            notation_problems,
            title_problems,
            paper_problems,
            report_problems,
        ),
        (AIDED, disk): (card_problems, notation_problems),
        (AIDED, phone): (tap_problems, drawer_problems),
        (MAPPED, screen): (map_problems,),
        (LOST, screen): (lost_problems,),
    }.get((page, view), ())


def appears(tab: Page, what: str) -> bool:
    from playwright.sync_api import TimeoutError as Late

    try:
        tab.locator(what).first.wait_for(state="visible")
    except Late:
        return False
    return True


def vanishes(tab: Page, what: str) -> bool:
    from playwright.sync_api import TimeoutError as Late

    try:
        tab.locator(what).first.wait_for(state="hidden")
    except Late:
        return False
    return True


def letters(text: str) -> str:
    return re.sub(r"\s+|#", "", text)


# --- cards ------------------------------------------------------------


def target_of(soups: Soups, page: str, address: str) -> Tag | None:
    file, _, name = address.partition("#")
    soup = soups.get(urljoin(page, file))
    return soup.find(id=unquote(name)) if soup else None


def promise(target: Tag) -> tuple[str, str]:
    """Say of which kind a target is, and what its card must say."""
    for kind, part in KINDS.items():
        if target.css.match(kind):
            known = target.select_one(part) if part else None
            if target.name == "dt":
                known = target.find_next("dd")
            texts = known.stripped_strings if known else iter(())
            return kind, letters(next(texts, ""))[:20]
    return "", ""


def chosen(
    tab: Page, soups: Soups, page: str
) -> Iterator[tuple[Locator, str, str]]:
    """Yield a link of each kind, within the page and to another."""
    done = set()
    for link in tab.locator(LINKS).all():
        address = str(link.get_attribute("href"))
        target = target_of(soups, page, address)
        kind, words = promise(target) if target else ("", "")
        place = "within" if address.startswith("#") else "to another"
        if words and (kind, place) not in done and link.is_visible():
            done.add((kind, place))
            yield link, f"{kind} {place}", words


def card_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    links = [*chosen(tab, soups, page)]
    if len(links) < 2:
        yield "no two links whose targets are shown on cards"
    for link, kind, words in links:
        tab.mouse.move(1, 1)
        link.hover()
        yield from shown_problems(tab, link, words, f"{kind}: a pointer")
        yield from held_problems(tab, kind)
        link.focus()
        press(tab, "Shift+Tab", "Tab")
        if not link.evaluate(HAS_FOCUS):
            yield f"{kind}: the Tab key does not lead to the link"
        yield from shown_problems(tab, link, words, f"{kind}: the Tab key")
        press(tab, "Escape")
        if not vanishes(tab, CARD):
            yield f"{kind}: Escape does not close the card"
        elif not link.evaluate(HAS_FOCUS):
            yield f"{kind}: Escape takes the focus from the link"


def press(tab: Page, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def shown_problems(
    tab: Page, link: Locator, words: str, who: str
) -> Iterator[str]:
    if not appears(tab, CARD):
        yield f"{who} opens no card"
        return
    card = tab.locator(CARD).element_handle()
    state: dict[str, Any] = link.evaluate(READ_CARD, card)
    if words not in letters(state["text"]):
        yield f"{who} opens a card without {words!r}"
    if not state["named"]:
        yield f"{who} opens a card that does not describe the link"
    if not state["inside"]:
        yield f"{who} opens a card out of sight"
    if state["covers"]:
        yield f"{who} opens a card over its link"


def held_problems(tab: Page, kind: str) -> Iterator[str]:
    """Go to the card with the pointer, and then away from it."""
    if not tab.locator(CARD).count():
        return
    box = tab.locator(CARD).bounding_box()
    tab.mouse.move(box["x"] + 9, box["y"] + box["height"] / 2)
    tab.wait_for_timeout(400)
    if not tab.locator(CARD).count():
        yield f"{kind}: the card is gone when a pointer goes to it"
    tab.mouse.move(1, 1)
    if not vanishes(tab, CARD):
        yield f"{kind}: the card stays when a pointer leaves"


def tap_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    """Tap as long as a finger rests, on a link within the page."""
    links = [c for c in chosen(tab, soups, page) if "within" in c[1]]
    if not links:
        yield "no link within the page to tap"
        return
    link = links[0][0]
    link.scroll_into_view_if_needed()
    box = link.bounding_box()
    spot = {
        "x": box["x"] + box["width"] / 2,
        "y": box["y"] + box["height"] / 2,
    }
    finger = tab.context.new_cdp_session(tab)
    send = "Input.dispatchTouchEvent"
    finger.send(send, {"type": "touchStart", "touchPoints": [spot]})
    tab.wait_for_timeout(300)
    seen = tab.locator(CARD).count()
    finger.send(send, {"type": "touchEnd", "touchPoints": []})
    tab.wait_for_timeout(400)
    if seen or tab.locator(CARD).count():
        yield "a tap opens a card"
    if urlsplit(tab.url).fragment != link.get_attribute("href")[1:]:
        yield "a tap does not lead to the link's target"


# --- the notation -----------------------------------------------------


def notation_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    link = tab.locator("article a:visible").first
    link.focus()
    press(tab, "n")
    if not appears(tab, DIALOG):
        yield "the key n does not open the notation"
        return
    if not tab.locator(f"{DIALOG} td").count():
        yield "the notation has no table"
    yield from focus_problems(tab)
    press(tab, "Escape")
    yield from closed_problems(tab, link, "Escape")
    press(tab, "n")
    yield from switch_problems(tab, link)


def focus_problems(tab: Page) -> Iterator[str]:
    dialog = tab.locator(DIALOG)
    if not dialog.evaluate(HOLDS_FOCUS):
        yield "the focus does not move into the notation"
    last = "e => e.querySelectorAll('input, button, [tabindex]').length"
    for _ in range(dialog.evaluate(last) + 1):
        press(tab, "Tab")
        # Past the last one the browser's own controls have their turn.
        left = "e => e !== document.body && !e.closest('dialog[open]')"
        if tab.locator(":focus").count() and tab.locator(":focus").evaluate(
            left
        ):
            yield "the Tab key leads out of the open notation"
            return


def closed_problems(tab: Page, link: Locator, how: str) -> Iterator[str]:
    if not vanishes(tab, DIALOG):
        yield f"{how} does not close the notation"
    elif not link.evaluate(HAS_FOCUS):
        yield f"{how} does not return the focus"


def switch_problems(tab: Page, link: Locator) -> Iterator[str]:
    """Take the key away, look whether it stays so, and give it back."""
    if not appears(tab, DIALOG):
        yield "the notation does not open a second time"
        return
    tab.locator(f"{DIALOG} input[type=checkbox]").focus()
    press(tab, "Space")
    tab.locator(f"{DIALOG} button").focus()
    press(tab, "Enter")
    yield from closed_problems(tab, link, "its button")
    if "(n)" in tab.locator(KEY).inner_text():
        yield "the button names a key that is switched off"
    for when in ("is switched off", "was switched off before"):
        press(tab, "n")
        tab.wait_for_timeout(200)
        if tab.locator(DIALOG).count():
            yield f"the key n opens the notation when it {when}"
            return
        tab.reload(timeout=PATIENCE)
    tab.locator(KEY).click()
    if not appears(tab, DIALOG):
        yield "the button does not open the notation"
        return
    tab.locator(f"{DIALOG} input[type=checkbox]").focus()
    press(tab, "Space", "Escape")
    yield from closed_problems(tab, tab.locator(KEY), "Escape")
    press(tab, "n")
    if not appears(tab, DIALOG):
        yield "the key n cannot be switched on again"


# --- titles, paper, mistakes ------------------------------------------


def title_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    title = tab.locator(".bd-sidebar-primary .title")
    if not title.count():
        yield "the sidebar has no title"
    elif problem := title.first.evaluate(COVERED):
        yield f"the title in the sidebar: {problem}"
    toggle = tab.locator(".primary-toggle:visible")
    toggle.click()
    if not vanishes(tab, ".bd-sidebar-primary .title"):
        yield "the button does not fold the sidebar"


def drawer_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    tab.locator(".primary-toggle:visible").tap()
    title = tab.locator(f"{DIALOG} .title")
    if not appears(tab, f"{DIALOG} .title"):
        yield "the button does not open the drawer of the contents"
        return
    tab.wait_for_timeout(400)
    if problem := title.evaluate(COVERED):
        yield f"the title in the drawer: {problem}"
    press(tab, "Escape")
    if not vanishes(tab, DIALOG):
        yield "Escape does not close the drawer"
    tab.locator(".secondary-toggle:visible").tap()
    if not appears(tab, DIALOG):
        yield "the button does not open the drawer of the page's parts"


def paper_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    link = next(chosen(tab, soups, page))[0]
    press(tab, "Tab")
    link.focus()
    if not appears(tab, CARD):
        yield "no card to be kept off paper"
    shown = {".preview": "a card", KEY: "a button", ".mistake": "a link"}
    yield from printed_problems(tab, shown)
    press(tab, "n")
    if not appears(tab, DIALOG):
        yield "no notation to be kept off paper"
    yield from printed_problems(tab, {DIALOG: "the notation"})


def printed_problems(tab: Page, shown: dict[str, str]) -> Iterator[str]:
    tab.emulate_media(media="print")
    for place, name in shown.items():
        if tab.locator(f"{place}:visible").count():
            yield f"{name} ({place}) is seen in print"
    tab.emulate_media(media="screen")


def report_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    tab.locator(".mistake a").click()
    tab.wait_for_load_state()
    letter = tab.locator(".mistake-report pre").inner_text()
    wanted = f"Page: {page.removesuffix('.html')}"
    if wanted not in letter.splitlines():
        first = letter.partition("\n")[0]
        yield f"a report begins with {first!r}, not {wanted!r}"


# --- the map, and what is not there -----------------------------------


def map_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    places = tab.locator(".chapter-map a[href]")
    hrefs = places.evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    reached = [urljoin(page, href.partition("#")[0]) for href in hrefs]
    about = ".about-chapter"
    chapters = {name for name, soup in soups.items() if soup.select(about)}
    for name in sorted(chapters.symmetric_difference(reached)):
        kind = "is not on" if name in chapters else "is no chapter, but on"
        yield f"{name} {kind} the map"
    if not reached:
        return
    names = [words_of(place.text_content()) for place in places.all()]
    for name, target in zip(names, reached, strict=True):
        soup = soups.get(target)
        title = soup.select_one("h1") if soup else None
        if not title or words_of(title.get_text()) != name:
            yield f"the map leads from {name!r} to {target}"
    yield from way_problems(tab, places.first, "a key")
    tab.go_back(timeout=PATIENCE)
    yield from way_problems(tab, places.last, "a pointer")


def way_problems(tab: Page, place: Locator, how: str) -> Iterator[str]:
    from playwright.sync_api import TimeoutError as Late

    wanted = urljoin(tab.url, str(place.get_attribute("href")))
    if how == "a key":
        place.focus()
        press(tab, "Shift+Tab", "Tab", "Enter")
    else:
        place.locator("rect").click()
    try:
        tab.wait_for_url(wanted)
    except Late:
        yield f"{how} does not follow the map to {wanted}"


def words_of(text: str | None) -> str:
    return " ".join(re.sub("#", "", text or "").split())


def lost_problems(tab: Page, soups: Soups, page: str) -> Iterator[str]:
    response = tab.reload(timeout=PATIENCE)
    if response.status != 404:
        yield f"a page that is not there has the status {response.status}"
    urls = tab.eval_on_selector_all(
        "a[href]", "all => all.map(a => a.href)"
    )
    root = tab.url.removesuffix(LOST)
    known = {root + name for name in soups}
    own = {u.partition("#")[0].partition("?")[0] for u in urls}
    own = {url for url in own if url.startswith(root)} - {tab.url}
    for url in sorted(own - known - {root}):
        yield f"a link leads to nothing: {url.removeprefix(root)}"
    if root + MAPPED not in own and MAPPED in soups:
        yield "no link leads to the first page"
    box = tab.locator("main input[name=q]")
    if box.count():
        box.press_sequentially("Jensen")
        if box.input_value() != "Jensen":
            yield f"the search takes {box.input_value()!r} for 'Jensen'"
        box.press("Enter")
        tab.wait_for_url("**/search.html?q=Jensen")
