"""The words of a SQL text, with their places: just enough lexing to find statements, AT forms and parameters.

A token's ``start`` and ``end`` are characters of the text as the user wrote it, and nothing inside a
string, a quoted name or a comment is ever a token of its own.

sqlglot's own tokenizer cannot be used for this: after EXPLAIN, CALL and other commands it returns the rest of the
text as one string, and splits it at the first ``;`` even inside quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from duckvstore.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Beyond ASCII these are white space to DuckDB, which is not what Unicode says, and all others are letters.
ODD_SPACES = (
    "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u2060\u3000\ufeff"
)
# Said by what is no letter: a set up to the last character of Unicode takes 10 ms to compile.
_LETTER = rf"(?:[A-Za-z_]|[^\x00-\x7f{ODD_SPACES}])"
# To DuckDB 2 control characters are letters of names; to 1.5 they are errors.
_OF_NAME = rf"(?:{_LETTER}|[\x01-\x08\x0e-\x1f\x7f])"
_WORD = rf"{_OF_NAME}(?:[0-9$]|{_OF_NAME})*+"
_TAG = rf"{_LETTER}(?:[0-9]|{_LETTER})*+"
_DIGITS = "[0-9]++(?:_[0-9]++)*+"
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\n\r\f\v{ODD_SPACES}]++)
    | (?P<comment>--[^\n\r]*+)
    | (?P<nested>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*+' | '(?:[^']|'')*+')
    | (?P<quoted>"(?:[^"]|"")*+" | `(?:[^`]|``)*+`)
    | (?P<dollar>\$(?:{_TAG})?\$)
    | (?P<parameter>\$(?:[0-9]++|{_TAG}) | \?[0-9]*+)
    | (?P<number>(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?)
    | (?P<word>{_WORD})
    | (?P<unclosed>['"])
    | (?P<operator>=>|:=|::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ANALYZE = ("ANALYZE", "ANALYSE")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the text: ``kind`` is word, quoted, string, dollar, number, parameter, operator or unclosed."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The text in capitals for a bare word or an operator; empty for anything quoted."""
        return self.text.upper() if self.kind in ("word", "operator") else ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: ``name`` of ``$name`` ("1" for ``$1``), or ``position`` of a ``?``, counted from 0."""

    name: str | None = None
    position: int | None = None


def scan(text: str) -> tuple[list[Token], list[tuple[int, int]]]:
    """Return the tokens of ``text`` and the spans of its comments and white space.

    A quote, comment or dollar quote that is never closed becomes one token "unclosed" that takes the rest.
    """
    tokens: list[Token] = []
    gaps: list[tuple[int, int]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative matches any character"  # noqa: S101
        kind, end = match.lastgroup or "", match.end()
        if kind == "nested":
            end = _end_of_comment(text, position)
        elif kind == "dollar":
            closing = text.find(match["dollar"], end)
            end = closing + len(match["dollar"]) if closing >= 0 else -1
        elif kind == "unclosed":
            end = -1
        if end < 0:
            tokens.append(Token("unclosed", text[position:], position, len(text)))
            break
        if kind in ("space", "comment", "nested"):
            gaps.append((position, end))
        else:
            tokens.append(Token(kind, text[position:end], position, end))
        position = end
    return tokens, gaps


def _end_of_comment(text: str, start: int) -> int:
    """Return the end of the block comment at ``start``, which may hold others, or -1."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


def blank(text: str, spans: list[tuple[int, int]]) -> str:
    """Return ``text`` of the same length, with spaces in ``spans``."""
    pieces, position = [], 0
    for start, end in sorted(spans):
        kept_to, blank_to = max(start, position), max(end, position)
        pieces += [text[position:kept_to], " " * (blank_to - kept_to)]
        position = blank_to
    return "".join([*pieces, text[position:]])


def closing(tokens: Sequence[Token], opening: int) -> int:
    """Return the index of the ``)`` that closes the ``(`` at index ``opening``, or -1."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index].upper, 0)
        if depth == 0:
            return index
    return -1


def parameter(token: Token, position: int) -> Parameter:
    """Return the parameter that ``token`` is; ``position`` counts the bare ``?`` before it."""
    return Parameter(name=token.text[1:]) if len(token.text) > 1 else Parameter(position=position)


def unquoted(token: Token) -> str:
    """Return the name that a word, a quoted name or a string says."""
    mark = token.text[0]
    return token.text[1:-1].replace(mark * 2, mark) if mark in "\"'`" else token.text


def dotted(
    tokens: Sequence[Token], index: int, kinds: Collection[str] = ("word", "quoted")
) -> tuple[tuple[str, ...], int]:
    """Return the parts of the dotted name at ``index``, tokens of one of ``kinds``, and the index after it."""
    parts: list[str] = []
    while index < len(tokens) and tokens[index].kind in kinds:
        parts.append(unquoted(tokens[index]))
        index += 1
        if index >= len(tokens) or tokens[index].text != ".":
            break
        index += 1
    return tuple(parts), index


def called(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the names that a parenthesis follows, in lower case: whatever may be a function."""
    return frozenset(
        unquoted(token).casefold()
        for token, following in pairwise(tokens)
        if following.text == "(" and token.kind in ("word", "quoted")
    )


def explain_end(tokens: Sequence[Token]) -> int:
    """Return the character after EXPLAIN and its options; 0 where the statement is not an EXPLAIN."""
    if len(tokens) < 2 or tokens[0].upper != "EXPLAIN":
        return 0
    index = 1
    if tokens[index].upper in _ANALYZE:
        index += 1
    elif tokens[index].text == "(" and tokens[min(2, len(tokens) - 1)].upper in (*_ANALYZE, "FORMAT"):
        index = closing(tokens, index) + 1
    return tokens[index - 1].end if index else 0


def string_value(token: Token) -> str:
    """Return what a string token in single quotes says; raises SqlError for an ``E''`` string."""
    if token.text[0] != "'":
        raise SqlError("write this string in plain single quotes, without E")
    return token.text[1:-1].replace("''", "'")
