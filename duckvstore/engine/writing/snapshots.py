"""Snapshots: named, consistent sets of versions.

A snapshot document is created once and never edited; the versions it names were the newest ones at
one moment, unless the caller named others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from msgspec import structs

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library.create_once import create_document
from duckvstore.engine.reading import catalogue, cuts, listings
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    Integrity,
    NoSuchKey,
    NoSuchSymbol,
    NoSuchVersion,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
    nearest,
)
from duckvstore.format.stored import snapshot_files
from duckvstore.format.stored.documents import Snapshot
from duckvstore.format.stored.layout import check_unreserved
from duckvstore.format.stored.snapshot_files import SnapshotFile

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary


def create(
    library: OpenLibrary,
    name: str,
    *,
    metadata: Any = None,
    skip_symbols: Collection[str] = (),
    versions: Mapping[str, int] | None = None,
    author: str | None = None,
    message: str | None = None,
) -> Snapshot:
    """Create a snapshot of the newest version of every live symbol, or of ``versions`` exactly.

    Raises AlreadyExists (taken name), InvalidInput (a name that SQL reserves), NoSuchSymbol or NoSuchVersion (of
    ``versions`` or ``skip_symbols``).
    """
    age = clock.Stopwatch()
    check_unreserved(name, "snapshot")
    key = library.layout.snapshot(name)
    looking = IO.submit(_is_taken, library, key)  # saves the work where it is; that it is not, the create finds out
    looking_for_library = IO.submit(library.check_present)
    library.look_at_options()  # for the limit of time
    try:
        chosen = _named(library, versions) if versions is not None else _newest(library, skip_symbols)
    finally:  # whatever else is wrong, too
        if looking.result():
            raise _taken(library, name)
        looking_for_library.result()
    snapshot = Snapshot(
        library_id=library.library_id,
        name=name,
        write_id=clock.new_id(),
        created_at=library.objects.now(),
        versions=dict(sorted(chosen.items())),
        metadata=metadata,
        author=author,
        message=message,
    )
    document = _with_files(library, snapshot)
    if age.elapsed_seconds() > library.grace_seconds / 2:  # also of the files
        raise Conflict(f"snapshot {name!r} took longer than half the grace period to collect: repeat the call")
    if not create_document(library.objects, key, document, f"snapshot {name!r} of {library.name!r}"):
        raise _taken(library, name)
    return snapshot


def _with_files(library: OpenLibrary, snapshot: Snapshot) -> Snapshot:
    """Return a large snapshot with its versions put in files, and a small one as it is."""
    if len(structs.replace(snapshot, metadata=None).dump()) <= snapshot_files.INLINE_BYTES_MAX:
        return snapshot

    def put(made: tuple[str, int, bytes]) -> SnapshotFile:
        first, rows, data = made
        key = library.layout.snapshot_file(snapshot.name, library.objects.now(), clock.short_id())
        library.objects.put(library.layout.root + key, data)
        return SnapshotFile(key, rows, len(data), hashlib.sha256(data).hexdigest(), first)

    files = IO.map(put, list(snapshot_files.encoded(snapshot.versions)), at_once=PARALLEL_DOCUMENTS)
    return structs.replace(snapshot, versions={}, files=tuple(files))


def _is_taken(library: OpenLibrary, key: str) -> bool:
    return any(entry.key == key for entry in library.objects.list(key, limit=1))


def _newest(library: OpenLibrary, skip_symbols: Collection[str]) -> dict[str, int]:
    names = listings.symbol_names(library) if skip_symbols else []
    for skipped in skip_symbols:
        if skipped not in names:
            raise NoSuchSymbol(
                f"skip_symbols names {skipped!r}, which library {library.name!r} does not have."
                f"{nearest(skipped, names)} list_symbols() shows what there is"
            )
    try:
        numbers = cuts.cut_of_all(library, skip_symbols)
    except (Integrity, Unsupported) as error:
        raise type(error)(f"{error}; skip_symbols=[…] makes a snapshot without a symbol") from error
    return numbers


def _named(library: OpenLibrary, versions: Mapping[str, int]) -> dict[str, int]:
    def check(item: tuple[str, int]) -> tuple[str, int]:
        symbol, as_of = item
        return symbol, catalogue.resolve_to_refer(library, symbol, as_of).number

    try:
        return dict(IO.map(check, versions.items(), at_once=PARALLEL_DOCUMENTS))
    except NoSuchVersion as error:
        raise NoSuchVersion(f"cannot be snapshotted: {error}") from error


def delete(library: OpenLibrary, name: str) -> None:
    """Delete a snapshot, which frees its hold on versions. Raises NoSuchSnapshot, OutcomeUnknown."""
    key = library.layout.snapshot(name)
    try:
        library.objects.read(key, length=1)
    except NoSuchKey:
        catalogue.snapshot_document(library, name)
    try:
        failures = library.objects.delete([key])
    except AccessDenied:
        raise
    except StorageUnavailable as error:  # the server may have done it, and its answer was lost
        raise OutcomeUnknown(
            f"{library.objects.url} gave no definite answer to deleting snapshot {name!r} of library {library.name!r}: "
            "it may or may not be there; look with list_snapshots() before repeating the call"
        ) from error
    if failures:
        raise StorageUnavailable(
            f"snapshot {name!r} of library {library.name!r} could not be deleted ({failures[0].reason}): "
            "repeat the call"
        )


def _taken(library: OpenLibrary, name: str) -> AlreadyExists:
    return AlreadyExists(
        f"library {library.name!r} already has a snapshot {name!r}; snapshots are never edited: choose another name, "
        f"or delete_snapshot({name!r}) first"
    )
