"""Segments fetched and decoded, several at a time: each is checked against the length and sha256 of its document."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from duckvstore.concurrency import CPU, IO, PARALLEL_REQUESTS, Task
from duckvstore.errors import Integrity, NoSuchKey
from duckvstore.format.rows import encoding
from duckvstore.format.rows.gathering import Gathered, Gathering
from duckvstore.format.stored import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment

FETCHED_BYTES_MAX = 64 * 2**20  # of segments that wait to be decoded


def fetch(library: OpenLibrary, segment: Segment) -> bytes:
    """Return a segment's whole object, verified. Raises Integrity when it is missing or not what was written."""
    key = library.layout.segment_key(segment.key)
    try:
        data = library.segment_objects.read(key)
    except NoSuchKey as error:
        raise Integrity(
            f"segment {key} of {library.segment_objects.url} is missing, although a version of library "
            f"{library.name!r} refers to it: restore it from a backup, or read another version"
        ) from error
    if len(data) != segment.size_bytes or hashlib.sha256(data).hexdigest() != segment.sha256:
        raise Integrity(
            f"segment {key} of {library.segment_objects.url} is damaged: expected {segment.size_bytes} bytes with "
            f"sha256 {segment.sha256[:16]}…, found {len(data)} bytes with {hashlib.sha256(data).hexdigest()[:16]}…: "
            "restore it from a backup, or read another version"
        )
    return data


def read_table(
    library: OpenLibrary,
    version: Version,
    *,
    columns: Sequence[str] | None = None,
    segments: Sequence[int] | None = None,
    dictionaries: Collection[str] = (),
) -> pa.Table:
    """Return rows of a version as an Arrow table in its stored schema.

    ``columns``: stored names, in the order wanted (None: all). ``segments``: positions to read (None: all).
    ``dictionaries``: text columns that may come as dictionaries, where every segment holds them so.
    """
    chosen = version.segments if segments is None else [version.segments[position] for position in segments]
    return _together(_read(library, version, columns, chosen, dictionaries), version, columns)


def gather(
    library: OpenLibrary,
    version: Version,
    dtypes: Mapping[str, Any],
    *,
    columns: Sequence[str] | None = None,
    dictionaries: Collection[str] = (),
) -> Gathered:
    """Return all rows of a version, those of the columns ``dtypes`` as numpy arrays; otherwise as ``read_table``."""
    try:
        gathering = Gathering(dtypes, version.row_count)
    except (MemoryError, ValueError):  # a document may say any number of rows, which its segments do not have
        return Gathered(read_table(library, version, columns=columns, dictionaries=dictionaries))
    tables = _read(library, version, columns, version.segments, dictionaries, gathering.take)
    return gathering.finish(_together(tables, version, columns))


def _read(
    library: OpenLibrary,
    version: Version,
    columns: Sequence[str] | None,
    chosen: Sequence[Segment],
    dictionaries: Collection[str],
    then: Callable[[int, pa.Table], pa.Table] = lambda _, rows: rows,
) -> list[pa.Table]:
    """Return what ``then`` makes of the rows of each segment, and of the number of its first among those ``chosen``."""
    # As many are decoded at once as there are cores: each takes the memory of its rows, and the reader of Parquet holds
    # buffers for each column, which are gigabytes where there are thousands. A few more are on their way meanwhile.
    cores = os.cpu_count() or 1
    largest = max((segment.size_bytes for segment in chosen), default=1)
    ahead = max(cores, min(PARALLEL_REQUESTS, FETCHED_BYTES_MAX // max(1, largest)))
    starts = list(accumulate((segment.row_count for segment in chosen), initial=0))
    fetches = [Task(partial(fetch, library, segment)) for segment in chosen]

    def load(position: int) -> pa.Table:
        segment = chosen[position]
        with library.believing(version):
            data = fetches[position].result()
            fetches[position].forget()
            for later in fetches[position + ahead : position + ahead + 1]:
                IO.begin(later)
            rows = encoding.decode(data, version.schema, columns, dictionaries)
            if rows.num_rows != segment.row_count:
                raise Integrity(f"segment {segment.key} has {rows.num_rows} rows, expected {segment.row_count}")
            return then(starts[position], rows)

    try:
        for first in fetches[1:ahead]:  # this thread takes the first
            IO.begin(first)
        return CPU.map(load, range(len(fetches)), at_once=cores, doing=f"reading {version.symbol}")
    finally:
        for left in fetches:
            left.cancel()


def _together(tables: list[pa.Table], version: Version, columns: Sequence[str] | None) -> pa.Table:
    """Return one table of those, which have the stored schema or part of it."""
    import pyarrow as pa

    if tables and all(table.schema == tables[0].schema for table in tables):
        return pa.concat_tables(tables)
    stored = schema.to_arrow(version.schema)
    present = (stored.names if columns is None else columns) if not tables else tables[0].schema.names
    stored = pa.schema([stored.field(name) for name in present], metadata=stored.metadata)
    return pa.concat_tables([table.cast(stored) for table in tables]) if tables else stored.empty_table()
