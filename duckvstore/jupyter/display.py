"""Tables and lines as HTML outputs of a notebook.

Every name and value goes through ``html.escape``; a symbol called ``<img onerror=…>`` is just text.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLE = """<style>
.vstore-table{--line:var(--jp-border-color2,#d0d0d0);--dim:var(--jp-ui-font-color2,#757575);
 max-width:100%;overflow:auto;max-height:460px;margin:2px 0 0;border:1px solid var(--line);border-radius:4px;
 width:fit-content}
.jp-RenderedHTMLCommon .vstore-table table,.vstore-table table{border-collapse:separate;border-spacing:0;margin:0;
 border:0;table-layout:auto;font-size:var(--jp-code-font-size,13px);font-variant-numeric:tabular-nums}
.jp-RenderedHTMLCommon .vstore-table thead th,.vstore-table thead th{position:sticky;top:0;z-index:1;
 padding:5px 12px;text-align:left;vertical-align:bottom;white-space:nowrap;font-weight:600;
 color:var(--jp-ui-font-color1,CanvasText);
 background:color-mix(in srgb,var(--jp-ui-font-color1,CanvasText) 7%,var(--jp-layout-color1,Canvas));
 border-bottom:1px solid var(--line)}
.vstore-table th small{display:block;font-weight:400;font-size:11px;color:var(--dim)}
.jp-RenderedHTMLCommon .vstore-table tbody td,.vstore-table tbody td{padding:3px 12px;text-align:left;
 vertical-align:top;max-width:380px;overflow:hidden;text-overflow:ellipsis;white-space:pre}
.jp-RenderedHTMLCommon .vstore-table .vstore-right,.vstore-table .vstore-right{text-align:right}
.vstore-table .vstore-null{color:var(--dim);font-style:italic;opacity:.75}
.jp-RenderedHTMLCommon .vstore-table tbody tr:nth-child(even),.vstore-table tbody tr:nth-child(even){
 background:var(--jp-layout-color1,transparent)}
.jp-RenderedHTMLCommon .vstore-table tbody tr:nth-child(odd){background:var(--jp-rendermime-table-row-background,
 transparent)}
.vstore-line{color:var(--jp-ui-font-color2,#757575);font-family:var(--jp-ui-font-family,sans-serif);font-size:12px;
 margin:5px 0 2px;font-variant-numeric:tabular-nums;white-space:pre-wrap}
.jp-RenderedHTMLCommon pre.vstore-code,pre.vstore-code{margin:6px 0 2px;padding:4px 8px;font-size:12px;
 border-left:3px solid var(--jp-border-color2,#d0d0d0);white-space:pre-wrap;color:var(--jp-content-font-color1,inherit)}
</style>"""


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a column: its name, its type and how many of its values are null (None: not known)."""

    name: str
    type: str
    null_count: int | None = None
    is_right: bool = False

    @property
    def note(self) -> str:
        """The line under the name: ``BIGINT · 12 null``."""
        kind = self.type.lower()
        return f"{kind} · {self.null_count:,} null" if self.null_count else kind


def table_html(
    headers: Sequence[Header], rows: Sequence[Sequence[str | None]], lines: Sequence[str], code: Sequence[str] = ()
) -> str:
    """Return a table and, under it, lines of code and of small text."""
    classes = [' class="vstore-right"' if header.is_right else "" for header in headers]
    head = "".join(
        f"<th{class_}>{html.escape(header.name)}<small>{html.escape(header.note)}</small></th>"
        for header, class_ in zip(headers, classes, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cell(value, class_) for value, class_ in zip(row, classes, strict=True))}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'{STYLE}<div class="vstore-table">{table}</div>{_code(code)}{_lines(lines)}'


def lines_html(lines: Sequence[str], code: Sequence[str] = ()) -> str:
    """Return lines of code and of small text."""
    return STYLE + _code(code) + _lines(lines)


def _code(code: Sequence[str]) -> str:
    text = html.escape("\n".join(code))
    return f'<pre class="vstore-code">{text}</pre>' if code else ""


def _lines(lines: Sequence[str]) -> str:
    return "".join(f'<div class="vstore-line">{html.escape(line)}</div>' for line in lines)


def _cell(value: str | None, class_: str) -> str:
    if value is None:
        return f'<td{class_}><span class="vstore-null">NULL</span></td>'
    return f"<td{class_}>{html.escape(value)}</td>"


def plan_html(plan: str, lines: Sequence[str], code: Sequence[str] = ()) -> str:
    """Return text with its line breaks kept, such as DuckDB's plan of a query, and lines under it."""
    return f"{STYLE}<pre>{html.escape(plan)}</pre>{_code(code)}{_lines(lines)}"


def publish(as_html: str, as_text: str) -> None:
    """Display an output of the running cell, in both forms."""
    from IPython.display import publish_display_data

    publish_display_data({"text/plain": as_text, "text/html": as_html})  # type: ignore[no-untyped-call]
