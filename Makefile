# The only verbs; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: setup demo test test-more test-long check bench docs

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	rm -rf runs/demo-seed0
	$(BIN)/evenkeel run demo --out runs/demo-seed0

test: setup
	$(BIN)/python -m pytest -m "not more and not long"

test-more: setup
	$(BIN)/python -m pytest -m more

test-long: setup
	$(BIN)/python -m pytest -m long --timeout 3600

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -n 0 tests/test_layers.py tests/test_surface.py

bench: setup
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python -m docs.build
