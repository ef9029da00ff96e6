# make demo      set up an environment and run the demonstration
# make test      everything that continuous integration checks
# make servers   install the servers of buckets that some tests start, as far as they can be had
# make bench     measure the figures of the README, beside their baselines
# make test-all  the slow tests too, the lowest dependencies, and each other Python at hand
#
# Each target makes the environment it needs; none has to be active. PYTHON=python3.12 picks another
# interpreter. What is installed is remembered by stamp files, so repeated runs start at once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECKED := tensorvcs cli tests $(wildcard demo) $(wildcard benchmarks)
OTHER_PYTHONS ?= python3.11 python3.12 python3.13
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# An environment, PYTHONPATH or PYTHONHOME that happens to be active must not leak in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help demo bench test test-all servers format lint types unit wheel clean

help:
	@sed -n 's/^# make /make /p' Makefile

# ---------------------------------------------------------------------------------------------
# Environments

$(VENV)/.stamp-made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Error: TensorVCS needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)" >&2; \
	  echo "Hint: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Error: '$(PYTHON)' has no venv module" >&2; \
	  echo "Hint: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml constraints.txt $(VENV)/.stamp-made
	@echo "installing TensorVCS into $(VENV) ..."
	$(BIN)/python $(PIP_INSTALL) -e '.[images,torch]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt $(VENV)/.stamp-made
	@echo "installing TensorVCS and its development tools into $(VENV) ..."
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@# The predecessor is compiled on installation; without a compiler its tests are skipped.
	@$(BIN)/python $(PIP_INSTALL) -e '.[hangar]' > $(VENV)/hangar.log 2>&1 \
	  || echo "Hangar does not compile here ($(VENV)/hangar.log); the tests of import-hangar are skipped"
	@touch $@ $(VENV)/.stamp-demo

# ---------------------------------------------------------------------------------------------
# What a person runs

demo: $(VENV)/.stamp-demo
	$(BIN)/python demo/main_job.py

test: lint types unit wheel

# The figures of the README; BENCH='--quick' for a short look.
bench: $(VENV)/.stamp-dev
	$(BIN)/python -m benchmarks $(BENCH)

format: $(VENV)/.stamp-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.stamp-dev
	$(BIN)/mypy $(CHECKED)

unit: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -q -n auto -m 'not slow'

# Without them their tests are skipped, and say why.
servers:
	@tests/tools/install_servers.sh

# The built wheel, in an environment that has nothing but what the wheel asks for.
wheel: $(VENV)/.stamp-dev
	@rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --outdir build/wheel . > build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	$(PYTHON) -m venv --clear build/wheel/venv
	build/wheel/venv/bin/python $(PIP_INSTALL) build/wheel/*.whl
	cd build/wheel && venv/bin/tvcs --version && venv/bin/tensorvcs --version \
	  && venv/bin/python -c 'import tensorvcs, tensorvcs.formats.registry as r; print(*r.format_names())'

test-all: test
	$(BIN)/python -m pytest -q -n auto -m slow || [ $$? -eq 5 ]
	@mkdir -p build
	@echo "lowest dependencies"
	$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  d = p["dependencies"] + p["optional-dependencies"]["images"] + p["optional-dependencies"]["ml-dtypes"]; \
	  print("\n".join(x.replace(">=", "==") for x in d))' > build/lowest.txt
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python $(PIP_INSTALL) -r build/lowest.txt -e . 'pytest>=8.3' 'pytest-xdist' 'hypothesis'
	build/lowest/bin/python -m pytest -q -n auto -m 'not slow' tests --ignore=tests/unit/torch --ignore=tests/docs
	@for python in $(OTHER_PYTHONS); do \
	  command -v $$python > /dev/null || continue; \
	  [ "$$($$python -V)" != "$$($(BIN)/python -V)" ] || continue; \
	  echo "$$python"; \
	  $$python -m venv --clear build/$$python; \
	  build/$$python/bin/python $(PIP_INSTALL) -e '.[dev]'; \
	  build/$$python/bin/python -m pytest -q -n auto -m 'not slow'; \
	done

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
