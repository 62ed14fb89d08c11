"""The SQL fixtures over an attached library: the same text, with AT as DuckDB spells it, answers as lib.sql does."""

from __future__ import annotations

import re

import duckdb
import pytest

import duckvstore as vs
from tests.sql.test_fixtures import CASES, REGIONS, build_versions, rows_of, write_all

pytestmark = pytest.mark.duckdb1
_KIND = r"(?:AT|FOR)\s+(?:SYSTEM_TIME|VERSION|TIMESTAMP|SNAPSHOT)(?:\s+AS\s+OF)?"
_VALUE = r"(?:-\s*\d+|\d+|'(?:[^']|'')*'|\$\w+|\?)"
# The bare forms, and an alias behind any form: DuckDB's parser takes AT (… => …) behind the alias alone.
_BARE = re.compile(rf"\b({_KIND})\s+({_VALUE})", re.IGNORECASE)
_NO_ALIAS = (
    "WHERE|ORDER|GROUP|JOIN|ON|USING|LIMIT|LEFT|RIGHT|FULL|INNER|SEMI|ANTI|ASOF|CROSS|POSITIONAL|NATURAL|UNION|EXCEPT|"
    "INTERSECT|HAVING|QUALIFY|SELECT|AT|TABLESAMPLE|PIVOT|UNPIVOT|WINDOW|OFFSET"
)
_ALIAS_BEHIND = re.compile(rf"(AT \([^()]*\))\s+(AS\s+)?(?!(?:{_NO_ALIAS})\b)(\w+)(?=\W|$)", re.IGNORECASE)


def _spelled(found: re.Match[str]) -> str:
    kind = found[1].upper()
    if "SNAPSHOT" in kind or "VERSION" in kind:
        return f"AT (VERSION => {found[2]})"
    return f"AT (TIMESTAMP => {found[2]})"


def portable(sql: str) -> str:
    """Return the text in DuckDB's own grammar."""
    text = re.sub(r"AT\s*\(\s*SNAPSHOT\s*=>", "AT (VERSION =>", _BARE.sub(_spelled, sql), flags=re.IGNORECASE)
    return _ALIAS_BEHIND.sub(r"AS \3 \1", text)


def translated(case) -> str | None:
    """Return the case's SQL; None: DuckDB's own grammar has not what it needs, or it has AT in a string or a comment.

    A CTE of a symbol's name comes before the symbol, which lib.sql sees where there is AT.
    """
    text = portable(case.sql)
    if re.search(r"AT \([^()]*[$?]|vstore\.diff|'[^'\n]*\bAT\b[^'\n]*'|--|'mine'|\$\$", text):
        return None
    try:
        duckdb.extract_statements(text)
    except duckdb.ParserException:
        return None
    return text


RUN = [case for case in CASES if translated(case.values[0]) is not None]


@pytest.fixture(scope="module")
def versions():
    return build_versions()


@pytest.fixture(scope="module")
def library(versions, tmp_path_factory):
    found = vs.open(tmp_path_factory.mktemp("fixtures")).create_library("eod")
    write_all(found, versions)
    yield found
    found.session.close()


@pytest.fixture(scope="module")
def attached(library, extension):
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(f"ATTACH '{library.open_library.objects.uri('eod')}' AS eod (TYPE vstore)")
        connection.execute("USE eod")
        yield connection


@pytest.mark.parametrize("case", RUN)
def test_answers_as_lib_sql(case, library, attached):
    """Column names, types and rows are those of lib.sql."""
    regions = REGIONS  # noqa: F841 - named in the SQL
    wanted = library.sql(case.sql, case.parameters)
    found = attached.sql(translated(case), params=case.parameters)
    assert found.columns == wanted.columns
    assert [str(kind) for kind in found.types] == wanted.types
    if case.compare == "shape":
        return
    rows = [rows_of(table) for table in (found.to_arrow_table(), wanted.arrow())]
    if case.compare == "rows":
        rows = [sorted(each) for each in rows]
    assert rows[0] == rows[1]


def test_most_cases_are_run():
    """What DuckDB's grammar cannot say is little."""
    assert len(RUN) >= len(CASES) * 0.75


def test_segments_are_left_out_before_they_are_opened(attached):
    """EXPLAIN shows how many of a version's segments a filter leaves, by the statistics in its document alone."""
    rows = attached.sql("EXPLAIN SELECT count(*) FROM flights AT (VERSION => 3) WHERE carrier = 'AS'").fetchall()
    assert re.search(r"1/(8|9|1\d)", rows[0][1]), rows[0][1]
    assert attached.sql("SELECT count(*) FROM flights AT (VERSION => 3) WHERE carrier = 'AS'").fetchall() == [(712,)]
