"""Bounds of a segment's columns: computed at write time, kept in the document, typed again for pruning.

Every value of the column that is neither null nor NaN lies within [minimum, maximum], in the order
in which DuckDB compares the column; a bound that cannot be exact or safely wider is left out.

In JSON a bound is: a number for integers and for temporal types (their physical integer); a finite float as such,
an infinite one as text; true or false; text for strings; text for decimals.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.errors import Integrity
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.segments import ColumnStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.documents import Schema, Version

COLUMNS_MAX = 32
TEXT_BYTES_MAX = 64
DECIMAL_DIGITS_MAX = 38  # DuckDB reads wider decimals as floating point


def compute(table: pa.Table, schema: Schema, columns_max: int = COLUMNS_MAX) -> dict[int, ColumnStatistics]:
    """Return the statistics, by field id, of the index levels and of the first columns of ``table``."""
    others = [column for column in schema.columns if column.name not in schema.index]
    levels = [column for column in schema.columns if column.name in schema.index]
    return {column.id: of_column(table.column(column.name)) for column in (*levels, *others[:columns_max])}


def typed_table(version: Version, column_ids: Sequence[int]) -> pa.Table:
    """Return the statistics of a version's segments as typed columns, one row per segment.

    Columns: ``segment`` (int64, position), ``rows`` (int64) and, for each id: ``min_<id>``, ``max_<id>`` (of a
    type that DuckDB compares as it would the column itself), ``nulls_<id>`` (int64) and ``nan_<id>`` (bool).
    Null means not known.
    """
    types = {column.id: field.type for column, field in zip(version.schema.columns, schemas.to_arrow(version.schema),
                                                            strict=True)}  # fmt: skip
    segments = version.segments
    columns: dict[str, pa.Array] = {
        "segment": pa.array(range(len(segments)), pa.int64()),
        "rows": pa.array([segment.row_count for segment in segments], pa.int64()),
    }
    unknown = ColumnStatistics()
    try:
        for column_id in column_ids:
            found = [segment.statistics.get(column_id, unknown) for segment in segments]
            columns[f"min_{column_id}"] = _typed([item.minimum for item in found], types[column_id])
            columns[f"max_{column_id}"] = _typed([item.maximum for item in found], types[column_id])
            columns[f"nulls_{column_id}"] = pa.array([item.null_count for item in found], pa.int64())
            columns[f"nan_{column_id}"] = pa.array([item.has_nan for item in found], pa.bool_())
    except (
        pa.ArrowException,
        ArithmeticError,
        TypeError,
        ValueError,
    ) as error:  # those of manifests are looked at here
        raise Integrity(
            f"statistics of version {version.number} of {version.symbol!r} ({version.where or 'made here'}) are not of "
            f"their column's type ({error}): restore its document and manifests from a backup, or read another version"
        ) from error
    return pa.table(columns)


def of_column(column: pa.ChunkedArray) -> ColumnStatistics:
    """Return the statistics of a column."""
    kind = column.type
    types = pa.types
    null_count = column.null_count
    if types.is_dictionary(kind):
        return _of_dictionary(column)
    if null_count == len(column):
        return ColumnStatistics(null_count=null_count, has_nan=False)
    if types.is_floating(kind):
        return _of_floats(column, null_count)
    if types.is_string(kind) or types.is_large_string(kind):
        bounds = pc.min_max(column).as_py()
        return ColumnStatistics(*_text_bounds(bounds["min"], bounds["max"]), null_count, has_nan=False)
    physical = _physical_type(kind)
    if physical is not None:
        if physical != kind:
            column = pa.chunked_array([chunk.view(physical) for chunk in column.chunks], type=physical)
        bounds = pc.min_max(column).as_py()
        return ColumnStatistics(bounds["min"], bounds["max"], null_count, has_nan=False)
    if types.is_decimal(kind) and kind.precision <= DECIMAL_DIGITS_MAX:
        wide = column if kind.bit_width >= 128 else column.cast(pa.decimal128(kind.precision, kind.scale))
        bounds = pc.min_max(wide).as_py()
        return ColumnStatistics(str(bounds["min"]), str(bounds["max"]), null_count, has_nan=False)
    return ColumnStatistics(null_count=null_count)


def _of_floats(column: pa.ChunkedArray, null_count: int) -> ColumnStatistics:
    """NaN is left out of the bounds and reported; a column of NaN alone has no bounds."""
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    found = [_float_bounds(chunk) for chunk in column.chunks if len(chunk) > chunk.null_count]
    has_nan = any(nan for _, _, nan in found)
    bounds = [(low, high) for low, high, _ in found if low <= high]  # false for NaN, and where there was only NaN
    if not bounds:
        return ColumnStatistics(null_count=null_count, has_nan=has_nan)
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return ColumnStatistics(_float_to_json(low), _float_to_json(high), null_count, has_nan)


def has_nan(column: pa.ChunkedArray) -> bool:
    """Return whether a column of floating point numbers holds NaN (which is not null)."""
    return _of_floats(column, 0).has_nan is True


def _float_bounds(chunk: pa.Array) -> tuple[float, float, bool]:
    """Return (low, high, has NaN) of a chunk; numpy is ten times faster where there is neither null nor NaN."""
    if not chunk.null_count:
        values = chunk.to_numpy()
        low = float(values.min())
        if not math.isnan(low):
            return low, float(values.max()), False
    bounds = pc.min_max(chunk).as_py()
    return bounds["min"], bounds["max"], bool(pc.any(pc.is_nan(chunk)).as_py())


def _float_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _of_dictionary(column: pa.ChunkedArray) -> ColumnStatistics:
    """Bounds over the values that the rows use, not over the whole dictionary."""
    kind = column.type.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return ColumnStatistics()
    null_count, parts = 0, []
    for chunk in column.chunks:
        used = np.zeros(len(chunk.dictionary), dtype=bool)
        used[chunk.indices.drop_null().to_numpy()] = True
        parts.append(chunk.dictionary.filter(pa.array(used)))
        null_count += chunk.null_count if not chunk.dictionary.null_count else chunk.dictionary_decode().null_count
    bounds = pc.min_max(pa.chunked_array(parts, type=kind)).as_py()
    if bounds["min"] is None:
        return ColumnStatistics(null_count=null_count, has_nan=False)
    return ColumnStatistics(*_text_bounds(bounds["min"], bounds["max"]), null_count, has_nan=False)


def _text_bounds(low: str, high: str) -> tuple[str | None, str | None]:
    """Cut the lower bound to a prefix (which is never greater); leave out an upper bound that is too long."""
    raw = low.encode("utf-8")
    if len(raw) > TEXT_BYTES_MAX:
        low = raw[:TEXT_BYTES_MAX].decode("utf-8", "ignore")
    return low, high if len(high.encode("utf-8")) <= TEXT_BYTES_MAX else None


def _physical_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type in which bounds of ``kind`` are plain JSON integers or booleans, or None."""
    types = pa.types
    if types.is_integer(kind) or types.is_boolean(kind):
        return kind
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time64(kind) or types.is_date64(kind):
        return pa.int64()
    if types.is_date32(kind) or types.is_time32(kind):
        return pa.int32()
    return None


def bound_types(kind: pa.DataType) -> frozenset[type]:
    """Return the types that a bound of a column of ``kind`` may have in JSON."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return frozenset((bool,))
    if _physical_type(kind) is not None:
        return frozenset((int,))
    if pa.types.is_floating(kind):
        return frozenset((float, int, str))
    return frozenset((str,))


def _typed(bounds: list[Any], kind: pa.DataType) -> pa.Array:
    """Return JSON bounds as an array of the column's type, or of one that compares the same way."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    physical = _physical_type(kind)
    if physical is not None:
        return pa.array(bounds, physical) if physical == kind else pa.array(bounds, physical).view(kind)
    if pa.types.is_floating(kind):
        wide = kind if not pa.types.is_float16(kind) else pa.float32()
        return pa.array([None if bound is None else float(bound) for bound in bounds], wide)
    if pa.types.is_decimal(kind) and kind.precision <= DECIMAL_DIGITS_MAX:
        return pa.array([None if bound is None else Decimal(bound) for bound in bounds], kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array(bounds, pa.large_string())
    return pa.nulls(len(bounds), pa.large_string())
