"""Documents that somebody damaged: Integrity that names the document, and never a raw error, a crash or a hang.

``tests.damage`` damages and calls, in a process of its own, which ends within a limit of memory and time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import duckvstore as vs
from duckvstore.api.store import Store
from duckvstore.errors import Integrity, InvalidInput
from duckvstore.format.stored import layout
from duckvstore.objects.memory import MemoryObjects
from tests import damage
from tests.sizes import IS_FULL, sized

PROCESSES, CALLS_EACH = sized(2, full=8), 300 if IS_FULL else 150
# What says whether a version is there for readers: without it there is nothing to be found, which is no damage.
PRESENCE = ("library_id", "transaction", "decided_at", "created_at", "versions", "kind", "parent", "outcome")


def complaint(found: dict) -> str | None:
    """Return what is wrong with the outcome of a call on a damaged document; None: nothing is."""
    if found["kind"] == "none" or found["error"] == found["undamaged"]:
        return None
    if found["kind"] == "integrity":
        return None if found["key"] in found["text"] else "it does not name the document"
    field = found["how"].partition(" at ")[2].partition(":")[0].partition("/")[0]
    if found["kind"] == "other" and field in PRESENCE:
        return None
    return "it is no Integrity"


@pytest.mark.parametrize("seed", range(PROCESSES))
def test_a_damaged_document_is_an_integrity_error_that_names_it(seed):
    """Golden stores and one of every feature: fields deleted, of other types, extreme, swapped, nested, misspelt."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.damage", str(seed), str(CALLS_EACH)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1] if lines else None
    assert done.returncode == 0, f"after {last}:\n{done.stderr[-4000:]}"
    outcomes = [line for line in lines if "begins" not in line]
    assert len(outcomes) >= CALLS_EACH
    wrong = [(complaint(found), found) for found in outcomes]
    assert not [(why, found) for why, found in wrong if why], Counter(found["error"] for why, found in wrong if why)
    assert Counter(found["kind"] for found in outcomes)["integrity"] > len(outcomes) // 5


def with_document(value: object, change) -> vs.Library:
    """Return a library whose symbol ``s`` has ``value``, and whose document ``change`` has changed in place."""
    objects = MemoryObjects()
    store = Store(objects)
    store.create_library("lib").write("s", value)
    (key,) = (entry.key for entry in objects.list("lib/versions/"))
    body = json.loads(objects.read(key))
    change(body)
    objects.put(key, json.dumps(body).encode())
    return store.get_library("lib")


def refused(library: vs.Library, **options: object) -> str:
    """Expect that ``s`` cannot be read, and return why."""
    with pytest.raises(Integrity, match=layout.Layout("lib/").version("s", 0)) as caught:
        repr(library.read("s", **options).data)
    return str(caught.value)


@pytest.mark.parametrize("code", [2, 10**9, -2, 2**63, "0", 0.5, True])
def test_codes_of_labels_stay_within_their_level(code):
    """Pandas looks them up unchecked, and reads whatever memory is there."""
    frame = pd.DataFrame([[1.0, 2.0]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))

    def change(body):
        body["schema"]["value"]["columns"]["codes"][0][1] = code

    refused(with_document(frame, change))


def test_codes_of_all_levels_are_as_many():
    """A level of fewer codes would be read beyond its end."""
    frame = pd.DataFrame([[1.0, 2.0]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))

    def change(body):
        body["schema"]["value"]["columns"]["codes"][0].pop()

    refused(with_document(frame, change))


def test_offsets_of_text_in_a_document_stay_within_its_bytes():
    """Labels that stand as Arrow bytes: offsets that point far behind them."""
    offsets = np.array([0, 2**40, 3], np.int64)
    text = pa.Array.from_buffers(pa.large_string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"abc")])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("labels", pa.large_string())])) as writer:
        writer.write_batch(pa.record_batch([text], names=["labels"]))

    def change(body):
        body["schema"]["value"]["columns"] = {
            "ipc": base64.b64encode(sink.getvalue()).decode(),
            "dtype": {"type": "string", "storage": "python", "missing": "NaN"},
        }

    refused(with_document(pd.DataFrame({"a": [1], "b": [2]}), change))


@pytest.mark.parametrize("zone", [{"dateutil": "PATH"}, {"pytz": "PATH"}, {"zoneinfo": "PATH"}, "PATH"])
def test_a_zone_is_never_opened_as_a_path(zone, tmp_path):
    """Not even where there is a file of a zone: dateutil opens any."""
    path = tmp_path / "zone"
    path.write_bytes(b"TZif" + bytes(16) + (1).to_bytes(4, "big") * 6)
    frame = pd.DataFrame({"at": pd.date_range("2026", periods=2, tz="Europe/Berlin")})
    for name in (str(path), "../" * 12 + str(path), f"dateutil/{path}"):

        def change(body, name=name):
            body["schema"]["value"]["dtypes"][0]["zone"] = json.loads(json.dumps(zone).replace("PATH", name))

        assert "is no name of a time zone" in refused(with_document(frame, change))


def test_a_zone_of_an_arrow_type_is_never_a_path():
    """Arrow hands it on to whoever makes a value of it."""
    stored = pa.schema(
        [pa.field("t", pa.timestamp("us", "dateutil//etc/localtime"), metadata={"PARQUET:field_id": "1"})]
    )

    def change(body):
        body["schema"]["arrow"] = base64.b64encode(stored.serialize()).decode()

    refused(with_document(pa.table({"t": pa.array([1], pa.timestamp("us", "UTC"))}), change), output_format="pandas")


def test_a_dtype_of_polars_is_no_function_of_polars(tmp_path):
    """Polars has functions of that place that read files."""
    path = tmp_path / "read.csv"
    path.write_text("a\n1\n")
    for name in ("read_csv", "scan_csv", "Config", "col"):

        def change(body, name=name):
            body["schema"]["value"]["dtypes_polars"][0] = {name: [str(path)]}

        assert "is no dtype of polars" in refused(with_document(pl.DataFrame({"a": [1]}), change))


def test_a_dtype_takes_no_memory_that_its_values_do_not_need():
    """A column, an array, a scalar and a row of nothing, each as wide as a document says."""

    def column(body):
        body["schema"]["value"]["dtypes"][0] = "<U500000000"

    def array(body):
        body["schema"]["value"]["dtype"] = "<U500000000"

    def empty(body):
        body["schema"]["value"] = {"dtype": "<i8", "shape": [3, 10**9, 10**9], "form": "empty"}

    def scalar(body):
        body["metadata"] = {"$numpy": ["<U500000000", "a"]}

    for value, change in (
        (pd.DataFrame({"a": [1]}), column),
        (np.array(["a", "b"]), array),
        (np.zeros((3, 0)), empty),
        (np.arange(3), scalar),
    ):
        refused(with_document(value, change))


def test_rows_of_a_segment_are_as_many_as_its_document_says():
    """Numbers of rows decide which rows others are."""

    def change(body):
        body["row_count"], body["segments"]["rows"] = 10**12, [10**12]

    refused(with_document(pd.DataFrame({"a": [1]}), change))


@pytest.mark.parametrize("bound", [2**63, -(2**63), 2**64 - 1, 2**62])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_bounds_at_the_ends_of_what_a_time_can_be(bound, unit):
    """Descriptions, ranges and predicates look at them: each answers or names the document."""
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2, unit=unit, name="t"))

    def change(body):
        body["segments"]["statistics"]["1"]["max"] = [bound]

    library = with_document(frame, change)
    for call in (
        lambda: repr(library.get_description("s")),
        lambda: library.read("s", date_range=(pd.Timestamp("2026-01-01"), None)).data,
        lambda: library.sql("FROM s WHERE t > TIMESTAMP '2026-01-01'").fetchall(),
        lambda: library.append("s", frame.shift(9, freq="D")),
    ):
        try:
            call()
        except Integrity as error:
            assert "lib/versions/s/" in str(error)
        except InvalidInput as error:
            assert "before the end of version 0" in str(error)  # which is far away then


def test_a_manifest_is_believed_no_more_than_a_document():
    """Its bytes are those that a document names, and what is in them is of other types."""
    objects = damage.golden("golden_edits")
    key = next(entry.key for entry in objects.list("edits/manifests/long/"))
    table = pq.read_table(pa.BufferReader(objects.read(key)))
    texts = pa.array(["x"] * len(table))
    others = {
        "rows": texts, "key": pa.array([0] * len(table)), "nulls_1": texts, "min_1": pa.array(['"x"'] * len(table)),
        "max_1": pa.array(["[[1]]"] * len(table)), "nan_1": texts, "sha256": pa.array([1.5] * len(table)),
    }  # fmt: skip
    documents = [entry.key for entry in objects.list("edits/versions/long/")]
    for name, column in others.items():
        place = table.column_names.index(name)
        changed = table.set_column(place, name, column)
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink)
        data = sink.getvalue().to_pybytes()
        copy = MemoryObjects()
        for entry in objects.list(""):
            copy.put(entry.key, objects.read(entry.key))
        old = hashlib.sha256(objects.read(key)).hexdigest().encode()
        for document in documents:
            copy.put(document, copy.read(document).replace(old, hashlib.sha256(data).hexdigest().encode()))
        copy.put(key, data)
        found = []
        for call in (
            lambda library: [library.read("long")],
            lambda library: library.sql("FROM long").fetchall(),
            lambda library: library.sql("FROM long WHERE time > TIMESTAMP '2026-01-02'").fetchall(),
            lambda library: [library.gc()],
            lambda library: library.verify().problems,
        ):
            library = Store(copy).get_library("edits")
            try:
                found += call(library)
            except Integrity as error:
                found.append(str(error))
        named = [
            text for text in found if isinstance(text, str) and ("versions/long/" in text or "manifests/long/" in text)
        ]
        assert named or name in ("min_1", "max_1"), name  # bounds are looked at only where they may decide
