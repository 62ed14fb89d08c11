"""What the session lists: symbols, snapshots and the catalogue, in DuckDB's own tables of databases, schemas and views.

Symbols are listed and never enter DuckDB's catalogue: for a statement that asks for lists, DuckDB's
functions duckdb_views() and the like (information_schema and pg_catalog are views of them) return symbols as well.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from duckvstore.engine.library import unreadable
from duckvstore.engine.reading import catalogue, catalogue_tables, listings
from duckvstore.errors import NoSuchKey
from duckvstore.sql.binding.namespace import CATALOGUE_SCHEMA, MAIN_SCHEMA
from duckvstore.sql.planning.planner import Instance
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.syntax.tokens import closing, scan, string_value, unquoted
from duckvstore.sql.values import kinds, types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.tokens import Token

Row = dict[str, Any]

_WORDS = re.compile(
    r"(?<!system\.main\.)duckdb_(?:views|tables|columns|schemas|databases)|information_schema|pg_\w|sqlite_\w*(?:master|schema)|"
    r"pragma_database_list",
    re.IGNORECASE,
)
_SHOWING = re.compile(r"\b(?:SHOW|DESC|DESCRIBE|PRAGMA|CALL)\b", re.IGNORECASE)
_DEEP_WORDS = re.compile(r"views|tables|columns|pg_|sqlite_", re.IGNORECASE)
# Beyond the numbers that DuckDB gives to what it has.
_FIRST_OID = 1_000_000_000
_TEXT, _NUMBER, _FLAG = "text", "number", "flag"
_COLUMNS: dict[str, dict[str, str]] = {
    "duckdb_databases": {"database_name": _TEXT, "database_oid": _NUMBER, "internal": _FLAG, "type": _TEXT},
    "duckdb_schemas": {
        "oid": _NUMBER,
        "database_name": _TEXT,
        "database_oid": _NUMBER,
        "schema_name": _TEXT,
        "internal": _FLAG,
    },
    "duckdb_views": {
        "database_name": _TEXT,
        "database_oid": _NUMBER,
        "schema_name": _TEXT,
        "schema_oid": _NUMBER,
        "view_name": _TEXT,
        "view_oid": _NUMBER,
        "comment": _TEXT,
        "internal": _FLAG,
        "temporary": _FLAG,
        "column_count": _NUMBER,
    },
    "duckdb_columns": {
        "database_name": _TEXT,
        "database_oid": _NUMBER,
        "schema_name": _TEXT,
        "schema_oid": _NUMBER,
        "table_name": _TEXT,
        "table_oid": _NUMBER,
        "column_name": _TEXT,
        "column_index": _NUMBER,
        "internal": _FLAG,
        "is_nullable": _FLAG,
        "data_type": _TEXT,
    },
}
_NAMES = {"duckdb_views": "view_name", "duckdb_columns": "table_name"}
_ALL_TABLES = """
    SELECT database_name AS database, schema_name AS schema, table_name AS name,
        list(column_name ORDER BY column_index) AS column_names, list(data_type ORDER BY column_index) AS column_types,
        database_name = 'temp' AS temporary
    FROM duckdb_columns() WHERE NOT internal GROUP BY ALL ORDER BY ALL"""
_OF_PLACE = """
    SELECT name FROM (
        SELECT database_name, schema_name, table_name AS name FROM duckdb_tables() WHERE NOT internal
        UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal
    ) WHERE {where}
    UNION ALL SELECT error({missing}) WHERE NOT EXISTS (FROM duckdb_schemas() WHERE {where})
    ORDER BY name"""
_SCHEMAS = """
    SELECT database_name, schema_name,
        database_name = current_database() AND schema_name = current_schema() AS current
    FROM duckdb_schemas() WHERE database_name NOT IN ('system', 'temp') ORDER BY ALL"""
_TABLE_INFO = """
    SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS cid, column_name AS name, column_type AS type,
        "null" = 'NO' AS "notnull", "default" AS dflt_value, coalesce(key = 'PRI', false) AS pk
    FROM (DESCRIBE {table})"""
_DATABASES = "SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY ALL"
_TABLES = "tables"
_QUERIES: dict[tuple[str, ...], str] = {
    ("SHOW", "TABLES"): _TABLES,
    ("PRAGMA", "SHOW_TABLES"): _TABLES,
    ("SHOW", "ALL", "TABLES"): _ALL_TABLES,
    ("PRAGMA", "SHOW_TABLES_EXPANDED"): _ALL_TABLES,
    ("SHOW",): _ALL_TABLES,
    ("DESCRIBE",): _ALL_TABLES,
    ("DESC",): _ALL_TABLES,
    ("SHOW", "SCHEMAS"): _SCHEMAS,
    ("SHOW", "DATABASES"): _DATABASES,
}


def shown(statement: Statement, tables: Callable[[], str]) -> str | None:
    """Return the text of ``statement`` with queries in place of SHOW TABLES and the like; None: it has none.

    ``tables`` gives the query for SHOW TABLES, which lists what can be named without its place.
    """
    text = statement.text
    place = _place(statement.tokens) if _SHOWING.search(text) is not None else None
    if place is None:
        return None
    start, end, query = place
    return f"{text[:start]}{tables() if query == _TABLES else query}{text[end:]}"


def _place(tokens: Sequence[Token]) -> tuple[int, int, str] | None:
    """Return where SHOW TABLES or the like is, alone or in parentheses, with the query for it."""
    pairs = enumerate(pairwise(tokens))
    opened = [at for at, (before, after) in pairs if before.text == "(" and _SHOWING.fullmatch(after.upper)]
    spans = [(at + 1, closing(tokens, at)) for at in opened]
    for start, end in [(0, len(tokens)), *spans]:
        query = _query(tokens[start:end]) if start < end else None
        if query is not None:
            return tokens[start].start, tokens[end - 1].end, query
    return None


def _query(tokens: Sequence[Token]) -> str | None:
    words = tuple(token.upper for token in tokens[:6])
    if words[:2] in (("PRAGMA", "TABLE_INFO"), ("CALL", "PRAGMA_TABLE_INFO")):
        table = _table_named(tokens[2:])
        return None if table is None else _TABLE_INFO.format(table=table)
    if words[:3] != ("SHOW", "TABLES", "FROM") or len(tokens) not in (4, 6):
        return _QUERIES.get(words) if len(tokens) <= len(words) else None
    folded = [f"lower({literal(unquoted(token))})" for token in tokens[3::2]]
    where = f"{folded[0]} IN (lower(database_name), lower(schema_name))"
    if len(folded) == 2:
        where = f"lower(database_name) = {folded[0]} AND lower(schema_name) = {folded[1]}"
    place = ".".join(unquoted(token) for token in tokens[3::2])
    missing = f"there is no database, snapshot or schema {place!r}: SHOW SCHEMAS lists them"
    return _OF_PLACE.format(where=where, missing=literal(missing))


def _table_named(tokens: Sequence[Token]) -> str | None:
    """Return the dotted name that a word or string in parentheses says, as SQL; None for anything else."""
    if len(tokens) != 3 or (tokens[0].text, tokens[2].text) != ("(", ")"):
        return None
    said = tokens[1:2]
    if said[0].kind == "string" and said[0].text[0] == "'":
        said, _ = scan(string_value(said[0]))
    names, dots = said[::2], said[1::2]
    if any(name.kind not in ("word", "quoted") for name in names) or any(dot.text != "." for dot in dots):
        return None
    return ".".join(quote(unquoted(name)) for name in names) if len(names) == len(dots) + 1 else None


def asks_for_lists(text: str) -> bool:
    """Whether ``text`` may ask DuckDB what there is."""
    return _WORDS.search(text) is not None


def instances(
    text: str,
    libraries: Mapping[str, OpenLibrary],
    number: int,
    views: Mapping[str, str],
    pinned: Callable[[OpenLibrary], Pinned],
) -> tuple[list[Instance], dict[str, pa.Table]]:
    """Return what puts our rows into DuckDB's lists for the statement ``text``, and the tables to register for it.

    ``number``: one that no other statement of the session has. ``views``: the text of each view over symbols, by its
    name in lower case. ``pinned``: what the transaction sees of the symbols that it has touched. Reads the newest
    version of every other symbol, unless only databases and schemas are asked for.
    """
    is_deep = _DEEP_WORDS.search(text) is not None
    registered: dict[str, pa.Table] = {}
    found: list[Instance] = []
    for function, table in _tables(libraries, pinned, is_deep=is_deep).items():
        name = f"__vstore_{function}_{number}"
        registered[name] = table
        column = _NAMES.get(function)
        hidden = f" WHERE NOT starts_with({column}, '__vstore')" if column else ""
        texts = _replaced_texts(views) if function == "duckdb_views" else ""
        body = f"SELECT *{texts} FROM system.main.{function}(){hidden} UNION ALL BY NAME SELECT * FROM {name}"
        made = f"CREATE OR REPLACE TEMP MACRO {function}() AS TABLE {body}"
        found.append(Instance("table macro", function, made))
    return found, registered


def _replaced_texts(views: Mapping[str, str]) -> str:
    """Return what shows the user's text of views in place of that in which names are replaced by files."""
    if not views:
        return ""
    texts = ", ".join(f"{literal(name)}: {literal(text)}" for name, text in views.items())
    ours = f"CASE WHEN database_name = 'temp' THEN coalesce(MAP {{{texts}}}[lower(view_name)], sql) ELSE sql END"
    return f" REPLACE ({ours} AS sql)"


def _tables(
    libraries: Mapping[str, OpenLibrary], pinned: Callable[[OpenLibrary], Pinned], *, is_deep: bool
) -> dict[str, pa.Table]:
    rows: dict[str, list[Row]] = {function: [] for function in _COLUMNS}
    for library_name, library in libraries.items():
        place: Row = {"database_name": library_name, "database_oid": _oid(rows), "internal": False}
        rows["duckdb_databases"].append({**place, "type": "duckvstore"})
        snapshots = catalogue.snapshots(library)
        schemas: dict[str, Row] = {}
        for schema in (MAIN_SCHEMA, CATALOGUE_SCHEMA, *(snapshot.name for snapshot in snapshots)):
            schemas[schema] = {**place, "schema_name": schema, "schema_oid": _oid(rows)}
            rows["duckdb_schemas"].append({**place, "schema_name": schema, "oid": schemas[schema]["schema_oid"]})
        if not is_deep:
            continue
        for version in listings.newest_versions(library, pinned(library)):
            _add(rows, schemas[MAIN_SCHEMA], version.symbol, _columns(version), f"version {version.number}")
        for snapshot in snapshots:
            for held in _held(library, snapshot.versions):
                _add(rows, schemas[snapshot.name], held.symbol, _columns(held), f"version {held.number}")
        for name in catalogue_tables.COLUMNS:
            columns = [(field.name, types.duckdb_type(field.type)) for field in catalogue_tables.build(name, []).schema]
            _add(rows, schemas[CATALOGUE_SCHEMA], name, columns, None)
    return {function: _table(function, found) for function, found in rows.items()}


def _oid(rows: dict[str, list[Row]]) -> int:
    return _FIRST_OID + len(rows["duckdb_databases"]) + len(rows["duckdb_schemas"])


def _held(library: OpenLibrary, versions: Mapping[str, int]) -> Iterator[Version]:
    def load(pair: tuple[str, int]) -> Version | None:
        try:
            return library.version(*pair)
        except NoSuchKey:
            return None  # deleted behind the library's back: nothing to list

    yield from unreadable.read_all(load, versions.items())


def _columns(version: Version) -> list[tuple[str, str]]:
    return list(zip(version.schema.shown_names, kinds.names(version.schema), strict=True))


def _add(
    rows: dict[str, list[Row]], schema: Row, name: str, columns: list[tuple[str, str]], comment: str | None
) -> None:
    oid = 2 * _FIRST_OID + len(rows["duckdb_views"])
    view = {"view_name": name, "view_oid": oid, "comment": comment, "temporary": False, "column_count": len(columns)}
    rows["duckdb_views"].append({**schema, **view})
    of_table = {**schema, "table_name": name, "table_oid": oid, "is_nullable": True}
    rows["duckdb_columns"] += [
        {**of_table, "column_name": column, "column_index": index, "data_type": kind}
        for index, (column, kind) in enumerate(columns, start=1)
    ]


def _table(function: str, rows: list[Row]) -> pa.Table:
    import pyarrow as pa

    kinds = {_TEXT: pa.string(), _NUMBER: pa.int64(), _FLAG: pa.bool_()}
    columns = {
        name: pa.array([row.get(name) for row in rows], kinds[kind]) for name, kind in _COLUMNS[function].items()
    }
    return pa.table(columns)
