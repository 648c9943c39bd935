# Everything a user or a developer types. Each target sets up what it needs in .venv; nothing else is touched.
#   make demo       liquid methanol, from a molecule's name to a report (7 to 12 minutes on 2 cores)
#   make test       all fast tests (under 10 minutes on 2 cores)
#   make test-slow  long ensemble tests: NPT density, long distributions (about 13 minutes)
#   make test-drift energy conservation of trained networks over 200 ps (one to two hours)
#   make test-triton  the GPU kernels in Triton's interpreter (5 minutes; fetches triton: 290 MB, 1 GB on disk)
#   make check      format, lint, types, import contracts, docs
#   make bench      speed against peers, in one run (about 20 minutes; BENCH="--cases quick": 3)
#   make peers      the environment of mace-torch, so that make test also compares with it
#   make docs       the HTML documentation in docs/_build/html

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
DEMO := runs/methanol
WORKERS ?= 2
BENCH ?= --cases all --memory

export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-check test test-slow test-drift test-triton check format bench peers docs clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "beadsmith needs Python >= 3.11; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first: its pinned CPU build satisfies every later requirement, so that no CUDA packages are pulled in
$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing beadsmith and what it runs on into $(VENV)"
	@$(PIP) torch==2.13.0
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	@echo "installing the test tools into $(VENV)"
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.develop: $(VENV)/.test
	@echo "installing the developers' tools into $(VENV)"
	@$(PIP) --editable '.[lint,docs]'
	@touch $@

# the run itself uses all cores, so the one-thread default of the tests is lifted
demo: $(VENV)/.runtime
	env -u OMP_NUM_THREADS $(BIN)/beadsmith run examples/methanol.yaml --output $(DEMO)

# hold the finished demo against the figures that were promised for it
demo-check: $(VENV)/.test
	$(BIN)/python -m pytest tests/demo -m demo --run-folder $(DEMO)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not drift and not demo"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

test-drift: $(VENV)/.test
	$(BIN)/python -m pytest -s -m drift

# a folder beside the environment: too large for everybody, and torch's CUDA builds bring their own
test-triton: $(VENV)/.test
	[ -d .triton ] || $(BIN)/python -m pip install --quiet --no-deps --target .triton triton==3.9.0
	PYTHONPATH=.triton $(BIN)/python -m pytest tests/kernels -k triton

check: $(VENV)/.develop
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) docs

format: $(VENV)/.develop
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

# the peers that fit into our environment; the others get their own in .peers, made by the command itself
$(VENV)/.bench: $(VENV)/.test
	@echo "installing the benchmarks' libraries into $(VENV)"
	@$(PIP) --editable '.[bench]'
	@touch $@

# the command sets the threads of each candidate itself
bench: $(VENV)/.bench
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks.speed $(BENCH)

# equality with mace-torch, which lives in its own environment
peers: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed.environments mace

docs: $(VENV)/.develop
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .peers .triton build docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info
	find src tests -name __pycache__ -prune -exec rm -rf {} +
