"""Processes that race are forked from one that has the imports, which take longer than the races."""

from __future__ import annotations

import pytest

from duckvstore.testing import races
from tests import children


@pytest.fixture(scope="session", autouse=True)
def forked_racers():
    """Let them start so in this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(races, "CONTEXT", children.context())
        yield
