"""Names that somebody chose reach no terminal as control characters: not by errors, reprs, footers or commands."""

from __future__ import annotations

import contextlib
import importlib.util
import io

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.cli import main
from duckvstore.errors import printable
from duckvstore.progress import progress
from duckvstore.sql.results.result import Result

EVIL = "n\x1b[31mred\x9b0m\r\b\u202egnp.exe\u2066\u2028line\nforged: all is well\tx\u200b\x7f"
HAS_WIDGETS = importlib.util.find_spec("anywidget") is not None
FORBIDDEN = set(EVIL) - {*map(chr, range(32, 127)), "\n", "\t"}


def check(text: str) -> None:
    """Nothing acts on a terminal, and no line of a name stands as a line of its own."""
    assert not FORBIDDEN & set(text), ascii(text)
    assert not any(line.startswith("forged") for line in text.splitlines()), text


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which every name is evil."""
    store = vs.open(tmp_path_factory.mktemp("evil"))
    library = store.create_library(EVIL)
    frame = pd.DataFrame({EVIL: [1, 2], "b": [3, 4]}, index=pd.Index([EVIL, "k"], name=EVIL))
    library.write(EVIL, frame, author=EVIL, message=EVIL, metadata={EVIL: EVIL})
    library.write(EVIL, frame.rename(columns={"b": EVIL + "b"}), author=EVIL, message=EVIL)
    library.snapshot(EVIL, message=EVIL)
    yield store
    library.session.close()
    store.session.close()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


SHOWN = {
    "store": lambda lib: [vs.combine({EVIL: lib}), lib, lib[EVIL], lib[EVIL, 0], lib.browse() if HAS_WIDGETS else lib],
    "items": lambda lib: [lib.read(EVIL), lib.read_metadata(EVIL), lib.get_description(EVIL)],
    "lists": lambda lib: [lib.list_versions(), lib.list_snapshots(), lib.list_symbols()],
    "reports": lambda lib: [lib.sizes(), lib.verify(), lib.gc(dry_run=True)],
    "diff": lambda lib: [lib.diff(EVIL, 0, 1)],
    "sql": lambda lib: [
        lib.sql(f"FROM {quoted(EVIL)}"), lib.sql("SHOW TABLES"), lib.sql(f"EXPLAIN FROM {quoted(EVIL)}"),
        lib.sql("FROM vstore.versions"), lib.sql(f"DESCRIBE {quoted(EVIL)}"),
    ],
    "write": lambda lib: [lib.sql(f"CREATE OR REPLACE TABLE {quoted(EVIL + 'x')} AS SELECT 1 AS a")],
    "connection": lambda lib: [lib.connect(), lib.connect().cursor().execute(f"FROM {quoted(EVIL)}")],
    "staged": lambda lib: [lib.stage("s" + EVIL, pd.DataFrame({"a": [1]})), lib.get_staged_symbols()],
}  # fmt: skip


@pytest.mark.parametrize("what", SHOWN)
def test_reprs_and_footers_are_harmless(store, what):
    """As a terminal shows them."""
    for shown in SHOWN[what](store[EVIL]):
        check(repr(shown))
        if isinstance(shown, Result):
            check(shown.figures.footer())


FAILING = {
    "no symbol": lambda lib: lib.read(EVIL + "?"),
    "no version": lambda lib: lib.read(EVIL, as_of=99),
    "no snapshot": lambda lib: lib.read(EVIL, as_of=EVIL + "?"),
    "no column": lambda lib: lib.read(EVIL, columns=[EVIL + "?"]),
    "taken": lambda lib: lib.snapshot(EVIL),
    "expected": lambda lib: lib.write(EVIL, pd.DataFrame({"a": [1]}), expected_version=0),
    "no range": lambda lib: lib.read(EVIL, date_range=("2026", None)),
    "schema": lambda lib: lib.append(EVIL, pd.DataFrame({"other": ["x"]})),
    "sql": lambda lib: lib.sql(f"SELECT nothing FROM {quoted(EVIL)}"),
    "sql of no symbol": lambda lib: lib.sql(f"FROM {quoted(EVIL + '?')}"),
    "syntax": lambda lib: lib.sql(f"SELECT \x1b[31m 'x' FROM \u202e {quoted(EVIL)} WHERE"),
}


@pytest.mark.parametrize("what", FAILING)
def test_errors_are_harmless(store, what):
    """Their text, and what a traceback shows."""
    with pytest.raises(vs.DuckVStoreError) as caught:
        FAILING[what](store[EVIL])
    text = str(caught.value)
    assert not FORBIDDEN & set(text), ascii(text)
    if "sql" not in what and what != "syntax":
        check(text)


@pytest.mark.parametrize("command", ["symbols", "versions", "sizes", "verify", "gc", "sql", "publish", "prune"])
def test_commands_print_nothing_that_acts_on_a_terminal(store, command):
    """On either stream."""
    more = {
        "versions": [EVIL],
        "sql": [f"FROM {quoted(EVIL)}"],
        "prune": ["--all-symbols", "--keep-last", "5", "--yes"],
    }
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([command, *more.get(command, []), "--store", store.url, "--library", EVIL]) == 0
        out.flush()
    check(out.buffer.getvalue().decode("utf-8"))
    check(err.getvalue())


def test_a_progress_bar_is_harmless(monkeypatch, capsys):
    """Its description holds a symbol."""
    monkeypatch.setenv("DUCKVSTORE_PROGRESS", "1")
    monkeypatch.setattr("duckvstore.progress.DELAY_SECONDS", 0)
    list(progress(range(3), f"reading {EVIL}", "segment"))
    shown = capsys.readouterr().err
    assert "reading n\\x1b[31mred" in shown
    assert not (FORBIDDEN - {"\r", "\x1b"}) & set(shown)


def test_what_people_write_stays_as_it_is():
    """Letters of all scripts, emoji of several parts, line breaks where they are meant."""
    for text in ("näme", "日本語\u3000x", "👩\u200d👧", "क\u200dष", "a\nb\tc"):
        assert printable(text) == text
    assert printable("a\nb\tc", is_line=True) == "a\\nb\\tc"
