"""One slow reader costs its senders a second, and nobody else anything.

    stuck > {"command": "subscribe", "topic": "foo"}
    bob   > {"command": "send", "topic": "foo", "msg": "x", "delivery": "all"}
            again and again; stuck does not read
    stuck < {"success": false, "reason": "Too slow"}                                after a second,
    and is disconnected

Each client has an outbox with a high-water mark. If a message finds an outbox full, the server
reads no more from its sender, until the reader has caught up, or its time is up.

Source: TCP flow control, the protocol's own means: a client that we stop reading from soon cannot
send any more. NATS and Redis disconnect a slow consumer at once; this stage lets its senders wait
for it first, but not for long.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from stages import command_line, settings
from stages.beyond import replies
from stages.beyond.broker import Outgoing, commands
from stages.beyond.broker.topic import Client
from stages.beyond.server.connection import TOO_SLOW, Connection
from stages.beyond.server.outbox import Outbox
from stages.connection import Reader

logger = logging.getLogger("stages")


@dataclass(eq=False)
class Server(replies.Server):
    """A server that buffers `high_water` bytes for a client, and disconnects one that does not take
    most of them within `write_timeout` seconds while others wait for it."""

    high_water: int = settings.setting(
        2**20, "bytes buffered for a client before its senders wait", at_least=1
    )
    write_timeout: float = settings.setting(
        1.0, "seconds that senders wait for a client to read", more_than=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outboxes: dict[Client, Outbox] = {}

    def connected(self, client: Client, connection: Connection) -> None:
        super().connected(client, connection)
        self.outboxes[client] = Outbox(connection, self.high_water)

    def send(self, outgoing: Outgoing) -> None:
        replies.log_refusals(outgoing)
        for clients, what in outgoing:
            # Encoded once if it is for many; a replay only as there is room for it.
            lines = what if len(clients) == 1 else [commands.encode(each) for each in what]
            for client in clients:
                self.outboxes[client].put(lines)

    async def converse(self, client: Client, reader: Reader) -> None:
        outbox = self.outboxes[client]
        async for data in self.hear(reader):
            if outbox.dismissed:
                return
            outgoing = await self.submit(client, data)
            await self.wait_for_recipients(client, outgoing)
            await outbox.wait_until_empty()  # not reading its own answers holds up nobody else

    async def wait_for_recipients(self, sender: Client, outgoing: Outgoing) -> None:
        """Wait until those that a sender has reached have room again."""
        lines: Counter[Client] = Counter()
        for clients, what in outgoing:
            for client in clients:
                if client != sender and client in self.outboxes and self.outboxes[client].pending:
                    lines[client] += len(what)
        waiting = [
            self.wait_for(client, self.outboxes[client], number) for client, number in lines.items()
        ]
        if waiting:
            await asyncio.gather(*waiting)

    async def wait_for(self, client: Client, outbox: Outbox, lines: int) -> None:
        try:
            await outbox.wait_for_room(lines, self.write_timeout)
        except TimeoutError:
            await self.disconnect_slow(client, outbox)

    async def disconnect_slow(self, client: Client, outbox: Outbox) -> None:
        """Tell a client that it is too slow, close its connection, and forget it."""
        # Several senders may have waited; and one that is leaving is being seen off already.
        if not outbox.dismissed and client in self.outboxes:
            logger.warning("Too slow: a client has not read for %g s", self.write_timeout)
            outbox.dismiss({"success": False, "reason": TOO_SLOW}, self.write_timeout)
            await self.submit(client, None)

    async def disconnect(self, client: Client) -> None:
        await super().disconnect(client)
        await self.outboxes.pop(client).finish(self.write_timeout)


if __name__ == "__main__":
    command_line.main(Server)
