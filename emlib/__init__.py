"""One loop, many models: EM from coin flips to capsules."""

from emlib import (
    bound,
    coins,
    datasets,
    gaussians,
    kmeans,
    laws,
    loop,
    scale,
    speed,
    starts,
)
from emlib.estimators import CoinMixture, GaussianMixture, KMeans
from emlib.laws import check
from emlib.loop import Labels, em, fit, sweep
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
    "scale",
    "speed",
    "squarem",
    "starts",
    "sweep",
]
__version__ = "0.1.0"
