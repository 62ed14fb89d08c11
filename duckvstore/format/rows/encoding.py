"""A segment's bytes: Parquet, with an encoding and a codec chosen per column from the data, and back.

``decode(encode(rows, schema), schema)`` has exactly the stored Arrow schema and equal rows. Equal rows
give equal bytes with the same release of pyarrow. Every page has a checksum, for those who read part of the
file; ``decode`` takes whole files verified by sha256, where checking pages again would be half of its time.
"""

from __future__ import annotations

import math
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.rows import parts
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.rows.nested_types import exact_nested
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.schema import FIELD_ID
from duckvstore.format.stored.statistics import has_nan
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from duckvstore.format.stored.documents import Schema


class Choice(NamedTuple):
    """How a column is written: a Parquet encoding, "DICTIONARY", or None (plain); a codec, or None (the usual one)."""

    encoding: str | None = None
    codec: str | None = None


Choices: TypeAlias = dict[str, Choice]

ROW_GROUP_ROWS = 524_288
SAMPLE_BLOCKS = 8
SAMPLE_BLOCK_ROWS = 1024
# Shares of distinct values in the sample up to which a dictionary is smaller or faster (measured).
DISTINCT_SHARE_TEXT = 0.8
DISTINCT_SHARE_NUMBER = 0.1
DICTIONARY_COMPACT_MIN = 256
DICTIONARY_BYTES_MAX = 900_000  # Parquet's writer gives a dictionary up at 1 MiB, after the work
MUCH_SMALLER = 0.75
# Footers of thousands of columns are kept: a read of a few of these takes less time than to parse one.
LONG_FOOTER_BYTES_MIN = 2**18
# Of numbers that are decoded at once: what is copied from there and let go again stays near the processor (measured).
PART_BYTES = 2 * 2**20
ENCODED_NUMBERS_LEVEL = -1  # of zstd: as small as at its default of 1, and sooner; plain numbers and text are not
WORTH_ZSTD = 0.85  # of the bytes with lz4, which decodes two to three times as fast
# Of the plain bytes of short columns: zstd begins anew for each, which takes as long as everything else (measured).
SHORT_WORTH_ZSTD = 0.25
SMALL_ROWS = 1024
SAMPLED_COLUMNS = 8
NEARLY_ALL = 0.9
BOUNDED_COLUMNS = 32  # of the many columns of short segments: those whose bounds documents have too
SAMPLED_ROWS_MIN = 16_384  # below, looking costs more than a better encoding gives; appends merge such segments later


def choose(table: pa.Table, schema: Schema) -> Choices:
    """Return what suits these rows, for each column."""
    if table.num_rows >= SAMPLED_ROWS_MIN:
        return {column.name: _choose(table.column(column.name)) for column in schema.columns}
    # Of fewer rows the type decides alone, and of many columns of one type, a few of them.
    names: dict[pa.DataType, list[str]] = {}
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        names.setdefault(kind, []).append(name)
    found: Choices = {}
    for alike in names.values():
        is_many = len(alike) >= MANY_COLUMNS
        spread = [alike[place * (len(alike) - 1) // (SAMPLED_COLUMNS - 1)] for place in range(SAMPLED_COLUMNS)]
        choice = _choose_alike([table.column(name) for name in spread]) if is_many else None
        found |= dict.fromkeys(alike, choice or _choose(table.column(alike[0])))
    return {name: found[name] for name in schema.names}


def parquet_options(
    table: pa.Table, schema: Schema, compression: str = "zstd", choices: Choices | None = None
) -> dict[str, Any]:
    """Return the keyword arguments of ``pyarrow.parquet.ParquetWriter`` that suit these rows.

    ``choices``: what ``choose`` returned for rows like them; to look at rows costs a tenth of encoding them.
    """
    dictionary, encodings, levels, codecs = [], {}, {}, {}
    chosen = choose(table, schema) if choices is None else choices
    kinds = dict(zip(table.schema.names, table.schema.types, strict=True))
    for name, (encoding, codec) in chosen.items():
        if codec is not None and compression == "zstd":
            codecs[name] = codec
        elif encoding is not None and pa.types.is_primitive(kinds[name]):
            levels[name] = ENCODED_NUMBERS_LEVEL
        if encoding == "DICTIONARY":
            dictionary.append(name)
        elif encoding is not None:
            encodings[name] = encoding
    common = set(codecs.values())
    if len(common) == 1 and len(codecs) >= max(NEARLY_ALL * len(kinds), MANY_COLUMNS):  # pyarrow is slow with a list
        compression, codecs = common.pop(), {}
    return {
        "compression": {path: codecs.get(path, compression) for path in _paths(table)} if codecs else compression,
        "compression_level": levels if compression == "zstd" else None,
        "use_dictionary": dictionary,
        "column_encoding": encodings or None,
        "write_page_checksum": True,
        "store_decimal_as_integer": True,
        "write_statistics": [name for name in _bounded(schema, table.num_rows) if _has_bounds(table.column(name))],
    }


def _bounded(schema: Schema, row_count: int) -> Sequence[str]:
    """Return the columns that may have Parquet's own bounds.

    Whoever skips a short column by its bounds saves less than it costs to write, keep and parse those of thousands.
    """
    if len(schema.columns) < MANY_COLUMNS or row_count >= SAMPLED_ROWS_MIN:
        return schema.names
    return schema.names[: len(schema.index) + BOUNDED_COLUMNS]


def _paths(table: pa.Table) -> list[str]:
    """Return the path of each of Parquet's columns: the name, and for nested columns those of their fields."""
    if not any(pa.types.is_nested(kind) for kind in table.schema.types):
        return list(table.schema.names)
    sink = pa.BufferOutputStream()
    pq.write_table(table.schema.empty_table(), sink)
    found = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [found.column(position).path for position in range(len(found.names))]


def _has_bounds(data: pa.ChunkedArray) -> bool:
    """Whether Parquet's own bounds are written: not for text and bytes.

    For text they take a sixth of the time, and documents have them anyway. And where all values of a row group that are
    not null are equal, DuckDB 2.0.0 swaps nulls and values: `x IS NULL` gave every row.
    """
    kind = data.type.value_type if pa.types.is_dictionary(data.type) else data.type
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return not is_text(kind) and not _is_bytes(kind) and not _may_hold_nan(data)


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _may_hold_nan(data: pa.ChunkedArray) -> bool:
    """Whether Parquet's own bounds must be left out, because they are without NaN.

    DuckDB trusts them, although NaN is above everything for it: it would lose rows (`x > 5`) and return a wrong
    `max(x)`. As run with 1.5.5 and 2.0.0. Nested columns, whose bounds are per leaf, have none.
    """
    kind = data.type
    if pa.types.is_dictionary(kind) and pa.types.is_floating(kind.value_type):
        return True
    return pa.types.is_floating(kind) and has_nan(data)


def encode(
    table: pa.Table,
    schema: Schema,
    options: dict[str, Any] | None = None,
    *,
    compression: str = "zstd",
    choices: Choices | None = None,
) -> bytes:
    """Return ``table`` (in the stored ``schema``) as one Parquet file; ``options`` default to ``parquet_options``.

    A column of text may come as dictionaries; the file says the stored type of every column all the same.
    Raises InvalidInput when Parquet cannot hold the values, and Unsupported when this pyarrow could not read them.
    """
    table = _compact(table)
    for position in _positions_of(table, pa.types.is_nested):
        name, column = table.schema.names[position], table.column(position)
        if any(map(_has_null_array, column.chunks)) and not reads_null_arrays():
            raise Unsupported(
                f"column {name!r} has lists of a fixed size that are null, which pyarrow {pa.__version__} writes and "
                "cannot read: upgrade pyarrow, or cast them to lists of any size"
            )
    chosen = parquet_options(table, schema, compression, choices) if options is None else options
    groups = max(1, round(table.num_rows / ROW_GROUP_ROWS))
    sink = BytesIO()
    try:
        with pq.ParquetWriter(sink, table.schema, store_schema=False, **chosen) as writer:
            writer.write_table(table, max(1, -(-table.num_rows // groups)))
            known = {b"ARROW:schema": schema.arrow}  # the stored types, not those of this table
            with sink.getbuffer() as written:
                if parts.is_worth_parts(len(written)):
                    known[parts.BLOCKS_KEY] = parts.block_digests(written).decode()
            writer.add_key_value_metadata(known)
    except (pa.ArrowException, OSError) as error:  # OSError: a page of over 2 GiB
        raise of_handler(error) or InvalidInput(f"rows cannot be written as Parquet: {error}") from error
    return sink.getvalue()


@lru_cache(maxsize=1)
def reads_null_arrays() -> bool:
    """Return whether this pyarrow reads lists of a fixed size that are null: 17 and 18 write them and do not."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": pa.array([None, [1]], pa.list_(pa.int8(), 1))}), sink)
    try:
        return bool(pq.read_table(pa.BufferReader(sink.getvalue())).num_rows == 2)
    except pa.ArrowException:
        return False


def _has_null_array(array: pa.Array) -> bool:
    """Whether somewhere in nested values is a list of a fixed size that is null."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        return bool(array.null_count) or _has_null_array(array.flatten())
    if pa.types.is_struct(kind):
        return any(map(_has_null_array, array.flatten()))
    if pa.types.is_map(kind):
        return _has_null_array(array.keys) or _has_null_array(array.items)
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _has_null_array(array.flatten())


def decode(
    data: bytes | pa.Buffer, schema: Schema, columns: Sequence[str] | None = None, dictionaries: Collection[str] = ()
) -> pa.Table:
    """Return the rows of a segment in the stored schema: all columns, or ``columns`` (stored names) in that order.

    Text columns named in ``dictionaries`` stay dictionaries where the file holds them so. Under a ``mixed`` schema
    columns are found by their field id: those that the file lacks are null, narrower ones are cast.
    ``data``: a whole file whose sha256 was verified, or as much of it as the columns need. Raises Integrity when the
    bytes are not such a Parquet file.
    """
    return side_by_side(list(decode_parts(data, schema, columns, dictionaries)))


def decode_parts(
    data: bytes | pa.Buffer, schema: Schema, columns: Sequence[str] | None = None, dictionaries: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield what ``decode`` returns a few columns at a time, so that who copies them needs no memory for all.

    One part at least, and no more than one of nested columns or under a ``mixed`` schema.
    """
    target = schemas.to_arrow(schema)
    if columns is not None:
        target = pa.schema([target.field(name) for name in columns], metadata=target.metadata)
    try:
        kept = _dictionary_columns(data, dictionaries) if dictionaries else []
        # Without threads of Arrow's: they let go of a file a moment after it was read, and where that is the moment in
        # which Python ends, to let go of an object of Python's aborts the process. Segments are decoded side by side.
        is_flat = not any(kind.num_fields for kind in target.types) and not schema.mixed
        opened = _FlatFile if is_flat else _File
        fields = list(target)
        file = opened(pa.BufferReader(data), metadata=_known_footer(data), pre_buffer=False, read_dictionary=kept)
        row_count, count = file.metadata.num_rows, len(fields)
        if not count:
            yield pa.table({"": pa.nulls(row_count)}).select([])
            return
        step = max(1, PART_BYTES // (8 * max(1, row_count))) if is_flat else count
        for start in range(0, count, step):
            wanted = target if step >= count else pa.schema(fields[start : start + step], target.metadata)
            yield _part(file, schema, None if columns is None and step >= count else wanted.names, wanted, kept)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise of_handler(error) or Integrity(
            f"a segment cannot be decoded ({type(error).__name__}: {error}): restore it from a backup, or read "
            "another version"
        ) from error


def _part(
    file: pq.ParquetFile, schema: Schema, columns: Sequence[str] | None, target: pa.Schema, kept: Collection[str]
) -> pa.Table:
    """Return ``columns`` (None: all) as ``target`` says, or as the dictionaries that may be ``kept``."""
    found = _read_mixed(file, target) if schema.mixed else _read(file, schema, columns)
    if found.schema.equals(target, check_metadata=True):
        return found
    arrays = [_stored(found.column(field.name), field, kept) for field in target]
    fields = [
        field if array.type == field.type else field.with_type(array.type)
        for field, array in zip(target, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=target.metadata))


def side_by_side(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the columns of all ``tables``, which have the same rows."""
    shown = [table for table in tables if table.num_columns] or tables[:1]
    if len(shown) == 1:
        return shown[0]
    fields = [field for table in shown for field in table.schema]
    arrays = [array for table in shown for array in table.columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=shown[0].schema.metadata))


def _read(file: pq.ParquetFile, schema: Schema, columns: Sequence[str] | None) -> pa.Table:
    """Return the columns of these names, or all."""
    if columns is None:
        return file.read(use_threads=False)
    wanted = list(columns)
    if isinstance(file, _FlatFile) and file.metadata.num_columns == len(schema.columns):
        stored = schemas.to_arrow(schema)
        file.positions = [stored.get_field_index(name) for name in wanted]
        found = file.read(columns=wanted, use_threads=False)
        if sorted(found.column_names) == sorted(wanted):
            return found
        file.positions = None  # its columns are in another order
    return file.read(columns=wanted, use_threads=False)


def _known_footer(data: bytes | pa.Buffer) -> pq.FileMetaData | None:
    """Return what the footer of a file says where it is long; None: whoever opens the file looks itself."""
    with memoryview(data) as view:
        size = int.from_bytes(view[-8:-4], "little") + 8
        return parts.parsed_metadata(bytes(view[-size:])) if LONG_FOOTER_BYTES_MIN <= size <= len(view) else None


class _File(pq.ParquetFile):  # type: ignore[misc]
    """A file whose rows are in the system's memory: Arrow's own allocators keep what a decoded segment let go."""

    @property
    def reader(self) -> Any:
        """What reads, as the base class has made it, but for its memory."""
        return self._reader

    @reader.setter
    def reader(self, made: Any) -> None:
        self._reader = type(made)(memory_pool=pa.system_memory_pool())


class _FlatFile(_File):
    """A file whose columns are not nested: pyarrow looks at the paths of all of them in Python, whatever is read."""

    positions: Sequence[int] | None = None  # of the columns to read

    def _build_nested_paths(self) -> dict[str, list[int]]:
        return {}

    def _get_column_indices(self, column_names: list[str] | None, **_: object) -> list[int] | None:
        if column_names is None:
            return None
        if self.positions is not None:
            return list(self.positions)
        positions = {name: position for position, name in enumerate(self.schema.names)}
        return [positions[name] for name in column_names]


def _stored(column: pa.ChunkedArray, field: pa.Field, kept: Collection[str]) -> pa.ChunkedArray:
    """Return ``column``, as Parquet gave it, in the stored type, or as the dictionary that may be ``kept``."""
    kind = column.type
    is_kept = field.name in kept and pa.types.is_dictionary(kind) and not pa.types.is_dictionary(field.type)
    return column if is_kept and is_text(kind) else exact(column, field.type)


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of ``kind`` are text, in a dictionary or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind))


def _read_mixed(file: pq.ParquetFile, target: pa.Schema) -> pa.Table:
    """Return the columns of ``target``, by field id (by name where the file has none), in the file's types.

    Columns that the file lacks are null, in the type of ``target``.
    """
    fields = list(file.schema_arrow)
    names = {field.metadata[FIELD_ID]: field.name for field in fields if FIELD_ID in (field.metadata or {})}
    if not names:
        by_name = {field.name for field in fields}
        names = {field.metadata[FIELD_ID]: field.name for field in target if field.name in by_name}
    wanted = [names.get(field.metadata[FIELD_ID]) for field in target]
    found = file.read(columns=[name for name in wanted if name is not None], use_threads=False)
    row_count = file.metadata.num_rows
    arrays = [
        pa.chunked_array([pa.nulls(row_count, field.type)]) if name is None else found.column(name)
        for field, name in zip(target, wanted, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=target.names)


def _dictionary_columns(data: bytes | pa.Buffer, wanted: Collection[str]) -> list[str]:
    """Return which of the ``wanted`` columns are dictionaries throughout the file."""
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(data)))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    kept = []
    for position in range(metadata.num_columns):
        chunks = [group.column(position) for group in groups]
        if chunks and chunks[0].path_in_schema in wanted and all(chunk.has_dictionary_page for chunk in chunks):
            kept.append(chunks[0].path_in_schema)
    return kept


def _choose(data: pa.ChunkedArray) -> Choice:
    kind = data.type
    types = pa.types
    if types.is_dictionary(kind):
        return Choice("DICTIONARY")
    if isinstance(kind, pa.BaseExtensionType) or types.is_nested(kind) or types.is_boolean(kind) or types.is_null(kind):
        return Choice()
    if len(data) < SMALL_ROWS:
        return Choice()  # nothing to gain that is worth the look
    if len(data) < SAMPLED_ROWS_MIN:
        return Choice(_usual_choice(kind))
    sample = _sample(data)
    present = len(sample) - sample.null_count
    if not present:
        return Choice()
    share = pc.count_distinct(sample).as_py() / present
    if types.is_floating(kind):
        found = "DICTIONARY" if share <= DISTINCT_SHARE_NUMBER else _choose_float(sample, share, len(data))
    elif types.is_integer(kind) or types.is_temporal(kind):
        found = _choose_integer(sample, share)
    else:
        found = "DICTIONARY" if share <= DISTINCT_SHARE_TEXT else None
    return Choice(found, None if found is None else _choose_codec(sample, found))


def _choose_codec(sample: pa.Array, encoding: str) -> str | None:
    """Return "lz4" where zstd saves little more, as of random digits; a dictionary itself does not count.

    Of encoded values only: in plain ones zstd finds what repeats over more rows than a sample has.
    """
    is_dictionary = encoding == "DICTIONARY"
    options = {"use_dictionary": is_dictionary, "column_encoding": None if is_dictionary else encoding}

    def written(codec: str) -> int:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"x": sample}), sink, compression=codec, write_statistics=False, **options)
        chunk = pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0).column(0)
        first = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        return int(chunk.total_compressed_size - (chunk.data_page_offset - first))

    return "lz4" if written("zstd") > WORTH_ZSTD * written("lz4") else None


def _usual_choice(kind: pa.DataType) -> str | None:
    """Return what suits most columns of this type."""
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return None
    return "DICTIONARY"


def _choose_alike(columns: Sequence[pa.ChunkedArray]) -> Choice | None:
    """Return what suits many columns of numbers, all short, of which these are some; None: their type decides.

    Each is compressed by itself, as it is in the file.
    """
    kind = columns[0].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or pa.types.is_float16(kind):
        return None
    values = [column.drop_null().combine_chunks().to_numpy(zero_copy_only=False) for column in columns]
    values = [column for column in values if len(column)]
    if not values:
        return Choice()
    plain = [column.tobytes() for column in values]
    split = [column.view("u1").reshape(len(column), -1).T.tobytes() for column in values]

    def written(codec: str) -> tuple[int, bool]:
        plain_bytes, split_bytes = (sum(len(pa.compress(one, codec=codec)) for one in form) for form in (plain, split))
        is_split = pa.types.is_floating(kind) and plain_bytes >= MUCH_SMALLER * split_bytes
        return (split_bytes, True) if is_split else (plain_bytes, False)

    (small_bytes, small_is_split), (fast_bytes, fast_is_split) = written("zstd"), written("lz4_raw")
    is_fast = fast_bytes - small_bytes < SHORT_WORTH_ZSTD * sum(map(len, plain))
    is_split = fast_is_split if is_fast else small_is_split
    return Choice("BYTE_STREAM_SPLIT" if is_split else None, "lz4" if is_fast else None)


def _choose_float(sample: pa.Array, share: float, row_count: int) -> str | None:
    """Split bytes into streams, unless the sample says that another form is much smaller (rounded numbers)."""
    if pa.types.is_float16(sample.type):
        return None
    width = sample.type.bit_width // 8
    values = sample.drop_null().to_numpy(zero_copy_only=False)
    streams = values.view("u1").reshape(len(values), width).T.tobytes()
    split_bytes = len(pa.compress(streams, codec="zstd")) / len(values)
    plain_bytes = len(pa.compress(values.tobytes(), codec="zstd")) / len(values)
    distinct = _distinct_estimate(share, len(values))
    if distinct * width <= DICTIONARY_BYTES_MAX:
        coded_bytes = distinct * width / row_count + math.log2(max(distinct, 2)) / 8
        if coded_bytes < MUCH_SMALLER * min(split_bytes, plain_bytes):
            return "DICTIONARY"
    return None if plain_bytes < MUCH_SMALLER * split_bytes else "BYTE_STREAM_SPLIT"


def _distinct_estimate(share: float, count: int) -> float:
    """Return the size of a set of which ``count`` even draws show ``share * count`` distinct members.

    Inverts the expectation ``size * (1 - exp(-count / size))`` by bisection.
    """
    low, high = share * count, share * count * 1000
    for _ in range(30):
        middle = (low + high) / 2
        if middle * -math.expm1(-count / middle) < share * count:
            low = middle
        else:
            high = middle
    return high


def _choose_integer(sample: pa.Array, share: float) -> str | None:
    """Prefer deltas for what is nearly sorted or lies in a small range; a dictionary for a few scattered values."""
    kind = sample.type
    width = kind.bit_width
    physical = sample.view(pa.int64() if width == 64 else pa.int32()) if pa.types.is_temporal(kind) else sample
    bounds = pc.min_max(physical).as_py()
    range_bits = int(bounds["max"] - bounds["min"]).bit_length()
    deltas = pc.pairwise_diff(physical.drop_null().cast(pa.int64(), safe=False), 1).drop_null()
    delta_bits = width
    if len(deltas):
        middle = pc.quantile(deltas, [0.1, 0.9], interpolation="nearest").to_pylist()
        delta_bits = int(middle[1] - middle[0]).bit_length()
    if share <= DISTINCT_SHARE_NUMBER and delta_bits > 8:
        return "DICTIONARY"
    return "DELTA_BINARY_PACKED" if min(delta_bits, range_bits + 1) <= max(width, 32) * 3 // 4 else None


def _sample(data: pa.ChunkedArray) -> pa.Array:
    """Return a few blocks of rows, evenly spread."""
    count = len(data)
    if count <= SAMPLE_BLOCKS * SAMPLE_BLOCK_ROWS:
        parts = [data]
    else:
        gap = (count - SAMPLE_BLOCK_ROWS) // (SAMPLE_BLOCKS - 1)
        parts = [data.slice(block * gap, SAMPLE_BLOCK_ROWS) for block in range(SAMPLE_BLOCKS)]
    return pa.concat_arrays([chunk for part in parts for chunk in part.chunks] or [pa.nulls(0, data.type)])


def _compact(table: pa.Table) -> pa.Table:
    """Return ``table`` with dictionaries that hold only what these rows use, one per column."""
    coded = _positions_of(table, pa.types.is_dictionary)
    if not coded:
        return table
    columns = table.columns
    for position in coded:
        columns[position] = _compact_dictionary(columns[position])
    return pa.Table.from_arrays(columns, schema=table.schema)


def _positions_of(table: pa.Table, is_wanted: Callable[[pa.DataType], bool]) -> list[int]:
    """Return the positions of the columns whose types are wanted; each type is looked at once."""
    types = table.schema.types
    wanted = {kind for kind in set(types) if is_wanted(kind)}
    return [position for position, kind in enumerate(types) if kind in wanted] if wanted else []


def _compact_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if any(chunk.dictionary.null_count for chunk in column.chunks):
        dense = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], type=kind.value_type)
        return _as_dictionary(dense.dictionary_encode(), kind)
    chunks = column.unify_dictionaries().chunks if column.num_chunks > 1 else column.chunks
    if not chunks or len(chunks[0].dictionary) <= DICTIONARY_COMPACT_MIN:
        return pa.chunked_array(chunks, type=kind)
    indices = pa.concat_arrays([chunk.indices for chunk in chunks])
    used = pc.unique(indices).drop_null().sort()
    if len(used) * 2 > len(chunks[0].dictionary):
        return pa.chunked_array(chunks, type=kind)
    packed = pc.index_in(indices, value_set=used).cast(kind.index_type)
    dictionary = chunks[0].dictionary.take(used)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(packed, dictionary, ordered=kind.ordered)], type=kind)


def exact(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Return ``column`` in the type ``target``. Raises ArrowInvalid for a value that it cannot hold."""
    if column.type == target:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), target)])
    if pa.types.is_nested(target) and pa.types.is_nested(column.type):
        return pa.chunked_array([exact_nested(chunk, target) for chunk in column.chunks], target)
    if not pa.types.is_dictionary(target):
        return column.cast(target)
    if not pa.types.is_dictionary(column.type):
        column = column.cast(target.value_type).dictionary_encode()
    return _as_dictionary(column, target)


def _as_dictionary(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices.cast(target.index_type), chunk.dictionary.cast(target.value_type), ordered=target.ordered
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type=target)
