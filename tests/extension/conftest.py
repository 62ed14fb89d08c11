"""The extension, built once for all test processes, and connections of DuckDB that have loaded it."""

from __future__ import annotations

import csv
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from duckvstore.sql.driver import httpfs

FOLDER = Path(__file__).resolve().parents[2] / "extension" / "duckdb"
SHELL = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def build_module() -> Any:
    """Return the build script as a module."""
    spec = importlib.util.spec_from_file_location("build_of_extension", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(*, sanitize: bool = False) -> Path:
    """Return the extension; skips where there is no compiler, or another DuckDB than it is for."""
    module = build_module()
    if duckdb.__version__ != module.DUCKDB_VERSION:
        pytest.skip(f"the extension is for DuckDB {module.DUCKDB_VERSION}, this is {duckdb.__version__}")
    (FOLDER / "build").mkdir(exist_ok=True)
    with (FOLDER / "build" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return module.build(sanitize=sanitize)
        except module.CannotBuildError as error:
            pytest.skip(f"the extension cannot be built here: {error}")


@pytest.fixture(scope="session")
def extension():
    """The path of the extension."""
    return built()


@pytest.fixture
def connection(extension):
    """A connection that has loaded it."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as found:
        found.execute(f"LOAD '{extension}'")
        found.execute("SET TimeZone = 'UTC'")
        yield found


class Shell:
    """DuckDB's own shell, which has loaded the extension; each call is a new process."""

    def __init__(self, home: Path, preamble: str) -> None:
        self.home, self.preamble = home, preamble

    def run(self, sql: str) -> subprocess.CompletedProcess[str]:
        """Run statements on standard input, so that no secret is in the list of processes."""
        return subprocess.run(
            [SHELL, "-unsigned", "-batch", "-bail", "-csv", "-init", os.devnull],
            input=f"{self.preamble}SET TimeZone = 'UTC';\n{sql}\n",
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rows(self, sql: str) -> list[list[str]]:
        """Return the rows of the statements, the heading first, as text."""
        done = self.run(sql)
        assert done.returncode == 0, done.stderr
        return list(csv.reader(done.stdout.splitlines()))

    def error(self, sql: str) -> str:
        """Return the message of statements that must fail."""
        done = self.run(sql)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        return done.stderr


@pytest.fixture
def shell(extension, tmp_path):
    """DuckDB's own shell."""
    if SHELL is None:
        pytest.skip("no duckdb shell beside Python or on the PATH: pip install duckdb-cli")
    return Shell(tmp_path, f"LOAD '{extension}';\n")


def s3_preamble(options: dict[str, Any]) -> str:
    """Return the statements that give DuckDB httpfs and the credentials of a bucket."""
    found = httpfs.of_wheel(duckdb.__version__)
    if found is None:
        pytest.skip(f"no wheel duckdb-extension-httpfs=={duckdb.__version__}")
    return (
        f"LOAD '{found}';\n"
        f"CREATE SECRET (TYPE s3, KEY_ID '{options['access_key_id']}', SECRET '{options['secret_access_key']}', "
        f"REGION '{options['region']}', ENDPOINT '{options['endpoint_url'].removeprefix('http://')}', "
        "URL_STYLE 'path', USE_SSL false);\n"
    )
