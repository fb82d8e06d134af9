"""The aids for reading say what is true of the book."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import aids
import equations
import previews
import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

ROOT = Path(__file__).parents[1]
TITLES = {c: equations.title(f"book/{c}") for c in aids.NEEDS}
LINKS = {c: f"{c}.html" for c in aids.NEEDS}


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
    assert set(TopologicalSorter(aids.NEEDS).static_order()) == set(
        aids.NEEDS
    )


def test_every_numbered_chapter_is_on_the_map_in_its_order():
    chapters = [c for c in aids.NEEDS if c != "tools"]
    assert chapters == numbered()


@pytest.mark.parametrize("chapter", numbered())
def test_a_chapter_needs_only_what_stands_before_it(chapter):
    before = numbered()[: numbered().index(chapter)]
    assert set(aids.NEEDS[chapter]) <= {"tools", *before}


@pytest.mark.parametrize("chapter", numbered())
def test_a_chapter_needs_each_whose_equations_it_uses(chapter):
    text = (ROOT / f"book/{chapter}.md").read_text(encoding="utf-8")
    page = equations.labels()
    used = {
        page[label].removeprefix("book/")
        for label in re.findall(r"\{eq\}`(eq-[\w-]+)`", text)
    }
    before = {"tools", *numbered()[: numbered().index(chapter)]}
    assert used & before <= aids.all_needs(chapter)


def test_arrows_leave_out_only_what_others_imply():
    drawn = {c: set() for c in aids.NEEDS}
    for needed, chapter in aids.arrows():
        drawn[chapter].add(needed)
    for chapter in TopologicalSorter(drawn).static_order():
        drawn[chapter] |= {m for n in drawn[chapter] for m in drawn[n]}
        assert drawn[chapter] == aids.all_needs(chapter)


def test_the_boxes_of_the_map_hold_their_words_and_do_not_touch():
    boxes = list(aids.boxes(TITLES).values())
    for box in boxes:
        assert len(box.lines) <= 2
        assert max(map(len, box.lines)) * 6.8 <= box.width
        assert box.x >= 0
        assert box.x + box.width <= aids.WIDTH
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = abs(a.x - b.x) >= min(a.width, b.width)
            assert apart or abs(a.y - b.y) > aids.HEIGHT


def test_the_map_links_each_chapter_and_says_itself_in_words():
    picture = aids.drawing(TITLES, LINKS)
    for chapter in aids.NEEDS:
        assert f'<a href="{chapter}.html">' in picture
    assert "Speed needs Two coins, The loop, The bound." in picture
    assert picture.count(" marker-end=") == len(aids.arrows())


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
    found = aids.load(page_of(words, formula, code, task, folded))
    assert found == aids.Load(442, 20, 1, 1)
    assert aids.minutes(found) == 3
    assert aids.time_line(found) == (
        "Reading time: 3 minutes, code included, and 1 exercise besides."
    )


@pytest.mark.parametrize("chapter", numbered())
def test_only_one_bullet_of_a_chapter_becomes_the_box(chapter):
    text = (ROOT / f"book/{chapter}.md").read_text(encoding="utf-8")
    bullets = re.findall(r"^- (.+)$", text, re.MULTILINE)
    boxed = [b for b in bullets if aids.ABOUT_THE_LOOP.match(b)]
    last = text.partition("## Looking back")[2].partition("\n## ")[0]
    assert len(boxed) <= 1
    assert all(bullet in last for bullet in boxed)


PAGE = (
    '<p><a class="reference internal" href="b.html#equation-eq-a">1</a>'
    '<a class="reference internal" href="b.html#equation-eq-a">1</a>'
    '<a class="reference internal" href="b.html#term-bound">bound</a>'
    '<a class="reference internal" href="b.html#a-section">b</a>'
    '<a class="reference internal" href="b.html#fig-a">Fig</a>'
    '<a class="reference internal" href="b.html#gone">gone</a></p>'
)
OTHER = (
    '<section id="a-section"><div class="equation" id="equation-eq-a">'
    '<div class="math"><span id="x">E</span></div><span class="eqno">(1)'
    '<a class="headerlink" href="#equation-eq-a">#</a>'
    '<a class="check" href="c.html">test</a></span></div><dl>'
    '<dt id="term-bound">bound<a class="headerlink">#</a></dt>'
    '<dd><p>Never above. See <a href="d.html">it</a>.</p></dd>'
    "<dt>other</dt><dd><p>no</p></dd></dl>"
    '<figure id="fig-a"><svg><g id="y"></g></svg>'
    "<figcaption>Found.</figcaption></figure></section>"
)


def test_a_page_carries_what_its_links_need_once_and_without_ids():
    found = previews.template(PAGE, {"b.html": OTHER})
    assert re.findall('data-of="([^"]+)"', found) == [
        "b.html#equation-eq-a",
        "b.html#term-bound",
        "b.html#fig-a",
    ]
    assert (
        '<div class="equation"><div class="math"><span>E</span></div>'
        '<span class="eqno">(1)</span></div>'
    ) in found
    assert "<dd><p>Never above. See it.</p></dd></dl>" in found
    assert "Found." in found
    assert re.findall(' id="([^"]+)"', found) == ["previews"]
    assert not re.search("<a|<svg|other", found)


def test_a_page_stays_light(monkeypatch):
    monkeypatch.setattr(previews, "LIMIT", 0)
    found = previews.template(PAGE, {"b.html": OTHER})
    assert found == '<template id="previews"></template>\n'


def test_what_is_written_twice_is_there_once():
    page = "<body>" + previews.template(PAGE, {"b.html": OTHER})
    assert previews.OLD.sub("", page) == "<body>"


@pytest.mark.parametrize("root", ["/", "/a/book/"])
def test_the_page_for_lost_addresses_works_at_any_depth(root):
    found = aids.lost(root, {"book/coins": "3. Two & coins"})
    addresses = re.findall('(?:href|action)="([^"]+)"', found)
    assert all(address.startswith(root) for address in addresses)
    assert f'<a href="{root}book/coins.html">3. Two &amp; coins' in found


def test_a_mistake_is_sent_where_the_repository_is():
    assert "Open an issue where you had the book" in aids.where("")
    assert "<https://x.org/a/b/issues>" in aids.where("https://x.org/a/b/")


def test_a_chinese_term_is_marked_as_chinese():
    tree = new_document("page")
    tree += nodes.emphasis("", "Chinese: 胶囊 <3>.")
    tree += nodes.emphasis("", "In Chinese: nothing")
    aids.name_language(None, tree, "book/glossary")
    marked, other = tree.children
    assert marked.children[0] == "Chinese: "
    text = '<span lang="zh-Hans">胶囊 &lt;3&gt;.</span>'
    assert marked.children[1].astext() == text
    assert other.astext() == "In Chinese: nothing"


def test_an_arrow_past_other_chapters_touches_none():
    places = aids.boxes({chapter: chapter for chapter in aids.NEEDS})
    edge = max(box.x + box.width for box in places.values())
    far = [
        (places[a], places[b])
        for a, b in aids.arrows()
        if places[b].y - places[a].y > aids.STEP
    ]
    assert far  # votes lead to routing
    for start, end in far:
        path = aids.arrow(start, end)
        lane, top = map(
            float, re.search(r"([\d.]+) ([\d.]+)V", path).groups()
        )
        bottom = float(re.search(r"V([\d.]+)", path)[1])
        assert edge < lane < aids.WIDTH + 16
        assert top < start.y + aids.STEP
        assert bottom > end.y - aids.STEP / 2
