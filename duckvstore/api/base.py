"""Handle: what the public methods of a library share, whichever module they are in.

Invariant: a handle holds no state of its own beside its caches, so any number of handles and processes may use a
library.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.api.items import VersionedItem
from duckvstore.concurrency import IO
from duckvstore.engine.maintenance import automatic
from duckvstore.engine.reading import catalogue, visible
from duckvstore.engine.writing import commits
from duckvstore.errors import InvalidInput, NoSuchSymbol
from duckvstore.format.stored import metadata as user_metadata

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version


class Handle:
    """A library of the engine, with what turns its answers into those of the public API."""

    def __init__(self, opened: OpenLibrary) -> None:
        """Wrap a library of the engine; use ``Store.get_library``."""
        self.open_library = opened
        automatic.attach(opened)

    def __dir__(self) -> list[str]:
        """Return what is there for users; the library of the engine is not."""
        return [name for name in super().__dir__() if name != "open_library"]

    @property
    def name(self) -> str:
        """The library's name."""
        return self.open_library.name

    @property
    def url(self) -> str:
        """Where the library lives."""
        return f"{self.open_library.objects.url.rstrip('/')}/{self.open_library.layout.root.rstrip('/')}"

    def _resolve(self, symbol: str, as_of: AsOf) -> Version:
        return catalogue.resolve(self.open_library, symbol, plain(as_of))

    def _newest(self, symbol: str) -> Version | None:
        """Return the newest version as a write of this handle would find it."""
        return visible.head(self.open_library, symbol).newest

    def _call(
        self, symbol: str, author: str | None, message: str | None, expected_version: int | None = None
    ) -> commits.Call:
        if not isinstance(symbol, str):  # by far the likeliest: symbol and data in the wrong order
            raise InvalidInput(f"the symbol is a {type(symbol).__name__}: give its name first, as text")
        self.open_library.layout.symbol_versions(symbol)  # refuses a name that cannot be stored
        for noun, text in (("author", author), ("message", message)):
            if text is not None and not isinstance(text, str):
                raise InvalidInput(f"{noun} must be text, not {type(text).__name__}")
            user_metadata.to_json(text, where=noun)
        wanted = plain(expected_version)
        if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int)):
            raise InvalidInput(f"expected_version={wanted!r} is no version number: give a whole number, or None")
        return commits.Call(symbol, author, message, wanted)

    def _looking_ahead(self, call: commits.Call) -> commits.Call:
        """Return ``call`` with what it will need of the object store on its way, while its value is encoded."""
        opened = self.open_library
        opened.look_at_options()
        return replace(call, ahead=IO.submit(commits.current_head, opened, call))

    def _commit(self, call: commits.Call, plan: Plan) -> Version | None:
        """Carry ``plan`` out and return the version that it made, or the newest one when it made none."""
        return commits.carry_out(self.open_library, call, plan)

    def _missing(self, symbol: str, purpose: str) -> NoSuchSymbol:
        return NoSuchSymbol(f"library {self.name!r} has no symbol {symbol!r} to {purpose}: write() it first")

    def _item(self, version: Version | None, data: Any = None) -> VersionedItem:
        if version is None:
            raise AssertionError("a plan that always drafts left nothing")  # unreachable: such plans always draft
        return VersionedItem.of(self.name, version, data)


def plain(as_of: Any) -> Any:
    """Return a whole number of any type (numpy's, as queries give them) as an int, anything else as it is."""
    try:
        return as_of if isinstance(as_of, bool) else operator.index(as_of)
    except TypeError:
        return as_of
