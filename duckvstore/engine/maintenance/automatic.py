"""Folding by itself: a handle that has written much looks, on another thread, whether there is much to fold.

Nothing rests on it. What it does is bounded, tried once and silent: what fails is logged, and tried again after as many
commits; not again by a handle that lacks the rights. It is given up when the interpreter exits, or the library is
deleted by this process: up to the create that publishes, a fold changes nothing.
"""

from __future__ import annotations

import atexit
import logging
from contextvars import Context
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from duckvstore import clock, forks, telemetry
from duckvstore.concurrency import IO
from duckvstore.engine.library import options
from duckvstore.engine.maintenance import fold
from duckvstore.engine.reading import folded
from duckvstore.errors import AccessDenied, DuckVStoreError

if TYPE_CHECKING:
    from duckvstore.concurrency import Task
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.maintenance.reports import FoldReport

LOOK_EVERY = 100  # commits
INTENTS_MIN = 200  # each of which may cost a listing a request
INTENTS_MAX = 5_000
BYTES_MAX = 64 * 2**20  # of documents; several times that is in memory
FIRST_DOCUMENTS_MIN = 1_000  # of fewer, a listing takes a single request
FIRST_DOCUMENTS_MAX = 20_000
AT_ONCE = 8  # requests beside the caller's
EXIT_SECONDS = 3.0  # for which the interpreter's exit waits


def attach(library: OpenLibrary) -> None:
    """Have ``library`` folded when it needs it, after the commits of its handles."""
    if library.automatic is None:
        library.automatic = Automatic(library)


class Automatic(forks.Follower):
    """What an open library knows of its own commits since it was last looked at."""

    def __init__(self, library: OpenLibrary) -> None:
        """Do nothing yet."""
        self._library = ref(library)  # which has this
        self._looked_at = 0
        self._is_refused = False
        self.start_over()
        forks.follow(self)
        _ALL.add(self)

    def start_over(self) -> None:
        """Have no fold under way: a forked child has none."""
        self._running = forks.lock()
        self._task: Task[None] | None = None
        self._is_told_to_end = False

    def after_commit(self) -> None:
        """Look on another thread, if it is time. Makes no request here, and raises nothing."""
        library = self._library()
        if library is None or self._is_refused or self._is_told_to_end or not self._is_time(library):
            return
        if not self._running.acquire(blocking=False):
            return
        self._looked_at = library.intent_count
        # In an empty context: what a caller traces are its own requests.
        self._task = Context().run(IO.submit, self._look, library)

    def end(self, seconds: float = -1) -> None:
        """Wait so long for a fold that is under way (-1: for ever), and have it given up."""
        task = self._task
        if task is None:
            return
        if seconds >= 0:
            task.wait(seconds)
        self._is_told_to_end = True
        if not task.cancel():
            task.wait()

    def is_of(self, url: str, name: str) -> bool:
        """Return whether it looks after the library of this name."""
        library = self._library()
        return library is not None and (library.objects.url, library.name) == (url, name)

    def _is_time(self, library: OpenLibrary) -> bool:
        new = library.intent_count - self._looked_at
        # Of processes that write a little each, one comes to look: in a library that folds already.
        return new >= LOOK_EVERY or (library.is_known_as_folded and clock.part_of(LOOK_EVERY) < 1)

    def _look(self, library: OpenLibrary) -> None:
        try:
            report = look(library, self._manner())
        except AccessDenied as error:
            self._is_refused = True
            _tell(library, f"is not allowed: {error}", reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            _tell(library, f"failed, and is tried again later: {error}", reason=type(error).__name__)
        else:
            if report is not None:
                self._is_refused = bool(report.failures) and not report.removed_intents
                _tell(library, f"made generation {report.generation}", folded_documents=report.folded_documents)
        finally:
            self._running.release()

    def _manner(self) -> fold.Manner:
        return fold.Manner(INTENTS_MAX, BYTES_MAX, AT_ONCE, shows_progress=False, is_told_to_end=self._asked_to_end)

    def _asked_to_end(self) -> bool:
        return self._is_told_to_end


_ALL: WeakSet[Automatic] = WeakSet()


def end_folds_of(url: str, name: str) -> None:
    """Have this process give up what it folds by itself in a library that is about to be deleted."""
    for each in forks.copied(_ALL):
        if each.is_of(url, name):
            each.end()


def _end_all() -> None:
    watch = clock.Stopwatch()
    for each in forks.copied(_ALL):
        each.end(max(0.0, EXIT_SECONDS - watch.elapsed_seconds()))


# After the pools were made, so that this is called before they are closed, while their threads can still help.
atexit.register(_end_all)


def after_collection(library: OpenLibrary, document_count: int) -> None:
    """Fold a library for the first time that has many documents, all of which a collection has just read."""
    if not library.options.auto_fold or document_count < FIRST_DOCUMENTS_MIN:
        return
    try:
        report = fold.fold(library)
    except (DuckVStoreError, OSError) as error:  # the collection is done
        _tell(library, f"failed: {error}", reason=type(error).__name__)
    else:
        _tell(library, f"made generation {report.generation}", folded_documents=report.folded_documents)


def _tell(library: OpenLibrary, what: str, **details: object) -> None:
    telemetry.tell(logging.INFO, "fold", f"folding library {library.name!r} {what}", library=library.name, **details)


def look(library: OpenLibrary, manner: fold.Manner) -> FoldReport | None:
    """Fold if it is worth it and the library may be folded by itself; None: it was not. Raises as ``fold``."""
    if not library.options.auto_fold:
        return None
    if library.is_known_as_folded:
        intents = sum(1 for _ in library.objects.list(library.layout.journal, limit=INTENTS_MIN))
        if intents < INTENTS_MIN:
            return None
        report = fold.fold_some(library, manner)
        if report is not None or folded.look(library) is not None:  # another was first
            return report
    # The first fold, or one that was given up, or a catalogue that is not believed: all documents are read.
    listed = library.objects.list(library.layout.versions, limit=FIRST_DOCUMENTS_MAX + 1)
    sizes = [entry.size_bytes or 0 for entry in listed]
    if not FIRST_DOCUMENTS_MIN <= len(sizes) <= FIRST_DOCUMENTS_MAX or sum(sizes) > BYTES_MAX:
        return None  # of more gc does it, which reads all of them anyway
    _check_rights(library)
    return fold.fold(library, manner=manner._replace(intents_max=None))


def _check_rights(library: OpenLibrary) -> None:
    """Raise AccessDenied before the options say that the library folds, where this process may not do it."""
    if options.is_folded(library):
        return
    key = library.layout.catalogue_key(library.layout.catalogue_file(library.objects.now(), clock.short_id()))
    library.check_present(at_once=True)
    library.objects.put(key, b"")
    failures = library.objects.delete([key])
    if failures:
        raise AccessDenied(f"{key} could not be deleted: {failures[0].reason}")
