"""Segments: rows to Parquet objects and back, several at a time.

Invariant: a segment's key carries a random part and is put once, and every whole segment that is read is
checked against the length and sha256 of its document.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.errors import Integrity, NoSuchKey
from duckvstore.format import chunking, encoding, schema, statistics
from duckvstore.format.documents import Segment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from concurrent.futures import Future

    import pyarrow as pa

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.format.documents import Schema, Version
    from duckvstore.format.values import Encoded

DIGEST_DIGITS = 32


def upload(library: OpenLibrary, symbol: str, encoded: Encoded) -> list[Segment]:
    """Cut the rows into segments, encode and upload them on several threads; return them in row order.

    Encoding one segment overlaps the upload of others; at most two segments per thread are in memory beside
    the value, so a stream may be larger than memory.
    """
    pieces = chunking.pieces(encoded)
    first = next(pieces, None)
    if first is None:
        return []
    second = next(pieces, None)
    if second is None:
        return [_upload_one(library, symbol, encoded.schema, first)]
    done: list[Segment] = []
    waiting: deque[Future[Segment]] = deque()
    threads = max(4, (os.cpu_count() or 1) + 2)
    with ThreadPoolExecutor(threads, thread_name_prefix="duckvstore-write") as pool:
        try:
            for piece in _chain(first, second, pieces):
                waiting.append(pool.submit(_upload_one, library, symbol, encoded.schema, piece))
                if len(waiting) >= 2 * threads:
                    done.append(waiting.popleft().result())
            done.extend(future.result() for future in waiting)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return done


def _chain(first: pa.Table, second: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield second
    yield from rest


def _upload_one(library: OpenLibrary, symbol: str, stored: Schema, rows: pa.Table) -> Segment:
    data = encoding.encode(rows, stored)
    digest = hashlib.sha256(data).hexdigest()
    key = library.layout.segment(symbol, digest[:DIGEST_DIGITS], clock.short_id())
    found = statistics.compute(rows, stored)
    library.segment_objects.put(library.layout.segment_key(key), data)
    return Segment(key, rows.num_rows, len(data), digest, chunking.logical_bytes(rows, stored), found)


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
            f"sha256 {segment.sha256[:16]}…, found {len(data)} bytes with {hashlib.sha256(data).hexdigest()[:16]}…: restore "
            "it from a backup, or read another version"
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
    import pyarrow as pa

    stored = schema.to_arrow(version.schema)
    if columns is not None:
        stored = pa.schema([stored.field(name) for name in columns], metadata=stored.metadata)
    chosen = version.segments if segments is None else [version.segments[position] for position in segments]

    def load(segment: Segment) -> Any:
        return encoding.decode(fetch(library, segment), version.schema, columns, dictionaries)

    tables = library.in_parallel(load, chosen)
    if not tables:
        return stored.empty_table()
    if any(table.schema != tables[0].schema for table in tables):
        tables = [table.cast(stored) for table in tables]
    return pa.concat_tables(tables)
