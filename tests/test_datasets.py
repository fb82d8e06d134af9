"""The printed tables against their totals and published estimates."""

from __future__ import annotations

import numpy as np

from emlib import datasets


def test_the_labelled_rows_give_the_notes_estimates():
    x, z = datasets.labelled_coins()
    assert x.sum() == 50
    for coin, heads, tosses in ((0, 22, 30), (1, 2, 20)):
        assert (x[z == coin].sum(axis=0) == [heads, tosses - heads]).all()


def test_the_unlabelled_rows_are_the_published_ones():
    x, z = datasets.unlabelled_coins()
    assert z is None
    assert (x.sum(axis=0) == [33, 17]).all()
    # Do and Batzoglou's panel a gives rows 2, 3 and 5 to coin A.
    assert (x[[1, 2, 4]].sum(axis=0) == [24, 6]).all()


def test_each_call_returns_arrays_of_its_own():
    first = datasets.unlabelled_coins().x
    first[:] = 0
    assert datasets.unlabelled_coins().x.sum() == 50
    assert np.issubdtype(datasets.labelled_coins().x.dtype, np.integer)
