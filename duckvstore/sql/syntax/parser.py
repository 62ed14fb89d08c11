"""DuckDB's SQL plus time travel: a text becomes statements, each with its references to tables.

Every position is a character of the user's own text, and what sqlglot cannot read but DuckDB might
is handed on untouched, unless it holds an AT form, which only this package can resolve.

The AT forms are blanked before stock sqlglot reads the text, so no parser is subclassed and it does not matter
which forms sqlglot itself knows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.errors import SqlError
from duckvstore.sql.syntax import effects, sqlglot_text, sqlglot_tree, table_functions, timetravel
from duckvstore.sql.syntax.references import References
from duckvstore.sql.syntax.source_map import SourceMap
from duckvstore.sql.syntax.statement import Reference, Statement
from duckvstore.sql.syntax.tokens import Parameter, Token, dotted, explain_end, parameter, scan

if TYPE_CHECKING:
    from duckvstore.sql.syntax.sqlglot_tree import Tree

_KINDS: tuple[tuple[type[Any], str], ...] = (
    (exp.Query, "query"),
    (exp.Values, "query"),
    (exp.Describe, "describe"),
    (exp.Summarize, "summarize"),
    (exp.Copy, "copy"),
    (exp.Insert, "insert"),
    (exp.Update, "update"),
    (exp.Delete, "delete"),
    (exp.Merge, "merge"),
    (exp.Drop, "drop"),
    (exp.Alter, "alter"),
    (exp.TruncateTable, "truncate"),
)


def parse(text: str) -> list[Statement]:
    """Return the statements of ``text``, without empty ones; raises SqlError for a wrong or unreadable AT form."""
    return list(_parse(text))


@lru_cache(maxsize=256)
def _parse(text: str) -> tuple[Statement, ...]:
    tokens, gaps = scan(text)
    source = SourceMap(text)
    statements: list[Statement] = []
    start, first, seen = 0, 0, 0
    for index in range(len(tokens) + 1):
        is_end = index == len(tokens)
        if not is_end and tokens[index].upper != ";":
            continue
        end = len(text) if is_end else tokens[index].start
        if index > first:
            spaces = [(a - start, b - start) for a, b in gaps if start <= a and b <= end]
            statement = _Source(text, source[start:end], _moved(tokens[first:index], start), spaces, seen).statement()
            statements.append(statement)
            seen += sum(p.position is not None for _, p in statement.parameters)
        start, first = end + 1, index + 1
    return tuple(statements)


class _Source:
    """One statement on its way from text to Statement."""

    def __init__(
        self, source: str, sql: SourceMap, tokens: list[Token], gaps: list[tuple[int, int]], seen: int
    ) -> None:
        self.source, self.sql, self.text, self.tokens, self.gaps = source, sql, sql.text, tokens, gaps
        self.seen = seen
        self.parameters: list[tuple[int, Parameter]] = []
        for token in tokens:
            if token.kind == "parameter":
                found = parameter(token, seen)
                self.parameters.append((token.start, found))
                seen += found.position is not None
        counts = {at: p.position for at, p in self.parameters if p.position is not None}
        self.clauses, self.malformed = timetravel.find(tokens, counts)
        self.explain_end = explain_end(tokens)

    def statement(self) -> Statement:
        """Return the finished statement; raises SqlError as ``parse`` does."""
        for malformed in self.malformed:
            if malformed.is_sure:
                raise self._error(malformed.message, malformed.offset)
        body = self._body()
        if body is not None and body.written:
            return self._rewritten(self.sql[: -len(body.written)] + body.sql)
        if body is not None:
            own = (self.sql, tuple(self.tokens), (), None, "other", self.source)
            return Statement(*own, body.maybe_names, body.problem, body=body)
        found = sqlglot_tree.read(self.tokens, self._prepared)
        calls = table_functions.written_out(self.text, self.tokens, found.root)
        if calls:
            return self._rewritten(self.sql.replaced(calls))
        if found.root is None or isinstance(found.root, exp.Command):
            found = sqlglot_tree.outlined(found, self.tokens, self._prepared)
        tree = found.root
        if tree is None:
            self._refuse_if_travelling(found)
        references = () if tree is None else References(self.text, self.tokens, self.clauses, self._error).of(tree)
        kind, explain = self._kind(tree, references)
        return Statement(
            self.sql,
            tuple(self.tokens),
            references,
            tree,
            kind,
            self.source,
            tuple(_names_after_from(self.tokens)) if tree is None else (),
            found.problem,
            () if self.tokens[0].upper == "PREPARE" else tuple(self.parameters),
            is_outline=found.is_outline,
            explain=explain,
            explain_end=self.explain_end,
        )

    def _kind(self, tree: Any, references: tuple[Reference, ...]) -> tuple[str, str]:
        """Return the kind of the statement, and "plan" or "analyze" where it is an EXPLAIN."""
        kind, explain = _kind(tree), ""
        if self.explain_end:
            words = (token.upper for token in self.tokens if token.end <= self.explain_end)
            explain = "analyze" if any(word in ("ANALYZE", "ANALYSE") for word in words) else "plan"
        if tree is not None and sqlglot_text.enumeration_end(self.tokens):
            kind = "create"
        is_own = explain and not _changes_table(tree, kind, references)
        return "explain" if is_own else kind, explain

    def _rewritten(self, sql: SourceMap) -> Statement:
        """Return the statement of ``sql``, which says in full what this one says; errors show places in that."""
        own = SourceMap(sql.text)
        return replace(_Source(own.text, own, *scan(own.text), self.seen).statement(), written=self.text)

    def _body(self) -> Statement | None:
        """Return the statement after PREPARE name AS; None where there is none."""
        words = [token.upper for token in self.tokens[:4]]
        if len(words) < 4 or words[0] != "PREPARE" or words[2] != "AS" or words[3] == "PREPARE":
            return None
        start = self.tokens[3].start
        gaps = [(a - start, b - start) for a, b in self.gaps if a >= start]
        return _Source(self.source, self.sql[start:], _moved(self.tokens[3:], start), gaps, 0).statement()

    def _error(self, message: str, position: int) -> SqlError:
        return SqlError(message, self.source, self.sql.origin(position))

    def _refuse_if_travelling(self, found: Tree) -> None:
        """Raise SqlError if there is an AT form, which DuckDB alone could not resolve."""
        if self.malformed:
            first = self.malformed[0]
            raise self._error(first.message, first.offset)
        if self.clauses:
            reason = found.problem or "this kind of statement takes no AT form"
            place = self.clauses[0].start if found.place is None else found.place
            raise self._error(f"cannot read this SQL: {reason}", place)

    def _prepared(self, *, marked: bool) -> str:
        clauses = [(clause.start, clause.end) for clause in self.clauses]
        return sqlglot_text.text(self.text, self.tokens, self.gaps, clauses, self.explain_end, marked=marked)


def _moved(tokens: list[Token], start: int) -> list[Token]:
    """Return ``tokens`` with their places in the text that begins at ``start``."""
    return [Token(t.kind, t.text, t.start - start, t.end - start) for t in tokens] if start else tokens


def _kind(tree: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(tree, kind):
            return name
    if isinstance(tree, exp.Create):
        created = str(tree.args.get("kind") or "").upper()
        return {
            "TABLE": "create_table",
            "VIEW": "create_view",
            "FUNCTION": "create_macro",
            "MACRO": "create_macro",
        }.get(created, "create")
    return "other"


def _changes_table(tree: Any, kind: str, references: tuple[Reference, ...]) -> bool:
    """Whether a statement of ``kind`` is about a table that it would create, change or drop."""
    if not effects.of(kind).changes_table or all(reference.role == "read" for reference in references):
        return False
    return kind not in ("drop", "alter") or tree.args.get("kind") == "TABLE"


def _names_after_from(tokens: list[Token]) -> list[str]:
    """Return the dotted names after FROM, JOIN, INTO and USING, without their quotes."""
    after = (at + 1 for at, token in enumerate(tokens) if token.upper in ("FROM", "JOIN", "INTO", "USING"))
    found = (dotted(tokens, at)[0] for at in after)
    return [".".join(parts) for parts in found if parts]
