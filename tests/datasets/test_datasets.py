"""The tables against their totals, draws against their truth."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import pickle
import socket
import struct
import time
import urllib.request
import zipfile
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from emlib import datasets, gaussians


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


def test_iris_is_the_printed_table():
    x, z, features, species = datasets.iris()
    assert x.shape == (150, 4)
    assert len(features) == 4
    assert species == ("setosa", "versicolor", "virginica")
    assert (np.bincount(z) == 50).all()
    # Tenths of a centimetre are whole numbers: the sums are exact.
    tenths = (10 * x).round()
    np.testing.assert_allclose(x, tenths / 10, rtol=0, atol=1e-15)
    assert (tenths.sum(axis=0) == [8765, 4586, 5637, 1799]).all()
    # The means that are printed in the same paper.
    means = [x[z == k].mean(axis=0) for k in range(3)]
    published = [
        [5.006, 3.428, 1.462, 0.246],
        [5.936, 2.770, 4.260, 1.326],
        [6.588, 2.974, 5.552, 2.026],
    ]
    np.testing.assert_allclose(means, published, rtol=1e-13)
    # Two flowers are wrong in the copy of the UCI repository.
    assert (x[34] == [4.9, 3.1, 1.5, 0.2]).all()
    assert (x[37] == [4.9, 3.6, 1.4, 0.1]).all()


def test_wine_is_the_table_of_its_source():
    x, z, features, cultivars = datasets.wine()
    assert x.shape == (178, 13)
    assert len(features) == 13
    assert len(cultivars) == 3
    assert (np.bincount(z) == [59, 71, 48]).all()
    # First and last rows, and the sums of the columns of whole numbers.
    assert x[0, [0, 4, 12]].tolist() == [14.23, 127, 1065]
    assert x[-1, [0, 4, 12]].tolist() == [14.13, 96, 560]
    magnesium, proline = (
        features.index(f) for f in ("magnesium", "proline")
    )
    assert x[:, magnesium].sum() == 17754
    assert x[:, proline].sum() == 132947
    spread = x.std(axis=0)
    assert 2000 < spread.max() / spread.min() < 3000


@pytest.mark.parametrize("seed", range(5))
def test_a_draw_has_the_parameters_that_it_names(seed):
    data = datasets.two_components(40_000, seed)
    x, z = data.x, data.z
    assert (np.bincount(z) / len(z) == data.weights).all()
    truth = gaussians.Full(data.weights, data.means, data.covariances)
    assert truth.weights.sum() == 1
    for k in range(2):
        mine = x[z == k]
        # Standard errors are below 0.014 for means, 0.035 for covariances;
        # ten draws of two and three numbers stay within five of them.
        np.testing.assert_allclose(
            mine.mean(axis=0), data.means[k], rtol=0, atol=0.07
        )
        np.testing.assert_allclose(
            np.cov(mine.T), data.covariances[k], rtol=0, atol=0.18
        )


def test_a_seed_fixes_a_draw():
    first, again, other = (
        datasets.two_components(seed=s) for s in (20, 20, 21)
    )
    assert (first.x == again.x).all()
    assert not (first.x == other.x).any()
    # The book's figures are of these points.
    np.testing.assert_allclose(
        first.x.sum(axis=0), [-883.69569085, 2341.09144373], rtol=1e-9
    )


@pytest.mark.parametrize("n", [1, 2, 10, 999])
def test_a_draw_has_as_many_points_as_asked_for(n):
    data = datasets.two_components(n)
    assert data.x.shape == (n, 2)
    assert np.count_nonzero(data.z == 0) == round(0.6 * n)


def test_a_real_table_may_be_written_to():
    for load in (datasets.iris, datasets.wine):
        before = load().x.sum()
        load().x[:] = 0
        assert load().x.sum() == before


# --- digits: the sample, an archive, a folder

NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def some_digits(seed=0):
    """Return 12 images to train on and 7 to test on, as of MNIST."""
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(256, size=(12, 28, 28), dtype=np.uint8),
        "y_train": rng.integers(10, size=12, dtype=np.uint8),
        "x_test": rng.integers(256, size=(7, 28, 28), dtype=np.uint8),
        "y_test": rng.integers(10, size=7, dtype=np.uint8),
    }


def archive(path, changes=(), save=np.savez):
    parts = some_digits() | dict(changes)
    save(path, **{n: a for n, a in parts.items() if a is not None})
    return path


def same_digits(digits, source):
    for name, wanted in some_digits().items():
        np.testing.assert_array_equal(getattr(digits, name), wanted)
    assert digits.source == str(source)


def refused(load, path, *said):
    """Check that a file is refused by its name, by a rule, and why."""
    with pytest.raises(ValueError) as caught:
        load()
    for words in (str(path), "must be", "received", *said):
        assert words in str(caught.value)


class Trap:
    """Create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_sample_is_6000_digits_a_tenth_of_each_kind():
    digits = datasets.load_mnist("sample")
    assert digits.source == "sample"
    assert digits.x_train.shape == (5000, 28, 28)
    assert digits.x_test.shape == (1000, 28, 28)
    assert digits.x_train.dtype == digits.x_test.dtype == np.uint8
    assert np.bincount(digits.y_train).tolist() == [500] * 10
    assert np.bincount(digits.y_test).tolist() == [100] * 10


def test_the_samples_digits_differ_and_look_like_digits():
    digits = datasets.load_mnist("sample")
    every = np.concatenate([digits.x_train, digits.x_test])
    assert len(np.unique(every.reshape(6000, -1), axis=0)) == 6000
    # The mean of all of MNIST is 33.3.
    assert 30 < every.mean() < 37
    near = KNeighborsClassifier(1).fit(
        digits.x_train.reshape(5000, -1) / 255, digits.y_train
    )
    right = near.score(digits.x_test.reshape(1000, -1) / 255, digits.y_test)
    assert right > 0.9


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_archive_gives_its_arrays_and_its_path(tmp_path, save, kind):
    path = archive(tmp_path / "mine.npz", save=save)
    same_digits(datasets.load_mnist(kind(path)), path)


def test_a_folder_that_holds_the_archive_gives_it(tmp_path):
    path = archive(tmp_path / "mnist.npz")
    same_digits(datasets.load_mnist(tmp_path), path)


@pytest.mark.parametrize("kept", [0, 1, 40, 2000, 0.5, 0.9, -30, -1])
def test_a_truncated_archive_is_refused(tmp_path, kept):
    path = archive(tmp_path / "mnist.npz")
    body = path.read_bytes()
    path.write_bytes(
        body[: int(kept * len(body)) if 0 < kept < 1 else kept]
    )
    refused(lambda: datasets.load_mnist(path), path)


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_byte_of_an_archive_is_harmless_or_refused(
    tmp_path, seed
):
    path = archive(tmp_path / "mnist.npz", save=np.savez_compressed)
    body, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in rng.integers(len(body), size=3):
        body[place] = rng.integers(256)
    path.write_bytes(body)
    fault = f"{str(path)!r} must be"
    try:
        same_digits(datasets.load_mnist(path), path)
    except ValueError as why:
        fault = str(why)
    assert f"{str(path)!r} must be" in fault


@pytest.mark.parametrize(
    "body", [b"x,y\n1,2\n", pickle.dumps([1, 2]), bytes(1000)]
)
def test_what_is_no_archive_is_refused(tmp_path, body):
    path = tmp_path / "mnist.npz"
    path.write_bytes(body)
    refused(lambda: datasets.load_mnist(path), path)


def test_an_array_alone_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    path = tmp_path / "x.npy"
    refused(lambda: datasets.load_mnist(path), path, "archive")


@pytest.mark.parametrize(
    ("place", "value"), [(8, 1), (10, 99)], ids=["secret", "unknown"]
)
def test_an_archive_that_zip_cannot_open_is_refused(tmp_path, place, value):
    path = archive(tmp_path / "mnist.npz")
    body = bytearray(path.read_bytes())
    # Flags and method of the first entry of zip's central directory.
    body[body.index(b"PK\x01\x02") + place] = value
    path.write_bytes(body)
    refused(lambda: datasets.load_mnist(path), path)


def test_an_archive_that_announces_too_much_is_refused(tmp_path):
    head = io.BytesIO()
    told = {"descr": "|u1", "fortran_order": False}
    np.lib.format.write_array_header_1_0(
        head, told | {"shape": (10**13, 28, 28)}
    )
    path = tmp_path / "mnist.npz"
    with zipfile.ZipFile(path, "w") as parts:
        for name in NAMES:
            parts.writestr(f"{name}.npy", head.getvalue())
    refused(lambda: datasets.load_mnist(path), path)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_array_is_named(tmp_path, name):
    path = archive(tmp_path / "mnist.npz", {name: None})
    refused(lambda: datasets.load_mnist(path), path, name)


TEN = np.arange(12) % 10
BAD = {
    "narrow": ({"x_train": np.zeros((12, 28, 27), "u1")}, "(12, 28, 27)"),
    "flat": ({"x_test": np.zeros((7, 784), "u1")}, "(7, 784)"),
    "floats": ({"x_test": np.zeros((7, 28, 28))}, "float64"),
    "none": (
        {
            "x_test": np.zeros((0, 28, 28), "u1"),
            "y_test": np.zeros(0, int),
        },
        "(0, 28, 28)",
    ),
    "eleven": ({"y_train": TEN + 1}, "1 to 10"),
    "below 0": ({"y_train": TEN - 1}, "-1 to 8"),
    "too many": ({"y_test": np.arange(8)}, "(8,)"),
    "one for all": ({"y_test": np.array(3)}, "()"),
    "a column": ({"y_train": TEN[:, None]}, "(12, 1)"),
    "real": ({"y_train": TEN / 1}, "float64"),
    "words": ({"y_train": TEN.astype(str)}, "<U"),
}


@pytest.mark.parametrize("fault", BAD)
def test_wrong_arrays_are_refused(tmp_path, fault):
    changes, said = BAD[fault]
    path = archive(tmp_path / "mnist.npz", changes)
    refused(
        lambda: datasets.load_mnist(path), path, said, next(iter(changes))
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_cannot_have_code_executed(tmp_path, name):
    made = tmp_path / "made"
    trap = {name: np.array([Trap(made)], object)}
    path = archive(tmp_path / "mnist.npz", trap)
    with np.load(path, allow_pickle=True) as parts:
        assert parts[name] is not None
    assert made.exists(), "the trap does not work"
    made.unlink()
    refused(lambda: datasets.load_mnist(path), path)
    assert not made.exists()


def test_nothing_at_a_path_is_named(tmp_path):
    path = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match="`path` must be") as caught:
        datasets.load_mnist(path)
    assert str(path) in str(caught.value)


# --- digits in the four files of the original


def idx(array):
    """Return an array in MNIST's own format: big-endian, bytes."""
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return struct.pack(">i", 2048 + array.ndim) + sizes + array.tobytes()


def four_files(folder, packed=False):
    for name, array in some_digits().items():
        put(folder / NAMES[name], idx(array), packed)
    return folder


def put(path, body, packed):
    if packed:
        path = path.with_name(f"{path.name}.gz")
        body = gzip.compress(body)
    path.write_bytes(body)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_four_files_give_their_arrays_and_their_folder(tmp_path, packed):
    folder = four_files(tmp_path, packed)
    same_digits(datasets.load_mnist(folder), folder)


def test_some_of_the_files_may_be_packed(tmp_path):
    four_files(tmp_path)
    plain = tmp_path / NAMES["y_train"]
    put(plain, plain.read_bytes(), packed=True)
    plain.unlink()
    same_digits(datasets.load_mnist(str(tmp_path)), tmp_path)


SPOILT = {
    "floats": lambda body: b"\0\0\x0d" + body[3:],
    "other axes": lambda body: body[:3] + b"\x02" + body[4:],
    "little end": lambda body: body[3::-1] + body[4:],
    "truncated": lambda body: body[:-1],
    "in the middle": lambda body: body[: len(body) // 2],
    "no sizes": lambda body: body[:6],
    "empty": lambda body: b"",
    "trailing": lambda body: body + b"\0",
    "negative": lambda body: body[:4] + b"\xff" * 4 + body[8:],
    "none": lambda body: body[:4] + bytes(4) + body[8:],
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_file_is_refused(tmp_path, fault, name, packed):
    four_files(tmp_path, packed)
    body = SPOILT[fault](idx(some_digits()[name]))
    path = put(tmp_path / NAMES[name], body, packed)
    refused(lambda: datasets.load_mnist(tmp_path), path)


def test_a_wrong_magic_number_is_told(tmp_path):
    four_files(tmp_path)
    path = tmp_path / NAMES["x_train"]
    path.write_bytes(idx(some_digits()["y_train"]))
    said = "0x00000803", "0x00000801"
    refused(lambda: datasets.load_mnist(tmp_path), path, *said)


def test_sizes_whose_product_overflows_are_refused(tmp_path):
    four_files(tmp_path)
    path = tmp_path / NAMES["x_train"]
    path.write_bytes(struct.pack(">4i", 2051, 2**22, 2**21, 2**21))
    refused(lambda: datasets.load_mnist(tmp_path), path)


@pytest.mark.parametrize("kept", [-1, 30, 5])
def test_a_truncated_packing_is_refused(tmp_path, kept):
    four_files(tmp_path, packed=True)
    path = tmp_path / f"{NAMES['x_test']}.gz"
    path.write_bytes(path.read_bytes()[:kept])
    refused(lambda: datasets.load_mnist(tmp_path), path, "gzip")


def test_what_is_not_packed_by_gzip_is_refused(tmp_path):
    four_files(tmp_path, packed=True)
    path = tmp_path / f"{NAMES['x_test']}.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    refused(lambda: datasets.load_mnist(tmp_path), path, "gzip")


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    four_files(tmp_path)
    path = tmp_path / NAMES["y_test"]
    path.write_bytes(idx(some_digits()["y_train"]))
    refused(lambda: datasets.load_mnist(tmp_path), tmp_path, "y_test")


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("copies", [0, 2])
def test_one_file_of_each_name_is_asked_for(tmp_path, name, copies):
    four_files(tmp_path)
    path = tmp_path / name
    if copies == 2:
        put(path, path.read_bytes(), packed=True)
    else:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"received {copies}") as e:
        datasets.load_mnist(tmp_path)
    assert f"{str(tmp_path)!r} must hold one file {name}" in str(e.value)


# --- digits without a path: kept, fetched, or the sample


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return where MNIST is kept: a folder that is not there yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "keras" / "datasets" / "mnist.npz"


def at(monkeypatch, address, body=b""):
    """Let MNIST be at an address, and be some bytes."""
    checksum = hashlib.sha256(body).hexdigest()
    monkeypatch.setattr(datasets.digits, "MNIST", address)
    monkeypatch.setattr(datasets.digits, "MNIST_SUM", checksum)


def gives_the_sample(home, why):
    with pytest.warns(UserWarning, match=why) as said:
        digits = datasets.load_mnist()
    assert "sample of 6,000 digits" in str(said[0].message)
    assert digits.source == "sample"
    assert len(digits.x_train) == 5000
    if home.parent.is_dir():
        assert not [*home.parent.iterdir()]


def answering(parts, pause=0.0):
    """Return the address of a server that sends parts, once."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server, server.accept()[0] as line:
            line.recv(4096)
            for part in parts:
                line.sendall(part)
                time.sleep(pause)

    Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/mnist.npz"


def head(length):
    return f"HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_kept_archive_is_taken(home, monkeypatch):
    home.parent.mkdir(parents=True)
    body = archive(home).read_bytes()
    at(monkeypatch, "http://127.0.0.1:1/x", body)
    same_digits(datasets.load_mnist(), home)


def test_a_kept_archive_of_other_bytes_is_refused(home):
    home.parent.mkdir(parents=True)
    archive(home)
    found = hashlib.sha256(home.read_bytes()).hexdigest()
    refused(datasets.load_mnist, home, found, datasets.digits.MNIST_SUM)
    assert home.is_file()


def test_a_refused_connection_gives_the_sample(home, monkeypatch):
    at(monkeypatch, "http://127.0.0.1:1/x")
    gives_the_sample(home, "refused")


def test_a_server_that_says_no_gives_the_sample(home, monkeypatch):
    address = answering([b"HTTP/1.0 404 Not Found\r\n\r\n"])
    at(monkeypatch, address)
    gives_the_sample(home, "404")


def test_a_silent_server_gives_the_sample_soon(home, monkeypatch):
    monkeypatch.setattr(datasets.digits, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        at(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}/x")
        began = time.perf_counter()
        gives_the_sample(home, "could not be downloaded")
        assert time.perf_counter() - began < 5


def test_a_server_that_stops_gives_the_sample_soon(home, monkeypatch):
    monkeypatch.setattr(datasets.digits, "PATIENCE", 0.3)
    body = bytes(100_000)
    at(monkeypatch, answering([head(10**6), body], pause=5), body)
    began = time.perf_counter()
    gives_the_sample(home, "could not be downloaded")
    assert time.perf_counter() - began < 5


def test_a_name_that_is_not_answered_gives_the_sample_soon(
    home, monkeypatch
):
    monkeypatch.setattr(datasets.digits, "PATIENCE", 0.3)
    answer = Event()
    # No timeout of a socket covers the search for its address.
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *_, **__: answer.wait(10)
    )
    began = time.perf_counter()
    gives_the_sample(home, "could not be downloaded")
    assert time.perf_counter() - began < 5
    answer.set()


def test_a_slow_server_is_waited_for_while_it_sends(home, monkeypatch):
    monkeypatch.setattr(datasets.digits, "PATIENCE", 1.0)
    body = archive(home.parents[2] / "source.npz").read_bytes()
    parts = [body[k : k + 2000] for k in range(0, len(body), 2000)]
    slow = answering([head(len(body)), *parts], pause=2 / len(parts))
    at(monkeypatch, slow, body)
    same_digits(datasets.load_mnist(), "download")


def test_a_download_that_breaks_off_gives_the_sample(home, monkeypatch):
    body = archive(home.parents[2] / "source.npz").read_bytes()
    address = answering([head(len(body)), body[: len(body) // 2]])
    at(monkeypatch, address, body)
    gives_the_sample(home, "could not be downloaded")


def test_a_download_is_kept_and_then_taken(home, monkeypatch):
    source = archive(home.parents[2] / "source.npz")
    at(monkeypatch, source.as_uri(), source.read_bytes())
    same_digits(datasets.load_mnist(), "download")
    assert [*home.parent.iterdir()] == [home]
    assert home.read_bytes() == source.read_bytes()
    source.unlink()
    same_digits(datasets.load_mnist(), home)


def test_a_download_of_other_bytes_leaves_nothing(home, monkeypatch):
    source = archive(home.parents[2] / "source.npz")
    at(monkeypatch, source.as_uri(), b"other")
    gives_the_sample(home, "sha256")


def test_a_download_that_cannot_be_kept_gives_the_sample(home, monkeypatch):
    source = archive(home.parents[2] / "source.npz")
    at(monkeypatch, source.as_uri(), source.read_bytes())
    home.parents[1].write_text("a file where a folder should be")
    gives_the_sample(home, "could not be downloaded")


def test_a_full_disk_leaves_no_half_download(home, monkeypatch):
    source = archive(home.parents[2] / "source.npz")
    at(monkeypatch, source.as_uri(), source.read_bytes())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    gives_the_sample(home, "No space left")


# --- smallNORB

NORB = "smallnorb-5x{}x9x18x6x2x96x96-{}-{}.mat"
TOYS = {"training": "46789", "testing": "01235"}
MAGIC = {"u1": 0x1E3D4C55, "i4": 0x1E3D4C54}


def mat(array, magic=None):
    """Return an array in smallNORB's own format: little-endian."""
    sizes = [*array.shape, 1, 1][: max(3, array.ndim)]
    magic = magic or MAGIC[array.dtype.str[1:]]
    start = struct.pack(f"<{2 + len(sizes)}i", magic, array.ndim, *sizes)
    return start + array.astype(array.dtype.newbyteorder("<")).tobytes()


def some_photographs(part):
    n = {"training": 6, "testing": 4}[part]
    rng = np.random.default_rng(n)
    return {
        "dat": rng.integers(256, size=(n, 2, 5, 7), dtype=np.uint8),
        "cat": rng.integers(5, size=n, dtype=np.int32),
        "info": rng.integers(18, size=(n, 4), dtype=np.int32),
    }


def six_files(folder, packed=False):
    for part in TOYS:
        for kind, array in some_photographs(part).items():
            put(norb(folder, part, kind), mat(array), packed)
    return folder


def norb(folder, part, kind):
    return folder / NORB.format(TOYS[part], part, kind)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_six_files_are_read(tmp_path, packed, kind):
    found = datasets.load_smallnorb(kind(six_files(tmp_path, packed)))
    for stereo, part in zip(found, TOYS, strict=True):
        wanted = some_photographs(part)
        left, right = wanted["dat"][:, 0], wanted["dat"][:, 1]
        assert stereo.x.dtype == np.uint8
        np.testing.assert_array_equal(stereo.x[..., 0], left)
        np.testing.assert_array_equal(stereo.x[..., 1], right)
        np.testing.assert_array_equal(stereo.category, wanted["cat"])
        order = "instance", "elevation", "azimuth", "lighting"
        for column, name in enumerate(order):
            np.testing.assert_array_equal(
                getattr(stereo, name), wanted["info"][:, column]
            )


def test_what_was_read_may_be_written_to(tmp_path):
    train, _ = datasets.load_smallnorb(six_files(tmp_path))
    train.x[:] = 0
    train.lighting[:] = 0
    again, _ = datasets.load_smallnorb(tmp_path)
    assert again.x.any()
    assert again.lighting.any()


SPOILT_MAT = {
    "doubles": lambda body: struct.pack("<i", 0x1E3D4C53) + body[4:],
    "big end": lambda body: body[3::-1] + body[4:],
    "truncated": lambda body: body[:-1],
    "no sizes": lambda body: body[:15],
    "no axes": lambda body: body[:6],
    "empty": lambda body: b"",
    "trailing": lambda body: body + b"\0",
    "0 axes": lambda body: body[:4] + struct.pack("<i", 0) + body[8:],
    "9 axes": lambda body: body[:4] + struct.pack("<i", 9) + body[8:],
    "-1 axes": lambda body: body[:4] + struct.pack("<i", -1) + body[8:],
    "negative": lambda body: body[:8] + struct.pack("<i", -1) + body[12:],
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["dat", "cat", "info"])
@pytest.mark.parametrize("fault", SPOILT_MAT)
def test_a_spoilt_file_of_toys_is_refused(tmp_path, fault, kind, packed):
    six_files(tmp_path, packed)
    body = SPOILT_MAT[fault](mat(some_photographs("testing")[kind]))
    path = put(norb(tmp_path, "testing", kind), body, packed)
    refused(lambda: datasets.load_smallnorb(tmp_path), path)


def test_a_wrong_magic_number_of_toys_is_told(tmp_path):
    six_files(tmp_path)
    path = norb(tmp_path, "training", "cat")
    path.write_bytes(mat(some_photographs("training")["cat"], 0x1E3D4C51))
    said = "0x1e3d4c55", "0x1e3d4c54", "received 0x1e3d4c51"
    refused(lambda: datasets.load_smallnorb(tmp_path), path, *said)


UNFIT = {
    "one more": ("cat", lambda a: np.append(a, a[:1]), "(7,)"),
    "bytes": ("cat", lambda a: a.astype("u1"), "uint8"),
    "a row": ("cat", lambda a: a[None], "(1, 6)"),
    "fewer settings": ("info", lambda a: a[:, :3], "(6, 3)"),
    "fewer rows": ("info", lambda a: a[:5], "(5, 4)"),
    "mono": ("dat", lambda a: a[:, :1], "(6, 1, 5, 7)"),
    "no pairs": ("dat", lambda a: a[:, 0], "(6, 5, 7)"),
    "numbers": ("dat", lambda a: a.astype("i4"), "int32"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_files_of_toys_that_do_not_fit_are_refused(tmp_path, fault):
    kind, change, said = UNFIT[fault]
    path = norb(six_files(tmp_path), "training", kind)
    path.write_bytes(mat(change(some_photographs("training")[kind])))
    refused(lambda: datasets.load_smallnorb(tmp_path), path, said)


@pytest.mark.parametrize("part", TOYS)
@pytest.mark.parametrize("kind", ["dat", "cat", "info"])
@pytest.mark.parametrize("copies", [0, 2])
def test_one_file_of_toys_of_each_name_is_asked_for(
    tmp_path, part, kind, copies
):
    path = norb(six_files(tmp_path), part, kind)
    if copies == 2:
        put(path, path.read_bytes(), packed=True)
    else:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"received {copies}") as e:
        datasets.load_smallnorb(tmp_path)
    named = f"{str(tmp_path)!r} must hold one file *{part}*-{kind}.mat"
    assert named in str(e.value)
