"""Long lists of labels stand once in an object of their own, whoever writes, edits, restores and collects."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.engine.maintenance.verify import verify
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing.commits import Call
from duckvstore.errors import Integrity
from duckvstore.format.stored import label_runs
from duckvstore.format.stored.label_runs import LabelRun
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects
from tests.upkeep import LONGER, keys, move_time

MANY = [f"order-{number:05d}" for number in range(400)]


@pytest.fixture
def objects():
    return CountingObjects(MemoryObjects("labels"))


@pytest.fixture
def lib(objects, monkeypatch):
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 1000)
    return vs.Store(objects).create_library("eod")


def again(objects) -> vs.Library:
    return vs.Store(objects).get_library("eod")


def orders(labels, values=None) -> pd.DataFrame:
    return pd.DataFrame({"order": pd.Categorical(labels if values is None else values, categories=labels)})


def document(objects, number, symbol="s"):
    return json.loads(objects.inner.read(again(objects).open_library.layout.version(symbol, number)))


def runs(objects) -> set[str]:
    return keys(objects.inner, "manifests")


def runs_of(objects, number, symbol="s") -> list[str]:
    return document(objects, number, symbol).get("label_runs", {}).get("key", [])


# -- the format -------------------------------------------------------------------------------------------------------

LABELS = st.lists(st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 1.0, 2.5, None, "1", "é"])))


def folder(put):
    """Return a function that folds labels as the categories of a column, and all runs that it has made."""
    made = []

    def store(items):
        made.append(LabelRun(f"manifests/s/{len(made):016x}.parquet", len(items), label_runs.digest(items), items))
        return made[-1]

    def fold(labels, known):
        schema = {"columns": [], "value": {"dtypes": [{"type": "categorical", "categories": {"objects": labels}}]}}
        found, named = label_runs.folded(schema, known, store if put else None)
        assert label_runs.unfolded(found, named) == schema
        assert json.dumps(label_runs.unfolded(found, named)) == json.dumps(schema)  # 1, 1.0 and True are equal
        return found["value"]["dtypes"][0]["categories"]["objects"], named

    return fold, made


@given(st.lists(LABELS, max_size=6), LABELS)
def test_any_labels_come_back_from_runs(pytestconfig, tails, other):
    """Whatever runs there are: of the same list when it was shorter, of another one, of equal but other labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_runs, "INLINE_BYTES_MAX", 12)
        patch.setattr(label_runs, "RUNS_MAX", 3)
        fold, _ = folder(put=True)
        known: list[LabelRun] = []
        labels: list[object] = []
        for tail in tails:
            labels = [*labels, *tail]
            _, known = fold(labels, known)
            assert len(known) <= 4
            fold([True if label == 1 else label for label in labels], known)
            fold([*other, *labels], known)


def test_a_list_that_grows_is_stored_by_what_it_grew(monkeypatch):
    """A run for each part, the last labels in the document, and one run again where there were too many."""
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 100)
    monkeypatch.setattr(label_runs, "RUNS_MAX", 4)
    fold, made = folder(put=True)
    known: list[LabelRun] = []
    for count in range(1, 400):
        folded, known = fold(MANY[:count], known)
        own = folded["rest"] if isinstance(folded, dict) else folded
        assert len(json.dumps(own)) < 120
        assert len(known) <= 4
    assert len(made) < 60
    assert sum(run.count for run in made) < 8 * 400


def test_a_run_that_is_not_what_was_written_is_refused():
    """Cut, of other labels, of a wrong number of them, and no Parquet at all."""
    data = label_runs.encode(MANY)
    run = LabelRun("manifests/s/x.parquet", len(MANY), label_runs.digest(MANY))
    assert label_runs.decode(data, run) == MANY
    for bad in (data[:-9], b"", b"no Parquet", label_runs.encode([*MANY[1:], "x"]), label_runs.encode(MANY[1:])):
        with pytest.raises(Integrity, match=r"manifests/s/x\.parquet"):
            label_runs.decode(bad, run)


def test_many_lists_that_begin_alike_are_told_apart_at_once():
    """Each is compared with the runs of all others, and most of these differ: nothing is hashed to find that out."""
    lists = [["0", *(f"{at}-{number}" for number in range(700))] for at in range(1000)]
    runs = [LabelRun(f"manifests/s/{at}", 701, label_runs.digest(labels), labels) for at, labels in enumerate(lists)]
    dtypes = [{"type": "categorical", "categories": {"strings": labels}} for labels in lists]
    schema = {"columns": [], "value": {"dtypes": dtypes}}
    begun = time.process_time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_runs, "INLINE_BYTES_MAX", 1000)
        found, named = label_runs.folded(schema, runs)
    assert time.process_time() - begun < 5
    assert named == runs
    assert label_runs.unfolded(found, named) == schema


def test_labels_that_are_no_json_are_refused():
    """Python's reader of JSON takes NaN, its writer does not."""
    table = pa.table({"item": pa.array(["NaN"], pa.large_string())})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with pytest.raises(Integrity, match=r"manifests/s/x\.parquet"):
        label_runs.decode(sink.getvalue().to_pybytes(), LabelRun("manifests/s/x.parquet", 1, "0" * 64))


@pytest.mark.parametrize(
    "place",
    [
        {"$runs": [0, 0], "rest": []},
        {"$runs": [1], "rest": []},
        {"$runs": [-1], "rest": []},
        {"$runs": [True], "rest": []},
        {"$runs": [], "rest": []},
        {"$runs": [0], "rest": None},
        {"$runs": [0], "rest": ""},
        {"$runs": 0, "rest": []},
        {"$runs": [0]},
    ],
)
def test_documents_that_name_what_is_not_there_are_integrity_errors(lib, objects, place):
    """None of them is another list."""
    lib.write("s", orders(MANY))
    body = document(objects, 0)
    body["schema"]["value"]["dtypes"][0]["categories"]["strings"] = place
    key = lib.open_library.layout.version("s", 0)
    objects.inner.put(key, json.dumps(body).encode())
    with pytest.raises(Integrity, match="is damaged"):
        again(objects).read("s")


# -- every kind of value ----------------------------------------------------------------------------------------------

TIMES = pd.date_range("2026-01-01", periods=400, freq="h")
KINDS = {
    "text": orders(MANY),
    "ordered": pd.DataFrame({"c": pd.Categorical(MANY[:9], categories=MANY, ordered=True)}),
    "integers": pd.DataFrame({"c": pd.Categorical(np.arange(400) * 10**9)}),
    "floats": pd.DataFrame({"c": pd.Categorical(np.arange(400) / 7)}),
    "times": pd.DataFrame({"c": pd.Categorical(TIMES)}),
    "dates": pd.DataFrame({"c": pd.Categorical(pd.Index(pd.date_range("2026-01-01", periods=400).date, dtype=object))}),
    "tuples": pd.DataFrame({"c": pd.Categorical(pd.MultiIndex.from_product([MANY[:40], ["b", "a"]]))}),
    "intervals": pd.DataFrame({"c": pd.cut(np.arange(400), 200)}),
    "columns": pd.concat([orders(MANY), orders(MANY).add_suffix("_2"), orders(MANY[::-1]).add_suffix("_3")], axis=1),
    "index": pd.DataFrame({"v": range(400)}, index=pd.CategoricalIndex(MANY)),
    "level": pd.DataFrame({"v": range(400)}, index=pd.MultiIndex.from_arrays([pd.Categorical(MANY), range(400)])),
    "series": pd.Series(pd.Categorical(MANY), name="c"),
    "nested": {"a": [orders(MANY), 1], "b": orders(MANY[::-1])},
    "polars": pl.DataFrame({"c": pl.Series(MANY[:7], dtype=pl.Enum(MANY))}),
    "polars, inside": pl.DataFrame({"c": pl.Series([[MANY[0]], []], dtype=pl.List(pl.Enum(MANY)))}),
    "polars series": pl.Series("c", MANY[:7], dtype=pl.Enum(MANY)),
}


def check_same(found, value):
    if isinstance(value, pd.DataFrame):
        assert_frame_equal(found, value)
    elif isinstance(value, pd.Series):
        assert_series_equal(found, value)
    elif isinstance(value, dict):
        assert_frame_equal(found["a"][0], value["a"][0])
        assert_frame_equal(found["b"], value["b"])
    else:
        assert found.equals(value)
        dtypes = (found.dtypes, value.dtypes) if isinstance(value, pl.DataFrame) else (found.dtype, value.dtype)
        assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_labels_is_stored_once(lib, objects, kind):
    """What is written again, restored or given other metadata names the same runs, and comes back as it was."""
    value = KINDS[kind]
    lib.write("s", value)
    first = runs_of(objects, 0)
    assert first
    assert document(objects, 0)["requires"] == ["shared_labels"]
    lib.write("s", value)
    lib.write_metadata("s", {"n": 1})
    lib.restore_version("s", 0)
    for number in range(4):
        assert runs_of(objects, number) == first
        assert len(json.dumps(document(objects, number)["schema"])) < 8000
        check_same(again(objects).read("s", as_of=number).data, value)
    assert len(runs(objects)) == len(first)
    assert again(objects).verify().ok


def test_short_lists_need_no_feature(lib, objects):
    """They stay readable by earlier releases, and cost no request."""
    lib.write("s", orders(MANY[:20]))
    assert document(objects, 0)["requires"] == []
    assert not runs(objects)


def test_equal_columns_share_a_run(lib, objects):
    """And those of other labels have others."""
    lib.write("s", KINDS["columns"])
    assert len(runs_of(objects, 0)) == 2


def test_appends_of_new_categories_write_them_alone(lib, objects):
    """The document has the new ones, the runs of the version before stand for the rest."""
    lib.write("s", orders(MANY))
    for number in range(5):
        lib.append("s", orders([f"new-{number}"]))
    expected = [*MANY, *(f"new-{number}" for number in range(5))]
    found = again(objects).read("s").data["order"]
    assert found.tolist() == expected
    assert found.cat.categories.tolist() == expected
    assert runs_of(objects, 5) == runs_of(objects, 0)
    assert again(objects).read("s", as_of=2).data["order"].cat.categories.tolist() == expected[:402]
    lib.append("s", orders([f"much-newer-{number}" for number in range(300)]))
    assert runs_of(objects, 6)[0] == runs_of(objects, 0)[0]
    assert len(runs(objects)) == 2


def test_a_reader_reads_a_run_once(lib, objects):
    """One request for all versions that name it."""
    lib.write("s", orders(MANY))
    for _ in range(5):
        lib.append("s", orders(MANY[:1]))
    reader = again(objects)
    objects.reset()
    reader.list_versions("s")
    assert objects.counts["read"] == 6 + 1


def test_enums_of_sql(lib, objects):
    """A type of DuckDB's own stands in a run as well, through every statement."""
    listed = ", ".join(f"'{label}'" for label in MANY)
    lib.sql(f"CREATE TABLE s AS SELECT '{MANY[3]}'::ENUM({listed}) AS e, 1 AS n, [NULL::ENUM({listed})] AS l")
    lib.sql(f"INSERT INTO s VALUES ('{MANY[1]}', 2, [])")
    lib.sql("UPDATE s SET n = 5 WHERE n = 1")
    lib.sql("ALTER TABLE s ADD COLUMN more INTEGER")
    lib.sql("DELETE FROM s WHERE n = 2")
    first = runs_of(objects, 0)
    assert len(first) == 2
    assert [runs_of(objects, number) for number in range(5)] == [first] * 5
    assert again(objects).sql("SELECT e, n, more FROM s").fetchall() == [(MANY[3], 5, None)]
    assert again(objects).sql("SELECT e < e, enum_range(e)[400] FROM s").fetchall() == [(False, MANY[399])]
    assert (
        again(objects)
        .sql("SELECT column_type FROM vstore.columns WHERE column_name = 'e'")
        .fetchone()[0]
        .startswith(f"ENUM('{MANY[0]}', ")
    )
    assert again(objects).verify().ok


def test_a_transaction_puts_a_run_once(lib, objects):
    """Whatever edits there were before the commit; nothing that it names is missing."""
    with lib.transaction() as tx:
        tx.write("s", orders(MANY))
        tx.append("s", orders(["new-1"]))
        assert tx.read("s").data["order"].tolist() == [*MANY, "new-1"]
        tx.append("s", orders(["new-2"]))
    assert len(runs(objects)) == 1
    with lib.transaction() as tx:
        tx.append("s", orders(["new-3"]))
    assert len(runs(objects)) == 1
    assert again(objects).read("s").data["order"].tolist() == [*MANY, "new-1", "new-2", "new-3"]


def test_staged_parts_have_runs_of_their_own(lib, objects, monkeypatch):
    """Kept until they are finalised, and then the version's."""
    moved = move_time(monkeypatch)
    lib.stage("s", orders(MANY))
    lib.stage("s", orders([*MANY, "new"]))
    moved.move(timedelta(days=3))
    assert collect(again(objects).open_library, grace=LONGER, dry_run=False).deleted_objects == []
    assert verify(again(objects).open_library).ok
    lib.finalize_staged_data("s")
    assert again(objects).read("s").data["order"].cat.categories.tolist() == [*MANY, "new"]
    collect(again(objects).open_library, grace=timedelta(0), dry_run=False)
    assert again(objects).read("s").data["order"].tolist() == [*MANY, *MANY, "new"]
    assert verify(again(objects).open_library).ok


def test_a_renamed_symbol(lib, objects):
    """It has its labels, also when the old name is gone from the store."""
    lib.write("s", orders(MANY))
    lib.sql("ALTER TABLE s RENAME TO t")
    prune.prune(lib.open_library, "s", keep_last=1)
    collect(again(objects).open_library, grace=timedelta(0), dry_run=False)
    assert again(objects).read("t").data["order"].tolist() == MANY


def test_a_handle_says_of_a_version_what_its_document_names(lib, objects, monkeypatch):
    """Nothing else is kept by a collection. One run begins like another here, and both are named."""
    monkeypatch.setattr(label_runs, "RUNS_MAX", 3)
    fixed = pd.Categorical(MANY[:1], categories=MANY[:100])
    for count in (100, 200, 300, 400, 400):
        lib.append("s", pd.DataFrame({"a": fixed, "b": pd.Categorical(MANY[:1], categories=MANY[:count])}))
    for number in range(5):
        named = [run.key for run in catalogue.resolve(lib.open_library, "s", number).label_runs]
        assert named == runs_of(objects, number)
        assert len(json.dumps(document(objects, number)["schema"])) < 4000
    assert again(objects).read("s").data["b"].cat.categories.tolist() == MANY


class _Meeting(MemoryObjects):
    """Requests for runs that go on when two of them are there at once."""

    def __init__(self) -> None:
        super().__init__("meeting")
        self.barrier = threading.Barrier(2, timeout=20)

    def put(self, key, data):
        if "/manifests/" in key:
            self.barrier.wait()
        return super().put(key, data)

    def read(self, key, *arguments, **options):
        if "/manifests/" in key:
            self.barrier.wait()
        return super().read(key, *arguments, **options)


def test_runs_are_put_and_read_side_by_side(monkeypatch):
    """A frame may have a thousand of them. Also where many versions are read at once."""
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 1000)
    objects = _Meeting()
    lib = vs.Store(objects).create_library("eod")
    for number in range(20):
        labels = [f"{number}-{label}" for label in MANY]
        lib.write("s", pd.concat([orders(labels), orders(labels[::-1]).add_suffix("_2")], axis=1))
    assert len(keys(objects, "manifests")) == 40
    assert again(objects).read("s").data["order_2"].tolist() == labels[::-1]
    assert len(again(objects).list_versions("s")) == 20


class _Interrupted(MemoryObjects):
    """The first reader of a run is interrupted, once another one waits for it."""

    def __init__(self) -> None:
        super().__init__("interrupted")
        self.begun = threading.Event()

    def read(self, key, *arguments, **options):
        if "/manifests/" in key and not self.begun.is_set():
            self.begun.set()
            time.sleep(0.3)
            raise KeyboardInterrupt
        return super().read(key, *arguments, **options)


def test_an_interrupt_is_of_the_thread_that_it_interrupts(monkeypatch):
    """Whoever waits for the same labels reads them then."""
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 1000)
    objects = _Interrupted()
    vs.Store(objects).create_library("eod").write("s", orders(MANY))
    lib = again(objects)
    run = vs.Store(objects).get_library("eod").open_library.version("s", 0, labelled=False).label_runs[0]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lib.open_library.labels, run)
        objects.begun.wait(20)
        second = threads.submit(lib.open_library.labels, run)
        with pytest.raises(KeyboardInterrupt):
            first.result()
        assert second.result() == MANY


def test_what_is_remembered_answers_for_just_that_run(lib, objects):
    """A damaged document that names the same object with other labels is not believed, cached or not."""
    lib.write("s", orders(MANY))
    lib.append("s", orders(MANY[:1]))
    reader = again(objects)
    reader.read("s", as_of=0)
    body = document(objects, 1)
    body["label_runs"]["sha256"] = ["0" * 64]
    objects.inner.put(lib.open_library.layout.version("s", 1), json.dumps(body).encode())
    with pytest.raises(Integrity, match="damaged"):
        reader.read("s", as_of=1)


# -- upkeep -----------------------------------------------------------------------------------------------------------


def gc(objects):
    return collect(again(objects).open_library, grace=timedelta(0), dry_run=False)


def test_a_run_stays_while_any_version_names_it(lib, objects):
    """Of the newest, of old ones, of a snapshot; it goes with the last of them."""
    lib.write("s", orders(MANY))
    lib.append("s", orders(["new"]))
    lib.write("s", orders(MANY[::-1]))
    lib.snapshot("day", versions={"s": 1})
    opened = lib.open_library
    prune.delete_versions(opened, Call("s"), "s", [0])
    assert gc(objects).deleted_objects == []
    assert again(objects).read("s", as_of="day").data["order"].tolist() == [*MANY, "new"]
    lib.delete_snapshot("day")
    prune.prune(opened, "s", keep_last=1)
    gc(objects)
    assert {key.removeprefix("eod/") for key in runs(objects)} == set(runs_of(objects, 2))
    assert again(objects).read("s").data["order"].cat.categories.tolist() == MANY[::-1]
    lib.delete("s")
    prune.prune(opened, "s", keep_last=1)
    gc(objects)
    assert not runs(objects)


def test_missing_and_damaged_runs_are_found(lib, objects):
    """By readers, and by a verification also when the labels are remembered."""
    lib.write("s", orders(MANY))
    lib.write("t", orders(MANY[::-1]))
    lib.read("s")
    (gone,), (damaged,) = runs_of(objects, 0), runs_of(objects, 0, "t")
    objects.inner.delete([f"eod/{gone}"])
    objects.inner.put(f"eod/{damaged}", label_runs.encode(["x"]))
    for symbol, key in (("s", gone), ("t", damaged)):
        with pytest.raises(Integrity, match=key):
            again(objects).read(symbol)
    for handle in (lib, again(objects)):
        problems = verify(handle.open_library, deep=False).problems
        assert any(gone in each for each in problems)
        assert any(damaged in each for each in problems)


def test_lost_labels_stop_no_collection_and_make_no_orphans(lib, objects):
    """What their version refers to is known without them; a verification says once what is lost."""
    lib.write("s", orders(MANY))
    lib.append("s", orders(MANY[:1]))
    lib.write("t", orders(MANY[::-1]))
    lib.write("t", orders(["x"]))
    prune.prune(lib.open_library, "t", keep_last=1)
    (gone,), (collected,) = runs_of(objects, 0), runs_of(objects, 0, "t")
    objects.inner.delete([f"eod/{gone}"])
    report = gc(objects)
    assert collected in report.deleted_objects
    found = verify(again(objects).open_library)
    assert found.orphans == []
    (problem,) = found.problems
    assert gone in problem
    assert "version 1 of 's'" in problem


GO_ON = {
    "write": (lambda lib: lib.write("s", orders(["x"])), ["x"]),
    "write the same": (lambda lib: lib.write("s", orders(MANY[::-1])), MANY[::-1]),
    "restore": (lambda lib: lib.restore_version("s", 0), ["a"]),
    "stage": (lambda lib: (lib.stage("s", orders(["x"])), lib.finalize_staged_data("s")), ["x"]),
    "sql": (lambda lib: lib.sql("CREATE OR REPLACE TABLE s AS SELECT 'x' AS order"), None),
    "delete": (lambda lib: lib.delete("s"), None),
    "delete versions": (lambda lib: lib.delete("s", versions=[0, 1]), None),
    "prune": (lambda lib: lib.prune("s", keep_last=1), None),
    "snapshot": (lambda lib: lib.snapshot("day"), None),
    "metadata": (lambda lib: lib.read_metadata("s"), None),
    "gc": (lambda lib: lib.gc(dry_run=False), None),
}


@pytest.mark.parametrize("name", GO_ON)
def test_lost_labels_are_of_their_version_alone(lib, objects, name):
    """Whoever needs none goes on: the symbol can be written, pruned and deleted, and its other versions be read."""
    lib.write("s", orders(["a"]))
    lib.write("s", orders(["b"]))
    lib.write("s", orders(MANY))
    objects.inner.delete([f"eod/{runs_of(objects, 2)[0]}"])
    operation, expected = GO_ON[name]
    handle = again(objects)
    operation(handle)
    for found in (handle, again(objects)):
        if expected is not None:
            assert found.read("s").data["order"].tolist() == expected
        if name not in ("delete", "delete versions", "prune"):
            assert found.read("s", as_of=0).data["order"].tolist() == ["a"]
            with pytest.raises(Integrity, match=runs_of(objects, 2)[0]):
                found.read("s", as_of=2)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_labels_that_come_back_are_read(lib, objects, damage):
    """A handle remembers no loss. Until then nothing is built on them, and listings warn and leave the version out."""
    lib.write("s", orders(MANY))
    lib.write("t", orders(["a"]))
    (run,) = runs(objects)
    whole = objects.inner.read(run)
    handle = again(objects)
    objects.inner.delete([run])
    if damage == "damaged":
        objects.inner.put(run, label_runs.encode(MANY[1:]))
    attempts = (
        lambda: handle.read("s"),
        lambda: handle.append("s", orders(["a"])),
        lambda: handle.write_metadata("s", 1),
        lambda: handle.sql("FROM s"),
        lambda: handle.sql("DELETE FROM s"),
        lambda: handle.get_description("s"),
        lambda: handle.diff("s", 0, 0),
    )
    for attempt in attempts:
        with pytest.raises(Integrity, match=rf"versions/s/.*{run.removeprefix('eod/')}"):
            attempt()
    with pytest.warns(vs.DocumentWarning, match=run.removeprefix("eod/")):
        assert handle.list_symbols() == ["t"]
    with pytest.warns(vs.DocumentWarning, match=run.removeprefix("eod/")):
        assert handle.sql("SHOW TABLES").fetchall() == [("t",)]
    handle.snapshot("day")
    objects.inner.delete([run])
    objects.inner.put(run, whole)
    assert handle.read("s").data["order"].tolist() == MANY
    assert handle.read("s", as_of="day").data["order"].tolist() == MANY
    assert handle.sql("SELECT count(*) FROM s").fetchall() == [(400,)]
    assert handle.append("s", orders(["a"])).version == 1
    assert again(objects).verify().ok


def test_a_collection_reads_no_labels(lib, objects):
    """They may be long, and it needs to know only who names them."""
    for number in range(5):
        lib.write("s", orders([f"{number}-{label}" for label in MANY]))
    for key in runs(objects):
        objects.inner.put(key, b"not read")
    assert gc(objects).deleted_objects == []


def test_a_document_of_a_library_before_costs_a_number_and_nothing_else(lib, objects):
    """Its labels are gone with that library, and nobody asks for them."""
    lib.write("s", orders(MANY))
    key = lib.open_library.layout.version("s", 0)
    left = objects.inner.read(key)
    store = vs.Store(objects)
    store.delete_library("eod")
    new = store.create_library("eod")
    objects.inner.put(key, left)
    assert not runs(objects)
    assert new.list_symbols() == []
    assert new.write("s", orders(["a"])).version == 1
    assert again(objects).read("s").data["order"].tolist() == ["a"]
    gc(objects)
    assert again(objects).verify().ok
