"""Generations: version documents folded into Parquet, so that a listing does not read them one by one.

A generation is a list of layers, oldest first; each has the documents that one fold found, sorted by symbol and
version, in three kinds of files: ``heads`` has a row for each symbol, ``versions`` the fields of the documents as
columns, ``documents`` the documents themselves. What a layer says of a version replaces what older ones say. All of
it can be made again from the documents alone; when a reader may believe it is argued in FORMAT.md, "Catalogue".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from duckvstore.errors import Integrity
from duckvstore.format.stored import envelope, layout
from duckvstore.format.stored.envelope import Count, Document, Identity, Time
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FEATURE = "folded_catalogue"
_TIME = pa.timestamp("us", tz="UTC")
HEADS = pa.schema(
    [("symbol", pa.string()), ("highest", pa.int64()), ("newest", pa.int64()), ("is_deleted", pa.bool_())]
)
VERSIONS = pa.schema(
    [
        ("symbol", pa.string()),
        ("version", pa.int64()),
        ("created_at", _TIME),
        ("operation", pa.string()),
        ("kind", pa.string()),
        ("author", pa.string()),
        ("message", pa.string()),
        ("metadata", pa.string()),
        ("row_count", pa.int64()),
        ("column_count", pa.int64()),
        ("segment_count", pa.int64()),
        ("logical_bytes", pa.int64()),
        ("stored_bytes", pa.int64()),
        ("new_rows", pa.int64()),
        ("new_bytes", pa.int64()),
        ("parent", pa.int64()),
        ("deleted", pa.bool_()),
        ("write_id", pa.string()),
        ("transaction", pa.string()),
        ("is_visible", pa.bool_()),
        ("is_removed", pa.bool_()),
    ]
)
DOCUMENTS = pa.schema(
    [
        ("symbol", pa.string()),
        ("version", pa.int64()),
        ("created_at", _TIME),
        ("is_visible", pa.bool_()),
        ("is_removed", pa.bool_()),
        ("document", pa.binary()),
    ]
)
# Random text repeats nothing; everything else does, since rows are sorted by symbol.
_WITHOUT_DICTIONARY = ("write_id", "document")
_PAGE_BYTES = 8 * 2**20  # of documents: what zstd finds repeated is within a page


class File(Struct, frozen=True):
    """A Parquet object of a layer: rows from the symbol ``first`` to ``last``, ``bytes`` in all."""

    key: str
    rows: Count
    bytes: Count
    sha256: str
    first: str
    last: str

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is not one of a catalogue file."""
        if not layout.is_catalogue_file(self.key):
            raise ValueError(f"{envelope.shown(self.key)} is no key of a catalogue file")


class Layer(Struct, frozen=True):
    """What one fold, or several that were merged, has found: ``rows`` versions."""

    rows: Count
    heads: tuple[File, ...]
    versions: tuple[File, ...]
    documents: tuple[File, ...]


class Generation(Document, frozen=True):
    """Generation ``number`` of a library's catalogue; ``generation_id`` is that of no other, of whatever library.

    ``waiting``: symbols with documents that could not be folded, and are looked for at each reading.
    """

    noun: ClassVar[str] = "generation"

    library_id: str
    number: Count
    generation_id: Identity
    created_at: Time
    layers: tuple[Layer, ...]
    waiting: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for a name that no symbol may have."""
        for symbol in self.waiting:
            envelope.check_name("waiting", symbol)

    @property
    def write_id(self) -> str:
        """What tells this call's document from another's after a lost answer."""
        return self.generation_id

    @property
    def key(self) -> tuple[int, str]:
        """What a mark says of it."""
        return self.number, self.generation_id

    def files(self) -> list[File]:
        """Return all files that it names."""
        return [file for layer in self.layers for file in (*layer.heads, *layer.versions, *layer.documents)]

    def dump(self, features: Sequence[str] = (FEATURE,)) -> bytes:
        """Return the JSON of a generation."""
        return Document.dump(self, features)

    @classmethod
    def load(cls, data: bytes, *, where: str) -> Self:
        """Return the generation in ``data``. Raises Integrity and Unsupported."""
        return super().load(data, where=where)


envelope.work_out(Generation)


def encode(table: pa.Table) -> bytes:
    """Return rows of a layer as a Parquet object."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in _WITHOUT_DICTIONARY],
        data_page_size=_PAGE_BYTES,
        write_page_checksum=True,
    )
    return bytes(sink.getvalue().to_pybytes())


def decode(data: bytes, file: File, schema: pa.Schema) -> pa.Table:
    """Return the rows in the bytes of ``file``. Raises Integrity when they are not what was written."""
    if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        raise Integrity(f"the catalogue file {file.key} is damaged: fold(rebuild=True) makes it anew")
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)  # many files are read at once
    except (pa.ArrowException, ValueError) as error:
        raise of_handler(error) or _unlike(file, error) from error
    if table.num_rows != file.rows or not table.schema.equals(schema):
        raise _unlike(file, f"{table.num_rows} rows of {', '.join(table.schema.names)}")
    return table


def _unlike(file: File, why: object) -> Integrity:
    return Integrity(
        f"the catalogue file {file.key} is not what a fold writes ({why}): fold(rebuild=True) makes it anew"
    )


def heads_of(versions: pa.Table) -> pa.Table:
    """Return the heads of symbols in sorted rows of ``versions``: highest number, newest visible one, if it deletes."""
    there = versions.filter(pc.invert(versions["is_removed"]))
    seen = there.filter(there["is_visible"])
    return _heads(there.select(["symbol", "version"]), seen.select(["symbol", "version", "deleted"]))


def merged_heads(layers: Sequence[Sequence[pa.Table]]) -> pa.Table:
    """Return the heads in several layers, oldest first, as one sorted row for each symbol."""
    empty = HEADS.empty_table().append_column("layer", pa.array([], pa.int64()))
    tables = [
        table.append_column("layer", pa.repeat(position, table.num_rows))
        for position, layer in enumerate(layers)
        for table in layer
    ]
    rows = pa.concat_tables([empty, *tables]).sort_by([("symbol", "ascending"), ("layer", "ascending")])
    seen = rows.filter(pc.is_valid(rows["newest"]))
    return _heads(rows.select(["symbol", "highest"]), seen.select(["symbol", "newest", "is_deleted"]))


def _heads(there: pa.Table, seen: pa.Table) -> pa.Table:
    """Return the last row of each symbol, with that of ``seen``; both are sorted, and have the columns of ``HEADS``."""
    highest = there.filter(_is_last(there["symbol"]))
    newest = seen.filter(_is_last(seen["symbol"])).combine_chunks()
    place = pc.index_in(highest["symbol"], newest["symbol"].combine_chunks())
    return pa.table([*highest.columns, *(column.take(place) for column in newest.columns[1:])], schema=HEADS)


def is_first(column: pa.ChunkedArray) -> pa.Array:
    """Return of each value of a sorted column whether the one before it is another."""
    if not len(column):
        return pa.array([], pa.bool_())
    flat = column.combine_chunks()
    return pa.concat_arrays([pa.array([True]), pc.not_equal(flat[1:], flat[:-1])])


def _is_last(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([is_first(column)[1:], pa.array([True] * min(1, len(column)), pa.bool_())])


def merged(layers: Sequence[Iterator[pa.Table]], *, keeps_removed: bool) -> Iterator[pa.Table]:
    """Yield the rows of several layers, oldest first, as one: sorted, and of each version what the last of them says.

    Each gives tables sorted by symbol and version. A table of each is in memory at a time. Not ``keeps_removed``:
    without the versions that were removed, where no older layer can have them.
    """
    pending = [next(layer, None) for layer in layers]
    while True:
        last = [_last(table) for table in pending if table is not None]
        if not last:
            return
        bound, parts = min(last), []
        for position, table in enumerate(pending):
            if table is None:
                continue
            count = _rows_up_to(table, bound)
            parts.append(table.slice(0, count).append_column("layer", pa.repeat(position, count)))
            pending[position] = table.slice(count) if count < table.num_rows else next(layers[position], None)
        rows = _last_of_each(pa.concat_tables(parts))
        if not keeps_removed:
            rows = rows.filter(pc.invert(rows["is_removed"]))
        if rows.num_rows:
            yield rows


def _last(table: pa.Table) -> tuple[str, int]:
    return table["symbol"][-1].as_py(), table["version"][-1].as_py()


def _rows_up_to(table: pa.Table, bound: tuple[str, int]) -> int:
    symbol, number = bound
    is_below = pc.less(table["symbol"], symbol)
    is_within = pc.and_(pc.equal(table["symbol"], symbol), pc.less_equal(table["version"], number))
    return int(pc.sum(pc.or_(is_below, is_within)).as_py())


def _last_of_each(table: pa.Table) -> pa.Table:
    """Return rows sorted by symbol and version, and of those of one version the last layer's; without ``layer``."""
    order = [("symbol", "ascending"), ("version", "ascending"), ("layer", "descending")]
    table = table.sort_by(order)
    return table.filter(pc.or_(is_first(table["symbol"]), is_first(table["version"]))).drop_columns("layer")
