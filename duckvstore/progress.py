"""Progress bars of long calls.

Invariant: a bar appears only where somebody looks (a terminal or a notebook) and only for what takes longer than a
moment; it never changes what is done.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = TypeVar("Item")

VARIABLE = "DUCKVSTORE_PROGRESS"
DELAY_SECONDS = 1.0


def is_watched() -> bool:
    """Return whether bars are shown: $DUCKVSTORE_PROGRESS is 1, or it is not 0 and somebody is there to look."""
    chosen = os.environ.get(VARIABLE)
    if chosen in ("0", "1"):
        return chosen == "1"
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def progress(items: Iterable[Item], doing: str, unit: str, total: int | None = None) -> Iterable[Item]:
    """Return ``items``, with a bar that counts them: ``doing`` says what is done, ``unit`` what is counted."""
    if not is_watched():
        return items
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, desc=doing, unit=unit, total=total, leave=False, delay=DELAY_SECONDS)
    return bar
