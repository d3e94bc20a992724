# The menu: `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# What `make demo` needs; the rest (torch alone takes 4.7 GB) is for tests only.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo sync constraints test retest lint format unit clean

DEMO_SECONDS ?=
DEMO_ARGS ?=

help: ## show this menu
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(RUN): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing kserve-has into $(VENV)"
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --editable ".[local]"
	@touch $@

$(DEV): $(RUN)
	@echo "installing the development tools and torch into $(VENV)"
	$(PIP) --editable ".[local,torch]" --group dev
	@touch $@

constraints: ## pin the newest versions that pyproject.toml allows, in constraints.txt
	rm -rf build/pins && $(PYTHON) -m venv build/pins
	build/pins/bin/pip install --quiet --upgrade "pip>=25.1"
	build/pins/bin/pip install --quiet --editable ".[local,torch]" --group dev
	echo "# The versions that the project was tested with; \`make constraints\` writes them anew." > constraints.txt
	build/pins/bin/pip freeze --exclude-editable >> constraints.txt
	rm -rf build/pins

sync: $(DEV) ## make .venv with everything the targets below need

demo: $(RUN) ## the whole loop on this machine; DEMO_SECONDS=60 shortens it, DEMO_ARGS="--chaos" and more
	$(BIN)/kserve-has demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS)) $(DEMO_ARGS)

lint: $(DEV) ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

unit: $(DEV) ## the tests that need no real parts, in seconds
	$(BIN)/python -m pytest tests/unit tests/property

test: lint ## everything that passes without a GPU
	$(BIN)/python -m pytest

retest: lint ## what failed in the last run, by itself
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

clean: ## remove what the targets made in this folder
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
