# The face for people. Needs Python 3.11 or newer, make, and a package registry that pip can reach.

.DEFAULT_GOAL := help
WORKERS ?= 2
REFERENCE ?= ../shared/reference
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## .venv with everything of requirements.lock, hashes checked, and asgard itself

.venv/.locked: requirements.lock tools/setup.sh
	@sh tools/setup.sh lock

$(READY): pyproject.toml .venv/.locked
	@sh tools/setup.sh project

.PHONY: demo
demo: $(READY) ## real data from three sources to checked tables, in one command
	@$(BIN)/asgard demo

.PHONY: test
test: $(READY) ## every test that needs nothing but this machine
	@$(BIN)/python -m pytest -n $(WORKERS) tests

.PHONY: test-failed
test-failed: $(READY) ## what failed in the last run of the tests, once more, one after the other
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none tests

.PHONY: test-long
test-long: $(READY) ## the long roads: a thousand kills
	@$(BIN)/python -m pytest -n $(WORKERS) -m long --timeout 7200 tests

.PHONY: test-reference
test-reference: $(READY) ## other people's files: type torture, golden tables, naughty strings
	@test -d "$(REFERENCE)" || { echo "make test-reference: the folder $(REFERENCE) is missing; nothing was tested. Set REFERENCE=<folder>." >&2; exit 1; }
	@ASGARD_REFERENCE="$(REFERENCE)" $(BIN)/python -m pytest -n $(WORKERS) -m reference tests/reference

.PHONY: test-cluster
test-cluster: $(READY) ## services that take minutes to build the first time: MinIO, fake-gcs-server (needs Go)
	@$(BIN)/python -m pytest -n $(WORKERS) -m cluster --timeout 2400 tests

.PHONY: coverage
coverage: $(READY) ## which lines the tests reach
	@mkdir -p .cache/coverage && $(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest tests; status=$$?; $(BIN)/coverage combine -q; $(BIN)/coverage report; exit $$status

.PHONY: lint
lint: $(READY) ## format, rules, types, walls between the rooms, the house, the docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter
	@$(BIN)/python -m pytest tests/house
	@$(MAKE) --no-print-directory docs

.PHONY: format
format: $(READY) ## put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(READY) ## site/, built strictly, after running every code block of README.md and docs/
	@$(BIN)/python tools/reference_docs.py --check
	@$(BIN)/python tools/docs_code.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: reference
reference: $(READY) ## the pages of docs/reference that follow from the code
	@$(BIN)/python tools/reference_docs.py

.PHONY: bench
bench: $(READY) ## figures, ours and others', made on this machine
	@$(BIN)/python -m bench

.PHONY: lock
lock: .venv/.locked ## requirements.lock from pyproject.toml, newest versions
	@sh tools/setup.sh compile

.PHONY: clean
clean: ## everything that make made
	@rm -rf .venv .tools .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis site dist
