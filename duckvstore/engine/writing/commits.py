"""Commit: claim the next version number of a symbol by creating its document.

Creating the document is the only commit point. A failure before it leaves objects that nothing
names; after it, the version exists. The rules are argued in FORMAT.md, "Commit protocol".
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from duckvstore import clock, telemetry
from duckvstore.concurrency import IO
from duckvstore.engine.library import labels
from duckvstore.engine.library.create_once import create_once
from duckvstore.engine.library.heads import Head
from duckvstore.engine.reading import visible
from duckvstore.engine.reading.call_segments import Attempts, Uploads
from duckvstore.errors import Conflict, DuckVStoreError, NoSuchKey, OutcomeUnknown, StorageUnavailable
from duckvstore.format.stored import documents, records
from duckvstore.format.stored.documents import Decision, Schema, Version
from duckvstore.format.stored.manifests import totals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from duckvstore.concurrency import Task
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.label_runs import LabelRun
    from duckvstore.format.stored.segments import Segment

COMMIT_ATTEMPTS_MAX = 1000
COMMIT_SECONDS_MAX = 300.0
UNDECIDED_SECONDS_MAX = 10.0
TURN_TRIPS_MAX, TURN_TRIPS_MIN = 48, 4  # round trips that writers of one symbol are apart
TURN_SECONDS_MAX = 3.0
TRIP_SECONDS_MIN = 0.001
LOOKS_MAX = 2
WON_LATELY = timedelta(seconds=2)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a version is to hold; number, parent and time are stamped at the commit."""

    operation: str
    kind: str
    schema: Schema = field(default_factory=Schema)
    metadata: Any = None
    row_count: int = 0
    new_rows: int = 0
    new_bytes: int = 0
    is_sorted: bool | None = None
    window: int | None = None
    parts: tuple[str, ...] = ()
    segments: Sequence[Segment] = ()

    def fields(self) -> dict[str, Any]:
        """Return all of it by name, as a version has the same."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a writing operation: who, why, and what the caller expects the head to be.

    ``write_id`` is what tells this call's document from another writer's after a lost answer. ``age`` runs
    from the call's first read: references it adds must be committed within half the grace period. ``ahead``: the
    head, if it is being read already. ``label_runs``: those that the call has put.
    """

    symbol: str
    author: str | None = None
    message: str | None = None
    expected_version: int | None = None
    write_id: str = field(default_factory=clock.new_id)
    age: clock.Stopwatch = field(default_factory=clock.Stopwatch)
    ahead: Task[Head] | None = None
    label_runs: list[LabelRun] = field(default_factory=list)


def announce(library: OpenLibrary, call: Call) -> None:
    """Write the journal intent, which must be acknowledged before the commit is tried.

    A crash then leaves a harmless intent; written afterwards, a crash could hide a committed version from the
    folded catalogue. Raises NoSuchLibrary or Conflict when the library is not there any more.
    """
    library.check_present()
    intent = records.Intent(call.write_id, call.symbol, library.objects.now())
    symbol = call.symbol if library.is_known_as_folded else None  # spares those who list the catalogue a request
    library.objects.put(library.layout.intent(call.write_id, symbol), intent.dump())
    library.intent_count += 1


def current_head(library: OpenLibrary, call: Call) -> Head:
    """Return the head to write above, from the cache or read, settled, checked against ``expected_version``."""
    if call.ahead is not None:
        return call.ahead.result()
    found = library.heads.usable(call.symbol)  # never an undecided one
    if found is not None:
        try:
            check_expected(library, call, found.newest)
        except Conflict:
            pass  # the cached head may be stale
        else:
            return found
    return read_head(library, call)


def read_head(library: OpenLibrary, call: Call) -> Head:
    """Return the head to write above as read now, settled, checked against ``expected_version``."""
    found = settle(library, call.symbol, visible.head(library, call.symbol))
    check_expected(library, call, found.newest)
    return found


def check_expected(library: OpenLibrary, call: Call, newest: Version | None) -> None:
    """Raise Conflict when ``newest`` (None: no version) is not the one that the caller expects."""
    number = newest.number if newest else None
    if call.expected_version is not None and call.expected_version != number:
        raise Conflict(
            f"expected version {call.expected_version} at the head of {library.label(call.symbol)}, found "
            f"{'no version' if number is None else number}: read it again, then repeat the call"
        )


def settle(library: OpenLibrary, symbol: str, found: Head) -> Head:
    """Wait until the transaction at the head is decided; abort it when it stays undecided for 10 seconds.

    No operation may create a document above an undecided one.
    """
    watched, watch = found.undecided, clock.Stopwatch()
    for attempt in count():
        if found.undecided is None:
            break
        if found.undecided != watched:
            watched, watch = found.undecided, clock.Stopwatch()
        if watch.elapsed_seconds() > UNDECIDED_SECONDS_MAX:
            abort(library, found.undecided)
            text = f"transaction {found.undecided} of library {library.name!r} stayed undecided and was aborted"
            details = {"library": library.name, "transaction": found.undecided}
            telemetry.tell(logging.WARNING, "abort", text, reason="undecided", **details)
        else:
            clock.back_off(attempt, 0.02, 0.5)
        found = visible.head(library, symbol)
    return found


def abort(library: OpenLibrary, transaction: str) -> None:
    """Create the decision "aborted"; does nothing when there is a decision already.

    Raises StorageUnavailable when it stays unknown whether there is one.
    """
    data = Decision(transaction, "aborted", library.objects.now(), {}).dump()
    key = library.layout.transaction(transaction)
    try:
        create_once(library.objects, key, data, f"decision {transaction}")
    except OutcomeUnknown as error:
        raise StorageUnavailable(
            f"transaction {transaction} of library {library.name!r} is undecided and could not be aborted, so nothing "
            "was written above it: repeat the call"
        ) from error


def carry_out(library: OpenLibrary, call: Call, plan: Callable[[Version | None], Draft | None]) -> Version | None:
    """Announce and ``commit``; the journal intent is on its way while the plan stores rows."""
    announced = IO.submit(announce, library, call)
    library.look_at_options()
    try:
        made = commit(library, call, plan, announced)
    finally:
        announced.cancel()
    library.after_commit()
    return made


def commit(
    library: OpenLibrary,
    call: Call,
    plan: Callable[[Version | None], Draft | None],
    announced: Task[None] | None = None,
) -> Version | None:
    """Create the next version of ``call.symbol`` as ``plan`` drafts it above the newest; return it.

    ``plan`` is called again on the new newest version whenever another writer took the number; it returns
    None to leave everything as it is, and then the newest version is returned (None: there is none). That, and
    any error of ``plan``, rests on a head that was read within this call: only a create finds out that a
    remembered one is stale. What it stores, and the intent that ``announced`` puts (None: it is there), are
    acknowledged before the first create. Raises Conflict (head is not as expected, or too much contention) and
    OutcomeUnknown.
    """
    found = current_head(library, call)
    started, attempts = clock.Stopwatch(), Attempts()
    ages = [call.age]  # of all that the draft may refer to: a plan that is made again may keep what an older head had
    for attempt in range(COMMIT_ATTEMPTS_MAX):
        ages.append(found.age)
        uploads = Uploads()
        try:
            draft, found = _draft(library, call, plan, found, attempts, uploads)
            uploads.wait()
            if draft is not None and announced is not None:
                announced.result()
        finally:
            uploads.cancel()
        if draft is None:
            return found.newest
        ages.append(found.age)
        schema, runs = labels.put(library, call.symbol, draft.schema, found.newest, call.label_runs)
        if max(age.elapsed_seconds() for age in ages) > library.grace_seconds / 2:
            raise Conflict(
                f"{draft.operation} of {library.label(call.symbol)} took longer than half the grace period, so what "
                "it refers to may be removed: repeat the call"
            )
        version = replace(stamp(library, call, draft, found), label_runs=runs)
        watch = clock.Stopwatch()
        made = create_document(library, version, schema)
        if made is not None:
            library.heads.remember(call.symbol, Head(made.number, made, made.created_at, None, clock.Stopwatch()))
            return made
        if started.elapsed_seconds() > COMMIT_SECONDS_MAX:
            break
        label = library.label(call.symbol)
        text = f"version {version.number} of {label} was taken by another writer: {draft.operation} is planned again"
        details = {"library": library.name, "symbol": call.symbol, "version": version.number, "attempt": attempt + 2}
        telemetry.tell(logging.INFO, "conflict", text, operation=draft.operation, **details)
        found = _after_conflict(library, call, version, attempt, watch.elapsed_seconds() / 2)
    raise Conflict(
        f"version {version.number} of {library.label(call.symbol)} was taken by another writer, as were those of "
        f"{attempt + 1} attempts: repeat {version.operation} when fewer processes write this symbol"
    )


def _draft(
    library: OpenLibrary,
    call: Call,
    plan: Callable[[Version | None], Draft | None],
    found: Head,
    attempts: Attempts,
    uploads: Uploads,
) -> tuple[Draft | None, Head]:
    with uploads.taking(), attempts.next():
        if found.age.started_before(call.age):
            try:
                draft = plan(found.newest)
            except DuckVStoreError:
                draft = None
            if draft is not None:
                return draft, found
            found = read_head(library, call)
        return plan(found.newest), found


def stamp(library: OpenLibrary, call: Call, draft: Draft, found: Head, transaction: str | None = None) -> Version:
    """Return the document of ``draft`` as the next version above ``found``, with the time of now."""
    created_at: datetime = library.objects.now()
    if found.latest is not None:
        created_at = max(created_at, found.latest + MICROSECOND)
    _, stored_bytes, logical_bytes = totals(draft.segments)
    return Version(
        library_id=library.library_id,
        symbol=call.symbol,
        number=found.highest + 1,
        write_id=call.write_id,
        created_at=created_at,
        parent=found.newest.number if found.newest else None,
        transaction=transaction,
        author=call.author,
        message=call.message,
        logical_bytes=logical_bytes,
        stored_bytes=stored_bytes,
        **draft.fields(),
    )


def create_document(library: OpenLibrary, version: Version, schema: dict[str, Any]) -> Version | None:
    """Create a version document and return it; None: another writer's has the number. Raises OutcomeUnknown.

    ``schema``: its JSON, as ``labels.put`` returns it.
    """
    key = library.layout.version(version.symbol, version.number)

    def is_own(data: bytes) -> bool:
        found = library.parse_version(data, where=key)
        if found.library_id == library.library_id:
            library.remember(found)
        return found.write_id == version.write_id

    what = f"version {version.number} of {library.label(version.symbol)} (write id {version.write_id})"
    data = documents.dump_version(version, schema)
    try:
        is_created = create_once(library.objects, key, data, what, is_own)
    except BaseException:
        library.heads.forget(version.symbol)
        raise
    if not is_created:
        return None
    made = replace(version, document_bytes=len(data))
    library.remember(made)
    return made


def _after_conflict(library: OpenLibrary, call: Call, lost: Version, attempt: int, trip_seconds: float) -> Head:
    """Return the head after another writer took ``lost.number``, checked against ``expected_version``.

    ``attempt``: how many were lost before. ``trip_seconds``: how long a request takes.
    """
    found = None
    if call.expected_version is None and attempt:
        found = _in_turn(library, call, attempt, trip_seconds)
    elif call.expected_version is None:
        found = _winner(library, call, lost.number)
        if found is not None and found.latest is not None and library.objects.now() - found.latest > WON_LATELY:
            found = None  # the head that this was planned above may be many versions old
    if found is None:
        found = settle(library, call.symbol, visible.head(library, call.symbol))
    try:
        check_expected(library, call, found.newest)
    except Conflict as error:
        raise Conflict(
            f"version {lost.number} of {library.label(call.symbol)} was taken by another writer (expected head "
            f"{call.expected_version}, found {found.newest.number if found.newest else 'none'}): read it again, then "
            "repeat the call"
        ) from error
    return found


def _winner(library: OpenLibrary, call: Call, number: int) -> Head | None:
    """Return a version that another writer has just made as the head; None: it is not there, or needs a closer look."""
    age = clock.Stopwatch()
    try:
        version = library.version(call.symbol, number)
    except NoSuchKey:
        return None
    if version.library_id != library.library_id or version.transaction is not None:
        return None
    return Head(number, version, version.created_at, None, age)


def _in_turn(library: OpenLibrary, call: Call, attempt: int, trip_seconds: float) -> Head | None:
    """Return the head to write above among many writers of one symbol; None: it needs a closer look.

    Whoever was first knows its own document before all others and so is first again, while the others only add to what
    the server has to do. So each of them comes back at a time of its own, the sooner the oftener it was late, and then
    looks for the document that follows the highest: who finds it at once is ahead of its writer.
    """
    trips = max(TURN_TRIPS_MAX * 0.5 ** (attempt - 1), TURN_TRIPS_MIN)
    clock.sleep(clock.part_of(min(trips * max(trip_seconds, TRIP_SECONDS_MIN), TURN_SECONDS_MAX)))
    highest = next(visible.numbers(library, call.symbol, first_page=1), None)
    if highest is None:
        return None
    for _ in range(LOOKS_MAX):
        found = _winner(library, call, highest + 1)
        if found is not None:
            return found
    return _winner(library, call, highest)
