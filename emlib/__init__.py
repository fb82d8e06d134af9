"""One loop, many models: EM from coin flips to capsules."""

from emlib import bound, coins, datasets, laws, loop, scale, speed, starts
from emlib.estimators import CoinMixture
from emlib.laws import check
from emlib.loop import em, fit, sweep
from emlib.speed import squarem

__all__ = [
    "CoinMixture",
    "bound",
    "check",
    "coins",
    "datasets",
    "em",
    "fit",
    "laws",
    "loop",
    "scale",
    "speed",
    "squarem",
    "starts",
    "sweep",
]
__version__ = "0.1.0"
