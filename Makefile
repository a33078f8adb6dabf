.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet
# A process with one thread for each core is faster than one with several. Reordered, the longest tests would come last, alone.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed ## set up, then the full workflow on synthetic families; prints the path of its report
	$(BIN)/kinface demo

test: .venv/tests lint ## set up for tests, then run the quick tests
	$(PYTEST) -m "not slow"

test-all: .venv/tests lint ## the same with the slow tests, then build the documentation
	$(PYTEST)
	$(MAKE) docs

docs: .venv/tests ## build the documentation: docs/_build/index.html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "docs/_build/index.html"

lint: .venv/tests ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

install: .venv/installed ## set up .venv alone

clean: ## remove .venv, the demo and what was built
	rm -rf .venv demo build docs/_build docs/api/kinface docs/api/swinface *.egg-info

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "setting up .venv: a few minutes and about 6 GB"
	$(PIP) --editable '.[models]'
	touch $@

.venv/tests: .venv/installed
	$(PIP) --editable '.[test,docs]'
	touch $@

.PHONY: help demo test test-all docs lint install clean
