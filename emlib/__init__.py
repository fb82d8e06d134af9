"""One loop, many models: EM from coin flips to capsules."""

from emlib import (
    bound,
    datasets,
    laws,
    loop,
    one_pass,
    scale,
    speed,
    starts,
)
from emlib.estimators import CoinMixture, GaussianMixture, KMeans
from emlib.laws import check
from emlib.loop import Labels, em, fit, sweep
from emlib.models import coins, gaussians, kmeans, missing
from emlib.speed import squarem

__all__ = [
    "CoinMixture",
    "GaussianMixture",
    "KMeans",
    "Labels",
    "bound",
    "check",
    "coins",
    "datasets",
    "em",
    "fit",
    "gaussians",
    "kmeans",
    "laws",
    "loop",
    "missing",
    "one_pass",
    "scale",
    "speed",
    "squarem",
    "starts",
    "sweep",
]
__version__ = "0.1.0"
