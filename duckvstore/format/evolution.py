"""What a value becomes when rows of another schema join it: the schema of both, and old and new rows in it.

Invariant: a column keeps its name, its place and its field id for good, and its values are never changed, only held in
a type that is at least as wide; whatever would lose something is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput
from duckvstore.format import schema as schemas
from duckvstore.format.documents import Column, ColumnStatistics, Schema
from duckvstore.format.encoding import exact
from duckvstore.format.evolution_types import common, convertible, factor, has_unit
from duckvstore.format.statistics import COLUMNS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckvstore.format.documents import Segment
    from duckvstore.format.values import Encoded

_TICKS_MAX = 2**63 - 1
_NATURE_SHOWN_MAX = 120


@dataclass(frozen=True, slots=True)
class _Side:
    """A column of one side: ``key`` is what it is matched by, ``nature`` what its kind of value knows beside its type.

    ``label``: as the user knows it; ``name``: as stored.
    """

    key: Any
    label: Any
    shown: str
    name: str
    type: pa.DataType
    nature: Any


@dataclass(frozen=True, slots=True)
class _Planned:
    """A column of the merged schema; ``old`` and ``source`` are its positions in the stored and the new one, if any."""

    shown: str
    name: str
    id: int
    type: pa.DataType
    nature: Any
    old: int | None
    source: int | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A stored schema and that of new rows as one.

    ``schema``: of the new version. ``changed``: whether it has other columns or types than the stored one, so that old
    segments are read through it.
    """

    schema: Schema
    changed: bool
    where: str
    stored: Schema
    columns: tuple[_Planned, ...]

    def rows(self, table: pa.Table) -> pa.Table:
        """Return rows of the new schema in the merged one: reordered, what is missing null, cast, text dense.

        Raises InvalidInput for a value that the stored type does not hold exactly.
        """
        target = schemas.to_arrow(self.schema)
        arrays: list[Any] = []
        for planned in self.columns:
            if planned.source is None:
                arrays.append(pa.nulls(table.num_rows, planned.type))
                continue
            column = table.column(planned.source)
            try:
                arrays.append(exact(column, planned.type))
            except pa.ArrowException as error:
                raise _refusal(self.where, [_inexact(planned, column.type, error)]) from error
        return pa.Table.from_arrays(arrays, schema=target)

    def statistics(self, segment: Segment) -> Segment:
        """Return an old segment with its statistics in the merged types.

        Columns that it lacks are all null; bounds in another unit are left out. Raises InvalidInput where a time of
        the segment is, or may be, beyond what the finer unit of its column holds.
        """
        known = dict(segment.statistics)
        types = [field.type for field in schemas.to_arrow(self.stored)]
        for position, planned in enumerate(self.columns):
            if planned.old is None:
                if position < len(self.schema.index) + COLUMNS_MAX:
                    known[planned.id] = ColumnStatistics(null_count=segment.row_count, has_nan=False)
            elif planned.type != types[planned.old] and has_unit(types[planned.old]):
                found = known.pop(planned.id, ColumnStatistics())
                if not _fits(found, segment.row_count, types[planned.old], planned.type):
                    raise _refusal(self.where, [_beyond(planned, types[planned.old])])
        return replace(segment, statistics=known)


def merge(stored_kind: str, stored: Schema, new: Encoded, *, where: str) -> Merged:
    """Return the schema in which rows of ``new`` join those of a version, and how both get there.

    ``where`` names the symbol, quotes included. Columns are matched by label (Arrow and polars: by name); each side
    may lack some, or have narrower types. Rows of ``new`` are only looked at where its type is wider.
    Raises InvalidInput, with a line per column, for what does not fit without loss.
    """
    if new.kind != stored_kind:
        raise InvalidInput(
            f"{where} holds a value of kind {stored_kind!r}, and the data is of kind {new.kind!r}: convert the data, "
            "or write() the whole value"
        )
    merger = _MERGERS.get(stored_kind)
    if merger is None:
        raise InvalidInput(f"{where} holds a value of kind {stored_kind!r}, which has no rows to add to: write() it")
    return merger(stored, new, where)


def _merge_pandas(stored: Schema, new: Encoded, where: str) -> Merged:
    from duckvstore.format import evolution_pandas as rules

    _check_countable((stored, new.schema), where)
    rules.check_index(stored.value["index"], new.schema.value["index"], where)
    levels = len(stored.index)
    olds, news = _pandas_sides(stored), _pandas_sides(new.schema)
    if "name" in stored.value and new.schema.value["name"] not in (None, stored.value["name"]):
        raise InvalidInput(
            f"{where} holds a series of another name ({olds[-1].shown}) than the data ({news[-1].shown}): rename() it, "
            "or write() the whole value"
        )

    def combine(old: _Side, given: _Side, has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        if old not in olds[:levels]:
            return rules.combined(old.type, old.nature, given.type, given.nature, new_has_nulls=has_nulls)
        found = rules.merged_level(old.nature, given.nature, (old.type, given.type), new_has_nulls=has_nulls)
        if found is None or old is not olds[0] or not pa.types.is_timestamp(old.type):
            return found
        # The order of rows is known from the bounds of this level, which do not outlive a change of unit.
        return old.type, {**found[1], "dtype": old.nature["dtype"]}

    columns = _planned(stored, olds, news, (combine, rules.nullable), new.table, where)
    old_value, new_value = stored.value, new.schema.value
    value = {
        **old_value,
        "dtypes": [planned.nature for planned in columns[levels:]],
        "attrs": rules.merged_attrs(old_value["attrs"], new_value["attrs"]),
    }
    if "range" in old_value["index"]:
        value["index"] = rules.merged_range(old_value["index"], new_value["index"])
    else:
        value["index"] = {**old_value["index"], "columns": [planned.nature for planned in columns[:levels]]}
    if "columns" in old_value:
        added = [planned.source - levels for planned in columns if planned.old is None and planned.source is not None]
        value["columns"] = rules.merged_labels(old_value["columns"], new_value["columns"], added, where)
    return _merged(stored, columns, value, where)


def _pandas_sides(schema: Schema) -> list[_Side]:
    """Return the index levels, which are matched by position, and the columns, which are by label."""
    from duckvstore.format import evolution_pandas as rules

    value = schema.value
    types = [field.type for field in schemas.to_arrow(schema)]
    natures = [*value["index"].get("columns", ()), *value["dtypes"]]
    levels = [("level", number) for number in range(len(schema.index))]
    found = rules.labels_of(value)
    shown = [*(f"index level {name!r}" for name in schema.index), *(f"column {label!r}" for label in found)]
    keys = [*levels, *(rules.label_keys(found) if "columns" in value else [0])]
    known = [*schema.index, *found]
    return [_Side(*side) for side in zip(keys, known, shown, schema.names, types, natures, strict=True)]


def _check_countable(both: Iterable[Schema], where: str) -> None:
    """Raise InvalidInput for rows without any column: nothing that is stored says where they are among others."""
    for schema in both:
        if not schema.columns and len(range(*schema.value["index"]["range"])) > 0:
            raise InvalidInput(f"{where} or the data has rows without any column: write() the whole value")


def _merge_arrow(stored: Schema, new: Encoded, where: str) -> Merged:
    originals = [schemas.decode_ipc(schema.value["schema"]) for schema in (stored, new.schema)]
    olds, news = (
        _named_sides(schema, original.names, list(original))
        for schema, original in zip((stored, new.schema), originals, strict=True)
    )

    def combine(old: _Side, given: _Side, _has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = common(old.type, given.type)
        if kind is None:
            if not convertible(old.type, given.type):
                return None
            kind = old.type
        natures = {given.type: given.nature.type, old.type: old.nature.type}
        nullable = old.nature.nullable or given.nature.nullable
        return kind, old.nature.with_type(natures.get(kind, kind)).with_nullable(nullable)

    columns = _planned(stored, olds, news, (combine, lambda field: field.with_nullable(True)), new.table, where)
    schema = pa.schema([planned.nature for planned in columns], metadata=originals[0].metadata)
    same = schema.equals(originals[0], check_metadata=True)
    value = stored.value if same else {**stored.value, "schema": schemas.encode_ipc(schema)}
    return _merged(stored, columns, value, where)


def _merge_polars(stored: Schema, new: Encoded, where: str) -> Merged:
    from duckvstore.format import polars_values

    bodies = [schema.value for schema in (stored, new.schema)]
    if bodies[0]["series"] != bodies[1]["series"]:
        what = ["a series" if body["series"] else "a frame" for body in bodies]
        raise InvalidInput(f"{where} holds {what[0]} of polars, and the data is {what[1]}: convert the data")
    olds, news = (
        _named_sides(schema, schema.value["names"], schema.value["dtypes_polars"]) for schema in (stored, new.schema)
    )

    def combine(old: _Side, given: _Side, _has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = common(old.type, given.type)
        if kind is None and convertible(old.type, given.type):
            kind = old.type
        is_other_enum = isinstance(old.nature, dict) and "Enum" in old.nature and old.nature != given.nature
        if kind is None or (is_other_enum and not pa.types.is_null(given.type)):
            return None
        natures = {given.type: given.nature, old.type: old.nature}
        return kind, natures[kind] if kind in natures else polars_values.dtype_of(kind, f"{old.shown} of {where}")

    columns = _planned(stored, olds, news, (combine, lambda dtype: dtype), new.table, where)
    added = [given.key for given in news if given.key not in {old.key for old in olds}]
    names = [*bodies[0]["names"], *added] if not bodies[0]["series"] else bodies[0]["names"]
    value = {**bodies[0], "names": names, "dtypes_polars": [planned.nature for planned in columns]}
    return _merged(stored, columns, value, where)


def _named_sides(schema: Schema, originals: Sequence[str], natures: Sequence[Any]) -> list[_Side]:
    types = [field.type for field in schemas.to_arrow(schema)]
    shown = [f"column {name!r}" for name in originals]
    keys: Sequence[Any] = [0] if schema.value.get("series") else originals
    return [_Side(*side) for side in zip(keys, originals, shown, schema.names, types, natures, strict=True)]


def _merge_numpy(stored: Schema, new: Encoded, where: str) -> Merged:
    from duckvstore.format import numpy_values

    value = numpy_values.joined(stored.value, new.schema.value)
    types = [schemas.to_arrow(schema).field(0).type for schema in (stored, new.schema)]
    if value is None or types[0] != types[1]:
        shown = [numpy_values.shown(schema.value) for schema in (stored, new.schema)]
        raise InvalidInput(
            f"{where} holds {shown[0]}, and the data is {shown[1]}: rows are added along the first axis, so give the "
            "same dtype and further dimensions, or write() the whole value"
        )
    column = stored.columns[0]
    return _merged(stored, [_Planned("column 'value'", column.name, column.id, types[0], None, 0, 0)], value, where)


_MERGERS: dict[str, Callable[[Schema, Encoded, str], Merged]] = {
    "dataframe": _merge_pandas,
    "series": _merge_pandas,
    "arrow": _merge_arrow,
    "polars": _merge_polars,
    "ndarray": _merge_numpy,
}


def _planned(
    stored: Schema,
    olds: Sequence[_Side],
    news: Sequence[_Side],
    rules: tuple[Callable[[_Side, _Side, bool], tuple[pa.DataType, Any] | None], Callable[[Any], Any]],
    table: pa.Table | None,
    where: str,
) -> list[_Planned]:
    """Return the columns of both sides: the stored ones in their places, then those that only ``news`` has.

    ``rules``: (type, nature) of a column of both, None where it is refused; and the nature of one with missing rows.
    """
    combine, alone = rules
    sources = _sources(olds, news, where)
    columns, problems = [], []
    for position, (old, column) in enumerate(zip(olds, stored.columns, strict=True)):
        source = sources[position]
        if source is None:
            columns.append(_Planned(old.shown, old.name, column.id, old.type, alone(old.nature), position, None))
            continue
        given = news[source]
        has_nulls = table is None or table.column(source).null_count > 0
        found = combine(old, given, has_nulls)
        if found is None:
            problems.append(_differs(old, given))
            continue
        planned = _Planned(old.shown, old.name, column.id, *found, position, source)
        columns.append(planned)
        problems += _inexact_values(planned, given.type, table)
    if problems:
        raise _refusal(where, problems)
    next_id = schemas.next_id(stored)
    taken = set(sources.values())
    added = [(source, given) for source, given in enumerate(news) if source not in taken]
    names = schemas.unique_names([given.label for _, given in added], stored.names)
    for number, ((source, given), name) in enumerate(zip(added, names, strict=True)):
        nature = alone(given.nature)
        columns.append(_Planned(given.shown, name, next_id + number, given.type, nature, None, source))
    return columns


def _sources(olds: Sequence[_Side], news: Sequence[_Side], where: str) -> dict[int, int | None]:
    """Return which of ``news`` each of ``olds`` is (None: missing). Raises InvalidInput for labels that repeat."""
    keys, given = [old.key for old in olds], [new.key for new in news]
    if keys == given:
        return dict(enumerate(range(len(news))))
    for sides in (olds, news):
        seen: set[Any] = set()
        for side in sides:
            if side.key in seen:
                raise InvalidInput(
                    f"{where} cannot be matched with the data: {side.shown} is there more than once, so both need the "
                    "same columns in the same order; or write() the whole value"
                )
            seen.add(side.key)
    positions = {key: position for position, key in enumerate(given)}
    return {position: positions.get(key) for position, key in enumerate(keys)}


def _merged(stored: Schema, columns: Sequence[_Planned], value: dict[str, Any], where: str) -> Merged:
    before = list(schemas.to_arrow(stored))
    is_same = len(columns) == len(before) and all(
        planned.type == field.type for planned, field in zip(columns, before, strict=True)
    )
    if is_same:
        schema = replace(stored, value=value)
        return Merged(schema, changed=False, where=where, stored=stored, columns=tuple(columns))
    fields = []
    for planned in columns:
        nullable = planned.old is None or planned.source is None or before[planned.old].nullable
        identity = {schemas.FIELD_ID: str(planned.id).encode()}
        fields.append(pa.field(planned.name, planned.type, nullable=nullable, metadata=identity))
    names = tuple(Column(planned.name, str(planned.type), planned.id) for planned in columns)
    schema = replace(stored, columns=names, arrow=schemas.encode_ipc(pa.schema(fields)), value=value)
    if stored.next_id is not None:
        schema = replace(schema, next_id=max(stored.next_id, schemas.next_id(schema)))
    return Merged(schema, changed=True, where=where, stored=stored, columns=tuple(columns))


def _inexact_values(planned: _Planned, given: pa.DataType, table: pa.Table | None) -> list[str]:
    """Return a line if ``table`` has values, in a column of a wider type, that the stored type does not hold."""
    if table is None or planned.source is None or given == planned.type or common(planned.type, given) == planned.type:
        return []
    try:
        exact(table.column(planned.source), planned.type)
    except pa.ArrowException as error:
        return [_inexact(planned, given, error)]
    return []


def _fits(found: ColumnStatistics, row_count: int, old: pa.DataType, new: pa.DataType) -> bool:
    if found.null_count == row_count or pa.types.is_time(old):  # a day has few enough units of any size
        return True
    if found.minimum is None or found.maximum is None:
        return False
    return bool(max(abs(found.minimum), abs(found.maximum)) * factor(old, new) <= _TICKS_MAX)


def _beyond(planned: _Planned, old: pa.DataType) -> str:
    return f"{planned.shown}: stored {old}, new {planned.type}, and stored times are or may be beyond its range"


def _differs(old: _Side, given: _Side) -> str:
    """Return the line of a column that is refused; where the Arrow types agree, what its kind of value knows of it."""
    if old.type != given.type:
        return f"{old.shown}: stored {old.type}, new {given.type}"
    return f"{old.shown}: stored {_nature_text(old)}, new {_nature_text(given)}"


def _nature_text(side: _Side) -> str:
    text = side.nature if isinstance(side.nature, str) else json.dumps(side.nature, default=str)
    return f"{side.type} as {text if len(text) <= _NATURE_SHOWN_MAX else text[: _NATURE_SHOWN_MAX - 1] + '…'}"


def _inexact(planned: _Planned, given: pa.DataType, error: Exception) -> str:
    return f"{planned.shown}: stored {planned.type}, new {given} with a value that it does not hold ({error})"


def _refusal(where: str, lines: Sequence[str]) -> InvalidInput:
    shown = "\n  ".join(lines)
    return InvalidInput(
        f"{where} cannot hold the data without loss:\n  {shown}\ncast these columns of the data to the stored types, "
        "or write() the whole value"
    )
