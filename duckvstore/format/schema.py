"""Arrow schemas as documents hold them, and the names that columns have in Parquet and SQL.

Invariant: ``to_arrow(from_arrow(schema))`` has the same names and types as ``schema``, in the same order, and
every field carries the Parquet field id that the document names.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import Integrity
from duckvstore.format.documents import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIELD_ID = b"PARQUET:field_id"


def from_arrow(schema: pa.Schema, *, index: Sequence[str] = (), value: dict[str, Any] | None = None) -> Schema:
    """Return the document's form of ``schema``, with field ids counted from 1.

    Metadata of the schema and of its fields is left out: what a value needs of it is in ``value``.
    """
    fields = [
        pa.field(field.name, field.type, nullable=field.nullable, metadata={FIELD_ID: str(position).encode()})
        for position, field in enumerate(schema, start=1)
    ]
    columns = tuple(Column(field.name, str(field.type), position) for position, field in enumerate(fields, start=1))
    return Schema(columns, encode_ipc(pa.schema(fields)), tuple(index), value if value is not None else {})


def to_arrow(schema: Schema) -> pa.Schema:
    """Return the Arrow schema of the stored rows, field ids included. Raises Integrity for a damaged one."""
    return decode_ipc(schema.arrow)


def shown(schema: Schema) -> pa.Schema:
    """Return the Arrow schema of the columns that SQL and descriptions show: all but those of missing markers."""
    fields = to_arrow(schema)
    if "markers" not in schema.value:
        return fields
    return pa.schema([fields.field(name) for name in schema.shown_names], metadata=fields.metadata)


def next_id(schema: Schema) -> int:
    """Return the field id of a column that joins ``schema``: none that a segment has, not even in a dropped column."""
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
        raise Integrity(
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
