# Everything a fresh machine needs installs itself: `make run` and `make test` are the only set-up there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: install run demo test test-fast check bench clean

# One stamp per set of extras: the command line needs neither pytest nor mypy.
$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Installing Divisions into $(VENV) (first time only; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing the test and check tools into $(VENV)"
	@$(PIP) -e '.[demo,test,check]'
	@touch $@

install: $(VENV)/.run

run: $(VENV)/.run
	@exec $(BIN)/divisions up --foreground --bootstrap

demo: $(VENV)/.run
	@exec $(BIN)/python -m benchmarks.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not e2e and not gpu"

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules divisions/schema.py divisions/wire.py -p no:randomly

bench: $(VENV)/.run
	@exec $(BIN)/python -m benchmarks.compare

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
