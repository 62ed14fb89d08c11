"""The guide and the reference build as a site without a warning, and every public name is in it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import duckvstore as vs
from tests import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it, in a folder."""
    pytest.importorskip("mkdocs", reason="the default environment builds the documentation")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_public_name_is_in_the_reference(site):
    """Each class with the calls that it has, and what they take."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")}
    every = "\n".join(pages.values())
    for name in vs.__all__:
        found = getattr(vs, name)
        if "ipython" in name:
            continue
        where = (
            "duckvstore.errors" if inspect.isclass(found) and issubclass(found, (Exception, Warning)) else "duckvstore"
        )
        assert f'id="{where}.{name}"' in every, name
    for name in dir(vs.Library):
        if not name.startswith("_") and callable(getattr(vs.Library, name)):
            assert f'id="duckvstore.Library.{name}"' in pages["libraries"], name
    plain = re.sub(r"<[^>]+>", "", pages["libraries"])
    assert "as_of" in plain
    assert "expected_version" in plain


def test_every_page_is_reached_from_the_menu(site):
    """And the pictures are there."""
    menu = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").with_suffix(".html").as_posix() in menu, page
    assert (site / "browser.png").exists()
