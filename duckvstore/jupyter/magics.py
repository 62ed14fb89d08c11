"""``%vstore`` and ``%%vstore``: connect to a store, run SQL in a cell, look at what is there.

``unload`` leaves the shell as ``load`` found it.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Int

from duckvstore.api.library import Library
from duckvstore.api.store import Store
from duckvstore.api.store import open as open_store
from duckvstore.errors import InvalidInput, nearest
from duckvstore.jupyter import completion, request, tracebacks
from duckvstore.jupyter.connection import Connection
from duckvstore.jupyter.query import Query, as_type

NAMES = ("vstore", "vstore_symbols", "vstore_versions", "vstore_browse")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[/~]|\.{1,2}(?:/|$)")
_previous: dict[int, dict[tuple[str, str], Any]] = {}


def load(shell: Any) -> None:
    """Register the magics and their completion in an IPython shell."""
    tables = shell.magics_manager.magics
    _previous[id(shell)] = {(kind, name): tables[kind].get(name) for kind in ("line", "cell") for name in NAMES}
    magics = VStoreMagics(shell)
    shell.register_magics(magics)
    tracebacks.install(shell)
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers.append(magics.matcher)


def unload(shell: Any) -> None:
    """Undo all that ``load`` did."""
    magics = shell.magics_manager.registry.pop(VStoreMagics.__name__, None)
    for (kind, name), earlier in _previous.pop(id(shell), {}).items():
        if earlier is None:
            shell.magics_manager.magics[kind].pop(name, None)
        else:
            shell.magics_manager.magics[kind][name] = earlier
    tracebacks.uninstall(shell)
    if magics is None:
        return
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    completer = getattr(shell, "Completer", None)
    if completer is not None and magics.matcher in completer.custom_matchers:
        completer.custom_matchers.remove(magics.matcher)


@magics_class
class VStoreMagics(Magics):
    """Versioned dataframes in SQL cells. ``%config VStoreMagics`` shows the options."""

    displaylimit = Int(20, min=0, help="Rows that a result shows; all of them are counted.").tag(config=True)

    shell: Any

    def __init__(self, shell: Any) -> None:
        """Attach to ``shell``, not yet connected."""
        super().__init__(shell)
        self.connection = Connection()
        self.matcher = completion.matcher(self.connection, lambda: self.shell.user_ns)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def vstore(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Connect to a store, or run SQL in which symbols are tables, at any version.

        ::

            %vstore s3://bucket/prefix eod      connect to a library (without a name: to the whole store)
            %vstore lib                         use a Library or Store that the notebook has
            %vstore                             show what is connected
            frame = %vstore SELECT …            one line of SQL; gives a dataframe

            %%vstore [-o VAR | VAR <<] [-t pandas|polars|arrow] [--at VERSION|SNAPSHOT|TIME] [-p name=value]
                     [-l LIBRARY] [--limit N] [--explain] [--show-sql] [--no-display] [--plot]
            SELECT * FROM trades AT VERSION 3 WHERE price > $threshold

        ``$threshold`` is the notebook's variable of that name, given to DuckDB as a parameter. Dataframes of the
        notebook can be named as tables. ``--at`` counts for every symbol that has no AT of its own. ``-o VAR``
        (or ``VAR <<``) assigns the result, as the type that ``-t`` names. ``--limit`` stops after N rows.
        """
        scope = {**self.shell.user_ns, **(local_ns or {})}
        if cell is None:
            return self._run_line(line, scope)
        self._finish(Query(self.connection, request.parse(line, cell), scope, self.displaylimit))
        return None

    @no_var_expand
    @line_magic
    def vstore_symbols(self, line: str) -> Any:
        """Return the symbols of the library as a dataframe: ``%vstore_symbols [-l LIBRARY] [PATTERN]``."""
        asked = request.parse(line)
        frame = self.connection.library(asked.library).sql(
            "SELECT symbol, version, row_count, column_count, stored_bytes, created_at, author, message "
            "FROM vstore.symbols ORDER BY symbol"
        )
        pattern = asked.sql.strip()
        found = frame.df()
        return found if not pattern else found[_matching(found["symbol"], pattern)].reset_index(drop=True)

    @no_var_expand
    @line_magic
    def vstore_versions(self, line: str) -> Any:
        """Return the versions of a symbol as a dataframe, newest first: ``%vstore_versions [-l LIBRARY] SYMBOL``."""
        asked = request.parse(line)
        symbol = request.unquoted(asked.sql.strip())
        if not symbol:
            raise InvalidInput("name a symbol: %vstore_versions trades")
        return version_frame(self.connection.library(asked.library), symbol)

    @no_var_expand
    @line_magic
    def vstore_browse(self, line: str) -> Any:
        """Return the version browser of the library: ``%vstore_browse [-l LIBRARY] [SYMBOL]``."""
        asked = request.parse(line)
        return self.connection.library(asked.library).browse(request.unquoted(asked.sql.strip()) or None)

    def _run_line(self, line: str, scope: dict[str, Any]) -> Any:
        words = line.split()
        if not words:
            self.connection.show()
            return None
        if self._connect(words, scope):
            return None
        asked = request.parse(line)
        query = Query(self.connection, asked, scope, self.displaylimit)
        if asked.explain or asked.plot:
            return self._finish(query)
        table = query.fetch(all_rows=True)
        value = as_type(asked.type, table, query.result)
        query.show_lines()
        if asked.output is None:
            return value
        self.shell.push({asked.output: value})
        return None

    def _finish(self, query: Query) -> None:
        asked = query.asked
        table = query.fetch(all_rows=asked.output is not None or asked.plot)
        if asked.output is not None:
            self.shell.push({asked.output: as_type(asked.type, table, query.result)})
        if asked.no_display:
            query.show_lines()
        else:
            query.show_table()
        if asked.plot:
            query.show_plot()

    def _connect(self, words: list[str], scope: dict[str, Any]) -> bool:
        """Connect if the words name a store or a library; return whether they did."""
        place, library = words[0], words[1] if len(words) == 2 else None
        if len(words) > 2:
            if _URL.match(request.unquoted(place)) and not place.startswith("/*"):
                raise InvalidInput(
                    f"%vstore takes a URL and a library, and {words[2]} is too much: for storage options, or spaces "
                    'in a URL, write lib = vs.open("s3://…", {…})["eod"] and then %vstore lib'
                )
            return False
        known = scope.get(place)
        if isinstance(known, (Library, Store)):
            if library is not None and isinstance(known, Library):
                raise InvalidInput(f"{place!r} is a library already: %vstore {place}")
            self.connection.use(known.get_library(library) if library and isinstance(known, Store) else known)
        elif _URL.match(request.unquoted(place)):
            store = open_store(request.unquoted(place))
            self.connection.use(store if library is None else store.get_library(request.unquoted(library)))
        elif library is None and place.isidentifier() and place.upper() not in _STATEMENTS:
            names = [name for name, value in scope.items() if isinstance(value, (Library, Store))]
            raise InvalidInput(
                f"{place!r} is neither a URL, nor SQL, nor a Library or Store of this notebook.{nearest(place, names)} "
                "Connect with %vstore URL [LIBRARY], or %vstore lib for a variable"
            )
        else:
            return False
        self.connection.show()
        return True


_STATEMENTS = ("CHECKPOINT", "BEGIN", "COMMIT", "ROLLBACK", "ABORT")


def _matching(names: Any, pattern: str) -> Any:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InvalidInput(f"{pattern!r} cannot be compiled: {error}") from error
    return [compiled.search(name) is not None for name in names]


def version_frame(library: Library, symbol: str) -> Any:
    """Return what ``list_versions`` knows of a symbol as a DataFrame, one row per version, newest first."""
    import pandas as pd

    found = library.list_versions(symbol)
    return pd.DataFrame(
        {
            "version": [pair.version for pair in found],
            "created_at": [info.date for info in found.values()],
            "operation": [info.operation for info in found.values()],
            "rows": [info.row_count for info in found.values()],
            "stored_bytes": [info.stored_bytes for info in found.values()],
            "new_bytes": [info.new_bytes for info in found.values()],
            "author": [info.author for info in found.values()],
            "message": [info.message for info in found.values()],
            "snapshots": [", ".join(info.snapshots) for info in found.values()],
        }
    )
