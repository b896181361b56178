"""An asyncio client for any Python program, and for the terminal.

    async with await Client.connect(7777) as client:
        await client.send("foo", "hello", delivery="one")

    async for message in follow(7777, "foo", last_seen=41):
        print(message["index"], message["msg"])

    $ python -m stages.client 7777 subscribe foo

Article: the commands shown in its sections; it drives its server by hand.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Literal, Self

from stages import wire
from stages.client import conversation
from stages.client.conversation import MAX_LINE, PROBE, Line, Verbs, kind_of, rejection
from stages.connection import Connection


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
        self.speaks_json = speaks_json
        self.numbers = itertools.count()
        self.inbox: deque[Line] = deque()
        self.answers: dict[int, Line | None] = {}  # None: not there yet
        self.reading = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        port: int,
        host: str = "localhost",
        *,
        speak: Literal["json", "literal"] | None = None,
        timeout: float = 10,
    ) -> Self:
        """Connect to a server that speaks JSON (from `replies` on) or literals; by default, find
        out which.

        To find out, it sends nonsense, which the server answers, and logs. Raises OSError if no
        server listens there, if it accepts no commands, or (TimeoutError) if it says nothing for
        `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            streams = await asyncio.open_connection(host, port, limit=MAX_LINE)
            client = cls(*streams, speaks_json=speak == "json")
            try:
                if speak is None:
                    await client.find_out_wire()
            except BaseException:
                client.writer.transport.abort()
                raise
        return client

    async def find_out_wire(self) -> None:
        self.writer.write(PROBE)
        try:
            answer = await self.reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # `receive` will say so
        self.speaks_json = answer.startswith(b'{"')
        if self.speaks_json and kind_of(goodbye := conversation.decode(answer)) == "goodbye":
            raise rejection(goodbye)

    async def ask(self, command: wire.Command) -> Line:
        """Send a command; returns its answer, if this server answers."""
        if not self.speaks_json:
            await self.write(command)
            return {}
        number = next(self.numbers)
        self.answers[number] = None
        try:
            await self.write({**command, "id": number})
            while not (answer := self.answers[number]):
                await self.read(lambda: not self.answers[number])
        finally:
            del self.answers[number]
        if not answer["success"]:
            raise rejection(answer)
        return {field: value for field, value in answer.items() if field != "id"}

    async def write(self, command: wire.Command) -> None:
        """Send a command without waiting for its answer; `receive` raises what is wrong with it."""
        self.writer.write(self.encode(command))
        await self.writer.drain()

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
        """Read a line, if it is still needed when it is our turn to read, and put it where it
        belongs."""
        async with self.reading:
            if needed():
                try:
                    line = conversation.decode(await self.reader.readuntil(b"\n"))
                except asyncio.IncompleteReadError:
                    raise EOFError("the server has closed the connection") from None
                except (wire.Error, asyncio.LimitOverrunError) as problem:
                    raise wire.Error(f"the server does not talk like a stage: {problem}") from None
                match kind_of(line):
                    case "goodbye":
                        raise rejection(line)
                    case "answer":
                        if line.get("id") in self.answers:  # else nobody waits for it any more
                            self.answers[line["id"]] = line
                    case "message" | "error":
                        self.inbox.append(line)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Line:
        try:
            return await self.receive()
        except EOFError:
            raise StopAsyncIteration from None

    async def close(self) -> None:
        """Close the connection; what was sent before still arrives."""
        await Connection(self.writer).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()
