"""The cache of segments: nothing wrong is believed, nothing is kept beyond the limit, and no disk is in the way."""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.reading import segment_cache
from duckvstore.engine.reading.segment_cache import SegmentCache
from duckvstore.errors import Integrity, InvalidInput
from tests.children import context
from tests.distant import DistantObjects, cached_in, small_parts


def entry(number: int, size: int = 1000) -> tuple[str, bytes]:
    data = random.Random(number).randbytes(size)
    return sha256(data).hexdigest(), data


def files(cache: SegmentCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def frame(rows: int = 40_000) -> pd.DataFrame:
    dice = np.random.default_rng(3)
    columns = {f"c{number}": dice.normal(size=rows) for number in range(6)}
    return pd.DataFrame({**columns, "text": dice.choice(["x", "yy", "zzz"], rows)})


@pytest.fixture
def distant():
    """A library far away, with one symbol of two versions."""
    objects = DistantObjects()
    library = vs.Store(objects).create_library("eod")
    library.write("trades", frame())
    library.write("trades", frame().assign(c0=1.0))
    yield library, objects
    library.session.close()


def test_an_entry_is_there_until_it_is_dropped(tmp_path):
    """What was put is read and linked; what was not is not, whatever its name."""
    cache = SegmentCache(tmp_path)
    name, data = entry(1)
    assert cache.read(name) is None
    assert not cache.link(name, tmp_path / "linked")
    assert cache.put(name, data)
    assert cache.put(f"{name}.footer", b"end")
    assert (cache.read(name), cache.read(f"{name}.footer"), cache.has(name)) == (data, b"end", True)
    assert cache.link(name, tmp_path / "linked")
    cache.drop(name)
    assert cache.read(name) is None
    assert (tmp_path / "linked").read_bytes() == data
    assert cache.info().entry_count == 1


@pytest.mark.parametrize("name", ["../../outside", "a" * 63, "A" * 64, f"{'a' * 64}/../x", f"{'a' * 64}.{'..'}", ""])
def test_names_from_documents_lead_nowhere(tmp_path, name):
    """A document may say any sha256: nothing outside of the folder is written, read or removed."""
    cache = SegmentCache(tmp_path / "cache")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    assert not cache.put(name, b"theirs")
    assert cache.read(name) is None
    assert not cache.link(name, tmp_path / "linked")
    cache.drop(name)
    assert outside.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) in (["cache", "outside"], ["outside"])


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    """The limit holds after every put, and a read keeps an entry."""
    cache = SegmentCache(tmp_path, bytes_max=100_000)
    names = []
    for number in range(40):
        name, data = entry(number, 5000)
        assert cache.put(name, data)
        names.append(name)
        for at, known in enumerate(names):  # as if each had been used some hours after the one before
            path = cache._path(known)
            if path.exists():
                os.utime(path, (1_000_000 + at * 3600,) * 2)
        assert cache.info().size_bytes <= 100_000
        if number:
            os.utime(cache._path(names[0]))
    assert cache.read(names[0]) is not None
    assert cache.read(names[-1]) is not None
    assert cache.read(names[1]) is None
    assert not cache.put(*entry(99, 30_000))  # more than a quarter of the limit
    cache.clear()
    assert (cache.info().entry_count, cache.info().size_bytes) == (0, 0)


def test_what_a_killed_process_left_unfinished_goes(tmp_path):
    """An unfinished entry is no entry, and is removed when it is old."""
    cache = SegmentCache(tmp_path)
    name, data = entry(1)
    cache.put(name, data)
    path = cache._path(name)
    old, young = (path.with_name(f"{path.name}.new-{word}") for word in ("old", "young"))
    for unfinished in (old, young):
        unfinished.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert cache.info().entry_count == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_a_folder_that_cannot_be_used_is_no_cache(tmp_path, distant):
    """A file, a link to elsewhere, or a folder that cannot be written in the place of the folder: reads go on."""
    library, objects = distant
    (tmp_path / "file").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    linked = SegmentCache(tmp_path / "linked")
    linked.folder.parent.mkdir()
    linked.folder.symlink_to(elsewhere)
    for folder in (tmp_path / "file", tmp_path / "linked", Path("/proc/nowhere")):
        with cached_in(folder) as cache:
            assert cache.usable_folder() is None
            pd.testing.assert_frame_equal(library.read("trades", as_of=0).data, frame())
            assert library.sql("SELECT count(*) FROM trades WHERE c1 > 0").fetchall()
    assert not list(elsewhere.iterdir())
    assert objects.segments_read


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_keeps_nothing_and_says_nothing(tmp_path, distant, monkeypatch):
    """Where the disk is full, what is read is right and not kept."""
    library, _ = distant

    def full(self, data):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(data)

    with cached_in(tmp_path) as cache:
        monkeypatch.setattr(Path, "write_bytes", full)
        pd.testing.assert_frame_equal(library.read("trades", as_of=0).data, frame())
        monkeypatch.undo()
        assert cache.info().entry_count == 0


def test_second_looks_ask_for_no_segment(tmp_path, distant):
    """Read again, by another handle or in SQL, a version takes no segment from the store; without a cache it does."""
    library, objects = distant
    with cached_in(tmp_path):
        library.read("trades", as_of=0)
        objects.segments_read.clear()
        again = vs.Store(objects).get_library("eod")
        pd.testing.assert_frame_equal(again.read("trades", as_of=0).data, frame())
        assert again.sql("SELECT count(*), sum(c3) FROM trades AT VERSION 0").fetchall()[0][0] == 40_000
        assert not objects.segments_read
        again.session.close()
    objects.segments_read.clear()
    library.read("trades", as_of=0)
    assert objects.segments_read


@pytest.mark.parametrize("how", ["read", "columns", "sql"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "longer"])
def test_wrong_bytes_in_the_cache_are_fetched_again(tmp_path, distant, how, damage):
    """An entry that a crash, a disk or somebody changed is never used, by reads or by DuckDB, and is mended."""
    library, objects = distant

    def look(of):
        if how == "read":
            return of.read("trades", as_of=0).data
        if how == "columns":
            return of.read("trades", as_of=0, columns=["c1", "text"]).data
        return of.sql("SELECT c1, text FROM trades AT VERSION 0").df()

    with cached_in(tmp_path) as cache:
        expected = look(library)
        assert files(cache)
        for path in files(cache):
            if path.name == "lock" or "duckvstore-sql" in str(path):
                continue
            data = path.read_bytes()
            middle = len(data) // 2
            wrong = {
                "flipped": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
                "cut": data[:middle],
                "empty": b"",
                "longer": data + b"\0",
            }[damage]
            made = path.with_name("made")
            made.write_bytes(wrong)
            made.replace(path)
        cache.verified.clear()  # as a process that begins
        other = vs.Store(objects).get_library("eod")
        pd.testing.assert_frame_equal(look(other), expected)
        objects.segments_read.clear()
        third = vs.Store(objects).get_library("eod")
        pd.testing.assert_frame_equal(look(third), expected)
        assert not objects.segments_read
        other.session.close()
        third.session.close()


@pytest.mark.parametrize("place", ["footer", "column"])
def test_a_damaged_part_of_a_stored_segment_is_named(distant, place):
    """A part that is not what was written is Integrity in reads of columns, as it is in whole reads."""
    objects = DistantObjects()
    with small_parts():
        library = vs.Store(objects).create_library("eod")
        library.write("trades", frame(200))
        (key,) = [key for key in objects._objects if "segments/" in key]
        data = bytearray(objects._objects[key])
        data[len(data) - 100 if place == "footer" else 10] ^= 1
        objects._objects[key] = bytes(data)
        with pytest.raises(Integrity, match="segment .* is damaged"):
            library.read("trades", columns=["c0"])
        with pytest.raises(Integrity, match="damaged"):
            library.sql("SELECT sum(c0) FROM trades").df()
        if place == "column":
            assert len(library.read("trades", columns=["c5"]).data) == 200  # whose bytes are right
        library.session.close()


@pytest.mark.parametrize("rows", [1, 3, 9, 12, 40])
def test_footers_may_be_longer_than_the_rows(rows):
    """Frames of many columns and few rows, on either side of what has parts, are read whole and by columns."""
    objects = DistantObjects()
    library = vs.Store(objects).create_library("eod")
    wide = pd.DataFrame(np.random.default_rng(1).normal(size=(rows, 3000))).add_prefix("c")
    library.write("wide", wide)
    pd.testing.assert_frame_equal(library.read("wide").data, wide)
    pd.testing.assert_frame_equal(library.read("wide", columns=["c7", "c2999"]).data, wide[["c7", "c2999"]])
    assert library.sql("SELECT count(c7) FROM wide").fetchall() == [(rows,)]
    library.session.close()


def test_clearing_leaves_a_statement_its_files(tmp_path, distant):
    """Rows that are still to come arrive, although the cache was cleared meanwhile."""
    library, _ = distant
    with cached_in(tmp_path):
        result = library.sql("SELECT * FROM trades AT VERSION 0")
        vs.cache.clear()
        assert vs.cache.info().entry_count == 0
        assert len(result.df()) == 40_000


def test_the_environment_and_the_caller_say_where_it_is(tmp_path, monkeypatch):
    """$DUCKVSTORE_CACHE and its size are taken at the first use; configure() goes before them."""
    monkeypatch.setenv("DUCKVSTORE_CACHE", str(tmp_path / "env"))
    monkeypatch.setenv("DUCKVSTORE_CACHE_SIZE", "1.5 GB")
    try:
        vs.cache.configure()
        assert (vs.cache.info().folder or "").startswith(str(tmp_path / "env"))
        assert vs.cache.info().size_bytes_max == 1.5 * 2**30
        vs.cache.configure(tmp_path / "own", "20 MB")
        assert (vs.cache.info().folder or "").startswith(str(tmp_path / "own"))
        assert vs.cache.info().size_bytes_max == 20 * 2**20
        monkeypatch.setenv("DUCKVSTORE_CACHE", "off")
        vs.cache.configure()
        assert vs.cache.info().folder is None
        with pytest.raises(InvalidInput, match="'much'"):
            vs.cache.configure(tmp_path, "much")
        monkeypatch.delenv("DUCKVSTORE_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        vs.cache.configure()
        assert (vs.cache.info().folder or "").startswith(str(tmp_path / "xdg" / "duckvstore"))
    finally:
        vs.cache.configure(enabled=False)


def _hammer(folder: str, seed: int) -> int:
    """Put, read, link, drop and shrink in one folder, and count what was read right."""
    cache = SegmentCache(Path(folder), bytes_max=200_000)
    dice = random.Random(seed)
    own = Path(folder) / f"own-{seed}"
    own.mkdir()
    right = 0
    for turn in range(300):
        name, data = entry(dice.randrange(60), 10_000)
        found = cache.read(name)
        if found is not None:
            assert found == data, "half of an entry was seen"
            right += 1
        elif dice.random() < 0.1:
            cache.shrink(50_000)
        else:
            cache.put(name, data)
        if cache.link(name, own / str(turn)):
            assert (own / str(turn)).read_bytes() == data
    return right


def test_processes_share_it(tmp_path):
    """Four processes put, read and remove at once: what is there is whole, and the limit holds but for a put each."""
    with context().Pool(4) as processes:
        right = processes.starmap(_hammer, [(str(tmp_path), seed) for seed in range(4)])
    assert sum(right) > 100
    cache = SegmentCache(tmp_path, bytes_max=200_000)
    assert cache.info().size_bytes <= 200_000 + 4 * (200_000 // 16 + 10_000)


def test_threads_that_want_the_same_get_it(tmp_path, distant):
    """Eight threads read and query the same version in a fresh cache."""
    library, _ = distant
    with cached_in(tmp_path), ThreadPoolExecutor(8) as threads:
        queries = ["SELECT sum(c1) FROM trades", "SELECT count(*) FROM trades", "SELECT text, c2 FROM trades"]
        results = list(threads.map(lambda at: library.sql(queries[at % 3]).fetchall(), range(24)))
        assert all(results[at] == results[at % 3] for at in range(24))
        assert segment_cache.current() is not None
