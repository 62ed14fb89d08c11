"""Listings out of a database that answers "the next so many keys from here on".

Every page starts where the one before ended, by key and not by count, so that what is written or deleted
meanwhile shifts nothing; a folder is passed over by one more question, not by reading all of its keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.objects.base import Listed
from duckvstore.objects.keys import check_prefix, start_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGE_KEYS_MAX = 1000
_FOLDER_PAGE_KEYS_MAX = 100  # most of a page is thrown away where it begins with a large folder

# Keys are ASCII from '-' to '~': these sort before and after everything that can follow in a key.
_BEFORE_ALL = "\x01"
_AFTER_ALL = "\x7f"


def list_by_pages(
    fetch: Callable[[str, str, int], Sequence[Listed]],
    prefix: str,
    start_after: str | None,
    limit: int | None,
    *,
    folders: bool,
) -> Iterator[Listed]:
    """Yield what ``ObjectStore.list`` promises.

    Args:
        fetch: returns, in byte order, at most so many (third argument) objects whose key is at or after the first
            argument and before the second.
        prefix: as in ``ObjectStore.list``, and so are the others.
        start_after: see there.
        limit: see there.
        folders: see there.
    """
    check_prefix(prefix)
    start_after, is_past_all = start_below(prefix, start_after, folders=folders)
    left = limit
    stop = prefix + _AFTER_ALL
    position = prefix if start_after is None else _after(start_after, is_folder=folders and start_after.endswith("/"))
    page_size = _FOLDER_PAGE_KEYS_MAX if folders else PAGE_KEYS_MAX
    while not is_past_all and (left is None or left > 0):
        size = page_size if left is None else min(left, page_size)
        page = fetch(position, stop, size)
        for entry in page:
            if entry.key < position:
                continue  # inside of a folder that was passed in this very page
            slash = entry.key.find("/", len(prefix)) if folders else -1
            found = entry if slash < 0 else Listed(entry.key[: slash + 1], None)
            position = _after(found.key, is_folder=slash >= 0)
            yield found
            if left is not None:
                left -= 1
        is_past_all = len(page) < size


def _after(key: str, *, is_folder: bool) -> str:
    """Return the smallest text that sorts after ``key``, and after everything inside of it if it is a folder."""
    return key + (_AFTER_ALL if is_folder else _BEFORE_ALL)
