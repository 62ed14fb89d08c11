"""Store: a URL under which libraries live.

Invariant: opening a store makes no request, so that every error has the call that caused it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from duckvstore.engine import library as engine_library
from duckvstore.engine.library import OpenLibrary
from duckvstore.errors import AlreadyExists, NoSuchLibrary
from duckvstore.library import Library, caller_scope
from duckvstore.objects import open_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckvstore.objects.base import ObjectStore
    from duckvstore.sql.result import Result
    from duckvstore.sql.session import Session

URL_VARIABLE = "DUCKVSTORE_URL"
URL_DEFAULT = "./vstore"


class Store:
    """Libraries under one URL. Safe to use from many threads."""

    def __init__(self, objects: ObjectStore) -> None:
        """Wrap an object store; use ``open``."""
        self.objects = objects
        self._session: Session | None = None
        self._lock = Lock()

    @property
    def url(self) -> str:
        """The URL, without credentials."""
        return self.objects.url

    def __repr__(self) -> str:
        return f"Store({self.url})"

    def __getitem__(self, name: str) -> Library:
        return self.get_library(name)

    def __contains__(self, name: str) -> bool:
        return self.has_library(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_libraries())

    def get_library(self, name: str, *, create_if_missing: bool = False) -> Library:
        """Return a library, made first when it is missing and ``create_if_missing``. Raises NoSuchLibrary."""
        try:
            return Library(engine_library.open_library(self.objects, name))
        except NoSuchLibrary:
            if not create_if_missing:
                raise
        try:
            return self.create_library(name)
        except AlreadyExists:  # another process made it meanwhile
            return Library(engine_library.open_library(self.objects, name))

    def create_library(self, name: str) -> Library:
        """Make a library, after a real test that the object store creates objects conditionally.

        Raises AlreadyExists, Unsupported when the object store fails the test, and Conflict while there are remains of
        a deleted library of that name (``delete_library`` removes them).
        """
        return Library(engine_library.create_library(self.objects, name))

    def delete_library(self, name: str) -> None:
        """Remove a library with all its symbols, versions and snapshots, for good. Raises NoSuchLibrary."""
        engine_library.delete_library(self.objects, name)

    def has_library(self, name: str) -> bool:
        """Return whether there is a library of this name."""
        try:
            engine_library.open_library(self.objects, name)
        except NoSuchLibrary:
            return False
        return True

    def list_libraries(self) -> list[str]:
        """Return the names of the libraries, sorted."""
        return engine_library.list_libraries(self.objects)

    @property
    def session(self) -> Session:
        """The SQL session of this handle, in which every library is a schema."""
        from duckvstore.sql.session import Session

        with self._lock:
            if self._session is None:
                self._session = Session(StoreLibraries(self.objects), default=None)
            return self._session

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Result:
        """Run DuckDB SQL over any libraries: ``FROM eod.trades AT VERSION 3``; see ``Library.sql``."""
        return self.session.sql(query, parameters, scope=caller_scope())


class StoreLibraries(Mapping[str, OpenLibrary]):
    """The libraries of a store by name, each opened when it is first asked for and kept open until it is deleted."""

    def __init__(self, objects: ObjectStore) -> None:
        """Look up in ``objects``; makes no request."""
        self._objects = objects
        self._opened: dict[str, OpenLibrary] = {}

    def __getitem__(self, name: str) -> OpenLibrary:
        opened = self._opened.get(name)
        if opened is None or opened.is_gone:
            opened = self._opened[name] = engine_library.open_library(self._objects, name)
        return opened

    def __iter__(self) -> Iterator[str]:
        return iter(engine_library.list_libraries(self._objects))

    def __len__(self) -> int:
        return len(engine_library.list_libraries(self._objects))


def open(  # noqa: A001
    url: str | os.PathLike[str] | None = None, storage_options: Mapping[str, Any] | None = None
) -> Store:
    """Return the store at ``url``; makes no request.

    ``url``: ``s3://bucket/prefix``, ``file:///folder``, a plain path or ``memory://``; None means
    ``$DUCKVSTORE_URL``, else ``./vstore``. ``storage_options`` of S3: ``endpoint_url``, ``profile``, ``region``,
    ``access_key_id``, ``secret_access_key``, ``session_token`` and more, as ``duckvstore.objects`` lists them.
    Raises InvalidInput for a URL or an option that is not known.
    """
    return Store(open_objects(url or os.environ.get(URL_VARIABLE) or URL_DEFAULT, storage_options))
