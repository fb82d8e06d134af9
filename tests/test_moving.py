"""What the interactive figures carry is what the package computes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import comb, logsumexp
from scipy.stats import binom
from test_book import cells

from emlib import coins, datasets, gaussians
from emlib.bound import bound, normalise

BOOK = Path(__file__).parents[1] / "book"


def carried(page):
    """Run a page's cells to its interactive figure; return its frames."""
    names = {}
    text = (BOOK / f"{page}.md").read_text(encoding="utf-8")
    for cell in cells(text):
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
        top = model.maximise(model.summarise(x, resp)).means[0]
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
            params = model.maximise(model.summarise(x, before))
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
        assert f"{each.sum():.3f}" in frame["text"]
        assert np.diff(line["y"]).min() >= -1e-3
        assert len(line["y"]) == min(run.turns, 30)
