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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "The bound is -9.8, up from -10.2.",
            "The bound is −9.8, up from −10.2.",
        ),
        ("-1", "−1"),
        (
            "turn 1-2, an E-step, x-1, (-3)",
            "turn 1-2, an E-step, x-1, (−3)",
        ),
    ],
)
def test_words_of_a_frame_have_the_minus_of_print(text, wanted):
    frame = figures.Frame("", text, [figures.Mark([0.0], [0.0])])
    figure = shown([frame])
    assert figure.data["frames"][0]["text"] == wanted
    assert f">{wanted}</output>" in figure.html


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


@pytest.mark.parametrize("seed", range(3))
def test_a_bar_lies_between_its_two_corners(seed):
    ends = np.random.default_rng(seed).uniform(-3, 3, size=(2, 8))
    colour = figures.COMPONENTS[1]
    bars = figures.Mark(*ends, colour, "bars")
    figure = shown([figures.Frame("", "", [bars])])
    rects = re.findall(r"<rect class=.*?/>", figure.html)
    assert all(f"color:var(--component-2, {colour})" in r for r in rects)
    left, top, right, bottom = figure.data["box"]
    for rect, corners in zip(rects, np.split(ends, 4, axis=1), strict=True):
        x, y, width, height = (
            float(v) for v in re.findall(r'="(-?[\d.]+)"', rect)
        )
        across = left + (np.sort(corners[0]) + 3) / 6 * (right - left)
        up = bottom - (np.sort(corners[1])[::-1] + 3) / 6 * (bottom - top)
        # A corner and a length are each rounded to a hundredth.
        np.testing.assert_allclose(
            [x, x + width, y, y + height],
            [*across, *up],
            rtol=0,
            atol=2e-2,
        )


def ticks_of(**options):
    """Return the numbers beside the axes, and the axes' ends."""
    html = shown([figures.Frame("", "", [])], **options).html
    axes = re.search(r'<g class="axes">(.*?)</g>', html)[1]
    up = re.findall(r'class="left"[^>]*>([^<]+)', axes)
    across = re.findall(r'<text x="[^>]*>([^<]+)', axes)[:-1]
    path = re.search(r' d="M(.+?),(.+?)V(.+?)M(.+?),.+?H(.+?)"', axes)
    return across, up, [float(end) for end in path.groups()]


def test_only_the_part_of_an_axis_that_is_asked_for_has_numbers():
    every, whole = ["−2", "0", "2"], [52, 24, 254, 52, 468]
    assert ticks_of() == (every, every, whole)
    across, up, ends = ticks_of(numbered=((0, 3), (-1, 1)))
    assert [float(number) for number in across] == [0, 1, 2, 3]
    assert up == ["−1", "−0.5", "0", "0.5", "1"]
    # Half of the way across, and from a third to two thirds up.
    middle, third = (52 + 468) / 2, (254 - 24) / 3
    wanted = [52, 24 + third, 254 - third, middle, 468]
    np.testing.assert_allclose(ends, wanted, rtol=0, atol=6e-3)


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


@pytest.mark.parametrize("seed", range(3))
def test_an_interactive_ellipse_goes_round_its_conjugate_half_axes(seed):
    rng = np.random.default_rng(seed)
    root, mean = rng.normal(size=(2, 2)), rng.uniform(-1, 1, size=(2, 1))
    mark = figures.Mark(*np.hstack([mean, mean + root]), kind="ellipse")
    figure = shown([figures.Frame("", "", [mark])], height=486)
    (line,) = re.findall(r'<polyline[^>]*points="([^"]+)"', figure.html)
    points = np.array([p.split(",") for p in line.split()], dtype=float)
    np.testing.assert_array_equal(points[0], points[-1])
    # 416 units to 6 of the values, on both axes.
    left, _, _, bottom = figure.data["box"]
    values = (
        np.stack([points[:, 0] - left, bottom - points[:, 1]]) * 6 / 416 - 3
    )  # (2, m)
    radii = np.linalg.norm(np.linalg.solve(root, values - mean), axis=0)
    # A hundredth of the drawing's unit, seen through the narrow axis.
    shortest = np.linalg.svd(root)[1].min()
    np.testing.assert_allclose(radii, 1, rtol=0, atol=3e-4 / shortest)


def colour_of(paint):
    """Return the red, green and blue that the page mixes."""
    found = re.fullmatch(r"color-mix\(in srgb, (.+?) (\d+)%, (.+)\)", paint)
    if found:
        share = int(found[2]) / 100
        return share * colour_of(found[1]) + (1 - share) * colour_of(
            found[3]
        )
    (colour,) = re.findall("#[0-9a-f]{6}", paint)
    return np.array(plt.matplotlib.colors.to_rgb(colour))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_still_points_take_the_mixtures_of_the_component_colours(seed, k):
    rng = np.random.default_rng(seed)
    resp = np.vstack([rng.dirichlet(np.ones(k), size=4), np.eye(k)])
    cloud = figures.Mark(*rng.normal(size=(2, 4 + k)), kind="points")
    frame = figures.Frame("", "", [], resp=resp)
    figure = shown([frame], still=[cloud])
    shares = figure.data["frames"][0]["resp"]
    np.testing.assert_allclose(shares, 20 * resp, rtol=0, atol=0.5)
    paints = re.findall(
        r'class="points"[^>]*style="color:([^"]+)"', figure.html
    )
    mixed = [colour_of(paint) for paint in paints]
    # Each of k - 1 mixtures is right to half a percent of what the shares
    # say, and no colour has more than 1 of red, green or blue.
    told = np.array(shares) / np.sum(shares, axis=1, keepdims=True)
    wanted = figures.mixed_colours(told)
    np.testing.assert_allclose(mixed, wanted, rtol=0, atol=0.005 * k)
    pure = [
        f"var(--component-{j + 1}, " in p for j, p in enumerate(paints[4:])
    ]
    assert all(pure)


def chosen(first=0):
    choices = [
        figures.Choice("start", ["near", "far <"]),
        figures.Choice("components", ["2", "3", "4"]),
    ]
    places = [
        figures.Frame(f"turn {t}", f"{s}, {k}, {t}", [])
        for s in choices[0].options
        for k in choices[1].options
        for t in range(4)
    ]
    return shown(places, choices=choices, first=first)


@pytest.mark.parametrize(
    ("first", "picked", "place"),
    [
        (0, ["near", "2"], 0),
        (7, ["near", "3"], 3),
        (22, ["far &lt;", "4"], 2),
    ],
)
def test_a_reader_may_choose_beside_the_slider(first, picked, place):
    figure = chosen(first)
    assert figure.data["run"] == 4
    assert re.findall(
        r"<option selected>([^/]+)</option>", figure.html
    ) == (picked)
    assert figure.html.count("<option") == 5
    assert f'max="3" value="{place}"' in figure.html
    assert f'aria-valuetext="turn {place}"' in figure.html
    wanted = ", ".join([*picked, str(place)])
    assert f'aria-live="polite">{wanted}</output>' in figure.html


def test_without_choices_there_is_only_the_slider():
    places, _ = moved(np.random.default_rng(23))
    figure = shown(places)
    assert "<select" not in figure.html
    assert figure.data["run"] == len(places)


def test_runs_of_different_lengths_are_refused():
    places, _ = moved(np.random.default_rng(24))
    with pytest.raises(ValueError, match="2 runs of one length"):
        shown(places, choices=[figures.Choice("k", ["2", "3"])])


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
