"""One slow reader costs nobody else anything.

    stuck > {"command": "subscribe", "topic": "foo"}
    bob   > {"command": "send", "topic": "foo", "msg": "x", "delivery": "all"}      again and again; stuck does not read
    stuck < {"success": false, "reason": "Too slow"}                                after a second, and is disconnected

Source: the protocol's own means, TCP flow control: who is not read from can soon send no more. NATS and Redis
disconnect a slow consumer at once; this stage lets its senders wait for it first, but not long.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import Any

from stages import serve, wire
from stages.beyond import open_files, replies

log = logging.getLogger("stages")


class Server(replies.Server):
    """A queue that keeps at most `outbox_limit` bytes for a client, and waits `patience` seconds for it to catch up."""

    def __init__(self, *, outbox_limit: int = 2**20, patience: float = 1.0, **earlier: Any) -> None:
        super().__init__(**earlier)
        if outbox_limit < 1:
            raise ValueError(f"outbox_limit must be a number of bytes, at least 1: got {outbox_limit}")
        if not patience > 0:
            raise ValueError(f"patience must be a number of seconds, more than 0: got {patience}")
        self.outbox_limit = outbox_limit
        self.patience = patience
        self.overfull: set[Any] = set()

    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        client.writer.transport.set_write_buffer_limits(high=self.outbox_limit)
        await super().handle_client(reader, client)

    async def lines(self, reader: asyncio.StreamReader, client: Any) -> AsyncIterator[bytes]:
        async for line in super().lines(reader, client):
            yield line
            # By now the line has been handled, and nothing else since: `overfull` is its doing. Nothing more is read
            # from this client until those have caught up. For itself it waits as long as it likes.
            others, self.overfull = self.overfull - {client}, set()
            await asyncio.gather(*[self.wait_for(other) for other in others])
            if backlog(client) > self.outbox_limit:
                await drained(client)
            if client.writer.is_closing():
                return

    def deliver(self, message: wire.Command, recipients: Collection[Any]) -> None:
        super().deliver(message, recipients)
        self.overfull.update(client for client in recipients if backlog(client) > self.outbox_limit)

    async def wait_for(self, client: Any) -> None:
        """Give a client time to catch up; if it does not, disconnect it."""
        try:
            async with asyncio.timeout(self.patience):
                await drained(client)
        except TimeoutError:
            if not client.writer.is_closing():
                self.give_up(client)

    def give_up(self, client: Any) -> None:
        """Forget a client that is too slow, tell it why, and close its connection."""
        log.warning("Too slow: a client has not caught up within %g s", self.patience)
        self.disconnect(client)
        client.unsent.extend(self.encode({"success": False, "reason": "Too slow"}))  # past whatever else is held back
        client.flush()
        client.writer.close()
        # It may still read what is on its way; but closing must not wait for one that never reads.
        asyncio.get_running_loop().call_later(self.patience, client.writer.transport.abort)


def backlog(client: Any) -> int:
    """How many bytes a client has not been sent yet."""
    return len(client.unsent) + int(client.writer.transport.get_write_buffer_size())


async def drained(client: Any) -> None:
    """Wait until a client has caught up, or is gone."""
    client.flush()
    with suppress(OSError):
        await client.writer.drain()


if __name__ == "__main__":
    open_files.allow_many()
    serve.main(Server)
