"""What a notebook shows of an error of ours: the user's lines and the message; of any other, what IPython shows."""

from __future__ import annotations

import re
import sys

import pytest

import duckvstore as vs
from tests.jupyter.conftest import HOSTILE

ANSI = re.compile(r"\x1b\[[0-9;]*m")
OURS = re.compile(r"duckvstore[/\\](api|sql|engine|jupyter)[/\\]")


def shown(shell, cell: str) -> str:
    """Return what a failing cell prints, without colours."""
    outcome = shell.run(cell)
    assert outcome.error is not None
    return ANSI.sub("", outcome.printed)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("lib.read('nothing')", "NoSuchSymbol"),
        ("lib.read('trades', as_of=99)", "NoSuchVersion"),
        ("lib.read('trades', columns=['prise'])", "NoSuchColumn"),
        ("lib.write('bad', object())", "Unsupported|InvalidInput"),
        ("lib.sql('SELECT prise FROM trades')", "SqlError"),
        ("lib.sql('SELECT CAST(tag AS INT) FROM trades').df()", "SqlError"),
        ("lib.store['nothing']", "NoSuchLibrary"),
        ("vs.open('nonsense://here')", "InvalidInput|Unsupported"),
    ],
)
def test_a_call_shows_the_users_line_and_the_message(connected, call, name):
    """Nothing of this package's code, and no other error that it came from."""
    connected.push({"vs": vs})
    text = shown(connected, f"x = 1\n{call}\ny = 2")
    assert re.search(rf"^({name}): ", text, re.MULTILINE), text
    assert f"----> 2 {call}" in text
    assert not OURS.search(text)
    assert "direct cause" not in text
    assert "During handling" not in text
    assert text.count("\n") < 14


def test_the_users_functions_are_all_shown(connected):
    """Each of the user's frames, the innermost one that of the call."""
    connected.run("def inner(name):\n    return lib.read(name)\n\n\ndef outer(name):\n    return inner(name)\n")
    text = shown(connected, "outer('nothing')")
    for line in ("outer('nothing')", "return inner(name)", "return lib.read(name)"):
        assert f" {line}" in text
    assert not OURS.search(text)


def test_the_whole_traceback_is_there_when_asked_for(connected):
    """%tb and %xmode Verbose show our frames and causes; %debug would enter the innermost; other modes stay short."""
    failing = "lib.sql('SELECT CAST(tag AS INT) FROM trades').df()"
    assert not OURS.search(shown(connected, failing))
    assert connected.InteractiveTB.tb is sys.last_traceback
    asked = connected.run("%tb")
    assert OURS.search(ANSI.sub("", asked.printed))
    assert "direct cause" in asked.printed
    for mode, is_whole in (("Plain", False), ("Minimal", False), ("Verbose", True), ("Context", False)):
        connected.run(f"%xmode {mode}")
        text = shown(connected, failing)
        assert bool(OURS.search(text)) is is_whole, mode
        assert "SqlError: " in text


def test_errors_of_the_user_keep_their_chain(connected):
    """An error of ours while one of the user's is handled shows both, each without our frames."""
    text = shown(connected, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    lib.read('nothing')")
    assert "ZeroDivisionError: division by zero" in text
    assert "NoSuchSymbol: " in text
    text = shown(connected, "try:\n    lib.read('one')\nexcept KeyError:\n    lib.read('two')")
    assert text.count("NoSuchSymbol: ") == 2
    assert not OURS.search(text)
    error = connected.run("lib.sql('SELECT CAST(tag AS INT) FROM trades').df()").error
    assert error.__cause__ is not None, "what is left out when shown is still there"


def test_other_errors_are_shown_as_ever(connected):
    """Also those that pass through our frames; and nothing is left of this when the extension is unloaded."""
    cells = ["1 / 0", "lib.read()", "{}['a']", "raise KeyboardInterrupt", "def f(: 1"]
    loaded = [connected.run(cell).printed for cell in cells]
    ours = connected.run("lib.read('nothing')").printed
    connected.run_line_magic("unload_ext", "duckvstore")
    plain = [connected.run(cell).printed for cell in cells]

    def numbered(text):
        return re.sub(r"(Cell |In\[|In \[|line |:)[^ ]*\d+\D*?", "", ANSI.sub("", text))

    assert list(map(numbered, loaded)) == list(map(numbered, plain))
    assert len(connected.run("lib.read('nothing')").printed) > 3 * len(ours)


def test_magics_around_a_call_are_no_frames(connected):
    """What %%time runs is the user's; a magic that is the whole cell shows its message alone."""
    text = shown(connected, "%%time\nlib.read('nothing')")
    assert "NoSuchSymbol: " in text
    assert "run_cell_magic" not in text
    assert not OURS.search(text)
    text = shown(connected, "%vstore SELECT prise FROM trades")
    assert text.startswith("SqlError: ")
    text = shown(connected, "a = 1\nframe = %vstore SELECT prise FROM trades\n")
    assert "----> 2" in text, "which of the lines"


def test_a_hostile_message_does_not_reach_the_terminal(connected):
    """Escapes in names come out as text."""
    connected.push({"name": f"{HOSTILE}\x1b[2J\u202e"})
    printed = connected.run("lib.read(name)").printed
    assert "\x1b[2J" not in printed
    assert "\u202e" not in printed
    assert "\\x1b[2J" in printed


def test_an_error_of_what_is_displayed_is_short(connected, monkeypatch):
    """A result that fails while it is shown is a message, not the frames of the formatters."""

    def broken(*_, **__):
        raise vs.StorageUnavailable("the store is away")

    monkeypatch.setattr("duckvstore.sql.results.result.Result._peek", broken)
    text = ANSI.sub("", connected.run("lib.sql('FROM trades')").printed)
    assert "StorageUnavailable: the store is away" in text
    assert "result.py" not in text
