"""The command ``import``: files as symbols.

Invariant: which file becomes which symbol is settled, and shown to be possible, before anything is read.
"""

from __future__ import annotations

import glob
import gzip
import itertools
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.cli import places, terminal
from duckvstore.cli.changes import AUTHOR, MESSAGE, show_made
from duckvstore.cli.verbs import verb
from duckvstore.cli.wording import spoken
from duckvstore.errors import nearest
from duckvstore.sql.syntax.literals import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from duckvstore.cli.places import Place

#: forms by the end of a file's name
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".csv.gz": "csv", ".tsv.gz": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".xlsx": "excel", ".xls": "excel", ".ods": "excel",
    ".duckdb": "duckdb", ".db": "duckdb",
}  # fmt: skip
FORMS_READ = ("csv", "parquet", "arrow", "json", "excel")
_STDIN = "-"
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: what the options of ``import`` say."""

    dates: Sequence[str]
    types: dict[str, str]
    delimiter: str | None
    no_header: bool
    skip: int
    encoding: str | None
    sheet: str | None


@verb(
    "import",
    click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path()),
    click.option("--symbol", metavar="NAME", help="the symbol (default: the file's name without its ending)"),
    click.option("--append", is_flag=True, help="add the rows to what the symbol has, instead of replacing it"),
    click.option("--index", metavar="COLUMN", help="a column of times that orders the rows"),
    click.option("--unsorted", is_flag=True, help="take an index that does not ascend"),
    click.option("--dates", metavar="COLUMN", multiple=True, help="CSV, Excel: a column of times (repeatable)"),
    click.option(
        "--type",
        "types",
        metavar="COLUMN=TYPE",
        multiple=True,
        help="CSV: a column's type in SQL, such as isin=VARCHAR (repeatable)",
    ),
    click.option("--delimiter", metavar="TEXT", help="CSV: between values (default: found out)"),
    click.option("--no-header", is_flag=True, help="CSV: the first line is data too"),
    click.option("--skip", metavar="N", type=click.IntRange(0), default=0, help="CSV: lines before the heading"),
    click.option("--encoding", metavar="NAME", help="CSV: such as latin-1 or utf-16 (default: utf-8)"),
    click.option("--sheet", metavar="NAME", help="Excel: which sheet (default: the first)"),
    click.option(
        "--format", "file_format", type=click.Choice(FORMS_READ), help="of the files (default: by their names)"
    ),
    click.option("--create", is_flag=True, help="make the library if it is missing"),
    AUTHOR,
    MESSAGE,
    about="""
A folder is imported whole: each file in it, and below, becomes a symbol, named for its place in the folder. Parquet and
Feather that pandas wrote come back as dataframes, anything else as Arrow tables. A store without any library gets one.
""",
    examples="""
duckvstore import trades.csv
duckvstore import monday.csv --symbol trades --append --index time
duckvstore import prices/ --store s3://bucket/prefix --library eod
duckvstore import book.xlsx --sheet positions --dates day
curl -s https://host/x.csv | duckvstore import - --symbol x --format csv
""",
)
def import_(
    place: Place,
    paths: Sequence[str],
    symbol: str | None,
    index: str | None,
    file_format: str | None,
    author: str | None,
    message: str | None,
    **flags: Any,
) -> int:
    """Write files as symbols: CSV, Parquet, Arrow and Feather, JSON, Excel."""
    types = dict(places.pair(text, "--type") for text in flags["types"])
    how = Reading(
        flags["dates"], types, flags["delimiter"], flags["no_header"], flags["skip"], flags["encoding"], flags["sheet"]
    )
    files = _files(paths, symbol, file_format)
    library, is_new = place.open_or_make_library(create=flags["create"])
    if is_new:
        terminal.say(f"made library {library.name!r} at {library.url}")
    options = {"author": author, "message": message, **({"validate_index": False} if flags["unsorted"] else {})}
    made, failed = [], 0
    for path, name, form in files:
        try:
            made.append(_imported(library, path, name, form, how, index, append=flags["append"], **options))
        except (vs.DuckVStoreError, OSError) as error:
            if len(files) == 1:
                raise
            failed += 1
            terminal.say(f"duckvstore: {path}: {spoken(str(error))}")
    show_made(place, made)
    if failed:
        terminal.say(f"duckvstore: {failed} of {len(files)} files were not imported; mend them and import them again")
    return 1 if failed else 0


@contextmanager
def _standard_input() -> Iterator[str]:
    """Yield a file with what comes from standard input: forms are found out, and read, from files."""
    with tempfile.NamedTemporaryFile(prefix="duckvstore-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield file.name


def _imported(library: vs.Library, path: str, symbol: str, form: str, how: Reading, *index: Any, **options: Any) -> Any:
    """Read a file and write it. Raises InvalidInput for one that cannot be read, of which nothing is written then."""
    with ExitStack() as ends:
        found = ends.enter_context(_standard_input()) if path == _STDIN else path
        try:
            return _written(library, symbol, _rows(library, found, form, how), *index, **options)
        except vs.SqlError as error:
            raise _unreadable(path, form, error) from error


def _written(library: vs.Library, symbol: str, data: Any, index: str | None, *, append: bool, **options: Any) -> Any:
    """Write the rows. Raises InvalidInput for an index that they do not have."""
    names = getattr(data, "columns", None) if hasattr(data, "columns") and not hasattr(data, "column_names") else None
    names = list(map(str, names if names is not None else getattr(data, "column_names", ())))
    if index is not None and index not in names:
        raise vs.NoSuchColumn(f"--index {index!r}: there is no such column.{nearest(index, names)}")
    if index is not None and hasattr(data, "set_index"):
        data, index = data.set_index(index), None
    call = library.append if append else library.write
    return call(symbol, data, index_column=index, **options)


def _files(paths: Sequence[str], symbol: str | None, file_format: str | None) -> list[tuple[str, str, str]]:
    """Return each file with its symbol and form. Raises InvalidInput before anything is read."""
    found = [each for path in paths for each in _files_of(path, symbol, file_format)]
    if symbol is not None and len(found) > 1:
        raise vs.InvalidInput(f"--symbol names one symbol, and there are {len(found)} files: import them one by one")
    by_symbol: dict[str, str] = {}
    for path, name, _ in found:
        if name in by_symbol:
            both = f"{by_symbol[name]!r} and {path!r}"
            raise vs.InvalidInput(f"{both} would both be symbol {name!r}: import one of them with --symbol")
        by_symbol[name] = path
    return found


def _files_of(path: str, symbol: str | None, file_format: str | None) -> Iterator[tuple[str, str, str]]:
    if path == _STDIN:
        if symbol is None or file_format is None:
            raise vs.InvalidInput("from standard input: name the --symbol and the --format")
        yield _STDIN, symbol, file_format
        return
    given = Path(path)
    if given.is_dir():
        if any(given.glob("*/library.json")):
            raise vs.InvalidInput(f"{path!r} is a store itself: name it by --store, and a folder of files to import")
        inside = [
            each
            for each in sorted(given.rglob("*"))
            if each.is_file() and not any(part.startswith(".") for part in each.relative_to(given).parts)
        ]
        known = [(each, form) for each in inside if (form := file_format or form_of(each.name)) in FORMS_READ]
        if not known:
            raise vs.InvalidInput(f"there is no file to import in {path!r}: {', '.join(SUFFIXES)} are known")
        for each, form in known:
            yield str(each), symbol or _stem(each.relative_to(given).as_posix()), form or ""
        return
    form = file_format or form_of(path)
    if not given.exists():
        raise vs.InvalidInput(f"there is no file {path!r}")
    if given.is_file() and not given.stat().st_size:
        raise vs.InvalidInput(f"the file {path!r} is empty")
    if form not in FORMS_READ:
        raise vs.InvalidInput(f"the name of {path!r} does not say what it is: add --format {'|'.join(FORMS_READ)}")
    yield path, symbol or _stem(given.name), form or ""


def form_of(path: str) -> str | None:
    """Return the form of a file by the end of its name."""
    return next((form for suffix, form in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def _stem(path: str) -> str:
    suffix = max((one for one in SUFFIXES if path.lower().endswith(one)), key=len, default="")
    return path.removesuffix(path[len(path) - len(suffix) :]) if suffix else path


def _rows(library: vs.Library, path: str, form: str, how: Reading) -> Any:
    """Return the rows of a file, as something that a library can write."""
    if form == "excel":
        return _excel(path, how)
    if form == "arrow":
        return _arrow(path)
    if form == "parquet" and (frame := _frame_of_pandas(path)) is not None:
        return frame
    function = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}[form]
    options = []
    if form == "csv":
        # A column of times is found out by itself where all values are; --dates makes anything else an error.
        types = how.types | {name: how.types.get(name, "TIMESTAMP") for name in how.dates}
        if types:
            options.append(f"types = {{{', '.join(f'{literal(n)}: {literal(t)}' for n, t in types.items())}}}")
        # Left to itself, DuckDB takes another delimiter, or leaves lines out, where one line has other columns than the
        # rest: said outright, such a line is an error.
        delimiter = how.delimiter if how.delimiter is not None else _delimiter(path, how)
        options += [f"delim = {literal(delimiter)}", "quote = '\"'", "escape = '\"'", "comment = ''"]
        options += [f"skip = {how.skip}", f"header = {'false' if how.no_header else 'true'}"]
        options += [f"encoding = {literal(how.encoding)}"] if how.encoding is not None else []
    elif how.dates or how.types:
        raise vs.InvalidInput(f"--dates and --type are for CSV, and {path!r} says itself what its columns are")
    query = f"FROM {function}({', '.join([literal(glob.escape(path)), *options])})"
    return library.session.sql(query)


def _unreadable(path: str, form: str, error: vs.SqlError) -> vs.InvalidInput:
    """Return what is wrong with a file, without advice about the parameters of DuckDB's function."""
    reason = re.split(r"\nline |\n+ *(?:Possible|file =|LINE |Column .* is being|This type was)", str(error))[0]
    return vs.InvalidInput(f"{path!r} cannot be read as {form}: {reason}")


def _delimiter(path: str, how: Reading) -> str:
    """Return what most likely stands between the values of the first line: what is there most, else a comma."""
    opened: Any = gzip.open if path.lower().endswith(".gz") else open
    with opened(path, "rt", encoding=how.encoding or "utf-8", errors="replace") as lines:
        first = next(itertools.islice(lines, how.skip, None), "")
    plain = re.sub(r'"[^"]*"', "", first)
    return max(_DELIMITERS, key=plain.count)


def _frame_of_pandas(path: str) -> Any:
    """Return the dataframe of a Parquet file that pandas wrote, with its index; None: another wrote it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if b"pandas" not in (schema.metadata or {}):
            return None
        return pq.read_table(path, partitioning=None).to_pandas()
    except pa.ArrowException as error:
        raise vs.InvalidInput(f"{path!r} cannot be read as Parquet: {error}") from error


def _arrow(path: str) -> Any:
    """Return what an Arrow file or stream holds: a table, or the dataframe that pandas wrote."""
    import pyarrow as pa

    try:
        try:
            table = pa.ipc.open_file(pa.memory_map(path)).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_stream(pa.memory_map(path)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise vs.InvalidInput(f"{path!r} cannot be read as Arrow or Feather: {error}") from error
    return table.to_pandas() if b"pandas" in (table.schema.metadata or {}) else table


def _excel(path: str, how: Reading) -> Any:
    import pandas as pd

    try:
        return pd.read_excel(path, sheet_name=how.sheet or 0, parse_dates=list(how.dates) or False,
                             header=None if how.no_header else 0)  # fmt: skip
    except ImportError as error:
        raise vs.Unsupported(f"pandas needs a library to read {path!r}: {error}") from error
    except (ValueError, KeyError) as error:
        raise vs.InvalidInput(f"{path!r} cannot be read as Excel: {error}") from error


COMMANDS: Iterable[click.Command] = (import_,)
