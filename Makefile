# Everything here needs only Python >= 3.11, git and make; PYTHON picks the interpreter.
PYTHON ?= python3
BIN := .venv/bin
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml

.PHONY: help install install-dev install-extras up test test-js transcript check audit format bench chaos fuzz lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

install: .venv/installed ## install the locked versions into .venv
install-dev: .venv/installed-dev ## the same with what the tests need

tests/js/node_modules/.installed: tests/js/package-lock.json tests/js/node.lock | .venv/bin/python
	$(BIN)/python -m tests.js.node
	@touch $@

install-extras: tests/js/node_modules/.installed ## Google's JavaScript client, and Node.js where there is none, for test-js

up: install ## run the whole service on this machine
	@exec $(BIN)/nightdesk up $(ARGS)

.venv/audited: requirements-dev.lock .venv/installed-dev
	$(BIN)/python -m tests.audit --where-possible
	@touch $@

check: install-dev .venv/audited ## format, lint, types, migration drift and, where they can be had, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.drift

test: check ## everything that must pass before a change lands
	$(BIN)/python -m pytest -n auto $(ARGS)

test-js: install-dev ## the JavaScript client against a whole installation; needs install-extras
	$(BIN)/python -m tests.js

transcript: install-dev ## record what two programs for Google's endpoint and the door say; needs install-extras
	$(BIN)/python -m tests.door

audit: install-dev ## look the locked packages up among known vulnerabilities; says so where that cannot be done
	$(BIN)/python -m tests.audit

format: install-dev ## mend what can be mended by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install-dev ## the figures of the README, side by side with plain programs; ARGS=--quick tries it
	$(BIN)/python -m tests.bench $(ARGS)

chaos: install-dev ## kill, freeze and cut off every part of an installation, then check its books
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: install-dev ## throw at every door twenty times what the tests do, and something else each time
	FUZZ=20 $(BIN)/python -m pytest -n auto tests/integration/abuse $(wildcard tests/*/*/test_*any*.py) $(ARGS)

lock: install-dev ## renew the hashed locks from pyproject.toml
	$(BIN)/$(LOCK) --extra build --output-file requirements.lock
	$(BIN)/$(LOCK) --extra build --extra dev --output-file requirements-dev.lock

clean: ## remove the environment and the local data
	rm -rf .venv .nightdesk tests/js/node_modules
