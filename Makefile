# Needs only Python 3.11+ and make. Everything is installed into .venv, from the locked requirements.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint format docs pictures lock clean
.DEFAULT_GOAL := setup

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the whole story, on embedded servers
	@$(BIN)/cata-pipeline demo

test: setup  ## everything that can be tested on this machine
	$(BIN)/pytest

lint: setup  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## what a tool can put right by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## what is generated from code: the field ownership tables
	$(BIN)/python docs/generate.py

pictures: setup  ## the pictures of the Dagster UI in docs/images (needs chromium)
	$(BIN)/python docs/pictures.py

lock: setup  ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-strip-extras \
		--no-header pyproject.toml --group dev --group build --upgrade -o requirements.lock

clean:
	rm -rf .venv .cata .mypy_cache .ruff_cache .pytest_cache .hypothesis
