"""Dataframes of the caller that a statement names: which values count as tables, and how DuckDB gets at them.

DuckDB sees a value only while it is registered for one statement, under one of this package's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.format.codecs.tables import is_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = (
    ("pandas", "DataFrame"),
    ("polars", "DataFrame"),
    ("polars", "LazyFrame"),
    ("pyarrow", "Table"),
    ("pyarrow", "RecordBatch"),
    ("pyarrow", "RecordBatchReader"),
    ("pyarrow.dataset", "Dataset"),
    ("duckdb", "DuckDBPyRelation"),
)


def is_frame(value: object) -> bool:
    """Whether SQL can read ``value`` as a table."""
    if isinstance(value, type):
        return False
    if any(is_kind(value, module, name) for module, name in _KINDS):
        return True
    return hasattr(value, "__arrow_c_stream__") and not is_kind(value, "pandas", "Series") and not is_series(value)


def is_series(value: object) -> bool:
    """Whether ``value`` is a single column of polars, which streams but has no column names of its own."""
    return is_kind(value, "polars", "Series") or is_kind(value, "pyarrow", "ChunkedArray")


def find(scope: Mapping[str, object] | None, name: str) -> Any | None:
    """Return the caller's value ``name`` if it is a table, else None."""
    value = scope.get(name) if scope is not None else None
    return value if value is not None and is_frame(value) else None


def to_registrable(value: Any, *, uses: int) -> Any:
    """Return ``value`` in a form that any DuckDB connection reads ``uses`` times."""
    import pyarrow as pa

    if is_kind(value, "polars", "LazyFrame"):
        value = value.collect()
    if is_kind(value, "duckdb", "DuckDBPyRelation"):
        return value.to_arrow_table()  # it belongs to a connection of its own
    if is_kind(value, "pandas", "DataFrame") or isinstance(value, pa.Table):
        return value
    if is_kind(value, "polars", "DataFrame"):
        return value.to_arrow()
    if is_kind(value, "duckvstore.sql.results.result", "Result"):
        return value.arrow()  # a C stream would lose the class of what it raises, a stop's too
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if is_kind(value, "pyarrow.dataset", "Dataset"):
        return value
    reader = value if isinstance(value, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(value)
    return reader if uses == 1 and isinstance(value, pa.RecordBatchReader) else reader.read_all()
