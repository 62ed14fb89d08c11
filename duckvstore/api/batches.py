"""Batches: many items in one call, carried out at the same time.

Invariant: an item that fails does not stop the others; its place in the result holds a DataError. Items are versions
of their own, not a transaction: ``transaction`` makes several symbols visible together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from duckvstore.api.base import plain
from duckvstore.api.payloads import (
    DataError,
    DeleteRequest,
    ReadInfoRequest,
    ReadRequest,
    UpdatePayload,
    WriteMetadataPayload,
    WritePayload,
)
from duckvstore.api.reading import Reading
from duckvstore.api.upkeep import Upkeep
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.reading import cuts
from duckvstore.errors import DuckVStoreError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckvstore.api.items import SymbolDescription, VersionedItem
    from duckvstore.api.payloads import CallOptions, EditOptions, ReadOptions, WriteOptions
    from duckvstore.format.stored.documents import Version

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

LARGE_AT_ONCE = 8
ITEMS_BYTES_MAX = 256 * 2**20  # of those that are carried out at once, where they are more than that


class Batches(Upkeep, Reading):
    """The methods of a library that take many items."""

    def write_batch(
        self,
        payloads: Sequence[WritePayload],
        prune_previous_versions: bool = False,
        validate_index: bool | None = None,
        **options: Unpack[WriteOptions],
    ) -> list[VersionedItem | DataError]:
        """Write many symbols; ``options`` are those of ``write`` (author, message, allow_pickle …).

        Examples:
            >>> frames = {"a": pd.DataFrame({"x": [1]}), "b": pd.DataFrame({"x": [2, 3]})}
            >>> made = lib.write_batch([vs.WritePayload(name, frame) for name, frame in frames.items()])
            >>> [(item.symbol, item.row_count) for item in made]
            [('a', 1), ('b', 2)]
        """
        return self._each_symbol_once(
            payloads,
            WritePayload,
            lambda one: self.write(
                **_given(one),
                prune_previous_versions=prune_previous_versions,
                validate_index=validate_index,
                **options,
            ),
            "writing",
        )

    def write_pickle_batch(
        self,
        payloads: Sequence[WritePayload],
        prune_previous_versions: bool = False,
        **options: Unpack[EditOptions],
    ) -> list[VersionedItem | DataError]:
        """Write many objects; see ``write_pickle``, whose ``options`` they are."""
        return self.write_batch(payloads, prune_previous_versions, allow_pickle=True, **options)

    def append_batch(
        self,
        append_payloads: Sequence[WritePayload],
        prune_previous_versions: bool = False,
        validate_index: bool | None = None,
        **options: Unpack[EditOptions],
    ) -> list[VersionedItem | DataError]:
        """Append to many symbols; ``options`` are those of ``append``."""
        return self._each_symbol_once(
            append_payloads,
            WritePayload,
            lambda one: self.append(
                **_given(one),
                prune_previous_versions=prune_previous_versions,
                validate_index=validate_index,
                **options,
            ),
            "appending",
        )

    def update_batch(
        self,
        update_payloads: Sequence[UpdatePayload],
        upsert: bool = False,
        prune_previous_versions: bool = False,
        **options: Unpack[EditOptions],
    ) -> list[VersionedItem | DataError]:
        """Update many symbols; ``options`` are those of ``update``."""
        return self._each_symbol_once(
            update_payloads,
            UpdatePayload,
            lambda one: self.update(
                **_given(one), upsert=upsert, prune_previous_versions=prune_previous_versions, **options
            ),
            "updating",
        )

    def write_metadata_batch(
        self,
        write_metadata_payloads: Sequence[WriteMetadataPayload],
        prune_previous_versions: bool = False,
        **options: Unpack[EditOptions],
    ) -> list[VersionedItem | DataError]:
        """Give many symbols new metadata; ``options`` are those of ``write_metadata``."""
        return self._each_symbol_once(
            write_metadata_payloads,
            WriteMetadataPayload,
            lambda one: self.write_metadata(**_given(one), prune_previous_versions=prune_previous_versions, **options),
            "describing",
        )

    def delete_batch(
        self, delete_requests: Sequence[str | DeleteRequest], **options: Unpack[CallOptions]
    ) -> list[DataError | None]:
        """Delete many symbols, or with a DeleteRequest some of their versions; None for each that is done.

        ``options`` are those of ``delete``.
        """

        def one(request: str | DeleteRequest) -> None:
            if isinstance(request, str):
                self.delete(request, **options)
            else:
                self.delete(request.symbol, request.version_ids, **options)

        listed = list(delete_requests)
        _check((one for one in listed if not isinstance(one, str)), DeleteRequest)
        return _in_parallel(
            one, listed, lambda request: request if isinstance(request, str) else request.symbol, "deleting"
        )

    def read_batch(
        self, symbols: Sequence[str | ReadRequest], **options: Unpack[ReadOptions]
    ) -> list[VersionedItem | DataError]:
        """Read many symbols; newest versions are those of one moment.

        ``options``: of ``read``, for plain names. ``output_format`` and ``allow_pickle`` are also for the requests that
        say nothing of them.

        Examples:
            >>> found = lib.read_batch([vs.ReadRequest("trades", as_of=0), "nothing"])
            >>> found[0].row_count, found[1].exception_string[:20]
            (2, "library 'eod' has no")
        """
        wanted = [ReadRequest(one, **options) if isinstance(one, str) else one for one in symbols]
        _check(wanted, ReadRequest)
        output_format, allow_pickle = options.get("output_format"), options.get("allow_pickle", False)
        versions = self._cut(wanted)

        def one(item: tuple[ReadRequest, Version | DuckVStoreError]) -> VersionedItem:
            request, version = item
            request = replace(
                request,
                output_format=request.output_format or output_format,
                allow_pickle=request.allow_pickle or allow_pickle,
            )

            def resolved() -> Version:
                if isinstance(version, DuckVStoreError):
                    raise version
                return version

            return self._read_version(resolved, request)

        sizes = [version.logical_bytes for version in versions if not isinstance(version, DuckVStoreError)]
        items = list(zip(wanted, versions, strict=True))
        return _in_parallel(one, items, lambda item: item[0].symbol, "reading", sizes)

    def read_metadata_batch(self, symbols: Sequence[str | ReadInfoRequest]) -> list[VersionedItem | DataError]:
        """Read the metadata of many symbols, as of one moment where no version is named."""
        return self._of_versions(symbols, self._item)

    def get_description_batch(self, symbols: Sequence[str | ReadInfoRequest]) -> list[SymbolDescription | DataError]:
        """Describe many symbols, as of one moment where no version is named."""
        return self._of_versions(symbols, self._described)

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
        sizes = [_size_bytes(getattr(payload, "data", None)) for payload in listed]
        return _in_parallel(action, listed, lambda payload: payload.symbol, doing, sizes)


def _given(payload: Any) -> dict[str, Any]:
    """Return what an item says, by the names that the method for a single one has for it."""
    return {name: getattr(payload, name) for name in payload.__dataclass_fields__}


def _check(items: Iterable[object], kind: type) -> None:
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise InvalidInput(f"item {position} of the batch is a {type(item).__name__}: give a {kind.__name__}")
        _text(getattr(item, "symbol", None))


def _text(symbol: object) -> str:
    if not isinstance(symbol, str):
        raise InvalidInput(f"a symbol of the batch is a {type(symbol).__name__}: give its name, as text")
    return symbol


def _size_bytes(value: Any) -> int | None:
    """Return about how much memory a value takes; None: it is not known without a look at what is in it."""
    if value is None or isinstance(value, (bool, int, float)):
        return 0
    if isinstance(value, (str, bytes)):
        return len(value)
    try:
        if hasattr(value, "memory_usage") and hasattr(value, "columns"):
            return int(value.memory_usage().sum())
        size = value.estimated_size() if hasattr(value, "estimated_size") else value.nbytes
        return int(size)
    except Exception:  # noqa: BLE001 - of whatever type it is, or named like
        return None


def _in_parallel(
    action: Callable[[Item], Outcome],
    items: Sequence[Item],
    symbol: Callable[[Item], str],
    doing: str,
    sizes: Sequence[int | None] = (),
) -> list[Outcome | DataError]:
    """Return ``action(item)``, or a DataError, for every item in order; an interrupt starts no further one.

    ``sizes``: what items take in memory. So many are carried out at once that it is the distance of the object store
    that does not matter, but of large ones a few.
    """

    def one(item: Item) -> Outcome | DataError:
        try:
            return action(item)
        except DuckVStoreError as error:
            return DataError(symbol(item), error)

    largest = max((ITEMS_BYTES_MAX if size is None else size for size in sizes), default=0)
    at_once = min(PARALLEL_DOCUMENTS, max(LARGE_AT_ONCE, ITEMS_BYTES_MAX // max(1, largest)))
    return IO.map(one, items, at_once=at_once, doing=doing, unit="symbol", finishes=True)
