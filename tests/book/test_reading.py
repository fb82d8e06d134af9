"""What stands under a title, and in the loop's box, is true of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import reading
from docutils import nodes
from docutils.utils import new_document
from test_chapters import numbered

ROOT = Path(__file__).parents[2]


def page_of(*parts):
    tree = new_document("page")
    tree += parts
    return tree


def test_reading_time_counts_words_code_and_exercises():
    words = nodes.paragraph("", "word " * 440)
    formula = nodes.paragraph("", "", nodes.math("x x x", "x x x"))
    code = nodes.literal_block("", "x = 1\n" * 20)
    task = nodes.container("", nodes.paragraph("", "two words"))
    task["classes"] = ["exercise"]
    folded = nodes.container("", nodes.literal_block("", "y = 1\n" * 99))
    folded["classes"] = ["cell", "tag_hide-input"]
    found = reading.load(page_of(words, formula, code, task, folded))
    assert found == reading.Load(442, 20, 1, 1)
    assert reading.minutes(found) == 3
    assert reading.time_line(found) == (
        "Reading time: 3 minutes, code included, and 1 exercise besides."
    )


@pytest.mark.parametrize("chapter", numbered())
def test_only_one_bullet_of_a_chapter_becomes_the_box(chapter):
    text = (ROOT / f"book/{chapter}.md").read_text(encoding="utf-8")
    bullets = re.findall(r"^- (.+)$", text, re.MULTILINE)
    boxed = [b for b in bullets if reading.ABOUT_THE_LOOP.match(b)]
    last = text.partition("## Looking back")[2].partition("\n## ")[0]
    assert len(boxed) <= 1
    assert all(bullet in last for bullet in boxed)


def test_a_chinese_term_is_marked_as_chinese():
    tree = new_document("page")
    tree += nodes.emphasis("", "Chinese: 胶囊 <3>.")
    tree += nodes.emphasis("", "In Chinese: nothing")
    reading.name_language(None, tree, "book/glossary")
    marked, other = tree.children
    assert marked.children[0] == "Chinese: "
    text = '<span lang="zh-Hans">胶囊 &lt;3&gt;.</span>'
    assert marked.children[1].astext() == text
    assert other.astext() == "In Chinese: nothing"
