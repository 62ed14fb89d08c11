"""Which files hold rows that UPDATE, DELETE or MERGE would change: the question, in the statement's own words. Pure.

The answer names every file with a row that the statement matches; where that cannot be asked, there is no
question. What ``varies`` cannot be asked: the statement would match other rows than the answer is about.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from duckvstore.sql.syntax import named_columns
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.tokens import scan

if TYPE_CHECKING:
    from collections.abc import Collection

    from duckvstore.sql.syntax.source_map import SourceMap
    from duckvstore.sql.syntax.statement import Reference, Statement
    from duckvstore.sql.syntax.tokens import Token

FILE = "__vstore_file"
# Asked twice, these may give two answers.
_VOLATILE = re.compile(
    r"\b((random|uuid\w*|gen_random_uuid|nextval|currval|setseed|get_current_timestamp)\s*\("
    r"|(first|last|any_value|arbitrary|arg_\w+|(min|max)_by|array_agg|list|row_number|reservoir_quantile)\s*\("
    r"|(sample|tablesample|limit|fetch)\b|distinct\s+on\b)",
    re.IGNORECASE,
)
_UNNAMED = frozenset(("COLUMNS", "NATURAL", "POSITIONAL", "ROW", "PIVOT", "UNPIVOT", "NAME"))
_ENDS = ("SET", "USING", "FROM", "WHERE", "RETURNING", "WHEN", ";")


def varies(text: str) -> bool:
    """Whether what is written in ``text`` may be something else when it is evaluated again."""
    return _VOLATILE.search(text) is not None


def question(text: str, relation: str) -> str | None:
    """Return the query for the distinct names of files with rows that ``text`` matches; None: it cannot be asked.

    ``text``: the statement with ``relation``, whose rows have a column ``FILE``, in place of what it changes.
    """
    start = text.find(relation)
    tokens = _outer(text, start, start + len(relation))
    verb = next((token for token in tokens if token.upper in ("UPDATE", "DELETE", "MERGE")), None)
    behind = [token for token in tokens if token.start >= start + len(relation)]
    ends = [token for token in behind if token.upper in _ENDS]
    if start < 0 or verb is None:
        return None
    places = {token.upper: token for token in reversed(ends)}
    stop = min((places[word].start for word in ("RETURNING", "WHEN", ";") if word in places), default=len(text))
    target = text[start : ends[0].start if ends else len(text)]
    if verb.upper == "MERGE":
        if re.search(r"\bNOT\s+MATCHED\s+BY\s+SOURCE\b", text, re.IGNORECASE) or "USING" not in places:
            return None
        joined = f"{target} JOIN {text[places['USING'].end : stop]}"
    else:
        source, where = places.get("FROM") or places.get("USING"), places.get("WHERE")
        if where is None:
            return None
        others = f", {text[source.end : where.start]}" if source is not None and source.start < where.start else ""
        joined = f"{target}{others} {text[where.start : stop]}"
    return f"{text[: verb.start]} SELECT DISTINCT {quote(FILE)} FROM {joined}"


def columns(statement: Statement, target: Reference) -> frozenset[str] | None:
    """Return folded names among which are those of all columns of ``target`` that the statement depends on or changes.

    None: some may be meant without being named, as by ``*``, ``COLUMNS(…)``, a whole row or a macro.
    """
    tree = statement.tree
    own = (target.alias or target.parts[-1]).casefold()
    if not isinstance(tree, exp.Update | exp.Delete) or any(tree.find_all(exp.Star, exp.Anonymous)):
        return None
    if any(not column.table and column.name.casefold() == own for column in tree.find_all(exp.Column)):
        return None
    if any(token.upper in _UNNAMED for token in statement.tokens) or tree.find(exp.PositionalColumn) is not None:
        return None
    return named_columns.words(statement)


def parted(sql: SourceMap) -> tuple[SourceMap, SourceMap, SourceMap]:
    """Return, of an UPDATE or DELETE with RETURNING: all before RETURNING; the WITH in front, if any; what is asked."""
    tokens = _outer(sql.text, 0, 0)
    verb = next(token for token in tokens if token.upper in ("UPDATE", "DELETE"))
    returning = next(token for token in tokens if token.upper == "RETURNING" and token.start > verb.start)
    return sql[: returning.start], sql[: verb.start], sql[returning.end :]


def takes_whole_rows(text: str, names: Collection[str]) -> bool:
    """Whether an expression in ``text`` is made of all columns, as * within parentheses or by one of ``names``."""
    folded = {name.casefold() for name in names}
    tokens = scan(text)[0]
    outer = {token.start for token in _outer(text, 0, 0)}
    for at, token in enumerate(tokens):
        before, after = (tokens[near].upper if 0 <= near < len(tokens) else "" for near in (at - 1, at + 1))
        if token.upper == "*" and token.start not in outer and before in ("(", ",", "."):
            return True
        is_name = token.kind in ("word", "quoted") and token.text.strip('"').casefold() in folded
        if is_name and after != "." and before not in (".", "AS"):
            return True
    return False


def _outer(text: str, start: int, end: int) -> list[Token]:
    """Return the tokens outside all parentheses and outside [start, end)."""
    found: list[Token] = []
    depth = 0
    for token in scan(text)[0]:
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth == 0 and not start <= token.start < end:
            found.append(token)
    return found
