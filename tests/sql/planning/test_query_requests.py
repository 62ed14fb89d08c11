"""What a query over S3 asks of the server, seen by the server: no more than ``read_parquet`` over the same segments."""

from __future__ import annotations

import threading
from collections import Counter
from urllib.parse import parse_qs

import duckdb
import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.objects import open_objects
from duckvstore.sql.driver import httpfs
from tests.conftest import fresh_bucket
from tests.cuts import cut_every
from tests.servers import MotoServer

pytestmark = [pytest.mark.duckdb1, pytest.mark.s3]
NAMES = ("orders", "quotes", "trades")
FRAME = pd.DataFrame({"n": range(1000), "price": [float(n % 7) for n in range(1000)], "side": ["buy", "sell"] * 500})


class Recorder:
    """Stands before a server's application and notes every request, ours and DuckDB's own alike."""

    def __init__(self, application) -> None:
        self.application = application
        self.seen: list[tuple[str, str, str]] = []
        self.meeting: threading.Barrier | None = None

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = parse_qs(environ["QUERY_STRING"])
        if "list-type" in query:
            method, path = "LIST", query["prefix"][0]
            if self.meeting is not None:
                self.meeting.wait()
        self.seen.append((method, path, environ.get("HTTP_RANGE", "")))
        return self.application(environ, start_response)

    def taken(self) -> list[tuple[str, str, str]]:
        """Return (method, key, range) of each request since the last call."""
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture(scope="module")
def server():
    with MotoServer() as started:
        yield started


@pytest.fixture
def recorder(server):
    application = server._server.app
    server._server.app = Recorder(application)
    yield server._server.app
    server._server.app = application


@pytest.fixture(scope="module")
def bucket(server):
    """A library with three symbols of ten segments each, sorted by n."""
    made = fresh_bucket(server)
    library = vs.open(made.url, made.storage_options).create_library("eod")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 100)
        for name in NAMES:
            library.write(name, FRAME)
            library.write(name, FRAME.assign(price=FRAME["price"] * 2))
    return made


@pytest.fixture
def lib(bucket):
    """A handle that knows the documents of both versions, and no segment."""
    library = vs.open(bucket.url, bucket.storage_options).get_library("eod")
    for name in NAMES:
        for number in range(2):
            library.read_metadata(name, as_of=number)
    yield library
    library.session.close()


def addresses(library, name, version, start, end):
    """Return where the segments ``start`` up to ``end`` of a version are."""
    opened = library.open_library
    segments = opened.version(name, version).segments[start:end]
    return [opened.objects.uri(opened.layout.segment_key(segment.key)) for segment in segments]


@pytest.fixture
def plain(bucket):
    """DuckDB by itself, as somebody would use it who knows which files are needed."""
    instance = duckdb.connect()
    httpfs.load(instance)
    secret = open_objects(bucket.url, bucket.storage_options).scan_secret()
    words = ", ".join(f"{name} '{value}'" for name, value in secret.items())
    instance.execute(f"CREATE SECRET (TYPE s3, {words})")
    yield instance
    instance.close()


# A query over symbols, and the segments of each that its filters leave.
CASES = {
    "a filter": ("SELECT count(price), min(side) FROM {trades} WHERE n BETWEEN 250 AND 449", {"trades": (2, 5)}),
    "all rows of one column": ("SELECT sum(price) FROM {trades}", {"trades": (0, 10)}),
    "all columns": ("SELECT * FROM {trades} WHERE n >= 800 ORDER BY n", {"trades": (8, 10)}),
    "a count": ("SELECT count(*) FROM {trades}", {"trades": (0, 10)}),
    "a join": (
        """SELECT t.side, sum(q.price) FROM {trades} t JOIN {quotes} q ON t.n = q.n AND q.n < 300
        JOIN {orders} o ON o.n = t.n AND o.n BETWEEN 210 AND 260 WHERE t.n > 120 GROUP BY ALL ORDER BY ALL""",
        {"trades": (1, 10), "quotes": (0, 3), "orders": (2, 3)},
    ),
    "a subquery and a union": (
        """SELECT count(*) FROM {trades} WHERE n < 100 AND price > (SELECT min(price) FROM {quotes} WHERE n >= 900)
        UNION ALL SELECT sum(n) FROM {orders} WHERE n = 500""",
        {"trades": (0, 1), "quotes": (9, 10), "orders": (5, 6)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_query_over_known_versions_asks_what_read_parquet_asks(lib, plain, recorder, case):
    """Cold it makes exactly the requests that the segments it needs take, listed by hand; warm it makes none."""
    text, needed = CASES[case]
    files = {name: addresses(lib, name, 0, *place) for name, place in needed.items()}
    recorder.taken()
    by_hand = text.format(**{name: f"read_parquet({uris})" for name, uris in files.items()})
    expected = plain.execute(by_hand).fetchall()
    allowed = recorder.taken()
    sql = text.format(**{name: f"{name} AT VERSION 0" for name in files})
    assert lib.sql(sql).fetchall() == expected
    assert sorted(recorder.taken()) == sorted(allowed)
    for _ in range(2):
        assert lib.sql(sql).fetchall() == expected
        assert recorder.taken() == []


def test_pruned_segments_cost_nothing_and_those_read_before_are_not_read_again(lib, recorder):
    """The second query reads the segments that the first one did not."""
    lib.sql("SELECT sum(price) FROM trades AT VERSION 0 WHERE n BETWEEN 250 AND 449").fetchall()
    first = [key for method, key, _ in recorder.taken() if method == "GET" and "/segments/" in key]
    lib.sql("SELECT sum(price) FROM trades AT VERSION 0").fetchall()
    second = [key for method, key, _ in recorder.taken() if method == "GET" and "/segments/" in key]
    assert sorted("s3:/" + key for key in first) == sorted(addresses(lib, "trades", 0, 2, 5))
    assert sorted("s3:/" + key for key in first + second) == sorted(addresses(lib, "trades", 0, 0, 10))


def test_large_segments_are_read_by_column_and_row_group(lib, recorder, plain, monkeypatch):
    """Of megabytes in several row groups as little, in as few requests, as DuckDB itself reads."""
    rows = 400_000
    cut_every(monkeypatch, rows // 2)
    values = np.random.default_rng(1).normal(size=(rows, 3))
    lib.write("large", pd.DataFrame(values, columns=["a", "b", "c"]).assign(n=np.arange(rows)))
    text = "SELECT sum(b) FROM {} WHERE n >= 390_000"
    (address,) = addresses(lib, "large", 0, 1, 2)
    recorder.taken()
    expected = plain.execute(text.format(f"read_parquet('{address}')")).fetchall()
    allowed = recorder.taken()
    assert len(allowed) > 2, "not the whole file at once"
    assert lib.sql(text.format("large AT VERSION 0")).fetchall() == expected
    assert sorted(recorder.taken()) == sorted(allowed)


def test_a_version_of_several_schemas_asks_no_more_than_a_union_by_name(lib, plain, recorder, monkeypatch):
    """A column that only the newest segments have changes nothing about the requests."""
    cut_every(monkeypatch, 100)
    lib.write("grown", FRAME.head(300))
    lib.append("grown", FRAME.tail(200).set_axis(pd.RangeIndex(300, 500)).assign(venue=7))
    text = "SELECT max(venue), sum(price) FROM {} WHERE n >= 200"
    files = addresses(lib, "grown", 1, 2, 9)
    recorder.taken()
    expected = plain.execute(text.format(f"read_parquet({files}, union_by_name = true)")).fetchall()
    allowed = recorder.taken()
    assert lib.sql(text.format("grown AT VERSION 1")).fetchall() == expected
    assert not Counter(recorder.taken()) - Counter(allowed)


def test_newest_versions_are_found_by_listings_in_parallel(lib, recorder):
    """Warm, each symbol takes one LIST and nothing else. The listings wait for one another here, so none came alone."""
    alone = "SELECT sum(n) FROM trades"
    joined = "SELECT count(*) FROM trades JOIN quotes USING (n) JOIN orders USING (n)"
    for sql in (alone, joined):
        lib.sql(sql).fetchall()
    recorder.taken()
    listings = [("LIST", f"eod/versions/{name}/", "") for name in NAMES]
    assert lib.sql(alone).fetchall() == [(499500,)]
    assert recorder.taken() == listings[2:]
    recorder.meeting = threading.Barrier(3, timeout=20)
    assert lib.sql(joined).fetchall() == [(1000,)]
    assert sorted(recorder.taken()) == sorted(listings)


def test_several_newest_versions_take_a_second_look_only_where_something_is_new(lib, bucket, recorder):
    """Two equal looks prove that they were newest at one moment; what the handle remembers counts as the first."""
    joined = "SELECT count(*) FROM trades JOIN quotes USING (n)"

    def looks() -> int:
        recorder.taken()
        lib.sql(joined).fetchall()
        return sum(method == "LIST" for method, *_ in recorder.taken())

    lib.session.close()
    lib = vs.open(bucket.url, bucket.storage_options).get_library("eod")
    assert [looks(), looks()] == [4, 2]
    vs.open(bucket.url, bucket.storage_options)["eod"].append("quotes", FRAME.head(1))
    assert [looks(), looks()] == [4, 2]
    lib.append("quotes", FRAME.head(1))
    assert looks() == 2
    lib.session.close()
