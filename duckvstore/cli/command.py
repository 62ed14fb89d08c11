"""The parser of the command line, and how a command ends.

An error of this package is one readable message and exit code 1, wrong usage is exit code 2, and neither is ever a
traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import duckvstore as vs
from duckvstore.cli import demo, queries, upkeep
from duckvstore.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_DESCRIPTION = "Versioned dataframes on S3 or in a folder, queried in SQL at any version."
_EPILOG = """\
examples:
  duckvstore demo
  duckvstore sql "FROM trades AT VERSION 3 LIMIT 5" --store s3://bucket/prefix --library eod
  duckvstore versions trades --store /data/vstore --library eod

Credentials for S3 come from the usual AWS variables, files and roles; 'duckvstore COMMAND --help' tells more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (those of the process by default) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?, and nothing fails
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(EXIT_USAGE)
    options = parser.parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (vs.DuckVStoreError, OSError) as error:
        sys.stderr.write(f"duckvstore: {printable(str(error))}\n")
        return EXIT_ERROR
    return int(code or 0)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run`` to what carries it out."""
    parser = argparse.ArgumentParser(
        "duckvstore", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"duckvstore {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, epilog: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    for family in (demo, queries, upkeep):
        family.add_commands(command)
    return parser


def _version() -> str:
    try:
        return version("duckvstore")
    except PackageNotFoundError:
        return vs.__version__
