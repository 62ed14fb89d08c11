"""The folder object store: durability, links, foreign files, and what the file system answers."""

from __future__ import annotations

import errno
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    Integrity,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects import open_objects
from duckvstore.objects.local import TEMPORARY_FOLDER, LocalObjects


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def objects(folder):
    return LocalObjects(folder)


def keys(objects, *arguments, **options):
    return [entry.key for entry in objects.list(*arguments, **options)]


def failing(code, *, only=lambda *_: True):
    """Return a function of os that fails with an errno."""

    def fail(*arguments, **_):
        if only(*arguments):
            raise OSError(code, os.strerror(code))

    return fail


def test_a_missing_folder_is_empty_and_is_made_by_the_first_write(folder, objects):
    """Looking leaves no trace; writing makes the folder and those above it."""
    objects = LocalObjects(folder / "deeper")
    assert keys(objects, "") == []
    assert objects.delete(["a/b"]) == []
    with pytest.raises(NoSuchKey):
        objects.read("a")
    assert not folder.exists()
    objects.create("a/b", b"x")
    assert (folder / "deeper" / "a" / "b").read_bytes() == b"x"


def test_a_file_is_no_folder(tmp_path):
    """A URL that names a file is refused at once."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="not a folder"):
        LocalObjects(tmp_path / "file")


def test_what_is_written_is_on_the_disk_before_it_has_its_name(objects, monkeypatch):
    """File, then name, then folder are made durable, in this order; new folders in their parents too."""
    steps = []
    for name in ("fsync", "link", "replace", "mkdir", "unlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _real=real, _name=name, **o: (steps.append(_name), _real(*a, **o))[1])
    objects.put("a", b"x")
    steps.clear()
    objects.create("b", b"x")
    assert steps == ["fsync", "link", "unlink", "fsync"]
    steps.clear()
    objects.put("b", b"y")
    assert steps == ["fsync", "replace", "fsync"]
    steps.clear()
    objects.create("new/c", b"x")
    assert steps == ["fsync", "mkdir", "fsync", "link", "unlink", "fsync"]


def test_what_others_left_unconfirmed_is_made_durable_before_it_is_built_upon(folder, objects, monkeypatch):
    """A folder or an object that another process made, perhaps without its last fsync, is on the disk after ours."""
    objects.put("a/b", b"x")
    (folder / "new" / "deep").mkdir(parents=True)
    synced = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: (synced.append(os.path.relpath(path, folder)), real(path, *rest))[1]
    )
    objects.create("new/deep/c", b"x")
    assert synced == [".", "new", "new/deep"]
    synced.clear()
    objects.create("new/deep/d", b"x")
    assert synced == ["new/deep"]
    synced.clear()
    with pytest.raises(AlreadyExists):
        objects.create("new/deep/c", b"y")
    assert synced == ["new/deep"]


def test_a_deletion_is_durable(folder, objects, monkeypatch):
    """What was deleted does not come back with a power cut: the folder that lost a name is synced, once."""
    for key in ("a/b/1", "a/b/2", "a/c"):
        objects.put(key, b"x")
    synced = []
    monkeypatch.setattr(objects, "_sync_folder", lambda path: synced.append(os.path.relpath(path, folder)))
    assert objects.delete(["a/b/1", "a/b/2"]) == []
    assert sorted(synced) == ["a", "a/b"]
    assert objects.delete(["a/c"]) == []


def test_fsync_can_be_turned_off(folder, monkeypatch):
    """storage_options={'fsync': False} waits for no disk."""
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    open_objects(folder, {"fsync": False}).create("a/b", b"x")
    with pytest.raises(StorageUnavailable):
        open_objects(folder).put("a/c", b"x")


def test_no_temporary_file_stays_or_shows(folder, objects, monkeypatch):
    """Successful, refused and failed writes leave nothing; one of a dead writer is hidden, and removed when old."""
    objects.create("a/b", b"x")
    with pytest.raises(AlreadyExists):
        objects.create("a/b", b"y")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(StorageUnavailable, match="full"):
            objects.put("a/c", b"x")
    assert list((folder / TEMPORARY_FOLDER).iterdir()) == []
    for name, seconds in (("young", 3600), ("old", 3 * 86400)):
        (folder / TEMPORARY_FOLDER / name).write_bytes(b"half")
        then = (folder / "a" / "b").stat().st_mtime - seconds
        os.utime(folder / TEMPORARY_FOLDER / name, (then, then))
    assert keys(objects, "") == ["a/b"]
    assert keys(objects, "", folders=True) == ["a/"]
    LocalObjects(folder).put("a/c", b"x")
    assert [path.name for path in (folder / TEMPORARY_FOLDER).iterdir()] == ["young"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS])
def test_a_file_system_without_links_is_refused(folder, objects, monkeypatch, code):
    """Create is never emulated: two writers could both win."""
    monkeypatch.setattr(os, "link", failing(code))
    with pytest.raises(Unsupported, match="hard links"):
        objects.create("a", b"x")
    assert keys(objects, "") == []
    assert list((folder / TEMPORARY_FOLDER).iterdir()) == []


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (errno.ENOSPC, StorageUnavailable, "make room"),
        (errno.EDQUOT, StorageUnavailable, "make room"),
        (errno.EACCES, AccessDenied, "permissions"),
        (errno.EROFS, AccessDenied, "permissions"),
        (errno.EIO, StorageUnavailable, "check the disk"),
    ],
)
def test_what_the_system_answers_is_mapped(objects, monkeypatch, code, expected, words):
    """Full, forbidden and broken disks are told apart, with the key, the folder and the cause."""
    objects.put("a", b"x")
    monkeypatch.setattr(os, "link", failing(code))
    with pytest.raises(expected, match=words) as caught:
        objects.create("b", b"x")
    assert type(caught.value) is expected
    assert "'b'" in str(caught.value)
    assert objects._root in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_create_that_the_disk_does_not_confirm_is_unknown(objects, monkeypatch):
    """When the name is there but its folder could not be synced, the outcome is unknown, not failed."""
    objects.put("a", b"x")
    monkeypatch.setattr(LocalObjects, "_sync_folder", failing(errno.EIO))
    with pytest.raises(OutcomeUnknown, match="did not confirm"):
        objects.create("b", b"x")


def test_delete_reports_what_it_could_not(objects, monkeypatch):
    """A refusal of the system is a failure with its reason; the other keys are deleted."""
    for key in ("a", "b", "c"):
        objects.put(key, b"x")
    real = os.unlink
    monkeypatch.setattr(os, "unlink", lambda path: failing(errno.EACCES)() if path.endswith("/b") else real(path))
    failures = objects.delete(["a", "b", "c"])
    assert [(failure.key, failure.reason) for failure in failures] == [("b", "Permission denied")]
    assert keys(objects, "") == ["b"]


def test_links_lead_nowhere(folder, tmp_path, objects):
    """A symbolic link inside the folder is neither followed nor listed, wherever it points."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    objects.put("real/a", b"x")
    (folder / "link").symlink_to(outside)
    (folder / "real" / "b").symlink_to(outside / "secret")
    (folder / "real" / "dangling").symlink_to(outside / "nothing")
    for key in ("link/secret", "real/b", "real/dangling", "link"):
        calls = [
            lambda key=key: objects.read(key),
            lambda key=key: objects.put(key, b"x"),
            lambda key=key: objects.create(key, b"x"),
            lambda key=key: objects.delete([key]),
            lambda key=key: objects.uri(key),
        ]
        for call in calls:
            with pytest.raises(Integrity, match="symbolic link"):
                call()
    with pytest.raises(Integrity):
        keys(objects, "link/")
    assert keys(objects, "") == ["real/a"]
    assert keys(objects, "", folders=True) == ["real/"]
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_the_root_itself_may_be_a_link(tmp_path):
    """Where a user's own link to the store points is where it is."""
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    objects = LocalObjects(tmp_path / "link")
    objects.put("a", b"x")
    assert objects.uri("a") == str(tmp_path / "target" / "a")


def test_foreign_files_are_not_listed(folder, objects):
    """What no key can name is not ours: it is left out and left alone; an empty folder is no folder of objects."""
    objects.put("a/b", b"x")
    (folder / "a" / "with space").write_text("x")
    (folder / "a" / "é").write_text("x")
    (folder / "empty" / "deeper").mkdir(parents=True)
    assert keys(objects, "") == ["a/b"]
    assert keys(objects, "", folders=True) == ["a/"]


def test_a_key_in_the_way_of_a_folder(objects):
    """A file cannot be a folder as well: the second key is refused, and reading below a file finds nothing."""
    objects.put("a", b"x")
    objects.put("b/c", b"x")
    with pytest.raises(InvalidInput, match="another key"):
        objects.put("a/b", b"x")
    with pytest.raises(InvalidInput, match="another key"):
        objects.put("b", b"x")
    with pytest.raises(NoSuchKey):
        objects.read("a/b")
    with pytest.raises(NoSuchKey):
        objects.read("b")
    assert objects.delete(["a/b", "b"]) == []
    assert keys(objects, "") == ["a", "b/c"]


def test_empty_folders_go_with_their_last_object(folder, objects):
    """Deleting removes the folders that become empty, up to the root, which stays."""
    objects.put("a/b/c", b"x")
    objects.put("a/d", b"x")
    objects.delete(["a/b/c"])
    assert not (folder / "a" / "b").exists()
    objects.delete(["a/d"])
    assert not (folder / "a").exists()
    assert folder.exists()


def test_creates_outlast_deletes_that_remove_their_folder(folder):
    """While one thread empties and so removes a folder, another creates in it: no write is lost or refused."""
    objects = LocalObjects(folder, fsync=False)
    stop = threading.Event()

    def empty():
        while not stop.is_set():
            objects.put("a/b/other", b"x")
            objects.delete(["a/b/other"])

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        for number in range(300):
            objects.create(f"a/b/{number}", b"x")
            assert objects.read(f"a/b/{number}") == b"x"
            objects.delete([f"a/b/{number}"])
    finally:
        stop.set()
        thread.join()


def test_listing_reads_no_more_folders_than_it_must(folder, objects, monkeypatch):
    """Folder entries cost one look into each, a limit ends the walk, and start_after skips whole folders."""
    for number in range(20):
        for deeper in range(3):
            objects.put(f"v/{number:02d}/{deeper}/x", b"x")
    read = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (read.append(path), real(path))[1])
    assert keys(objects, "v/", limit=1) == ["v/00/0/x"]
    assert len(read) == 3
    read.clear()
    assert keys(objects, "v/", start_after="v/18/2/x") == ["v/19/0/x", "v/19/1/x", "v/19/2/x"]
    assert len(read) == 1 + 2 + 4
    read.clear()
    assert keys(objects, "v/", start_after="v/17/", limit=2, folders=True) == ["v/18/", "v/19/"]
    assert len(read) == 1 + 2 * 2


@pytest.mark.parametrize("name", ["plain", "with space", "a%41", "é日", "#1", "~x", "a{b,c}d", "x:y", "quote'\"", "$H"])
def test_folders_that_duckdb_reads_exactly(tmp_path, name):
    """Where there is an address it is that file, also for odd names of the folder above."""
    import duckdb

    objects = LocalObjects(tmp_path / name)
    pq.write_table(pa.table({"v": [1]}), path := tmp_path / "f")
    objects.put("k.parquet", path.read_bytes())
    uri = objects.uri("k.parquet")
    if uri is not None:
        with duckdb.connect() as connection:
            assert connection.execute("SELECT * FROM read_parquet([$u])", {"u": uri}).fetchall() == [(1,)]
    assert (uri is None) == (name == "a{b,c}d")


@pytest.mark.parametrize("name", ["a*b", "a?b", "[a]b", "x=1", "a\\b"])
def test_folders_that_duckdb_would_misread_have_no_address(tmp_path, name):
    """Patterns and Hive columns in a folder's name: the objects are fetched instead of scanned."""
    objects = LocalObjects(tmp_path / name)
    objects.put("k", b"x")
    assert objects.uri("k") is None
    assert objects.read("k") == b"x"
