"""Long lists of labels, stored beside the document that names them.

The runs that a new version shares are in the version it is built on, so the commit's time limit protects them as
it does segments; its own runs are put before its document is created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.concurrency import IO
from duckvstore.format.stored import documents, label_runs
from duckvstore.format.stored.label_runs import LabelRun

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Schema, Version


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
    IO.map(upload, made)
    own.extend(made)
    return body, tuple(runs)
