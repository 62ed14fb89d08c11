"""What a name in SQL may mean: a symbol at a version, a difference, a table of the catalogue, or a dataframe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.engine.reading import listings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.errors import DuckVStoreError
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.statement import Reference

    #: returns (database, schema, name), in lower case, of the tables and views that the session has in DuckDB
    SessionTables: TypeAlias = Callable[[], set[tuple[str, str, str]]]
    #: resolves symbols of one library in one cut, as ``cuts.find_cut`` does
    Resolver: TypeAlias = Callable[[OpenLibrary, Sequence[tuple[str, AsOf]]], list[Version | DuckVStoreError | None]]


def nothing_pinned(_library: OpenLibrary) -> Pinned:
    """Return what there is without a transaction."""
    return listings.NOTHING_PINNED


@dataclass(frozen=True, slots=True)
class Symbol:
    """A reference to a version."""

    library: OpenLibrary
    version: Version


@dataclass(frozen=True, slots=True)
class Frame:
    """A reference to rows in memory: a dataframe of the caller, called ``name``."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A reference to a table of the catalogue, of some libraries; ``is_of_store``: with a column that names them."""

    name: str
    libraries: tuple[OpenLibrary, ...]
    is_of_store: bool = False
    #: gives what a transaction sees of the symbols of a library that it has touched
    pinned: Callable[[OpenLibrary], Pinned] = nothing_pinned


@dataclass(frozen=True, slots=True)
class Difference:
    """A reference to what changed between two versions, whose rows are matched by the columns ``key``."""

    library: OpenLibrary
    before: Version
    after: Version
    key: tuple[str, ...]


Meaning: TypeAlias = Symbol | Difference | Catalogue | Frame | None


@dataclass(slots=True)
class SymbolLookup:
    """A reference that is a symbol if one of that name exists; ``is_certain``: it can be nothing else.

    ``outcome``: the version, or why there is none. ``is_deleted``: the symbol is there no more.
    """

    reference: Reference
    library: OpenLibrary
    name: str
    as_of: AsOf
    is_certain: bool
    outcome: Version | DuckVStoreError | None = None
    is_deleted: bool = False
