"""What pandas and pyarrow note in an Arrow table of a frame, so that ``to_pandas()`` of the table gives the frame back.

The notes never change a value or name of the table; a table that cannot be described stays as it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from duckvstore import forks
from duckvstore.format.codecs import pandas_frames
from duckvstore.format.codecs.pandas_indexes import range_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.format.codecs.pandas_indexes import Rows
    from duckvstore.format.stored.documents import Schema

_OTHER_FORM = (pd.PeriodDtype, pd.IntervalDtype, pd.SparseDtype)
"""Their columns are in the table in a form that pandas would not take for theirs."""


_KNOWN_MAX = 32
_known: dict[tuple[int, tuple[str, ...], str], tuple[Schema, bytes | None]] = {}
_lock = forks.lock()


def described(
    table: pa.Table, none: Callable[[], pd.DataFrame | pd.Series], schema: Schema, rows: Rows | None
) -> pa.Table:
    """Return ``table`` with notes of the index, the labels and the dtypes of ``frame``.

    Args:
        table: the index levels and then the columns, under the names that SQL sees.
        none: gives the frame without any row.
        schema: of the version that both are of; the same object has the same notes, which are remembered.
        rows: which rows of the version ``table`` holds, as for ``values.decode``.
    """
    if any(pa.types.is_nested(field.type) for field in list(table.schema)[: len(schema.index)]):
        return table  # intervals: their dicts would be no labels
    found = None if schema.index else range_of(schema.value["index"], table.num_rows, rows)
    key = id(schema), tuple(table.schema.names), repr(found)
    with _lock:
        known = _known.get(key)
    if known is None or known[0] is not schema:  # an id comes back when its object is gone
        known = schema, _text(table.slice(0, 0), none(), schema, found)
        with _lock:
            while len(_known) >= _KNOWN_MAX:
                del _known[next(iter(_known))]
            _known[key] = known
    return table if known[1] is None else table.replace_schema_metadata({"pandas": known[1]})


def _text(none: pa.Table, frame: pd.DataFrame | pd.Series, schema: Schema, found: pd.RangeIndex | None) -> bytes | None:
    """Return the notes as they are in a table, or None where pandas could not follow them."""
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(pandas_frames.value_names(schema)[0] if frame.name is None else frame.name)
    try:
        text = json.dumps(_notes(none, frame, schema, found)).encode()
        none.replace_schema_metadata({"pandas": text}).to_pandas()
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError, KeyError):
        return None  # labels that are the same as text, say: the names of SQL tell them apart
    return text


def _notes(table: pa.Table, frame: pd.DataFrame, schema: Schema, found: pd.RangeIndex | None) -> dict[str, Any]:
    level_count = len(schema.index)
    names = table.schema.names
    plain = frame.set_axis(pd.Index(names[level_count:], dtype=object), axis=1)
    plain.attrs = {}
    if level_count:
        plain.index = plain.index.set_names(names[:level_count])
    notes = _of_pyarrow(plain, is_index_kept=True if level_count else None)
    notes["column_indexes"], text_of = _labels(frame.columns)
    noted_of = {note["field_name"]: note for note in notes["columns"]}
    for name, label, dtype in zip(names[level_count:], frame.columns, frame.dtypes, strict=True):
        noted_of[name]["name"] = text_of[label]
        if not _reads_as(noted_of[name]["numpy_type"], dtype):
            noted_of[name]["numpy_type"] = "object"
    for name, level in zip(names[:level_count], frame.index.names, strict=False):
        noted_of[name]["name"] = None if level is None else str(level)
    if not level_count:
        notes["index_columns"] = [] if found is None else [_range(found)]
    return notes


def _labels(columns: pd.Index) -> tuple[list[Any], dict[Any, str]]:
    """Return what pyarrow notes of the labels' own type, and each label as text."""
    labels = columns.unique()
    is_plain = labels.dtype != object  # one label tells all then; thousands of columns cost seconds
    told = labels[:1] if is_plain else labels
    notes = _of_pyarrow(pd.DataFrame(columns=told, index=pd.RangeIndex(0)), is_index_kept=None)
    texts = map(str, labels) if is_plain else (note["name"] for note in notes["columns"])
    return notes["column_indexes"], dict(zip(labels, texts, strict=True))


def _of_pyarrow(frame: pd.DataFrame, *, is_index_kept: bool | None) -> dict[str, Any]:
    return dict(pa.Table.from_pandas(frame, preserve_index=is_index_kept).schema.pandas_metadata)


def _reads_as(text: str, dtype: Any) -> bool:
    """Tell whether ``text`` names the dtype, and the column in the table is of it."""
    if isinstance(dtype, _OTHER_FORM):
        return False
    try:
        return not isinstance(dtype, pd.ArrowDtype) or bool(pd.api.types.pandas_dtype(text) == dtype)
    except (TypeError, NotImplementedError):
        return False


def _range(index: pd.RangeIndex) -> dict[str, Any]:
    name = None if index.name is None else str(index.name)
    return {"kind": "range", "name": name, "start": index.start, "stop": index.stop, "step": index.step}
