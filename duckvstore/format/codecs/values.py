"""Values of every kind <-> Arrow tables, and the conversion to an output format.

Invariant: ``decode(encode(x))`` equals ``x``, type included; what could not come back equal is refused by
``encode``. Each kind has a module of its own, loaded on use: pandas_frames, arrow_values, polars_values,
numpy_values, composite.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput, NoSuchColumn, Unsupported, nearest
from duckvstore.format.codecs import arrow_values
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.schema import decode_ipc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.format.codecs.pandas_indexes import Rows
    from duckvstore.format.stored.documents import Schema

OUTPUT_FORMATS = ("pandas", "polars", "pyarrow")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as rows in the stored schema: ``table``, or ``reader`` for what is streamed (the other is None).

    In a reader, columns of text may come as dictionaries, whose stored type is that of the text. ``first_level``: the
    first index level of what is streamed, where it is known before.
    """

    kind: str
    schema: Schema
    table: pa.Table | None
    reader: pa.RecordBatchReader | None
    first_level: pa.Array | pa.ChunkedArray | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A dict, list or tuple taken apart: ``tree`` as JSON, and its tables with their places in it.

    The tree of one that is large is None, and the last leaf, of kind "tree", is its text.
    """

    tree: Any
    leaves: list[tuple[str, Encoded]]


def encode(value: object, *, where: str, allow_pickle: bool = False) -> Encoded:
    """Return ``value`` as Arrow rows and the schema that brings it back.

    Args:
        value: a pandas DataFrame or Series, an Arrow Table, RecordBatch or RecordBatchReader, a polars DataFrame,
            LazyFrame or Series, a numpy array, anything with ``__arrow_c_stream__`` (streamed), or a JSON-able value.
        where: names the value in errors, such as ``'eod/trades'`` with its quotes.
        allow_pickle: pickle what cannot be stored otherwise. Reading a pickle runs code, and has to be allowed too.

    Raises:
        InvalidInput: the value or one of its columns cannot be stored; the message names column and type.
        Unsupported: a column's type could not come back equal.
    """
    encoded = encode_any(value, where=where, allow_pickle=allow_pickle)
    if isinstance(encoded, Nested):
        raise InvalidInput(
            f"{where} is a {type(value).__name__} that holds a table at {encoded.leaves[0][0]}: give one table"
        )
    return encoded


def encode_any(
    value: object, *, where: str, allow_pickle: bool = False, index_column: str | None = None
) -> Encoded | Nested:
    """Return what ``encode`` does, or a dict, list or tuple that has tables in it taken apart; raises as it does.

    ``index_column``: the column of an Arrow or polars table by whose times its rows go, as by an index.
    """
    from duckvstore.format.codecs import composite

    if index_column is not None:
        return _with_index(value, index_column, where)
    try:
        return encode_table(value, where) if is_table(value) else composite.encode(value, where)
    except (InvalidInput, Unsupported):
        if not allow_pickle:
            raise
        return composite.encode_pickle(value, where)


def _with_index(value: object, column: str, where: str) -> Encoded:
    """Return an Arrow or polars table, or a stream, whose index is ``column``, where it stands.

    Raises InvalidInput where it is no column of times, and for another kind of value.
    """
    encoded = encode_table(value, where) if is_table(value) else None
    if encoded is None or encoded.kind not in ("arrow", "polars") or encoded.schema.value.get("series"):
        advice = "set_index() it instead" if encoded is not None and "index" in encoded.schema.value else "leave it out"
        raise InvalidInput(
            f"index_column={column!r} is for Arrow and polars tables, and {where} is a {type(value).__name__}: {advice}"
        )
    names = stored_columns(encoded.schema, [column])
    if len(names) > 1:
        raise InvalidInput(f"{where} has {len(names)} columns {column!r}, so none can be its index: rename the others")
    kind = schemas.to_arrow(encoded.schema).field(names[0]).type
    if not pa.types.is_timestamp(kind):
        raise InvalidInput(
            f"column {column!r} of {where} is of type {kind}, and an index_column holds timestamps: cast it "
            "(pl.Datetime, pa.timestamp), or leave index_column out"
        )
    return replace(encoded, schema=replace(encoded.schema, index=tuple(names)))


def is_table(value: object) -> bool:
    """Return whether ``value`` is of a kind that is stored as a table, as far as its type says."""
    if isinstance(value, (pa.Table, pa.RecordBatch)) or hasattr(value, "__arrow_c_stream__"):
        return True
    if type(value).__module__.partition(".")[0] == "polars":
        return True
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return True
    return numpy is not None and isinstance(value, numpy.ndarray)


def encode_table(value: Any, where: str) -> Encoded:
    """Return a value that ``is_table`` as Arrow rows; raises as ``encode`` does."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        from duckvstore.format.codecs import pandas_frames

        return Encoded("dataframe", *pandas_frames.encode_frame(value, where))
    if pandas is not None and isinstance(value, pandas.Series):
        from duckvstore.format.codecs import pandas_frames

        return Encoded("series", *pandas_frames.encode_series(value, where), None)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
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
    if kind in ("dataframe", "series"):
        from duckvstore.format.codecs import pandas_frames

        if kind == "dataframe":
            return pandas_frames.decode_frame(table, schema, columns, rows, arrays or {})
        if columns is not None:
            _check_has_values(stored_columns(schema, columns), columns)
        return pandas_frames.decode_series(table, schema, rows, arrays or {})
    if kind in ("json", "pickle"):
        from duckvstore.format.codecs import composite

        composite.refuse_parts(kind, schema.value, "the value", columns=columns)
        if kind == "json":
            return composite.decode_json(table)
        return composite.decode_pickle(table, allow_pickle=allow_pickle)
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
    if output_format not in OUTPUT_FORMATS:
        raise InvalidInput(f"there is no output format {output_format!r}: use one of {', '.join(OUTPUT_FORMATS)}")
    if kind == "nested":
        raise InvalidInput(f"a nested value has no {output_format} form: read it without output_format")
    if kind in ("dataframe", "series") and output_format == "pandas":
        return decode(table, kind, schema, columns=columns, rows=rows, arrays=arrays)
    if (kind, output_format) in (("arrow", "pyarrow"), ("polars", "polars")):
        return decode(table, kind, schema, columns=columns)
    wanted = table.select(schemas.present(schema.shown_names, table))
    if columns is not None:
        wanted = table.select(after_index(schema, stored_columns(schema, columns)))
    plain = arrow_values.plain_table(wanted)
    if output_format == "pandas":
        try:
            return plain.to_pandas()
        except (pa.ArrowException, ValueError) as error:  # a date before the year 1, say
            raise Unsupported(f"these rows have no pandas form ({error}): read them as pyarrow") from error
    if output_format == "polars":
        from duckvstore.format.codecs import polars_values

        return polars_values.from_arrow(plain)
    if kind in ("dataframe", "series"):
        from duckvstore.format.codecs import pandas_notes

        labels = columns if kind == "dataframe" else None
        none = partial(decode, table.slice(0, 0), kind, schema, columns=labels)
        return pandas_notes.described(plain, none, schema, rows)
    return plain


def _check_has_values(names: Sequence[str], columns: Sequence[object] | None) -> None:
    if not names:
        raise InvalidInput(
            f"columns={list(columns or ())!r} leaves nothing of a series, which has one column: leave columns out"
        )


def after_index(schema: Schema, names: Sequence[str]) -> list[str]:
    """Return the stored columns ``names``, behind those of the index that are not among them."""
    return [*(level for level in schema.index if level not in names), *names]


def row_count_without_columns(schema: Schema) -> int:
    """Return the number of rows of a value without columns of its own: of its RangeIndex, or of its leaves."""
    if "leaves" in schema.value:
        return sum(leaf["row_count"] for leaf in schema.value["leaves"])
    if "range" not in schema.value.get("index", ()):
        return 0
    from duckvstore.format.codecs import pandas_indexes

    return len(pandas_indexes.index_from_json(schema.value["index"]))


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
