PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml

.PHONY: help up test check format faults bench packages servers messages reference requirements clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

up: $(VENV)/.run ## Install what running needs, and run everything on this machine; options: make up UP="--broker-port 1884"
	@$(BIN)/dashfleet up $(UP)

test: $(VENV)/.dev servers check ## Install what the tests need, and run all checks and tests
	$(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

check: $(VENV)/.dev ## Formatter, linter and type checker only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

faults: $(VENV)/.dev servers ## Break everything, for hours: the whole form of the fault tests
	DASHFLEET_FAULTS=whole $(BIN)/python -m pytest tests/faults tests/end_to_end/test_revocation.py \
		tests/broker/external/test_mosquitto.py --timeout=10800

bench: $(VENV)/.dev servers ## Measure, and print tables
	DASHFLEET_BENCH_SECONDS=300 $(BIN)/python -m pytest tests/bench tests/browser/test_selection.py -s --timeout=3600

packages: $(VENV)/.dev ## Build wheel, sdist and the Debian package of the agent into dist/
	$(BIN)/python -m hatchling build --directory dist --target wheel --target sdist
	$(BIN)/python deploy/debian/build.py dist

servers: ## The servers that the tests run: installed by root on Debian, named elsewhere
	@tests/support/servers.sh

messages: $(VENV)/.dev ## Bring the texts of the code into the dashboard's catalogues; with NEW=de begin another language
	$(BIN)/python tests/support/catalogues.py $(NEW)

reference: $(VENV)/.dev ## Write docs/cli.md from the commands, and the machine-readable contract and HTTP API in docs/
	$(BIN)/python tests/support/cli_reference.py
	$(BIN)/python tests/support/collectors_reference.py
	$(BIN)/python tests/support/contract_reference.py
	$(BIN)/python tests/support/openapi_document.py

requirements: $(VENV)/.dev ## Pin the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade --extra all --extra editable --output-file requirements/run.txt
	$(COMPILE) --extra agent --constraint requirements/run.txt --output-file runtime/bundle/agent-requirements.txt
	$(COMPILE) --upgrade --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt

clean: ## Remove what make made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "DashFleet needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
