"""Caches: what was used last, bounded by the memory that it takes.

A key is all that its value depends on, so what a cache holds is never wrong, and what it dropped is read again.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from cachetools import LRUCache

from duckvstore import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")
Value = TypeVar("Value")

MIB = 2**20


class Cache(forks.Follower, Generic[Key, Value]):
    """Values by key, up to ``bytes_max``; the one that was not used for longest is dropped first. Thread-safe."""

    def __init__(self, bytes_max: int, size_bytes: Callable[[Value], int]) -> None:
        """Hold nothing yet. ``size_bytes`` estimates what a value takes in memory; it is called once for each."""
        self._bytes_max, self._size_bytes = bytes_max, size_bytes
        self._loading: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()
        self._values: LRUCache[Key, Value] = LRUCache(bytes_max, size_bytes)
        # Whether somebody changes it, or was interrupted on the way, which leaves it in two minds.
        self._is_changing = False
        forks.follow(self)

    def start_over(self) -> None:
        """Drop, in a forked child, what another thread was in the middle of changing or loading."""
        self._loading = {}
        if self._lock.locked():
            self._lock, self._is_changing = threading.Lock(), True

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def get(self, key: Key) -> Value | None:
        """Return the value of ``key``; None: it is not there."""
        with self._lock:
            return self._consistent().get(key)

    def put(self, key: Key, value: Value) -> None:
        """Hold ``value``, in place of what was there, unless it alone is larger than the cache."""
        self.change(key, lambda _: value)

    def drop(self, key: Key) -> None:
        """Hold nothing under ``key`` any more."""
        self.change(key, lambda _: None)

    def change(self, key: Key, change: Callable[[Value | None], Value | None]) -> Value | None:
        """Put ``change(value)`` in the place of the value of ``key`` (None: none), and return it."""
        with self._lock:
            values = self._consistent()
            value = change(values.get(key))
            self._is_changing = True
            values.pop(key, None)
            if value is not None:
                with suppress(ValueError):  # larger than the cache
                    values[key] = value
            self._is_changing = False
            return value

    def _consistent(self) -> LRUCache[Key, Value]:
        if self._is_changing:
            self._values, self._is_changing = LRUCache(self._bytes_max, self._size_bytes), False
        return self._values

    def loaded(self, key: Key, load: Callable[[], Value]) -> Value:
        """Return the value of ``key``, by ``load()`` if it is not there; who wants the same meanwhile waits for it."""
        with self._lock:
            found = self._consistent().get(key)
            if found is not None:
                return found
            loading = self._loading.setdefault(key, threading.Lock())
        try:
            with loading:
                found = self.get(key)
                if found is None:
                    found = load()
                    self.put(key, found)
                return found
        finally:
            with self._lock:
                self._loading.pop(key, None)
