"""Which segments of a version a statement scans, and what is remembered of that for the next statement.

A segment is left out only where the statement's own predicates prove that it holds no wanted row; any
doubt or error keeps it. What is remembered counts for one cursor, until a statement runs that may change settings.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from duckvstore import forks
from duckvstore.format.stored import statistics
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.instance import registered
from duckvstore.sql.driver.interrupts import plain
from duckvstore.sql.pruning import predicates

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import duckdb

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.pruning.predicates import Condition
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.values.parameters import Values

_STATISTICS = "__vstore_statistics"
# Values whose equality means that every comparison with them has the same outcome.
_PLAIN_TYPES = frozenset((int, str, float, bool, bytes, datetime, date, Decimal, type(None)))
REMEMBERED_MAX = 256
VERSIONS_MAX = 256
SEGMENTS_MAX = 1_000_000


def kept_segments(
    statement: Statement,
    position: int,
    version: Version,
    values: Values,
    cursor: duckdb.DuckDBPyConnection,
    *,
    has_macros: bool = True,
) -> list[int]:
    """Return the positions of the segments that may hold rows that the statement wants.

    Asked on the cursor that the statement runs on, since settings such as the time zone or the collation decide
    what a comparison means. ``has_macros``: somebody may have made macros there, which hide functions.
    """
    return _kept(statement, position, version, values, partial(_ask_on, cursor, version), has_macros=has_macros)


def _ask_on(cursor: duckdb.DuckDBPyConnection, version: Version, condition: Condition) -> list[int]:
    with registered(cursor, _STATISTICS, statistics.typed_table(version, condition.column_ids)):
        return _asked(cursor, condition, _STATISTICS)


def _kept(
    statement: Statement,
    position: int,
    version: Version,
    values: Values,
    ask: Callable[[Condition], list[int]],
    *,
    has_macros: bool,
) -> list[int]:
    everything = list(range(len(version.segments)))
    if statement.kind == "create_macro" and _has_parameter_among(statement, version):
        return everything
    try:
        condition = predicates.condition(statement, position, version, values.given, has_macros=has_macros)
    except RecursionError:  # of a constant, say, that is nested more deeply than anybody needs
        return everything
    if condition is None:
        return everything
    try:
        return ask(condition)
    except Exception as error:
        if duckdb_errors.of_signal(error) is not None:
            raise
        return everything  # whatever it is, the statement itself will meet it


def _asked(cursor: duckdb.DuckDBPyConnection, condition: Condition, table: str) -> list[int]:
    question = f"SELECT segment FROM {table} WHERE ({condition.sql}) IS NOT FALSE"
    return sorted(int(row[0]) for row in cursor.execute(question, condition.parameters or None).fetchall())


def _has_parameter_among(statement: Statement, version: Version) -> bool:
    """Whether a macro has a parameter with the name of a column, which it hides there."""
    names = {name.casefold() for name in statement.header.columns} if statement.header is not None else set()
    return any(column.name.casefold() in names for column in version.schema.columns)


@dataclass(frozen=True, slots=True)
class Relation:
    """The SQL that scans segments where they are, under the URI ``prefix``."""

    sql: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The segments that a statement scans at one place, with their bytes and those of the whole version.

    ``relations``: the SQL for it by the library, of which a copy has the same versions elsewhere, and by whether the
    columns that DuckDB adds to every file are hidden.
    """

    segments: tuple[Segment, ...]
    bytes_read: int
    bytes_total: int
    relations: dict[tuple[OpenLibrary, bool], Relation] = field(default_factory=dict)


@dataclass(slots=True)
class _Facts:
    """What is known of one version: the choice of all segments, and tables of statistics by the columns asked for."""

    whole: Choice
    tables: dict[tuple[int, ...], str] = field(default_factory=dict)


class Choices(forks.Follower):
    """Chooses segments for the statements of one session. Safe to use from many threads.

    While no settings were changed, questions are asked on a cursor of its own, which keeps statistics in temporary
    tables: that is twice as fast as to hand them over each time.
    """

    def __init__(self, open_cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """Remember nothing yet. ``open_cursor``: of the session's DuckDB, with its default settings."""
        self._open_cursor = open_cursor
        self._lock = forks.rlock()
        self._own: duckdb.DuckDBPyConnection | None = None
        self._table_count = 0
        self._has_settings = False
        self._has_macros = False
        self._facts: OrderedDict[tuple[str, str], _Facts] = OrderedDict()
        self._choices: weakref.WeakKeyDictionary[Any, OrderedDict[Hashable, Choice]] = weakref.WeakKeyDictionary()
        forks.follow(self)

    def lent(self) -> Sequence[object]:
        """Return the cursor for questions."""
        return [plain(self._own)]

    def start_over(self) -> None:
        """Forget the cursor, and what was remembered on it."""
        self._own = None
        self._facts.clear()
        self._choices = weakref.WeakKeyDictionary()

    @property
    def has_macros(self) -> bool:
        """Whether a statement has made a macro or a function, whose body may say what the text does not."""
        return self._has_macros

    def forget(self, statement: Statement) -> None:
        """Forget all choices: ``statement`` was run, and may have changed what comparisons or functions mean."""
        with self._lock:
            self._choices.clear()
            self._has_settings = self._has_settings or statement.effects.changes_settings
            self._has_macros = self._has_macros or statement.effects.makes_functions

    def close(self) -> None:
        """Close the cursor for questions."""
        with self._lock:
            own, self._own = self._own, None
            if own is not None:
                own.close()
            self._facts.clear()

    def kept(
        self,
        statement: Statement,
        position: int,
        version: Version,
        values: Values,
        cursor: duckdb.DuckDBPyConnection,
    ) -> list[int]:
        """Return what ``kept_segments`` does, of a version that is not asked about again; nothing is remembered."""
        return kept_segments(statement, position, version, values, cursor, has_macros=self._has_macros)

    def choose(
        self,
        statement: Statement,
        position: int,
        version: Version,
        values: Values,
        cursor: duckdb.DuckDBPyConnection,
    ) -> Choice:
        """Return what ``statement`` scans of ``version`` at its reference ``position``; see ``kept_segments``."""
        key = _key(statement, position, version, values)
        with self._lock:
            known = self._choices.setdefault(cursor, OrderedDict())
            if key is not None and key in known:
                known.move_to_end(key)
                return known[key]
        has_settings = self._has_settings

        def ask(condition: Condition) -> list[int]:
            if has_settings or condition.is_moving:  # a transaction may have stopped the clock of the cursor
                return _ask_on(cursor, version, condition)
            return self._ask(version, condition)

        choice = self.of_all(version, _kept(statement, position, version, values, ask, has_macros=self._has_macros))
        if key is not None:
            with self._lock:
                known[key] = choice
                while len(known) > REMEMBERED_MAX or sum(len(c.segments) for c in known.values()) > SEGMENTS_MAX:
                    known.popitem(last=False)
        return choice

    def of_all(self, version: Version, kept: Sequence[int]) -> Choice:
        """Return the choice of the segments at ``kept``."""
        whole = self._facts_of(version).whole
        if len(kept) == len(whole.segments):
            return whole
        chosen = tuple(whole.segments[index] for index in kept)
        return Choice(chosen, sum(segment.size_bytes for segment in chosen), whole.bytes_total)

    def _ask(self, version: Version, condition: Condition) -> list[int]:
        with self._lock:
            if self._own is None:
                self._own = self._open_cursor()
            tables = self._facts_of(version).tables
            if condition.column_ids not in tables:
                self._table_count += 1
                name = f"statistics_{self._table_count}"
                with registered(self._own, _STATISTICS, statistics.typed_table(version, condition.column_ids)):
                    self._own.execute(f"CREATE TEMP TABLE {name} AS FROM {_STATISTICS}")
                tables[condition.column_ids] = name
            return _asked(self._own, condition, tables[condition.column_ids])

    def _facts_of(self, version: Version) -> _Facts:
        key = (version.library_id, version.write_id)
        with self._lock:
            found = self._facts.get(key)
            if found is None:
                segments = tuple(version.segments)
                total = sum(segment.size_bytes for segment in segments)
                found = self._facts[key] = _Facts(Choice(segments, total, total))
                while len(self._facts) > VERSIONS_MAX or (
                    len(self._facts) > 1
                    and sum(len(facts.whole.segments) for facts in self._facts.values()) > SEGMENTS_MAX
                ):
                    self._drop(self._facts.popitem(last=False)[1])
            self._facts.move_to_end(key)
            return found

    def _drop(self, facts: _Facts) -> None:
        if self._own is not None:
            for name in facts.tables.values():
                self._own.execute(f"DROP TABLE {name}")


def _key(statement: Statement, position: int, version: Version, values: Values) -> Hashable | None:
    """Return what a choice depends on beside the cursor's settings; None where that cannot be compared."""
    given = values.given
    if given is None:
        plain: tuple[Any, ...] = ()
    else:
        pairs = list(given.items()) if hasattr(given, "items") else list(enumerate(given))
        if any(type(value) not in _PLAIN_TYPES for _, value in pairs):
            return None
        plain = tuple((name, type(value), value) for name, value in pairs)
    return statement.text, position, version.library_id, version.write_id, plain
