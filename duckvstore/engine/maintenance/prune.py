"""Pruning and deleting versions: condemning them, so that a collection removes them after the grace period.

The newest version of a symbol is never condemned, nor one that a snapshot holds when it is checked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from duckvstore.engine.library import condemned
from duckvstore.engine.maintenance import doubts
from duckvstore.engine.maintenance.retention import Retention
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import commits, edits
from duckvstore.engine.writing.commits import Draft
from duckvstore.errors import InvalidInput, NoSuchVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Call
    from duckvstore.format.stored.documents import Version

LISTINGS_MAX = 3


def prune(
    library: OpenLibrary,
    symbol: str,
    *,
    keep_last: int | None = None,
    keep_for: timedelta | None = None,
    reason: str = "prune",
) -> tuple[int, ...]:
    """Condemn versions that ``Retention`` does not keep; return their numbers, newest first.

    The newest version and those that a snapshot holds are always kept. Raises NoSuchSymbol, InvalidInput,
    StorageUnavailable.
    """
    retention = Retention(keep_last, keep_for)
    retention.check()
    unwanted, documents, held = _histories(library, symbol)
    visible = [(version.number, version.created_at) for version in documents]
    chosen = retention.prunable(visible, library.objects.now, unwanted, held)
    if chosen:
        condemned.publish(library, symbol, reason, versions=chosen)
    return tuple(chosen)


def _histories(library: OpenLibrary, symbol: str) -> tuple[frozenset[int], list[Version], dict[int, list[str]]]:
    """Return a symbol's condemned numbers, its visible documents (newest first) and the snapshots that hold a number.

    Raises NoSuchSymbol when there are none, and StorageUnavailable when the listing of versions lacks what is named and
    there, also when it is asked for again (what came after the listing is in the next one).
    """
    unwanted = condemned.numbers(library, symbol, fresh=True)
    for attempt in range(LISTINGS_MAX):
        documents = catalogue.visible_documents(library, symbol)
        held = {
            number: names
            for (name, number), names in catalogue.holders(library, all_or_none=True).items()
            if name == symbol
        }
        named = {number: f"snapshot {names[0]!r} holds it" for number, names in held.items()}
        for version in documents:
            if version.parent is not None:
                named.setdefault(version.parent, f"version {version.number} was made above it")
        for version in documents:
            named.pop(version.number, None)
        unseen = {(symbol, number): reason for number, reason in named.items()}
        if attempt == LISTINGS_MAX - 1:
            doubts.check_named(library, unseen)
        elif not doubts.present(library, unseen):
            break
    if not documents:
        raise catalogue.no_symbol(library, symbol)
    # What is condemned and not seen as such would count among those that are kept, in place of another one.
    return unwanted | condemned.numbers(library, symbol, fresh=True), documents, held


def delete_versions(library: OpenLibrary, call: Call, symbol: str, numbers: Iterable[int]) -> tuple[int, ...]:
    """Condemn these versions; return their numbers, newest first.

    Where the newest is among them, a version is made first that restores the newest of the others, or says that the
    symbol is deleted when there is none. Raises NoSuchSymbol, NoSuchVersion (not there, or condemned already),
    InvalidInput (no number, or a snapshot holds one), Conflict, OutcomeUnknown, StorageUnavailable.
    """
    wanted = set(numbers)
    for number in wanted:
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidInput(f"versions names {number!r}: give version numbers, as list_versions() has them")
    unwanted, found, held = _histories(library, symbol)
    visible = [version for version in found if version.number not in unwanted]
    if not visible:
        raise catalogue.no_symbol(library, symbol)
    _check_there(library, symbol, wanted, visible)
    _check_free(library, symbol, {number: names for number, names in held.items() if number in wanted})
    if not wanted:
        return ()
    if visible[0].number in wanted or call.expected_version is not None:
        _replace_newest(library, call, wanted, visible)
    chosen = tuple(sorted(wanted, reverse=True))
    condemned.publish(library, symbol, "delete", versions=chosen)
    return chosen


def _check_there(library: OpenLibrary, symbol: str, wanted: set[int], visible: list[Version]) -> None:
    absent = sorted(wanted - {version.number for version in visible})
    if absent:
        raise NoSuchVersion(
            f"{library.quoted(symbol)} has no version {', '.join(map(str, absent))}, so nothing was deleted: "
            f"list_versions({symbol!r}) shows what there is"
        )


def _check_free(library: OpenLibrary, symbol: str, held: Mapping[int, list[str]]) -> None:
    if held:
        by_number = "; ".join(f"version {number} by {', '.join(map(repr, names))}" for number, names in held.items())
        raise InvalidInput(
            f"snapshots hold versions of {library.quoted(symbol)}, so nothing was deleted: {by_number}. "
            "Leave these versions out, or delete_snapshot() first"
        )


def _replace_newest(library: OpenLibrary, call: Call, wanted: set[int], visible: list[Version]) -> None:
    """Commit what is to be the newest version once those in ``wanted`` are gone, if the newest is one of them."""
    source = next((version for version in visible if version.number not in wanted), None)

    def plan(newest: Version | None) -> Draft | None:
        if newest is None or newest.number < visible[0].number:  # the newest never goes down
            key = library.layout.version(visible[0].symbol, visible[0].number)
            raise doubts.contradiction(library, key, "an earlier listing showed it")
        if newest.number not in wanted:
            return None  # another writer was first, so there is nothing to replace
        if source is None or source.deleted:
            return Draft(operation="delete", kind="deleted")
        return edits.restore(source)(newest)

    if call.message is None:
        numbers = ", ".join(map(str, sorted(wanted)))
        call = replace(call, message=f"versions deleted: {numbers}")
    commits.announce(library, call)
    commits.commit(library, call, plan)
