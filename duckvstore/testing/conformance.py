"""The suite that every object store passes, for pytest.

A test file for an object store is a subclass and its fixtures::

    from duckvstore.testing.conformance import Backdoor, ObjectStoreConformance

    class TestMine(ObjectStoreConformance):
        @pytest.fixture
        def objects(self): ...         # a fresh, empty object store
        @pytest.fixture
        def backdoor(self, objects): ...  # Backdoor(write, read): the same bytes without the code under test
        @pytest.fixture
        def reopen(self): ...          # picklable: prefix -> the same objects, below that prefix; None: not possible

Invariant: no test relies on a method that another test is there to check: what it needs in place comes through
the backdoor, and what it expects of a listing from a few lines of plain Python.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import pytest

from duckvstore import clock
from duckvstore.errors import AlreadyExists, InvalidInput, NoSuchKey
from duckvstore.objects import self_test
from duckvstore.testing.races import race_processes, race_threads, racer_data, round_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

    from duckvstore.objects.base import ObjectStore

Reopen: TypeAlias = "Callable[[str], ObjectStore] | None"

# In byte order. Names that differ in case only, that extend each other by '-' or '.' (which sort before '/'), that
# look like escapes, Hive columns' neighbours, hidden files, numbers, or as long as a folder can hold.
KEYS = (
    "-",
    "...",
    "..a/b",
    ".hidden",
    "A",
    "A.B-c",
    "A.B/1",
    "A.B/2",
    "AB/C/1",
    "AB/c",
    "AB0/1",
    "a",
    "ab-x/1",
    "ab-x/y-z/1",
    "ab-x/y/1",
    "ab.C-d/1",
    "ab.C.d",
    "ab.C/1",
    "ab.Ca",
    "ab/-",
    "ab/C",
    "ab/c",
    "ab/c.d/2",
    "ab/c1",
    "ab0",
    "b~2F~25/1",
    "long/" + "n" * 240,
    "long/" + "n" * 255,
    "~",
    "~~/~",
)
ILLEGAL_KEYS = ("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "a b", "a%2F", "a\\b", "a\0", "é")
ILLEGAL_PREFIXES = ("/", "//", "../", "a/../", "a//", "a b", "*", "é")


@dataclass(frozen=True)
class Backdoor:
    """Access to the stored bytes that does not pass through the code under test.

    ``read`` returns None where there is no object.
    """

    write: Callable[[str, bytes], object]
    read: Callable[[str], bytes | None]


def expected_listing(
    keys: tuple[str, ...], prefix: str, start_after: str | None, limit: int | None, *, folders: bool
) -> list[str]:
    """Return what a listing of ``keys`` must give."""
    entries = set()
    for key in keys:
        if key.startswith(prefix):
            slash = key.find("/", len(prefix)) if folders else -1
            entries.add(key if slash < 0 else key[: slash + 1])
    return sorted((entry for entry in entries if entry > (start_after or "")), key=str.encode)[:limit]


class ObjectStoreConformance:
    """What ``objects.base.ObjectStore`` promises, as tests."""

    folders_vanish_at_once = True
    """Whether a folder entry is gone when its last object is; some servers take a moment."""
    race_round_count = 10
    """How often threads and processes race; fewer where a contended create is slow."""
    many_key_count = 1003
    """More keys than one S3 request lists or deletes; fewer where writing them takes long."""

    @pytest.fixture
    def filled(self, objects: ObjectStore, backdoor: Backdoor) -> ObjectStore:
        """The object store with an object under each of KEYS, its own key as bytes."""
        for key in KEYS:
            backdoor.write(key, key.encode())
        return objects

    # -- writing and reading --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("method", ["put", "create"])
    def test_written_bytes_are_stored_as_they_are(self, objects: ObjectStore, backdoor: Backdoor, method: str) -> None:
        """Any bytes arrive under the very key, and nothing is beside them."""
        data = bytes(range(256)) * 3
        getattr(objects, method)("a/b.c-~2F", data)
        assert backdoor.read("a/b.c-~2F") == data
        assert backdoor.read("a/b.c-/") is None
        assert [(entry.key, entry.size_bytes) for entry in objects.list("")] == [("a/b.c-~2F", 768)]

    def test_every_legal_key_reads_back(self, filled: ObjectStore) -> None:
        """Odd names are neither changed nor mixed up."""
        assert [filled.read(key) for key in KEYS] == [key.encode() for key in KEYS]

    def test_every_legal_key_can_be_written(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """Odd names are stored under themselves, also where they differ in case only."""
        for key in KEYS:
            objects.create(key, key.encode())
        assert [backdoor.read(key) for key in KEYS] == [key.encode() for key in KEYS]

    def test_put_replaces(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """The second put wins, also when it is shorter."""
        objects.put("a", b"first, and longer")
        objects.put("a", b"second")
        assert backdoor.read("a") == b"second"

    def test_missing_object(self, filled: ObjectStore) -> None:
        """Reading what is not there names it, also with a range, and for a folder."""
        for key in ("missing", "ab/missing", "no/such/folder", "AB/C", "ab/c/d"):
            for length in (None, 0, 5):
                with pytest.raises(NoSuchKey, match=key):
                    filled.read(key, 0, length)

    @pytest.mark.parametrize("length", [0, 1, 10, 99, 100, 101, None])
    def test_ranges(self, objects: ObjectStore, backdoor: Backdoor, length: int | None) -> None:
        """A range gives what Python's slice would, at and past the end too."""
        data = bytes(range(100))
        backdoor.write("a", data)
        for start in (0, 1, 50, 99, 100, 101, 10_000):
            assert objects.read("a", start, length) == data[start:][:length], (start, length)

    def test_empty_object(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """No bytes are an object too."""
        objects.create("a", b"")
        assert backdoor.read("a") == b""
        assert [objects.read("a"), objects.read("a", 0, 5), objects.read("a", 3)] == [b"", b"", b""]
        assert [(entry.key, entry.size_bytes) for entry in objects.list("")] == [("a", 0)]
        with pytest.raises(AlreadyExists):
            objects.create("a", b"x")

    def test_large_object(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """8 MB go and come unchanged, whole and by ranges."""
        data = b"".join(index.to_bytes(8, "big") for index in range(1 << 20))
        objects.create("big", data)
        assert backdoor.read("big") == data
        assert objects.read("big") == data
        assert objects.read("big", len(data) - 7, 100) == data[-7:]
        assert objects.read("big", 5_000_001, 1_000_003) == data[5_000_001:6_000_004]

    def test_illegal_keys_are_refused(self, objects: ObjectStore) -> None:
        """A key that could mean something else on some store is refused on all of them, before any is deleted."""
        objects.put("a", b"")
        calls: list[Callable[[str], object]] = [
            objects.read,
            lambda key: objects.put(key, b""),
            lambda key: objects.create(key, b""),
            lambda key: objects.delete(["a", key]),
            objects.uri,
        ]
        for key in (*ILLEGAL_KEYS, "n" * 256, "a=b"):
            for call in calls:
                with pytest.raises(InvalidInput, match="is no key"):
                    call(key)
        assert [entry.key for entry in objects.list("")] == ["a"]

    def test_illegal_prefixes_are_refused(self, objects: ObjectStore) -> None:
        """A prefix that no key can have is refused rather than found empty."""
        for prefix in ILLEGAL_PREFIXES:
            with pytest.raises(InvalidInput, match="beginning of any key"):
                list(objects.list(prefix))

    # -- create -----------------------------------------------------------------------------------------------------

    def test_create_never_replaces(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """The second create raises and changes nothing, whoever wrote the first."""
        objects.create("a", b"first")
        backdoor.write("b", b"first")
        for key in ("a", "b"):
            with pytest.raises(AlreadyExists, match=key):
                objects.create(key, b"second")
            assert backdoor.read(key) == b"first"

    def test_create_after_delete(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """A deleted key is free again."""
        objects.create("a/b", b"first")
        assert objects.delete(["a/b"]) == []
        objects.create("a/b", b"second")
        assert backdoor.read("a/b") == b"second"

    def test_racing_threads_have_one_winner(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """Of 8 threads that create one key exactly one succeeds, and its bytes are there."""
        wins = race_threads(objects, "race", racer_count=8, round_count=self.race_round_count)
        self._check_race(wins, backdoor)

    def test_racing_processes_have_one_winner(self, reopen: Reopen, backdoor: Backdoor) -> None:
        """The same for 4 processes."""
        if reopen is None:
            pytest.skip("these objects are in the memory of one process")
        wins = race_processes(reopen, "race", racer_count=4, round_count=self.race_round_count)
        self._check_race(wins, backdoor)

    def _check_race(self, wins: list[list[int]], backdoor: Backdoor) -> None:
        winners = {round_index: racer for racer, rounds in enumerate(wins) for round_index in rounds}
        assert sorted(round_index for rounds in wins for round_index in rounds) == list(range(self.race_round_count))
        for round_index, racer in winners.items():
            assert backdoor.read(round_key("race", round_index)) == racer_data(racer)

    def test_readers_see_old_or_new(self, objects: ObjectStore) -> None:
        """While an object is replaced, no reader sees a part of it or a mixture."""
        size = 1 << 20
        objects.put("a", b"0" * size)
        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(lambda: [objects.put("a", b"%d" % (number % 10) * size) for number in range(10)])
            seen: list[tuple[int, int]] = []
            while not writer.done() or not seen:
                data = objects.read("a")
                seen.append((len(data), data.count(data[:1])))
            writer.result()
        assert set(seen) == {(size, size)}

    def test_self_test_passes_and_cleans_up(self, objects: ObjectStore) -> None:
        """The check that is made before a library is put here accepts this object store."""
        self_test(objects)
        assert list(objects.list("")) == []

    # -- listing ------------------------------------------------------------------------------------------------------

    def test_listing_is_in_byte_order(self, filled: ObjectStore) -> None:
        """All keys with the prefix and no others, in byte order of whole keys; sizes on objects only."""
        for folders, prefix in product((False, True), ("", "ab/", "ab", "ab.C", "AB/", "long/", "none/", "~")):
            listed = list(filled.list(prefix, folders=folders))
            assert [entry.key for entry in listed] == expected_listing(KEYS, prefix, None, None, folders=folders)
            for entry in listed:
                assert entry.size_bytes == (None if entry.key.endswith("/") else len(entry.key))

    def test_start_after_and_limit(self, filled: ObjectStore) -> None:
        """A listing goes on after any key or folder entry, there or not, and stops at its limit."""
        for folders, prefix in product((False, True), ("", "ab", "ab/")):
            entries = expected_listing(KEYS, prefix, None, None, folders=folders)
            for start_after in (*entries[::3], "", "0", "ab", "ab-", "ab.C/", "ab/", "ab/c-", "ab-x/y/", "~~"):
                for limit in (None, 2):
                    listed = [entry.key for entry in filled.list(prefix, start_after, limit, folders=folders)]
                    wanted = expected_listing(KEYS, prefix, start_after, limit, folders=folders)
                    assert listed == wanted, (prefix, start_after, limit, folders)

    def test_limits(self, filled: ObjectStore) -> None:
        """Every limit gives the beginning of the whole listing, and 0 nothing."""
        for folders in (False, True):
            whole = [entry.key for entry in filled.list("", folders=folders)]
            for limit in (0, 1, 3, len(whole) - 1, len(whole), len(whole) + 1):
                assert [entry.key for entry in filled.list("", limit=limit, folders=folders)] == whole[:limit]

    def test_walking_by_pages(self, filled: ObjectStore) -> None:
        """Listings of 3 that each start after the last entry of the one before give the whole."""
        for folders in (False, True):
            walked: list[str] = []
            while page := list(filled.list("", walked[-1] if walked else None, 3, folders=folders)):
                walked += [entry.key for entry in page]
            assert walked == expected_listing(KEYS, "", None, None, folders=folders)

    def test_more_keys_than_one_page(self, objects: ObjectStore, backdoor: Backdoor) -> None:
        """Listing and deleting go beyond the 1,000 keys of one S3 request."""
        keys = tuple(f"many/{number:04d}" for number in range(self.many_key_count))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: backdoor.write(key, b"x"), keys))
        assert [entry.key for entry in objects.list("many/")] == list(keys)
        assert [entry.key for entry in objects.list("many/", limit=len(keys) - 2)] == list(keys[:-2])
        assert objects.delete(entry.key for entry in objects.list("many/")) == []
        assert list(objects.list("many/")) == []

    # -- deleting -----------------------------------------------------------------------------------------------------

    def test_delete(self, filled: ObjectStore, backdoor: Backdoor) -> None:
        """What is deleted is gone, missing keys are not a failure, and everything else stays."""
        gone = ("ab/C", "ab/missing", "none", "A.B/1", "A.B/2", "ab")
        assert filled.delete(gone) == []
        assert filled.delete([]) == []
        for key in KEYS:
            assert backdoor.read(key) == (None if key in gone else key.encode())
        kept = tuple(key for key in KEYS if key not in gone)
        assert [entry.key for entry in filled.list("")] == list(kept)
        if self.folders_vanish_at_once:
            folders = [entry.key for entry in filled.list("", folders=True)]
            assert folders == expected_listing(kept, "", None, None, folders=True)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def test_prefixes_are_apart(self, reopen: Reopen) -> None:
        """Objects below one prefix are not seen below another, also when one name begins with the other."""
        if reopen is None:
            pytest.skip("these objects have no prefix")
        inner, namesake = reopen("p"), reopen("pq")
        inner.create("a", b"inner")
        namesake.create("a", b"namesake")
        namesake.create("b", b"namesake")
        assert [entry.key for entry in inner.list("")] == ["a"]
        assert [entry.key for entry in inner.list("", folders=True)] == ["a"]
        assert inner.read("a") == b"inner"
        assert inner.delete(["a", "b"]) == []
        assert [entry.key for entry in namesake.list("")] == ["a", "b"]
        assert [entry.key for entry in reopen("").list("")] == ["pq/a", "pq/b"]

    def test_now(self, objects: ObjectStore) -> None:
        """The time is UTC, close to this machine's (both are here), and goes on."""
        before = clock.utc_now()
        times = [objects.now() for _ in range(5)]
        assert all(time.tzinfo is UTC for time in times)
        assert times == sorted(times)
        assert abs(times[0] - before) < timedelta(seconds=30)

    def test_uri_is_scannable_by_duckdb(self, objects: ObjectStore) -> None:
        """Where there is an address, DuckDB reads exactly this object from it, with the secret that is given."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = sorted({*KEYS[::3], "b~2F~25/1", "ab.C-d/1", "long/" + "n" * 240} - {"long/" + "n" * 255})
        for number, key in enumerate(keys):
            buffer = io.BytesIO()
            pq.write_table(pa.table({"number": [number]}), buffer)
            objects.put(key, buffer.getvalue())
        uris = [objects.uri(key) for key in keys]
        if None in uris:
            assert set(uris) == {None}
            pytest.skip("DuckDB cannot scan these objects in place")
        connection = self.connect(objects)
        for number, uri in enumerate(uris):
            assert connection.execute("SELECT * FROM read_parquet([$uri])", {"uri": uri}).fetchall() == [(number,)]
        connection.close()

    def connect(self, objects: ObjectStore) -> DuckDBPyConnection:
        """Return a DuckDB connection that may scan ``objects``; override where it needs more than httpfs."""
        import duckdb

        connection = duckdb.connect()
        secret = objects.scan_secret()
        if secret is not None:
            connection.execute(f"LOAD '{_httpfs_file(duckdb.__version__)}'")
            words = ", ".join(f"{name} '{value}'" for name, value in secret.items())
            connection.execute(f"CREATE SECRET (TYPE s3, {words})")
        return connection


def _httpfs_file(version: str) -> str:
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("duckdb_extension_httpfs")
    if spec is None or not spec.submodule_search_locations:
        return "httpfs"
    found = Path(spec.submodule_search_locations[0]) / "extensions" / f"v{version}" / "httpfs.duckdb_extension"
    return str(found) if found.exists() else "httpfs"
