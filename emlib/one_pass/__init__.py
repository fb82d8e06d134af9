"""The models in the form to run: both steps in one pass over the data."""

from emlib.one_pass import coins, families, gaussians, kmeans

__all__ = ["coins", "families", "gaussians", "kmeans"]
