"""Damaged and hostile documents are errors, or are read as they are: never a crash of the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.sql.syntax.literals import literal
from tests.extension.conftest import built
from tests.sizes import IS_FULL, sized

pytestmark = pytest.mark.duckdb1
PROCESSES = 8 if IS_FULL else 1


def mutate(extension: Path, seed: int, count: int, **environment: str) -> str:
    """Return what a process says that damages documents and asks for them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.extension.mutants", str(extension), str(seed), str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=7000,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-600:]} {done.stderr[-6000:]}"
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("seed", range(PROCESSES))
def test_damaged_documents_do_no_harm(extension, seed):
    """After each of many changes to documents, statements give an answer or an error."""
    assert "errors" in mutate(extension, seed, sized(300, 1500))


@pytest.mark.skipif(not IS_FULL, reason="a build with sanitizers takes minutes: make test-full")
@pytest.mark.parametrize("seed", range(100, 104))
def test_sanitizers_find_nothing_in_damaged_documents(seed):
    """The same with AddressSanitizer and UBSan in the extension."""
    extension = built(sanitize=True)
    libraries = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    # The process around it leaks by design, and its allocations are not all of one kind.
    options = "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0:allocator_may_return_null=1"
    mutate(extension, seed, 2500, LD_PRELOAD=" ".join(libraries), ASAN_OPTIONS=options)


@pytest.mark.parametrize(
    "key",
    [
        "../../secret.parquet",
        "/etc/passwd",
        "segments/trades/../../../secret.parquet",
        "s3://elsewhere/x.parquet",
        "segments/trades/*.parquet",
        "segments/..",
        "",
    ],
)
def test_a_document_cannot_point_anywhere_else(key, connection, tmp_path):
    """What is no key of a segment of this library is never opened."""
    lib = vs.open(tmp_path / "store").create_library("eod")
    lib.write("trades", pd.DataFrame({"n": [1]}))
    root = tmp_path / "store" / "eod"
    document = next((root / "versions" / "trades").glob("*.json"))
    body = json.loads(document.read_text())
    body["segments"]["key"] = [key]
    document.write_text(json.dumps(body))
    connection.execute(f"ATTACH {literal(str(root))} AS eod (TYPE vstore)")
    with pytest.raises(duckdb.Error, match="is damaged"):
        connection.sql("FROM eod.trades").fetchall()


def test_a_type_is_never_more_than_a_type(connection, tmp_path):
    """The words of a document for a type of DuckDB do not become SQL of another kind."""
    lib = vs.open(tmp_path / "store").create_library("eod")
    lib.sql("CREATE TABLE t AS SELECT 'a'::ENUM('a') AS e")
    root = tmp_path / "store" / "eod"
    document = next((root / "versions" / "t").glob("*.json"))
    for words in ("VARCHAR) FROM range(9) --", "no_such", "INTEGER, x INTEGER", "ENUM('a') AS e; DROP TABLE x", "("):
        body = json.loads(document.read_text())
        body["schema"]["columns"][0]["duckdb"] = words
        document.write_text(json.dumps(body))
        connection.execute(f"ATTACH {literal(str(root))} AS eod (TYPE vstore)")
        try:
            assert len(connection.sql("FROM eod.t").fetchall()) == 1
        except duckdb.Error as error:
            assert "is damaged" in str(error) or "onversion" in str(error)
        connection.execute("DETACH eod")
