"""What an edit does to the schema of a value, beside its columns.

What the schema says about the rows as a whole (the length of a RangeIndex, a frequency) still holds after an edit,
or is dropped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.errors import InvalidInput

if TYPE_CHECKING:
    from duckvstore.format.stored.documents import Schema

TABULAR = ("dataframe", "series", "arrow", "polars")


def resized(schema: Schema, row_count: int) -> Schema:
    """Return ``schema`` for rows that were edited and are now ``row_count``.

    The labels of a RangeIndex count on from its start; a frequency of the index is dropped; the first dimension of an
    array is ``row_count``.
    """
    shape = schema.value.get("shape")
    if shape:
        return replace(schema, value={**schema.value, "shape": [row_count, *shape[1:]]})
    index = schema.value.get("index")
    if not isinstance(index, dict):
        return schema
    if "range" in index:
        start, _, step = index["range"]
        edited: dict[str, Any] = {**index, "range": [start, start + row_count * step, step]}
    else:
        levels = [{key: value for key, value in level.items() if key != "freq"} for level in index["columns"]]
        edited = {**index, "columns": levels}
    return schema if edited == index else replace(schema, value={**schema.value, "index": edited})


def check_tabular(kind: str, operation: str, where: str) -> None:
    """Raise InvalidInput when rows of a value of this kind cannot be edited."""
    if kind not in TABULAR:
        raise InvalidInput(
            f"{where} holds a value of kind {kind!r}, whose rows cannot be edited: write() the whole value instead of "
            f"{operation}()"
        )
