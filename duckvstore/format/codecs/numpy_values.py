"""numpy arrays of any shape and dtype <-> stored tables of one column, ``value``.

Dtype, shape and values come back equal, NaN included. A row is an item along the first axis; it is a
natural SQL value where Arrow has a type for it, a list of numbers where there are further axes, else its bytes.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from duckvstore.format.stored.documents import Schema

NAME = "value"
_KINDS = {"plain": "biufUS", "date": "M", "physical": "mM", "list": "biufc"}
_HOLLOW_BYTES_MIN = 2**30
_HOLLOW_TIMES = 4096
_NAT = np.iinfo(np.int64).min
_DAYS_MAX = 2**31 - 1


def encode(array: np.ndarray, where: str) -> tuple[Schema, pa.Table]:
    """Return (schema, rows) of an array. Raises Unsupported for objects and for subclasses of ndarray."""
    if type(array) not in (np.ndarray, np.memmap):
        kind = type(array)
        raise InvalidInput(f"{where} is a {kind.__module__}.{kind.__name__}: convert it with numpy.asarray(value)")
    dtype = array.dtype
    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        raise Unsupported(f"{where} is an array of dtype {dtype}, which cannot be stored: convert it to another dtype")
    body = _dtype_to_json(dtype)
    try:
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{where} has the dtype {dtype}, a name in which is not valid Unicode: rename it") from error
    rows = array.reshape(1) if array.ndim == 0 else array
    form, column = _encode_rows(rows, where)
    value = {"dtype": body, "shape": list(array.shape), "form": form}
    schema = schemas.from_arrow(pa.schema([pa.field(NAME, column.type)]), value=value)
    return schema, pa.Table.from_arrays([column], schema=schemas.to_arrow(schema))


def decode(table: pa.Table, schema: Schema) -> np.ndarray:
    """Return the array that was written, or the part along its first axis that ``table`` holds; writable."""
    value = schema.value
    dtype = _dtype_from_json(value["dtype"])
    column = table.column(NAME)
    tail = tuple(value["shape"][1:])
    parts = [_decode_rows(chunk, value["form"], dtype, tail) for chunk in column.chunks]
    whole = np.concatenate(parts) if parts else np.empty((0, *tail), dtype=dtype)
    if len(parts) == 1 or whole.dtype != dtype or whole.dtype.byteorder != dtype.byteorder:
        whole = np.array(whole, dtype=dtype)  # one chunk is still Arrow's memory, which is read-only
    return whole.reshape(()) if not value["shape"] and len(whole) else whole  # no rows of a scalar: an empty array


def joined(stored: dict[str, Any], new: dict[str, Any]) -> dict[str, Any] | None:
    """Return the JSON of an array with the rows of another after its own; None where they do not fit.

    They need the same dtype, but for the width of text, and the same dimensions after the first.
    """
    dtypes = [_dtype_from_json(value["dtype"]) for value in (stored, new)]
    shapes = [value["shape"] for value in (stored, new)]
    if not shapes[0] or not shapes[1] or shapes[0][1:] != shapes[1][1:] or stored["form"] != new["form"]:
        return None
    dtype = dtypes[0]
    if dtypes[0] != dtypes[1]:
        if stored["form"] != "plain" or dtype.kind != dtypes[1].kind or dtype.kind not in "US":
            return None
        dtype = max(dtypes, key=lambda kind: kind.itemsize)
    shape = [shapes[0][0] + shapes[1][0], *shapes[0][1:]]
    return {**stored, "dtype": _dtype_to_json(dtype), "shape": shape}


def shown(value: dict[str, Any]) -> str:
    """Return an array's dtype and shape as a message has them."""
    return f"an array of {_dtype_from_json(value['dtype'])} with shape {tuple(value['shape'])}"


def _dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """Return numpy's text for a plain dtype, or an object of the arguments that build a structured one."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": _dtype_to_json(base), "shape": list(shape)}
    if dtype.names is None or dtype.fields is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    body = {
        "names": list(dtype.names),
        "formats": [_dtype_to_json(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }
    titles = [field[2] if len(field) > 2 else None for field in fields]
    return {**body, "titles": titles} if any(titles) else body


def _dtype_from_json(value: Any) -> np.dtype[Any]:
    if isinstance(value, str):
        return np.dtype(value)
    if "base" in value:
        return np.dtype((_dtype_from_json(value["base"]), tuple(value["shape"])))
    body: Any = {**value, "formats": [_dtype_from_json(kind) for kind in value["formats"]]}
    dtype: np.dtype[Any] = np.dtype(body)
    return dtype


def _encode_rows(rows: np.ndarray, where: str) -> tuple[str, pa.Array]:
    dtype = rows.dtype
    native = rows.astype(dtype.newbyteorder("=")) if not dtype.isnative else rows
    items = math.prod(rows.shape[1:])
    if not items or not dtype.itemsize:
        return "empty", pa.nulls(len(rows))
    if rows.ndim == 1:
        _refuse_hollow(native, where)
        found = _encode_natural(native, where)
        if found is not None:
            return found
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return "list", pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(native).reshape(-1), from_pandas=False), items
        )
    if dtype.kind == "c" and dtype.itemsize <= 16:
        parts = np.ascontiguousarray(native).reshape(-1).view(f"f{dtype.itemsize // 2}")
        return "list", pa.FixedSizeListArray.from_arrays(pa.array(parts, from_pandas=False), 2 * items)
    width = items * dtype.itemsize
    buffer = pa.py_buffer(np.ascontiguousarray(rows).tobytes())
    return "bytes", pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, buffer])


def _refuse_hollow(values: np.ndarray, where: str) -> None:
    if values.dtype.kind in "US" and values.nbytes > _HOLLOW_BYTES_MIN:
        longest = int(np.char.str_len(values).max(initial=0))
        if values.dtype.itemsize > _HOLLOW_TIMES * max(longest, 1):
            raise InvalidInput(
                f"{where} is of {values.dtype}, and its longest text has {longest} characters: use astype()"
            )


def _encode_natural(values: np.ndarray, where: str) -> tuple[str, pa.Array] | None:
    """Return (form, column) for one-dimensional values that Arrow has a type for, else None."""
    kind, dtype = values.dtype.kind, values.dtype
    values = np.ascontiguousarray(values)
    if kind in "biu":
        return "plain", pa.array(values)
    if kind == "f" and dtype.itemsize <= 8:
        return "plain", pa.array(values, from_pandas=True)
    if kind == "U":
        try:
            return "plain", pa.array(values.astype(object), type=pa.large_string())
        except (UnicodeEncodeError, pa.ArrowException) as error:
            raise InvalidInput(f"{where} is an array of text that is not valid Unicode: {error}") from error
    if kind == "S":
        return "plain", pa.array(values.astype(object), type=pa.large_binary())
    if kind not in "mM":
        return None
    unit, count = np.datetime_data(dtype)
    physical = values.view(np.int64)
    missing = physical == _NAT
    mask = missing if missing.any() else None
    largest = int(np.abs(np.where(missing, 0, physical)).max(initial=0))
    if count == 1 and unit == "D" and kind == "M" and largest <= _DAYS_MAX:
        return "date", pa.array(physical.astype(np.int32), mask=mask).view(pa.date32())
    if count == 1 and unit in ("ms", "us", "ns"):
        target = pa.timestamp(unit) if kind == "M" else pa.duration(unit)
        return "physical", pa.array(physical, mask=mask).view(target)
    return "physical", pa.array(physical, mask=mask)


def _decode_rows(chunk: pa.Array, form: str, dtype: np.dtype[Any], tail: tuple[int, ...]) -> np.ndarray:
    shape = (len(chunk), *tail)
    items = math.prod(tail)
    if (
        dtype.hasobject
        or (form in _KINDS and dtype.kind not in _KINDS[form])
        or (form == "empty") == bool(items * dtype.itemsize)
    ):
        raise ValueError(f"no array of {dtype} and shape {shape} has rows of the form {form!r}")
    if dtype.kind in "US" and dtype.itemsize * len(chunk) > max(_HOLLOW_BYTES_MIN, _HOLLOW_TIMES * chunk.nbytes):
        raise ValueError(f"{dtype} is wider by far than the text that it holds")
    if form == "empty":
        return np.zeros(shape, dtype=dtype)
    if form == "plain":
        found: np.ndarray = chunk.to_numpy(zero_copy_only=False)
        return found if found.dtype == dtype else found.astype(dtype)
    if form in ("date", "physical"):
        storage = chunk.view(pa.int32()) if form == "date" else chunk.view(pa.int64())
        physical: np.ndarray = storage.cast(pa.int64()).fill_null(_NAT).to_numpy(zero_copy_only=False)
        return physical.view(dtype.newbyteorder("=")).astype(dtype).reshape(shape)
    if form == "list":
        flat: np.ndarray = chunk.flatten().to_numpy(zero_copy_only=False)
        native = dtype.newbyteorder("=")
        flat = flat.view(native) if dtype.kind == "c" else flat
        return flat.astype(dtype, copy=False).reshape(shape)
    raw = b"".join(chunk.to_pylist())
    return np.frombuffer(raw, dtype=dtype).reshape(shape)
