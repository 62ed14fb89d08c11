"""Whether the parts of a version document agree: what the rest of this package relies on without looking again.

Invariant: after ``check``, columns, Arrow schema, index and statistics are of one another, numbers of rows and segments
add up, and the outer shape of what brings a value back is that of its kind. What is inside of it (dtypes, labels) is
read where the value is made, under ``envelope.believing``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.format.stored import zones
from duckvstore.format.stored.documents import schema_from_json
from duckvstore.format.stored.envelope import Fields, believing, shown, whole
from duckvstore.format.stored.manifests import FoldedSegments, totals
from duckvstore.format.stored.schema import FIELD_ID, decode_ipc
from duckvstore.format.stored.statistics import bound_types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.documents import ColumnStatistics, Schema, Segment, Version

WINDOW_MAX = 2**40
_INT64 = range(-(2**63), 2**63)
_ANY_INT64 = range(-(2**63), 2**64)


def check(version: Version) -> Version:
    """Return ``version``, as it was read from a document. Raises Integrity when its parts contradict each other."""
    with believing("version", version.where):
        _check(version)
    return version


def _check(version: Version) -> None:
    schema = version.schema
    if version.window is not None and not 1 <= version.window <= WINDOW_MAX:
        raise ValueError(f"window is {version.window}")
    arrow = check_schema(schema)
    _check_value(version.kind, schema, arrow)
    segments = version.segments
    if isinstance(segments, FoldedSegments):
        _check_manifests(segments)
        check_statistics(segments.inline, schema)
    else:
        check_statistics(segments, schema)
    if schema.columns:
        row_count = totals(segments)[0]
        if row_count != version.row_count:
            raise ValueError(f"row_count is {version.row_count}, its segments have {row_count}")
    elif version.kind == "nested":
        _check_leaves(version)
    elif segments:
        raise ValueError(f"it has {len(segments)} segments and no columns")


def check_schema(schema: Schema) -> pa.Schema:
    """Return the Arrow schema, whose fields are the columns. Raises TypeError, ValueError or LookupError."""
    names, ids = schema.names, tuple(column.id for column in schema.columns)
    known = _columns_of(schema.arrow)
    if known != (names, ids):
        raise ValueError(f"its columns are {shown(names)} and {shown(ids)}, its Arrow schema has {shown(known)}")
    if len(set(names)) != len(names) or len(set(ids)) != len(ids) or 0 in ids:
        raise ValueError("two of its columns have one name or one id")
    if len(set(schema.index)) != len(schema.index) or not set(schema.index) <= set(names):
        raise ValueError(f"its index is {shown(schema.index)}, its columns are {shown(names)}")
    return decode_ipc(schema.arrow)


@lru_cache(maxsize=256)
def _columns_of(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return names and field ids of an Arrow schema, which most versions of a symbol have in common."""
    arrow = decode_ipc(text)
    for kind in set(arrow.types):
        zones.check_type(kind)
    return tuple(arrow.names), tuple(int((field.metadata or {}).get(FIELD_ID, b"0")) for field in arrow)


def check_statistics(segments: Sequence[Segment], schema: Schema) -> None:
    """Raise TypeError or ValueError unless bounds are of their columns' types, and counts of rows are such."""
    by_id: dict[int, list[ColumnStatistics]] = {}
    for segment in segments:
        for identity, known in segment.statistics.items():
            by_id.setdefault(identity, []).append(known)
    kinds = {c.id: field.type for c, field in zip(schema.columns, decode_ipc(schema.arrow), strict=True)}
    for identity, column in by_id.items():
        bounds = [bound for one in column for bound in (one.minimum, one.maximum) if bound is not None]
        if not set(map(type, bounds)) <= (bound_types(kinds[identity]) if identity in kinds else _BOUNDS):
            raise TypeError(f"statistics of column {identity} have bounds of another type than the column")
        whole_numbers = [bound for bound in bounds if type(bound) is int]
        limits = _INT64 if identity in kinds and not pa.types.is_uint64(kinds[identity]) else _ANY_INT64
        if whole_numbers and not (min(whole_numbers) in limits and max(whole_numbers) in limits):
            raise ValueError(f"statistics of column {identity} have a bound of more than 64 bits")
        if not {type(one.has_nan) for one in column} <= {bool, type(None)}:
            raise TypeError(f"statistics of column {identity} say neither yes nor no about NaN")
        for one in column:
            if one.null_count is not None:
                whole("nulls", one.null_count)


_BOUNDS = frozenset((int, float, str, bool))


def _check_manifests(segments: FoldedSegments) -> None:
    positions = [manifest.position for manifest in segments.manifests]
    if sorted(positions) != positions or (positions and positions[-1] > len(segments.inline)):
        raise ValueError(f"its manifests stand at {shown(positions)} among {len(segments.inline)} segments")
    if any(not manifest.segment_count for manifest in segments.manifests):
        raise ValueError("a manifest is of no segments")


def _check_leaves(version: Version) -> None:
    leaves = [Fields(leaf, "a leaf") for leaf in version.schema.value["leaves"]]
    rows = sum(leaf.number("row_count") for leaf in leaves)
    if rows != version.row_count:
        raise ValueError(f"row_count is {version.row_count}, its leaves have {rows}")
    start = 0
    for leaf in leaves:
        schema = schema_from_json(leaf.fields("schema"))
        leaf.text("place")
        _check_value(leaf.text("kind"), schema, check_schema(schema))
        stop = start + leaf.number("segment_count")
        own = version.segments[start:stop]
        check_statistics(own, schema)
        if schema.columns and sum(segment.row_count for segment in own) != leaf.number("row_count"):
            raise ValueError(f"the leaf {shown(leaf.text('place'))} has other rows than its segments")
        start = stop
    if start != len(version.segments):
        raise ValueError(f"its leaves have {start} segments, it has {len(version.segments)}")


def _check_value(kind: str, schema: Schema, arrow: pa.Schema) -> None:
    """Check the outer shape of what is beside the rows of a value of this kind."""
    value = Fields(schema.value, "value")
    if kind in ("dataframe", "series"):
        _check_pandas(kind, value, schema)
    elif kind in _CHECKS:
        _CHECKS[kind](value, arrow)
        _check_index_column(kind, schema, arrow)
    elif kind in ("json", "pickle", "tree") and len(arrow) != 1:
        raise ValueError(f"a value of kind {kind} has one column, not {len(arrow)}")


def _check_arrow(value: Fields, arrow: pa.Schema) -> None:
    original = decode_ipc(value.text("schema"))
    if len(original) != len(arrow):
        raise ValueError(f"it has {len(arrow)} columns, and had {len(original)}")
    for field in original:
        zones.check_type(field.type)


def _check_index_column(kind: str, schema: Schema, arrow: pa.Schema) -> None:
    """An Arrow or polars table has one column of times for an index, or none."""
    if schema.index and (kind not in ("arrow", "polars") or len(schema.index) > 1 or schema.value.get("series")):
        raise ValueError(f"its index is {shown(schema.index)}, and a value of kind {kind} has none")
    for name in schema.index:
        if not pa.types.is_timestamp(arrow.field(name).type):
            raise ValueError(f"its index column {shown(name)} is of type {arrow.field(name).type}")


def _check_polars(value: Fields, arrow: pa.Schema) -> None:
    if not len(arrow) == len(value.items_of("names", str)) == len(_listed(value, "dtypes_polars")):
        raise ValueError(f"it has {len(arrow)} columns, and other numbers of names or dtypes")
    if value.flag_or_none("series") is None or (value["series"] and len(arrow) != 1):
        raise ValueError("series contradicts its columns")


def _check_nested(value: Fields, arrow: pa.Schema) -> None:
    _listed(value, "leaves"), value["tree"]
    if arrow.names:
        raise ValueError("a nested value has no columns of its own")


def _check_pandas(kind: str, value: Fields, schema: Schema) -> None:
    if schema.index != schema.names[: len(schema.index)]:
        raise ValueError(f"its index is {shown(schema.index)}, its columns begin with {shown(schema.names)}")
    if "markers" in value:
        _check_markers(value.fields("markers").body, schema)
    own = len(schema.shown) - len(schema.index)
    specs = _listed(value, "dtypes")
    if len(specs) != own or (kind == "series" and own != 1):
        raise ValueError(f"it has {own} columns and {len(specs)} dtypes")
    for spec in specs:
        _check_spec(spec)
    value["attrs"], value.fields("columns") if kind == "dataframe" else value["name"]
    index = value.fields("index")
    if "range" in index:
        _check_range(index["range"])
        if schema.index:
            raise ValueError(f"its index is a range and {len(schema.index)} columns")
        return
    levels = index.items_of("columns", dict)
    if len(levels) != len(schema.index) or index.flag_or_none("multi") is None:
        raise ValueError(f"its index has {len(levels)} levels and {len(schema.index)} columns")
    if not levels or (len(levels) != 1 and not index["multi"]):
        raise ValueError(f"its index has {len(levels)} levels")
    for level in levels:
        _check_spec(level["dtype"])


def _check_markers(found: dict[str, Any], schema: Schema) -> None:
    """What tells missing rows apart are columns of codes, each of another column that is none."""
    kinds = {column.id: column.type for column in schema.columns}
    leading = {column.id for column in schema.columns[: len(schema.index)]}
    own, codes = {int(identity) for identity in found}, set(found.values())
    if not own <= kinds.keys() or codes & (own | leading) or len(codes) != len(found):
        raise ValueError(f"markers are {shown(found)}")
    if any(kinds.get(identity) != "int8" for identity in codes):
        raise ValueError(f"markers are {shown(found)}, and not all of these are columns of codes")


def _check_range(found: Any) -> None:
    """Take start, stop and step of a RangeIndex, which count no more than rows can."""
    start, stop, step = found
    if {type(start), type(stop), type(step)} != {int} or not step:
        raise ValueError(f"{shown(found)} is no range")
    whole("rows of a range", len(range(start, stop, step)))
    if not (start in _INT64 and stop in _INT64 and step in _INT64):
        raise ValueError(f"{shown(found)} is no range of 64 bits")


def _check_spec(spec: Any) -> None:
    if not isinstance(spec, str):
        Fields(spec, "a dtype").text("type")


def _check_array(value: Fields, arrow: pa.Schema) -> None:
    shape = value.items_of("shape", int)
    if len(arrow) != 1 or value.text("form") not in ("plain", "date", "physical", "list", "bytes", "empty"):
        raise ValueError(f"an array of form {shown(value['form'])} and {len(arrow)} columns")
    whole("items of a row", math.prod(shape[1:]))


_CHECKS = {"ndarray": _check_array, "arrow": _check_arrow, "polars": _check_polars, "nested": _check_nested}


def _listed(value: Fields, name: str) -> list[Any]:
    found = value[name]
    if type(found) is not list:
        raise TypeError(f"{name} must be a list, found {shown(found)}")
    return found
