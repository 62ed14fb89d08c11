"""Objects as documents of a MongoDB collection, through pymongo.

Tested on mongomock, an imitation within the process; not against a real MongoDB.
One document makes an object visible, and its key is that document's ``_id``. What is too large for one
document is stored in chunks before that, and a chunk that no such document belongs to is never read.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from duckvstore import clock, forks
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
)
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.keys import batches, check_key
from duckvstore.objects.keyset import list_by_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures

COLLECTION_DEFAULT = "duckvstore_objects"
OPTIONS = ("collection", "password")

_CHUNK_BYTES = 15 * 1024**2  # a document may have 16 MiB
_LEFTOVER_AGE = timedelta(days=1)
_DELETE_KEYS_MAX = 1000
_READ_ATTEMPTS_MAX = 20
_DENIED_CODES = {13, 18, 8000}
_COLLECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
_SECRET_NAME = re.compile(r"[?&;][^=]*(?:pass|pwd|secret|token|authmechanismproperties)[^=]*=", re.IGNORECASE)
_PARTS = re.compile(
    r"(?P<server>mongodb(?:\+srv)?://[^/?#]+)/(?P<name>[^/?#.$ ]+)(?P<query>\?[^#]*)?(?:#(?P<rest>.*))?"
)

_Entries: TypeAlias = list[Listed]  # inside the class ``list`` is its method
_Keys: TypeAlias = list[str]
_T = TypeVar("_T")


class MongoObjects(ObjectStore):
    """Bytes under keys as documents of a collection."""

    def __init__(self, url: str, *, password: str | None = None, collection: str | None = None) -> None:
        """Remember where the objects are; nothing is asked of the server yet.

        Args:
            url: ``mongodb://user@host:port/database``, with pymongo's options after ``?``; ``#name`` at its end is
                the collection.
            password: of the user in the URL; it is in no URL, error or repr.
            collection: name of the collection, ``duckvstore_objects`` unless the URL has another. Chunks of large
                objects are in a second one, with ``_chunks`` after the name.

        Raises InvalidInput for a URL without a database or with a password.
        """
        self._password = password
        self._address, self._database, self._collection = _checked(url, collection)
        is_default = self._collection == COLLECTION_DEFAULT
        self.url = self._address if is_default else f"{self._address}#{self._collection}"
        self._clients: forks.PerProcess[Any] = forks.PerProcess()
        self._has_cleaned = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again."""
        return partial(MongoObjects, password=self._password), (self.url,)

    # -- the server -------------------------------------------------------------------------------------------------

    def _client(self) -> Any:
        return self._clients.get(lambda: self._asked("open", self._make_client))

    def _make_client(self) -> Any:
        from pymongo import MongoClient

        credentials: dict[str, Any] = {} if self._password is None else {"password": self._password}
        client: Any = MongoClient(self._address, **credentials)
        forks.close_with(self, client.close)
        return client

    def _named(self, name: str) -> Any:
        """Return a collection that is read where it is written, and acknowledged when it is durable."""
        from pymongo import ReadPreference, WriteConcern
        from pymongo.read_concern import ReadConcern

        return self._client()[self._database].get_collection(
            name,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )

    def _objects(self) -> Any:
        return self._named(self._collection)

    def _chunks(self) -> Any:
        return self._named(f"{self._collection}_chunks")

    def _asked(self, action: str, ask: Callable[[], _T]) -> _T:
        from pymongo.errors import PyMongoError

        try:
            return ask()
        except PyMongoError as error:
            raise self._mapped(error, action) from error

    def _mapped(self, error: Exception, action: str) -> DuckVStoreError:
        from pymongo.errors import ConfigurationError, InvalidURI

        reason = (str(error).splitlines() or [""])[0][:300]
        if self._password:
            reason = reason.replace(self._password, "…")
        what = f"{self.url}: cannot {action} ({reason or type(error).__name__})"
        if isinstance(error, (ConfigurationError, InvalidURI)):
            return InvalidInput(f"{what}: correct the URL or storage option 'password'")
        if getattr(error, "code", None) in _DENIED_CODES:
            return AccessDenied(f"{what}: correct the user or storage option 'password', or ask for permission")
        return StorageUnavailable(f"{what}: check that the server runs and can be reached, then repeat")

    # -- writing ------------------------------------------------------------------------------------------------------

    def _document(self, key: str, data: bytes) -> dict[str, Any]:
        """Return what makes the object visible; large data are stored in chunks first."""
        if len(data) <= _CHUNK_BYTES:
            return {"_id": key, "size_bytes": len(data), "data": bytes(data)}
        self._clean_once()
        # In order of time, and with the key, so that leftovers are found in the index alone.
        upload = f"{clock.utc_now():%Y%m%dT%H%M%S}-{clock.new_id()}"
        try:
            for number, start in enumerate(range(0, len(data), _CHUNK_BYTES)):
                chunk = {"_id": _chunk_id(upload, number, key), "data": bytes(data[start : start + _CHUNK_BYTES])}
                self._chunks().insert_one(chunk)
        except BaseException:
            self._remove_chunks_quietly(upload)
            raise
        return {"_id": key, "size_bytes": len(data), "upload": upload}

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        from pymongo.errors import DuplicateKeyError

        check_key(key)
        document = self._asked(f"write {key!r}", lambda: self._document(key, data))

        def replace() -> Any:
            query = {"_id": key}
            return self._objects().find_one_and_replace(query, document, projection={"upload": True}, upsert=True)

        def replace_or_repeat() -> Any:
            try:
                return replace()
            except DuplicateKeyError:  # another inserted it at the same moment: now it can be replaced
                return replace()

        replaced = self._asked(f"write {key!r}", replace_or_repeat)
        if replaced and "upload" in replaced:
            self._remove_chunks_quietly(replaced["upload"])

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        from pymongo.errors import DuplicateKeyError, PyMongoError

        check_key(key)
        document = self._asked(f"create {key!r}", lambda: self._document(key, data))
        try:
            self._objects().insert_one(document)
        except DuplicateKeyError as error:
            self._remove_own_chunks(document)
            raise AlreadyExists(f"{self.url} already has an object {key!r}") from error
        except PyMongoError as error:
            mapped = self._mapped(error, f"create {key!r}")
            if not _may_have_happened(error) or type(mapped) is not StorageUnavailable:
                raise mapped from error
            raise OutcomeUnknown(
                f"{self.url}: no definite answer to creating {key!r} came ({type(error).__name__}): it may or may not "
                "exist now; look before repeating"
            ) from error

    def _remove_own_chunks(self, document: dict[str, Any]) -> None:
        """Remove the chunks of a create that was refused, unless it was refused because of itself.

        pymongo repeats an insert whose answer was lost.
        """
        upload = document.get("upload")
        if upload is None:
            return
        found = self._asked("look", lambda: self._objects().find_one({"_id": document["_id"]}, {"upload": True}))
        if not found or found.get("upload") != upload:
            self._remove_chunks_quietly(upload)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        failures: DeleteFailures = []
        for batch in batches(keys, _DELETE_KEYS_MAX):
            try:
                self._asked("delete", partial(self._delete_batch, batch))
            except AccessDenied:
                raise
            except StorageUnavailable as error:
                failures += [DeleteFailure(key, str(error)) for key in batch]
        return failures

    def _delete_batch(self, keys: _Keys) -> None:
        objects = self._objects()
        large = objects.find({"_id": {"$in": keys}, "upload": {"$exists": True}}, {"upload": True})
        uploads = {document["_id"]: document["upload"] for document in large}
        objects.delete_many({"_id": {"$in": [key for key in keys if key not in uploads]}})
        for key, upload in uploads.items():
            # The very one that was seen: another may have replaced it, whose chunks must stay.
            if objects.delete_one({"_id": key, "upload": upload}).deleted_count:
                self._remove_chunks_quietly(upload)
            else:
                objects.delete_one({"_id": key})

    # -- chunks -------------------------------------------------------------------------------------------------------

    def _remove_chunks_quietly(self, upload: str) -> None:
        """Remove chunks; those that remain are removed by a later process."""
        from pymongo.errors import PyMongoError

        try:
            self._chunks().delete_many({"_id": {"$gte": f"{upload}/", "$lt": f"{upload}0"}})
        except PyMongoError:
            return

    def _clean_once(self) -> None:
        """Remove the chunks of writers and deleters that died, once they are too old to belong to a living one."""
        if self._has_cleaned:
            return
        self._has_cleaned = True
        too_old = f"{clock.utc_now() - _LEFTOVER_AGE:%Y%m%dT%H%M%S}"
        keys_by_upload: dict[str, str] = {}
        for chunk in self._chunks().find({"_id": {"$lt": too_old}}, {"_id": True}):
            upload, _, key = chunk["_id"].split("/", 2)
            keys_by_upload[upload] = key
        for upload, key in keys_by_upload.items():
            if self._objects().find_one({"_id": key, "upload": upload}, {"_id": True}) is None:
                self._remove_chunks_quietly(upload)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        check_key(key)
        for _ in range(_READ_ATTEMPTS_MAX):
            document = self._asked(f"read {key!r}", lambda: self._objects().find_one({"_id": key}))
            if document is None:
                raise NoSuchKey(f"{self.url} has no object {key!r}")
            size = document["size_bytes"]
            stop = size if length is None else min(size, start + max(length, 0))
            if start >= stop:
                return b""
            if "upload" not in document:
                return bytes(document["data"][start:stop])
            data = self._read_chunks(document["upload"], key, start, stop)
            if data is not None:
                return data
        raise Integrity(f"{self.url}: parts of {key!r} are missing: restore it from a backup, or delete it")

    def _read_chunks(self, upload: str, key: str, start: int, stop: int) -> bytes | None:
        """Return these bytes, or None when a chunk is gone: the object was replaced or deleted meanwhile."""
        first, last = start // _CHUNK_BYTES, (stop - 1) // _CHUNK_BYTES
        parts = []
        for number in range(first, last + 1):
            query = {"_id": _chunk_id(upload, number, key)}
            chunk = self._asked(f"read {key!r}", partial(self._chunks().find_one, query))
            if chunk is None:
                return None
            parts.append(chunk["data"])
        offset = first * _CHUNK_BYTES
        return b"".join(parts)[start - offset : stop - offset]

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        def fetch(start: str, stop: str, count: int) -> _Entries:
            def ask() -> _Entries:
                found = self._objects().find({"_id": {"$gte": start, "$lt": stop}}, {"size_bytes": True})
                return [Listed(each["_id"], each["size_bytes"]) for each in found.sort("_id", 1).limit(count)]

            return self._asked(f"list {prefix!r}", ask)

        return list_by_pages(fetch, prefix, start_after, limit, folders=folders)

    def now(self) -> datetime:  # noqa: D102
        answer = self._asked("ask for the time", lambda: self._client()[self._database].command("hello"))
        time: datetime = answer["localTime"]
        return time.replace(tzinfo=UTC)


def _chunk_id(upload: str, number: int, key: str) -> str:
    return f"{upload}/{number:06d}/{key}"


def _may_have_happened(error: Exception) -> bool:
    """Return whether a write that failed with ``error`` may have taken effect all the same."""
    from pymongo.errors import AutoReconnect, ExecutionTimeout, ServerSelectionTimeoutError, WTimeoutError
    from pymongo.errors import WriteConcernError as Unconfirmed

    if isinstance(error, ServerSelectionTimeoutError):
        return False
    return isinstance(error, (AutoReconnect, ExecutionTimeout, Unconfirmed, WTimeoutError))


def _checked(url: str, collection: str | None) -> tuple[str, str, str]:
    """Return the URL without its fragment, the database's name and the collection's."""
    user = url.partition("://")[2].rpartition("@")[0]
    if ":" in user or _SECRET_NAME.search(url):
        raise InvalidInput("a mongodb:// URL must not contain a password: pass it as storage option 'password'")
    match = _PARTS.fullmatch(url)
    if match is None:
        raise InvalidInput("the URL of a MongoDB store must look like mongodb://user@host:port/database")
    in_url = match["rest"]
    if in_url is not None and collection is not None and collection != in_url:
        raise InvalidInput(
            f"the URL names collection {in_url!r}, storage option 'collection' {collection!r}: leave one of them away"
        )
    name = in_url if in_url is not None else (COLLECTION_DEFAULT if collection is None else collection)
    if not isinstance(name, str) or not _COLLECTION_NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a collection: use letters, digits and '_', at most 60 of them")
    return f"{match['server']}/{match['name']}{match['query'] or ''}", match["name"], name
