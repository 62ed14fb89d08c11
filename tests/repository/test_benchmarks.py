"""The benchmark's frames, its proxy's counts and its report work at tiny sizes, without its peers."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

import duckvstore as vs
from tests.benchmarks import growth, report
from tests.benchmarks.delay import counted, proxied
from tests.benchmarks.measure import frame_bytes
from tests.benchmarks.shapes import SHAPES
from tests.servers import MotoServer


@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_a_shape_is_the_same_each_time_and_comes_back(shape):
    """At a tiny size; wide has columns as its size."""
    frame = shape.make(200)
    pd.testing.assert_frame_equal(frame, shape.make(200))
    assert frame.index.name == "time"
    assert frame.index.is_monotonic_increasing
    assert {shape.value} <= {*frame}
    lib = vs.open("memory://benchmarks").get_library("bench", create_if_missing=True)
    lib.write(shape.name, frame)
    assert lib.read(shape.name).data.shape == frame.shape


def test_shared_objects_count_once():
    """As they do in memory."""
    text = "a text that is longer than a pointer"
    once, twice = (pd.DataFrame({"a": pd.Series([text] * count, dtype=object)}) for count in (1, 2))
    assert frame_bytes(twice) == frame_bytes(once) + 8


@pytest.mark.s3
def test_the_proxy_counts_what_passes():
    """Requests and bytes of all connections, since it was last asked."""
    with MotoServer() as server, proxied(server.endpoint, 0) as (address, counter):
        counted(counter)
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        for body in (b"x" * 300_000, b"y"):
            connection.request("PUT", "/bucket", body)
            connection.getresponse().read()
        found = counted(counter)
        assert found["requests"] == 2
        assert found["sent"] > 300_000
        assert found["received"] > 0
        connection.close()


def _record(peer: str, shape: str, case: str, seconds: float, **more):
    call = {"seconds": seconds, "cpu": seconds / 2}
    counts = {"requests": 3, "sent": 10, "received": 2_000_000}
    record = {"cold": [call], "warm": [call, call], "counted_cold": counts, "counted_warm": counts, "peak": 10**8}
    return {"peer": peer, "shape": shape, "size": 1000, "case": case, "delay": 0, **record, **more}


def test_the_report_has_goals_tables_and_pictures():
    """What was not measured is a dash, what cannot be done a reason, and pictures are small and well-formed."""
    records = [
        _record("DuckVStore", "ticks", "write", 0.5, new_bytes=5),
        _record("ArcticDB", "ticks", "write", 1.0),
        {"peer": "Lance", "shape": "ticks", "size": 1000, "case": "write", "delay": 0, "cannot": "no `way`"},
        _record("DuckVStore", "ticks", "read", 2.0, frame=10**8),
        _record("ArcticDB", "ticks", "read", 1.0),
        _record("ArcticDB", "ticks", "read", 1.0) | {"delay": 20},
    ]
    row = {"grows": "rows", "timed": "write", "sizes": [1, 10], "seconds": [0.1, 1.0]}
    row["exponent"] = growth.exponent(row["sizes"], row["seconds"])
    run = {
        "sharing": [{"change": "a cell", "found": "1 %"}],
        "load": [1.5],
        "machine": "2 cores",
        "versions": {"DuckVStore": "1"},
        "missing": {"X": "none"},
        "seconds": 1,
    }
    text, pictures = report.rendered(report.joined([{**run, "records": records, "growth": [row]}]))
    assert "| write of ticks to S3, time by ArcticDB's | <= 0.7 | 0.50 | 0.50 | yes |" in text
    assert "| whole read to pandas from S3 | <= 0.75 | 2.00 | 2.00 | **no** |" in text
    assert "| append of 10,000 rows | <= 0.8 | - | - | - |" in text
    assert "- write: Lance: no  way" in text
    assert "| rows | write | 1, 10 | 0.10, 1.00 | 1.00 |" in text
    assert "| a cell | 1 % |" in text
    assert pictures.keys() == {"benchmark-ticks.svg", "benchmark-growth.svg"}
    for picture in pictures.values():
        ET.fromstring(picture)
        assert len(picture) < 100_000
