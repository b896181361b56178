r"""Bytes <-> commands: one Python dict literal a line.

    b"{'command': 'subscribe', 'topic': 'foo'}\n"  <->  {"command": "subscribe", "topic": "foo"}

No I/O: `stages.connection` reads and writes. Article: all sections; it does this with `readline()`,
`ast.literal_eval(line)` and `str(cmd)`.
"""

import ast
import reprlib
import threading
from typing import Any, Protocol

LIMIT = 64 * 1024
"""The longest line accepted, in bytes."""

Command = dict[str, Any]
"""What a client sends, and a subscriber receives: `command` and `topic`, texts; of a `send` also
`msg`, any literal; and whatever else the client has put in."""

EXAMPLE = "{'command': 'subscribe', 'topic': 'foo'}"
NOT_LITERAL = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
PARSER = threading.Lock()


class Recipient(Protocol):
    """All that the queue asks of a client."""

    def write(self, data: bytes, /) -> object: ...


class Error(ValueError):
    """A line cannot be accepted; the text says what is wrong and what was expected."""


class FieldError(Error):
    """A field of a command is missing or wrong."""

    def __init__(self, command: Command, field: str, expected: str) -> None:
        got = f"got {reprlib.repr(command[field])}" if field in command else "it is missing"
        super().__init__(f"'{field}' must be {expected}: {got}")


class Lines:
    """Cuts what a client sends into lines. Of a line longer than `limit` only the beginning is
    kept, itself too long for `decode` to accept."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, which may be any piece of the stream; b"" is the end of
        file, and ends the last line, too."""
        *lines, end = (data or b"\n").split(b"\n")
        if lines:
            lines[0] = bytes(self.rest + lines[0])
            self.rest.clear()
        self.rest += end
        del self.rest[self.limit + 1 :]
        return lines


def literal(text: str) -> object:
    # One thread at a time: Python 3.11's parser counts its depth for all of them together, and
    # fails now and then. (A notebook has its clients in one thread and its server in another.)
    with PARSER:
        return ast.literal_eval(text)


def decode(line: bytes, limit: int = LIMIT) -> Command:
    """Turn a line into the dict it spells. Raises `Error`."""
    if len(line) > limit:
        raise Error(f"line too long: expected at most {limit} bytes")
    try:
        command = literal(line.decode().strip())
        # Only what str() spells so that literal_eval can read it back may pass: a subscriber must
        # be able to. Not so 1e999, ... and deeply nested 1+1j; and str() raises for over 4300
        # digits.
        literal(str(command))
    except UnicodeDecodeError:
        raise Error(f"not UTF-8: expected a line such as {EXAMPLE}") from None
    except NOT_LITERAL:
        problem = "not a Python literal (a quote or bracket missing?)"
        raise Error(f"{problem}: expected a line such as {EXAMPLE}") from None
    if not isinstance(command, dict):
        raise Error(f"not a dict: expected a line such as {EXAMPLE}")
    return command


def encode(command: Command) -> bytes:
    """Turn a dict into the line that spells it."""
    return f"{command}\n".encode()
