# make demo   installs into .venv and runs the whole feature store on a year of flights
# make test   installs into .venv and runs every check: lint, format, types, import rules, generated code, tests
# make help   lists the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each process of the demo and of the tests would compile the whole package for itself.
unexport PYTHONDONTWRITEBYTECODE
# REQUIRE_SERVICES=1 turns "skipped: this machine has no ..." into a failure.
export REQUIRE_SERVICES

# Processes that the suite runs in; each test file, with the servers it starts, runs in one of them.
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo demo-night test lint types imports proto-check tests explore soak proto proto-release node docs pictures bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "featurestore needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing featurestore into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dashboard,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing featurestore and the tools of its developers into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	@touch $@ $(VENV)/.demo

NODE := build/node
NODE_PACKAGES := $(addprefix tests/contract/node/,package.json package-lock.json)

$(NODE)/.installed: $(NODE_PACKAGES)
	@echo "Installing what checks the contract from outside into $(NODE) ..."
	@mkdir -p $(NODE) && cp $(NODE_PACKAGES) $(NODE)
	@npm ci --prefix $(NODE) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

install: $(VENV)/.dev  ## install everything into .venv

demo: $(VENV)/.demo  ## run the whole feature store on a year of flights; KEEP=--keep opens the dashboard on it
	@$(BIN)/python examples/nycflights/demo.py $(KEEP)

demo-night: $(VENV)/.demo  ## a source breaks at night: a page, a rollback, and a quiet morning
	@$(BIN)/python examples/nycflights/night.py

test: lint types imports proto-check tests  ## run every check

lint: $(VENV)/.dev  ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev  ## import rules (docs/design.md)
	$(BIN)/lint-imports

tests: $(VENV)/.dev  ## pytest
	@command -v npm >/dev/null && $(MAKE) --no-print-directory node || \
		{ echo "npm is missing or offline: the contract's checks with Node.js are skipped"; test -z "$(REQUIRE_SERVICES)"; }
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 30

explore: $(VENV)/.dev  ## pytest, with random examples instead of the same ones
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --hypothesis-profile explore

soak: $(VENV)/.dev  ## the long form of the tests that have a short one: some minutes
	$(BIN)/python -m pytest tests/soak -m soak -rA --capture=tee-sys -o timeout=3600 -o faulthandler_timeout=3630

proto: $(VENV)/.dev  ## generate featurestore/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. proto/featurestore/v1/*.proto

proto-check: $(VENV)/.dev  ## is featurestore/v1 what proto/ generates?
	@rm -rf build/proto && mkdir -p build/proto
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=build/proto --pyi_out=build/proto proto/featurestore/v1/*.proto
	@diff -r -x __init__.py -x __pycache__ build/proto/featurestore/v1 featurestore/v1 || \
		{ echo "featurestore/v1 is not what proto/ generates. Run: make proto"; exit 1; }

proto-release: $(NODE)/.installed  ## what others have from now on is proto/ as it is: nothing in it may go any more
	$(NODE)/node_modules/.bin/buf build proto --exclude-source-info -o tests/contract/released.binpb

node: $(NODE)/.installed  ## buf, and gRPC for Node.js, into build/

docs: $(VENV)/.dev  ## the documentation, as pages of HTML; a warning is an error
	@rm -rf build/docs
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	@echo "Open build/docs/index.html"

pictures: $(VENV)/.dev  ## take those pictures of the dashboard anew whose page has changed; see docs/pictures
	RENEW_PICTURES=1 $(BIN)/python -m pytest -q tests/monitor/dashboard/test_pictures.py

bench: $(VENV)/.dev  ## print the benchmarks' tables
	$(BIN)/python -m benchmarks

clean:  ## remove what the build made, and the environment
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
