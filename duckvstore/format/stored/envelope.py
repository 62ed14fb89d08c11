"""What every document has in common: its envelope, its times, and how a damaged one is refused.

Nothing but plain JSON is written, and readers refuse documents that ask for a feature they do not know.
msgspec reads documents, since it checks every type on the way. ``json`` writes them: it spells floating point numbers
as all releases did (``1e+16``, where msgspec has ``1e16``), and takes subclasses of text.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeAlias, TypeVar

import msgspec
import pyarrow as pa
from msgspec import Meta, Struct

from duckvstore.errors import DuckVStoreError, Integrity, Unsupported
from duckvstore.format.stored import layout
from duckvstore.formatting import shortened
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMAT_NUMBER = 1
FEATURES = frozenset(  # of documents that this release understands
    (
        "altered_schema",
        "duckdb_types",
        "folded_catalogue",
        "index_column",
        "manifests",
        "metadata_types",
        "missing_markers",
        "mixed_nested",
        "mixed_schema",
        "segment_parts",
        "segments_url",
        "shared_labels",
        "snapshot_files",
    )
)
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
    msgspec.MsgspecError,
    pa.ArrowException,
)


# Both bounds each: without an upper one, msgspec takes numbers of any length.
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
VersionNumber: TypeAlias = Annotated[int, Meta(ge=0, le=layout.VERSION_NUMBER_MAX)]
Identity: TypeAlias = Annotated[str, Meta(pattern=rf"\A(?:{layout.IDENTITY.pattern})\Z")]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]

T = TypeVar("T")
StructT = TypeVar("StructT", bound=Struct)


def work_out(*kinds: type[Struct]) -> None:
    """Let msgspec work out these types and those within, in the thread that imports their module.

    It does so on the first use otherwise, and where that is in two threads at once, the process ends in a crash (0.22).
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)


class _Envelope(Struct):
    """What says whether the rest can be read."""

    duckvstore: str
    format: Count
    requires: list[str]


work_out(_Envelope)


def time_to_json(time: datetime) -> str:
    """Return ``2026-11-20T09:30:00.000000Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Document(Struct, frozen=True):
    """A document's own fields, in their order. Those that may be absent have a default, and are absent when equal."""

    noun: ClassVar[str]

    def dump(self, features: Sequence[str] = ()) -> bytes:
        """Return the JSON; ``features``: what its readers must know."""
        whole = {"duckvstore": self.noun, "format": FORMAT_NUMBER, "requires": list(features), **_body(self)}
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
        return text.encode("utf-8")

    @classmethod
    def load(cls, data: bytes, *, where: str) -> Self:
        """Return the document in ``data``; ``where`` (its key) is for errors.

        Raises Integrity when it is damaged and Unsupported when a newer release wrote it.
        """
        with believing(cls.noun, where):
            head = msgspec.json.decode(data, type=_Envelope)
            if head.duckvstore != cls.noun:
                raise ValueError(f"it is a {shown(head.duckvstore)} document")
        unknown = [feature for feature in head.requires if feature not in FEATURES]
        if head.format > FORMAT_NUMBER or unknown:
            raise Unsupported(
                f"{where} was written in format {head.format} with features {unknown}; this release reads format "
                f"{FORMAT_NUMBER}: upgrade duckvstore"
            )
        with believing(cls.noun, where):
            found = msgspec.json.decode(data, type=cls)
            for name, value in zip(cls.__struct_fields__, msgspec.structs.astuple(found), strict=True):
                if isinstance(value, datetime) and value.tzinfo is not UTC:
                    raise ValueError(f"{name} is {value.isoformat()}, which is not in UTC")
            return found


def _plain(value: object) -> Any:
    if isinstance(value, Struct):
        return _body(value)
    if isinstance(value, datetime):
        return time_to_json(value)
    raise TypeError(f"{value!r} cannot be part of a document")


def _body(struct: Struct) -> dict[str, Any]:
    names, defaults = struct.__struct_encode_fields__, struct.__struct_defaults__
    body = dict(zip(names, msgspec.structs.astuple(struct), strict=True))
    for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        if body[name] == default:
            del body[name]
    return body


def checked(value: object, kind: type[T], what: str) -> T:
    """Return ``value`` of a document as ``kind``. Raises ValueError that names ``what`` it is."""
    try:
        return msgspec.convert(value, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"{what}: {error}") from error


def check_name(field: str, name: str) -> None:
    """Raise ValueError unless a symbol, a library or a snapshot may have this name."""
    if not layout.is_name(name):
        raise ValueError(f"{field} has {shown(name)}, which is not a name")


def check_keys(keys: Iterable[str], noun: str) -> None:
    """Raise ValueError unless a layout can have made each of these keys of segments or manifests."""
    for key in keys:
        if not layout.is_named(key, noun):
            raise ValueError(f"{shown(key)} is no key of a {noun}")


def lists_of(kind: type[StructT], rows: Sequence[Any]) -> StructT:
    """Return ``rows`` as one list for each field of ``kind``, which are attributes of a row."""
    return kind(*([getattr(row, name) for row in rows] for name in kind.__struct_fields__))


def rows_of(lists: Struct) -> Iterator[tuple[Any, ...]]:
    """Return what ``lists_of`` took. Raises ValueError when the lists are not of one length."""
    return zip(*msgspec.structs.astuple(lists), strict=True)


def shown(value: object) -> str:
    """Return the beginning of what a document says, for a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        text = f"a {type(value).__name__}"
    return shortened(text, SHOWN_CHARACTERS_MAX)


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
        raise of_handler(error) or damaged(document, where, error) from error


def damaged(document: str, where: str, error: Exception) -> Integrity:
    """Return the error for a document that does not say what it must."""
    text = shortened(str(error), 4 * SHOWN_CHARACTERS_MAX)
    return Integrity(
        f"the {document} document {where} is damaged ({type(error).__name__}: {text}): restore it from a backup, "
        "or read another version"
    )
