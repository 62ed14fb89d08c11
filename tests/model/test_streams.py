"""Values larger than memory: a stream is written, and read back in parts, through a bounded amount of memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

IS_FULL = bool(os.environ.get("DUCKVSTORE_FULL"))
# Logical bytes, and the most that the process may grow by while it writes them.
LOGICAL_BYTES, GROWTH_BYTES_MAX = (20 * 2**30, 2**30) if IS_FULL else (2**30, 400 * 2**20)

CODE = """
import resource, sys
import numpy as np
import pyarrow as pa
import duckvstore as vs

logical, folder = int(sys.argv[1]), sys.argv[2]
rows = 100_000
schema = pa.schema([("n", pa.int64()), *((f"x{k}", pa.float64()) for k in range(9))])
base = np.random.default_rng(0).normal(size=rows)

def batches():
    for number in range(logical // (rows * 80)):
        columns = [np.arange(rows) + number * rows, *(base + number + k for k in range(9))]
        yield pa.record_batch([pa.array(column) for column in columns], schema=schema)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

lib = vs.open(folder, {"fsync": False}).create_library("big", compression="lz4")
lib.write("warm", pa.table({"x": [1.0]}))
before = peak()
item = lib.write("stream", pa.RecordBatchReader.from_batches(schema, batches()))
grown = peak() - before
assert item.row_count == logical // (rows * 80) * rows, item
assert lib.read("stream", row_range=(-3, None), columns=["n"]).data["n"].to_pylist()[-1] == item.row_count - 1
print(grown)
"""


@pytest.mark.timeout(1200)
def test_a_stream_larger_than_memory_is_written_through_little_of_it(tmp_path):
    """Only the segments that are being cut, encoded and uploaded are held."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(LOGICAL_BYTES), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < GROWTH_BYTES_MAX, f"grew by {int(done.stdout) / 2**20:.0f} MiB"
