# `make demo` and `make test` need only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := tests/audio tests/diffusion tests/losses tests/models
DEMO ?= demo

.PHONY: help demo test test-slow test-all fidelity test-lowest lint format docs release clean

help:
	@echo "make demo           enhance a recording, train a tiny teacher, distill a student, print a table"
	@echo "make test           run all tests but the slow ones"
	@echo "make test-slow      run the slow tests"
	@echo "make test-all       run all tests"
	@echo "make test-lowest    run the core tests with the lowest versions that setup.cfg allows"
	@echo "make fidelity       compare with the authors' numbers and print a table"
	@echo "make lint           run ruff and pyright"
	@echo "make format         fix and format the code with ruff"
	@echo "make docs           build the documentation in build/docs"
	@echo "make release        build sdist and wheel in dist/, and test each in an empty environment"
	@echo "make clean          remove environments, builds and the demonstration"
	@echo "Options: PYTHON=python3.12 VENV=.venv-3.12 use another Python; DEMO=FOLDER is the demonstration's folder."

# The environment is rebuilt when the requirements change, and marked complete at the end. Without a compiler, the
# packages that are compiled where they are installed are left out: pesq, and what ViSQOL and simulated rooms need.
COMPILED := (pesq|libsvm|pyroomacoustics)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
$(VENV)/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rosecd_jax needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL) '.[dev]' 2> $(VENV)/install.log || { grep -qE '(Failed|building|build).*$(COMPILED)' $(VENV)/install.log \
		&& echo 'pesq cannot be built (see $(VENV)/install.log): installing without it; there will be no PESQ scores' \
		&& $(INSTALL) '.[dev-without-pesq]'; } || { cat $(VENV)/install.log; exit 1; }
	@touch $@

demo: $(VENV)/installed
	$(BIN)/python -m benchmarks.demo $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m 'not slow' --numprocesses auto --dist loadfile

test-slow: $(VENV)/installed
	XLA_FLAGS= $(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

test-all: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

fidelity: $(VENV)/installed
	$(BIN)/python -m pytest -m fidelity --quiet --numprocesses auto --dist loadfile

test-lowest: $(VENV)/installed
	$(PYTHON) -m venv $(VENV)-lowest
	$(BIN)/uv pip install --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[all,tools]'
	$(VENV)-lowest/bin/python -m pytest --numprocesses auto --dist loadfile $(CORE)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

release: $(VENV)/installed
	BIN=$(BIN) PYTHON=$(PYTHON) .ci/release

clean:
	rm -rf .venv .venv-* $(DEMO) build dist *.egg-info
