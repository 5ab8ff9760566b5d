# Every target makes .venv from requirements.lock if it is missing or older than the lock.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)

.PHONY: help run test test-fast test-all bench peers lint format readme lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

run: .venv/installed ## train and compare the methods on generated scenes, in minutes
	$(BIN)/snakemake --cores $(CORES) all
	@echo
	@echo "The report:        results/mini/report.html"
	@echo "The runs, curves:  $(BIN)/mlflow ui    (then http://127.0.0.1:5000)"

test: .venv/installed ## run all tests except the long ones
	$(BIN)/python -m pytest -m "not proof" --numprocesses auto --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed ## run the tests without trainings
	$(BIN)/python -m pytest -m "not slow and not proof" --numprocesses auto

test-all: .venv/installed ## run every test, including the long ones
	$(BIN)/python -m pytest

bench: .venv/installed ## measure the speed; print and write results/bench.json
	$(BIN)/snakemake --cores $(CORES) all --config preset=mini
	$(BIN)/python -m benchmarks

.venv-peers/installed: requirements.lock benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement requirements.lock --requirement benchmarks/peers.txt
	.venv-peers/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

peers: .venv-peers/installed ## compare training with other libraries, in an environment of its own
	.venv-peers/bin/python -m benchmarks --peers

lint: .venv/installed ## check style, types and workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.prose
	$(BIN)/snakefmt --check Snakefile pipeline/rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

format: .venv/installed ## format everything
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile pipeline/rules

readme: .venv/installed ## write the measured tables of README and docs from results/
	$(BIN)/python -m pipeline.readme

lock: ## pin the dependencies of pyproject.toml again for every platform (needs uv)
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate --all-extras pyproject.toml -o requirements.lock
