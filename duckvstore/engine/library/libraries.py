"""Libraries of a store: found, made, opened and removed.

``library.json`` is created last and deleted first, so a library exists as a whole or not at all; segments
in an object store of their own belong to one library, which their owner document names.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, TypeAlias

from duckvstore import clock
from duckvstore.concurrency import IO
from duckvstore.engine.library.create_once import create_document, create_once
from duckvstore.engine.library.open_library import OpenLibrary
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    Integrity,
    NoSuchKey,
    NoSuchLibrary,
    StorageUnavailable,
    Unsupported,
    nearest,
)
from duckvstore.format.stored import documents, records
from duckvstore.format.stored.layout import Layout, check_unreserved, library_root, unescape
from duckvstore.format.stored.options import Options
from duckvstore.objects import self_test
from duckvstore.objects.base import DeleteFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.objects.base import DeleteFailures, ObjectStore

OpenSegments: TypeAlias = "Callable[[str], ObjectStore]"

DELETE_SWEEPS = 8


def list_libraries(objects: ObjectStore) -> list[str]:
    """Return the names of the libraries of a store, sorted."""
    folders = [entry.key for entry in objects.list("", folders=True) if entry.size_bytes is None]

    def has_document(folder: str) -> bool:
        return any(entry.key == f"{folder}library.json" for entry in objects.list(f"{folder}library.json", limit=1))

    libraries = compress(folders, IO.map(has_document, folders))
    return sorted(unescape(folder.removesuffix("/")) for folder in libraries)


def open_library(objects: ObjectStore, name: str, open_segments: OpenSegments | None = None) -> OpenLibrary:
    """Return a library that exists; ``open_segments`` returns the object store at the URL of its segments.

    Raises NoSuchLibrary naming the nearest ones.
    """
    key = Layout(library_root(name)).library
    try:
        document = documents.Library.load(objects.read(key), where=f"{objects.url} {key}")
    except NoSuchKey as error:
        try:
            names = list_libraries(objects)
        except AccessDenied:  # who may read a library need not be allowed to list them; any other error says more
            names = []
        there_are = f"It has {', '.join(map(repr, names[:10]))}" if names else "It has no libraries"
        raise NoSuchLibrary(
            f"{objects.url} has no library {name!r}.{nearest(name, names)} {there_are}"
            f"{f' and {len(names) - 10} more' if len(names) > 10 else ''}. "
            f"Make it with create_library({name!r}) or get_library({name!r}, create_if_missing=True)"
        ) from error
    if document.name != name:
        raise Integrity(
            f"the document {key} of {objects.url} says that it is library {document.name!r}: it was copied or moved; "
            "give it back its name"
        )
    return OpenLibrary(objects, document, _segment_objects(objects, document, open_segments))


def _segment_objects(
    objects: ObjectStore, document: documents.Library, open_segments: OpenSegments | None
) -> ObjectStore | None:
    if document.segments_url is None:
        return None
    if open_segments is None:
        raise Unsupported(
            f"library {document.name!r} of {objects.url} keeps its segments at {document.segments_url}: open it "
            "through duckvstore.open()"
        )
    return open_segments(document.segments_url)


def create_library(
    objects: ObjectStore,
    name: str,
    *,
    segments_url: str | None = None,
    open_segments: OpenSegments | None = None,
) -> OpenLibrary:
    """Make a library, after a test that the object store creates conditionally.

    ``segments_url``: keep segments and manifests there, and documents here. Raises AlreadyExists, InvalidInput for a
    name that SQL reserves, Unsupported when an object store fails the test, and Conflict while there are remains of a
    deleted library of that name (they would be mixed with the new one) or the place for the segments has another owner.
    """
    check_unreserved(name, "library")
    key = Layout(library_root(name)).library
    self_test(objects)
    _refuse_remains(objects, name)
    document = documents.Library(clock.new_id(), name, clock.new_id(), objects.now(), segments_url)
    segment_objects = _segment_objects(objects, document, open_segments)
    if segment_objects is not None:
        self_test(segment_objects)
        if next(objects.list(key, limit=1), None) is None:
            _claim(segment_objects, objects, document)
    if not create_document(objects, key, document, f"library {name!r}"):
        if segment_objects is not None:  # the first one has its own owner document
            _release(segment_objects, document)
        raise AlreadyExists(f"{objects.url} already has a library {name!r}: open it with get_library({name!r})")
    library = OpenLibrary(objects, document, segment_objects)
    library.use_options(Options())
    return library


def _claim(segment_objects: ObjectStore, objects: ObjectStore, document: documents.Library) -> None:
    """Create the owner document of a place for segments; raises Conflict when it is another library's."""
    key = Layout(library_root(document.name)).owner
    owner = records.Owner(document.library_id, document.name, objects.url)
    if create_once(segment_objects, key, owner.dump(), f"owner of {segment_objects.url}"):
        return
    found = records.Owner.load(segment_objects.read(key), where=f"{segment_objects.url} {key}")
    raise Conflict(
        f"{segment_objects.url} already keeps the segments of library {found.name!r} at {found.documents_url}: give "
        "segments_url another folder, or delete_library() that one"
    )


def _release(segment_objects: ObjectStore, document: documents.Library) -> None:
    key = Layout(library_root(document.name)).owner
    try:
        found = records.Owner.load(segment_objects.read(key), where=key)
    except NoSuchKey:
        return
    if found.library_id == document.library_id:
        segment_objects.delete([key])


def check_owner(library: OpenLibrary) -> None:
    """Raise Conflict unless the segments in a store of their own are this library's.

    A copied bucket of documents must not delete the original's segments.
    """
    if not library.is_hybrid:
        return
    key = library.layout.owner
    where = f"{library.segment_objects.url} {key}"
    try:
        owner = records.Owner.load(library.segment_objects.read(key), where=where)
    except NoSuchKey as error:
        raise Conflict(f"{where} is missing, so nobody owns these segments: nothing is deleted there") from error
    if (owner.library_id, owner.documents_url) != (library.library_id, library.objects.url):
        raise Conflict(
            f"{where} says that the segments belong to library {owner.name!r} at {owner.documents_url}, not to "
            f"{library.name!r} at {library.objects.url}: nothing is deleted there"
        )


def _refuse_remains(objects: ObjectStore, name: str) -> None:
    root = library_root(name)
    key = Layout(root).library
    if next(objects.list(root, limit=1), None) is None or next(objects.list(key, limit=1), None) is not None:
        return  # nothing is there, or a library is, which the create finds out
    raise Conflict(
        f"{objects.url} still has objects of a library {name!r} that is being deleted, or was in part: finish it with "
        f"delete_library({name!r}), then make it again"
    )


def delete_library(objects: ObjectStore, name: str, open_segments: OpenSegments | None = None) -> None:
    """Remove a library with everything in it: its own document first, so that no reader finds it half gone.

    What writers that had begun before still add is swept up too.

    Raises NoSuchLibrary, Conflict (its segments belong to another library) and StorageUnavailable naming what could
    not be deleted (repeat the call).
    """
    root = library_root(name)
    layout = Layout(root)
    if not any(True for _ in objects.list(root, limit=1)):
        open_library(objects, name)  # raises, unless the library is there although nothing is listed
        raise _listed_too_little(objects, layout.library)
    elsewhere = _segments_to_delete(objects, layout, open_segments)
    failures = objects.delete([layout.library])
    if elsewhere is not None:
        failures = failures or _sweep(elsewhere, root, None)
    failures = failures or _sweep(objects, root, layout.library)
    if failures:
        raise StorageUnavailable(
            f"{len(failures)} objects of library {name!r} could not be deleted, the first is {failures[0].key!r} "
            f"({failures[0].reason}): repeat delete_library({name!r})"
        )


def _segments_to_delete(objects: ObjectStore, layout: Layout, open_segments: OpenSegments | None) -> ObjectStore | None:
    """Return the store of segments alone that is to be swept too, once a copy of the library's document is safe.

    The copy tells a repeated deletion where the segments are, after the document itself is gone.
    """
    for key in (layout.library, layout.deleting):
        try:
            data = objects.read(key)
        except NoSuchKey:
            continue
        document = documents.Library.load(data, where=f"{objects.url} {key}")
        if document.segments_url is None:
            return None
        library = OpenLibrary(objects, document, _segment_objects(objects, document, open_segments))
        if next(library.segment_objects.list(layout.root, limit=1), None) is None:
            try:
                library.segment_objects.read(layout.owner)
            except NoSuchKey:
                return None
            raise _listed_too_little(library.segment_objects, layout.owner)
        check_owner(library)
        objects.put(layout.deleting, data)
        return library.segment_objects
    return None


def _listed_too_little(objects: ObjectStore, key: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"{objects.url}: a listing shows nothing, although {key} is there, so nothing was deleted: something on the "
        "way to the store may answer in its place; see to that, then repeat delete_library()"
    )


def _sweep(objects: ObjectStore, root: str, document: str | None) -> DeleteFailures:
    """Delete what is listed until two listings in a row show nothing; return what could not be deleted."""
    empty_count = 0
    remains: list[str] = []
    for _ in range(DELETE_SWEEPS):
        remains = [entry.key for entry in objects.list(root)]
        if document in remains:  # made again: what is there now is another library's
            return []
        empty_count = 0 if remains else empty_count + 1
        if empty_count == 2:
            return []
        failures = objects.delete(remains) if remains else []
        if failures:
            return failures
    return [DeleteFailure(key, "something keeps writing, or listings do not show all") for key in remains[:1]]
