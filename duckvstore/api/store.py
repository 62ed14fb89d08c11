"""Store: a URL under which libraries live.

Invariant: opening a store makes no request, so that every error has the call that caused it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import unquote, urlsplit

from duckvstore import markup
from duckvstore.api.library import Library
from duckvstore.api.sql_handle import SqlHandle
from duckvstore.engine.library import libraries as engine_libraries
from duckvstore.engine.library import options as engine_options
from duckvstore.engine.library.open_library import OpenLibrary
from duckvstore.engine.maintenance import automatic
from duckvstore.errors import AlreadyExists, DuckVStoreError, InvalidInput, NoSuchLibrary, printable
from duckvstore.objects import checked_options, open_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.api.payloads import OptionChanges
    from duckvstore.objects.base import ObjectStore

URL_VARIABLE = "DUCKVSTORE_URL"
URL_DEFAULT = "./vstore"
LIBRARIES_SHOWN_MAX = 50


class Store(SqlHandle):
    """Libraries under one URL. Safe to use from many threads."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        segments_url: str | None = None,
        segments_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap an object store; use ``open``."""
        super().__init__()
        self.objects = objects
        self.segments_url = segments_url
        self._segments_options = segments_options
        self._segment_objects: dict[str, ObjectStore] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again: its URL, with the storage options that were given."""
        options = None if self._segments_options is None else dict(self._segments_options)
        return partial(Store, segments_url=self.segments_url, segments_options=options), (self.objects,)

    def __copy__(self) -> Store:
        """Return another handle on the same store."""
        return Store(self.objects, segments_url=self.segments_url, segments_options=self._segments_options)

    @property
    def url(self) -> str:
        """The URL, without credentials."""
        return self.objects.url

    def __repr__(self) -> str:
        return f"Store({self.url})"

    def _repr_html_(self) -> str:
        """Return the names of libraries as HTML in which they are text."""
        try:
            names = self.list_libraries()
        except DuckVStoreError as error:
            return markup.page(markup.facts(repr(self), []), markup.lines([str(error)]))
        shown, more = names[:LIBRARIES_SHOWN_MAX], len(names) - LIBRARIES_SHOWN_MAX
        columns = [markup.Column("library")]
        left_out = [f"… and {more:,} more: list_libraries()"] if more > 0 else []
        lines = markup.lines([f"{len(names):,} {'library' if len(names) == 1 else 'libraries'}", *left_out])
        return markup.page(markup.facts(repr(self), []), markup.table(columns, [[name] for name in shown]), lines)

    def __getitem__(self, name: str) -> Library:
        return self.get_library(name)

    def __contains__(self, name: str) -> bool:
        return self.has_library(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_libraries())

    def get_library(self, name: str, create_if_missing: bool = False) -> Library:
        """Return a library, made first when it is missing and ``create_if_missing``. Raises NoSuchLibrary.

        Examples:
            >>> store.get_library("research", create_if_missing=True).name
            'research'
        """
        try:
            return Library(engine_libraries.open_library(self.objects, name, self._open_segments))
        except NoSuchLibrary:
            if not create_if_missing:
                raise
        try:
            return self.create_library(name)
        except AlreadyExists:  # another process made it meanwhile
            return Library(engine_libraries.open_library(self.objects, name, self._open_segments))

    def create_library(self, name: str, **options: Unpack[OptionChanges]) -> Library:
        """Make a library, after a real test that the object store creates objects conditionally.

        ``options``: those of ``Library.set_options``, in force from the start.

        Raises AlreadyExists, InvalidInput for a name that SQL reserves (main, temp, memory …), Unsupported when the
        object store fails the test, and Conflict while there are remains of a deleted library of that name
        (``delete_library`` removes them).

        Examples:
            >>> store.create_library("ticks", keep_last=10).options.keep_last
            10
        """
        made = engine_libraries.create_library(
            self.objects, name, segments_url=self.segments_url, open_segments=self._open_segments
        )
        if options:
            engine_options.change(made, options)
        return Library(made)

    def _open_segments(self, url: str) -> ObjectStore:
        """Return the object store at the URL of a library's segments, which the reader must have agreed to."""
        with self._lock:
            if url not in self._segment_objects:
                self._check_consent(url)
                self._segment_objects[url] = open_objects(url, self._segments_options)
            return self._segment_objects[url]

    def _check_consent(self, url: str) -> None:
        """Refuse to follow a document to another scheme or host, or another folder of this machine.

        Whoever wrote it may want this reader's files, or to have them overwritten.
        """
        if self._segments_options is not None or url == self.segments_url:
            return
        here, there = urlsplit(self.objects.url), urlsplit(url)
        is_local = here.scheme in ("", "file")
        if (here.scheme, here.netloc) != (there.scheme, there.netloc) or (
            is_local and not _lies_under(there.path, here.path)
        ):
            raise InvalidInput(
                f"a library of {self.objects.url} keeps its segments at {url!r}, which is another place: if you trust "
                f"it, open the store with segments_url={url!r}, or with segments_options={{…}} (the storage options of "
                "that place, {} for none) to follow any library of it; on the command line by --segments-url"
            )

    def delete_library(self, name: str) -> None:
        """Remove a library with all its symbols, versions and snapshots, for good. Raises NoSuchLibrary."""
        automatic.end_folds_of(self.objects.url, name)
        engine_libraries.delete_library(self.objects, name, self._open_segments)

    def has_library(self, name: str) -> bool:
        """Return whether there is a library of this name."""
        try:
            engine_libraries.open_library(self.objects, name, self._open_segments)
        except NoSuchLibrary:
            return False
        return True

    def list_libraries(self) -> list[str]:
        """Return the names of the libraries, sorted.

        Examples:
            >>> store.list_libraries()
            ['eod']
        """
        return engine_libraries.list_libraries(self.objects)

    def _sql_names(self) -> tuple[Mapping[str, OpenLibrary], OpenLibrary | None, str]:
        return StoreLibraries(self.objects, self._open_segments), None, self.url


class Combined(SqlHandle):
    """Libraries of any stores under names of the caller's choice, for SQL over all of them; see ``combine``."""

    def __init__(self, libraries: Mapping[str, Library]) -> None:
        """Combine ``libraries``; makes no request."""
        super().__init__()
        self._libraries = {name: library.open_library for name, library in libraries.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the libraries."""
        return Combined, ({name: Library(opened) for name, opened in self._libraries.items()},)

    def __copy__(self) -> Combined:
        """Return another handle on the same libraries."""
        return Combined({name: Library(opened) for name, opened in self._libraries.items()})

    def __repr__(self) -> str:
        return f"Combined({printable(', '.join(self._libraries), is_line=True)})"

    def _sql_names(self) -> tuple[Mapping[str, OpenLibrary], OpenLibrary | None, str]:
        return self._libraries, None, ", ".join(self._libraries)


def _lies_under(path: str, folder: str) -> bool:
    """Return whether ``path`` is within ``folder``, by what links and dots in them lead to."""
    found, root = (os.path.realpath(name) for name in (unquote(path), folder))
    return os.path.commonpath((found, root)) == root


def combine(libraries: Mapping[str, Library]) -> Combined:
    """Return a handle for SQL over libraries of several stores: other buckets, endpoints, profiles or kinds.

    ``libraries``: the name of each in SQL. ``combine({"live": a["eod"], "lab": b["eod"]}).sql("FROM live.trades")``.
    """
    for name, library in libraries.items():
        if not isinstance(name, str) or not isinstance(library, Library):
            raise InvalidInput(f"combine() takes a name and a library each, not {name!r}: {type(library).__name__}")
    return Combined(libraries)


class StoreLibraries(Mapping[str, OpenLibrary]):
    """The libraries of a store by name, each opened when it is first asked for and kept open until it is deleted."""

    def __init__(self, objects: ObjectStore, open_segments: engine_libraries.OpenSegments | None = None) -> None:
        """Look up in ``objects``; makes no request."""
        self._objects = objects
        self._open_segments = open_segments
        self._opened: dict[str, OpenLibrary] = {}

    def __getitem__(self, name: str) -> OpenLibrary:
        opened = self._opened.get(name)
        if opened is None or opened.is_gone:
            opened = self._opened[name] = engine_libraries.open_library(self._objects, name, self._open_segments)
            automatic.attach(opened)
        return opened

    def __iter__(self) -> Iterator[str]:
        return iter(engine_libraries.list_libraries(self._objects))

    def __len__(self) -> int:
        return len(engine_libraries.list_libraries(self._objects))


def open(  # noqa: A001
    url: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    segments_url: str | os.PathLike[str] | None = None,
    segments_options: Mapping[str, Any] | None = None,
) -> Store:
    """Return the store at ``url``; makes no request.

    ``url``: ``s3://bucket/prefix``, ``file:///folder``, a plain path or ``memory://``; None means
    ``$DUCKVSTORE_URL``, else ``./vstore``. ``storage_options`` of S3: ``endpoint_url``, ``profile``, ``region``,
    ``access_key_id``, ``secret_access_key``, ``session_token`` and more, as ``duckvstore.objects`` lists them.
    ``segments_url``: libraries made through this store keep their segments there (a URL of any kind) and only their
    documents at ``url``; each library remembers it, and a reader who gives it too agrees to that place.
    ``segments_options``: storage options of that place, which also say that the reader trusts a library to send it
    there; needed where it is of another scheme or host, or another folder of this machine.
    Raises InvalidInput for a URL or an option that is not known.

    Examples:
        >>> store = vs.open("memory://example")
        >>> store.create_library("eod").write("prices", pd.DataFrame({"price": [10.0, 11.5]})).version
        0
    """
    checked_options(segments_options, "segments_options")
    objects = open_objects(url or os.environ.get(URL_VARIABLE) or URL_DEFAULT, storage_options)
    if segments_url is None:
        return Store(objects, segments_options=segments_options)
    there = open_objects(segments_url, segments_options)
    return Store(objects, segments_url=there.url, segments_options=segments_options)
