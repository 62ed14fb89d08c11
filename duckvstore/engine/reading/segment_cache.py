"""Bytes of segments on this machine's disk, shared by all processes of a user.

A segment never changes, and what is kept of it is named by the sha256 that a document says, so an entry is never out of
date. It appears complete or not at all (by rename), it is never changed, and whoever reads it checks its digest: what a
crash, a full disk or somebody else left behind is fetched again. An entry may go at any time, the least recently
used first; who needs a file for longer has a hard link to it. Nothing raises for what a disk may do: what cannot be
kept is not kept.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from duckvstore import clock
from duckvstore.errors import InvalidInput
from duckvstore.formatting import size

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER_VARIABLE = "DUCKVSTORE_CACHE"
SIZE_VARIABLE = "DUCKVSTORE_CACHE_SIZE"
OFF = ("off", "0", "no", "false")
BYTES_MAX = 10 * 2**30
# Of the disk's free room, this much is left to others.
FREE_SHARE_KEPT = 0.05
FREE_BYTES_KEPT = 2**30
# Entries are removed down to this share of the limit, so that it is not done for each one.
SHARE_KEPT = 0.9
_UNFINISHED = ".new-"
_UNFINISHED_SECONDS_MAX = 3600
_TOUCHED_AGAIN_SECONDS = 60
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_NAME = re.compile(r"[0-9a-f]{64}(?:\.[a-z0-9-]+)?")  # documents say the first part, and may say anything
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, repr=False)
class CacheInfo:
    """The cache of segments: its ``folder`` (None: it is off), its entries, their bytes and the limit of these."""

    folder: str | None
    entry_count: int
    size_bytes: int
    size_bytes_max: int

    def __repr__(self) -> str:
        """Return ``12 entries, 94 MB of at most 10.7 GB in /home/me/.cache/duckvstore/segments-1000``."""
        if self.folder is None:
            return "the cache is off"
        count = f"{self.entry_count:,} entr{'y' if self.entry_count == 1 else 'ies'}"
        return f"{count}, {size(self.size_bytes)} of at most {size(self.size_bytes_max)} in {self.folder}"


class _Entry(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


class SegmentCache:
    """Bytes by name below a folder, of at most ``bytes_max`` together. Safe to use from many threads and processes."""

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        """Make nothing yet: a folder in ``folder`` for this user, and nobody else, comes with the first entry."""
        self.folder = folder / f"segments-{os.getuid() if hasattr(os, 'getuid') else 'own'}"
        self.bytes_max = bytes_max
        #: names of entries whose bytes this process has verified
        self.verified: set[str] = set()
        self._is_usable: bool | None = None
        self._room = 0  # bytes that may be put before the entries are counted again

    def usable_folder(self) -> Path | None:
        """Return the folder, made if need be; None where there can be none, or it is another user's."""
        if self._is_usable is None:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = self.folder.lstat()
            except OSError:
                self._is_usable = False
            else:
                is_own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
                self._is_usable = stat.S_ISDIR(found.st_mode) and is_own
        return self.folder if self._is_usable else None

    def read(self, name: str) -> bytes | None:
        """Return the bytes of an entry, which are still to be verified; None: there is none."""
        path = self._path(name)
        try:
            data = path.read_bytes()
            _touch(path)
        except OSError:
            return None
        return data

    def has(self, name: str) -> bool:
        """Return whether there is an entry, whose bytes may be wrong all the same."""
        return self._path(name).is_file()

    def file(self, name: str) -> Path | None:
        """Return the file of an entry, which may be wrong and may go at any time; None: there is none."""
        path = self._path(name)
        try:
            _touch(path)
        except OSError:
            return None
        return path

    def link(self, name: str, target: Path) -> bool:
        """Make ``target`` another name of an entry, which stays when the entry goes; return whether it is there."""
        path = self._path(name)
        try:
            target.hardlink_to(path)
            _touch(path)
        except OSError:
            return target.exists()
        return True

    def put(self, name: str, data: bytes) -> bool:
        """Keep verified bytes under ``name``; return whether they are there now."""
        if len(data) > self.bytes_max // 4 or self.usable_folder() is None:
            return False
        self._room -= len(data)
        if self._room < 0:
            self.shrink(len(data))
        path = self._path(name)
        if not _NAME.fullmatch(name):
            return False
        made = path.with_name(f"{path.name}{_UNFINISHED}{clock.short_id()}")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            made.write_bytes(data)
            made.replace(path)
            self.verified.add(name)
        except OSError as error:
            self._unlink(made)
            if error.errno in _FULL:
                self.shrink(self.bytes_max // 2)
            return False
        return True

    def drop(self, name: str) -> None:
        """Remove an entry that was not what it should be."""
        self._unlink(self._path(name))

    def info(self) -> CacheInfo:
        """Return what there is."""
        found = list(self._entries())
        return CacheInfo(str(self.folder), len(found), sum(entry.size_bytes for entry in found), self.bytes_max)

    def clear(self) -> None:
        """Remove every entry; statements that run keep the files that they have."""
        self.shrink(self.bytes_max)

    def shrink(self, room_bytes: int) -> None:
        """Remove what was used least recently where there is less room than ``room_bytes`` below the limit.

        Two processes that do it at once remove the same.
        """
        entries = sorted(self._entries())
        used = sum(entry.size_bytes for entry in entries)
        allowed = min(self.bytes_max, used + self._free_bytes())
        if used + room_bytes > allowed:
            kept = max(0, min(int(allowed * SHARE_KEPT), allowed - room_bytes))
            for entry in entries:
                if used <= kept:
                    break
                self._unlink(entry.path)
                used -= entry.size_bytes
        self._room = max(0, min(allowed - used, self.bytes_max // 16) - room_bytes)

    def _free_bytes(self) -> int:
        try:
            disk = shutil.disk_usage(self.folder)
        except OSError:
            return 0
        return max(0, disk.free - min(FREE_BYTES_KEPT, int(disk.total * FREE_SHARE_KEPT)))

    def _entries(self) -> Iterator[_Entry]:
        """Yield what there is; what a killed process left unfinished is removed."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            try:
                found = path.lstat()
            except OSError:
                continue
            if _UNFINISHED not in path.name:
                yield _Entry(found.st_mtime, found.st_size, path)
            elif _age_seconds(found) > _UNFINISHED_SECONDS_MAX:
                self._unlink(path)

    @staticmethod
    def _unlink(path: Path) -> None:
        with suppress(OSError):
            path.unlink()

    def _path(self, name: str) -> Path:
        """Return where an entry is, or would be if this were the name of one."""
        return self.folder / (f"{name[:2]}/{name}" if _NAME.fullmatch(name) else "no/entry")


def _touch(path: Path) -> None:
    """Note that a file is used, so that others go first. Raises OSError."""
    if _age_seconds(path.stat()) > _TOUCHED_AGAIN_SECONDS:
        os.utime(path)


def _age_seconds(found: os.stat_result) -> float:
    return clock.utc_now().timestamp() - found.st_mtime


def current() -> SegmentCache | None:
    """Return the cache of this process; None: it is off."""
    if not _current:
        configure()
    return _current[-1]


def configure(
    folder: str | os.PathLike[str] | None = None, limit: int | str | None = None, *, enabled: bool = True
) -> None:
    """Use ``folder`` and ``limit`` (bytes, or a text such as "20 GB") from now on, or no cache at all.

    What is None is as $DUCKVSTORE_CACHE (a folder, or "off") and $DUCKVSTORE_CACHE_SIZE say, else the user's folder for
    caches, and 10 GiB. Raises InvalidInput.
    """
    chosen = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    if not enabled or (isinstance(chosen, str) and chosen.lower() in OFF):
        _current[:] = [None]
        return
    bytes_max = _bytes(os.environ.get(SIZE_VARIABLE) or BYTES_MAX if limit is None else limit)
    _current[:] = [SegmentCache(Path(chosen).expanduser() if chosen else _default_folder(), bytes_max)]


def _bytes(limit: int | str) -> int:
    found = _SIZE.fullmatch(str(limit))
    if found is None:
        raise InvalidInput(f"a size of the cache is a number of bytes, or a text such as '20 GB'; found {limit!r}")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duckvstore"


_current: list[SegmentCache | None] = []  # empty: the environment was not asked yet
