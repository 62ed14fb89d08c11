"""Stored columns that carry DuckDB's own types, as Arrow, pandas and polars hold them: what ``read`` gives.

No value becomes another. Where a library has no type of its own the values stay in the form in which they
are stored (Arrow, polars) or are the Python objects of ``fetchall`` (pandas); what would lose digits or months is
Unsupported. docs/types.md lists what becomes of what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.sql.results import conversion, fetched

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from duckvstore.sql.values.kinds import Kind


def in_format(table: pa.Table, kinds: Sequence[Kind | None], output_format: str) -> Any:
    """Return ``table`` as "pyarrow", "pandas" or "polars". ``kinds``: DuckDB's own types of its columns, None: none.

    Raises Unsupported for values that have no exact form there, and InvalidInput for another format.
    """
    if output_format == "pandas":
        return to_pandas(table, kinds)
    if output_format == "polars":
        return to_polars(table, kinds)
    if output_format == "pyarrow":
        return to_arrow(table, kinds)
    raise InvalidInput(f"there is no output format {output_format!r} for DuckDB's own types")


def to_arrow(table: pa.Table, kinds: Sequence[Kind | None]) -> pa.Table:
    """Return the rows as ``.arrow()`` of a result gives them: an ENUM as a dictionary, an INTERVAL as Arrow's."""
    for at, kind in enumerate(kinds):
        if kind is None:
            continue
        field = table.schema.field(at)
        part = conversion.to_arrow(_travelling(table.select([at]), kind), [str(kind)])
        shown = part.schema.field(0)
        table = table.set_column(at, shown.with_name(field.name).with_nullable(field.nullable), part.column(0))
    return table


def to_polars(table: pa.Table, kinds: Sequence[Kind | None]) -> pl.DataFrame:
    """Return the rows as ``.pl()`` of a result gives them, with an ENUM as polars' Enum."""
    for at, kind in enumerate(kinds):
        if kind is not None:
            travelling = _travelling(table.select([at]), kind)
            table = table.set_column(at, table.schema.field(at).name, travelling.column(0))
    frame = conversion.to_polars(table, ["" if kind is None else str(kind) for kind in kinds])
    import polars as pl

    enums = [
        pl.col(table.column_names[at]).cast(pl.Enum(kind.labels))
        for at, kind in enumerate(kinds)
        if kind is not None and kind.name == "ENUM"
    ]
    return frame.with_columns(enums)


def to_pandas(table: pa.Table, kinds: Sequence[Kind | None]) -> pd.DataFrame:
    """Return the rows with an ENUM as an ordered categorical, an INTERVAL as a timedelta, others as objects."""
    import pandas as pd

    plain = [at for at, kind in enumerate(kinds) if kind is None]
    own = {
        at: _pandas_column(table.column_names[at], table.column(at), kind)
        for at, kind in enumerate(kinds)
        if kind is not None
    }
    rest = table.select(plain).to_pandas()
    series = {at: rest.iloc[:, position] for position, at in enumerate(plain)} | own
    columns = [series[at] for at in range(table.num_columns)]
    frame: pd.DataFrame = pd.concat(columns, axis=1).set_axis(table.column_names, axis=1)
    return frame


def _pandas_column(name: str, column: pa.ChunkedArray, kind: Kind) -> pd.Series[Any]:
    import pandas as pd
    import pyarrow as pa

    if kind.name == "ENUM":
        return pd.Series(pd.Categorical(column.to_pylist(), categories=list(kind.labels), ordered=True))
    if kind.name == "INTERVAL":
        found: pd.Series[Any] = conversion.durations(name, column).to_pandas()
        return found
    if kind.name == "TIME_NS":
        try:
            times: pd.Series[Any] = conversion.arrow_column(name, column, kind).to_pandas()
        except (pa.ArrowException, ValueError) as error:
            raise Unsupported(
                f"column {name!r} holds times of day that pandas has no form of ({error}): read them as pyarrow"
            ) from error
        return times
    return pd.Series(fetched.values(column, kind), dtype=object)


def _travelling(table: pa.Table, kind: Kind) -> pa.Table:
    """Return a stored column as it comes out of DuckDB: an ENUM, which is stored as text, as a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind.name != "ENUM":
        return table
    labels = pa.array(kind.labels, pa.string())
    codes = pc.index_in(table.column(0), labels).combine_chunks()
    width = next(size for size in (pa.uint8(), pa.uint16(), pa.uint32()) if len(labels) < 2**size.bit_width)
    values = pa.DictionaryArray.from_arrays(codes.cast(width), labels)
    return pa.table([values], names=table.column_names)
