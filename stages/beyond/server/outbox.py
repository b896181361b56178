"""The lines that a client is still to be sent.

Up to the high-water mark they are with the connection, on their way; the rest is pending here, in
order, and messages are not encoded before it is their turn. Field's words: high-water mark,
pending, backpressure.

Source: asyncio's flow control (`set_write_buffer_limits`, `drain`), one level up.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from stages.beyond.broker import commands
from stages.beyond.broker.commands import Answer, Line


class Sink(Protocol):
    """What an outbox asks of a connection (see `connection.Connection`)."""

    @property
    def size(self) -> int: ...
    @property
    def closing(self) -> bool: ...
    def write(self, data: bytes, /) -> None: ...
    def limit(self, high_water: int, /) -> None: ...
    async def drained(self) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None: ...


class Outbox:
    """Passes lines on to a connection as long as that has at most `high_water` bytes unsent."""

    def __init__(self, connection: Sink, high_water: int) -> None:
        self.connection = connection
        self.high_water = high_water
        self.pending: deque[Iterator[Line]] = deque()  # a long replay is one of them
        self.passed_on = 0  # lines that were pending
        self.reserved = 0  # the count that the last waiting sender waits for
        self.progress = asyncio.Event()
        self.dismissed = False
        self.catching_up: asyncio.Task[None] | None = None
        connection.limit(high_water)

    def put(self, lines: Iterable[Line]) -> None:
        if self.dismissed:
            return
        self.pending.append(iter(lines))
        if not self.catching_up:
            self.pass_on()
            if self.pending:
                self.catching_up = asyncio.create_task(self.catch_up())

    def pass_on(self) -> None:
        """Write pending lines until the high-water mark is reached."""
        room = self.high_water - self.connection.size
        while self.pending and room >= 0:
            for line in self.pending[0]:
                data = commands.encode(line)
                self.connection.write(data)
                room -= len(data)
                self.passed_on += 1
                if room < 0:
                    break
            else:
                self.pending.popleft()

    async def catch_up(self) -> None:
        """Pass pending lines on whenever the client has taken most of what it was sent."""
        while self.pending and not self.connection.closing:
            await self.connection.drained()
            self.pass_on()
            self.made_progress()
        self.catching_up = None
        self.clear()

    def made_progress(self) -> None:
        self.progress.set()  # wakes every waiting sender
        self.progress.clear()

    def clear(self) -> None:
        """Forget what is pending, and let those that wait go on."""
        self.pending.clear()
        self.made_progress()

    async def wait_for_room(self, lines: int, timeout: float) -> None:
        """Wait until as many lines have left as this sender, and those waiting before it, have
        added: so senders can never outrun the reader. Raises TimeoutError if none leaves for
        `timeout` seconds."""
        self.reserved = max(self.reserved, self.passed_on) + lines
        mine = self.reserved
        while self.pending and self.passed_on < mine:
            if not await self.progress_within(timeout):
                raise TimeoutError

    async def progress_within(self, timeout: float) -> bool:
        before = self.passed_on
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.progress.wait()
        if self.passed_on == before:
            await some_turns()
        return self.passed_on > before or not self.pending

    async def wait_until_empty(self) -> None:
        """Wait until nothing is pending, however long it takes."""
        while self.pending:
            await self.progress.wait()

    def dismiss(self, last_line: Answer, timeout: float) -> None:
        """Forget what is pending, say why, and close the connection. The client may still read what
        is on its way, for `timeout` seconds; closing must not wait for one that never reads."""
        if self.dismissed:
            return
        self.dismissed = True
        self.clear()
        self.connection.write(commands.encode(last_line))
        self.connection.end()
        asyncio.get_running_loop().call_later(timeout, self.connection.abort)

    async def finish(self, timeout: float) -> None:
        """Wait while the client keeps reading; abort if it takes nothing for `timeout` seconds."""
        self.connection.limit(0)
        while self.pending or self.connection.size:
            before = self.unsent()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self.wait_until_empty()
                    await self.connection.drained()
            await some_turns()
            if self.unsent() == before:
                return self.connection.abort()

    def unsent(self) -> tuple[int, int, int]:
        """Something that changes whenever a line leaves, or the system takes some bytes."""
        return self.passed_on, len(self.pending), self.connection.size


async def some_turns() -> None:
    """If this process was paused, by the system or by long work, all timers are due at once; what
    the sockets have to say comes first."""
    for _ in range(3):
        await asyncio.sleep(0)
