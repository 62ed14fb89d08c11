"""pandas DataFrames and Series <-> stored tables.

``decode_frame(encode_frame(x))`` equals ``x`` under ``assert_frame_equal`` with nothing loosened, and
its ``attrs`` are equal. The index levels are the leading columns; a RangeIndex is only in the document.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from duckvstore.concurrency import CPU
from duckvstore.errors import InvalidInput, NoSuchColumn, nearest
from duckvstore.format.codecs import markers
from duckvstore.format.codecs.pandas_arrays import (
    decode_array,
    encode_array,
    encode_block,
    index_from_json,
    index_to_json,
    is_of_numpy,
    numpy_dtype,
    raw_values,
)
from duckvstore.format.codecs.pandas_indexes import decode_rows, encode_rows
from duckvstore.format.codecs.pandas_objects import (
    CODED_TEXT,
    Spec,
    encode_coded_text,
    encode_text,
    has_few_values,
    is_text,
)
from duckvstore.format.stored import labels, metadata
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from duckvstore.format.codecs.pandas_indexes import Rows
    from duckvstore.format.stored.documents import Schema

PARALLEL_CELLS_MIN = 1_000_000
WIDE_COLUMNS_MIN, WIDE_ROWS_MAX = 100, 16_384
TEXT_BATCHES_ROWS_MIN = 500_000
TEXT_BATCH_ROWS = 65_536
_NONE: Mapping[str, np.ndarray] = MappingProxyType({})


def encode_frame(frame: pd.DataFrame, where: str) -> tuple[Schema, pa.Table | None, pa.RecordBatchReader | None, Any]:
    """Return (schema, rows, None, None) of a dataframe; of a large one with text objects (schema, None, reader, level).

    Making Arrow text of Python objects is slow and holds the GIL; read in batches, it overlaps what other
    threads do with the batches before. The reader's schema is the stored one, except that text of few distinct
    values comes as dictionaries; ``level`` is the first index level (None: there is none). Raises InvalidInput or
    Unsupported naming the column.
    """
    if type(frame) is not pd.DataFrame:
        raise _subclass(frame, "DataFrame", where)
    _check_flags(frame, where)
    # First of all: pandas copies the attributes to each column, as deep as they are.
    attributes = metadata.to_json(dict(frame.attrs), where=f"attrs of {where}")
    arrays, sql_labels, index, codes = encode_rows(frame.index, where)
    dtypes = []
    later: dict[int, Any] = {}
    column_labels = frame.columns.tolist()
    blocks = _encode_blocks(frame, where)
    for position, label in enumerate(column_labels):
        if position in blocks:
            array, spec = blocks[position]
            arrays.append(array)
            codes.append(None)
            dtypes.append(spec)
            continue
        whole = raw_values(frame.iloc[:, position])
        place = f"column {label!r} of {where}"
        is_later = len(frame) >= TEXT_BATCHES_ROWS_MIN and is_text(whole)
        if is_later:
            later[len(arrays)] = (whole, place)
        plain, marked = markers.split(whole[:1] if is_later else whole)
        array, spec = encode_array(plain, place)
        arrays.append(array)
        codes.append(marked)
        dtypes.append(spec)
    value = {
        "columns": index_to_json(frame.columns, f"the columns of {where}"),
        "dtypes": dtypes,
        "index": index,
        "attrs": attributes,
    }
    schema, arrays = _schema(arrays, codes, [*sql_labels, *column_labels], len(sql_labels), value)
    stored = schemas.to_arrow(schema)
    if not later:
        return schema, pa.Table.from_arrays(arrays, schema=stored), None, None
    for position, (raw, _) in later.items():
        if has_few_values(raw):
            stored = stored.set(position, stored.field(position).with_type(CODED_TEXT))
    reader = pa.RecordBatchReader.from_batches(stored, _batches(arrays, later, stored, len(frame)))
    return schema, None, reader, arrays[0] if schema.index else None


def _encode_blocks(frame: pd.DataFrame, where: str) -> dict[int, tuple[pa.Array, Spec]]:
    """Return the (Arrow array, spec) of each column that is one of many of its dtype, by position.

    pandas takes some 50 microseconds to make a Series of each. Many columns of one dtype are one array in it, or soon
    copied to one where rows are few.
    """
    found: dict[int, tuple[pa.Array, Spec]] = {}
    if frame.shape[1] < WIDE_COLUMNS_MIN or len(frame) > WIDE_ROWS_MAX:
        return found
    dtypes = frame.dtypes.to_numpy()
    for kind in set(dtypes):
        if not isinstance(kind, np.dtype) or kind.kind not in "iuf" or kind.itemsize > 8 or not kind.isnative:
            continue  # pandas does not even select several columns of another byte order
        positions = np.flatnonzero(dtypes == kind)
        if len(positions) >= WIDE_COLUMNS_MIN:
            part = frame if len(positions) == len(dtypes) else frame.iloc[:, positions]
            arrays, spec = encode_block(part.to_numpy().T, where)
            found |= zip(positions.tolist(), ((array, spec) for array in arrays), strict=True)
    return found


def _batches(
    arrays: list[Any], later: dict[int, tuple[Any, str]], made: pa.Schema, row_count: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches of the schema ``made``; columns of ``later`` (values, place) become Arrow here."""
    for start in range(0, row_count, TEXT_BATCH_ROWS):
        stop = min(start + TEXT_BATCH_ROWS, row_count)
        columns = []
        for position, array in enumerate(arrays):
            if position not in later:
                columns.append(_piece(array, start, stop))
                continue
            raw, place = later[position]
            encode = encode_coded_text if made.field(position).type == CODED_TEXT else encode_text
            columns.append(encode(raw[start:stop], place))
        yield pa.RecordBatch.from_arrays(columns, schema=made)


def _piece(array: Any, start: int, stop: int) -> Any:
    piece = array.slice(start, stop - start)
    return piece.combine_chunks() if isinstance(piece, pa.ChunkedArray) else piece


def encode_series(series: pd.Series, where: str) -> tuple[Schema, pa.Table]:
    """Return (schema, rows) of a series; an unnamed one is the column ``value`` in SQL."""
    if type(series) is not pd.Series:
        raise _subclass(series, "Series", where)
    _check_flags(series, where)
    arrays, sql_labels, index, codes = encode_rows(series.index, where)
    label = "value" if series.name is None else series.name
    plain, marked = markers.split(raw_values(series))
    array, spec = encode_array(plain, f"the series {label!r} of {where}")
    value = {
        "name": labels.label_to_json(series.name, where=f"the series' name of {where}"),
        "dtypes": [spec],
        "index": index,
        "attrs": metadata.to_json(dict(series.attrs), where=f"attrs of {where}"),
    }
    schema, every = _schema([*arrays, array], [*codes, marked], [*sql_labels, label], len(sql_labels), value)
    return schema, pa.Table.from_arrays(every, schema=schemas.to_arrow(schema))


def _check_flags(value: pd.DataFrame | pd.Series, where: str) -> None:
    if not value.flags.allows_duplicate_labels:
        raise InvalidInput(
            f"{where} has the flag allows_duplicate_labels=False, which would be lost: store "
            "value.set_flags(allows_duplicate_labels=True)"
        )


def _subclass(value: Any, plain: str, where: str) -> InvalidInput:
    kind = type(value)
    return InvalidInput(
        f"{where} is a {kind.__module__}.{kind.__name__}, which would come back as a plain {plain}: "
        f"convert it with pd.{plain}(value)"
    )


def _schema(
    arrays: list[Any], codes: list[Any], column_labels: list[Any], level_count: int, value: dict[str, Any]
) -> tuple[Schema, list[Any]]:
    """Return (schema, its arrays): index levels, columns, and the codes of missing markers (None: there are none)."""
    found = {position: array for position, array in enumerate(codes) if array is not None}
    labels_of_codes = [f"{markers.PREFIX}{column_labels[position]}" for position in found]
    names = schemas.unique_names([*column_labels, *labels_of_codes])
    if found:  # field ids count from 1, in this order
        ids = enumerate(found, start=len(arrays) + 1)
        value = {**value, "markers": {str(position + 1): identity for identity, position in ids}}
    every = [*arrays, *found.values()]
    fields = pa.schema(zip(names, (array.type for array in every), strict=True))
    return schemas.from_arrow(fields, index=names[:level_count], value=value), every


def column_positions(schema: Schema, columns: Sequence[object]) -> list[int]:
    """Return the positions among the value's columns of the given labels, in their order.

    A label that several columns have gives all of them; the name of an index level gives none (the index is
    always there). Raises NoSuchColumn with the nearest names.
    """
    known = _columns_index(schema)
    levels = _level_names(schema)
    positions: list[int] = []
    for label in columns:
        try:
            found: Any = known.get_loc(label)
        except (KeyError, TypeError, ValueError, pd.errors.InvalidIndexError) as error:
            if any(label is level or label == level for level in levels):
                continue
            close = nearest(str(label), [str(other) for other in [*known, *levels]])
            raise NoSuchColumn(f"there is no column {label!r} among {len(known)} columns.{close}") from error
        positions.extend([found] if isinstance(found, int) else np.arange(len(known))[found].tolist())
    return positions


def _columns_index(schema: Schema) -> pd.Index:
    if "columns" in schema.value:
        return index_from_json(schema.value["columns"])
    only: pd.Index = pd.Index([labels.label_from_json(schema.value["name"])], tupleize_cols=False)
    return only


def _level_names(schema: Schema) -> list[Any]:
    index = schema.value["index"]
    if "columns" in index:
        return [labels.label_from_json(spec["name"]) for spec in index["columns"] if "name" in spec]
    return [labels.label_from_json(index["name"])] if "name" in index else []


def value_names(schema: Schema) -> tuple[str, ...]:
    """Return the stored names of the columns that are not index levels."""
    return schema.shown_names[len(schema.index) :]


def decode_frame(
    table: pa.Table,
    schema: Schema,
    columns: Sequence[object] | None = None,
    rows: Rows | None = None,
    arrays: Mapping[str, np.ndarray] = _NONE,
) -> pd.DataFrame:
    """Return the dataframe of ``table``'s rows, with the columns of these labels (None: all that it has).

    ``arrays``: columns that are not in the table; the frame takes them over.
    """
    names = value_names(schema)
    if columns is None:
        present = {*table.schema.names, *arrays}
        positions = [position for position, name in enumerate(names) if name in present]
    else:
        positions = column_positions(schema, columns)
    whole = index_from_json(schema.value["columns"])
    labels_wanted = whole if positions == list(range(len(names))) else whole.take(positions)
    index = _decode_index(table, schema, rows, arrays)
    specs = schema.value["dtypes"]
    wanted = [(names[position], specs[position]) for position in positions]
    frame = _make_frame(_decode_all(table, schema, wanted, arrays), index)
    frame.columns = labels_wanted
    frame.attrs = metadata.from_json(schema.value["attrs"])
    return frame


def decode_series(
    table: pa.Table, schema: Schema, rows: Rows | None = None, arrays: Mapping[str, np.ndarray] = _NONE
) -> pd.Series:
    """Return the series of ``table``'s rows; ``arrays`` as in ``decode_frame``."""
    index = _decode_index(table, schema, rows, arrays)
    (values,) = _decode_all(table, schema, [(value_names(schema)[0], schema.value["dtypes"][0])], arrays)
    series: pd.Series = pd.Series(values, index=index, dtype=values.dtype, copy=False)
    series.name = labels.label_from_json(schema.value["name"])
    series.attrs = metadata.from_json(schema.value["attrs"])
    return series


def numpy_dtypes(schema: Schema, stored: Collection[str]) -> dict[str, np.dtype]:
    """Return the dtypes of the columns and index levels among ``stored`` that are numbers or times of numpy's."""
    levels = schema.value["index"].get("columns", ())
    specs = [None if level.get("gaps") else level["dtype"] for level in levels]
    stored_schema = schemas.to_arrow(schema)
    wanted = set(stored)
    found = {}
    known: dict[tuple[str, pa.DataType], np.dtype | None] = {}  # thousands of columns have a few of these

    def dtype_of(spec: Spec, kind: pa.DataType) -> np.dtype | None:
        dtype = numpy_dtype(spec)
        return dtype if dtype is not None and is_of_numpy(kind, dtype) else None

    for position, (name, spec) in enumerate(zip(schema.shown_names, [*specs, *schema.value["dtypes"]], strict=False)):
        if name not in wanted:
            continue
        kind = stored_schema.field(position).type
        if isinstance(spec, str):
            key = (spec, kind)
            dtype = known[key] if key in known else known.setdefault(key, dtype_of(spec, kind))
        else:
            dtype = dtype_of(spec, kind)
        if dtype is not None:
            found[name] = dtype
    return found


def _decode_index(table: pa.Table, schema: Schema, rows: Rows | None, arrays: Mapping[str, np.ndarray]) -> pd.Index:
    levels = [arrays[name] if name in arrays else table.column(name) for name in schema.index]
    count = table.num_rows if schema.columns else None
    codes = [_codes(table, schema, name) for name in schema.index]
    return decode_rows(schema.value["index"], levels, codes, count, rows)


def _codes(table: pa.Table, schema: Schema, name: str) -> pa.ChunkedArray | None:
    """Return the codes of the missing markers of a stored column; None: it has none."""
    found = markers.columns_for(schema, [name]) if "markers" in schema.value else ()
    return table.column(found[0]) if found else None


def _decode_all(
    table: pa.Table, schema: Schema, wanted: list[tuple[str, Any]], arrays: Mapping[str, np.ndarray]
) -> list[Any]:
    """Decode columns, on several threads when they are large (copying numbers releases the GIL)."""
    left = dict(arrays)
    names = {name for name, _ in wanted}
    if len(names) == len(wanted) and names <= left.keys() and all(isinstance(spec, str) for _, spec in wanted):
        return [left[name] for name, _ in wanted]  # they are what numpy has for these dtypes already

    def decode(item: tuple[str, Any]) -> Any:
        name, spec = item
        if name in arrays:
            array = left.pop(name, None)  # one that is wanted twice is two arrays
            return decode_array(arrays[name].copy() if array is None else array, spec)
        column = table.column(name)
        return markers.put_back(decode_array(column, spec), _codes(table, schema, name), column)

    if table.num_rows * len(wanted) < PARALLEL_CELLS_MIN or len(wanted) < 2:
        return [decode(item) for item in wanted]
    return CPU.map(decode, wanted, at_once=pa.cpu_count())


def _make_frame(arrays: list[Any], index: pd.Index) -> pd.DataFrame:
    """Return a frame of these arrays as they are: no copies, and no inference on objects."""
    block = _block(arrays)
    if block is not None:
        return pd.DataFrame(block.T, index=index, copy=False)
    data = {
        position: pd.Series(array, index=index, dtype=object, copy=False) if array.dtype == object else array
        for position, array in enumerate(arrays)
    }
    return pd.DataFrame(data, index=index, copy=False)


def _block(arrays: list[Any]) -> np.ndarray | None:
    """Return the one array of two dimensions whose rows these are, if they are; pandas takes it whole."""
    whole = arrays[0].base if arrays and isinstance(arrays[0], np.ndarray) else None
    if whole is None or whole.ndim != 2 or not whole.shape[1]:
        return None
    if any(not isinstance(array, np.ndarray) or array.base is not whole for array in arrays):
        return None
    if any(array.dtype != whole.dtype for array in arrays):
        return None
    start, stride = whole.ctypes.data, whole.strides[0]
    rows = [(array.ctypes.data - start) // stride for array in arrays]
    return whole[rows[0] : rows[0] + len(rows)] if rows == list(range(rows[0], rows[0] + len(rows))) else None
