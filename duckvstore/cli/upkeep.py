"""The commands of upkeep: prune, gc, fold, verify, recover, sizes, options, cache.

Invariant: what removes something asks first, or shows what it would do; with ``--yes`` it does it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.cli import places, terminal
from duckvstore.cli.verbs import verb
from duckvstore.cli.wording import spoken
from duckvstore.errors import nearest, printable
from duckvstore.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from duckvstore.cli.places import Place

EXIT_PROBLEMS = 3


def _show(report: Any, place: Place) -> None:
    if place.as_json:
        terminal.show_json(report.to_dict() if hasattr(report, "to_dict") else report)
    else:
        terminal.show_text(spoken(repr(report)), place)


@verb(
    "prune",
    click.argument("symbol", metavar="[SYMBOL]", required=False, shell_complete=places.complete_symbol),
    click.option("--all-symbols", is_flag=True, help="of every symbol"),
    click.option("--keep-last", metavar="N", type=int, help="keep so many of the newest versions"),
    click.option(
        "--keep-for", metavar="TIME", callback=places.duration_option, help="keep a version for so long after it: 90d"
    ),
    click.option("--yes", is_flag=True, help="do not ask"),
    about="""
The newest version, and what a snapshot holds, is never removed. 'duckvstore gc' frees the space later.
""",
    examples="""
duckvstore prune trades --keep-last 10
duckvstore prune --all-symbols --keep-for 90d --yes --library eod
""",
)
def prune(
    place: Place,
    symbol: str | None,
    all_symbols: bool,
    keep_last: int | None,
    keep_for: timedelta | None,
    yes: bool,
) -> None:
    """Remove old versions of a symbol."""
    library = place.open_library()
    if (symbol is None) != all_symbols:
        raise vs.InvalidInput("name one symbol to prune, or all of them by --all-symbols")
    if keep_last is None and keep_for is None:
        raise vs.InvalidInput("nothing says which versions to keep: give --keep-last, --keep-for or both")
    what = "every symbol" if symbol is None else repr(symbol)
    terminal.confirm(f"remove old versions of {what} of {library.url}", yes=yes)
    names = library.list_symbols() if symbol is None else [symbol]
    removed = {name: library.prune(name, keep_last=keep_last, keep_for=keep_for) for name in names}
    if place.as_json:
        terminal.show_json([{"symbol": name, "removed_versions": gone} for name, gone in removed.items()])
        return
    for name, gone in removed.items():
        sys.stdout.write(f"{printable(name, is_line=True)}: {counted(len(gone), 'version')} removed\n")


@verb(
    "gc",
    click.option("--yes", is_flag=True, help="remove it, instead of showing what would be removed"),
    click.option(
        "--grace", metavar="TIME", callback=places.duration_option, help="instead of the library's own: 12h, 7d, 0s"
    ),
    about="""
What nothing refers to any more is condemned, and removed by a run after the library's grace period (7 days unless it
was set), because somebody may be reading it. --grace 0s removes it at once: for when nobody else uses the library.
""",
    examples="""
duckvstore gc --library eod                     what would be removed
duckvstore gc --library eod --yes               remove it
""",
)
def gc(place: Place, yes: bool, grace: timedelta | None) -> None:
    """Show what nothing refers to any more, or remove it."""
    _show(place.open_library().gc(grace, dry_run=not yes), place)


@verb(
    "fold",
    click.option("--rebuild", is_flag=True, help="make the catalogue anew from all documents"),
    about="""
Listings of symbols and versions then read a few files instead of every document. Writers do it by themselves when
there is much to fold, unless the option auto_fold is off. The first fold reads all documents, and earlier releases of
duckvstore refuse to write to the library from then on; every later one costs what is new.
""",
    examples="""
duckvstore fold --library eod
duckvstore fold --rebuild --library eod         from all documents, whatever there is
""",
)
def fold(place: Place, rebuild: bool) -> None:
    """Fold documents into the library's catalogue, which makes listings fast."""
    _show(place.open_library().fold(rebuild=rebuild), place)


@verb(
    "verify",
    click.option("--shallow", is_flag=True, help="look at names and sizes only, and read no contents"),
    click.option("--repair", is_flag=True, help="make the folded catalogue anew where it is not what documents say"),
    about="Exit code 3 says that something is missing or damaged.",
    examples="""
duckvstore verify --library eod
duckvstore verify --library eod --repair
duckvstore verify --shallow && echo "all is there"
""",
)
def verify(place: Place, shallow: bool, repair: bool) -> int:
    """Check that everything that versions refer to is there and undamaged."""
    report = place.open_library().verify(deep=not shallow, repair=repair)
    _show(report, place)
    return 0 if report.ok else EXIT_PROBLEMS


@verb(
    "recover",
    click.option("--yes", is_flag=True, help="bring it back, instead of showing what could be"),
    examples="""
duckvstore recover --library eod                what could be brought back
duckvstore recover --library eod --yes          bring it back
""",
)
def recover(place: Place, yes: bool) -> None:
    """Bring back what was deleted behind the library's back (S3 with versioning)."""
    _show(place.open_library().recover(dry_run=not yes), place)


@verb("sizes", examples="duckvstore sizes --library eod\nduckvstore sizes --json")
def sizes(place: Place) -> None:
    """Show what the library, its symbols and versions take."""
    _show(place.open_library().sizes(), place)


@verb(
    "options",
    click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1),
    about="Lengths of time are written 12h or 90d; nothing after the = sets an option back.",
    examples="""
duckvstore options --library eod
duckvstore options keep_last=10 keep_for=90d compression=zstd --library eod
""",
)
def options(place: Place, changes: Sequence[str]) -> None:
    """Show the options of a library, or change them."""
    library = place.open_library()
    wanted = dict(_change(text) for text in changes)
    known = vs.Options.__dataclass_fields__
    for name in wanted:
        if name not in (*known, "keep_for", "grace"):
            raise vs.InvalidInput(f"there is no option {name!r}.{nearest(name, [*known, 'keep_for', 'grace'])}")
    found = library.set_options(**wanted) if wanted else library.options
    if place.as_json:
        terminal.show_json(found)
        return
    for name, value in asdict(found).items():
        sys.stdout.write(f"{name}={'' if value is None else printable(str(value), is_line=True)}\n")


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise vs.InvalidInput(f"{text!r} changes nothing: write NAME=VALUE, such as keep_last=10")
    if name in ("grace", "keep_for") and value:
        return name, places.duration(value)
    plain: dict[str, Any] = {"": None, "true": True, "false": False}
    if value.lower() in plain:
        return name, plain[value.lower()]
    return name, int(value) if re.fullmatch(r"\d+", value) else value


@verb(
    "cache",
    click.option("--clear", is_flag=True, help="remove all of it"),
    library=None,
    about="""
$DUCKVSTORE_CACHE names the folder, or says "off"; $DUCKVSTORE_CACHE_SIZE the limit: "20 GB".
""",
    examples="""
duckvstore cache
duckvstore cache --clear
""",
)
def cache(place: Place, clear: bool) -> None:
    """Show what this machine keeps of distant stores, or let it go."""
    if clear:
        vs.cache.clear()
    _show(vs.cache.info(), place)


COMMANDS: Iterable[click.Command] = (prune, gc, fold, verify, recover, sizes, options, cache)
