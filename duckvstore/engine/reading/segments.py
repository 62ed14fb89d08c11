"""Segments fetched and decoded, several at a time: each is checked against the length and sha256 of its document."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from duckvstore.concurrency import CPU, IO, PARALLEL_REQUESTS, Task
from duckvstore.engine.reading import call_segments, segment_cache
from duckvstore.errors import Integrity, NoSuchKey
from duckvstore.format.rows import encoding, parts
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.rows.gathering import Gathered, Gathering
from duckvstore.format.stored import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.segment_cache import SegmentCache
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment

FETCHED_BYTES_MAX = 64 * 2**20  # of segments that wait to be decoded
HELD_BYTES_MAX = 256 * 2**20  # of segments that are decoded twice, some columns at a time
PARTS_SHARE_MAX = 0.75  # of a segment, above which it is fetched whole


def fetch(library: OpenLibrary, segment: Segment) -> bytes:
    """Return a segment's whole object, verified, from this machine's cache if it is there.

    Raises Integrity when it is missing or not what was written.
    """
    cache, attempts = cache_for(library), call_segments.attempts()
    kept = None if attempts is None else attempts.read(segment)
    if kept is not None:
        return kept
    data = None if cache is None else cache.read(segment.sha256)
    if data is None or not is_whole(segment, data):
        data = fetch_stored(library, segment)
        if cache is not None:
            cache.put(segment.sha256, data)
    if attempts is not None:
        attempts.keep(segment, data)
    return data


def fetch_stored(library: OpenLibrary, segment: Segment) -> bytes:
    """Return a segment's whole object as ``fetch`` does, from the store itself."""
    data = _read_range(library, segment, 0, None)
    if not is_whole(segment, data):
        raise _damaged(library, segment, data)
    return data


def is_whole(segment: Segment, data: bytes) -> bool:
    """Whether ``data`` is the whole object that was written."""
    return len(data) == segment.size_bytes and hashlib.sha256(data).hexdigest() == segment.sha256


def fetch_parts(library: OpenLibrary, segment: Segment, column_ids: Collection[int]) -> dict[int, bytes] | None:
    """Return verified bytes of a segment by their place in it: its footer, and what holds the columns ``column_ids``.

    None where the whole segment is better, or is in this machine's cache. Raises Integrity as ``fetch`` does.
    """
    if segment.footer_bytes is None:
        return None
    cache = cache_for(library)
    if cache is not None and cache.has(segment.sha256):
        return None
    start = segment.size_bytes - segment.footer_bytes

    def is_footer(data: bytes) -> bool:
        return len(data) == segment.footer_bytes and hashlib.sha256(data).hexdigest() == segment.footer_sha256

    footer = parts.Footer.parse(_part(library, segment, cache, "footer", start, is_footer), segment.size_bytes)
    ranges = footer.ranges(column_ids)
    if ranges is None or sum(part.size_bytes for part in ranges) > PARTS_SHARE_MAX * segment.size_bytes:
        return None
    found = IO.map(
        lambda part: _part(
            library, segment, cache, f"{part.start}-{part.end}", part.start, lambda data: footer.holds(part, data), part
        ),
        ranges,
        at_once=IO.size,
    )
    return {**{part.start: data for part, data in zip(ranges, found, strict=True)}, start: footer.data}


def _part(
    library: OpenLibrary,
    segment: Segment,
    cache: SegmentCache | None,
    suffix: str,
    start: int,
    is_right: Callable[[bytes], bool],
    part: parts.Range | None = None,
) -> bytes:
    """Return bytes of a segment from ``start`` (to the end, without a ``part``), from the cache or the store."""
    name = f"{segment.sha256}.{suffix}"
    data = None if cache is None else cache.read(name)
    if data is not None and is_right(data):
        return data
    data = _read_range(library, segment, start, None if part is None else part.size_bytes)
    if not is_right(data):
        raise _damaged(library, segment, data, f" in its bytes from {start} on")
    if cache is not None:
        cache.put(name, data)
    return data


def _read_range(library: OpenLibrary, segment: Segment, start: int, length: int | None) -> bytes:
    key = library.layout.segment_key(segment.key)
    call_segments.wait_for(key)
    try:
        return library.segment_objects.read(key, start, length)
    except NoSuchKey as error:
        raise Integrity(
            f"segment {key} of {library.segment_objects.url} is missing, although a version of library "
            f"{library.name!r} refers to it: restore it from a backup, or read another version"
        ) from error


def _damaged(library: OpenLibrary, segment: Segment, data: bytes, where: str = "") -> Integrity:
    expected = "" if where else f": expected {segment.size_bytes} bytes with sha256 {segment.sha256[:16]}…"
    key = library.layout.segment_key(segment.key)
    return Integrity(
        f"segment {key} of {library.segment_objects.url} is damaged{where}{expected}, "
        f"found {len(data)} bytes with {hashlib.sha256(data).hexdigest()[:16]}…: restore it from a backup, or read "
        "another version"
    )


def cache_for(library: OpenLibrary) -> SegmentCache | None:
    """Return this machine's cache, for a library whose segments are elsewhere."""
    return None if library.segment_objects.is_near else segment_cache.current()


def copy_to(path: Path, library: OpenLibrary, segment: Segment, column_ids: Collection[int] | None) -> int:
    """Make the file ``path`` of a segment, whole or with what these columns need; return how many bytes it holds.

    A file with holes is as long as the segment: DuckDB reads the footer, and the columns that it wants. Raises
    Integrity as ``fetch`` does, and OSError.
    """
    found = None if column_ids is None else fetch_parts(library, segment, column_ids)
    if found is not None:
        with path.open("xb") as file:
            file.truncate(segment.size_bytes)
            for start, data in found.items():
                file.seek(start)
                file.write(data)
        return sum(map(len, found.values()))
    cache, name = cache_for(library), segment.sha256
    if cache is None:
        path.write_bytes(fetch_stored(library, segment))
    elif not _link(cache, segment, path):
        data = fetch_stored(library, segment)
        if not (cache.put(name, data) and cache.link(name, path)):
            path.write_bytes(data)
    return segment.size_bytes


def _link(cache: SegmentCache, segment: Segment, path: Path) -> bool:
    """Make ``path`` another name of an entry of the cache, if that is there and right."""
    name = segment.sha256
    if not cache.link(name, path):
        return False
    if name in cache.verified or is_whole(segment, path.read_bytes()):
        cache.verified.add(name)
        return True
    path.unlink()
    cache.drop(name)
    return False


def local_files(library: OpenLibrary, chosen: Sequence[Segment], *, whole: bool) -> list[str] | None:
    """Return a file of this machine for each segment, which it has whole and verified; None where there is none.

    ``whole``: most of each segment is wanted, so they are read, or come into this machine's cache, if they are not too
    many. An entry may go before it is opened. Raises Integrity as ``fetch`` does.
    """
    cache, objects = cache_for(library), library.segment_objects
    fetches = whole and sum(segment.size_bytes for segment in chosen) <= HELD_BYTES_MAX

    def local_file(segment: Segment) -> str | None:
        if objects.is_near:
            path = objects.uri(library.layout.segment_key(segment.key))
            return path if path is not None and fetch(library, segment) else None
        return None if cache is None else _verified_entry(cache, library, segment, fetches=fetches)

    if not (whole if objects.is_near else cache is not None and cache.usable_folder()):
        return None
    found = [path for path in IO.map(local_file, chosen, at_once=PARALLEL_REQUESTS) if path is not None]
    return found if len(found) == len(chosen) else None


def _verified_entry(cache: SegmentCache, library: OpenLibrary, segment: Segment, *, fetches: bool) -> str | None:
    """Return the file of an entry that is whole and right, and that is fetched if it may be; None: there is none."""
    name = segment.sha256
    path = cache.file(name)
    if path is None or name not in cache.verified:
        data = None if path is None else cache.read(name)
        is_right = data is not None and is_whole(segment, data)
        if not is_right and not (fetches and cache.put(name, fetch_stored(library, segment))):
            return None
        cache.verified.add(name)
        path = cache.file(name)
    return None if path is None else str(path)


def _fetch_for(library: OpenLibrary, segment: Segment, column_ids: Collection[int] | None) -> bytes | pa.Buffer:
    """Return a whole segment, or as long a buffer that has what these columns need and nothing else."""
    found = None if column_ids is None else fetch_parts(library, segment, column_ids)
    if found is None:
        return fetch(library, segment)
    import numpy as np
    import pyarrow as pa

    sparse = np.zeros(segment.size_bytes, np.uint8)  # memory is taken where it is written only
    for start, data in found.items():
        sparse[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return pa.py_buffer(sparse)


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


def read_matching(
    library: OpenLibrary,
    version: Version,
    columns: Sequence[str],
    *,
    segments: Sequence[int],
    used: Sequence[str],
    matching: Callable[[pa.Table], np.ndarray],
) -> tuple[pa.Table, np.ndarray]:
    """Return ``columns`` of the rows that match, and which of the rows of ``segments`` these are.

    ``matching`` is given the columns ``used`` of all rows. The others are decoded where a row of the segment matches,
    and what does not is dropped segment by segment, so they never are in memory together.
    """
    import numpy as np
    import pyarrow as pa

    chosen = [version.segments[position] for position in segments]
    rest = [name for name in columns if name not in used]
    wanted, held = _ids(version, [*used, *rest]), dict[str, Any]()
    holds = sum(segment.size_bytes for segment in chosen) <= HELD_BYTES_MAX

    def first(segment: Segment) -> bytes | pa.Buffer:
        data = _fetch_for(library, segment, wanted if holds else _ids(version, used))
        if holds and rest:
            held[segment.key] = data
        return data

    def again(segment: Segment) -> bytes | pa.Buffer:
        return held.get(segment.key) or _fetch_for(library, segment, _ids(version, rest))

    looked = _together(_read(library, version, used, chosen, fetch=first), version, used)
    mask = matching(looked)
    looked = looked.select([name for name in columns if name in used]).filter(pa.array(mask))
    if not rest:
        return looked, mask
    ends = accumulate((segment.row_count for segment in chosen), initial=0)
    spans = [(segment, mask[slice(*span)]) for segment, span in zip(chosen, pairwise(ends), strict=True)]
    spans = [(segment, found) for segment, found in spans if found.any()]
    kept = np.concatenate([np.zeros(0, bool), *(found for _, found in spans)])
    stored = schema.to_arrow(version.schema)
    stored = pa.schema([stored.field(name) for name in rest], metadata=stored.metadata)

    def filtered(start: int, rows: pa.Table) -> pa.Table:
        wanted = pa.schema([stored.field(name) for name in rows.schema.names], metadata=stored.metadata)
        return rows.filter(pa.array(kept[start : start + rows.num_rows])).cast(wanted)

    texts = [field.name for field in stored if pa.types.is_large_string(field.type) or pa.types.is_string(field.type)]
    others = _read(library, version, rest, [segment for segment, _ in spans], texts, filtered, again)
    tables = dict.fromkeys(columns, looked) | dict.fromkeys(rest, _together(others, version, rest))
    fields = [tables[name].schema.field(name) for name in columns]
    arrays = [tables[name].column(name) for name in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=stored.metadata)), mask


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
    dictionaries: Collection[str] = (),
    then: Callable[[int, pa.Table], pa.Table] = lambda _, rows: rows,
    fetch: Callable[[Segment], bytes | pa.Buffer] | None = None,
) -> list[pa.Table]:
    """Return what ``then`` makes of the rows of each segment, and of the number of its first among those ``chosen``.

    It is given some columns at a time, on several threads; what it makes of all is one table again.
    ``fetch`` gives the bytes of a segment, or those that ``columns`` need.
    """
    # As many are decoded at once as there are cores: each takes the memory of its rows, and the reader of Parquet holds
    # buffers for each column, which are gigabytes where there are thousands. A few more are on their way meanwhile.
    cores = os.cpu_count() or 1
    largest = max((segment.size_bytes for segment in chosen), default=1)
    ahead = max(cores, min(PARALLEL_REQUESTS, FETCHED_BYTES_MAX // max(1, largest)))
    starts = list(accumulate((segment.row_count for segment in chosen), initial=0))
    ids = None if columns is None else _ids(version, columns)
    fetch = fetch or partial(_fetch_for, library, column_ids=ids)
    fetches = [Task(partial(fetch, segment)) for segment in chosen]
    shares = _shares(version.schema.names if columns is None else columns, cores // max(1, len(chosen)), columns)

    def load(position: int) -> pa.Table:
        with library.believing(version):
            data = fetches[position].result()
            fetches[position].forget()
            for later in fetches[position + ahead : position + ahead + 1]:
                IO.begin(later)
            return encoding.side_by_side(
                [part for parts in CPU.map(partial(decode, position, data), shares) for part in parts]
            )

    def decode(position: int, data: bytes | pa.Buffer, names: Sequence[str] | None) -> list[pa.Table]:
        segment, made = chosen[position], []
        for rows in encoding.decode_parts(data, version.schema, names, dictionaries):
            if rows.num_rows != segment.row_count:
                raise Integrity(f"segment {segment.key} has {rows.num_rows} rows, expected {segment.row_count}")
            made.append(then(starts[position], rows))
        return made

    try:
        for first in fetches[1:ahead]:  # this thread takes the first
            IO.begin(first)
        return CPU.map(load, range(len(fetches)), at_once=cores, doing=f"reading {version.symbol}")
    finally:
        for left in fetches:
            left.cancel()


def _shares(names: Sequence[str], count: int, columns: Sequence[str] | None) -> list[Sequence[str] | None]:
    """Return ``columns`` as one share, or ``names`` as ``count`` where they are many: cores have nothing else to do."""
    if count < 2 or len(names) < 2 * MANY_COLUMNS:
        return [columns]
    step = -(-len(names) // count)
    return [names[start : start + step] for start in range(0, len(names), step)]


def _ids(version: Version, names: Sequence[str]) -> frozenset[int]:
    wanted = frozenset(names)
    return frozenset(column.id for column in version.schema.columns if column.name in wanted)


def _together(tables: list[pa.Table], version: Version, columns: Sequence[str] | None) -> pa.Table:
    """Return one table of those, which have the stored schema or part of it."""
    import pyarrow as pa

    if tables and all(table.schema == tables[0].schema for table in tables):
        return pa.concat_tables(tables)
    stored = schema.to_arrow(version.schema)
    present = (stored.names if columns is None else columns) if not tables else tables[0].schema.names
    stored = pa.schema([stored.field(name) for name in present], metadata=stored.metadata)
    return pa.concat_tables([table.cast(stored) for table in tables]) if tables else stored.empty_table()
