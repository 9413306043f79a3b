# Two commands do everything on a bare machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := tests/audio tests/diffusion tests/losses tests/models
DEMO ?= demo

.PHONY: help demo test test-slow test-all fidelity test-lowest lint format docs release clean

help:
	@echo "make demo    train a small teacher, distil a one-step student, enhance with both, print the table"
	@echo "make test    run the tests but the slow ones (with another Python: make test PYTHON=python3.12 VENV=.venv-3.12)"
	@echo "make test-slow    run these;  make test-all: every test"
	@echo "make fidelity    compare everything with the authors' numbers and print the table"
	@echo "make test-lowest    run the tests of the core with the lowest versions that setup.cfg allows"
	@echo "make lint    ruff and pyright;  make format: ruff format"
	@echo "make docs    build the documentation into build/docs"
	@echo "make release    build sdist and wheel into dist/ and try both where there is nothing else"

# Again when the requirements change. The environment is only marked complete once everything is in. Only pesq is
# compiled while it is installed; where there is no C compiler, there is everything else.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
$(VENV)/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rosecd_jax needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL) '.[dev]' 2> $(VENV)/install.log || { grep -qE '(Failed|building|build).*pesq' $(VENV)/install.log \
		&& echo 'pesq cannot be built here (see $(VENV)/install.log): installing without; there will be no PESQ scores' \
		&& $(INSTALL) '.[dev-without-pesq]'; } || { cat $(VENV)/install.log; exit 1; }
	@touch $@

demo: $(VENV)/installed
	$(BIN)/python -m benchmarks.demo $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m 'not slow' --numprocesses auto --dist loadfile

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

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
