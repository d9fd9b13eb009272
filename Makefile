# `make test` and `make demo` need no set-up: each makes the virtual environment, installs slimyolo, and runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: install test test-slow check demo clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[export,openvino,ncnn,serve,tensorboard,dev]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps timm
	touch $@

check: install
	$(BIN)/ruff check src tests benchmarks examples *.py prune_tools
	$(BIN)/ruff format --check src tests benchmarks examples *.py prune_tools
	$(BIN)/mypy
	$(BIN)/lint-imports

# PASSIVE: threads that wait must not keep a core busy, because the tests share two cores
test: check
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -q -n $(WORKERS) -m 'not slow'

test-slow: install
	$(BIN)/pytest -q -m slow

demo: install
	$(BIN)/python -m slimyolo data synth datasets/synth --train 240 --val 60
	$(BIN)/python -m slimyolo compress recipes/demo.yaml

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
