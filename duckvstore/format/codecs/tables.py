"""Tables of every kind <-> Arrow rows, and which stored columns a caller's labels mean.

Each kind has a module of its own, loaded on use: pandas_frames, arrow_values, polars_values, numpy_values.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput, NoSuchColumn, Unsupported, nearest
from duckvstore.format.codecs import arrow_values
from duckvstore.format.rows.value_rows import Encoded
from duckvstore.format.stored.schema import decode_ipc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.format.codecs.pandas_indexes import Rows
    from duckvstore.format.stored.documents import Schema


def is_table(value: object) -> bool:
    """Return whether ``value`` is of a kind that is stored as a table, as far as its type says."""
    if isinstance(value, (pa.Table, pa.RecordBatch)) or hasattr(value, "__arrow_c_stream__"):
        return True
    if type(value).__module__.partition(".")[0] == "polars":
        return True
    names = (("pandas", "DataFrame"), ("pandas", "Series"), ("numpy", "ndarray"))
    return any(is_kind(value, module, name) for module, name in names)


def is_kind(value: object, module: str, name: str) -> bool:
    """Return whether ``value`` is an instance of ``module.name``, without importing a module that nobody uses.

    Nor is one looked into that another thread is importing just now: nothing can be of its kinds yet.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def encode_table(value: Any, where: str) -> Encoded:
    """Return a value that ``is_table`` as Arrow rows; raises as ``encode`` does."""
    if is_kind(value, "pandas", "DataFrame"):
        from duckvstore.format.codecs import pandas_frames

        return Encoded("dataframe", *pandas_frames.encode_frame(value, where))
    if is_kind(value, "pandas", "Series"):
        from duckvstore.format.codecs import pandas_frames

        return Encoded("series", *pandas_frames.encode_series(value, where), None)
    if is_kind(value, "numpy", "ndarray"):
        from duckvstore.format.codecs import numpy_values

        return Encoded("ndarray", *numpy_values.encode(value, where), None)
    if type(value).__module__.partition(".")[0] == "polars":
        from duckvstore.format.codecs import polars_values

        return Encoded("polars", *polars_values.encode(value, where), None)
    return _encode_arrow(value, where)


def _encode_arrow(value: Any, where: str) -> Encoded:
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    if isinstance(value, pa.Table):
        return Encoded("arrow", *arrow_values.encode_table(value, where), None)
    try:
        reader = value if isinstance(value, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(value)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{where} is a {type(value).__name__} whose Arrow stream is not one of record batches: {error}; "
            "give a table"
        ) from error
    schema, stored = arrow_values.encode_stream(reader, where)
    return Encoded("arrow", schema, None, stored)


def decode(
    table: pa.Table,
    kind: str,
    schema: Schema,
    *,
    columns: Sequence[object] | None = None,
    rows: Rows | None = None,
    arrays: Mapping[str, Any] | None = None,
) -> Any:
    """Return the table as it was written, or the part of it that ``table`` holds; arguments are ``values.decode``'s.

    Raises NoSuchColumn for a label that is not there, InvalidInput for a series without its column, and Unsupported
    where a newer release wrote the value.
    """
    if kind in ("dataframe", "series"):
        from duckvstore.format.codecs import pandas_frames

        if kind == "dataframe":
            return pandas_frames.decode_frame(table, schema, columns, rows, arrays or {})
        if columns is not None:
            _check_has_values(stored_columns(schema, columns), columns)
        return pandas_frames.decode_series(table, schema, rows, arrays or {})
    names = None if columns is None else after_index(schema, stored_columns(schema, columns))
    if kind == "arrow":
        return arrow_values.decode_table(table, schema, names)
    if kind == "polars":
        from duckvstore.format.codecs import polars_values

        if schema.value["series"] and names is not None:
            _check_has_values(names, columns)
        return polars_values.decode(table, schema, names)
    if kind == "ndarray":
        from duckvstore.format.codecs import numpy_values

        return numpy_values.decode(table, schema)
    raise Unsupported(f"a value of kind {kind!r} cannot be decoded by this release: upgrade duckvstore")


def _check_has_values(names: Sequence[str], columns: Sequence[object] | None) -> None:
    if not names:
        raise InvalidInput(
            f"columns={list(columns or ())!r} leaves nothing of a series, which has one column: leave columns out"
        )


def after_index(schema: Schema, names: Sequence[str]) -> list[str]:
    """Return the stored columns ``names``, after those of the index that are not among them."""
    return [*(level for level in schema.index if level not in names), *names]


def text_objects(schema: Schema) -> tuple[str, ...]:
    """Return the stored names of a pandas value's columns of text objects, faster made of dictionaries."""
    specs = schema.value["dtypes"]
    names = schema.shown_names[len(schema.index) :]
    return tuple(
        name
        for name, spec in zip(names, specs, strict=True)
        if isinstance(spec, dict) and (spec["type"], spec.get("of")) == ("object", "str")
    )


def numpy_dtypes(schema: Schema, stored: Sequence[str] | None) -> dict[str, Any]:
    """Return the dtypes of a pandas value's columns that can be put together in numpy arrays; ``stored`` of them."""
    from duckvstore.format.codecs import pandas_frames

    return pandas_frames.numpy_dtypes(schema, schema.names if stored is None else stored)


def needed_columns(schema: Schema, stored: Sequence[str]) -> list[str]:
    """Return the stored names of all columns that ``decode`` needs for those, each once: index levels come along."""
    names = list(dict.fromkeys([*schema.index, *stored]))
    if "markers" not in schema.value:
        return names
    from duckvstore.format.codecs import markers

    return [*names, *markers.columns_for(schema, names)]


def labels(schema: Schema) -> list[str]:
    """Return the names that the columns of an Arrow or polars table came with; of others, the stored ones."""
    if "schema" in schema.value:
        return list(decode_ipc(schema.value["schema"]).names)
    return list(schema.value.get("names", schema.names))


def stored_columns(schema: Schema, columns: Sequence[object]) -> list[str]:
    """Return the stored names of the columns with these labels, in their order; index levels are not among them.

    Raises NoSuchColumn, with the nearest names, for a label that the value does not have.
    """
    if "dtypes" in schema.value:
        from duckvstore.format.codecs import pandas_frames

        names = pandas_frames.value_names(schema)
        return [names[position] for position in pandas_frames.column_positions(schema, columns)]
    original = labels(schema)
    found: list[str] = []
    for label in columns:
        matches = [stored for stored, name in zip(schema.names, original, strict=True) if name == label]
        if not matches:
            close = nearest(str(label), original)
            raise NoSuchColumn(f"there is no column {label!r} among {len(original)} columns.{close}")
        found.extend(matches)
    return found
