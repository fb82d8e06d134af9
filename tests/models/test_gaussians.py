"""Mixtures of Gaussians against SciPy, scikit-learn and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from scipy.stats import (
    binomtest,
    chi2,
    kstest,
    multivariate_normal,
    norm,
)
from sklearn.mixture import GaussianMixture

from emlib import em, fit, gaussians, kmeans, starts
from emlib.bound import bound
from emlib.laws import check
from emlib.loop import Labels
from emlib.models.covariances import COVARIANCES

SEEDS = range(4)
KINDS = ["full", "tied", "diag", "spherical"]


def matrix(rng, d):
    """Return a random matrix that is well away from singular."""
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d)


def matrices(rng, k, d):
    return np.stack([matrix(rng, d) for _ in range(k)])


def random_params(rng, kind="full", k=3, d=2):
    """Return random parameters of a covariance type."""
    free = {
        "full": lambda: matrices(rng, k, d),
        "tied": lambda: matrix(rng, d),
        "diag": lambda: rng.uniform(0.3, 3, size=(k, d)),
        "spherical": lambda: rng.uniform(0.3, 3, size=k),
    }
    weights = rng.dirichlet(np.ones(k))
    means = rng.normal(size=(k, d))
    return COVARIANCES[kind](weights, means, free[kind]())


def random_case(seed, n=12, k=3, d=2):
    """Return points and random responsibilities of them."""
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(n, d)) + 1  # (n, d)
    return x, rng.dirichlet(np.ones(k), size=n), rng


def scipys(x, params):
    """Return SciPy's log joint, one component at a time."""
    parts = zip(*params[:2], params.matrices(), strict=True)
    columns = [
        np.log(weight) + multivariate_normal(mean, cov).logpdf(x)
        for weight, mean, cov in parts
    ]
    return np.stack(columns, axis=1)  # (n, k)


def q_of(x, resp, params):
    return float((resp * scipys(x, params)).sum())


def new_params(x, resp, kind="full"):
    model = gaussians.Model(kind)
    return model.maximise(model.summarise(x, Labels(resp)))


def close(got, wanted, rtol, atol=0.0):
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


# --- the model --------------------------------------------------------


@pytest.mark.equation("eq-gaussians-density")
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_density_is_scipys(seed, d):
    rng = np.random.default_rng(seed)
    x, mean, cov = (
        rng.normal(size=(9, d)),
        rng.normal(size=d),
        matrix(rng, d),
    )
    wanted = multivariate_normal(mean, cov).logpdf(x)
    # Condition numbers stay below 1e4: 1e-12 of a squared distance.
    close(gaussians.log_density(x, mean, cov), wanted, rtol=1e-11)


@pytest.mark.equation("eq-gaussians-density")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_diagonal_density_is_a_product_of_normals(seed):
    rng = np.random.default_rng(seed)
    x, mean = rng.normal(size=(9, 3)), rng.normal(size=3)
    variances = rng.uniform(0.1, 9, size=3)
    each = norm(mean, np.sqrt(variances)).logpdf(x)  # (n, d)
    got = gaussians.log_density(x, mean, np.diag(variances))
    close(got, each.sum(axis=1), rtol=1e-13)


@pytest.mark.equation("eq-gaussians-density")
def test_the_density_integrates_to_one():
    rng = np.random.default_rng(0)
    cov = matrix(rng, 2)
    side = np.linspace(-12, 12, 481)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    logs = gaussians.log_density(grid, np.zeros(2), cov)
    # The trapezoidal rule is exact, but for rounding, on smooth functions
    # that vanish at the edge.
    assert np.exp(logs).sum() * 0.05**2 == pytest.approx(1, rel=1e-10)


def test_far_points_have_a_density_where_scipys_pdf_has_none():
    x = np.array([[1e6]])
    logs = gaussians.log_density(x, np.zeros(1), np.eye(1))
    assert logs[0] == pytest.approx(-5e11, rel=1e-11)


@pytest.mark.parametrize("broken", [np.zeros((2, 2)), np.diag([1.0, -1.0])])
def test_a_matrix_that_is_not_positive_definite_is_refused(broken):
    with pytest.raises(np.linalg.LinAlgError):
        gaussians.log_density(np.zeros((1, 2)), np.zeros(2), broken)


@pytest.mark.equation("eq-gaussians-story")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_samples_follow_the_story(seed, kind):
    rng = np.random.default_rng(seed)
    params = random_params(rng, kind)
    n = 20_000
    x, z = gaussians.Model(kind).sample(params, n, rng)
    # Some hundred exact tests: a right sampler fails in 1e-5 of all seeds.
    for k, cov in enumerate(params.matrices()):
        mine = x[z == k]
        found = binomtest(len(mine), n, params.weights[k])
        assert found.pvalue > 1e-7
        apart = mine - params.means[k]  # (n_k, d)
        white = np.linalg.solve(
            np.linalg.cholesky(cov), apart.T
        )  # (d, n_k)
        for row in white:
            assert kstest(row, "norm").pvalue > 1e-7
        distances = (apart * np.linalg.solve(cov, apart.T).T).sum(axis=1)
        assert kstest(distances, chi2(2).cdf).pvalue > 1e-7
        # The white features are independent: their products' mean is 0.
        cross = (white[0] * white[1]).sum() / np.sqrt(len(mine))
        assert abs(cross) < 5.5


@pytest.mark.equation("eq-gaussians-joint")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_joint_is_weight_times_scipys_density(seed, kind):
    x, _, rng = random_case(seed)
    params = random_params(rng, kind)
    got = gaussians.Model(kind).log_joint(x, params)
    close(got, scipys(x, params), rtol=1e-11)


def test_a_component_without_weight_is_impossible():
    x, _, rng = random_case(0)
    params = random_params(rng)._replace(weights=np.array([0.4, 0.6, 0]))
    joint = gaussians.Model().log_joint(x, params)
    assert (joint[:, 2] == -np.inf).all()
    assert (gaussians.Model().e_step(x, params).resp[:, 2] == 0).all()


@pytest.mark.equation("eq-gaussians-e")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_responsibilities_are_bayes_rule_on_densities(seed, kind):
    x, _, rng = random_case(seed)
    params = random_params(rng, kind)
    joint = np.exp(scipys(x, params))  # (n, k)
    resp, log_evidence = gaussians.Model(kind).e_step(x, params)
    total = joint.sum(axis=1, keepdims=True)
    # Densities of e^-100 and less are possible: compare absolutely.
    close(resp, joint / total, rtol=0, atol=1e-10)
    close(log_evidence, np.log(total[:, 0]), rtol=1e-10)


# --- the statistics ---------------------------------------------------


@pytest.mark.equation("eq-gaussians-scatter")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_scatter_is_exact_in_fractions(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, size=(7, 2))
    resp, origin = (
        rng.integers(0, 9, size=7) / 8,
        rng.integers(-3, 4, size=2),
    )
    wanted = [[Fraction(0)] * 2 for _ in range(2)]
    for point, share in zip(x.tolist(), resp, strict=True):
        for a in range(2):
            for b in range(2):
                sides = [
                    Fraction(point[h] - int(origin[h])) for h in (a, b)
                ]
                wanted[a][b] += Fraction(share) * sides[0] * sides[1]
    # Eighths of small whole numbers are exact in floating point too.
    got = gaussians.scatter(x, resp, origin.astype(float))
    assert [[Fraction(value) for value in row] for row in got] == wanted


@pytest.mark.equation("eq-gaussians-scatter")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_scatter_is_numpys_covariance(seed):
    x, resp, _ = random_case(seed, d=3)
    share = resp[:, 0]
    wanted = np.cov(x.T, aweights=share, bias=True) * share.sum()
    mean = np.average(x, axis=0, weights=share)
    # Twelve products of some units, with cancelling signs.
    close(gaussians.scatter(x, share, mean), wanted, rtol=1e-11, atol=1e-13)


def moments(x, resp, origin):
    """Return counts and moments of one component, point by point."""
    total, first = Fraction(0), [Fraction(0)] * x.shape[1]
    second = [[Fraction(0)] * x.shape[1] for _ in first]
    for point, share in zip(x, resp, strict=True):
        r = Fraction(float(share))
        apart = [
            Fraction(float(v)) - Fraction(float(o))
            for v, o in zip(point, origin, strict=True)
        ]
        total += r
        first = [f + r * a for f, a in zip(first, apart, strict=True)]
        for i, left in enumerate(apart):
            for j, right in enumerate(apart):
                second[i][j] += r * left * right
    return float(total), np.float64(first), np.float64(second)


@pytest.mark.equation("eq-gaussians-statistics")
@pytest.mark.parametrize("origin", ["own", "one", "each"])
@pytest.mark.parametrize("seed", SEEDS)
def test_statistics_are_the_sums_in_fractions(seed, origin):
    x, resp, rng = random_case(seed)
    given = {"own": None, "one": rng.normal(size=2)}
    given["each"] = rng.normal(size=(3, 2))
    found = gaussians.Model().summarise(
        x, Labels(resp), origin=given[origin]
    )
    for k in range(3):
        wanted = moments(x, resp[:, k], found.origin[k])
        parts = (found.counts[k], found.first[k], found.second[k])
        for got, exact in zip(parts, wanted, strict=True):
            # Twelve terms of some units, with cancelling signs.
            close(got, exact, rtol=1e-13, atol=1e-13)
    if origin == "own":
        close(found.first, 0, rtol=0, atol=1e-13)


@pytest.mark.equation("eq-gaussians-statistics")
@pytest.mark.parametrize("seed", SEEDS)
def test_multiplicity_is_repetition(seed):
    x, resp, rng = random_case(seed)
    times = rng.integers(0, 4, size=12)
    model = gaussians.Model()
    short = model.summarise(x, Labels(resp), times)
    long = model.summarise(
        np.repeat(x, times, axis=0), Labels(np.repeat(resp, times, axis=0))
    )
    for one, other in zip(
        model.maximise(short), model.maximise(long), strict=True
    ):
        close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-gaussians-rebase")
@pytest.mark.parametrize("seed", SEEDS)
def test_another_origin_gives_the_sums_about_it(seed):
    x, resp, rng = random_case(seed)
    model = gaussians.Model()
    here, there = 3 * rng.normal(size=(2, 3, 2))  # (k, d) each
    found = model.summarise(x, Labels(resp), origin=here).about(there)
    wanted = model.summarise(x, Labels(resp), origin=there)
    np.testing.assert_array_equal(found.origin, there)
    for name in ("counts", "first", "second"):
        got, exact = getattr(found, name), getattr(wanted, name)
        # Moments of a hundred, whose parts cancel.
        close(got, exact, rtol=1e-12, atol=1e-11)
    close(found.means(), wanted.means(), rtol=1e-12, atol=1e-13)


@pytest.mark.equation("eq-gaussians-rebase")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scatter_about_another_point_is_larger_by_the_shift(seed):
    x, resp, rng = random_case(seed)
    about = gaussians.Model().summarise(x, Labels(resp))
    shift = rng.normal(size=2)
    moved = about.about(about.means() + shift)
    for k in range(3):
        grown = moved.second[k] - about.second[k]
        wanted = about.counts[k] * np.outer(shift, shift)
        close(grown, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-gaussians-rebase")
@pytest.mark.parametrize("seed", SEEDS)
def test_statistics_of_blocks_add_whatever_their_origins(seed):
    x, resp, rng = random_case(seed)
    model = gaussians.Model()
    cuts = [slice(0, 3), slice(3, 4), slice(4, 12)]
    whole = model.maximise(model.summarise(x, Labels(resp)))
    for origins in ([None] * 3, [np.ones(2)] * 3, rng.normal(size=(3, 2))):
        total = sum(
            model.summarise(x[cut], Labels(resp[cut]), origin=origin)
            for cut, origin in zip(cuts, origins, strict=True)
        )
        parts = model.maximise(total)
        for one, other in zip(parts, whole, strict=True):
            close(one, other, rtol=1e-11, atol=1e-12)


def test_an_origin_that_is_shared_is_kept():
    x, resp, _ = random_case(0)
    model = gaussians.Model()
    one, two = (
        model.summarise(x[cut], Labels(resp[cut]), origin=np.zeros(2))
        for cut in (slice(0, 5), slice(5, 12))
    )
    total, whole = (
        one + two,
        model.summarise(x, Labels(resp), origin=np.zeros(2)),
    )
    np.testing.assert_array_equal(total.origin, whole.origin)
    close(total.second, whole.second, rtol=1e-13, atol=1e-13)


def test_blocks_in_which_a_component_has_no_point_add():
    x, _, _ = random_case(1)
    resp = np.eye(2)[[0] * 6 + [1] * 6]  # (n, k)
    model = gaussians.Model()
    parts = [
        model.summarise(x[cut], Labels(resp[cut]))
        for cut in (slice(0, 6), slice(6, 12))
    ]
    close(parts[0].means()[1], x[:6].mean(axis=0), rtol=1e-13)
    total = parts[0] + parts[1]
    close(total.means(), [x[:6].mean(0), x[6:].mean(0)], rtol=1e-13)
    for k, cut in enumerate((slice(0, 6), slice(6, 12))):
        wanted = np.cov(x[cut].T, bias=True)
        got = model.maximise(total).covariances[k]
        close(got, wanted, rtol=1e-11, atol=1e-13)


def test_statistics_start_at_nothing_and_refuse_what_is_not_theirs():
    x, resp, _ = random_case(0)
    statistics = gaussians.Model().summarise(x, Labels(resp))
    assert 0 + statistics is statistics
    assert sum([statistics]) is statistics
    for other in (1, 0.0, None, (1, 2, 3)):
        with pytest.raises(TypeError):
            statistics + other
        with pytest.raises(TypeError):
            other + statistics


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_points_a_hundred_million_away_have_the_same_covariances(
    seed, kind
):
    x, resp, _ = random_case(seed)
    # Sixteenths and 1e8 are exact, so that both clouds are the same.
    x = np.round(16 * x) / 16
    model = gaussians.Model(kind)
    here = model.maximise(model.summarise(x, Labels(resp)))
    blocks = sum(
        model.summarise(x[cut] + 1e8, Labels(resp[cut]))
        for cut in (slice(0, 5), slice(5, 12))
    )
    for far in (model.summarise(x + 1e8, Labels(resp)), blocks):
        there = model.maximise(far)
        # Neighbouring numbers near 1e8 are 1.5e-8 apart, and points are
        # some units from their origin.
        close(there.means - 1e8, here.means, rtol=0, atol=5e-8)
        close(there.covariances, here.covariances, rtol=0, atol=5e-7)


# --- the M-step -------------------------------------------------------


@pytest.mark.equation("eq-gaussians-pi")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_weights_have_a_higher_q(seed):
    x, resp, rng = random_case(seed)
    best = new_params(x, resp)
    close(best.weights, resp.mean(axis=0), rtol=1e-14)
    for weights in rng.dirichlet(np.ones(3), size=100):
        other = best._replace(weights=weights)
        assert q_of(x, resp, other) <= q_of(x, resp, best)
    # Along the constraint: what one weight gains the next one loses.
    for nudge in 1e-6 * (np.eye(3) - np.roll(np.eye(3), 1, axis=1)):
        up, down = (
            q_of(x, resp, best._replace(weights=best.weights + step))
            for step in (nudge, -nudge)
        )
        # Rounding of Q, some 1e-13, over the step.
        assert abs(up - down) / 2e-6 < 1e-5


@pytest.mark.equation("eq-gaussians-mu")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_means_are_weighted_means_whatever_the_matrices(seed, kind):
    x, resp, rng = random_case(seed)
    best = new_params(x, resp, kind)
    for k in range(3):
        wanted = np.average(x, axis=0, weights=resp[:, k])
        close(best.means[k], wanted, rtol=1e-12, atol=1e-14)
    for params in (
        best,
        random_params(rng, kind)._replace(means=best.means),
    ):
        for k, h in np.ndindex(3, 2):
            nudge = np.zeros((3, 2))
            nudge[k, h] = 1e-5
            up, down = (
                q_of(x, resp, params._replace(means=best.means + step))
                for step in (nudge, -nudge)
            )
            # Q is quadratic in the means: only rounding of some 1e-13 is
            # left, over the step.
            assert abs(up - down) / 2e-5 < 1e-6


@pytest.mark.equation("eq-gaussians-sigma")
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_covariances_are_numpys_about_the_new_means(seed, d):
    x, resp, _ = random_case(seed, n=20, d=d)
    best = new_params(x, resp)
    for k in range(3):
        wanted = np.cov(x.T, aweights=resp[:, k], bias=True)
        close(
            best.covariances[k],
            wanted.reshape(d, d),
            rtol=1e-11,
            atol=1e-13,
        )


def moves(params, size):
    """Yield pairs of parameters whose matrices stay of their type."""
    cells = params.cells()
    m = cells.shape[-1]
    for which in np.ndindex(cells.shape[:-2]):
        for i, j in zip(*np.tril_indices(m), strict=True):
            nudge = np.zeros_like(cells)
            nudge[(*which, i, j)] = nudge[(*which, j, i)] = size
            nudge = nudge.reshape(params.covariances.shape)
            yield tuple(
                params._replace(covariances=params.covariances + step)
                for step in (nudge, -nudge)
            )


@pytest.mark.equation("eq-gaussians-sigma")
@pytest.mark.equation("eq-gaussians-types")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_matrices_of_the_type_have_a_higher_q(seed, kind):
    x, resp, rng = random_case(seed, n=20)
    best = new_params(x, resp, kind)
    top = q_of(x, resp, best)
    for up, down in moves(best, 1e-5):
        # The third derivative times the squared step, at most some 1e-7,
        # and rounding of 1e-13 over the step.
        slope = (q_of(x, resp, up) - q_of(x, resp, down)) / 2e-5
        assert abs(slope) < 1e-5
    for _ in range(50):
        other = random_params(rng, kind)
        assert (
            q_of(x, resp, best._replace(covariances=other.covariances))
            <= top
        )
        assert q_of(x, resp, other) <= top


@pytest.mark.equation("eq-gaussians-types")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_type_keeps_less_of_the_same_scatters(seed):
    x, resp, _ = random_case(seed, d=3)
    full = new_params(x, resp)
    counts = resp.sum(axis=0)
    # The same sums in another order: a few roundings of some units.
    total = np.einsum("k,kij->ij", counts, full.covariances)
    tied = new_params(x, resp, "tied").covariances
    close(tied, total / 12, rtol=1e-12, atol=1e-14)
    diagonals = full.covariances[:, range(3), range(3)]  # (k, d)
    diag = new_params(x, resp, "diag").covariances
    close(diag, diagonals, rtol=1e-12)
    spherical = new_params(x, resp, "spherical").covariances
    close(spherical, diagonals.mean(axis=1), rtol=1e-12)
    for kind, variances in (("diag", diag), ("spherical", spherical)):
        wanted = [np.diag(np.broadcast_to(own, 3)) for own in variances]
        got = new_params(x, resp, kind).matrices()
        np.testing.assert_array_equal(got, wanted)


def precisions(params, kind):
    """Return what scikit-learn takes as a start."""
    if kind in ("full", "tied"):
        return np.linalg.inv(params.covariances)
    return 1 / params.covariances


@pytest.mark.equation("eq-gaussians-types")
@pytest.mark.equation("eq-gaussians-sigma")
@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_one_turn_is_scikit_learns(seed, kind):
    x, _, rng = random_case(seed, n=40)
    params = random_params(rng, kind)
    theirs = GaussianMixture(
        3,
        covariance_type=kind,
        reg_covar=0,
        max_iter=1,
        weights_init=params.weights,
        means_init=params.means,
        precisions_init=precisions(params, kind),
    ).fit(x)
    model = gaussians.Model(kind)
    turn = next(islice(em(model, x, params), 1, None))
    found = (theirs.weights_, theirs.means_, theirs.covariances_)
    for ours, their in zip(turn.params, found, strict=True):
        # Theirs come from mean squares less squared means in two types.
        close(ours, their, rtol=1e-9, atol=1e-10)
    close(theirs.score_samples(x), turn.posterior.log_evidence, rtol=1e-8)


def test_a_turn_by_hand_is_exact():
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    shares = [
        Fraction(1, 10),
        Fraction(1, 4),
        Fraction(3, 4),
        Fraction(9, 10),
    ]
    points = [-2, -1, 1, 2]
    count = sum(shares)
    mean = sum(r * p for r, p in zip(shares, points, strict=True)) / count
    square = sum(r * p * p for r, p in zip(shares, points, strict=True))
    variance = square / count - mean**2
    assert (count, mean, variance) == (
        2,
        Fraction(105, 100),
        Fraction(13975, 10000),
    )
    start = gaussians.Full(
        np.array([0.5, 0.5]),
        np.array([[-1.0], [1.0]]),
        np.full((2, 1, 1), 2 / np.log(3)),
    )
    step = next(islice(em(gaussians.Model(), x, start), 1, None))
    close(step.params.weights, [0.5, 0.5], rtol=1e-14)
    close(step.params.means[:, 0], [-1.05, 1.05], rtol=1e-14)
    close(step.params.covariances[:, 0, 0], 1.3975, rtol=1e-13)


@pytest.mark.parametrize("share", [1e-3, 1e-9, 1e-15, 1e-20, 1e-100])
@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_a_component_with_little_credit_keeps_its_digits(kind, share):
    x = np.array([[0.0], [2.0], [5.0]])
    resp = np.array([[share, 1 - share], [share, 1 - share], [0, 1.0]])
    best = new_params(x, resp, kind)
    close(best.means[0], 1, rtol=1e-14)
    close(best.covariances[0], 1, rtol=1e-14)


def test_a_component_without_credit_is_named():
    x, _, _ = random_case(0)
    resp = np.eye(3)[[0, 2] * 6]
    with pytest.raises(FloatingPointError, match="component 1"):
        new_params(x, resp)


@pytest.mark.parametrize("kind", KINDS)
def test_the_laws_hold(kind):
    x, resp, _ = random_case(20, n=24, k=2)
    check(gaussians.Model(kind), x, resp)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_never_falls(seed, kind):
    rng = np.random.default_rng(seed)
    x, _ = gaussians.Model(kind).sample(random_params(rng, kind), 90, rng)
    start = starts.random(90, 2, rng)
    history = fit(
        gaussians.Model(kind), x, start, tol=0.0, max_turns=40
    ).history
    # A sum of 90 terms of some nats is right to about 1e-13.
    assert (np.diff(history) > -1e-11).all()


# --- the k-means limit ------------------------------------------------


@pytest.mark.equation("eq-gaussians-limit")
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_cold_spheres_are_k_means(seed, d):
    rng = np.random.default_rng(seed)
    x, centres = rng.normal(size=(30, d)), rng.normal(size=(3, d))
    weights = rng.dirichlet(np.ones(3))
    cold, model = kmeans.Model(), gaussians.Model("spherical")
    hard, near = cold.e_step(x, kmeans.Params(centres))
    inertia = ((x[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum()
    centroids = [x[hard[:, k] == 1].mean(axis=0) for k in range(3)]
    apart = np.sort(((x[:, None] - centres) ** 2).sum(axis=2), axis=1)
    tie = (apart[:, 1] - apart[:, 0]).min()  # the nearest to a tie
    last = np.inf
    for t in (1e-2, 1e-4, 1e-6, tie / 200):
        warm = gaussians.Spherical(weights, centres, np.full(3, t))
        resp, log_evidence = model.e_step(x, warm)
        joint = model.log_joint(x, warm)
        off = abs(-2 * t * log_evidence.sum() - inertia)
        assert -2 * t * bound(joint, resp) == pytest.approx(
            -2 * t * log_evidence.sum(), rel=1e-10
        )
        # 30 points have d T log(2 pi T) and 2 T log pi each to go.
        least = -np.log(weights.min())
        room = 30 * t * (d * abs(np.log(2 * np.pi * t)) + 2 * least)
        assert off <= room + 1e-9
        assert t == tie / 200 or off < last
        last = off
    # Odds of e^-100 are below rounding.
    close(resp, hard, rtol=0, atol=1e-15)
    means = model.summarise(x, Labels(resp)).means()
    close(means, centroids, rtol=1e-12, atol=1e-14)
    assert near.sum() == pytest.approx(-inertia / 2, rel=1e-12)


# --- as vectors -------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_log_cholesky_rows_go_there_and_back(seed, m):
    rng = np.random.default_rng(seed)
    many = matrices(rng, 3, m)
    rows = gaussians.log_cholesky(many)
    assert rows.shape == (3, m * (m + 1) // 2)
    close(gaussians.from_log_cholesky(rows), many, rtol=1e-11, atol=1e-13)
    free = rng.normal(size=(2, 3, m * (m + 1) // 2))
    back = gaussians.log_cholesky(gaussians.from_log_cholesky(free))
    close(back, free, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_parameters_go_into_a_vector_and_back(seed, kind):
    rng = np.random.default_rng(seed)
    model, params = gaussians.Model(kind), random_params(rng, kind, d=3)
    vector = model.pack(params)
    sizes = {"full": 18, "tied": 6, "diag": 9, "spherical": 3}
    assert vector.shape == (3 + 9 + sizes[kind],)
    back = model.unpack(vector, params)
    assert type(back) is type(params)
    for one, other in zip(back, params, strict=True):
        close(one, other, rtol=1e-11, atol=1e-13)
    # Any vector is some parameters: here, of positive definite matrices.
    other = model.unpack(rng.normal(size=vector.shape), params)
    assert other.weights.sum() == pytest.approx(1, rel=1e-14)
    assert (np.linalg.eigvalsh(other.matrices()) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_the_covariances_as_matrices(kind):
    params = random_params(np.random.default_rng(0), kind, d=3)
    cells = params.cells()
    assert cells.shape[-1] == (3 if kind in ("full", "tied") else 1)
    np.testing.assert_array_equal(cells.ravel(), params.covariances.ravel())


def test_tied_parameters_take_another_order():
    params = random_params(np.random.default_rng(0), "tied")
    order = np.array([2, 0, 1])
    moved = params.reordered(order)
    np.testing.assert_array_equal(moved.means, params.means[order])
    np.testing.assert_array_equal(moved.weights, params.weights[order])
    np.testing.assert_array_equal(moved.matrices(), params.matrices())
