"""What the answers of a server tell about it: its time, by the Date header, and the order of its listings.

This machine's clock is corrected only when every answer seen proves that it is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATE_RESOLUTION = timedelta(seconds=1)
_ZERO = timedelta()


class ServerTime:
    """Bounds on the difference between a server's clock and this machine's.

    A Date header says the time to the second: when the answer was made, the server's clock stood in
    [date, date + 1 s) and this machine's between sending and receiving. The bounds of all answers are
    intersected; when they contradict each other a clock was moved, and the last answer counts alone.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        # Replaced as a whole, without a lock that a forked process could inherit held: at worst one of two answers
        # that come at the same moment narrows nothing.
        self._bounds: tuple[timedelta, timedelta] | None = None

    @property
    def is_known(self) -> bool:
        """Whether any answer with a date was seen."""
        return self._bounds is not None

    def learn(self, headers: Mapping[str, str], sent_at: datetime, received_at: datetime) -> None:
        """Narrow the bounds by an answer; one from a cache (Age) or without a readable date says nothing."""
        text = headers.get("date")
        if text is None or "age" in headers:
            return
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        low, high = date - received_at, date + _DATE_RESOLUTION - sent_at
        known = self._bounds
        if known is not None and max(low, known[0]) < min(high, known[1]):
            low, high = max(low, known[0]), min(high, known[1])
        self._bounds = (low, high)

    def now(self, local_now: datetime) -> datetime:
        """Return the server's time when this machine's clock shows ``local_now`` (UTC)."""
        known = self._bounds
        if known is None:
            return local_now
        low, high = known
        offset = _ZERO if low <= _ZERO < high else (low + high) / 2
        return local_now + offset


class Server:
    """What is known of a server, shared by all clients and copies of one object store."""

    def __init__(self, listing_order: str | None) -> None:
        """Know nothing but what the option ``listing_order`` says."""
        self._time = ServerTime()
        self._is_order_given = listing_order is not None
        #: whether it lists folder by folder
        self.lists_folders = listing_order == "folders"

    @property
    def is_heard(self) -> bool:
        """Whether any answer with a date was seen."""
        return self._time.is_known

    def learn(self, headers: Mapping[str, str], sent_at: datetime, received_at: datetime) -> None:
        """Learn from the headers of a whole answer."""
        self._time.learn(headers, sent_at, received_at)
        if not self._is_order_given and "seaweedfs" in headers.get("server", "").lower():
            self.lists_folders = True

    def now(self, local_now: datetime) -> datetime:
        """Return the server's time when this machine's clock shows ``local_now`` (UTC)."""
        return self._time.now(local_now)
