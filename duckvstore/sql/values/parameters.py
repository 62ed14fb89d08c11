"""Parameter values: which ones a text asks for, which ones DuckDB gets, and what an AT form means.

A value that is used only in an AT form never reaches DuckDB's own statement, and every value that was
given is used somewhere.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, assert_never

from duckvstore.errors import InvalidInput, SqlError
from duckvstore.sql.syntax.timetravel import Expression
from duckvstore.sql.syntax.tokens import Parameter
from duckvstore.sql.values import row_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.timetravel import At

_UNREADABLE = re.compile("[\\0\\ud800-\\udfff]")  # DuckDB would stop reading at a NUL, and run what comes before it

Given = Mapping[str, Any] | Sequence[Any] | None


class Values:
    """The values that a caller gave for the parameters of one text."""

    def __init__(self, given: Given, statements: Sequence[Statement]) -> None:
        """Check ``given`` against what ``statements`` ask for; raises InvalidInput or SqlError."""
        if given is not None and (isinstance(given, (str, bytes)) or not isinstance(given, (Mapping, Sequence))):
            raise InvalidInput(f"parameters are {_article(given)}: give a dict for $name, or a list for ? and $1")
        self._given = _plain(given)
        wanted = [(statement, place, found) for statement in statements for place, found in statement.parameters]
        for statement, place, parameter in wanted:
            self._check(statement, place, parameter)
        self._check_no_extra([parameter for _, _, parameter in wanted])

    @classmethod
    def unchecked(cls, given: Given) -> Values:
        """Return values that were checked for the statement that these are a part of."""
        values = cls(None, [])
        values._given = given
        return values

    def _check(self, statement: Statement, place: int, parameter: Parameter) -> None:
        if self._has(parameter):
            return
        if parameter.name is not None and not parameter.name.isdigit():
            found = "no parameters" if not self._given else f"values for {_names(self._given)}"
            raise statement.error(
                f"no value was given for ${parameter.name} (found {found}): pass {{{parameter.name!r}: …}}", place
            )
        number = parameter.position + 1 if parameter.position is not None else int(parameter.name or 0)
        count = len(self._given) if self._given is not None else 0
        raise statement.error(
            f"no value was given for parameter {number} ({count} found): pass a list of values", place
        )

    def _check_no_extra(self, wanted: list[Parameter]) -> None:
        if isinstance(self._given, Mapping):
            extra = [name for name in self._given if name not in {parameter.name for parameter in wanted}]
            if extra:
                names = ", ".join(f"${parameter.name}" for parameter in wanted if parameter.name) or "none"
                raise InvalidInput(
                    f"the SQL has no parameter {', '.join(f'${name}' for name in extra)} (it has {names}): write "
                    f"${extra[0]} where the value belongs, or leave the value out"
                )
        elif self._given is not None:
            numbers = [
                int(p.name) if p.name else (p.position or 0) + 1 for p in wanted if not p.name or p.name.isdigit()
            ]
            if len(self._given) > max(numbers, default=0):
                raise InvalidInput(
                    f"{len(self._given)} values were given for {max(numbers, default=0)} parameters: leave out the rest"
                )

    def _has(self, parameter: Parameter) -> bool:
        try:
            self.of(parameter)
        except LookupError:
            return False
        return True

    def of(self, parameter: Parameter) -> Any:
        """Return the value of ``parameter``; raises LookupError when there is none."""
        if self._given is None:
            raise LookupError
        if isinstance(self._given, Mapping):
            if parameter.name is None:
                raise LookupError
            return self._given[parameter.name]
        if parameter.name is None:
            return self._given[parameter.position or 0]
        if not parameter.name.isdigit() or parameter.name == "0":
            raise LookupError
        return self._given[int(parameter.name) - 1]

    def known(self, parameter: Parameter) -> Any:
        """Return what the value of ``parameter`` says: that of EXECUTE may carry a type of DuckDB's."""
        return row_values.plain(self.of(parameter))

    @property
    def given(self) -> Given:
        """The values as the caller gave them."""
        return self._given

    def for_duckdb(self, names: set[str], positions: Sequence[int]) -> dict[str, Any] | list[Any] | None:
        """Return the values that DuckDB needs for a statement in which these parameters are left."""
        if self._given is None:  # nothing is asked for, or what PREPARE prepares
            return None
        if positions:
            return [self.of(Parameter(position=position)) for position in positions]
        if not names:
            return None
        if isinstance(self._given, Mapping):
            return {name: self._given[name] for name in sorted(names)}
        return {name: self.of(Parameter(name=name)) for name in sorted(names)}


def check_text(text: object) -> None:
    """Raise InvalidInput or SqlError for what is not text that DuckDB could read to its end."""
    if not isinstance(text, str):
        raise InvalidInput(f"SQL is text, not {_article(text)}: give a str")
    found = _UNREADABLE.search(text)
    if found is not None:
        noun = "the character NUL" if found[0] == "\0" else "half of a surrogate pair"
        shown = _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)
        raise SqlError(f"SQL cannot hold {noun}: take it out", shown, found.start())


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plain(given: Given) -> Given:
    """Return the values as DuckDB takes them: numbers of numpy as Python's. Raises InvalidInput for broken text."""
    if isinstance(given, Mapping):
        return {name: _plain_value(f"${name}", value) for name, value in given.items()}
    if given is None:
        return None
    return [_plain_value(f"parameter {position}", value) for position, value in enumerate(given, start=1)]


def _plain_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"the value of {name} holds half of a surrogate pair: give valid Unicode") from error
    if type(value).__module__ == "numpy" and hasattr(value, "dtype") and value.ndim == 0 and value.dtype.kind in "biuf":
        return value.item()
    return value


def _names(given: Given) -> str:
    return ", ".join(f"${name}" for name in given) if isinstance(given, Mapping) else "? only"


def as_of(at: At, statement: Statement, values: Values, evaluate: Callable[[str], datetime]) -> AsOf:
    """Return what an AT form means: a number, a time, or the name of a snapshot.

    ``evaluate`` runs a constant expression in DuckDB. Raises SqlError with the place of the form.
    """
    value: Any = values.known(at.value) if isinstance(at.value, Parameter) else at.value
    if at.kind == "version":
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise statement.error(f"AT VERSION takes a whole number, not {value!r}", at.offset)
        return operator.index(value)
    if at.kind == "snapshot":
        if not isinstance(value, str):
            raise statement.error(f"AT SNAPSHOT takes the name of a snapshot, not {value!r}", at.offset)
        return value
    if at.kind != "timestamp":
        assert_never(at.kind)
    try:
        return _time(value, evaluate)
    except (ValueError, OverflowError) as error:
        reason = error.args[0] if isinstance(error, SqlError) else f"{value!r} is none"
        raise statement.error(
            f"AT TIMESTAMP takes a time such as '2026-11-20 17:00' (UTC) or '2026-11-20T17:00+01:00': {reason}",
            at.offset,
        ) from error


def _time(value: Any, evaluate: Callable[[str], datetime]) -> datetime:
    """Return a time in UTC; one without a zone is in UTC already, and a date is its midnight."""
    if isinstance(value, Expression):
        return evaluate(value.text)
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    if value != value:  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
        raise ValueError(value)
    if isinstance(value, datetime):
        plain = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
        return plain.replace(tzinfo=UTC) if plain.tzinfo is None else plain.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError(value)
