# `make test` and `make demo` need no set-up: each makes the virtual environment, installs slimyolo, and runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
VENV_ULTRALYTICS ?= .venv-ultralytics

.PHONY: install test test-slow test-ultralytics check demo clean

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

# what the callbacks in examples/ are tried with
$(VENV)/.callbacks: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt lightning transformers accelerate
	touch $@

test-slow: $(VENV)/.callbacks
	$(BIN)/pytest -q -m slow

# An environment of its own: the package is AGPL-3.0 and no dependency of slimyolo. A stand-in takes the place of torchvision,
# whose wheels are built for CUDA; OpenCV comes without a window system.
$(VENV_ULTRALYTICS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_ULTRALYTICS)
	$(VENV_ULTRALYTICS)/bin/pip install --quiet --constraint constraints.txt torch
	$(VENV_ULTRALYTICS)/bin/pip install --quiet --constraint constraints.txt --editable '.[export]' \
		pytest pytest-timeout pytest-xdist hypothesis requests psutil polars
	$(VENV_ULTRALYTICS)/bin/pip install --quiet --constraint constraints.txt --no-deps ultralytics ultralytics-thop
	touch $@

test-ultralytics: $(VENV_ULTRALYTICS)/.installed
	PYTHONPATH=tests/ultralytics/stand_in OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
		$(VENV_ULTRALYTICS)/bin/pytest -q -n $(WORKERS) tests/ultralytics

demo: install
	$(BIN)/python -m slimyolo data synth datasets/synth --train 240 --val 60
	$(BIN)/python -m slimyolo compress recipes/demo.yaml

clean:
	rm -rf $(VENV) $(VENV_ULTRALYTICS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
