"""Drawings that stand in the page: their places, and what is left out."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from emlib import figures

pytest.importorskip("sphinx")
sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "_ext"))

import pictures

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
PATH = re.compile(r' d="([^"]*)"')


def drawing():
    figure, axes = figures.canvas(figures.NARROW, 2.0)
    rng = np.random.default_rng(0)
    axes.plot(*rng.normal(size=(2, 30)))
    axes.set_xlabel(r"$\mu_k$ (nats)")
    text = io.StringIO()
    figure.savefig(text, format="svg")
    plt.close(figure)
    return text.getvalue()


def places(svg):
    return [
        [float(n) for n in NUMBER.findall(path)]
        for path in PATH.findall(svg)
    ]


def test_a_drawing_keeps_its_places_to_a_hundredth_of_a_point():
    svg = drawing()
    short = pictures.inlined(svg, "a line in words", "picture-1")
    assert len(short) < len(svg)
    before, after = places(svg), places(short)
    assert [len(path) for path in before] == [len(path) for path in after]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0.005 + 1e-9)


def test_a_drawing_keeps_its_scales_and_loses_its_comments():
    svg = drawing()
    short = pictures.inlined(svg, "a line in words", "picture-1")
    scale = re.compile(r"scale\([^)]*\)")
    assert scale.findall(svg) == scale.findall(short)
    assert "<!--" in svg
    assert "<!--" not in short
