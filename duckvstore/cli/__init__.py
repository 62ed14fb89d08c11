"""The command ``duckvstore``: SQL with time travel, a look at what a store holds, upkeep, and a demonstration.

It goes through the public API alone. Results go to standard output and everything else to standard error.
"""

from __future__ import annotations

from duckvstore.cli.command import build_parser, main

__all__ = ["build_parser", "main"]
