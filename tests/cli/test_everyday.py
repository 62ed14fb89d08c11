"""Each verb says with --json what the API says, asks before it removes, and speaks of flags."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.cli import build_parser, terminal
from duckvstore.cli.wording import spoken
from tests.cli.conftest import EVIL, process


def versions(lib, symbol=None):
    return [
        {"library": "eod", "symbol": pair.symbol, "version": pair.version, **terminal.plain(info)}
        for pair, info in lib.list_versions(symbol).items()
    ]


def test_ls_and_log_list_versions(lib, asked):
    """The fields of VersionInfo under the same names."""
    newest = [found for found in versions(lib) if (found["symbol"], found["version"]) in (("names", 0), ("trades", 2))]
    skipped = [{**found, "snapshots": []} for found in newest]
    assert sorted(asked("ls"), key=str) == sorted(skipped, key=str)
    assert [found["symbol"] for found in asked("ls", "t*")] == ["trades"]
    assert asked("log", "trades") == versions(lib, "trades")
    assert asked("versions", "trades") == asked("log", "trades")
    assert [(found["symbol"], found["version"]) for found in asked("log", "-n", "2")] == [("names", 0), ("trades", 2)]


def test_show_describes_a_version(lib, asked):
    """What the API describes, and the metadata."""
    columns = [("id", "bigint"), ("price", "double")]
    for at, number in (("0", 0), ("month-end", 0), ("-2", 1), ("2999-01-01", 2)):
        shown, known = asked("show", "trades", "--at", at), lib.get_description("trades", number)
        assert shown["version"] == number
        assert (shown["row_count"], shown["stored_bytes"], shown["author"]) == (
            *(known.row_count, known.stored_bytes),
            known.author,
        )
        assert [(column["name"], column["type"]) for column in shown["columns"]] == columns
        assert shown["metadata"] == lib.read_metadata("trades", number).metadata


def test_head_has_rows_of_a_version(asked):
    """As SQL has them: what pandas has not is null."""
    assert asked("head", "trades", "--at", "month-end") == [{"id": 1, "price": 1.5}, {"id": 2, "price": None}]
    assert asked("head", "trades", "-n", "1", "--tail", "--columns", "PRICE") == [{"price": 3.5}]
    assert asked("head", "trades", "-n", "0") == []


def test_sql_has_exact_values(asked):
    """Whole numbers of any size, decimals, what is no number, bytes, times."""
    query = (
        "SELECT 9007199254740993 AS big, 170141183460469231731687303715884105727::HUGEINT AS huge, "
        "1.10::DECIMAL(9,2) AS d, '-inf'::DOUBLE AS f, 'nan'::DOUBLE AS nan, NULL::DOUBLE AS n, "
        "'é\x1b' AS t, TIMESTAMP '2026-01-01 01:02:03.000004' AS time"
    )
    (row,) = asked("sql", query)
    assert row == {
        "big": 9007199254740993,
        "huge": "170141183460469231731687303715884105727",
        "d": "1.10",
        "f": "-Infinity",
        "nan": "NaN",
        "n": None,
        "t": "é\x1b",
        "time": "2026-01-01 01:02:03.000004",
    }


def test_diff_counts_what_the_api_counts(lib, asked):
    """The newest two by themselves; rows are matched by a key."""
    found = asked("diff", "trades")
    known = lib.diff("trades", -2, -1)
    assert (found["from_version"], found["to_version"], found["inserted"]) == (1, 2, known.inserted)
    keyed = asked("diff", "trades", "0", "-1", "--key", "id", "--rows")
    assert (keyed["inserted"], keyed["updated"], keyed["key"]) == (1, 1, ["id"])
    assert [row["change"] for row in keyed["rows"]] == ["update_preimage", "update_postimage", "insert"]


def test_snapshots_are_made_listed_and_deleted(lib, run, asked):
    """Of everything, without some, or of exact versions."""
    made = asked("snapshot", "now", "-m", "why", "--skip", "names", "--metadata", '{"a": [1]}')
    assert (made["versions"], made["metadata"], made["message"]) == ({"trades": 2}, {"a": [1]}, "why")
    assert asked("snapshot", "old", "--version", "trades=1")["versions"] == {"trades": 1}
    assert [one["name"] for one in asked("snapshot")] == ["old", "now", "month-end"]
    assert "as reported" in run("snapshot")[1]
    assert asked("delete", "--snapshot", "old", "--snapshot", "now", "--yes")["snapshots"] == ["old", "now"]
    assert list(lib.list_snapshots()) == ["month-end"]


def test_a_deleted_symbol_comes_back(lib, run, asked):
    """Deleting needs a yes; the history stays; a version that is named goes for good."""
    code, _, err = run("delete", "trades")
    assert (code, "delete 'trades'" in err, "add --yes" in err, lib.has_symbol("trades")) == (2, True, True, True)
    assert run("delete", "trades", "--yes", "--author", "bob")[0] == 0
    assert not lib.has_symbol("trades")
    (made,) = asked("restore", "trades", "month-end")
    assert made["version"] == 4
    assert lib.read("trades").row_count == 2
    assert run("delete", "trades", "--version", "1", "--yes")[0] == 0
    assert not lib.has_symbol("trades", 1)
    assert run("restore", "trades", "-1")[0] == 0


def test_prune_asks_and_reports_say_what_they_say(lib, run, asked):
    """Reports are the fields of the API's."""
    code, _, err = run("prune", "trades", "--keep-last", "1")
    assert (code, "add --yes" in err, len(lib.list_versions("trades"))) == (2, True, 3)
    assert asked("prune", "trades", "--keep-last", "1", "--yes") == [{"symbol": "trades", "removed_versions": [1]}]
    lib = vs.open("store")["eod"]
    assert asked("sizes") == terminal.plain(lib.sizes().to_dict())
    assert asked("verify") == terminal.plain(lib.verify().to_dict())
    assert asked("gc") == terminal.plain(lib.gc().to_dict())
    assert asked("fold")["version_count"] == len(lib.list_versions()) + 1  # the pruned one, until gc
    assert asked("options", "keep_for=1d") == terminal.plain(lib.set_options(keep_last=None))
    assert set(asked("cache")) == {"folder", "entry_count", "size_bytes", "size_bytes_max"}


def test_publish_and_attach_say_what_to_type(lib, run, asked, tmp_path):
    """The statements run in a DuckDB that knows nothing of the store."""
    import duckdb

    statements = run("attach", str(tmp_path / "store"), at=None)[1]
    assert asked("attach")["shell_statements"] == statements.splitlines()
    assert asked("publish")["symbol_count"] == 2
    with duckdb.connect() as connection:
        connection.execute(statements)
        assert connection.execute("SELECT count(*) FROM eod.trades").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ls", "trade"], 1, "Did you mean 'trades'?"),
        (["lg"], 2, "Did you mean 'log'?"),
        (["ls", "--storre", "x"], 2, "--store"),
        (["head", "trade"], 1, "Did you mean 'trades'?"),
        (["head", "trades", "--columns", "id,prise"], 1, "Did you mean 'price'?"),
        (["diff", "trades", "--key", "ids"], 1, "Did you mean 'id'?"),
        (["show", "trades", "--at", "month-ned"], 1, "Did you mean 'month-end'?"),
        (["show", "trades", "--at", "7"], 1, "has no version 7"),
        (["show", "trades", "--at", "-9"], 1, "there is none -9"),
        (["snapshot", "month-end"], 1, "duckvstore delete --snapshot 'month-end'"),
        (["snapshot", "x", "--metadata", "{"], 1, "--metadata takes JSON"),
        (["snapshot", "--skip", "names"], 2, "duckvstore snapshot NAME"),
        (["snapshot", "x", "--version", "trades"], 1, "SYMBOL=N"),
        (["delete"], 2, "--snapshot"),
        (["delete", "trads", "--yes"], 1, "Did you mean 'trades'?"),
        (["delete", "--snapshot", "month-nd", "--yes"], 1, "Did you mean 'month-end'?"),
        (["delete", "trades", "names", "--version", "0", "--yes"], 2, "--version goes with one symbol"),
        (["prune", "trades", "--yes"], 1, "--keep-last"),
        (["prune", "trades", "--keep-last", "0", "--yes"], 1, "--keep-last 0"),
        (["options", "keep_lst=3"], 1, "Did you mean 'keep_last'"),
        (["gc", "--grace", "soon"], 2, "write 30s"),
        (["ls", "--library", "eof"], 1, "Did you mean 'eod'?"),
        (["log", "names", "--json", "--format", "x"], 2, "--format"),
    ],
)
def test_errors_speak_of_flags(run, arguments, code, message):
    """One message, with the next step, in the words of the command and not of Python."""
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert not any(word in err for word in ("Traceback", "keep_last=", "as_of", "get_library(", "list_symbols("))


def test_advice_is_reworded_and_names_are_not():
    """A symbol may be called like a call of Python."""
    said = "library 'eod' has no symbol 'gc() removes'. It has 2: list_symbols() shows them"
    assert spoken(said) == "library 'eod' has no symbol 'gc() removes'. It has 2: 'duckvstore ls' shows them"


def test_every_verb_has_examples_and_takes_json(run):
    """Also where the store is said before the verb; help is for people who are in a hurry."""
    for name, command in build_parser().commands.items():
        code, out, _ = run(name, "--help", at=None)
        assert code == 0
        assert f"\n  duckvstore {name}" in out or f"$(duckvstore {name}" in out, name
        assert "--json" in out
        assert command.help


def test_hostile_names_are_harmless(lib, run, asked):
    """On either stream, in tables and in errors; JSON has them exactly."""
    lib.write(EVIL, pd.DataFrame({EVIL: [EVIL]}), message=EVIL, author=EVIL)
    lib.snapshot(EVIL)
    for arguments in (
        ["ls"], ["log"], ["log", EVIL], ["show", EVIL], ["head", EVIL], ["diff", EVIL, "0", "0"], ["snapshot"],
        ["sizes"],
        ["head", EVIL + "x"], ["show", EVIL, "--at", EVIL + "x"], ["delete", EVIL], ["delete", EVIL, "--yes"],
        ["restore", EVIL, EVIL], ["prune", EVIL, "--keep-last", "1", "--yes"], ["head", EVIL, "--columns", EVIL + "x"],
        ["export", EVIL, "x.csv"], [EVIL], ["import", EVIL], ["options", EVIL + "=1"],
    ):  # fmt: skip
        _, out, err = run(*arguments)
        assert not set(out + err) & set("\x1b\u202e\r\x9b"), (arguments, ascii(out + err))
    assert asked("head", EVIL) == [{EVIL: EVIL}]
    assert EVIL in {found["symbol"] for found in asked("ls")}


def test_a_terminal_gets_a_table_as_wide_as_it_is(monkeypatch):
    """Columns are cut, then left out and counted; wide letters count as two; a small one is whole."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    from rich.cells import cell_len

    lines = terminal.wide_table(["n", "text", "x"], [[1, "日本" * 40, None], [22, "a\x1b[31m", 0.5]]).splitlines()
    assert max(map(cell_len, lines)) <= 40
    assert "…" in lines[2]
    assert "\x1b" not in "".join(lines)
    narrow = terminal.wide_table(["a", "b", "c"], [["ok", "long " * 40, 3]]).splitlines()
    assert (narrow[2][:3], narrow[2][-2:], len(narrow[2])) == ("ok ", " 3", 40)
    typed = terminal.wide_table(["n"], [[1]], ["enum('\x1b[2J\u202e\r')"])
    assert not set(typed) & set("\x1b\u202e\r")
    many = terminal.wide_table([f"column {at}" for at in range(30)], [list(range(30))])
    assert "more columns" in many.splitlines()[-1]
    assert max(map(cell_len, many.splitlines())) <= 40


def test_the_commands_run_as_processes(lib, tmp_path):
    """With the store before or after the verb, and nothing but JSON on standard output."""
    for arguments in (
        ["--store", "store", "--json", "head", "trades"],
        ["head", "trades", "--json", "--store", "store"],
    ):
        done = process(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert [row["id"] for row in json.loads(done.stdout)] == [1, 2, 3]
    assert_frame_equal(pd.DataFrame(json.loads(done.stdout)), lib.read("trades").data)


def test_completion_knows_verbs_libraries_and_symbols(lib, run, monkeypatch):
    """As bash asks for it; names that would act on a terminal are not offered."""
    lib.write("tr\x1bx", pd.DataFrame({"a": [1]}))
    monkeypatch.setenv("DUCKVSTORE_URL", "store")
    assert all("_DUCKVSTORE_COMPLETE" in run("completion", shell)[1] for shell in ("bash", "zsh", "fish"))
    monkeypatch.setenv("_DUCKVSTORE_COMPLETE", "bash_complete")

    def offered(*words):
        monkeypatch.setenv("COMP_WORDS", " ".join(["duckvstore", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return [line.split(",", 1)[1] for line in run(at=None)[1].splitlines() if line]

    assert offered("ver") == ["verify"]
    assert offered("head", "tr") == ["trades"]
    assert offered("ls", "--library", "e") == ["eod"]
    monkeypatch.setenv("DUCKVSTORE_URL", "ftp://nowhere")
    assert offered("head", "tr") == []


def test_the_store_is_not_made_by_looking(tmp_path, run):
    """A misspelt folder stays what it was: nothing."""
    code, _, err = run("ls", at="nowhere")
    assert (code, "duckvstore init" in err, (tmp_path / "nowhere").exists()) == (1, True, False)
    assert isinstance(vs.open("nowhere"), vs.Store)
