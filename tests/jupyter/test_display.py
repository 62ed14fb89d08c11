"""Tables as HTML, on pages that have none of JupyterLab's variables: VS Code, marimo, a saved notebook."""

from __future__ import annotations

import pytest

from duckvstore import markup
from tests.jupyter.lab import running_chromium

pytestmark = [
    pytest.mark.browser,
    # Raised when Playwright's own pipes and loop are collected, not by us.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
READABLE_CONTRAST = 4.5
# Paints what CSS calls a colour, since there are many ways to write one, and compares as WCAG does.
CONTRAST = """element => {
    const style = getComputedStyle(element)
    const canvas = document.createElement("canvas").getContext("2d")
    const luminance = color => {
        canvas.fillStyle = color
        canvas.fillRect(0, 0, 1, 1)
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => part / 255)
        const [red, green, blue] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const [dark, light] = [luminance(style.color), luminance(style.backgroundColor)].sort((a, b) => a - b)
    return (light + 0.05) / (dark + 0.05)
}"""


@pytest.fixture(scope="module")
def page():
    with running_chromium() as chromium:
        yield chromium.new_page()


@pytest.mark.parametrize(
    "page_style",
    [
        "background: #fff; color: #222",
        "background: #1e1e1e; color: #ddd",  # VS Code: a dark page that does not say so
        "background: #1e1e1e; color: #ddd; color-scheme: dark",
        "--jp-ui-font-color1: #fff; --jp-layout-color1: #111; background: #111; color: #fff",
        "--jp-ui-font-color1: #222; --jp-layout-color1: #fff; background: #fff; color: #222",
    ],
)
def test_the_names_of_columns_can_be_read_on_light_and_dark_pages(page, page_style):
    table = markup.table([markup.Column("price", "DOUBLE")], [["1.5"]])
    page.set_content(f"<!doctype html><html style='{page_style}'><body>{table}</body></html>")
    assert page.locator("th").evaluate(CONTRAST) >= READABLE_CONTRAST
