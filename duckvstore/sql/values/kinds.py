"""DuckDB's types, read from their names, and the form in which the values of each travel through Arrow.

``parse(str(kind)) == kind``; what ``str`` gives is one type in SQL and nothing more, whatever it was read
from. ``decoded(encoded(x))`` is ``x`` for every value of every type: what Arrow has no room for (UHUGEINT, BIT,
BIGNUM, TIMETZ, TIME_NS, nested ENUMs) travels as text; intervals, unions and tuples as structs, geometries as WKB.

The same forms are stored, beside the name of the type (``own_type``), in columns that SQL made: only an ENUM, which
travels as Arrow's dictionary, is stored as text wherever it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from duckvstore.errors import Integrity, SqlError
from duckvstore.format.stored import schema as arrow_schema
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.values import types as arrow_types
from duckvstore.sql.values.types import reads_zoned_nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Column, Schema

Rows = TypeVar("Rows", "pa.Table", "pa.RecordBatch")

_WORD = re.compile(r"\w+")
_STRING = re.compile(r"'((?:[^']|'')*+)'")
_QUOTED = re.compile(r'"((?:[^"]|"")*+)"')
_NUMBER = re.compile(r"-?\d+")
_SUFFIX = re.compile(r"\[(\d*)\]")
_PARTED = ("LIST", "ARRAY", "STRUCT", "TUPLE", "MAP", "UNION")
# Leaf types in the words that DuckDB has for them: no other word of a document becomes part of a statement.
_LEAVES = frozenset(
    (
        *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER"),
        *("UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "BIT", "BIGNUM", "UUID", "JSON"),
        *("DATE", "TIME", "TIME_NS", "TIME WITH TIME ZONE", "INTERVAL", "GEOMETRY", "VARIANT", "ENUM", "NULL", "TYPE"),
        *("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"),
    )
)
# Of which what is stored would lose something, or which no table of DuckDB may have.
_NOT_STORED = frozenset(("VARIANT", "TUPLE", "TYPE"))
_AS_TEXT = frozenset(("UHUGEINT", "BIT", "BIGNUM", "TIME WITH TIME ZONE", "TIME_NS", "VARIANT"))
_INTERVAL = "STRUCT(months INTEGER, days INTEGER, micros BIGINT)"
_NESTED_MAX = 100
_FIELD_KEY = b"duckdb:type"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: its ``name``, the types in it, and their ``labels`` (of an ENUM: its values).

    ``numbers``: the digits of a DECIMAL, the length of an ARRAY.
    """

    name: str
    parts: tuple[Kind, ...] = ()
    labels: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = self.name
        if name == "LIST":
            return f"{self.parts[0]}[]"
        if name == "ARRAY":
            return f"{self.parts[0]}[{self.numbers[0]}]"
        if name == "TUPLE":
            word = "TUPLE" if reads_zoned_nanoseconds() else "STRUCT"
            return f"{word}({', '.join(map(str, self.parts))})"
        if name == "MAP":
            return f"MAP({self.parts[0]}, {self.parts[1]})"
        if name in ("STRUCT", "UNION"):
            fields = (f"{quote(label)} {part}" for label, part in zip(self.labels, self.parts, strict=True))
            return f"{name}({', '.join(fields)})"
        if self.labels:
            return f"{name}({', '.join(map(literal, self.labels))})"
        if self.numbers:
            return f"{name}({', '.join(map(str, self.numbers))})"
        if name == "TIMESTAMPTZ_NS" and not reads_zoned_nanoseconds():
            return "TIMESTAMP WITH TIME ZONE"
        return '"NULL"' if name == "NULL" else name

    @property
    def is_foreign(self) -> bool:
        """Whether nothing is known of it: a type that an extension of DuckDB has made."""
        return self.name not in _LEAVES and self.name not in _PARTED

    @property
    def tag(self) -> str:
        """The name of the field that says which member a value of a union is."""
        taken = {label.casefold() for label in self.labels}
        return next(name for name in ("tag", *(f"tag_{at}" for at in range(len(taken) + 1))) if name not in taken)

    def holds(self, names: frozenset[str]) -> bool:
        """Whether this or a type in it has one of ``names``."""
        return self.name in names or any(part.holds(names) for part in self.parts)


class _Parser:
    """Reads one type at a time from ``text``."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def whole(self) -> Kind:
        kind = self.kind(0)
        if self.at != len(self.text):
            raise self.unknown()
        return kind

    def unknown(self) -> SqlError:
        return SqlError(f"{self.text[:200]!r} is no type that this release knows: upgrade duckvstore")

    def kind(self, depth: int) -> Kind:
        if depth > _NESTED_MAX:
            raise self.unknown()
        found = self.base(depth)
        while (suffix := _SUFFIX.match(self.text, self.at)) is not None:
            self.at, depth = suffix.end(), depth + 1
            if depth > _NESTED_MAX:
                raise self.unknown()
            found = Kind("ARRAY", (found,), (), (int(suffix[1]),)) if suffix[1] else Kind("LIST", (found,))
        return found

    def base(self, depth: int) -> Kind:
        name = self.name()
        if name in ("TIME", "TIMESTAMP") and self.skip(" WITH TIME ZONE"):
            name = f"{name} WITH TIME ZONE"
        if name not in _LEAVES and name not in _PARTED:
            raise self.unknown()
        if not self.skip("("):
            if name in _PARTED:
                raise self.unknown()
            return Kind(name)
        return self.with_arguments(name, depth)

    def with_arguments(self, name: str, depth: int) -> Kind:
        parts: list[Kind] = []
        labels: list[str] = []
        numbers: list[int] = []
        while not self.skip(")"):
            if parts or labels or numbers:
                self.expect(",")
                self.skip(" ")
            if name in ("STRUCT", "UNION", "TUPLE", "MAP"):
                label = self.label() if name in ("STRUCT", "UNION") else None
                labels += [] if label is None else [label]
                parts.append(self.kind(depth + 1))
            elif (string := _STRING.match(self.text, self.at)) is not None:
                self.at = string.end()
                labels.append(string[1].replace("''", "'"))
            elif (number := _NUMBER.match(self.text, self.at)) is not None:
                self.at = number.end()
                numbers.append(int(number[0]))
            else:
                raise self.unknown()
        if name == "STRUCT" and parts and not labels:
            name = "TUPLE"
        if (name in ("STRUCT", "UNION") and len(labels) != len(parts)) or (name == "MAP" and len(parts) != 2):
            raise self.unknown()
        return Kind(name, tuple(parts), tuple(labels), tuple(numbers))

    def label(self) -> str | None:
        """Return the name in front of a type; None: there is none, or not before a type."""
        start = self.at
        quoted = _QUOTED.match(self.text, start)
        found = quoted or _WORD.match(self.text, start)
        if found is None:
            raise self.unknown()
        self.at = found.end()
        if not self.text.startswith(" WITH TIME ZONE", self.at) and self.skip(" "):
            return quoted[1].replace('""', '"') if quoted is not None else found[0]
        self.at = start
        return None

    def name(self) -> str:
        found = _QUOTED.match(self.text, self.at)
        if found is not None and found[1] == "NULL":
            self.at = found.end()
            return "NULL"
        found = _WORD.match(self.text, self.at)
        if found is None:
            raise self.unknown()
        self.at = found.end()
        return found[0].upper()

    def skip(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def expect(self, text: str) -> None:
        if not self.skip(text):
            raise self.unknown()


@lru_cache(maxsize=1024)
def parse(text: str) -> Kind:
    """Return the type that DuckDB calls ``text``. Raises SqlError for what is none."""
    return _Parser(text).whole()


@lru_cache(maxsize=1024)
def known(text: str) -> Kind:
    """Return the type that DuckDB calls ``text``; of an extension's own type it is the name, and no more."""
    try:
        return parse(text)
    except SqlError:
        return Kind(text)


def written(schema: pa.Schema, types: Sequence[str]) -> pa.Schema:
    """Return ``schema`` with a note at each field of what DuckDB calls its type; ``read_from`` finds it."""
    import pyarrow as pa

    return pa.schema([field.with_metadata({_FIELD_KEY: kind}) for field, kind in zip(schema, types, strict=True)])


def read_from(schema: pa.Schema) -> list[str]:
    """Return the types that ``written`` has noted; none: it has not."""
    found = [(field.metadata or {}).get(_FIELD_KEY) for field in schema]
    return [kind.decode() for kind in found if kind is not None]


def carrier(kind: Kind, depth: int = 0) -> Kind:
    """Return the type in which values of ``kind`` travel; itself where Arrow holds them as they are."""
    name = kind.name
    if name in _AS_TEXT or (name == "ENUM" and depth):
        return Kind("VARCHAR")
    if name == "GEOMETRY":
        return Kind("BLOB")
    if name == "INTERVAL":
        return parse(_INTERVAL)
    parts = tuple(carrier(part, depth + 1) for part in kind.parts)
    if name == "UNION":
        return Kind("STRUCT", (Kind("VARCHAR"), *parts), (kind.tag, *kind.labels))
    if name == "TUPLE":
        return Kind("STRUCT", parts, tuple(f"element{at}" for at in range(1, len(parts) + 1)))
    return Kind(name, parts, kind.labels, kind.numbers)


def encoded(expression: str, kind: Kind, wanted: Kind | None = None) -> str | None:
    """Return the SQL that gives ``expression``, of the type ``kind``, as its carrier; None: it is one.

    ``wanted``: the carrier, if it is that of ``stored``.
    """
    wanted = wanted or carrier(kind)
    if wanted == kind:
        return None
    return f"CAST({_encoded(expression, kind, 0) or expression} AS {wanted})"


def stored(kind: Kind) -> Kind:
    """Return the type in which values of ``kind`` are stored."""
    return carrier(kind, 1)


def is_storable(kind: Kind) -> bool:
    """Whether a symbol keeps values of ``kind``, and its name."""
    return not kind.is_foreign and not kind.holds(_NOT_STORED)


def own_type(kind: Kind, carried: pa.DataType) -> str | None:
    """Return the name that a column stored as ``carried`` has beside it; None: it is of ``kind`` by itself."""
    if kind.name == "NULL" or parse(arrow_types.duckdb_type(carried)) == kind:
        return None
    return str(kind)


def of_column(column: Column) -> Kind | None:
    """Return DuckDB's own type of a stored column; None: the stored type says it. Raises Integrity for what is none."""
    if column.duckdb is None:
        return None
    try:
        found = parse(column.duckdb)
    except SqlError as error:
        raise Integrity(f"column {column.name!r} of a version has a type that cannot be read: {error}") from error
    if not is_storable(found):
        raise Integrity(f"column {column.name!r} of a version has the type {found}, which none is stored in")
    return found


def names(schema: Schema) -> list[str]:
    """Return the names of the types that the columns of a version have in SQL."""
    fields = arrow_schema.shown(schema)
    return [
        str(of_column(column) or arrow_types.duckdb_type(field.type))
        for column, field in zip(schema.shown, fields, strict=True)
    ]


def named(encoded: Encoded, types: Sequence[str]) -> Encoded:
    """Return rows whose columns carry values of ``types``, with the names of those that they only carry."""
    fields = arrow_schema.to_arrow(encoded.schema)
    own = [own_type(known(kind), field.type) for kind, field in zip(types, fields, strict=True)]
    return replace(encoded, schema=arrow_schema.carrying(encoded.schema, own))


def as_stored(rows: Rows) -> Rows:
    """Return rows that travel as ``carrier`` has it in the form in which they are stored: an ENUM as text."""
    schema = stored_schema(rows.schema)
    columns = [column.cast(field.type) for column, field in zip(rows.columns, schema, strict=True)]
    return type(rows).from_arrays(columns, schema=schema)


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of what ``as_stored`` returns."""
    import pyarrow as pa

    kinds = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema]
    return pa.schema([pa.field(field.name, kind) for field, kind in zip(schema, kinds, strict=True)])


def decoded(expression: str, kind: Kind) -> str:
    """Return the SQL that gives ``expression``, a value in its carrier, the type ``kind``."""
    found = _decoded(expression, kind, 0)
    if found is not None and kind.holds(frozenset(("TUPLE",))):
        return found  # DuckDB 1.5 has no name for such a type that it would read
    return f"CAST({found or expression} AS {kind})"


def shown(relation: str, own: Mapping[str, Kind | None]) -> str:
    """Return the relation with the rows of ``relation``, where columns of ``own`` are in their carriers."""
    found = [f"{decoded(quote(name), kind)} AS {quote(name)}" for name, kind in own.items() if kind is not None]
    return f"(SELECT * REPLACE ({', '.join(found)}) FROM {relation})" if found else relation


def _encoded(value: str, kind: Kind, depth: int) -> str | None:
    """Return ``value`` with what no cast to the carrier can do made right; None: there is nothing of the kind."""
    if kind.name == "INTERVAL":
        months = f"datepart('year', {value}) * 12 + datepart('month', {value})"
        hours = f"datepart('hour', {value}) * 3600000000 + datepart('minute', {value}) * 60000000"
        packed = f"months := {months}, days := datepart('day', {value}), micros := {hours} + datepart('us', {value})"
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({packed}) END"
    if kind.name == "VARIANT":
        return f"CAST({value} AS JSON)"
    if kind.name == "GEOMETRY":
        return f"ST_AsWKB({value})"
    if kind.name == "UNION":
        members = [(label, f"union_extract({value}, {literal(label)})") for label in kind.labels]
        fields = [
            (label, _encoded(got, part, depth) or got) for (label, got), part in zip(members, kind.parts, strict=True)
        ]
        return _packed(f"union_tag({value})", [(kind.tag, f"CAST(union_tag({value}) AS VARCHAR)"), *fields])
    if kind.name == "TUPLE":
        got = [f"struct_extract({value}, {at})" for at in range(1, len(kind.parts) + 1)]
        fields = [
            (f"element{at}", _encoded(item, part, depth) or item)
            for at, (item, part) in enumerate(zip(got, kind.parts, strict=True), start=1)
        ]
        return _packed(value, fields)
    return _nested(value, kind, depth, _encoded)


def _decoded(value: str, kind: Kind, depth: int) -> str | None:
    """Return ``value``, in its carrier, with what no cast to ``kind`` can do made right; None: nothing is."""
    if kind.name == "INTERVAL":
        months, days, micros = (f"struct_extract({value}, {literal(name)})" for name in ("months", "days", "micros"))
        return f"(to_months({months}) + to_days({days}) + to_microseconds({micros}))"
    if kind.name == "GEOMETRY":
        return f"ST_GeomFromWKB({value})"
    if kind.name == "VARIANT":
        return f"CAST(CAST({value} AS JSON) AS VARIANT)"
    if kind.name == "UNION":
        cases = []
        for label, part in zip(kind.labels, kind.parts, strict=True):
            got = f"struct_extract({value}, {literal(label)})"
            member = f"union_value({quote(label)} := {decoded(got, part)})"
            cases.append(f"WHEN {literal(label)} THEN CAST({member} AS {kind})")
        return f"CASE struct_extract({value}, {literal(kind.tag)}) {' '.join(cases)} END"
    if kind.name == "TUPLE":
        items = [
            decoded(f"struct_extract({value}, 'element{at}')", part) for at, part in enumerate(kind.parts, start=1)
        ]
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE row({', '.join(items)}) END"
    return _nested(value, kind, depth, _decoded)


def _nested(value: str, kind: Kind, depth: int, convert: Callable[[str, Kind, int], str | None]) -> str | None:
    """Return ``value``, a list, struct or map, with its parts converted; None: none has to be."""
    if kind.name == "STRUCT":
        got = [f"struct_extract({value}, {literal(label)})" for label in kind.labels]
        found = [convert(item, part, depth) for item, part in zip(got, kind.parts, strict=True)]
        if all(item is None for item in found):
            return None
        return _packed(value, [(label, new or old) for label, new, old in zip(kind.labels, found, got, strict=True)])
    item = f"item_{depth}"
    found = [convert(item, part, depth + 1) for part in kind.parts]
    if all(part is None for part in found):
        return None
    if kind.name == "MAP":
        of_keys, of_values = (
            _each(f"map_{what}({value})", item, new) for what, new in zip(("keys", "values"), found, strict=True)
        )
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE map({of_keys}, {of_values}) END"
    return _each(f"CAST({value} AS {_as_list(kind, convert)})" if kind.name == "ARRAY" else value, item, found[0])


def _as_list(kind: Kind, convert: Callable[[str, Kind, int], str | None]) -> Kind:
    return Kind("LIST", (carrier(kind.parts[0], 1) if convert is _decoded else kind.parts[0],))


def _each(values: str, item: str, expression: str | None) -> str:
    return values if expression is None else f"list_transform({values}, lambda {item}: {expression})"


def _packed(value: str, fields: list[tuple[str, str]]) -> str:
    packed = ", ".join(f"{quote(label)} := {item}" for label, item in fields)
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({packed}) END"
