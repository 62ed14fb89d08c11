"""The catalogue as tables: symbols, versions, segments, columns, snapshots.

A table's columns and types do not depend on what the library holds, so SQL works on an empty library as on a
full one; documents that are not needed are not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.engine.reading import catalogue
from duckvstore.engine.reading.catalogue import NOTHING_PINNED
from duckvstore.errors import InvalidInput, nearest
from duckvstore.format.stored import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import Pinned
    from duckvstore.format.stored.documents import Version

Row: TypeAlias = dict[str, Any]
Document: TypeAlias = tuple[str, int]
Choose: TypeAlias = "Callable[[list[Document]], list[Document]]"

TEXT, NUMBER, TIME, FLAG, NAMES = "text", "number", "time", "flag", "names"
_VERSION_COLUMNS = {
    "symbol": TEXT,
    "version": NUMBER,
    "created_at": TIME,
    "operation": TEXT,
    "kind": TEXT,
    "author": TEXT,
    "message": TEXT,
    "metadata": TEXT,
    "row_count": NUMBER,
    "column_count": NUMBER,
    "segment_count": NUMBER,
    "logical_bytes": NUMBER,
    "stored_bytes": NUMBER,
    "new_rows": NUMBER,
    "new_bytes": NUMBER,
    "parent": NUMBER,
    "deleted": FLAG,
    "write_id": TEXT,
    "transaction": TEXT,
}
COLUMNS: dict[str, dict[str, str]] = {
    "symbols": {
        name: kind
        for name, kind in _VERSION_COLUMNS.items()
        if name not in ("new_rows", "new_bytes", "parent", "deleted", "write_id", "transaction", "operation")
    },
    "versions": {**_VERSION_COLUMNS, "snapshots": NAMES},
    "segments": {
        "symbol": TEXT,
        "version": NUMBER,
        "segment": NUMBER,
        "row_start": NUMBER,
        "row_count": NUMBER,
        "logical_bytes": NUMBER,
        "stored_bytes": NUMBER,
        "sha256": TEXT,
        "key": TEXT,
    },
    "columns": {
        "symbol": TEXT,
        "version": NUMBER,
        "position": NUMBER,
        "column_name": TEXT,
        "column_type": TEXT,
        "is_index": FLAG,
        "field_id": NUMBER,
    },
    "snapshots": {
        "snapshot": TEXT,
        "created_at": TIME,
        "symbol": TEXT,
        "version": NUMBER,
        "author": TEXT,
        "message": TEXT,
        "metadata": TEXT,
    },
}


def table(library: OpenLibrary, name: str, choose: Choose | None = None, pinned: Pinned = NOTHING_PINNED) -> pa.Table:
    """Return one of the catalogue tables (``COLUMNS`` has their names and columns), read from the documents.

    ``choose`` is given (symbol, number) of the documents that the table would be read from, and returns those to
    read: of ``versions``, ``segments`` and ``columns`` all versions, of ``symbols`` the highest, whose visible version
    may be a lower one. None: all. ``pinned``: what a transaction sees of some symbols, which ``symbols`` shows.
    """
    if name not in COLUMNS:
        raise InvalidInput(f"the catalogue has no table {name!r}.{nearest(name, COLUMNS)} It has {', '.join(COLUMNS)}")
    if name == "snapshots":
        return build(name, _snapshot_rows(library))
    if name == "symbols":
        return build(name, _symbol_rows(library, choose or list, pinned))
    return build(name, _ROWS[name](library, choose or list))


def build(name: str, rows: Iterable[Row]) -> pa.Table:
    """Return rows of the catalogue table ``name`` as Arrow; text, int64, UTC microseconds, bool, list of text."""
    import pyarrow as pa

    types = {
        TEXT: pa.string(),
        NUMBER: pa.int64(),
        TIME: pa.timestamp("us", tz="UTC"),
        FLAG: pa.bool_(),
        NAMES: pa.list_(pa.string()),
    }
    schema = pa.schema([(column, types[kind]) for column, kind in COLUMNS[name].items()])
    return pa.Table.from_pylist(list(rows), schema=schema)


def metadata_text(value: Any) -> str | None:
    """Return user metadata as JSON text, as documents hold it (None for none)."""
    return None if value is None else json.dumps(metadata.to_json(value), ensure_ascii=False)


def version_row(version: Version) -> Row:
    """Return one row of the table ``versions``, without its snapshots."""
    return _row(
        _VERSION_COLUMNS,
        version,
        version=version.number,
        metadata=metadata_text(version.metadata),
        column_count=len(version.schema.shown),
        segment_count=len(version.segments),
    )


def _row(columns: Iterable[str], of: object, **others: Any) -> Row:
    """Return a row with ``columns``: ``others``, and the rest as ``of`` has them."""
    return {name: others[name] if name in others else getattr(of, name) for name in columns}


def _versions(library: OpenLibrary, choose: Choose) -> list[Version]:
    """Return the visible versions of every symbol that ``choose`` wants, by symbol, newest first."""
    return catalogue.versions_among(library, choose(catalogue.documents_present(library)))


def _symbol_rows(library: OpenLibrary, choose: Choose, pinned: Pinned) -> Iterator[Row]:
    for version in catalogue.newest_among(library, choose(catalogue.heads_with(library, pinned)), pinned):
        if not version.deleted:
            row = version_row(version)
            yield {name: row[name] for name in COLUMNS["symbols"]}


def _version_rows(library: OpenLibrary, choose: Choose) -> Iterator[Row]:
    holders = catalogue.holders(library)
    for version in _versions(library, choose):
        yield {**version_row(version), "snapshots": holders.get((version.symbol, version.number), [])}


def _segment_rows(library: OpenLibrary, choose: Choose) -> Iterator[Row]:
    for version in _versions(library, choose):
        row_start = 0
        for position, segment in enumerate(version.segments):
            yield _row(
                COLUMNS["segments"],
                segment,
                symbol=version.symbol,
                version=version.number,
                segment=position,
                row_start=row_start,
                stored_bytes=segment.size_bytes,
            )
            row_start += segment.row_count


def _column_rows(library: OpenLibrary, choose: Choose) -> Iterator[Row]:
    for version in _versions(library, choose):
        for position, column in enumerate(version.schema.shown):
            yield {
                "symbol": version.symbol,
                "version": version.number,
                "position": position,
                "column_name": column.name,
                "column_type": column.duckdb or column.type,
                "is_index": column.name in version.schema.index,
                "field_id": column.id,
            }


def _snapshot_rows(library: OpenLibrary) -> Iterator[Row]:
    for snapshot in catalogue.snapshots(library):
        for symbol, number in snapshot.versions.items() or [(None, None)]:
            known = metadata_text(snapshot.metadata)
            yield _row(
                COLUMNS["snapshots"], snapshot, snapshot=snapshot.name, symbol=symbol, version=number, metadata=known
            )


_ROWS: dict[str, Callable[[OpenLibrary, Choose], Iterator[Row]]] = {
    "versions": _version_rows,
    "segments": _segment_rows,
    "columns": _column_rows,
}
