"""The options by which every command names a store and a library, and opening these."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckvstore as vs
from duckvstore.api.store import URL_DEFAULT, URL_VARIABLE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    #: adds a command by its name, what carries it out, a line about it and its examples
    AddCommand: TypeAlias = Callable[[str, Any, str, str], argparse.ArgumentParser]

_NUMBERS = ("connections_max", "connect_timeout_seconds", "read_timeout_seconds")
_FLAGS = ("anonymous", "fsync", "requester_pays")


def add_store(parser: argparse.ArgumentParser, text: str = "") -> None:
    """Add the options that name a store; ``text`` says what it is for."""
    default = f"s3://bucket/prefix or a folder (default: ${URL_VARIABLE}, else {URL_DEFAULT})"
    parser.add_argument("--store", metavar="URL", help=text or default)
    parser.add_argument("--segments-url", metavar="URL", help="agree that libraries keep their segments there")
    parser.add_argument(
        "--storage-option",
        dest="storage_options",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="endpoint_url, region, profile, addressing_style … of S3 (repeatable)",
    )


def add_library(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the options that name a store and a library of it; ``text`` says what the library is for."""
    add_store(parser)
    parser.add_argument("--library", metavar="NAME", help=text)


def open_store(options: argparse.Namespace, url: str | None = None) -> vs.Store:
    """Return the store that was named, or the one at ``url``."""
    return vs.open(url or options.store, _storage_options(options.storage_options), segments_url=options.segments_url)


def open_library(options: argparse.Namespace) -> vs.Library:
    """Return the library that was named, or the only one that there is."""
    store = open_store(options)
    if options.library is not None:
        return store.get_library(options.library)
    names = library_names(store)
    if len(names) > 1:
        raise vs.InvalidInput(
            f"{store.url} has {len(names)} libraries, {', '.join(map(repr, names))}: name one by --library"
        )
    return store.get_library(names[0])


def library_names(store: vs.Store) -> list[str]:
    """Return the names of the libraries. Raises NoSuchLibrary where there is none: most likely the wrong address."""
    names = store.list_libraries()
    if not names:
        raise vs.NoSuchLibrary(
            f"{store.url} has no library: name another store with --store or ${URL_VARIABLE}, or try 'duckvstore demo'"
        )
    return names


def pair(text: str, option: str) -> tuple[str, str]:
    """Return the two sides of ``NAME=VALUE``, as ``option`` takes it. Raises InvalidInput."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        # The text itself could be a secret that was typed in the wrong place.
        raise vs.InvalidInput(f"{option} takes NAME=VALUE, with a name and an equals sign")
    return name, value


def scalar(text: str) -> Any:
    """Return a JSON number, boolean, null or text as such, and anything else as the text that it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def _storage_options(pairs: Sequence[str]) -> dict[str, Any]:
    # Everything else is text as typed: a key of digits is not a number.
    parsed = (pair(one, "--storage-option") for one in pairs)
    return {name: scalar(value) if name in (*_FLAGS, *_NUMBERS) else value for name, value in parsed}
