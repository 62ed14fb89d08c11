"""ANALYZE and VACUUM of a symbol: nothing to do, since segments have their statistics and no room to give back.

Only statements that DuckDB would run on a table of that name and those columns are accepted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from duckvstore.sql.binding.meanings import Symbol
from duckvstore.sql.syntax.statement import Reference
from duckvstore.sql.syntax.tokens import closing, dotted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.sql.binding.meanings import Meaning
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.tokens import Token

_NAME_KINDS = ("word", "quoted", "string")
_WORDS = frozenset(("ANALYZE", "ANALYSE"))


def named(statement: Statement) -> Statement | None:
    """Return ANALYZE or VACUUM of a table with the table as its one reference; None for any other statement."""
    if statement.kind != "other":
        return None
    tokens = statement.tokens
    if tokens[0].upper not in _WORDS | {"VACUUM"}:
        return None
    first = _name(tokens)
    parts, behind = dotted(tokens, first, _NAME_KINDS)
    if not parts:
        return None
    reference = Reference(parts, tokens[first].start, tokens[behind - 1].end, None, None, None)
    return replace(statement, references=(reference,), kind="other", maybe_names=())


def concerns_symbol(statement: Statement, meanings: Mapping[int, Meaning]) -> bool:
    """Whether ``statement``, from ``named``, is about a symbol. Raises SqlError where it names no column of that."""
    meaning = meanings[0]
    if not isinstance(meaning, Symbol):
        return False
    tokens = statement.tokens
    reference = statement.references[0]
    behind = next((at for at, token in enumerate(tokens) if token.start >= reference.end), len(tokens))
    listed = _columns(tokens, behind)
    if listed is None:
        raise statement.error(f"{tokens[behind].text} is too much: ANALYZE takes a name and columns", reference.end)
    known = {column.name.casefold() for column in meaning.version.schema.columns}
    for at, (name, place) in enumerate(listed):
        if name.casefold() not in known:
            raise statement.error(f"{meaning.version.symbol} has no column {name!r}", place)
        if name.casefold() in [other.casefold() for other, _ in listed[:at]]:
            raise statement.error(f"column {name!r} is named twice", place)
    return True


def _name(tokens: Sequence[Token]) -> int:
    """Return the index of the name behind VACUUM, ANALYZE, VACUUM ANALYZE or VACUUM (ANALYZE)."""
    words = [token.upper for token in tokens]
    if words[0] == "VACUUM" and words[1:2] == ["("] and words[3:4] == [")"] and words[2] in _WORDS:
        return 4
    return 1 + (words[0] == "VACUUM" and words[1:2] != [] and words[1] in _WORDS)


def _columns(tokens: Sequence[Token], index: int) -> list[tuple[str, int]] | None:
    """Return the names in the parentheses that begin at ``index`` and end the text, with their places; None: others."""
    if index >= len(tokens):
        return []
    if tokens[index].text != "(" or closing(tokens, index) != len(tokens) - 1:
        return None
    found: list[tuple[str, int]] = []
    for at in range(index + 1, len(tokens) - 1, 2):
        parts, behind = dotted(tokens, at, _NAME_KINDS)
        if len(parts) != 1 or behind != at + 1 or tokens[behind].text not in (",", ")"):
            return None
        found.append((parts[0], tokens[at].start))
    return found or None
