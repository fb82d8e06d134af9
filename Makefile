# Two commands from a bare Python 3.11, 3.12 or 3.13: `make book` and `make test`.
# Each sets up everything it needs in .venv, from uv.lock, and says so.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# The certificates this machine trusts, as pip uses them: a proxy may have its own.
export UV_SYSTEM_CERTS ?= 1
unexport VIRTUAL_ENV

.PHONY: help setup book test test-backends test-checker lint check-site serve bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1 \t/p' $(MAKEFILE_LIST)

setup: .venv/ready ## make .venv with the versions of uv.lock

.venv/ready: uv.lock pyproject.toml Makefile
	@echo "== setting up .venv from uv.lock (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "emlib needs Python 3.11, 3.12 or 3.13; %s is %d.%d. Name another: make PYTHON=python3.12" % ((sys.executable,) + v))'
	$(PYTHON) -m venv --upgrade-deps .venv && $(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv sync --locked --inexact --quiet && touch $@

book: setup ## build the book, everything executed fresh, into _build/html
	@rm -rf _build/html _build/.doctrees _build/jupyter_execute
	@echo "== building the book; every cell runs, every warning is an error"
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@echo "== open _build/html/index.html in a browser"

test: setup ## run the tests
	@echo "== running the tests"
	$(BIN)/python -m pytest

test-backends: setup ## run the tests of capsules on TensorFlow, JAX and PyTorch, in .venv-backends
	$(BIN)/python tests/backends/run.py

test-checker: setup ## see broken sites and broken builds fail; for changes of what checks the site
	$(BIN)/python tests/site/self_test.py
	$(BIN)/python tests/site/broken_builds.py

lint: setup ## check form, types and spelling
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/codespell

check-site: setup ## walk the built book in headless Chromium
	$(BIN)/python tests/site/check_site.py _build/html

serve: setup ## build with cached cells (keyed on the package's source) and serve the book
	EMLIB_BOOK_CACHE=1 $(BIN)/jupyter-book build . && $(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html 8000

bench: setup ## run the benchmarks; they write benchmarks/RESULTS.md
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean: ## remove what was built, and .venv
	rm -rf _build .cache .venv .venv-backends
