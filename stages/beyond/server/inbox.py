"""What clients say while what they said before is under way.

    alice: put      ─┐                       ┌─  alice goes on
    bob:   put      ─┼─  take: a batch  …  ──┼─  bob goes on
    carol: put      ─┘                       └─  carol goes on

Whatever comes while the disk, or the network, is busy with one batch goes into the next together.

Source: group commit, as in any database.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from stages.beyond.broker import Outgoing
from stages.beyond.broker.topic import Client

BATCH, BATCH_LINES = 2**20, 2000
"""How many bytes and lines of clients go into a batch, and those of one client more."""

LEAVING = 200
"""How many lines it counts for that a client has left: much work may come back from it."""


class Input(NamedTuple):
    """What a client has said (None: that it has left), and what its handler waits for."""

    client: Client
    data: bytes | None
    done: asyncio.Future[Outgoing]

    def finish(self, outgoing: Outgoing) -> None:
        """Let the handler go on, with what came of it."""
        if not self.done.done():  # it may have been cancelled
            self.done.set_result(outgoing)


class Inbox:
    """Gathers inputs for a part that takes them in batches."""

    def __init__(self) -> None:
        self.inputs: deque[Input] = deque()
        self.wake = asyncio.Event()

    async def put(self, client: Client, data: bytes | None) -> Outgoing:
        """Add an input; returns what came of it, once it is finished."""
        said = Input(client, data, asyncio.get_running_loop().create_future())
        self.inputs.append(said)
        self.wake.set()
        return await said.done

    def take(self) -> list[Input]:
        """The inputs of the next batch, which may be none. You must finish each of them."""
        inputs, size, lines = [], 0, 0
        while self.inputs and size < BATCH and lines < BATCH_LINES:
            inputs.append(self.inputs.popleft())
            data = inputs[-1].data
            size += len(data or b"")
            lines += LEAVING if data is None else 1 + data.count(b"\n")
        return inputs

    def take_all(self) -> list[Input]:
        inputs = [*self.inputs]
        self.inputs.clear()
        return inputs

    async def wait(self, due: float | None) -> None:
        """Wait until something comes, or until it is time (None: it never is). Look for what has
        come already before you call this."""
        self.wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self.wake.wait()
