"""What the user's own statements have made in the session's DuckDB: tables, views and macros, and where USE has gone.

As long as there is nothing, DuckDB need not be asked, and files need not be looked at again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckvstore.sql.binding.meanings import SessionTables
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.syntax.statement import Statement

_TABLES = """
    SELECT lower(database_name), lower(schema_name), lower(name),
        database_name = current_database() AND schema_name = current_schema()
    FROM (
        SELECT database_name, schema_name, table_name AS name FROM system.main.duckdb_tables()
        UNION ALL
        SELECT database_name, schema_name, view_name FROM system.main.duckdb_views() WHERE NOT internal
        UNION ALL
        SELECT database_name, schema_name, '' FROM system.main.duckdb_schemas() WHERE database_name <> 'system'
    )"""


class SessionObjects:
    """What may be there, and what is. Safe to use from many threads."""

    def __init__(self) -> None:
        """Know that there is nothing."""
        #: whether there may be a table, view or macro
        self.has_any = False
        #: whether there may be one through which a statement reads files
        self.has_sources = False

    def note(self, statement: Statement) -> None:
        """Remember what DuckDB may hold once ``statement`` has run."""
        if statement.effects.makes_objects:  # set and never taken back, whatever other threads do
            self.has_any = True
        if statement.effects.makes_sources:
            self.has_sources = True

    def tables(self, thread: ThreadCursor) -> SessionTables:
        """Return a function for the tables and views that ``thread`` sees, which asks DuckDB once.

        Those over symbols, which are on its cursor for a while, are left out. Each schema is there under no name too,
        since it may be empty.
        """

        def asked() -> set[tuple[str, str, str]]:
            found: set[tuple[str, str, str]] = set()
            for database, schema, name, is_current in thread.cursor.execute(_TABLES).fetchall():
                if database == "temp" and thread.instances.has_view(name):
                    continue
                found.add((database, schema, name))
                if is_current:
                    found.add(("memory", "main", name))
            return found

        return functools.cache(lambda: asked() if self.has_any else set())

    def is_elsewhere(self, thread: ThreadCursor) -> bool:
        """Whether USE has named a database or schema, where tables without one are made."""
        if not self.has_any:
            return False
        places = thread.cursor.execute("SELECT current_database(), current_schema()").fetchall()
        return places != [("memory", "main")]
