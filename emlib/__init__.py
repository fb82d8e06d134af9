"""One loop, many models: EM from coin flips to capsules."""

from emlib import bound, coins, datasets, loop
from emlib.loop import em, fit, sweep

__all__ = ["bound", "coins", "datasets", "em", "fit", "loop", "sweep"]
__version__ = "0.1.0"
