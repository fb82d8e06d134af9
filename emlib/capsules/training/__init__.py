"""Training that may be killed at any moment, and goes on where it was."""

from emlib.capsules.training.augment import (
    Viewpoints,
    batches,
    normalise_images,
    order,
    prefetch,
    random_viewpoints,
    warp,
)
from emlib.capsules.training.checkpoints import RunFolder, restore, save
from emlib.capsules.training.evaluate import Evaluation, evaluate
from emlib.capsules.training.loop import (
    Trained,
    build_network,
    compile_network,
    device,
    load,
    steps,
    train,
    train_step,
)
from emlib.plan import Plan

__all__ = [
    "Evaluation",
    "Plan",
    "RunFolder",
    "Trained",
    "Viewpoints",
    "batches",
    "build_network",
    "compile_network",
    "device",
    "evaluate",
    "load",
    "normalise_images",
    "order",
    "prefetch",
    "random_viewpoints",
    "restore",
    "save",
    "steps",
    "train",
    "train_step",
    "warp",
]
