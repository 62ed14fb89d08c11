"""Logical digests of rows: what decides whether a segment can be shared.

Equal rows under an equal schema have equal digests, whatever their buffers, offsets, chunks or dictionaries; rows that
read back differently have different ones. A digest may be stricter than needed (less is then shared).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from duckvstore.format.rows import blocks
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.format.stored.documents import Schema

DIGEST_DIGITS = 32
THREADS_BYTES_MIN = 4 * 2**20
THREADS_CELLS_MIN = 2**19


def logical_digest(rows: pa.Table, schema: Schema) -> str:
    """Return 32 hexadecimal digits that identify these rows in the stored ``schema``.

    BLAKE3 over the number of rows and, per column, its field id, name and type and the canonical form of its values.
    A column of text may come as dictionaries; it has the digest of the dense text.
    """
    hasher = blake3(f"duckvstore rows 1;{rows.num_rows}".encode(), max_threads=_threads(rows))
    types, (stored, described) = rows.schema.types, _described(schema.arrow)
    heads = [
        f"\0{known.id};{len(known.name.encode())};{known.name};{kind}\0".encode()
        for known, kind in zip(schema.columns, described, strict=True)
    ]
    for start, stop in blocks.runs(types, rows.num_rows):
        is_run = stop - start > 1 and types[start:stop] == stored[start:stop]
        block = blocks.numbers(rows, start, stop) if is_run else None
        if block is not None:  # none of it is null
            parts = zip(heads[start:stop], repeat(b"v"), block)
            hasher.update(b"".join(chain.from_iterable(parts)))
            continue
        for position in range(start, stop):
            hasher.update(heads[position])
            whole = _whole(rows.column(position), stored[position])
            if whole.type != stored[position]:
                hasher.update(b"plain\0")
            for part in _canonical(whole):
                if len(part):
                    hasher.update(memoryview(part).cast("B"))
    return str(hasher.hexdigest()[:DIGEST_DIGITS])


@lru_cache(maxsize=8)
def _described(text: str) -> tuple[list[pa.DataType], list[str]]:
    """Return the types of a stored schema, and what a digest says of each column's."""
    fields = list(schemas.fields_of(text))
    return [field.type for field in fields], [f"{field.type};{field.nullable}" for field in fields]


def _threads(rows: pa.Table) -> int:
    if rows.num_columns >= blocks.MANY_COLUMNS:  # whose sizes take longer to add up
        return int(blake3.AUTO) if rows.num_rows * rows.num_columns >= THREADS_CELLS_MIN else 1
    return int(blake3.AUTO) if rows.nbytes >= THREADS_BYTES_MIN else 1


def _whole(column: pa.ChunkedArray, stored: pa.DataType) -> pa.Array:
    """Return a column as one array in its stored type (or in that of its values, see ``_one_dictionary``)."""
    if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(stored):
        column = column.cast(stored)
    if column.type != stored:
        column = column.cast(stored)
    if pa.types.is_dictionary(stored):
        column = _one_dictionary(column)
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.nulls(0, stored) if not pa.types.is_dictionary(stored) else pa.array([], stored)
    return pa.concat_arrays(column.chunks)


def _one_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a dictionary column with one dictionary, or as plain values where there can be none.

    There can be none of dictionaries that hold nulls, or more values together than the codes can count. Encoding makes
    a new dictionary of the values then, so equal values read back equal.
    """
    if not any(chunk.dictionary.null_count for chunk in column.chunks):
        try:
            return column.unify_dictionaries()
        except pa.ArrowException:
            pass
    return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], type=column.type.value_type)


def _canonical(array: pa.Array) -> Iterator[Any]:
    """Yield buffers that are equal for equal arrays of one type alone: validity, and values without what nulls hide."""
    kind = array.type
    types = pa.types
    yield b"n" if array.null_count else b"v"
    if array.null_count:
        yield np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False))
    if isinstance(kind, pa.BaseExtensionType):
        yield f"{kind.storage_type};".encode()  # which the name of the type may leave out
        yield from _canonical(array.storage)
    elif types.is_null(kind):
        return
    elif types.is_dictionary(kind):
        # The number of values says where they end; without it, values could pass for what follows them.
        yield f"d{kind.ordered};{len(array.dictionary)};".encode()
        yield from _canonical(array.dictionary)
        yield from _canonical(array.indices)
    elif types.is_boolean(kind):
        filled = array.fill_null(False) if array.null_count else array
        yield np.packbits(filled.to_numpy(zero_copy_only=False))
    elif types.is_struct(kind):
        for field in array.flatten():
            yield from _canonical(field)
    elif types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        yield from _canonical_lists(array)
    else:
        yield from _canonical_flat(array)


def _canonical_flat(array: pa.Array) -> Iterator[Any]:
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    elif pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    if _has_offsets(array.type):
        yield from _canonical_bytes(array)
    else:
        yield _fixed_width(array)


def _has_offsets(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def _canonical_bytes(array: pa.Array) -> Iterator[Any]:
    """Yield lengths and bytes; both without what lies under nulls."""
    if array.null_count:
        array = array.fill_null("" if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) else b"")
    offsets = _offsets(array)
    yield np.diff(offsets).astype(np.int64)
    data = array.buffers()[2]
    if data is not None and len(offsets):
        yield memoryview(data)[int(offsets[0]) : int(offsets[-1])]


def _offsets(array: pa.Array) -> np.ndarray:
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    offsets = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32)
    return offsets[array.offset : array.offset + len(array) + 1]


def _canonical_lists(array: pa.Array) -> Iterator[Any]:
    if pa.types.is_map(array.type):
        fields = pa.struct([pa.field("key", array.type.key_type), pa.field("value", array.type.item_type)])
        array = array.cast(pa.list_(fields))
    lengths = pc.list_value_length(array)
    yield (lengths.fill_null(0) if lengths.null_count else lengths).to_numpy().astype(np.int64)
    yield from _canonical(pc.list_flatten(array))


def _fixed_width(array: pa.Array) -> Any:
    """Return the values as bytes, zero under nulls."""
    width = array.type.byte_width
    data = array.buffers()[1]
    if data is None:
        return b""
    raw = np.frombuffer(data, np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        if width in (1, 2, 4, 8):
            return raw.view(f"u{width}") * valid
        raw = raw.reshape(len(array), width) * valid[:, None]
    return np.ascontiguousarray(raw)
