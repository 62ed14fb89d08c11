"""Long lists of labels, put beside the document that names them and read again.

Invariant: what a version is about to name of others' runs stands in the version that it is built on, so that the
commit's time limit keeps it as it keeps segments; its own runs are put before its document is created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.errors import Integrity, NoSuchKey
from duckvstore.format.stored import documents, label_runs
from duckvstore.format.stored.label_runs import LabelRun

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Schema, Version


def load(library: OpenLibrary, run: LabelRun) -> list[Any]:
    """Return the labels of a run. Raises Integrity when it is missing or damaged."""
    key = library.layout.manifest_key(run.key)
    try:
        return label_runs.decode(library.segment_objects.read(key), run)
    except NoSuchKey as error:
        raise Integrity(
            f"the labels in {key} of {library.segment_objects.url} are missing, although a version of library "
            f"{library.name!r} refers to them: restore it from a backup, or read another version"
        ) from error


def put(
    library: OpenLibrary, symbol: str, schema: Schema, base: Version | None, own: list[LabelRun]
) -> tuple[dict[str, Any], tuple[LabelRun, ...]]:
    """Put the long lists of labels in ``schema`` that neither ``base`` nor ``own`` has.

    Returns the schema's JSON as the new document is to have it, and the runs that this names: all that the version may
    say it names. ``base``: the version that the new one is created above. ``own``: the runs that this call
    has put, which grows.
    """
    made: list[LabelRun] = []

    def stored(items: list[Any]) -> LabelRun:
        key = library.layout.manifest(symbol, clock.short_id())
        made.append(LabelRun(key, len(items), label_runs.digest(items), items))
        return made[-1]

    def upload(run: LabelRun) -> None:
        library.segment_objects.put(library.layout.manifest_key(run.key), label_runs.encode(run.items))

    known = [*(base.label_runs if base is not None else ()), *own]
    body, runs = label_runs.folded(documents.schema_to_json(schema), known, stored)
    library.in_parallel(upload, made)
    own.extend(made)
    return body, tuple(runs)
