"""From what names mean to the SQL that DuckDB runs: which segments are left, where they are, what is registered.

DuckDB is given URIs of segments that a library's layout allows, and nothing else that a document says.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from duckvstore import telemetry
from duckvstore.engine.reading import catalogue_tables
from duckvstore.engine.reading import segments as engine_segments
from duckvstore.errors import DuckVStoreError, Integrity, StorageUnavailable
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.sql.binding import dataframes, diff
from duckvstore.sql.binding.meanings import Catalogue, Difference, Frame, Symbol
from duckvstore.sql.binding.names import with_label
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.planning import document_segments, nanoseconds, rewrite
from duckvstore.sql.pruning import first_rows
from duckvstore.sql.pruning.segment_choice import Choice, Choices, Relation
from duckvstore.sql.results.figures import Figures, Scanned, ScannedTable
from duckvstore.sql.syntax import named_columns
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.values import types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import duckdb

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Bounds
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.binding.meanings import Meaning
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.driver.instance import DuckDBInstance
    from duckvstore.sql.planning.segment_copies import Lease, SegmentFiles
    from duckvstore.sql.syntax.headers import Noun
    from duckvstore.sql.syntax.source_map import SourceMap
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.values.parameters import Values

    #: noun and folded name of a view or macro
    Key: TypeAlias = tuple[str, str]
    #: words what helps with an error of DuckDB in a statement
    Hint: TypeAlias = Callable[[Statement, Failure], str]

CHECKED_BYTES_MAX = 2**30
COPIED_BYTES_MAX = 2**30
# DuckDB's own limit, by the rows that it expects.
FEW_ROWS_MAX = 1000
_OUTER = re.compile(r"\b(?:LEFT|RIGHT|FULL)\b", re.IGNORECASE)
_SEGMENT_FILE = re.compile(r"[0-9a-f]{16,64}-[0-9a-f]{16}\.parquet")


# The texts of instances were bound before, so errors of these kinds are the statement's where both could be meant.
_WHILE_BINDING = ("Binder", "Catalog", "Parser", "Syntax")


@dataclass(frozen=True, slots=True)
class Scan:
    """The segments of one version that a statement scans."""

    library: OpenLibrary
    version: Version
    segments: tuple[Segment, ...]


@dataclass(slots=True)
class Plan:
    """A statement ready to run. ``release`` must be called when its rows were pulled or given up."""

    statement: Statement
    #: what is run; its places are those of the user's text
    sql: SourceMap
    replacements: dict[int, str | None]
    scans: list[Scan] = field(default_factory=list)
    registered: dict[str, Any] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    #: where the copies are that it scans, if any
    files: SegmentFiles | None = None
    only_segments: bool = False
    #: whether it has an outer join with which DuckDB 1 may crash, and whether that is of few rows only
    joins_outer: bool = False
    joins_few: bool = False
    #: whether what it reads may be stored again
    stores: bool = False
    #: the views and macros that it uses, each after those that it uses itself
    instances: list[Instance] = field(default_factory=list)

    @property
    def is_wide(self) -> bool:
        """Whether it scans a version of many columns."""
        return any(len(scan.version.schema.columns) >= MANY_COLUMNS for scan in self.scans)

    def use(self, instances: list[Instance]) -> None:
        """Take over what views and macros scan and hold."""
        self.instances = instances
        plans = [instance.plan for instance in instances if instance.plan is not None]
        for plan in plans:
            self.scans += plan.scans
            self.leases, plan.leases = self.leases + plan.leases, []
            self.files = self.files or plan.files
            self.registered |= plan.registered
        statements = [self.statement, *(plan.statement for plan in plans)]
        self.only_segments = bool(self.scans) and not any(statement.may_read_files for statement in statements)

    def look_at_joins(self) -> None:
        """Find out whether at most one of what it joins has many rows, for releases where that makes a difference."""
        texts = [self.statement.text, *(instance.text for instance in self.instances)]
        if types.reads_zoned_nanoseconds() or not any(map(_OUTER.search, texts)):
            return  # DuckDB 2 does it right
        self.joins_outer = True
        many = sum(sum(s.row_count for s in scan.segments) >= FEW_ROWS_MAX for scan in self.scans)
        read = [reference for reference in self.statement.references if reference.role == "read"]
        self.joins_few = bool(self.scans) and many + max(0, len(read) - len(self.scans)) <= 1

    def release_files(self) -> None:
        """Let the local copies of segments go."""
        leases, self.leases = self.leases, []
        for lease in leases:
            lease.release()

    def instance_of(self, failure: Failure) -> tuple[bool, Instance | None]:
        """Return whether the place of ``failure`` is known, and in which text it is (None: the statement's own)."""
        position, own_bytes = failure.position, len(self.sql.text.encode())
        if position is None or (failure.kind in _WHILE_BINDING and position <= own_bytes):
            return True, None
        found = [
            instance
            for instance in self.instances
            if len(instance.text) - len(instance.text.lstrip(" ")) <= position <= len(instance.text.encode())
        ]
        if position <= own_bytes:
            return not found, None
        return len(found) == 1, found[0] if len(found) == 1 else None

    def explain_damage(self, failure: Failure, message: str) -> DuckVStoreError | None:
        """Return the reason why a segment cannot be read, if the failure is a segment's fault.

        The segment that ``message`` mentions (or where it mentions none but is about bytes, each one up to a
        limit) is read whole and compared with its document. Returns Integrity naming the version, or the error
        of the object store. When all are as they should be, DuckDB's own HTTP client took half an answer for a whole
        one: StorageUnavailable; and None when the failure is not about the bytes of a file.
        """
        mentioned = set(_SEGMENT_FILE.findall(message))
        if not mentioned and not failure.of_content:
            return None
        read_bytes = 0
        for scan in self.scans:
            for segment in scan.segments:
                if mentioned and segment.key.rpartition("/")[2] not in mentioned:
                    continue
                read_bytes += segment.size_bytes
                if read_bytes > CHECKED_BYTES_MAX:
                    return None
                try:
                    engine_segments.fetch_stored(scan.library, segment)
                except Integrity as error:
                    where = scan.library.label(scan.version.symbol)
                    found = Integrity(f"version {scan.version.number} of {where!r} cannot be read: {error}")
                    found.__cause__ = error
                    return found
                except DuckVStoreError as error:
                    return error
        if self.files is not None and failure.of_content:
            self.files.takes_parts = False  # in case that it wanted a column which its text does not show
        if failure.of_broken_file and (mentioned or self.only_segments):
            return _broken_off(message, failure)
        return None


@dataclass(slots=True)
class Instance:
    """A view or macro of the session as one statement needs it on its cursor: ``text`` makes it.

    ``plan``: of the user's text that it comes from, which ``label`` names; None for one that the session makes itself.
    ``is_optional``: leave it out where it cannot be made.
    """

    noun: Noun
    name: str
    text: str
    plan: Plan | None = None
    label: str = ""
    is_optional: bool = False

    @property
    def key(self) -> Key:
        """What it replaces on a cursor."""
        return self.noun, self.name.casefold()

    def error(self, failure: Failure, hint: Hint) -> DuckVStoreError:
        """Return the error for a failure of DuckDB in this text."""
        if self.plan is None:
            return duckdb_errors.to_error(failure, "", None, lambda _: "")
        statement = self.plan.statement
        offset = None if failure.position is None else self.plan.sql.origin_of_byte(failure.position)
        error = duckdb_errors.to_error(failure, statement.source, offset, lambda found: hint(statement, found))
        return error if failure.kind == "TransactionContext" else with_label(error, self.label)


def _broken_off(message: str, failure: Failure) -> StorageUnavailable:
    segment = next(iter(_SEGMENT_FILE.findall(message)), "a segment")
    return StorageUnavailable(
        f"DuckDB could not read {segment}, which is stored as it should be, so an answer of the object store broke "
        f"off on its way ({failure.message}): run the statement again"
    )


class Planner:
    """Makes plans for the statements of one session."""

    def __init__(self, instance: DuckDBInstance, files: SegmentFiles) -> None:
        """Use ``instance`` for questions of our own and ``files`` for what DuckDB cannot scan in place."""
        self._instance = instance
        self._files = files
        self._numbers = itertools.count(1)
        self.choices = Choices(instance.cursor)

    def plan(
        self,
        statement: Statement,
        meanings: Mapping[int, Meaning],
        values: Values,
        figures: Figures,
        cursor: duckdb.DuckDBPyConnection,
        *,
        stores: bool = False,
    ) -> Plan:
        """Return the plan and fill ``figures``. ``cursor`` is the one that the statement will run on.

        ``stores``: what it reads may be stored again, by the statement that uses it.
        """
        plan = Plan(statement, statement.sql, {}, stores=stores or statement.effects.stores_rows)
        uses: dict[int, int] = {}
        for meaning in meanings.values():
            if isinstance(meaning, Frame):
                uses[id(meaning.value)] = uses.get(id(meaning.value), 0) + 1
        try:
            names: dict[int, str] = {}
            for position, meaning in meanings.items():
                if statement.references[position].role == "target" or meaning is None:
                    continue  # a temporary table may have a symbol's name, and hides it from then on
                if not isinstance(meaning, Frame):
                    relation = self._relation(plan, position, meaning, values, figures, cursor)
                else:
                    identity = id(meaning.value)
                    if identity not in names:
                        names[identity] = self._register(plan, meaning, uses[identity])
                        self._refuse_digits(plan, position, names[identity])
                    relation = quote(names[identity])
                plan.replacements[position] = relation
            columns = {
                position: [column.name.lower() for column in meaning.version.schema.columns]
                for position, meaning in meanings.items()
                if isinstance(meaning, Symbol) and statement.references[position].role == "read"
            }
            if columns and rewrite.may_name_rows(statement, columns):
                plan.replacements[rewrite.WHOLE_ROWS] = None
            plan.sql = rewrite.rewrite(statement, plan.replacements)
        except BaseException:
            plan.release_files()
            raise
        plan.only_segments = bool(plan.scans) and not statement.may_read_files
        return plan

    def _refuse_digits(self, plan: Plan, position: int, name: str) -> None:
        """Raise SqlError for a frame of the caller's that a statement would store again as DuckDB reads it."""
        if not plan.stores:
            return
        frame = plan.registered[name] = nanoseconds.of_frame(plan.registered[name])
        columns = nanoseconds.in_frame(frame)
        used = nanoseconds.uses(plan.statement, columns)
        found = used.refused(lambda name, is_below: nanoseconds.have_digits(columns[name], is_below=is_below))
        if found:
            raise plan.statement.error(nanoseconds.problem(found[0]), plan.statement.references[position].start)

    def _register(self, plan: Plan, frame: Frame, uses: int) -> str:
        name = f"__vstore_rows_{next(self._numbers)}"
        plan.registered[name] = dataframes.to_registrable(frame.value, uses=uses)
        return name

    def _relation(
        self,
        plan: Plan,
        position: int,
        meaning: Symbol | Difference | Catalogue,
        values: Values,
        figures: Figures,
        cursor: duckdb.DuckDBPyConnection,
    ) -> str:
        """Return the SQL of what the reference at ``position`` means."""
        if isinstance(meaning, Symbol):
            choice = self.choices.choose(plan.statement, position, meaning.version, values, cursor)
            row_count = first_rows.wanted(plan.statement) if len(choice.segments) > 1 else None
            if row_count is not None:
                leading = first_rows.leading(choice.segments, row_count)
                choice = Choice(leading, sum(segment.size_bytes for segment in leading), choice.bytes_total)
            return self._scan_of(plan, meaning.library, meaning.version, choice, figures)
        if isinstance(meaning, Difference):
            return self._difference(plan, meaning, figures)
        rows = self._catalogue(plan.statement, position, meaning, values, cursor)
        return quote(self._register(plan, Frame(meaning.name, rows), 1))

    def _scan_of(self, plan: Plan, library: OpenLibrary, version: Version, choice: Choice, figures: Figures) -> str:
        plan.scans.append(Scan(library, version, choice.segments))
        sql, fetched_bytes = self._placed(plan, library, version, choice)
        table = ScannedTable(library.name, version.symbol, version.number, version.created_at)
        counts = len(choice.segments), len(version.segments), choice.bytes_read, choice.bytes_total
        figures.add(Scanned(table, *counts, fetched_bytes))
        return sql

    def _placed(self, plan: Plan, library: OpenLibrary, version: Version, choice: Choice) -> tuple[str, int | None]:
        """Return the relation of the chosen segments, and what was fetched for copies of them; see ``Scanned``."""
        seals = rewrite.names_file_columns(plan.statement)
        refused = self._refused(plan, library, version, choice.segments)
        if refused:
            uris = self.uris(plan, library, choice.segments)
            return rewrite.scan(version, uris, seals=seals, refused=refused), None
        if not self._is_better_copied(plan.statement, library, version, choice):
            known = choice.relations.get((library, seals))
            if known is not None and self._instance.admit(library.segment_objects, known.prefix):
                return known.sql, None
            placed = self._in_place(library, choice.segments)
            if placed is not None:
                prefix, uris = placed
                relation = Relation(rewrite.scan(version, uris, seals=seals), prefix)
                choice.relations[library, seals] = relation  # threads may do this twice, each time with the same
                return relation.sql, None
        with library.believing(version), telemetry.trace() as asked:
            copies = self._copies(plan, library, choice.segments, self._needed(plan.statement, version))
        fetched_bytes = None if library.segment_objects.is_near else asked.total.bytes_in
        return rewrite.scan(version, copies, seals=seals), fetched_bytes

    def _needed(self, statement: Statement, version: Version) -> frozenset[int] | None:
        """Return the field ids of the columns that ``statement`` may read; None: perhaps all.

        The body of a macro may name columns that the statement does not.
        """
        ids = {column.name: column.id for column in version.schema.columns}
        named = None if self.choices.has_macros else named_columns.read(statement, ids)
        return None if named is None else frozenset(ids[name] for name in named)

    def _is_better_copied(
        self,
        statement: Statement,
        library: OpenLibrary,
        version: Version,
        choice: Choice,
    ) -> bool:
        """Whether segments that are elsewhere are fetched before DuckDB runs, many at a time.

        DuckDB itself asks for one thing after the other, so it is left to scan them where they are only if it may need
        much less of them than their columns (the first rows, those that a join leaves), or if they are too many.
        """
        cache = engine_segments.cache_for(library)
        if cache is None or self._instance.is_locked:
            return False
        needed = self._needed(statement, version)
        share = 1.0 if needed is None else len(needed) / max(1, len(version.schema.columns))
        if choice.bytes_read * share > min(COPIED_BYTES_MAX, cache.bytes_max // 2):
            return False
        if all(cache.has(segment.sha256) for segment in choice.segments):
            return True
        if first_rows.wanted(statement) is not None:
            return True
        may_need_less = statement.tree is None or statement.tree.find(exp.Limit, exp.Fetch, exp.TableSample, exp.Join)
        return not (may_need_less and self._instance.try_httpfs())

    def _refused(
        self, plan: Plan, library: OpenLibrary, version: Version, segments: tuple[Segment, ...]
    ) -> dict[str, str]:
        """Return the columns that may not be stored again as DuckDB reads them, with what to say to that."""
        if not plan.stores:
            return {}
        used = nanoseconds.uses(plan.statement, nanoseconds.columns(version))
        return {name: nanoseconds.problem(name) for name in nanoseconds.refused(library, version, segments, used)}

    def _catalogue(
        self,
        statement: Statement,
        position: int,
        meaning: Catalogue,
        values: Values,
        cursor: duckdb.DuckDBPyConnection,
    ) -> pa.Table:
        """Return the rows of a catalogue table that ``statement`` may want; what else there is, is not read."""
        parts = [document_segments.no_rows(meaning.name, is_of_store=meaning.is_of_store)]
        for library in meaning.libraries:
            owner = library.name if meaning.is_of_store else None

            def choose(bounds: Sequence[Bounds], owner: str | None = owner) -> Sequence[int]:
                version = document_segments.as_version(meaning.name, bounds, owner)
                return self.choices.kept(statement, position, version, values, cursor)

            rows = catalogue_tables.table(library, meaning.name, choose, meaning.pinned(library))
            parts.append(document_segments.of_library(rows, owner))
        return pa.concat_tables(parts)

    def _difference(self, plan: Plan, difference: Difference, figures: Figures) -> str:
        before, after = difference.before, difference.after
        olds, news = diff.unshared(before, after)
        sides = (
            self._side(plan, difference.library, before, olds, figures),
            self._side(plan, difference.library, after, news, figures),
        )
        return diff.relation(diff.pairs(before, after), difference.key, sides, self._common_type)

    def _side(self, plan: Plan, library: OpenLibrary, version: Version, kept: list[int], figures: Figures) -> diff.Side:
        """Return the rows of the segments at ``kept``, with the nanoseconds that DuckDB 1 leaves out beside them."""
        scan = self._scan_of(plan, library, version, self.choices.of_all(version, kept), figures)
        zoned = diff.nanoseconds(version) if kept else []
        if not zoned or types.reads_zoned_nanoseconds():
            return diff.Side(f"{scan} AS scanned", {})
        times = engine_segments.read_table(library, version, columns=zoned, segments=kept)
        numbers = pa.table({f"n{at}": times.column(name).cast(pa.int64()) for at, name in enumerate(zoned)})
        name = self._register(plan, Frame("exact", numbers), 1)
        exact = {column: f"exact.n{at}" for at, column in enumerate(zoned)}
        return diff.Side(f"{scan} AS scanned POSITIONAL JOIN {name} AS exact", exact)

    def _common_type(self, first: str, second: str) -> str:
        """Return the type that DuckDB gives to values of two types in one column; text where it has none."""
        import duckdb

        cursor = self._instance.cursor()
        try:
            both = cursor.sql(f"SELECT CAST(NULL AS {first}) UNION ALL SELECT CAST(NULL AS {second})")
            return str(both.types[0])
        except duckdb.Error:
            return "VARCHAR"
        finally:
            cursor.close()

    def uris(self, plan: Plan, library: OpenLibrary, segments: tuple[Segment, ...]) -> list[str]:
        """Return what DuckDB scans: the segments where they are, or else verified local copies of them."""
        placed = self._in_place(library, segments)
        return self._copies(plan, library, segments) if placed is None else placed[1]

    def _copies(
        self,
        plan: Plan,
        library: OpenLibrary,
        segments: tuple[Segment, ...],
        column_ids: frozenset[int] | None = None,
    ) -> list[str]:
        lease = self._files.lease(library, segments, column_ids)
        plan.leases.append(lease)
        plan.files = self._files
        return lease.paths

    def _in_place(self, library: OpenLibrary, segments: tuple[Segment, ...]) -> tuple[str, list[str]] | None:
        """Return where the segments are, after the prefix that all have; None where DuckDB cannot scan them there.

        Keys are checked and escaped once for each folder: a segment's own name is hexadecimal.
        """
        folders: dict[str, str] = {}
        uris: list[str] = []
        prefix = ""
        for segment in segments:
            folder, _, name = segment.key.rpartition("/")
            if folder not in folders or not _SEGMENT_FILE.fullmatch(name):
                key = library.layout.segment_key(segment.key)
                uri = library.segment_objects.uri(key)
                if uri is None or not uri.endswith(name):
                    return None
                folders[folder], prefix = uri.removesuffix(name), uri.removesuffix(key) + library.layout.root
            uris.append(folders[folder] + name)
        admitted = not uris or self._instance.admit(library.segment_objects, prefix)
        return (prefix, uris) if admitted else None
