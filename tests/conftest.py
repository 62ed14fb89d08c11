"""Fixtures that every test may use: S3 servers, fresh buckets, and an environment without the user's own settings."""

from __future__ import annotations

import os
import secrets
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.release_before import release_before  # noqa: F401 - a fixture
from tests.servers import READER, MotoServer, SeaweedServer, Server, shared_seaweed
from tests.sizes import IS_FULL, MANY_CASES, is_case_here, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

# Nobody's own profile, credentials or store may change what a test does, nor a test reach out of this machine.
for _name in [name for name in os.environ if name.startswith(("AWS_", "DUCKVSTORE_URL", "DUCKVSTORE_CACHE"))]:
    del os.environ[_name]
os.environ.update(
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
    NO_PROXY="127.0.0.1,localhost",
    DUCKVSTORE_CACHE="off",  # requests are counted; the tests of the cache turn it on
)

# A shell that runs the tests in the background has told them to ignore Ctrl-C, which some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run; make test-full looks for new ones.
settings.register_profile("ci", derandomize=True, database=None, deadline=None, max_examples=sized(100, full=1000))
settings.register_profile("full", deadline=None, max_examples=sized(100, full=1000))
settings.load_profile("full" if IS_FULL else "ci")

_LONG = [
    *("test_random_programs", "test_random_queries", "test_proxy_walk", "test_object_stores", "test_sql_races"),
    *("test_collect_walks", "test_transaction_walks", "test_more_object_stores", "test_fixtures", "test_state_machine"),
    *("test_end_to_end", "test_notebooks", "test_interrupts", "test_cli", "test_tpch", "test_writing", "test_session"),
]
_SERVER_FIXTURES = {"seaweed", "s3_bucket", "s3_reader_options", "moto", "moto_bucket"}


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket: ``duckvstore.open(bucket.url, storage_options=bucket.storage_options)``."""

    name: str
    server: Server
    storage_options: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The bucket's URL."""
        return f"s3://{self.name}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test that needs an S3 server with ``s3``, and begin with the files that take longest.

    A file is the work of one process, and the others would have nothing left to do beside the last.
    """
    rank = {name: at for at, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(_LONG)))
    _sample_cases(config, items)
    for item in items:
        if _SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("s3")


def _sample_cases(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave of each test of SQL that has many cases those that this run is for."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.nodeid.startswith("tests/sql/"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    many = (cases for cases in tests.values() if len(cases) >= MANY_CASES)
    left_out = {item.nodeid for cases in many for at, item in enumerate(cases) if not is_case_here(at)}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A SeaweedFS server, one for all pytest-xdist workers."""
    folder = tmp_path_factory.getbasetemp()
    with shared_seaweed(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """A moto server in this process."""
    with MotoServer() as server:
        yield server


def fresh_bucket(server: Server) -> Bucket:
    """Create a bucket that no other test uses."""
    name = f"test-{secrets.token_hex(6)}"
    server.create_bucket(name)
    return Bucket(name, server, server.storage_options())


@pytest.fixture
def s3_bucket(seaweed: SeaweedServer) -> Iterator[Bucket]:
    """A fresh bucket on SeaweedFS, removed again: each has volumes of its own, which are limited."""
    bucket = fresh_bucket(seaweed)
    yield bucket
    client = seaweed.client()
    client.delete_bucket(Bucket=bucket.name)
    client.close()


@pytest.fixture
def s3_reader_options(seaweed: SeaweedServer) -> dict[str, str]:
    """Storage options of an identity that may read every SeaweedFS bucket and write none."""
    return seaweed.storage_options(READER)


@pytest.fixture
def moto_bucket(moto: MotoServer) -> Bucket:
    """A fresh bucket on moto."""
    return fresh_bucket(moto)
