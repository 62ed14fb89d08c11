"""Which version is meant: from a symbol and an ``as_of`` to a version document; and what snapshots hold.

Everything here treats a document of an undecided or aborted transaction as absent, and nothing here writes.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from msgspec.structs import replace

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import condemned, unreadable
from duckvstore.engine.reading import listings, not_found, visible
from duckvstore.errors import (
    Integrity,
    InvalidInput,
    NoSuchKey,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    nearest,
)
from duckvstore.format.stored import documents, envelope, snapshot_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Snapshot, Version
    from duckvstore.format.stored.snapshot_files import SnapshotFile

AsOf: TypeAlias = int | str | datetime | None
Wanted = TypeVar("Wanted")

SEARCHES_MAX = 5


class Held(int):
    """The number of a version that a snapshot holds: as an ``as_of`` it is found even when it was pruned."""


def resolve(library: OpenLibrary, symbol: str, as_of: AsOf = None) -> Version:
    """Return the version that ``as_of`` names: a number, a negative number, a snapshot, a time, or the newest.

    Raises NoSuchSymbol, NoSuchVersion (also for a version that is a deletion or was pruned), InvalidInput.
    """
    return _resolve(library, symbol, as_of, fresh=False)


def resolve_to_refer(library: OpenLibrary, symbol: str, as_of: AsOf = None) -> Version:
    """Return what ``resolve`` does, for a caller that is about to make something that refers to it.

    The version was not condemned, and was there, at some time after the call began. A pruned one is refused (with
    InvalidInput) even where ``as_of`` is a snapshot that holds it. The caller must make the reference within half the
    grace period of this call's beginning.
    """
    return _resolve(library, symbol, as_of, fresh=True)


def _resolve(library: OpenLibrary, symbol: str, as_of: AsOf, *, fresh: bool) -> Version:
    if as_of is None:
        version = visible.head(library, symbol).newest  # the newest is never condemned
        if version is None:
            raise no_symbol(library, symbol)
    elif isinstance(as_of, bool):
        raise InvalidInput(f"as_of={as_of!r} is no version: give a number, a snapshot's name or a datetime")
    elif isinstance(as_of, Held):
        version = _held(library, symbol, int(as_of), "", fresh=fresh)
    elif isinstance(as_of, int) and as_of >= 0:
        version = _by_number(library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, int):
        version = _search(_from_newest, library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, str):
        version = _in_snapshot(library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, datetime):
        version = _search(_at_time, library, symbol, utc(as_of), fresh=fresh)
    else:
        raise InvalidInput(f"as_of is a {type(as_of).__name__}: give a version number, a snapshot's name or a datetime")
    if version.deleted:
        raise not_found.deleted(library, version, as_of)
    return version


def _search(
    search: Callable[[OpenLibrary, str, Wanted, frozenset[int]], Version],
    library: OpenLibrary,
    symbol: str,
    wanted: Wanted,
    *,
    fresh: bool,
) -> Version:
    """Return what ``search`` finds, and start again when a document that it listed has vanished."""
    for _ in range(SEARCHES_MAX):
        unwanted = condemned.numbers(library, symbol, fresh=fresh)
        try:
            return search(library, symbol, wanted, unwanted)
        except NoSuchKey:
            continue
    raise not_found.vanishing(library, symbol)


def no_symbol(library: OpenLibrary, symbol: str) -> NoSuchSymbol:
    """Return the error for a symbol without a version, naming the nearest ones."""
    return not_found.no_symbol(library, symbol, listings.symbol_names(library))


def utc(time: datetime) -> datetime:
    """Return a time in UTC, also of a naive one; raises InvalidInput for NaT and for times that UTC cannot express."""
    try:
        if time != time:  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
            raise InvalidInput("as_of=NaT is no time: give a datetime")
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"as_of={time!r} is outside of the times that UTC can say: give another") from error


def _by_number(library: OpenLibrary, symbol: str, number: int, *, fresh: bool) -> Version:
    version, unwanted = _look(library, symbol, number, fresh=fresh)
    if number in unwanted:
        raise not_found.pruned(library, symbol, number)
    if version is None:
        newest = visible.head(library, symbol).newest
        if newest is None:
            raise no_symbol(library, symbol)
        raise NoSuchVersion(
            f"{library.quoted(symbol)} has no version {number}; its newest is {newest.number}: "
            f"list_versions({symbol!r}) shows all"
        )
    return version


def _look(library: OpenLibrary, symbol: str, number: int, *, fresh: bool) -> tuple[Version | None, frozenset[int]]:
    """Return a visible version and what is condemned of its symbol; neither is older than a few seconds."""
    if fresh:  # in this order: what is there after nothing condemned it stays for the grace period
        unwanted = condemned.numbers(library, symbol, fresh=True)
        return visible.find_visible(library, symbol, number, fresh=True), unwanted
    if library.has_cached(symbol, number) and (
        condemned.is_recent(library, symbol) or _was_newest(library, symbol, number)
    ):
        return visible.find_visible(library, symbol, number), condemned.known(library, symbol)
    looking = condemned.look_beside(library, symbol)
    version = visible.find_visible(library, symbol, number, fresh=True)
    return version, looking.result()


def _was_newest(library: OpenLibrary, symbol: str, number: int) -> bool:
    """Return whether this was the newest version a moment ago, and so not condemned."""
    found = library.heads.usable(symbol)
    return (
        found is not None
        and found.newest is not None
        and found.newest.number == number
        and found.age.elapsed_seconds() < condemned.RECENT_SECONDS
    )


def _from_newest(library: OpenLibrary, symbol: str, as_of: int, unwanted: frozenset[int]) -> Version:
    found, left = 0, (at for at in visible.history_numbers(library, symbol, page=-as_of) if at not in unwanted)
    while chunk := list(islice(left, min(-as_of - found, visible.NUMBERS_PAGE))):
        versions = list(filter(None, _read_many(library, [(symbol, number) for number in chunk])))
        found += len(versions)
        if found == -as_of:
            return versions[-1]
    if not found:
        raise no_symbol(library, symbol)
    raise NoSuchVersion(f"{library.quoted(symbol)} has {found} versions, so there is no as_of={as_of}")


def _in_snapshot(library: OpenLibrary, symbol: str, name: str, *, fresh: bool) -> Version:
    try:
        snapshot = read_snapshot(library, name, around=symbol)
    except NoSuchSnapshot as error:
        raise NoSuchVersion(f"{error}; for a time, give as_of a datetime") from error
    if symbol not in snapshot.versions:
        raise NoSuchVersion(
            f"snapshot {name!r} of library {library.name!r} does not hold {symbol!r}."
            f"{nearest(symbol, snapshot.versions)} It holds {snapshot_document(library, name).count} symbols"
        )
    return _held(library, symbol, snapshot.versions[symbol], name, fresh=fresh)


def _held(library: OpenLibrary, symbol: str, number: int, snapshot: str, *, fresh: bool) -> Version:
    """Return a version that a snapshot holds: it is there, pruned or not."""
    if fresh and number in condemned.numbers(library, symbol, fresh=True):
        raise not_found.only_held(library, symbol, number, snapshot)
    version = visible.find_visible(library, symbol, number, fresh=fresh)
    if version is None:
        raise NoSuchVersion(
            f"version {number} of {library.quoted(symbol)} is not there, although a snapshot holds it: "
            "verify() shows what else is missing, recover() brings back what it can"
        )
    return version


def _first_not_later(library: OpenLibrary, symbol: str, present: Sequence[int], wanted: datetime) -> int:
    """Return the first position in ``present``, newest first, whose document is not later than ``wanted``.

    It is 0 where documents of another library are met, whose times are not comparable with this one's.
    """
    low, high = 0, len(present)
    while low < high:
        middle = (low + high) // 2
        version = library.version(symbol, present[middle])
        if version.library_id != library.library_id:
            return 0
        if (visible.visible_version(library, version) or version).created_at <= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _at_time(library: OpenLibrary, symbol: str, wanted: datetime, unwanted: frozenset[int]) -> Version:
    present = list(visible.history_numbers(library, symbol))
    try:
        return _among(library, symbol, wanted, unwanted, present)
    except NoSuchKey:  # condemned ones may be gone and in the catalogue still
        left = [number for number in present if number not in unwanted]
        return _among(library, symbol, wanted, unwanted, left)


def _among(
    library: OpenLibrary, symbol: str, wanted: datetime, unwanted: frozenset[int], present: list[int]
) -> Version:
    """Return the version at a time, of the numbers ``present``, newest first."""
    low = _first_not_later(library, symbol, present, wanted)
    found = successor = None
    for number in reversed(present[:low]):
        successor = visible.visible_version(library, library.version(symbol, number))
        if successor is not None:
            break
    for number in present[low:]:
        found = visible.visible_version(library, library.version(symbol, number))
        if found is not None and found.created_at <= wanted:
            break
        successor, found = found or successor, None
    at = envelope.time_to_json(wanted)
    before = successor.parent if successor is not None else None
    if before is not None and (found is None or (found.number != before and found.created_at < wanted)):
        raise not_found.pruned(library, symbol, before, at=at)  # what the next version was made from is gone
    if found is not None and found.number in unwanted:
        raise not_found.pruned(library, symbol, found.number, at=at)
    if found is not None:
        return found
    if not present:
        raise no_symbol(library, symbol)
    first = library.version(symbol, present[-1])
    raise NoSuchVersion(
        f"{library.quoted(symbol)} had no version at {at}; its oldest, version "
        f"{first.number}, was created at {envelope.time_to_json(first.created_at)}"
    )


def history(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return all visible versions of a symbol, deletions included, newest first (empty: no such symbol).

    Pruned ones are left out, and what cannot be read, which is warned of.
    """
    looking = condemned.look_beside(library, symbol)
    present = list(visible.history_numbers(library, symbol, before_folded=looking.result))
    unwanted = looking.result()
    pairs = [(symbol, number) for number in present if number not in unwanted]
    return unreadable.read_all(visible.reader(library, pairs), pairs)


def visible_documents(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return the versions of a symbol whose documents are there, pruned ones included, newest first."""
    present = list(visible.numbers(library, symbol))
    loaded = IO.map(lambda number: visible.find_visible(library, symbol, number), present, at_once=PARALLEL_DOCUMENTS)
    return [version for version in loaded if version is not None]


def _read_many(library: OpenLibrary, pairs: Sequence[tuple[str, int]]) -> list[Version | None]:
    return IO.map(visible.reader(library, pairs), pairs, at_once=PARALLEL_DOCUMENTS)


def snapshot_names(library: OpenLibrary) -> list[str]:
    """Return the names of all snapshots, sorted."""
    keys = [entry.key for entry in library.objects.list(library.layout.snapshots)]
    return sorted(library.layout.parse_snapshot(key) for key in keys)


def read_snapshot(library: OpenLibrary, name: str, *, around: str | None = None) -> Snapshot:
    """Return a snapshot with all ``versions``, read afresh: a name can be deleted and made again.

    ``around``: a symbol; of a large snapshot then only the file that has it, if any does, is read.
    Raises NoSuchSnapshot, and Integrity where a file of it is missing or damaged.
    """
    while True:
        snapshot = snapshot_document(library, name)
        files = snapshot.files
        if around is not None:
            files = files[max(bisect_right(files, around, key=attrgetter("first")) - 1, 0) :][:1]
        try:
            parts = IO.map(partial(_read_file, library), files, at_once=PARALLEL_DOCUMENTS)
        except NoSuchKey as error:  # deleted while we read, or lost
            if snapshot_document(library, name).write_id != snapshot.write_id:
                continue
            raise Integrity(
                f"a file of snapshot {name!r} of library {library.name!r} is missing ({error}): "
                "recover() brings back what it can"
            ) from error
        versions = {symbol: number for part in parts for symbol, number in part.items()}
        if len(versions) != sum(file.rows for file in files):
            raise Integrity(f"the files of snapshot {name!r} of library {library.name!r} have a symbol twice")
        return replace(snapshot, versions=versions, files=()) if files else snapshot


def _read_file(library: OpenLibrary, file: SnapshotFile) -> dict[str, int]:
    return snapshot_files.decode(library.objects.read(library.layout.root + file.key), file)


def snapshot_document(library: OpenLibrary, name: str) -> Snapshot:
    """Return a snapshot as its document has it: a large one with ``files``. Raises NoSuchSnapshot."""
    key = library.layout.snapshot(name)
    try:
        data = library.objects.read(key)
    except NoSuchKey as error:
        names = snapshot_names(library)
        raise NoSuchSnapshot(
            f"library {library.name!r} has no snapshot {name!r}.{nearest(name, names)} It has {len(names)}: "
            "list_snapshots() shows them"
        ) from error
    snapshot = documents.Snapshot.load(data, where=f"{library.objects.url} {key}")
    if snapshot.name != name:
        raise Integrity(f"the snapshot document {key} belongs to another library or name: it was copied or moved")
    if snapshot.library_id != library.library_id:
        library.check_present(at_once=True)
        raise NoSuchSnapshot(
            f"snapshot {name!r} belongs to another library {library.name!r}, deleted since: delete_snapshot({name!r}) "
            "removes what is left of it"
        )
    return snapshot


def snapshots(
    library: OpenLibrary,
    *,
    all_or_none: bool = False,
    read: Callable[[OpenLibrary, str], Snapshot] = read_snapshot,
) -> list[Snapshot]:
    """Return all snapshots, sorted by name; one that cannot be read is warned of, or raised if ``all_or_none``.

    ``read``: ``snapshot_document`` where what they hold does not matter.
    """

    def load(name: str) -> Snapshot | None:
        try:
            return read(library, name)
        except NoSuchSnapshot:
            return None  # deleted while we listed

    names = snapshot_names(library)
    if all_or_none:
        return [found for found in IO.map(load, names, at_once=PARALLEL_DOCUMENTS) if found is not None]
    return unreadable.read_all(load, names)


def holders(library: OpenLibrary, *, all_or_none: bool = False) -> dict[tuple[str, int], list[str]]:
    """Return the names of the snapshots that hold each (symbol, number), read afresh; as ``snapshots`` has them."""
    found: dict[tuple[str, int], list[str]] = {}
    for snapshot in snapshots(library, all_or_none=all_or_none):
        for pair in snapshot.versions.items():
            found.setdefault(pair, []).append(snapshot.name)
    return found
