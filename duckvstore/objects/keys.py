"""Which keys are legal, and how a listing in folder order becomes one in byte order.

What passes ``check_key`` is the same key on every object store: no escaping, no dot segments, no
empty segments, no segment longer than a folder can hold.
"""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING

from duckvstore.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from duckvstore.objects.base import Listed

SEGMENT_BYTES_MAX = 255

_KEY = re.compile(r"[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*")
_PREFIX = re.compile(r"(?:[A-Za-z0-9._~-]+/)*[A-Za-z0-9._~-]*")


def check_key(key: str) -> None:
    """Raise InvalidInput unless ``key`` is a legal key."""
    if not _KEY.fullmatch(key) or _has_bad_segment(key):
        raise InvalidInput(
            f"{key!r} is no key: it must be '/'-separated segments of A-Z a-z 0-9 . _ ~ -, none of them empty, "
            f"'.', '..' or longer than {SEGMENT_BYTES_MAX} bytes"
        )


def batches(keys: Iterable[str], count: int) -> list[list[str]]:
    """Return ``keys``, each of which has been checked, in lists of at most ``count``."""
    wanted = [*keys]
    for key in wanted:
        check_key(key)
    return [wanted[first : first + count] for first in range(0, len(wanted), count)]


def check_prefix(prefix: str) -> None:
    """Raise InvalidInput unless ``prefix`` is the beginning of a legal key."""
    if not _PREFIX.fullmatch(prefix) or _has_bad_segment(prefix.rpartition("/")[0]):
        raise InvalidInput(f"{prefix!r} is not the beginning of any key: name a folder ('a/b/') or part of a name")


def _has_bad_segment(path: str) -> bool:
    return any(segment in {".", ".."} or len(segment) > SEGMENT_BYTES_MAX for segment in path.split("/"))


def start_below(prefix: str, start_after: str | None, *, folders: bool) -> tuple[str | None, bool]:
    """Return the ``start_after`` that gives the same listing and that every server understands alike.

    Outside of the prefix, or inside of a folder that is one entry, servers differ. The second value tells
    whether no entry can come at all.
    """
    if not start_after:
        return None, False
    if not start_after.startswith(prefix):
        return None, start_after > prefix
    if start_after == prefix and prefix.endswith("/"):
        return None, False
    slash = start_after.find("/", len(prefix)) if folders else -1
    return (start_after if slash < 0 else start_after[: slash + 1]), False


def in_byte_order(
    entries: Iterable[Listed],
    prefix: str,
    start_after: str | None,
    list_folder: Callable[[str], Iterator[Listed]],
) -> Iterator[Listed]:
    """Turn a listing that comes folder by folder into byte order of keys.

    Some servers (SeaweedFS) walk a tree: ``a/x`` comes before ``a.b`` and ``a-b``, since the folder ``a`` does,
    although ``-`` and ``.`` are smaller than ``/``; and they understand ``start_after`` in that order too.

    Args:
        entries: the server's own listing under ``prefix`` after ``start_after``, in folder order.
        prefix: what all keys start with.
        start_after: entries at or before it, in byte order, are left out.
        list_folder: yields, in byte order, what a folder that the server's ``start_after`` has skipped
            contributes (its keys or its folder entry; nothing when there is no such folder).

    An entry directly in the prefix's folder is given at once; what lies in a folder below is held until no key
    that sorts before it can come any more, which is when the walk has left that folder and its namesakes.
    """
    base = prefix.rfind("/") + 1
    after = start_after or ""
    # Key, and the entry itself; a skipped folder is listed when its turn comes.
    skipped = tuple(_skipped_folders(after, prefix))
    held: list[tuple[str, Listed | None]] = [(folder, None) for folder in skipped]
    heapq.heapify(held)

    def release() -> Iterable[Listed]:
        key, entry = heapq.heappop(held)
        return list_folder(key) if entry is None else (entry,)

    for entry in entries:
        if entry.key <= after or entry.key.startswith(skipped):
            continue
        while held and held[0][0] < entry.key and not entry.key.startswith(_top_folder(held[0][0], base)):
            yield from release()
        if "/" in entry.key[base:]:
            heapq.heappush(held, (entry.key, entry))
        else:
            yield entry
    while held:
        yield from release()


def _top_folder(key: str, base: int) -> str:
    return key[: key.index("/", base) + 1]


def _skipped_folders(after: str, prefix: str) -> list[str]:
    """Return the folders that sort after ``after`` as bytes, and before or with it in a walk of the tree.

    They end where ``after`` goes on with a character smaller than ``/``, or at its end: for ``p/a.b-c`` these are
    ``p/a/``, ``p/a.b/`` and ``p/a.b-c/``.
    """
    base = prefix.rfind("/") + 1
    ends = [index for index in range(base + 1, len(after)) if after[index] < "/" and after[index - 1] != "/"]
    if after and not after.endswith("/"):
        ends.append(len(after))
    folders = (after[:end] + "/" for end in ends)
    return [folder for folder in folders if folder.startswith(prefix) and not _has_bad_segment(folder[:-1])]
