"""One document that cannot be read is an error about that document: listings name it and go on, removals refuse."""

from __future__ import annotations

import datetime as dt
import pickle
import threading
import warnings

import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.api.store import Store
from duckvstore.format.stored import metadata
from duckvstore.objects.memory import MemoryObjects

FRAME = pd.DataFrame({"a": [1, 2]})


@pytest.fixture
def store():
    """A library with ``a`` (two versions), ``b`` (two), a deleted ``c``, a snapshot of each time."""
    store = Store(MemoryObjects())
    library = store.create_library("lib")
    for _ in range(2):
        library.write("a", FRAME, metadata={"k": 1})
        library.write("b", FRAME, metadata={"k": 1})
        library.snapshot(f"s{len(library.list_snapshots())}")
    library.write("c", FRAME)
    library.delete("c")
    return store


def spoil(store, key) -> vs.Library:
    """Put metadata there that no release can read, as an earlier one accepted it, and return a fresh handle."""
    text = store.objects.read(key).decode()
    deep = '{"$k":' * 3000 + "1" + "}" * 3000
    store.objects.put(key, text.replace('"metadata":', f'"metadata":{deep},"was":', 1).encode())
    return store.get_library("lib")


def version_key(symbol, number) -> str:
    return f"lib/versions/{symbol}/{9999999999 - number}.v{number}.json"


LISTINGS = {
    "symbols": (lambda lib: lib.list_symbols(), ["a"]),
    "symbols with metadata": (lambda lib: lib.list_symbols(metadata={"k": 1}), ["a"]),
    "symbols of a snapshot": (lambda lib: lib.list_symbols("s1"), ["a"]),
    "versions": (lambda lib: sorted(lib.list_versions()), [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1)]),
    "versions of it": (lambda lib: sorted(lib.list_versions("b")), [("b", 0)]),
    "newest versions": (lambda lib: sorted(lib.list_versions(latest_only=True)), [("a", 1), ("c", 1)]),
    "versions of a snapshot": (lambda lib: sorted(lib.list_versions(snapshot="s1")), [("a", 1)]),
    "table of symbols": (lambda lib: lib.sql("SELECT symbol FROM vstore.symbols").fetchall(), [("a",)]),
    "table of versions": (lambda lib: lib.sql("SELECT count(*) FROM vstore.versions").fetchall(), [(5,)]),
    "show": (lambda lib: lib.sql("SHOW TABLES").fetchall(), [("a",)]),
    "duckdb's list": (
        lambda lib: lib.sql("SELECT DISTINCT table_name FROM information_schema.tables WHERE table_schema = 's1'")
        .fetchall(), [("a",)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTINGS)
def test_a_listing_names_a_version_that_cannot_be_read_and_goes_on(store, what):
    """The newest of ``b``; the others are as they were."""
    library = spoil(store, version_key("b", 1))
    call, expected = LISTINGS[what]
    with pytest.warns(vs.DocumentWarning, match=version_key("b", 1)) as caught:
        assert call(library) == expected
    assert len({str(warning.message) for warning in caught}) == 1


def test_other_symbols_are_read_and_written_as_ever(store):
    """And the symbol itself at its other versions; at this one the error names the document."""
    library = spoil(store, version_key("b", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(library.read("a").data, FRAME)
        pd.testing.assert_frame_equal(library.read("b", as_of=0).data, FRAME)
        library.append("a", FRAME)
        assert library.get_description("a").row_count == 4
        assert library.sql("SELECT count(*) FROM a JOIN b AT VERSION 0 USING (a)").fetchall() == [(4,)]
        assert library.diff("a", 0, 2).inserted == 2
    for call in (library.read, library.get_description, library.read_metadata):
        with pytest.raises(vs.Integrity, match=version_key("b", 1)):
            call("b")


def test_a_snapshot_refuses_rather_than_lose_a_symbol(store):
    """It says how to make one without it."""
    library = spoil(store, version_key("b", 1))
    with pytest.raises(vs.Integrity, match=rf"{version_key('b', 1)}.*skip_symbols"):
        library.snapshot("now")
    assert "now" not in library.list_snapshots()
    assert library.snapshot("now", skip_symbols=["b"]).versions == {"a": 1}


REMOVALS = {
    "gc": lambda lib, _: lib.gc(grace=dt.timedelta(0), dry_run=False),
    "gc that only looks": lambda lib, _: lib.gc(),
    "prune": lambda lib, symbol: lib.prune(symbol, keep_last=1),
    "delete": lambda lib, symbol: lib.delete(symbol, versions=[0]),
}


@pytest.mark.parametrize("call", REMOVALS)
@pytest.mark.parametrize("kind", ["version", "snapshot", "garbage"])
def test_what_removes_refuses(store, call, kind):
    """What is referred to is not known, so nothing is removed."""
    library = store.get_library("lib")
    if kind == "garbage":
        library.delete_snapshot("s0")
        library.delete("b", versions=[0])
        (key,) = (entry.key for entry in store.objects.list("lib/garbage/b/"))
        store.objects.put(key, b"{")
        library = store.get_library("lib")
    else:
        key = version_key("b", 1) if kind == "version" else "lib/snapshots/s1.json"
        library = spoil(store, key)
    before = [entry.key for entry in store.objects.list("")]
    with pytest.raises(vs.Integrity, match=key):
        REMOVALS[call](library, "b")
    assert [entry.key for entry in store.objects.list("")] == before


def test_a_library_whose_own_document_cannot_be_read_is_not_deleted(store):
    """Where its segments are is said there."""
    store.objects.put("lib/library.json", b"{")
    with pytest.raises(vs.Integrity, match=r"lib/library\.json"):
        store.delete_library("lib")
    assert list(store.objects.list("lib/versions/"))


@pytest.mark.parametrize("kind", ["version", "snapshot", "garbage", "decision", "options", "staged"])
def test_verify_reports_every_document_that_cannot_be_read(store, kind):
    """And goes on."""
    library = store.get_library("lib")
    library.set_options(keep_last=5)
    library.stage("d", FRAME)
    with library.transaction() as both:
        both.write("a", FRAME)
        both.write("d", FRAME)
    library.prune("c", keep_last=1)
    folders = {"decision": "transactions", "staged": "staging", "options": "options", "garbage": "garbage"}
    key = {"version": version_key("a", 0), "snapshot": "lib/snapshots/s0.json"}.get(kind)
    key = key or next(entry.key for entry in store.objects.list(f"lib/{folders[kind]}/"))
    assert library.verify().ok
    store.objects.put(key, b"{")
    report = store.get_library("lib").verify()
    assert any(key in problem for problem in report.problems)
    assert report.version_count >= 6


@pytest.mark.parametrize("kind", ["snapshot", "garbage", "decision"])
def test_listings_go_on_past_other_documents_too(store, kind):
    """A snapshot, what is condemned, and what became of a transaction."""
    library = store.get_library("lib")
    library.prune("a", keep_last=1)
    library.delete_snapshot("s0")
    library.prune("a", keep_last=1)
    with library.transaction() as one:
        one.write("d", FRAME)
    key = {
        "snapshot": "lib/snapshots/s1.json",
        "garbage": next(entry.key for entry in store.objects.list("lib/garbage/a/")),
        "decision": next(entry.key for entry in store.objects.list("lib/transactions/")),
    }[kind]
    store.objects.put(key, b"{")
    library = store.get_library("lib")
    with pytest.warns(vs.DocumentWarning, match=key):
        assert ("b", 1) in library.list_versions()
    with pytest.warns(vs.DocumentWarning, match=key):
        assert ("b", 1) in library.sql("SELECT symbol, version FROM vstore.versions").fetchall()
    if kind == "garbage":  # what is condemned of it is not known: nothing that may have been pruned is read
        with pytest.raises(vs.Integrity, match=key):
            library.read("a", as_of=0)


def test_the_browser_shows_the_rest_and_the_error(store):
    """In place of nothing at all."""
    pytest.importorskip("anywidget")
    browser = spoil(store, version_key("b", 1)).browse()
    assert [row["name"] for row in browser.symbols["rows"]] == ["a", "c"]
    assert version_key("b", 1) in browser.error
    browser.symbol = "a"
    assert [row["version"] for row in browser.versions["rows"]] == [1, 0]
    assert browser.error == ""


# -- depth -------------------------------------------------------------------------------------------------------------


def nested(wrap, depth):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = {
    "dict": lambda value: {"k": value},
    "dict with a dollar": lambda value: {"$k": value},
    "dict of numbers": lambda value: {1: value},
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "frozenset": lambda value: frozenset((value,)),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_deepest_metadata_that_is_taken_is_read_everywhere(store, wrap):
    """By every call, from a deep stack, and by pickle; one level more is refused with what to do."""
    value = nested(WRAPS[wrap], metadata.DEPTH_MAX)
    library = store.get_library("lib")
    library.write("deep", FRAME, metadata=value)
    library.snapshot("deep", metadata=value)
    fresh = store.get_library("lib")

    def read(stack=300):
        if stack:
            return read(stack - 1)
        assert fresh.read_metadata("deep").metadata == value
        assert "deep" in fresh.list_symbols()
        assert fresh.list_snapshots()["deep"] == value
        assert fresh.verify().ok
        fresh.gc()
        return fresh.sql("SELECT count(metadata) FROM vstore.versions").fetchall()

    assert read()[0][0] >= 1
    assert pickle.loads(pickle.dumps(fresh.read_metadata("deep"))).metadata == value
    failures = []
    thread = threading.Thread(target=lambda: failures.append(fresh.read_metadata("deep").metadata == value))
    thread.start()
    thread.join()
    assert failures == [True]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("more", [1, 250, 5000])
def test_deeper_metadata_is_refused_before_anything_is_written(store, wrap, more):
    """Metadata of versions and snapshots, and attributes of a frame."""
    value = (
        nested(WRAPS[wrap], metadata.DEPTH_MAX + more)
        if wrap != "frozenset" or more < 500
        else nested(WRAPS["list"], 5000)
    )
    library = store.get_library("lib")
    frame = FRAME.copy()
    frame.attrs = {"deep": value}
    before = [entry.key for entry in store.objects.list("lib/versions/")]
    for call in (
        lambda: library.write("deep", FRAME, metadata=value),
        lambda: library.append("a", FRAME, metadata=value),
        lambda: library.write_metadata("a", value),
        lambda: library.snapshot("deep", metadata=value),
        lambda: library.stage("deep", frame),
        lambda: library.write("deep", frame),
    ):
        with pytest.raises(vs.InvalidInput, match="is deeper than 100"):
            call()
    assert [entry.key for entry in store.objects.list("lib/versions/")] == before


def test_what_holds_itself_is_refused(store):
    """It has no end."""
    value = []
    value.append({"k": value})
    with pytest.raises(vs.InvalidInput, match="holds itself"):
        store.get_library("lib").write("deep", FRAME, metadata=value)


def test_labels_within_labels_have_an_end(store):
    """Names of columns and indexes."""
    name = nested(lambda value: (value,), 5000)
    with pytest.raises(vs.InvalidInput, match="tuples within one another"):
        store.get_library("lib").write("deep", FRAME.rename_axis(pd.Index([name], tupleize_cols=False)[0]))


def deep_type(wrap, depth):
    kind = pa.int32()
    for _ in range(depth):
        kind = wrap(kind)
    return kind


@pytest.mark.parametrize(
    ("wrap", "depth"),
    [(pa.list_, 49), (lambda kind: pa.struct([("f", kind)]), 98), (lambda kind: pa.list_(kind, 1), 49)],
)
def test_types_as_deep_as_can_be_read_are_taken_and_no_deeper(store, wrap, depth):
    """Parquet's readers stop at a depth that its writers do not know."""
    library = store.get_library("lib")
    table = pa.table({"a": pa.nulls(2, deep_type(wrap, depth))})
    library.write("deep", table)
    assert store.get_library("lib").read("deep").data.num_rows == 2
    for more in (1, 20, 700):
        deeper = pa.table({"a": pa.nulls(2, deep_type(wrap, depth + more))})
        with pytest.raises(vs.Unsupported, match="deeper within one another than Parquet's readers follow"):
            library.write("deeper", deeper)
    assert "deeper" not in library.list_symbols()


@pytest.mark.parametrize("depth", [30, 49, 50, 300, 3000])
def test_objects_of_lists_are_read_back_or_refused(store, depth):
    """A column of Python lists takes the same way."""
    library = store.get_library("lib")
    value = nested(WRAPS["list"], depth)
    frame = pd.DataFrame({"a": pd.Series([value, value], dtype=object)})
    if depth < 50:
        library.write("deep", frame)
        assert store.get_library("lib").read("deep").data["a"][1] == value
        return
    with pytest.raises((vs.Unsupported, vs.InvalidInput), match=r"column 'a' of 'lib/deep'"):
        library.write("deep", frame)
