"""Segments: rows to Parquet objects and back, several at a time.

A segment's key has a random part and is put once, and every segment read as a whole is checked
against the length and sha256 of its document.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any

from duckvstore import clock, forks
from duckvstore.concurrency import CPU, IO, PARALLEL_REQUESTS, Task
from duckvstore.errors import Integrity, NoSuchKey
from duckvstore.format.rows import chunking, encoding
from duckvstore.format.rows.digest import logical_digest
from duckvstore.format.rows.gathering import Gathered, Gathering
from duckvstore.format.stored import schema, statistics
from duckvstore.format.stored.manifests import totals
from duckvstore.format.stored.segments import Segment
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Schema, Version
    from duckvstore.objects.base import ObjectStore

FETCHED_BYTES_MAX = 64 * 2**20  # of segments that wait to be decoded
UPLOADS_BYTES_MAX = 64 * 2**20  # of segments that are on their way while their writer goes on

ATTEMPTS_BYTES_MAX = 4 * 2**20  # of segments that are kept for a plan that is made again

_uploads: ContextVar[Uploads | None] = ContextVar("_uploads", default=None)
_attempts: ContextVar[Attempts | None] = ContextVar("_attempts", default=None)


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows that are stored: their segments in row order, of which some were written now and the rest are shared."""

    segments: Sequence[Segment]
    new_rows: int
    new_bytes: int

    @property
    def row_count(self) -> int:
        """Rows in all segments together."""
        return totals(self.segments)[0]


class Shareable:
    """Segments that a version may share with the one before, each at most once. Safe to use from many threads."""

    def __init__(self, found: Iterable[Segment] = ()) -> None:
        """Offer the segments ``found``."""
        self._by_digest: dict[str, list[Segment]] = {}
        self._lock = Lock()
        for segment in found:
            self._by_digest.setdefault(segment.digest, []).append(segment)

    def take(self, digest: str) -> Segment | None:
        """Return a segment whose rows have this logical digest, and offer it no more; None when there is none."""
        with self._lock:
            same = self._by_digest.get(digest)
            return same.pop() if same else None


class Attempts:
    """What one call has stored and read, for a plan that is made again since another writer was first. Thread-safe.

    What it has stored is younger than the call, so the limit of time holds for it as for what the call shares.
    """

    def __init__(self) -> None:
        """Have nothing yet."""
        self._stored: list[Segment] = []
        self._offered = Shareable()
        self._read: dict[str, bytes] = {}
        self._read_bytes = 0

    @contextmanager
    def next(self) -> Generator[None]:
        """Make a plan in here: what an earlier one has stored is not stored again, and what it has read not read."""
        self._offered = Shareable(self._stored)
        token = _attempts.set(self)
        try:
            yield
        finally:
            _attempts.reset(token)

    def take(self, digest: str, row_count: int) -> Segment | None:
        """Return a segment of these rows that an earlier plan has stored, once in each plan."""
        found = self._offered.take(digest)
        return found if found is not None and found.row_count == row_count else None

    def stored(self, segment: Segment) -> None:
        """Keep what was stored."""
        self._stored.append(segment)

    def read(self, segment: Segment) -> bytes | None:
        """Return a segment's object, if it was read."""
        return self._read.get(segment.key)

    def keep(self, segment: Segment, data: bytes) -> None:
        """Keep what was read, unless it is too much."""
        if self._read_bytes + len(data) <= ATTEMPTS_BYTES_MAX:
            self._read_bytes += len(data)
            self._read[segment.key] = data


class _Allowance:
    """How many bytes of segments may be on their way beside their writers, in all of the process."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.start_over()
        forks.follow(self)

    def lent(self) -> tuple[()]:
        return ()

    def start_over(self) -> None:
        self._used_bytes = 0

    def take(self, size_bytes: int) -> bool:
        with self._lock:
            is_there = self._used_bytes + size_bytes <= UPLOADS_BYTES_MAX
            self._used_bytes += size_bytes if is_there else 0
            return is_there

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._used_bytes -= size_bytes


_allowance = _Allowance()


class Uploads:
    """Segments on their way while their writer goes on; nothing may name them before ``wait``. Thread-safe.

    Beyond so many bytes in all of the process, a writer waits for its own.
    """

    def __init__(self) -> None:
        """Have none yet."""
        self._tasks: dict[str, tuple[Task[None], int]] = {}

    @contextmanager
    def taking(self) -> Generator[None]:
        """Take what is stored in here: it is on its way afterwards, and found by who reads it in here."""
        token = _uploads.set(self)
        try:
            yield
        finally:
            _uploads.reset(token)

    @staticmethod
    @contextmanager
    def taking_none() -> Generator[None]:
        """Store everything before it returns, also within ``taking``: rows may come from code that writes others."""
        tokens = _uploads.set(None), _attempts.set(None)
        try:
            yield
        finally:
            _uploads.reset(tokens[0])
            _attempts.reset(tokens[1])

    def put(self, objects: ObjectStore, key: str, data: bytes) -> None:
        """Put a segment, now or beside what the caller does next."""
        if not _allowance.take(len(data)):
            objects.put(key, data)
            return

        def put() -> None:
            try:
                objects.put(key, data)
            finally:
                _allowance.give_back(len(data))

        self._tasks[key] = (IO.submit(put), len(data))

    def wait(self) -> None:
        """Wait until all are there, and raise what any of them raised."""
        for task, _ in list(self._tasks.values()):
            task.result()

    def wait_for(self, key: str) -> None:
        """Wait until this one is there, if it is one of these."""
        if key in self._tasks:
            self._tasks[key][0].result()

    def cancel(self) -> None:
        """Put none that is not on its way."""
        for task, size_bytes in list(self._tasks.values()):
            if task.cancel():
                _allowance.give_back(size_bytes)


def place(
    library: OpenLibrary,
    symbol: str,
    schema: Schema,
    pieces: Iterator[pa.Table],
    shareable: Shareable | None = None,
) -> Placed:
    """Store rows that are cut into ``pieces``, except those that ``shareable`` segments hold already.

    A piece whose logical digest is that of a shareable segment is neither encoded nor uploaded; the others are, on
    several threads. At most two segments per thread are in memory beside the value, so a stream may be larger than
    memory.
    """
    offered = shareable or Shareable()
    choices: list[encoding.Choices] = []  # of how columns are written, by a look at the first of the large pieces

    def one(rows: pa.Table) -> tuple[Segment, bool]:
        digest = logical_digest(rows, schema)
        shared = offered.take(digest)
        if shared is not None and shared.row_count == rows.num_rows:
            return shared, False
        attempts = _attempts.get()
        again = None if attempts is None else attempts.take(digest, rows.num_rows)
        if again is not None:
            return again, True
        is_large = rows.num_rows >= encoding.SAMPLED_ROWS_MIN
        if is_large and not choices:
            choices.append(encoding.choose(rows, schema))
        made = _upload_one(library, symbol, schema, rows, digest, choices[0] if is_large else None)
        if attempts is not None:
            attempts.stored(made)
        return made, True

    with closing(CPU.stream(one, pieces)) as stored:
        placed = list(progress(stored, f"storing {symbol}", "segment"))
    written = [segment for segment, is_new in placed if is_new]
    return Placed(
        tuple(segment for segment, _ in placed),
        sum(segment.row_count for segment in written),
        sum(segment.size_bytes for segment in written),
    )


def _upload_one(
    library: OpenLibrary,
    symbol: str,
    stored: Schema,
    rows: pa.Table,
    digest: str,
    choices: encoding.Choices | None,
) -> Segment:
    data = encoding.encode(rows, stored, compression=library.options.compression, choices=choices)
    key = library.layout.segment(symbol, digest, clock.short_id())
    found = statistics.compute(rows, stored, library.options.statistics_columns)
    beside = _uploads.get()
    (beside.put if beside is not None else _put)(library.segment_objects, library.layout.segment_key(key), data)
    sha256 = hashlib.sha256(data).hexdigest()
    return Segment(key, rows.num_rows, len(data), sha256, chunking.logical_bytes(rows, stored), found)


def _put(objects: ObjectStore, key: str, data: bytes) -> None:
    objects.put(key, data)


def fetch(library: OpenLibrary, segment: Segment) -> bytes:
    """Return a segment's whole object, verified. Raises Integrity when it is missing or not what was written."""
    key = library.layout.segment_key(segment.key)
    beside, attempts = _uploads.get(), _attempts.get()
    if beside is not None:
        beside.wait_for(key)
    kept = None if attempts is None else attempts.read(segment)
    if kept is not None:
        return kept
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
    if attempts is not None:
        attempts.keep(segment, data)
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
