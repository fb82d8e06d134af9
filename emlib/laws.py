"""The laws that a right EM obeys, for any model that the loop can run.

Each law measures one number that theory says is zero, on a handful of rows
of the user's own data, and says how large it may be for rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise, product
from typing import Any, NamedTuple

import numpy as np

from emlib.bound import gap
from emlib.loop import Step, em, log_prior, next_turn
from emlib.speed import jacobian

__all__ = [
    "LAWS",
    "Case",
    "Law",
    "add",
    "brute_force",
    "check",
    "monotone",
    "normalise",
    "permute",
    "rate",
    "relabel",
    "stationary",
    "tight",
    "weigh",
]


class Law(NamedTuple):
    """What a law measured.

    Attributes
    ----------
    name : str
        Which law.
    says : str
        The law, in words.
    measured : float
        By how much it is broken; NaN where the model failed to answer.
    allowed : float
        What rounding and finite differences may leave.
    """

    name: str
    says: str
    measured: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Say whether the measured value is within what is allowed."""
        return bool(self.measured <= self.allowed)


class Case(NamedTuple):
    """What the laws are tried on.

    Attributes
    ----------
    model, x
        The user's model and rows.
    params
        Parameters of the first turn: the start, or its M-step.
    rng : numpy.random.Generator
        Source of the laws' random choices.
    """

    model: Any
    x: Any
    params: Any
    rng: np.random.Generator

    def step(self) -> Step:
        """Return the case as a step of the loop."""
        return Step(0, self.params, self.model, self.x, None)

    def resp(self) -> Any:
        """Return random responsibilities, (n, k)."""
        k = self.step().resp.shape[1]
        return self.rng.dirichlet(np.ones(k), size=len(self.x))  # (n, k)


def _apart(one: Any, other: Any, unit: float = 1.0) -> float:
    """Return the largest difference, in a unit or in the values."""
    one, other = np.ravel(one), np.ravel(other)
    scale = np.maximum(unit, np.maximum(abs(one), abs(other)))
    return float(np.max(abs(one - other) / scale, initial=0.0))


def _unit(values: Any) -> float:
    """Return 1, or the largest value where even that is less."""
    return float(np.abs(values).max()) or 1.0


def _params_apart(one: Any, other: Any) -> float:
    pairs = list(zip(one, other, strict=True))
    return max(_apart(a, b, min(1.0, _unit(a))) for a, b in pairs)


def normalise(case: Case) -> float:
    """Return how far the responsibilities are from a distribution."""
    resp = case.step().resp  # (n, k)
    return _apart(resp.sum(axis=1), 1) + float(max(0, -resp.min()))


def tight(case: Case) -> float:
    """Return the gap after an E-step (`eq-bound-e`), and its error."""
    log_joint = case.model.log_joint(case.x, case.params)  # (n, k)
    said = case.model.e_step(case.x, case.params)
    evidence = np.logaddexp.reduce(log_joint, axis=1)  # (n,)
    off = _apart(said.log_evidence, evidence)
    return abs(gap(log_joint, said.resp)) + off


def _nudges(params: Any, held: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield a small change of each entry of the parameters."""
    for name, values in params._asdict().items():
        unit = min(1.0, _unit(values))
        for index in np.ndindex(values.shape) if name not in held else ():
            small = 1e-5 * max(abs(values[index]), 1e-3 * unit)
            if name == "weights":
                small = min(small, 1e-3 * values.min())
            nudge = np.zeros_like(values)
            nudge[index] = small
            if name == "weights":
                nudge -= small / len(values)
            yield name, nudge


def stationary(case: Case) -> float:
    """Return the largest slope of the expected log joint after an M-step.

    With a prior: of that sum plus `model.log_prior(params)`. Relative to
    its curvature (`eq-bound-m`): by how many steps of the
    difference the M-step missed the top. A step changes the sum by no more
    than some 1e-8 of its size, whatever the unit of the data. Weights move
    on the simplex; those that the M-step left as they were are taken to be
    held by choice.
    """
    resp, model, x = case.resp(), case.model, case.x
    before = case.step().posterior._replace(resp=resp)
    best = model.maximise(model.summarise(x, before), previous=case.params)
    kept = np.array_equal(
        getattr(best, "weights", 0), getattr(case.params, "weights", 1)
    )

    def terms(**moved: Any) -> Any:
        there = best._replace(**moved)
        expected = resp * model.log_joint(x, there)  # (n, k)
        return np.append(expected, log_prior(model, there))

    def tilt_and_bend(name: str, nudge: Any) -> tuple[float, float]:
        values = getattr(best, name)
        high, low = (
            terms(**{name: values + step}).sum() for step in (nudge, -nudge)
        )
        return abs(high - low), abs(high - 2 * top + low)

    top, size, worst = terms().sum(), abs(terms()).sum(), 0.0
    for name, nudge in _nudges(best, {"weights"} if kept else set()):
        tilt, bend = tilt_and_bend(name, nudge)
        if bend > 1e-8 * size:
            nudge *= np.sqrt(1e-8 * size / bend)
            tilt, bend = tilt_and_bend(name, nudge)
        worst = max(worst, tilt / (bend + 1e-13 * size))
    return float(worst)


def monotone(case: Case) -> float:
    """Return how far the objective fell in ten turns.

    (`eq-bound-monotone`), the bound plus what the prior says.
    """
    steps = islice(em(case.model, case.x, case.params), 11)
    heights = np.array([step.objective for step in steps])  # (t,)
    return float(max(0, -np.diff(heights).min()) / (1 + abs(heights).max()))


def _reordered(params: Any, order: Any) -> Any:
    """Return the parameters with their components in another order."""
    if hasattr(params, "reordered"):
        return params.reordered(order)
    return type(params)(*(part[order] for part in params))


def relabel(case: Case) -> float:
    """Return how much the answer depends on the components' order."""
    k = case.step().resp.shape[1]
    order = np.roll(np.arange(k), 1)
    shuffled = _reordered(case.params, order)
    one, other = (
        next_turn(case.step()),
        next_turn(case._replace(params=shuffled).step()),
    )
    again = _reordered(one.params, order)
    return _params_apart(again, other.params) + _apart(
        one.bound, other.bound
    )


def permute(case: Case) -> float:
    """Return how much the answer depends on the points' order."""
    order = case.rng.permutation(len(case.x))
    one, other = (
        next_turn(case.step()),
        next_turn(case._replace(x=case.x[order]).step()),
    )
    apart = _params_apart(one.params, other.params)
    return apart + _apart(one.resp[order], other.resp)


def weigh(case: Case) -> float:
    """Return how far weight 0 is from absent, and weight 2 from twice."""
    model, x, params = case.model, case.x, case.params
    times = np.arange(len(x)) % 3  # (n,)
    short = next_turn(Step(0, params, model, x, times.astype(float)))
    long = next_turn(
        Step(0, params, model, np.repeat(x, times, axis=0), None)
    )
    apart = _params_apart(short.params, long.params)
    return apart + _apart(short.bound, long.bound)


def _rows_of(posterior: Any, cut: slice, n: int) -> Any:
    """Return the posterior of some of the n rows."""
    return posterior._make(
        part[cut]
        if isinstance(part, np.ndarray) and part.shape[:1] == (n,)
        else part
        for part in posterior
    )


def add(case: Case) -> float:
    """Return how far the statistics of two blocks are from the whole's.

    (`eq-loop-add`), told by the parameters that they lead to.
    """
    model, x, half = case.model, case.x, len(case.x) // 2
    posterior = case.step().posterior._replace(resp=case.resp())
    total = sum(
        model.summarise(x[cut], _rows_of(posterior, cut, len(x)))
        for cut in (slice(None, half), slice(half, None))
    )
    whole = model.summarise(x, posterior)
    return _params_apart(
        model.maximise(total, previous=case.params),
        model.maximise(whole, previous=case.params),
    )


def brute_force(case: Case) -> float:
    """Return how far E-step and evidence are from the sum over labellings.

    (`eq-coins-evidence`), over all k^n labellings of at most six rows.
    """
    x = case.x[:6]
    log_joint = case.model.log_joint(x, case.params)  # (n, k)
    said = case.model.e_step(x, case.params)
    rows, k = np.arange(len(x)), log_joint.shape[1]
    labellings = np.array(
        list(product(range(k), repeat=len(x)))
    )  # (k^n, n)
    logs = log_joint[rows, labellings].sum(axis=1)  # (k^n,)
    total = np.logaddexp.reduce(logs)
    shares = np.exp(logs - total)  # (k^n,)
    brute = [
        [shares @ (labellings[:, n] == j) for j in range(k)] for n in rows
    ]
    return _apart(said.resp, brute) + _apart(said.log_evidence.sum(), total)


def _settled(steps: Iterator[Step]) -> Step:
    """Return the step at which the parameters stand still, or the last."""
    for one, other in pairwise(steps):
        if _params_apart(one.params, other.params) <= 1e-15:
            break
    return other


def rate(case: Case) -> float:
    """Return how far the map's slope is from the share that is missing.

    (`eq-speed-missing`); for models that have `pack` and `unpack`, where
    2000 turns from the case's parameters lead to an interior maximum.
    """
    model, x = case.model, case.x
    fixed = _settled(islice(em(model, x, case.params), 2001))

    def at(vector: Any) -> Step:
        params = model.unpack(vector, fixed.params)
        return Step(0, params, model, x, None)

    def q(vector: Any) -> float:
        there = at(vector).params
        expected = fixed.resp * model.log_joint(x, there)  # (n, k)
        return float(expected.sum()) + log_prior(model, there)

    top = model.pack(fixed.params)  # (p,)
    slope = jacobian(
        lambda v: model.pack(next_turn(at(v)).params), top
    )  # (p, p)
    observed = _bend(lambda v: at(v).objective, top)  # (p, p)
    complete = _bend(q, top)  # (p, p)
    inverse = np.linalg.pinv(complete, rcond=1e-4)  # (p, p)
    missing = inverse @ (complete - observed)  # (p, p)
    largest = [
        abs(np.linalg.eigvals(part)).max() for part in (slope, missing)
    ]
    return float(abs(largest[0] - largest[1]))


def _bend(function: Callable[[Any], float], vector: Any) -> Any:
    """Return minus the second derivatives of a function, (p, p)."""

    def slope(at: Any) -> Any:
        return jacobian(lambda v: np.array([function(v)]), at, 1e-4)[0]

    return -jacobian(slope, vector, 1e-4)


LAWS: tuple[tuple[Callable[[Case], float], str, float], ...] = (
    (normalise, "each row of responsibilities sums to 1", 1e-12),
    (tight, "after an E-step the bound is the log evidence", 1e-9),
    (
        stationary,
        "after an M-step the expected log joint has no slope",
        0.02,
    ),
    (monotone, "the objective never falls", 1e-12),
    (relabel, "components have no order", 1e-9),
    (permute, "points have no order", 1e-9),
    (weigh, "weight 0 is absent, weight 2 is twice", 1e-9),
    (add, "statistics of blocks add up to those of the whole", 1e-9),
    (brute_force, "the E-step is the sum over all labellings", 1e-9),
)


def _measured(law: Callable[[Case], float], case: Case) -> float:
    try:
        return law(case)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ):
        return float("nan")


def check(
    model: Any, x: Any, start: Any, rng: np.random.Generator | None = None
) -> tuple[Law, ...]:
    """Try the laws of EM on a model of your own, and say which one fails.

    Parameters
    ----------
    model : Model
        With `log_joint`, `e_step`, `summarise` and `maximise`. Its
        posterior is a named tuple whose first field is `resp`. Its
        parameters are a named tuple of arrays, components along axis 0
        (or with a method `reordered(order)`); mixing weights, if it has
        them, are called `weights`. Where it has a prior, `log_prior` says
        what that is worth at some parameters.
    x : array of shape (n, ...)
        Rows; some dozens are enough.
    start : params or array of shape (n, k)
        As in `emlib.em`.
    rng : numpy.random.Generator, optional
        Source of the laws' random choices; seeded with 1977 without it.

    Returns
    -------
    tuple of Law
        One for each law, in the order of `LAWS`.

    Raises
    ------
    AssertionError
        If a law is broken; the message lists those that are, and by how
        much. The measured values are in its `laws`.

    Examples
    --------
    >>> from emlib import coins, datasets
    >>> from emlib.laws import check
    >>> x = datasets.unlabelled_coins().x
    >>> fair = np.array([0.5, 0.5])
    >>> start = coins.Params(weights=fair, means=np.array([0.6, 0.5]))
    >>> [law.name for law in check(coins.Model(), x, start)][:3]
    ['normalise', 'tight', 'stationary']

    References
    ----------
    Dempster, Laird and Rubin (1977), theorems 1 to 4.
    """
    rng = np.random.default_rng(1977) if rng is None else rng
    first = next(em(model, x, start))
    case = Case(model, x, first.params, rng)
    laws = tuple(
        Law(law.__name__, says, _measured(law, case), allowed)
        for law, says, allowed in LAWS
    )
    broken = [law for law in laws if not law.holds]
    if broken:
        lines = [
            f"{law.name}: {law.says}; measured {law.measured:.2g}, "
            f"allowed {law.allowed:.2g}"
            for law in broken
        ]
        error = AssertionError("broken laws of EM:\n" + "\n".join(lines))
        error.laws = laws  # type: ignore[attr-defined]
        raise error
    return laws
