"""Columns of Python objects <-> Arrow arrays of a natural type.

What ``decode_objects`` gives back has the same Python types and equal values, missing markers (None,
NaN, pd.NA, NaT) included; a column for which that cannot hold is refused with its first offending row.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import infer_dtype

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs.nested_objects import decode_nested, encode_nested
from duckvstore.format.stored import labels, zones

if TYPE_CHECKING:
    from collections.abc import Callable

Spec = Any
"""JSON that says how an Arrow array becomes the pandas array that it was."""

MARKERS: dict[type, tuple[str, Any]] = {
    type(None): ("None", None),
    type(pd.NA): ("NA", pd.NA),
    type(pd.NaT): ("NaT", pd.NaT),
}
_MARKER_BY_NAME: dict[str, Any] = {"None": None, "NA": pd.NA, "NaT": pd.NaT, "NaN": np.nan}
_BOXED = (pd.Timestamp, pd.Timedelta, pd.Period, pd.Interval)
DECIMAL_DIGITS = (18, 38, 76)
CODED_TEXT = pa.dictionary(pa.int32(), pa.large_string())
FEW_VALUES_SAMPLE = 4096
FEW_VALUES_SHARE = 0.1


def encode_objects(values: np.ndarray, where: str, encode_array: Callable[..., Any]) -> tuple[pa.Array, Spec]:
    """Return (Arrow array, spec) of an object array; ``encode_array`` encodes what pandas has a dtype for.

    Raises Unsupported naming the type and the first row that cannot be stored.
    """
    value_type, marker, missing = _classify(values, where)
    spec: dict[str, Any] = {"type": "object", "missing": marker}
    if value_type is None:
        return pa.nulls(len(values)), {**spec, "of": "null"}
    if value_type in _BOXED or issubclass(value_type, np.generic):
        return _encode_boxed(values, value_type, missing, spec, where, encode_array)
    if value_type in (list, tuple, dict, np.ndarray):
        array, of = encode_nested(values, value_type, missing, where)
        return array, {**spec, "of": of}
    encoder = _ENCODERS.get(value_type)
    if encoder is None:
        row = next(i for i, value in enumerate(values) if type(value) is value_type)
        raise Unsupported(
            f"{where} holds {_type_name(value_type)} objects (first at row {row}), which cannot be stored: convert "
            "them to text, numbers, dates, bytes, lists or dicts"
        )
    try:
        array, extra = encoder(values, missing, where)
    except UnicodeEncodeError as error:
        raise invalid_text(error, where) from error
    except (pa.ArrowException, OverflowError) as error:
        raise InvalidInput(f"{where} of {value_type.__name__} objects cannot be stored: {error}") from error
    return array, {**spec, "of": value_type.__name__, **extra}


def decode_objects(column: pa.ChunkedArray, spec: Spec, decode_array: Callable[..., Any]) -> np.ndarray:
    """Return the object array that ``encode_objects`` was given, or the rows of it that ``column`` holds."""
    marker = _MARKER_BY_NAME[spec["missing"]]
    of = spec["of"]
    if of == "null":
        values = np.empty(len(column), dtype=object)
        values[:] = marker
        return values
    if of == "boxed":
        return _decode_boxed(column, spec["dtype"], marker, decode_array)
    values = _DECODERS[of](column, spec) if isinstance(of, str) else decode_nested(column, of)
    if column.null_count:
        values[column.is_null().to_numpy()] = marker
    return values


def is_text(values: Any) -> bool:
    """Return whether ``values`` is an object array of text alone, nothing missing."""
    return values.dtype == object and isinstance(values, np.ndarray) and infer_dtype(values, skipna=False) == "string"


def invalid_text(error: UnicodeEncodeError, where: str) -> InvalidInput:
    """Return the error for text with half of a surrogate pair, which shows the text."""
    text = error.object if len(error.object) <= 80 else error.object[max(0, error.start - 40) :][:80]
    return InvalidInput(
        f"{where} holds text that is not valid Unicode: {text!r} ({error.reason}, character {error.start}): take half "
        "of a surrogate pair out, or store bytes"
    )


def encode_text(values: np.ndarray, where: str) -> pa.Array:
    """Return the Arrow text of objects that ``is_text`` said are text. Raises InvalidInput for invalid Unicode."""
    try:
        return pa.array(values, type=pa.large_string(), from_pandas=False)
    except UnicodeEncodeError as error:
        raise invalid_text(error, where) from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{where} of str objects cannot be stored: {error}") from error


def encode_coded_text(values: np.ndarray, where: str) -> pa.DictionaryArray:
    """Return what ``encode_text`` would, as a dictionary array of the type ``CODED_TEXT``."""
    codes, distinct = pd.factorize(values)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), encode_text(distinct, where))


def has_few_values(values: np.ndarray) -> bool:
    """Return whether an even sample of text objects has so few distinct ones that codes are made sooner than text."""
    sample = values[:: max(1, len(values) // FEW_VALUES_SAMPLE)]
    return len(set(sample)) <= FEW_VALUES_SHARE * len(sample)


def _classify(values: np.ndarray, where: str) -> tuple[type | None, str, np.ndarray | None]:
    """Return (type of the values, name of the missing marker, mask of the missing rows or None)."""
    if is_text(values):
        return str, "None", None  # the common case, told by a loop in C
    found = set(map(type, values))
    value_types = found - MARKERS.keys()
    marker_names = [MARKERS[marker][0] for marker in found & MARKERS.keys()]
    missing_types = found & MARKERS.keys()
    floats = {kind for kind in value_types if kind in (float, np.float64)}
    is_alone = floats == value_types == {float} and not missing_types  # NaN alone says as little as None alone
    has_no_number = floats and all(value != value for value in values if type(value) in floats)  # noqa: PLR0124
    if has_no_number and (value_types - floats or is_alone):
        value_types -= floats
        missing_types |= floats
        marker_names.append("NaN")
    if len(marker_names) > 1:
        raise Unsupported(
            f"{where} marks missing rows in {len(marker_names)} ways ({', '.join(sorted(marker_names))}), which "
            "one column cannot hold: use one of them, for example series.where(series.notna(), None)"
        )
    if len(value_types) > 1:
        raise _mixed(values, value_types, where)
    missing = None
    if missing_types:
        missing = np.fromiter((type(value) in missing_types for value in values), dtype=bool, count=len(values))
    return (value_types.pop() if value_types else None), (marker_names or ["None"])[0], missing


def _mixed(values: np.ndarray, value_types: set[type], where: str) -> Unsupported:
    rows = ((i, type(value)) for i, value in enumerate(values) if type(value) in value_types)
    first_row, first_type = next(rows)
    row, other = next((row, kind) for row, kind in rows if kind is not first_type)
    return Unsupported(
        f"{where} mixes types: {_type_name(first_type)} at row {first_row} and {_type_name(other)} at row {row}; "
        "convert the column to one type, for example with astype(str)"
    )


def _type_name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _encode_boxed(
    values: np.ndarray,
    value_type: type,
    missing: np.ndarray | None,
    spec: dict[str, Any],
    where: str,
    encode_array: Callable[..., Any],
) -> tuple[pa.Array, Spec]:
    """Encode scalars that have a dtype of their own (Timestamp, Period, numpy scalars …) as an array of that dtype."""
    present = values if missing is None else values[~missing]
    kinds = {_boxed_kind(value) for value in present}
    if len(kinds) > 1:
        one, other = sorted(map(str, kinds))[:2]
        raise Unsupported(f"{where} mixes {value_type.__name__} objects of {one} and {other}: convert them to one")
    if value_type is np.float64 and np.isnan(present.astype("f8")).any():
        array: Any = pa.array(present.astype("f8"), from_pandas=False)
        inner: Spec = {"type": "raw", "dtype": "float64"}
    elif issubclass(value_type, np.generic):
        array, inner = _encode_numpy_scalars(present, where, encode_array)
    else:
        array, inner = encode_array(_unboxed(present, value_type), where)
    if missing is not None:
        positions = np.cumsum(~missing) - 1
        array = array.take(pa.array(positions, mask=missing))
    return array, {**spec, "of": "boxed", "dtype": inner}


def _decode_boxed(column: pa.ChunkedArray, spec: Spec, marker: Any, decode_array: Callable[..., Any]) -> np.ndarray:
    present = decode_array(column.drop_null(), spec)
    if isinstance(present, np.ndarray) and present.dtype.kind in "mM":
        present = pd.Index(present)  # whose items are Timestamp and Timedelta, not numpy's
    values = np.empty(len(column), dtype=object)
    values[:] = marker
    values[column.is_valid().to_numpy()] = np.fromiter(iter(present), dtype=object, count=len(present))
    return values


def _encode_numpy_scalars(present: np.ndarray, where: str, encode_array: Callable[..., Any]) -> tuple[Any, Spec]:
    dtype = present[0].dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Unsupported(f"{where} holds numpy {dtype} objects, which cannot be stored: convert the column's dtype")
    dense = present.astype(dtype)
    if dtype.kind == "f" and np.isnan(dense).any():
        return pa.array(dense, from_pandas=False), {"type": "raw", "dtype": dtype.name}
    array, spec = encode_array(dense, where)
    return array, spec


def _unboxed(present: np.ndarray, value_type: type) -> Any:
    if value_type is pd.Timestamp and present[0].tz is not None:
        physical = np.array([value.asm8 for value in present])
        return pd.DatetimeIndex(physical).tz_localize(UTC).tz_convert(present[0].tz).array
    if value_type in (pd.Timestamp, pd.Timedelta):
        return np.array([value.asm8 for value in present])
    return pd.array(list(present))


def _boxed_kind(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return f"unit {value.unit} and zone {value.tz}"
    if isinstance(value, pd.Timedelta):
        return f"unit {value.unit}"
    if isinstance(value, pd.Period):
        return f"frequency {value.freqstr}"
    if isinstance(value, pd.Interval):
        return f"{value.closed}-closed intervals of {type(value.left).__name__}"
    return str(value.dtype)


def _plain(arrow_type: pa.DataType) -> Callable[..., tuple[pa.Array, dict[str, Any]]]:
    def encode(values: np.ndarray, missing: np.ndarray | None, _where: str) -> tuple[pa.Array, dict[str, Any]]:
        return pa.array(values, type=arrow_type, mask=missing, from_pandas=False), {}

    return encode


def _encode_int(values: np.ndarray, missing: np.ndarray | None, _where: str) -> tuple[pa.Array, dict[str, Any]]:
    present = values if missing is None else values[~missing]
    low, high = min(present), max(present)
    if low >= -(2**63) and high < 2**63:
        arrow_type = pa.int64()
    elif low >= 0 and high < 2**64:
        arrow_type = pa.uint64()
    else:
        digits = len(str(max(abs(low), abs(high))))
        if digits > DECIMAL_DIGITS[1]:
            raise OverflowError(f"an integer has {digits} digits, the limit is {DECIMAL_DIGITS[1]}; convert it to text")
        decimals = [None if type(value) is not int else Decimal(value) for value in values]
        return pa.array(decimals, type=pa.decimal128(DECIMAL_DIGITS[1], 0), mask=missing), {}
    return pa.array(values, type=arrow_type, mask=missing, from_pandas=False), {}


def _encode_decimal(values: np.ndarray, missing: np.ndarray | None, _where: str) -> tuple[pa.Array, dict[str, Any]]:
    """Use the smallest of a few precisions, so that the type seldom changes from version to version."""
    integer_digits, scale = 0, 0
    for row, value in enumerate(values):
        if missing is not None and missing[row]:
            continue
        _, digits, exponent = value.as_tuple()
        if not value:
            continue  # zero has an exponent too, and needs none
        if not isinstance(exponent, int):
            raise OverflowError(f"row {row} is {value}; use None for what is missing")
        scale = max(scale, -exponent)
        integer_digits = max(integer_digits, len(digits) + exponent)
    needed = integer_digits + scale
    precision = next((size for size in DECIMAL_DIGITS if size >= needed), None)
    if precision is None:
        raise OverflowError(f"the values need {needed} decimal digits, the limit is {DECIMAL_DIGITS[-1]}; round them")
    make = pa.decimal128 if precision <= DECIMAL_DIGITS[1] else pa.decimal256
    plain = [None if type(value) is not Decimal else value or Decimal(0) for value in values]
    return pa.array(plain, type=make(precision, scale), from_pandas=False), {}


def _encode_datetime(values: np.ndarray, missing: np.ndarray | None, where: str) -> tuple[pa.Array, dict[str, Any]]:
    present = values if missing is None else values[~missing]
    found = {value.tzinfo for value in present}
    if len(found) > 1:
        raise Unsupported(f"{where} mixes datetimes of the time zones {found}: convert them to one zone")
    zone = found.pop()
    if zone is None:
        return pa.array(values, type=pa.timestamp("us"), mask=missing, from_pandas=False), {}
    spec = labels.zone_to_json(zone, where=where)
    instants = [value.astimezone(UTC).replace(tzinfo=None) if type(value) is datetime else None for value in values]
    array = pa.array(instants, type=pa.timestamp("us"))
    return array.cast(pa.timestamp("us", labels.arrow_zone(spec))), {"zone": spec}


def _encode_time(values: np.ndarray, missing: np.ndarray | None, where: str) -> tuple[pa.Array, dict[str, Any]]:
    if any(value.tzinfo is not None for value in values if type(value) is time):
        raise Unsupported(f"{where} holds times with a time zone: remove the zone")
    return pa.array(values, type=pa.time64("us"), mask=missing, from_pandas=False), {}


def _encode_uuid(values: np.ndarray, missing: np.ndarray | None, _where: str) -> tuple[pa.Array, dict[str, Any]]:
    raw = [value.bytes if type(value) is uuid.UUID else None for value in values]
    array = pa.array(raw, type=pa.binary(16), mask=missing)
    if not hasattr(pa, "uuid"):  # pyarrow 17 has no type for them
        return array, {}
    return pa.ExtensionArray.from_storage(pa.uuid(), array), {}


_ENCODERS: dict[type, Callable[..., tuple[pa.Array, dict[str, Any]]]] = {
    str: _plain(pa.large_string()),
    bytes: _plain(pa.large_binary()),
    bool: _plain(pa.bool_()),
    int: _encode_int,
    float: _plain(pa.float64()),
    Decimal: _encode_decimal,
    date: _plain(pa.date32()),
    datetime: _encode_datetime,
    time: _encode_time,
    timedelta: _plain(pa.duration("us")),
    uuid.UUID: _encode_uuid,
}


def _from_pylist(column: pa.ChunkedArray, _spec: Spec) -> np.ndarray:
    return np.fromiter(column.to_pylist(), dtype=object, count=len(column))


def _decode_text(column: pa.ChunkedArray, _spec: Spec) -> np.ndarray:
    """Return text as objects; rows of a dictionary share one object per entry, which is far faster to make."""
    if not pa.types.is_dictionary(column.type):
        return _from_numpy(column, _spec)
    values = np.empty(len(column), dtype=object)
    start = 0
    for chunk in column.chunks:
        entries = chunk.dictionary.to_numpy(zero_copy_only=False)
        codes = chunk.indices.fill_null(0) if chunk.null_count else chunk.indices
        if len(entries):
            np.take(entries, codes.to_numpy(), out=values[start : start + len(chunk)], mode="clip")
        start += len(chunk)
    return values


def _from_numpy(column: pa.ChunkedArray, _spec: Spec) -> np.ndarray:
    values: np.ndarray = column.to_numpy().astype(object)
    return values


def _decode_numbers(column: pa.ChunkedArray, spec: Spec) -> np.ndarray:
    return _from_pylist(column, spec) if column.null_count else _from_numpy(column, spec)


def _decode_int(column: pa.ChunkedArray, spec: Spec) -> np.ndarray:
    if not pa.types.is_decimal(column.type):
        return _decode_numbers(column, spec)
    numbers = (None if value is None else int(value) for value in column.to_pylist())
    return np.fromiter(numbers, dtype=object, count=len(column))


def _decode_datetime(column: pa.ChunkedArray, spec: Spec) -> np.ndarray:
    values: np.ndarray = column.cast(pa.timestamp("us")).to_numpy().astype(object)
    if "zone" not in spec:
        return values
    zone = zones.from_json(spec["zone"])
    aware = (None if value is None else value.replace(tzinfo=UTC).astimezone(zone) for value in values)
    return np.fromiter(aware, dtype=object, count=len(column))


def _decode_uuid(column: pa.ChunkedArray, _spec: Spec) -> np.ndarray:
    storage = column.cast(pa.binary(16)) if isinstance(column.type, pa.BaseExtensionType) else column
    found = (None if raw is None else uuid.UUID(bytes=raw) for raw in storage.to_pylist())
    return np.fromiter(found, dtype=object, count=len(column))


_DECODERS: dict[str, Callable[..., np.ndarray]] = {
    "str": _decode_text,
    "bytes": _from_numpy,
    "bool": _decode_numbers,
    "int": _decode_int,
    "float": _decode_numbers,
    "Decimal": _from_numpy,
    "date": _from_numpy,
    "datetime": _decode_datetime,
    "time": _from_pylist,
    "timedelta": _from_numpy,
    "UUID": _decode_uuid,
}
