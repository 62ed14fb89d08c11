"""Documents that cannot be read, for listings: each is named in a warning, and the rest is listed.

Nothing that removes, references or copies data uses this: it must know all documents or stop.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.errors import DocumentWarning, Integrity, Unsupported
from duckvstore.format.stored.documents import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def warn(error: Exception) -> None:
    """Warn that a listing lacks a document, and why."""
    warnings.warn(f"left out of what is listed: {error}", DocumentWarning, stacklevel=4)


def read_all(
    read: Callable[[Item], Outcome | None],
    items: Iterable[Item],
    report: Callable[[Exception], object] = warn,
) -> list[Outcome]:
    """Return ``read(item)`` of each item, in order, without None; ``report`` takes the error of one that fails."""

    def one(item: Item) -> Outcome | Integrity | Unsupported | None:
        try:
            outcome = read(item)
        except (Integrity, Unsupported) as error:
            return error
        lost = outcome.lost if isinstance(outcome, Version) else None
        return outcome if lost is None else Integrity(lost)

    found: list[Outcome] = []
    for outcome in IO.map(one, items, at_once=PARALLEL_DOCUMENTS):
        if isinstance(outcome, Integrity | Unsupported):
            report(outcome)
        elif outcome is not None:
            found.append(outcome)
    return found
