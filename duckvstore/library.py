"""Library: the handle through which symbols are written, read and queried.

Names, parameters and return shapes follow ArcticDB's ``Library`` where the job is the same. Invariant: the
handle holds no state of its own beside its caches, so any number of handles and processes may use a library.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from duckvstore.engine import catalogue, commits, edits, reads, segments
from duckvstore.engine import snapshots as engine_snapshots
from duckvstore.errors import InvalidInput, NoSuchSymbol, NotFound, Unsupported
from duckvstore.format import metadata as user_metadata
from duckvstore.format import values
from duckvstore.items import SnapshotInfo, SymbolDescription, SymbolVersion, VersionedItem, VersionInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from duckvstore.engine.catalogue import AsOf
    from duckvstore.engine.commits import Call
    from duckvstore.engine.library import OpenLibrary
    from duckvstore.format.documents import Version
    from duckvstore.sql.result import Result
    from duckvstore.sql.session import Session


class Library:
    """Versioned symbols under one name of a store. Safe to use from many threads."""

    def __init__(self, opened: OpenLibrary) -> None:
        """Wrap a library of the engine; use ``Store.get_library``."""
        self.open_library = opened
        self._session: Session | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The library's name."""
        return self.open_library.name

    @property
    def url(self) -> str:
        """Where the library lives."""
        return f"{self.open_library.objects.url.rstrip('/')}/{self.open_library.layout.root.rstrip('/')}"

    def __repr__(self) -> str:
        return f"Library({self.name!r} at {self.url})"

    def __contains__(self, symbol: str) -> bool:
        return self.has_symbol(symbol)

    # -- writing ---------------------------------------------------------------------------------------------

    def write(
        self,
        symbol: str,
        data: Any,
        metadata: Any = None,
        *,
        validate_index: bool = True,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Write a value as the next version of ``symbol``, whatever was there before.

        ``data``: a pandas DataFrame or Series, a polars frame, an Arrow table, anything with
        ``__arrow_c_stream__`` (streamed) or a numpy array. ``metadata``: any nesting of dicts, lists and
        scalars; it replaces the previous version's. ``validate_index``: refuse an unsorted DatetimeIndex.
        ``expected_version``: the number that must be at the head, or Conflict is raised.
        Raises InvalidInput or Unsupported (naming column and type) for what could not come back equal.
        """
        opened = self.open_library
        call = self._call(symbol, author, message, expected_version)
        user_metadata.to_json(metadata)
        encoded = values.encode(data, where=repr(f"{self.name}/{symbol}"))
        is_sorted = _index_is_sorted(data)
        if validate_index and is_sorted is False:
            raise _unsorted(f"{self.name}/{symbol}", data.index)
        announced = opened.submit(commits.announce, opened, call)
        if expected_version is not None or opened.cached_head(symbol) is None:
            found = opened.submit(commits.current_head, opened, call)
            if expected_version is not None:
                found.result()  # a conflict that is there already costs no upload
        uploaded = segments.upload(opened, symbol, encoded)
        announced.result()
        version = commits.commit(opened, call, edits.write(encoded, uploaded, metadata, is_sorted=is_sorted))
        return self._item(_made(version))

    def write_metadata(
        self,
        symbol: str,
        metadata: Any,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Make a version with the newest one's data and other metadata; no data is read or written.

        Raises NoSuchSymbol when there is nothing to describe, and Conflict.
        """
        user_metadata.to_json(metadata)

        def missing() -> NoSuchSymbol:
            return NoSuchSymbol(
                f"library {self.name!r} has no symbol {symbol!r} to describe: write() it first, with metadata="
            )

        return self._commit(
            self._call(symbol, author, message, expected_version), edits.write_metadata(metadata, missing)
        )

    def restore_version(
        self, symbol: str, as_of: AsOf, *, author: str | None = None, message: str | None = None
    ) -> VersionedItem:
        """Make a version that equals an earlier one, with its metadata; no data is read or written.

        Restoring the newest version changes nothing and returns it.
        """
        call = self._call(symbol, author, message, None)
        source = self._resolve(symbol, as_of)
        if message is None:
            call = replace(call, message=f"restored version {source.number}")  # its age began with the first read
        return self._commit(call, edits.restore(source))

    def delete(self, symbol: str, *, author: str | None = None, message: str | None = None) -> None:
        """Say that the symbol has no value from now on; its history and snapshots stay readable.

        Does nothing when there is no such symbol.
        """
        call = self._call(symbol, author, message, None)
        newest = catalogue.head(self.open_library, symbol).newest
        if newest is not None and not newest.deleted:
            commits.announce(self.open_library, call)
            commits.commit(self.open_library, call, edits.delete())

    def _resolve(self, symbol: str, as_of: AsOf) -> Version:
        return catalogue.resolve(self.open_library, symbol, _plain(as_of))

    def _call(self, symbol: str, author: str | None, message: str | None, expected_version: int | None) -> Call:
        if not isinstance(symbol, str):  # by far the likeliest: symbol and data in the wrong order
            raise InvalidInput(f"the symbol is a {type(symbol).__name__}: give its name first, as text")
        self.open_library.layout.symbol_versions(symbol)  # refuses a name that cannot be stored
        for noun, text in (("author", author), ("message", message)):
            if text is not None and not isinstance(text, str):
                raise InvalidInput(f"{noun} must be text, not {type(text).__name__}")
            user_metadata.to_json(text, where=noun)
        wanted = _plain(expected_version)
        if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int)):
            raise InvalidInput(f"expected_version={wanted!r} is no version number: give a whole number, or None")
        return commits.Call(symbol, author, message, wanted)

    def _commit(self, call: Call, plan: edits.Plan) -> VersionedItem:
        announced = self.open_library.submit(commits.announce, self.open_library, call)
        commits.current_head(self.open_library, call)
        announced.result()
        return self._item(_made(commits.commit(self.open_library, call, plan)))

    # -- reading ---------------------------------------------------------------------------------------------

    def read(
        self,
        symbol: str,
        as_of: AsOf = None,
        *,
        columns: Sequence[Any] | None = None,
        date_range: tuple[Any, Any] | None = None,
        row_range: tuple[int | None, int | None] | None = None,
        where: str | None = None,
        output_format: str | None = None,
    ) -> VersionedItem:
        """Read a version: the newest, or as of a number, negative number, snapshot name or datetime (naive: UTC).

        ``columns``: labels, in the order wanted (index levels always come along). ``date_range``: (start, end),
        both included, over a datetime index; a date means its midnight. ``row_range``: (start, stop), stop
        excluded. ``where``: a SQL predicate over the stored columns. ``output_format``: "pandas", "polars" or
        "pyarrow"; None gives back the type that was written. Raises NoSuchSymbol, NoSuchVersion, NoSuchColumn,
        InvalidInput, Integrity.
        """
        if output_format is not None and output_format not in values.OUTPUT_FORMATS:
            raise InvalidInput(f"output_format={output_format!r} is none of {', '.join(values.OUTPUT_FORMATS)}")
        if isinstance(columns, str):
            raise InvalidInput(f"columns is text: give a list of labels, columns=[{columns!r}]")
        if sum(option is not None for option in (date_range, row_range, where)) > 1:
            raise InvalidInput("give one of date_range, row_range and where: put the others into where")
        version = self._resolve(symbol, as_of)
        stored = None if columns is None else values.stored_columns(version.schema, columns)
        needed = None if stored is None else list(dict.fromkeys([*version.schema.index, *stored]))
        is_pandas = version.kind in ("dataframe", "series") and output_format in (None, "pandas")
        dictionaries = values.text_objects(version.schema) if is_pandas else ()
        rows = self._rows(version, needed, date_range, row_range, where, dictionaries)
        chosen: dict[str, Any] = {"columns": columns, "rows": rows.positions}
        try:
            if output_format is None:
                data = values.decode(rows.table, version.kind, version.schema, **chosen)
            else:
                data = values.to_format(rows.table, version.kind, version.schema, output_format, **chosen)
        except ModuleNotFoundError as error:
            raise Unsupported(
                f"{error.name} is not installed: pip install {error.name}, or ask for another output_format"
            ) from error
        return self._item(version, data)

    def _rows(
        self,
        version: Version,
        columns: Sequence[str] | None,
        date_range: tuple[Any, Any] | None,
        row_range: tuple[int | None, int | None] | None,
        where: str | None,
        dictionaries: Collection[str],
    ) -> reads.Rows:
        opened = self.open_library
        if date_range is not None:
            return reads.read_dates(opened, version, columns, date_range)
        if row_range is not None:
            return reads.read_rows(opened, version, columns, row_range)
        if where is not None:
            from duckvstore.sql.where import read_where

            return read_where(opened, version, columns, where)
        return reads.read_all(opened, version, columns, dictionaries)

    def head(self, symbol: str, n: int = 5, as_of: AsOf = None, columns: Sequence[Any] | None = None) -> VersionedItem:
        """Read the first ``n`` rows; a negative ``n`` leaves out that many at the end."""
        return self.read(symbol, as_of, columns=columns, row_range=(0, n))

    def tail(self, symbol: str, n: int = 5, as_of: AsOf = None, columns: Sequence[Any] | None = None) -> VersionedItem:
        """Read the last ``n`` rows; a negative ``n`` leaves out that many at the start."""
        return self.read(symbol, as_of, columns=columns, row_range=(-n, None) if n else (0, 0))

    def read_metadata(self, symbol: str, as_of: AsOf = None) -> VersionedItem:
        """Read a version's metadata only; ``data`` is None."""
        return self._item(self._resolve(symbol, as_of))

    def get_description(self, symbol: str, as_of: AsOf = None) -> SymbolDescription:
        """Describe a version without reading its rows."""
        version = self._resolve(symbol, as_of)
        return SymbolDescription.of(version, reads.date_bounds(version))

    # -- what there is ---------------------------------------------------------------------------------------

    def list_symbols(
        self, snapshot_name: str | None = None, regex: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return the live symbols, sorted: of a snapshot, matching ``regex``, whose metadata has these items."""
        if snapshot_name is not None:
            held = catalogue.read_snapshot(self.open_library, snapshot_name).versions
            found = [catalogue.resolve(self.open_library, symbol, number) for symbol, number in held.items()]
        else:
            found = catalogue.newest_versions(self.open_library)
        if metadata is not None:
            wanted = dict(metadata).items()
            found = [v for v in found if isinstance(v.metadata, dict) and _has_items(v.metadata, wanted)]
        names = sorted(version.symbol for version in found)
        if regex is None:
            return names
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise InvalidInput(f"regex {regex!r} cannot be compiled: {error}") from error
        return [name for name in names if pattern.search(name)]

    def has_symbol(self, symbol: str, as_of: AsOf = None) -> bool:
        """Return whether ``read`` would find this version."""
        try:
            self._resolve(symbol, as_of)
        except NotFound:
            return False
        return True

    def list_versions(
        self,
        symbol: str | None = None,
        snapshot: str | None = None,
        *,
        latest_only: bool = False,
        skip_snapshots: bool = False,
    ) -> dict[SymbolVersion, VersionInfo]:
        """Return versions, newest first within a symbol: of one symbol or all, held by ``snapshot`` if given.

        ``sql("FROM vstore.versions")`` has the same as a table.
        Raises NoSuchSymbol, NoSuchSnapshot.
        """
        opened = self.open_library
        holders: dict[tuple[str, int], list[str]] = {}
        if snapshot is not None:
            only = catalogue.read_snapshot(opened, snapshot)
            holders = {pair: [snapshot] for pair in only.versions.items()}
        elif not skip_snapshots:
            for found in catalogue.snapshots(opened):
                for pair in found.versions.items():
                    holders.setdefault(pair, []).append(found.name)
        listed: dict[SymbolVersion, VersionInfo] = {}
        for name in [symbol] if symbol is not None else sorted(catalogue.symbol_names(opened)):
            versions = catalogue.history(opened, name)
            if symbol is not None and not versions:
                catalogue.resolve(opened, symbol)  # raises with the nearest names
            for version in versions[:1] if latest_only else versions:
                pair = SymbolVersion(name, version.number)
                if snapshot is None or pair in holders:
                    listed[pair] = VersionInfo.of(version, holders.get(pair, []))
        return listed

    # -- snapshots -------------------------------------------------------------------------------------------

    def snapshot(
        self,
        snapshot_name: str,
        metadata: Any = None,
        skip_symbols: Collection[str] | None = None,
        versions: Mapping[str, int] | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
    ) -> SnapshotInfo:
        """Name the newest version of every symbol as they stand at one moment, or ``versions`` exactly.

        ``versions``: symbol to number; other symbols are then left out.
        Raises AlreadyExists for a taken name, NoSuchSymbol and NoSuchVersion for what is named and missing.
        """
        if isinstance(skip_symbols, str):
            raise InvalidInput(f"skip_symbols is text: give a list of symbols, [{skip_symbols!r}]")
        if versions is not None and not isinstance(versions, Mapping):
            raise InvalidInput(f"versions is a {type(versions).__name__}: give a dict, {{symbol: version number}}")
        made = engine_snapshots.create(
            self.open_library,
            snapshot_name,
            metadata=metadata,
            skip_symbols=skip_symbols or (),
            versions=None if versions is None else {symbol: _plain(number) for symbol, number in versions.items()},
            author=author,
            message=message,
        )
        return SnapshotInfo.of(self.name, made)

    def list_snapshots(self, *, load_metadata: bool = True) -> dict[str, Any] | list[str]:
        """Return snapshot names with their metadata, or (``load_metadata=False``) only the names."""
        if not load_metadata:
            return catalogue.snapshot_names(self.open_library)
        return {found.name: found.metadata for found in catalogue.snapshots(self.open_library)}

    def delete_snapshot(self, snapshot_name: str) -> None:
        """Delete a snapshot; the versions it held stay. Raises NoSuchSnapshot."""
        engine_snapshots.delete(self.open_library, snapshot_name)

    # -- SQL and beyond --------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The SQL session of this handle; temporary tables and views of its user live here."""
        from duckvstore.sql.session import Session

        with self._lock:
            if self._session is None:
                self._session = Session({self.name: self.open_library}, default=self.open_library)
            return self._session

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Result:
        """Run DuckDB SQL in which symbols are tables, at any version: ``FROM trades AT VERSION 3``.

        ``parameters``: values for ``$name`` (mapping) or ``?`` (sequence). Dataframes in the caller's scope
        can be named as tables. Raises SqlError with a caret, and the errors of ``read``.
        """
        return self.session.sql(query, parameters, scope=caller_scope())

    def publish(self) -> str:
        """Write the catalogue file that an unmodified ``duckdb`` shell attaches; return its URL."""
        from duckvstore.attach import publish

        return publish(self.open_library)

    def browse(self) -> Any:
        """Return the version browser, a widget for notebooks (extra ``jupyter``)."""
        from duckvstore.jupyter.browser import Browser

        return Browser(self)

    def _item(self, version: Version, data: Any = None) -> VersionedItem:
        return VersionedItem.of(self.name, version, data)


def caller_scope() -> dict[str, Any]:
    """Return the variables that the caller of the calling method can see, so that SQL can name dataframes."""
    frame = sys._getframe(2)  # noqa: SLF001 - the one way to see a caller's variables, as duckdb.sql does
    return {**frame.f_globals, **frame.f_locals}


def _plain(as_of: Any) -> Any:
    """Return a whole number of any type (numpy's, as queries give them) as an int, anything else as it is."""
    try:
        return as_of if isinstance(as_of, bool) else operator.index(as_of)
    except TypeError:
        return as_of


def _unsorted(where: str, index: Any) -> InvalidInput:
    if index.hasnans:
        return InvalidInput(
            f"the index of the data for {where} has NaT, which is in no order: drop those rows, or pass "
            "validate_index=False"
        )
    return InvalidInput(
        f"the index of the data for {where} is not sorted: sort_index() it, or pass validate_index=False"
    )


def _made(version: Version | None) -> Version:
    if version is None:
        raise AssertionError("a plan that always drafts left nothing")  # unreachable: the plans above always draft
    return version


def _has_items(found: dict[str, Any], wanted: Collection[tuple[str, Any]]) -> bool:
    return all(key in found and found[key] == value for key, value in wanted)


def _index_is_sorted(data: Any) -> bool | None:
    """Return whether a pandas value with a DatetimeIndex is in ascending order (None: it has none)."""
    index: Any = getattr(data, "index", None)
    if type(index).__name__ != "DatetimeIndex":
        return None
    return bool(index.is_monotonic_increasing)
