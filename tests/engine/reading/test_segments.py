"""Segments that are read: how many at a time."""

from __future__ import annotations

import os
from threading import Lock

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.reading import segments
from duckvstore.format.rows import encoding
from tests.cuts import cut_every


@pytest.mark.parametrize("wanted", [None, ["c1", "c3"]])
def test_few_segments_of_many_columns_are_decoded_at_once(monkeypatch, wanted):
    """Each takes memory by its columns; where only some columns are read, all segments may be decoded at once."""
    monkeypatch.setattr(segments, "WIDE_COLUMNS_MIN", 4)
    cut_every(monkeypatch, 5)
    lib = vs.open("memory://").create_library("lib")
    frame = pd.DataFrame(np.arange(400.0).reshape(100, 4), columns=["c1", "c2", "c3", "c4"])
    lib.write("s", frame)
    assert len(lib.open_library.version("s", 0).segments) == 20
    lock, running, most = Lock(), 0, 0
    decode = encoding.decode

    def counted(*arguments):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return decode(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(encoding, "decode", counted)
    found = lib.read("s", columns=wanted).data
    pd.testing.assert_frame_equal(found, frame if wanted is None else frame[wanted])
    assert most <= (os.cpu_count() if wanted is None else 20)
