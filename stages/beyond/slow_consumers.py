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


class Late:
    """What a client could not take at once, not yet encoded."""

    def __init__(self) -> None:
        self.messages: deque[wire.Command] = deque()
        self.sent = 0
        self.awaited = 0
        self.progress = asyncio.Event()
        self.task: Any = None


class Server(replies.Server):
    """A queue that keeps `outbox_limit` bytes for a client, which has `patience` seconds to make room for more."""

    def __init__(self, *, outbox_limit: int = 2**20, patience: float = 1.0, **earlier: Any) -> None:
        super().__init__(**earlier)
        if outbox_limit < 1:
            raise ValueError(f"outbox_limit must be a number of bytes, at least 1: got {outbox_limit}")
        if not patience > 0:
            raise ValueError(f"patience must be a number of seconds, more than 0: got {patience}")
        self.outbox_limit = outbox_limit
        self.patience = patience
        self.late: dict[Any, Late] = {}
        self.held_up: set[Any] = set()

    async def lines(self, reader: asyncio.StreamReader, client: Any) -> AsyncIterator[bytes]:
        async for line in super().lines(reader, client):
            self.held_up.clear()
            yield line
            # By now the line has been handled, and nothing else since: `held_up` is its doing. Nothing more is read
            # from this client until they have room again, and until it has itself taken all that was for it.
            await asyncio.gather(*[self.wait_for(other) for other in self.held_up - {client}])
            if late := self.late.get(client):
                await asyncio.wait([late.task])
            elif self.backlog(client) > self.outbox_limit:
                await self.drained(client)
            if client.writer.is_closing():
                return

    def deliver(self, message: wire.Command, recipients: Collection[Any]) -> None:
        """Write a message to its recipients; to those who have too much unsent, once they have made room."""
        full = [client for client in recipients if client in self.late or self.backlog(client) > self.outbox_limit]
        super().deliver(message, [client for client in recipients if client not in full] if full else recipients)
        for client in full:
            if client not in self.late:
                self.late[client] = Late()
                self.late[client].task = asyncio.create_task(self.catch_up(client, self.late[client]))
            self.late[client].messages.append(message)
        self.held_up.update(full)

    async def wait_for(self, client: Any) -> None:
        """Hold a sender up until as many messages have left for the client as senders have waited: it gets no later."""
        if late := self.late.get(client):
            late.awaited += 1
            place = late.awaited
            while late.sent < place and self.late.get(client) is late:
                await late.progress.wait()

    async def catch_up(self, client: Any, late: Late) -> None:
        """Send a client what it could not take at once; if it makes no room for that, give it up."""
        try:
            while late.messages and not client.writer.is_closing():
                await self.make_room(client)
                while late.messages and self.backlog(client) <= self.outbox_limit:
                    client.write(self.encode(late.messages.popleft()))
                    late.sent += 1
                late.progress.set()  # wakes those who wait
                late.progress.clear()
        except TimeoutError:
            self.give_up(client)
        finally:
            self.no_longer_late(client)

    def no_longer_late(self, client: Any) -> None:
        if late := self.late.pop(client, None):
            late.progress.set()

    async def make_room(self, client: Any) -> None:
        """Wait until a client has taken most of what was written to it. Raises TimeoutError if it does not."""
        async with asyncio.timeout(self.patience):
            await self.drained(client)

    def give_up(self, client: Any) -> None:
        """Forget a client that is too slow, tell it why, and close its connection."""
        log.warning("Too slow: a client has made no room for %g s", self.patience)
        self.disconnect(client)
        client.unsent.extend(self.encode({"success": False, "reason": "Too slow"}))  # past whatever else is held back
        client.flush()
        client.writer.close()
        # It may still read what is on its way; but closing must not wait for one that never reads.
        asyncio.get_running_loop().call_later(self.patience, client.writer.transport.abort)

    def disconnect(self, client: Any) -> None:
        super().disconnect(client)
        if client in self.late:
            self.late[client].messages.clear()

    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        client.writer.transport.set_write_buffer_limits(high=self.outbox_limit)
        try:
            await super().handle_client(reader, client)
        finally:
            if late := self.late.get(client):
                late.task.cancel()
                self.no_longer_late(client)  # the task may not even have begun
                await asyncio.wait([late.task])
        await self.see_off(client)

    async def see_off(self, client: Any) -> None:
        """Let a client that has left take the rest, as long as it takes some within each `patience`."""
        client.writer.transport.set_write_buffer_limits(high=0)
        rest = None
        while rest != 0 and rest != (rest := self.backlog(client)):
            with suppress(TimeoutError):
                await self.make_room(client)
        if rest:
            client.writer.transport.abort()

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
