"""Ways to treat a slow reader, and one experiment that shows how each of them fails.

    $ python -m stages.lab.lessons.slow_consumers.slow

As a program, it measures what the stages before and with `slow_consumers` keep in memory for a
reader that is stuck.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from stages import wire
from stages.beyond import replies, slow_consumers
from stages.beyond.broker.commands import Line
from stages.beyond.broker.topic import Client as Number
from stages.beyond.server.connection import Connection
from stages.beyond.server.outbox import Outbox
from stages.client import Client
from stages.lab.lessons.durable import crash
from stages.lab.pictures.plot import as_image, figure
from stages.lab.workbench.background import HOST, Background
from stages.lab.workbench.progress import progress
from stages.lab.workbench.reading import aligned

if TYPE_CHECKING:
    from IPython.display import Image


class BlockForEver(slow_consumers.Server):
    """The sender waits until everybody has caught up."""

    async def wait_for(self, client: Number, outbox: Outbox, lines: int) -> None:
        await outbox.wait_until_empty()


class DropTheOldest(slow_consumers.Server):
    """What does not fit is thrown away, the oldest first."""

    def connected(self, client: Number, connection: Connection) -> None:
        super().connected(client, connection)
        self.outboxes[client] = Forgetful(connection, self.high_water)

    async def wait_for(self, client: Number, outbox: Outbox, lines: int) -> None:
        pass


class Forgetful(Outbox):
    """Keeps eight lines that do not fit, and no more."""

    def put(self, lines: Iterable[Line]) -> None:
        super().put(lines)
        while len(self.pending) > 8:
            self.pending.popleft()


class DisconnectAtOnce(slow_consumers.Server):
    """A client that has too much unsent has to go, without a second's grace."""

    async def wait_for(self, client: Number, outbox: Outbox, lines: int) -> None:
        await self.disconnect_slow(client, outbox)


MESSAGES, LENGTH = 128, 2**17
"""16 MB: more than the operating system keeps for us on the way."""


async def run_experiment(server: replies.Server) -> dict[str, str]:
    """Send messages to a reader that is busy just when they come, and to one that is stuck for
    ever."""
    background = Background(server)
    async with AsyncExitStack() as stack:
        stack.callback(background.stop)
        sender, busy, stuck = [
            await stack.enter_async_context(
                await Client.connect(background.port, HOST, speak="json")
            )
            for _ in range(3)
        ]
        for reader in (busy, stuck):
            await reader.subscribe("foo", cache=False)
            transport_of(reader).pause_reading()
        answered: list[int] = []
        sending = asyncio.create_task(send(sender, answered))
        await wait_for_stall(sending, answered)
        transport_of(busy).resume_reading()
        reading = asyncio.create_task(read(busy))
        await asyncio.wait([sending, reading], timeout=2)
        unsent = await background.call(
            lambda: max((each.size for each in server.connections.values()), default=0)
        )
        outcome = {
            "the sender": "gets through" if sending.done() else "is stuck, too",
            "the busy reader": reading.result() if reading.done() else "never gets the rest",
            "memory for the stuck one": "all that was sent"
            if unsent > MESSAGES * LENGTH / 4
            else "limited",
        }
        sending.cancel()
        reading.cancel()
        for client in (sender, busy, stuck):
            transport_of(client).abort()
    return outcome


def table(outcomes: dict[str, dict[str, str]]) -> str:
    """The outcomes of some experiments, a row each."""
    head = ["", *next(iter(outcomes.values()))]
    return aligned([head, *[[name, *found.values()] for name, found in outcomes.items()]])


def transport_of(client: Any) -> Any:
    return client.writer.transport


async def send(client: Client, answered: list[int], topic: str = "foo") -> None:
    for number in range(MESSAGES):
        await client.send(topic, f"{number} ".ljust(LENGTH, "x"))
        answered.append(number)


async def wait_for_stall(sending: asyncio.Task[None], answered: list[int]) -> None:
    """Wait until all is sent, or until nothing more was for a fifth of a second."""
    before = -1
    while before != len(answered) and not sending.done():
        before = len(answered)
        await asyncio.wait([sending], timeout=0.2)


async def read(client: Client) -> str:
    """Read to the last message, and tell what became of those before."""
    count = 0
    try:
        async for message in client:
            count += 1
            if message["index"] == MESSAGES - 1:
                return "gets everything" if count == MESSAGES else "has a gap, and is not told"
    except (wire.Error, EOFError, OSError):
        pass
    return "is disconnected"


async def memory(stage: str, megabytes: int = 120) -> list[float]:
    """What a server's memory has grown by, in MB, after each 10 MB that were sent past a reader
    that is stuck."""
    import psutil  # a browser has none

    server = crash.Server(stage, "--cache-length", "0")
    resident = psutil.Process(server.process.pid).memory_info
    async with await server.connect() as sender, await server.connect() as stuck:
        await stuck.subscribe("foo")
        transport_of(stuck).pause_reading()
        before, grown = resident().rss, [0.0]
        for sent in progress(range(1, megabytes + 1), "MB", desc=stage):
            for _ in range(10):
                await sender.send("foo", "x" * 100_000)
            if sent % 10 == 0:
                grown.append(round((resident().rss - before) / 1e6, 1))
        transport_of(stuck).abort()
    server.kill()
    return grown


def chart(recorded: dict[str, list[float]]) -> "Image":
    """Draw what `memory` has measured, a line for each server."""
    plot = figure(7, 3)
    axes = plot.subplots()
    for name, grown in recorded.items():
        axes.plot(range(0, 10 * len(grown), 10), grown, marker="o", label=name)
    axes.set(
        title="The memory of a server whose reader is stuck",
        xlabel="MB sent past the reader",
        ylabel="MB more in the server",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return as_image(plot)


if __name__ == "__main__":
    print(
        json.dumps({stage: asyncio.run(memory(stage)) for stage in ("replies", "slow_consumers")})
    )
