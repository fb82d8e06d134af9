"""The house style keeps its widths, colours and meanings."""

from __future__ import annotations

import io
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
