"""What a statement needs under names of the user's on its cursor: views and macros that were resolved for it.

Invariant: while a statement is bound, its cursor holds these objects as they were resolved for it, and none that was
resolved for another statement, except those of results whose rows are still to come.
"""

from __future__ import annotations

import re
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.sql.binding.names import with_label
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.interrupts import run_interruptibly
from duckvstore.sql.planning import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from duckvstore.errors import DuckVStoreError
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.syntax.headers import Noun
    from duckvstore.sql.syntax.parser import Statement

Key = tuple[str, str]

CHECK = "__vstore_check"
# DuckDB tells the place of an error in the text of a view or macro as if it were in the statement's own. Blanks in
# front of each such text, in steps of so many, keep the places apart.
STEP = 20_000
STEPS_MAX = 20
_WORDS: dict[str, str] = {"view": "VIEW", "macro": "MACRO", "table macro": "MACRO TABLE"}
_SUBQUERY = re.compile(r"\(\s*(?:SELECT|FROM|WITH|TABLE|VALUES)\b", re.IGNORECASE)
# The texts of items were bound before, so errors of these kinds are the statement's where both could be meant.
_WHILE_BINDING = ("Binder", "Catalog", "Parser", "Syntax")


@dataclass(slots=True)
class Item:
    """A view or macro to stand on a cursor: ``text`` makes it.

    ``plan``: of the user's text that it comes from, which ``label`` names; None for one of ours. ``is_optional``:
    leave it out where it cannot be made.
    """

    noun: Noun
    name: str
    text: str
    plan: Plan | None = None
    label: str = ""
    is_optional: bool = False

    @property
    def key(self) -> Key:
        """What it replaces on a cursor."""
        return self.noun, self.name.casefold()

    def error(self, failure: Failure, note: Callable[[Statement, Failure], str]) -> DuckVStoreError:
        """Return the error for a failure of DuckDB in this text."""
        if self.plan is None:
            return duckdb_errors.to_error(failure, "", None, lambda _: "")
        statement = self.plan.statement
        offset = None if failure.position is None else self.plan.sql.origin_of_byte(failure.position)
        error = duckdb_errors.to_error(failure, statement.source, offset, lambda found: note(statement, found))
        return error if failure.kind == "TransactionContext" else with_label(error, self.label)


@dataclass(slots=True)
class _Made:
    """What stands on a cursor: made by ``text`` (None: perhaps something else), for ``uses`` statements."""

    text: str | None
    uses: int = 0


@dataclass(slots=True)
class _Cursor:
    made: dict[Key, _Made] = field(default_factory=dict)
    ever: set[Key] = field(default_factory=set)


class Placed:
    """What stands on each thread's cursor. Safe to use from many threads."""

    def __init__(self) -> None:
        """Know of no thread yet."""
        self._cursors: weakref.WeakKeyDictionary[ThreadCursor, _Cursor] = weakref.WeakKeyDictionary()
        self._lock = forks.lock()

    def _of(self, thread: ThreadCursor) -> _Cursor:
        with self._lock:
            return self._cursors.setdefault(thread, _Cursor())

    def is_ours(self, thread: ThreadCursor, name: str) -> bool:
        """Whether the view ``name`` (in lower case) among the temporary ones of ``thread`` was put there by us."""
        return ("view", name.casefold()) in self._of(thread).made

    def forget(self, thread: ThreadCursor) -> None:
        """Take everything for unknown: a transaction was rolled back."""
        cursor = self._of(thread)
        for key in cursor.ever:
            cursor.made[key] = _Made(None)

    def place(
        self, thread: ThreadCursor, items: Sequence[Item], note: Callable[[Statement, Failure], str]
    ) -> list[Key]:
        """Make ``items`` stand on the cursor, each after those it uses, and nothing else; return their keys.

        Raises the error of the user's text that cannot be made.
        """
        cursor = self._of(thread)
        if any(found.uses and found.text != item.text for item in items if (found := cursor.made.get(item.key))):
            thread.settle_all()
        wanted = {item.key for item in items}
        unwanted = [key for key, found in cursor.made.items() if key not in wanted and not found.uses]
        for key in unwanted:
            drop(thread.cursor, *key)
            del cursor.made[key]
        held: list[Key] = []
        is_changed = bool(unwanted)  # what uses it is to be made anew, and found not to work any more
        try:
            for item in items:
                known = cursor.made.get(item.key)
                if known is None or known.text != item.text or is_changed:
                    is_changed = True
                    cursor.ever.add(item.key)
                    known = cursor.made[item.key] = _Made(None)
                    if not self._make(thread, item, note):
                        continue
                    known.text = item.text
                with self._lock:
                    known.uses += 1
                held.append(item.key)
        except BaseException:
            self.release(thread, held)
            raise
        return held

    def _make(self, thread: ThreadCursor, item: Item, note: Callable[[Statement, Failure], str]) -> bool:
        import duckdb

        try:
            run_interruptibly(thread.cursor, lambda: thread.cursor.execute(item.text))
            _name_columns(thread.cursor, item)
        except duckdb.Error as error:
            drop(thread.cursor, *item.key)  # an older one, which was not replaced
            if item.is_optional:
                return False
            raise item.error(duckdb_errors.take_apart(error, item.text), note) from error
        return True

    def release(self, thread: ThreadCursor, keys: Sequence[Key]) -> None:
        """Let go what ``place`` returned: no rows are to come from it any more."""
        cursor = self._of(thread)
        with self._lock:
            for key in keys:
                if key in cursor.made:
                    cursor.made[key].uses -= 1


def drop(cursor: duckdb.DuckDBPyConnection, noun: str, name: str) -> None:
    """Drop a temporary view or macro if it is there; in an aborted transaction it stays."""
    with suppress(Exception):
        cursor.execute(f"DROP {_WORDS[noun]} IF EXISTS temp.main.{rewrite.quote(name)}")


def _name_columns(cursor: duckdb.DuckDBPyConnection, item: Item) -> None:
    """Name a view's columns as DuckDB would if symbols were tables; see ``Running``, where queries get theirs."""
    if item.noun != "view" or item.plan is None or not _SUBQUERY.search(item.plan.statement.text):
        return
    columns = _columns(cursor, item.name)
    replacements = item.plan.replacements
    stand_ins = rewrite.stand_ins(replacements)
    if not stand_ins or not any("FROM " in column for column in columns):
        return
    statement = item.plan.statement
    assert statement.header is not None, "it makes the view"  # noqa: S101
    head, end = item.text.index("CREATE"), statement.header.end
    try:
        for at, name in stand_ins.items():
            cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {replacements[at]}")
        body = rewrite.rewrite(statement, stand_ins).text[end:]
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW {CHECK}_names{body}")
        names = [rewrite.spelled(statement, name) for name in _columns(cursor, f"{CHECK}_names")]
    finally:
        for name in [*stand_ins.values(), f"{CHECK}_names"]:
            with suppress(Exception):
                cursor.execute(f"DROP VIEW IF EXISTS {name}")
    if len(names) == len(columns) and names != columns:
        listed = ", ".join(rewrite.quote(name) for name in names)
        rewritten = rewrite.rewrite(statement, replacements).text[end:]
        cursor.execute(f"{item.text[:head]}CREATE OR REPLACE TEMP VIEW {rewrite.quote(item.name)}({listed}){rewritten}")


def _columns(cursor: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    found = cursor.execute(f"SELECT column_name FROM (DESCRIBE {rewrite.quote(name)})").fetchall()
    return [row[0] for row in found]


class Uses:
    """The items that one statement uses, on the cursor of ``thread`` from ``place`` to ``release``."""

    def __init__(self, placed: Placed, thread: ThreadCursor, items: Sequence[Item]) -> None:
        """Place nothing yet."""
        self.items = list(items)
        self._placed, self._thread = placed, thread
        self._held: list[Key] | None = None

    def place(self, note: Callable[[Statement, Failure], str]) -> None:
        """Make them stand on the cursor; see ``Placed.place``."""
        if self._held is None:
            self._held = self._placed.place(self._thread, self.items, note)

    def release(self) -> None:
        """Let them go; a second call does nothing."""
        held, self._held = self._held, None
        if held is not None:
            self._placed.release(self._thread, held)

    def owner(self, failure: Failure, own_bytes: int) -> tuple[bool, Item | None]:
        """Return whether the place of ``failure`` is known, and the item in whose text it is (None: the statement's).

        ``own_bytes``: the length of the statement as it was run.
        """
        position = failure.position
        if position is None or (failure.kind in _WHILE_BINDING and position <= own_bytes):
            return True, None
        found = [item for item in self.items if _start(item) <= position <= len(item.text.encode())]
        if position <= own_bytes:
            return not found, None
        return len(found) == 1, found[0] if len(found) == 1 else None


def _start(item: Item) -> int:
    return len(item.text) - len(item.text.lstrip(" "))
