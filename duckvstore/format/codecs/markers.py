"""Markers of missing rows in object columns that have several kinds: None, NaN, pd.NA, NaT and so on.

All are null in the stored column, as in SQL. Beside it is a column of codes, which says of each missing row which
of them it is (null: the one that the column's spec names). ``schema.value["markers"]`` has its field id by that of the
column; it belongs to the value, and no reader of the rows is shown it.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.errors import Integrity, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.codecs.pandas_objects import Spec
    from duckvstore.format.stored.documents import Schema

NAMES = ("None", "NaN", "NA", "NaT", "Decimal NaN")
SPEC = "int8"
PREFIX = "__vstore_missing_"
_DECIMAL_NAN = 4
_FLOATS = frozenset((float, np.float64))
_OF_TYPE = {
    "masked": "NA",
    "arrow": "NA",
    "datetimetz": "NaT",
    "period": "NaT",
    "interval": "NaN",
    "sparse": "NaN",
    "categorical": "NaN",
}


@cache
def _markers() -> tuple[Any, ...]:
    """Return what the codes mean; pandas is loaded for it."""
    import pandas as pd

    return (None, np.nan, pd.NA, pd.NaT, Decimal("NaN"))


@cache
def _by_type() -> dict[type, int]:
    """Return the codes of the markers that have types of their own."""
    return {type(_markers()[code]): code for code in (0, 2, 3)}


def split(values: Any) -> tuple[Any, pa.Array | None]:
    """Return (values with None in each missing row, codes) of objects with several markers; of others (values, None).

    A NaN is a marker where no other floating point number is there, and a value where one is.
    """
    if not isinstance(values, np.ndarray) or values.dtype != object:
        return values, None
    kinds = set(map(type, values))
    floats = kinds & _FLOATS
    if Decimal not in kinds and len(kinds & _by_type().keys()) + bool(floats) < 2:
        return values, None
    codes = np.fromiter(map(_code, values), np.int8, len(values))
    is_float = np.fromiter((type(value) in _FLOATS for value in values), np.bool_, len(values)) if floats else None
    if is_float is not None and np.isnan(values[is_float].astype(np.float64)).all():
        codes[is_float] = NAMES.index("NaN")
    found = set(np.unique(codes[codes >= 0]).tolist())
    if len(found) < 2 and _DECIMAL_NAN not in found:  # which is none of those that a spec can name
        return values, None
    values = values.copy()
    values[codes >= 0] = None
    return values, pa.array(codes, mask=codes < 0)


def _code(value: object) -> int:
    """Return the number of the marker that a value's type alone determines; -1: none."""
    if type(value) is Decimal and value.is_qnan() and str(value) == "NaN":
        return _DECIMAL_NAN
    return _by_type().get(type(value), -1)


def put_back(values: Any, codes: pa.ChunkedArray | None, column: pa.ChunkedArray) -> Any:
    """Return ``values``, decoded from ``column``, with the marker that ``codes`` name where a row is missing."""
    if codes is None or not isinstance(values, np.ndarray) or values.dtype != object:
        return values
    if codes.type != pa.int8():
        raise Integrity(f"the markers of missing rows are of type {codes.type}: verify the library")
    found = codes.fill_null(-1).to_numpy()
    is_named = (found >= 0) & column.is_null().to_numpy()
    if (found[is_named] >= len(NAMES)).any():
        raise Integrity("a missing row has a marker that there is none of: verify the library")
    for code in np.unique(found[is_named]):
        values[is_named & (found == code)] = _markers()[code]
    return values


def marker_of(spec: Spec) -> str:
    """Return the name of the marker that a missing row has in a pandas column of this dtype.

    Raises Unsupported for a type of column that this release does not know.
    """
    if isinstance(spec, str):
        return "NaT" if np.dtype(spec).kind in "mM" else "NaN"
    if "missing" in spec:
        return str(spec["missing"])
    if spec["type"] not in _OF_TYPE:
        raise Unsupported(f"a column of type {spec['type']!r} was written by a newer release: upgrade duckvstore")
    return _OF_TYPE[spec["type"]]


def codes_for(column: pa.ChunkedArray, name: str, own: pa.ChunkedArray | None = None) -> pa.ChunkedArray:
    """Return codes that say of each missing row of ``column`` that its marker is ``name``, unless its ``own`` do."""
    code = pa.scalar(NAMES.index(name), pa.int8())
    codes = pc.if_else(pc.is_null(column), code, pa.scalar(None, pa.int8()))
    return codes if own is None else pc.coalesce(own, codes)


def columns_for(schema: Schema, names: Sequence[str]) -> list[str]:
    """Return the stored names of the columns of codes of these stored columns, as far as they have any."""
    by_id = {column.id: column.name for column in schema.columns}
    wanted = set(names)
    return [by_id[schema.markers[column.id]] for column in schema.columns
            if column.name in wanted and column.id in schema.markers]  # fmt: skip
