"""Folding by itself: a handle that has written much looks, on another thread, whether there is much to fold.

Nothing rests on it. What it does is bounded, tried once and silent: what fails is logged, and tried again after as many
commits; not again by a handle that lacks the rights.
"""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING
from weakref import ref

from duckvstore import clock, forks, telemetry
from duckvstore.concurrency import IO
from duckvstore.engine.maintenance import fold
from duckvstore.engine.reading import folded
from duckvstore.errors import AccessDenied, DuckVStoreError

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.maintenance.reports import FoldReport

LOOK_EVERY = 100  # commits
INTENTS_MIN = 200  # each of which may cost a listing a request
INTENTS_MAX = 5_000  # so that it is done in seconds, for which the interpreter waits at its exit
FIRST_DOCUMENTS_MIN = 1_000  # of fewer, a listing takes a single request
FIRST_DOCUMENTS_MAX = 20_000


def attach(library: OpenLibrary) -> None:
    """Have ``library`` folded when it needs it, after the commits of this handle."""
    library.after_commit = _Automatic(library).after_commit


class _Automatic:
    """What a handle knows of its own commits since it last looked."""

    def __init__(self, library: OpenLibrary) -> None:
        self._library = ref(library)  # which has this
        self._looked_at = 0
        self._is_refused = False
        self._running = forks.lock()

    def after_commit(self) -> None:
        """Look on another thread, if it is time. Makes no request here, and raises nothing."""
        library = self._library()
        if library is None or self._is_refused or not self._is_time(library):
            return
        self._looked_at = library.intent_count
        # In an empty context: what a caller traces are its own requests.
        Context().run(IO.submit, self._look, library)

    def _is_time(self, library: OpenLibrary) -> bool:
        new = library.intent_count - self._looked_at
        # Of processes that write a little each, one comes to look: in a library that folds already.
        return new >= LOOK_EVERY or (library.is_known_as_folded and clock.part_of(LOOK_EVERY) < 1)

    def _look(self, library: OpenLibrary) -> None:
        if not self._running.acquire(blocking=False):
            return
        try:
            report = look(library)
        except AccessDenied as error:
            self._is_refused = True
            _tell(library, f"is not allowed: {error}", reason=type(error).__name__)
        except (DuckVStoreError, OSError) as error:
            _tell(library, f"failed, and is tried again later: {error}", reason=type(error).__name__)
        else:
            if report is not None:
                self._is_refused = bool(report.failures)
                _tell(library, f"made generation {report.generation}", folded_documents=report.folded_documents)
        finally:
            self._running.release()


def after_collection(library: OpenLibrary, document_count: int) -> None:
    """Fold a library for the first time that has many documents, all of which a collection has just read."""
    if not library.options.auto_fold or document_count < FIRST_DOCUMENTS_MIN:
        return
    try:
        report = fold.fold(library)
    except DuckVStoreError as error:  # the collection is done
        _tell(library, f"failed: {error}", reason=type(error).__name__)
    else:
        _tell(library, f"made generation {report.generation}", folded_documents=report.folded_documents)


def _tell(library: OpenLibrary, what: str, **details: object) -> None:
    telemetry.tell(logging.INFO, "fold", f"folding library {library.name!r} {what}", library=library.name, **details)


def look(library: OpenLibrary) -> FoldReport | None:
    """Fold if it is worth it and the library may be folded by itself; None: it was not. Raises as ``fold``."""
    if not library.options.auto_fold:
        return None
    layout = library.layout
    if library.is_known_as_folded:
        if not _has(library, layout.journal, INTENTS_MIN):
            return None
        report = fold.fold_some(library, INTENTS_MAX)
        if report is not None or folded.newest_number(library) >= 0:
            return report
    # The first fold, or one that was given up, reads all documents.
    is_worth_it = _has(library, layout.versions, FIRST_DOCUMENTS_MIN)
    return fold.fold(library) if is_worth_it and not _has(library, layout.versions, FIRST_DOCUMENTS_MAX + 1) else None


def _has(library: OpenLibrary, prefix: str, least: int) -> bool:
    return sum(1 for _ in library.objects.list(prefix, limit=least)) >= least
