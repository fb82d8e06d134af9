"""The models in the form to read; `emlib.one_pass` has the form to run."""

from emlib.models import coins, gaussians, kmeans, missing

__all__ = ["coins", "gaussians", "kmeans", "missing"]
