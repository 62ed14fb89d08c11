"""Views and macros over symbols: the user's text is kept in the session and resolved again at each use.

Invariant: a definition's names mean what they would in a statement of its own, except that its own name is never
itself, and that a name means no view or macro whose name was not there when it was made.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from duckvstore import forks
from duckvstore.errors import SqlError
from duckvstore.sql.binding import dataframes
from duckvstore.sql.binding.names import Frame, is_session_table, labelled
from duckvstore.sql.planning import rewrite
from duckvstore.sql.syntax import parser
from duckvstore.sql.values.parameters import Values
from duckvstore.sql.views import information_schema, instances
from duckvstore.sql.views.instances import CHECK, STEP, STEPS_MAX, Item, Placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from duckvstore.sql.binding.names import Names
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Plan, Planner
    from duckvstore.sql.results.figures import Figures
    from duckvstore.sql.syntax.headers import Header, Noun
    from duckvstore.sql.syntax.parser import Reference, Statement
    from duckvstore.sql.views.instances import Key

Tables = set[tuple[str, str, str]]

_PLACES = ((), ("main",), ("memory",), ("memory", "main"), ("temp",), ("temp", "main"))


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

    def item(self, plan: Plan, *, is_optional: bool = False) -> Item:
        """Return what makes it on a cursor from a plan of its statement, whose text becomes that."""
        as_created(plan, self.header, self.name, blanks=STEP * (1 + self.made % STEPS_MAX))
        return Item(self.noun, self.name, plan.sql.text, plan, self.label, is_optional)


def as_created(plan: Plan, header: Header, name: str, *, blanks: int = 0) -> None:
    """Turn the text of ``plan`` into what makes a temporary object ``name``; places in errors stay right."""
    noun = "VIEW" if header.noun == "view" else "MACRO"
    plan.sql = f"{' ' * blanks}CREATE OR REPLACE TEMP {noun} {rewrite.quote(name)}" + plan.sql[header.end :]


@dataclass(slots=True)
class _Own:
    """What one thread has to itself: its temporary definitions, and how to undo what its transaction did."""

    definitions: dict[Key, Definition] = field(default_factory=dict)
    undo: list[tuple[dict[Key, Definition], Key, Definition | None]] | None = None


class Definitions:
    """The views and macros of one session. Safe to use from many threads."""

    def __init__(self) -> None:
        """Hold none."""
        self.placed = Placed()
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
        self, thread: ThreadCursor, statement: Statement, tables: Callable[[], Tables], to: Definition | None = None
    ) -> Callable[[], Tables]:
        """Return a function for the tables of the session, ``tables``, and the views of ``visible``."""
        views = {found.place for found in self.visible(thread, statement, to).values() if found.noun == "view"}
        return (lambda: tables() | views) if views else tables

    def used(self, thread: ThreadCursor, statement: Statement, tables: Callable[[], Tables]) -> list[Definition]:
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

    def ordered(self, thread: ThreadCursor, tables: Callable[[], Tables]) -> list[Definition]:
        """Return all that a statement on ``thread`` sees, each after those that it uses; none that is in a circle."""
        found: dict[Key, Definition] = {}
        for definition in self.visible(thread).values():
            with suppress(SqlError):
                for used in [*self.used(thread, definition.statement, tables), definition]:
                    found.setdefault(used.key, used)
        return list(found.values())

    def _named(
        self, statement: Statement, visible: Mapping[Key, Definition], tables: Callable[[], Tables]
    ) -> Iterator[Definition]:
        """Yield the definitions among ``visible`` that the words of ``statement`` name."""
        if not visible:
            return
        referred = [r.parts for r in statement.references if r.role == "read" and r.at is None]
        maybe = [tuple(name.split(".")) for name in statement.maybe_names]
        for parts in [*referred, *maybe]:
            view = _view(parts, visible, tables)
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

    # -- statements about definitions ----------------------------------------------------------------------------

    def settle(
        self, thread: ThreadCursor, statement: Statement, tables: Callable[[], Tables], refuse: Callable[..., None]
    ) -> bool:
        """Carry out what concerns definitions alone: a DROP, or IF NOT EXISTS of one that exists.

        Returns whether ``statement`` is done with. Raises SqlError for what a definition of the same name forbids, and
        what ``refuse`` (``Making.refuse_in_reading``) does.
        """
        visible = self.visible(thread)
        if not visible:
            return False
        header = statement.header
        if header is None:
            self._refuse_changes(statement, visible, tables)
            return False
        existing = self._existing(thread, header, tables)
        if existing is None:
            return False
        if header.verb == "drop" and header.noun != "table":
            refuse(header.start, is_temporary=existing.is_temporary)
            self._set(thread, existing.is_temporary, existing.key, None)
            return True
        if header.verb == "drop":
            raise statement.error(f"{header.name} is a view: write DROP VIEW {header.name}", header.start)
        if header.if_exists:
            return True
        if header.noun == "table" or not header.replaces or (header.is_temporary and not existing.is_temporary):
            raise statement.error(
                f"{existing.label} exists already: write CREATE OR REPLACE, or DROP it first", header.start
            )
        return False

    def _existing(self, thread: ThreadCursor, header: Header, tables: Callable[[], Tables]) -> Definition | None:
        place = tuple(part.casefold() for part in header.parts[:-1])
        if place not in _PLACES:
            return None
        nouns = {"table": ["view"], "macro": ["macro", "table macro"]}.get(header.noun, [header.noun])
        own = self._own(thread).definitions
        is_temporary = header.is_temporary or place[:1] == ("temp",)
        if header.verb == "create":
            nouns = nouns[:1]
            scopes = [own if is_temporary else self._shared]
            if is_temporary and "macro" in header.noun:
                scopes.append(self._shared)  # on a cursor, macros over symbols are temporary themselves
        elif "macro" not in header.noun and ("temp", "main", header.name.casefold()) in tables():
            return None  # DuckDB drops its own temporary table first
        else:
            scopes = [own] if place[:1] == ("temp",) else [own, self._shared]
        keys = [(scope, (noun, header.name.casefold())) for scope in scopes for noun in nouns]
        return next((scope[key] for scope, key in keys if key in scope), None)

    def _refuse_changes(
        self, statement: Statement, visible: Mapping[Key, Definition], tables: Callable[[], Tables]
    ) -> None:
        for reference in statement.references:
            if reference.role == "target" and statement.effects.changes_rows:
                view = _view(reference.parts, visible, tables)
                if view is not None:
                    raise statement.error(
                        f"{view.name} is a view over symbols, which cannot be changed: CREATE OR REPLACE VIEW makes "
                        "another of the name",
                        reference.start,
                    )

    def drafted(self, thread: ThreadCursor, statement: Statement, names: Names) -> Definition | None:
        """Return the definition that ``statement`` makes; None where it concerns no symbol, so DuckDB makes it.

        One over a view or macro of DuckDB's is kept too, since one over symbols may take that name later. Raises
        SqlError for what a definition cannot hold.
        """
        header = statement.header
        if statement.kind not in ("create_view", "create_macro") or header is None or header.verb != "create":
            return None
        pairs = [(reference, names.meanings[at]) for at, reference in enumerate(statement.references)]
        used = [(reference, meaning) for reference, meaning in pairs if reference.role == "read" and meaning]
        is_placed = tuple(part.casefold() for part in header.parts[:-1]) in _PLACES
        objects = _objects(thread, statement, header) if is_placed else frozenset()
        concerns = bool(used or names.companions) or information_schema.asks_for_lists(statement.text)
        if not concerns and (statement.parameters or not objects):
            return None
        noun = "view" if header.noun == "view" else "macro"
        if statement.parameters:
            place, _ = statement.parameters[0]
            advice = "write the value itself" + (", or make it a macro with a parameter" if noun == "view" else "")
            raise statement.error(f"a {noun} keeps no values of parameters: {advice}", place)
        if not is_placed:
            raise statement.error(
                f"a {noun} over symbols is kept in the session, outside of any schema: name it {header.name} alone",
                header.start,
            )
        with self._lock:
            self._count += 1
            number = self._count
        own = parser.parse(statement.text.strip())[0]
        own_header = own.header
        assert own_header is not None, "it was read just now"  # noqa: S101
        is_temporary = header.is_temporary or [part.casefold() for part in header.parts[:-1]][:1] == ["temp"]
        return Definition(header.noun, header.name, own, own_header, _scope(used), number, is_temporary, objects)

    def of_symbol(self, name: str) -> Definition:
        """Return a view of the symbol ``name`` under its own name, for one statement."""
        statement = parser.parse(f"CREATE TEMP VIEW {rewrite.quote(name)} AS FROM {rewrite.quote(name)}")[0]
        header = statement.header
        assert header is not None, "it is ours"  # noqa: S101
        with self._lock:
            self._count += 1
            return Definition("view", name, statement, header, {}, self._count, True, frozenset())

    def is_there(
        self, thread: ThreadCursor, statement: Statement, draft: Definition, tables: Callable[[], Tables]
    ) -> bool:
        """Return whether IF NOT EXISTS finds an object of DuckDB's; raise SqlError where one is in the way."""
        header = draft.header
        exists = self._exists(thread, draft, tables)
        if exists and not header.if_exists and not header.replaces:
            raise statement.error(
                f'a {draft.noun} or table "{draft.name}" exists already', statement.text.find(draft.name)
            )
        return exists and header.if_exists

    def _exists(self, thread: ThreadCursor, draft: Definition, tables: Callable[[], Tables]) -> bool:
        """Whether DuckDB has an object of its own in the place of ``draft``."""
        if draft.noun == "view":
            return draft.place in tables()
        kind = draft.noun.replace(" ", "_")
        return draft.key not in self.visible(thread) and (kind, draft.place[0], draft.key[1]) in _macros(thread)

    def register(self, thread: ThreadCursor, draft: Definition, tables: Callable[[], Tables]) -> None:
        """Keep a definition that was found to work, in place of an object of DuckDB's if there is one."""
        instances.drop(thread.cursor, draft.noun, CHECK)
        if self._exists(thread, draft, tables):
            kind = {"view": "VIEW", "macro": "MACRO", "table macro": "MACRO TABLE"}[draft.noun]
            thread.cursor.execute(f"DROP {kind} {draft.place[0]}.main.{rewrite.quote(draft.name)}")
        self._set(thread, draft.is_temporary, draft.key, draft)

    def replaced(self, thread: ThreadCursor, statement: Statement) -> None:
        """Forget the definition whose name DuckDB has taken for an object of its own."""
        header = statement.header
        if header is not None and header.verb == "create" and header.replaces:
            existing = self._existing(thread, header, set)
            if existing is not None:
                self._set(thread, existing.is_temporary, existing.key, None)

    def _set(self, thread: ThreadCursor, is_temporary: bool, key: Key, definition: Definition | None) -> None:  # noqa: FBT001
        with self._lock:
            own = self._own(thread)
            scope = own.definitions if is_temporary else self._shared
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
        self.placed.forget(thread)

    # -- uses ----------------------------------------------------------------------------------------------------

    def planned(
        self,
        texts: Sequence[Names],
        planner: Planner,
        figures: Figures,
        thread: ThreadCursor,
        tables: Callable[[], Tables],
        *,
        is_optional: bool = False,
        stores: bool = False,
    ) -> list[Item]:
        """Plan the texts of definitions, whose names are resolved; return them to be placed."""
        items: list[Item] = []
        try:
            for names in texts:
                definition: Any = names.origin
                with labelled(definition):
                    plan = planner.plan(
                        definition.statement,
                        names.meanings,
                        Values.unchecked(None),
                        figures,
                        thread.cursor,
                        stores=stores,
                    )
                self.spell(plan, thread, tables, definition)
                items.append(definition.item(plan, is_optional=is_optional))
        except BaseException:
            for item in items:
                if item.plan is not None:
                    item.plan.release_files()
            raise
        return items

    def names_others(self, thread: ThreadCursor, texts: Sequence[str]) -> bool:
        """Whether ``texts`` may use a view or macro that DuckDB has in the session and that is none of these."""
        found = {name for _, _, name in _macros(thread)}
        found |= {name for name in _views(thread) if not self.placed.is_ours(thread, name)}
        return any(name in text.casefold() for name in found for text in texts)

    def spell(
        self, plan: Plan, thread: ThreadCursor, tables: Callable[[], Tables], to: Definition | None = None
    ) -> None:
        """Replace names such as memory.main.v in ``plan``: on the cursor, v is a temporary view."""
        visible = self.visible(thread, plan.statement, to)
        found: dict[int, str | None] = {
            at: rewrite.quote(view.name)
            for at, reference in enumerate(plan.statement.references)
            if reference.role == "read" and reference.at is None and reference.parts[0].casefold() == "memory"
            if (view := _view(reference.parts, visible, tables)) is not None
        }
        if found:
            plan.replacements.update(found)
            plan.sql = rewrite.rewrite(plan.statement, plan.replacements)


def _view(parts: tuple[str, ...], visible: Mapping[Key, Definition], tables: Callable[[], Tables]) -> Definition | None:
    """Return the view that ``parts`` name, unless a table of DuckDB's hides it."""
    found = visible.get(("view", parts[-1].casefold()))
    if found is None or not is_session_table(parts, {found.place}) or is_session_table(parts, tables()):
        return None
    return found


def _macros(thread: ThreadCursor) -> set[tuple[str, str, str]]:
    """Return (kind, database, name in lower case) of the macros that DuckDB itself has in the session."""
    found = thread.cursor.execute(
        "SELECT function_type, database_name, lower(function_name) FROM system.main.duckdb_functions() "
        "WHERE function_type IN ('macro', 'table_macro') AND database_name IN ('memory', 'temp')"
    ).fetchall()
    return {(kind, database, name) for kind, database, name in found}


def _views(thread: ThreadCursor) -> set[str]:
    """Return the names, in lower case, of the views that DuckDB itself has in the session."""
    found = thread.cursor.execute(
        "SELECT lower(view_name) FROM system.main.duckdb_views() "
        "WHERE NOT internal AND database_name IN ('memory', 'temp')"
    ).fetchall()
    return {name for (name,) in found}


def _objects(thread: ThreadCursor, statement: Statement, header: Header) -> frozenset[Key]:
    """Return the views and macros that DuckDB has in the session and ``statement``, which makes ``header``, names."""
    views = _views(thread)
    named = {reference.parts[-1].casefold() for reference in statement.references if reference.role == "read"}
    called = statement.calls - {header.name.casefold()}
    macros = _macros(thread) if called else set()
    return frozenset(
        [("view", name) for name in views if name in named]
        + [(kind.replace("_", " "), name) for kind, _, name in macros if name in called]
    )


def _place(statement: Statement, name: str) -> int:
    """Return the character of the statement's text where ``name`` stands first."""
    return max(0, statement.text.casefold().find(name.casefold()))


def _scope(used: Sequence[tuple[Reference, Any]]) -> dict[str, object]:
    """Return the caller's dataframes among the meanings: a view keeps those that it was made over."""
    return {
        reference.parts[0]: dataframes.to_registrable(meaning.value, uses=2)
        for reference, meaning in used
        if isinstance(meaning, Frame) and len(reference.parts) == 1
    }
