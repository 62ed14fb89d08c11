"""What listings of a large library cost, before and after a fold: ``python -m tests.benchmarks.listings 1000x10``.

A library is cloned from a real document, so that it is made in seconds. Requests, bytes and seconds of each operation
are printed, cold (a fresh handle) and warm (the same again), as a table of Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pandas as pd

import duckvstore as vs
from duckvstore import clock
from duckvstore.concurrency import IO
from duckvstore.errors import DuckVStoreError
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 2000


def clone(lib: vs.Library, symbols: int, versions: int, name: str = "s{:06}") -> None:
    """Give ``lib`` so many symbols of so many versions each: documents of one frame, which all refer to its segment."""
    frame = pd.DataFrame(
        {"price": [1.5, 2.5], "size": [1, 2]}, index=pd.date_range("2026-01-01", periods=2, name="day")
    )
    lib.write("origin", frame)
    opened = lib.open_library
    data = opened.objects.read(opened.layout.version("origin", 0))
    made = opened.version("origin", 0)
    stamp = made.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def put(pair: tuple[str, int]) -> None:
        symbol, number = pair
        time = (made.created_at + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        parent = "null" if number == 0 else str(number - 1)
        text = (
            data.decode()
            .replace('"symbol":"origin"', f'"symbol":"{symbol}"')
            .replace('"version":0', f'"version":{number}')
            .replace(made.write_id, clock.new_id())
            .replace(stamp, time)
            .replace('"parent":null', f'"parent":{parent}')
        )
        opened.objects.put(opened.layout.version(symbol, number), text.encode())

    pairs = ((name.format(at), number) for at in range(symbols) for number in range(versions))
    for batch in progress(list(_batches(pairs)), "making a library", "batch"):
        IO.map(put, batch, at_once=32)


def _batches(pairs: Iterator[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    batch: list[tuple[str, int]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def operations(symbol: str, versions: int) -> dict[str, Callable[[vs.Library], object]]:
    """Return what is measured, by name."""
    return {
        "list_symbols": lambda lib: lib.list_symbols(),
        "has_symbol of an absent name": lambda lib: lib.has_symbol("no such symbol"),
        "read of an absent name": lambda lib: _failing(lambda: lib.read("no such symbol")),
        "read of one": lambda lib: lib.read(symbol),
        "list_versions of one": lambda lib: lib.list_versions(symbol),
        f"as_of={-versions}": lambda lib: lib.has_symbol(symbol, as_of=-versions),
        "SHOW TABLES": lambda lib: lib.sql("SHOW TABLES").arrow(),
        "vstore.symbols WHERE symbol = …": lambda lib: lib.sql(
            "FROM vstore.symbols WHERE symbol = $symbol", {"symbol": symbol}
        ).arrow(),
        "vstore.versions WHERE symbol = …": lambda lib: lib.sql(
            "FROM vstore.versions WHERE symbol = $symbol", {"symbol": symbol}
        ).arrow(),
        "count and group of vstore.versions": lambda lib: lib.sql(
            "SELECT operation, count(*) FROM vstore.versions GROUP BY operation"
        ).arrow(),
        "snapshot of everything": lambda lib: lib.snapshot(clock.new_id()),
        "gc, dry run": lambda lib: lib.gc(),
    }


def _failing(call: Callable[[], object]) -> None:
    with suppress(DuckVStoreError):
        call()


def measure(url: str, symbols: int, versions: int, slow: set[str]) -> list[str]:
    """Return the lines of the table for one library; ``slow``: operations left out before it is folded."""
    store = vs.open(url)
    lib = store.get_library(f"listings{symbols}x{versions}", create_if_missing=True)
    if not lib.has_symbol("origin"):
        clone(lib, symbols, versions)
    symbol = f"s{symbols // 2:06}"
    lines = []

    def run(state: str, name: str, call: Callable[[vs.Library], object]) -> None:
        handle = vs.open(url).get_library(lib.name)
        for kind in ("cold", "warm"):
            watch = clock.Stopwatch()
            with vs.trace() as trace:
                call(handle)
            seconds = watch.elapsed_seconds()
            line = f"| {symbols:,} x {versions:,} | {state} | {name} | {kind} | {trace.total.count:,} | {seconds:.3f} |"
            lines.append(line)
            print(line, flush=True)

    for name, call in operations(symbol, versions).items():
        if name not in slow:
            run("documents", name, call)
    run("fold", "first fold, second fold", lambda handle: handle.fold())
    for name, call in operations(symbol, versions).items():
        run("folded", name, call)
    return lines


def main() -> None:
    """Measure libraries of the sizes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=["1000x1", "10000x1"], help="SYMBOLSxVERSIONS")
    parser.add_argument("--url", help="of a store (default: a folder that is removed)")
    parser.add_argument("--skip", action="append", default=[], help="an operation to leave out before the fold")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or folder
        print(f"{urlsplit(url).scheme or 'folder'}\n| library | state | operation | | requests | seconds |")
        for size in options.sizes:
            measure(url, *map(int, size.split("x")), set(options.skip))


if __name__ == "__main__":
    main()
