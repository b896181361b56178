"""One slow reader costs nobody else anything.

    stuck > {"command": "subscribe", "topic": "foo"}
    bob   > {"command": "send", "topic": "foo", "msg": "x", "delivery": "all"}      again and again; stuck does not read
    stuck < {"success": false, "reason": "Too slow"}                                after a second, and is disconnected

Source: the protocol's own means, TCP flow control: who is not read from can soon send no more. NATS and Redis
disconnect a slow consumer at once; this stage lets its senders wait for it first, but not long.
"""

import asyncio
import logging
from collections import deque
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
        # What clients could not take at once, not yet encoded, and the tasks that send it as there is room.
        self.late: dict[Any, deque[wire.Command]] = {}
        self.catching_up: dict[Any, asyncio.Task[None]] = {}
        self.held_up: set[Any] = set()

    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        client.writer.transport.set_write_buffer_limits(high=self.outbox_limit)
        try:
            await super().handle_client(reader, client)
        finally:
            if task := self.catching_up.get(client):
                task.cancel()
                await asyncio.wait([task])

    async def lines(self, reader: asyncio.StreamReader, client: Any) -> AsyncIterator[bytes]:
        async for line in super().lines(reader, client):
            yield line
            # By now the line has been handled, and nothing else since: `held_up` is its doing. Nothing more is read
            # from this client until those have caught up. For itself it waits as long as it likes.
            others, self.held_up = self.held_up - {client}, set()
            await asyncio.gather(*[self.wait_for(other) for other in others])
            if client in self.catching_up:
                await asyncio.wait([self.catching_up[client]])
            elif self.backlog(client) > self.outbox_limit:
                await self.drained(client)
            if client.writer.is_closing():
                return

    def deliver(self, message: wire.Command, recipients: Collection[Any]) -> None:
        """Write a message to its recipients; to those who have too much unsent, when they have caught up."""
        full = [client for client in recipients if client in self.late or self.backlog(client) > self.outbox_limit]
        super().deliver(message, [client for client in recipients if client not in full] if full else recipients)
        for client in full:
            self.late.setdefault(client, deque()).append(message)
            if client not in self.catching_up:
                self.catching_up[client] = asyncio.create_task(self.catch_up(client))
        self.held_up.update(full)

    async def catch_up(self, client: Any) -> None:
        """Send a client what it could not take at once, as it makes room."""
        late = self.late[client]
        try:
            while late and not client.writer.is_closing():
                await self.drained(client)
                while late and self.backlog(client) <= self.outbox_limit:
                    client.write(self.encode(late.popleft()))
        finally:
            self.late.pop(client, None)
            del self.catching_up[client]

    async def wait_for(self, client: Any) -> None:
        """Give a client time to catch up; if it does not, give it up."""
        if task := self.catching_up.get(client):
            caught_up, _ = await asyncio.wait([task], timeout=self.patience)
            if not caught_up and not client.writer.is_closing():
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

    def disconnect(self, client: Any) -> None:
        super().disconnect(client)
        self.late.pop(client, deque()).clear()

    def backlog(self, client: Any) -> int:
        """How many bytes a client has not been sent yet."""
        return len(client.unsent) + int(client.writer.transport.get_write_buffer_size())

    async def drained(self, client: Any) -> None:
        """Wait until a client has taken most of what was written to it, or is gone."""
        client.flush()
        with suppress(OSError):
            await client.writer.drain()


if __name__ == "__main__":
    open_files.allow_many()
    serve.main(Server)
