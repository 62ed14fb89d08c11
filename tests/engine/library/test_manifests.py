"""Manifests: long lists of segments, folded and read again."""

from __future__ import annotations

import json
import threading

import pytest
from msgspec import structs

import duckvstore as vs
from duckvstore.caches import Cache
from duckvstore.engine.library import manifests as engine
from duckvstore.errors import Integrity
from duckvstore.format.stored import documents, manifests
from duckvstore.format.stored.manifests import FoldedSegments
from duckvstore.format.stored.segments import ColumnStatistics, Segment
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects


def segment(number):
    statistics = {
        1: ColumnStatistics(number * 10, number * 10 + 9, 0, has_nan=False),
        2: ColumnStatistics(f"a{number}", None, 3, has_nan=False),
        3: ColumnStatistics("-inf", 1.5, None, has_nan=True),
    }
    return Segment(f"segments/s/{number:032x}-{number:016x}.parquet", 10, 1000 + number, "ab" * 32, 800, statistics)


def segments(count, first=0):
    return tuple(segment(number) for number in range(first, first + count))


@pytest.fixture
def library():
    return vs.Store(CountingObjects(MemoryObjects("unit"))).create_library("eod").open_library


def test_a_manifest_brings_back_its_segments():
    """Keys, counts and statistics of every kind, missing ones included."""
    run = (*segments(5), structs.replace(segment(9), statistics={}))
    folded = manifests.encode(run)
    import hashlib

    sha256 = hashlib.sha256(folded).hexdigest()
    manifest = manifests.Manifest("manifests/s/x.parquet", 0, 6, 60, 1, 1, sha256)
    found = manifests.decode(folded, manifest)
    assert found[:5] == run[:5]
    assert all(one == ColumnStatistics() for one in found[5].statistics.values())
    with pytest.raises(Integrity, match=r"manifests/s/x\.parquet is damaged"):
        manifests.decode(folded[:-1], manifest)


def test_a_short_list_stays_inline(library):
    """No object is written for it."""
    library.objects.reset()
    assert engine.fold(library, "s", segments(512)) == segments(512)
    assert library.objects.request_count == 0


def test_a_long_list_reads_the_same_and_loads_only_what_is_asked_for(library):
    """Length, slices and single segments are those of the plain list."""
    plain = segments(2000)
    folded = engine.fold(library, "s", plain)
    assert isinstance(folded, FoldedSegments)
    assert len(folded.inline) <= manifests.INLINE_SEGMENTS_MAX
    library.objects.reset()
    assert len(folded) == 2000
    assert folded[-1] == plain[-1]
    assert manifests.tail(folded) == plain[-len(manifests.tail(folded)) :]
    assert manifests.totals(folded) == manifests.totals(plain)
    assert library.objects.request_count == 0, "nothing of that needs a manifest"
    assert folded[300] == plain[300]
    assert library.objects.request_count == 1
    assert tuple(folded) == plain
    assert folded[250:1000] == plain[250:1000]
    assert folded[10:20:3] == plain[10:20:3]


class _Together(MemoryObjects):
    """Answers no read of a manifest before ``met`` of them have arrived."""

    met: threading.Barrier | None = None

    def read(self, key, start=0, length=None):
        if self.met is not None:
            self.met.wait()
        return super().read(key, start, length)


def test_manifests_are_loaded_side_by_side():
    """All that a slice needs are asked for before the first has come, and none outside of it."""
    objects = _Together("unit")
    library = vs.Store(objects).create_library("eod").open_library
    plain = segments(2000)
    folded = engine.fold(library, "s", plain)
    assert isinstance(folded, FoldedSegments)
    assert len(folded.manifests) == 6
    for chosen, count in ((slice(300, 700), 2), (slice(None), 4)):  # those of the slice before are in the cache
        objects.met = threading.Barrier(count, timeout=20)
        assert folded[chosen] == plain[chosen]
        assert not objects.met.broken
        assert objects.met.n_waiting == 0


def test_an_append_to_a_hundred_thousand_segments_writes_little(library):
    """Less than 1 MB of metadata is written and nothing is loaded; reading finds every segment."""
    folded = engine.fold(library, "s", segments(100_000))
    library._manifests = Cache(2**30, len)
    library.objects.reset()
    longer = engine.extended(library, "s", folded, 1, segments(2, first=100_000))
    version = documents.Version(
        "00" * 16, "s", 1, "11" * 16, library.objects.now(), "append", "dataframe", segments=longer
    )
    document = documents.dump_version(version)
    counts = library.objects.counts
    assert len(document) + counts["bytes_out"] < 1_000_000
    assert counts["read"] == 0
    assert len(longer) == 100_001
    assert longer[99_998] == segment(99_998)
    assert [longer[-2], longer[-1]] == [segment(100_000), segment(100_001)]


def test_a_document_with_manifests_comes_back_and_says_what_it_needs(library):
    """The same list, and the feature in ``requires``."""
    folded = engine.fold(library, "s", segments(1000))
    version = documents.Version(
        "00" * 16, "s", 1, "11" * 16, library.objects.now(), "write", "dataframe", segments=folded
    )
    data = documents.dump_version(version)
    assert json.loads(data)["requires"] == ["manifests"]
    assert documents.load_version(data, where="key") == version


def test_an_edit_in_the_middle_keeps_the_manifests_around_it(library):
    """Only the run that changed is inline or written again."""
    plain = segments(2000)
    folded = engine.fold(library, "s", plain)
    edited = [*plain[:1000], segment(5000), *plain[1001:]]
    library.objects.reset()
    after = engine.fold(library, "s", edited, folded)
    kept = {manifest.key for manifest in folded.manifests} & {manifest.key for manifest in after.manifests}
    assert len(kept) >= len(folded.manifests) - 1
    assert tuple(after) == tuple(edited)


def test_a_missing_manifest_is_named(library):
    """Integrity, with the key."""
    folded = engine.fold(library, "s", segments(1000))
    library._manifests = Cache(2**30, len)
    library.objects.delete([library.layout.manifest_key(folded.manifests[0].key)])
    with pytest.raises(Integrity, match="is missing"):
        tuple(folded)


def test_a_staged_part_of_many_segments_is_finalised(monkeypatch):
    """Its manifests are loaded as those of a version are."""
    import pandas as pd
    from pandas.testing import assert_frame_equal

    from tests.cuts import cut_every

    cut_every(monkeypatch, 5)
    monkeypatch.setattr(manifests, "RUN_SEGMENTS", 4)
    monkeypatch.setattr(manifests, "INLINE_SEGMENTS_MAX", 8)
    lib = vs.Store(MemoryObjects("staged")).create_library("eod")
    index = pd.date_range("2026-01-01", periods=200, freq="h", name="time")
    frame = pd.DataFrame({"x": range(200)}, index=index)
    lib.stage("s", frame.iloc[100:])
    lib.stage("s", frame.iloc[:100])
    lib.finalize_staged_data("s")
    fresh = vs.Store(lib.open_library.objects).get_library("eod")
    assert_frame_equal(fresh.read("s").data, frame, check_freq=False)
    assert isinstance(fresh.open_library.version("s", 0).segments, FoldedSegments)
    assert fresh.verify().ok
