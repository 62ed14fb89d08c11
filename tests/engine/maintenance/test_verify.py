"""Verifying, measuring and recovering a library."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from msgspec import structs
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.engine.library import condemned
from duckvstore.engine.library import manifests as engine_manifests
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.engine.maintenance.recover import recover
from duckvstore.engine.maintenance.verify import sizes, verify
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import commits
from duckvstore.engine.writing.commits import Call
from duckvstore.errors import NoSuchKey
from duckvstore.format.stored import documents, label_runs, manifests
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects
from tests.upkeep import frame, keys, restore

ALL_AT_ONCE = timedelta(0)


@pytest.fixture
def objects():
    return MemoryObjects("verify")


@pytest.fixture
def lib(objects):
    """Versions 0 to 3 of x, of which 3 restores 1; version 0 of y; a snapshot of x at 1."""
    lib = vs.Store(objects).create_library("eod")
    fill(lib)
    return lib


def fill(lib) -> None:
    for number in range(3):
        lib.write("x", frame(number * 10))
    restore(lib, "x", 1)
    lib.write("y", frame(50))
    lib.snapshot("s", versions={"x": 1})


def again(objects) -> vs.Library:
    return vs.Store(objects).get_library("eod")


def segment_of(lib, number, symbol="x"):
    return catalogue.resolve(lib.open_library, symbol, number).segments[0]


def fold(lib, monkeypatch) -> None:
    """Make version 4 of x, whose segments are in manifests."""
    monkeypatch.setattr(manifests, "INLINE_SEGMENTS_MAX", 0)
    monkeypatch.setattr(manifests, "RUN_SEGMENTS", 2)
    opened = lib.open_library
    base = catalogue.resolve(opened, "x", 0)
    loose = [segment_of(lib, number) for number in (0, 1, 2)]
    folded = engine_manifests.fold(opened, "x", loose)
    assert folded.manifests
    call = Call("x")
    commits.announce(opened, call)
    draft = commits.Draft("write", base.kind, base.schema, row_count=9, segments=folded)
    commits.commit(opened, call, lambda newest: draft)


def test_a_whole_library_verifies(lib, objects):
    """Nothing is wrong, what is counted is counted once, and the report says so."""
    report = verify(again(objects).open_library)
    assert report.ok
    assert (report.version_count, report.snapshot_count, report.object_count) == (5, 1, 4)
    assert report.object_bytes == sum(len(objects._objects[key]) for key in keys(objects, "segments"))
    assert report.native_versioning is None
    assert "5 versions, 1 snapshot, 4 segments" in repr(report)
    assert "all is well" in repr(report)


def test_references_are_looked_for_by_listing(lib, objects):
    """Without reading contents, a verification costs a read per document and no more."""
    library = vs.Store(counting := CountingObjects(objects)).get_library("eod").open_library
    counting.reset()
    assert verify(library, deep=False).ok
    assert counting.counts["read"] == 5 + 1 + 1  # versions, snapshot, library
    counting.reset()
    verify(library)
    assert counting.counts["read"] == 5 + 1 + 1 + 4


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_missing_or_has_another_size_is_named(lib, objects, deep):
    """Each with a version that refers to it; one finding does not hide another."""
    gone, cut = segment_of(lib, 1), segment_of(lib, 2)
    objects.delete([f"eod/{gone.key}"])
    objects.put(f"eod/{cut.key}", b"short")
    lib.snapshot("t", versions={"y": 0})
    objects.delete([lib.open_library.layout.version("y", 0)])
    report = verify(again(objects).open_library, deep=deep)
    assert not report.ok
    assert len(report.problems) == 3
    assert f"segment {gone.key} is missing (version 3 of 'x')" in report.problems
    assert any(f"{cut.key} has 5 bytes, expected {cut.size_bytes:,} (version 2" in each for each in report.problems)
    assert "version 0 of 'y', which snapshot 't' holds, is missing" in report.problems
    assert "3 problems" in repr(report)
    assert len(report.orphans) == 1


def test_a_changed_byte_is_found_by_reading(lib, objects):
    """The length is right, so only a deep verification sees it."""
    segment = segment_of(lib, 0)
    data = bytearray(objects.read(f"eod/{segment.key}"))
    data[len(data) // 2] ^= 1
    objects.put(f"eod/{segment.key}", bytes(data))
    assert verify(again(objects).open_library, deep=False).ok
    (problem,) = verify(again(objects).open_library).problems
    assert "is damaged" in problem
    assert "(version 0 of 'x')" in problem


def test_documents_that_cannot_be_read_are_problems(lib, objects):
    """A version, a snapshot; two versions that differ about one segment."""
    layout = lib.open_library.layout
    objects.put(layout.version("y", 0), b"{}")
    objects.put(layout.snapshot("s"), b"{}")
    key = layout.version("x", 3)
    found = documents.load_version(objects.read(key), where=key)
    other = structs.replace(found.segments[0], sha256="0" * 64)
    objects.put(key, documents.dump_version(replace(found, segments=(other,))))
    problems = verify(again(objects).open_library, deep=False).problems
    assert len(problems) == 3
    assert any("do not agree about segment" in problem for problem in problems)


def test_manifests_are_verified(lib, objects, monkeypatch):
    """What they hold counts; a missing one is a problem and ends nothing."""
    fold(lib, monkeypatch)
    report = verify(again(objects).open_library)
    assert (report.problems, report.orphans) == ([], [])
    objects.delete(keys(objects, "manifests"))
    report = verify(again(objects).open_library)
    assert "manifest" in report.problems[0]
    assert "(version 4 of 'x')" in report.problems[0]


def test_orphans_are_listed_and_are_no_problem(lib, objects):
    """A crash may have left them, or a writer is about to name them."""
    orphan = "segments/x/" + "0" * 32 + "-" + "0" * 16 + ".parquet"
    objects.put(f"eod/{orphan}", b"left by a crash")
    report = verify(again(objects).open_library)
    assert (report.ok, report.orphans, report.orphan_bytes) == (True, [orphan], 15)
    assert "gc() removes them" in repr(report)


def test_sizes_tell_what_is_shared(lib, objects):
    """A restored version shares all; totals count each object once; what was pruned counts as unreferenced."""
    one, two = (segment_of(lib, number).size_bytes for number in (1, 2))
    report = sizes(again(objects).open_library)
    by_version = {size.version: size for size in report.versions if size.symbol == "x"}
    assert [(by_version[number].stored_bytes, by_version[number].shared_bytes) for number in (1, 2, 3)] == [
        (one, one),
        (two, 0),
        (one, one),
    ]
    (x, y) = report.symbols
    stored = sum(len(objects._objects[key]) for key in keys(objects, "segments"))
    assert (x.symbol, y.symbol, x.shared_bytes) == ("x", "y", one)
    assert report.total.stored_bytes == x.stored_bytes + y.stored_bytes == stored
    assert report.total.logical_bytes == sum(size.logical_bytes for size in report.versions)
    assert [row.version for row in report.rows()] == [None, None, 3, 2, 1, 0, None, 0]
    assert report.unreferenced_bytes == 0
    condemned.publish(lib.open_library, "x", "test", versions=[0, 1])
    report = sizes(again(objects).open_library)
    assert [size.version for size in report.versions if size.symbol == "x"] == [3, 2, 1]  # a snapshot holds 1
    assert report.unreferenced_bytes == stored - report.total.stored_bytes > 0
    assert repr(report).splitlines()[1].split() == ["symbol", "versions", "logical", "stored", "shared"]
    assert report.to_dict()["total"] == report.total


# -- recovery ----------------------------------------------------------------------------------------------------


def test_a_store_that_keeps_nothing_says_so(lib):
    """Recovery rests on the bucket's own versioning."""
    with pytest.raises(vs.Unsupported, match="keeps nothing that was deleted"):
        recover(lib.open_library)


def _versioned(bucket):
    client = bucket.server.client()
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    return client


def _empty(client, bucket) -> None:
    """Remove everything, so that the bucket can go."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
        for found in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            client.delete_object(Bucket=bucket.name, Key=found["Key"], VersionId=found["VersionId"])
    client.close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.s3) for name in ("moto_bucket", "s3_bucket")])
def versioned(request):
    """A bucket with native versioning, on moto and on SeaweedFS."""
    bucket = request.getfixturevalue(request.param)
    client = _versioned(bucket)
    yield bucket
    _empty(client, bucket)


def test_what_was_deleted_behind_the_store_comes_back(versioned, monkeypatch):
    """Documents, segments and manifests; not what was pruned and collected, nor what was uploaded in vain."""
    store = vs.open(versioned.url, versioned.storage_options)
    objects = store.objects
    lib = store.create_library("eod")
    fill(lib)
    opened = lib.open_library
    fold(lib, monkeypatch)
    lib.write("x", frame(70))
    prune.delete_versions(opened, Call("x"), "x", [0, 3])
    collect(opened, grace=ALL_AT_ONCE, dry_run=False)
    assert verify(opened).native_versioning is True
    held = [entry.key for entry in objects.list("eod/")]
    layout = opened.layout
    gone = [
        layout.version("x", 2),
        layout.version("x", 5),
        f"eod/{segment_of(lib, 2).key}",
        *(key for key in held if "/manifests/" in key or "/segments/y/" in key),
    ]
    assert objects.delete(gone) == []
    assert objects.delete(gone[:2]) == []  # a second delete marker
    expected = recover(store.get_library("eod").open_library)
    assert [entry.key for entry in objects.list("eod/")] == sorted(set(held) - set(gone))
    report = recover(store.get_library("eod").open_library, dry_run=False)
    assert report.to_dict() == {**expected.to_dict(), "dry_run": False}
    assert report.recovered_versions == [("x", 5), ("x", 2)]
    assert sorted(report.recovered_objects) == sorted(key.removeprefix("eod/") for key in gone[2:])
    assert report.lost == []
    assert "could be brought back: 2 versions" in repr(expected)
    assert [entry.key for entry in objects.list("eod/")] == held
    lib = store.get_library("eod")
    assert verify(lib.open_library).ok
    assert_frame_equal(lib.read("x").data, frame(70))
    assert_frame_equal(lib.read("x", as_of=2).data, frame(20))
    with pytest.raises(vs.NoSuchVersion):
        lib.read("x", as_of=0)
    again_report = recover(lib.open_library, dry_run=False)
    assert (again_report.recovered_versions, again_report.recovered_objects) == ([], [])


def test_what_the_bucket_did_not_keep_is_lost_and_another_librarys_is_left(versioned):
    """A segment whose versions were all removed; documents of a deleted library of the same name."""
    store = vs.open(versioned.url, versioned.storage_options)
    store.create_library("eod").write("x", frame(1))
    store.delete_library("eod")
    lib = store.create_library("eod")
    lib.write("z", frame(2))
    client = versioned.server.client()
    key = f"eod/{segment_of(lib, 0, 'z').key}"
    for found in client.list_object_versions(Bucket=versioned.name, Prefix=key)["Versions"]:
        client.delete_object(Bucket=versioned.name, Key=key, VersionId=found["VersionId"])
    client.close()
    report = recover(lib.open_library, dry_run=False)
    assert (report.recovered_versions, report.recovered_objects) == ([], [])
    assert report.lost == [f"{key.removeprefix('eod/')} of version 0 of 'z'"]
    assert "lost: 1" in repr(report)
    with pytest.raises(NoSuchKey):
        store.objects.read_deleted(key)


def test_labels_come_back_like_segments(versioned, monkeypatch):
    """A run that was deleted, not one of what was pruned; of one that is gone for good the report says so."""
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 100)
    store = vs.open(versioned.url, versioned.storage_options)
    lib = store.create_library("eod")

    def orders(name):
        return pd.DataFrame({"order": pd.Categorical([f"{name}-{number}" for number in range(50)])})

    for symbol in "abcd":
        lib.write(symbol, orders(symbol))
    for _ in range(5):
        lib.append("a", orders("a"))
    lib.write("d", orders("e"))
    opened = lib.open_library
    run = {symbol: opened.version(symbol, 0).label_runs[0].key for symbol in "abcd"}
    prune.prune(opened, "d", keep_last=1)
    collect(opened, grace=ALL_AT_ONCE, dry_run=False)
    segment = segment_of(lib, 0, "c").key
    gone = [f"eod/{run['a']}", f"eod/{run['b']}", f"eod/{segment}", opened.layout.version("b", 0)]
    assert store.objects.delete([*gone, f"eod/{run['c']}"]) == []
    client = versioned.server.client()
    key = f"eod/{run['c']}"
    found = client.list_object_versions(Bucket=versioned.name, Prefix=key)
    for each in [*found["Versions"], *found["DeleteMarkers"]]:
        client.delete_object(Bucket=versioned.name, Key=key, VersionId=each["VersionId"])
    client.close()
    expected = recover(store.get_library("eod").open_library)
    report = recover(store.get_library("eod").open_library, dry_run=False)
    assert report.to_dict() == {**expected.to_dict(), "dry_run": False}
    assert report.recovered_versions == [("b", 0)]
    assert sorted(report.recovered_objects) == sorted([run["a"], run["b"], segment])
    assert report.lost == [f"{run['c']} of version 0 of 'c'"]
    lib = store.get_library("eod")
    assert len(lib.read("a").data) == 300
    assert_frame_equal(lib.read("b").data, orders("b"))
    (problem,) = verify(lib.open_library).problems
    assert run["c"] in problem


def test_a_bucket_without_versioning_is_named_by_verify(moto_bucket):
    """Nothing could be brought back there, and recovery finds nothing to bring back."""
    lib = vs.open(moto_bucket.url, moto_bucket.storage_options).create_library("eod")
    fill(lib)
    report = verify(lib.open_library)
    assert report.native_versioning is False
    assert "switch its versioning on" in repr(report)
    assert recover(lib.open_library).recovered_versions == []
