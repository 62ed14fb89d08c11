"""A text that was cut out of the user's and put together with others, and still knows where each place comes from.

DuckDB runs another text than the user wrote: names are replaced by files, words are put in front. Its errors tell a
place in that text, and the user wants to see it in his own.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    #: so many characters from ``start`` on, and what comes in their place
    Splice: TypeAlias = tuple[int, int, str]

# (start in the text, place in the user's text, whether the characters from there on are copied from that place on)
_Piece: TypeAlias = "tuple[int, int, bool]"


class SourceMap:
    """A text and, for each place in it, the place in the user's text. Immutable.

    A slice of one, a sum (also with plain text) and ``replaced`` are such texts again, so it does not matter in how
    many steps a text was made. Plain text has the place of what it is added to.
    """

    __slots__ = ("_end", "_pieces", "text")

    def __init__(self, text: str, pieces: tuple[_Piece, ...] = ((0, 0, True),), end: int | None = None) -> None:
        """Take ``text`` for the user's own, whole; the rest is for this class alone."""
        self.text = text
        self._pieces = pieces
        self._end = len(text) if end is None else end

    @classmethod
    def in_place_of(cls, text: str, origin: int) -> SourceMap:
        """Return ``text``, which has nothing of the user's, with the place ``origin`` for all of it."""
        return cls(text, ((0, origin, False),), origin)

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> SourceMap:
        start, end, _ = part.indices(len(self.text))
        return self._cut(start, max(start, end))

    def __add__(self, other: SourceMap | str) -> SourceMap:
        if isinstance(other, str):
            other = SourceMap.in_place_of(other, self._end)
        return _joined([self, other])

    def __radd__(self, other: str) -> SourceMap:
        return _joined([SourceMap.in_place_of(other, self.origin(0)), self])

    def replaced(self, splices: Iterable[Splice]) -> SourceMap:
        """Return the text with ``splices``, in order and none overlapping, each with the place of what it replaces."""
        parts: list[SourceMap] = []
        position = 0
        for start, end, text in splices:
            parts += [self._cut(position, start), SourceMap.in_place_of(text, self.origin(start))]
            position = end
        return _joined([*parts, self._cut(position, len(self.text))])

    def origin(self, position: int) -> int:
        """Return the character of the user's text that character ``position`` comes from, or in whose place it is."""
        if position >= len(self.text):
            return self._end
        start, place, is_copied = self._pieces[self._index(position)]
        return place + (position - start) * is_copied

    def origin_of_byte(self, position: int) -> int:
        """Return what ``origin`` does for a place in the UTF-8 bytes of the text, which is what DuckDB tells."""
        return self.origin(character(self.text, position))

    def place(self, origin: int) -> int:
        """Return where the user's character ``origin`` is, or else the first one after it that is there."""
        for start, place, length in self._copied():
            if origin < place + length:
                return start + max(0, origin - place)
        return len(self.text)

    def is_copied(self, position: int) -> bool:
        """Whether the user wrote character ``position``."""
        return any(start <= position < start + length for start, _, length in self._copied())

    def _copied(self) -> list[tuple[int, int, int]]:
        """Return (start, place in the user's text, length) of the pieces that the user wrote."""
        ends = [*(start for start, _, _ in self._pieces[1:]), len(self.text)]
        pairs = zip(self._pieces, ends, strict=False)
        return [(start, place, end - start) for (start, place, is_copied), end in pairs if is_copied]

    def _index(self, position: int) -> int:
        return bisect_right(self._pieces, position, key=lambda piece: piece[0]) - 1

    def _cut(self, start: int, end: int) -> SourceMap:
        if start == end:
            return SourceMap("", (), self.origin(start))
        pieces = []
        for first, place, is_copied in self._pieces[self._index(start) : self._index(end - 1) + 1]:
            skipped = max(0, start - first)
            pieces.append((first + skipped - start, place + skipped * is_copied, is_copied))
        return SourceMap(self.text[start:end], tuple(pieces), self.origin(end))


def _joined(parts: list[SourceMap]) -> SourceMap:
    pieces: list[_Piece] = []
    length = 0
    for part in parts:
        if part.text:
            pieces += [(length + start, place, is_copied) for start, place, is_copied in part._pieces]  # noqa: SLF001
            length += len(part.text)
    return SourceMap("".join(part.text for part in parts), tuple(pieces), parts[-1]._end)  # noqa: SLF001


def character(text: str, position: int) -> int:
    """Return the character of ``text`` at ``position`` in its UTF-8 bytes; in the middle of one, that one."""
    return min(position, len(text)) if text.isascii() else len(text.encode()[:position].decode(errors="ignore"))
