"""The command ``doctor``: what a store and this machine need, tried one by one, each with the mend.

Invariant: what it writes to try permissions lies in a folder of its own that no library uses, and is deleted again.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click

import duckvstore as vs
from duckvstore import clock
from duckvstore.cli import terminal
from duckvstore.cli.upkeep import EXIT_PROBLEMS
from duckvstore.cli.verbs import verb
from duckvstore.cli.wording import spoken
from duckvstore.formatting import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from duckvstore.cli.places import Place

OK, WARNING, PROBLEM, SKIPPED = "ok", "warning", "problem", "skipped"
PROBE_FOLDER = ".duckvstore-probe"
SKEW_SECONDS_MAX = 300
CACHE_FREE_BYTES_MIN = 2**30
_PACKAGES = ("duckdb", "pyarrow", "pandas", "sqlglot", "boto3", "click", "rich", "prompt_toolkit")
_OPTIONAL = ("polars", "obstore", "sqlalchemy", "pymongo", "jupyterlab", "anywidget")
_STATEMENT = "the statement for readers and writers is in the guide, 'operating a bucket'"


@dataclass(frozen=True, slots=True)
class Check:
    """What was tried, how it went, what was found, and what to do about it."""

    name: str
    status: str
    found: str
    mend: str = ""


@verb(
    "doctor",
    click.option("--read-only", is_flag=True, help="write nothing: leave out the permissions to create and delete"),
    about="""
What it writes to try permissions is a few bytes in a folder of its own, and deleted again (a bucket with versioning
keeps them as old versions, as it does with all that is deleted). Exit code 3 says that there is a problem.
""",
    examples="""
duckvstore doctor
duckvstore doctor --store s3://bucket/prefix --storage-option profile=research
duckvstore doctor --read-only --json
""",
)
def doctor(place: Place, read_only: bool) -> int:
    """Check this machine, the store and what you may do there, and say how to mend it."""
    checks = [*_machine(), *_store(place, read_only=read_only)]
    if place.as_json:
        terminal.show_json(checks)
    else:
        below = [f"{check.name}: {check.found}: {check.mend}" for check in checks if check.mend]
        rows = [[check.name, check.status, check.found] for check in checks]
        terminal.show_table(["check", "", "found"], rows, place, ["", *below] if below else [])
    return EXIT_PROBLEMS if any(check.status == PROBLEM for check in checks) else 0


def _machine() -> Iterator[Check]:
    """Yield what is found on this machine."""
    yield Check("python", OK, f"{platform.python_version()}, duckvstore {vs.__version__}, {sys.executable}")
    found = {name: _installed(name) for name in (*_PACKAGES, *_OPTIONAL)}
    missing = [name for name in _PACKAGES if found[name] is None]
    yield Check(
        "packages",
        PROBLEM if missing else OK,
        ", ".join(f"{name} {number or 'MISSING'}" for name, number in found.items() if number or name in missing),
        f"pip install {' '.join(missing)}" if missing else "",
    )
    yield _tried("duckdb", _duckdb, "pip install --force-reinstall duckdb")
    yield _tried("cache", _cache, "name another folder in $DUCKVSTORE_CACHE, or switch it off by DUCKVSTORE_CACHE=off")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _duckdb(name: str) -> Check:
    import duckdb

    with duckdb.connect() as connection:
        number = connection.execute("SELECT version()").fetchall()[0][0]
        extensions = dict(
            connection.execute("SELECT extension_name, loaded OR installed FROM duckdb_extensions()").fetchall()
        )
    needed = [one for one in ("parquet", "json", "icu") if not extensions.get(one)]
    words = ", ".join(f"{one} {'is there' if extensions.get(one) else 'is not there'}" for one in ("parquet", "httpfs"))
    if needed:
        return Check(
            name, PROBLEM, f"{number}, without {', '.join(needed)}", f"in Python: duckdb.sql('INSTALL {needed[0]}')"
        )
    return Check(name, OK, f"{number}; {words}; SQL over S3 works without httpfs")


def _cache(name: str) -> Check:
    info = vs.cache.info()
    if info.folder is None:
        return Check(name, OK, "off ($DUCKVSTORE_CACHE): second looks at a distant store fetch again")
    folder = Path(info.folder)
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise PermissionError(f"{existing} cannot be written to")
    free = shutil.disk_usage(existing).free
    if free < CACHE_FREE_BYTES_MIN:
        mend = "free some, or set $DUCKVSTORE_CACHE_SIZE lower"
        return Check(name, WARNING, f"{size(free)} are free on the disk of {folder}", mend)
    return Check(name, OK, f"{info!r}, {size(free)} free")


def _tried(name: str, action: Callable[[str], Check], mend: str = "") -> Check:
    """Return the outcome of a check, of which an error is one too."""
    try:
        return action(name)
    except (vs.DuckVStoreError, OSError, ImportError) as error:
        return Check(name, PROBLEM, spoken(str(error)), mend)
    except Exception as error:  # noqa: BLE001 - of DuckDB, say: a broken machine is what this is for
        return Check(name, PROBLEM, f"{type(error).__name__}: {error}", mend)


def _store(place: Place, *, read_only: bool) -> Iterator[Check]:
    """Yield what is found of the store, as far as it can be reached."""
    try:
        store = place.open_store()
    except (vs.DuckVStoreError, OSError) as error:
        yield Check("store", PROBLEM, spoken(str(error)), "name it by --store, and its options by --storage-option")
        return
    path = place.project.path
    yield Check("store", OK, store.url + (f", named by {path}" if path else ""))
    folder = _folder(store.url)
    if folder is not None and not folder.exists():
        yield Check("endpoint", WARNING, f"{folder} does not exist", "the first 'duckvstore import' or 'init' makes it")
        return
    reached = _reached(store)
    yield reached
    if reached.status == PROBLEM:
        return
    yield _tried("clock", lambda name: _clock(name, store))
    yield from _permissions(store, read_only=read_only)
    if folder is None:
        yield _tried("versioning", lambda name: _versioning(name, store), "allow s3:GetBucketVersioning to see it")
    yield _tried("library", lambda name: _library(name, store, place))


def _folder(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _reached(store: vs.Store) -> Check:
    """Return whether the store answers, and these credentials are any that it knows."""
    try:
        next(store.objects.list("", limit=1, folders=True), None)
    except vs.AccessDenied as error:
        mend = (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or --storage-option profile=NAME; if "
            f"these are right, s3:ListBucket on the bucket is missing: {_STATEMENT}"
        )
        return Check("credentials", PROBLEM, spoken(str(error)), mend)
    except (vs.DuckVStoreError, OSError) as error:
        mend = "look at --store, --storage-option endpoint_url=, region= and the network"
        return Check("endpoint", PROBLEM, spoken(str(error)), mend)
    return Check("endpoint", OK, "it answers, and lets you list")


def _clock(name: str, store: vs.Store) -> Check:
    skew = (store.objects.now() - clock.utc_now()).total_seconds()
    if abs(skew) > SKEW_SECONDS_MAX:
        words = f"this machine's clock is {abs(skew):,.0f} s {'behind' if skew > 0 else 'ahead'}"
        return Check(name, WARNING, words, "set the clock: times of versions are the store's, yours would mislead")
    return Check(name, OK, f"{abs(skew):.1f} s from the store's")


def _permissions(store: vs.Store, *, read_only: bool) -> Iterator[Check]:
    """Try each request on an object of its own."""
    names = ("create", "read", "conditional create", "replace", "delete")
    if read_only:
        yield from (Check(name, SKIPPED, "it was not to write") for name in names)
        return
    objects, key = store.objects, f"{PROBE_FOLDER}/{clock.new_id()}/doctor"
    before = _hidden(_folder(store.url))

    def read(name: str) -> Check:
        data = objects.read(key)
        return Check(name, OK, "allowed") if data == b"first" else Check(name, PROBLEM, "what was written is not there")

    def create_again(name: str) -> Check:
        try:
            objects.create(key, b"second")
        except vs.AlreadyExists:
            return Check(name, OK, "a second create is refused, as it must be")
        return Check(name, PROBLEM, "a second create of a key succeeded: writers could overwrite each other",
                     "use a server with conditional writes (If-None-Match)")  # fmt: skip

    def done(name: str, action: Callable[[], Any]) -> Check:
        action()
        return Check(name, OK, "allowed")

    def delete() -> None:
        for failure in objects.delete([key]):
            raise vs.AccessDenied(failure.reason)

    allow = "allow {} to write, or use --read-only if you only read: " + _STATEMENT
    try:
        created = _tried(
            "create", lambda name: done(name, lambda: objects.create(key, b"first")), allow.format("s3:PutObject")
        )
        yield created
        if created.status != OK:
            yield from (Check(name, SKIPPED, "nothing could be created") for name in names[1:])
            return
        yield _tried("read", read, f"allow s3:GetObject: {_STATEMENT}")
        yield _tried("conditional create", create_again)
        yield _tried(
            "replace", lambda name: done(name, lambda: objects.put(key, b"third")), allow.format("s3:PutObject")
        )
        yield _tried("delete", lambda name: done(name, delete), allow.format("s3:DeleteObject"))
    finally:
        _clear_away(store, key, before)


def _clear_away(store: vs.Store, key: str, before: set[Path]) -> None:
    """Leave nothing: neither the object, nor on this machine the folders that were not there ``before``."""
    with suppress(vs.DuckVStoreError, OSError):
        store.objects.delete([key])
    root = _folder(store.url)
    if root is None:
        return
    made = [(root / key).parent, *(path for path in _hidden(root) - before)]
    for folder in made:
        with suppress(OSError):  # another process uses it meanwhile
            folder.rmdir()


def _hidden(root: Path | None) -> set[Path]:
    """Return the folders of a store on this machine that are no libraries."""
    return set() if root is None else {path for path in root.iterdir() if path.name.startswith(".") and path.is_dir()}


def _versioning(name: str, store: vs.Store) -> Check:
    try:
        if store.objects.versioning_enabled():
            return Check(name, OK, "on: 'duckvstore recover' can bring back what is deleted by others")
    except vs.Unsupported:
        return Check(name, OK, "this kind of store has none")
    mend = "switch the bucket's versioning on, if others can delete there"
    return Check(name, WARNING, "off: what others delete cannot be brought back", mend)


def _library(name: str, store: vs.Store, place: Place) -> Check:
    names = store.list_libraries() if place.library_name is None else [place.library_name]
    if not names:
        return Check(name, WARNING, "there is none yet", "'duckvstore init' or 'duckvstore import' makes one")
    for each in names:
        store.get_library(each).options  # noqa: B018 - to look at the documents
    return Check(name, OK, ", ".join(map(repr, names)))


COMMANDS: Iterable[click.Command] = (doctor,)
