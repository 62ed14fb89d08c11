"""The repository's own shape: what every file must keep to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import duckvstore
from tests import ROOT

SOURCES = sorted((ROOT / "duckvstore").rglob("*.py"))
MAKEFILE = (ROOT / "Makefile").read_text()
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FUNCTION_LINES_MAX = 70


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for path in map(ROOT.joinpath, listing.splitlines()) if path.is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_stay_small(path):
    """A function fits a screen. How long a module may be is a matter of what it holds, not of a number."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_their_purpose(path):
    """Every module's docstring states what it is for; empty package markers have nothing to say."""
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "no docstring"


def test_no_module_is_a_drawer_of_odds_and_ends():
    """Modules are named for what they hold."""
    assert not [path for path in SOURCES if path.stem.strip("_") in {"utils", "util", "helpers", "common", "misc"}]


def test_public_names_are_sorted_and_exist():
    """``__all__`` is complete, sorted without regard to case, and importable."""
    names = duckvstore.__all__
    assert names == sorted(names, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(duckvstore, name) for name in names)
    public = {
        name
        for name, value in vars(duckvstore).items()
        if getattr(value, "__module__", "").startswith("duckvstore.") and not name.startswith("_")
    }
    assert public <= set(names)


def test_importing_the_package_loads_nothing_heavy():
    """pandas, boto3, duckdb, polars and the widgets load on use."""
    code = (
        "import sys, duckvstore; "
        "print([m for m in ('pandas', 'boto3', 'botocore', 'duckdb', 'polars', 'ipywidgets', 'anywidget', 'IPython', "
        "'sqlglot', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_top_level_folders_are_the_agreed_ones():
    """A newcomer sees five folders."""
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if len(path.relative_to(ROOT).parts) > 1}
    assert {name for name in folders if not name.startswith(".")} <= {
        "docs",
        "duckvstore",
        "extension",
        "notebooks",
        "tests",
    }


def test_every_command_is_documented():
    """Each subcommand of the command line is shown on its page."""
    from duckvstore.cli import build_parser

    readme = (ROOT / "docs/command.md").read_text()
    missing = [name for name in build_parser().commands if f"duckvstore {name}" not in readme]
    assert not missing


def test_every_public_method_is_documented():
    """What the library handle can do is listed for users, in the README or under docs/."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    readme = "\n".join(page.read_text() for page in pages)
    methods = [name for name in dir(duckvstore.Library) if not name.startswith("_")]
    assert not [name for name in methods if not re.search(rf"\b{name}\b", readme)]


def test_files_are_small_and_name_no_registry():
    """No large binaries, no download addresses."""
    registry = re.compile(r"(files\.python" + r"hosted|registry\.npm" + r"js|pypi\.o" + r"rg/simple|deb\.deb" + r"ian)")
    for path in tracked():
        assert path.stat().st_size <= 400_000, path
        if path.suffix in {".py", ".txt", ".toml", ".md", ".json", ".ipynb", ".js", ".sh", ""}:
            assert not registry.search(path.read_text(errors="replace")), path


def test_no_test_is_skipped_without_a_reason():
    """A skip names its reason."""
    for path in TESTS:
        for match in re.finditer(r"pytest\.(mark\.)?(skip|skipif|xfail)\b\s*(\(?)", path.read_text()):
            if path != Path(__file__):
                assert match.group(3) == "(", f"{path} has a bare skip"


def made(variable: str) -> list[Path]:
    """Return the files and folders of tests that the Makefile names in ``…_TESTS``."""
    lines = MAKEFILE.replace("\\\n", "").splitlines()
    line = next(line for line in lines if line.startswith(f"{variable}_TESTS"))
    groups = re.findall(r"addprefix ([^,]+),([^)]*)", line)
    return [ROOT / f"{prefix}{name}".partition("::")[0] for prefix, names in groups for name in names.split()]


def test_the_tests_that_the_makefile_names_exist():
    """Those of each environment, and the quick ones."""
    for variable in ("DUCKDB1", "OLDEST", "QUICK"):
        paths = made(variable)
        assert paths
        assert not [path for path in paths if not path.exists()], variable


def test_tests_that_need_a_server_are_run_where_there_is_one():
    """Whatever is marked ``s3`` or ``duckdb1`` is found by the words for which the Makefile looks."""
    words = re.search(r"^S3_TESTS := .* grep -rlwE '(.+)' --include='test_\*\.py' tests\)", MAKEFILE, re.MULTILINE)[1]
    marked = re.compile(r"mark\.(s3|duckdb1)|\b(seaweed|s3_bucket|s3_reader_options|moto|moto_bucket)\b")
    needing = [path for path in TESTS if path.name.startswith("test_") and marked.search(path.read_text())]
    assert len(needing) > 20
    assert not [path for path in needing if not re.search(rf"\b({words})\b", path.read_text())]


def test_the_version_is_the_same_everywhere():
    """pyproject.toml and the package agree."""
    assert f'version = "{duckvstore.__version__}"' in (ROOT / "pyproject.toml").read_text()
