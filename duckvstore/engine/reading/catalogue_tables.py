"""The catalogue as tables: symbols, versions, segments, columns, snapshots.

A table's columns and types do not depend on what the library holds, so SQL works on an empty library as on a
full one; documents that are not needed are not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.engine.library import condemned
from duckvstore.engine.reading import catalogue, listings
from duckvstore.engine.reading.listings import NOTHING_PINNED
from duckvstore.errors import InvalidInput, nearest
from duckvstore.format.stored import generations, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Choose, Pinned
    from duckvstore.format.stored.documents import Version

Row: TypeAlias = dict[str, Any]

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

    ``choose`` says which documents are to be read, and which files of the folded catalogue (None: all), where these
    have rows that are wanted: of ``versions``, ``segments`` and ``columns`` all versions, of ``symbols`` the highest,
    whose visible version may be a lower one. ``pinned``: what a transaction sees of some symbols, which ``symbols``
    shows.
    """
    if name not in COLUMNS:
        raise InvalidInput(f"the catalogue has no table {name!r}.{nearest(name, COLUMNS)} It has {', '.join(COLUMNS)}")
    if name == "snapshots":
        return build(name, _snapshot_rows(library))
    if name == "symbols":
        return _symbols(library, choose, pinned)
    if name == "versions":
        return _versions(library, choose)
    return build(name, _ROWS[name](library, choose))


def build(name: str, rows: Iterable[Row]) -> pa.Table:
    """Return rows of the catalogue table ``name`` as Arrow; text, int64, UTC microseconds, bool, list of text.

    What a row has besides is left out.
    """
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


def _symbols(library: OpenLibrary, choose: Choose | None, pinned: Pinned) -> pa.Table:
    found = listings.documents_present(library, choose, newest=True)
    rows = found.rows.filter(found.rows["is_visible"])
    read = {**found.tops, **{symbol: version.number for symbol, version in pinned.items() if version is not None}}
    rows = rows.filter(generations.is_first(rows["symbol"]))
    is_read = pc.is_in(rows["symbol"], pa.array([*read, *pinned], pa.string()))
    rows = rows.filter(pc.invert(pc.or_(is_read, rows["deleted"])))
    tops = listings.chosen(list(read.items()), choose, by_number=False)
    newest = listings.newest_among(library, tops, pinned)
    others = build("symbols", (version_row(version) for version in newest if not version.deleted))
    return pa.concat_tables([rows.select(others.column_names), others])


def _positions_kept(rows: pa.Table, unwanted: Mapping[str, Collection[int]]) -> list[bool]:
    """Return of each row whether its version is not among ``unwanted`` numbers by symbol."""
    nothing: Collection[int] = ()
    pairs = zip(rows["symbol"].to_pylist(), rows["version"].to_pylist(), strict=True)
    return [number not in unwanted.get(symbol, nothing) for symbol, number in pairs]


def _names(rows: pa.Table, holders: Mapping[tuple[str, int], list[str]]) -> pa.Array:
    """Return of each row the names of the snapshots that hold its version."""
    kind = pa.list_(pa.string())
    if not holders:
        return pa.ListArray.from_arrays(pa.array([0] * (rows.num_rows + 1), pa.int32()), pa.array([], pa.string()))
    pairs = zip(rows["symbol"].to_pylist(), rows["version"].to_pylist(), strict=True)
    return pa.array([holders.get(pair, []) for pair in pairs], kind)


def _versions(library: OpenLibrary, choose: Choose | None) -> pa.Table:
    unwanted = condemned.numbers_of_all(library)  # before what is folded: FORMAT.md, Catalogue
    holders = catalogue.holders(library)
    found = listings.documents_present(library, choose)
    rows = found.rows.filter(found.rows["is_visible"])
    rows = rows.filter(pa.array(_positions_kept(rows, unwanted), pa.bool_())) if unwanted else rows
    rows = rows.select(list(_VERSION_COLUMNS)).append_column("snapshots", _names(rows, holders))
    others = listings.versions_among(library, listings.chosen(found.others, choose), unwanted)
    read = ({**version_row(each), "snapshots": holders.get((each.symbol, each.number), [])} for each in others)
    return pa.concat_tables([rows, build("versions", read)])


def _segment_rows(library: OpenLibrary, choose: Choose | None) -> Iterator[Row]:
    for version in listings.versions_of_all(library, choose):
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


def _column_rows(library: OpenLibrary, choose: Choose | None) -> Iterator[Row]:
    for version in listings.versions_of_all(library, choose):
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


_ROWS: dict[str, Callable[[OpenLibrary, Choose | None], Iterator[Row]]] = {
    "segments": _segment_rows,
    "columns": _column_rows,
}
