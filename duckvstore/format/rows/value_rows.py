"""A value as rows: what codecs make of it, and what is cut, ordered and encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.format.stored.documents import Schema


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as rows in the stored schema: ``table``, or ``reader`` for what is streamed (the other is None).

    In a reader, columns of text may come as dictionaries, whose stored type is that of the text. ``first_level``: the
    first index level of what is streamed, where it is known before.
    """

    kind: str
    schema: Schema
    table: pa.Table | None
    reader: pa.RecordBatchReader | None
    first_level: pa.Array | pa.ChunkedArray | None = None

    def in_memory(self) -> Encoded:
        """Return the same with all rows in a table; text that came as dictionaries is dense."""
        if self.reader is None:
            return self
        return replace(self, table=self.reader.read_all().cast(to_arrow(self.schema)), reader=None)


@dataclass(frozen=True, slots=True)
class Nested:
    """A dict, list or tuple taken apart: ``tree`` as JSON, and its tables with their places in it.

    The tree of one that is large is None, and the last leaf, of kind "tree", is its text.
    """

    tree: Any
    leaves: list[tuple[str, Encoded]]
