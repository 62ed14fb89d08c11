"""Temporary folders: one for each user of this process, and the end of those whose process is gone.

A folder is locked for as long as its process lives, and nobody removes a folder without its lock. The lock
is the system's, so that it ends with the process, and does not depend on process ids, which are reused.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duckvstore.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "duckvstore-sql-"
_UNFINISHED = "duckvstore-new-"
_LOCK = "lock"
# Elsewhere folders of killed processes stay.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


class Folder:
    """A temporary folder that is removed by ``close``, with its object, or by a later process."""

    def __init__(self, parent: Path | None = None) -> None:
        """Make it in ``parent`` (None: where the system has such folders).

        What killed processes have left there is removed before. Raises StorageUnavailable.
        """
        parent = parent or Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        with room(parent):
            made = tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent)
            lock = _lock(Path(made) / _LOCK, os.O_CREAT)
            # It has its name only from now on, so nobody finds it without its lock.
            self.path = parent / (PREFIX + Path(made).name.removeprefix(_UNFINISHED))
            Path(made).rename(self.path)
        self._removal = weakref.finalize(self, _remove, str(self.path), os.getpid(), lock)

    def leave(self) -> None:
        """Leave it to the process that this one was forked from."""
        found = self._removal.detach()
        if found is not None and found[2][2] is not None:
            os.close(found[2][2])  # the parent's own stays locked

    def close(self) -> None:
        """Remove it; a second call does nothing."""
        self._removal()


@contextlib.contextmanager
def room(place: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into StorageUnavailable with the way out."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"the folder for temporary files cannot be written ({place}: {error.strerror or error}): make room there, "
            "or set the variable TMPDIR to a larger folder before Python starts; then repeat the call"
        ) from error


def _lock(path: Path, flags: int = 0) -> int | None:
    """Return the descriptor of a lock that this process holds now; None: another one does, or there are no locks."""
    if _fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(parent: Path) -> None:
    """Remove folders in ``parent`` that nobody has locked; those of others, and of earlier releases, have no lock."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = _lock(path / _LOCK)
            if lock is not None:
                _remove(str(path), os.getpid(), lock)


def _remove(folder: str, pid: int, lock: int | None) -> None:
    if pid != os.getpid():  # a forked child does not own it
        return
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        with contextlib.suppress(OSError):
            os.close(lock)
