"""Batches: many items in one call, carried out at the same time.

Invariant: an item that fails does not stop the others; its place in the result holds a DataError. Items are versions
of their own, not a transaction: ``transaction`` makes several symbols visible together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.engine import cuts
from duckvstore.errors import DuckVStoreError, InvalidInput
from duckvstore.handles.base import plain
from duckvstore.handles.reading import Reading
from duckvstore.handles.writing import Writing
from duckvstore.payloads import DataError, ReadInfoRequest, ReadRequest, UpdatePayload, WritePayload
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckvstore.format.documents import Version
    from duckvstore.items import SymbolDescription, VersionedItem

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

PARALLEL_ITEMS = 8


class Batches(Writing, Reading):
    """The methods of a library that take many items."""

    def write_batch(
        self,
        payloads: Sequence[WritePayload],
        prune_previous_versions: bool = False,
        **options: Any,
    ) -> list[VersionedItem | DataError]:
        """Write many symbols; ``options`` are those of ``write`` (author, message, validate_index)."""
        return self._each_symbol_once(
            payloads,
            WritePayload,
            lambda one: self.write(one.symbol, one.data, one.metadata, prune_previous_versions, **options),
            "writing",
        )

    def append_batch(
        self,
        payloads: Sequence[WritePayload],
        prune_previous_versions: bool = False,
        **options: Any,
    ) -> list[VersionedItem | DataError]:
        """Append to many symbols; ``options`` are those of ``append``."""
        return self._each_symbol_once(
            payloads,
            WritePayload,
            lambda one: self.append(one.symbol, one.data, one.metadata, prune_previous_versions, **options),
            "appending",
        )

    def update_batch(
        self, payloads: Sequence[UpdatePayload], *, upsert: bool = False, **options: Any
    ) -> list[VersionedItem | DataError]:
        """Update many symbols; ``options`` are those of ``update``."""
        return self._each_symbol_once(
            payloads,
            UpdatePayload,
            lambda one: self.update(one.symbol, one.data, one.metadata, upsert, one.date_range, **options),
            "updating",
        )

    def write_metadata_batch(self, payloads: Sequence[WritePayload], **options: Any) -> list[VersionedItem | DataError]:
        """Give many symbols new metadata; ``options`` are those of ``write_metadata``."""
        return self._each_symbol_once(
            payloads,
            WritePayload,
            lambda one: self.write_metadata(one.symbol, one.metadata, **options),
            "describing",
        )

    def delete_batch(self, symbols: Sequence[str], **options: Any) -> list[DataError | None]:
        """Delete many symbols; None stands for each that is deleted. ``options`` are those of ``delete``."""

        def one(symbol: str) -> None:
            self.delete(symbol, **options)

        return _in_parallel(one, [_text(symbol) for symbol in symbols], lambda symbol: symbol, "deleting")

    def read_batch(self, requests: Sequence[str | ReadRequest], **options: Any) -> list[VersionedItem | DataError]:
        """Read many symbols; newest versions are those of one moment. ``options``: of ``read``, for plain names."""
        wanted = [ReadRequest(one, **options) if isinstance(one, str) else one for one in requests]
        _check(wanted, ReadRequest)
        versions = self._cut(wanted)

        def one(item: tuple[ReadRequest, Version | DuckVStoreError]) -> VersionedItem:
            request, version = item

            def resolved() -> Version:
                if isinstance(version, DuckVStoreError):
                    raise version
                return version

            return self._read_version(
                resolved,
                columns=request.columns,
                date_range=request.date_range,
                row_range=request.row_range,
                where=request.where,
                output_format=request.output_format,
            )

        return _in_parallel(one, list(zip(wanted, versions, strict=True)), lambda item: item[0].symbol, "reading")

    def read_metadata_batch(self, requests: Sequence[str | ReadInfoRequest]) -> list[VersionedItem | DataError]:
        """Read the metadata of many symbols, as of one moment where no version is named."""
        return self._of_versions(requests, self._item)

    def get_description_batch(self, requests: Sequence[str | ReadInfoRequest]) -> list[SymbolDescription | DataError]:
        """Describe many symbols, as of one moment where no version is named."""
        return self._of_versions(requests, self._described)

    def _of_versions(
        self, requests: Sequence[str | ReadInfoRequest], action: Callable[[Version], Outcome]
    ) -> list[Outcome | DataError]:
        wanted = [ReadInfoRequest(one) if isinstance(one, str) else one for one in requests]
        _check(wanted, ReadInfoRequest)
        return [
            DataError(request.symbol, found) if isinstance(found, DuckVStoreError) else action(found)
            for request, found in zip(wanted, self._cut(wanted), strict=True)
        ]

    def _cut(self, wanted: Sequence[ReadRequest] | Sequence[ReadInfoRequest]) -> list[Version | DuckVStoreError]:
        return cuts.resolve_cut(self.open_library, [(one.symbol, plain(one.as_of)) for one in wanted])

    def _each_symbol_once(
        self, payloads: Sequence[Item], kind: type, action: Callable[[Item], Outcome], doing: str
    ) -> list[Outcome | DataError]:
        listed: list[Any] = list(payloads)
        _check(listed, kind)
        names = [payload.symbol for payload in listed]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise InvalidInput(f"symbol {twice[0]!r} is in the batch more than once, in no order: give each once")
        return _in_parallel(action, listed, lambda payload: payload.symbol, doing)


def _check(items: Iterable[object], kind: type) -> None:
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise InvalidInput(f"item {position} of the batch is a {type(item).__name__}: give a {kind.__name__}")
        _text(getattr(item, "symbol", None))


def _text(symbol: object) -> str:
    if not isinstance(symbol, str):
        raise InvalidInput(f"a symbol of the batch is a {type(symbol).__name__}: give its name, as text")
    return symbol


def _in_parallel(
    action: Callable[[Item], Outcome], items: Sequence[Item], symbol: Callable[[Item], str], doing: str
) -> list[Outcome | DataError]:
    """Return ``action(item)``, or a DataError, for every item in order; an interrupt starts no further one."""

    def one(item: Item) -> Outcome | DataError:
        try:
            return action(item)
        except DuckVStoreError as error:
            return DataError(symbol(item), error)

    with ThreadPoolExecutor(PARALLEL_ITEMS, thread_name_prefix="duckvstore-batch") as pool:
        futures = [pool.submit(one, item) for item in items]
        try:
            return [future.result() for future in progress(futures, doing, "symbol", len(futures))]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
