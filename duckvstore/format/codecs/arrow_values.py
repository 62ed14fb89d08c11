"""Arrow tables and streams <-> stored tables; and which Arrow types a segment can hold exactly.

A type that Parquet would change irreversibly is refused here, at write time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored import zones

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckvstore.format.stored.documents import Schema

INTERVAL = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("micros", pa.int64())])
PARQUET_LEVELS_MAX = 99  # of the 100 that readers follow, the first is the file's own
MILLISECONDS_MAX = (2**63 - 1) // 1000


def stored_type(arrow_type: pa.DataType, where: str) -> pa.DataType:
    """Return the type in which values of ``arrow_type`` are stored: itself, except for views and nested dictionaries.

    Raises Unsupported for a type that Parquet cannot hold, naming ``where`` and the type.
    """
    types = pa.types
    _check_depth(arrow_type, where)
    _check_zone(arrow_type, where)
    if _is_refused(arrow_type):
        raise Unsupported(
            f"{where} has the Arrow type {arrow_type}, which Parquet cannot hold: cast it to another type"
        )
    if isinstance(arrow_type, pa.BaseExtensionType):
        stored_type(arrow_type.storage_type, where)
        return arrow_type
    if str(arrow_type) in ("string_view", "binary_view"):
        return pa.large_string() if str(arrow_type).startswith("string") else pa.large_binary()
    if types.is_struct(arrow_type):
        if not arrow_type.num_fields:
            raise Unsupported(f"{where} has the Arrow type struct<> with no fields, which Parquet cannot hold: drop it")
        return pa.struct([_stored_field(arrow_type.field(i), where) for i in range(arrow_type.num_fields)])
    if types.is_dictionary(arrow_type):
        value = stored_type(arrow_type.value_type, where)
        if types.is_nested(value) or types.is_dictionary(value):
            raise Unsupported(f"{where} has the Arrow type {arrow_type}; a dictionary of nested values: decode it")
        return pa.dictionary(arrow_type.index_type, value, arrow_type.ordered)
    return _stored_nested(arrow_type, where)


def _check_depth(arrow_type: pa.DataType, where: str) -> None:
    """Refuse schemas nested deeper than Parquet's readers accept."""
    waiting = [(arrow_type, 1)]
    while waiting:
        kind, level = waiting.pop()
        if level > PARQUET_LEVELS_MAX:
            raise Unsupported(
                f"{where} has lists and structs deeper within one another than Parquet's readers follow (49 lists, 98 "
                "structs): flatten them, or store text"
            )
        is_struct = pa.types.is_struct(kind)
        waiting += [(kind.field(at).type, level + (1 if is_struct else 2)) for at in range(kind.num_fields)]


def _check_zone(arrow_type: pa.DataType, where: str) -> None:
    if pa.types.is_timestamp(arrow_type):
        try:
            zones.check_type(arrow_type)
        except ValueError as error:
            raise Unsupported(
                f"{where} has the Arrow type {arrow_type}: {error}; cast it to one with a name"
            ) from error


def _is_refused(arrow_type: pa.DataType) -> bool:
    """Types that Parquet cannot store; list views too, which pyarrow converts wrongly."""
    types = pa.types
    unsafe = types.is_union(arrow_type) or types.is_interval(arrow_type) or types.is_run_end_encoded(arrow_type)
    return bool(unsafe) or str(arrow_type).startswith(("list_view", "large_list_view"))


def _stored_nested(arrow_type: pa.DataType, where: str) -> pa.DataType:
    types = pa.types
    if types.is_map(arrow_type):
        key = _stored_field(arrow_type.key_field, where)
        return pa.map_(key, _stored_field(arrow_type.item_field, where), keys_sorted=arrow_type.keys_sorted)
    if types.is_fixed_size_list(arrow_type):
        if not arrow_type.list_size:
            raise Unsupported(f"{where} has the Arrow type {arrow_type} of no items: drop it")
        return pa.list_(_stored_field(arrow_type.value_field, where), arrow_type.list_size)
    if types.is_large_list(arrow_type):
        return pa.large_list(_stored_field(arrow_type.value_field, where))
    if types.is_list(arrow_type):
        return pa.list_(_stored_field(arrow_type.value_field, where))
    if types.is_fixed_size_binary(arrow_type) and not arrow_type.byte_width:
        raise Unsupported(f"{where} has the Arrow type {arrow_type} of no bytes: drop it")
    return arrow_type


def _stored_field(field: pa.Field, where: str) -> pa.Field:
    inner = stored_type(field.type, where)
    return pa.field(field.name, inner.value_type if pa.types.is_dictionary(inner) else inner, nullable=field.nullable)


def store_array(array: pa.Array | pa.ChunkedArray, target: pa.DataType, where: str) -> pa.Array | pa.ChunkedArray:
    """Return ``array`` in the stored type ``target``, after checking that Parquet can hold its values."""
    if pa.types.is_timestamp(array.type) and array.type.unit == "s" and len(array):
        _check_seconds(array, where)
    if "date64" in str(array.type):
        _check_days(array, where)
    if array.type == target:
        return array
    try:
        return array.cast(target)
    except pa.ArrowException as error:
        raise Unsupported(f"{where} of Arrow type {array.type} cannot be stored as {target}: {error}") from error


def _check_seconds(array: pa.Array | pa.ChunkedArray, where: str) -> None:
    bounds = pc.min_max(array.cast(pa.int64())).as_py()
    if bounds["min"] is not None and max(-bounds["min"], bounds["max"]) > MILLISECONDS_MAX:
        raise InvalidInput(
            f"{where} holds times in seconds beyond what Parquet can hold (292 million years from 1970): remove them"
        )


def _check_days(array: pa.Array | pa.ChunkedArray, where: str) -> None:
    """Raise InvalidInput for milliseconds within a day, at any depth: Parquet has days, and would cut them off."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"{where} holds date64 values that are not whole days, which Parquet cannot hold ({error}): cast them to "
            "timestamp('ms')"
        ) from error


def with_intervals(value: Any, where: str) -> tuple[Any, list[int]]:
    """Return Arrow data with columns of intervals in the form of ``INTERVAL``, and the positions of these columns.

    Raises Unsupported, of a stream when it is read, for one with digits below the microsecond.
    """
    if not isinstance(value, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)):
        return value, []
    schema = value.schema
    found = [at for at, kind in enumerate(schema.types) if pa.types.is_interval(kind)]
    if not found:
        return value, found
    fields = [field.with_type(INTERVAL) if at in found else field for at, field in enumerate(schema)]
    target = pa.schema(fields, metadata=schema.metadata)

    def carried(rows: pa.Table) -> pa.Table:
        columns = list(rows.columns)
        for at in found:
            chunks = [
                _carried_intervals(chunk, f"column {schema.names[at]!r} of {where}") for chunk in columns[at].chunks
            ]
            columns[at] = pa.chunked_array(chunks, INTERVAL)
        return pa.Table.from_arrays(columns, schema=target)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in value:
            yield from carried(pa.Table.from_batches([batch])).to_batches()

    if isinstance(value, pa.RecordBatchReader):
        return pa.RecordBatchReader.from_batches(target, batches()), found
    return carried(value if isinstance(value, pa.Table) else pa.Table.from_batches([value])), found


def _carried_intervals(array: pa.Array, where: str) -> pa.Array:
    import numpy as np

    if not len(array):  # which may have no buffer
        return pa.array([], INTERVAL)
    layout = [("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")]
    rows = np.frombuffer(array.buffers()[1], layout, len(array), array.offset * np.dtype(layout).itemsize)
    is_missing = array.is_null()
    nanos = np.where(is_missing.to_numpy(zero_copy_only=False), 0, rows["nanos"])
    if (nanos % 1000).any():
        raise Unsupported(
            f"{where} holds an interval with digits below the microsecond, which INTERVAL has no room for"
        )
    parts = [pa.array(rows["months"]), pa.array(rows["days"]), pa.array(nanos // 1000)]
    return pa.StructArray.from_arrays(parts, fields=list(INTERVAL), mask=is_missing)


def encode_schema(schema: pa.Schema, where: str) -> Schema:
    """Return the stored schema of Arrow data, with the original schema in ``value``."""
    names = schemas.unique_names(schema.names)
    fields = []
    for name, field in zip(names, schema, strict=True):
        place = f"column {field.name!r} of {where}"
        stored = stored_type(field.type, place)
        if _has_nested_dictionary(field.type):
            raise Unsupported(f"{place} has a dictionary inside a nested type, {field.type}: cast it to its plain type")
        fields.append(pa.field(name, stored))
    return schemas.from_arrow(pa.schema(fields), value={"schema": schemas.encode_ipc(schema)})


def _has_nested_dictionary(arrow_type: pa.DataType, depth: int = 0) -> bool:
    if isinstance(arrow_type, pa.BaseExtensionType):
        return _has_nested_dictionary(arrow_type.storage_type, depth)
    if pa.types.is_dictionary(arrow_type):
        return depth > 0
    if pa.types.is_map(arrow_type):
        return _has_nested_dictionary(arrow_type.key_type, 1) or _has_nested_dictionary(arrow_type.item_type, 1)
    return any(_has_nested_dictionary(arrow_type.field(i).type, 1) for i in range(arrow_type.num_fields))


def encode_table(table: pa.Table, where: str) -> tuple[Schema, pa.Table]:
    """Return (schema, stored rows) of a table."""
    schema = encode_schema(table.schema, where)
    return schema, store_table(table, schema, where)


def store_table(table: pa.Table, schema: Schema, where: str) -> pa.Table:
    """Return ``table`` in the stored ``schema``, which ``encode_schema`` made of its own."""
    target = schemas.to_arrow(schema)
    arrays = []
    for position, field in enumerate(target):
        place = f"column {table.schema.names[position]!r} of {where}"
        if not table.schema.field(position).nullable and table.column(position).null_count:
            raise InvalidInput(f"{place} is declared not nullable and holds nulls: correct its schema")
        arrays.append(store_array(table.column(position), field.type, place))
    if not arrays and table.num_rows:
        raise Unsupported(f"{where} is an Arrow table of {table.num_rows} rows without columns: add a column")
    return pa.Table.from_arrays(arrays, schema=target)


def encode_stream(reader: pa.RecordBatchReader, where: str) -> tuple[Schema, pa.RecordBatchReader]:
    """Return (schema, reader of stored batches); nothing is read before the result is."""
    schema = encode_schema(reader.schema, where)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from store_table(pa.Table.from_batches([batch]), schema, where).to_batches()

    return schema, pa.RecordBatchReader.from_batches(schemas.to_arrow(schema), batches())


def decode_table(table: pa.Table, schema: Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the Arrow table that was written: original names, types and metadata, for the stored ``columns``."""
    original = schemas.decode_ipc(schema.value["schema"])
    positions = {name: position for position, name in enumerate(schema.names)}
    names = schemas.present(schema.names, table) if columns is None else list(columns)
    fields = [original.field(positions[name]) for name in names]
    arrays = [restore_array(table.column(name), field.type) for name, field in zip(names, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=original.metadata))


def restore_array(array: pa.ChunkedArray, arrow_type: pa.DataType) -> pa.ChunkedArray:
    """Return ``array`` as ``arrow_type``, its type before it was stored, without the field ids of the storage."""
    is_same = array.type == arrow_type and (
        not arrow_type.num_fields or array.type.equals(arrow_type, check_metadata=True)
    )
    return array if is_same else array.cast(arrow_type)


def plain_table(table: pa.Table) -> pa.Table:
    """Return ``table`` without field ids and other metadata of the storage."""
    fields = [field.remove_metadata().with_type(schemas.without_metadata(field.type)) for field in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
