"""Views and macros as they are on a thread's cursor, under the user's names, resolved for the statement that runs.

While a statement is bound, its cursor holds these objects as they were resolved for it, and none that was
resolved for another statement, except those of results whose rows are still to come.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.interrupts import run_interruptibly
from duckvstore.sql.planning import rewrite
from duckvstore.sql.syntax.literals import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Hint, Instance, Key

CHECK = "__vstore_check"
# DuckDB tells the place of an error in the text of a view or macro as if it were in the statement's own. Blanks in
# front of each such text, in steps of so many, keep the places apart.
STEP = 20_000
STEPS_MAX = 20
_WORDS: dict[str, str] = {"view": "VIEW", "macro": "MACRO", "table macro": "MACRO TABLE"}
_SUBQUERY = re.compile(r"\(\s*(?:SELECT|FROM|WITH|TABLE|VALUES)\b", re.IGNORECASE)


@dataclass(slots=True)
class _Made:
    """What is on a cursor: made by ``text`` (None: perhaps something else), for ``uses`` statements."""

    text: str | None
    uses: int = 0


class Instances:
    """The views and macros on one thread's cursor. Results may be given up by any thread."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._made: dict[Key, _Made] = {}
        self._ever: set[Key] = set()
        self._lock = forks.lock()

    def has_view(self, name: str) -> bool:
        """Whether the temporary view ``name`` (in lower case) on the cursor is one of these."""
        return ("view", name.casefold()) in self._made

    def forget(self) -> None:
        """Take everything for unknown: a transaction was rolled back."""
        for key in self._ever:
            self._made[key] = _Made(None)

    def place(self, thread: ThreadCursor, instances: Sequence[Instance], hint: Hint) -> list[Key]:
        """Make ``instances`` on the cursor, each after those it uses, and remove all others; return their keys.

        Raises the error of the user's text that cannot be made.
        """
        made = self._made
        if any(found.uses and found.text != each.text for each in instances if (found := made.get(each.key))):
            thread.settle_all()
        wanted = {instance.key for instance in instances}
        unwanted = [key for key, found in made.items() if key not in wanted and not found.uses]
        for key in unwanted:
            drop(thread.cursor, *key)
            del made[key]
        held: list[Key] = []
        is_changed = bool(unwanted)  # its users must be created again, and are then found broken
        try:
            for instance in instances:
                known = made.get(instance.key)
                if known is None or known.text != instance.text or is_changed:
                    is_changed = True
                    self._ever.add(instance.key)
                    known = made[instance.key] = _Made(None)
                    if not _make(thread.cursor, instance, hint):
                        continue
                    known.text = instance.text
                with self._lock:
                    known.uses += 1
                held.append(instance.key)
        except BaseException:
            self.release(held)
            raise
        return held

    def release(self, keys: Sequence[Key]) -> None:
        """Let go what ``place`` returned: no rows are to come from it any more."""
        with self._lock:
            for key in keys:
                if key in self._made:
                    self._made[key].uses -= 1


def _make(cursor: duckdb.DuckDBPyConnection, instance: Instance, hint: Hint) -> bool:
    import duckdb

    try:
        run_interruptibly(cursor, lambda: cursor.execute(instance.text))
        _name_columns(cursor, instance)
    except duckdb.Error as error:
        drop(cursor, *instance.key)  # an older one, which was not replaced
        if instance.is_optional:
            return False
        raise instance.error(duckdb_errors.take_apart(error, instance.text), hint) from error
    return True


def drop(cursor: duckdb.DuckDBPyConnection, noun: str, name: str) -> None:
    """Drop a temporary view or macro if it is there; in an aborted transaction it stays."""
    with suppress(Exception):
        cursor.execute(f"DROP {_WORDS[noun]} IF EXISTS temp.main.{quote(name)}")


def _name_columns(cursor: duckdb.DuckDBPyConnection, instance: Instance) -> None:
    """Name a view's columns as DuckDB would if symbols were tables; see ``Running``, where queries get theirs."""
    if instance.noun != "view" or instance.plan is None or not _SUBQUERY.search(instance.plan.statement.text):
        return
    columns = _columns(cursor, instance.name)
    replacements = instance.plan.replacements
    stand_ins = rewrite.stand_ins(replacements)
    if not stand_ins or not any("FROM " in column for column in columns):
        return
    statement = instance.plan.statement
    assert statement.header is not None, "it makes the view"  # noqa: S101
    head, end = instance.text.index("CREATE"), statement.header.end
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
        listed = ", ".join(quote(name) for name in names)
        rewritten = rewrite.rewrite(statement, replacements).text[end:]
        cursor.execute(f"{instance.text[:head]}CREATE OR REPLACE TEMP VIEW {quote(instance.name)}({listed}){rewritten}")


def _columns(cursor: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    found = cursor.execute(f"SELECT column_name FROM (DESCRIBE {quote(name)})").fetchall()
    return [row[0] for row in found]
