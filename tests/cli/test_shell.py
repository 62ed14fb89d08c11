"""The shell: at a prompt on a real pseudo-terminal, and as a script."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from duckvstore.cli import places, shell


class Terminal:
    """The command on a pseudo-terminal of 100 columns and 30 lines."""

    def __init__(self, *arguments, cwd, **variables):
        import fcntl
        import struct
        import termios

        self.fd, inner = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "HOME": str(cwd),
            **variables,
        }
        environment.pop("NO_COLOR", None)
        # setsid -c: so that it is the terminal of the command, whose Ctrl-C is a signal.
        command = ["setsid", "-c", sys.executable, "-m", "duckvstore", *arguments]
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, cwd=cwd, env=environment)
        os.close(inner)
        self.raw = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, seconds=60):
        """Read until ``pattern`` is on the screen; return and forget what there was."""
        end = time.monotonic() + seconds
        while not re.search(pattern, plain(self.raw)):
            assert time.monotonic() < end, (pattern, self.raw)
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.raw += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    break
        found, self.raw = self.raw, ""
        assert re.search(pattern, plain(found)), (pattern, found)
        return found

    def end(self):
        code = self.process.wait(timeout=30)
        os.close(self.fd)
        return code


def plain(text):
    """Return what is printed without what moves the cursor or colours it."""
    return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])", "", text)


def test_the_prompt_completes_highlights_travels_and_remembers(lib, tmp_path):
    """Statements over lines, a version by .at, an error, an interrupted query, the history of the last time."""
    terminal = Terminal("shell", "--store", "store", cwd=tmp_path)
    terminal.until("eod>")
    terminal.type("SELECT count(*) AS n FROM tra\t")
    shown = terminal.until("des")
    assert "\x1b[0;38;5;" in shown or "\x1b[0;1" in shown  # words of SQL have a colour
    terminal.type("\rAT SNAPSHOT 'month-end';\r")
    assert re.search(r"\n *2\b", plain(terminal.until(r"trades v0.*\n(.|\n)*eod>")))
    terminal.type(".at 1\rSELECT count(*) AS n FROM trades;\r")
    terminal.until(r"trades v1")
    terminal.type(".at\r")
    terminal.until(r"eod>")
    terminal.type("SELEC 1;\r")
    terminal.until(r"line 1, column 1")
    terminal.type("SELECT max(a.range * b.range) FROM range(10000000) a, range(10000000) b;\r")
    terminal.until(r"b;")
    time.sleep(2)  # where it has not begun by then, the next Ctrl-C stops it
    for _ in range(3):
        terminal.type("\x03")
        time.sleep(0.5)
    terminal.until("stopped")
    terminal.type("BEGIN;\rDELETE FROM names;\r")
    terminal.until(r"eod\*>")
    terminal.type("\x04")
    terminal.until("not committed")
    assert terminal.end() == 0
    assert lib.has_symbol("names")
    assert lib.read("names").row_count == 2
    history = tmp_path / ".local/state/duckvstore/history"
    assert "DELETE FROM names;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_long_lists_are_paged_and_questions_are_asked(lib, tmp_path):
    """On a terminal alone."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nsed s/^/paged:/\n")
    pager.chmod(0o755)
    terminal = Terminal("sql", "FROM range(500)", "--store", "store", cwd=tmp_path, PAGER=str(pager))
    assert "paged:" in terminal.until("500 rows")
    terminal.end()
    terminal = Terminal("delete", "names", "--store", "store", cwd=tmp_path)
    terminal.until(r"Delete 'names' .*\[y/N\]")
    terminal.type("n\r")
    terminal.until("nothing was changed")
    assert terminal.end() == 1
    assert lib.has_symbol("names")
    terminal = Terminal("delete", "names", "--store", "store", cwd=tmp_path)
    terminal.until(r"\[y/N\]")
    terminal.type("y\r")
    terminal.until("deleted names")
    assert terminal.end() == 0


def script(run, monkeypatch, text, *arguments):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return run("shell", *arguments)


def test_a_script_runs_up_to_its_first_error(lib, run, monkeypatch):
    """With dots, parameters and statements over lines."""
    text = ".at month-end\nSELECT count(*) + $more AS n\nFROM trades;\n.at\n.param more 5\n.ls\n"
    text += "SELECT ';' AS x, $more AS m;"
    code, out, err = script(run, monkeypatch, text)
    assert (code, "no value for $more" in err, "symbol" in out) == (1, True, False)
    code, out, err = script(run, monkeypatch, ".param $more 5\n" + text + "\n.quit\nSELEC;")
    assert (code, err) == (0, "")
    assert re.search(r"^7$", out, re.MULTILINE)
    assert "trades" in out
    code, _, err = script(run, monkeypatch, "BEGIN; DELETE FROM names;")
    assert (code, "COMMIT" in err, lib.read("names").row_count) == (1, True, 2)
    assert script(run, monkeypatch, "BEGIN;\nDELETE FROM names;\nCOMMIT;")[0] == 0
    assert lib.read("names").row_count == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (".lgo", "Did you mean 'log'"),
        (".at nowhere", "no version number and no time"),
        (".use eof", "Did you mean 'eod'?"),
        (".rows x", ".rows 100"),
        (".param x", ".param low 10"),
        (".show", "SYMBOL"),
        (".log 'x", "quot"),
    ],
)
def test_a_wrong_line_with_a_dot_says_how_to_write_it(run, monkeypatch, line, message):
    """One message."""
    code, _, err = script(run, monkeypatch, line)
    assert (code in (1, 2), message in err, "Traceback" in err) == (True, True, False), err


def test_what_can_be_completed(lib, monkeypatch, tmp_path):
    """Names of the library where they can stand, versions, snapshots, and lines with dots."""
    found = shell.Shell(places.Place(store="store"))
    offers = shell.Offers(found.connection, lambda: {"low": 1})

    def offered(text):
        fragment, names = shell.offered(found, offers, text, text)
        return fragment, [name for name, _ in names]

    assert offered("SELECT * FROM t")[1][:1] == ["trades"]
    assert offered("SELECT pr")[1] == []
    assert "price" in shell.offered(found, offers, "SELECT p", "SELECT p FROM trades")[1][0]
    assert offered("FROM trades AT VERSION ")[1] == ["2", "1", "0"]
    assert offered("FROM trades AT SNAPSHOT ")[1] == ["'month-end'"]
    assert offered("SEL") == ("SEL", ["SELECT"])
    assert offered(".lo") == ("lo", ["log"])
    assert offered(".log tr") == ("tr", ["trades"])
    assert offered(".at mon") == ("mon", ["month-end"])
    assert offered(".use e") == ("e", ["eod"])


def test_a_statement_ends_with_a_semicolon_of_its_own():
    """Not with one in a text or a comment."""
    for text in ("", "  ", ".ls", "SELECT 1;", "SELECT ';';", "SELECT 1; -- yes"):
        assert shell.is_complete(text), text
    for text in ("SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1; SELECT 2", "/* ; "):
        assert not shell.is_complete(text), text
    assert list(shell.statements(["SELECT\n", "1;\n", ".ls\n", "SELECT 2"])) == ["SELECT\n1;\n", ".ls\n", "SELECT 2"]
