"""The models in the form to run: both steps in one pass over the data."""

from emlib.one_pass import (
    coins,
    families,
    gaussian_family,
    gaussians,
    kmeans,
    whitened,
)

__all__ = [
    "coins",
    "families",
    "gaussian_family",
    "gaussians",
    "kmeans",
    "whitened",
]
