"""The code for Azure on Azurite, Microsoft's emulator: skipped unless its ``azurite-blob`` is on the PATH.

It is a large package of npm's (``npm install --global azurite``), so that no setup here installs it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import time
from email.utils import formatdate
from functools import partial

import obstore
import pytest
from obstore.store import AzureStore

from duckvstore.objects import open_objects
from duckvstore.testing.conformance import Backdoor, ObjectStoreConformance
from tests.servers import HOST, free_ports

PROGRAM = shutil.which("azurite-blob")
ACCOUNT = "account"
API_VERSION = "2021-12-02"
_START_SECONDS_MAX = 60

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no azurite-blob on the PATH: npm install --global azurite")


@pytest.fixture(scope="session")
def azure_options(tmp_path_factory):
    """What opens containers of a running Azurite."""
    folder, (port,) = tmp_path_factory.mktemp("azurite"), free_ports(1)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    command = [PROGRAM, "--blobHost", HOST, "--blobPort", str(port), "--location", str(folder), "--silent"]
    command += ["--disableTelemetry", "--skipApiVersionCheck"]  # obstore is newer than what some releases know
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment
        )
    try:
        wait_for(port, server)
        yield {
            "account_name": ACCOUNT,
            "account_key": key,
            "endpoint": f"http://{HOST}:{port}/{ACCOUNT}",
            "client_options": {"allow_http": True},
        }
    finally:
        server.kill()
        server.wait()


def wait_for(port, server):
    deadline = time.monotonic() + _START_SECONDS_MAX
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            assert server.poll() is None, "Azurite ended"
            assert time.monotonic() < deadline, "Azurite gave no answer"
            time.sleep(0.1)
        else:
            return


def create_container(options, name):
    """Make a container by a signed request, which obstore has no call for."""
    date = formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{API_VERSION}"
    text = "\n".join(["PUT", *[""] * 11, headers, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    digest = hmac.new(base64.b64decode(options["account_key"]), text.encode(), hashlib.sha256).digest()
    signed = dict(line.split(":", 1) for line in headers.splitlines())
    signed |= {"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}", "Content-Length": "0"}
    address = options["endpoint"].removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=signed)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def open_below(container, options, prefix):
    return open_objects(f"az://{container}/{prefix}", options)


class TestAzurite(ObjectStoreConformance):
    race_round_count = 5

    @pytest.fixture
    def container(self, azure_options):
        name = f"test-{secrets.token_hex(6)}"
        create_container(azure_options, name)
        return name

    @pytest.fixture
    def objects(self, container, azure_options):
        return open_below(container, azure_options, "")

    @pytest.fixture
    def backdoor(self, container, azure_options):
        store = AzureStore(container, **azure_options)

        def read(key):
            try:
                return bytes(obstore.get(store, key).bytes())
            except FileNotFoundError:
                return None

        return Backdoor(lambda key, data: obstore.put(store, key, data, use_multipart=False), read)

    @pytest.fixture
    def reopen(self, container, azure_options):
        return partial(open_below, container, azure_options)
