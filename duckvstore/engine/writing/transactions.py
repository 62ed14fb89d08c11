"""Transactions: one document per symbol, which one decision makes visible, all together.

The decision "committed" is created only after every document is acknowledged, and each of them follows
directly what this transaction began from. Until then readers see nothing of it, and whatever fails leaves nothing
visible. The argument over interleavings is in FORMAT.md, "Transactions".
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from duckvstore import clock, forks, telemetry
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS, Task
from duckvstore.engine.library import labels
from duckvstore.engine.library.create_once import create_once
from duckvstore.engine.library.heads import Head
from duckvstore.engine.reading import visible
from duckvstore.engine.reading.call_segments import Uploads
from duckvstore.engine.writing import commits
from duckvstore.errors import (
    Conflict,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    OutcomeUnknown,
    StorageUnavailable,
)
from duckvstore.format.stored import documents
from duckvstore.format.stored.documents import Decision

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Call, Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version

# Unlike a commit of one symbol, a transaction does not plan again: an older head would be a needless Conflict.
REMEMBERED_SECONDS = 5.0


@dataclass(slots=True)
class _Pin:
    """A symbol in a transaction: the head that it began from, and what the edits make of it.

    ``is_proved``: whether ``head`` was read within the transaction, and at a moment at which every other pin held.
    ``uploads``: the segments of the edits, and ``announced`` the intent, on their way to the object store.
    """

    head: Head
    is_proved: bool = False
    call: Call | None = None
    draft: Draft | None = None
    version: Version | None = None
    operations: set[str] = field(default_factory=set)
    uploads: list[Uploads] = field(default_factory=list)
    announced: Task[None] | None = None

    def wait(self) -> None:
        """Wait for what its document is to name."""
        for uploads in self.uploads:
            uploads.wait()

    def cancel(self) -> None:
        """Let what is not on its way stay here."""
        for uploads in self.uploads:
            uploads.cancel()
        if self.announced is not None:
            self.announced.cancel()

    @property
    def state(self) -> Version | None:
        return self.version or self.head.newest


class Transaction:
    """One transaction over symbols of a library, for one commit. Safe to use from many threads.

    What it reads is of one moment (snapshot isolation). While it has read nothing, a symbol to write may be planned
    above a remembered head: the creates find out when that is stale.
    """

    def __init__(self, library: OpenLibrary, *, author: str | None = None, message: str | None = None) -> None:
        """Begin; makes no request. ``author`` and ``message`` are for edits that have none of their own."""
        self._library = library
        self._author = author
        self._message = message
        self._identity = clock.new_id()
        self._pins: dict[str, _Pin] = {}
        self._ages = [clock.Stopwatch()]  # of all that the documents may refer to
        self._lock = forks.rlock()
        self._ending = ""
        self._may_be_named = False  # whether a document that names this transaction may be there

    @property
    def is_over(self) -> bool:
        """Whether it was committed or rolled back, or failed to commit."""
        return bool(self._ending)

    def newest(self, symbol: str) -> Version | None:
        """Return the newest version of ``symbol`` as this transaction sees it: with its own edits, or as it began.

        The first touch reads the head (and settles it, as a commit does), and looks whether all that was touched
        before is still as it was: so there is one moment at which all of it was the newest. Raises Conflict where
        there is none.
        """
        with self._lock:
            self._check_open()
            pin = self._pins.get(symbol)
            if pin is None or not pin.is_proved:
                pin = self._prove(symbol)
            pin.wait()  # the caller reads it
            return pin.state

    def pinned(self) -> dict[str, Version | None]:
        """Return the newest version of each symbol that was touched, as this transaction sees it; asks for nothing."""
        with self._lock:
            self._check_open()
            for pin in self._pins.values():
                pin.wait()  # the caller reads them
            return {symbol: pin.state for symbol, pin in self._pins.items()}

    def apply(self, call: Call, plan: Plan) -> Version | None:
        """Plan an edit on what the transaction sees, and keep it for the commit; nothing but rows is stored.

        These are on their way afterwards, beside what the caller does next: whoever reads them waits, and the commit.
        Returns the version as it is to become, or the newest when ``plan`` returns None. Raises Conflict, and the
        errors of ``plan``: these, and None, rest on a head that was read within the transaction.
        """
        with self._lock:
            self._check_open()
            self._ages.append(call.age)
            self._library.look_at_options()
            self._announce(but=call.symbol)
            pin = self._pin_to_write(call)
            pin.wait()  # what was edited before may be read
            draft, uploads = None, Uploads()
            try:
                commits.check_expected(self._library, call, pin.state)
                with uploads.taking():
                    draft = plan(pin.state)
            except DuckVStoreError:
                if pin.is_proved:
                    raise
            if draft is None and not pin.is_proved:
                pin = self._prove(call.symbol)
                commits.check_expected(self._library, call, pin.state)
                with uploads.taking():
                    draft = plan(pin.state)
            if draft is not None:
                pin.uploads.append(uploads)
                self._pins[call.symbol] = pin
                self._edit(pin, call, draft)
            return pin.state

    def commit(self) -> list[Version]:
        """Make all edits visible together; return the versions in the order of their keys ([]: nothing was edited).

        Raises Conflict when another writer changed a symbol that this transaction edits, and whatever else fails:
        then nothing of it is ever visible. Raises OutcomeUnknown when it stays unknown whether it is committed.
        """
        with self._lock:
            self._check_open()
            self._ending = "committed"
            edited = {symbol: pin for symbol, pin in self._pins.items() if pin.draft is not None}
            if not edited:
                return []
            try:
                made = self._create_documents(edited)
                decision = self._decide(made)
            except BaseException as error:
                self._ending = "given up because its commit failed"
                reason = type(error).__name__
                text = f"transaction {self._identity} of library {self._library.name!r} is given up after {reason}"
                details = {"library": self._library.name, "transaction": self._identity, "reason": reason}
                telemetry.tell(logging.WARNING, "abort", text, **details)
                for symbol, pin in edited.items():
                    pin.cancel()
                    self._library.heads.forget(symbol)
                if isinstance(error, OutcomeUnknown):  # of the decision: only a look can tell
                    raise
                self._abort()
                raise
            committed = self._remember(made, decision)
        self._library.after_commit()
        return committed

    def rollback(self) -> None:
        """Give up what is not committed: nothing of it is ever visible. Does nothing after the end."""
        with self._lock:
            if not self.is_over:
                self._ending = "rolled back"
                for pin in self._pins.values():
                    pin.cancel()

    # -- before the commit ---------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.is_over:
            raise InvalidInput(
                f"this transaction of library {self._library.name!r} was {self._ending}: begin another one with "
                "transaction()"
            )

    def _pin_to_write(self, call: Call) -> _Pin:
        """Return the pin of a symbol to edit; a remembered head will do while nothing was read."""
        found = self._pins.get(call.symbol)
        if found is not None:
            return found
        if any(pin.is_proved for pin in self._pins.values()):
            return self._prove(call.symbol)
        head = self._library.heads.usable(call.symbol)
        if head is None or head.age.elapsed_seconds() > REMEMBERED_SECONDS:
            head = commits.settle(self._library, call.symbol, visible.head(self._library, call.symbol))
        self._ages.append(head.age)
        return _Pin(head)

    def _prove(self, symbol: str) -> _Pin:
        """Pin a symbol on its head as it is now, at a moment at which all other pins hold too."""
        library = self._library
        known = library.heads.known([symbol])  # from before the looks: FORMAT.md, Reads are of one moment
        others = [name for name in self._pins if name != symbol]
        first, *heads = IO.map(
            lambda name: visible.head(library, name),
            [symbol, *others] if known is not None else [symbol],
            at_once=PARALLEL_DOCUMENTS,
        )
        head = commits.settle(library, symbol, first)
        self._ages.append(head.age)
        pin = self._pins.get(symbol)
        if pin is not None:
            self._check_unmoved(symbol, pin, head)
        if known is None or _number(known[symbol]) != _number(head):
            # Those were pinned before the head above was read; where they are the same after it, they were then.
            heads = IO.map(lambda name: visible.head(library, name), others, at_once=PARALLEL_DOCUMENTS)
        for name, found in zip(others, heads, strict=True):
            self._check_unmoved(name, self._pins[name], found)
        self._pins[symbol] = pin or _Pin(head)
        for each in self._pins.values():
            each.is_proved = True
        return self._pins[symbol]

    def _check_unmoved(self, symbol: str, pin: _Pin, found: Head) -> None:
        pinned, newest = _number(pin.head), _number(found)
        if pinned != newest:
            raise Conflict(
                f"{self._library.label(symbol)} was changed by another writer since this transaction first used it "
                f"(expected {_named(pinned)} at the head, found {_named(newest)}), so nothing is committed: repeat the "
                "transaction from its beginning"
            )

    def _edit(self, pin: _Pin, call: Call, draft: Draft) -> None:
        """Make ``draft`` what the symbol is to become, as one version with the edits before it."""
        pin.operations.add(draft.operation)
        before = pin.draft
        if before is not None:
            operation = draft.operation if len(pin.operations) == 1 else "transaction"
            new_rows, new_bytes = before.new_rows + draft.new_rows, before.new_bytes + draft.new_bytes
            draft = replace(draft, operation=operation, new_rows=new_rows, new_bytes=new_bytes)
        known = pin.call or commits.Call(call.symbol, self._author, self._message)
        author = call.author if call.author is not None else known.author
        message = call.message if call.message is not None else known.message
        # A write id names what a version holds, and readers remember by it: each state has its own.
        pin.call = replace(known, author=author, message=message, write_id=clock.new_id())
        pin.draft, pin.announced = draft, None
        pin.version = commits.stamp(self._library, pin.call, draft, pin.head, self._identity)

    # -- the commit ----------------------------------------------------------------------------------------------

    def _announce(self, but: str | None = None) -> None:
        """Have the intents of all edited symbols put beside what follows, ``but`` for one that is edited again."""
        for symbol, pin in self._pins.items():
            if symbol != but and pin.call is not None and pin.announced is None:
                pin.announced = IO.submit(commits.announce, self._library, pin.call)

    def _create_documents(self, edited: dict[str, _Pin]) -> list[Version]:
        """Announce all, then create all, in the order of their keys: two transactions never wait for each other."""
        library = self._library
        self._check_age()
        try:
            self._announce()
            present = IO.submit(library.check_present)  # the intents may have been put long ago
            keys = sorted(edited, key=library.layout.symbol_versions)
            present.result()
            return [self._create_document(symbol, edited[symbol]) for symbol in keys]
        except OutcomeUnknown as error:  # it is known: without a decision nothing is visible
            raise StorageUnavailable(
                f"transaction {self._identity} of library {library.name!r} was given up, and nothing of it is visible, "
                f"because a document could not be created for certain: repeat it from its beginning. {error}"
            ) from error

    def _create_document(self, symbol: str, pin: _Pin) -> Version:
        if pin.call is None or pin.draft is None:
            raise AssertionError("only edited symbols have documents")  # unreachable: see commit
        # What this document needs is there before it; what later ones need may be on its way still.
        if pin.announced is not None:
            pin.announced.result()
        pin.wait()
        library, head = self._library, pin.head
        for _ in range(commits.COMMIT_ATTEMPTS_MAX):
            schema, runs = labels.put(library, symbol, pin.draft.schema, head.newest, pin.call.label_runs)
            self._check_age()
            version = commits.stamp(library, pin.call, pin.draft, head, self._identity)
            version = replace(version, label_runs=runs)
            was_named, self._may_be_named = self._may_be_named, True
            made = commits.create_document(library, version, schema)
            if made is not None:
                return made
            self._may_be_named = was_named
            # What took the number is a conflict, unless it is aborted.
            head = commits.settle(library, symbol, visible.head(library, symbol))
            self._check_unmoved(symbol, pin, head)
        raise Conflict(
            f"the number after version {version.number - 1} of {library.label(symbol)} was taken in each of "
            f"{commits.COMMIT_ATTEMPTS_MAX} attempts: repeat the transaction when fewer processes write this symbol"
        )

    def _check_age(self) -> None:
        if max(age.elapsed_seconds() for age in self._ages) > self._library.grace_seconds / 2:
            raise Conflict(
                f"this transaction of library {self._library.name!r} took longer than half the grace period, so what "
                "it refers to may be removed, and nothing is committed: repeat it from its beginning"
            )

    def _decide(self, made: list[Version]) -> Decision:
        library = self._library
        self._check_age()
        # Each document's time is later than those of all its predecessors, and so is the latest of them.
        decided_at = max(library.objects.now(), *(version.created_at for version in made))
        numbers = {version.symbol: version.number for version in made}
        decision = Decision(self._identity, "committed", decided_at, numbers)
        data = decision.dump()
        listed = ", ".join(f"{symbol} {number}" for symbol, number in numbers.items())
        what = f"the decision of transaction {self._identity} of library {library.name!r} (versions: {listed})"
        key = library.layout.transaction(self._identity)

        def is_own(found: bytes) -> bool:
            # Nobody else commits it. Half an answer must not be taken for another's decision, so it is parsed.
            return documents.Decision.load(found, where=key).outcome == "committed"

        try:
            is_committed = create_once(library.objects, key, data, what, is_own)
        except Integrity as error:
            raise OutcomeUnknown(f"{what} is there, but cannot be read: look before repeating it. {error}") from error
        if not is_committed:
            raise Conflict(
                f"transaction {self._identity} of library {library.name!r} was aborted by another writer, who waited "
                f"{commits.UNDECIDED_SECONDS_MAX:g} seconds for its commit: repeat it from its beginning"
            )
        return decision

    def _abort(self) -> None:
        """Spare the next writer its wait, if that can be done."""
        if self._may_be_named:
            with suppress(DuckVStoreError):  # the next writer does it then
                commits.abort(self._library, self._identity)

    def _remember(self, made: list[Version], decision: Decision) -> list[Version]:
        self._library.remember_decision(decision)
        visible = [replace(version, created_at=decision.decided_at) for version in made]
        for version in visible:
            head = Head(version.number, version, version.created_at, None, clock.Stopwatch())
            self._library.heads.remember(version.symbol, head)
        return visible


def _number(head: Head) -> int | None:
    return head.newest.number if head.newest else None


def _named(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
