"""The outline of a statement that sqlglot cannot read: its queries and tables, with little of what is computed.

sqlglot's parser recurses for each level of nesting, so it gives up some forty levels before DuckDB gives up a thousand;
and it does not know every word that DuckDB knows. In an outline every expression is the flat list of the qualified
names and the subqueries in it, which is all that replacing names needs. What it would be pruned by is not there.

The text keeps its length and each name its place, as in ``readable``; nothing here recurses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from duckvstore.sql.syntax.tokens import scan
from duckvstore.sql.syntax.words import AFTER_A_QUERY, SELECT_WORDS, SET_OPERATIONS

if TYPE_CHECKING:
    from duckvstore.sql.syntax.tokens import Token

    Span = tuple[int, int]

# So many levels of queries are parsed at once; what is below is parsed alone.
LEVELS = 8
_FILTERS = frozenset(("WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET"))
_JOINS = frozenset(("JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "SEMI", "ANTI", "ASOF", "POSITIONAL", "NATURAL"))
_BEFORE_A_TABLE = _JOINS | {"FROM", "LATERAL", "INTO"}
_DESCRIBING = frozenset(("DESCRIBE", "DESC", "SUMMARIZE"))
_WRITING = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE"))
_VERBS = _DESCRIBING | _WRITING | {"CREATE", "COPY"}
# Clauses whose words are kept, and clauses of expressions.
_STRUCTURE = frozenset(("start", "words", "with", "from"))
# Arguments of a table function, so many words at most, stay as they are.
_ARGUMENTS_MAX = 200
_CLOSING = {")": "(", "]": "[", "}": "{"}

Kind = Literal["query", "joins", "list", "brackets"]
Clause = Literal["start", "words", "with", "select", "from", "values", "on", "value", "filter", "skip"]


@dataclass(frozen=True, slots=True)
class Outline:
    """``text`` for sqlglot, and ``pieces``: the spans inside of parentheses to be parsed alone, outer ones first."""

    text: str
    pieces: tuple[Span, ...]


@dataclass(slots=True)
class _Frame:
    """What is open up to the token ``end``: a query, joins or a list in parentheses, or other brackets.

    ``count``: how many elements its list has so far; ``word``: what is to be written before the first one, and where.
    ``has_filter``: there is a WHERE, which takes all that follows FROM.
    """

    kind: Kind
    end: int
    clause: Clause
    count: int = 0
    word: tuple[str, int] | None = None
    has_filter: bool = False

    def begin(self, clause: Clause, word: tuple[str, int] | None = None) -> None:
        """Begin a list of no elements."""
        self.clause, self.count, self.word = clause, 0, word


def read(text: str) -> Outline | None:
    """Return the outline of ``text``, which ``readable`` has prepared; None for statements that it has none for."""
    tokens, _ = scan(text)
    ends = _ends(tokens)
    is_known = bool(tokens) and (tokens[0].upper in SELECT_WORDS | _VERBS or tokens[0].text == "(")
    return _Writer(text, tokens, ends).outline() if is_known and ends is not None else None


def _ends(tokens: list[Token]) -> dict[int, int] | None:
    """Return the index that closes each bracket, by the index that opens it; None where they do not match."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    for index, token in enumerate(tokens):
        if token.upper in _CLOSING.values():
            waiting.append(index)
        elif token.upper in _CLOSING:
            if not waiting or tokens[waiting[-1]].text != _CLOSING[token.text]:
                return None
            found[waiting.pop()] = index
    return None if waiting else found


class _Writer:
    """Goes through the tokens once, with a stack of what is open."""

    def __init__(self, text: str, tokens: list[Token], ends: dict[int, int]) -> None:
        self.text, self.tokens, self.ends = text, tokens, ends
        self.words = [token.upper for token in tokens] + ["", "", ""]
        self.out = [" "] * len(text)
        self.queries = self._queries()
        self.pieces: list[Span] = []
        self.level = 0
        self.verb = ""
        self.frames = [_Frame("query", len(tokens), "start")]

    def _queries(self) -> set[int]:
        """Return the indexes of the parentheses that hold a query, perhaps in further parentheses."""
        found: set[int] = set()
        for index in sorted(self.ends, reverse=True):
            is_query = self.words[index + 1] in SELECT_WORDS
            if index + 1 in found:
                is_query = self.words[self.ends[index + 1] + 1] in AFTER_A_QUERY
            if self.words[index] == "(" and is_query:
                found.add(index)
        return found

    def outline(self) -> Outline:
        """Return the outline of all tokens."""
        index = 0
        while index < len(self.tokens):
            if index == self.frames[-1].end:
                self._close(self.frames.pop())
                index += 1
            else:
                index = self._step(self.frames[-1], index)
        self._end_list(self.frames[0])
        return Outline("".join(self.out) + " THEN DELETE" * (self.verb == "MERGE"), tuple(self.pieces))

    # -- what is written -----------------------------------------------------------------------------------------

    def _keep(self, first: int, behind: int) -> int:
        """Keep the tokens from ``first`` on, and what is between them; return ``behind``, the index after them."""
        start, end = self.tokens[first].start, self.tokens[behind - 1].end
        self.out[start:end] = self.text[start:end]
        return behind

    def _write(self, place: int, word: str) -> None:
        self.out[place : place + len(word)] = word

    def _element(self, start: int) -> None:
        """Begin an element of the innermost list at character ``start``."""
        owner = next(frame for frame in reversed(self.frames) if frame.kind != "brackets")
        if owner.word is not None:
            self._write(owner.word[1], owner.word[0])
            owner.word = None
        elif owner.count:
            self._write(start - 1, "," if owner.clause in ("select", "values") else "+")
        owner.count += 1

    def _end_list(self, frame: _Frame) -> None:
        """Give the list of ``frame`` an element where it has none and sqlglot wants one."""
        if frame.word is not None and frame.word[0] in ("x=", "AS ", *(["ON "] if self.verb == "MERGE" else ())):
            self._write(frame.word[1], f"{frame.word[0]}1")
        frame.word = None

    def _open(self, index: int, kind: Kind, clause: Clause) -> int:
        if kind != "brackets":
            self._keep(index, index + 1)
        if kind == "query":
            self.level += 1
            if self.level % LEVELS == 0:
                self.pieces.append((self.tokens[index].end, self.tokens[self.ends[index]].start))
        self.frames.append(_Frame(kind, self.ends[index], clause))
        return index + 1

    def _close(self, frame: _Frame) -> None:
        self._end_list(frame)
        if frame.kind == "list" and not frame.count:
            self._write(self.tokens[frame.end].start - 1, "1")
        if frame.kind != "brackets":
            self._keep(frame.end, frame.end + 1)
        self.level -= frame.kind == "query"

    # -- what is read --------------------------------------------------------------------------------------------

    def _step(self, frame: _Frame, index: int) -> int:
        """Read the token at ``index`` and return the index of the next."""
        if frame.kind in ("query", "joins"):
            following = self._keyword(frame, index)
            if following is not None:
                return following
            if frame.clause in _STRUCTURE:
                return self._structure(frame, index)
            if frame.clause == "skip":
                return index + 1
            if frame.clause == "values" and self.words[index] in ("(", ","):
                return self._open(index, "list", "values") if index in self.ends else self._keep(index, index + 1)
        return self._expression(frame, index)

    def _keyword(self, frame: _Frame, index: int) -> int | None:
        """Begin what the word at ``index`` begins and return the index after it; None where it begins nothing."""
        word, after = self.words[index], self.words[index + 1]
        if not word or self._is_no_keyword(frame, index):
            return None
        if frame is self.frames[0]:
            following = self._of_writing(frame, index)
            if following is not None:
                return following
        if frame.clause == "skip":
            return None
        if word in SET_OPERATIONS and (after in ("ALL", "DISTINCT", "BY", *SELECT_WORDS) or index + 1 in self.queries):
            return self._set_operation(frame, index)
        is_action = self.verb == "MERGE" and frame.clause == "filter"  # INSERT VALUES
        if word in SELECT_WORDS and not is_action and (word != "WITH" or frame.clause in ("start", "words")):
            clauses: dict[str, Clause] = {"SELECT": "select", "FROM": "from", "VALUES": "values", "WITH": "with"}
            self._end_list(frame)
            frame.begin(clauses[word])
            return self._keep(index, index + 1)
        if frame.clause in ("words", "with"):
            return None
        if word in _FILTERS:
            return self._filter(frame, index)
        return self._join(frame, index)

    def _join(self, frame: _Frame, index: int) -> int | None:
        """Begin the condition of a join, or end it."""
        if self.words[index] == "ON" and frame.clause == "from":
            frame.begin("on", ("ON ", self.tokens[index].start))
            return index + 1
        is_join = self.words[index] in _JOINS and self.words[index + 1] != "("
        if frame.clause == "on" and (is_join or self.words[index] == ","):
            self._end_list(frame)
            frame.begin("from")
        return None

    def _is_no_keyword(self, frame: _Frame, index: int) -> bool:
        """Whether the word at ``index`` is a name after a dot or AS, or the FROM of IS DISTINCT FROM."""
        before = self.words[index - 1] if index else ""
        is_name = before == "." or (before == "AS" and frame.clause not in ("words", "with"))
        return is_name or (self.words[index] == "FROM" and before == "DISTINCT")

    def _set_operation(self, frame: _Frame, index: int) -> int:
        self._end_list(frame)
        index = self._keep(index, index + 1 + (self.words[index + 1] in ("ALL", "DISTINCT")))
        frame.begin("start")
        frame.has_filter = False
        return index + 2 * (self.words[index] == "BY")

    def _filter(self, frame: _Frame, index: int) -> int:
        """Begin the one WHERE that takes what follows FROM; a query in parentheses has no room for one."""
        if frame.clause == "start":
            frame.begin("skip")
        elif not frame.has_filter:
            self._end_list(frame)
            frame.begin("filter", ("WHERE", self.tokens[index].start))
            frame.has_filter = True
        return index + 1

    def _of_writing(self, frame: _Frame, index: int) -> int | None:
        """Read a word that only statements have which are not queries."""
        word, after, start = self.words[index], self.words[index + 1], self.tokens[index].start
        if word in _VERBS and (index == 0 or (frame.clause == "with" and word in _WRITING)):
            self.verb = word
            is_query = index + 1 in self.queries or after in SELECT_WORDS
            frame.begin("start" if word in _DESCRIBING and is_query else "from" if word == "MERGE" else "words")
            return self._keep(index, index + 1)
        if not self.verb:
            return None
        if frame.clause == "words":
            return self._of_words(frame, index)
        if word == "ON" and after == "CONFLICT" and self.verb == "INSERT":
            frame.begin("skip")
            return index + 1
        if word == "RETURNING" and self.verb != "MERGE":
            self._end_list(frame)
            frame.begin("filter", ("RETURNING", start))
            frame.has_filter = True
            return index + 1
        if word == "WHEN" and self.verb == "MERGE" and frame.clause in ("from", "on"):
            self._end_list(frame)
            index = self._keep(index, index + 2 + (after == "NOT"))
            frame.begin("filter", ("AND", self.tokens[min(index, len(self.tokens) - 1)].start))
            return index
        return None

    def _of_words(self, frame: _Frame, index: int) -> int | None:
        """Read a word among those before the query or the expressions of a statement."""
        word, after, token = self.words[index], self.words[index + 1], self.tokens[index]
        if index + 1 == len(self.tokens):
            return None
        if word == "SET" and self.verb == "UPDATE":
            frame.begin("value", ("x=", self.tokens[index + 1].start))
        elif word == "BY" and self.verb == "INSERT":
            return index + 2
        elif word == "AS" and self.verb == "CREATE":
            is_query = after in (*SELECT_WORDS, "TABLE", "MATERIALIZED") or index + 1 in self.queries
            frame.begin("words" if is_query else "value", None if is_query else ("AS ", token.start))
        elif self.verb == "COPY" and word in ("TO", "FROM"):
            frame.begin("skip")
            return self._keep(index, index + 2)
        else:
            return None
        return self._keep(index, index + 1)

    def _structure(self, frame: _Frame, index: int) -> int:
        """Keep a word where tables or names are listed."""
        if index in self.queries:
            return self._open(index, "query", "start")
        if index not in self.ends:
            return self._keep(index, index + 1)
        behind = self.ends[index] + 1
        if frame.clause in ("words", "with") or self.words[index] != "(":
            return self._keep(index, behind)
        before = self.tokens[index - 1] if index else None
        is_named = before is not None and before.kind in ("word", "quoted") and before.upper not in _BEFORE_A_TABLE
        if not is_named:
            return self._open(index, "joins", "from")
        is_small = behind - index < _ARGUMENTS_MAX and not any(at in self.queries for at in range(index, behind))
        return self._keep(index, behind) if is_small else self._open(index, "list", "values")

    def _expression(self, frame: _Frame, index: int) -> int:
        """Keep what begins at ``index`` if it is an element; blank it otherwise."""
        start = self.tokens[index].start
        if index in self.queries:
            self._element(start)
            return self._open(index, "query", "start")
        if index in self.ends:
            return self._open(index, "brackets", "skip")
        behind = self._name_end(index, is_listed=frame.kind == "query" and frame.clause == "select")
        if behind == index:
            return index + 1
        self._element(start)
        return self._keep(index, behind)

    def _name_end(self, index: int, *, is_listed: bool) -> int:
        """Return the index after the qualified name, or rowid, at ``index``; ``index`` where there is none."""
        behind = index
        while self.tokens[behind : behind + 1] and self.tokens[behind].kind in ("word", "quoted"):
            behind += 1
            if self.words[behind] != "." or behind + 1 >= len(self.tokens):
                break
            behind += 1
        else:
            behind -= behind > index  # it ends with a dot
        if self.words[behind] == "(":  # a function, perhaps of what is before it
            behind -= 2
        if is_listed and self.words[behind] == "." and self.words[behind + 1] == "*":
            behind += 2
        is_kept = behind > index + 1 or (behind == index + 1 and self.words[index] == "ROWID")
        return behind if is_kept else index
