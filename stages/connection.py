"""What stands between a socket and a queue: lines come in, in turn with other clients; bytes go
out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from stages import wire

log = logging.getLogger("stages")

CHUNK, LINES = 4096, 100
"""How many bytes of a client, and how many lines, are handled before the others get a turn."""

NO_LIMIT = 2**30
"""More than any buffer holds; uvloop knows no larger number."""

FORGOTTEN = AttributeError, RuntimeError
"""What asyncio's transports, and uvloop's, raise once they have forgotten their connection."""

TOO_SLOW, NOT_STORED, NOT_KNOWN = "Too slow", "Could not store", "Not known"
CLOSE_REASONS = (TOO_SLOW, NOT_STORED, NOT_KNOWN)
"""The reasons a server may end a connection with."""


async def read_lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines that a client sends, save blank ones, until it says `quit`, ends or breaks
    off."""
    async for batch in read_batches(reader, wire.LIMIT, CHUNK, LINES):
        for line in batch:
            yield line


async def read_batches(
    reader: asyncio.StreamReader, limit: int, chunk: int, most: int
) -> AsyncIterator[list[bytes]]:
    """Yield the lines in batches: all that have arrived, from at most `chunk` new bytes at a time,
    and at most so many of them."""
    lines, ended = wire.Lines(limit), False
    with suppress(OSError):
        while not ended:
            data = await reader.read(chunk)
            batch = lines.feed(data)
            log_received(batch)
            said, quits = until_quit([line for line in batch if line.strip() or len(line) > limit])
            ended = quits or not data
            for start in range(0, len(said), most):
                # a turn for the others: a client that floods us must not starve them
                await asyncio.sleep(0)
                yield said[start : start + most]


def until_quit(lines: list[bytes]) -> tuple[list[bytes], bool]:
    """The lines before `quit`, and whether there is one."""
    for number, line in enumerate(lines):
        if line.strip() == b"quit":
            return lines[:number], True
    return lines, False


def log_received(lines: list[bytes]) -> None:
    if log.isEnabledFor(logging.INFO):
        texts = [line.decode(errors="backslashreplace").strip() for line in lines if line.strip()]
        if texts:
            # One record for all lines, since a record costs as much as a command; repr() makes
            # control characters visible.
            log.info("\n".join(f"Received: {repr(text)[1:-1]}" for text in texts))


class Connection:
    """A client that lines can be written to. They go out together, once a turn of the event loop:
    a burst costs one system call."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.unsent: list[bytes] = []
        self.unsent_size = 0

    def write(self, data: bytes) -> None:
        if isinstance(data, str):  # else it would fail later, and nobody would know whose it was
            raise TypeError("write expects bytes, not a str")
        if not self.unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        self.unsent.append(data)
        self.unsent_size += len(data)

    def flush(self) -> None:
        unsent, self.unsent, self.unsent_size = self.unsent, [], 0
        if not self.closing:  # what is sent to a client that is gone is lost
            self.writer.write(b"".join(unsent))

    def about(self, what: str) -> Any:
        """What is known of the connection; None if nothing is, or nothing any more."""
        with suppress(AttributeError):  # asyncio's TLS, once it has been closed twice
            return self.writer.get_extra_info(what)

    @property
    def size(self) -> int:
        """How many of the bytes written the operating system has not taken yet."""
        with suppress(*FORGOTTEN):
            return self.unsent_size + self.writer.transport.get_write_buffer_size()
        return 0

    @property
    def peer(self) -> str:
        """The address of the client."""
        peer = self.about("peername")
        return str(peer[0]) if peer else "nowhere"

    @property
    def encrypted(self) -> bool:
        return self.about("sslcontext") is not None

    @property
    def certified_name(self) -> str | None:
        """The name in the certificate that the client has shown, if it has."""
        shown = self.about("peercert") or {}
        names = {key: value for part in shown.get("subject", ()) for key, value in part}
        name: str | None = names.get("commonName")
        return name

    @property
    def closing(self) -> bool:
        return self.writer.transport.is_closing()

    def limit(self, high_water: int) -> None:
        """Let `drained` wait whenever more than `high_water` bytes are unsent, until a quarter is
        left."""
        if self.encrypted:
            high_water = max(1, high_water)  # TLS already waits when there are as many
        with suppress(*FORGOTTEN):
            self.writer.transport.set_write_buffer_limits(high=min(high_water, NO_LIMIT))

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
        if self.encrypted:
            self.limit(NO_LIMIT)  # else asyncio of Python 3.11 complains if it waits just now
        with suppress(*FORGOTTEN):
            self.writer.transport.abort()
