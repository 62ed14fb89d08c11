"""Tables that a text names: ``query('FROM trades')`` and ``query_table('trades')``, written out as subqueries. Pure.

DuckDB itself reads the text in the place of the call, so that it sees the common table expressions there. Written out,
its names are those of the statement: symbols at versions, in one cut, by the rules of a sandbox. Only a
text that is wholly there and is one query is written out; of any other call DuckDB says what is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.tokens import ODD_SPACES, Token, closing, scan
from duckvstore.sql.syntax.words import QUERY_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.sql.syntax.source_map import Splice

CALLS = ("query", "query_table")
_BEFORE_A_TABLE = frozenset(("FROM", "JOIN", "LATERAL"))
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^".]+)')


def written_out(text: str, tokens: list[Token], tree: Any) -> list[Splice]:
    """Return what writes out the calls in ``text``, in order. ``tree``: sqlglot's, if any."""
    return list(_splices(tokens, _starts(tree))) if "query" in text.lower() else []


def _starts(tree: Any) -> set[int]:
    """Return the places of the names of table functions; after FROM the words alone show them too."""
    tables = tree.find_all(exp.Table) if tree is not None else ()
    return {table.parts[0].meta.get("start", -1) for table in tables if len(table.parts) == 1}


def _splices(tokens: list[Token], starts: set[int]) -> Iterator[Splice]:
    for index in range(1, len(tokens) - 1):
        token, opening = tokens[index], tokens[index + 1]
        name = token.text.strip('"').lower()
        is_table = token.start in starts or tokens[index - 1].upper in _BEFORE_A_TABLE
        if name not in CALLS or opening.text != "(" or not is_table:
            continue
        end = closing(tokens, index + 1)
        arguments = _arguments(tokens[index + 2 : end]) if end > 0 else None
        words = None if arguments is None else _written(name, arguments)
        if words is not None:
            yield token.start, tokens[end].end, words


def _written(name: str, arguments: list[Any]) -> str | None:
    """Return the subquery in the place of a call with these arguments; None: it is not certain to be one."""
    first = arguments[0] if arguments else None
    if name == "query":
        return _subquery(first) if isinstance(first, str) and len(arguments) == 1 else None
    tables = [first] if isinstance(first, str) and len(arguments) == 1 else first
    is_by_name = arguments[1:] == [True]
    if not isinstance(tables, list) or not tables or arguments[1:] not in ([], [True], [False]):
        return None
    found = [_name(table) for table in tables]
    union = " UNION ALL BY NAME " if is_by_name else " UNION ALL "
    return f"({union.join(f'FROM {table}' for table in found)})" if all(found) else None


def _subquery(text: str) -> str | None:
    """Return ``text`` in parentheses if it is one query without parameters."""
    tokens, _ = scan(text)
    if any(space in text for space in ODD_SPACES):  # which a sandbox has to see as they are
        return None
    while tokens and tokens[-1].text == ";":
        text = text[: tokens.pop().start]
    if not tokens or tokens[0].upper not in QUERY_WORDS or tokens[-1].kind == "unclosed":
        return None
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth < 0 or token.upper == ";" or token.kind == "parameter":
            return None
    return f"({text}\n)" if depth == 0 else None


def _name(text: str) -> str | None:
    """Return the qualified name that ``text`` says, with each part in quotes."""
    parts, position = [], 0
    while match := _PART.match(text, position):
        quoted = match["quoted"]
        parts.append(match["plain"] if quoted is None else quoted.replace('""', '"'))
        position = match.end() + 1
        if match.end() == len(text):
            return ".".join(map(quote, parts))
        if text[match.end()] != ".":
            return None
    return None


def _arguments(tokens: list[Token]) -> list[Any] | None:
    """Return the texts, lists of texts and truth values that ``tokens`` say; None where they say anything else."""
    found: list[Any] = []
    index = 0
    while index < len(tokens):
        value, index = _value(tokens, index)
        if value is None or (index < len(tokens) and tokens[index].text != ","):
            return None
        found.append(value)
        index += 1
    return found


def _value(tokens: list[Token], index: int) -> tuple[Any, int]:
    """Return the value at ``index`` and the index after it."""
    if tokens[index].upper in ("TRUE", "FALSE"):
        return tokens[index].upper == "TRUE", index + 1
    if tokens[index].text == "[":
        end = next((at for at in range(index, len(tokens)) if tokens[at].text == "]"), len(tokens) - 1)
        items = _arguments(tokens[index + 1 : end])
        return (items if items and all(isinstance(item, str) for item in items) else None), end + 1
    text = _text(tokens[index])
    while text is not None and [token.text for token in tokens[index + 1 : index + 3]] == ["|", "|"]:
        index += 3
        more = _text(tokens[index]) if index < len(tokens) else None
        text = None if more is None else text + more
    return text, index + 1


def _text(token: Token) -> str | None:
    """Return what a string says; None for an escaped one, and for anything else."""
    if token.kind == "string" and token.text[0] == "'":
        return token.text[1:-1].replace("''", "'")
    if token.kind == "dollar":
        tag = token.text[: token.text.index("$", 1) + 1]
        return token.text[len(tag) : -len(tag)]
    return None
