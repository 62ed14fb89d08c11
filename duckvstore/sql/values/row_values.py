"""The values of a row of DuckDB, as parameters of another statement on the same cursor.

DuckDB gives a value back with the type and the text that it had. What Python cannot hold without loss
(months, nanoseconds, a BIGINT that an INTEGER could hold) is a ``duckdb.Value``, which carries its type.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

_READERS: dict[str, Callable[[str], Any]] = {
    "BOOLEAN": "true".__eq__,
    "DOUBLE": float,
    "DATE": date.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
    "TIMESTAMP WITH TIME ZONE": datetime.fromisoformat,
}


def values(cursor: duckdb.DuckDBPyConnection, row: duckdb.DuckDBPyRelation) -> list[Any]:
    """Return the values of ``row``, a relation of one: plain ones of Python where DuckDB takes them for the same."""
    import duckdb

    kinds, texts = row.types, _texts(row)
    read = [_read(text, str(kind)) for text, kind in zip(texts, kinds, strict=True)]
    again: Any = cursor.sql(f"SELECT {', '.join(f'${at + 1}' for at in range(len(read)))}", params=read)
    return [
        value if found == (kind, text) else duckdb.Value(value if type(value) is int else text, kind)
        for value, kind, text, found in zip(
            read, kinds, texts, zip(again.types, _texts(again), strict=True), strict=True
        )
    ]


def plain(value: Any) -> Any:
    """Return what one of ``values`` says, without its type."""
    import duckdb

    return value.object if isinstance(value, duckdb.Value) else value


def _texts(row: duckdb.DuckDBPyRelation) -> list[str | None]:
    # As text, since a time in a zone becomes a value of Python only where pytz is installed.
    return list(row.project("CAST(COLUMNS(*) AS VARCHAR)").fetchall()[0])


def _read(text: str | None, kind: str) -> Any:
    try:
        if text is None:
            return None
        if kind.endswith(("INT", "INTEGER")):
            return int(text)
        if kind.startswith("DECIMAL") and kind.endswith(")"):
            return Decimal(text)
        return _READERS.get(kind, str)(text)
    except ValueError:  # infinity, say, and years before the first
        return text
