"""Snapshots: named sets of versions, made, listed and deleted.

Invariant: a snapshot is never edited; deleting one frees what it held and removes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from duckvstore.api.base import Handle, plain
from duckvstore.api.items import SnapshotInfo
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import snapshots as engine_snapshots
from duckvstore.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection


class Snapshots(Handle):
    """The methods of a library about snapshots."""

    def snapshot(
        self,
        snapshot_name: str,
        metadata: Any = None,
        skip_symbols: Collection[str] | None = None,
        versions: Mapping[str, int] | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
    ) -> SnapshotInfo:
        """Name the newest version of every symbol as they are at one moment, or ``versions`` exactly.

        ``versions``: symbol to number; other symbols are then left out.
        Raises AlreadyExists for a taken name, InvalidInput for one that SQL reserves (main, temp, …), NoSuchSymbol and
        NoSuchVersion for what is named and missing.

        Examples:
            >>> lib.snapshot("january").versions
            {'trades': 1}
            >>> lib.read("trades", as_of="january").version
            1
        """
        if isinstance(skip_symbols, str):
            raise InvalidInput(f"skip_symbols is text: give a list of symbols, [{skip_symbols!r}]")
        if versions is not None and not isinstance(versions, Mapping):
            raise InvalidInput(f"versions is a {type(versions).__name__}: give a dict, {{symbol: version number}}")
        made = engine_snapshots.create(
            self.open_library,
            snapshot_name,
            metadata=metadata,
            skip_symbols=skip_symbols or (),
            versions=None if versions is None else {symbol: plain(number) for symbol, number in versions.items()},
            author=author,
            message=message,
        )
        return SnapshotInfo.of(self.name, made)

    @overload
    def list_snapshots(self, load_metadata: Literal[True] = True) -> dict[str, Any]: ...

    @overload
    def list_snapshots(self, load_metadata: Literal[False]) -> list[str]: ...

    def list_snapshots(self, load_metadata: bool = True) -> dict[str, Any] | list[str]:
        """Return snapshot names with their metadata, or (``load_metadata=False``) only the names."""
        if not load_metadata:
            return catalogue.snapshot_names(self.open_library)
        known = catalogue.snapshots(self.open_library, read=catalogue.snapshot_document)
        return {found.name: found.metadata for found in known}

    def delete_snapshot(self, snapshot_name: str) -> None:
        """Delete a snapshot; the versions it held stay. Raises NoSuchSnapshot."""
        engine_snapshots.delete(self.open_library, snapshot_name)
