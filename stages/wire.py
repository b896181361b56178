r"""Bytes <-> commands: one Python dict literal a line.

    b"{'command': 'subscribe', 'topic': 'foo'}\n"  <->  {"command": "subscribe", "topic": "foo"}

Article: all sections; it does this with `readline()`, `ast.literal_eval(line)` and `str(cmd)`.
"""

import ast
import asyncio
import logging
import reprlib
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Protocol

log = logging.getLogger("stages")

LIMIT = 64 * 1024
"""The longest line accepted, in bytes."""

Command = dict[str, Any]

EXAMPLE = "{'command': 'subscribe', 'topic': 'foo'}"
NOT_LITERAL = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)

# Python's parser warns of odd text such as '\d'. That is the sender's affair and not for our stderr;
# "<unknown>" is the name under which literal_eval compiles.
warnings.filterwarnings("ignore", module="<unknown>")


class Error(ValueError):
    """A line cannot be accepted; the text says what is wrong and what was expected."""


class FieldError(Error):
    """A field of a command is missing or wrong."""

    def __init__(self, command: Command, field: str, expected: str) -> None:
        got = f"got {reprlib.repr(command[field])}" if field in command else "it is missing"
        super().__init__(f"'{field}' must be {expected}: {got}")


async def read_lines(reader: asyncio.StreamReader, limit: int = LIMIT) -> AsyncIterator[bytes]:
    """Yield the lines that a client sends, save blank ones, until it says `quit`, ends or breaks off.

    Of a line longer than `limit` only the beginning is kept, itself too long for `decode` to accept.
    """
    rest, ended = bytearray(), False
    with suppress(OSError):
        while not ended:
            chunk = await reader.read(4096)
            await asyncio.sleep(0)  # in turns: else one client that floods us would starve the others
            ended = not chunk
            # End of file ends the last line, too.
            *lines, end = (chunk or b"\n").split(b"\n")
            if lines:
                lines[0] = bytes(rest + lines[0])
                rest.clear()
            log_lines(lines)
            for line in lines:
                if line.strip() == b"quit":
                    return
                if line.strip() or len(line) > limit:
                    yield line
            rest += end
            del rest[limit + 1 :]


def log_lines(lines: list[bytes]) -> None:
    texts = [line.decode(errors="backslashreplace").strip() for line in lines if line.strip()]
    if texts and log.isEnabledFor(logging.INFO):
        # In one record, for a record costs as much as a command; by repr(), for a line may hold control codes.
        log.info("\n".join(f"Received: {repr(text)[1:-1]}" for text in texts))


class Client(Protocol):
    """All that the queue asks of a connection."""

    def write(self, data: bytes, /) -> object: ...


class Outbox:
    """A client whose lines go out together, once a turn of the event loop: a burst costs one system call."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.unsent = bytearray()

    def write(self, data: bytes) -> None:
        if not self.unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        self.unsent += data

    def flush(self) -> None:
        if not self.writer.transport.is_closing():  # what is sent to a client that is gone is lost
            self.writer.write(self.unsent)
        self.unsent = bytearray()  # a new one, for the transport keeps the old

    async def close(self) -> None:
        """Send what is unsent, then close the connection."""
        self.flush()
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


def decode(line: bytes, limit: int = LIMIT) -> Command:
    """Turn a line into the dict it spells. Raises `Error`."""
    if len(line) > limit:
        raise Error(f"line too long: expected at most {limit} bytes")
    try:
        command = ast.literal_eval(line.decode().strip())
        spelled = str(command)  # raises for a number of over 4300 digits
        if any(word in spelled for word in ("inf", "Ellipsis", "j)")):
            # 1e999, ... and deeply nested 1+1j are literals, but not what str() makes of them
            ast.literal_eval(spelled)
    except UnicodeDecodeError:
        raise Error(f"not UTF-8: expected a line such as {EXAMPLE}") from None
    except NOT_LITERAL:
        raise Error(f"not a Python literal (a quote or bracket missing?): expected a line such as {EXAMPLE}") from None
    if not isinstance(command, dict):
        raise Error(f"not a dict: expected a line such as {EXAMPLE}")
    return command


def encode(command: Command) -> bytes:
    """Turn a dict into the line that spells it."""
    return f"{command}\n".encode()
