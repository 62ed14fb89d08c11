"""Staging: many writers prepare one symbol, one call publishes what they prepared.

Invariant: staged rows are seen by no reader; publishing is one version, and publishing twice adds nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.api.payloads import StagedDataFinalizeMethod, StageResult
from duckvstore.api.writing import Writing, fitted, taking
from duckvstore.engine.writing import staging
from duckvstore.errors import InvalidInput, NoSuchSymbol, NotFound
from duckvstore.format.stored import metadata as user_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.api.items import VersionedItem
    from duckvstore.engine.writing.commits import Call
    from duckvstore.format.stored.documents import Version


class Staging(Writing):
    """The methods of a library about staged parts."""

    def stage(
        self,
        symbol: str,
        data: Any,
        validate_index: bool | None = None,
        sort_on_index: bool = False,
        sort_columns: Sequence[Any] | None = None,
        index_column: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
    ) -> StageResult:
        """Store rows for ``symbol`` that nobody sees until ``finalize_staged_data``; return what names the part.

        Any number of processes may stage parts of one symbol at the same time. Parts that are not finalised within
        the grace period are removed by gc. ``sort_on_index``: put the rows in the order of their index first;
        ``sort_columns``: in the order of these columns. ``index_column``: as in ``write``. Raises InvalidInput for what
        ``write`` refuses.
        """
        call = self._call(symbol, author, message)
        if sort_on_index or sort_columns:
            wanted = [*(sort_columns or ())] if not isinstance(sort_columns, str) else sort_columns
            if sort_on_index and index_column is not None and isinstance(wanted, list):
                wanted, sort_on_index = [index_column, *wanted], False
            data = _in_order(data, self.open_library.quoted(symbol), on_index=sort_on_index, columns=wanted)
        with taking(data):
            given = self._given(symbol, data, validate_index=validate_index, index_column=index_column, joins=True)
            return StageResult(symbol, staging.stage(self.open_library, call, given))

    def finalize_staged_data(
        self,
        symbol: str,
        mode: StagedDataFinalizeMethod | str | None = "write",
        prune_previous_versions: bool = False,
        metadata: Any = None,
        validate_index: bool | None = None,
        delete_staged_data_on_failure: bool = False,
        stage_results: Sequence[StageResult] | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Publish the staged parts of a symbol as one version: alone ("write"), or after the newest one ("append").

        Parts are put in the order of their times; without an index of times, in the order in which they were staged.
        As in ``append``, rows join DuckDB's own types of columns that SQL made, and go by the index column that is
        there. ``validate_index``: refuse parts that overlap, are not sorted, or (append) begin before the end of what
        is there (None: as the library's options say: yes). ``stage_results``: publish just these parts; others stay
        staged.
        ``delete_staged_data_on_failure``: what cannot be published, because it does not fit, is not kept either.
        Raises NoSuchSymbol when nothing is staged, NotFound for a part that is not, and InvalidInput for parts that do
        not fit.
        """
        call = self._call(symbol, author, message, expected_version)
        return self._finalized(
            call,
            mode,
            metadata,
            prune=prune_previous_versions,
            deletes_on_failure=delete_staged_data_on_failure,
            results=stage_results,
            checks_order=self._validates(validate_index),
        )

    def sort_and_finalize_staged_data(
        self,
        symbol: str,
        mode: StagedDataFinalizeMethod | str | None = "write",
        prune_previous_versions: bool = False,
        metadata: Any = None,
        delete_staged_data_on_failure: bool = False,
        stage_results: Sequence[StageResult] | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Publish staged parts that overlap, or are not sorted: as ``finalize_staged_data``, their rows in order.

        All rows are read and put in the order of their times, in memory; those of one time stay in the order of their
        parts. Parts that are in order already are published as they are. With "append" they must not begin before the
        end of what is there. Raises InvalidInput for parts without an index of times, or with NaT in it.
        """
        call = self._call(symbol, author, message, expected_version)
        return self._finalized(
            call,
            mode,
            metadata,
            prune=prune_previous_versions,
            deletes_on_failure=delete_staged_data_on_failure,
            results=stage_results,
            checks_order=True,
            sorts=True,
        )

    def _finalized(
        self,
        call: Call,
        mode: StagedDataFinalizeMethod | str | None,
        metadata: Any,
        *,
        prune: bool,
        deletes_on_failure: bool,
        results: Sequence[StageResult] | None,
        **order: bool,
    ) -> VersionedItem:
        wanted = _mode(mode)
        user_metadata.to_json(metadata)
        found = self._staged(call.symbol, results)
        identities = [part.write_id for part in found]
        try:
            plan = staging.finalize(self.open_library, call.symbol, found, wanted, metadata, fit=fitted, **order)
            item = self._made(call, plan, prune=prune)
        except InvalidInput:
            if deletes_on_failure:
                staging.discard(self.open_library, call.symbol, identities)
            raise
        staging.discard(self.open_library, call.symbol, identities)
        return item

    def _staged(self, symbol: str, results: Sequence[StageResult] | None) -> list[Version]:
        """Return the staged parts of a symbol, or those that ``results`` name."""
        found = staging.parts(self.open_library, symbol)
        if not found:
            raise NoSuchSymbol(f"nothing is staged for {symbol!r} of library {self.name!r}: stage() rows first")
        if results is None:
            return found
        wanted = _part_ids(symbol, results)
        missing = set(wanted) - {part.write_id for part in found}
        if missing:
            raise NotFound(
                f"{len(missing)} of the {len(wanted)} parts of {symbol!r} in stage_results are not staged any more, "
                f"the first is {min(missing)}: they were finalised or deleted"
            )
        return [part for part in found if part.write_id in wanted]

    def get_staged_symbols(self) -> list[str]:
        """Return the symbols that have staged parts, sorted."""
        return staging.symbols(self.open_library)

    def delete_staged_data(self, symbol: str | StageResult | Sequence[StageResult]) -> None:
        """Delete what is staged for a symbol, or the parts that ``stage`` returned; what is not there is left."""
        if isinstance(symbol, str):
            self._call(symbol, None, None)
            staging.discard(self.open_library, symbol)
            return
        results = [symbol] if isinstance(symbol, StageResult) else list(symbol)
        for name in dict.fromkeys(_checked(result).symbol for result in results):
            parts = [result.part_id for result in results if result.symbol == name]
            staging.discard(self.open_library, name, parts)


def _mode(mode: StagedDataFinalizeMethod | str | None) -> str:
    """Return the name of a mode: None is "write", and the case of letters does not matter."""
    if mode is None:
        return staging.MODES[0]
    text = mode.value if isinstance(mode, StagedDataFinalizeMethod) else mode
    name = text.lower() if isinstance(text, str) else text
    if name not in staging.MODES:
        raise InvalidInput(f"mode={mode!r} is none of {', '.join(staging.MODES)}")
    return name


def _checked(result: object) -> StageResult:
    if not isinstance(result, StageResult):
        raise InvalidInput(f"{result!r} is no staged part: give what stage() returned")
    return result


def _part_ids(symbol: str, results: Sequence[StageResult]) -> list[str]:
    others = sorted({_checked(result).symbol for result in results} - {symbol})
    if others:
        raise InvalidInput(f"stage_results has a part of {others[0]!r}, not of {symbol!r}: finalise each symbol alone")
    return [result.part_id for result in results]


def _in_order(data: Any, where: str, *, on_index: bool, columns: Sequence[Any]) -> Any:
    """Return rows in the order of their index or of columns; equal ones keep their order."""
    if isinstance(columns, str):
        raise InvalidInput(f"sort_columns is text: give a list of labels, [{columns!r}]")
    labels = list(columns)
    try:
        if hasattr(data, "sort_index"):  # pandas
            if labels:
                data = data.sort_values(labels, kind="stable")
            return data.sort_index(kind="stable") if on_index else data
        if not on_index and hasattr(data, "sort_by"):  # pyarrow
            return data.sort_by([(label, "ascending") for label in labels])
        if not on_index and hasattr(data, "sort"):  # polars
            return data.sort(labels, maintain_order=True)
    except Exception as error:
        raise InvalidInput(f"the rows for {where} cannot be put in order: {error}") from error
    raise InvalidInput(f"a {type(data).__name__} for {where} has no order to be put in: sort it before stage()")
