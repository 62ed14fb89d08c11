"""Which store and library a command is about: options, variables, a project's file, and opening what they name.

An option goes before a variable, a variable before the file ``.duckvstore.toml`` of this folder or one above, and that
before ``./vstore``. The file speaks of its own store: where another is named, nothing of it counts.

Invariant: a file that belongs to another user is not followed, since it could send this user's requests anywhere.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.api.store import URL_DEFAULT, URL_VARIABLE
from duckvstore.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIBRARY_VARIABLE = "DUCKVSTORE_LIBRARY"
LIBRARY_DEFAULT = "data"
PROJECT_FILE = ".duckvstore.toml"
_PROJECT_KEYS = ("library", "segments_url", "storage_options", "store")
_SECRETS = ("access_key_id", "secret_access_key", "session_token")
_NUMBERS = ("connections_max", "connect_timeout_seconds", "read_timeout_seconds")
_FLAGS = ("anonymous", "fsync", "requester_pays")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(slots=True)
class Place:
    """What the options before or after the verb name; None where nothing was said."""

    store: str | None = None
    library: str | None = None
    storage_options: Sequence[str] = ()
    segments_url: str | None = None
    as_json: bool = False
    no_pager: bool = False
    _project: Project | None = field(default=None)

    @property
    def project(self) -> Project:
        """What the project's file says, if it is this one's turn."""
        if self._project is None:
            is_named = self.store is not None or bool(os.environ.get(URL_VARIABLE))
            path = None if is_named else find_project(Path.cwd())
            self._project = Project() if path is None else Project.read(path)
        return self._project

    @property
    def library_name(self) -> str | None:
        """The library that was named, if any."""
        return self.library or os.environ.get(LIBRARY_VARIABLE) or self.project.library

    def open_store(self, url: str | None = None) -> vs.Store:
        """Return the store that was named, or the one at ``url``."""
        given = url or self.store or os.environ.get(URL_VARIABLE)
        project = Project() if given else self.project
        options = {**project.storage_options, **_storage_options(self.storage_options)}
        return vs.open(
            given or project.store or URL_DEFAULT,
            options or None,
            segments_url=self.segments_url or project.segments_url,
        )

    def open_library(self) -> vs.Library:
        """Return the library that was named, or the only one that there is."""
        store = self.open_store()
        if self.library_name is not None:
            return store.get_library(self.library_name)
        return store.get_library(only(store, library_names(store)))

    def open_or_make_library(self, *, create: bool = False) -> tuple[vs.Library, bool]:
        """Return the library to write to, and whether it was made: where the store has none, or with ``create``."""
        store = self.open_store()
        names = store.list_libraries()
        wanted = self.library_name or (LIBRARY_DEFAULT if not names else only(store, names))
        if wanted not in names and (create or not names):
            return store.get_library(wanted, create_if_missing=True), True
        return store.get_library(wanted), False


@dataclass(frozen=True, slots=True)
class Project:
    """What a project's file says; ``store`` as it is to be opened."""

    path: Path | None = None
    store: str | None = None
    library: str | None = None
    segments_url: str | None = None
    storage_options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Project:
        """Return what the file at ``path`` says. Raises InvalidInput for anything that it should not say."""
        status = path.stat()
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & 0o002:
            raise vs.InvalidInput(
                f"{path} could have been written by another user, who would choose where your requests go: chown and "
                "chmod o-w it, or name the store with --store"
            )
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise vs.InvalidInput(
                f"{path} is no TOML ({error}): mend it, or 'duckvstore init' in its folder"
            ) from error
        for name in content:
            if name not in _PROJECT_KEYS:
                raise vs.InvalidInput(
                    f"{path} has {name!r}, which means nothing.{nearest(name, _PROJECT_KEYS)} It may have "
                    f"{', '.join(_PROJECT_KEYS)}"
                )
        options = content.pop("storage_options", {})
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in content.values()):
            raise vs.InvalidInput(f"in {path}, storage_options is a table of names and values, everything else is text")
        if found := [name for name in _SECRETS if name in options]:
            raise vs.InvalidInput(
                f"{path} has {found[0]!r}: credentials do not belong into a project's file; set the AWS variables, or "
                "name a profile"
            )
        if content.get("store") and "://" not in content["store"]:
            content["store"] = str(path.parent / content["store"])
        return cls(path, **content, storage_options=options)


def find_project(folder: Path) -> Path | None:
    """Return the project's file of ``folder`` or the nearest one above, if there is any."""
    found = (each / PROJECT_FILE for each in (folder, *folder.parents))
    return next((path for path in found if path.is_file()), None)


def project_options(place: Place) -> dict[str, Any]:
    """Return the storage options for a project's file. Raises InvalidInput for credentials among them."""
    options = _storage_options(place.storage_options)
    if found := [name for name in _SECRETS if name in options]:
        raise vs.InvalidInput(
            f"--storage-option {found[0]} is a credential, which does not belong into {PROJECT_FILE}: set the AWS "
            "variables, or name a profile"
        )
    return options


def project_text(place: Place, library: str) -> str:
    """Return a project's file for the store that was named. Raises InvalidInput for credentials among its options."""
    options = project_options(place)
    lines = ["# Where the command duckvstore finds its data, in this folder and those below."]
    named = {"store": place.store, "library": library, "segments_url": place.segments_url}

    lines += [f"{name} = {_toml(value)}" for name, value in named.items() if value is not None]
    if options:
        lines += ["", "[storage_options]", *(f"{_toml(name)} = {_toml(value)}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Return a text, number or boolean as TOML, which has JSON's forms of these but one."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep what an option says, before or after the verb; the one after it counts."""
    if value and parameter.name:
        setattr(context.find_root().ensure_object(Place), parameter.name, value)
    return value


def _complete_library(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return completed(lambda: context.find_root().ensure_object(Place).open_store().list_libraries(), incomplete)


def complete_symbol(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the symbols that begin so; for completion."""
    place = context.find_root().ensure_object(Place)
    return completed(lambda: place.open_library().overview().symbols(), incomplete)


def completed(found: Callable[[], list[str]], incomplete: str) -> list[str]:
    """Return the names that begin with ``incomplete`` and have nothing in them that acts on a terminal."""
    try:
        return [name for name in found() if name.startswith(incomplete) and name.isprintable()]
    except (vs.DuckVStoreError, OSError):
        return []


def parameters(library: str | None = "") -> list[Any]:
    """Return the options that every command has. ``library``: what the library is for; None: it is about none."""
    default = f"s3://bucket/prefix or a folder (default: ${URL_VARIABLE}, {PROJECT_FILE}, else {URL_DEFAULT})"
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    of_library = click.option(
        "--library",
        metavar="NAME",
        help=library or f"the library (default: ${LIBRARY_VARIABLE}, {PROJECT_FILE}, else the only one)",
        shell_complete=_complete_library,
        **shared,
    )
    return [
        click.option("--store", metavar="URL", help=default, **shared),
        *([] if library is None else [of_library]),
        click.option(
            "--storage-option",
            "storage_options",
            metavar="NAME=VALUE",
            multiple=True,
            help="endpoint_url, region, profile, addressing_style … of S3 (repeatable)",
            **shared,
        ),
        click.option("--segments-url", metavar="URL", help="agree that libraries keep their segments there", **shared),
        click.option("--json", "as_json", is_flag=True, help="for programs: JSON, with exact values", **shared),
        click.option("--no-pager", is_flag=True, help="print long lists at once, on a terminal too", **shared),
    ]


def only(store: vs.Store, names: Sequence[str]) -> str:
    """Return the only name. Raises InvalidInput where there are several."""
    if len(names) > 1:
        raise vs.InvalidInput(
            f"{store.url} has {len(names)} libraries, {', '.join(map(repr, names))}: name one by --library"
        )
    return names[0]


def library_names(store: vs.Store) -> list[str]:
    """Return the names of the libraries. Raises NoSuchLibrary where there is none: most likely the wrong address."""
    names = store.list_libraries()
    if not names:
        raise vs.NoSuchLibrary(
            f"{store.url} has no library: name another store with --store or ${URL_VARIABLE}, make one with "
            "'duckvstore init', or try 'duckvstore demo'"
        )
    return names


def as_of(library: vs.Library, text: str | None) -> int | str | datetime | None:
    """Return the version that ``--at`` names: a number, a snapshot of ``library``, or else a time (UTC unless it says).

    Raises NoSuchSnapshot for anything else, with the nearest.
    """
    if text is None or re.fullmatch(r"-?[0-9]+", text):
        return text if text is None else int(text)
    try:
        library.overview().snapshot(text)
    except vs.NoSuchSnapshot as error:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise vs.NoSuchSnapshot(f"{text!r} is no version number and no time, and {error}") from error
    return text


def duration(text: str) -> timedelta:
    """Return a length of time such as 90d. Raises InvalidInput."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise vs.InvalidInput(f"{text!r} is not a length of time: write 30s, 15m, 12h, 7d or 4w")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError as error:
        raise vs.InvalidInput(f"{text!r} is too long a time: write fewer weeks") from error


def duration_option(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Return what an option says as a length of time; what is none is wrong usage."""
    try:
        return None if value is None else duration(value)
    except vs.InvalidInput as error:
        raise click.BadParameter(str(error), context, parameter) from error


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


def json_value(text: str, option: str) -> Any:
    """Return what ``text`` says in JSON. Raises InvalidInput."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise vs.InvalidInput(f'{option} takes JSON, such as \'{{"source": "exchange"}}\' ({error})') from error


def _storage_options(pairs: Sequence[str]) -> dict[str, Any]:
    # Everything else is text as typed: a key of digits is not a number.
    parsed = (pair(one, "--storage-option") for one in pairs)
    return {name: scalar(value) if name in (*_FLAGS, *_NUMBERS) else value for name, value in parsed}
