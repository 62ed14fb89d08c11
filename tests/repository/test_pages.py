"""The pages under docs/ are true: their Python blocks run, one after the other; those of the guide as one page."""

import re

import pytest

import duckvstore.objects
from tests import ROOT
from tests.repository.test_readme import PAGES as GUIDE

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


ALONE = [page for page in sorted(DOCS.rglob("*.md")) if page not in GUIDE]  # the others are run by test_readme


@pytest.mark.parametrize("page", ALONE, ids=lambda page: page.stem)
def test_blocks_run(page, monkeypatch, tmp_path):
    monkeypatch.setattr(duckvstore.objects, "_memories", {})
    monkeypatch.chdir(tmp_path)
    known = {}
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        exec(compile(block, f"{page.name}, block {number}", "exec"), known)
