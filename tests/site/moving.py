"""Operate each interactive figure as a reader does.

What is drawn and said at each place is held against the values that the
page carries; that these are the package's is for the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import dist, isfinite
from typing import TYPE_CHECKING, Any

from faults import Finding

if TYPE_CHECKING:
    from playwright.sync_api import ElementHandle, Page

SLIDER, LIST = ".control input[type=range]", ".choices select"
DOTS = {"dots", "points", "circle"}
# A picture's unit is about a pixel, and values are drawn to a hundredth.
NEAR = 0.02
# How far, in those units, a pointer may rest from where it is sent.
REST = 1.0

READ = r"""figure => {
  const range = figure.querySelector('.control input[type=range]');
  const numbers = e => (e.getAttribute('points') || '')
    .split(/[\s,]+/).filter(Boolean).map(Number);
  const shape = e => ({
    polyline: () => ['line', numbers(e)],
    circle: () => ['dot', [e.cx, e.cy].map(c => c.baseVal.value)],
    rect: () => {
      const [x, y, wide, high] = [e.x, e.y, e.width, e.height]
        .map(c => c.baseVal.value);
      return ['bar', [x, y, x + wide, y + high]];
    },
    text: () => ['words', ['x', 'y'].map(n => +e.getAttribute(n)),
      e.textContent],
  })[e.tagName]?.() || ['unknown ' + e.tagName, []];
  const tints = figure.querySelectorAll('svg .still .points');
  return {
    place: range.valueAsNumber,
    picked: [...figure.querySelectorAll('.choices select')]
      .map(e => e.selectedIndex),
    text: figure.querySelector('output').textContent,
    spoken: range.getAttribute('aria-valuetext'),
    shapes: [...figure.querySelector('svg .moving').children].map(shape),
    tints: [...tints].map(e => getComputedStyle(e).color),
  };
}"""
# Every change is written down as it happens, after the figure's own script.
LISTEN = f"""figure => {{
  const read = {READ};
  figure.told = [];
  figure.addEventListener('input', () => figure.told.push(read(figure)));
}}"""
TOLD = "figure => figure.told.splice(0)"
FOCUS = """(figure, [control, which]) =>
  figure.querySelectorAll(control)[which].focus()"""
ON_SCREEN = """(figure, at) => {
  const svg = figure.querySelector('svg');
  const spot = new DOMPoint(...at).matrixTransform(svg.getScreenCTM());
  return [spot.x, spot.y];
}"""
DATA = """figure => JSON.parse(figure.querySelector(
  'script[type="application/json"]').textContent)"""
CONTROLS = """figure => ({
  name: figure.dataset.figure,
  shown: [...figure.querySelectorAll('.control input, .choices select')]
    .every(e => e.checkVisibility() && (e.labels.length
      || e.getAttribute('aria-label'))),
  ranges: figure.querySelectorAll('.control input[type=range]').length,
  sizes: [...figure.querySelectorAll('.choices select')]
    .map(e => e.options.length),
})"""


def moving_findings(tab: Page) -> Iterator[Finding]:
    for figure in tab.query_selector_all("figure.interactive"):
        controls = figure.evaluate(CONTROLS)
        problems = figure_problems(tab, figure, controls)
        for what in dict.fromkeys(problems):
            yield Finding("interactive", f"{controls['name']}: {what}")


def figure_problems(
    tab: Page, figure: ElementHandle, controls: dict[str, Any]
) -> Iterator[str]:
    if not controls["shown"] or controls["ranges"] != 1:
        yield "no slider, or a control that is hidden or has no label"
        return
    data = figure.evaluate(DATA)
    figure.scroll_into_view_if_needed()
    figure.evaluate(LISTEN)
    told = [figure.evaluate(READ)]
    sizes = controls["sizes"]
    for picked in product(*map(range, sizes)):
        told += (by_keys := keyed(tab, figure, data["run"], [*picked]))
        yield from way_problems(by_keys, data["run"] - 1, [*picked])
    told += (ends := dragged(tab, figure))
    if {0, data["run"] - 1} - {state["place"] for state in ends}:
        yield "a pointer does not move the slider to its ends"
    if figure.evaluate("f => !!f.querySelector('svg.held')"):
        yield from held_problems(tab, figure, data, sizes)
    told += figure.evaluate(TOLD)
    for state in told:
        way = 0
        for choice, size in zip(state["picked"], sizes, strict=True):
            way = way * size + choice
        frame = data["frames"][way * data["run"] + state["place"]]
        yield from frame_problems(data, frame, state)


def keyed(
    tab: Page, figure: ElementHandle, run: int, picked: list[int]
) -> list[dict[str, Any]]:
    """Choose from each list and go to each place, by keys alone."""
    for number, option in enumerate(picked):
        figure.evaluate(FOCUS, [LIST, number])
        press(tab, "Home", *["ArrowDown"] * option)
    figure.evaluate(FOCUS, [SLIDER, 0])
    press(tab, "Home")
    chosen = figure.evaluate(TOLD)
    press(tab, "End", "Home", *["ArrowRight"] * (run - 1), "ArrowLeft")
    return chosen[-1:] + list(figure.evaluate(TOLD))


def press(tab: Page, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def way_problems(
    told: list[dict[str, Any]], last: int, picked: list[int]
) -> Iterator[str]:
    way = [last, 0, *range(1, last + 1), last - 1]
    places = [state["place"] for state in told]
    if places[-len(way) :] != way:
        yield f"keys lead to the places {places}, not {way}"[:150]
    if any(state["picked"] != picked for state in told):
        yield f"keys do not choose {picked}"


def dragged(tab: Page, figure: ElementHandle) -> list[dict[str, Any]]:
    """Press at one end of the slider, and pull it to the other."""
    box = figure.query_selector(SLIDER).bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] - 2, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 2, middle, steps=4)
    tab.mouse.up()
    return list(figure.evaluate(TOLD))


def held_problems(
    tab: Page, figure: ElementHandle, data: dict[str, Any], sizes: list[int]
) -> Iterator[str]:
    """Hold the picture, and pull it to where each frame lies."""
    left, top, right, bottom = data["box"]
    first = len(data["frames"]) - data["run"]  # Keys chose the last way.
    spots = [
        placed(data["x"], left, right, frame["at"])
        for frame in data["frames"][first:]
    ]
    height = (top + bottom) / 2
    for number, spot in enumerate([*spots, *spots[:1]]):
        tab.mouse.move(*figure.evaluate(ON_SCREEN, [spot, height]))
        if number == 0:
            tab.mouse.down()
        place = figure.evaluate(f"f => ({READ})(f).place")
        if abs(spots[place] - spot) > REST:
            yield f"a pointer at {spot:.0f} picks the place {place}"
    tab.mouse.up()


def placed(
    ends: list[float], near: float, far: float, value: float
) -> float:
    low, high = ends
    return near + (value - low) / (high - low) * (far - near)


def frame_problems(
    data: dict[str, Any], frame: dict[str, Any], state: dict[str, Any]
) -> Iterator[str]:
    at = f"at {frame['name']!r} of {state['picked']}"
    if state["text"] != frame["text"]:
        yield f"{at} it says {state['text']!r}, not {frame['text']!r}"
    if state["spoken"] != frame["name"]:
        yield f"{at} the slider is read as {state['spoken']!r}"
    wanted = [
        shape for mark in frame["marks"] for shape in shapes(data, mark)
    ]
    drawn = state["shapes"]
    if len(drawn) != len(wanted):
        yield f"{at} {len(drawn)} marks are drawn, not {len(wanted)}"
    for one, other in zip(drawn, wanted, strict=False):
        if problem := shape_problem(data["box"], one, other):
            yield f"{at} {problem}"
    if len(frame.get("resp", state["tints"])) != len(state["tints"]):
        yield f"{at} not each point has responsibilities"


def shapes(
    data: dict[str, Any], mark: dict[str, Any]
) -> Iterator[list[Any]]:
    """Say what a mark must be drawn as, and where."""
    left, top, right, bottom = data["box"]
    points = [
        (
            placed(data["x"], left, right, x),
            placed(data["y"], bottom, top, y),
        )
        for x, y in zip(mark["x"], mark["y"], strict=True)
    ]
    if mark["kind"] in DOTS:
        yield from (["dot", [*point]] for point in points)
    elif mark["kind"] == "bars":
        for one, other in zip(points[::2], points[1::2], strict=True):
            low, high = zip(
                *map(sorted, zip(one, other, strict=True)), strict=True
            )
            yield ["bar", [*low, *high]]
    elif mark["kind"] == "words":
        yield ["words", [*points[0]], mark["label"]]
    elif mark["kind"] == "ellipse":
        yield ["line", points]
    else:
        yield ["line", [value for point in points for value in point]]


def shape_problem(
    box: list[float], drawn: list[Any], wanted: list[Any]
) -> str | None:
    if drawn[0] != wanted[0] or drawn[2:] != wanted[2:]:
        return f"{drawn} is drawn for {wanted}"[:120]
    numbers = drawn[1]
    if not all(isinstance(v, int | float) and isfinite(v) for v in numbers):
        return f"a {drawn[0]} has no place"
    left, top, right, bottom = box
    inside = any(
        left - NEAR <= x <= right + NEAR
        and top - NEAR <= y <= bottom + NEAR
        for x, y in zip(numbers[::2], numbers[1::2], strict=False)
    )
    if not inside:
        return f"a {drawn[0]} lies outside the axes"
    if wanted[1] and isinstance(wanted[1][0], tuple):
        return ellipse_problem(numbers, wanted[1])
    if len(numbers) != len(wanted[1]) or any(
        abs(a - b) > NEAR for a, b in zip(numbers, wanted[1], strict=True)
    ):
        return f"a {drawn[0]} is not where its values are"
    return None


def ellipse_problem(
    numbers: list[float], corners: list[tuple[float, float]]
) -> str | None:
    """Say whether an outline passes through the ends of the half-axes."""
    points = [*zip(numbers[::2], numbers[1::2], strict=True)]
    (x, y), *ends = corners
    far = [(2 * x - a, 2 * y - b) for a, b in ends]
    for end in [*ends, *far]:
        if min(map(dist, points, [end] * len(points))) > NEAR:
            return "an ellipse does not pass through its half-axes' ends"
    return None
