"""``SourceMap`` against a model of it: a list of characters, each with the place that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from duckvstore.sql.syntax.source_map import SourceMap, character

WORDS = st.text("ab\n'é漢😀\u0301", max_size=6)


@dataclass
class Model:
    """Each character with its place and whether the user wrote it, and the place of the end."""

    characters: list[tuple[str, int, bool]]
    end: int

    def place(self, at: int) -> int:
        return self.characters[at][1] if at < len(self.characters) else self.end

    def cut(self, start: int, end: int) -> Model:
        return Model(self.characters[start:end], self.place(end))

    def inserted(self, at: int, words: str) -> list[tuple[str, int, bool]]:
        return [(letter, self.place(at), False) for letter in words]


def programs(longest: int = 8) -> st.SearchStrategy[list[tuple[str, int, int, str]]]:
    """Return steps by which a text is made: what to do, with which part, with which words."""
    numbers = st.integers(0, 30)
    steps = st.tuples(st.sampled_from(("cut", "before", "after", "replace", "twice")), numbers, numbers, WORDS)
    return st.lists(steps, max_size=longest)


def carried_out(source: str, program: list[tuple[str, int, int, str]]) -> tuple[SourceMap, Model]:
    made = SourceMap(source)
    model = Model([(letter, at, True) for at, letter in enumerate(source)], len(source))
    for what, first, second, words in program:
        size = len(model.characters)
        start, end = sorted((first % (size + 1), second % (size + 1)))
        if what == "cut":
            made, model = made[start:end], model.cut(start, end)
        elif what == "before":
            made = words + made
            model = Model([*model.inserted(0, words), *model.characters], model.end)
        elif what == "after":
            made = made + words
            model = Model([*model.characters, *model.inserted(size, words)], model.end)
        elif what == "twice":
            made = made[end:] + made[:start]
            model = Model([*model.characters[end:], *model.characters[:start]], model.place(start))
        else:
            made = made.replaced([(start, start, words), (start, end, words[::-1])])
            between = [*model.inserted(start, words), *model.inserted(start, words[::-1])]
            model = Model([*model.characters[:start], *between, *model.characters[end:]], model.end)
    return made, model


@given(WORDS, programs())
def test_texts_made_in_many_steps_know_every_place(source: str, program: list[tuple[str, int, int, str]]) -> None:
    made, model = carried_out(source, program)

    assert made.text == "".join(letter for letter, _, _ in model.characters)
    assert [made.origin(at) for at in range(len(made) + 3)] == [model.place(at) for at in range(len(made) + 3)]
    assert [made.is_copied(at) for at in range(len(made))] == [copied for _, _, copied in model.characters]


@given(WORDS, programs())
def test_what_the_user_wrote_is_at_its_place(source: str, program: list[tuple[str, int, int, str]]) -> None:
    made, _ = carried_out(source, program)

    for at in range(len(made)):
        if made.is_copied(at):
            assert made.text[at] == source[made.origin(at)]


@given(WORDS, programs().map(lambda program: [step for step in program if step[0] != "twice"]))
def test_place_is_the_inverse_of_origin(source: str, program: list[tuple[str, int, int, str]]) -> None:
    made, model = carried_out(source, program)

    for at in range(len(made)):
        if made.is_copied(at):
            assert made.place(made.origin(at)) == at
    for origin in range(len(source) + 1):
        later = [at for at, (_, place, copied) in enumerate(model.characters) if copied and place >= origin]
        assert made.place(origin) == (later[0] if later else len(made))


@given(WORDS, programs())
def test_places_in_bytes_are_those_of_their_characters(source: str, program: list[tuple[str, int, int, str]]) -> None:
    made, _ = carried_out(source, program)

    position = 0
    for at, letter in enumerate(made.text):
        size = len(letter.encode())
        inside = range(position, position + size)
        assert [character(made.text, byte) for byte in inside] == [at] * size
        assert [made.origin_of_byte(byte) for byte in inside] == [made.origin(at)] * size
        position += size
    assert made.origin_of_byte(position) == made.origin_of_byte(position + 100) == made.origin(len(made))


@given(WORDS, programs(4), programs(4))
def test_one_step_after_another_is_both(source: str, first: list[tuple], second: list[tuple]) -> None:
    """A text made from a text that was made: its places are found through both."""
    middle, _ = carried_out(source, first)
    direct, _ = carried_out(source, [*first, *second])
    made, _ = carried_out(middle.text, second)

    assert made.text == direct.text
    assert [middle.origin(made.origin(at)) for at in range(len(made) + 1)] == [
        direct.origin(at) for at in range(len(direct) + 1)
    ]


def test_text_of_nobody_has_the_place_that_it_is_given() -> None:
    made = SourceMap.in_place_of("SELECT ", 7) + SourceMap("abc")[1:]
    assert [made.origin(at) for at in (0, 6, 7, 8, 9)] == [7, 7, 1, 2, 3]
