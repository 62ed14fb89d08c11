"""Rows of a result into Arrow, pandas, polars, tuples and texts, as DuckDB itself would give them.

What DuckDB's own ``.df()`` and ``.fetchall()`` give for a statement is what comes out here, though the rows
went through Arrow, in the carriers of ``kinds``: no value becomes another on the way. Where DuckDB has no form for a
type, or one that loses something, the nearest that holds it comes out instead.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from duckvstore import forks
from duckvstore.errors import Unsupported
from duckvstore.sql.driver.interrupts import Outcome, run_interruptibly
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.values.kinds import Kind, carrier, decoded, known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

#: of which DuckDB makes no column of pandas
_NO_PANDAS = frozenset(("UHUGEINT", "BIGNUM", "TIME WITH TIME ZONE", "VARIANT"))
#: that travel in another type than the one that Arrow has for them
_ANOTHER_IN_ARROW = frozenset(("INTERVAL", "TIME_NS", "GEOMETRY", "UNION"))
_MICROS_MAX = (2**63 - 1) // 1000
_DAY_MICROS = 86_400_000_000


class _Converter(forks.Follower):
    """A DuckDB instance that holds nothing and is only used to convert values, made on first use."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._instance: duckdb.DuckDBPyConnection | None = None
        forks.follow(self)

    def lent(self) -> list[object]:
        return [self._instance]

    def start_over(self) -> None:
        self._instance = None

    def instance(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        with self._lock:
            if self._instance is None:
                self._instance = duckdb.connect(":memory:")
                self._instance.execute("SET GLOBAL python_enable_replacements = false")
            return self._instance

    def discard(self, broken: duckdb.DuckDBPyConnection) -> None:
        with self._lock:
            if self._instance is broken:
                self._instance = None


_converter = _Converter()


def _through_duckdb(action: Callable[[duckdb.DuckDBPyConnection], Outcome]) -> Outcome:
    """Return ``action`` of a cursor that holds nothing.

    Values that break DuckDB take its whole instance with them: who meets a broken one goes on with another.
    Raises Unsupported for what DuckDB cannot convert.
    """
    import duckdb

    for is_last in (False, True):
        instance = _converter.instance()
        try:
            with instance.cursor() as cursor:
                return run_interruptibly(cursor, partial(action, cursor))
        except (duckdb.FatalException, duckdb.InternalException) as error:
            _converter.discard(instance)
            if is_last:
                raise Unsupported(f"DuckDB cannot convert these rows: cast them in the query ({error})") from error
        except duckdb.Error as error:
            raise Unsupported(
                f"DuckDB has no such form of these rows ({error}): ask for .arrow(), or cast them in the query"
            ) from error
    raise AssertionError("the second time it returns or raises")


def _select(cursor: duckdb.DuckDBPyConnection, table: pa.Table, kinds: Sequence[Kind], columns: Sequence[str]) -> Any:
    """Return a relation over ``table``, with these names for its columns, that have their DuckDB types again."""
    names = [f"c{position}" for position in range(table.num_columns)]
    cursor.register("result_rows", table.rename_columns(names))
    zones = {field.type.tz for field in table.schema if _is_zoned(field.type)}
    if zones:
        cursor.execute(f"SET TimeZone = {literal(next(iter(zones)))}")
    found = [str(kind) for kind in cursor.sql("FROM result_rows").types]
    parts = []
    for name, wanted, present, column in zip(names, kinds, found, columns, strict=True):
        is_right = wanted.is_foreign or wanted == known(present)
        parts.append(f"{quote(name) if is_right else decoded(quote(name), wanted)} AS {quote(column)}")
    return cursor.sql(f"SELECT {', '.join(parts)} FROM result_rows")


def _is_zoned(arrow_type: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None)


def _is_another(kind: str) -> bool:
    return kind.partition("(")[0] in _ANOTHER_IN_ARROW and not kind.endswith("]")


def to_arrow(table: pa.Table, types: Sequence[str]) -> pa.Table:
    """Return the rows in the Arrow types that DuckDB has for ``types``, where these hold every value.

    Raises Unsupported for an interval that Arrow's type is too small for.
    """
    import pyarrow as pa

    if not any(_is_another(kind) for kind in types):
        return table
    schema = arrow_schema(table.schema, types)
    columns = [
        arrow_column(name, column, known(kind))
        for name, column, kind in zip(table.column_names, table.columns, types, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def arrow_schema(schema: pa.Schema, types: Sequence[str]) -> pa.Schema:
    """Return what ``to_arrow`` makes of the schema of carriers."""
    import pyarrow as pa

    if not any(_is_another(kind) for kind in types):
        return schema

    shown: dict[str, pa.DataType] = {"INTERVAL": pa.month_day_nano_interval(), "TIME_NS": pa.time64("ns")}
    wkb = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": "{}"}
    fields = []
    for field, kind in zip(schema, map(known, types), strict=True):
        if kind.name == "UNION":
            shown["UNION"] = pa.sparse_union([member.with_nullable(True) for member in field.type][1:])
        new = field.with_type(shown[kind.name]) if kind.name in shown else field
        fields.append(new.with_metadata(wkb) if kind.name == "GEOMETRY" else new.remove_metadata())
    return pa.schema(fields)


def arrow_column(name: str, column: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
    """Return a column that travels as ``kind`` does in the Arrow type that there is for it; raises as ``to_arrow``."""
    import pyarrow as pa

    if kind.name == "INTERVAL":
        return pa.chunked_array(
            [_months_days_nanos(name, chunk) for chunk in column.chunks], type=pa.month_day_nano_interval()
        )
    if kind.name == "TIME_NS" and not pa.types.is_time64(column.type):
        ticks = [None if text is None else _nanoseconds(text) for text in column.to_pylist()]
        return pa.chunked_array([pa.array(ticks, pa.int64()).view(pa.time64("ns"))])
    if kind.name == "UNION":
        kinds = pa.sparse_union(list(column.type)[1:])
        return pa.chunked_array([_union(chunk, kind.labels) for chunk in column.chunks], type=kinds)
    return column


def _union(array: pa.Array, labels: Sequence[str]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    tags, *members = array.flatten()
    codes = pc.fill_null(pc.index_in(tags, pa.array(labels)), 0).cast(pa.int8())
    return pa.UnionArray.from_sparse(codes, members, field_names=list(labels))


def _nanoseconds(text: str) -> int:
    clock, _, fraction = text.partition(".")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 10**9 + int(fraction.ljust(9, "0"))


def _months_days_nanos(name: str, array: pa.Array) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    months, days, micros = (part.fill_null(0).to_numpy(zero_copy_only=False) for part in array.flatten())
    if len(micros) and (int(micros.max()) > _MICROS_MAX or int(micros.min()) < -_MICROS_MAX):
        raise Unsupported(
            f"column {name!r} holds an interval of more than 292 years in hours, which Arrow's type has no room for: "
            "cast it to VARCHAR in the query, or ask for fetchall()"
        )
    rows = np.zeros(len(array), dtype=[("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])
    rows["months"], rows["days"], rows["nanos"] = months, days, micros * 1000
    valid = pa.array(array.is_valid().to_numpy(zero_copy_only=False)).buffers()[1]
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(array), [valid, pa.py_buffer(rows.tobytes())])


def to_pandas(table: pa.Table, columns: list[str], types: Sequence[str]) -> pd.DataFrame:
    """Return what DuckDB's ``.df()`` gives for rows of these names and types.

    Raises Unsupported for values that have no form in pandas.
    """
    import pandas as pd

    if not columns:
        return pd.DataFrame()
    kinds = [known(kind) for kind in types]
    if len(set(columns)) == len(columns) and all(map(_is_plain, table.columns, kinds)):
        plain: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
        return plain
    return _in_pandas(table, columns, kinds)


def _in_pandas(table: pa.Table, columns: list[str], kinds: Sequence[Kind]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    from duckvstore.sql.results import fetched

    by_hand = [at for at, kind in enumerate(kinds) if kind.holds(_NO_PANDAS)]
    asked, of_asked = table, list(kinds)
    for at in by_hand:
        asked, of_asked[at] = asked.set_column(at, columns[at], pa.nulls(len(table), pa.int32())), Kind("INTEGER")

    def convert(cursor: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        found: pd.DataFrame = _select(cursor, asked, of_asked, columns).df()
        return found

    with warnings.catch_warnings():
        # DuckDB's conversion of zoned times uses a keyword that pandas 3.1 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        frame = _through_duckdb(convert)
    for at in by_hand:
        frame.isetitem(at, pd.Series(fetched.values(table.column(at), kinds[at]), dtype=object).array)
    return frame


def _is_plain(column: pa.ChunkedArray, kind: Kind) -> bool:
    """Whether pyarrow makes the same pandas column of it as DuckDB does (and faster)."""
    import pyarrow as pa

    arrow_type = column.type
    if carrier(kind) != kind or kind.name == "UUID":
        return False
    if pa.types.is_timestamp(arrow_type):
        return not _is_zoned(arrow_type)
    if pa.types.is_integer(arrow_type) or pa.types.is_string(arrow_type) or pa.types.is_boolean(arrow_type):
        return bool(column.null_count == 0)
    return bool(pa.types.is_float32(arrow_type) or pa.types.is_float64(arrow_type))


def to_polars(table: pa.Table, types: Sequence[str]) -> pl.DataFrame:
    """Return the rows as a polars DataFrame, intervals as durations.

    Raises Unsupported when polars is not installed, and for intervals with months, which are not durations.
    """
    try:
        import polars as pl
    except ImportError as error:
        raise Unsupported("polars is not installed: pip install polars, or ask for .df() or .arrow()") from error
    import pyarrow as pa

    for at, kind in enumerate(map(known, types)):
        name = table.column_names[at]
        if kind.name == "INTERVAL":
            table = table.set_column(at, pa.field(name, pa.duration("us")), durations(name, table.column(at)))
        elif kind.name == "TIME_NS":
            table = table.set_column(at, pa.field(name, pa.time64("ns")), arrow_column(name, table.column(at), kind))
    frame = pl.from_arrow(table) if table.num_columns else pl.DataFrame()
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a Series
    return frame


def durations(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return intervals, as they travel, as durations in microseconds. Raises Unsupported for months."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for chunk in column.chunks:
        months, days, micros = chunk.flatten()
        if pc.any(pc.not_equal(months, 0)).as_py():
            raise Unsupported(
                f"column {name!r} holds intervals with months, and polars and pandas have durations only: subtract "
                "times in the query, cast to VARCHAR, or ask for .arrow() or .df()"
            )
        try:
            whole = pc.add_checked(micros, pc.multiply_checked(days.cast(pa.int64()), _DAY_MICROS))
        except pa.ArrowException as error:
            raise Unsupported(
                f"column {name!r} holds an interval beyond what a duration in microseconds holds: cast it to VARCHAR "
                "in the query"
            ) from error
        found.append(whole.cast(pa.duration("us")))
    return pa.chunked_array(found, type=pa.duration("us"))


def to_tuples(table: pa.Table, types: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows as DuckDB's ``.fetchall()`` does; times with a zone are in UTC."""
    if not table.num_columns:
        return []
    if all(kind in _SIMPLE for kind in types):
        return _simple_tuples(table, types)
    from duckvstore.sql.results import fetched

    columns = [fetched.values(column, known(kind)) for column, kind in zip(table.columns, types, strict=True)]
    return list(zip(*columns, strict=True))


# Types whose values pyarrow gives as the same Python objects as DuckDB.
_SIMPLE = frozenset(
    f"{sign}{name}" for sign in ("", "U") for name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
) - {"UHUGEINT"} | {"FLOAT", "DOUBLE", "VARCHAR", "BOOLEAN"}


def _simple_tuples(table: pa.Table, types: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in table.columns]
    for position, kind in enumerate(types):
        if kind == "HUGEINT":  # a decimal in Arrow
            columns[position] = [None if value is None else int(value) for value in columns[position]]
    return list(zip(*columns, strict=True))


def _beginnings(table: pa.Table, types: Sequence[str], count: int) -> pa.Table:
    """Return ``table`` with ``count`` bytes of each BLOB and items of each list: each is a character or more."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, (column, kind) in enumerate(zip(table.columns, types, strict=True)):
        if kind == "BLOB":
            table = table.set_column(position, table.field(position), pc.binary_slice(column, 0, count))
        elif kind.endswith("[]") and (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
            cut = pc.list_slice(column, 0, count).cast(column.type)
            table = table.set_column(position, table.field(position), cut)
    return table


def to_texts(
    table: pa.Table, types: Sequence[str] | None = None, characters_max: int | None = None
) -> list[list[str | None]]:
    """Return the rows as DuckDB writes values in text; None for NULL. ``types``: of rows in carriers.

    ``characters_max``: only so many characters of each (None: all).
    """
    if not table.num_columns:
        return []
    if types is not None and characters_max is not None:
        table = _beginnings(table, types, characters_max)

    def convert(cursor: duckdb.DuckDBPyConnection) -> list[list[str | None]]:
        kinds = [Kind("")] * table.num_columns if types is None else [known(kind) for kind in types]
        relation = _select(cursor, table, kinds, [f"c{position}" for position in range(table.num_columns)])
        texts = (f"CAST(c{position} AS VARCHAR)" for position in range(table.num_columns))
        casts = ", ".join(text if characters_max is None else f"left({text}, {characters_max})" for text in texts)
        return [list(row) for row in relation.project(casts).fetchall()]

    return _through_duckdb(convert)
