"""Files become symbols, and symbols files."""

from __future__ import annotations

import gzip
import io
import os

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from tests.cli.conftest import process

CSV = "id,time,price\n1,2026-01-01 09:00:00,1.5\n2,2026-01-02 10:00:00,2.5\n"


@pytest.fixture
def trades(tmp_path):
    (tmp_path / "new.csv").write_text(CSV)
    return tmp_path / "new.csv"


def test_two_commands_from_a_csv_to_a_query(trades, run, tmp_path, monkeypatch):
    """A store that is not there is made, with one library."""
    code, out, err = run("import", "new.csv", at=None)
    assert (code, out) == (0, "made new v0, 2 rows\n")
    assert f"made library 'data' at file://{tmp_path}/vstore/data" in err
    assert run("sql", "SELECT sum(price) AS s FROM new AT VERSION 0", "--format", "csv", at=None)[1] == "s\n4.0\n"
    assert run("import", "new.csv", "--library", "dta", at=None)[0] == 1
    assert run("import", "new.csv", "--library", "dta", "--create", at=None)[0] == 0
    assert vs.open("vstore").list_libraries() == ["data", "dta"]


def test_an_index_orders_what_is_appended(trades, lib, run, asked):
    """And refuses what comes before, unless it is told not to."""
    (made,) = asked("import", "new.csv", "--index", "time", "-m", "first", "--author", "ann")
    assert (made["library"], made["symbol"], made["version"], made["row_count"]) == ("eod", "new", 0, 2)
    assert lib.list_versions("new")["new", 0].author == "ann"
    code, _, err = run("import", "new.csv", "--index", "time", "--append")
    assert (code, "--unsorted" in err) == (1, True)
    trades.write_text(CSV.replace("2026", "2027"))
    assert asked("import", "new.csv", "--append")[0]["row_count"] == 4
    assert asked("import", "new.csv", "--append", "--unsorted")[0]["version"] == 2
    assert lib.read("new", date_range=("2027-01-02", None), output_format="pandas").row_count == 6
    assert "Did you mean 'time'?" in run("import", "new.csv", "--index", "tim")[2]


def test_csv_is_read_as_it_is_said_to_be(lib, run, tmp_path):
    """Types, dates, delimiters, no heading; a name with stars is one file; what does not fit is one error."""
    (tmp_path / "a[1]*.csv").write_text("id;day\n007;2026-01-02\n")
    assert (
        run("import", "a[1]*.csv", "--symbol", "a", "--delimiter", ";", "--type", "id=VARCHAR", "--dates", "day")[0]
        == 0
    )
    assert lib.sql("SELECT id, typeof(day) FROM a").fetchall() == [("007", "TIMESTAMP")]
    (tmp_path / "b.tsv").write_text("1\tx\n2\ty\n")
    assert run("import", "b.tsv", "--no-header")[0] == 0
    assert lib.get_description("b").row_count == 2
    code, _, err = run("import", "a[1]*.csv", "--symbol", "c", "--dates", "id", "--type", "nope=INTEGER")
    assert (code, "cannot be read as csv" in err, "nope" in err) == (1, True, True)
    assert not lib.has_symbol("c")


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a,b\n1,2\n3\n", []), ("a,b\n1,2\n3\n4,5,6\n", []), ("a,b\n1,2\n3,4,5\n", []), ("# note\na,b\n1,2\n", []),
        ("a;b\n1;2\n3\n", []), ("a,b\n1,h\xe9\n", []), ("", []), ("a\n1\n", ["--type", "a=DATE"]),
    ],
)  # fmt: skip
def test_no_line_of_a_csv_is_lost_without_a_word(lib, run, tmp_path, content, options):
    """A line with other columns than the rest, or in another encoding, is an error: nothing is guessed about it."""
    (tmp_path / "x.csv").write_bytes(content.encode("latin-1"))
    code, _, err = run("import", "x.csv", *options)
    assert (code, "'x.csv'" in err, "read_csv" in err) == (1, True, False), err
    assert not lib.has_symbol("x")


def test_csv_in_other_forms(lib, run, tmp_path):
    """Quoted line breaks and commas, lines before the heading, encodings, gzip, headings of text alone."""
    (tmp_path / "q.csv").write_text('a,b\r\n"x, ""y""\nz",2\r\n')
    (tmp_path / "s.csv").write_text("# note\na|b\n1|2\n")
    (tmp_path / "l.csv").write_bytes("a;b\nhé;x\n".encode("latin-1"))
    with gzip.open(tmp_path / "g.csv.gz", "wt") as file:
        file.write("a\tb\nx\ty\n")
    for arguments in (["q.csv"], ["s.csv", "--skip", "1"], ["l.csv", "--encoding", "latin-1"], ["g.csv.gz"]):
        assert run("import", *arguments)[0] == 0
    rows = {name: lib.read(name).data.to_pydict() for name in "qslg"}
    assert rows == {
        "q": {"a": ['x, "y"\nz'], "b": [2]},
        "s": {"a": [1], "b": [2]},
        "l": {"a": ["hé"], "b": ["x"]},
        "g": {"a": ["x"], "b": ["y"]},
    }


def test_standard_input_is_imported(lib, tmp_path):
    """Through a pipe."""
    done = process("import", "-", "--symbol", "piped", "--format", "csv", "--store", "store", cwd=tmp_path, text=CSV)
    assert (done.returncode, done.stdout) == (0, "made piped v0, 2 rows\n"), done.stderr


def test_what_pandas_wrote_comes_back_as_it_was(lib, run, tmp_path):
    """Index included; other Parquet and Arrow files are tables."""
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.date_range("2026-01-01", periods=2, name="day", freq=None))
    frame.index.freq = None
    frame.to_parquet(tmp_path / "p.parquet")
    feather.write_feather(frame, tmp_path / "f.feather")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    with pa.ipc.new_stream(tmp_path / "s.arrow", pa.schema({"x": pa.int64()})) as stream:
        stream.write_batch(pa.record_batch({"x": [1]}))
    (tmp_path / "j.jsonl").write_text('{"x": 1}\n')
    files = ["p.parquet", "f.feather", "t.parquet", "s.arrow", "j.jsonl"]
    assert run("import", *files)[0] == 0
    for symbol in ("p", "f"):
        read = lib.read(symbol).data
        read.index.freq = None
        assert_frame_equal(read, frame)
    assert all(lib.read(symbol).data.to_pydict() == {"x": [1]} for symbol in "tsj")


def test_a_folder_becomes_symbols(trades, lib, run, tmp_path):
    """By their place in it; a broken file is named and keeps no other out; hidden and strange ones are left alone."""
    for name in ("in/a.csv", "in/deep/b.csv", "in/.hidden.csv", "in/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CSV)
    (tmp_path / "in/broken.parquet").write_text("no parquet")
    code, out, err = run("import", "in")
    assert code == 1
    assert sorted(out.splitlines()) == ["made 'deep/b' v0, 2 rows", "made a v0, 2 rows"]
    assert "in/broken.parquet" in err
    assert "1 of 3 files" in err
    (tmp_path / "in/a.parquet").write_text("x")
    code, _, err = run("import", "in")
    assert (code, "would both be symbol 'a'" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.csv"], "no file 'nothing.csv'"),
        (["store"], "is a store itself"),
        (["empty"], "no file to import"),
        (["names.unknown"], "--format"),
        (["-"], "--symbol and the --format"),
        (["new.csv", "new.csv", "--symbol", "x"], "--symbol names one"),
        (["names.unknown", "--format", "arrow"], "cannot be read as Arrow"),
        (["names.unknown", "--format", "parquet"], "cannot be read as Parquet"),
        (["new.csv", "--format", "excel"], "xcel"),
        (["new.csv", "--type", "id"], "--type takes NAME=VALUE"),
    ],
)
def test_what_cannot_be_imported_is_one_error(trades, lib, run, tmp_path, arguments, message):
    """And leaves the library as it was."""
    (tmp_path / "names.unknown").write_text("x")
    (tmp_path / "empty").mkdir()
    code, _, err = run("import", *arguments)
    assert (code, message in err) == (1, True), err
    assert lib.list_symbols() == ["names", "trades"]


def test_excel_is_read_where_pandas_can(lib, run, tmp_path):
    """Else the error says what pandas needs."""
    pytest.importorskip("openpyxl", reason="pandas reads Excel with it")
    pd.DataFrame({"x": [1, 2]}).to_excel(tmp_path / "book.xlsx", sheet_name="s", index=False)
    assert run("import", "book.xlsx", "--sheet", "s")[0] == 0
    assert lib.read("book").data["x"].tolist() == [1, 2]


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow", "json"])
def test_a_version_goes_into_a_file(lib, run, asked, tmp_path, form):
    """What is there is kept until somebody says yes, and no part of a file stays."""
    target = f"out.{form}"
    assert asked("export", "trades", target, "--at", "-2") == [
        {"symbol": "trades", "version": 1, "path": target, "format": form}
    ]
    readers = {"csv": pd.read_csv, "parquet": pd.read_parquet, "arrow": feather.read_feather, "json": pd.read_json}
    assert readers[form](tmp_path / target)["id"].tolist() == [1, 2, 3]
    code, _, err = run("export", "trades", target, "--at", "0")
    assert (code, "add --yes" in err) == (2, True)
    assert len(readers[form](tmp_path / target)) == 3
    assert run("export", "trades", target, "--at", "0", "--yes")[0] == 0
    assert len(readers[form](tmp_path / target)) == 2
    assert not list(tmp_path.glob("*.part"))


def test_many_symbols_go_into_a_folder_or_a_database(lib, run, asked, tmp_path):
    """A file or a table for each; no name leads out of the folder."""
    import duckdb

    assert run("export", "--all-symbols", "out/", "--format", "csv")[0] == 0
    assert sorted(os.listdir("out")) == ["names.csv", "trades.csv"]
    assert len(asked("export", "--all-symbols", "eod.duckdb")) == 2
    assert run("export", "trades", "eod.duckdb", "--at", "0", "--yes")[0] == 0
    with duckdb.connect(str(tmp_path / "eod.duckdb")) as connection:
        assert connection.execute("SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM names)").fetchall() == [
            (2, 2)
        ]
    lib.write("../out", pd.DataFrame({"x": [1]}))
    code, _, err = run("export", "../out", "out/", "--format", "csv")
    assert (code, "no name for a file" in err) == (1, True)


def test_what_has_no_columns_is_told(lib, run):
    """All others are exported, and the exit code says that one was not."""
    lib.write("nested", {"a": pd.DataFrame({"x": [1]})})
    code, _, err = run("export", "--all-symbols", "out/", "--format", "csv")
    assert (code, "nested" in err, sorted(os.listdir("out"))) == (1, True, ["names.csv", "trades.csv"])
    assert run("export", "nested", "x.csv")[0] == 1


def test_standard_output_takes_csv(lib, run):
    """Complete, and nothing else with it."""
    out = run("export", "trades", "-", "--at", "month-end")[1]
    assert_frame_equal(pd.read_csv(io.StringIO(out)), lib.read("trades", 0).data)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trades"], 2, "the target"),
        (["trades", "x"], 1, "--format"),
        (["trades", "names", "x.csv"], 1, "name a folder"),
        (["trades", "nmes", "out/", "--format", "csv"], 1, "Did you mean 'names'?"),
        (["trades", "store", "--format", "duckdb"], 1, "store"),
    ],
)
def test_what_cannot_be_exported_is_one_error(run, tmp_path, arguments, code, message):
    """Before anything is written."""
    found, _, err = run("export", *arguments)
    assert (found, message in err) == (code, True), err
    assert not (tmp_path / "out").exists()
