"""Views and macros over symbols: the user's text is kept in the session and resolved again at each use.

A definition's names mean what they would in a statement of its own, except that its own name is never
itself, and that a name means no view or macro whose name was not there when it was made.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.errors import SqlError
from duckvstore.sql.binding.namespace import is_session_table
from duckvstore.sql.execution.instances import STEP, STEPS_MAX
from duckvstore.sql.planning import rewrite
from duckvstore.sql.planning.planner import Instance
from duckvstore.sql.syntax.literals import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from duckvstore.sql.binding.meanings import SessionTables
    from duckvstore.sql.binding.names import Names
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Key, Plan
    from duckvstore.sql.syntax.headers import Header, Noun
    from duckvstore.sql.syntax.statement import Statement


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A view or macro: ``statement`` is its own CREATE, alone. ``scope``: the dataframes that it names.

    ``made``: when, as a count. ``is_temporary``: only the thread that made it sees it. ``objects``: the views and
    macros of DuckDB's own that it named when it was made, in whose place it sees later ones over symbols.
    """

    noun: Noun
    name: str
    statement: Statement
    header: Header
    scope: Mapping[str, object]
    made: int
    is_temporary: bool
    objects: frozenset[Key]

    @property
    def key(self) -> Key:
        """What it replaces."""
        return self.noun, self.name.casefold()

    @property
    def label(self) -> str:
        """What to call it in errors."""
        return f"{'view' if self.noun == 'view' else 'macro'} {self.name!r}"

    @property
    def place(self) -> tuple[str, str, str]:
        """Database, schema and name, as a table of the session."""
        return "temp" if self.is_temporary else "memory", "main", self.name.casefold()

    def instance(self, plan: Plan, *, is_optional: bool = False) -> Instance:
        """Return what makes it on a cursor from a plan of its statement, whose text becomes that."""
        as_created(plan, self.header, self.name, blanks=STEP * (1 + self.made % STEPS_MAX))
        return Instance(self.noun, self.name, plan.sql.text, plan, self.label, is_optional)


def as_created(plan: Plan, header: Header, name: str, *, blanks: int = 0) -> None:
    """Turn the text of ``plan`` into what makes a temporary object ``name``; places in errors stay right."""
    noun = "VIEW" if header.noun == "view" else "MACRO"
    plan.sql = f"{' ' * blanks}CREATE OR REPLACE TEMP {noun} {quote(name)}" + plan.sql[header.end :]


@dataclass(slots=True)
class _Own:
    """What one thread has to itself: its temporary definitions, and how to undo what its transaction did."""

    definitions: dict[Key, Definition] = field(default_factory=dict)
    undo: list[tuple[dict[Key, Definition], Key, Definition | None]] | None = None


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A statement whose names are looked up: its own, and those in the texts of the ``definitions`` that it uses.

    ``names.companions`` are the names of the definitions, in the same order. ``tables``: of the session, at that time.
    """

    names: Names
    definitions: Sequence[Definition]
    tables: SessionTables

    @property
    def used(self) -> list[tuple[Definition, Names]]:
        """The definitions, each with its names."""
        return list(zip(self.definitions, self.names.companions, strict=True))


class Definitions:
    """The views and macros of one session. Safe to use from many threads."""

    def __init__(self) -> None:
        """Hold none."""
        self._shared: dict[Key, Definition] = {}
        self._threads: weakref.WeakKeyDictionary[ThreadCursor, _Own] = weakref.WeakKeyDictionary()
        self._since: dict[Key, int] = {}
        self._count = 0
        self._lock = forks.rlock()

    def _own(self, thread: ThreadCursor) -> _Own:
        with self._lock:
            return self._threads.setdefault(thread, _Own())

    def visible(
        self, thread: ThreadCursor, statement: Statement | None = None, to: Definition | None = None
    ) -> dict[Key, Definition]:
        """Return what ``statement`` on ``thread`` sees; ``to``: the definition whose text it is."""
        with self._lock:
            found = {**self._shared, **self._own(thread).definitions}
            if to is not None:
                found = {key: d for key, d in found.items() if self._since[key] <= to.made}
        header = statement.header if found and statement is not None else None
        if header is not None and header.verb == "create":
            found.pop((header.noun, header.name.casefold()), None)
        return found

    def names(self, thread: ThreadCursor) -> list[str]:
        """Return the names of the views that a statement on ``thread`` sees."""
        return [found.name for (noun, _), found in self.visible(thread).items() if noun == "view"]

    def tables(
        self, thread: ThreadCursor, statement: Statement, tables: SessionTables, to: Definition | None = None
    ) -> SessionTables:
        """Return a function for the tables of the session, ``tables``, and the views of ``visible``."""
        views = {found.place for found in self.visible(thread, statement, to).values() if found.noun == "view"}
        return (lambda: tables() | views) if views else tables

    def used(self, thread: ThreadCursor, statement: Statement, tables: SessionTables) -> list[Definition]:
        """Return what ``statement`` uses, each after those that it uses itself.

        ``tables``: the tables of DuckDB, which hide a definition. Raises SqlError where definitions use each other in
        a circle, and where the statement cannot use one.
        """
        found: dict[Key, Definition] = {}

        def visit(text: Statement, owner: Definition | None, path: tuple[Key, ...]) -> None:
            for definition in self._named(text, self.visible(thread, text, owner), tables):
                if definition.key in path:
                    names = " and ".join(repr(name) for _, name in path)
                    message = f"the views or macros {names} refer to each other in a circle: replace one of them"
                    raise statement.error(message, _place(statement, path[0][1]))
                if definition.key not in found:
                    visit(definition.statement, definition, (*path, definition.key))
                    found[definition.key] = definition

        header = statement.header
        is_made = header is not None and header.verb == "create"
        visit(statement, None, ((header.noun, header.name.casefold()),) if header is not None and is_made else ())
        return list(found.values())

    def ordered(self, thread: ThreadCursor, tables: SessionTables) -> list[Definition]:
        """Return all that a statement on ``thread`` sees, each after those that it uses; none that is in a circle."""
        found: dict[Key, Definition] = {}
        for definition in self.visible(thread).values():
            with suppress(SqlError):
                for used in [*self.used(thread, definition.statement, tables), definition]:
                    found.setdefault(used.key, used)
        return list(found.values())

    def _named(
        self, statement: Statement, visible: Mapping[Key, Definition], tables: SessionTables
    ) -> Iterator[Definition]:
        """Yield the definitions among ``visible`` that the words of ``statement`` name."""
        if not visible:
            return
        referred = [r.parts for r in statement.references if r.role == "read" and r.at is None]
        maybe = [tuple(name.split(".")) for name in statement.maybe_names]
        for parts in [*referred, *maybe]:
            view = view_named(parts, visible, tables)
            if view is not None and parts in maybe and statement.effects.keeps_query:
                reason = statement.problem or "write a query of its own"
                message = f"{view.label} is over symbols, and this kind of statement cannot use it: {reason}"
                raise statement.error(message, _place(statement, view.name))
            if view is not None and ("temp", "main", view.key[1]) in tables():
                message = f"a temporary table {view.name} hides {view.label} also under this name: DROP that first"
                raise statement.error(message, _place(statement, view.name))
            if view is not None:
                yield view
        called = statement.calls if any(noun != "view" for noun, _ in visible) else ()
        yield from (found for (noun, name), found in visible.items() if noun != "view" and name in called)

    def scope(self, thread: ThreadCursor, *, is_temporary: bool) -> dict[Key, Definition]:
        """Return the definitions of ``thread`` alone, or else those that all threads see."""
        return self._own(thread).definitions if is_temporary else self._shared

    def next_number(self) -> int:
        """Return a number greater than those of all definitions so far."""
        with self._lock:
            self._count += 1
            return self._count

    def put(self, thread: ThreadCursor, key: Key, definition: Definition | None, *, is_temporary: bool) -> None:
        """Keep ``definition`` (None: nothing) in place of what ``key`` means."""
        with self._lock:
            own, scope = self._own(thread), self.scope(thread, is_temporary=is_temporary)
            if own.undo is not None:
                own.undo.append((scope, key, scope.get(key)))
            if definition is None:
                scope.pop(key, None)
            else:
                scope[key] = definition
                for known in (key, *definition.objects):
                    self._since.setdefault(known, definition.made)

    # -- transactions --------------------------------------------------------------------------------------------

    def begin(self, thread: ThreadCursor) -> None:
        """Remember what follows, to undo it."""
        self._own(thread).undo = []

    def commit(self, thread: ThreadCursor) -> None:
        """Keep what the transaction did."""
        self._own(thread).undo = None

    def roll_back(self, thread: ThreadCursor) -> None:
        """Undo what the transaction did, here and in what is known of the cursor."""
        with self._lock:
            own = self._own(thread)
            for scope, key, before in reversed(own.undo or []):
                if before is None:
                    scope.pop(key, None)
                else:
                    scope[key] = before
            own.undo = None
        thread.instances.forget()

    # -- uses ----------------------------------------------------------------------------------------------------

    def spell(self, plan: Plan, thread: ThreadCursor, tables: SessionTables, to: Definition | None = None) -> None:
        """Replace names such as memory.main.v in ``plan``: on the cursor, v is a temporary view."""
        visible = self.visible(thread, plan.statement, to)
        found: dict[int, str | None] = {
            at: quote(view.name)
            for at, reference in enumerate(plan.statement.references)
            if reference.role == "read" and reference.at is None and reference.parts[0].casefold() == "memory"
            if (view := view_named(reference.parts, visible, tables)) is not None
        }
        if found:
            plan.replacements.update(found)
            plan.sql = rewrite.rewrite(plan.statement, plan.replacements)


def view_named(parts: tuple[str, ...], visible: Mapping[Key, Definition], tables: SessionTables) -> Definition | None:
    """Return the view that ``parts`` name, unless a table of DuckDB's hides it."""
    found = visible.get(("view", parts[-1].casefold()))
    if found is None or not is_session_table(parts, {found.place}) or is_session_table(parts, tables()):
        return None
    return found


def _place(statement: Statement, name: str) -> int:
    """Return the character of the statement's text where ``name`` occurs first."""
    return max(0, statement.text.casefold().find(name.casefold()))
