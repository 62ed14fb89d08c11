"""EXPLAIN of a statement that would change a symbol: DuckDB's plan for it, and the segments that it would look at.

Nothing is changed, and no row is read. EXPLAIN ANALYZE carries its statement out, as that itself does.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.stored.documents import Version
from duckvstore.sql.planning import rewrite
from duckvstore.sql.results.figures import Scanned, ScannedTable
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.writing.row_change import RowChange
from duckvstore.sql.writing.scratch import NAME, Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.results.result import Result


class Explanation(RowChange):
    """EXPLAIN of a statement that would change one symbol as a table."""

    def run(self) -> Result:
        """Return the rows of EXPLAIN. Raises what DuckDB refuses to plan."""
        newest = self.target.outcome
        if self.statement.kind == "create_table" or not isinstance(newest, Version):
            return self._explained(self._planned(None), NAME)
        check_tabular(newest.kind, "EXPLAIN", self.where)
        plan = self._planned(newest)
        if self.statement.effects.replaces_rows:
            self._look_at(newest)
        scratch = Scratch(self.context.thread.cursor, self.library, newest, [])
        try:
            with scratch.without_rows() as name:
                return self._explained(plan, name)
        finally:
            scratch.close()
            plan.release_files()

    def _look_at(self, newest: Version) -> None:
        """Add the segments in which rows would be looked for to the figures."""
        kept = [newest.segments[at] for at in self._candidates(newest)]
        table = ScannedTable(self.library.name, self.symbol, newest.number, newest.created_at)
        read = sum(segment.size_bytes for segment in kept)
        self.context.figures.add(Scanned(table, len(kept), len(newest.segments), read, newest.stored_bytes))

    def _explained(self, plan: Plan, name: str) -> Result:
        """Return DuckDB's rows for the statement on the table ``name``."""
        plan.replacements[self.position] = quote(name)
        plan.sql = rewrite.rewrite(self.statement, plan.replacements)
        with self._without_statistics():
            return self._plan_shown(self._running(replace(plan, leases=[])).finish())

    @contextmanager
    def _without_statistics(self) -> Iterator[None]:
        """Keep DuckDB from seeing that the table has no rows, of which it would plan to do nothing."""
        import duckdb

        cursor = self.context.thread.cursor
        before: str = cursor.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
        listed = ",".join(filter(None, [before, "statistics_propagation"]))
        try:
            cursor.execute(f"SET disabled_optimizers = {literal(listed)}")
        except duckdb.Error:
            yield  # the user has locked the configuration
            return
        try:
            yield
        finally:
            cursor.execute(f"SET disabled_optimizers = {literal(before)}")
