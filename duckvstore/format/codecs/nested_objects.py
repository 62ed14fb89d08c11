"""Object columns of lists, tuples, dicts and numpy arrays <-> Arrow lists and structs.

Lists, tuples and dicts are decoded again before they are accepted, and must come back with equal
values of the same types; numpy arrays are exact by construction.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs.arrow_values import stored_type
from duckvstore.format.stored.envelope import shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def encode_nested(values: np.ndarray, value_type: type, missing: np.ndarray | None, where: str) -> tuple[pa.Array, Any]:
    """Return (Arrow array, what ``decode_nested`` needs) of an object array of one nested type.

    Raises Unsupported naming the first row that would not come back equal, InvalidInput for invalid Unicode.
    """
    if value_type is np.ndarray:
        return _encode_arrays(values, missing, where)
    of = {"nested": value_type.__name__}
    what = f"{where} of {value_type.__name__} objects"
    plain = [None if missing is not None and missing[row] else value for row, value in enumerate(values)]
    for row, cell in enumerate(plain):
        try:
            _walk(cell)
        except RecursionError as error:  # which in Arrow would end the process
            raise Unsupported(
                f"{what} cannot be stored: the cell in row {row} holds itself, or is too deep: flatten it"
            ) from error
    try:
        array = pa.array(plain, from_pandas=False)
        target = stored_type(array.type, where)
        array = array if array.type == target else array.cast(target)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{what} cannot be stored: {_place_of_text(plain)} is no valid Unicode ({error}): take half of a surrogate "
            "pair out"
        ) from error
    except (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = _unkept_marker(plain) or f"{error}"
        raise Unsupported(f"{what} cannot be stored as one type: {why}") from error
    decoded = decode_nested(pa.chunked_array([array]), of)
    for row, (given, back) in enumerate(zip(plain, decoded, strict=True)):
        if not _same(given, back):
            why = _unkept_marker(plain) or f"row {row} is {shown(given)} and would be {shown(back)}; {_advice(given)}"
            raise Unsupported(f"{what} would not come back equal: {why}")
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
        flat = np.array(chunk.values.to_numpy(zero_copy_only=False), dtype=dtype)  # noqa: PD011 - of Arrow
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


def _walk(value: Any) -> None:
    """Walk all nested lists, tuples and dicts. Raises RecursionError for a value that contains itself."""
    for item in value.values() if isinstance(value, dict) else value or ():
        if isinstance(item, list | tuple | dict):
            _walk(item)


def _inside(value: Any, place: str = "", pattern: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (place, place without positions, value) of a cell and of all that is inside of it."""
    yield place, pattern, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, f"{place}[{key!r}]", f"{pattern}[{key!r}]")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _inside(item, f"{place}[{position}]", f"{pattern}[]")


def _place_of_text(rows: list[Any]) -> str:
    """Return the place of the first text or dict key that UTF-8 cannot encode."""
    for row, cell in enumerate(rows):
        for place, _, value in _inside(cell):
            for text in value if isinstance(value, dict) else [value]:
                if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                    return f"{shown(text)} in row {row}" + (f" at {_short_place(place)}" if place else "")
    return "a text"


def _unkept_marker(rows: list[Any]) -> str | None:
    """Return a sentence about the first missing marker inside of the cells that would not come back, None without any.

    Arrow has one for all, which comes back as None; NaN is a value of its own, but among floats alone.
    """
    kinds: dict[str, set[type]] = {}
    found: dict[tuple[str, str], str] = {}
    for row, cell in enumerate(rows):
        for place, pattern, value in _inside(cell):
            marker = _marker(value)
            if marker is not None:
                found.setdefault((pattern, marker), f"row {row} holds {marker} at {_short_place(place)}")
            elif value is not None:
                kinds.setdefault(pattern, set()).add(type(value))
    for (pattern, marker), holds in found.items():
        beside = kinds.get(pattern, set())
        if marker == "NaN" and (not beside or any(issubclass(kind, float | np.floating) for kind in beside)):
            continue
        plainer = "".join(f", and {text}" for text in _plainer(beside))
        names = ", ".join(sorted(kind.__name__ for kind in beside))
        return (
            f"{holds}{names and f', beside {names}'}; inside of lists, tuples and dicts only None (and NaN among "
            f"floats) says what is missing: replace {marker} by None there{plainer}"
        )
    return None


def _marker(value: Any) -> str | None:
    """Return the name of a missing marker other than None."""
    if value is pd.NA:
        return "pd.NA"
    if value is pd.NaT or (isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value)):
        return "NaT"
    if isinstance(value, Decimal) and value.is_nan():
        return "Decimal('NaN')"
    return "NaN" if isinstance(value, float | np.floating) and np.isnan(value) else None


def _plainer(kinds: set[type]) -> list[str]:
    """Return how values of pandas and numpy become those of Python, which come back."""
    calls = {pd.Timestamp: "to_pydatetime()", pd.Timedelta: "to_pytimedelta()", np.generic: "item()"}
    return sorted(
        f"each {kind.__name__} by its {call}"
        for kind in kinds
        for base, call in calls.items()
        if issubclass(kind, base)
    )


def _advice(cell: Any) -> str:
    plainer = _plainer({type(value) for _, _, value in _inside(cell)})
    if plainer:
        return f"replace {' and '.join(plainer)}, or store text"
    return "give all rows the same keys and the same types of values, or store text"


def _short_place(place: str) -> str:
    return place if len(place) <= 80 else "…" + place[-79:]
