"""Do parts of some work side by side, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PROCESSES = 2

Part = TypeVar("Part")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Part], Result], parts: Sequence[Part]
) -> list[Result]:
    """Return what the work on each part gives, in their order."""
    # A child has all that its parent had made: nothing is copied to it.
    fork = get_context("fork")

    def send(end: Connection, part: Part) -> None:
        end.send(work(part))

    ends = []
    for part in parts:
        here, there = fork.Pipe(duplex=False)
        fork.Process(target=send, args=(there, part)).start()
        there.close()
        ends.append(here)
    # A child that fails has told why, and leaves nothing to receive.
    return [end.recv() for end in ends]
