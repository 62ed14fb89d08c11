"""DuckDB's errors, taken apart and turned into those of this package.

Whatever DuckDB raises, the user sees one error of ``duckvstore.errors`` whose place, if it has one,
is a place in the user's own text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from duckvstore.errors import AccessDenied, DuckVStoreError, SqlError, StorageUnavailable, Unsupported
from duckvstore.signals import of_handler
from duckvstore.sql.driver.interrupts import to_raise
from duckvstore.sql.syntax.tokens import Token, scan

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE_CHARACTERS_MAX = 1500

_PREFIX = re.compile(r"^(?P<kind>[A-Z][A-Za-z -]*?) Error: ", re.DOTALL)
# DuckDB proposes its own system tables for any name that is not like a table of the user's.
_SYSTEM_TABLE = re.compile(r'\s*Did you mean "(?:sqlite_|pg_|pragma_|duckdb_|information_schema|__vstore)[^"]*"\?')
_NO_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]+)" not found')
_NO_FUNCTION = re.compile(r"(Table Function with name \S+ does not exist!).*", re.DOTALL)
_OF_CATALOGUE = re.compile(r'(?:[^\s.]+\.)?"?vstore"?\s*\.', re.IGNORECASE)
_TIME_TRAVEL = "FROM trades AT VERSION 3, AT TIMESTAMP '2026-11-20' or AT SNAPSHOT 'eod'"
_FOUND = re.compile(r'syntax error at or near "(?P<token>.+)"', re.DOTALL)
_QUOTED_LINE = re.compile(r"\n+LINE \d+:.*\Z", re.DOTALL)
_DENIED = re.compile(r"\b403\b|Forbidden|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|\b401\b", re.IGNORECASE)
_ABOUT_BYTES = re.compile(
    r"parquet|thrift|TProtocol|TTransport|decompress|corrupt|magic bytes|not valid UTF8|snappy|zstd|Failed to read",
    re.IGNORECASE,
)
# What DuckDB says of the bytes of a file; no expression of the user's says such a thing.
_OF_BROKEN_FILE = re.compile(
    r"too small to be a Parquet file|magic bytes|thrift|TProtocol|TTransport|decompress|\bsnappy\b|\bzstd\b"
    r"|footer|out of buffer",
    re.IGNORECASE,
)
_SQL_KINDS = frozenset(
    {
        *("Parser", "Binder", "Catalog", "Conversion", "Constraint", "Dependency", "Syntax", "Settings", "Expression"),
        *("Permission", "Decimal", "TransactionContext", "Interrupt", "INTERRUPT", "Invalid Input", "Out of Range"),
        *("Mismatch Type", "Not implemented", "Invalid type", "Out of Memory"),
    }
)
_STORAGE_KINDS = frozenset({"IO", "HTTP", "Connection"})
_UNREACHABLE = re.compile(r"could not (establish )?connect|connection|timed? ?out|\bHTTP\b|\b5\d\d\b", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|File too large|Disk quota exceeded|'max_temp_directory_size' setting")
_TOO_MANY_FILES = re.compile(r"Too many open files")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of DuckDB: ``kind`` as DuckDB calls it, ``position`` in bytes of the text that was run."""

    kind: str
    message: str
    position: int | None = None
    missing: tuple[str, str] | None = None

    @property
    def of_storage(self) -> bool:
        """Whether bytes could not be had."""
        return self.kind in _STORAGE_KINDS

    @property
    def of_content(self) -> bool:
        """Whether bytes may not be what they should be."""
        return self.kind not in _SQL_KINDS or _ABOUT_BYTES.search(self.message) is not None

    @property
    def of_broken_file(self) -> bool:
        """Whether DuckDB found no file of the kind that it expected."""
        return _OF_BROKEN_FILE.search(self.message) is not None


def take_apart(error: BaseException, sql: str = "") -> Failure:
    """Return what ``error`` says, with or without ``errors_as_json``, through DuckDB or through Arrow.

    ``sql``: the text that was run, for the place in it.
    """
    said = str(error)
    start = said.find('{"exception_type"')
    if start >= 0:
        try:
            body, _ = json.JSONDecoder().raw_decode(said[start:])
        except ValueError:
            body = {}
        if body:
            position = body.get("position")
            message = body.get("exception_message", "")
            is_missing = body.get("error_subtype") == "MISSING_ENTRY"
            missing = (body.get("type", ""), body.get("name", "")) if is_missing else _missing(message)
            place = None if position is None else _in_bytes(int(position), body["exception_type"], message, sql)
            return Failure(body["exception_type"], _shortened(message), place, missing)
    match = _PREFIX.match(said)
    message = _QUOTED_LINE.sub("", said[match.end() :] if match else said)
    kind = match["kind"] if match else type(error).__name__.removesuffix("Exception")
    return Failure(kind.removesuffix(" Error"), _shortened(message), None, _missing(message))


def of_signal(error: BaseException) -> BaseException | None:
    """Return what a signal's handler raised, if ``error`` is that or what DuckDB makes of it, else None."""
    if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
        return error.__cause__ or KeyboardInterrupt()
    return of_handler(error)


def moved(failure: Failure, shift_bytes: int) -> Failure:
    """Return ``failure`` with its position moved."""
    return failure if failure.position is None else replace(failure, position=max(0, failure.position + shift_bytes))


def _in_bytes(position: int, kind: str, message: str, sql: str) -> int:
    """Return ``position`` in bytes of ``sql``, as DuckDB tells it but for the parser of 1.5, which counts letters."""
    if kind != "Parser" or sql.isascii():
        return position
    found = _FOUND.match(message)
    if found is None:
        is_in_characters = position == len(sql)  # the end of the input
    else:
        is_in_bytes = sql.encode().startswith(found["token"].encode(), position)
        is_in_characters = not is_in_bytes and sql.startswith(found["token"], position)
    return len(sql[:position].encode()) if is_in_characters else position


def _missing(message: str) -> tuple[str, str] | None:
    match = re.match(r'(Table|View|Schema) with name "?(.+?)"? does not exist', message)
    return (match[1], match[2]) if match else None


def _shortened(message: str) -> str:
    message = message.strip()
    if len(message) <= MESSAGE_CHARACTERS_MAX:
        return message
    return message[:MESSAGE_CHARACTERS_MAX] + " …"


def to_error(failure: Failure, sql: str, offset: int | None, note: Callable[[Failure], str]) -> DuckVStoreError:
    """Return the error of this package for ``failure``; ``offset`` is its place in ``sql``, the user's text.

    ``note`` may add a sentence (the nearest names, say). Failures of storage that concern segments are looked
    into before this is asked: what remains concerns files that the user's SQL names.
    """
    message = _SYSTEM_TABLE.sub("", failure.message) + note(failure)
    if offset is not None:
        message = _with_next_step(message, failure.kind, sql, offset)
    exhausted = _exhausted(message)
    if exhausted is not None:
        return exhausted
    if failure.kind == "Out of Memory":
        return DuckVStoreError(
            f"DuckDB ran out of memory: {message}\nSelect fewer columns or rows, or raise SET memory_limit"
        )
    if failure.kind in ("INTERNAL", "FATAL", "Internal", "Fatal"):
        return DuckVStoreError(
            f"DuckDB failed internally: {message}\nThis session may not work any more: open it again"
        )
    if failure.kind in ("INTERRUPT", "Interrupt"):
        return DuckVStoreError("the statement was interrupted: run it again")
    if "required extension" in message:
        return Unsupported(f"{message}\nOr pip install the wheel of the extension, such as duckdb-extension-httpfs")
    if failure.of_storage:
        message = message.partition("\n\nAuthentication Failure")[0]  # advice on DuckDB's own secrets
        if _DENIED.search(message):
            return AccessDenied(f"access was refused while DuckDB read a file: {message}: check the credentials")
        if failure.kind != "IO" or _UNREACHABLE.search(message):
            return StorageUnavailable(f"a file could not be read: {message}: check the address, then run it again")
    named = failure.kind in _SQL_KINDS or failure.of_storage
    return SqlError(f"{failure.kind} error: {message}" if named else message, sql, offset)


def _exhausted(message: str) -> StorageUnavailable | None:
    """Return the error for a full disk, or for more files than a process may open."""
    if _FULL.search(message):
        return StorageUnavailable(
            f"no room is left where DuckDB writes: {message}: make room there (what it spills goes below TMPDIR), then "
            "run it again"
        )
    if _TOO_MANY_FILES.search(message):
        return StorageUnavailable(
            f"this process may open no more files: {message}: raise its limit (ulimit -n), or read fewer symbols in "
            "one statement and put the results together"
        )
    return None


def while_planning(error: Exception, sql: str) -> BaseException:
    """Return what to raise for an error of DuckDB in a question of our own about ``sql``."""
    signal = of_signal(error)
    if signal is not None:
        return to_raise(signal)
    return to_error(take_apart(error), sql, None, lambda _: "")


def _with_next_step(message: str, kind: str, sql: str, offset: int) -> str:
    """Return ``message`` with what to write instead, where the place tells what was meant."""
    unknown = _NO_COLUMN.match(message)
    if unknown and sql.startswith(f'"{unknown["name"]}"', offset):
        return f"{message}\nDouble quotes are for names: write text in single quotes"
    if _OF_CATALOGUE.match(sql, offset):
        return _NO_FUNCTION.sub(r"\1\nThe catalogue has one: vstore.diff('trades', 2, 3)", message)
    if kind == "Parser":
        return message + _of_syntax(sql, offset)
    return message


def _of_syntax(sql: str, offset: int) -> str:
    """Return a line about AT forms and names, if the syntax error at ``offset`` may come from one."""
    tokens, _ = scan(sql)
    index = next((at for at, token in enumerate(tokens) if token.start == offset), None)
    if index is None:
        return ""
    nothing = Token("start", "", 0, 0)
    second, before, found, after = [nothing, nothing, *tokens, nothing][index : index + 4]
    is_of_time = (
        found.upper in ("@", "VERSION", "SNAPSHOT")
        or before.upper in ("AT", "FOR", "VERSION", "SNAPSHOT")
        or (second.upper, before.upper) == ("AS", "OF")
        or (found.upper, after.upper) == ("TIMESTAMP", "AS")
    )
    if is_of_time:
        return f"\nA version stands right behind the name: {_TIME_TRAVEL}"
    is_dashed = found.upper == "-" and before.kind == "word" and before.end == found.start == after.start - 1
    if is_dashed and second.upper in ("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "DESCRIBE"):
        return '\nA name with a - in it stands in double quotes: FROM "eod-2026-11-20".trades'
    return ""
