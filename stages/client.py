"""An asyncio client for any Python program.

    async with await Client.connect(7777) as client:
        await client.subscribe("foo", last_seen=41)
        async for message in client:
            print(message["index"], message["msg"])

Article: the commands shown in its sections; it drives its server by hand.
"""

import asyncio
from typing import Any, Self

from stages import wire

LONGEST = 16 * wire.LIMIT
"""The longest line expected from a server, in bytes: escapes can make a line longer than it was sent."""


class Client:
    """A connection to a stage. Cancelling a `receive` that waits loses no message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, host: str = "localhost") -> Self:
        """Connect to a server. Raises OSError if none listens there."""
        return cls(*await asyncio.open_connection(host, port, limit=LONGEST))

    async def subscribe(self, topic: str, **fields: Any) -> None:
        """Ask for the messages of a topic; since `last_seen`: only those after the index `last_seen`."""
        await self.write({"command": "subscribe", "topic": topic, **fields})

    async def send(self, topic: str, msg: Any, **fields: Any) -> None:
        """Send a message, any Python literal; since `delivery`: to "all" subscribers or to "one"."""
        await self.write({"command": "send", "topic": topic, "msg": msg, **fields})

    async def write(self, command: wire.Command) -> None:
        self.writer.write(wire.encode(command))
        await self.writer.drain()

    async def receive(self) -> wire.Command:
        """Wait for the next message: the sender's whole command, since `last_seen` with its `index`.

        Raises `wire.Error` if the server has rejected a command, and EOFError once it has closed the connection.
        """
        message = wire.decode(await self.reader.readuntil(b"\n"), LONGEST)
        if "error" in message:
            raise wire.Error(message["error"])
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> wire.Command:
        try:
            return await self.receive()
        except EOFError:
            raise StopAsyncIteration from None

    async def close(self) -> None:
        """Close the connection; what was sent before still arrives."""
        await wire.Outbox(self.writer).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()
