"""What every document has in common: its envelope, its times, and how a damaged one is refused.

Invariant: nothing but plain JSON is written, and readers refuse documents that ask for a feature they do not know.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import DuckVStoreError, Integrity, Unsupported
from duckvstore.format.stored import layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT_NUMBER = 1
FEATURES = frozenset(  # of documents that this release understands
    (
        "altered_schema",
        "duckdb_types",
        "index_column",
        "manifests",
        "metadata_types",
        "missing_markers",
        "mixed_nested",
        "mixed_schema",
        "segments_url",
        "shared_labels",
    )
)
NUMBER_MAX = 2**63 - 1
SHOWN_CHARACTERS_MAX = 80
# What Python, numpy, pandas, polars and Arrow raise when a document does not say what it must.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    pa.ArrowException,
)


def time_to_json(time: datetime) -> str:
    """Return ``2026-11-20T09:30:00.000000Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_from_json(text: str) -> datetime:
    """Return the time that ``time_to_json`` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def dump(document: str, body: dict[str, Any], requires: Sequence[str] = ()) -> bytes:
    """Return a document's JSON; ``requires``: the features that its readers must know."""
    whole = {"duckvstore": document, "format": FORMAT_NUMBER, "requires": list(requires), **body}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def load(document: str, data: bytes, where: str) -> Fields:
    """Return a document's fields. Raises Integrity when it is damaged and Unsupported when a newer release wrote it."""
    with believing(document, where):
        body = Fields(json.loads(data))
        found, number, requires = body.text("duckvstore"), body.number("format"), body.items_of("requires", str)
        if found != document:
            raise ValueError(f"it is a {shown(found)} document")
    unknown = [feature for feature in requires if feature not in FEATURES]
    if number > FORMAT_NUMBER or unknown:
        raise Unsupported(
            f"{where} was written in format {number} with features {unknown}; this release reads format "
            f"{FORMAT_NUMBER}: upgrade duckvstore"
        )
    return body


class Fields:
    """The fields of an object in a document; each is what it must be, or TypeError or ValueError names it."""

    def __init__(self, body: object, name: str = "it") -> None:
        """Take ``body``, which is ``name`` in errors."""
        if not isinstance(body, dict):
            raise TypeError(f"{name} must be an object, found {shown(body)}")
        self.body: dict[str, Any] = body

    def __contains__(self, name: str) -> bool:
        return name in self.body

    def __getitem__(self, name: str) -> Any:
        if name not in self.body:
            raise ValueError(f"{name} is missing")
        return self.body[name]

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self._checked(name, self[name], str))

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None for null."""
        return None if self[name] is None else self.text(name)

    def number(self, name: str) -> int:
        """Return a whole number from 0 on."""
        return whole(name, self[name])

    def number_or_none(self, name: str) -> int | None:
        """Return a whole number from 0 on, or None where there is none."""
        return None if self.body.get(name) is None else self.number(name)

    def flag_or_none(self, name: str) -> bool | None:
        """Return true or false, or None where there is neither."""
        found = self.body.get(name)
        return None if found is None else bool(self._checked(name, found, bool))

    def time(self, name: str) -> datetime:
        """Return a time."""
        return time_from_json(self.text(name))

    def name_of(self, name: str) -> str:
        """Return a text that a symbol, a library or a snapshot may have for a name."""
        found = self.text(name)
        if not layout.is_name(found):
            raise ValueError(f"{name} is {shown(found)}, which is no name")
        return found

    def identity(self, name: str) -> str:
        """Return the id of a transaction, a garbage document or a staged part."""
        found = self.text(name)
        if not layout.is_identity(found):
            raise ValueError(f"{name} is {shown(found)}, which is no id")
        return found

    def version_number(self, name: str) -> int:
        """Return the number of a version."""
        return version_number(name, self[name])

    def fields(self, name: str) -> Fields:
        """Return the fields of an object."""
        return Fields(self[name], name)

    def items_of(self, name: str, kind: type) -> list[Any]:
        """Return a list whose items are all of ``kind``; whole numbers are from 0 on."""
        found = self._checked(name, self[name], list)
        if not set(map(type, found)) <= {kind}:
            raise TypeError(f"{name} must be a list of {kind.__name__}, found {shown(found)}")
        if kind is int and found:
            whole(name, min(found)), whole(name, max(found))
        return list(found)

    def numbers_by_symbol(self, name: str) -> dict[str, int]:
        """Return an object of symbols and numbers of versions."""
        found = self.fields(name).body
        for symbol in found:
            if not layout.is_name(symbol):
                raise ValueError(f"{name} has {shown(symbol)}, which is no name of a symbol")
        return {symbol: version_number(name, number) for symbol, number in found.items()}

    def _checked(self, name: str, value: object, kind: type) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, found {shown(value)}")
        return value


def whole(name: str, value: object) -> int:
    """Return ``value`` if it is a whole number from 0 on, of 63 bits. Raises TypeError, ValueError."""
    if type(value) is not int:
        raise TypeError(f"{name} must be a whole number, found {shown(value)}")
    if not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{name} must be from 0 to {NUMBER_MAX}, found {shown(value)}")
    return value


def version_number(name: str, value: object) -> int:
    """Return ``value`` if it is the number of a version. Raises TypeError, ValueError."""
    number = whole(name, value)
    if number > layout.VERSION_NUMBER_MAX:
        raise ValueError(f"{name} is {number}, more than the number of any version")
    return number


def shown(value: object) -> str:
    """Return the beginning of what a document says, for a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"


@contextmanager
def believing(document: str, where: str) -> Iterator[None]:
    """Blame the ``document`` at ``where`` for whatever raw error its content leads to: Integrity.

    Errors of this package go on as they are; those of what is stored come to name the document.
    """
    try:
        yield
    except (Integrity, Unsupported) as error:
        if where in str(error):
            raise
        raise type(error)(f"{where}: {error}") from error
    except DuckVStoreError:
        raise
    except DAMAGE as error:
        raise damaged(document, where, error) from error


def damaged(document: str, where: str, error: Exception) -> Integrity:
    """Return the error for a document that does not say what it must."""
    text = str(error)
    short = text if len(text) <= 4 * SHOWN_CHARACTERS_MAX else f"{text[: 4 * SHOWN_CHARACTERS_MAX]}…"
    return Integrity(
        f"the {document} document {where} is damaged ({type(error).__name__}: {short}): restore it from a backup, "
        "or read another version"
    )
