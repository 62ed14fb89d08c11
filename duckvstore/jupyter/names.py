"""Names as people write them in SQL: quoted only where they must be.

What ``sql_name`` returns is one identifier, whatever the name holds.
"""

from __future__ import annotations

import re
from functools import lru_cache

from duckvstore.sql.syntax.literals import quote

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def sql_name(name: str) -> str:
    """Return ``name`` as a SQL identifier, in double quotes if it needs them."""
    return name if _PLAIN.fullmatch(name) and name.lower() not in _keywords() else quote(name)


@lru_cache(maxsize=1)
def _keywords() -> frozenset[str]:
    """Return the words that the installed DuckDB does not accept as every kind of name."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        found = connection.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        ).fetchall()
    return frozenset(name for (name,) in found)
