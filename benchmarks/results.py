"""Where the benchmarks put what they found; run alone, it does nothing."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by the scripts of this folder; `make bench` runs them all.
"""


def machine(*packages: str) -> str:
    """Say what a benchmark ran on."""
    found = [f"Python {platform.python_version()}"]
    found += [f"{name} {version(name)}" for name in packages]
    return ", ".join([*found, platform.machine()])


def write(section: str, lines: list[str]) -> None:
    """Put one section in RESULTS.md, and leave the others as they are."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = {part.split("\n")[0]: part.strip() for part in parts}
    sections[section] = "\n".join([section, "", *lines]).strip()
    parts = [f"## {sections[name]}\n" for name in sorted(sections)]
    RESULTS.write_text("\n".join([HEAD, *parts]), encoding="utf-8")
    print(f"## {sections[section]}\n")
