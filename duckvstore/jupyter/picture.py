"""A picture of the version browser as HTML, for pages in which no widget runs, such as exports of notebooks.

It is what the browser had when it was displayed; names and values are text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import markup
from duckvstore.formatting import counted, size

if TYPE_CHECKING:
    from duckvstore.jupyter.browser import Browser

LINES_MAX = 10
ROWS_MAX = 5
COLUMNS_MAX = 12


def of(browser: Browser) -> str:
    """Return the picture: symbols, versions of the chosen one, and its first rows; errors are told in it."""
    parts = [markup.facts(f"{browser.library} at {browser.url}", [])]
    try:
        parts += [_symbols(browser.symbols), *_chosen(browser)]
    except Exception as error:  # noqa: BLE001 - the widget itself must still be displayed
        parts.append(markup.lines([str(error)]))
    return markup.page(*parts, markup.lines([browser.error] if browser.error else []))


def _symbols(symbols: dict[str, Any]) -> str:
    rows = [
        [row["name"], _number(row), f"{row['row_count']:,}", size(row["stored_bytes"]), _time(row)]
        for row in symbols.get("rows", [])[:LINES_MAX]
    ]
    columns = [markup.Column("symbol"), *_right("newest", "rows", "stored"), markup.Column("written")]
    return markup.table(columns, rows) + markup.lines([counted(symbols.get("total_count", 0), "symbol")])


def _chosen(browser: Browser) -> list[str]:
    if browser.symbol is None or not browser.versions:
        return []
    rows = [
        [_number(row), _time(row), row["operation"], f"{row['row_count']:,}", size(row["new_bytes"]),
         ", ".join(row["snapshots"]), row["author"] or "", row["message"] or ""]
        for row in browser.versions["rows"][:LINES_MAX]
    ]  # fmt: skip
    columns = [*_right("version"), markup.Column("written"), markup.Column("operation"), *_right("rows", "new")]
    columns += [markup.Column(name) for name in ("snapshots", "author", "message")]
    parts = [
        markup.facts(browser.symbol, []),
        markup.table(columns, rows),
        markup.lines([counted(browser.versions["total_count"], "version")]),
    ]
    names, values = browser.first_rows(ROWS_MAX)
    if names:
        types = {column["name"]: column["type"] for column in browser.shown["columns"]}
        heads = [markup.Column(name, types.get(name, "")) for name in names]
        left_out = browser.shown["row_count"] - len(values)
        gap = markup.Gap(len(values), f"… {counted(left_out, 'more row')}") if left_out else None
        parts += [markup.table(heads, values, gap), markup.code([browser.sql])]
    return parts


def _number(row: dict[str, Any]) -> str:
    return f"{row['version']}{' (deleted)' if row['deleted'] else ''}"


def _time(row: dict[str, Any]) -> str:
    return str(row["created_at"])[:19].replace("T", " ") + " UTC"


def _right(*names: str) -> list[markup.Column]:
    return [markup.Column(name, is_right=True) for name in names]
