"""What the checks say, and of which view of a page."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    rule: str
    what: str


class View(NamedTuple):
    mode: str
    width: str = "desktop"
    scheme: str = "light"


class Fault(NamedTuple):
    page: str
    view: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.page} ({self.view}): {self.rule}: {self.what}"
