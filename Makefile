# The only verbs; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: setup demo test test-more test-long check bench docs lock audit

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps --requirement requirements.lock
	$(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/ruggedize run demo --out runs/demo-seed0

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
	$(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python -m docs.build

# torch, torchvision and what their wheels bring along come in a build for each kind of machine.
lock: build/tools
	build/tools/bin/uv pip compile pyproject.toml --extra dev --constraint constraints.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' \
		| awk '/^[a-z]/ {kept = !/^(torch(vision)?==|triton==|nvidia-|cuda-)/} /^#/ || kept' \
		> requirements.lock

audit: build/tools
	build/tools/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict \
		--vulnerability-service osv

build/tools:
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --disable-pip-version-check --quiet pip-audit uv
