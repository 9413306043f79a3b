# Two commands do everything on a bare machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo

.PHONY: help demo test lint format clean

help:
	@echo "make demo    train a small teacher, distil a one-step student, enhance with both, print the table"
	@echo "make test    run the tests"
	@echo "make lint    ruff and pyright;  make format: ruff format"

# Anew when the requirements change. The environment is only marked complete once everything is in.
.venv/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rosecd_jax needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/python -m benchmarks.demo $(DEMO)

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv $(DEMO) build dist *.egg-info
