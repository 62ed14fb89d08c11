"""The commands that show what a store holds: sql, symbols, versions, publish."""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckvstore as vs
from duckvstore.cli import places
from duckvstore.errors import printable
from duckvstore.formatting import counted, megabytes, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from duckvstore.cli.places import AddCommand

_FLOATS = ("FLOAT", "DOUBLE")
_SQL_EPILOG = """\
Symbols are tables. Where a store has several libraries, either choose one by --library, or name the library of
each symbol: FROM eod.trades.

examples:
  duckvstore sql "SELECT count(*) FROM eod.trades AT VERSION 3" --store s3://bucket/prefix
  duckvstore sql "FROM trades AT SNAPSHOT 'month-end' WHERE price > \\$low" -p low=10 --library eod
  duckvstore sql "FROM vstore.versions" --library eod --format csv > versions.csv
  duckvstore sql "DELETE FROM trades WHERE price IS NULL" -m "drop empty prices" --library eod
  duckvstore sql - --library eod < query.sql
"""
_SYMBOLS_EPILOG = """\
examples:
  duckvstore symbols --store s3://bucket/prefix
  duckvstore symbols --library eod
"""
_VERSIONS_EPILOG = """\
examples:
  duckvstore versions trades --store s3://bucket/prefix
  duckvstore versions trades --library eod
"""
_PUBLISH_EPILOG = """\
The address of the file goes to standard output, the statement that attaches it to standard error.

examples:
  duckvstore publish --store s3://bucket/prefix --library eod
  duckdb -cmd "ATTACH '$(duckvstore publish --store /data/vstore --library eod)' AS eod (READ_ONLY)"
"""


def add_commands(command: AddCommand) -> None:
    """Add the commands of this family."""
    sql = command("sql", _sql, "run SQL with time travel and print the rows", _SQL_EPILOG)
    sql.add_argument("query", metavar="SQL", help="the statement; - reads it from standard input")
    places.add_library(sql, "whose symbols need no library before their name (default: the only one)")
    sql.add_argument(
        *("-p", "--parameter"),
        dest="parameters",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help='value of $NAME: a JSON number, true, false, null or "text"; anything else is text (repeatable)',
    )
    sql.add_argument("-m", "--message", metavar="TEXT", help="of the versions that are made (default: the SQL itself)")
    sql.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        default="table",
        help="table: the first rows; csv, json: all (json has null for NaN and infinities)",
    )
    publish = command("publish", _publish, "write the catalogue file that DuckDB's own shell attaches", _PUBLISH_EPILOG)
    places.add_library(publish, "the library to publish (needed where there are several)")
    symbols = command("symbols", _symbols, "list the symbols of a library, or of all", _SYMBOLS_EPILOG)
    places.add_library(symbols, "only this library")
    versions = command("versions", _versions, "list the versions of a symbol, newest first", _VERSIONS_EPILOG)
    versions.add_argument("symbol", metavar="SYMBOL")
    places.add_library(versions, "the symbol's library (needed where there are several)")


def _sql(options: argparse.Namespace) -> None:
    pairs = (places.pair(text, "-p") for text in options.parameters)
    parameters = {name: places.scalar(value) for name, value in pairs}
    text = sys.stdin.read() if options.query == "-" else options.query
    store = places.open_store(options)
    names = store.list_libraries() if options.library is None else [options.library]
    target = store.get_library(names[0]) if len(names) == 1 else store
    result = target.session.sql(text, parameters or None, message=options.message)
    if options.format == "table":
        sys.stdout.write(f"{result!r}\n")
    else:
        _write_rows(result, options.format)


def _write_rows(result: vs.Result, file_format: str) -> None:
    """Write all rows as DuckDB writes that format, which covers every type."""
    import duckdb

    from duckvstore.sql.syntax.literals import literal, quote

    rows = result.arrow()
    if not result.columns:
        return
    how = "FORMAT csv, HEADER" if file_format == "csv" else "FORMAT json, ARRAY true"
    with tempfile.TemporaryDirectory(prefix="duckvstore-") as folder, duckdb.connect() as connection:
        path = Path(folder) / "rows"
        connection.execute("SET TimeZone = 'UTC'")
        names = [f"c{position}" for position in range(rows.num_columns)]
        connection.register("rows", rows.rename_columns(names))
        kinds = map(str, connection.table("rows").types)
        # JSON has no NaN and no infinity.
        values = [
            f"CASE WHEN isfinite({name}) THEN {name} END" if kind in _FLOATS and file_format == "json" else name
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
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


def _publish(options: argparse.Namespace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what was left out is told below
        published = places.open_library(options).publish()
    for left_out in published.left_out:
        sys.stderr.write(f"not published: {left_out.kind} {left_out.name!r}: {printable(left_out.reason)}\n")
    counts = [counted(published.symbol_count, "symbol"), counted(published.version_count, "version")]
    counts.append(counted(published.snapshot_count, "snapshot"))
    sys.stderr.write(f"published {', '.join(counts)}; in the duckdb shell:\n")
    for statement in published.shell_statements:
        sys.stderr.write(f"  {printable(statement, is_line=True)}\n")
    sys.stdout.write(f"{printable(published)}\n")


def _symbols(options: argparse.Namespace) -> None:
    store = places.open_store(options)
    names = [options.library] if options.library is not None else places.library_names(store)
    rows = []
    for name in names:
        found = store.get_library(name).list_versions(latest_only=True, skip_snapshots=True)
        for (symbol, number), info in found.items():
            if not info.deleted:
                size = megabytes(info.stored_bytes)
                rows.append([name, symbol, number, f"{info.row_count:,}", size, _time(info.date)])
    _print_table(["library", "symbol", "version", "rows", "MB", "created"], rows)


def _versions(options: argparse.Namespace) -> None:
    found = places.open_library(options).list_versions(options.symbol)
    rows = []
    for (_, number), info in found.items():
        about = [", ".join(info.snapshots), info.author or "", info.message or ""]
        rows.append(
            [number, _time(info.date), info.operation, f"{info.row_count:,}", megabytes(info.new_bytes), *about]
        )
    columns = ["version", "created", "operation", "rows", "new MB", "snapshots", "author", "message"]
    _print_table(columns, rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write("\n".join([*table(columns, rows, width), ""]))


def _time(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"
