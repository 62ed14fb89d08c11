"""How many rows from the first on a statement can show at most: ``SELECT * FROM trades LIMIT 10`` needs one segment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.syntax.statement import Statement

# Whatever else a SELECT has may need other rows than the first ones.
_HARMLESS = {"expressions", "from", "from_", "limit", "offset"}
_SHARE = re.compile("%|PERCENT", re.IGNORECASE)  # of the rows, in a LIMIT: sqlglot takes it for their number


def wanted(statement: Statement) -> int | None:
    """Return after how many rows of the one table that it names ``statement`` is done; None: it may want all.

    DuckDB gives rows in their order where nothing else is asked for (``preserve_insertion_order``).
    """
    tree = statement.tree
    if statement.kind != "query" or not isinstance(tree, exp.Select) or len(statement.references) != 1:
        return None
    if (
        _SHARE.search(statement.text)
        or any(value for name, value in tree.args.items() if name not in _HARMLESS)
        or statement.is_outline
    ):
        return None
    table = statement.references[0].node
    source = tree.args.get("from_") or tree.args.get("from")
    if source is None or source.this is not table:  # it is somewhere within, where other rows may be needed
        return None
    if table.args.get("sample") or table.args.get("pivots") or table.args.get("joins") or table.args.get("laterals"):
        return None
    if not all(map(_is_of_its_row, tree.expressions)):
        return None
    limit, offset = _count(tree.args.get("limit")), _count(tree.args.get("offset"))
    return None if limit is None or offset is None or tree.args.get("limit") is None else limit + offset


def leading(segments: Sequence[Segment], row_count: int) -> tuple[Segment, ...]:
    """Return the first of ``segments`` that have ``row_count`` rows together, one at least."""
    found: list[Segment] = []
    for segment in segments:
        found.append(segment)
        row_count -= segment.row_count
        if row_count <= 0:
            break
    return tuple(found)


def _is_of_its_row(shown: exp.Expression) -> bool:
    """Whether what is shown is a column, all of them, or a constant."""
    node = shown.this if isinstance(shown, exp.Alias) else shown
    star = node.this if isinstance(node, exp.Column) else node
    if isinstance(star, exp.Star):
        return not star.args.get("replace")
    return isinstance(node, (exp.Column, exp.Literal, exp.Null, exp.Boolean))


def _count(clause: exp.Expression | None) -> int | None:
    """Return the number in a LIMIT or OFFSET (0 without one); None: it is not a plain one."""
    if clause is None:
        return 0
    node = clause.expression
    is_number = isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit()
    return int(str(node.this)) if is_number and not clause.args.get("offset") else None
