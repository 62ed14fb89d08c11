"""What PEP 249 asks of a module beside connections: its errors, type objects and constructors of values.

An error of DuckVStore becomes one that is both what it was and what PEP 249 calls it, with the same
message and cause, so that ``except`` finds it by either name.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from duckvstore.errors import (
    AlreadyExists,
    Conflict,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NotFound,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.sql.driver import duckdb_errors

if TYPE_CHECKING:
    from collections.abc import Iterator


class Warning(Exception):  # noqa: A001 - the names of PEP 249
    """Something important that is not an error; nothing here raises it."""


class Error(DuckVStoreError):
    """Every error that leaves a connection."""


class InterfaceError(Error):
    """A connection or cursor is used wrongly: after it was closed, say."""


class DatabaseError(Error):
    """Any error of the store or of SQL."""


class DataError(DatabaseError):
    """A value cannot be converted or is out of range."""


class OperationalError(DatabaseError):
    """Storage cannot be reached, another writer was first, a statement was stopped, memory ran out."""


class IntegrityError(DatabaseError):
    """A constraint of a temporary table is violated."""


class InternalError(DatabaseError):
    """Stored bytes are not what was written, or DuckDB failed internally."""


class ProgrammingError(DatabaseError):
    """The SQL, its parameters or a name in it is wrong."""


class NotSupportedError(DatabaseError):
    """This store, type or release cannot do it."""


_ERRORS: tuple[tuple[type[DuckVStoreError], type[DatabaseError]], ...] = (
    (NotFound, ProgrammingError),
    (AlreadyExists, ProgrammingError),
    (InvalidInput, ProgrammingError),
    (Conflict, OperationalError),
    (StorageUnavailable, OperationalError),
    (Integrity, InternalError),
    (Unsupported, NotSupportedError),
)
# What DuckDB calls a failure says more than the error of this package that it became.
_KINDS: dict[str, type[DatabaseError]] = {
    "Conversion": DataError,
    "Out of Range": DataError,
    "Constraint": IntegrityError,
    "Interrupt": OperationalError,
    "INTERRUPT": OperationalError,
    "Out of Memory": OperationalError,
    "INTERNAL": InternalError,
    "FATAL": InternalError,
    "Internal": InternalError,
    "Fatal": InternalError,
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of this package as those of PEP 249."""
    try:
        yield
    except Error:
        raise
    except DuckVStoreError as error:
        raise to_pep249(error).with_traceback(error.__traceback__) from error.__cause__


def to_pep249(error: DuckVStoreError) -> Error:
    """Return ``error`` as an Error of PEP 249 that still is an instance of its own class."""
    if isinstance(error, Error):
        return error
    made = _rebuilt(_meaning(error), type(error), error.args, error.__dict__)
    made.__cause__ = error.__cause__
    return made


def _meaning(error: DuckVStoreError) -> type[DatabaseError]:
    if error.__cause__ is not None:
        kind = _KINDS.get(duckdb_errors.take_apart(error.__cause__).kind)
        if kind is not None:
            return kind
    return next((meaning for ours, meaning in _ERRORS if isinstance(error, ours)), DatabaseError)


_classes: dict[tuple[type[DatabaseError], type[DuckVStoreError]], type[DatabaseError]] = {}


def _class_of(meaning: type[DatabaseError], ours: type[DuckVStoreError]) -> type[DatabaseError]:
    if issubclass(meaning, ours):
        return meaning
    if (meaning, ours) not in _classes:
        made = type(ours.__name__, (meaning, ours), {"__doc__": ours.__doc__, "__reduce__": _reduced})
        _classes.setdefault((meaning, ours), made)
    return _classes[meaning, ours]


def _rebuilt(
    meaning: type[DatabaseError], ours: type[DuckVStoreError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> DatabaseError:
    made = _class_of(meaning, ours).__new__(_class_of(meaning, ours))
    made.args = args  # as they are: some classes build their message from other arguments
    made.__dict__.update(attributes)
    return made


def _reduced(error: DatabaseError) -> tuple[Any, ...]:
    """Return how to unpickle an error whose class was made here."""
    meaning, ours = type(error).__bases__
    return _rebuilt, (meaning, ours, error.args, dict(error.__dict__))


class TypeObject:
    """A group of DuckDB's types; equal to the type code of a column that belongs to it."""

    def __init__(self, name: str, *types: str) -> None:
        """Name the group and its types, without parameters such as a decimal's digits."""
        self._name = name
        self._types = frozenset(types)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TypeObject):
            return self is other
        text = str(other)
        return not text.endswith("]") and text.partition("(")[0] in self._types

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


class NestedType:
    """The type code of a column that no simple name tells: a list, struct, map, enum or union.

    It is not text, since clients that read type codes as names of types take ``STRUCT(…)`` for a string.
    """

    def __init__(self, name: str) -> None:
        """Take DuckDB's name of the type."""
        self._name = name

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name

    def __eq__(self, other: object) -> bool:
        return other == self._name if isinstance(other, (str, TypeObject)) else str(other) == self._name

    def __hash__(self) -> int:
        return hash(self._name)


_BYTES = {
    "TINYINT": 1,
    "SMALLINT": 2,
    "INTEGER": 4,
    "BIGINT": 8,
    "HUGEINT": 16,
    "UTINYINT": 1,
    "USMALLINT": 2,
    "UINTEGER": 4,
    "UBIGINT": 8,
    "FLOAT": 4,
    "DOUBLE": 8,
}
_TIMES = ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
_SIMPLE = frozenset((*_BYTES, *_TIMES, "DECIMAL", "VARCHAR", "BLOB", "BOOLEAN", "INTERVAL"))

STRING = TypeObject("STRING", "VARCHAR", "JSON", "UUID", "ENUM")
BINARY = TypeObject("BINARY", "BLOB")
NUMBER = TypeObject("NUMBER", *_BYTES, "UHUGEINT", "BIGNUM", "DECIMAL")
DATETIME = TypeObject("DATETIME", *_TIMES, "TIME_NS", "TIME WITH TIME ZONE")
ROWID = TypeObject("ROWID")

Column = tuple[str, str | NestedType, None, int | None, int | None, int | None, None]


def described(name: str, kind: str) -> Column:
    """Return the seven items by which a cursor describes a column of the DuckDB type ``kind``."""
    plain, _, digits = kind.partition("(")
    is_simple = plain in _SIMPLE and not kind.endswith("]")
    precision = scale = None
    if plain == "DECIMAL" and is_simple:
        precision, scale = (int(number) for number in digits.rstrip(")").split(","))
    size = _BYTES.get(plain) if is_simple else None
    return name, kind if is_simple else NestedType(kind), None, size, precision, scale, None


Date = date
Time = time
Timestamp = datetime
Binary = bytes


def DateFromTicks(ticks: float) -> date:  # noqa: N802 - the names of PEP 249
    """Return the local date ``ticks`` seconds after 1970-01-01 UTC."""
    return TimestampFromTicks(ticks).date()


def TimeFromTicks(ticks: float) -> time:  # noqa: N802
    """Return the local time of day ``ticks`` seconds after 1970-01-01 UTC."""
    return TimestampFromTicks(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime:  # noqa: N802
    """Return the local time, without a zone, ``ticks`` seconds after 1970-01-01 UTC."""
    return datetime.fromtimestamp(ticks)  # noqa: DTZ006 - as PEP 249 has it
