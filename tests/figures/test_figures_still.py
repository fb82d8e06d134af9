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


@pytest.mark.parametrize("data", ["x", "rows of tosses"])
@pytest.mark.parametrize("hidden", ["z?", "responsibilities"])
def test_the_datas_arrow_reaches_from_box_to_box(data, hidden):
    figure, axes = figures.canvas()
    figures.loop_diagram(axes, data, hidden)
    figure.canvas.draw()
    texts = [text for text in axes.texts if text.get_bbox_patch()]
    one, other, _ = (t.get_bbox_patch().get_window_extent() for t in texts)
    found = [patch.get_window_extent() for patch in axes.patches]
    arrow = min(found, key=lambda extent: extent.height)  # the straight one
    assert one.x1 - 1 < arrow.x0 < one.x1 + 6
    assert other.x0 - 6 < arrow.x1 < other.x0 + 1


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


def outlines(axes):
    return [np.stack(line.get_data()) for line in axes.lines]  # (2, m)


@pytest.mark.parametrize("seed", range(3))
def test_ellipses_lie_one_and_two_standard_deviations_from_the_mean(seed):
    rng = np.random.default_rng(seed)
    means, roots = rng.normal(size=(3, 2)), rng.normal(size=(3, 2, 2))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(2)
    _, axes = figures.canvas()
    figures.ellipses(axes, means, covariances)
    drawn_lines = outlines(axes)
    for k in range(3):
        one, two, mean = drawn_lines[3 * k : 3 * k + 3]
        np.testing.assert_array_equal(mean[:, 0], means[k])
        for radius, line in ((1, one), (2, two)):
            apart = line - means[k][:, None]  # (2, m)
            squares = apart * np.linalg.solve(covariances[k], apart)
            np.testing.assert_allclose(
                squares.sum(axis=0), radius**2, rtol=1e-10
            )
        assert axes.lines[3 * k].get_color() == figures.COMPONENTS[k]
        assert axes.lines[3 * k + 2].get_marker() == figures.MARKERS[k]


def test_the_truth_is_dashed_and_has_no_marker():
    _, axes = figures.canvas()
    figures.ellipses(
        axes, np.zeros((2, 2)), np.stack([np.eye(2)] * 2), figures.INK, "--"
    )
    assert [line.get_linestyle() for line in axes.lines] == ["--"] * 4
    assert {line.get_color() for line in axes.lines} == {figures.INK}


def pairs(seed, z=None):
    """Return points of three kinds, the kinds, and the panels."""
    rng = np.random.default_rng(seed)
    z = np.repeat([0, 1, 2], [20, 30, 50]) if z is None else z
    x = rng.normal(size=(len(z), 3)) + 4 * z[:, None]
    names, kinds = ["a (cm)", "b (cm)", "c (cm)"], ["p", "q", "r"]
    return x, z, figures.pair_plot(x, z, names, kinds)[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_pair_plot_has_every_point_once_in_each_panel(seed):
    x, z, panels = pairs(seed)
    for i, j in np.ndindex(3, 3):
        if i <= j:
            continue
        for k, line in enumerate(panels[i, j].lines):
            assert (line.get_xydata() == x[z == k][:, [j, i]]).all()
            assert line.get_color() == figures.COMPONENTS[k]
            assert line.get_marker() == figures.MARKERS[k]


def test_a_pair_plot_names_each_feature_at_its_edge_only():
    _, _, panels = pairs(0)
    across = [panels[2, j].get_xlabel() for j in range(3)]
    up = [panels[i, 0].get_ylabel() for i in range(3)]
    assert across == ["a (cm)", "b (cm)", "c (cm)"]
    assert up == ["density", "b (cm)", "c (cm)"]
    inner = [panels[1, 1], panels[1, 0]]
    assert all(axes.get_xlabel() == "" for axes in inner)
    words = [t.get_text() for t in panels[0, 1].get_legend().get_texts()]
    assert words == ["p", "q", "r"]


def test_a_density_has_its_kinds_share_of_the_points_under_it():
    # Far inside the drawn range, so that no tail is cut off.
    x, z, _ = pairs(1)
    x, z = np.vstack([x, [[-12] * 3, [20] * 3]]), np.append(z, [3, 3])
    _, panels = figures.pair_plot(x, z, ["a", "b", "c"], ["p", "q", "r"])
    for k, share in enumerate(np.array([20, 30, 50]) / 102):
        across, up = panels[2, 2].lines[k].get_xydata().T
        # 101 places over 32 units, for bumps of half a unit or more.
        area = ((up[1:] + up[:-1]) / 2 * np.diff(across)).sum()
        assert area == pytest.approx(share, rel=1e-2)


def test_a_kind_of_one_point_or_none_has_no_density():
    z = np.repeat([0, 1], [20, 1])
    _, _, panels = pairs(2, z)
    assert len(panels[0, 0].lines) == 1
    assert len(panels[1, 0].lines) == 3
    plt.close("all")
