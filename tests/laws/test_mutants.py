"""The package broken on purpose: which law catches which mistake.

`CAUGHT` is the table of the coins, `CAUGHT_GAUSSIANS` that of Gaussian
mixtures and `CAUGHT_KMEANS` that of k-means. A check that cannot fail is a
defect, and so is a mutant that nobody catches.

No law of EM can see a mistake that makes another model of the model, such
as a density without its constant, or one in what no step of EM runs. For
those there are checks of one model, after SciPy, NumPy and the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from threadpoolctl import threadpool_limits

from emlib import coins, gaussians, kmeans, laws
from emlib.bound import Posterior
from emlib.loop import Labels
from emlib.models.coins import Params, Statistics
from emlib.models.covariances import COVARIANCES


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keep BLAS from waking a thread for each of many tiny systems."""
    with threadpool_limits(1):
        yield


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

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        resp = posterior.resp
        return super().summarise(x[:, ::-1], Labels(resp), multiplicity)


class RowsForTosses(coins.Model):
    """Average the rows' shares of heads, whatever their tosses."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        shares = x / x.sum(axis=1, keepdims=True)  # (n, 2)
        return super().summarise(shares, posterior, multiplicity)


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

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        return super().summarise(x, posterior)


class MultiplicityTwice(coins.Model):
    """Count the multiplicity twice."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        twice = None if multiplicity is None else multiplicity**2
        return super().summarise(x, posterior, twice)


class Averages(coins.Model):
    """Return averages for sums; they do not add."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        s = super().summarise(x, posterior, multiplicity)
        return Statistics(
            s.counts / len(x), s.heads / len(x), s.tails / len(x)
        )


class LastRowLost(coins.Model):
    """Stop one row early."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        resp = posterior.resp
        cut = None if multiplicity is None else multiplicity[:-1]
        return super().summarise(x[:-1], Labels(resp[:-1]), cut)


class ByPosition(coins.Model):
    """Let later rows count a little more."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        later = 1 + 0.01 * np.arange(len(x))  # (n,)
        both = later if multiplicity is None else later * multiplicity
        return super().summarise(x, posterior, both)


class AcrossPoints(gaussians.Model):
    """Normalise over the points, not over the components."""

    def e_step(self, x, params):
        joint = self.log_joint(x, params)  # (n, k)
        resp = np.exp(joint - logsumexp(joint, axis=0))  # (n, k)
        return Posterior(resp, logsumexp(joint, axis=1))


class ByTheLargest(gaussians.Model):
    """Divide by the largest entry of a row instead of its sum."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        return right._replace(resp=right.resp / right.resp.max(1)[:, None])


class WeightsDropped(gaussians.Model):
    """Drop the mixing weights from the E-step."""

    def e_step(self, x, params):
        even = np.full_like(params.weights, 1 / len(params.weights))
        return super().e_step(x, params._replace(weights=even))


class TakesSides(gaussians.Model):
    """Give each point to its likeliest component."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        winner = right.resp.argmax(axis=1)  # (n,)
        return right._replace(resp=np.eye(right.resp.shape[1])[winner])


class Densities(gaussians.Model):
    """Sum log densities made of a root, a difference and a constant."""

    def log_joint(self, x, params):
        logs = [
            self.density(np.linalg.cholesky(matrix), x - mean)
            for mean, matrix in zip(
                params.means, params.matrices(), strict=True
            )
        ]
        return np.stack(logs, axis=1) + np.log(params.weights)  # (n, k)

    def density(self, root, apart):
        whitened = self.whiten(root, apart)  # (d, n)
        log_det = 2 * np.log(np.diagonal(root)).sum()
        return -0.5 * (
            self.constant(len(root), log_det) + (whitened**2).sum(axis=0)
        )

    def whiten(self, root, apart):
        return solve_triangular(root, apart.T, lower=True)

    def constant(self, d, log_det):
        return d * np.log(2 * np.pi) + log_det


class LogDetFlipped(Densities):
    """Subtract the log determinant from the quadratic form."""

    def constant(self, d, log_det):
        return d * np.log(2 * np.pi) - log_det


class LogDetHalved(Densities):
    """Forget that the determinant is that of the root, squared."""

    def constant(self, d, log_det):
        return d * np.log(2 * np.pi) + log_det / 2


class LogDetMissing(Densities):
    """Leave the log determinant out."""

    def constant(self, d, log_det):
        return d * np.log(2 * np.pi)


class TwoPiMissing(Densities):
    """Leave the constant of the density out."""

    def constant(self, d, log_det):
        return log_det


class TwoPiOnce(Densities):
    """Take log 2 pi once, not once a feature."""

    def constant(self, d, log_det):
        return np.log(2 * np.pi) + log_det


class RootTransposed(Densities):
    """Solve with the Cholesky factor's transpose."""

    def whiten(self, root, apart):
        return solve_triangular(root.T, apart.T, lower=False)


class UpperForLower(Densities):
    """Read the upper triangle of a lower Cholesky factor."""

    def whiten(self, root, apart):
        return solve_triangular(root, apart.T, lower=False)


class NotSquared(Densities):
    """Multiply by the covariance where its inverse belongs."""

    def whiten(self, root, apart):
        return root.T @ apart.T


class PrecisionsKept(gaussians.Model):
    """Return precisions, which the E-step takes for covariances."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        cells = np.linalg.inv(right.cells())
        return right._replace(
            covariances=cells.reshape(right.covariances.shape)
        )


class AboutOldMeans(gaussians.Model):
    """Take covariances about the means of the turn before."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        kept = right.keep(statistics.about(previous.means).second)
        return right._replace(
            covariances=kept / right.pool(statistics.counts)
        )


class AboutOneMean(gaussians.Model):
    """Take covariances about the mean of all points."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        middle = right.weights @ right.means  # (d,)
        about = np.broadcast_to(middle, right.means.shape)  # (k, d)
        kept = right.keep(statistics.about(about).second)
        return right._replace(
            covariances=kept / right.pool(statistics.counts)
        )


class EvenWeights(gaussians.Model):
    """Keep all mixing weights equal."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        k = len(right.weights)
        return right._replace(weights=np.full(k, 1 / k))


class OnePointLess(gaussians.Model):
    """Divide by N_k - 1, as for a sample's unbiased variance."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        counts = statistics.counts  # (k,)
        more = right.pool(counts) / right.pool(counts - 1)
        return right._replace(covariances=right.covariances * more)


class FirstHeld(gaussians.Model):
    """Never move the first component."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        means = right.means.copy()  # (k, d)
        means[0] = previous.means[0]
        return right._replace(means=means)


class TiedNotPooled(gaussians.Model):
    """Average the components' covariances, whatever their points."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        about = statistics.about(right.means).second  # (k, d, d)
        each = about / statistics.counts[:, None, None]  # (k, d, d)
        return right._replace(covariances=each.mean(axis=0))


class TiedNotDivided(gaussians.Model):
    """Sum the components' covariances instead of pooling them."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        about = statistics.about(right.means).second  # (k, d, d)
        each = about / statistics.counts[:, None, None]  # (k, d, d)
        return right._replace(covariances=each.sum(axis=0))


class VariancesOfAll(gaussians.Model):
    """Keep the variances of the points without their responsibilities."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        about = statistics.about(right.means)
        pooled = about.second.sum(axis=0) / about.counts.sum()  # (d, d)
        every = np.broadcast_to(pooled, about.second.shape)
        return right._replace(covariances=right.keep(every))


class TraceNotDivided(gaussians.Model):
    """Keep the trace of the covariance, not the mean of its diagonal."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        d = right.means.shape[1]
        return right._replace(covariances=d * right.covariances)


class LowerHalfOnly(gaussians.Model):
    """Return the lower triangle of a covariance and zeros above."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        return right._replace(covariances=np.tril(right.covariances))


class HalfOffDiagonal(gaussians.Model):
    """Halve what lies off the diagonal, to make the matrix symmetric."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        half = np.tril(right.covariances)
        return right._replace(
            covariances=(half + np.swapaxes(half, -1, -2)) / 2
        )


class TimesIgnored(gaussians.Model):
    """Forget how often a point counts."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        return super().summarise(x, posterior, None, origin)


class TimesSquared(gaussians.Model):
    """Count the multiplicity twice."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        twice = None if multiplicity is None else multiplicity**2
        return super().summarise(x, posterior, twice, origin)


class MeansForSums(gaussians.Model):
    """Return averages for sums; they do not add."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        s = super().summarise(x, posterior, multiplicity, origin)
        return replace(
            s,
            counts=s.counts / len(x),
            first=s.first / len(x),
            second=s.second / len(x),
        )


class LastPointLost(gaussians.Model):
    """Stop one point early."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        resp = posterior.resp
        cut = None if multiplicity is None else multiplicity[:-1]
        return super().summarise(x[:-1], Labels(resp[:-1]), cut, origin)


@dataclass(frozen=True)
class OneOrigin(gaussians.Statistics):
    """Add moments as if both were about the first one's origin."""

    def __add__(self, other):
        return replace(
            self,
            counts=self.counts + other.counts,
            first=self.first + other.first,
            second=self.second + other.second,
        )


class OriginForgotten(gaussians.Model):
    """Add the moments of blocks without moving them to one origin."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        s = super().summarise(x, posterior, multiplicity, origin)
        return OneOrigin(s.counts, s.origin, s.first, s.second)


@dataclass(frozen=True)
class NoCross(gaussians.Statistics):
    """Move moments to another origin without their cross terms."""

    def about(self, origin):
        shift = self.origin - origin  # (k, d)
        square = shift[:, :, None] * shift[:, None, :]  # (k, d, d)
        counts = self.counts[:, None]  # (k, 1)
        second = self.second + counts[:, :, None] * square
        return NoCross(
            self.counts, origin, self.first + counts * shift, second
        )


class CrossTermsLost(gaussians.Model):
    """Move moments to another origin without their cross terms."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        s = super().summarise(x, posterior, multiplicity, origin)
        return NoCross(s.counts, s.origin, s.first, s.second)


class AboutZero(gaussians.Model):
    """Take the mean of squares less the square of the mean."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        zero = np.zeros(x.shape[1])  # (d,)
        return super().summarise(x, posterior, multiplicity, zero)


class VarianceForDeviation(gaussians.Model):
    """Draw with the variance in place of the standard deviation.

    As a package did for years, in the diagonal case.
    """

    def sample(self, params, n, rng):
        z = rng.choice(len(params.weights), size=n, p=params.weights)
        noise = rng.standard_normal((n, params.means.shape[1]))  # (n, d)
        spread = np.einsum("nij,nj->ni", params.matrices()[z], noise)
        return params.means[z] + spread, z


class RootsTransposed(gaussians.Model):
    """Draw with the transposes of the Cholesky factors."""

    def sample(self, params, n, rng):
        z = rng.choice(len(params.weights), size=n, p=params.weights)
        noise = rng.standard_normal((n, params.means.shape[1]))  # (n, d)
        roots = np.linalg.cholesky(params.matrices())[z]  # (n, d, d)
        return params.means[z] + np.einsum("nji,nj->ni", roots, noise), z


class RidgeTwice(gaussians.Model):
    """Add the ridge again after it was added."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        eye = np.eye(right.means.shape[1])  # (d, d)
        ridge = right.keep(self.reg_covar * eye[None])
        return right._replace(covariances=right.covariances + ridge)


class RidgePerPoint(gaussians.Model):
    """Add the ridge before dividing by the points."""

    def maximise(self, statistics, previous=None):
        bare = replace(self, reg_covar=0.0)
        right = gaussians.Model.maximise(bare, statistics, previous)
        eye = np.eye(right.means.shape[1])  # (d, d)
        ridge = right.keep(self.reg_covar * eye[None])
        pool = right.pool(statistics.counts)
        return right._replace(covariances=right.covariances + ridge / pool)


class Farthest(kmeans.Model):
    """Give each point to the centre that is farthest from it."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        joint = self.log_joint(x, params)  # (n, k)
        worst = joint.argmin(axis=1)  # (n,)
        return right._replace(resp=np.eye(joint.shape[1])[worst])


class TwoNearest(kmeans.Model):
    """Give each point, whole, to each of its two nearest centres."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        joint = self.log_joint(x, params)  # (n, k)
        second = np.sort(joint, axis=1)[:, -2:-1]  # (n, 1)
        return right._replace(resp=(joint >= second).astype(float))


class Softened(kmeans.Model):
    """Share each point as a Gaussian mixture does."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        joint = self.log_joint(x, params)  # (n, k)
        shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        return right._replace(resp=shares)


class NotHalved(kmeans.Model):
    """Report the whole squared distance, and not half of it."""

    def e_step(self, x, params):
        right = super().e_step(x, params)
        return right._replace(log_evidence=2 * right.log_evidence)


class CityBlocks(kmeans.Model):
    """Find the nearest centre by the sum of the absolute differences."""

    def log_joint(self, x, params):
        return -cdist(x, params.means, "cityblock")


class Expanded(kmeans.Model):
    """Multiply the square out, and lose the difference far away."""

    def log_joint(self, x, params):
        cross = x @ params.means.T  # (n, k)
        squares = (params.means**2).sum(axis=1)  # (k,)
        return cross - 0.5 * squares - 0.5 * (x**2).sum(axis=1)[:, None]


class EvenClusters(kmeans.Model):
    """Divide by N / K, not by the points of the cluster."""

    def maximise(self, statistics, previous=None):
        even = np.full_like(statistics.counts, statistics.counts.mean())
        return super().maximise(replace(statistics, counts=even), previous)


class HalfWay(kmeans.Model):
    """Go half of the way to the cluster's mean."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        return right._replace(means=(right.means + previous.means) / 2)


class FirstCentreHeld(kmeans.Model):
    """Never move the first centre."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        if previous is None:
            return right
        return right._replace(
            means=np.vstack([previous.means[:1], right.means[1:]])
        )


class LaterCountMore(kmeans.Model):
    """Let later points count a little more."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        later = 1 + 0.01 * np.arange(len(x))  # (n,)
        both = later if multiplicity is None else later * multiplicity
        return super().summarise(x, posterior, both, origin)


class TimesForSumsOnly(kmeans.Model):
    """Multiply the sums by the multiplicity, but not the counts."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        counts = super().summarise(x, posterior, None, origin).counts
        right = super().summarise(x, posterior, multiplicity, origin)
        return replace(right, counts=counts)


@dataclass(frozen=True)
class SumsOnly(kmeans.Statistics):
    """Add sums as if both were about the first one's origin."""

    def __add__(self, other):
        return replace(
            self,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
        )


class OriginLost(kmeans.Model):
    """Add the sums of blocks without moving them to one origin."""

    def summarise(self, x, posterior, multiplicity=None, origin=None):
        s = super().summarise(x, posterior, multiplicity, origin)
        return SumsOnly(s.counts, s.origin, s.sums)


class EmptyToOrigin(kmeans.Model):
    """Send the centre of an empty cluster to the points' mean."""

    def maximise(self, statistics, previous=None):
        right = super().maximise(statistics, previous)
        empty = statistics.counts[:, None] == 0  # (k, 1)
        return right._replace(
            means=np.where(empty, statistics.origin, right.means)
        )


def density(case):
    """Return how far the log joint is from SciPy's log densities."""
    matrices = case.params.matrices()  # (k, d, d)
    wanted = [
        np.log(weight) + multivariate_normal.logpdf(case.x, mean, matrix)
        for weight, mean, matrix in zip(
            case.params.weights, case.params.means, matrices, strict=True
        )
    ]
    return far(case.model.log_joint(case.x, case.params).T, wanted)


def moments(case):
    """Return how far an M-step is from NumPy's weighted covariances."""
    resp, x = case.resp(), case.x
    shares = resp.mean(axis=0)  # (k,)
    means = [np.average(x, axis=0, weights=part) for part in resp.T]
    each = np.array(
        [np.cov(x.T, ddof=0, aweights=part) for part in resp.T]
    )  # (k, d, d)
    wanted = {
        "full": each,
        "tied": (shares[:, None, None] * each).sum(axis=0),
        "diag": np.array([np.diag(matrix) for matrix in each]),
        "spherical": np.array([np.trace(matrix) / 2 for matrix in each]),
    }[case.model.covariance_type]
    got = case.model.maximise(case.model.summarise(x, Labels(resp)))
    return max(map(far, got, (shares, means, wanted)))


def draws(case):
    """Return how many standard errors samples are off what they follow."""
    n, params = 20_000, case.params
    x, z = case.model.sample(params, n, case.rng)
    worst = 0.0
    for k, matrix in enumerate(params.matrices()):
        rows = x[z == k]  # (m, d)
        share = params.weights[k]
        part = abs(len(rows) / n - share) / np.sqrt(share / n)
        errors = np.sqrt(np.diag(matrix) / len(rows))  # (d,)
        mean = abs(rows.mean(axis=0) - params.means[k]) / errors  # (d,)
        squares = np.outer(np.diag(matrix), np.diag(matrix)) + matrix**2
        errors = np.sqrt(squares / len(rows))  # (d, d)
        spread = abs(np.cov(rows.T) - matrix) / errors  # (d, d)
        worst = max(worst, part, mean.max(), spread.max())
    return worst


def origin(case):
    """Return how much an M-step depends on the origin of the moments."""
    model, x, resp = case.model, case.x, case.resp()
    anywhere = 5 * case.rng.normal(size=(resp.shape[1], x.shape[1]))
    one, *others = (
        model.maximise(model.summarise(x, Labels(resp), origin=at))
        for at in (None, anywhere[0], anywhere)
    )
    return max(max(map(far, one, other)) for other in others)


SHIFT = 2.0**27  # The points lie 2^-26 apart there, some 1.5e-8.


def shift(case):
    """Return what a step loses when the points lie far from zero.

    They are first rounded to the grid on which they will lie, so that the
    two sets of points differ by the shift alone.
    """
    model, near = case.model, (case.x + SHIFT) - SHIFT  # (n, d)
    params = case.params._replace(means=(case.params.means + SHIFT) - SHIFT)
    moved = params._replace(means=params.means + SHIFT)
    joint = far(
        model.log_joint(near, params), model.log_joint(near + SHIFT, moved)
    )
    resp = case.resp()
    one, other = (
        model.maximise(model.summarise(x, Labels(resp)), previous=before)
        for x, before in ((near, params), (near + SHIFT, moved))
    )
    # The means alone are rounded, to that grid.
    means = abs(one.means + SHIFT - other.means).max() - 2.0**-26
    rest = [far(a, b) for a, b in zip(one, other, strict=True)]
    if hasattr(one, "covariances"):
        rest.pop(1)
        joint = max(joint, *rest)
    return max(joint, means, 0.0)


def ridge(case):
    """Return how far the ridge is from being added once, at the end."""
    resp = case.resp()
    bare, ridged = (
        model.maximise(model.summarise(case.x, Labels(resp)))
        for model in (case.model, replace(case.model, reg_covar=0.5))
    )
    eye = 0.5 * np.eye(case.x.shape[1])  # (d, d)
    return far(ridged.covariances - bare.covariances, bare.keep(eye[None]))


def nearest(case):
    """Return how far the E-step is from SciPy's table of distances."""
    apart = cdist(case.x, case.params.means, "sqeuclidean")  # (n, k)
    resp, log_evidence = case.model.e_step(case.x, case.params)
    sides = np.eye(apart.shape[1])[apart.argmin(axis=1)]  # (n, k)
    return far(resp, sides) + far(-2 * log_evidence, apart.min(axis=1))


def empty(case):
    """Return how far the centre of an empty cluster moves."""
    previous = case.params
    resp = np.eye(len(previous.means))[np.zeros(len(case.x), int)]
    statistics = case.model.summarise(case.x, Labels(resp))
    means = case.model.maximise(statistics, previous=previous).means
    return far(means[1:], previous.means[1:])


def far(one, other):
    """Return the largest difference, relative to 1 or to the values."""
    one, other = np.asarray(one), np.asarray(other)
    scale = np.maximum(1, np.maximum(abs(one), abs(other)))
    return float((abs(one - other) / scale).max())


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
# Each mistake and the laws that catch it, on every covariance type that it
# can be made in. Those that only a check of this model sees are marked so.
ALL = ("full", "tied", "diag", "spherical")
MATRIX = ("full", "tied")
CAUGHT_GAUSSIANS = {
    AcrossPoints: (ALL, {"normalise", "tight", "weigh", "brute_force"}),
    ByTheLargest: (ALL, {"normalise", "tight", "brute_force"}),
    WeightsDropped: (ALL, {"tight", "brute_force"}),
    TakesSides: (ALL, {"tight", "brute_force"}),
    LogDetFlipped: (ALL, {"stationary", "density"}),
    LogDetHalved: (ALL, {"stationary", "density"}),
    LogDetMissing: (ALL, {"stationary", "density"}),
    TwoPiMissing: (ALL, {"density"}),
    TwoPiOnce: (ALL, {"density"}),
    RootTransposed: (MATRIX, {"stationary", "density"}),
    UpperForLower: (MATRIX, {"stationary", "density"}),
    NotSquared: (ALL, {"monotone", "stationary", "density"}),
    PrecisionsKept: (ALL, {"monotone", "stationary", "moments"}),
    AboutOldMeans: (ALL, {"stationary"}),
    AboutOneMean: (ALL, {"monotone", "stationary", "moments"}),
    EvenWeights: (ALL, {"stationary", "moments"}),
    OnePointLess: (ALL, {"stationary", "moments"}),
    FirstHeld: (ALL, {"stationary", "relabel"}),
    TiedNotPooled: (("tied",), {"stationary", "moments"}),
    TiedNotDivided: (("tied",), {"stationary", "moments"}),
    VariancesOfAll: (
        ("full", "diag", "spherical"),
        {"stationary", "moments"},
    ),
    TraceNotDivided: (("spherical",), {"stationary", "moments"}),
    LowerHalfOnly: (MATRIX, {"moments"}),
    HalfOffDiagonal: (MATRIX, {"stationary", "moments"}),
    TimesIgnored: (ALL, {"weigh"}),
    TimesSquared: (ALL, {"weigh"}),
    MeansForSums: (ALL, {"add"}),
    LastPointLost: (ALL, {"stationary", "permute", "weigh", "add"}),
    OriginForgotten: (ALL, {"add"}),
    CrossTermsLost: (ALL, {"origin"}),
    AboutZero: (ALL, {"shift"}),
    VarianceForDeviation: (ALL, {"draws"}),
    RootsTransposed: (MATRIX, {"draws"}),
    RidgeTwice: (ALL, {"ridge"}),
    RidgePerPoint: (ALL, {"ridge"}),
}
CAUGHT_KMEANS = {
    Farthest: {"monotone", "nearest"},
    TwoNearest: {"normalise", "nearest"},
    Softened: {"nearest"},
    NotHalved: {"nearest"},
    CityBlocks: {"stationary", "nearest"},
    Expanded: {"shift"},
    EvenClusters: {"stationary"},
    HalfWay: {"stationary"},
    FirstCentreHeld: {"stationary", "relabel"},
    LaterCountMore: {"stationary", "permute", "weigh", "add"},
    TimesForSumsOnly: {"weigh"},
    OriginLost: {"add"},
    EmptyToOrigin: {"empty"},
}
OF_ALL = tuple((law, allowed) for law, _, allowed in laws.LAWS)
# Twenty thousand draws: a right sampler is six standard errors off in one
# of 10^8 numbers. The others are roundings of numbers near 1.
OF_GAUSSIANS = (
    *OF_ALL,
    (density, 1e-12),
    (moments, 1e-12),
    (draws, 6.0),
    (origin, 1e-11),
    (shift, 1e-12),
    (ridge, 1e-12),
)
# Of the laws those that k-means keeps; tests/test_laws.py says why.
OF_KMEANS = (
    *(
        pair
        for pair in OF_ALL
        if pair[0] not in (laws.tight, laws.brute_force)
    ),
    (nearest, 1e-12),
    (shift, 1e-12),
    (empty, 0.0),
)


def of_coins(mutant, seed=0):
    """Return a model, rows of unequal tosses and a start."""
    rng = np.random.default_rng(seed)
    # Blocks of different sizes, so that averages show that they do not add.
    x = rng.integers(1, 30, size=(21, 2))  # (n, 2)
    start = Params(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.8]))
    return laws.Case(mutant(), x, start, rng)


def of_gaussians(mutant, covariance_type, seed=0):
    """Return a model, points of overlapping components and a start."""
    rng = np.random.default_rng(seed)
    kind = COVARIANCES[covariance_type]
    means = np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 4.0]])  # (k, d)
    full = np.array(
        [[[2.0, 0.9], [0.9, 1.0]], [[0.5, 0.2], [0.2, 0.3]], np.eye(2)]
    )  # (k, d, d)
    cells = kind.keep(full) / kind.pool(np.ones(3))
    start = kind(np.array([0.5, 0.3, 0.2]), means, cells)
    x, _ = gaussians.Model().sample(start, 91, rng)
    return laws.Case(mutant(covariance_type), x, start, rng)


def of_kmeans(mutant, seed=0):
    """Return a model, points of overlapping clusters and a start."""
    _, x, params, rng = of_gaussians(gaussians.Model, "full", seed)
    return laws.Case(mutant(), x, kmeans.Params(params.means), rng)


def caught(case, checks):
    """Return the names of the laws and checks that a mutant breaks."""
    broken = set()
    for measure, allowed in checks:
        try:
            right = measure(case) <= allowed
        except (ArithmeticError, ValueError):
            right = False
        broken |= set() if right else {measure.__name__}
    return broken


def named(checks, names):
    """Return those of the checks that have these names."""
    return [check for check in checks if check[0].__name__ in names]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda m: m.__name__)
def test_every_mutant_is_caught(mutant, seed):
    with pytest.raises(AssertionError) as error:
        laws.check(*of_coins(mutant, seed))
    broken = {law.name for law in error.value.laws if not law.holds}
    assert CAUGHT[mutant] <= broken


@pytest.mark.parametrize(
    ("mutant", "kind"),
    [
        (each, kind)
        for each, (kinds, _) in CAUGHT_GAUSSIANS.items()
        for kind in kinds
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_every_gaussian_mutant_is_caught(mutant, kind):
    _, wanted = CAUGHT_GAUSSIANS[mutant]
    case = of_gaussians(mutant, kind)
    assert caught(case, named(OF_GAUSSIANS, wanted)) == wanted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mutant", CAUGHT_KMEANS, ids=lambda m: m.__name__)
def test_every_k_means_mutant_is_caught(mutant, seed):
    wanted = CAUGHT_KMEANS[mutant]
    case = of_kmeans(mutant, seed)
    assert caught(case, named(OF_KMEANS, wanted)) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_the_right_models_are_not(seed):
    assert not caught(of_coins(coins.Model, seed), OF_ALL)
    assert not caught(of_kmeans(kmeans.Model, seed), OF_KMEANS)
    for kind in ALL:
        for model in (gaussians.Model, Densities):
            assert not caught(of_gaussians(model, kind, seed), OF_GAUSSIANS)


def test_every_law_catches_something():
    for found, checks in (
        (CAUGHT.values(), OF_ALL),
        ((wanted for _, wanted in CAUGHT_GAUSSIANS.values()), OF_GAUSSIANS),
        (CAUGHT_KMEANS.values(), OF_KMEANS),
    ):
        names = {measure.__name__ for measure, _ in checks}
        assert set().union(*found) == names


if __name__ == "__main__":
    for each in CAUGHT:
        rows = ", ".join(sorted(caught(of_coins(each), OF_ALL)))
        print(f"| {each.__name__} | {each.__doc__} | {rows} |")
    print()
    for each, (kinds, _) in CAUGHT_GAUSSIANS.items():
        found = [
            caught(of_gaussians(each, kind), OF_GAUSSIANS) for kind in kinds
        ]
        rows = ", ".join(sorted(set.intersection(*found)))
        says = each.__doc__.splitlines()[0]
        where = "all" if kinds == ALL else ", ".join(kinds)
        print(f"| {each.__name__} | {where} | {says} | {rows} |")
    print()
    for each in CAUGHT_KMEANS:
        rows = ", ".join(sorted(caught(of_kmeans(each), OF_KMEANS)))
        print(f"| {each.__name__} | {each.__doc__} | {rows} |")
