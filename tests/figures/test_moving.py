"""What the interactive figures carry is what the package computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.ndimage import rotate
from scipy.special import comb, logsumexp
from scipy.stats import binom, norm
from test_book import cells

from emlib import coins, datasets, em, fit, gaussians, kmeans
from emlib.bound import bound, normalise
from emlib.loop import Labels

BOOK = Path(__file__).parents[2] / "book"


def carried(page, without=()):
    """Run a page's cells to its interactive figure; return its frames.

    Cells that hold one of the phrases in `without` are left out.
    """
    names = {}
    text = (BOOK / f"{page}.md").read_text(encoding="utf-8")
    for cell in cells(text):
        if any(phrase in cell for phrase in without):
            continue
        head, found, tail = cell.partition("figures.frames(")
        if found:
            exec(f"{head}kept = {found}{tail}", names)
            plt.close("all")
            return names["kept"].data["frames"], names
        exec(cell, names)
    raise AssertionError(f"{page} has no interactive figure")


# The bound's values are carried to four digits, the mixture's to two.
def test_each_arch_is_the_bound_and_touches_at_the_ring():
    frames, names = carried("bound")
    x = datasets.unlabelled_coins().x  # (n, 2)
    model = coins.Model(learn_weights=False)
    fixed = names["end"].params
    places = np.linspace(0.1, 0.9, 81)

    def posterior(chance):
        means = np.array([chance, fixed.means[1]])
        params = coins.Params(fixed.weights, means)
        return model.log_joint(x, params), model.e_step(x, params)

    joints = [posterior(place)[0] for place in places]
    for frame, place in zip(frames, places, strict=True):
        arch, ring, stroke, dot = frame["marks"]
        _, (resp, log_evidence) = posterior(place)
        values = [bound(joint, resp) for joint in joints]
        np.testing.assert_allclose(arch["x"], places, rtol=0, atol=6e-5)
        np.testing.assert_allclose(arch["y"], values, rtol=0, atol=6e-5)
        touch = [frame["at"], *ring["x"], *ring["y"]]
        wanted = [place, place, log_evidence.sum()]
        np.testing.assert_allclose(touch, wanted, rtol=0, atol=6e-5)
        top = model.maximise(model.summarise(x, Labels(resp))).means[0]
        joint, (_, there) = posterior(top)
        ends = [bound(joint, resp), there.sum()]
        np.testing.assert_allclose(dot["x"], [top], rtol=0, atol=6e-5)
        np.testing.assert_allclose(dot["y"], ends[:1], rtol=0, atol=6e-5)
        np.testing.assert_allclose(stroke["y"], ends, rtol=0, atol=6e-5)


def test_each_turns_ellipses_and_shares_are_the_loops():
    frames, names = carried("gaussians")
    x = datasets.two_components(n=200).x  # (n, d)
    model = gaussians.Model()
    for number, frame in enumerate(frames):
        key = sorted(names["runs"])[number // 14]
        turn = names["stops"][number % 14]
        resp = names["runs"][key][0]
        if turn == 0:
            assert frame["marks"] == []
        else:
            step = names["runs"][key][turn]
            before = (
                resp if turn == 1 else names["runs"][key][turn - 1].resp
            )
            params = model.maximise(model.summarise(x, Labels(before)))
            resp = model.e_step(x, params).resp
            assert step.turn == turn
            check_ellipses(frame["marks"], params)
        np.testing.assert_allclose(
            frame["resp"], 20 * resp, rtol=0, atol=0.5 + 1e-6
        )


def check_ellipses(marks, params):
    """Hold each ellipse against its component's covariance."""
    ellipses = [mark for mark in marks if mark["kind"] == "ellipse"]
    assert len(ellipses) == 2 * len(params.means)
    for place, mark in enumerate(ellipses):
        k, radius = place // 2, 1 + place % 2
        points = np.array([mark["x"], mark["y"]])  # (d, 3)
        np.testing.assert_allclose(
            points[:, 0], params.means[k], rtol=0, atol=6e-3
        )
        root = (points[:, 1:] - points[:, :1]) / radius
        wanted = params.covariances[k]
        # Each end and centre is right to 0.005, and the root to twice it.
        reach = 0.02 * (np.sqrt(np.trace(wanted)) + 0.02) * 2
        np.testing.assert_allclose(
            root @ root.T, wanted, rtol=0, atol=reach
        )


def test_each_stroke_is_the_gap_of_a_row_with_two_labels():
    frames, names = carried("jensen")
    ends = [pair for pair in names["pairs"] for _ in range(41)]
    weights = np.tile(np.linspace(0, 1, 41), len(names["pairs"]))
    for frame, pair, weight in zip(frames, ends, weights, strict=True):
        resp = np.array([[1 - weight, weight]])
        with np.errstate(divide="ignore"):
            joint = np.log(resp * pair)  # (1, 2)
        _, _, thick, *_ = frame["marks"]
        mean = np.exp(normalise(joint).log_evidence[0])
        if 0 < weight < 1:
            below = bound(joint, resp)  # the entropy takes log r away
            # Carried to three digits.
            np.testing.assert_allclose(thick["y"][0], below, atol=6e-4)
        np.testing.assert_allclose(thick["y"][1], np.log(mean), atol=6e-4)
        np.testing.assert_allclose(thick["x"], [mean, mean], atol=6e-4)


@pytest.mark.many_turns
def test_each_climb_ends_where_its_chances_are_and_never_falls():
    frames, names = carried("speed")
    heads, runs = names["heads"], names["runs"]
    shown = [run for start in runs for run in runs[start][:30]]
    for frame, run in zip(frames, shown, strict=True):
        line, dot = frame["marks"]
        logs = binom.logpmf(heads[:, None], 10, run.params.means)  # (n, k)
        each = logsumexp(logs, axis=1) - np.log(3) - np.log(comb(10, heads))
        # Carried to three digits; the loop stopped at changes of 1e-8.
        np.testing.assert_allclose(dot["y"], each.sum(), atol=1e-3)
        said = f"{each.sum():.3f}".replace("-", "\N{MINUS SIGN}")
        assert said in frame["text"]
        assert np.diff(line["y"]).min() >= -1e-3
        assert len(line["y"]) == min(run.turns, 30)


def test_each_turns_votes_and_ellipses_are_routings():
    frames, names = carried("routing")
    votes = names["v"]  # (i, j, h)
    assert len(frames) == 30
    for number, frame in enumerate(frames):
        j, turn = number // 10, number % 10
        resp = np.full((20, 3), 1 / 3)  # (i, j)
        for _ in range(turn + 1):
            before, mass = resp, resp.sum(axis=0)  # (j,)
            means = np.einsum("ij,ijh->jh", resp, votes) / mass[:, None]
            apart = (votes - means) ** 2  # (i, j, h)
            spread = np.einsum("ij,ijh->jh", resp, apart) / mass[:, None]
            spread += 1e-2
            cost = mass * np.log(spread).sum(axis=1) / 2
            chance = 1 / (1 + np.exp(0.3 * cost))  # (j,)
            bells = norm.pdf(votes, means, np.sqrt(spread)).prod(axis=2)
            resp = chance * bells  # (i, j)
            resp /= resp.sum(axis=1, keepdims=True)
        points = [m for m in frame["marks"] if m["kind"] == "points"]
        for k, mark in enumerate(points):
            most = before.max(axis=1)
            mine = before.argmax(axis=1) == k if k < 3 else most < 0.5
            mine = votes[mine & ((most < 0.5) == (k == 3)), j]
            # Carried to two digits.
            np.testing.assert_allclose(
                np.transpose([mark["x"], mark["y"]]).reshape(-1, 2),
                mine,
                rtol=0,
                atol=6e-3,
            )
        rings = [m for m in frame["marks"] if m["kind"] == "ellipse"]
        for radius, mark in zip((1, 2), rings, strict=True):
            ends = np.array([mark["x"], mark["y"]])  # (h, 3)
            np.testing.assert_allclose(
                ends[:, 0], means[j], rtol=0, atol=6e-3
            )
            axes = np.diag(radius * np.sqrt(spread[j]))  # (h, h)
            np.testing.assert_allclose(
                ends[:, 1:] - ends[:, :1], axes, rtol=0, atol=0.012
            )
        assert f"activation {chance[j]:.3f}" in frame["text"]
        assert f"mass {mass[j]:.1f}" in frame["text"]


def test_each_half_turn_cuts_the_rows_and_climbs_as_the_loop_does():
    frames, _ = carried("coins")
    x = datasets.unlabelled_coins().x  # (n, 2)
    model = coins.Model(learn_weights=False)
    fair, guess = np.array([0.5, 0.5]), np.array([0.6, 0.5])
    steps = list(islice(em(model, x, coins.Params(fair, guess)), 8))
    # Where the parameters and the responsibilities of each half are from.
    halves = [(steps[(h + 1) // 2], steps[h // 2]) for h in range(15)]
    joints = [model.log_joint(x, of.params) for of, _ in halves]
    bounds = [
        bound(joint, by.resp)
        for joint, (_, by) in zip(joints, halves, strict=True)
    ]
    tops = [normalise(joint).log_evidence.sum() for joint in joints]
    assert len(frames) == 15
    for half, frame in enumerate(frames):
        one, other, dashed, solid, *strokes = frame["marks"]
        check_strip((one, other), [s.resp for s in steps[: half // 2 + 1]])
        for line, heights in ((dashed, tops), (solid, bounds)):
            ends = [[h / 2, h / 2 + 0.5] for h in range(half + 1)]
            np.testing.assert_allclose(line["x"], np.ravel(ends), rtol=0)
            wanted = np.repeat(heights[: half + 1], 2)
            np.testing.assert_allclose(line["y"], wanted, rtol=0, atol=6e-5)
        assert len(strokes) == half // 2
        for turn, stroke in enumerate(strokes, 1):
            assert stroke["x"] == [turn, turn]
            wanted = [bounds[2 * turn - 1], tops[2 * turn]]
            np.testing.assert_allclose(
                stroke["y"], wanted, rtol=0, atol=6e-5
            )
        check_words(frame, half, halves[half], bounds[half], tops[half])


def check_strip(bars, resps):
    """Hold the cells, a column a turn, against the responsibilities."""
    for k, mark in enumerate(bars):
        left, right = np.reshape(mark["x"], (len(resps), 5, 2)).T  # (n, t)
        low, high = np.reshape(mark["y"], (len(resps), 5, 2)).T  # (n, t)
        shares = np.array([resp[:, k] for resp in resps]).T  # (n, t)
        np.testing.assert_allclose(
            (right - left) / 0.84, shares, rtol=0, atol=2e-4
        )
        outer = [left, right][k] - np.arange(len(resps))  # (n, t)
        wanted = [-0.42, 0.42][k]
        np.testing.assert_allclose(outer, wanted, rtol=0, atol=6e-5)
        np.testing.assert_allclose(high - low, 0.16, rtol=0, atol=2e-4)
        assert (np.diff(high, axis=0) < -0.16).all()
        assert (high < -11.5).all()


def check_words(frame, half, steps, below, top):
    """Hold what a half turn's frame says against its two steps."""
    now, by = steps
    assert frame["at"] == half / 2
    assert frame["name"] == f"turn {now.turn}, {'EM'[half % 2]}-step"
    text = frame["text"].replace("\N{MINUS SIGN}", "-")
    spoken = [float(v) for v in re.findall(r"-?\d+\.\d+", text)]
    chances = [*now.params.means, below, top, top - below]
    cut = [*by.resp[:, 0], top]
    wanted = chances if half % 2 else cut
    atol = [6e-3 if 0 < v < 1 else 6e-5 for v in wanted]
    assert (np.abs(np.subtract(spoken, wanted)) < atol).all()
    assert spoken[-1] == round(wanted[-1], 4)


@dataclass(frozen=True)
class Warm(kmeans.Model):
    """The k-means model whose log joint is divided by a temperature."""

    temperature: float = 1.0

    def e_step(self, x, params):
        return normalise(self.log_joint(x, params) / self.temperature)


def test_each_temperature_has_its_own_shares_and_centres():
    frames, names = carried("kmeans")
    petals = datasets.iris().x[:, 2:]  # (n, 2)
    start = kmeans.Params(petals[[0, 60, 120]])
    cold = fit(kmeans.Model(), petals, start, tol=0.0).params
    assert len(frames) == 16
    for place, frame in enumerate(frames):
        warm = Warm(temperature=4 * 10 ** (-place / 5))
        end = fit(warm, petals, cold, tol=1e-11).params
        resp = warm.e_step(petals, end).resp  # (n, k)
        *circles, dots = frame["marks"]
        # Carried to three digits; near 4 cm2 the loops creep.
        centres = np.transpose([dots["x"], dots["y"]])  # (k, 2)
        np.testing.assert_allclose(centres, end.means, rtol=0, atol=7e-4)
        for mark, mean in zip(circles, end.means, strict=True):
            points = np.transpose([mark["x"], mark["y"]])  # (3, 2)
            reach = warm.temperature**0.5 * np.eye(2)
            wanted = mean + np.vstack([[0, 0], reach])
            np.testing.assert_allclose(points, wanted, rtol=0, atol=7e-4)
        np.testing.assert_allclose(
            frame["resp"], 20 * resp, rtol=0, atol=0.5 + 1e-3
        )
        apart = np.linalg.norm(end.means - cold.means, axis=1).max()
        many = (resp.max(axis=1) <= 0.95).sum()
        said = re.search(r"cm², (\d+) .* ([\d.]+) cm", frame["text"])
        assert int(said[1]) == many
        assert abs(float(said[2]) - apart) < 7e-4
        assert frame["name"] == f"T = {warm.temperature:.2g} cm²"
        assert frame["name"] in frame["text"]
    kept = names["kept"]
    rings = re.findall(r'"circle" cx="(.+?)" cy="(.+?)"', kept.html)
    left, top, right, bottom = kept.data["box"]
    (low, high), (least, most) = kept.data["x"], kept.data["y"]
    scale = [(right - left) / (high - low), (top - bottom) / (most - least)]
    wanted = (cold.means - [low, least]) * scale + [left, bottom]
    drawn = np.array(rings, dtype=float)
    np.testing.assert_allclose(drawn, wanted, rtol=0, atol=0.1)
    # A circle is round: as many of the drawing's units up as across.
    np.testing.assert_allclose(scale[0], -scale[1], rtol=2e-3)


def test_each_needle_is_an_entry_of_the_pose_of_a_digit_that_is_turned():
    without = "train(", "accuracy.json", "in capsules", "in small"
    frames, names = carried("training", without)
    digits = datasets.load_mnist("sample")
    angles = range(-30, 31, 5)
    for number, digit in enumerate((2, 4, 7)):
        image = digits.x_test[np.argmax(digits.y_test == digit)]
        told = {"reshape": False, "order": 1, "mode": "grid-constant"}
        seen = [rotate(image, angle, **told) for angle in angles]
        pixels = (np.array(seen, "float32")[..., None] - 128) / 128
        poses, active = map(np.array, names["classes"](pixels))
        poses = poses[:, digit].reshape(13, 16)
        most = np.abs(poses).max()
        for frame, pose, a, angle in zip(
            frames[13 * number : 13 * number + 13],
            poses,
            active,
            angles,
            strict=True,
        ):
            needles = [m for m in frame["marks"] if m["kind"] == "thick"]
            ends = np.array(
                [[m["x"], m["y"]] for m in needles]
            )  # (16, 2, 2)
            row, column = np.divmod(np.arange(16), 4)
            hubs = np.transpose([column + 1, row + 1])
            np.testing.assert_allclose(ends[..., 0], hubs, rtol=0)
            tilt = np.pi / 2 * pose / most
            tips = hubs + 0.4 * np.transpose([np.sin(tilt), -np.cos(tilt)])
            # Three digits are carried; poses are 32 bits of many sums.
            np.testing.assert_allclose(
                ends[..., 1], tips, rtol=0, atol=1e-3
            )
            assert frame["name"] == f"{angle} degrees"
            said = [
                float(x) for x in re.findall(r"\d\.\d\d", frame["text"])
            ]
            np.testing.assert_allclose(said, [a[digit], most], atol=0.02)
