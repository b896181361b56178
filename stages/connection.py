"""What stands between a socket and a queue: lines come in, in turn with other clients; bytes go
out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol

from stages import wire

logger = logging.getLogger("stages")

CHUNK, LINES = 4096, 100
"""How many bytes of a client, and how many lines, are handled before the others get a turn."""


class Reader(Protocol):
    """What lines are read from: asyncio's `StreamReader`, or what stands for it."""

    async def read(self, size: int, /) -> bytes:
        """At most so many bytes, as soon as there are some; b"" at the end. (What stands for it may
        return more.)"""


async def read_lines(reader: Reader) -> AsyncIterator[bytes]:
    """Yield the lines that a client sends, save blank ones, until it says `quit`, ends or breaks
    off."""
    async for lines in read_in_turn(reader, wire.LIMIT, CHUNK, LINES):
        for line in lines:
            yield line


async def read_in_turn(
    reader: Reader, limit: int, chunk: int, most: int
) -> AsyncIterator[list[bytes]]:
    """Yield the lines, some at a time: those that have arrived, of at most `chunk` new bytes, and
    at most so many of them."""
    cutter, ended = wire.Lines(limit), False
    with suppress(OSError):
        while not ended:
            data = await reader.read(chunk)
            arrived = cutter.feed(data)
            log_received(arrived)
            lines, quits = until_quit(
                [line for line in arrived if line.strip() or len(line) > limit]
            )
            ended = quits or not data
            for start in range(0, len(lines), most):
                # a turn for the others: a client that floods us must not starve them
                await asyncio.sleep(0)
                yield lines[start : start + most]


def until_quit(lines: list[bytes]) -> tuple[list[bytes], bool]:
    """The lines before `quit`, and whether there is one."""
    for number, line in enumerate(lines):
        if line.strip() == b"quit":
            return lines[:number], True
    return lines, False


def log_received(lines: list[bytes]) -> None:
    if logger.isEnabledFor(logging.INFO):
        texts = [line.decode(errors="backslashreplace").strip() for line in lines if line.strip()]
        if texts:
            # One record for all lines, since a record costs as much as a command; repr() makes
            # control characters visible.
            logger.info("\n".join(f"Received: {repr(text)[1:-1]}" for text in texts))


class Connection:
    """A client that lines can be written to. They go out together, once a turn of the event loop:
    a burst costs one system call."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.unsent = bytearray()

    def write(self, data: bytes) -> None:
        if isinstance(data, str):  # else it would fail later, and nobody would know whose it was
            raise TypeError("write expects bytes, not a str")
        if not self.unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        self.unsent += data

    def flush(self) -> None:
        unsent, self.unsent = self.unsent, bytearray()
        if not self.closing:  # what is sent to a client that is gone is lost
            self.writer.write(unsent)

    @property
    def closing(self) -> bool:
        return self.writer.transport.is_closing()

    async def drained(self) -> None:
        """Wait until the client has room again, or is gone."""
        self.flush()
        with suppress(OSError):
            await self.writer.drain()

    def end(self) -> None:
        """Send what is unsent, and close the connection then; don't wait for it."""
        self.flush()
        if not self.closing:
            self.writer.close()

    async def close(self) -> None:
        """Send what is unsent, then close the connection."""
        self.end()
        with suppress(OSError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Close the connection at once. Doing it to one that is closed does no harm."""
        self.writer.transport.abort()
