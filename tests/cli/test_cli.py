"""The command line: what it says, where, and with which status."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import types
from importlib.metadata import version

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from emlib import CoinMixture, GaussianMixture, KMeans, datasets
from emlib.cli import main as commands
from emlib.cli.main import main, parser
from emlib.cli.train import FLAGS
from emlib.plan import Plan

CAPSULES = ("--preset", "small", "--batch-size", "20", "--epochs", "1")
RIVAL = ("--network", "convolution", "--epochs", "1")


def done(capsys, *arguments):
    """Run a command that succeeds and warns of nothing: what it says."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def refused(capsys, *arguments):
    """Run a command that fails; return the one line that says why."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("emlib: error: ")
    return lines[0]


def process(*arguments, module="emlib.cli", **options):
    """Run a command as a process of its own, of no settings."""
    kept = {k: v for k, v in os.environ.items() if k[:3] != "TF_"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=kept, **options
    )


# --- what may be asked


@pytest.mark.parametrize("command", ["train", "evaluate", "fit"])
def test_help_has_examples_that_are_commands(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    _, examples = said.split("examples:\n")
    lines = [shlex.split(line) for line in examples.splitlines() if line]
    assert len(lines) >= 2
    for first, *rest in lines:
        assert first == "emlib"
        assert rest[0] == command
        parser().parse_args(rest)


def test_help_names_each_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for command in ("train", "evaluate", "fit", "info"):
        assert command in said


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == version("emlib-book")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["teach"], "'teach'"),
        (["train"], "--out"),
        (["train", "--out", "x", "--epochs", "two"], "--epochs"),
        (
            ["train", "--out", "x", "--learning-rate", "fast"],
            "--learning-rate",
        ),
        (["fit", "x.csv"], "-k"),
        (["fit", "x.csv", "-k", "2", "--model", "tree"], "'tree'"),
    ],
)
def test_what_is_no_command_is_refused(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1]


# --- processes of their own


def test_importing_the_commands_imports_no_keras():
    code = (
        "import sys, emlib.cli.main; "
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert (found.stdout, found.stderr) == ("set()\n", "")


def test_a_process_fits(tmp_path):
    path = tmp_path / "tosses.csv"
    path.write_text("5,5\n9,1\n8,2\n4,6\n7,3\n")
    found = process("fit", path, "--model", "coins", "-k", 2)
    assert (found.returncode, found.stderr) == (0, "")
    assert "CoinMixture: 5 rows" in found.stdout


def test_a_process_says_in_one_line_what_is_wrong(tmp_path):
    found = process("train", "--preset", "huge", "--out", tmp_path / "run")
    assert found.returncode == 2
    assert found.stdout == ""
    said = "emlib: error: `preset` must be one of small, medium, notes; "
    assert found.stderr == f"{said}received 'huge'.\n"
    assert not [*tmp_path.iterdir()]


def test_a_wrong_plan_is_refused_before_keras_is_loaded(tmp_path):
    code = (
        "import sys; from emlib.cli.main import main; "
        "status = main(sys.argv[1:]); "
        "print(status, {'keras', 'tensorflow'} & set(sys.modules))"
    )
    told = ["train", "--epochs", "0", "--out", str(tmp_path / "run")]
    found = subprocess.run(
        [sys.executable, "-c", code, *told], capture_output=True, text=True
    )
    assert "`epochs` must be" in found.stderr
    assert found.stdout == "2 set()\n"


def test_the_flags_of_a_plan_have_its_defaults():
    args = vars(parser().parse_args(["train", "--out", "x"]))
    assert Plan(**{each.name: args[each.name] for each in FLAGS}) == Plan()
    names = {each.name for each in FLAGS}
    assert names == vars(Plan()).keys() - {"clip", "options"}


def test_a_reader_that_goes_away_is_no_fault(tmp_path):
    path = tmp_path / "tosses.csv"
    path.write_text("5,5\n9,1\n8,2\n4,6\n7,3\n")
    command = ["fit", str(path), "--model", "coins", "-k", "2"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "emlib.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == 141


def test_an_interruption_is_told_in_one_line(capsys, monkeypatch):
    def stopped(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "info", stopped)
    assert main(["info"]) == 130
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("emlib: stopped")


# --- info


def test_info_prints_versions(capsys):
    pytest.importorskip("keras")
    lines = done(capsys, "info").splitlines()
    assert lines[0] == f"emlib {version('emlib-book')}"
    assert lines[1].startswith(f"Python {platform.python_version()}")
    for name in ("numpy", "scipy", "scikit-learn", "keras"):
        assert f"{name} {version(name)}" in lines
    assert lines[-1].startswith("Keras' backend: ")


def without_capsules(monkeypatch):
    for name in ("emlib.capsules", "emlib.capsules.training"):
        monkeypatch.setitem(sys.modules, name, None)


def test_info_needs_no_keras(capsys, monkeypatch):
    without_capsules(monkeypatch)
    assert "Keras' backend: none." in done(capsys, "info")


def test_training_without_keras_names_the_extra(
    capsys, monkeypatch, tmp_path
):
    without_capsules(monkeypatch)
    for command in (
        ["train", "--data", "sample", "--out", tmp_path / "run"],
        ["evaluate", tmp_path],
    ):
        assert "extra `capsules`" in refused(capsys, *command)


# --- train and evaluate


@pytest.fixture(scope="module")
def keras():
    """Give Keras; what training sets in the process ends with this."""
    found = pytest.importorskip("keras")
    yield found
    if found.backend.backend() == "tensorflow":
        from tensorflow.python.framework import config

        config.disable_op_determinism()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return an archive of 100 digits, and 50 to test on."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    every = datasets.load_mnist("sample")
    np.savez(
        path,
        x_train=every.x_train[:100],
        y_train=every.y_train[:100],
        x_test=every.x_test[:50],
        y_test=every.y_test[:50],
    )
    return path


@pytest.fixture(scope="module")
def run(keras, tmp_path_factory):
    """Return the folder of a rival that saw the sample once."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    told = (*RIVAL, "--batch-size", "1000", "--no-xla")
    arguments = ("train", "--data", "sample", *told, "--out", str(folder))
    assert main(arguments) == 0
    return folder, arguments


def test_a_run_is_kept_as_it_was_told(run):
    folder, _ = run
    config = json.loads((folder / "config.json").read_text())
    assert config["plan"]["network"] == "convolution"
    assert config["plan"]["batch_size"] == 1000
    assert config["source"] == "sample"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [1, 2, 3, 4, 5, 5]


def test_each_option_reaches_the_plan(
    capsys, keras, tiny, tmp_path, monkeypatch
):
    from emlib.capsules import training

    plans = []
    monkeypatch.setattr(
        training, "train", lambda plan, *_, **__: plans.append(plan)
    )
    told = {
        "network": "convolution",
        "preset": "medium",
        "epochs": 3,
        "batch_size": 7,
        "seed": 8,
        "learning_rate": 0.5,
        "schedule": "constant",
        "margin": "steps",
        "margin_steps": 9,
        "degrees": 1.5,
        "shift": 2.5,
        "zoom": 0.25,
        "every": 11,
    }
    assert told.keys() == {each.name for each in FLAGS}
    options = []
    for name, value in told.items():
        options += [f"--{name.replace('_', '-')}", value]
    done(capsys, "train", "--data", tiny, "--out", tmp_path, *options)
    assert plans == [training.Plan(**told)]


def test_an_evaluation_says_what_scikit_learn_says(
    capsys, keras, run, tmp_path
):
    from emlib.capsules import training

    folder, _ = run
    path = tmp_path / "result.json"
    said = done(
        capsys, "evaluate", folder, "--data", "sample", "--json", path
    )
    digits = datasets.load_mnist("sample")
    images = training.normalise_images(digits.x_test)
    network = training.load(folder)
    answers = network.predict(images, verbose=0).argmax(axis=1)
    wanted = confusion_matrix(digits.y_test, answers)
    found = json.loads(path.read_text())
    assert found["confusion"] == wanted.tolist()
    right = (answers == digits.y_test).mean()
    assert found["accuracy"] == pytest.approx(right)
    assert found["source"] == "sample"
    lines = said.splitlines()
    assert f"accuracy: {right:.2%}" in lines
    for digit, (line, row) in enumerate(
        zip(lines[-10:], wanted, strict=True)
    ):
        first, error, *cells = line.split()
        assert first == str(digit)
        missed = 1 - row[digit] / row.sum()
        assert error == f"{missed:.2%}"
        assert [int(cell) for cell in cells] == row.tolist()


def test_a_folder_is_used_once_unless_resumed(capsys, run):
    folder, arguments = run
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    said = refused(capsys, *arguments)
    assert "`out` must be" in said
    assert repr(str(folder)) in said
    assert str(folder) in done(capsys, *arguments, "--resume")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_another_plan_cannot_be_resumed(capsys, run):
    _, arguments = run
    said = refused(capsys, *arguments, "--resume", "--seed", "21")
    assert "`seed` must be 20" in said
    assert "received 21" in said


def test_capsules_are_trained_and_tested(capsys, keras, tiny, tmp_path):
    folder = tmp_path / "run"
    told = ("--data", tiny, *CAPSULES, "--no-xla", "--out", folder)
    said = done(capsys, "train", *told)
    assert "100 to train on, 50 to test on" in said
    assert "margin: 0.2" in said
    assert "right in test" in said
    # What is not a terminal gets lines, and no bar drawn over itself.
    assert not {"\r", "\b", "\x1b"} & set(said)
    said = done(
        capsys,
        *("evaluate", folder, "--data", tiny),
        *("--json", tmp_path / "out.json"),
    )
    record = json.loads((tmp_path / "out.json").read_text())
    assert np.sum(record["confusion"]) == 50
    # Where the archive lies is nobody's business.
    assert record["source"] == "tiny.npz"


def test_training_with_xla_uses_it(
    capsys, keras, tiny, tmp_path, monkeypatch
):
    used = []
    step = keras.Model.train_on_batch

    def watched(self, *args, **options):
        used.append(self.jit_compile)
        return step(self, *args, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", watched)
    told = ("--data", tiny, *RIVAL, "--batch-size", 50)
    done(capsys, "train", *told, "--out", tmp_path / "run")
    assert used == [True, True]


def test_tensorboard_gets_its_events(capsys, keras, tiny, tmp_path):
    pytest.importorskip("tensorboard")
    told = ("--data", tiny, *RIVAL, "--batch-size", 50, "--no-xla")
    folder = tmp_path / "run"
    done(capsys, "train", *told, "--out", folder, "--tensorboard")
    events = [*(folder / "tensorboard").glob("events*")]
    assert len(events) == 1
    assert events[0].stat().st_size > 100


def test_a_missing_tensorboard_is_told(
    capsys, keras, tiny, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    told = ("--data", tiny, *RIVAL, "--batch-size", 50, "--no-xla")
    folder = tmp_path / "run"
    said = refused(capsys, "train", *told, "--out", folder, "--tensorboard")
    assert "ensor" in said


WRONG = {
    "preset": (["--preset", "huge"], "`preset`", "'huge'"),
    "network": (["--network", "dense"], "`network`", "'dense'"),
    "no epochs": (["--epochs", "0"], "`epochs`", "received 0"),
    "no steps": (["--every", "-1"], "`every`", "received -1"),
    "rate": (["--learning-rate", "nan"], "learning_rate`", "received nan"),
    "seed": (["--seed", "-2"], "`seed`", "received -2"),
    "batch": (["--batch-size", "101"], "`batch_size`", "received 101"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_option_is_named(capsys, keras, tiny, tmp_path, case):
    options, *words = WRONG[case]
    folder = tmp_path / "run"
    said = refused(
        capsys, "train", "--data", tiny, "--out", folder, *options
    )
    for word in ("must be", *words):
        assert word in said
    assert not folder.exists()


def test_data_that_are_not_there_are_named(capsys, keras, run, tmp_path):
    path = tmp_path / "nowhere.npz"
    for command in (
        ("train", "--out", tmp_path / "run", "--data", path),
        ("evaluate", run[0], "--data", path),
    ):
        said = refused(capsys, *command)
        assert "must be" in said
        assert f"received {str(path)!r}" in said
    assert not [*tmp_path.iterdir()]


def test_a_truncated_archive_is_named(capsys, keras, tiny, tmp_path):
    path = tmp_path / "mnist.npz"
    path.write_bytes(tiny.read_bytes()[:5000])
    folder = tmp_path / "run"
    said = refused(capsys, "train", "--data", path, "--out", folder)
    for word in (repr(str(path)), "must be", "received"):
        assert word in said
    assert not folder.exists()


@pytest.mark.parametrize(
    "more", [(), ("--resume",), ("--tensorboard",)], ids=str
)
def test_a_file_is_no_folder_for_a_run(
    capsys, keras, tiny, tmp_path, more, monkeypatch
):
    there = types.ModuleType("tensorboard")
    monkeypatch.setitem(sys.modules, "tensorboard", there)
    path = tmp_path / "run"
    path.write_text("mine")
    told = ("--data", tiny, *RIVAL, "--no-xla", "--out", path)
    said = refused(capsys, "train", *told, *more)
    assert "must" in said
    assert str(path) in said
    assert path.read_text() == "mine"


def test_a_folder_without_a_run_cannot_be_tested(capsys, keras, tmp_path):
    said = refused(capsys, "evaluate", tmp_path, "--data", "sample")
    assert f"{str(tmp_path)!r} must hold a run" in said


def test_figures_cannot_be_written_where_no_folder_is(
    capsys, keras, run, tmp_path
):
    path = tmp_path / "nowhere" / "result.json"
    said = refused(
        capsys, "evaluate", run[0], "--data", "sample", "--json", path
    )
    assert repr(str(path)) in said
    assert "must lie in a folder" in said


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(capsys, keras, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets.digits, "MNIST", "http://127.0.0.1:1/x")
    told = ("--batch-size", 9999, "--out", tmp_path / "run")
    assert main(["train", *map(str, told)]) == 2
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert first.startswith("emlib: warning: MNIST could not be downloaded")
    assert "`batch_size`" in second
    assert "data: sample, 5000 to train on" in said.out


# --- fit


def table(path, x, names=None):
    """Write a table whose numbers are exact; NaN is an empty cell."""
    lines = [",".join(names)] if names else []
    for row in x.tolist():
        lines.append(",".join("" if v != v else repr(v) for v in row))
    path.write_text("\n".join(lines) + "\n")
    return path


def points():
    return datasets.two_components(200, seed=3).x


MODELS = {
    "gaussian": (GaussianMixture, points),
    "kmeans": (KMeans, points),
    "coins": (CoinMixture, lambda: datasets.unlabelled_coins().x),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("names", [None, ["height", "width"]])
def test_a_fit_is_the_estimators(capsys, tmp_path, model, names):
    kind, draw = MODELS[model]
    path = table(tmp_path / "table.csv", draw(), names)
    labels, saved = tmp_path / "labels.csv", tmp_path / "model.json"
    said = done(
        capsys,
        *("fit", path, "--model", model, "-k", 2, "--starts", 3),
        *("--labels", labels, "--save", saved),
    )
    direct = kind(2, n_init=3, random_state=20).fit(draw())
    found = [int(line) for line in labels.read_text().splitlines()]
    assert found == direct.predict(draw()).tolist()
    loaded = kind.load(saved)
    for name in ("weights_", "means_", "cluster_centers_"):
        if hasattr(direct, name):
            np.testing.assert_array_equal(
                getattr(loaded, name), getattr(direct, name)
            )
    first = said.splitlines()[0]
    columns = ", ".join(names or ["x0", "x1"])
    assert first == f"{kind.__name__}: {len(draw())} rows, {columns}"
    best = "inertia_" if model == "kmeans" else "lower_bound_"
    assert f": {getattr(direct, best):.6g}" in said


def test_what_is_said_is_what_was_fitted(capsys, tmp_path):
    path = table(tmp_path / "table.csv", points())
    said = done(capsys, "fit", path, "-k", 2).splitlines()
    direct = GaussianMixture(2, n_init=10, random_state=20).fit(points())
    for k, line in enumerate(said[-2:]):
        a, b = direct.means_[k]
        cells = f"means {a:.6g}, {b:.6g}"
        assert line == f"  {k}: weight {direct.weights_[k]:.4f} {cells}"


def test_seed_and_starts_reach_the_estimator(capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    path, saved = table(tmp_path / "t.csv", x), tmp_path / "model.json"
    done(
        capsys,
        *("fit", path, "--model", "kmeans", "-k", 5, "--seed", 7),
        *("--starts", 1, "--save", saved),
    )
    direct = KMeans(5, n_init=1, random_state=7).fit(x)
    np.testing.assert_array_equal(
        KMeans.load(saved).cluster_centers_, direct.cluster_centers_
    )


@pytest.mark.parametrize(
    "text",
    [
        "a,b\r\n1,2\r\n3,4\r\n5,9\r\n",
        "\ufeffa,b\n1,2\n3,4\n5,9",
        " a , b \n 1 , 2 \n\n3,4\n5.0,9e0\n\n",
    ],
    ids=["windows", "excel", "spaces"],
)
def test_tables_are_read_as_they_come(capsys, tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    said = done(capsys, "fit", path, "--model", "kmeans", "-k", 1)
    assert "KMeans: 3 rows, a, b" in said
    assert "3, 5" in said


def test_gaussians_take_an_empty_cell(capsys, tmp_path):
    x = points()
    x[5, 1] = x[100, 0] = np.nan
    path, saved = table(tmp_path / "t.csv", x), tmp_path / "model.json"
    done(capsys, "fit", path, "-k", 2, "--save", saved)
    direct = GaussianMixture(2, n_init=10, random_state=20, missing="em")
    direct.fit(x)
    loaded = GaussianMixture.load(saved)
    np.testing.assert_allclose(loaded.means_, direct.means_, rtol=1e-9)


def test_kmeans_says_why_it_takes_no_empty_cell(capsys, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,\n5,6\n")
    said = refused(capsys, "fit", path, "--model", "kmeans", "-k", 1)
    assert "must be free of NaN; row 1 is [3.0, nan]" in said


TABLES = {
    "ragged": ("a,b\n1,2\n3\n", "line 3", "2 numbers", "'3'"),
    "too long": ("1,2\n3,4,5\n", "line 2", "2 numbers", "'3,4,5'"),
    "words": ("a,b\n1,2\n3,tall\n", "line 3", "2 numbers", "'3,tall'"),
    "semicolons": ("a;b\n1;2\n", "line 2", "between commas", "'1;2'"),
    "after a gap": ("a,b\n\n1,2\n3,x\n", "line 4", "numbers", "'3,x'"),
    "empty": ("", "rows of numbers", "received none"),
    "blank": ("\n\n \n", "rows of numbers", "received none"),
    "names only": ("a,b\n", "rows of numbers", "received none"),
    "not utf-8": (b"gr\xf6\xdfe,b\n1,2\n",),
}


@pytest.mark.parametrize("case", TABLES)
def test_what_is_no_table_is_refused(capsys, tmp_path, case):
    body, *words = TABLES[case]
    path = tmp_path / "t.csv"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    said = refused(capsys, "fit", path, "-k", 1)
    for word in (str(path), "must", "received", *words):
        assert word in said


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_table_that_is_not_there_is_named(capsys, tmp_path, name):
    path = tmp_path / name
    said = refused(capsys, "fit", path, "-k", 1)
    assert "`FILE` must be" in said
    assert f"received {str(path)!r}" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-k", 0], "received 0"),
        (["-k", 4], "n_components=4"),
        (["-k", 1, "--starts", 0], "received 0"),
        (["-k", 1, "--seed", -1], "`--seed` must"),
    ],
)
def test_a_number_that_cannot_be_is_told(capsys, tmp_path, options, said):
    path = table(tmp_path / "t.csv", points()[:3])
    line = refused(capsys, "fit", path, *options)
    assert "must" in line
    assert said in line


@pytest.mark.parametrize("option", ["--labels", "--save"])
def test_nothing_is_written_where_no_folder_is(capsys, tmp_path, option):
    path = table(tmp_path / "t.csv", points())
    place = tmp_path / "nowhere" / "out"
    said = refused(capsys, "fit", path, "-k", 2, option, place)
    assert str(place.parent) in said
    assert [*tmp_path.iterdir()] == [path]
