"""What a sandboxed session may do: queries over copies of segments in one folder, and nothing else.

Invariant: DuckDB is locked before it sees a user's text. It can then reach no file outside of the folder, no network
and no extension, and has no credentials; only statements that DuckDB itself takes for queries are run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.errors import SqlError
from duckvstore.sql import headers, readable, tokens
from duckvstore.sql.literals import literal

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from duckvstore.sql.dialect import Statement

_QUERY_WORDS = frozenset(
    {
        *("SELECT", "FROM", "WITH", "VALUES", "TABLE", "DESCRIBE", "DESC", "SHOW", "SUMMARIZE", "("),
        *("PIVOT", "UNPIVOT", "PIVOT_WIDER", "PIVOT_LONGER"),
    }
)
# A PIVOT is several statements to DuckDB: 1.5 makes an enumeration for it first, 2.0 hides them behind one.
_QUERY_TYPES = frozenset(("SELECT",))
_PIVOT_TYPES = _QUERY_TYPES | {"CREATE", "MULTI", "TRANSACTION"}
_TREES = frozenset(("query", "explain", "describe", "summarize"))
# Table functions that read no files, run no text and switch nothing for others. DuckDB 1.5 lets
# ``FROM enable_logging()`` through, locked or not, and the log has the statements of everybody.
_HARMLESS_CALLS = frozenset(
    {
        *("range", "generate_series", "unnest", "repeat", "repeat_row", "summary", "json_each", "json_tree"),
        *("test_all_types", "pragma_version", "pragma_platform", "pragma_collations", "pragma_table_info"),
        *("duckdb_columns", "duckdb_databases", "duckdb_functions", "duckdb_keywords", "duckdb_schemas"),
        *("duckdb_settings", "duckdb_tables", "duckdb_types", "duckdb_views", "pg_timezone_names"),
        *("icu_calendar_names", "pragma_show", "duckdb_constraints", "duckdb_extensions", "duckdb_optimizers"),
    }
)
_table_functions: dict[str, frozenset[str]] = {}
_ADVICE = "a sandboxed session runs queries only: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN"


def lock(instance: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Take from ``instance`` everything but ``folder``, for good."""
    spill = folder / "spill"
    spill.mkdir(exist_ok=True)
    for setting in (
        "TimeZone = 'UTC'",  # times in AT forms are read in UTC, and nothing can be set later
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        f"temp_directory = {literal(str(spill))}",
        f"allowed_directories = [{literal(f'{folder}/')}]",
        "enable_external_access = false",
        "validate_external_file_cache = 'NO_VALIDATION'",  # a copy never changes
        "lock_configuration = true",
    ):
        instance.execute(f"SET GLOBAL {setting}")


def check(statement: Statement, cursor: duckdb.DuckDBPyConnection) -> None:
    """Raise SqlError unless ``statement`` starts as a query does and calls no table function that does more."""
    found, _ = tokens.scan(statement.text)
    body = [token for token in found if token.start >= readable.explain_end(found)]
    if not body or body[0].upper not in _QUERY_WORDS:
        word = body[0].text if body else "EXPLAIN"
        raise statement.error(f"{_ADVICE}; this is {word[:40]}", body[0].start if body else 0)
    refused = sorted(headers.called(statement.text) & _refused_calls(cursor))
    if refused:
        place = max(0, statement.text.casefold().find(refused[0]))
        raise statement.error(f"a sandboxed session reads symbols only: it does not call {refused[0]}", place)


def _refused_calls(cursor: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the names, in lower case, of DuckDB's table functions that a sandbox refuses."""
    import duckdb

    known = _table_functions.get(duckdb.__version__)
    if known is None:
        question = (
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type IN ('table', 'pragma')"
        )
        known = frozenset(name for (name,) in cursor.execute(question).fetchall()) - _HARMLESS_CALLS
        _table_functions[duckdb.__version__] = known
    return known


def check_types(statement: Statement, text: str, cursor: duckdb.DuckDBPyConnection) -> None:
    """Raise SqlError unless ``text``, which is to run for ``statement``, is a query to DuckDB, or EXPLAIN of one.

    EXPLAIN ANALYZE runs what it explains, so the text behind it is looked at. A text that DuckDB cannot read fails
    when it is run.
    """
    import duckdb

    found, _ = tokens.scan(text)
    end = readable.explain_end(found)
    try:
        parts = cursor.extract_statements(text[end:])
    except duckdb.Error:
        if end:
            raise SqlError(f"{_ADVICE}; what stands behind EXPLAIN is none") from None
        return
    types = {str(part.type).rpartition(".")[2] for part in parts}
    allowed = _PIVOT_TYPES if statement.kind in _TREES else _QUERY_TYPES
    if not types <= allowed:
        raise statement.error(f"{_ADVICE}; DuckDB takes this for {' and '.join(sorted(types - allowed))}", 0)
