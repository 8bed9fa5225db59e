# SPDX-License-Identifier: BSD-3-Clause
#
# Everything runs in .venv, made here with Python's own venv and the exact versions of
# constraints.txt. CMake and Ninja come from there too: a machine needs python3, make and a C++ compiler.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Files of tests run side by side, one process a core; PYTEST_ARGS='-n 0' runs them in turn.
PYTEST_WORKERS := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
BENCH_ARGS ?=

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
INSTALL := $(PIP) --no-build-isolation

NATIVE := setup.py CMakeLists.txt pyproject.toml $(shell find csrc -type f)
CXX_FILES := $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

# A demo run needs the CUDA half only where it can run; the tests also compile it where it cannot.
DRIVER := $(strip $(shell command -v nvidia-smi 2>/dev/null) $(wildcard /proc/driver/nvidia/version))
DEMO_CUDA := $(if $(DRIVER),auto,0)

.DEFAULT_GOAL := help
.PHONY: help demo test proof lint format wheel sdist bench bench-report bench-suite calibrate bench-memory clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMPS)/demo ## blur a photograph, restore it, and write the pictures and report.json into out/
	$(BIN)/blurops demo -o out

test: $(STAMPS)/test ## build everything and run the test suite
	$(BIN)/python -m pytest $(PYTEST_WORKERS) $(PYTEST_ARGS)

proof: $(STAMPS)/test ## plant bugs that the suite must catch, run every CUDA instance in emulation, and the native tests under sanitizers
	$(BIN)/python proof/run.py
	$(BIN)/python proof/kernels.py
	$(BIN)/python proof/sanitizers.py

lint: $(STAMPS)/lint ## check style, Python and C++
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(STAMPS)/lint ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

wheel: $(STAMPS)/tools ## build a wheel into dist/
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip wheel --no-build-isolation --no-deps -w dist .

sdist: $(STAMPS)/tools ## build a source archive into dist/
	$(BIN)/python -c 'from setuptools.build_meta import build_sdist; print(build_sdist("dist"))'

bench: $(STAMPS)/bench ## time blurops beside the baselines, write benchmarks/results/ (about forty minutes on two idle cores)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-report: $(STAMPS)/bench ## make the tables and plots from the rows of make bench, and judge them
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.targets

# Other packages' warnings are no failures here.
bench-suite: $(STAMPS)/bench ## time the contenders under pytest-benchmark
	$(BIN)/python -m pytest benchmarks/test_suite.py -o filterwarnings=default --benchmark-sort=mean \
	  --benchmark-columns=min,median,rounds $(PYTEST_ARGS)

calibrate: $(STAMPS)/test ## refit the constants by which method="auto" picks (five minutes, idle machine)
	$(BIN)/python benchmarks/calibrate.py

bench-memory: $(STAMPS)/test ## measure the peak memory of the native path at 4096x4096x3
	$(BIN)/python benchmarks/memory.py

clean: ## remove builds and results, keep the environment
	rm -rf build dist out *.egg-info blurops/_C*.so .pytest_cache .ruff_cache .hypothesis
	rm -f $(STAMPS)/demo $(STAMPS)/test

distclean: clean ## remove the environment too
	rm -rf $(VENV)

$(STAMPS)/tools: constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"blurops needs Python 3.11 or later, $(PYTHON) is {v.major}.{v.minor}")'
	@echo 'make: creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@$(PIP) setuptools cmake ninja pybind11
	@touch $@

# Without a C++ compiler, setup.py installs the slower torch paths. It says so, but pip keeps that to itself.
REPORT := @ls blurops/_C*.so >/dev/null 2>&1 || echo 'blurops: no C++ compiler found; only the slower torch paths are installed'

$(STAMPS)/demo: $(STAMPS)/tools $(NATIVE)
	@echo 'make: installing the versions of constraints.txt, building the native module'
	@BLUROPS_CUDA=$${BLUROPS_CUDA:-$(DEMO_CUDA)} $(INSTALL) -e .
	$(REPORT)
	@touch $@

# This build serves the demo too, not the other way round.
$(STAMPS)/test: $(STAMPS)/tools $(NATIVE)
	@echo 'make: installing the versions of constraints.txt, building the native module'
	@BLUROPS_CUDA=$${BLUROPS_CUDA:-auto} $(INSTALL) -e '.[test]'
	$(REPORT)
	@touch $(STAMPS)/demo $@

$(STAMPS)/bench: $(STAMPS)/test
	@$(PIP) pytest-benchmark
	@touch $@

$(STAMPS)/lint: $(STAMPS)/tools
	@$(PIP) ruff clang-format
	@touch $@
