"""Processes for tests: each is forked from one that has only imported what all of them use."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def context() -> ForkServerContext:
    """Return the context of ``multiprocessing`` in which to start them; with "spawn" each takes seconds to import."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["duckvstore", "pandas", "pyarrow.parquet", "boto3", "duckdb", "pytest", "sqlalchemy"])
    return made
