# Needs only Python 3.11+ and make. Everything is installed into .venv, from the locked requirements. These are complete, so
# pip resolves nothing: before 23.3 it cannot match a pin to a demand with extras once a newer release is out.
PYTHON ?= python3
BIN := .venv/bin
LOCKED := --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --strip-extras --no-header pyproject.toml

.PHONY: setup demo test property lint format docs pictures lock bench-fleet bench-images bench-providers bench-reconcile clean
.DEFAULT_GOAL := setup

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the whole story, on embedded servers
	@$(BIN)/cata-pipeline demo

test: setup  ## everything that can be tested on this machine, three test files at a time: most of it is waiting
	$(BIN)/pytest -n 3 --dist loadfile $(ARGS)

property: setup  ## 100,000 random steps of the ownership rules, a tenth of them on MariaDB; try ARGS=--hypothesis-seed=1
	CATA_PROPERTY_STEPS=100000 $(BIN)/pytest cata_pipeline_tests/reconcile/test_property.py $(ARGS)

lint: setup  ## style and types, and whether Dagster takes the definitions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@home=$$(mktemp -d) && touch $$home/dagster.yaml && DAGSTER_HOME=$$home PYTHONWARNINGS=ignore \
		$(BIN)/dagster definitions validate --log-level warning --module-name cata_pipeline.definitions; \
		status=$$?; rm -r $$home; exit $$status

format: setup  ## what a tool can put right by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## what is generated from code: the field ownership tables
	$(BIN)/python docs/generate.py

pictures: setup  ## the pictures of the Dagster UI in docs/images (needs chromium)
	$(BIN)/python docs/pictures.py

lock: setup  ## renew the two locks from pyproject.toml (needs uv); the second is what an image installs
	uv pip compile $(LOCKED) --all-extras --group dev --group build --upgrade -o requirements.lock
	uv pip compile $(LOCKED) --no-annotate --extra celery --extra kubernetes --group build \
		--constraint requirements.lock -o requirements-production.lock

bench-fleet: setup  ## a fleet's night through the real daemon, in batches and one run a tenant; try ARGS=--quick
	@$(BIN)/python -m benchmarks.fleet $(ARGS)

bench-images: setup .venv-bench-images/installed  ## picture copies beside rclone and others (needs nginx, rclone); try ARGS=--quick
	@$(BIN)/python -m benchmarks.images $(ARGS)

# Without img2dataset the benchmark goes on, and says so.
.venv-bench-images/installed: benchmarks/images-requirements.txt
	$(PYTHON) -m venv --clear .venv-bench-images
	.venv-bench-images/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $< && touch $@ || \
		echo "img2dataset could not be installed."

bench-reconcile: .venv-bench/installed  ## reconciling beside dlt, SQLAlchemy and a floor (needs mariadbd); try ARGS=--quick
	@.venv-bench/bin/python -m benchmarks.reconcile $(ARGS)

.venv-bench/installed: requirements.lock benchmarks/requirements.txt
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements.lock -r benchmarks/requirements.txt
	@touch $@

bench-providers: setup  ## each provider's fetch beside httpx and json alone; try ARGS=--quick
	@$(BIN)/python -m benchmarks.providers $(ARGS)

clean:
	rm -rf .venv .venv-bench .venv-bench-images .cata .mypy_cache .ruff_cache .pytest_cache .hypothesis
