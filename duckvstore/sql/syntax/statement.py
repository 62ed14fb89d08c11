"""A statement as the parser reads it: its words, the tables that it names, what it makes and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from duckvstore.errors import SqlError, caret
from duckvstore.sql.syntax import effects, headers
from duckvstore.sql.syntax.tokens import called

if TYPE_CHECKING:
    from duckvstore.sql.syntax.effects import Effects
    from duckvstore.sql.syntax.headers import Header
    from duckvstore.sql.syntax.source_map import SourceMap
    from duckvstore.sql.syntax.timetravel import At
    from duckvstore.sql.syntax.tokens import Parameter, Token

MESSAGE_CHARACTERS_MAX = 1000
# Table functions that make rows from their arguments alone, without looking at any file.
_PURE_TABLE_FUNCTIONS = frozenset(("range", "generate_series", "unnest", "generateseries", "explodinggenerateseries"))


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that names a table: characters [start, end) of the statement's text are the dotted name.

    ``cuts``: further spans to take out (the AT form). ``alias``: the user's, or None. ``role``: "read", or "target"
    for what a statement creates, changes or drops. ``form``: "relation"; "table" for ``TABLE name`` and "statement"
    for the operand of DESCRIBE, SHOW, SUMMARIZE or COPY, where a relation must be put as a query; "columns" for
    COPY with a column list. ``lead``: where the words to be replaced start (the word TABLE, else ``start``).
    ``node``: the sqlglot Table. ``is_call``: it is ``vstore.diff``, and ``cuts`` has its parenthesis.
    """

    parts: tuple[str, ...]
    start: int
    end: int
    at: At | None
    alias: str | None
    node: Any
    cuts: tuple[tuple[int, int], ...] = ()
    role: Literal["read", "target"] = "read"
    form: Literal["relation", "table", "statement", "columns"] = "relation"
    lead: int = 0
    is_call: bool = False


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement, equal to itself alone: ``sql`` is its text, with its places in ``source``, which the user wrote.

    ``tokens``: its words, with their places in ``text``. ``tree`` is None and ``references`` empty where sqlglot cannot
    read it, not even its outline (``is_outline``: the tree is of that); ``maybe_names`` then holds the dotted names
    after FROM, JOIN, INTO and USING, and ``problem`` what sqlglot said. ``kind``: query, explain, describe, summarize,
    copy, create_table, create_view, create_macro, create, insert, update, delete, merge, drop, alter, truncate or
    other. ``explain``: "plan" or "analyze" after EXPLAIN, whose words end at ``explain_end``; the kind is that of what
    is explained where that changes a table, else explain. ``parameters``: each parameter of the text with the character
    (of ``text``) where it stands. ``body``: the statement that PREPARE prepares, whose parameters are not those of
    PREPARE. ``written``: what the user wrote where in ``text`` the texts of calls of ``query`` are written out.
    """

    sql: SourceMap
    tokens: tuple[Token, ...]
    references: tuple[Reference, ...]
    tree: Any
    kind: str
    source: str = ""
    maybe_names: tuple[str, ...] = ()
    problem: str | None = None
    parameters: tuple[tuple[int, Parameter], ...] = ()
    body: Statement | None = None
    is_outline: bool = False
    explain: str = ""
    explain_end: int = 0
    written: str = ""

    @property
    def text(self) -> str:
        """The text that is read; see ``sql``."""
        return self.sql.text

    def error(self, message: str, position: int) -> SqlError:
        """Return an SqlError whose caret is under character ``position`` of this statement's text."""
        return SqlError(message, self.source, self.sql.origin(position))

    def caret(self, position: int) -> str:
        """Return lines for an error that show character ``position`` of this statement's text."""
        return caret(self.source, self.sql.origin(position))

    @cached_property
    def header(self) -> Header | None:
        """What CREATE, DROP, PREPARE, EXECUTE or DEALLOCATE names; None for any other statement."""
        return headers.read(self.tokens, self.explain_end)

    @cached_property
    def effects(self) -> Effects:
        """What it does to DuckDB's session, and asks of DuckDB."""
        return effects.of(self.kind, [token.upper for token in self.tokens[:2]], is_read=self.tree is not None)

    @cached_property
    def calls(self) -> frozenset[str]:
        """The names, in lower case, of whatever may be a function in it; not that of a macro that it makes."""
        end = self.header.end if self.header is not None else 0
        return called([token for token in self.tokens if token.start >= end])

    @cached_property
    def may_read_files(self) -> bool:
        """Whether some relation of it may be neither a plain name nor rows that it makes by itself."""
        if self.tree is None or not self.effects.shows_sources:
            return True
        calls = [reference.node for reference in self.references if reference.is_call]
        for table in self.tree.find_all(exp.Table):
            inner = table.this
            if any(table is call for call in calls):
                continue
            if isinstance(inner, exp.Identifier):
                start = inner.meta.get("start")
                if start is None or self.text[start] == "'":
                    return True
            elif not _is_pure(inner):
                return True
        return not all(_is_pure(lateral.this) for lateral in self.tree.find_all(exp.Lateral))

    @property
    def target(self) -> int | None:
        """The position of the reference that it changes as a table, which may be a symbol; None: it changes none.

        A temporary table is DuckDB's own affair.
        """
        if self.tree is None or not self.effects.changes_table:
            return None
        if self.kind == "create_table" and self.is_temporary:
            return None
        if self.kind in ("drop", "alter") and str(self.tree.args.get("kind") or "").upper() != "TABLE":
            return None
        return next((at for at, found in enumerate(self.references) if found.role == "target"), None)

    @property
    def is_temporary(self) -> bool:
        """Whether it makes something temporary."""
        return self.tree is not None and self.tree.find(exp.TemporaryProperty) is not None

    @property
    def is_tolerant(self) -> bool:
        """Whether it says IF EXISTS or IF NOT EXISTS."""
        return bool(self.tree is not None and self.tree.args.get("exists"))

    @property
    def message(self) -> str:
        """Its text as the message of the version that it makes, cut where it is long."""
        written = self.written or self.text
        text = " ".join(written.split()) if "\n" not in written else written.strip()
        return text if len(text) <= MESSAGE_CHARACTERS_MAX else text[:MESSAGE_CHARACTERS_MAX] + " …"


def _is_pure(node: Any) -> bool:
    """Whether the relation at ``node`` reads nothing by itself."""
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in _PURE_TABLE_FUNCTIONS
    if isinstance(node, exp.Func):
        return type(node).__name__.lower() in _PURE_TABLE_FUNCTIONS
    return isinstance(node, (exp.Subquery, exp.Query, exp.Values))
