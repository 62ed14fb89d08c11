"""What each kind of statement does to DuckDB's session and asks of DuckDB: one table, which everybody asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Effects:
    """What a statement does.

    To the session: ``changes_session``: DuckDB's session may be another one afterwards, by the four that follow, by a
    transaction, or by the rows of a table. ``makes_objects``: there may be tables, views or functions of the session's
    own. ``makes_sources``: among them some through which a later statement reads files. ``changes_settings``.
    ``makes_functions``: macros and types, which may hide built-in ones.

    To tables: ``changes_table``: it names one that it creates, changes, drops or copies. ``changes_rows``: it changes
    what is in one, or its columns. ``replaces_rows``: it looks for rows that are there. ``stores_rows``: what it reads
    is written again.

    What is asked of DuckDB: ``gives_rows``: its result is rows. ``counts_rows``: DuckDB tells how many rows it changed.
    ``looks_up_tables``: when DuckDB finds no table of some name, the statement may run again with one.
    ``is_preparable``: PREPARE takes it. ``shows_sources``: all that it reads is in its own text. ``keeps_query``:
    DuckDB keeps its query for later.
    """

    changes_session: bool = False
    makes_objects: bool = False
    makes_sources: bool = False
    changes_settings: bool = False
    makes_functions: bool = False
    changes_table: bool = False
    changes_rows: bool = False
    replaces_rows: bool = False
    stores_rows: bool = False
    gives_rows: bool = False
    counts_rows: bool = False
    looks_up_tables: bool = False
    is_preparable: bool = False
    shows_sources: bool = False
    keeps_query: bool = False


_QUERY = Effects(gives_rows=True, looks_up_tables=True, is_preparable=True, shows_sources=True)
_CREATE = Effects(changes_session=True, makes_objects=True, makes_sources=True, shows_sources=True)
_DROP = Effects(changes_session=True, makes_objects=True, changes_table=True)
_INSERT = replace(
    _DROP, changes_rows=True, stores_rows=True, counts_rows=True, looks_up_tables=True, is_preparable=True
)
_UPDATE = replace(_INSERT, replaces_rows=True)
# Nothing is known of it but its first word.
_UNKNOWN = Effects(
    changes_session=True,
    makes_objects=True,
    makes_sources=True,
    changes_settings=True,
    makes_functions=True,
    is_preparable=True,
)
_OF_TRANSACTION = Effects(changes_session=True, is_preparable=True)
_OF_SETTING = replace(_OF_TRANSACTION, changes_settings=True)
_OF_EXTENSION = replace(_OF_SETTING, makes_functions=True)
_CALL = replace(_OF_EXTENSION, looks_up_tables=True)
_UNREAD_QUERY = replace(_UNKNOWN, looks_up_tables=True)

_BY_KIND = {
    "query": _QUERY,
    "explain": replace(_QUERY, is_preparable=False),
    "describe": _QUERY,
    "summarize": _QUERY,
    "copy": replace(
        _QUERY, gives_rows=False, shows_sources=False, changes_table=True, stores_rows=True, counts_rows=True
    ),
    "create_table": replace(_CREATE, makes_sources=False, changes_table=True, stores_rows=True, counts_rows=True),
    "create_view": _CREATE,
    "create_macro": replace(_CREATE, makes_functions=True),
    "create": replace(_CREATE, makes_functions=True, shows_sources=False),
    "insert": _INSERT,
    "update": _UPDATE,
    "delete": _UPDATE,
    "merge": replace(_UPDATE, is_preparable=False),
    "truncate": replace(_UPDATE, stores_rows=False),
    "drop": _DROP,
    "alter": replace(_DROP, changes_rows=True),
}
# Statements of the kind "other", by their first words: sqlglot does not read them, or has no tree of its own for them.
_BY_WORDS = {
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "CHECKPOINT"), _OF_TRANSACTION),
    **dict.fromkeys(("PREPARE", "DEALLOCATE", "SHOW", "RESTORE", "CREATE SNAPSHOT", "DROP SNAPSHOT"), _OF_TRANSACTION),
    **dict.fromkeys(("SET", "RESET"), _OF_SETTING),
    **dict.fromkeys(("LOAD", "INSTALL"), _OF_EXTENSION),
    **dict.fromkeys(("CALL", "PRAGMA"), _CALL),
    **dict.fromkeys(("SELECT", "FROM", "WITH", "VALUES", "TABLE", "PIVOT", "UNPIVOT"), _UNREAD_QUERY),
    "EXECUTE": replace(_OF_TRANSACTION, looks_up_tables=True),
    "CREATE": replace(_UNKNOWN, keeps_query=True),
    "COMMENT": replace(_UNKNOWN, changes_rows=True),
}
_UNREAD_EXPLAIN = replace(_UNREAD_QUERY, gives_rows=True, is_preparable=False)


def of(kind: str, words: Sequence[str] = (), *, is_read: bool = True) -> Effects:
    """Return the effects of a statement of ``kind`` that begins with ``words``; ``is_read``: sqlglot has a tree of it.

    A statement explained is of the kind "explain", or of its own where it is about a table that it would change.
    """
    if kind == "other":
        return _BY_WORDS.get(" ".join(words[:2])) or _BY_WORDS.get(words[0] if words else "", _UNKNOWN)
    return _BY_KIND.get(kind, _UNKNOWN) if is_read else _UNREAD_EXPLAIN
