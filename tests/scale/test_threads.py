"""Threads: the same bits from everywhere, and limits put back."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import joblib
import numpy as np
import pytest
from elsewhere import ROWS, answer, blas, cloud
from threadpoolctl import threadpool_limits

from emlib import (
    GaussianMixture,
    KMeans,
    coins,
    fit,
    one_pass,
    scale,
    sweep,
)
from emlib.estimators import mixture as mixtures
from emlib.scale import InBlocks, blocks, one_blas_thread, thread_map

HERE = Path(__file__).parent


@pytest.fixture
def four_cores(monkeypatch):
    """Pretend to four cores, and let libraries take four threads."""
    monkeypatch.setattr(scale.threads.joblib, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threadpool_limits(4):
        yield


def width(mapper, workers, calls):
    """Return how many calls a mapper runs at once, if workers can meet."""
    meeting, lock = threading.Barrier(workers), threading.Lock()
    running, most = 0, 0

    def one(_):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)  # so that one too many has begun, if any may
        meeting.wait(timeout=10)  # breaks where fewer can run at once
        with lock:
            running -= 1

    assert list(mapper(one, range(calls))) == [None] * calls
    return most


@pytest.mark.parametrize("parts", [-1, 0, 1])
def test_one_part_is_the_plain_map(four_cores, parts):
    before = blas()
    with thread_map(parts) as mapper:
        assert mapper is map
        assert set(blas().values()) == {1}
    assert blas() == before


@pytest.mark.parametrize(
    ("allowed", "parts", "workers"),
    [
        (None, 2, 2),
        (None, 8, 4),
        ("2", 8, 2),
        ("3", 9, 3),
        ("64", 8, 4),
        ("", 8, 4),
        ("two", 8, 4),
        ("-1", 8, 4),
    ],
)
def test_as_many_threads_as_parts_cores_and_the_setting_allow(
    four_cores, monkeypatch, allowed, parts, workers
):
    if allowed is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    with thread_map(parts) as mapper:
        assert width(mapper, workers, parts) == workers


@pytest.mark.parametrize("allowed", ["0", "1"])
def test_one_thread_by_setting_is_the_plain_map(
    four_cores, monkeypatch, allowed
):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    with thread_map(8) as mapper:
        assert mapper is map


def test_a_single_core_is_the_plain_map(monkeypatch):
    monkeypatch.setattr(scale.threads.joblib, "cpu_count", lambda: 1)
    with thread_map(8) as mapper:
        assert mapper is map


def test_blas_takes_one_thread_inside_and_its_own_after(four_cores):
    before = blas()
    assert before  # NumPy has one
    with thread_map(2) as mapper:
        assert set(blas().values()) == {1}
        inside = list(mapper(lambda _: set(blas().values()), range(4)))
        assert inside == [{1}] * 4
    assert blas() == before


def test_a_fault_in_a_worker_reaches_the_caller_and_frees_blas(four_cores):
    before, alive = blas(), threading.active_count()

    def halves(number):
        return 1 // (number - 2)

    with (
        pytest.raises(ZeroDivisionError),
        thread_map(4) as mapper,
    ):
        list(mapper(halves, range(4)))
    assert blas() == before
    assert threading.active_count() == alive


# --- how many threads there may be


def threads_lent(parts=8):
    """Return how many threads a map has."""
    with thread_map(parts) as mapper:
        if mapper is map:
            return 1
        names = set(mapper(lambda _: pause(), range(64)))
    return len(names)


def pause():
    time.sleep(0.005)  # so that each thread of a pool gets some
    return threading.get_ident()


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_around_a_map_is_kept(four_cores, limit):
    with threadpool_limits(limit):
        assert threads_lent() == limit
        with ThreadPoolExecutor(1) as pool:  # OpenMP limits each thread
            assert pool.submit(threads_lent).result() <= limit
    assert threads_lent() == 4


@pytest.mark.parametrize("kind", ["blas", "openmp"])
def test_the_limit_of_either_kind_of_library_is_kept(four_cores, kind):
    with threadpool_limits(2, user_api=kind):
        assert threads_lent() == 2


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_jobs_of_joblibs_configuration_are_kept(
    four_cores, backend, jobs
):
    with joblib.parallel_config(backend, n_jobs=jobs):
        assert threads_lent() == jobs
    with joblib.parallel_config(backend):
        assert threads_lent() == 4


def test_a_map_inside_a_limit_of_our_own_may_have_all_threads(four_cores):
    with one_blas_thread(), one_blas_thread():
        assert threads_lent() == 4


# --- limits are put back, whoever leaves last


class Guest(threading.Thread):
    """A thread that enters and leaves when told."""

    def __init__(self):
        super().__init__()
        self.begin, self.inside = threading.Event(), threading.Event()
        self.end = threading.Event()
        self.start()

    def run(self):
        self.begin.wait()
        with one_blas_thread():
            self.inside.set()
            self.end.wait()

    def enter(self):
        self.begin.set()
        assert self.inside.wait(timeout=10)

    def leave(self):
        self.end.set()
        self.join()


class Main:
    """The same of the thread that asks."""

    def __init__(self):
        self.stack = ExitStack()

    def enter(self):
        self.stack.enter_context(one_blas_thread())

    def leave(self):
        self.stack.close()


@pytest.mark.parametrize("leaving", ["first in", "last in"])
@pytest.mark.parametrize(
    "kinds", [(Main, Guest), (Guest, Main), (Guest, Guest), (Main, Main)]
)
def test_limits_return_whoever_leaves_last(four_cores, kinds, leaving):
    before = blas()
    one, other = (kind() for kind in kinds)
    one.enter()
    other.enter()
    order = (one, other) if leaving == "first in" else (other, one)
    order[0].leave()
    assert set(blas().values()) == {1}
    order[1].leave()
    assert blas() == before


@pytest.mark.parametrize("inside", [1, 3])
def test_a_limit_set_in_another_thread_holds_again_after(
    four_cores, inside
):
    before, guest = blas(), Guest()
    with threadpool_limits(inside):
        guest.enter()
        assert set(blas().values()) == {1}
        guest.leave()
        assert set(blas().values()) == {inside}
    assert blas() == before


def test_a_limit_that_changed_meanwhile_stays(four_cores):
    before, guest = blas(), Guest()
    with threadpool_limits(3):
        guest.enter()
    assert blas() == before
    guest.leave()
    assert blas() == before


def test_after_a_map_any_thread_may_set_limits(four_cores):
    with thread_map(2) as mapper:
        list(mapper(abs, [1, 2]))

    def limited():
        with threadpool_limits(3):
            return set(blas().values())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(limited).result() == {3}


class Library:
    """A BLAS whose limit holds for the process or for a thread."""

    def __init__(self, internal_api, layer, threads=4):
        self.internal_api, self.threading_layer = internal_api, layer
        self.threads, self.here = threads, threading.local()
        self.user_api = "blas"
        self.shared = scale.threads._is_shared(self)

    @property
    def num_threads(self):
        own = getattr(self.here, "threads", None)
        return own or self.threads

    def set_num_threads(self, threads):
        if self.shared:
            self.threads = threads
        else:
            self.here.threads = threads


@pytest.fixture(
    params=[
        ("openblas", "pthreads", True),
        ("openblas", "openmp", False),
        ("mkl", "intel", False),
        ("blis", "pthreads", False),
    ]
)
def library(request, monkeypatch):
    """Put a library of another kind in the place of all."""
    *names, shared = request.param
    library = Library(*names)
    assert library.shared == shared

    found = scale.threads._Libraries([library])
    monkeypatch.setattr(scale.threads, "_libraries", lambda: found)
    return library


@pytest.mark.parametrize("leaving", ["first in", "last in"])
@pytest.mark.parametrize("kinds", [(Main, Guest), (Guest, Main)])
def test_each_kind_of_library_gets_its_limits_back(library, kinds, leaving):
    one, other = (kind() for kind in kinds)
    one.enter()
    other.enter()
    order = (one, other) if leaving == "first in" else (other, one)
    for each in order:
        if isinstance(each, Main):
            assert library.num_threads == 1
        each.leave()
    assert library.num_threads == 4


def test_each_thread_of_a_map_gets_one_of_each_kind_of_library(
    library, four_cores
):
    with thread_map(4) as mapper:
        found = mapper(lambda _: library.num_threads, range(8))
        assert list(found) == [1] * 8
        with thread_map(4) as inner:
            assert inner is not map
    assert library.num_threads == 4


# --- faults


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit])
def test_a_part_that_is_interrupted_ends_the_map(four_cores, fault):
    before, alive = blas(), threading.active_count()
    begun = []

    def part(number):
        begun.append(number)
        if number == 0:
            raise fault
        time.sleep(0.01)

    with pytest.raises(fault), thread_map(1000) as mapper:
        list(mapper(part, range(1000)))
    assert len(begun) < 1000
    assert blas() == before
    assert threading.active_count() == alive


@pytest.mark.parametrize("turn", [1, 3])
@pytest.mark.parametrize("n", ROWS)
def test_an_interrupted_fit_leaves_all_as_it_was(
    four_cores, monkeypatch, n, turn
):
    mixture = GaussianMixture(2, tol=10.0, random_state=0).fit(cloud(n))
    was, before = dict(vars(mixture)), blas()
    turns = iter(range(1, 100))

    def interrupt(step):
        if next(turns) == turn:
            raise KeyboardInterrupt
        return next_turn(step)

    next_turn = mixtures.next_turn
    monkeypatch.setattr(mixtures, "next_turn", interrupt)
    mixture.tol = 0.0
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(cloud(n, seed=1))
    mixture.tol = 10.0
    assert vars(mixture).keys() == was.keys()
    assert all(vars(mixture)[name] is was[name] for name in was)
    assert blas() == before


# --- the same bits from everywhere


@pytest.fixture(scope="module")
def alone():
    """Return the bits of fits in the main thread, under a limit of one."""
    with threadpool_limits(1):
        return {n: answer(n) for n in ROWS}


@pytest.mark.parametrize("n", ROWS)
def test_fits_have_the_same_bits_in_any_thread(four_cores, alone, n):
    before = blas()
    assert answer(n) == alone[n]
    for workers in (1, 2, 5):
        with ThreadPoolExecutor(workers) as pool:
            assert list(pool.map(answer, [n] * 5)) == [alone[n]] * 5
    with one_blas_thread():
        assert answer(n) == alone[n]
    for options in ({"n_jobs": 1}, {"n_jobs": 3}):
        with joblib.parallel_config("threading", **options):
            beside = joblib.Parallel(2)(
                joblib.delayed(answer)(n) for _ in range(2)
            )
        assert beside == [alone[n]] * 2
    assert blas() == before


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("n", ROWS)
def test_limits_of_libraries_change_no_bit(four_cores, alone, n, limit):
    for kind in ("blas", "openmp", None):
        with threadpool_limits(limit, user_api=kind):
            assert answer(n) == alone[n]


def test_thirty_two_threads_may_ask_one_estimator(four_cores):
    x = cloud(9_000)
    mixture = GaussianMixture(3, tol=10.0, random_state=0).fit(x)
    clusters = KMeans(3, tol=1.0, random_state=0).fit(x)

    def asked(_):
        return [
            *(mixture.predict(x), mixture.score_samples(x)),
            *(clusters.predict(x), clusters.transform(x)),
        ]

    wanted, before = asked(None), blas()
    with ThreadPoolExecutor(32) as pool:
        for found in pool.map(asked, range(64)):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other)
    assert blas() == before


def test_thirty_two_threads_may_fit_estimators_of_their_own(four_cores):
    def fitted(seed):
        mixture = GaussianMixture(2, tol=10.0, random_state=seed)
        return mixture.fit(cloud(15_000, seed)).means_.tobytes()

    wanted, before = [fitted(seed) for seed in range(8)], blas()
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(fitted, [*range(8)] * 4)) == wanted * 4
    assert blas() == before


WAYS = [
    *("forked_while_others_fit", "spawn", "loky", "multiprocessing"),
    *("at_the_end", "interrupted"),
]


@pytest.mark.parametrize("way", WAYS)
def test_fits_are_the_same_elsewhere(way):
    if (
        "fork" in way
        and "fork" not in multiprocessing.get_all_start_methods()
    ):
        pytest.skip("there are no forks here")
    # From 3.12 on Python warns of every fork beside threads, BLAS' too.
    quiet = "ignore:This process:DeprecationWarning"
    run = [sys.executable, "-W", "error", "-W", quiet, "elsewhere.py", way]
    environment = {
        **{k: v for k, v in os.environ.items() if "NUM_THREADS" not in k},
        "OPENBLAS_NUM_THREADS": "2",
    }
    done = subprocess.run(
        run, cwd=HERE, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == way
    assert ("at the end" in done.stdout) == (way == "at_the_end")


# --- sums over parts


def random_rows():
    rng = np.random.default_rng(3)
    heads = rng.binomial(12, rng.choice([0.25, 0.7], size=37))
    x = np.stack([heads, 12 - heads], axis=1)
    begin = coins.Params(np.array([0.4, 0.6]), np.array([0.4, 0.6]))
    return x, begin, rng.uniform(0, 3, size=37)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("size", [5, 36])
def test_threads_change_no_bit(four_cores, monkeypatch, size, counted):
    x, begin, times = random_rows()
    parts = blocks(x, times if counted else None, size)
    model = one_pass.coins.Model()
    wanted, total = sweep(model, parts, begin)
    plain = fit(InBlocks(model), parts, begin, max_turns=5)
    for allowed in ("1", "2", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        with thread_map(len(parts)) as mapper:
            got, again = sweep(model, parts, begin, mapper)
            looped = fit(InBlocks(model, mapper), parts, begin, max_turns=5)
        assert again == total
        for field in ("counts", "heads", "tails"):
            assert (getattr(got, field) == getattr(wanted, field)).all()
        assert looped.history == plain.history
