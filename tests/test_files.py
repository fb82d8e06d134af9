"""Files are whole or as they were, and a bad one is refused in words."""

from __future__ import annotations

import ast
import errno
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from emlib import files

PACKAGE = Path(files.__file__).parent
GONE = OSError(errno.EIO, "the disk is gone")


def names(folder):
    """Return what a folder holds, hidden files and all."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("σ² = 1\n", "σ² = 1\n".encode()),
        (b"\x00\xff", b"\x00\xff"),
        ("a\r\nb", b"a\r\nb"),
        ("", b""),
    ],
)
def test_what_is_written_is_there(content, body, tmp_path):
    path = tmp_path / "file"
    for where in (path, str(path)):  # a second one replaces the first
        files.write_atomically(where, content)
        assert path.read_bytes() == body
        assert names(tmp_path) == ["file"]


def test_a_stream_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with files.open_atomically(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def write(path):
    files.write_atomically(path, "new")


def stream(path, why=GONE):
    """Write a part, and then find that the rest cannot be had."""
    with files.open_atomically(path) as file:
        file.write(b"ne")
        raise why


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize(
    ("owner", "name", "do"),
    [
        (os, "fsync", write),
        (Path, "replace", write),
        (Path, "open", write),
        (None, "", stream),
    ],
    ids=["sync", "replace", "open", "stream"],
)
def test_a_failure_leaves_the_old_file_and_no_draft(
    owner, name, do, old, tmp_path, monkeypatch
):
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)
    before = names(tmp_path)

    def fail(*_):
        raise GONE

    with monkeypatch.context() as patch:
        if owner is not None:
            patch.setattr(owner, name, fail)
        with pytest.raises(OSError, match="the disk is gone"):
            do(path)
    assert names(tmp_path) == before
    assert old is None or path.read_text() == old


def test_what_is_no_text_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        files.write_atomically(tmp_path / "file", "\ud800")
    assert not names(tmp_path)


@pytest.mark.parametrize("writer", [KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_the_old_file(writer, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(writer):
        stream(path, writer)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from emlib.files import open_atomically\n"
        "with open_atomically(sys.argv[1]) as file:\n"
        "    file.write(b'ne')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path])
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []
    path.write_text("old")
    sync = os.fsync

    def watched(number):
        sync(number)
        (draft,) = {*tmp_path.iterdir()} - {path}
        seen.append((path.read_text(), draft.read_text()))

    monkeypatch.setattr(os, "fsync", watched)
    files.write_atomically(path, "new")
    assert seen == [("old", "new")]


def test_threads_that_write_the_same_file_leave_one_of_theirs(tmp_path):
    path = tmp_path / "file"
    texts = [str(k) * 100_000 for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda t: files.write_atomically(path, t), texts):
            pass
    assert path.read_text() in texts
    assert names(tmp_path) == ["file"]


def test_the_package_replaces_a_file_in_one_place():
    calls = [
        (path.name, len(node.args))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "replace"
    ]
    # Of a text it takes two arguments, of a path one.
    assert [name for name, size in calls if size == 1] == ["files.py"]


# --- room


def test_room_that_is_there_leaves_nothing(tmp_path):
    files.require_room(tmp_path, 1 << 20)
    assert not names(tmp_path)


def test_room_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.require_room(tmp_path, 100)
    assert not names(tmp_path)


def test_a_folder_that_is_there_is_no_fault(tmp_path):
    files.require_folder(tmp_path / "file")
    files.require_folder("file")
    with pytest.raises(ValueError, match=r"'.*file' must lie in a folder"):
        files.require_folder(tmp_path / "nowhere" / "file")


# --- read or refused


@pytest.mark.parametrize("fault", files.FAULTS)
def test_every_fault_of_a_reader_is_one_refusal(fault):
    with (
        pytest.raises(
            ValueError, match=r"^It must.*else .why.. Do\.$"
        ) as got,
        files.refuse_faults("It must be good", "Do."),
    ):
        raise fault("why")
    assert type(got.value.__cause__) is fault


def test_without_a_remedy_nothing_follows():
    with (
        pytest.raises(
            ValueError, match=r"received something else \(why\)\.$"
        ),
        files.refuse_faults("It must be good"),
    ):
        raise LookupError("why")


def test_a_missing_file_is_missing_unless_it_is_refused(tmp_path):
    path = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError), files.refuse_faults("It must"):
        path.read_bytes()
    with (
        pytest.raises(ValueError, match="It must; received"),
        files.refuse_faults("It must", missing=True),
    ):
        path.read_bytes()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ImportError])
def test_what_is_no_fault_of_the_file_goes_through(stop):
    with pytest.raises(stop), files.refuse_faults("It must be good"):
        raise stop


# --- JSON


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ("auto", "auto"),
        (True, True),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.array(["a", "b"], object), ["a", "b"]),
        (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ((2, np.eye(1)), [2, [[1.0]]]),
        ([[np.float32(0.5)]], [[0.5]]),
    ],
)
def test_values_go_through_json(value, wanted):
    text = json.dumps(files.to_json(value))
    assert files.from_json(json.loads(text)) == wanted


def test_numbers_come_back_to_the_last_bit():
    numbers = np.random.default_rng(20).normal(size=1000)
    text = json.dumps(files.to_json(numbers))
    np.testing.assert_array_equal(json.loads(text), numbers)


def test_a_random_state_goes_on_where_it_was():
    state = np.random.RandomState(20)
    state.normal()  # it holds half a pair
    text = json.dumps(files.to_json(state))
    again = files.from_json(json.loads(text))
    assert state.normal(size=5).tolist() == again.normal(size=5).tolist()


# --- what a `save` wrote


class Kept:
    """Stands for an estimator."""

    def __init__(self, size=0):
        if size < 0:
            raise ValueError("size must be at least 0")
        self.size = size

    def save(self, path, form="kept 1"):
        record = {"format": form, "options": {"size": self.size}}
        files.write_atomically(path, json.dumps({**record, "found": [1]}))

    def _restore(self, record):
        self.found_ = record["found"][0]
        return self


def test_what_was_saved_is_read(tmp_path):
    path = tmp_path / "kept.json"
    Kept(3).save(path)
    found = files.read_saved(Kept, path, "kept 1")
    assert (found.size, found.found_) == (3, 1)


BAD = {
    "format": (b'{"format": "kept 2"}', "its format is 'kept 2'"),
    "no format": (b"{}", "'format'"),
    "option": (b'{"format": "kept 1", "options": {"k": 1}}', "'k'"),
    "value": (b'{"format": "kept 1", "options": {"size": -1}}', "least 0"),
    "rest": (b'{"format": "kept 1", "options": {}}', "'found'"),
    "list": (b"[1]", "list indices"),
    "null": (b"null", "NoneType"),
    "half": (b'{"format": "ke', "Unterminated string"),
    "empty": (b"", "Expecting value"),
    "deep": (b"[" * 100_000, "recursion"),
    "pickle": (pickle.dumps({"format": "kept 1"}), "utf|decode"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_was_not_saved_is_refused(name, tmp_path):
    body, why = BAD[name]
    path = tmp_path / "kept.json"
    path.write_bytes(body)
    with pytest.raises(
        ValueError,
        match=rf"(?s)kept.json must be a whole file that Kept.save wrote; "
        rf"received something else \(.*({why}).*\). Save it again.",
    ):
        files.read_saved(Kept, path, "kept 1")


def test_a_saved_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.read_saved(Kept, tmp_path / "nowhere", "kept 1")
