"""One pandas column or index level <-> an Arrow array of a type that is natural in SQL, and a spec; indexes as JSON.

``decode_array(encode_array(x))`` has the dtype of ``x`` and equal values. NaN in a numpy float column
is stored as null, as DuckDB and pandas' own conversions take it; NaN beside NA in a nullable column stays NaN.

A spec is JSON: the name of a numpy dtype, or an object whose ``type`` names one of the cases below.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.codecs.arrow_values import restore_array, store_array, stored_type
from duckvstore.format.codecs.pandas_objects import Spec, decode_objects, encode_objects, invalid_text
from duckvstore.format.stored import labels, zones
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAT = np.iinfo(np.int64).min
_MASKED = {
    dtype.name: dtype
    for dtype in (
        pd.Int8Dtype(), pd.Int16Dtype(), pd.Int32Dtype(), pd.Int64Dtype(), pd.UInt8Dtype(), pd.UInt16Dtype(),
        pd.UInt32Dtype(), pd.UInt64Dtype(), pd.Float32Dtype(), pd.Float64Dtype(), pd.BooleanDtype(),
    )
}  # fmt: skip


def encode_array(values: Any, where: str) -> tuple[pa.Array | pa.ChunkedArray, Spec]:
    """Return (Arrow array, spec) of a numpy array or pandas extension array; ``where`` names it in errors.

    Numbers and times are not copied. Raises Unsupported or InvalidInput for what could not come back equal.
    """
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return encode_objects(np.asarray(values), where, encode_array)
        return _encode_numpy(np.asarray(values), where)
    for kind, encoder in _ENCODERS.items():
        if isinstance(dtype, kind):
            return encoder(values, where)
    if dtype.name in _MASKED and type(dtype) is type(_MASKED[dtype.name]):
        return pa.array(values), {"type": "masked", "dtype": dtype.name}
    raise Unsupported(
        f"{where} has the dtype {dtype} of {type(dtype).__module__}, which cannot be stored: convert it to a dtype "
        "of pandas or numpy"
    )


def decode_array(column: pa.ChunkedArray | np.ndarray, spec: Spec) -> Any:
    """Return the numpy or extension array that ``encode_array`` made ``column`` and ``spec`` of; writable.

    A column that ``numpy_dtype`` has a dtype for may be the array already, which is taken over.
    """
    if isinstance(spec, str):
        return _decode_numpy(column, _plain_dtype(spec))
    decoder = _DECODERS.get(spec["type"])
    if decoder is None:
        raise Unsupported(f"a column of type {spec['type']!r} was written by a newer release: upgrade duckvstore")
    return decoder(column, spec)


def _encode_numpy(values: np.ndarray, where: str) -> tuple[pa.Array, Spec]:
    dtype = values.dtype
    spec = dtype.name if dtype.isnative else dtype.str
    if not dtype.isnative:
        values = values.astype(dtype.newbyteorder("="))
    if dtype.kind in "Mm":
        return _encode_times(values, where), spec
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Unsupported(f"{where} has the dtype {dtype}, which a dataframe column cannot be stored as: convert it")
    has_nan = dtype.kind == "f" and len(values) > 0 and bool(np.isnan(values.min()))
    return pa.array(np.ascontiguousarray(values), from_pandas=has_nan), spec


def encode_block(columns: np.ndarray, where: str) -> tuple[list[pa.Array], Spec]:
    """Return the Arrow arrays of the rows of ``columns``, which are the columns of numbers of a frame, and their spec.

    They are as ``encode_array`` makes them of each, in one buffer.
    """
    spec = _encode_numpy(columns[:0].reshape(-1), where)[1]
    columns = np.ascontiguousarray(columns)
    count, length = columns.shape
    whole = pa.array(columns.reshape(-1))
    arrays = [whole.slice(start, length) for start in range(0, count * length, length)] if length else [whole] * count
    if columns.dtype.kind == "f" and length:
        for position in np.flatnonzero(np.isnan(columns.min(axis=1))).tolist():
            arrays[position] = pa.array(columns[position], from_pandas=True)
    return arrays, spec


def _encode_times(values: np.ndarray, where: str, zone: str | None = None) -> pa.Array:
    """Return timestamps or durations without copying; a null where there is NaT."""
    unit = np.datetime_data(values.dtype)[0]
    arrow_type = pa.timestamp(unit, zone) if values.dtype.kind == "M" else pa.duration(unit)
    physical = np.ascontiguousarray(values).view(np.int64)
    has_missing = len(physical) > 0 and bool(physical.min() == _NAT)
    array = pa.array(physical, mask=physical == _NAT) if has_missing else pa.array(physical)
    array = array.view(arrow_type)
    return store_array(array, arrow_type, where)


def numpy_dtype(spec: Spec | None) -> np.dtype[Any] | None:
    """Return the dtype of the numbers or times, NaN and NaT included, that a column of this spec is made of."""
    if isinstance(spec, dict):
        return np.dtype(f"M8[{spec['unit']}]") if spec["type"] == "datetimetz" else None
    dtype = None if spec is None else _plain_dtype(spec)
    return None if dtype is None or dtype.kind == "b" or not dtype.isnative else dtype


def is_of_numpy(kind: pa.DataType, dtype: np.dtype[Any]) -> bool:
    """Return whether values of this stored type are those of ``dtype``, byte for byte."""
    return bool(kind == pa.from_numpy_dtype(dtype) or (pa.types.is_timestamp(kind) and f"M8[{kind.unit}]" == dtype))


def _decode_numpy(column: pa.ChunkedArray | np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    if isinstance(column, np.ndarray):
        return column
    if column.null_count and dtype.kind in "biu":
        widened: np.ndarray = column.to_numpy()  # as pandas does it: float64, or objects for booleans
        return widened if dtype.kind != "b" else widened.astype(object)
    if column.num_chunks == 1 and (column.null_count or dtype.kind == "b"):
        found: np.ndarray = column.chunk(0).to_numpy(zero_copy_only=False)
        return found if found.dtype == dtype and found.flags.writeable else np.array(found, dtype=dtype)
    values = np.empty(len(column), dtype=dtype)
    start = 0
    for chunk in column.chunks:
        values[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return values


def _plain_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype that ``_encode_numpy`` takes."""
    dtype = np.dtype(name)
    if dtype.kind not in "biufmM":
        raise ValueError(f"{name!r} is no dtype of a column")
    return dtype


def _encode_zoned(values: Any, where: str) -> tuple[pa.Array, Spec]:
    zone = labels.zone_to_json(values.dtype.tz, where=where)
    instants = values.tz_convert(None).to_numpy()
    spec = {"type": "datetimetz", "unit": values.dtype.unit, "zone": zone}
    return _encode_times(instants, where, labels.arrow_zone(zone)), spec


def _decode_zoned(column: pa.ChunkedArray, spec: Spec) -> Any:
    instants = _decode_numpy(column, np.dtype(f"M8[{spec['unit']}]"))
    zone = zones.from_json(spec["zone"])
    return pd.DatetimeIndex(instants, copy=False).tz_localize("UTC").tz_convert(zone).array


def _encode_string(values: Any, where: str) -> tuple[pa.Array | pa.ChunkedArray, Spec]:
    missing = "NA" if values.dtype.na_value is pd.NA else "NaN"
    storage = values.dtype.storage.removesuffix("_numpy")  # which pandas 2 says of pyarrow's text with NaN
    spec = {"type": "string", "storage": storage, "missing": missing}
    try:
        array = pa.array(values)
    except UnicodeEncodeError as error:
        raise invalid_text(error, where) from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{where} holds text that is not valid Unicode: {error}") from error
    return store_array(array, pa.large_string(), where), spec


def _decode_string(column: pa.ChunkedArray, spec: Spec) -> Any:
    dtype = _string_dtype(spec["storage"].removesuffix("_numpy"), spec["missing"])
    return dtype.__from_arrow__(column)


@lru_cache(maxsize=8)
def _string_dtype(storage: str, missing: str) -> Any:
    """Return the dtype of text; pandas 2.2 has one kind alone that is missing by NaN, whatever holds the text."""
    dtype: Any = pd.StringDtype
    if "na_value" in inspect.signature(dtype).parameters:
        return dtype(storage, na_value=pd.NA if missing == "NA" else np.nan)
    return dtype(storage if missing == "NA" else "pyarrow_numpy")


def _decode_masked(column: pa.ChunkedArray, spec: Spec) -> Any:
    """Build the array from values and mask: pandas' own conversion would turn NaN into NA."""
    dtype: Any = _MASKED[spec["dtype"]]
    mask = column.is_null().to_numpy() if column.null_count else np.zeros(len(column), dtype=bool)
    dense = column.fill_null(False if spec["dtype"] == "boolean" else 0) if column.null_count else column
    values = _decode_numpy(dense, dtype.numpy_dtype)
    return dtype.construct_array_type()(values, mask.copy())


def _encode_arrow(values: Any, where: str) -> tuple[pa.Array | pa.ChunkedArray, Spec]:
    array = pa.array(values)
    field = pa.schema([pa.field("", array.type)])
    return store_array(array, stored_type(array.type, where), where), {
        "type": "arrow",
        "ipc": schemas.encode_ipc(field),
    }


def _decode_arrow(column: pa.ChunkedArray, spec: Spec) -> Any:
    return pd.arrays.ArrowExtensionArray(restore_array(column, schemas.decode_ipc(spec["ipc"]).field(0).type))


def _encode_period(values: Any, where: str) -> tuple[pa.Array, Spec]:
    """Store the start of each period as a timestamp: readable, sortable, and exact for all but far dates."""
    freq = values.dtype.name.removeprefix("period[").removesuffix("]")
    try:
        unit = "ns" if freq.endswith("ns") else "us"
        # Not to_timestamp(), which knows nothing beyond the range of nanoseconds in pandas 2.
        starts = values.asfreq(unit, how="start").asi8.view(f"M8[{unit}]")
        back = pd.DatetimeIndex(starts).to_period(freq)
        exact = np.array_equal(back.asi8, values.asi8) and pd.PeriodDtype(freq) == values.dtype
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{where} holds periods that no timestamp can hold: {error}") from error
    if not exact:
        raise Unsupported(f"{where} has the dtype {values.dtype}, which would not come back equal: convert it")
    return _encode_times(starts, where), {"type": "period", "freq": freq, "unit": unit}


def _decode_period(column: pa.ChunkedArray, spec: Spec) -> Any:
    starts = _decode_numpy(column, np.dtype(f"M8[{spec['unit']}]"))
    return pd.DatetimeIndex(starts, copy=False).to_period(spec["freq"]).array


def _encode_interval(values: Any, where: str) -> tuple[pa.Array, Spec]:
    sides = [encode_array(side.to_numpy() if isinstance(side.dtype, np.dtype) else side.array, where)
             for side in (values.left, values.right)]  # fmt: skip
    arrays = [side.combine_chunks() if isinstance(side, pa.ChunkedArray) else side for side, _ in sides]
    mask = pa.array(np.asarray(values.isna(), dtype=bool))
    array = pa.StructArray.from_arrays(arrays, ["left", "right"], mask=mask)
    return array, {"type": "interval", "closed": values.closed, "sides": sides[0][1]}


def _decode_interval(column: pa.ChunkedArray, spec: Spec) -> Any:
    left, right = (decode_array(side, spec["sides"]) for side in column.flatten())
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=spec["closed"])


def _encode_sparse(values: Any, where: str) -> tuple[Any, Spec]:
    dense, subtype = encode_array(np.asarray(values, dtype=values.dtype.subtype), where)
    fill = labels.label_to_json(values.fill_value, where=where)
    return dense, {"type": "sparse", "kind": values.kind, "fill": fill, "subtype": subtype}


def _decode_sparse(column: pa.ChunkedArray, spec: Spec) -> Any:
    dense = decode_array(column, spec["subtype"])
    return pd.arrays.SparseArray(dense, fill_value=labels.label_from_json(spec["fill"]), kind=spec["kind"])


def _encode_categorical(values: Any, where: str) -> tuple[pa.Array, Spec]:
    """Store the categories' values, so that SQL sees them; the list of categories goes into the spec."""
    categories = values.categories
    spec = {"type": "categorical", "ordered": bool(values.ordered), "categories": index_to_json(categories, where)}
    arrow, _ = encode_array(raw_values(categories), where)
    arrow = arrow.combine_chunks() if isinstance(arrow, pa.ChunkedArray) else arrow
    missing = values.codes < 0
    codes = pa.array(values.codes.astype(np.int32), mask=missing if missing.any() else None)
    if pa.types.is_large_string(arrow.type) or pa.types.is_string(arrow.type):
        return pa.DictionaryArray.from_arrays(codes, arrow, ordered=bool(values.ordered), safe=False), spec
    return arrow.take(codes), spec


def _decode_categorical(column: pa.ChunkedArray, spec: Spec) -> Any:
    categories = index_from_json(spec["categories"])
    known, _ = encode_array(raw_values(categories), "categories")
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    codes = np.empty(len(column), dtype=np.int32)
    start = 0
    for chunk in column.chunks:
        codes[start : start + len(chunk)] = _codes(chunk, known)
        start += len(chunk)
    dtype = pd.CategoricalDtype(categories, ordered=spec["ordered"])
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _codes(chunk: pa.Array, known: pa.Array) -> np.ndarray:
    """Return the position in ``known`` of each value of ``chunk``, -1 for null."""
    if not isinstance(chunk, pa.DictionaryArray):
        return _positions(chunk, known)
    mapping: np.ndarray = np.append(_positions(chunk.dictionary, known), np.int32(-1))
    indices: Any = chunk.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(-1)
    codes: np.ndarray = mapping[indices.to_numpy(zero_copy_only=False)]
    return codes


def _positions(values: pa.Array, known: pa.Array) -> np.ndarray:
    if values.type != known.type:
        values = values.cast(known.type)
    if isinstance(known.type, pa.BaseExtensionType):
        return _positions(values.storage, known.storage)
    if pa.types.is_struct(known.type) and not any(pa.types.is_nested(field.type) for field in known.type):
        found = _struct_positions(values, known)
    elif pa.types.is_nested(known.type):  # Arrow does not look these up: tuples, say
        places = {repr(value): place for place, value in enumerate(known.to_pylist())}
        wanted = [-1 if value is None else places.get(repr(value), -1) for value in values.to_pylist()]
        found = np.array(wanted, dtype=np.int32)
    elif pa.types.is_null(known.type):
        found = np.full(len(values), -1, dtype=np.int32)
    else:
        found = pc.index_in(values, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
    if int((found < 0).sum()) > values.null_count:
        raise Integrity("a categorical column holds a value that is none of its categories: verify the library")
    return found


def _struct_positions(values: pa.Array, known: pa.Array) -> np.ndarray:
    """Number the combinations of fields, in ``values`` as in ``known``, and look these numbers up."""

    def number(ids: np.ndarray, part: pa.Array, distinct: pa.Array) -> np.ndarray:
        places: np.ndarray = pc.index_in(part, value_set=distinct).fill_null(-1).to_numpy(zero_copy_only=False)
        numbered: np.ndarray = ids * (len(distinct) + 1) + places + 1
        return numbered

    ids, known_ids = np.zeros(len(values), np.int64), np.zeros(len(known), np.int64)
    for field, known_field in zip(values.flatten(), known.flatten(), strict=True):
        distinct = pc.unique(known_field)
        ids, known_ids = number(ids, field, distinct), number(known_ids, known_field, distinct)
    found = pc.index_in(pa.array(ids), value_set=pa.array(known_ids)).fill_null(-1).to_numpy(zero_copy_only=False)
    codes: np.ndarray = np.where(values.is_null().to_numpy(zero_copy_only=False), np.int32(-1), found)
    return codes


def index_to_json(index: pd.Index, where: str) -> dict[str, Any]:
    """Return ``index`` as JSON, values included."""
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], **name_to_json(index, where)}
    if isinstance(index, pd.MultiIndex):
        return {
            "levels": [index_to_json(level.rename(None), where) for level in index.levels],
            "codes": [np.asarray(codes).tolist() for codes in index.codes],
            "names": [labels.label_to_json(name, where=f"a name in {where}") for name in index.names],
        }
    body: dict[str, Any] = {**name_to_json(index, where), **frequency_to_json(index, where)}
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
        objects = value["objects"]
        if set(map(type, objects)) != {str}:  # of text, thousands of calls would change nothing
            objects = map(labels.label_from_json, objects)
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
    return with_frequency(pd.Index(values, name=name, copy=False), freq)


def with_frequency(index: pd.Index, freq: str | None) -> pd.Index:
    """Return ``index`` with this frequency, where its values keep it."""
    if freq is not None and isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        regular = _regular(index, freq)
        if regular is not None:
            return regular
        index = index.copy()
        with contextlib.suppress(ValueError):  # these values do not keep it
            index.freq = freq  # type: ignore[misc, assignment]
    return index


def _regular(index: pd.DatetimeIndex | pd.TimedeltaIndex, freq: str) -> pd.Index | None:
    """Return ``index`` made anew from its first value and ``freq``, if that has one length and the values keep it.

    pandas looks what frequency values have before it believes one, which takes up to twenty times as long.
    """
    with contextlib.suppress(ValueError, OverflowError):
        offset = pd.tseries.frequencies.to_offset(freq)
        has_zone = getattr(index, "tz", None) is not None  # days are not of one length where clocks change
        if len(index) and isinstance(offset, pd.offsets.Tick if has_zone else (pd.offsets.Tick, pd.offsets.Day)):
            make: Any = pd.timedelta_range if isinstance(index, pd.TimedeltaIndex) else pd.date_range
            found: pd.Index = make(index[0], periods=len(index), freq=offset, unit=index.unit, name=index.name)
            if found.dtype == index.dtype and found.equals(index):
                return found
    return None


def raw_values(values: pd.Index | pd.Series) -> Any:
    """Return the numpy array or extension array inside, without copying."""
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array


def name_to_json(index: pd.Index, where: str) -> dict[str, Any]:
    """Return {"name": …} for an index that has one."""
    if index.name is None:
        return {}
    return {"name": labels.label_to_json(index.name, where=f"a name in {where}")}


def frequency_to_json(index: pd.Index, where: str) -> dict[str, Any]:
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


_ENCODERS: dict[type, Callable[[Any, str], tuple[Any, Spec]]] = {
    pd.DatetimeTZDtype: _encode_zoned,
    pd.StringDtype: _encode_string,
    pd.CategoricalDtype: _encode_categorical,
    pd.ArrowDtype: _encode_arrow,
    pd.PeriodDtype: _encode_period,
    pd.IntervalDtype: _encode_interval,
    pd.SparseDtype: _encode_sparse,
}

_DECODERS: dict[str, Callable[[pa.ChunkedArray, Spec], Any]] = {
    "datetimetz": _decode_zoned,
    "string": _decode_string,
    "categorical": _decode_categorical,
    "arrow": _decode_arrow,
    "period": _decode_period,
    "interval": _decode_interval,
    "sparse": _decode_sparse,
    "masked": _decode_masked,
    "object": lambda column, spec: decode_objects(column, spec, decode_array),
    "raw": lambda column, spec: _decode_numpy(column, _plain_dtype(spec["dtype"])),
}
