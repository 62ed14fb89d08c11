"""Version documents as if they were segments: what a predicate says of symbol and number decides which are read.

A document is skipped only when its own name (library, symbol, number) proves that it has no wanted row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from duckvstore.engine.reading import catalogue_tables
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Version
from duckvstore.format.stored.segments import ColumnStatistics, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.engine.reading.listings import Bounds

LIBRARY = pa.field("library", pa.string())
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def no_rows(name: str, *, is_of_store: bool) -> pa.Table:
    """Return the catalogue table ``name`` without rows; ``is_of_store``: with the column that names the library."""
    return of_library(catalogue_tables.build(name, []), "" if is_of_store else None)


def of_library(rows: pa.Table, owner: str | None) -> pa.Table:
    """Return ``rows`` with the name of the library in front; None: as they are."""
    if owner is None:
        return rows
    return rows.add_column(0, LIBRARY, pa.array([owner] * rows.num_rows, LIBRARY.type))


def as_version(name: str, present: Sequence[Bounds], owner: str | None) -> Version:
    """Return a version of the catalogue table ``name`` with one segment for each of ``present``.

    These are documents, or files of many: the first and the last symbol, and the number where that is known. Of
    ``symbols`` the number says nothing: the highest document of a symbol may not be visible yet.
    """
    schema = schemas.from_arrow(no_rows(name, is_of_store=owner is not None).schema)
    ids = {column.name: column.id for column in schema.columns}
    every = {} if owner is None else {ids[LIBRARY.name]: ColumnStatistics(owner, owner, 0, has_nan=False)}
    segments = []
    for first, last, number in present:
        known = {**every, ids["symbol"]: ColumnStatistics(first, last, 0, has_nan=False)}
        if number is not None and name != "symbols":
            known[ids["version"]] = ColumnStatistics(number, number, 0, has_nan=False)
        segments.append(Segment("", 1, 0, "", 0, known))
    return Version("", name, 0, "", _NEVER, "", "", schema=schema, segments=tuple(segments))
