"""A plan is checked before Keras is loaded."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, fields, replace

import pytest

from emlib.plan import RIVALS, Plan

BAD = [
    *[("network", value) for value in ("dense", "", None, ["capsules"])],
    *[("preset", value) for value in ("huge", 3)],
    *[("schedule", value) for value in ("linear", None)],
    *[("margin", value) for value in ("cosine", 0.9)],
    *[
        (name, value)
        for name in ("epochs", "batch_size", "every", "margin_steps")
        for value in (0, -1, 1.5, 2.0, "2", None)
    ],
    *[("seed", value) for value in (-1, 1.5, "3", None)],
    *[
        (name, value)
        for name in ("degrees", "shift", "zoom")
        for value in (-0.1, math.nan, math.inf, "3", None)
    ],
    *[
        (name, value)
        for name in ("learning_rate", "clip")
        for value in (0, 0.0, -1.0, math.nan, math.inf, "3", None)
    ],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_option_is_named(name, value):
    with pytest.raises(ValueError) as caught:
        Plan(**{name: value})
    said = str(caught.value)
    assert f"`{name}` must be" in said
    assert f"received {value!r}" in said


@pytest.mark.parametrize(
    ("n", "size", "epochs", "steps"),
    [(5000, 64, 2, 156), (64, 64, 3, 3), (127, 64, 1, 1), (10, 1, 1, 10)],
)
def test_steps_are_whole_batches(n, size, epochs, steps):
    assert Plan(batch_size=size, epochs=epochs).steps(n) == steps


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        ValueError, match="`batch_size` must be at most"
    ) as e:
        Plan(batch_size=51).steps(50)
    assert "50; received 51" in str(e.value)


def test_a_bad_option_is_refused_without_keras():
    program = (
        "import sys; from emlib.plan import Plan\n"
        "try: Plan(preset='huge')\n"
        "except ValueError as why: print(why)\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == [
        "`preset` must be one of small, medium, notes; received 'huge'.",
        "set()",
    ]


def test_a_plan_knows_the_sizes_that_networks_have():
    pytest.importorskip("keras")
    from emlib.capsules.network import MARGINS, PRESETS

    assert [*RIVALS] == [*PRESETS]
    (margin,) = (f for f in fields(Plan) if f.name == "margin")
    assert margin.metadata["choices"] == (*MARGINS,)


def test_an_option_is_kept_as_it_is_read_again():
    plan = Plan(options={"inverse_temperature": (0.1, 0.2)}, clip=1)
    assert plan.options == {"inverse_temperature": [0.1, 0.2]}
    assert (plan.clip, type(plan.clip)) == (1.0, float)
    assert Plan(**asdict(plan)) == plan == replace(plan)
