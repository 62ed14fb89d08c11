"""Every operation on a real server whose answers break off: each at each byte of its head and of its body.

A proxy of ours (tests/cutting.py) lets a request take effect and ends the connection within the answer. Afterwards the
library is as it was, or as the operation makes it, also after later collections; and what an operation answered is
what it answers without a cut.
"""

from __future__ import annotations

import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from duckvstore.objects import open_objects
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.sql.driver import httpfs
from tests.conftest import fresh_bucket
from tests.cuts import cut_every
from tests.cutting import Cut, CuttingProxy, repeat_at_once
from tests.upkeep import GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

# A usual run cuts some answers, at places that the seed chooses; a full one each answer of each operation at every so
# manyth byte of its head and its body: with DUCKVSTORE_WALK_STEP=1 at each (some 2 million cuts).
STEP = int(os.environ.get("DUCKVSTORE_WALK_STEP", "0")) or (83 if os.environ.get("DUCKVSTORE_FULL") else 0)
CUTS = int(os.environ.get("DUCKVSTORE_WALK_CUTS", "1"))
SEED = os.environ.get("DUCKVSTORE_WALK_SEED", "0")
ALWAYS = 10_000  # answers in a row: repeating does not help


class MovedTime(WrappedObjects):
    """An object store whose clock is so much before or after ours."""

    def __init__(self, inner, offset=timedelta(0)):
        super().__init__(inner)
        self.offset = offset

    def now(self):
        return self.inner.now() + self.offset


def frame(seed: int, length: int = 4) -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=length, freq="D", name="time", unit="ns") + pd.Timedelta(days=seed)
    return pd.DataFrame({"n": range(seed, seed + length), "s": [f"text {seed}"] * length}, index=index)


def template() -> dict[str, bytes]:
    """A library that has been in use for long: there is something to do for everything that removes data.

    ``a`` has five versions, one of them kept by a snapshot alone; ``b`` and ``c`` came of a transaction; ``d`` lost its
    first versions to a collection; ``e`` has staged parts; ``f`` was deleted; ``g`` has pruned versions that are due.
    """
    objects = MovedTime(MemoryObjects("walk"), -20 * GRACE)
    lib = vs.Store(objects).create_library("eod")
    lib.set_options(grace=GRACE)
    for number in range(2):
        lib.write("d", frame(number))
        lib.write("g", frame(number))
    lib.prune("d", keep_last=1)
    for _ in range(2):
        objects.offset += 2 * GRACE
        lib.gc(dry_run=False)
    for number in range(5):
        lib.write("a", frame(10 + number), metadata={"n": number})
    lib.snapshot("s", versions={"a": 0})
    with lib.transaction() as changes:
        changes.write("b", frame(20))
        changes.write("c", frame(21, 9))
    lib.write("f", frame(30))
    lib.delete("f")
    lib.prune("a", keep_last=3)
    lib.prune("g", keep_last=1)
    objects.offset += 2 * GRACE
    lib.gc(dry_run=False)
    objects.offset = timedelta(0)
    for number in range(2):
        lib.stage("e", frame(40 + 10 * number))
    return dict(objects.inner._objects)


# -- what there is -----------------------------------------------------------------------------------------------------


def text_of(data: Any) -> str:
    return f"{data.dtypes.to_dict()}\n{data.to_csv()}" if hasattr(data, "to_csv") else repr(data)


def described(objects: dict[str, bytes], later: timedelta = timedelta(0)) -> dict[str, Any]:
    """All that readers of a store find, of all its libraries; ``later``: after collections at such distances."""
    inner = MemoryObjects("described")
    inner._objects.update(objects)
    store = vs.Store(moved := MovedTime(inner))
    found: dict[str, Any] = {}
    for name in store.list_libraries():
        lib = store.get_library(name)
        if later:
            for _ in range(2):
                moved.offset += later
                lib.gc(dry_run=False)
            lib = vs.Store(moved).get_library(name)
        versions = lib.list_versions()
        found[name] = {
            (symbol, number): "deleted" if info.deleted else _version(lib, symbol, number)
            for (symbol, number), info in versions.items()
        }
        found[name, "symbols"] = lib.list_symbols()
        found[name, "snapshots"] = {
            snapshot: {symbol: _version(lib, symbol, snapshot) for symbol in lib.list_symbols(snapshot)}
            for snapshot in lib.list_snapshots()
        }
        staged = [key for key in inner._objects if key.startswith(f"{name}/staging/")]
        found[name, "staged"] = 0 if later else len(staged)  # an upload that was given up is removed in time
        found[name, "options"] = repr(lib.options)
    return found


def _version(lib, symbol: str, as_of) -> tuple[str, str]:
    item = lib.read(symbol, as_of=as_of)
    return text_of(item.data), repr(item.metadata)


class World:
    """The library on the real server, put back before each operation; and the way there through the proxy."""

    def __init__(self, bucket, proxy) -> None:
        self.bucket, self.proxy = bucket, proxy
        self.template = template()
        self._tags = {key: hashlib.md5(data).hexdigest() for key, data in self.template.items()}
        self._bytes = {(key, tag): self.template[key] for key, tag in self._tags.items()}
        self._client = bucket.server.client()
        self._pool = ThreadPoolExecutor(4)
        self.options = {**bucket.storage_options, "endpoint_url": proxy.endpoint}
        self.objects = self.opened()
        self.objects.now()  # from the first answer on, what gets no answer is repeated
        self.before = described(self.template)
        self.reset()

    def opened(self):
        """A client of its own, that has not heard of the server yet."""
        return open_objects(f"{self.bucket.url}/p", self.options)

    def _listed(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name, Prefix="p/"):
            found |= {item["Key"][2:]: item["ETag"].strip('"') for item in page.get("Contents", ())}
        return found

    def _delete(self, keys) -> None:
        if objects := [{"Key": f"p/{key}"} for key in keys]:
            self._client.delete_objects(Bucket=self.bucket.name, Delete={"Objects": objects})

    def reset(self) -> None:
        """Put the library back as it was; no answer is cut until the next ``begin``."""
        self.proxy.begin()
        listed = self._listed()
        self._delete(listed.keys() - self._tags.keys())
        missing = [key for key, tag in self._tags.items() if listed.get(key) != tag]
        put = self._client.put_object
        list(self._pool.map(lambda k: put(Bucket=self.bucket.name, Key=f"p/{k}", Body=self.template[k]), missing))

    def contents(self) -> dict[str, bytes]:
        """The bytes of all objects, asked of the server itself."""

        def bytes_of(item: tuple[str, str]) -> bytes:
            if item not in self._bytes:
                self._bytes[item] = self._client.get_object(Bucket=self.bucket.name, Key=f"p/{item[0]}")["Body"].read()
            return self._bytes[item]

        listed = self._listed()
        return {key: bytes_of((key, tag)) for key, tag in listed.items()}

    def close(self) -> None:
        self._delete(self._listed())
        self._client.delete_bucket(Bucket=self.bucket.name)
        self._pool.shutdown()
        self._client.close()


@pytest.fixture(scope="module")
def world(seaweed):
    with pytest.MonkeyPatch.context() as monkeypatch, CuttingProxy(seaweed.endpoint) as proxy:
        repeat_at_once(monkeypatch)
        cut_every(monkeypatch, 3)
        made = World(fresh_bucket(seaweed), proxy)
        yield made
        proxy.begin()
        made.close()


# -- operations -----------------------------------------------------------------------------------------------------


def transacted(lib) -> None:
    with lib.transaction() as both:
        both.append("b", frame(24))
        both.write("new", both.read("c").data)


def sql(lib, *statements: str) -> Any:
    """What SQL statements of a session of their own give."""
    try:
        return [lib.sql(statement).fetchall() for statement in statements]
    finally:
        lib.session.close()


def changed(lib, *statements: str) -> None:
    try:
        for statement in statements:
            lib.sql(statement)
    finally:
        lib.session.close()


def batch(found: list[Any]) -> list[Any]:
    """What a batch gave; an error of one item is the error of all."""
    for item in found:
        if isinstance(item, vs.DataError):
            raise item.error
    return [text_of(item.data) for item in found]


def scanned(lib) -> Any:
    """What another engine reads of a version; it has words of its own around an error of ours."""
    try:
        return duckdb.from_arrow(lib["c"]).aggregate("sum(n), count(*)").fetchall()
    except duckdb.Error as error:
        assert "try again" in str(error), error
        raise vs.StorageUnavailable(str(error)) from error


READS = {
    "read": lambda lib: text_of(lib.read("c").data),
    "read version": lambda lib: text_of(lib.read("a", as_of=3).data),
    "read snapshot": lambda lib: text_of(lib.read("a", as_of="s").data),
    "read missing": lambda lib: _missing(lambda: lib.read("nothing")),
    "read missing version": lambda lib: _missing(lambda: lib.read("a", as_of=77)),
    "row_range": lambda lib: text_of(lib.read("c", row_range=(2, 5)).data),
    "date_range": lambda lib: text_of(lib.read("c", date_range=("2026-01-24", "2026-01-26")).data),
    "where": lambda lib: text_of(lib.read("c", where="n > 27").data),
    "tail": lambda lib: text_of(lib.tail("c", 2).data),
    "read_metadata": lambda lib: lib.read_metadata("a").metadata,
    "description": lambda lib: str(lib.get_description("c")),
    "read_batch": lambda lib: batch(lib.read_batch(["a", "b", "c"])),
    "list_symbols": lambda lib: (lib.list_symbols(), lib.list_symbols("s")),
    "list_versions": lambda lib: [(key, info.operation) for key, info in lib.list_versions().items()],
    "list_snapshots": lambda lib: lib.list_snapshots(),
    "has_symbol": lambda lib: [lib.has_symbol(name) for name in ("a", "f", "nothing")],
    "staged": lambda lib: lib.get_staged_symbols(),
    "options": lambda lib: repr(lib.options),
    "verify": lambda lib: str(lib.verify()),
    "sizes": lambda lib: str(lib.sizes()),
    "gc, dry": lambda lib: str(lib.gc()),
    "handle": scanned,
    "diff": lambda lib: text_of(lib.diff("a", 3, 4, key="n").df()),
    "SELECT": lambda lib: sql(lib, "SELECT sum(n), min(s), count(*) FROM c", "SELECT count(*) FROM b WHERE n > 21"),
    "SELECT of the catalogue": lambda lib: sql(lib, "SELECT symbol, version FROM vstore.versions ORDER BY ALL"),
    "SELECT of versions": lambda lib: sql(lib, "SELECT sum(n) FROM a AT VERSION 3", "FROM a AT SNAPSHOT 's'"),
}


def _missing(call) -> str:
    try:
        return f"found {call()}"
    except vs.NotFound as error:
        return type(error).__name__


WRITES = {
    "write": lambda lib: lib.write("a", frame(50), metadata=1).version,
    "write new": lambda lib: lib.write("new", frame(50)).version,
    "write again": lambda lib: lib.write("c", frame(21, 9)).version,
    "append": lambda lib: lib.append("c", frame(30)).version,
    "update": lambda lib: lib.update("c", frame(23).assign(n=0)).version,
    "update a range": lambda lib: lib.update("c", frame(23), date_range=("2026-01-23", "2026-01-25")).version,
    "write and prune": lambda lib: lib.write("a", frame(50), prune_previous_versions=True).version,
    "delete": lambda lib: lib.delete("a"),
    "delete_rows": lambda lib: lib.delete_rows("c", "n < 24").version,
    "delete_data_in_range": lambda lib: lib.delete_data_in_range("c", ("2026-01-23", "2026-01-24")).version,
    "write_metadata": lambda lib: lib.write_metadata("a", {"other": 2}).version,
    "restore_version": lambda lib: lib.restore_version("a", "s").version,
    "write_batch": lambda lib: batch(lib.write_batch([vs.WritePayload(name, frame(60)) for name in "bc"])),
    "snapshot": lambda lib: lib.snapshot("t").versions,
    "delete_snapshot": lambda lib: lib.delete_snapshot("s"),
    "transaction": transacted,
    "stage": lambda lib: lib.stage("e", frame(70)) and None,
    "finalize": lambda lib: lib.finalize_staged_data("e").version,
    "finalize, sorted": lambda lib: lib.sort_and_finalize_staged_data("e").version,
    "delete_staged_data": lambda lib: lib.delete_staged_data("e"),
    "set_options": lambda lib: repr(lib.set_options(keep_last=7)),
    "publish": lambda lib: lib.publish() and None,
    "INSERT": lambda lib: changed(lib, "INSERT INTO c BY NAME SELECT * REPLACE (n + 1 AS n) FROM a"),
    "UPDATE": lambda lib: changed(lib, "UPDATE c SET n = 0 WHERE n > 25"),
    "DELETE": lambda lib: changed(lib, "DELETE FROM c WHERE n > 25"),
    "CREATE TABLE AS": lambda lib: changed(lib, "CREATE TABLE made AS SELECT n, s FROM c WHERE n < 27"),
    "BEGIN … COMMIT": lambda lib: changed(
        lib, "BEGIN", "UPDATE c SET n = n + (SELECT sum(n) FROM b)", "DELETE FROM b WHERE n > 21", "COMMIT"
    ),
}
REMOVALS = {
    "gc": lambda lib: lib.gc(dry_run=False) and None,
    "gc at once": lambda lib: lib.gc(dry_run=False, grace=timedelta(0)) and None,
    "prune": lambda lib: lib.prune("a", keep_last=1),
    "delete versions": lambda lib: lib.delete("a", versions=[2, 4]),
}
STORE_READS = {
    "list_libraries": lambda store: store.list_libraries(),
    "has_library": lambda store: [store.has_library(name) for name in ("eod", "none")],
    "get_library": lambda store: store.get_library("eod").list_symbols(),
    "get_library missing": lambda store: _missing(lambda: store.get_library("none")),
}
STORE_WRITES = {
    "create_library": lambda store: store.create_library("made").name,
    "get or create": lambda store: store.get_library("made", create_if_missing=True).name,
    "delete_library": lambda store: store.delete_library("eod"),
}


def eod(store):
    return store.get_library("eod")


# What DuckDB itself scans needs httpfs.
SCANS = {name for name in {**READS, **WRITES} if name.isupper() or name.startswith(("SELECT", "BEGIN"))}
# What may be done in part when it fails; done again, it is done.
PARTLY = {
    *REMOVALS,
    "write and prune",
    "write_batch",
    "finalize",
    "finalize, sorted",
    "delete_staged_data",
    "delete_library",
}
OPERATIONS = {
    **{name: (operation, eod) for name, operation in {**READS, **WRITES, **REMOVALS}.items()},
    **{name: (operation, lambda store: store) for name, operation in {**STORE_READS, **STORE_WRITES}.items()},
}


# -- the walk -----------------------------------------------------------------------------------------------------


class Walk:
    """One operation on its way: what it gives and leaves without a cut, and the places where its answers can end."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.operation, self.handle = OPERATIONS[name]
        self.result, error = self.run()
        assert error is None, f"{name}: {error!r}"
        self.answers = world.proxy.answers
        self.after = described(world.contents())
        self.count = 0

    def run(self, cut: Cut | None = None, *, chunked: bool = False, is_fresh: bool = False) -> tuple[Any, Any]:
        """Carry it out on the library as it was; return what it gave, and its error."""
        world = self.world
        world.proxy.begin()
        opened = self.handle(vs.Store(world.opened() if is_fresh else world.objects))
        world.proxy.begin(cut, chunked=chunked)
        try:
            return self.operation(opened), None
        except DuckVStoreError as error:
            return None, error
        finally:
            world.proxy.cut = None

    def places(self) -> Iterator[Cut]:
        """Every STEPth byte of the answers, or any: chosen by answer, so that long bodies do not take all."""
        sizes = [
            (number, part, len(text))
            for number, answer in enumerate(self.answers, 1)
            for part, text in (("head", answer.head), ("body", answer.body))
            if text
        ]
        if STEP:
            for number, part, size in sizes:
                yield from (Cut(number, part, byte) for byte in range(0, size, STEP))
            return
        chosen = random.Random(f"{SEED} {self.name}")
        while self.count < CUTS:  # answers to parallel requests come in any order, so not every place is met
            number, part, size = chosen.choice(sizes)
            yield Cut(number, part, chosen.randrange(size))

    def go(self) -> None:
        """Cut, and check; ``count`` says how many answers were cut."""
        chosen = random.Random(f"{SEED} {self.name} how")
        for place in self.places():
            cut = replace(place, repeat=ALWAYS if chosen.random() < 0.15 else 1)
            chunked, is_fresh = chosen.random() < 0.4, chosen.random() < 0.15
            self.world.reset()
            result, error = self.run(cut, chunked=chunked, is_fresh=is_fresh)
            where = f"{self.name}: {cut}{', chunked' if chunked else ''}{', fresh' if is_fresh else ''}: {error!r}"
            self.count += self.world.proxy.has_cut
            self.check(where, result, error)

    def check(self, where: str, result: Any, error: Any) -> None:
        world = self.world
        if error is None:
            assert result == self.result, where
        else:
            assert isinstance(error, vs.StorageUnavailable), where
        contents = world.contents()
        if contents == world.template:
            now = world.before
        else:
            now = described(contents)
            without_parts = {key: 0 if key[1] == "staged" else value for key, value in now.items()}
            assert described(contents, 3 * GRACE) == without_parts, f"{where}: lost afterwards"
        if error is None:
            assert now == self.after, where
        elif isinstance(error, vs.OutcomeUnknown) and self.name not in PARTLY:
            assert now in (world.before, self.after), where
        elif self.name in PARTLY:
            assert _is_between(now, world.before, self.after), where
            if isinstance(error, vs.OutcomeUnknown):
                return
            _, error = self.run()
            assert error is None or isinstance(error, vs.NotFound), f"{where}: again: {error!r}"
            if error is None and self.name not in WRITES:
                assert described(world.contents()) == self.after, f"{where}: again"
        else:
            assert now == world.before, where


def _is_between(now: Any, before: Any, after: Any) -> bool:
    """Whether each part of ``now`` is as it was before, or as it is after."""
    if now in (before, after):
        return True
    if not all(isinstance(each, dict) for each in (now, before, after)):
        return False
    keys = now.keys() | before.keys() | after.keys()
    return all(_is_between(*(each.get(key) for each in (now, before, after))) for key in keys)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.duckdb1) if name in SCANS else name for name in OPERATIONS],
)
def test_an_answer_that_breaks_off_loses_nothing_and_says_nothing(world, name):
    """Whatever answer of whatever operation ends wherever: the right result, or StorageUnavailable and nothing done."""
    world.reset()
    walk = Walk(world, name)
    walk.go()
    print(f"{name}: {walk.count} answers were cut")


def attached(world: World) -> Any:
    """What DuckDB alone reads through the published file, or its error."""
    instance = duckdb.connect()
    try:
        httpfs.load(instance)
        instance.execute("SET http_retry_wait_ms = 1")
        instance.execute(
            "CREATE SECRET (TYPE s3, KEY_ID $key, SECRET $secret, ENDPOINT $endpoint, URL_STYLE 'path', USE_SSL false)",
            {
                "key": world.options["access_key_id"],
                "secret": world.options["secret_access_key"],
                "endpoint": world.options["endpoint_url"].removeprefix("http://"),
            },
        )
        instance.execute(f"ATTACH '{world.bucket.url}/p/eod/attach/catalog.duckdb' AS eod (READ_ONLY)")
        return instance.execute("SELECT sum(n), min(s), count(*) FROM eod.c").fetchall()
    except duckdb.Error as error:
        return error
    finally:
        instance.close()


@pytest.mark.duckdb1
def test_duckdb_alone_takes_no_half_answer_of_what_was_published(world):
    """Through the attach file DuckDB answers right, or with an error of its own."""
    world.reset()
    eod(vs.Store(world.objects)).publish()
    world.proxy.begin()
    assert attached(world) == [(225, "text 21", 9)]
    sizes = [(len(answer.head), len(answer.body)) for answer in world.proxy.answers]
    chosen = random.Random(SEED)
    for _ in range(6 * CUTS):
        number = chosen.randrange(len(sizes))
        part = chosen.randrange(2) if sizes[number][1] else 0
        cut = Cut(number + 1, ("head", "body")[part], chosen.randrange(sizes[number][part]), chosen.choice((1, ALWAYS)))
        chunked = chosen.random() < 0.3
        world.proxy.begin(cut, chunked=chunked)
        found = attached(world)
        assert isinstance(found, duckdb.Error) or found == [(225, "text 21", 9)], (cut, chunked, found)
