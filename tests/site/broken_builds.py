"""Break a small book in each way that must end its build, and see it end.

A check must be seen to fail. The small book is built by the real
configuration and extensions, in a temporary copy of the project.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from processes import PROCESSES, side_by_side

ROOT = Path(__file__).parents[2]
PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
---

(small)=
# A small book

```{math}
:label: eq-small-one
a = \\frac{b}{c} .
```

```{code-cell} python
---
mystnb:
  figure:
    name: fig-small
    caption: A drawing.
  image:
    alt: A loop of two boxes.
---
from emlib import figures

figure, axes = figures.canvas()
figures.loop_diagram(axes)
```

See {numref}`fig-small`, {eq}`eq-small-one`, {ref}`small` and
[more](more.md).
"""
TEST = """import pytest


@pytest.mark.equation("eq-small-one")
def test_one():
    assert 6 / 3 == 2
"""
TOC = """format: jb-book
root: book/index
chapters:
  - file: book/equations
  - file: book/more
"""


class Break(NamedTuple):
    """Words of a file, what stands in their place, and what is said."""

    file: str
    words: str
    instead: str
    said: str


BREAKS = {
    "a failing cell": Break(
        "page",
        "figures.canvas()",
        "figures.canvas(1 / 0)",
        "ZeroDivisionError",
    ),
    "noise on stderr": Break(
        "page",
        "from emlib",
        "import sys; print('noise', file=sys.stderr)\nfrom emlib",
        "stderr was found in the cell outputs",
    ),
    "an equation without a test": Break(
        "page",
        "eq-small-one",
        "eq-small-two",
        'equation "eq-small-two" has no test',
    ),
    "a mark without an equation": Break(
        "test",
        '"eq-small-one")',
        '"eq-small-one")\n@pytest.mark.equation("eq-small-no")',
        'the mark "eq-small-no" of test_one names no equation',
    ),
    "an equation with a label of another form": Break(
        "page",
        "eq-small-one",
        "small_one",
        'equation "small_one" must be labelled',
    ),
    "TeX that cannot be read": Break(
        "page", "\\frac{b}{c}", "\\frac{b}{c", "TeX that KaTeX cannot read"
    ),
    "a reference to nothing": Break(
        "page",
        "{ref}`small`",
        "{ref}`nothing`",
        "undefined label: 'nothing'",
    ),
    "a link to nothing": Break(
        "page",
        "See ",
        "[See](nothing.md) ",
        "cross-reference target not found: 'nothing.md'",
    ),
    "a picture without alt text": Break(
        "page",
        "  image:\n    alt: A loop of two boxes.\n",
        "",
        "a picture needs alt text in words (three or more); got ''",
    ),
    "a file name for alt text": Break(
        "page", "A loop of two boxes.", "loop.svg", "got 'loop.svg'"
    ),
    "a page left out of the contents": Break(
        "toc",
        "  - file: book/more\n",
        "",
        "Unknown source document 'book/more'",
    ),
}


def small_book(folder: Path) -> dict[str, Path]:
    """Copy what a build needs, with one page and one test of its own."""
    names = ("emlib", "book/_ext", "book/references.bib", "_config.yml")
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    (folder / "tests").mkdir()
    (folder / "book/more.md").write_text("# More\n")
    shutil.copy(ROOT / "book/equations.md", folder / "book/equations.md")
    files = {
        "page": "book/index.md",
        "test": "tests/test_x.py",
        "toc": "_toc.yml",
    }
    return {kind: folder / name for kind, name in files.items()}


def build(folder: Path) -> tuple[int, str]:
    """Build as `make book` does, on the warm tree of the build before."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "-W", "-n", "--keep-going", "--all"]
    log = folder / "log"
    with log.open("w") as file:
        status = subprocess.call(
            command, cwd=folder, stdout=file, stderr=file
        )
    return status, log.read_text(encoding="utf-8")


def problem(
    folder: Path, files: dict[str, Path], broken: str | None
) -> str:
    """Say what is amiss with how a build of this book ends, or nothing."""
    texts = {"page": PAGE, "test": TEST, "toc": TOC}
    if broken:
        kind, words, instead, _ = BREAKS[broken]
        assert words in texts[kind]
        texts[kind] = texts[kind].replace(words, instead)
    for kind, text in texts.items():
        files[kind].write_text(text, encoding="utf-8")
    status, log = build(folder)
    if not broken:
        return f"exit {status}: {log}" if status else ""
    told = status and BREAKS[broken].said in log
    return "" if told else f"exit {status}: {log}"


def failures(names: list[str | None]) -> int:
    """Build a book of its own in each of these ways."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = small_book(folder)
        for broken in names:
            found = problem(folder, files, broken)
            what = broken or "a sound book"
            print("FAILED" if found else "ok", what, found, flush=True)
            failed += bool(found)
    return failed


def main() -> int:
    names = [*BREAKS]
    parts = [
        [None, *names[first::PROCESSES], None] for first in range(PROCESSES)
    ]
    failed = sum(side_by_side(failures, parts))
    print(f"{sum(map(len, parts)) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
