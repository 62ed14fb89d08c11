"""The version browser: a widget that lists symbols, versions and snapshots, and previews rows.

What the page shows is in traits, so it survives a reload; only pages of rows travel as messages. Every name and
value is text, which the page never interprets as HTML.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duckvstore import markup
from duckvstore.errors import DuckVStoreError, InvalidInput, Unsupported
from duckvstore.jupyter import cells, picture
from duckvstore.jupyter.names import sql_name
from duckvstore.sql.syntax.literals import literal

try:
    import anywidget
    import traitlets
except ImportError as missing:
    raise Unsupported("the version browser needs anywidget: pip install 'duckvstore[jupyter]'") from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from duckvstore.api.items import SnapshotInfo, SymbolDescription
    from duckvstore.api.library import Library

SYMBOLS_SHOWN_MAX = 200
VERSIONS_PER_STEP = 100
PAGE_ROWS = 50
COLUMNS_SHOWN_MAX = 100

_FOLDER = Path(__file__).parent


def _reported(observer: Callable[[Browser, Any], None]) -> Callable[[Browser, Any], None]:
    """Put what an observer raises into the trait ``error``: ipywidgets would swallow it."""

    @wraps(observer)
    def report(self: Browser, change: Any) -> None:
        try:
            self.error = ""
            observer(self, change)
        except Exception as error:  # noqa: BLE001 - as above
            self.error = error_text(error)

    return report


def error_text(error: BaseException) -> str:
    """Return what to show of an error: this package's messages alone, others with their type."""
    return str(error) if isinstance(error, DuckVStoreError) else f"{type(error).__name__}: {error}"


class Browser(anywidget.AnyWidget):
    """A library to look around in. ``search``, ``scope``, ``symbol``, ``version`` and ``first_row`` can be set.

    ``scope``: a snapshot's name, to see only what it holds, or "" for everything. ``version``: a number, or
    None when nothing is chosen. ``sql`` gives the chosen rows, and so does ``python`` where the library is ``lib``;
    ``data()`` reads them.
    """

    _esm = _FOLDER / "browser.js"
    _css = _FOLDER / "browser.css"

    library = traitlets.Unicode().tag(sync=True)
    url = traitlets.Unicode().tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    scope = traitlets.Unicode().tag(sync=True)
    symbol = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    version = traitlets.Int(None, allow_none=True).tag(sync=True)
    first_row = traitlets.Int(0, min=0).tag(sync=True)
    versions_wanted = traitlets.Int(VERSIONS_PER_STEP, min=1).tag(sync=True)
    symbols = traitlets.Dict().tag(sync=True)
    snapshots: traitlets.List[Any] = traitlets.List().tag(sync=True)
    versions = traitlets.Dict().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    sql = traitlets.Unicode().tag(sync=True)
    python = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    def __init__(self, library: Library, symbol: str | None = None) -> None:
        """Show ``library`` and ``symbol`` (None: the one written last, of those that are listed).

        Errors of the object store are shown in the widget.
        """
        self._library = library
        self._names: list[str] = []
        self._snapshots: list[SnapshotInfo] = []
        self._overview = library.overview()
        super().__init__(library=library.name, url=library.url)
        self.on_msg(self._on_message)
        self.refresh()
        # A choice takes the place of what is wrong with others, which must be seen first.
        self.symbol = symbol if symbol is not None or self.error else self._written_last()

    def __repr__(self) -> str:
        """Name what is browsed; pages without widgets show this."""
        return f"Browser({self._library!r})"

    def _written_last(self) -> str | None:
        there = [row for row in self.symbols.get("rows", []) if not row["deleted"]]
        return max(there, key=lambda row: row["created_at"])["name"] if there else None

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget and a picture of it: pages that run no widgets show that."""
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/html"] = picture.of(self)
        return bundle

    def first_rows(self, row_count: int) -> tuple[list[str], list[list[str | None]]]:
        """Return the names of the columns that are shown of the chosen version, and its first rows as text."""
        if not self.shown or self.symbol is None:
            return [], []
        as_of = self._as_of(self.symbol, self.version)
        found = self._overview.rows(self.symbol, as_of, 0, row_count, picture.COLUMNS_MAX)
        return list(found[0].column_names), cells.rows(*found)

    def refresh(self) -> None:
        """Read the catalogue again, and keep the choice."""
        try:
            self.error = ""
            self._names = sorted(self._overview.symbols(), key=lambda name: (name.casefold(), name))
            self._snapshots = self._overview.snapshots()
            with self.hold_sync():
                self.snapshots = [_snapshot_row(found) for found in self._snapshots]
                if self.scope and self._held() is None:
                    self.scope = ""
                self._show_symbols()
                if self.symbol is not None:
                    self._show_versions(self.symbol)
        except Exception as error:  # noqa: BLE001 - a widget that cannot be made would show nothing at all
            self.error = error_text(error)

    def data(self, **options: Any) -> Any:
        """Return the chosen version's value, as ``Library.read`` does; ``options`` are those of ``read``.

        Raises InvalidInput when no version is chosen.
        """
        if self.symbol is None or self.version is None:
            raise InvalidInput("no version is chosen: click one, or set widget.symbol and widget.version")
        return self._library.read(self.symbol, as_of=self._as_of(self.symbol, self.version), **options).data

    # -- what follows from a choice --------------------------------------------------------------------------

    @traitlets.observe("search", "scope")
    @_reported
    def _on_search(self, change: Any) -> None:
        with self.hold_sync():
            self._show_symbols()
            if change["name"] == "scope" and self.symbol is not None:
                self._choose_version(self.symbol)
            self._show_sql()

    @traitlets.observe("symbol")
    @_reported
    def _on_symbol(self, _change: Any) -> None:
        with self.hold_sync():
            self.versions_wanted = VERSIONS_PER_STEP
            self.versions, self.shown = {}, {}
            self.version = None
            if self.symbol is not None:
                self._show_versions(self.symbol)
                self._choose_version(self.symbol)
            self._show_sql()

    @traitlets.observe("versions_wanted")
    @_reported
    def _on_versions_wanted(self, _change: Any) -> None:
        if self.symbol is not None:
            self._show_versions(self.symbol)

    @traitlets.observe("version")
    @_reported
    def _on_version(self, _change: Any) -> None:
        with self.hold_sync():
            self.first_row = 0
            self._show_rows_of_version()
            self._show_sql()

    def _held(self) -> Mapping[str, int] | None:
        """Return the versions that the chosen snapshot holds, or None without such a snapshot."""
        return next((found.versions for found in self._snapshots if found.name == self.scope), None)

    def _as_of(self, symbol: str, version: Any) -> Any:
        """Return a version as the chosen snapshot's, if it holds it: then it is found even when pruned."""
        held = (self._held() or {}).get(symbol)
        return self.scope if held is not None and held == version else version

    def _show_symbols(self) -> None:
        held = self._held() if self.scope else None
        names = self._names if held is None else sorted(held, key=lambda name: (name.casefold(), name))
        wanted = self.search.strip().casefold()
        found = [name for name in names if wanted in name.casefold()]

        shown = found[:SYMBOLS_SHOWN_MAX]
        described = self._described([(name, None if held is None else held[name]) for name in shown])
        self.symbols = {
            "rows": [_symbol_row(found) for found in described],
            "match_count": len(found),
            "total_count": len(names),
        }

    def _described(self, wanted: Sequence[tuple[str, int | None]]) -> list[SymbolDescription]:
        """Describe versions; for unreadable ones the widget shows the error."""
        errors: list[Exception] = []
        found = self._overview.describe(wanted, errors.append)
        if errors:
            self.error = error_text(errors[0])
        return found

    def _show_versions(self, symbol: str) -> None:
        numbers = self._overview.versions(symbol, (self._held() or {}).get(symbol))
        described = self._described([(symbol, number) for number in numbers[: self.versions_wanted]])
        rows = [
            _fields(found, "version operation author message row_count stored_bytes new_bytes") for found in described
        ]
        for row in rows:
            row["snapshots"] = [each.name for each in self._snapshots if each.versions.get(symbol) == row["version"]]
        self.versions = {"symbol": symbol, "rows": rows, "total_count": len(numbers)}

    def _choose_version(self, symbol: str) -> None:
        """Choose the version that the snapshot holds, else the newest that has rows."""
        held = self._held() or {}
        readable = [row["version"] for row in self.versions.get("rows", []) if not row["deleted"]]
        self.version = held.get(symbol, readable[0] if readable else None)

    def _show_rows_of_version(self) -> None:
        self.shown = {}
        if self.symbol is None or self.version is None:
            return
        as_of = self._as_of(self.symbol, self.version)
        found = self._library.get_description(self.symbol, as_of)
        columns = self._overview.columns(self.symbol, as_of, nulls_of=COLUMNS_SHOWN_MAX)
        self.shown = {
            **_fields(found, "symbol version kind row_count stored_bytes segment_count"),
            "page_rows": PAGE_ROWS,
            "columns": [
                {**column._asdict(), "is_right": markup.is_right_aligned(column.type)}
                for column in columns[:COLUMNS_SHOWN_MAX]
            ],
            "column_count": len(columns),
        }

    def _show_sql(self) -> None:
        if self.symbol is None or self.version is None:
            self.sql = self.python = ""
            return
        as_of = self._as_of(self.symbol, self.version)
        self.python = f"lib.read({self.symbol!r}, as_of={as_of!r}).data"
        held = self._held()
        if held is not None and held.get(self.symbol) == self.version:
            self.sql = f"SELECT * FROM {sql_name(self.symbol)} AT SNAPSHOT {literal(self.scope)}"
        else:
            self.sql = f"SELECT * FROM {sql_name(self.symbol)} AT VERSION {self.version}"

    # -- messages --------------------------------------------------------------------------------------------

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind == "refresh":
            self.refresh()
            self.send({"kind": "refreshed"})
        elif kind == "rows":
            self._send_rows(content)

    def _send_rows(self, content: dict[str, Any]) -> None:
        """Answer ``{kind: "rows", symbol, version, first_row}`` with the page of rows that starts there."""
        answer = {name: content.get(name) for name in ("kind", "symbol", "version", "first_row")}
        try:
            symbol = str(answer["symbol"])
            as_of = self._as_of(symbol, answer["version"])
            first_row = max(0, int(answer["first_row"] or 0))
            answer["rows"] = cells.rows(*self._overview.rows(symbol, as_of, first_row, PAGE_ROWS, COLUMNS_SHOWN_MAX))
        except Exception as error:  # noqa: BLE001 - it is shown where the rows would be
            answer = {**answer, "kind": "failure", "message": error_text(error)}
        self.send(answer)


def _fields(found: SymbolDescription, names: str) -> dict[str, Any]:
    """Return what the widget is told of a version: the fields ``names``, when it was made, and if it is a deletion."""
    row = {name: getattr(found, name) for name in names.split()}
    return {**row, "created_at": _json(found.last_update_time), "deleted": found.kind == "deleted"}


def _symbol_row(found: SymbolDescription) -> dict[str, Any]:
    column_count = len(found.index) + len(found.columns)
    return {**_fields(found, "version row_count stored_bytes"), "name": found.symbol, "column_count": column_count}


def _snapshot_row(snapshot: SnapshotInfo) -> dict[str, Any]:
    return {
        "name": snapshot.name,
        "created_at": _json(snapshot.created_at),
        "symbol_count": len(snapshot.versions),
        "message": snapshot.message,
    }


def _json(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"  # times of the API are in UTC
