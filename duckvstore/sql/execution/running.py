"""One statement on its way through DuckDB: registered, bound, its rows pulled, everything given back.

Whatever happens, what was registered for a statement is unregistered and its cached files are let go,
and the error that leaves is one of ``duckvstore.errors`` with its place in the user's own text.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore import forks
from duckvstore.errors import DuckVStoreError
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.instance import forget_files
from duckvstore.sql.driver.interrupts import Outcome, run_interruptibly, to_raise
from duckvstore.sql.execution.progress_bar import Bar
from duckvstore.sql.planning import rewrite
from duckvstore.sql.results.result import Rows
from duckvstore.sql.syntax import clauses
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.values import kinds
from duckvstore.sql.values.kinds import encoded, known

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Hint, Key, Plan
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.values.parameters import Values

ROWS_PER_BATCH = 122_880
_OUTER_TYPE = re.compile(r"Join Type:\W*(?:LEFT|RIGHT|FULL|OUTER)")
_RETURNS = re.compile(r"\bRETURN_(?:FILES|STATS)\b", re.IGNORECASE)

# Statements whose rows a query gives, which may run again: those of a change of a symbol too.
_KINDS_OF_QUERIES = frozenset(("query", "create_table", "insert", "update", "delete", "merge"))


class Running(forks.Follower):
    """A planned statement that runs on the cursor of ``thread``."""

    def __init__(
        self,
        thread: ThreadCursor,
        plan: Plan,
        values: Values,
        hint: Hint = lambda *_: "",
        names: Mapping[str, str] | None = None,
        *,
        is_part: bool = False,
    ) -> None:
        """Run nothing yet. ``hint``: what to add to an error of DuckDB. ``names``: the user's for internal ones.

        ``is_part``: the text has only parts of the statement, from ``rewrite.numbered``.
        """
        self._hint = hint
        self._names_of_ours = names or {}
        self._thread = thread
        self._cursor = thread.cursor
        self._plan = plan
        statement = plan.statement
        replaced = [position for position, relation in plan.replacements.items() if relation is not None]
        if is_part:
            self._parameters = values.for_duckdb(rewrite.names_in(plan.sql.text), ())
        else:
            self._parameters = values.for_duckdb(
                rewrite.names_left(statement, replaced), rewrite.parameters_left(statement, replaced)
            )
        self._registered: list[str] = []
        self._held: list[Key] | None = None
        self._bar = Bar(thread)
        self._relation: Any = None
        self._reader: Any = None
        self._names: list[str] | None = None
        self.result: weakref.ref[Result] | None = None
        #: how many rows a statement changed that gives none
        self.changed: int | None = None
        #: the table that DuckDB did not find, after an error
        self.missing: str | None = None

    def start(self, *, counts: bool = False) -> Rows | None:
        """Bind (or for anything but a query, run) the statement; return its rows if it gives any.

        ``counts``: learn how many rows it changed, where it is a statement that changes some.
        """
        try:
            self._register()
            self._set_up()
            if self._plan.statement.kind == "other":
                self._thread.leave_bar(self._plan.statement.text)
            self._refuse_crash()
            self._relation = self._wait(self._count if counts and self._may_count() else self._run)
            if self._relation is None:
                self.release()
                return None
            forks.follow(self)
            columns, types = self._column_names(), [str(kind) for kind in self._relation.types]
            self._relation = carried(self._relation)
        except BaseException as error:
            self.release()
            if isinstance(error, Exception):
                raise self._translated(error, binding=True) from error
            raise
        return Rows(columns, types, self._schema, self._pull, self.release, self._thread.lock, self._bar)

    def _run(self) -> Any:
        return self._cursor.sql(self._plan.sql.text, params=self._parameters)

    def _refuse_crash(self) -> None:
        """Raise SqlError in a sandbox for an outer join in which DuckDB 1.5 may take the process with it.

        Elsewhere it is who wrote the statement whose process it is; see ``ThreadCursor.set_range_joins``.
        """
        if not self._thread.is_locked or not self._plan.joins_outer:
            return
        text = self._plan.sql.text[self._plan.statement.explain_end :]
        drawn = self._cursor.sql(text, params=self._parameters).explain()
        if "IE_JOIN" in drawn and _OUTER_TYPE.search(drawn):
            raise self._plan.statement.error(
                "DuckDB 1.5 may crash in this LEFT, RIGHT or FULL JOIN on two inequalities, so a sandboxed session "
                "does not run it: write an INNER JOIN, or use DuckDB 2",
                0,
            )

    def _may_count(self) -> bool:
        """Whether DuckDB tells how many rows it changed, which it does not where it is asked for rows or files."""
        statement = self._plan.statement
        if not statement.effects.counts_rows or statement.explain or _RETURNS.search(statement.text):
            return False
        return clauses.find(statement, 0).returning is None

    def _count(self) -> None:
        row = self._cursor.execute(self._plan.sql.text, self._parameters).fetchone()
        self.changed = int(row[0]) if row else None

    def lent(self) -> list[object]:
        """Return what the rows come from."""
        return [self._relation, self._reader]

    def start_over(self) -> None:
        """Leave the rows that are still to come to the process that this one was forked from."""
        self._relation = self._reader = None
        self._registered.clear()

    def _check_own(self) -> None:
        if self._relation is None:
            raise DuckVStoreError(
                "the rows of this result were still to come when this process was forked: run the query again, or "
                "fetch them before"
            )

    def finish(self) -> pa.Table | None:
        """Run a statement that changes tables of DuckDB to its end; return its rows, None: it gives none."""

        def run() -> pa.Table | None:
            relation = self._run()
            return None if relation is None else fetched(relation)

        return self._finished(run)

    def count(self) -> int:
        """Run a statement that changes rows and has no RETURNING to its end; return how many rows it changed."""
        self._finished(self._count)
        return self.changed or 0

    def _finished(self, action: Callable[[], Outcome]) -> Outcome:
        try:
            self._register()
            self._set_up()
            return self._wait(action)
        except Exception as error:
            raise self._translated(error) from error
        finally:
            self.release()

    def _wait(self, action: Callable[[], Outcome]) -> Outcome:
        with self._bar:
            return run_interruptibly(self._cursor, action, self._bar.draw)

    def _set_up(self) -> None:
        """Set on the cursor what the statement needs, when it is bound and when it runs."""
        self._thread.set_validation(on=not self._plan.only_segments)
        self._thread.set_footers(kept=self._plan.only_segments and self._plan.is_wide)
        self._thread.set_range_joins(of_few=self._plan.joins_few)

    def _register(self) -> None:
        for name, value in self._plan.registered.items():
            self._cursor.register(name, value)
            self._registered.append(name)
        if self._held is None:
            self._held = self._thread.instances.place(self._thread, self._plan.instances, self._hint)

    def _column_names(self) -> list[str]:
        """Return the names of the columns, as DuckDB would give them if symbols were tables.

        A column without an alias is named by its expression, and in a subquery that is what we put for a symbol.
        Then the names are asked for once more, over views.
        """
        columns = list(self._relation.columns)
        statement, stand_ins = self._plan.statement, rewrite.stand_ins(self._plan.replacements)
        if statement.kind != "query" or not stand_ins or not any("FROM " in column for column in columns):
            return columns
        cursor = self._cursor
        try:
            for at, name in stand_ins.items():
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {self._plan.replacements[at]}")
            asked = cursor.sql(rewrite.rewrite(statement, stand_ins).text, params=self._parameters)
            names = [rewrite.spelled(statement, name) for name in asked.columns]
        except Exception:  # noqa: BLE001 - an aborted transaction, say: this only words a name
            return columns
        finally:
            for name in stand_ins.values():
                with suppress(Exception):
                    cursor.execute(f"DROP VIEW IF EXISTS {name}")
        if len(names) == len(columns) and names != columns:
            self._names = columns = names
        return columns

    def _schema(self) -> pa.Schema:
        self._check_own()
        result = self.result() if self.result is not None else None
        try:
            with self._thread.lock:
                self._thread.open_for(result)
                self._set_up()
            relation = self._relation
            if hasattr(relation, "to_arrow_reader"):
                self._reader = self._wait(lambda: relation.to_arrow_reader(ROWS_PER_BATCH))
            else:
                self._reader = self._wait(lambda: relation.fetch_record_batch(ROWS_PER_BATCH))
        except Exception as error:
            raise self._translated(error) from error
        return self._reader.schema if self._names is None else _renamed(self._reader.schema, self._names)

    def _pull(self) -> pa.RecordBatch | None:
        self._check_own()

        def read() -> pa.RecordBatch | None:
            try:
                batch: pa.RecordBatch = self._reader.read_next_batch()
                return batch if self._names is None else batch.rename_columns(self._names)
            except StopIteration:
                return None

        interrupts = self._thread.interrupts
        try:
            return self._wait(read)
        except Exception as error:
            was_stopped = self._thread.interrupts != interrupts  # then there is no other error to look for
            raise self._translated(error if was_stopped else self._real_error(error)) from error

    def _real_error(self, error: Exception) -> Exception:
        """Return the error that stopped a stream.

        Where one of DuckDB's threads fails, a stream may only tell that the others were interrupted. Run without
        streaming, the query tells what went wrong.
        """
        was_interrupted = duckdb_errors.take_apart(error).kind.upper() == "INTERRUPT"
        if not was_interrupted or self._plan.statement.kind not in _KINDS_OF_QUERIES:
            return error
        self._reader, relation = None, self._relation
        try:
            self._wait(relation.to_arrow_table)
        except Exception as real:  # noqa: BLE001 - whatever it is, it is the answer
            return real
        return error

    def release(self) -> None:
        """Give back the cursor: close the reader, forget registered frames, let cached files go."""
        self._reader = None
        self._relation = None
        held, self._held = self._held, None
        self._thread.instances.release(held or ())
        self._plan.release_files()
        if self._registered:
            self._thread.when_free(self._unregister, self.result() if self.result is not None else None)

    def _unregister(self) -> None:
        names, self._registered = self._registered, []
        for name in names:
            try:
                self._cursor.unregister(name)
            except Exception:  # noqa: BLE001, S112 - the cursor is closed or its transaction aborted: gone anyway
                continue

    def _damage(self, failure: Failure, message: str) -> DuckVStoreError | None:
        """Return what is wrong with the bytes of a segment, or with how they came, if that is why it failed."""
        damage = self._plan.explain_damage(failure, message)
        if failure.of_broken_file and damage is not None:
            forget_files(self._cursor)
        return damage

    def _translated(self, error: Exception, *, binding: bool = False) -> BaseException:
        """Return the error of this package for an exception of DuckDB or of the Arrow reader."""
        if isinstance(error, DuckVStoreError):
            return error
        signal = duckdb_errors.of_signal(error)
        if signal is not None:
            return to_raise(signal)
        failure = duckdb_errors.take_apart(error, self._plan.sql.text)
        if failure.missing is not None and failure.missing[0] == "Table":
            self.missing = failure.missing[1]
        for ours, users in self._names_of_ours.items():
            failure = replace(failure, message=failure.message.replace(ours, users))
        damage = self._damage(failure, str(error))
        if damage is not None:
            return damage
        statement = self._plan.statement
        if failure.position is None and binding:
            failure = self._with_position(failure)
        is_placed, instance = self._plan.instance_of(failure)
        if instance is not None:
            return instance.error(failure, self._hint)
        failure = failure if is_placed else replace(failure, position=None)
        offset = None if failure.position is None else self._plan.sql.origin_of_byte(failure.position)
        if offset is None and failure.missing is not None:
            offset = _place(statement, failure.missing[1])
        return duckdb_errors.to_error(failure, statement.source, offset, lambda found: self._hint(statement, found))

    def _with_position(self, failure: Failure) -> Failure:
        """Return the same failure with its place, which a relation does not tell: bind once more, running nothing."""
        prefix = {"query": "EXPLAIN ", "explain": "", "describe": "", "summarize": ""}.get(self._plan.statement.kind)
        if prefix is None or failure.kind not in ("Binder", "Catalog"):
            return failure
        import duckdb

        try:
            self._register()
            self._cursor.execute(prefix + self._plan.sql.text, self._parameters)
        except duckdb.Error as error:
            again = duckdb_errors.take_apart(error, prefix + self._plan.sql.text)
            if again.position is not None and again.message == failure.message:
                return duckdb_errors.moved(again, -len(prefix))
        finally:
            self.release()
        return failure


def carried(relation: Any) -> Any:
    """Return ``relation`` with columns that Arrow has no room for in a form in which nothing is lost."""
    found = [encoded(f"#{at}", known(str(kind))) for at, kind in enumerate(relation.types, start=1)]
    if all(expression is None for expression in found):
        return relation
    columns = [
        f"{expression or f'#{at}'} AS {quote(name)}"
        for at, (expression, name) in enumerate(zip(found, relation.columns, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def fetched(relation: Any) -> pa.Table:
    """Return the rows of ``relation`` as ``carried``; their fields tell the types that DuckDB has."""
    types = list(map(str, relation.types))
    rows = carried(relation)
    table: pa.Table = rows.to_arrow_table() if hasattr(rows, "to_arrow_table") else rows.arrow()
    return table.cast(kinds.written(table.schema, types))


def _place(statement: Statement, missing: str) -> int | None:
    """Return the character of the user's whole text where a table is named that DuckDB does not find."""
    for reference in statement.references:
        if missing.casefold() in (reference.parts[-1].casefold(), ".".join(reference.parts).casefold()):
            return statement.sql.origin(reference.start)
    return None


def _renamed(schema: pa.Schema, names: list[str]) -> pa.Schema:
    import pyarrow as pa

    fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return pa.schema(fields, metadata=schema.metadata)
