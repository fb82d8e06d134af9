"""Ask axe-core what keeps a reader from a page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from faults import Finding, View

if TYPE_CHECKING:
    from playwright.sync_api import Page

# axe takes a minute for a page of many formulas. A formula becomes a few
# letters at the ends of a box of its size: its ink and its scrolling are
# judged still, and of the tokens of a listing one of each kind stays.
# The shades at the edge of what scrolls would hide the ground from it.
THIN = r"""() => {
  const style = document.createElement('style');
  style.textContent =
    '*, ::before, ::after { background-image: none !important;'
    + ' transition: none !important; animation: none !important; }';
  document.head.append(style);
  const formulas = [...document.querySelectorAll('.katex')].map(e => {
    const {width, height} = e.getBoundingClientRect();
    return [e, Math.max(width, e.scrollWidth), height];
  });
  for (const [formula, width, height] of formulas) {
    const room = document.createElement('span');
    room.innerHTML = '<span>xyz</span>'.repeat(width > 99 ? 2 : 1);
    room.style.cssText = 'display: inline-flex;'
      + ' justify-content: space-between;'
      + `width: ${width}px; height: ${height}px`;
    formula.replaceChildren(room);
  }
  const known = new Set();
  for (const token of document.querySelectorAll('.highlight pre span')) {
    const {color, backgroundColor} = getComputedStyle(token);
    const kind = `${token.className} ${color} ${backgroundColor}`;
    if (token.children.length || token.querySelector('[id]')) continue;
    if (!known.has(kind)) known.add(kind);
    else if (!token.id) token.replaceWith(token.textContent);
  }
  document.querySelectorAll('.highlight pre').forEach(e => e.normalize());
  // What is wide has changed with it, and the page hears of that so.
  dispatchEvent(new Event('resize'));
}"""
ASK = """async only => {
  const {violations} = await axe.run({
    preload: false, resultTypes: ['violations'],
    ...(only ? {runOnly: {type: 'rule', values: only}} : {}),
  });
  return violations.flatMap(({id, help, nodes}) => nodes.map(node => [
    id, help, node.target.join(' '),
    [...node.any, ...node.all, ...node.none].map(c => c.message)[0] || '',
  ]));
}"""


# The dark page is the light one in other colours.
OF_COLOURS = ["color-contrast", "link-in-text-block"]


@cache
def axe() -> str:
    script = files("axe_playwright_python") / "axe.min.js"
    return script.read_text(encoding="utf-8")


def access_findings(tab: Page, view: View) -> Iterator[Finding]:
    """Name what axe finds; the page is of no use afterwards."""
    only = OF_COLOURS if view.scheme == "dark" else None
    tab.evaluate(THIN)
    tab.evaluate(axe())
    for rule, help_, where, why in tab.evaluate(ASK, only):
        yield Finding("axe", f"{rule}: {where}: {why or help_}"[:300])
