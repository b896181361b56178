"""JSON on the wire, and every command is answered.

    alice > {"command": "subscribe", "topic": "foo"}
    alice < {"success": true}
    bob   > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    alice < {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all", "index": 0}
    bob   < {"success": true}

The rules are in `broker.py`; here is the simplest server around them.

Source: the author's own next step, *Writing a simple Python async message queue server, Part III*
(22 May 2024). A client of that server cannot tell the difference, unless it uses our additions:
`id`, `detail` and `missed`.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from stages import command_line, settings
from stages.beyond import broker
from stages.beyond.broker import Batch, Outgoing, Rules, commands
from stages.beyond.broker.topic import Client
from stages.beyond.server.connection import Connection
from stages.connection import Reader, read_in_turn

logger = logging.getLogger("stages")

CHUNK = 64 * 1024
"""How many bytes of one client are handled before the others get a turn."""


@dataclass(eq=False)
class Server:
    """A server that has a broker carry out what clients say, and sends what the broker says."""

    seed: int | None = settings.setting(
        None, "the same random choices each time, for the same N", trial=42
    )
    cache_length: int = settings.setting(100, "messages kept of each topic", at_least=0)

    connection_class: ClassVar[type[Connection]] = Connection
    lines_in_turn: ClassVar[int] = 100  # of one client, before the others have theirs
    broker_class: ClassVar[type[broker.Broker[Any]]] = broker.Broker

    def __post_init__(self) -> None:
        settings.check(type(self), vars(self))
        self.broker = self.new_broker()
        self.connections: dict[Client, Connection] = {}
        self.numbers = itertools.count(1)
        self.leaving = asyncio.Lock()

    def new_broker(self) -> broker.Broker[Any]:
        """A broker whose rules are the settings of this server."""
        return self.broker_class(msgspec.convert(self, Rules, from_attributes=True))

    async def handle_client(self, reader: Reader, connection: Connection) -> None:
        """Serve one client until it says `quit` or breaks off."""
        client = next(self.numbers)
        self.connected(client, connection)
        try:
            await self.converse(client, reader)
        finally:
            # When the server stops, no client is left to take over this one's work.
            if not cancelled():
                await self.disconnect(client)

    def connected(self, client: Client, connection: Connection) -> None:
        self.connections[client] = connection

    async def converse(self, client: Client, reader: Reader) -> None:
        async for data in self.hear(reader):
            await self.submit(client, data)

    async def hear(self, reader: Reader) -> AsyncIterator[bytes]:
        """Yield the lines that a client sends, some at a time."""
        async for lines in read_in_turn(reader, commands.LIMIT, CHUNK, self.lines_in_turn):
            yield b"\n".join(lines)

    async def disconnect(self, client: Client) -> None:
        async with self.leaving:  # one in a turn of the loop: many may leave at once
            await asyncio.sleep(0)
        await self.submit(client, None)
        del self.connections[client]

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        """Have the broker do what a client has said, and send what comes of it. Returns that."""
        parts = self.broker.carry_out(Batch(self.time(), [(client, data)]))
        for outgoing in parts:
            self.send(outgoing)
        return parts[-1]

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    def send(self, outgoing: Outgoing) -> None:
        log_refusals(outgoing)
        for clients, what in outgoing:
            data = b"".join(map(commands.encode, what))
            for client in clients:
                self.connections[client].write(data)


def log_refusals(outgoing: Outgoing) -> None:
    if logger.isEnabledFor(logging.INFO):
        for _, what in outgoing:
            for each in what:
                if isinstance(each, dict) and not each["success"]:
                    logger.info("Rejected: %s", each.get("detail", each["reason"]))


def cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


if __name__ == "__main__":
    command_line.main(Server)
