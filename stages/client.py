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
import json
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Self

from stages import wire

log = logging.getLogger("stages")

LONGEST = 64 * wire.LIMIT
"""The longest line expected from a server, in bytes: escapes can make a line longer than it was sent."""

HELLO = b'{"command": "which wire do you speak?"}\n'
"""Nonsense on either wire, and so answered on either: in a dict literal up to stage `disconnects`, then in JSON."""


class Client:
    """A connection to a stage, whichever wire it speaks.

    From stage `replies` on, a command waits for its answer and gives it as a dict; it raises `wire.Error` if the server
    refuses. Before, there are no answers: a command gives an empty dict, and `receive` raises what is wrong with it.
    Tasks may share a client, and cancelling one that waits loses no message.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, speaks_json: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.speaks_json = speaks_json
        self.numbers = itertools.count()
        self.inbox: deque[wire.Command] = deque()
        self.answers: dict[int, wire.Command | None] = {}  # None: not there yet
        self.reading = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int, host: str = "localhost") -> Self:
        """Connect to a server, and find out which wire it speaks.

        Raises OSError if none listens there, or if it accepts no commands.
        """
        client = cls(*await asyncio.open_connection(host, port, limit=LONGEST), speaks_json=False)
        client.writer.write(HELLO)
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            answer = await client.reader.readuntil(b"\n")
            client.speaks_json = answer.startswith(b'{"')
            if client.speaks_json and decode(answer).get("reason") in GOODBYES:
                await client.close()
                raise rejection(decode(answer))
        return client

    async def subscribe(self, topic: str, **fields: Any) -> wire.Command:
        """Ask for the messages of a topic; since `last_seen`: only those after the index `last_seen`.

        Since `replies`: with `cache=False` nothing that was sent before; the answer may tell how many are `missed`.
        Since `acks`: with `ack=True` to acknowledge `one` messages, at most `prefetch` of them at a time.
        """
        return await self.ask({"command": "subscribe", "topic": topic, **fields})

    async def unsubscribe(self, topic: str) -> wire.Command:
        """Since `replies`: hear no more of a topic."""
        return await self.ask({"command": "unsubscribe", "topic": topic})

    async def send(self, topic: str, msg: Any, **fields: Any) -> wire.Command:
        """Send a message, any Python literal, since `replies` a text; since `delivery`: to "all" or "one"."""
        if self.speaks_json:
            fields = {"delivery": "all"} | fields
        return await self.ask({"command": "send", "topic": topic, "msg": msg, **fields})

    async def ack(self, message: wire.Command) -> wire.Command:
        """Since `acks`: tell that the work of a message is done."""
        return await self.ask({"command": "ack", "topic": message["topic"], "index": message["index"]})

    async def ask(self, command: wire.Command) -> wire.Command:
        """Send a command; gives its answer, if this server answers."""
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

    def encode(self, command: wire.Command) -> bytes:
        return f"{json.dumps(command)}\n".encode() if self.speaks_json else wire.encode(command)

    async def receive(self) -> wire.Command:
        """Wait for the next message: the sender's whole command, since `last_seen` with its `index`.

        Raises `wire.Error` if the server has rejected a command or does not talk like a stage, EOFError once it has
        closed the connection, and ConnectionAbortedError if it has said why.
        """
        while not self.inbox:
            await self.read(lambda: not self.inbox)
        message = self.inbox.popleft()
        if "command" not in message and ("error" in message or "success" in message):
            raise rejection(message)
        return message

    async def read(self, needed: Callable[[], bool]) -> None:
        """Read a line, if it is still needed when it is our turn to read, and put it where it belongs."""
        async with self.reading:
            if needed():
                try:
                    line = decode(await self.reader.readuntil(b"\n"))
                except asyncio.IncompleteReadError:
                    raise EOFError("the server has closed the connection") from None
                except (wire.Error, asyncio.LimitOverrunError) as problem:
                    raise wire.Error(f"the server does not talk like a stage: {problem}") from None
                if "command" in line:
                    self.inbox.append(line)
                elif line.get("reason") in GOODBYES:
                    raise rejection(line)
                elif isinstance(line.get("id"), int):
                    if line["id"] in self.answers:  # else nobody waits for it any more
                        self.answers[line["id"]] = line
                elif line.get("success") is not True:
                    self.inbox.append(line)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> wire.Command:
        try:
            return await self.receive()
        except EOFError:
            raise StopAsyncIteration from None

    async def close(self) -> None:
        """Close the connection; what was sent before still arrives."""
        await wire.Outbox(self.writer).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()


def decode(line: bytes) -> wire.Command:
    """Read a line of either wire. Raises `wire.Error`."""
    with suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict):
            return found
    return wire.decode(line, LONGEST)


GOODBYES = ("Too slow", "Could not store")
"""The reasons for which a server ends a connection."""


def rejection(answer: wire.Command) -> Exception:
    """What a server says of a command that it refuses, or before it ends the connection."""
    told = answer.get("error") or answer.get("reason", answer)
    text = f"the server says: {told}" + (f" ({answer['detail']})" if "detail" in answer else "")
    return ConnectionAbortedError(text) if told in GOODBYES else wire.Error(text)


REMEMBERED = 1000
"""How many messages `follow` remembers, to tell whether it is still the same server."""

MARK = "end-of-replay"
"""A command that no server knows: its rejection comes after the replay."""

Report = Callable[[str], object]


async def follow(
    port: int,
    topic: str,
    *,
    host: str = "localhost",
    last_seen: int = -1,
    attempts: int | None = None,
    longest_delay: float = 5.0,
    report: Report = log.warning,
) -> AsyncGenerator[wire.Command, None]:
    """Yield the messages of a topic in order, each once and none that is cached left out, also across lost connections.

    After a loss it connects anew, with a delay that doubles up to `longest_delay` seconds, with jitter, at most
    `attempts` times in a row (None: for ever), and continues where it was. `report` is told of each loss, and of a
    server that has started over, whose indexes begin at 0 again: then all its messages are new. It is recognised by its
    messages: one that has the very same ones at the same indexes is taken for the server we knew.
    Raises ConnectionError after the last attempt, and `wire.Error` if the server rejects the subscription or does not
    number its messages (stage `last_seen` does).
    """
    past = Past(last_seen)
    failures = 0
    while True:
        try:
            async with await Client.connect(port, host) as client:
                async for messages in batches(client, topic):
                    failures = 0
                    if past.is_of_another_server(messages):
                        report(f"the server has started over: {topic} is at index {messages[-1]['index']} again")
                        past = Past(-1)
                    for message in filter(past.lacks, messages):
                        past.add(message)
                        yield message
                raise EOFError("the server has closed the connection")
        except (EOFError, OSError) as problem:
            failures += 1
            if attempts is not None and failures > attempts:
                raise ConnectionError(f"no connection to {host}:{port} after {attempts} attempts: {problem}") from None
            delay = min(longest_delay, 0.05 * 2 ** min(failures, 20)) * random.uniform(0.5, 1)
            report(f"no connection to {host}:{port}, trying again in {delay:.1f} s ({problem})")
            await asyncio.sleep(delay)


async def batches(client: Client, topic: str) -> AsyncGenerator[list[wire.Command], None]:
    """Subscribe; yield first all that is cached, then each message as it comes."""
    await client.subscribe(topic)
    await client.write({"command": MARK, "id": MARK})
    messages: list[wire.Command] = []
    try:
        async for message in client:
            messages.append(numbered(message))
    except wire.Error as rejection:
        if MARK not in str(rejection):
            raise
    yield messages
    async for message in client:
        yield [numbered(message)]


def numbered(message: wire.Command) -> wire.Command:
    if "index" not in message:
        raise wire.Error("the server does not number its messages: expected stage last_seen or a later one")
    return message


class Past:
    """What `follow` has seen: the index it reached, and the last messages."""

    def __init__(self, last_seen: int) -> None:
        self.last_seen = last_seen
        self.messages: dict[int, wire.Command] = {}

    def add(self, message: wire.Command) -> None:
        self.last_seen = message["index"]
        self.messages[message["index"]] = message
        if len(self.messages) > REMEMBERED:
            del self.messages[min(self.messages)]

    def lacks(self, message: wire.Command) -> bool:
        """Whether a message is new. A `one` message is, at any index: we were given it, so nobody else will be."""
        return message["index"] > self.last_seen or (
            message.get("delivery") == "one" and message["index"] not in self.messages
        )

    def is_of_another_server(self, replay: list[wire.Command]) -> bool:
        """Whether a server with these messages cannot be the one we knew."""
        known = [self.messages[m["index"]] == m for m in replay if m["index"] in self.messages]
        return not all(known) or (not any(known) and bool(replay) and replay[-1]["index"] < self.last_seen)


if __name__ == "__main__":
    from stages import terminal

    terminal.main()
