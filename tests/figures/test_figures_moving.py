"""An interactive figure carries what its frames say, and stands still."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from emlib import figures


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
    return np.array(to_rgb(colour))


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
