"""Build ``vstore.duckdb_extension`` for one release of DuckDB, and print where it is.

The headers are those of DuckDB's source package on PyPI, the library to link with is the one that npm has for Node:
pip and npm fetch both once, into ``build/``. Nothing is built again when neither the sources nor the release have
changed: the result is under a digest of both.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
# DuckDB's C++ interface is that of one release exactly. npm numbers its packages by the release and a count.
DUCKDB_VERSION = "1.5.5"
NODE_BINDINGS = "@duckdb/node-bindings-linux-x64@1.5.5-r.1"
PLATFORM = "linux_amd64"
EXTENSION_VERSION = "0.1.0"
FIELD_BYTES = 32
SIGNATURE_BYTES = 256
# What of DuckDB's sources is needed.
HEADERS = ("src/include/", "third_party/yyjson/include/")
TOOLS = ("npm", "cmake", "g++")


class CannotBuildError(Exception):
    """What is missing, in words for a person."""


def build(*, sanitize: bool = False) -> Path:
    """Return the extension, which is built unless it is there. Raises CannotBuildError."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CannotBuildError(f"it takes Linux on x86-64 with {', '.join(TOOLS)} (not found: {missing})")
    folder = BUILD / f"{_digest()}{'-sanitized' if sanitize else ''}"
    extension = folder / "vstore.duckdb_extension"
    if extension.exists():
        return extension
    headers, library = _headers(), _library()
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1 -DNDEBUG", f"-DVSTORE_SANITIZE={int(sanitize)}"]
    places = [f"-DDUCKDB_SOURCE={headers}", f"-DDUCKDB_LIBRARY={library}"]
    _run(["cmake", "-S", str(HERE), "-B", str(folder / "cmake"), *options, *places])
    _run(["cmake", "--build", str(folder / "cmake")])
    unfinished = folder / "unfinished"
    unfinished.write_bytes((folder / "cmake" / "libvstore.so").read_bytes() + _footer())
    unfinished.rename(extension)
    return extension


def _digest() -> str:
    """Return what tells one build from another."""
    found = hashlib.sha256(f"{DUCKDB_VERSION} {NODE_BINDINGS} {HERE}".encode())
    for path in sorted([*HERE.glob("src/*"), HERE / "CMakeLists.txt", Path(__file__)]):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _footer() -> bytes:
    """Return the end by which DuckDB knows an extension: eight fields, the last first, and no signature."""
    fields = ["", "", "", "CPP", EXTENSION_VERSION, f"v{DUCKDB_VERSION}", PLATFORM, "4"]
    return b"".join(field.encode().ljust(FIELD_BYTES, b"\0") for field in fields) + bytes(SIGNATURE_BYTES)


def _headers() -> Path:
    """Return DuckDB's source folder, with headers alone."""
    target = BUILD / f"headers-{DUCKDB_VERSION}"
    if target.exists():
        return target
    downloads = _empty(BUILD / "downloads-pip")
    # pip looks into a source package before it keeps it, which takes half a minute.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--no-binary", "duckdb", "--dest", str(downloads), f"duckdb=={DUCKDB_VERSION}"])
    root = f"duckdb-{DUCKDB_VERSION}/external/duckdb/"
    unpacked = _empty(BUILD / "unpacked")
    with tarfile.open(next(downloads.glob("*.tar.gz"))) as archive:
        wanted = [m for m in archive if m.isfile() and m.name.startswith(tuple(root + name for name in HEADERS))]
        archive.extractall(unpacked, wanted, filter="data")
    (unpacked / root).rename(target)
    shutil.rmtree(downloads)
    shutil.rmtree(unpacked)
    return target


def _library() -> Path:
    """Return DuckDB's library."""
    target = BUILD / f"libduckdb-{DUCKDB_VERSION}" / "libduckdb.so"
    if target.exists():
        return target
    downloads = _empty(BUILD / "downloads-npm")
    _run(["npm", "pack", "--silent", "--pack-destination", str(downloads), NODE_BINDINGS])
    with tarfile.open(next(downloads.glob("*.tgz"))) as archive:
        archive.extract("package/libduckdb.so", downloads, filter="data")
    target.parent.mkdir(exist_ok=True)
    (downloads / "package" / "libduckdb.so").rename(target)
    shutil.rmtree(downloads)
    return target


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode != 0:
        raise CannotBuildError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def main() -> int:
    """Build, and print where the extension is."""
    parser = argparse.ArgumentParser(description="Build the DuckDB extension vstore.")
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UBSan, for tests")
    try:
        print(build(sanitize=parser.parse_args().sanitize))
    except CannotBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
