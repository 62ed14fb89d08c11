"""Arrow schemas as documents hold them, and the names that columns have in Parquet and SQL.

``to_arrow(from_arrow(schema))`` has the same names and types as ``schema``, in the same order, and
every field carries the Parquet field id that the document names. Those inside of nested types have ids of their own.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import structs

from duckvstore.errors import Integrity
from duckvstore.format.stored.documents import Column, Schema
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FIELD_ID = b"PARQUET:field_id"
# Ids of the fields inside a column: a range for each column id from here on, above all ids of columns.
NESTED_ID_MIN = 2**24
NESTED_IDS_EACH = 2**12
_FIELD_ID_MAX = 2**31 - 1


def from_arrow(schema: pa.Schema, *, index: Sequence[str] = (), value: dict[str, Any] | None = None) -> Schema:
    """Return the document's form of ``schema``, with field ids counted from 1.

    Metadata of the schema and of its fields is left out: what a value needs of it is in ``value``.
    """
    fields = [
        identified(field.name, without_metadata(field.type) if field.type.num_fields else field.type, position,
                   nullable=field.nullable)
        for position, field in enumerate(schema, start=1)
    ]  # fmt: skip
    columns = tuple(Column(field.name, str(field.type), position) for position, field in enumerate(fields, start=1))
    return Schema(columns, encode_ipc(pa.schema(fields)), tuple(index), value if value is not None else {})


def carrying(schema: Schema, types: Sequence[str | None]) -> Schema:
    """Return ``schema`` with DuckDB's own type of each column that only carries it; None: its type says it all."""
    columns = (structs.replace(column, duckdb=kind) for column, kind in zip(schema.columns, types, strict=True))
    return replace(schema, columns=tuple(columns))


def present(names: Iterable[str], table: pa.Table) -> list[str]:
    """Return those of ``names`` that are columns of ``table``, which builds its list of names on each access."""
    found = set(table.column_names)
    return [name for name in names if name in found]


def to_arrow(schema: Schema) -> pa.Schema:
    """Return the Arrow schema of the stored rows, field ids included. Raises Integrity for a damaged one.

    Documents of earlier releases have no ids inside of nested types; they get the same ones each time.
    """
    return fields_of(schema.arrow)


@lru_cache(maxsize=256)
def fields_of(text: str) -> pa.Schema:
    """Return what ``to_arrow`` does, of the text of a schema."""
    found = decode_ipc(text)
    if not any(kind.num_fields for kind in found.types):
        return found
    fields = [
        identified(field.name, field.type, int(field.metadata[FIELD_ID]), nullable=field.nullable)
        if field.type.num_fields and FIELD_ID in (field.metadata or {})
        else field
        for field in found
    ]
    return pa.schema(fields, metadata=found.metadata)


def identified(name: str, kind: pa.DataType, identity: int, *, nullable: bool) -> pa.Field:
    """Return the field of a column with its field id, and with ids for all fields inside of it.

    Those of this column that are there already stay; the others count on from the highest. A field has none where
    there is none left.
    """
    if kind.num_fields:
        first = NESTED_ID_MIN + identity * NESTED_IDS_EACH
        own = range(first, min(first + NESTED_IDS_EACH, _FIELD_ID_MAX + 1))
        known = [found for found in _ids_inside(kind) if found in own]
        free = iter(range(max(known, default=first - 1) + 1, own.stop))

        def mark(field: pa.Field) -> pa.Field:
            found = _id_of(field)
            if found not in own:
                found = next(free, None)
            return field.with_metadata(None if found is None else {FIELD_ID: str(found).encode()})

        kind = _with_fields(kind, mark)
    return pa.field(name, kind, nullable=nullable, metadata={FIELD_ID: str(identity).encode()})


def without_metadata(kind: pa.DataType) -> pa.DataType:
    """Return ``kind`` without field ids or other metadata of the fields inside of it."""
    return _with_fields(kind, lambda field: field.remove_metadata())


def with_ids_of(kind: pa.DataType, before: pa.DataType) -> pa.DataType:
    """Return ``kind`` with the field ids of ``before`` inside, for the parts that both have; the others have none."""
    types = pa.types
    if types.is_struct(kind) and types.is_struct(before):
        olds = {field.name: field for field in before}
        return pa.struct([_with_id_of(field, olds.get(field.name)) for field in kind])
    if types.is_map(kind) and types.is_map(before):
        key, item = (_with_id_of(kind.key_field, before.key_field), _with_id_of(kind.item_field, before.item_field))
        return pa.map_(key, item, keys_sorted=kind.keys_sorted)
    is_list = all(
        types.is_list(one) or types.is_large_list(one) or types.is_fixed_size_list(one) for one in (kind, before)
    )
    if not is_list:
        return without_metadata(kind)
    item = _with_id_of(kind.value_field, before.value_field)
    if types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.large_list(item) if types.is_large_list(kind) else pa.list_(item)


def _with_id_of(field: pa.Field, before: pa.Field | None) -> pa.Field:
    if before is None:
        return field.remove_metadata().with_type(without_metadata(field.type))
    return field.with_metadata(before.metadata).with_type(with_ids_of(field.type, before.type))


def _id_of(field: pa.Field) -> int | None:
    text = (field.metadata or {}).get(FIELD_ID)
    return int(text) if text is not None and text.isdigit() else None


def _ids_inside(kind: pa.DataType) -> list[int]:
    found: list[int] = []

    def look(field: pa.Field) -> pa.Field:
        identity = _id_of(field)
        found.extend([] if identity is None else [identity])
        return field

    _with_fields(kind, look)
    return found


def _with_fields(kind: pa.DataType, change: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    """Return ``kind`` with ``change`` applied to each field inside of it, the outer ones first."""
    types = pa.types

    def changed(field: pa.Field) -> pa.Field:
        found = change(field)
        return found.with_type(_with_fields(found.type, change))

    if types.is_struct(kind):
        return pa.struct([changed(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(changed(kind.key_field), changed(kind.item_field), keys_sorted=kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(changed(kind.value_field), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(changed(kind.value_field))
    return pa.list_(changed(kind.value_field)) if types.is_list(kind) else kind


def shown(schema: Schema) -> pa.Schema:
    """Return the Arrow schema of the columns that SQL and descriptions show: all but those of missing markers."""
    fields = to_arrow(schema)
    if "markers" not in schema.value:
        return fields
    return pa.schema([fields.field(name) for name in schema.shown_names], metadata=fields.metadata)


def next_id(schema: Schema) -> int:
    """Return the field id for a column added to ``schema``: one that no segment has, not even in a dropped column."""
    highest = max((column.id for column in schema.columns), default=0)
    return max(highest + 1, schema.next_id or 1)


def encode_ipc(schema: pa.Schema) -> str:
    """Return ``schema`` as base64 of its Arrow IPC message."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


@lru_cache(maxsize=256)
def decode_ipc(text: str) -> pa.Schema:
    """Return the schema that ``encode_ipc`` wrote. Raises Integrity when ``text`` is damaged."""
    if not text:
        return pa.schema([])
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
    except (binascii.Error, pa.ArrowException, OSError, ValueError) as error:
        raise of_handler(error) or Integrity(
            f"the Arrow schema in a version document is damaged ({type(error).__name__}): read another version"
        ) from error


def unique_names(labels: Sequence[object], taken: Iterable[str] = ()) -> list[str]:
    """Return the name in Parquet and SQL of each label: its text, unique without regard to case.

    A name that is taken, by ``taken`` or by an earlier label, gets the first free of ``_1``, ``_2`` …
    Names are never empty and hold neither NUL nor lone surrogates, which DuckDB or UTF-8 cannot carry.
    """
    used = {name.casefold() for name in taken}
    next_number: dict[str, int] = {}
    names = []
    for label in labels:
        name = _clean(str(label))
        key = name.casefold()
        if key in used:
            number = next_number.get(key, 1)
            while f"{key}_{number}" in used:
                number += 1
            next_number[key] = number + 1
            name, key = f"{name}_{number}", f"{key}_{number}"
        used.add(key)
        names.append(name)
    return names


def _clean(text: str) -> str:
    clean = text.replace("\0", "_").encode("utf-8", "backslashreplace").decode("utf-8")
    return clean or "unnamed"
