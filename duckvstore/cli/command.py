"""The command line as a whole, and how a command ends.

An error of this package is one readable message and exit code 1, wrong usage is exit code 2, and neither is ever a
traceback.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click
from click.shell_completion import shell_complete

import duckvstore as vs
from duckvstore.cli import changes, demo, doctor, exporting, importing, places, queries, shell, upkeep
from duckvstore.cli.verbs import Verbs, verb
from duckvstore.cli.wording import spoken
from duckvstore.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_NAME = "duckvstore"
_COMPLETE_VARIABLE = "_DUCKVSTORE_COMPLETE"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_ABOUT = """Versioned dataframes on S3 or in a folder, queried in SQL at any version."""
_EPILOG = """\
examples:
  duckvstore import trades.csv
  duckvstore sql "FROM trades AT VERSION 0 LIMIT 5"
  duckvstore log trades --store s3://bucket/prefix --library eod
  duckvstore demo

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 'verify' or 'doctor' found a problem, 130 interrupted, 141 whoever
read the output went away. Credentials for S3 come from the usual AWS variables, files and roles.
"""
_SECTIONS = {
    "begin": ("demo", "init", "import"),
    "look": ("ls", "log", "show", "head", "diff", "sql", "shell"),
    "change": ("snapshot", "restore", "delete"),
    "hand on": ("export", "publish", "attach"),
    "keep in order": ("prune", "gc", "fold", "verify", "recover", "sizes", "options", "cache", "doctor", "completion"),
}


@verb(
    "completion",
    click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"])),
    library=None,
    examples="""
eval "$(duckvstore completion bash)"                           in ~/.bashrc
eval "$(duckvstore completion zsh)"                            in ~/.zshrc, after compinit
duckvstore completion fish > ~/.config/fish/completions/duckvstore.fish
""",
)
def completion(_place: places.Place, shell: str) -> None:
    """Print what makes bash, zsh or fish complete commands, options, libraries and symbols."""
    shell_complete(build_parser(), {}, _NAME, _COMPLETE_VARIABLE, f"{shell}_source")


def build_parser() -> Verbs:
    """Return the command line with all commands."""
    root = Verbs(_NAME, sections=_SECTIONS, help=_ABOUT, epilog=_EPILOG, context_settings=_SETTINGS)
    root.params += [parameter for option in places.parameters() for parameter in _parameters_of(option)]
    root.params.append(
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        )
    )
    families = (changes, demo, doctor, exporting, importing, queries, shell, upkeep)
    for command in (*(found for family in families for found in family.COMMANDS), completion):
        root.add_command(command)
    return root


def _parameters_of(option: object) -> list[click.Parameter]:
    """Return the parameters that a decorator adds."""

    def nothing() -> None:
        """Take them."""

    return click.command()(option(nothing)).params  # type: ignore[operator]


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        sys.stdout.write(f"duckvstore {_version()}\n")
        context.exit()


def _version() -> str:
    try:
        return version("duckvstore")
    except PackageNotFoundError:
        return vs.__version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (those of the process by default) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?, and nothing fails
    root = build_parser()
    if instruction := os.environ.get(_COMPLETE_VARIABLE):
        sys.exit(shell_complete(root, {}, _NAME, _COMPLETE_VARIABLE, instruction))
    given = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _warn  # type: ignore[assignment]
        try:
            return _run(root, given)
        except BrokenPipeError:
            # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_BROKEN_PIPE
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except click.Abort:
            sys.stderr.write("duckvstore: nothing was changed\n")
            return EXIT_ERROR
        except (vs.DuckVStoreError, OSError) as error:
            sys.stderr.write(f"duckvstore: {printable(spoken(str(error)))}\n")
            return EXIT_ERROR


def _run(root: Verbs, arguments: list[str]) -> int:
    """Run one command. Raises SystemExit after wrong usage, help and the version."""
    try:
        with root.make_context(_NAME, arguments) as context:
            code = root.invoke(context)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.ctx.get_help() if error.ctx else error.message}\n")
        sys.exit(EXIT_USAGE)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        context_of = getattr(error, "ctx", None)
        usage = f"{context_of.get_usage()}\n" if context_of else ""
        sys.stderr.write(f"{usage}duckvstore: {printable(error.format_message())}\n")
        sys.exit(EXIT_USAGE)


def _warn(message: Warning | str, *_: object) -> None:
    sys.stderr.write(f"duckvstore: {printable(spoken(str(message)))}\n")
