"""Writes the golden store of nested columns: ``python -m tests.format.make_golden_nested FOLDER``. Run once."""

from __future__ import annotations

import sys

import pyarrow as pa

import duckvstore as vs

BOX = pa.struct([("w", pa.int8()), ("in", pa.list_(pa.struct([("a", pa.int8())])))])
FIRST = pa.table(
    {
        "legs": pa.array([[], None], pa.list_(pa.null())),
        "box": pa.array(
            [{"w": 1, "in": [{"a": 1}]}, None],
            pa.struct([("w", pa.int8()), ("in", pa.list_(pa.struct([("a", pa.int8())])))]),
        ),
        "tags": pa.array([[("x", 1)], []], pa.map_(pa.string(), pa.int32())),
    }
)
SECOND = pa.table(
    {
        "legs": pa.array([[1, None]]),
        "box": pa.array([{"new": "z", "in": [{"b": [0.5], "a": 300}], "w": 2}]),
        "tags": pa.array([[("y", 2**40)]], pa.map_(pa.string(), pa.int64())),
    }
)
ROWS = {
    "legs": [[], None, [1, None]],
    "box": [
        {"w": 1, "in": [{"a": 1, "b": None}], "new": None},
        None,
        {"w": 2, "in": [{"a": 300, "b": [0.5]}], "new": "z"},
    ],
    "tags": [[("x", 1)], [], [("y", 2**40)]],
}


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("nested")
    lib.write("t", FIRST)
    lib.append("t", SECOND)


if __name__ == "__main__":
    make(sys.argv[1])
