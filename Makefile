# The only verbs; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PIP_INSTALL := python -m pip install --disable-pip-version-check --quiet
INSTALL := $(BIN)/$(PIP_INSTALL)
OLDEST := build/oldest
WHEEL := build/wheel
# Without cached bytecode, every process of the tests would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-more test-long test-oldest test-wheel check bench results docs lock audit

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps --requirement requirements.lock
	$(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[dev,more]'
	touch $@

demo: setup
	$(BIN)/ruggedize run demo --out runs/demo-seed0

test: setup
	$(BIN)/python -m pytest -m "not more and not long"

test-more: setup
	$(BIN)/python -m pytest -m "more and not long"

test-long: setup
	$(BIN)/python -m pytest -m long --timeout 3600 --dist worksteal

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -m "not more and not long" --ignore tests/unit/test_lock.py

$(OLDEST)/installed: pyproject.toml constraints.txt tests/oldest_versions.py
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m tests.oldest_versions > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/$(PIP_INSTALL) --constraint $(OLDEST)/constraints.txt --editable '.[dev]'
	touch $@

# The demo from the wheel alone: no checkout, no tools for development.
test-wheel: setup
	rm -rf build/dist $(WHEEL)
	$(BIN)/python -m build --no-isolation --outdir build/dist
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/$(PIP_INSTALL) --constraint constraints.txt build/dist/*.whl
	mkdir $(WHEEL)/empty
	cd $(WHEEL)/empty && ../bin/ruggedize run demo

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -n 0 tests/test_layers.py tests/test_surface.py \
		tests/types

bench: setup
	$(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[dev,more,bench]'
	$(BIN)/python -m benchmarks

# docs/results.md and the tables of the README, from the summaries of the studies.
results: setup
	$(BIN)/python -m docs.results

docs: setup
	$(BIN)/python -m docs.build
	$(BIN)/python -m docs.notebook
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# torch, torchvision and what their wheels bring along come in a build for each kind of machine.
lock: build/tools
	build/tools/bin/uv pip compile pyproject.toml --extra dev --extra more --constraint constraints.txt \
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
