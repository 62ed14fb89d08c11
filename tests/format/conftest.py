"""The golden stores: each as it was committed, and as this release writes it now."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["committed", "fresh"])
def folder(request, tmp_path) -> Path:
    """The golden store of the test's module, its ``GOLDEN``, as committed, and one that this release writes."""
    committed: Path = request.module.GOLDEN
    if request.param == "committed":
        return committed
    importlib.import_module(f"tests.format.make_{committed.name}").make(str(tmp_path))
    return tmp_path
