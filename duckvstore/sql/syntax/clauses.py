"""Where the clauses of a statement that changes a table are in its text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.sql.syntax.tokens import closing

if TYPE_CHECKING:
    from duckvstore.sql.syntax.statement import Statement


@dataclass(frozen=True, slots=True)
class Clauses:
    """Where a statement's words outside all parentheses are: the character of each first one, None for none.

    ``returning``: of RETURNING. ``query``: where the query of CREATE TABLE … AS begins. ``source``: what comes
    after USING or FROM; ``where``: of WHERE.
    """

    returning: int | None = None
    query: int | None = None
    source: int | None = None
    where: int | None = None


def find(statement: Statement, target_end: int) -> Clauses:
    """Return the places of the words after ``target_end``, the end of the target's name."""
    tokens = statement.tokens
    found: dict[str, int] = {}
    index = next((at for at, token in enumerate(tokens) if token.start >= target_end), len(tokens))
    while index < len(tokens):
        token = tokens[index]
        if token.text == "(":
            index = max(index, closing(tokens, index))
        elif token.upper == "AS" and statement.kind == "create_table":
            found.setdefault("query", token.end)
        elif token.upper in ("USING", "FROM") and "where" not in found:
            found.setdefault("source", token.end)
        elif token.upper == "WHERE":
            found.setdefault("where", token.start)
        elif token.upper == "RETURNING":
            found["returning"] = token.start
        index += 1
    return Clauses(**found)


def noun_start(statement: Statement) -> int:
    """Return where the word TABLE of CREATE TABLE is."""
    return next(token.start for token in statement.tokens if token.upper == "TABLE")


def conflict_start(statement: Statement) -> int:
    """Return where the last ON CONFLICT is, or else OR REPLACE or OR IGNORE, in an INSERT that has one."""
    tokens = statement.tokens
    pairs = list(pairwise(tokens))
    last = [first.start for first, second in pairs if (first.upper, second.upper) == ("ON", "CONFLICT")]
    return last[-1] if last else next((token.start for token in tokens if token.upper == "OR"), 0)


def data_clause(statement: Statement) -> tuple[int, bool] | None:
    """Return where WITH [NO] DATA begins, at the end of CREATE TABLE … AS, and whether rows are wanted; else None."""
    last = [token for token in statement.tokens if token.text != ";"][-3:]
    words = [token.upper for token in last]
    if words == ["WITH", "NO", "DATA"]:
        return last[0].start, False
    return (last[1].start, True) if words[1:] == ["WITH", "DATA"] else None


def columns_defined(tree: Any) -> list[Any]:
    """Return the column definitions of CREATE TABLE name (…)."""
    return list(tree.this.expressions) if isinstance(tree.this, exp.Schema) else []
