"""The house style: one palette, two widths, and the pictures that recur.

Colours have a meaning and keep it all book long: component k keeps its
colour, responsibilities are mixtures of those colours, data without labels
is grey, truth is a dashed line.
"""

try:
    import matplotlib  # noqa: F401
except ImportError as missing:
    raise ImportError(
        "emlib.figures draws with matplotlib, which is not installed. "
        'From a clone of the book: pip install ".[figures]"'
    ) from missing

from emlib.figures.colours import (
    COMPONENTS,
    CSS_VARIABLES,
    INK,
    MUTED,
    css,
    mixed_colours,
)
from emlib.figures.moving import Choice, Frame, Interactive, Mark, frames
from emlib.figures.still import (
    MARKERS,
    NARROW,
    WIDE,
    bound_staircase,
    canvas,
    ellipses,
    loop_diagram,
    pair_plot,
    responsibility_strip,
)

__all__ = [
    "COMPONENTS",
    "CSS_VARIABLES",
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
    "css",
    "ellipses",
    "frames",
    "loop_diagram",
    "mixed_colours",
    "pair_plot",
    "responsibility_strip",
]
