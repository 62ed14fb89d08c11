"""What every document has in common: its envelope, its times, and how a damaged one is refused.

Invariant: nothing but plain JSON is written, and readers refuse documents that ask for a feature they do not know.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from duckvstore.errors import Integrity, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_NUMBER = 1
FEATURES = frozenset(  # of documents that this release understands
    (
        "altered_schema",
        "manifests",
        "metadata_types",
        "mixed_schema",
        "segments_url",
    )
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


def load(document: str, data: bytes, where: str) -> dict[str, Any]:
    """Return a document's fields. Raises Integrity when it is damaged and Unsupported when a newer release wrote it."""
    try:
        body = json.loads(data)
        found, number, requires = body["duckvstore"], integer(body["format"]), list(body["requires"])
    except (KeyError, TypeError, ValueError, UnicodeError, RecursionError) as error:
        raise damaged(document, where, error) from error
    if found != document:
        raise damaged(document, where, ValueError(f"it is a {found!r} document"))
    unknown = [feature for feature in requires if not isinstance(feature, str) or feature not in FEATURES]
    if number > FORMAT_NUMBER or unknown:
        raise Unsupported(
            f"{where} was written in format {number} with features {unknown}; this release reads format "
            f"{FORMAT_NUMBER}: upgrade duckvstore"
        )
    return dict(body)


def integer(value: object) -> int:
    """Return ``value`` if it is a whole number; raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, found {value!r}")
    return value


def damaged(document: str, where: str, error: Exception) -> Integrity:
    """Return the error for a document that does not say what it must."""
    return Integrity(
        f"the {document} document {where} is damaged ({type(error).__name__}: {error}): restore it from a backup, "
        "or read another version"
    )
