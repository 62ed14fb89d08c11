"""The types that an INSERT, UPDATE or MERGE gives to columns without any value: they take them, as in an append.

Only a column of which no row has a value takes another type: one of the null type, or, in a value of pandas,
which has no types to declare, one that is all NaN or NaT and that DuckDB could not cast all new values to. What SQL
declared keeps its type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import structs

from duckvstore.format.evolution import altering
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.segments import ColumnStatistics
from duckvstore.sql.syntax.tokens import closing, scan, unquoted
from duckvstore.sql.values.types import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.tokens import Token

_QUERIES = frozenset(("SELECT", "FROM", "VALUES", "WITH", "(", "TABLE", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNPIVOT"))
_UNKNOWN = ColumnStatistics()


@dataclass(frozen=True, slots=True)
class Source:
    """What an INSERT takes its rows from: the ``query`` after the words ``before``, and the ``columns`` that it fills.

    ``columns`` None: all of the table in their order, or (``is_by_name``) those that the query's are called like.
    """

    before: str
    query: str
    columns: tuple[str, ...] | None
    is_by_name: bool

    @property
    def shape(self) -> str:
        """The query for no rows, of the types that come."""
        return f"{self.before}SELECT * FROM ({self.query}\n) LIMIT 0"

    def filled(self, rows: pa.Schema, described: Sequence[str], names: Sequence[str]) -> dict[str, int]:
        """Return which column of the query each of the table's is filled by, by its name in lower case.

        ``rows``: the query's columns, ``described``: their types in DuckDB; ``names``: the table's. Left out are types
        that Arrow shows as others, as it does a column of nothing but NULL.
        """
        own = rows.names if self.is_by_name else self.columns or names
        pairs = zip(own, rows.types, described, strict=False)
        return {name.casefold(): at for at, (name, kind, text) in enumerate(pairs) if is_shown(kind, text)}

    def misfits(self, position: int, count: int, kind: pa.DataType) -> str:
        """Return the query that gives a row if some value of a column of the query cannot be cast to ``kind``.

        To the null type none can: what is nothing but NULL is INTEGER to DuckDB, and decides nothing. The column is the
        one at ``position`` of ``count``.
        """
        return _misfits(self.before, self.query, position, count, kind)


def misfits(query: str, kind: pa.DataType) -> str:
    """Return what ``Source.misfits`` does for a query of one column."""
    return _misfits("", query, 0, 1, kind)


def _misfits(before: str, query: str, position: int, count: int, kind: pa.DataType) -> str:
    names = ", ".join(f"c{at}" for at in range(count))
    condition = f"c{position} IS NOT NULL"
    if not is_open(kind):
        condition += f" AND TRY_CAST(c{position} AS {duckdb_type(kind)}) IS NULL"
    return f"{before}SELECT 1 FROM ({query}\n) AS given({names}) WHERE {condition} LIMIT 1"


def source(text: str, target: str) -> Source | None:
    """Return the source of the INSERT in ``text``, where the table's name is ``target``; None: it has no query."""
    tokens, _ = scan(text)
    at = next((place for place, token in enumerate(tokens) if token.text == target), None)
    verb = next((token for token in tokens[:at] if token.upper == "INSERT"), None)
    if at is None or verb is None:
        return None
    at += 1
    if at < len(tokens) and tokens[at].upper == "AS":
        at += 2
    columns: tuple[str, ...] | None = None
    is_by_name = False
    if at + 1 < len(tokens) and tokens[at].text == "(" and tokens[at + 1].upper not in _QUERIES:
        closed = closing(tokens, at)
        columns = tuple(unquoted(token) for token in tokens[at + 1 : closed] if token.text != ",")
        at = closed + 1
    if at + 1 < len(tokens) and tokens[at].upper == "BY":
        is_by_name = tokens[at + 1].upper == "NAME"
        at += 2
    if at >= len(tokens) or tokens[at].upper not in _QUERIES:
        return None
    end = _end(tokens, at)
    if any(token.upper == "DEFAULT" for token in tokens[at:]):  # which only INSERT knows
        return None
    query = text[tokens[at].start : end if end is not None else len(text)]
    return Source(text[: verb.start], query, columns, is_by_name)


def is_shown(kind: pa.DataType, described: str) -> bool:
    """Whether Arrow has the type that DuckDB calls ``described``, as ``kind``."""
    shown = duckdb_type(kind).replace('"', "")
    # The sum of whole numbers: what does not fit is DuckDB's error.
    return shown == described.replace('"', "") or (shown == "DECIMAL(38,0)" and described == "HUGEINT")


def _end(tokens: Sequence[Token], start: int) -> int | None:
    """Return where the query at index ``start`` ends, before RETURNING or a semicolon; None: with the text."""
    at = start
    while at < len(tokens):
        token = tokens[at]
        if token.text == "(":
            at = max(at, closing(list(tokens), at))
        elif token.upper in ("RETURNING", ";"):
            return token.start
        at += 1
    return None


def is_open(kind: pa.DataType) -> bool:
    """Whether ``kind`` is that of a column which has had no value yet."""
    return bool(pa.types.is_null(kind))


def undecided(version: Version) -> list[str]:
    """Return the columns of which no row has a value, as far as the document says, and that are not declared."""
    found = []
    candidates = set(version.schema.shown_names).difference(version.schema.index)
    for column, field in zip(version.schema.columns, schemas.to_arrow(version.schema), strict=True):
        if column.name not in candidates:
            continue
        has_none = is_open(field.type)
        if not has_none and version.kind in altering.PANDAS:
            known = ((segment, segment.statistics.get(column.id, _UNKNOWN)) for segment in version.segments)
            has_none = all(statistics.null_count == segment.row_count for segment, statistics in known)
        if has_none:
            found.append(column.name)
    return found


def decided(version: Version, name: str, kind: pa.DataType, where: str) -> Version:
    """Return ``version`` as seen through the schema in which an undecided column has the type ``kind``."""
    stored = schemas.to_arrow(version.schema).field(name).type
    column = altering.encoded_column(version.kind, name, pa.chunked_array([], kind), where)
    schema = altering.retyped(version.kind, version.schema, name, column)
    if is_open(stored):  # as which any segment can be read
        return replace(version, schema=replace(schema, next_id=version.schema.next_id))
    schema, identity = altering.renewed(schema, name)
    segments = tuple(
        structs.replace(
            segment, statistics={**segment.statistics, identity: ColumnStatistics(null_count=segment.row_count)}
        )
        for segment in version.segments
    )
    return replace(version, schema=schema, segments=segments)
