"""The golden store of parts of segments: read by ``json``, ``hashlib`` and ``pyarrow`` alone, and by this release."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import duckvstore as vs
from tests.format.make_golden_parts import frame
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_parts"
BLOCK = 16_384


def test_footer_and_blocks_are_as_the_format_says():
    """The document has the footer's length and digest, and the footer those of all blocks before it."""
    root = GOLDEN / "parts"
    body = newest_document(root, "large")
    assert body["requires"] == ["segment_parts"]
    segments = body["segments"]
    assert segments["footer_bytes"][-1] is None  # of three rows
    data = (root / segments["key"][0]).read_bytes()
    footer = data[-segments["footer_bytes"][0] :]
    assert hashlib.sha256(footer).hexdigest() == segments["footer_sha256"][0]
    assert hashlib.sha256(data).hexdigest() == segments["sha256"][0]
    metadata = pq.read_metadata(pa.BufferReader(footer))
    blocks = base64.b64decode(metadata.metadata[b"duckvstore:blocks"])
    before = data[: -len(footer)]
    assert len(before) > 2 * BLOCK
    digests = [hashlib.sha256(before[at : at + BLOCK]).digest()[:8] for at in range(0, len(before), BLOCK)]
    assert blocks == b"".join(digests)
    assert newest_document(root, "small")["requires"] == []
    assert "footer_bytes" not in newest_document(root, "small")["segments"]


def test_this_release_reads_it_whole_and_in_part():
    """Rows of the whole and of each column are those that were written."""
    library = vs.open(GOLDEN)["parts"]
    expected = pd.concat([frame(), frame().tail(3).shift(freq="1D")])
    expected.index = expected.index.as_unit("us")  # as the pandas that wrote the store made it
    pd.testing.assert_frame_equal(library.read("large").data, expected, check_freq=False)
    for column in expected.columns:
        found = library.read("large", columns=[column]).data
        pd.testing.assert_frame_equal(found, expected[[column]], check_freq=False)
