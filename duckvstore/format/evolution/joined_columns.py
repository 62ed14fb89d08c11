"""The columns of two schemas as one: which belong together, in which type, and how rows and statistics get there.

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
from duckvstore.format.evolution.refusals import beyond, differs, inexact, refusal
from duckvstore.format.evolution.type_rules import (
    common,
    common_by_values,
    crosses,
    factor,
    filled,
    has_unit,
    holds,
    is_nested,
    number_candidates,
    occupied,
)
from duckvstore.format.rows.encoding import exact
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Column, Schema
from duckvstore.format.stored.segments import ColumnStatistics
from duckvstore.format.stored.statistics import COLUMNS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.format.evolution.cell_rules import Cells
    from duckvstore.format.stored.segments import Segment

_TICKS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Side:
    """A column of one side: ``key`` is what it is matched by, ``nature`` what its kind of value knows beside its type.

    ``label``: as the user knows it; ``name``: as stored.
    """

    key: Any
    label: Any
    shown: str
    name: str
    type: pa.DataType
    nature: Any

    @property
    def typed(self) -> tuple[pa.DataType, Any]:
        """The type and the nature."""
        return self.type, self.nature


@dataclass(frozen=True, slots=True)
class Planned:
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
class Rules:
    """How a kind of value sees its columns: each returns a nature, or with the type that goes with it.

    ``combine``: (type, nature) of a column of both, given whether new rows are missing in it; None where types alone
    refuse it. ``alone``: the nature of a column with missing rows. ``retyped``: the nature of a column of both whose
    type is told by their values, None where there is none.
    """

    combine: Callable[[Side, Side, bool], tuple[pa.DataType, Any] | None]
    alone: Callable[[Side], Any]
    retyped: Callable[[Side, Side, pa.DataType, bool], Any]


@dataclass(frozen=True, slots=True)
class Both:
    """The cells of the two sides (None: not to be looked at), what they are called, and the schema that joins."""

    stored: Cells | None
    new: Cells | None
    table: pa.Table | None
    where: str
    given: Schema

    @property
    def has_no_stored_rows(self) -> bool:
        """Whether it is known that the version has no rows."""
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
    columns: tuple[Planned, ...]
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
                raise refusal(self.where, [inexact(planned.shown, planned.type, column.type, error)]) from error
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
                    raise refusal(self.where, [beyond(planned.shown, planned.type, old)])
                known[planned.id] = ColumnStatistics(null_count=times.null_count, has_nan=times.has_nan)
        return structs.replace(segment, statistics=known)


def plan_columns(stored: Schema, olds: Sequence[Side], news: Sequence[Side], rules: Rules, both: Both) -> list[Planned]:
    """Return the columns of both sides: the stored ones in their places, then those that only ``news`` has."""
    # Of field ids inside nested types only the stored ones count.
    news = [replace(given, type=schemas.without_metadata(given.type)) for given in news]
    sources = _sources(olds, news, both.where)
    next_id = schemas.next_id(stored)
    columns, problems = [], []
    for position, (old, column) in enumerate(zip(olds, stored.columns, strict=True)):
        source = sources[position]
        if source is None:
            columns.append(Planned(old.shown, old.name, column.id, old.type, rules.alone(old), position, None))
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
        columns.append(Planned(old.shown, old.name, identity, kind, nature, position, source, is_renewed))
    if problems:
        raise refusal(both.where, problems)
    taken = set(sources.values())
    added = [(source, given) for source, given in enumerate(news) if source not in taken]
    names = schemas.unique_names([given.label for _, given in added], stored.names)
    for number, ((source, given), name) in enumerate(zip(added, names, strict=True)):
        nature = given.nature if both.has_no_stored_rows else rules.alone(given)
        columns.append(Planned(given.shown, name, next_id + number, given.type, nature, None, source))
    return columns


def _combined(
    old: Side, given: Side, places: tuple[int, int], rules: Rules, both: Both
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
        return differs(old.shown, old.typed, given.typed)
    return (*found, False) if problem is None else _wider_number(old, given, places, rules, both, problem)


def _told_by_parts(
    old: Side, given: Side, places: tuple[int, int], rules: Rules, both: Both
) -> tuple[pa.DataType, Any, bool] | str:
    """Return what ``_combined`` does for nested columns: parts may have no value on one side, or numbers that fit.

    Reads all values of both: nested values have no statistics.
    """
    refused = differs(old.shown, old.typed, given.typed)
    if both.new is None or both.stored is None:
        return refused
    cells = [list(both.stored.pieces(places[0])), list(both.new.pieces(places[1]))]
    kinds = []
    for side, pieces in zip((old, given), cells, strict=True):
        whole = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], side.type)
        kinds.append(occupied(side.type, whole))
    kind = common_by_values(*kinds)
    if kind is None:
        return refused
    kind = filled(filled(kind, old.type), given.type)  # what neither has a value of
    try:
        for pieces in cells:
            for piece in pieces:
                exact(piece, kind)
    except pa.ArrowException as error:
        return f"{refused}, which as {kind} would lose a value ({error})"
    nature = rules.retyped(old, given, kind, True)
    return refused if nature is None else (kind, nature, False)


def _wider_number(
    old: Side, given: Side, places: tuple[int, int], rules: Rules, both: Both, problem: str
) -> tuple[pa.DataType, Any, bool] | str:
    """Return what ``_combined`` does for numbers of which only the values say what holds both.

    ``problem``: the line that says why the stored type does not.
    """
    position, source = places
    for kind in number_candidates(old.type, given.type):
        if both.stored is None or _inexact_values(old, kind, given, source, both) is not None:
            continue
        bounds = both.stored.bounds(position) if pa.types.is_integer(old.type) else None
        other = next((bound for bound in bounds or () if not holds(kind, bound)), None)
        if other is not None:
            return f"{problem}, nor does {kind} hold the stored {other}"
        has_nulls = both.table is None or both.table.column(source).null_count > 0
        nature = rules.retyped(old, given, kind, has_nulls)
        if nature is not None:
            return kind, nature, False
    return problem


def _sources(olds: Sequence[Side], news: Sequence[Side], where: str) -> dict[int, int | None]:
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


def merged(
    stored: Schema,
    columns: Sequence[Planned],
    value: dict[str, Any],
    both: Both,
    index: tuple[str, ...] | None = None,
) -> Merged:
    """Return the merging into ``columns`` and what the kind of value says beside them; ``index``: None, as stored."""
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
    own = [None if planned.old is None else stored.columns[planned.old].duckdb for planned in columns]
    names = tuple(Column(one.name, str(one.type), one.id, kind) for one, kind in zip(columns, own, strict=True))
    schema = replace(known, columns=names, arrow=schemas.encode_ipc(pa.schema(fields)))
    if stored.next_id is not None or any(planned.is_renewed for planned in columns):
        # Segments may have columns that the schema no longer has, so ids are never reused.
        schema = replace(schema, next_id=max(schemas.next_id(stored), schemas.next_id(schema)))
    changed = not both.has_no_stored_rows
    if changed and any(map(_is_mixed_inside, columns, [*before, *[None] * (len(columns) - len(before))])):
        schema = replace(schema, mixed_nested=True)
    return Merged(schema, changed=changed, where=both.where, stored=stored, columns=tuple(columns))


def _is_mixed_inside(planned: Planned, before: pa.Field | None) -> bool:
    """Whether stored segments have the column in a nested type of other parts than the merged one."""
    if before is None or planned.is_renewed:
        return False
    return is_nested(before.type) and before.type != planned.type


def as_given(schema: Schema, both: Both) -> Merged:
    """Return the merging of rows with none: their own schema."""
    columns = tuple(
        Planned(column.name, column.name, column.id, field.type, None, position, position)
        for position, (column, field) in enumerate(zip(schema.columns, schemas.to_arrow(schema), strict=True))
    )
    return Merged(schema, changed=False, where=both.where, stored=schema, columns=columns)


def _inexact_values(old: Side, kind: pa.DataType, given: Side, source: int, both: Both) -> str | None:
    """Return a line if the new column has values that ``kind`` does not hold; None too where they are not known yet."""
    if both.new is None or given.type == kind or (common(kind, given.type) == kind and not has_unit(kind)):
        return None
    try:
        for column in both.new.pieces(source):
            exact(column, kind)
    except pa.ArrowException as error:
        return inexact(old.shown, kind, given.type, error)
    return None


def _fits(found: ColumnStatistics, row_count: int, old: pa.DataType, new: pa.DataType) -> bool:
    if found.null_count == row_count or pa.types.is_time(old):  # a day has few enough units of any size
        return True
    if found.minimum is None or found.maximum is None:
        return False
    return bool(max(abs(found.minimum), abs(found.maximum)) * factor(old, new) <= _TICKS_MAX)
