# One command each; `make` alone lists them. The virtual environment is .venv, the versions are constraints.txt.
# Options go through ARGS, for instance:  make lab ARGS="--port 9999"   make test ARGS="notebooks"

PYTHON ?= python3
BIN := .venv/bin
LESSON := notebooks/00_start_here.ipynb
ARGS ?=

# JupyterLab opens a browser where there is a screen, prints its address where there is none, and asks root for consent.
SCREEN := $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname -s))
LAB_OPTIONS := $(if $(SCREEN),,--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help lab test lint format notebooks experiments bench bench-quick book map badge pins clean

help:  ## print this list
	@echo "make lab is all that a reader needs, make test all that a change needs."; echo
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1|\2/p' Makefile | awk -F '|' '{printf "  make %-11s %s\n", $$1, $$2}'

lab: .venv/.lab  ## set everything up and open the course in JupyterLab
	$(BIN)/jupyter lab $(LESSON) --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/$(LESSON) $(LAB_OPTIONS) $(ARGS)

test: .venv/.test  ## run every test: package, messages, notebooks, budgets, browser
	@$(BIN)/python tools/test.py $(ARGS)

lint: .venv/.dev  ## check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: .venv/.dev  ## rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: .venv/.test  ## execute the lessons anew and store their outputs, normalised
	$(BIN)/python tools/notebooks.py $(ARGS)

experiments: .venv/.test  ## the long runs again, whose results the lessons show (more than an hour)
	for script in experiments/*.py; do $(BIN)/python $$script $(ARGS) || exit 1; done

bench: .venv/.test  ## this package beside its peers and the machine's limit: docs/benchmarks.md (an hour)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: .venv/.test  ## the same on small sizes, printed and not stored (a few minutes)
	$(BIN)/python -m benchmarks --quick $(ARGS)

book: .venv/.test  ## the lessons as web pages, in docs/_build/html
	$(BIN)/python tools/book.py $(ARGS)

map: .venv/.test  ## write docs/paper_map.md and docs/glossary.md anew
	$(BIN)/python tests/test_paper_map.py
	$(BIN)/python -m companion.lab.glossary

badge: .venv/.lab  ## point the README's Binder badge at the repository's address
	$(BIN)/python tools/badge.py $(ARGS)

pins:  ## write constraints.txt anew, from a fresh environment
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" sh tools/pins.sh

clean:  ## remove what the other commands made, .venv included
	rm -rf .venv build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find benchmarks companion experiments notebooks tests tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# An environment is its set of extras: each stamp installs one and builds on the one before.
.venv/.lab: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install -qq -e '.[lab,fast]' -c constraints.txt
	@touch $@

.venv/.test: .venv/.lab
	$(BIN)/python -m pip install -qq -e '.[lab,fast,scale,test]' -c constraints.txt
	@touch $@

.venv/.dev: .venv/.test
	$(BIN)/python -m pip install -qq -e '.[lab,fast,scale,test,dev]' -c constraints.txt
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The course needs Python 3.11 or newer; here $(PYTHON) is $$($(PYTHON) --version 2>&1). With another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@echo "Setting up .venv; the first time takes a few minutes."
	@$(PYTHON) -m venv .venv
