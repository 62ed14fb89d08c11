"""The command ``duckvstore``: data in and out, SQL with time travel, history, upkeep, and a demonstration.

It goes through the public API alone. Results go to standard output and everything else to standard error.
"""

from __future__ import annotations

from duckvstore.cli.command import build_parser, main

__all__ = ["build_parser", "main"]
