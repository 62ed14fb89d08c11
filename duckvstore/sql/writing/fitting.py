"""Rows from Python that join columns of DuckDB's own types: what DuckDB casts is taken, anything else is refused.

What ``fitted`` returns is in the stored form of these types, so no value of another kind can come in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import arrow_values
from duckvstore.format.evolution import altering
from duckvstore.format.stored import schema as schemas
from duckvstore.sql.driver.interrupts import fetch_arrow, interruptible
from duckvstore.sql.values import kinds
from duckvstore.sql.values.types import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb
    import pyarrow as pa

    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema
    from duckvstore.sql.values.kinds import Kind

_ROWS = "__vstore_rows"


def fitted(given: Encoded, stored: Schema, where: str) -> Encoded:
    """Return Arrow rows with the columns that have a type of DuckDB's own in ``stored`` cast to it.

    ``where`` names the symbol, quotes included. Raises InvalidInput for a value that DuckDB does not cast.
    """
    if given.kind != "arrow":
        return given
    labels = schemas.decode_ipc(stored.value["schema"]).names
    own = dict(zip(labels, map(kinds.of_column, stored.columns), strict=True))
    original = schemas.decode_ipc(given.schema.value["schema"])
    wanted = {at: kind for at, name in enumerate(original.names) if (kind := own.get(name)) is not None}
    if not wanted:
        return given
    types = dict(zip(labels, schemas.to_arrow(stored).types, strict=True))
    carried = {at: types[original.names[at]] for at in wanted}

    def cast(rows: pa.Table) -> pa.Table:
        return _cast(rows, wanted, carried, where)

    target, schema = cast(schemas.to_arrow(given.schema).empty_table()), given.schema
    for at, kind in wanted.items():
        column = altering.encoded_column("arrow", original.names[at], target.column(at), where, str(kind))
        schema = altering.retyped("arrow", schema, schema.names[at], column)
    schema = replace(schema, mixed=False, next_id=None)
    if given.table is not None:
        return replace(given, schema=schema, table=cast(given.table).cast(schemas.to_arrow(schema)))
    return replace(given, schema=schema, reader=_stream(given.reader, cast, schemas.to_arrow(schema)))


def _stream(reader: Any, cast: Any, target: pa.Schema) -> pa.RecordBatchReader:
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from cast(pa.Table.from_batches([batch])).cast(target).to_batches()

    return pa.RecordBatchReader.from_batches(target, batches())


def _cast(rows: pa.Table, wanted: Mapping[int, Kind], carried: Mapping[int, pa.DataType], where: str) -> pa.Table:
    """Return ``rows`` with the columns at these positions in the stored form of their types, ``carried``."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect(":memory:") as own:
        connection = interruptible(own)
        for at, kind in wanted.items():
            name = rows.schema.names[at]
            column = readable(name, arrow_values.plain_table(rows.select([at])).column(0))
            connection.register(_ROWS, pa.table({"x": column}))
            try:
                is_stored = rows.schema.field(at).type == carried[at]
                rows = rows.set_column(at, name, _column(connection, kind, is_stored=is_stored))
            except (duckdb.Error, ValueError) as error:
                raise InvalidInput(
                    f"column {name!r} of {where} has DuckDB's type {str(kind)[:100]}, and the data has a value that is "
                    f"none of it: {str(error).partition(chr(10))[0]}"
                ) from error
            finally:
                connection.unregister(_ROWS)
    return rows


def _column(connection: duckdb.DuckDBPyConnection, kind: Kind, *, is_stored: bool) -> pa.ChunkedArray:
    """Return what is registered as values of ``kind``. Raises duckdb.Error, ValueError where one would change.

    ``is_stored``: it has the type in which they are stored.
    """
    value, given = f"CAST(x AS {kind})", str(connection.table(_ROWS).types[0])
    was, back = "x", f"CAST({value} AS {given})"
    if is_stored:  # as ``read`` gives what is inside of lists and structs
        value = kinds.decoded("x", kind)
        was, back = f"CAST(x AS {kinds.stored(kind)})", kinds.encoded(value, kind, kinds.stored(kind)) or value
    if given != "VARCHAR":  # a text is read, any other value must come back as it was
        differs = f"{back} IS DISTINCT FROM {was}"
        lost = connection.execute(f"SELECT CAST(x AS VARCHAR) FROM {_ROWS} WHERE {differs} LIMIT 1").fetchall()
        if lost:
            raise ValueError(f"{lost[0][0]} would be another value")
    text = kinds.encoded(value, kind, kinds.stored(kind)) or value
    return fetch_arrow(connection, f"SELECT {text} AS x FROM {_ROWS}").column(0)
