"""Ours against ArcticDB's on the same SeaweedFS server, in one run, by turns.

``python -m tests.benchmarks.run [--rows N] [--rounds N] [--json FILE]`` prints, for each task, the median seconds
of both, requests made and bytes stored by ours, and SQL over our segments against the same query typed by hand.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pandas as pd

import duckvstore as vs
from duckvstore.sql.driver import httpfs
from duckvstore.sql.session import Session
from tests.counting import CountingObjects
from tests.servers import SeaweedServer

SMALL = 50


def frame(rows: int) -> pd.DataFrame:
    """Return ``rows`` x 9 of market-like data: sorted times, low-cardinality text, prices, counts, flags."""
    random = np.random.default_rng(7)
    index = pd.DatetimeIndex(np.datetime64("2026-01-01", "ns") + np.arange(rows) * np.timedelta64(50_000_000, "ns"))
    symbols = np.array([f"SYM{number:03d}" for number in range(200)])
    venues = pd.Categorical.from_codes(random.integers(0, 6, rows), [f"venue{number}" for number in range(6)])
    price = np.round(100 + np.cumsum(random.normal(0, 0.01, rows)), 4)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "sym": symbols[random.integers(0, 200, rows)],
            "venue": venues.astype(str),
            "price": price,
            "bid": price - 0.01,
            "noise": random.normal(size=rows),
            "qty": random.integers(1, 500, rows).astype(np.int32),
            "buy": random.random(rows) > 0.5,
        },
        index=index.rename("time"),
    )


@dataclass
class Figure:
    """One task: seconds of each round for both sides, and what ours asked of the server."""

    task: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    requests: int = 0
    note: str = ""

    def row(self) -> list[str]:
        ours = statistics.median(self.ours) if self.ours else float("nan")
        theirs = statistics.median(self.theirs) if self.theirs else float("nan")
        return [
            self.task,
            f"{ours:.3f}",
            f"{theirs:.3f}" if self.theirs else "-",
            f"{ours / theirs:.2f}" if self.theirs else "-",
            str(self.requests),
            self.note,
        ]


class Sides:
    """A fresh library of ours and of ArcticDB on one bucket each."""

    def __init__(self, server: SeaweedServer, data: pd.DataFrame, rounds: int) -> None:
        self.data, self.rounds = data, rounds
        url = server.create_bucket("bench-ours")
        store = vs.open(f"{url}/store", server.storage_options())
        self.counting = CountingObjects(store.objects)
        self.lib = vs.Store(self.counting).create_library("bench")
        self.arctic = self._open_arctic(server)
        self.figures: list[Figure] = []

    def _open_arctic(self, server: SeaweedServer) -> Any:
        try:
            from arcticdb import Arctic
        except ImportError:
            print("arcticdb is not installed: only our figures", file=sys.stderr)
            return None
        server.create_bucket("bench-arctic")
        options = server.storage_options()
        host, _, port = options["endpoint_url"].removeprefix("http://").partition(":")
        uri = (
            f"s3://{host}:bench-arctic?port={port}&access={options['access_key_id']}"
            f"&secret={options['secret_access_key']}&use_virtual_addressing=false"
        )
        return Arctic(uri).create_library("bench")

    def task(self, name: str, ours: Callable[[], Any], theirs: Callable[[], Any] | None, note: str = "") -> None:
        """Time both by turns; the first round warms up and is not counted."""
        figure = Figure(name, note=note)
        for round_number in range(self.rounds + 1):
            self.counting.reset()
            seconds = timed(ours)
            if round_number:
                figure.ours.append(seconds)
            figure.requests = self.counting.request_count
            if theirs is not None and self.arctic is not None:
                seconds = timed(theirs)
                if round_number:
                    figure.theirs.append(seconds)
        self.report(figure)

    def report(self, figure: Figure) -> None:
        """Keep a figure and print its row."""
        self.figures.append(figure)
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(figure.row(), WIDTHS, strict=True)), flush=True)


WIDTHS = (34, 9, 9, 7, 9, 0)


def timed(action: Callable[[], Any]) -> float:
    """Return the seconds that ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(sides: Sides) -> None:
    """Run every task."""
    lib, arctic, data = sides.lib, sides.arctic, sides.data
    small = data.head(100)
    numbers: Iterator[int] = iter(range(10**6))
    price = float(data["price"].quantile(0.99))
    cut = data.index[int(len(data) * 0.99)]
    # A symbol of its own each round: what is there already would be shared.
    sides.task(
        "write",
        lambda: lib.write(f"big{next(numbers)}", data),
        lambda: arctic.write(f"big{next(numbers)}", data),
    )
    lib.write("big", data)
    if arctic is not None:
        arctic.write("big", data)
    sides.task("read whole", lambda: lib.read("big").data, lambda: arctic.read("big").data)
    columns = ["price", "qty", "sym"]
    sides.task(
        "read 3 columns",
        lambda: lib.read("big", columns=columns).data,
        lambda: arctic.read("big", columns=columns).data,
    )
    sides.task(
        "1 % filter by value",
        lambda: lib.read("big", where=f"price > {price}").data,
        lambda: arctic.read("big", query_builder=_query()[_query()["price"] > price]).data,
    )
    sides.task(
        "1 % filter by date",
        lambda: lib.read("big", date_range=(cut, None)).data,
        lambda: arctic.read("big", date_range=(cut, None)).data,
    )
    sides.task("1 % filter in SQL", lambda: lib.sql(f"SELECT * FROM big WHERE price > {price}").df(), None)
    sides.task(
        "group by",
        lambda: lib.sql("SELECT sym, sum(price) AS price FROM big GROUP BY sym").df(),
        lambda: arctic.read("big", query_builder=_query().groupby("sym").agg({"price": "sum"})).data,
    )
    appends(sides)
    sides.task(
        f"{SMALL} small writes, new symbols",
        lambda: [lib.write(f"small{next(numbers)}", small) for _ in range(SMALL)],
        lambda: [arctic.write(f"small{next(numbers)}", small) for _ in range(SMALL)],
    )
    sides.task(
        f"{SMALL} small writes, one symbol",
        lambda: [lib.write("again", small) for _ in range(SMALL)],
        lambda: [arctic.write("again", small) for _ in range(SMALL)],
    )
    names = [f"read{number}" for number in range(SMALL)]
    for name in names:
        lib.write(name, small)
        if arctic is not None:
            arctic.write(name, small)
    sides.task(
        f"{SMALL} small reads",
        lambda: [lib.read(name).data for name in names],
        lambda: [arctic.read(name).data for name in names],
    )
    sides.task("list_symbols", lambda: lib.list_symbols(), lambda: arctic.list_symbols())


def appends(sides: Sides) -> None:
    """Time appends to the large symbol."""
    lib, arctic, data = sides.lib, sides.arctic, sides.data
    lib.write("grows", data)
    if arctic is not None:
        arctic.write("grows", data)
    step = data.index[-1] - data.index[0] + pd.Timedelta(seconds=1)
    chunks = [data.head(10_000).set_axis(data.index[:10_000] + step * (number + 1)) for number in range(40)]
    ours, theirs = iter(chunks), iter(chunks)
    sides.task(
        "append of 10,000 rows",
        lambda: lib.append("grows", next(ours)),
        (lambda: arctic.append("grows", next(theirs))) if arctic is not None else None,
    )


def sharing(sides: Sides) -> None:
    """Time writes of almost the same frame, and print what share of its bytes was new."""
    lib, arctic, data = sides.lib, sides.arctic, sides.data
    middle = len(data) // 2
    changed = data.copy()
    changed.iloc[middle, 3] += 1
    first = data.head(1).set_axis(data.index[:1] - pd.Timedelta(seconds=1))
    edits = {
        "identical": data,
        "one changed cell": changed,
        "one row inserted at the front": pd.concat([first, data]),
        "1 % deleted in the middle": pd.concat([data.iloc[:middle], data.iloc[middle + len(data) // 100 :]]),
    }
    for name, edited in edits.items():
        figure = Figure(f"rewrite: {name}")
        for number in range(sides.rounds):
            symbol = f"shared {name} {number}"
            lib.write(symbol, data)
            sides.counting.reset()
            found: list[Any] = []
            figure.ours.append(timed(lambda: found.append(lib.write(symbol, edited))))
            figure.requests = sides.counting.request_count
            figure.note = f"{found[0].new_bytes / found[0].stored_bytes:.1%} new bytes"
            if arctic is not None:
                arctic.write(symbol, data)
                figure.theirs.append(timed(lambda: arctic.write(symbol, edited)))
        sides.report(figure)


def small_appends(sides: Sides) -> None:
    """Append 10 rows 10,000 times; print rows written per row, the slowest append and the cost of a full read."""
    count = 10_000
    data = sides.data.head(count * 10)
    counting = sides.counting
    written, seconds = 0, []
    for start in range(0, count * 10, 10):
        rows = data.iloc[start : start + 10]
        found: list[Any] = []
        seconds.append(timed(lambda: found.append(sides.lib.append("tiny", rows))))
        written += found[0].new_rows
    counting.reset()
    read = timed(lambda: vs.Store(counting).get_library("bench").read("tiny").data)
    print(
        f"{count:,} appends of 10 rows: {sum(seconds):.1f} s, median {statistics.median(seconds) * 1e3:.1f} ms, "
        f"slowest {max(seconds) * 1e3:.0f} ms; {written / (count * 10):.2f} rows written per row; a full read then "
        f"takes {counting.request_count} requests and {read:.2f} s"
    )


def _query() -> Any:
    from arcticdb import QueryBuilder

    return QueryBuilder()


def by_hand(sides: Sides) -> None:
    """Time SQL over our segments against the same query typed by hand over the same files, in plain DuckDB.

    The plain connection has the same secret and trusts its file cache too, which is the harder comparison.
    Cold: a new session and a new connection for each round, extension and secret loaded, no file seen yet.
    """
    lib = sides.lib
    version = lib.read_metadata("big").version
    rows = lib.sql(
        "SELECT key FROM vstore.segments WHERE symbol = 'big' AND version = $v ORDER BY segment", {"v": version}
    ).fetchall()
    root = lib.open_library.layout.root
    uris = ", ".join(f"'{lib.open_library.objects.uri(root + key)}'" for (key,) in rows)
    plain = plain_connection(lib)
    for name, select in QUERIES.items():
        typed = select.format(f"read_parquet([{uris}])", price=float(sides.data["price"].quantile(0.99)))
        ours = select.format(f"big AT VERSION {version}", price=float(sides.data["price"].quantile(0.99)))
        figure, cold = Figure(f"SQL {name}, warm, vs by hand"), Figure(f"SQL {name}, cold, vs by hand")
        for round_number in range(sides.rounds + 1):
            hand, seconds = timed(lambda: plain.execute(typed).fetchall()), timed(lambda: lib.sql(ours).fetchall())
            session = Session({lib.name: lib.open_library}, default=lib.open_library)
            session.sql("SELECT count(*) FROM again").fetchall()  # the extension and the secret are there, as by hand
            cold_seconds = timed(lambda: session.sql(ours).fetchall())
            session.close()
            other = plain_connection(lib)
            cold_hand = timed(lambda: other.execute(typed).fetchall())
            other.close()
            if round_number:
                figure.ours.append(seconds)
                figure.theirs.append(hand)
                cold.ours.append(cold_seconds)
                cold.theirs.append(cold_hand)
        for found in (figure, cold):
            sides.report(found)


QUERIES = {
    "count and sum": "SELECT count(*), sum(price) FROM {}",
    "group by": "SELECT sym, avg(price), max(qty) FROM {} GROUP BY sym ORDER BY sym",
    "1 % filter": "SELECT id, price FROM {} WHERE price > {price}",
    "window": "SELECT max(c) FROM (SELECT row_number() OVER (PARTITION BY sym ORDER BY id) AS c FROM {})",
}


def plain_connection(lib: vs.Library) -> duckdb.DuckDBPyConnection:
    """Return DuckDB as an expert would set it up by hand for these files."""
    connection = duckdb.connect(":memory:")
    httpfs.load(connection)
    secret = lib.open_library.objects.scan_secret()
    settings = ", ".join(
        f"{name} {value!r}" if isinstance(value, str) else f"{name} {value}" for name, value in secret.items()
    )
    connection.execute(f"CREATE SECRET (TYPE s3, {settings})")
    connection.execute("SET validate_external_file_cache = 'NO_VALIDATION'")
    return connection


def stored(sides: Sides, server: SeaweedServer) -> None:
    """Print the bytes that one version of the whole frame takes on either side."""
    info = sides.lib.get_description("big")
    print(
        f"stored bytes of one version: ours {info.stored_bytes / 1e6:.1f} MB in {info.segment_count} segments; "
        f"logical {info.logical_bytes / 1e6:.1f} MB"
    )
    if sides.arctic is not None:
        sides.arctic.write("only", sides.data)
        pages = server.client().get_paginator("list_objects_v2").paginate(Bucket="bench-arctic")
        sizes = [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]
        total = sum(size for key, size in sizes if "only" in key)
        print(f"ArcticDB {total / 1e6:.1f} MB")


def main() -> None:
    """Run with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the 10,000 small appends")
    parser.add_argument("--json", help="write the figures to this file as well")
    arguments = parser.parse_args()
    data = frame(arguments.rows)
    with SeaweedServer() as server:
        sides = Sides(server, data, arguments.rounds)
        print(f"{arguments.rows:,} rows x {data.shape[1] + 1} columns, median of {arguments.rounds}")
        print(
            "  ".join(
                f"{cell:>{width}}"
                for cell, width in zip(("task", "ours s", "arctic s", "ratio", "requests", ""), WIDTHS, strict=True)
            )
        )
        run(sides)
        sharing(sides)
        by_hand(sides)
        stored(sides, server)
        if not arguments.quick:
            small_appends(sides)
    info = sides.figures
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump([figure.__dict__ for figure in info], file, indent=1)


if __name__ == "__main__":
    main()
