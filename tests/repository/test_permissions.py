"""The S3 permissions in the handbook, on a server that enforces them: each policy is enough, and all of it is used."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs

import pandas as pd
import pytest

import duckvstore as vs
from tests import ROOT
from tests.conftest import fresh_bucket
from tests.servers import MotoServer

pytestmark = [pytest.mark.s3, pytest.mark.duckdb1]  # publishing needs httpfs
HANDBOOK = (ROOT / "docs/operations.md").read_text()
POLICIES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", HANDBOOK, re.DOTALL)]
DENIED = b"<Error><Code>AccessDenied</Code><Message>not in the policy</Message></Error>"


def actions_of(policy: dict) -> set[str]:
    """Return the actions that a policy allows."""
    given = [statement["Action"] for statement in policy["Statement"]]
    return {action for actions in given for action in ([actions] if isinstance(actions, str) else actions)}


def action_of(environ: dict) -> str:
    """Return the permission that S3 wants for a request."""
    method, query = environ["REQUEST_METHOD"], parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if environ["PATH_INFO"].strip("/").count("/") == 0 and "delete" not in query:
        named = {"versioning": "s3:GetBucketVersioning", "versions": "s3:ListBucketVersions"}
        return next((action for name, action in named.items() if name in query), "s3:ListBucket")
    name = {
        "GET": "GetObject",
        "HEAD": "GetObject",
        "PUT": "PutObject",
        "POST": "DeleteObject",
        "DELETE": "DeleteObject",
    }
    return f"s3:{name[method]}{'Version' if 'versionId' in query else ''}"


class Gate:
    """Answers in a server's place what the policy in force does not allow, and notes what is used of it."""

    def __init__(self, application) -> None:
        self.application = application
        self.allowed: set[str] | None = None
        self.used: set[str] = set()

    def __call__(self, environ, start_response):
        action = action_of(environ)
        if self.allowed is not None:
            self.used.add(action)
            if action not in self.allowed:
                start_response(
                    "403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(DENIED)))]
                )
                return [DENIED]
        return self.application(environ, start_response)

    def use(self, policy: dict) -> None:
        """Enforce a policy from now on."""
        self.allowed, self.used = actions_of(policy), set()


@pytest.fixture(scope="module")
def server():
    with MotoServer() as started:
        started._server.app = Gate(started._server.app)
        yield started


@pytest.fixture
def gate(server):
    server._server.app.allowed = None
    yield server._server.app
    server._server.app.allowed = None


@pytest.fixture
def bucket(server, gate):
    """A bucket with versioning, where a library has a symbol of two versions."""
    made = fresh_bucket(server)
    client = server.client()
    client.put_bucket_versioning(Bucket=made.name, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    library = vs.open(f"{made.url}/prefix", made.storage_options).create_library("eod")
    for number in range(2):
        library.write("s", frame(number))
    library.snapshot("first")
    return made


def frame(number: int) -> pd.DataFrame:
    """Return three rows."""
    return pd.DataFrame({"a": [number, 2, 3]}, index=pd.date_range("2026-01-01", periods=3, name="time"))


def opened(bucket) -> vs.Library:
    """Return a handle that has seen nothing yet."""
    return vs.open(f"{bucket.url}/prefix", bucket.storage_options).get_library("eod")


def test_readers(bucket, gate):
    """They read and list, and are refused when they write."""
    gate.use(POLICIES[0])
    library = opened(bucket)
    assert library.read("s", as_of=0).data["a"].iloc[0] == 0
    assert library.read("s", as_of="first").version == 1
    assert library.list_symbols() == ["s"]
    assert len(library.list_versions("s")) == 2
    assert list(library.list_snapshots()) == ["first"]
    assert library.verify().ok
    assert not library.gc().failures
    assert gate.used >= gate.allowed
    with pytest.raises(vs.AccessDenied):
        library.write("s", frame(9))


def test_writers(bucket, gate):
    """They make versions, snapshots, transactions and libraries, prune and publish, and can delete nothing."""
    gate.use(POLICIES[1])
    library = opened(bucket)
    library.append("s", frame(4).shift(10, freq="D"))
    library.update("s", frame(5))
    library.delete_rows("s", "a = 5")
    library.restore_version("s", 1)
    with library.transaction() as both:
        both.write("s", frame(6))
        both.write("t", frame(7))
    library.snapshot("second")
    library.prune("s", keep_last=2)
    library.set_options(keep_last=5)
    library.publish()
    vs.open(f"{bucket.url}/prefix", bucket.storage_options).create_library("other").write("s", frame(8))
    assert "s3:DeleteObject" not in gate.allowed
    assert gate.used >= gate.allowed
    with pytest.raises(vs.AccessDenied):
        library.delete_snapshot("first")
    with pytest.raises(vs.AccessDenied):
        library.stage("u", frame(1))
        library.finalize_staged_data("u")


def test_the_keeper(bucket, gate, server):
    """Whoever has all permissions of the page collects, verifies, deletes and recovers."""
    gate.use(POLICIES[2])
    library = opened(bucket)
    library.delete_snapshot("first")
    library.stage("u", frame(1))
    library.finalize_staged_data("u")
    library.prune("s", keep_last=1)
    assert library.gc(timedelta(0), dry_run=False).removed_versions == [("s", 0)]
    allowed, gate.allowed = gate.allowed, None
    client = server.client()
    listed = client.list_objects_v2(Bucket=bucket.name, Prefix="prefix/eod/segments/")["Contents"]
    client.delete_object(Bucket=bucket.name, Key=listed[0]["Key"])
    client.close()
    gate.allowed = allowed
    assert not library.verify().ok
    assert library.recover(dry_run=False).recovered_objects
    assert library.verify().ok
    assert gate.used >= gate.allowed
