"""Progress bars of long calls.

Invariant: a bar appears only where somebody looks (a terminal or a notebook) and only for what takes longer than a
moment; it never changes what is done.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = TypeVar("Item")

VARIABLE = "DUCKVSTORE_PROGRESS"
DELAY_SECONDS = 1.0
_KNOWN = "{l_bar}{bar}| {elapsed}<{remaining}"
_UNKNOWN = "{desc}: {elapsed}"


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
    bar: Iterable[Item] = tqdm(
        items, desc=printable(doing, is_line=True), unit=unit, total=total, leave=False, delay=DELAY_SECONDS
    )
    return bar


class Percentage:
    """A bar of one thing that says itself how far it is, in percent, and began ``elapsed_seconds`` ago."""

    def __init__(self, doing: str, elapsed_seconds: float) -> None:
        """Draw nothing yet. ``doing`` says what is done. Raises ImportError without tqdm."""
        from tqdm.auto import tqdm

        # With a delay, however short, nothing is drawn before the first numbers are there.
        self._bar: Any = tqdm(desc=printable(doing, is_line=True), total=100, leave=False, delay=1e-9)
        self._bar.start_t -= elapsed_seconds

    def show(self, percent: float) -> None:
        """Draw ``percent``, or the time alone where it is not known: not above 0."""
        self._bar.n = min(max(percent, 0.0), 100.0)
        self._bar.bar_format = _KNOWN if percent > 0 else _UNKNOWN
        self._bar.refresh(nolock=True)  # Ctrl-C in here would leave the lock of all bars taken

    def close(self) -> None:
        """Remove the bar."""
        self._bar.refresh(nolock=True)  # after Ctrl-C in the middle of drawing, its length is not known
        self._bar.n = self._bar.total  # a notebook would keep one that did not reach its end, in red
        self._bar.close()
