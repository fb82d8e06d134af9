"""How fast is a turn of CoinMixture, beside a plain EM on scipy.stats?

Writes the section "coins" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
import warnings
from itertools import islice

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom

from emlib import CoinMixture, coins, em
from emlib.estimators.coins import distinct_rows
from emlib.scale import (
    InBlocks,
    Rows,
    budget,
    thread_map,
)
from results import machine, write

REPEATS, TURNS, N = 5, 20, 1_000_000
TRUTH = np.array([0.2, 0.5, 0.7])
START = coins.Params(np.full(3, 1 / 3), np.array([0.3, 0.45, 0.8]))


def rows(n, least, most):
    """Return rows of three coins."""
    rng = np.random.default_rng(20)
    tosses = rng.integers(least, most + 1, size=n)
    heads = rng.binomial(tosses, rng.choice(TRUTH, size=n))
    return np.stack([heads, tosses - heads], axis=1)


def different(x):
    """Return how many rows differ."""
    return len(np.unique(x @ [2**20, 1]))


def once(x):
    """Return the different rows where they are few, as CoinMixture does."""
    return distinct_rows(Rows(x))


def fast(x, kinds, turns=TURNS):
    """Return what the loop of CoinMixture makes of the start."""
    parts = kinds.blocks(budget.COIN_BYTES // (8 * (3 + 5)))
    with thread_map(len(parts)) as mapper:
        model = InBlocks(coins.Model(count_orders=False), mapper)
        return next(islice(em(model, parts, START), turns, None)).params


def plain(x, kinds):
    """Return the same by scipy.stats: logpmf, and sums in logarithms."""
    weights, means = START
    heads, tosses = x[:, :1], x.sum(axis=1, keepdims=True)
    for _ in range(TURNS):
        joint = binom.logpmf(heads, tosses, means) + np.log(weights)
        evidence = logsumexp(joint, axis=1, keepdims=True)
        resp = np.exp(joint - evidence)
        bound = evidence.sum()
        weights = resp.mean(axis=0)
        means = heads[:, 0] @ resp / (tosses[:, 0] @ resp)
    assert np.isfinite(bound)
    return coins.Params(weights, means)


def rash(x, kinds):
    """Return the same without logarithms: long rows would underflow."""
    weights, means = START
    heads, tosses = x[:, :1], x.sum(axis=1, keepdims=True)
    for _ in range(TURNS):
        joint = binom.pmf(heads, tosses, means) * weights
        evidence = joint.sum(axis=1, keepdims=True)
        resp = joint / evidence
        bound = np.log(evidence).sum()
        weights = resp.mean(axis=0)
        means = heads[:, 0] @ resp / (tosses[:, 0] @ resp)
    assert np.isfinite(bound)
    return coins.Params(weights, means)


def clock(function, *args):
    """Return seconds, and what the function returned."""
    began = time.perf_counter()
    answer = function(*args)
    return time.perf_counter() - began, answer


def ours(x, turns):
    """Return CoinMixture's own answer."""
    coin = CoinMixture(3, means_init=START.means, max_iter=turns, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return coin.fit(x)


def agree(answers, wanted):
    """Stop the benchmark unless all have the same parameters."""
    for answer in answers:
        for one, other in zip(answer, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10)


def laps(x, kinds):
    """Return the seconds a turn of each runner, (rounds, 3)."""
    # Three turns: later the bound may stand still, and CoinMixture stops.
    coin, times = ours(x, 3), []
    agree([fast(x, kinds, 3)], (coin.weights_, coin.means_))
    for _ in range(REPEATS):
        timed = [clock(run, x, kinds) for run in (fast, plain, rash)]
        times.append([seconds / TURNS for seconds, _ in timed])
        (_, first), *others = timed
        agree([answer for _, answer in others], first)
    return np.array(times)


def race(name, least, most):
    """Return the table's line for one kind of rows."""
    x = rows(N, least, most)
    found = [clock(once, x) for _ in range(REPEATS)]
    find, kinds = (
        statistics.median(seconds for seconds, _ in found),
        found[0][1],
    )
    times = laps(x, kinds)
    turn, log, pmf = np.median(times, axis=0)
    ratios = times[:, 1] / times[:, 0]
    cells = [
        name,
        f"{different(x):,}",
        f"{len(kinds.x):,}",
        f"{turn * 1e3:.3g}",
        f"{log * 1e3:.0f}",
        f"**{log / turn:,.0f}** ({ratios.min():,.0f}-{ratios.max():,.0f})",
        f"{pmf * 1e3:.0f}",
        f"{pmf / turn:,.0f}",
        f"{find * 1e3:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def extra(n, least, most):
    """Return the megabytes that a fit takes beyond its rows."""
    x = rows(n, least, most)
    tracemalloc.start()
    ours(x, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


HEAD = f"""\
`python benchmarks/coins.py`, {machine("numpy", "scipy")}; {N:,} rows of \
three coins, both weights and chances fitted. Milliseconds a turn: medians \
of {REPEATS} runs of {TURNS} turns from one start, interleaved, in one \
process; emlib's turns take two threads where rows fill more than one \
block. Parameters agree to a relative 1e-10.

| rows | different | counted as | emlib | `binom.logpmf` | times faster \
| `binom.pmf` | times faster | finding equal rows, once |
|---|---|---|---|---|---|---|---|---|"""

MEMORY = """
`binom.logpmf` is the plain EM with `scipy.special.logsumexp`; `binom.pmf` \
is the same without logarithms, and underflows when rows grow longer. In \
brackets the smallest and the largest ratio of a round. Neither of the two \
counts equal rows once; emlib does where no more than 65,536 differ.

Memory of a whole fit beyond its rows, peak, in megabytes:

| rows | 250,000 | 1,000,000 |
|---|---|---|"""


def main() -> None:
    kinds = [("20 to 2,000 tosses", 20, 2000), ("10 tosses", 10, 10)]
    lines = [HEAD, *(race(*kind) for kind in kinds), MEMORY]
    for name, *tosses in kinds:
        few, many = (extra(n, *tosses) for n in (250_000, 1_000_000))
        lines.append(f"| {name} | {few:.1f} | {many:.1f} |")
    write("coins", lines)


if __name__ == "__main__":
    main()
