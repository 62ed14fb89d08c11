"""Object columns of lists, tuples, dicts and numpy arrays <-> Arrow lists and structs.

Invariant: lists, tuples and dicts are decoded again before they are accepted, and must come back with equal
values of the same types; numpy arrays are exact by construction.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from duckvstore.errors import Unsupported
from duckvstore.format.codecs.arrow_values import stored_type


def encode_nested(values: np.ndarray, value_type: type, missing: np.ndarray | None, where: str) -> tuple[pa.Array, Any]:
    """Return (Arrow array, what ``decode_nested`` needs) of an object array of one nested type.

    Raises Unsupported naming the first row that would not come back equal.
    """
    if value_type is np.ndarray:
        return _encode_arrays(values, missing, where)
    of = {"nested": value_type.__name__}
    plain = [None if missing is not None and missing[row] else value for row, value in enumerate(values)]
    try:
        array = pa.array(plain, from_pandas=False)
        target = stored_type(array.type, where)
        array = array if array.type == target else array.cast(target)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsupported(f"{where} of {value_type.__name__} objects cannot be stored as one type: {error}") from error
    decoded = decode_nested(pa.chunked_array([array]), of)
    for row, (given, back) in enumerate(zip(plain, decoded, strict=True)):
        if not _same(given, back):
            raise Unsupported(
                f"{where} of {value_type.__name__} objects would not come back equal: row {row} is {_short(given)} and "
                f"would be {_short(back)}; give all rows the same keys and the same types of values, or store text"
            )
    return array, of


def decode_nested(column: pa.ChunkedArray, of: Any) -> np.ndarray:
    """Return the object array that ``encode_nested`` was given; missing rows are None."""
    if "items" in of:
        return _decode_arrays(column, np.dtype(of["items"]))
    values = column.to_pylist()
    if of["nested"] == "tuple":
        values = [None if value is None else tuple(value) for value in values]
    return np.fromiter(values, dtype=object, count=len(column))


def _encode_arrays(values: np.ndarray, missing: np.ndarray | None, where: str) -> tuple[pa.Array, Any]:
    rows = [None if missing is not None and missing[row] else value for row, value in enumerate(values)]
    dtype = next(value.dtype for value in rows if value is not None)
    for row, value in enumerate(rows):
        if value is not None and (value.ndim != 1 or value.dtype != dtype):
            raise Unsupported(
                f"{where} holds numpy arrays that differ: row {row} has shape {value.shape} and dtype {value.dtype}, "
                f"expected one dimension of {dtype}; convert them, or store them as one array with more dimensions"
            )
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Unsupported(f"{where} holds numpy arrays of {dtype}, which cannot be stored: convert them to lists")
    lengths = np.array([0 if value is None else len(value) for value in rows], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    present = [value for value in rows if value is not None]
    flat = np.concatenate(present).astype(dtype.newbyteorder("="))
    mask = None if missing is None else pa.array(missing)
    array = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat, from_pandas=False), mask=mask)
    return array, {"nested": "ndarray", "items": dtype.str}


def _decode_arrays(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> np.ndarray:
    rows = np.empty(len(column), dtype=object)
    row = 0
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        flat = np.array(chunk.values.to_numpy(zero_copy_only=False), dtype=dtype)
        for position in range(len(chunk)):
            rows[row] = flat[offsets[position] : offsets[position + 1]]
            row += 1
    return rows


def _same(one: Any, other: Any) -> bool:
    """Whether two values have the same types and values all the way down (NaN equals NaN)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, datetime) and (one.tzinfo is not None or other.tzinfo is not None):
        return one == other and repr(one.tzinfo) == repr(other.tzinfo)
    return bool(one == other)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
