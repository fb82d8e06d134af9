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

See {numref}`fig-small`, {eq}`eq-small-one` and {ref}`small`.
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
"""
# What is broken: the file, the words, and what stands in their place.
BREAKS = {
    "a failing cell": ("page", "figures.canvas()", "figures.canvas(1 / 0)"),
    "noise on stderr": (
        "page",
        "from emlib",
        "import sys; print('noise', file=sys.stderr)\nfrom emlib",
    ),
    "an equation without a test": ("page", "eq-small-one", "eq-small-two"),
    "a mark without an equation": (
        "test",
        '"eq-small-one")',
        '"eq-small-one")\n@pytest.mark.equation("eq-small-no")',
    ),
    "an equation with a label of another form": (
        "page",
        "eq-small-one",
        "small_one",
    ),
    "TeX that cannot be read": ("page", "\\frac{b}{c}", "\\frac{b}{c"),
    "a reference to nothing": ("page", "{ref}`small`", "{ref}`nothing`"),
    "a link to nothing": ("page", "See ", "[See](nothing.md) "),
    "a picture without alt text": ("page", "alt: A loop of two boxes.", ""),
    "a file name for alt text": (
        "page",
        "A loop of two boxes.",
        "loop.svg",
    ),
    "a page left out of the contents": (
        "toc",
        "  - file: book/equations",
        "",
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
    shutil.copy(ROOT / "book/equations.md", folder / "book/equations.md")
    files = {
        "page": "book/index.md",
        "test": "tests/test_x.py",
        "toc": "_toc.yml",
    }
    return {kind: folder / name for kind, name in files.items()}


def build(folder: Path) -> int:
    """Build as `make book` does, on the warm tree of the build before."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "-W", "-n", "--keep-going", "--all"]
    log = (folder / "log").open("w")
    return subprocess.call(command, cwd=folder, stdout=log, stderr=log)


def outcome(
    folder: Path, files: dict[str, Path], broken: str | None
) -> int:
    texts = {"page": PAGE, "test": TEST, "toc": TOC}
    if broken:
        kind, words, instead = BREAKS[broken]
        assert words in texts[kind]
        texts[kind] = texts[kind].replace(words, instead)
    for kind, text in texts.items():
        files[kind].write_text(text, encoding="utf-8")
    return build(folder)


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = small_book(folder)
        for broken in [None, *BREAKS, None]:
            status = outcome(folder, files, broken)
            expected = (status == 0) == (broken is None)
            wrong += not expected
            verdict = "as it must" if expected else "WRONG"
            print(f"{broken or 'a sound book'}: exit {status}, {verdict}")
    print(f"{len(BREAKS) + 2 - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
