"""A server under observation, its named clients, and the record of what went over the wire.

After each call on a client, the server has handled it, and every client has received what it
caused. No sleeps: a server answers every line in order, also nonsense. So a client asks for
nonsense of its own (a ping), and when the complaint arrives, all that was sent before has been
handled, and all that was caused by it has arrived.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

from stages import serve, wire
from stages.beyond.server.connection import Connection
from stages.client.conversation import MAX_LINE, Line, Verbs, decode, encode, kind_of
from stages.lab.pictures.diagram import Diagram
from stages.lab.pictures.film import Film
from stages.lab.pictures.record import (
    Arrow,
    ArrowKind,
    Departure,
    Step,
    message_text,
    printable,
    shortened,
)
from stages.lab.workbench.reading import stage_name
from stages.lab.workbench.state import State, state_of
from stages.patience import patient

T = TypeVar("T")
ConnectionFactory = Callable[[asyncio.StreamWriter], Connection]

TIMEOUT = patient(5)
"""Seconds that a client waits for the server."""

PING = re.compile(rb"lab-ping-\d+")
ASK = '{"command": "%s", "id": "%s"}\n'
"""Nonsense on either wire; the complaint repeats the command, or the id."""

NAMELESS = "a client"
"""One that is no lab's, or that the server has greeted before it was named."""

PING_NOT_REPEATED = "an answer to an unknown command (an error that repeats it)"


def pong_in(line: bytes) -> bytes:
    """The ping that a line complains about."""
    found = PING.search(line)
    return found[0] if found and kind_of(decode(line)) != "message" else b""


class Running(Protocol):
    """How a server runs and is reached: behind this, notebooks can do without threads and
    sockets."""

    async def connect(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...
    async def call(self, function: Callable[[], T]) -> T: ...
    def reset(self, writer: asyncio.StreamWriter) -> None: ...
    def stop(self) -> None: ...


class Tap(Connection):
    """The server's side of a connection: records what the queue writes to the client."""

    def __init__(self, writer: asyncio.StreamWriter, lab: "Lab") -> None:
        super().__init__(writer)
        self.lab = lab
        self.name = NAMELESS
        self.pinged = b""
        self.gone: Future[None] = Future()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def write(self, data: bytes) -> None:
        super().write(data)
        for line in data.splitlines():
            if ping := pong_in(line):
                self.pinged = ping
            elif self.lab.steps:
                self.record(line, self.lab.steps[-1])

    def record(self, data: bytes, cause: Step) -> None:
        try:
            line = decode(data)
        except wire.Error:  # what a learner's class has written is not on either wire
            text = shortened(printable(data.decode(errors="replace")))
            cause.arrows.append(Arrow("error", self.name, text))
            return
        if kind_of(line) != "answer" or not line["success"]:
            cause.arrows.append(self.arrow(line, cause))
        elif cause.who == self.name:
            cause.answer = "✓" + "".join(
                f" {name}={value}" for name, value in line.items() if name == "missed"
            )

    def arrow(self, line: Line, cause: Step) -> Arrow:
        if kind_of(line) != "message":
            problem = line.get("detail") or line.get("error") or line.get("reason", line)
            return Arrow("error", self.name, shortened(printable(str(problem))))
        replayed = cause.kind == "subscribe" and cause.who == self.name
        kind: ArrowKind = "lost" if self.gone.done() else "replay" if replayed else "deliver"
        topic, index = line.get("topic", ""), line.get("index")
        return Arrow(kind, self.name, message_text(line), topic, index)


class Lab:
    """A running server to experiment with."""

    def __init__(
        self, server: serve.Handler, run: Callable[[serve.Handler, ConnectionFactory], Running]
    ) -> None:
        if isinstance(server, type) or not hasattr(server, "handle_client"):
            raise TypeError(f"expected a server, such as Server(), not {server!r}")
        if getattr(server, "tls", None):
            raise TypeError("the lab reads along: expected a server without a certificate")
        self.server = server
        self.run = run
        self.clients: dict[str, NamedClient] = {}
        self.steps: list[Step] = []
        self.taps: list[Tap] = []
        self.faults: list[Exception] = []
        self.numbers = itertools.count()
        self.busy = asyncio.Lock()
        self.background = run(self, self.tap)

    def __repr__(self) -> str:
        return f"<lab with {', '.join(self.clients) or 'no clients'}>"

    def tap(self, writer: asyncio.StreamWriter) -> Tap:
        self.taps.append(Tap(writer, self))
        return self.taps[-1]

    async def handle_client(self, reader: asyncio.StreamReader, tap: Tap) -> None:
        """Let the server handle a client. Runs in the server's thread."""
        try:
            await self.server.handle_client(reader, tap)
        except Exception as fault:  # a bug in a learner's class belongs in the learner's cell
            self.faults.append(fault)
        finally:
            self.taps.remove(tap)
            if not tap.gone.done():  # who waits for it may have given up
                tap.gone.set_result(None)

    async def __aenter__(self) -> None:
        if isinstance(self.server, AbstractAsyncContextManager):
            await self.server.__aenter__()

    async def __aexit__(self, *failure: Any) -> None:
        if isinstance(self.server, AbstractAsyncContextManager):
            await self.server.__aexit__(*failure)

    async def connect(self, name: str, token: str | None = None) -> "NamedClient":
        """Connect a client, which says first who it is if it has a token. Raises ValueError if there
        is one of that name, or if it has none."""
        if not name.strip() or not name.isprintable():
            raise ValueError(f"{name!r} is no name: expected one that can be read, such as alice")
        if name in self.clients:
            raise ValueError(
                f"there is a client {name!r} already: "
                "expected another name (or launch the server again, then connect)"
            )
        client = NamedClient(name, self)
        try:
            step = Step("connect", name, "connects")
            async with self.step(step):
                client.reader, client.writer = await self.background.connect(MAX_LINE)
                self.clients[name] = client
                if token is not None:  # the record is no place for it
                    client.writer.write(
                        encode({"command": "auth", "token": token}, speaks_json=True)
                    )
                ping = await client.settle()
                client.tap = self.tap_that_was_sent(ping)
                client.tap.name = name
                step.arrows = [
                    replace(arrow, who=name) if arrow.who == NAMELESS else arrow
                    for arrow in step.arrows  # a server may greet
                ]
        except BaseException:
            if self.clients.pop(name, None):
                client.writer.close()
            raise
        return client

    @asynccontextmanager
    async def step(self, step: Step, by: "NamedClient | None" = None) -> AsyncIterator[None]:
        """Record what happens meanwhile as a step, and end when all that it causes has arrived."""
        async with self.busy:
            if by:
                by.check_connected()
            self.steps.append(step)
            yield
            await asyncio.gather(*[client.settle() for client in list(self.clients.values())])
            self.note_state(await self.state(), self.steps.index(step))
            if self.faults:
                raise self.faults.pop()

    def tap_that_was_sent(self, ping: bytes) -> Tap:
        for tap in self.taps:
            if tap.pinged == ping:
                return tap
        raise (
            self.faults.pop()
            if self.faults
            else ConnectionError("the server has closed the connection")
        )

    async def state(self) -> State:
        """What the server knows now."""
        return await self.background.call(lambda: state_of(self.server))

    def note_state(self, state: State, first: int) -> None:
        """Note in the steps from number `first` on what the server knows now: a disconnection may
        have followed the step that caused it."""
        before = self.steps[first - 1].kept if first else {}
        for step in self.steps[first:]:
            step.note_state(state, before)

    def diagram(self, last: int | None = None) -> Diagram:
        """Draw what went over the wire: everything, or only the `last` so many steps."""
        return Diagram(self.steps, self.first_of(last))

    def film(self, last: int | None = None) -> Film:
        """The same as a moving picture."""
        return Film(self.steps, stage_name(type(self.server)), self.first_of(last))

    def first_of(self, last: int | None) -> int:
        return 0 if last is None else max(0, len(self.steps) - max(0, last))

    def note_disconnection(self, name: str) -> None:
        """Note that the server has closed a connection; outside of a step, it knows what it knew."""
        last, step = self.steps[-1], Step.of_departure(name, "is disconnected")
        step.kept, step.held, step.on_disk = last.kept, last.held, last.on_disk
        step.subscribers = last.subscribers
        self.steps.append(step)

    def restart(self, server: serve.Handler) -> None:
        """Stop the server, as a crash would, and run another in its place. All clients lose their
        connection."""
        first = len(self.steps)
        self.steps.append(Step("restart", "server", "restarts"))
        self.steps += [Step.of_departure(name, "is disconnected") for name in self.clients]
        self.stop()
        self.server = server
        self.background = self.run(self, self.tap)
        self.note_state(state_of(server), first)  # nobody is connected yet: nothing goes on there

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


class NamedClient(Verbs):
    """A client with a name, whose traffic the lab records. Its commands return their answers, also
    those that refuse."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tap: Tap

    def __init__(self, name: str, lab: Lab) -> None:
        self.reading = asyncio.Lock()
        self.numbers = itertools.count()
        self.name = name
        self.lab = lab
        self.heard: list[Line] = []  # every line, also answers
        self.unanswered: set[bytes] = set()  # pings
        self.given = 0  # how many messages `next_message` has given out

    def __repr__(self) -> str:
        return f"<client {self.name}>"

    async def ask(self, command: wire.Command) -> Line:
        if not self.speaks_json:
            text = self.encode(command).decode()
            heard = await self.say(text, text)
            return next((line for line in heard if kind_of(line) == "error"), {})
        number = next(self.numbers)
        answers = await self.say(
            self.encode({**command, "id": number}).decode(), self.encode(command).decode()
        )
        answer = next(
            (answer for answer in answers if answer.get("id") == number and "success" in answer),
            None,
        )
        if answer is None:
            raise wire.Error(
                f"the server has not answered {command['command']!r}: "
                "expected a line with 'success' and with the id of this command"
            )
        return {field: value for field, value in answer.items() if field != "id"}

    async def write(self, command: wire.Command) -> None:
        await self.raw(self.encode(command).decode())

    async def raw(self, line: str) -> list[Line]:
        """Send a line as it is typed; returns what this client receives in answer."""
        return await self.say(line, line)

    async def say(self, line: str, shown: str) -> list[Line]:
        before = len(self.heard)
        async with self.lab.step(Step.of_line(self.name, shown.rstrip("\n")), by=self):
            self.writer.write(line.rstrip("\n").encode(errors="surrogateescape") + b"\n")
            await self.lab.state()  # a turn for the server: it reads this line before our ping
            await self.settle()
        return self.heard[before:]

    @property
    def messages(self) -> list[Line]:
        return [line for line in self.heard if "success" not in line]

    async def next_message(self) -> Line:
        """The next message. Raises TimeoutError if none comes within 2 seconds, ConnectionError if
        none can."""
        while self.given == len(self.messages):
            self.check_connected()
            await self.hear(lambda: self.given == len(self.messages), "a message")
        self.given += 1
        return self.messages[self.given - 1]

    async def all_messages(self) -> list[Line]:
        """All messages so far, oldest first."""
        await self.settle()
        self.given = len(self.messages)
        return self.messages

    async def leave(self) -> None:
        """Close the connection, and wait until the server has noticed. A client that has left
        already is left alone."""
        if self.connected:
            await self.hang_up("leaves", self.writer.close)

    async def break_off(self) -> None:
        """Break off as in a crash, without a goodbye, and wait until the server has noticed."""
        await self.hang_up("breaks off", lambda: self.lab.background.reset(self.writer))

    async def hang_up(self, how: Departure, hang_up: Callable[[], None]) -> None:
        async with self.lab.step(Step.of_departure(self.name, how), by=self):
            del self.lab.clients[self.name]
            hang_up()
            await self.patiently(
                asyncio.wrap_future(self.tap.gone), "the server to notice that it left"
            )

    async def settle(self) -> bytes:
        """Wait until the server has handled all that was sent, and all that it sent has arrived."""
        ping = f"lab-ping-{next(self.lab.numbers)}"
        self.unanswered.add(ping.encode())
        if self.connected:
            self.writer.write((ASK % (ping, ping)).encode())
        await self.patiently(self.hear_pong(ping.encode()), PING_NOT_REPEATED, times=5)
        return ping.encode()

    async def hear_pong(self, ping: bytes) -> None:
        while self.connected and ping in self.unanswered:
            await self.hear(lambda: ping in self.unanswered, PING_NOT_REPEATED)

    async def hear(self, needed: Callable[[], bool], what: str) -> None:
        """Take in a line, if it is still needed once it is our turn to read."""
        async with self.reading:
            if self.connected and needed():
                try:
                    line = await self.patiently(self.reader.readline(), what)
                except ConnectionError:  # a reset: it had not read all that we said
                    line = b""
                self.take_in(line)

    def take_in(self, line: bytes) -> None:
        """Keep a line; an empty one says that the server has closed the connection."""
        if not line:
            self.writer.close()
            if self.connected:  # not if the lab has closed it, at a restart
                del self.lab.clients[self.name]
                self.lab.note_disconnection(self.name)
        elif ping := pong_in(line):
            self.unanswered.discard(ping)
            self.speaks_json = line.startswith(b'{"')
        else:
            self.heard.append(decode(line))

    async def patiently(self, event: Awaitable[T], what: str, times: int = 1) -> T:
        seconds = times * TIMEOUT
        try:
            async with asyncio.timeout(seconds) as patience:
                return await event
        except TimeoutError:
            if not patience.expired():
                raise  # somebody else's, who has said why
            raise TimeoutError(
                f"{self.name} has waited {seconds:g} seconds for {what}: none came"
            ) from None

    @property
    def connected(self) -> bool:
        return self.lab.clients.get(self.name) is self  # and not another one of that name

    def check_connected(self) -> None:
        if not self.connected:
            raise ConnectionError(f"{self.name} is no longer connected: connect a new client")
