.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
SERVING := $(VENV)/.serving
DEVELOPMENT := $(VENV)/.development

.PHONY: help setup setup-dev run test test-browser test-clients test-engines lint format bench bench-encoder bench-decoder soak models locks

help:
	@echo "make setup      serving only, into $(VENV)"
	@echo "make setup-dev  serving, training, evaluation, tests and lint"
	@echo "make run        the service with its guide, on loopback"
	@echo "make test | lint | format | bench"
	@echo "make test-browser  the pages in headless Chromium"
	@echo "make test-clients  the recipes of the guide with LangChain, LlamaIndex and Haystack"
	@echo "make test-engines  PostgreSQL, pgvector, Milvus and Ray, started on loopback"
	@echo "make bench-encoder  the encoder against its peers, into the guide"
	@echo "make bench-decoder  the decoder engine against its peers, into the guide (about 15 minutes)"
	@echo "make soak       64 clients for 5 minutes, then 250 kills (about 20 minutes)"
	@echo "make models     convert the bundled encoder again"
	@echo "make locks      pin the newest allowed versions"

# The stamps make set-up run again only when what it installs has changed.
setup: $(SERVING)

setup-dev: $(DEVELOPMENT)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Footnote needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(SERVING): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps -e .
	touch $@

# torch goes first and alone: pip then takes the CPU build where one is offered.
$(DEVELOPMENT): $(SERVING) requirements-train.lock requirements-dev.lock
	$(PIP) install "$$(grep '^torch==' requirements-train.lock)"
	$(PIP) install -r requirements-train.lock -r requirements-dev.lock
	touch $@

run: setup
	$(BIN)/footnote serve

test: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# FOOTNOTE_CHROMIUM or an installed Chromium; else Playwright downloads one.
CHROMIUM := $(or $(FOOTNOTE_CHROMIUM),$(shell command -v chromium || command -v chromium-browser || command -v google-chrome))

test-browser: setup-dev
	$(PIP) install -r tests/browser/requirements.txt
	test -n "$(CHROMIUM)" || $(BIN)/playwright install chromium
	FOOTNOTE_BROWSER_TESTS=1 FOOTNOTE_CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -n0 tests/browser

# Installs LangChain, LlamaIndex and Haystack into .bench at first.
test-clients: setup-dev
	$(BIN)/python -m tests.clients

# Installs a client of Milvus, Milvus itself (a server in .bench) and Ray at first. One process: the servers are heavy.
test-engines: setup-dev
	$(PIP) install -r tests/engines/requirements.txt
	OMP_NUM_THREADS=1 FOOTNOTE_ENGINE_TESTS=1 $(BIN)/python -m pytest -n0 tests/engines
	OMP_NUM_THREADS=1 FOOTNOTE_TEST_DATABASE=postgresql $(BIN)/python -m pytest tests/app

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev
	$(BIN)/python -m tests.benchmarks

# Wants a quiet machine; installs the peers into .bench at first.
bench-encoder: setup-dev
	$(BIN)/python -m tests.benchmarks encoder --guide

# Wants a quiet machine too; converts a model of 107 million parameters at first.
bench-decoder: setup-dev
	$(BIN)/python -m tests.benchmarks decoder --guide

soak: setup-dev
	$(BIN)/python -m tests.benchmarks soak
	$(BIN)/python -m tests.benchmarks kills
	$(BIN)/python -m tests.benchmarks service-kills --cycles 50

models: setup-dev
	$(BIN)/footnote models build-bundled

LOCK := $(BIN)/pip-compile --quiet --strip-extras --no-header --no-annotate \
	--allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

# Keeps every pin that still fits; delete a line of a lock file to let that package move.
locks: setup-dev
	$(PIP) install pip-tools
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra milvus --extra ray --constraint requirements.lock \
		--output-file requirements-engines.lock pyproject.toml
	$(LOCK) --extra train --constraint requirements.lock --output-file requirements-train.lock pyproject.toml
	$(LOCK) --extra train --extra eval --extra otel --extra dev --constraint requirements-train.lock \
		--output-file requirements-dev.lock pyproject.toml
	sed -i 's/+cpu$$//; /^#/d; /^$$/d' requirements.lock requirements-engines.lock requirements-train.lock requirements-dev.lock
