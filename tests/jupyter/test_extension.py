"""The extension of JupyterLab and Notebook 7, as the wheel installs it, in a real Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import duckvstore as vs
from tests import ROOT
from tests.jupyter.lab import running_chromium, running_lab, write_settings
from tests.sizes import IS_FULL

pytestmark = [
    pytest.mark.browser,
    # Raised when Playwright's own pipes and loop are collected, not by us.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
SQL = """%%vstore -o frame --at 'eod 1'
SELECT t.symbol, count(*) AS n, 'it''s' -- why
FROM trades AT VERSION 3 t JOIN quotes AT (TIMESTAMP => '2026-01-01') USING (symbol)
WHERE price > $limit /* of
 two lines */ AND data = 3 AND CAST(a AS BIGINT) IS NULL AND "select" = 1"""
LINE = "frame = %vstore SELECT symbol FROM trades AT VERSION 1 WHERE data IN (1, 2)\nclass_ = 'text'  # note"
PYTHON = "SELECT = 1\nfor version in [SELECT]:\n    pass"
SETUP = "%load_ext duckvstore\n%vstore ./store eod"
# Which of JupyterLab's colours the words of a cell have, every one of the same word.
COLOURS = {
    0: {
        **dict.fromkeys(["SELECT", "FROM", "AT", "VERSION", "TIMESTAMP", "JOIN", "USING", "AND", "AS"], "keyword"),
        "%%vstore": "meta",
        "-o": "attribute",
        "--at": "attribute",
        "'eod 1'": "string",
        "'it''s'": "string",
        "-- why": "comment",
        "/* of": "comment",
        "two lines */": "comment",
        "$limit": "variable-2",
        "data": "plain",
        "symbol": "plain",
        "BIGINT": "builtin",
        "NULL": "atom",
        '"select"': "string-2",
        "3": "number",
        ">": "operator",
    },
    1: {
        **dict.fromkeys(["SELECT", "FROM", "AT", "VERSION", "WHERE", "IN"], "keyword"),
        "data": "plain",
        "1": "number",
        "'text'": "string",
        "# note": "comment",
    },
    2: {"SELECT": "plain", "version": "plain", "for": "keyword", "in": "keyword", "pass": "keyword", "1": "number"},
}
# The text of each leaf of a cell's editor with its colour, and what the theme's colours are.
READ = """(position) => {
    const editor = document.querySelectorAll('.jp-Notebook .jp-CodeCell .cm-content')[position];
    const found = [];
    const leaves = document.createTreeWalker(editor, NodeFilter.SHOW_TEXT);
    while (leaves.nextNode()) {
        const style = getComputedStyle(leaves.currentNode.parentElement);
        found.push([leaves.currentNode.textContent, style.color, style.fontWeight]);
    }
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = 'var(--jp-content-font-color1)';
    const colours = {plain: getComputedStyle(probe).color};
    for (const name of ['keyword', 'meta', 'attribute', 'string', 'string-2', 'comment', 'variable-2',
                        'builtin', 'atom', 'number', 'operator']) {
        probe.style.color = `var(--jp-mirror-editor-${name}-color)`;
        colours[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    return [found, colours];
}"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """A folder into which the wheel, built from the sources, is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, cwd=folder)
    [wheel] = folder.glob("duckvstore-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-compile", "--ignore-installed", "--prefix", folder / "prefix", wheel],
        check=True,
    )
    return folder / "prefix"


@pytest.fixture(scope="module")
def environment(jupyter_environment, prefix):
    """A Jupyter that finds the extension of the wheel, before one of an editable installation."""
    return {**jupyter_environment, "JUPYTER_PATH": str(prefix / "share/jupyter")}


@pytest.fixture(scope="module")
def lab(environment, tmp_path_factory):
    """JupyterLab and Notebook 7 over a folder with a store and a notebook."""
    import nbformat  # 4 s, which a process that collects the tests need not spend
    from nbformat.v4 import new_code_cell, new_notebook

    work = tmp_path_factory.mktemp("extension") / "work"
    work.mkdir()
    library = vs.open(work / "store").create_library("eod")
    library.write("trades", pd.DataFrame({"price": [1.0]}))
    library.snapshot("eod 1")
    cells = [new_code_cell(source, id=f"cell-{position}") for position, source in enumerate((SQL, LINE, PYTHON, SETUP))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), work / "cells.ipynb")
    with running_lab(environment, work) as lab:
        yield lab


@pytest.fixture(scope="module")
def chromium():
    """A browser."""
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(params=["lab/tree", "notebooks"])
def page(request, lab, chromium):
    """The notebook in JupyterLab, and in Notebook 7, with its kernel idle."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(30_000)
    page.goto(lab.open_url("cells.ipynb", request.param))
    page.locator(".jp-Notebook .jp-CodeCell .cm-line").first.wait_for()
    page.locator("[data-status='idle']").first.wait_for(state="attached")
    yield page
    page.close()


def editor(page, position):
    """Return the editor of a cell."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(position).locator(".cm-content")


def wait_for_text(page, position, text):
    """Return once the text of a cell is this; otherwise say what it is."""
    read = (
        "[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .cm-content')[at].children]"
        ".map((line) => line.textContent).join('\\n')"
    )
    try:
        page.wait_for_function(f"([at, text]) => {read} === text", arg=[position, text], timeout=5000)
    except Exception:
        assert page.evaluate(f"(at) => {read}", position) == text
        raise


def select_all(page, position):
    """Put the cursor into a cell, and select its text."""
    editor(page, position).click()
    page.locator(".jp-Notebook .jp-CodeCell").nth(position).locator(".cm-focused").wait_for()
    page.keyboard.press("Control+a")


def check_colours(page, position):
    """Each word has the colour of its kind in the theme, and keywords are bold; languages take a moment to load."""
    for attempts_left in reversed(range(25)):
        leaves, colours = page.evaluate(READ, position)
        wrong = list(differing(leaves, colours, COLOURS[position]))
        if not wrong or not attempts_left:
            break
        page.wait_for_timeout(200)
    assert not wrong, leaves
    assert len(set(colours.values())) > 6


def differing(leaves, colours, wanted):
    """Yield the words that have not the colour and weight that they should have."""
    for word, kind in wanted.items():
        found = {(colour, weight) for text, colour, weight in leaves if text.strip() == word}
        if not found:  # in one leaf with its neighbours, as what has no colour of its own
            within = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
            found = {(colour, weight) for text, colour, weight in leaves if within.search(text)}
        if found != {(colours[kind], "700" if kind in ("keyword", "operator") else "400")}:
            yield word, kind, found


def retype(page, position, text):
    """Type a cell anew, key by key."""
    select_all(page, position)
    page.keyboard.type(text)


def test_the_extension_is_installed_and_enabled(environment, prefix):
    """JupyterLab lists it, says where it is from, and each part is what the sources have; it is small."""
    command = [sys.executable, "-m", "jupyter", "labextension", "list"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", listed.stderr + listed.stdout)
    assert f"duckvstore v{vs.__version__} enabled OK (python, duckvstore)" in text
    installed = prefix / "share/jupyter/labextensions/duckvstore"
    sources = ROOT / "extension/jupyterlab"
    files = {path.relative_to(sources) for path in sources.rglob("*") if path.is_file()}
    assert {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()} == files
    assert sum((installed / name).stat().st_size for name in files) < 100_000
    assert Path("static/container.js") in files


def test_the_words_are_duckdbs():
    """Every word that DuckDB reserves has the colour of one."""
    import duckdb

    source = (ROOT / "extension/jupyterlab/static/sql.js").read_text()
    words = {name: set(text.split()) for name, text in re.findall(r"const (\w+) = set\(\W([^`\"]*)\W\)", source)}
    with duckdb.connect() as connection:
        found = connection.execute("SELECT keyword_name, keyword_category FROM duckdb_keywords()").fetchall()
    reserved = {word for word, category in found if category == "reserved"}
    assert reserved <= words["KEYWORDS"] | words["ATOMS"]
    assert words["KEYWORDS"] - {word for word, _ in found} <= {"restore", "matched", "target", "source", "match"}


def test_sql_in_cells(page):
    """Colours of each kind of cell, comments, brackets, and a cell that becomes SQL and Python again."""
    for position in COLOURS:
        check_colours(page, position)
    toggle_comments(page)
    change_the_language(page)
    indent_within_brackets(page)
    complete_by_the_kernel(page)


def toggle_comments(page):
    """Ctrl+/ comments with -- below the magic's line, and with # in Python."""
    select_all(page, 0)
    page.keyboard.press("Control+/")
    first, *below = SQL.split("\n")
    wait_for_text(page, 0, "\n".join([first, *(f"-- {line}" for line in below)]))
    page.keyboard.press("Control+/")
    wait_for_text(page, 0, SQL)
    select_all(page, 2)
    page.keyboard.press("Control+/")
    wait_for_text(page, 2, "\n".join(f"# {line}" for line in PYTHON.split("\n")))
    page.keyboard.press("Control+/")


def change_the_language(page):
    """Colours follow what is typed."""
    retype(page, 2, SQL)
    page.keyboard.press("Escape")
    wait_for_text(page, 2, SQL)
    leaves, colours = page.evaluate(READ, 2)
    assert ["SELECT", colours["keyword"], "700"] in leaves
    retype(page, 2, "SELECT = 1\nfor version in [SELECT]:\npass")
    page.keyboard.press("Escape")
    wait_for_text(page, 2, PYTHON)
    check_colours(page, 2)


def indent_within_brackets(page):
    """A line within brackets is indented, and the bracket that closes them goes back."""
    retype(page, 2, "%%vstore\nSELECT * FROM (\nSELECT 1\n)")
    wait_for_text(page, 2, "%%vstore\nSELECT * FROM (\n    SELECT 1\n)")
    page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".cm-matchingBracket").first.wait_for()
    page.keyboard.press("Escape")


def complete_by_the_kernel(page):
    """Symbols come by Tab, as without the extension."""
    editor(page, 3).click()
    page.keyboard.press("Control+Enter")
    page.locator(".jp-OutputArea", has_text="1 symbol: trades").first.wait_for()
    retype(page, 2, "%%vstore\nSELECT * FROM tr")
    page.keyboard.press("Tab")
    page.wait_for_function("document.body.innerText.includes('FROM trades')")
    page.keyboard.press("Escape")


@pytest.mark.skipif(not IS_FULL, reason="one theme in a usual run")
def test_the_dark_theme(lab, chromium, environment, page):
    """The colours are those of the theme in use."""
    write_settings(Path(environment["JUPYTERLAB_SETTINGS_DIR"]), "JupyterLab Dark")
    page.reload()
    page.locator(".jp-Notebook .jp-CodeCell .cm-line").first.wait_for()
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    for position in COLOURS:
        check_colours(page, position)
