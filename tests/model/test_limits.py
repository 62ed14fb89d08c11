"""Full disks, few files, killed processes and odd calls: an error that says what to do, and all is well afterwards.

Limits are those of a child process (the size of a file stands for a full disk), so nothing of the machine is filled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.api.store import Store
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.planning.temporary_folders import Folder

_BEGINNING = """
import os, resource, signal, sys, tempfile
from contextlib import contextmanager
import numpy as np, pandas as pd
import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.api.store import Store

@contextmanager
def limited(kind, value):
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))

def refused(call, *parts):
    try:
        found = call()
    except vs.StorageUnavailable as error:
        for part in parts:
            assert part in str(error), (part, str(error))
    else:
        raise AssertionError(found)

def files(folder):
    return sorted(name for _, _, names in os.walk(folder) for name in names if name != "lock")

frame = pd.DataFrame({"a": np.arange(50_000), "b": np.random.default_rng(0).random(50_000)})
"""


@pytest.fixture
def child(tmp_path):
    """Run Python text in a process whose temporary files go below ``tmp_path``."""
    (tmp_path / "tmp").mkdir()

    def run(text: str, *, returncode: int = 0) -> str:
        environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "DUCKVSTORE_PROGRESS": "0"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a module that was cut short by a limit would stay
        command = [sys.executable, "-c", _BEGINNING + textwrap.dedent(text)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=tmp_path
        )
        assert done.returncode == returncode, done.stderr[-3000:]
        return done.stdout

    return run


def test_a_session_whose_temporary_folder_was_full_works_again(child):
    """A copy that did not fit leaves nothing behind."""
    child("""
        library = Store(MemoryObjects()).create_library("l")
        library.write("t", frame)
        for sandbox in (True, False):
            connection = library.connect(sandbox=sandbox)
            cursor = connection.cursor()
            query = lambda: cursor.execute("SELECT count(*), sum(a) FROM t").fetchall()
            with limited(resource.RLIMIT_FSIZE, 4096):
                for _ in range(2):
                    refused(query, "File too large", "TMPDIR", os.environ["TMPDIR"])
                assert files(os.environ["TMPDIR"]) == []
            assert query() == [(50_000, 1_249_975_000)]
            assert cursor.execute("FROM (SELECT unnest(range(100000)) AS i) ORDER BY hash(i)").fetchone()
            connection.close()
    """)


def test_a_sandbox_that_could_not_be_locked_is_not_open_later(child):
    """There was no place for its folder; afterwards there is, and the session is locked as ever.

    What it may spill does not depend on what is free at that time: DuckDB takes nine tenths of that, which is nothing
    on a full disk, for good.
    """
    child("""
        missing = os.environ["TMPDIR"] + "/missing"
        library = Store(MemoryObjects()).create_library("l")
        library.write("t", frame)
        cursor = library.connect(sandbox=True).cursor()
        setting = lambda name: cursor.execute(f"SELECT current_setting('{name}')").fetchall()[0][0]
        tempfile.gettempdir()
        tempfile.tempdir = missing
        for _ in range(2):
            refused(lambda: setting("lock_configuration"), missing, "TMPDIR")
        os.mkdir(missing)
        assert setting("lock_configuration") is True
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(50_000,)]
        limit = setting("max_temp_directory_size")
        assert "available" not in limit and not limit.startswith("0 "), limit
    """)


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_stay(child, tmp_path):
    """Told by the lock, which ends with the process: another one may have its id by now."""
    folder = tmp_path / "tmp"
    child(
        """
        library = Store(MemoryObjects()).create_library("l")
        library.write("t", frame)
        library.sql("SELECT count(*) FROM t").fetchall()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        returncode=-signal.SIGKILL,
    )
    (killed,) = folder.iterdir()
    (folder / "duckvstore-sql-of-before").mkdir()  # of an earlier release, without a lock
    (folder / "duckvstore-sql-link").symlink_to(tmp_path)
    (folder / "duckvstore-sql-file").touch()
    text = _BEGINNING + textwrap.dedent("""
        library = Store(MemoryObjects()).create_library("l")
        library.write("t", frame)
        library.sql("SELECT count(*) FROM t").fetchall()
        print("ready", flush=True)
        sys.stdin.readline()
        assert library.sql("SELECT sum(a) FROM t").fetchall() == [(1_249_975_000,)]
    """)
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as living:
        assert living.stdout.readline() == "ready\n"
        assert not killed.exists()
        child("""
            with_copies = [name for name in os.listdir(os.environ["TMPDIR"])]
            library = Store(MemoryObjects()).create_library("l")
            library.write("t", frame)
            library.sql("SELECT count(*) FROM t").fetchall()
            assert len(os.listdir(os.environ["TMPDIR"])) == len(with_copies) + 1
        """)
        living.communicate("\n", timeout=60)
    assert living.returncode == 0
    left = {path.name for path in folder.iterdir()}
    assert left == {"duckvstore-sql-of-before", "duckvstore-sql-link", "duckvstore-sql-file"}


def test_a_forked_child_neither_removes_nor_keeps_its_parents_folder(child):
    """It has a folder of its own, and the parent's is locked as long as the parent lives."""
    child("""
        from duckvstore.sql.planning.temporary_folders import Folder
        library = Store(MemoryObjects()).create_library("l")
        library.write("t", frame)
        query = lambda: library.sql("SELECT sum(a) FROM t").fetchall()
        query()
        names = set(os.listdir(os.environ["TMPDIR"]))
        child = os.fork()
        if not child:
            Folder().close()
            os._exit(0 if names <= set(os.listdir(os.environ["TMPDIR"])) and query() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert names <= set(os.listdir(os.environ["TMPDIR"]))
        assert query() == [(1_249_975_000,)]
    """)


def test_a_folder_goes_with_what_uses_it():
    """By close, or with its object."""
    folder = Folder()
    assert folder.path.is_dir()
    folder.close()
    folder.close()
    assert not folder.path.exists()
    path = Folder().path
    assert not path.exists()


@pytest.mark.duckdb1  # DuckDB 2 has no more files open at once than it reads
def test_more_symbols_than_files_may_be_open(child):
    """The statement says what to do; smaller ones work, and it does where there may be more."""
    child("""
        text = " UNION ALL ".join(f"FROM t{number}" for number in range(90))
        for store in (vs.open(os.environ["TMPDIR"] + "/store"), Store(MemoryObjects())):
            library = store.create_library("l")
            for number in range(90):
                library.write(f"t{number}", pd.DataFrame({"a": [number]}))
            assert library.sql("FROM t1").fetchall() == [(1,)]
            with limited(resource.RLIMIT_NOFILE, 70):
                refused(lambda: library.sql(text).fetchall(), "Too many open files", "ulimit -n", "fewer symbols")
                assert library.sql("FROM t1 UNION ALL FROM t2").fetchall() == [(1,), (2,)]
                assert len(library.read_batch([f"t{number}" for number in range(90)])) == 90
            assert len(library.sql(text).fetchall()) == 90
            library.session.close()
    """)


def test_a_full_disk_while_publishing(child):
    """Where the file is put together, and where it is put."""
    child("""
        library = vs.open(os.environ["TMPDIR"] + "/store").create_library("l")
        library.write("t", frame)
        with limited(resource.RLIMIT_FSIZE, 8192):
            refused(library.publish, "File too large", "make room", "TMPDIR")
        with limited(resource.RLIMIT_FSIZE, 8192):
            refused(lambda: library.write("u", frame), "File too large")
        assert library.list_symbols() == ["t"]
        assert library.write("u", frame).version == 0
        left = [name for name in os.listdir(os.environ["TMPDIR"]) if name != "store"]
        assert left == [], left
        assert library.publish().endswith("catalog.duckdb")
    """)


def test_a_relative_path_in_a_folder_that_was_deleted(child):
    """A URL that is none of a folder needs no working directory."""
    child("""
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        for url in ("store", "./store", None):
            for options in ({"url": url}, {"url": "memory://", "segments_url": url or "x"}):
                try:
                    vs.open(**options)
                except vs.InvalidInput as error:
                    assert "give an absolute path" in str(error)
                else:
                    raise AssertionError(options)
        assert vs.open("memory://").create_library("l").write("t", frame).version == 0
        assert vs.open(os.environ["TMPDIR"]).create_library("l").write("t", frame).version == 0
    """)


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "folder", "memory://x", "sql+sqlite:///x.db"])
@pytest.mark.parametrize("options", ["secret-text", 5, True, ["a"], b"x", ("a", "b")], ids=repr)
def test_storage_options_are_a_mapping(url, options):
    """What was given in their place may be a secret, and is not shown."""
    for call in ({"storage_options": options}, {"segments_options": options}):
        with pytest.raises(
            vs.InvalidInput, match=rf"{next(iter(call))} is a {type(options).__name__}: give a dict"
        ) as caught:
            vs.open(url, **call)
        assert "secret" not in str(caught.value)


TEXTS = ["endpoint_url", "region", "profile", "access_key_id", "secret_access_key", "session_token", "addressing_style",
         "checksum", "listing_order", "client"]  # fmt: skip
NUMBERS = ["connections_max", "connect_timeout_seconds", "read_timeout_seconds"]


@pytest.mark.parametrize("name", [*TEXTS, *NUMBERS, "anonymous", "requester_pays"])
@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, object(), float("nan"), -1, b"x"], ids=lambda value: type(value).__name__
)
def test_storage_options_of_the_wrong_type(name, value):
    """Said when the store is opened, not by the first request."""
    keys = {"access_key_id": "a", "secret_access_key": "b"} if "key" in name or "token" in name else {}
    with pytest.raises(vs.InvalidInput, match=rf"storage option '{name}' must be"):
        vs.open("s3://bucket", storage_options={**keys, name: value})


CELLS = {
    "text": "repeat('abc\x1b', 2_000_000)",
    "bytes": "repeat('ab', 4_000_000)::BLOB",
    "list": "range(500_000)",
    "json": "to_json(repeat('x', 8_000_000))",
    "struct": "{'a': repeat('x', 8_000_000)}",
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_result_shows_the_beginning_of_a_large_value_and_takes_no_more(cell):
    """In text and in HTML: what is behind it never becomes a Python object."""
    result = (
        Store(MemoryObjects())
        .create_library("l")
        .sql(f"SELECT {CELLS[cell]} AS x, NULL::INT[] AS y, 'é' || repeat('n', 300) AS z")
    )
    result.settle()
    tracemalloc.start()
    try:
        text, html = repr(result), result._repr_html_()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**20
    assert len(text) < 1000
    assert len(html) < 4000
    assert "…" in text
    assert "é" + "n" * 198 + "…" in html


def test_short_values_are_shown_as_they_are():
    """Cutting long ones changes no other."""
    library = Store(MemoryObjects()).create_library("l")
    result = library.sql(
        "SELECT [1, NULL] AS l, '\\xAA'::BLOB AS b, [['a'], []] AS n, 'x' AS t, NULL::BLOB AS m, [1, 2]::INT[2] AS f"
    )
    row = repr(result).splitlines()[3]
    assert [part.strip() for part in row.split("  ") if part.strip()] == [
        "[1, NULL]",
        "\\xAA",
        "[[a], []]",
        "x",
        "NULL",
        "[1, 2]",
    ]


def test_the_place_of_temporary_files_is_said_by_name(tmp_path, monkeypatch):
    """Of a folder that nothing can be made in."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    library = Store(MemoryObjects()).create_library("l")
    library.write("t", pd.DataFrame({"a": [1]}))
    with pytest.raises(
        vs.StorageUnavailable, match=r"none: No such file or directory\): make room there, or set the variable TMPDIR"
    ):
        library.sql("FROM t").fetchall()
