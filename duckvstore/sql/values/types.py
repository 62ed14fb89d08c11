"""DuckDB's types for Arrow's, and what it takes to get them from Parquet.

A column scanned from Parquet through ``from_parquet`` has the type and values that DuckDB gives to the
same Arrow column, as run with DuckDB 1.5.5 and 2.0.0. (The one difference: 1.5 reads times of day from Parquet to
the microsecond only.)
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

import pyarrow as pa
import pyarrow.types as kinds

from duckvstore.errors import SqlError
from duckvstore.sql.syntax.literals import literal, quote

DECIMAL_DIGITS_MAX = 38

_PLAIN: dict[pa.DataType, str] = {
    pa.null(): '"NULL"',
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.time32("s"): "TIME",
    pa.time32("ms"): "TIME",
    pa.time64("us"): "TIME",
    pa.time64("ns"): "TIME_NS",
    pa.timestamp("s"): "TIMESTAMP_S",
    pa.timestamp("ms"): "TIMESTAMP_MS",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("ns"): "TIMESTAMP_NS",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.string_view(): "VARCHAR",
}
# What DuckDB makes of these in Parquet is not what it makes of them in Arrow.
_CAST = frozenset((pa.timestamp("s"), pa.timestamp("ms")))
_EXTENSIONS = {"arrow.uuid": "UUID", "arrow.json": "JSON"}
_MICROSECONDS = {"s": "* 1000000", "ms": "* 1000", "us": "", "ns": "// 1000"}


@cache
def reads_zoned_nanoseconds() -> bool:
    """Whether this DuckDB has a type for nanoseconds in a time zone; DuckDB 1 reads them as microseconds."""
    return int(metadata.version("duckdb").split(".")[0]) > 1


def portable(kind: pa.DataType) -> pa.DataType:
    """Return ``kind`` for SQL that any DuckDB has to understand: with microseconds for nanoseconds in a time zone."""
    if kinds.is_timestamp(kind):
        return pa.timestamp("us", kind.tz) if kind.tz is not None and kind.unit == "ns" else kind
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(portable(field.type)) for field in kind])
    if kinds.is_map(kind):
        return pa.map_(portable(kind.key_type), portable(kind.item_type))
    if kinds.is_fixed_size_list(kind):
        return pa.list_(portable(kind.value_type), kind.list_size)
    return pa.list_(portable(kind.value_type)) if _is_list(kind) else kind


def duckdb_type(kind: pa.DataType) -> str:
    """Return the SQL name of the type that DuckDB gives to an Arrow column of ``kind``."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, pa.BaseExtensionType):
        return _EXTENSIONS.get(kind.extension_name) or duckdb_type(kind.storage_type)
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind):
        return duckdb_type(kind.value_type)
    if kinds.is_timestamp(kind):
        return "TIMESTAMPTZ_NS" if kind.unit == "ns" and reads_zoned_nanoseconds() else "TIMESTAMP WITH TIME ZONE"
    if kinds.is_duration(kind):
        return "INTERVAL"
    if kinds.is_decimal(kind):
        digits = min(kind.precision, DECIMAL_DIGITS_MAX)
        return f"DECIMAL({digits},{min(kind.scale, digits)})"
    return _nested_type(kind)


def _nested_type(kind: pa.DataType) -> str:
    if kinds.is_fixed_size_list(kind):
        return f"{duckdb_type(kind.value_type)}[{kind.list_size}]"
    if _is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if kinds.is_struct(kind):
        fields = ", ".join(f"{quote(field.name)} {duckdb_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    if kinds.is_map(kind):
        return f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"
    return "BLOB"


def parquet_type(kind: pa.DataType) -> str:
    """Return the SQL name of the type in which ``from_parquet`` takes a column of ``kind``."""
    if kind in _CAST:
        return "TIMESTAMP"
    if kind == pa.time64("ns"):
        return "VARCHAR"  # DuckDB 1.5 reads TIME, which it cannot cast to TIME_NS
    if kinds.is_duration(kind):
        return "BIGINT"
    if kinds.is_decimal(kind) and kind.precision > DECIMAL_DIGITS_MAX:
        return "DOUBLE"
    if kinds.is_dictionary(kind):
        return parquet_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _EXTENSIONS.get(kind.extension_name) or parquet_type(kind.storage_type)
    if kinds.is_fixed_size_list(kind) or _is_list(kind):
        return f"{parquet_type(kind.value_type)}[]"
    if kinds.is_struct(kind):
        return f"STRUCT({', '.join(f'{quote(field.name)} {parquet_type(field.type)}' for field in kind)})"
    if kinds.is_map(kind):
        return f"MAP({parquet_type(kind.key_type)}, {parquet_type(kind.item_type)})"
    return duckdb_type(kind)


def from_parquet(column: str, kind: pa.DataType) -> str | None:
    """Return the expression that gives ``column``, as DuckDB reads it from Parquet, its type by ``kind``.

    None: the column is right as it is. A decimal that is too wide for DuckDB becomes an error at first use, since
    DuckDB would take it for a float and return other numbers.
    """
    expression = _converted(column, kind)
    if expression is None and not _needs_cast(kind):
        return None
    if expression is None:
        return f"CAST({column} AS {duckdb_type(kind)})"
    return f"CAST({expression} AS {duckdb_type(kind)})" if _needs_cast(kind) else expression


def refused(column: str, sql_type: str, problem: str) -> str:
    """Return the expression that is an error for each value of ``column`` that is asked for."""
    return f"CAST(CASE WHEN {column} IS NULL THEN NULL ELSE error({literal(problem)}) END AS {sql_type})"


def readable(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ``column`` in a type that DuckDB reads from Arrow, with the values that it would have in SQL.

    Raises SqlError for a decimal that is too wide, naming the column.
    """
    if kinds.is_float16(column.type):
        return column.cast(pa.float32())
    if not kinds.is_decimal256(column.type):
        return column
    if column.type.precision > DECIMAL_DIGITS_MAX:
        raise SqlError(
            f"column {name!r} is a decimal of {column.type.precision} digits, wider than the {DECIMAL_DIGITS_MAX} of "
            "SQL: read and write it without SQL"
        )
    return column.cast(pa.decimal128(column.type.precision, column.type.scale))


def _needs_cast(kind: pa.DataType) -> bool:
    if kind in _CAST or kinds.is_fixed_size_list(kind):
        return True
    return any(_needs_cast(child) for child in _children(kind))


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if kinds.is_dictionary(kind):
        return [kind.value_type]
    return [kind.field(index).type for index in range(kind.num_fields)]


def _converted(column: str, kind: pa.DataType, depth: int = 0) -> str | None:
    """Return ``column`` with what no cast can mend made right; None: there is nothing of the kind.

    Durations are whole numbers in Parquet; from TIME, which DuckDB 1.5 reads, there is no cast to TIME_NS.
    """
    if kind == pa.time64("ns"):
        return f"CAST(CAST({column} AS VARCHAR) AS TIME_NS)"
    if kinds.is_duration(kind):
        return f"to_microseconds({column} {_MICROSECONDS[kind.unit]})"
    if kinds.is_decimal(kind) and kind.precision > DECIMAL_DIGITS_MAX:
        problem = f"a decimal of {kind.precision} digits is wider than the {DECIMAL_DIGITS_MAX} of SQL: use read()"
        return refused(column, duckdb_type(kind), problem)
    children = [_converted("", child) for child in _children(kind)]
    if all(child is None for child in children):
        return None
    if kinds.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        return _converted(column, _children(kind)[0], depth)
    item = f"item_{depth}"
    if kinds.is_struct(kind):
        fields = [(quote(field.name), f"struct_extract({column}, {literal(field.name)})", field.type) for field in kind]
        packed = ", ".join(f"{name} := {_converted(value, t, depth) or value}" for name, value, t in fields)
        return f"CASE WHEN {column} IS NULL THEN NULL ELSE struct_pack({packed}) END"
    if kinds.is_map(kind):
        keys, values = f"map_keys({column})", f"map_values({column})"
        keys = _each(keys, item, _converted(item, kind.key_type, depth + 1))
        values = _each(values, item, _converted(item, kind.item_type, depth + 1))
        return f"CASE WHEN {column} IS NULL THEN NULL ELSE map({keys}, {values}) END"
    return _each(column, item, _converted(item, kind.value_type, depth + 1))


def _each(values: str, item: str, expression: str | None) -> str:
    return values if expression is None else f"list_transform({values}, lambda {item}: {expression})"


def _is_list(kind: pa.DataType) -> bool:
    checks = (kinds.is_list, kinds.is_large_list, kinds.is_list_view, kinds.is_large_list_view)
    return any(check(kind) for check in checks)
