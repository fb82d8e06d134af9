"""The four types of covariances, and all in which they differ.

Nobody else asks which type it is: what differs is an operation here.
"""

from typing import Any

from emlib.models.covariances.definite import Collapse, is_definite
from emlib.models.covariances.diag import Diag
from emlib.models.covariances.full import Full
from emlib.models.covariances.spherical import Spherical
from emlib.models.covariances.tied import Tied

__all__ = [
    "COVARIANCES",
    "Collapse",
    "Diag",
    "Full",
    "Params",
    "Spherical",
    "Tied",
    "is_definite",
]

Params = Full | Tied | Diag | Spherical
COVARIANCES: dict[str, Any] = {
    "full": Full,
    "tied": Tied,
    "diag": Diag,
    "spherical": Spherical,
}
