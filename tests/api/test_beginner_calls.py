"""What people do in their first hour: slips in a call, numbers that come from a query, and values in a prompt."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs


@pytest.fixture
def store():
    return vs.open("memory://beginner")


@pytest.fixture
def lib(store):
    library = store.get_library("eod", create_if_missing=True)
    library.write("trades", frame(), message="first")
    yield library
    library.session.close()
    store.delete_library("eod")


def frame():
    return pd.DataFrame({"price": [1.0, 2.0]}, index=pd.date_range("2026-01-01", periods=2, name="time"))


def test_a_store_is_a_collection_of_names(store, lib):
    """A loop over a store gives the libraries, as ``in`` and list_libraries do."""
    store.create_library("ref")
    assert list(store) == store.list_libraries() == ["eod", "ref"]
    store.delete_library("ref")


def test_numbers_out_of_a_query_are_version_numbers(lib):
    """NumPy's whole numbers, which frames hold, do wherever a version number is asked for."""
    lib.write("trades", frame(), expected_version=np.int64(0))
    newest = lib.sql("SELECT version FROM vstore.versions").df()["version"].max()
    assert isinstance(newest, np.integer)
    assert lib.read("trades", newest).version == lib.get_description("trades", newest).version == 1
    assert lib.read_metadata("trades", np.uint8(0)).version == lib.head("trades", as_of=np.int32(0)).version == 0
    assert lib.has_symbol("trades", newest)
    assert not lib.has_symbol("trades", newest + 1)
    assert lib.snapshot("old", versions={"trades": np.int64(0)}).versions == {"trades": 0}
    assert lib.restore_version("trades", np.int64(0)).version == 2
    for wrong in (True, np.bool_(True), 1.0, np.float64(1)):
        with pytest.raises(vs.InvalidInput, match="as_of"):
            lib.read("trades", wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lib: lib.write(frame(), "trades"), "the symbol is a DataFrame: give its name first"),
        (
            lambda lib: lib.read("trades", columns="price"),
            r"columns is text: give a list.*\['price'\]",
        ),
        (lambda lib: lib.write("trades", frame(), expected_version="0"), "expected_version='0' is no version number"),
        (lambda lib: lib.write("trades", frame(), expected_version=True), "expected_version=True is no version number"),
        (lambda lib: lib.snapshot("s", skip_symbols="trades"), r"skip_symbols is text.*\['trades'\]"),
        (lambda lib: lib.snapshot("s", versions=["trades"]), "versions is a list: give a dict"),
    ],
)
def test_a_slip_in_a_call_is_told_and_changes_nothing(lib, call, message):
    """What was given, and what to give."""
    with pytest.raises(vs.InvalidInput, match=message):
        call(lib)
    assert len(lib.list_versions()) == 1
    assert lib.list_snapshots() == {}


def test_an_unsorted_index_and_one_with_nat_have_their_own_remedies(lib):
    """Sorting helps the first; nothing puts NaT in order."""
    with pytest.raises(vs.InvalidInput, match=r"is not sorted: sort_index\(\)"):
        lib.write("trades", frame()[::-1])
    holed = frame().set_axis(pd.DatetimeIndex(["2026-01-01", None], name="time"))
    with pytest.raises(vs.InvalidInput, match="has NaT.*drop those rows") as raised:
        lib.write("trades", holed)
    assert "sort_index" not in str(raised.value)
    assert lib.write("trades", holed, validate_index=False).version == 1


def test_a_format_whose_package_is_missing_says_what_to_install(lib, monkeypatch):
    """Nothing of ours installs polars."""
    real = builtins.__import__

    def without_polars(name, *rest, **named):
        if name.partition(".")[0] == "polars":
            raise ModuleNotFoundError("No module named 'polars'", name="polars")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_polars)
    with pytest.raises(vs.Unsupported, match="polars is not installed: pip install polars"):
        lib.read("trades", output_format="polars")


def test_items_in_a_prompt_are_short_and_readable(lib):
    """Times as people write them, and the shape of the data instead of its rows."""
    text = repr(lib.read("trades"))
    assert text.startswith("VersionedItem(library='eod', symbol='trades', version=0, data=<DataFrame 2 x 1>, metadata=")
    assert f"created_at={datetime.now(UTC):%Y-}" in text
    assert text.count(" UTC") == 1
    assert "data=None" in repr(lib.read_metadata("trades"))
    assert "data=<Table 2 x 2>" in repr(lib.read("trades", output_format="pyarrow"))
    (info,) = lib.list_versions("trades").values()
    assert " UTC, deleted=False, snapshots=[], operation='write', author=None, message='first'" in repr(info)
    text = repr(lib.get_description("trades"))
    assert "columns=(price: double), index=(time: timestamp[us])" in text
    assert "date_range=(2026-01-01 00:00:00, 2026-01-02 00:00:00)" in text
    assert "date_range=None" in repr(lib.get_description(lib.write("array", np.zeros(3)).symbol))
    assert "datetime.datetime" not in text + repr(info)


def test_a_snapshot_in_a_prompt_does_not_list_every_symbol(lib):
    """A notebook shows what the last line of a cell returns: a few symbols stand for thousands."""
    for number in range(9):
        lib.write(f"s{number}", frame())
    made = lib.snapshot("month-end", {"why": "audit"}, author="ann", message="sent")
    assert isinstance(made, vs.SnapshotInfo)
    assert len(made.versions) == 10
    text = repr(made)
    assert "versions={'s0': 0, 's1': 0, 's2': 0, 's3': 0, 's4': 0, … 10 symbols}" in text
    assert text.startswith("SnapshotInfo(library='eod', name='month-end', created_at=2")
    assert text.endswith("metadata={'why': 'audit'}, author='ann', message='sent')")
