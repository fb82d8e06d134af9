"""The map of the chapters shows their needs, and links to each."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter

import equations
import map as chapter_map
from chapters import NEEDS, all_needs

TITLES = {c: equations.title(f"book/{c}") for c in NEEDS}
LINKS = {c: f"{c}.html" for c in NEEDS}


def test_arrows_leave_out_only_what_others_imply():
    drawn = {c: set() for c in NEEDS}
    for needed, chapter in chapter_map.arrows():
        drawn[chapter].add(needed)
    for chapter in TopologicalSorter(drawn).static_order():
        drawn[chapter] |= {m for n in drawn[chapter] for m in drawn[n]}
        assert drawn[chapter] == all_needs(chapter)


def test_the_boxes_of_the_map_hold_their_words_and_do_not_touch():
    boxes = list(chapter_map.boxes(TITLES).values())
    for box in boxes:
        assert len(box.lines) <= 2
        assert max(map(len, box.lines)) * 6.8 <= box.width
        assert box.x >= 0
        assert box.x + box.width <= chapter_map.WIDTH
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = abs(a.x - b.x) >= min(a.width, b.width)
            assert apart or abs(a.y - b.y) > chapter_map.HEIGHT


def test_the_map_links_each_chapter_and_says_itself_in_words():
    picture = chapter_map.drawing(TITLES, LINKS)
    for chapter in NEEDS:
        assert f'<a href="{chapter}.html">' in picture
    assert "Speed needs Two coins, The loop, The bound." in picture
    assert picture.count(" marker-end=") == len(chapter_map.arrows())


def test_an_arrow_past_other_chapters_touches_none():
    places = chapter_map.boxes({chapter: chapter for chapter in NEEDS})
    edge = max(box.x + box.width for box in places.values())
    far = [
        (places[a], places[b])
        for a, b in chapter_map.arrows()
        if places[b].y - places[a].y > chapter_map.STEP
    ]
    assert far  # votes lead to routing
    for start, end in far:
        path = chapter_map.arrow(start, end)
        lane, top = map(
            float, re.search(r"([\d.]+) ([\d.]+)V", path).groups()
        )
        bottom = float(re.search(r"V([\d.]+)", path)[1])
        assert edge < lane < chapter_map.WIDTH + 16
        assert top < start.y + chapter_map.STEP
        assert bottom > end.y - chapter_map.STEP / 2
