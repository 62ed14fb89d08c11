"""Which store and library a command is about."""

from __future__ import annotations

import os

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.cli import places


def rows(run, *arguments, at=None):
    code, out, err = run(*arguments, "sql", "SELECT count(*) AS n FROM t", "--format", "csv", at=at)
    return int(out.split()[1]) if code == 0 else err


@pytest.fixture
def stores(lib, tmp_path):
    """Four stores, told apart by the rows of ``t``; in the file's one there is a second library."""
    for count, name in enumerate(("flag", "variable", "project", "vstore"), start=1):
        vs.open(tmp_path / name).create_library("data").write("t", pd.DataFrame({"x": range(count)}))
    vs.open(tmp_path / "project").create_library("other").write("t", pd.DataFrame({"x": range(10)}))


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(stores, run, tmp_path, monkeypatch):
    """From a folder below the project's too, whose relative store stays where it is."""
    assert rows(run) == 4
    (tmp_path / places.PROJECT_FILE).write_text('store = "project"\nlibrary = "data"\n')
    (tmp_path / "below/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "below/here")
    assert rows(run) == 3
    assert rows(run, "--library", "other") == 10
    monkeypatch.setenv("DUCKVSTORE_LIBRARY", "other")
    assert rows(run) == 10
    monkeypatch.setenv("DUCKVSTORE_URL", str(tmp_path / "variable"))
    monkeypatch.delenv("DUCKVSTORE_LIBRARY")
    assert rows(run) == 2
    assert rows(run, at=str(tmp_path / "flag")) == 1


def test_init_makes_a_library_and_a_project(run, asked, tmp_path):
    """Again it finds both; a file that says something else is kept until somebody says yes."""
    assert run("init", "mine", "--library", "eod", at=None)[0] == 0
    assert vs.open(tmp_path / "mine").list_libraries() == ["eod"]
    assert run("init", "mine", at=None)[0] == 0
    code, _, err = run("init", "other", at=None)
    assert (code, "add --yes" in err, (tmp_path / "other").exists()) == (2, True, False)
    code, _, err = run("init", "s3://b", "--storage-option", "secret_access_key=s3cret", "--yes", at=None)
    assert (code, "credential" in err, "s3cret" in err) == (1, True, False)
    assert run("init", "other", "--yes", "--storage-option", "fsync=false", at=None)[0] == 0
    assert places.Project.read(tmp_path / places.PROJECT_FILE) == places.Project(
        tmp_path / places.PROJECT_FILE, str(tmp_path / "other"), "data", None, {"fsync": False}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("store = ", "no TOML"),
        ('stor = "x"', "Did you mean 'store'?"),
        ("store = 3", "is text"),
        ("storage_options = 3", "is a table"),
        ('store = "s3://b"\n[storage_options]\nsecret_access_key = "s3cret"', "credentials do not belong"),
        ("\x00", "no TOML"),
    ],
)
def test_a_project_that_is_wrong_is_one_error(run, tmp_path, content, message):
    """It names the file, and no secret; with a store named, the file is not looked at."""
    (tmp_path / places.PROJECT_FILE).write_text(content)
    code, _, err = run("ls", at=None)
    assert (code, message in err, places.PROJECT_FILE in err, "s3cret" in err) == (1, True, True, False)
    assert run("ls")[0] == 0


def test_the_file_of_another_user_is_not_followed(run, tmp_path):
    """Nor one that anybody may write: it could send the requests anywhere."""
    path = tmp_path / places.PROJECT_FILE
    path.write_text('store = "s3://theirs"\n')
    path.chmod(0o666)
    assert "another user" in run("ls", at=None)[2]
    path.chmod(0o644)
    if os.getuid() == 0:
        os.chown(path, 12345, 12345)
        assert "another user" in run("ls", at=None)[2]
