"""The data of the book: checked, seeded, and there without a network."""

from emlib.datasets.digits import Digits, load_mnist
from emlib.datasets.smallnorb import StereoPairs, load_smallnorb
from emlib.datasets.tables import (
    Coins,
    Labelled,
    Simulated,
    iris,
    labelled_coins,
    two_components,
    unlabelled_coins,
    wine,
)

__all__ = [
    "Coins",
    "Digits",
    "Labelled",
    "Simulated",
    "StereoPairs",
    "iris",
    "labelled_coins",
    "load_mnist",
    "load_smallnorb",
    "two_components",
    "unlabelled_coins",
    "wine",
]
