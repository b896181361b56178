"""An asyncio client for any Python program, and for the terminal.

    async with await Client.connect(7777) as client:
        await client.send("foo", "hello", delivery="one")

    async with client.pipeline() as pipeline:
        for text in texts:
            await pipeline.send("foo", text)

    async for message in follow(7777, "foo", last_seen=41):
        print(message["index"], message["msg"])

    async for job in work(7777, "jobs", prefetch=1):
        print(job["msg"])

    $ python -m stages.client 7777 subscribe foo

Article: the commands shown in its sections; it drives its server by hand.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Literal, Self

from stages import wire
from stages.client import conversation
from stages.client.addresses import Address, Where, addresses
from stages.client.conversation import MAX_LINE, PROBE, Line, Verbs, kind_of, rejection
from stages.client.pipeline import Pipeline
from stages.connection import Connection

Wire = Literal["json", "literal"]

FAREWELL, TLS_FAREWELL = 10, 2
"""Seconds in which the server must take what is still unsent, and end the encryption."""

CHUNK = 2**18
"""How many bytes are read at once."""


class Client(Verbs):
    """A connection to a stage, whichever wire it speaks.

    From stage `replies` on, a command waits for its answer and returns it as a dict; it raises
    `wire.Error` if the server refuses. Before, there are no answers: a command returns an empty
    dict, and `receive` raises what is wrong with it. Tasks may share a client, and cancelling one
    that waits loses no message.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, speaks_json: bool
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = Connection(writer)
        self.speaks_json = speaks_json
        self.numbers = itertools.count()
        self.lines = wire.Lines(MAX_LINE)
        self.inbox: deque[Line] = deque()
        self.answers: dict[int, Line | None] = {}  # None: not there yet
        self.reading = asyncio.Lock()
        self.end: Exception | None = None  # why nothing more will come

    @classmethod
    async def connect(
        cls,
        where: Where,
        host: str = "localhost",
        *,
        speak: Wire | None = None,
        timeout: float = 10,
        token: str | None = None,
        ssl: SSLContext | None = None,
    ) -> Self:
        """Connect to a server that speaks JSON (from `replies` on) or literals; by default, find
        out which.

        `where` is a port at `host`; or addresses, as in "one:7777,two:7777", of which the first
        that can be reached is taken. To find out the wire, it sends nonsense, which the server
        answers, and logs. Raises OSError if no server listens there, if it accepts no commands, or
        (TimeoutError) if it says nothing for `timeout` seconds.

        Since `secure`: with a `token` it says first who it is, and raises `wire.Error` if that is
        not known there; `ssl` encrypts the connection, and has the authorities that may vouch for
        the server (as `ssl.create_default_context(cafile="ca.pem")` makes it).
        """
        *others, last = addresses(where, host)
        how: dict[str, Any] = {"speak": speak, "timeout": timeout, "token": token, "ssl": ssl}
        for address in others:
            with suppress(OSError):
                return await cls.connect_to(address, **how)
        return await cls.connect_to(last, **how)

    @classmethod
    async def connect_to(
        cls,
        address: Address,
        *,
        speak: Wire | None,
        timeout: float,
        token: str | None,
        ssl: SSLContext | None,
    ) -> Self:
        async with asyncio.timeout(timeout):
            ends: Any = {"ssl_shutdown_timeout": TLS_FAREWELL} if ssl else {}
            streams = await asyncio.open_connection(*address, limit=MAX_LINE, ssl=ssl, **ends)
            client = cls(*streams, speaks_json=speak == "json" or token is not None)
            try:
                if token is not None:
                    await client.ask({"command": "auth", "token": token})
                elif speak is None:
                    await client.find_out_wire()
            except BaseException:
                client.writer.transport.abort()
                raise
        return client

    async def find_out_wire(self) -> None:
        self.writer.write(PROBE)
        try:
            answer = await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            told = "the server has closed the connection without a word: does it want TLS?"
            self.end = EOFError(told)
            return  # `receive` will say so
        except asyncio.LimitOverrunError:
            return  # and this, too
        self.speaks_json = answer.startswith(b'{"')
        if self.speaks_json and kind_of(goodbye := conversation.decode(answer)) == "goodbye":
            raise rejection(goodbye)

    async def ask(self, command: wire.Command) -> Line:
        """Send a command; returns its answer, if this server answers."""
        if not self.speaks_json:
            await self.write(command)
            return {}
        number = self.say(command)
        try:
            await self.connection.drained()
            answer = await self.answer_to(number)
        finally:
            self.forget(number)
        if not answer["success"]:
            raise rejection(answer)
        return answer

    def say(self, command: wire.Command) -> int:
        """Send a command; returns the number of its answer, which you must forget in the end."""
        number = next(self.numbers)
        line = self.encode({**command, "id": number})  # which may raise
        self.answers[number] = None
        self.connection.write(line)
        return number

    async def answer_to(self, number: int) -> Line:
        while not (answer := self.answers[number]):
            await self.read(lambda: not self.answers[number])
        return {field: value for field, value in answer.items() if field != "id"}

    def forget(self, number: int) -> None:
        """Nobody asks for this answer, or asks again."""
        del self.answers[number]

    def pipeline(self) -> Pipeline:
        """For `async with client.pipeline() as pipeline`: its commands don't wait for their
        answers."""
        return Pipeline(self)

    async def ping(self) -> None:
        """Wait until the server has answered, if it is one that answers."""
        if self.speaks_json:
            await self.unsubscribe("")  # which it has never subscribed to

    async def write(self, command: wire.Command) -> None:
        """Send a command without waiting for its answer; `receive` raises what is wrong with it."""
        self.connection.write(self.encode(command))
        await self.connection.drained()

    async def receive(self) -> Line:
        """Wait for the next message: the sender's whole command, since `last_seen` with its
        `index`.

        Raises `wire.Error` if the server has rejected a command or does not talk like a stage,
        EOFError once it has closed the connection, and ConnectionAbortedError if it has said why.
        """
        while not self.inbox:
            await self.read(lambda: not self.inbox)
        line = self.inbox.popleft()
        if kind_of(line) == "error":
            raise rejection(line)
        return line

    async def read(self, needed: Callable[[], bool]) -> None:
        """Read what has come, if it is still needed when it is our turn to read, and put it where
        it belongs."""
        async with self.reading:
            if needed() and not self.end:
                self.take(await self.reader.read(CHUNK))
            if needed() and self.end:
                raise self.end

    def take(self, data: bytes) -> None:
        if not data:
            self.end = EOFError("the server has closed the connection")
            return
        try:
            for line in conversation.decode_lines(self.lines.feed(data)):
                self.sort(line)
            if len(self.lines.rest) > MAX_LINE:
                raise wire.Error(f"a line of more than {MAX_LINE} bytes")
        except wire.Error as problem:
            self.end = wire.Error(f"the server does not talk like a stage: {problem}")

    def sort(self, line: Line) -> None:
        if "command" in line:  # what most lines are
            self.inbox.append(line)
        elif (kind := kind_of(line)) == "goodbye":
            self.end = rejection(line)
        elif kind == "answer":
            if line.get("id") in self.answers:  # else nobody waits for it any more
                self.answers[line["id"]] = line
        else:
            self.inbox.append(line)

    async def arrivals(self) -> AsyncIterator[list[Line]]:
        """Yield all messages that have come, at least one at a time. Raises what `receive`
        raises: the end of the connection is never silent."""
        async for message in self:
            arrived = [message]
            while self.inbox and kind_of(self.inbox[0]) == "message":
                arrived.append(self.inbox.popleft())
            yield arrived

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Line:
        """The next message. Raises what `receive` raises: the end of the connection is never
        silent."""
        return await self.receive()

    async def close(self) -> None:
        """Close the connection; what was sent before still arrives, if the server reads it soon."""
        try:
            async with asyncio.timeout(FAREWELL):
                await self.connection.close()
        except TimeoutError:
            self.connection.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is not None:
            self.connection.abort()
        await self.close()
