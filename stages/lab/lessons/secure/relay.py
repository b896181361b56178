"""Lesson 12: somebody who sits on the wire, and notes what passes."""

import asyncio
from contextlib import suppress
from ssl import SSLContext
from typing import Self

from stages.client import conversation


class Relay:
    """Passes on all that clients and a server say to each other, and keeps it.

    It can cut the connection after so many bytes; and with a token it comes in as that user, for
    clients that have none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        cut_after: int | None = None,
        token: str | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        self.there = host, port
        self.cut_after = cut_after
        self.token = token
        self.ssl = ssl
        self.passed = bytearray()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.listener = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port: int = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.listener.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.relay(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self.there, ssl=self.ssl)
        try:
            if self.token:
                command = {"command": "auth", "token": self.token}
                there_writer.write(conversation.encode(command, speaks_json=True))
                await there_reader.readline()
            await asyncio.gather(
                self.pass_on(reader, there_writer), self.pass_on(there_reader, writer)
            )
        finally:
            there_writer.transport.abort()
            writer.transport.abort()

    async def pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                self.passed += data
                if self.cut_after is not None and len(self.passed) > self.cut_after:
                    return sink.transport.abort()
                sink.write(data)
                await sink.drain()
        with suppress(OSError):
            if sink.can_write_eof():
                sink.write_eof()
            else:
                sink.write(b"\nquit\n")  # TLS has no halves
