"""Runs on disk: what they were told, what they did, how far they are."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emlib.files import (
    open_atomically,
    refuse_faults,
    require_room,
    write_atomically,
)
from emlib.plan import Plan

__all__ = ["RunFolder", "require_same", "restore", "room_of", "save"]

FORMAT = "emlib run 1"


def _state(network: Any) -> list[Any]:
    """Return all variables that a step reads and writes."""
    return [*network.weights, *network.optimizer.variables]


def room_of(network: Any) -> int:
    """Return how many bytes a run of a network may take."""
    sizes = (
        keras.ops.convert_to_numpy(v.value).nbytes for v in _state(network)
    )
    return 16 * sum(sizes) + (1 << 20)


def save(path: Path, network: Any, step: int) -> None:
    """Write a checkpoint: whole, or not at all.

    Parameters
    ----------
    path : pathlib.Path
        Where; the checkpoint before it stays until this one is written.
    network : keras.Model
        Compiled; its weights and its optimiser's are written.
    step : int
        How many steps were done.

    Examples
    --------
    >>> import tempfile
    >>> from emlib.capsules.training import build_network, compile_network
    >>> network = compile_network(build_network(Plan()), Plan(), 9, False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder) / "checkpoint.npz", network, 3)
    ...     restore(Path(folder) / "checkpoint.npz", network)
    3
    """
    values = [keras.ops.convert_to_numpy(v.value) for v in _state(network)]
    parts = {f"variable_{k}": value for k, value in enumerate(values)}
    with open_atomically(path) as file:
        np.savez(file, step=np.int64(step), **parts)


def restore(path: Path, network: Any) -> int:
    """Give a network and its optimiser the state of a checkpoint.

    Parameters
    ----------
    path : pathlib.Path
        Of the checkpoint; nothing in it is executed.
    network : keras.Model
        Compiled, of the same plan.

    Returns
    -------
    int
        How many steps were done.

    Raises
    ------
    ValueError
        If the file is not a checkpoint of such a network.

    Examples
    --------
    >>> from emlib.capsules.training import build_network, compile_network
    >>> network = compile_network(build_network(Plan()), Plan(), 9, False)
    >>> restore(Path("nowhere.npz"), network)
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.npz'
    """
    state = _state(network)
    step, values = _arrays(path, len(state))
    for variable, value in zip(state, values, strict=True):
        kind = keras.backend.standardize_dtype(variable.dtype)
        if (variable.shape, kind) != (value.shape, value.dtype):
            raise ValueError(
                f"{str(path)!r} must hold {variable.path} of shape "
                f"{tuple(variable.shape)}, {kind}; received {value.shape}, "
                f"{value.dtype}. It is of another network."
            )
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return step


def _arrays(path: Path, n: int) -> tuple[int, list[Any]]:
    """Return the step of a checkpoint and its n arrays, or raise."""
    with refuse_faults(
        f"{str(path)!r} must be a checkpoint of this network, with "
        f"{n} arrays",
        "Train again in another folder.",
    ):
        with path.open("rb") as file:
            parts = dict(np.load(file, allow_pickle=False))
        step = int(parts.pop("step"))
        if step < 0:
            raise ValueError(f"its step is {step}")
        values = [parts.pop(f"variable_{k}") for k in range(n)]
        if parts:
            raise ValueError(f"it holds {len(parts)} more")
    return step, values


class RunFolder:
    """Where a run is kept: what it was told, what it did, how far it is.

    Parameters
    ----------
    path : str or os.PathLike
        Of the folder; `config.json`, `metrics.jsonl` and `checkpoint.npz`
        are written in it.

    Examples
    --------
    >>> RunFolder("nowhere").rows()
    []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoint = self.path / "checkpoint.npz"

    def begin(self, config: dict[str, Any], room: int) -> None:
        """Make the folder, with room for so many bytes, or raise."""
        if self.config.exists():
            raise ValueError(
                f"`out` must be a folder without a run; received "
                f"{str(self.path)!r}, which holds one. Resume it, or name "
                "another."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            require_room(self.path, room)
            text = json.dumps(config, indent=1) + "\n"
            write_atomically(self.config, text)
        except OSError as why:
            raise ValueError(
                f"`out` must be a folder that can be written, with room for"
                f" {room} bytes; received {str(self.path)!r} ({why})."
            ) from why

    def read(self) -> dict[str, Any]:
        """Return what the run was told, or raise."""
        with refuse_faults(
            f"{str(self.path)!r} must hold a run, begun by `emlib train`",
            missing=True,
        ):
            config = json.loads(self.config.read_bytes())
            if config["format"] != FORMAT:
                raise ValueError(f"its format is {config['format']!r}")
            config["plan"] = Plan(**config["plan"])
            if not isinstance(config["data"]["images"], int):
                raise ValueError("it does not say how many images")
        return dict(config)

    def rows(self) -> list[dict[str, Any]]:
        """Return what was recorded; a line that was cut off is not."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").splitlines(True)
        whole = [line for line in lines if line.endswith("}\n")]
        with refuse_faults(
            f"{str(self.metrics)!r} must hold a row of numbers a line",
            "Train again in another folder.",
        ):
            return [json.loads(line) for line in whole]

    def truncate(self, step: int) -> list[dict[str, Any]]:
        """Drop what was recorded after a step; return the rest."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomically(self.metrics, "".join(map(_line, kept)))
        return kept

    def record(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.writelines(map(_line, rows))


def _line(row: dict[str, Any]) -> str:
    """Return a row as it is recorded."""
    return json.dumps(row) + "\n"


def require_same(told: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise where a run is resumed that was told something else."""
    before, now = asdict(told["plan"]), config["plan"]
    before["data"], now = told["data"], {**now, "data": config["data"]}
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"`{name}` must be {before.get(name)!r}, as when the run "
                f"began; received {value!r}. Name another folder for "
                "another run."
            )
