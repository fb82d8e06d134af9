"""The colours of the book, in a picture and in the page.

Colours have a meaning and keep it all book long: component k keeps its
colour, responsibilities are mixtures of those colours, data without labels
is grey.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb

from emlib.shapes import Colours, Table

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
CSS_VARIABLES = {INK: "--ink", MUTED: "--muted"} | {
    colour: f"--component-{k}"
    for k, colour in enumerate(COMPONENTS, start=1)
}


def css(colour: str) -> str:
    """Return a colour as a page writes it, where it may be dark or light.

    Parameters
    ----------
    colour : str
        In hexadecimal; one that is not of the house stays as it is.

    Returns
    -------
    str
        The page's variable, and the colour for where it is not set.

    Examples
    --------
    >>> css(INK), css("#ffffff")
    ('var(--ink, #22262a)', '#ffffff')
    """
    variable = CSS_VARIABLES.get(colour)
    return f"var({variable}, {colour})" if variable else colour


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
