# make demo   the environment, then `holdfast demo`
# make test   the same environment with the test tools, then lint, types and the whole test suite
#
# VENV=$VIRTUAL_ENV uses an environment of your own and keeps the torch that is in it.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PINS = $(if $(filter .venv,$(VENV)),-c constraints.txt,)

.PHONY: demo test clean

demo: $(VENV)/.holdfast
	$(BIN)/holdfast demo

test: $(VENV)/.holdfast-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Holdfast needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.holdfast: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e .
	touch $@

$(VENV)/.holdfast-test: $(VENV)/.holdfast
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e '.[test]'
	touch $@

clean:
	rm -rf .venv runs
