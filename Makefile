PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install runtime package demo test test-slow test-gpu test-hostile fuzz lint docs bench figures toy-generator

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[test]'
	touch $@

# Without tests and their packages: what the Dockerfile installs.
runtime:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet .

# Wheel and source distribution, in dist/.
package: install
	$(BIN)/python -m build

demo: install
	$(BIN)/dgaug demo

test: install lint
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m slow

test-gpu: install
	$(BIN)/python -m pytest -n 0 -m gpu

# Everything that may go wrong, hundreds of times over; writes how it ended.
test-hostile: install
	DGAUG_HOSTILE=full DGAUG_HOSTILE_TABLE=docs/hostile-table.md $(BIN)/python -m pytest --dist worksteal tests/hostile -m "hostile or not hostile"
	$(BIN)/python -m pytest --dist worksteal tests --ignore tests/hostile -m hostile

# Every reader of files of others, SECONDS each; what one breaks on is left in crash-*.
SECONDS ?= 600
fuzz: install
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	for name in $$($(BIN)/python tests/hostile/fuzz.py --list); do \
	    $(BIN)/python tests/hostile/fuzz.py $$name -max_total_time=$(SECONDS) || exit 1; \
	done

# The documentation as a site, in build/docs.
docs: install
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# All claims about speed, measured here, one after the other: about half an hour and 18 GB on two idle CPU cores.
bench: install
	for name in cold_start store ranking scores breakdown synthesis training_iteration; do \
	    $(BIN)/python benchmarks/$$name.py || exit 1; \
	done
	$(BIN)/python benchmarks/performance_page.py

# The images of README and docs: about half an hour on two CPU cores; one needs Chromium.
figures: install
	$(BIN)/dgaug train --config toy --out build/toy
	$(BIN)/dgaug grid --run build/toy --out docs/images/nxn.png --force
	$(BIN)/dgaug demo --out build/demo
	$(BIN)/python benchmarks/report_image.py build/demo/report.html docs/images/report.png
	$(BIN)/dgaug ablate --images-per-identity 2 --out build/ablation
	cp build/ablation/table.png docs/images/ablation-few.png
	cp build/ablation/table.csv benchmarks/results/ablation-few.csv

# How the pretrained generator of the embedded data is made: two stages, about an hour on two CPU cores.
FIRST := build/toy-generator-first
toy-generator: install
	$(BIN)/dgaug train --config toy-generator --out $(FIRST) --set schedule.iterations=6000 \
	    --set schedule.ramp_length=0.2 --set loss.appearance_code=10 \
	    --set loss.adversarial=0 --set loss.cycle=0 --set loss.structure_code=0
	$(BIN)/python -m dgaug.training.initial_weights $(FIRST) $(FIRST)/start.safetensors
	$(BIN)/dgaug train --config toy-generator --out build/toy-generator --teacher $(FIRST)/teacher/last.pt \
	    --set model.start=$(FIRST)/start.safetensors
	$(BIN)/python -m dgaug.training.initial_weights build/toy-generator configs/toy.safetensors
