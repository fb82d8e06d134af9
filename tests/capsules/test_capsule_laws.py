"""What routing obeys: laws, over several seeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

keras = pytest.importorskip("keras")
ops = keras.ops

from capsules_by_hand import (  # noqa: E402
    DOUBLE,
    apart,
    arrays,
    filled,
    grid,
    tensors,
    windows,
)

from emlib.capsules import (  # noqa: E402
    ClassCapsules,
    ConvCapsules,
    route,
    routing,
)
from emlib.capsules.routing import em  # noqa: E402

SEEDS = range(3)
OPTIONS = {"turns": 3, "inverse_temperature": 0.4, "mass_scale": 0.4}
ROUNDING = 1e-11  # of float64, after three turns


def case(seed, i=9, j=4, h=5):
    """Return votes, activations, prices and responsibilities."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(i, j, h)),
        rng.uniform(0.1, 1.0, size=i),
        rng.normal(size=j),
        rng.normal(size=j),
        rng.dirichlet(np.ones(j), size=i),
    )


def routed(votes, activations, use, activate, resp=None, **options):
    """Return poses and activations of the parents, as arrays."""
    start = None if resp is None else ops.convert_to_tensor(resp)
    parts = tensors([votes, activations, use, activate])
    return arrays(route(*parts, resp=start, **OPTIONS | options))


def same(found, wanted):
    """Assert that two answers differ by rounding."""
    for got, want in zip(found, wanted, strict=True):
        assert apart(got, want) < ROUNDING


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_relabel(seed, given):
    votes, a, use, activate, resp = case(seed)
    order = np.random.default_rng(seed).permutation(4)
    resp, other = (resp, resp[:, order]) if given else (None, None)
    poses, chances = routed(votes, a, use, activate, resp)
    found = routed(votes[:, order], a, use[order], activate[order], other)
    same(found, [poses[order], chances[order]])


@pytest.mark.parametrize("seed", SEEDS)
def test_permute(seed):
    votes, a, *betas, resp = case(seed)
    order = np.random.default_rng(seed).permutation(9)
    found = routed(votes[order], a[order], *betas, resp[order])
    same(found, routed(votes, a, *betas, resp))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_child_that_is_not_there_is_absent(seed):
    votes, a, *betas, resp = case(seed)
    a[[2, 5]] = 0.0
    here = a > 0
    found = routed(votes, a, *betas, resp)
    same(found, routed(votes[here], a[here], *betas, resp[here]))
    a[2] = 0.5  # and one that is there is heard
    heard = routed(votes, a, *betas, resp)
    assert min(map(apart, heard, found)) > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_the_activation_is_the_child_twice(seed):
    votes, a, *betas, _ = case(seed)
    twice = np.r_[a, a[3]]
    found = routed(np.r_[votes, votes[3:4]], twice, *betas)
    a[3] *= 2
    same(found, routed(votes, a, *betas))


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_the_children_cost_the_same_at_half_the_scale(seed):
    votes, a, *betas, _ = case(seed)
    once = routed(votes, a, *betas, mass_scale=0.4)
    both = np.r_[votes, votes], np.r_[a, a]
    same(routed(*both, *betas, mass_scale=0.2), once)
    twice = routed(*both, *betas, mass_scale=0.4)
    assert apart(twice[1], once[1]) > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_layers_know_no_order_of_parents_or_samples(seed):
    inputs = grid(seed, (5, 4), types=2, batch=3)
    layer = ConvCapsules(3, 2, 1, inverse_temperature=0.4, dtype="float64")
    filled(layer, inputs, seed)
    poses, chances = arrays(layer(inputs))
    order = np.random.default_rng(seed).permutation(3)
    w, use, activate = layer.get_weights()
    layer.set_weights([w[:, :, :, order], use[order], activate[order]])
    found = arrays(layer([part[order] for part in inputs]))
    wanted = poses[order][:, :, :, order], chances[order][..., order]
    same(found, wanted)


def statistics(seed, i=8, shape=(2, 3)):
    """Return votes, responsibilities and activations."""
    rng = np.random.default_rng(seed)
    n, j = shape
    return (
        rng.normal(size=(i, n, 4, j)) + 3,
        rng.dirichlet(np.ones(j), size=(i, n)),
        rng.uniform(size=(i, n)),
    )


def blocks(parts, *stops):
    """Yield the statistics of blocks of children."""
    for start, stop in pairwise((0, *stops, len(parts[0]))):
        yield routing.m_step(*tensors(part[start:stop] for part in parts))


def equal(one, other):
    """Assert that two statistics are the same."""
    assert one.children == other.children
    same(arrays(one[1:]), arrays(other[1:]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stops", [(3,), (1,), (2, 5)])
def test_statistics_add(seed, stops):
    parts = statistics(seed)
    (whole,) = blocks(parts)
    equal(sum(blocks(parts, *stops)), whole)


@pytest.mark.parametrize("silent", [[0, 1, 2], [3, 4, 5, 6, 7], range(8)])
def test_statistics_add_where_a_block_has_no_mass(silent):
    parts = statistics(0)
    parts[2][list(silent), 0] = 0.0
    (whole,) = blocks(parts)
    equal(sum(blocks(parts, 3)), whole)


def test_statistics_add_where_a_parent_has_no_mass_in_a_block():
    parts = statistics(1)
    parts[1][:3, :, 1] = 0.0
    (whole,) = blocks(parts)
    equal(sum(blocks(parts, 3)), whole)


def test_nought_and_statistics_are_statistics():
    (whole,) = blocks(statistics(0))
    assert 0 + whole is whole
    for other in (1, 0.0, None, "0"):
        with pytest.raises(TypeError):
            other + whole
        with pytest.raises(TypeError):
            whole + other


def test_a_tuple_and_statistics_are_nothing():
    (whole,) = blocks(statistics(0))
    with pytest.raises(TypeError):
        (1, 2, 3) + whole  # noqa: RUF005


@pytest.mark.parametrize("seed", SEEDS)
def test_stationary(seed):
    votes, a, *betas, resp = case(seed)
    parts = tensors([votes, a, *betas])
    start = ops.convert_to_tensor(resp)
    _, steps = route(
        *parts,
        **OPTIONS | {"variance_floor": 0.0, "resp": start},
        return_steps=True,
    )
    before = [resp, *(arrays([step.resp])[0] for step in steps)]
    for step, weights in zip(steps, before, strict=False):
        means, variances = arrays(step.params[:2])  # (h, j)
        mass = (a[:, None] * weights)[:, None]  # (i, 1, j)

        def expected(mean, log_variance, mass=mass):
            apart = (votes.swapaxes(1, 2) - mean) ** 2
            logs = log_variance + apart / np.exp(log_variance)
            return -0.5 * (mass * logs).sum(axis=0)  # (h, j)

        at, e = np.log(variances), 1e-5
        over_means = expected(means + e, at) - expected(means - e, at)
        over_logs = expected(means, at + e) - expected(means, at - e)
        # Rounding of sums near 10, over the step.
        assert np.abs(over_means / (2 * e)).max() < 1e-8
        assert np.abs(over_logs / (2 * e)).max() < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_monotone_while_activations_are_held(seed):
    votes, a, *_, resp = case(seed, i=40, j=3, h=2)
    x = ops.convert_to_tensor(votes.swapaxes(1, 2))
    logs, weights = tensors([np.log([0.5, 0.3, 0.1]), a])
    resp, history = ops.convert_to_tensor(resp), []
    for _ in range(25):
        _, _, means, variances = routing.m_step(x, resp, weights)
        resp, evidence = routing.e_step(x, means, variances, logs)
        history.append(float(a @ arrays([evidence])[0]))
    rises = np.diff(history)
    assert rises.min() > -1e-10
    assert rises[:3].min() > 1e-4


@pytest.fixture
def heard(monkeypatch):
    """Return what M-steps and E-steps are called with, in order."""
    calls = []
    for name in ("m_step", "e_step"):
        real = getattr(em, name)

        def spy(*parts, name=name, real=real):
            calls.append((name, parts))
            return real(*parts)

        monkeypatch.setattr(em, name, spy)
    return calls


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
def test_turns_are_m_steps_with_e_steps_between(heard, turns):
    inputs = grid(0, (3, 4), types=2, dtype="float32")
    votes, a, *betas, _ = case(0)
    ways = [
        lambda: routed(votes, a, *betas, turns=turns),
        lambda: ConvCapsules(2, 2, turns=turns)(inputs),
        lambda: ClassCapsules(2, turns=turns)(inputs),
    ]
    for way in ways:
        heard.clear()
        way()
        names = [name for name, _ in heard]
        assert names == (["m_step", "e_step"] * turns)[:-1]


WINDOWS = [
    ((5, 4), 1, 1),
    ((5, 4), 1, 2),
    ((5, 4), 1, 3),
    ((5, 6), 2, 1),
    ((5, 6), 2, 2),
    ((8, 7), 2, 3),
    ((14, 5), 3, 2),
    ((6, 5), 3, 1),
    ((8, 9), 3, 3),
    ((7, 6), 5, 1),
    ((8, 9), 5, 2),
    ((9, 8), 5, 3),
]


def shared_out(resp, size, kernel, strides, types, samples=2):
    """Return each child's sum of responsibilities, and its windows."""
    cells = kernel * kernel
    resp = resp.reshape(cells, types, samples, -1, resp.shape[-1])
    sums = np.zeros((samples, *size, types))
    times = np.zeros(size)
    for p, (y, x), (r, c) in windows(size, (kernel,) * 2, (strides,) * 2):
        of_place = resp[y * kernel + x, :, :, p].sum(axis=-1)
        sums[:, r, c] += of_place.T  # (samples, types)
        times[r, c] += 1
    return sums, times[:, :, None]


@pytest.mark.parametrize("competition", ["parents", "patch"])
@pytest.mark.parametrize(("size", "kernel", "strides"), WINDOWS)
def test_a_child_shares_itself_out_once(
    heard, size, kernel, strides, competition
):
    inputs = grid(0, size, types=2)
    ConvCapsules(
        3,
        kernel,
        strides,
        inverse_temperature=0.4,
        competition=competition,
        dtype="float64",
    )(inputs)
    turns = [parts[1] for name, parts in heard if name == "m_step"]
    assert len(turns) == 2  # the start, and after an E-step
    for resp in arrays(turns):
        sums, times = shared_out(resp, size, kernel, strides, types=2)
        wanted = times > 0 if competition == "parents" else times
        wanted = np.broadcast_to(wanted, sums.shape)
        atol = 1e-10 if DOUBLE else 1e-4
        np.testing.assert_allclose(sums, wanted, rtol=0, atol=atol)


def test_the_mean_of_the_scaled_mass_is_one(heard):
    inputs = grid(0, (7, 6), types=3, dtype="float32")
    inputs[1][:] = 1.0
    for layer, sizes in (
        (ConvCapsules(4, 3, 2), (4 * 3 * 2, 3 * 7 * 5)),
        (ConvCapsules(4, 3, 2, competition="patch"), (4, 27)),
        (ClassCapsules(5), (5, 3 * 42)),
    ):
        heard.clear()
        layer(inputs)
        _, resp, activations = heard[0][1]
        mass = np.einsum("inj,in->nj", *arrays([resp, activations]))
        assert mass.mean() * sizes[0] / sizes[1] == pytest.approx(1, 1e-5)


def test_coordinates_tell_places_apart():
    poses, activations = grid(1, (2, 3), types=2, dtype="float64")
    order = np.random.default_rng(0).permutation(6)
    moved = [
        part.reshape(2, 6, *part.shape[3:])[:, order].reshape(part.shape)
        for part in (poses, activations)
    ]
    for coordinates, alike in ((False, True), (True, False)):
        layer = ClassCapsules(
            3, coordinates=coordinates, mass_scale=0.3, dtype="float64"
        )
        filled(layer, [poses, activations], seed=2)
        pairs = zip(
            arrays(layer(moved)),
            arrays(layer([poses, activations])),
            strict=True,
        )
        for got, want in pairs:
            near = ROUNDING if DOUBLE else 1e-5
            assert bool(apart(got, want) < near) is alike


def test_transforms_are_shared_and_prices_are_one_a_type():
    inputs = grid(0, (6, 7), types=3, dtype="float32")
    conv, final = ConvCapsules(4, (3, 2), 2), ClassCapsules(5)
    conv(inputs), final(inputs)
    shapes = [tuple(w.shape) for w in (*conv.weights, *final.weights)]
    assert shapes == [
        (3, 2, 3, 4, 4, 4),
        (4,),
        (4,),
        (3, 5, 4, 4),
        (5,),
        (5,),
    ]
