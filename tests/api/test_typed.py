"""The package has types for whoever checks their own code: what is returned has a name, and wrong calls are found."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys

import pytest

import duckvstore as vs
from tests import ROOT

USER = """
from datetime import timedelta

import pandas as pd
import duckvstore as vs

store: vs.Store = vs.open("memory://typed", {"region": "x"})
library: vs.Library = store.create_library("eod", keep_last=3, grace=timedelta(days=1))
frame = pd.DataFrame({"a": [1]})
item: vs.VersionedItem = library.write("s", frame, {"k": [1]}, message="m", expected_version=None)
number: int = library.append("s", frame).version
made: list[vs.VersionedItem | vs.DataError] = library.write_batch([vs.WritePayload("t", frame)], author="me")
found = [one.data for one in library.read_batch(["s"], columns=["a"]) if isinstance(one, vs.VersionedItem)]
part: vs.StageResult = library.stage("s", frame)
finalized: vs.VersionedItem = library.finalize_staged_data("s", stage_results=[part])
names: list[str] = library.list_snapshots(load_metadata=False)
noted: dict[str, object] = library.list_snapshots()
snapshot: vs.SnapshotInfo = library.snapshot("day")
described: vs.SymbolDescription = library.get_description("s")
columns: tuple[vs.ColumnInfo, ...] = described.columns
changes: vs.Diff = library.diff("s", 0, 1)
result: vs.Result = library.sql("SELECT * FROM s AT VERSION $v", {"v": 0})
figures: vs.Figures = result.figures
rows: list[tuple[object, ...]] = result.fetchall()
frame_again: pd.DataFrame = result.df()
handle: vs.VersionHandle = library["s", 0]
with library.transaction(message="m") as t:
    t.write("s", frame)
    committed: dict[str, int] = t.commit()
with vs.trace() as counted:
    counts: vs.RequestCounts = counted.requests["read"]
report: vs.CollectionReport = library.gc(timedelta(0), dry_run=False)
checked: vs.VerificationReport = library.verify()
sizes: vs.SizesReport = library.sizes()
options: vs.Options = library.set_options(keep_for=timedelta(days=90))
connection: vs.Connection = library.connect(read_only=True)
cursor: vs.Cursor = connection.execute("FROM s")
published: vs.Published = library.publish()
address: str = published
versions: dict[vs.SymbolVersion, vs.VersionInfo] = library.list_versions()
combined: vs.Combined = vs.combine({"a": library})
try:
    library.read("s")
except vs.NoSuchSymbol as error:
    missing: KeyError = error
"""
WRONG = """library.read("s", as_off=3)
n: int = library.read("s")
library.set_options(keep_lost=3)
"""
FOUND = {"mypy": ["as_off", '"VersionedItem", variable has type "int"', "keep_lost"]}
FOUND["basedpyright"] = ["as_off", '"VersionedItem" is not assignable to', "keep_lost"]


@pytest.mark.parametrize("checker", FOUND)
def test_a_users_program_is_checked(checker, tmp_path):
    """Everything has its type; misspelt parameters and a result taken for something else are found, and no more."""
    pytest.importorskip(checker, reason="the default environment has type checkers")
    (tmp_path / "program.py").write_text(USER + WRONG)
    settings = {"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "reportMissingModuleSource": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = {
        "mypy": ["--config-file", "pyproject.toml"],  # strict, and with the cache of who checked the package before
        "basedpyright": ["--project", str(tmp_path), "--pythonpath", sys.executable, "--level", "error"],
    }[checker]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-m", checker, *command, str(tmp_path / "program.py")],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert all(message in said for message in FOUND[checker]), said
    assert f"{len(FOUND[checker])} errors" in said, said


def own_classes():
    """Return the names of the classes that the package has."""
    parsed = (ast.parse(path.read_text()) for path in (ROOT / "duckvstore").rglob("*.py"))
    return {node.name for module in parsed for node in ast.walk(module) if isinstance(node, ast.ClassDef)}


def returned(owner):
    """Return the annotations of a class's attributes, properties and results of methods that users see, as text."""
    found = {}
    for base in (cls for cls in owner.__mro__ if cls.__module__.startswith("duckvstore")):
        found.update(inspect.get_annotations(base))
        for name, member in vars(base).items():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            found[name] = getattr(function, "__annotations__", {}).get("return", "")
    return {name: str(annotation) for name, annotation in found.items() if not name.startswith("_")}


def test_what_calls_return_can_be_named():
    """Whatever class of this package a public call returns, or a public attribute has, is offered by its name."""
    pytest.importorskip("anywidget", reason="the browser is a widget")
    named, own = {name: getattr(vs, name) for name in vs.__all__}, own_classes()
    for name, owner in named.items():
        if inspect.isclass(owner) and name not in NOT_LOOKED_INTO:
            for member, annotation in returned(owner).items():
                unnamed = (own & set(re.findall(r"(?<![\w.])\w+", annotation))) - set(named) - INTERNAL
                assert not unnamed, f"{name}.{member} gives {unnamed}, which cannot be named"


# An object store is for those who implement one; of a session, `sql` and `close` are for users.
NOT_LOOKED_INTO = ("ObjectStore", "Session")
INTERNAL = {"Rows"}  # on their way to a result

COMPLETED = {
    vs.Store: (
        "connect create_library delete_library get_library has_library list_libraries objects segments_url session sql "
        "url"
    ),
    vs.Library: (
        "append append_batch browse connect delete delete_batch delete_data_in_range delete_rows delete_snapshot "
        "delete_staged_data diff finalize_staged_data fold gc get_description get_description_batch get_staged_symbols "
        "has_symbol head list_snapshots list_symbols list_versions name options overview prune "
        "prune_previous_versions publish read read_batch read_metadata read_metadata_batch recover reload_symbol_list "
        "restore_version session set_options sizes snapshot sort_and_finalize_staged_data sql stage store tail "
        "transaction update update_batch url verify write write_batch write_metadata write_metadata_batch "
        "write_pickle write_pickle_batch"
    ),
}


def test_completion_offers_what_users_need():
    """After ``vs.``, ``store.`` and ``lib.``; nothing of the engine, no imported module."""
    assert [name for name in dir(vs) if not name.startswith("_")] == sorted(vs.__all__)
    store = vs.open("memory://completed")
    for shown in (store, store.create_library("eod")):
        names = [name for name in dir(shown) if not name.startswith("_")]
        assert names == COMPLETED[type(shown)].split()


def test_names_that_are_not_there_are_attribute_errors():
    assert not hasattr(vs, "NoSuchThing")
