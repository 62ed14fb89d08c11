"""The text that stock sqlglot reads in place of the user's: what it does not know is blanked or spelled another way.

The text has the user's length and each name is where the user wrote it, so positions in sqlglot's
tree are positions in the user's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.sql.syntax.tokens import Token, blank, closing
from duckvstore.sql.syntax.words import PIVOT_WORDS, SELECT_WORDS, SET_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[int, int]

# What `SHOW` lists by itself; any other name after it is a table to describe.
_SHOWN = frozenset(
    ("TABLES", "ALL", "DATABASES", "SCHEMAS", "VARIABLES", "FUNCTIONS", "VIEWS", "SETTINGS", "EXTENSIONS")
)
_MARK = "\ue000"  # a letter for sqlglot, and of no use in anybody's names
_SYNONYMS = {"PIVOT_WIDER": "PIVOT      ", "PIVOT_LONGER": "UNPIVOT     "}
_END = Token("end", "", -1, -1)
_BEGINNINGS = SELECT_WORDS | PIVOT_WORDS | {"TABLE"}
_BEFORE_A_QUERY = SET_OPERATIONS | {"(", "ALL", "DISTINCT", "TABLE", "SUMMARIZE", "DESCRIBE", "DESC", "SHOW"}
_BEFORE_A_TABLE_QUERY = SET_OPERATIONS | {"(", "ALL", "AS", "ANALYZE", "EXPLAIN"}
_CREATING = frozenset(("CREATE", "OR", "REPLACE", "TEMP", "TEMPORARY"))
_AFTER_A_SOURCE = SET_OPERATIONS | {"GROUP", "ORDER", "LIMIT", "OFFSET"}


def text(user: str, tokens: list[Token], gaps: list[Span], clauses: list[Span], explained: int, *, marked: bool) -> str:
    """Return what sqlglot is to read for ``user``: no EXPLAIN, comments (``gaps``) or AT forms (``clauses``).

    ``explained``: see ``explain_end``. ``marked``: a parameter is written as a name, because sqlglot keeps the places
    of names only and sometimes takes ``$p`` for the start of a string; a string between dollars or with escapes, of
    which it reads some, is written as one of other letters.
    """
    body = [token for token in tokens if token.start >= explained and not _is_within(token, clauses)]
    ends = [(0, explained), (0, enumeration_end(tokens))]
    spans = [*gaps, *clauses, *ends, *_merge_modes(tokens), *_macro_parameters(tokens), *_overriding(tokens)]
    result = user
    for token, word in [*_respelled(tokens), *(_masked(body) if marked else ())]:
        result = result[: token.start] + word + result[token.end :]
    return _without_pivots(blank(result, spans), body)


def _respelled(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """Yield the words that not every sqlglot reads, with others of the same length."""
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], _END], strict=False):
        is_shown = token.upper == "SHOW" and after.kind in ("word", "quoted") and after.upper not in _SHOWN
        if token.upper == "TABLE" and _is_table_query(before, after):
            yield token, "FROM "
        elif is_shown and before is not None and before.text == "(":
            yield token, "    "
        elif is_shown and (before is None or before.upper in ("EXPLAIN", "ANALYZE", ")")):
            yield token, "DESC"
        elif token.upper in ("X", "B") and after.kind == "string" and after.start == token.end:
            yield token, "E"  # digits of a blob or of bits
        elif token.upper in _SYNONYMS:
            yield token, _SYNONYMS[token.upper]


def _masked(body: list[Token]) -> Iterator[tuple[Token, str]]:
    """Yield the parameters and strings that sqlglot may not read, with a name or string of the same length."""
    for token in body:
        if token.kind == "parameter":
            yield token, _MARK + token.text[1:]
        elif token.kind == "dollar" or (token.kind == "string" and token.text[0] != "'"):
            yield token, f"E'{'x' * (len(token.text) - 3)}'"


def enumeration_end(tokens: list[Token]) -> int:
    """Return the character after ENUM in CREATE TYPE … AS ENUM (query), or 0; sqlglot reads only the query of it."""
    noun = next((token.upper for token in tokens if token.upper not in _CREATING), "")
    if tokens[0].upper != "CREATE" or noun != "TYPE":
        return 0
    for word, opening, query in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if word.upper == "ENUM" and opening.text == "(" and query.upper in _BEGINNINGS:
            return word.end
    return 0


def _is_within(token: Token, spans: list[Span]) -> bool:
    return any(start <= token.start < end for start, end in spans)


def _without_pivots(result: str, body: list[Token]) -> str:
    """Return ``result`` with each PIVOT statement, wherever it is, as ``FROM`` its source and nothing else.

    sqlglot reads few forms and places of it. Queries in its clauses stay, as further sources.
    """
    for index, token in enumerate(body):
        if token.upper not in PIVOT_WORDS or not _begins_query(body, index):
            continue
        result = result[: token.start] + "FROM".ljust(len(token.text)) + result[token.end :]
        first = _clauses_of_pivot(body, index)
        end = _end_of_query(body, first)
        position = body[first].start if first < end else 0
        for at in range(first, end):
            opening = body[at]
            is_query = opening.text == "(" and at + 1 < end and body[at + 1].upper in _BEGINNINGS
            if is_query and opening.start > position:
                result = blank(result, [(position, opening.start)])
                result = f"{result[: opening.start - 1]},{result[opening.start :]}"
                position = body[closing(body, at)].end
        if first < end:
            result = blank(result, [(position, max(position, body[end - 1].end))])
    return result


def _begins_query(body: list[Token], index: int) -> bool:
    """Whether the PIVOT at ``index`` is a statement or subquery of its own, and no part of a FROM clause."""
    after = body[index + 1] if index + 1 < len(body) else _END
    if after.kind not in ("word", "quoted", "string", "dollar") and after.text != "(":
        return False
    before = body[index - 1] if index else _END
    if before.text == ")":
        opening = _opening(body, index - 1)
        return opening > 0 and body[opening - 1].upper in ("AS", "MATERIALIZED")  # of a CTE
    if before.upper == "NAME":
        return body[index - 2].upper == "BY"
    if before.upper == "AS":
        return not any(token.upper in _BEGINNINGS - {"TABLE"} for token in body[: index - 1])
    return not index or before.upper in _BEFORE_A_QUERY


def _opening(body: list[Token], index: int) -> int:
    """Return the index of the ``(`` that the ``)`` at ``index`` closes, or -1."""
    depth = 0
    for at in range(index, -1, -1):
        depth += {")": 1, "(": -1}.get(body[at].upper, 0)
        if depth == 0:
            return at
    return -1


def _clauses_of_pivot(body: list[Token], index: int) -> int:
    """Return the index after the source of the PIVOT at ``index``, whose joins have an ON or USING of their own."""
    depth = joins = 0
    for at in range(index + 1, len(body)):
        token = body[at]
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth < 0 or (depth == 0 and token.upper in _AFTER_A_SOURCE):
            return at
        if depth == 0 and token.upper == "JOIN":
            joins += not {"NATURAL", "CROSS", "POSITIONAL"} & {word.upper for word in body[max(0, at - 3) : at]}
        elif depth == 0 and token.upper in ("ON", "USING"):
            if not joins:
                return at
            joins -= 1
    return len(body)


def _end_of_query(body: list[Token], index: int) -> int:
    """Return the index after the query of which ``index`` is a part."""
    depth = 0
    for at in range(index, len(body)):
        depth += {"(": 1, ")": -1}.get(body[at].upper, 0)
        if depth < 0 or (depth == 0 and body[at].upper in SET_OPERATIONS):
            return at
    return len(body)


def _macro_parameters(tokens: list[Token]) -> list[Span]:
    """Return the span inside the first parentheses of CREATE MACRO: types and defaults, which sqlglot does not read."""
    words = [token.upper for token in tokens[:6]]
    opening = next((at for at, token in enumerate(tokens) if token.text == "("), -1)
    end = closing(tokens, opening) if opening > 0 else -1
    if words[:1] != ["CREATE"] or not {"MACRO", "FUNCTION"} & set(words) or end <= opening + 1:
        return []
    return [(tokens[opening].end, tokens[end].start)]


def _merge_modes(tokens: list[Token]) -> list[Span]:
    """Return the spans of BY NAME and BY POSITION after UPDATE, which sqlglot does not read in MERGE."""
    return [
        (by.start, mode.end)
        for update, by, mode in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if (update.upper, by.upper) == ("UPDATE", "BY") and mode.upper in ("NAME", "POSITION")
    ]


def _overriding(tokens: list[Token]) -> list[Span]:
    """Return the spans of OVERRIDING USER VALUE and OVERRIDING SYSTEM VALUE, without effect in INSERT."""
    return [
        (first.start, last.end)
        for first, kind, last in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if first.upper == "OVERRIDING" and kind.upper in ("USER", "SYSTEM") and last.upper == "VALUE"
    ]


def _is_table_query(before: Token | None, after: Token) -> bool:
    """Whether the word TABLE between these tokens starts the query ``TABLE name``, which not every sqlglot reads."""
    follows = before is None or before.upper in _BEFORE_A_TABLE_QUERY
    named = after.kind == "quoted" or (after.kind == "word" and after.upper not in _BEGINNINGS)
    return follows and named
