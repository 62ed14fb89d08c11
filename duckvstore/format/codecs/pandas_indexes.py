"""pandas indexes: as JSON (column labels, categories) and as leading columns (row labels).

Invariant: an index comes back with its class, dtype, names, values and frequency, or is refused.
"""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from duckvstore.errors import Unsupported
from duckvstore.format.codecs import markers
from duckvstore.format.codecs.pandas_arrays import decode_array, encode_array
from duckvstore.format.stored import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = range | np.ndarray
"""Which rows of the whole version a table holds: a range, or an array of positions."""


def index_to_json(index: pd.Index, where: str) -> dict[str, Any]:
    """Return ``index`` as JSON, values included."""
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], **_name(index, where)}
    if isinstance(index, pd.MultiIndex):
        return {
            "levels": [index_to_json(level.rename(None), where) for level in index.levels],
            "codes": [np.asarray(codes).tolist() for codes in index.codes],
            "names": [labels.label_to_json(name, where=f"a name in {where}") for name in index.names],
        }
    body: dict[str, Any] = {**_name(index, where), **_frequency(index, where)}
    if index.dtype == object:
        return {"objects": [labels.label_to_json(label, where=f"a label in {where}") for label in index], **body}
    array, spec = encode_array(raw_values(index), where)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kinds = {pa.large_string(): "strings", pa.int64(): "integers"}
    if array.type in kinds:
        return {kinds[array.type]: array.to_pylist(), "dtype": spec, **body}
    batch = pa.record_batch([array], names=["labels"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return {"ipc": base64.b64encode(sink.getvalue()).decode("ascii"), "dtype": spec, **body}


def index_from_json(value: dict[str, Any]) -> pd.Index:
    """Return the index that ``index_to_json`` was given."""
    if "range" in value:
        start, stop, step = value["range"]
        return pd.RangeIndex(start, stop, step, name=labels.label_from_json(value.get("name")))
    if "levels" in value:
        levels: Any = [index_from_json(level) for level in value["levels"]]
        names = [labels.label_from_json(name) for name in value["names"]]
        codes: Any = [_checked_codes(codes, len(level)) for codes, level in zip(value["codes"], levels, strict=True)]
        if len({len(level_codes) for level_codes in codes}) > 1:
            raise ValueError("the levels of an index have different numbers of labels")
        return pd.MultiIndex(levels=levels, codes=codes, names=names, verify_integrity=False)
    name = labels.label_from_json(value.get("name"))
    if "objects" in value:
        objects = (labels.label_from_json(label) for label in value["objects"])
        return pd.Index(np.fromiter(objects, dtype=object, count=len(value["objects"])), dtype=object, name=name,
                        tupleize_cols=False)  # fmt: skip
    if "strings" in value:
        array = pa.array(value["strings"], pa.large_string())
    elif "integers" in value:
        array = pa.array(value["integers"], pa.int64())
    else:
        array = pa.ipc.open_stream(base64.b64decode(value["ipc"])).read_all().column(0)
        array.validate(full=True)  # offsets and codes are indexes into buffers
    column = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return make_index(decode_array(column, value["dtype"]), name, value.get("freq"))


def _checked_codes(codes: Any, count: int) -> np.ndarray:
    """Return a level's codes, each the position of one of ``count`` labels or -1: pandas looks them up unchecked."""
    found: np.ndarray = np.array(codes, dtype=np.int64) if len(codes) else np.empty(0, np.int64)
    if (
        found.ndim != 1
        or not set(map(type, codes)) <= {int}
        or found.min(initial=0) < -1
        or found.max(initial=-1) >= count
    ):
        raise ValueError(f"codes of an index point beyond its {count} labels")
    return found


def index_of_labels(found: Sequence[Any], dtype: Any, name: Any) -> pd.Index:
    """Return an index of exactly these labels, of ``dtype`` (None: whatever pandas takes) where that holds them.

    Text is not what holds None: pandas 3 makes NaN of it.
    """
    every: pd.Index = pd.Index(found, dtype=dtype, name=name, tupleize_cols=False)
    if list(map(type, every)) == list(map(type, found)):
        return every
    objects = np.fromiter(found, dtype=object, count=len(found))
    return pd.Index(objects, dtype=object, name=name, tupleize_cols=False)


def make_index(values: Any, name: Any, freq: str | None = None) -> pd.Index:
    """Return an index of exactly these values; ``freq`` is set where they keep it."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        return pd.Index(values, dtype=object, name=name, tupleize_cols=False)
    return _with_frequency(pd.Index(values, name=name, copy=False), freq)


def _with_frequency(index: pd.Index, freq: str | None) -> pd.Index:
    if freq is not None and isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        index = index.copy()
        with contextlib.suppress(ValueError):  # these values do not keep it
            index.freq = freq  # type: ignore[misc, assignment]
    return index


def raw_values(values: pd.Index | pd.Series) -> Any:
    """Return the numpy array or extension array inside, without copying."""
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array


def _name(index: pd.Index, where: str) -> dict[str, Any]:
    if index.name is None:
        return {}
    return {"name": labels.label_to_json(index.name, where=f"a name in {where}")}


def _frequency(index: pd.Index, where: str) -> dict[str, Any]:
    """Return {"freq": …} for an index that has one. Raises Unsupported for one that has no name, such as a calendar."""
    freq = getattr(index, "freq", None)
    if freq is None or not isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        return {}
    name = freq.freqstr
    try:
        same = pd.tseries.frequencies.to_offset(name) == freq
    except ValueError:
        same = False
    if not same:
        raise Unsupported(
            f"{where} has the frequency {freq!r}, which has no name that brings it back: set index.freq = None first"
        )
    return {"freq": name}


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
        frequency = _frequency(distinct[position], place)
        specs.append({"dtype": spec, **_name(level, where), **frequency, **({"gaps": True} if gaps else {})})
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
        levels: Any = [_with_frequency(level, freq) for level, freq in zip(index.levels, frequencies, strict=True)]
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
