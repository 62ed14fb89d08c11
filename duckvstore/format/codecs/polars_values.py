"""polars frames and series <-> stored tables.

The polars schema is in the document, so that a frame comes back with equal dtypes whatever Arrow
made of them on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs.arrow_values import store_array, stored_type
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.documents import Schema

_NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32", "Float64")
_SIMPLE = frozenset((*_NUMBERS, "Boolean", "String", "Binary", "Date", "Time", "Null"))

_COMPOSED = frozenset(("Datetime", "Duration", "Decimal", "Enum", "Categorical", "List", "Array", "Struct"))


def encode(value: Any, where: str) -> tuple[Schema, pa.Table]:
    """Return (schema, rows) of a polars DataFrame, LazyFrame (collected) or Series.

    Raises Unsupported naming the column and its dtype for what Parquet cannot hold exactly.
    """
    import polars as pl

    series = isinstance(value, pl.Series)
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    elif series:
        value = value.to_frame()
    if not isinstance(value, pl.DataFrame):
        raise InvalidInput(f"{where} cannot be stored: it is a polars {type(value).__name__}; give a DataFrame")
    names = schemas.unique_names(value.columns)
    dtypes = [_dtype_to_json(dtype, f"column {name!r} of {where}") for name, dtype in value.schema.items()]
    body = {"names": value.columns, "dtypes_polars": dtypes, "series": series}
    if value.height and not value.width:
        raise Unsupported(f"{where} is a polars frame of {value.height} rows without columns: add a column")
    raw = value.to_arrow()
    types = [_natural(stored_type(field.type, f"column {field.name!r} of {where}")) for field in raw.schema]
    schema = schemas.from_arrow(pa.schema(list(zip(names, types, strict=True))), value=body)
    arrays = [
        store_array(_decoded(column, kind), kind, f"column {name!r} of {where}")
        for name, column, kind in zip(value.columns, raw.columns, types, strict=True)
    ]
    return schema, pa.Table.from_arrays(arrays, schema=schemas.to_arrow(schema))


def _natural(arrow_type: pa.DataType) -> pa.DataType:
    """Use signed 32-bit codes in dictionaries, which Arrow and DuckDB handle best."""
    if pa.types.is_dictionary(arrow_type):
        return pa.dictionary(pa.int32(), arrow_type.value_type, arrow_type.ordered)
    return arrow_type


def _decoded(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Recode a dictionary's indices; one dictionary for all chunks."""
    if not pa.types.is_dictionary(target) or column.type == target:
        return column
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices.cast(pa.int32()), chunk.dictionary.cast(target.value_type), ordered=target.ordered
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type=target)


def decode(table: pa.Table, schema: Schema, names: Sequence[str] | None = None) -> Any:
    """Return the polars DataFrame or Series of ``table``'s rows, for the stored column ``names`` (None: all)."""
    import polars as pl

    originals = dict(zip(schema.names, schema.value["names"], strict=True))
    dtypes = dict(zip(schema.names, schema.value["dtypes_polars"], strict=True))
    wanted = schemas.present(schema.names, table) if names is None else list(names)
    columns = {}
    for name in wanted:
        dtype = _dtype_from_json(dtypes[name])
        plain = pa.table([table.column(name)], names=[name])
        column = pl.DataFrame(plain).to_series()
        try:
            columns[originals[name]] = column if column.dtype == dtype else column.cast(dtype)
        except pl.exceptions.PolarsError as error:  # a value that is none of an Enum's, say
            raise ValueError(f"column {name!r} is no {dtype}: {error}") from error
    if schema.value["series"]:
        ((name, column),) = columns.items()
        return column.alias(name)
    return pl.DataFrame(columns)  # a list of series would rename one without a name


def from_arrow(table: pa.Table) -> Any:
    """Return any stored ``table`` as a polars frame. Raises Unsupported for a type that polars does not have."""
    import polars as pl

    arrays = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if pa.types.is_decimal256(kind) or (pa.types.is_map(kind) and not hasattr(pl, "Map")):
            raise Unsupported(
                f"column {field.name!r} has the type {kind}, which polars does not have: read it as Arrow"
            )
        arrays.append(column.cast(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else column)
    return pl.DataFrame(pa.Table.from_arrays(arrays, names=table.schema.names))


def dtype_of(kind: pa.DataType, where: str) -> Any:
    """Return the JSON of the dtype that polars gives to an Arrow type. Raises Unsupported for one that has none."""
    import polars as pl

    return _dtype_to_json(pl.DataFrame(pa.table([pa.nulls(0, kind)], names=["column"])).dtypes[0], where)


def _dtype_to_json(dtype: Any, where: str) -> Any:
    import polars as pl

    name = dtype.base_type().__name__
    if name in _SIMPLE:
        return name
    if isinstance(dtype, pl.Datetime):
        return {name: [dtype.time_unit, dtype.time_zone]}
    if isinstance(dtype, pl.Duration):
        return {name: [dtype.time_unit]}
    if isinstance(dtype, pl.Decimal):
        return {name: [dtype.precision, dtype.scale]}
    if isinstance(dtype, pl.Enum):
        return {name: [dtype.categories.to_list()]}
    if isinstance(dtype, pl.Categorical) and dtype == pl.Categorical():
        return {name: []}
    if isinstance(dtype, pl.List):
        return {name: [_dtype_to_json(dtype.inner, where)]}
    if isinstance(dtype, pl.Array) and dtype.size:
        return {name: [_dtype_to_json(dtype.inner, where), dtype.size]}
    if isinstance(dtype, pl.Struct) and dtype.fields:
        return {name: [[field.name, _dtype_to_json(field.dtype, where)] for field in dtype.fields]}
    raise Unsupported(f"{where} has the polars dtype {dtype}, which cannot be stored: cast it to another dtype")


def _dtype_from_json(value: Any) -> Any:
    import polars as pl

    if isinstance(value, str):
        return getattr(pl, _known(value, _SIMPLE))()
    name, body = next(iter(value.items()))
    _known(name, _COMPOSED)
    if name == "Struct":
        return pl.Struct([pl.Field(field, _dtype_from_json(dtype)) for field, dtype in body])
    if name in ("List", "Array"):
        return getattr(pl, name)(_dtype_from_json(body[0]), *body[1:])
    return getattr(pl, name)(*body)


def _known(name: str, names: frozenset[str]) -> str:
    """Return ``name`` if it is one of a dtype: polars has functions too, which read files."""
    if name not in names:
        raise ValueError(f"{name!r} is no dtype of polars")
    return name
