"""Hybrid placement: documents in one object store, segments in another."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.objects import open_objects


def frame(seed=0, rows=50):
    index = pd.date_range("2026-01-01", periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(100, 5, rows)}, index=index)


@pytest.fixture
def places(tmp_path):
    """Two folders: for documents and for segments."""
    return tmp_path / "documents", tmp_path / "segments"


def test_segments_are_where_the_library_says_and_every_reader_finds_them(places):
    """Written through one handle, read through another that was told the documents' place only."""
    documents, segments = places
    lib = vs.open(documents, segments_url=segments).create_library("eod")
    lib.write("trades", frame())
    lib.write("trades", frame(1))
    assert not list(documents.rglob("*.parquet"))
    assert len(list(segments.rglob("*.parquet"))) == 2
    fresh = vs.open(documents).get_library("eod")
    assert_frame_equal(fresh.read("trades", as_of=0).data, frame())
    assert fresh.sql("SELECT count(*) FROM trades").fetchall() == [(50,)]
    fresh.write("trades", frame(2))
    assert len(list(segments.rglob("*.parquet"))) == 3
    assert fresh.publish()


def test_documents_on_s3_with_segments_in_a_folder_need_the_readers_consent(s3_bucket, tmp_path):
    """A shared library cannot point a reader at another scheme or host unless the reader agrees."""
    store = vs.open(s3_bucket.url, s3_bucket.storage_options, segments_url=tmp_path / "segments", segments_options={})
    lib = store.create_library("eod")
    lib.write("trades", frame())
    careless = vs.open(s3_bucket.url, s3_bucket.storage_options)
    with pytest.raises(vs.InvalidInput, match=r"keeps its segments at .*segments_options"):
        careless.get_library("eod")
    trusting = vs.open(s3_bucket.url, s3_bucket.storage_options, segments_options={})
    assert_frame_equal(trusting.get_library("eod").read("trades").data, frame())
    assert trusting.sql("SELECT count(*) FROM eod.trades").fetchall() == [(50,)]
    trusting.delete_library("eod")
    assert not [path for path in (tmp_path / "segments").rglob("*") if path.is_file()]


def test_a_place_for_segments_has_one_owner(places, tmp_path):
    """Another library cannot take it, whether it has another name in it or is a copy of the documents."""
    documents, segments = places
    vs.open(documents, segments_url=segments).create_library("eod")
    with pytest.raises(vs.Conflict, match="already keeps the segments of library 'eod'"):
        vs.open(tmp_path / "others", segments_url=segments).create_library("eod")
    shutil.copytree(documents, tmp_path / "copy")
    copied = vs.open(tmp_path / "copy")
    copied.get_library("eod")
    with pytest.raises(vs.Conflict, match="belong to library 'eod' at"):
        copied.delete_library("eod")
    assert vs.open(documents).get_library("eod").list_symbols() == []


def test_a_deletion_that_stopped_half_way_is_finished_by_another(places):
    """The document's copy tells where the segments are, after the document is gone."""
    documents, segments = places
    lib = vs.open(documents, segments_url=segments).create_library("eod")
    lib.write("trades", frame())
    objects = open_objects(documents)
    layout = lib.open_library.layout
    objects.put(layout.deleting, objects.read(layout.library))
    objects.delete([layout.library])
    vs.open(documents).delete_library("eod")
    assert not [path for path in segments.rglob("*") if path.is_file()]
    vs.open(documents, segments_url=segments).create_library("eod")
