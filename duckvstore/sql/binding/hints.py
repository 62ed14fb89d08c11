"""What to add to an error of DuckDB about a table: the nearest names, or why a known name failed.

Nothing here raises; what cannot be learned is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.engine.reading import catalogue, listings
from duckvstore.errors import DuckVStoreError, nearest
from duckvstore.sql.binding.namespace import matching, of_reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.syntax.statement import Statement

NEAREST = " Names in the store:"


def of_names(
    statement: Statement,
    failure: Failure,
    libraries: Mapping[str, OpenLibrary],
    default: OpenLibrary | None,
    views: Iterable[str],
    pinned: Callable[[OpenLibrary], Pinned],
) -> str:
    """Return a sentence about the table that ``failure`` misses, or nothing.

    ``views``: the session's over symbols. ``pinned``: what its transaction sees of the symbols that it has touched.
    """
    if failure.message.startswith("SET schema"):
        return (
            "\nUSE is for databases of DuckDB: name a snapshot or library with the table, as in FROM eod.trades; "
            "USE memory goes back to the symbols"
        )
    if failure.missing is None or failure.missing[0] not in ("Table", "View", "Schema"):
        return ""
    schemas = [reference.parts[-2] for reference in statement.references if len(reference.parts) > 1]
    reserved = next(filter(None, (of_reserved(schema, libraries, default) for schema in schemas)), "")
    if reserved:
        return f"\n{reserved}"
    missing = failure.missing[1]
    symbols, snapshots = _known_names(libraries, default, pinned)
    for name in statement.maybe_names:
        if matching(name, symbols):
            reason = statement.problem or "write a query of its own"
            return f"\n{name} is a symbol, but this kind of statement cannot use one: {reason}"
    if matching(missing, symbols):
        return f"\n{missing} is a symbol, but this looks among DuckDB's own tables: DESCRIBE {missing}, FROM {missing}"
    namesakes = [name for name in symbols if name.rpartition(".")[2].casefold() == missing.casefold()]
    if default is None and namesakes:
        return f"{NEAREST} {' or '.join(map(repr, namesakes[:3]))}."
    if default is None and failure.missing[0] == "Schema":
        return f"\nThe store has no library {missing!r} either: store.create_library({missing!r}) makes one"
    schema, _, _ = missing.rpartition(".")
    found = nearest(missing, symbols)
    if schema and default is not None:
        own = f" This session is of library {default.name!r}: store.sql is for several libraries."
        found = nearest(schema, snapshots) or own
    found = found or nearest(missing, views)
    return found.replace(" Did you mean", NEAREST).replace("?", ".")


def _known_names(
    libraries: Mapping[str, OpenLibrary], default: OpenLibrary | None, pinned: Callable[[OpenLibrary], Pinned]
) -> tuple[list[str], list[str]]:
    """Return what a table could be called, and what a schema could be, as far as that can be learned."""

    def symbols(library: OpenLibrary) -> list[str]:
        return [symbol for symbol, _ in listings.heads_with(library, pinned(library))]

    try:
        if default is not None:
            return symbols(default), catalogue.snapshot_names(default)
        return [f"{name}.{symbol}" for name in libraries for symbol in symbols(libraries[name])], []
    except DuckVStoreError:
        return [], []  # this only words a better error
