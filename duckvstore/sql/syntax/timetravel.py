"""The AT forms: ``AT VERSION 3``, ``AT (SNAPSHOT => 'eod')``, ``FOR TIMESTAMP AS OF …`` and their values.

A clause's span covers exactly the words of the form, so that blanking it leaves SQL that stock DuckDB
reads, in which every other character keeps its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NoReturn

from duckvstore.errors import SqlError
from duckvstore.sql.syntax.tokens import Parameter, Token, closing, parameter, string_value

Kind = Literal["version", "timestamp", "snapshot"]

AT_KINDS: dict[str, Kind] = {"VERSION": "version", "TIMESTAMP": "timestamp", "SNAPSHOT": "snapshot"}
_FOR_KINDS: dict[str, Kind] = {**AT_KINDS, "SYSTEM_VERSION": "version", "SYSTEM_TIME": "timestamp"}
_EXAMPLES = {
    "version": "AT VERSION 3, AT VERSION -1 or AT VERSION $v",
    "timestamp": "AT TIMESTAMP '2026-11-20 17:00' or AT TIMESTAMP (now() - INTERVAL 1 DAY)",
    "snapshot": "AT SNAPSHOT 'eod-2026' or AT SNAPSHOT $s",
}
# A word after which AT or FOR cannot belong to a table: then it is a name of the user's own.
_NO_NAME = re.compile(
    "SELECT|FROM|WHERE|JOIN|ON|USING|AND|OR|NOT|AS|BY|HAVING|QUALIFY|SET|COLUMN|ADD|DROP|ALTER|CASE|WHEN|THEN|ELSE|"
    "IN|IS|LIKE|ILIKE|BETWEEN|DISTINCT|ALL|VALUES|INTO|INTERVAL|CREATE"
)
# What makes 0x1F a number in DuckDB: read as a 0 and an alias it would be another version.
_AFTER_ZERO = re.compile("[xX][0-9a-fA-F_]+|[bB][01_]+|[oO][0-7_]+")
_CONSTANT_WORDS = frozenset(("CURRENT_TIMESTAMP", "CURRENT_DATE", "LOCALTIMESTAMP"))
_TYPED_STRINGS = frozenset(("TIMESTAMP", "TIMESTAMPTZ", "DATE"))
_UNIT = re.compile("(MICROSECOND|MILLISECOND|SECOND|MINUTE|HOUR|DAY|WEEK|MONTH|QUARTER|YEAR|DECADE|CENTUR(Y|IE))S?")


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL of a constant that DuckDB has to evaluate, such as ``now() - INTERVAL 1 DAY``."""

    text: str


@dataclass(frozen=True, slots=True)
class At:
    """Which state of a symbol: by number, time or snapshot. ``offset``: where the form starts in the text.

    ``value``: an int for a version; ISO text or an Expression for a timestamp; text for a snapshot; or a Parameter.
    """

    kind: Kind
    value: int | str | Parameter | Expression
    offset: int


@dataclass(frozen=True, slots=True)
class Clause:
    """An AT form at characters [start, end), after the token that ends at ``after``."""

    at: At
    start: int
    end: int
    after: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """Words that look like an AT form and are none: an error if the statement cannot be read with them.

    ``is_sure``: they cannot be anything else, such as a column called ``at``.
    """

    message: str
    offset: int
    is_sure: bool


def find(tokens: list[Token], counts: dict[int, int]) -> tuple[list[Clause], list[Malformed]]:
    """Return the AT forms in ``tokens``, in order, and what only looks like one.

    ``counts``: for each ``?``, by its character, its position in the whole text.
    """
    clauses: list[Clause] = []
    malformed: list[Malformed] = []
    index = 1
    while index < len(tokens):
        start = index
        try:
            again = bool(clauses) and clauses[-1].end == tokens[start - 1].end
            reader = _opened(tokens, index, counts) if again or _ends_name(tokens[index - 1]) else None
            if reader is not None:
                at = At(reader.kind, reader.read(), tokens[start].start)
                index = reader.index
                after = clauses[-1].after if again else tokens[start - 1].end
                clauses.append(Clause(at, tokens[start].start, tokens[index - 1].end, after))
                continue
        except SqlError as error:
            is_sure = tokens[start].upper == "FOR" or tokens[start + 1].text == "("
            malformed.append(Malformed(str(error), tokens[start].start, is_sure))
        index += 1
    return clauses, malformed


def _opened(tokens: list[Token], index: int, counts: dict[int, int]) -> _Reader | None:
    """Return a reader placed at the value, if an AT form opens at ``index``."""
    words = [token.upper for token in tokens[index : index + 5]] + [""] * 5
    if words[0] == "AT" and words[1] in AT_KINDS:
        return _Reader(tokens, index + 2, AT_KINDS[words[1]], counts)
    if words[0] == "AT" and words[1] == "(" and words[2] in AT_KINDS and words[3] in ("=>", ":="):
        return _Reader(tokens, index + 4, AT_KINDS[words[2]], counts, parenthesis=index + 1)
    if words[0] == "FOR" and words[1] in _FOR_KINDS and words[2:4] == ["AS", "OF"]:
        return _Reader(tokens, index + 4, _FOR_KINDS[words[1]], counts)
    return None


def _ends_name(token: Token) -> bool:
    if token.kind == "word":
        return _NO_NAME.fullmatch(token.upper) is None
    return token.kind in ("quoted", "string") or token.text == ")"


class _Reader:
    """Reads the value of one AT form; ``index`` ends after it."""

    def __init__(
        self, tokens: list[Token], index: int, kind: Kind, counts: dict[int, int], parenthesis: int | None = None
    ) -> None:
        self.tokens, self.index, self.kind, self.counts = tokens, index, kind, counts
        self.stop = len(tokens)
        self.enclosed = parenthesis is not None
        if parenthesis is not None:
            self.stop = closing(tokens, parenthesis)
            if self.stop < 0:
                self._refuse("the parenthesis is not closed")

    def read(self) -> int | str | Parameter | Expression:
        """Return the value; raises SqlError that says what was expected."""
        value: int | str | Parameter | Expression
        if self._peek().kind == "parameter":
            value = self._parameter()
        elif self.kind == "version":
            value = self._number()
        else:
            value = self._string() if self.kind == "snapshot" else self._time()
        if self.enclosed:
            if self.index != self.stop:
                self._refuse(f"{self.tokens[self.index].text} is too much")
            self.index += 1
        return value

    def _peek(self, ahead: int = 0) -> Token:
        position = self.index + ahead
        return self.tokens[position] if position < self.stop else Token("end", "", 0, 0)

    def _refuse(self, found: str) -> NoReturn:
        raise SqlError(f"AT {self.kind.upper()}: {found}: write {_EXAMPLES[self.kind]}")

    def _parameter(self) -> Parameter:
        token = self._peek()
        if self.kind == "timestamp" and self._peek(1).upper in ("+", "-", "::"):
            self._refuse("a parameter stands alone")
        self.index += 1
        return parameter(token, self.counts.get(token.start, 0))

    def _number(self) -> int:
        sign = -1 if self._peek().upper == "-" else 1
        self.index += sign < 0
        token, following = self._peek(), self._peek(1)
        is_hexadecimal = following.start == token.end and _AFTER_ZERO.fullmatch(following.text) is not None
        text = token.text + (following.text if is_hexadecimal else "")
        if token.kind != "number" or not text.replace("_", "").isdigit():
            self._refuse(f"expected a whole number, found {text or 'nothing'}")
        self.index += 1
        return sign * int(token.text)

    def _string(self) -> str:
        token = self._peek()
        if token.kind != "string":
            self._refuse(f"expected a name in single quotes, found {token.text or 'nothing'}")
        self.index += 1
        return string_value(token)

    def _time(self) -> str | Expression:
        first = self.index
        if self.enclosed:
            self.index = self.stop
        else:
            self._sum()
        used = self.tokens[first : self.index]
        if not used:
            self._refuse("expected a time, found nothing")
        if any(token.kind == "parameter" for token in used):
            self._refuse("a parameter stands alone")
        if any(token.upper in ("SELECT", "FROM") for token in used):
            self._refuse("expected a constant, found a subquery")
        if len(used) == 1 and used[0].kind == "string":
            return string_value(used[0])
        if all(token.kind in ("number", "unclosed") for token in used):
            self._refuse(f"expected a time, found {used[0].text}")
        return Expression(_join(used))

    def _sum(self) -> None:
        """Move past ``constant [+|- constant]…``; no table reference goes on with a sign."""
        self._constant()
        while self._peek().upper in ("+", "-"):
            self.index += 1
            self._constant()

    def _constant(self) -> None:
        token = self._peek()
        if token.kind in ("string", "number") or token.upper in _CONSTANT_WORDS:
            self.index += 1
        elif token.upper in _TYPED_STRINGS and self._peek(1).kind == "string":
            self.index += 2
        elif token.upper == "INTERVAL":
            self.index += 1
            self._constant()
            self.index += _UNIT.fullmatch(self._peek().upper) is not None
        elif token.text == "(" or (token.kind == "word" and self._peek(1).text == "("):
            end = closing(self.tokens, self.index + (token.text != "("))
            if end < 0:
                self._refuse("a parenthesis is not closed")
            self.index = end + 1
        else:
            self._refuse(f"expected a time, found {token.text or 'nothing'}")
        while self._peek().upper == "::":
            if self._peek(1).kind not in ("word", "quoted"):
                self._refuse("expected a type behind ::")
            self.index += 2


def _join(tokens: list[Token]) -> str:
    """Return the text of ``tokens``, without comments."""
    text = tokens[0].text
    for before, token in pairwise(tokens):
        text += (" " if token.start > before.end else "") + token.text
    return text
