"""The places in a statement that name tables: sqlglot's tables, with the user's AT forms.

What is a table is decided here: no common table expression, no file in quotes, no table function but ``vstore.diff``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from duckvstore.sql.syntax.statement import Reference
from duckvstore.sql.syntax.tokens import Token, closing
from duckvstore.sql.syntax.words import AFTER_A_QUERY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.errors import SqlError
    from duckvstore.sql.syntax.timetravel import Clause

_READ_PARENTS = (exp.From, exp.Join, exp.Describe, exp.Summarize, exp.Subquery, exp.Paren, exp.Lateral)
_AFTER_A_TABLE_QUERY = AFTER_A_QUERY | {"WITH"}


class References:
    """Finds the references of one statement."""

    def __init__(
        self, text: str, tokens: list[Token], clauses: Sequence[Clause], error: Callable[[str, int], SqlError]
    ) -> None:
        """Take the words of ``text`` and its AT forms, ``clauses``; ``error`` makes one that shows its place.

        Raises SqlError where two forms follow one name.
        """
        self.text, self.tokens, self.clauses, self.error = text, tokens, clauses, error
        self.by_end = {token.end: index for index, token in enumerate(tokens)}
        self.open_clauses: dict[int, Clause] = {}
        for clause in clauses:
            if clause.after in self.open_clauses:
                raise error("a symbol takes only one AT form", clause.start)
            self.open_clauses[clause.after] = clause

    def of(self, tree: Any) -> tuple[Reference, ...]:
        """Return the references in ``tree``, in the order of the text. Raises SqlError for an AT form that has none."""
        found = [self._reference(node) for node in tree.find_all(exp.Table)]
        for clause in self.open_clauses.values():
            raise self.error(
                f"AT {clause.at.kind.upper()} belongs right after the name of a symbol or its alias", clause.start
            )
        named = [reference for reference in found if reference is not None]
        kept = [r for r in named if r.at is not None or r.role == "target" or not _is_cte(r.node)]
        kept.sort(key=lambda reference: reference.start)
        # sqlglot takes the names in RENAME a TO b for those of tables.
        return tuple(kept[:1] if isinstance(tree, exp.Alter) else kept)

    def _reference(self, node: Any) -> Reference | None:
        parts = node.parts
        if not all(isinstance(part, exp.Identifier) and "start" in part.meta for part in parts):
            return self._call(node)  # a table function
        start, end = parts[0].meta["start"], parts[-1].meta["end"] + 1
        if end not in self.by_end or self.text[start] in "'?$":
            return None  # FROM 'file.parquet'
        last = self.by_end[end]
        if self.tokens[last - 2 * len(parts) + 2].start != start:
            return None  # a..b, which is not a name to DuckDB
        ends = [end]
        prefixed = _before(self.tokens, start).upper == ":"
        if node.args.get("alias") and not prefixed:
            ends = [end, self._alias_end(last)]
        clauses = [self.open_clauses.pop(position) for position in dict.fromkeys(ends) if position in self.open_clauses]
        if len(clauses) > 1:
            raise self.error("a symbol takes only one AT form", clauses[1].start)
        role: Literal["read", "target"] = "read" if _is_read(node) else "target"
        if clauses and role == "target":
            raise self.error(
                "a past version cannot be changed or created: leave out AT, which changes the newest, or first RESTORE "
                "TABLE … TO VERSION …",
                clauses[0].start,
            )
        form, lead = self._form(node, start)
        if form == "table":
            self._check_table_query(last)
        return Reference(
            parts=tuple(part.name for part in parts),
            start=start,
            end=end,
            at=clauses[0].at if clauses else None,
            alias=node.alias or None,
            node=node,
            cuts=tuple((clause.start, clause.end) for clause in clauses),
            role=role,
            form=form,
            lead=lead,
        )

    def _call(self, node: Any) -> Reference | None:
        """Return the reference that a call of vstore.diff is; None for a table function of DuckDB's."""
        parts = node.parts
        if tuple(part.name.lower() for part in parts[-2:]) != ("vstore", "diff"):
            return None
        start = parts[0].meta.get("start")
        first = next((index for index, token in enumerate(self.tokens) if token.start == start), len(self.tokens))
        opening = first + 2 * len(parts) - 1
        if opening >= len(self.tokens) or self.tokens[opening].text != "(":
            return None
        form, lead = self._form(node, self.tokens[first].start)
        return Reference(
            parts=tuple(part.name for part in parts),
            start=self.tokens[first].start,
            end=self.tokens[opening - 1].end,
            at=None,
            alias=node.alias or None,
            node=node,
            cuts=((self.tokens[opening].start, self.tokens[closing(self.tokens, opening)].end),),
            form=form,
            lead=lead,
            is_call=True,
        )

    def _check_table_query(self, last: int) -> None:
        """Raise SqlError unless ``TABLE name``, with ``last`` as its last token, ends a query: sqlglot reads FROM."""
        following = next((token for token in self.tokens[last + 1 :] if not self._is_cut(token)), None)
        if following is not None and following.upper not in _AFTER_A_TABLE_QUERY:
            raise self.error(f"syntax error at or near {following.text!r}", following.start)

    def _alias_end(self, last: int) -> int:
        """Return where the alias ends that follows the name whose last token has index ``last``."""
        following = [token for token in self.tokens[last + 1 :] if not self._is_cut(token)]
        index = 1 if following and following[0].upper == "AS" else 0
        if index + 1 < len(following) and following[index + 1].text == "(":
            end = closing(following, index + 1)
            # Without an alias of columns this is the parenthesis of something else, such as TABLESAMPLE.
            return following[end].end if end >= 0 else -1
        return following[index].end if index < len(following) else -1

    def _is_cut(self, token: Token) -> bool:
        return any(clause.start <= token.start < clause.end for clause in self.clauses)

    def _form(self, node: Any, start: int) -> tuple[Literal["relation", "table", "statement", "columns"], int]:
        parent = node.parent
        if isinstance(parent, (exp.Describe, exp.Summarize)):
            before = _before(self.tokens, start)
            return "statement", before.start if before.upper == "TABLE" else start
        if isinstance(parent, exp.Copy):
            return "statement", start
        if isinstance(parent, exp.Schema) and isinstance(parent.parent, exp.Copy):
            return "columns", start
        before = _before(self.tokens, start)
        if before.upper == "SHOW":
            return "statement", start
        if isinstance(parent, exp.From) and before.upper == "TABLE":
            return "table", before.start
        return "relation", start


def _before(tokens: list[Token], start: int) -> Token:
    """Return the token before character ``start``."""
    earlier = [token for token in tokens if token.end <= start]
    return earlier[-1] if earlier else Token("start", "", 0, 0)


def _is_read(node: Any) -> bool:
    """Whether the table at ``node`` is read, not created, changed or dropped."""
    parent = node.parent
    if isinstance(parent, exp.Schema):
        parent = parent.parent
    if isinstance(parent, exp.Copy):
        return bool(not parent.args.get("kind"))  # COPY … TO
    if isinstance(parent, (exp.Delete, exp.Merge)):
        return bool(node.arg_key == "using")
    return isinstance(parent, _READ_PARENTS)


def _is_cte(node: Any) -> bool:
    """Whether the name at ``node`` is a common table expression in view there: ``name``, or ``recurring.name``."""
    is_recurring = len(node.parts) == 2 and node.parts[0].name.lower() == "recurring"
    if len(node.parts) != 1 and not is_recurring:
        return False
    name = node.name.lower()
    child, scope = node, node.parent
    while scope is not None:
        common = scope.args.get("with_")
        is_named = common is not None and common is not child and _names(common.expressions, name)
        if is_named and not is_recurring:
            return True
        if isinstance(scope, exp.With):
            before = scope.expressions[: next(at for at, common in enumerate(scope.expressions) if common is child)]
            if (_names(before, name) and not is_recurring) or _is_own_recursion(scope, child, node):
                return True
        child, scope = scope, scope.parent
    return False


def _names(expressions: list[Any], name: str) -> bool:
    return any(expression.alias.lower() == name for expression in expressions)


def _is_own_recursion(common: Any, definition: Any, node: Any) -> bool:
    """Whether ``node`` is the recursive side of ``WITH RECURSIVE name AS (… UNION … name …)``.

    As run: DuckDB takes the name in the first side, or in a definition with no UNION, for the outer table.
    """
    if not common.args.get("recursive") or definition.alias.lower() != node.name.lower():
        return False
    union = definition.this
    side = node
    while side is not None and side.parent is not union:
        side = side.parent
    return isinstance(union, exp.SetOperation) and side is union.args.get("expression")
