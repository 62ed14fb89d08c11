"""The errors for what a reader asks for and does not find.

These functions decide nothing: they describe what is missing, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.errors import Integrity, InvalidInput, NoSuchSymbol, NoSuchVersion, nearest
from duckvstore.format.stored import envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.format.stored.documents import Version


def no_symbol(library: OpenLibrary, symbol: str, names: Sequence[str]) -> NoSuchSymbol:
    """Return the error for a symbol without a version; ``names``: the symbols that have one."""
    return NoSuchSymbol(
        f"library {library.name!r} has no symbol {symbol!r}.{nearest(symbol, names)} It has {len(names)}: "
        "list_symbols() shows them"
    )


def deleted(library: OpenLibrary, version: Version, as_of: AsOf) -> NoSuchSymbol | NoSuchVersion:
    """Return the error for a version that is a deletion."""
    what, when = library.quoted(version.symbol), envelope.time_to_json(version.created_at)
    last = f"as_of={version.parent} reads what was there before" if version.parent is not None else ""
    if as_of is None:
        return NoSuchSymbol(f"{what} was deleted at {when} (version {version.number}): {last}")
    return NoSuchVersion(f"version {version.number} of {what} is its deletion, at {when}: {last}")


def pruned(library: OpenLibrary, symbol: str, number: int, *, at: str = "") -> NoSuchVersion:
    """Return the error for a version that was pruned; ``at``: the time that was asked for."""
    was_there = f"what {library.quoted(symbol)} was at {at} is gone: " if at else ""
    of = "" if at else f" of {library.quoted(symbol)}"
    return NoSuchVersion(
        f"{was_there}version {number}{of} was pruned: list_versions({symbol!r}) shows what is left, and a snapshot "
        "that holds a pruned version still reads it"
    )


def only_held(library: OpenLibrary, symbol: str, number: int, snapshot: str) -> InvalidInput:
    """Return the error for a new reference to a pruned version that a snapshot still holds."""
    return InvalidInput(
        f"version {number} of {library.quoted(symbol)} was pruned, and only snapshots such as {snapshot!r} still hold "
        f"it: nothing new may refer to it. read(as_of={snapshot!r}) and write() what it gives"
    )


def vanishing(library: OpenLibrary, symbol: str) -> Integrity:
    """Return the error for documents that repeatedly vanish after being listed."""
    library.check_present(at_once=True)
    return Integrity(
        f"documents of {library.quoted(symbol)} vanish while they are read: something deletes under "
        f"{library.objects.url} {library.layout.symbol_versions(symbol)}"
    )
