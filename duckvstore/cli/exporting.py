"""The commands that hand data on: export, publish, attach.

Invariant: a file that is there is replaced with ``--yes`` or after a question only, and never by a part of an export.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.cli import places, terminal
from duckvstore.cli.changes import YES
from duckvstore.cli.importing import form_of
from duckvstore.cli.queries import write_rows
from duckvstore.cli.verbs import verb
from duckvstore.errors import printable
from duckvstore.formatting import counted
from duckvstore.sql.syntax.literals import literal, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from duckvstore.cli.places import Place

FORMS_WRITTEN = ("parquet", "csv", "arrow", "json", "duckdb")
_STDOUT = "-"


@verb(
    "export",
    click.argument(
        "symbols", metavar="SYMBOL... TARGET", nargs=-1, required=True, shell_complete=places.complete_symbol
    ),
    click.option("--all-symbols", is_flag=True, help="of the library; then there is only the target"),
    click.option("--at", metavar="VERSION", help="a number, a snapshot, or a time (default: the newest)"),
    click.option("--format", "file_format", type=click.Choice(FORMS_WRITTEN), help="(default: by the target's name)"),
    YES,
    about="""
The target is a file, or - for standard output (CSV and JSON), or a folder (ending in /) with a file for each symbol, or
a DuckDB file with a table for each.
""",
    examples="""
duckvstore export trades trades.parquet
duckvstore export trades - --format csv --at month-end | head
duckvstore export trades names out/ --format csv
duckvstore export --all-symbols eod.duckdb --library eod
""",
)
def export(
    place: Place,
    symbols: Sequence[str],
    all_symbols: bool,
    at: str | None,
    file_format: str | None,
    yes: bool,
) -> int:
    """Write a version of symbols to Parquet, CSV, Arrow, JSON or a DuckDB file."""
    *names, target = symbols
    if all_symbols == bool(names):
        words = "name the symbols and then the target, or the target alone with --all-symbols"
        raise click.UsageError(words, click.get_current_context())
    library = place.open_library()
    names = library.list_symbols() if all_symbols else names
    # The versions of all of them first: a misspelt one stops it before anything is written.
    found = [library.get_description(name, places.as_of(library, at)) for name in names]
    left_out = [one.symbol for one in found if not (one.columns or one.index)] if all_symbols else []
    versions = {one.symbol: one.version for one in found if one.symbol not in left_out}
    if target == _STDOUT:
        _to_stdout(library, versions, file_format or "csv")
        return 0
    form = file_format or form_of(target)
    if form not in FORMS_WRITTEN:
        raise vs.InvalidInput(
            f"the name {target!r} does not say what it is to be: add --format {'|'.join(FORMS_WRITTEN)}"
        )
    paths = _targets(target, list(versions), form)
    taken = [path for path in dict.fromkeys(paths.values()) if path.exists() or path.is_symlink()]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        terminal.confirm(f"{'change' if form == 'duckdb' else 'replace'} {taken[0]}{more}", yes=yes)
    for name, number in versions.items():
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        source = f"FROM {quote(name)} AT (VERSION => {number})"
        (_to_table if form == "duckdb" else _to_file)(library, source, paths[name], name, form)
    if place.as_json:
        names_of = ("symbol", "version", "path", "format")
        terminal.show_json([dict(zip(names_of, (n, versions[n], str(p), form), strict=True)) for n, p in paths.items()])
    for name, path in paths.items():
        terminal.say(f"wrote {terminal.quoted(name)} v{versions[name]} to {path}")
    for name in left_out:
        terminal.say(f"duckvstore: {terminal.quoted(name)} has no columns and was left out: read it in Python")
    return 1 if left_out else 0


def _targets(target: str, symbols: Sequence[str], form: str) -> dict[str, Path]:
    """Return the file of each symbol. Raises InvalidInput where two would be one file."""
    path = Path(target)
    if form == "duckdb":
        if path.is_dir():
            raise vs.InvalidInput(f"{target!r} is a folder: name a DuckDB file in it")
        return dict.fromkeys(symbols, path)
    if target.endswith(os.sep) or path.is_dir():
        found = {symbol: _inside(path, symbol, form) for symbol in symbols}
        if len({str(one).casefold() for one in found.values()}) < len(found):
            raise vs.InvalidInput("the names of two symbols differ in case alone: export them one by one")
        return found
    if len(symbols) != 1:
        raise vs.InvalidInput(
            f"{len(symbols)} symbols do not go into one {form} file: name a folder, as {target + '/'!r}"
        )
    return {symbols[0]: path}


def _inside(folder: Path, symbol: str, form: str) -> Path:
    """Return the file of a symbol in a folder, which nothing in its name leads out of. Raises InvalidInput."""
    parts = symbol.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise vs.InvalidInput(f"symbol {symbol!r} is no name for a file: export it alone, to a file that you name")
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.{form}")


def _copied(library: vs.Library, source: str, path: Path, form: str) -> None:
    how = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet"}[form]
    library.session.sql(f"COPY ({source}) TO {literal(str(path))} ({how})").settle()


def _to_file(library: vs.Library, source: str, path: Path, _symbol: str, form: str) -> None:
    """Write a file beside the target, and put it in its place when it is whole."""
    import pyarrow as pa

    unfinished = path.with_name(f"{path.name}.part")
    try:
        if form == "arrow":
            reader = library.session.sql(source).reader()
            with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        else:
            _copied(library, source, unfinished, form)
        unfinished.replace(path)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def _to_table(library: vs.Library, source: str, path: Path, symbol: str, _form: str) -> None:
    """Put a table into a DuckDB file, in one transaction of that."""
    import duckdb

    try:
        with duckdb.connect(path) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("duckvstore_rows", library.session.sql(source).reader())
            connection.execute(f"CREATE OR REPLACE TABLE {quote(symbol)} AS FROM duckvstore_rows")
    except duckdb.Error as error:
        raise vs.Unsupported(f"{symbol!r} cannot be written to {str(path)!r}: {error}") from error


def _to_stdout(library: vs.Library, versions: Mapping[str, int], form: str) -> None:
    if len(versions) != 1 or form not in ("csv", "json"):
        raise vs.InvalidInput("standard output takes one symbol, as csv or json")
    ((name, number),) = versions.items()
    write_rows(library.session.sql(f"FROM {quote(name)} AT (VERSION => {number})"), form)


def _published(library: vs.Library) -> vs.Published:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what was left out is told here
        published = library.publish()
    for left_out in published.left_out:
        terminal.say(f"not published: {left_out.kind} {left_out.name!r}: {left_out.reason}")
    return published


def _published_json(published: vs.Published) -> dict[str, Any]:
    names = ("published_at", "symbol_count", "version_count", "snapshot_count", "left_out", "shell_statements")
    return {"url": str(published), **{name: getattr(published, name) for name in names}}


@verb(
    "publish",
    about="The address of the file goes to standard output, the statement that attaches it to standard error.",
    examples="""
duckvstore publish --store s3://bucket/prefix --library eod
duckdb -cmd "ATTACH '$(duckvstore publish --store /data/vstore --library eod)' AS eod (READ_ONLY)"
""",
)
def publish(place: Place) -> None:
    """Write the catalogue file that DuckDB's own shell attaches."""
    published = _published(place.open_library())
    if place.as_json:
        terminal.show_json(_published_json(published))
        return
    counts = [counted(published.symbol_count, "symbol"), counted(published.version_count, "version")]
    counts.append(counted(published.snapshot_count, "snapshot"))
    sys.stderr.write(f"published {', '.join(counts)}; in the duckdb shell:\n")
    for statement in published.shell_statements:
        sys.stderr.write(f"  {printable(statement, is_line=True)}\n")
    sys.stdout.write(f"{printable(published)}\n")


@verb(
    "attach",
    click.argument("url", metavar="[URL]", required=False),
    click.option("--run", "runs", is_flag=True, help="start DuckDB's shell with them, instead of printing them"),
    about="It publishes the library first, so that the shell sees it as it is now.",
    examples="""
duckvstore attach s3://bucket/prefix --library eod
duckvstore attach /data/vstore --run
duckdb -cmd "$(duckvstore attach)"
""",
)
def attach(place: Place, url: str | None, runs: bool) -> int:
    """Print the statements that attach a library in DuckDB's own shell."""
    place.store = url or place.store
    shell = _program("duckdb") if runs else None
    if runs and shell is None:
        raise vs.Unsupported("there is no program 'duckdb' here: pip install duckdb-cli, or leave out --run")
    published = _published(place.open_library())
    statements = published.shell_statements
    if place.as_json:
        terminal.show_json(_published_json(published))
    elif shell is None:
        sys.stdout.write("".join(f"{printable(statement, is_line=True)}\n" for statement in statements))
    elif any("…" in statement for statement in statements):
        raise vs.Unsupported(
            "the secret for S3 is yours to give, so it is not run: 'duckvstore attach' prints the statements, in which "
            "KEY_ID and SECRET are to be filled in"
        )
    else:
        return subprocess.run([shell, "-cmd", "\n".join(statements)], check=False).returncode  # noqa: S603
    return 0


def _program(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


COMMANDS: Iterable[click.Command] = (export, publish, attach)
