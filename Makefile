# The commands for people. Everything they need is installed by the first of them: Debian packages
# (scripts/system_packages.sh), a virtual environment in .venv (scripts/venv.sh), the compiled
# package (scripts/build_module.sh). Stamps in build/stamp make the second run quick: a step runs
# again when what it reads has changed.
#
#   make demo TRACE=file.csv SEED=7 CALLS=5000   the main job, all arguments optional: build/demo
#   make test      everything that has to pass; under 15 minutes on two cores, set-up included
#   make bench     the benchmarks; writes build/bench/summary.json
#   make proof     the long simulations and kill -9 proofs, fuzzers, every unit test under TSan
#   make lint      ruff, mypy --strict, clang-format, clang-tidy over everything
#   make docs      runs the code in the pages
#
# Sanitizers and other build kinds are presets: cmake --preset asan && cmake --build --preset asan
# && ctest --preset asan

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

SEED ?= 1
CALLS ?= 6000
JOBS ?= $(shell nproc)
PYTEST_ARGS ?=
FUZZ_S ?= 60
# Seeds of the simulation: in `make test`, and in `make proof`.
SIM_SEEDS ?= 500
PROOF_SEEDS ?= 10000

VENV := .venv/bin
STAMP := build/stamp
# Two checkouts share what ccache has compiled.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_SLOPPINESS := time_macros

CPP_SOURCES := $(shell find src/cpp -name '*.cc' -o -name '*.h' 2>/dev/null)
PYTHON_FILES := $(shell find src/python -name '*.py' 2>/dev/null)
# Rooms whose objects are shared between threads: what ThreadSanitizer looks at in `make test`.
TSAN_ROOMS ?= limits;cache;store;http;engine

.PHONY: help setup demo test bench proof lint docs clean distclean stubs \
        test-python test-cpp test-tsan test-simulation lint-python lint-cpp lint-cpp-all

help:
	@sed -n 's/^#   make/  make/p' $(firstword $(MAKEFILE_LIST)); \
	echo '  make setup     only what make test installs and builds'; \
	echo '  make stubs     writes src/python/sluiceway/_core.pyi from the built module'; \
	echo '  make clean     removes build/ (make distclean: .venv too)'

# --- what has to be there

$(STAMP)/system-%: scripts/lib.sh scripts/system_packages.sh scripts/backports_source.py
	@scripts/system_packages.sh $(subst -, ,$*)
	@mkdir -p $(@D) && touch $@

# The environment holds a group of packages; `dev` has everything that `demo` has.
.venv/.stamp-dev: pyproject.toml scripts/venv.sh | $(STAMP)/system-build
	@scripts/venv.sh dev
	@touch $@ .venv/.stamp-demo

# A peer that cannot be installed leaves no row; the others do.
.venv/.stamp-bench: .venv/.stamp-dev
	@scripts/venv.sh bench && touch $@ || echo 'some peers are missing, and so will their rows be' >&2

.venv/.stamp-demo: pyproject.toml scripts/venv.sh | $(STAMP)/system-build
	@scripts/venv.sh demo
	@touch $@

# The list of Python files is an input too: a new file has to be known to the editable install.
$(STAMP)/python-files: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(sort $(PYTHON_FILES)) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(STAMP)/module: $(CPP_SOURCES) CMakeLists.txt pyproject.toml scripts/build_module.sh
$(STAMP)/module: $(STAMP)/python-files | .venv/.stamp-demo
	@scripts/build_module.sh
	@touch $@

.PHONY: FORCE
FORCE:

setup: $(STAMP)/system-build-test .venv/.stamp-dev $(STAMP)/module

# --- the main job

demo: .venv/.stamp-demo $(STAMP)/module
	@$(VENV)/sluiceway demo $(if $(TRACE),--trace "$(TRACE)") \
	  --seed $(SEED) --calls $(CALLS) --out build/demo

# --- tests

# The order is from quick to slow; pytest's summary closes the run.
test: setup
	@$(MAKE) lint-python
	@$(MAKE) lint-cpp
	@$(MAKE) test-cpp
	@$(MAKE) test-tsan
	@$(MAKE) test-simulation
	@$(MAKE) test-python

test-python: setup
	@echo '==> Python tests' >&2
	@$(VENV)/python -m pytest $(PYTEST_ARGS)

# Every C++ unit test, under AddressSanitizer and UndefinedBehaviorSanitizer.
test-cpp: $(STAMP)/system-build-test
	@echo '==> C++ unit tests under ASan and UBSan' >&2
	@cmake --preset asan --log-level=WARNING >/dev/null
	@cmake --build --preset asan -j $(JOBS)
	@scripts/ctest.sh asan

# The concurrent rooms' unit tests under ThreadSanitizer. Tests that fork are left out by the
# preset: the sanitizer does not support threads in a forked child; ASan runs them.
test-tsan: $(STAMP)/system-build-test
	@echo '==> C++ unit tests under TSan (rooms: $(TSAN_ROOMS))' >&2
	@cmake --preset tsan --log-level=WARNING -DSLUICEWAY_TEST_ROOMS="$(TSAN_ROOMS)" >/dev/null
	@cmake --build --preset tsan -j $(JOBS)
	@scripts/ctest.sh tsan

# The whole engine on a simulated machine, a seed a run; SLUICEWAY_SIM_BASE sets the first seed.
test-simulation: $(STAMP)/system-build-test
	@scripts/simulation.sh $(SIM_SEEDS)

# --- other checks

lint: lint-python lint-cpp-all

lint-python: setup
	@echo '==> ruff and mypy' >&2
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check --quiet .
	@$(VENV)/mypy

# clang-tidy takes seconds a file: `make test` looks at the rooms of money and limits, `make lint`
# at everything.
lint-cpp: $(STAMP)/system-build-test
	@scripts/clang_checks.py --rooms base cost limits

lint-cpp-all: $(STAMP)/system-build-test .venv/.stamp-dev
	@scripts/clang_checks.py

proof: setup $(STAMP)/system-build-test-fuzz
	@$(MAKE) test-tsan TSAN_ROOMS=all
	@scripts/simulation.sh $(PROOF_SEEDS)
	@scripts/fuzz.sh $(FUZZ_S)
	@echo '==> long proofs' >&2
	@SLUICEWAY_PROOF=1 $(VENV)/python -m pytest tests/simulation tests/python/machines \
	  $(PYTEST_ARGS)

# The pages' code is run by tests; this runs those alone.
docs: setup
	@$(VENV)/python -m pytest -k "docs or readme" tests/python

bench: setup $(STAMP)/system-build-bench .venv/.stamp-bench
	@echo '==> benchmarks' >&2
	@cmake --preset bench --log-level=WARNING >/dev/null
	@cmake --build --preset bench -j $(JOBS)
	@mkdir -p build/bench
	@SLUICEWAY_BENCH_CPP=$(CURDIR)/build/bench-cpp $(VENV)/python -m pytest benchmarks $(PYTEST_ARGS)
	@test -s build/bench/summary.json && echo 'written: build/bench/summary.json'

stubs: setup
	@scripts/stubs.sh src/python/sluiceway/_core.pyi

clean:
	@rm -rf build

distclean: clean
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
