# Two commands need nothing set up: `make demo` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
# The default environment has the newest Python that the machine has; a shim of pyenv counts when it runs.
NEWEST_PYTHON ?= $(call first_that_runs,python3.13 $$HOME/.pyenv/versions/3.13*/bin/python3.13 $(PYTHON),pass)
# The others have the lowest version that pyproject.toml allows, where there is one.
OLDEST_PYTHON ?= $(call first_that_runs,$(PYTHON) python3.11 $$HOME/.pyenv/versions/3.11*/bin/python3.11,$(IS_OLDEST))
IS_OLDEST := import sys; sys.exit(sys.version_info[:2] != (3, 11))
first_that_runs = $(shell for found in $(1); do "$$found" -c '$(2)' 2>/dev/null && echo "$$found" && break; done)
BIN := .venv/bin
BIN_DUCKDB1 := .venv-duckdb1/bin
BIN_OLDEST := .venv-oldest/bin
# Many tests start processes of their own, each of which would compile whatever it imports again.
unexport PYTHONDONTWRITEBYTECODE
# Without --no-compile half of the time goes into modules that nothing imports.
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
# One test process more than there are cores, at most four: each waits for a server, a disk or a clock a third of the time.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -ge 4 ] && echo 4 || echo $$((n + 1)))
PYTEST := -m pytest -q -n $(JOBS)
# How much of the random samples runs, which make test-full runs whole: on DuckDB 1.5, on S3, and on the newest DuckDB. Of
# the cases of a test of SQL that has many, one of four runs on DuckDB 1.5 and another on the newest.
SHARE_DUCKDB1 ?= 0.06
SHARE_S3 ?= 0.1
SHARE ?= 0.1
LOCAL := -m "not s3 and not browser and not duckdb1"

# What depends on DuckDB's release: nothing else than these imports DuckDB.
DUCKDB1_TESTS := $(addprefix tests/,sql publish api/test_version_handles.py format/test_golden_types.py model/test_interrupts.py \
	cli/test_cli.py::test_sql_prints_a_table cli/test_cli.py::test_what_the_demo_says_to_type_works)
# What has tests that need an S3 server, or an extension of DuckDB 1: to collect all files takes each process twelve seconds more.
S3_TESTS := $(sort $(shell grep -rlwE 'seaweed|s3_bucket|s3_reader_options|moto|moto_bucket|mark[.]s3|duckdb1' --include='test_*.py' tests))
# What depends on the versions of pandas, pyarrow and Python.
OLDEST_TESTS := $(addprefix tests/,format/codecs/test_values_pandas.py format/codecs/test_values_others.py format/codecs/test_markers.py \
	api/test_index_columns.py api/test_library.py api/test_library_edits.py engine/writing/test_transactions.py \
	sql/test_session.py sql/results/test_results.py sql/writing/test_altering.py)
OLDEST_MORE := tests/engine/writing/test_staging.py tests/format/codecs/test_composite.py
# One sample at least of each kind of promise: exact behaviour, requests, format, values, SQL against DuckDB, faults, transactions, removal.
QUICK_TESTS := $(addprefix tests/,repository/test_repository.py api/test_library.py api/test_requests.py format/stored/test_layout.py \
	format/test_independent_reader.py format/test_golden_edits.py format/rows/test_digest.py format/codecs/test_values_properties.py \
	engine/writing/test_commit_races.py engine/writing/test_edits.py engine/maintenance/test_collect.py \
	sql/test_fixtures.py sql/test_random_queries.py sql/pruning/test_predicates.py sql/syntax/test_dialect.py \
	model/test_transaction_walks.py model/test_symbol_scan.py)
# The one walk that takes as long as all others.
QUICK_LEFT_OUT := --deselect 'tests/model/test_transaction_walks.py::test_a_fault_at_any_request_leaves_all_of_it_or_nothing[reading-False]'

.PHONY: demo extension environments debian quick test test-full lint format bench bench-full docs clean

demo: .venv/demo-ready
	@$(BIN)/duckvstore demo

extension:
	@$(PYTHON) extension/duckdb/build.py

# Side by side, since each waits for downloads half of the time.
environments:
	@$(MAKE) --no-print-directory -j 4 .venv/ready .venv-duckdb1/ready .venv-oldest/ready debian lint

debian:
	@sh tests/ensure_chromium.sh
	@sh tests/ensure_postgres.sh

quick: .venv/ready
	@$(BIN)/ruff check --quiet .
	@DUCKVSTORE_SHARE=0.1 $(BIN)/python $(PYTEST) $(QUICK_TESTS) $(QUICK_LEFT_OUT) $(LOCAL)

test: environments
	@echo "== values and edits on the lowest versions of Python, pandas, pyarrow and DuckDB =="
	@[ ! -x $(BIN_OLDEST)/python ] || $(BIN_OLDEST)/python $(PYTEST) $(OLDEST_TESTS) $(LOCAL)
	@[ -x $(BIN_OLDEST)/python ] || echo "left out: there is no Python 3.11 here (OLDEST_PYTHON=… names one)"
	@echo "== DuckDB 1.5: SQL, and whatever needs S3 =="
	@DUCKVSTORE_SHARE=$(SHARE_DUCKDB1) DUCKVSTORE_CASES=0/4 $(BIN_DUCKDB1)/python $(PYTEST) $(DUCKDB1_TESTS) $(LOCAL)
	@DUCKVSTORE_SHARE=$(SHARE_S3) $(BIN_DUCKDB1)/python $(PYTEST) --dist loadfile --no-loadscope-reorder $(S3_TESTS) -m "s3 or duckdb1"
	@echo "== everything else on the newest DuckDB and Python =="
	@DUCKVSTORE_SHARE=$(SHARE) DUCKVSTORE_CASES=1/4 $(BIN)/python $(PYTEST) --dist loadfile --no-loadscope-reorder -m "not s3 and not duckdb1"

test-full: export PYTEST_ADDOPTS := -o faulthandler_timeout=7200
test-full: export DUCKVSTORE_FULL := 1
test-full: environments
	@[ ! -x $(BIN_OLDEST)/python ] || $(BIN_OLDEST)/python $(PYTEST) $(OLDEST_TESTS) $(OLDEST_MORE) $(LOCAL)
	@[ -x $(BIN_OLDEST)/python ] || echo "the lowest versions are left out: there is no Python 3.11 here (OLDEST_PYTHON=… names one)"
	@$(BIN_DUCKDB1)/python $(PYTEST) $(DUCKDB1_TESTS) $(LOCAL)
	@$(BIN_DUCKDB1)/python $(PYTEST) --dist worksteal $(S3_TESTS) -m "s3 or duckdb1"
	@$(BIN)/python $(PYTEST) --dist worksteal -m "not s3 and not duckdb1"

lint: .venv/ready
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/tmp/duckvstore-lint-imports.$$$$ 2>&1 || { cat /tmp/duckvstore-lint-imports.$$$$; exit 1; }; rm -f /tmp/duckvstore-lint-imports.$$$$

format: .venv/ready
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

docs: .venv/ready
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

bench: .venv-bench/ready
	@.venv-bench/bin/python -m tests.benchmarks.run $(BENCH)

bench-full: .venv-bench/ready
	@.venv-bench/bin/python -m tests.benchmarks.run --full $(BENCH)

clean:
	rm -rf extension/duckdb/build site .venv .venv-duckdb1 .venv-oldest .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/created:
	@$(NEWEST_PYTHON) -m venv .venv
	@touch $@

.venv/demo-ready: pyproject.toml constraints.txt .venv/created
	@echo "setting up (once, about half a minute) …"
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[demo]'
	@touch $@

.venv/ready: pyproject.toml constraints.txt .venv/created
	@echo "setting up the test environments (once, about two minutes) …"
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[demo,dev,jupyter]'
	@touch $@ .venv/demo-ready

# The major release before, for which PyPI has httpfs, tpch and the shell.
.venv-duckdb1/ready: pyproject.toml constraints.txt
	@$(or $(OLDEST_PYTHON),$(PYTHON)) -m venv .venv-duckdb1
	@grep -v '^duckdb' constraints.txt > .venv-duckdb1/constraints.txt
	@$(BIN_DUCKDB1)/python $(PIP) -c .venv-duckdb1/constraints.txt -e '.[duckdb1]'
	@touch $@

# The lowest versions that pyproject.toml allows, of Python too. Where that is not found, the environment stays empty.
.venv-oldest/ready: pyproject.toml constraints.txt tests/lowest_versions.py
	@rm -rf .venv-oldest && mkdir .venv-oldest
	@[ -z "$(OLDEST_PYTHON)" ] || "$(OLDEST_PYTHON)" -m venv .venv-oldest
	@[ -z "$(OLDEST_PYTHON)" ] || "$(OLDEST_PYTHON)" tests/lowest_versions.py > .venv-oldest/constraints.txt
	@[ -z "$(OLDEST_PYTHON)" ] || grep -E '^(hypothesis|polars|pytest|pytest-timeout|pytest-xdist|tzdata)==' constraints.txt >> .venv-oldest/constraints.txt
	@[ -z "$(OLDEST_PYTHON)" ] || $(BIN_OLDEST)/python $(PIP) -c .venv-oldest/constraints.txt -e '.[test]' tzdata
	@touch $@

# ArcticDB decides about its own dependencies, so the constraints of the tests do not apply here. Modules are compiled,
# since each case of the benchmark is a new process whose imports are timed.
.venv-bench/ready: pyproject.toml
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python $(subst --no-compile,,$(PIP)) -e '.[bench]'
	@.venv-bench/bin/python -m compileall -q duckvstore tests/benchmarks tests/servers.py
	@touch $@
