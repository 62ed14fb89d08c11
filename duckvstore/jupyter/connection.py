"""What the magics are connected to: a library, or a whole store.

SQL without ``-l`` runs on the one handle that ``%vstore`` named last, so its temporary tables stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore import markup
from duckvstore.api.library import Library
from duckvstore.api.store import Store
from duckvstore.errors import InvalidInput
from duckvstore.jupyter import display

if TYPE_CHECKING:
    from duckvstore.api.overview import Overview

LISTED_MAX = 10


class Connection:
    """The handle in use, and the libraries of its store that were asked for by name."""

    def __init__(self) -> None:
        """Start unconnected."""
        self.handle: Library | Store | None = None
        self._libraries: dict[str, Library] = {}

    def use(self, handle: Library | Store) -> None:
        """Run SQL on ``handle`` from now on."""
        self.handle = handle
        self._libraries = {}

    def target(self, library: str | None = None) -> Library | Store:
        """Return the handle to run SQL on: the one in use, or a library of its store. Raises InvalidInput."""
        if library is not None:
            return self.library(library)
        if self.handle is None:
            raise InvalidInput(
                "not connected to a store: %vstore URL [LIBRARY] (such as %vstore s3://bucket/prefix eod), or %vstore "
                "lib for a Library that the notebook has"
            )
        return self.handle

    def library(self, name: str | None = None) -> Library:
        """Return the library in use, or the one of this name in the same store. Raises InvalidInput, NoSuchLibrary."""
        handle = self.target()
        if name is None and isinstance(handle, Library):
            return handle
        if isinstance(handle, Library):
            if name == handle.name:
                return handle
            store = handle.store
        else:
            store = handle
        if name is None:
            names = store.list_libraries()
            if len(names) != 1:
                raise InvalidInput(
                    f"say which library with -l: {store.url} has {_listed(names, 'library', 'libraries')}"
                )
            name = names[0]
        if name not in self._libraries:
            self._libraries[name] = store.get_library(name)
        return self._libraries[name]

    def overview(self) -> Overview | None:
        """Return a view of the library for completion, without a request that could fail."""
        found = [self.handle] if isinstance(self.handle, Library) else []
        library = next(iter([*found, *self._libraries.values()]), None)
        session = None if self.handle is None else self.handle.session
        return None if library is None else library.overview(session)

    def show(self) -> None:
        """Display what is connected."""
        lines = self.lines()
        display.publish(markup.lines(lines), "\n".join(lines))

    def lines(self) -> list[str]:
        """Return what is connected, in words."""
        handle = self.handle
        if handle is None:
            return ["not connected: %vstore URL [LIBRARY], or %vstore lib for a Library that the notebook has"]
        if isinstance(handle, Store):
            names = handle.list_libraries()
            return [f"store {handle.url} · {_listed(names, 'library', 'libraries')}"]
        symbols = handle.overview().symbols()
        snapshots = handle.list_snapshots(load_metadata=False)
        has = f"{_listed(symbols, 'symbol', 'symbols')} · {_listed(snapshots, 'snapshot', 'snapshots')}"
        return [f"library {handle.name} at {handle.url} · {has}"]


def _listed(names: list[str], one: str, many: str) -> str:
    if not names:
        return f"no {many}"
    more = ", …" if len(names) > LISTED_MAX else ""
    return f"{len(names):,} {one if len(names) == 1 else many}: {', '.join(names[:LISTED_MAX])}{more}"
