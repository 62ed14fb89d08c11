"""The release before reads what it knows, and refuses by name what it does not."""

from __future__ import annotations

import pandas as pd
from pandas.testing import assert_frame_equal

import duckvstore as vs

READ = """
import duckvstore as vs
assert vs.__file__.startswith(__import__('os').getcwd())
print(vs.open(sys.argv[1])["prices"].read("eod").data["close"].tolist())
"""


def test_it_reads_a_store_without_new_features(tmp_path, release_before):
    """A plain frame asks for nothing that it does not know."""
    url = str(tmp_path / "store")
    frame = pd.DataFrame({"close": [1.5, 2.5]}, index=pd.date_range("2026-01-01", periods=2, name="day"))
    library = vs.open(url).create_library("prices")
    library.write("eod", frame)
    assert_frame_equal(library.read("eod").data, frame)
    assert release_before(READ, url).strip() == "[1.5, 2.5]"


def test_it_refuses_metadata_that_it_cannot_give_back(tmp_path, release_before):
    """A frame without any is read by both."""
    url = str(tmp_path / "store")
    library = vs.open(url).create_library("prices")
    library.write("eod", pd.DataFrame({"close": [1.5]}), metadata={1: pd.Timestamp("2026-01-01")})
    assert library.read("eod").metadata == {1: pd.Timestamp("2026-01-01")}
    said = release_before(READ, url)
    assert said.startswith("Unsupported")
    assert "metadata_types" in said
    library.write("eod", pd.DataFrame({"close": [2.5]}), metadata={"one": 1})
    assert release_before(READ, url).strip() == "[2.5]"


def test_it_refuses_segments_of_which_parts_can_be_read(tmp_path, release_before):
    """It would write the list of segments again without what tells of their parts; small frames are read by both."""
    url = str(tmp_path / "store")
    library = vs.open(url).create_library("prices")
    library.write("eod", pd.DataFrame({"close": range(200_000)}).sample(frac=1, random_state=1, ignore_index=True))
    assert library.read("eod", columns=["close"]).data["close"].nunique() == 200_000
    said = release_before(READ, url)
    assert said.startswith("Unsupported")
    assert "segment_parts" in said
    library.write("eod", pd.DataFrame({"close": [2.5]}))
    assert release_before(READ, url).strip() == "[2.5]"


WRITE_AND_COLLECT = """
import duckvstore as vs
lib = vs.open(sys.argv[1])["prices"]
for call in (lambda: lib.write("eod", 1), lambda: lib.gc(dry_run=False), lambda: lib.set_options(keep_last=1)):
    try:
        call()
    except vs.Unsupported as error:
        print("refused", error)
"""


def test_it_neither_writes_nor_collects_where_the_catalogue_is_folded(tmp_path, release_before):
    """It would remove intents by their age; it may read on, since documents are what they were."""
    url = str(tmp_path / "store")
    library = vs.open(url).create_library("prices")
    library.write("eod", pd.DataFrame({"close": [1.5, 2.5]}))
    library.fold()
    said = release_before(WRITE_AND_COLLECT, url).splitlines()
    assert len(said) == 3
    assert all(line.startswith("refused") and "folded_catalogue" in line for line in said)
    assert release_before(READ, url).strip() == "[1.5, 2.5]"
    assert library.list_versions().keys() == {("eod", 0)}
