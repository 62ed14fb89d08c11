"""Options of a library: what may be chosen, what is valid, and their document.

An options document holds every option, so that a later release's defaults do not change existing libraries;
options that a reader does not know make it refuse the document only when it says so in ``requires``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from msgspec import field

from duckvstore.errors import InvalidInput, nearest
from duckvstore.format.stored import envelope
from duckvstore.format.stored.envelope import Count, Document, Time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPRESSIONS = ("zstd", "lz4", "snappy", "gzip", "brotli", "none")
SEGMENT_BYTES_MIN = 64 * 2**10
SEGMENT_BYTES_MAX = 2**30
# A compromise, measured in tests/benchmarks: small segments prune, share and load in parallel better; each costs a
# request, and DuckDB reads row groups of fewer than 122,880 rows less well.
SEGMENT_BYTES = 10 * 2**20
GRACE_SECONDS = 7 * 24 * 3600.0
GRACE_SECONDS_MIN = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a library stores and keeps what is written to it.

    Attributes:
        segment_bytes: aim for the size of a segment's rows in Arrow, in bytes; for what is written from then on.
        compression: of Parquet pages.
        statistics_columns: how many columns, after the index levels, have bounds in the document, for pruning.
        validate_index: refuse an unsorted datetime index unless a call says otherwise.
        keep_last: how many versions of a symbol gc keeps at least (None: all).
        keep_for_seconds: how long gc keeps a version after it was replaced (None: for ever). With both, a version is
            kept while either of them keeps it.
        grace_seconds: how long what was condemned is kept for readers and writers that are running.
        auto_fold: whether writers fold what is new into the catalogue by themselves when it is much, and gc does.
        server_side_encryption: S3 only: "AES256" or "aws:kms".
        encryption_key_id: S3 only: the key for "aws:kms".
        storage_class: S3 only: of segments, such as "STANDARD_IA".
    """

    segment_bytes: int = SEGMENT_BYTES
    compression: str = "zstd"
    statistics_columns: int = 32
    validate_index: bool = True
    keep_last: int | None = None
    keep_for_seconds: float | None = None
    grace_seconds: float = GRACE_SECONDS
    auto_fold: bool = True
    server_side_encryption: str | None = None
    encryption_key_id: str | None = None
    storage_class: str | None = None


class OptionsDocument(Document, frozen=True):
    """Options number ``number`` of a library, in force from ``changed_at``, as JSON in ``stored``.

    ``is_folded``: its catalogue is folded, so who removes intents must know of it; every later document says so too.
    """

    noun: ClassVar[str] = "options"

    library_id: str
    number: Count
    write_id: str
    changed_at: Time
    stored: dict[str, Any] = field(name="options")
    is_folded: bool = field(name="folded", default=False)

    def dump(self, features: Sequence[str] = ()) -> bytes:
        """Return the JSON of an options document."""
        return Document.dump(self, ["folded_catalogue"] if self.is_folded else features)

    @property
    def options(self) -> Options:
        """The options: one that this release does not know is left out; one that is missing has its default."""
        known = {field.name for field in fields(Options)}
        return Options(**{name: value for name, value in self.stored.items() if name in known})

    @classmethod
    def load(cls, data: bytes, *, where: str) -> Self:
        """Return the options document in ``data``. Raises Integrity and Unsupported."""
        found = super().load(data, where=where)
        with envelope.believing(cls.noun, where):
            try:
                _check(found.options)
            except InvalidInput as error:
                raise envelope.damaged(cls.noun, where, error) from error
        return found


envelope.work_out(OptionsDocument)


def changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """Return ``options`` with ``changes``, checked. Raises InvalidInput naming the option and what it may be.

    Durations may be given as ``timedelta`` under the names ``grace`` and ``keep_for``.
    """
    known = {field.name for field in fields(Options)}
    wanted: dict[str, Any] = {}
    for name, value in changes.items():
        full = f"{name}_seconds" if name in ("grace", "keep_for") else name
        if full not in known:
            raise InvalidInput(
                f"there is no option {name!r}.{nearest(name, known)} Options are {', '.join(sorted(known))}"
            )
        wanted[full] = value.total_seconds() if isinstance(value, timedelta) else value
    made = replace(options, **wanted)
    _check(made)
    return made


def parameters_of(options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters with which S3 is to store documents, and segments."""
    named = {
        "ServerSideEncryption": options.server_side_encryption,
        "SSEKMSKeyId": options.encryption_key_id,
        "StorageClass": options.storage_class,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return {name: value for name, value in given.items() if name != "StorageClass"}, given


def _check(options: Options) -> None:
    _check_whole("segment_bytes", options.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    _check_whole("statistics_columns", options.statistics_columns, 0, 10_000)
    if options.keep_last is not None:
        _check_whole("keep_last", options.keep_last, 1, 10**9)
    if options.compression not in COMPRESSIONS:
        raise InvalidInput(f"compression={options.compression!r} is none of {', '.join(COMPRESSIONS)}")
    for name in ("validate_index", "auto_fold"):
        if not isinstance(getattr(options, name), bool):
            raise InvalidInput(f"{name}={getattr(options, name)!r} is neither True nor False")
    _check_seconds("grace_seconds", options.grace_seconds, GRACE_SECONDS_MIN)
    if options.keep_for_seconds is not None:
        _check_seconds("keep_for_seconds", options.keep_for_seconds, 0)
    for name in ("server_side_encryption", "encryption_key_id", "storage_class"):
        value = getattr(options, name)
        if value is not None and (not isinstance(value, str) or not value):
            raise InvalidInput(f"{name}={value!r} is no text: give the name that S3 knows, or None")
    if options.encryption_key_id is not None and options.server_side_encryption != "aws:kms":
        raise InvalidInput("encryption_key_id needs server_side_encryption='aws:kms'")


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(f"{name}={value!r} must be a whole number from {least:,} to {most:,}")


def _check_seconds(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise InvalidInput(f"{name}={value!r} must be a timedelta, or a number of seconds, of at least {least:g} s")
