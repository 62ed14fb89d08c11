"""Hybrid placement: documents in one object store, segments in another."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.cli import main
from duckvstore.objects import open_objects


def frame(seed=0, rows=50):
    index = pd.date_range("2026-01-01", periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(100, 5, rows)}, index=index)


@pytest.fixture
def places(tmp_path):
    """Two folders: for documents and for segments."""
    return tmp_path / "documents", tmp_path / "segments"


def test_segments_are_where_the_library_says_and_every_reader_finds_them(places):
    """Written through one handle, read through another that agrees to where the library sends it."""
    documents, segments = places
    lib = vs.open(documents, segments_url=segments).create_library("eod")
    lib.write("trades", frame())
    lib.write("trades", frame(1))
    assert not list(documents.rglob("*.parquet"))
    assert len(list(segments.rglob("*.parquet"))) == 2
    fresh = vs.open(documents, segments_options={}).get_library("eod")
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


def test_a_library_cannot_send_its_readers_into_other_folders(places, tmp_path):
    """Nothing is made or written where nobody agreed to; below the store itself is no other place."""
    documents, segments = places
    vs.open(documents, segments_url=segments).create_library("eod").write("trades", frame())
    (tmp_path / "link").symlink_to(documents)
    shutil.rmtree(segments)
    for store in (vs.open(documents), vs.open(tmp_path / "link")):
        for call in (store.get_library, store.delete_library, store.has_library):
            with pytest.raises(
                vs.InvalidInput,
                match=rf"keeps its segments at .*open the store with segments_url='{segments.as_uri()}'",
            ):
                call("eod")
        with pytest.raises(vs.InvalidInput, match="keeps its segments at"):
            store.sql("FROM eod.trades")
    assert not segments.exists()
    sideways = documents / "x" / ".." / ".." / "sideways"
    for number, place in enumerate((sideways, documents / "below", tmp_path / "link" / "inside")):
        objects = open_objects(documents)
        body = json.loads(objects.read("eod/library.json"))
        body["segments_url"], body["name"] = f"file://{place}", f"l{number}"
        objects.put(f"l{number}/library.json", json.dumps(body).encode())
    with pytest.raises(vs.InvalidInput, match="keeps its segments at"):
        vs.open(documents).get_library("l0")
    for name in ("l1", "l2"):
        vs.open(documents).get_library(name).write("trades", frame())
    assert len(list(documents.rglob("*.parquet"))) == 2


def test_the_command_takes_the_place_of_segments(places, capsys):
    """``--segments-url`` agrees to it."""
    documents, segments = places
    vs.open(documents, segments_url=segments).create_library("eod").write("trades", frame())
    assert main(["symbols", "--store", str(documents)]) != 0
    assert "--segments-url" in capsys.readouterr().err
    assert main(["symbols", "--store", str(documents), "--segments-url", str(segments)]) == 0
    assert "trades" in capsys.readouterr().out


def test_a_place_for_segments_has_one_owner(places, tmp_path):
    """Another library cannot take it, whether it has another name in it or is a copy of the documents."""
    documents, segments = places
    vs.open(documents, segments_url=segments).create_library("eod")
    with pytest.raises(vs.Conflict, match="already keeps the segments of library 'eod'"):
        vs.open(tmp_path / "others", segments_url=segments).create_library("eod")
    shutil.copytree(documents, tmp_path / "copy")
    copied = vs.open(tmp_path / "copy", segments_url=segments)
    copied.get_library("eod")
    with pytest.raises(vs.Conflict, match="belong to library 'eod' at"):
        copied.delete_library("eod")
    assert vs.open(documents, segments_url=segments).get_library("eod").list_symbols() == []


def test_a_deletion_that_stopped_half_way_is_finished_by_another(places):
    """The document's copy tells where the segments are, after the document is gone."""
    documents, segments = places
    lib = vs.open(documents, segments_url=segments).create_library("eod")
    lib.write("trades", frame())
    objects = open_objects(documents)
    layout = lib.open_library.layout
    objects.put(layout.deleting, objects.read(layout.library))
    objects.delete([layout.library])
    vs.open(documents, segments_options={}).delete_library("eod")
    assert not [path for path in segments.rglob("*") if path.is_file()]
    vs.open(documents, segments_url=segments).create_library("eod")
