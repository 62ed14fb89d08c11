"""The catalogue file that an unmodified ``duckdb`` shell attaches: versions as views and table macros.

::

    ATTACH 's3://bucket/eod/attach/catalog.duckdb' AS eod (READ_ONLY);
    FROM eod.trades;                      -- the newest version when the file was published
    FROM eod.trades(3);                   -- any version that existed then
    FROM eod."end-of-month".trades;       -- the version that a snapshot holds
    FROM eod.vstore.versions;             -- the catalogue: symbols, versions, segments, columns, snapshots

Invariant: what the file answers is exactly what ``Library.sql`` answered when it was published, same columns,
types, rows and order; whatever it cannot answer so is an error, never fewer rows or columns.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import catalogue, catalogue_tables, cuts, folded, listings, segments
from duckvstore.errors import DuckVStoreError, NotFound, SqlError, Unsupported
from duckvstore.format.stored.envelope import time_to_json
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.instance import DuckDBInstance
from duckvstore.sql.planning.rewrite import scan
from duckvstore.sql.planning.temporary_folders import Folder
from duckvstore.sql.syntax.literals import literal, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    import duckdb

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.objects.base import ObjectStore

CATALOGUE_SCHEMA = "vstore"

# Readable by DuckDB 1.2 and later, also when 2.0 wrote it; small blocks, since the file is fetched over the network.
_STORAGE = "STORAGE_VERSION 'v1.2.0', BLOCK_SIZE 16384"
_DATABASE = "published"
_TAKEN_SCHEMAS = frozenset({"main", CATALOGUE_SCHEMA, "information_schema", "pg_catalog"})
_USED_FUNCTIONS = frozenset({"read_parquet"})  # a view looks for functions in its own database first
_WHOLE_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A name that the file cannot carry: ``kind`` is "symbol", "snapshot" or "macro" (versions by number)."""

    kind: str
    name: str
    reason: str


class Published(str):
    """The URL of a published file, as text, with what was published.

    ``left_out``: the names that the file cannot carry, which are also its table ``vstore.left_out``.
    ``shell_statements``: what to type in DuckDB's shell to attach it, without any credential.
    """

    __slots__ = ("left_out", "published_at", "shell_statements", "snapshot_count", "symbol_count", "version_count")

    published_at: datetime
    symbol_count: int
    version_count: int
    snapshot_count: int
    left_out: tuple[LeftOut, ...]
    shell_statements: tuple[str, ...]


def publish(library: OpenLibrary) -> Published:
    """Write the file under the library's ``attach/`` and return its URL; an earlier one is replaced.

    A shell that has attached the earlier file must attach again. Warns of each name that the file cannot carry.
    Raises Unsupported when DuckDB cannot scan the library's object store, and Integrity for a damaged segment.
    """
    uri = _uri(library.objects, library.layout.attach_file())
    contents = _collect(library)
    with closing(Folder()) as folder:
        path = folder.path / "catalog.duckdb"
        with closing(DuckDBInstance()) as instance:
            instance.admit(library.objects, uri.removesuffix("catalog.duckdb").removesuffix("attach/"))
            if library.is_hybrid:
                any_uri = _uri(library.segment_objects, library.layout.owner)
                prefix = any_uri.removesuffix(library.layout.owner) + library.layout.root
                instance.admit(library.segment_objects, prefix)
            _build(instance.cursor(), path, contents)
        library.objects.put(library.layout.attach_file(), path.read_bytes())
    for left_out in contents.left_out:
        warnings.warn(f"{left_out.kind} {left_out.name!r} was not published: {left_out.reason}", stacklevel=3)
    published = Published(uri)
    published.published_at = contents.published_at
    published.symbol_count = len(contents.newest)
    published.version_count = sum(not one.deleted for history in contents.histories.values() for one in history)
    published.snapshot_count = len(set(contents.snapshots.column("snapshot").to_pylist()))
    published.left_out = tuple(contents.left_out)
    published.shell_statements = tuple(_shell_statements(library, uri))
    return published


def _shell_statements(library: OpenLibrary, uri: str) -> list[str]:
    statements = []
    if uri.startswith("s3://"):
        settings = {"KEY_ID": "…", "SECRET": "…", **(library.objects.scan_secret() or {})}
        secrets = {"KEY_ID": "…", "SECRET": "…", "SESSION_TOKEN": "…"}
        settings = {name: secrets.get(name, value) for name, value in settings.items()}
        shown = ", ".join(f"{name} {literal(value)}" for name, value in settings.items())
        statements = ["INSTALL httpfs; LOAD httpfs;", f"CREATE SECRET (TYPE s3, {shown});"]
    return [*statements, f"ATTACH {literal(uri)} AS {quote(library.name)} (READ_ONLY);"]


@dataclass(slots=True)
class _Contents:
    """What goes into the file, read from the documents as one cut; ``histories`` are newest first."""

    library: OpenLibrary
    published_at: datetime
    snapshots: Any
    histories: dict[str, list[Version]]
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def newest(self) -> dict[str, Version]:
        """The newest version of each live symbol."""
        return {symbol: history[0] for symbol, history in self.histories.items() if not history[0].deleted}


def _collect(library: OpenLibrary) -> _Contents:
    # Snapshots first: every version that one holds is then at or below the cut.
    snapshots = catalogue_tables.table(library, "snapshots")
    published_at = library.objects.now()
    cut = cuts.collect_cut(library, None)
    there = {symbol: newest for symbol, newest in cut.items() if newest is not None}
    histories: dict[str, list[Version]] = {symbol: [] for symbol in there}
    for version in listings.versions_of_all(library):
        if version.symbol in there and version.number <= there[version.symbol].number:
            histories[version.symbol].append(version)
    histories = {symbol: history or [there[symbol]] for symbol, history in histories.items()}
    return _Contents(library, published_at, snapshots, histories)


def _uri(objects: ObjectStore, key: str) -> str:
    uri = objects.uri(key)
    if uri is None:
        raise Unsupported(
            f"{objects.url} cannot be scanned by DuckDB's command line (it is in memory, or its path has one "
            "of * ? [ ] { } \\ =): publish a library that lives on S3 or in a folder with a plain path"
        )
    return uri


def _build(cursor: duckdb.DuckDBPyConnection, path: Path, contents: _Contents) -> None:
    """Write the whole file at ``path``, which does not exist yet."""
    import duckdb

    try:
        cursor.execute(f"ATTACH {literal(str(path))} AS {_DATABASE} ({_STORAGE})")
        _create_views(cursor, "main", contents, contents.newest.values())
        _create_macros(cursor, contents)
        _create_snapshots(cursor, contents)
        _create_catalogue(cursor, contents)
        cursor.execute(f"DETACH {_DATABASE}")
    except duckdb.Error as error:
        raise duckdb_errors.to_error(duckdb_errors.take_apart(error), "", None, lambda _: "") from error


def _folded(name: str) -> str:
    """Return ``name`` as DuckDB compares names: without regard to the case of ASCII letters only."""
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in name)


def _sorted_out(
    names: Iterable[str], is_taken: Callable[[str], bool] = lambda _: False
) -> tuple[list[str], list[list[str]], list[tuple[str, str]]]:
    """Return (names that DuckDB can carry, groups that it cannot tell apart, (name, reason) of impossible ones)."""
    groups: dict[str, list[str]] = {}
    impossible = []
    for name in sorted(names):
        if "\0" in name:
            impossible.append((name, "it contains a NUL character, which DuckDB cannot have in a name"))
        elif is_taken(_folded(name)):
            impossible.append((name, f"the schema {_folded(name)} has another meaning in this file"))
        else:
            groups.setdefault(_folded(name), []).append(name)
    single = [group[0] for group in groups.values() if len(group) == 1]
    return single, [group for group in groups.values() if len(group) > 1], impossible


def _ambiguous(group: Sequence[str]) -> str:
    shown = " and ".join(repr(name) for name in group)
    return f"{shown} differ in case only, which DuckDB's names cannot tell apart: read them in Python"


def _relation(contents: _Contents, version: Version) -> str:
    """Return the SQL of a version's rows, with absolute addresses; it names no table or macro of the file."""
    library = contents.library
    uris = [_uri(library.segment_objects, library.layout.segment_key(segment.key)) for segment in version.segments]
    try:
        return scan(version, uris, is_portable=True)
    except SqlError as error:
        return _error_relation(str(error))


def _error_relation(message: str) -> str:
    # In the condition too, since an unused column is never computed: count(*) must fail as well.
    error = f"error({literal(message)})"
    return f"(SELECT {error} AS error WHERE {error} IS NULL)"


def _create_view(cursor: duckdb.DuckDBPyConnection, schema: str, name: str, relation: str) -> None:
    cursor.execute(f"CREATE VIEW {_DATABASE}.{quote(schema)}.{quote(name)} AS SELECT * FROM {relation}")


def _create_views(
    cursor: duckdb.DuckDBPyConnection, schema: str, contents: _Contents, versions: Iterable[Version]
) -> None:
    """Create a view per version in ``schema``, named by its symbol."""
    import duckdb

    by_symbol = {version.symbol: version for version in versions}
    single, ambiguous, impossible = _sorted_out(by_symbol)
    for symbol in single:
        version = by_symbol[symbol]
        try:
            _create_view(cursor, schema, symbol, _relation(contents, version))
        except duckdb.Error as error:
            raise _scan_error(contents.library, version, error) from error
    for group in ambiguous:
        # Any spelling reaches this view, so a reader can never be given another symbol's rows.
        _create_view(cursor, schema, group[0], _error_relation(_ambiguous(group)))
    if schema == "main":
        contents.left_out += [LeftOut("symbol", name, _ambiguous(group)) for group in ambiguous for name in group]
        contents.left_out += [LeftOut("symbol", name, reason) for name, reason in impossible]


def _scan_error(library: OpenLibrary, version: Version, error: Exception) -> DuckVStoreError:
    """Return the error for a version that DuckDB cannot scan: the segment at fault, if one is."""
    try:
        for segment in version.segments:
            segments.fetch_stored(library, segment)
    except DuckVStoreError as found:
        return found
    return duckdb_errors.to_error(
        duckdb_errors.take_apart(error),
        "",
        None,
        lambda _: f" (version {version.number} of {library.label(version.symbol)})",
    )


def _create_macros(cursor: duckdb.DuckDBPyConnection, contents: _Contents) -> None:
    """Create a table macro per symbol, deleted ones included: its argument is the version's number."""
    single, ambiguous, _ = _sorted_out(contents.histories)
    for symbol in single:
        if _folded(symbol) in _USED_FUNCTIONS:
            reason = "DuckDB's function of that name is what this file itself reads with; its view is there"
            contents.left_out.append(LeftOut("macro", symbol, reason))
            continue
        cursor.execute(_macro(symbol, _choice(contents, symbol)))
    for group in ambiguous:
        cursor.execute(_macro(group[0], f"error({literal(_ambiguous(group))})"))


def _macro(symbol: str, query: str) -> str:
    # query() runs the text that the argument leads to, so that each version has its own columns and types.
    return (
        f"CREATE MACRO {_DATABASE}.main.{quote(symbol)}(version) AS TABLE SELECT * FROM system.main.query("
        f"CASE WHEN typeof(version) NOT IN ({', '.join(map(literal, _WHOLE_NUMBERS))}) "
        f"THEN error('a version is a whole number, not ' || typeof(version)) ELSE {query} END)"
    )


def _choice(contents: _Contents, symbol: str) -> str:
    """Return an expression over ``version``, a whole number or NULL: the query of that version, or an error."""
    numbers_of: dict[str, list[int]] = {}
    name = contents.library.label(symbol)
    history = contents.histories[symbol]
    for version in history:
        if version.deleted:
            answer = f"error({literal(_deletion(name, version))})"
        else:
            answer = literal(f"SELECT * FROM {_relation(contents, version)}")
        numbers_of.setdefault(answer, []).append(version.number)
    published_at = time_to_json(contents.published_at)
    missing = (
        f"error({literal(f'{name} has no version ')} || coalesce(version::VARCHAR, 'NULL') || "
        + literal(
            f" among those published at {published_at}: the newest is {history[0].number}; publish again for later ones"
        )
        + ")"
    )
    # Compared as text: a number of any size compares, and none is rounded.
    branches = "".join(
        f"WHEN version::VARCHAR IN ({', '.join(literal(str(number)) for number in numbers)}) THEN {answer} "
        for answer, numbers in numbers_of.items()
    )
    return f"CASE {branches}ELSE {missing} END"


def _deletion(name: str, version: Version) -> str:
    before = f": version {version.parent} has what was there before" if version.parent is not None else ""
    return f"version {version.number} of {name} is its deletion, at {time_to_json(version.created_at)}{before}"


def _create_snapshots(cursor: duckdb.DuckDBPyConnection, contents: _Contents) -> None:
    """Create a schema of views per snapshot."""
    held: dict[str, list[tuple[str, int]]] = {}
    for row in contents.snapshots.select(["snapshot", "symbol", "version"]).to_pylist():
        found = held.setdefault(row["snapshot"], [])
        if row["symbol"] is not None:
            found.append((row["symbol"], row["version"]))
    single, ambiguous, impossible = _sorted_out(held, _TAKEN_SCHEMAS.__contains__)
    for name in single:
        cursor.execute(f"CREATE SCHEMA {_DATABASE}.{quote(name)}")
        versions = []
        for symbol, number in held[name]:
            try:
                versions.append(catalogue.resolve(contents.library, symbol, catalogue.Held(number)))
            except NotFound as error:
                _create_view(cursor, name, symbol, _error_relation(str(error)))
        _create_views(cursor, name, contents, versions)
    contents.left_out += [LeftOut("snapshot", name, _ambiguous(group)) for group in ambiguous for name in group]
    contents.left_out += [LeftOut("snapshot", name, reason) for name, reason in impossible]


def _folded_versions(library: OpenLibrary) -> str:
    """Return a query of the versions in the newest generation of the folded catalogue, whenever it is run.

    FORMAT.md, "Catalogue": of a version the last layer's row counts. The names of generations begin with the newest.
    """
    generations = _uri(library.objects, f"{library.layout.generations}0").removesuffix("0")
    files = _uri(library.objects, f"{library.layout.catalogue_files}0").removesuffix("0")
    columns = ", ".join(quote(column) for column in catalogue_tables.COLUMNS["versions"] if column != "snapshots")
    return (
        "WITH newest AS MATERIALIZED (SELECT CASE WHEN generation ->> '$.library_id' = "
        f"{literal(library.library_id)} THEN generation ELSE error('the newest generation is not of this library') "
        "END AS generation FROM (SELECT content::JSON AS generation "
        f"FROM read_text({literal(f'{generations}*.json')}) "
        "WHERE regexp_full_match(parse_filename(filename), '[0-9]{10}\\.json') ORDER BY filename LIMIT 1)), "
        "layers AS (SELECT (generation ->> '$.created_at')::TIMESTAMPTZ AS folded_at, layer, "
        "generation -> ('$.layers[' || layer || '].versions') AS files "
        "FROM newest, range(json_array_length(generation, '$.layers')::BIGINT) AS numbers(layer)), "
        "files AS (SELECT folded_at, layer, parse_filename(unnest(files ->> '$[*].key')) AS file FROM layers), "
        f"found AS (SELECT {columns}, is_visible, is_removed, folded_at, layer "
        f"FROM read_parquet({literal(f'{files}*T*Z-????????????????.parquet')}, "
        "union_by_name => true, filename => true) AS every "
        "JOIN files ON files.file = parse_filename(every.filename)) "
        f"SELECT {columns}, folded_at FROM (FROM found "
        "QUALIFY row_number() OVER (PARTITION BY symbol, version ORDER BY layer DESC) = 1) "
        "WHERE is_visible AND NOT is_removed ORDER BY symbol, version DESC"
    )


def _create_catalogue(cursor: duckdb.DuckDBPyConnection, contents: _Contents) -> None:
    """Create the schema ``vstore``: the catalogue's tables as of the cut, and when and what was published."""
    import duckdb
    import pyarrow as pa

    library = contents.library
    schema = f"{_DATABASE}.{CATALOGUE_SCHEMA}"
    cursor.execute(f"CREATE SCHEMA {schema}")
    cut = pa.table(
        {
            "symbol": pa.array(list(contents.histories), pa.string()),
            "newest": pa.array([history[0].number for history in contents.histories.values()], pa.int64()),
        }
    )
    cursor.register("cut", cut)
    cursor.register("held", contents.snapshots)
    cursor.execute(f"CREATE TABLE {schema}.snapshots AS FROM held")
    holders = (
        "coalesce((SELECT list(snapshot ORDER BY snapshot) FROM held "
        "WHERE held.symbol = found.symbol AND held.version = found.version), []) AS snapshots"
    )
    # The cut's names are unique, so the join repeats no row.
    for name, selected, order in (
        ("versions", f"found.* REPLACE ({holders})", "version DESC"),
        ("segments", "found.*", "version DESC, segment"),
        ("columns", "found.*", "version DESC, position"),
    ):
        cursor.register("found", catalogue_tables.table(library, name))
        cursor.execute(
            f"CREATE TABLE {schema}.{name} AS SELECT {selected} FROM found JOIN cut USING (symbol) "
            f"WHERE version <= newest ORDER BY symbol, {order}"
        )
        cursor.unregister("found")
    columns = ", ".join(quote(column) for column in catalogue_tables.COLUMNS["symbols"])
    cursor.execute(
        f"CREATE TABLE {schema}.symbols AS SELECT {columns} FROM {schema}.versions JOIN cut USING (symbol) "
        "WHERE version = newest AND NOT deleted ORDER BY symbol"
    )
    if folded.look(library) is not None:
        try:
            cursor.execute(f"CREATE VIEW {schema}.folded_versions AS {_folded_versions(library)}")
        except duckdb.Error as error:  # nothing rests on the folded catalogue
            relation = _error_relation(f"the folded catalogue could not be read when this was published: {error}")
            cursor.execute(f"CREATE VIEW {schema}.folded_versions AS SELECT * FROM {relation}")
    cursor.execute(
        f"CREATE TABLE {schema}.published AS "
        "SELECT ? AS library, ? AS library_id, ? AS url, ?::TIMESTAMPTZ AS published_at",
        [library.name, library.library_id, library.objects.url, contents.published_at],
    )
    cursor.execute(f"CREATE TABLE {schema}.left_out (kind VARCHAR, name VARCHAR, reason VARCHAR)")
    for left_out in contents.left_out:
        values = [left_out.kind, left_out.name, left_out.reason]
        cursor.execute(f"INSERT INTO {schema}.left_out VALUES (?, ?, ?)", values)
