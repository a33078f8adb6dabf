.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed ## set up, then the whole job on synthetic families; ends by naming its report
	$(BIN)/kinface demo

test: .venv/tests ## set up with what tests need, then run them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pytest

install: .venv/installed ## set up .venv alone

clean: ## remove .venv and the demo
	rm -rf .venv demo build *.egg-info

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "setting up .venv: a few minutes and about 6 GB"
	$(BIN)/pip install --quiet --editable '.[models]'
	touch $@

.venv/tests: .venv/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

.PHONY: help demo test install clean
