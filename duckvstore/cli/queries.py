"""The commands that look: ls, log, show, head, diff, sql.

Invariant: nothing here changes a store, except the statement that ``sql`` is given.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.cli import places, terminal
from duckvstore.cli.verbs import verb
from duckvstore.errors import nearest, printable
from duckvstore.formatting import cell, megabytes, size
from duckvstore.sql.syntax.literals import literal, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckvstore.cli.places import Place

ROWS_MAX = 1000  # shown on a terminal, where nothing else was said
_CHARACTERS_MAX = 1000
_FLOATS = ("FLOAT", "DOUBLE")
_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")
_SYMBOL = click.argument("symbol", metavar="SYMBOL", shell_complete=places.complete_symbol)
_AT = click.option("--at", metavar="VERSION", help="a number (-1: the newest), a snapshot, or a time (default: newest)")


@verb(
    "ls",
    click.argument("pattern", metavar="[PATTERN]", required=False, shell_complete=places.complete_symbol),
    library="only this library (default: all of the store, unless one is set)",
    examples="""
duckvstore ls
duckvstore ls 'prices/*' --library eod
duckvstore ls --json --store s3://bucket/prefix
""",
)
def ls(place: Place, pattern: str | None) -> None:
    """List the symbols of a library, or of all: what there is, and its newest version."""
    store = place.open_store()
    names = [place.library_name] if place.library_name is not None else places.library_names(store)
    found = []
    for name in names:
        for (symbol, number), info in (
            store.get_library(name).list_versions(latest_only=True, skip_snapshots=True).items()
        ):
            if not info.deleted and (pattern is None or fnmatch.fnmatchcase(symbol, pattern)):
                found.append((name, symbol, number, info))
    if pattern is not None and not found and not set(pattern) & set("*?["):
        known = [symbol for name in names for symbol in store.get_library(name).list_symbols()]
        raise vs.NoSuchSymbol(
            f"there is no symbol {pattern!r}.{nearest(pattern, known)} 'duckvstore ls' lists them all"
        )
    if place.as_json:
        terminal.show_json([_version_json(*one) for one in found])
        return
    rows = [
        [name, symbol, number, f"{info.row_count:,}", megabytes(info.stored_bytes), terminal.time_text(info.date)]
        for name, symbol, number, info in found
    ]
    terminal.show_table(["library", "symbol", "version", "rows", "MB", "created"], rows, place)


@verb(
    "log",
    click.argument("symbol", metavar="[SYMBOL]", required=False, shell_complete=places.complete_symbol),
    click.option("-n", "--limit", metavar="N", type=click.IntRange(1), help="only the newest N"),
    examples="""
duckvstore log trades
duckvstore log -n 20                      the newest versions of any symbol
duckvstore log trades --json --library eod
""",
)
def log(place: Place, symbol: str | None, limit: int | None) -> None:
    """List versions, newest first: who wrote what, when, and why."""
    library = place.open_library()
    found = [(library.name, *key, info) for key, info in library.list_versions(symbol).items()]
    if symbol is None:
        found.sort(key=lambda one: one[3].date, reverse=True)
    found = found[:limit]
    if place.as_json:
        terminal.show_json([_version_json(*one) for one in found])
        return
    rows = []
    for _, name, number, info in found:
        about = [", ".join(info.snapshots), info.author or "", info.message or ""]
        counts = [f"{info.row_count:,}", megabytes(info.new_bytes)]
        row = [number, terminal.time_text(info.date), info.operation, *counts, *about]
        rows.append([name, *row] if symbol is None else row)
    columns = ["version", "created", "operation", "rows", "new MB", "snapshots", "author", "message"]
    terminal.show_table(columns if symbol is not None else ["symbol", *columns], rows, place)


def _version_json(library: str, symbol: str, number: int, info: vs.VersionInfo) -> dict[str, Any]:
    return {"library": library, "symbol": symbol, "version": number, **terminal.plain(info)}


@verb(
    "show",
    _SYMBOL,
    _AT,
    examples="""
duckvstore show trades
duckvstore show trades --at 3
duckvstore show trades --at '2026-11-20 17:00' --json
""",
)
def show(place: Place, symbol: str, at: str | None) -> None:
    """Describe a version of a symbol: columns, rows, sizes, metadata, who made it."""
    library = place.open_library()
    wanted = places.as_of(library, at)
    item = library.read_metadata(symbol, wanted)
    found = library.get_description(symbol, item.version)
    columns = library.overview().columns(symbol, item.version, nulls_of=10_000)
    if place.as_json:
        described = terminal.plain(found)
        described["columns"] = [column._asdict() for column in columns]
        del described["index"]
        terminal.show_json({"library": library.name, **described, "metadata": item.metadata})
        return
    shared = found.stored_bytes - found.new_bytes
    facts = [
        ("symbol", f"{library.name}/{symbol}"),
        ("version", f"{found.version}, made {terminal.time_text(found.last_update_time)} by {found.operation}"),
        ("author", found.author),
        ("message", found.message),
        ("kind", found.kind),
        ("rows", f"{found.row_count:,}, {found.new_rows:,} of them new in this version"),
        ("stored", f"{size(found.stored_bytes)} in {found.segment_count:,} segments, {size(shared)} shared"),
        ("times", " to ".join(map(str, found.date_range)) if found.date_range else None),
        ("metadata", None if item.metadata is None else repr(item.metadata)),
    ]
    lines = [f"{label:<9}{cell(text)}" for label, text in facts if text is not None]
    rows = [
        [column.name, column.type, "index" if column.is_index else "", _count(column.null_count)] for column in columns
    ]
    sys.stdout.write("\n".join(lines) + "\n\n" if rows else "\n".join(lines) + "\n")
    if rows:
        terminal.show_table(["column", "type", "", "nulls"], rows, place)


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


@verb(
    "head",
    _SYMBOL,
    click.option("-n", "--rows", metavar="N", type=click.IntRange(0), default=10, show_default=True, help="how many"),
    click.option("--tail", is_flag=True, help="the last rows instead of the first"),
    click.option("--columns", metavar="A,B", help="only these columns"),
    _AT,
    examples="""
duckvstore head trades
duckvstore head trades -n 3 --tail --columns time,price
duckvstore head trades --at month-end --json
""",
)
def head(place: Place, symbol: str, rows: int, tail: bool, columns: str | None, at: str | None) -> None:
    """Show the first rows of a version."""
    library = place.open_library()
    item = library.read_metadata(symbol, places.as_of(library, at))
    known = [column.name for column in library.overview().columns(symbol, item.version)]
    chosen = _chosen(columns, known, symbol) if columns is not None else known
    source = f"{quote(symbol)} AT (VERSION => {item.version})"
    text = f"SELECT {', '.join(map(quote, chosen)) or '*'} FROM {source} LIMIT {rows}"
    if tail:
        text += f" OFFSET {max(0, item.row_count - rows)}"
    show_result(library.session.sql(text), place, rows_max=rows)


def _chosen(columns: str, known: Sequence[str], symbol: str) -> list[str]:
    """Return the columns of a list with commas, as they are written in the symbol. Raises NoSuchColumn."""
    if columns in known:
        return [columns]
    folded = {name.casefold(): name for name in known}
    wanted = [name.strip() for name in columns.split(",")]
    for name in wanted:
        if name.casefold() not in folded:
            advice = nearest(name, known) or f" It has {', '.join(map(repr, known[:10]))}"
            raise vs.NoSuchColumn(f"{symbol!r} has no column {name!r}.{advice}")
    return [name if name in known else folded[name.casefold()] for name in wanted]


@verb(
    "diff",
    _SYMBOL,
    click.argument("before", metavar="[FROM]", required=False),
    click.argument("after", metavar="[TO]", default="-1"),
    click.option("--key", metavar="A,B", help="match rows by these columns (default: the index, else whole rows)"),
    click.option("--rows", is_flag=True, help="with --json: the rows too"),
    examples="""
duckvstore diff trades                    the newest version and the one before
duckvstore diff trades 0 3 --key id
duckvstore diff trades month-end          since a snapshot
duckvstore diff trades -3 -1
""",
)
def diff(place: Place, symbol: str, before: str | None, after: str, key: str | None, rows: bool) -> None:
    """Show what changed between two versions of a symbol."""
    library = place.open_library()
    wanted = None
    if key is not None:
        wanted = _chosen(key, [column.name for column in library.overview().columns(symbol)], symbol)
    if before is None and len(library.list_versions(symbol)) == 1:
        raise vs.NoSuchVersion(f"{symbol!r} has a single version, so there is none before to compare it with")
    found = library.diff(symbol, places.as_of(library, before or "-2"), places.as_of(library, after), wanted)
    if not place.as_json:
        terminal.show_text(repr(found), place)
        return
    names = ("library", "symbol", "from_version", "to_version", "key", "inserted", "deleted", "updated")
    more = ("columns_added", "columns_removed", "columns_retyped")
    counts = ("segments_shared", "segments_before", "segments_after")
    shown = {name: getattr(found, name) for name in (*names, *more, *counts)} | {"has_changes": found.has_changes}
    if rows:
        shown["rows"] = rows_as_json(found.rows)
    terminal.show_json(shown)


@verb(
    "sql",
    click.argument("query", metavar="SQL"),
    click.option(
        *("-p", "--parameter", "parameters"),
        metavar="NAME=VALUE",
        multiple=True,
        help='value of $NAME: a JSON number, true, false, null or "text"; anything else is text (repeatable)',
    ),
    click.option("-m", "--message", metavar="TEXT", help="of the versions that are made (default: the SQL itself)"),
    click.option(
        "--format",
        "file_format",
        type=click.Choice(("table", "csv", "json")),
        default="table",
        help="table: the first rows; csv, json: all (json has null for NaN and infinities)",
    ),
    click.option("--rows", "rows_max", metavar="N", type=click.IntRange(1), help="show so many rows of a table"),
    library="whose symbols need no library before their name (default: the only one)",
    about="""
Symbols are tables. SQL is the statement, - reads it from standard input. Where a store has several libraries, either
choose one by --library, or name the library of each symbol: FROM eod.trades.
""",
    examples="""
duckvstore sql "SELECT count(*) FROM eod.trades AT VERSION 3" --store s3://bucket/prefix
duckvstore sql "FROM trades AT SNAPSHOT 'month-end' WHERE price > \\$low" -p low=10 --library eod
duckvstore sql "FROM vstore.versions" --library eod --format csv > versions.csv
duckvstore sql "DELETE FROM trades WHERE price IS NULL" -m "drop empty prices" --library eod
duckvstore sql - --library eod < query.sql
""",
)
def sql(
    place: Place,
    query: str,
    parameters: Sequence[str],
    message: str | None,
    file_format: str,
    rows_max: int | None,
) -> None:
    """Run SQL with time travel and print the rows."""
    pairs = (places.pair(text, "-p") for text in parameters)
    values = {name: places.scalar(value) for name, value in pairs}
    text = sys.stdin.read() if query == "-" else query
    result = sql_target(place).session.sql(text, values or None, message=message)
    if file_format == "table" or place.as_json:
        show_result(result, place, rows_max=rows_max)
    else:
        write_rows(result, file_format)


def sql_target(place: Place) -> vs.Library | vs.Store:
    """Return what SQL runs on: the library that was named or the only one, else the store."""
    store = place.open_store()
    names = store.list_libraries() if place.library_name is None else [place.library_name]
    return store.get_library(names[0]) if len(names) == 1 else store


def show_result(result: vs.Result, place: Place, *, rows_max: int | None = None) -> None:
    """Print the rows as they suit whoever reads: a program, a terminal, a file."""
    if place.as_json:
        write_rows(result, "json", is_exact=True)
    elif result.kind == "explain" or result.figures.changed is not None or not result.columns:
        terminal.show_text(repr(result), place)
    elif sys.stdout.isatty() or rows_max is not None:
        terminal.show_text(_as_table(result, rows_max or ROWS_MAX), place)
    else:
        sys.stdout.write(f"{result!r}\n")


def _as_table(result: vs.Result, rows_max: int) -> str:
    import pyarrow as pa

    from duckvstore.sql.results import conversion
    from duckvstore.sql.results.display import Excerpt, as_text

    batches, count = [], 0
    with result.bar:
        for batch in result.batches():
            batches.append(batch)
            count += batch.num_rows
            if count > rows_max:
                break
    table = (pa.Table.from_batches(batches) if batches else result.table()).slice(0, rows_max)
    texts = conversion.to_texts(table, result.types, _CHARACTERS_MAX)
    if not sys.stdout.isatty():
        shown = Excerpt(result.columns, result.types, texts, [], result.figures.row_count)
        return as_text(shown, result.figures.footer())
    lines = terminal.wide_table(result.columns, texts, [kind.lower() for kind in result.types])
    more = f"… the first {rows_max:,} rows: --rows N shows more, --format csv has all\n" if count > rows_max else ""
    result.close()
    return f"{lines}\n{more}{result.figures.footer()}"


def rows_as_json(result: vs.Result) -> Any:
    """Return the rows as values of JSON, as ``sql --json`` prints them."""
    with tempfile.TemporaryDirectory(prefix="duckvstore-") as folder:
        path = Path(folder) / "rows"
        if not _copy_rows(result, "json", path, is_exact=True):
            return []
        return json.loads(path.read_text(encoding="utf-8"))


def write_rows(result: vs.Result, file_format: str, *, is_exact: bool = False) -> None:
    """Write all rows as DuckDB writes that format, which covers every type.

    ``is_exact``: JSON has text for decimals, NaN and infinities, which its numbers cannot hold.
    """
    with tempfile.TemporaryDirectory(prefix="duckvstore-") as folder:
        path = Path(folder) / "rows"
        if not _copy_rows(result, file_format, path, is_exact=is_exact):
            if is_exact:
                terminal.show_json([])
            return
        if not is_exact and not sys.stdout.isatty():
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            return
        with path.open(encoding="utf-8", errors="replace", newline="") as lines:
            for line in lines:
                sys.stdout.write(_NOT_ASCII.sub(_escaped, line) if is_exact else printable(line))


def _escaped(match: re.Match[str]) -> str:
    """Return characters as JSON writes them in ASCII."""
    return json.dumps(match[0])[1:-1]


def _copy_rows(result: vs.Result, file_format: str, path: Path, *, is_exact: bool) -> bool:
    """Write the rows to a file; return whether there was anything to write."""
    import duckdb

    rows = result.arrow()
    if not result.columns:
        return False
    how = "FORMAT csv, HEADER" if file_format == "csv" else "FORMAT json, ARRAY true"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [f"c{position}" for position in range(rows.num_columns)]
        connection.register("rows", rows.rename_columns(names))
        kinds = [str(kind) for kind in connection.table("rows").types]
        values = [
            _in_json(name, kind, is_exact=is_exact) if file_format == "json" else name
            for name, kind in zip(names, kinds, strict=True)
        ]
        selected = ", ".join(
            f"{value} AS {quote(column)}" for value, column in zip(values, result.columns, strict=True)
        )
        query = f'SELECT * FROM (SELECT {selected} FROM "rows")'  # from a query, equal names become different ones
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(path))} ({how})")
        except duckdb.Error as error:
            raise vs.Unsupported(
                f"these rows cannot be written as {file_format} ({error}): choose another format"
            ) from error
    return True


def _in_json(name: str, kind: str, *, is_exact: bool) -> str:
    """Return the SQL of a column's value in JSON, which has no NaN, no infinity, and no digits for sure."""
    if kind in _FLOATS:
        if not is_exact:
            return f"CASE WHEN isfinite({name}) THEN {name} END"
        word = f"CASE WHEN isnan({name}) THEN 'NaN' WHEN {name} > 0 THEN 'Infinity' ELSE '-Infinity' END"
        return f"CASE WHEN isfinite({name}) THEN to_json({name}) WHEN {name} IS NOT NULL THEN to_json({word}) END"
    if is_exact and kind.startswith("DECIMAL(") and not kind.endswith("]"):
        return f"CAST({name} AS VARCHAR)"
    return name


COMMANDS: Iterable[click.Command] = (ls, log, show, head, diff, sql)
