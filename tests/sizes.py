"""How much of a test with many random cases runs.

A fixed sample usually; everything with DUCKVSTORE_FULL=1 (``make test-full``); of the sample a share, DUCKVSTORE_SHARE,
where the same tests run once more with other releases of what the store is built on.
"""

from __future__ import annotations

import os

IS_FULL = os.environ.get("DUCKVSTORE_FULL") == "1"
SHARE = float(os.environ.get("DUCKVSTORE_SHARE", "1"))


def sized(usual: int, full: int) -> int:
    """How many cases run: ``full`` in a full run, else this run's share of ``usual``, at least one."""
    return full if IS_FULL else max(1, round(usual * SHARE))
