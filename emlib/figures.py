"""The house style: one palette, two widths, and the pictures that recur.

Colours have a meaning and keep it all book long: component k keeps its
colour, responsibilities are mixtures of those colours, data without labels
is grey, truth is a dashed line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

try:
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, Rectangle
except ImportError as missing:
    raise ImportError(
        "emlib.figures draws with matplotlib, which is not installed. "
        'From a clone of the book: pip install ".[figures]"'
    ) from missing

from emlib.shapes import Colours, Table

__all__ = [
    "COMPONENTS",
    "INK",
    "MARKERS",
    "MUTED",
    "NARROW",
    "WIDE",
    "canvas",
    "loop_diagram",
    "mixed_colours",
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
    for label, (x, colour) in places.items():
        box = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": colour}
        axes.text(x, 1.1, label, ha="center", va="center", bbox=box)
    arrows = [
        ((1.35, 1.1), (2.0, 1.1), 0.0, "", 1.1),
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
        axes.add_patch(arrow)
        axes.text(4.0, height, label, ha="center", va="center")
