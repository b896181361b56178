"""A log that several servers share: records in one order, the same for everybody who reads them.

What a server asks of it is little, and who keeps it is the server's business no more: an engine on
several machines (`jetstream.py`), or this process (`MemoryLog`), for lessons, tests and simulation.
(`log.Log` has the same verbs for one server and a file.)
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple, Protocol

Agreed = dict[str, int | float]
"""What the servers of a log must agree on, by name."""


class Record(NamedTuple):
    number: int  # 1, 2, 3 …
    time: float  # in seconds, by the clock of whoever keeps the log
    data: bytes


class SharedLog(Protocol):
    async def open(self, agreed: Agreed) -> None:
        """Begin to use it. Raises OSError, in one line, if it cannot be used, and ValueError if it
        was begun by servers that have `agreed` on something else."""

    async def append(self, data: bytes) -> None:
        """Write a record. When this returns it is safe, and it may be there twice."""

    def read(self, after: int) -> AsyncIterator[Record]:
        """Yield the records with a bigger number, without end: first those that are there, then
        each as it comes. Some are missing at the beginning if a snapshot has replaced them."""

    async def save(self, number: int, snapshot: bytes) -> None:
        """Keep a snapshot of a server after record `number`, and drop the records that the snapshot
        before this one has replaced: somebody may just be reading the others. One that comes late,
        when there is a newer one, changes nothing."""

    async def load(self) -> bytes | None:
        """The last snapshot, if there is one."""

    async def close(self) -> None:
        """End the use of it."""


class MemoryLog:
    """Kept in this process, for servers in any of its threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.agreed: Agreed = {}
        self.dropped = 0  # how many of the first records
        self.records: list[Record] = []
        self.snapshot: tuple[int, bytes] | None = None
        self.lock = threading.Lock()
        self.waiting: list[Callable[[], object]] = []

    async def open(self, agreed: Agreed) -> None:
        self.agreed = self.agreed or agreed
        check_agreed(self.agreed, agreed)

    async def append(self, data: bytes) -> None:
        with self.lock:
            number = self.dropped + len(self.records) + 1
            self.records.append(Record(number, self.clock(), data))
            waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()

    async def read(self, after: int) -> AsyncIterator[Record]:
        while True:
            for record in await self.wait_for_records(after):
                after = record.number
                yield record

    async def wait_for_records(self, after: int) -> list[Record]:
        come, loop = asyncio.Event(), asyncio.get_running_loop()
        with self.lock:
            found = self.records[max(0, after - self.dropped) :]
            if not found:
                self.waiting.append(lambda: wake(loop, come))
        if not found:
            await come.wait()
        return found

    async def save(self, number: int, snapshot: bytes) -> None:
        with self.lock:
            if self.snapshot and number <= self.snapshot[0]:
                return
            if self.snapshot:
                del self.records[: self.snapshot[0] - self.dropped]
                self.dropped = self.snapshot[0]
            self.snapshot = number, snapshot

    async def load(self) -> bytes | None:
        return self.snapshot[1] if self.snapshot else None

    async def close(self) -> None:
        """Others may go on."""


def check_agreed(begun: Agreed, agreed: Agreed) -> None:
    """Raise ValueError unless a server agrees with those that have begun its log."""
    for name, value in agreed.items():
        if begun.get(name) != value:
            raise ValueError(
                f"the servers of a log must agree: expected {name} {begun.get(name)}, got {value}"
            )


@cache
def memory_log(name: str) -> MemoryLog:
    """The log of that name in this process."""
    return MemoryLog()


def wake(loop: asyncio.AbstractEventLoop, sleeper: asyncio.Event) -> None:
    with suppress(RuntimeError):  # its loop is closed: its server has stopped meanwhile
        loop.call_soon_threadsafe(sleeper.set)
