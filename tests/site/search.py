"""Type words into the book's search, and see where they lead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faults import Finding

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Words that a reader would type, and the page that explains them.
QUERIES = {
    "responsibility": "book/coins.html",
    "Cholesky": "book/one_pass.html",
    "SQUAREM": "book/speed.html",
}
FIRST = 5
RESULTS = "#search-results li a"


def search_findings(tab: Page, base: str, home: str) -> Iterator[Finding]:
    for query, wanted in QUERIES.items():
        tab.goto(base + home)
        found = [
            urlsplit(url.removeprefix(base)).path
            for url in results(tab, query)
        ]
        if wanted not in found[:FIRST]:
            said = ", ".join(found[:FIRST]) or "nothing"
            yield Finding("search", f"{query} leads to {said}: no {wanted}")


def results(tab: Page, query: str) -> list[str]:
    """Return the addresses that the search finds, best first."""
    from playwright.sync_api import Error

    try:
        tab.keyboard.press("Control+k")
        box = tab.locator("input[name=q]:visible").first
        box.press_sequentially(query, timeout=5000)
        box.press("Enter")
        tab.wait_for_selector(RESULTS, timeout=5000)
    except Error:
        return []
    # The list grows as the pages found are read, and then stands.
    tab.wait_for_load_state("networkidle")
    return tab.eval_on_selector_all(RESULTS, "all => all.map(e => e.href)")
