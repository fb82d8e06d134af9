"""What a chapter is said to need is what it needs."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import chapters
import equations
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def numbered():
    """Return the chapters of the numbered parts, in their order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [
        chapter["file"].removeprefix("book/")
        for part in toc["parts"]
        if "numbered" in part
        for chapter in part["chapters"]
    ]


def test_needs_have_no_cycle():
    assert set(TopologicalSorter(chapters.NEEDS).static_order()) == set(
        chapters.NEEDS
    )


def test_every_numbered_chapter_is_on_the_map_in_its_order():
    named = [c for c in chapters.NEEDS if c != "tools"]
    assert named == numbered()


@pytest.mark.parametrize("chapter", numbered())
def test_a_chapter_needs_only_what_stands_before_it(chapter):
    before = numbered()[: numbered().index(chapter)]
    assert set(chapters.NEEDS[chapter]) <= {"tools", *before}


@pytest.mark.parametrize("chapter", numbered())
def test_a_chapter_needs_each_whose_equations_it_uses(chapter):
    text = (ROOT / f"book/{chapter}.md").read_text(encoding="utf-8")
    page = equations.labels()
    used = {
        page[label].removeprefix("book/")
        for label in re.findall(r"\{eq\}`(eq-[\w-]+)`", text)
    }
    before = {"tools", *numbered()[: numbered().index(chapter)]}
    assert used & before <= chapters.all_needs(chapter)
