"""Collapse: no top, three remedies, and how many components to take."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp
from scipy.stats import entropy as divergence
from scipy.stats import invwishart, multivariate_normal, norm
from sklearn.mixture import GaussianMixture

import emlib
from emlib import datasets, em, fit, starts
from emlib.bound import bound
from emlib.loop import Labels
from emlib.models.gaussians import Diag, Full, Model, Prior, Spherical, Tied
from emlib.speed import jacobian

SEEDS = range(5)
TYPES = {"full": Full, "tied": Tied, "diag": Diag, "spherical": Spherical}
KINDS = pytest.mark.parametrize("kind", list(TYPES))
EACH = pytest.mark.parametrize("seed", SEEDS)


def definite(rng, d, *shape):
    """Return random positive definite matrices, far from singular."""
    roots = rng.normal(size=(*shape, d, d))
    return roots @ np.swapaxes(roots, -1, -2) + 0.3 * np.eye(d)


def random_params(rng, kind, k=3, d=2):
    """Return random parameters of a type."""
    covariances = {
        "full": lambda: definite(rng, d, k),
        "tied": lambda: definite(rng, d),
        "diag": lambda: rng.uniform(0.2, 2, size=(k, d)),
        "spherical": lambda: rng.uniform(0.2, 2, size=k),
    }[kind]()
    means = rng.normal(scale=2, size=(k, d))
    return TYPES[kind](rng.dirichlet(np.full(k, 5.0)), means, covariances)


def by_scipy(x, params):
    """Return the log evidence of all points, by SciPy's density."""
    logs = [
        multivariate_normal(mean, matrix).logpdf(x)
        for mean, matrix in zip(
            params.means, params.matrices(), strict=True
        )
    ]
    return logsumexp(logs, axis=0, b=params.weights[:, None]).sum()


def problem(seed, n=14, k=3, d=2):
    """Return points, responsibilities, a prior and the generator."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=2, size=(n, d)) + rng.normal(size=d)
    resp = rng.dirichlet(np.ones(k), size=n)
    prior = Prior(float(rng.uniform(-d, 6)), definite(rng, d) / 5)
    return x, resp, prior, rng


@pytest.mark.equation("eq-collapse-unbounded")
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
@EACH
def test_the_log_evidence_passes_any_number(kind, d, seed):
    rng = np.random.default_rng(seed)
    k, x = 3, rng.normal(size=(8, d))
    means = np.vstack([x[:1], rng.normal(size=(k - 1, d))])
    others = multivariate_normal(means[1], np.eye(d)).logpdf(x[1:]).sum()
    rest = -8 * np.log(k) - d / 2 * np.log(2 * np.pi) + others
    seen = []
    for sigma in 10.0 ** -np.arange(0, 141, 20):
        variances = np.array([sigma**2, 1.0, 1.0])
        covariances = {
            "full": variances[:, None, None] * np.eye(d),
            "diag": np.repeat(variances[:, None], d, axis=1),
            "spherical": variances,
        }[kind]
        params = TYPES[kind](np.full(k, 1 / k), means, covariances)
        seen.append(Model(kind).e_step(x, params).log_evidence.sum())
        # The floor may be exact; rounding of sums below 1e4 is below 1e-9.
        assert seen[-1] >= rest - d * np.log(sigma) - 1e-9
    # In the end nothing else changes: 20 powers of ten of sigma each.
    assert np.allclose(np.diff(seen)[1:], 20 * d * np.log(10), rtol=1e-9)


def test_a_flat_component_is_enough():
    """A line through two of the points; along it the matrix stays."""
    x = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0], [4.0, 1.0]])
    along = np.array([1.0, 2.0]) / np.sqrt(5)
    across = np.array([2.0, -1.0]) / np.sqrt(5)
    means = np.array([[0.5, 1.0], [3.5, 0.0]])
    seen = []
    for sigma in 10.0 ** -np.arange(2, 7):
        thin = np.outer(along, along) + sigma**2 * np.outer(across, across)
        params = Full(
            np.array([0.5, 0.5]), means, np.stack([thin, np.eye(2)])
        )
        seen.append(Model().e_step(x, params).log_evidence.sum())
    # Two points on the line: 2 log 10 a power of ten.
    assert np.allclose(np.diff(seen), 2 * np.log(10), rtol=1e-3)


@pytest.mark.equation("eq-collapse-peak")
@pytest.mark.parametrize("d", [1, 2, 4])
@EACH
def test_the_lemma_names_the_peak(d, seed):
    rng = np.random.default_rng(seed)
    a_matrix, a = definite(rng, d), rng.uniform(0.1, 20)

    def left(matrix):
        log_det = np.linalg.slogdet(matrix)[1]
        return -0.5 * (
            a * log_det + np.trace(a_matrix @ np.linalg.inv(matrix))
        )

    right = -0.5 * (a * np.linalg.slogdet(a_matrix / a)[1] + a * d)
    # Equal at A / a, and lower everywhere else, near and far.
    assert np.isclose(left(a_matrix / a), right, rtol=1e-11, atol=1e-11)
    for size in (1e-3, 0.1, 1.0, 10.0):
        nudge = rng.normal(size=(d, d))
        root = np.linalg.cholesky(a_matrix / a)
        moved = root @ (np.eye(d) + size * nudge)
        assert left(moved @ moved.T) < right

    low = np.tril_indices(d)

    def loss(vector):
        root = np.zeros((d, d))
        root[low] = vector
        root[np.diag_indices(d)] = np.exp(np.diagonal(root))
        return -left(root @ root.T)

    found = minimize(loss, np.zeros(len(low[0])), method="BFGS")
    # BFGS with differences stops within about 1e-8 of the value.
    assert np.isclose(-found.fun, right, rtol=1e-6, atol=1e-6)


def scatter_within(x, groups):
    """Return the squares about the groups' own means."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for group in set(groups):
        part = x[np.array(groups) == group]
        total += (part - part.mean(axis=0)).T @ (part - part.mean(axis=0))
    return total


@pytest.mark.many_turns
@pytest.mark.equation("eq-collapse-tied")
@pytest.mark.parametrize("d", [1, 2])
@EACH
def test_tied_covariances_have_a_ceiling(d, seed):
    rng = np.random.default_rng(seed)
    n, k = 6, 2
    x = rng.normal(scale=3, size=(n, d))
    tops = []
    for groups in product(range(k), repeat=n):
        log_det = np.linalg.slogdet(scatter_within(x, groups) / n)[1]
        tops.append(-0.5 * n * (d * np.log(2 * np.pi) + log_det + d))
    ceiling = max(tops)
    for _ in range(10):
        resp = rng.dirichlet(np.full(k, 0.3), size=n)
        for step in islice(em(Model("tied"), x, resp), 0, 30, 10):
            assert step.bound < ceiling
    # By hand, hard on the ceiling: each point has its nearest mean alone,
    # so only the weights, a factor of 2 a point, are between the two.
    best = list(product(range(k), repeat=n))[int(np.argmax(tops))]
    means = np.stack(
        [x[np.array(best) == j].mean(axis=0) for j in range(k)]
    )
    matrix = scatter_within(x, best) / n
    params = Tied(np.full(k, 1 / k), means, matrix)
    assert by_scipy(x, params) > ceiling - n * np.log(2) - 1e-9


@pytest.mark.equation("eq-collapse-tied")
@EACH
def test_tied_covariances_collapse_onto_parallel_lines(seed):
    rng = np.random.default_rng(seed)
    which = np.arange(12) % 2
    along = rng.normal(size=12)
    x = np.stack([along, 3.0 * which], axis=1)
    means = np.array([[0.0, 0.0], [0.0, 3.0]])
    seen = []
    for sigma in 10.0 ** -np.arange(1, 9):
        matrix = np.diag([1.0, sigma**2])
        params = Tied(np.array([0.5, 0.5]), means, matrix)
        seen.append(Model("tied").e_step(x, params).log_evidence.sum())
    assert np.allclose(np.diff(seen), 12 * np.log(10), rtol=1e-9)
    # One point off both lines, and it is bounded: the far side falls.
    y = np.vstack([x, [[0.0, 1.5]]])
    away = Model("tied").e_step(y, params).log_evidence.sum()
    assert away < -1e6


@pytest.mark.equation("eq-collapse-prior")
@KINDS
@EACH
def test_the_prior_is_scipys_but_for_a_constant(kind, seed):
    rng = np.random.default_rng(seed)
    d = 3
    dof, scale = float(rng.uniform(d, 9)), definite(rng, d)
    model = Model(kind, prior=Prior(dof, scale))
    rest = []
    for _ in range(4):
        params = random_params(rng, kind, k=2, d=d)
        free = params.matrices()[: 1 if kind == "tied" else None]
        logs = sum(invwishart.logpdf(m, dof, scale) for m in free)
        rest.append(model.log_prior(params) - logs)
    # The same constant whatever the matrices are.
    assert np.ptp(rest) < 1e-10 * (1 + abs(rest[0]))
    assert Model(kind).log_prior(params) == 0


@EACH
def test_the_belief_is_the_peak_of_the_prior(seed):
    rng = np.random.default_rng(seed)
    d, dof, scale = 3, 5.0, definite(rng, 3)
    model = Model("tied", prior=Prior(dof, scale))
    one, mean = np.ones(1), np.zeros((1, d))
    peak = model.log_prior(Tied(one, mean, scale / (dof + d + 1)))
    for _ in range(20):
        other = definite(rng, d)
        assert model.log_prior(Tied(one, mean, other)) < peak


@pytest.mark.equation("eq-collapse-map")
@EACH
def test_the_update_in_fractions(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, size=(6, 2))
    labels = np.array([0, 0, 0, 1, 1, 1])
    scale = np.array([[2, 1], [1, 3]])
    model = Model(prior=Prior(2.0, scale.astype(float)))
    resp = np.eye(2)[labels]
    params = model.maximise(model.summarise(x.astype(float), Labels(resp)))
    for k in range(2):
        rows = [[Fraction(int(v)) for v in row] for row in x[labels == k]]
        middle = [sum(column) / 3 for column in zip(*rows, strict=True)]
        for i, j in product(range(2), repeat=2):
            squares = sum(
                (row[i] - middle[i]) * (row[j] - middle[j]) for row in rows
            )
            exact = (squares + int(scale[i, j])) / (3 + 2 + 2 + 1)
            got = params.covariances[k, i, j]
            assert np.isclose(got, float(exact), rtol=1e-13, atol=1e-13)


def goal_of(model, x, resp):
    """Return the bound plus the log prior, as a function of a vector."""

    def goal(vector, like):
        params = model.unpack(vector, like)
        log_joint = model.log_joint(x, params)
        return bound(log_joint, resp) + model.log_prior(params)

    return goal


@pytest.mark.equation("eq-collapse-map")
@KINDS
@EACH
def test_the_m_step_with_a_prior_is_a_maximum(kind, seed):
    x, resp, prior, rng = problem(seed)
    model = Model(kind, prior=prior)
    best = model.maximise(model.summarise(x, Labels(resp)))
    goal, top = goal_of(model, x, resp), model.pack(best)

    def value(vector):
        return np.array([goal(vector, best)])

    # Central differences with a step of 1e-5 of sums of about 100 nats.
    assert abs(jacobian(value, top, 1e-5)).max() < 1e-6
    for _ in range(20):
        away = top + rng.normal(scale=0.5, size=top.size)
        assert goal(away, best) < goal(top, best)


@pytest.mark.many_turns
@pytest.mark.equation("eq-collapse-map")
@KINDS
def test_an_optimiser_finds_no_better_m_step(kind):
    x, resp, prior, rng = problem(20)
    model = Model(kind, prior=prior)
    best = model.maximise(model.summarise(x, Labels(resp)))
    goal, top = goal_of(model, x, resp), model.pack(best)
    begin = top + rng.normal(scale=0.3, size=top.size)
    found = minimize(lambda v: -goal(v, best), begin, method="BFGS")
    # Differences of 1.5e-8 leave BFGS within some 1e-7 nats of the top.
    assert abs(-found.fun - goal(top, best)) < 1e-5
    other = model.unpack(found.x, best)
    for one, two in zip(other, best, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_the_types_keep_what_the_page_says():
    x, resp, (dof, scale), _ = problem(3)
    n, d = x.shape
    found = {
        kind: (m := Model(kind, prior=Prior(dof, scale))).maximise(
            m.summarise(x, Labels(resp))
        )
        for kind in TYPES
    }
    full = found["full"].covariances
    diagonals = np.diagonal(full, axis1=1, axis2=2)
    np.testing.assert_allclose(
        found["diag"].covariances, diagonals, rtol=1e-13
    )
    np.testing.assert_allclose(
        found["spherical"].covariances, diagonals.mean(axis=1), rtol=1e-13
    )
    # Tied: the same sums, and the prior once.
    firm = resp.sum(axis=0) + dof + d + 1
    squares = (firm[:, None, None] * full - scale).sum(axis=0)
    tied = (squares + scale) / (n + dof + d + 1)
    np.testing.assert_allclose(found["tied"].covariances, tied, rtol=1e-12)


@pytest.mark.equation("eq-collapse-rises")
@KINDS
@EACH
def test_log_evidence_plus_log_prior_rises(kind, seed):
    x, resp, prior, _ = problem(seed, n=18)
    model = Model(kind, prior=prior)
    goals = [
        by_scipy(x, step.params) + model.log_prior(step.params)
        for step in islice(em(model, x, resp), 25)
    ]
    # Sums of tens of numbers below 1e3: rounding is below 1e-11.
    assert np.diff(goals).min() > -1e-11


def test_with_a_prior_the_log_evidence_alone_may_fall():
    falls = []
    for seed in SEEDS:
        x, resp, _, _ = problem(seed, n=18)
        model = Model(prior=Prior(4.0, np.cov(x.T)))
        bounds = [step.bound for step in islice(em(model, x, resp), 40)]
        falls.append(np.diff(bounds).min())
    assert min(falls) < -1e-3


@pytest.mark.many_turns
@pytest.mark.equation("eq-collapse-bounded")
@KINDS
@EACH
def test_the_objective_has_a_ceiling(kind, seed):
    x, resp, prior, rng = problem(seed, n=9, k=2)
    (dof, scale), (n, d) = prior, x.shape
    firm = dof + d + 1

    def peak(a):
        return a * np.linalg.slogdet(scale / a)[1] + a * d

    splits = [(n,)] if kind == "tied" else [(m, n - m) for m in range(10)]
    tops = [sum(peak(m + firm) for m in split) for split in splits]
    ceiling = -0.5 * (n * d * np.log(2 * np.pi) + min(tops))
    # All points to one component is the largest: the sum is convex.
    assert min(tops) == tops[0]
    model = Model(kind, prior=prior)
    for _ in range(50):
        params = random_params(rng, kind, k=2)
        narrow = 10.0 ** -rng.uniform(0, 8)
        params = params._replace(
            means=x[:2], covariances=narrow * params.covariances
        )
        assert by_scipy(x, params) + model.log_prior(params) < ceiling
    for step in islice(em(model, x, resp), 0, 200, 20):
        assert step.bound + model.log_prior(step.params) < ceiling
    # One component more narrow than all beliefs is no way up any more.
    values = []
    for narrow in 10.0 ** -np.arange(2, 9):
        tiny = params._replace(
            covariances=narrow * np.ones_like(params.covariances)
            if kind in ("diag", "spherical")
            else narrow
            * np.broadcast_to(np.eye(d), (2, d, d))[
                0 if kind == "tied" else slice(None)
            ]
        )
        values.append(by_scipy(x, tiny) + model.log_prior(tiny))
    assert np.diff(values).max() < 0


@KINDS
def test_no_eigenvalue_falls_under_the_floor(kind):
    """Points on a line and one beside it: without a prior, a collapse."""
    x = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [9.0, 1.0]])
    prior = Prior(0.0, np.array([[0.2, 0.1], [0.1, 0.3]]))
    model = Model(kind, prior=prior)
    resp = np.eye(2)[[0, 0, 0, 1]]
    least = np.linalg.eigvalsh(prior.scale)[0] / (4 + 0 + 2 + 1)
    for step in islice(em(model, x, resp), 50):
        low = np.linalg.eigvalsh(step.params.matrices()).min()
        assert low > least * (1 - 1e-9)


def by_numbers(kind, k, d):
    """Return how many parameters are free, by a sum over the parts."""
    symmetric = sum(1 for i in range(d) for j in range(i + 1))
    parts = {
        "full": [symmetric] * k,
        "tied": [symmetric],
        "diag": [1] * (k * d),
        "spherical": [1] * k,
    }[kind]
    return (k - 1) + k * d + sum(parts)


def price(kind, k, d):
    """Return the book's formula."""
    cells = {
        "full": k * d * (d + 1) // 2,
        "tied": d * (d + 1) // 2,
        "diag": k * d,
        "spherical": k,
    }[kind]
    return k - 1 + k * d + cells


@pytest.mark.equation("eq-collapse-free")
@KINDS
@pytest.mark.parametrize(("k", "d"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_free_parameters_are_the_rank_of_the_density(kind, k, d):
    """Move every parameter: as many directions change the density."""
    rng = np.random.default_rng(k + 10 * d)
    params = random_params(rng, kind, k, d)
    x = rng.normal(scale=3, size=(80, d))
    model = Model(kind)

    def density(vector):
        there = model.unpack(vector, params)
        return model.e_step(x, there).log_evidence

    slopes = jacobian(density, model.pack(params), 1e-5)
    # Differences err by 1e-9; the smallest true singular value is > 1e-4.
    values = np.linalg.svd(slopes, compute_uv=False)
    rank = int((values > 1e-6 * values[0]).sum())
    assert rank == price(kind, k, d) == by_numbers(kind, k, d)


@pytest.mark.equation("eq-collapse-free")
@pytest.mark.equation("eq-collapse-criteria")
@KINDS
@EACH
def test_the_criteria_are_scikit_learns(kind, seed):
    x, _, _, rng = problem(seed, n=30)
    (n, d), k = x.shape, 3
    params = random_params(rng, kind, k, d)
    theirs = GaussianMixture(k, covariance_type=kind)
    theirs.weights_, theirs.means_ = params.weights, params.means
    theirs.covariances_ = params.covariances
    inverse = np.linalg.inv(np.linalg.cholesky(params.matrices()))
    roots = np.swapaxes(inverse, 1, 2)
    diagonals = np.diagonal(roots, axis1=1, axis2=2)
    theirs.precisions_cholesky_ = {
        "full": roots,
        "tied": roots[0],
        "diag": diagonals,
        "spherical": diagonals[:, 0],
    }[kind]
    twice, many = -2 * by_scipy(x, params), price(kind, k, d)
    aic, bic = twice + 2 * many, twice + many * np.log(n)
    assert np.isclose(theirs.aic(x), aic, rtol=1e-12)
    assert np.isclose(theirs.bic(x), bic, rtol=1e-12)
    # ICL: the data with their labels, on average over the labels.
    resp = theirs.predict_proba(x)
    logs = Model(kind).log_joint(x, params)
    icl = -2 * (resp * logs).sum() + many * np.log(n)
    doubt = divergence(resp, axis=1).sum()
    assert np.isclose(bic + 2 * doubt, icl, rtol=1e-12)
    # And never less than with the most probable label of each point.
    assert doubt >= -np.log(resp.max(axis=1)).sum()


def exact_evidence(x):
    """Return log p(x), one Gaussian with its conjugate prior, d = 1.

    Precision ~ Gamma(1, 1), mean ~ N(0, variance).
    """
    n, middle = len(x), x.mean()
    squares = ((x - middle) ** 2).sum()
    rate = 1 + 0.5 * squares + 0.5 * n * middle**2 / (n + 1)
    shape = 1 + n / 2
    logs = gammaln(shape) - shape * np.log(rate)
    return logs - 0.5 * np.log(n + 1) - n / 2 * np.log(2 * np.pi)


@pytest.mark.equation("eq-collapse-criteria")
@EACH
def test_bic_is_the_evidence_but_for_a_constant(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 2, size=100_000)
    rest = []
    for n in (100, 1000, 10_000, 100_000):
        part = x[:n]
        top = norm(part.mean(), part.std()).logpdf(part).sum()
        bic = -2 * top + 2 * np.log(n)
        rest.append(bic + 2 * exact_evidence(part))
    # log N grows by 6.9 from end to end, BIC itself by 4e5; the rest, the
    # prior and the information at the estimate, settles like its error.
    assert np.ptp(rest) < 1.5
    assert abs(rest[-1] - rest[-2]) < 0.1


@pytest.mark.equation("eq-collapse-criteria")
def test_aic_prices_the_optimism():
    """The estimate flatters its own data by P nats against fresh ones."""
    rng = np.random.default_rng(20)
    n, d, times = 400, 2, 3000
    x = rng.normal(size=(times, n, d))
    means = x.mean(axis=1)
    apart = x - means[:, None]
    matrices = np.einsum("tni,tnj->tij", apart, apart) / n
    log_dets = np.linalg.slogdet(matrices)[1]
    inverses = np.linalg.inv(matrices)
    own = -0.5 * n * (log_dets + d)
    # Fresh points of N(0, I), in expectation.
    spread = np.eye(d) + means[:, :, None] * means[:, None, :]
    fresh = np.einsum("tij,tji->t", inverses, spread)
    flattery = own + 0.5 * n * (log_dets + fresh)
    # Less the same difference at the truth, whose mean is 0.
    flattery += 0.5 * ((x**2).sum(axis=(1, 2)) - n * d)
    many = price("full", 1, d)
    error = flattery.std() / np.sqrt(times)
    # The rule is the limit of large n; here it is short by some 2%.
    assert abs(flattery.mean() - many) < 5 * error + 0.03 * many
    assert error < 0.1


@EACH
def test_a_component_cut_in_two_changes_nothing(seed):
    x, _, _, rng = problem(seed)
    params = random_params(rng, "full", k=2)
    cut = Full(
        np.append(params.weights, params.weights[1]) / [1, 2, 2],
        params.means[[0, 1, 1]],
        params.covariances[[0, 1, 1]],
    )
    assert np.isclose(by_scipy(x, cut), by_scipy(x, params), rtol=1e-13)


FOUR = np.array([[0.0], [1.0], [2.0], [3.0]])
SIDES = np.eye(2)[[0, 0, 1, 1]]


def test_added_variance_makes_the_bound_fall():
    model = Model(reg_covar=0.1)
    bounds = [step.bound for step in islice(em(model, FOUR, SIDES), 8)]
    assert (np.diff(bounds) < 0).all()
    with pytest.raises(AssertionError) as caught:
        emlib.check(model, FOUR, SIDES)
    broken = {law.name for law in caught.value.laws if not law.holds}
    assert broken == {"stationary", "monotone"}
    # From the fixed point of the plain loop, it moves away, and down.
    plain = fit(Model(), FOUR, SIDES, tol=0.0)
    here, there = islice(em(model, FOUR, plain.params), 2)
    assert there.bound < here.bound - 0.01


@EACH
def test_with_tied_covariances_added_variance_is_a_prior(seed):
    x, resp, _, _ = problem(seed)
    reg, model = 0.3, Model("tied", reg_covar=0.3)
    goals = [
        step.bound - 0.5 * reg * len(x) * np.trace(np.linalg.inv(matrix))
        for step in islice(em(model, x, resp), 30)
        for matrix in [step.params.covariances]
    ]
    # Sums of tens of numbers below 1e3: rounding is below 1e-11.
    assert np.diff(goals).min() > -1e-11


def test_only_relative_added_variance_keeps_the_unit():
    far = FOUR / 1000
    absolute = fit(Model(reg_covar=1e-6), far, SIDES).params
    assert np.ptp(absolute.means) < 1e-4
    relative, same = (
        fit(Model(reg_covar=1e-6 * y.var(axis=0)), y, SIDES).params
        for y in (far, FOUR)
    )
    # Both runs do the same arithmetic in another unit.
    np.testing.assert_allclose(1000 * relative.means, same.means, rtol=1e-9)


def test_the_twenty_nine_flowers():
    """A value that repeats is a collapse; the criterion prices the pad."""
    x, z = datasets.iris()[:2]
    narrow = x[:, 3] == 0.2
    assert narrow.sum() == 29
    begin = np.eye(3)[np.where(narrow, 0, 1 + (z > 0))]
    singular = (
        Model().maximise(Model().summarise(x, Labels(begin))).covariances[0]
    )
    # Squares of 0.2 less a mean of 0.2: rounding, about 1e-33.
    assert abs(np.linalg.eigvalsh(singular)[0]) < 1e-15
    ends = [
        fit(Model(reg_covar=reg), x, begin).history[-1]
        for reg in (1e-6, 1e-8)
    ]
    # 29 points, each worth log 10 for a hundredth of the variance.
    assert np.isclose(np.diff(ends)[0], 29 * np.log(10), rtol=0.01)


def test_a_spread_start_and_a_prior_end_without_an_error():
    x = datasets.iris().x
    prior = Prior(-4.0, np.cov(x.T, bias=True) / 10)
    rng = np.random.default_rng(20)
    for kind in TYPES:
        begin = starts.spread(x, starts.seeds(x, 5, rng))
        model = Model(kind, prior=prior)
        assert np.isfinite(fit(model, x, begin, tol=1e-2).history[-1])
