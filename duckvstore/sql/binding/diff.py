"""``vstore.diff``: what a call of it asks for, and the relation that holds the rows between two versions. Pure.

The relation's rows turn the older version's rows into the newer one's, and only segments that the two do not share
are read: a row of a shared segment is the same row on both sides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from duckvstore.errors import NoSuchColumn, SqlError, nearest
from duckvstore.format.evolution import type_rules
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Schema, Version
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.timetravel import At, Expression
from duckvstore.sql.syntax.tokens import Parameter, Token, string_value
from duckvstore.sql.values import kinds as duckdb_kinds
from duckvstore.sql.values import types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from duckvstore.sql.syntax.statement import Reference, Statement
    from duckvstore.sql.values.kinds import Kind

CHANGE = "change"
USAGE = "vstore.diff('trades', 2, 3) or vstore.diff('trades', 2, 3, key := ['id'])"
_TIMES = frozenset(("DATE", "TIMESTAMP", "TIMESTAMPTZ", "CAST", "NOW", "TODAY", "CURRENT_DATE", "CURRENT_TIMESTAMP"))


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call; a version that the caller has already stands for itself.

    ``key``: names of columns, None for the index. ``symbol_offset`` and ``key_offset``: characters of the text.
    """

    symbol: str
    before: At | Version
    after: At | Version
    key: tuple[str, ...] | None
    symbol_offset: int
    key_offset: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column of one version: ``sql`` gives its values where its rows are scanned."""

    name: str
    type: pa.DataType
    sql: str
    #: DuckDB's own type where ``type`` only carries it
    own: Kind | None = None

    @property
    def sql_type(self) -> str:
        """The name of its type in SQL."""
        return str(self.own or types.duckdb_type(self.type))


@dataclass(frozen=True, slots=True)
class Pair:
    """A column of the diff: its ``name`` there, and the column of either version (None: it has none)."""

    name: str
    before: Column | None
    after: Column | None

    @property
    def sides(self) -> tuple[Column | None, Column | None]:
        """Both columns, the older version's first."""
        return self.before, self.after


@dataclass(frozen=True, slots=True)
class Side:
    """The rows of one version that are looked at: ``rows`` stands after FROM, where ``scanned`` is their name.

    ``exact``: SQL of the nanoseconds of columns that DuckDB reads to the microsecond only, by name.
    """

    rows: str
    exact: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Argument:
    """One argument: its ``name`` if it was given by name, and the tokens of its value."""

    name: str | None
    tokens: list[Token]
    start: int


def read_call(statement: Statement, reference: Reference, value_of: Callable[[Parameter], Any]) -> Call:
    """Return what ``reference``, a call of vstore.diff, asks for; ``value_of`` gives the values of parameters.

    Raises SqlError, with the place in the user's text.
    """
    return _Reader(statement, reference, value_of).read()


class _Reader:
    """Reads the arguments of one call."""

    def __init__(self, statement: Statement, reference: Reference, value_of: Callable[[Parameter], Any]) -> None:
        self.statement, self.value_of = statement, value_of
        self.start, end = reference.cuts[0]
        self.parameters = dict(statement.parameters)
        self.tokens = [token for token in statement.tokens if self.start < token.start < end - 1]

    def read(self) -> Call:
        arguments = self._arguments()
        places = [argument for argument in arguments if argument.name is None]
        named = [argument for argument in arguments if argument.name is not None]
        for argument in named:
            if argument.name != "key" or len(named) > 1:
                self._refuse("takes one named argument, key", argument.start)
        if arguments and named and arguments[-1].name is None:
            self._refuse("takes key := … as its last argument", arguments[-1].start)
        if len(places) != 3:
            self._refuse(f"takes a symbol and two versions, {len(places)} found", self.start)
        return Call(
            self._symbol(places[0]),
            self._version(places[1]),
            self._version(places[2]),
            self._key(named[0]) if named else None,
            places[0].start,
            named[0].start if named else self.start,
        )

    def _arguments(self) -> list[_Argument]:
        found: list[_Argument] = []
        depth, first = 0, 0
        for index, token in enumerate([*self.tokens, Token("operator", ",", self.start, self.start)]):
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.upper, 0)
            if token.upper != "," or (depth and index < len(self.tokens)):
                continue
            tokens = self.tokens[first:index]
            if not tokens and (found or index < len(self.tokens)):
                self._refuse("has an argument that is missing", token.start)
            if tokens:
                is_named = len(tokens) > 1 and tokens[1].upper in (":=", "=>")
                name = tokens[0].text.lower() if is_named else None
                found.append(_Argument(name, tokens[2:] if is_named else tokens, tokens[0].start))
            first = index + 1
        return found

    def _symbol(self, argument: _Argument) -> str:
        value = self._constant(argument.tokens)
        if not isinstance(value, str):
            self._refuse("takes the symbol's name first, in single quotes or as a parameter", argument.start)
        return value

    def _version(self, argument: _Argument) -> At | Version:
        tokens, start = argument.tokens, argument.start
        value = self._constant(tokens)
        if isinstance(value, Version):
            return value
        given = self._parameter(tokens) or value
        if isinstance(value, str):
            return At("snapshot", given, start)
        if isinstance(value, date):
            return At("timestamp", given, start)
        if isinstance(value, bool) or (value is not None and not hasattr(value, "__index__")):
            self._refuse(f"takes a number, a snapshot's name or a time as a version, not {value!r}", start)
        if value is not None:
            return At("version", given, start)
        if self._parameter(tokens) or not tokens or not self._is_time(tokens):
            self._refuse("takes a number, a snapshot's name or a DATE or TIMESTAMP as a version", start)
        return At("timestamp", Expression(self.statement.text[tokens[0].start : tokens[-1].end]), start)

    def _is_time(self, tokens: list[Token]) -> bool:
        words = {token.upper for token in tokens}
        is_constant = not any(token.kind in ("parameter", "unclosed") for token in tokens)
        return is_constant and not words & {"SELECT", "FROM"} and bool(words & _TIMES or "::" in words)

    def _key(self, argument: _Argument) -> tuple[str, ...]:
        tokens = argument.tokens
        value = self._constant(tokens)
        if value is None and len(tokens) > 1 and tokens[0].text == "[" and tokens[-1].text == "]":
            items = tokens[1:-1]
            value = [self._constant([token]) for token in items[::2]]
            if any(token.text != "," for token in items[1::2]) or (items and len(items) % 2 == 0):
                value = None
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            self._refuse("takes names of columns as its key, such as key := 'id' or key := ['a', 'b']", argument.start)
        return tuple(names)

    def _parameter(self, tokens: list[Token]) -> Parameter | None:
        return self.parameters.get(tokens[0].start) if len(tokens) == 1 and tokens[0].kind == "parameter" else None

    def _constant(self, tokens: list[Token]) -> Any:
        """Return a string, a whole number or a parameter's value; None for anything else."""
        parameter = self._parameter(tokens)
        if parameter is not None:
            return self.value_of(parameter)
        if len(tokens) == 1 and tokens[0].kind == "string":
            try:
                return string_value(tokens[0])
            except SqlError as error:
                raise self.statement.error(str(error), tokens[0].start) from error
        sign = -1 if len(tokens) == 2 and tokens[0].text == "-" else 1
        is_number = len(tokens) == 1 + (sign < 0) and tokens[-1].kind == "number"
        return sign * int(tokens[-1].text) if is_number and tokens[-1].text.replace("_", "").isdigit() else None

    def _refuse(self, problem: str, place: int) -> NoReturn:
        raise self.statement.error(f"vstore.diff {problem}: write {USAGE}", place)


def unshared(before: Version, after: Version) -> tuple[list[int], list[int]]:
    """Return the positions of the segments that only one version has, for ``before`` and for ``after``, ascending.

    A segment that a version holds twice counts twice. None counts as shared where columns were dropped or renamed
    between the two: the same segment then has other rows on either side.
    """
    if not (_has_rows_of(before.schema, after.schema) and _has_rows_of(after.schema, before.schema)):
        return list(range(len(before.segments))), list(range(len(after.segments)))
    olds = [segment.key for segment in before.segments]
    news = [segment.key for segment in after.segments]
    shared = Counter(olds) & Counter(news)
    return _without(olds, shared), _without(news, shared)


def _has_rows_of(one: Schema, other: Schema) -> bool:
    """Whether each column of ``one`` is the same in ``other``, or younger than it and so without values in its rows."""
    ids, free = {column.name: column.id for column in other.columns}, schemas.next_id(other)
    return all(ids.get(column.name, column.id) == column.id for column in one.columns) and all(
        column.name in ids or column.id >= free for column in one.columns
    )


def _without(keys: list[str], shared: Counter[str]) -> list[int]:
    left = Counter(shared)
    kept = []
    for position, key in enumerate(keys):
        if left[key]:
            left[key] -= 1
        else:
            kept.append(position)
    return kept


def pairs(before: Version, after: Version) -> list[Pair]:
    """Return the columns of the diff: those of ``after``, then those that only ``before`` has.

    Names match without regard to case, as in SQL. A column that is called like the first one, ``change``, or like
    another, gets a number behind its name.
    """
    olds = {column.name.casefold(): column for column in _columns(before, after)}
    news = _columns(after, before)
    found: list[tuple[Column | None, Column | None]] = [(olds.pop(new.name.casefold(), None), new) for new in news]
    labels = [column.name for column in (*news, *olds.values())]
    names = schemas.unique_names(labels, taken=[CHANGE])
    sides = [*found, *((old, None) for old in olds.values())]
    return [Pair(name, old, new) for name, (old, new) in zip(names, sides, strict=True)]


def plain_pairs(
    before: Version, after: Version, is_plain: Callable[[pa.DataType], bool]
) -> list[tuple[str | None, str | None]] | None:
    """Return the names of the columns of ``pairs`` in either version, if each is stored and of one plain type in both.

    None: some is not, or is compared in another type.
    """
    if _range_index(before, after) or _range_index(after, before):
        return None
    if any(column.duckdb is not None for version in (before, after) for column in version.schema.shown):
        return None
    olds, news = ({field.name.casefold(): field for field in _fields(version)} for version in (before, after))
    kinds = {field.type for fields in (olds, news) for field in fields.values()}
    if not all(map(is_plain, kinds)) or any(olds[name].type != news[name].type for name in olds.keys() & news.keys()):
        return None
    both = [(olds.pop(name).name if name in olds else None, field.name) for name, field in news.items()]
    return [*both, *((field.name, None) for field in olds.values())]


def _names(version: Version, other: Version) -> list[str]:
    return [*(column.name for column in _range_index(version, other)), *version.schema.shown_names]


def _columns(version: Version, other: Version) -> list[Column]:
    own = map(duckdb_kinds.of_column, version.schema.shown)
    stored = [
        Column(field.name, field.type, f"scanned.{quote(field.name)}", kind)
        for field, kind in zip(_fields(version), own, strict=True)
    ]
    return [*_range_index(version, other), *stored]


def _fields(version: Version) -> list[pa.Field]:
    return list(schemas.shown(version.schema))


def _range_index(version: Version, other: Version) -> list[Column]:
    """Return the index of ``version`` where it is a range, which is not stored, and ``other`` has it stored.

    Rows without some of those between them are a range no more. Such versions share no segment, so that the number
    of a row among those that are looked at is that in the version.
    """
    own, stored = (found.schema.value.get("index") for found in (version, other))
    if not isinstance(own, dict) or "range" not in own or not isinstance(stored, dict) or len(other.schema.index) != 1:
        return []
    field = schemas.to_arrow(other.schema).field(other.schema.index[0])
    is_same = own.get("name") == stored["columns"][0].get("name") and pa.types.is_integer(field.type)
    is_taken = field.name.casefold() in {column.name.casefold() for column in version.schema.columns}
    is_whole = {s.key for s in version.segments}.isdisjoint(s.key for s in other.segments)
    if not is_same or is_taken or not is_whole:
        return []
    start, _, step = own["range"]
    return [Column(field.name, pa.int64(), f"({start} + {step} * (row_number() OVER () - 1))")]


def key_columns(before: Version, after: Version, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names, as ``after`` has them, of the columns that rows are matched by; none: by the whole row.

    ``wanted`` None means the index of ``after``, as far as ``before`` has all columns of it. Raises NoSuchColumn.
    """
    olds = {name.casefold() for name in _names(before, after)}
    both = [name for name in _names(after, before) if name.casefold() in olds]
    known = {name.casefold(): name for name in both}
    if wanted is None:
        index = after.schema.index or tuple(column.name for column in _range_index(after, before))
        return index if all(name.casefold() in known for name in index) else ()
    for name in wanted:
        if name.casefold() not in known:
            raise NoSuchColumn(
                f"versions {before.number} and {after.number} of {after.symbol!r} do not both have a column {name!r} "
                f"to match rows by.{nearest(name, both)}"
            )
    return tuple(dict.fromkeys(known[name.casefold()] for name in wanted))


def nanoseconds(version: Version) -> list[str]:
    """Return the columns of ``version`` with nanoseconds in a time zone, of which DuckDB 1 reads the microseconds."""
    return [field.name for field in _fields(version) if _is_zoned(field.type) and field.type.unit == "ns"]


def _is_zoned(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz is not None


def relation(
    columns: Sequence[Pair], key: Sequence[str], sides: tuple[Side, Side], common_type: Callable[[str, str], str]
) -> str:
    """Return the relation of the changes from the rows of the first side to those of the second, in their order.

    ``key``: names in the newer version; none: all columns. ``common_type`` gives the SQL type that holds the values
    of two others.
    """
    matched = [pair.after is not None and pair.after.name in key if key else True for pair in columns]
    kinds = [_kind(pair, common_type) for pair in columns]
    # A collation of the session's must not hide what is different, nor may its absence show in the user's query.
    plain = [f"c{at} COLLATE C" if kind == "VARCHAR" else f"c{at}" for at, kind in enumerate(kinds)]
    terms = [f"x{at}" if _is_exact(pair, sides) else plain[at] for at, pair in enumerate(columns)]
    keys = [term for term, is_key in zip(terms, matched, strict=True) if is_key]
    compared = [term for term, is_key in zip(terms, matched, strict=True) if not is_key]
    olds, news = (
        _numbered(side, [pair.sides[at] for pair in columns], kinds, terms, keys) for at, side in enumerate(sides)
    )
    both = ", ".join(f"b.c{at} AS b{at}, a.c{at} AS a{at}" for at in range(len(columns)))
    on = " AND ".join(f"b.{term} IS NOT DISTINCT FROM a.{term}" for term in keys)
    differs = ["b.place IS NULL", "a.place IS NULL", *(f"b.{term} IS DISTINCT FROM a.{term}" for term in compared)]
    shown = ", ".join(
        f"CASE WHEN {CHANGE} IN ('delete', 'update_preimage') THEN b{at} ELSE a{at} END AS {quote(pair.name)}"
        for at, pair in enumerate(columns)
    )
    return (
        f"(SELECT {CHANGE}, {shown} FROM ("
        "SELECT unnest(CASE WHEN b.place IS NULL THEN ['insert'] WHEN a.place IS NULL THEN ['delete'] "
        f"ELSE ['update_preimage', 'update_postimage'] END) AS {CHANGE}, "
        f"coalesce(a.place, b.place) AS place, {both} "
        f"FROM {olds} AS b FULL JOIN {news} AS a ON {on} AND b.occurrence = a.occurrence "
        f"WHERE {' OR '.join(differs)}"
        f") ORDER BY place, list_position(['delete', 'update_preimage', 'update_postimage', 'insert'], {CHANGE}))"
    )


def _numbered(side: Side, columns: list[Column | None], kinds: list[str], terms: list[str], keys: list[str]) -> str:
    """Return the rows of one side as columns c0, c1 …, numbered, and numbered among those with the same key.

    x0, x1 … are what columns are compared by instead.
    """
    values = [f"{_value(column, kind)} AS c{at}" for at, (column, kind) in enumerate(zip(columns, kinds, strict=True))]
    exact = [f"{_exact(columns[at], kinds[at], side)} AS x{at}" for at, term in enumerate(terms) if term[0] == "x"]
    return (
        f"(SELECT *, row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY place) AS occurrence "
        f"FROM (SELECT row_number() OVER () AS place, {', '.join([*values, *exact])} FROM {side.rows}))"
    )


def _kind(pair: Pair, common_type: Callable[[str, str], str]) -> str:
    """Return the SQL type in which both columns of ``pair`` are compared and shown: text if nothing else will do."""
    before, *_, after = [column for column in pair.sides if column is not None] * 2
    old, new = before.type, after.type
    if before.own is not None or after.own is not None:
        is_same = before.sql_type == after.sql_type
        return after.sql_type if is_same else "VARCHAR"
    if _is_zoned(old) and _is_zoned(new) and "ns" in (old.unit, new.unit):
        return types.duckdb_type(pa.timestamp("ns", "UTC"))
    if types.duckdb_type(old) == types.duckdb_type(new):
        return types.duckdb_type(new)
    common = type_rules.common(old, new)
    if common is not None:
        return types.duckdb_type(common)
    return common_type(types.duckdb_type(old), types.duckdb_type(new)) if _is_alike(old, new) else "VARCHAR"


def _is_alike(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether DuckDB casts every value of both types to their common one, as it would not a number to a time."""
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    for family in (is_number, (pa.types.is_date, pa.types.is_timestamp)):
        if all(any(check(kind) for check in family) for kind in (old, new)):
            return True
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        shared = {field.name for field in old} & {field.name for field in new}
        return bool(shared) and all(_is_alike(old.field(name).type, new.field(name).type) for name in shared)
    if pa.types.is_list(old) and pa.types.is_list(new):
        return _is_alike(old.value_type, new.value_type)
    return bool(old == new)


def _value(column: Column | None, kind: str) -> str:
    if column is None:
        return f"CAST(NULL AS {kind})"
    return column.sql if column.sql_type == kind else f"CAST({column.sql} AS {kind})"


def _is_exact(pair: Pair, sides: tuple[Side, Side]) -> bool:
    """Whether the columns are compared by nanoseconds that DuckDB does not read, or by their texts.

    Of DuckDB's own types some have values that are equal and not the same: a month and 30 days.
    """
    if any(column is not None and column.own is not None for column in pair.sides):
        return True
    zoned = all(_is_zoned(column.type) for column in pair.sides if column is not None)
    both = zip(pair.sides, sides, strict=True)
    return zoned and any(column is not None and column.name in side.exact for column, side in both)


def _exact(column: Column | None, kind: str, side: Side) -> str:
    """Return what a column is compared by: the bytes of its texts, or nanoseconds."""
    if not kind.startswith("TIMESTAMP"):
        return f"encode(CAST({_value(column, kind)} AS VARCHAR))"
    if column is None:
        return "CAST(NULL AS BIGINT)"
    return side.exact.get(column.name, f"epoch_ns({column.sql})")
