"""The commands of upkeep: gc, prune, fold, verify, recover, sizes, options, cache.

Invariant: what removes or brings back shows what it would do, and does it only with ``--yes``.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckvstore as vs
from duckvstore.cli import places
from duckvstore.errors import printable
from duckvstore.formatting import counted

if TYPE_CHECKING:
    from duckvstore.cli.places import AddCommand

EXIT_PROBLEMS = 3

_GC_EPILOG = """\
What nothing refers to any more is condemned, and removed by a run after the library's grace period (7 days unless it
was set), because somebody may be reading it. --grace 0s removes it at once: for when nobody else uses the library.

examples:
  duckvstore gc --library eod                     what would be removed
  duckvstore gc --library eod --yes               remove it
"""
_PRUNE_EPILOG = """\
The newest version, and what a snapshot holds, is never removed. 'duckvstore gc' frees the space later.

examples:
  duckvstore prune trades --keep-last 10
  duckvstore prune --all-symbols --keep-for 90d --library eod
"""
_FOLD_EPILOG = """\
Worth it from some thousands of versions on: listings of symbols and versions then read a few files instead of every
document. The first fold reads all documents, and earlier releases of duckvstore refuse to write to the library from
then on; every later one costs what is new. Run it from time to time; nothing is missing in listings meanwhile.

examples:
  duckvstore fold --library eod
  duckvstore fold --rebuild --library eod         from all documents, whatever there is
"""
_OPTIONS_EPILOG = """\
examples:
  duckvstore options --library eod
  duckvstore options keep_last=10 keep_for=90d compression=zstd --library eod
"""
_CACHE_EPILOG = """\
$DUCKVSTORE_CACHE names the folder, or says "off"; $DUCKVSTORE_CACHE_SIZE the limit: "20 GB".

examples:
  duckvstore cache
  duckvstore cache --clear
"""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_commands(command: AddCommand) -> None:
    """Add the commands of this family."""

    def add(name: str, run: Any, text: str, epilog: str = "") -> argparse.ArgumentParser:
        added = command(name, lambda options: run(places.open_library(options), options), text, epilog)
        places.add_library(added, "the library (needed where there are several)")
        return added

    gc = add("gc", _gc, "show what nothing refers to any more, or remove it", _GC_EPILOG)
    gc.add_argument("--yes", action="store_true", help="remove it, instead of showing what would be removed")
    gc.add_argument("--grace", metavar="TIME", type=_duration, help="instead of the library's own: 12h, 7d, 0s")

    prune = add("prune", _prune, "remove old versions of a symbol", _PRUNE_EPILOG)
    prune.add_argument("symbol", metavar="SYMBOL", nargs="?")
    prune.add_argument("--all-symbols", action="store_true", help="of every symbol")
    prune.add_argument("--keep-last", metavar="N", type=int, help="keep so many of the newest versions")
    prune.add_argument("--keep-for", metavar="TIME", type=_duration, help="keep a version for so long after it: 90d")

    fold = add("fold", _fold, "fold documents into the library's catalogue, which makes listings fast", _FOLD_EPILOG)
    fold.add_argument("--rebuild", action="store_true", help="make the catalogue anew from all documents")

    verify = add("verify", _verify, "check that everything that versions refer to is there and undamaged")
    verify.add_argument("--shallow", action="store_true", help="look at names and sizes only, and read no contents")

    recover = add("recover", _recover, "bring back what was deleted behind the library's back (S3 with versioning)")
    recover.add_argument("--yes", action="store_true", help="bring it back, instead of showing what could be")

    add("sizes", lambda library, _: _show(library.sizes()), "show what the library, its symbols and versions take")

    options = add("options", _options, "show the options of a library, or change them", _OPTIONS_EPILOG)
    options.add_argument("changes", metavar="NAME=VALUE", nargs="*", help="options to change")

    cache = command("cache", _cache, "show what this machine keeps of distant stores, or let it go", _CACHE_EPILOG)
    cache.add_argument("--clear", action="store_true", help="remove all of it")


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time: write 30s, 15m, 12h, 7d or 4w")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _show(report: object) -> None:
    sys.stdout.write(f"{report!r}\n")


def _gc(library: vs.Library, options: argparse.Namespace) -> None:
    _show(library.gc(options.grace, dry_run=not options.yes))


def _fold(library: vs.Library, options: argparse.Namespace) -> None:
    _show(library.fold(rebuild=options.rebuild))


def _recover(library: vs.Library, options: argparse.Namespace) -> None:
    _show(library.recover(dry_run=not options.yes))


def _prune(library: vs.Library, options: argparse.Namespace) -> None:
    if (options.symbol is None) != options.all_symbols:
        raise vs.InvalidInput("name one symbol to prune, or all of them by --all-symbols")
    for symbol in library.list_symbols() if options.all_symbols else [options.symbol]:
        removed = library.prune(symbol, keep_last=options.keep_last, keep_for=options.keep_for)
        sys.stdout.write(f"{printable(symbol, is_line=True)}: {counted(len(removed), 'version')} removed\n")


def _verify(library: vs.Library, options: argparse.Namespace) -> int:
    report = library.verify(deep=not options.shallow)
    _show(report)
    return 0 if report.ok else EXIT_PROBLEMS


def _options(library: vs.Library, options: argparse.Namespace) -> None:
    changes = dict(_change(text) for text in options.changes)
    found = library.set_options(**changes) if changes else library.options
    for name, value in asdict(found).items():
        sys.stdout.write(f"{name}={'' if value is None else value}\n")


def _cache(options: argparse.Namespace) -> None:
    if options.clear:
        vs.cache.clear()
    _show(vs.cache.info())


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise vs.InvalidInput(f"{text!r} changes nothing: write NAME=VALUE, such as keep_last=10")
    if name in ("grace", "keep_for") and value:
        try:
            return name, _duration(value)
        except argparse.ArgumentTypeError as error:
            raise vs.InvalidInput(str(error)) from error
    plain: dict[str, Any] = {"": None, "true": True, "false": False}
    if value.lower() in plain:
        return name, plain[value.lower()]
    return name, int(value) if re.fullmatch(r"\d+", value) else value
