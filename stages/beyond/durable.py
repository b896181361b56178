"""What was answered with success survives.

    bob   > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    bob   < {"success": true}
            the server is killed, and started again
    alice > {"command": "subscribe", "topic": "foo"}
    alice < {"success": true}
    alice < {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all", "index": 0}

Source: write-ahead and group commit, as in any database: nothing leaves the server before what it tells is on disk, and
whatever comes while the disk is busy is written together the next time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from stages import serve, wire
from stages.beyond import acks, open_files
from stages.beyond.storage import Changes, Storage

log = logging.getLogger("stages")


NOT_STORED = "Could not store"


class Batch:
    """What to write to disk together, and the lines that may go out only then."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.lines: list[tuple[Withheld, bytes]] = []
        self.size = 0
        self.done = asyncio.Event()


class Withheld:
    """A client that is sent nothing until the batch it belongs to is on disk."""

    def __init__(self, client: Any, server: "Server") -> None:
        self.client = client
        self.server = server
        self.last: Batch | None = None
        self.size = 0

    def write(self, line: bytes) -> None:
        self.last = self.server.batch
        self.last.lines.append((self, line))
        self.last.size += len(line)
        self.size += len(line)
        self.server.commit_soon()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


class Server(acks.Server):
    """A queue that keeps its messages in the SQLite file `data`, of each topic the last `cache_length`."""

    def __init__(self, *, data: str = "messages.db", cache_length: int = 10_000, **earlier: Any) -> None:
        super().__init__(cache_length=cache_length, **earlier)
        self.failed = False
        self.batch = Batch()
        self.committing: asyncio.Task[None] | None = None
        self.storage = Storage(data)
        self.notes = [f"messages are kept in {self.storage.path}"]

    async def __aenter__(self) -> None:
        """Continue where the last process stopped. What workers held then is work that has come back."""
        topics, messages = self.storage.open()
        for topic, (next_index, *evicted) in topics.items():
            self.indexes[topic] = next_index
            self.evicted[topic] = evicted[0], evicted[1]
        for message in messages:
            super().keep(message)

    # Every change of a message is noted here, and written to disk by `commit`.

    def send(self, command: wire.Command, client: wire.Client) -> None:
        super().send(command, client)
        self.count(command["topic"])

    def count(self, topic: str) -> None:
        self.batch.changes.topics[topic] = self.indexes[topic], *self.evicted.get(topic, (0, -1))

    def keep(self, message: wire.Command) -> None:
        if message.get("cache", True) or "redelivered" in message:
            self.batch.changes.put(message)
        super().keep(message)

    def evict(self, message: wire.Command) -> None:
        super().evict(message)
        self.batch.changes.delete(message["topic"], message["index"])
        self.count(message["topic"])

    def drop(self, message: wire.Command) -> None:
        super().drop(message)
        self.batch.changes.delete(message["topic"], message["index"])

    def hold(self, message: wire.Command, client: wire.Client) -> None:
        super().hold(message, client)
        self.batch.changes.put({**message, "redelivered": True})  # which it will be, if we die now

    def release(self, topic: str, index: int, client: wire.Client) -> wire.Command:
        self.batch.changes.delete(topic, index)
        return super().release(topic, index, client)

    def expire(self, topic: str, index: int, client: wire.Client) -> None:
        super().expire(topic, index, client)
        self.commit_soon()

    def disconnect(self, client: wire.Client) -> None:
        super().disconnect(client)
        self.commit_soon()

    # Nothing is told before it is on disk.

    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        withheld = Withheld(client, self)
        try:
            await super().handle_client(reader, withheld)
        except Exception:
            await self.told(withheld)
            raise

    async def lines(self, reader: asyncio.StreamReader, client: Any) -> AsyncIterator[bytes]:
        async for line in super().lines(reader, client):
            while self.batch.size + self.batch.changes.size > self.outbox_limit:  # the disk is slower than the network
                await self.batch.done.wait()
            yield line

    async def make_room(self, client: Any) -> None:
        await self.told(client)  # before its time begins to run: it is not to blame for the disk
        await super().make_room(client)

    async def drained(self, client: Any) -> None:
        await self.told(client)
        await super().drained(client)

    def backlog(self, client: Any) -> int:
        return super().backlog(client) + int(client.size)

    async def told(self, client: Any) -> None:
        """Wait until nothing is withheld from a client any more."""
        if client.last:
            await client.last.done.wait()

    def handle(self, line: bytes, client: wire.Client) -> None:
        if self.failed:
            self.answer(client, {}, success=False, reason=NOT_STORED)
        else:
            super().handle(line, client)

    def commit_soon(self) -> None:
        """Commit when this turn of the event loop is over, or else after the commit that is under way."""
        if not self.committing:
            self.committing = asyncio.create_task(self.commit())

    async def commit(self) -> None:
        """Write one batch after the other to disk, in a thread, and then let its lines go."""
        while self.batch.lines or self.batch.changes:
            batch, self.batch = self.batch, Batch()
            if batch.changes and not self.failed:
                try:
                    await asyncio.to_thread(self.storage.commit, batch.changes)
                except Exception as problem:
                    # What we have in memory is more than what is on disk: nobody may be told any of it.
                    self.failed = True
                    log.error("Cannot store messages in %s: %s: start me again", self.storage.path, problem)
            self.let_go(batch)
            batch.done.set()
        self.committing = None

    def let_go(self, batch: Batch) -> None:
        """Send what a batch has to tell; or, if it could not be stored, tell that, and end the connections."""
        if not self.failed:
            for withheld, line in batch.lines:
                withheld.size -= len(line)
                withheld.client.write(line)
            return
        for client in {withheld.client: None for withheld, _ in batch.lines}:
            client.write(self.encode({"success": False, "reason": NOT_STORED}))
            client.flush()
            client.writer.close()

    async def __aexit__(self, *failure: object) -> None:
        """Store what is left, and close the file."""
        self.commit_soon()
        if self.committing:
            await self.committing
        self.storage.close()


if __name__ == "__main__":
    open_files.allow_many()
    serve.main(Server)
