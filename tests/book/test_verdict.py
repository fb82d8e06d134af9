"""The equations of the verdict, and what its results files hold."""

from __future__ import annotations

import ast
import importlib.util
import json
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import softmax
from scipy.stats import binom, binomtest, multinomial
from test_book import TEXTS, cells

keras = pytest.importorskip("keras")

from emlib import datasets  # noqa: E402
from emlib.capsules import training  # noqa: E402

RESULTS = Path(__file__).parents[2] / "results"
SEEDS = range(4)


def from_chapter(page):
    """Return the functions that the cells of a page define."""
    names = {"np": np, "binom": binom, "softmax": softmax}
    for cell in cells(TEXTS[page]):
        for node in ast.parse(cell).body:
            if isinstance(node, ast.FunctionDef):
                exec(ast.unparse(node), names)
    return names


def read(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def script():
    """Return results/digits.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "digits", RESULTS / "digits.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.equation("eq-verdict-difference")
@pytest.mark.parametrize("seed", SEEDS)
def test_accuracies_differ_by_what_each_is_right_on_alone(seed):
    rng = np.random.default_rng(seed)
    right = rng.random((2, 200)) < [[0.8], [0.9]]
    wrong = [np.flatnonzero(~row).tolist() for row in right]
    first, second = from_chapter("verdict")["alone"](*wrong)
    difference = right[0].mean() - right[1].mean()
    # Both are counts over 200.
    np.testing.assert_allclose(
        (first - second) / 200, difference, atol=1e-15
    )


@pytest.mark.equation("eq-verdict-toss")
@pytest.mark.parametrize("q", [(0.1, 0.2), (0.05, 0.05), (0.3, 0.7 - 1e-9)])
def test_what_both_got_right_drops_out(q):
    n, m = 12, 5
    kinds = [*q, 1 - sum(q)]
    both = np.array(
        [multinomial.pmf([k, m - k, n - m], n, kinds) for k in range(m + 1)]
    )
    wanted = binom.pmf(np.arange(m + 1), m, q[0] / sum(q))
    np.testing.assert_allclose(both / both.sum(), wanted, rtol=1e-9)


@pytest.mark.equation("eq-verdict-chance")
@pytest.mark.parametrize("m", range(1, 11))
def test_the_chance_counts_the_tosses_that_fall_as_unevenly(m):
    chance = from_chapter("verdict")["chance"]
    heads = np.array([sum(toss) for toss in product((0, 1), repeat=m)])
    for first in range(m + 1):
        uneven = abs(2 * heads - m) >= abs(2 * first - m)
        found = chance(first, m - first)
        np.testing.assert_allclose(found, uneven.mean(), rtol=1e-12)
        wanted = binomtest(first, m).pvalue
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.equation("eq-verdict-sign")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_small_change_does_more_harm_than_the_sign(seed):
    g = np.random.default_rng(seed).normal(size=9)
    epsilon = 0.3
    most = linprog(-g, bounds=[(-epsilon, epsilon)] * 9)
    np.testing.assert_allclose(
        g @ (epsilon * np.sign(g)), -most.fun, rtol=1e-9
    )


@pytest.mark.parametrize("network", ["capsules", "convolution"])
def test_a_spoiled_image_is_changed_so_much_and_raises_the_loss(
    script, network
):
    digits = datasets.load_mnist("sample")
    x, y = digits.x_test[:20], digits.y_test[:20]
    plan = training.Plan(network)
    net = training.build_network(plan)
    net = training.compile_network(net, plan, 10, jit=False)
    images = training.normalise_images(x)
    worse = script.spoiled(net, x, y, "fgsm", 0.01)
    slopes = script.slope(net, images, y)
    # A pixel whose slope is 0 stays; 32 bits carry 0.01 to 1e-7.
    np.testing.assert_allclose(
        abs(worse - images), np.where(slopes == 0, 0, 0.01), atol=2e-7
    )
    told = keras.ops.convert_to_tensor(y.astype("int32"))
    before, after = (float(net.loss(told, net(i))) for i in (images, worse))
    assert after > before
    # The loss is curved: at 0.01 most of the rise is linear, not all.
    linear = 0.01 * abs(slopes).sum()
    np.testing.assert_allclose(after - before, linear, rtol=0.3)


def test_a_covered_image_has_a_black_square_and_nothing_else(script):
    digits = datasets.load_mnist("sample")
    x, y = digits.x_test[:20], digits.y_test[:20]
    images = training.normalise_images(x)
    covered = script.spoiled(None, x, y, "occlusion", 28)
    assert (covered == -1).all()
    covered = script.spoiled(None, x, y, "occlusion", 6)
    for old, new in zip(images, covered, strict=True):
        changed = np.argwhere((old != new)[..., 0])
        if len(changed):
            assert (np.ptp(changed, axis=0) < 6).all()
    same = script.spoiled(None, x, y, "occlusion", 0)
    np.testing.assert_array_equal(same, images)


def test_self_routing_is_the_sum_that_its_formula_says():
    rng = np.random.default_rng(5)
    gates, votes = rng.normal(size=(2, 4, 3, 2))
    poses, active = rng.normal(size=(4, 2)), rng.uniform(size=4)
    resp, means, awake = from_chapter("later")["self_route"](
        gates, poses, active, votes
    )
    for j in range(3):
        held = [
            active[i]
            * np.exp(gates[i, j] @ poses[i])
            / sum(np.exp(gates[i, k] @ poses[i]) for k in range(3))
            for i in range(4)
        ]
        np.testing.assert_allclose(active * resp[:, j], held)
        mean = sum(held[i] * votes[i, j] for i in range(4)) / sum(held)
        np.testing.assert_allclose(means[j], mean)
        np.testing.assert_allclose(awake[j], sum(held) / sum(active))


FILES = ["accuracy", "views", "robustness", "ablations", "cost"]


@pytest.mark.parametrize("name", FILES)
def test_a_results_file_is_complete_and_says_how_it_was_made(name, script):
    found = read(name)
    assert found["complete"]
    assert found["command"].startswith(f"python results/digits.py {name} ")
    assert name in script.SECTIONS
    for run in found["runs"]:
        if name == "robustness":
            continue
        assert {"date", "device", "versions", "parameters"} <= set(run)


def test_every_pair_of_rivals_has_equally_many_parameters():
    for name in ("accuracy", "views", "cost"):
        sizes = {}
        for run in read(name)["runs"]:
            plan = run.get("plan", run)
            pair = sizes.setdefault(plan["preset"], {})
            pair[plan["network"]] = run["parameters"]
        for pair in sizes.values():
            one, other = pair["capsules"], pair["convolution"]
            assert abs(other / one - 1) < 0.03


def test_what_is_wrong_agrees_with_the_confusion():
    for run in read("accuracy")["runs"]:
        confusion = np.array(run["confusion"])
        assert confusion.sum() == 10_000
        assert len(run["wrong"]) == 10_000 - np.trace(confusion)
        assert run["accuracy"] == pytest.approx(np.trace(confusion) / 1e4)
        # What the run saw after its last epoch is what it does.
        assert run["accuracy"] == pytest.approx(run["test"][-1], abs=1e-9)


def test_seeds_are_three_and_differ():
    for name in ("views", "ablations"):
        runs = read(name)["runs"]
        groups = {}
        for run in runs:
            plan = {k: v for k, v in run["plan"].items() if k != "seed"}
            key = json.dumps(plan, sort_keys=True)
            groups.setdefault(key, []).append(run)
        assert {len(group) for group in groups.values()} == {3}
        for group in groups.values():
            for one, other in combinations(group, 2):
                assert one["plan"]["seed"] != other["plan"]["seed"]
                assert one["curve"] != other["curve"]


def test_ten_kills_end_with_the_same_weights():
    found = read("kill")
    assert found["same_weights"]
    assert found["same_history"]
    assert len(found["kills"]) == 10
