"""The words by which queries begin, go on and end."""

from __future__ import annotations

#: synonyms of PIVOT and UNPIVOT among them
PIVOT_WORDS = frozenset(("PIVOT", "UNPIVOT", "PIVOT_WIDER", "PIVOT_LONGER"))
#: what begins a query that selects, within parentheses too
SELECT_WORDS = frozenset(("SELECT", "FROM", "WITH", "VALUES"))
#: what begins any query, so that a statement which begins like this changes nothing
QUERY_WORDS = SELECT_WORDS | PIVOT_WORDS | {"TABLE", "DESCRIBE", "DESC", "SHOW", "SUMMARIZE", "("}
SET_OPERATIONS = frozenset(("UNION", "EXCEPT", "INTERSECT"))
#: what can come after a query
AFTER_A_QUERY = SET_OPERATIONS | {")", "ORDER", "LIMIT", "OFFSET"}
