"""Bytes under keys: the only code that knows boto3, SQLAlchemy, pymongo, obstore or the disk.

A URL names one object store, the same in every process; an ambiguous URL or option is
refused.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from duckvstore import clock, forks
from duckvstore.errors import AlreadyExists, InvalidInput, StorageUnavailable, Unsupported, nearest
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.local import LocalObjects
from duckvstore.objects.memory import MemoryObjects

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DeleteFailure", "Listed", "ObjectStore", "checked_options", "open_objects", "self_test"]

ENTRY_POINT_GROUP = "duckvstore.objects"
SCHEMES = ("file", "memory", "s3", "az", "gs", "mongodb", "mongodb+srv", "sql+<SQLAlchemy's scheme>")
PROBE_FOLDER = ".duckvstore-probe"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_UNEXPANDED = re.compile(r"^~|\$(?:[A-Za-z_]|\{)")
_memories: dict[str, MemoryObjects] = {}
_memories_lock = forks.lock()


def open_objects(url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Return the object store that ``url`` names.

    Args:
        url: ``s3://bucket/prefix``, ``file:///folder``, a plain path, ``memory://name`` (the same objects for the
            same name within this process; without a name fresh ones), ``sql+<SQLAlchemy's URL>``,
            ``mongodb://host/database``, ``gs://bucket/prefix``, ``az://container/prefix``, or the scheme of an
            installed entry point of group ``duckvstore.objects``.
        storage_options: for S3 the attributes of ``objects.s3.S3Options``; for a folder ``fsync``; for SQL
            ``password`` and ``table``; for MongoDB ``password`` and ``collection``; see ``objects.cloud`` for the
            others.

    Nothing is asked of a server here. Raises InvalidInput for an unknown scheme or option, naming the valid ones, and
    Unsupported where a library is not installed, naming the extra.
    """
    text = os.fspath(url) if isinstance(url, (str, os.PathLike)) else None
    options = dict(checked_options(storage_options) or {})
    if not isinstance(text, str) or not text:
        raise InvalidInput(f"a store's URL is text such as 's3://bucket/prefix' or a path, not {url!r}")
    match = _SCHEME.match(text)
    if match is None:
        return _open_path(text, options)
    scheme = match[1].lower()
    opener = _openers().get("sql" if scheme.startswith("sql+") else scheme)
    if opener is not None:
        return opener(text, options)
    from importlib import metadata  # it loads much, for what is rare

    installed = {point.name: point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in installed:
        opened = installed[scheme].load()(text, options)
        if not isinstance(opened, ObjectStore):
            raise InvalidInput(f"the package for {scheme}:// gave a {type(opened).__name__}, which is no ObjectStore")
        return opened
    schemes = ", ".join(f"{name}://" for name in [*SCHEMES, *sorted(installed)])
    raise InvalidInput(f"no object store is known for {scheme}://: use {schemes} or a path{_hint(scheme)}")


def _openers() -> dict[str, Callable[[str, dict[str, Any]], ObjectStore]]:
    return {
        "az": _open_cloud,
        "file": lambda url, options: _open_path(_path_of_file_url(url), options, is_literal=True),
        "gs": _open_cloud,
        "memory": _open_memory,
        "mongodb": _open_mongo,
        "mongodb+srv": _open_mongo,
        "s3": _open_s3,
        "sql": _open_sql,
    }


def _hint(scheme: str) -> str:
    if scheme in {"s3a", "s3n"}:
        return " (s3:// is meant by s3a:// and s3n://)"
    if scheme.partition("+")[0] in {"sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql"}:
        return f" (a database is sql+{scheme}://…)"
    return ""


def checked_options(options: Mapping[str, Any] | None, name: str = "storage_options") -> Mapping[str, Any] | None:
    """Return the argument ``name`` of options. Raises InvalidInput unless it is a mapping or None; never shows it."""
    if options is not None and not isinstance(options, Mapping):
        raise InvalidInput(
            f"{name} is a {type(options).__name__}: give a dict of names and values, such as {{'region': …}}"
        )
    return options


def _check_options(options: Mapping[str, Any], valid: list[str], url: str) -> None:
    for name in options:
        if name not in valid:
            known = f"the valid ones are {', '.join(sorted(valid))}" if valid else "it has none"
            raise InvalidInput(f"{url} has no storage option {name!r}: {known}.{nearest(str(name), valid)}")


def _open_s3(url: str, options: dict[str, Any]) -> ObjectStore:
    from duckvstore.objects.s3 import S3Objects, S3Options

    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidInput("an s3:// URL must not contain credentials: pass them as storage_options")
    if not parts.netloc or parts.query or parts.fragment:
        raise InvalidInput(f"{url!r} is no S3 URL: it must look like s3://bucket/prefix")
    prefix = parts.path.strip("/")
    if prefix and any(segment in {"", ".", ".."} for segment in prefix.split("/")):
        raise InvalidInput(f"{url!r} has an empty or dotted segment: it must look like s3://bucket/prefix")
    shown = f"s3://{parts.netloc}/{prefix}".rstrip("/")
    _check_options(options, [field.name for field in dataclasses.fields(S3Options)], shown)
    return S3Objects(parts.netloc, prefix, S3Options(**options))


def _open_sql(url: str, options: dict[str, Any]) -> ObjectStore:
    _need("sqlalchemy", "sql", "sql+…:// URLs")
    from duckvstore.objects import sql

    url = sql.URL_PREFIX + url[len(sql.URL_PREFIX) :]
    _check_options(options, [*sql.OPTIONS], "a sql+…:// URL")
    _check_texts(options, ("password", "table"))
    return sql.SqlObjects(url, **options)


def _open_mongo(url: str, options: dict[str, Any]) -> ObjectStore:
    _need("pymongo", "mongo", "mongodb:// URLs")
    from duckvstore.objects import mongo

    _check_options(options, [*mongo.OPTIONS], "a mongodb:// URL")
    _check_texts(options, ("password", "collection"))
    return mongo.MongoObjects(url, **options)


def _open_cloud(url: str, options: dict[str, Any]) -> ObjectStore:
    _need("obstore", "cloud", "gs:// and az:// URLs")
    from duckvstore.objects.cloud import open_cloud

    return open_cloud(url, options)


def _need(module: str, extra: str, what: str) -> None:
    """Raise Unsupported unless the library of an extra is installed; only what is missing itself is reported so."""
    if find_spec(module) is None:
        raise Unsupported(f"{what} need the package {module}: pip install 'duckvstore[{extra}]'")


def _check_texts(options: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if options.get(name) is not None and not isinstance(options[name], str):
            raise InvalidInput(f"storage option {name!r} must be text, not {type(options[name]).__name__}")


def _path_of_file_url(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/") or parts.query or parts.fragment:
        raise InvalidInput(f"{url!r} is no URL of a folder: it must look like file:///folder (three slashes)")
    return path


def _open_path(path: str, options: dict[str, Any], *, is_literal: bool = False) -> ObjectStore:
    if "\0" in path:
        raise InvalidInput(f"{path!r} is no path: it contains a NUL character")
    if not is_literal and re.match(r"(?:s3[an]?|file|memory|https?|gs|az|mongodb|sql\+[a-z0-9+]+):", path):
        raise InvalidInput(f"{path!r} looks like a URL with slashes missing: write scheme://… or ./{path}")
    if not is_literal and _UNEXPANDED.search(path):
        raise InvalidInput(
            f"{path!r} contains ~ or a variable, which is not expanded: pass os.path.expanduser(…) or "
            "os.path.expandvars(…) of it"
        )
    _check_options(options, ["fsync"], path)
    fsync = options.get("fsync", True)
    if not isinstance(fsync, bool):
        raise InvalidInput(f"storage option 'fsync' must be True or False, not {fsync!r}")
    return LocalObjects(path, fsync=fsync)


def _open_memory(url: str, options: dict[str, Any]) -> ObjectStore:
    name = url.removeprefix("memory://").rstrip("/")
    _check_options(options, [], url)
    if not name:
        return MemoryObjects()
    with _memories_lock:
        return _memories.setdefault(name, MemoryObjects(name))


def self_test(objects: ObjectStore) -> None:
    """Check on the real object store what safety rests on; run when a library is made.

    Writes a few small objects below ``.duckvstore-probe/`` and deletes them again. Raises Unsupported with the
    reason when conditional create, reading back, the case of names or the order of listings is not as it must be.
    """
    folder = f"{PROBE_FOLDER}/{clock.new_id()}/"
    names = ["A", "a", "c-d", "c.d", "c/d", "c0"]  # in byte order; in a walk of folders c/d would come first
    try:
        for name in names:
            try:
                objects.create(folder + name, name.encode())
            except AlreadyExists as error:
                raise Unsupported(
                    f"{objects.url} ignores the case of names: {name!r} and another name were the same object: keep "
                    "the store on a file system that tells them apart"
                ) from error
        _check_create_once(objects, folder + "a")
        listed = [entry.key for entry in objects.list(folder)]
        if listed != [folder + name for name in names]:
            shown = [key.removeprefix(folder) for key in listed]
            raise Unsupported(
                f"{objects.url} does not list keys in byte order (expected {names}, found {shown}): use another server "
                "or bucket type"
            )
        if next(iter(objects.list(folder, start_after=folder + "a", limit=1))).key != folder + "c-d":
            raise Unsupported(f"{objects.url} does not start a listing where it was asked to: use another server")
    finally:
        with suppress(StorageUnavailable):  # without the right to delete it stays: a few bytes that nobody reads
            objects.delete([folder + name for name in names])


def _check_create_once(objects: ObjectStore, key: str) -> None:
    try:
        objects.create(key, b"second")
    except AlreadyExists:
        pass
    else:
        raise Unsupported(
            f"{objects.url} ignores If-None-Match: a second create of the same key succeeded, so two writers could "
            "overwrite each other's versions: use a server with conditional writes"
        )
    if objects.read(key) != b"a":
        raise Unsupported(f"{objects.url} refused a second create, but its bytes are there: use another server")
