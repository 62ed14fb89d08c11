"""The commands that change what a store holds: init, snapshot, restore, delete.

Invariant: what cannot be undone asks first; where nobody can answer, it wants ``--yes``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.api.store import URL_DEFAULT, URL_VARIABLE
from duckvstore.cli import places, terminal
from duckvstore.cli.verbs import verb
from duckvstore.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckvstore.cli.places import Place

AUTHOR = click.option("--author", metavar="NAME", help="who did it, for the log")
MESSAGE = click.option("-m", "--message", metavar="TEXT", help="why, for the log")
YES = click.option("--yes", is_flag=True, help="do not ask")


@verb(
    "init",
    click.argument("url", metavar="[URL]", required=False),
    YES,
    library=f"the library to make, unless it is there (default: the only one there is, else {places.LIBRARY_DEFAULT})",
    about=f"""
It writes {places.PROJECT_FILE} into this folder: commands here and in the folders below know the store from then on.
""",
    examples="""
duckvstore init                                            ./vstore, with a library "data"
duckvstore init s3://bucket/prefix --library eod
duckvstore init s3://bucket --storage-option endpoint_url=http://127.0.0.1:8333
""",
)
def init(place: Place, url: str | None, yes: bool) -> None:
    """Make a library, and this folder a project that knows it."""
    place.store = url or place.store or os.environ.get(URL_VARIABLE) or URL_DEFAULT
    path = Path(places.PROJECT_FILE)
    library = place.library_name
    places.project_options(place)  # before anything is asked of the store
    if library is None:
        names = place.open_store().list_libraries()
        library = places.only(place.open_store(), names) if names else places.LIBRARY_DEFAULT
    content = places.project_text(place, library)
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != content:
        terminal.confirm(f"replace {path.absolute()}", yes=yes)
    place.library = library
    made, is_new = place.open_or_make_library(create=True)
    path.write_text(content, encoding="utf-8")
    if place.as_json:
        terminal.show_json({"library": made.name, "store": made.store.url, "made": is_new, "project": path.absolute()})
        return
    terminal.say(f"{'made' if is_new else 'found'} library {made.name!r} at {made.url}, and wrote {path}")
    terminal.say("next: duckvstore import FILE.csv")


@verb(
    "snapshot",
    click.argument("name", metavar="[NAME]", required=False),
    click.option("--skip", metavar="SYMBOL", multiple=True, help="without this symbol (repeatable)"),
    click.option(
        "--version",
        "versions",
        metavar="SYMBOL=N",
        multiple=True,
        help="hold exactly these versions (repeatable; default: the newest of every symbol)",
    ),
    click.option("--metadata", metavar="JSON", help="what else to keep with it"),
    AUTHOR,
    MESSAGE,
    examples="""
duckvstore snapshot                       those that there are
duckvstore snapshot month-end -m "as reported"
duckvstore snapshot fixed --version trades=3 --version names=0
""",
)
def snapshot(
    place: Place,
    name: str | None,
    skip: Sequence[str],
    versions: Sequence[str],
    metadata: str | None,
    author: str | None,
    message: str | None,
) -> None:
    """Give a name to what every symbol holds now, or list such names."""
    library = place.open_library()
    if name is None:
        if skip or versions or metadata or author or message:
            raise click.UsageError("give the snapshot a name: duckvstore snapshot NAME", click.get_current_context())
        found = library.overview().snapshots()
        if place.as_json:
            terminal.show_json([_snapshot_json(one) for one in found])
            return
        rows = [
            [
                one.name,
                terminal.time_text(one.created_at),
                f"{len(one.versions):,}",
                one.author or "",
                one.message or "",
            ]
            for one in found
        ]
        terminal.show_table(["snapshot", "created", "symbols", "author", "message"], rows, place)
        return
    made = library.snapshot(
        *(name, None if metadata is None else places.json_value(metadata, "--metadata"), skip or None),
        dict(_numbered(text) for text in versions) or None,
        author=author,
        message=message,
    )
    if place.as_json:
        terminal.show_json(_snapshot_json(made))
    else:
        sys.stdout.write(f"made snapshot {terminal.quoted(made.name)} of {len(made.versions):,} symbols\n")


def _snapshot_json(found: vs.SnapshotInfo) -> Any:
    return terminal.plain(found)


def _numbered(text: str) -> tuple[str, int]:
    symbol, equals, number = text.rpartition("=")
    if not equals or not symbol or not number.isdecimal():
        raise vs.InvalidInput(f"--version takes SYMBOL=N, such as trades=3, and not {text!r}")
    return symbol, int(number)


@verb(
    "restore",
    click.argument("symbol", metavar="SYMBOL", shell_complete=places.complete_symbol),
    click.argument("at", metavar="VERSION"),
    AUTHOR,
    MESSAGE,
    about="The versions in between stay; a deleted symbol comes back by it.",
    examples="""
duckvstore restore trades 3
duckvstore restore trades month-end -m "the feed was wrong since"
duckvstore restore trades -2
""",
)
def restore(place: Place, symbol: str, at: str, author: str | None, message: str | None) -> None:
    """Make a new version that equals an earlier one."""
    library = place.open_library()
    item = library.restore_version(symbol, places.as_of(library, at), author=author, message=message)
    show_made(place, [item])


@verb(
    "delete",
    click.argument("symbols", metavar="[SYMBOL]...", nargs=-1, shell_complete=places.complete_symbol),
    click.option(
        "--version",
        "versions",
        metavar="N",
        type=int,
        multiple=True,
        help="only this version of the one symbol, for good (repeatable)",
    ),
    click.option("--snapshot", "snapshots", metavar="NAME", multiple=True, help="a snapshot (repeatable)"),
    AUTHOR,
    MESSAGE,
    YES,
    about="""
The history of a deleted symbol stays readable with --at, and 'duckvstore restore' brings it back. Versions and
snapshots that are named go for good.
""",
    examples="""
duckvstore delete trades names
duckvstore delete trades --version 3 --version 4 --yes
duckvstore delete --snapshot month-end
""",
)
def delete(
    place: Place,
    symbols: Sequence[str],
    versions: Sequence[int],
    snapshots: Sequence[str],
    author: str | None,
    message: str | None,
    yes: bool,
) -> None:
    """Delete symbols, single versions, or snapshots."""
    if (versions and len(symbols) != 1) or not (symbols or snapshots):
        words = "--version goes with one symbol" if versions else "name symbols, or a snapshot by --snapshot"
        raise click.UsageError(words, click.get_current_context())
    library = place.open_library()
    symbols, snapshots = [*dict.fromkeys(symbols)], [*dict.fromkeys(snapshots)]  # named twice is named
    for symbol in symbols:
        if not library.has_symbol(symbol) and not versions:
            advice = nearest(symbol, library.list_symbols()) or " 'duckvstore ls' lists them."
            raise vs.NoSuchSymbol(f"library {library.name!r} has no symbol {symbol!r} to delete.{advice}")
    known = library.overview().snapshot_names()
    for name in snapshots:
        if name not in known:
            raise vs.NoSuchSnapshot(f"library {library.name!r} has no snapshot {name!r}.{nearest(name, known)}")
    parts = [
        f"versions {', '.join(map(str, versions))} of" if versions else "",
        ", ".join(map(repr, symbols)),
        f"{'and ' if symbols else ''}snapshot {', '.join(map(repr, snapshots))}" if snapshots else "",
    ]
    terminal.confirm(f"delete {' '.join(part for part in parts if part)} from {library.url}", yes=yes)
    for symbol in symbols:
        library.delete(symbol, versions or None, author=author, message=message)
    for name in snapshots:
        library.delete_snapshot(name)
    if place.as_json:
        terminal.show_json({"symbols": symbols, "versions": versions, "snapshots": snapshots})
    else:
        for name in (*symbols, *snapshots):
            sys.stdout.write(
                f"deleted {terminal.quoted(name)}{' (its history stays)' if not versions and name in symbols else ''}\n"
            )


def show_made(place: Place, items: Sequence[vs.VersionedItem], **more: Any) -> None:
    """Print which versions there are now."""
    if place.as_json:
        names = ("library", "symbol", "version", "created_at", "row_count", "stored_bytes", "new_rows", "new_bytes")
        terminal.show_json([{name: getattr(item, name) for name in names} | more for item in items])
        return
    for item in items:
        sys.stdout.write(f"made {terminal.quoted(item.symbol)} v{item.version}, {item.row_count:,} rows\n")


COMMANDS: Iterable[click.Command] = (init, snapshot, restore, delete)
