"""The pages are true: their blocks run (those of the guide as one, by test_readme), and what they name exists."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec

import pandas as pd
import pytest

import duckvstore as vs
import duckvstore.objects
from duckvstore import cli
from tests import ROOT
from tests.repository.test_readme import PAGES as GUIDE

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NAMING = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "FORMAT.md"]
ALONE = [page for page in PAGES if page not in GUIDE]  # the others are run by test_readme
# Folders that are no part of the repository: of a library, of what is set up, and of examples.
OUTSIDE = {"segments", "snapshot_files", "manifests", ".duckvstore-probe", ".venv", "site", "PREFIX", ".", "a", "eod"}


def blocks(page, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.mark.parametrize("page", ALONE, ids=lambda page: page.stem)
def test_blocks_run(page, monkeypatch, tmp_path):
    """The Python of a page, one block after the other; ``lib`` is there already."""
    monkeypatch.setattr(duckvstore.objects, "_memories", {})
    monkeypatch.chdir(tmp_path)
    library = vs.open("memory://page").create_library("eod")
    library.write("trades", pd.DataFrame({"price": [9.5, 11.0]}))
    known = {"lib": library}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page.name}, block {number}", "exec"), known)


def test_every_block_is_of_a_language_that_is_run():
    """Each is run here or by test_readme; policies are enforced by test_permissions."""
    for page in PAGES:
        named = set(re.findall(r"^```(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= {"python", "sql", "sh", "json"}, page
        assert not blocks(page, "sql") or page == DOCS / "duckdb-shell.md", page
        assert all(json.loads(block) for block in blocks(page, "json"))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=lambda page: page.stem)
def test_shell_lines_run(page, monkeypatch, tmp_path, capfd):
    """The command's lines run on a store; make and Python have what the other lines name."""
    monkeypatch.setenv("DUCKVSTORE_URL", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("trades.csv", "monday.csv", "prices/a.csv", "prices/b.csv"), start=1):
        (tmp_path / "prices").mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"id,time,price\n1,2026-01-0{number} 09:00:00,9.5\n")
    vs.open(tmp_path / "store").create_library("eod").write("trades", pd.DataFrame({"price": [9.5, 11.0]}))
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "duckvstore":
            # Only S3 buckets with versioning can bring anything back.
            assert cli.main(words[1:]) == (1 if words[1] == "recover" else 0), line
        elif words[0] == "make":
            assert words[1] in targets, line
        else:
            assert (words[0], words[1]) == (".venv/bin/python", "-m"), line
            assert find_spec(words[2]), line
            assert all((ROOT / word.partition("::")[0]).exists() for word in words[3:] if word.startswith("tests/")), (
                line
            )
    capfd.readouterr()


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.stem)
def test_every_path_that_is_named_exists(page):
    """What looks like a path of the repository, or of the package, is one; and links lead somewhere."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for named in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:py|md|toml|js))(?:[: ][^`]*)?`", text):
        if named.split("/")[0] in OUTSIDE or (page.name == "FORMAT.md" and not named.endswith((".py", ".md"))):
            continue
        candidates = [root / name for root in (ROOT, ROOT / "duckvstore") for name in (named, f"{named}.py")]
        if "/" not in named:  # beside a folder that was named before
            candidates += (ROOT / "duckvstore").rglob(named)
        assert any(path.exists() for path in candidates), named
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
