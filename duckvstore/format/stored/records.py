"""The small documents beside versions and snapshots: intents, garbage, staged parts, owners.

Invariant: ``load(dump(record)) == record`` exactly; each is created once and never edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - fields of dataclasses

from duckvstore.format.stored import envelope


@dataclass(frozen=True, slots=True)
class Intent:
    """The journal's announcement of a write, made before its commit is tried."""

    write_id: str
    symbol: str
    announced_at: datetime


@dataclass(frozen=True, slots=True)
class Garbage:
    """What has been condemned of a symbol, and when: versions by number, segments and manifests by relative key.

    ``reason``: which operation condemned them.
    """

    library_id: str
    garbage_id: str
    symbol: str
    condemned_at: datetime
    reason: str
    versions: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose segments a store of segments alone holds: the library, and the URL of its documents."""

    library_id: str
    name: str
    documents_url: str


def dump_intent(intent: Intent) -> bytes:
    """Return the JSON of a journal entry."""
    return envelope.dump(
        "intent",
        {
            "write_id": intent.write_id,
            "symbol": intent.symbol,
            "announced_at": envelope.time_to_json(intent.announced_at),
        },
    )


def load_intent(data: bytes, *, where: str) -> Intent:
    """Return the intent in ``data``; ``where`` (its key) is for errors. Raises Integrity and Unsupported."""
    body = envelope.load("intent", data, where)
    with envelope.believing("intent", where):
        return Intent(body.text("write_id"), body.text("symbol"), body.time("announced_at"))


def dump_garbage(garbage: Garbage) -> bytes:
    """Return the JSON of what has been condemned."""
    return envelope.dump(
        "garbage",
        {
            "library_id": garbage.library_id,
            "garbage_id": garbage.garbage_id,
            "symbol": garbage.symbol,
            "condemned_at": envelope.time_to_json(garbage.condemned_at),
            "reason": garbage.reason,
            "versions": list(garbage.versions),
            "keys": list(garbage.keys),
        },
    )


def load_garbage(data: bytes, *, where: str) -> Garbage:
    """Return the garbage document in ``data``. Raises Integrity and Unsupported."""
    body = envelope.load("garbage", data, where)
    with envelope.believing("garbage", where):
        return Garbage(
            library_id=body.text("library_id"),
            garbage_id=body.identity("garbage_id"),
            symbol=body.name_of("symbol"),
            condemned_at=body.time("condemned_at"),
            reason=body.text("reason"),
            versions=tuple(body.items_of("versions", int)),
            keys=tuple(body.items_of("keys", str)),
        )


def dump_owner(owner: Owner) -> bytes:
    """Return the JSON that says whose segments these are."""
    return envelope.dump(
        "owner", {"library_id": owner.library_id, "name": owner.name, "documents_url": owner.documents_url}
    )


def load_owner(data: bytes, *, where: str) -> Owner:
    """Return the owner document in ``data``. Raises Integrity and Unsupported."""
    body = envelope.load("owner", data, where)
    with envelope.believing("owner", where):
        return Owner(body.text("library_id"), body.text("name"), body.text("documents_url"))
