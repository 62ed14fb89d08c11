"""What ``doctor`` finds, and that it leaves nothing behind."""

from __future__ import annotations

import os
import stat

import pytest

import duckvstore as vs
from tests.servers import closed_port


def contents(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def statuses(checks):
    return {check["name"]: check["status"] for check in checks}


def test_all_is_well_and_nothing_is_left(lib, run, asked, tmp_path):
    """On a folder; also on an empty one, which stays empty, and on one that is not there."""
    before = contents(tmp_path / "store")
    found = statuses(asked("doctor"))
    assert set(found.values()) == {"ok"}
    assert {"endpoint", "clock", "create", "read", "conditional create", "replace", "delete", "library"} <= set(found)
    assert {"python", "packages", "duckdb", "cache", "store"} <= set(found)
    assert contents(tmp_path / "store") == before
    (tmp_path / "empty").mkdir()
    assert statuses(asked("doctor", "--store", "empty"))["library"] == "warning"
    assert contents(tmp_path / "empty") == []
    assert statuses(asked("doctor", "--store", "nowhere"))["endpoint"] == "warning"
    assert not (tmp_path / "nowhere").exists()
    assert "conditional create  ok" in run("doctor")[1]


def test_read_only_writes_nothing(lib, asked, tmp_path):
    """Whoever only reads sees the rest."""
    before = os.stat(tmp_path / "store").st_mtime_ns
    found = statuses(asked("doctor", "--read-only"))
    assert (found["create"], found["delete"], found["library"]) == ("skipped", "skipped", "ok")
    assert os.stat(tmp_path / "store").st_mtime_ns == before


def test_each_problem_has_its_mend(lib, asked, tmp_path):
    """A store that is not reached, an option or a library that is not there, a cache without a place."""
    endpoint = f"http://127.0.0.1:{closed_port()}"
    options = [f"endpoint_url={endpoint}", "access_key_id=a", "secret_access_key=do-not-show", "region=x"]
    pairs = [part for option in options for part in ("--storage-option", option)]
    checks = asked("doctor", "--store", "s3://b/p", *pairs, code=3)
    assert statuses(checks)["endpoint"] == "problem"
    assert any("endpoint_url" in check["mend"] for check in checks)
    assert "do-not-show" not in str(checks)
    for arguments, name in ((["--storage-option", "nope=1"], "store"), (["--library", "eof"], "library")):
        assert statuses(asked("doctor", *arguments, code=3))[name] == "problem"
    (tmp_path / "file").write_text("")
    vs.cache.configure(tmp_path / "file/cache")
    try:
        assert statuses(asked("doctor", code=3))["cache"] == "problem"
    finally:
        vs.cache.configure()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(lib, asked, tmp_path):
    """With what to do about it."""
    (tmp_path / "store").chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert statuses(asked("doctor", code=3))["create"] == "problem"


@pytest.mark.s3
def test_s3_is_tried_and_left_clean(s3_bucket, asked):
    """Permissions, conditional create and versioning, on a real server."""
    url, options = s3_bucket.url, s3_bucket.storage_options
    store = vs.open(url, options)
    store.create_library("eod")
    before = [entry.key for entry in store.objects.list("")]
    pairs = [part for name, value in options.items() for part in ("--storage-option", f"{name}={value}")]
    found = statuses(asked("doctor", "--store", url, *pairs))
    assert (found["create"], found["conditional create"], found["delete"], found["library"]) == ("ok",) * 4
    assert found["versioning"] in ("ok", "warning")
    assert [entry.key for entry in store.objects.list("")] == before
