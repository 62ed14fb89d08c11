"""The text that stock sqlglot reads in place of the user's: what it does not know is blanked or spelled another way.

Invariant: apart from one parenthesis that may be added at the end, the text has the user's length and each name
stands where the user wrote it, so positions in sqlglot's tree are positions in the user's text.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from duckvstore.sql.tokens import Token, blank, closing

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
_PIVOTS = frozenset(("PIVOT", "UNPIVOT", *_SYNONYMS))


def text(user: str, tokens: list[Token], gaps: list[Span], clauses: list[Span], explained: int, *, marked: bool) -> str:
    """Return what sqlglot is to read for ``user``: no EXPLAIN, comments (``gaps``) or AT forms (``clauses``).

    ``explained``: see ``explain_end``. ``marked``: a parameter is written as a name, because sqlglot keeps the places
    of names only and sometimes takes ``$p`` for the start of a string; a string between dollars or with escapes, of
    which it reads some, is written as one of other letters.
    """
    body = [token for token in tokens if token.start >= explained and not _is_within(token, clauses)]
    spans = [*gaps, *clauses, (0, explained), *_merge_modes(tokens), *_macro_parameters(tokens)]
    result = user
    for token, word in [*_respelled(tokens), *(_masked(body) if marked else ())]:
        result = result[: token.start] + word + result[token.end :]
    tail = _pivot_tail(body, len(user))
    result = blank(result, [*spans, *tail])
    pivoted = _pivot_after_as(body)
    if pivoted is not None:
        result = f"{result[: pivoted - 1]}({result[pivoted:]})"
    return result


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


def explain_end(tokens: list[Token]) -> int:
    """Return the character behind EXPLAIN and its options; 0 where the statement is no EXPLAIN."""
    if not tokens or tokens[0].upper != "EXPLAIN" or len(tokens) < 2:
        return 0
    index = 1
    if tokens[index].upper in ("ANALYZE", "ANALYSE"):
        index += 1
    elif tokens[index].text == "(" and tokens[min(2, len(tokens) - 1)].upper in ("ANALYZE", "ANALYSE", "FORMAT"):
        index = closing(tokens, index) + 1
    return tokens[index - 1].end if index else 0


def _is_within(token: Token, spans: list[Span]) -> bool:
    return any(start <= token.start < end for start, end in spans)


def _pivot_tail(body: list[Token], end: int) -> list[Span]:
    """Return the span of ORDER BY and LIMIT behind a PIVOT statement, which sqlglot does not read there."""
    first = 0 if body and body[0].upper in _PIVOTS else _pivot_index(body)
    depth = 0
    for token in body[first:] if first is not None else ():
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth == 0 and token.upper in ("ORDER", "LIMIT"):
            return [(token.start, end)]
    return []


def _pivot_index(body: list[Token]) -> int | None:
    """Return the index of PIVOT in CREATE … AS PIVOT, which sqlglot reads in parentheses only."""
    if not body or body[0].upper != "CREATE":
        return None
    pairs = enumerate(itertools.pairwise(body), start=1)
    return next((at for at, (word, after) in pairs if word.upper == "AS" and after.upper in _PIVOTS), None)


def _pivot_after_as(body: list[Token]) -> int | None:
    """Return the character where PIVOT starts in CREATE … AS PIVOT."""
    index = _pivot_index(body)
    return None if index is None else body[index].start


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


def _is_table_query(before: Token | None, after: Token) -> bool:
    """Whether the word TABLE between these tokens starts the query ``TABLE name``, which not every sqlglot reads."""
    follows = before is None or before.upper in ("(", "UNION", "EXCEPT", "INTERSECT", "ALL", "AS", "ANALYZE", "EXPLAIN")
    named = after.kind == "quoted" or (after.kind == "word" and after.upper not in ("SELECT", "FROM", "WITH", "VALUES"))
    return follows and named
