"""The command ``shell``: SQL with time travel at a prompt, with history, highlighting and completion.

A statement ends with a semicolon and may take several lines; a line that begins with a dot is a command. Where input is
no terminal it is run as a script, which ends at its first error.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore.cli import places, queries, terminal
from duckvstore.cli.verbs import verb
from duckvstore.cli.wording import spoken
from duckvstore.errors import nearest, printable
from duckvstore.jupyter.completion import Offers
from duckvstore.jupyter.connection import Connection
from duckvstore.sql.syntax.tokens import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from duckvstore.cli.places import Place

_LOOKS = {command.name: command for command in queries.COMMANDS if command.name != "sql"}
_HELP = """\
Statements end with a semicolon and may take several lines. Symbols are tables, at any version:
  FROM trades AT VERSION 3;             AT VERSION -2 is the one before the newest
  FROM trades AT SNAPSHOT 'month-end';  FROM "month-end".trades is the same
  FROM trades AT TIMESTAMP '2026-11-20 17:00';
  BEGIN; … COMMIT;                      several symbols together, or ROLLBACK;

  .ls [PATTERN]         the symbols                    .at VERSION     every symbol as of a number, snapshot or time
  .log [SYMBOL]         versions, newest first         .at             the newest again
  .show SYMBOL          columns and metadata           .use LIBRARY    another library of the store
  .head SYMBOL          the first rows                 .param N VALUE  a value for $N in statements
  .diff SYMBOL A B      what changed                   .rows N         show so many rows
  .snapshots            names for sets of versions     .quit           or Ctrl-D

Tab completes symbols, columns, versions and snapshots; the arrows go through the history, Ctrl-R searches it; Ctrl-C
stops a statement. .log, .show, .head and .diff take the options of the command: .log trades -n 3
"""
_KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "USING", "AT VERSION", "AT SNAPSHOT"),
    *(
        "AT TIMESTAMP",
        "DESCRIBE",
        "SUMMARIZE",
        "INSERT INTO",
        "UPDATE",
        "DELETE FROM",
        "CREATE TABLE",
        "BEGIN",
        "COMMIT",
    ),
    *("ROLLBACK", "WITH", "UNION ALL", "SHOW TABLES", "EXPLAIN"),
)


@verb(
    "shell",
    library="whose symbols need no library before their name (default: the only one)",
    about="A file of statements is run by 'duckvstore shell < file.sql', up to its first error.",
    examples="""
duckvstore shell
duckvstore shell --store s3://bucket/prefix --library eod
echo "FROM trades AT VERSION 0;" | duckvstore shell
""",
)
def shell(place: Place) -> int:
    """Ask for SQL at a prompt, with time travel, completion and history."""
    found = Shell(place)
    return found.prompt() if sys.stdin.isatty() and sys.stdout.isatty() else found.script(sys.stdin)


class Shell:
    """What is said at a prompt, or read from a file, and what was set before."""

    def __init__(self, place: Place) -> None:
        """Connect to what ``place`` names."""
        self.place = place
        self.connection = Connection()
        self.connection.use(queries.sql_target(place))
        self.at: str | None = None
        self.parameters: dict[str, Any] = {}
        self.rows_max: int | None = None
        self.has_ended = False
        self._dots: dict[str, Callable[[list[str]], None]] = {
            "at": self._at,
            "exit": self._end,
            "help": lambda _: terminal.show_text(_HELP.rstrip(), self.place),
            "param": self._param,
            "quit": self._end,
            "rows": self._rows,
            "snapshots": self._snapshots,
            "use": self._use,
        }

    @property
    def target(self) -> vs.Library | vs.Store:
        """What statements run on."""
        return self.connection.target()

    @property
    def dots(self) -> list[str]:
        """The names of the commands with a dot."""
        return sorted([*self._dots, *map(str, _LOOKS)])

    def run(self, text: str) -> None:
        """Carry out a statement or a line with a dot. Raises what it raises."""
        if text.lstrip().startswith("."):
            self._dot(text.strip()[1:])
        elif text.strip(" \t\n;"):
            from duckvstore.jupyter.query import Query
            from duckvstore.jupyter.request import Request

            request = Request(sql=text, at=self.at, parameters=self.parameters)
            queries.show_result(Query(self.connection, request, {}, 0).result, self.place, rows_max=self.rows_max)

    def _dot(self, line: str) -> None:
        try:
            name, *arguments = shlex.split(line.rstrip(";")) or [""]
        except ValueError as error:
            raise vs.InvalidInput(f".{line}: {error}") from error
        if name in self._dots:
            self._dots[name](arguments)
        elif name in _LOOKS:
            _LOOKS[name].main(arguments, prog_name=f".{name}", standalone_mode=False, obj=self.place)
        else:
            advice = nearest(name, self.dots) or " .help lists them"
            raise vs.InvalidInput(f"there is no command .{name}.{advice}")

    def _end(self, _arguments: list[str]) -> None:
        self.has_ended = True

    def _at(self, arguments: list[str]) -> None:
        text = " ".join(arguments) or None
        if text is not None:
            places.as_of(self.connection.library(), text)  # raises for what is no version
        self.at = text

    def _param(self, arguments: list[str]) -> None:
        if len(arguments) < 2:
            raise vs.InvalidInput(".param takes a name and a value, such as .param low 10")
        self.parameters[arguments[0].removeprefix("$")] = places.scalar(" ".join(arguments[1:]))

    def _rows(self, arguments: list[str]) -> None:
        if len(arguments) != 1 or not arguments[0].isdecimal() or not int(arguments[0]):
            raise vs.InvalidInput(".rows takes a number, such as .rows 100")
        self.rows_max = int(arguments[0])

    def _snapshots(self, _arguments: list[str]) -> None:
        found = self.connection.library().overview().snapshots()
        rows = [[one.name, terminal.time_text(one.created_at), f"{len(one.versions):,}"] for one in found]
        terminal.show_table(["snapshot", "created", "symbols"], rows, self.place)

    def _use(self, arguments: list[str]) -> None:
        if len(arguments) != 1:
            raise vs.InvalidInput(".use takes the name of a library")
        self._refuse_open_transaction()
        self.connection.use(self.place.open_store().get_library(arguments[0]))
        self.place.library, self.at = arguments[0], None

    def _refuse_open_transaction(self) -> None:
        if self.target.session.in_transaction:
            raise vs.InvalidInput("a transaction is open here: COMMIT; or ROLLBACK; it first")

    def script(self, lines: Iterable[str]) -> int:
        """Run what is read, up to the end or the first error, which it raises."""
        for text in statements(lines):
            self.run(text)
            if self.has_ended:
                break
        if self.target.session.in_transaction:
            raise vs.InvalidInput("the transaction was not committed, so nothing of it happened: end it with COMMIT;")
        return 0

    def prompt(self) -> int:
        """Ask until there is nothing more to do."""
        asked = self._session()
        terminal.say(f"{self.target.url} · statements end with ; · .help tells more")
        while not self.has_ended:
            try:
                text = asked.prompt(self.mark())
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            try:
                self.run(text)
            except KeyboardInterrupt:
                terminal.say("stopped")
            except click.ClickException as error:
                terminal.say(error.format_message())
            except (vs.DuckVStoreError, OSError) as error:
                sys.stderr.write(f"{printable(spoken(str(error)))}\n")
        if self.target.session.in_transaction:
            terminal.say("the open transaction was not committed: nothing of it happened")
        return 0

    def mark(self) -> str:
        """Return what stands before the input: where it runs, as of when, and a star in a transaction."""
        name = self.target.name if isinstance(self.target, vs.Library) else "store"
        star = "*" if self.target.session.in_transaction else ""
        return printable(f"{name}{f'@{self.at}' if self.at else ''}{star}> ", is_line=True)

    def _session(self) -> Any:
        """Return the prompt, with its keys, colours, completion and history."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import is_done
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.lexers import PygmentsLexer
        from pygments.lexers.sql import SqlLexer

        keys = KeyBindings()

        @keys.add("enter", filter=~is_done)
        def _enter(event: Any) -> None:
            buffer = event.current_buffer
            if buffer.complete_state and buffer.complete_state.current_completion:
                buffer.complete_state = None
            elif is_complete(buffer.text):
                buffer.validate_and_handle()
            else:
                buffer.insert_text("\n")

        colors: dict[str, Any] = {"color_depth": _no_colors()} if os.environ.get("NO_COLOR") else {}
        return PromptSession(
            multiline=True,
            key_bindings=keys,
            lexer=PygmentsLexer(SqlLexer),
            completer=_completer(self),
            complete_while_typing=False,
            complete_in_thread=True,
            history=_history(),
            prompt_continuation=lambda width, _line, _wraps: "..> ".rjust(width),
            **colors,
        )


def is_complete(text: str) -> bool:
    """Return whether what was typed can be carried out: empty, a line with a dot, or statements up to a semicolon."""
    if not text.strip() or text.lstrip().startswith("."):
        return True
    tokens, _ = scan(text)
    return bool(tokens) and tokens[-1].kind != "unclosed" and tokens[-1].text == ";"


def statements(lines: Iterable[str]) -> Iterator[str]:
    """Yield what is complete, and at the end what is left."""
    text = ""
    for line in lines:
        if not text.strip() and line.lstrip().startswith("."):
            yield line
            continue
        text += line
        if ";" in line and is_complete(text):
            yield text
            text = ""
    if text.strip():
        yield text


def _no_colors() -> Any:
    from prompt_toolkit.output import ColorDepth

    return ColorDepth.DEPTH_1_BIT


def _history() -> Any:
    """Return the history in the user's own folder, which nobody else reads, or else one of this process."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "duckvstore"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "history"
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def _completer(of: Shell) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    offers = Offers(of.connection, lambda: of.parameters)

    class Names(Completer):
        """Symbols, columns, versions, snapshots, words of SQL, and the commands with a dot."""

        def get_completions(self, document: Any, complete_event: Any) -> Iterator[Any]:  # noqa: ARG002
            """Yield what can follow."""
            try:
                fragment, found = offered(of, offers, document.text_before_cursor, document.text)
            except Exception:  # noqa: BLE001 - an error here would show in the middle of typing
                return
            for text, kind in found:
                if text.isprintable():
                    yield Completion(text, start_position=-len(fragment), display_meta=kind)

    return Names()


def offered(of: Shell, offers: Offers, before: str, whole: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the unfinished word before the cursor, and what it may become, with what that is."""
    dot = re.match(r"\s*\.(\w*)(?:\s+(.*))?$", before, re.DOTALL)
    if dot is not None:
        fragment, names, kind = dot[1], of.dots, "command"
        if dot[2] is not None:
            fragment = dot[2].split(" ")[-1]
            names, kind = _arguments(of, dot[1])
        return fragment, [(name, kind) for name in names if name.startswith(fragment)]
    fragment, found = offers.sql(before, whole)
    words = [(word, "keyword") for word in _KEYWORDS if fragment and word.startswith(fragment.upper())]
    return fragment, [*found, *(word for word in words if not any(kind == "version" for _, kind in found))]


def _arguments(of: Shell, command: str) -> tuple[list[str], str]:
    if command == "use":
        return of.place.open_store().list_libraries(), "library"
    overview = of.connection.library().overview()
    if command == "at":
        return overview.snapshot_names(), "snapshot"
    return (overview.symbols(), "symbol") if command in _LOOKS else ([], "")


COMMANDS: Iterable[click.Command] = (shell,)
