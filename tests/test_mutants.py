"""The package broken on purpose: which law catches which mistake.

`CAUGHT` is the table. A check that cannot fail is a defect, and so is a
mutant that nobody catches.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from emlib import coins, laws
from emlib.bound import Posterior
from emlib.coins import Params, Statistics


class AcrossRows(coins.Model):
    """Normalise over the rows, not over the coins."""

    def e_step(self, x, params):
        joint = self.log_joint(x, params)  # (n, k)
        resp = np.exp(joint - logsumexp(joint, axis=0))  # (n, k)
        return Posterior(resp, logsumexp(joint, axis=1))


class Unnormalised(coins.Model):
    """Divide by the largest entry of a row instead of its sum."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        return right._replace(resp=right.resp / right.resp.max(1)[:, None])


class NoPrior(coins.Model):
    """Drop the mixing weights from the E-step."""

    def e_step(self, x, params):
        even = np.full_like(params.weights, 1 / len(params.weights))
        return super().e_step(x, params._replace(weights=even))


class NoPriorInJoint(coins.Model):
    """Drop the mixing weights from the log joint, not from the E-step."""

    def log_joint(self, x, params):
        return super().log_joint(x, params) - np.log(params.weights)

    def e_step(self, x, params):
        return coins.Model().e_step(x, params)


class HardLabels(coins.Model):
    """Give each row to the likeliest coin."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        winner = right.resp.argmax(axis=1)  # (n,)
        return right._replace(resp=np.eye(right.resp.shape[1])[winner])


class Lukewarm(coins.Model):
    """Take the square root of the joint before normalising."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        root = np.sqrt(right.resp)  # (n, k)
        return right._replace(resp=root / root.sum(axis=1, keepdims=True))


class PeakForgotten(coins.Model):
    """Do not add back the peak that log-sum-exp took out."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        peak = self.log_joint(x, params).max(axis=1)  # (n,)
        return right._replace(log_evidence=right.log_evidence - peak)


class PrintedSum(coins.Model):
    """Report the expected log probability of the tosses alone."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        logs = self.log_joint(x, params) - np.log(params.weights)  # (n, k)
        return right._replace(log_evidence=(right.resp * logs).sum(axis=1))


class NoCoefficient(coins.Model):
    """Leave the binomial coefficient out of the evidence only."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        logs = right.log_evidence - coins.log_choose(x)  # (n,)
        return right._replace(log_evidence=logs)


class Swapped(coins.Model):
    """Swap heads and tails in the M-step."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        return super().summarise(x[:, ::-1], resp, multiplicity)


class RowsForTosses(coins.Model):
    """Average the rows' shares of heads, whatever their tosses."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        shares = x / x.sum(axis=1, keepdims=True)  # (n, 2)
        return super().summarise(shares, resp, multiplicity)


class WeightsByTosses(coins.Model):
    """Estimate the mixing weights from tosses, not from rows."""

    def maximise(self, statistics, previous=None):
        tosses = statistics.heads + statistics.tails  # (k,)
        right = super().maximise(statistics, previous)
        return right._replace(weights=tosses / tosses.sum())


class Smoothed(coins.Model):
    """Add a pseudo-count that no prior accounts for."""

    def maximise(self, statistics, previous=None):
        more = Statistics(
            statistics.counts, statistics.heads + 1, statistics.tails + 1
        )
        return super().maximise(more, previous)


class Damped(coins.Model):
    """Go nine tenths of the way."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        means = 0.9 * right.means + 0.1 * previous.means  # (k,)
        return right._replace(means=means)


class FirstCoinHeld(coins.Model):
    """Never move the first coin."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        means = right.means.copy()  # (k,)
        means[0] = previous.means[0]
        return right._replace(means=means)


class MultiplicityIgnored(coins.Model):
    """Forget how often a row counts."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        return super().summarise(x, resp)


class MultiplicityTwice(coins.Model):
    """Count the multiplicity twice."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        twice = None if multiplicity is None else multiplicity**2
        return super().summarise(x, resp, twice)


class Averages(coins.Model):
    """Return averages for sums; they do not add."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        s = super().summarise(x, resp, multiplicity)
        return Statistics(
            s.counts / len(x), s.heads / len(x), s.tails / len(x)
        )


class LastRowLost(coins.Model):
    """Stop one row early."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        cut = None if multiplicity is None else multiplicity[:-1]
        return super().summarise(x[:-1], resp[:-1], cut)


class ByPosition(coins.Model):
    """Let later rows count a little more."""

    def summarise(self, x, resp, multiplicity=None, origin=None):
        later = 1 + 0.01 * np.arange(len(x))  # (n,)
        both = later if multiplicity is None else later * multiplicity
        return super().summarise(x, resp, both)


# Each mistake and the laws that catch it, on rows of unequal tosses.
CAUGHT = {
    AcrossRows: {"normalise", "tight", "weigh", "brute_force"},
    Unnormalised: {"normalise", "tight", "brute_force"},
    NoPrior: {"tight", "brute_force"},
    NoPriorInJoint: {"tight", "brute_force"},
    HardLabels: {"tight", "brute_force"},
    Lukewarm: {"tight", "brute_force"},
    PeakForgotten: {"tight", "brute_force"},
    PrintedSum: {"tight", "brute_force"},
    NoCoefficient: {"tight", "brute_force"},
    Swapped: {"stationary", "monotone"},
    RowsForTosses: {"stationary"},
    WeightsByTosses: {"stationary"},
    Smoothed: {"stationary"},
    Damped: {"stationary"},
    FirstCoinHeld: {"stationary", "relabel"},
    MultiplicityIgnored: {"weigh"},
    MultiplicityTwice: {"weigh"},
    Averages: {"add"},
    LastRowLost: {"stationary", "permute", "weigh", "add"},
    ByPosition: {"stationary", "permute", "weigh", "add"},
}


def caught(mutant, seed=0):
    """Return the names of the laws that a mutant breaks."""
    rng = np.random.default_rng(seed)
    # Blocks of different sizes, so that averages show that they do not add.
    x = rng.integers(1, 30, size=(21, 2))  # (n, 2)
    start = Params(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.8]))
    try:
        laws.check(mutant(), x, start, rng)
    except AssertionError as error:
        return {law.name for law in error.laws if not law.holds}
    return set()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda m: m.__name__)
def test_every_mutant_is_caught(mutant, seed):
    assert CAUGHT[mutant] <= caught(mutant, seed)


def test_the_right_model_is_not():
    assert not caught(coins.Model)


def test_every_law_catches_something():
    names = {law.__name__ for law, *_ in laws.LAWS}
    assert set().union(*(caught(mutant) for mutant in CAUGHT)) == names


if __name__ == "__main__":
    for each in CAUGHT:
        rows = ", ".join(sorted(caught(each)))
        print(f"| {each.__name__} | {each.__doc__} | {rows} |")
