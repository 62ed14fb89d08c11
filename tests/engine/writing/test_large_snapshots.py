"""Snapshots of many symbols: what they hold is in files, of which one is read for one symbol."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.reading import catalogue
from duckvstore.format.stored import snapshot_files
from duckvstore.objects.memory import MemoryObjects

SYMBOLS = sorted([f"s{number:02}" for number in range(20)] + ["a/b", "ä", "../../x", "'; --", "S03"])
NOW = timedelta(0)


class Crash(Exception):
    """The end of a process."""


class Objects(MemoryObjects):
    """A store that notes what is read, and stops before or after the n-th request that writes."""

    def __init__(self):
        super().__init__("many")
        self.reads: list[str] = []
        self.stops_at, self.is_after, self.writes = -1, False, 0

    def read(self, key, *arguments, **named):
        self.reads.append(key)
        return super().read(key, *arguments, **named)

    def _written(self, write, key, data):
        self.writes += 1
        if self.writes == self.stops_at and not self.is_after:
            raise Crash
        made = write(key, data)
        if self.writes == self.stops_at:
            raise vs.OutcomeUnknown("lost") if self.is_after == "lost" else Crash
        return made

    def put(self, key, data):
        return self._written(super().put, key, data)

    def create(self, key, data):
        return self._written(super().create, key, data)


@pytest.fixture
def objects(monkeypatch):
    monkeypatch.setattr(snapshot_files, "INLINE_BYTES_MAX", 1)
    monkeypatch.setattr(snapshot_files, "FILE_ROWS_MAX", 4)
    return Objects()


@pytest.fixture
def lib(objects):
    """A library whose snapshot "all" takes seven files and holds the first of two versions."""
    lib = vs.Store(objects).create_library("many", auto_fold=False)
    for symbol in SYMBOLS:
        lib.write(symbol, [symbol, 0])
    lib.snapshot("all", metadata={"n": 1})
    for symbol in SYMBOLS:
        lib.write(symbol, [symbol, 1])
    objects.reads.clear()
    return lib


def files(objects):
    return sorted(entry.key for entry in objects.list("many/snapshot_files/"))


def test_one_symbol_takes_one_file_and_metadata_none(lib, objects):
    """Also where there is no such symbol, before the first and after the last."""
    for symbol in SYMBOLS:
        objects.reads.clear()
        assert lib.read(symbol, as_of="all").data == [symbol, 0]
        assert sum(key in files(objects) for key in objects.reads) == 1
    for absent in ("\x01", "s031", "\U0010ffff"):
        with pytest.raises(vs.NoSuchVersion, match=f"It holds {len(SYMBOLS)} symbols"):
            lib.read(absent, as_of="all")
    objects.reads.clear()
    assert lib.list_snapshots() == {"all": {"n": 1}}
    assert not any(key in files(objects) for key in objects.reads)


def test_everything_that_lists_sees_what_it_holds(lib):
    """As of a snapshot that is a document alone."""
    held = dict.fromkeys(SYMBOLS, 0)
    assert lib.list_symbols(snapshot_name="all") == SYMBOLS
    assert {pair.symbol: pair.version for pair in lib.list_versions(snapshot="all")} == held
    rows = lib.sql("SELECT symbol, version FROM vstore.snapshots WHERE snapshot = 'all'").fetchall()
    assert dict(rows) == held
    assert lib.verify().ok
    lib.prune("s03", keep_last=1)
    lib.gc(grace=NOW, dry_run=False)
    assert lib.read("s03", as_of="all").data == ["s03", 0]


def test_it_is_deleted_with_its_files_which_a_collection_removes_after_the_grace_period(lib, objects):
    """And those of a snapshot of the same name, made since, stay."""
    old = files(objects)
    lib.delete_snapshot("all")
    lib.snapshot("all")
    new = sorted(set(files(objects)) - set(old))
    lib.gc(dry_run=False)
    assert files(objects) == sorted(old + new)
    lib.gc(grace=NOW, dry_run=False)
    assert files(objects) == new
    assert lib.read("s03", as_of="all").data == ["s03", 1]


@pytest.mark.parametrize("is_after", [False, True])
def test_a_crash_at_any_request_leaves_a_snapshot_or_none(lib, objects, is_after):
    """What is left without one is removed; the name is free."""
    objects.is_after = is_after
    for at in range(1, 9):
        objects.writes, objects.stops_at = 0, at
        with suppress(Crash):
            lib.snapshot("new")
        objects.stops_at = -1
        if "new" in lib.list_snapshots():
            assert lib.list_symbols(snapshot_name="new") == SYMBOLS
            lib.delete_snapshot("new")
        lib.gc(grace=NOW, dry_run=False)
        assert len(files(objects)) == 7
    assert lib.snapshot("new").versions == dict.fromkeys(SYMBOLS, 1)


def test_a_lost_answer_to_the_document_s_create_is_found_out(lib, objects):
    """The document that is there is this call's, by its write id."""
    objects.is_after, objects.writes, objects.stops_at = "lost", 0, 8
    assert lib.snapshot("new").versions == dict.fromkeys(SYMBOLS, 1)
    assert objects.writes == 9
    with pytest.raises(vs.AlreadyExists):
        lib.snapshot("new")


def test_a_file_that_is_damaged_missing_or_another_s_is_named(lib, objects):
    """Never another version; symbols in other files are read."""
    named = catalogue.snapshot_document(lib.open_library, "all").files
    first, second = (lib.open_library.layout.root + file.key for file in named[:2])
    place = {key: objects.read(key) for key in (first, second)}
    held = snapshot_files.decode(place[first], named[0])
    ((_, _, other_numbers),) = snapshot_files.encoded(dict.fromkeys(held, 1))
    for data in (other_numbers, place[first][:-1], place[first][::-1], place[second], None):
        if data is None:
            objects.delete([first])
        else:
            objects.put(first, data)
        failed = 0
        for symbol in SYMBOLS:
            try:
                assert lib.read(symbol, as_of="all").data == [symbol, 0]
            except vs.Integrity as error:
                failed += 1
                assert "snapshot" in str(error)
        assert failed in (1, 4)
        assert not lib.verify().ok
        with pytest.raises(vs.Integrity):
            lib.gc()


def test_a_document_that_names_the_files_of_another_snapshot_is_refused(lib, objects):
    """Or a key outside of where they are."""
    key = "many/snapshots/all.json"
    data = objects.read(key)
    for other in (b"snapshot_files/other/", b"snapshot_files/all/../", b"segments/all/"):
        objects.put(key, data.replace(b"snapshot_files/all/", other))
        if b"other" in other:  # what it names is there
            for file in files(objects):
                objects.put(file.replace("/all/", "/other/"), objects.read(file))
        with pytest.raises(vs.Integrity):
            lib.read("s03", as_of="all")


def test_sql_reads_one_symbol_through_it(lib):
    """Exactly named ones by one file, others without regard to case."""
    lib.write("table", pd.DataFrame({"x": [1]}))
    lib.snapshot("later")
    assert lib.sql("FROM \"table\" AT SNAPSHOT 'later'").fetchall() == [(1,)]
    assert lib.sql('SELECT x FROM later."TABLE"').fetchall() == [(1,)]


@pytest.mark.parametrize("is_made_again", [True, False])
def test_a_reader_whose_files_are_gone_finds_the_snapshot_made_since_or_none(lib, objects, monkeypatch, is_made_again):
    """Deleted and collected between the reading of the document and of the file."""
    read = catalogue.snapshot_document

    def replaced(library, name):
        found = read(library, name)
        monkeypatch.setattr(catalogue, "snapshot_document", read)
        lib.delete_snapshot(name)
        if is_made_again:
            lib.snapshot(name)
        objects.delete([library.layout.root + file.key for file in found.files])
        return found

    monkeypatch.setattr(catalogue, "snapshot_document", replaced)
    if is_made_again:
        assert lib.read("s03", as_of="all").data == ["s03", 1]
    else:
        with pytest.raises(vs.NoSuchVersion, match="has no snapshot 'all'"):
            lib.read("s03", as_of="all")


def test_deleted_files_come_back(lib, objects, monkeypatch):
    """Those that a snapshot names, where the bucket kept them."""
    kept = {key: objects.read(key) for key in files(objects)}
    objects.delete(list(kept))
    monkeypatch.setattr(Objects, "deleted_keys", lambda _, prefix: [key for key in kept if key.startswith(prefix)])
    monkeypatch.setattr(Objects, "undelete", lambda self, key: self.put(key, kept[key]))
    assert sorted(lib.recover().recovered_others) == sorted(kept)
    assert not files(objects)
    lib.recover(dry_run=False)
    assert files(objects) == sorted(kept)
    assert lib.read("s03", as_of="all").data == ["s03", 0]
