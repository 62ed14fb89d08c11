"""The version browser without a page: traits are set as the page sets them, messages are recorded."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.engine.reading import listings, segments, visible
from duckvstore.jupyter import browser as browser_module
from duckvstore.jupyter.browser import PAGE_ROWS, Browser
from tests.cuts import cut_every
from tests.jupyter.conftest import HOSTILE


@pytest.fixture
def widget(library):
    """The browser of the library, with its messages recorded in ``sent``."""
    widget = library.browse()
    assert isinstance(widget, Browser)
    widget.sent = []
    widget.send = lambda content, buffers=None: widget.sent.append(content)
    yield widget
    widget.close()


def receive(widget, content):
    """Hand ``content`` to the widget as the page's message, and return what it answered."""
    widget._handle_custom_msg(content, [])
    return widget.sent[-1]


def from_page(widget, **state):
    """Set traits as a message from the page does."""
    widget.set_state(state)


def test_it_lists_symbols_and_snapshots(widget):
    """Every symbol is there with its newest version, deleted ones marked; so are the snapshots."""
    rows = {row["name"]: row for row in widget.symbols["rows"]}
    assert set(rows) == {"trades", "names", "gone", HOSTILE}
    assert (rows["trades"]["version"], rows["trades"]["row_count"], rows["trades"]["deleted"]) == (1, 2, False)
    assert rows["gone"]["deleted"]
    assert [(row["name"], row["symbol_count"], row["message"]) for row in widget.snapshots] == [
        ("eod 1", 2, "end of day")
    ]
    assert widget.error == ""


def test_it_starts_on_the_symbol_written_last_or_the_one_asked_for(library):
    """Never empty where there is something to see; a symbol that is not there is an error in the widget."""
    assert (library.browse().symbol, library.browse().version) == (HOSTILE, 0)
    asked = library.browse("trades")
    assert (asked.symbol, asked.version) == ("trades", 1)
    assert "no symbol" in library.browse("nothing").error
    empty = vs.open("memory://empty").create_library("l").browse()
    assert (empty.symbol, empty.sql, empty.error) == (None, "", "")


@pytest.mark.parametrize(("symbol", "scope"), [("trades", ""), ("trades", "eod 1"), (HOSTILE, "")])
def test_sql_and_python_give_the_same_rows(library, symbol, scope):
    """Both name the version that is shown, by its snapshot where one was chosen."""
    widget = library.browse(symbol)
    from_page(widget, scope=scope)
    frame = eval(widget.python, {"lib": library})
    assert_frame_equal(frame, library.sql(widget.sql).df())
    assert (repr(scope) in widget.python) == bool(scope)


@pytest.mark.parametrize("symbol", ["trades", "gone", "nothing", HOSTILE])
def test_pages_without_a_kernel_get_a_picture(library, symbol):
    """A saved notebook and an export show symbols, versions and rows as HTML in which names are text."""
    widget = library.browse(symbol)
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    page = data["text/html"]
    assert "<img" not in page
    assert "&lt;img" in page
    assert "4 symbols" in page
    assert ("2 versions" in page) == (symbol in ("trades", "gone"))
    assert ("FROM trades AT VERSION 1" in page) == (symbol == "trades")
    assert (">5.0</td>" in page) == (symbol == "trades")
    if symbol == "nothing":
        assert "no symbol" in page


def test_the_picture_stays_small_and_an_error_in_it_is_told(library):
    """Whatever the browser holds, it is displayed."""
    for number in range(30):
        library.write(f"wide {number}", pd.DataFrame({f"c{at}": ["x" * 10_000] * 50 for at in range(40)}))
    widget = library.browse("wide 3")
    page = widget._repr_mimebundle_()
    page = (page[0] if isinstance(page, tuple) else page)["text/html"]
    assert len(page) < 60_000
    assert "45 more rows" in page
    widget.shown = {"columns": []}
    assert "text/html" in (found[0] if isinstance(found := widget._repr_mimebundle_(), tuple) else found)


def test_choosing_a_symbol_shows_its_versions_and_chooses_the_newest(widget):
    """The timeline tells operation, author, message and snapshots; the SQL and the columns are of the newest."""
    from_page(widget, symbol="trades")
    assert [row["version"] for row in widget.versions["rows"]] == [1, 0]
    newest, first = widget.versions["rows"]
    assert newest["snapshots"] == ["eod 1"]
    assert (first["operation"], first["author"], first["message"], first["row_count"]) == (
        "write",
        "ann",
        "first load",
        3,
    )
    assert widget.version == 1
    assert widget.sql == "SELECT * FROM trades AT VERSION 1"
    assert [(column["name"], column["null_count"]) for column in widget.shown["columns"]] == [("price", 0), ("tag", 0)]


def test_rows_come_by_message(widget):
    """A page of rows is text, None for null, for exactly the version that was asked for."""
    from_page(widget, symbol="trades")
    from_page(widget, version=0)
    assert widget.shown["row_count"] == 3
    answer = receive(widget, {"kind": "rows", "symbol": "trades", "version": 0, "first_row": 0})
    assert answer == {
        "kind": "rows",
        "symbol": "trades",
        "version": 0,
        "first_row": 0,
        "rows": [["1.0", "a"], ["20.0", "<b>bold</b>"], [None, None]],
    }
    assert receive(widget, {"kind": "rows", "symbol": "trades", "version": 0, "first_row": 2})["rows"] == [[None, None]]
    assert receive(widget, {"kind": "rows", "symbol": "trades", "version": 0, "first_row": 99})["rows"] == []


@pytest.mark.parametrize(
    "content", [{"kind": "rows", "symbol": "trades", "version": 9, "first_row": 0}, {"kind": "rows"}]
)
def test_a_wrong_question_gets_an_answer(widget, content):
    """A page that cannot be read is answered with a failure, so the page never waits for ever."""
    answer = receive(widget, content)
    assert answer["kind"] == "failure"
    assert answer["message"]


def test_foreign_messages_are_ignored(widget):
    """A message of an unknown kind or shape changes nothing and raises nothing."""
    for content in ({"kind": "other"}, {}, "rows", None, ["rows"]):
        widget._handle_custom_msg(content, [])
    assert widget.sent == []


def test_the_sql_and_the_data_are_those_shown(widget, library):
    """``sql`` runs, ``data()`` reads, and both give the version that is chosen."""
    from_page(widget, symbol="trades", version=0)
    from_page(widget, version=0)
    assert_frame_equal(widget.data(), library.read("trades", as_of=0).data)
    assert len(library.sql(widget.sql).df()) == 3
    assert widget.data(columns=["tag"]).columns.tolist() == ["tag"]
    from_page(widget, symbol="names")
    assert library.sql(widget.sql).df()["select"].tolist() == ["s"]
    from_page(widget, symbol=HOSTILE)
    assert library.sql(widget.sql).fetchall() == [(HOSTILE, 1)]
    from_page(widget, symbol=None)
    assert widget.sql == ""
    with pytest.raises(vs.InvalidInput, match="no version is chosen"):
        widget.data()


def test_search_and_snapshot_narrow_the_symbols(widget, library):
    """Search ignores case; a snapshot shows only what it holds, at the versions that it holds."""
    library.write("trades", pd.DataFrame({"price": [1.0]}))
    receive(widget, {"kind": "refresh"})
    from_page(widget, search="TRA")
    assert [row["name"] for row in widget.symbols["rows"]] == ["trades"]
    assert (widget.symbols["match_count"], widget.symbols["total_count"]) == (1, 4)
    from_page(widget, symbol="trades")
    assert widget.version == 2
    from_page(widget, scope="eod 1")
    assert (widget.version, widget.shown["row_count"]) == (1, 2)
    assert [(row["name"], row["version"]) for row in widget.symbols["rows"]] == [("trades", 1)]
    assert widget.sql == "SELECT * FROM trades AT SNAPSHOT 'eod 1'"
    assert len(library.sql(widget.sql).df()) == 2
    from_page(widget, search="")
    assert [row["name"] for row in widget.symbols["rows"]] == ["names", "trades"]


def test_refresh_finds_what_is_new_and_keeps_the_choice(widget, library):
    """After a refresh new symbols, versions and snapshots are there, and the chosen version is the same."""
    from_page(widget, symbol="trades")
    library.write("trades", pd.DataFrame({"price": [1.0]}))
    library.write("another", pd.DataFrame({"price": [1.0]}))
    library.snapshot("later")
    assert receive(widget, {"kind": "refresh"}) == {"kind": "refreshed"}
    assert "another" in [row["name"] for row in widget.symbols["rows"]]
    assert [row["version"] for row in widget.versions["rows"]] == [2, 1, 0]
    assert [row["name"] for row in widget.snapshots] == ["later", "eod 1"]
    assert (widget.symbol, widget.version) == ("trades", 1)


def test_a_deleted_snapshot_leaves_the_scope(widget, library):
    """A refresh after the chosen snapshot was deleted goes back to all symbols."""
    from_page(widget, scope="eod 1")
    library.delete_snapshot("eod 1")
    receive(widget, {"kind": "refresh"})
    assert widget.scope == ""
    assert widget.symbols["total_count"] == 4


def test_errors_are_a_trait(widget):
    """What goes wrong in an observer is shown, and the next good choice clears it."""
    from_page(widget, symbol="tradez")
    assert "Did you mean 'trades'" in widget.error
    assert widget.shown == {}
    from_page(widget, symbol="trades")
    assert widget.error == ""
    from_page(widget, version=77)
    assert "no version 77" in widget.error
    assert (widget.shown, widget.version) == ({}, 77)
    from_page(widget, version=0)
    assert widget.shown["version"] == 0


def test_a_broken_store_still_gives_a_widget(library, monkeypatch):
    """When nothing can be listed the widget appears and says why."""

    def broken(*_, **__):
        raise vs.StorageUnavailable("no answer from s3://bucket: check the endpoint")

    monkeypatch.setattr(listings, "symbol_names", broken)
    widget = library.browse()
    assert widget.error == "no answer from s3://bucket: check the endpoint"
    widget.close()


def test_ten_thousand_symbols_cost_two_hundred(widget, monkeypatch):
    """However many symbols there are, only some hundreds are looked up and sent; search reaches all."""
    real = listings.symbol_names
    names = [f"s{number:05}" for number in range(10_000)]
    looked_up = []
    head = visible.head

    def counted(library, name):
        looked_up.append(name)
        return head(library, "trades")

    monkeypatch.setattr(listings, "symbol_names", lambda library: [*real(library), *names])
    monkeypatch.setattr(visible, "head", counted)
    receive(widget, {"kind": "refresh"})
    assert len(widget.symbols["rows"]) == len(looked_up) == browser_module.SYMBOLS_SHOWN_MAX
    assert widget.symbols["match_count"] == 10_004
    from_page(widget, search="s09999")
    assert looked_up[-1] == "s09999"
    assert widget.symbols["match_count"] == 1


def test_long_histories_come_in_steps(widget, library, monkeypatch):
    """Only the newest versions are loaded until older ones are asked for."""
    monkeypatch.setattr(browser_module, "VERSIONS_PER_STEP", 3)
    for number in range(6):
        library.write_metadata("trades", {"number": number})
    from_page(widget, symbol="trades")
    assert [row["version"] for row in widget.versions["rows"]] == [7, 6, 5]
    assert widget.versions["total_count"] == 8
    from_page(widget, versions_wanted=6)
    assert [row["version"] for row in widget.versions["rows"]] == [7, 6, 5, 4, 3, 2]
    assert widget.version == 7


def test_pages_cross_segments_and_read_each_once(library, monkeypatch):
    """Paging through several segments gives the frame's rows in order, and a page reads only its segments."""
    frame = pd.DataFrame({"n": np.arange(PAGE_ROWS * 3 + 7), "even": np.arange(PAGE_ROWS * 3 + 7) % 2 == 0})
    cut_every(monkeypatch, 60)
    library.write("long", frame)
    reads = []
    read_table = segments.read_table

    def counted(*arguments, **options):
        reads.extend(options["segments"])
        return read_table(*arguments, **options)

    monkeypatch.setattr(segments, "read_table", counted)
    widget = library.browse()
    widget.sent = []
    widget.send = lambda content, buffers=None: widget.sent.append(content)
    from_page(widget, symbol="long")
    assert widget.shown["segment_count"] == 3
    seen = []
    for first_row in range(0, len(frame), PAGE_ROWS):
        seen += receive(widget, {"kind": "rows", "symbol": "long", "version": 0, "first_row": first_row})["rows"]
    assert [int(row[0]) for row in seen] == frame["n"].tolist()
    assert [row[1] for row in seen] == ["true" if even else "false" for even in frame["even"]]
    assert reads == [0, 1, 2]
    widget.close()


def test_every_kind_of_value_has_text(library):
    """Types that DuckDB or Python cannot show do not hide the rest of the page."""
    import pyarrow as pa

    table = pa.table(
        {
            "far": pa.array([2**52], pa.timestamp("s")),
            "nanos": pa.array([1], pa.time64("ns")),
            "span": pa.array([90_000_000_000], pa.duration("ns")),
            "list": pa.array([[1, None]]),
            "blob": pa.array([b"\x00<b>"]),
            "long": pa.array(["x" * 1000]),
        }
    )
    library.write("odd", table)
    widget = library.browse()
    widget.sent = []
    widget.send = lambda content, buffers=None: widget.sent.append(content)
    answer = receive(widget, {"kind": "rows", "symbol": "odd", "version": 0, "first_row": 0})
    assert answer["kind"] == "rows", answer
    assert len(answer["rows"][0]) == 6
    assert answer["rows"][0][5].endswith("x…")
    assert all(isinstance(value, str) and len(value) <= 200 for value in answer["rows"][0])
    widget.close()


def test_without_the_extra_the_error_says_what_to_install():
    """Where anywidget is missing, browse() names the extra."""
    script = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import duckvstore as vs\n"
        "library = vs.open('memory://x').create_library('eod')\n"
        "try: library.browse()\n"
        "except vs.Unsupported as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'duckvstore[jupyter]'" in done.stdout
