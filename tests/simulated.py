"""Time, network and disk for the simulation, all in one thread: nothing happens but by the loop's
turn, and what is random comes from one seed."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from stages.beyond.log import Log


class Stuck(AssertionError):
    """Nobody has anything to do, ever again."""


class Loop(asyncio.BaseEventLoop):
    """An event loop whose clock goes on only when nobody has anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.set_debug(False)  # which costs more than all the rest
        self._selector = self  # what asyncio asks for the time to pass

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing will ever happen again")
        self.now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


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


class Link(asyncio.Transport):
    """The server's end of a connection. What either side sends arrives later, in pieces; `receive`
    is called with what arrives at the client, as long as it reads."""

    def __init__(self, rng: random.Random, receive: Callable[[bytes], None], window: int) -> None:
        super().__init__()
        self.rng = rng
        self.receive = receive
        self.window = (
            window  # bytes that the system takes from the server though the client does not read
        )
        self.on_its_way = bytearray()
        self.buffer = bytearray()
        self.high = 65536
        self.paused = self.closing = self.lost = self.ended = False
        self.reads = True
        self.arrives = 0.0  # when the last of what the client has sent arrives
        self.loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader()
        self.protocol = asyncio.StreamReaderProtocol(self.reader)
        self.writer = asyncio.StreamWriter(self, self.protocol, self.reader, self.loop)
        self.protocol.connection_made(self)

    # What the client does

    def later(self, call: Callable[[], None]) -> None:
        self.arrives = max(self.arrives, self.loop.time()) + self.rng.random() * 0.01
        self.loop.call_at(self.arrives, lambda: None if self.lost else call())

    def say(self, data: bytes) -> None:
        while data and not self.ended:
            cut = self.rng.randint(1, len(data)) if self.rng.random() < 0.3 else len(data)
            piece, data = data[:cut], data[cut:]
            self.later(lambda piece=piece: self.protocol.data_received(piece))  # type: ignore[misc]

    def end(self) -> None:
        self.ended = True
        self.later(self.protocol.eof_received)  # type: ignore[arg-type]

    def cut(self) -> None:
        self.receive = lambda data: None
        self.later(lambda: self.lose(ConnectionResetError()))

    def read(self, reads: bool) -> None:
        self.reads = reads
        self.pump()

    # What asyncio does

    def write(self, data: Any) -> None:
        if not self.closing and not self.lost:
            self.buffer += data
            self.pump()
            if len(self.buffer) > self.high and not self.paused:
                self.paused = True
                self.protocol.pause_writing()

    def pump(self) -> None:
        """Move what there is room for from the server's buffer to the network, and on to the
        client."""
        room = max(0, self.window - len(self.on_its_way))
        self.on_its_way += self.buffer[:room]
        del self.buffer[:room]
        if self.on_its_way and self.reads and not self.lost:
            self.loop.call_later(self.rng.random() * 0.01, self.arrive)
        if self.paused and len(self.buffer) <= self.high // 4:
            self.paused = False
            self.protocol.resume_writing()
        if self.closing and not self.buffer:
            self.loop.call_soon(self.lose, None)

    def arrive(self) -> None:
        if self.reads and not self.lost and self.on_its_way:
            size = self.rng.randint(1, len(self.on_its_way))
            data = bytes(self.on_its_way[:size])
            del self.on_its_way[:size]
            self.receive(data)
            self.pump()

    def lose(self, problem: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            if self.reads and problem is None:
                self.receive(bytes(self.on_its_way))
            self.protocol.connection_lost(problem)

    def close(self) -> None:
        self.closing = True
        self.pump()

    def abort(self) -> None:
        self.loop.call_soon(self.lose, ConnectionResetError())

    def is_closing(self) -> bool:
        return self.closing or self.lost

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0
        self.pump()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


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
