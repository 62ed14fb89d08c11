"""``vs.cache``: copies of segments on this machine's disk, which make second looks at a distant store fast.

What is read from S3 or another distant store stays in a folder of the user's, shared by all processes, up to a limit;
what was not used for longest goes first. Everything in it is checked against the documents' digests before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.engine.reading import segment_cache
from duckvstore.engine.reading.segment_cache import CacheInfo

if TYPE_CHECKING:
    import os

__all__ = ["CacheInfo", "clear", "configure", "info"]


def info() -> CacheInfo:
    """Return where the cache is, how many entries it has, their bytes, and the limit of these.

    Examples:
        >>> vs.cache.info().size_bytes <= vs.cache.info().size_bytes_max
        True
    """
    cache = segment_cache.current()
    return CacheInfo(None, 0, 0, 0) if cache is None else cache.info()


def clear() -> None:
    """Remove every entry; statements that run at the moment keep the files that they have."""
    cache = segment_cache.current()
    if cache is not None:
        cache.clear()


def configure(
    folder: str | os.PathLike[str] | None = None, size: int | str | None = None, *, enabled: bool = True
) -> None:
    """Use ``folder``, and at most ``size`` bytes of it, from now on in this process, or no cache at all.

    ``size``: bytes, or a text such as "20 GB". What is None is as ``$DUCKVSTORE_CACHE`` (a folder, or "off") and
    ``$DUCKVSTORE_CACHE_SIZE`` say, else ``~/.cache/duckvstore`` and 10 GB. Raises InvalidInput for a size that is none.

    Examples:
        >>> vs.cache.configure(size="2 GB")
        >>> vs.cache.configure(enabled=False)
        >>> vs.cache.info().folder is None
        True
    """
    segment_cache.configure(folder, size, enabled=enabled)
