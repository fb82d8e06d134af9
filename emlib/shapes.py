"""Array types with named axes, said once.

The axes are those of the book: ``n`` points, ``k`` components, ``d``
features. The tests check every annotated call against them (jaxtyping with
beartype); at run time they cost nothing.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Real

__all__ = [
    "Colours",
    "Counts",
    "PerComponent",
    "PerPoint",
    "Points",
    "Table",
]

Points = Real[np.ndarray, "n d"]
Counts = Real[np.ndarray, "n 2"]
Colours = Float[np.ndarray, "n 3"]
Table = Float[np.ndarray, "n k"]
PerPoint = Real[np.ndarray, " n"]
PerComponent = Float[np.ndarray, " k"]
