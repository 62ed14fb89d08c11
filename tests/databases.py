"""A real PostgreSQL server on loopback, for tests, and what opens object stores in other processes.

Invariant: the server and its folder go away with the process that started it, also when that was killed: a shell
beside it waits for the end of a pipe.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.servers import HOST, free_ports

USER = "vstore"
_START_SECONDS_MAX = 60
_SERVER_USER = "postgres"  # the server refuses to run as root
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
}
_UNTIL_THE_PIPE_ENDS = """
folder=$1; shift
"$@" >"$folder/log" 2>&1 & server=$!
read -r _ || true
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
"""


def _program(name: str) -> str:
    """Return the newest installed program of that name; Debian keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise FileNotFoundError(f"no {name}: run tests/ensure_postgres.sh, or install your system's postgresql")
    return program


class PostgresServer:
    """A PostgreSQL server with one superuser ``USER``, who needs ``password``, and fresh databases on demand."""

    def start(self) -> PostgresServer:
        """Make the server's files, start it, and return when it answers."""
        self.password = secrets.token_hex(8)
        self.port = free_ports(1)[0]
        self._folder = Path(tempfile.mkdtemp(prefix="duckvstore-postgres-"))
        (self._folder / "password").write_text(self.password)
        identity: dict[str, object] = {"cwd": self._folder}
        if os.getuid() == 0:
            owner = pwd.getpwnam(_SERVER_USER)
            identity |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for path in (self._folder, self._folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        data = self._folder / "data"
        command = [_program("initdb"), f"--pgdata={data}", f"--username={USER}", "--auth=scram-sha-256"]
        command += [f"--pwfile={self._folder / 'password'}", "--encoding=UTF8", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=_START_SECONDS_MAX, **identity)
        command = [_program("postgres"), "-D", str(data), "-p", str(self.port)]
        command += [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_THE_PIPE_ENDS, "sh", str(self._folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **identity,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while True:
            try:
                self.execute("SELECT 1")
            except OSError as error:
                if time.monotonic() > deadline:
                    log = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise TimeoutError(f"PostgreSQL gave no answer within {_START_SECONDS_MAX} s: {log}") from error
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop it; its databases are gone."""
        self._shell.stdin.close()
        self._shell.wait(timeout=30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def connect(self, database: str):
        """Return a connection of psycopg's, past the code under test. Raises OSError while nobody answers."""
        import psycopg

        try:
            return psycopg.connect(
                host=HOST,
                port=self.port,
                user=USER,
                password=self.password,
                dbname=database,
                autocommit=True,
                connect_timeout=10,
            )
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from error

    def execute(self, statement: str, parameters: tuple[object, ...] = (), database: str = "postgres") -> list[tuple]:
        """Run one statement past the code under test, and return its rows. Raises OSError while nobody answers."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement, parameters, binary=True)
            return cursor.fetchall() if cursor.description else []

    def create_database(self) -> str:
        """Create a database that no other test uses and return its name."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database for ``duckvstore.open``."""
        return f"sql+postgresql+psycopg://{USER}@{HOST}:{port or self.port}/{database}"


# What follows is here and not beside the tests because racing processes import it: that has to be quick.


def open_table(url: str, options: dict[str, str], suffix: str):
    """Open objects in the table of the options, with ``suffix`` after its name."""
    from duckvstore.objects import open_objects

    return open_objects(url, {**options, "table": f"{options['table']}{suffix}"})


def open_cloud_s3(bucket: str, options: dict[str, str], prefix: str):
    """Open objects in a SeaweedFS bucket with the code for cloud services, which is given an S3 client."""
    from obstore.store import S3Store

    from duckvstore.objects.cloud import CloudObjects

    store = S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=options["endpoint_url"],
        region=options["region"],
        access_key_id=options["access_key_id"],
        secret_access_key=options["secret_access_key"],
        client_options={"allow_http": True},
    )
    return CloudObjects(store, f"s3://{bucket}/{prefix}", listing_order="folders")
