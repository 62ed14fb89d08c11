"""What a value becomes when rows of another schema join it, for each kind of value: the schema of both.

What becomes of each column is in ``joined_columns``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import markers
from duckvstore.format.evolution.cell_rules import TableCells
from duckvstore.format.evolution.joined_columns import (
    Both,
    Merged,
    Planned,
    Rules,
    Side,
    as_given,
    merged,
    plan_columns,
)
from duckvstore.format.evolution.refusals import categories, refusal
from duckvstore.format.evolution.type_rules import common, convertible
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckvstore.format.evolution.cell_rules import Cells
    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema


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
    return merger(stored, new, Both(cells, known, new.table, where, new.schema))


def check_kind(stored_kind: str, new_kind: str, where: str) -> None:
    """Raise InvalidInput unless rows of the new kind of value can join those of the stored one."""
    if new_kind != stored_kind:
        raise InvalidInput(
            f"{where} holds a value of kind {stored_kind!r}, and the data is of kind {new_kind!r}: convert the data, "
            "or write() the whole value"
        )


def _merge_pandas(stored: Schema, new: Encoded, both: Both) -> Merged:
    return _merge_alike(stored, new, both) or _merge_each(stored, new, both)


def _merge_alike(stored: Schema, new: Encoded, both: Both) -> Merged | None:
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


def _merge_each(stored: Schema, new: Encoded, both: Both) -> Merged:
    from duckvstore.format.evolution import pandas_rules as rules

    where = both.where
    if both.has_no_stored_rows:
        if len(stored.columns) == len(stored.index) or "name" in stored.value:
            attrs = rules.merged_attrs(stored.value["attrs"], new.schema.value["attrs"])
            return as_given(replace(new.schema, value={**new.schema.value, "attrs": attrs}), both)
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
    columns, codes = _marked(
        stored, new, plan_columns(stored, olds, news, _pandas_rules(olds, news, levels), both), both
    )
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
    return merged(stored, columns, value, both)


def _pandas_rules(olds: Sequence[Side], news: Sequence[Side], level_count: int) -> Rules:
    from duckvstore.format.evolution import pandas_rules as rules

    levels = [*olds[:level_count], *news[:level_count]]

    def combine(old: Side, given: Side, has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        if old not in levels:
            return rules.combined(old.type, old.nature, given.type, given.nature, new_has_nulls=has_nulls)
        found = rules.merged_level(old.nature, given.nature, (old.type, given.type), new_has_nulls=has_nulls)
        if found is None or old is not olds[0] or not pa.types.is_timestamp(old.type) or categories(old.nature):
            return found  # categories stay of their type, and more of them may have come
        # The order of rows is known from the bounds of this level, which do not outlive a change of unit.
        return old.type, {**found[1], "dtype": old.nature["dtype"]}

    def alone(side: Side) -> Any:
        return rules.nullable_level(side.nature) if side in levels else rules.nullable(side.nature)

    def retyped(old: Side, given: Side, kind: pa.DataType, has_nulls: bool) -> Any:  # noqa: FBT001
        if old not in levels:
            return rules.number_spec(kind, old.typed, given.typed, new_has_nulls=has_nulls)
        specs = (old.type, old.nature["dtype"]), (given.type, given.nature["dtype"])
        spec = rules.number_spec(kind, *specs, new_has_nulls=has_nulls)
        return None if spec is None else rules.level_with(old.nature, given.nature, spec)

    return Rules(combine, alone, retyped)


def _marked(stored: Schema, new: Encoded, columns: list[Planned], both: Both) -> tuple[list[Planned], dict[int, int]]:
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
                own = Planned(planned.shown, codes_name, identity, pa.int8(), markers.SPEC, None, None)
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


def _pandas_sides(schema: Schema) -> list[Side]:
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
    sides = [Side(*side) for side in zip(keys, known, shown, schema.shown_names, types, natures, strict=True)]
    by_place: dict[int | None, Side] = {places[side.name]: side for side in sides}
    for place, codes in _codes_by_place(schema).items():
        of, name = by_place[place], schema.names[codes]
        shown_name = f"the missing rows of {of.shown}"
        by_place[codes] = Side(("markers", of.key), name, shown_name, name, pa.int8(), markers.SPEC)
    return [by_place[place] for place in range(len(schema.columns))]


def _check_countable(both: Iterable[Schema], where: str) -> None:
    """Raise InvalidInput for rows without any column: nothing that is stored says where they are among others."""
    for schema in both:
        if not schema.columns and len(range(*schema.value["index"]["range"])) > 0:
            raise InvalidInput(f"{where} or the data has rows without any column: write() the whole value")


def _merge_arrow(stored: Schema, new: Encoded, both: Both) -> Merged:
    originals = [schemas.decode_ipc(schema.value["schema"]) for schema in (stored, new.schema)]
    olds, news = (
        _named_sides(schema, original.names, list(original))
        for schema, original in zip((stored, new.schema), originals, strict=True)
    )

    def combine(old: Side, given: Side, _has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = None if old.name in stored.index else common(old.type, given.type)
        if kind is None:
            if not convertible(old.type, given.type):
                return None
            kind = old.type
        return kind, retyped(old, given, kind, _has_nulls)

    def retyped(old: Side, given: Side, kind: pa.DataType, _has_nulls: bool) -> Any:  # noqa: FBT001
        natures = {given.type: given.nature.type, old.type: old.nature.type}
        nullable = old.nature.nullable or given.nature.nullable
        shown = natures[kind] if kind in natures else schemas.without_metadata(kind)
        return old.nature.with_type(shown).with_nullable(nullable)

    rules = Rules(combine, lambda side: side.nature.with_nullable(True), retyped)
    columns = plan_columns(stored, olds, news, rules, both)
    schema = pa.schema([planned.nature for planned in columns], metadata=originals[0].metadata)
    same = schema.equals(originals[0], check_metadata=True)
    value = stored.value if same else {**stored.value, "schema": schemas.encode_ipc(schema)}
    return merged(stored, columns, value, both, _named_index(stored, new.schema, columns, both))


def _merge_polars(stored: Schema, new: Encoded, both: Both) -> Merged:
    from duckvstore.format.codecs import polars_values

    bodies = [schema.value for schema in (stored, new.schema)]
    if bodies[0]["series"] != bodies[1]["series"]:
        what = ["a series" if body["series"] else "a frame" for body in bodies]
        raise InvalidInput(f"{both.where} holds {what[0]} of polars, and the data is {what[1]}: convert the data")
    olds, news = (
        _named_sides(schema, schema.value["names"], schema.value["dtypes_polars"]) for schema in (stored, new.schema)
    )

    def combine(old: Side, given: Side, has_nulls: bool) -> tuple[pa.DataType, Any] | None:  # noqa: FBT001
        kind = None if old.name in stored.index else common(old.type, given.type)
        if kind is None and convertible(old.type, given.type):
            kind = old.type
        is_other_enum = isinstance(old.nature, dict) and "Enum" in old.nature and old.nature != given.nature
        if kind is None or (is_other_enum and not pa.types.is_null(given.type)):
            return None
        return kind, retyped(old, given, kind, has_nulls)

    def retyped(old: Side, given: Side, kind: pa.DataType, _has_nulls: bool) -> Any:  # noqa: FBT001
        natures = {given.type: given.nature, old.type: old.nature}
        return natures[kind] if kind in natures else polars_values.dtype_of(kind, f"{old.shown} of {both.where}")

    columns = plan_columns(stored, olds, news, Rules(combine, lambda side: side.nature, retyped), both)
    added = [given.key for given in news if given.key not in {old.key for old in olds}]
    names = [*bodies[0]["names"], *added] if not bodies[0]["series"] else bodies[0]["names"]
    value = {**bodies[0], "names": names, "dtypes_polars": [planned.nature for planned in columns]}
    return merged(stored, columns, value, both, _named_index(stored, new.schema, columns, both))


def _named_index(stored: Schema, new: Schema, columns: Sequence[Planned], both: Both) -> tuple[str, ...] | None:
    """Return the index that a value without rows takes from new ones that have one; None: it keeps its own.

    Raises InvalidInput when the existing rows have another index or none, or the kept index no longer has times.
    """
    if not new.index:
        for planned in columns:
            if planned.name in stored.index and not pa.types.is_timestamp(planned.type):
                known = schemas.to_arrow(stored).field(planned.name).type
                line = f"{planned.shown}: the index column, stored {known}, new {planned.type}"
                raise refusal(both.where, [line])
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


def _named_sides(schema: Schema, originals: Sequence[str], natures: Sequence[Any]) -> list[Side]:
    types = [field.type for field in schemas.to_arrow(schema)]
    shown = [f"column {name!r}" for name in originals]
    keys: Sequence[Any] = [0] if schema.value.get("series") else originals
    return [Side(*side) for side in zip(keys, originals, shown, schema.names, types, natures, strict=True)]


def _merge_numpy(stored: Schema, new: Encoded, both: Both) -> Merged:
    from duckvstore.format.codecs import numpy_values

    where = both.where
    if both.has_no_stored_rows and stored.value["shape"]:
        return as_given(new.schema, both)
    value = numpy_values.joined(stored.value, new.schema.value)
    types = [schemas.to_arrow(schema).field(0).type for schema in (stored, new.schema)]
    if value is None or types[0] != types[1]:
        shown = [numpy_values.shown(schema.value) for schema in (stored, new.schema)]
        raise InvalidInput(
            f"{where} holds {shown[0]}, and the data is {shown[1]}: rows are added along the first axis, so give the "
            "same dtype and further dimensions, or write() the whole value"
        )
    column = stored.columns[0]
    return merged(stored, [Planned("column 'value'", column.name, column.id, types[0], None, 0, 0)], value, both)


_MERGERS: dict[str, Callable[[Schema, Encoded, Both], Merged]] = {
    "dataframe": _merge_pandas,
    "series": _merge_pandas,
    "arrow": _merge_arrow,
    "polars": _merge_polars,
    "ndarray": _merge_numpy,
}
