"""``read(where=…)``: rows of a version by a SQL predicate, in the types that were stored.

Invariant: DuckDB only says which rows are wanted; the rows themselves never pass through it, so what comes back
has the stored types exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.engine import segments
from duckvstore.engine.reads import Rows, positions
from duckvstore.errors import InvalidInput, SqlError
from duckvstore.format.arrow_values import plain_table
from duckvstore.sql import dialect, failures, rewrite
from duckvstore.sql.plan import kept_segments
from duckvstore.sql.values import Values

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.format.documents import Version
    from duckvstore.sql.dialect import Statement

_ROWS = "__vstore_rows"
_NUMBER = "__vstore_row"


def read_where(library: OpenLibrary, version: Version, columns: Sequence[str] | None, where: str) -> Rows:
    """Read the rows of ``columns`` (stored names; None: all) for which the predicate ``where`` is true.

    Segments whose statistics prove that they have none are not read. Raises SqlError, whose caret points into
    ``where``.
    """
    import duckdb
    import pyarrow.compute as pc

    if not isinstance(where, str):
        raise InvalidInput(f"where={where!r} is no text: give a SQL predicate such as 'price > 10'")
    opening = f"SELECT 1 FROM {rewrite.quote(version.symbol)} WHERE ("
    statement = _parsed(f"{opening}{where}\n)", where)
    used = _used_columns(statement, version)
    wanted = list(version.schema.names) if columns is None else list(columns)
    with duckdb.connect(":memory:") as connection:
        kept = kept_segments(statement, 0, version, Values(None, [statement]), connection.cursor())
        table = segments.read_table(library, version, columns=list(dict.fromkeys([*wanted, *used])), segments=kept)
        chosen = _matching(connection, table, used, where)
    row_numbers = positions(version, kept)[chosen.to_numpy()]
    return Rows(pc.take(table.select(wanted), chosen), row_numbers)


def _parsed(text: str, where: str) -> Statement:
    statements = dialect.parse(text)
    tree: Any = statements[0].tree if len(statements) == 1 else None
    if not isinstance(tree, exp.Select) or {key for key, value in tree.args.items() if value} - {
        "expressions",
        "from_",
        "where",
        "kind",
    }:
        raise SqlError(f"where={where!r} is no SQL predicate: give one such as 'price > 10 AND sym = ''a'''")
    if len(statements[0].references) != 1:
        raise SqlError("where can only use columns of its own symbol: use sql() for subqueries", where, 0)
    return statements[0]


def _used_columns(statement: Statement, version: Version) -> list[str]:
    tree: Any = statement.tree
    named = {identifier.name.casefold() for identifier in tree.args["where"].find_all(exp.Identifier)}
    return [name for name in version.schema.names if name.casefold() in named]


def _matching(connection: Any, table: pa.Table, used: list[str], where: str) -> Any:
    """Return the numbers, from 0, of the rows of ``table`` for which ``where`` is true, ascending."""
    import duckdb
    import pyarrow as pa

    rows = pa.table({_NUMBER: pa.array(range(table.num_rows), pa.int64())})
    for name, column in zip(used, plain_table(table.select(used)).columns, strict=True):
        rows = rows.append_column(name, column)
    opening = f"SELECT {_NUMBER} FROM {_ROWS} WHERE ("
    try:
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET errors_as_json = true")
        connection.register(_ROWS, rows)
        found = connection.sql(f"{opening}{where}\n) ORDER BY {_NUMBER}").to_arrow_table()
    except duckdb.Error as error:
        failure = failures.take_apart(error)
        inside = None if failure.position is None else failure.position - len(opening)
        offset = None if inside is None or not 0 <= inside <= len(where) else len(where.encode()[:inside].decode())
        raise failures.to_error(failure, where, offset, lambda _: "") from error
    return found.column(0).combine_chunks()
