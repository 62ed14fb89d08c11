"""Options of a library, as stored: the newest document wins.

Documents are created once and never edited, so every reader sees a change, and two simultaneous changes cannot both
be number ``n``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library.create_once import create_document
from duckvstore.errors import Conflict, NoSuchKey
from duckvstore.format.stored import options as format_options
from duckvstore.format.stored.options import Options, OptionsDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckvstore.engine.library.open_library import OpenLibrary


def documents(library: OpenLibrary) -> list[OptionsDocument]:
    """Return every options document of this library, newest first."""

    def load(key: str) -> OptionsDocument | None:
        try:
            found = OptionsDocument.load(library.objects.read(key), where=f"{library.objects.url} {key}")
        except NoSuchKey:  # the library is being deleted
            return None
        return found if found.library_id == library.library_id else None

    keys = [entry.key for entry in library.objects.list(library.layout.options)]
    return [found for found in IO.map(load, keys, at_once=PARALLEL_DOCUMENTS) if found is not None]


def change(library: OpenLibrary, changes: Mapping[str, Any], *, is_folded: bool = False) -> Options:
    """Store changed options and return them; ``is_folded``: and say that the catalogue is folded, from now on.

    Raises InvalidInput for an option that is not known or not valid, Unsupported for one that the object
    store cannot do, and Conflict when another was first.
    """
    library.check_present()
    newest = next(iter(documents(library)), None)
    is_folded = is_folded or (newest is not None and newest.is_folded)
    options = format_options.changed(newest.options if newest else Options(), changes)
    library.segment_objects.stored_as(format_options.parameters_of(options)[1])  # refuses what it cannot do
    if newest is not None and newest.options == options and newest.is_folded == is_folded:
        library.use_options(options, is_folded=is_folded)
        return options
    number = 0 if newest is None else newest.number + 1
    now = library.objects.now()
    document = OptionsDocument(library.library_id, number, clock.new_id(), now, asdict(options), is_folded)
    key = library.layout.option(number)
    if not create_document(library.objects, key, document, f"options {number} of library {library.name!r}"):
        raise Conflict(f"the options of library {library.name!r} were changed by another writer: look, then repeat")
    library.use_options(options, is_folded=is_folded)
    return options


def is_folded(library: OpenLibrary) -> bool:
    """Return whether the library's catalogue is folded, read afresh."""
    return any(found.is_folded for found in documents(library)[:1])


def grace_in_force(library: OpenLibrary) -> float:
    """Return for how many seconds what was condemned must be kept now, read afresh.

    A lowered grace counts only after the old one has run out: calls that began under it may still add references.
    """
    found = documents(library)
    now = library.objects.now()
    graces = [(found[0].options if found else Options()).grace_seconds]
    replaced = [*[document.options.grace_seconds for document in found[1:]], Options().grace_seconds]
    for document, old_grace in zip(found, replaced, strict=False):
        if (now - document.changed_at).total_seconds() < old_grace:
            graces.append(old_grace)
    return max(graces)
