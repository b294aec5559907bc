PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-slow test-gpu test-hostile lint toy-generator

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

demo: install
	$(BIN)/dgaug demo

test: install lint
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m slow

test-gpu: install
	$(BIN)/python -m pytest -m gpu

# Everything that may go wrong, hundreds of times over; writes how it ended.
test-hostile: install
	DGAUG_HOSTILE=full DGAUG_HOSTILE_TABLE=docs/hostile-table.md $(BIN)/python -m pytest tests/hostile -m "hostile or not hostile"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# How the pretrained generator of the embedded data is made: about half an hour on two CPU cores.
toy-generator: install
	$(BIN)/dgaug train --config toy-generator --out build/toy-generator
	$(BIN)/python -m dgaug.training.start build/toy-generator configs/toy.safetensors
