"""The row index of pandas <-> leading columns.

An index comes back with its class, dtype, names, values and frequency, or is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from duckvstore.format.codecs import markers
from duckvstore.format.codecs.pandas_arrays import (
    decode_array,
    encode_array,
    frequency_to_json,
    index_from_json,
    index_to_json,
    make_index,
    name_to_json,
    raw_values,
    with_frequency,
)
from duckvstore.format.stored import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = range | np.ndarray
"""Which rows of the whole version a table holds: a range, or an array of positions."""


def encode_rows(index: pd.Index, where: str) -> tuple[list[Any], list[Any], dict[str, Any], list[Any]]:
    """Return (arrays, labels for their names in SQL, JSON, codes of missing markers) of a row index.

    A RangeIndex has no arrays. The codes are None for a level that needs none.
    """
    if isinstance(index, pd.RangeIndex):
        return [], [], index_to_json(index, where), []
    multi = isinstance(index, pd.MultiIndex)
    levels = _levels(index) if multi else [index]
    distinct = list(index.levels) if isinstance(index, pd.MultiIndex) else levels
    arrays, sql_labels, specs, codes_of_markers = [], [], [], []
    for position, level in enumerate(levels):
        label = level.name if level.name is not None else f"index_{position}" if multi else "index"
        place = f"index level {label!r} of {where}"
        codes = np.asarray(index.codes[position]) if isinstance(index, pd.MultiIndex) else None
        dtype = distinct[position].dtype
        gaps = codes is not None and isinstance(dtype, np.dtype) and dtype.kind in "biu" and bool((codes < 0).any())
        if gaps and codes is not None:  # the level is of whole numbers, its values with the missing ones are not
            array, spec = encode_array(distinct[position].to_numpy().take(codes), place)
            array = pa.array(array.to_numpy(zero_copy_only=False), array.type, mask=codes < 0)
            marked = None
        else:
            plain, marked = markers.split(raw_values(level))
            array, spec = encode_array(plain, place)
        arrays.append(array)
        codes_of_markers.append(marked)
        sql_labels.append(label)
        frequency = frequency_to_json(distinct[position], place)
        specs.append({"dtype": spec, **name_to_json(level, where), **frequency, **({"gaps": True} if gaps else {})})
    return arrays, sql_labels, {"columns": specs, "multi": multi}, codes_of_markers


def _levels(index: pd.Index) -> list[pd.Index]:
    """Return the levels by position: pandas takes a number for a level's name first, if one is so named."""
    unnamed = index.set_names([None] * index.nlevels)
    return [unnamed.get_level_values(level).rename(name) for level, name in enumerate(index.names)]


def decode_rows(
    value: dict[str, Any],
    columns: Sequence[pa.ChunkedArray],
    marked: Sequence[pa.ChunkedArray | None],
    count: int | None,
    rows: Rows | None,
) -> pd.Index:
    """Return the row index of ``count`` rows (None: all), from the ``columns`` that are its levels.

    ``marked``: the codes of the missing markers of each level. ``rows`` says which rows of the version they are; None
    means the first ``count``.
    """
    if "range" in value:
        index: pd.Index = _range_rows(value, count, rows)
        return index
    contiguous = rows is None or (isinstance(rows, range) and rows.step == 1)
    frequencies = [spec.get("freq") if contiguous else None for spec in value["columns"]]
    gaps = [bool(spec.get("gaps")) for spec in value["columns"]]
    arrays = [
        np.zeros(len(column), np.int8) if gap else markers.put_back(decode_array(column, spec["dtype"]), code, column)
        for column, spec, gap, code in zip(columns, value["columns"], gaps, marked, strict=True)
    ]
    names = [labels.label_from_json(spec.get("name")) for spec in value["columns"]]
    if not value["multi"]:
        return make_index(arrays[0], names[0], frequencies[0])
    index = pd.MultiIndex.from_arrays([make_index(array, None) for array in arrays], names=names)
    if any(frequencies) or any(gaps):
        levels: Any = [with_frequency(level, freq) for level, freq in zip(index.levels, frequencies, strict=True)]
        labels_of: Any = list(index.codes)
        for position in (position for position, gap in enumerate(gaps) if gap):
            levels[position], labels_of[position] = _with_gaps(columns[position], value["columns"][position]["dtype"])
        index = pd.MultiIndex(levels=levels, codes=labels_of, names=names, verify_integrity=False)
    return index


def _with_gaps(column: pa.ChunkedArray, spec: Any) -> tuple[pd.Index, Any]:
    """Return (level, codes) of whole numbers or booleans of which some rows are missing."""
    present = column.is_valid().to_numpy()
    distinct, codes_present = np.unique(decode_array(column.drop_null(), spec), return_inverse=True)
    codes = np.full(len(column), -1, dtype=np.int64)
    codes[present] = codes_present
    return pd.Index(distinct), codes


def range_of(value: dict[str, Any], count: int, rows: Rows | None) -> pd.RangeIndex | None:
    """Return the RangeIndex of ``count`` rows, which ``rows`` are; None: they are not at even distances."""
    found = _range_rows(value, count, rows)
    return found if isinstance(found, pd.RangeIndex) else None


def _range_rows(value: dict[str, Any], count: int | None, rows: Rows | None) -> Any:
    whole: Any = index_from_json(value)
    if rows is None:  # a frame without stored columns has no stored rows to count
        return whole if count is None or count == len(whole) else whole[:count]
    if isinstance(rows, range):
        start, step = whole.start, whole.step
        name = whole.name
        stop = start + rows.stop * step
        return pd.RangeIndex(start + rows.start * step, stop, step * rows.step, name=name)
    return whole.take(rows)
