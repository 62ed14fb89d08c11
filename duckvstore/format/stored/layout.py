"""Every object key, built and parsed here and nowhere else.

``parse(build(x)) == x`` for any name, and no name can produce a key outside its own folder.
The tree under a library's root is drawn in FORMAT.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from duckvstore.errors import Integrity, InvalidInput

ESCAPED_NAME_BYTES_MAX = 240
KEY_NAME_BYTES_MAX = 255  # between two "/": the limit of file systems
VERSION_NUMBER_MAX = 10**10 - 1

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_ESCAPE = re.compile(r"~([0-9A-F]{2})")
_VERSION_FILE = re.compile(r"([0-9]{10})\.v(0|[1-9][0-9]{0,9})\.json")
_NAMED_FILES = {
    "segment": re.compile(r"[0-9a-f]{16,64}-[0-9a-f]{16}\.parquet"),
    "manifest": re.compile(r"[0-9a-f]{16}\.parquet"),
}
_CATALOGUE_FILE = re.compile(r"catalogue/files/([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{16}\.parquet")
_SNAPSHOT_FILE = re.compile(r"snapshot_files/([^/]+)/([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{16}\.parquet")
_GENERATION_FILE = re.compile(r"([0-9]{10})\.json")
_MARK = re.compile(r"([0-9]{10})\.([0-9a-f]{32})")
_INTENT = re.compile(r"([0-9a-f]{32})(?:\.(.+))?")
IDENTITY = re.compile(r"[0-9a-f]{32}")
# What SQL means by these in front of a table's name, in whatever case: no new library or snapshot has one.
RESERVED_NAMES = frozenset(("main", "temp", "memory", "system", "information_schema", "pg_catalog", "vstore"))


def escape(name: str, *, noun: str = "symbol") -> str:
    """Return ``name`` as one path segment: ``~XX`` for each UTF-8 byte outside ``[A-Za-z0-9._-]``.

    Neither ``%XX`` nor ``=XX``: both are changed by URL decoding, globbing or Hive partition guessing on
    the way through DuckDB. Raises InvalidInput for an empty name, a lone surrogate, or a name too long.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"a {noun} name is text of at least one character, not {name!r}: choose another name")
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{noun} name {name!r} is not valid Unicode: choose another name") from error
    only_dots = not name.strip(".")
    escaped = "".join(chr(byte) if byte in _SAFE and not only_dots else f"~{byte:02X}" for byte in raw)
    if len(escaped) > ESCAPED_NAME_BYTES_MAX:
        raise InvalidInput(
            f"{noun} name {name[:40]!r}… takes {len(escaped)} bytes when escaped, the limit is "
            f"{ESCAPED_NAME_BYTES_MAX}: choose a shorter name"
        )
    return escaped


def is_name(name: str) -> bool:
    """Return whether a symbol, a library or a snapshot may have this name."""
    try:
        escape(name)
    except InvalidInput:
        return False
    return True


def unescape(escaped: str) -> str:
    """Return the name that ``escape`` made ``escaped`` of; raises Integrity when no name does."""
    try:
        raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), escaped).encode("latin-1")
        name = raw.decode("utf-8")
        if escape(name) == escaped:
            return name
    except (UnicodeError, InvalidInput):
        pass
    raise Integrity(f"key segment {escaped!r} is no escaped name: another program wrote under this prefix")


def check_unreserved(name: str, noun: str) -> None:
    """Raise InvalidInput for the name of a new library or snapshot (``noun``) that SQL could not reach.

    Earlier releases made such; they stay readable from Python, and in SQL by ``AT SNAPSHOT`` or in their own session.
    """
    if isinstance(name, str) and name.casefold() in RESERVED_NAMES:
        listed = ", ".join(sorted(RESERVED_NAMES))
        raise InvalidInput(
            f"a {noun} cannot be called {name!r}: in SQL these are schemas and databases of DuckDB's own or the "
            f"catalogue ({listed}): choose another name"
        )


def library_root(name: str) -> str:
    """Return the prefix under which a library keeps everything, relative to the store, ending in ``/``."""
    return escape(name, noun="library") + "/"


def _inverted(number: int) -> str:
    if not 0 <= number <= VERSION_NUMBER_MAX:
        raise InvalidInput(f"{number} is no version number: it must be between 0 and {VERSION_NUMBER_MAX}")
    return f"{VERSION_NUMBER_MAX - number:010d}"


class _Under:
    """A key or a prefix that is the same in every library, under its root."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, layout: Layout, _: object) -> str:
        return layout.root + self._path


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one library. ``root`` is empty or ends in ``/``."""

    root: str

    #: key of the library's own document
    library = _Under("library.json")
    #: key of the copy of the library's document that a deletion in progress keeps
    deleting = _Under("deleting.json")
    #: prefix of the option documents
    options = _Under("options/")
    #: prefix of all version documents
    versions = _Under("versions/")
    #: prefix of all segments
    segments = _Under("segments/")
    #: prefix of all manifests
    manifests = _Under("manifests/")
    #: prefix of the snapshot documents
    snapshots = _Under("snapshots/")
    #: prefix of the files that snapshots name
    snapshot_files = _Under("snapshot_files/")
    #: prefix of the decisions
    transactions = _Under("transactions/")
    #: prefix of the journal
    journal = _Under("journal/")
    #: prefix of the marks of generations that intents were removed for
    marks = _Under("folds/")
    #: prefix of the generations of the folded catalogue
    generations = _Under("catalogue/generations/")
    #: prefix of the files that generations name
    catalogue_files = _Under("catalogue/files/")
    #: prefix of what has been condemned, for all symbols
    all_garbage = _Under("garbage/")
    #: prefix of all staged parts
    all_staging = _Under("staging/")
    #: key, in a store of segments alone, of the document that says whose they are
    owner = _Under("owner.json")

    def option(self, number: int) -> str:
        """Key of option document ``number``; the newest is the first of a listing."""
        return f"{self.options}{_inverted(number)}.json"

    def symbol_versions(self, symbol: str) -> str:
        """Prefix of one symbol's version documents."""
        return f"{self.versions}{escape(symbol)}/"

    def version(self, symbol: str, number: int) -> str:
        """Key of a version document. The number is inverted so that the newest is the first of a listing."""
        return f"{self.symbol_versions(symbol)}{_inverted(number)}.v{number}.json"

    def parse_version(self, key: str) -> tuple[str, int]:
        """Return (symbol, number) of a version document's key; raises Integrity for any other key."""
        folder, _, name = key.removeprefix(self.versions).partition("/")
        match = _VERSION_FILE.fullmatch(name)
        if key.startswith(self.versions) and match and int(match[1]) == VERSION_NUMBER_MAX - int(match[2]):
            return unescape(folder), int(match[2])
        raise Integrity(f"{key!r} is no key of a version document: another program wrote under this prefix")

    def parse_symbol_versions(self, folder: str) -> str:
        """Return the symbol of a folder of version documents; raises Integrity for any other key."""
        name = folder.removeprefix(self.versions)
        if folder.startswith(self.versions) and name.endswith("/") and name.count("/") == 1:
            return unescape(name[:-1])
        raise Integrity(f"{folder!r} is no folder of version documents: another program wrote under this prefix")

    def segment(self, symbol: str, digest: str, unique: str) -> str:
        """Key of a segment, relative to the library's root, as documents name it."""
        return f"segments/{escape(symbol)}/{digest}-{unique}.parquet"

    def manifest(self, symbol: str, unique: str) -> str:
        """Key of a manifest, relative to the library's root, as documents name it."""
        return f"manifests/{escape(symbol)}/{unique}.parquet"

    def segment_key(self, relative: str) -> str:
        """Return the full key of a segment that a document names.

        Raises Integrity when ``relative`` does not parse under this layout, so that a hostile document
        cannot point a reader anywhere else.
        """
        self._check_named(relative, "segment")
        return self.root + relative

    def manifest_key(self, relative: str) -> str:
        """Return the full key of a manifest that a document names; raises Integrity as ``segment_key`` does."""
        self._check_named(relative, "manifest")
        return self.root + relative

    def parse_named(self, key: str) -> tuple[str, str]:
        """Return (symbol, relative key) of the full key of a segment or manifest; raises Integrity for any other."""
        relative = key.removeprefix(self.root)
        noun = relative.partition("/")[0].removesuffix("s")
        if key.startswith(self.root) and noun in _NAMED_FILES:
            return self._check_named(relative, noun), relative
        raise Integrity(f"{key!r} is no key of a segment or manifest: another program wrote under this prefix")

    def _check_named(self, relative: str, noun: str) -> str:
        if is_named(relative, noun):
            return unescape(relative.split("/")[1])
        raise Integrity(f"a document names {relative!r}, which is no key of a {noun}: do not trust this library")

    def snapshot(self, name: str) -> str:
        """Key of a snapshot document."""
        return f"{self.snapshots}{escape(name, noun='snapshot')}.json"

    def parse_snapshot(self, key: str) -> str:
        """Return the name of a snapshot from its key; raises Integrity for any other key."""
        name = key.removeprefix(self.snapshots)
        if key.startswith(self.snapshots) and name.endswith(".json") and "/" not in name:
            return unescape(name.removesuffix(".json"))
        raise Integrity(f"{key!r} is no key of a snapshot: another program wrote under this prefix")

    def snapshot_file(self, name: str, time: datetime, unique: str) -> str:
        """Key of a file of a snapshot, relative to the library's root, with the time when it was put."""
        return f"snapshot_files/{escape(name, noun='snapshot')}/{time:%Y%m%dT%H%M%SZ}-{unique}.parquet"

    def parse_snapshot_file(self, key: str) -> tuple[str, datetime]:
        """Return (name of the snapshot, time when it was put) of a file's key; raises Integrity for any other key."""
        match = _SNAPSHOT_FILE.fullmatch(key.removeprefix(self.root))
        try:
            if key.startswith(self.root) and match:
                return unescape(match[1]), datetime.strptime(match[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
        raise Integrity(f"{key!r} is no key of a file of a snapshot: another program wrote under this prefix")

    def transaction(self, identity: str) -> str:
        """Key of a transaction's decision."""
        return f"{self.transactions}{_checked_identity(identity, 'transaction')}.json"

    def intent(self, write_id: str, symbol: str | None = None) -> str:
        """Key of the journal entry that announces a write; with ``symbol``, unless that is too long for a key."""
        named = "" if symbol is None else f".{escape(symbol)}"
        return f"{self.journal}{write_id}{named if len(write_id) + len(named) <= KEY_NAME_BYTES_MAX else ''}"

    def parse_intent(self, key: str) -> tuple[str, str | None]:
        """Return (write id, symbol or None) of the key of an intent; raises Integrity for any other key."""
        match = _INTENT.fullmatch(key.removeprefix(self.journal))
        if key.startswith(self.journal) and match:
            return match[1], None if match[2] is None else unescape(match[2])
        raise Integrity(f"{key!r} is no key of an intent: another program wrote under this prefix")

    def mark(self, number: int, generation_id: str) -> str:
        """Key of the mark of a generation that intents were removed for; the newest is the first of a listing."""
        return f"{self.marks}{_inverted(number)}.{_checked_identity(generation_id, 'generation')}"

    def parse_mark(self, key: str) -> tuple[int, str]:
        """Return (number, generation id) of the key of a mark; raises Integrity for any other key."""
        match = _MARK.fullmatch(key.removeprefix(self.marks))
        if key.startswith(self.marks) and match and int(match[1]):  # 0: no number would be above it
            return VERSION_NUMBER_MAX - int(match[1]), match[2]
        raise Integrity(f"{key!r} is no key of a mark: another program wrote under this prefix")

    def generation(self, number: int) -> str:
        """Key of a generation of the folded catalogue; the newest is the first of a listing."""
        return f"{self.generations}{_inverted(number)}.json"

    def parse_generation(self, key: str) -> int:
        """Return the number of a generation from its key; raises Integrity for any other key."""
        match = _GENERATION_FILE.fullmatch(key.removeprefix(self.generations))
        if key.startswith(self.generations) and match and int(match[1]):  # 0: no number would be above it
            return VERSION_NUMBER_MAX - int(match[1])
        raise Integrity(f"{key!r} is no key of a generation: another program wrote under this prefix")

    def catalogue_file(self, time: datetime, unique: str) -> str:
        """Key of a file of the folded catalogue, relative to the library's root, with the time when it was put."""
        return f"catalogue/files/{time:%Y%m%dT%H%M%SZ}-{unique}.parquet"

    def catalogue_key(self, relative: str) -> str:
        """Return the full key of a catalogue file that a generation names."""
        if not is_catalogue_file(relative):
            raise Integrity(f"a generation names {relative!r}, which is no catalogue file: do not trust this library")
        return self.root + relative

    def parse_catalogue_file(self, key: str) -> tuple[str, datetime]:
        """Return (relative key, time when it was put) of a catalogue file; raises Integrity for any other key."""
        relative = key.removeprefix(self.root)
        match = _CATALOGUE_FILE.fullmatch(relative)
        try:
            if key.startswith(self.root) and match:
                return relative, datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
        raise Integrity(f"{key!r} is no key of a catalogue file: another program wrote under this prefix")

    def symbol_garbage(self, symbol: str) -> str:
        """Prefix of what has been condemned of one symbol."""
        return f"{self.all_garbage}{escape(symbol)}/"

    def garbage(self, symbol: str, identity: str) -> str:
        """Key of a document that condemns versions, segments or manifests of a symbol."""
        return f"{self.symbol_garbage(symbol)}{_checked_identity(identity, 'garbage')}.json"

    def parse_garbage(self, key: str) -> str:
        """Return the symbol that a document of what is condemned is about; raises Integrity for any other key."""
        folder, _, name = key.removeprefix(self.all_garbage).partition("/")
        if key.startswith(self.all_garbage) and IDENTITY.fullmatch(name.removesuffix(".json")) and "/" not in name:
            return unescape(folder)
        raise Integrity(f"{key!r} is no key of a garbage document: another program wrote under this prefix")

    def symbol_staging(self, symbol: str) -> str:
        """Prefix of the parts that writers have staged for a symbol."""
        return f"{self.all_staging}{escape(symbol)}/"

    def parse_staging_folder(self, key: str) -> str:
        """Return the symbol of a folder of staged parts; raises Integrity for any other key."""
        if key.startswith(self.all_staging) and key.endswith("/"):
            return unescape(key.removeprefix(self.all_staging).removesuffix("/"))
        raise Integrity(f"{key!r} is no folder of staged parts: another program wrote under this prefix")

    def staged(self, symbol: str, identity: str) -> str:
        """Key of a staged part."""
        return f"{self.symbol_staging(symbol)}{_checked_identity(identity, 'staged part')}.json"

    def attach_file(self, name: str = "catalog.duckdb") -> str:
        """Key of a derived file for DuckDB's command line."""
        return f"{self.root}attach/{name}"


def is_named(relative: str, noun: str) -> bool:
    """Return whether ``relative`` may be the key of a segment or manifest (``noun``), as documents name them."""
    parts = relative.split("/")
    return len(parts) == 3 and parts[0] == f"{noun}s" and _NAMED_FILES[noun].fullmatch(parts[2]) is not None


def is_snapshot_file(relative: str) -> bool:
    """Return whether ``relative`` may be the key of a file of a snapshot, as its document names it."""
    return _SNAPSHOT_FILE.fullmatch(relative) is not None


def is_catalogue_file(relative: str) -> bool:
    """Return whether ``relative`` may be the key of a catalogue file, as generations name them."""
    return _CATALOGUE_FILE.fullmatch(relative) is not None


def is_identity(identity: str) -> bool:
    """Return whether ``identity`` may be the id of a transaction, a garbage document or a staged part."""
    return IDENTITY.fullmatch(identity) is not None


def _checked_identity(identity: str, noun: str) -> str:
    if not is_identity(identity):
        raise Integrity(f"{identity!r} is no {noun} id: do not trust this library")
    return identity
