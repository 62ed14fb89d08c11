"""Retention: which versions are kept. ``prune`` and ``gc`` both ask here, so that a rule is decided in one place.

A rule is an attribute of ``Retention``, what is checked of it, and when it keeps a version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from duckvstore.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from duckvstore.format.stored.options import Options


@dataclass(frozen=True, slots=True)
class Retention:
    """Which versions of a symbol are kept beside the newest; with several rules, each keeps what it keeps.

    ``keep_last``: how many of the newest versions are kept. ``keep_for``: a version is kept as long as it was the
    newest at some time within that.
    """

    keep_last: int | None = None
    keep_for: timedelta | None = None

    @classmethod
    def of(cls, options: Options) -> Retention:
        """Return what a library's own options say."""
        seconds = options.keep_for_seconds
        return cls(options.keep_last, None if seconds is None else timedelta(seconds=seconds))

    @property
    def keeps_all(self) -> bool:
        """Whether there is no rule, so that nothing may go."""
        return self.keep_last is None and self.keep_for is None

    def check(self) -> None:
        """Raise InvalidInput unless this says which versions to keep."""
        last, time = self.keep_last, self.keep_for
        if self.keeps_all:
            raise InvalidInput("nothing says which versions to keep: give keep_last=, keep_for= or both")
        if last is not None and (isinstance(last, bool) or not isinstance(last, int) or last < 1):
            raise InvalidInput(f"keep_last={last!r} is no number of versions: give 1 or more")
        if time is not None and (not isinstance(time, timedelta) or time < timedelta(0)):
            raise InvalidInput(f"keep_for={time!r} is no length of time: give a datetime.timedelta")

    def prunable(
        self,
        visible: Sequence[tuple[int, datetime]],
        now: Callable[[], datetime],
        unwanted: Collection[int],
        held: Collection[int],
    ) -> list[int]:
        """Return which of ``visible`` (number and time, newest first, all that are there) may go.

        ``now`` is asked where a rule needs the time, which some stores are asked for. ``unwanted``: what is condemned
        already. ``held``: what a snapshot holds, which stays.
        """
        oldest = None if self.keep_for is None else now() - self.keep_for
        chosen = []
        count = 0
        replaced_at: datetime | None = None
        for number, created_at in visible:
            is_kept = replaced_at is None or number in held
            is_kept = is_kept or (self.keep_last is not None and count < self.keep_last)
            is_kept = is_kept or (oldest is not None and replaced_at is not None and replaced_at > oldest)
            if number not in unwanted:
                count += 1
                if not is_kept:
                    chosen.append(number)
            replaced_at = created_at
        return chosen
