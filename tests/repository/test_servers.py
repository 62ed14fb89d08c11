"""The test servers themselves: they are shared, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.servers import SeaweedServer

_USER = """
import sys
from tests.servers import SeaweedServer
server = SeaweedServer().start()
print(server._supervisor.pid, server._folder, server.endpoint, flush=True)
sys.stdin.read()
"""


@pytest.mark.s3
def test_a_killed_user_leaves_no_server():
    """When the process that started a server is killed, the server ends by itself and its folder goes."""
    user = subprocess.Popen(
        [sys.executable, "-c", _USER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with user:
        supervisor, folder, endpoint = user.stdout.readline().split()
        shared = SeaweedServer.attach({"folder": folder, "endpoint": endpoint})
        supervisor_exit = os.pidfd_open(int(supervisor))
        user.send_signal(signal.SIGKILL)
        user.wait()
        # Somebody else still uses it: it goes on.
        assert shared.client().list_buckets()["Buckets"]
        shared.stop()
        _wait_for_end(supervisor_exit)
    assert not Path(folder).exists()
    assert SeaweedServer.attach({"folder": folder, "endpoint": endpoint}) is None
    port = endpoint.rpartition(":")[2]
    assert not list(Path("/tmp").glob(f"seaweedfs-*{port}.sock"))


def _wait_for_end(process_descriptor):
    import select

    ready, _, _ = select.select([process_descriptor], [], [], 30)
    os.close(process_descriptor)
    assert ready, "the supervisor of the server is still there after 30 s"
