"""Handles on versions, which other engines scan as Arrow streams: ``lib["trades", 3]``.

Invariant: a handle is looked up once, at its first use, and from then on is that one version; its columns have the
names and types that SQL shows, and no more than a few segments of it are in memory at a time.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Any

from duckvstore import forks, markup
from duckvstore.api.items import nanoseconds
from duckvstore.api.payloads import ReadRequest
from duckvstore.concurrency import IO, Task
from duckvstore.engine.reading import segments
from duckvstore.errors import DuckVStoreError, InvalidInput
from duckvstore.format.codecs import arrow_values
from duckvstore.format.rows import encoding
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa

    from duckvstore.api.items import VersionedItem
    from duckvstore.api.reading import Reading
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment

AHEAD_BYTES_MAX = 64 * 2**20
AHEAD_SEGMENTS_MAX = 16
COLUMNS_SHOWN_MAX = 50
DECIMAL128_DIGITS_MAX = 38
SHOWN_EXTENSIONS = ("arrow.uuid", "arrow.json")


class VersionHandle:
    """A version of a symbol, for engines that read ``__arrow_c_stream__``. Safe to use from many threads."""

    def __init__(self, library: Reading, symbol: str, as_of: AsOf) -> None:
        """Refer to ``symbol`` as of ``as_of``, as ``read`` takes it; makes no request. Use ``lib[symbol, as_of]``."""
        self.symbol = symbol
        self.as_of = as_of
        self._library = library
        self._version: Version | None = None
        self._number: int | None = None  # what a pickled handle was looked up as
        self._lock = forks.lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to find the same version again; it is looked up now, so all processes get the same."""
        number = self._found().number
        return _pinned, (self._library, self.symbol, self.as_of, number)

    def __copy__(self) -> VersionHandle:
        """Return another handle on the same version."""
        made = _pinned(self._library, self.symbol, self.as_of, self._number)
        made._version = self._version  # noqa: SLF001 - of the same class
        return made

    def __deepcopy__(self, memo: object) -> VersionHandle:
        """Return another handle: what is stored is not copied."""
        return copy.copy(self)

    def _found(self) -> Version:
        """Return the version, looked up at the first call. Raises as ``read``."""
        with self._lock:
            if self._version is None:
                wanted = self.as_of if self._number is None else self._number
                self._version = self._library._resolve(self.symbol, wanted)  # noqa: SLF001 - a part of it
            return self._version

    @property
    def version(self) -> int:
        """The version's number. Raises NoSuchSymbol and NoSuchVersion."""
        return self._found().number

    @property
    def row_count(self) -> int:
        """How many rows it has."""
        return self._found().row_count

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the stream: index levels first, in the types that SQL shows.

        Raises InvalidInput for a value that SQL cannot show, such as a dict of tables.
        """
        return _shown_schema(self._found(), self._library.name)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as in SQL."""
        return list(self.schema.names)

    def read(
        self,
        date_range: tuple[Any, Any] | None = None,
        row_range: tuple[int | None, int | None] | None = None,
        columns: Sequence[Any] | None = None,
        *,
        where: str | None = None,
        output_format: str | None = None,
        allow_pickle: bool = False,
    ) -> VersionedItem:
        """Read the version, or a part of it, as ``Library.read`` does."""
        request = ReadRequest(
            *(self.symbol, self.as_of, date_range, row_range, columns),
            where=where,
            output_format=output_format,
            allow_pickle=allow_pickle,
        )
        return self._library._read_version(self._found, request)  # noqa: SLF001 - a part of it

    @property
    def library(self) -> str:
        """The name of its library."""
        return self._library.name

    @property
    def data(self) -> Any:
        """The value, as ``read`` gives it, each time read anew."""
        return self.read().data

    @property
    def metadata(self) -> Any:
        """The metadata that was written with it."""
        return self._found().metadata

    @property
    def created_at(self) -> datetime:
        """When it was written, in UTC."""
        return self._found().created_at

    @property
    def timestamp(self) -> int:
        """Nanoseconds from 1970-01-01 UTC to ``created_at``."""
        return nanoseconds(self.created_at)

    def __arrow_c_schema__(self) -> object:
        """Return the schema of the stream."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return all rows as an Arrow C stream; segments are read and decoded on several threads, a little ahead."""
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        version, shown, opened = self._found(), self.schema, self._library.open_library

        def load(segment: Segment) -> list[pa.RecordBatch]:
            rows = _shown(_own(version, encoding.decode(segments.fetch(opened, segment), version.schema)), shown)
            batches: list[pa.RecordBatch] = rows.to_batches()
            return batches

        waiting: deque[tuple[Task[list[pa.RecordBatch]], int]] = deque()
        ahead_bytes = 0
        following = iter(version.segments)
        try:
            segment = next(following, None)
            while waiting or segment is not None:
                has_room = len(waiting) < AHEAD_SEGMENTS_MAX and ahead_bytes < AHEAD_BYTES_MAX
                if segment is not None and (has_room or not waiting):
                    waiting.append((IO.submit(load, segment), segment.logical_bytes))
                    ahead_bytes += segment.logical_bytes
                    segment = next(following, None)
                    continue
                task, size_bytes = waiting.popleft()
                yield from task.result()
                ahead_bytes -= size_bytes
        finally:
            for task, _ in waiting:
                task.cancel()

    def __repr__(self) -> str:
        """Return what it refers to; makes no request."""
        version = self._version
        at = f" at {self.as_of!r}" if self.as_of is not None else ""
        name = self._library.open_library.label(self.symbol)
        if version is None:
            return f"<{name}{at}>"
        return f"<{name} version {version.number}, {version.row_count:,} rows x {len(version.schema.shown):,} columns>"

    def _repr_html_(self) -> str:
        """Return the columns and their types as HTML in which names are text; looks the version up."""
        from duckvstore.sql.values import kinds

        try:
            version, schema = self._found(), self.schema
        except DuckVStoreError as error:
            return markup.lines([f"{self!r}: {error}"])
        columns = list(zip(schema.names, kinds.names(version.schema), strict=True))[:COLUMNS_SHOWN_MAX]
        more = len(schema) - len(columns)
        return markup.page(
            markup.facts(f"{self!r}, written {version.created_at:%Y-%m-%d %H:%M:%S} UTC", []),
            markup.table(
                [markup.Column("column"), markup.Column("type")], [[name, kind.lower()] for name, kind in columns]
            ),
            markup.lines([f"… and {more:,} more columns"] if more else []),
        )


def asked_for(wanted: object) -> tuple[str, Any]:
    """Return (symbol, as_of) of what stands in ``lib[…]``. Raises InvalidInput for anything else."""
    symbol, *rest = wanted if isinstance(wanted, tuple) and wanted else (wanted,)
    if not isinstance(symbol, str) or len(rest) > 1:
        raise InvalidInput(
            f"lib[{wanted!r}] names no version: write lib[symbol], or lib[symbol, as_of] as read() has it"
        )
    return symbol, rest[0] if rest else None


def _pinned(library: Reading, symbol: str, as_of: AsOf, number: int | None) -> VersionHandle:
    made = VersionHandle(library, symbol, as_of)
    made._number = number  # noqa: SLF001 - a part of it
    return made


def _shown_schema(version: Version, library: str) -> pa.Schema:
    """Return the schema of a version as other engines see it, in types that DuckDB reads from Arrow too."""
    import pyarrow as pa

    stored = _own(version, schemas.shown(version.schema).empty_table()).schema
    if not len(stored):
        raise InvalidInput(
            f"version {version.number} of '{library}/{version.symbol}' has no columns, so there is nothing to scan: "
            "use read()"
        )
    return pa.schema([field.with_type(_shown_type(field.type)) for field in stored])


def _own(version: Version, table: pa.Table) -> pa.Table:
    """Return rows without what is noted in their storage, and columns of DuckDB's own types as Arrow has these."""
    from duckvstore.sql.results import stored
    from duckvstore.sql.values import kinds

    own = {column.name: kinds.of_column(column) for column in version.schema.columns}
    return stored.to_arrow(arrow_values.plain_table(table), [own[name] for name in table.column_names])


def _shown_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is shown: its own, but for what DuckDB reads otherwise from Arrow, or not."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name not in SHOWN_EXTENSIONS:
        return kind.storage_type
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_decimal256(kind) and kind.precision <= DECIMAL128_DIGITS_MAX:
        return pa.decimal128(kind.precision, kind.scale)
    return kind


def _shown(table: pa.Table, shown: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in shown:
        column = found = table.column(field.name)
        if isinstance(found.type, pa.BaseExtensionType) and found.type != field.type:
            column = pa.chunked_array([chunk.storage for chunk in found.chunks], found.type.storage_type)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=shown)
