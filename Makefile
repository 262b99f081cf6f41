# Two commands do everything: `make demo` and `make test`. Each builds what it needs on the way.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: demo test test-long bench lint format docs servers web clean

demo: $(VENV)/.runs
	$(BIN)/edgewise demo

# Lint, types and layers first (seconds), then the tests, then once more what must work without any extra.
test: $(VENV)/.ready .venv-bare/.ready servers web
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not long"
	EDGEWISE_BARE=1 .venv-bare/bin/python -m pytest -m bare -q $$(grep -rl --include='test_*.py' 'mark\.bare' tests)

test-long: $(VENV)/.ready servers web
	$(BIN)/python -m pytest -m long

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_sizes.py
	$(BIN)/python scripts/write_docs.py --check

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready
	$(BIN)/python scripts/write_docs.py

# The programs that the registry tests talk to; where they cannot be installed those tests skip (and fail in CI).
servers:
	@bash scripts/install_servers.sh

# The runtime that browsers load, for the tests that train with it; where it cannot be installed they skip (and fail in CI).
web:
	@bash scripts/install_web.sh

# What the demo needs: a quarter of what the tests need. An environment that is ready for the tests serves as well.
$(VENV)/.runs: pyproject.toml
	@test -e $(VENV)/.ready || bash scripts/make_venv.sh $(PYTHON) $(VENV) '.[pack,image]'
	@touch $@

$(VENV)/.ready: pyproject.toml
	bash scripts/make_venv.sh $(PYTHON) $(VENV) '.[dev]'
	touch $@

.venv-bare/.ready: pyproject.toml
	bash scripts/make_venv.sh $(PYTHON) .venv-bare . pytest
	touch $@

clean:
	rm -rf $(VENV) .venv-bare .cache out dist tests/web/node_modules
