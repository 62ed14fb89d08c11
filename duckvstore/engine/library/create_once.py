"""Creates whose answer may be lost, and how we find out whether the object that is there is the one we sent.

An object store lets one creator of a key win, and that is what commits, decisions, snapshots, options, garbage
documents and libraries rest on. But an answer can be lost: the request timed out, and it may have been carried out, may
still be on its way, or was never received. Three rules make an answer of that:

1. "Already exists" proves nothing about whose object is there: our own first request may have landed. So the object is
   read back. Every document carries something that no other call writes (its write id, or all of its bytes), and by
   that ``is_own`` decides. If it cannot be read back, the outcome is still unknown.
2. After an unknown outcome the *same* create is repeated, with the same bytes under the same key. Nothing else may
   follow it: a first request that lands later would otherwise be a second commit of the same call. A repetition is
   harmless, since at most one create of a key succeeds.
3. Once an outcome was unknown, no error of a repetition (access denied, say) means that nothing happened, because the
   first request may still land. Only "created" and what is read back are definite.

A call that got no definite answer ends in OutcomeUnknown, which says what to look for before it is repeated. The object
stores do not repeat creates by themselves, except where they know that a request was not carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.errors import (
    AlreadyExists,
    DuckVStoreError,
    Integrity,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.objects.base import ObjectStore

ATTEMPTS_MAX = 8


def create_once(
    objects: ObjectStore, key: str, data: bytes, what: str, is_own: Callable[[bytes], bool] | None = None
) -> bool:
    """Create ``key``; return True when this call's object is there, False when another's is.

    ``is_own``: whether what was read back is this call's (None: when it is equal to ``data``). Raises OutcomeUnknown
    naming ``what`` when no attempt got a definite answer, and Integrity when what is there stays unreadable.
    """
    failure: DuckVStoreError | None = None
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            clock.back_off(attempt, 0.05, 5.0)
        try:
            return _create_or_compare(objects, key, data, is_own or data.__eq__)
        except OutcomeUnknown as error:
            failure = error
        except DuckVStoreError as error:
            if failure is None:
                raise  # nothing was sent, now or before
            failure = error
    if failure is not None and isinstance(failure.__cause__, Integrity):
        raise failure.__cause__
    raise OutcomeUnknown(
        f"{objects.url} gave no definite answer in {ATTEMPTS_MAX} attempts to create {what}: it may or may not "
        "be there; look before repeating the call"
    ) from failure


def create_document(objects: ObjectStore, key: str, document: Any, what: str) -> bool:
    """Do what ``create_once`` does for a document, which is this call's when it has the same ``write_id``."""

    def is_own(data: bytes) -> bool:
        return bool(type(document).load(data, where=f"{objects.url} {key}").write_id == document.write_id)

    return create_once(objects, key, document.dump(), what, is_own)


def _create_or_compare(objects: ObjectStore, key: str, data: bytes, is_own: Callable[[bytes], bool]) -> bool:
    try:
        objects.create(key, data)
    except AlreadyExists:
        try:
            return is_own(objects.read(key))
        except (NoSuchKey, StorageUnavailable, Integrity) as error:
            raise OutcomeUnknown(f"{objects.url}: {key!r} exists, but cannot be read back: {error}") from error
    return True
