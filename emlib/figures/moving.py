"""Interactive figures: a slider picks the frame that a page draws.

All is computed here and carried by the page; `interactive.js` draws it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from math import prod
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from emlib.figures.colours import COMPONENTS, INK, css
from emlib.shapes import Table


class Mark(NamedTuple):
    """One thing that is drawn in a `Frame`.

    Attributes
    ----------
    x, y : iterable of float
        Where, in the units of the axes.
    colour : str
        One of the house colours, or any other in hexadecimal.
    kind : str
        "line", "thin", "dashed", "thick", "dots", "points" (small dots),
        "circle" (a ring around each point), "ellipse" (of which the three
        points are the centre and the ends of two conjugate half-axes),
        "bars" (of which each has two points, opposite corners), or "words"
        (the label, centred on the first point).
    label : str
        The words.
    """

    x: Iterable[float]
    y: Iterable[float]
    colour: str = INK
    kind: str = "line"
    label: str = ""


class Choice(NamedTuple):
    """What a reader picks from a list, beside the slider.

    Attributes
    ----------
    label : str
        What is chosen.
    options : sequence of str
        What there is to choose from.
    """

    label: str
    options: Sequence[str]


class Frame(NamedTuple):
    """What an interactive figure shows at one place of its slider.

    Attributes
    ----------
    name : str
        The place, in a few words that a screen reader says with the slider.
    text : str
        What is to be seen, with its numbers, in a sentence or two.
    marks : sequence of Mark
        What is drawn.
    at : float or None
        Where on the x axis a pointer picks this frame.
    resp : array of shape (n, k) or None
        Responsibilities, whose mixtures of the component colours the still
        "points" take; one row for each of them.
    """

    name: str
    text: str
    marks: Sequence[Mark]
    at: float | None = None
    resp: Table | None = None


class Interactive(NamedTuple):
    """A figure that a notebook shows, and a reader can move.

    Attributes
    ----------
    html : str
        The element.
    data : dict
        What its script draws from, as it stands in the page.
    """

    html: str
    data: dict[str, Any]

    def _repr_html_(self) -> str:
        return self.html


# A drawing's size and the plot's margins in it, in units of the drawing.
WIDTH, HEIGHT = 480, 300
LEFT, TOP, RIGHT, BELOW = 52.0, 24.0, 468.0, 46.0
RADII = {"dots": 5, "circle": 5, "points": 3}


def _blend(shares: Sequence[int]) -> str:
    """Return the components' colours in these shares, mixed by the page."""
    mixed, total = "", 0
    for colour, share in zip(COMPONENTS, shares, strict=False):
        total += share
        if share == total:
            mixed = css(colour)
        elif share:
            part = f"{css(colour)} {int(100 * share / total + 0.5)}%"
            mixed = f"color-mix(in srgb, {part}, {mixed})"
    return mixed


def _place(
    ends: Sequence[float], near: float, far: float, value: float
) -> float:
    """Return where a value of an axis with these ends is drawn."""
    low, high = ends
    place = near + (value - low) / (high - low) * (far - near)
    return round(float(place), 2)


def _outline(points: Sequence[float]) -> list[float]:
    """Return one coordinate of an ellipse's outline."""
    centre, one, other = points
    angles = 2 * np.pi * np.arange(49) / 48  # (49,)
    one, other = one - centre, other - centre
    return [
        centre + one * cos + other * sin
        for cos, sin in zip(np.cos(angles), np.sin(angles), strict=True)
    ]


def _shape(
    data: dict[str, Any], mark: dict[str, Any], resp: Any = None
) -> str:
    """Return one mark as SVG; interactive.js does the same."""
    kind, paint = mark["kind"], f"color:{mark['colour']}"
    left, top, right, bottom = data["box"]
    xs, ys = mark["x"], mark["y"]
    if kind == "ellipse":
        xs, ys = _outline(xs), _outline(ys)
    xs = [_place(data["x"], left, right, value) for value in xs]
    ys = [_place(data["y"], bottom, top, value) for value in ys]
    points = [*zip(xs, ys, strict=True)]
    if kind == "words":
        x, y = points[0]
        label = escape(mark["label"])
        return f'<text x="{x}" y="{y}" style="{paint}">{label}</text>'
    if kind == "bars":
        corners = zip(points[::2], points[1::2], strict=True)
        return "".join(_bar(*pair, paint) for pair in corners)
    if kind in RADII:
        paints = [paint] * len(points)
        if kind == "points" and resp:
            paints = [f"color:{_blend(shares)}" for shares in resp]
        return "".join(
            f'<circle class="{kind}" cx="{x}" cy="{y}" r="{RADII[kind]}"'
            f' style="{paint}"/>'
            for (x, y), paint in zip(points, paints, strict=True)
        )
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}" style="{paint}"/>'


def _bar(one: Sequence[float], other: Sequence[float], paint: str) -> str:
    """Return the rectangle between two corners as SVG."""
    (left, right), (top, bottom) = map(sorted, zip(one, other, strict=True))
    return (
        f'<rect class="bars" x="{left}" y="{top}" '
        f'width="{right - left:.2f}" height="{bottom - top:.2f}" '
        f'style="{paint}"/>'
    )


def _ticks(
    data: dict[str, Any], labels: Sequence[str], numbered: Sequence[Any]
) -> str:
    """Return the axes, their ticks and their labels as SVG."""
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10])
    left, top, right, bottom = data["box"]
    (low, high), (least, most) = (map(float, ends) for ends in numbered)
    begin, end = (_place(data["x"], left, right, v) for v in (low, high))
    foot, head = (_place(data["y"], bottom, top, v) for v in (least, most))
    parts = [
        f'<path stroke-linecap="square" d="M{left:g},{head:g}V{foot:g}'
        f'M{begin:g},{bottom:g}H{end:g}"/>'
    ]
    for value in ticks.tick_values(low, high):
        if low <= value <= high:
            x = _place(data["x"], left, right, value)
            parts.append(
                f'<path d="M{x},{bottom:g}v4"/>'
                f'<text x="{x}" y="{bottom + 18:g}">{_number(value)}</text>'
            )
    for value in ticks.tick_values(least, most):
        if least <= value <= most:
            y = _place(data["y"], bottom, top, value)
            parts.append(
                f'<path d="M{left:g},{y}h-4"/><text class="left" '
                f'x="{left - 8:g}" y="{y + 4:g}">{_number(value)}</text>'
            )
    across, up = map(escape, labels)
    middle = (left + right) / 2
    return (
        f'<g class="axes">{"".join(parts)}'
        f'<text x="{middle:g}" y="{bottom + 40:g}">{across}</text>'
        f'<text class="right" x="4" y="10">{up}</text></g>'
    )


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _worded(text: str) -> str:
    """Return the text with the sign of its numbers as print has it."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def _placed(mark: Mark, digits: int) -> dict[str, Any]:
    """Return a mark as the page carries it."""
    return {
        "x": [round(float(value), digits) for value in mark.x],
        "y": [round(float(value), digits) for value in mark.y],
        "colour": css(mark.colour),
        "kind": mark.kind,
        "label": mark.label,
    }


def _framed(frame: Frame, digits: int) -> dict[str, Any]:
    """Return a frame as the page carries it, shares in twentieths."""
    framed: dict[str, Any] = {
        "name": frame.name,
        "text": _worded(frame.text),
        "at": None if frame.at is None else float(frame.at),
        "marks": [_placed(mark, digits) for mark in frame.marks],
    }
    if frame.resp is not None:
        framed["resp"] = np.rint(20 * frame.resp).astype(int).tolist()
    return framed


def _lists(
    name: str, choices: Sequence[Choice], picked: Sequence[Any]
) -> str:
    """Return a list to pick from for each choice."""
    parts = []
    for number, choice in enumerate(choices):
        options = "".join(
            f"<option{' selected' if which == picked[number] else ''}>"
            f"{escape(option)}</option>"
            for which, option in enumerate(choice.options)
        )
        parts.append(
            f"<label>{escape(choice.label)} "
            f'<select id="{name}-choice-{number}">{options}</select>'
            f"</label>"
        )
    row = f'<div class="choices" hidden>{"".join(parts)}</div>'
    return row if choices else ""


def frames(
    name: str,
    frames: Sequence[Frame],
    still: Sequence[Mark] = (),
    *,
    xlim: Sequence[Any],
    ylim: Sequence[Any],
    labels: Sequence[str],
    slider: str,
    alt: str,
    caption: str = "",
    first: int = 0,
    digits: int = 4,
    choices: Sequence[Choice] = (),
    height: int = HEIGHT,
    numbered: Sequence[Any] | None = None,
) -> Interactive:
    """Return a figure of which a reader picks the frame to be seen.

    All is computed here, and the page's script only draws: it knows of
    lines, dots and words, and of no model. Without the script the first
    frame stands still.

    Parameters
    ----------
    name : str
        A word for this figure that no other of the page has.
    frames : sequence of Frame
        What is shown at each place of the slider; with `choices`, one run
        of the slider after the other, the last choice changing fastest.
    still : sequence of Mark
        What is drawn in every frame.
    xlim, ylim : pairs of float
        The ends of the axes; what lies beyond is cut off.
    labels : pair of str
        Words under the x axis and above the y axis.
    slider : str
        What the slider chooses.
    alt : str
        The figure in words, for those who do not see it.
    caption : str
        A sentence under the figure; the finding first.
    first : int
        The frame that is shown at the beginning.
    digits : int
        To how many digits after the point the page carries the values.
    choices : sequence of Choice
        What the reader may pick besides; each way has a run of its own.
    height : int
        Of the drawing, which is 480 wide; the axes take 416 of the width
        and all but 70 of the height.
    numbered : pair of pairs of float, optional
        The parts of the x and the y axis that are drawn, with numbers;
        without it the whole of both. What stands beside the rest needs
        words.

    Returns
    -------
    Interactive
        As the last value of a notebook's cell, it is shown.

    Raises
    ------
    ValueError
        If the frames do not part into one run for each way to choose.

    Examples
    --------
    >>> places = [
    ...     Frame(f"{x:g}", f"The dot is at {x:g}.", [Mark([x], [1])], x)
    ...     for x in (0.0, 0.5, 1.0)
    ... ]
    >>> figure = frames(
    ...     "dot",
    ...     places,
    ...     xlim=(0, 1),
    ...     ylim=(0, 2),
    ...     labels=("place", "height"),
    ...     slider="place of the dot",
    ...     alt="A dot that moves along a line.",
    ... )
    >>> figure.data["frames"][1]["text"]
    'The dot is at 0.5.'
    """
    sizes = [len(choice.options) for choice in choices]
    run, rest = divmod(len(frames), prod(sizes))
    if rest:
        raise ValueError(
            f"`frames` must part into {prod(sizes)} runs of one length, "
            f"one for each way to choose; received {len(frames)} frames."
        )
    box = [LEFT, TOP, RIGHT, height - BELOW]
    data: dict[str, Any] = {
        "x": [float(end) for end in xlim],
        "y": [float(end) for end in ylim],
        "box": box,
        "run": run,
        "palette": [css(colour) for colour in COMPONENTS],
        "frames": [_framed(frame, digits) for frame in frames],
    }
    way, place = divmod(first, run)
    picked = np.unravel_index(way, sizes or [1])
    shown = data["frames"][first]
    fixed = [_placed(mark, digits) for mark in still]
    clip = f"{name}-clip"
    written = json.dumps(data, separators=(",", ":"), allow_nan=False)
    resp = shown.get("resp")
    drawn = (
        f'<g class="{which}" clip-path="url(#{clip})">'
        f"{''.join(_shape(data, mark, resp) for mark in marks)}</g>"
        for which, marks in (("still", fixed), ("moving", shown["marks"]))
    )
    axes = _ticks(data, labels, numbered or (data["x"], data["y"]))
    html = (
        f'<figure class="interactive" data-figure="{escape(name)}">'
        f'<svg role="img" aria-label="{escape(alt)}" aria-describedby='
        f'"{name}-text" viewBox="0 0 {WIDTH} {height:g}"><clipPath '
        f'id="{clip}"><rect x="{LEFT:g}" y="{TOP:g}" '
        f'width="{RIGHT - LEFT:g}" height="{box[3] - TOP:g}"/></clipPath>'
        f"{axes}{''.join(drawn)}</svg>"
        f"{_lists(name, choices, picked)}"
        f'<div class="control" hidden><label for="{name}-range">'
        f'{escape(slider)}</label><input type="range" '
        f'id="{name}-range" aria-label="{escape(slider)}" min="0" '
        f'max="{run - 1}" value="{place}" '
        f'aria-valuetext="{escape(shown["name"])}"></div>'
        f'<output id="{name}-text" for="{name}-range" '
        f'aria-live="polite">{escape(shown["text"])}</output>'
        f"<figcaption>{escape(caption)}</figcaption>"
        f'<script type="application/json">'
        f"{written.replace('<', chr(92) + 'u003c')}</script></figure>"
    )
    return Interactive(html, data)
