"""The small documents beside versions and snapshots, each of which is created once and never edited."""

from __future__ import annotations

from typing import ClassVar

from duckvstore.format.stored import envelope
from duckvstore.format.stored.envelope import Count, Document, Identity, Time


class Intent(Document, frozen=True):
    """The journal's announcement of a write, made before its commit is tried."""

    noun: ClassVar[str] = "intent"

    write_id: str
    symbol: str
    announced_at: Time


class Mark(Document, frozen=True):
    """The mark that intents were removed for a generation of the catalogue, which its key names too."""

    noun: ClassVar[str] = "mark"

    library_id: str
    number: Count
    generation_id: Identity


class Garbage(Document, frozen=True):
    """What has been condemned of a symbol, and when: versions by number, segments and manifests by relative key.

    ``reason``: which operation condemned them.
    """

    noun: ClassVar[str] = "garbage"

    library_id: str
    garbage_id: Identity
    symbol: str
    condemned_at: Time
    reason: str
    versions: tuple[Count, ...]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid name of a symbol."""
        envelope.check_name("symbol", self.symbol)


class Owner(Document, frozen=True):
    """Whose segments a store of segments alone holds: the library, and the URL of its documents."""

    noun: ClassVar[str] = "owner"

    library_id: str
    name: str
    documents_url: str


envelope.work_out(Intent, Mark, Garbage, Owner)
