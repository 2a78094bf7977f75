.PHONY: help demo test bench lint build build-afresh docs validate site serve lock clean

# What a person may set: the Python to start from, and DATABASE_URL (see README.md).
PYTHON ?= python3
BIN := .venv/bin
MIGRATE := $(BIN)/migrate
SQLFLUFF := $(BIN)/sqlfluff lint --disable-progress-bar
# The demo, the tests and lint work on the embedded PostgreSQL, whatever database the shell happens to name.
CLEAN := env -u DATABASE_URL -u DBT_PROFILES_DIR -u MIGRATION_SCHEMA -u MIGRATION_VARS
EMBEDDED = $(CLEAN) DATABASE_URL="$$($(MIGRATE) db url)"
step = @printf '\n$$ migrate %s\n' '$(1)'; $(EMBEDDED) $(MIGRATE) $(1)

help:  ## show this list
	@awk -F ':.*##' '/^[a-z]+:.*##/ {printf "%-10s%s\n", $$1, $$2}' Makefile

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("error: Python 3.11, 3.12 or 3.13 is needed, %s is %d.%d. Name another with make PYTHON=python3.12." % (sys.executable, *v))'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/installed  ## fill the embedded PostgreSQL with example rows and migrate them, proof and review site included
	$(call step,db start)
	$(call step,demo --reset)
	$(call step,build)
	$(call step,events)
	$(call step,events --apply --yes)
	$(call step,campaigns --apply --yes)
	$(call step,status)
	$(call step,log)
	$(call step,validate)
	$(call step,site)

test: export MIGRATION_STATE_DIR := $(CURDIR)/.state/test
test: .venv/installed  ## lint, dbt build from an empty database, pytest
	$(CLEAN) $(MIGRATE) db reset --yes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint build-afresh
	$(CLEAN) $(MIGRATE) db stop
	$(CLEAN) $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

build-afresh: .venv/installed
	$(EMBEDDED) $(MIGRATE) demo
	$(EMBEDDED) $(MIGRATE) build

bench: .venv/installed  ## measure the write-back: make bench ROWS=100000,1000000 ROUNDS=3 JSON=bench.json PICTURE=bench.svg BENCH="--providers shopify=3"
	$(BIN)/python -m scripts.bench $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON)) $(if $(PICTURE),--picture $(PICTURE)) $(BENCH)

lint: .venv/installed  ## sqlfluff, ruff, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	DBT_PROFILES_DIR="$$($(CLEAN) $(MIGRATE) db profile)" $(SQLFLUFF) models tests analyses
	$(SQLFLUFF) --disregard-sqlfluffignores --templater jinja --ignore templating,parsing \
		--exclude-rules LT02,LT05,RF03,RF04,ST05,ST06,AL05 models/events

build: .venv/installed  ## build and test the models in the database that the settings name
	$(MIGRATE) build

docs: .venv/installed  ## make dbt's documentation as one page, site/dbt/index.html
	$(MIGRATE) build --docs site/dbt

validate: .venv/installed  ## check the result with Great Expectations and build its Data Docs
	$(MIGRATE) validate

site: .venv/installed  ## make the review site, site/review/index.html, which opens offline
	$(MIGRATE) site

serve: .venv/installed  ## serve the admin page on this machine; prints a link that signs in once
	$(MIGRATE) serve

lock: .venv/installed  ## pin the newest packages that suit pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras --upgrade -o requirements.lock

clean:  ## stop the embedded PostgreSQL and remove everything that was generated
	-@test ! -x $(MIGRATE) || $(CLEAN) $(MIGRATE) db reset --yes
	-@test ! -x $(MIGRATE) || $(CLEAN) MIGRATION_STATE_DIR=$(CURDIR)/.state/test $(MIGRATE) db reset --yes
	-@test ! -x $(MIGRATE) || $(CLEAN) MIGRATION_STATE_DIR=$(CURDIR)/.state/bench $(MIGRATE) db reset --yes
	rm -rf .venv .state target logs site gx build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
