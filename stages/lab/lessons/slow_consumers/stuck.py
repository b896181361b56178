"""What readers that are stuck cost, in three experiments on a server: lesson 7 tries a small version
and ours."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from stages import wire
from stages.beyond import replies
from stages.client import Client
from stages.lab.lessons.slow_consumers import slow
from stages.lab.workbench.background import HOST, Background
from stages.patience import patient


@asynccontextmanager
async def clients(
    server: replies.Server, number: int, *, subscribed: bool = True
) -> AsyncIterator[list[Client]]:
    """Clients of a server in the background: the first sends, the others have subscribed, and don't
    read."""
    background = Background(server)
    async with AsyncExitStack() as stack:
        stack.callback(background.stop)
        everybody = [
            await Client.connect(background.port, HOST, speak="json") for _ in range(number)
        ]
        for client in everybody:
            stack.callback(slow.transport_of(client).abort)
        for reader in everybody[1:]:
            if subscribed:
                await reader.subscribe("foo", cache=False)
            slow.transport_of(reader).pause_reading()
        yield everybody


async def seconds_for(server: replies.Server, readers: int) -> float:
    """How long it takes to send 16 MB past so many readers that are stuck."""
    async with clients(server, readers + 1) as (sender, *_):
        start = time.monotonic()
        await slow.send(sender, [])
        return time.monotonic() - start


async def bytes_for_a_replay(server: replies.Server) -> int:
    """How much the server keeps unsent for a reader that subscribes to 13 MB in the cache, and does
    not read."""
    async with clients(server, 2, subscribed=False) as (sender, reader):
        for number in range(100):
            await sender.send("foo", f"{number} ".ljust(slow.LENGTH, "x"))
        reader.writer.write(reader.encode({"command": "subscribe", "topic": "foo"}))
        await sender.unsubscribe("foo")  # when that is answered, the replay has begun
        return max(connection.size for connection in server.connections.values())


async def told_why(server: replies.Server) -> bool:
    """Whether a reader that is cut off, and then reads, is told why."""
    async with clients(server, 2) as (sender, reader):
        await slow.send(sender, [])
        slow.transport_of(reader).resume_reading()
        try:
            async with asyncio.timeout(patient(5)):
                async for _ in reader:
                    pass
        except ConnectionAbortedError:
            return True
        except (wire.Error, EOFError, OSError):
            return False
    return False
