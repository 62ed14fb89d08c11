"""Objects in Google Cloud Storage or Azure Blob Storage, through obstore.

Tested with obstore's own memory, with its S3 client on a real server, and for Azure on the emulator Azurite where that
is installed; against real Google Cloud Storage and Azure it is untested. The time is this machine's: obstore tells no
server's. obstore does not outlive a fork.
A create is the service's own conditional PUT, never a check followed by a write, and is sent once: a request without
an answer may still take effect.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from duckvstore import clock
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.keys import batches, check_key, check_prefix, in_byte_order, start_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures

LISTING_ORDERS = ("bytes", "folders")

_PAGE_KEYS_MAX = 1000
_QUERY = re.compile(r"\?\S*")  # of a URL; a signature may be in it
_Keys: TypeAlias = list[str]  # inside the class ``list`` is its method


class CloudObjects(ObjectStore):
    """Bytes under keys in an obstore store."""

    def __init__(self, store: Any, url: str, *, once: Any = None, listing_order: str = "bytes") -> None:
        """Remember where the objects are; nothing is asked of the service yet.

        Args:
            store: an obstore store with the prefix that all keys are put under.
            url: what a person would recognise it by, without credentials.
            once: the same store, but one that sends every request only once (``max_retries`` 0): creates go through
                it. None where ``store`` itself is such a one, or is in memory.
            listing_order: ``bytes``, or ``folders`` for a service that lists one folder after the other, such as
                Azure with a hierarchical namespace.
        """
        if listing_order not in LISTING_ORDERS:
            raise InvalidInput(f"storage option 'listing_order' must be one of {LISTING_ORDERS}, not {listing_order!r}")
        self.url = url
        self._store = store
        self._once = store if once is None else once
        self._folder_order = listing_order == "folders"
        self._address: tuple[str, Mapping[str, Any]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again, with the options that were given, or from the stores it has."""
        if self._address is not None:
            return open_cloud, self._address
        rebuilt = partial(CloudObjects, once=self._once, listing_order=LISTING_ORDERS[self._folder_order])
        return rebuilt, (self._store, self.url)

    # -- the contract -----------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        import obstore
        from obstore.exceptions import BaseError

        check_key(key)
        options: dict[str, Any] = {}
        if length is not None and length <= 0:
            self._size(key)
            return b""
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        try:
            return bytes(obstore.get(self._store, key, options=options).bytes())  # type: ignore[arg-type]
        except (BaseError, OSError) as error:
            if options and not _is_missing(error) and self._size(key) <= start:
                return b""  # services refuse a range that starts at the end or past it
            raise self._mapped(error, f"read {key!r}", key) from _cause(error)

    def _size(self, key: str) -> int:
        import obstore
        from obstore.exceptions import BaseError

        try:
            return obstore.head(self._store, key)["size"]
        except (BaseError, OSError) as error:
            raise self._mapped(error, f"look for {key!r}", key) from _cause(error)

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        import obstore
        from obstore.exceptions import BaseError

        check_key(key)
        try:
            obstore.put(self._store, key, bytes(data), use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._mapped(error, f"write {key!r}") from _cause(error)

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        check_key(key)
        try:
            # In one request: a condition holds for a whole object, not for its parts.
            obstore.put(self._once, key, bytes(data), mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError) as error:
            raise AlreadyExists(f"{self.url} already has an object {key!r}") from _cause(error)
        except (BaseError, OSError) as error:
            mapped = self._mapped(error, f"create {key!r}")
            if type(mapped) is StorageUnavailable and not _is_missing(error):
                mapped = OutcomeUnknown(
                    f"{self.url}: no definite answer to creating {key!r} came ({_reason(error)}): it may or may not "
                    "exist now; look before repeating"
                )
            raise mapped from _cause(error)

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        check_prefix(prefix)
        start_after, is_past_all = start_below(prefix, start_after, folders=folders)
        if is_past_all or (limit is not None and limit <= 0):
            return iter(())
        entries = self._list_folder(prefix) if folders else self._list_keys(prefix, start_after, limit)
        return islice((entry for entry in entries if entry.key > (start_after or "")), limit)

    def _list_folder(self, prefix: str) -> Iterator[Listed]:
        """Yield the entries of one folder; the whole is asked for, since the service offers no start in it."""
        import obstore
        from obstore.exceptions import BaseError

        base = prefix[: prefix.rfind("/") + 1]
        try:
            found = obstore.list_with_delimiter(self._store, base.rstrip("/") or None)
        except (BaseError, OSError) as error:
            raise self._mapped(error, f"list {prefix!r}") from _cause(error)
        entries = [Listed(item["path"], item["size"]) for item in found["objects"]]
        entries += [Listed(f"{path.rstrip('/')}/", None) for path in found["common_prefixes"]]
        entries.sort(key=lambda entry: entry.key)
        yield from (entry for entry in entries if entry.key.startswith(prefix))

    def _list_keys(self, prefix: str, start_after: str | None, limit: int | None) -> Iterator[Listed]:
        offset = start_after.rstrip("/") if start_after else None  # as obstore would take it, a little earlier
        found = self._pages(prefix, offset, limit)
        if self._folder_order:
            found = in_byte_order(found, prefix, offset, lambda folder: self._list_keys(folder, None, None))
        previous = start_after or ""
        for entry in found:
            if entry.key <= (start_after or ""):
                continue
            if entry.key <= previous:
                raise Unsupported(
                    f"{self.url} lists {entry.key!r} after {previous!r}, not in byte order of keys: if it lists folder "
                    "by folder, set storage option listing_order='folders', else use another service"
                )
            previous = entry.key
            yield entry

    def _pages(self, prefix: str, offset: str | None, limit: int | None) -> Iterator[Listed]:
        """Yield the keys with this prefix in the service's own order.

        obstore takes whole folders as prefixes: part of a name becomes a start a little before the name.
        """
        import obstore
        from obstore.exceptions import BaseError

        base, name = prefix[: prefix.rfind("/") + 1], prefix[prefix.rfind("/") + 1 :]
        if offset is None and len(name) > 1 and not self._folder_order:
            offset = prefix[:-1]
        try:
            size = min(limit or _PAGE_KEYS_MAX, _PAGE_KEYS_MAX)
            pages = obstore.list(self._store, base.rstrip("/") or None, offset=offset, chunk_size=size)
            for item in chain.from_iterable(pages):
                if item["path"].startswith(prefix):
                    yield Listed(item["path"], item["size"])
                elif item["path"] > prefix and not self._folder_order:
                    return
        except (BaseError, OSError) as error:
            raise self._mapped(error, f"list {prefix!r}") from _cause(error)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        return [failure for batch in batches(keys, _PAGE_KEYS_MAX) for failure in self._delete_batch(batch)]

    def _delete_batch(self, keys: _Keys) -> DeleteFailures:
        """Delete together, and where that fails (at the first key that is missing, on some services) one by one."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.delete(self._store, keys)
        except (BaseError, OSError):
            failures: DeleteFailures = []
            for key in keys:
                try:
                    obstore.delete(self._store, key)
                except (BaseError, OSError) as error:
                    if not _is_missing(error):
                        failures.append(DeleteFailure(key, _reason(error)))
            return failures
        return []

    def now(self) -> datetime:  # noqa: D102
        return clock.utc_now()

    def _mapped(self, error: Exception, action: str, key: str | None = None) -> DuckVStoreError:
        from obstore import exceptions

        what = f"{self.url}: cannot {action} ({_reason(error)})"
        if _is_missing(error):
            if key is not None:
                return NoSuchKey(f"{self.url} has no object {key!r}")
            return StorageUnavailable(f"{what}: create the bucket or container, or correct its name")
        if isinstance(error, (exceptions.UnauthenticatedError, exceptions.PermissionDeniedError, PermissionError)):
            return AccessDenied(f"{what}: correct the credentials in storage_options, or ask for permission")
        if isinstance(error, exceptions.NotSupportedError):
            return Unsupported(f"{what}: the service does not offer it, use another")
        if isinstance(error, exceptions.InvalidPathError):
            return InvalidInput(f"{what}: choose another key or prefix")
        return StorageUnavailable(f"{what}: check the address, the credentials and the network, then repeat")


def open_cloud(url: str, options: Mapping[str, Any]) -> CloudObjects:
    """Return the objects below ``gs://bucket/prefix`` or ``az://container/prefix``.

    Args:
        url: the address, without credentials.
        options: ``listing_order``, ``client_options``, ``retry_config``, and what obstore's GCSStore or AzureStore
            take (``service_account_path``, ``account_name``, ``account_key``, ``sas_key``, ``endpoint``, …).

    Raises InvalidInput for what is not such a URL, or an option that obstore does not know.
    """
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import AzureStore, GCSStore

    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    form = "gs://bucket/prefix" if scheme == "gs" else "az://container/prefix"
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidInput(f"a {scheme}:// URL must look like {form}: pass credentials as storage_options")
    prefix = parts.path.strip("/")
    if not parts.netloc or (prefix and any(segment in {"", ".", ".."} for segment in prefix.split("/"))):
        raise InvalidInput(f"{url!r} is no URL of a bucket: it must look like {form}")
    shown = f"{scheme}://{parts.netloc}/{prefix}".rstrip("/")
    settings = dict(options)
    order = settings.pop("listing_order", "bytes")
    make: Any = GCSStore if scheme == "gs" else AzureStore
    try:
        store = make(parts.netloc, prefix=prefix or None, **settings)
        once = make(parts.netloc, prefix=prefix or None, **{**settings, "retry_config": {"max_retries": 0}})
    except UnknownConfigurationKeyError as error:
        raise InvalidInput(f"{shown} does not know a storage option: {_reason(error)}") from error
    except (BaseError, TypeError, ValueError, OSError) as error:  # the message may hold what was in an option
        raise InvalidInput(
            f"{shown}: a storage option is missing or has no such value ({type(error).__name__}): give what obstore's "
            f"{make.__name__} takes"
        ) from None
    opened = CloudObjects(store, shown, once=once, listing_order=order)
    opened._address = (url, dict(options))  # noqa: SLF001 - what it takes to open it in another process
    return opened


def _is_missing(error: BaseException) -> bool:
    from obstore.exceptions import NotFoundError

    return isinstance(error, (NotFoundError, FileNotFoundError))


def _reason(error: BaseException) -> str:
    """Return the first line of obstore's message, without the queries of URLs."""
    lines = str(error).strip().splitlines()
    return _QUERY.sub("", lines[0])[:300] if lines else type(error).__name__


def _cause(error: BaseException) -> BaseException | None:
    """Return the error to show as the cause: none where its text has a URL with a query."""
    return None if _QUERY.search(str(error)) else error
