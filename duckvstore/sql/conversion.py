"""Arrow rows of a result into pandas, polars, tuples and texts, as DuckDB itself would give them.

Invariant: what DuckDB's own ``.df()`` and ``.fetchall()`` give for a statement is what comes out here, though the
rows went through Arrow: a column whose DuckDB type Arrow cannot say is cast back to it first. Four rare types lose
something in Arrow itself, so there the nearest value comes out: UHUGEINT, BIGNUM, BIT and TIME WITH TIME ZONE.
"""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from duckvstore.errors import Unsupported
from duckvstore.sql.rewrite import literal, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_NAIVE = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}

_lock = threading.Lock()
_inherited: list[Any] = []
_converter: tuple[int, Any] | None = None


@contextmanager
def _cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a cursor of a DuckDB instance that holds nothing and is only used to convert values."""
    global _converter  # noqa: PLW0603 - one per process, made on first use
    import duckdb

    with _lock:
        if _converter is None or _converter[0] != os.getpid():
            if _converter is not None:
                _inherited.append(_converter[1])  # closing it would wait for threads that a fork left behind
            _converter = (os.getpid(), duckdb.connect(":memory:"))
            _converter[1].execute("SET GLOBAL python_enable_replacements = false")
        cursor = _converter[1].cursor()
    try:
        yield cursor
    finally:
        cursor.close()


def _select(cursor: duckdb.DuckDBPyConnection, table: pa.Table, types: list[str], columns: list[str]) -> Any:
    """Return a relation over ``table`` whose columns have their DuckDB types again."""
    names = [f"c{position}" for position in range(table.num_columns)]
    cursor.register("result_rows", table.rename_columns(names))
    zones = {field.type.tz for field in table.schema if _is_zoned(field.type)}
    if zones:
        cursor.execute(f"SET TimeZone = {literal(next(iter(zones)))}")
    found = [str(kind) for kind in cursor.sql("FROM result_rows").types]
    parts = []
    for name, wanted, present, column in zip(names, types, found, columns, strict=True):
        value = quote(name) if wanted in (present, "BIT") else f"CAST({quote(name)} AS {wanted})"
        parts.append(f"{value} AS {quote(column)}")
    return cursor.sql(f"SELECT {', '.join(parts)} FROM result_rows")


def _is_zoned(arrow_type: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None)


def to_pandas(table: pa.Table, columns: list[str], types: list[str]) -> pd.DataFrame:
    """Return what DuckDB's ``.df()`` gives for rows of these names and types."""
    import pandas as pd

    if not columns:
        return pd.DataFrame()
    if len(set(columns)) == len(columns) and all(_is_plain(column) for column in table.columns):
        plain: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
        return plain
    with _cursor() as cursor, warnings.catch_warnings():
        # DuckDB's conversion of zoned times uses a keyword that pandas 3.1 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        frame: pd.DataFrame = _select(cursor, table, types, columns).df()
        return frame


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether pyarrow makes the same pandas column of it as DuckDB does (and faster)."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind):
        return not _is_zoned(kind)
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return bool(column.null_count == 0)
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return the rows as a polars DataFrame; raises Unsupported when polars is not installed."""
    try:
        import polars as pl
    except ImportError as error:
        raise Unsupported("polars is not installed: pip install polars, or ask for .df() or .arrow()") from error
    frame = pl.from_arrow(table) if table.num_columns else pl.DataFrame()
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a Series
    return frame


def to_tuples(table: pa.Table, types: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows as DuckDB's ``.fetchall()`` does; times with a zone are in UTC."""
    if not table.num_columns:
        return []
    if all(kind in _SIMPLE for kind in types):
        return _simple_tuples(table, types)
    # A zoned time is given to DuckDB as a naive one in UTC: for the zone itself it would need pytz.
    import pyarrow as pa

    zoned = [position for position, field in enumerate(table.schema) if _is_zoned(field.type)]
    naive_types = list(types)
    for position in zoned:
        field = table.schema.field(position)
        column = table.column(position).cast(pa.timestamp(field.type.unit))
        table = table.set_column(position, field.name, column)
        naive_types[position] = _NAIVE[field.type.unit]
    with _cursor() as cursor:
        names = [f"c{position}" for position in range(table.num_columns)]
        rows: list[tuple[Any, ...]] = _select(cursor, table, naive_types, names).fetchall()
    return [_in_utc(row, zoned) for row in rows] if zoned else rows


# Types whose values pyarrow gives as the same Python objects as DuckDB: asking DuckDB costs 3 ms.
_SIMPLE = frozenset(
    f"{sign}{name}" for sign in ("", "U") for name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
) - {"UHUGEINT"} | {"FLOAT", "DOUBLE", "VARCHAR", "BOOLEAN"}


def _simple_tuples(table: pa.Table, types: list[str]) -> list[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in table.columns]
    for position, kind in enumerate(types):
        if kind == "HUGEINT":  # a decimal in Arrow
            columns[position] = [None if value is None else int(value) for value in columns[position]]
    return list(zip(*columns, strict=True))


def _in_utc(row: tuple[Any, ...], zoned: list[int]) -> tuple[Any, ...]:
    values = list(row)
    for position in zoned:
        value = values[position]
        if isinstance(value, datetime):
            values[position] = value.replace(tzinfo=UTC)
        elif isinstance(value, str):  # DuckDB writes what Python's datetime cannot hold
            values[position] = f"{value}+00"
    return tuple(values)


def to_texts(table: pa.Table) -> list[list[str | None]]:
    """Return the rows as DuckDB writes values in text; None for NULL."""
    if not table.num_columns:
        return []
    names = [f"c{position}" for position in range(table.num_columns)]
    with _cursor() as cursor:
        cursor.register("result_rows", table.rename_columns(names))
        casts = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name in names)
        return [list(row) for row in cursor.execute(f"SELECT {casts} FROM result_rows").fetchall()]
