"""The release before this one, run as it was: what it must refuse, it has to refuse itself.

A feature of the format that it does not know stands in ``requires``, and a store with it is refused by name. The code
comes from the repository's history; where there is none (an archive of the sources), the test says so and is skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "e91e6f18756a5b9c509aa3cac8f62f76ff092945"


@pytest.fixture(scope="session")
def release_before(tmp_path_factory):
    """Return a function that runs Python text with the release before and gives back what it printed."""
    folder = tmp_path_factory.mktemp("release-before")
    archive = subprocess.run(["git", "archive", COMMIT, "duckvstore"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the sources of the release before are not in this copy of the repository")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)

    def run(code: str, *arguments: object) -> str:
        """Run ``code`` with ``arguments`` as ``sys.argv[1:]``; an error is printed as ``Class: message``."""
        wrapped = (
            "import sys\n"
            "try:\n"
            f"    exec({code!r})\n"
            "except Exception as error:\n"
            "    print(f'{type(error).__name__}: {error}')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        ran = subprocess.run(
            [sys.executable, "-c", wrapped, *map(str, arguments)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout

    return run
