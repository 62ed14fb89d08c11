"""MERGE INTO on a table with one column more than the user's: actions without a list of columns get one. Pure.

The statement means the same as before: DuckDB's INSERT and UPDATE by position take the columns of the
source in their order, and ``INSERT VALUES`` those of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.tokens import Token, closing, explain_end, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.sql.syntax.source_map import SourceMap, Splice

SOURCE = "__vstore_source"
_ENDS = frozenset(("WHEN", "RETURNING", ";", ""))


@dataclass(frozen=True, slots=True)
class Merge:
    """A MERGE statement: the query that shows its source's columns, and the places (start, end) of its actions.

    ``columns_query`` is None where every action names its columns.
    """

    sql: SourceMap
    columns_query: SourceMap | None
    actions: tuple[tuple[str, int, int], ...]
    source_end: int

    def explicit(self, columns: Sequence[str], source_columns: Sequence[str], source: str | None) -> SourceMap:
        """Return the text in which every action names the columns of the target, ``columns``.

        ``source``: what the source is called (None: nothing, so that it gets a name).
        """
        name = quote(source or SOURCE)
        values = [f"{name}.{quote(column)}" for column in source_columns]
        splices: list[Splice] = []
        if source is None and self.actions:
            splices.append((self.source_end, self.source_end, f" AS {name} "))
        for kind, start, end in self.actions:
            if kind == "values":
                words = f"INSERT ({', '.join(map(quote, columns))})"
            elif kind == "insert":
                # As many as there are, so that DuckDB words the error where the numbers differ.
                words = f"INSERT ({', '.join(map(quote, columns))}) VALUES ({', '.join(values)})"
            else:
                pairs = zip(columns, values, strict=False)
                words = f"UPDATE SET {', '.join(f'{quote(column)} = {value}' for column, value in pairs)}"
            splices.append((start, end, words))
        return self.sql.replaced(splices)


def read(sql: SourceMap) -> Merge:
    """Find the source and the actions without columns of the MERGE statement ``sql``, as it is to be run."""
    tokens, _ = scan(sql.text)
    outer = list(_outer(tokens))
    merge = next(token for token in outer if token.upper == "MERGE")
    using = [token for token in outer if token.upper in ("USING", "ON") and token.start > merge.start]
    source, source_end = (using[0].end, using[1].start) if len(using) > 1 else (len(sql), len(sql))
    actions: list[tuple[str, int, int]] = []
    for index, token in enumerate(outer):
        if token.upper == "THEN" and index + 1 < len(outer):
            found = _positional(outer[index + 1 : index + 5])
            if found is not None:
                actions.append(found)
    needs_source = any(kind != "values" for kind, _, _ in actions)
    query = (
        sql[explain_end(tokens) : merge.start] + " SELECT * FROM " + sql[source:source_end] + " LIMIT 0"
        if needs_source
        else None
    )
    return Merge(sql, query, tuple(actions), source_end)


def _outer(tokens: list[Token]) -> list[Token]:
    """Return the tokens outside all parentheses, of each of which only the opening one is kept."""
    found: list[Token] = []
    index = 0
    while index < len(tokens):
        found.append(tokens[index])
        if tokens[index].text == "(":
            index = max(index, closing(tokens, index))
        index += 1
    return found


def _positional(words: list[Token]) -> tuple[str, int, int] | None:
    """Return (kind, start, end) of an action that goes by position, at the beginning of ``words``."""
    first = words[0]
    upper = [word.upper for word in words] + ["", "", ""]
    kind = upper[0].lower()
    if kind not in ("insert", "update"):
        return None
    if kind == "insert" and upper[1] == "VALUES":
        return "values", first.start, first.end
    if upper[1] in _ENDS:
        return kind, first.start, first.end
    if upper[1] == "*" and kind == "insert":
        return kind, first.start, words[1].end
    if upper[1:3] == ["SET", "*"] and kind == "update":
        return kind, first.start, words[2].end
    if upper[1:3] == ["BY", "POSITION"] and upper[3] in _ENDS:
        return kind, first.start, words[2].end
    return None
