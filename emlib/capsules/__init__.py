"""Capsules: poses that vote, and routing that finds where votes agree."""

from emlib.capsules.layers import (
    ClassCapsules,
    ConvCapsules,
    NearIdentity,
    PrimaryCapsules,
)
from emlib.capsules.losses import (
    SpreadLoss,
    linear_margin,
    spread,
    stepped_margin,
)
from emlib.capsules.network import (
    CapsuleNetwork,
    capsule_network,
    convolutional_network,
)
from emlib.capsules.routing import Capsules, EMRouter, Router, route

__all__ = [
    "CapsuleNetwork",
    "Capsules",
    "ClassCapsules",
    "ConvCapsules",
    "EMRouter",
    "NearIdentity",
    "PrimaryCapsules",
    "Router",
    "SpreadLoss",
    "capsule_network",
    "convolutional_network",
    "linear_margin",
    "route",
    "spread",
    "stepped_margin",
]
