"""Verification and sizes: whether everything is there, and how much space it takes.

Nothing here changes anything, and a verification continues after a problem, so that one run reports all.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from duckvstore.concurrency import PARALLEL_REQUESTS
from duckvstore.engine.library import condemned, options
from duckvstore.engine.maintenance import fold, references
from duckvstore.engine.maintenance.reports import Size, SizesReport, VerificationReport
from duckvstore.engine.reading import catalogue, folded, segments, visible
from duckvstore.errors import AccessDenied, Integrity, NoSuchKey, NoSuchSnapshot, Unsupported
from duckvstore.format.stored import documents
from duckvstore.format.stored.generations import DOCUMENTS, HEADS, VERSIONS
from duckvstore.format.stored.options import OptionsDocument
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Snapshot, Version
    from duckvstore.format.stored.generations import File
    from duckvstore.format.stored.label_runs import LabelRun
    from duckvstore.format.stored.manifests import Manifest
    from duckvstore.format.stored.segments import Segment

Outcome = TypeVar("Outcome")


def verify(library: OpenLibrary, *, deep: bool = True, repair: bool = False) -> VerificationReport:
    """Check that everything a document refers to is there, as it was written, and report what is not.

    By listings, and when ``deep`` by reading every segment. ``repair``: make the folded catalogue anew where it is not
    what the documents say. Raises NoSuchLibrary, Conflict, StorageUnavailable.
    """
    library.check_present(at_once=True)
    return _Verification(library, deep=deep, repair=repair).carry_out()


class _Verification:
    """One verification: what was found so far."""

    def __init__(self, library: OpenLibrary, *, deep: bool, repair: bool) -> None:
        self.library, self.repair = library, repair
        self.report = VerificationReport(library.name, deep)
        self.versions: dict[tuple[str, int], Version] = {}
        self.manifests: dict[str, Manifest] = {}
        self.label_runs: dict[str, LabelRun] = {}
        self.segments: dict[str, Segment] = {}
        self.used_by: dict[str, str] = {}
        self.unreadable: list[tuple[str, Version | None]] = []
        self.foreign: set[str] = set()

    def carry_out(self) -> VerificationReport:
        staged = self._staged()
        self._load_versions()
        self._check_small_documents()
        self._load_manifests()
        self._check_label_runs()
        listed = list_objects(self.library)
        self._check_listed(listed)
        self._check_snapshots()
        problems = self._check_catalogue()
        if problems and self.repair:
            fold.fold(self.library, rebuild=True)
            self.report.repaired, problems = problems, self._check_catalogue()
        self.report.problems += problems
        if self.report.deep:
            self._read_segments(listed)
        report = self.report
        report.version_count = len(self.versions)
        report.object_count = len(self.segments)
        report.object_bytes = sum(segment.size_bytes for segment in self.segments.values())
        named = self.segments.keys() | self.manifests.keys() | self.label_runs.keys()
        report.orphans = sorted(listed.keys() - named - self.foreign - staged)
        report.orphan_bytes = sum(listed[relative] for relative in report.orphans)
        report.native_versioning = _native_versioning(self.library)
        return report

    def _staged(self) -> set[str]:
        """Return what staged parts refer to; they are listed before the versions, as ``references`` has it."""
        library = self.library
        keys = [entry.key for entry in library.objects.list(library.layout.all_staging)]
        found = self._without_problems(lambda key: references.staged_part(library, key), keys)
        return {key for part in found if part is not None for key in part.keys}

    def _check_small_documents(self) -> None:
        """Read garbage documents, decisions and options: what cannot be read stops collections and writes."""
        library, layout = self.library, self.library.layout

        def where(key: str) -> str:
            return f"{library.objects.url} {key}"

        kinds: tuple[tuple[str, Callable[[str], object]], ...] = (
            (layout.all_garbage, lambda key: condemned.read(library, key)),
            (layout.transactions, lambda key: documents.Decision.load(library.objects.read(key), where=where(key))),
            (layout.options, lambda key: OptionsDocument.load(library.objects.read(key), where=where(key))),
        )
        for prefix, read in kinds:
            self._without_problems(read, [entry.key for entry in library.objects.list(prefix)])

    def _without_problems(self, read: Callable[[str], Outcome], keys: list[str]) -> list[Outcome]:
        """Return what ``read`` gives for each key; an unreadable one is a problem, one that is gone is not."""

        def one(key: str) -> tuple[Outcome | None, str | None]:
            try:
                return read(key), None
            except NoSuchKey:
                return None, None
            except (Integrity, Unsupported) as error:
                return None, str(error)

        outcomes = list(references.in_batches(one, keys))
        self.report.problems += [problem for _, problem in outcomes if problem is not None]
        return [outcome for outcome, _ in outcomes if outcome is not None]

    def _load_versions(self) -> None:
        opened = self.library

        def load(key: str) -> tuple[Version | None, str | None]:
            pair = opened.layout.parse_version(key)
            try:
                return opened.version(*pair, fresh=True), None
            except NoSuchKey:
                return None, None
            except (Integrity, Unsupported) as error:
                problem = str(error)
            try:  # what a document refers to is not an orphan where only its labels are lost
                return opened.version(*pair, fresh=True, labelled=False), problem
            except (NoSuchKey, Integrity, Unsupported):
                return None, problem

        keys = [entry.key for entry in opened.objects.list(opened.layout.versions)]
        for found, problem in references.in_batches(load, keys):
            if problem is not None:
                self.unreadable.append((problem, found))
            if found is not None and found.library_id != opened.library_id:
                self.foreign.update(references.own_keys(found))
            elif found is not None:
                self._add_version(found)

    def _add_version(self, found: Version) -> None:
        self.versions[found.symbol, found.number] = found
        name = f"version {found.number} of {found.symbol!r}"
        self._add(references.inline_segments(found), name)
        for run in found.label_runs:
            self.label_runs[run.key] = run
            self.used_by.setdefault(run.key, name)
        for manifest in references.named_manifests(found):
            self.manifests[manifest.key] = manifest
            self.used_by.setdefault(manifest.key, name)

    def _add(self, found: Iterable[Segment], name: str) -> None:
        for segment in found:
            known = self.segments.setdefault(segment.key, segment)
            first = self.used_by.setdefault(segment.key, name)
            if (known.size_bytes, known.sha256) != (segment.size_bytes, segment.sha256):
                self.report.problems.append(f"{first} and {name} do not agree about segment {segment.key}")

    def _load_manifests(self) -> None:
        def load(manifest: Manifest) -> tuple[str, tuple[Segment, ...]] | str:
            try:
                return manifest.key, self.library.load_manifest(manifest)
            except Integrity as error:
                return f"{error} ({self.used_by[manifest.key]})"

        for found in references.in_batches(load, list(self.manifests.values())):
            if isinstance(found, str):
                self.report.problems.append(found)
            else:
                self._add(found[1], self.used_by[found[0]])

    def _check_label_runs(self) -> None:
        def check(run: LabelRun) -> tuple[str, str] | None:
            try:
                self.library.load_labels(run)
            except Integrity as error:
                return run.key, f"{error} ({self.used_by[run.key]})"
            return None

        found = references.in_batches(check, list(self.label_runs.values()))
        bad = dict(each for each in found if each is not None)
        self.report.problems += bad.values()
        self.report.problems += [  # those that are not so for the labels just named
            problem
            for problem, version in self.unreadable
            if version is None or bad.keys().isdisjoint(run.key for run in version.label_runs)
        ]

    def _check_listed(self, listed: dict[str, int]) -> None:
        for key, segment in self.segments.items():
            if key not in listed:
                self.report.problems.append(f"segment {key} is missing ({self.used_by[key]})")
            elif listed[key] != segment.size_bytes:
                self.report.problems.append(
                    f"segment {key} has {listed[key]:,} bytes, expected {segment.size_bytes:,} ({self.used_by[key]})"
                )

    def _check_snapshots(self) -> None:
        for name in catalogue.snapshot_names(self.library):
            try:
                snapshot = catalogue.read_snapshot(self.library, name)
            except NoSuchSnapshot:
                continue  # deleted meanwhile, or another library's
            except (Integrity, Unsupported) as error:
                self.report.problems.append(str(error))
                continue
            self.report.snapshot_count += 1
            self._check_held(snapshot)

    def _check_held(self, snapshot: Snapshot) -> None:
        for pair in snapshot.versions.items():
            version = self.versions.get(pair)
            if version is None and _is_there(self.library, pair):
                continue  # made since the versions were listed
            if version is None or not self._is_visible(version):
                self.report.problems.append(
                    f"version {pair[1]} of {pair[0]!r}, which snapshot {snapshot.name!r} holds, is missing"
                )

    def _check_catalogue(self) -> list[str]:
        """Compare the folded catalogue, as of after the documents were listed, with them; return what is wrong."""
        view = folded.look(self.library)
        if view is None:
            is_there = folded.newest_number(self.library) >= 0
            if not (is_there or (self.repair and self._is_folded())):
                return []
            return ["the folded catalogue is not believed, and documents are read: fold(rebuild=True) makes it anew"]
        generation = view.folded.generation
        kinds = ((HEADS, "heads"), (VERSIONS, "versions"), (DOCUMENTS, "documents"))
        files = [(file, kind) for kind, name in kinds for layer in generation.layers for file in getattr(layer, name)]

        def problem(of: tuple[File, pa.Schema]) -> str | None:
            try:
                folded.load(self.library, *of)
            except NoSuchKey:
                return f"the catalogue file {of[0].key} is missing: fold(rebuild=True) makes it anew"
            except Integrity as error:
                return str(error)
            return None

        problems = [found for found in references.in_batches(problem, files) if found is not None]
        if problems:
            return problems
        rows = view.folded.versions()
        names = ("symbol", "version", "write_id", "is_visible")
        columns = (rows[name].to_pylist() for name in names)
        known = {(symbol, number): (name, seen) for symbol, number, name, seen in zip(*columns, strict=True)}
        wrong = [f"has version {number} of {symbol!r}, which is gone" for symbol, number in self._ghosts(known)]
        for (symbol, number), version in self.versions.items():
            if (symbol, number) not in known:
                wrong += [] if symbol in view.tail else [f"lacks version {number} of {symbol!r}"]
            elif known[symbol, number] != (version.write_id, self._is_visible(version)):
                wrong.append(f"has another version {number} of {symbol!r}")
        return [f"the catalogue {each}: fold(rebuild=True) makes it anew" for each in wrong]

    def _is_folded(self) -> bool:
        try:
            return options.is_folded(self.library)
        except (Integrity, Unsupported):
            return False  # a problem of its own

    def _ghosts(self, known: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Return what is folded and neither there nor named as removed: a collection takes the latter out later."""
        gone = sorted(set(known) - self.versions.keys())
        if not gone:
            return []
        unwanted = condemned.numbers_of_all(self.library)

        def is_gone(pair: tuple[str, int]) -> bool:
            try:
                self.library.version(*pair, fresh=True, labelled=False)
            except NoSuchKey:
                return pair[1] not in unwanted.get(pair[0], ())
            except (Integrity, Unsupported):
                pass  # a problem of its own
            return False

        return [pair for pair, is_so in zip(gone, references.in_batches(is_gone, gone), strict=True) if is_so]

    def _is_visible(self, version: Version) -> bool:
        try:
            return visible.visible_version(self.library, version) is not None
        except (Integrity, Unsupported):
            return False  # its decision cannot be read, which is a problem of its own

    def _read_segments(self, listed: dict[str, int]) -> None:
        def check(segment: Segment) -> str | None:
            try:
                segments.fetch_stored(self.library, segment)
            except Integrity as error:
                return f"{error} ({self.used_by[segment.key]})"
            return None

        there = [segment for key, segment in self.segments.items() if listed.get(key) == segment.size_bytes]
        found = references.in_batches(check, there, at_once=PARALLEL_REQUESTS)  # each takes memory
        self.report.problems += [problem for problem in found if problem is not None]


def _is_there(library: OpenLibrary, pair: tuple[str, int]) -> bool:
    try:
        return visible.find_visible(library, *pair, fresh=True) is not None
    except (Integrity, Unsupported):
        return False


def list_objects(library: OpenLibrary) -> dict[str, int]:
    """Return the sizes in bytes of all segments and manifests, by relative key."""
    found: dict[str, int] = {}
    for prefix in (library.layout.segments, library.layout.manifests):
        for entry in progress(library.segment_objects.list(prefix), "listing segments", "segment"):
            try:
                found[library.layout.parse_named(entry.key)[1]] = entry.size_bytes or 0
            except Integrity:
                continue  # of another program
    return found


def _native_versioning(library: OpenLibrary) -> bool | None:
    try:
        return library.objects.versioning_enabled() and library.segment_objects.versioning_enabled()
    except (Unsupported, AccessDenied):
        return None


def sizes(library: OpenLibrary) -> SizesReport:
    """Return what the library, each symbol and each version takes; of versions that readers or snapshots find.

    Raises as ``verify`` does, and Integrity for what cannot be read.
    """
    library.check_present(at_once=True)
    held = catalogue.holders(library, all_or_none=True)
    unwanted = condemned.numbers_of_all(library)
    counts: Counter[str] = Counter()
    stored: dict[str, int] = {}
    found: list[tuple[Version, tuple[str, ...]]] = []
    names: dict[str, str] = {}  # one text for each key, however many versions refer to it
    for batch in references.versions(library, by_catalogue=True):
        for _, document in batch:
            version = visible.visible_version(library, document)
            pair = (document.symbol, document.number)
            if version is None or (document.number in unwanted.get(document.symbol, ()) and pair not in held):
                continue
            for segment in version.segments:
                stored[names.setdefault(segment.key, segment.key)] = segment.size_bytes
            keys = tuple(names[segment.key] for segment in version.segments)
            counts.update(keys)
            found.append((version, keys))
    rows = [
        Size(
            version.symbol,
            version.number,
            version.logical_bytes,
            version.stored_bytes,
            sum(stored[key] for key in keys if counts[key] > 1),
        )
        for version, keys in found
    ]
    report = SizesReport(library.name, _total(None, rows, stored, counts))
    by_symbol: dict[str, list[int]] = {}
    for position, (version, _) in enumerate(found):
        by_symbol.setdefault(version.symbol, []).append(position)
    for symbol, positions in sorted(by_symbol.items()):
        distinct = {key for position in positions for key in found[position][1]}
        own = {key: stored[key] for key in distinct}
        report.symbols.append(_total(symbol, [rows[position] for position in positions], own, counts))
        report.versions += [rows[position] for position in positions]
    listed = list_objects(library)
    report.unreferenced_bytes = sum(size for key, size in listed.items() if key not in stored)
    return report


def _total(symbol: str | None, rows: list[Size], stored: dict[str, int], counts: Counter[str]) -> Size:
    shared = sum(size for key, size in stored.items() if counts[key] > 1)
    return Size(symbol, None, sum(row.logical_bytes for row in rows), sum(stored.values()), shared)
