"""What a value becomes when rows of another schema join it: the schema of both, and old and new rows in it.

A column keeps its name and position for good. Its values never change; at most its type is widened to hold them all,
and whatever would lose something is refused. It keeps its field id too, unless no row has a value in it and it could
not be read as the type of the new rows: then it continues as a column that no stored segment has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import structs

from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import markers
from duckvstore.format.evolution.cell_rules import TableCells
from duckvstore.format.evolution.type_rules import (
    common,
    common_by_values,
    convertible,
    crosses,
    factor,
    filled,
    has_unit,
    holds,
    is_nested,
    number_candidates,
    occupied,
)
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.rows.encoding import exact
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Column, Schema
from duckvstore.format.stored.segments import ColumnStatistics
from duckvstore.format.stored.statistics import COLUMNS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckvstore.format.evolution.cell_rules import Cells
    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.segments import Segment

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
    """A column of the merged schema; ``old`` and ``source`` are its positions in the stored and the new one, if any.

    ``is_renewed``: its field id is not the stored one's, of which no row has a value.
    ``marks``: it says that missing rows have this marker, (position in the new schema, name).
    """

    shown: str
    name: str
    id: int
    type: pa.DataType
    nature: Any
    old: int | None
    source: int | None
    is_renewed: bool = False
    marks: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    """How a kind of value sees its columns: each returns a nature, or with the type that goes with it.

    ``combine``: (type, nature) of a column of both, given whether new rows are missing in it; None where types alone
    refuse it. ``alone``: the nature of a column with missing rows. ``retyped``: the nature of a column of both whose
    type is told by their values, None where there is none.
    """

    combine: Callable[[_Side, _Side, bool], tuple[pa.DataType, Any] | None]
    alone: Callable[[_Side], Any]
    retyped: Callable[[_Side, _Side, pa.DataType, bool], Any]


@dataclass(frozen=True, slots=True)
class _Both:
    """The cells of the two sides (None: not to be looked at), what they are called, and the schema that joins."""

    stored: Cells | None
    new: Cells | None
    table: pa.Table | None
    where: str
    given: Schema

    @property
    def has_no_stored_rows(self) -> bool:
        return self.stored is not None and self.stored.row_count == 0

    def has_no_stored_missing(self, position: int) -> bool:
        """Whether it is known that every stored row has a value in this column."""
        return self.stored is not None and not self.stored.has_missing(position)


@dataclass(frozen=True, slots=True)
class Merged:
    """A stored schema and that of new rows as one.

    ``schema``: of the new version. ``changed``: whether it has other columns or types than the stored one, so that old
    segments are read through it. ``is_as_stored``: new rows have the stored columns already, and ``columns`` is empty.
    """

    schema: Schema
    changed: bool
    where: str
    stored: Schema
    columns: tuple[_Planned, ...]
    is_as_stored: bool = False

    def rows(self, table: pa.Table) -> pa.Table:
        """Return rows of the new schema in the merged one: reordered, what is missing null, cast, text dense.

        Raises InvalidInput for a value that the stored type does not hold exactly.
        """
        target = schemas.to_arrow(self.schema)
        if self.is_as_stored:
            return table if table.schema.equals(target, check_metadata=True) else table.cast(target)
        arrays: list[Any] = []
        for planned in self.columns:
            if planned.marks is not None:
                own = None if planned.source is None else table.column(planned.source)
                arrays.append(markers.codes_for(table.column(planned.marks[0]), planned.marks[1], own))
                continue
            if planned.source is None:
                arrays.append(pa.nulls(table.num_rows, planned.type))
                continue
            column = table.column(planned.source)
            try:
                arrays.append(exact(column, planned.type))
            except pa.ArrowException as error:
                raise _refusal(self.where, [_inexact(planned.shown, planned.type, column.type, error)]) from error
        return pa.Table.from_arrays(arrays, schema=target)

    @property
    def gives_markers(self) -> bool:
        """Whether new rows are told apart by a column that they do not have themselves."""
        return any(planned.marks is not None for planned in self.columns)

    def statistics(self, segment: Segment, found: Callable[[int], ColumnStatistics]) -> Segment:
        """Return an old segment with its statistics in the merged types.

        Columns that it lacks are all null; bounds in another unit are left out. ``found`` gives the statistics of a
        stored column by its position, from its values where they are not known. Raises InvalidInput where a time of
        the segment is beyond what the finer unit of its column holds.
        """
        known = dict(segment.statistics)
        types = [field.type for field in schemas.to_arrow(self.stored)]
        for position, planned in enumerate(self.columns):
            if planned.old is None or planned.is_renewed:
                if position < len(self.schema.index) + COLUMNS_MAX:
                    known[planned.id] = ColumnStatistics(null_count=segment.row_count, has_nan=False)
            elif planned.type != types[planned.old] and has_unit(types[planned.old]):
                old = types[planned.old]
                times = known.get(planned.id, ColumnStatistics()) if pa.types.is_time(old) else found(planned.old)
                if not _fits(times, segment.row_count, old, planned.type):
                    raise _refusal(self.where, [_beyond(planned, old)])
                known[planned.id] = ColumnStatistics(null_count=times.null_count, has_nan=times.has_nan)
        return structs.replace(segment, statistics=known)


def merge(
    stored_kind: str,
    stored: Schema,
    new: Encoded,
    *,
    where: str,
    cells: Cells | None = None,
    given: Cells | None = None,
) -> Merged:
    """Return the schema in which rows of ``new`` join those of a version, and how both get there.

    ``where`` names the symbol, quotes included. Columns are matched by label (Arrow and polars: by name); each side
    may lack some, or have narrower types. A column without any value takes the type of the other side, and a version
    without rows takes the index of the new ones. ``cells``: those of the version, ``given``: those of ``new`` where it
    is no table; looked at only where types do not decide, and None where they cannot be.
    Raises InvalidInput, with a line per column, for what does not fit without loss.
    """
    check_kind(stored_kind, new.kind, where)
    merger = _MERGERS.get(stored_kind)
    if merger is None:
        raise InvalidInput(f"{where} holds a value of kind {stored_kind!r}, which has no rows to add to: write() it")
    known = given if new.table is None else TableCells(new.table)
    return merger(stored, new, _Both(cells, known, new.table, where, new.schema))


def check_kind(stored_kind: str, new_kind: str, where: str) -> None:
    """Raise InvalidInput unless rows of the new kind of value can join those of the stored one."""
    if new_kind != stored_kind:
        raise InvalidInput(
            f"{where} holds a value of kind {stored_kind!r}, and the data is of kind {new_kind!r}: convert the data, "
            "or write() the whole value"
        )


def _merge_pandas(stored: Schema, new: Encoded, both: _Both) -> Merged:
    return _merge_alike(stored, new, both) or _merge_each(stored, new, both)


def _merge_alike(stored: Schema, new: Encoded, both: _Both) -> Merged | None:
    """Return the merging of frames of many columns that are the same, of dtypes of numpy; None: they are not.

    Such a column stays as it is, whatever its rows; so the index is merged, with the first column, and that is all.
    """
    count = len(stored.index) + 1
    own, given = stored.value, new.schema.value
    if len(stored.columns) < MANY_COLUMNS or both.has_no_stored_rows or "markers" in own or "markers" in given:
        return None
    if stored.columns != new.schema.columns or stored.arrow != new.schema.arrow or stored.index != new.schema.index:
        return None
    if own["dtypes"] != given["dtypes"] or own.get("columns") != given.get("columns") or "columns" not in own:
        return None
    if not all(isinstance(dtype, str) for dtype in own["dtypes"]):
        return None
    few, few_given = (_first_columns(schema, count) for schema in (stored, new.schema))
    table = None if both.table is None else both.table.select(list(range(count)))
    merged = _merge_each(few, replace(new, schema=few_given), replace(both, table=table, given=few_given))
    if merged.changed or merged.schema.arrow != few.arrow or len(merged.columns) != count:
        return None
    kept = {name: merged.schema.value[name] for name in ("index", "attrs")}
    schema = replace(stored, value={**own, **kept})
    return Merged(schema, changed=False, where=both.where, stored=stored, columns=(), is_as_stored=True)


def _first_columns(schema: Schema, count: int) -> Schema:
    """Return the schema of a frame of the same index and the first columns, ``count`` together."""
    from duckvstore.format.evolution import pandas_rules as rules

    fields = pa.schema([schemas.to_arrow(schema).field(position) for position in range(count)])
    levels = len(schema.index)
    value = {
        **schema.value,
        "dtypes": schema.value["dtypes"][: count - levels],
        "columns": rules.first_labels(schema.value["columns"], count - levels),
    }
    return replace(schema, columns=schema.columns[:count], arrow=schemas.encode_ipc(fields), value=value)


def _merge_each(stored: Schema, new: Encoded, both: _Both) -> Merged:
    from duckvstore.format.evolution import pandas_rules as rules

    where = both.where
    if both.has_no_stored_rows:
        if len(stored.columns) == len(stored.index) or "name" in stored.value:
            attrs = rules.merged_attrs(stored.value["attrs"], new.schema.value["attrs"])
            return _as_given(replace(new.schema, value={**new.schema.value, "attrs": attrs}), both)
        stored = rules.with_index_of(stored, new.schema)
    _check_countable((stored, new.schema), where)
    rules.check_index(stored.value["index"], new.schema.value["index"], where)
    levels = len(stored.index)
    olds, news = _pandas_sides(stored), _pandas_sides(new.schema)
    if "name" in stored.value and new.schema.value["name"] not in (None, stored.value["name"]):
        raise InvalidInput(
            f"{where} holds a series of another name ({olds[-1].shown}) than the data ({news[-1].shown}): rename() it, "
            "or write() the whole value"
        )
    columns, codes = _marked(stored, new, _planned(stored, olds, news, _pandas_rules(olds, news, levels), both), both)
    shown = [planned for planned in columns if planned.id not in codes.values()]
    old_value, new_value = stored.value, new.schema.value
    value = {
        **old_value,
        "dtypes": [planned.nature for planned in shown[levels:]],
        "attrs": rules.merged_attrs(old_value["attrs"], new_value["attrs"]),
    }
    if "range" in old_value["index"]:
        value["index"] = rules.merged_range(old_value["index"], new_value["index"])
    else:
        value["index"] = {**old_value["index"], "columns": [planned.nature for planned in shown[:levels]]}
    if "columns" in old_value:
        added = [planned.source - levels for planned in shown if planned.old is None and planned.source is not None]
        value["columns"] = rules.merged_labels(old_value["columns"], new_value["columns"], added, where)
    if codes:
        value["markers"] = {str(column): identity for column, identity in codes.items()}
    return _merged(stored, columns, value, both)


def _pandas_rules(olds: Sequence[_Side], news: Sequence[_Side], level_count: int) -> _Rules:
    from duckvstore.format.evolution import pandas_rules as rules

    levels = [*olds[:level_count], *news[:level_count]]

    def combine(old: _Side, given: _Side, has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        if old not in levels:
            return rules.combined(old.type, old.nature, given.type, given.nature, new_has_nulls=has_nulls)
        found = rules.merged_level(old.nature, given.nature, (old.type, given.type), new_has_nulls=has_nulls)
        if found is None or old is not olds[0] or not pa.types.is_timestamp(old.type) or _categories(old.nature):
            return found  # categories stay of their type, and more of them may have come
        # The order of rows is known from the bounds of this level, which do not outlive a change of unit.
        return old.type, {**found[1], "dtype": old.nature["dtype"]}

    def alone(side: _Side) -> Any:
        return rules.nullable_level(side.nature) if side in levels else rules.nullable(side.nature)

    def retyped(old: _Side, given: _Side, kind: pa.DataType, has_nulls: bool) -> Any:  # noqa: FBT001
        if old not in levels:
            return rules.number_spec(kind, (old.type, old.nature), (given.type, given.nature), new_has_nulls=has_nulls)
        specs = (old.type, old.nature["dtype"]), (given.type, given.nature["dtype"])
        spec = rules.number_spec(kind, *specs, new_has_nulls=has_nulls)
        return None if spec is None else rules.level_with(old.nature, given.nature, spec)

    return _Rules(combine, alone, retyped)


def _marked(
    stored: Schema, new: Encoded, columns: list[_Planned], both: _Both
) -> tuple[list[_Planned], dict[int, int]]:
    """Return ``columns`` with those that tell missing rows apart from now on, and whose they are, by field id.

    A column of objects keeps the marker that its stored rows have; where new rows have another, codes say so.
    """
    olds, news = _codes_by_place(stored), _codes_by_place(new.schema)
    old_specs, new_specs = _specs_by_place(stored), _specs_by_place(new.schema)
    by_old = {planned.old: planned for planned in columns if planned.old is not None}
    by_source = {planned.source: planned for planned in columns if planned.source is not None}
    found, codes = {planned.id: planned for planned in columns}, {}
    for planned in columns:
        own = by_old.get(olds.get(planned.old, -1)) or by_source.get(news.get(planned.source, -1))
        if own is not None:
            codes[planned.id] = own.id
        if planned.source is None or planned.old not in old_specs or planned.source not in new_specs:
            continue
        was, now = (markers.marker_of(spec) for spec in (old_specs[planned.old], new_specs[planned.source]))
        has_codes = planned.old in olds
        if planned.old is not None and not has_codes and was != now and both.has_no_stored_missing(planned.old):
            was = now
        kept = _with_marker(planned.nature, was)
        if kept is None:
            continue
        found[planned.id] = replace(planned, nature=kept)
        has_nulls = both.new is None or both.new.has_missing(planned.source)
        if was != now and has_nulls:
            marks = (planned.source, now)
            codes_name = f"{markers.PREFIX}{planned.name}"
            if own is None:
                identity = max(schemas.next_id(stored), 1 + max(found))
                (codes_name,) = schemas.unique_names([codes_name], [other.name for other in found.values()])
                own = _Planned(planned.shown, codes_name, identity, pa.int8(), markers.SPEC, None, None)
            found[own.id] = replace(own, marks=marks)
            codes[planned.id] = own.id
    return list(found.values()), codes


def _with_marker(nature: Any, marker: str) -> Any:
    """Return the nature of a column or level of objects with this marker for missing rows; None: not objects."""
    if not isinstance(nature, dict):
        return None
    if "type" not in nature:
        dtype = _with_marker(nature["dtype"], marker)
        return None if dtype is None else {**nature, "dtype": dtype}
    return {**nature, "missing": marker} if nature["type"] == "object" else None


def _codes_by_place(schema: Schema) -> dict[int | None, int]:
    """Return the position of the column that tells the missing rows of a column apart, by that column's position."""
    if "markers" not in schema.value:
        return {}
    places = {column.id: at for at, column in enumerate(schema.columns)}
    return {places[column]: places[identity] for column, identity in schema.markers.items()}


def _specs_by_place(schema: Schema) -> dict[int | None, Any]:
    """Return the spec of each level and column of a pandas value by its position among the stored ones."""
    places = {name: at for at, name in enumerate(schema.names)}
    levels = [level["dtype"] for level in schema.value["index"].get("columns", ())]
    specs = zip(schema.shown_names, [*levels, *schema.value["dtypes"]], strict=True)
    return {places[name]: spec for name, spec in specs}


def _pandas_sides(schema: Schema) -> list[_Side]:
    """Return the index levels, which are matched by position, and the columns, which are by label."""
    from duckvstore.format.evolution import pandas_rules as rules

    value = schema.value
    types = [field.type for field in schemas.shown(schema)]
    natures = [*value["index"].get("columns", ()), *value["dtypes"]]
    levels = [("level", number) for number in range(len(schema.index))]
    found = rules.labels_of(value)
    shown = [*(f"index level {name!r}" for name in schema.index), *(f"column {label!r}" for label in found)]
    keys = [*levels, *(rules.label_keys(found) if "columns" in value else [0])]
    known = [*schema.index, *found]
    places = {name: place for place, name in enumerate(schema.names)}
    sides = [_Side(*side) for side in zip(keys, known, shown, schema.shown_names, types, natures, strict=True)]
    by_place: dict[int | None, _Side] = {places[side.name]: side for side in sides}
    for place, codes in _codes_by_place(schema).items():
        of, name = by_place[place], schema.names[codes]
        shown_name = f"the missing rows of {of.shown}"
        by_place[codes] = _Side(("markers", of.key), name, shown_name, name, pa.int8(), markers.SPEC)
    return [by_place[place] for place in range(len(schema.columns))]


def _check_countable(both: Iterable[Schema], where: str) -> None:
    """Raise InvalidInput for rows without any column: nothing that is stored says where they are among others."""
    for schema in both:
        if not schema.columns and len(range(*schema.value["index"]["range"])) > 0:
            raise InvalidInput(f"{where} or the data has rows without any column: write() the whole value")


def _merge_arrow(stored: Schema, new: Encoded, both: _Both) -> Merged:
    originals = [schemas.decode_ipc(schema.value["schema"]) for schema in (stored, new.schema)]
    olds, news = (
        _named_sides(schema, original.names, list(original))
        for schema, original in zip((stored, new.schema), originals, strict=True)
    )

    def combine(old: _Side, given: _Side, _has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = None if old.name in stored.index else common(old.type, given.type)
        if kind is None:
            if not convertible(old.type, given.type):
                return None
            kind = old.type
        return kind, retyped(old, given, kind, _has_nulls)

    def retyped(old: _Side, given: _Side, kind: pa.DataType, _has_nulls: bool) -> Any:  # noqa: FBT001
        natures = {given.type: given.nature.type, old.type: old.nature.type}
        nullable = old.nature.nullable or given.nature.nullable
        shown = natures[kind] if kind in natures else schemas.without_metadata(kind)
        return old.nature.with_type(shown).with_nullable(nullable)

    rules = _Rules(combine, lambda side: side.nature.with_nullable(True), retyped)
    columns = _planned(stored, olds, news, rules, both)
    schema = pa.schema([planned.nature for planned in columns], metadata=originals[0].metadata)
    same = schema.equals(originals[0], check_metadata=True)
    value = stored.value if same else {**stored.value, "schema": schemas.encode_ipc(schema)}
    return _merged(stored, columns, value, both, _named_index(stored, new.schema, columns, both))


def _merge_polars(stored: Schema, new: Encoded, both: _Both) -> Merged:
    from duckvstore.format.codecs import polars_values

    bodies = [schema.value for schema in (stored, new.schema)]
    if bodies[0]["series"] != bodies[1]["series"]:
        what = ["a series" if body["series"] else "a frame" for body in bodies]
        raise InvalidInput(f"{both.where} holds {what[0]} of polars, and the data is {what[1]}: convert the data")
    olds, news = (
        _named_sides(schema, schema.value["names"], schema.value["dtypes_polars"]) for schema in (stored, new.schema)
    )

    def combine(old: _Side, given: _Side, has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = None if old.name in stored.index else common(old.type, given.type)
        if kind is None and convertible(old.type, given.type):
            kind = old.type
        is_other_enum = isinstance(old.nature, dict) and "Enum" in old.nature and old.nature != given.nature
        if kind is None or (is_other_enum and not pa.types.is_null(given.type)):
            return None
        return kind, retyped(old, given, kind, has_nulls)

    def retyped(old: _Side, given: _Side, kind: pa.DataType, _has_nulls: bool) -> Any:  # noqa: FBT001
        natures = {given.type: given.nature, old.type: old.nature}
        return natures[kind] if kind in natures else polars_values.dtype_of(kind, f"{old.shown} of {both.where}")

    columns = _planned(stored, olds, news, _Rules(combine, lambda side: side.nature, retyped), both)
    added = [given.key for given in news if given.key not in {old.key for old in olds}]
    names = [*bodies[0]["names"], *added] if not bodies[0]["series"] else bodies[0]["names"]
    value = {**bodies[0], "names": names, "dtypes_polars": [planned.nature for planned in columns]}
    return _merged(stored, columns, value, both, _named_index(stored, new.schema, columns, both))


def _named_index(stored: Schema, new: Schema, columns: Sequence[_Planned], both: _Both) -> tuple[str, ...] | None:
    """Return the index that a value without rows takes from new ones that have one; None: it keeps its own.

    Raises InvalidInput when the existing rows have another index or none, or the kept index no longer has times.
    """
    if not new.index:
        for planned in columns:
            if planned.name in stored.index and not pa.types.is_timestamp(planned.type):
                known = schemas.to_arrow(stored).field(planned.name).type
                line = f"{planned.shown}: the index column, stored {known}, new {planned.type}"
                raise _refusal(both.where, [line])
        return None
    names = {planned.source: planned.name for planned in columns}
    found = tuple(names[new.names.index(name)] for name in new.index)
    if both.has_no_stored_rows:
        return found
    if found != stored.index:
        has = f"the index column {stored.index[0]!r}" if stored.index else "no index column"
        raise InvalidInput(
            f"{both.where} has {has}, so index_column={found[0]!r} cannot be that of rows that join it: leave it out, "
            "or write() the whole value"
        )
    return None


def _named_sides(schema: Schema, originals: Sequence[str], natures: Sequence[Any]) -> list[_Side]:
    types = [field.type for field in schemas.to_arrow(schema)]
    shown = [f"column {name!r}" for name in originals]
    keys: Sequence[Any] = [0] if schema.value.get("series") else originals
    return [_Side(*side) for side in zip(keys, originals, shown, schema.names, types, natures, strict=True)]


def _merge_numpy(stored: Schema, new: Encoded, both: _Both) -> Merged:
    from duckvstore.format.codecs import numpy_values

    where = both.where
    if both.has_no_stored_rows and stored.value["shape"]:
        return _as_given(new.schema, both)
    value = numpy_values.joined(stored.value, new.schema.value)
    types = [schemas.to_arrow(schema).field(0).type for schema in (stored, new.schema)]
    if value is None or types[0] != types[1]:
        shown = [numpy_values.shown(schema.value) for schema in (stored, new.schema)]
        raise InvalidInput(
            f"{where} holds {shown[0]}, and the data is {shown[1]}: rows are added along the first axis, so give the "
            "same dtype and further dimensions, or write() the whole value"
        )
    column = stored.columns[0]
    return _merged(stored, [_Planned("column 'value'", column.name, column.id, types[0], None, 0, 0)], value, both)


_MERGERS: dict[str, Callable[[Schema, Encoded, _Both], Merged]] = {
    "dataframe": _merge_pandas,
    "series": _merge_pandas,
    "arrow": _merge_arrow,
    "polars": _merge_polars,
    "ndarray": _merge_numpy,
}


def _planned(
    stored: Schema, olds: Sequence[_Side], news: Sequence[_Side], rules: _Rules, both: _Both
) -> list[_Planned]:
    """Return the columns of both sides: the stored ones in their places, then those that only ``news`` has."""
    # Of field ids inside nested types only the stored ones count.
    news = [replace(given, type=schemas.without_metadata(given.type)) for given in news]
    sources = _sources(olds, news, both.where)
    next_id = schemas.next_id(stored)
    columns, problems = [], []
    for position, (old, column) in enumerate(zip(olds, stored.columns, strict=True)):
        source = sources[position]
        if source is None:
            columns.append(_Planned(old.shown, old.name, column.id, old.type, rules.alone(old), position, None))
            continue
        if column.duckdb != both.given.columns[source].duckdb:
            problems.append(f"{old.shown}: of DuckDB's type {column.duckdb}, which rows join by INSERT INTO in SQL")
            continue
        found = _combined(old, news[source], (position, source), rules, both)
        if isinstance(found, str):
            problems.append(found)
            continue
        kind, nature, is_renewed = found
        identity, next_id = (next_id, next_id + 1) if is_renewed else (column.id, next_id)
        columns.append(_Planned(old.shown, old.name, identity, kind, nature, position, source, is_renewed))
    if problems:
        raise _refusal(both.where, problems)
    taken = set(sources.values())
    added = [(source, given) for source, given in enumerate(news) if source not in taken]
    names = schemas.unique_names([given.label for _, given in added], stored.names)
    for number, ((source, given), name) in enumerate(zip(added, names, strict=True)):
        nature = given.nature if both.has_no_stored_rows else rules.alone(given)
        columns.append(_Planned(given.shown, name, next_id + number, given.type, nature, None, source))
    return columns


def _combined(
    old: _Side, given: _Side, places: tuple[int, int], rules: _Rules, both: _Both
) -> tuple[pa.DataType, Any, bool] | str:
    """Return (type, nature, whether it needs a field id of its own) of a column of both; the line of one refused.

    ``places``: its positions in the stored and in the new schema. Values are looked at only where types do not agree.
    """
    position, source = places
    has_nulls = both.table is None or both.table.column(source).null_count > 0
    found = rules.combine(old, given, has_nulls)
    if found is not None and old.type == given.type:
        return *found, False
    if both.new is not None and both.new.is_missing(source) and not pa.types.is_null(old.type):
        return old.type, rules.alone(old), False
    problem = None if found is None else _inexact_values(old, found[0], given, source, both)
    if found is not None and problem is None and not crosses(old.type, given.type):
        return *found, False
    if both.has_no_stored_rows:
        return given.type, given.nature, False
    if both.stored is not None and both.stored.is_missing(position):
        return given.type, rules.alone(given), given.type != old.type
    if is_nested(old.type) and (problem is not None or found is None):
        return _told_by_parts(old, given, places, rules, both)
    if found is None:
        return _differs(old, given)
    return (*found, False) if problem is None else _wider_number(old, given, places, rules, both, problem)


def _told_by_parts(
    old: _Side, given: _Side, places: tuple[int, int], rules: _Rules, both: _Both
) -> tuple[pa.DataType, Any, bool] | str:
    """Return what ``_combined`` does for nested columns: parts may have no value on one side, or numbers that fit.

    Reads all values of both: nested values have no statistics.
    """
    if both.new is None or both.stored is None:
        return _differs(old, given)
    cells = [list(both.stored.pieces(places[0])), list(both.new.pieces(places[1]))]
    kinds = []
    for side, pieces in zip((old, given), cells, strict=True):
        whole = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], side.type)
        kinds.append(occupied(side.type, whole))
    kind = common_by_values(*kinds)
    if kind is None:
        return _differs(old, given)
    kind = filled(filled(kind, old.type), given.type)  # what neither has a value of
    try:
        for pieces in cells:
            for piece in pieces:
                exact(piece, kind)
    except pa.ArrowException as error:
        return f"{_differs(old, given)}, which as {kind} would lose a value ({error})"
    nature = rules.retyped(old, given, kind, True)
    return _differs(old, given) if nature is None else (kind, nature, False)


def _wider_number(
    old: _Side, given: _Side, places: tuple[int, int], rules: _Rules, both: _Both, problem: str
) -> tuple[pa.DataType, Any, bool] | str:
    """Return what ``_combined`` does for numbers of which only the values say what holds both.

    ``problem``: the line that says why the stored type does not.
    """
    position, source = places
    for kind in number_candidates(old.type, given.type):
        if both.stored is None or _inexact_values(old, kind, given, source, both) is not None:
            continue
        bounds = both.stored.bounds(position) if pa.types.is_integer(old.type) else None
        beyond = next((bound for bound in bounds or () if not holds(kind, bound)), None)
        if beyond is not None:
            return f"{problem}, nor does {kind} hold the stored {beyond}"
        has_nulls = both.table is None or both.table.column(source).null_count > 0
        nature = rules.retyped(old, given, kind, has_nulls)
        if nature is not None:
            return kind, nature, False
    return problem


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


def _merged(
    stored: Schema,
    columns: Sequence[_Planned],
    value: dict[str, Any],
    both: _Both,
    index: tuple[str, ...] | None = None,
) -> Merged:
    before = list(schemas.to_arrow(stored))
    known = replace(stored, value=value, index=stored.index if index is None else index)
    is_same = len(columns) == len(before) and all(
        planned.type == field.type for planned, field in zip(columns, before, strict=True)
    )
    if is_same:
        return Merged(known, changed=False, where=both.where, stored=stored, columns=tuple(columns))
    fields = []
    for planned in columns:
        nullable = planned.old is None or planned.source is None or planned.is_renewed or before[planned.old].nullable
        fields.append(schemas.identified(planned.name, planned.type, planned.id, nullable=nullable))
    names = tuple(Column(planned.name, str(planned.type), planned.id, _own(planned, stored)) for planned in columns)
    schema = replace(known, columns=names, arrow=schemas.encode_ipc(pa.schema(fields)))
    if stored.next_id is not None or any(planned.is_renewed for planned in columns):
        # Segments may have columns that the schema no longer has, so ids are never reused.
        schema = replace(schema, next_id=max(schemas.next_id(stored), schemas.next_id(schema)))
    changed = not both.has_no_stored_rows
    if changed and any(map(_is_mixed_inside, columns, [*before, *[None] * (len(columns) - len(before))])):
        schema = replace(schema, mixed_nested=True)
    return Merged(schema, changed=changed, where=both.where, stored=stored, columns=tuple(columns))


def _is_mixed_inside(planned: _Planned, before: pa.Field | None) -> bool:
    """Whether stored segments have the column in a nested type of other parts than the merged one."""
    if before is None or planned.is_renewed:
        return False
    return is_nested(before.type) and before.type != planned.type


def _own(planned: _Planned, stored: Schema) -> str | None:
    return None if planned.old is None else stored.columns[planned.old].duckdb


def _as_given(schema: Schema, both: _Both) -> Merged:
    """Return the merging of rows with none: their own schema."""
    columns = tuple(
        _Planned(column.name, column.name, column.id, field.type, None, position, position)
        for position, (column, field) in enumerate(zip(schema.columns, schemas.to_arrow(schema), strict=True))
    )
    return Merged(schema, changed=False, where=both.where, stored=schema, columns=columns)


def _inexact_values(old: _Side, kind: pa.DataType, given: _Side, source: int, both: _Both) -> str | None:
    """Return a line if the new column has values that ``kind`` does not hold; None too where they are not known yet."""
    if both.new is None or given.type == kind or (common(kind, given.type) == kind and not has_unit(kind)):
        return None
    try:
        for column in both.new.pieces(source):
            exact(column, kind)
    except pa.ArrowException as error:
        return _inexact(old.shown, kind, given.type, error)
    return None


def _fits(found: ColumnStatistics, row_count: int, old: pa.DataType, new: pa.DataType) -> bool:
    if found.null_count == row_count or pa.types.is_time(old):  # a day has few enough units of any size
        return True
    if found.minimum is None or found.maximum is None:
        return False
    return bool(max(abs(found.minimum), abs(found.maximum)) * factor(old, new) <= _TICKS_MAX)


def _beyond(planned: _Planned, old: pa.DataType) -> str:
    return f"{planned.shown}: stored {old}, new {planned.type}, and stored times are beyond its range"


def _differs(old: _Side, given: _Side) -> str:
    """Return the line of a column that is refused; where the Arrow types agree, what its kind of value knows of it."""
    known, found = _categories(old.nature), _categories(given.nature)
    if known is not None and found is not None and known != found and (known[0] or found[0]):
        return f"{old.shown}: {_other_categories(known, found)}"
    if old.type != given.type:
        return f"{old.shown}: stored {old.type}, new {given.type}"
    return f"{old.shown}: stored {_nature_text(old)}, new {_nature_text(given)}"


def _nature_text(side: _Side) -> str:
    """Return a type and what its kind of value knows beside it: `timestamp[us] as period (freq M, unit us)`."""
    nature, text = side.nature, str(side.nature)
    if isinstance(nature, dict):
        dtype = nature["dtype"] if isinstance(nature.get("dtype"), dict) else nature
        known = {key: value for key, value in dtype.items() if key not in ("type", "missing")}
        words = (f"{key} {_words(value)}" for key, value in known.items())
        text = f"{dtype.get('type', 'a dtype')} ({', '.join(words)})"
    return f"{side.type} as {text if len(text) <= _NATURE_SHOWN_MAX else text[: _NATURE_SHOWN_MAX - 1] + '…'}"


def _words(value: Any) -> str:
    """Return a part of a nature without brackets and quotes."""
    if isinstance(value, dict):
        return " ".join(map(_words, value.values()))
    return " ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _categories(nature: Any) -> tuple[bool, list[Any]] | None:
    """Return whether the categories of a categorical or an Enum have an order, and the categories; None of others."""
    if not isinstance(nature, dict):
        return None
    if "Enum" in nature:
        return True, list(nature["Enum"][0])
    spec = nature["dtype"] if isinstance(nature.get("dtype"), dict) else nature
    if spec.get("type") != "categorical":
        return None
    from duckvstore.format.codecs.pandas_arrays import index_from_json

    return bool(spec["ordered"]), list(index_from_json(spec["categories"]))


def _other_categories(stored: tuple[bool, list[Any]], new: tuple[bool, list[Any]]) -> str:
    """Return in words how categories differ that are compared by their order."""
    if stored[0] != new[0]:
        with_order = ["with" if is_ordered else "without" for is_ordered, _ in (stored, new)]
        return f"the stored categories are {with_order[0]} an order, the new ones {with_order[1]}"
    known, given = stored[1], new[1]
    are_known, are_given = set(known), set(given)
    added = [category for category in given if category not in are_known]
    gone = [category for category in known if category not in are_given]
    parts = [f"the new ones have {added[0]!r}{_more(added)}, which the stored ones have not"] if added else []
    parts += [f"the stored ones have {gone[0]!r}{_more(gone)}, which the new ones have not"] if gone else []
    if not parts:
        at = next(at for at, (one, other) in enumerate(zip(known, given, strict=True)) if one != other)
        parts = [f"{given[at]!r} is number {at + 1} in the new ones, where the stored have {known[at]!r}"]
    return f"the ordered categories differ: {'; '.join(parts)}"


def _more(found: list[Any]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def _inexact(shown: str, kind: pa.DataType, given: pa.DataType, error: Exception) -> str:
    return f"{shown}: stored {kind}, new {given} with a value that it does not hold ({error})"


def _refusal(where: str, lines: Sequence[str]) -> InvalidInput:
    shown = "\n  ".join(lines)
    return InvalidInput(
        f"{where} cannot hold the data without loss:\n  {shown}\ncast these columns of the data to the stored types, "
        "or write() the whole value"
    )
