"""Run the tests of capsules on each backend of Keras that can be had.

`make test-backends` runs this. The environment is .venv-backends: what
uv.lock says for the tests, and JAX and PyTorch from outside it, for CPUs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = [
    "tests/capsules/test_layers_reference.py",
    "tests/capsules/test_capsule_laws.py",
    "tests/capsules/test_capsule_numbers.py",
    "tests/capsules/test_capsule_keras.py",
    "tests/capsules/test_capsule_mutants.py",
    "tests/capsules/test_network.py",
]
# PyTorch's operators refuse the arrays that these files give the package.
ARRAYS = [
    "tests/capsules/test_routing.py",
    "tests/capsules/test_votes.py",
    "tests/capsules/test_layers.py",
    "tests/capsules/test_losses.py",
    "tests/capsules/test_fast.py",
]
TORCH = "torch==2.13.0"
# What NumPy 2 asks of arrays, and PyTorch's do not have yet.
TOLD = "ignore:__array_wrap__ must accept context:DeprecationWarning"


def tried(*command: object, **more: str) -> str:
    """Run a command; return why it failed, or nothing."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stderr or done.stdout).strip().splitlines()
    return (lines or ["no reason given"])[-1] if done.returncode else ""


def made(env: Path, uv: str) -> dict[str, str]:
    """Make the environment; return why each backend cannot be had."""
    python = env / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
    sync = tried(
        uv,
        *("sync", "--locked", "--inexact", "--no-default-groups"),
        *("--group", "test", "--quiet"),
        UV_PROJECT_ENVIRONMENT=str(env),
        UV_PYTHON_DOWNLOADS="never",
    )
    if sync:
        sys.exit(f"the locked packages cannot be had: {sync}")
    pip = uv, "pip", "install", "--quiet", "--python", python
    # A plain `torch` brings gigabytes of CUDA: ask for CPU builds only.
    local = tried(
        *(python, "-m", "pip", "install", "--quiet"),
        *("--retries", "0", f"{TORCH}+cpu"),
    )
    torch = local and tried(*pip, "--torch-backend", "cpu", TORCH)
    return {
        "tensorflow": "",
        "jax": tried(*pip, "jax"),
        "torch": torch and f"no build for CPUs: {local}; {torch}",
    }


def tested(python: Path, backend: str, options: list[str]) -> bool:
    """Return whether the tests pass on a backend."""
    warnings = ["-W", TOLD] if backend == "torch" else []
    files = TESTS if backend == "torch" else [*TESTS, *ARRAYS]
    command = [python, "-m", "pytest", "-q", *files, *warnings, *options]
    return not subprocess.run(
        command, cwd=ROOT, env=ways(backend)
    ).returncode


def ways(backend: str) -> dict[str, str]:
    """Return the environment of a process on a backend."""
    return os.environ | {
        "KERAS_BACKEND": backend,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(ROOT),
    }


def main() -> int:
    """Test on each backend, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", type=Path, default=ROOT / ".venv-backends")
    parser.add_argument("--uv", default=Path(sys.executable).parent / "uv")
    parser.add_argument("options", nargs="*", help="of pytest, after --")
    asked = parser.parse_args()
    missing = made(asked.env, str(asked.uv))
    python, wrong = asked.env / "bin" / "python", []
    for backend, why in missing.items():
        print(f"== {backend}: " + (f"skipped, {why}" if why else "tests"))
        if not why and not tested(python, backend, asked.options):
            wrong.append(backend)
    compare = [python, ROOT / "tests" / "backends" / "compare.py"]
    sys.stdout.flush()
    apart = subprocess.run(compare, env=ways("tensorflow")).returncode
    if wrong:
        print(f"== tests failed on {', '.join(wrong)}")
    return 1 if wrong or apart else 0


if __name__ == "__main__":
    sys.exit(main())
