"""Values of every kind <-> Arrow tables, and the conversion to an output format.

``decode(encode(x))`` equals ``x``, type included; what could not come back equal is refused by
``encode``. Each kind has a module of its own, loaded on use: pandas_frames, arrow_values, polars_values,
numpy_values, composite.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs import arrow_values, composite, tables
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.format.codecs.pandas_indexes import Rows
    from duckvstore.format.rows.value_rows import Encoded, Nested
    from duckvstore.format.stored.documents import Schema

OUTPUT_FORMATS = ("pandas", "polars", "pyarrow")


def encode(
    value: object, *, where: str, allow_pickle: bool = False, index_column: str | None = None
) -> Encoded | Nested:
    """Return ``value`` as Arrow rows and the schema that brings it back; a dict, list or tuple with tables taken apart.

    Args:
        value: a pandas DataFrame or Series, an Arrow Table, RecordBatch or RecordBatchReader, a polars DataFrame,
            LazyFrame or Series, a numpy array, anything with ``__arrow_c_stream__`` (streamed), or a JSON-able value.
        where: names the value in errors, such as ``'eod/trades'`` with its quotes.
        allow_pickle: pickle what cannot be stored otherwise. Reading a pickle runs code, and has to be allowed too.
        index_column: the column of an Arrow or polars table by whose times its rows go, as by an index.

    Raises:
        InvalidInput: the value or one of its columns cannot be stored; the message names column and type.
        Unsupported: a column's type could not come back equal.
    """
    if index_column is not None:
        return _with_index(value, index_column, where)
    try:
        return tables.encode_table(value, where) if tables.is_table(value) else composite.encode(value, where)
    except (InvalidInput, Unsupported):
        if not allow_pickle:
            raise
        return composite.encode_pickle(value, where)


def _with_index(value: object, column: str, where: str) -> Encoded:
    """Return an Arrow or polars table, or a stream, whose index is ``column``, where it is.

    Raises InvalidInput when it is not a column of times, and for other kinds of values.
    """
    encoded = tables.encode_table(value, where) if tables.is_table(value) else None
    if encoded is None or encoded.kind not in ("arrow", "polars") or encoded.schema.value.get("series"):
        advice = "set_index() it instead" if encoded is not None and "index" in encoded.schema.value else "leave it out"
        raise InvalidInput(
            f"index_column={column!r} is for Arrow and polars tables, and {where} is a {type(value).__name__}: {advice}"
        )
    names = tables.stored_columns(encoded.schema, [column])
    if len(names) > 1:
        raise InvalidInput(f"{where} has {len(names)} columns {column!r}, so none can be its index: rename the others")
    kind = schemas.to_arrow(encoded.schema).field(names[0]).type
    if not pa.types.is_timestamp(kind):
        raise InvalidInput(
            f"column {column!r} of {where} is of type {kind}, and an index_column holds timestamps: cast it "
            "(pl.Datetime, pa.timestamp), or leave index_column out"
        )
    return replace(encoded, schema=replace(encoded.schema, index=tuple(names)))


def decode(
    table: pa.Table,
    kind: str,
    schema: Schema,
    *,
    columns: Sequence[object] | None = None,
    rows: Rows | None = None,
    arrays: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Any:
    """Return the value as it was written, or the part of it that ``table`` holds.

    Args:
        table: rows in the stored schema, with all its columns or with the index levels and some others.
        kind: the document's kind of value.
        schema: the document's schema.
        columns: labels of the columns to return, in this order; None means all that ``table`` has.
        rows: which rows of the version ``table`` holds, as a ``range`` or an array of positions; None means
            the first ``table.num_rows``. Only the labels of a RangeIndex and an index's frequency depend on it.
        arrays: columns that ``numpy_dtypes`` names, which are here instead of in ``table``; taken over, not copied.
        allow_pickle: load a pickle, which RUNS CODE that its writer chose.

    Raises:
        InvalidInput: the value is a pickle and ``allow_pickle`` is not set, or it has no parts and one is asked for.
        NoSuchColumn: a label is not there; the message has the nearest names.
        Unsupported: a newer release wrote the value.
    """
    if kind in ("json", "pickle"):
        composite.refuse_parts(kind, schema.value, "the value", columns=columns)
        if kind == "json":
            return composite.decode_json(table)
        return composite.decode_pickle(table, allow_pickle=allow_pickle)
    return tables.decode(table, kind, schema, columns=columns, rows=rows, arrays=arrays)


def to_format(
    table: pa.Table,
    kind: str,
    schema: Schema,
    output_format: str,
    *,
    columns: Sequence[object] | None = None,
    rows: Rows | None = None,
    arrays: Mapping[str, Any] | None = None,
) -> Any:
    """Return ``table`` as "pandas", "polars" or "pyarrow", whatever kind of value was written.

    A pandas frame as polars or Arrow has its index levels as leading columns, and the names that SQL sees; the Arrow
    table's ``to_pandas()`` gives the frame back. The other arguments are those of ``decode``. Raises InvalidInput for
    another format.
    """
    if kind == "nested":
        raise InvalidInput(f"a nested value has no {output_format} form: read it without output_format")
    if kind in ("dataframe", "series") and output_format == "pandas":
        return decode(table, kind, schema, columns=columns, rows=rows, arrays=arrays)
    if (kind, output_format) in (("arrow", "pyarrow"), ("polars", "polars")):
        return decode(table, kind, schema, columns=columns)
    wanted = table.select(schemas.present(schema.shown_names, table))
    if columns is not None:
        wanted = table.select(tables.after_index(schema, tables.stored_columns(schema, columns)))
    plain = arrow_values.plain_table(wanted)
    if output_format == "pandas":
        try:
            return plain.to_pandas()
        except (pa.ArrowException, ValueError) as error:  # a date before the year 1, say
            raise Unsupported(f"these rows have no pandas form ({error}): read them as pyarrow") from error
    if output_format == "polars":
        from duckvstore.format.codecs import polars_values

        return polars_values.from_arrow(plain)
    if output_format != "pyarrow":
        raise InvalidInput(f"there is no output format {output_format!r}: use one of {', '.join(OUTPUT_FORMATS)}")
    if kind in ("dataframe", "series"):
        from duckvstore.format.codecs import pandas_notes

        labels = columns if kind == "dataframe" else None
        none = partial(decode, table.slice(0, 0), kind, schema, columns=labels)
        return pandas_notes.described(plain, none, schema, rows)
    return plain


def row_count_without_columns(schema: Schema) -> int:
    """Return the number of rows of a value without columns of its own: of its RangeIndex, or of its leaves."""
    if "leaves" in schema.value:
        return sum(leaf["row_count"] for leaf in schema.value["leaves"])
    if "range" not in schema.value.get("index", ()):
        return 0
    from duckvstore.format.codecs import pandas_arrays

    return len(pandas_arrays.index_from_json(schema.value["index"]))
