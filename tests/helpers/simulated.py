"""Time, network and disk for the simulation, all in one thread: nothing happens but by the loop's
turn, and what is random comes from one seed."""

import asyncio
import random
import socket
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from stages.beyond.log.file import Log
from stages.lab.simulated import loop as memory
from stages.lab.simulated import network


class Loop(memory.Loop):
    """A loop whose time is its own, from 0 on: it goes on when nobody has anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)  # which costs more than all the rest

    def time(self) -> float:
        return self.clock.skipped


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in simulated time."""
    loop = Loop()
    try:
        loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(1))
        loop.close()


class End(network.End):
    """An end that what was sent reaches later, and in pieces."""

    rng: random.Random

    def wake(self) -> None:
        if not self.due:
            self.due = True
            self.loop.call_later(self.rng.random() * 0.01, self.take)

    def piece(self) -> int:
        return self.rng.randint(1, len(self.incoming))


class Receiver(asyncio.Protocol):
    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self.receive = receive

    def data_received(self, data: bytes) -> None:
        self.receive(data)


class Link:
    """A client's connection. `receive` is called with what arrives there, as long as it reads; the
    system takes `window` bytes for it when it does not."""

    def __init__(self, rng: random.Random, receive: Callable[[bytes], None], window: int) -> None:
        loop = asyncio.get_running_loop()
        self.near, self.far = network.connected(loop, loop, ("simulated", 0), End)
        self.near.rng = self.far.rng = rng
        self.far.capacity = window
        self.reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self.reader)
        self.writer = asyncio.StreamWriter(self.far, protocol, self.reader, loop)
        self.near.begin(Receiver(receive))
        self.far.begin(protocol)

    @property
    def lost(self) -> bool:
        return self.near.lost or self.far.lost

    def is_closing(self) -> bool:
        return self.near.is_closing() or self.far.is_closing()

    # What the client does

    def say(self, data: bytes) -> None:
        if not self.near.finished:
            self.near.write(data)

    def end(self) -> None:
        self.near.write_eof()

    def cut(self) -> None:
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
        self.near.abort()

    def read(self, reads: bool) -> None:
        if reads:
            self.near.resume_reading()
        else:
            self.near.pause_reading()

    # What the server's process does

    def die(self) -> None:
        """From one moment to the next, it is gone."""
        self.far.vanish(reset=True)
        self.near.abort()

    def abort(self) -> None:
        self.far.abort()


class Disk:
    """What survives the server's process."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)

    def log(self) -> Log:
        return DiskLog(self)


class DiskLog(Log):
    def __init__(self, disk: Disk) -> None:
        super().__init__("simulated")
        self.disk = disk

    def connect(self) -> sqlite3.Connection:
        return self.disk.database

    def identity(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        pass
