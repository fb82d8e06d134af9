"""What a page loads, and how its cells are run."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.config import Config

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KERNEL = """\
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {"bbox_inches": None}
c.InlineBackend.rc = {}
c.HistoryManager.enabled = False
"""
THEBE = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*'
    r"<script>kernelName = .*?</script>",
    re.DOTALL,
)
# Names that docstrings mention and that no page of this book explains.
ELSEWHERE = [
    ("py:exc", "numpy.linalg.LinAlgError"),
    ("py:class", "numpy.float64"),
]
GLUED = re.compile(r'(?<=<span class="pasted-text">)[^<]*')
# What extensions write, and browsers and readers of screens stumble over.
MENDED = [
    (THEBE, ""),
    (re.compile(r' id="(exercise|solution|proof)(-content)?"'), ""),
    (re.compile(r'<th class="head">(<p></p>)?</th>'), "<td></td>"),
    (re.compile(r' role="doc-biblioentry"'), ""),
    (re.compile(r'(<div) role="list"( class="citation-list")'), r"\1\2"),
]
# Numbers that cells computed are set as the formulas beside them are.
PRINTED = [
    (re.compile(r"(?<=\d)e-0*(\d+)"), r" × 10<sup>−\1</sup>"),
    (re.compile(r"(?<=\d)e\+0*(\d+)"), r" × 10<sup>\1</sup>"),
    (re.compile(r"(?<![\w.])-(?=\d)"), "−"),
]
ENTRANCE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=book/index.html">
<title>From Coin Flips to Capsules</title>
<link rel="icon" href="data:,">
</head>
<body>
<h1>From Coin Flips to Capsules</h1>
<p><a href="book/index.html">To the first page</a></p>
</body>
</html>
"""
UNWANTED = ("fontawesome", "thebe", "mathjax", "require.js", "design-tabs")


def digest() -> str:
    """Return a hash of the package, which keys the cached cells."""
    total = hashlib.sha256()
    for path in sorted(ROOT.glob("emlib/**/*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def prepare_kernels(app: Sphinx, config: Config) -> None:
    """Set what kernels inherit: vector figures, and a quiet TensorFlow."""
    profile = ROOT / "_build" / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(KERNEL)
    os.environ["IPYTHONDIR"] = str(profile.parent)
    # Small products wake BLAS' threads for nothing; on a busy machine they
    # then wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    config.notfound_urls_prefix = os.environ.get("EMLIB_SITE_PREFIX", "/")
    config.html_theme_options |= {
        "logo": {"text": config.html_title, "alt_text": ""},
        "pygments_dark_style": "github-dark",
        # Else a bar above the page, not shown, holds buttons of the same
        # names, and the scripts would take those for the page's own.
        "navbar_persistent": [],
    }
    repository = os.environ.get("EMLIB_REPOSITORY")
    if repository:
        config.html_theme_options |= {
            "repository_url": repository,
            "use_repository_button": True,
            "use_issues_button": True,
        }
    config.templates_path.append(str(HERE / "templates"))
    if os.environ.get("EMLIB_BOOK_CACHE"):
        config.nb_execution_mode = "cache"
        config.nb_execution_cache_path = str(
            ROOT / ".cache/cells" / digest()
        )


def furnish(app: Sphinx, config: Config) -> None:
    """Give each page its key to the notation and its link for mistakes."""
    config.html_theme_options |= {
        "article_header_end": [
            "notation-key.html",
            "article-header-buttons.html",
        ],
        "footer_content_items": [
            "mistake.html",
            "author.html",
            "copyright.html",
            "last-updated.html",
            "extra-footer.html",
        ],
    }
    repository = os.environ.get("EMLIB_REPOSITORY", "")
    config.html_theme_options.setdefault("repository_url", repository)


def add_files(app: Sphinx) -> None:
    app.config.html_static_path += [
        str(HERE / "static"),
        str(HERE / "katex"),
    ]


def wanted(asset: Any) -> bool:
    name = str(getattr(asset, "filename", asset) or "")
    body = str(getattr(asset, "attributes", {}).get("body", ""))
    return not any(word in name or word in body for word in UNWANTED)


def trim(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    tree: Any,
) -> None:
    """Keep off a page what it does not use, and add what it does."""
    if 'class="interactive"' in context.get("body", ""):
        app.add_js_file("interactive.js", loading_method="defer")
        context["script_files"] = app.builder.script_files
    if 'class="beside' in context.get("body", ""):
        app.add_css_file("beside.css", priority=903)
    for kind in ("script_files", "css_files"):
        context[kind] = [a for a in context.get(kind, []) if wanted(a)]
    context["default_mode"] = "light"
    if page == "search":  # it holds a field of its own
        bars = context.get("sidebars", [])
        context["sidebars"] = [bar for bar in bars if "search" not in bar]
    body = context.get("body", "")
    for wrong, right in MENDED:
        body = wrong.sub(right, body)
    body = GLUED.sub(printed, body)
    context["body"] = STACKED.sub(headed, body)


def printed(found: re.Match[str]) -> str:
    """Return what a cell computed with its numbers as print has them."""
    text = found[0]
    for pattern, sign in PRINTED:
        text = pattern.sub(sign, text)
    return text


STACKED = re.compile(
    r'<table class="[^"]*\bstacked\b.*?</table>', re.DOTALL
)


def headed(table: re.Match[str]) -> str:
    """Return the table with its column's head in every cell's tag."""
    soup = BeautifulSoup(table[0], "html.parser")
    heads = [cell.get_text(" ", strip=True) for cell in soup.select("th")]
    for row in soup.select("tbody tr"):
        for cell, head in zip(row.select("td"), heads, strict=True):
            cell["data-head"] = head
    return str(soup)


def is_not_ours(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out bare tuple fields and what scikit-learn adds."""
    doc = str(getattr(thing, "__doc__", ""))
    bare = doc.startswith("Alias for field number")
    return True if bare or re.fullmatch("set_.*_request", name) else None


def write_entrance(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the folder's own address to the first page."""
    if exception is None:
        Path(app.outdir, "index.html").write_text(
            ENTRANCE, encoding="utf-8"
        )


def forgive(app: Sphinx, config: Config) -> None:
    """Let names of other packages stand without a link."""
    config.nitpick_ignore = [*config.nitpick_ignore, *ELSEWHERE]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_css_file("icons.css", priority=900)
    app.add_css_file("house.css", priority=901)
    app.add_css_file("aids.css", priority=902)
    app.add_css_file("look.css", priority=902)
    app.add_js_file("aids.js", loading_method="defer")
    app.add_js_file("scroll.js", loading_method="defer")
    app.connect("config-inited", prepare_kernels, priority=100)
    app.connect("config-inited", furnish, priority=800)
    app.connect("config-inited", forgive)
    app.connect("builder-inited", add_files)
    app.connect("html-page-context", trim, priority=900)
    app.connect("autodoc-skip-member", is_not_ours)
    app.connect("build-finished", write_entrance)
    return {"parallel_read_safe": True}
