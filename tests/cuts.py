"""Segments of a fixed number of rows, for tests that are about something else than where rows are cut."""

from __future__ import annotations

import numpy as np

from duckvstore.format.rows import chunking


def cut_every(monkeypatch, rows: int) -> None:
    """Cut after every ``rows`` rows, wherever content would."""
    # A window of one row allows short segments at the ends; none is overlong.
    monkeypatch.setattr(chunking, "window_rows", lambda *_: 1)
    monkeypatch.setattr(chunking, "OVERLONG_WINDOWS", 10**9)
    monkeypatch.setattr(chunking, "STREAMED_WINDOWS", 6 * rows)
    monkeypatch.setattr(chunking, "_minima", lambda hashed, _: np.arange(rows, hashed.count, rows))
