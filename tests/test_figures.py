"""The house style keeps its widths, colours and meanings."""

from __future__ import annotations

import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pictures
import pytest

from emlib import figures


@pytest.fixture(autouse=True)
def _close_all():
    yield
    plt.close("all")


def drawn(figure):
    """Return the figure as the text of an SVG file."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


@pytest.mark.parametrize("width", [figures.WIDE, figures.NARROW])
def test_a_figure_has_its_width_and_the_books_text_size(width):
    figure, axes = figures.canvas(width)
    axes.set_xlabel("turn")
    assert f'width="{72 * width:g}pt"' in drawn(figure)
    assert axes.xaxis.label.get_size() == 9


def test_responsibilities_mix_the_colours_of_their_components():
    resp = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    first, second, middle = figures.mixed_colours(resp)
    np.testing.assert_allclose(middle, (first + second) / 2, rtol=1e-14)


def test_a_strips_bars_are_as_long_as_the_responsibilities():
    rng = np.random.default_rng(0)
    resps = [rng.dirichlet(np.ones(3), size=4) for _ in range(2)]
    _, axes = figures.canvas()
    figures.responsibility_strip(axes, resps)
    widths = np.array([bar.get_width() for bar in axes.patches])
    np.testing.assert_allclose(widths / 0.84, np.ravel(resps), rtol=1e-9)


def test_the_stairs_have_the_bounds_as_their_heights():
    after_e, after_m = [-3.0, -1.5, -1.0], [-2.0, -1.25]
    _, axes = figures.canvas()
    figures.bound_staircase(axes, after_e, after_m)
    evidence, stairs = axes.lines
    # Each bound holds for half a turn; the last stays.
    heights = [-3.0, -2.0, -1.5, -1.25, -1.0]
    np.testing.assert_array_equal(stairs.get_ydata(), [*heights, -1.0])
    np.testing.assert_array_equal(stairs.get_xdata(), np.arange(6) / 2)
    # The log evidence changes half a turn before the full one.
    np.testing.assert_array_equal(evidence.get_xdata(), [0, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(evidence.get_ydata(), [*after_e, -1.0])
    (gaps,) = axes.collections
    ends = [part[:, 1].tolist() for part in gaps.get_segments()]
    assert ends == [[-2.0, -1.5], [-1.25, -1.0]]


def moved(rng, text="At {:g}."):
    """Return three frames, and the values that are in them."""
    values = rng.normal(size=(3, 2, 5)).round(4)
    places = [
        figures.Frame(f"{k}", text.format(k), [figures.Mark(x, y)], k / 2)
        for k, (x, y) in enumerate(values)
    ]
    return places, values


def shown(places, **options):
    return figures.frames(
        "some",
        places,
        xlim=(-3, 3),
        ylim=(-3, 3),
        labels=("across", "up"),
        slider="which one",
        alt="A line of five points.",
        **options,
    )


def test_the_page_carries_exactly_the_values_of_the_frames():
    places, values = moved(np.random.default_rng(20))
    html = shown(places)._repr_html_()
    (written,) = re.findall(r"<script[^>]*json[^>]*>(.*?)</script>", html)
    data = json.loads(written)
    assert data == shown(places).data
    for k, frame in enumerate(data["frames"]):
        (mark,) = frame["marks"]
        assert [mark["x"], mark["y"]] == values[k].tolist()
        assert frame["text"] == f"At {k:g}."
        assert frame["at"] == k / 2


def test_values_are_rounded_only_as_asked():
    third = figures.Frame("", "", [figures.Mark([1 / 3], [2 / 3])])
    (frame,) = shown([third], digits=2).data["frames"]
    assert frame["marks"][0]["x"] == [0.33]
    assert frame["at"] is None


def test_a_value_that_is_no_number_is_refused():
    broken = figures.Frame("", "", [figures.Mark([0.0], [np.nan])])
    with pytest.raises(ValueError, match="JSON"):
        shown([broken])


def test_without_its_script_the_chosen_frame_stands_still():
    places, values = moved(np.random.default_rng(21))
    html = shown(places, first=2).html
    (line,) = re.findall(r'<polyline[^>]*points="([^"]+)"', html)
    points = np.array([p.split(",") for p in line.split()], dtype=float)
    left, top, right, bottom = shown(places).data["box"]
    # The drawing rounds to a hundredth of its unit, 1/70 of the values'.
    across = left + (values[2, 0] + 3) / 6 * (right - left)
    up = bottom - (values[2, 1] + 3) / 6 * (bottom - top)
    np.testing.assert_allclose(points.T, [across, up], rtol=0, atol=6e-3)
    assert '<div class="control" hidden>' in html
    assert 'aria-live="polite">At 2.</output>' in html


def test_words_cannot_end_the_figures_script():
    places, _ = moved(np.random.default_rng(22), "</script><b>{:g}")
    html = shown(places).html
    assert html.count("</script>") == 1
    assert "<b>" not in html


def test_marks_are_drawn_in_the_pages_colours():
    kinds = ["line", "dashed", "thick", "dots", "circle", "words"]
    colours = [
        figures.INK,
        figures.MUTED,
        *figures.COMPONENTS[:3],
        "#123456",
    ]
    marks = [
        figures.Mark([0, 1], [0, 1], colour, kind, "here")
        for colour, kind in zip(colours, kinds, strict=True)
    ]
    html = shown([figures.Frame("", "", [])], still=marks).html
    assert f"color:var(--ink, {figures.INK})" in html
    assert f"color:var(--component-3, {figures.COMPONENTS[2]})" in html
    assert html.count("<polyline") == 3
    assert html.count("<circle") == 4
    assert 'style="color:#123456">here</text>' in html


def test_the_same_figure_is_the_same_file():
    files = []
    for _ in range(2):
        figure, axes = figures.canvas()
        figures.loop_diagram(axes)
        files.append(drawn(figure))
    assert files[0] == files[1]


def test_colours_stand_apart_also_in_grey():
    rgb = np.array(
        [plt.matplotlib.colors.to_rgb(c) for c in figures.COMPONENTS]
    )
    grey = rgb[:3] @ [0.2126, 0.7152, 0.0722]
    assert len(figures.MARKERS) == len(figures.COMPONENTS)
    assert len(set(grey.round(2))) == 3


def test_a_page_takes_the_drawing_in_its_own_colours():
    figure, axes = figures.canvas()
    axes.plot([0, 1], color=figures.COMPONENTS[0])
    svg = pictures.inlined(drawn(figure), 'A line, "rising".', "picture-1")
    assert svg.startswith(
        '<svg role="img" aria-label="A line, &quot;rising'
    )
    assert "var(--component-1, #0072b2)" in svg
    assert f"var(--ink, {figures.INK})" in svg
    assert "<style" not in svg
    assert "<metadata" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert all(name.startswith("picture-1-") for name in ids)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert set(used) <= set(ids)
