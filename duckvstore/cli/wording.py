"""Messages of the package in the words of the command: flags and commands where Python's calls are named.

Invariant: only advice is reworded; names of symbols, libraries and files stand in quotes and stay as they are.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
#: what advice says, and what it says here; the first that fits counts
_WORDS: tuple[tuple[str, str], ...] = (
    (r"Make it with create_library\(\0\) or get_library\(\0, create_if_missing=True\)",
     "Name another with --library, or make it with 'duckvstore init'"),
    (r"open it with get_library\(\0\)", "name it by --library"),
    (r"open the store with segments_url=(\0), or with segments_options=.* on the command line by --segments-url",
     r"add --segments-url \1"),
    (r"give keep_last=, keep_for= or both", "give --keep-last, --keep-for or both"),
    (r"keep_last=", "--keep-last "),
    (r"keep_for=", "--keep-for "),
    (r"give a datetime\.timedelta, or None", "write 12h, 7d or 0s"),
    (r"give a datetime\.timedelta", "write 12h, 7d or 4w"),
    (r"grace=", "--grace "),
    (r"skip_symbols=\[…\] makes", "--skip SYMBOL makes"),
    (r"update\(\) replaces rows inside, validate_index=False appends out of order",
     "add --unsorted to append out of order, or leave out --append to write it all"),
    (r"(or )?(pass )?validate_index=False( takes them as they are)?", r"\1add --unsorted"),
    (r"read\(as_of=(\0)\) and write\(\) what it gives", r"duckvstore export --at \1, and import what it gives"),
    (r"as_of=(\S+) reads what was there before", r"--at \1 shows what was there before"),
    (r"so there is no as_of=", "so there is none "),
    (r"as_of=", "--at "),
    (r"give a number, a snapshot's name or a datetime", "give a number, a snapshot's name or a time"),
    (r"an index_column holds", "--index takes"),
    (r"leave index_column out", "leave --index out"),
    (r"index_column=(\0)", r"--index \1"),
    (r"index_column=", "--index "),
    (r"fold\(rebuild=True\)", "'duckvstore fold --rebuild'"),
    (r"gc\(\) removes", "'duckvstore gc' removes"),
    (r"recover\(\)", "'duckvstore recover'"),
    (r"verify\(\)", "'duckvstore verify'"),
    (r"prune\(\) removes", "'duckvstore prune' removes"),
    (r"delete_snapshot\((\0)?\)", r"duckvstore delete --snapshot \1"),
    (r"delete_library\(\)", "delete"),
    (r"(run|call) (gc|fold)(\(\))? again", r"run 'duckvstore \2' again"),
    (r"call \w+\(\) again", "run the command again"),
    (r"fold\(\)", "'duckvstore fold'"),
    (r"list_symbols\(\) (shows|lists)", r"'duckvstore ls' \1"),
    (r"list_versions\((\0)?\) (shows|has)", r"duckvstore log \1 \2"),
    (r"list_snapshots\(\)", "'duckvstore snapshot'"),
    (r"write\(\) it first", "'duckvstore import' it first"),
    (r"(; |, )?or write\(\) the whole value", r"\1or import it without --append"),
    (r"write\(\) the whole value", "import it without --append"),
    (r"the notebook has no variable \0 to put in for (\$\w+)\.(.*) Assign it, or give -p \w+=…",
     r"there is no value for \1:\2 say .param NAME VALUE"),
    (r"store\[(\0)\]\.sql\(…\)", r"duckvstore sql --library \1"),
    (r"read\(\) (it|both)", r"read \1 in Python"),
    (r"use read\(\)", "read it in Python"),
    (r"write\(\)", "write in Python"),
    (r"\.arrow\(\)", "--format csv"),
)  # fmt: skip
_RULES = [(re.compile(pattern.replace(r"\0", "\0\\d+\0")), words) for pattern, words in _WORDS]


def spoken(message: str) -> str:
    """Return ``message`` in the words of the command."""
    quoted: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quoted.append(match[0])
        return f"\0{len(quoted) - 1}\0"

    text = _QUOTED.sub(hide, message)
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return re.sub("\0(\\d+)\0", lambda match: quoted[int(match[1])], text).replace("\0", "")
