"""Segments that are read: how many at a time."""

from __future__ import annotations

import os
from threading import Barrier, Lock

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.concurrency import PARALLEL_REQUESTS
from duckvstore.engine.reading import segments
from duckvstore.format.rows import encoding
from tests.cuts import cut_every


@pytest.mark.parametrize("wanted", [None, ["c1", "c3"]])
def test_no_more_segments_are_decoded_at_once_than_there_are_cores(monkeypatch, wanted):
    """Each takes memory by its rows and columns."""
    cut_every(monkeypatch, 5)
    lib = vs.open("memory://").create_library("lib")
    frame = pd.DataFrame(np.arange(400.0).reshape(100, 4), columns=["c1", "c2", "c3", "c4"])
    lib.write("s", frame)
    assert len(lib.open_library.version("s", 0).segments) == 20
    lock, running, most = Lock(), 0, 0
    decode = encoding.decode_parts

    def counted(*arguments):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            yield from decode(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(encoding, "decode_parts", counted)
    found = lib.read("s", columns=wanted).data
    pd.testing.assert_frame_equal(found, frame if wanted is None else frame[wanted])
    assert 1 <= most <= os.cpu_count()


@pytest.mark.parametrize("evolves", [False, True])
def test_many_columns_of_one_segment_are_decoded_in_parts(monkeypatch, evolves):
    """One for each core that would have nothing to do; put together they are the rows, in any order of columns."""
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    lib = vs.open("memory://").create_library("lib")
    values = np.random.default_rng(1).normal(size=(50, 400))
    frame = pd.DataFrame(values, columns=[f"c{n}" for n in range(400)], index=pd.RangeIndex(50, name="i"))
    frame = frame.assign(text=["a", None] * 25, c7=range(50), whole=range(50))
    lib.write("s", frame)
    if evolves:  # rows of a narrower type, and a column that they lack
        lib.write("s", frame.drop(columns="c9").astype({"c7": "int16"}))
        lib.append("s", frame.set_axis(frame.index + 50).iloc[:0].assign(c7=pd.Series([], dtype="int64")))
        frame = lib.read("s", columns=[name for name in frame if name != "c9"]).data
    parts, decode = [], encoding.decode_parts
    monkeypatch.setattr(encoding, "decode_parts", lambda *given: parts.append(given[2]) or decode(*given))
    for wanted in (list(frame), list(frame)[::-1]):
        pd.testing.assert_frame_equal(lib.read("s", columns=wanted).data, frame[wanted])
        assert len(parts) == 3
        assert sorted(name for part in parts for name in part if name != "i") == sorted(wanted)
        parts.clear()
    assert lib.read("s", columns=["c3", "text"]).data.shape == (50, 2)
    assert len(parts) == 1


def test_more_segments_are_on_their_way_than_are_decoded(monkeypatch):
    """So that what a request waits for is not what a core waits for; but no more than are a few megabytes."""
    cut_every(monkeypatch, 5)
    lib = vs.open("memory://").create_library("lib")
    frame = pd.DataFrame({"x": np.arange(200.0)})
    lib.write("s", frame)
    fetch = segments.fetch
    together = Barrier(PARALLEL_REQUESTS)

    def awaited(library, segment):
        together.wait(60)  # raises unless so many wait at once
        return fetch(library, segment)

    monkeypatch.setattr(segments, "fetch", awaited)
    pd.testing.assert_frame_equal(
        lib.read("s", row_range=(0, 5 * PARALLEL_REQUESTS)).data, frame[: 5 * PARALLEL_REQUESTS]
    )
    monkeypatch.setattr(segments, "fetch", fetch)
    monkeypatch.setattr(segments, "FETCHED_BYTES_MAX", 1)
    running, most = [], [0]

    def counted(library, segment):
        running.append(segment)
        most[0] = max(most[0], len(running))
        try:
            return fetch(library, segment)
        finally:
            running.remove(segment)

    monkeypatch.setattr(segments, "fetch", counted)
    pd.testing.assert_frame_equal(lib.read("s").data, frame)
    assert 1 <= most[0] <= os.cpu_count()
