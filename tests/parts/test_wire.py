"""Bytes and lines, without I/O."""

import pytest

from stages import wire
from stages.wire import FieldError, Lines, decode


def test_lines_are_cut_where_they_end_whatever_the_pieces() -> None:
    data = b"one\n\ntwo\nthree"
    for size in range(1, len(data) + 1):
        lines = Lines(100)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [line for piece in pieces for line in lines.feed(piece)] == [b"one", b"", b"two"]
        assert lines.feed(b"") == [b"three"]


def test_of_a_line_that_is_too_long_only_the_beginning_is_kept() -> None:
    lines = Lines(10)
    for _ in range(1000):
        assert lines.feed(b"x" * 7) == []
        assert len(lines.rest) <= 11
    assert lines.feed(b"x\nnext\n") == [b"x" * 12, b"next"]


def test_a_field_error_says_what_was_expected_and_what_came() -> None:
    assert str(FieldError({"topic": 7}, "topic", "a string")) == "'topic' must be a string: got 7"
    assert str(FieldError({}, "topic", "a string")) == "'topic' must be a string: it is missing"


@pytest.mark.parametrize("msg", ["1e999", "[-1e999]", "...", "[1+1j]" * 1, "0x" + "f" * 5000])
def test_only_what_its_own_spelling_means_is_a_literal(msg: str) -> None:
    """`[1+1j]` is one: `[(1+1j)]` can be read back."""
    line = f"{{'msg': {msg}}}".encode()
    if msg == "[1+1j]":
        assert decode(line) == {"msg": [1 + 1j]}
    else:
        with pytest.raises(wire.Error, match="not a Python literal"):
            decode(line)


def test_a_word_that_looks_like_infinity_is_a_text_like_any_other() -> None:
    for text in ("inf", "Ellipsis", "(j)"):
        assert decode(wire.encode({"msg": text})) == {"msg": text}
