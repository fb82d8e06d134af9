"""Fits in other processes and at a program's end, for test_threads.py.

`python elsewhere.py WAY` prints what differs from fits in the main thread.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading

import joblib
import numpy as np
from threadpoolctl import threadpool_info

from emlib import CoinMixture, GaussianMixture, KMeans
from emlib.scale import one_blas_thread, thread_map

ROWS = (9_000, 40_000)  # in one block, and in several


def blas():
    """Return how many threads each BLAS may take."""
    return {
        library["filepath"]: library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }


def cloud(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def tosses(n):
    return np.random.default_rng(0).integers(0, 5000, size=(n, 2))


def answer(n):
    """Return the bits of three fits, and of what they answer."""
    x, heads = cloud(n), tosses(n)
    # So large a tolerance ends each fit without a warning.
    mixture = GaussianMixture(2, tol=10.0, random_state=0).fit(x)
    coins = CoinMixture(2, tol=1e6, random_state=0).fit(heads)
    clusters = KMeans(2, tol=1.0, random_state=0).fit(x)
    parts = [
        *(mixture.weights_, mixture.means_, mixture.covariances_),
        *(mixture.score_samples(x), mixture.predict_proba(x)),
        *(mixture.bic(x), coins.weights_, coins.means_),
        *(coins.predict_proba(heads), coins.score(heads)),
        *(clusters.cluster_centers_, clusters.transform(x)),
    ]
    return [np.asarray(part).tobytes() for part in parts]


def answers(_=None):
    """Return the bits of all fits, and whether limits are as before."""
    before = blas()
    found = [answer(n) for n in ROWS]
    return found, blas() == before


def in_a_process(context, wanted):
    """Compare with the fits of one child, by the standard library."""
    with multiprocessing.get_context(context).Pool(1) as pool:
        assert pool.map(answers, [0]) == [wanted]


def forked_while_others_fit(wanted):
    """Fork inside of limits, while another thread enters and leaves."""
    before, over = blas(), threading.Event()

    def others():
        while not over.is_set():
            with one_blas_thread():
                pass

    thread = threading.Thread(target=others)
    thread.start()
    try:
        with one_blas_thread():
            context = multiprocessing.get_context("fork")
            for _ in range(20):
                reader, writer = context.Pipe(duplex=False)
                child = context.Process(target=tell, args=(writer,))
                child.start()
                assert reader.recv() == (before, before)
                child.join()
            in_a_process("fork", wanted)
    finally:
        over.set()
        thread.join()
    assert blas() == before


def tell(writer):
    """Say how many threads BLAS has in a child, and after a map."""
    found = blas()
    with thread_map(2) as mapper:
        assert list(mapper(abs, [-1, 2])) == [1, 2]
        assert set(blas().values()) == {1}
    writer.send((found, blas()))


def under_joblib(backend):
    """Return what a pool of joblib's finds."""
    before = blas()
    with joblib.parallel_config(backend):
        found = joblib.Parallel(2)(
            joblib.delayed(answers)() for _ in range(2)
        )
    assert blas() == before
    return found


def at_the_end(wanted):
    """Fit in a thread that goes on when the main thread has ended."""
    main = threading.main_thread()

    def late():
        with thread_map(2) as mapper:
            main.join()
            assert list(mapper(abs, [-1, 2])) == [1, 2]
        assert answers() == wanted
        print("at the end", flush=True)

    threading.Thread(target=late).start()


def interrupted(wanted):
    """Press Ctrl-C in a fit that would go on for hours."""
    before, alive = blas(), threading.active_count()
    mixture = GaussianMixture(2, tol=10.0, random_state=0).fit(
        cloud(40_000)
    )
    was = dict(vars(mixture))
    mixture.set_params(tol=0.0, max_iter=10**9, n_components=3)

    def press():
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, press)
    timer.start()
    try:
        mixture.fit(cloud(100_000))
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("nobody interrupted the fit")
    timer.join()
    assert threading.active_count() == alive
    assert blas() == before
    mixture.set_params(tol=10.0, max_iter=was["max_iter"], n_components=2)
    assert vars(mixture).keys() == was.keys()
    for name, value in was.items():
        assert np.array_equal(vars(mixture)[name], value), name
    assert answers() == wanted


def main(way):
    wanted = answers()
    assert wanted[1]
    if way in ("spawn", "forkserver"):
        in_a_process(way, wanted)
    elif way in ("loky", "multiprocessing"):
        assert under_joblib(way) == [wanted] * 2
    else:
        ways = (forked_while_others_fit, at_the_end, interrupted)
        {each.__name__: each for each in ways}[way](wanted)
    print(way)


if __name__ == "__main__":
    main(sys.argv[1])
