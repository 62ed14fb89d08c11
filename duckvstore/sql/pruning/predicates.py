"""Which segments a query's own predicates exclude: a condition over the statistics that DuckDB evaluates.

A segment for which the condition is FALSE holds no row that can change the statement's result. In any
doubt there is no condition, or it is NULL for the segment, and the segment is kept.

The user's WHERE stays in the query. What is dropped are rows that fail a conjunct which every row of the result
must pass, or whose failing makes a row of a join match nothing; so it does not matter what else the query does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.format.stored import schema as arrow_schema
from duckvstore.sql.pruning import functions
from duckvstore.sql.pruning.constants import Constant, Reader, column_class, comparable, has_offset
from duckvstore.sql.syntax.literals import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.statement import Statement

_SELECT_PARTS = frozenset(
    ("expressions", "from_", "joins", "where", "group", "having", "qualify", "windows", "order", "limit", "offset")
) | {"distinct", "with_", "operation_modifiers", "kind"}
_TABLE_PARTS = frozenset(("this", "db", "catalog", "alias"))
_JOIN_PARTS = frozenset(("this", "on", "using", "side", "kind"))
_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED: dict[type[Any], type[Any]] = {exp.LT: exp.GTE, exp.LTE: exp.GT, exp.GT: exp.LTE, exp.GTE: exp.LT}
_COLLATED = "current_setting('default_collation') <> ''"
_MARGIN_DAYS = 3
# DuckDB takes time with the square of the terms of an OR: beyond so many, reading all segments is cheaper.
TERMS_MAX = 500
_BOUND = re.compile(r"\$(c[0-9]+)")
_OPERATORS: dict[type[Any], str] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}


@dataclass(frozen=True, slots=True)
class Condition:
    """``sql``: a boolean expression over the columns of ``format.stored.statistics.typed_table`` for ``column_ids``.

    FALSE means that the segment can be dropped; TRUE, NULL and any error mean that it must be kept. ``parameters``:
    values for the ``$c0`` … in ``sql``. It has to be evaluated with the settings of the session that runs the query.
    """

    sql: str
    column_ids: tuple[int, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    #: it depends on the clock, so it has to be asked in the transaction of the query
    is_moving: bool = False


@dataclass(frozen=True, slots=True)
class _Column:
    id: int
    kind: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a table stands: ``position`` among the ``sources`` of ``select`` (names in lower case, FROM first)."""

    select: Any
    position: int
    sources: tuple[str, ...]
    joins: tuple[Any, ...]

    @property
    def name(self) -> str:
        return self.sources[self.position]

    @property
    def merged(self) -> set[str]:
        """The columns, in lower case, that a USING makes one of two."""
        using = (join.args.get("using") or () for join in self.joins)
        return {str(column.name).lower() for columns in using for column in columns}


def condition(
    statement: Statement,
    reference: int,
    version: Version,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    has_macros: bool = False,
) -> Condition | None:
    """Return which segments of ``version`` the query needs at ``statement.references[reference]``; None: all.

    ``parameters``: the values that the whole statement is called with. ``has_macros``: the user may have made
    macros, with the names of functions perhaps.
    """
    if not version.segments or not _can_prune(statement):
        return None
    place = _place(statement.references[reference].node)
    if place is None:
        return None
    columns = _columns(version)
    if _may_correlate(place, statement, columns):
        return None
    finder = _Finder(place, columns, Reader(statement, parameters, None if has_macros else functions.read))
    kept = [sql for conjunct, strict in _conjuncts(place) for sql in finder.keeps(conjunct, strict=strict)]
    if not kept:
        return None
    used = tuple(sorted(finder.used))
    sql = " AND ".join(f"TRY({part})" for part in kept)
    named = set(_BOUND.findall(sql))  # not all that was read is used
    bound = {name: value for name, value in finder.reader.bound.items() if name in named}
    return Condition(sql, used, bound, is_moving=finder.is_moving)


@lru_cache(maxsize=256)
def _can_prune(statement: Statement) -> bool:
    """Whether the statement's predicates are known, and no sample is taken of what they leave."""
    is_known = statement.tree is not None and not statement.is_outline
    return is_known and statement.tree.find(exp.TableSample) is None


def _place(node: Any) -> _Place | None:
    """Return where the table stands, or None if anything there makes dropping rows unsafe."""
    if not _only(node, _TABLE_PARTS) or _renames_columns(node):
        return None
    select = node.parent.parent if isinstance(node.parent, (exp.From, exp.Join)) else None
    if type(select) is not exp.Select or not _only(select, _SELECT_PARTS):
        return None
    joins = tuple(select.args.get("joins") or ())
    first = select.args.get("from_")
    if first is None:  # joins without FROM, which DuckDB will not take
        return None
    sources = [first.this, *(join.this for join in joins)]
    if not all(_is_plain_join(join) for join in joins) or not all(_is_plain_source(source) for source in sources):
        return None
    position = next((at for at, source in enumerate(sources) if source is node), None)
    names = tuple(str(source.alias_or_name).lower() for source in sources)
    if position is None or names.count(names[position]) != 1:
        return None
    return _Place(select, position, names, joins)


def _only(node: Any, known: frozenset[str]) -> bool:
    """Whether ``node`` has no part beyond ``known``."""
    return all(key in known for key, value in node.args.items() if value)


def _renames_columns(node: Any) -> bool:
    alias = node.args.get("alias")
    return bool(alias and alias.args.get("columns"))


def _is_plain_join(join: Any) -> bool:
    """No NATURAL, ASOF or POSITIONAL join and no kind that is not known here."""
    kind, side = str(join.args.get("kind") or "").upper(), str(join.args.get("side") or "").upper()
    known = side in ("", "LEFT", "RIGHT", "FULL") if kind in ("", "OUTER") else side == ""
    return known and kind in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI") and _only(join, _JOIN_PARTS)


def _is_plain_source(source: Any) -> bool:
    """No join in parentheses, whose tables are in view by names of their own, and no PIVOT of one."""
    if source.args.get("pivots") or source.args.get("joins"):
        return False
    return not (isinstance(source, exp.Subquery) and isinstance(source.this, (exp.Table, exp.Subquery)))


def _columns(version: Version) -> dict[str, _Column]:
    """Return the columns that have statistics of a class that can be compared, by name in lower case."""
    known = {column_id for segment in version.segments for column_id in segment.statistics}
    found = {}
    stored = arrow_schema.to_arrow(version.schema)
    for column, arrow in zip(version.schema.columns, stored, strict=True):
        # The bounds of what carries DuckDB's own type have another order: an ENUM's is not that of its text.
        kind = column_class(arrow.type) if column.duckdb is None else None
        found[column.name.lower()] = _Column(column.id if column.id in known else 0, kind or "")
    return found


def _may_correlate(place: _Place, statement: Statement, columns: Mapping[str, _Column]) -> bool:
    """Whether the table is in a subquery that may refer to a query around it."""
    if not _is_nested(place.select):
        return False
    own = {str(source.alias_or_name).lower() for source in place.select.find_all(exp.Table, exp.Subquery, exp.CTE)}
    aliases = {str(alias.alias).lower() for alias in place.select.find_all(exp.Alias)}
    parameters = {start for start, _ in statement.parameters}
    is_alone = len(place.sources) == 1
    for column in place.select.find_all(exp.Column):
        qualifier = str(column.table).lower()
        name = str(column.name).lower()
        if isinstance(column.this, exp.Identifier) and column.this.meta.get("start") in parameters:
            continue
        is_own = qualifier in own if qualifier else name in aliases or (is_alone and name in columns)
        if not is_own:
            return True
    return False


def _is_nested(select: Any) -> bool:
    node = select.parent
    while node is not None and not isinstance(node, exp.CTE):
        if isinstance(node, exp.Select):
            return True
        node = node.parent
    return False


def _conjuncts(place: _Place) -> Iterator[tuple[Any, bool]]:
    """Yield the conjuncts by which rows of the table may be dropped.

    The flag says whether the conjunct must be one that rejects nulls: otherwise a row that an outer join filled
    up with nulls would appear where the dropped row was.
    """
    joins, position = place.joins, place.position
    is_hidden = position > 0 and _kind(joins[position - 1]) in ("SEMI", "ANTI")
    where = place.select.args.get("where")
    if where is not None and not is_hidden:
        for conjunct in _flat(where.this):
            yield conjunct, bool(joins)
    for right, join in enumerate(joins, start=1):
        on = join.args.get("on")
        if on is None or (is_hidden and right != position):
            continue
        kind, side = _kind(join), str(join.args.get("side") or "").upper()
        if kind == "ANTI" or side == "LEFT":
            is_droppable = position == right
        elif side == "RIGHT":
            is_droppable = position < right
        else:
            is_droppable = side == "" and position <= right
        if is_droppable and position >= _first_joined(joins, right):
            for conjunct in _flat(on):
                yield conjunct, True


def _first_joined(joins: tuple[Any, ...], right: int) -> int:
    """Return the position of the first table that the join at ``right`` joins: a comma binds less than JOIN.

    Tables before the comma may be named in its ON (DuckDB 2 takes that as lateral), but it drops no row of theirs.
    """
    return max((at for at, join in enumerate(joins[:right], start=1) if _is_comma(join)), default=0)


def _is_comma(join: Any) -> bool:
    return not any(join.args.get(part) for part in ("kind", "side", "method", "on", "using"))


def _kind(join: Any) -> str:
    return str(join.args.get("kind") or "").upper()


def _flat(node: Any, kind: type[Any] = exp.And) -> Iterator[Any]:
    """Yield the parts of a conjunction, or of a chain of another ``kind``."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, exp.Paren):
            waiting.append(part.this)
        elif type(part) is kind:
            waiting += [part.expression, part.this]
        else:
            yield part


class _Finder:
    """Turns conjuncts into expressions over the statistics of one table."""

    def __init__(self, place: _Place, columns: Mapping[str, _Column], reader: Reader) -> None:
        self.place, self.columns, self.reader = place, columns, reader
        self.used: set[int] = set()
        self.is_moving = False

    def keeps(self, conjunct: Any, *, strict: bool) -> list[str]:
        """Return expressions, each FALSE for segments where no row passes ``conjunct``; none if it is not such a one.

        ``strict``: only for conjuncts that reject nulls.
        """
        used, bound = set(self.used), dict(self.reader.bound)
        found = self._keeps(conjunct, strict=strict)
        if not found:
            self.used, self.reader.bound = used, bound
        return found

    def _keeps(self, conjunct: Any, *, strict: bool) -> list[str]:
        operator = _OPERATORS.get(type(conjunct))
        if operator is not None:
            return self._comparison(conjunct.this, operator, conjunct.expression) or self._comparison(
                conjunct.expression, _FLIPPED[operator], conjunct.this
            )
        if type(conjunct) is exp.Or:
            return self._either(conjunct, strict=strict)
        if type(conjunct) is exp.Between and _only(conjunct, frozenset(("this", "low", "high"))):
            return self._between(conjunct)
        if type(conjunct) is exp.In and _only(conjunct, frozenset(("this", "expressions"))):
            return self._in(conjunct)
        if type(conjunct) is exp.Is and isinstance(conjunct.expression, exp.Null) and not strict:
            column = self._column(conjunct.this)
            return [f"nulls_{column.id} > 0"] if column is not None else []
        prefix = _prefix(conjunct)
        if prefix is not None and self.reader.calls is not None:
            operand, pattern, is_like = prefix
            return self._starts(operand, pattern, is_like=is_like)
        inner: Any = conjunct.this if type(conjunct) is exp.Not else None
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if type(inner) in _NEGATED:
            return self._keeps(_NEGATED[type(inner)](this=inner.this, expression=inner.expression), strict=strict)
        if type(inner) is exp.Is and isinstance(inner.expression, exp.Null):
            column = self._column(inner.this)
            return [f"nulls_{column.id} < rows"] if column is not None else []
        return []

    def _either(self, node: Any, *, strict: bool) -> list[str]:
        """Return the expression for an OR, each side of which has to be such a conjunct, or to hold one."""
        sides: list[str] = []
        for side in _flat(node, exp.Or):
            if len(sides) == TERMS_MAX:
                return []
            kept = [sql for part in _flat(side) for sql in self.keeps(part, strict=strict)]
            if not kept:
                return []
            sides.append(" AND ".join(f"TRY({sql})" for sql in kept))
        return [f"({' OR '.join(f'({side})' for side in sides)})"]

    def _starts(self, operand: Any, pattern: Any, *, is_like: bool) -> list[str]:
        """Return expressions for texts that start as ``pattern`` does before its first wildcard.

        Such a text is no less than the start, and what it starts with is no less than the least value's own start.
        """
        column, constant = self._column(operand), self.reader.read(pattern)
        if column is None or column.kind != "text" or constant is None or constant.kind != "string":
            return []
        text = constant.text or ""
        start = re.split(r"[%_\\]", text, maxsplit=1)[0] if is_like else text
        if not start:
            return [f"nulls_{column.id} < rows"]
        begin = f"max_{column.id} >= {literal(start)}"
        end = f"left(min_{column.id}, {len(start)}) <= {literal(start)}"
        return [*(f"({sql} OR {_COLLATED})" for sql in (begin, end)), f"nulls_{column.id} < rows"]

    def _comparison(self, left: Any, operator: str, right: Any) -> list[str]:
        column = self._column(left)
        constant = self._constant(column, right, moving=operator in (">", ">="))
        if column is None or constant is None:
            return []
        return [*self._bounds(column, operator, constant), f"nulls_{column.id} < rows"]

    def _between(self, node: Any) -> list[str]:
        column = self._column(node.this)
        low, high = self._constant(column, node.args.get("low")), self._constant(column, node.args.get("high"))
        if column is None or low is None or high is None or not _same_class(column, [low, high]):
            return []
        # NaN passes only below a NaN, and above anything.
        is_nan_possible = high.maybe_nan
        bounds = self._bounds(column, ">=", low, nan=is_nan_possible) + self._bounds(column, "<=", high)
        return [*bounds, f"nulls_{column.id} < rows"]

    def _in(self, node: Any) -> list[str]:
        column = self._column(node.this)
        constants = [self._constant(column, item) for item in node.expressions]
        known = [constant for constant in constants if constant is not None]
        if column is None or not known or len(known) != len(constants) or not _same_class(column, known):
            return []
        are_whole = all(constant.kind == "int" and constant.sql.isdigit() for constant in known)
        if len(known) > TERMS_MAX and not are_whole:
            return []
        matches = (" AND ".join(match) for match in self._matches(column, known))
        return [" OR ".join(f"({match})" for match in matches), f"nulls_{column.id} < rows"]

    def _matches(self, column: _Column, constants: list[Constant]) -> Iterator[list[str]]:
        """Yield the bounds for each of ``constants``, or for runs of them where they are many whole numbers."""
        if len(constants) <= TERMS_MAX:
            for constant in constants:
                yield self._bounds(column, "=", constant)
            return
        ordered = sorted(constants, key=lambda constant: int(constant.sql))
        length = -(-len(ordered) // TERMS_MAX)
        for first in range(0, len(ordered), length):
            run = ordered[first : first + length]
            yield self._bounds(column, ">=", run[0], nan=False) + self._bounds(column, "<=", run[-1])

    def _column(self, node: Any) -> _Column | None:
        """Return the column of the table that ``node`` surely names, if it has statistics.

        Without a qualifier it is this table's: were it another one's as well, DuckDB would refuse the query.
        """
        if type(node) is not exp.Column or not isinstance(node.this, exp.Identifier) or node.args.get("db"):
            return None
        name, qualifier, place = str(node.name).lower(), str(node.table).lower(), self.place
        column = self.columns.get(name)
        if column is None or not column.id or not column.kind:
            return None
        if qualifier:
            is_own = qualifier == place.name and place.name not in self.columns
        else:
            is_own = name not in place.sources and name not in place.merged
        if not is_own or _is_hidden_by_alias(place.select, name):
            return None
        self.used.add(column.id)
        return column

    def _constant(self, column: _Column | None, node: Any, *, moving: bool = False) -> Constant | None:
        """Return the constant at ``node`` if the column compares with it; ``moving``: even if it grows with the clock.

        The question about segments comes before the query, so the bound was less then. It may even have been more,
        by what a change of the clocks or of the time zone makes: that is what the margin is for.
        """
        constant = self.reader.read(node) if column is not None else None
        if column is None or constant is None:
            return None
        if constant.is_moving:
            if not moving or column.kind not in ("date", "timestamp", "timestamptz"):
                return None
            self.is_moving = True
            kind = "TIMESTAMPTZ" if column.kind == constant.kind == "timestamptz" else "TIMESTAMP"
            earlier = f"(CAST({constant.sql} AS {kind}) - INTERVAL {_MARGIN_DAYS} DAY)"
            return Constant(earlier, kind.lower())
        return constant if comparable(column.kind, constant) else None

    def _bounds(self, column: _Column, operator: str, constant: Constant, *, nan: bool | None = None) -> list[str]:
        """Return expressions that are FALSE where no value between the bounds passes ``column operator constant``.

        NaN lies above every bound. ``nan``: whether it may pass a lower limit (None: as the operator says).
        """
        low, high = _instants(constant) if column.kind == "timestamptz" else (constant.sql, constant.sql)
        least, most = f"min_{column.id}", f"max_{column.id}"
        found = []
        if operator in ("=", ">", ">="):
            is_nan_possible = (operator != "=" or constant.maybe_nan) if nan is None else nan
            above = f"{most} {'>=' if operator == '=' else operator} {low}"
            found.append(f"({above} OR nan_{column.id})" if column.kind == "float" and is_nan_possible else above)
        if operator in ("=", "<", "<="):
            found.append(f"{least} {'<=' if operator == '=' else operator} {high}")
        if column.kind == "timestamptz" and low != high:
            # In another calendar the same text or date is another day.
            found = [f"({sql} OR current_setting('Calendar') <> 'gregorian')" for sql in found]
        if column.kind == "text":
            # Bounds are in the order of bytes, which a collation would change.
            found = [f"({sql} OR {_COLLATED})" for sql in found]
        return found


def _prefix(node: Any) -> tuple[Any, Any, bool] | None:
    """Return (text, pattern, whether the pattern has wildcards) of LIKE and starts_with."""
    if type(node) is exp.Like and _only(node, frozenset(("this", "expression"))):
        return node.this, node.expression, True
    if type(node) is exp.StartsWith and _only(node, frozenset(("this", "expression"))):
        return node.this, node.expression, False
    return None


def _same_class(column: _Column, constants: list[Constant]) -> bool:
    """Whether DuckDB compares the column with each of these as it would with all: it brings a list to one type."""
    found = {constant.kind for constant in constants}
    is_exact = found <= {"int", "string", "bool", "date", "timestamp", "timestamptz"} or column.kind == "float"
    return len(found) == 1 and is_exact


def _instants(constant: Constant) -> tuple[str, str]:
    """Return the earliest and latest instant that ``constant`` can mean, whatever the session's time zone is."""
    if constant.kind == "timestamptz" or (constant.text is not None and has_offset(constant.text)):
        return constant.sql, constant.sql
    time = f"CAST({constant.sql} AS TIMESTAMP)"
    shifted = [f"CAST(CAST({time} {sign} INTERVAL 1 DAY AS VARCHAR) || '+00' AS TIMESTAMPTZ)" for sign in "-+"]
    return shifted[0], shifted[1]


def _is_hidden_by_alias(select: Any, name: str) -> bool:
    """Whether the select list gives the column's name to something else."""
    for item in select.expressions:
        if isinstance(item, exp.Alias) and item.alias.lower() == name:
            is_itself = isinstance(item.this, exp.Column) and item.this.name.lower() == name
            if not is_itself:
                return True
    return False
