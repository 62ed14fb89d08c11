"""The first words of CREATE and DROP: what is made or dropped, under which name, with which parameters.

Invariant: only tokens are read, so every form that DuckDB takes is understood, whether sqlglot reads it or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from duckvstore.sql.syntax.tokens import Token, closing, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

Noun = Literal["table", "view", "macro", "table macro"]

_NOUNS: dict[str, Noun] = {"TABLE": "table", "VIEW": "view", "MACRO": "macro", "FUNCTION": "macro"}


@dataclass(frozen=True, slots=True)
class Header:
    """``CREATE [OR REPLACE] [TEMP] VIEW [IF NOT EXISTS] name``, the like for TABLE, MACRO and FUNCTION, and DROP.

    ``start`` and ``end``: the characters of the name, of which ``parts`` are the pieces between dots. ``if_exists``:
    IF EXISTS, or IF NOT EXISTS. ``noun``: for DROP MACRO always "macro", for DROP MACRO TABLE "table macro".
    ``columns``: the names in parentheses after the name: the columns of a view, the parameters of a macro.
    ``has_columns``: whether there are parentheses.
    """

    verb: Literal["create", "drop"]
    noun: Noun
    parts: tuple[str, ...]
    start: int
    end: int
    is_temporary: bool = False
    replaces: bool = False
    if_exists: bool = False
    has_columns: bool = False
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.parts[-1]


@lru_cache(maxsize=256)
def read(text: str) -> Header | None:
    """Return the header of a statement's text; None for any other statement, and for one that is cut short."""
    tokens, _ = scan(text)
    words = [token.upper for token in tokens[:12]]
    if not words or words[0] not in ("CREATE", "DROP"):
        return None
    index = 1
    replaces = words[index : index + 2] == ["OR", "REPLACE"]
    index += 2 * replaces
    is_temporary = words[index : index + 1] in (["TEMP"], ["TEMPORARY"])
    index += is_temporary
    if index >= len(words) or words[index] not in _NOUNS:
        return None
    noun = _NOUNS[words[index]]
    index += 1
    if words[0] == "DROP" and noun == "macro" and words[index : index + 1] == ["TABLE"]:
        noun, index = "table macro", index + 1
    if_exists = words[index : index + 1] == ["IF"]
    index += (2 if words[0] == "DROP" else 3) * if_exists
    parts, index = _name(tokens, index)
    if not parts:
        return None
    first = index - 2 * len(parts) + 1
    has_columns = index < len(tokens) and tokens[index].text == "("
    end = closing(tokens, index) if has_columns else -1
    columns = tuple(_columns(tokens[index + 1 : end])) if end >= 0 else ()
    if noun == "macro" and words[0] == "CREATE" and [t.upper for t in tokens[end + 1 : end + 3]] == ["AS", "TABLE"]:
        noun = "table macro"
    return Header(
        "create" if words[0] == "CREATE" else "drop",
        noun,
        tuple(parts),
        tokens[first].start,
        tokens[index - 1].end,
        is_temporary,
        replaces,
        if_exists,
        has_columns,
        columns,
    )


def _name(tokens: list[Token], index: int) -> tuple[list[str], int]:
    """Return the pieces of the dotted name at ``index``, and the index behind it."""
    parts: list[str] = []
    while index < len(tokens) and tokens[index].kind in ("word", "quoted"):
        parts.append(unquoted(tokens[index]))
        index += 1
        if index >= len(tokens) or tokens[index].text != ".":
            break
        index += 1
    return parts, index


def _columns(tokens: list[Token]) -> Iterator[str]:
    """Yield the first word of each item in a list."""
    depth, begins = 0, True
    for token in tokens:
        if begins and depth == 0 and token.kind in ("word", "quoted"):
            yield unquoted(token)
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.upper, 0)
        begins = depth == 0 and token.upper == ","


def unquoted(token: Token) -> str:
    """Return the name that a word or a quoted name says."""
    mark = token.text[0]
    return token.text[1:-1].replace(mark * 2, mark) if token.kind == "quoted" else token.text


@lru_cache(maxsize=256)
def called(text: str) -> frozenset[str]:
    """Return the names in ``text`` that a parenthesis follows, in lower case: whatever may be a function."""
    tokens, _ = scan(text)
    return frozenset(
        unquoted(token).casefold()
        for token, following in pairwise(tokens)
        if following.text == "(" and token.kind in ("word", "quoted")
    )
