"""A real JupyterLab in a real Chromium: a notebook is opened and run, and the version browser is clicked through."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from tests.jupyter.conftest import HOSTILE
from tests.jupyter.lab import running_chromium, running_lab, write_settings

pytestmark = [
    pytest.mark.browser,
    # Raised when Playwright's own pipes and loop are collected, not by us.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
WAIT_MS = 30_000
CELLS = [
    "import duckvstore as vs\n%load_ext duckvstore\nlib = vs.open('store').get_library('eod')\nthreshold = 2.5",
    "%vstore lib",
    "%%vstore\nSELECT symbol, price, size FROM trades AT VERSION 1 WHERE price > $threshold ORDER BY price",
    "%%vstore\nSELECT prise FROM trades",
    "browser = lib.browse()\nbrowser",
]


@pytest.fixture
def frames():
    """The three versions of trades."""
    count = np.arange(137)
    first = pd.DataFrame(
        {"symbol": [f"S{number:03}" for number in count], "price": count / 50, "size": count * 1000},
        index=pd.date_range("2026-01-01", periods=len(count), freq="h", name="time"),
    )
    second = first.assign(price=first["price"] + 0.005)
    third = second.iloc[:60].assign(note=[None if number % 3 else "<b>" for number in range(60)])
    return [first, second, third]


@pytest.fixture
def work(tmp_path_factory, frames):
    """A folder with a store and a notebook."""
    import nbformat  # 4 s, which a process that collects the tests need not spend
    from nbformat.v4 import new_code_cell, new_notebook

    folder = tmp_path_factory.mktemp("lab") / "work"
    folder.mkdir()
    library = vs.open(folder / "store").create_library("eod")
    library.write("trades", frames[0], author="ann", message="first load of the year")
    library.write("trades", frames[1], author="bob", message="prices corrected")
    library.snapshot("2026-01 close", message="end of January")
    library.write("trades", frames[2], author="bob")
    library.write(HOSTILE, pd.DataFrame({HOSTILE: [HOSTILE]}), author=HOSTILE, message=HOSTILE)
    for number in range(30):
        library.write(f"quotes_{number:02}", frames[0].iloc[: number + 1])
    nbformat.write(
        new_notebook(
            cells=[new_code_cell(source, id=f"cell-{position}") for position, source in enumerate(CELLS)],
            metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        ),
        folder / "trades.ipynb",
    )
    return folder


@pytest.fixture
def lab(jupyter_environment, work):
    """JupyterLab over the folder."""
    with running_lab(jupyter_environment, work) as lab:
        yield lab


@pytest.fixture
def page(lab):
    """A page with the notebook open and every cell run; errors of the page's scripts are collected in ``failures``."""
    with running_chromium() as chromium:
        context = chromium.new_context(viewport={"width": 1500, "height": 1400})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.set_default_timeout(WAIT_MS)
        open_and_run(page, lab.open_url("trades.ipynb"))
        yield page


def open_and_run(page, url):
    """Open a notebook and run all its cells from the menu, as a person would."""
    page.goto(url)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def output(page, position):
    """Return the output area of a cell."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(position).locator(".jp-OutputArea").first


def shown_rows(page):
    """Return the header names and the rows that the browser's grid shows."""
    return page.evaluate(
        """() => {
            const grid = document.querySelector('.vsb-grid table');
            const text = (node) => node.firstChild.textContent;
            return [
                [...grid.querySelectorAll('thead th')].slice(1).map(text),
                [...grid.querySelectorAll('tbody tr')].map((row) => [...row.querySelectorAll('td')].map((cell) =>
                    cell.querySelector('.vsb-null') ? null : cell.textContent)),
            ];
        }"""
    )


def expected_rows(frame):
    """Return the rows of a frame as the grid should show them."""
    with_index = frame.reset_index().astype(object)
    return [
        [None if pd.isna(value) else str(value) for value in row]
        for row in with_index.itertuples(index=False, name=None)
    ]


def choose(page, symbol, version=None):
    """Click a symbol, and a version of it."""
    page.locator(".vsb-symbols .vsb-list[aria-label='Symbols'] .vsb-name").get_by_text(symbol, exact=True).click()
    page.locator(".vsb-versions .vsb-head").get_by_text(symbol, exact=True).wait_for()
    if version is not None:
        page.locator(".vsb-versions .vsb-name", has_text=re.compile(rf"^v{version}(?![0-9])")).click()
        page.locator(".vsb-rows-head .vsb-badge", has_text=re.compile(rf"^v{version}$")).wait_for()
    page.locator(".vsb-root:not(.vsb-busy)").wait_for()


def check_the_table_and_the_footer(page, frames):
    """The table holds the rows of version 1 that the parameter leaves, and the footer tells what was read."""
    table = output(page, 2).locator(".vstore-table")
    table.wait_for()
    shown = [[cell.strip() for cell in row.locator("td").all_inner_texts()] for row in table.locator("tbody tr").all()]
    wanted = frames[1][frames[1]["price"] > 2.5]
    assert shown == [[symbol, str(price), str(size)] for symbol, price, size in wanted.itertuples(index=False)]
    line = output(page, 2).locator(".vstore-line").last.inner_text()
    assert re.fullmatch(
        rf"1 of 1 segments · [0-9.]+ of [0-9.]+ kB · trades v1 \(.*\) · {len(wanted)} rows · [0-9.]+ m?s", line
    )


def check_the_error(page):
    """A mistake in SQL shows the line, the place under it, and nothing of our code."""
    error = output(page, 3).locator("[data-mime-type='application/vnd.jupyter.stderr']")
    error.wait_for()
    text = error.inner_text()
    assert text.startswith("SqlError: Binder error")
    lines = text.rstrip().splitlines()
    assert lines[-1].index("^") == lines[-2].index("prise")
    assert "Traceback" not in text
    # An error stops "Run All", so the next cell is run by hand, once the kernel has given it up.
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(4)
    cell.locator(".jp-InputPrompt", has_text="[ ]:").wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.locator(".vsb-root").wait_for()


def click_through_the_browser(page, frames, work, tmp_path):
    """Symbol, version and next page show exactly the rows of that version; the screenshot is not empty."""
    choose(page, "trades")
    assert page.locator(".vsb-versions .vsb-option").count() == 3
    names, rows = shown_rows(page)
    assert names == ["time", "symbol", "price", "size", "note"]
    assert rows == expected_rows(frames[2])[:50]
    choose(page, "trades", 1)
    assert shown_rows(page) == [["time", "symbol", "price", "size"], expected_rows(frames[1])[:50]]
    page.get_by_role("button", name="Next page").click()
    page.locator(".vsb-where", has_text="rows 50 to 99 of 137").wait_for()
    page.locator(".vsb-grid tbody th", has_text=re.compile("^50$")).wait_for()
    assert shown_rows(page)[1] == expected_rows(frames[1])[50:100]
    page.get_by_role("button", name="Last page").click()
    page.locator(".vsb-grid tbody th", has_text=re.compile("^136$")).wait_for()
    assert shown_rows(page)[1] == expected_rows(frames[1])[100:]
    picture = page.locator(".vsb-root").screenshot(path=tmp_path / "browser.png")
    assert len(picture) > 20_000


def copy_the_sql(page, frames, work):
    """The clipboard holds the SQL of what is shown, which gives that version's rows."""
    page.get_by_role("button", name="Copy SQL").click()
    page.get_by_role("button", name="Copied").wait_for()
    sql = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy Python").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('lib.read(')")
    python = page.evaluate("navigator.clipboard.readText()")
    assert sql == "SELECT * FROM trades AT VERSION 1"
    library = vs.open(work / "store").get_library("eod")
    pd.testing.assert_frame_equal(library.sql(sql).df().set_index("time"), frames[1], check_freq=False)
    assert python == "lib.read('trades', as_of=1).data"
    library.session.close()


def use_the_keys(page):
    """Arrow keys change the version; the notebook's own single-letter commands do not reach it."""
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.locator(".vsb-versions .vsb-list").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".vsb-rows-head .vsb-badge", has_text=re.compile("^v0$")).wait_for()
    for key in ("x", "d", "d", "a", "b"):
        page.keyboard.press(key)
    page.keyboard.press("/")
    page.keyboard.type("quotes_1")
    page.locator(".vsb-symbols .vsb-name", has_text="quotes_19").wait_for()
    page.wait_for_function("document.querySelectorAll('.vsb-list[aria-label=Symbols] .vsb-option').length === 10")
    page.keyboard.press("Escape")
    page.locator(".vsb-symbols .vsb-name", has_text="trades").wait_for()
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


def look_at_a_hostile_name(page):
    """A symbol, column, value, author and message full of markup appear as they are written and run nothing."""
    choose(page, HOSTILE)
    assert shown_rows(page) == [[HOSTILE], [[HOSTILE]]]
    assert page.locator(".vsb-message").inner_text() == HOSTILE
    assert page.locator(".vsb-root img").count() == 0
    assert page.evaluate("window.hacked") is None


def look_into_a_snapshot(page):
    """Clicking a snapshot leaves its symbols at its versions, and the SQL names it."""
    page.locator(".vsb-snapshots .vsb-name", has_text="2026-01 close").click()
    page.locator(".vsb-chip-line", has_text="in snapshot 2026-01 close").wait_for()
    choose(page, "trades")
    page.locator(".vsb-sql", has_text="SELECT * FROM trades AT SNAPSHOT '2026-01 close'").wait_for()
    page.get_by_role("button", name="show all").click()
    page.locator(".vsb-symbols .vsb-name", has_text="quotes_00").wait_for()


def load_the_page_again_in_the_dark(page, lab, jupyter_environment, tmp_path):
    """After the page is loaded again, in the dark theme, the browser shows the same version, its rows and its SQL."""
    choose(page, "trades", 0)
    before = shown_rows(page)
    light = page.evaluate("getComputedStyle(document.querySelector('.vsb-root')).backgroundColor")
    page.keyboard.press("Control+s")
    page.locator(".jp-mod-dirty").wait_for(state="detached")
    write_settings(Path(jupyter_environment["JUPYTERLAB_SETTINGS_DIR"]), "JupyterLab Dark")
    page.goto(lab.open_url("trades.ipynb"))
    page.locator(".vsb-rows-head .vsb-badge", has_text=re.compile("^v0$")).wait_for()
    page.locator(".vsb-grid tbody tr").first.wait_for()
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    assert shown_rows(page) == before
    assert page.locator(".vsb-sql").inner_text() == "SELECT * FROM trades AT VERSION 0"
    assert page.evaluate("getComputedStyle(document.querySelector('.vsb-root')).backgroundColor") != light
    page.locator(".vsb-root").screenshot(path=tmp_path / "browser-dark.png")


def test_a_notebook_in_jupyterlab(page, lab, frames, work, jupyter_environment, tmp_path):
    """What a person does, one after the other: run cells, click through the browser, copy, type, reload.

    One test, since each step begins where the one before left the page.
    """
    check_the_table_and_the_footer(page, frames)
    check_the_error(page)
    click_through_the_browser(page, frames, work, tmp_path)
    copy_the_sql(page, frames, work)
    use_the_keys(page)
    look_at_a_hostile_name(page)
    look_into_a_snapshot(page)
    load_the_page_again_in_the_dark(page, lab, jupyter_environment, tmp_path)
    assert page.failures == []
