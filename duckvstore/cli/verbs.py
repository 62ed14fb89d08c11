"""Verbs: how a command is declared, and the help, suggestions and completion that each gets.

Invariant: help shows examples as they are to be typed, and no verb is without any.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from duckvstore.cli import places
from duckvstore.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

#: of verbs by their names before: they work, and help does not show them
ALIASES = {"symbols": "ls", "versions": "log"}


class _Usage:
    """Usage in one style, and text below the options as it was written."""

    def format_usage(self: Any, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the line of usage."""
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix="usage: ")

    def format_epilog(self: Any, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what follows the options, line by line."""
        if self.epilog:
            formatter.write("\n" + self.epilog)


class Verb(_Usage, click.Command):
    """A command with examples."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``-1`` for a version as it is, and not for an option that is not known."""
        ctx.ignore_unknown_options = any(re.fullmatch(r"-\d+", word) for word in args)
        return super().parse_args(ctx, args)


class Verbs(_Usage, click.Group):
    """All commands, listed by what a user wants to do; a misspelt one gets the nearest."""

    def __init__(self, *args: Any, sections: dict[str, tuple[str, ...]], **kwargs: Any) -> None:
        """Show the commands in ``sections``."""
        super().__init__(*args, **kwargs)
        self.sections = sections

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or by the one that it had before."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        known = [*self.commands, *ALIASES]
        advice = nearest(name, known) or " 'duckvstore --help' lists them."
        raise click.UsageError(f"there is no command {name!r}.{advice}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands by sections."""
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(90)) for name in names])


def verb(
    name: str, *decorators: Any, examples: str, about: str = "", library: str | None = ""
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command; its docstring is its help, and it is called with the ``Place`` and its parameters.

    ``decorators``: its own parameters. ``about``, more words, and ``examples``, lines to type, are below the options.
    ``library``: what the library is for, in help; None: it is about no library.
    """
    more = f"{about.strip()}\n\n" if about else ""
    epilog = f"{more}examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines())

    def declared(function: Callable[..., Any]) -> click.Command:
        function = click.make_pass_decorator(places.Place, ensure=True)(function)
        for decorator in reversed((*decorators, *places.parameters(library))):
            function = decorator(function)
        text = (function.__doc__ or "").strip()
        return click.command(name, cls=Verb, epilog=epilog, help=text, short_help=text.splitlines()[0])(function)

    return declared
