# Everything happens in .venv, which the first target that needs it creates; stamps make later calls instant.
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Python compiles what is imported when it is imported, which is a tenth of what is installed.
INSTALL := $(PIP) install -qq --no-compile
# Tests over DDS wait more than they compute: more processes than cores. In the order of test/conftest.py: pytest-xdist's
# own leaves the longest tests for the end, where the other processes wait. A process that crashes ends the run: with one
# started in its place, pytest-xdist can wait for ever.
PYTEST = $(BIN)/python -m pytest -q --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -n $$(($$(nproc) + $(MORE)))
MORE := 1
METADATA := setup.cfg setup.py pyproject.toml
JAZZY := .venv-jazzy
N := 20
PYTHON_JAZZY ?= python3.12
CREATED := $(VENV)/.created
RUNNING := $(VENV)/.running
DEVELOPING := $(VENV)/.developing
COMPILED := $(VENV)/.compiled

# A virtual environment or a sourced ROS installation around make must not leak into ours. What is installed without
# bytecode would be compiled by every process anew.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help faults audit sbom constraints coverage mutation demo test test-quick test-dds test-jazzy soak site setup lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNNING) ## play real driving video through the ROS 2 node and show what it finds
	$(BIN)/m2a demo

test: $(DEVELOPING) ## lint, type checks and every test, on all cores
	@$(MAKE) --no-print-directory lint & $(MAKE) --no-print-directory $(COMPILED); $(PYTEST); tests=$$?; \
	wait $$! || { echo "make lint failed, see above" >&2; exit 1; }; exit $$tests

test-quick: MORE := 0
test-quick: $(DEVELOPING) ## tests that need neither DDS nor a quarter of a second each, few examples of each property
	$(PYTEST) -m 'not dds and not slow' --hypothesis-profile quick

test-dds: MORE := 2
test-dds: $(DEVELOPING) ## the tests over DDS N times in a row (N=20), to find races
	@for round in $$(seq $(N)); do \
	  echo "round $$round of $(N)"; $(PYTEST) -m dds || exit 1; done

test-jazzy: $(JAZZY)/.ready ## tests of the node and of replay with ROS 2 Jazzy instead of Kilted; needs python3.12
	$(JAZZY)/bin/python -m pytest -q test/ros test/replay test/demo

faults: $(DEVELOPING) ## the fault campaign: hostile messages, files, parameters, sequences, signals (FAULTS="--scale 0.1")
	$(BIN)/python -m test.faults $(FAULTS)

audit: $(CREATED) ## look every pinned release up in the Python advisory database (needs the internet)
	$(PIP) install -qq 'pip-audit==2.10.*'
	@for pins in constraints.txt docker/python-cuda12.txt docker/python-cuda13.txt; do echo "$$pins:"; \
	  $(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$pins || exit 1; done

RELEASED := build/released
sbom: $(CREATED) ## write build/sbom.cdx.json: what a release installs, as CycloneDX
	$(PIP) install -qq 'cyclonedx-bom==7.*'
	$(PYTHON) -m venv --clear $(RELEASED)
	$(RELEASED)/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -r constraints.txt
	$(RELEASED)/bin/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation .
	printf '[project]\nname = "m2a_ros"\nversion = "%s"\nlicense = "Apache-2.0"\n' \
	  "$$($(BIN)/python -c 'from m2a_core import __version__; print(__version__)')" > $(RELEASED)/released.toml
	$(BIN)/cyclonedx-py environment $(RELEASED) --pyproject $(RELEASED)/released.toml --output-reproducible -o build/sbom.cdx.json

# One resolution for all Pythons and platforms; hashes of every file that may fit.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --custom-compile-command 'make constraints'
constraints: $(CREATED) ## pin what a release and the containers install, with hashes (newer versions: UPGRADE=--upgrade)
	$(PIP) install -qq 'uv==0.13.*'
	printf 'setuptools\nwheel\n' | $(COMPILE) $(UPGRADE) --extra ros --extra replay --extra signing setup.cfg - -o constraints.txt
	for cuda in 12 13; do $(COMPILE) $(UPGRADE) setup.cfg docker/python-cuda$$cuda.in -o docker/python-cuda$$cuda.txt; done

coverage: $(DEVELOPING) ## every test with lines and branches counted; fails below pyproject.toml's share
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -q -n logical --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine -q && $(BIN)/coverage json -q && $(BIN)/coverage report

ROOM ?= metrics
mutation: $(DEVELOPING) ## change ROOM=metrics in small ways and count what the tests notice (MUTATION="--sample 300")
	$(PIP) install -qq 'mutmut==3.8.*'
	$(BIN)/python -m benchmarks.mutation $(ROOM) $(MUTATION)

lint: $(DEVELOPING) ## ruff (docstrings and formatting too), mypy and the rooms' import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

HOURS ?= 3
soak: $(DEVELOPING) ## the node for HOURS=3 hours: four cameras, memory, handles and latency as curves in out/soak
	$(BIN)/python -m benchmarks.soak --hours $(HOURS)

site: $(DEVELOPING) ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

setup: $(DEVELOPING) ## install everything a developer needs

clean: ## remove .venv, build outputs and caches
	rm -rf $(VENV) $(JAZZY) build install log dist m2a_ros.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	  echo "m2a needs Python 3.10 to 3.13 as '$(PYTHON)'; name another with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create virtual environments; on Debian and Ubuntu: sudo apt-get install -y python3-venv" >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) --upgrade pip
	@touch $@

$(RUNNING): $(CREATED) $(METADATA)
	@echo "Installing what running needs into $(VENV) (about 0.5 GB, once) ..."
	$(INSTALL) -e '.[ros,replay]'
	@touch $@

# One pip call, so that the resolver sees torch's exact version together with everything that depends on it.
$(DEVELOPING): $(CREATED) $(METADATA)
	@echo "Installing what developing needs into $(VENV) (about 3.5 GB with a CPU build of PyTorch, once) ..."
	$(INSTALL) -e '.[dev]'
	@touch $@ $(RUNNING)

# While one processor core has mypy, the other compiles what tests import: at the start of a run every process would, the
# same modules at the same time. What fails here fails in the run, with its reason.
$(COMPILED): $(DEVELOPING)
	@$(BIN)/python -m pytest -q --collect-only >/dev/null; touch $@

# The wheels of one distribution exclude those of another, so this environment is apart from .venv.
$(JAZZY)/.ready: $(METADATA)
	@echo "Installing ROS 2 Jazzy's wheels and what the tests need into $(JAZZY) (once) ..."
	$(PYTHON_JAZZY) -m venv --clear $(JAZZY)
	$(JAZZY)/bin/python -m pip --disable-pip-version-check install -qq --no-compile -e '.[dev-jazzy]'
	@touch $@
