"""README.md and the guide are true: every block runs, page after page, on a local store in place of the bucket."""

from __future__ import annotations

import inspect
import re
import shlex

import duckdb
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import cli
from tests import ROOT

GUIDE = (
    "sql",
    "writing-in-sql",
    "edits",
    "upkeep",
    "notebooks",
    "duckdb-shell",
    "clients",
    "python-api",
    "stores",
    "command",
)
PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in GUIDE)]
README = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
URL = "s3://bucket/prefix"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of ``language`` (empty: those that name none), in the order of the page."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def trades(price: float) -> pd.DataFrame:
    """Return what the page calls ``df`` and ``corrected``."""
    return pd.DataFrame({"id": [1, 2, 3], "sym": ["A", "B", "A"], "qty": [10, 20, 30], "price": [9.5, 11.0, price]})


def ticks(day: str) -> pd.DataFrame:
    """Return what the page calls a day's ticks."""
    start = {"monday": "2026-11-16", "tuesday": "2026-11-17", "wednesday": "2026-11-18"}[day]
    index = pd.date_range(f"{start} 09:00", periods=30, freq="10min", name="time")
    return pd.DataFrame({"qty": range(30), "price": 10.0}, index=index)


@pytest.fixture
def page(tmp_path):
    """The names that the page's Python leaves behind, with ``url`` (a folder) and ``results``, one per block."""
    url = str(tmp_path / "store")
    days = {day: ticks(day) for day in ("monday", "tuesday", "wednesday")}
    names = {"df": trades(12.0), "corrected": trades(13.0), "url": url, "results": [], **days}
    names |= {"corrections": ticks("monday").iloc[5:8], "positions": trades(1.0)}
    for block in blocks("python"):
        *lines, last = block.replace(URL, url).rstrip().splitlines()
        while last.startswith((" ", "\t", '"')) and lines:  # the end of an expression over several lines
            last = f"{lines.pop()}\n{last}"
        exec(compile("\n".join(lines), "README.md", "exec"), names)
        names["results"].append(eval(last, names))
    yield names
    names["lib"].session.close()


def test_the_python_of_the_page_runs(page):
    """Two versions, a snapshot, a sum at version 0, a diff of the versions, and the catalogue."""
    first, diff, catalogue, between, merged, written, counted, changed, scanned, shared, off = page["results"]
    assert off is None
    assert page["vs"].cache.info().folder is None
    assert dict(zip(first["sym"], first.iloc[:, 1], strict=True)) == {"A": 30, "B": 20}
    assert diff.to_dict("records") == [{"id": 3, "was": 12.0, "is_now": 13.0}]
    assert sorted(catalogue["version"]) == [0, 1]
    assert between == [("update_preimage", 3, 12.0), ("update_postimage", 3, 13.0)]
    assert scanned == [(60,)]
    assert sorted(shared) == [("A", 11.25), ("B", 11.0)]
    assert (page["between"].inserted, page["between"].deleted, page["between"].updated) == (0, 0, 1)
    assert merged.fetchall() == [(2,)]
    daily = page["lib"].sql("FROM daily ORDER BY sym").fetchall()
    assert daily == [("A", 40), ("B", 20), ("NEW", 10)]
    # monday without 9:00 (no quantity) and what is before or at 10:00, tuesday without its 9:00
    assert written == (60, 60, written[2])
    assert counted == [((60 + 30) * 3,)]
    assert changed.keep_last == 10
    assert_frame_equal(page["lib"].read("trades", as_of=0).data, trades(12.0))
    assert_frame_equal(page["lib"].read("trades", as_of="eod-2026-11-20").data, trades(13.0))


def test_every_time_travel_form_of_the_page_runs(page):
    """Each form in the table is a query, once its version exists and its time has come."""
    library, store = page["lib"], page["store"]
    for number in range(2):
        library.write("trades", trades(14.0 + number))
    store.create_library("ref").write("names", pd.DataFrame({"id": [1, 2], "name": ["x", "y"]}))
    forms = re.findall(r"`(FROM [^`]+)`", README.split("# SQL with time travel")[1].split("\n\n")[2])
    assert len(forms) == 9
    for form in forms:
        timed = form.replace("2026-11-20 17:00", "2999-01-01 00:00")
        handle = store if "eod.trades" in form else library
        assert len(handle.sql(timed).df()) == (2 if "JOIN" in form else 3), form


def test_the_sql_for_the_duckdb_shell_runs(page):
    """The published file answers every statement of the page to a DuckDB that knows nothing of us."""
    page["lib"].publish()
    (block,) = (block for block in blocks("sql") if "catalog.duckdb" in block)  # the others: tests/extension
    counts = []
    with duckdb.connect() as connection:
        for line in block.replace(URL, page["url"]).splitlines():
            text = line.partition("--")[0].strip().removesuffix(";")
            if text.startswith("FROM"):
                counts.append(connection.execute(f"SELECT count(*) FROM ({text})").fetchone()[0])
            else:
                connection.execute(text)
    assert counts == [3, 3, 3, 8]  # of ticks and daily, what prune() kept


def test_the_cells_of_the_page_run(page, tmp_path, monkeypatch):
    """The magics of the page connect, and put a result into a variable."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shells = pytest.importorskip("IPython.core.interactiveshell")
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(shells.InteractiveShell, "history_manager", None, raising=False)
    shell = shells.InteractiveShell()
    shell.user_ns["limit"] = 10
    cells = [block for block in blocks("") if block.startswith("%")]
    assert len(cells) == 2
    for cell in cells:
        shell.run_cell(cell.replace(URL, page["url"])).raise_error()
    assert list(shell.user_ns["worst"]["price"]) == [9.5]


def test_the_commands_of_the_page_run(page, capfd, monkeypatch):
    """Every command but the demonstration, which has tests of its own, runs on the store of the page."""
    monkeypatch.setenv("DUCKVSTORE_URL", page["url"])
    (block,) = [block for block in blocks("") if block.startswith("duckvstore")]
    for line in block.splitlines():
        arguments = shlex.split(re.split(r"  +", line)[0].replace("URL", page["url"]))[1:]
        if arguments != ["demo"]:
            # Only S3 buckets with versioning can bring anything back.
            assert cli.main(arguments) == (1 if arguments == ["recover"] else 0), line
    assert "trades" in capfd.readouterr().out


def test_every_name_of_the_api_table_exists():
    """Each call in the table is a method with the parameters that the table names."""
    rows = re.findall(r"^\| (`.*?`) \|", README.split("# The Python API")[1].split("# Stores")[0], re.MULTILINE)
    owners = {"store": vs.Store, "lib": vs.Library, "vs": vs}
    checked = 0
    for row in rows:
        owner = None
        for call in re.findall(r"`([^`]+)`", row):
            named = re.fullmatch(r"(?:(\w+)\.)?(\w+)(?:\((.*)\))?", call)
            assert named is not None, call
            owner = owners[named[1]] if named[1] else owner
            found = getattr(owner, named[2])
            known = inspect.signature(found).parameters if callable(found) else {}
            wanted = [part.partition("=")[0].strip() for part in (named[3] or "").split(",") if part.strip()]
            assert set(wanted) <= set(known), call
            checked += 1
    assert checked >= 49


def test_every_error_that_the_page_names_exists():
    """The errors of the page are all there, and all are DuckVStoreErrors."""
    paragraph = README.split("Errors are grouped by")[1].split("\n\n")[0]
    for name in re.findall(r"`(\w+)`", paragraph):
        assert issubclass(getattr(vs, name), vs.DuckVStoreError)


def test_the_first_page_leads_to_every_other():
    """By a link of its own, or of the guide's first page."""
    index = ROOT / "docs/index.md"
    known = PAGES[0].read_text(encoding="utf-8") + index.read_text(encoding="utf-8").replace("](", "](docs/")
    for page in {*(ROOT / "docs").glob("*.md")} - {index}:
        assert f"](docs/{page.name})" in known, page
