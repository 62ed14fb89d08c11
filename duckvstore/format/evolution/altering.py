"""The schema of a value after ALTER TABLE: a column joins or leaves it, or has another name or type.

The field id is what ties a column to the segments: it stays through a change of name or type, and one that is dropped
is never given again while a segment may still have it. So no segment is written for any of this, except for a type
that is not merely wider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import structs

from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import tables
from duckvstore.format.evolution.type_rules import common, has_unit
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema

PANDAS = ("dataframe", "series")


def added(kind: str, schema: Schema, name: str, given: Encoded, where: str) -> Schema:
    """Return the schema of a value of ``kind`` with a column ``name`` at its end, of the type of ``given``.

    It is null in existing rows. Raises InvalidInput when the value can only have one column.
    """
    _check_frame(kind, schema, where, f"take another column {name!r}")
    field = schemas.to_arrow(given.schema).field(0)
    stored_name, own = schemas.unique_names([name], schema.names)[0], given.schema.columns[0].duckdb
    column = Column(stored_name, str(field.type), schemas.next_id(schema), own)
    natures = [*_natures(kind, schema), _nature_without_rows(kind, given)]
    value = _value(kind, schema, natures, lambda labels: [*labels, name], where)
    fields = [*schemas.to_arrow(schema), _field(column, schemas.without_metadata(field.type), nullable=True)]
    return _altered(schema, (*schema.columns, column), fields, schema.index, value)


def dropped(kind: str, schema: Schema, name: str, where: str) -> Schema:
    """Return the schema without the stored column ``name``. Raises InvalidInput for an index level or the last one."""
    _check_frame(kind, schema, where, f"lose column {name!r}")
    if name in schema.index:
        raise InvalidInput(
            f"column {name!r} of {where} is a level of its index, which rows are found by: read() it, reset_index() "
            "and write() it without"
        )
    if len(schema.shown) - len(schema.index) < 2:
        raise InvalidInput(f"column {name!r} is the only one of {where}: DROP TABLE removes the whole")
    at = schema.shown_names.index(name)
    natures = _natures(kind, schema)
    del natures[at]
    place = _label_position(kind, schema, at)

    def without(labels: list[Any]) -> list[Any]:
        return labels[:place] + labels[place + 1 :]

    value = _value(kind, schema, natures, without, where)
    gone = {schema.shown[at].id}
    if gone & schema.markers.keys():
        gone.add(schema.markers[schema.shown[at].id])
        kept = {str(column): codes for column, codes in schema.markers.items() if column not in gone}
        value = {**value, "markers": kept} if kept else {key: found for key, found in value.items() if key != "markers"}
    pairs = zip(schema.columns, schemas.to_arrow(schema), strict=True)
    left = [(column, field) for column, field in pairs if column.id not in gone]
    columns = tuple(column for column, _ in left)
    return _altered(schema, columns, [field for _, field in left], schema.index, value)


def renamed(kind: str, schema: Schema, old: str, new: str, where: str) -> Schema:
    """Return the schema in which the stored column ``old`` is called ``new``."""
    at, level_count = schema.shown_names.index(old), len(schema.index)
    place = _label_position(kind, schema, at)
    columns = tuple(structs.replace(column, name=new) if column.name == old else column for column in schema.columns)
    fields = [field.with_name(new) if field.name == old else field for field in schemas.to_arrow(schema)]
    index = tuple(new if level == old else level for level in schema.index)

    def relabel(labels: list[Any]) -> list[Any]:
        return [new if position == place else label for position, label in enumerate(labels)]

    natures = _natures(kind, schema)
    if kind in PANDAS and at < level_count:
        natures[at] = {**natures[at], "name": new}
    value = _value(kind, schema, natures, relabel, where)
    return _altered(schema, columns, fields, index, value)


def retyped(kind: str, schema: Schema, name: str, given: Encoded) -> Schema:
    """Return the schema in which ``name`` has the type of ``given``, one column as ``encoded_column`` makes it."""
    natures = _natures(kind, schema)
    natures[schema.shown_names.index(name)] = _natures(kind, given.schema)[0]
    at = schema.names.index(name)
    field = schemas.to_arrow(given.schema).field(0)
    columns = list(schema.columns)
    columns[at] = structs.replace(columns[at], type=str(field.type), duckdb=given.schema.columns[0].duckdb)
    fields = list(schemas.to_arrow(schema))
    fields[at] = _field(columns[at], schemas.with_ids_of(field.type, fields[at].type), nullable=True)
    return _altered(schema, tuple(columns), fields, schema.index, _value(kind, schema, natures, list, ""))


def renewed(schema: Schema, name: str) -> tuple[Schema, int]:
    """Return the schema in which the stored column ``name`` has a field id that no segment has, and that id."""
    at, identity = schema.names.index(name), schemas.next_id(schema)
    columns, fields = list(schema.columns), list(schemas.to_arrow(schema))
    value = schema.value
    if columns[at].id in schema.markers:
        codes = {identity if own == columns[at].id else own: found for own, found in schema.markers.items()}
        value = {**value, "markers": {str(own): found for own, found in codes.items()}}
    columns[at] = structs.replace(columns[at], id=identity)
    fields[at] = _field(columns[at], fields[at].type, nullable=True)
    return _altered(schema, tuple(columns), fields, schema.index, value), identity


def is_wider(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether segments that have ``old`` are read as ``new`` as they are, their statistics too."""
    if old == new or has_unit(old) or pa.types.is_nested(old) or pa.types.is_dictionary(old):
        return False
    return bool(common(old, new) == new)


def encoded_column(kind: str, name: str, column: pa.ChunkedArray, where: str, own: str | None = None) -> Encoded:
    """Return ``column`` as a value of ``kind`` with this column alone, in its stored form.

    ``own``: DuckDB's own type, where that of the column only carries it.
    """
    found = _encoded_column(kind, name, column, where)
    return replace(found, schema=schemas.carrying(found.schema, [own]))


def _encoded_column(kind: str, name: str, column: pa.ChunkedArray, where: str) -> Encoded:
    table = pa.table([column], names=[name])
    if kind == "polars":
        import polars as pl

        return tables.encode_table(pl.DataFrame(table), where)
    if kind in PANDAS:
        return tables.encode_table(_frame(table), where).in_memory()
    return tables.encode_table(table, where)


def _frame(table: pa.Table) -> Any:
    """Return a table as a frame with the usual dtypes of pandas, and Arrow's where those would lose something."""
    import pandas as pd

    masked = {
        **{getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")() for name in _MASKED},
        pa.bool_(): pd.BooleanDtype(),
    }
    frame = table.to_pandas(types_mapper=masked.get)
    for position, (label, dtype) in enumerate(frame.dtypes.items()):
        if dtype.kind == "O" and not isinstance(dtype, pd.api.extensions.ExtensionDtype):
            frame = frame.astype({label: pd.ArrowDtype(table.schema.field(position).type)})
    return frame


_MASKED = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")


def _altered(
    schema: Schema,
    columns: tuple[Column, ...],
    fields: Sequence[pa.Field],
    index: tuple[str, ...],
    value: dict[str, Any],
) -> Schema:
    """Return the schema of segments that have other columns, or the same by other names: found by field id alone."""
    return replace(
        schema,
        columns=columns,
        arrow=schemas.encode_ipc(pa.schema(fields)),
        index=index,
        value=value,
        mixed=True,
        next_id=max(schemas.next_id(schema), 1 + max(column.id for column in columns)),
    )


def _field(column: Column, kind: pa.DataType, *, nullable: bool) -> pa.Field:
    return schemas.identified(column.name, kind, column.id, nullable=nullable)


def _check_frame(kind: str, schema: Schema, where: str, what: str) -> None:
    if kind == "series" or (kind == "polars" and schema.value["series"]):
        raise InvalidInput(f"{where} is a series, which cannot {what}: write() a dataframe in its place")


def _label_position(kind: str, schema: Schema, at: int) -> int:
    """Return the place among the value's labels of its column ``at``; negative for an index level, which has none."""
    return at - len(schema.index) if kind in PANDAS else at


def _natures(kind: str, schema: Schema) -> list[Any]:
    """Return what its kind of value knows of each column that it shows beside its type: index levels, then columns."""
    value = schema.value
    if kind == "arrow":
        return list(schemas.decode_ipc(value["schema"]))
    if kind == "polars":
        return list(value["dtypes_polars"])
    return [*value["index"].get("columns", ()), *value["dtypes"]]


def _nature_without_rows(kind: str, given: Encoded) -> Any:
    from duckvstore.format.evolution import pandas_rules

    nature = _natures(kind, given.schema)[0]
    if kind == "arrow":
        return nature.with_nullable(True)
    return pandas_rules.nullable(nature) if kind in PANDAS else nature


def _value(
    kind: str, schema: Schema, natures: list[Any], relabel: Callable[[list[Any]], list[Any]], where: str
) -> dict[str, Any]:
    """Return ``schema.value`` for columns of these ``natures``; ``relabel`` makes their labels of those there are."""
    value = schema.value
    if kind == "arrow":
        original = schemas.decode_ipc(value["schema"])
        fields = [field.with_name(name) for name, field in zip(relabel(original.names), natures, strict=True)]
        # What pandas noted of its columns does not hold any more.
        kept = {key: text for key, text in (original.metadata or {}).items() if key != b"pandas"}
        return {**value, "schema": schemas.encode_ipc(pa.schema(fields, metadata=kept or None))}
    if kind == "polars":
        return {**value, "names": relabel(value["names"]), "dtypes_polars": natures}
    level_count = len(schema.index)
    found = {**value, "dtypes": natures[level_count:]}
    if level_count:
        found["index"] = {**value["index"], "columns": natures[:level_count]}
    return {**found, **_pandas_labels(value, relabel, where)}


def _pandas_labels(value: dict[str, Any], relabel: Callable[[list[Any]], list[Any]], where: str) -> dict[str, Any]:
    from duckvstore.format.codecs.pandas_arrays import index_from_json, index_of_labels, index_to_json
    from duckvstore.format.evolution import pandas_rules
    from duckvstore.format.stored import labels

    known = pandas_rules.labels_of(value)
    found = relabel(known)
    if found == known:
        return {}
    if "columns" not in value:
        return {"name": labels.label_to_json(found[0], where=where)}
    index = index_from_json(value["columns"])
    if index.nlevels > 1:
        raise InvalidInput(f"{where} has column labels of {index.nlevels} levels: write() it with other columns")
    are_text = [all(isinstance(label, str) for label in side) for side in (known, found)]
    is_same_kind = are_text[0] or (index.dtype == object and not are_text[1])
    every = index_of_labels(found, index.dtype if is_same_kind else None, index.name)
    return {"columns": index_to_json(every, f"the columns of {where}")}
