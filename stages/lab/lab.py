"""A server under observation, its named clients, and the record of what went over the wire.

After each call on a client, the server has handled it, and every client has received what it caused. No sleeps: a
server answers every line in order, also nonsense. So a client asks for nonsense of its own (a ping), and when the
complaint arrives, all that was sent before has been handled, and all that was caused by it has arrived.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from stages import serve, wire
from stages.client import LONGEST, Client
from stages.lab.diagram import Diagram
from stages.lab.record import Arrow, Step, command_text, message_text, shortened

T = TypeVar("T")

PATIENCE = 2
"""Seconds that a client waits for the server."""

PING = re.compile(rb"lab-ping-\d+")


class Running(Protocol):
    """How a server runs and is reached: behind this, notebooks can do without threads and sockets."""

    async def connect(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...
    def reset(self, writer: asyncio.StreamWriter) -> None: ...
    def stop(self) -> None: ...


@dataclass(eq=False)
class Tap:
    """The server's side of a connection: records what the queue writes to the client."""

    client: wire.Client
    lab: "Lab"
    name: str = "?"
    pinged: bytes = b""
    gone: Future[None] = field(default_factory=Future)

    def write(self, data: bytes) -> None:
        if ping := PING.search(data):
            self.pinged = ping[0]
        elif self.lab.steps:
            self.lab.steps[-1].arrows.append(self.arrow(wire.decode(data, LONGEST), self.lab.steps[-1]))
        self.client.write(data)

    def arrow(self, message: wire.Command, cause: Step) -> Arrow:
        if "error" in message and "command" not in message:
            return Arrow("error", self.name, shortened(str(message["error"])))
        replayed = cause.kind == "subscribe" and cause.who == self.name
        kind = "lost" if self.gone.done() else "replay" if replayed else "deliver"
        return Arrow(kind, self.name, message_text(message))


class Lab:
    """A running server to experiment with."""

    def __init__(self, server: serve.Handler, run: Callable[[serve.Handler], Running]) -> None:
        self.server = server
        self.run = run
        self.clients: dict[str, NamedClient] = {}
        self.steps: list[Step] = []
        self.taps: list[Tap] = []
        self.faults: list[Exception] = []
        self.numbers = itertools.count()
        self.busy = asyncio.Lock()
        self.background = run(self)

    def __repr__(self) -> str:
        return f"<lab with {', '.join(self.clients) or 'no clients'}>"

    async def handle_client(self, reader: asyncio.StreamReader, client: wire.Client) -> None:
        """Let the server handle the client, with a tap on the line. Runs in the server's thread."""
        tap = Tap(client, self)
        self.taps.append(tap)
        try:
            await self.server.handle_client(reader, tap)
        except Exception as fault:  # a bug in a learner's class belongs in the learner's cell
            self.faults.append(fault)
        finally:
            tap.gone.set_result(None)

    async def connect(self, name: str) -> "NamedClient":
        """Connect a client. Raises ValueError if there is one of that name."""
        if name in self.clients:
            raise ValueError(f"there is a client {name!r} already: expected another name")
        client = NamedClient(*await self.background.connect(LONGEST), name, self)
        self.clients[name] = client
        try:
            async with self.step("connect", "connects", by=client):
                ping = await client.settle()
                client.tap = next(tap for tap in self.taps if tap.pinged == ping)
                client.tap.name = name
        except BaseException:
            client.writer.close()
            self.clients.pop(name, None)
            raise
        return client

    @asynccontextmanager
    async def step(self, kind: str, text: str, by: "NamedClient") -> AsyncIterator[None]:
        """Record what happens meanwhile as one step, and end when all that it causes has arrived."""
        async with self.busy:
            by.check_connected()
            self.steps.append(Step(kind, by.name, text))
            step = self.steps[-1]
            yield
            await asyncio.gather(*[client.settle() for client in list(self.clients.values())])
            caches = deepcopy({topic: list(cache) for topic, cache in getattr(self.server, "caches", {}).items()})
            for caused in self.steps[self.steps.index(step) :]:  # a disconnection may have followed
                caused.caches = caches
            if self.faults:
                raise self.faults.pop()

    def diagram(self, last: int | None = None) -> Diagram:
        """Draw what went over the wire: everything, or only the `last` so many steps."""
        return Diagram(self.steps, 0 if last is None else max(0, len(self.steps) - last))

    def restart(self, server: serve.Handler) -> None:
        """Stop the server, as a crash would, and run another in its place. All clients lose their connection."""
        self.steps += [Step("leave", name, "is disconnected") for name in self.clients]
        self.stop()
        self.server = server
        self.background = self.run(self)

    def stop(self) -> None:
        """Close all connections and stop the server. Doing it twice does no harm."""
        self.background.stop()
        for client in self.clients.values():
            client.writer.transport.abort()
        self.clients.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()


class NamedClient(Client):
    """A client with a name, whose traffic the lab records."""

    tap: Tap

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, lab: Lab) -> None:
        super().__init__(reader, writer)
        self.name = name
        self.lab = lab
        self.inbox: list[wire.Command] = []
        self.read = 0  # how much of it `receive` has given out

    def __repr__(self) -> str:
        return f"<client {self.name}>"

    async def write(self, command: wire.Command) -> None:
        await self.raw(str(command))

    async def raw(self, line: str) -> list[wire.Command]:
        """Send a line as it is typed; gives what this client receives in answer."""
        before = len(self.inbox)
        async with self.lab.step(*command_text(line), by=self):
            self.writer.write(line.encode(errors="surrogateescape") + b"\n")
            await self.settle()
        return self.inbox[before:]

    async def receive(self) -> wire.Command:
        """The next message. Raises TimeoutError if none comes within 2 seconds, ConnectionError if none can."""
        while self.read == len(self.inbox):
            self.check_connected()
            await self.read_line("a message")
        self.read += 1
        return self.inbox[self.read - 1]

    async def received(self) -> list[wire.Command]:
        """All messages so far, oldest first."""
        await self.settle()
        self.read = len(self.inbox)
        return list(self.inbox)

    async def close(self) -> None:
        """Leave: close the connection, and wait until the server has noticed."""
        await self.leave("leaves", self.writer.close)

    async def drop(self) -> None:
        """Break off as in a crash, without a goodbye, and wait until the server has noticed."""
        await self.leave("breaks off", lambda: self.lab.background.reset(self.writer))

    async def leave(self, text: str, hang_up: Callable[[], None]) -> None:
        async with self.lab.step("leave", text, by=self):
            del self.lab.clients[self.name]
            hang_up()
            await self.patiently(asyncio.wrap_future(self.tap.gone), "the server to notice that it left")

    async def settle(self) -> bytes:
        """Wait until the server has handled all that was sent, and all that it sent has arrived."""
        ping = b"lab-ping-%d" % next(self.lab.numbers)
        if self.connected:
            self.writer.write(b"{'command': '%s'}\n" % ping)
        while self.connected and ping not in await self.read_line("an answer"):
            pass
        return ping

    async def read_line(self, what: str) -> bytes:
        """Read the next line into the inbox; an empty one says that the server has closed the connection."""
        line = await self.patiently(self.reader.readline(), what)
        if not line:
            self.writer.close()
            del self.lab.clients[self.name]
            self.lab.steps.append(Step("leave", self.name, "is disconnected"))
        elif not PING.search(line):
            self.inbox.append(wire.decode(line, LONGEST))
        return line

    async def patiently(self, event: Awaitable[T], what: str) -> T:
        try:
            return await asyncio.wait_for(event, PATIENCE)
        except TimeoutError:
            raise TimeoutError(f"{self.name} has waited {PATIENCE} seconds for {what}: none came") from None

    @property
    def connected(self) -> bool:
        return self.name in self.lab.clients

    def check_connected(self) -> None:
        if not self.connected:
            raise ConnectionError(f"{self.name} is no longer connected: connect a new client")
