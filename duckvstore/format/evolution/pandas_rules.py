"""pandas dtypes, labels and indexes of values that change.

A merged dtype holds every value of both sides: missing rows included, and not as another kind of value.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.codecs.pandas_arrays import (
    decode_array,
    encode_array,
    index_from_json,
    index_of_labels,
    index_to_json,
    raw_values,
)
from duckvstore.format.evolution.type_rules import common, convertible, is_nested
from duckvstore.format.rows.encoding import is_text
from duckvstore.format.stored import labels, metadata, zones
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.codecs.pandas_objects import Spec
    from duckvstore.format.stored.documents import Schema

_WHOLE = "biu"
_MASKED = {"i": "Int", "u": "UInt", "f": "Float"}
_OBJECTS = {"str": "text", "int": "number", "float": "number", "bool": "bool", "timedelta": "duration"}


def combined(
    stored: pa.DataType, stored_spec: Spec, new: pa.DataType, new_spec: Spec, *, new_has_nulls: bool
) -> tuple[pa.DataType, Spec] | None:
    """Return (type, spec) of a column of both; None where there is none.

    The stored spec is kept where it can hold all values. Where values of ``new`` fit only as far as they are exact,
    the type is the stored one.
    """
    if _is_categorical(stored_spec) and _is_categorical(new_spec):
        return _combined_categories(stored, stored_spec, new, new_spec)
    if pa.types.is_null(new) or pa.types.is_null(stored):
        return (stored, nullable(stored_spec)) if pa.types.is_null(new) else (new, nullable(new_spec))
    if _is_categorical(stored_spec) or _is_categorical(new_spec):
        return _combined_plain(stored, stored_spec, new, new_spec)
    if _nature(stored_spec, stored) != _nature(new_spec, new) or not _same_zone(stored_spec, new_spec):
        return None
    kind = common(stored, new)
    spec = None if kind is None else stored_spec if kind == stored else _with_type(stored_spec, kind)
    if kind is None or spec is None:
        if not convertible(stored, new):
            return None
        kind, spec = stored, stored_spec
    return kind, nullable(spec) if new_has_nulls and may_have_nulls(new_spec) else spec


def number_spec(
    kind: pa.DataType, stored: tuple[pa.DataType, Spec], new: tuple[pa.DataType, Spec], *, new_has_nulls: bool
) -> Spec | None:
    """Return the dtype of numbers of both sides, each given as (type, spec), in the type ``kind``; None: there is none.

    It is of the stored family if that has one. Parts of nested values go the same way.
    """
    if _nature(stored[1], stored[0]) != _nature(new[1], new[0]):
        return None
    for own, spec in (stored, new):
        found = spec if own == kind else _with_type(spec, kind)
        if found is not None:
            return nullable(found) if new_has_nulls and may_have_nulls(new[1]) else found
    return None


def fitted(schema: Schema, rows: pa.Table, where: str) -> Schema:
    """Return the schema of a pandas value that also holds ``rows``, which are in its stored types already.

    As in an append: numpy's whole numbers become nullable where a row is missing, and values without a category
    become one. Raises InvalidInput for a new category of an ordered categorical, and for a time within a period.
    """
    specs = [level["dtype"] for level in _levels(schema)]
    dtypes = list(schema.value["dtypes"])
    found = [
        _fitted(spec, rows.column(column.name), f"column {column.name!r} of {where}")
        for column, spec in zip(schema.shown, [*specs, *dtypes], strict=True)
    ]
    if found == [*specs, *dtypes]:
        return schema
    value = {**schema.value, "dtypes": found[len(specs) :]}
    if specs:
        levels = [{**level, "dtype": spec} for level, spec in zip(_levels(schema), found, strict=False)]
        value["index"] = {**value["index"], "columns": levels}
    return replace(schema, value=value)


def _levels(schema: Schema) -> list[dict[str, Any]]:
    index = schema.value.get("index")
    return list(index.get("columns", ())) if isinstance(index, dict) else []


def _fitted(spec: Spec, column: pa.ChunkedArray, where: str) -> Spec:
    if column.null_count:
        spec = nullable(spec)
    if isinstance(spec, dict) and spec["type"] == "interval":
        _decoded(column, spec, where)
    if isinstance(spec, dict) and spec["type"] == "period":
        _check_starts(column, spec, where)
    if not _is_categorical(spec):
        return spec
    if _is_held(spec, column):
        return spec
    known = index_from_json(spec["categories"])
    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    values = values.drop_null() if is_nested(values.type) else pa.chunked_array([values.unique().drop_null()])
    if len(known):  # a period is a time in its column, and an interval a struct
        added = pd.Index(_decoded(values, encode_array(raw_values(known), where)[1], where)).unique()
    else:
        added = pd.Index(values.to_pandas())
    added = added[~added.isin(known)]
    if len(added) and spec["ordered"]:
        raise InvalidInput(
            f"{where} is an ordered categorical without the value {added[0]!r}: write() it with that category in its "
            "place"
        )
    every = known.append(added.astype(known.dtype)) if len(known) else added
    widened = {**spec, "categories": index_to_json(every.rename(known.name), "the categories")}
    if not _is_held(widened, column):
        raise InvalidInput(
            f"{where} is a categorical of {known.dtype}, and some new value is none of its: write() the column as "
            "another type"
        )
    return widened


def _decoded(column: pa.ChunkedArray, spec: Spec, where: str) -> Any:
    """Return the values of a column. Raises InvalidInput for one that pandas cannot have in this dtype."""
    try:
        return decode_array(column, spec)
    except ValueError as error:  # an interval that ends before it begins
        raise InvalidInput(f"{where} has a value that pandas cannot hold ({error}): write() the column anew") from error


def _check_starts(column: pa.ChunkedArray, spec: Spec, where: str) -> None:
    """Raise InvalidInput for a time within a period: SQL would show that time, and pandas the period."""
    periods = _decoded(column, spec, where)
    try:
        starts, _ = encode_array(periods, where)
    except Unsupported as error:  # a time that begins no period, as -infinity
        raise InvalidInput(f"{where} has a value that {periods.dtype} cannot hold: write() the column anew") from error
    at = pc.index(pc.not_equal(column, starts), value=True).as_py()
    if at >= 0:
        given, start = (found[at].cast(pa.string()).as_py() for found in (column, starts))
        raise InvalidInput(
            f"{where} has the dtype {periods.dtype}, whose values are stored as the start of their period, and {given} "
            f"is not the start of one: give {start}, the start of {periods[at]}"
        )


def _is_held(spec: Spec, column: pa.ChunkedArray) -> bool:
    """Tell whether each value of ``column`` is a category of ``spec``."""
    try:
        decode_array(column, spec)
    except (Integrity, pa.ArrowInvalid):  # a value that the categories' type cannot hold
        return False
    return True


def first_labels(columns: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the JSON of the first ``count`` labels of a frame's columns."""
    return index_to_json(index_from_json(columns)[:count], "the columns")


def nullable(spec: Spec) -> Spec:
    """Return the spec of a dtype that also holds missing rows: numpy's whole numbers and booleans become nullable."""
    if isinstance(spec, dict) and spec["type"] == "sparse":
        dense = nullable(spec["subtype"])
        return spec if dense == spec["subtype"] else dense
    if not isinstance(spec, str) or np.dtype(spec).kind not in _WHOLE:
        return spec
    return {"type": "masked", "dtype": _masked(np.dtype(spec))}


def may_have_nulls(spec: Spec) -> bool:
    """Return whether a column of this dtype can have missing rows."""
    return bool(nullable(spec) == spec)


def _masked(dtype: np.dtype[Any]) -> str:
    """Return the name of pandas' nullable dtype for a numpy one."""
    if dtype.kind == "b":
        return "boolean"
    return f"{_MASKED[dtype.kind]}{8 * dtype.itemsize}"


def _is_categorical(spec: Spec) -> bool:
    return isinstance(spec, dict) and spec["type"] == "categorical"


def _combined_categories(
    stored: pa.DataType, stored_spec: Spec, new: pa.DataType, new_spec: Spec
) -> tuple[pa.DataType, Spec] | None:
    if stored_spec == new_spec and stored == new:
        return stored, stored_spec
    if stored_spec["ordered"] or new_spec["ordered"]:
        return None
    known, added = (index_from_json(spec["categories"]) for spec in (stored_spec, new_spec))
    if not len(known) and (is_text(new) or pa.types.is_null(stored)):
        return new, new_spec  # all rows were missing
    if not len(added) and (is_text(stored) or pa.types.is_null(new)):
        return stored, stored_spec
    if known.dtype != added.dtype and not (is_text(stored) and is_text(new)):
        return None
    kind = common(stored, new)
    if kind is None or (kind != stored and not is_text(kind)):
        return None
    every = known.append(added[~added.isin(known)].astype(known.dtype))
    return kind, {**stored_spec, "categories": index_to_json(every.rename(known.name), "the categories")}


def _combined_plain(
    stored: pa.DataType, stored_spec: Spec, new: pa.DataType, new_spec: Spec
) -> tuple[pa.DataType, Spec] | None:
    """Return a plain column for a categorical of plain values and the values themselves."""
    is_stored = _is_categorical(stored_spec)
    coded, plain = (stored_spec, new_spec) if is_stored else (new_spec, stored_spec)
    values, kind = (stored, new) if is_stored else (new, stored)
    nature = _nature(plain, kind)
    if coded["ordered"] or nature not in ("text", "number", "bool"):
        return None
    if (nature == "text" and is_text(values)) or values == kind:
        return kind, nullable(plain)
    return None


def _nature(spec: Spec, kind: pa.DataType) -> Any:
    """Return what values of the dtype are: columns of different natures do not mix, whatever their Arrow types."""
    if isinstance(spec, str):
        letter = np.dtype(spec).kind
        return {"b": "bool", "M": "time", "m": "duration"}.get(letter, "number")
    name = spec["type"]
    if name == "masked":
        return "bool" if spec["dtype"] == "boolean" else "number"
    if name == "sparse":
        return _nature(spec["subtype"], kind)
    if name == "arrow":
        return _arrow_nature(kind)
    if name == "object":
        of = spec["of"]
        if of == "datetime":
            return "zoned" if "zone" in spec else "time"
        if of == "boxed":
            return "boxed", json.dumps(spec["dtype"])
        return _OBJECTS.get(of, of) if isinstance(of, str) else f"objects of {of['nested']}"
    plain = {"string": "text", "datetimetz": "zoned"}
    return plain.get(name) or json.dumps({key: value for key, value in spec.items() if key != "unit"})


def _arrow_nature(kind: pa.DataType) -> Any:
    types = pa.types
    if is_text(kind):
        return "text"
    if types.is_timestamp(kind):
        return "time" if kind.tz is None else "zoned"
    checks = {
        "number": lambda kind: types.is_integer(kind) or types.is_floating(kind),
        "bool": types.is_boolean,
        "duration": types.is_duration,
        "Decimal": types.is_decimal,
        "date": types.is_date32,
        "time of day": types.is_time,
        "bytes": lambda kind: types.is_binary(kind) or types.is_large_binary(kind),
    }
    if is_nested(kind):
        return "nested"
    return next((name for name, check in checks.items() if check(kind)), str(kind))


def _same_zone(stored: Spec, new: Spec) -> bool:
    """Whether two dtypes have the same time zone, as far as they name one themselves (Arrow's types do)."""
    named = [spec["zone"] for spec in (stored, new) if isinstance(spec, dict) and "zone" in spec]
    if len(named) < 2:
        return True
    one, other = (pd.DatetimeTZDtype("ns", zones.from_json(zone)) for zone in named)
    return bool(one == other)


def _with_type(spec: Spec, kind: pa.DataType) -> Spec | None:
    """Return the dtype of the same family whose values have the Arrow type ``kind``; None: there is none."""
    if isinstance(spec, str):
        return kind.to_pandas_dtype().__name__ if _is_numpy_number(kind) else f"datetime64[{kind.unit}]"
    name = spec["type"]
    if name == "masked" and not pa.types.is_float16(kind):
        return {"type": "masked", "dtype": _masked(np.dtype(kind.to_pandas_dtype()))}
    if name == "sparse" and _is_numpy_number(kind):
        return {**spec, "subtype": kind.to_pandas_dtype().__name__}
    if name == "datetimetz":
        return {**spec, "unit": kind.unit}
    if name == "arrow":
        return {"type": "arrow", "ipc": schemas.encode_ipc(pa.schema([pa.field("", schemas.without_metadata(kind))]))}
    if name == "object" and is_nested(kind):
        items = {"items": kind.value_type.to_pandas_dtype()().dtype.str} if "items" in spec["of"] else {}
        return {**spec, "of": {**spec["of"], **items}}
    if name == "object":
        fits = {"int": pa.types.is_integer, "float": pa.types.is_floating, "Decimal": pa.types.is_decimal}
        check = fits.get(spec["of"]) if isinstance(spec["of"], str) else None
        return spec if check is not None and check(kind) else None
    return None


def _is_numpy_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def label_keys(value_labels: Sequence[Any]) -> list[Any]:
    """Return something hashable per label that is equal for equal ones: True is not 1 here, and NaN is NaN."""
    return [(type(label) is bool, _comparable(label)) for label in value_labels]


def _comparable(label: Any) -> Any:
    """Return ``label`` with what does not equal itself (also in tuples) replaced by what does, and is never a label."""
    if isinstance(label, tuple):
        return tuple(map(_comparable, label))
    return label if _equals_itself(label) else (..., str(label))


def _equals_itself(label: Any) -> bool:
    try:
        return bool(label == label)  # noqa: PLR0124
    except TypeError:  # pd.NA
        return False


def labels_of(value: dict[str, Any]) -> list[Any]:
    """Return the labels of a frame's columns, or the name of a series, from its JSON."""
    return list(index_from_json(value["columns"])) if "columns" in value else [labels.label_from_json(value["name"])]


def merged_labels(stored: dict[str, Any], new: dict[str, Any], added: Sequence[int], where: str) -> dict[str, Any]:
    """Return the column labels ``stored`` with those of ``new`` at the positions ``added``; all are JSON."""
    if not added:
        return stored
    known, given = index_from_json(stored), index_from_json(new)
    if known.nlevels != given.nlevels:
        raise InvalidInput(
            f"{where} has column labels of {known.nlevels} levels, the data of {given.nlevels}: give it the same, or "
            "write() the whole value"
        )
    every = known.append(given.take(list(added)))
    if known.nlevels == 1:
        every = index_of_labels([*known, *given.take(list(added))], every.dtype, known.name)
    every.names = known.names
    return index_to_json(every, f"the columns of {where}")


def merged_attrs(stored: Any, new: Any) -> Any:
    """Return the attributes of both, all as JSON; the new ones count."""
    return metadata.to_json({**metadata.from_json(stored), **metadata.from_json(new)})


def check_index(stored: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Raise InvalidInput unless rows with the index ``new`` can follow ``stored``, whatever their types."""
    if ("range" in stored) != ("range" in new):
        raise InvalidInput(
            f"{where} has {_shown_index(stored)}, the data has {_shown_index(new)}: "
            f"{'reset_index()' if 'range' in stored else 'set_index()'} the data, or write() the whole value"
        )
    if "range" in stored:
        if stored.get("name") != new.get("name"):
            raise _other_names(stored, new, where)
        continues = new["range"][0] == stored["range"][1] and new["range"][2] == stored["range"][2]
        is_default = new["range"][0] == 0 and new["range"][2] == 1
        if not is_default and not continues:
            raise InvalidInput(
                f"{where} has {_shown_index(stored)}, which {_shown_index(new)} of the data does not continue: "
                "reset_index(drop=True) the data, or write() the whole value"
            )
        return
    names = [[level.get("name") for level in index["columns"]] for index in (stored, new)]
    if stored["multi"] != new["multi"] or names[0] != names[1]:
        raise _other_names(stored, new, where)


def _other_names(stored: dict[str, Any], new: dict[str, Any], where: str) -> InvalidInput:
    return InvalidInput(
        f"{where} has {_shown_index(stored)}, the data has {_shown_index(new)}: give its index the same levels and "
        "names (rename_axis(), set_index()), or write() the whole value"
    )


def _shown_index(index: dict[str, Any]) -> str:
    if "range" in index:
        start, stop, step = index["range"]
        name = f", name={labels.label_from_json(index['name'])!r}" if "name" in index else ""
        return f"a RangeIndex({start}, {stop}, {step}{name})"
    names = [labels.label_from_json(level.get("name")) for level in index["columns"]]
    return f"an index of labels named {', '.join(map(repr, names))}"


def merged_range(stored: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the RangeIndex of ``stored``, continued by as many rows as ``new`` has."""
    start, _, step = stored["range"]
    count = sum(len(range(*index["range"])) for index in (stored, new))
    return {**stored, "range": [start, start + count * step, step]}


def merged_level(
    stored: dict[str, Any], new: dict[str, Any], kinds: tuple[pa.DataType, pa.DataType], *, new_has_nulls: bool
) -> tuple[pa.DataType, dict[str, Any]] | None:
    """Return (type, JSON) of an index level of both, whose Arrow types are ``kinds``; None where there is none."""
    found = combined(kinds[0], stored["dtype"], kinds[1], new["dtype"], new_has_nulls=new_has_nulls)
    if found is None:
        return None
    return found[0], level_with(stored, new, found[1])


def level_with(stored: dict[str, Any], new: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Return the JSON of an index level of both with the dtype ``spec``."""
    gaps = bool(stored.get("gaps") or new.get("gaps")) and not may_have_nulls(spec)
    level = {key: value for key, value in stored.items() if key not in ("freq", "gaps", "dtype")}
    return {**level, "dtype": spec, **({"gaps": True} if gaps else {})}


def nullable_level(level: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an index level that also holds missing labels."""
    return level_with(level, level, nullable(level["dtype"]))


def with_index_of(stored: Schema, new: Schema) -> Schema:
    """Return the schema of a frame without rows, with the index of ``new`` in place of its own."""
    fields = list(schemas.to_arrow(new))[: len(new.index)]
    own = list(schemas.shown(stored))[len(stored.index) :]  # no row is missing, by whatever marker
    names = schemas.unique_names([field.name for field in own], new.index)
    fields += [field.with_name(name) for field, name in zip(own, names, strict=True)]
    index = new.value["index"]
    if "range" in index:
        start, _, step = index["range"]
        index = {**index, "range": [start, start, step]}
    value = {key: found for key, found in stored.value.items() if key != "markers"}
    return schemas.from_arrow(pa.schema(fields), index=new.index, value={**value, "index": index})
