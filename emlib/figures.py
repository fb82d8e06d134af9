"""The house style: one palette, two widths, and the pictures that recur.

Colours have a meaning and keep it all book long: component k keeps its
colour, responsibilities are mixtures of those colours, data without labels
is grey, truth is a dashed line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

try:
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyArrowPatch, Rectangle
    from matplotlib.ticker import MaxNLocator
except ImportError as missing:
    raise ImportError(
        "emlib.figures draws with matplotlib, which is not installed. "
        'From a clone of the book: pip install ".[figures]"'
    ) from missing

from scipy.stats import gaussian_kde

from emlib.shapes import (
    Centres,
    Colours,
    Matrices,
    PerPoint,
    Points,
    Table,
)

__all__ = [
    "COMPONENTS",
    "INK",
    "MARKERS",
    "MUTED",
    "NARROW",
    "WIDE",
    "Choice",
    "Frame",
    "Interactive",
    "Mark",
    "bound_staircase",
    "canvas",
    "ellipses",
    "frames",
    "loop_diagram",
    "mixed_colours",
    "pair_plot",
    "responsibility_strip",
]

WIDE, NARROW = 6.0, 2.9  # inches
INK, MUTED = "#22262a", "#6b7178"
# Okabe and Ito's colours, in an order that keeps its contrast in grey.
COMPONENTS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#f0e442",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "mathtext.fontset": "cm",
    "svg.fonttype": "path",
    "svg.hashsalt": "emlib",
}


def canvas(
    width: float = WIDE,
    height: float = 2.3,
    panels: int = 1,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Return a figure in the house style, and its axes.

    The style is set in matplotlib's `rcParams`, and stays.

    Parameters
    ----------
    width, height : float
        In inches; use `WIDE` (6.0) or `NARROW` (2.9) for the width.
    panels : int
        How many axes stand side by side.
    **subplots
        Passed on to `matplotlib.pyplot.subplots`, such as `sharey=True`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Laid out by matplotlib's constrained layout.
    axes : matplotlib.axes.Axes or array of them
        An array where `panels` is more than 1.

    Examples
    --------
    >>> figure, axes = canvas(NARROW)
    >>> float(figure.get_size_inches()[0])
    2.9
    """
    mpl.rcParams.update(STYLE)
    return plt.subplots(
        1,
        panels,
        figsize=(width, height),
        layout="constrained",
        **subplots,
    )


def mixed_colours(resp: Table) -> Colours:
    """Return each row's mixture of the component colours.

    Parameters
    ----------
    resp : array of shape (n, k)
        Responsibilities; each row sums to 1.

    Returns
    -------
    array of shape (n, 3)
        Red, green and blue, between 0 and 1.

    Examples
    --------
    >>> mixed_colours(np.array([[1.0, 0.0]])).round(2)
    array([[0.  , 0.45, 0.7 ]])
    """
    palette = np.array([to_rgb(c) for c in COMPONENTS[: resp.shape[1]]])
    colours: Colours = np.clip(resp @ palette, 0.0, 1.0)  # (n, 3)
    return colours


def responsibility_strip(axes: Axes, resps: Sequence[Table]) -> None:
    """Draw who is held responsible for each row, a column a turn.

    Each cell is one bar, cut in proportion to the row's responsibilities,
    component 1 at the left.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    resps : sequence of arrays of shape (n, k)
        The responsibilities of successive turns.

    Examples
    --------
    >>> figure, axes = canvas()
    >>> responsibility_strip(axes, [np.array([[0.4, 0.6], [1.0, 0.0]])])
    >>> len(axes.patches)
    4
    """
    for turn, resp in enumerate(resps):
        edges = np.cumsum(
            np.insert(resp, 0, 0.0, axis=1), axis=1
        )  # (n, k+1)
        for n, row in enumerate(edges):
            for k, (left, right) in enumerate(pairwise(row)):
                corner = (turn - 0.42 + 0.84 * left, n - 0.36)
                box = Rectangle(corner, 0.84 * (right - left), 0.72)
                box.set(facecolor=COMPONENTS[k], edgecolor="none")
                axes.add_patch(box)
    axes.set(
        xlim=(-0.6, len(resps) - 0.4), ylim=(len(resps[0]) - 0.4, -0.6)
    )
    axes.set(xticks=range(len(resps)), yticks=range(len(resps[0])))
    axes.set(xlabel="turn $t$", ylabel="row $n$")
    axes.set_yticklabels([str(n + 1) for n in range(len(resps[0]))])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def loop_diagram(
    axes: Axes,
    data: str = "data",
    hidden: str = "responsibilities",
    params: str = "parameters",
) -> None:
    """Draw the loop; only the labels change from part to part.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    data, hidden, params : str
        What is given, what the E-step returns, what the M-step returns.

    Examples
    --------
    >>> figure, axes = canvas()
    >>> loop_diagram(axes, "counts of heads", "which coin?", "chances")
    >>> [text.get_text() for text in axes.texts][:2]
    ['counts of heads', 'which coin?']
    """
    axes.set(xlim=(0, 6), ylim=(0, 2.2))
    axes.set_axis_off()
    places = {data: (0.75, MUTED), hidden: (2.9, COMPONENTS[0])}
    places[params] = (5.1, COMPONENTS[1])
    boxes = []
    for label, (x, colour) in places.items():
        box = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": colour}
        text = axes.text(x, 1.1, label, ha="center", va="center", bbox=box)
        boxes.append(text.get_bbox_patch())
    arrows = [
        ((0.75, 1.1), (2.9, 1.1), 0.0, "", 1.1),
        ((4.7, 1.45), (3.3, 1.45), 0.42, "E-step", 2.0),
        ((3.3, 0.75), (4.7, 0.75), 0.42, "M-step", 0.2),
    ]
    for tail, head, bend, label, height in arrows:
        arrow = FancyArrowPatch(
            tail,
            head,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=9,
            color=INK,
            linewidth=1.1,
        )
        if not bend:
            # From box to box, whose sizes are known once they are drawn.
            arrow.set(patchA=boxes[0], patchB=boxes[1], zorder=4)
        axes.add_patch(arrow)
        axes.text(4.0, height, label, ha="center", va="center")


def ellipses(
    axes: Axes,
    means: Centres,
    covariances: Matrices,
    colour: str | None = None,
    linestyle: str = "-",
) -> None:
    """Draw Gaussians in the plane: 1 and 2 standard deviations, and means.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    means : array of shape (k, 2)
        mu_k, drawn with each component's marker.
    covariances : array of shape (k, 2, 2)
        Sigma_k; the outlines are where (x - mu)^T Sigma^-1 (x - mu) is 1
        and 4.
    colour : str, optional
        Of all of them; without it each component has its own.
    linestyle : str
        ``"--"`` for the truth, which is drawn without markers.

    Examples
    --------
    >>> figure, axes = canvas(NARROW)
    >>> ellipses(axes, np.zeros((1, 2)), np.eye(2)[None])
    >>> len(axes.lines)
    3
    """
    angles = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angles), np.sin(angles)])  # (2, 73)
    for k, root in enumerate(np.linalg.cholesky(covariances)):
        paint = colour or COMPONENTS[k]
        for radius in (1, 2):
            outline = means[k][:, None] + radius * root @ circle  # (2, 73)
            axes.plot(*outline, linestyle, color=paint)
        if linestyle != "--":
            axes.plot(*means[k], MARKERS[k], color=paint)


def bound_staircase(
    axes: Axes,
    bounds_after_e: Sequence[float],
    bounds_after_m: Sequence[float],
) -> None:
    """Draw how the bound climbs: the M-step lifts it, the E-step closes in.

    The solid stairs are the bound. The dashed line is the log evidence,
    which changes where the parameters do, at an M-step; the thick strokes
    are the gaps that E-steps close.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    bounds_after_e : sequence of float
        The bound after the E-step of each turn, which is the turn's log
        evidence.
    bounds_after_m : sequence of float
        The bound after the M-steps between them: one entry fewer.

    Examples
    --------
    >>> figure, axes = canvas()
    >>> bound_staircase(axes, [-2.33, -1.78, -1.41], [-2.04, -1.51])
    >>> len(axes.lines)
    2
    """
    turns = len(bounds_after_e)
    times = np.arange(turns)  # (t,)
    heights = [*zip(bounds_after_e, bounds_after_m, strict=False)]
    stairs = [*np.ravel(heights), bounds_after_e[-1]]  # (2 t - 1,)
    edges = np.append(np.arange(2 * turns - 1) / 2, turns - 0.5)
    # A turn's parameters hold from its own M-step to the next one.
    axes.step(
        np.append(times - 0.5, turns - 0.5).clip(0),
        [*bounds_after_e, bounds_after_e[-1]],
        where="post",
        color=MUTED,
        linestyle="--",
    )
    axes.step(edges, [*stairs, stairs[-1]], where="post", color=INK)
    axes.vlines(
        times[1:], bounds_after_m, bounds_after_e[1:], INK, linewidth=4
    )
    axes.set(xticks=times, xlabel="turn $t$", ylabel="bound (nats)")


def pair_plot(
    x: Points, z: PerPoint, features: Sequence[str], kinds: Sequence[str]
) -> tuple[Figure, Any]:
    """Draw each pair of features, and each feature's density.

    On the diagonal stands the density of each kind, smoothed, with an area
    in proportion to the kind's number of points; a kind that has only one
    value there is left out.

    Parameters
    ----------
    x : array of shape (n, d)
        The points.
    z : array of shape (n,)
        Each point's kind, numbered from 0.
    features : sequence of str
        The name of each column, with its unit.
    kinds : sequence of str
        The name of each kind, for the legend.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Six inches wide and high.
    panels : array of matplotlib.axes.Axes, of shape (d, d)
        Row i is the feature upwards, column j the one across; what would
        stand above the diagonal is not drawn.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [1.0, 3.0], [5.0, 2.0], [6.0, 4.0]])
    >>> z = np.array([0, 0, 1, 1])
    >>> figure, panels = pair_plot(x, z, ["a (cm)", "b (cm)"], ["p", "q"])
    >>> panels[1, 0].get_xlabel(), panels[1, 0].get_ylabel()
    ('a (cm)', 'b (cm)')
    """
    mpl.rcParams.update(STYLE)
    d = len(features)
    figure, grid = plt.subplots(
        d, d, figsize=(WIDE, WIDE), layout="constrained", squeeze=False
    )
    panels: Any = grid  # (d, d)
    for i, j in np.ndindex(d, d):
        axes = panels[i, j]
        if i < j:
            axes.set_axis_off()
            continue
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        if i == j:
            _densities(axes, x[:, i], z, len(kinds))
            axes.set(yticks=[], ylabel="" if i else "density")
            axes.set_ylim(bottom=0)
        else:
            for k in range(len(kinds)):
                look: Any = {"color": COMPONENTS[k], "marker": MARKERS[k]}
                look |= {"ls": "", "markersize": 2.8, "mew": 0}
                mine = x[z == k]  # (n_k, d)
                axes.plot(mine[:, j], mine[:, i], **look)
            axes.set_ylabel(features[i])
        axes.set_xlabel(features[j])
        axes.label_outer()
    keys = [
        Line2D([], [], color=colour, marker=marker, ls="")
        for colour, marker, _ in zip(
            COMPONENTS, MARKERS, kinds, strict=False
        )
    ]
    # Where a phone shows it without scrolling.
    panels[0, min(1, d - 1)].legend(keys, kinds, loc="upper left")
    return figure, panels


def _densities(axes: Axes, x: PerPoint, z: PerPoint, k: int) -> None:
    """Draw each kind's smoothed density, scaled by its share."""
    grid = np.linspace(x.min(), x.max(), 101)  # (101,)
    for kind in range(k):
        mine = x[z == kind]  # (n_k,)
        if len(np.unique(mine)) > 1:
            heights = gaussian_kde(mine)(grid) * len(mine) / len(x)
            axes.plot(grid, heights, color=COMPONENTS[kind])


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


def _paint(colour: str) -> str:
    """Return the colour as the page knows it, dark or light."""
    house = {INK: "ink", MUTED: "muted"} | {
        c: f"component-{k}" for k, c in enumerate(COMPONENTS, start=1)
    }
    known = colour in house
    return f"var(--{house[colour]}, {colour})" if known else colour


def _blend(shares: Sequence[int]) -> str:
    """Return the components' colours in these shares, mixed by the page."""
    mixed, total = "", 0
    for colour, share in zip(COMPONENTS, shares, strict=False):
        total += share
        if share == total:
            mixed = _paint(colour)
        elif share:
            part = f"{_paint(colour)} {int(100 * share / total + 0.5)}%"
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
        "colour": _paint(mark.colour),
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
        "palette": [_paint(colour) for colour in COMPONENTS],
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
