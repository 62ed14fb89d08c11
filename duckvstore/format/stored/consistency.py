"""Checks that the parts of a version document agree, which the rest of this package relies on.

After ``check``, columns, Arrow schema, index and statistics match, numbers of rows and segments add up, and what
restores a value has the outer shape of its kind. Its inside (dtypes, labels) is read where the value is made, under
``envelope.believing``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from msgspec import UNSET, Struct, UnsetType

from duckvstore.format.stored import zones
from duckvstore.format.stored.documents import schema_from_json
from duckvstore.format.stored.envelope import Count, believing, checked, shown, work_out
from duckvstore.format.stored.manifests import FoldedSegments, totals
from duckvstore.format.stored.schema import FIELD_ID, decode_ipc
from duckvstore.format.stored.statistics import bound_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.format.stored.documents import Schema, Version
    from duckvstore.format.stored.segments import ColumnStatistics, Segment

WINDOW_MAX = 2**40
_INT64 = range(-(2**63), 2**63)
_ANY_INT64 = range(-(2**63), 2**64)


class _Dtype(Struct):
    type: str


class _Level(Struct):
    dtype: str | _Dtype


class _Index(Struct):
    """Of a frame's rows: a range, or levels that are columns."""

    range: tuple[int, int, int] | UnsetType = UNSET
    columns: list[_Level] | UnsetType = UNSET
    multi: bool | UnsetType = UNSET


class _Pandas(Struct, kw_only=True):
    dtypes: list[str | _Dtype]
    attrs: Any
    index: _Index
    markers: dict[int, int] = {}


class _Frame(_Pandas):
    columns: dict[str, Any]


class _Series(_Pandas):
    name: Any


class _Array(Struct):
    shape: list[Count]
    form: Literal["plain", "date", "physical", "list", "bytes", "empty"]


class _Arrow(Struct):
    schema: str


class _Polars(Struct):
    names: list[str]
    dtypes_polars: list[Any]
    series: bool


class _Leaf(Struct):
    place: str
    kind: str
    schema: dict[str, Any]
    segment_count: Count
    row_count: Count


class _Nested(Struct):
    tree: Any
    leaves: list[_Leaf]


work_out(_Frame, _Series, _Array, _Arrow, _Polars, _Nested)


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
    """Raise TypeError or ValueError unless bounds are of their columns' types."""
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


_BOUNDS = frozenset((int, float, str, bool))


def _check_manifests(segments: FoldedSegments) -> None:
    positions = [manifest.position for manifest in segments.manifests]
    if sorted(positions) != positions or (positions and positions[-1] > len(segments.inline)):
        raise ValueError(f"its manifests stand at {shown(positions)} among {len(segments.inline)} segments")
    if any(not manifest.segment_count for manifest in segments.manifests):
        raise ValueError("a manifest is of no segments")


def _check_leaves(version: Version) -> None:
    leaves = checked(version.schema.value, _Nested, "schema.value").leaves
    rows = sum(leaf.row_count for leaf in leaves)
    if rows != version.row_count:
        raise ValueError(f"row_count is {version.row_count}, its leaves have {rows}")
    start = 0
    for leaf in leaves:
        schema = schema_from_json(leaf.schema)
        _check_value(leaf.kind, schema, check_schema(schema))
        stop = start + leaf.segment_count
        own = version.segments[start:stop]
        check_statistics(own, schema)
        if schema.columns and sum(segment.row_count for segment in own) != leaf.row_count:
            raise ValueError(f"the leaf {shown(leaf.place)} has other rows than its segments")
        start = stop
    if start != len(version.segments):
        raise ValueError(f"its leaves have {start} segments, it has {len(version.segments)}")


def _check_value(kind: str, schema: Schema, arrow: pa.Schema) -> None:
    """Check the outer shape of what is beside the rows of a value of this kind."""
    if kind == "dataframe":
        _check_pandas(checked(schema.value, _Frame, "schema.value"), schema)
    elif kind == "series":
        found = checked(schema.value, _Series, "schema.value")
        _check_pandas(found, schema)
        if len(found.dtypes) != 1:
            raise ValueError(f"a series of {len(found.dtypes)} columns")
    elif kind in _CHECKS:
        shape, check = _CHECKS[kind]
        check(checked(schema.value, shape, "schema.value"), arrow)
        _check_index_column(kind, schema, arrow)
    elif kind in ("json", "pickle", "tree") and len(arrow) != 1:
        raise ValueError(f"a value of kind {kind} has one column, not {len(arrow)}")


def _check_arrow(value: _Arrow, arrow: pa.Schema) -> None:
    original = decode_ipc(value.schema)
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


def _check_polars(value: _Polars, arrow: pa.Schema) -> None:
    if not len(arrow) == len(value.names) == len(value.dtypes_polars):
        raise ValueError(f"it has {len(arrow)} columns, and other numbers of names or dtypes")
    if value.series and len(arrow) != 1:
        raise ValueError("series contradicts its columns")


def _check_nested(_value: _Nested, arrow: pa.Schema) -> None:
    if arrow.names:
        raise ValueError("a nested value has no columns of its own")


def _check_array(value: _Array, arrow: pa.Schema) -> None:
    if len(arrow) != 1:
        raise ValueError(f"an array of {len(arrow)} columns")
    checked(math.prod(value.shape[1:]), Count, "items of a row")


def _check_pandas(value: _Pandas, schema: Schema) -> None:
    if schema.index != schema.names[: len(schema.index)]:
        raise ValueError(f"its index is {shown(schema.index)}, its columns begin with {shown(schema.names)}")
    _check_markers(value.markers, schema)
    own = len(schema.shown) - len(schema.index)
    if len(value.dtypes) != own:
        raise ValueError(f"it has {own} columns and {len(value.dtypes)} dtypes")
    index = value.index
    if index.range is not UNSET:
        _check_range(index.range)
        if schema.index:
            raise ValueError(f"its index is a range and {len(schema.index)} columns")
        return
    if index.columns is UNSET or index.multi is UNSET or len(index.columns) != len(schema.index):
        raise ValueError(f"its index has other levels than the {len(schema.index)} columns")
    if not index.columns or (len(index.columns) != 1 and not index.multi):
        raise ValueError(f"its index has {len(index.columns)} levels")


def _check_markers(found: dict[int, int], schema: Schema) -> None:
    """What tells missing rows apart are columns of codes, each of another column that is none."""
    kinds = {column.id: column.type for column in schema.columns}
    leading = {column.id for column in schema.columns[: len(schema.index)]}
    codes = set(found.values())
    if not found.keys() <= kinds.keys() or codes & (found.keys() | leading) or len(codes) != len(found):
        raise ValueError(f"markers are {shown(found)}")
    if any(kinds.get(identity) != "int8" for identity in codes):
        raise ValueError(f"markers are {shown(found)}, and not all of these are columns of codes")


def _check_range(found: tuple[int, int, int]) -> None:
    """Take start, stop and step of a RangeIndex, which count no more than rows can."""
    if not found[2] or not all(number in _INT64 for number in found):
        raise ValueError(f"{shown(found)} is not a range of 64 bits")
    checked(len(range(*found)), Count, "rows of a range")


_CHECKS: dict[str, tuple[type[Struct], Callable[[Any, pa.Schema], None]]] = {
    "ndarray": (_Array, _check_array),
    "arrow": (_Arrow, _check_arrow),
    "polars": (_Polars, _check_polars),
    "nested": (_Nested, _check_nested),
}
