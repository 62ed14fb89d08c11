"""DuckDB's SQL plus time travel: a text becomes statements, each with its references to tables.

Invariant: every position is a character of the user's own text, and what sqlglot cannot read but DuckDB might
is handed on untouched, unless it holds an AT form, which only we can resolve.

The AT forms are blanked before stock sqlglot reads the text, so no parser is subclassed and it does not matter
which forms sqlglot itself knows.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from duckvstore.errors import SqlError
from duckvstore.signals import of_handler
from duckvstore.sql.syntax import effects, outline, sqlglot_text, table_functions, timetravel
from duckvstore.sql.syntax.source_map import SourceMap
from duckvstore.sql.syntax.statement import Reference, Statement
from duckvstore.sql.syntax.timetravel import At, Clause, Expression, Malformed
from duckvstore.sql.syntax.tokens import Parameter, Token, blank, closing, explain_end, parameter, scan

__all__ = ["At", "Expression", "Parameter", "Reference", "Statement", "parse"]

_QUIET: ContextVar[bool] = ContextVar("duckvstore_sqlglot_quiet", default=False)
# sqlglot logs a warning when it does not know a command; that is expected here and no news for a user.
logging.getLogger("sqlglot").addFilter(lambda _record: not _QUIET.get())

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
_AFTER_A_QUERY = frozenset((")", "ORDER", "LIMIT", "OFFSET", "UNION", "EXCEPT", "INTERSECT", "WITH"))
_READ_PARENTS = (exp.From, exp.Join, exp.Describe, exp.Summarize, exp.Subquery, exp.Paren, exp.Lateral)
_STUB = "FROM x"  # no query is shorter
_FOUND_TOKEN = re.compile(r" but got <Token.*", re.DOTALL)


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
            own = [Token(t.kind, t.text, t.start - start, t.end - start) for t in tokens[first:index]]
            spaces = [(a - start, b - start) for a, b in gaps if start <= a and b <= end]
            statement = _Source(text, source[start:end], own, spaces, seen).statement()
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
        tree, problem, place = self._tree()
        calls = table_functions.written_out(self.text, self.tokens, tree)
        if calls:
            return self._rewritten(self.sql.replaced(calls))
        usable = tree is not None and not isinstance(tree, exp.Command)
        is_outline = False
        if not usable:
            outlined = self._outlined()
            if outlined is not None:
                tree, usable, is_outline = outlined, True, True
        if not usable:
            self._refuse_if_travelling(problem, place)
        references = tuple(self._references(tree)) if usable else ()
        kind, explain = self._kind(tree, references)
        return Statement(
            self.sql,
            tuple(self.tokens),
            references,
            tree if usable else None,
            kind,
            self.source,
            () if usable else tuple(_names_after_from(self.tokens)),
            problem,
            () if self.tokens[0].upper == "PREPARE" else tuple(self.parameters),
            is_outline=is_outline,
            explain=explain,
            explain_end=self.explain_end,
        )

    def _kind(self, tree: Any, references: tuple[Reference, ...]) -> tuple[str, str]:
        """Return the kind of the statement, and "plan" or "analyze" where it is an EXPLAIN."""
        kind, explain = _kind(tree), ""
        if self.explain_end:
            words = (token.upper for token in self.tokens if token.end <= self.explain_end)
            explain = "analyze" if any(word in ("ANALYZE", "ANALYSE") for word in words) else "plan"
        if tree is not None and not isinstance(tree, exp.Command) and sqlglot_text.enumeration_end(self.tokens):
            kind = "create"
        is_own = explain and not _changes_table(tree, kind, references)
        return "explain" if is_own else kind, explain

    def _rewritten(self, sql: SourceMap) -> Statement:
        """Return the statement of ``sql``, which says in full what this one says."""
        return replace(_Source(self.source, sql, *scan(sql.text), self.seen).statement(), written=self.text)

    def _body(self) -> Statement | None:
        """Return the statement behind PREPARE name AS; None where there is none."""
        words = [token.upper for token in self.tokens[:4]]
        if len(words) < 4 or words[0] != "PREPARE" or words[2] != "AS" or words[3] == "PREPARE":
            return None
        start = self.tokens[3].start
        own = [Token(t.kind, t.text, t.start - start, t.end - start) for t in self.tokens[3:]]
        gaps = [(a - start, b - start) for a, b in self.gaps if a >= start]
        return _Source(self.source, self.sql[start:], own, gaps, 0).statement()

    def _error(self, message: str, position: int) -> SqlError:
        return SqlError(message, self.source, self.sql.origin(position))

    def _refuse_if_travelling(self, problem: str | None, place: int | None) -> None:
        """Raise SqlError if there is an AT form, which DuckDB alone could not resolve."""
        if self.malformed:
            first: Malformed = self.malformed[0]
            raise self._error(first.message, first.offset)
        if self.clauses:
            reason = problem or "this kind of statement takes no AT form"
            raise self._error(f"cannot read this SQL: {reason}", self.clauses[0].start if place is None else place)

    def _readable(self, *, marked: bool) -> str:
        clauses = [(clause.start, clause.end) for clause in self.clauses]
        return sqlglot_text.text(self.text, self.tokens, self.gaps, clauses, self.explain_end, marked=marked)

    def _tree(self) -> tuple[Any, str | None, int | None]:
        """Return sqlglot's tree, or None with what is wrong and where (if that is known)."""
        if self.tokens[-1].kind == "unclosed":
            return None, "a quotation or comment is not closed", self.tokens[-1].start
        marked = self._parsed(self._readable(marked=True))
        if marked[0] is None and any(token.kind in ("parameter", "dollar", "string") for token in self.tokens):
            return self._parsed(self._readable(marked=False))
        return marked

    def _altering(self, text: str) -> Any:
        """Return the tree of a plain ALTER TABLE in place of one that sqlglot does not know, as of INT ARRAY[3]."""
        tokens, _ = scan(text)
        words = [token.upper for token in tokens]
        if words[:2] != ["ALTER", "TABLE"]:
            return None
        last = 4 if words[2:4] == ["IF", "EXISTS"] else 2
        while words[last + 1 : last + 2] == ["."]:
            last += 2
        return self._parsed(f"{text[: tokens[last].end]} DROP x")[0] if last < len(tokens) else None

    def _uncommenting(self, text: str) -> Any:
        """Return the tree of a comment in place of COMMENT ON … IS NULL, which sqlglot does not know."""
        tokens, _ = scan(text)
        words = [token.upper for token in tokens]
        is_known = words[:2] == ["COMMENT", "ON"] and words[-2:] == ["IS", "NULL"]
        return self._parsed(f"{text[: tokens[-1].start]}''")[0] if is_known else None

    def _outlined(self) -> Any:
        """Return the tree of the statement's outline, put together from the pieces that sqlglot reads; or None."""
        if self.tokens[-1].kind == "unclosed":
            return None
        readable_text = self._readable(marked=True)
        found = outline.read(readable_text)
        if found is None:
            return self._altering(readable_text) or self._uncommenting(readable_text)
        root: Any = None
        for start, end in [(0, len(found.text)), *found.pieces]:
            text = blank(found.text, [(0, start), (end, len(found.text))])
            behind = start
            for first, last in found.pieces:
                if behind <= first and last <= end and (first, last) != (start, end):  # one right inside of this
                    behind = last
                    text = f"{text[:first]}{_STUB.ljust(last - first)}{text[last:]}"
            tree, _, _ = self._parsed(text)
            if tree is None or isinstance(tree, exp.Command):
                return None
            root = tree if root is None else _grafted(root, tree, start)
        return root

    def _parsed(self, text: str) -> tuple[Any, str | None, int | None]:
        quiet = _QUIET.set(True)
        try:
            dialect = DuckDB()
            trees = dialect.parser().parse(dialect.tokenize(text), text)
        except RecursionError:
            return None, "it is nested too deeply", None
        except Exception as error:  # beside SqlglotError its parser also fails with AttributeError and the like
            if of_handler(error):
                raise
            return None, *_problem(error, text)
        finally:
            _QUIET.reset(quiet)
        if len(trees) != 1 or trees[0] is None:
            return None, "it is not one statement", None
        _move_joins(trees[0])
        _name_commented_table(trees[0])
        return trees[0], None, None

    def _references(self, tree: Any) -> list[Reference]:
        by_end = {token.end: index for index, token in enumerate(self.tokens)}
        open_clauses: dict[int, Clause] = {}
        for clause in self.clauses:
            if clause.after in open_clauses:
                raise self._error("a symbol takes only one AT form", clause.start)
            open_clauses[clause.after] = clause
        found = [self._reference(node, by_end, open_clauses) for node in tree.find_all(exp.Table)]
        for clause in open_clauses.values():
            raise self._error(
                f"AT {clause.at.kind.upper()} belongs right after the name of a symbol or its alias", clause.start
            )
        named = [reference for reference in found if reference is not None]
        kept = [r for r in named if r.at is not None or r.role == "target" or not _is_cte(r.node)]
        kept.sort(key=lambda reference: reference.start)
        # sqlglot takes the names in RENAME a TO b for those of tables.
        return kept[:1] if isinstance(tree, exp.Alter) else kept

    def _reference(self, node: Any, by_end: dict[int, int], open_clauses: dict[int, Clause]) -> Reference | None:
        parts = node.parts
        if not all(isinstance(part, exp.Identifier) and "start" in part.meta for part in parts):
            return self._call(node)  # a table function
        start, end = parts[0].meta["start"], parts[-1].meta["end"] + 1
        if end not in by_end or self.text[start] in "'?$":
            return None  # FROM 'file.parquet'
        last = by_end[end]
        if self.tokens[last - 2 * len(parts) + 2].start != start:
            return None  # a..b, which is no name to DuckDB
        ends = [end]
        prefixed = _before(self.tokens, start).upper == ":"
        if node.args.get("alias") and not prefixed:
            ends = [end, self._alias_end(last)]
        clauses = [open_clauses.pop(position) for position in dict.fromkeys(ends) if position in open_clauses]
        if len(clauses) > 1:
            raise self._error("a symbol takes only one AT form", clauses[1].start)
        role: Literal["read", "target"] = "read" if _is_read(node) else "target"
        if clauses and role == "target":
            raise self._error(
                "a past version cannot be changed or created: leave out AT, which changes the newest, or first RESTORE "
                "TABLE … TO VERSION …",
                clauses[0].start,
            )
        form, lead = self._form(node, start)
        if form == "table":
            self._check_table_query(last)
        return Reference(
            parts=tuple(part.name for part in parts),
            start=start,
            end=end,
            at=clauses[0].at if clauses else None,
            alias=node.alias or None,
            node=node,
            cuts=tuple((clause.start, clause.end) for clause in clauses),
            role=role,
            form=form,
            lead=lead,
        )

    def _call(self, node: Any) -> Reference | None:
        """Return the reference that a call of vstore.diff is; None for a table function of DuckDB's."""
        parts = node.parts
        if tuple(part.name.lower() for part in parts[-2:]) != ("vstore", "diff"):
            return None
        start = parts[0].meta.get("start")
        first = next((index for index, token in enumerate(self.tokens) if token.start == start), len(self.tokens))
        opening = first + 2 * len(parts) - 1
        if opening >= len(self.tokens) or self.tokens[opening].text != "(":
            return None
        form, lead = self._form(node, self.tokens[first].start)
        return Reference(
            parts=tuple(part.name for part in parts),
            start=self.tokens[first].start,
            end=self.tokens[opening - 1].end,
            at=None,
            alias=node.alias or None,
            node=node,
            cuts=((self.tokens[opening].start, self.tokens[closing(self.tokens, opening)].end),),
            form=form,
            lead=lead,
            is_call=True,
        )

    def _check_table_query(self, last: int) -> None:
        """Raise SqlError unless ``TABLE name``, with ``last`` as its last token, ends a query: sqlglot reads FROM."""
        following = next((token for token in self.tokens[last + 1 :] if not self._is_cut(token)), None)
        if following is not None and following.upper not in _AFTER_A_QUERY:
            raise self._error(f"syntax error at or near {following.text!r}", following.start)

    def _alias_end(self, last: int) -> int:
        """Return where the alias ends that follows the name whose last token has index ``last``."""
        following = [token for token in self.tokens[last + 1 :] if not self._is_cut(token)]
        index = 1 if following and following[0].upper == "AS" else 0
        if index + 1 < len(following) and following[index + 1].text == "(":
            end = closing(following, index + 1)
            # Without an alias of columns this is the parenthesis of something else, such as TABLESAMPLE.
            return following[end].end if end >= 0 else -1
        return following[index].end if index < len(following) else -1

    def _is_cut(self, token: Token) -> bool:
        return any(clause.start <= token.start < clause.end for clause in self.clauses)

    def _form(self, node: Any, start: int) -> tuple[Literal["relation", "table", "statement", "columns"], int]:
        parent = node.parent
        if isinstance(parent, (exp.Describe, exp.Summarize)):
            before = _before(self.tokens, start)
            return "statement", before.start if before.upper == "TABLE" else start
        if isinstance(parent, exp.Copy):
            return "statement", start
        if isinstance(parent, exp.Schema) and isinstance(parent.parent, exp.Copy):
            return "columns", start
        before = _before(self.tokens, start)
        if before.upper == "SHOW":
            return "statement", start
        if isinstance(parent, exp.From) and before.upper == "TABLE":
            return "table", before.start
        return "relation", start


def _grafted(root: Any, tree: Any, start: int) -> Any:
    """Put ``tree`` into ``root`` in place of the stub at character ``start``."""
    place = start + len(_STUB) - 1
    stub = next(name for name in root.find_all(exp.Identifier) if name.meta.get("start") == place)
    stub.find_ancestor(exp.Select).replace(tree)
    return root


def _move_joins(tree: Any) -> None:
    """Put the joins of FROM-first queries where they are in all others: sqlglot leaves them with the first table."""
    for select in tree.find_all(exp.Select):
        first = select.args["from_"].this if select.args.get("from_") else None
        if type(first) is exp.Table and first.args.get("joins") and not select.args.get("joins"):
            select.set("joins", first.args["joins"])
            first.set("joins", None)


def _name_commented_table(tree: Any) -> None:
    """Put the table in place of the column that COMMENT ON COLUMN names."""
    if isinstance(tree, exp.Comment) and isinstance(tree.this, exp.Column) and tree.this.args.get("table"):
        names = {"this": "table", "db": "db", "catalog": "catalog"}
        tree.set("this", exp.Table(**{name: tree.this.args.get(of) for name, of in names.items()}))


def _before(tokens: list[Token], start: int) -> Token:
    """Return the token before character ``start``."""
    earlier = [token for token in tokens if token.end <= start]
    return earlier[-1] if earlier else Token("start", "", 0, 0)


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


def _is_read(node: Any) -> bool:
    """Whether the table at ``node`` is read, not created, changed or dropped."""
    parent = node.parent
    if isinstance(parent, exp.Schema):
        parent = parent.parent
    if isinstance(parent, exp.Copy):
        return bool(not parent.args.get("kind"))  # COPY … TO
    if isinstance(parent, (exp.Delete, exp.Merge)):
        return bool(node.arg_key == "using")
    return isinstance(parent, _READ_PARENTS)


def _is_cte(node: Any) -> bool:
    """Whether the name at ``node`` is a common table expression in view there: ``name``, or ``recurring.name``."""
    is_recurring = len(node.parts) == 2 and node.parts[0].name.lower() == "recurring"
    if len(node.parts) != 1 and not is_recurring:
        return False
    name = node.name.lower()
    child, scope = node, node.parent
    while scope is not None:
        common = scope.args.get("with_")
        is_named = common is not None and common is not child and _names(common.expressions, name)
        if is_named and not is_recurring:
            return True
        if isinstance(scope, exp.With):
            before = scope.expressions[: next(at for at, common in enumerate(scope.expressions) if common is child)]
            if (_names(before, name) and not is_recurring) or _is_own_recursion(scope, child, node):
                return True
        child, scope = scope, scope.parent
    return False


def _names(expressions: list[Any], name: str) -> bool:
    return any(expression.alias.lower() == name for expression in expressions)


def _is_own_recursion(common: Any, definition: Any, node: Any) -> bool:
    """Whether ``node`` is the recursive side of ``WITH RECURSIVE name AS (… UNION … name …)``.

    As run: DuckDB takes the name in the first side, or in a definition with no UNION, for the outer table.
    """
    if not common.args.get("recursive") or definition.alias.lower() != node.name.lower():
        return False
    union = definition.this
    side = node
    while side is not None and side.parent is not union:
        side = side.parent
    return isinstance(union, exp.SetOperation) and side is union.args.get("expression")


def _problem(error: Exception, text: str) -> tuple[str, int | None]:
    """Return what sqlglot complains about, in one line, and the character of ``text`` it points to."""
    details = getattr(error, "errors", None)
    if not details:
        return str(error).splitlines()[0][:200] if str(error) else type(error).__name__, None
    first = details[0]
    message = _FOUND_TOKEN.sub("", str(first.get("description") or "syntax error"))
    if message.startswith("Required keyword"):  # it goes on with names of sqlglot's own
        message = "something is missing"
    line, column = first.get("line"), first.get("col")
    if not line or not column:
        return message, None
    lines = text.splitlines(keepends=True)
    position = sum(len(item) for item in lines[: line - 1]) + column - len(first.get("highlight") or "")
    return message, max(0, min(position, len(text)))


def _names_after_from(tokens: list[Token]) -> list[str]:
    """Return the dotted names after FROM, JOIN, INTO and USING, without their quotes."""
    names: list[str] = []
    for index, token in enumerate(tokens):
        if token.upper not in ("FROM", "JOIN", "INTO", "USING"):
            continue
        parts: list[str] = []
        for following in tokens[index + 1 :: 2]:
            if following.kind not in ("word", "quoted"):
                break
            parts.append(following.text[1:-1].replace('""', '"') if following.kind == "quoted" else following.text)
            dot = index + 2 * len(parts)
            if dot >= len(tokens) or tokens[dot].text != ".":
                break
        if parts:
            names.append(".".join(parts))
    return names
