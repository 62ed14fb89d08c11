"""How much of a test with many random cases runs.

A fixed sample usually, or a share of it, DUCKVSTORE_SHARE; everything with DUCKVSTORE_FULL=1 (``make test-full``).
Of tests with many written cases, where they run once more with another release, every DUCKVSTORE_CASES-th case.
"""

from __future__ import annotations

import os

IS_FULL = os.environ.get("DUCKVSTORE_FULL") == "1"
SHARE = float(os.environ.get("DUCKVSTORE_SHARE", "1"))
CASES_STEP = int(os.environ.get("DUCKVSTORE_CASES", "1"))
MANY_CASES = 9


def sized(usual: int, full: int) -> int:
    """How many cases run: ``full`` in a full run, else this run's share of ``usual``, at least one."""
    return full if IS_FULL else max(1, round(usual * SHARE))


def step(usual: int) -> int:
    """Every how manyth case runs: each in a full run, else this run's share of every ``usual``-th one."""
    return 1 if IS_FULL else max(1, round(usual / SHARE))
