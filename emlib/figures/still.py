"""The house style of matplotlib, two widths, and the pictures that recur.

Truth is a dashed line; the colours are those of `emlib.figures.colours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde

from emlib.figures.colours import COMPONENTS, INK, MUTED
from emlib.shapes import Centres, Matrices, PerPoint, Points, Table

WIDE, NARROW = 6.0, 2.9  # inches
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
