"""The progress bar of a SQL statement: DuckDB tells how far it is, the waiting thread draws.

Only the main thread draws, while it waits anyway, and no error of drawing reaches the statement.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from duckvstore import clock
from duckvstore.progress import Percentage, is_watched
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from duckvstore.sql.execution.thread_cursor import ThreadCursor

DELAY_SECONDS = 2.0
_EVERY_SECONDS = 0.2


class Bar:
    """Entered while somebody waits for a statement; nested where one call waits several times, and then one bar.

    It starts anew with each outermost wait: what its user does between two batches of rows is not the statement's time.
    """

    def __init__(self, thread: ThreadCursor) -> None:
        """Draw nothing yet. ``thread``: where the statement runs."""
        self._thread = thread
        self._depth = 0
        self._watch = clock.Stopwatch()
        self._due_seconds = DELAY_SECONDS
        self._shown: Percentage | None = None

    def __enter__(self) -> Self:
        if _is_main():
            if self._depth == 0:
                self._watch, self._due_seconds = clock.Stopwatch(), DELAY_SECONDS
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        if _is_main():
            self._depth -= 1
            if self._depth == 0 and self._shown is not None:
                shown, self._shown = self._shown, None
                with suppress(Exception):
                    shown.close()

    def draw(self) -> None:
        """Show how far the statement is, if it takes long and the last look was a moment ago."""
        elapsed = self._watch.elapsed_seconds()
        if elapsed < self._due_seconds or not self._thread.tells_progress or not is_watched():
            return
        try:
            if self._shown is None:
                self._shown = Percentage("running SQL", elapsed)
            self._shown.show(self._thread.cursor.query_progress())
        except Exception as error:  # a closed terminal, say, or no tqdm
            if of_handler(error):
                raise
        self._due_seconds = elapsed + _EVERY_SECONDS


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
