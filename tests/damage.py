"""Damages documents of stores and calls the public API on what is left: ``python -m tests.damage SEED COUNT``.

Runs in a process of its own, so that a crash, a hang or a huge allocation is a failure and not the end of the tests.
Each call prints one line of JSON; before a document is damaged a line says which and how.
"""

from __future__ import annotations

import base64
import json
import random
import resource
import sys
import traceback
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from duckvstore.api.store import Store
from duckvstore.errors import DuckVStoreError, Integrity, Unsupported
from duckvstore.format.stored import layout
from duckvstore.objects.memory import MemoryObjects

FORMAT = Path(__file__).parent / "format"
GOLDEN = {"golden": "golden", "golden_edits": "edits", "golden_altered": "altered", "golden_labels": "labels"}
MEMORY_BYTES_MAX = 12 * 2**30  # of addresses, beside what the process has: threads take some; no document here is large
SECONDS_MAX = 20
# fmt: off
EXTREMES = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308,
    "", "x", "nan", "9" * 40, "../../etc/passwd", "/etc/passwd", "a\x1b[31m\n\u202eb", "\0",
    [], {}, [None], [[]], [{}], {"a": 1}, {"$": 1}, {"$float": "x"}, {"$Timestamp": [1, "s", "../x"]}, {"type": "?"},
)
WORDS = (
    "write", "deleted", "dataframe", "series", "json", "pickle", "nested", "ndarray", "arrow", "polars", "tree",
    "committed", "aborted", "int64", "float64", "object", "bool", "M8[ns]", "<U1000000000", "V9", "O", "categorical",
    "string", "masked", "period", "interval", "sparse", "datetimetz", "raw", "boxed", "null", "str", "bytes", "list",
    "plain", "physical", "date", "empty", "Int8", "Float64", "UTC", "Europe/Berlin", "s", "ns", "us", "h", "right",
)
# fmt: on


def frame() -> pd.DataFrame:
    """A frame with a column of each kind that pandas has and this format tells apart."""
    rows = 6
    time = pd.date_range("2026-03-01", periods=rows, freq="h", tz="Europe/Berlin", name="time")
    return pd.DataFrame(
        {
            "price": [1.5, np.nan, 3.0, 4.0, 5.0, 6.0],
            "qty": pd.array([1, None, 3, 4, 5, 6], dtype="Int32"),
            "label": pd.Series(["a", None, "c", "d", "e", "f"], dtype=object).to_numpy(),
            "kind": pd.Categorical(list("aabbca"), categories=list("abcd"), ordered=True),
            "level": pd.Categorical([1, 2, 1, 2, 3, 1]),
            "fee": [Decimal("1.25")] * rows,
            "day": [date(2026, 1, 3)] * rows,
            "at": [datetime(2026, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))] * rows,
            "zone": pd.date_range("2026", periods=rows, tz=timezone(timedelta(hours=2))),
            "month": pd.period_range("2026-01", periods=rows, freq="M"),
            "span": pd.interval_range(0, rows),
            "thin": pd.arrays.SparseArray([0.0, 0.0, 1.0, 0.0, 0.0, 2.0]),
            "tags": [["a"], [], ["b", "c"], None, ["d"], []],
            "point": [{"x": 1, "y": "q"}] * rows,
            "vector": [np.arange(number) for number in range(rows)],
            "whole": pd.array(range(rows), dtype=pd.ArrowDtype(pa.int32())),
            "stamp": np.array([pd.Timestamp("2026-01-01", tz="UTC")] * rows, dtype=object),
            ("odd", 1): np.arange(rows) % 2 == 0,
        },
        index=time,
    )


def panel() -> pd.DataFrame:
    """A frame with several levels of rows and of columns, some of them missing."""
    times = pd.date_range("2026-03-01", periods=3, name="time")
    rows = pd.MultiIndex.from_product([times, ["a", "b"]], names=["time", "name"])
    columns = pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["outer", ("in", "ner")])
    return pd.DataFrame(np.arange(24.0).reshape(6, 4), index=rows, columns=columns)


def metadata() -> dict[object, object]:
    """Metadata with a value under each tag."""
    return {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "there": datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        "price": Decimal("1.10"),
        "pair": (1, {2, 3}),
        "stamp": pd.Timestamp("2026-01-01", tz="Europe/Berlin"),
        "raw": b"\0\1",
        "dollar": {"$x": float("nan")},
        "lasts": timedelta(days=1),
        "scalars": [np.float32(1.5), np.str_("abc"), pd.Period("2026-01", "M"), pd.Interval(0, 1), pd.NaT, pd.NA],
        7: date(2026, 1, 1),
    }


def make() -> MemoryObjects:
    """Return a store in memory whose library ``lib`` has a symbol of each kind and a document of each."""
    objects = MemoryObjects()
    library = Store(objects).create_library("lib")
    library.set_options(keep_last=3)
    for part in (frame(), frame().head(3)):
        library.write("frame", part, metadata=metadata())
    library.append("frame", frame().tail(3))
    library.write("panel", panel(), metadata={"a": {"b": [1]}})
    series = pd.Series([1.0, 2.0], index=pd.CategoricalIndex(["u", "v"]), name=("s", 1))
    series.attrs = {"unit": pd.Timedelta("1h")}
    library.write("series", series)
    library.write("range", pd.DataFrame({"a": [1, 2, 3]}, index=pd.RangeIndex(10, 40, 10, name="r")))
    library.write("bare", pd.DataFrame(index=pd.RangeIndex(5)))
    library.write("array", np.arange(24, dtype="int16").reshape(2, 3, 4))
    library.write("records", np.array([(1, 2.5, b"x"), (2, 3.5, b"y")], dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")]))
    library.write("complex", np.array([1 + 2j, 3j]))
    library.write("void", np.zeros((3, 0)))
    stamps = pa.array([1, 2, None], pa.timestamp("us", "Europe/Paris"))
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["k", "l"]))
    library.write("arrow", pa.table({"x": [1, None, 3], "tags": [["a"], [], None], "t": stamps, "d": codes}))
    polars = pl.DataFrame({"x": [1, None], "e": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])), "s": [{"f": 1}, None],
                           "t": pl.Series([datetime(2026, 1, 1)] * 2, dtype=pl.Datetime("us", "UTC"))})  # fmt: skip
    library.write("polars", polars)
    library.write("nested", {"t": (frame()[["price", "kind"]], [np.arange(3)]), "n": 1})
    library.write("json", {"a": [1, (2, Decimal("1.5"))], "z": datetime(2026, 1, 1)})
    library.write("pickled", {object}, allow_pickle=True)
    library.stage("staged", pd.DataFrame({"a": [1.0]}, index=pd.DatetimeIndex(["2026-01-01"])))
    library.snapshot("day", metadata={"why": pd.Timestamp("2026")})
    with library.transaction() as both:
        both.write("range", pd.DataFrame({"a": [1, 2]}))
        both.write("arrow", pa.table({"x": [1, 2]}))
    library.write("gone", pd.DataFrame({"a": [1]}))
    library.delete("gone")
    library.prune("frame", keep_last=1)
    return objects


def golden(folder: str) -> MemoryObjects:
    """Return a golden store, in memory."""
    objects = MemoryObjects()
    root = FORMAT / folder
    for path in root.rglob("*"):
        if path.is_file():
            objects.put(path.relative_to(root).as_posix(), path.read_bytes())
    return objects


def contents(objects: MemoryObjects) -> dict[str, bytes]:
    """Return all objects by key."""
    return {entry.key: objects.read(entry.key) for entry in objects.list("")}


def places(body: object, path: tuple = ()):
    """Yield the path of each value within ``body``; of long lists some items only."""
    if path:
        yield path
    if isinstance(body, dict):
        for key, value in body.items():
            yield from places(value, (*path, key))
    elif isinstance(body, list):
        for at in sorted({*range(min(len(body), 3)), *range(max(0, len(body) - 1), len(body))}):
            yield from places(body[at], (*path, at))


def damaged(rng: random.Random, body: dict) -> tuple[dict, str]:
    """Return a copy of ``body`` with one thing changed, and what."""
    body = json.loads(json.dumps(body))
    known = list(places(body))
    path = rng.choice(known)
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    last, old = path[-1], holder[path[-1]]
    how = rng.choice(("delete", "extreme", "extreme", "extreme", "word", "nest", "list", "number", "swap", "own"))
    if how == "delete":
        del holder[last]
    elif how == "nest":
        new = old
        for _ in range(rng.choice((1, 1, 3, 500))):
            new = rng.choice(([new], {"$tuple": [new]}, {"a": new}))
        holder[last] = new
    elif how == "swap":
        other = rng.choice(known)
        source = body
        for step in other:
            source = source[step]
        holder[last] = json.loads(json.dumps(source))
    elif how == "word":
        holder[last] = rng.choice(WORDS)
    else:
        holder[last] = _changed(rng, old) if how != "extreme" else rng.choice(EXTREMES)
    made = holder.get(last) if isinstance(holder, dict) else "…"
    return body, f"{how} at {'/'.join(map(str, path))}: {old!r:.60} -> {made!r:.60}"


def _changed(rng: random.Random, old: object) -> object:
    """Return a value of the type of ``old`` that differs a little."""
    if isinstance(old, bool) or old is None:
        return rng.choice((None, True, False))
    if isinstance(old, int):
        return rng.choice((old + 1, old - 1, -old, old * 2, old * 10**6, old + 2**32))
    if isinstance(old, float):
        return rng.choice((-old, old * 1e300, int(old)))
    if isinstance(old, list):
        new = list(old)
        rng.choice(
            (new.reverse, new.clear, lambda: new.pop() if new else None, lambda: new.append(new[0] if new else 1))
        )()
        return new
    if isinstance(old, dict):
        keys, values = list(old), list(old.values())
        rng.shuffle(values)
        return dict(zip(keys, values, strict=True))
    return _changed_text(rng, str(old))


def _changed_text(rng: random.Random, old: str) -> str:
    try:
        raw = bytearray(base64.b64decode(old, validate=True))
    except ValueError:
        raw = bytearray()
    if len(raw) >= 16 and rng.random() < 0.8:
        for _ in range(rng.choice((1, 1, 2, 8))):
            raw[rng.randrange(len(raw))] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        return base64.b64encode(raw).decode()
    return rng.choice((old[:-1], old + "x", old.upper(), old[::-1], old * 2, old.replace("0", "1"), "é" + old))


def damaged_bytes(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Return a document with something changed."""
    if rng.random() < 0.04:
        new = rng.choice(
            (b"", b"[]", b"null", data[: len(data) // 2], b"[" * 100_000, b'{"a":' * 100_000, b"\xff" + data, b"7")
        )
        return new, f"all of it: {new[:20]!r}"
    body, how = damaged(rng, json.loads(data))
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), how


CATALOGUE = ("symbols", "versions", "columns", "segments", "snapshots")
CALLS = {
    "read": lambda lib, symbol: lib.read(symbol, allow_pickle=False).data,
    "read arrow": lambda lib, symbol: lib.read(symbol, output_format="pyarrow").data,
    "read polars": lambda lib, symbol: lib.read(symbol, output_format="polars").data,
    "read pandas": lambda lib, symbol: repr(lib.read(symbol, output_format="pandas").data),
    "repr": lambda lib, symbol: repr(lib.read(symbol).data),
    "rows": lambda lib, symbol: lib.read(symbol, row_range=(1, 3)).data,
    "dates": lambda lib, symbol: lib.read(symbol, date_range=(pd.Timestamp("2026-01-02"), None)).data,
    "where": lambda lib, symbol: lib.read(symbol, where="1 = 1").data,
    "as of": lambda lib, symbol: lib.read(symbol, as_of=0).data,
    "as of time": lambda lib, symbol: lib.read(symbol, as_of=datetime(2030, 1, 1, tzinfo=UTC)).data,
    "as of snapshot": lambda lib, symbol: lib.read(symbol, as_of=next(iter(lib.list_snapshots()), None)).data,
    "tail": lambda lib, symbol: lib.tail(symbol, 2).data,
    "describe": lambda lib, symbol: repr(lib.get_description(symbol)),
    "metadata": lambda lib, symbol: repr(lib.read_metadata(symbol)),
    "sql": lambda lib, symbol: lib.sql(f'SELECT * FROM "{symbol}"').fetchall(),
    "sql df": lambda lib, symbol: lib.sql(f'SELECT * FROM "{symbol}"').df(),
    "sql where": lambda lib, symbol: lib.sql(f"FROM \"{symbol}\" WHERE COLUMNS(*)::VARCHAR > 'b'").fetchall(),
    "sql at": lambda lib, symbol: lib.sql(f'SELECT count(*) FROM "{symbol}" AT VERSION 0').fetchall(),
    "symbols": lambda lib, symbol: lib.list_symbols(),
    "versions": lambda lib, symbol: repr(lib.list_versions(symbol)),
    "all versions": lambda lib, symbol: repr(lib.list_versions()),
    "snapshots": lambda lib, symbol: repr(lib.list_snapshots()),
    "vstore": lambda lib, symbol: [lib.sql(f"FROM vstore.{name}").fetchall() for name in CATALOGUE],
    "show": lambda lib, symbol: lib.sql("SHOW TABLES").fetchall(),
    "verify": lambda lib, symbol: repr(lib.verify()),
    "gc": lambda lib, symbol: repr(lib.gc(dry_run=True)),
    "sizes": lambda lib, symbol: repr(lib.sizes()),
    "snapshot": lambda lib, symbol: repr(lib.snapshot("new")),
    "diff": lambda lib, symbol: repr(lib.diff(symbol, 0, None)),
    "browse": lambda lib, symbol: lib.browse(),
    "append": lambda lib, symbol: lib.append(symbol, lib.read(symbol, row_range=(0, 2)).data, validate_index=False),
    "write": lambda lib, symbol: lib.write(symbol, pd.DataFrame({"a": [1]})),
    "update": lambda lib, symbol: lib.update(symbol, lib.read(symbol).data),
    "restore": lambda lib, symbol: lib.restore_version(symbol, 0),
    "write metadata": lambda lib, symbol: lib.write_metadata(symbol, {"a": 1}),
    "update in SQL": lambda lib, symbol: lib.sql(f'DELETE FROM "{symbol}" WHERE random() > 2'),
    "finalize": lambda lib, symbol: lib.finalize_staged_data(next(iter(lib.get_staged_symbols()), symbol)),
    "options": lambda lib, symbol: lib.options,
    "prune": lambda lib, symbol: lib.prune(symbol, keep_last=1),
}  # fmt: skip


def outcome(library_name: str, data: dict[str, bytes], symbol: str, name: str) -> dict[str, object]:
    """Carry out one call on a store of its own, and say what came of it."""
    objects = MemoryObjects()
    for key, value in data.items():
        objects.put(key, value)
    library = None
    try:
        library = Store(objects).get_library(library_name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CALLS[name](library, symbol)
    except DuckVStoreError as error:
        return {
            "error": type(error).__name__,
            "kind": "integrity" if isinstance(error, (Integrity, Unsupported)) else "other",
            "text": str(error),
        }
    except BaseException as error:
        return {
            "error": type(error).__name__,
            "kind": "raw",
            "text": "".join(traceback.format_exception(error))[-3000:],
        }
    finally:
        if library is not None:
            library.session.close()
    return {"error": None, "kind": "none", "text": ""}


def run(seed: int, count: int) -> None:
    """Make ``count`` calls on damaged documents, chosen by ``seed``."""
    stores = {"lib": contents(make()), **{library: contents(golden(folder)) for folder, library in GOLDEN.items()}}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES_MAX, resource.RLIM_INFINITY))
    rng = random.Random(seed)
    names = list(CALLS)
    undamaged: dict[tuple[str, str, str], object] = {}
    made = 0
    while made < count:
        library = rng.choice(("lib", "lib", "lib", *GOLDEN.values()))
        data = dict(stores[library])
        documents = [key for key in data if key.endswith(".json")]
        versions = [key for key in documents if "/versions/" in key]
        key = rng.choice([*documents, *versions, *versions])
        data[key], how = damaged_bytes(rng, data[key])
        parts = key.split("/")
        symbol = (
            layout.unescape(parts[2])
            if parts[1] in ("versions", "garbage", "staging")
            else rng.choice(("frame", "range", "arrow"))
        )
        for name in rng.sample(names, 5):
            print(json.dumps({"key": key, "how": how, "call": name, "begins": True}), flush=True)
            if (library, symbol, name) not in undamaged:
                undamaged[library, symbol, name] = outcome(library, stores[library], symbol, name)["error"]
            found = {**outcome(library, data, symbol, name), "undamaged": undamaged[library, symbol, name]}
            print(json.dumps({"key": key, "how": how, "call": name, **found}), flush=True)
            made += 1


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
