"""Objects as files below a folder of this machine or of a shared file system.

A file appears under its key complete and durable or not at all, by rename (put) or link (create)
from a temporary file of the same file system; no key and no symbolic link leads outside the folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore import clock
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.keys import check_key, check_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures

TEMPORARY_FOLDER = ".partial+"  # '+' is in no key, so neither a key nor a listing can meet it
_TEMPORARY_SECONDS_MAX = 24 * 3600
_FOLDER_ATTEMPTS_MAX = 100
_DURABLE_FOLDERS_MAX = 10_000
_LEGAL_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_NOT_SCANNABLE = re.compile(r"[*?\[\]{}\\=]")  # DuckDB globs these, and reads a=b as a Hive partition column
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
_Names: TypeAlias = list[str]  # inside the class ``list`` is its method
_FULL = {errno.ENOSPC, errno.EDQUOT}


class LocalObjects(ObjectStore):
    """Bytes under keys as files below ``root``, which is made at the first write."""

    is_near = True

    def __init__(self, root: str | os.PathLike[str], *, fsync: bool = True) -> None:
        """Remember where the objects are.

        Args:
            root: the folder; need not exist. Symbolic links on the way to it are followed now, once.
            fsync: whether a write waits until file and folder are on the disk. Without, a power cut may lose
                writes that were acknowledged.
        """
        try:
            self._root = os.path.realpath(os.fspath(root))
        except FileNotFoundError as error:
            raise InvalidInput(
                f"{os.fspath(root)!r} is a relative path, and the folder that this process works in was deleted: give "
                "an absolute path"
            ) from error
        self._fsync = fsync
        self._has_cleaned = False
        self._durable_folders: set[str] = set()
        self.url = f"file://{self._root}"
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise InvalidInput(f"{self._root} is not a folder: name a folder to keep the store in")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again."""
        return partial(LocalObjects, fsync=self._fsync), (self._root,)

    def __repr__(self) -> str:
        """Return the class and the folder."""
        return f"LocalObjects({self._root!r})"

    # -- paths ----------------------------------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        check_key(key)
        self._refuse_links(key)
        return f"{self._root}/{key}"

    def _refuse_links(self, key: str) -> None:
        """Raise Integrity when a symbolic link is on the way: a store made by others could lead anywhere by it."""
        end = key.find("/")
        while True:
            path = f"{self._root}/{key if end < 0 else key[:end]}"
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                return  # missing or not to be seen: the operation itself says so
            if stat.S_ISLNK(mode):
                raise Integrity(
                    f"{path} is a symbolic link; a store has only files and folders of its own: "
                    "replace the link by what it points to"
                )
            if end < 0:
                return
            end = key.find("/", end + 1)

    @contextmanager
    def _mapping(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._mapped(error, action, key) from error

    def _mapped(self, error: OSError, action: str, key: str) -> DuckVStoreError:
        what = f"{self.url}: cannot {action} {key!r}"
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            return AccessDenied(f"{what} ({error.strerror}): change the permissions of {self._root}")
        if error.errno in _FULL:
            return StorageUnavailable(f"{what}: the disk or quota of {self._root} is full: make room, then repeat")
        if isinstance(error, (NotADirectoryError, IsADirectoryError, FileExistsError)):
            return InvalidInput(f"{what}: a file stands where a folder is needed, or the reverse: choose another key")
        if error.errno == errno.ENAMETOOLONG:
            return InvalidInput(f"{what}: the path is too long for this file system: use a shorter folder or key")
        return StorageUnavailable(f"{what} ({error.strerror or error}): check the disk or the mount of {self._root}")

    # -- writing --------------------------------------------------------------------------------------------------

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it, and make their names durable.

        Also those of folders that are there: another process may have made one and not have come further.
        """
        is_there = os.path.isdir(folder)
        if is_there and (folder in self._durable_folders or len(folder) <= len(self._root)):
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        if not is_there:
            with suppress(FileExistsError):
                os.mkdir(folder)
        self._sync_folder(parent)
        if len(self._durable_folders) >= _DURABLE_FOLDERS_MAX:
            self._durable_folders.clear()
        self._durable_folders.add(folder)

    def _sync_folder(self, folder: str) -> None:
        if not self._fsync:
            return
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return  # a delete removed it again: no name is left in it that could be lost
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _write_temporary(self, data: bytes) -> str:
        folder = f"{self._root}/{TEMPORARY_FOLDER}"
        self._make_folder(folder)
        if not self._has_cleaned:
            self._has_cleaned = True
            _remove_old_files(folder)
        path = f"{folder}/{clock.new_id()}"
        try:
            with open(path, "xb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                if self._fsync:
                    os.fsync(file.fileno())
        except BaseException:
            _unlink_quietly(path)
            raise
        return path

    def _place(self, temporary: str, path: str, *, must_be_new: bool) -> None:
        """Give the temporary file its name; a delete that removes the empty folder meanwhile is outlasted."""
        folder = os.path.dirname(path)
        for attempt in range(_FOLDER_ATTEMPTS_MAX):
            try:
                self._make_folder(folder)
                if must_be_new:
                    os.link(temporary, path, follow_symlinks=False)
                else:
                    os.replace(temporary, path)
            except FileNotFoundError:
                self._durable_folders.discard(folder)
                if attempt == _FOLDER_ATTEMPTS_MAX - 1:
                    raise
            else:
                return

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        path = self._path(key)
        with self._mapping("write", key):
            temporary = self._write_temporary(data)
            try:
                self._place(temporary, path, must_be_new=False)
            except BaseException:
                _unlink_quietly(temporary)
                raise
            self._sync_folder(os.path.dirname(path))

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        path = self._path(key)
        with self._mapping("create", key):
            if os.path.lexists(path):
                self._sync_folder(os.path.dirname(path))
                raise self._taken(key)
            temporary = self._write_temporary(data)
            try:
                self._link(temporary, path, key)
            finally:
                _unlink_quietly(temporary)
        try:
            self._sync_folder(os.path.dirname(path))
        except OSError as error:
            raise OutcomeUnknown(
                f"{self.url}: {key!r} was created, but the disk did not confirm it ({error.strerror}): "
                "check the disk, then look whether it is there"
            ) from error

    def _link(self, temporary: str, path: str, key: str) -> None:
        try:
            self._place(temporary, path, must_be_new=True)
        except FileExistsError as error:
            self._sync_folder(os.path.dirname(path))  # the caller builds on what is there: it must not be lost
            raise self._taken(key) from error
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise Unsupported(
                    f"{self.url}: this file system has no hard links ({error.strerror}), on which creating an object "
                    "exactly once rests: keep the store on another file system"
                ) from error
            raise

    def _taken(self, key: str) -> AlreadyExists:
        return AlreadyExists(f"{self.url} already has an object {key!r}")

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        failures: DeleteFailures = []
        paths = {key: self._path(key) for key in keys}
        folders: set[str] = set()
        for key, path in paths.items():
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except IsADirectoryError:
                continue
            except OSError as error:
                if not os.path.isdir(path):  # some systems answer EPERM for a folder, which is not an object
                    failures.append(DeleteFailure(key, error.strerror or str(error)))
                continue
            else:
                folders.add(self._remove_empty_folders(os.path.dirname(path)))
        for folder in folders:
            with self._mapping("delete", next(iter(paths))):
                self._sync_folder(folder)
        return failures

    def _remove_empty_folders(self, folder: str) -> str:
        """Remove a folder and those above it as far as they are empty; return the first that stays."""
        while len(folder) > len(self._root):
            try:
                os.rmdir(folder)
            except OSError:
                return folder  # in use, gone already, or not for this process to remove: an empty folder does no harm
            self._durable_folders.discard(folder)
            folder = os.path.dirname(folder)
        return folder

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        path = self._path(key)
        with self._mapping("read", key):
            try:
                with open(path, "rb", buffering=0) as file:
                    if start:
                        file.seek(start)
                    return file.read() if length is None else _read_up_to(file.fileno(), max(length, 0))
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NoSuchKey(f"{self.url} has no object {key!r}") from error

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        check_prefix(prefix)
        folder, _, name_start = prefix.rpartition("/")
        base = f"{folder}/" if folder else ""
        with self._mapping("list", prefix):
            if folder:
                self._refuse_links(folder)
            # The filter by prefix is needed at the first level only: everything below starts with it.
            walk = self._walk(base, name_start, start_after or "", folders=folders)
            yield from islice(walk, limit)

    def _walk(self, base: str, name_start: str, after: str, *, folders: bool) -> Iterator[Listed]:
        """Yield the objects whose key starts with ``base + name_start``, in byte order.

        A folder's keys all start with ``name/``, so sorting names with that slash gives byte order of whole
        keys, and a folder whose last possible key is not after ``after`` need not be entered.
        """
        for name in self._names(base, name_start):
            key = base + name
            if not name.endswith("/"):
                if key > after and (size := self._size(key)) is not None:
                    yield Listed(key, size)
            elif folders:
                if key > after and next(self._walk(key, "", "", folders=False), None):
                    yield Listed(key, None)
            elif key > after or after.startswith(key):
                yield from self._walk(key, "", after, folders=False)

    def _names(self, base: str, name_start: str) -> _Names:
        """Return the sorted names in a folder, those of folders with a slash at their end; links are left out."""
        names = []
        try:
            with os.scandir(f"{self._root}/{base}") as entries:
                for entry in entries:
                    if not entry.name.startswith(name_start) or not _LEGAL_NAME.fullmatch(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        names.append(entry.name + "/")
                    elif entry.is_file(follow_symlinks=False):
                        names.append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(names)

    def _size(self, key: str) -> int | None:
        try:
            return os.lstat(f"{self._root}/{key}").st_size
        except FileNotFoundError:
            return None  # deleted since the folder was read

    def now(self) -> datetime:  # noqa: D102
        return clock.utc_now()

    def uri(self, key: str) -> str | None:  # noqa: D102
        path = self._path(key)
        return None if _NOT_SCANNABLE.search(self._root) else path


def _read_up_to(descriptor: int, length: int) -> bytes:
    """Read ``length`` bytes or to the end; one read may give less."""
    chunks = []
    while length > 0:
        chunk = os.read(descriptor, min(length, 1 << 30))
        if not chunk:
            break
        chunks.append(chunk)
        length -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unlink_quietly(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _remove_old_files(folder: str) -> None:
    """Remove leftovers of writers that died, once they are too old to be a living one's."""
    too_old = clock.utc_now().timestamp() - _TEMPORARY_SECONDS_MAX
    with suppress(OSError):
        for path in Path(folder).iterdir():
            if path.stat().st_mtime < too_old:
                _unlink_quietly(str(path))
