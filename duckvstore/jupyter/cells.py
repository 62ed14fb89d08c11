"""Values as short text, for tables that people look at.

Every value of every Arrow type yields text (None for a null); nothing here raises. The text is not HTML: callers that
put it on a page escape it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

TEXT_LENGTH_MAX = 200


def rows(table: pa.Table, types: Sequence[str] | None = None) -> list[list[str | None]]:
    """Return the rows of ``table`` as DuckDB writes values, cut to ``TEXT_LENGTH_MAX``; None for null.

    ``types``: those of DuckDB, if they are rows of a result.
    """
    from duckvstore.sql.results import conversion

    try:
        found = conversion.to_texts(table, types, TEXT_LENGTH_MAX + 1)
    except Exception:  # noqa: BLE001 - a type that DuckDB does not take must not hide the other columns
        columns = [[_arrow_text(value) for value in column] for column in table.columns]
        found = [list(row) for row in zip(*columns, strict=True)]
    return [[None if value is None else cut(value) for value in row] for row in found]


def cut(text: str) -> str:
    """Return at most ``TEXT_LENGTH_MAX`` characters of ``text``."""
    return shortened(text, TEXT_LENGTH_MAX)


def _arrow_text(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    try:
        return str(value.cast("string").as_py())
    except Exception:  # noqa: BLE001 - as above, for one cell
        return f"<{value.type}>"
