"""Prints the lowest version of each dependency that pyproject.toml allows, one a line, for the tests on them."""

from __future__ import annotations

import tomllib
from pathlib import Path

NEEDED = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]["dependencies"]

if __name__ == "__main__":
    for needed in NEEDED:
        print(needed.partition(",")[0].replace(">=", "=="))
