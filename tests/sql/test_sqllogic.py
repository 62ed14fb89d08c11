"""Files in DuckDB's format of SQL tests, run against a library and DuckDB: ours always, a folder of others on demand.

``DUCKVSTORE_SQLLOGIC=folder`` names the folder; CONTRIBUTING.md says how.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sql import sqllogic

OWN = sorted((Path(__file__).parent / "sqllogic").glob("*.test"))
FOLDER = os.environ.get("DUCKVSTORE_SQLLOGIC")
OTHERS = list(sqllogic.files_in(Path(FOLDER))) if FOLDER else []
SECONDS_MAX = 120
KEYS = {"constraints, keys and defaults": 1}
NOT_APPLICABLE = {"writing": KEYS, "format": {"verification of plans": 2}}


def run_text(tmp_path, text):
    path = tmp_path / "file.test"
    path.write_text(text)
    return sqllogic.run_file(path)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_files_of_our_own(path):
    report = sqllogic.run_file(path)
    assert (report.ours_differs, report.duckdb_differs) == ([], [])
    assert report.not_applicable == NOT_APPLICABLE.get(path.stem, {})
    assert report.passed > 20
    assert report.stopped == ("halt" if path.stem == "format" else "")


if OTHERS:

    @pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(FOLDER or "/")))
    def test_files_of_a_folder(path, record_property):
        """In a process of its own, which DuckDB may crash."""
        command = [sys.executable, "-m", "tests.sql.sqllogic", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        report = json.loads(done.stdout)
        for name, value in report.items():
            record_property(name, str(value))
        print(path, json.dumps(report, indent=1))
        assert not report["ours_differs"], "\n".join(report["ours_differs"])


def test_what_counts_as_what(tmp_path):
    """Where DuckDB is not as the file says, ours is not judged; where it is, ours is."""
    report = run_text(
        tmp_path,
        """
statement ok
CREATE TABLE t AS SELECT 1 AS a

# the file is wrong
query I
FROM t
----
2

statement error
FROM t

statement ok
FROM nix

# symbols are no tables of DuckDB's
query T
SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory'
----
t

query I
SELECT a + 1 FROM t
----
2

require nosuchextension

statement ok
FROM t
""",
    )
    assert [note.partition(":")[0] for note in report.duckdb_differs] == ["line 6", "line 11", "line 14"]
    assert [note.partition(":")[0] for note in report.ours_differs] == ["line 18"]
    assert (report.passed, report.stopped) == (2, "requires nosuchextension")


def test_a_statement_that_only_one_takes_differs(tmp_path):
    """Also one that fails in DuckDB and not here: ``FROM vstore.symbols`` is of the store alone."""
    report = run_text(
        tmp_path, "statement error\nFROM vstore.symbols\n\nstatement ok\nCREATE TABLE t (i INTEGER UNIQUE)\n"
    )
    assert [note.partition(":")[0] for note in report.ours_differs] == ["line 1"]
    assert report.not_applicable == KEYS


def test_reading_the_format():
    """Loops hold what they repeat, and a file may end anywhere but in one."""
    text = (
        "loop i 0 2\n\nforeach x <signed> !hugeint a\n\nquery I\nSELECT ${i}, '${x}'\n----\n${i}\n\nendloop\n\nendloop"
    )
    (outer,) = sqllogic.parse(text)
    (inner,) = outer.body
    assert (outer.command, inner.words[:2]) == ("loop", ("foreach", "x"))
    assert sqllogic.values_of(outer.words) == ["0", "1"]
    assert sqllogic.values_of(inner.words) == ["tinyint", "smallint", "integer", "bigint", "a"]
    assert inner.body[0].expected == ("${i}",)
    with pytest.raises(ValueError, match="line 1: a loop"):
        sqllogic.parse("loop i 0 2\n\nstatement ok\nSELECT 1")


@pytest.mark.parametrize(
    ("found", "expected", "is_same"),
    [
        ("true", "1", True),
        ("0.30000000000000004", "0.3", True),
        ("nan", "nan", True),
        ("10", "1e1", True),
        ("(empty)", "(empty)", True),
        ("abc", "<REGEX>:a.c", True),
        ("abc", "<!REGEX>:b", False),
        ("1", "2", False),
        ("NULL", "0", False),
        ("abc", "abd", False),
    ],
)
def test_when_a_value_is_what_is_expected(found, expected, is_same):
    assert sqllogic.is_same(found, expected) is is_same
