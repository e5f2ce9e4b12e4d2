# make demo   set up, then certify photographs and write a page to look at
# make docs   set up, then build the documentation into docs/_build/html
# make test   set up, then check and test everything that takes less than half a minute
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-all check bench bench-serve bench-scale docs dist clean

demo: $(VENV)/.demo
	$(BIN)/dsmooth demo --out demo-out

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(VENV)/.dev
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo > $(VENV)/imports.txt || (cat $(VENV)/imports.txt; exit 1)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/.dev
	rm -rf docs/_made
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b doctest docs docs/_build/doctest

dist: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

bench-serve: $(VENV)/.dev
	$(BIN)/python -m benchmarks.serve

bench-scale: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scale

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist docs/_build docs/_made demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
