"""What a notebook shows of results, diffs, libraries, stores, versions: facts that are true, and text that is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import markup

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;\u202e\x1b[31m"
TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td", "small", "span", "pre", "svg", "text", "line", "polyline"}


class Tags(HTMLParser):
    """Collects every tag and attribute of a page, and what a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += f"{data}\n"


@pytest.fixture(scope="module")
def store():
    store = vs.open("memory://markup")
    lib = store.create_library("lib")
    frame = pd.DataFrame(
        {"k": range(3), HOSTILE: [HOSTILE, "y" * 1_000_000, None], "x": [0.1 + 0.2, float("nan"), 1e-9]}
    )
    lib.write("s" + HOSTILE.replace("\x1b", ""), frame, author=HOSTILE, message=HOSTILE, metadata={"m": HOSTILE})
    return store


def test_whatever_is_shown_names_and_values_are_text(store):
    lib = store["lib"]
    [symbol] = lib.list_symbols()
    lib.write(symbol, pd.DataFrame({"k": [0, 1, 9], HOSTILE: [HOSTILE, HOSTILE, "z"], "x": [0.3, 2.0, 3.0]}))
    snapshot = lib.snapshot(HOSTILE.replace("\x1b", ""), message=HOSTILE)
    shown = [
        lib.sql(f'FROM "{symbol.replace(chr(34), chr(34) * 2)}" AT VERSION 0'),
        lib.diff(symbol, 0, 1, key="k"),
        lib,
        store,
        lib[symbol],
        lib.list_versions(),
        lib.read(symbol),
        lib.get_description(symbol),
        snapshot or next(iter(lib.overview().snapshots())),
        *lib.list_versions().values(),
    ]
    for item in shown:
        page = item._repr_html_()
        tags = Tags(page)
        assert tags.found <= TAGS, type(item)
        assert tags.attributes <= {"style", "class", "title", "colspan"}, type(item)
        assert not {"\x1b", "\u202e"} & set(page), type(item)
        assert len(page) < 20_000, type(item)


def test_numbers_are_rounded_for_reading_and_exact_on_hover():
    page = (
        vs.open("memory://rounded")
        .create_library("l")
        .sql("SELECT 0.1::DOUBLE + 0.2 AS x, 12345678901 AS n")
        ._repr_html_()
    )
    assert 'title="0.30000000000000004">0.3</td>' in page
    assert ">12345678901</td>" in page


@pytest.mark.parametrize(
    ("number", "read"),
    [
        ("0.30000000000000004", "0.3"),
        ("20.0", "20.0"),
        ("-1234.56789", "-1234.57"),
        ("999999.9999", "1000000"),
        ("1234567.891", "1234568"),
        ("1.23456789e-12", "1.23457e-12"),
        ("0.000012345678", "0.0000123457"),
        ("1.7976931348623157e+308", "1.79769e+308"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-0.0", "-0.0"),
        ("no number", "no number"),
        ("", ""),
    ],
)
def test_six_digits_are_read(number, read):
    assert markup.rounded(number) == read
    if read not in ("nan", "no number", "", "inf"):
        assert float(read) == pytest.approx(float(number), rel=1e-5)


def test_a_diff_begins_with_its_counts_and_colours_what_changed(store):
    lib = store.create_library("diffs")
    lib.write("t", pd.DataFrame({"k": [1, 2, 3], "a": [1, 2, 3], "b": ["x", "y", "z"]}))
    lib.write("t", pd.DataFrame({"k": [1, 2, 4], "a": [1, 5, 4], "b": ["x", "y", "w"]}))
    page = lib.diff("t", 0, 1, key="k")._repr_html_()
    text = Tags(page).text
    assert text.index("+ 1 inserted") < text.index("- 1 deleted") < text.index("~ 1 updated") < text.index("preimage")
    strong = re.findall(r"background:(rgba\([\d,.]+\))\">(\w+)</td>", page)
    assert [value for colour, value in strong if colour == markup.RED.format(0.3)] == ["2"]
    assert [value for colour, value in strong if colour == markup.GREEN.format(0.3)] == ["5"]
    assert {value for colour, value in strong if colour == markup.GREEN.format(0.15)} >= {"insert", "4", "w"}
    assert {value for colour, value in strong if colour == markup.RED.format(0.15)} >= {"delete", "3", "z"}


def test_lists_say_how_much_is_left_out_and_sizes_have_units(store):
    lib = store.create_library("many")
    for number in range(25):
        lib.write(f"s{number:02}", pd.DataFrame({"a": [number]}))
    lib.delete("s00")
    text = Tags(lib._repr_html_()).text
    assert "25 symbols, deleted ones too" in text
    assert "… and 5 more" in text
    assert "1 (deleted)" in text
    assert re.search(r"\d+ B\n", text)
    versions = lib.list_versions()
    assert isinstance(versions, dict)
    assert f"{len(versions)} versions" in Tags(versions._repr_html_()).text


def test_a_library_that_is_gone_is_told_rather_than_raised(store):
    gone = store.create_library("gone")
    store.delete_library("gone")
    assert "gone" in gone._repr_html_()


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 3000])
def test_the_first_and_the_last_rows_are_shown(store, count):
    result = store["lib"].sql(f"SELECT n AS only FROM range({count}) t(n)")
    shown = result.excerpt()
    wanted = list(range(count)) if count <= 20 else [*range(15), *range(count - 5, count)]
    assert [int(row[0]) for row in shown.rows] == wanted
    assert (" between …" in repr(result)) == (count > 20)
    assert result._repr_html_().count("<tr>") == 1 + len(wanted) + (count > 20)


def test_text_is_as_wide_as_the_terminal(store, monkeypatch):
    wide = store["lib"].sql(f"SELECT {', '.join(f'{n} AS column_{n}' for n in range(40))}")
    widths = {}
    for columns in ("60", "100", "250"):
        monkeypatch.setenv("COLUMNS", columns)
        widths[columns] = max(map(len, repr(wide).splitlines()[:4]))
        assert int(columns) - 12 < widths[columns] <= int(columns)
    assert "more columns" in repr(wide)
