"""What a sandboxed session may do: queries over copies of segments in one folder, and nothing else.

DuckDB is locked before it sees a user's text. It can then reach no file outside of the folder, no network
and no extension, and has no credentials; only statements that DuckDB itself takes for queries are run.
"""

from __future__ import annotations

import bisect
import itertools
import shutil
from typing import TYPE_CHECKING

from duckvstore.errors import SqlError
from duckvstore.sql.planning.temporary_folders import room
from duckvstore.sql.syntax import tokens
from duckvstore.sql.syntax.literals import literal
from duckvstore.sql.syntax.words import QUERY_WORDS

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from duckvstore.sql.syntax.statement import Statement

# A PIVOT is several statements to DuckDB: 1.5 makes an enumeration for it first, 2.0 hides them behind one.
_PIVOT_WORDS = frozenset(("PIVOT", "PIVOT_WIDER"))
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
        *("histogram", "histogram_values", "version", "show"),
    }
)
# Statements that DuckDB 2 takes for the body of a common table expression. COPY writes into the folder of the copies.
_BODIES = frozenset(("COPY", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "MERGE"))
# Other functions that change something which lasts: for later statements of the thread, or in the log of all of them.
_LASTING_CALLS = frozenset(("setseed", "write_log"))
# They hold a thread for as long as somebody likes, and do nothing.
_WAITING_CALLS = frozenset(("pg_sleep", "sleep_ms"))
# Functions of the states of aggregates (EXPORT_STATE). DuckDB 1.5 casts any bytes to one, and what it takes for an
# address in them is read: memory of the process that way, credentials too.
_STATE_CALLS = frozenset(("finalize", "combine", "combine_aggr", "to_aggregate_state"))
_BLANKS = str.maketrans(dict.fromkeys(tokens.ODD_SPACES, " "))
_table_functions: dict[str, frozenset[str]] = {}
_ADVICE = "a sandboxed session runs queries only: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN"


def lock(instance: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Take from ``instance`` everything but ``folder``, for good."""
    spill = folder / "spill"
    with room(folder):
        spill.mkdir(exist_ok=True)
        # DuckDB's own limit is nine tenths of what is free when it first spills: nothing, for good, if that is nothing.
        spill_kilobytes = shutil.disk_usage(folder).total * 9 // 10_000
    for setting in (
        "TimeZone = 'UTC'",  # times in AT forms are read in UTC, and nothing can be set later
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "http_proxy = ''",  # its value is that of the environment, which may have a password
        "allow_persistent_secrets = false",
        *(
            f"{kind}_directory = {literal(str(folder / kind))}" for kind in ("secret", "extension")
        ),  # not below the home
        f"temp_directory = {literal(str(spill))}",
        f"max_temp_directory_size = '{spill_kilobytes}KB'",
        f"allowed_directories = [{literal(f'{folder}/')}]",
        "enable_external_access = false",
        "validate_external_file_cache = 'NO_VALIDATION'",  # a copy never changes
        "lock_configuration = true",
    ):
        instance.execute(f"SET GLOBAL {setting}")


def plain(text: str) -> str:
    """Return ``text`` with a blank for each odd space: in some places DuckDB 1.5 takes one for a letter."""
    if text.isascii():
        return text
    pieces, position = [], 0
    for start, end in tokens.scan(text)[1]:
        pieces += [text[position:start], text[start:end].translate(_BLANKS)]
        position = end
    return "".join([*pieces, text[position:]])


def check(statement: Statement, cursor: duckdb.DuckDBPyConnection) -> None:
    """Raise SqlError unless ``statement`` starts as a query does and calls no table function that does more."""
    found = statement.tokens
    place = _misread(statement.text)
    if place is not None:
        raise statement.error("a sandboxed session does not run this text, which can be read in two ways", place)
    body = [token for token in found if token.start >= statement.explain_end]
    if not body or body[0].upper not in QUERY_WORDS:
        word = body[0].text if body else "EXPLAIN"
        raise statement.error(f"{_ADVICE}; this is {word[:40]}", body[0].start if body else 0)
    for before, opening, first in zip(found, found[1:], found[2:], strict=False):
        if before.upper in ("AS", "MATERIALIZED") and opening.text == "(" and first.upper in _BODIES:
            raise statement.error(f"{_ADVICE}; this is {first.text}", first.start)
    refused = sorted(statement.calls & _refused_calls(cursor))
    if refused:
        place = max(0, statement.text.casefold().find(refused[0]))
        raise statement.error(f"a sandboxed session reads symbols only: it does not call {refused[0]}", place)


def _misread(text: str) -> int | None:
    """Return a character where DuckDB sees other words in ``text`` than we do; None: it sees the same.

    The releases of DuckDB do not agree on what a string or a name is. What they take for a word must not be
    inside of a string, a name or a comment to us, nor the other way round.
    """
    import duckdb

    found, gaps = tokens.scan(text)
    byte = list(itertools.accumulate((len(character.encode()) for character in text), initial=0))
    words = sorted(start for start, kind in duckdb.tokenize(text) if kind != duckdb.token_type.comment)
    seen = frozenset(words)
    for token in found:
        if token.kind in ("word", "quoted") and byte[token.start] not in seen:
            return token.start
    closed = [(token.start + 1, token.end) for token in found if token.kind not in ("parameter", "operator")]
    for start, end in [*closed, *gaps]:
        first = bisect.bisect_left(words, byte[start])
        if first < len(words) and words[first] < byte[end]:
            return start
    return None


def _refused_calls(cursor: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the names, in lower case, of DuckDB's functions that a sandbox refuses."""
    import duckdb

    known = _table_functions.get(duckdb.__version__)
    if known is None:
        question = (
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
            "WHERE function_type IN ('table', 'table_macro', 'pragma')"
        )
        found = frozenset(name for (name,) in cursor.execute(question).fetchall())
        known = (found - _HARMLESS_CALLS) | _LASTING_CALLS | _WAITING_CALLS | _STATE_CALLS
        _table_functions[duckdb.__version__] = known
    return known


def check_types(statement: Statement, text: str, cursor: duckdb.DuckDBPyConnection) -> None:
    """Raise SqlError unless ``text``, which is to run for ``statement``, is a query to DuckDB, or EXPLAIN of one.

    EXPLAIN ANALYZE runs what it explains, so the text after it is checked. A text that DuckDB cannot read fails
    when it is run.
    """
    import duckdb

    end = statement.explain_end
    try:
        parts = cursor.extract_statements(text[end:])
    except duckdb.Error:
        if end:
            raise SqlError(f"{_ADVICE}; what stands behind EXPLAIN is none") from None
        return
    types = {str(part.type).rpartition(".")[2] for part in parts}
    is_pivot = statement.kind in _TREES and any(token.upper in _PIVOT_WORDS for token in statement.tokens)
    allowed = _PIVOT_TYPES if is_pivot else _QUERY_TYPES
    if not types <= allowed:
        raise statement.error(f"{_ADVICE}; DuckDB takes this for {' and '.join(sorted(types - allowed))}", 0)
