"""How much of a test with many random cases runs.

A fixed sample usually, or a share of it, DUCKVSTORE_SHARE; everything with DUCKVSTORE_FULL=1 (``make test-full``).
Tests of SQL with many written cases are divided between releases of DuckDB by DUCKVSTORE_CASES: "13/4" runs those whose
number leaves 1 or 3 when divided by 4.
"""

from __future__ import annotations

import os

IS_FULL = os.environ.get("DUCKVSTORE_FULL") == "1"
SHARE = float(os.environ.get("DUCKVSTORE_SHARE", "1"))
_REMAINDERS, _, _DIVISOR = os.environ.get("DUCKVSTORE_CASES", "0/1").partition("/")
MANY_CASES = 6


def is_case_here(number: int) -> bool:
    """Whether the case with this number, of a test that has many, runs."""
    return str(number % int(_DIVISOR)) in _REMAINDERS


def sized(usual: int, full: int) -> int:
    """How many cases run: ``full`` in a full run, else this run's share of ``usual``, at least one."""
    return full if IS_FULL else max(1, round(usual * SHARE))


def step(usual: float) -> int:
    """Every how manyth case runs: each in a full run, else this run's share of every ``usual``-th one."""
    return 1 if IS_FULL else max(1, round(usual / SHARE))
