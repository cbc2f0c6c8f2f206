# Every target sets itself up: nothing but Python (>= 3.11) and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help study test lint format docs bench gradcheck-bench chaos clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/klayer: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "klayer needs Python >= 3.11: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/test: $(VENV)/klayer
	$(PIP) install --constraint constraints.txt --group test
	@touch $@

$(VENV)/lint: $(VENV)/klayer
	$(PIP) install --constraint constraints.txt --group lint
	@touch $@

$(VENV)/bench: $(VENV)/klayer
	$(PIP) install --group bench
	@touch $@

study: $(VENV)/klayer ## the report's study on handwritten digits, ends in a page
	$(BIN)/klayer study

test: $(VENV)/test ## all tests; those that need more say why they are skipped
	$(BIN)/python -m pytest

lint: $(VENV)/lint ## style, common mistakes, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/lint ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/test ## run the examples in the documentation, and build its site, site/index.html
	$(BIN)/python -m pytest --doctest-modules src tests/test_docs.py tests/test_site.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "built: site/index.html"

bench: $(VENV)/bench ## speed beside PyTorch, JAX and scikit-learn (a quarter of an hour)
	$(BIN)/python benchmarks/speed.py

gradcheck-bench: $(VENV)/klayer ## planted gradient mistakes found, and false alarms
	$(BIN)/python benchmarks/gradcheck_mutants.py --seeds 20
	$(BIN)/python benchmarks/gradcheck_strangers.py
	$(BIN)/python benchmarks/gradcheck_false_alarms.py
	$(BIN)/python benchmarks/gradcheck_false_alarms.py --rough
	$(BIN)/python benchmarks/gradcheck_speed.py

chaos: $(VENV)/test ## kills, full disks, damage, company: each promise of docs/reliability.md, at length
	cd tests && ../$(BIN)/python -m chaos

clean: ## remove what make has made
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist site test-output
