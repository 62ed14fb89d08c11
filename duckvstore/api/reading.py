"""Reading: values, rows of them, and what there is.

Invariant: nothing here writes.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from duckvstore.api.base import Handle
from duckvstore.api.items import SymbolDescription, SymbolVersion, VersionedItem, VersionInfo, VersionList
from duckvstore.api.payloads import ReadRequest
from duckvstore.engine.library import unreadable
from duckvstore.engine.reading import catalogue, composite, listings, ranges, reads, visible
from duckvstore.errors import InvalidInput, NotFound, Unsupported
from duckvstore.format.codecs import composite as format_composite
from duckvstore.format.codecs import tables, values
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.reading.ranges import DateRange
    from duckvstore.format.stored.documents import Version


class Reading(Handle):
    """The methods of a library that read."""

    def __contains__(self, symbol: str) -> bool:
        return self.has_symbol(symbol)

    def read(
        self,
        symbol: str,
        as_of: AsOf = None,
        date_range: tuple[Any, Any] | None = None,
        row_range: tuple[int | None, int | None] | None = None,
        columns: Sequence[Any] | None = None,
        *,
        where: str | None = None,
        output_format: str | None = None,
        allow_pickle: bool = False,
    ) -> VersionedItem:
        """Read a version: the newest, or as of a number, negative number, snapshot name or datetime (naive: UTC).

        ``columns``: labels, in the order wanted (index levels always come along). ``date_range``: (start, end),
        both included, over an index of times; a date means its midnight, None is open; or a DatetimeIndex.
        ``row_range``: (start, stop), stop excluded, as a slice. ``where``: a SQL predicate over the stored columns.
        ``output_format``: "pandas", "polars" or "pyarrow", or an ``OutputFormat``; None gives back the type that was
        written. ``allow_pickle``: load a pickled value, which runs code that its writer chose.
        Raises NoSuchSymbol, NoSuchVersion, NoSuchColumn, InvalidInput, Integrity.

        Examples:
            >>> lib.read("trades").data
                        price  quantity
            time
            2026-01-01   10.0       100
            2026-01-02   11.5       200
            2026-01-03   12.0        50
            >>> lib.read("trades", as_of=0, columns=["price"], where="quantity > 100").data
                        price
            time
            2026-01-02   11.5
        """
        request = ReadRequest(
            *(symbol, as_of, date_range, row_range, columns),
            where=where,
            output_format=output_format,
            allow_pickle=allow_pickle,
        )
        return self._read_version(lambda: self._resolve(symbol, as_of), request)

    def _read_version(self, resolve: Callable[[], Version], request: ReadRequest) -> VersionedItem:
        """Return the part of a version that ``request`` asks for; that is checked before ``resolve`` is called."""
        output_format = None if request.output_format is None else _known_format(request.output_format)
        columns = None if request.columns is None else _label_list(request.columns)
        parts = {"date_range": request.date_range, "row_range": request.row_range, "where": request.where}
        if sum(part is not None for part in parts.values()) > 1:
            raise InvalidInput("give one of date_range, row_range and where: put the others into where")
        dates = ranges.date_range_if(request.date_range)
        version = resolve()
        opened = self.open_library
        with opened.believing(version):
            where = opened.quoted(version.symbol)
            format_composite.refuse_parts(
                version.kind, version.schema.value, where, columns=columns, **parts, output_format=output_format
            )
            if version.kind == "nested":
                return self._item(version, composite.read_nested(opened, version))
            stored = None if columns is None else tables.stored_columns(version.schema, columns)
            needed = None if stored is None else tables.needed_columns(version.schema, stored)
            is_pandas = version.kind in ("dataframe", "series") and output_format in (None, "pandas")
            dictionaries = tables.text_objects(version.schema) if is_pandas else ()
            dtypes = tables.numpy_dtypes(version.schema, needed) if is_pandas else {}
        rows = self._rows(version, needed, dates, request, dictionaries, dtypes)
        chosen: dict[str, Any] = {"columns": columns, "rows": rows.positions, "arrays": rows.arrays}
        pickles = request.allow_pickle
        try:
            with opened.believing(version):
                if version.kind == "arrow" and any(column.duckdb is not None for column in version.schema.columns):
                    data = _own_values(rows.table, version, columns, output_format or "pyarrow")
                elif output_format is None:
                    data = values.decode(rows.table, version.kind, version.schema, allow_pickle=pickles, **chosen)
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
        dates: DateRange | None,
        request: ReadRequest,
        dictionaries: Collection[str],
        dtypes: Mapping[str, Any],
    ) -> reads.Rows:
        opened = self.open_library
        if dates is not None:
            return reads.read_dates(opened, version, columns, dates)
        if request.row_range is not None:
            return reads.read_rows(opened, version, columns, request.row_range)
        if request.where is not None:
            from duckvstore.sql.where import read_where

            return read_where(opened, version, columns, request.where)
        return reads.read_all(opened, version, columns, dictionaries, dtypes)

    def head(
        self,
        symbol: str,
        n: int = 5,
        as_of: AsOf = None,
        columns: Sequence[Any] | None = None,
        *,
        output_format: str | None = None,
    ) -> VersionedItem:
        """Read the first ``n`` rows; a negative ``n`` leaves out that many at the end.

        Examples:
            >>> lib.head("trades", 1).data["price"].tolist()
            [10.0]
        """
        rows = (0, ranges.count(n))
        return self.read(symbol, as_of, row_range=rows, columns=columns, output_format=output_format)

    def tail(
        self,
        symbol: str,
        n: int = 5,
        as_of: AsOf = None,
        columns: Sequence[Any] | None = None,
        *,
        output_format: str | None = None,
    ) -> VersionedItem:
        """Read the last ``n`` rows; a negative ``n`` leaves out that many at the start.

        Examples:
            >>> lib.tail("trades", 1).data["price"].tolist()
            [12.0]
        """
        count = ranges.count(n)
        rows = (-count, None) if count else (0, 0)
        return self.read(symbol, as_of, row_range=rows, columns=columns, output_format=output_format)

    def read_metadata(self, symbol: str, as_of: AsOf = None) -> VersionedItem:
        """Read a version's metadata only; ``data`` is None.

        Examples:
            >>> lib.read_metadata("trades").metadata
            {'source': 'exchange'}
        """
        return self._item(self._resolve(symbol, as_of))

    def get_description(self, symbol: str, as_of: AsOf = None) -> SymbolDescription:
        """Describe a version without reading its rows.

        Examples:
            >>> found = lib.get_description("trades")
            >>> found.row_count, [column.name for column in found.columns]
            (3, ['price', 'quantity'])
        """
        return self._described(self._resolve(symbol, as_of))

    def _described(self, version: Version) -> SymbolDescription:
        with self.open_library.believing(version):
            return SymbolDescription.of(version, reads.date_bounds(version))

    def list_symbols(
        self, snapshot_name: str | None = None, regex: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return the live symbols, sorted: of a snapshot, matching ``regex``, whose metadata has these items.

        One whose newest document cannot be read is left out, with a ``DocumentWarning`` that names it.

        Examples:
            >>> lib.list_symbols(regex="^tr")
            ['trades']
        """
        if snapshot_name is None and metadata is None:
            names = listings.live_symbols(self.open_library)
        else:
            found = self._held_or_newest(snapshot_name)
            if metadata is not None:
                wanted = dict(metadata).items()
                found = [v for v in found if isinstance(v.metadata, dict) and wanted <= v.metadata.items()]
            names = sorted(version.symbol for version in found)
        if regex is None:
            return names
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise InvalidInput(f"regex {regex!r} cannot be compiled: {error}") from error
        return [name for name in names if pattern.search(name)]

    def _held_or_newest(self, snapshot_name: str | None) -> list[Version]:
        """Return the newest version of each live symbol, or those that a snapshot holds."""
        if snapshot_name is None:
            return listings.newest_versions(self.open_library)
        held = catalogue.read_snapshot(self.open_library, snapshot_name).versions
        pairs = [(symbol, catalogue.Held(number)) for symbol, number in held.items()]  # pruned or not
        return unreadable.read_all(lambda pair: catalogue.resolve(self.open_library, *pair), pairs)

    def reload_symbol_list(self) -> None:
        """Do nothing: there is no list of symbols beside the object store's own, so none can be out of date."""

    def has_symbol(self, symbol: str, as_of: AsOf = None) -> bool:
        """Return whether ``read`` would find this version.

        Examples:
            >>> lib.has_symbol("trades", as_of=7)
            False
        """
        if as_of is None:  # what an error would say takes a listing
            newest = self._newest(symbol)
            return newest is not None and not newest.deleted
        try:
            self._resolve(symbol, as_of)
        except NotFound:
            return False
        return True

    def list_versions(
        self,
        symbol: str | None = None,
        snapshot: str | None = None,
        latest_only: bool = False,
        skip_snapshots: bool = False,
    ) -> dict[SymbolVersion, VersionInfo]:
        """Return versions, newest first within a symbol: of one symbol or all, held by ``snapshot`` if given.

        ``latest_only``: the newest of each symbol; of no effect with ``snapshot``, which holds one of each. Only the
        documents of what is returned are read.
        ``sql("FROM vstore.versions")`` has the same as a table. What cannot be read is left out, with a
        ``DocumentWarning`` that names it.
        Raises NoSuchSymbol, NoSuchSnapshot.

        Examples:
            >>> for (symbol, version), info in lib.list_versions("trades").items():
            ...     print(symbol, version, info.operation, info.row_count, info.message)
            trades 1 append 3 the third day
            trades 0 write 2 None
        """
        opened = self.open_library
        holders: dict[tuple[str, int], list[str]] = {}
        if snapshot is not None:
            only = catalogue.read_snapshot(opened, snapshot)
            holders = {pair: [snapshot] for pair in only.versions.items()}
        elif not skip_snapshots:
            holders = catalogue.holders(opened)
        listed = VersionList()
        for version in self._listed(symbol, holders if snapshot is not None else None, latest_only=latest_only):
            pair = SymbolVersion(version.symbol, version.number)
            listed[pair] = VersionInfo.of(version, holders.get(pair, []))
        return listed

    def _listed(
        self, symbol: str | None, held: Mapping[tuple[str, int], list[str]] | None, *, latest_only: bool
    ) -> list[Version]:
        """Return the versions of one symbol or all, by symbol, newest first. ``held``: the only ones that matter."""
        opened = self.open_library
        if held is not None:
            versions = listings.versions_held(opened, sorted(pair for pair in held if symbol in (None, pair[0])))
        elif symbol is None:
            if latest_only:
                return listings.newest_among(opened, listings.symbol_heads(opened))
            return listings.versions_of_all(opened)
        elif latest_only:
            highest = islice(visible.numbers(opened, symbol, first_page=1), 1)
            versions = listings.newest_among(opened, [(symbol, number) for number in highest])
        else:
            versions = catalogue.history(opened, symbol)
        if symbol is not None and not versions and visible.head(opened, symbol).newest is None:
            raise catalogue.no_symbol(opened, symbol)
        return versions


def _own_values(table: pa.Table, version: Version, columns: Sequence[Any] | None, output_format: str) -> Any:
    """Return rows of a value that SQL made, with columns of DuckDB's own types, as ``output_format`` has them."""
    from duckvstore.sql.results.stored import in_format
    from duckvstore.sql.values.kinds import of_column

    schema = version.schema
    rows = values.decode(table, "arrow", schema, columns=columns)
    if columns is None:
        names = schemas.present(schema.names, table)
    else:
        names = tables.after_index(schema, tables.stored_columns(schema, columns))
    own = {column.name: of_column(column) for column in schema.columns}
    return in_format(rows, [own[name] for name in names], output_format)


def _label_list(columns: Any) -> list[Any]:
    """Return the labels in ``columns``, which an iterator gives only once."""
    if isinstance(columns, str):
        raise InvalidInput(f"columns is text: give a list of labels, columns=[{columns!r}]")
    try:
        labels = list(columns)
    except TypeError as error:
        raise InvalidInput(f"columns is a {type(columns).__name__}: give a list of labels") from error
    array = next((label for label in labels if getattr(label, "ndim", 0)), None)
    if array is not None:
        raise InvalidInput(f"columns has a {type(array).__name__} in it, which is no label: give a list of labels")
    return labels


def _known_format(output_format: object) -> str:
    """Return the name of an output format, in which the case of letters does not matter."""
    name = output_format.lower() if isinstance(output_format, str) else output_format
    if name not in values.OUTPUT_FORMATS:
        raise InvalidInput(f"output_format={output_format!r} is none of {', '.join(values.OUTPUT_FORMATS)}")
    return str(name)
