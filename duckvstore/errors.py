"""Every error that DuckVStore raises, grouped by what a handler would do.

::

    DuckVStoreError
    ├── NotFound (also KeyError)         ask for something that exists
    │   ├── NoSuchKey                    an object (internal to object stores)
    │   ├── NoSuchLibrary
    │   ├── NoSuchSymbol
    │   ├── NoSuchVersion
    │   └── NoSuchSnapshot
    ├── AlreadyExists                    choose another name
    ├── Conflict                         read again, then repeat the call
    ├── InvalidInput (also ValueError)   correct the call
    │   ├── NoSuchColumn
    │   └── SqlError                     correct the SQL; knows line, column and caret
    ├── Integrity                        stored bytes are not what was written
    ├── StorageUnavailable               repair access, then repeat the call
    │   ├── AccessDenied                 credentials or permissions
    │   └── OutcomeUnknown               look whether the write happened, then decide
    └── Unsupported                      this store or release cannot do it

Invariant: a message names what, which, expected and found, and the next step; never a credential.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


# Control characters but tabs and line breaks, what turns the direction of text, and what is not there to be seen.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNPRINTABLE_IN_LINE = re.compile(_UNPRINTABLE.pattern[:-1] + "\t\n]")


def printable(text: str, *, is_line: bool = False) -> str:
    """Return ``text`` with escapes for what would act on a terminal, or show as something else than it is.

    ``is_line``: also for tabs and line breaks. Names in a store are anybody's.
    """
    pattern = _UNPRINTABLE_IN_LINE if is_line else _UNPRINTABLE
    return pattern.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode("ascii"), text)


class DuckVStoreError(Exception):
    """Root of all errors of this package."""

    def __str__(self) -> str:
        """Return the message, in which names that somebody chose are harmless to a terminal."""
        return printable(super().__str__())


class NotFound(DuckVStoreError, KeyError):
    """Something that was named does not exist."""

    def __str__(self) -> str:
        """Return the message itself; KeyError would show its repr."""
        return printable(str(self.args[0])) if self.args else ""


class NoSuchKey(NotFound):
    """An object store has no object under a key."""


class NoSuchLibrary(NotFound):
    """The store has no library of that name."""


class NoSuchSymbol(NotFound):
    """The library has no symbol of that name, or its newest version is a deletion."""


class NoSuchVersion(NotFound):
    """The symbol has no such version, at that number, time or snapshot."""


class NoSuchSnapshot(NotFound):
    """The library has no snapshot of that name."""


class AlreadyExists(DuckVStoreError):
    """The name or key is taken; nothing was changed."""


class Conflict(DuckVStoreError):
    """Another writer was first; nothing was changed."""


class InvalidInput(DuckVStoreError, ValueError):
    """The call cannot be carried out as it stands; nothing was changed."""


class NoSuchColumn(InvalidInput):
    """A column was named that the version does not have."""


class SqlError(InvalidInput):
    """SQL that cannot be run.

    ``sql`` is the user's own text; ``offset`` (characters from 0) points into it where the place is
    known, and the message then ends with that line and a caret under the place.
    """

    def __init__(self, message: str, sql: str = "", offset: int | None = None) -> None:
        """Build the message, with line, column and caret where ``offset`` is known."""
        self.sql = sql
        self.offset = offset
        super().__init__(message + caret(sql, offset) if offset is not None else message)


class Integrity(DuckVStoreError):
    """A stored object is damaged or is not what a document says."""


class StorageUnavailable(DuckVStoreError):
    """The object store cannot be reached or does not answer as it should."""


class AccessDenied(StorageUnavailable):
    """The object store refuses these credentials or this operation."""


class OutcomeUnknown(StorageUnavailable):
    """A write was sent and its outcome could not be learned; it may or may not have happened."""


class Unsupported(DuckVStoreError):
    """This object store, value or release cannot do what was asked."""


class DocumentWarning(UserWarning):
    """A document could not be read, so a listing is without what it would say; the rest of the listing is right."""


def caret(text: str, offset: int) -> str:
    """Return two lines that show the line of ``text`` at ``offset``, and a caret under the place."""
    offset = max(0, min(offset, len(text)))
    line_start = text.rfind("\n", 0, offset) + 1
    line_end = text.find("\n", offset)
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    number = text.count("\n", 0, offset) + 1
    column = offset - line_start
    prefix = f"line {number}, column {column + 1}: "
    window_start = max(0, column - 60)
    shown = _UNPRINTABLE_IN_LINE.sub(" ", line[window_start : window_start + 120])
    return f"\n{prefix}{shown}\n{' ' * (len(prefix) + column - window_start)}^"


def nearest(name: str, candidates: Iterable[str], *, count: int = 3) -> str:
    """Return " Did you mean 'a' or 'b'?" for the candidates closest to ``name``, or an empty string."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    close = [folded[match] for match in get_close_matches(name.casefold(), folded, n=count)]
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(match) for match in close)}?"
