"""Errors in a notebook: the user's own lines and the message, without the frames of this package.

What is shown while an error is handled is short; ``%tb``, which asks for it afterwards, and ``%xmode Verbose`` show all
of it. Errors of others, and stops that did not come from within this package, are shown by IPython as ever.
"""

from __future__ import annotations

import linecache
import sys
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import IPython

from duckvstore.errors import DuckVStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_OURS = str(Path(__file__).parents[1])
_IPYTHON = str(Path(IPython.__file__).parent)
_MAGICS = frozenset(("run_cell_magic", "run_line_magic"))


def install(shell: Any) -> None:
    """Show errors of this package shortly in ``shell``."""
    formatter = shell.InteractiveTB
    whole = formatter.structured_traceback

    def structured_traceback(
        etype: type, error: BaseException | None, traceback: Any = None, *options: Any, **named: Any
    ) -> Any:
        is_asked_for = error is not sys.exc_info()[1] or formatter.mode == "Verbose"
        if is_asked_for or not isinstance(traceback, TracebackType) or error is None or not _is_ours(error, traceback):
            return whole(etype, error, traceback, *options, **named)
        try:
            return _short(whole, error, traceback)
        finally:
            formatter.tb = traceback  # which %debug enters

    formatter.structured_traceback = structured_traceback


def uninstall(shell: Any) -> None:
    """Undo ``install``."""
    vars(shell.InteractiveTB).pop("structured_traceback", None)


def _short(whole: Any, error: BaseException, traceback: TracebackType) -> list[str]:
    kept = _kept(traceback)
    if kept is None:
        name, message = type(error).__name__, str(error)
        return [f"\x1b[31;1m{name}\x1b[0m: {message}" if message else f"\x1b[31;1m{name}\x1b[0m"]
    with _chain_shortened(error):
        found: list[str] = whole(type(error), error, kept, tb_offset=0)
        return found


def _is_ours(error: BaseException, traceback: TracebackType) -> bool:
    """Whether ``error`` is of this package, or a stop of the user's that came while it worked."""
    return isinstance(error, DuckVStoreError) or (
        isinstance(error, KeyboardInterrupt) and any(_is_in(entry.tb_frame, _OURS) for entry in _entries(traceback))
    )


def _kept(traceback: TracebackType) -> TracebackType | None:
    """Return the user's part of ``traceback``: what is above this package, without IPython's own frames.

    A magic that is all of its cell has none: there the line says nothing that the cell does not.
    """
    kept: list[TracebackType] = []
    for entry in _entries(traceback):
        frame = entry.tb_frame
        if _is_in(frame, _OURS):
            break
        if not _is_in(frame, _IPYTHON):
            kept.append(entry)
        elif frame.f_code.co_name in _MAGICS and kept and _is_single_line(kept[-1].tb_frame):
            kept.pop()
    linked = None
    for entry in reversed(kept):
        linked = TracebackType(linked, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return linked


@contextmanager
def _chain_shortened(error: BaseException) -> Iterator[None]:
    """Leave out, for a while, the errors within this package that ``error`` came from; shorten those of the user's."""
    before: list[tuple[BaseException, Any, Any, bool, Any]] = []
    link: BaseException | None = error
    try:
        while link is not None and all(link is not seen for seen, *_ in before):
            before.append((link, link.__cause__, link.__context__, link.__suppress_context__, link.__traceback__))
            earlier = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
            if link is not error and link.__traceback__ is not None:
                link.__traceback__ = _kept(link.__traceback__)
            if earlier is not None and (earlier.__traceback__ is None or _kept(earlier.__traceback__) is None):
                link.__cause__ = link.__context__ = earlier = None
            link = earlier
        yield
    finally:
        for link, cause, context, is_suppressed, traceback in before:
            link.__cause__, link.__context__, link.__traceback__ = cause, context, traceback
            link.__suppress_context__ = is_suppressed


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_in(frame: FrameType, folder: str) -> bool:
    return frame.f_code.co_filename.startswith(f"{folder}/") or frame.f_code.co_filename.startswith(f"{folder}\\")


def _is_single_line(frame: FrameType) -> bool:
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    return sum(bool(line.strip()) for line in lines) <= 1
