"""A page carries what its links show under the pointer, and no more."""

from __future__ import annotations

import re

import previews

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


def test_a_page_in_a_folder_finds_the_others_where_its_links_say():
    inner = {"solutions/b.html": "s", "solutions/c.html": ""}
    pages = {"b.html": OTHER, **inner}
    seen = previews.seen_from("solutions/b.html", pages)
    assert seen == {"../b.html": OTHER, "b.html": "s", "c.html": ""}
    assert previews.seen_from("b.html", pages) == pages
    away = PAGE.replace('href="b.html', 'href="../b.html')
    found = previews.template(away, seen)
    assert 'data-of="../b.html#equation-eq-a"' in found
