# Targets for people; each makes what it needs first. PYTHON names the interpreter that .venv is made from.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# What is set for other work: other packages, another place to install them, other tests to run.
unexport PYTHONPATH PYTHONHOME PIP_CONSTRAINT PIP_PREFIX PIP_REQUIREMENT PIP_ROOT PIP_TARGET MYPYPATH PYTEST_ADDOPTS PYTEST_PLUGINS
export PIP_USER := 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: repro
repro: .venv/installed ## Run the whole pipeline: fetch, verify, train, validate, test, report
	@python -m tools.ready
	dvc repro

.PHONY: recipe
recipe: .venv/installed ## Run a recipe as an experiment, say: make recipe NAME=future-work
	@python -m stages.recipe $(NAME)

.PHONY: sweep
sweep: .venv/installed ## Make many runs and a table of them, say: make sweep SPEC=sweeps/monitor.yaml
	@python -m stages.sweep $(SPEC)

.PHONY: plots
plots: .venv/installed ## Open DVC's plots; from then on dvc plots show and diff need no network
	python -m tools.plots_page
	@dvc plots show --open || dvc plots show

.PHONY: test
test: .venv/installed ## Lint, check the types and run the tests
	ruff check
	ruff format --check
	mypy
	pytest --numprocesses auto --dist worksteal

.PHONY: test-quick
test-quick: .venv/installed ## Run the tests that take no more than about half a second each
	pytest --numprocesses auto --dist worksteal -m "not slow"

.PHONY: processors
processors: .venv/installed ## Run a small pipeline as six other processors would, and compare every byte; needs qemu-user
	python -m tests.processors

.PHONY: gpu
gpu: .venv/installed ## Train small networks on the GPUs of this machine, and say what holds of them
	python -m tests.gpu

.PHONY: torture
torture: .venv/installed ## Kill the pipeline 100 times, the real training 5, sweeps and workers 30; all must end well; after `make repro`
	python -m tests.torture --kills 100
	python -m tests.torture --kills 5 --real
	python -m tests.torture_sweeps --runs 100 --kills 30
	python -m tests.torture_workers --kills 30

.PHONY: bench
bench: .venv/installed ## Measure the speed on this machine, into benchmarks/results.md; after `make repro`
	python -m benchmarks

.PHONY: lock
lock: .venv/installed ## Resolve pyproject.toml into requirements.lock anew
	pip install --quiet uv
	uv pip compile pyproject.toml --group dev --universal --python-version 3.10 --generate-hashes --upgrade \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

.PHONY: clean
clean: ## Remove .venv and what tests and tools leave; data, models and DVC's cache stay
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Installed again when the lock changes; the marker is written last, so a broken installation is begun anew. With -I pip
# leaves out nothing that PYTHONPATH happens to have.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$$($(PYTHON) --version) does not serve; set PYTHON to a Python 3.10 to 3.13, say: make PYTHON=python3.12 repro"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -I -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch $@
